//! The store of redeemed tickets: the trait to implement for a database, and its types.
//!
//! Applications use [`MemoryStore`](super::MemoryStore) or `RedisStore` and need nothing from this
//! module. Implement [`ReplayStore`] to keep the records elsewhere.
//!
//! For each callback the layer makes one [`Attempt`] to redeem a ticket for a signed text, and
//! calls the store:
//!
//! ```text
//! begin ─▶ Fresh ─▶ start* ─▶ handler ─┬─▶ finish    it answered: the reply is stored
//!   │        │        │                └─▶ fail      it failed, and may run again
//!   └────────┴────────┴──────────────────▶ abandon   it was not called
//! ```
//!
//! `start` is called with [`OnFailure::AtMostOnce`](super::OnFailure::AtMostOnce) only. An attempt
//! that is not [`Begin::Fresh`] needs no further call. A layer that
//! [confirms](crate::OssCallbackLayer::confirm) uploads asks OSS after `begin`, and calls `refuse`
//! in place of `start` if OSS refutes the callback.

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

use super::key::{TicketKeyError, fill_random};
use crate::Lookup;

pub use super::key::Nonce;

/// Records which tickets were redeemed, and the replies.
///
/// A text is what OSS signed. A ticket for one object covers one text, a ticket for a prefix
/// several. Of all concurrent [`begin`](Self::begin) calls for a text, exactly one returns
/// [`Begin::Fresh`]: that attempt holds the text. It keeps it until [`finish`](Self::finish),
/// [`fail`](Self::fail) or [`abandon`](Self::abandon), or until its process died and its lease
/// expired. Each attempt has a random [fence](Attempt::fence), by which the store knows the holder.
///
/// The outcome of a call that times out is unknown: it may have been executed, or it may be
/// executed later. Therefore every call must be idempotent for one fence, and `abandon` must also
/// cancel a `begin` that arrives after it.
///
/// Return [`Lookup::Ready`] if the call does not wait. Do not hold a lock while waiting. If the
/// store is unreachable, return an error: the layer responds with 503. It repeats `finish` in the
/// background for up to ten minutes, and `fail`, `abandon` and `refuse` once within the lease; the
/// `abandon` that follows a `start` for up to 30 s. It repeats nothing if the kind of the error
/// shows that this is useless, such as [`LeaseLost`](StoreErrorKind::LeaseLost).
///
/// Of these calls, at most 1,024 `abandon` or `refuse`, and 1,024 others, are under way in the
/// background at a time. Over these limits the layer drops them, and the lease of the text must
/// expire.
pub trait ReplayStore: Send + Sync {
    /// Attempts to redeem a ticket for a text.
    ///
    /// Without [`at_most_once`](Attempt::is_at_most_once), `Fresh` counts as a start of the
    /// handler. If the ticket has used up its [starts](Attempt::max_starts) or its
    /// [refusals](Attempt::max_refusals), return [`Begin::Spent`] instead of `Fresh`, and change
    /// nothing.
    fn begin(&self, attempt: &Attempt) -> Lookup<Begin, StoreError>;

    /// Marks a text as used up immediately before an at-most-once handler is called. From then on
    /// its lease does not expire.
    ///
    /// # Errors
    ///
    /// Fails with [`StoreErrorKind::LeaseLost`], and changes nothing, if another attempt holds the
    /// text.
    fn start(&self, lease: &Lease) -> Lookup<(), StoreError>;

    /// Stores the reply to a text, which then never runs again. The first reply stays.
    ///
    /// # Errors
    ///
    /// Fails with [`StoreErrorKind::LeaseLost`], and changes nothing, if another attempt holds the
    /// text.
    fn finish(&self, lease: &Lease, reply: &StoredReply) -> Lookup<(), StoreError>;

    /// Releases a text whose handler failed. Its start stays counted. Has no effect if the lease is
    /// lost or finished.
    fn fail(&self, lease: &Lease) -> Lookup<(), StoreError>;

    /// Releases a text whose handler was not called, and does not count a start. Has no effect if
    /// the lease is lost or finished.
    ///
    /// If the fence of the lease has not begun, a later `begin` with this fence must change
    /// nothing, for at least as long as it can be delayed on its way to the store.
    fn abandon(&self, lease: &Lease) -> Lookup<(), StoreError>;

    /// Releases a text whose upload OSS refutes. Its handler was not called, and no start counts.
    /// Counts a refusal of the ticket instead, at most [`Attempt::MAX_REFUSALS`]. Has no effect if
    /// the lease is lost or finished.
    ///
    /// By default it calls [`fail`](Self::fail): a refusal counts as a start, and a ticket has
    /// fewer of them. A store for at-most-once handlers must implement it, because their starts are
    /// not counted.
    fn refuse(&self, lease: &Lease) -> Lookup<(), StoreError> {
        self.fail(lease)
    }

    /// Returns whether a text of the ticket `nonce` is used up: its at-most-once handler was
    /// [started](Self::start), or its reply is stored, so that no end of a lease frees it. A
    /// [recovery](crate::recovery) asks if another attempt holds the ticket.
    ///
    /// By default it returns true: a recovery then takes an at-most-once handler whose process
    /// holds a ticket for minutes for one that was started.
    fn is_used_up(&self, nonce: Nonce) -> Lookup<bool, StoreError> {
        let _ = nonce;
        Lookup::Ready(Ok(true))
    }
}

impl<S: ReplayStore + ?Sized> ReplayStore for Arc<S> {
    fn begin(&self, attempt: &Attempt) -> Lookup<Begin, StoreError> {
        (**self).begin(attempt)
    }

    fn start(&self, lease: &Lease) -> Lookup<(), StoreError> {
        (**self).start(lease)
    }

    fn finish(&self, lease: &Lease, reply: &StoredReply) -> Lookup<(), StoreError> {
        (**self).finish(lease, reply)
    }

    fn fail(&self, lease: &Lease) -> Lookup<(), StoreError> {
        (**self).fail(lease)
    }

    fn abandon(&self, lease: &Lease) -> Lookup<(), StoreError> {
        (**self).abandon(lease)
    }

    fn refuse(&self, lease: &Lease) -> Lookup<(), StoreError> {
        (**self).refuse(lease)
    }

    fn is_used_up(&self, nonce: Nonce) -> Lookup<bool, StoreError> {
        (**self).is_used_up(nonce)
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

impl UseLimit {
    /// Returns the number of texts.
    #[must_use]
    pub const fn get(self) -> u16 {
        match self {
            Self::Once => 1,
            Self::Texts(max) => max.get(),
        }
    }
}

/// An attempt to redeem a ticket for a text.
#[derive(Clone, Debug)]
pub struct Attempt {
    nonce: Nonce,
    digest: [u8; 32],
    fence: u128,
    limit: UseLimit,
    max_starts: u32,
    max_refusals: u32,
    at_most_once: bool,
    until: SystemTime,
    now: SystemTime,
    lease: Duration,
    round: u32,
}

impl Attempt {
    /// How many refused confirmations a ticket allows, over all of its texts. A holder of a ticket
    /// can have OSS sign any number of false callbacks, and each costs a request to OSS.
    pub const MAX_REFUSALS: u8 = 20;

    /// The default lease: 10 s, twice as long as OSS waits for a response.
    pub const DEFAULT_LEASE: Duration = Duration::from_secs(10);

    /// Creates an attempt to redeem the ticket `nonce` for the text with this
    /// [digest](Self::digest), and draws its [fence](Self::fence). The store keeps the record until
    /// `until`: the expiry of the ticket plus [`SKEW`](super::SKEW), or, with a
    /// [ledger](super::ledger), the end of the row of its upload. The layer makes no attempt after
    /// it, but its clock can be set back, so keep records somewhat longer.
    ///
    /// # Errors
    ///
    /// Fails if the operating system provides no random numbers.
    pub fn new(
        nonce: Nonce,
        digest: [u8; 32],
        limit: UseLimit,
        until: SystemTime,
        now: SystemTime,
    ) -> Result<Self, TicketKeyError> {
        // Random rather than counted: the instances have no counter in common.
        let mut fence = [0; 16];
        fill_random(&mut fence)?;
        Ok(Self {
            nonce,
            digest,
            fence: u128::from_be_bytes(fence),
            limit,
            max_starts: u32::MAX,
            max_refusals: Self::MAX_REFUSALS.into(),
            at_most_once: false,
            until,
            now,
            lease: Self::DEFAULT_LEASE,
            round: 0,
        })
    }

    /// Sets how long the text stays reserved for a holder that no longer renews its lease, because
    /// its process died, was blocked for longer than that, or lost the connection to the store.
    #[must_use]
    pub const fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Sets how many starts of the handler the ticket allows, over all of its texts. Unlimited by
    /// default.
    #[must_use]
    pub const fn starts(mut self, max: u32) -> Self {
        self.max_starts = max;
        self
    }

    /// Lifts the limits of starts and refusals: a recovery has its own, and the holder of a ticket
    /// must not be able to use them up.
    pub(crate) const fn of_recovery(mut self) -> Self {
        self.max_starts = u32::MAX;
        self.max_refusals = u32::MAX;
        self
    }

    /// Requires [`ReplayStore::start`] before the handler is called. Until then the text is only
    /// reserved; afterwards it is used up, whatever becomes of the handler.
    #[must_use]
    pub const fn at_most_once(mut self) -> Self {
        self.at_most_once = true;
        self
    }

    /// Returns the attempt to make after [`Begin::Running`]. It has the same fence. A store can use
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

    /// Returns the SHA-256 of the text that OSS signed, which tells the texts of one ticket apart.
    ///
    /// OSS signs an MD5, but two texts with the same MD5 take seconds to construct. Identified by
    /// MD5, the second of them would receive the reply of the first.
    #[must_use]
    pub const fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Returns the random number that identifies this attempt as the holder of the text.
    #[must_use]
    pub const fn fence(&self) -> u128 {
        self.fence
    }

    /// Returns how many texts the ticket covers.
    #[must_use]
    pub const fn limit(&self) -> UseLimit {
        self.limit
    }

    /// Returns how many starts of the handler the ticket allows.
    #[must_use]
    pub const fn max_starts(&self) -> u32 {
        self.max_starts
    }

    /// Returns how many refusals the ticket allows: [`Self::MAX_REFUSALS`], and any number for the
    /// [recovery](crate::recovery) of an upload, which has asked OSS itself.
    #[must_use]
    pub const fn max_refusals(&self) -> u32 {
        self.max_refusals
    }

    /// Returns whether the handler must be [started](ReplayStore::start) separately.
    #[must_use]
    pub const fn is_at_most_once(&self) -> bool {
        self.at_most_once
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
    /// The handler has not answered for this text, and this attempt holds it now. The caller must
    /// run the handler, or [abandon](ReplayStore::abandon) the lease.
    Fresh(Lease),
    /// The handler has run for this text, with this reply.
    Stored(StoredReply),
    /// Another attempt holds this text. Await the future, then try [`again`](Attempt::again). The
    /// future completes soon after the handler finishes or its lease expires, or earlier. Dropping
    /// it has no effect.
    Running(Pin<Box<dyn Future<Output = ()> + Send>>),
    /// The ticket covers one text, and it was redeemed for another.
    OtherText,
    /// The ticket was redeemed as often as it allows.
    Exhausted,
    /// The handler was started as often as the ticket [allows](Attempt::max_starts), or OSS refuted
    /// as many of its callbacks as it [allows](Attempt::MAX_REFUSALS).
    Spent {
        /// Whether this is the first such result for the ticket, which is worth a line in the log.
        first: bool,
    },
}

impl fmt::Debug for Begin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fresh(lease) => f.debug_tuple("Fresh").field(lease).finish(),
            Self::Stored(reply) => f.debug_tuple("Stored").field(reply).finish(),
            Self::Running(_) => f.write_str("Running(..)"),
            Self::OtherText => f.write_str("OtherText"),
            Self::Exhausted => f.write_str("Exhausted"),
            Self::Spent { first } => f.debug_struct("Spent").field("first", first).finish(),
        }
    }
}

/// The exclusive right to run the handler for one text.
#[derive(Clone)]
pub struct Lease {
    nonce: Nonce,
    digest: [u8; 32],
    fence: u128,
    guard: Option<Arc<dyn Send + Sync>>,
}

impl Lease {
    /// Creates the lease that an attempt asks for.
    #[must_use]
    pub const fn new(attempt: &Attempt) -> Self {
        Self {
            nonce: attempt.nonce,
            digest: attempt.digest,
            fence: attempt.fence,
            guard: None,
        }
    }

    /// Keeps `guard` until the lease and its clones are dropped. A store can attach the task that
    /// renews the lease.
    #[must_use]
    pub fn guard(mut self, guard: impl Send + Sync + 'static) -> Self {
        self.guard = Some(Arc::new(guard));
        self
    }

    /// Returns the nonce, which identifies the ticket.
    #[must_use]
    pub const fn nonce(&self) -> Nonce {
        self.nonce
    }

    /// Returns the SHA-256 of the text; see [`Attempt::digest`].
    #[must_use]
    pub const fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Returns the fence, which identifies the holder.
    #[must_use]
    pub const fn fence(&self) -> u128 {
        self.fence
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("nonce", &self.nonce)
            .field("fence", &format_args!("{:032x}", self.fence))
            .finish_non_exhaustive()
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
/// # Ok::<(), tower_aliyun_oss::ticket::store::StoreError>(())
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
    /// Fails with [`StoreErrorKind::ReplyTooLong`] if the body exceeds [`Self::MAX_BODY_LEN`], or
    /// the content type [`Self::MAX_CONTENT_TYPE_LEN`].
    pub fn new(
        status: StatusCode,
        content_type: Option<HeaderValue>,
        body: impl Into<Bytes>,
    ) -> Result<Self, StoreError> {
        let body = body.into();
        let content_type_len = content_type.as_ref().map_or(0, HeaderValue::len);
        if body.len() > Self::MAX_BODY_LEN || content_type_len > Self::MAX_CONTENT_TYPE_LEN {
            return Err(StoreErrorKind::ReplyTooLong.into());
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
    /// Fails with [`StoreErrorKind::Unreadable`] if the bytes are anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StoreError> {
        let unreadable = || StoreError::from(StoreErrorKind::Unreadable);
        let (&[high, low, length], rest) = bytes.split_first_chunk().ok_or_else(unreadable)?;
        let (content_type, body) = rest
            .split_at_checked(usize::from(length))
            .ok_or_else(unreadable)?;
        let status =
            StatusCode::from_u16(u16::from_be_bytes([high, low])).map_err(|_| unreadable())?;
        // Bytes from a shared database are parsed like any input: they can hold a status or a
        // header value that `http` does not accept.
        let content_type = (!content_type.is_empty())
            .then(|| HeaderValue::from_bytes(content_type))
            .transpose()
            .map_err(|_| unreadable())?;
        Self::new(status, content_type, Bytes::copy_from_slice(body)).map_err(|_| unreadable())
    }

    /// Returns a copy in one allocation of its own.
    ///
    /// The body of a response can be a slice of a much larger buffer, such as the read buffer of a
    /// connection, which it would keep in memory.
    fn compact(&self) -> Self {
        let content_type = self.content_type.as_ref().map_or(&[][..], |t| t.as_bytes());
        let whole = Bytes::from([content_type, &self.body].concat());
        let body = whole.slice(content_type.len()..);
        let content_type = whole.slice(..content_type.len());
        Self {
            status: self.status,
            content_type: self.content_type.as_ref().and_then(|_| {
                // Valid: it is a copy of a header value.
                HeaderValue::from_maybe_shared(content_type).ok()
            }),
            body,
        }
    }

    /// Returns the heap memory of a [compact](Self::compact) reply, in bytes.
    fn heap_bytes(&self) -> usize {
        /// What `Bytes` allocates beside a buffer that several handles share: address, capacity and
        /// count. A test measures it.
        const SHARED: usize = 3 * size_of::<usize>();
        match self.content_type.as_ref().map_or(0, HeaderValue::len) + self.body.len() {
            0 => 0,
            len => len + SHARED,
        }
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

/// Error of a [`ReplayStore`]. The layer responds with 503, never with success.
#[derive(Clone)]
pub struct StoreError {
    kind: StoreErrorKind,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

crate::causes::debug_is_text!(StoreError);

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
                "the handler lost its lease, and another caller holds the text; was the store out \
                 of reach for longer than the lease?"
            }
            StoreErrorKind::ReplyNotKept => {
                "the handler has run for this text, but its reply could not be stored; increase \
                 the room for replies"
            }
            StoreErrorKind::ReplyTooLong => {
                "the reply cannot be stored: its body exceeds 1 MiB, or its content type 255 bytes"
            }
            StoreErrorKind::RowTooLong => {
                "the row of a granted upload cannot be stored: it exceeds 24 KiB"
            }
            StoreErrorKind::Unreadable => {
                "the ticket store contains unreadable data; does another program write to it?"
            }
            StoreErrorKind::Url => {
                "the URL of the ticket store is not a usable redis:// URL; rediss:// needs the \
                 feature `redis-tls`"
            }
            StoreErrorKind::Tls => {
                "no TLS connection to the ticket store; check its certificate, its name and the \
                 trusted roots"
            }
            StoreErrorKind::Denied => {
                "the ticket store denies access; check user, password and permissions"
            }
            StoreErrorKind::Loading => {
                "the ticket store is starting or failing over; it accepts no commands yet"
            }
            StoreErrorKind::NotReplicated => {
                "too few replicas of the store have confirmed the record in time; see whether they are \
                 connected, and raise the timeout"
            }
            StoreErrorKind::ReadOnly => {
                "the ticket store is a read-only replica; connect to the primary, or through sentinels"
            }
            StoreErrorKind::Moved => {
                "the ticket store is one node of a cluster, and the record is on another; use \
                 RedisStore::cluster"
            }
            StoreErrorKind::Refused => "the ticket store refused a command; see the source",
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
    /// The store is unreachable. Whether it executed the call is unknown.
    Unavailable,
    /// The store did not respond in time. Whether it executed the call is unknown.
    TimedOut,
    /// The store has no room, and none of its records has expired. Redis: `OOM`.
    Full,
    /// Another attempt holds the text, or this one was abandoned.
    LeaseLost,
    /// The handler has run, but its reply could not be stored.
    ReplyNotKept,
    /// The reply exceeds the limits of [`StoredReply`].
    ReplyTooLong,
    /// The row of a granted upload exceeds
    /// [`GrantedUpload::MAX_LEN`](super::ledger::GrantedUpload::MAX_LEN).
    RowTooLong,
    /// The store contains unreadable data.
    Unreadable,
    /// The URL of the store is invalid.
    Url,
    /// The TLS handshake with the store failed, or no cryptography is available.
    Tls,
    /// The store denies access. Redis: `NOAUTH`, `WRONGPASS`, `NOPERM`.
    Denied,
    /// The store is starting or failing over. Redis: `LOADING`, `MASTERDOWN`, `CLUSTERDOWN`,
    /// `TRYAGAIN`.
    Loading,
    /// The store accepts no writes. Redis: `READONLY`.
    ReadOnly,
    /// Too few replicas have confirmed the call in time. The store itself has executed it.
    NotReplicated,
    /// Another node of a cluster has the record. Redis: `MOVED`, `ASK`, `CROSSSLOT`.
    Moved,
    /// The store refused the call for another reason; see the source.
    Refused,
}

impl StoreErrorKind {
    /// Returns the name of the kind in the metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Unavailable => "Unavailable",
            Self::TimedOut => "TimedOut",
            Self::Full => "Full",
            Self::LeaseLost => "LeaseLost",
            Self::ReplyNotKept => "ReplyNotKept",
            Self::ReplyTooLong => "ReplyTooLong",
            Self::RowTooLong => "RowTooLong",
            Self::Unreadable => "Unreadable",
            Self::Url => "Url",
            Self::Tls => "Tls",
            Self::Denied => "Denied",
            Self::Loading => "Loading",
            Self::ReadOnly => "ReadOnly",
            Self::NotReplicated => "NotReplicated",
            Self::Moved => "Moved",
            Self::Refused => "Refused",
        }
    }

    /// Returns whether the store may have executed the call nevertheless.
    pub(crate) const fn is_outcome_unknown(self) -> bool {
        matches!(
            self,
            Self::Unavailable | Self::TimedOut | Self::NotReplicated
        )
    }

    /// Returns whether the store does not respond or does not accept commands, as opposed to a
    /// store that works and refuses the call.
    pub(crate) const fn is_out_of_reach(self) -> bool {
        matches!(
            self,
            Self::Unavailable
                | Self::TimedOut
                | Self::Tls
                | Self::Denied
                | Self::Loading
                | Self::ReadOnly
                | Self::NotReplicated
                | Self::Moved
        )
    }

    /// Returns whether the same call can succeed later.
    pub(crate) const fn is_transient(self) -> bool {
        !matches!(
            self,
            Self::LeaseLost
                | Self::ReplyNotKept
                | Self::ReplyTooLong
                | Self::RowTooLong
                | Self::Unreadable
                | Self::Url
        )
    }
}
