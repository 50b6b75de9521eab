//! The AccessKey.

use std::{
    fmt,
    sync::{Arc, Weak},
    time::SystemTime,
};

use zeroize::Zeroizing;

use super::{CredentialsError, CredentialsLookup, CredentialsProvider};

/// An AccessKey pair, and the token of STS if there is one. Secret and token are not in `Debug`, and are wiped from
/// memory when the last clone goes. A clone copies nothing.
///
/// Being a [`CredentialsProvider`] itself, it stands wherever one is asked for, and is at hand at once.
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

    /// Temporary credentials of STS: the token that goes with the pair. Say [when it ends](Self::with_expiry) too:
    /// without that, policies can outlive it, and OSS then refuses them early (SecurityTokenExpired).
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

    pub(in crate::policy) fn secret(&self) -> &[u8] {
        self.0.access_key_secret.as_bytes()
    }

    /// Tells these credentials and their clones from all others, without keeping the secret in memory.
    pub(in crate::policy) fn identity(&self) -> CredentialsIdentity {
        CredentialsIdentity(Arc::downgrade(&self.0))
    }
}

/// Holds on to the address of the credentials, so that it is not given to others, but not to what lies there.
pub(in crate::policy) struct CredentialsIdentity(Weak<Secrets>);

impl CredentialsIdentity {
    pub(in crate::policy) fn is_of(&self, credentials: &Credentials) -> bool {
        std::ptr::eq(self.0.as_ptr(), Arc::as_ptr(&credentials.0))
    }

    #[cfg(test)]
    pub(in crate::policy) fn is_gone(&self) -> bool {
        self.0.strong_count() == 0
    }
}

fn strays(text: &str) -> bool {
    text.contains(|c| !matches!(c, '!'..='~'))
}

/// Always [`CredentialsLookup::Ready`], even when they have ended: whoever signs holds the clock.
impl CredentialsProvider for Credentials {
    fn credentials(&self) -> CredentialsLookup {
        CredentialsLookup::Ready(Ok(self.clone()))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("access_key_id", &self.0.access_key_id)
            .field("expires_at", &self.0.expires_at)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use zeroize::ZeroizeOnDrop;

    use super::*;

    fn temporary() -> Credentials {
        let pair = Credentials::new("id", "canary").unwrap();
        pair.with_security_token("canary-token")
            .unwrap()
            .with_expiry(SystemTime::UNIX_EPOCH)
    }

    /// Safe code cannot look at freed memory. What it can show: both secrets lie in a type that wipes itself, nothing
    /// else does hold one (a new field does not compile here), and the last clone takes them along.
    #[test]
    fn pl_21_secrets_are_wiped_with_the_last_clone() {
        fn wiped<T: ZeroizeOnDrop>(_: &T) {}
        let credentials = temporary();
        let Secrets {
            access_key_id: _,
            access_key_secret,
            security_token,
            expires_at: _,
        } = &*credentials.0;
        wiped(access_key_secret);
        wiped(security_token.as_ref().unwrap());

        let memory = Arc::downgrade(&credentials.0);
        let CredentialsLookup::Ready(Ok(clone)) = credentials.credentials() else {
            unreachable!("an access key is at hand");
        };
        drop(credentials);
        assert!(memory.upgrade().is_some());
        drop(clone);
        assert!(memory.upgrade().is_none());
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
