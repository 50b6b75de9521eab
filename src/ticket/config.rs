//! What a server configures to accept tickets.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::sync::Semaphore;

use super::{
    key::{TicketKeyError, TicketKeys},
    ledger::{self, UploadLedger},
    store::{Attempt, ReplayStore, UseLimit, memory::MemoryStore},
    token::CheckedTicket,
};

type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// Ticket configuration of a layer: keys, the store of redeemed tickets, and what happens to a
/// ticket when the handler fails.
///
/// Cheap to clone. Clones share one store, so build a single value and clone it for every layer.
///
/// ```
/// use tower_aliyun_oss::OssCallbackLayer;
/// use tower_aliyun_oss::ticket::{TicketKey, TicketKeys, Tickets};
///
/// // In production: TicketKey::from_env("OSS_TICKET_KEY").
/// let keys = TicketKeys::new(1, TicketKey::generate()?);
/// let tickets = Tickets::in_memory(keys);
/// let layer = OssCallbackLayer::new().tickets(tickets.clone());
/// # Ok::<(), tower_aliyun_oss::ticket::TicketKeyError>(())
/// ```
#[derive(Clone)]
pub struct Tickets(Arc<Settings>);

#[derive(Clone)]
struct Settings {
    keys: TicketKeys,
    store: Arc<dyn ReplayStore>,
    /// The same store, if it is a ledger.
    ledger: Option<Arc<dyn UploadLedger>>,
    lease: Duration,
    max_attempts: u16,
    on_failure: OnFailure,
    clock: Clock,
    without_ticket_until: Option<SystemTime>,
    without_store: bool,
    unrecorded: bool,
    /// For calls to a failing store in the background. Clones share the limits.
    abandons: Arc<Semaphore>,
    results: Arc<Semaphore>,
}

/// How many `abandon` calls can continue in the background, and how many others.
const MAX_IN_BACKGROUND: usize = 1024;

/// What happens to a ticket when the handler fails.
///
/// A handler fails if it returns an error or a status other than 2xx, panics, produces an unusable
/// response, or is dropped because the client disconnects before the handler responds.
///
/// Once the handler responds with 2xx, it has succeeded. If the client disconnects while the body
/// of that response is awaited, the ticket is consumed with either setting, and the same callback
/// receives 503.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum OnFailure {
    /// Releases the ticket, so the same callback runs the handler again. Use it for handlers that
    /// either complete all of their work or none. A ticket held by a crashed process is released
    /// when its [lease](Tickets::lease) expires. A ticket starts the handler at most
    /// [`max_attempts`](Tickets::max_attempts) times per use.
    #[default]
    Retry,
    /// Consumes the ticket. The same callback receives the response of the failed handler, or 503
    /// if there was none. A crash during the handler does not release the ticket either: it is held
    /// until it expires. A crash before the handler was called releases it when its
    /// [lease](Tickets::lease) expires; this takes a second step in the store, immediately before
    /// the handler.
    AtMostOnce,
}

impl Tickets {
    /// The default of [`max_attempts`](Self::max_attempts): 5.
    pub const DEFAULT_MAX_ATTEMPTS: u16 = 5;

    /// The shortest [`lease`](Self::lease): 2 s. A shorter one could expire while a step of the
    /// store is slow, which may take 1 s.
    pub const MIN_LEASE: Duration = Duration::from_secs(2);

    /// Creates a configuration that issues and verifies tickets with `keys` and records their use
    /// in `store`.
    #[must_use]
    pub fn new(keys: TicketKeys, store: impl ReplayStore + 'static) -> Self {
        Self::with_store(keys, Arc::new(store), None)
    }

    /// Creates a configuration that records granted uploads in `ledger` as well, so that a recovery
    /// can deliver the callbacks that did not arrive. See [`UploadLedger`].
    ///
    /// The record of a ticket that was not redeemed successfully lives as long as the row of its
    /// upload: [seven days](super::ledger::GrantedUpload::LIFE) longer than without a ledger.
    ///
    /// ```
    /// use tower_aliyun_oss::ticket::{MemoryStore, TicketKey, TicketKeys, Tickets};
    ///
    /// // In production: TicketKey::from_env("OSS_TICKET_KEY"), and a `RedisStore`.
    /// let keys = TicketKeys::new(1, TicketKey::generate()?);
    /// let tickets = Tickets::with_ledger(keys, MemoryStore::new());
    /// assert!(tickets.ledger().is_some());
    /// # Ok::<(), tower_aliyun_oss::ticket::TicketKeyError>(())
    /// ```
    #[must_use]
    pub fn with_ledger(keys: TicketKeys, ledger: impl UploadLedger + 'static) -> Self {
        let ledger = Arc::new(ledger);
        Self::with_store(
            keys,
            Arc::clone(&ledger) as Arc<dyn ReplayStore>,
            Some(ledger),
        )
    }

    fn with_store(
        keys: TicketKeys,
        store: Arc<dyn ReplayStore>,
        ledger: Option<Arc<dyn UploadLedger>>,
    ) -> Self {
        Self(Arc::new(Settings {
            // One allocation for all of it: the layer clones this for every request.
            keys,
            store,
            ledger,
            lease: Attempt::DEFAULT_LEASE,
            max_attempts: Self::DEFAULT_MAX_ATTEMPTS,
            on_failure: OnFailure::default(),
            clock: Arc::new(SystemTime::now),
            without_ticket_until: None,
            without_store: false,
            unrecorded: false,
            abandons: Arc::new(Semaphore::new(MAX_IN_BACKGROUND)),
            results: Arc::new(Semaphore::new(MAX_IN_BACKGROUND)),
        }))
    }

    /// Creates a configuration with a [`MemoryStore`] of default size, for a service that runs as a
    /// single process.
    #[must_use]
    pub fn in_memory(keys: TicketKeys) -> Self {
        Self::new(keys, MemoryStore::new())
    }

    /// Sets after what time another instance considers the process of a handler dead and runs the
    /// same callback. Defaults to 10 s; less than [`MIN_LEASE`](Self::MIN_LEASE) counts as 2 s.
    ///
    /// A process that is blocked for longer than the lease counts as dead, too: the renewal is a
    /// task of its runtime.
    ///
    /// It does not limit the handler: `RedisStore` renews the lease while the handler runs, and in
    /// a [`MemoryStore`] it does not expire.
    #[must_use]
    pub fn lease(self, lease: Duration) -> Self {
        self.with(|settings| settings.lease = lease.max(Self::MIN_LEASE))
    }

    /// Sets how often a ticket may start the handler per use, with [`OnFailure::Retry`]. Defaults
    /// to 5; 0 counts as 1.
    ///
    /// One captured callback can be sent any number of times, and a handler that fails would run
    /// each time. Once a ticket has started the handler this often, times the uses of
    /// a prefix, its callbacks fail with 503 and
    /// [`TooManyAttempts`](crate::callback::CallbackErrorKind::TooManyAttempts), and the log gets
    /// one warning. A start counts when the handler is called; a callback that is rejected before
    /// does not count.
    #[must_use]
    pub fn max_attempts(self, attempts: u16) -> Self {
        self.with(|settings| settings.max_attempts = attempts.max(1))
    }

    /// Sets what happens to a ticket when the handler fails. Defaults to [`OnFailure::Retry`].
    #[must_use]
    pub fn on_failure(self, on_failure: OnFailure) -> Self {
        self.with(|settings| settings.on_failure = on_failure)
    }

    /// Sets the source of the current time. Defaults to the system clock.
    #[must_use]
    pub fn clock(self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.with(|settings| settings.clock = Arc::new(clock))
    }

    /// Accepts callbacks without a ticket until `time`, on their OSS signature alone: **for
    /// migrating a live system** whose uploaders still hold policies without tickets.
    ///
    /// Until then nothing is proven, because an attacker simply omits the ticket. A callback
    /// without a ticket has no [claims](crate::callback::VerifiedCallback::claims) and can be
    /// replayed. A callback that has a ticket is still verified against it. Set `time` to the
    /// expiry of the last policy without a ticket, plus the longest upload.
    #[must_use]
    pub fn dangerous_accept_without_ticket_until(self, time: SystemTime) -> Self {
        self.with(|settings| settings.without_ticket_until = Some(time))
    }

    /// Runs the handler when the store is out of reach, instead of responding with 503.
    ///
    /// That is an error of the kind `Unavailable`, `TimedOut`, `Tls`, `Denied`, `Loading`,
    /// `ReadOnly` or `Moved`. A store that works and refuses a callback, because it is full or lost
    /// the reply or the lease, still leads to 503.
    ///
    /// Anyone who can make the store fail can then replay a callback any number of times until its
    /// ticket expires. Use it only for idempotent handlers.
    #[must_use]
    pub fn dangerous_run_when_store_fails(self) -> Self {
        self.with(|settings| settings.without_store = true)
    }

    /// Issues tokens although the ledger is full or out of reach, instead of responding with 503.
    /// The log gets an error for each response.
    ///
    /// Nothing recovers these uploads: if the callback of OSS does not arrive, your application
    /// never hears of the object. Has no effect without a ledger.
    #[must_use]
    pub fn dangerous_issue_when_ledger_fails(self) -> Self {
        self.with(|settings| settings.unrecorded = true)
    }

    /// Returns the keys, which issue and verify tickets.
    #[must_use]
    pub fn keys(&self) -> &TicketKeys {
        &self.0.keys
    }

    /// Returns the store.
    #[must_use]
    pub fn store(&self) -> &dyn ReplayStore {
        &*self.0.store
    }

    /// Returns the ledger, if this configuration [has one](Self::with_ledger). It is the store,
    /// too.
    #[must_use]
    pub fn ledger(&self) -> Option<&dyn UploadLedger> {
        self.0.ledger.as_deref()
    }

    /// Returns the ledger, to keep it longer than this configuration.
    pub(crate) fn shared_ledger(&self) -> Option<Arc<dyn UploadLedger>> {
        self.0.ledger.clone()
    }

    /// Returns the current time of the configured [clock](Self::clock).
    #[must_use]
    pub fn now(&self) -> SystemTime {
        (self.0.clock)()
    }

    /// Creates an attempt to redeem `ticket` for the text with this SHA-256, with these settings.
    ///
    /// # Errors
    ///
    /// Fails if the operating system provides no random numbers.
    pub(crate) fn attempt(
        &self,
        ticket: &CheckedTicket,
        digest: [u8; 32],
        now: SystemTime,
    ) -> Result<Attempt, TicketKeyError> {
        let limit = ticket.use_limit();
        // At least as long as the row of the upload, so that its recovery cannot redeem the ticket
        // again.
        let until = match (&self.0.ledger, limit) {
            (Some(_), UseLimit::Once) => ledger::row_until(ticket.expires()),
            // A ticket for several objects has no row.
            (Some(_), UseLimit::Texts(_)) | (None, _) => ticket.until(),
        };
        let attempt = Attempt::new(ticket.nonce(), digest, limit, until, now)?
            .lease(self.0.lease)
            .starts(u32::from(limit.get()) * u32::from(self.0.max_attempts));
        Ok(match self.0.on_failure {
            OnFailure::Retry => attempt,
            OnFailure::AtMostOnce => attempt.at_most_once(),
        })
    }

    /// Returns whether a failed handler releases its ticket.
    pub(crate) fn frees_on_failure(&self) -> bool {
        self.0.on_failure == OnFailure::Retry
    }

    /// Returns whether a callback without a ticket is accepted.
    pub(crate) fn can_be_absent(&self, now: SystemTime) -> bool {
        self.0.without_ticket_until.is_some_and(|until| now < until)
    }

    /// Returns the configured lease.
    pub(crate) fn lease_time(&self) -> Duration {
        self.0.lease
    }

    /// Returns the limit of `abandon` calls in the background.
    pub(crate) fn abandons(&self) -> &Arc<Semaphore> {
        &self.0.abandons
    }

    /// Returns the limit of calls in the background that follow a started handler.
    pub(crate) fn results(&self) -> &Arc<Semaphore> {
        &self.0.results
    }

    /// Returns whether the handler runs when the store is out of reach.
    pub(crate) fn runs_without_store(&self) -> bool {
        self.0.without_store
    }

    /// Returns whether tokens are issued when the ledger fails.
    pub(crate) fn issues_unrecorded(&self) -> bool {
        self.0.unrecorded
    }

    fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        // Copies the settings if other clones exist. A clone that is already in use by a layer
        // never changes; the copy shares its store.
        change(Arc::make_mut(&mut self.0));
        self
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets")
            .field("keys", &self.0.keys)
            .field("lease", &self.0.lease)
            .field("max_attempts", &self.0.max_attempts)
            .field("on_failure", &self.0.on_failure)
            .field("without_ticket_until", &self.0.without_ticket_until)
            .field("without_store", &self.0.without_store)
            .field("ledger", &self.0.ledger.is_some())
            .finish_non_exhaustive()
    }
}
