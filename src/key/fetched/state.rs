//! The state machine of the key cache.
//!
//! It decides which key is cached, which paths back off, and which fetch may start. It reads no
//! clock and performs no I/O: callers pass the time, as a duration since the cache was created, and
//! run the fetches that [`State::ask`] requests.
//!
//! Of each path, the machine knows one of these:
//!
//! ```text
//!             fetch succeeds                     8 days old, and another key needs the place
//!  unknown ─────────────────────▶ cached key ─────────────────────────────────────▶ unknown
//!     │                            ▲      │
//!     │ fetch fails                │      └─ fetch fails: the key stays, with a backoff
//!     ▼          fetch succeeds    │
//!  backing off ────────────────────┘
//! ```
//!
//! Independently of that, at most one fetch of each path is in flight.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::sync::watch;

use super::limits::Limits;
use crate::key::{
    https::{FetchError, FetchErrorKind},
    public_key::PublicKey,
};

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
    /// A usable key was cached in the meantime.
    Cached(PublicKey),
    /// The caller must run the fetch with this id and report its result through the sender.
    Start(u64, Arc<watch::Sender<Progress>>),
    /// A fetch of this path is in flight.
    InFlight(watch::Receiver<Progress>),
    /// The last fetch failed with this error, and its backoff has not elapsed.
    BackingOff(Arc<FetchError>),
    /// Too many fetches started in the last minute.
    OverBudget,
    /// The reason does not justify a fetch yet.
    NotDue,
}

/// Whether a fetch may connect now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Slot {
    Granted,
    /// The maximum number of concurrent fetches is running. Ask again when one of them ends.
    Busy,
    /// The fetch was abandoned and must not run any more.
    Abandoned,
}

/// How the result of a fetch changed the cache.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The path had no key. Contains the length of the key in bits.
    New(usize),
    Unchanged,
    /// The path had a different key. Contains the length of the new key in bits.
    Changed(usize),
    /// No key was stored. The path backs off for the duration.
    Failed(Arc<FetchError>, Duration),
}

#[derive(Debug)]
pub(super) struct State {
    limits: Limits,
    /// Paths with a key, and paths whose last fetch failed. Both are bounded by the limits.
    paths: BTreeMap<u16, Path>,
    in_flight: Vec<InFlight>,
    last_id: u64,
    general: Budget,
    reserved: Budget,
    /// Paths that the operator has named.
    expected: BTreeSet<u16>,
    /// Where to report abandoned fetches to the requests that wait for them.
    abandoned: Vec<Arc<watch::Sender<Progress>>>,
    /// Whether a new snapshot would differ from the last one.
    changed: bool,
}

#[derive(Debug, Default)]
struct Path {
    cached: Option<Cached>,
    /// Failed fetches since the last successful one.
    failures: u32,
    error: Option<Arc<FetchError>>,
    /// Not fetched before this time.
    retry_after: Duration,
}

#[derive(Debug)]
struct Cached {
    key: PublicKey,
    fetched_at: Duration,
    /// Failed signatures trigger no fetch before this time.
    recheck_after: Duration,
}

/// A fetch that waits for a slot or is running.
///
/// The slot belongs to this record and not to the task: a task on a runtime that is no longer
/// driven could never release it.
#[derive(Debug)]
struct InFlight {
    id: u64,
    entry: u16,
    share: Share,
    running: bool,
    /// The last sign of life of the task.
    seen_at: Duration,
    /// The task holds the strong reference, so a task that was dropped is detected at once.
    sender: Weak<watch::Sender<Progress>>,
    progress: watch::Receiver<Progress>,
}

impl State {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            paths: BTreeMap::new(),
            in_flight: Vec::new(),
            last_id: 0,
            general: Budget::new(limits.per_minute),
            reserved: Budget::new(limits.reserved_per_minute),
            expected: BTreeSet::new(),
            abandoned: Vec::new(),
            changed: false,
            limits,
        }
    }

    /// Gives a path access to the reserved budget, for which unverified requests do not compete.
    pub(super) fn expect(&mut self, entry: u16) {
        self.expected.insert(entry);
    }

    pub(super) fn ask(&mut self, entry: u16, reason: Reason, now: Duration) -> Decision {
        self.abandon_lost(now, |_| true);
        if let Some(fetch) = self.fetch_of(entry) {
            return Decision::InFlight(fetch.progress.clone());
        }
        let path = self.paths.get(&entry);
        match (reason, path.and_then(|path| path.cached.as_ref())) {
            (Reason::Missing, Some(cached)) if now < self.expires_at(cached) => {
                return Decision::Cached(cached.key.clone());
            }
            (Reason::Refresh, Some(cached)) if now < self.refresh_at(cached) => {
                return Decision::NotDue;
            }
            (Reason::SignatureFailed, Some(cached)) if now < cached.recheck_after => {
                return Decision::NotDue;
            }
            (Reason::SignatureFailed, None) => return Decision::NotDue,
            _ => {}
        }
        if let Some(path) = path
            && let Some(error) = &path.error
            && now < path.retry_after
        {
            return Decision::BackingOff(Arc::clone(error));
        }
        let share = self.promise(entry, now);
        if let Some(path) = self.paths.get_mut(&entry)
            && let Some(cached) = &mut path.cached
        {
            // Both times are part of the snapshot, so later requests do not even take the lock.
            if share.is_some() {
                cached.recheck_after = now.saturating_add(self.limits.recheck);
                self.changed = true;
            } else if path.retry_after <= now {
                path.retry_after = self.general.free_at(now).min(self.reserved.free_at(now));
                self.changed = true;
            }
        }
        match share {
            Some(share) => self.start(entry, share, now),
            None => Decision::OverBudget,
        }
    }

    fn start(&mut self, entry: u16, share: Share, now: Duration) -> Decision {
        let (sender, progress) = watch::channel(None);
        let sender = Arc::new(sender);
        self.last_id += 1;
        self.in_flight.push(InFlight {
            id: self.last_id,
            entry,
            share,
            running: false,
            seen_at: now,
            sender: Arc::downgrade(&sender),
            progress,
        });
        Decision::Start(self.last_id, sender)
    }

    /// Requests a slot for a fetch. The task repeats this until the slot is granted.
    pub(super) fn take_slot(&mut self, id: u64, now: Duration) -> Slot {
        let Some(fetch) = self.in_flight.iter_mut().find(|fetch| fetch.id == id) else {
            return Slot::Abandoned;
        };
        fetch.seen_at = now;
        if self.running() >= self.limits.concurrent {
            // Only running ones: after a pause of the whole runtime, those that wait look lost too,
            // but are about to be seen.
            self.abandon_lost(now, |fetch| fetch.running);
        }
        let busy = self.running() >= self.limits.concurrent;
        match self.in_flight.iter_mut().find(|fetch| fetch.id == id) {
            None => Slot::Abandoned,
            Some(_) if busy => Slot::Busy,
            Some(fetch) => {
                fetch.running = true;
                let share = fetch.share;
                self.budget(share).start_promised(now);
                Slot::Granted
            }
        }
    }

    /// Requests budget for the second attempt of a running fetch, which keeps its slot.
    pub(super) fn retry(&mut self, id: u64, now: Duration) -> bool {
        let fetch = self.in_flight.iter().find(|fetch| fetch.id == id);
        let entry = fetch.map(|fetch| fetch.entry);
        let share = entry.and_then(|entry| self.promise(entry, now));
        if let Some(share) = share {
            self.budget(share).start_promised(now);
        }
        share.is_some()
    }

    /// Records the result of a fetch.
    ///
    /// Ignores the result of an abandoned fetch and returns `None`: its successor may already have
    /// finished. `random` spreads the backoff.
    pub(super) fn finish(
        &mut self,
        id: u64,
        result: &Result<PublicKey, Arc<FetchError>>,
        now: Duration,
        random: u32,
    ) -> Option<Outcome> {
        let at = self.in_flight.iter().position(|fetch| fetch.id == id)?;
        let fetch = self.remove_fetch(at);
        Some(match result {
            Ok(key) => self.store(fetch.entry, key, now, random),
            Err(error) => self.fail(fetch.entry, error, now, random),
        })
    }

    fn store(&mut self, entry: u16, key: &PublicKey, now: Duration, random: u32) -> Outcome {
        let unchanged = self.cached(entry).map(|cached| cached.key == *key);
        if unchanged.is_none() && self.all_cached().count() >= self.limits.keys {
            // Only an expired key makes room. Otherwise made-up versions could push out good keys.
            let oldest = self.all_cached().min_by_key(|(_, it)| it.fetched_at);
            match oldest.filter(|(_, cached)| now >= self.expires_at(cached)) {
                Some((oldest, _)) => drop(self.paths.remove(&oldest)),
                None => {
                    let full = Arc::new(FetchError::new(FetchErrorKind::CacheFull));
                    return self.fail(entry, &full, now, random);
                }
            }
        }
        let cached = Cached {
            key: key.clone(),
            fetched_at: now,
            recheck_after: now.saturating_add(self.limits.recheck),
        };
        let path = Path {
            cached: Some(cached),
            ..Path::default()
        };
        self.paths.insert(entry, path);
        self.changed = true;
        match unchanged {
            None => Outcome::New(key.bits()),
            Some(true) => Outcome::Unchanged,
            Some(false) => Outcome::Changed(key.bits()),
        }
    }

    fn fail(&mut self, entry: u16, error: &Arc<FetchError>, now: Duration, random: u32) -> Outcome {
        let path = self.paths.get(&entry);
        let has_key = path.is_some_and(|path| path.cached.is_some());
        let failures = path.map_or(0, |path| path.failures).saturating_add(1);
        // A path with a key backs off one step longer, because no request waits for it.
        let step = failures.saturating_add(u32::from(has_key));
        let backoff = self.limits.backoff(step, error, random);
        if path.is_some() || self.make_room_for_failed_path() {
            let path = self.paths.entry(entry).or_default();
            path.failures = failures;
            path.error = Some(Arc::clone(error));
            path.retry_after = now.saturating_add(backoff);
            self.changed |= has_key;
        }
        Outcome::Failed(Arc::clone(error), backoff)
    }

    /// Forgets the failed path with the earliest retry if there are too many. Never forgets a key.
    fn make_room_for_failed_path(&mut self) -> bool {
        let failed = || self.paths.iter().filter(|(_, path)| path.cached.is_none());
        if failed().count() < self.limits.failed_paths {
            return true;
        }
        let earliest = failed().min_by_key(|(_, path)| path.retry_after);
        let earliest = earliest.map(|(&entry, _)| entry);
        earliest.is_some_and(|entry| self.paths.remove(&entry).is_some())
    }

    /// Takes the senders of abandoned fetches. Notify their receivers after the lock is released.
    pub(super) fn take_abandoned(&mut self) -> Vec<Arc<watch::Sender<Progress>>> {
        std::mem::take(&mut self.abandoned)
    }

    /// Returns a snapshot if it differs from the last one.
    pub(super) fn new_snapshot(&mut self) -> Option<Snapshot> {
        std::mem::take(&mut self.changed).then(|| self.snapshot())
    }

    fn snapshot(&self) -> Snapshot {
        let keys = self.all_cached().map(|(entry, cached)| SnapshotKey {
            entry,
            key: cached.key.clone(),
            refresh_at: self.refresh_at(cached),
            fresh_until: cached.fetched_at.saturating_add(self.limits.fresh),
            stale_until: self.expires_at(cached),
            retry_after: match self.fetch_of(entry) {
                Some(fetch) => self.lost_at(fetch),
                None => self
                    .paths
                    .get(&entry)
                    .map_or(Duration::ZERO, |path| path.retry_after),
            },
            recheck_after: cached.recheck_after,
        });
        Snapshot(keys.collect())
    }

    /// Removes those of the selected fetches that will never finish.
    fn abandon_lost(&mut self, now: Duration, selected: impl Fn(&InFlight) -> bool) {
        while let Some(at) = self.in_flight.iter().position(|fetch| {
            selected(fetch) && (now >= self.lost_at(fetch) || fetch.sender.strong_count() == 0)
        }) {
            let fetch = self.remove_fetch(at);
            self.abandoned.extend(fetch.sender.upgrade());
            self.changed = true;
        }
    }

    fn remove_fetch(&mut self, at: usize) -> InFlight {
        let fetch = self.in_flight.swap_remove(at);
        if !fetch.running {
            self.budget(fetch.share).withdraw();
        }
        fetch
    }

    /// Promises a fetch of a path, from the reserved budget if the path is entitled to it.
    fn promise(&mut self, entry: u16, now: Duration) -> Option<Share> {
        let entitled = self.expected.contains(&entry) || self.cached(entry).is_some();
        if entitled && self.reserved.promise(now) {
            return Some(Share::Reserved);
        }
        self.general.promise(now).then_some(Share::General)
    }

    fn budget(&mut self, share: Share) -> &mut Budget {
        match share {
            Share::General => &mut self.general,
            Share::Reserved => &mut self.reserved,
        }
    }

    fn cached(&self, entry: u16) -> Option<&Cached> {
        self.paths.get(&entry)?.cached.as_ref()
    }

    fn all_cached(&self) -> impl Iterator<Item = (u16, &Cached)> {
        let paths = self.paths.iter();
        paths.filter_map(|(&entry, path)| Some((entry, path.cached.as_ref()?)))
    }

    fn fetch_of(&self, entry: u16) -> Option<&InFlight> {
        self.in_flight.iter().find(|fetch| fetch.entry == entry)
    }

    fn running(&self) -> usize {
        self.in_flight.iter().filter(|fetch| fetch.running).count()
    }

    fn lost_at(&self, fetch: &InFlight) -> Duration {
        fetch.seen_at.saturating_add(self.limits.lost_after())
    }

    fn refresh_at(&self, cached: &Cached) -> Duration {
        cached
            .fetched_at
            .saturating_add(self.limits.refresh_after())
    }

    fn expires_at(&self, cached: &Cached) -> Duration {
        cached
            .fetched_at
            .saturating_add(self.limits.expires_after())
    }

    /// The numbers of cached keys, of failed paths without a key, and of fetches in flight.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> [usize; 3] {
        let cached = self.all_cached().count();
        [cached, self.paths.len() - cached, self.in_flight.len()]
    }
}

/// What a request reads of the cache without taking a lock.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot(Vec<SnapshotKey>);

#[derive(Clone, Debug)]
pub(super) struct SnapshotKey {
    entry: u16,
    pub(super) key: PublicKey,
    refresh_at: Duration,
    pub(super) fresh_until: Duration,
    pub(super) stale_until: Duration,
    /// No fetch can start before this time. While one is in flight, the time at which it is lost.
    retry_after: Duration,
    /// The same, for fetches that failed signatures trigger.
    recheck_after: Duration,
}

impl Snapshot {
    pub(super) fn get(&self, entry: u16) -> Option<&SnapshotKey> {
        self.0.iter().find(|key| key.entry == entry)
    }
}

impl SnapshotKey {
    pub(super) fn needs_refresh(&self, now: Duration) -> bool {
        now >= self.refresh_at && now >= self.retry_after
    }

    pub(super) fn needs_recheck(&self, now: Duration) -> bool {
        now >= self.recheck_after && now >= self.retry_after
    }
}

/// Which budget a fetch is charged to.
#[derive(Clone, Copy, Debug)]
enum Share {
    General,
    Reserved,
}

/// A limit on the fetches that start in any 60 s.
///
/// A sliding window: a token bucket would let twice as many start around the moment it refills.
#[derive(Clone, Debug)]
struct Budget {
    limit: usize,
    /// Fetches that were promised and have not started. They count for as long as they wait.
    promised: usize,
    started: VecDeque<Duration>,
}

impl Budget {
    const WINDOW: Duration = Duration::from_secs(60);

    fn new(limit: usize) -> Self {
        Self {
            limit,
            promised: 0,
            started: VecDeque::new(),
        }
    }

    fn promise(&mut self, now: Duration) -> bool {
        while (self.started.front()).is_some_and(|&at| at.saturating_add(Self::WINDOW) <= now) {
            self.started.pop_front();
        }
        let free = self.started.len() + self.promised < self.limit;
        self.promised += usize::from(free);
        free
    }

    fn start_promised(&mut self, now: Duration) {
        self.withdraw();
        self.started.push_back(now);
    }

    fn withdraw(&mut self) {
        self.promised = self.promised.saturating_sub(1);
    }

    /// The latest time at which a promise can succeed again, after one was denied.
    fn free_at(&self, now: Duration) -> Duration {
        let oldest = self.started.front().copied();
        oldest.unwrap_or(now).saturating_add(Self::WINDOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::PinnedKeys;

    const NOW: Duration = Duration::from_secs(1_000);

    fn key() -> PublicKey {
        PinnedKeys::official().get(1).unwrap().clone()
    }

    /// Starts a fetch, and returns what its task would hold.
    fn start(state: &mut State, entry: u16, now: Duration) -> (u64, Arc<watch::Sender<Progress>>) {
        match state.ask(entry, Reason::Missing, now) {
            Decision::Start(id, sender) => (id, sender),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_refused_is_seen_only_where_it_changes_something() {
        let mut state = State::new(Limits {
            per_minute: 1,
            reserved_per_minute: 0,
            ..Limits::new()
        });
        let (id, _sender) = start(&mut state, 2, NOW);
        assert_eq!(state.take_slot(id, NOW), Slot::Granted);
        assert!(state.new_snapshot().is_none(), "there is no key to show");
        state.finish(id, &Ok(key()), NOW, 0);
        assert!(state.new_snapshot().is_some());
        for entry in 3..100 {
            let refused = state.ask(entry, Reason::Missing, NOW);
            assert!(matches!(refused, Decision::OverBudget));
            assert!(state.new_snapshot().is_none());
        }
        // An expired key that is wanted: once, until the budget allows another fetch.
        let later = NOW + Duration::from_secs(9 * 24 * 3600);
        let (id, _sender) = start(&mut state, 3, later);
        assert_eq!(state.take_slot(id, later), Slot::Granted);
        for first in [true, false] {
            let refused = state.ask(2, Reason::Missing, later);
            assert!(matches!(refused, Decision::OverBudget));
            assert_eq!(state.new_snapshot().is_some(), first);
        }
    }

    #[test]
    fn a_flight_that_was_given_up_changes_nothing_and_leaves_no_slot() {
        let limits = Limits::new();
        let mut state = State::new(limits.clone());
        let (first, sender) = start(&mut state, 2, NOW);
        assert_eq!(state.take_slot(first, NOW), Slot::Granted);
        let lost = NOW + limits.lost_after();
        let soon = state.ask(2, Reason::Missing, lost - Duration::from_nanos(1));
        assert!(matches!(soon, Decision::InFlight(_)));
        let (second, successor) = start(&mut state, 2, lost);
        assert!(
            state
                .take_abandoned()
                .iter()
                .all(|told| Arc::ptr_eq(told, &sender))
        );
        assert_eq!(state.take_slot(second, lost), Slot::Granted);
        assert!(state.finish(first, &Ok(key()), lost, 0).is_none());
        assert_eq!(state.take_slot(first, lost), Slot::Abandoned);
        assert!(!state.retry(first, lost));
        assert_eq!(state.sizes(), [0, 0, 1]);
        // A fetch whose task was dropped without a result is lost at once.
        drop(successor);
        let (third, _sender) = start(&mut state, 2, lost);
        assert_eq!(state.take_slot(third, lost), Slot::Granted);
        assert!(state.finish(third, &Ok(key()), lost, 0).is_some());
        assert_eq!(state.sizes(), [1, 0, 0]);
    }

    #[test]
    fn what_is_due_is_due_to_the_nanosecond() {
        const TICK: Duration = Duration::from_nanos(1);

        let limits = Limits::new();
        let mut state = State::new(limits.clone());
        let failed = Err(Arc::new(FetchError::new(FetchErrorKind::Connect)));
        let fetch = |state: &mut State, reason, result: &Result<_, _>, now| {
            let Decision::Start(id, _sender) = state.ask(2, reason, now) else {
                panic!("no reason for a fetch at {now:?}");
            };
            state.finish(id, result, now, 0)
        };
        let not_due = state.ask(2, Reason::SignatureFailed, NOW);
        assert!(matches!(not_due, Decision::NotDue), "there is no key yet");

        let outcome = fetch(&mut state, Reason::Missing, &failed, NOW);
        let Some(Outcome::Failed(_, backoff)) = outcome else {
            panic!("no key came");
        };
        let too_soon = state.ask(2, Reason::Missing, NOW + backoff - TICK);
        assert!(matches!(too_soon, Decision::BackingOff(_)));
        let fetched = NOW + backoff;
        let outcome = fetch(&mut state, Reason::Missing, &Ok(key()), fetched);
        assert!(matches!(outcome, Some(Outcome::New(_))));

        let refresh_at = fetched + limits.refresh_after();
        let stale_until = fetched + limits.fresh + limits.stale;
        let not_due = state.ask(2, Reason::Refresh, refresh_at - TICK);
        assert!(matches!(not_due, Decision::NotDue));
        let cached = state.ask(2, Reason::Missing, stale_until - TICK);
        assert!(matches!(cached, Decision::Cached(_)));
        let recheck_at = fetched + limits.recheck;
        let too_soon = state.ask(2, Reason::SignatureFailed, recheck_at - TICK);
        assert!(matches!(too_soon, Decision::NotDue));
        let outcome = fetch(&mut state, Reason::SignatureFailed, &Ok(key()), recheck_at);
        assert!(matches!(outcome, Some(Outcome::Unchanged)));

        let refresh_at = recheck_at + limits.refresh_after();
        let outcome = fetch(&mut state, Reason::Refresh, &failed, refresh_at);
        let Some(Outcome::Failed(_, backoff)) = outcome else {
            panic!("no key came");
        };
        let too_soon = state.ask(2, Reason::Refresh, refresh_at + backoff - TICK);
        assert!(matches!(too_soon, Decision::BackingOff(_)));
        let outcome = fetch(&mut state, Reason::Refresh, &failed, refresh_at + backoff);
        assert!(matches!(outcome, Some(Outcome::Failed(..))));

        let stale_until = recheck_at + limits.fresh + limits.stale;
        let outcome = fetch(&mut state, Reason::Missing, &Ok(key()), stale_until);
        assert!(matches!(outcome, Some(Outcome::Unchanged)));
    }

    #[test]
    fn forgets_what_is_over_soonest() {
        let limits = |failed_paths| Limits {
            cool_down: Duration::ZERO,
            failed_paths,
            ..Limits::new()
        };
        let fail = |state: &mut State, entry, until| {
            let error = FetchError::new(FetchErrorKind::Connect);
            let error = error.with_retry_after(Duration::from_secs(until));
            state.fail(entry, &Arc::new(error), Duration::ZERO, 0);
        };
        let mut state = State::new(limits(2));
        for (entry, until) in [(1, 30), (2, 10), (3, 20), (3, 40)] {
            fail(&mut state, entry, until);
        }
        assert_eq!(
            [1, 2, 3].map(|entry| state.paths.contains_key(&entry)),
            [true, false, true]
        );
        assert_eq!(state.paths[&3].retry_after.as_secs(), 40);
        assert_eq!(state.sizes(), [0, 2, 0]);
        let mut none = State::new(limits(0));
        fail(&mut none, 1, 0);
        assert_eq!(none.sizes(), [0, 0, 0]);
    }

    #[test]
    fn a_look_waits_for_both_times() {
        let at = Duration::from_secs;
        for (refresh, recheck, retry) in [(1, 3, 2), (3, 1, 2), (2, 2, 3), (2, 2, 2)] {
            let cached = SnapshotKey {
                entry: 2,
                key: key(),
                refresh_at: at(refresh),
                fresh_until: at(5),
                stale_until: at(6),
                retry_after: at(retry),
                recheck_after: at(recheck),
            };
            for now in 0..5 {
                assert_eq!(cached.needs_refresh(at(now)), now >= refresh.max(retry));
                assert_eq!(cached.needs_recheck(at(now)), now >= recheck.max(retry));
            }
        }
    }

    #[test]
    fn never_more_begin_in_any_minute() {
        let mut budget = Budget::new(3);
        let at = Duration::from_secs;
        let mut take = |second| {
            let promised = budget.promise(at(second));
            if promised {
                budget.start_promised(at(second));
            }
            promised
        };
        let begun: Vec<u64> = (0..180).filter(|&second| take(second)).collect();
        assert_eq!(begun, [0, 1, 2, 60, 61, 62, 120, 121, 122]);
        assert_eq!(budget.free_at(at(179)), at(180));
    }

    #[test]
    fn what_is_promised_counts_until_it_begins_or_is_withdrawn() {
        let mut budget = Budget::new(2);
        let at = Duration::from_secs;
        assert!(budget.promise(at(0)) && budget.promise(at(0)));
        assert!(!budget.promise(at(1_000)));
        assert_eq!(budget.free_at(at(1_000)), at(1_060));
        budget.start_promised(at(1_000));
        budget.withdraw();
        assert!(budget.promise(at(1_001)) && !budget.promise(at(1_001)));
        assert!(!Budget::new(0).promise(at(1)));
    }
}
