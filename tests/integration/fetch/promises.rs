//! The promises in the documentation of `FetchedKeys`, each to its exact limits.

use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;
use tower_aliyun_oss::{
    Lookup,
    key::{FetchError, FetchErrorKind as Kind, FetchKey, FetchedKeys, KeyError, KeySource as _},
};

use super::{
    fake::{
        Does, HOUR, Host, MINUTE, SECOND, at_once, get, pass, pem, runtime_at_rest, settle,
        unavailable,
    },
    site::official,
};
use crate::support::{Log, Signer};

const TICK: Duration = Duration::from_nanos(1);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn good() -> Does {
    Does::key(&Signer::with_512_bits())
}

/// Advances the clock to exactly this long after `start`.
async fn pass_until(start: Instant, after: Duration) {
    pass((start + after) - Instant::now()).await;
}

/// Fetches version 2, and returns when.
async fn fetched(keys: &FetchedKeys) -> Instant {
    get(keys, 2).await.unwrap();
    Instant::now()
}

#[tokio::test(start_paused = true)]
async fn a_key_is_refreshed_after_four_fifths_of_its_time_and_not_before() {
    let host = Host::that(good());
    let keys = host.keys();
    let start = fetched(&keys).await;
    pass_until(start, DAY / 5 * 4 - TICK).await;
    at_once(&keys, 2).unwrap();
    settle().await;
    assert_eq!(host.fetches(), 1);
    pass_until(start, DAY / 5 * 4).await;
    at_once(&keys, 2).unwrap();
    settle().await;
    assert_eq!(host.fetches(), 2);
    assert_eq!((keys.stats().hits, keys.stats().stale), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_key_is_stale_after_a_day_and_gone_after_eight() {
    let host = Host::that(good());
    let keys = host.keys();
    let start = fetched(&keys).await;
    host.does(Does::Status(503));
    pass_until(start, DAY - TICK).await;
    at_once(&keys, 2).unwrap();
    assert_eq!(keys.stats().stale, 0);
    pass_until(start, DAY).await;
    at_once(&keys, 2).unwrap();
    assert_eq!(keys.stats().stale, 1);
    pass_until(start, 8 * DAY - TICK).await;
    at_once(&keys, 2).unwrap();
    settle().await;
    pass_until(start, 8 * DAY).await;
    assert_eq!(unavailable(at_once(&keys, 2)), Kind::Status);
}

#[tokio::test(start_paused = true)]
async fn a_failed_signature_is_a_reason_to_look_once_in_five_minutes() {
    let host = Host::that(good());
    let keys = host.keys();
    let mut last = fetched(&keys).await;
    for fetches in 1..4 {
        pass_until(last, 5 * MINUTE - TICK).await;
        keys.signature_failed(&official(2));
        settle().await;
        assert_eq!(host.fetches(), fetches);
        pass_until(last, 5 * MINUTE).await;
        keys.signature_failed(&official(2));
        last = Instant::now();
        settle().await;
        assert_eq!(host.fetches(), fetches + 1);
    }
    // Nothing of that is a reason to lose the key, or to count it as stale.
    at_once(&keys, 2).unwrap();
    assert_eq!(keys.stats().stale, 0);
}

/// Asks every second for `time`. Returns the pauses between the fetches, in seconds.
async fn pauses(keys: &FetchedKeys, host: &Host, time: Duration) -> Vec<u64> {
    let before = host.times().len().saturating_sub(1);
    for _ in 0..time.as_secs() {
        drop(keys.key(&official(2)));
        pass(SECOND).await;
    }
    let times = &host.times()[before..];
    let pairs = times.windows(2);
    pairs.map(|pair| (pair[1] - pair[0]).as_secs()).collect()
}

/// Checks that each pause is this many seconds, give or take 20 % and the second between questions.
fn assert_about(pauses: &[u64], expected: &[u64]) {
    assert!(pauses.len() >= expected.len(), "{pauses:?}");
    for (pause, about) in pauses.iter().zip(expected) {
        let range = about * 4 / 5..=about * 6 / 5 + 1;
        assert!(range.contains(pause), "{pauses:?} but not {expected:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn pauses_double_up_to_ten_minutes_and_a_key_makes_them_longer() {
    let host = Host::that(Does::Status(503));
    let without = pauses(&host.keys(), &host, 2 * HOUR).await;
    assert_about(&without, &[30, 60, 120, 240, 480, 600, 600, 600, 600]);

    let host = Host::that(good());
    let keys = host.keys();
    fetched(&keys).await;
    host.does(Does::Status(503));
    pass(DAY).await;
    let with = pauses(&keys, &host, 2 * HOUR).await;
    // The first pause is that before the refresh.
    assert_about(&with[1..], &[60, 120, 240, 480, 600, 600, 600, 600]);
    // A success ends the series.
    host.does(good());
    pass(15 * MINUTE).await;
    at_once(&keys, 2).unwrap();
    settle().await;
    host.does(Does::Status(503));
    pass(DAY).await;
    let again = pauses(&keys, &host, HOUR).await;
    assert_about(&again[1..], &[60, 120, 240]);
}

#[tokio::test(start_paused = true)]
async fn pauses_are_spread() {
    let host = Host::that(Does::Status(503));
    let mut first = Vec::new();
    for _ in 0..40 {
        let keys = host.keys();
        let pauses = pauses(&keys, &host, 40 * SECOND).await;
        first.push(*pauses.last().unwrap());
    }
    assert_about(&first, &[30; 40]);
    first.sort_unstable();
    first.dedup();
    assert!(first.len() > 4, "{first:?}");
}

#[tokio::test(start_paused = true)]
async fn the_host_can_ask_for_a_longer_pause_but_not_for_more_than_ten_minutes() {
    struct Asks(u16, u64);

    impl FetchKey for Asks {
        fn fetch(
            &self,
            _: &tower_aliyun_oss::key::KeyUrl,
        ) -> std::pin::Pin<Box<dyn Future<Output = Result<bytes::Bytes, FetchError>> + Send>>
        {
            let error = FetchError::from_status(StatusCode::from_u16(self.0).unwrap())
                .with_retry_after(Duration::from_secs(self.1));
            Box::pin(std::future::ready(Err(error)))
        }
    }

    for (status, asks, least, most) in [
        (503, 0, 24, 36),
        (503, 5, 24, 36),
        (429, 100, 100, 100),
        (429, u64::MAX, 600, 600),
        (404, 0, 300, 300),
        (410, 0, 300, 300),
        (404, 400, 400, 400),
        (403, 0, 24, 36),
    ] {
        let keys = FetchedKeys::builder().fetcher(Asks(status, asks)).build();
        unavailable(get(&keys, 2).await);
        pass(Duration::from_secs(least) - TICK).await;
        assert_eq!(unavailable(at_once(&keys, 2)), Kind::Status, "{status}");
        pass(Duration::from_secs(most - least) + TICK).await;
        let Lookup::Pending(lookup) = keys.key(&official(2)) else {
            panic!("{status} with {asks}: the pause is over");
        };
        unavailable(lookup.await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_fails_is_not_tried_again_at_once() {
    let host = Host::that(good());
    let keys = host.keys();
    fetched(&keys).await;
    host.does(Does::Break);
    pass(20 * HOUR).await;
    for _ in 0..48 {
        at_once(&keys, 2).unwrap();
        pass(SECOND).await;
    }
    assert_eq!(host.fetches(), 2, "nobody waits for it");
    let stats = keys.stats();
    assert_eq!((stats.fetches, stats.failures), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_second_attempt_needs_a_budget_of_its_own() {
    let host = Host::that(Does::Break);
    let keys = host.builder().fetches_per_minute(1, 0).build();
    assert_eq!(unavailable(get(&keys, 2).await), Kind::Connect);
    assert_eq!(host.fetches(), 1);
    assert_eq!(unavailable(get(&keys, 3).await), Kind::OverBudget);
    let keys = host.builder().fetches_per_minute(2, 0).build();
    assert_eq!(unavailable(get(&keys, 2).await), Kind::Connect);
    assert_eq!(host.fetches(), 3);
}

#[test]
fn a_key_whose_refresh_is_due_needs_no_runtime() {
    let host = Host::that(good());
    let keys = host.keys();
    let runtime = runtime_at_rest();
    runtime.block_on(async {
        fetched(&keys).await;
        // Fresh for nothing: each lookup is a reason for a refresh.
    });
    let due = host.builder().fresh_for(Duration::ZERO).build();
    runtime.block_on(async {
        fetched(&due).await;
    });
    let fetches = host.fetches();
    for _ in 0..3 {
        at_once(&keys, 2).unwrap();
        at_once(&due, 2).unwrap();
        due.signature_failed(&official(2));
    }
    assert_eq!(host.fetches(), fetches);
    runtime.block_on(async {
        at_once(&due, 2).unwrap();
        settle().await;
    });
    assert_eq!(host.fetches(), fetches + 1, "a lookup inside is a reason");
}

#[tokio::test(start_paused = true)]
async fn what_is_cached_and_what_fails_is_logged_by_its_importance() {
    let log = Log::default();
    let _guard = log.listen();
    let host = Host::that(good());
    let keys = host.keys();
    fetched(&keys).await;
    let url = "key_url=https://gosspublic.alicdn.com/callback_pub_key_v2.pem";
    assert_eq!(log.count("INFO", "fetched a new key"), 1);
    assert_eq!(log.count(url, "bits=512"), 1);
    pass(20 * HOUR).await;
    at_once(&keys, 2).unwrap();
    settle().await;
    assert_eq!(log.count("DEBUG", "the key is unchanged"), 1);
    assert_eq!(log.count("INFO ", "tower_aliyun_oss::key"), 1);
    assert_eq!(log.count("WARN ", "tower_aliyun_oss::key"), 0);
    host.does(Does::Status(502));
    pass(20 * HOUR).await;
    at_once(&keys, 2).unwrap();
    settle().await;
    assert_eq!(log.count("WARN ", url), 1);
    assert_eq!(log.count("WARN ", "status 502"), 1);
    assert_eq!(log.count("WARN ", "backoff="), 1);
}

#[tokio::test(start_paused = true)]
async fn refused_fetches_are_a_warning_a_minute() {
    let log = Log::default();
    let _guard = log.listen();
    let host = Host::that(Does::Status(404));
    let keys = host.builder().fetches_per_minute(0, 0).build();
    for minutes in 1..4 {
        for _ in 0..60 {
            for version in 2..20 {
                assert_eq!(unavailable(at_once(&keys, version)), Kind::OverBudget);
            }
            pass(SECOND).await;
        }
        assert_eq!(log.count("WARN ", "probing key URLs"), minutes);
    }
}

#[tokio::test(start_paused = true)]
async fn warm_up_tries_all_paths_one_after_the_other() {
    let host = Host::that(good()).takes(SECOND);
    host.has(3, Does::Status(403));
    let keys = host.keys();
    let started = Instant::now();
    let paths = ["v2", "v3", "v1", "v4"].map(|it| format!("/callback_pub_key_{it}.pem"));
    let warming = tokio::spawn({
        let keys = keys.clone();
        async move { keys.warm_up(paths).await }
    });
    while !warming.is_finished() {
        assert!(host.running() <= 1);
        pass(SECOND / 10).await;
    }
    let error = warming.await.unwrap().unwrap_err();
    assert!(matches!(&error, KeyError::Unavailable(_)));
    assert!(started.elapsed() >= 3 * SECOND);
    assert_eq!(host.fetches(), 3);
    at_once(&keys, 4).unwrap();
    // The first of several errors, and the paths after it are tried all the same.
    let keys = host.keys();
    let unknown = keys.warm_up([
        "/other",
        "/callback_pub_key_v3.pem",
        "/callback_pub_key_v2.pem",
    ]);
    assert!(matches!(unknown.await, Err(KeyError::Unknown)));
    at_once(&keys, 2).unwrap();
}

#[tokio::test(start_paused = true)]
async fn warm_up_that_is_given_up_leaves_its_fetch_running() {
    let host = Host::that(good()).takes(SECOND);
    let keys = host.keys();
    let warming = tokio::spawn({
        let keys = keys.clone();
        async move { keys.warm_up(["/callback_pub_key_v2.pem"]).await }
    });
    settle().await;
    warming.abort();
    pass(SECOND).await;
    assert_eq!((host.fetches(), host.running()), (1, 0));
    at_once(&keys, 2).unwrap();
}

#[tokio::test(start_paused = true)]
async fn two_paths_are_fetched_at_once_and_the_others_wait_for_their_turn() {
    let host = Host::that(good()).takes(SECOND / 4);
    let keys = host.keys();
    let started = Instant::now();
    let mut requests = tokio::task::JoinSet::new();
    for version in 2..8 {
        let keys = keys.clone();
        requests.spawn(async move { get(&keys, version).await });
    }
    settle().await;
    assert_eq!((host.fetches(), host.running()), (2, 2));
    for result in requests.join_all().await {
        result.unwrap();
    }
    assert_eq!(started.elapsed(), SECOND / 4 * 3);
    assert_eq!(host.fetches(), 6);
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_its_turn_counts_for_the_budget() {
    let host = Host::that(Does::Hang);
    let keys = host.builder().fetches_per_minute(3, 0).build();
    for version in 2..5 {
        assert!(matches!(keys.key(&official(version)), Lookup::Pending(_)));
    }
    settle().await;
    assert_eq!(host.fetches(), 2);
    assert_eq!(unavailable(at_once(&keys, 5)), Kind::OverBudget);
    // The third starts when the others end, and counts from then on.
    pass(2 * SECOND).await;
    assert_eq!(host.fetches(), 3);
    pass(59 * SECOND).await;
    assert!(matches!(keys.key(&official(5)), Lookup::Pending(_)));
    assert!(matches!(keys.key(&official(6)), Lookup::Pending(_)));
    assert_eq!(unavailable(at_once(&keys, 7)), Kind::OverBudget);
}

#[tokio::test(start_paused = true)]
async fn failures_of_64_paths_are_remembered() {
    let host = Host::that(Does::Status(404));
    let keys = host.builder().fetches_per_minute(1_000, 0).build();
    for version in 2..2 + 70 {
        assert_eq!(unavailable(get(&keys, version).await), Kind::Status);
        pass(SECOND).await;
    }
    for version in 8..2 + 70 {
        assert_eq!(unavailable(at_once(&keys, version)), Kind::Status);
    }
    // The others have been forgotten, those first whose pause is over first.
    for version in 2..8 {
        assert!(matches!(keys.key(&official(version)), Lookup::Pending(_)));
    }
}

#[tokio::test(start_paused = true)]
async fn failures_of_other_paths_forget_no_key() {
    let host = Host::that(good());
    let keys = host.builder().fetches_per_minute(1_000, 0).build();
    for version in 2..10 {
        get(&keys, version).await.unwrap();
    }
    host.does(Does::Status(404));
    for version in 10..110 {
        unavailable(get(&keys, version).await);
    }
    for version in 2..10 {
        at_once(&keys, version).unwrap();
    }
    assert_eq!(host.fetches(), 108);
}

#[tokio::test(start_paused = true)]
async fn the_last_fetches_of_a_minute_are_for_paths_that_were_named_or_had_a_key() {
    let host = Host::that(good());
    let keys = host.builder().fetches_per_minute(2, 2).build();
    for version in 2..4 {
        get(&keys, version).await.unwrap();
    }
    assert_eq!(unavailable(at_once(&keys, 4)), Kind::OverBudget);
    keys.warm_up(["/callback_pub_key_v4.pem"]).await.unwrap();
    assert_eq!(unavailable(at_once(&keys, 5)), Kind::OverBudget);
    // In the next minute, a path that has had a key takes from the same budget.
    pass(20 * HOUR).await;
    at_once(&keys, 2).unwrap();
    settle().await;
    get(&keys, 5).await.unwrap();
    assert_eq!(unavailable(at_once(&keys, 6)), Kind::OverBudget);
    at_once(&keys, 3).unwrap();
    settle().await;
    at_once(&keys, 4).unwrap();
    settle().await;
    assert_eq!(host.fetches(), 7);
    assert_eq!(keys.stats().refusals, 3);
}

#[tokio::test(start_paused = true)]
async fn requests_that_share_a_fetch_share_its_result() {
    for (does, kind) in [
        (Does::Status(503), Some(Kind::Status)),
        (Does::Panic, Some(Kind::Aborted)),
        (Does::Hang, Some(Kind::Timeout)),
        (Does::Say(pem(&Signer::with_512_bits())), None),
    ] {
        let host = Host::that(does);
        let keys = host.keys();
        let mut requests = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let keys = keys.clone();
            requests.spawn(async move { get(&keys, 2).await });
        }
        for result in requests.join_all().await {
            match kind {
                Some(kind) => assert_eq!(unavailable(result), kind),
                None => drop(result.unwrap()),
            }
        }
        assert_eq!(host.fetches(), 1);
    }
}
