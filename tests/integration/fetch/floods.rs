//! DF: floods of requests that name keys.

use std::{
    future::{Future, ready},
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::StatusCode;
use tokio::time::Instant;
use tower_aliyun_oss::{
    Lookup,
    key::{
        FetchError, FetchErrorKind as Kind, FetchKey, FetchedKeys, KeyError, KeySource as _,
        KeyTable, KeyUrl,
    },
};

use super::{
    fake::{
        Does, HOUR, Host, MINUTE, SECOND, at_once, get, pass, runtime_at_rest, settle, unavailable,
    },
    site::official,
};
use crate::support::{Log, Signer};

fn good() -> Does {
    Does::key(&Signer::with_512_bits())
}

/// Returns all versions that the tests do not use otherwise.
fn others() -> Vec<KeyUrl> {
    (3..1_000).map(official).collect()
}

/// Returns the largest number of fetches that started within 60 s.
fn most_in_a_minute(times: &[Instant]) -> usize {
    let within = |start: usize| {
        let minute = times[start..]
            .iter()
            .take_while(|at| **at - times[start] < MINUTE);
        minute.count()
    };
    (0..times.len()).map(within).max().unwrap_or_default()
}

/// A host without keys. It records requests only up to its initial capacity, so that it does not
/// allocate during the measurement.
struct Absent(Mutex<Vec<Instant>>);

impl FetchKey for Absent {
    fn fetch(&self, _: &KeyUrl) -> Pin<Box<dyn Future<Output = Result<Bytes, FetchError>> + Send>> {
        let mut times = self.0.lock().unwrap();
        assert!(times.len() < times.capacity());
        times.push(Instant::now());
        Box::pin(ready(Err(FetchError::from_status(StatusCode::NOT_FOUND))))
    }
}

#[test]
fn df_08_a_million_names_cost_ten_fetches_a_minute_and_no_memory() {
    let runtime = runtime_at_rest();
    let host = Arc::new(Absent(Mutex::new(Vec::with_capacity(10_000))));
    let keys = FetchedKeys::builder().fetcher(Arc::clone(&host)).build();
    let others = others();
    let flood = async |rounds: usize| {
        for round in 0..rounds {
            // Start at a different key in each round, so that every key is fetched at some time.
            for url in others.iter().cycle().skip(round * 131 % 997).take(997) {
                drop(keys.key(url));
            }
            at_once(&keys, 1).unwrap();
            settle().await;
            pass(10 * SECOND).await;
        }
    };
    let fetches = || host.0.lock().unwrap().len();
    // Warm up until the cache has allocated everything that it keeps.
    runtime.block_on(flood(100));
    let warm = fetches();
    assert!(warm > 100, "{warm}");
    let counted = allocation_counter::measure(|| runtime.block_on(flood(1_000)));
    // A record for every requested path would take far more memory.
    let (asked, grown) = (fetches() - warm, counted.bytes_current);
    assert!(asked > 1_000, "{asked}");
    assert!(grown < 4 * 1_024, "{grown} bytes");
    let times = host.0.lock().unwrap().clone();
    let most = most_in_a_minute(&times);
    assert!(most <= 10, "{most}");
    let stats = keys.stats();
    assert_eq!(stats.refusals + stats.fetches, 997 * 1_100);
}

#[tokio::test(start_paused = true)]
async fn df_08_what_is_refused_says_why() {
    let host = Host::that(Does::Status(404));
    let keys = host.keys();
    for version in 2..12 {
        assert_eq!(unavailable(get(&keys, version).await), Kind::Status);
    }
    assert_eq!(unavailable(at_once(&keys, 12)), Kind::OverBudget);
    assert_eq!(unavailable(at_once(&keys, 2)), Kind::Status);
    // Paths passed to `warm_up` have their own budget.
    host.has(12, good());
    keys.warm_up(["/callback_pub_key_v12.pem"]).await.unwrap();
    at_once(&keys, 12).unwrap();
    assert_eq!(unavailable(at_once(&keys, 13)), Kind::OverBudget);
    pass(MINUTE).await;
    host.does(good());
    get(&keys, 13).await.unwrap();
    // A status 404 is cached for five minutes.
    assert_eq!(unavailable(at_once(&keys, 2)), Kind::Status);
    pass(4 * MINUTE - SECOND).await;
    assert_eq!(unavailable(at_once(&keys, 2)), Kind::Status);
    pass(SECOND).await;
    get(&keys, 2).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn df_09_a_key_that_was_good_is_found_again_in_a_flood() {
    let host = Host::that(Does::Status(404));
    host.has(2, good());
    let keys = host.keys();
    get(&keys, 2).await.unwrap();
    let (others, second) = (others(), official(2));
    let flood = async |seconds: u64| {
        for _ in 0..seconds {
            for url in &others {
                drop(keys.key(url));
            }
            keys.signature_failed(&second);
            pass(SECOND).await;
        }
    };
    flood(600).await;
    // The key under this URL changes; only failed signatures reveal it.
    host.has(2, Does::key(&Signer::with_1024_bits()));
    flood(300).await;
    assert_eq!(
        at_once(&keys, 2).unwrap(),
        Signer::with_1024_bits().public()
    );
    assert_eq!(keys.stats().changes, 1);
    assert!(most_in_a_minute(&host.times()) <= 12);
    assert!(host.fetches_of(2).len() <= 1 + 3);
}

#[tokio::test(start_paused = true)]
async fn df_10_signatures_that_fail_cause_one_look_in_five_minutes() {
    let host = Host::that(good());
    let keys = host.keys();
    // Failed signatures cause no fetch for a key that is pinned or was never found.
    for version in [1, 2] {
        for _ in 0..10_000 {
            keys.signature_failed(&official(version));
        }
    }
    settle().await;
    assert_eq!(host.fetches(), 0);
    get(&keys, 2).await.unwrap();
    host.does(Does::Status(404));
    let (second, started) = (official(2), host.times()[0]);
    for _ in 0..3_600 {
        for _ in 0..50 {
            keys.signature_failed(&second);
            at_once(&keys, 2).unwrap();
        }
        pass(SECOND).await;
    }
    let looks: Vec<Duration> = host.times()[1..].iter().map(|at| *at - started).collect();
    assert!((4..=12).contains(&looks.len()), "{looks:?}");
    assert!(looks[0] >= 5 * MINUTE);
    assert!(
        looks.windows(2).all(|pair| pair[1] - pair[0] >= 5 * MINUTE),
        "{looks:?}"
    );
    assert_eq!(keys.stats().hits, 3_600 * 50);
}

#[tokio::test(start_paused = true)]
async fn a_full_cache_keeps_what_is_good() {
    let host = Host::that(good());
    let keys = host.builder().fetches_per_minute(100, 0).build();
    for version in 2..10 {
        get(&keys, version).await.unwrap();
    }
    // The caller that waited for one key more gets it, but the cache neither keeps it nor fetches
    // it for each request.
    get(&keys, 10).await.unwrap();
    assert_eq!(unavailable(at_once(&keys, 10)), Kind::CacheFull);
    for version in 2..10 {
        at_once(&keys, version).unwrap();
    }
    // Only keys past the stale limit are evicted.
    pass(9 * 24 * HOUR).await;
    get(&keys, 10).await.unwrap();
    at_once(&keys, 10).unwrap();

    let table = KeyTable::own("store.internal", (0..20).map(|n| format!("/{n}"))).unwrap();
    let keys = FetchedKeys::builder()
        .table(table)
        .fetcher(Host::that(Does::key(&Signer::with_1024_bits())))
        .fetches_per_minute(0, 20)
        .build();
    let paths: Vec<_> = (0..20).map(|n| format!("/{n}")).collect();
    keys.warm_up(&paths).await.unwrap();
    let fetches = keys.stats().fetches;
    keys.warm_up(&paths).await.unwrap();
    assert_eq!(
        (fetches, keys.stats().fetches),
        (20, 20),
        "all keys of a custom table are cached"
    );
}

#[tokio::test(start_paused = true)]
async fn df_27_a_flood_is_not_a_flood_of_the_log() {
    let log = Log::default();
    let guard = log.listen();
    let host = Host::that(Does::Say(Bytes::from_static(
        b"<h1>\r\nWARN forged line\x1b[31m</h1>",
    )));
    let keys = host.keys();
    let others = others();
    for _ in 0..100 {
        for url in &others {
            drop(keys.key(url));
        }
        settle().await;
        pass(SECOND / 2).await;
    }
    // One warning for each of the ten failures, and one per minute for all further ones.
    let warnings = log.count("WARN", "tower_aliyun_oss::key");
    assert!((11..=12).contains(&warnings), "{warnings}");
    assert_eq!(log.count("", "forged"), 0);
    drop(guard);
    assert_eq!(keys.stats().fetches, 10);
}

#[tokio::test(start_paused = true)]
async fn df_27_what_a_network_says_is_escaped_and_short() {
    struct Rude;
    impl FetchKey for Rude {
        fn fetch(
            &self,
            _: &KeyUrl,
        ) -> Pin<Box<dyn Future<Output = Result<Bytes, FetchError>> + Send>> {
            let text = format!("\r\n WARN forged line \x1b[31m{}", "A".repeat(10_000));
            Box::pin(ready(Err(FetchError::with_source(Kind::Tls, text))))
        }
    }
    let log = Log::default();
    let _guard = log.listen();
    let keys = FetchedKeys::builder().fetcher(Rude).build();
    let Lookup::Pending(lookup) = keys.key(&official(2)) else {
        panic!("no key is cached yet");
    };
    assert_eq!(unavailable(lookup.await), Kind::Tls);
    assert_eq!(log.count("WARN", "forged line"), 1);
    assert_eq!(
        log.count("tower_aliyun_oss::key", "forged line \\u{1b}[31mA"),
        1
    );
    assert_eq!(log.count("", &"A".repeat(160)), 0);
}

#[tokio::test(start_paused = true)]
async fn df_10_a_signature_under_a_url_of_another_table_is_no_reason_to_look() {
    let host = Host::that(good());
    let keys = host.keys();
    get(&keys, 2).await.unwrap();
    pass(6 * MINUTE).await;
    // The same index in its table as version 2 in the official one.
    let table = KeyTable::own("store.internal", ["/0", "/1", "/2"]).unwrap();
    let header = STANDARD.encode("https://store.internal/2");
    let elsewhere = KeyUrl::from_header(header.as_bytes(), &table).unwrap();
    keys.signature_failed(&elsewhere);
    settle().await;
    assert_eq!(host.fetches(), 1);
    assert!(matches!(
        keys.key(&elsewhere),
        Lookup::Ready(Err(KeyError::Unknown))
    ));
    keys.signature_failed(&official(2));
    settle().await;
    assert_eq!(host.fetches(), 2);
}
