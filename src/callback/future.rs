//! The future of an answer.

use std::{
    error::Error,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response, request::Parts};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    body::{CallbackBody, ResponseBody},
    claim::given_again,
    claiming::{Claimed, Claiming},
    config::Config,
    error::CallbackError,
    keeping::Keeping,
    verifier::Preflight,
    verifying::{Verified, Verifying},
};

pin_project! {
    /// The future of [`OssCallback`](super::OssCallback). `F` is the future of the inner service `S`, `ResBody` the body
    /// of its answer.
    pub struct ResponseFuture<S, ReqBody, F, ResBody> {
        #[pin]
        state: State<S, ReqBody, F, ResBody>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, B, F, R> {
        Rejected { config: Arc<Config>, error: Option<CallbackError> },
        Verifying { config: Arc<Config>, #[pin] verifying: Verifying<S, B> },
        Claiming { config: Arc<Config>, #[pin] claiming: Claiming<S, B> },
        Keeping { config: Arc<Config>, #[pin] keeping: Keeping<F, R> },
        // The config of a verified callback, whose answer goes to OSS.
        Answering { config: Option<Arc<Config>>, #[pin] answer: F },
    }
}

impl<S, B, F, R> ResponseFuture<S, B, F, R> {
    pub(super) fn rejected(config: Arc<Config>, error: CallbackError) -> Self {
        Self {
            state: State::rejected(config, error),
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
        let verifying = Verifying::new(inner, parts, body, preflight);
        Self {
            state: State::Verifying { config, verifying },
        }
    }
}

impl<S, B, ResBody> Future for ResponseFuture<S, B, S::Future, ResBody>
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
                        Ok(verified) => State::verified(Arc::clone(config), verified),
                        Err(error) => State::rejected(Arc::clone(config), error),
                    }
                }
                StateProj::Claiming { config, claiming } => {
                    match ready!(claiming.poll(cx, config)) {
                        Ok(Claimed::Run(mut inner, request, Some(claim))) => {
                            // Called while the claim is held, so that a panic lets go of it.
                            let keeping = Keeping::new(inner.call(request), claim);
                            let config = Arc::clone(config);
                            State::Keeping { config, keeping }
                        }
                        Ok(Claimed::Run(mut inner, request, None)) => State::Answering {
                            answer: inner.call(request),
                            config: Some(Arc::clone(config)),
                        },
                        Ok(Claimed::Again(reply)) => {
                            return Poll::Ready(Ok(given_again(&reply)));
                        }
                        Err(error) => State::rejected(Arc::clone(config), error),
                    }
                }
                StateProj::Keeping { config, keeping } => return keeping.poll(cx, config),
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

impl<S, B, F, R> State<S, B, F, R> {
    fn rejected(config: Arc<Config>, error: CallbackError) -> Self {
        Self::Rejected {
            config,
            error: Some(error),
        }
    }

    fn verified<E>(config: Arc<Config>, verified: Verified<S, B>) -> Self
    where
        S: Service<Request<CallbackBody<B>>, Response = Response<R>, Error = E, Future = F>,
    {
        let Verified {
            mut inner,
            request,
            granted,
            started,
        } = verified;
        match (granted, config.rules.required_tickets()) {
            (Some(granted), Some(tickets)) => Self::Claiming {
                claiming: Claiming::new(tickets, &granted, started, inner, request),
                config,
            },
            _ => Self::Answering {
                answer: inner.call(request),
                config: Some(config),
            },
        }
    }
}

impl<S, B, F, R> fmt::Debug for ResponseFuture<S, B, F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::Rejected { .. } => "ResponseFuture(rejected)",
            State::Verifying { .. } => "ResponseFuture(verifying)",
            State::Claiming { .. } => "ResponseFuture(claiming)",
            State::Keeping { .. } => "ResponseFuture(keeping)",
            State::Answering { .. } => "ResponseFuture(answering)",
        })
    }
}
