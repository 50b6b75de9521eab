//! Where keys come from.

use std::{
    error::Error,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, LazyLock},
};

use super::{KeyTable, KeyTableError, KeyUrl, PublicKey, PublicKeyError};

/// The published key, `callback_pub_key_v1.pem`; the reference says its content never changes.
const OFFICIAL_V1: &[u8] = include_bytes!("callback_pub_key_v1.pem");

static OFFICIAL_V1_KEY: LazyLock<Result<PublicKey, PublicKeyError>> =
    LazyLock::new(|| PublicKey::from_pem(OFFICIAL_V1));

/// Gives the key that stands at a [`KeyUrl`].
///
/// The layer parses the header against [`table`](Self::table) and asks for what came out; a source never sees a URL
/// that its own table does not hold. Answer [`KeyLookup::Ready`] when the key is at hand: that path allocates nothing.
pub trait KeySource: Send + Sync {
    /// The host and paths this source knows.
    fn table(&self) -> &KeyTable;

    /// The key that stands at `url`.
    fn key(&self, url: &KeyUrl) -> KeyLookup;

    /// Hears that a signature did not match under the key that stands at `url`; does nothing by default.
    ///
    /// It is said of every forgery, so it must cost nothing and must not make a good key unusable.
    fn signature_failed(&self, url: &KeyUrl) {
        let _ = url;
    }
}

impl<K: KeySource + ?Sized> KeySource for Arc<K> {
    fn table(&self) -> &KeyTable {
        (**self).table()
    }

    fn key(&self, url: &KeyUrl) -> KeyLookup {
        (**self).key(url)
    }

    fn signature_failed(&self, url: &KeyUrl) {
        (**self).signature_failed(url);
    }
}

/// What a [`KeySource`] answers.
#[allow(clippy::exhaustive_enums, reason = "a lookup is at hand or it is not")]
pub enum KeyLookup {
    /// The key is at hand, or there is none.
    Ready(Result<PublicKey, KeyError>),
    /// The key has to be waited for; the layer's deadline goes on.
    Pending(Pin<Box<dyn Future<Output = Result<PublicKey, KeyError>> + Send>>),
}

impl fmt::Debug for KeyLookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready(result) => f.debug_tuple("Ready").field(result).finish(),
            Self::Pending(_) => f.write_str("Pending(..)"),
        }
    }
}

/// Why a source has no key for an allowed URL. The callback is answered with 503: OSS does not retry.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum KeyError {
    /// The source does not hold this key.
    Unknown,
    /// The source could not get it now.
    Unavailable(Arc<dyn Error + Send + Sync>),
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => {
                "the key source does not hold this key; pin it or use a source that fetches"
            }
            Self::Unavailable(_) => "the key source could not get this key",
        })
    }
}

impl Error for KeyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unknown => None,
            Self::Unavailable(source) => Some(&**source),
        }
    }
}

/// Keys that are given once and never looked up: the default, with the published key of OSS.
///
/// ```
/// use tower_aliyun_oss::key::PinnedKeys;
///
/// let keys = PinnedKeys::official();
/// # let _ = keys;
/// ```
#[derive(Clone, Debug)]
pub struct PinnedKeys {
    table: KeyTable,
    keys: Arc<[(u16, PublicKey)]>,
}

impl PinnedKeys {
    /// The shortest key a source of your own takes, in bits.
    pub const MIN_OWN_BITS: usize = 1024;

    /// The published key of OSS, version 1, which is built in.
    #[must_use]
    pub fn official() -> Self {
        let keys = match &*OFFICIAL_V1_KEY {
            Ok(key) => Arc::from([(1, key.clone())]),
            // Not reached: a test parses the built-in key. Without it every callback would be answered with 503.
            Err(_) => Arc::from([]),
        };
        Self {
            table: KeyTable::official(),
            keys,
        }
    }

    /// The published key, and one more version that you have obtained and checked yourself.
    ///
    /// Replaces the key of that version, so a version that is already pinned can be changed too. A version above 999
    /// can never be named by a callback.
    #[must_use]
    pub fn with_version(self, version: u16, key: PublicKey) -> Self {
        let others = self
            .keys
            .iter()
            .filter(|(known, _)| *known != version)
            .cloned();
        let keys = others.chain([(version, key)]).collect();
        Self {
            table: self.table,
            keys,
        }
    }

    /// Your own host and keys, for a store that signs as OSS does.
    ///
    /// # Errors
    ///
    /// When a key has fewer than [`Self::MIN_OWN_BITS`] bits, or the names are not a [`KeyTable`].
    pub fn own<P: AsRef<str>>(
        host: &str,
        keys: impl IntoIterator<Item = (P, PublicKey)>,
    ) -> Result<Self, PinnedKeysError> {
        let (paths, keys): (Vec<P>, Vec<PublicKey>) = keys.into_iter().unzip();
        if let Some(weak) = keys.iter().find(|key| key.bits() < Self::MIN_OWN_BITS) {
            return Err(PinnedKeysError::TooShort(weak.bits()));
        }
        let table = KeyTable::own(host, paths).map_err(PinnedKeysError::Table)?;
        // A table has at most 1,000 paths, and its entries are counted in the order given.
        let keys = (0..).zip(keys).collect();
        Ok(Self { table, keys })
    }
}

#[cfg(feature = "fetch")]
impl PinnedKeys {
    pub(super) fn none(table: KeyTable) -> Self {
        let keys = Arc::from([]);
        Self { table, keys }
    }

    /// The key of an entry of this table.
    pub(super) fn get(&self, entry: u16) -> Option<&PublicKey> {
        let found = self.keys.iter().find(|(pinned, _)| *pinned == entry);
        found.map(|(_, key)| key)
    }
}

impl KeySource for PinnedKeys {
    fn table(&self) -> &KeyTable {
        &self.table
    }

    fn key(&self, url: &KeyUrl) -> KeyLookup {
        let of_this_table = *url.table() == self.table;
        let found = self
            .keys
            .iter()
            .find(|(entry, _)| of_this_table && *entry == url.entry());
        KeyLookup::Ready(found.map(|(_, key)| key.clone()).ok_or(KeyError::Unknown))
    }
}

/// Why keys cannot be pinned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum PinnedKeysError {
    /// A key with fewer than [`PinnedKeys::MIN_OWN_BITS`] bits; holds how many it has.
    TooShort(usize),
    /// The host or a path cannot stand in a table.
    Table(KeyTableError),
}

impl fmt::Display for PinnedKeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort(bits) => {
                write!(
                    f,
                    "a key of your own needs at least 1024 bits, this one has {bits}"
                )
            }
            Self::Table(_) => f.write_str("the names of the keys cannot stand in a table"),
        }
    }
}

impl Error for PinnedKeysError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::TooShort(_) => None,
            Self::Table(source) => Some(source),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use super::*;

    fn official_url(version: u16) -> KeyUrl {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        let url = format!("https://gosspublic.alicdn.com/callback_pub_key_v{version}.pem");
        KeyUrl::from_header(STANDARD.encode(url).as_bytes(), &KeyTable::official()).unwrap()
    }

    fn found(source: &PinnedKeys, url: &KeyUrl) -> Option<PublicKey> {
        match source.key(url) {
            KeyLookup::Ready(result) => result.ok(),
            KeyLookup::Pending(_) => unreachable!("a pinned key is never waited for"),
        }
    }

    #[test]
    fn version_1_is_built_in_and_nothing_else() {
        let keys = PinnedKeys::official();
        assert_eq!(found(&keys, &official_url(1)).unwrap().bits(), 512);
        assert_eq!(found(&keys, &official_url(2)), None);
        let both = keys
            .clone()
            .with_version(2, found(&keys, &official_url(1)).unwrap());
        assert!(found(&both, &official_url(1)).is_some());
        assert!(found(&both, &official_url(2)).is_some());
    }

    #[test]
    fn a_shared_source_hears_of_signatures_too() {
        #[derive(Default)]
        struct Listening(AtomicU32);

        impl KeySource for Listening {
            fn table(&self) -> &KeyTable {
                unreachable!("nothing is read")
            }

            fn key(&self, _: &KeyUrl) -> KeyLookup {
                KeyLookup::Ready(Err(KeyError::Unknown))
            }

            fn signature_failed(&self, _: &KeyUrl) {
                self.0.fetch_add(1, Relaxed);
            }
        }

        let source = Arc::new(Listening::default());
        KeySource::signature_failed(&source, &official_url(2));
        assert_eq!(source.0.load(Relaxed), 1);
    }

    #[test]
    fn keys_of_your_own_are_not_short() {
        let short = OFFICIAL_V1_KEY.clone().unwrap();
        let refused = PinnedKeys::own("h", [("/k.pem", short)]).unwrap_err();
        assert_eq!(refused, PinnedKeysError::TooShort(512));
    }
}
