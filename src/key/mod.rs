//! The public keys that callbacks are checked with.
//!
//! A callback names its key by URL in the header `x-oss-pub-key-url`. That header is written by whoever sends the
//! request, so it is never followed: it only selects one entry of a [`KeyTable`], and a [`KeySource`] says which key
//! stands there. The default source, [`PinnedKeys::official`], holds the one key OSS has published and connects to
//! nothing.
//!
//! With the feature `fetch`, `FetchedKeys` also looks up versions that are not pinned, over https.
//!
//! Keys of your own, for an OSS-compatible store or a private gateway:
//!
//! ```
//! use tower_aliyun_oss::{OssCallbackLayer, key::{PinnedKeys, PublicKey}};
//!
//! # const PEM: &[u8] = b"-----BEGIN PUBLIC KEY-----
//! # MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCwdePUI+nzemtlgOfgDpUGKg1C
//! # M+pLGtJh3ShLVtQAzI5ABxQi9u7IIHpRsSypEhS0LPO48c6zxt73H/3IhVRPH/+b
//! # mYLvSFYVJSkQnIBmj/SwmqmmfgQnCy8TXkOu8TSaMxk1Wr5uyrsvZfKQC7OAMrb3
//! # GYJyATpELEbY0WoRHQIDAQAB
//! # -----END PUBLIC KEY-----
//! # ";
//! let key = PublicKey::from_pem(PEM)?;
//! let keys = PinnedKeys::own("store.internal:8443", [("/keys/callback.pem", key)])?;
//! let layer = OssCallbackLayer::new().key_source(keys);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(feature = "fetch")]
mod cache;
#[cfg(feature = "fetch")]
mod fetch;
mod public_key;
mod source;
mod table;
mod url;

#[cfg(feature = "fetch")]
pub use cache::{FetchedKeys, FetchedKeysBuilder, KeyStats};
#[cfg(feature = "fetch")]
pub use fetch::{
    FetchError, FetchErrorKind, FetchKey, HttpsFetcher, HttpsFetcherBuilder, HttpsFetcherError,
    ServiceFetcher,
};
pub use public_key::{PublicKey, PublicKeyError};
pub use source::{KeyError, KeyLookup, KeySource, PinnedKeys, PinnedKeysError};
pub use table::{KeyTable, KeyTableError};
pub use url::{KeyUrl, KeyUrlError};
