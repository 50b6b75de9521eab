//! Tests the ledger of granted uploads with a real Redis.

#[path = "../../../tests/integration/support/ledger.rs"]
mod support;

use std::{
    collections::HashSet,
    num::NonZeroU8,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::TestRunner,
};
use redis::{
    Cmd, Pipeline, RedisFuture, Value,
    aio::{ConnectionLike, MultiplexedConnection},
};
use support::*;
use tokio::{sync::Semaphore, task::JoinSet};
use tower_aliyun_oss::{
    protocol::CallbackBodyType,
    ticket::{
        RedisStore,
        ledger::{CallbackCall, CloseReason, GrantedUpload, UploadLedger as _},
        store::{Begin, ReplayStore as _, StoreErrorKind},
    },
};

use crate::server::{DURABLE, FORGETFUL, Redis};

#[ignore = "needs redis-server"]
#[tokio::test]
async fn lg_01_the_ledger_in_redis_conforms() {
    let redis = Redis::start(FORGETFUL);
    conforms(async |rows| {
        redis.command(&["FLUSHALL"]);
        redis.store().ledger_capacity(rows as u64)
    })
    .await;
}

/// Other steps in each run; a failure prints them.
#[ignore = "needs redis-server"]
#[tokio::test]
async fn lg_02_the_ledger_in_redis_behaves_like_lists() {
    let redis = Redis::start(FORGETFUL);
    let ledger = redis.store();
    let mut runner = TestRunner::default();
    for _ in 0..60 {
        redis.command(&["FLUSHALL"]);
        let steps = steps().new_tree(&mut runner).unwrap().current();
        println!("{steps:?}");
        behaves_like_lists(&ledger, &steps).await;
    }
}

fn keys_of(redis: &Redis) -> Vec<String> {
    let Value::Array(keys) = redis.command(&["KEYS", "*"]) else {
        panic!("no keys")
    };
    let text = |key: &Value| redis::from_redis_value_ref::<String>(key).unwrap();
    keys.iter().map(text).collect()
}

/// A row of this object.
pub(crate) fn row(name: &str) -> GrantedUpload {
    upload(name, start())
}

fn number(value: Value) -> i64 {
    redis::from_redis_value(value).unwrap()
}

/// Each key expires, and all keys of an upload have one hash tag.
#[ignore = "needs redis-server"]
#[tokio::test]
async fn lg_03_every_key_expires_and_has_the_tag_of_the_object() {
    let redis = Redis::start(FORGETFUL);
    let ledger = redis.store();
    let rows = [upload("a", start()), upload("a", start())];
    ledger.granted(&rows).await.unwrap();
    let claimed = due(&ledger, rows[0].due_at()).await;
    assert_eq!(claimed.len(), 2);
    let lease = begin(&ledger, &rows[0]).await.unwrap();
    let day = Duration::from_secs(24 * 60 * 60);
    let ticket = || {
        let is_ticket = |key: &String| key.starts_with("oss-ticket:") && !key.ends_with("leases");
        let keys = keys_of(&redis).into_iter().find(is_ticket).unwrap();
        Duration::from_millis(number(redis.command(&["PTTL", &keys])) as u64)
    };
    // As long as the row: seven days after it is due.
    let left = rows[0].until().duration_since(SystemTime::now()).unwrap();
    assert!(
        ticket() >= left && ticket() < left + 2 * HOUR,
        "{:?}",
        ticket()
    );
    let until = SystemTime::now() + HOUR;
    let done = ledger.settled(&lease, &reply(), &settled("a", "E"), until);
    done.await.unwrap();
    // Not any more: the row is gone.
    assert!(ticket() > HOUR && ticket() <= 2 * HOUR, "{:?}", ticket());
    let keys = keys_of(&redis);
    assert!(keys.len() >= 8, "{keys:?}");
    let tag = |key: &str| key.split(['{', '}']).nth(1).unwrap().to_owned();
    for key in &keys {
        assert_eq!(tag(key), tag(&keys[0]), "{keys:?}");
        let left = number(redis.command(&["PTTL", key]));
        let bound = (40 * day).as_millis() as i64;
        assert!((1..bound).contains(&left), "{key}: {left}");
    }
}

const HOUR: Duration = Duration::from_secs(3600);

/// A row as a service with the standard body issues it: 20 fields, a ticket of 400 characters, and
/// a key with a UUID.
fn typical(n: usize) -> GrantedUpload {
    let key = format!("user/7/01900000-0000-7000-8000-{n:012}.jpg");
    let row = upload(&key, start());
    let fields = [
        "bucket",
        "object",
        "etag",
        "size",
        "mimeType",
        "imageInfo.height",
        "imageInfo.width",
        "imageInfo.format",
        "crc64",
        "contentMd5",
        "vpcId",
        "clientIp",
        "reqId",
        "operation",
    ];
    let mut template: String = fields.map(|name| format!("{name}=${{{name}}}&")).concat();
    template.push_str(&format!("x:ticket={}", "A".repeat(400)));
    let call = CallbackCall::new(
        "/oss/callback",
        "app.example",
        CallbackBodyType::Form,
        &template,
    );
    let (at, end) = (row.granted_at(), row.expires());
    GrantedUpload::new(row.nonce(), bucket(), object(&key), at, end, call)
}

/// The memory that the guide states.
#[ignore = "needs redis-server"]
#[tokio::test]
async fn lg_04_a_row_takes_the_stated_memory() {
    const ROWS: usize = 20_000;
    let redis = Redis::start(FORGETFUL);
    let ledger = redis.store();
    let used = || {
        let Value::BulkString(info) = redis.command(&["INFO", "memory"]) else {
            panic!("no statistics")
        };
        let info = String::from_utf8(info).unwrap();
        let line = info.lines().find(|line| line.starts_with("used_memory:"));
        line.unwrap()["used_memory:".len()..]
            .parse::<usize>()
            .unwrap()
    };
    let rows: Vec<_> = (0..ROWS).map(typical).collect();
    let serialized = rows[0].to_bytes().unwrap().len();
    let before = used();
    for batch in rows.chunks(100) {
        ledger.granted(batch).await.unwrap();
    }
    let open = (used() - before) / ROWS;
    for row in &rows {
        settle(&ledger, row, "D41D8CD98F00B204E9800998ECF8427E").await;
    }
    let settled = (used() - before) / ROWS;
    println!("a row: {serialized} bytes; open {open} bytes in Redis, settled {settled} bytes");
    assert!(open <= serialized + 700, "{open}");
    assert!(settled <= 600, "{settled}");
}

/// A full Redis refuses new rows, and still settles those that it has.
#[ignore = "needs redis-server"]
#[tokio::test]
async fn lg_05_a_full_redis_refuses_grants_and_settles() {
    let redis = Redis::start(FORGETFUL);
    let ledger = redis.store();
    let rows = [upload("a", start()), upload("b", start())];
    ledger.granted(&rows).await.unwrap();
    let lease = begin(&ledger, &rows[0]).await.unwrap();
    let claim = due(&ledger, rows[0].due_at()).await.remove(0).claim;
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let full = ledger.granted(&[upload("c", start())]).await.unwrap_err();
    assert_eq!(full.kind(), StoreErrorKind::Full);
    let until = SystemTime::now() + HOUR;
    let done = ledger.settled(&lease, &reply(), &settled("a", "E"), until);
    done.await.unwrap();
    if claim.nonce() == rows[1].nonce() {
        ledger
            .defer(&claim, rows[1].due_at() + HOUR, 1)
            .await
            .unwrap();
    }
    let left = due(&ledger, rows[1].due_at() + 2 * HOUR).await.remove(0);
    assert_eq!(left.upload, rows[1]);
    ledger
        .close(&left.claim, CloseReason::Dropped)
        .await
        .unwrap();
    assert_eq!(ledger.open_rows().await.unwrap(), 0);
    redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
    ledger.granted(&[upload("c", start())]).await.unwrap();
}

/// What something else wrote neither stops the others nor panics.
#[ignore = "needs redis-server"]
#[tokio::test]
async fn lg_06_a_row_that_cannot_be_read_does_not_stop_the_others() {
    let redis = Redis::start(FORGETFUL);
    let ledger = redis.store();
    let rows = [upload("a", start()), upload("a", start())];
    ledger.granted(&rows).await.unwrap();
    let key = keys_of(&redis)
        .into_iter()
        .find(|key| key.ends_with(":rows"));
    let script = "local n = redis.call('HKEYS', KEYS[1])[1] \
                  redis.call('HSET', KEYS[1], n, string.rep('x', 40))";
    redis.command(&["EVAL", script, "1", &key.unwrap()]);
    let found = due(&ledger, rows[0].due_at()).await;
    assert_eq!(found.len(), 1);
    assert!(rows.contains(&found[0].upload));
}

/// A nonce that was not made for the object would put its row into another shard.
#[ignore = "needs redis-server"]
#[tokio::test]
async fn lg_07_a_nonce_of_another_object_is_refused() {
    let redis = Redis::start(FORGETFUL);
    let ledger = redis.store();
    let row = upload("a", start());
    let mut bytes = *row.nonce().as_bytes();
    bytes[0] ^= 1;
    let nonce = tower_aliyun_oss::ticket::store::Nonce::from_bytes(bytes);
    let (at, end) = (row.granted_at(), row.expires());
    let wrong = GrantedUpload::new(nonce, bucket(), object("a"), at, end, row.call().clone());
    let refused = ledger.granted(&[row, wrong]).await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Refused);
    assert_eq!(ledger.open_rows().await.unwrap(), 0);
}

/// Four instances claim and settle at once. Each row is claimed once, and each is settled.
#[ignore = "needs redis-server"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lg_08_instances_share_the_rows() {
    const ROWS: usize = 2_000;
    let redis = Redis::start(FORGETFUL);
    let start = start();
    let rows: Vec<_> = (0..ROWS)
        .map(|n| upload(&format!("a/{n}"), start))
        .collect();
    for batch in rows.chunks(100) {
        redis.store().granted(batch).await.unwrap();
    }
    let at = rows[0].due_at();
    let mut tasks = JoinSet::new();
    for _ in 0..4 {
        let ledger = redis.store();
        tasks.spawn(async move {
            let mut seen = Vec::new();
            loop {
                let batch = ledger.due(at, 50, HOUR).await.unwrap();
                if batch.is_empty() {
                    return seen;
                }
                for row in batch {
                    settle(&ledger, &row.upload, "E").await;
                    seen.push(*row.upload.nonce().as_bytes());
                }
            }
        });
    }
    let shares = tasks.join_all().await;
    println!("{:?}", shares.iter().map(Vec::len).collect::<Vec<_>>());
    let all: HashSet<_> = shares.iter().flatten().collect();
    assert_eq!((all.len(), shares.iter().map(Vec::len).sum()), (ROWS, ROWS));
    assert_eq!(redis.store().open_rows().await.unwrap(), 0);
}

/// Kills Redis with SIGKILL while instances grant and settle. What was confirmed is there, and a
/// stored reply and an open row never exist together.
#[ignore = "needs redis-server"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lg_09_redis_killed_in_the_middle_loses_no_row() {
    let mut redis = Redis::start(DURABLE);
    let confirmed = Arc::new(Semaphore::new(0));
    let mut tasks = JoinSet::new();
    for instance in 0..4 {
        let ledger = redis.store().timeout(Duration::from_secs(2));
        let confirmed = Arc::clone(&confirmed);
        tasks.spawn(async move {
            let (mut granted, mut settled_rows, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
            for n in 0..100_000 {
                // Batches are in several shards, so some of them are half done.
                let batch: Vec<_> = (0..3)
                    .map(|part| upload(&format!("{instance}/{n}/{part}"), start()))
                    .collect();
                if ledger.granted(&batch).await.is_err() {
                    break;
                }
                confirmed.add_permits(1);
                let [first, rest @ ..] = &batch[..] else {
                    panic!("three")
                };
                granted.extend(rest.iter().cloned());
                let begun = ledger.begin(&attempt(first)).await;
                let Ok(Begin::Fresh(lease)) = begun else {
                    granted.push(first.clone());
                    break;
                };
                let until = SystemTime::now() + HOUR;
                let object = settled(first.key().as_str(), "E");
                match ledger.settled(&lease, &reply(), &object, until).await {
                    Ok(()) => settled_rows.push(first.clone()),
                    Err(_) => {
                        unknown.push(first.clone());
                        break;
                    }
                }
            }
            (granted, settled_rows, unknown)
        });
    }
    drop(confirmed.acquire_many(300).await.unwrap());
    redis.kill();
    let outcomes = tasks.join_all().await;
    redis.restart();
    let ledger: RedisStore = redis.store();
    let found = ledger
        .due(start() + 3 * HOUR, 1_000_000, MINUTE)
        .await
        .unwrap();
    let open: HashSet<_> = found
        .iter()
        .map(|row| *row.upload.nonce().as_bytes())
        .collect();
    let (mut kept, mut done) = (0, 0);
    for (granted, settled_rows, unknown) in outcomes {
        for row in &granted {
            assert!(
                open.contains(row.nonce().as_bytes()),
                "a granted row is lost"
            );
            kept += 1;
        }
        for row in &settled_rows {
            assert!(!open.contains(row.nonce().as_bytes()), "settled, and open");
            assert!(begin(&ledger, row).await.is_none(), "the reply is lost");
            done += 1;
        }
        for row in &unknown {
            // Both or neither: one script.
            let stored = match ledger.begin(&attempt(row)).await.unwrap() {
                Begin::Stored(_) => true,
                Begin::Running(_) => false,
                other => panic!("{other:?}"),
            };
            assert_ne!(stored, open.contains(row.nonce().as_bytes()));
        }
    }
    println!("{kept} open rows, {done} settled, {} found", found.len());
    assert!(kept > 100 && done > 50);
}

/// A connection that breaks once, after Redis has claimed rows and before their response arrives.
#[derive(Clone)]
struct Breaking {
    connection: MultiplexedConnection,
    /// The responses that were lost, or `None` while none is to be lost.
    lost: Arc<Mutex<Option<Vec<Value>>>>,
}

impl ConnectionLike for Breaking {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            let response = self.connection.req_packed_command(command).await?;
            let mut lost = self.lost.lock().unwrap();
            let has_rows = matches!(
                &response,
                Value::Array(parts) if matches!(&parts[..], [_, Value::Array(rows)] if !rows.is_empty())
            );
            if let Some(lost) = &mut *lost
                && lost.is_empty()
                && has_rows
            {
                lost.push(response);
                return Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset).into());
            }
            Ok(response)
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        commands: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        self.connection.req_packed_commands(commands, offset, count)
    }

    fn get_db(&self) -> i64 {
        self.connection.get_db()
    }
}

/// The store repeats a call that fails with its connection.
#[ignore = "needs redis-server"]
#[tokio::test]
async fn lg_22_rows_whose_response_is_lost_are_claimed_nevertheless() {
    let redis = Redis::start(FORGETFUL);
    let client = redis::Client::open(redis.url()).unwrap();
    let lost = Arc::<Mutex<Option<Vec<Value>>>>::default();
    let connection = Breaking {
        connection: client.get_multiplexed_async_connection().await.unwrap(),
        lost: Arc::clone(&lost),
    };
    let ledger = RedisStore::with_connection(connection);
    let rows: Vec<_> = (0..5).map(|_| upload("a", start())).collect();
    ledger.granted(&rows).await.unwrap();
    let at = rows[0].due_at();
    // Rows of the same shard that another process has claimed until the same time.
    let others = redis.store().due(at, 2, MINUTE).await.unwrap();
    assert_eq!(others.len(), 2);
    *lost.lock().unwrap() = Some(Vec::new());
    let found = ledger.due(at, 10, MINUTE).await.unwrap();
    assert_eq!(lost.lock().unwrap().as_ref().unwrap().len(), 1);
    assert_eq!(found.len(), 3);
    for row in &found {
        assert_eq!(row.claim.attempts(), 1);
        assert!(others.iter().all(|other| other.upload != row.upload));
    }
    // The claims are those of the caller.
    for row in found {
        ledger
            .close(&row.claim, CloseReason::Dropped)
            .await
            .unwrap();
    }
    assert_eq!(ledger.open_rows().await.unwrap(), 2);
}

/// Redis is killed, and later stopped: each call fails in time, and works again afterwards.
#[ignore = "needs redis-server"]
#[tokio::test]
async fn lg_10_a_ledger_that_is_down_is_an_error_in_time() {
    let mut redis = Redis::start(DURABLE);
    let ledger = redis.store().timeout(Duration::from_millis(500));
    ledger.granted(&[upload("a", start())]).await.unwrap();
    redis.kill();
    let error = ledger.granted(&[upload("b", start())]).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    let error = ledger.due(start(), 10, MINUTE).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    redis.restart();
    redis.stop();
    let error = ledger.granted(&[upload("b", start())]).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::TimedOut);
    redis.go_on();
    assert!(ledger.open_rows().await.unwrap() >= 1);
}

/// Redis claims the rows, and no replica confirms it.
#[ignore = "needs redis-server"]
#[tokio::test]
async fn rv_38_claims_that_nobody_has_use_up_no_attempt() {
    let redis = Redis::start(FORGETFUL);
    let ledger = redis.store();
    // In every shard.
    let rows: Vec<_> = (0..500)
        .map(|n| upload(&format!("a/{n}"), start()))
        .collect();
    ledger.granted(&rows).await.unwrap();
    let at = rows[0].due_at();
    let others = ledger.due(at, 100, MINUTE).await.unwrap();
    assert_eq!(others.len(), 100);
    let without_replicas = redis
        .store()
        .timeout(Duration::from_millis(500))
        .wait_for_replicas(NonZeroU8::MIN);
    // Each call fails in another shard.
    for _ in 0..5 {
        let failed = without_replicas.due(at, 100, MINUTE).await.unwrap_err();
        assert_eq!(failed.kind(), StoreErrorKind::NotReplicated);
    }
    let found = ledger.due(at, 1000, MINUTE).await.unwrap();
    assert_eq!(found.len(), 400);
    for row in &found {
        assert_eq!(row.claim.attempts(), 1);
        assert!(others.iter().all(|other| other.upload != row.upload));
    }
    // Nothing else was taken back.
    for row in found.iter().chain(&others) {
        ledger
            .close(&row.claim, CloseReason::Dropped)
            .await
            .unwrap();
    }
    assert_eq!(ledger.open_rows().await.unwrap(), 0);
}
