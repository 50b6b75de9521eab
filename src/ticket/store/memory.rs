//! Redeemed tickets in the memory of one process.

#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, hash_map},
    fmt, mem,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::{sync::Notify, time::Instant};

use super::{
    super::key::Nonce, Attempt, Begin, Lease, ReplayStore, StoreError, StoreErrorKind, StoredReply,
    UseLimit,
};
use crate::Lookup;

const SHARDS: usize = 16;

/// How often a shard is swept for expired records.
const SWEEP_EVERY: Duration = Duration::from_secs(30);

/// How often all shards are swept while the store is full.
const SWEEP_WHEN_FULL_EVERY: Duration = Duration::from_secs(1);

/// How long an abandoned attempt cannot begin. Calls to this store are not delayed, except by a
/// wrapper around it.
const TOMBSTONE: Duration = Duration::from_secs(60);

/// How long a record outlives its ticket, so that a clock that is set back by less does not allow a
/// replay, nor an attempt that was delayed on its way to the store.
const KEPT_LONGER: Duration = Duration::from_secs(10 * 60);

type Digest = [u8; 32];

/// Records redeemed tickets in the memory of this process.
///
/// For a service that runs as a single process. Instances do not share their records, and a restart
/// loses them: unexpired tickets can then be redeemed again. Use `RedisStore` where that matters.
///
/// A ticket takes at most 128 bytes besides its stored replies, and 160 while its handler runs; each
/// further text of a ticket for a prefix takes no more than that. Stored replies take the configured
/// room at most. Only expired records are evicted. A full store returns [`StoreErrorKind::Full`],
/// and the layer responds with 503.
///
/// A text stays with its holder until the handler has finished or failed, however long that takes:
/// [leases](Attempt::lease) do not expire, because the holder lives in the same process.
///
/// A record expires ten minutes after the ticket, by the clock of [`Attempt::now`] *and* by the
/// monotonic clock. A clock that jumps does not lose records. The record of a ticket whose handler
/// runs does not expire.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use http::StatusCode;
/// use tower_aliyun_oss::ticket::{
///     MemoryStore,
///     store::{Attempt, Begin, Nonce, ReplayStore, StoredReply, UseLimit},
/// };
///
/// # tokio_test::block_on(async {
/// let store = MemoryStore::new();
/// let now = SystemTime::now();
/// let until = now + Duration::from_secs(60);
/// let attempt = Attempt::new(Nonce::random()?, [7; 32], UseLimit::Once, until, now)?;
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
    /// Texts of all tickets, tickets without a text, and tombstones.
    records: Counter,
    /// Bytes of stored replies.
    replies: Counter,
    start: Instant,
    /// When all shards can be swept again, in milliseconds since the start.
    next_full_sweep: AtomicU64,
}

#[derive(Default)]
struct Shard {
    // Boxed, because a table keeps many of its slots empty, and moves the others when it grows.
    entries: HashMap<Nonce, Box<Entry>>,
    /// Fences that were abandoned before they began, and until when they cannot begin.
    tombstones: HashMap<u128, u64>,
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
            records: Counter::new(texts),
            replies: Counter::new(answer_bytes),
            start: Instant::now(),
            next_full_sweep: AtomicU64::new(0),
        }
    }

    /// Returns the number of records, including expired ones: the texts of all tickets. A ticket
    /// whose handler only failed counts as one, and so does an abandoned attempt, for a minute.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.get()
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
        let shard = &mut *shard;
        if now.monotonic >= shard.next_sweep {
            self.sweep(shard, now);
        }
        if !shard.tombstones.is_empty() && shard.tombstones.contains_key(&attempt.fence()) {
            return Err(StoreErrorKind::LeaseLost.into());
        }
        let entry = match shard.entries.entry(attempt.nonce()) {
            hash_map::Entry::Vacant(vacant) => {
                // Before the insert: a full store must not record the text.
                self.records.reserve(1)?;
                vacant.insert(Box::new(Entry::new(attempt, now)));
                return Ok(Begin::Fresh(Lease::new(attempt)));
            }
            hash_map::Entry::Occupied(occupied) => occupied.into_mut(),
        };
        // A repeated text is looked up first, because it does not count against the limits.
        match entry.texts.get_mut(attempt.digest()) {
            Some(State::Finished(finished)) => {
                return match &finished.reply {
                    Some(reply) => Ok(Begin::Stored(reply.clone())),
                    None => Err(StoreErrorKind::ReplyNotKept.into()),
                };
            }
            Some(State::Running(run)) if run.fence() == attempt.fence() => {
                return Ok(Begin::Fresh(Lease::new(attempt)));
            }
            Some(State::Running(run)) => return Ok(Begin::Running(run.wait())),
            None => {}
        }
        if entry.texts.len() >= usize::from(attempt.limit().get()) {
            return Ok(match attempt.limit() {
                UseLimit::Once => Begin::OtherText,
                UseLimit::Texts(_) => Begin::Exhausted,
            });
        }
        if entry.starts >= attempt.max_starts() {
            let first = !mem::replace(&mut entry.spent, true);
            return Ok(Begin::Spent { first });
        }
        // A ticket without a text has one record already, for its starts.
        if !entry.texts.is_empty() {
            self.records.reserve(1)?;
        }
        entry.run(attempt);
        Ok(Begin::Fresh(Lease::new(attempt)))
    }

    /// Confirms the holder. Nothing is recorded: a claim does not expire here, and if the process
    /// dies, so does the record.
    fn try_start(&self, lease: &Lease) -> Result<(), StoreError> {
        let mut shard = self.shard(lease.nonce());
        let entry = shard.entries.get_mut(&lease.nonce());
        match entry.and_then(|entry| entry.texts.get_mut(lease.digest())) {
            Some(state) if state.fence() == lease.fence() => Ok(()),
            _ => Err(StoreErrorKind::LeaseLost.into()),
        }
    }

    fn try_finish(&self, lease: &Lease, reply: &StoredReply) -> Result<(), StoreError> {
        // Copied before the lock is taken.
        let reply = reply.compact();
        let mut shard = self.shard(lease.nonce());
        let entry = shard.entries.get_mut(&lease.nonce());
        match entry.and_then(|entry| entry.texts.get_mut(lease.digest())) {
            Some(state) if state.fence() == lease.fence() => {
                if matches!(state, State::Running(_)) {
                    // Recorded even without room for the reply: the handler has run, and must not
                    // again.
                    let room = self.replies.reserve(Finished::size_of(&reply)).is_ok();
                    *state = State::finished(lease.fence(), room.then_some(reply));
                }
                Ok(())
            }
            _ => Err(StoreErrorKind::LeaseLost.into()),
        }
    }

    /// Releases a text. `ran` is whether its handler was called.
    fn release(&self, lease: &Lease, ran: bool) {
        let mut shard = self.shard(lease.nonce());
        let shard = &mut *shard;
        let entry = shard.entries.get_mut(&lease.nonce());
        let state =
            entry.and_then(|entry| Some((entry.texts.get_mut(lease.digest())?.fence(), entry)));
        match state {
            Some((fence, entry)) if fence == lease.fence() => {
                let Some(run) = entry.texts.remove_run(lease.digest()) else {
                    return;
                };
                if run.counted && !ran {
                    entry.starts -= 1;
                }
                match (entry.texts.is_empty(), entry.starts) {
                    // An abandoned ticket takes no memory.
                    (true, 0) => {
                        shard.entries.remove(&lease.nonce());
                        self.records.release(1);
                    }
                    // The record stays for the starts.
                    (true, _) => {}
                    (false, _) => self.records.release(1),
                }
            }
            // The attempt has not begun, or it ended before. It must not begin later. Without room,
            // the text is held until the ticket expires if it does.
            _ if !ran && self.records.reserve(1).is_ok() => {
                let now = Clocks::new(self.milliseconds(), SystemTime::UNIX_EPOCH);
                if shard
                    .tombstones
                    .insert(lease.fence(), now.after(TOMBSTONE))
                    .is_some()
                {
                    self.records.release(1);
                }
            }
            _ => {}
        }
    }

    /// Evicts expired records, and nothing else: evicting any other would allow a replay.
    fn sweep(&self, shard: &mut Shard, now: Clocks) {
        let (mut records, mut bytes) = (0, 0);
        shard.entries.retain(|_, entry| {
            let expired = entry.has_expired(now);
            if expired {
                records += entry.texts.len().max(1);
                bytes += entry.texts.reply_bytes();
            }
            !expired
        });
        shard.tombstones.retain(|_, until| {
            let expired = now.monotonic > *until;
            records += usize::from(expired);
            !expired
        });
        if shard.tombstones.is_empty() {
            shard.tombstones = HashMap::new();
        }
        self.records.release(records);
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

    fn start(&self, lease: &Lease) -> Lookup<(), StoreError> {
        Lookup::Ready(self.try_start(lease))
    }

    fn finish(&self, lease: &Lease, reply: &StoredReply) -> Lookup<(), StoreError> {
        Lookup::Ready(self.try_finish(lease, reply))
    }

    fn fail(&self, lease: &Lease) -> Lookup<(), StoreError> {
        self.release(lease, true);
        Lookup::Ready(Ok(()))
    }

    fn abandon(&self, lease: &Lease) -> Lookup<(), StoreError> {
        self.release(lease, false);
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
    /// When the record expires, in seconds of Unix time.
    until: u64,
    /// The same moment on the monotonic clock, as estimated at the first redemption.
    until_monotonic: u64,
    texts: Texts,
    /// How often the handler was started.
    starts: u32,
    /// Whether a caller was told that the starts are used up.
    spent: bool,
}

impl Entry {
    /// The record of a ticket whose first text runs.
    fn new(attempt: &Attempt, now: Clocks) -> Self {
        let left = attempt.until().duration_since(attempt.now());
        let mut entry = Self {
            until: unix_seconds(attempt.until()).saturating_add(KEPT_LONGER.as_secs()),
            until_monotonic: now.after(left.unwrap_or_default().saturating_add(KEPT_LONGER)),
            texts: Texts::None,
            starts: 0,
            spent: false,
        };
        entry.run(attempt);
        entry
    }

    /// Adds a text whose handler runs.
    fn run(&mut self, attempt: &Attempt) {
        let run = Run::new(attempt);
        // An at-most-once handler starts once per text, so its starts need no limit.
        self.starts += u32::from(run.counted);
        self.texts
            .insert(attempt.digest(), State::Running(Box::new(run)));
    }

    fn has_expired(&self, now: Clocks) -> bool {
        // Both: the wall clock alone could jump ahead and back, and the monotonic clock alone could
        // run ahead of a wall clock that was set back, by which the ticket is still accepted.
        // A text whose handler runs is never evicted: its waiters would run the handler, too.
        now.wall > self.until && now.monotonic > self.until_monotonic && !self.texts.any_runs()
    }
}

/// The texts that a ticket was redeemed for. A ticket for one object has one text, stored inline to
/// avoid a second allocation. Many are a map: a ticket for a prefix can have 65,535 of them, and any
/// replay looks one up.
#[expect(
    clippy::box_collection,
    reason = "unboxed, a map would make the entry of every ticket larger"
)]
enum Texts {
    None,
    One(Digest, State),
    Many(Box<HashMap<Digest, State>>),
}

impl Texts {
    fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One(..) => 1,
            Self::Many(many) => many.len(),
        }
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn get_mut(&mut self, digest: Digest) -> Option<&mut State> {
        match self {
            Self::One(known, state) if *known == digest => Some(state),
            Self::Many(many) => many.get_mut(&digest),
            Self::None | Self::One(..) => None,
        }
    }

    fn insert(&mut self, digest: Digest, state: State) {
        *self = match mem::replace(self, Self::None) {
            Self::None => Self::One(digest, state),
            Self::One(first, running) => {
                Self::Many(Box::new([(first, running), (digest, state)].into()))
            }
            Self::Many(mut many) => {
                many.insert(digest, state);
                Self::Many(many)
            }
        };
    }

    /// Removes a text whose handler runs. Returns `None`, and removes nothing, if it has finished.
    fn remove_run(&mut self, digest: Digest) -> Option<Box<Run>> {
        if !matches!(self.get_mut(digest)?, State::Running(_)) {
            return None;
        }
        let removed = match self {
            Self::Many(many) => many.remove(&digest),
            Self::None | Self::One(..) => match mem::replace(self, Self::None) {
                Self::One(_, state) => Some(state),
                Self::None | Self::Many(_) => None,
            },
        };
        match removed {
            Some(State::Running(run)) => Some(run),
            _ => None,
        }
    }

    fn any_runs(&self) -> bool {
        match self {
            Self::None => false,
            Self::One(_, state) => state.runs(),
            Self::Many(many) => many.values().any(State::runs),
        }
    }

    fn reply_bytes(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One(_, state) => state.reply_bytes(),
            Self::Many(many) => many.values().map(State::reply_bytes).sum(),
        }
    }
}

/// The redemption of a ticket for one text.
enum State {
    Running(Box<Run>),
    Finished(Box<Finished>),
}

impl State {
    fn finished(fence: u128, reply: Option<StoredReply>) -> Self {
        let fence = fence.to_be_bytes();
        Self::Finished(Box::new(Finished { fence, reply }))
    }

    const fn runs(&self) -> bool {
        matches!(self, Self::Running(_))
    }

    fn fence(&self) -> u128 {
        u128::from_be_bytes(match self {
            Self::Running(run) => run.fence,
            Self::Finished(finished) => finished.fence,
        })
    }

    fn reply_bytes(&self) -> usize {
        match self {
            Self::Finished(finished) => finished.reply.as_ref().map_or(0, Finished::size_of),
            Self::Running(_) => 0,
        }
    }
}

/// A handler that runs.
struct Run {
    // In bytes, because the alignment of `u128` would cost another eight.
    fence: [u8; 16],
    /// Created by the first waiter: most callbacks have none.
    done: Option<Arc<Notify>>,
    /// Whether it counts as a start of the handler.
    counted: bool,
}

impl Run {
    fn new(attempt: &Attempt) -> Self {
        Self {
            fence: attempt.fence().to_be_bytes(),
            done: None,
            counted: !attempt.is_at_most_once(),
        }
    }

    fn fence(&self) -> u128 {
        u128::from_be_bytes(self.fence)
    }

    /// Returns a future that completes when this run ends.
    fn wait(&mut self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let done = self.done.get_or_insert_default().clone();
        // `notify_waiters` wakes futures that exist, polled or not. Created here, under the lock,
        // this one misses no notification.
        Box::pin(done.notified_owned())
    }
}

/// Wakes the waiters however the run ends: finished, released or evicted.
impl Drop for Run {
    fn drop(&mut self) {
        if let Some(done) = &self.done {
            done.notify_waiters();
        }
    }
}

/// A handler that has run.
struct Finished {
    fence: [u8; 16],
    /// Compact. `None` if there was no room for it.
    reply: Option<StoredReply>,
}

impl Finished {
    /// Returns the memory that a stored reply takes, in bytes.
    fn size_of(reply: &StoredReply) -> usize {
        size_of::<Self>() + reply.heap_bytes()
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
