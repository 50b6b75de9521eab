//! The ledger of granted uploads, in the memory of one process.
//!
//! The rows are divided by their [shard](shard_of), so all rows of an object are under one lock.
//! Every step takes logarithmic time: the rows of a shard are sorted by nonce, by the time at which
//! they are due, by their expiry, and by object.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use super::super::{Nonce, StoreError, StoreErrorKind};
use crate::{
    protocol::{Bucket, ObjectKey},
    ticket::ledger::{
        Claim, DueUpload, ExpiredRows, GrantedUpload, LONGEST_LIFE, ObjectGrants, SHARDS,
        SettledObject, object_digest, shard_of,
    },
};

/// How many expired rows one step frees at most. More than it adds, so that a ledger whose recovery
/// does not run keeps its size.
const FREED_PER_STEP: usize = 4;

/// [`GrantedUpload::GRACE`] in milliseconds.
const GRACE: u64 = GrantedUpload::GRACE.as_secs() * 1000;

type Bytes16 = [u8; 16];

/// The rows of a ledger.
pub(super) struct Rows {
    shards: Box<[Mutex<Shard>]>,
    /// The number of open rows.
    open: AtomicUsize,
    capacity: usize,
    /// The number of the next claim.
    next_claim: AtomicU64,
    /// The shard where the next search for due rows starts.
    next_shard: AtomicUsize,
    expired: ExpiredRows,
}

#[derive(Default)]
struct Shard {
    rows: BTreeMap<Bytes16, Row>,
    /// Nonces by the time at which they are due, in milliseconds.
    due: BTreeSet<(u64, Bytes16)>,
    /// Nonces by the time at which their rows are freed, in milliseconds.
    expiry: BTreeSet<(u64, Bytes16)>,
    /// Open grants by object and time, in seconds.
    grants: BTreeSet<(Bytes16, u64, Bytes16)>,
    settled: BTreeMap<Bytes16, Settled>,
    /// Settled objects by expiry, in milliseconds.
    settled_expiry: BTreeSet<(u64, Bytes16)>,
}

struct Row {
    /// As a shared ledger stores it: a third of the memory of its fields.
    bytes: Box<[u8]>,
    object: Bytes16,
    granted: u64,
    due: u64,
    /// When the row is freed.
    freed: u64,
    attempts: u32,
    claim: Option<u64>,
}

#[derive(Default)]
struct Settled {
    /// The newest first.
    objects: Vec<SettledObject>,
    until: u64,
}

impl Rows {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            open: AtomicUsize::new(0),
            capacity,
            next_claim: AtomicU64::new(1),
            next_shard: AtomicUsize::new(0),
            expired: ExpiredRows::default(),
        }
    }

    /// Adds all of these rows, or none.
    pub(super) fn add(&self, uploads: &[GrantedUpload]) -> Result<(), StoreError> {
        let rows = uploads
            .iter()
            .map(|upload| Ok((upload, Row::new(upload)?)))
            .collect::<Result<Vec<_>, StoreError>>()?;
        let Some(now) = uploads.iter().map(GrantedUpload::granted_at).max() else {
            return Ok(());
        };
        let now = milliseconds(now);
        let mut expired = 0;
        let mut reserved = self.reserve(rows.len());
        if reserved.is_err() {
            for index in 0..self.shards.len() {
                expired += self.free_expired(&mut self.lock_at(index), now, usize::MAX);
            }
            reserved = self.reserve(rows.len());
        }
        if let Err(error) = reserved {
            self.expired.removed(expired);
            return Err(error);
        }
        for (upload, row) in rows {
            let mut shard = self.lock(upload.nonce());
            expired += self.free_expired(&mut shard, now, FREED_PER_STEP);
            if !shard.insert(*upload.nonce().as_bytes(), row) {
                // The same call, repeated because its outcome was unknown.
                self.release(1);
            }
        }
        self.expired.removed(expired);
        Ok(())
    }

    /// Removes the row of a ticket, and remembers its object.
    pub(super) fn settle(&self, nonce: Nonce, object: &SettledObject, until: SystemTime) {
        let removed = self.lock(nonce).remove(nonce.as_bytes());
        self.release(usize::from(removed));
        let digest = object_digest(object.bucket().as_str(), object.key());
        // The same shard, except for a ticket of many objects, which has no row.
        let mut shard = self.lock(Nonce::from_bytes(digest));
        let mut until = milliseconds(until);
        if shard.grants_of(&digest, 0, u64::MAX).next().is_some() {
            let longest = u64::try_from(LONGEST_LIFE.as_millis()).unwrap_or(u64::MAX);
            until = until.saturating_add(longest);
        }
        shard.remember(digest, object, until);
        // Twice the mean number of a full ledger.
        let limit = (self.capacity / usize::from(SHARDS / 2)).max(ObjectGrants::MAX_SETTLED);
        while shard.settled.len() > limit {
            let Some((_, oldest)) = shard.settled_expiry.pop_first() else {
                break;
            };
            shard.settled.remove(&oldest);
        }
    }

    /// Makes a row due at `due`, if it is due later, not claimed, and without a counted attempt.
    pub(super) fn hasten(&self, nonce: Nonce, due: SystemTime) {
        let due = milliseconds(due);
        let mut shard = self.lock(nonce);
        let row = shard.rows.get(nonce.as_bytes());
        if row.is_some_and(|row| row.claim.is_none() && row.attempts == 0 && due < row.due) {
            shard.move_to(nonce.as_bytes(), due);
        }
    }

    /// Claims rows that are due.
    pub(super) fn claim(
        &self,
        now: SystemTime,
        limit: usize,
        visibility: Duration,
    ) -> Vec<DueUpload> {
        let (until, now) = (
            milliseconds(now.checked_add(visibility).unwrap_or(now)),
            milliseconds(now),
        );
        let (mut claimed, mut expired) = (Vec::new(), 0);
        let start = self.next_shard.fetch_add(1, Ordering::Relaxed) % self.shards.len();
        for index in (start..self.shards.len()).chain(0..start) {
            let mut shard = self.lock_at(index);
            expired += self.free_expired(&mut shard, now, FREED_PER_STEP);
            while claimed.len() < limit {
                let Some(&(due, nonce)) = shard.due.first() else {
                    break;
                };
                if due > now {
                    break;
                }
                let token = self.next_claim.fetch_add(1, Ordering::Relaxed);
                // Later than now, so that the loop ends.
                shard.move_to(&nonce, until.max(now.saturating_add(1)));
                let Some(row) = shard.rows.get_mut(&nonce) else {
                    break;
                };
                row.claim = Some(token);
                row.attempts = row.attempts.saturating_add(1);
                let claim = Claim::new(Nonce::from_bytes(nonce), token.into(), row.attempts);
                match GrantedUpload::from_bytes(&row.bytes) {
                    Ok(upload) => claimed.push(DueUpload::new(upload, claim)),
                    Err(error) => tracing::error!(%error, ?nonce, "a row cannot be read"),
                }
            }
        }
        self.expired.removed(expired);
        claimed
    }

    pub(super) fn defer(
        &self,
        claim: &Claim,
        due: SystemTime,
        attempts: u32,
    ) -> Result<(), StoreError> {
        let mut shard = self.lock(claim.nonce());
        let row = shard.rows.get_mut(claim.nonce().as_bytes());
        let row = row.ok_or(StoreErrorKind::LeaseLost)?;
        let asked = milliseconds(due);
        // Before it is freed, a recovery must find it expired.
        let till = row.freed.saturating_sub(GRACE);
        let (early, late) = (asked.min(till), asked.min(row.freed));
        if !row.is_claimed_by(claim) {
            let is_repeated = row.claim.is_none() && row.attempts == attempts;
            return match is_repeated && (row.due == early || row.due == late) {
                true => Ok(()),
                false => Err(StoreErrorKind::LeaseLost.into()),
            };
        }
        // A time before the end of the claim may have passed already. Due then, the row would be
        // found again at once, and without end.
        let due = if till > row.due { early } else { late };
        row.claim = None;
        row.attempts = attempts;
        shard.move_to(claim.nonce().as_bytes(), due);
        Ok(())
    }

    pub(super) fn close(&self, claim: &Claim) -> Result<(), StoreError> {
        let mut shard = self.lock(claim.nonce());
        match shard.rows.get(claim.nonce().as_bytes()) {
            Some(row) if row.is_claimed_by(claim) => {
                shard.remove(claim.nonce().as_bytes());
                self.release(1);
                Ok(())
            }
            Some(_) => Err(StoreErrorKind::LeaseLost.into()),
            None => Ok(()),
        }
    }

    pub(super) fn object(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        stored: SystemTime,
    ) -> ObjectGrants {
        let digest = object_digest(bucket.as_str(), key.as_str());
        let shard = self.lock(Nonce::from_bytes(digest));
        let stored = milliseconds(stored) / 1000;
        let owner = shard.grants_of(&digest, 0, stored).next_back();
        let open = shard.grants_of(&digest, 0, u64::MAX);
        let open = open.take(ObjectGrants::MAX_COUNTED).map(|_| 1).sum();
        let settled = shard.settled.get(&digest);
        let settled = settled.into_iter().flat_map(|settled| &settled.objects);
        ObjectGrants::new(settled.cloned().collect(), owner, open)
    }

    pub(super) fn open(&self) -> u64 {
        u64::try_from(self.open.load(Ordering::Relaxed)).unwrap_or(u64::MAX)
    }

    fn lock(&self, nonce: Nonce) -> MutexGuard<'_, Shard> {
        self.lock_at(usize::from(shard_of(nonce.as_bytes())))
    }

    fn lock_at(&self, index: usize) -> MutexGuard<'_, Shard> {
        // Ignores poisoning: a panic between two updates leaves an entry that names no row, which
        // every reader skips.
        self.shards[index]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how many open rows it has removed.
    fn free_expired(&self, shard: &mut Shard, now: u64, limit: usize) -> u64 {
        let mut expired = 0;
        for _ in 0..limit {
            match shard.expiry.first() {
                Some(&(freed, nonce)) if freed < now => {
                    let removed = shard.remove(&nonce);
                    self.release(usize::from(removed));
                    expired += u64::from(removed);
                }
                _ => break,
            }
        }
        for _ in 0..limit {
            match shard.settled_expiry.first() {
                Some(&(until, digest)) if until < now => {
                    shard.settled_expiry.pop_first();
                    shard.settled.remove(&digest);
                }
                _ => break,
            }
        }
        expired
    }

    fn reserve(&self, count: usize) -> Result<(), StoreError> {
        let within = |open: usize| open.checked_add(count).filter(|sum| *sum <= self.capacity);
        let (set, get) = (Ordering::Relaxed, Ordering::Relaxed);
        match self.open.fetch_update(set, get, within) {
            Ok(_) => Ok(()),
            Err(_) => Err(StoreErrorKind::Full.into()),
        }
    }

    fn release(&self, count: usize) {
        self.open.fetch_sub(count, Ordering::Relaxed);
    }
}

impl Shard {
    /// Adds a row. Returns whether it is new.
    fn insert(&mut self, nonce: Bytes16, row: Row) -> bool {
        if self.rows.contains_key(&nonce) {
            return false;
        }
        self.due.insert((row.due, nonce));
        self.expiry.insert((row.freed, nonce));
        self.grants.insert((row.object, row.granted, nonce));
        // What is known of the object is needed as long as this row.
        if let Some(settled) = self.settled.get_mut(&row.object) {
            self.settled_expiry.remove(&(settled.until, row.object));
            settled.until = settled.until.max(row.freed);
            self.settled_expiry.insert((settled.until, row.object));
        }
        self.rows.insert(nonce, row);
        true
    }

    /// Removes a row. Returns whether there was one.
    fn remove(&mut self, nonce: &Bytes16) -> bool {
        let Some(row) = self.rows.remove(nonce) else {
            return false;
        };
        self.due.remove(&(row.due, *nonce));
        self.expiry.remove(&(row.freed, *nonce));
        self.grants.remove(&(row.object, row.granted, *nonce));
        true
    }

    /// Changes when a row is due.
    fn move_to(&mut self, nonce: &Bytes16, due: u64) {
        if let Some(row) = self.rows.get_mut(nonce) {
            self.due.remove(&(row.due, *nonce));
            row.due = due;
            self.due.insert((row.due, *nonce));
        }
    }

    /// Returns the open grants of an object between two times, in seconds.
    fn grants_of(
        &self,
        object: &Bytes16,
        from: u64,
        to: u64,
    ) -> impl DoubleEndedIterator<Item = Nonce> {
        let range = (*object, from, [0; 16])..=(*object, to, [u8::MAX; 16]);
        let grants = self.grants.range(range);
        grants.map(|(_, _, nonce)| Nonce::from_bytes(*nonce))
    }

    fn remember(&mut self, digest: Bytes16, object: &SettledObject, until: u64) {
        let settled = self.settled.entry(digest).or_default();
        self.settled_expiry.remove(&(settled.until, digest));
        settled.until = settled.until.max(until);
        self.settled_expiry.insert((settled.until, digest));
        settled.objects.retain(|known| known != object);
        // Mostly there is one, and a vector that grows by itself has room for four.
        settled.objects.reserve_exact(1);
        settled.objects.insert(0, object.clone());
        settled.objects.truncate(ObjectGrants::MAX_SETTLED);
    }
}

impl Row {
    fn new(upload: &GrantedUpload) -> Result<Self, StoreError> {
        Ok(Self {
            bytes: upload.to_bytes()?.into(),
            object: object_digest(upload.bucket().as_str(), upload.key().as_str()),
            granted: milliseconds(upload.granted_at()) / 1000,
            due: milliseconds(upload.due_at()),
            freed: milliseconds(upload.freed_at()),
            attempts: 0,
            claim: None,
        })
    }

    fn is_claimed_by(&self, claim: &Claim) -> bool {
        self.claim
            .is_some_and(|token| u128::from(token) == claim.token())
    }
}

fn milliseconds(time: SystemTime) -> u64 {
    let since_1970 = time.duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(since_1970.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}
