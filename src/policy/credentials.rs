//! The AccessKey.

use std::{error::Error, fmt, sync::Arc};

use zeroize::Zeroizing;

/// An AccessKey pair. The secret is shown nowhere and wiped from memory when the last clone goes.
///
/// ```
/// use tower_aliyun_oss::policy::{Credentials, CredentialsError};
///
/// let credentials = Credentials::new("LTAI5tExample", "very-secret")?;
/// assert!(!format!("{credentials:?}").contains("very-secret"));
/// // A line feed that came along from a file makes every signature wrong, so it is refused here.
/// assert_eq!(Credentials::new("LTAI5tExample", "very-secret\n").unwrap_err(), CredentialsError::SecretCharacter);
/// # Ok::<(), CredentialsError>(())
/// ```
#[derive(Clone)]
pub struct Credentials(Arc<Pair>);

struct Pair {
    access_key_id: String,
    access_key_secret: Zeroizing<String>,
}

impl Credentials {
    /// An AccessKey id and its secret.
    ///
    /// # Errors
    ///
    /// When one of them is empty, or holds white space, a control character, or a byte-order mark: no AccessKey does.
    pub fn new(
        access_key_id: impl Into<String>,
        access_key_secret: impl Into<String>,
    ) -> Result<Self, CredentialsError> {
        let access_key_id = access_key_id.into();
        let access_key_secret = Zeroizing::new(access_key_secret.into());
        let strays = |text: &str| text.contains(|c| !matches!(c, '!'..='~'));
        if access_key_id.is_empty() {
            return Err(CredentialsError::EmptyId);
        }
        if strays(&access_key_id) {
            return Err(CredentialsError::IdCharacter);
        }
        if access_key_secret.is_empty() {
            return Err(CredentialsError::EmptySecret);
        }
        if strays(&access_key_secret) {
            return Err(CredentialsError::SecretCharacter);
        }
        Ok(Self(Arc::new(Pair {
            access_key_id,
            access_key_secret,
        })))
    }

    /// The AccessKey id, which every token shows.
    #[must_use]
    pub fn access_key_id(&self) -> &str {
        &self.0.access_key_id
    }

    pub(super) fn secret(&self) -> &[u8] {
        self.0.access_key_secret.as_bytes()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("access_key_id", &self.0.access_key_id)
            .field("access_key_secret", &format_args!("[redacted]"))
            .finish()
    }
}

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
        })
    }
}

impl Error for CredentialsError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pl_22_secrets_with_strays_are_refused_with_a_hint() {
        for stray in ["s\n", " s", "s ", "s\0", "\u{feff}s", "s\r\n", "s\t", "sé"] {
            let error = Credentials::new("id", stray).unwrap_err();
            assert_eq!(error, CredentialsError::SecretCharacter, "{stray:?}");
            assert!(error.to_string().contains("line feed"));
            assert_eq!(
                Credentials::new(stray, "s").unwrap_err(),
                CredentialsError::IdCharacter
            );
        }
        assert_eq!(
            Credentials::new("id", "").unwrap_err(),
            CredentialsError::EmptySecret
        );
        assert_eq!(
            Credentials::new("", "s").unwrap_err(),
            CredentialsError::EmptyId
        );
    }

    #[test]
    fn pl_20_the_secret_is_not_shown() {
        let credentials = Credentials::new("id", "canary").unwrap();
        for shown in [format!("{credentials:?}"), format!("{credentials:#?}")] {
            assert!(shown.contains("id") && !shown.contains("canary"), "{shown}");
        }
    }
}
