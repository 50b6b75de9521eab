//! The state machine of the key cache.
//!
//! It decides which key is cached, which paths back off, and which fetch may start. It reads no
//! clock and performs no I/O: callers set [`State::now`], and run the fetches that it admits.
//!
//! A path has a key, backs off after a failure, or both: no failure takes a key away. A fetch is
//! admitted by [`State::ask`], gets a slot from [`State::start`] and ends with [`State::finish`].
//! Until then no other fetch of its path is admitted, unless it is lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};

use crate::key::{
    https::{FetchError, FetchErrorKind as Kind},
    public_key::PublicKey,
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
/// The minimum backoff after status 404 or 410.
const NOT_FOUND: Duration = Duration::from_secs(300);
/// The minimum time after a fetch before failed signatures trigger another one.
pub(super) const RECHECK: Duration = Duration::from_secs(300);
pub(super) const CONCURRENT: usize = 2;
/// The number of paths that are remembered, with a key or a failure.
pub(super) const PATHS: usize = 64;

#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) fresh: Duration,
    /// How long a key is used after it is no longer fresh.
    pub(super) stale: Duration,
    /// The first backoff after a failure.
    pub(super) cool_down: Duration,
    pub(super) fetch_timeout: Duration,
    pub(super) per_minute: usize,
    pub(super) reserved_per_minute: usize,
    pub(super) keys: usize,
    /// The minimum length of a fetched key.
    pub(super) min_bits: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            fresh: Duration::from_secs(24 * 3600),
            stale: Duration::from_secs(7 * 24 * 3600),
            cool_down: Duration::from_secs(30),
            fetch_timeout: Duration::from_secs(2),
            per_minute: 10,
            reserved_per_minute: 2,
            keys: 8,
            min_bits: PublicKey::MIN_BITS,
        }
    }
}

impl Limits {
    /// After what time a fetch counts as lost. It is longer than the wait for a slot, which is that
    /// of 6 fetches with the default budget.
    pub(super) const fn lost_after(&self) -> Duration {
        self.fetch_timeout.saturating_mul(16)
    }

    /// How long a path is not fetched after its nth failure. `random` keeps machines that failed
    /// together from retrying together.
    pub(super) fn backoff(&self, nth: u32, error: &FetchError, random: u32) -> Duration {
        let longest = self.cool_down.saturating_mul(20);
        let doublings = nth.saturating_sub(1).min(16);
        let doubled = self.cool_down.saturating_mul(1 << doublings).min(longest);
        let spread = doubled.saturating_mul(800 + random % 401) / 1000;
        let not_found = matches!(error.status().map(|it| it.as_u16()), Some(404 | 410));
        // The host may ask for more time, but not lock the key out for longer than we would.
        let requested = error.retry_after().unwrap_or_default().min(longest);
        spread.max(requested).max(NOT_FOUND * u32::from(not_found))
    }
}

/// Counters of a [`FetchedKeys`](super::FetchedKeys) since its creation, returned by
/// [`FetchedKeys::stats`](super::FetchedKeys::stats). Lookups of pinned keys are not counted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct KeyStats {
    /// Lookups answered from the cache, including those answered with a stale key.
    pub hits: u64,
    /// Lookups answered with a key that is no longer fresh because its refresh failed.
    pub stale: u64,
    /// Fetches started, including second attempts.
    pub fetches: u64,
    /// Fetches that returned no accepted key.
    pub failures: u64,
    /// Lookups refused without a fetch, because the path failed recently or the budget was used up.
    pub refusals: u64,
    /// Fetches that returned a different key than before for the same URL.
    pub changes: u64,
}

/// Why a fetch is requested.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reason {
    /// No usable key is cached.
    Missing,
    /// The cached key approaches the end of its freshness.
    Refresh,
    /// A signature failed to verify with the cached key.
    SignatureFailed,
}

/// What a fetch reports to the requests that wait for it. Initially the error that they receive if
/// it ends without a result.
pub(super) type Progress = Result<PublicKey, Arc<FetchError>>;
pub(super) type Sender = watch::Sender<Progress>;
pub(super) type Receiver = watch::Receiver<Progress>;

/// How the result of a fetch changed the cache.
#[derive(Debug)]
pub(super) enum Outcome {
    New,
    Unchanged,
    Changed,
    /// No key was stored. The path backs off for the duration.
    Failed(Arc<FetchError>, Duration),
}

/// What is known of a path.
#[derive(Clone, Debug, Default)]
pub(super) struct Path {
    pub(super) key: Option<PublicKey>,
    refresh_at: Duration,
    pub(super) fresh_until: Duration,
    pub(super) stale_until: Duration,
    /// Failed signatures trigger no fetch before this time.
    recheck_at: Duration,
    /// Failures since the last success, and the last error.
    failures: u32,
    error: Option<Arc<FetchError>>,
    /// Not fetched before this time. While a fetch is in flight, the time at which it is lost.
    retry_at: Duration,
}

impl Path {
    /// The key, unless it is too old.
    pub(super) fn usable(&self, now: Duration) -> Option<&PublicKey> {
        self.key.as_ref().filter(|_| now < self.stale_until)
    }

    /// Whether a request for a fetch is worth the lock.
    pub(super) fn is_due(&self, reason: Reason, now: Duration) -> bool {
        let due_at = match reason {
            Reason::Missing => self.stale_until,
            Reason::Refresh => self.refresh_at,
            Reason::SignatureFailed => self.recheck_at,
        };
        now >= due_at.max(self.retry_at)
    }
}

/// A fetch that was admitted and has not ended.
#[derive(Debug)]
pub(super) struct Flight {
    /// When it was admitted or, later, when its last attempt started.
    since: Duration,
    /// Whether it has a slot.
    started: bool,
    /// Identifies the fetch, too.
    progress: Receiver,
}

#[derive(Debug, Default)]
pub(super) struct State {
    limits: Limits,
    /// The time since the cache was created.
    pub(super) now: Duration,
    /// Replaced when it changes. Requests read it without the lock.
    pub(super) paths: Arc<ArcSwap<BTreeMap<u16, Path>>>,
    /// At most one of each path.
    pub(super) flights: BTreeMap<u16, Flight>,
    /// When the attempts of the last minute started.
    starts: Vec<Duration>,
    /// Wakes the fetches that wait for a slot.
    pub(super) slot_freed: Arc<Notify>,
    /// Paths that the operator has named.
    pub(super) expected: BTreeSet<u16>,
    pub(super) stats: KeyStats,
}

impl State {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Returns the fetch of a path, with its sender if it is a new one that the caller must run.
    ///
    /// Fails if the path backs off, or if too many fetches started in the last minute.
    pub(super) fn ask(
        &mut self,
        entry: u16,
        reason: Reason,
    ) -> Result<(Receiver, Option<Sender>), Arc<FetchError>> {
        self.give_up_lost();
        if let Some(flight) = self.flights.get(&entry) {
            return Ok((flight.progress.clone(), None));
        }
        let mut path = self.path(entry);
        if let Some(key) = path.usable(self.now)
            && !path.is_due(reason, self.now)
        {
            // Fetched after the caller looked.
            return Ok((watch::channel(Ok(key.clone())).1, None));
        }
        let refusal = match &path.error {
            Some(error) if self.now < path.retry_at => Some(Arc::clone(error)),
            _ if self.has_room(entry) => None,
            _ => Some(Arc::new(FetchError::new(Kind::OverBudget))),
        };
        // Requests with a usable key do not ask again until the fetch ends, or for a second.
        if path.key.is_some() && self.now >= path.retry_at {
            let lost_after = self.limits.lost_after();
            path.retry_at = self.after(refusal.as_ref().map_or(lost_after, |_| SECOND));
            self.put(entry, path);
        }
        if let Some(error) = refusal {
            self.stats.refusals += u64::from(reason == Reason::Missing);
            return Err(error);
        }
        let (sender, progress) = watch::channel(Err(Arc::new(FetchError::new(Kind::Aborted))));
        let flight = Flight {
            since: self.now,
            started: false,
            progress: progress.clone(),
        };
        self.flights.insert(entry, flight);
        Ok((progress, Some(sender)))
    }

    /// Records that an attempt starts. Pending while no slot is free; false if the attempt must not
    /// start, because the fetch was given up, or because it is a second one and exceeds the budget.
    pub(super) fn start(&mut self, entry: u16, fetch: &Sender) -> Poll<bool> {
        let now = self.now;
        let running = self.flights.values().filter(|flight| flight.started);
        let is_full = running.count() >= CONCURRENT;
        let Some(flight) = self.in_flight(entry, fetch) else {
            return Poll::Ready(false);
        };
        let second = flight.started;
        if is_full && !second {
            return Poll::Pending;
        }
        (flight.since, flight.started) = (now, true);
        // The budget has included the first attempt since it was admitted.
        let may_start = !second || self.has_room(entry);
        if may_start {
            self.starts.push(now);
            self.stats.fetches += 1;
            self.stats.failures += u64::from(second);
        }
        Poll::Ready(may_start)
    }

    /// Records the result of a fetch. Ignores that of one that was given up and returns `None`: its
    /// successor may already have finished. `random` spreads the backoff.
    pub(super) fn finish(
        &mut self,
        entry: u16,
        fetch: &Sender,
        result: Progress,
        random: u32,
    ) -> Option<Outcome> {
        self.stats.failures += u64::from(result.is_err());
        self.in_flight(entry, fetch)?;
        self.flights.remove(&entry);
        self.slot_freed.notify_waiters();
        let mut path = self.path(entry);
        path.recheck_at = self.after(RECHECK);
        let (now, paths) = (self.now, self.paths.load());
        let others = paths.iter().filter(|(other, _)| **other != entry);
        let good = others.filter(|(_, path)| path.usable(now).is_some());
        let result = match result {
            // Otherwise made-up versions could push out good keys.
            Ok(_) if good.count() >= self.limits.keys => {
                Err(Arc::new(FetchError::new(Kind::CacheFull)))
            }
            result => result,
        };
        let outcome = match result {
            Ok(key) => {
                let outcome = match &path.key {
                    None => Outcome::New,
                    Some(old) if *old == key => Outcome::Unchanged,
                    Some(_) => Outcome::Changed,
                };
                path.key = Some(key);
                path.refresh_at = self.after(self.limits.fresh / 5 * 4);
                path.fresh_until = self.after(self.limits.fresh);
                path.stale_until = path.fresh_until.saturating_add(self.limits.stale);
                (path.failures, path.error, path.retry_at) = Default::default();
                outcome
            }
            Err(error) => {
                path.failures = path.failures.saturating_add(1);
                // A path with a key backs off one step longer, because no request waits for it.
                let nth = path.failures.saturating_add(u32::from(path.key.is_some()));
                let backoff = self.limits.backoff(nth, &error, random);
                path.retry_at = self.after(backoff);
                path.error = Some(Arc::clone(&error));
                Outcome::Failed(error, backoff)
            }
        };
        self.stats.changes += u64::from(matches!(outcome, Outcome::Changed));
        self.put(entry, path);
        Some(outcome)
    }

    /// Gives up fetches whose runtime nothing drives any more.
    fn give_up_lost(&mut self) {
        let (now, before, lost_after) = (self.now, self.flights.len(), self.limits.lost_after());
        let in_time = |flight: &Flight| now < flight.since.saturating_add(lost_after);
        self.flights.retain(|_, flight| in_time(flight));
        if self.flights.len() < before {
            self.slot_freed.notify_waiters();
        }
    }

    fn in_flight(&mut self, entry: u16, fetch: &Sender) -> Option<&mut Flight> {
        let flight = self.flights.get_mut(&entry)?;
        let is_same = flight.progress.same_channel(&fetch.subscribe());
        is_same.then_some(flight)
    }

    /// Whether the budget has room for an attempt. A sliding window: a token bucket would let twice
    /// as many start when it refills.
    fn has_room(&mut self, entry: u16) -> bool {
        let now = self.now;
        self.starts
            .retain(|start| now < start.saturating_add(MINUTE));
        let waiting = self.flights.values().filter(|flight| !flight.started);
        let used = self.starts.len() + waiting.count();
        let known = self.expected.contains(&entry) || self.path(entry).key.is_some();
        let reserved = self.limits.reserved_per_minute * usize::from(known);
        used < self.limits.per_minute.saturating_add(reserved)
    }

    fn path(&self, entry: u16) -> Path {
        let paths = self.paths.load();
        paths.get(&entry).cloned().unwrap_or_default()
    }

    /// Publishes a path. If there are too many, forgets another one without a usable key.
    fn put(&self, entry: u16, path: Path) {
        let mut paths = BTreeMap::clone(&self.paths.load());
        paths.insert(entry, path);
        if paths.len() > self.limits.keys.max(PATHS) {
            let others = paths.iter().filter(|(other, _)| **other != entry);
            // Usable keys are fewer, and have the latest time.
            let first = others.min_by_key(|(_, path)| (path.stale_until, path.retry_at));
            let first = first.map(|(entry, _)| *entry);
            first.and_then(|entry| paths.remove(&entry));
        }
        self.paths.store(Arc::new(paths));
    }

    fn after(&self, time: Duration) -> Duration {
        self.now.saturating_add(time)
    }
}
