//! The bond between the two halves: a callback that proves it was granted.
//!
//! A genuine signature of OSS says that OSS sent a text for *somebody*. One key signs for every customer, and whoever
//! uploads chooses what is sent where. A ticket says that *you* asked for it: the policy service mints one for every
//! upload it grants and puts it, as a constant, into the body that OSS will send and sign; the callback layer checks
//! it. No database is needed for that.
//!
//! ```
//! use std::time::{Duration, SystemTime};
//! use tower_aliyun_oss::protocol::{CallbackBodyType, CallbackTarget, SizeRange};
//! use tower_aliyun_oss::ticket::{Grant, Nonce, Terms, TicketKey, TicketKeys};
//!
//! let keys = TicketKeys::new(1, TicketKey::generate()?);
//! let target: CallbackTarget = "/oss/callback".parse()?;
//! let now = SystemTime::now();
//!
//! // When the upload is granted:
//! let terms = Terms::new(
//!     "examplebucket".parse()?,
//!     Grant::Exact("user/7/photo.jpg".parse()?),
//!     SizeRange::new(1, 1024 * 1024)?,
//!     &target,
//!     now + Duration::from_secs(75 * 60),
//! )
//! .body_type(CallbackBodyType::Json)
//! .content_types(["image/jpeg".parse()?])
//! .claims(&("user", 7))?;
//! let text = keys.mint(&terms, now, Nonce::random()?)?;
//!
//! // When OSS calls back, before anything expensive is done:
//! let ticket = keys.check(&text, &target, CallbackBodyType::Json, now)?;
//! // and once the signature of OSS is verified:
//! ticket.permits("examplebucket", "user/7/photo.jpg", 4711, "image/jpeg")?;
//! assert_eq!(ticket.claims::<(String, u32)>()?, ("user".into(), 7));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What a ticket is
//!
//! URL-safe Base64 without padding, at most [`MAX_TICKET_LEN`] characters, of
//!
//! | field | bytes |
//! |---|---|
//! | version, 1 | 1 |
//! | id of the key | 2 |
//! | expiry, seconds of Unix time | 8 |
//! | nonce | 16 |
//! | type of the callback body | 1 |
//! | targets: how many, and the first half of the SHA-256 of each | 1 + 16 each |
//! | kind of the grant, and how often a prefix may be used | 1 + 2 |
//! | bucket, and object key or prefix | 2 + length each |
//! | smallest and largest size | 8 + 8 |
//! | content types: how many, and each | 1 + (2 + length) each |
//! | claims, JSON | 2 + length |
//! | HMAC-SHA256 over `oss-cb-v1` with its length, and everything above | 32 |
//!
//! All of it travels, so a ticket is checked without a database, and all of it is authentic. **Nothing of it is
//! secret:** the uploader can read bucket, key and claims. A ticket has one spelling; every other text is refused.
//!
//! # One use
//!
//! A ticket alone can be shown again until it expires. A [`ReplayStore`] remembers which were used: [`MemoryStore`]
//! for one process, `RedisStore` (feature `redis`) for many.

mod checked;
mod codec;
mod error;
mod key;
mod memory;
mod nonce;
#[cfg(feature = "redis")]
mod redis;
mod reply;
mod seal;
mod store;
mod terms;
#[cfg(test)]
mod tests;
mod tickets;

pub use checked::CheckedTicket;
pub use codec::MAX_TICKET_LEN;
pub use error::TicketError;
pub use key::{TicketKey, TicketKeyError, TicketKeys};
pub use memory::MemoryStore;
pub use nonce::{Nonce, RandomError};
#[cfg(feature = "redis")]
pub use redis::RedisStore;
pub use reply::{StoredReply, StoredReplyError};
pub use seal::{MAX_LIFETIME, SKEW};
pub use store::{
    Attempt, Begin, Lease, ReplayStore, StoreAnswer, StoreError, StoreErrorKind, TextDigest,
    UseLimit,
};
pub use terms::{Grant, Terms, TermsError};
pub use tickets::{OnFailure, Tickets};
