//! Everything that a layer has to know about tickets.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    checked::CheckedTicket,
    key::TicketKeys,
    memory::MemoryStore,
    seal::MAX_LIFETIME,
    store::{Attempt, ReplayStore, TextDigest},
};

type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// The keys of tickets, the store of used ones, and what happens to a ticket whose handler fails: what a layer needs
/// to take only what was granted.
///
/// Cheap to clone. Layers that get clones of one value share its store, so build it once.
///
/// ```
/// use tower_aliyun_oss::OssCallbackLayer;
/// use tower_aliyun_oss::ticket::{TicketKey, TicketKeys, Tickets};
///
/// // In earnest from_base64, with what stands in an environment variable.
/// let keys = TicketKeys::new(1, TicketKey::generate()?);
/// let tickets = Tickets::in_memory(keys);
/// let layer = OssCallbackLayer::new().tickets(tickets.clone());
/// # Ok::<(), tower_aliyun_oss::ticket::RandomError>(())
/// ```
#[derive(Clone)]
pub struct Tickets(Arc<Settings>);

#[derive(Clone)]
struct Settings {
    keys: TicketKeys,
    store: Arc<dyn ReplayStore>,
    lease: Duration,
    on_failure: OnFailure,
    clock: Clock,
    without_ticket_until: Option<SystemTime>,
    without_store: bool,
}

/// What becomes of a ticket when the handler gave no success: it answered with another status than 2xx or with an
/// error, it panicked, its answer was unusable, or the client went away before it was done.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum OnFailure {
    /// The ticket is free again, and the same callback runs the handler once more: for handlers that do all of their
    /// work or nothing. What a process that died held is free when its [lease](Tickets::lease) ends.
    #[default]
    Retry,
    /// The ticket is used up. The same callback is given what the handler answered, or 503 when it gave no answer.
    /// Nor does a process that died make it run again: its ticket is held until it expires.
    AtMostOnce,
}

impl Tickets {
    /// Tickets sealed with these keys, each used as often as it says by the memory of `store`.
    #[must_use]
    pub fn new(keys: TicketKeys, store: impl ReplayStore + 'static) -> Self {
        Self(Arc::new(Settings {
            keys,
            store: Arc::new(store),
            lease: Attempt::DEFAULT_LEASE,
            on_failure: OnFailure::default(),
            clock: Arc::new(SystemTime::now),
            without_ticket_until: None,
            without_store: false,
        }))
    }

    /// The same with a [`MemoryStore`] of its default size: for a service that runs once.
    #[must_use]
    pub fn in_memory(keys: TicketKeys) -> Self {
        Self::new(keys, MemoryStore::new())
    }

    /// How long a handler may take before another instance takes it for dead and runs the same callback; 10 s by
    /// default. With [`OnFailure::AtMostOnce`] that never happens, and this says nothing.
    #[must_use]
    pub fn lease(self, lease: Duration) -> Self {
        self.with(|settings| settings.lease = lease)
    }

    /// What becomes of a ticket when the handler gave no success; [`OnFailure::Retry`] by default.
    #[must_use]
    pub fn on_failure(self, on_failure: OnFailure) -> Self {
        self.with(|settings| settings.on_failure = on_failure)
    }

    /// What time it is; the clock of the system by default.
    #[must_use]
    pub fn clock(self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.with(|settings| settings.clock = Arc::new(clock))
    }

    /// Takes callbacks without any ticket until `time`, on their signature alone: **for switching over a live system**,
    /// whose uploaders still hold policies from before.
    ///
    /// Until then nothing is proved, since whoever has no ticket just leaves it out: such a callback has no
    /// [claims](crate::callback::VerifiedCallback::claims), and can be sent again and again. One that *has* a ticket is
    /// held to it. Set the time to when the last policy without ticket has expired, and an upload later.
    #[must_use]
    pub fn dangerous_accept_without_ticket_until(self, time: SystemTime) -> Self {
        self.with(|settings| settings.without_ticket_until = Some(time))
    }

    /// Runs the handler although the store cannot say whether the ticket was used, rather than to answer with 503.
    ///
    /// Whoever makes the store fail can then have a callback handled as often as they like until its ticket expires:
    /// only for handlers that can be run twice.
    #[must_use]
    pub fn dangerous_run_when_store_fails(self) -> Self {
        self.with(|settings| settings.without_store = true)
    }

    /// The keys, which [mint](TicketKeys::mint) as well.
    #[must_use]
    pub fn keys(&self) -> &TicketKeys {
        &self.0.keys
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &dyn ReplayStore {
        &*self.0.store
    }

    /// What time it is, by the [clock](Self::clock).
    #[must_use]
    pub fn now(&self) -> SystemTime {
        (self.0.clock)()
    }

    /// The first attempt of a text under a ticket, held as long as these settings say.
    #[must_use]
    pub fn attempt(&self, ticket: &CheckedTicket, digest: TextDigest, now: SystemTime) -> Attempt {
        let lease = match self.0.on_failure {
            OnFailure::Retry => self.0.lease,
            // Longer than any ticket lives, so the entry of the ticket goes before.
            OnFailure::AtMostOnce => MAX_LIFETIME * 2,
        };
        Attempt::new(
            ticket.nonce(),
            digest,
            ticket.use_limit(),
            ticket.until(),
            now,
        )
        .lease(lease)
    }

    /// Whether a failed handler frees its ticket.
    pub(crate) fn frees_on_failure(&self) -> bool {
        self.0.on_failure == OnFailure::Retry
    }

    /// Whether a callback without any ticket is taken.
    pub(crate) fn can_be_absent(&self, now: SystemTime) -> bool {
        self.0.without_ticket_until.is_some_and(|until| now < until)
    }

    /// Whether a store that fails is passed over.
    pub(crate) fn runs_without_store(&self) -> bool {
        self.0.without_store
    }

    fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets")
            .field("keys", &self.0.keys)
            .field("lease", &self.0.lease)
            .field("on_failure", &self.0.on_failure)
            .field("without_ticket_until", &self.0.without_ticket_until)
            .field("without_store", &self.0.without_store)
            .finish_non_exhaustive()
    }
}
