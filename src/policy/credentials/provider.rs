//! Whatever gives credentials.

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use super::{Credentials, CredentialsProviderError};

/// Gives the credentials to sign with, now.
///
/// It is asked once for each token, so that an AccessKey can be replaced while the server runs. Three come with the
/// crate: [`Credentials`] itself, also out of the [environment](Credentials::from_env), and
/// [`RefreshingCredentials`](super::RefreshingCredentials) around a function of yours, for STS.
///
/// Answer [`CredentialsLookup::Ready`] when the credentials are at hand: that path allocates nothing.
///
/// ```
/// use std::sync::RwLock;
/// use tower_aliyun_oss::policy::{Credentials, CredentialsLookup, CredentialsProvider};
///
/// /// Replaced by whoever watches the mounted secret.
/// struct Mounted(RwLock<Credentials>);
///
/// impl CredentialsProvider for Mounted {
///     fn credentials(&self) -> CredentialsLookup {
///         let now = self.0.read().unwrap_or_else(|poisoned| poisoned.into_inner());
///         CredentialsLookup::Ready(Ok(now.clone()))
///     }
/// }
/// # let _: Box<dyn CredentialsProvider> = Box::new(Mounted(RwLock::new(Credentials::new("id", "secret")?)));
/// # Ok::<(), tower_aliyun_oss::policy::CredentialsError>(())
/// ```
pub trait CredentialsProvider: Send + Sync {
    /// The credentials to sign with.
    fn credentials(&self) -> CredentialsLookup;
}

impl<P: CredentialsProvider + ?Sized> CredentialsProvider for Arc<P> {
    fn credentials(&self) -> CredentialsLookup {
        (**self).credentials()
    }
}

/// What a [`CredentialsProvider`] answers.
#[allow(
    clippy::exhaustive_enums,
    reason = "credentials are at hand or they are not"
)]
pub enum CredentialsLookup {
    /// The credentials are at hand, or there are none.
    Ready(Result<Credentials, CredentialsProviderError>),
    /// The credentials have to be waited for. The future can be dropped at any time.
    Pending(Pin<Box<dyn Future<Output = Result<Credentials, CredentialsProviderError>> + Send>>),
}

impl CredentialsLookup {
    /// Waits for the credentials if they are not at hand.
    ///
    /// ```
    /// use tower_aliyun_oss::policy::{Credentials, CredentialsProvider};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let provider = Credentials::new("LTAI5tExample", "secret")?;
    /// assert_eq!(provider.credentials().resolve().await?.access_key_id(), "LTAI5tExample");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// When the provider has none to give.
    pub async fn resolve(self) -> Result<Credentials, CredentialsProviderError> {
        match self {
            Self::Ready(result) => result,
            Self::Pending(future) => future.await,
        }
    }
}

impl fmt::Debug for CredentialsLookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready(result) => f.debug_tuple("Ready").field(result).finish(),
            Self::Pending(_) => f.write_str("Pending(..)"),
        }
    }
}
