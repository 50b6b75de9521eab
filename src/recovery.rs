//! Recovery: the uploads whose callback did not reach the handler.
//!
//! OSS calls back once, waits five seconds, and never again. While an application is deployed, has
//! crashed or waits for its database, it does not learn of the objects that are stored. A
//! [ledger](crate::ticket::ledger) remembers every granted upload, and a [`Recovery`] delivers
//! those that are missing: it asks OSS whether the object is stored, and calls the *same service*
//! that takes callbacks, with the request that OSS would have sent. The layer checks it like a
//! callback, except for the signature and the expiry of the ticket. The same one-use store ensures
//! that a late callback and a recovery never both succeed. The handler finds
//! [`Origin::Recovered`](crate::callback::Origin::Recovered) in
//! [`VerifiedCallback::origin`](crate::VerifiedCallback::origin).
//!
//! ```
//! # #[cfg(all(feature = "axum", feature = "storage"))]
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::{Router, routing::post};
//! use tower_aliyun_oss::{
//!     CallbackReply, Credentials, OssUploads, TicketKey, VerifiedCallback,
//!     protocol::Region,
//!     recovery::Recovery,
//!     storage::OssClient,
//!     ticket::MemoryStore,
//! };
//!
//! async fn on_upload(callback: VerifiedCallback) -> CallbackReply {
//!     // INSERT … ON CONFLICT (upload_id) DO NOTHING, in the transaction of the handler.
//!     println!("{} {:?}", callback.upload_id(), callback.confirmed());
//!     CallbackReply::ok()
//! }
//!
//! let credentials = Credentials::from_env()?;
//! let region: Region = "cn-hangzhou".parse()?;
//! let storage = OssClient::new(region.clone(), credentials.clone());
//! let uploads = OssUploads::builder("examplebucket".parse()?, credentials)
//!     .region(region)
//!     .callback_url("https://app.example/oss/callback")
//!     .ticket_key(TicketKey::from_env("OSS_TICKET_KEY")?)
//!     .ledger(MemoryStore::new()) // `RedisStore` for several processes
//!     .build()?;
//! let app: Router = Router::new()
//!     .route("/oss/callback", post(on_upload).route_layer(uploads.callback_layer()));
//!
//! let recovery = Recovery::new(&uploads, storage, app.clone())?;
//! let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
//! let task = tokio::spawn(async move { recovery.run(async { drop(stopped.await) }).await });
//! // … serve `app`; then:
//! drop(stop);
//! task.await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Results of a due row
//!
//! A row is due one minute after its ticket has expired, when OSS can no longer store the object,
//! or one minute after the handler of its callback failed. "Final" below: only once OSS can no
//! longer store the object; before, the row waits until then.
//!
//! | OSS and the ledger report | result |
//! |---|---|
//! | the object does not exist (404 `NoSuchKey`) | the grant is dropped, if final |
//! | anything else but an object: 403, 5xx, a time-out | deferred by five minutes; never "not there" |
//! | an object with this ETag or version is settled | the grant is dropped, if final |
//! | several open grants of the key | the newest that was not granted after the object was stored owns it; the others are dropped, if final |
//! | the object was stored before the grant | the grant is dropped, if final |
//! | a size or type outside of the grant | an [orphan](Recovery::on_orphan), if final and nothing else is known of the key; else the grant is dropped |
//! | an object within the grant | the service is called |
//! | the service responds with success | settled |
//! | the service fails | again after 1, 2, 4 … minutes, at most 8 hours; after 20 attempts, or the first that calls an [at-most-once](crate::ticket::OnFailure::AtMostOnce) handler, a [dead letter](Recovery::on_dead_letter) |
//! | another request handles the upload, or holds the ticket of an at-most-once handler that has not started | again after a minute, without counting the attempt |
//! | another request has started an at-most-once handler, which stored no reply | again after a minute; after five attempts a dead letter, because its process has most likely ended |
//! | the ledger fails | again after a minute, without counting the attempt |
//! | an object within the grant, but the row has [expired](crate::ticket::ledger::GrantedUpload::until) | a dead letter |
//!
//! # Once
//!
//! Every object that is stored under a grant reaches the handler, and takes effect once if the
//! handler writes [`upload_id`](crate::VerifiedCallback::upload_id) under a unique key in its own
//! transaction. Without that key, a process that is killed after the commit of the handler and
//! before the reply is stored runs the handler again.
//!
//! # What a recovered callback lacks
//!
//! OSS does not report afterwards what only the upload showed: the request ID, the IP address of
//! the uploader, the VPC, the operation, and the size and format of an image. These variables are
//! empty. The request has no `x-oss-owner` and no `x-oss-requester`, and none of the extensions
//! that a server adds to requests from its network.

mod batch;
mod hooks;
mod open_rows;
mod request;
mod row;
mod settings;
mod summary;

use std::{
    fmt,
    future::{Future, IntoFuture as _, poll_fn},
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::Poll,
    time::Duration,
};

use http::{Request, Response};
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, Sleep, sleep, timeout_at},
};
use tower_service::Service;

use self::{
    batch::{Batch, Done},
    hooks::boxed,
    open_rows::OpenRows,
    row::{Row, TARGET},
    settings::{LAST_STEPS, MAX_ATTEMPT, MAX_BATCH, RELEASES, Settings, jitter, random_below},
};
pub use self::{
    hooks::{DeadLetter, DeadLetterReason, Orphan, OrphanAction, delete, keep},
    request::RecoveryBody,
    summary::RecoverySummary,
};
use crate::{
    metrics,
    storage::ObjectStorage,
    ticket::{
        ledger::{DueUpload, UploadLedger},
        store::{StoreError, StoreErrorKind},
    },
    uploads::OssUploads,
};

/// Delivers the uploads whose callback did not reach the handler. See the [module docs](self).
///
/// Any number of processes may run one on the same ledger: each row is claimed by one of them at a
/// time. The claims of a process that dies expire, and others continue. A claim lasts as long as
/// its [batch](Recovery::batch) can take: seven minutes with the default settings, and at most 61
/// minutes, unless the [`attempt_timeout`](Recovery::attempt_timeout) is longer than an hour.
#[must_use = "a recovery does nothing until it runs"]
pub struct Recovery<S> {
    settings: Arc<Settings>,
    ledger: Arc<dyn UploadLedger>,
    // Not every service is `Sync`.
    service: Arc<Mutex<S>>,
}

impl<S> Recovery<S> {
    /// The default of [`interval`](Self::interval): 30 s.
    pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(30);

    /// The default of [`max_attempts`](Self::max_attempts): 20.
    pub const DEFAULT_MAX_ATTEMPTS: u32 = 20;

    /// Creates a recovery of these uploads. It asks `storage` about objects, and calls `service`
    /// with the callbacks: the service, or the router, that OSS calls, with the
    /// [callback layer](OssUploads::callback_layer) in it.
    ///
    /// The storage must report when an object was stored, its ETag and its content type.
    ///
    /// # Errors
    ///
    /// Fails if the uploads have no [ledger](crate::OssUploadsBuilder::ledger).
    pub fn new(
        uploads: &OssUploads,
        storage: impl ObjectStorage + 'static,
        service: S,
    ) -> Result<Self, RecoveryError> {
        let tickets = uploads.tickets().ok_or(RecoveryError::NoLedger)?;
        let ledger = tickets.shared_ledger();
        let ledger = ledger.ok_or(RecoveryError::NoLedger)?;
        let prefix = uploads
            .get_proxy_prefix()
            .map(|prefix| prefix.trim_matches('/'))
            .filter(|prefix| !prefix.is_empty())
            .map(|prefix| format!("/{prefix}").into());
        Ok(Self {
            ledger,
            settings: Arc::new(Settings {
                tickets: tickets.clone(),
                storage: Arc::new(storage),
                proxy_prefix: prefix,
                on_orphan: boxed(keep),
                on_dead_letter: boxed(async |_| {}),
                interval: Self::DEFAULT_INTERVAL,
                batch: 64,
                concurrency: 8,
                max_attempts: Self::DEFAULT_MAX_ATTEMPTS,
                attempt_timeout: Duration::from_secs(30),
                storage_timeout: Duration::from_secs(5),
                clock_difference: Duration::from_secs(5),
                first_pause: Duration::from_secs(60),
                longest_pause: Duration::from_secs(8 * 60 * 60),
            }),
            service: Arc::new(Mutex::new(service)),
        })
    }

    /// Sets how long [`run`](Self::run) waits after a pass; defaults to 30 s. The pause varies by a
    /// quarter.
    pub fn interval(self, interval: Duration) -> Self {
        self.with(|settings| settings.interval = interval)
    }

    /// Sets how many rows are claimed at a time, at most 1,000; defaults to 64. 0 counts as 1.
    pub fn batch(self, rows: usize) -> Self {
        self.with(|settings| settings.batch = rows.clamp(1, MAX_BATCH))
    }

    /// Sets how many rows are recovered at the same time; defaults to 8. 0 counts as 1. Each takes
    /// a request to the storage, and then one to the service.
    pub fn concurrency(self, rows: usize) -> Self {
        self.with(|settings| settings.concurrency = rows.max(1))
    }

    /// Sets how often the handler may fail before the upload becomes a
    /// [dead letter](Self::on_dead_letter); defaults to 20. 0 counts as 1.
    ///
    /// A row expires seven days after it is due. With the default [pauses](Self::back_off), 20
    /// attempts take at most five days. An upload whose next attempt would come too late becomes a
    /// dead letter earlier, and so does one whose row has expired when a pass finds it.
    pub fn max_attempts(self, attempts: u32) -> Self {
        self.with(|settings| settings.max_attempts = attempts.max(1))
    }

    /// Sets the pauses between the attempts of one upload: the first, which doubles each time, and
    /// the longest. Defaults to one minute and eight hours. Each pause varies by a quarter.
    pub fn back_off(self, first: Duration, longest: Duration) -> Self {
        self.with(|settings| {
            settings.first_pause = first;
            settings.longest_pause = longest;
        })
    }

    /// Sets how long one attempt may take: the requests to the storage and the ledger, the handler,
    /// and the hook for orphans. Defaults to 30 s, and is at most a day. Then its future is
    /// dropped, and the attempt has failed.
    ///
    /// The hook for dead letters, and the last call of the ledger, may take ten seconds longer.
    pub fn attempt_timeout(self, time: Duration) -> Self {
        self.with(|settings| settings.attempt_timeout = time.min(MAX_ATTEMPT))
    }

    /// Sets how long one request to the storage may take; defaults to 5 s. Afterwards it is unknown
    /// whether the object exists.
    pub fn storage_timeout(self, time: Duration) -> Self {
        self.with(|settings| settings.storage_timeout = time)
    }

    /// Sets by how much the clock of the application may run ahead of that of OSS; defaults to 5 s.
    ///
    /// An object is one of a grant if it was stored after it. With clocks that differ, an object
    /// can seem to be older than its own grant. If no other open grant owns it, it is accepted
    /// nevertheless, unless it seems older by more than this time. Such an object is never an
    /// orphan.
    pub fn clock_difference(self, difference: Duration) -> Self {
        self.with(|settings| settings.clock_difference = difference)
    }

    /// Sets what happens to a stored object that is outside of its grant, see [`Orphan`]. Defaults
    /// to [`keep`], and nothing is ever deleted unless the hook returns [`OrphanAction::Delete`],
    /// as [`delete`] does.
    ///
    /// The hook is called concurrently, and its future must own what it uses: clone shared state
    /// for each call.
    ///
    /// ```
    /// # fn with<S>(recovery: tower_aliyun_oss::recovery::Recovery<S>) {
    /// use std::sync::{Arc, atomic::{AtomicU64, Ordering}};
    /// use tower_aliyun_oss::recovery::{self, Orphan, OrphanAction};
    ///
    /// let recovery = recovery.on_orphan(recovery::delete);
    /// // Or:
    /// let deleted = Arc::new(AtomicU64::new(0));
    /// let recovery = recovery.on_orphan(move |orphan: Orphan| {
    ///     let deleted = Arc::clone(&deleted);
    ///     async move {
    ///         if !orphan.upload().key().as_str().starts_with("tmp/") {
    ///             return OrphanAction::Keep;
    ///         }
    ///         deleted.fetch_add(1, Ordering::Relaxed);
    ///         OrphanAction::Delete
    ///     }
    /// });
    /// # }
    /// ```
    pub fn on_orphan<F, Fut>(self, hook: F) -> Self
    where
        F: Fn(Orphan) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = OrphanAction> + Send + 'static,
    {
        self.with(|settings| settings.on_orphan = boxed(hook))
    }

    /// Sets a hook for uploads that are given up, for example to store them for an operator. An
    /// error in the log names each of them as well.
    ///
    /// The object stays in the bucket, and the row is removed once the hook has returned. If the
    /// process ends before, or the hook takes [too long](Self::attempt_timeout) or panics, it is
    /// called again for the same upload.
    ///
    /// The hook is called concurrently, and its future must own what it uses: clone shared state
    /// for each call.
    ///
    /// ```
    /// # fn with<S>(recovery: tower_aliyun_oss::recovery::Recovery<S>) {
    /// use tokio::sync::mpsc;
    ///
    /// // A pool of database connections is cloned likewise.
    /// let (letters, mut received) = mpsc::channel(100);
    /// let recovery = recovery.on_dead_letter(move |letter| {
    ///     let letters = letters.clone();
    ///     async move { drop(letters.send(letter).await) }
    /// });
    /// # drop((recovery, received.try_recv()));
    /// # }
    /// ```
    pub fn on_dead_letter<F, Fut>(self, hook: F) -> Self
    where
        F: Fn(DeadLetter) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.with(|settings| settings.on_dead_letter = boxed(hook))
    }

    fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }
}

impl<S, B> Recovery<S>
where
    S: Service<Request<RecoveryBody>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    B: 'static,
{
    /// Recovers uploads until `shutdown` completes.
    ///
    /// After a pass it waits for the [interval](Self::interval). On shutdown it claims no more
    /// rows, releases those that it has not started, and completes the others. This takes at most
    /// the [`attempt_timeout`](Self::attempt_timeout) and ten seconds. If the ledger fails, it logs
    /// a warning and tries again after the interval.
    ///
    /// If the future is dropped, the handlers that run are dropped too. Their rows are due again
    /// when their claims expire.
    ///
    /// # Panics
    ///
    /// Panics outside of a Tokio runtime, or if the runtime has no timer.
    pub async fn run(&self, shutdown: impl Future<Output = ()>) {
        let stop = AtomicBool::new(false);
        let mut shutdown = pin!(shutdown);
        let mut failing = false;
        let mut open_rows = OpenRows::default();
        loop {
            let passed = {
                let pass = async {
                    let passed = self.pass(&stop).await;
                    if passed.is_ok() && !stop.load(Relaxed) {
                        let limit = self.settings.attempt_timeout;
                        open_rows.count(&*self.ledger, limit).await;
                    }
                    passed
                };
                let mut pass = pin!(pass);
                poll_fn(|cx| {
                    if !stop.load(Relaxed) && shutdown.as_mut().poll(cx).is_ready() {
                        stop.store(true, Relaxed);
                    }
                    pass.as_mut().poll(cx)
                })
                .await
            };
            match passed {
                Ok(_) => failing = false,
                Err(error) if failing => {
                    tracing::debug!(target: TARGET, %error, "the ledger still fails");
                }
                Err(error) => {
                    failing = true;
                    tracing::warn!(target: TARGET, %error, "the ledger fails; nothing is recovered");
                }
            }
            if stop.load(Relaxed) {
                return;
            }
            let mut pause = pin!(sleep(jitter(self.settings.interval)));
            let stopped = poll_fn(|cx| match shutdown.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(true),
                Poll::Pending => pause.as_mut().poll(cx).map(|()| false),
            });
            if stopped.await {
                return;
            }
        }
    }

    /// Recovers the uploads that are due now, for a scheduler such as cron. One pass of
    /// [`run`](Self::run) does the same.
    ///
    /// It ends when no row is due any more. It ends early if the storage fails for all objects of a
    /// batch.
    ///
    /// # Errors
    ///
    /// Fails if the ledger fails to return the rows that are due. What was recovered before stays
    /// recovered.
    ///
    /// # Panics
    ///
    /// Panics outside of a Tokio runtime, or if the runtime has no timer.
    pub async fn tick(&self) -> Result<RecoverySummary, StoreError> {
        let passed = self.pass(&AtomicBool::new(false)).await;
        if passed.is_ok() {
            let limit = self.settings.attempt_timeout;
            OpenRows::default().count(&*self.ledger, limit).await;
        }
        passed
    }

    async fn pass(&self, stop: &AtomicBool) -> Result<RecoverySummary, StoreError> {
        metrics::recovery_begins(Done::NAMES);
        let mut summary = RecoverySummary::default();
        let claimed = loop {
            if stop.load(Relaxed) {
                break Ok(());
            }
            // The claims begin with the call, however long it takes.
            let since = Instant::now();
            let rows = match self.due(stop).await {
                Ok(rows) if rows.is_empty() => break Ok(()),
                Ok(rows) => rows,
                Err(error) => break Err(error),
            };
            let claimed = rows.len();
            let batch = self.batch_of(rows, since, stop).await;
            summary += batch.summary;
            if let Some(error) = batch.unknown.filter(|_| batch.all_unknown) {
                tracing::warn!(
                    target: TARGET,
                    claimed,
                    %error,
                    "it is unknown for all due uploads whether they are stored; check the \
                     endpoint, and that the RAM policy grants oss:GetObject and oss:ListObjects"
                );
                break Ok(());
            }
            if !batch.started && !stop.load(Relaxed) {
                tracing::warn!(
                    target: TARGET,
                    claimed,
                    "the ledger takes so long to claim rows that they are released again; check \
                     it, or increase the batch of the recovery"
                );
                break Ok(());
            }
        };
        if summary.claimed > 0 {
            tracing::info!(target: TARGET, "recovery: {summary}");
        }
        let failure = claimed.as_ref().err().map(StoreError::kind);
        metrics::recovery_pass(failure.map_or(metrics::COMPLETED, StoreErrorKind::name));
        claimed.map(|()| summary)
    }

    /// Claims rows. A shutdown does not wait for a ledger that hangs.
    async fn due(&self, stop: &AtomicBool) -> Result<Vec<DueUpload>, StoreError> {
        let Settings { tickets, batch, .. } = &*self.settings;
        let visibility = self.settings.visibility();
        let due = self.ledger.due(tickets.now(), *batch, visibility);
        let mut due = pin!(due.into_future());
        let mut limit = pin!(None::<Sleep>);
        poll_fn(|cx| {
            if let Poll::Ready(rows) = due.as_mut().poll(cx) {
                return Poll::Ready(rows);
            }
            if !stop.load(Relaxed) {
                return Poll::Pending;
            }
            if limit.is_none() {
                limit.set(Some(sleep(LAST_STEPS)));
            }
            match limit.as_mut().as_pin_mut() {
                Some(limit) => limit
                    .poll(cx)
                    .map(|()| Err(StoreErrorKind::TimedOut.into())),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Recovers rows that were claimed `since` then.
    async fn batch_of(&self, mut rows: Vec<DueUpload>, since: Instant, stop: &AtomicBool) -> Batch {
        let settings = &self.settings;
        let latest = settings.latest_start();
        let mut batch = Batch::new(rows.len());
        // If an upload ends its process, the rows behind it are not recovered. They must not be the
        // same ones each time.
        if rows.iter().any(|row| row.claim.attempts() > 1) {
            let first = random_below(rows.len());
            rows.rotate_left(first);
        }
        let mut rows = rows.into_iter().map(|due| Row {
            due,
            settings: Arc::clone(settings),
            ledger: Arc::clone(&self.ledger),
        });
        let mut tasks = JoinSet::new();
        loop {
            if stop.load(Relaxed) || since.elapsed() > latest {
                let ends = Instant::now() + LAST_STEPS;
                let permits = Arc::new(Semaphore::new(RELEASES));
                for row in rows.by_ref() {
                    let permits = Arc::clone(&permits);
                    tasks.spawn(async move {
                        match timeout_at(ends, permits.acquire_owned()).await {
                            Ok(_permit) => (row.release(ends).await, 0),
                            Err(_) => (Done::Lost, 0),
                        }
                    });
                }
            }
            while tasks.len() < settings.concurrency {
                let Some(row) = rows.next() else { break };
                batch.started = true;
                tasks.spawn(row.recover(self.service()));
            }
            let waiting = rows.len() > 0;
            let next = poll_fn(|cx| match waiting && stop.load(Relaxed) {
                true => Poll::Ready(None),
                false => tasks.poll_join_next(cx).map(Some),
            });
            match next.await {
                Some(Some(Ok((done, asked)))) => {
                    batch.summary.storage_requests += asked;
                    batch.count(&done);
                    if let Done::Unknown(error) = done {
                        batch.unknown = Some(error);
                    }
                }
                Some(Some(Err(_))) => batch.count(&Done::Lost),
                Some(None) => return batch,
                // The shutdown has begun.
                None => {}
            }
        }
    }

    fn service(&self) -> S {
        let service = self.service.lock();
        service.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<S> Clone for Recovery<S> {
    fn clone(&self) -> Self {
        Self {
            settings: Arc::clone(&self.settings),
            ledger: Arc::clone(&self.ledger),
            service: Arc::clone(&self.service),
        }
    }
}

impl<S> fmt::Debug for Recovery<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recovery")
            .field("interval", &self.settings.interval)
            .field("batch", &self.settings.batch)
            .field("concurrency", &self.settings.concurrency)
            .field("max_attempts", &self.settings.max_attempts)
            .finish_non_exhaustive()
    }
}

/// Why a [`Recovery`] cannot be created.
#[derive(Clone, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RecoveryError {
    /// The uploads have no ledger. Call
    /// [`OssUploadsBuilder::ledger`](crate::OssUploadsBuilder::ledger).
    #[error("a recovery needs a ledger; call OssUploadsBuilder::ledger")]
    NoLedger,
}

crate::causes::debug_is_text!(RecoveryError);
