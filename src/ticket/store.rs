//! What a store of used tickets has to do.

use std::{
    fmt,
    future::Future,
    num::NonZeroU16,
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{nonce::Nonce, reply::StoredReply, store_error::StoreError};

/// Remembers which tickets were used, and what was answered.
///
/// A text is what OSS signed; a ticket for one object goes with one text, one for a prefix with several. Of all that
/// call [`begin`](Self::begin) for a text, one is told [`Begin::Fresh`]: it runs the handler, and then calls
/// [`finish`](Self::finish), or [`abandon`](Self::abandon) when the handler shall run again. When it does neither
/// (the process died), its lease ends and the next one is told `Fresh`.
///
/// Answer [`StoreAnswer::Ready`] when nothing has to be waited for. Hold no lock while you wait. When the store cannot
/// be reached, say so: the callback is answered with 503.
pub trait ReplayStore: Send + Sync {
    /// Claims a text.
    fn begin(&self, attempt: &Attempt) -> StoreAnswer<Begin>;

    /// Keeps the answer to a text, which is never run again.
    ///
    /// [`StoreErrorKind::LeaseLost`](super::StoreErrorKind::LeaseLost) when the lease ended and another holder took the text: then nothing is changed.
    /// Done twice with one lease, it is done once.
    fn finish(&self, lease: &Lease, reply: &StoredReply) -> StoreAnswer<()>;

    /// Frees a text whose handler did not do its work. Nothing happens when the lease is lost, or finished.
    fn abandon(&self, lease: &Lease) -> StoreAnswer<()>;
}

impl<S: ReplayStore + ?Sized> ReplayStore for Arc<S> {
    fn begin(&self, attempt: &Attempt) -> StoreAnswer<Begin> {
        (**self).begin(attempt)
    }

    fn finish(&self, lease: &Lease, reply: &StoredReply) -> StoreAnswer<()> {
        (**self).finish(lease, reply)
    }

    fn abandon(&self, lease: &Lease) -> StoreAnswer<()> {
        (**self).abandon(lease)
    }
}

/// What a [`ReplayStore`] answers.
#[allow(clippy::exhaustive_enums, reason = "an answer is at hand or it is not")]
pub enum StoreAnswer<T> {
    /// The answer is at hand.
    Ready(Result<T, StoreError>),
    /// The answer has to be waited for; the layer's deadline goes on.
    Pending(Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>),
}

impl<T> StoreAnswer<T> {
    /// Waits for the answer, if it is not at hand.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub async fn wait(self) -> Result<T, StoreError> {
        match self {
            Self::Ready(result) => result,
            Self::Pending(future) => future.await,
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for StoreAnswer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready(result) => f.debug_tuple("Ready").field(result).finish(),
            Self::Pending(_) => f.write_str("Pending(..)"),
        }
    }
}

/// The SHA-256 of the text that OSS signed, by which a store tells texts under one ticket apart.
///
/// Not its MD5: two texts of one MD5 can be made in seconds, and the handler would run for only one of them.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct TextDigest([u8; 32]);

impl TextDigest {
    /// From the 32 bytes of the SHA-256.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// How many texts go with one ticket.
#[allow(
    clippy::exhaustive_enums,
    reason = "a store has to know what each of them asks for"
)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UseLimit {
    /// One: any other is [`Begin::OtherText`].
    Once,
    /// So many, each once: any other is [`Begin::Exhausted`].
    Texts(NonZeroU16),
}

/// A text that claims its use of a ticket.
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
    /// How long a text is held when nothing else is said: 10 s, twice what OSS waits for an answer.
    pub const DEFAULT_LEASE: Duration = Duration::from_secs(10);

    /// The first attempt of a text under the ticket `nonce`. It is remembered until `until`, see
    /// [`CheckedTicket::until`](super::CheckedTicket::until).
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

    /// How long the text is held for whoever begins it. A handler must be done by then, or it may run twice.
    #[must_use]
    pub const fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// The next attempt, after [`Begin::Running`]. A store that is asked over and over lets ever more time pass.
    #[must_use]
    pub const fn again(mut self, now: SystemTime) -> Self {
        self.now = now;
        self.round = self.round.saturating_add(1);
        self
    }

    /// Which ticket.
    #[must_use]
    pub const fn nonce(&self) -> Nonce {
        self.nonce
    }

    /// Which text.
    #[must_use]
    pub const fn digest(&self) -> TextDigest {
        self.digest
    }

    /// How many texts go with the ticket.
    #[must_use]
    pub const fn limit(&self) -> UseLimit {
        self.limit
    }

    /// Until when the ticket has to be remembered.
    #[must_use]
    pub const fn until(&self) -> SystemTime {
        self.until
    }

    /// What time it is.
    #[must_use]
    pub const fn now(&self) -> SystemTime {
        self.now
    }

    /// How long the text is held.
    #[must_use]
    pub const fn lease_time(&self) -> Duration {
        self.lease
    }

    /// How often the same attempt was made before.
    #[must_use]
    pub const fn round(&self) -> u32 {
        self.round
    }
}

/// What becomes of an [`Attempt`].
#[non_exhaustive]
pub enum Begin {
    /// Nobody has run the handler for this text: run it.
    Fresh(Lease),
    /// The handler has run for this text, and this was the answer.
    Stored(StoredReply),
    /// The handler is running for this text. When the future is done, try [`again`](Attempt::again): it ends soon
    /// after the handler does or its lease ends, and perhaps before. To drop it costs nothing.
    Running(Pin<Box<dyn Future<Output = ()> + Send>>),
    /// The ticket is for one text, and that was another.
    OtherText,
    /// The ticket has been used as often as it may.
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

/// The right to run the handler for one text, for a while.
#[derive(Clone, Debug)]
pub struct Lease {
    nonce: Nonce,
    digest: TextDigest,
    fence: u128,
}

impl Lease {
    /// For stores of your own: a lease on what `attempt` claims. `fence` must never be given twice, so that who has
    /// lost a lease is told from who holds it now.
    #[must_use]
    pub const fn new(attempt: &Attempt, fence: u128) -> Self {
        Self {
            nonce: attempt.nonce,
            digest: attempt.digest,
            fence,
        }
    }

    /// Which ticket.
    #[must_use]
    pub const fn nonce(&self) -> Nonce {
        self.nonce
    }

    /// Which text.
    #[must_use]
    pub const fn digest(&self) -> TextDigest {
        self.digest
    }

    /// Which holder.
    #[must_use]
    pub const fn fence(&self) -> u128 {
        self.fence
    }
}
