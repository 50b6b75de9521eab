//! What every ledger of granted uploads must do: the same tests for the ledgers in memory and in
//! Redis.

#![allow(dead_code, unreachable_pub, missing_debug_implementations)]

use std::{
    collections::{BTreeMap, BTreeSet},
    slice,
    time::{Duration, SystemTime},
};

use http::StatusCode;
use proptest::prelude::*;
use tower_aliyun_oss::{
    protocol::{Bucket, CallbackBodyType, ObjectKey},
    ticket::{
        ledger::{
            CallbackCall, Claim, CloseReason, DueUpload, GrantedUpload, SettledObject, UploadLedger,
        },
        store::{Attempt, Begin, Lease, Nonce, ReplayStore, StoreErrorKind, StoredReply, UseLimit},
    },
};

pub const SECOND: Duration = Duration::from_secs(1);
pub const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const VISIBILITY: Duration = MINUTE;

/// The life of the tickets in these tests.
const LIFE: Duration = HOUR;

/// The time of the first grant: a whole second, close to now, because a store in another process
/// has its own clock for what expires.
pub fn start() -> SystemTime {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    SystemTime::UNIX_EPOCH + Duration::from_secs(now.unwrap().as_secs())
}

pub fn bucket() -> Bucket {
    "examplebucket".parse().unwrap()
}

pub fn object(name: &str) -> ObjectKey {
    name.parse().unwrap()
}

/// A row for this object.
pub fn upload(name: &str, at: SystemTime) -> GrantedUpload {
    let random = *Nonce::random().unwrap().as_bytes();
    let nonce = Nonce::for_object(&bucket(), &object(name), random);
    let template = "bucket=${bucket}&object=${object}&x:uid=${x:uid}&x:ticket=AbC";
    let call = CallbackCall::new("/cb", "app.example", CallbackBodyType::Form, template);
    let call = call.variables([("x:uid", "7")]);
    GrantedUpload::new(nonce, bucket(), object(name), at, at + LIFE, call)
}

pub fn attempt(upload: &GrantedUpload) -> Attempt {
    let (until, now) = (upload.until(), SystemTime::now());
    Attempt::new(upload.nonce(), [7; 32], UseLimit::Once, until, now).unwrap()
}

pub async fn begin(ledger: &impl ReplayStore, upload: &GrantedUpload) -> Option<Lease> {
    match ledger.begin(&attempt(upload)).await.unwrap() {
        Begin::Fresh(lease) => Some(lease),
        Begin::Stored(_) => None,
        other => panic!("{other:?}"),
    }
}

pub fn reply() -> StoredReply {
    StoredReply::new(StatusCode::OK, None, "{}").unwrap()
}

pub fn settled(name: &str, etag: &str) -> SettledObject {
    SettledObject::new(bucket(), name).with_etag(etag)
}

pub async fn settle(ledger: &impl UploadLedger, upload: &GrantedUpload, etag: &str) {
    let lease = begin(ledger, upload).await.expect("not redeemed yet");
    let object = settled(upload.key().as_str(), etag);
    let until = SystemTime::now() + HOUR;
    ledger
        .settled(&lease, &reply(), &object, until)
        .await
        .unwrap();
}

pub async fn due(ledger: &impl UploadLedger, now: SystemTime) -> Vec<DueUpload> {
    ledger.due(now, 1000, VISIBILITY).await.unwrap()
}

async fn nonces(ledger: &impl UploadLedger, now: SystemTime) -> BTreeSet<[u8; 16]> {
    let rows = due(ledger, now).await;
    let nonces = rows.iter().map(|row| *row.upload.nonce().as_bytes());
    nonces.collect()
}

fn set<'a>(uploads: impl IntoIterator<Item = &'a GrantedUpload>) -> BTreeSet<[u8; 16]> {
    let nonces = uploads.into_iter().map(|row| *row.nonce().as_bytes());
    nonces.collect()
}

/// Runs all tests. `create` returns an empty ledger for at most this many rows, or more.
pub async fn conforms<L: UploadLedger>(create: impl AsyncFn(usize) -> L) {
    a_row_is_due_once_after_its_ticket(&create(10_000).await).await;
    a_claim_ends_with_its_visibility(&create(10_000).await).await;
    only_the_last_claim_moves_or_removes_a_row(&create(10_000).await).await;
    a_row_is_removed_with_the_reply(&create(10_000).await).await;
    a_failure_makes_the_row_due_earlier(&create(10_000).await).await;
    a_full_ledger_takes_all_or_none_and_evicts_nothing(&create(64).await).await;
    the_newest_grant_before_the_object_owns_it(&create(10_000).await).await;
    settled_objects_are_remembered(&create(10_000).await).await;
    expired_rows_are_freed(&create(64).await).await;
    a_row_near_its_end_is_deferred(&create(10_000).await).await;
}

async fn a_row_is_due_once_after_its_ticket(ledger: &impl UploadLedger) {
    let start = start();
    let uploads: Vec<_> = (0..100).map(|n| upload(&format!("a/{n}"), start)).collect();
    ledger.granted(&uploads).await.unwrap();
    // The same call, because its outcome was unknown.
    ledger.granted(&uploads).await.unwrap();
    ledger.granted(&[]).await.unwrap();
    assert_eq!(ledger.open_rows().await.unwrap(), 100);
    let at = uploads[0].due_at();
    assert_eq!(at, start + LIFE + MINUTE);
    assert!(due(ledger, at - SECOND).await.is_empty());
    let first = ledger.due(at, 30, VISIBILITY).await.unwrap();
    assert_eq!(first.len(), 30);
    let second = ledger.due(at, 1000, VISIBILITY).await.unwrap();
    assert_eq!(second.len(), 70);
    assert!(due(ledger, at).await.is_empty());
    let found: BTreeSet<_> = first
        .iter()
        .chain(&second)
        .map(|row| &row.upload)
        .map(|row| *row.nonce().as_bytes())
        .collect();
    assert_eq!(found, set(&uploads));
    for row in first.iter().chain(&second) {
        assert!(uploads.contains(&row.upload), "a row comes back unchanged");
        assert_eq!(row.claim.attempts(), 1);
        assert_eq!(row.claim.nonce(), row.upload.nonce());
    }
    assert_eq!(ledger.open_rows().await.unwrap(), 100);
}

async fn a_claim_ends_with_its_visibility(ledger: &impl UploadLedger) {
    let row = upload("a", start());
    ledger.granted(slice::from_ref(&row)).await.unwrap();
    let at = row.due_at();
    let first = due(ledger, at).await.remove(0).claim;
    assert!(due(ledger, at + VISIBILITY - SECOND).await.is_empty());
    let second = due(ledger, at + VISIBILITY).await.remove(0).claim;
    assert_eq!((first.attempts(), second.attempts()), (1, 2));
    assert_ne!(first, second);
    // Without a time-out, the claim still ends the loop.
    let now = at + 10 * MINUTE;
    assert_eq!(
        ledger.due(now, 1000, Duration::ZERO).await.unwrap().len(),
        1
    );
}

async fn lost<T: std::fmt::Debug>(result: Result<T, tower_aliyun_oss::ticket::store::StoreError>) {
    assert_eq!(result.unwrap_err().kind(), StoreErrorKind::LeaseLost);
}

async fn only_the_last_claim_moves_or_removes_a_row(ledger: &impl UploadLedger) {
    let row = upload("a", start());
    ledger.granted(slice::from_ref(&row)).await.unwrap();
    let at = row.due_at();
    let first = due(ledger, at).await.remove(0).claim;
    let at = at + VISIBILITY;
    let second = due(ledger, at).await.remove(0).claim;
    lost(ledger.defer(&first, at, 1).await).await;
    lost(ledger.close(&first, CloseReason::Dropped).await).await;

    // This attempt does not count.
    ledger.defer(&second, at + HOUR, 1).await.unwrap();
    // The same call, because its outcome was unknown.
    ledger.defer(&second, at + HOUR, 1).await.unwrap();
    lost(ledger.defer(&second, at, 1).await).await;
    lost(ledger.defer(&second, at + HOUR, 2).await).await;
    lost(ledger.close(&second, CloseReason::Dropped).await).await;
    assert!(due(ledger, at + HOUR - SECOND).await.is_empty());
    let third = due(ledger, at + HOUR).await.remove(0).claim;
    assert_eq!(third.attempts(), 2);

    ledger.close(&third, CloseReason::DeadLetter).await.unwrap();
    ledger.close(&third, CloseReason::DeadLetter).await.unwrap();
    lost(ledger.defer(&third, at, 1).await).await;
    assert!(due(ledger, row.until()).await.is_empty());
    assert_eq!(ledger.open_rows().await.unwrap(), 0);

    // A claim that was never made.
    let stranger = Claim::new(upload("b", start()).nonce(), 0, 1);
    lost(ledger.defer(&stranger, at, 1).await).await;
    // A row that is not claimed.
    let row = upload("c", start());
    ledger.granted(slice::from_ref(&row)).await.unwrap();
    let stranger = Claim::new(row.nonce(), 0, 1);
    lost(ledger.defer(&stranger, at, 1).await).await;
    lost(ledger.close(&stranger, CloseReason::Dropped).await).await;

    // A row that is deferred beyond its life is due before.
    let claim = due(ledger, row.due_at()).await.remove(0).claim;
    ledger.defer(&claim, row.until() + HOUR, 1).await.unwrap();
    assert_eq!(due(ledger, row.until()).await.len(), 1);
}

async fn a_row_is_removed_with_the_reply(ledger: &impl UploadLedger) {
    let (one, two) = (upload("a", start()), upload("b", start()));
    ledger.granted(&[one.clone(), two.clone()]).await.unwrap();
    let lease = begin(ledger, &one).await.unwrap();
    // The lease of nobody.
    let stranger = Lease::new(&attempt(&two));
    let until = SystemTime::now() + HOUR;
    lost(
        ledger
            .settled(&stranger, &reply(), &settled("b", "E"), until)
            .await,
    )
    .await;
    assert_eq!(ledger.open_rows().await.unwrap(), 2);
    for _ in 0..2 {
        ledger
            .settled(&lease, &reply(), &settled("a", "E"), until)
            .await
            .unwrap();
        assert_eq!(ledger.open_rows().await.unwrap(), 1);
    }
    assert!(begin(ledger, &one).await.is_none(), "the reply is stored");
    assert_eq!(nonces(ledger, one.due_at()).await, set([&two]));

    // The row is claimed meanwhile, and the callback arrives late.
    settle(ledger, &two, "E").await;
    assert!(due(ledger, two.due_at() + HOUR).await.is_empty());

    // A ticket without a row, for another object than its nonce tells.
    let nonce = Nonce::from_bytes([1; 16]);
    let now = SystemTime::now();
    let free = Attempt::new(nonce, [1; 32], UseLimit::Once, now + HOUR, now).unwrap();
    let Begin::Fresh(lease) = ledger.begin(&free).await.unwrap() else {
        panic!("unused")
    };
    for name in ["c", "d", "e"] {
        let done = ledger.settled(&lease, &reply(), &settled(name, "E"), until);
        done.await.unwrap();
        let grants = ledger.object(&bucket(), &object(name), now).await.unwrap();
        assert_eq!(grants.settled, [settled(name, "E")]);
    }
}

async fn a_failure_makes_the_row_due_earlier(ledger: &impl UploadLedger) {
    let row = upload("a", start());
    ledger.granted(slice::from_ref(&row)).await.unwrap();
    let lease = begin(ledger, &row).await.unwrap();
    let at = row.granted_at() + 5 * MINUTE;
    ledger.fail_upload(&lease, at).await.unwrap();
    // Released: the same text begins again.
    let lease = begin(ledger, &row).await.unwrap();
    // Later than it is due already.
    ledger.fail_upload(&lease, at + MINUTE).await.unwrap();
    assert!(due(ledger, at - SECOND).await.is_empty());
    let claim = due(ledger, at).await.remove(0).claim;
    // The claimant defers the row.
    let lease = begin(ledger, &row).await.unwrap();
    ledger.fail_upload(&lease, at + SECOND).await.unwrap();
    assert!(due(ledger, at + SECOND).await.is_empty());
    ledger.defer(&claim, at + HOUR, 0).await.unwrap();
    let lease = begin(ledger, &row).await.unwrap();
    ledger.fail_upload(&lease, at + MINUTE).await.unwrap();
    let claim = due(ledger, at + MINUTE).await.remove(0).claim;
    // An attempt is counted, so a recovery determines the pause.
    ledger.defer(&claim, at + HOUR, 1).await.unwrap();
    let lease = begin(ledger, &row).await.unwrap();
    ledger.fail_upload(&lease, at + 2 * MINUTE).await.unwrap();
    assert!(due(ledger, at + HOUR - SECOND).await.is_empty());
    assert_eq!(due(ledger, at + HOUR).await.len(), 1);
    // Without a row.
    let other = upload("b", start());
    let lease = begin(ledger, &other).await.unwrap();
    ledger.fail_upload(&lease, at).await.unwrap();
    assert!(begin(ledger, &other).await.is_some());
    assert_eq!(ledger.open_rows().await.unwrap(), 1);
}

/// The ledger has room for 64 rows, one in each shard if it has shards.
async fn a_full_ledger_takes_all_or_none_and_evicts_nothing(ledger: &impl UploadLedger) {
    let start = start();
    let mut kept = Vec::new();
    let mut full = 0;
    for n in 0..400 {
        let rows = [
            upload(&format!("a/{n}"), start),
            upload(&format!("b/{n}"), start),
        ];
        match ledger.granted(&rows).await {
            Ok(()) => kept.extend(rows),
            Err(error) => {
                assert_eq!(error.kind(), StoreErrorKind::Full);
                full += 1;
            }
        }
    }
    println!("{} rows of 64, {full} refused", kept.len());
    assert!((2..=64).contains(&kept.len()) && full > 300);
    assert_eq!(ledger.open_rows().await.unwrap(), kept.len() as u64);
    let too_many: Vec<_> = (0..100).map(|n| upload(&format!("c/{n}"), start)).collect();
    let error = ledger.granted(&too_many).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Full);
    assert_eq!(nonces(ledger, start + LIFE + MINUTE).await, set(&kept));
    // Room again.
    for row in &kept {
        settle(ledger, row, "E").await;
    }
    assert_eq!(ledger.open_rows().await.unwrap(), 0);
    ledger.granted(&[upload("d", start)]).await.unwrap();
}

async fn the_newest_grant_before_the_object_owns_it(ledger: &impl UploadLedger) {
    let start = start();
    let [first, second] = [0, 100].map(|n| upload("a", start + n * SECOND));
    ledger
        .granted(&[second.clone(), first.clone(), upload("b", start)])
        .await
        .unwrap();
    let owner = async |stored| {
        let grants = ledger
            .object(&bucket(), &object("a"), stored)
            .await
            .unwrap();
        assert_eq!(grants.open, 2);
        grants.owner
    };
    assert_eq!(owner(start - SECOND).await, None);
    // Granted and stored within the same second.
    assert_eq!(owner(start).await, Some(first.nonce()));
    assert_eq!(owner(start + 99 * SECOND).await, Some(first.nonce()));
    assert_eq!(owner(start + 100 * SECOND).await, Some(second.nonce()));
    assert_eq!(owner(start + HOUR).await, Some(second.nonce()));
    settle(ledger, &second, "E").await;
    let grants = ledger
        .object(&bucket(), &object("a"), start + HOUR)
        .await
        .unwrap();
    assert_eq!((grants.owner, grants.open), (Some(first.nonce()), 1));
    assert!(grants.has_settled(Some("e"), None) && !grants.has_settled(Some("f"), None));
    let other: Bucket = "otherbucket".parse().unwrap();
    let grants = ledger
        .object(&other, &object("a"), start + HOUR)
        .await
        .unwrap();
    assert_eq!(
        grants,
        tower_aliyun_oss::ticket::ledger::ObjectGrants::default()
    );
}

async fn settled_objects_are_remembered(ledger: &impl UploadLedger) {
    let start = start();
    let rows: Vec<_> = (0..20).map(|_| upload("a", start)).collect();
    ledger.granted(&rows).await.unwrap();
    for (n, row) in rows.iter().enumerate() {
        let lease = begin(ledger, row).await.unwrap();
        // Whatever a holder of a ticket had signed.
        let etag = format!("{n}\n\"\u{e9}");
        let object = settled("a", &etag).with_version_id(&format!("v{n}"));
        let until = SystemTime::now() + HOUR;
        let done = ledger.settled(&lease, &reply(), &object, until);
        done.await.unwrap();
    }
    let grants = ledger.object(&bucket(), &object("a"), start).await.unwrap();
    let expected = (4..20)
        .rev()
        .map(|n| settled("a", &format!("{n}\n\"\u{e9}")).with_version_id(&format!("v{n}")));
    assert_eq!(grants.settled, expected.collect::<Vec<_>>());
    assert!(grants.has_settled(Some("other"), Some("v19")));
    assert!(!grants.has_settled(Some("other"), Some("v3")));
}

async fn expired_rows_are_freed(ledger: &impl UploadLedger) {
    let start = start();
    let row = upload("a", start);
    ledger.granted(slice::from_ref(&row)).await.unwrap();
    settle(ledger, &upload("b", start), "E").await;
    assert_eq!(due(ledger, row.until()).await.len(), 1);
    // Expired, and kept for a recovery.
    assert_eq!(due(ledger, row.until() + HOUR).await.len(), 1);
    let claim = due(ledger, row.freed_at() - HOUR).await.remove(0).claim;
    ledger
        .defer(&claim, row.freed_at() + HOUR, 1)
        .await
        .unwrap();
    assert_eq!(due(ledger, row.freed_at()).await.len(), 1);
    let after = row.freed_at() + SECOND;
    assert!(due(ledger, after).await.is_empty());
    assert_eq!(ledger.open_rows().await.unwrap(), 0);
    let found = ledger.object(&bucket(), &object("b"), after).await.unwrap();
    assert!(found.settled.is_empty(), "forgotten, too");
    // Without a recovery, a full ledger takes new rows once the old ones have expired.
    let mut names = Vec::new();
    for n in 0..400 {
        let name = format!("c/{n}");
        if ledger.granted(&[upload(&name, start)]).await.is_ok() {
            names.push(name);
        }
    }
    assert!(names.len() > 20, "{}", names.len());
    for name in &names {
        ledger.granted(&[upload(name, after)]).await.unwrap();
    }
    assert_eq!(ledger.open_rows().await.unwrap(), names.len() as u64);
}

/// A pass that defers a row does not find it again, whatever is left of the life of the row.
async fn a_row_near_its_end_is_deferred(ledger: &impl UploadLedger) {
    let row = upload("a", start());
    ledger.granted(slice::from_ref(&row)).await.unwrap();
    let times = [
        row.until() - 10 * SECOND,
        row.until() + 5 * MINUTE,
        row.until() + HOUR,
        row.freed_at() - HOUR,
    ];
    for at in times {
        let claim = due(ledger, at).await.remove(0).claim;
        for _ in 0..2 {
            ledger.defer(&claim, at + MINUTE, 0).await.unwrap();
            assert!(due(ledger, at).await.is_empty());
            assert!(due(ledger, at + MINUTE - SECOND).await.is_empty());
        }
        let claim = due(ledger, at + MINUTE).await.remove(0).claim;
        assert_eq!(claim.attempts(), 1);
        ledger.defer(&claim, at + MINUTE, 0).await.unwrap();
    }
    // Not beyond its end.
    let at = row.freed_at() - MINUTE;
    let claim = due(ledger, at).await.remove(0).claim;
    ledger.defer(&claim, at + HOUR, 0).await.unwrap();
    assert_eq!(due(ledger, row.freed_at()).await.len(), 1);
}

/// A step of the comparison with a model.
#[derive(Clone, Debug)]
pub enum Step {
    Wait(u64),
    Grant {
        key: u8,
        life: u64,
    },
    Settle {
        which: usize,
        etag: u8,
    },
    Fail {
        which: usize,
        after: u64,
    },
    Due {
        limit: usize,
    },
    Defer {
        which: usize,
        after: u64,
        attempts: u32,
    },
    Close {
        which: usize,
    },
    Look {
        key: u8,
        before: u64,
    },
}

pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    let which = 0..1000_usize;
    let step = prop_oneof![
        4 => (1..4000_u64).prop_map(Step::Wait),
        4 => (0..3_u8, 1..7200_u64).prop_map(|(key, life)| Step::Grant { key, life }),
        2 => (which.clone(), 0..3_u8).prop_map(|(which, etag)| Step::Settle { which, etag }),
        2 => (which.clone(), 1..7200_u64).prop_map(|(which, after)| Step::Fail { which, after }),
        4 => prop::sample::select(vec![1, 2, 1000]).prop_map(|limit| Step::Due { limit }),
        2 => (which.clone(), 1..7200_u64, 0..5_u32)
            .prop_map(|(which, after, attempts)| Step::Defer { which, after, attempts }),
        1 => which.prop_map(|which| Step::Close { which }),
        2 => (0..3_u8, 0..9000_u64).prop_map(|(key, before)| Step::Look { key, before }),
    ];
    prop::collection::vec(step, 1..60)
}

struct Row {
    upload: GrantedUpload,
    due: SystemTime,
    attempts: u32,
    claim: Option<Claim>,
}

/// Compares a ledger with lists that are searched from end to end.
pub async fn behaves_like_lists(ledger: &impl UploadLedger, steps: &[Step]) {
    let mut now = start();
    let names = ["a", "b", "c"];
    let mut granted: Vec<GrantedUpload> = Vec::new();
    let mut rows: Vec<Row> = Vec::new();
    let mut claims: Vec<Claim> = Vec::new();
    let mut settled_objects: BTreeMap<&str, Vec<SettledObject>> = BTreeMap::new();
    for (at, step) in steps.iter().enumerate() {
        match step {
            Step::Wait(seconds) => now += Duration::from_secs(*seconds),
            Step::Grant { key, life } => {
                let template = upload(names[usize::from(*key)], now);
                let made = GrantedUpload::new(
                    template.nonce(),
                    bucket(),
                    template.key().clone(),
                    now,
                    now + Duration::from_secs(*life),
                    template.call().clone(),
                );
                ledger.granted(slice::from_ref(&made)).await.unwrap();
                granted.push(made.clone());
                rows.push(Row {
                    due: made.due_at(),
                    upload: made,
                    attempts: 0,
                    claim: None,
                });
            }
            Step::Settle { which, etag } if !granted.is_empty() => {
                let one = &granted[which % granted.len()];
                let Some(lease) = begin(ledger, one).await else {
                    continue;
                };
                let key = names.into_iter().find(|name| *name == one.key().as_str());
                let object = settled(key.unwrap(), &etag.to_string());
                let until = now + 100 * HOUR;
                let done = ledger.settled(&lease, &reply(), &object, until);
                done.await.unwrap();
                rows.retain(|row| row.upload.nonce() != one.nonce());
                let known = settled_objects.entry(key.unwrap()).or_default();
                known.retain(|other| *other != object);
                known.insert(0, object);
            }
            Step::Fail { which, after } if !granted.is_empty() => {
                let one = &granted[which % granted.len()];
                let Some(lease) = begin(ledger, one).await else {
                    continue;
                };
                let due = now + Duration::from_secs(*after);
                ledger.fail_upload(&lease, due).await.unwrap();
                let row = rows
                    .iter_mut()
                    .find(|row| row.upload.nonce() == one.nonce());
                let row = row.filter(|row| row.claim.is_none() && row.attempts == 0);
                if let Some(row) = row {
                    row.due = row.due.min(due);
                }
            }
            Step::Due { limit } => {
                let found = ledger.due(now, *limit, VISIBILITY).await.unwrap();
                let expected = rows.iter().filter(|row| row.due <= now).count();
                assert_eq!(found.len(), expected.min(*limit), "step {at}");
                for DueUpload { upload, claim, .. } in found {
                    let row = rows.iter_mut().find(|row| row.upload == upload);
                    let row = row.expect("it is open");
                    assert!(row.due <= now, "step {at}");
                    row.due = now + VISIBILITY;
                    row.attempts += 1;
                    assert_eq!(claim.attempts(), row.attempts, "step {at}");
                    row.claim = Some(claim);
                    claims.push(claim);
                }
            }
            Step::Defer {
                which,
                after,
                attempts,
            } if !claims.is_empty() => {
                let claim = claims[which % claims.len()];
                let due = now + Duration::from_secs(*after);
                let deferred = ledger.defer(&claim, due, *attempts).await;
                let is_repeated = rows.iter().any(|row| {
                    let state = (row.upload.nonce(), row.claim, row.due, row.attempts);
                    state == (claim.nonce(), None, due, *attempts)
                });
                let row = rows.iter_mut().find(|row| row.claim == Some(claim));
                assert_eq!(deferred.is_ok(), row.is_some() || is_repeated, "step {at}");
                if let Some(row) = row {
                    (row.due, row.attempts, row.claim) = (due, *attempts, None);
                }
            }
            Step::Close { which } if !claims.is_empty() => {
                let claim = claims[which % claims.len()];
                let closed = ledger.close(&claim, CloseReason::Dropped).await;
                let open = rows
                    .iter()
                    .position(|row| row.upload.nonce() == claim.nonce());
                match open {
                    None => closed.unwrap(),
                    Some(open) if rows[open].claim == Some(claim) => {
                        closed.unwrap();
                        rows.remove(open);
                    }
                    Some(_) => lost(closed).await,
                }
            }
            Step::Look { key, before } => {
                let name = names[usize::from(*key)];
                let stored = now - Duration::from_secs(*before);
                let found = ledger
                    .object(&bucket(), &object(name), stored)
                    .await
                    .unwrap();
                let mut of_key: Vec<_> = rows
                    .iter()
                    .map(|row| &row.upload)
                    .filter(|upload| upload.key().as_str() == name)
                    .map(|upload| (upload.granted_at(), *upload.nonce().as_bytes()))
                    .collect();
                assert_eq!(found.open, of_key.len() as u64, "step {at}");
                of_key.retain(|(granted, _)| *granted <= stored);
                let owner = of_key
                    .iter()
                    .max()
                    .map(|(_, nonce)| Nonce::from_bytes(*nonce));
                assert_eq!(found.owner, owner, "step {at}");
                let known = settled_objects.get(name).cloned().unwrap_or_default();
                assert_eq!(found.settled, known, "step {at}");
            }
            _ => {}
        }
        assert_eq!(
            ledger.open_rows().await.unwrap(),
            rows.len() as u64,
            "step {at}"
        );
    }
}
