//! The AccessKey.

use std::{fmt, sync::Arc, time::SystemTime};

use zeroize::Zeroizing;

use crate::sign::{Secret, request::AccessKey};

/// An AccessKey pair, and the security token if STS issued it.
///
/// `Debug` shows neither secret nor token. Both are wiped from memory when the last clone is
/// dropped. Clones share their memory.
///
/// `Credentials` implement [`CredentialsProvider`](super::CredentialsProvider), so a fixed pair can
/// be used wherever a provider is expected.
///
/// ```
/// use tower_aliyun_oss::policy::{Credentials, CredentialsError};
///
/// let credentials = Credentials::new("LTAI5tExample", "very-secret")?;
/// assert!(!format!("{credentials:?}").contains("very-secret"));
/// // With a trailing line feed from a file, OSS would reject every signature.
/// assert_eq!(
///     Credentials::new("LTAI5tExample", "very-secret\n").unwrap_err(),
///     CredentialsError::SecretCharacter,
/// );
/// # Ok::<(), CredentialsError>(())
/// ```
#[derive(Clone)]
pub struct Credentials(Arc<Parts>);

#[derive(Clone)]
struct Parts {
    access_key_id: String,
    access_key_secret: Secret,
    security_token: Option<Zeroizing<String>>,
    expires_at: Option<SystemTime>,
}

impl Credentials {
    /// Creates credentials from an AccessKey id and its secret.
    ///
    /// # Errors
    ///
    /// Fails if one of them is empty or contains white space, a control character, or a byte-order
    /// mark. No AccessKey does.
    pub fn new(
        access_key_id: impl Into<String>,
        access_key_secret: impl Into<String>,
    ) -> Result<Self, CredentialsError> {
        let access_key_id = access_key_id.into();
        let access_key_secret = Zeroizing::new(access_key_secret.into());
        if access_key_id.is_empty() {
            return Err(CredentialsError::EmptyId);
        }
        // OSS would only respond with SignatureDoesNotMatch, which does not name the cause.
        if has_stray_characters(&access_key_id) {
            return Err(CredentialsError::IdCharacter);
        }
        if access_key_secret.is_empty() {
            return Err(CredentialsError::EmptySecret);
        }
        if has_stray_characters(&access_key_secret) {
            return Err(CredentialsError::SecretCharacter);
        }
        Ok(Self(Arc::new(Parts {
            access_key_id,
            access_key_secret: Secret::new(access_key_secret),
            security_token: None,
            expires_at: None,
        })))
    }

    /// Adds the security token of temporary credentials from STS.
    ///
    /// Set the [expiry](Self::with_expiry) too. Without it a policy can outlive the token, and OSS
    /// rejects uploads with `SecurityTokenExpired` before the policy expires.
    ///
    /// # Errors
    ///
    /// Fails if the token is empty or contains white space, a control character, or a byte-order
    /// mark.
    pub fn with_security_token(
        mut self,
        token: impl Into<String>,
    ) -> Result<Self, CredentialsError> {
        let token = Zeroizing::new(token.into());
        if token.is_empty() {
            return Err(CredentialsError::EmptyToken);
        }
        if has_stray_characters(&token) {
            return Err(CredentialsError::TokenCharacter);
        }
        // Copies the other parts if clones exist, which keep their own token.
        Arc::make_mut(&mut self.0).security_token = Some(token);
        Ok(self)
    }

    /// Sets the expiry, as returned by STS. No policy outlives the credentials that sign it.
    #[must_use]
    pub fn with_expiry(mut self, at: SystemTime) -> Self {
        Arc::make_mut(&mut self.0).expires_at = Some(at);
        self
    }

    /// Returns the AccessKey id, which is part of every token.
    #[must_use]
    pub fn access_key_id(&self) -> &str {
        &self.0.access_key_id
    }

    /// Returns the security token, which is part of every form that these credentials sign.
    #[must_use]
    pub fn security_token(&self) -> Option<&str> {
        self.0.security_token.as_ref().map(|token| token.as_str())
    }

    /// Returns the expiry, or `None` for the AccessKey of a user, which does not expire.
    #[must_use]
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.0.expires_at
    }

    pub(in crate::policy) fn secret(&self) -> &Secret {
        &self.0.access_key_secret
    }

    /// Returns the parts that sign a request.
    pub(crate) fn access_key(&self) -> AccessKey<'_> {
        AccessKey {
            id: self.access_key_id(),
            secret: self.secret(),
            security_token: self.security_token(),
        }
    }
}

/// Returns whether the text contains anything but visible ASCII.
fn has_stray_characters(text: &str) -> bool {
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

/// Error of [`Credentials`]. Names variables of the environment, and never contains a value.
#[derive(Clone, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// The id is empty.
    #[error("the AccessKey id is empty; is the environment variable set?")]
    EmptyId,
    /// The id contains a character other than visible ASCII.
    #[error(
        "the AccessKey id contains white space or an invisible character; was a line feed copied \
         with it?"
    )]
    IdCharacter,
    /// The secret is empty.
    #[error("the AccessKey secret is empty; is the environment variable set?")]
    EmptySecret,
    /// The secret contains a character other than visible ASCII.
    #[error(
        "the AccessKey secret contains white space or an invisible character; was a line feed \
         copied with it?"
    )]
    SecretCharacter,
    /// The security token is empty.
    #[error("the security token is empty; omit it for the AccessKey of a user")]
    EmptyToken,
    /// The security token contains a character other than visible ASCII.
    #[error(
        "the security token contains white space or an invisible character; was a line feed copied \
         with it?"
    )]
    TokenCharacter,
    /// None of the variables that [`Credentials::from_env`] reads is set.
    #[error(
        "the environment contains no AccessKey; set OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET"
    )]
    Unset,
    /// This variable is not set, but others of the same AccessKey are.
    #[error(
        "{0} is not set, but other variables of the same AccessKey are; set it, or unset the others"
    )]
    Missing(&'static str),
    /// The value of this variable is not part of an AccessKey; contains the reason.
    #[error("{0}: {1}")]
    Variable(&'static str, Box<Self>),
}

crate::causes::debug_is_text!(CredentialsError);

#[cfg(test)]
mod tests {
    use zeroize::ZeroizeOnDrop;

    use super::*;
    use crate::{Lookup, policy::CredentialsProvider as _};

    fn temporary() -> Credentials {
        let pair = Credentials::new("id", "canary").unwrap();
        pair.with_security_token("canary-token")
            .unwrap()
            .with_expiry(SystemTime::UNIX_EPOCH)
    }

    /// Safe code cannot inspect freed memory. This asserts what it can: both secrets have a type
    /// that wipes itself, no other field holds one (a new field does not compile here), and
    /// dropping the last clone drops them.
    #[test]
    fn pl_21_secrets_are_wiped_with_the_last_clone() {
        fn wiped<T: ZeroizeOnDrop>(_: &T) {}
        let credentials = temporary();
        let Parts {
            access_key_id: _,
            access_key_secret,
            security_token,
            expires_at: _,
        } = &*credentials.0;
        wiped(access_key_secret.zeroizing());
        wiped(security_token.as_ref().unwrap());

        let memory = Arc::downgrade(&credentials.0);
        let secret = credentials.secret().identity();
        let Lookup::Ready(Ok(clone)) = credentials.credentials() else {
            unreachable!("a fixed pair is always ready");
        };
        drop(credentials);
        assert!(memory.upgrade().is_some() && !secret.is_gone());
        drop(clone);
        assert!(memory.upgrade().is_none() && secret.is_gone());
    }

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
        let credentials = temporary();
        let lookup = credentials.credentials();
        for shown in [
            format!("{credentials:?}"),
            format!("{credentials:#?}"),
            format!("{lookup:?}"),
            format!("{lookup:#?}"),
        ] {
            assert!(shown.contains("id") && !shown.contains("canary"), "{shown}");
        }
    }
}
