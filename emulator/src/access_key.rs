//! AccessKeys.

use std::{fmt, time::SystemTime};

use tower_aliyun_oss::policy::{Credentials, CredentialsError};
use zeroize::Zeroizing;

/// An AccessKey of the emulator. Policies and requests must be signed with one.
///
/// Make up the values. Do not use real AccessKeys: the emulator does not need them. The secret
/// stays in the process, and `Debug` shows neither the secret nor the token.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use aliyun_oss_emulator::AccessKey;
///
/// let long_term = AccessKey::new("test-id", "test-secret");
/// let temporary = AccessKey::new("STS.test", "other-secret")
///     .with_security_token("test-token", SystemTime::now() + Duration::from_secs(900));
/// assert!(!format!("{long_term:?}{temporary:?}").contains("secret"));
/// ```
#[derive(Clone)]
pub struct AccessKey {
    id: Box<str>,
    secret: Zeroizing<String>,
    token: Option<SecurityToken>,
}

#[derive(Clone)]
struct SecurityToken {
    text: Zeroizing<String>,
    expires: SystemTime,
}

impl AccessKey {
    /// Creates a long-term AccessKey.
    #[must_use]
    pub fn new(id: &str, secret: &str) -> Self {
        Self {
            id: id.into(),
            secret: Zeroizing::new(secret.to_owned()),
            token: None,
        }
    }

    /// Makes this a temporary AccessKey of STS.
    ///
    /// Requests and forms must carry `token`. From `expires` on, the emulator rejects them.
    #[must_use]
    pub fn with_security_token(mut self, token: &str, expires: SystemTime) -> Self {
        self.token = Some(SecurityToken {
            text: Zeroizing::new(token.to_owned()),
            expires,
        });
        self
    }

    /// Returns the AccessKey ID, which is public: every form contains it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the credentials with which an application signs policies for the emulator.
    pub(crate) fn credentials(&self) -> Result<Credentials, CredentialsError> {
        let pair = Credentials::new(&*self.id, self.secret.as_str())?;
        match self.token() {
            Some((token, expires)) => Ok(pair.with_security_token(token)?.with_expiry(expires)),
            None => Ok(pair),
        }
    }

    pub(crate) fn secret(&self) -> &[u8] {
        self.secret.as_bytes()
    }

    /// The security token and its expiry, for a temporary AccessKey.
    pub(crate) fn token(&self) -> Option<(&str, SystemTime)> {
        self.token
            .as_ref()
            .map(|token| (&**token.text, token.expires))
    }
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessKey")
            .field("id", &self.id)
            // The token is a credential too, so only its presence is shown.
            .field("temporary", &self.token.is_some())
            .finish_non_exhaustive()
    }
}
