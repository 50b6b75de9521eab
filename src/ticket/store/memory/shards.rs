//! The records in shards, each of which is small enough to be swept in one call.
//!
//! The number of shards grows with the capacity, so a full store has about
//! [`RECORDS_PER_SHARD`] records in each. Whatever a call does, it does to one shard: a sweep
//! visits a few hundred records, never all of them. A shard is a tree, not a hash table, so it
//! neither moves its records when it grows nor keeps room for those that are gone.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher as _, RandomState},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::{
    super::super::key::Nonce,
    record::{Clocks, Entry},
};

/// How many records a shard has if the store is full.
const RECORDS_PER_SHARD: usize = 256;

/// Enough that callbacks rarely contend for a lock.
const MIN_SHARDS: usize = 16;

/// A store with more than 16 million records has more of them in each shard: 1,500 of 100 million.
const MAX_SHARDS: usize = 65_536;

/// How many texts of tickets for a prefix one sweep frees at most, because one ticket can have
/// 65,535.
const MAX_FREED: usize = 256;

/// How long a shard that has nothing left to free, or nothing but records that cannot be freed yet,
/// is not swept again.
const AGAIN: Duration = Duration::from_secs(1);

/// How long after its expiry a record is freed while the store has room. Until then more records
/// expire, so that one visit to a shard frees several.
const LATE: Duration = Duration::from_secs(30);

/// Why a shard is swept.
#[derive(Clone, Copy)]
pub(super) enum Need {
    /// To forget what expired a while ago.
    Tidiness,
    /// The store is full.
    Room,
}

/// The records of a store.
pub(super) struct Shards {
    shards: Box<[Mutex<Shard>]>,
    /// For each shard, the monotonic time until which none of its records expires. A shard with
    /// records that have expired and cannot be freed yet has a later time. Written under the lock
    /// of the shard. Beside the shards, so that a search reads little memory.
    due: Box<[AtomicU64]>,
    /// Random, so that the shards have equally many records whatever the nonces are.
    hasher: RandomState,
    /// The shard where the next search starts.
    next: AtomicUsize,
    /// The time of the next search for each [`Need`].
    searches: [AtomicU64; 2],
}

#[derive(Default)]
pub(super) struct Shard {
    // Boxed, because the nodes of a tree keep some of their slots empty.
    pub(super) entries: BTreeMap<[u8; 16], Box<Entry>>,
    /// Fences that were abandoned before they began, and until when they cannot begin.
    pub(super) tombstones: BTreeMap<u128, u64>,
}

/// A shard whose lock is held.
pub(super) struct Locked<'a> {
    pub(super) shard: MutexGuard<'a, Shard>,
    due: &'a AtomicU64,
}

/// What a sweep freed.
#[derive(Debug, Default)]
pub(super) struct Swept {
    pub(super) records: usize,
    /// Bytes of stored replies.
    pub(super) reply_bytes: usize,
    /// The number of records that were visited or freed.
    #[cfg(test)]
    pub(super) touched: usize,
}

impl Shards {
    /// Creates shards for this many records.
    pub(super) fn new(capacity: usize) -> Self {
        let count = (capacity / RECORDS_PER_SHARD).clamp(MIN_SHARDS, MAX_SHARDS);
        Self {
            shards: (0..count).map(|_| Mutex::default()).collect(),
            due: (0..count).map(|_| AtomicU64::new(u64::MAX)).collect(),
            hasher: RandomState::new(),
            next: AtomicUsize::new(0),
            searches: Default::default(),
        }
    }

    /// Locks the shard of a ticket.
    pub(super) fn lock(&self, nonce: Nonce) -> Locked<'_> {
        // The remainder is smaller than the number of shards, so it fits.
        let hash = self.hasher.hash_one(nonce) % self.shards.len() as u64;
        self.lock_at(usize::try_from(hash).unwrap_or_default())
    }

    fn lock_at(&self, index: usize) -> Locked<'_> {
        Locked {
            // Ignores poisoning: counters and records are updated one by one, so a panic between
            // the updates leaves both usable.
            shard: self.shards[index]
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
            due: &self.due[index],
        }
    }

    /// Finds a shard in which a record has expired, and sweeps it. `None` if no shard has one, or
    /// if a search within the last second found none.
    pub(super) fn sweep_one(&self, now: Clocks, need: Need) -> Option<Swept> {
        let (late, search) = match need {
            Need::Tidiness => (LATE, &self.searches[0]),
            Need::Room => (Duration::ZERO, &self.searches[1]),
        };
        if now.monotonic < search.load(Ordering::Relaxed) {
            return None;
        }
        let late = u64::try_from(late.as_millis()).unwrap_or(u64::MAX);
        let is_due = |due: &AtomicU64| {
            let due = due.load(Ordering::Relaxed);
            due.saturating_add(late) < now.monotonic
        };
        let start = self.next.load(Ordering::Relaxed);
        let found = (start..self.due.len())
            .chain(0..start)
            .find(|index| is_due(&self.due[*index]));
        let Some(found) = found else {
            search.store(now.after(AGAIN), Ordering::Relaxed);
            return None;
        };
        self.next.store(found, Ordering::Relaxed);
        let mut locked = self.lock_at(found);
        // Another thread may have found the same shard.
        Some(match is_due(locked.due) {
            true => locked.sweep(now),
            false => Swept::default(),
        })
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.shards.len()
    }

    #[cfg(test)]
    pub(super) fn entries(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.len()).map(|index| self.lock_at(index).shard.entries.len())
    }

    #[cfg(test)]
    pub(super) fn tombstones(&self) -> impl Iterator<Item = u128> + '_ {
        (0..self.len()).flat_map(|index| {
            let locked = self.lock_at(index);
            locked.shard.tombstones.keys().copied().collect::<Vec<_>>()
        })
    }
}

impl Locked<'_> {
    /// Notes that a record was added that expires after this monotonic time.
    pub(super) fn expires_after(&self, time: u64) {
        // Not `fetch_min`: only the holder of the lock writes.
        if time < self.due.load(Ordering::Relaxed) {
            self.due.store(time, Ordering::Relaxed);
        }
    }

    /// Frees expired records, and nothing else: freeing any other would allow a replay.
    fn sweep(&mut self, now: Clocks) -> Swept {
        let mut swept = Swept::default();
        let (mut due, mut freed) = (u64::MAX, 0);
        self.shard.entries.retain(|_, entry| {
            #[cfg(test)]
            {
                swept.touched += 1;
            }
            if !entry.has_expired(now) {
                // It may wait for the wall clock, or for its handler.
                let waits = now.monotonic > entry.until_monotonic();
                due = due.min(if waits {
                    now.after(AGAIN)
                } else {
                    entry.until_monotonic()
                });
                return true;
            }
            // A ticket whose handler only failed has no text, but counts as one.
            swept.records += usize::from(entry.texts.is_empty());
            let one = entry.texts.len() == 1;
            while one || freed < MAX_FREED {
                let Some(reply_bytes) = entry.texts.free_one() else {
                    break;
                };
                freed += usize::from(!one);
                swept.records += 1;
                swept.reply_bytes += reply_bytes;
            }
            let is_left = !entry.texts.is_empty();
            if is_left {
                due = due.min(entry.until_monotonic());
            }
            is_left
        });
        self.shard.tombstones.retain(|_, until| {
            #[cfg(test)]
            {
                swept.touched += 1;
            }
            let stays = now.monotonic <= *until;
            if stays {
                due = due.min(*until);
            }
            swept.records += usize::from(!stays);
            stays
        });
        #[cfg(test)]
        {
            swept.touched += freed;
        }
        self.due.store(due, Ordering::Relaxed);
        swept
    }
}
