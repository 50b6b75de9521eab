//! Public keys that verify callbacks.
//!
//! A callback names its key by URL, in the header `x-oss-pub-key-url`. The sender of the request
//! controls that header, so the URL is never followed: it only selects one entry of a [`KeyTable`],
//! and a [`KeySource`] returns the key of that entry. The default source,
//! [`PinnedKeys::official`], holds the one key that OSS has published and connects to nothing.
//!
//! With the feature `fetch`, `FetchedKeys` also fetches versions that are not pinned, over HTTPS.
//!
//! An OSS-compatible store or a private gateway that signs with a different key:
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
mod fetched;
#[cfg(feature = "fetch")]
mod https;
mod public_key;
mod rsavp1;
mod source;
mod url;

#[cfg(feature = "fetch")]
pub use fetched::{FetchedKeys, FetchedKeysBuilder, KeyStats};
#[cfg(feature = "fetch")]
pub use https::{FetchError, FetchErrorKind, FetchKey, HttpsFetcher};
pub use public_key::{PublicKey, PublicKeyError};
pub use source::{KeyError, KeySource, PinnedKeys};
pub use url::{KeyTable, KeyUrl, KeyUrlError};
