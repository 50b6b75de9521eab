//! The random parts of a ticket: MAC keys and nonces.

use std::{
    env::{self, VarError},
    fmt,
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _};
use sha2::Sha256;
use zeroize::Zeroizing;

/// A secret MAC key for tickets, 32 to 1,024 bytes.
///
/// `Debug` does not show it, and its memory is wiped when the last clone is dropped. Do not derive
/// it from the AccessKey: disclosure of one must not disclose the other.
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
pub struct TicketKey(Arc<Hmac<Sha256>>);

impl TicketKey {
    /// The minimum length of a key, in bytes.
    pub const MIN_LEN: usize = 32;

    /// The maximum length of a key, in bytes.
    pub const MAX_LEN: usize = 1024;

    /// Creates a key from random bytes. A password is not suitable: it is not stretched.
    ///
    /// # Errors
    ///
    /// Fails if there are fewer than [`Self::MIN_LEN`] or more than [`Self::MAX_LEN`] bytes, or if
    /// all bytes are equal.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TicketKeyError> {
        Self::checked(bytes)
    }

    /// Decodes a key from standard Base64 with padding, the usual form in an environment variable.
    ///
    /// # Errors
    ///
    /// Fails if the text is empty or is not valid Base64 (a trailing line feed is not), or if
    /// [`Self::from_bytes`] rejects the bytes.
    pub fn from_base64(text: &str) -> Result<Self, TicketKeyError> {
        if text.is_empty() {
            return Err(TicketKeyError::Empty);
        }
        // Allocated up front: a buffer that grew would leave unwiped copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
        STANDARD
            .decode_vec(text, &mut bytes)
            .map_err(|_| TicketKeyError::NotBase64)?;
        Self::checked(&bytes)
    }

    /// Reads a key from the environment variable `name`, in the form of
    /// [`from_base64`](Self::from_base64).
    ///
    /// # Errors
    ///
    /// Fails if the variable is not set, or if [`from_base64`](Self::from_base64) rejects its
    /// value. The error names the variable, and never contains its value.
    pub fn from_env(name: &str) -> Result<Self, TicketKeyError> {
        Self::from_variable(name, env::var(name))
    }

    fn from_variable(name: &str, value: Result<String, VarError>) -> Result<Self, TicketKeyError> {
        let key = match value {
            // Wipes this copy. The one in the environment stays as long as the process.
            Ok(text) => Self::from_base64(&Zeroizing::new(text)),
            Err(VarError::NotPresent) => Err(TicketKeyError::Unset),
            Err(VarError::NotUnicode(_)) => Err(TicketKeyError::NotBase64),
        };
        key.map_err(|error| TicketKeyError::Variable(name.into(), error.into()))
    }

    /// Generates a key with the random number generator of the operating system, for demonstrations
    /// and tests. No other process knows the key, and a restart invalidates all issued tickets.
    ///
    /// # Errors
    ///
    /// Fails if the operating system provides no random numbers.
    pub fn generate() -> Result<Self, TicketKeyError> {
        let mut bytes = Zeroizing::new(vec![0; Self::MIN_LEN]);
        fill_random(&mut bytes)?;
        Ok(Self::keyed(&bytes))
    }

    fn checked(bytes: &[u8]) -> Result<Self, TicketKeyError> {
        if !(Self::MIN_LEN..=Self::MAX_LEN).contains(&bytes.len()) {
            return Err(TicketKeyError::Length(bytes.len()));
        }
        // Catches placeholders such as 32 zero bytes. Real entropy cannot be measured here.
        if bytes.iter().all(|byte| Some(byte) == bytes.first()) {
            return Err(TicketKeyError::Uniform);
        }
        Ok(Self::keyed(bytes))
    }

    /// Keeps the state of the HMAC instead of the key: its two hashes of the key are computed once,
    /// and not for every ticket.
    fn keyed(bytes: &[u8]) -> Self {
        #[expect(
            clippy::expect_used,
            reason = "the error exists for other MACs: HMAC hashes or pads its key (RFC 2104 section 2)"
        )]
        let mac = Hmac::new_from_slice(bytes).expect("HMAC accepts keys of any length");
        Self(Arc::new(mac))
    }

    /// Starts a MAC with this key. The copy is wiped as well when it is dropped.
    pub(super) fn mac(&self) -> Hmac<Sha256> {
        Hmac::clone(&self.0)
    }
}

impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketKey(..)")
    }
}

/// The ticket keys of a service, each with an id. The newest key issues tickets; all keys verify.
///
/// To rotate, first add the new key as a previous key on every instance, then make it the newest
/// everywhere, and remove the old key after the last ticket it issued has expired. Never reuse an
/// id for another key.
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
    /// The maximum number of keys, the newest included.
    pub const MAX_KEYS: usize = 16;

    /// Creates a set with one key, which issues and verifies.
    #[must_use]
    pub const fn new(id: u16, key: TicketKey) -> Self {
        Self {
            newest: (id, key),
            previous: Vec::new(),
        }
    }

    /// Adds a key that verifies but does not issue.
    ///
    /// # Errors
    ///
    /// Fails if the id is in use, or if there are [`Self::MAX_KEYS`] keys already.
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

    /// Returns the id of the key that issues tickets.
    #[must_use]
    pub const fn newest_id(&self) -> u16 {
        self.newest.0
    }

    pub(super) const fn newest(&self) -> &TicketKey {
        &self.newest.1
    }

    pub(super) fn key(&self, id: u16) -> Option<&TicketKey> {
        // At most 16 ids, which are not secret: a linear search is fast, and its timing harmless.
        std::iter::once(&self.newest)
            .chain(&self.previous)
            .find(|(known, _)| *known == id)
            .map(|(_, key)| key)
    }
}

/// Error of [`TicketKey`] and [`TicketKeys`].
#[derive(Clone, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TicketKeyError {
    /// The environment variable is not set.
    #[error("the ticket key is not set; create one with `openssl rand -base64 32`")]
    Unset,
    /// The text is empty.
    #[error("the ticket key is empty; create one with `openssl rand -base64 32`")]
    Empty,
    /// The text is not standard Base64 with padding.
    #[error(
        "the ticket key is not standard Base64 with padding; create one with \
         `openssl rand -base64 32`"
    )]
    NotBase64,
    /// The key has fewer than 32 or more than 1,024 bytes; holds its length.
    #[error(
        "a ticket key must have 32 to 1024 bytes, not {0}; create one with \
         `openssl rand -base64 32`"
    )]
    Length(usize),
    /// All bytes are equal.
    #[error("the ticket key is one byte repeated; create one with `openssl rand -base64 32`")]
    Uniform,
    /// Another key has this id.
    #[error("another ticket key already has the id {0}; assign each key its own id")]
    DuplicateId(u16),
    /// There would be more than 16 keys.
    #[error("at most 16 ticket keys are supported; remove those whose tickets have all expired")]
    TooMany,
    /// The operating system provided no random numbers, for a key or for a [`Nonce`].
    #[error("the operating system provided no random numbers, which every ticket needs")]
    Random,
    /// The value of this environment variable is not a key; contains the reason.
    #[error("{0}: {1}")]
    Variable(Box<str>, Box<Self>),
}

crate::causes::debug_is_text!(TicketKeyError);

/// 128 random bits that identify a ticket in a [`ReplayStore`](super::store::ReplayStore).
///
/// A nonce is not secret but must be unique: a store treats two tickets with the same nonce as one.
///
/// ```
/// use tower_aliyun_oss::ticket::store::Nonce;
///
/// let nonce = Nonce::random()?;
/// assert_ne!(nonce, Nonce::random()?);
/// assert_eq!(Nonce::from_bytes(*nonce.as_bytes()), nonce);
/// # Ok::<(), tower_aliyun_oss::ticket::TicketKeyError>(())
/// ```
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Nonce([u8; 16]);

impl Nonce {
    /// Generates a nonce with the random number generator of the operating system.
    ///
    /// # Errors
    ///
    /// Fails if the operating system provides no random numbers.
    pub fn random() -> Result<Self, TicketKeyError> {
        let mut bytes = [0; 16];
        fill_random(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// Creates a nonce from bytes of another random number generator.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes.
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

pub(super) fn fill_random(bytes: &mut [u8]) -> Result<(), TicketKeyError> {
    getrandom::fill(bytes).map_err(|_| TicketKeyError::Random)
}

#[cfg(test)]
mod tests {
    use std::mem::needs_drop;

    use hmac::Mac as _;
    use zeroize::ZeroizeOnDrop;

    use super::*;

    #[test]
    fn the_state_of_a_key_is_wiped_on_drop() {
        fn is_wiped<T: ZeroizeOnDrop>() {}
        // An HMAC consists of two states of its hash, and the buffer of one.
        is_wiped::<Sha256>();
        assert!(needs_drop::<Hmac<Sha256>>());
    }

    /// The key is longer than a block of SHA-256, as long, or shorter.
    #[test]
    fn a_kept_state_gives_the_macs_of_the_key() {
        for length in [32, 63, 64, 65, 1024] {
            let bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            let key = TicketKey::from_bytes(&bytes).unwrap();
            for text in [&b""[..], b"a", &[7; 1000]] {
                let mut fresh = Hmac::<Sha256>::new_from_slice(&bytes).unwrap();
                fresh.update(text);
                // A MAC must leave nothing behind for the next one.
                for _ in 0..2 {
                    let mut mac = key.mac();
                    mac.update(text);
                    assert_eq!(
                        mac.finalize().into_bytes(),
                        fresh.clone().finalize().into_bytes()
                    );
                }
            }
        }
    }

    #[test]
    fn the_error_of_a_variable_names_it_and_the_remedy_and_not_its_value() {
        let read = |value| TicketKey::from_variable("OSS_TICKET_KEY", value);
        let text = |text: &str| Ok(text.to_owned());
        for (value, reason) in [
            (Err(VarError::NotPresent), TicketKeyError::Unset),
            (text(""), TicketKeyError::Empty),
            (text("canary"), TicketKeyError::NotBase64),
            (
                Err(VarError::NotUnicode("canary".into())),
                TicketKeyError::NotBase64,
            ),
            (text("Y2FuYXJ5"), TicketKeyError::Length(6)),
            (text(&STANDARD.encode([7; 32])), TicketKeyError::Uniform),
        ] {
            let error = read(value).unwrap_err();
            for shown in [
                error.to_string(),
                format!("{error:?}"),
                format!("{error:#?}"),
            ] {
                assert_eq!(shown, format!("OSS_TICKET_KEY: {reason}"));
                assert!(shown.contains("`openssl rand -base64 32`"), "{shown}");
                assert!(!shown.contains("canary"), "{shown}");
            }
            assert_eq!(
                error,
                TicketKeyError::Variable("OSS_TICKET_KEY".into(), reason.into())
            );
        }
        read(text("R9ELuV7H0+1D0zn6CAbYXrpPEMqXxGXnDhLg4Lf0bLA=")).unwrap();
    }
}
