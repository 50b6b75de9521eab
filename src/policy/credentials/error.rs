//! Why there are no credentials.

use std::{error::Error, fmt, sync::Arc, time::Duration};

/// Why two texts are not an AccessKey pair.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum CredentialsError {
    /// The id is empty.
    EmptyId,
    /// The id holds something other than visible ASCII.
    IdCharacter,
    /// The secret is empty.
    EmptySecret,
    /// The secret holds something other than visible ASCII.
    SecretCharacter,
    /// The security token is empty.
    EmptyToken,
    /// The security token holds something other than visible ASCII.
    TokenCharacter,
}

impl fmt::Display for CredentialsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EmptyId => "the access key id is empty; is the environment variable set?",
            Self::IdCharacter => {
                "the access key id holds white space or another invisible character; was a line feed copied along?"
            }
            Self::EmptySecret => "the access key secret is empty; is the environment variable set?",
            Self::SecretCharacter => {
                "the access key secret holds white space or another invisible character; was a line feed copied along?"
            }
            Self::EmptyToken => "the security token is empty; leave it out for the access key of a user",
            Self::TokenCharacter => {
                "the security token holds white space or another invisible character; was a line feed copied along?"
            }
        })
    }
}

impl Error for CredentialsError {}

/// Why the environment holds no AccessKey. Names variables, never shows a value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum EnvironmentError {
    /// None of the variables is set.
    Unset,
    /// Others of the same set are there, but not this one; holds its name.
    Missing(&'static str),
    /// A variable holds what no AccessKey does; holds its name.
    Invalid(&'static str, CredentialsError),
}

impl fmt::Display for EnvironmentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unset => f.write_str(
                "the environment holds no access key; set OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET",
            ),
            Self::Missing(name) => write!(
                f,
                "{name} is not set while others of its set are; set it too, or unset them all"
            ),
            Self::Invalid(name, _) => write!(f, "{name} holds no usable value"),
        }
    }
}

impl Error for EnvironmentError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unset | Self::Missing(_) => None,
            Self::Invalid(_, source) => Some(source),
        }
    }
}

/// Why a [`CredentialsProvider`](super::CredentialsProvider) has no credentials to sign with.
#[derive(Clone)]
#[non_exhaustive]
pub enum CredentialsProviderError {
    /// The provider could not get them now; holds its reason.
    Unavailable(Arc<dyn Error + Send + Sync>),
    /// They did not come in this time.
    TimedOut(Duration),
    /// Those that came had already ended.
    Expired,
    /// Those that came have a security token, which ends, but do not say when.
    NoExpiry,
    /// The function that gets them panicked, or its runtime was shut down meanwhile.
    Interrupted,
    /// They were asked for outside of a tokio runtime, which has to run the function that gets them.
    NoRuntime,
}

/// Of the reason only what its `Display` says: the `Debug` of foreign errors and of clients holds requests, and with
/// them signatures and secrets.
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
            Self::Unavailable(_) => "the credentials could not be got",
            Self::TimedOut(after) => {
                return write!(
                    f,
                    "the credentials did not come within {after:?}; can sts be reached?"
                );
            }
            Self::Expired => {
                "the credentials that came had already ended; is the clock right, or a cache stale?"
            }
            Self::NoExpiry => {
                "the credentials that came have a security token but no expiry; hand it on with `with_expiry`"
            }
            Self::Interrupted => {
                "the function that gets the credentials panicked, or its runtime was shut down"
            }
            Self::NoRuntime => {
                "refreshing credentials were asked for outside of a tokio runtime; ask for them within one"
            }
        })
    }
}

impl Error for CredentialsProviderError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unavailable(source) => Some(&**source),
            _ => None,
        }
    }
}
