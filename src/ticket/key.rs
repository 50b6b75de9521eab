//! The keys that tickets are sealed with.

use std::{
    env::{self, VarError},
    error::Error,
    fmt,
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use super::nonce::{RandomError, fill_random};

/// A key for tickets: at least 32 bytes that nobody else knows. Shown nowhere, wiped from memory when the last clone
/// goes.
///
/// It has nothing to do with the AccessKey and should not be made from it: whoever reads one must not have the other.
///
/// ```
/// use tower_aliyun_oss::ticket::{TicketKey, TicketKeyError};
///
/// // openssl rand -base64 32
/// let key = TicketKey::from_base64("R9ELuV7H0+1D0zn6CAbYXrpPEMqXxGXnDhLg4Lf0bLA=")?;
/// assert_eq!(format!("{key:?}"), "TicketKey(..)");
/// assert_eq!(TicketKey::from_bytes(b"too short").unwrap_err(), TicketKeyError::Length(9));
/// # Ok::<(), TicketKeyError>(())
/// ```
#[derive(Clone)]
pub struct TicketKey(Arc<Zeroizing<Vec<u8>>>);

impl TicketKey {
    /// The fewest bytes a key has.
    pub const MIN_LEN: usize = 32;

    /// The most bytes a key has.
    pub const MAX_LEN: usize = 1024;

    /// From bytes, all of which should be random. A password is not: this makes nothing stronger than it is.
    ///
    /// # Errors
    ///
    /// When there are fewer than [`Self::MIN_LEN`] bytes or more than [`Self::MAX_LEN`], or they are all the same.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TicketKeyError> {
        Self::checked(Zeroizing::new(bytes.to_vec()))
    }

    /// From standard Base64 with its padding, as it stands in an environment variable.
    ///
    /// # Errors
    ///
    /// When the text is empty or not Base64 (a line feed that came along from a file counts), or the bytes are not
    /// what [`Self::from_bytes`] takes.
    pub fn from_base64(text: &str) -> Result<Self, TicketKeyError> {
        if text.is_empty() {
            return Err(TicketKeyError::Empty);
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
        STANDARD
            .decode_vec(text, &mut bytes)
            .map_err(|_| TicketKeyError::NotBase64)?;
        Self::checked(bytes)
    }

    /// From the environment variable of this name, as [`from_base64`](Self::from_base64).
    ///
    /// # Errors
    ///
    /// When it is not set, or not what [`from_base64`](Self::from_base64) takes.
    pub fn from_env(name: &str) -> Result<Self, TicketKeyError> {
        match env::var(name) {
            Ok(text) => Self::from_base64(&Zeroizing::new(text)),
            Err(VarError::NotPresent) => Err(TicketKeyError::Unset),
            Err(VarError::NotUnicode(_)) => Err(TicketKeyError::NotBase64),
        }
    }

    /// A key from the random number generator of the operating system, for a demonstration or a test: no other
    /// process knows it, and after a restart every ticket given out before is refused.
    ///
    /// # Errors
    ///
    /// When the operating system has no random numbers to give.
    pub fn generate() -> Result<Self, RandomError> {
        let mut bytes = Zeroizing::new(vec![0; Self::MIN_LEN]);
        fill_random(&mut bytes)?;
        Ok(Self(Arc::new(bytes)))
    }

    fn checked(bytes: Zeroizing<Vec<u8>>) -> Result<Self, TicketKeyError> {
        if !(Self::MIN_LEN..=Self::MAX_LEN).contains(&bytes.len()) {
            return Err(TicketKeyError::Length(bytes.len()));
        }
        if bytes.iter().all(|byte| Some(byte) == bytes.first()) {
            return Err(TicketKeyError::Uniform);
        }
        Ok(Self(Arc::new(bytes)))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketKey(..)")
    }
}

/// The keys of a service, each under an id: the newest seals, all of them are accepted.
///
/// To change the key, give every instance the new one as previous, then make it the newest everywhere, and drop the
/// old one when the last ticket that it sealed has expired. Never give an id to another key.
///
/// ```
/// use tower_aliyun_oss::ticket::{TicketKey, TicketKeys};
///
/// let (old, new) = (TicketKey::generate()?, TicketKey::generate()?);
/// let keys = TicketKeys::new(2, new).with_previous(1, old)?;
/// assert_eq!(keys.newest_id(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct TicketKeys {
    newest: (u16, TicketKey),
    previous: Vec<(u16, TicketKey)>,
}

impl TicketKeys {
    /// The most keys that are held at once.
    pub const MAX_KEYS: usize = 16;

    /// One key, which seals and is accepted.
    #[must_use]
    pub const fn new(id: u16, key: TicketKey) -> Self {
        Self {
            newest: (id, key),
            previous: Vec::new(),
        }
    }

    /// One more key that is accepted and does not seal.
    ///
    /// # Errors
    ///
    /// When the id is taken, or there are [`Self::MAX_KEYS`] keys already.
    pub fn with_previous(mut self, id: u16, key: TicketKey) -> Result<Self, TicketKeyError> {
        if self.key(id).is_some() {
            return Err(TicketKeyError::DuplicateId(id));
        }
        if self.previous.len() + 1 >= Self::MAX_KEYS {
            return Err(TicketKeyError::TooMany);
        }
        self.previous.push((id, key));
        Ok(self)
    }

    /// The id of the key that seals.
    #[must_use]
    pub const fn newest_id(&self) -> u16 {
        self.newest.0
    }

    pub(super) const fn newest(&self) -> &TicketKey {
        &self.newest.1
    }

    pub(super) fn key(&self, id: u16) -> Option<&TicketKey> {
        std::iter::once(&self.newest)
            .chain(&self.previous)
            .find(|(known, _)| *known == id)
            .map(|(_, key)| key)
    }
}

/// Why bytes are not a key for tickets, or a key cannot stand beside the others.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum TicketKeyError {
    /// The environment variable is not set.
    Unset,
    /// Nothing at all.
    Empty,
    /// Not standard Base64 with its padding.
    NotBase64,
    /// Fewer than 32 bytes or more than 1,024; holds how many.
    Length(usize),
    /// All bytes are the same.
    Uniform,
    /// The id stands for another key already.
    DuplicateId(u16),
    /// More than 16 keys.
    TooMany,
}

impl fmt::Display for TicketKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unset => f.write_str(
                "the environment variable of the ticket key is not set; make one with: openssl rand -base64 32",
            ),
            Self::Empty => {
                f.write_str("the ticket key is empty; is the environment variable set?")
            }
            Self::NotBase64 => f.write_str(
                "the ticket key is not standard base64 with padding; make one with: openssl rand -base64 32",
            ),
            Self::Length(found) => write!(
                f,
                "a ticket key has 32 to 1024 bytes, not {found}; make one with: openssl rand -base64 32"
            ),
            Self::Uniform => f.write_str(
                "the ticket key is one byte repeated; make one with: openssl rand -base64 32",
            ),
            Self::DuplicateId(id) => {
                write!(f, "the id {id} stands for another ticket key already; give each its own")
            }
            Self::TooMany => f.write_str(
                "there are at most 16 ticket keys; drop those whose tickets have all expired",
            ),
        }
    }
}

impl Error for TicketKeyError {}
