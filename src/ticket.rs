//! Tickets: proof that your service granted the upload that a callback reports.
//!
//! An OSS signature proves that OSS sent a body on behalf of *some* customer. One key signs for all
//! of them, and the uploader chooses the callback URL and the body. A ticket proves that *your*
//! service granted the upload. The policy service issues one ticket per token and embeds it as a
//! constant in the callback body, which OSS then sends and signs. The callback layer verifies it
//! without a database.
//!
//! ```
//! use tower_aliyun_oss::OssCallbackLayer;
//! use tower_aliyun_oss::policy::{CallbackDirective, Credentials, Grant, OssPolicyService, Refusal};
//! use tower_aliyun_oss::ticket::{TicketKey, TicketKeys, Tickets};
//!
//! # async fn authorize(_: &http::request::Parts) -> Result<Grant, Refusal> { Err(Refusal::forbidden()) }
//! // In production: TicketKey::from_env("OSS_TICKET_KEY").
//! let tickets = Tickets::in_memory(TicketKeys::new(1, TicketKey::generate()?));
//!
//! // Adds a ticket to every token:
//! let tokens = OssPolicyService::new(
//!     authorize,
//!     Credentials::new("LTAI5tExample", "secret")?,
//!     "examplebucket".parse()?,
//!     "cn-hangzhou".parse()?,
//!     CallbackDirective::new("https://app.example/oss/callback")?,
//! )?
//! .tickets(tickets.clone())?;
//! // Rejects every callback without one:
//! let layer = OssCallbackLayer::new().tickets(tickets);
//! # let _ = (tokens, layer);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`OssUploads`](crate::OssUploads) configures both sides together.
//!
//! # Format
//!
//! A ticket is URL-safe Base64 without padding, at most [`MAX_TICKET_LEN`] characters, of:
//!
//! | field | bytes |
//! |---|---|
//! | version, 3 | 1 |
//! | key id | 2 |
//! | expiry, in seconds of Unix time | 8 |
//! | nonce | 16 |
//! | callback body type | 1 |
//! | targets: count, then the first half of the SHA-256 of each | 1 + 16 each |
//! | scope kind, and the number of uses of a prefix | 1 + 2 |
//! | bucket, then object key or prefix | 2 + length each |
//! | smallest and largest size | 8 + 8 |
//! | content types: count, then each | 1 + (2 + length) each |
//! | claims, as JSON | 2 + length |
//! | requested file name, or an empty text | 2 + length |
//! | fields of the callback body: count, then the kind of each | 1 + 1 each |
//! | first half of the SHA-256 of names, constants and custom variables | 16 |
//! | HMAC-SHA256 over `oss-cb-v1` with its length, then all fields above | 32 |
//!
//! Integers are big-endian. The ticket is self-contained and every field is authenticated.
//! **Nothing is encrypted:** the uploader can read the bucket, the key and the claims. Each ticket
//! has exactly one valid spelling; every other spelling is rejected, and so is every other version.
//!
//! # One use
//!
//! A ticket alone can be replayed until it expires. A [`ReplayStore`](store::ReplayStore) records
//! which tickets have been redeemed: [`MemoryStore`] for a single process, `RedisStore` (feature
//! `redis`) for several. [`Tickets`] configures a layer: keys, store, and what happens to a ticket
//! when the handler fails.
//!
//! The *text* of a callback is what OSS signs: path, query and body. For one ticket:
//!
//! | a callback arrives | response |
//! |---|---|
//! | for the first time | from the handler; the reply is stored |
//! | again, after the handler finished | the stored reply; the handler does not run |
//! | again, while the handler runs | the stored reply, or 503 at the deadline of the layer |
//! | again, after the handler failed | by [`OnFailure`]: from the handler, or the stored reply |
//! | again, after it failed [`max_attempts`](Tickets::max_attempts) times | 503 |
//! | with another text, for one object | 403 |
//! | with another text, for a prefix | from the handler, within its uses; then 403 |
//! | while the store is unreachable | 503 |
//!
//! The layer reports success only after the store confirms the reply. If a handler ran but its
//! reply could not be stored, the layer returns an error, and offers the reply to the store for ten
//! more minutes. With [`OnFailure::Retry`] the handler can run again only if the process died
//! before that, or was blocked or cut off from the store for longer than its
//! [lease](Tickets::lease), or if more than 1,024 replies wait for a failing store. A callback
//! whose handler was not called, because the store failed or the client left, can always be sent
//! again.
//!
//! A handler that always fails is started at most [`max_attempts`](Tickets::max_attempts) times per
//! use of a ticket, however often a captured callback is sent. This is not *exactly once*: where
//! that matters, record the [nonce](crate::callback::VerifiedCallback::ticket_nonce) and the [text
//! digest](crate::callback::VerifiedCallback::text_digest) in the transaction of the handler.
//!
//! OSS tries the URLs of a callback in order. URLs that differ in path or query produce different
//! texts, so for one object only the first text that the handler accepts counts.
//!
//! # Durability
//!
//! If a store loses a record, that ticket can be redeemed again until it expires, by anyone who
//! kept the signed callback. No new permission arises, but the handler runs a second time.
//!
//! * [`MemoryStore`] loses its records when the process exits and does not share them with other
//!   processes.
//! * `RedisStore` is as durable as its Redis. With `appendonly yes` and **`appendfsync always`** a
//!   crash loses no confirmed reply. With `everysec` it loses a second or two. Without `appendonly`
//!   it loses everything since the last snapshot. A failover loses writes that were not replicated.
//!   Set `maxmemory-policy noeviction`.
//!
//! # What a ticket does not prove
//!
//! The lawful holder of a ticket can upload to a bucket of their own and have OSS sign any body
//! with that ticket. The layer accepts only a body with the sealed fields, so bucket, constants,
//! custom variables, claims and the requested file name are the granted ones, whatever field they
//! are read from. What OSS
//! reports about the upload is not proven against the holder:
//!
//! * That the object exists. Its size and content type, beyond that they are within the grant. Its
//!   `etag`, `crc64` and `contentMd5`. With [`confirm`](crate::OssCallbackLayer::confirm), the
//!   layer asks OSS for these.
//! * `imageInfo.*`, `clientIp`, `vpcId`, `reqId` and `operation`. Nothing confirms these.
//! * For a prefix, the name below it.

mod config;
mod fields;
mod key;
pub mod ledger;
mod seal;
pub mod store;
mod terms;
#[cfg(test)]
mod tests;
mod token;

pub use config::{OnFailure, Tickets};
pub(crate) use fields::{BodyField, FieldDigest, FieldKind, FieldValue};
pub use key::{TicketKey, TicketKeyError, TicketKeys};
pub(crate) use seal::Domain;
pub use store::memory::MemoryStore;
#[cfg(feature = "redis")]
pub use store::redis::RedisStore;
pub use terms::{MAX_LIFETIME, MAX_TICKET_LEN};
pub use token::{SKEW, TicketError};

/// What a ticket contains, and issuing and checking one by hand.
///
/// **Not part of the stable interface.** Applications grant uploads with a
/// [`Grant`](crate::policy::Grant) and read the ticket of a callback from its
/// [`VerifiedCallback`](crate::callback::VerifiedCallback). This module, [`TicketKeys::issue`] and
/// [`TicketKeys::check`] are public for the tests, benches and fuzz targets of this package, and
/// hidden so that no application depends on them.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use tower_aliyun_oss::protocol::{
///     CallbackBodyType, CallbackTarget, SizeRange, SystemVariable, TICKET_FIELD,
/// };
/// use tower_aliyun_oss::ticket::{TicketKey, TicketKeys};
/// use tower_aliyun_oss::ticket::{internal::{BodyField, FieldValue, Scope, Terms}, store::Nonce};
///
/// let keys = TicketKeys::new(1, TicketKey::generate()?);
/// let target: CallbackTarget = "/oss/callback".parse()?;
/// let now = SystemTime::now();
///
/// // When the upload is granted:
/// let terms = Terms::new(
///     "examplebucket".parse()?,
///     Scope::Exact("user/7/photo.jpg".parse()?),
///     SizeRange::new(1, 1024 * 1024)?,
///     &target,
///     now + Duration::from_secs(75 * 60),
/// )
/// .body_type(CallbackBodyType::Json)
/// .content_types(["image/jpeg".parse()?])
/// .claims(&("user", 7))?;
/// // The callback body: {"key":${object},"plan":"free","x:ticket":"..."}
/// let fields = [
///     BodyField::new("key", FieldValue::System(SystemVariable::Object)),
///     BodyField::new("plan", FieldValue::Constant(br#""free""#)),
///     BodyField::new(TICKET_FIELD, FieldValue::Ticket),
/// ];
/// let text = keys.issue(&terms, fields, now, Nonce::random()?)?;
///
/// // When OSS sends the callback, before any expensive check:
/// let ticket = keys.check(&text, &target, CallbackBodyType::Json, now)?;
/// // After the OSS signature is verified, the layer compares the fields of the body, and then:
/// ticket.permits("examplebucket", "user/7/photo.jpg", 4711, "image/jpeg")?;
/// assert_eq!(ticket.claims::<(String, u32)>()?, ("user".into(), 7));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(hidden)]
pub mod internal {
    pub use super::{
        fields::{BodyField, FieldValue},
        terms::{Scope, Terms, TermsError},
        token::CheckedTicket,
    };
}
