//! The future of an answer.

use std::{
    error::Error,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf as _, Bytes};
use http::{Request, Response, request::Parts};
use http_body::Body;
use http_body_util::LengthLimitError;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};
use tower_service::Service;

use super::{
    body::{CallbackBody, Collected, ResponseBody},
    config::Config,
    diagnose::diagnose,
    error::{CallbackError, CallbackErrorKind as Kind},
    report::Reporter,
    verifier::Preflight,
};
use crate::key::{KeyError, KeyLookup, PublicKey};

/// Frames taken in one go before others get their turn: a body of endless empty frames must meet its deadline.
const FRAMES_PER_POLL: usize = 64;

type PendingKey = Pin<Box<dyn Future<Output = Result<PublicKey, KeyError>> + Send>>;

pin_project! {
    /// The future of [`OssCallback`](super::OssCallback). `F` is the future of the inner service `S`.
    pub struct ResponseFuture<S, ReqBody, F> {
        #[pin]
        state: State<S, ReqBody, F>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, B, F> {
        Rejected { config: Arc<Config>, error: Option<CallbackError> },
        Verifying { config: Arc<Config>, #[pin] verifying: Verifying<S, B> },
        // The config of a verified callback, whose answer goes to OSS.
        Answering { config: Option<Arc<Config>>, #[pin] answer: F },
    }
}

pin_project! {
    struct Verifying<S, B> {
        #[pin]
        body: B,
        collected: Collected,
        lookup: Option<PendingKey>,
        #[pin]
        timer: Timer,
        call: Option<Call<S>>,
    }
}

/// What is needed once the callback is verified.
struct Call<S> {
    inner: S,
    parts: Parts,
    preflight: Preflight,
}

impl<S, B, F> ResponseFuture<S, B, F> {
    pub(super) fn rejected(config: Arc<Config>, error: CallbackError) -> Self {
        Self {
            state: State::Rejected {
                config,
                error: Some(error),
            },
        }
    }

    pub(super) fn untouched(answer: F) -> Self {
        Self {
            state: State::Answering {
                config: None,
                answer,
            },
        }
    }

    pub(super) fn verifying(
        config: Arc<Config>,
        inner: S,
        parts: Parts,
        body: B,
        preflight: Preflight,
    ) -> Self {
        let verifying = Verifying {
            body,
            collected: Collected::default(),
            lookup: None,
            timer: Timer {
                started: None,
                sleep: None,
            },
            call: Some(Call {
                inner,
                parts,
                preflight,
            }),
        };
        Self {
            state: State::Verifying { config, verifying },
        }
    }
}

impl<S, B, ResBody> Future for ResponseFuture<S, B, S::Future>
where
    S: Service<Request<CallbackBody<B>>, Response = Response<ResBody>>,
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    ResBody: Body<Data = Bytes>,
{
    type Output = Result<Response<ResponseBody<ResBody>>, S::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let mut this = self.as_mut().project();
            let next = match this.state.as_mut().project() {
                StateProj::Verifying { config, verifying } => {
                    match ready!(verifying.poll(cx, config)) {
                        Ok((mut inner, request)) => {
                            let answer = inner.call(request);
                            State::Answering {
                                config: Some(Arc::clone(config)),
                                answer,
                            }
                        }
                        Err(error) => State::Rejected {
                            config: Arc::clone(config),
                            error: Some(error),
                        },
                    }
                }
                StateProj::Rejected { config, error } => {
                    #[expect(
                        clippy::expect_used,
                        reason = "polling a finished future is the caller's mistake"
                    )]
                    let error = error
                        .take()
                        .expect("ResponseFuture polled after completion");
                    return Poll::Ready(Ok(config.reject(error)));
                }
                StateProj::Answering { config, answer } => {
                    let response = ready!(answer.poll(cx))?;
                    if let Some(config) = config {
                        config.reporter.answer(&response);
                    }
                    return Poll::Ready(Ok(response.map(ResponseBody::inner)));
                }
            };
            this.state.set(next);
        }
    }
}

type Verified<S, B> = (S, Request<CallbackBody<B>>);

impl<S, B> Verifying<S, B>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        config: &Config,
    ) -> Poll<Result<Verified<S, B>, CallbackError>> {
        let verdict = ready!(self.as_mut().poll_key(cx, config));
        let this = self.project();
        #[expect(clippy::expect_used, reason = "taken once, when the state is left")]
        let Call {
            inner,
            mut parts,
            preflight,
        } = this
            .call
            .take()
            .expect("ResponseFuture polled after completion");
        let key_url = preflight.key_url().clone();
        let verified = verdict.and_then(|key| {
            let body = this.collected.take();
            // The verification takes the body along; it is held a second time only for a log that explains mismatches.
            let kept = Reporter::wants_diagnosis().then(|| body.clone());
            preflight.verify(&key, body).inspect_err(|error| {
                if let (Some(body), Kind::SignatureMismatch) = (&kept, error.kind()) {
                    Reporter::diagnosis(&diagnose(&parts, body, &key, &config.rules));
                }
            })
        });
        Poll::Ready(match verified {
            Ok(callback) => {
                let body = CallbackBody::verified(callback.body().clone());
                parts.extensions.insert(callback);
                Ok((inner, Request::from_parts(parts, body)))
            }
            Err(error) => {
                config.reporter.rejection(&error, Some(&key_url));
                Err(error)
            }
        })
    }

    /// Collects the body, then gets the key.
    fn poll_key(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        config: &Config,
    ) -> Poll<Result<PublicKey, CallbackError>> {
        let mut this = self.project();
        let Some(Call { preflight, .. }) = this.call else {
            return Poll::Pending;
        };
        let lookup = match this.lookup {
            Some(lookup) => lookup,
            None => {
                match poll_body(this.body, this.collected, preflight, cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => {
                        let (limit, kind) = if config.body_deadline < config.deadline {
                            (config.body_deadline, Kind::BodyTimeout)
                        } else {
                            (config.deadline, Kind::DeadlineExceeded)
                        };
                        ready!(this.timer.poll_after(limit, cx));
                        return Poll::Ready(Err(kind.into()));
                    }
                }
                match config.key_source.key(preflight.key_url()) {
                    KeyLookup::Ready(key) => return Poll::Ready(key.map_err(key_unavailable)),
                    KeyLookup::Pending(lookup) => this.lookup.insert(lookup),
                }
            }
        };
        match lookup.as_mut().poll(cx) {
            Poll::Ready(key) => Poll::Ready(key.map_err(key_unavailable)),
            Poll::Pending => {
                ready!(this.timer.as_mut().poll_after(config.deadline, cx));
                Poll::Ready(Err(Kind::DeadlineExceeded.into()))
            }
        }
    }
}

fn key_unavailable(why: KeyError) -> CallbackError {
    CallbackError::with_source(Kind::KeyUnavailable, why)
}

fn poll_body<B>(
    mut body: Pin<&mut B>,
    collected: &mut Collected,
    preflight: &mut Preflight,
    cx: &mut Context<'_>,
) -> Poll<Result<(), CallbackError>>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    for _ in 0..FRAMES_PER_POLL {
        match ready!(body.as_mut().poll_frame(cx)) {
            Some(Ok(frame)) => {
                // Trailers are not part of what is signed.
                let Ok(mut data) = frame.into_data() else {
                    continue;
                };
                let chunk = data.copy_to_bytes(data.remaining());
                preflight.update(&chunk)?;
                collected.push(chunk);
            }
            Some(Err(error)) => return Poll::Ready(Err(body_error(error.into()))),
            None => return Poll::Ready(preflight.end_of_body()),
        }
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}

fn body_error(error: Box<dyn Error + Send + Sync>) -> CallbackError {
    // A limit outside may have wrapped its error once more.
    let mut cause: Option<&(dyn Error + 'static)> = Some(&*error);
    while let Some(current) = cause {
        if current.is::<LengthLimitError>() {
            return CallbackError::with_source(Kind::BodyTooLarge, error);
        }
        cause = current.source();
    }
    CallbackError::with_source(Kind::BodyIncomplete, error)
}

pin_project! {
    /// A deadline that costs nothing until something has to be waited for.
    struct Timer {
        started: Option<Instant>,
        #[pin]
        sleep: Option<Sleep>,
    }
}

impl Timer {
    /// Ready once `limit` has passed since the first call.
    fn poll_after(self: Pin<&mut Self>, limit: Duration, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let started = *this.started.get_or_insert_with(Instant::now);
        // A limit beyond what the clock can hold is none.
        let Some(deadline) = started.checked_add(limit) else {
            return Poll::Pending;
        };
        if this.sleep.is_none() {
            this.sleep.set(Some(sleep_until(deadline)));
        }
        let Some(mut sleep) = this.sleep.as_pin_mut() else {
            return Poll::Pending;
        };
        if sleep.deadline() != deadline {
            sleep.as_mut().reset(deadline);
        }
        sleep.poll(cx)
    }
}

impl<S, B, F> fmt::Debug for ResponseFuture<S, B, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::Rejected { .. } => "ResponseFuture(rejected)",
            State::Verifying { .. } => "ResponseFuture(verifying)",
            State::Answering { .. } => "ResponseFuture(answering)",
        })
    }
}
