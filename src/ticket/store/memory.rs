//! Redeemed tickets in the memory of one process.
//!
//! | file | content |
//! |---|---|
//! | `record` | the record of one ticket |
//! | `rows` | the ledger of granted uploads |
//! | `shards` | all records, and how those that have expired are freed |

mod record;
mod rows;
mod shards;
#[cfg(test)]
mod tests;

use std::{
    collections::btree_map,
    fmt, mem,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use self::{
    record::{Clocks, Entry, Finished, State},
    rows::Rows,
    shards::{Need, Shards},
};
use super::{
    Attempt, Begin, Lease, Nonce, ReplayStore, StoreError, StoreErrorKind, StoredReply, UseLimit,
};
use crate::{
    Lookup,
    protocol::{Bucket, ObjectKey},
    ticket::ledger::{
        Claim, CloseReason, DueUpload, GrantedUpload, ObjectGrants, SettledObject, UploadLedger,
    },
};

/// How long an abandoned attempt cannot begin. Calls to this store are not delayed, except by a
/// wrapper around it.
const TOMBSTONE: Duration = Duration::from_secs(60);

/// How many shards a call sweeps at most until a full store has room. Usually the first one frees a
/// record; a record whose handler runs, or that waits for the wall clock, is not freed.
const SWEEPS_FOR_ROOM: usize = 8;

/// Records redeemed tickets in the memory of this process.
///
/// For a service that runs as a single process. Instances do not share their records, and a restart
/// loses them: unexpired tickets can then be redeemed again. Use `RedisStore` where that matters.
///
/// A ticket takes at most 128 bytes besides its stored replies, and 160 while its handler runs;
/// each further text of a ticket for a prefix takes no more than that. Stored replies take the
/// configured room at most. An empty store takes 64 bytes for each 256 texts of its capacity. Only
/// expired records are evicted. A full store returns [`StoreErrorKind::Full`], and the layer
/// responds with 503.
///
/// The store is a [ledger](UploadLedger) too, with memory of its own: an open row takes about 1.2
/// KB. See [the guide](crate::guide::ledger).
///
/// A call visits a few hundred records at most, however many there are: each
/// [`begin`](ReplayStore::begin) frees the expired records of one part of the store. What has
/// expired is freed 30 seconds later or with the calls that follow, and at once if the store is
/// full.
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
    /// No lock is held across await.
    shards: Shards,
    /// Texts of all tickets, tickets without a text, and tombstones.
    records: Counter,
    /// Bytes of stored replies.
    replies: Counter,
    /// Created when it is first used, because most stores are no ledger.
    rows: OnceLock<Rows>,
    ledger_capacity: usize,
    start: Instant,
    /// The number of records that all calls together have visited.
    #[cfg(test)]
    touched: AtomicUsize,
}

impl MemoryStore {
    /// The default capacity, in texts: one million.
    pub const DEFAULT_CAPACITY: usize = 1_000_000;

    /// The default room for stored replies: 64 MiB.
    pub const DEFAULT_REPLY_BYTES: usize = 64 * 1024 * 1024;

    /// The default capacity of the [ledger](UploadLedger), in open rows: 100,000.
    pub const DEFAULT_LEDGER_CAPACITY: usize = 100_000;

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
            shards: Shards::new(texts),
            records: Counter::new(texts),
            replies: Counter::new(answer_bytes),
            rows: OnceLock::new(),
            ledger_capacity: Self::DEFAULT_LEDGER_CAPACITY,
            start: Instant::now(),
            #[cfg(test)]
            touched: AtomicUsize::new(0),
        }
    }

    /// Sets how many granted uploads can be open in the [ledger](UploadLedger) at a time.
    #[must_use]
    pub fn ledger_capacity(mut self, rows: usize) -> Self {
        self.ledger_capacity = rows;
        self
    }

    fn rows(&self) -> &Rows {
        self.rows.get_or_init(|| Rows::new(self.ledger_capacity))
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

    fn milliseconds(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn try_begin(&self, attempt: &Attempt) -> Result<Begin, StoreError> {
        let now = Clocks::new(self.milliseconds(), attempt.now());
        self.sweep_one(now, Need::Tidiness);
        let mut begun = self.redeem(attempt, now);
        for _ in 0..SWEEPS_FOR_ROOM {
            let full = matches!(&begun, Err(error) if error.kind() == StoreErrorKind::Full);
            if !full || !self.sweep_one(now, Need::Room) {
                break;
            }
            begun = self.redeem(attempt, now);
        }
        begun
    }

    fn redeem(&self, attempt: &Attempt, now: Clocks) -> Result<Begin, StoreError> {
        let mut locked = self.shards.lock(attempt.nonce());
        let shard = &mut *locked.shard;
        if !shard.tombstones.is_empty() && shard.tombstones.contains_key(&attempt.fence()) {
            return Err(StoreErrorKind::LeaseLost.into());
        }
        let entry = match shard.entries.entry(*attempt.nonce().as_bytes()) {
            btree_map::Entry::Vacant(vacant) => {
                // Before the insert: a full store must not record the text.
                self.records.reserve(1)?;
                let entry = vacant.insert(Box::new(Entry::new(attempt, now)));
                let until = entry.until_monotonic();
                locked.expires_after(until);
                return Ok(Begin::Fresh(Lease::new(attempt)));
            }
            btree_map::Entry::Occupied(occupied) => occupied.into_mut(),
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
        if entry.starts >= attempt.max_starts()
            || u32::from(entry.refusals) >= attempt.max_refusals()
        {
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

    /// Confirms the holder, and records the start for [`is_used_up`](ReplayStore::is_used_up). A
    /// claim does not expire here, and if the process dies, so does the record.
    fn try_start(&self, lease: &Lease) -> Result<(), StoreError> {
        let mut locked = self.shards.lock(lease.nonce());
        let entry = locked.shard.entries.get_mut(lease.nonce().as_bytes());
        match entry.and_then(|entry| entry.texts.get_mut(lease.digest())) {
            Some(state) if state.fence() == lease.fence() => {
                state.start();
                Ok(())
            }
            _ => Err(StoreErrorKind::LeaseLost.into()),
        }
    }

    fn try_finish(&self, lease: &Lease, reply: &StoredReply) -> Result<(), StoreError> {
        self.store_reply(lease, reply, None)
    }

    /// Stores the reply to a text. `until` shortens the life of the record.
    fn store_reply(
        &self,
        lease: &Lease,
        reply: &StoredReply,
        until: Option<SystemTime>,
    ) -> Result<(), StoreError> {
        // Copied before the lock is taken.
        let reply = reply.compact();
        let mut locked = self.shards.lock(lease.nonce());
        let entry = locked.shard.entries.get_mut(lease.nonce().as_bytes());
        let entry = entry.ok_or(StoreErrorKind::LeaseLost)?;
        match entry.texts.get_mut(lease.digest()) {
            Some(state) if state.fence() == lease.fence() => {
                if state.runs() {
                    // Recorded even without room for the reply: the handler has run, and must not
                    // again.
                    let room = self.replies.reserve(Finished::size_of(&reply)).is_ok();
                    let finished = Finished::new(lease.fence(), room.then_some(reply));
                    entry.texts.finish(lease.digest(), finished);
                }
                if let Some(until) = until {
                    entry.shorten(until);
                    let until = entry.until_monotonic();
                    locked.expires_after(until);
                }
                Ok(())
            }
            _ => Err(StoreErrorKind::LeaseLost.into()),
        }
    }

    /// Releases a text. `ran` is whether its handler was called.
    fn release(&self, lease: &Lease, ran: bool) {
        self.end(lease, if ran { Release::Ran } else { Release::NotRun });
    }

    fn end(&self, lease: &Lease, release: Release) {
        let mut locked = self.shards.lock(lease.nonce());
        let shard = &mut *locked.shard;
        let entry = shard.entries.get_mut(lease.nonce().as_bytes());
        let state =
            entry.and_then(|entry| Some((entry.texts.get_mut(lease.digest())?.fence(), entry)));
        match state {
            Some((fence, entry)) if fence == lease.fence() => {
                let Some(run) = entry.texts.remove_run(lease.digest()) else {
                    return;
                };
                if run.counted && release != Release::Ran {
                    entry.starts -= 1;
                }
                if release == Release::Refused {
                    entry.refusals = entry.refusals.saturating_add(1);
                }
                match (entry.texts.is_empty(), entry.starts, entry.refusals) {
                    // An abandoned ticket takes no memory.
                    (true, 0, 0) => {
                        shard.entries.remove(lease.nonce().as_bytes());
                        self.records.release(1);
                    }
                    // The record stays for the counts.
                    (true, ..) => {}
                    (false, ..) => self.records.release(1),
                }
            }
            // The attempt has not begun, or it ended before. It must not begin later. Without room,
            // the text is held until the ticket expires if it does.
            _ if release != Release::Ran && self.records.reserve(1).is_ok() => {
                let now = Clocks::new(self.milliseconds(), SystemTime::UNIX_EPOCH);
                let until = now.after(TOMBSTONE);
                if shard.tombstones.insert(lease.fence(), until).is_some() {
                    self.records.release(1);
                }
                locked.expires_after(until);
            }
            _ => {}
        }
    }

    /// Frees the expired records of one shard. Returns whether there was such a shard.
    fn sweep_one(&self, now: Clocks, need: Need) -> bool {
        let Some(swept) = self.shards.sweep_one(now, need) else {
            return false;
        };
        self.records.release(swept.records);
        self.replies.release(swept.reply_bytes);
        #[cfg(test)]
        self.touched.fetch_add(swept.touched, Ordering::Relaxed);
        true
    }
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

    fn refuse(&self, lease: &Lease) -> Lookup<(), StoreError> {
        self.end(lease, Release::Refused);
        Lookup::Ready(Ok(()))
    }

    fn is_used_up(&self, nonce: Nonce) -> Lookup<bool, StoreError> {
        let mut locked = self.shards.lock(nonce);
        let entry = locked.shard.entries.get_mut(nonce.as_bytes());
        Lookup::Ready(Ok(entry.is_some_and(|entry| entry.texts.any_is_used_up())))
    }
}

impl UploadLedger for MemoryStore {
    fn granted(&self, uploads: &[GrantedUpload]) -> Lookup<(), StoreError> {
        Lookup::Ready(self.rows().add(uploads))
    }

    fn settled(
        &self,
        lease: &Lease,
        reply: &StoredReply,
        object: &SettledObject,
        until: SystemTime,
    ) -> Lookup<(), StoreError> {
        let finished = self.store_reply(lease, reply, Some(until));
        Lookup::Ready(finished.map(|()| self.rows().settle(lease.nonce(), object, until)))
    }

    fn fail_upload(&self, lease: &Lease, due: SystemTime) -> Lookup<(), StoreError> {
        self.release(lease, true);
        self.rows().hasten(lease.nonce(), due);
        Lookup::Ready(Ok(()))
    }

    fn due(
        &self,
        now: SystemTime,
        limit: usize,
        visibility: Duration,
    ) -> Lookup<Vec<DueUpload>, StoreError> {
        Lookup::Ready(Ok(self.rows().claim(now, limit, visibility)))
    }

    fn defer(&self, claim: &Claim, due: SystemTime, attempts: u32) -> Lookup<(), StoreError> {
        Lookup::Ready(self.rows().defer(claim, due, attempts))
    }

    fn close(&self, claim: &Claim, _: CloseReason) -> Lookup<(), StoreError> {
        Lookup::Ready(self.rows().close(claim))
    }

    fn object(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        stored: SystemTime,
    ) -> Lookup<ObjectGrants, StoreError> {
        Lookup::Ready(Ok(self.rows().object(bucket, key, stored)))
    }

    fn open_rows(&self) -> Lookup<u64, StoreError> {
        Lookup::Ready(Ok(self.rows().open()))
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

/// Why a text is released.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Release {
    /// Its handler was called.
    Ran,
    /// Its handler was not called.
    NotRun,
    /// Its handler was not called, because OSS refutes the callback.
    Refused,
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
