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
//! use tower_aliyun_oss::ticket::{Scope, Nonce, Terms, TicketKey, TicketKeys};
//!
//! let keys = TicketKeys::new(1, TicketKey::generate()?);
//! let target: CallbackTarget = "/oss/callback".parse()?;
//! let now = SystemTime::now();
//!
//! // When the upload is granted:
//! let terms = Terms::new(
//!     "examplebucket".parse()?,
//!     Scope::Exact("user/7/photo.jpg".parse()?),
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
//! for one process, `RedisStore` (feature `redis`) for many. [`Tickets`] is what a layer is given: keys, store, and
//! what happens to a ticket whose handler fails.
//!
//! Of one ticket and one text (what OSS signed: path, query and body):
//!
//! | a callback comes | and it is answered |
//! |---|---|
//! | for the first time | by the handler, and the answer is kept |
//! | again, when the handler is done | as the first time; the handler does not run |
//! | again, while the handler runs | as the first time, or with 503 at the layer's deadline |
//! | again, after the handler failed | as [`OnFailure`] says: by the handler, or as the first time |
//! | with another text, for one object | with 403 |
//! | with another text, for a prefix | by the handler, as often as [`Scope::Prefix`] says; then with 403 |
//! | while the store cannot be reached | with 503 |
//!
//! An answer is a success only when it is known to be kept. A handler that has run, and whose answer could not be
//! kept, is not called one; with [`OnFailure::Retry`] it may run again once its [lease](Tickets::lease) has ended.
//! Nothing makes *exactly* once out of that: let the handler note the [nonce](CheckedTicket::nonce) and
//! [text](crate::callback::VerifiedCallback::text_digest) in its own transaction where it matters.
//!
//! OSS tries the URLs of a callback in turn. Those that differ in path or query make different texts, so for one
//! object only the first that the handler answers counts.
//!
//! # How durable
//!
//! What a store forgets can be used once more, by whoever has kept a signed callback, until the ticket expires:
//! nothing becomes possible that was not granted, but the handler runs a second time.
//!
//! * [`MemoryStore`] forgets when the process ends, and knows nothing of other processes.
//! * `RedisStore` keeps what its Redis keeps. With `appendonly yes` and **`appendfsync always`** a crash loses nothing
//!   that was answered. With `everysec` it loses a second or two; without `appendonly`, all since the last snapshot.
//!   A failover loses what was not replicated. Set `maxmemory-policy noeviction`.
//!
//! # What a ticket does not prove
//!
//! Its lawful holder can have OSS sign another size, type or checksum for it, through a bucket of his own. Ask OSS
//! itself, with your credentials, for what must be true.

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
mod store_error;
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
pub use store::{Attempt, Begin, Lease, ReplayStore, StoreAnswer, TextDigest, UseLimit};
pub use store_error::{StoreError, StoreErrorKind};
pub use terms::{Scope, Terms, TermsError};
pub use tickets::{OnFailure, Tickets};
