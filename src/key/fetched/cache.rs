//! The shared key cache: runs the fetches that the [state machine](super::state) requests, and
//! reports their results to it and to the requests that wait.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
    time::{Instant, sleep, timeout},
};

use super::{
    limits::Limits,
    state::{Decision, Outcome, Progress, Reason, Slot, Snapshot, State},
    stats::{Counters, KeyStats},
};
use crate::{
    Lookup,
    key::{
        https::{FetchError, FetchErrorKind as Kind, FetchKey},
        public_key::PublicKey,
        source::KeyError,
        url::KeyUrl,
    },
};

/// The pause before the second attempt.
const RETRY_DELAY: Duration = Duration::from_millis(100);

pub(super) struct Cache {
    limits: Limits,
    fetcher: Arc<dyn FetchKey>,
    /// The minimum length of a fetched key, in bits.
    min_bits: usize,
    /// Notified when a fetch ends and frees its slot.
    slot_freed: Notify,
    counters: Counters,
    created: Instant,
    /// What requests read: a cached key costs no lock, whatever the state machine is doing.
    snapshot: ArcSwap<Snapshot>,
    state: Mutex<State>,
    /// The last minute with a warning about refused fetches, counted from 1.
    last_warning: AtomicU64,
}

impl Cache {
    pub(super) fn new(limits: Limits, fetcher: Arc<dyn FetchKey>, min_bits: usize) -> Self {
        Self {
            fetcher,
            min_bits,
            slot_freed: Notify::new(),
            counters: Counters::default(),
            created: Instant::now(),
            snapshot: ArcSwap::default(),
            state: Mutex::new(State::new(limits.clone())),
            last_warning: AtomicU64::new(0),
            limits,
        }
    }

    pub(super) fn stats(&self) -> KeyStats {
        self.counters.snapshot()
    }

    /// Returns the cached key, or a lookup that waits for a fetch.
    pub(super) fn key(self: &Arc<Self>, url: &KeyUrl) -> Lookup<PublicKey, KeyError> {
        let now = self.now();
        let snapshot = self.snapshot.load();
        let usable = snapshot
            .get(url.entry())
            .filter(|cached| now < cached.stale_until);
        let Some(cached) = usable else {
            drop(snapshot);
            return self.look_up(url, now);
        };
        self.counters.hit(now >= cached.fresh_until);
        let key = cached.key.clone();
        if cached.needs_refresh(now) {
            drop(snapshot);
            self.fetch_in_background(url, Reason::Refresh, now);
        }
        Lookup::Ready(Ok(key))
    }

    pub(super) fn signature_failed(self: &Arc<Self>, url: &KeyUrl) {
        let now = self.now();
        let snapshot = self.snapshot.load();
        let due = snapshot
            .get(url.entry())
            .is_some_and(|cached| cached.needs_recheck(now));
        drop(snapshot);
        if due {
            self.fetch_in_background(url, Reason::SignatureFailed, now);
        }
    }

    pub(super) fn expect(&self, entry: u16) {
        self.lock().expect(entry);
    }

    fn look_up(self: &Arc<Self>, url: &KeyUrl, now: Duration) -> Lookup<PublicKey, KeyError> {
        let Ok(runtime) = Handle::try_current() else {
            return refused(Arc::new(FetchError::new(Kind::NoRuntime)));
        };
        let error = match self.ask(url, Reason::Missing, now) {
            Decision::Cached(key) => {
                self.counters.hit(false);
                return Lookup::Ready(Ok(key));
            }
            Decision::Start(id, sender) => {
                let progress = sender.subscribe();
                let task = FetchTask::new(Arc::clone(self), url.clone(), id, sender);
                runtime.spawn(task.run(true));
                return wait(progress);
            }
            Decision::InFlight(progress) => return wait(progress),
            Decision::BackingOff(error) => error,
            Decision::OverBudget | Decision::NotDue => {
                self.warn_over_budget(now);
                Arc::new(FetchError::new(Kind::OverBudget))
            }
        };
        self.counters.refusal();
        refused(error)
    }

    fn fetch_in_background(self: &Arc<Self>, url: &KeyUrl, reason: Reason, now: Duration) {
        // Without a runtime the cached key remains usable.
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        if let Decision::Start(id, sender) = self.ask(url, reason, now) {
            // Before the log, which may panic: the guard must exist to end the fetch.
            let task = FetchTask::new(Arc::clone(self), url.clone(), id, sender);
            tracing::debug!(
                target: "tower_aliyun_oss::key", key_url = %url, ?reason, "fetching the key again"
            );
            runtime.spawn(task.run(false));
        }
    }

    /// Spawn the requested fetch after this returns: a runtime that is shutting down drops the task
    /// at once, and its guard takes the lock again.
    fn ask(&self, url: &KeyUrl, reason: Reason, now: Duration) -> Decision {
        self.update(|state| state.ask(url.entry(), reason, now))
    }

    fn take_slot(&self, id: u64) -> Slot {
        let now = self.now();
        self.update(|state| state.take_slot(id, now))
    }

    fn retry(&self, id: u64) -> bool {
        let now = self.now();
        self.update(|state| state.retry(id, now))
    }

    /// Records the result of a fetch, unless the fetch was abandoned.
    fn finish(&self, id: u64, result: &Result<PublicKey, Arc<FetchError>>) -> Option<Outcome> {
        let (now, random) = (self.now(), random());
        let outcome = self.update(|state| state.finish(id, result, now, random));
        self.slot_freed.notify_waiters();
        if let Some(Outcome::Changed(_)) = outcome {
            self.counters.change();
        }
        outcome
    }

    /// Changes the state and publishes a new snapshot before releasing the lock, so that snapshots
    /// never go back in time.
    fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let result = change(&mut state);
        let abandoned = state.take_abandoned();
        if let Some(snapshot) = state.new_snapshot() {
            self.snapshot.store(Arc::new(snapshot));
        }
        // Wakers run below, and may take the lock.
        drop(state);
        for sender in &abandoned {
            let error = FetchError::new(Kind::Timeout);
            sender.send_replace(Some(Err(Arc::new(error))));
        }
        if !abandoned.is_empty() {
            self.slot_freed.notify_waiters();
        }
        result
    }

    fn log(&self, url: &KeyUrl, outcome: &Outcome) {
        match outcome {
            Outcome::New(bits) => tracing::info!(
                target: "tower_aliyun_oss::key", key_url = %url, bits, "fetched a new key"
            ),
            Outcome::Unchanged => tracing::debug!(
                target: "tower_aliyun_oss::key", key_url = %url, "the key is unchanged"
            ),
            Outcome::Changed(bits) => tracing::warn!(
                target: "tower_aliyun_oss::key",
                key_url = %url, bits, "the key of this URL has changed"
            ),
            Outcome::Failed(error, backoff) => tracing::warn!(
                target: "tower_aliyun_oss::key",
                key_url = %url,
                backoff = backoff.as_secs(),
                cause = error.cause().map(tracing::field::display),
                "{error}"
            ),
        }
    }

    fn warn_over_budget(&self, now: Duration) {
        let minute = now.as_secs() / 60 + 1;
        if self.last_warning.load(Relaxed) != minute
            && self.last_warning.swap(minute, Relaxed) != minute
        {
            tracing::warn!(
                target: "tower_aliyun_oss::key",
                "callbacks name more keys than may be fetched; somebody may be probing key URLs"
            );
        }
    }

    fn now(&self) -> Duration {
        self.created.elapsed()
    }

    /// The state machine does not panic halfway through a change, so a poisoned lock is harmless.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn sizes(&self) -> [usize; 3] {
        self.lock().sizes()
    }
}

fn refused(error: Arc<FetchError>) -> Lookup<PublicKey, KeyError> {
    Lookup::Ready(Err(KeyError::Unavailable(error)))
}

fn wait(mut progress: watch::Receiver<Progress>) -> Lookup<PublicKey, KeyError> {
    Lookup::pending(async move {
        let result = match progress.wait_for(Option::is_some).await {
            Ok(result) => (*result).clone(),
            // The task was dropped without a result.
            Err(_) => None,
        };
        let aborted = || Err(Arc::new(FetchError::new(Kind::Aborted)));
        let result = result.unwrap_or_else(aborted);
        result.map_err(|error| KeyError::Unavailable(error))
    })
}

fn random() -> u32 {
    // Without a random number a backoff has its average length.
    getrandom::u32().unwrap_or(u32::MAX / 2)
}

/// A fetch in a task of its own, and the guard that reports its result.
///
/// If the task is cancelled or panics, dropping the guard reports [`Kind::Aborted`]. Requests would
/// otherwise wait for a fetch that no longer runs.
struct FetchTask {
    cache: Arc<Cache>,
    url: KeyUrl,
    id: u64,
    sender: Arc<watch::Sender<Progress>>,
    finished: bool,
}

impl FetchTask {
    fn new(cache: Arc<Cache>, url: KeyUrl, id: u64, sender: Arc<watch::Sender<Progress>>) -> Self {
        Self {
            cache,
            url,
            id,
            sender,
            finished: false,
        }
    }

    /// Fetches the key. If a request waits for it and the first attempt fails early, tries again.
    async fn run(mut self, awaited: bool) {
        if !self.wait_for_slot().await {
            return;
        }
        let limit = self.cache.limits.fetch_timeout;
        let attempts = async {
            let started = Instant::now();
            let first = self.attempt().await;
            match &first {
                Err(error) if awaited && is_transient(error) && started.elapsed() < limit / 2 => {}
                _ => return first,
            }
            sleep(RETRY_DELAY).await;
            if self.cache.retry(self.id) {
                self.attempt().await
            } else {
                first
            }
        };
        let result = timeout(limit, attempts).await;
        self.finish(result.unwrap_or_else(|_| Err(FetchError::new(Kind::Timeout))));
    }

    /// Returns false if the fetch was abandoned.
    async fn wait_for_slot(&self) -> bool {
        loop {
            // Before asking for the slot, so that a notification in between is not missed.
            let freed = self.cache.slot_freed.notified();
            match self.cache.take_slot(self.id) {
                Slot::Granted => return true,
                Slot::Abandoned => return false,
                // A lost fetch sends no notification, so ask again after a while.
                Slot::Busy => drop(timeout(self.cache.limits.fetch_timeout, freed).await),
            }
        }
    }

    async fn attempt(&self) -> Result<PublicKey, FetchError> {
        let count = self.cache.counters.fetch();
        let pem = self.cache.fetcher.fetch(&self.url).await?;
        let key =
            PublicKey::from_pem(&pem).map_err(|error| FetchError::with_source(Kind::Key, error))?;
        if key.bits() < self.cache.min_bits {
            return Err(FetchError::new(Kind::Key));
        }
        count.succeeded();
        Ok(key)
    }

    fn finish(&mut self, result: Result<PublicKey, FetchError>) {
        self.finished = true;
        let result = result.map_err(Arc::new);
        // The cache first: a request that learns of a key must find it there. The log last, because
        // a subscriber may panic.
        if let Some(outcome) = self.cache.finish(self.id, &result) {
            self.sender.send_replace(Some(result));
            self.cache.log(&self.url, &outcome);
        }
    }
}

impl Drop for FetchTask {
    fn drop(&mut self) {
        if !self.finished {
            let abort = || self.finish(Err(FetchError::new(Kind::Aborted)));
            // The log may be what panicked, and panic again: during unwinding that aborts the
            // process.
            drop(catch_unwind(AssertUnwindSafe(abort)));
        }
    }
}

/// Whether the next attempt may succeed right away.
fn is_transient(error: &FetchError) -> bool {
    matches!(
        error.kind(),
        Kind::Resolve | Kind::Connect | Kind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_not_all_the_same() {
        let first = random();
        assert!((0..64).any(|_| random() != first));
    }
}
