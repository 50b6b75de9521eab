//! The ledger of granted uploads in Redis, in 64 shards.
//!
//! [`Nonce::for_object`] puts the grants of an object and their tickets into one shard, so each
//! step is one script with the keys of one shard. A shard is seven keys, see `ledger/rows.lua`.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU8, Ordering},
    time::{Duration, SystemTime},
};

use tokio::task::JoinSet;

use super::{
    super::{Lease, Nonce, StoreError, StoreErrorKind, StoredReply},
    KEPT_LONGER, RedisStore, held, milliseconds, read,
    script::{
        Call,
        Table::{Claims, Due, Expiry, Forget, Grants, Rows, Settled},
    },
};
use crate::{
    Lookup,
    protocol::{Bucket, ObjectKey},
    ticket::{
        key::fill_random,
        ledger::{
            Claim, CloseReason, DueUpload, GrantedUpload, LONGEST_LIFE, ObjectGrants, SHARDS,
            SettledObject, UploadLedger, object_digest, shard_of,
        },
    },
};

/// The shard where the next search for due rows starts: another one each time, so that rows of the
/// last shards are not always the last to be found.
static NEXT_SHARD: AtomicU8 = AtomicU8::new(0);

/// Nonce, attempts and bytes of a row.
type DueRow = (Vec<u8>, u32, Vec<u8>);

impl RedisStore {
    async fn add_rows(self, uploads: Vec<GrantedUpload>) -> Result<(), StoreError> {
        let mut shards = BTreeMap::<u8, Vec<GrantedUpload>>::new();
        for upload in uploads {
            let shard = shard_of(upload.nonce().as_bytes());
            let object = object_digest(upload.bucket().as_str(), upload.key().as_str());
            if shard != shard_of(&object) {
                let why = "the nonce of a row must be created with Nonce::for_object";
                return Err(StoreError::with_source(StoreErrorKind::Refused, why));
            }
            shards.entry(shard).or_default().push(upload);
        }
        if shards.len() == 1
            && let Some((shard, uploads)) = shards.pop_first()
        {
            return self.add_to_shard(shard, &uploads).await;
        }
        // Over one connection, so these are pipelined.
        let mut calls = JoinSet::new();
        for (shard, uploads) in shards.clone() {
            let store = self.clone();
            calls.spawn(async move { store.add_to_shard(shard, &uploads).await });
        }
        let mut added = Ok(());
        while let Some(call) = calls.join_next().await {
            let call = call.unwrap_or_else(|_| Err(StoreErrorKind::Unavailable.into()));
            added = added.and(call);
        }
        if added.is_err() {
            for (shard, uploads) in &shards {
                let tables = [Rows, Due, Expiry, Grants, Claims];
                let mut call = Call::of_shard(&self.scripts.ledger.withdraw, *shard, &tables);
                for upload in uploads {
                    call = call.arg(&upload.nonce().as_bytes()[..]);
                }
                // A row that stays is dropped by the recovery.
                if self.run(&call).await.is_err() {
                    break;
                }
            }
        }
        added
    }

    /// Adds rows of one shard, all or none.
    async fn add_to_shard(&self, shard: u8, uploads: &[GrantedUpload]) -> Result<(), StoreError> {
        let added = self.run(&self.granted_call(shard, uploads)?).await?;
        let (added, expired): (u64, u64) = read(&added)?;
        self.expired.removed(expired);
        match added {
            1 => Ok(()),
            0 => Err(StoreErrorKind::Full.into()),
            _ => Err(StoreErrorKind::Unreadable.into()),
        }
    }

    fn granted_call(&self, shard: u8, uploads: &[GrantedUpload]) -> Result<Call<'_>, StoreError> {
        let now = uploads.iter().map(GrantedUpload::granted_at).max();
        let tables = [Rows, Due, Expiry, Grants, Claims, Settled, Forget];
        let mut call = Call::of_shard(&self.scripts.ledger.granted, shard, &tables)
            .arg(now.map_or(0, unix_milliseconds))
            .arg(self.shard_capacity())
            .arg(milliseconds(LONGEST_LIFE));
        for upload in uploads {
            let seconds = unix_milliseconds(upload.granted_at()) / 1000;
            let object = object_digest(upload.bucket().as_str(), upload.key().as_str());
            let row = [&object[..], &seconds.to_be_bytes(), &upload.to_bytes()?].concat();
            call = call
                .arg(&upload.nonce().as_bytes()[..])
                .arg(row)
                .arg(unix_milliseconds(upload.due_at()))
                .arg(unix_milliseconds(upload.freed_at()));
        }
        Ok(call)
    }

    fn shard_capacity(&self) -> u64 {
        self.ledger_capacity.div_ceil(SHARDS.into())
    }

    async fn settle(
        self,
        lease: Lease,
        reply: Vec<u8>,
        object: SettledObject,
        until: SystemTime,
    ) -> Result<(), StoreError> {
        let digest = object_digest(object.bucket().as_str(), object.key());
        let shard = shard_of(lease.nonce().as_bytes());
        let one_shard = shard == shard_of(&digest);
        let line = line_of(&object);
        let left = until.duration_since(SystemTime::now()).unwrap_or_default();
        let tables = [Rows, Due, Expiry, Grants, Claims, Settled, Forget];
        let call = Call::of_lease(&self.scripts.ledger.settled, &lease)
            .with_tables(shard, &tables)
            .arg(reply)
            .arg(milliseconds(left.saturating_add(KEPT_LONGER)))
            .arg(&lease.nonce().as_bytes()[..])
            .arg(if one_shard { &digest[..] } else { &[] })
            .arg(&line)
            .arg(unix_milliseconds(until))
            .arg(milliseconds(LONGEST_LIFE))
            .arg(self.settled_capacity());
        held(&self.run(&call).await?)?;
        if one_shard {
            return Ok(());
        }
        // A ticket of many objects, which has no row. If this fails, the layer repeats both steps.
        let tables = [Grants, Settled, Forget];
        let call = Call::of_shard(&self.scripts.ledger.remembered, shard_of(&digest), &tables)
            .arg(&digest[..])
            .arg(&line)
            .arg(unix_milliseconds(until))
            .arg(milliseconds(LONGEST_LIFE))
            .arg(self.settled_capacity());
        self.run(&call).await.map(drop)
    }

    /// Twice the mean of a full ledger.
    fn settled_capacity(&self) -> u64 {
        self.shard_capacity().saturating_mul(2).max(16)
    }

    async fn fail_and_hasten(self, lease: Lease, due: SystemTime) -> Result<(), StoreError> {
        let shard = shard_of(lease.nonce().as_bytes());
        let call = Call::of_shard(&self.scripts.ledger.hasten, shard, &[Due, Claims])
            .arg(&lease.nonce().as_bytes()[..])
            .arg(unix_milliseconds(due));
        // Both are tried: a text that stays held costs more than a row that is due later.
        let hastened = self.run(&call).await.map(drop);
        self.release(lease, "ran").await.and(hastened)
    }

    async fn claim(
        self,
        now: SystemTime,
        limit: usize,
        visibility: Duration,
    ) -> Result<Vec<DueUpload>, StoreError> {
        let mut token = [0; 16];
        // A token of zeros marks a row that is not claimed.
        while token == [0; 16] {
            fill_random(&mut token)
                .map_err(|error| StoreError::with_source(StoreErrorKind::Refused, error))?;
        }
        let now_ms = unix_milliseconds(now);
        let until = now.checked_add(visibility).unwrap_or(now);
        // Later than now, or the row would be found again at once.
        let until = unix_milliseconds(until).max(now_ms.saturating_add(1));
        let start = NEXT_SHARD.fetch_add(1, Ordering::Relaxed) % SHARDS;
        let tables = [Rows, Due, Expiry, Grants, Claims, Settled, Forget];
        let mut found = Vec::new();
        for shard in (start..SHARDS).chain(0..start) {
            let left = limit.saturating_sub(found.len());
            if left == 0 {
                break;
            }
            let call = Call::of_shard(&self.scripts.ledger.due, shard, &tables)
                .arg(now_ms)
                .arg(left)
                .arg(until)
                .arg(&token[..])
                .arg(milliseconds(LONGEST_LIFE));
            let answer = self.run(&call).await.and_then(|rows| read(&rows));
            let (expired, rows): (u64, Vec<DueRow>) = match answer {
                Ok(answer) => answer,
                // Those that are claimed must be recovered, or they wait for their visibility.
                Err(_) if !found.is_empty() => break,
                Err(error) => return Err(error),
            };
            self.expired.removed(expired);
            for (nonce, attempts, row) in rows {
                match (<[u8; 16]>::try_from(nonce), GrantedUpload::from_bytes(&row)) {
                    (Ok(nonce), Ok(upload)) => {
                        let token = u128::from_be_bytes(token);
                        let claim = Claim::new(Nonce::from_bytes(nonce), token, attempts);
                        found.push(DueUpload::new(upload, claim));
                    }
                    (_, Err(error)) => tracing::error!(%error, shard, "a row cannot be read"),
                    (Err(_), _) => tracing::error!(shard, "a row has no nonce"),
                }
            }
        }
        Ok(found)
    }

    async fn defer_row(
        self,
        claim: Claim,
        due: SystemTime,
        attempts: u32,
    ) -> Result<(), StoreError> {
        let shard = shard_of(claim.nonce().as_bytes());
        let tables = [Rows, Due, Expiry, Claims];
        let call = Call::of_shard(&self.scripts.ledger.defer, shard, &tables)
            .arg(&claim.nonce().as_bytes()[..])
            .arg(&claim.token().to_be_bytes()[..])
            .arg(unix_milliseconds(due))
            .arg(attempts)
            .arg(milliseconds(GrantedUpload::GRACE));
        held(&self.run(&call).await?)
    }

    async fn close_row(self, claim: Claim) -> Result<(), StoreError> {
        let shard = shard_of(claim.nonce().as_bytes());
        let tables = [Rows, Due, Expiry, Grants, Claims];
        let call = Call::of_shard(&self.scripts.ledger.close, shard, &tables)
            .arg(&claim.nonce().as_bytes()[..])
            .arg(&claim.token().to_be_bytes()[..]);
        held(&self.run(&call).await?)
    }

    async fn grants_of(
        self,
        bucket: Bucket,
        key: ObjectKey,
        stored: SystemTime,
    ) -> Result<ObjectGrants, StoreError> {
        let digest = object_digest(bucket.as_str(), key.as_str());
        let seconds = unix_milliseconds(stored) / 1000;
        let call = Call::of_shard(
            &self.scripts.ledger.object,
            shard_of(&digest),
            &[Grants, Settled],
        )
        .arg(&digest[..])
        .arg(&seconds.to_be_bytes()[..]);
        let (owner, open, lines): (Vec<u8>, u64, Vec<u8>) = read(&self.run(&call).await?)?;
        let owner = <[u8; 16]>::try_from(owner).ok().map(Nonce::from_bytes);
        let settled = lines
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| object_of(&bucket, &key, line))
            .collect::<Result<_, _>>()?;
        Ok(ObjectGrants::new(settled, owner, open))
    }

    async fn count(self) -> Result<u64, StoreError> {
        let mut open = 0;
        for shard in 0..SHARDS {
            let call = Call::of_shard(&self.scripts.ledger.open, shard, &[Rows]);
            open += read::<u64>(&self.run(&call).await?)?;
        }
        Ok(open)
    }
}

/// One line, because JSON escapes line breaks.
fn line_of(object: &SettledObject) -> String {
    serde_json::json!([object.etag(), object.version_id()]).to_string()
}

fn object_of(bucket: &Bucket, key: &ObjectKey, line: &[u8]) -> Result<SettledObject, StoreError> {
    let (etag, version): (Option<String>, Option<String>) =
        serde_json::from_slice(line).map_err(|_| StoreErrorKind::Unreadable)?;
    let object = SettledObject::new(bucket.clone(), key.as_str());
    let object = object.with_etag(&etag.unwrap_or_default());
    Ok(object.with_version_id(&version.unwrap_or_default()))
}

/// Capped at the largest integer that Lua, and the score of a sorted set, represent exactly.
fn unix_milliseconds(time: SystemTime) -> u64 {
    const MAX: u64 = 1 << 53;
    let since_1970 = time.duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(since_1970.unwrap_or_default().as_millis()).map_or(MAX, |time| time.min(MAX))
}

impl UploadLedger for RedisStore {
    // As those of the store, the futures own everything they need.

    fn granted(&self, uploads: &[GrantedUpload]) -> Lookup<(), StoreError> {
        Lookup::pending(self.clone().add_rows(uploads.to_vec()))
    }

    fn settled(
        &self,
        lease: &Lease,
        reply: &StoredReply,
        object: &SettledObject,
        until: SystemTime,
    ) -> Lookup<(), StoreError> {
        let (lease, reply, object) = (lease.clone(), reply.to_bytes(), object.clone());
        Lookup::pending(self.clone().settle(lease, reply, object, until))
    }

    fn fail_upload(&self, lease: &Lease, due: SystemTime) -> Lookup<(), StoreError> {
        Lookup::pending(self.clone().fail_and_hasten(lease.clone(), due))
    }

    fn due(
        &self,
        now: SystemTime,
        limit: usize,
        visibility: Duration,
    ) -> Lookup<Vec<DueUpload>, StoreError> {
        Lookup::pending(self.clone().claim(now, limit, visibility))
    }

    fn defer(&self, claim: &Claim, due: SystemTime, attempts: u32) -> Lookup<(), StoreError> {
        Lookup::pending(self.clone().defer_row(*claim, due, attempts))
    }

    fn close(&self, claim: &Claim, _: CloseReason) -> Lookup<(), StoreError> {
        Lookup::pending(self.clone().close_row(*claim))
    }

    fn object(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        stored: SystemTime,
    ) -> Lookup<ObjectGrants, StoreError> {
        Lookup::pending(self.clone().grants_of(bucket.clone(), key.clone(), stored))
    }

    fn open_rows(&self) -> Lookup<u64, StoreError> {
        Lookup::pending(self.clone().count())
    }
}
