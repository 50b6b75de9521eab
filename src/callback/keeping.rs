//! From the call of the inner service to an answer that is kept.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Response, header::CONTENT_TYPE, response::Parts};
use http_body::Body;
use http_body_util::Full;
use pin_project_lite::pin_project;

use super::{
    body::{Collected, ResponseBody},
    claim::{Claim, Finishing},
    config::Config,
    error::{CallbackError, CallbackErrorKind as Kind},
    timer::Timer,
    verifying::FRAMES_PER_POLL,
};
use crate::{
    Lookup,
    ticket::store::{StoreError, StoredReply},
};

pin_project! {
    /// The answer of the inner service, then its body, then the store.
    #[project = KeepingProj]
    pub(super) enum Keeping<F, R> {
        Running { #[pin] answer: F, claim: Option<Claim> },
        Collecting { #[pin] body: R, collected: Collected, parts: Option<Parts>, claim: Option<Claim> },
        Finishing {
            step: Finishing,
            response: Option<Response<Bytes>>,
            passed_over: bool,
            #[pin]
            timer: Timer,
        },
    }
}

impl<F, R, E> Keeping<F, R>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: Body<Data = Bytes>,
{
    pub(super) fn new(answer: F, claim: Claim) -> Self {
        Self::Running {
            answer,
            claim: Some(claim),
        }
    }

    pub(super) fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        config: &Config,
    ) -> Poll<Result<Response<ResponseBody<R>>, E>> {
        loop {
            let next = match self.as_mut().project() {
                KeepingProj::Running { answer, claim } => {
                    let response = match ready!(answer.poll(cx)) {
                        Ok(response) => response,
                        Err(error) => {
                            drop(claim.take());
                            return Poll::Ready(Err(error));
                        }
                    };
                    let frees = claim
                        .as_ref()
                        .is_none_or(|claim| claim.tickets().frees_on_failure());
                    if frees && !response.status().is_success() {
                        drop(claim.take());
                        config.reporter.answer(&response);
                        return Poll::Ready(Ok(response.map(ResponseBody::inner)));
                    }
                    let (parts, body) = response.into_parts();
                    Self::Collecting {
                        body,
                        collected: Collected::default(),
                        parts: Some(parts),
                        claim: claim.take(),
                    }
                }
                KeepingProj::Collecting {
                    body,
                    collected,
                    parts,
                    claim,
                } => {
                    let collected = ready!(poll_collect(body, collected, cx));
                    let (Some(parts), Some(claim)) = (parts.take(), claim.take()) else {
                        return Poll::Pending;
                    };
                    let kept = collected.and_then(|body| {
                        let content_type = parts.headers.get(CONTENT_TYPE).cloned();
                        let reply = StoredReply::new(parts.status, content_type, body.clone());
                        reply.map(|reply| (body, reply)).ok()
                    });
                    let Some((body, reply)) = kept else {
                        // Frees the ticket, or uses it up.
                        drop(claim);
                        return Poll::Ready(Ok(refuse(config, Kind::UnusableAnswer.into())));
                    };
                    let passed_over = claim.tickets().runs_without_store();
                    let response = Response::from_parts(parts, body);
                    match claim.finish(&reply) {
                        Lookup::Ready(finished) => {
                            let finished = finished.map_err(unavailable);
                            return Poll::Ready(Ok(settled(
                                config,
                                finished,
                                passed_over,
                                response,
                            )));
                        }
                        Lookup::Pending(step) => Self::Finishing {
                            step: Finishing(Some(step)),
                            response: Some(response),
                            passed_over,
                            timer: Timer::default(),
                        },
                    }
                }
                KeepingProj::Finishing {
                    step,
                    response,
                    passed_over,
                    timer,
                } => {
                    let Some(asked) = &mut step.0 else {
                        return Poll::Pending;
                    };
                    let finished = match asked.as_mut().poll(cx) {
                        Poll::Ready(finished) => {
                            step.0 = None;
                            finished.map_err(unavailable)
                        }
                        Poll::Pending => {
                            // The inner service has had its time; the store gets its own.
                            ready!(timer.poll_after(config.deadline, cx));
                            Err(Kind::DeadlineExceeded.into())
                        }
                    };
                    let Some(response) = response.take() else {
                        return Poll::Pending;
                    };
                    return Poll::Ready(Ok(settled(config, finished, *passed_over, response)));
                }
            };
            self.set(next);
        }
    }
}

/// What is not known to be kept is not called a success: the handler could run for it once more.
fn settled<R>(
    config: &Config,
    finished: Result<(), CallbackError>,
    passed_over: bool,
    response: Response<Bytes>,
) -> Response<ResponseBody<R>> {
    match finished {
        Err(error) if !passed_over => refuse(config, error),
        Ok(()) | Err(_) => {
            let response = response.map(Full::new);
            config.reporter.answer(&response);
            response.map(ResponseBody::whole)
        }
    }
}

fn unavailable(why: StoreError) -> CallbackError {
    CallbackError::with_source(Kind::StoreUnavailable, why)
}

fn refuse<R>(config: &Config, error: CallbackError) -> Response<ResponseBody<R>> {
    config.reporter.rejection(&error, None);
    config.reject(error)
}

/// `None` when the body breaks off, or is larger than OSS takes.
fn poll_collect<R: Body<Data = Bytes>>(
    mut body: Pin<&mut R>,
    collected: &mut Collected,
    cx: &mut Context<'_>,
) -> Poll<Option<Bytes>> {
    for _ in 0..FRAMES_PER_POLL {
        match ready!(body.as_mut().poll_frame(cx)) {
            Some(Ok(frame)) => {
                // OSS has no use for trailers.
                if let Ok(data) = frame.into_data() {
                    if collected.len() + data.len() > StoredReply::MAX_BODY_LEN {
                        return Poll::Ready(None);
                    }
                    collected.push(data);
                }
            }
            Some(Err(_)) => return Poll::Ready(None),
            None => return Poll::Ready(Some(collected.bytes())),
        }
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}
