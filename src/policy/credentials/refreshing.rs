//! Credentials that expire, refreshed in time.
//!
//! [`RefreshingCredentials`] runs the fetch function; [`Refresh`] decides when, without I/O and
//! without reading a clock.

use std::{
    error::Error,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::{
    runtime::Handle,
    sync::watch,
    time::{self, Instant},
};

use super::{
    access_key::Credentials,
    provider::{CredentialsProvider, CredentialsProviderError},
};
use crate::Lookup;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Credentials are refreshed when less than this, or less than a fifth of their life, is left.
const REFRESH_BEFORE: Duration = Duration::from_secs(5 * 60);

/// The minimum pause between two fetches, whatever the first one returned.
const MIN_PAUSE: Duration = Duration::from_secs(1);

/// The maximum pause: it doubles with each failure up to this.
const MAX_PAUSE: Duration = Duration::from_secs(60);

type BoxError = Box<dyn Error + Send + Sync>;
type Fetching = Pin<Box<dyn Future<Output = Result<Credentials, BoxError>> + Send>>;
type Fetch = Arc<dyn Fn() -> Fetching + Send + Sync>;
type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// Credentials from an async function, such as STS `AssumeRole`, refreshed before they expire.
///
/// * **Lazy**: nothing is fetched before the first token is requested. The first callers wait;
///   later callers do not wait while the current credentials are valid.
/// * **Refreshed ahead**: when less than 5 minutes or less than a fifth of their life is left,
///   whichever comes first, but not in the first half of it; see
///   [`refresh_before`](Self::refresh_before). A caller after that moment receives the current
///   credentials and triggers the refresh.
/// * **One fetch at a time**, shared by all waiting callers. It runs in its own tokio task, so a
///   caller that goes away does not cancel it. It is canceled after the
///   [`timeout`](Self::timeout).
/// * **Fallback**: if a fetch fails (an error, a panic, a timeout, unusable credentials), the last
///   valid credentials stay in use until they expire. The next fetch starts no sooner than 1 s
///   later, then 2 s, 4 s, up to 60 s. Without valid credentials, callers in between fail at once.
/// * **Never expired**: expired credentials are not returned, and are wiped when noticed. They
///   expire when the wall clock reaches their expiry, or when as much time has passed as they had
///   left when they were fetched, so setting the clock back does not revive them.
/// * Credentials without an expiry are kept forever. With a security token they are rejected.
///
/// Failures are logged (`WARN`) with the `Display` of the error and its sources. Keep secrets out
/// of it.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use tower_aliyun_oss::policy::{Credentials, CredentialsProvider, RefreshingCredentials};
///
/// /// The response of an STS client to `AssumeRole`.
/// struct Session { id: String, secret: String, token: String, expiration: SystemTime }
///
/// async fn assume_role() -> Result<Session, std::io::Error> {
///     // Call an STS client here.
/// #   Ok(Session {
/// #       id: "STS.id".into(), secret: "secret".into(), token: "token".into(),
/// #       expiration: SystemTime::now() + Duration::from_secs(3600),
/// #   })
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let provider = RefreshingCredentials::new(|| async {
///     let session = assume_role().await?;
///     let credentials = Credentials::new(session.id, session.secret)?
///         .with_security_token(session.token)?
///         .with_expiry(session.expiration);
///     Ok::<_, Box<dyn std::error::Error + Send + Sync>>(credentials)
/// });
/// assert_eq!(provider.credentials().await?.access_key_id(), "STS.id");
/// # Ok(())
/// # }
/// ```
///
/// The example `assume_role` of the repository uses the crate `reqsign-aliyun-oss`.
pub struct RefreshingCredentials {
    fetch: Fetch,
    clock: Clock,
    timeout: Duration,
    refresh: Arc<Mutex<Refresh>>,
}

impl RefreshingCredentials {
    /// Creates a provider that calls `fetch`, which sets the expiry with
    /// [`Credentials::with_expiry`].
    ///
    /// Does not call `fetch` yet. Request the credentials within a tokio runtime with its timer
    /// enabled; `fetch` runs there.
    #[must_use]
    pub fn new<F, Fut, E>(fetch: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Credentials, E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        Self {
            fetch: Arc::new(move || {
                let fetching = fetch();
                Box::pin(async move { fetching.await.map_err(Into::into) })
            }),
            clock: Arc::new(SystemTime::now),
            timeout: DEFAULT_TIMEOUT,
            refresh: Arc::default(),
        }
    }

    /// Sets how long before their expiry credentials are refreshed. Overrides the default of 5
    /// minutes or a fifth of their life. Values above half of their life are capped to it.
    ///
    /// A policy does not outlive the credentials that sign it. If this equals the lifetime of your
    /// policies, all of them get their whole lifetime as long as refreshes succeed.
    #[must_use]
    pub fn refresh_before(self, end: Duration) -> Self {
        lock(&self.refresh).before = Some(end);
        self
    }

    /// Sets the timeout of a fetch. Defaults to 10 seconds.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the source of the wall-clock time. Defaults to the system clock. Pauses and the timeout
    /// use the clock of tokio.
    #[must_use]
    pub fn clock(mut self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }
}

impl CredentialsProvider for RefreshingCredentials {
    fn credentials(&self) -> Lookup<Credentials, CredentialsProviderError> {
        let now = read(&self.clock);
        let (current, start) = lock(&self.refresh).request(now);
        if let Some(outcome) = start {
            let in_flight = InFlight {
                refresh: Arc::clone(&self.refresh),
                outcome: Some(outcome),
            };
            match Handle::try_current() {
                // The lock is not held here: a runtime that is shutting down drops the task at
                // once, and `InFlight::drop` locks.
                Ok(runtime) => drop(runtime.spawn(in_flight.run(
                    Arc::clone(&self.fetch),
                    Arc::clone(&self.clock),
                    self.timeout,
                ))),
                Err(_) => in_flight.abandon(),
            }
        }
        match current {
            Current::Ready(result) => Lookup::Ready(result),
            Current::Wait(outcome) => Lookup::pending(wait(outcome, Arc::clone(&self.clock))),
        }
    }
}

impl fmt::Debug for RefreshingCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshingCredentials")
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

async fn wait(
    mut outcome: Receiver,
    clock: Clock,
) -> Result<Credentials, CredentialsProviderError> {
    let outcome = match outcome.wait_for(Option::is_some).await {
        Ok(outcome) => outcome.clone(),
        Err(_) => None,
    };
    match outcome {
        // The caller may be polled long after the fetch finished.
        Some(Ok(held)) => held.unless_expired(read(&clock)),
        Some(Err(error)) => Err(error),
        None => Err(CredentialsProviderError::Interrupted),
    }
}

/// The fetch that is running. If dropped before it finishes, it has failed, so no caller waits
/// forever.
struct InFlight {
    refresh: Arc<Mutex<Refresh>>,
    outcome: Option<Sender>,
}

impl InFlight {
    async fn run(mut self, fetch: Fetch, clock: Clock, timeout: Duration) {
        // Called inside the future: a function that panics before it returns a future must also
        // panic in this task, where `drop` reports it.
        let result = time::timeout(timeout, async { fetch().await }).await;
        let result = match result {
            // The clock is read after the fetch: the life of the credentials is measured from then.
            Ok(Ok(credentials)) => Ok((credentials, read(&clock))),
            Ok(Err(error)) => Err(CredentialsProviderError::Unavailable(error.into())),
            Err(_) => Err(CredentialsProviderError::TimedOut(timeout)),
        };
        self.finish(|refresh| match result {
            Ok((credentials, now)) => refresh.succeeded(credentials, now),
            Err(error) => Err(refresh.failed(error, Instant::now())),
        });
    }

    fn abandon(mut self) {
        self.finish(|refresh| {
            refresh.abandoned();
            Err(CredentialsProviderError::NoRuntime)
        });
    }

    fn finish(&mut self, record: impl FnOnce(&mut Refresh) -> Outcome) {
        let (outcome, pause) = {
            let mut refresh = lock(&self.refresh);
            (record(&mut refresh), refresh.pause())
        };
        let failure = outcome.as_ref().err().cloned();
        if let Some(sender) = self.outcome.take() {
            // Unlike `send`, this succeeds without receivers: all callers may have gone.
            sender.send_replace(Some(outcome));
        }
        match failure {
            Some(error) => {
                tracing::warn!(source = error.source(), next_call_after = ?pause, "{error}");
            }
            None => tracing::debug!("refreshed the credentials"),
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.outcome.is_some() {
            let interrupted = CredentialsProviderError::Interrupted;
            self.finish(|refresh| Err(refresh.failed(interrupted, Instant::now())));
        }
    }
}

fn read(clock: &Clock) -> Now {
    Now {
        wall: clock(),
        steady: Instant::now(),
    }
}

/// Ignores poisoning: no code of the application runs under the lock, neither clock nor fetch
/// function nor log.
fn lock(refresh: &Mutex<Refresh>) -> MutexGuard<'_, Refresh> {
    refresh.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The result of a fetch, for its waiting callers. A sender dropped without one was interrupted.
type Outcome = Result<Held, CredentialsProviderError>;
type Sender = watch::Sender<Option<Outcome>>;
type Receiver = watch::Receiver<Option<Outcome>>;

/// The current time on both clocks.
///
/// An expiry is wall-clock time. The steady clock is checked too, because setting the wall clock
/// back must not extend a life.
#[derive(Clone, Copy)]
struct Now {
    wall: SystemTime,
    steady: Instant,
}

/// A time that has passed as soon as it has on either clock. `None` never passes.
#[derive(Clone, Copy, Default)]
struct Deadline {
    wall: Option<SystemTime>,
    steady: Option<Instant>,
}

impl Deadline {
    fn after(now: Now, time: Duration) -> Self {
        Self {
            wall: now.wall.checked_add(time),
            steady: now.steady.checked_add(time),
        }
    }

    fn has_passed(self, now: Now) -> bool {
        self.wall.is_some_and(|at| at <= now.wall) || self.steady.is_some_and(|at| at <= now.steady)
    }
}

/// Fetched credentials and their deadlines.
#[derive(Clone)]
struct Held {
    credentials: Credentials,
    refresh: Deadline,
    expiry: Deadline,
}

impl Held {
    fn unless_expired(self, now: Now) -> Result<Credentials, CredentialsProviderError> {
        if self.expiry.has_passed(now) {
            return Err(CredentialsProviderError::Expired);
        }
        Ok(self.credentials)
    }
}

/// What a caller receives.
enum Current {
    Ready(Result<Credentials, CredentialsProviderError>),
    Wait(Receiver),
}

/// The state machine: the last valid credentials, and the fetch of the next.
#[derive(Default)]
struct Refresh {
    before: Option<Duration>,
    held: Option<Held>,
    in_flight: Option<Receiver>,
    retry_after: Option<Instant>,
    failures: u32,
    last_failure: Option<CredentialsProviderError>,
}

impl Refresh {
    /// Returns what the caller receives and, if it is time to fetch, the sender of the outcome.
    ///
    /// The caller that receives the sender must report back with [`succeeded`](Self::succeeded),
    /// [`failed`](Self::failed) or [`abandoned`](Self::abandoned). Until then there is no other.
    fn request(&mut self, now: Now) -> (Current, Option<Sender>) {
        // Wipes expired credentials.
        self.held.take_if(|held| held.expiry.has_passed(now));
        if let Some(held) = &self.held {
            let current = Current::Ready(Ok(held.credentials.clone()));
            let due = held.refresh.has_passed(now);
            let start = due && self.in_flight.is_none() && self.may_fetch(now);
            return (current, start.then(|| self.start().0));
        }
        if let Some(in_flight) = &self.in_flight {
            return (Current::Wait(in_flight.clone()), None);
        }
        if !self.may_fetch(now) {
            let failure = self.last_failure.clone();
            // Without a failure, the last fetch succeeded and its credentials have expired since.
            let failure = failure.unwrap_or(CredentialsProviderError::Expired);
            return (Current::Ready(Err(failure)), None);
        }
        let (sender, receiver) = self.start();
        (Current::Wait(receiver), Some(sender))
    }

    fn may_fetch(&self, now: Now) -> bool {
        self.retry_after.is_none_or(|at| at <= now.steady)
    }

    fn start(&mut self) -> (Sender, Receiver) {
        let (sender, receiver) = watch::channel(None);
        self.in_flight = Some(receiver.clone());
        (sender, receiver)
    }

    /// Records fetched credentials, which can still be unusable.
    fn succeeded(&mut self, credentials: Credentials, now: Now) -> Outcome {
        let held = match self.accept(credentials, now) {
            Ok(held) => held,
            Err(error) => return Err(self.failed(error, now.steady)),
        };
        self.in_flight = None;
        self.failures = 0;
        // A pause after success too: credentials that expire at once would be fetched in a loop.
        self.retry_after = now.steady.checked_add(self.pause());
        self.last_failure = None;
        self.held = Some(held.clone());
        Ok(held)
    }

    fn accept(&self, credentials: Credentials, now: Now) -> Outcome {
        let Some(expiry) = credentials.expires_at() else {
            // A token always expires. Kept forever, it would sign policies that OSS rejects.
            if credentials.security_token().is_some() {
                return Err(CredentialsProviderError::NoExpiry);
            }
            return Ok(Held {
                credentials,
                refresh: Deadline::default(),
                expiry: Deadline::default(),
            });
        };
        let life = expiry
            .duration_since(now.wall)
            .ok()
            .filter(|life| !life.is_zero());
        let life = life.ok_or(CredentialsProviderError::Expired)?;
        let before = self.before.unwrap_or_else(|| REFRESH_BEFORE.max(life / 5));
        Ok(Held {
            credentials,
            // Not in the first half: with a long `before`, every request would fetch.
            refresh: Deadline::after(now, life - before.min(life / 2)),
            expiry: Deadline::after(now, life),
        })
    }

    /// Records a failed fetch. Current credentials stay in use.
    fn failed(
        &mut self,
        error: CredentialsProviderError,
        now: Instant,
    ) -> CredentialsProviderError {
        self.in_flight = None;
        self.failures = self.failures.saturating_add(1);
        self.retry_after = now.checked_add(self.pause());
        self.last_failure = Some(error.clone());
        error
    }

    /// Returns the pause between the last fetch and the next.
    fn pause(&self) -> Duration {
        // 2^6 s exceeds the maximum, and more would overflow the shift.
        let doubled = self.failures.saturating_sub(1).min(6);
        MIN_PAUSE.saturating_mul(1 << doubled).min(MAX_PAUSE)
    }

    /// Records that the fetch never started. The next caller can start one at once.
    fn abandoned(&mut self) {
        self.in_flight = None;
    }
}
