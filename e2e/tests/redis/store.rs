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
        TextDigest, UseLimit,
    },
};

use crate::server::{DURABLE, FORGETFUL, Redis};

const MINUTE: Duration = Duration::from_secs(60);

fn attempt(nonce: u8, text: u8, limit: UseLimit) -> Attempt {
    let now = SystemTime::now();
    Attempt::new(
        Nonce::from_bytes([nonce; 16]),
        TextDigest::from_bytes([text; 32]),
        limit,
        now + 5 * MINUTE,
        now,
    )
    .lease(5 * MINUTE)
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

/// Repeats an attempt until the leases that block it have expired.
async fn fresh_at_last(store: &RedisStore, attempt: &Attempt) -> Lease {
    loop {
        match begin(store, attempt).await {
            Ok(Begin::Fresh(lease)) => return lease,
            Ok(Begin::OtherText | Begin::Exhausted) => sleep(Duration::from_millis(10)).await,
            other => panic!("neither blocked nor fresh: {other:?}"),
        }
    }
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

#[ignore = "needs redis-server"]
#[tokio::test]
async fn rp_05_a_lease_that_ends_frees_the_text_and_fences_its_holder() {
    let redis = Redis::start(FORGETFUL);
    let (one, two) = (redis.store(), redis.store());
    let short = Duration::from_millis(100);
    let lost = fresh(&one, &once(1, 1).lease(short)).await;
    let Begin::Fresh(held) = settled(&two, once(1, 1)).await else {
        panic!("the lease did not expire")
    };
    assert_eq!(
        finish(&one, &lost, "{}").await,
        Err(StoreErrorKind::LeaseLost)
    );
    abandon(&one, &lost).await;
    finish(&two, &held, "[]").await.unwrap();
    assert_eq!(
        finish(&one, &lost, "{}").await,
        Err(StoreErrorKind::LeaseLost)
    );
    assert_eq!(stored(&one, &once(1, 1)).await, reply("[]"));

    // An expired lease does not block other texts, and its holder may still finish if nobody
    // replaced it. The lease of `late` starts first, so it has expired once the others have.
    let late = fresh(&one, &once(4, 1).lease(short)).await;
    fresh(&one, &once(2, 1).lease(short)).await;
    fresh(&one, &up_to(1, 3, 1).lease(short)).await;
    fresh_at_last(&two, &once(2, 2)).await;
    fresh_at_last(&two, &up_to(1, 3, 2)).await;
    let more = begin(&two, &up_to(1, 3, 1)).await;
    assert!(matches!(more, Ok(Begin::Exhausted)));
    finish(&one, &late, "{}").await.unwrap();
    assert_eq!(stored(&two, &once(4, 1)).await, reply("{}"));
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
    let script = include_str!("../../../src/ticket/store/redis/begin.lua");
    let key = format!("oss-ticket:{}", "01".repeat(16));
    let (digest, fence) = ("\u{1}".repeat(32), "one fence of 16b");
    let begin_with = |fence| {
        redis.command(&[
            "EVAL", script, "1", &key, &digest, fence, "60000", "60000", "0",
        ])
    };
    let first = begin_with(fence);
    assert_eq!(begin_with(fence), first);
    assert_ne!(begin_with("another of 16 by"), first);
    let now_running = begin(&redis.store(), &once(1, 1)).await;
    assert!(matches!(now_running, Ok(Begin::Running(_))));
}

#[ignore = "needs redis-server"]
#[tokio::test]
async fn rp_06_a_connection_that_never_was_is_not_tried_twice() {
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
        assert_eq!(accepted.load(Ordering::SeqCst), tries);
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
async fn rp_06_a_full_redis_refuses() {
    let redis = Redis::start(FORGETFUL);
    let store = redis.store();
    let lease = fresh(&store, &once(1, 1)).await;
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let full = begin(&store, &once(2, 1)).await.unwrap_err();
    assert_eq!(full.kind(), StoreErrorKind::Unavailable);
    redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
    finish(&store, &lease, "{}").await.unwrap();
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
    let key = format!("oss-ticket:{}", "01".repeat(16));
    let expires = number(&["PEXPIRETIME", &key]);
    // The five minutes of the ticket, and an hour in case a clock is set back.
    let kept = i64::try_from((65 * MINUTE).as_millis()).unwrap();
    assert!(
        (before + kept..=after + kept).contains(&expires),
        "{before} {expires} {after}"
    );
    // An abandoned ticket leaves no record.
    let lease = fresh(&store, &once(2, 1)).await;
    abandon(&store, &lease).await;
    assert_eq!(redis.command(&["DBSIZE"]), redis::Value::Int(1));
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
    let endless = once(2, 1).lease(Duration::MAX);
    fresh(&one, &endless).await;
    assert!(matches!(begin(&two, &endless).await, Ok(Begin::Running(_))));
}

#[ignore = "needs redis-server"]
#[tokio::test]
async fn what_something_else_wrote_is_an_error() {
    let redis = Redis::start(FORGETFUL);
    let store = redis.store();
    let key = |nonce: u8| format!("oss-ticket:{}", format!("{nonce:02x}").repeat(16));
    redis.command(&["SET", &key(1), "x"]);
    let error = begin(&store, &once(1, 1)).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
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
    for url in [
        "",
        "localhost",
        "http://localhost",
        "rediss://localhost",
        "redis://:canary@",
    ] {
        let error = RedisStore::new(url).unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Url, "{url}");
        assert!(!format!("{error:?} {error}").contains("canary"));
    }
    let store = RedisStore::new("redis://:canary@localhost/")
        .unwrap()
        .timeout(MINUTE);
    assert_eq!(format!("{store:?}"), "RedisStore { timeout: 60s, .. }");
}
