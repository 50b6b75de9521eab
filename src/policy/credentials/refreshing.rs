//! Credentials that end, renewed in time.

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
    time::{self, Instant},
};

use super::{
    Credentials, CredentialsLookup, CredentialsProvider, CredentialsProviderError,
    renewal::{Answer, Landed, Now, Receiver, Renewal},
};

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

type BoxError = Box<dyn Error + Send + Sync>;
type Fetched = Pin<Box<dyn Future<Output = Result<Credentials, BoxError>> + Send>>;
type Fetch = Arc<dyn Fn() -> Fetched + Send + Sync>;
type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// Credentials from an async function of yours, such as a call of STS `AssumeRole`, called again before they end.
///
/// * Nothing is called before the first token is asked for. The callers of that moment wait; later ones never do while
///   the credentials in hand are good.
/// * **Renewed ahead**: when less than 5 minutes or less than a fifth of their life is left, whichever comes first, but
///   not in the first half of it; see [`renew_before`](Self::renew_before). A caller after that moment gets those in
///   hand, and has the next ones called for.
/// * **One call at a time**, however many wait for it. It runs in a tokio task of its own: a caller that goes away does
///   not cut it short. It ends after [`timeout`](Self::timeout).
/// * **When a call fails** (an error, a panic, a timeout, useless credentials), the last good ones stay in use while
///   they last, and the next call is made no sooner than 1 s later, then 2 s, 4 s, up to 60 s. Whoever asks meanwhile
///   without good ones in hand gets the error at once.
/// * **Ended credentials are never answered**, and wiped when noticed. They have ended when the time of day says so, or
///   when as much time has gone by as they had left when they came, so a clock set back does not revive them.
/// * Credentials without an expiry are kept for good; with a security token, they are refused.
///
/// Failures are logged (`WARN`) with what their `Display` and that of their sources say: keep secrets out of it.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use tower_aliyun_oss::policy::{Credentials, CredentialsProvider, RefreshingCredentials};
///
/// /// What a client of STS answers to `AssumeRole`.
/// struct Session { id: String, secret: String, token: String, expiration: SystemTime }
///
/// async fn assume_role() -> Result<Session, std::io::Error> {
///     // Call a client of STS here.
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
/// assert_eq!(provider.credentials().resolve().await?.access_key_id(), "STS.id");
/// # Ok(())
/// # }
/// ```
///
/// The example `assume_role` of this repository does this with the crate `reqsign-aliyun-oss`.
pub struct RefreshingCredentials {
    fetch: Fetch,
    clock: Clock,
    timeout: Duration,
    renewal: Arc<Mutex<Renewal>>,
}

impl RefreshingCredentials {
    /// Credentials from `fetch`, which says with [`Credentials::with_expiry`] when they end.
    ///
    /// Calls nothing and starts nothing. The first credentials have to be asked for within a tokio runtime with its
    /// timer enabled; `fetch` runs there.
    #[must_use]
    pub fn new<F, Fut, E>(fetch: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Credentials, E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        Self {
            fetch: Arc::new(move || {
                let fetched = fetch();
                Box::pin(async move { fetched.await.map_err(Into::into) })
            }),
            clock: Arc::new(SystemTime::now),
            timeout: DEFAULT_TIMEOUT,
            renewal: Arc::default(),
        }
    }

    /// How long before their end credentials are renewed, instead of the 5 minutes or the fifth of their life. At most
    /// half of the life they came with counts.
    ///
    /// No policy outlives the credentials that it is signed with. Make this as long as your policies, and all of them
    /// get their whole lifetime while the renewals succeed.
    #[must_use]
    pub fn renew_before(self, end: Duration) -> Self {
        lock(&self.renewal).renew_before = Some(end);
        self
    }

    /// How long a call may take; 10 seconds by default. After that it is dropped, and has failed.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Reads the time of day from here instead of from the system. Pauses and the timeout are measured with tokio's.
    #[must_use]
    pub fn clock(mut self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }
}

impl CredentialsProvider for RefreshingCredentials {
    fn credentials(&self) -> CredentialsLookup {
        let now = read(&self.clock);
        let (answer, promise) = lock(&self.renewal).ask(now);
        if let Some(outcome) = promise {
            let call = Call {
                renewal: Arc::clone(&self.renewal),
                outcome: Some(outcome),
            };
            match Handle::try_current() {
                // The lock is not held: a runtime that is shutting down drops the task, and with it the call, here.
                Ok(runtime) => drop(runtime.spawn(call.run(
                    Arc::clone(&self.fetch),
                    Arc::clone(&self.clock),
                    self.timeout,
                ))),
                Err(_) => call.abandon(),
            }
        }
        match answer {
            Answer::Ready(result) => CredentialsLookup::Ready(result),
            Answer::Wait(outcome) => {
                CredentialsLookup::Pending(Box::pin(wait(outcome, Arc::clone(&self.clock))))
            }
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
    let landed = match outcome.wait_for(Option::is_some).await {
        Ok(landed) => landed.clone(),
        Err(_) => None,
    };
    match landed {
        Some(Ok(held)) => held.unless_ended(read(&clock)),
        Some(Err(error)) => Err(error),
        None => Err(CredentialsProviderError::Interrupted),
    }
}

/// The one call that is on its way. Dropped before it has landed, it has failed: nothing waits for it in vain.
struct Call {
    renewal: Arc<Mutex<Renewal>>,
    outcome: Option<tokio::sync::watch::Sender<Option<Landed>>>,
}

impl Call {
    async fn run(mut self, fetch: Fetch, clock: Clock, timeout: Duration) {
        let result = time::timeout(timeout, async { fetch().await }).await;
        let result = match result {
            Ok(Ok(credentials)) => Ok((credentials, read(&clock))),
            Ok(Err(error)) => Err(CredentialsProviderError::Unavailable(error.into())),
            Err(_) => Err(CredentialsProviderError::TimedOut(timeout)),
        };
        self.land(|renewal| match result {
            Ok((credentials, now)) => renewal.succeeded(credentials, now),
            Err(error) => Err(renewal.failed(error, Instant::now())),
        });
    }

    fn abandon(mut self) {
        self.land(|renewal| {
            renewal.abandoned();
            Err(CredentialsProviderError::NoRuntime)
        });
    }

    fn land(&mut self, record: impl FnOnce(&mut Renewal) -> Landed) {
        let (landed, pause) = {
            let mut renewal = lock(&self.renewal);
            (record(&mut renewal), renewal.pause())
        };
        let failure = landed.as_ref().err().cloned();
        if let Some(outcome) = self.outcome.take() {
            outcome.send_replace(Some(landed));
        }
        match failure {
            Some(error) => {
                tracing::warn!(source = error.source(), next_call_after = ?pause, "{error}");
            }
            None => tracing::debug!("the credentials were renewed"),
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.outcome.is_some() {
            let interrupted = CredentialsProviderError::Interrupted;
            self.land(|renewal| Err(renewal.failed(interrupted, Instant::now())));
        }
    }
}

fn read(clock: &Clock) -> Now {
    Now {
        wall: clock(),
        steady: Instant::now(),
    }
}

/// Nothing of the user's runs while it is held: no clock, no function, no log.
fn lock(renewal: &Mutex<Renewal>) -> MutexGuard<'_, Renewal> {
    renewal.lock().unwrap_or_else(PoisonError::into_inner)
}
