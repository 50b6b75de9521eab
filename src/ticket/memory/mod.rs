//! Used tickets in the memory of one process.

mod counter;
mod entry;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, hash_map},
    fmt,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use self::{
    counter::Counter,
    entry::{Answer, Entry, Found, Moment, Use},
};
use super::{
    nonce::Nonce,
    reply::StoredReply,
    store::{Attempt, Begin, Lease, ReplayStore, StoreAnswer, UseLimit},
    store_error::{StoreError, StoreErrorKind},
};

const SHARDS: usize = 16;

/// How often a shard is searched for what has expired.
const SWEEP_EVERY: Duration = Duration::from_secs(30);

/// How often all of them are, while the store is full.
const SWEEP_WHEN_FULL_EVERY: Duration = Duration::from_secs(1);

/// Remembers used tickets in the memory of this process.
///
/// For a service that runs once. Two instances do not know of each other, and a restart forgets: tickets that have not
/// expired can then be used once more. Use `RedisStore` where that matters.
///
/// A ticket takes at most 128 bytes beside the stored answers (144 while its handler runs). Only what has expired is
/// ever forgotten: a full store refuses, and the callback is answered with 503.
///
/// A ticket has expired when it has by the clock that [`Attempt::now`] was read from, *and* as much time has passed by
/// the monotonic clock: a clock that jumps does not make the store forget.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use http::StatusCode;
/// use tower_aliyun_oss::ticket::{
///     Attempt, Begin, MemoryStore, Nonce, ReplayStore, StoredReply, TextDigest, UseLimit,
/// };
///
/// # tokio_test::block_on(async {
/// let store = MemoryStore::new();
/// let now = SystemTime::now();
/// let digest = TextDigest::from_bytes([7; 32]);
/// let until = now + Duration::from_secs(60);
/// let attempt = Attempt::new(Nonce::random()?, digest, UseLimit::Once, until, now);
///
/// let Begin::Fresh(lease) = store.begin(&attempt).wait().await? else { panic!("a new ticket") };
/// store.finish(&lease, &StoredReply::new(StatusCode::OK, None, "{}")?).wait().await?;
///
/// let Begin::Stored(reply) = store.begin(&attempt).wait().await? else { panic!("used") };
/// assert_eq!(reply.body(), "{}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub struct MemoryStore {
    shards: [Mutex<Shard>; SHARDS],
    /// Texts, of all tickets.
    texts: Counter,
    /// Bytes of answers.
    answers: Counter,
    /// The next fence; 0 is never given.
    fence: AtomicU64,
    start: Instant,
    /// When all shards may be searched again, in milliseconds from the start.
    next_full_sweep: AtomicU64,
}

#[derive(Default)]
struct Shard {
    entries: HashMap<Nonce, Box<Entry>>,
    /// In milliseconds from the start.
    next_sweep: u64,
}

impl MemoryStore {
    /// How many texts are remembered when nothing else is said: one million.
    pub const DEFAULT_CAPACITY: usize = 1_000_000;

    /// How many bytes of answers are kept when nothing else is said: 64 MiB.
    pub const DEFAULT_ANSWER_BYTES: usize = 64 * 1024 * 1024;

    /// An empty store with the default bounds.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(Self::DEFAULT_CAPACITY, Self::DEFAULT_ANSWER_BYTES)
    }

    /// An empty store that remembers at most `texts` (callbacks, so several of a ticket for a prefix), and keeps at
    /// most `answer_bytes` of answers. An answer that finds no room is not kept: its text is never run again, and
    /// whoever repeats it is told [`StoreErrorKind::AnswerNotKept`].
    #[must_use]
    pub fn with_capacity(texts: usize, answer_bytes: usize) -> Self {
        Self {
            shards: Default::default(),
            texts: Counter::new(texts),
            answers: Counter::new(answer_bytes),
            fence: AtomicU64::new(1),
            start: Instant::now(),
            next_full_sweep: AtomicU64::new(0),
        }
    }

    /// How many texts are remembered, expired ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.texts.get()
    }

    /// Whether nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, nonce: Nonce) -> MutexGuard<'_, Shard> {
        let [first, ..] = *nonce.as_bytes();
        // The remainder is below the length, so the first is never taken in place of another.
        let shard = self.shards.get(usize::from(first) % SHARDS);
        lock(shard.unwrap_or(&self.shards[0]))
    }

    fn milliseconds(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn try_begin(&self, attempt: &Attempt) -> Result<Begin, StoreError> {
        let now = Moment::new(self.milliseconds(), attempt.now());
        match self.claim(attempt, now) {
            Err(error) if error.kind() == StoreErrorKind::Full && self.sweep_all(now) => {
                self.claim(attempt, now)
            }
            result => result,
        }
    }

    fn claim(&self, attempt: &Attempt, now: Moment) -> Result<Begin, StoreError> {
        let mut shard = self.shard(attempt.nonce());
        if now.monotonic >= shard.next_sweep {
            self.sweep(&mut shard, now);
        }
        let fence = self.fence.fetch_add(1, Ordering::Relaxed);
        let fresh = || Use::running(attempt, fence, now);
        let lease = Lease::new(attempt, fence.into());
        let mut entry = match shard.entries.entry(attempt.nonce()) {
            hash_map::Entry::Vacant(vacant) => {
                self.texts.take(1)?;
                vacant.insert(Box::new(Entry::new(attempt, now, fresh())));
                return Ok(Begin::Fresh(lease));
            }
            hash_map::Entry::Occupied(occupied) => occupied,
        };
        let entry = entry.get_mut();
        if let Some(known) = entry.find(attempt.digest()) {
            return match known.look(self.start, now) {
                Found::Answered(Some(reply)) => Ok(Begin::Stored(reply)),
                Found::Answered(None) => Err(StoreErrorKind::AnswerNotKept.into()),
                Found::Running(wait) => Ok(Begin::Running(wait)),
                Found::Ended => {
                    *known = fresh();
                    Ok(Begin::Fresh(lease))
                }
            };
        }
        // What a holder left behind does not count, and neither does it keep another text out.
        let left = entry.count_without_ended(now);
        match attempt.limit() {
            UseLimit::Once if left > 0 => return Ok(Begin::OtherText),
            UseLimit::Texts(max) if left >= usize::from(max.get()) => return Ok(Begin::Exhausted),
            UseLimit::Once | UseLimit::Texts(_) => {}
        }
        match entry.remove_ended(now) {
            0 => self.texts.take(1)?,
            removed => self.texts.give_back(removed - 1),
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
            Some(found) if found.is_answered_by(lease.fence()) => Ok(()),
            Some(found) if found.is_run_by(lease.fence()) => {
                let room = self.answers.take(Answer::size_of(reply)).is_ok();
                found.answer(lease.fence(), room.then(|| reply.clone()));
                Ok(())
            }
            _ => Err(StoreErrorKind::LeaseLost.into()),
        }
    }

    fn try_abandon(&self, lease: &Lease) {
        let mut shard = self.shard(lease.nonce());
        if let hash_map::Entry::Occupied(mut entry) = shard.entries.entry(lease.nonce()) {
            self.texts
                .give_back(entry.get_mut().remove_run(lease.digest(), lease.fence()));
            if entry.get().is_empty() {
                entry.remove();
            }
        }
    }

    /// Forgets what has expired, and only that.
    fn sweep(&self, shard: &mut Shard, now: Moment) {
        let (mut texts, mut bytes) = (0, 0);
        shard.entries.retain(|_, entry| {
            let expired = entry.has_expired(now);
            if expired {
                texts += entry.len();
                bytes += entry.answer_bytes();
            }
            !expired
        });
        self.texts.give_back(texts);
        self.answers.give_back(bytes);
        shard.next_sweep = now.after(SWEEP_EVERY);
    }

    /// Sweeps all shards, unless that was done just now.
    fn sweep_all(&self, now: Moment) -> bool {
        let due = self.next_full_sweep.load(Ordering::Relaxed);
        let next = now.after(SWEEP_WHEN_FULL_EVERY);
        let claim = || {
            self.next_full_sweep
                .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed)
        };
        if now.monotonic < due || claim().is_err() {
            return false;
        }
        for shard in &self.shards {
            self.sweep(&mut lock(shard), now);
        }
        true
    }
}

/// A thread that panicked while it held the lock has left counters and entries in order: they are changed one by one.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ReplayStore for MemoryStore {
    fn begin(&self, attempt: &Attempt) -> StoreAnswer<Begin> {
        StoreAnswer::Ready(self.try_begin(attempt))
    }

    fn finish(&self, lease: &Lease, reply: &StoredReply) -> StoreAnswer<()> {
        StoreAnswer::Ready(self.try_finish(lease, reply))
    }

    fn abandon(&self, lease: &Lease) -> StoreAnswer<()> {
        self.try_abandon(lease);
        StoreAnswer::Ready(Ok(()))
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
