//! The AccessKey.

use std::{
    error::Error,
    fmt,
    sync::{Arc, Weak},
    time::SystemTime,
};

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
pub struct Credentials(Arc<Secrets>);

#[derive(Clone)]
struct Secrets {
    access_key_id: String,
    access_key_secret: Zeroizing<String>,
    security_token: Option<Zeroizing<String>>,
    expires_at: Option<SystemTime>,
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
        Ok(Self(Arc::new(Secrets {
            access_key_id,
            access_key_secret,
            security_token: None,
            expires_at: None,
        })))
    }

    /// Temporary credentials of STS: the token that goes with the pair.
    ///
    /// # Errors
    ///
    /// When it is empty, or holds white space, a control character, or a byte-order mark.
    pub fn with_security_token(
        mut self,
        token: impl Into<String>,
    ) -> Result<Self, CredentialsError> {
        let token = Zeroizing::new(token.into());
        if token.is_empty() {
            return Err(CredentialsError::EmptyToken);
        }
        if strays(&token) {
            return Err(CredentialsError::TokenCharacter);
        }
        Arc::make_mut(&mut self.0).security_token = Some(token);
        Ok(self)
    }

    /// When the credentials end, as STS says it. No policy that they sign outlives them.
    #[must_use]
    pub fn with_expiry(mut self, at: SystemTime) -> Self {
        Arc::make_mut(&mut self.0).expires_at = Some(at);
        self
    }

    /// The AccessKey id, which every token shows.
    #[must_use]
    pub fn access_key_id(&self) -> &str {
        &self.0.access_key_id
    }

    /// The token of STS, which every form shows that is signed with these credentials.
    #[must_use]
    pub fn security_token(&self) -> Option<&str> {
        self.0.security_token.as_ref().map(|token| token.as_str())
    }

    /// When the credentials end; `None` for those of a user, which do not.
    #[must_use]
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.0.expires_at
    }

    pub(super) fn secret(&self) -> &[u8] {
        self.0.access_key_secret.as_bytes()
    }

    /// Tells these credentials and their clones from all others, without keeping the secret in memory.
    pub(super) fn identity(&self) -> CredentialsIdentity {
        CredentialsIdentity(Arc::downgrade(&self.0))
    }
}

/// Holds on to the address of the credentials, so that it is not given to others, but not to what lies there.
pub(super) struct CredentialsIdentity(Weak<Secrets>);

impl CredentialsIdentity {
    pub(super) fn is_of(&self, credentials: &Credentials) -> bool {
        std::ptr::eq(self.0.as_ptr(), Arc::as_ptr(&credentials.0))
    }

    #[cfg(test)]
    pub(super) fn is_gone(&self) -> bool {
        self.0.strong_count() == 0
    }
}

fn strays(text: &str) -> bool {
    text.contains(|c| !matches!(c, '!'..='~'))
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("access_key_id", &self.0.access_key_id)
            .field("expires_at", &self.0.expires_at)
            .finish_non_exhaustive()
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
            let pair = Credentials::new("id", "s").unwrap();
            assert_eq!(
                pair.with_security_token(stray).unwrap_err(),
                CredentialsError::TokenCharacter
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
        let credentials = credentials.with_security_token("canary-token").unwrap();
        for shown in [format!("{credentials:?}"), format!("{credentials:#?}")] {
            assert!(shown.contains("id") && !shown.contains("canary"), "{shown}");
        }
    }
}
