//! One use of a ticket, from the claim in the store to the stored response.

use std::{
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::StatusCode;
use tokio::runtime::Handle;

use super::error::{CallbackError, CallbackErrorKind as Kind};
use crate::{
    Lookup,
    ticket::{
        Tickets,
        store::{Attempt, Begin, Lease, StoreError, StoredReply},
    },
};

type StoreStep<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>;

/// One use of a ticket. Dropping it never leaks the ticket:
///
/// * A pending `begin` of the store runs on in a task, which abandons the lease that it returns.
/// * The lease of a handler that did not finish is abandoned or used up, as
///   [`OnFailure`](crate::ticket::OnFailure) defines.
/// * A pending `finish` of the store runs on in a task.
///
/// So errors, panics and disconnected clients need no code of their own.
pub(super) struct Redemption {
    tickets: Tickets,
    step: Step,
}

/// What dropping a [`Redemption`] has to undo or to complete.
enum Step {
    /// The store has not been asked yet.
    Start,
    /// The store is asked for the ticket.
    Beginning(StoreStep<Begin>),
    /// Another request runs the handler for the same callback.
    Waiting(Pin<Box<dyn Future<Output = ()> + Send>>),
    /// This request may run the handler.
    Held(Lease),
    /// The store saves the response.
    Finishing(StoreStep<()>),
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
    pub(super) fn new(tickets: Tickets) -> Self {
        Self {
            tickets,
            step: Step::Start,
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
                Step::Start => match self.tickets.store().begin(attempt) {
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
                    self.step = Step::Start;
                    continue;
                }
                Step::Held(_) | Step::Finishing(_) | Step::Settled => {
                    unreachable!("a ticket is redeemed once")
                }
            };
            self.step = Step::Settled;
            return Poll::Ready(match begun {
                Ok(Begin::Fresh(lease)) => {
                    self.step = Step::Held(lease);
                    Ok(Decision::Run)
                }
                Ok(Begin::Running(wait)) => {
                    self.step = Step::Waiting(wait);
                    continue;
                }
                Ok(Begin::Stored(reply)) => Ok(Decision::Replay(reply)),
                Ok(Begin::OtherText | Begin::Exhausted) => Err(Kind::TicketUsed.into()),
                // Without a lease nothing is stored and nothing is freed afterwards.
                Err(_) if self.tickets.runs_without_store() => Ok(Decision::Run),
                Err(why) => Err(unavailable(why)),
            });
        }
    }

    /// Whether a response of this status has to be stored. Otherwise dropping `self` is all that is
    /// left to do.
    pub(super) fn stores(&self, status: StatusCode) -> bool {
        let frees_ticket = self.tickets.frees_on_failure() && !status.is_success();
        matches!(self.step, Step::Held(_)) && !frees_ticket
    }

    /// Saves the response. From the first call on, nothing frees the ticket.
    pub(super) fn poll_finish(
        &mut self,
        reply: &StoredReply,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), CallbackError>> {
        // The lease is taken out first, so that not even a panic of the store frees the ticket.
        match mem::replace(&mut self.step, Step::Settled) {
            Step::Held(lease) => match self.tickets.store().finish(&lease, reply) {
                Lookup::Ready(finished) => return Poll::Ready(finished.map_err(unavailable)),
                Lookup::Pending(step) => self.step = Step::Finishing(step),
            },
            step => self.step = step,
        }
        let Step::Finishing(step) = &mut self.step else {
            unreachable!("a response is stored once, under a lease")
        };
        let finished = ready!(step.as_mut().poll(cx));
        self.step = Step::Settled;
        Poll::Ready(finished.map_err(unavailable))
    }

    /// Whether a response is sent although the store could not save it.
    pub(super) fn runs_without_store(&self) -> bool {
        self.tickets.runs_without_store()
    }
}

impl Drop for Redemption {
    fn drop(&mut self) {
        match mem::replace(&mut self.step, Step::Settled) {
            // To stop waiting costs the store nothing, see `Begin::Running`.
            Step::Start | Step::Waiting(_) | Step::Settled => {}
            Step::Beginning(step) => {
                let tickets = self.tickets.clone();
                run_on(async move {
                    if let Ok(Begin::Fresh(lease)) = step.await {
                        // No handler ran, so the ticket is freed even with `OnFailure::AtMostOnce`.
                        if let Lookup::Pending(abandoned) = tickets.store().abandon(&lease) {
                            drop(abandoned.await);
                        }
                    }
                });
            }
            Step::Held(lease) => {
                let store = self.tickets.store();
                let released = if self.tickets.frees_on_failure() {
                    store.abandon(&lease)
                } else {
                    store.finish(&lease, &no_response())
                };
                if let Lookup::Pending(released) = released {
                    run_on(released);
                }
            }
            // The handler did its work, whether the client waits for it or not.
            Step::Finishing(step) => run_on(step),
        }
    }
}

/// Runs a step of a store to its end after its request is gone. Outside of a runtime the step is
/// dropped, and the ticket is free once its lease expires.
fn run_on(step: impl Future<Output: Send> + Send + 'static) {
    if let Ok(runtime) = Handle::try_current() {
        drop(runtime.spawn(step));
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
