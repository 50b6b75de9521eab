//! The number that makes a ticket one of its kind.

use std::{error::Error, fmt};

/// 128 random bits, by which a ticket is known to a [`ReplayStore`](super::ReplayStore).
///
/// It is no secret. It must never be given twice: two tickets with one nonce are one ticket to the store.
///
/// ```
/// use tower_aliyun_oss::ticket::Nonce;
///
/// let nonce = Nonce::random()?;
/// assert_ne!(nonce, Nonce::random()?);
/// assert_eq!(Nonce::from_bytes(*nonce.as_bytes()), nonce);
/// # Ok::<(), tower_aliyun_oss::ticket::RandomError>(())
/// ```
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Nonce([u8; 16]);

impl Nonce {
    /// From the random number generator of the operating system.
    ///
    /// # Errors
    ///
    /// When the operating system has none to give.
    pub fn random() -> Result<Self, RandomError> {
        let mut bytes = [0; 16];
        fill_random(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// From bytes that you took from a random number generator of your own.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Nonce({:032x})", u128::from_be_bytes(self.0))
    }
}

pub(super) fn fill_random(bytes: &mut [u8]) -> Result<(), RandomError> {
    getrandom::fill(bytes).map_err(|_| RandomError)
}

/// The operating system gave no random numbers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct RandomError;

impl fmt::Display for RandomError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the operating system gave no random numbers; no ticket can be made without")
    }
}

impl Error for RandomError {}
