//! Tests the store of redeemed tickets with a real Redis.

use std::{
    net::{Ipv4Addr, TcpListener},
    num::NonZeroU16,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime},
};

use http::{HeaderValue, StatusCode};
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};
use tower_aliyun_oss::ticket::{
    RedisStore,
    store::{
        Attempt, Begin, Lease, Nonce, ReplayStore as _, StoreError, StoreErrorKind, StoredReply,
        UseLimit,
    },
};

use crate::server::{DEBUGGED, DURABLE, FORGETFUL, Redis};

const MINUTE: Duration = Duration::from_secs(60);

fn attempt(nonce: u8, text: u8, limit: UseLimit) -> Attempt {
    let now = SystemTime::now();
    Attempt::new(
        Nonce::from_bytes([nonce; 16]),
        [text; 32],
        limit,
        now + 5 * MINUTE,
        now,
    )
    .unwrap()
    .lease(5 * MINUTE)
}

/// The key of the ticket with the nonce of [`attempt`]: the shard is a part of the first byte.
fn ticket_key(nonce: u8) -> String {
    let bytes = format!("{nonce:02x}").repeat(16);
    format!("oss-ticket:{{{:02x}}}:{bytes}", nonce % 64)
}

fn once(nonce: u8, text: u8) -> Attempt {
    attempt(nonce, text, UseLimit::Once)
}

fn up_to(max: u16, nonce: u8, text: u8) -> Attempt {
    let max = NonZeroU16::new(max).unwrap();
    attempt(nonce, text, UseLimit::Texts(max))
}

fn reply(text: &str) -> StoredReply {
    let json = HeaderValue::from_static("application/json");
    StoredReply::new(StatusCode::OK, Some(json), text.to_owned()).unwrap()
}

async fn begin(store: &RedisStore, attempt: &Attempt) -> Result<Begin, StoreError> {
    store.begin(attempt).await
}

async fn fresh(store: &RedisStore, attempt: &Attempt) -> Lease {
    match begin(store, attempt).await {
        Ok(Begin::Fresh(lease)) => lease,
        other => panic!("not fresh: {other:?}"),
    }
}

async fn stored(store: &RedisStore, attempt: &Attempt) -> StoredReply {
    match begin(store, attempt).await {
        Ok(Begin::Stored(reply)) => reply,
        other => panic!("not stored: {other:?}"),
    }
}

async fn finish(store: &RedisStore, lease: &Lease, text: &str) -> Result<(), StoreErrorKind> {
    let finished = store.finish(lease, &reply(text)).await;
    finished.map_err(|error| error.kind())
}

async fn abandon(store: &RedisStore, lease: &Lease) {
    store.abandon(lease).await.unwrap();
}

/// Repeats an attempt until the text is no longer running.
async fn settled(store: &RedisStore, mut attempt: Attempt) -> Begin {
    for _ in 0..400 {
        match begin(store, &attempt).await.unwrap() {
            Begin::Running(wait) => wait.await,
            settled => return settled,
        }
        attempt = attempt.again(SystemTime::now());
    }
    panic!("still running")
}

/// Makes a thousand concurrent attempts and returns how many of them got the lease.
async fn a_thousand_at_once(stores: &[RedisStore]) -> usize {
    let mut tasks = JoinSet::new();
    for n in 0..1000 {
        let store = stores[n % stores.len()].clone();
        tasks.spawn(async move {
            match settled(&store, once(1, 1)).await {
                Begin::Fresh(lease) => {
                    finish(&store, &lease, "[1]").await.unwrap();
                    true
                }
                Begin::Stored(answer) => {
                    assert_eq!(answer, reply("[1]"));
                    false
                }
                other => panic!("{other:?}"),
            }
        });
    }
    let ran = tasks.join_all().await;
    ran.into_iter().filter(|ran| *ran).count()
}

#[ignore = "needs redis-server"]
#[tokio::test]
async fn rp_04_the_same_ticket_twice() {
    let redis = Redis::start(FORGETFUL);
    let (one, two) = (redis.store(), redis.store());
    let lease = fresh(&one, &once(1, 1)).await;
    assert!(matches!(
        begin(&two, &once(1, 1)).await,
        Ok(Begin::Running(_))
    ));
    assert!(matches!(
        begin(&two, &once(1, 2)).await,
        Ok(Begin::OtherText)
    ));
    finish(&one, &lease, "{}").await.unwrap();
    assert_eq!(stored(&two, &once(1, 1)).await, reply("{}"));
    assert!(matches!(
        begin(&two, &once(1, 2)).await,
        Ok(Begin::OtherText)
    ));
    // A second `finish` and a late `abandon` have no effect.
    finish(&one, &lease, "[]").await.unwrap();
    abandon(&one, &lease).await;
    assert_eq!(stored(&two, &once(1, 1)).await, reply("{}"));

    // The largest reply.
    let lease = fresh(&one, &once(2, 1)).await;
    let largest = "x".repeat(StoredReply::MAX_BODY_LEN);
    finish(&one, &lease, &largest).await.unwrap();
    assert_eq!(stored(&two, &once(2, 1)).await, reply(&largest));
}

#[ignore = "needs redis-server"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rp_04_a_thousand_at_once_on_one_instance() {
    let redis = Redis::start(FORGETFUL);
    assert_eq!(a_thousand_at_once(&[redis.store()]).await, 1);
}

#[ignore = "needs redis-server"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rp_04_a_thousand_at_once_on_three_instances() {
    let redis = Redis::start(FORGETFUL);
    let stores = [redis.store(), redis.store(), redis.store()];
    assert_eq!(a_thousand_at_once(&stores).await, 1);
}

#[ignore = "needs redis-server"]
#[tokio::test]
async fn co_08_refusals_are_counted_apart_from_starts() {
    let redis = Redis::start(FORGETFUL);
    let stores = [redis.store(), redis.store()];
    let attempts: [fn(u8, u8) -> Attempt; 2] = [
        |nonce, text| up_to(2, nonce, text).starts(2),
        |nonce, text| up_to(2, nonce, text).at_most_once(),
    ];
    for (nonce, attempt) in (1..).zip(attempts) {
        for text in 0..Attempt::MAX_REFUSALS {
            let lease = fresh(&stores[0], &attempt(nonce, text)).await;
            stores[1].refuse(&lease).await.unwrap();
            // Repeated calls count once.
            stores[0].refuse(&lease).await.unwrap();
        }
        for first in [true, false] {
            let spent = begin(&stores[1], &attempt(nonce, 99)).await.unwrap();
            assert!(matches!(spent, Begin::Spent { first: told } if told == first));
        }
    }
    // A text that has finished still gets its reply.
    let lease = fresh(&stores[0], &once(9, 1)).await;
    stores[0].refuse(&lease).await.unwrap();
    let lease = fresh(&stores[0], &once(9, 1)).await;
    finish(&stores[0], &lease, "{}").await.unwrap();
    stores[0].refuse(&lease).await.unwrap();
    assert_eq!(stored(&stores[1], &once(9, 1)).await, reply("{}"));
}

#[ignore = "needs redis-server"]
#[tokio::test]
async fn rp_04_a_prefix_takes_each_text_once_and_so_many() {
    let redis = Redis::start(FORGETFUL);
    let store = redis.store();
    for text in 1..=3 {
        let lease = fresh(&store, &up_to(3, 1, text)).await;
        finish(&store, &lease, &text.to_string()).await.unwrap();
    }
    let fourth = begin(&store, &up_to(3, 1, 4)).await;
    assert!(matches!(fourth, Ok(Begin::Exhausted)));
    for text in 1..=3 {
        let answer = stored(&store, &up_to(3, 1, text)).await;
        assert_eq!(answer, reply(&text.to_string()));
    }
    fresh(&store, &up_to(3, 2, 4)).await;
}

#[ignore = "needs redis-server"]
#[tokio::test]
async fn rp_05_an_abandoned_text_runs_again() {
    let redis = Redis::start(FORGETFUL);
    let (one, two) = (redis.store(), redis.store());
    let lost = fresh(&one, &once(1, 1)).await;
    abandon(&one, &lost).await;
    let held = fresh(&two, &once(1, 1)).await;
    // The old lease no longer has any effect.
    assert_eq!(
        finish(&one, &lost, "{}").await,
        Err(StoreErrorKind::LeaseLost)
    );
    abandon(&one, &lost).await;
    assert!(matches!(
        begin(&one, &once(1, 1)).await,
        Ok(Begin::Running(_))
    ));
    finish(&two, &held, "[]").await.unwrap();
    assert_eq!(stored(&one, &once(1, 1)).await, reply("[]"));
}

/// As if the process of the holder had died: nobody renews the lease any more.
async fn dead(store: &RedisStore, attempt: &Attempt) -> Lease {
    drop(fresh(store, attempt).await);
    Lease::new(attempt)
}

#[ignore = "needs redis-server"]
#[tokio::test]
async fn rp_05_a_lease_that_ends_frees_the_text_and_fences_its_holder() {
    let redis = Redis::start(FORGETFUL);
    let (one, two) = (redis.store(), redis.store());
    let short = Duration::from_millis(300);
    let lost = dead(&one, &once(1, 1).lease(short)).await;
    let Begin::Fresh(held) = settled(&two, once(1, 1)).await else {
        panic!("the lease did not expire")
    };
    assert_eq!(
        finish(&one, &lost, "{}").await,
        Err(StoreErrorKind::LeaseLost)
    );
    abandon(&one, &lost).await;
    let start = one.start(&lost).await.unwrap_err();
    assert_eq!(start.kind(), StoreErrorKind::LeaseLost);
    finish(&two, &held, "[]").await.unwrap();
    assert_eq!(
        finish(&one, &lost, "{}").await,
        Err(StoreErrorKind::LeaseLost)
    );
    assert_eq!(stored(&one, &once(1, 1)).await, reply("[]"));

    // What a holder left behind keeps no other text out, and a late holder that nobody replaced may
    // finish.
    dead(&one, &once(2, 1).lease(short)).await;
    dead(&one, &up_to(1, 3, 1).lease(short)).await;
    let late = dead(&one, &once(4, 1).lease(short)).await;
    // Killed before the handler, at most once is free again.
    dead(&one, &once(5, 1).lease(short).at_most_once()).await;
    // Killed after it was called, never.
    let called = dead(&one, &once(6, 1).lease(short).at_most_once()).await;
    one.start(&called).await.unwrap();
    one.start(&called).await.unwrap();
    sleep(short + Duration::from_millis(50)).await;
    fresh(&two, &once(2, 2)).await;
    fresh(&two, &up_to(1, 3, 2)).await;
    let more = begin(&two, &up_to(1, 3, 1)).await;
    assert!(matches!(more, Ok(Begin::Exhausted)));
    finish(&one, &late, "{}").await.unwrap();
    assert_eq!(stored(&two, &once(4, 1)).await, reply("{}"));
    fresh(&two, &once(5, 1)).await;
    let used_up = begin(&two, &once(6, 1)).await;
    assert!(matches!(used_up, Ok(Begin::Running(_))));
    let used_up = begin(&two, &once(6, 2)).await;
    assert!(matches!(used_up, Ok(Begin::OtherText)));
    finish(&one, &called, "{}").await.unwrap();
    assert_eq!(stored(&two, &once(6, 1)).await, reply("{}"));
}

#[ignore = "needs redis-server"]
#[tokio::test]
async fn rp_05_a_handler_that_outlives_its_lease_keeps_it() {
    let redis = Redis::start(FORGETFUL);
    let (one, two) = (redis.store(), redis.store());
    let short = Duration::from_millis(300);
    let lease = fresh(&one, &once(1, 1).lease(short)).await;
    for _ in 0..5 {
        sleep(short).await;
        let other = begin(&two, &once(1, 1)).await;
        assert!(matches!(other, Ok(Begin::Running(_))));
    }
    finish(&one, &lease, "{}").await.unwrap();
    assert_eq!(stored(&two, &once(1, 1)).await, reply("{}"));
    // Renewing ends with the lease, whatever clones of it there were.
    let clone = fresh(&one, &once(2, 1).lease(short)).await.clone();
    drop(clone);
    sleep(short + Duration::from_millis(50)).await;
    fresh(&two, &once(2, 1)).await;
}

/// A renewal moves the only member of the set of leases, and must not lose the time to live of it.
#[ignore = "needs redis-server"]
#[tokio::test]
async fn rp_29_a_renewal_keeps_the_time_to_live() {
    let redis = Redis::start(FORGETFUL);
    let store = redis.store();
    let short = Duration::from_millis(300);
    for (nonce, attempt) in [(1, once(1, 1)), (2, once(2, 1).at_most_once())] {
        let lease = fresh(&store, &attempt.lease(short)).await;
        let ticket = ticket_key(nonce);
        let ends = || {
            redis.command(&[
                "ZRANGE",
                &format!("{ticket}:leases"),
                "0",
                "-1",
                "WITHSCORES",
            ])
        };
        let (before, mut renewed) = (ends(), 0);
        for _ in 0..40 {
            sleep(short / 6).await;
            renewed += i32::from(ends() != before);
            for key in [ticket.clone(), format!("{ticket}:leases")] {
                let redis::Value::Int(left) = redis.command(&["PTTL", &key]) else {
                    panic!("no time to live")
                };
                assert!((1..=65 * 60_000).contains(&left), "{key}: {left}");
            }
        }
        assert!(renewed > 10);
        abandon(&store, &lease).await;
    }
}

#[ignore = "needs redis-server"]
#[tokio::test]
async fn rp_21_starts_are_counted_per_ticket() {
    let redis = Redis::start(FORGETFUL);
    let stores = [redis.store(), redis.store()];
    let attempt = |text| up_to(2, 1, text).starts(3);
    for _ in 0..5 {
        let lease = fresh(&stores[0], &attempt(1)).await;
        abandon(&stores[1], &lease).await;
    }
    for text in 1..=3 {
        let lease = fresh(&stores[0], &attempt(text)).await;
        stores[1].fail(&lease).await.unwrap();
        stores[1].fail(&lease).await.unwrap();
    }
    for (first, store) in [true, false, false].into_iter().zip(stores.iter().cycle()) {
        let spent = begin(store, &attempt(4)).await.unwrap();
        assert!(matches!(spent, Begin::Spent { first: told } if told == first));
    }
    // A process that died counts as a start, and an at-most-once handler starts once per text.
    let short = Duration::from_millis(100);
    for _ in 0..3 {
        dead(&stores[0], &once(2, 1).starts(3).lease(short)).await;
        sleep(2 * short).await;
    }
    let spent = begin(&stores[1], &once(2, 1).starts(3)).await;
    assert!(matches!(spent, Ok(Begin::Spent { first: true })));
    for text in 1..=2 {
        fresh(&stores[0], &up_to(2, 3, text).starts(1).at_most_once()).await;
    }
    // What has an answer is answered, whatever failed since.
    let lease = fresh(&stores[0], &up_to(2, 4, 1).starts(2)).await;
    finish(&stores[0], &lease, "{}").await.unwrap();
    let lease = fresh(&stores[0], &up_to(2, 4, 2).starts(2)).await;
    stores[0].fail(&lease).await.unwrap();
    let spent = begin(&stores[1], &up_to(2, 4, 2).starts(2)).await;
    assert!(matches!(spent, Ok(Begin::Spent { first: true })));
    assert_eq!(stored(&stores[1], &up_to(2, 4, 1)).await, reply("{}"));
}

#[ignore = "needs redis-server"]
#[tokio::test]
async fn rp_22_begin_and_abandon_in_either_order() {
    let redis = Redis::start(FORGETFUL);
    let (one, two) = (redis.store(), redis.store());
    for at_most_once in [false, true] {
        let nonce = 1 + u8::from(at_most_once);
        let attempt = || {
            let attempt = once(nonce, 1);
            if at_most_once {
                attempt.at_most_once()
            } else {
                attempt
            }
        };
        // Begun, and nobody learnt of it.
        let lost = attempt();
        let lease = fresh(&one, &lost).await;
        if at_most_once {
            one.start(&lease).await.unwrap();
        }
        abandon(&two, &Lease::new(&lost)).await;
        // Abandoned before it begins, and before a second copy of it does.
        let late = attempt();
        abandon(&two, &Lease::new(&late)).await;
        for abandoned in [&late, &lost] {
            let error = begin(&one, abandoned).await.unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::LeaseLost);
        }
        let held = fresh(&one, &attempt()).await;
        assert!(begin(&one, &late).await.is_err());
        finish(&one, &held, "{}").await.unwrap();
        assert_eq!(stored(&two, &attempt()).await, reply("{}"));
    }
    // The marks are short-lived.
    let redis::Value::Array(keys) = redis.command(&["KEYS", "*:abandoned:*"]) else {
        panic!("no keys")
    };
    assert_eq!(keys.len(), 4);
    for key in keys {
        let redis::Value::BulkString(key) = key else {
            panic!("{key:?}")
        };
        let key = String::from_utf8(key).unwrap();
        let redis::Value::Int(left) = redis.command(&["PTTL", &key]) else {
            panic!("no time to live")
        };
        assert!((1..=60_000).contains(&left), "{left}");
    }
}

/// A `begin` that the client gave up on, and Redis executed later.
#[ignore = "needs redis-server"]
#[tokio::test]
async fn rp_22_a_redis_that_stalls_leaves_nothing_behind() {
    let redis = Redis::start(DEBUGGED);
    let store = redis.store().timeout(Duration::from_secs(1));
    fresh(&store, &once(1, 1)).await;
    for (nonce, partitioned) in [(2, false), (3, true)] {
        let attempt = once(nonce, 1).at_most_once();
        let stall = || {
            if partitioned {
                redis.stop();
            } else {
                redis.debug_sleep("1.6");
            }
        };
        stall();
        let stalled = begin(&store, &attempt).await.unwrap_err();
        assert_eq!(stalled.kind(), StoreErrorKind::TimedOut);
        if partitioned {
            redis.go_on();
        }
        abandon(&store, &Lease::new(&attempt)).await;
        fresh(&redis.store(), &once(nonce, 1)).await;
    }
}

/// The time of a replay and of a refusal, at so many uses. Nothing walks over them: see the unit
/// test.
#[ignore = "needs redis-server"]
#[tokio::test]
async fn rp_23_a_used_up_ticket_costs_no_more_than_a_new_one() {
    const USES: usize = 65_535;
    let redis = Redis::start(FORGETFUL);
    let store = redis.store();
    let key = ticket_key(1);
    let fill = format!(
        "local a = {{}} for n = 1, {} do a[#a+1] = 's' .. string.format('%032d', n); a[#a+1] = 'D' .. string.rep('f', 16) \
         if #a == 1000 then redis.call('HSET', KEYS[1], unpack(a)) a = {{}} end end \
         if #a > 0 then redis.call('HSET', KEYS[1], unpack(a)) end redis.call('HSET', KEYS[1], 'texts', {USES})",
        USES - 1
    );
    let lease = fresh(&store, &up_to(u16::MAX, 1, 1)).await;
    finish(&store, &lease, "{}").await.unwrap();
    redis.command(&["EVAL", &fill, "1", &key]);
    redis.command(&["CONFIG", "RESETSTAT"]);
    for _ in 0..200 {
        let more = begin(&store, &up_to(u16::MAX, 1, 2)).await;
        assert!(matches!(more, Ok(Begin::Exhausted)));
        assert_eq!(stored(&store, &up_to(u16::MAX, 1, 1)).await, reply("{}"));
    }
    let redis::Value::BulkString(stats) = redis.command(&["INFO", "commandstats"]) else {
        panic!("no statistics")
    };
    let stats = String::from_utf8(stats).unwrap();
    let of = |name: &str| stats.lines().find(|line| line.starts_with(name));
    println!("{:?}", of("cmdstat_evalsha"));
    for walk in ["hgetall", "hkeys", "hvals", "hscan", "zrange:"] {
        assert_eq!(of(&format!("cmdstat_{walk}")), None);
    }
}

/// Each error has words of its own, and none costs the connection.
#[ignore = "needs redis-server"]
#[tokio::test]
async fn rp_06_an_error_of_redis_says_what_happened() {
    let redis = Redis::start(FORGETFUL);
    let store = redis.store();
    let lease = fresh(&store, &once(1, 1)).await;
    let connections = || {
        let redis::Value::BulkString(info) = redis.command(&["INFO", "stats"]) else {
            panic!("no statistics")
        };
        let info = String::from_utf8(info).unwrap();
        let line = info
            .lines()
            .find(|line| line.starts_with("total_connections_received:"));
        line.unwrap()
            .rsplit(':')
            .next()
            .unwrap()
            .parse::<u32>()
            .unwrap()
    };
    let before = connections();
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let full = begin(&store, &once(2, 1)).await.unwrap_err();
    assert_eq!(full.kind(), StoreErrorKind::Full);
    // The answer of a handler that has run is not new: it is taken.
    finish(&store, &lease, "{}").await.unwrap();
    redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
    redis.command(&["REPLICAOF", "127.0.0.1", "1"]);
    let replica = begin(&store, &once(2, 1)).await.unwrap_err();
    assert_eq!(replica.kind(), StoreErrorKind::ReadOnly);
    redis.command(&["REPLICAOF", "NO", "ONE"]);
    redis.command(&["ACL", "SETUSER", "default", "-evalsha"]);
    let denied = begin(&store, &once(2, 1)).await.unwrap_err();
    assert_eq!(denied.kind(), StoreErrorKind::Denied);
    redis.command(&["ACL", "SETUSER", "default", "+evalsha"]);
    fresh(&store, &once(2, 1)).await;
    // Eight commands of this test, each on a connection of its own, and this one.
    assert_eq!(connections() - before, 7);

    // A wrong password, until it is the right one.
    redis.command(&["ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all"]);
    let url = format!("{}?user=app&pass=later", redis.url());
    let store = RedisStore::new(&url).unwrap();
    for _ in 0..2 {
        let denied = begin(&store, &once(3, 1)).await.unwrap_err();
        assert_eq!(denied.kind(), StoreErrorKind::Denied);
    }
    redis.command(&["ACL", "SETUSER", "app", ">later"]);
    fresh(&store, &once(3, 1)).await;
    redis.command(&["CONFIG", "SET", "requirepass", "secret"]);
    let denied = begin(&redis.store(), &once(4, 1)).await.unwrap_err();
    assert_eq!(denied.kind(), StoreErrorKind::Denied, "{denied:?}");
}

/// While it reads its data, Redis accepts connections and no commands.
#[ignore = "needs redis-server"]
#[tokio::test]
async fn rp_06_a_redis_that_is_loading_says_so() {
    let mut redis = Redis::start(DURABLE);
    redis.command(&[
        "EVAL",
        "for n = 1, 20000 do redis.call('SET', n, n) end",
        "0",
    ]);
    redis.kill();
    // 100 microseconds a key.
    redis.spawn(&["--key-load-delay", "200"].map(Into::into));
    let store = redis.store();
    let mut kinds = Vec::new();
    for _ in 0..400 {
        match begin(&store, &once(1, 1)).await {
            Err(error) => kinds.push(error.kind()),
            Ok(_) => break,
        }
        sleep(Duration::from_millis(20)).await;
    }
    assert!(kinds.contains(&StoreErrorKind::Loading), "{kinds:?}");
    fresh(&store, &once(2, 1)).await;
}

#[ignore = "needs redis-server"]
#[tokio::test]
async fn a_connection_of_the_application_does_as_well() {
    let mut redis = Redis::start(DURABLE);
    let client = redis::Client::open(redis.url()).unwrap();
    let managed = redis::aio::ConnectionManager::new(client.clone())
        .await
        .unwrap();
    let multiplexed = client.get_multiplexed_async_connection().await.unwrap();
    let stores = [
        RedisStore::with_connection(managed),
        RedisStore::with_connection(multiplexed),
    ]
    .map(|store| store.timeout(Duration::from_secs(20)));
    let lease = fresh(&stores[0], &once(1, 1)).await;
    finish(&stores[1], &lease, "{}").await.unwrap();
    redis.kill();
    redis.restart();
    assert_eq!(stored(&stores[0], &once(1, 1)).await, reply("{}"));
    // Who gives a connection that does not come back has none.
    let gone = begin(&stores[1], &once(1, 1)).await.unwrap_err();
    assert_eq!(gone.kind(), StoreErrorKind::Unavailable);
}

/// A node of a cluster names the node that has the key; a client of the cluster goes there.
#[ignore = "needs redis-server"]
#[tokio::test]
async fn a_node_of_a_cluster_says_that_it_is_one() {
    let redis = Redis::clustered();
    let store = redis.store();
    let down = begin(&store, &once(1, 1)).await.unwrap_err();
    assert_eq!(down.kind(), StoreErrorKind::Loading, "no slots yet");
    redis.command(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    let lease = settled_lease(&store, 1).await;
    // All keys of each script are in one slot, or Redis refuses the script.
    finish(&store, &lease, "{}").await.unwrap();
    for nonce in 2..20 {
        let lease = fresh(&store, &once(nonce, 1).at_most_once()).await;
        store.start(&lease).await.unwrap();
        store.fail(&lease).await.unwrap();
    }
}

async fn settled_lease(store: &RedisStore, nonce: u8) -> Lease {
    for _ in 0..200 {
        match begin(store, &once(nonce, 1)).await {
            Ok(Begin::Fresh(lease)) => return lease,
            Err(error) => assert_eq!(error.kind(), StoreErrorKind::Loading),
            other => panic!("{other:?}"),
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("the cluster does not come up")
}

#[ignore = "needs redis-server with TLS"]
#[tokio::test]
async fn rp_06_tls_with_its_own_roots_and_no_others() {
    let redis = Redis::with_tls();
    let url = redis.tls_url("localhost");
    let roots = redis.root_certificate();
    let store = RedisStore::with_root_certificates(&url, roots.as_bytes())
        .unwrap()
        .timeout(Duration::from_secs(20));
    let lease = fresh(&store, &once(1, 1)).await;
    finish(&store, &lease, "{}").await.unwrap();
    assert_eq!(stored(&store, &once(1, 1)).await, reply("{}"));

    // The roots of the system do not know it, and the certificate is not for the address.
    let other_name = redis.tls_url("127.0.0.1");
    for (store, why) in [
        (RedisStore::new(&url), "unknown root"),
        (
            RedisStore::with_root_certificates(&other_name, roots.as_bytes()),
            "other name",
        ),
    ] {
        let store = store.unwrap().timeout(Duration::from_secs(20));
        let refused = begin(&store, &once(1, 1)).await.unwrap_err();
        assert_eq!(refused.kind(), StoreErrorKind::Tls, "{why}: {refused:?}");
    }
    for pem in [
        "",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        let refused = RedisStore::with_root_certificates(&url, pem.as_bytes()).unwrap_err();
        assert_eq!(refused.kind(), StoreErrorKind::Tls);
    }
    let refused = RedisStore::with_root_certificates(&redis.url(), roots.as_bytes()).unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Url);
}

#[ignore = "needs redis-server"]
#[tokio::test]
async fn rp_06_a_redis_that_is_down_is_an_error_until_it_is_back() {
    let mut redis = Redis::stopped(FORGETFUL);
    let store = redis.store();
    let down = begin(&store, &once(1, 1)).await.unwrap_err();
    assert_eq!(down.kind(), StoreErrorKind::Unavailable);
    redis.restart();
    let lease = fresh(&store, &once(1, 1)).await;
    redis.kill();
    for _ in 0..3 {
        assert_eq!(
            finish(&store, &lease, "{}").await,
            Err(StoreErrorKind::Unavailable)
        );
        assert!(begin(&store, &once(2, 1)).await.is_err());
        assert!(store.abandon(&lease).await.is_err());
    }
    redis.restart();
    fresh(&store, &once(2, 1)).await;
}

#[ignore = "needs redis-server"]
#[tokio::test]
async fn rp_06_a_connection_that_was_lost_costs_no_callback() {
    let mut redis = Redis::start(DURABLE);
    let store = redis.store();
    let lease = fresh(&store, &once(1, 1)).await;
    redis.command(&["CLIENT", "KILL", "TYPE", "normal"]);
    finish(&store, &lease, "{}").await.unwrap();
    redis.kill();
    redis.restart();
    assert_eq!(stored(&store, &once(1, 1)).await, reply("{}"));
}

/// `begin` is idempotent, so it is safe to repeat after its response was lost.
#[ignore = "needs redis-server"]
#[tokio::test]
async fn rp_06_a_step_that_is_done_twice_is_done_once() {
    let redis = Redis::start(FORGETFUL);
    let (one, two) = (redis.store(), redis.store());
    let attempt = up_to(2, 1, 1).starts(1);
    for store in [&one, &two, &one] {
        assert_eq!(fresh(store, &attempt).await.fence(), attempt.fence());
    }
    let other = begin(&two, &up_to(2, 1, 1)).await;
    assert!(matches!(other, Ok(Begin::Running(_))));
    for store in [&one, &two] {
        finish(store, &Lease::new(&attempt), "{}").await.unwrap();
    }
    // One text and one start.
    fresh(&one, &up_to(2, 1, 2).starts(2)).await;
}

/// A service that is down is not asked again and again by one call.
#[ignore = "needs redis-server"]
#[tokio::test]
async fn rp_06_a_connection_that_never_was_is_not_tried_often() {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .unwrap();
    let url = format!("redis://{}/", listener.local_addr().unwrap());
    let accepted = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&accepted);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            drop(stream);
        }
    });
    let store = RedisStore::new(&url).unwrap().timeout(MINUTE);
    for tries in 1..4 {
        let lost = begin(&store, &once(1, 1)).await.unwrap_err();
        assert_eq!(lost.kind(), StoreErrorKind::Unavailable);
        // One, one more, and one that the next call awaits.
        assert!(accepted.load(Ordering::SeqCst) <= 3 * tries);
    }
}

#[ignore = "needs redis-server"]
#[tokio::test]
async fn rp_06_a_redis_that_does_not_answer_is_an_error_in_time() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("redis://{}/", listener.local_addr().unwrap());
    let limit = Duration::from_millis(100);
    let store = RedisStore::new(&url).unwrap().timeout(limit);
    let mut tasks = JoinSet::new();
    for _ in 0..20 {
        let store = store.clone();
        tasks.spawn(async move { begin(&store, &once(1, 1)).await.unwrap_err().kind() });
    }
    // Guards against a hang only: a minute is far beyond the timeout of the store.
    let kinds = timeout(MINUTE, tasks.join_all()).await.unwrap();
    assert!(
        kinds.iter().all(|kind| *kind == StoreErrorKind::TimedOut),
        "{kinds:?}"
    );
}

#[ignore = "needs redis-server"]
#[tokio::test]
async fn rp_06_killed_in_the_middle_no_text_runs_twice() {
    let mut redis = Redis::start(DURABLE);
    let stores = [redis.store(), redis.store(), redis.store()];
    let before = fresh(&stores[0], &once(0, 1)).await;
    finish(&stores[0], &before, "{}").await.unwrap();
    let held = fresh(&stores[0], &once(255, 1)).await;

    // Three instances redeem the same tickets in the same order, and the server is killed
    // meanwhile.
    let done = Arc::new(Semaphore::new(0));
    let mut tasks = JoinSet::new();
    for store in &stores {
        let (store, done) = (store.clone(), Arc::clone(&done));
        tasks.spawn(async move {
            let (mut ran, mut errors) = (Vec::new(), 0);
            for nonce in 1..=200 {
                match begin(&store, &once(nonce, 1)).await {
                    // Its process died with it.
                    Ok(Begin::Fresh(_)) => ran.push(nonce),
                    Ok(_) => {}
                    Err(_) => errors += 1,
                }
                done.add_permits(1);
            }
            (ran, errors)
        });
    }
    drop(done.acquire_many(300).await.unwrap());
    redis.kill();
    let mut runs = [0_u32; 256];
    let mut down = 0;
    for (ran, errors) in tasks.join_all().await {
        down += errors;
        for nonce in ran {
            runs[usize::from(nonce)] += 1;
        }
    }
    assert!(down > 0, "Redis was killed too late");
    assert!(runs.contains(&1), "Redis was killed too early");
    redis.restart();
    for nonce in 1..=200 {
        for store in &stores {
            let result = begin(store, &once(nonce, 1)).await;
            let ran = matches!(result.unwrap(), Begin::Fresh(_));
            runs[usize::from(nonce)] += u32::from(ran);
        }
    }
    assert!(runs.iter().all(|runs| *runs <= 1), "{runs:?}");
    // The stored reply is returned again, and the lease from before is still held.
    assert_eq!(stored(&stores[1], &once(0, 1)).await, reply("{}"));
    finish(&stores[0], &held, "[]").await.unwrap();
    assert_eq!(stored(&stores[2], &once(255, 1)).await, reply("[]"));
}

/// A documented limit: a ticket whose record Redis lost can be redeemed again.
#[ignore = "needs redis-server"]
#[tokio::test]
async fn known_limit_a_redis_that_forgets_lets_a_used_ticket_run_again() {
    let mut redis = Redis::start(FORGETFUL);
    let store = redis.store();
    let first = fresh(&store, &once(1, 1)).await;
    finish(&store, &first, "{}").await.unwrap();
    let held = fresh(&store, &once(2, 1)).await;
    redis.kill();
    redis.restart();
    fresh(&store, &once(1, 1)).await;
    // The holder of a lost lease is fenced: it cannot finish for the new holder.
    let again = fresh(&store, &once(2, 1)).await;
    assert_eq!(
        finish(&store, &held, "{}").await,
        Err(StoreErrorKind::LeaseLost)
    );
    finish(&store, &again, "{}").await.unwrap();
}

#[ignore = "needs redis-server"]
#[tokio::test]
async fn rp_08_redis_itself_drops_what_has_expired() {
    let redis = Redis::start(FORGETFUL);
    let store = redis.store();
    // The clock of Redis in milliseconds, in Lua because `TIME` has two parts.
    let now = "local time = redis.call('TIME') return time[1] * 1000 + math.floor(time[2] / 1000)";
    let number = |words: &[&str]| match redis.command(words) {
        redis::Value::Int(number) => number,
        other => panic!("not a number: {other:?}"),
    };
    let before = number(&["EVAL", now, "0"]);
    let lease = fresh(&store, &once(1, 1)).await;
    let after = number(&["EVAL", now, "0"]);
    finish(&store, &lease, "{}").await.unwrap();
    let key = ticket_key(1);
    let expires = number(&["PEXPIRETIME", &key]);
    // The five minutes of the ticket, and an hour in case a clock is set back.
    let kept = i64::try_from((65 * MINUTE).as_millis()).unwrap();
    assert!(
        (before + kept..=after + kept).contains(&expires),
        "{before} {expires} {after}"
    );
    // An abandoned ticket leaves only a short-lived mark.
    let lease = fresh(&store, &once(2, 1)).await;
    abandon(&store, &lease).await;
    assert_eq!(redis.command(&["DBSIZE"]), redis::Value::Int(2));
}

#[ignore = "needs redis-server"]
#[tokio::test]
async fn rp_11_clocks_that_jump_do_not_matter_to_leases() {
    let redis = Redis::start(FORGETFUL);
    let (one, two) = (redis.store(), redis.store());
    let hour = 60 * MINUTE;
    fresh(&one, &once(1, 1)).await;
    for wall in [
        SystemTime::now() + hour,
        SystemTime::now() - hour,
        SystemTime::UNIX_EPOCH - hour,
    ] {
        let other = begin(&two, &once(1, 1).again(wall)).await;
        assert!(matches!(other, Ok(Begin::Running(_))), "{wall:?}");
    }
    let endless = || once(2, 1).lease(Duration::MAX);
    fresh(&one, &endless()).await;
    assert!(matches!(
        begin(&two, &endless()).await,
        Ok(Begin::Running(_))
    ));
}

#[ignore = "needs redis-server"]
#[tokio::test]
async fn what_something_else_wrote_is_an_error() {
    let redis = Redis::start(FORGETFUL);
    let store = redis.store();
    let key = ticket_key;
    redis.command(&["SET", &key(1), "x"]);
    let error = begin(&store, &once(1, 1)).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unreadable);
    let digest = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    redis.command(&[
        "HSET",
        &key(2),
        &format!("s{digest}"),
        "D",
        &format!("r{digest}"),
        "x",
    ]);
    let error = begin(&store, &once(2, b'A')).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unreadable);
    redis.command(&["HSET", &key(3), &format!("s{digest}"), "D"]);
    let error = begin(&store, &once(3, b'A')).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unreadable);
}

#[ignore = "needs redis-server"]
#[test]
fn a_url_that_is_none_is_refused_and_a_password_not_shown() {
    for url in ["", "localhost", "http://localhost", "redis://:canary@"] {
        let error = RedisStore::new(url).unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Url, "{url}");
        assert!(!format!("{error:?} {error}").contains("canary"));
    }
    let store = RedisStore::new("redis://:canary@localhost/")
        .unwrap()
        .timeout(MINUTE);
    assert_eq!(format!("{store:?}"), "RedisStore { timeout: 60s, .. }");
}
