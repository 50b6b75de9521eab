//! A model of the cache: whatever happens in whatever order, what it promises holds.

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use bytes::Bytes;
use proptest::{prelude::*, test_runner::TestCaseResult};
use tokio::{
    sync::oneshot,
    task::{JoinHandle, yield_now},
    time::Instant,
};

use super::*;
use crate::key::{FetchError, FetchErrorKind, FetchKey, PublicKey};

/// Four paths that the host has, and many that it has not.
const PATHS: u16 = 100;

static KEYS: LazyLock<Vec<(Bytes, PublicKey)>> = LazyLock::new(|| {
    use rsa::pkcs8::{EncodePublicKey as _, LineEnding};

    let of = |modulus: u64| {
        // Odd and of 512 bits is all that decoding asks of a modulus.
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
    /// Twenty paths from this one on are asked for at once.
    Flood(u16),
    /// What is under way for the paths of a flood ends so, and what that lets begin.
    LandFlood(u16, End),
    /// A forged signature under this path.
    Suspect(u16),
    /// The oldest fetch of a path ends so.
    Land(u16, End),
    /// The oldest request that still waits is given up.
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
        1 => path().prop_map(Op::Suspect),
        5 => (path(), end()).prop_map(|(path, end)| Op::Land(path, end)),
        1 => Just(Op::GiveUp),
        3 => passes.prop_map(|seconds| Op::Pass(Duration::from_secs(seconds))),
    ]
}

/// A host that answers when it is told to.
#[derive(Default)]
struct Host(Mutex<HostState>);

#[derive(Default)]
struct HostState {
    under_way: HashMap<u16, Vec<oneshot::Sender<End>>>,
    times: Vec<Instant>,
}

impl Host {
    /// How many fetches of a path nobody has given up.
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
        state.times.push(Instant::now());
        state.under_way.entry(url.entry()).or_default().push(sender);
        Box::pin(async move {
            match ended.await.unwrap() {
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

/// What must be known of a path whose key was fetched.
#[derive(Clone)]
struct Known {
    key: PublicKey,
    at: Instant,
}

struct Model {
    keys: FetchedKeys,
    host: Arc<Host>,
    known: HashMap<u16, Known>,
    waiting: Vec<JoinHandle<Result<PublicKey, KeyError>>>,
}

const LIMITS: limits::Limits = limits::Limits::new();

impl Model {
    fn new() -> Self {
        let host = Arc::new(Host::default());
        Self {
            keys: FetchedKeys::builder().fetcher(Arc::clone(&host)).build(),
            host,
            known: HashMap::new(),
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
                // Two at a time have a slot.
                for entry in (first..first + 20).cycle().take(200) {
                    self.land(entry, end).await;
                }
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
            KeyLookup::Ready(Ok(key)) => {
                let known = self.known.get(&entry).map(|known| &known.key);
                prop_assert_eq!(Some(&key), known, "a key that was never fetched");
                prop_assert!(self.usable(entry), "a key whose time is over");
            }
            KeyLookup::Ready(Err(_)) => {
                prop_assert!(!self.usable(entry), "a good key is lost");
            }
            KeyLookup::Pending(lookup) => {
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

    /// Only a cache that is full of usable keys may leave out a new one, and only what is not usable makes room.
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
        }
    }

    fn check(&self) -> TestCaseResult {
        for entry in 0..PATHS {
            prop_assert!(
                self.host.under_way(entry) <= 1,
                "two fetches of one path at once"
            );
        }
        prop_assert!(self.host.all_under_way() <= LIMITS.at_once);
        let [good, failing, running] = self.keys.shared.sizes();
        let most = LIMITS.per_minute + LIMITS.reserved_per_minute;
        prop_assert!(
            good <= LIMITS.keys && failing <= LIMITS.failing && running <= most + LIMITS.at_once
        );
        let times = &self.host.0.lock().unwrap().times;
        let minute = Duration::from_secs(60);
        let last = times.iter().rev().take_while(|at| at.elapsed() < minute);
        prop_assert!(last.count() <= most, "more fetches in a minute than may be");
        Ok(())
    }

    /// When all has been quiet for long enough, nobody waits, nothing runs, and every path can be had.
    async fn end(mut self) -> TestCaseResult {
        for _ in 0..2 * (LIMITS.per_minute + LIMITS.reserved_per_minute) {
            tokio::time::advance(LIMITS.fetch_timeout).await;
            settle().await;
        }
        for waiting in self.waiting.drain(..) {
            prop_assert!(waiting.is_finished(), "somebody waits for ever");
        }
        prop_assert_eq!(self.host.all_under_way(), 0);
        prop_assert_eq!(
            self.keys.shared.sizes()[2],
            0,
            "a path is taken for being fetched"
        );
        tokio::time::advance(Duration::from_secs(1_000)).await;
        for entry in 2..6 {
            if self.usable(entry) {
                // It may be due for another look, which must not keep a slot from the next one.
                self.ask(entry)?;
                settle().await;
                self.host.land(entry, End::Break);
                settle().await;
                continue;
            }
            let KeyLookup::Pending(lookup) = self.keys.key(&self.url(entry)) else {
                return Err(TestCaseError::fail("a path is stuck"));
            };
            settle().await;
            prop_assert!(self.host.land(entry, End::Key(0)));
            prop_assert_eq!(lookup.await.unwrap(), KEYS[0].1.clone());
        }
        Ok(())
    }
}

/// Lets the tasks run that wait for nothing.
async fn settle() {
    for _ in 0..10 {
        yield_now().await;
    }
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
