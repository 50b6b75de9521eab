//! The ledger of granted uploads in Redis, in 64 shards.
//!
//! [`Nonce::for_object`] puts the grants of an object and their tickets into one shard, so each
//! step is one script with the keys of one shard. A shard is seven keys, see `ledger/rows.lua`.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::atomic::{AtomicU8, Ordering},
    time::{Duration, SystemTime},
};

use tokio::task::JoinSet;

use super::{
    super::{Lease, Nonce, StoreError, StoreErrorKind, StoredReply},
    KEPT_LONGER, RedisStore, TOMBSTONE, held, milliseconds, read,
    script::{
        Call,
        Table::{self, Claims, Due, Expiry, Grants, Rows, Settled},
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

/// How many shards are asked at a time. Their steps are pipelined over one connection. All 64 at
/// once would delay the steps of callbacks on the same connection.
const SHARDS_AT_ONCE: usize = 16;

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
        let calls = shards.clone().into_iter().map(|(shard, uploads)| {
            let store = self.clone();
            async move { store.add_to_shard(shard, &uploads).await }
        });
        let added = at_once(calls).await.into_iter().fold(Ok(()), Result::and);
        if added.is_err() {
            for (shard, uploads) in &shards {
                let mut call = Call::of_shard(&self.scripts.ledger.withdraw, *shard, &Table::ALL);
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
        let mut call = Call::of_shard(&self.scripts.ledger.granted, shard, &Table::ALL)
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
        let call = Call::of_lease(&self.scripts.ledger.settled, &lease)
            .behind_tables(shard)
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
        let remembered = &self.scripts.ledger.remembered;
        let call = Call::of_shard(remembered, shard_of(&digest), &Table::ALL)
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
        let call = Call::of_lease(&self.scripts.ledger.failed, &lease)
            .with_tables(shard, &[Due, Claims])
            .arg("ran")
            .arg(milliseconds(TOMBSTONE))
            .arg(&lease.nonce().as_bytes()[..])
            .arg(unix_milliseconds(due));
        self.run(&call).await.map(drop)
    }

    async fn claim(
        self,
        now: SystemTime,
        limit: usize,
        visibility: Duration,
    ) -> Result<Vec<DueUpload>, StoreError> {
        let start = NEXT_SHARD.fetch_add(1, Ordering::Relaxed) % SHARDS;
        // Those that may have more rows.
        let mut shards: VecDeque<u8> = (start..SHARDS).chain(0..start).collect();
        let mut found = Vec::new();
        while !shards.is_empty() && found.len() < limit {
            let left = limit - found.len();
            let asked = shards.len().min(left).min(self.shards_at_once());
            let share = left / asked;
            let calls = shards.drain(..asked).map(|shard| {
                let store = self.clone();
                async move { store.claim_in_shard(shard, share, now, visibility).await }
            });
            let mut failure = None;
            for claimed in at_once(calls.collect::<Vec<_>>()).await {
                match claimed {
                    Ok(claimed) => {
                        shards.extend(claimed.more);
                        found.extend(claimed.rows);
                    }
                    Err(error) => failure = Some(error),
                }
            }
            match failure {
                Some(error) if found.is_empty() => return Err(error),
                // Those that are claimed must be recovered, or they wait for their visibility.
                Some(_) => break,
                None => {}
            }
        }
        Ok(found)
    }

    /// Claims at most `share` rows of one shard.
    async fn claim_in_shard(
        &self,
        shard: u8,
        share: usize,
        now: SystemTime,
        visibility: Duration,
    ) -> Result<Claimed, StoreError> {
        // New ones for each call: the script returns again what the same token has claimed.
        let claims = ClaimTerms::new(now, visibility)?;
        let call = Call::of_shard(&self.scripts.ledger.due, shard, &Table::ALL)
            .arg(claims.now)
            .arg(share)
            .arg(claims.until)
            .arg(&claims.token[..])
            .arg(milliseconds(LONGEST_LIFE));
        let answer = self.run(&call).await;
        let (expired, rows): (u64, Vec<DueRow>) = match answer.and_then(|answer| read(&answer)) {
            Ok(claimed) => claimed,
            Err(error) => {
                let kind = error.kind();
                if kind.is_outcome_unknown() || kind == StoreErrorKind::Unreadable {
                    self.unclaim(shard, &claims).await;
                }
                return Err(error);
            }
        };
        self.expired.removed(expired);
        let more = (rows.len() >= share).then_some(shard);
        let mut found = Vec::with_capacity(rows.len());
        for (nonce, attempts, row) in rows {
            match (<[u8; 16]>::try_from(nonce), GrantedUpload::from_bytes(&row)) {
                (Ok(nonce), Ok(upload)) => {
                    let token = u128::from_be_bytes(claims.token);
                    let claim = Claim::new(Nonce::from_bytes(nonce), token, attempts);
                    found.push(DueUpload::new(upload, claim));
                }
                (_, Err(error)) => tracing::error!(%error, shard, "a row cannot be read"),
                (Err(_), _) => tracing::error!(shard, "a row has no nonce"),
            }
        }
        Ok(Claimed { rows: found, more })
    }

    /// Takes back the claims of a call that failed, because Redis may have executed it. Otherwise
    /// each failure would use up an attempt of rows that nobody has. If this fails too, the claims
    /// expire.
    async fn unclaim(&self, shard: u8, claims: &ClaimTerms) {
        let call = Call::of_shard(&self.scripts.ledger.unclaim, shard, &Table::ALL)
            .arg(claims.until)
            .arg(&claims.token[..])
            .arg(claims.now);
        // Without replicas, both calls fail, and the master has executed both.
        if let Err(error) = self.run(&call).await {
            tracing::debug!(%error, shard, "it is unknown whether claims were taken back");
        }
    }

    /// The waits for replicas of one connection come one after the other. Many of them would delay
    /// the steps of callbacks.
    const fn shards_at_once(&self) -> usize {
        match self.replicas {
            Some(_) => 1,
            None => SHARDS_AT_ONCE,
        }
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
        let call = Call::of_shard(&self.scripts.ledger.close, shard, &Table::ALL)
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
        let shards: Vec<u8> = (0..SHARDS).collect();
        let mut open = 0;
        for asked in shards.chunks(self.shards_at_once()) {
            let calls = asked.iter().map(|&shard| {
                let store = self.clone();
                async move { store.count_in_shard(shard).await }
            });
            for count in at_once(calls).await {
                open += count?;
            }
        }
        Ok(open)
    }

    async fn count_in_shard(&self, shard: u8) -> Result<u64, StoreError> {
        let call = Call::of_shard(&self.scripts.ledger.open, shard, &[Rows]);
        read(&self.run(&call).await?)
    }
}

/// What the claims of one call have in common.
struct ClaimTerms {
    now: u64,
    until: u64,
    token: [u8; 16],
}

impl ClaimTerms {
    fn new(now: SystemTime, visibility: Duration) -> Result<Self, StoreError> {
        let mut token = [0; 16];
        // A token of zeros marks a row that is not claimed.
        while token == [0; 16] {
            fill_random(&mut token)
                .map_err(|error| StoreError::with_source(StoreErrorKind::Refused, error))?;
        }
        let until = now.checked_add(visibility).unwrap_or(now);
        let now = unix_milliseconds(now);
        Ok(Self {
            now,
            // Later than now, or the row would be found again at once.
            until: unix_milliseconds(until).max(now.saturating_add(1)),
            token,
        })
    }
}

/// The claimed rows of one shard.
struct Claimed {
    rows: Vec<DueUpload>,
    /// The shard, if it may have more rows.
    more: Option<u8>,
}

/// Makes calls at the same time. Over one connection, these are pipelined.
async fn at_once<F, T>(calls: impl IntoIterator<Item = F>) -> Vec<Result<T, StoreError>>
where
    F: Future<Output = Result<T, StoreError>> + Send + 'static,
    T: Send + 'static,
{
    let mut tasks: JoinSet<_> = calls.into_iter().collect();
    let mut results = Vec::with_capacity(tasks.len());
    while let Some(result) = tasks.join_next().await {
        results.push(result.unwrap_or_else(|_| Err(StoreErrorKind::Unavailable.into())));
    }
    results
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
