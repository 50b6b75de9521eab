//! One use of a ticket, from the claim in the store to the stored response.

use std::{
    error::Error as _,
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::StatusCode;
use tokio::{
    runtime::Handle,
    sync::OwnedSemaphorePermit,
    time::{sleep, timeout},
};

use super::{
    error::{CallbackError, CallbackErrorKind as Kind},
    log::Log,
    settlement::{self, Settlement},
    verified::Granted,
};
use crate::{
    Lookup,
    storage::ObjectMetadata,
    ticket::{
        TicketError, Tickets,
        store::{Attempt, Begin, Lease, StoreError, StoreErrorKind, StoredReply},
    },
};

/// How long a response is offered to a store that fails. Until then its lease is renewed, so that
/// no other instance runs the handler.
const OFFER_RESPONSE_FOR: Duration = Duration::from_secs(10 * 60);

/// How long a failing store is asked to release an at-most-once text that it may have used up
/// although the handler was not called. No lease frees such a text.
const UNDO_FOR: Duration = Duration::from_secs(30);

/// The first pause between two such calls. Doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Why a callback was not handled in time: another request with the same text runs the handler.
#[derive(Debug, thiserror::Error)]
#[error("another request runs the handler for the same callback, and has not ended yet")]
pub(crate) struct HandlerRuns;

type StoreStep<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>;

/// One use of a ticket. Dropping it never leaks the ticket:
///
/// * If the handler was not called, the claim is abandoned, even if the store has not confirmed it:
///   a `begin` that was sent can still arrive.
/// * If the handler was called and did not finish, the ticket is released or used up, as
///   [`OnFailure`](crate::ticket::OnFailure) defines.
/// * If the client leaves while a success is collected, the ticket is used up.
/// * A response that the store has not confirmed is offered again.
///
/// So errors, panics and disconnected clients need no code of their own. Calls that have to wait
/// for the store continue in a task. The number of these tasks is bounded.
pub(super) struct Redemption {
    tickets: Tickets,
    lease: Lease,
    /// The entry for the ledger, if there is one.
    settlement: Option<Settlement>,
    /// Whether the ticket has to be used up immediately before the handler is called.
    must_start: bool,
    /// Whether another request ran the handler for the same callback.
    waited: bool,
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
    /// The storage is asked about the object.
    Confirming,
    /// The handler was called.
    Running,
    /// The handler responded with a head that is to be stored. More of its body is awaited.
    Responding,
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
    /// `recovered` is whether a recovery made the request.
    pub(super) fn new(
        tickets: Tickets,
        attempt: &Attempt,
        granted: &Granted,
        recovered: bool,
    ) -> Self {
        Self {
            settlement: Settlement::new(&tickets, granted, recovered),
            tickets,
            lease: Lease::new(attempt),
            must_start: attempt.is_at_most_once(),
            waited: false,
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
                // The ticket was valid when the request arrived. It can have expired since, while
                // the key or another request was awaited, and the store forgets expired tickets.
                Step::Idle if attempt.now() > attempt.until() => {
                    self.step = Step::Settled;
                    let expired = TicketError::Expired;
                    return Poll::Ready(Err(CallbackError::with_source(
                        Kind::TicketInvalid,
                        expired,
                    )));
                }
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
                Step::Starting(_)
                | Step::Held
                | Step::Confirming
                | Step::Running
                | Step::Responding
                | Step::Finishing(..)
                | Step::Settled => unreachable!("a ticket is redeemed once"),
            };
            self.step = Step::Settled;
            return Poll::Ready(match begun {
                Ok(Begin::Fresh(lease)) => {
                    self.lease = lease;
                    self.step = Step::Held;
                    Ok(Decision::Run)
                }
                Ok(Begin::Running(wait)) => {
                    self.waited = true;
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

    /// Returns the error of a ticket that was not redeemed within the deadline.
    pub(super) fn overdue(&self) -> CallbackError {
        match self.waited {
            true => CallbackError::with_source(Kind::DeadlineExceeded, HandlerRuns),
            false => Kind::DeadlineExceeded.into(),
        }
    }

    /// Must be called before the storage is asked about the object. A client that leaves meanwhile
    /// counts as refuted: otherwise anyone with a ticket could cause any number of requests to the
    /// storage, by leaving early.
    pub(super) fn confirmation_begins(&mut self) {
        if matches!(self.step, Step::Held) {
            self.step = Step::Confirming;
        }
    }

    /// Must be called when the storage has responded, or did not in time.
    pub(super) fn confirmation_ends(&mut self) {
        if matches!(self.step, Step::Confirming) {
            self.step = Step::Held;
        }
    }

    /// Tells the ledger which version of the object the storage has.
    pub(super) fn confirmed(&mut self, found: &ObjectMetadata) {
        if let Some(settlement) = &mut self.settlement {
            settlement.confirmed(found);
        }
    }

    /// Releases the ticket, because the storage refutes the callback.
    pub(super) fn refuse(mut self) {
        if matches!(self.step, Step::Held) {
            self.step = Step::Settled;
            self.settle(Call::Refuse);
        }
    }

    /// Whether the ticket has to be used up before the handler is called.
    pub(super) fn must_start(&self) -> bool {
        // Without a lease there is nothing to use up.
        self.must_start && matches!(self.step, Step::Held)
    }

    /// Uses up the ticket immediately before the handler is called, if it must be.
    pub(super) fn poll_start(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallbackError>> {
        if self.must_start() {
            match self.tickets.store().start(&self.lease) {
                Lookup::Ready(started) => return Poll::Ready(self.started(started)),
                Lookup::Pending(step) => self.step = Step::Starting(step),
            }
        }
        match &mut self.step {
            Step::Starting(step) => {
                let started = ready!(step.as_mut().poll(cx));
                Poll::Ready(self.started(started))
            }
            _ => Poll::Ready(Ok(())),
        }
    }

    fn started(&mut self, started: Result<(), StoreError>) -> Result<(), CallbackError> {
        self.must_start = false;
        match started {
            Ok(()) => {
                self.step = Step::Held;
                Ok(())
            }
            Err(why) => {
                // Even if the ticket was used up in the store, its handler has not run.
                self.step = Step::Settled;
                self.settle(Call::Undo);
                self.failed(why).map(drop)
            }
        }
    }

    fn failed(&self, why: StoreError) -> Result<Decision, CallbackError> {
        if self.tickets.runs_without_store() && why.kind().is_out_of_reach() {
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

    /// Must be called immediately before the response body is polled. A body that panics or fails
    /// then counts as a failure of the handler.
    pub(super) fn body_is_polled(&mut self) {
        if matches!(self.step, Step::Responding) {
            self.step = Step::Running;
        }
    }

    /// Must be called when the response body is pending. A client that leaves now does not undo a
    /// success: otherwise anyone who repeats a callback and leaves early could run the handler
    /// again, although it did its work.
    pub(super) fn body_is_pending(&mut self) {
        if matches!(self.step, Step::Running) {
            self.step = Step::Responding;
        }
    }

    /// Saves the response. From the first call on, nothing frees the ticket.
    pub(super) fn poll_finish(
        &mut self,
        reply: &StoredReply,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), CallbackError>> {
        // Settled first, so that not even a panic of the store frees the ticket.
        let finished = match mem::replace(&mut self.step, Step::Settled) {
            Step::Running => {
                match settlement::finish(&self.tickets, &self.lease, self.settlement(), reply) {
                    Lookup::Ready(finished) => finished,
                    Lookup::Pending(mut step) => match step.as_mut().poll(cx) {
                        Poll::Ready(finished) => finished,
                        Poll::Pending => {
                            self.step = Step::Finishing(step, reply.clone());
                            return Poll::Pending;
                        }
                    },
                }
            }
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
                self.finish_later(None, reply.clone());
            }
            unavailable(why)
        }))
    }

    fn settlement(&self) -> Option<&Settlement> {
        self.settlement.as_ref()
    }

    /// Whether a response is sent although the store did not save it.
    pub(super) fn responds_despite(&self, error: &CallbackError) -> bool {
        let why = error.source().and_then(|why| why.downcast_ref());
        // Without a store error, the deadline passed: the store did not respond in time.
        let out_of_reach = why.is_none_or(|why: &StoreError| why.kind().is_out_of_reach());
        self.tickets.runs_without_store() && out_of_reach
    }

    /// Makes the last call for this lease. It continues in a task if it cannot be completed at
    /// once.
    ///
    /// Over the limit of such tasks no call is made, and the lease expires. Otherwise anyone who
    /// repeats a callback while the store fails could fill the memory, and flood the store when it
    /// comes back.
    fn settle(&self, call: Call) {
        let Some(permit) = call.permit(&self.tickets) else {
            return;
        };
        match call.make(&self.tickets, &self.lease, self.settlement()) {
            Lookup::Ready(Err(why)) if why.kind().is_transient() => self.go_on(None, call, permit),
            Lookup::Ready(_) => {}
            Lookup::Pending(step) => self.go_on(Some(step), call, permit),
        }
    }

    /// Offers a response again. `first` is a call under way.
    fn finish_later(&self, first: Option<StoreStep<()>>, reply: StoredReply) {
        let call = Call::Finish(reply);
        if let Some(permit) = call.permit(&self.tickets) {
            self.go_on(first, call, permit);
        }
    }

    /// Repeats a call in a task, until the store has executed it. `first` is a call under way.
    ///
    /// Outside of a runtime nothing continues, and the ticket is free once its lease expires.
    fn go_on(&self, first: Option<StoreStep<()>>, call: Call, permit: OwnedSemaphorePermit) {
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        // The lease lives as long as the task, and is renewed as long as it lives.
        let (tickets, lease) = (self.tickets.clone(), self.lease.clone());
        let settlement = self.settlement.clone();
        let patience = call.patience(&tickets);
        let repeat = async move {
            let first = match first {
                Some(first) => first.await,
                // The failure of the call that led here.
                None => Err(StoreErrorKind::Unavailable.into()),
            };
            if !is_worth_repeating(&first) {
                return;
            }
            // Once more is enough for what its lease frees anyway.
            if let Call::Abandon | Call::Fail | Call::Refuse = call {
                sleep(LONGEST_PAUSE.min(patience / 2)).await;
                let _last = call.make(&tickets, &lease, settlement.as_ref()).await;
                return;
            }
            let mut pause = FIRST_PAUSE;
            loop {
                sleep(pause).await;
                let made = call.make(&tickets, &lease, settlement.as_ref());
                if !is_worth_repeating(&made.await) {
                    return;
                }
                pause = LONGEST_PAUSE.min(pause * 2);
            }
        };
        drop(runtime.spawn(async move {
            let _permit = permit;
            // Ends calls of a store that never responds, too.
            let _given_up = timeout(patience, repeat).await;
        }));
    }
}

fn is_worth_repeating(result: &Result<(), StoreError>) -> bool {
    matches!(result, Err(why) if why.kind().is_transient())
}

impl Drop for Redemption {
    fn drop(&mut self) {
        match mem::replace(&mut self.step, Step::Settled) {
            // To stop waiting costs the store nothing, see `Begin::Running`.
            Step::Idle | Step::Waiting(_) | Step::Settled => {}
            // No handler ran, so the ticket is freed even with `OnFailure::AtMostOnce`.
            Step::Held => self.settle(Call::Undo),
            Step::Confirming => self.settle(Call::Refuse),
            // What is under way is dropped, and abandoned wherever it is.
            Step::Beginning(step) => {
                drop(step);
                self.settle(Call::Abandon);
            }
            Step::Starting(step) => {
                drop(step);
                self.settle(Call::Undo);
            }
            Step::Running if self.tickets.frees_on_failure() => self.settle(Call::Fail),
            // The handler did its work, whether the client waits for it or not.
            Step::Running | Step::Responding => self.settle(Call::Finish(no_response())),
            Step::Finishing(step, reply) => self.finish_later(Some(step), reply),
        }
    }
}

/// A last call for a lease.
enum Call {
    Abandon,
    /// Abandons a text that may have been used up.
    Undo,
    Fail,
    /// Abandons a text whose upload the storage refutes.
    Refuse,
    Finish(StoredReply),
}

impl Call {
    fn make(
        &self,
        tickets: &Tickets,
        lease: &Lease,
        settlement: Option<&Settlement>,
    ) -> Lookup<(), StoreError> {
        let store = tickets.store();
        match self {
            Self::Abandon | Self::Undo => store.abandon(lease),
            Self::Fail => settlement::fail(tickets, lease, settlement),
            Self::Refuse => store.refuse(lease),
            Self::Finish(reply) => settlement::finish(tickets, lease, settlement, reply),
        }
    }

    fn patience(&self, tickets: &Tickets) -> Duration {
        match self {
            // A lease can be long, and a task must end although the store never responds.
            Self::Abandon | Self::Fail | Self::Refuse => tickets.lease_time().min(UNDO_FOR),
            Self::Undo => UNDO_FOR,
            Self::Finish(_) => OFFER_RESPONSE_FOR,
        }
    }

    /// Returns the permission to use memory and tasks for this call, or `None` over the limit.
    fn permit(&self, tickets: &Tickets) -> Option<OwnedSemaphorePermit> {
        let limit = match self {
            // A limit of their own: replays, which only abandon, must not displace the responses of
            // handlers that ran.
            Self::Abandon | Self::Refuse => tickets.abandons(),
            Self::Undo | Self::Fail | Self::Finish(_) => tickets.results(),
        };
        Arc::clone(limit).try_acquire_owned().ok()
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
