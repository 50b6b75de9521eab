//! Redeemed tickets in the memory of one process.

#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, hash_map},
    fmt,
    future::Future,
    mem,
    pin::Pin,
    slice,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::{
    super::key::Nonce, Attempt, Begin, Lease, ReplayStore, StoreError, StoreErrorKind, StoredReply,
    TextDigest, UseLimit,
};
use crate::Lookup;

const SHARDS: usize = 16;

/// How often a shard is swept for expired records.
const SWEEP_EVERY: Duration = Duration::from_secs(30);

/// How often all shards are swept while the store is full.
const SWEEP_WHEN_FULL_EVERY: Duration = Duration::from_secs(1);

/// Records redeemed tickets in the memory of this process.
///
/// For a service that runs as a single process. Instances do not share their records, and a restart
/// loses them: unexpired tickets can then be redeemed again. Use `RedisStore` where that matters.
///
/// A ticket takes at most 128 bytes besides its stored replies, and 144 while its handler runs.
/// Only expired records are evicted. A full store returns [`StoreErrorKind::Full`], and the layer
/// responds with 503.
///
/// A record expires when the ticket has expired by the clock of [`Attempt::now`] *and* the same
/// amount of time has passed on the monotonic clock. A clock that jumps does not lose records.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use http::StatusCode;
/// use tower_aliyun_oss::ticket::{
///     MemoryStore, Nonce,
///     store::{Attempt, Begin, ReplayStore, StoredReply, TextDigest, UseLimit},
/// };
///
/// # tokio_test::block_on(async {
/// let store = MemoryStore::new();
/// let now = SystemTime::now();
/// let digest = TextDigest::from_bytes([7; 32]);
/// let until = now + Duration::from_secs(60);
/// let attempt = Attempt::new(Nonce::random()?, digest, UseLimit::Once, until, now);
///
/// let Begin::Fresh(lease) = store.begin(&attempt).await? else { panic!("unused") };
/// store.finish(&lease, &StoredReply::new(StatusCode::OK, None, "{}")?).await?;
///
/// let Begin::Stored(reply) = store.begin(&attempt).await? else { panic!("redeemed") };
/// assert_eq!(reply.body(), "{}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub struct MemoryStore {
    /// Sharded by nonce, so that callbacks rarely contend for a lock. No lock is held across await.
    shards: [Mutex<Shard>; SHARDS],
    /// Texts of all tickets.
    texts: Counter,
    /// Bytes of stored replies.
    replies: Counter,
    /// The next fence, unique within this process.
    fence: AtomicU64,
    start: Instant,
    /// When all shards can be swept again, in milliseconds since the start.
    next_full_sweep: AtomicU64,
}

#[derive(Default)]
struct Shard {
    // Boxed, because a table keeps many of its slots empty, and moves the others when it grows.
    entries: HashMap<Nonce, Box<Entry>>,
    /// In milliseconds since the start.
    next_sweep: u64,
}

impl MemoryStore {
    /// The default capacity, in texts: one million.
    pub const DEFAULT_CAPACITY: usize = 1_000_000;

    /// The default room for stored replies: 64 MiB.
    pub const DEFAULT_REPLY_BYTES: usize = 64 * 1024 * 1024;

    /// Creates an empty store with default limits.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(Self::DEFAULT_CAPACITY, Self::DEFAULT_REPLY_BYTES)
    }

    /// Creates an empty store with room for `texts` texts and `answer_bytes` bytes of replies.
    ///
    /// A ticket for a prefix uses one text per callback. A reply that does not fit is not stored:
    /// its text still never runs again, and repeated callbacks fail with
    /// [`StoreErrorKind::ReplyNotKept`].
    #[must_use]
    pub fn with_capacity(texts: usize, answer_bytes: usize) -> Self {
        Self {
            shards: Default::default(),
            texts: Counter::new(texts),
            replies: Counter::new(answer_bytes),
            fence: AtomicU64::new(1),
            start: Instant::now(),
            next_full_sweep: AtomicU64::new(0),
        }
    }

    /// Returns the number of recorded texts, including expired ones.
    #[must_use]
    pub fn len(&self) -> usize {
        self.texts.get()
    }

    /// Returns whether the store has no records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, nonce: Nonce) -> MutexGuard<'_, Shard> {
        let [first, ..] = *nonce.as_bytes();
        lock(&self.shards[usize::from(first) % SHARDS])
    }

    fn milliseconds(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn try_begin(&self, attempt: &Attempt) -> Result<Begin, StoreError> {
        let now = Clocks::new(self.milliseconds(), attempt.now());
        match self.redeem(attempt, now) {
            Err(error) if error.kind() == StoreErrorKind::Full && self.sweep_all(now) => {
                self.redeem(attempt, now)
            }
            result => result,
        }
    }

    fn redeem(&self, attempt: &Attempt, now: Clocks) -> Result<Begin, StoreError> {
        let mut shard = self.shard(attempt.nonce());
        if now.monotonic >= shard.next_sweep {
            self.sweep(&mut shard, now);
        }
        // Relaxed, because only uniqueness matters. The lock orders everything else.
        let fence = self.fence.fetch_add(1, Ordering::Relaxed);
        let fresh = || Redemption::running(attempt, fence, now);
        let lease = Lease::new(attempt, fence.into());
        let mut entry = match shard.entries.entry(attempt.nonce()) {
            hash_map::Entry::Vacant(vacant) => {
                // Before the insert: a full store must not record the text.
                self.texts.reserve(1)?;
                vacant.insert(Box::new(Entry::new(attempt, now, fresh())));
                return Ok(Begin::Fresh(lease));
            }
            hash_map::Entry::Occupied(occupied) => occupied,
        };
        let entry = entry.get_mut();
        // A repeated text is looked up first, because it does not count against the limit.
        if let Some(known) = entry.find(attempt.digest()) {
            return match known.status(self.start, now) {
                Status::Finished(Some(reply)) => Ok(Begin::Stored(reply)),
                Status::Finished(None) => Err(StoreErrorKind::ReplyNotKept.into()),
                Status::Running(wait) => Ok(Begin::Running(wait)),
                // From now on the fence of the previous holder does not match: it cannot finish.
                Status::Lapsed => {
                    *known = fresh();
                    Ok(Begin::Fresh(lease))
                }
            };
        }
        // A lapsed lease does not count: a crashed handler must not use up the ticket for others.
        let active = entry.count_active(now);
        match attempt.limit() {
            UseLimit::Once if active > 0 => return Ok(Begin::OtherText),
            UseLimit::Texts(max) if active >= usize::from(max.get()) => {
                return Ok(Begin::Exhausted);
            }
            UseLimit::Once | UseLimit::Texts(_) => {}
        }
        match entry.remove_lapsed(now) {
            0 => self.texts.reserve(1)?,
            removed => self.texts.release(removed - 1),
        }
        entry.push(fresh());
        Ok(Begin::Fresh(lease))
    }

    fn try_finish(&self, lease: &Lease, reply: &StoredReply) -> Result<(), StoreError> {
        let mut shard = self.shard(lease.nonce());
        let found = shard
            .entries
            .get_mut(&lease.nonce())
            .and_then(|entry| entry.find(lease.digest()));
        match found {
            Some(found) if found.is_finished_by(lease.fence()) => Ok(()),
            Some(found) if found.is_run_by(lease.fence()) => {
                // Recorded even without room for the reply: the handler has run, and must not
                // again.
                let room = self.replies.reserve(Finished::size_of(reply)).is_ok();
                found.finish(lease.fence(), room.then(|| reply.clone()));
                Ok(())
            }
            _ => Err(StoreErrorKind::LeaseLost.into()),
        }
    }

    fn try_abandon(&self, lease: &Lease) {
        let mut shard = self.shard(lease.nonce());
        if let hash_map::Entry::Occupied(mut entry) = shard.entries.entry(lease.nonce()) {
            self.texts
                .release(entry.get_mut().remove_run(lease.digest(), lease.fence()));
            // An abandoned ticket takes no memory: a failing handler must not fill the store.
            if entry.get().is_empty() {
                entry.remove();
            }
        }
    }

    /// Evicts expired records, and nothing else: evicting any other would allow a replay.
    fn sweep(&self, shard: &mut Shard, now: Clocks) {
        let (mut texts, mut bytes) = (0, 0);
        shard.entries.retain(|_, entry| {
            let expired = entry.has_expired(now);
            if expired {
                texts += entry.len();
                bytes += entry.reply_bytes();
            }
            !expired
        });
        self.texts.release(texts);
        self.replies.release(bytes);
        shard.next_sweep = now.after(SWEEP_EVERY);
    }

    /// Sweeps all shards. Returns `false` without doing so if it happened within the last second,
    /// so that a flood of callbacks to a full store does not scan it each time.
    fn sweep_all(&self, now: Clocks) -> bool {
        let due = self.next_full_sweep.load(Ordering::Relaxed);
        let next = now.after(SWEEP_WHEN_FULL_EVERY);
        // Of several threads, the one that moves the time on sweeps.
        let won = || {
            self.next_full_sweep
                .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        };
        if now.monotonic < due || !won() {
            return false;
        }
        for shard in &self.shards {
            self.sweep(&mut lock(shard), now);
        }
        true
    }
}

/// Ignores poisoning: counters and records are updated one by one, so a panic between the updates
/// leaves both usable.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ReplayStore for MemoryStore {
    fn begin(&self, attempt: &Attempt) -> Lookup<Begin, StoreError> {
        Lookup::Ready(self.try_begin(attempt))
    }

    fn finish(&self, lease: &Lease, reply: &StoredReply) -> Lookup<(), StoreError> {
        Lookup::Ready(self.try_finish(lease, reply))
    }

    fn abandon(&self, lease: &Lease) -> Lookup<(), StoreError> {
        self.try_abandon(lease);
        Lookup::Ready(Ok(()))
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// The current time on both clocks.
#[derive(Clone, Copy)]
struct Clocks {
    /// Milliseconds since the creation of the store.
    monotonic: u64,
    /// Seconds of Unix time.
    wall: u64,
}

impl Clocks {
    fn new(monotonic: u64, wall: SystemTime) -> Self {
        let wall = unix_seconds(wall);
        Self { monotonic, wall }
    }

    /// Returns the monotonic time after `time` has passed, in milliseconds.
    fn after(self, time: Duration) -> u64 {
        let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.monotonic.saturating_add(milliseconds)
    }
}

fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

/// The record of one ticket. Kept small, because there is one per unexpired ticket.
struct Entry {
    /// Seconds of Unix time.
    until: u64,
    /// The same moment on the monotonic clock, as estimated at the first redemption.
    until_monotonic: u64,
    redemptions: Redemptions,
}

impl Entry {
    fn new(attempt: &Attempt, now: Clocks, first: Redemption) -> Self {
        let left = attempt.until().duration_since(attempt.now());
        Self {
            until: unix_seconds(attempt.until()),
            until_monotonic: now.after(left.unwrap_or_default()),
            redemptions: Redemptions::One(first),
        }
    }

    fn has_expired(&self, now: Clocks) -> bool {
        // Both: the wall clock alone could jump ahead and back, and the monotonic clock alone could
        // run ahead of a wall clock that was set back, by which the ticket is still accepted.
        now.wall > self.until && now.monotonic > self.until_monotonic
    }

    fn find(&mut self, digest: TextDigest) -> Option<&mut Redemption> {
        let redemptions = self.redemptions.as_mut_slice();
        redemptions.iter_mut().find(|known| known.digest == digest)
    }

    fn count_active(&self, now: Clocks) -> usize {
        let redemptions = self.redemptions.as_slice().iter();
        redemptions.filter(|known| !known.has_lapsed(now)).count()
    }

    fn remove_lapsed(&mut self, now: Clocks) -> usize {
        self.redemptions.remove(|known| known.has_lapsed(now))
    }

    fn remove_run(&mut self, digest: TextDigest, fence: u128) -> usize {
        self.redemptions
            .remove(|known| known.digest == digest && known.is_run_by(fence))
    }

    fn push(&mut self, new: Redemption) {
        self.redemptions.push(new);
    }

    fn len(&self) -> usize {
        self.redemptions.as_slice().len()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn reply_bytes(&self) -> usize {
        let redemptions = self.redemptions.as_slice().iter();
        redemptions.map(Redemption::reply_bytes).sum()
    }
}

/// The texts that a ticket was redeemed for. A ticket for one object has one text, stored inline to
/// avoid a second allocation.
enum Redemptions {
    One(Redemption),
    Many(Vec<Redemption>),
}

impl Redemptions {
    fn as_slice(&self) -> &[Redemption] {
        match self {
            Self::One(one) => slice::from_ref(one),
            Self::Many(many) => many,
        }
    }

    fn as_mut_slice(&mut self) -> &mut [Redemption] {
        match self {
            Self::One(one) => slice::from_mut(one),
            Self::Many(many) => many,
        }
    }

    /// Returns the number of removed redemptions.
    fn remove(&mut self, mut which: impl FnMut(&Redemption) -> bool) -> usize {
        let before = self.as_slice().len();
        match self {
            Self::One(one) if which(one) => *self = Self::Many(Vec::new()),
            Self::One(_) => {}
            Self::Many(many) => many.retain(|one| !which(one)),
        }
        before - self.as_slice().len()
    }

    fn push(&mut self, new: Redemption) {
        *self = match mem::replace(self, Self::Many(Vec::new())) {
            Self::One(one) => Self::Many(vec![one, new]),
            Self::Many(many) if many.is_empty() => Self::One(new),
            Self::Many(mut many) => {
                many.push(new);
                Self::Many(many)
            }
        };
    }
}

/// The redemption of a ticket for one text.
struct Redemption {
    digest: TextDigest,
    state: State,
}

enum State {
    Running(Box<Run>),
    Finished(Box<Finished>),
}

/// A handler that runs.
struct Run {
    // Half as wide as in a `Lease`: this store counts its fences.
    fence: u64,
    /// When the lease expires, in milliseconds since the creation of the store.
    ends: u64,
    /// Created by the first waiter: most callbacks have none.
    done: Option<Arc<Notify>>,
}

/// Wakes the waiters however the run ends: finished, abandoned, replaced or evicted.
impl Drop for Run {
    fn drop(&mut self) {
        if let Some(done) = &self.done {
            done.notify_waiters();
        }
    }
}

/// A handler that has run.
struct Finished {
    fence: u128,
    /// `None` if there was no room for it.
    reply: Option<StoredReply>,
}

impl Finished {
    /// Returns the memory that a stored reply takes, in bytes.
    fn size_of(reply: &StoredReply) -> usize {
        let content_type = reply.content_type().map_or(0, |value| value.len());
        size_of::<Self>() + reply.body().len() + content_type
    }
}

/// The state of a redemption, for a caller that repeats it.
enum Status {
    Finished(Option<StoredReply>),
    Running(Pin<Box<dyn Future<Output = ()> + Send>>),
    /// The lease expired before the handler finished.
    Lapsed,
}

impl Redemption {
    fn running(attempt: &Attempt, fence: u64, now: Clocks) -> Self {
        Self {
            digest: attempt.digest(),
            state: State::Running(Box::new(Run {
                fence,
                ends: now.after(attempt.lease_time()),
                done: None,
            })),
        }
    }

    /// `start` is the creation of the store.
    fn status(&mut self, start: Instant, now: Clocks) -> Status {
        match &mut self.state {
            State::Finished(finished) => Status::Finished(finished.reply.clone()),
            State::Running(run) if run.ends <= now.monotonic => Status::Lapsed,
            State::Running(run) => {
                let done = run.done.get_or_insert_default().clone();
                // `notify_waiters` wakes futures that exist, polled or not. Created here, under the
                // lock, this one misses no notification.
                let done = done.notified_owned();
                let ends = start.checked_add(Duration::from_millis(run.ends));
                Status::Running(Box::pin(async move {
                    match ends {
                        // Finished or lapsed: the caller must try again in both cases.
                        Some(ends) => drop(timeout_at(ends, done).await),
                        // A lease beyond what the clock can represent never lapses.
                        None => done.await,
                    }
                }))
            }
        }
    }

    fn finish(&mut self, fence: u128, reply: Option<StoredReply>) {
        self.state = State::Finished(Box::new(Finished { fence, reply }));
    }

    fn is_finished_by(&self, fence: u128) -> bool {
        matches!(&self.state, State::Finished(finished) if finished.fence == fence)
    }

    /// The lease may have expired: a late holder that nobody replaced can still finish.
    fn is_run_by(&self, fence: u128) -> bool {
        matches!(&self.state, State::Running(run) if u128::from(run.fence) == fence)
    }

    fn has_lapsed(&self, now: Clocks) -> bool {
        matches!(&self.state, State::Running(run) if run.ends <= now.monotonic)
    }

    fn reply_bytes(&self) -> usize {
        match &self.state {
            State::Finished(finished) => finished.reply.as_ref().map_or(0, Finished::size_of),
            State::Running(_) => 0,
        }
    }
}

/// A bounded counter.
struct Counter {
    used: AtomicUsize,
    limit: usize,
}

impl Counter {
    const fn new(limit: usize) -> Self {
        Self {
            used: AtomicUsize::new(0),
            limit,
        }
    }

    fn get(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn reserve(&self, count: usize) -> Result<(), StoreError> {
        let within = |used: usize| used.checked_add(count).filter(|sum| *sum <= self.limit);
        match self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, within)
        {
            Ok(_) => Ok(()),
            Err(_) => Err(StoreErrorKind::Full.into()),
        }
    }

    fn release(&self, count: usize) {
        // Does not underflow: callers release only what they reserved.
        self.used.fetch_sub(count, Ordering::Relaxed);
    }
}
