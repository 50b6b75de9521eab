//! When to call for new credentials, and what to answer meanwhile. Does no I/O, and reads no clock.

use std::time::{Duration, SystemTime};

use tokio::{sync::watch, time::Instant};

use super::{Credentials, CredentialsProviderError};

/// Renewed when less than this, or a fifth of their life, is left.
const RENEW_BEFORE: Duration = Duration::from_secs(5 * 60);

/// Between two calls, whatever the first one brought.
const MIN_PAUSE: Duration = Duration::from_secs(1);

/// After failures the pause doubles, up to this.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// Where the outcome of a call is awaited. When the sender is dropped without one, the call was interrupted.
type Sender = watch::Sender<Option<Landed>>;
pub(super) type Receiver = watch::Receiver<Option<Landed>>;
pub(super) type Landed = Result<Held, CredentialsProviderError>;

/// Expiry is told in the time of the day. The steady clock is watched too: setting the other one back must not lengthen
/// a life.
#[derive(Clone, Copy)]
pub(super) struct Now {
    pub(super) wall: SystemTime,
    pub(super) steady: Instant,
}

/// Passed as soon as one of the two clocks says so. `None` is never.
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

    fn passed(self, now: Now) -> bool {
        self.wall.is_some_and(|at| at <= now.wall) || self.steady.is_some_and(|at| at <= now.steady)
    }
}

/// Credentials that came, and their times.
#[derive(Clone)]
pub(super) struct Held {
    credentials: Credentials,
    renew: Deadline,
    end: Deadline,
}

impl Held {
    pub(super) fn unless_ended(self, now: Now) -> Result<Credentials, CredentialsProviderError> {
        if self.end.passed(now) {
            return Err(CredentialsProviderError::Expired);
        }
        Ok(self.credentials)
    }
}

/// What a caller gets.
pub(super) enum Answer {
    Ready(Result<Credentials, CredentialsProviderError>),
    Wait(Receiver),
}

/// The last good credentials, and the call for the next.
#[derive(Default)]
pub(super) struct Renewal {
    pub(super) renew_before: Option<Duration>,
    held: Option<Held>,
    call: Option<Receiver>,
    next_call: Option<Instant>,
    failures: u32,
    last_failure: Option<CredentialsProviderError>,
}

impl Renewal {
    /// What a caller gets now; and, if it is time, the promise to call, which ends with [`succeeded`](Self::succeeded),
    /// [`failed`](Self::failed) or [`abandoned`](Self::abandoned). No second promise is given before.
    pub(super) fn ask(&mut self, now: Now) -> (Answer, Option<Sender>) {
        // Those that have ended are wiped here.
        self.held.take_if(|held| held.end.passed(now));
        if let Some(held) = &self.held {
            let answer = Answer::Ready(Ok(held.credentials.clone()));
            let call = held.renew.passed(now) && self.call.is_none() && self.may_call(now);
            return (answer, call.then(|| self.call().0));
        }
        if let Some(call) = &self.call {
            return (Answer::Wait(call.clone()), None);
        }
        if !self.may_call(now) {
            let failure = self.last_failure.clone();
            // Without a failure, those that came a moment ago have ended since.
            let failure = failure.unwrap_or(CredentialsProviderError::Expired);
            return (Answer::Ready(Err(failure)), None);
        }
        let (sender, receiver) = self.call();
        (Answer::Wait(receiver), Some(sender))
    }

    fn may_call(&self, now: Now) -> bool {
        self.next_call.is_none_or(|at| at <= now.steady)
    }

    fn call(&mut self) -> (Sender, Receiver) {
        let (sender, receiver) = watch::channel(None);
        self.call = Some(receiver.clone());
        (sender, receiver)
    }

    /// The call brought credentials. They may still be none to sign with.
    pub(super) fn succeeded(&mut self, credentials: Credentials, now: Now) -> Landed {
        let held = match self.judge(credentials, now) {
            Ok(held) => held,
            Err(error) => return Err(self.failed(error, now.steady)),
        };
        self.call = None;
        self.failures = 0;
        self.next_call = now.steady.checked_add(self.pause());
        self.last_failure = None;
        self.held = Some(held.clone());
        Ok(held)
    }

    fn judge(&self, credentials: Credentials, now: Now) -> Landed {
        let Some(expiry) = credentials.expires_at() else {
            if credentials.security_token().is_some() {
                return Err(CredentialsProviderError::NoExpiry);
            }
            return Ok(Held {
                credentials,
                renew: Deadline::default(),
                end: Deadline::default(),
            });
        };
        let life = expiry
            .duration_since(now.wall)
            .ok()
            .filter(|life| !life.is_zero());
        let life = life.ok_or(CredentialsProviderError::Expired)?;
        let before = self
            .renew_before
            .unwrap_or_else(|| RENEW_BEFORE.max(life / 5));
        Ok(Held {
            credentials,
            renew: Deadline::after(now, life - before.min(life / 2)),
            end: Deadline::after(now, life),
        })
    }

    /// The call brought none. What is held stays.
    pub(super) fn failed(
        &mut self,
        error: CredentialsProviderError,
        now: Instant,
    ) -> CredentialsProviderError {
        self.call = None;
        self.failures = self.failures.saturating_add(1);
        self.next_call = now.checked_add(self.pause());
        self.last_failure = Some(error.clone());
        error
    }

    /// How long after the last call the next one may be made.
    pub(super) fn pause(&self) -> Duration {
        let doubled = self.failures.saturating_sub(1).min(6);
        MIN_PAUSE.saturating_mul(1 << doubled).min(MAX_PAUSE)
    }

    /// The call was never made.
    pub(super) fn abandoned(&mut self) {
        self.call = None;
    }
}
