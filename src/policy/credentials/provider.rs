//! The interface between the policy service and a source of credentials.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use super::access_key::Credentials;
use crate::Lookup;

/// A source of credentials.
///
/// It is called once for each token, so an AccessKey can be replaced while the server runs. The
/// crate provides two implementations: [`Credentials`] itself, also from the
/// [environment](Credentials::from_env), and
/// [`RefreshingCredentials`](super::RefreshingCredentials), which calls an async function, for STS.
///
/// Return [`Lookup::Ready`] if the credentials are in memory: that path does not allocate.
///
/// ```
/// use std::sync::RwLock;
/// use tower_aliyun_oss::Lookup;
/// use tower_aliyun_oss::policy::{Credentials, CredentialsProvider, CredentialsProviderError};
///
/// /// Replaced by a task that watches the mounted secret.
/// struct Mounted(RwLock<Credentials>);
///
/// impl CredentialsProvider for Mounted {
///     fn credentials(&self) -> Lookup<Credentials, CredentialsProviderError> {
///         let current = self.0.read().unwrap_or_else(|poisoned| poisoned.into_inner());
///         Lookup::Ready(Ok(current.clone()))
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let provider = Mounted(RwLock::new(Credentials::new("LTAI5tExample", "secret")?));
/// assert_eq!(provider.credentials().await?.access_key_id(), "LTAI5tExample");
/// # Ok(())
/// # }
/// ```
pub trait CredentialsProvider: Send + Sync {
    /// Returns the current credentials. The caller may drop a pending future at any time.
    fn credentials(&self) -> Lookup<Credentials, CredentialsProviderError>;
}

impl<P: CredentialsProvider + ?Sized> CredentialsProvider for Arc<P> {
    fn credentials(&self) -> Lookup<Credentials, CredentialsProviderError> {
        (**self).credentials()
    }
}

impl CredentialsProvider for Credentials {
    /// Always [`Lookup::Ready`], even after expiry: the caller has the clock and checks it.
    fn credentials(&self) -> Lookup<Credentials, CredentialsProviderError> {
        Lookup::Ready(Ok(self.clone()))
    }
}

/// Why a [`CredentialsProvider`] has no credentials.
#[derive(Clone)]
#[non_exhaustive]
pub enum CredentialsProviderError {
    /// The provider failed to fetch credentials; holds the cause.
    Unavailable(Arc<dyn Error + Send + Sync>),
    /// The fetch exceeded this timeout.
    TimedOut(Duration),
    /// The fetched credentials have already expired.
    Expired,
    /// The fetched credentials have a security token, which expires, but no expiry.
    NoExpiry,
    /// The fetch function panicked, or its runtime shut down.
    Interrupted,
    /// The call was made outside of a tokio runtime, which the fetch function needs.
    NoRuntime,
}

/// Shows only the `Display` of the cause. The `Debug` of foreign errors and clients can contain
/// requests, and with them signatures and secrets.
impl fmt::Debug for CredentialsProviderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(source) => f
                .debug_tuple("Unavailable")
                .field(&format_args!("{source}"))
                .finish(),
            Self::TimedOut(after) => f.debug_tuple("TimedOut").field(after).finish(),
            Self::Expired => f.write_str("Expired"),
            Self::NoExpiry => f.write_str("NoExpiry"),
            Self::Interrupted => f.write_str("Interrupted"),
            Self::NoRuntime => f.write_str("NoRuntime"),
        }
    }
}

impl fmt::Display for CredentialsProviderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unavailable(_) => "failed to fetch credentials",
            Self::TimedOut(after) => {
                return write!(
                    f,
                    "credentials were not fetched within {after:?}; is STS reachable?"
                );
            }
            Self::Expired => {
                "the fetched credentials have already expired; is the clock wrong, or a cache \
                 stale?"
            }
            Self::NoExpiry => {
                "the fetched credentials have a security token but no expiry; set it with \
                 `with_expiry`"
            }
            Self::Interrupted => {
                "the function that fetches credentials panicked, or its runtime shut down"
            }
            Self::NoRuntime => {
                "refreshing credentials need a tokio runtime; request them within one"
            }
        })
    }
}

// Not derived: thiserror would return the `Arc` as the source, which hides the type of the cause
// from `downcast_ref`.
impl Error for CredentialsProviderError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unavailable(source) => Some(&**source),
            _ => None,
        }
    }
}
