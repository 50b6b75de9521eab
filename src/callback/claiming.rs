//! From a verified callback to the right to run the inner service for it.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Request;
use pin_project_lite::pin_project;
use tokio::time::Instant;

use super::{
    body::CallbackBody,
    bond::Granted,
    claim::{Beginning, Claim},
    config::Config,
    error::{CallbackError, CallbackErrorKind as Kind},
    timer::Timer,
};
use crate::{
    Lookup,
    ticket::{
        Tickets,
        store::{Attempt, Begin, StoreError, StoredReply},
    },
};

pin_project! {
    /// Asks the store, and waits while another request runs the inner service for the same text.
    pub(super) struct Claiming<S, B> {
        tickets: Tickets,
        attempt: Attempt,
        step: Step,
        #[pin]
        timer: Timer,
        call: Option<(S, Request<CallbackBody<B>>)>,
    }
}

enum Step {
    Ask,
    Asked(Beginning),
    Wait(Pin<Box<dyn Future<Output = ()> + Send>>),
}

/// How a callback is to be answered.
#[expect(clippy::large_enum_variant, reason = "it is taken apart at once")]
pub(super) enum Claimed<S, B> {
    /// By the inner service. Without a claim when the store failed, and that is passed over.
    Run(S, Request<CallbackBody<B>>, Option<Claim>),
    /// As it was before.
    Again(StoredReply),
}

impl<S, B> Claiming<S, B> {
    /// `started` is when the deadline began to run.
    pub(super) fn new(
        tickets: &Tickets,
        granted: &Granted,
        started: Option<Instant>,
        inner: S,
        request: Request<CallbackBody<B>>,
    ) -> Self {
        Self {
            tickets: tickets.clone(),
            attempt: tickets.attempt(&granted.ticket, granted.digest, tickets.now()),
            step: Step::Ask,
            timer: Timer::resumed(started),
            call: Some((inner, request)),
        }
    }

    pub(super) fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        config: &Config,
    ) -> Poll<Result<Claimed<S, B>, CallbackError>> {
        let begun = match self.as_mut().poll_begin(cx) {
            Poll::Ready(begun) => begun,
            Poll::Pending => {
                let this = self.as_mut().project();
                ready!(this.timer.poll_after(config.deadline, cx));
                // Gives back what is still being asked for.
                *this.step = Step::Ask;
                let error = CallbackError::from(Kind::DeadlineExceeded);
                config.reporter.rejection(&error, None);
                return Poll::Ready(Err(error));
            }
        };
        let this = self.project();
        #[expect(clippy::expect_used, reason = "taken once, when the state is left")]
        let (inner, request) = this
            .call
            .take()
            .expect("ResponseFuture polled after completion");
        let error = match begun {
            Ok(Begin::Fresh(lease)) => {
                let claim = Claim::new(this.tickets.clone(), lease);
                return Poll::Ready(Ok(Claimed::Run(inner, request, Some(claim))));
            }
            Ok(Begin::Stored(reply)) => return Poll::Ready(Ok(Claimed::Again(reply))),
            Ok(Begin::OtherText | Begin::Exhausted | Begin::Running(_)) => Kind::TicketUsed.into(),
            Err(_) if this.tickets.runs_without_store() => {
                return Poll::Ready(Ok(Claimed::Run(inner, request, None)));
            }
            Err(why) => CallbackError::with_source(Kind::StoreUnavailable, why),
        };
        config.reporter.rejection(&error, None);
        Poll::Ready(Err(error))
    }

    /// Anything but [`Begin::Running`], which is waited for.
    fn poll_begin(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Begin, StoreError>> {
        let this = self.project();
        loop {
            let begun = match this.step {
                Step::Ask => match this.tickets.store().begin(this.attempt) {
                    Lookup::Ready(begun) => begun,
                    Lookup::Pending(step) => {
                        *this.step = Step::Asked(Beginning::new(this.tickets.clone(), step));
                        continue;
                    }
                },
                Step::Asked(Beginning {
                    step: Some(step), ..
                }) => {
                    let begun = ready!(step.as_mut().poll(cx));
                    // It is done, so there is nothing to give back.
                    if let Step::Asked(beginning) = this.step {
                        beginning.step = None;
                    }
                    begun
                }
                Step::Asked(_) => return Poll::Pending,
                Step::Wait(wait) => {
                    ready!(wait.as_mut().poll(cx));
                    *this.attempt = this.attempt.clone().again(this.tickets.now());
                    *this.step = Step::Ask;
                    continue;
                }
            };
            match begun {
                Ok(Begin::Running(wait)) => *this.step = Step::Wait(wait),
                begun => return Poll::Ready(begun),
            }
        }
    }
}
