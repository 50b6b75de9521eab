//! `RefreshingCredentials`, with the paused clock of tokio.

use std::{
    error::Error,
    fmt,
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, SystemTime},
};

use proptest::prelude::*;
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tower_aliyun_oss::{
    Lookup,
    policy::{Credentials, CredentialsProvider, CredentialsProviderError, RefreshingCredentials},
};

const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Answers {
    Lives(Duration),
    Ended,
    NoExpiry,
    Fails,
    Panics,
    PanicsAtOnce,
    Hangs,
}

#[derive(Debug)]
struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the role cannot be assumed")
    }
}

impl Error for Refused {}

/// A model of STS, with a wall clock that can differ from the steady clock.
struct Sts {
    start: Instant,
    skew_ms: AtomicI64,
    answers: Mutex<Answers>,
    latency: Mutex<Duration>,
    calls: AtomicUsize,
    in_flight: AtomicUsize,
    /// Expiry of the last credentials that were valid on arrival, by the wall clock and by the
    /// steady clock.
    good: Mutex<Option<(SystemTime, Instant)>>,
}

struct InFlight(Arc<Sts>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, SeqCst);
    }
}

impl Sts {
    fn new(answers: Answers) -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            skew_ms: AtomicI64::new(0),
            answers: Mutex::new(answers),
            latency: Mutex::new(Duration::ZERO),
            calls: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
            good: Mutex::new(None),
        })
    }

    fn answer(&self, answers: Answers) {
        *self.answers.lock().unwrap() = answers;
    }

    fn calls(&self) -> usize {
        self.calls.load(SeqCst)
    }

    fn wall(&self) -> SystemTime {
        let skew = Duration::from_millis(self.skew_ms.load(SeqCst).try_into().unwrap());
        SystemTime::UNIX_EPOCH + self.start.elapsed() + skew
    }

    /// Returns whether the last valid credentials are valid by both clocks.
    fn good(&self) -> bool {
        let good = *self.good.lock().unwrap();
        good.is_some_and(|(wall, steady)| self.wall() < wall && Instant::now() < steady)
    }

    fn provider(self: &Arc<Self>) -> RefreshingCredentials {
        // Start far enough after the epoch that no skew can go below it.
        self.skew_ms.store(1_000_000_000, SeqCst);
        let (sts, clock) = (Arc::clone(self), Arc::clone(self));
        RefreshingCredentials::new(move || Arc::clone(&sts).call()).clock(move || clock.wall())
    }

    /// Not an `async fn`, because one fault panics before it returns a future.
    fn call(
        self: Arc<Self>,
    ) -> impl Future<Output = Result<Credentials, Box<dyn Error + Send + Sync>>> + Send {
        let number = self.calls.fetch_add(1, SeqCst);
        let answers = *self.answers.lock().unwrap();
        assert!(
            answers != Answers::PanicsAtOnce,
            "panic in the fetch function"
        );
        assert_eq!(
            self.in_flight.fetch_add(1, SeqCst),
            0,
            "two concurrent calls"
        );
        let guard = InFlight(self);
        async move {
            let sts = &guard.0;
            let latency = *sts.latency.lock().unwrap();
            sleep(latency).await;
            let credentials = Credentials::new(format!("STS.{number}"), "canary-secret")?
                .with_security_token("canary-token")?;
            match answers {
                Answers::Lives(life) => {
                    let (wall, steady) = (sts.wall() + life, Instant::now() + life);
                    *sts.good.lock().unwrap() = Some((wall, steady));
                    Ok(credentials.with_expiry(wall))
                }
                Answers::Ended => Ok(credentials.with_expiry(sts.wall())),
                Answers::NoExpiry => Ok(credentials),
                Answers::Fails => Err(Refused.into()),
                Answers::Panics | Answers::PanicsAtOnce => panic!("panic in the fetch function"),
                Answers::Hangs => pending().await,
            }
        }
    }
}

fn ready(provider: &RefreshingCredentials) -> Option<String> {
    match provider.credentials() {
        Lookup::Ready(result) => Some(result.ok()?.access_key_id().to_owned()),
        Lookup::Pending(_) => None,
    }
}

async fn id(provider: &RefreshingCredentials) -> String {
    let credentials = provider.credentials().await.unwrap();
    credentials.access_key_id().to_owned()
}

async fn failure(provider: &RefreshingCredentials) -> CredentialsProviderError {
    provider.credentials().await.unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn nothing_is_called_before_the_first_caller_and_then_once_for_all() {
    let sts = Sts::new(Answers::Lives(HOUR));
    *sts.latency.lock().unwrap() = 2 * SECOND;
    let provider = Arc::new(sts.provider());
    sleep(MINUTE).await;
    assert_eq!(sts.calls(), 0);

    let callers: Vec<_> = (0..1000)
        .map(|_| {
            let provider = Arc::clone(&provider);
            tokio::spawn(async move { id(&provider).await })
        })
        .collect();
    for caller in callers {
        assert_eq!(caller.await.unwrap(), "STS.0");
    }
    assert_eq!(sts.calls(), 1);
    assert_eq!(ready(&provider).unwrap(), "STS.0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_call_over_threads_too() {
    let sts = Sts::new(Answers::Lives(HOUR));
    *sts.latency.lock().unwrap() = Duration::from_millis(20);
    let provider = Arc::new(sts.provider());
    let callers: Vec<_> = (0..200)
        .map(|_| {
            let provider = Arc::clone(&provider);
            tokio::spawn(async move { id(&provider).await })
        })
        .collect();
    for caller in callers {
        assert_eq!(caller.await.unwrap(), "STS.0");
    }
    assert_eq!(sts.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_does_not_cut_the_call_short() {
    let sts = Sts::new(Answers::Lives(HOUR));
    *sts.latency.lock().unwrap() = 5 * SECOND;
    let provider = sts.provider();
    // Drop one future unpolled, and another while its call runs.
    drop(provider.credentials());
    assert!(timeout(SECOND, id(&provider)).await.is_err());
    sleep(5 * SECOND).await;
    assert_eq!(ready(&provider).unwrap(), "STS.0");
    assert_eq!(sts.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn renewed_ahead_without_anyone_waiting() {
    for (life, before, renewed) in [
        (15 * MINUTE, None, 10 * MINUTE),
        (HOUR, None, 48 * MINUTE),
        (12 * HOUR, None, 12 * HOUR * 4 / 5),
        (4 * MINUTE, None, 2 * MINUTE),
        (HOUR, Some(20 * MINUTE), 40 * MINUTE),
        (HOUR, Some(2 * HOUR), 30 * MINUTE),
    ] {
        let sts = Sts::new(Answers::Lives(life));
        *sts.latency.lock().unwrap() = 2 * SECOND;
        let mut provider = sts.provider();
        if let Some(before) = before {
            provider = provider.refresh_before(before);
        }
        assert_eq!(id(&provider).await, "STS.0");
        sleep(renewed - SECOND).await;
        assert_eq!(ready(&provider).unwrap(), "STS.0");
        sleep(SECOND / 2).await;
        assert_eq!(sts.calls(), 1, "{life:?}");
        sleep(SECOND / 2).await;
        for _ in 0..10 {
            assert_eq!(ready(&provider).unwrap(), "STS.0");
        }
        sleep(SECOND).await;
        assert_eq!(sts.calls(), 2, "{life:?}");
        assert_eq!(ready(&provider).unwrap(), "STS.0");
        sleep(2 * SECOND).await;
        assert_eq!(ready(&provider).unwrap(), "STS.1");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_keeps_the_last_good_ones_while_they_last() {
    let sts = Sts::new(Answers::Lives(HOUR));
    let provider = sts.provider();
    assert_eq!(id(&provider).await, "STS.0");
    for answers in [
        Answers::Fails,
        Answers::Panics,
        Answers::PanicsAtOnce,
        Answers::Hangs,
        Answers::Ended,
        Answers::NoExpiry,
    ] {
        sts.answer(answers);
        sleep(if sts.calls() == 1 {
            50 * MINUTE
        } else {
            MINUTE
        })
        .await;
        let calls = sts.calls();
        assert_eq!(ready(&provider).unwrap(), "STS.0");
        sleep(11 * SECOND).await;
        assert_eq!(sts.calls(), calls + 1, "{answers:?}");
        assert_eq!(ready(&provider).unwrap(), "STS.0");
    }
    // Requests during the pause after a failure cause no call.
    let calls = sts.calls();
    for _ in 0..30 {
        sleep(SECOND).await;
        assert_eq!(ready(&provider).unwrap(), "STS.0");
    }
    assert!(sts.calls() <= calls + 1);
    sts.answer(Answers::Fails);
    sleep(10 * MINUTE).await;
    assert!(matches!(
        failure(&provider).await,
        CredentialsProviderError::Unavailable(_)
    ));
    sts.answer(Answers::Lives(HOUR));
    sleep(MINUTE).await;
    let calls = sts.calls();
    assert_eq!(id(&provider).await, format!("STS.{calls}"));
}

#[tokio::test(start_paused = true)]
async fn failed_calls_are_ever_further_apart() {
    let sts = Sts::new(Answers::Fails);
    let provider = sts.provider();
    for pause in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
        let calls = sts.calls();
        // The first request starts a call; the others get the same error without one.
        for _ in 0..10 {
            assert!(failure(&provider).await.source().unwrap().is::<Refused>());
        }
        assert_eq!(sts.calls(), calls + 1);
        sleep(pause * SECOND - Duration::from_millis(10)).await;
        failure(&provider).await;
        assert_eq!(sts.calls(), calls + 1, "{pause}");
        sleep(Duration::from_millis(20)).await;
    }
    sts.answer(Answers::Lives(HOUR));
    id(&provider).await;
    // A success resets the back-off.
    sts.answer(Answers::Fails);
    sleep(2 * HOUR).await;
    failure(&provider).await;
    sleep(SECOND + Duration::from_millis(10)).await;
    let calls = sts.calls();
    failure(&provider).await;
    assert_eq!(sts.calls(), calls + 1);
}

#[tokio::test(start_paused = true)]
async fn each_failure_says_what_it_is() {
    use CredentialsProviderError as E;
    for (answers, of_its_kind) in [
        (
            Answers::Fails,
            (|e| matches!(e, E::Unavailable(_))) as fn(&E) -> bool,
        ),
        (Answers::Panics, |e| matches!(e, E::Interrupted)),
        (Answers::PanicsAtOnce, |e| matches!(e, E::Interrupted)),
        (
            Answers::Hangs,
            |e| matches!(e, E::TimedOut(after) if *after == 3 * SECOND),
        ),
        (Answers::Ended, |e| matches!(e, E::Expired)),
        (Answers::NoExpiry, |e| matches!(e, E::NoExpiry)),
    ] {
        let sts = Sts::new(answers);
        let provider = sts.provider().timeout(3 * SECOND);
        let error = failure(&provider).await;
        assert!(of_its_kind(&error), "{answers:?}: {error:?}");
        // The next call succeeds: nothing is poisoned or stuck.
        sts.answer(Answers::Lives(HOUR));
        sleep(2 * SECOND).await;
        assert_eq!(id(&provider).await, "STS.1");
    }
}

#[tokio::test(start_paused = true)]
async fn ended_by_either_clock() {
    for skew in [-3_000_000_i64, 0, 3_600_000] {
        let sts = Sts::new(Answers::Lives(HOUR));
        let provider = sts.provider();
        assert_eq!(id(&provider).await, "STS.0");
        sts.answer(Answers::Fails);
        sts.skew_ms.fetch_add(skew, SeqCst);
        sleep(if skew > 0 { 2 * SECOND } else { HOUR }).await;
        assert!(!sts.good());
        failure(&provider).await;
    }
}

/// A caller polls its future long after the call completed.
#[tokio::test(start_paused = true)]
async fn a_late_caller_gets_nothing_that_has_ended() {
    for skew in [-30 * 60 * 1000, 0, 60 * 1000] {
        let sts = Sts::new(Answers::Lives(MINUTE));
        let provider = sts.provider();
        let lookup = provider.credentials();
        sleep(SECOND).await;
        assert_eq!(sts.calls(), 1);
        sts.skew_ms.fetch_add(skew, SeqCst);
        if skew <= 0 {
            sleep(MINUTE).await;
        }
        let error = lookup.await.unwrap_err();
        assert!(matches!(error, CredentialsProviderError::Expired), "{skew}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_without_an_end_is_kept() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let provider = RefreshingCredentials::new(move || {
        counted.fetch_add(1, SeqCst);
        async { Credentials::new("id", "secret") }
    });
    for _ in 0..10 {
        assert_eq!(id(&provider).await, "id");
        sleep(1000 * HOUR).await;
    }
    assert_eq!(calls.load(SeqCst), 1);
}

fn runtime() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap()
}

#[test]
fn outside_of_a_runtime_it_says_so_and_goes_on_later() {
    let sts = Sts::new(Answers::Lives(HOUR));
    let provider = sts.provider();
    let Lookup::Pending(outside) = provider.credentials() else {
        panic!("no credentials can be cached");
    };
    let runtime = runtime();
    let error = runtime.block_on(outside).unwrap_err();
    assert!(matches!(error, CredentialsProviderError::NoRuntime));
    assert_eq!(runtime.block_on(id(&provider)), "STS.0");
}

#[test]
fn a_runtime_that_ends_takes_nothing_along() {
    let sts = Sts::new(Answers::Hangs);
    let provider = sts.provider();
    let first = runtime();
    let lookup = first.block_on(async {
        let lookup = provider.credentials();
        sleep(SECOND).await;
        lookup
    });
    assert_eq!(sts.calls(), 1);
    drop(first);
    let second = runtime();
    let error = second.block_on(lookup.into_future()).unwrap_err();
    assert!(matches!(error, CredentialsProviderError::Interrupted));
    sts.answer(Answers::Lives(HOUR));
    second.block_on(async { sleep(2 * SECOND).await });
    assert_eq!(second.block_on(id(&provider)), "STS.1");
}

#[test]
fn credentials_at_hand_allocate_nothing() {
    let fixed: Arc<dyn CredentialsProvider> = Arc::new(Credentials::new("id", "secret").unwrap());
    let sts = Sts::new(Answers::Lives(HOUR));
    let runtime = runtime();
    let refreshing: Arc<dyn CredentialsProvider> = Arc::new(sts.provider());
    runtime.block_on(async {
        refreshing.credentials().await.unwrap();
        for provider in [fixed, refreshing] {
            let counted = allocation_counter::measure(|| drop(provider.credentials()));
            assert_eq!(counted.count_total, 0);
        }
    });
}

#[test]
fn every_future_can_cross_threads() {
    fn crosses<T: Send>(_: T) {}
    fn shared<T: Send + Sync + fmt::Debug>() {}
    shared::<RefreshingCredentials>();
    shared::<Credentials>();
    shared::<CredentialsProviderError>();
    crosses(Credentials::new("id", "secret").unwrap().credentials());
    crosses(
        Credentials::new("id", "secret")
            .unwrap()
            .credentials()
            .into_future(),
    );
}

#[derive(Clone, Debug)]
enum Step {
    Sleep(u64),
    Ask,
    Cancel(usize),
    Answer(Answers),
    Latency(u64),
    Skew(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let answers = prop_oneof![
        4 => (1_u64..4_000_000).prop_map(|ms| Answers::Lives(Duration::from_millis(ms))),
        1 => Just(Answers::Ended),
        1 => Just(Answers::NoExpiry),
        2 => Just(Answers::Fails),
        1 => Just(Answers::Panics),
        1 => Just(Answers::PanicsAtOnce),
        1 => Just(Answers::Hangs),
    ];
    let step = prop_oneof![
        3 => prop_oneof![0_u64..3000, 0_u64..100_000, 0_u64..2_000_000].prop_map(Step::Sleep),
        4 => Just(Step::Ask),
        2 => any::<usize>().prop_map(Step::Cancel),
        2 => answers.prop_map(Step::Answer),
        // Latencies on both sides of the timeout of 10 s.
        1 => prop_oneof![0_u64..3000, 8001_u64..12_000].prop_map(Step::Latency),
        1 => (-900_000_i64..900_000).prop_map(Step::Skew),
    ];
    proptest::collection::vec(step, 1..80)
}

/// Requests credentials, and checks the result when it arrives.
fn ask(sts: &Arc<Sts>, provider: &Arc<RefreshingCredentials>) -> Option<JoinHandle<()>> {
    let good = sts.good();
    if !good {
        // The provider wipes expired credentials, so a clock that goes back does not revive them.
        *sts.good.lock().unwrap() = None;
    }
    let checked = {
        let sts = Arc::clone(sts);
        move |result: Result<Credentials, CredentialsProviderError>| {
            if let Ok(credentials) = result {
                assert!(
                    credentials.expires_at().unwrap() > sts.wall(),
                    "expired credentials"
                );
            }
        }
    };
    match provider.credentials() {
        Lookup::Ready(result) => {
            assert_eq!(
                result.is_ok(),
                good,
                "valid credentials must stay in use: {result:?}"
            );
            checked(result);
            None
        }
        Lookup::Pending(future) => {
            assert!(!good, "no caller may wait while credentials are valid");
            Some(tokio::spawn(async move { checked(future.await) }))
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// For any sequence of events: at most one call runs at a time (asserted by the model), no
    /// caller gets expired credentials, valid credentials stay in use, no caller hangs, and the
    /// provider recovers with STS.
    #[test]
    fn any_order_of_time_failures_cancellations_and_callers(steps in steps()) {
        runtime().block_on(async {
            let sts = Sts::new(Answers::Lives(HOUR));
            let provider = Arc::new(sts.provider());
            let mut callers = Vec::new();
            for step in steps {
                match step {
                    Step::Sleep(ms) => sleep(Duration::from_millis(ms)).await,
                    Step::Ask => callers.extend(ask(&sts, &provider)),
                    Step::Cancel(_) if callers.is_empty() => {}
                    Step::Cancel(which) => {
                        let caller = callers.swap_remove(which % callers.len());
                        caller.abort();
                        if let Err(error) = caller.await {
                            assert!(error.is_cancelled(), "{error}");
                        }
                    }
                    Step::Answer(answers) => sts.answer(answers),
                    Step::Latency(ms) => *sts.latency.lock().unwrap() = Duration::from_millis(ms),
                    Step::Skew(ms) => {
                        sts.skew_ms.fetch_add(ms, SeqCst);
                    }
                }
            }
            for caller in callers {
                timeout(11 * SECOND, caller).await.expect("a caller hangs").unwrap();
            }
            sts.answer(Answers::Lives(HOUR));
            *sts.latency.lock().unwrap() = Duration::ZERO;
            // Wait for the longest call plus the longest pause.
            sleep(11 * SECOND + MINUTE).await;
            provider.credentials().await.unwrap();
            assert_eq!(sts.in_flight.load(SeqCst), 0);
        });
    }
}
