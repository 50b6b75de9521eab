//! A model of the cache: its promises hold for any sequence of events.

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use proptest::{prelude::*, test_runner::TestCaseResult};
use tokio::{
    sync::oneshot,
    task::{JoinHandle, yield_now},
    time::Instant,
};

use super::{
    state::{CONCURRENT, PATHS as REMEMBERED, RECHECK},
    *,
};
use crate::key::{FetchError, FetchErrorKind};

/// Four paths that the host often serves, and many others.
const PATHS: u16 = 100;

static KEYS: LazyLock<Vec<(Bytes, PublicKey)>> = LazyLock::new(|| {
    use rsa::pkcs8::{EncodePublicKey as _, LineEnding};

    let of = |modulus: u64| {
        // Decoding requires an odd modulus of 512 bits, nothing more.
        let mut bytes = [0xab; 64];
        bytes[56..].copy_from_slice(&modulus.to_be_bytes());
        let n = rsa::BoxedUint::from_be_slice(&bytes, 512).unwrap();
        let e = rsa::BoxedUint::from(65_537_u64);
        let key = rsa::PublicKey::new_with_size_limits(n, e, 512..=512).unwrap();
        let pem = key.to_public_key_pem(LineEnding::LF).unwrap();
        let key = PublicKey::from_pem(pem.as_bytes()).unwrap();
        (Bytes::from(pem), key)
    };
    [1, 3].map(of).to_vec()
});

#[derive(Clone, Copy, Debug)]
enum Op {
    Ask(u16),
    /// Twenty paths, starting with this one, are looked up at once.
    Flood(u16),
    /// All fetches of a flood end like this, including those that wait for a slot.
    LandFlood(u16, End),
    /// A signature fails to verify with the key of this path.
    Suspect(u16),
    /// The operator passes this path to `warm_up`.
    Expect(u16),
    /// The oldest fetch of a path ends like this.
    Land(u16, End),
    /// The oldest waiting request is cancelled.
    GiveUp,
    Pass(Duration),
}

#[derive(Clone, Copy, Debug)]
enum End {
    Key(usize),
    Garbage,
    Status(u16),
    Break,
    Panic,
}

fn path() -> impl Strategy<Value = u16> {
    prop_oneof![4 => 2_u16..6, 2 => 6_u16..20, 1 => 2_u16..PATHS]
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        4 => (0_usize..2).prop_map(End::Key),
        1 => Just(End::Garbage),
        2 => prop_oneof![Just(404), Just(429), Just(503)].prop_map(End::Status),
        2 => Just(End::Break),
        1 => Just(End::Panic),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let passes = prop_oneof![
        0_u64..3,
        3_u64..90,
        90_u64..2_000,
        3_600_u64..90_000,
        Just(8 * 24 * 3_600_u64)
    ];
    prop_oneof![
        6 => path().prop_map(Op::Ask),
        1 => (2..PATHS - 20).prop_map(Op::Flood),
        1 => ((2..PATHS - 20), end()).prop_map(|(path, end)| Op::LandFlood(path, end)),
        2 => path().prop_map(Op::Suspect),
        1 => (2_u16..4).prop_map(Op::Expect),
        5 => (path(), end()).prop_map(|(path, end)| Op::Land(path, end)),
        1 => Just(Op::GiveUp),
        3 => passes.prop_map(|seconds| Op::Pass(Duration::from_secs(seconds))),
    ]
}

/// A host whose fetches end when the test ends them.
#[derive(Clone, Default)]
struct Host(Arc<Mutex<HostState>>);

#[derive(Default)]
struct HostState {
    under_way: HashMap<u16, Vec<oneshot::Sender<End>>>,
    fetches: Vec<Fetch>,
}

#[derive(Clone, Copy, Debug)]
struct Fetch {
    entry: u16,
    begun: Instant,
    ended: Option<Instant>,
    /// How it ended, unless it was cancelled.
    end: Option<End>,
}

/// Records when a fetch ends, in whatever way.
struct Ending(Host, usize);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.0.lock().unwrap().fetches[self.1].ended = Some(Instant::now());
    }
}

impl Host {
    /// The number of fetches of a path that are not cancelled.
    fn under_way(&self, entry: u16) -> usize {
        let mut state = self.0.lock().unwrap();
        let waiting = state.under_way.entry(entry).or_default();
        waiting.retain(|end| !end.is_closed());
        waiting.len()
    }

    fn all_under_way(&self) -> usize {
        (0..PATHS).map(|entry| self.under_way(entry)).sum()
    }

    fn land(&self, entry: u16, end: End) -> bool {
        self.under_way(entry) > 0 && {
            let mut state = self.0.lock().unwrap();
            let sender = state.under_way.get_mut(&entry).unwrap().remove(0);
            sender.send(end).is_ok()
        }
    }
}

impl FetchKey for Host {
    fn fetch(
        &self,
        url: &KeyUrl,
    ) -> Pin<Box<dyn Future<Output = Result<Bytes, FetchError>> + Send>> {
        let (sender, ended) = oneshot::channel();
        let mut state = self.0.lock().unwrap();
        let ending = Ending(self.clone(), state.fetches.len());
        state.fetches.push(Fetch {
            entry: url.entry(),
            begun: Instant::now(),
            ended: None,
            end: None,
        });
        state.under_way.entry(url.entry()).or_default().push(sender);
        Box::pin(async move {
            let end = ended.await.unwrap();
            ending.0.0.lock().unwrap().fetches[ending.1].end = Some(end);
            match end {
                End::Key(number) => Ok(KEYS[number].0.clone()),
                End::Garbage => Ok(Bytes::from_static(b"garbage")),
                End::Status(status) => Err(FetchError::from_status(
                    http::StatusCode::from_u16(status).unwrap(),
                )),
                End::Break => Err(FetchError::new(FetchErrorKind::Connect)),
                End::Panic => std::panic::resume_unwind(Box::new("a fetcher that panics")),
            }
        })
    }
}

/// A path whose key was fetched.
#[derive(Clone)]
struct Known {
    key: PublicKey,
    at: Instant,
}

struct Model {
    keys: FetchedKeys,
    host: Host,
    known: HashMap<u16, Known>,
    /// Since when a path has had a key, or was passed to `warm_up`.
    favoured: HashMap<u16, Instant>,
    waiting: Vec<JoinHandle<Result<PublicKey, KeyError>>>,
}

static LIMITS: LazyLock<Limits> = LazyLock::new(Limits::default);

impl Model {
    fn new() -> Self {
        let host = Host::default();
        Self {
            keys: FetchedKeys::builder().fetcher(host.clone()).build(),
            host,
            known: HashMap::new(),
            favoured: HashMap::new(),
            waiting: Vec::new(),
        }
    }

    fn url(&self, entry: u16) -> KeyUrl {
        KeyUrl::of_path(
            self.keys.table(),
            &format!("/callback_pub_key_v{entry}.pem"),
        )
        .unwrap()
    }

    async fn apply(&mut self, op: Op) -> TestCaseResult {
        match op {
            Op::Ask(entry) => self.ask(entry)?,
            Op::Flood(first) => {
                for entry in first..first + 20 {
                    self.ask(entry)?;
                }
            }
            Op::LandFlood(first, end) => {
                settle().await;
                // Only two at a time have a slot.
                for entry in (first..first + 20).cycle().take(200) {
                    self.land(entry, end).await;
                }
            }
            Op::Expect(entry) => {
                self.keys.cache.lock().expected.insert(entry);
                self.favoured.entry(entry).or_insert_with(Instant::now);
            }
            Op::Suspect(entry) => self.keys.signature_failed(&self.url(entry)),
            Op::Land(entry, end) => self.land(entry, end).await,
            Op::GiveUp => {
                if !self.waiting.is_empty() {
                    self.waiting.remove(0).abort();
                }
            }
            Op::Pass(time) => tokio::time::advance(time).await,
        }
        settle().await;
        self.check()
    }

    async fn land(&mut self, entry: u16, end: End) {
        if self.host.land(entry, end) {
            settle().await;
            if let End::Key(number) = end {
                self.learn(entry, number);
            }
        }
    }

    fn ask(&mut self, entry: u16) -> TestCaseResult {
        match self.keys.key(&self.url(entry)) {
            Lookup::Ready(Ok(key)) => {
                let known = self.known.get(&entry).map(|known| &known.key);
                prop_assert_eq!(Some(&key), known, "a key that was never fetched");
                prop_assert!(self.usable(entry), "a key whose time is over");
            }
            Lookup::Ready(Err(error)) => {
                prop_assert!(!self.usable(entry), "a good key is lost");
                self.refused_rightly(entry, &error)?;
            }
            Lookup::Pending(lookup) => {
                prop_assert!(!self.usable(entry), "waits although a key is good");
                self.waiting.push(tokio::spawn(lookup));
            }
        }
        Ok(())
    }

    fn usable(&self, entry: u16) -> bool {
        let limit = LIMITS.fresh + LIMITS.stale;
        let known = self.known.get(&entry);
        known.is_some_and(|known| known.at.elapsed() < limit)
    }

    /// A new key is left out only if the cache is full of usable keys. Only unusable keys make
    /// room.
    fn learn(&mut self, entry: u16, number: usize) {
        let usable = self
            .known
            .keys()
            .filter(|known| self.usable(**known))
            .count();
        if self.usable(entry) || usable < LIMITS.keys {
            let key = KEYS[number].1.clone();
            let at = Instant::now();
            self.known.insert(entry, Known { key, at });
            self.favoured.entry(entry).or_insert(at);
        }
    }

    fn check(&self) -> TestCaseResult {
        for entry in 0..PATHS {
            prop_assert!(
                self.host.under_way(entry) <= 1,
                "two fetches of one path at once"
            );
        }
        prop_assert!(self.host.all_under_way() <= CONCURRENT);
        let [good, failing, running] = sizes(&self.keys);
        let most = LIMITS.per_minute + LIMITS.reserved_per_minute;
        prop_assert!(
            good <= LIMITS.keys && good + failing <= REMEMBERED && running <= most + CONCURRENT
        );
        let fetches = self.host.0.lock().unwrap().fetches.clone();
        prop_assert!(
            begun_within(1, &fetches).count() <= most,
            "more fetches in a minute than may be"
        );
        let of_strangers = begun_within(1, &fetches).filter(|fetch| {
            let since = self.favoured.get(&fetch.entry);
            since.is_none_or(|since| *since > fetch.begun)
        });
        prop_assert!(
            of_strangers.count() <= LIMITS.per_minute,
            "strangers take from the share of others"
        );
        Ok(())
    }

    /// A lookup may be refused if the path failed recently or the budget is used up.
    fn refused_rightly(&self, entry: u16, error: &KeyError) -> TestCaseResult {
        let KeyError::Unavailable(error) = error else {
            return Err(TestCaseError::fail("the path is in the table"));
        };
        let fetches = self.host.0.lock().unwrap().fetches.clone();
        let [_, _, running] = sizes(&self.keys);
        let waiting = running - self.host.all_under_way();
        let used = |minutes| begun_within(minutes, &fetches).count() + waiting;
        if error.downcast_ref::<FetchError>().unwrap().kind() == FetchErrorKind::OverBudget {
            prop_assert!(used(1) >= LIMITS.per_minute, "refused with a budget");
            return Ok(());
        }
        let longest = (LIMITS.cool_down * 20) * 6 / 5;
        let mut of = fetches.iter().rev().filter(|fetch| fetch.entry == entry);
        let last = of.next().and_then(|fetch| fetch.ended);
        // A path that has had a key returns its last error while it waits for the budget.
        prop_assert!(
            last.is_some_and(|ended| ended.elapsed() <= longest) || used(2) >= LIMITS.per_minute,
            "refused for longer than any pause"
        );
        Ok(())
    }

    /// Checks the time between the fetches of each path.
    fn check_pauses(&self) -> TestCaseResult {
        let fetches = self.host.0.lock().unwrap().fetches.clone();
        let count = |of: &dyn Fn(&Fetch) -> bool| {
            (0..PATHS)
                .filter(|entry| fetches.iter().any(|f| f.entry == *entry && of(f)))
                .count()
        };
        // Beyond these numbers, paths and their backoffs are forgotten.
        if count(&|_| true) > REMEMBERED || count(&|f| f.is_good()) > LIMITS.keys {
            return Ok(());
        }
        for entry in 0..PATHS {
            let of: Vec<_> = fetches.iter().filter(|f| f.entry == entry).collect();
            let (mut failures, mut retried) = (0, false);
            for pair in of.windows(2) {
                let (one, next) = (pair[0], pair[1]);
                let gap = next.begun - one.ended.unwrap();
                if one.is_good() {
                    let fresh = gap < LIMITS.fresh / 5 * 4;
                    prop_assert!(!fresh || gap >= RECHECK, "{entry}: {gap:?}");
                    (failures, retried) = (0, false);
                } else {
                    let pause =
                        (LIMITS.cool_down * (1 << failures.min(16))).min(LIMITS.cool_down * 20);
                    // A second attempt is cancelled at once if time jumped before it started.
                    let cut_off = next.end.is_none() && next.ended == Some(next.begun);
                    let broke = matches!(one.end, Some(End::Break));
                    if broke && !retried && (gap < pause * 4 / 5 || cut_off) {
                        retried = true;
                        continue;
                    }
                    failures += 1;
                    prop_assert!(gap >= pause * 4 / 5, "{entry}: {gap:?} of {pause:?}");
                    retried = false;
                }
            }
        }
        Ok(())
    }

    /// After a quiet period no request waits, no fetch runs, and every path can be fetched.
    async fn end(mut self) -> TestCaseResult {
        for _ in 0..2 * (LIMITS.per_minute + LIMITS.reserved_per_minute) {
            tokio::time::advance(LIMITS.fetch_timeout).await;
            settle().await;
        }
        self.check_pauses()?;
        for waiting in self.waiting.drain(..) {
            prop_assert!(waiting.is_finished(), "somebody waits for ever");
        }
        prop_assert_eq!(self.host.all_under_way(), 0);
        prop_assert_eq!(sizes(&self.keys)[2], 0, "a path is taken for being fetched");
        tokio::time::advance(Duration::from_secs(1_000)).await;
        for entry in 2..6 {
            if self.usable(entry) {
                // It may be due for a refresh, which must not keep the slot from the next path.
                self.ask(entry)?;
                settle().await;
                self.host.land(entry, End::Break);
                settle().await;
                continue;
            }
            let Lookup::Pending(lookup) = self.keys.key(&self.url(entry)) else {
                return Err(TestCaseError::fail("a path is stuck"));
            };
            settle().await;
            prop_assert!(self.host.land(entry, End::Key(0)));
            prop_assert_eq!(lookup.await.unwrap(), KEYS[0].1.clone());
        }
        Ok(())
    }
}

/// Returns the numbers of usable keys, of other paths, and of fetches in flight.
fn sizes(keys: &FetchedKeys) -> [usize; 3] {
    let state = keys.cache.lock();
    let paths = state.paths.load();
    let usable = paths
        .values()
        .filter(|path| path.usable(state.now).is_some());
    let usable = usable.count();
    [usable, paths.len() - usable, state.flights.len()]
}

impl Fetch {
    fn is_good(&self) -> bool {
        matches!(self.end, Some(End::Key(_)))
    }
}

fn begun_within(minutes: u64, fetches: &[Fetch]) -> impl Iterator<Item = &Fetch> {
    let time = Duration::from_secs(60 * minutes);
    let last = fetches.iter().rev();
    last.take_while(move |fetch| fetch.begun.elapsed() < time)
}

/// Runs all tasks that are ready.
async fn settle() {
    for _ in 0..10 {
        yield_now().await;
    }
}

#[test]
fn shows_what_is_set() {
    let builder = FetchedKeys::builder();
    let shown = format!("{builder:?}");
    assert!(shown.starts_with("FetchedKeysBuilder { pinned: PinnedKeys"));
    assert!(shown.contains("limits: Limits"));
    let shown = format!("{:?}", builder.build());
    assert!(shown.starts_with("FetchedKeys { pinned: PinnedKeys"));
    assert!(shown.contains("stats: KeyStats"));
}

/// A cached key needs no lock while a fetch is in flight, while the path backs off, and while the
/// budget is used up: the lock is held here, so a lookup that takes it would never return.
#[tokio::test(start_paused = true)]
async fn a_cached_key_costs_no_lock_whatever_the_machine_is_doing() {
    let host = Host::default();
    let mut builder = FetchedKeys::builder().fetcher(host.clone());
    builder = builder.fetches_per_minute(0, 3);
    let keys = builder.build();
    let url = KeyUrl::of_path(keys.table(), "/callback_pub_key_v2.pem").unwrap();
    keys.cache.lock().expected.insert(2);
    let free = || {
        let (keys, url) = (keys.clone(), url.clone());
        let state = Arc::clone(&keys.cache);
        let held = state.lock();
        let (done, told) = std::sync::mpsc::channel();
        let reader = std::thread::spawn(move || {
            let found = matches!(keys.key(&url), Lookup::Ready(Ok(_)));
            keys.signature_failed(&url);
            done.send(found).unwrap();
        });
        let found = told.recv_timeout(Duration::from_secs(30));
        drop(held);
        reader.join().unwrap();
        found == Ok(true)
    };
    let look = || drop(keys.key(&url));
    look();
    settle().await;
    assert!(host.land(2, End::Key(0)));
    settle().await;
    assert!(free(), "a fresh key");
    tokio::time::advance(LIMITS.fresh).await;
    look();
    assert!(free(), "a refresh is requested");
    settle().await;
    assert!(free(), "a refresh is running");
    assert!(host.land(2, End::Status(404)));
    settle().await;
    assert!(free(), "the path backs off");
    tokio::time::advance(LIMITS.cool_down * 10).await;
    for other in [3, 4, 5] {
        keys.cache.lock().expected.insert(other);
        let path = format!("/callback_pub_key_v{other}.pem");
        drop(keys.key(&KeyUrl::of_path(keys.table(), &path).unwrap()));
    }
    settle().await;
    look();
    assert!(free(), "the budget is used up");
}

/// Limits that follow from others, and backoffs to the second.
#[test]
fn backoffs_grow_up_to_a_limit_and_are_spread() {
    let error = FetchError::new(FetchErrorKind::Connect);
    let backoff = |nth, random| LIMITS.backoff(nth, &error, random).as_secs();
    assert_eq!(
        [1, 2, 3, 5, 6, u32::MAX].map(|nth| backoff(nth, 200)),
        [30, 60, 120, 480, 600, 600]
    );
    assert_eq!([backoff(1, 0), backoff(1, 400)], [24, 36]);
    assert_eq!([backoff(9, 0), backoff(9, 400)], [480, 720]);
    assert!((24..=36).contains(&backoff(1, u32::MAX)));
    // Twelve in a minute, two at once, and ten times two seconds.
    assert_eq!(LIMITS.lost_after().as_secs(), 12 / 2 * 2 + 10 * 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_happens_the_promises_hold(ops in prop::collection::vec(op(), 1..200)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut model = Model::new();
            for op in ops {
                model.apply(op).await?;
            }
            model.end().await
        })?;
    }
}

/// A host that answers at once, every third time with an error, and counts concurrent fetches.
#[derive(Default)]
struct Quick {
    under_way: [AtomicUsize; 6],
    fetches: AtomicUsize,
}

impl FetchKey for Arc<Quick> {
    fn fetch(
        &self,
        url: &KeyUrl,
    ) -> Pin<Box<dyn Future<Output = Result<Bytes, FetchError>> + Send>> {
        let (host, entry) = (Self::clone(self), usize::from(url.entry()));
        Box::pin(async move {
            let before = host.under_way[entry].fetch_add(1, SeqCst);
            assert_eq!(before, 0, "two fetches of one path at once");
            let all: usize = host.under_way.iter().map(|path| path.load(SeqCst)).sum();
            assert!(all <= CONCURRENT, "{all} fetches at once");
            yield_now().await;
            host.under_way[entry].fetch_sub(1, SeqCst);
            match host.fetches.fetch_add(1, SeqCst) % 3 {
                2 => Err(FetchError::new(FetchErrorKind::Key)),
                number => Ok(KEYS[number].0.clone()),
            }
        })
    }
}

#[test]
fn df_21_four_threads_at_once_lose_and_double_nothing() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build()
        .unwrap();
    for round in 0..1_000 {
        let host = Arc::new(Quick::default());
        // Every lookup triggers a refresh, and failures cause no backoff.
        let keys = FetchedKeys::builder()
            .fetcher(Arc::clone(&host))
            .fresh_for(Duration::ZERO)
            .cool_down(Duration::ZERO)
            .fetches_per_minute(20, 5)
            .build();
        runtime.block_on(async {
            let mut tasks = tokio::task::JoinSet::new();
            for task in 0..8_u16 {
                let keys = keys.clone();
                tasks.spawn(async move {
                    let mut good = [false; 6];
                    for step in 0..12 {
                        let entry = 2 + (task + step) % 4;
                        let path = format!("/callback_pub_key_v{entry}.pem");
                        let url = KeyUrl::of_path(keys.table(), &path).unwrap();
                        let had = &mut good[usize::from(entry)];
                        match keys.key(&url) {
                            Lookup::Ready(result) => {
                                assert!(result.is_ok() || !*had, "a good key is lost");
                                *had |= result.is_ok();
                            }
                            Lookup::Pending(lookup) => {
                                assert!(!*had, "waits although a key is good");
                                *had |= lookup.await.is_ok();
                            }
                        }
                        keys.signature_failed(&url);
                    }
                });
            }
            while let Some(done) = tasks.join_next().await {
                done.unwrap();
            }
            // Background fetches end by themselves.
            while sizes(&keys)[2] > 0 {
                yield_now().await;
            }
        });
        let stats = keys.stats();
        let fetches = host.fetches.load(SeqCst);
        assert_eq!(stats.fetches, fetches as u64, "round {round}");
        assert_eq!(stats.failures, fetches as u64 / 3, "round {round}");
        assert!((4..=25).contains(&fetches), "{fetches} in round {round}");
    }
}
