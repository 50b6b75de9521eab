//! The store of redeemed tickets: the trait to implement for a database, and its types.
//!
//! Applications use [`MemoryStore`](super::MemoryStore) or `RedisStore` and need nothing from this
//! module. Implement [`ReplayStore`] to keep the records elsewhere.
//!
//! For each callback the layer calls [`begin`](ReplayStore::begin) with an [`Attempt`] to redeem a
//! ticket for a signed text. The store returns [`Begin`]. If it is [`Begin::Fresh`], the layer runs
//! the handler and then calls [`finish`](ReplayStore::finish) with the [`StoredReply`], or
//! [`abandon`](ReplayStore::abandon) if the handler failed.

pub(super) mod memory;
#[cfg(feature = "redis")]
pub(super) mod redis;

use std::{
    error::Error,
    fmt,
    future::Future,
    num::NonZeroU16,
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderValue, StatusCode};

use super::key::Nonce;
use crate::Lookup;

/// Records which tickets were redeemed, and the replies.
///
/// A text is what OSS signed. A ticket for one object covers one text, a ticket for a prefix
/// several. Of all concurrent [`begin`](Self::begin) calls for a text, exactly one returns
/// [`Begin::Fresh`]. That caller runs the handler, and then calls [`finish`](Self::finish), or
/// [`abandon`](Self::abandon) to let the handler run again. If it calls neither, because its
/// process died, its lease expires and the next caller receives `Fresh`.
///
/// Return [`Lookup::Ready`] if the call does not wait. Do not hold a lock while waiting. If the
/// store is unreachable, return an error: the layer responds with 503.
pub trait ReplayStore: Send + Sync {
    /// Attempts to redeem a ticket for a text.
    fn begin(&self, attempt: &Attempt) -> Lookup<Begin, StoreError>;

    /// Stores the reply to a text, which then never runs again.
    ///
    /// Must be idempotent for one lease: a second call changes nothing and succeeds.
    ///
    /// # Errors
    ///
    /// Fails with [`StoreErrorKind::LeaseLost`], and changes nothing, if the lease expired and
    /// another caller holds the text.
    fn finish(&self, lease: &Lease, reply: &StoredReply) -> Lookup<(), StoreError>;

    /// Releases a text whose handler failed. Has no effect if the lease is lost or finished.
    fn abandon(&self, lease: &Lease) -> Lookup<(), StoreError>;
}

impl<S: ReplayStore + ?Sized> ReplayStore for Arc<S> {
    fn begin(&self, attempt: &Attempt) -> Lookup<Begin, StoreError> {
        (**self).begin(attempt)
    }

    fn finish(&self, lease: &Lease, reply: &StoredReply) -> Lookup<(), StoreError> {
        (**self).finish(lease, reply)
    }

    fn abandon(&self, lease: &Lease) -> Lookup<(), StoreError> {
        (**self).abandon(lease)
    }
}

/// The SHA-256 of the text that OSS signed, which tells the texts of one ticket apart.
///
/// OSS signs an MD5, but two texts with the same MD5 take seconds to construct. Identified by MD5,
/// the second of them would receive the reply of the first.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct TextDigest([u8; 32]);

impl TextDigest {
    /// Creates a digest from the 32 bytes of a SHA-256.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// How many texts a ticket covers.
#[allow(
    clippy::exhaustive_enums,
    reason = "a store must implement every limit"
)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UseLimit {
    /// One text. Any other is [`Begin::OtherText`].
    Once,
    /// This many texts, each once. Any more are [`Begin::Exhausted`].
    Texts(NonZeroU16),
}

/// An attempt to redeem a ticket for a text.
#[derive(Clone, Debug)]
pub struct Attempt {
    nonce: Nonce,
    digest: TextDigest,
    limit: UseLimit,
    until: SystemTime,
    now: SystemTime,
    lease: Duration,
    round: u32,
}

impl Attempt {
    /// The default lease: 10 s, twice as long as OSS waits for a response.
    pub const DEFAULT_LEASE: Duration = Duration::from_secs(10);

    /// Creates the first attempt to redeem the ticket `nonce` for a text. The store keeps the
    /// record until `until`; see [`CheckedTicket::until`](super::CheckedTicket::until).
    #[must_use]
    pub const fn new(
        nonce: Nonce,
        digest: TextDigest,
        limit: UseLimit,
        until: SystemTime,
        now: SystemTime,
    ) -> Self {
        Self {
            nonce,
            digest,
            limit,
            until,
            now,
            lease: Self::DEFAULT_LEASE,
            round: 0,
        }
    }

    /// Sets how long the text is reserved for the caller of `begin`. A handler that takes longer
    /// can run twice.
    #[must_use]
    pub const fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Returns the next attempt, to make after [`Begin::Running`]. A store can use
    /// [`round`](Self::round) to back off.
    #[must_use]
    pub const fn again(mut self, now: SystemTime) -> Self {
        self.now = now;
        self.round = self.round.saturating_add(1);
        self
    }

    /// Returns the nonce, which identifies the ticket.
    #[must_use]
    pub const fn nonce(&self) -> Nonce {
        self.nonce
    }

    /// Returns the digest, which identifies the text.
    #[must_use]
    pub const fn digest(&self) -> TextDigest {
        self.digest
    }

    /// Returns how many texts the ticket covers.
    #[must_use]
    pub const fn limit(&self) -> UseLimit {
        self.limit
    }

    /// Returns until when the store must keep the record of the ticket.
    #[must_use]
    pub const fn until(&self) -> SystemTime {
        self.until
    }

    /// Returns the current time.
    #[must_use]
    pub const fn now(&self) -> SystemTime {
        self.now
    }

    /// Returns the duration of the lease.
    #[must_use]
    pub const fn lease_time(&self) -> Duration {
        self.lease
    }

    /// Returns how many attempts preceded this one.
    #[must_use]
    pub const fn round(&self) -> u32 {
        self.round
    }
}

/// The result of an [`Attempt`].
#[non_exhaustive]
pub enum Begin {
    /// The handler has not run for this text. The caller must run it.
    Fresh(Lease),
    /// The handler has run for this text, with this reply.
    Stored(StoredReply),
    /// Another caller runs the handler for this text. Await the future, then try
    /// [`again`](Attempt::again). The future completes soon after the handler finishes or its
    /// lease expires, or earlier. Dropping it has no effect.
    Running(Pin<Box<dyn Future<Output = ()> + Send>>),
    /// The ticket covers one text, and it was redeemed for another.
    OtherText,
    /// The ticket was redeemed as often as it allows.
    Exhausted,
}

impl fmt::Debug for Begin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fresh(lease) => f.debug_tuple("Fresh").field(lease).finish(),
            Self::Stored(reply) => f.debug_tuple("Stored").field(reply).finish(),
            Self::Running(_) => f.write_str("Running(..)"),
            Self::OtherText => f.write_str("OtherText"),
            Self::Exhausted => f.write_str("Exhausted"),
        }
    }
}

/// The exclusive right to run the handler for one text, until it expires.
#[derive(Clone, Debug)]
pub struct Lease {
    nonce: Nonce,
    digest: TextDigest,
    fence: u128,
}

impl Lease {
    /// Creates a lease, for implementations of [`ReplayStore`].
    ///
    /// `fence` must be unique: it distinguishes a caller that lost its lease from the current
    /// holder.
    #[must_use]
    pub const fn new(attempt: &Attempt, fence: u128) -> Self {
        Self {
            nonce: attempt.nonce,
            digest: attempt.digest,
            fence,
        }
    }

    /// Returns the nonce, which identifies the ticket.
    #[must_use]
    pub const fn nonce(&self) -> Nonce {
        self.nonce
    }

    /// Returns the digest, which identifies the text.
    #[must_use]
    pub const fn digest(&self) -> TextDigest {
        self.digest
    }

    /// Returns the fence, which identifies the holder.
    #[must_use]
    pub const fn fence(&self) -> u128 {
        self.fence
    }
}

/// The response of a handler, stored to be sent again without running the handler.
///
/// ```
/// use http::{HeaderValue, StatusCode};
/// use tower_aliyun_oss::ticket::store::StoredReply;
///
/// let json = HeaderValue::from_static("application/json");
/// let reply = StoredReply::new(StatusCode::OK, Some(json), "{}")?;
/// assert_eq!(StoredReply::from_bytes(&reply.to_bytes())?, reply);
/// # Ok::<(), tower_aliyun_oss::ticket::store::StoredReplyError>(())
/// ```
#[derive(Clone, Eq, PartialEq)]
pub struct StoredReply {
    status: StatusCode,
    /// At most [`Self::MAX_CONTENT_TYPE_LEN`] bytes, so that its length fits one byte.
    content_type: Option<HeaderValue>,
    body: Bytes,
}

impl StoredReply {
    /// The maximum length of the body: 1 MiB, the most that OSS accepts.
    pub const MAX_BODY_LEN: usize = 1024 * 1024;

    /// The maximum length of the content type, in bytes.
    pub const MAX_CONTENT_TYPE_LEN: usize = 255;

    /// Creates a reply from status, content type and body.
    ///
    /// # Errors
    ///
    /// Fails if the body exceeds [`Self::MAX_BODY_LEN`], or the content type
    /// [`Self::MAX_CONTENT_TYPE_LEN`].
    pub fn new(
        status: StatusCode,
        content_type: Option<HeaderValue>,
        body: impl Into<Bytes>,
    ) -> Result<Self, StoredReplyError> {
        let body = body.into();
        if body.len() > Self::MAX_BODY_LEN {
            return Err(StoredReplyError::BodyTooLong(body.len()));
        }
        if content_type.as_ref().map_or(0, HeaderValue::len) > Self::MAX_CONTENT_TYPE_LEN {
            return Err(StoredReplyError::ContentTypeTooLong);
        }
        Ok(Self {
            status,
            content_type,
            body,
        })
    }

    /// Creates a JSON reply from a constant of this crate.
    pub(crate) fn json(status: StatusCode, body: &'static str) -> Self {
        Self {
            status,
            content_type: Some(HeaderValue::from_static("application/json")),
            body: Bytes::from_static(body.as_bytes()),
        }
    }

    /// Returns the status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the content type.
    #[must_use]
    pub const fn content_type(&self) -> Option<&HeaderValue> {
        self.content_type.as_ref()
    }

    /// Returns the body.
    #[must_use]
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    /// Serializes the reply, for a store outside the process: status (2 bytes), length of the
    /// content type (1 byte, 0 for none), content type, body.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let content_type = self.content_type.as_ref().map_or(&[][..], |t| t.as_bytes());
        let mut out = Vec::with_capacity(3 + content_type.len() + self.body.len());
        out.extend(self.status.as_u16().to_be_bytes());
        #[expect(clippy::expect_used, reason = "`new` rejects longer content types")]
        out.push(u8::try_from(content_type.len()).expect("at most 255 bytes"));
        out.extend(content_type);
        out.extend(&self.body);
        out
    }

    /// Parses the output of [`to_bytes`](Self::to_bytes).
    ///
    /// # Errors
    ///
    /// Fails if the bytes are anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StoredReplyError> {
        let unreadable = || StoredReplyError::Unreadable;
        let (&[high, low, length], rest) = bytes.split_first_chunk().ok_or_else(unreadable)?;
        let (content_type, body) = rest
            .split_at_checked(usize::from(length))
            .ok_or_else(unreadable)?;
        let status = StatusCode::from_u16(u16::from_be_bytes([high, low]))
            .map_err(|_| StoredReplyError::Unreadable)?;
        // Bytes from a shared database are parsed like any input: they can hold a status or a
        // header value that `http` does not accept.
        let content_type = (!content_type.is_empty())
            .then(|| HeaderValue::from_bytes(content_type))
            .transpose()
            .map_err(|_| StoredReplyError::Unreadable)?;
        Self::new(status, content_type, Bytes::copy_from_slice(body))
    }
}

impl fmt::Debug for StoredReply {
    /// Omits the body, which is meant for the uploader and not for a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredReply")
            .field("status", &self.status)
            .field("body_len", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// Error of [`StoredReply`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StoredReplyError {
    /// The body exceeds 1 MiB; holds its length.
    #[error(
        "the reply has {0} bytes, and at most 1048576 can be stored; OSS accepts no more either"
    )]
    BodyTooLong(usize),
    /// The content type exceeds 255 bytes.
    #[error("the content type of the reply exceeds 255 bytes")]
    ContentTypeTooLong,
    /// The bytes are not a serialized reply.
    #[error("the bytes are not a stored reply; does another program write to the store?")]
    Unreadable,
}

/// Error of a [`ReplayStore`]. The layer responds with 503, never with success.
#[derive(Clone, Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl StoreError {
    /// Creates an error with its cause.
    pub fn with_source(
        kind: StoreErrorKind,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self {
            kind,
            source: Some(Arc::from(source.into())),
        }
    }

    /// Returns the kind of the error.
    #[must_use]
    pub const fn kind(&self) -> StoreErrorKind {
        self.kind
    }
}

impl From<StoreErrorKind> for StoreError {
    fn from(kind: StoreErrorKind) -> Self {
        Self { kind, source: None }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            StoreErrorKind::Unavailable => "the ticket store cannot be reached; is it running?",
            StoreErrorKind::TimedOut => {
                "the ticket store did not respond in time; is it overloaded?"
            }
            StoreErrorKind::Full => {
                "the ticket store is full, and no record has expired; increase its capacity"
            }
            StoreErrorKind::LeaseLost => {
                "the handler exceeded its lease, and another caller holds the text; extend the \
                 lease"
            }
            StoreErrorKind::ReplyNotKept => {
                "the handler has run for this text, but its reply could not be stored; increase \
                 the room for replies"
            }
            StoreErrorKind::Unreadable => {
                "the ticket store contains unreadable data; does another program write to it?"
            }
            StoreErrorKind::Url => "the URL of the ticket store is not a usable redis:// URL",
        })
    }
}

// Not derived: thiserror would return the `Arc` as the source, which hides the type of the cause
// from `downcast_ref`.
impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// The kind of a [`StoreError`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The store is unreachable or refused the request.
    Unavailable,
    /// The store did not respond in time.
    TimedOut,
    /// The store has no room, and none of its records has expired.
    Full,
    /// The lease expired, and another caller holds the text.
    LeaseLost,
    /// The handler has run, but its reply could not be stored.
    ReplyNotKept,
    /// The store contains unreadable data.
    Unreadable,
    /// The URL of the store is invalid.
    Url,
}
