//! A key host in memory, for tests with a paused clock.

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::StatusCode;
use rsa::pkcs8::{EncodePublicKey as _, LineEnding};
use tokio::time::{Instant, sleep};
use tower_aliyun_oss::{
    Lookup,
    key::{
        FetchError, FetchErrorKind, FetchKey, FetchedKeys, FetchedKeysBuilder, KeyError,
        KeySource as _, KeyUrl, PublicKey,
    },
};

use crate::support::Signer;

pub(crate) fn pem(signer: &Signer) -> Bytes {
    let public = rsa::PublicKey::from(signer.private());
    public.to_public_key_pem(LineEnding::LF).unwrap().into()
}

/// Builds a runtime with a paused clock, for tests that need several runtimes or run outside of a
/// task.
pub(crate) fn runtime_at_rest() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
}

#[track_caller]
pub(crate) fn unavailable(result: Result<PublicKey, KeyError>) -> FetchErrorKind {
    match result {
        Err(KeyError::Unavailable(error)) => error.downcast_ref::<FetchError>().unwrap().kind(),
        other => panic!("{other:?}"),
    }
}

/// Reaction of the host to a request.
#[derive(Clone)]
pub(crate) enum Does {
    Say(Bytes),
    Status(u16),
    Break,
    Hang,
    Panic,
}

impl Does {
    pub(crate) fn key(signer: &Signer) -> Self {
        Self::Say(pem(signer))
    }
}

#[derive(Clone, Default)]
pub(crate) struct Host(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    paths: HashMap<String, Does>,
    otherwise: Option<Does>,
    delay: Duration,
    fetches: Vec<(String, Instant)>,
    running: usize,
}

impl Host {
    /// Creates a host with the same reaction to every request.
    pub(crate) fn that(does: Does) -> Self {
        let host = Self::default();
        host.does(does);
        host
    }

    pub(crate) fn does(&self, does: Does) {
        self.0.lock().unwrap().otherwise = Some(does);
    }

    pub(crate) fn has(&self, version: u16, does: Does) {
        let path = super::site::official(version).path();
        self.0.lock().unwrap().paths.insert(path, does);
    }

    pub(crate) fn takes(self, delay: Duration) -> Self {
        self.0.lock().unwrap().delay = delay;
        self
    }

    pub(crate) fn fetches(&self) -> usize {
        self.0.lock().unwrap().fetches.len()
    }

    /// Returns the times at which this version was requested.
    pub(crate) fn fetches_of(&self, version: u16) -> Vec<Instant> {
        let path = super::site::official(version).path();
        let state = self.0.lock().unwrap();
        let of = state.fetches.iter().filter(|(asked, _)| *asked == path);
        of.map(|(_, at)| *at).collect()
    }

    pub(crate) fn times(&self) -> Vec<Instant> {
        let state = self.0.lock().unwrap();
        state.fetches.iter().map(|(_, at)| *at).collect()
    }

    pub(crate) fn running(&self) -> usize {
        self.0.lock().unwrap().running
    }

    pub(crate) fn builder(&self) -> FetchedKeysBuilder {
        FetchedKeys::builder().fetcher(self.clone())
    }

    pub(crate) fn keys(&self) -> FetchedKeys {
        self.builder().build()
    }
}

/// Counts running fetches, also those that panic or are dropped.
struct Running(Host);

impl Running {
    fn new(host: Host) -> Self {
        host.0.lock().unwrap().running += 1;
        Self(host)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.0.lock().unwrap().running -= 1;
    }
}

impl FetchKey for Host {
    fn fetch(
        &self,
        url: &KeyUrl,
    ) -> Pin<Box<dyn Future<Output = Result<Bytes, FetchError>> + Send>> {
        let (does, delay) = {
            let mut state = self.0.lock().unwrap();
            state.fetches.push((url.path(), Instant::now()));
            let does = state.paths.get(&url.path()).or(state.otherwise.as_ref());
            (does.cloned().unwrap_or(Does::Status(404)), state.delay)
        };
        let running = Running::new(self.clone());
        Box::pin(async move {
            let _running = running;
            if !delay.is_zero() {
                sleep(delay).await;
            }
            match does {
                Does::Say(bytes) => Ok(bytes),
                Does::Status(status) => Err(FetchError::from_status(
                    StatusCode::from_u16(status).unwrap(),
                )),
                Does::Break => Err(FetchError::new(FetchErrorKind::Connect)),
                Does::Hang => std::future::pending().await,
                Does::Panic => panic!("panic in the fetcher"),
            }
        })
    }
}

/// Waits for the result of a lookup.
pub(crate) async fn get(keys: &FetchedKeys, version: u16) -> Result<PublicKey, KeyError> {
    match keys.key(&super::site::official(version)) {
        Lookup::Ready(result) => result,
        Lookup::Pending(lookup) => lookup.await,
    }
}

/// Returns the result of a lookup that must not wait.
#[track_caller]
pub(crate) fn at_once(keys: &FetchedKeys, version: u16) -> Result<PublicKey, KeyError> {
    match keys.key(&super::site::official(version)) {
        Lookup::Ready(result) => result,
        Lookup::Pending(_) => panic!("the lookup of version {version} waits"),
    }
}

/// Runs all tasks that are ready.
pub(crate) async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

/// Advances the clock, then runs all tasks that are ready.
pub(crate) async fn pass(time: Duration) {
    tokio::time::advance(time).await;
    settle().await;
}

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);
