//! The AccessKeys the emulator knows.

use std::{fmt, time::SystemTime};

use zeroize::Zeroizing;

/// An AccessKey of your own making: what a policy must be signed with.
///
/// Nothing of it leaves the process; the real ones are not needed, and should not be used. `Debug` shows neither the
/// secret nor the token.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use aliyun_oss_emulator::AccessKey;
///
/// let of_a_user = AccessKey::new("test-id", "test-secret");
/// let of_sts = AccessKey::new("STS.test", "other-secret")
///     .with_security_token("test-token", SystemTime::now() + Duration::from_secs(900));
/// assert!(!format!("{of_user:?}{of_sts:?}", of_user = of_a_user).contains("secret"));
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
    /// A long-term key.
    #[must_use]
    pub fn new(id: &str, secret: &str) -> Self {
        Self {
            id: id.into(),
            secret: Zeroizing::new(secret.to_owned()),
            token: None,
        }
    }

    /// Makes it a temporary key of STS: forms must send this token along, and from `expires` on they are refused.
    #[must_use]
    pub fn with_security_token(mut self, token: &str, expires: SystemTime) -> Self {
        self.token = Some(SecurityToken {
            text: Zeroizing::new(token.to_owned()),
            expires,
        });
        self
    }

    /// The id, which every form shows.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn secret(&self) -> &[u8] {
        self.secret.as_bytes()
    }

    /// The token of STS, and when it ends.
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
            .field("temporary", &self.token.is_some())
            .finish_non_exhaustive()
    }
}
