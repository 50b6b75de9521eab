//! The state machine of the key cache.
//!
//! It decides which key is cached, which paths back off, and which fetch may start. It reads no
//! clock and performs no I/O: callers pass the time, as a duration since the cache was created, and
//! run the fetches that [`State::ask`] requests.
//!
//! A path has a key, backs off after a failure, or both: no failure takes a key away. At most one
//! fetch of each path is in flight.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio::sync::{Semaphore, watch};

use crate::key::{
    https::{FetchError, FetchErrorKind as Kind},
    public_key::PublicKey,
};

const MINUTE: Duration = Duration::from_secs(60);
/// The minimum backoff after status 404 or 410.
const NOT_FOUND: Duration = Duration::from_secs(300);
/// The minimum time between two fetches of a key that failed signatures trigger.
pub(super) const RECHECK: Duration = Duration::from_secs(300);
pub(super) const CONCURRENT: usize = 2;
pub(super) const FAILED_PATHS: usize = 64;

#[derive(Clone, Debug)]
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
        }
    }
}

impl Limits {
    /// After what time a fetch counts as lost: everything that can be ahead of it in any minute,
    /// and ten times its own limit.
    pub(super) fn lost_after(&self) -> Duration {
        let ahead = self.per_minute.saturating_add(self.reserved_per_minute) / CONCURRENT;
        let times = u32::try_from(ahead).unwrap_or(u32::MAX).saturating_add(10);
        self.fetch_timeout.saturating_mul(times)
    }

    /// How long a path is not fetched after its nth failure. `random` is uniform over `u32`: it
    /// keeps machines that failed together from retrying together.
    pub(super) fn backoff(&self, nth: u32, error: &FetchError, random: u32) -> Duration {
        let longest = self.cool_down.saturating_mul(20);
        let doublings = nth.saturating_sub(1).min(16);
        let doubled = self.cool_down.saturating_mul(1 << doublings).min(longest);
        // From 80 % to 120 %, in thousandths.
        let thousandths = 800 + u32::try_from((u64::from(random) * 401) >> 32).unwrap_or_default();
        let not_found = error
            .status()
            .is_some_and(|it| matches!(it.as_u16(), 404 | 410));
        // The host may ask for more time, but not lock the key out for longer than we would.
        let requested = error.retry_after().unwrap_or_default().min(longest);
        (doubled.saturating_mul(thousandths) / 1000)
            .max(requested)
            .max(NOT_FOUND * u32::from(not_found))
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

/// The result of a fetch, or `None` while it is in flight.
pub(super) type Progress = Option<Result<PublicKey, Arc<FetchError>>>;

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

/// The answer to a request for a fetch.
#[derive(Debug)]
pub(super) enum Decision {
    /// The cached key does not have to be fetched yet.
    Cached(PublicKey),
    /// A fetch of this path is in flight. With an id, it is a new one that the caller must run.
    InFlight(Option<u64>, watch::Receiver<Progress>),
    /// The path backs off after this error, or too many fetches started in the last minute.
    Refused(Arc<FetchError>),
}

/// How the result of a fetch changed the cache.
#[derive(Debug)]
pub(super) enum Outcome {
    New,
    Unchanged,
    Changed,
    /// No key was stored. The path backs off for the duration.
    Failed(Arc<FetchError>, Duration),
}

/// What is known of a path. Requests read it without a lock.
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
    /// Whether a request for a fetch is worth the lock.
    pub(super) fn needs(&self, reason: Reason, now: Duration) -> bool {
        now >= self.due_at(reason).max(self.retry_at)
    }

    fn due_at(&self, reason: Reason) -> Duration {
        match reason {
            Reason::Missing => self.stale_until,
            Reason::Refresh => self.refresh_at,
            Reason::SignatureFailed => self.recheck_at,
        }
    }
}

/// A fetch that is in flight, or that started in the last minute.
#[derive(Debug)]
struct Fetch {
    id: u64,
    entry: u16,
    /// Whether the reserved budget pays.
    reserved: bool,
    requested_at: Duration,
    /// When its attempts started. Empty while it waits for a slot.
    attempts: Vec<Duration>,
    /// `None` after it has ended.
    progress: Option<watch::Sender<Progress>>,
}

impl Fetch {
    /// How many fetches it is for the budget. A sliding window: a token bucket would let twice as
    /// many start when it refills.
    fn counts(&self, now: Duration) -> usize {
        let recent = |at: &&Duration| now < at.saturating_add(MINUTE);
        let waits = usize::from(self.attempts.is_empty());
        waits + self.attempts.iter().filter(recent).count()
    }
}

#[derive(Debug, Default)]
pub(super) struct State {
    limits: Limits,
    /// Copied when it changes, so a snapshot is up to date if it is the same `Arc`.
    pub(super) paths: Arc<BTreeMap<u16, Path>>,
    fetches: Vec<Fetch>,
    last_id: u64,
    /// Limits concurrent fetches. A fetch that is lost may never return its slot.
    slots: Option<Arc<Semaphore>>,
    /// Paths that the operator has named.
    pub(super) expected: BTreeSet<u16>,
    pub(super) stats: KeyStats,
    /// Results to send after the lock is released.
    pub(super) ended: Vec<(watch::Sender<Progress>, Progress)>,
}

impl State {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    pub(super) fn ask(&mut self, entry: u16, reason: Reason, now: Duration) -> Decision {
        self.give_up_lost(now);
        let mut of_path = self.fetches.iter().filter(|fetch| fetch.entry == entry);
        if let Some(progress) = of_path.find_map(|fetch| fetch.progress.as_ref()) {
            return Decision::InFlight(None, progress.subscribe());
        }
        let mut path = self.path(entry);
        if let Some(key) = path.key.as_ref().filter(|_| now < path.due_at(reason)) {
            return Decision::Cached(key.clone());
        }
        let held = now < path.retry_at;
        let share = match &path.error {
            Some(error) if held => Err(Arc::clone(error)),
            _ => self.budget(entry, now),
        };
        // Keeps requests with a usable key away from the lock.
        if path.key.is_some() && (share.is_ok() || !held) {
            let attempts = self.fetches.iter().flat_map(|fetch| &fetch.attempts);
            path.retry_at = attempts.min().unwrap_or(&now).saturating_add(MINUTE);
            if share.is_ok() {
                path.retry_at = now.saturating_add(self.limits.lost_after());
                path.recheck_at = now.saturating_add(RECHECK);
            }
            self.put(entry, path, now);
        }
        match share {
            Ok(reserved) => {
                let (progress, receiver) = watch::channel(None);
                self.last_id += 1;
                self.fetches.push(Fetch {
                    id: self.last_id,
                    entry,
                    reserved,
                    requested_at: now,
                    attempts: Vec::new(),
                    progress: Some(progress),
                });
                Decision::InFlight(Some(self.last_id), receiver)
            }
            Err(error) => {
                self.stats.refusals += u64::from(reason == Reason::Missing);
                Decision::Refused(error)
            }
        }
    }

    pub(super) fn slots(&mut self) -> Arc<Semaphore> {
        let slots = || Arc::new(Semaphore::new(CONCURRENT));
        Arc::clone(self.slots.get_or_insert_with(slots))
    }

    /// Records that a fetch has a slot, or requests budget for its second attempt. Returns false if
    /// it must not run, because it was given up or the budget is used up.
    pub(super) fn start(&mut self, id: u64, now: Duration) -> bool {
        let Some(fetch) = self.in_flight(id) else {
            return false;
        };
        let (reserved, second) = (fetch.reserved, !fetch.attempts.is_empty());
        let may = !second || self.has_room(reserved, now);
        self.stats.fetches += u64::from(may);
        self.stats.failures += u64::from(may && second);
        let fetch = self.in_flight(id).filter(|_| may);
        fetch.map(|fetch| fetch.attempts.push(now)).is_some()
    }

    /// Records the result of a fetch. Ignores that of one that was given up and returns `None`: its
    /// successor may already have finished. `random` spreads the backoff.
    pub(super) fn finish(
        &mut self,
        id: u64,
        result: Result<PublicKey, Arc<FetchError>>,
        now: Duration,
        random: u32,
    ) -> Option<Outcome> {
        self.stats.failures += u64::from(result.is_err());
        let fetch = self.in_flight(id)?;
        let (entry, progress) = (fetch.entry, fetch.progress.take()?);
        let outcome = match &result {
            Ok(key) => self.store(entry, key, now, random),
            Err(error) => self.fail(entry, error, now, random),
        };
        self.ended.push((progress, Some(result)));
        Some(outcome)
    }

    fn store(&mut self, entry: u16, key: &PublicKey, now: Duration, random: u32) -> Outcome {
        let fresh_until = now.saturating_add(self.limits.fresh);
        let path = Path {
            key: Some(key.clone()),
            refresh_at: now.saturating_add(self.limits.fresh / 5 * 4),
            fresh_until,
            stale_until: fresh_until.saturating_add(self.limits.stale),
            recheck_at: now.saturating_add(RECHECK),
            ..Path::default()
        };
        let before = self.path(entry).key;
        if !self.put(entry, path, now) {
            let full = Arc::new(FetchError::new(Kind::CacheFull));
            return self.fail(entry, &full, now, random);
        }
        match before {
            None => Outcome::New,
            Some(before) if before == *key => Outcome::Unchanged,
            Some(_) => {
                self.stats.changes += 1;
                Outcome::Changed
            }
        }
    }

    fn fail(&mut self, entry: u16, error: &Arc<FetchError>, now: Duration, random: u32) -> Outcome {
        let mut path = self.path(entry);
        path.failures = path.failures.saturating_add(1);
        // A path with a key backs off one step longer, because no request waits for it.
        let nth = path.failures.saturating_add(u32::from(path.key.is_some()));
        let time = self.limits.backoff(nth, error, random);
        path.error = Some(Arc::clone(error));
        path.retry_at = now.saturating_add(time);
        self.put(entry, path, now);
        Outcome::Failed(Arc::clone(error), time)
    }

    fn path(&self, entry: u16) -> Path {
        self.paths.get(&entry).cloned().unwrap_or_default()
    }

    /// Returns false if there is no room for the path. Only an expired key makes room for another
    /// one: otherwise made-up versions could push out good keys.
    fn put(&mut self, entry: u16, path: Path, now: Duration) -> bool {
        let is_key = path.key.is_some();
        let most = if is_key {
            self.limits.keys
        } else {
            FAILED_PATHS
        };
        let paths = Arc::make_mut(&mut self.paths);
        let rival = |it: &(&u16, &Path)| *it.0 != entry && it.1.key.is_some() == is_key;
        let rivals = paths.iter().filter(rival);
        if rivals.clone().count() >= most {
            let first = rivals.min_by_key(|(_, path)| (path.stale_until, path.retry_at));
            match first.filter(|(_, path)| now >= path.stale_until) {
                Some((&first, _)) => drop(paths.remove(&first)),
                None => return false,
            }
        }
        paths.insert(entry, path);
        true
    }

    /// Finds the budget that pays for a fetch of this path; `true` is the reserved one.
    fn budget(&self, entry: u16, now: Duration) -> Result<bool, Arc<FetchError>> {
        let entitled = self.expected.contains(&entry) || self.path(entry).key.is_some();
        let found = [true, false]
            .into_iter()
            .find(|&reserved| (entitled || !reserved) && self.has_room(reserved, now));
        found.ok_or_else(|| Arc::new(FetchError::new(Kind::OverBudget)))
    }

    fn has_room(&self, reserved: bool, now: Duration) -> bool {
        let paid = self
            .fetches
            .iter()
            .filter(|fetch| fetch.reserved == reserved);
        let used: usize = paid.map(|fetch| fetch.counts(now)).sum();
        used < if reserved {
            self.limits.reserved_per_minute
        } else {
            self.limits.per_minute
        }
    }

    /// Ends fetches whose runtime nothing drives any more, and forgets those that no longer count.
    fn give_up_lost(&mut self, now: Duration) {
        let lost_after = self.limits.lost_after();
        for fetch in &mut self.fetches {
            let since = fetch.attempts.last().unwrap_or(&fetch.requested_at);
            if now >= since.saturating_add(lost_after)
                && let Some(progress) = fetch.progress.take()
            {
                let timeout = Arc::new(FetchError::new(Kind::Timeout));
                self.ended.push((progress, Some(Err(timeout))));
                self.slots = self.slots.take().filter(|_| fetch.attempts.is_empty());
            }
        }
        let recent = |it: &Fetch| !it.attempts.is_empty() && it.counts(now) > 0;
        let remembered = |it: &Fetch| it.progress.is_some() || recent(it);
        self.fetches.retain(remembered);
    }

    fn in_flight(&mut self, id: u64) -> Option<&mut Fetch> {
        let mut of_id = self.fetches.iter_mut().filter(|fetch| fetch.id == id);
        of_id.find(|fetch| fetch.progress.is_some())
    }

    /// The numbers of keys, of failed paths without a key, and of fetches in flight.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> [usize; 3] {
        let keys = self
            .paths
            .values()
            .filter(|path| path.key.is_some())
            .count();
        let in_flight = self.fetches.iter().filter(|it| it.progress.is_some());
        [keys, self.paths.len() - keys, in_flight.count()]
    }
}
