//! DF: key hosts that are slow, down or faulty, and canceled requests.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{net::TcpListener, task::JoinSet, time::Instant};
use tower_aliyun_oss::{
    Lookup,
    key::{FetchErrorKind as Kind, FetchKey as _, FetchedKeys, HttpsFetcher, KeySource as _},
};
use tracing::{
    Event, Metadata, Subscriber,
    span::{Attributes, Id, Record},
};

use super::{
    fake::{
        Does, HOUR, Host, MINUTE, SECOND, at_once, get, pass, pem, runtime_at_rest, settle,
        unavailable,
    },
    site::{Site, answer, official},
};
use crate::support::{Log, Signer};

const MILLISECOND: Duration = Duration::from_millis(1);

fn good() -> Does {
    Does::key(&Signer::with_512_bits())
}

#[tokio::test(start_paused = true)]
async fn df_01_ten_thousand_first_requests_make_one_fetch() {
    let host = Host::that(good()).takes(200 * MILLISECOND);
    let keys = host.keys();
    let started = Instant::now();
    let mut requests = JoinSet::new();
    for _ in 0..10_000 {
        let keys = keys.clone();
        requests.spawn(async move { get(&keys, 2).await.unwrap() });
    }
    let answers = requests.join_all().await;
    assert_eq!(answers.len(), 10_000);
    assert_eq!(started.elapsed(), 200 * MILLISECOND);
    assert_eq!(host.fetches(), 1);
    assert_eq!(keys.stats().fetches, 1);
    at_once(&keys, 2).unwrap();
}

#[tokio::test(start_paused = true)]
async fn df_02_a_request_that_is_given_up_leaves_nothing_stuck() {
    // How many of ten requests are canceled, starting with the first.
    for given_up in [1, 9, 10] {
        let host = Host::that(good()).takes(200 * MILLISECOND);
        let keys = host.keys();
        let mut requests: Vec<_> = (0..10)
            .map(|_| {
                let keys = keys.clone();
                tokio::spawn(async move { get(&keys, 2).await.unwrap() })
            })
            .collect();
        settle().await;
        pass(50 * MILLISECOND).await;
        for request in requests.drain(..given_up) {
            request.abort();
            assert!(request.await.unwrap_err().is_cancelled());
        }
        for request in requests {
            request.await.unwrap();
        }
        pass(200 * MILLISECOND).await;
        assert_eq!((host.fetches(), host.running()), (1, 0));
        at_once(&keys, 2).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn df_03_a_pinned_key_is_never_looked_up() {
    let host = Host::that(Does::Break);
    let keys = host.keys();
    for _ in 0..1_000 {
        at_once(&keys, 1).unwrap();
    }
    keys.warm_up(["/callback_pub_key_v1.pem"]).await.unwrap();
    keys.signature_failed(&official(1));
    settle().await;
    assert_eq!(host.fetches(), 0);
    // A key that the operator pinned is not fetched either.
    let pinned = Signer::with_512_bits()
        .keys()
        .with_version(2, Signer::with_512_bits().public());
    let keys = host.builder().pinned(pinned).build();
    at_once(&keys, 2).unwrap();
    assert_eq!(host.fetches(), 0);
}

#[tokio::test(start_paused = true)]
async fn df_04_a_host_that_is_down_from_the_start_is_asked_seldom() {
    for (does, most) in [(Does::Break, 5), (Does::Hang, 3), (Does::Status(503), 3)] {
        let host = Host::that(does);
        let keys = host.keys();
        let mut slowest = Duration::ZERO;
        let mut waited = 0;
        // 1,000 requests per second, for 60 s.
        for _ in 0..60_000 {
            match keys.key(&official(2)) {
                Lookup::Ready(result) => drop(unavailable(result)),
                Lookup::Pending(lookup) => {
                    let started = Instant::now();
                    unavailable(lookup.await);
                    slowest = slowest.max(started.elapsed());
                    waited += 1;
                }
            }
            tokio::time::advance(MILLISECOND).await;
        }
        assert!(slowest <= 2_100 * MILLISECOND, "{slowest:?}");
        assert!((1..=3).contains(&waited), "{waited}");
        assert!((1..=most).contains(&host.fetches()), "{}", host.fetches());
    }
}

#[tokio::test(start_paused = true)]
async fn df_04_a_fetch_that_fails_at_once_is_tried_again_while_somebody_waits() {
    let host = Host::that(Does::Break);
    let keys = host.keys();
    let Lookup::Pending(lookup) = keys.key(&official(2)) else {
        panic!("no key is cached yet");
    };
    settle().await;
    assert_eq!(host.fetches(), 1);
    host.does(good());
    lookup.await.unwrap();
    assert_eq!(host.fetches(), 2);
    let stats = keys.stats();
    assert_eq!((stats.fetches, stats.failures), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn df_04_a_fetch_that_fails_late_is_not_tried_again() {
    // A second attempt could not end before the deadline.
    for (delay, fetches) in [(900, 2), (1000, 1), (1100, 1)] {
        let host = Host::that(Does::Break).takes(Duration::from_millis(delay));
        let keys = host.keys();
        let Lookup::Pending(lookup) = keys.key(&official(2)) else {
            panic!("no key is cached yet");
        };
        assert_eq!(unavailable(lookup.await), Kind::Connect);
        assert_eq!(host.fetches(), fetches, "after {delay} ms");
    }
}

/// Requests the key every five seconds. Returns the number of fetches in each hour.
async fn ask_for(keys: &FetchedKeys, host: &Host, hours: usize) -> Vec<usize> {
    let mut in_hours = Vec::new();
    for _ in 0..hours {
        let before = host.fetches();
        for _ in 0..720 {
            at_once(keys, 2).unwrap();
            pass(5 * SECOND).await;
        }
        in_hours.push(host.fetches() - before);
    }
    in_hours
}

#[tokio::test(start_paused = true)]
async fn df_05_a_host_that_goes_down_takes_no_key_with_it() {
    let host = Host::that(good());
    let keys = host.keys();
    get(&keys, 2).await.unwrap();
    host.does(Does::Break);
    let in_hours = ask_for(&keys, &host, 48).await;
    // The refresh starts after four fifths of the day.
    assert!(in_hours[..19].iter().all(|fetches| *fetches == 0));
    assert!(
        in_hours[20..]
            .iter()
            .all(|fetches| (4..=10).contains(fetches)),
        "{in_hours:?}"
    );
    let stats = keys.stats();
    assert_eq!(stats.hits, 48 * 720);
    // All lookups of the second day.
    assert_eq!(stats.stale, 24 * 720);
    host.does(good());
    pass(15 * MINUTE).await;
    at_once(&keys, 2).unwrap();
    settle().await;
    let stale = keys.stats().stale;
    at_once(&keys, 2).unwrap();
    assert_eq!(keys.stats().stale, stale, "fresh again");
}

#[tokio::test(start_paused = true)]
async fn df_06_no_key_for_ever() {
    let host = Host::that(good());
    let keys = host.keys();
    get(&keys, 2).await.unwrap();
    host.does(Does::Status(503));
    pass(8 * 24 * HOUR - SECOND).await;
    at_once(&keys, 2).unwrap();
    settle().await;
    pass(SECOND).await;
    assert_eq!(unavailable(at_once(&keys, 2)), Kind::Status);
    pass(20 * MINUTE).await;
    assert_eq!(unavailable(get(&keys, 2).await), Kind::Status);
    // The key is available again once the host is.
    host.does(good());
    pass(20 * MINUTE).await;
    get(&keys, 2).await.unwrap();
    at_once(&keys, 2).unwrap();
}

#[tokio::test(start_paused = true)]
async fn df_07_nobody_waits_when_a_key_is_fetched_anew() {
    let host = Host::that(good()).takes(SECOND);
    let keys = host.keys();
    get(&keys, 2).await.unwrap();
    for time in [24 * HOUR / 5 * 4, 24 * HOUR] {
        let before = host.fetches();
        pass(time).await;
        for _ in 0..2_000 {
            at_once(&keys, 2).unwrap();
            pass(MILLISECOND).await;
        }
        assert_eq!(host.fetches(), before + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn df_11_an_answer_without_a_key_is_a_failure() {
    for body in [Bytes::new(), Bytes::from_static(b"{\"keys\":[]}")] {
        let host = Host::that(Does::Say(body));
        let keys = host.keys();
        assert_eq!(unavailable(get(&keys, 2).await), Kind::Key);
        for _ in 0..100 {
            assert_eq!(unavailable(at_once(&keys, 2)), Kind::Key);
        }
        pass(23 * SECOND).await;
        assert_eq!(unavailable(at_once(&keys, 2)), Kind::Key);
        assert_eq!(host.fetches(), 1);
        pass(14 * SECOND).await;
        assert_eq!(unavailable(get(&keys, 2).await), Kind::Key);
        assert_eq!(host.fetches(), 2);
        let stats = keys.stats();
        assert_eq!(
            (stats.fetches, stats.failures, stats.refusals, stats.hits),
            (2, 2, 101, 0)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn df_12_a_host_that_cannot_make_up_its_mind_harms_nothing() {
    let host = Host::that(good());
    let keys = host.keys();
    get(&keys, 2).await.unwrap();
    let minds = [
        Does::Say(Bytes::from_static(b"garbage")),
        Does::Status(404),
        Does::Hang,
        good(),
    ];
    for does in minds.iter().cycle().take(40) {
        host.does(does.clone());
        let before = host.fetches();
        // Wait for the next request to the host.
        while host.fetches() == before {
            pass(5 * MINUTE).await;
            at_once(&keys, 2).unwrap();
            settle().await;
        }
        pass(2 * SECOND).await;
        assert_eq!(at_once(&keys, 2).unwrap(), Signer::with_512_bits().public());
    }
    assert_eq!(keys.stats().changes, 0);
}

#[tokio::test(start_paused = true)]
async fn df_13_nothing_a_host_says_or_a_fetcher_does_breaks_the_cache() {
    let elliptic = "-----BEGIN PUBLIC KEY-----\n\
        MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt\n\
        6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==\n\
        -----END PUBLIC KEY-----\n";
    let mut random = vec![0; 16 * 1024];
    getrandom::fill(&mut random).unwrap();
    let bodies = [elliptic.as_bytes().to_vec(), vec![0; 16 * 1024], random];
    for does in bodies
        .map(|body| Does::Say(body.into()))
        .into_iter()
        .chain([Does::Panic])
    {
        let host = Host::that(does);
        let keys = host.keys();
        let failed = unavailable(get(&keys, 2).await);
        assert!(matches!(failed, Kind::Key | Kind::Aborted), "{failed:?}");
        assert_eq!(unavailable(at_once(&keys, 2)), failed);
        host.does(good());
        // Another path is fetched at once, this one only after the pause.
        get(&keys, 3).await.unwrap();
        pass(37 * SECOND).await;
        get(&keys, 2).await.unwrap();
        at_once(&keys, 2).unwrap();
    }
}

/// A subscriber that panics on every event of the cache.
struct Angry;

impl Subscriber for Angry {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        if event.metadata().target() == "tower_aliyun_oss::key" {
            std::panic::resume_unwind(Box::new("a log that panics"));
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test(start_paused = true)]
async fn df_13_a_log_that_panics_leaves_nothing_stuck() {
    // Install the global subscriber of `Log` first, so that no other test can disable the events.
    drop(Log::default().listen());
    let _guard = tracing::subscriber::set_default(Angry);
    let host = Host::that(Does::Status(503));
    let keys = host.keys();
    assert_eq!(unavailable(get(&keys, 2).await), Kind::Status);
    assert_eq!(unavailable(at_once(&keys, 2)), Kind::Status);
    host.does(good());
    pass(37 * SECOND).await;
    get(&keys, 2).await.unwrap();
    pass(20 * HOUR).await;
    let asked = catch_unwind(AssertUnwindSafe(|| at_once(&keys, 2)));
    assert!(asked.is_err(), "the subscriber must panic");
    settle().await;
    assert_eq!(host.fetches(), 2);
    // The panic counts as a failed refresh, and a later refresh succeeds.
    at_once(&keys, 2).unwrap();
    let other = Signer::with_1024_bits();
    host.does(Does::key(&other));
    pass(80 * SECOND).await;
    let log = Log::default().listen();
    at_once(&keys, 2).unwrap();
    drop(log);
    settle().await;
    assert_eq!(at_once(&keys, 2).unwrap(), other.public());
    assert_eq!((host.fetches(), keys.stats().changes), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn df_24_a_clock_that_jumps_harms_nothing() {
    // The machine sleeps, during a fetch and between fetches.
    let host = Host::that(good()).takes(SECOND);
    let keys = host.keys();
    let Lookup::Pending(lookup) = keys.key(&official(2)) else {
        panic!("no key is cached yet");
    };
    settle().await;
    pass(8 * HOUR).await;
    lookup.await.unwrap();
    pass(8 * HOUR).await;
    at_once(&keys, 2).unwrap();
    // After ten years the key is too old, and is fetched again.
    pass(10 * 365 * 24 * HOUR).await;
    get(&keys, 2).await.unwrap();
    at_once(&keys, 2).unwrap();
    // Durations that overflow the clock.
    let keys = host
        .builder()
        .fresh_for(Duration::MAX)
        .stale_for(Duration::MAX)
        .cool_down(Duration::MAX)
        .fetch_timeout(Duration::MAX)
        .build();
    get(&keys, 2).await.unwrap();
    host.does(Does::Status(500));
    assert_eq!(unavailable(get(&keys, 3).await), Kind::Status);
    pass(365 * 24 * HOUR).await;
    at_once(&keys, 2).unwrap();
    assert_eq!(unavailable(at_once(&keys, 3)), Kind::Status);
}

#[test]
fn df_25_a_runtime_that_ends_takes_its_fetches_with_it() {
    let host = Host::that(Does::Hang);
    let keys = host.keys();
    assert_eq!(unavailable(at_once(&keys, 2)), Kind::NoRuntime);
    let first = runtime_at_rest();
    let mut waiting = None;
    first.block_on(async {
        waiting = Some(keys.key(&official(2)));
        settle().await;
    });
    let Some(Lookup::Pending(lookup)) = waiting else {
        panic!("no key is cached yet");
    };
    assert_eq!((host.fetches(), host.running()), (1, 1));
    drop(first);
    assert_eq!(host.running(), 0);
    // The waiting caller gets an error, and the cache works on the next runtime.
    let second = runtime_at_rest();
    assert_eq!(unavailable(second.block_on(lookup)), Kind::Aborted);
    host.does(good());
    second.block_on(async {
        pass(37 * SECOND).await;
        get(&keys, 2).await.unwrap();
    });
    // A cached key needs no runtime.
    drop(second);
    at_once(&keys, 2).unwrap();
}

#[test]
fn df_25_a_runtime_that_stands_still_holds_nothing_for_long() {
    let host = Host::that(Does::Hang);
    let keys = host.keys();
    let (first, second) = (runtime_at_rest(), runtime_at_rest());
    // Two fetches hold the slots, eight wait for one, and their runtime is no longer driven.
    first.block_on(async {
        for version in 2..12 {
            drop(keys.key(&official(version)));
        }
        settle().await;
    });
    assert_eq!((host.fetches(), host.running()), (2, 2));
    host.does(good());
    second.block_on(async {
        let joined = tokio::spawn({
            let keys = keys.clone();
            async move { get(&keys, 2).await }
        });
        pass(31 * SECOND).await;
        assert_eq!(unavailable(at_once(&keys, 12)), Kind::OverBudget);
        assert!(matches!(keys.key(&official(3)), Lookup::Pending(_)));
        assert_eq!(host.fetches(), 2);
        pass(SECOND).await;
        // A lookup of any path now abandons them, and their waiting callers get an error.
        get(&keys, 12).await.unwrap();
        assert_eq!(unavailable(joined.await.unwrap()), Kind::Timeout);
        for version in 2..6 {
            get(&keys, version).await.unwrap();
        }
    });
    assert_eq!(host.fetches(), 7);
    // Abandoned fetches that complete later change nothing, and do not release their slot a second
    // time.
    let before = keys.stats();
    first.block_on(pass(3 * SECOND));
    assert_eq!((host.fetches(), host.running()), (7, 0));
    let after = keys.stats();
    assert_eq!(after.failures, before.failures + 2);
    assert_eq!(after.changes, 0);
    host.does(Does::Hang);
    second.block_on(async {
        at_once(&keys, 2).unwrap();
        pass(MINUTE).await;
        for version in 20..30 {
            drop(keys.key(&official(version)));
        }
        settle().await;
    });
    assert_eq!(host.running(), 2);
}

#[test]
fn df_25_what_waits_in_a_runtime_that_stands_still_takes_no_slot() {
    let host = Host::that(good()).takes(SECOND);
    let keys = host.keys();
    let (first, second) = (runtime_at_rest(), runtime_at_rest());
    let (mut running, mut waiting) = (Vec::new(), Vec::new());
    second.block_on(async {
        for version in 2..4 {
            let keys = keys.clone();
            running.push(tokio::spawn(async move { get(&keys, version).await }));
        }
        settle().await;
    });
    // These are the next in turn, and never run again.
    first.block_on(async {
        for version in 4..6 {
            waiting.push(keys.key(&official(version)));
        }
        settle().await;
    });
    second.block_on(async {
        for fetch in running {
            fetch.await.unwrap().unwrap();
        }
        get(&keys, 6).await.unwrap();
    });
    assert_eq!(host.fetches(), 3);
    // Driven again, they get their turn.
    first.block_on(async {
        for lookup in waiting {
            lookup.await.unwrap();
        }
    });
    assert_eq!(host.fetches(), 5);
}

#[test]
fn df_25_a_look_that_stands_still_does_not_keep_a_key_from_being_renewed() {
    let host = Host::that(good());
    let keys = host.keys();
    let (first, second) = (runtime_at_rest(), runtime_at_rest());
    first.block_on(async {
        get(&keys, 2).await.unwrap();
        host.does(Does::Hang);
        pass(20 * HOUR).await;
        at_once(&keys, 2).unwrap();
        settle().await;
    });
    assert_eq!((host.fetches(), host.running()), (2, 1));
    host.does(good());
    second.block_on(async {
        pass(20 * HOUR + 31 * SECOND).await;
        at_once(&keys, 2).unwrap();
        settle().await;
        assert_eq!(host.fetches(), 2);
        pass(2 * SECOND).await;
        at_once(&keys, 2).unwrap();
        settle().await;
        assert_eq!(host.fetches(), 3);
        let hits = keys.stats().hits;
        pass(19 * HOUR).await;
        at_once(&keys, 2).unwrap();
        assert_eq!((keys.stats().hits, keys.stats().stale), (hits + 1, 0));
    });
    assert_eq!(host.fetches(), 3);
}

#[tokio::test(start_paused = true)]
async fn df_25_the_last_clone_goes_while_a_fetch_is_under_way() {
    let host = Host::that(Does::Hang);
    let keys = host.keys();
    let alive = Arc::new(());
    let held = Arc::clone(&alive);
    let Lookup::Pending(lookup) = keys.key(&official(2)) else {
        panic!("no key is cached yet");
    };
    tokio::spawn(async move {
        let _held = held;
        drop(lookup.await);
    });
    settle().await;
    drop(keys);
    assert_eq!(host.running(), 1);
    pass(2 * SECOND + MILLISECOND).await;
    assert_eq!(host.running(), 0, "the fetch task must end");
    assert_eq!(Arc::strong_count(&alive), 1);
}

#[tokio::test]
async fn df_22_a_resolver_that_fails() {
    let site = Site::saying(answer("200 OK", "", &pem(&Signer::with_512_bits()))).await;
    let missing = || std::io::Error::other("NXDOMAIN or SERVFAIL");
    let fetcher = site
        .fetcher()
        .resolver(move |_| std::future::ready(Err(missing())));
    let failed = fetcher.fetch(&official(2)).await.unwrap_err();
    assert_eq!(failed.kind(), Kind::Resolve);
    let fetcher = site.fetcher().resolver(|_| std::future::ready(Ok(vec![])));
    let failed = fetcher.fetch(&official(2)).await.unwrap_err();
    assert_eq!(failed.kind(), Kind::Resolve);
    assert_eq!(site.connections(), 0);
    // A resolver that takes 30 s exceeds the deadline.
    let fetcher = site
        .fetcher()
        .timeout(100 * MILLISECOND)
        .resolver(|_| async {
            tokio::time::sleep(30 * SECOND).await;
            unreachable!("the deadline ends the fetch first")
        });
    let failed = fetcher.fetch(&official(2)).await.unwrap_err();
    assert_eq!(failed.kind(), Kind::Timeout);
    // The first of the four addresses refuses connections.
    let dead = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let address = site.address;
    let fetcher = site
        .fetcher()
        .resolver(move |_| std::future::ready(Ok(vec![dead, address, address, address])));
    fetcher.fetch(&official(2)).await.unwrap();
    assert_eq!(site.connections(), 1);
}

/// Child process of [`df_23_no_roots_no_files_no_panic`]: first without root certificates, then
/// without free file descriptors.
#[tokio::test]
#[ignore = "runs in a process of its own"]
async fn df_23_child() {
    let roots = std::env::var_os("SSL_CERT_FILE").unwrap();
    let key = pem(&Signer::with_512_bits());
    let site = Site::saying(answer("200 OK", "", &key)).await;
    let address = site.address;
    let resolve = move |_: &str| std::future::ready(Ok(vec![address]));
    let system = HttpsFetcher::new().resolver(resolve).timeout(20 * SECOND);
    let fetch = || system.fetch(&official(2));
    assert_eq!(fetch().await.unwrap_err().kind(), Kind::NoTls);
    std::fs::write(&roots, "").unwrap();
    assert_eq!(fetch().await.unwrap_err().kind(), Kind::NoTls);
    std::fs::write(&roots, super::site::root()).unwrap();
    assert_eq!(fetch().await.unwrap(), key);

    let given = site.fetcher();
    let mut files = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        files.push(file);
        assert!(files.len() < 100_000, "no limit on open files");
    }
    assert_eq!(
        given.fetch(&official(2)).await.unwrap_err().kind(),
        Kind::Connect
    );
    assert_eq!(fetch().await.unwrap_err().kind(), Kind::NoTls);
    drop(files);
    assert_eq!(given.fetch(&official(2)).await.unwrap(), key);
    assert_eq!(fetch().await.unwrap(), key);
}

#[cfg(unix)]
#[tokio::test]
async fn df_23_no_roots_no_files_no_panic() {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let name = format!(
        "fetch-roots-{}-{}.pem",
        std::process::id(),
        NUMBER.fetch_add(1, SeqCst)
    );
    let roots = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let file = roots.clone();
    let output = tokio::task::spawn_blocking(move || {
        Command::new("sh")
            .args(["-c", "ulimit -n 200 && exec \"$0\" \"$@\""])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "fetch::faults::df_23_child", "--ignored"])
            .env("SSL_CERT_FILE", file)
            .env_remove("SSL_CERT_DIR")
            .output()
            .unwrap()
    })
    .await
    .unwrap();
    let _ = std::fs::remove_file(roots);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
}
