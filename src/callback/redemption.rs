//! One use of a ticket, from the claim in the store to the stored response.

use std::{
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::StatusCode;
use tokio::{
    runtime::Handle,
    time::{Instant, sleep},
};

use super::{
    error::{CallbackError, CallbackErrorKind as Kind},
    log::Log,
};
use crate::{
    Lookup,
    ticket::{
        Tickets,
        store::{Attempt, Begin, Lease, StoreError, StoredReply},
    },
};

/// How long a response is offered to a store that fails. Until then its lease is renewed, so that no
/// other instance runs the handler.
const OFFER_RESPONSE_FOR: Duration = Duration::from_secs(10 * 60);

/// How long a store that fails is told that a handler did not run. Afterwards the lease expires.
const ABANDON_FOR: Duration = Duration::from_secs(30);

/// The first pause between two such calls. Doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

type StoreStep<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>;

/// One use of a ticket. Dropping it never leaks the ticket:
///
/// * If the handler was not called, the claim is abandoned, even if the store has not confirmed it:
///   a `begin` that was sent can still arrive.
/// * If the handler was called and did not finish, the ticket is released or used up, as
///   [`OnFailure`](crate::ticket::OnFailure) defines.
/// * A response that the store has not confirmed is offered again.
///
/// So errors, panics and disconnected clients need no code of their own. What has to wait for the
/// store, goes on in a task.
pub(super) struct Redemption {
    tickets: Tickets,
    lease: Lease,
    step: Step,
}

/// What dropping a [`Redemption`] has to undo or to complete.
enum Step {
    /// The store has not been asked yet.
    Idle,
    /// The store is asked for the ticket.
    Beginning(StoreStep<Begin>),
    /// Another request runs the handler for the same callback.
    Waiting(Pin<Box<dyn Future<Output = ()> + Send>>),
    /// The ticket is used up, immediately before the handler is called.
    Starting(StoreStep<()>),
    /// This request may call the handler.
    Held,
    /// The handler was called.
    Running,
    /// The store saves the response.
    Finishing(StoreStep<()>, StoredReply),
    /// There is nothing left to do.
    Settled,
}

/// What the store decides about a verified callback.
pub(super) enum Decision {
    /// Run the handler.
    Run,
    /// Send the stored response; the handler ran before.
    Replay(StoredReply),
}

impl Redemption {
    pub(super) fn new(tickets: Tickets, attempt: &Attempt) -> Self {
        Self {
            tickets,
            lease: Lease::new(attempt),
            step: Step::Idle,
        }
    }

    /// Asks the store for the ticket, and waits while another request runs the handler for the same
    /// callback.
    pub(super) fn poll_begin(
        &mut self,
        attempt: &mut Attempt,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Decision, CallbackError>> {
        loop {
            let begun = match &mut self.step {
                Step::Idle => match self.tickets.store().begin(attempt) {
                    Lookup::Ready(begun) => begun,
                    Lookup::Pending(step) => {
                        self.step = Step::Beginning(step);
                        continue;
                    }
                },
                Step::Beginning(step) => ready!(step.as_mut().poll(cx)),
                Step::Waiting(wait) => {
                    ready!(wait.as_mut().poll(cx));
                    *attempt = attempt.clone().again(self.tickets.now());
                    self.step = Step::Idle;
                    continue;
                }
                Step::Starting(step) => {
                    let started = ready!(step.as_mut().poll(cx));
                    return Poll::Ready(self.started(started));
                }
                Step::Held | Step::Running | Step::Finishing(..) | Step::Settled => {
                    unreachable!("a ticket is redeemed once")
                }
            };
            self.step = Step::Settled;
            return Poll::Ready(match begun {
                Ok(Begin::Fresh(lease)) => {
                    self.lease = lease;
                    self.step = Step::Held;
                    if !attempt.is_at_most_once() {
                        return Poll::Ready(Ok(Decision::Run));
                    }
                    match self.tickets.store().start(&self.lease) {
                        Lookup::Ready(started) => self.started(started),
                        Lookup::Pending(step) => {
                            self.step = Step::Starting(step);
                            continue;
                        }
                    }
                }
                Ok(Begin::Running(wait)) => {
                    self.step = Step::Waiting(wait);
                    continue;
                }
                Ok(Begin::Stored(reply)) => Ok(Decision::Replay(reply)),
                Ok(Begin::OtherText | Begin::Exhausted) => Err(Kind::TicketUsed.into()),
                Ok(Begin::Spent { first }) => {
                    if first {
                        Log::too_many_attempts(attempt.nonce());
                    }
                    Err(Kind::TooManyAttempts.into())
                }
                Err(why) => {
                    if why.kind().is_outcome_unknown() {
                        self.settle(Call::Abandon);
                    }
                    self.failed(why)
                }
            });
        }
    }

    fn started(&mut self, started: Result<(), StoreError>) -> Result<Decision, CallbackError> {
        match started {
            Ok(()) => {
                self.step = Step::Held;
                Ok(Decision::Run)
            }
            Err(why) => {
                // Even if the ticket was used up in the store, its handler has not run.
                self.step = Step::Settled;
                self.settle(Call::Abandon);
                self.failed(why)
            }
        }
    }

    fn failed(&self, why: StoreError) -> Result<Decision, CallbackError> {
        if self.tickets.runs_without_store() {
            // Without a lease nothing is stored and nothing is freed afterwards.
            return Ok(Decision::Run);
        }
        Err(unavailable(why))
    }

    /// Must be called immediately before the handler is.
    pub(super) fn handler_is_called(&mut self) {
        if matches!(self.step, Step::Held) {
            self.step = Step::Running;
        }
    }

    /// Whether a response of this status has to be stored. Otherwise dropping `self` is all that is
    /// left to do.
    pub(super) fn stores(&self, status: StatusCode) -> bool {
        let frees_ticket = self.tickets.frees_on_failure() && !status.is_success();
        matches!(self.step, Step::Running) && !frees_ticket
    }

    /// Saves the response. From the first call on, nothing frees the ticket.
    pub(super) fn poll_finish(
        &mut self,
        reply: &StoredReply,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), CallbackError>> {
        // Settled first, so that not even a panic of the store frees the ticket.
        let finished = match mem::replace(&mut self.step, Step::Settled) {
            Step::Running => match self.tickets.store().finish(&self.lease, reply) {
                Lookup::Ready(finished) => finished,
                Lookup::Pending(mut step) => match step.as_mut().poll(cx) {
                    Poll::Ready(finished) => finished,
                    Poll::Pending => {
                        self.step = Step::Finishing(step, reply.clone());
                        return Poll::Pending;
                    }
                },
            },
            Step::Finishing(mut step, reply) => match step.as_mut().poll(cx) {
                Poll::Ready(finished) => finished,
                Poll::Pending => {
                    self.step = Step::Finishing(step, reply);
                    return Poll::Pending;
                }
            },
            _ => unreachable!("a response is stored once, under a lease"),
        };
        Poll::Ready(finished.map_err(|why| {
            if why.kind().is_transient() {
                self.go_on(None, Call::Finish(reply.clone()));
            }
            unavailable(why)
        }))
    }

    /// Whether a response is sent although the store could not save it.
    pub(super) fn runs_without_store(&self) -> bool {
        self.tickets.runs_without_store()
    }

    /// Makes the last call for this lease. It goes on in a task if it cannot be completed at once.
    fn settle(&self, call: Call) {
        match call.make(&self.tickets, &self.lease) {
            Lookup::Ready(Err(why)) if why.kind().is_transient() => self.go_on(None, call),
            Lookup::Ready(_) => {}
            Lookup::Pending(step) => self.go_on(Some(step), call),
        }
    }

    /// Repeats a call in a task, until the store has executed it. `first` is a call under way.
    ///
    /// Outside of a runtime nothing goes on, and the ticket is free once its lease expires.
    fn go_on(&self, first: Option<StoreStep<()>>, call: Call) {
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        // The lease lives as long as the task, and is renewed as long as it lives.
        let (tickets, lease) = (self.tickets.clone(), self.lease.clone());
        drop(runtime.spawn(async move {
            if let Some(first) = first {
                match first.await {
                    Err(why) if why.kind().is_transient() => {}
                    _ => return,
                }
            }
            let give_up = Instant::now() + call.patience();
            let mut pause = FIRST_PAUSE;
            while Instant::now() < give_up {
                sleep(pause).await;
                match call.make(&tickets, &lease).await {
                    Err(why) if why.kind().is_transient() => {}
                    _ => return,
                }
                pause = LONGEST_PAUSE.min(pause * 2);
            }
        }));
    }
}

impl Drop for Redemption {
    fn drop(&mut self) {
        match mem::replace(&mut self.step, Step::Settled) {
            // To stop waiting costs the store nothing, see `Begin::Running`.
            Step::Idle | Step::Waiting(_) | Step::Settled => {}
            // No handler ran, so the ticket is freed even with `OnFailure::AtMostOnce`.
            Step::Held => self.settle(Call::Abandon),
            // What is under way is dropped, and abandoned wherever it is.
            Step::Beginning(step) => {
                drop(step);
                self.settle(Call::Abandon);
            }
            Step::Starting(step) => {
                drop(step);
                self.settle(Call::Abandon);
            }
            Step::Running if self.tickets.frees_on_failure() => self.settle(Call::Fail),
            Step::Running => self.settle(Call::Finish(no_response())),
            // The handler did its work, whether the client waits for it or not.
            Step::Finishing(step, reply) => self.go_on(Some(step), Call::Finish(reply)),
        }
    }
}

/// A last call for a lease.
enum Call {
    Abandon,
    Fail,
    Finish(StoredReply),
}

impl Call {
    fn make(&self, tickets: &Tickets, lease: &Lease) -> Lookup<(), StoreError> {
        let store = tickets.store();
        match self {
            Self::Abandon => store.abandon(lease),
            Self::Fail => store.fail(lease),
            Self::Finish(reply) => store.finish(lease, reply),
        }
    }

    fn patience(&self) -> Duration {
        match self {
            Self::Abandon | Self::Fail => ABANDON_FOR,
            Self::Finish(_) => OFFER_RESPONSE_FOR,
        }
    }
}

/// Takes the place of the response of a handler that failed to produce one.
fn no_response() -> StoredReply {
    let kind = Kind::UnusableAnswer;
    StoredReply::json(kind.status(), kind.body())
}

fn unavailable(why: StoreError) -> CallbackError {
    CallbackError::with_source(Kind::StoreUnavailable, why)
}
