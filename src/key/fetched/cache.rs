//! The shared key cache: runs the fetches that the [state machine](super::state) requests, and
//! reports their results to it and to the requests that wait.

use std::{
    collections::BTreeMap,
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
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::state::{Decision, KeyStats, Limits, Outcome, Path, Progress, Reason, State};
use crate::{
    Lookup,
    key::{
        https::{FetchError, FetchErrorKind as Kind, FetchKey},
        public_key::PublicKey,
        source::KeyError,
        url::KeyUrl,
    },
    metrics,
};

/// The target of the log.
const TARGET: &str = "tower_aliyun_oss::key";
/// The pause before the second attempt.
const RETRY_DELAY: Duration = Duration::from_millis(100);

pub(super) struct Cache {
    fetch_timeout: Duration,
    fetcher: Arc<dyn FetchKey>,
    /// The minimum length of a fetched key, in bits.
    min_bits: usize,
    created: Instant,
    /// What requests read: a cached key costs no lock, whatever the state machine is doing.
    paths: ArcSwap<BTreeMap<u16, Path>>,
    hits: AtomicU64,
    stale: AtomicU64,
    /// The last minute with a warning about refused fetches, counted from 1.
    last_warning: AtomicU64,
    state: Mutex<State>,
}

impl Cache {
    pub(super) fn new(limits: Limits, fetcher: Arc<dyn FetchKey>, min_bits: usize) -> Self {
        Self {
            fetch_timeout: limits.fetch_timeout,
            fetcher,
            min_bits,
            created: Instant::now(),
            paths: ArcSwap::default(),
            hits: AtomicU64::new(0),
            stale: AtomicU64::new(0),
            last_warning: AtomicU64::new(0),
            state: Mutex::new(State::new(limits)),
        }
    }

    pub(super) fn stats(&self) -> KeyStats {
        KeyStats {
            hits: self.hits.load(Relaxed),
            stale: self.stale.load(Relaxed),
            ..self.lock().stats
        }
    }

    /// Returns the cached key, or a lookup that waits for a fetch.
    pub(super) fn key(self: &Arc<Self>, url: &KeyUrl) -> Lookup<PublicKey, KeyError> {
        let now = self.created.elapsed();
        let snapshot = self.paths.load();
        let path = snapshot.get(&url.entry());
        let usable = path.filter(|path| now < path.stale_until);
        let Some((path, key)) = usable.and_then(|path| Some((path, path.key.clone()?))) else {
            drop(snapshot);
            return self.fetch(url, Reason::Missing);
        };
        self.hits.fetch_add(1, Relaxed);
        if now >= path.fresh_until {
            self.stale.fetch_add(1, Relaxed);
        }
        if path.needs(Reason::Refresh, now) {
            drop(snapshot);
            drop(self.fetch(url, Reason::Refresh));
        }
        Lookup::Ready(Ok(key))
    }

    pub(super) fn signature_failed(self: &Arc<Self>, url: &KeyUrl) {
        let now = self.created.elapsed();
        let snapshot = self.paths.load();
        let path = snapshot.get(&url.entry()).filter(|path| path.key.is_some());
        if path.is_some_and(|path| path.needs(Reason::SignatureFailed, now)) {
            drop(snapshot);
            drop(self.fetch(url, Reason::SignatureFailed));
        }
    }

    /// Starts or joins a fetch, if the state machine allows it.
    fn fetch(self: &Arc<Self>, url: &KeyUrl, reason: Reason) -> Lookup<PublicKey, KeyError> {
        let unavailable = |error| Lookup::Ready(Err(KeyError::Unavailable(error)));
        let Ok(runtime) = Handle::try_current() else {
            return unavailable(Arc::new(FetchError::new(Kind::NoRuntime)));
        };
        let awaited = reason == Reason::Missing;
        match self.update(|state, now| state.ask(url.entry(), reason, now)) {
            Decision::Cached(key) => {
                self.hits.fetch_add(u64::from(awaited), Relaxed);
                Lookup::Ready(Ok(key))
            }
            Decision::InFlight(started, progress) => {
                if let Some(id) = started {
                    // Before the log, which may panic: the guard must exist to end the fetch.
                    let task = FetchTask {
                        cache: Arc::clone(self),
                        url: url.clone(),
                        id: Some(id),
                    };
                    if !awaited {
                        let key_url = tracing::field::display(url);
                        tracing::debug!(target: TARGET, key_url, ?reason, "fetching the key again");
                    }
                    runtime.spawn(task.run(id, awaited));
                }
                Lookup::pending(wait(progress))
            }
            Decision::Refused(error) => {
                let minute = self.created.elapsed().as_secs() / 60 + 1;
                if error.kind() == Kind::OverBudget
                    && self.last_warning.swap(minute, Relaxed) != minute
                {
                    tracing::warn!(
                        target: TARGET,
                        "callbacks name more keys than may be fetched; somebody may be probing key \
                         URLs"
                    );
                }
                unavailable(error)
            }
        }
    }

    /// Changes the state and publishes the keys before releasing the lock, so that snapshots never
    /// go back in time.
    fn update<T>(&self, change: impl FnOnce(&mut State, Duration) -> T) -> T {
        let now = self.created.elapsed();
        let mut state = self.lock();
        let result = change(&mut state, now);
        let ended = std::mem::take(&mut state.ended);
        if !Arc::ptr_eq(&state.paths, &self.paths.load()) {
            self.paths.store(Arc::clone(&state.paths));
        }
        // Wakers run below, and may take the lock.
        drop(state);
        for (progress, result) in &ended {
            progress.send_replace(result.clone());
        }
        result
    }

    /// The state machine does not panic halfway through a change, so a poisoned lock is harmless.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn wait(mut progress: watch::Receiver<Progress>) -> Result<PublicKey, KeyError> {
    let result = progress.wait_for(Option::is_some).await;
    let result = result.ok().and_then(|result| result.clone());
    let aborted = || Err(Arc::new(FetchError::new(Kind::Aborted)));
    let result = result.unwrap_or_else(aborted);
    result.map_err(|error| KeyError::Unavailable(error))
}

/// A fetch in a task of its own, and the guard that reports its result.
///
/// If the task is cancelled or panics, dropping the guard reports [`Kind::Aborted`]. Requests would
/// otherwise wait for a fetch that no longer runs.
struct FetchTask {
    cache: Arc<Cache>,
    url: KeyUrl,
    /// `None` after the result has been reported.
    id: Option<u64>,
}

impl FetchTask {
    /// Fetches the key. If a request waits for it and the first attempt fails early, tries again.
    async fn run(mut self, id: u64, awaited: bool) {
        let slots = self.cache.lock().slots();
        let _slot = slots.acquire().await;
        if !self.cache.update(|state, now| state.start(id, now)) {
            // The requests that wait for an abandoned fetch have been told.
            self.id = None;
            return;
        }
        let limit = self.cache.fetch_timeout;
        let attempts = async {
            let started = Instant::now();
            let first = self.attempt().await;
            let kind = first.as_ref().map_err(FetchError::kind);
            let transient = matches!(kind, Err(Kind::Resolve | Kind::Connect | Kind::Interrupted));
            if awaited && transient && started.elapsed() < limit / 2 {
                sleep(RETRY_DELAY).await;
                if self.cache.update(|state, now| state.start(id, now)) {
                    return self.attempt().await;
                }
            }
            first
        };
        let result = timeout(limit, attempts).await;
        self.finish(result.unwrap_or_else(|_| Err(FetchError::new(Kind::Timeout))));
    }

    async fn attempt(&self) -> Result<PublicKey, FetchError> {
        let pem = self.cache.fetcher.fetch(&self.url).await?;
        match PublicKey::from_pem(&pem) {
            Ok(key) if key.bits() >= self.cache.min_bits => Ok(key),
            Ok(_) => Err(FetchError::new(Kind::Key)),
            Err(error) => Err(FetchError::with_source(Kind::Key, error)),
        }
    }

    fn finish(&mut self, result: Result<PublicKey, FetchError>) {
        let Some(id) = self.id.take() else { return };
        let bits = result.as_ref().map_or(0, PublicKey::bits);
        // Without a random number a backoff has its average length.
        let random = getrandom::u32().unwrap_or(u32::MAX / 2);
        let outcome = result.as_ref().map_err(|error| error.kind().name());
        metrics::key_fetched(outcome.err().unwrap_or(metrics::FETCHED));
        let result = result.map_err(Arc::new);
        let outcome = self
            .cache
            .update(|state, now| state.finish(id, result, now, random));
        let key_url = tracing::field::display(&self.url);
        // The log last, because a subscriber may panic.
        match outcome {
            None => {}
            Some(Outcome::New) => {
                tracing::info!(target: TARGET, key_url, bits, "fetched a new key");
            }
            Some(Outcome::Unchanged) => {
                tracing::debug!(target: TARGET, key_url, "the key is unchanged");
            }
            Some(Outcome::Changed) => {
                tracing::warn!(target: TARGET, key_url, bits, "the key of this URL has changed");
            }
            Some(Outcome::Failed(error, backoff)) => {
                let backoff = backoff.as_secs();
                let cause = error.cause().map(tracing::field::display);
                tracing::warn!(target: TARGET, key_url, backoff, cause, "{error}");
            }
        }
    }
}

impl Drop for FetchTask {
    fn drop(&mut self) {
        let abort = || self.finish(Err(FetchError::new(Kind::Aborted)));
        // The log may be what panicked, and panic again: during unwinding that aborts the process.
        drop(catch_unwind(AssertUnwindSafe(abort)));
    }
}
