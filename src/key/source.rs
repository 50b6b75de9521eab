//! The [`KeySource`] trait and the default source, [`PinnedKeys`].

use std::{
    error::Error,
    fmt,
    sync::{Arc, LazyLock},
};

use super::{
    public_key::{PublicKey, PublicKeyError},
    url::{KeyTable, KeyUrl, KeyUrlError},
};
use crate::Lookup;

/// Returns the key of a [`KeyUrl`].
///
/// The layer parses the header against [`table`](Self::table) and looks up the result, so a source
/// never receives a URL that its own table does not contain. Return [`Lookup::Ready`] if the key is
/// in memory: that path allocates nothing.
pub trait KeySource: Send + Sync {
    /// The host and the paths that this source knows.
    fn table(&self) -> &KeyTable;

    /// Looks up the key of `url`. The layer's deadline also covers a pending lookup.
    fn key(&self, url: &KeyUrl) -> Lookup<PublicKey, KeyError>;

    /// Called when a signature fails to verify with the key of `url`. Does nothing by default.
    ///
    /// Every forged request triggers this call. It must be cheap, and it must not make a good key
    /// unusable.
    fn signature_failed(&self, url: &KeyUrl) {
        let _ = url;
    }
}

impl<K: KeySource + ?Sized> KeySource for Arc<K> {
    fn table(&self) -> &KeyTable {
        (**self).table()
    }

    fn key(&self, url: &KeyUrl) -> Lookup<PublicKey, KeyError> {
        (**self).key(url)
    }

    fn signature_failed(&self, url: &KeyUrl) {
        (**self).signature_failed(url);
    }
}

impl<K: KeySource + ?Sized> KeySource for Box<K> {
    fn table(&self) -> &KeyTable {
        (**self).table()
    }

    fn key(&self, url: &KeyUrl) -> Lookup<PublicKey, KeyError> {
        (**self).key(url)
    }

    fn signature_failed(&self, url: &KeyUrl) {
        (**self).signature_failed(url);
    }
}

/// Why a source returns no key for an allowed URL. The layer responds with status 503, and OSS does
/// not retry the callback.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum KeyError {
    /// The source does not have this key.
    Unknown,
    /// The source failed to obtain the key.
    Unavailable(Arc<dyn Error + Send + Sync>),
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => {
                "the key source does not have this key; pin it or use a source that fetches keys"
            }
            Self::Unavailable(_) => "the key source failed to obtain this key",
        })
    }
}

// By hand, because thiserror returns the `Arc` itself as the source: callers could not downcast it
// to the error inside.
impl Error for KeyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unknown => None,
            Self::Unavailable(source) => Some(&**source),
        }
    }
}

/// The key that OSS has published. The API reference states that its content never changes.
const OFFICIAL_V1: &[u8] = include_bytes!("callback_pub_key_v1.pem");

static OFFICIAL_V1_KEY: LazyLock<Result<PublicKey, PublicKeyError>> =
    LazyLock::new(|| PublicKey::from_pem(OFFICIAL_V1));

/// A fixed set of keys in memory. The default source holds the published key of OSS.
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
    /// The minimum length of a key in a custom table, in bits.
    pub const MIN_OWN_BITS: usize = 1024;

    /// Returns the built-in published key of OSS, version 1.
    #[must_use]
    pub fn official() -> Self {
        let keys = match &*OFFICIAL_V1_KEY {
            Ok(key) => Arc::from([(1, key.clone())]),
            // Unreachable: a unit test parses the built-in key. An empty set fails closed.
            Err(_) => Arc::from([]),
        };
        Self {
            table: KeyTable::official(),
            keys,
        }
    }

    /// Adds a version of the official key that you have obtained and checked yourself.
    ///
    /// Replaces the key if the version is already pinned. Callbacks cannot name versions above 999.
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

    /// Creates a source for a store that signs as OSS does, from its host, its paths and their
    /// keys.
    ///
    /// # Errors
    ///
    /// If a key has fewer than [`Self::MIN_OWN_BITS`] bits, or the host and paths do not form a
    /// [`KeyTable`].
    pub fn own<P: AsRef<str>>(
        host: &str,
        keys: impl IntoIterator<Item = (P, PublicKey)>,
    ) -> Result<Self, KeyUrlError> {
        let (paths, keys): (Vec<P>, Vec<PublicKey>) = keys.into_iter().unzip();
        if let Some(weak) = keys.iter().find(|key| key.bits() < Self::MIN_OWN_BITS) {
            return Err(KeyUrlError::ShortKey(weak.bits()));
        }
        let table = KeyTable::own(host, paths)?;
        // The table numbers its paths in this order, and there are at most 1,000 of them.
        let keys = (0..).zip(keys).collect();
        Ok(Self { table, keys })
    }

    #[cfg(feature = "fetch")]
    pub(super) fn none(table: KeyTable) -> Self {
        let keys = Arc::from([]);
        Self { table, keys }
    }

    /// Returns the key of an entry of this source's table.
    pub(super) fn get(&self, entry: u16) -> Option<&PublicKey> {
        let found = self.keys.iter().find(|(pinned, _)| *pinned == entry);
        found.map(|(_, key)| key)
    }
}

impl KeySource for PinnedKeys {
    fn table(&self) -> &KeyTable {
        &self.table
    }

    fn key(&self, url: &KeyUrl) -> Lookup<PublicKey, KeyError> {
        // Entries of different tables have the same numbers.
        let known = *url.table() == self.table;
        let found = self.get(url.entry()).filter(|_| known);
        Lookup::Ready(found.cloned().ok_or(KeyError::Unknown))
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
            Lookup::Ready(result) => result.ok(),
            Lookup::Pending(_) => unreachable!("pinned keys are ready"),
        }
    }

    #[test]
    fn a_boxed_source_has_the_table_and_the_keys_of_the_source() {
        let boxed: Box<dyn KeySource> = Box::new(PinnedKeys::official());
        assert_eq!(boxed.table(), PinnedKeys::official().table());
        let Lookup::Ready(Ok(key)) = KeySource::key(&boxed, &official_url(1)) else {
            unreachable!("pinned keys are ready");
        };
        assert_eq!(key.bits(), 512);
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
                unreachable!("no header is parsed")
            }

            fn key(&self, _: &KeyUrl) -> Lookup<PublicKey, KeyError> {
                Lookup::Ready(Err(KeyError::Unknown))
            }

            fn signature_failed(&self, _: &KeyUrl) {
                self.0.fetch_add(1, Relaxed);
            }
        }

        let source = Arc::new(Listening::default());
        KeySource::signature_failed(&source, &official_url(2));
        assert_eq!(source.0.load(Relaxed), 1);
        let boxed: Box<dyn KeySource> = Box::new(Arc::clone(&source));
        KeySource::signature_failed(&boxed, &official_url(2));
        assert_eq!(source.0.load(Relaxed), 2);
    }

    #[test]
    fn keys_of_your_own_are_not_short() {
        let short = OFFICIAL_V1_KEY.clone().unwrap();
        let refused = PinnedKeys::own("h", [("/k.pem", short)]).unwrap_err();
        assert_eq!(refused, KeyUrlError::ShortKey(512));
    }
}
