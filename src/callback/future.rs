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
    config::Config,
    error::CallbackError,
    verifier::Preflight,
    verifying::Verifying,
};

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
        let verifying = Verifying::new(inner, parts, body, preflight);
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

impl<S, B, F> fmt::Debug for ResponseFuture<S, B, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::Rejected { .. } => "ResponseFuture(rejected)",
            State::Verifying { .. } => "ResponseFuture(verifying)",
            State::Answering { .. } => "ResponseFuture(answering)",
        })
    }
}
