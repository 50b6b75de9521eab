//! The shared key cache: runs the fetches that the [state machine](super::state) admits, and
//! reports their results to it and to the requests that wait.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::Poll,
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{
    runtime::Handle,
    time::{Instant, sleep, timeout},
};

use super::state::{KeyStats, Limits, Outcome, Path, Reason, Receiver, Sender, State};
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
    limits: Limits,
    fetcher: Arc<dyn FetchKey>,
    created: Instant,
    /// Those of `state`, so that a cached key costs no lock, whatever the state machine is doing.
    paths: Arc<ArcSwap<BTreeMap<u16, Path>>>,
    hits: AtomicU64,
    stale: AtomicU64,
    /// The last minute with a warning about refused fetches, counted from 1.
    last_warning: AtomicU64,
    state: Mutex<State>,
}

impl Cache {
    pub(super) fn new(limits: Limits, fetcher: Arc<dyn FetchKey>) -> Self {
        let state = State::new(limits);
        Self {
            limits,
            fetcher,
            created: Instant::now(),
            paths: Arc::clone(&state.paths),
            hits: AtomicU64::new(0),
            stale: AtomicU64::new(0),
            last_warning: AtomicU64::new(0),
            state: Mutex::new(state),
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
        let paths = self.paths.load();
        let usable = |path| Some((path, Path::usable(path, now)?.clone()));
        let Some((path, key)) = paths.get(&url.entry()).and_then(usable) else {
            return self.fetch(url, Reason::Missing);
        };
        self.hits.fetch_add(1, Relaxed);
        if now >= path.fresh_until {
            self.stale.fetch_add(1, Relaxed);
        }
        if path.is_due(Reason::Refresh, now) {
            drop(self.fetch(url, Reason::Refresh));
        }
        Lookup::Ready(Ok(key))
    }

    pub(super) fn signature_failed(self: &Arc<Self>, url: &KeyUrl) {
        let (now, reason) = (self.created.elapsed(), Reason::SignatureFailed);
        let paths = self.paths.load();
        let path = paths.get(&url.entry()).filter(|path| path.key.is_some());
        if path.is_some_and(|path| path.is_due(reason, now)) {
            drop(self.fetch(url, reason));
        }
    }

    /// Starts or joins a fetch, if the state machine admits it.
    fn fetch(self: &Arc<Self>, url: &KeyUrl, reason: Reason) -> Lookup<PublicKey, KeyError> {
        let unavailable = |error| Lookup::Ready(Err(KeyError::Unavailable(error)));
        let Ok(runtime) = Handle::try_current() else {
            return unavailable(Arc::new(FetchError::new(Kind::NoRuntime)));
        };
        let admitted = self.lock().ask(url.entry(), reason);
        let (progress, started) = match admitted {
            Ok(admitted) => admitted,
            Err(error) => {
                let minute = self.created.elapsed().as_secs() / 60 + 1;
                let over_budget = error.kind() == Kind::OverBudget;
                if over_budget && self.last_warning.swap(minute, Relaxed) != minute {
                    tracing::warn!(
                        target: TARGET,
                        "callbacks name more keys than may be fetched; somebody may be probing key \
                         URLs"
                    );
                }
                return unavailable(error);
            }
        };
        if let Some(fetch) = started {
            let awaited = reason == Reason::Missing;
            if !awaited {
                let key_url = tracing::field::display(url);
                tracing::debug!(target: TARGET, key_url, ?reason, "fetching the key again");
            }
            runtime.spawn(Arc::clone(self).run(url.clone(), fetch, awaited));
        }
        Lookup::pending(wait(progress, self.limits.lost_after()))
    }

    /// Runs an admitted fetch, as a task. If the task is dropped, so is the sender: requests that
    /// wait receive an error at once, and the fetch counts as lost later.
    async fn run(self: Arc<Self>, url: KeyUrl, fetch: Sender, awaited: bool) {
        let entry = url.entry();
        let slot_freed = Arc::clone(&self.lock().slot_freed);
        loop {
            // Listens before it asks, so that it misses no slot.
            let slot_freed = slot_freed.notified();
            let start = self.lock().start(entry, &fetch);
            match start {
                Poll::Ready(true) => break,
                Poll::Ready(false) => return,
                Poll::Pending => slot_freed.await,
            }
        }
        let result = self.attempts(&url, &fetch, awaited).await;
        let failure = result.as_ref().err().map(|error| error.kind().name());
        let bits = result.as_ref().map_or(0, PublicKey::bits);
        let result = result.map_err(Arc::new);
        // Without a random number a backoff has its average length.
        let random = getrandom::u32().unwrap_or(200);
        let outcome = self.lock().finish(entry, &fetch, result.clone(), random);
        drop(fetch.send_replace(result));
        // These last, because a recorder or a subscriber may panic.
        metrics::key_fetched(failure.unwrap_or(metrics::FETCHED));
        let key_url = tracing::field::display(&url);
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

    /// Fetches the key within the time limit. If a request waits for it and the first attempt fails
    /// early, tries again. A fetcher that panics has failed.
    async fn attempts(
        &self,
        url: &KeyUrl,
        fetch: &Sender,
        awaited: bool,
    ) -> Result<PublicKey, FetchError> {
        let limit = self.limits.fetch_timeout;
        let mut attempts = pin!(async {
            let started = Instant::now();
            let first = self.attempt(url).await;
            let kind = first.as_ref().map_err(FetchError::kind);
            let transient = matches!(kind, Err(Kind::Resolve | Kind::Connect | Kind::Interrupted));
            if awaited && transient && started.elapsed() < limit / 2 {
                sleep(RETRY_DELAY).await;
                if self.lock().start(url.entry(), fetch) == Poll::Ready(true) {
                    return self.attempt(url).await;
                }
            }
            first
        });
        let caught = poll_fn(|cx| {
            let poll = catch_unwind(AssertUnwindSafe(|| attempts.as_mut().poll(cx)));
            poll.unwrap_or_else(|_| Poll::Ready(Err(FetchError::new(Kind::Aborted))))
        });
        let result = timeout(limit, caught).await;
        result.unwrap_or_else(|_| Err(FetchError::new(Kind::Timeout)))
    }

    async fn attempt(&self, url: &KeyUrl) -> Result<PublicKey, FetchError> {
        let pem = self.fetcher.fetch(url).await?;
        match PublicKey::from_pem(&pem) {
            Ok(key) if key.bits() >= self.limits.min_bits => Ok(key),
            Ok(_) => Err(FetchError::new(Kind::Key)),
            Err(error) => Err(FetchError::with_source(Kind::Key, error)),
        }
    }

    /// The state machine does not panic halfway through a change, so a poisoned lock is harmless.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.now = self.created.elapsed();
        state
    }
}

/// Waits for the result of a fetch, but not for one that is lost.
async fn wait(mut progress: Receiver, lost_after: Duration) -> Result<PublicKey, KeyError> {
    let result = match timeout(lost_after, progress.changed()).await {
        Ok(_) => progress.borrow().clone(),
        Err(_) => Err(Arc::new(FetchError::new(Kind::Timeout))),
    };
    result.map_err(|error| KeyError::Unavailable(error))
}
