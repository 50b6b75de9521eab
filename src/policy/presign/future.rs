//! Response future of the service.

use std::{
    convert::Infallible,
    error::Error,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Method, Request, Response, request::Parts};
use http_body::Body;
use pin_project_lite::pin_project;

use super::{
    exchange::{Exchange, Route},
    presigner::Presigner,
};
use crate::{
    metrics::{self, Span, UNKNOWN_ACTION},
    policy::{
        authorize::Authorize,
        service::{PolicyBody, ReadBody, TokenError, outcome},
    },
};

/// The response, and the name of the action in the metrics.
type Answer = (Response<PolicyBody>, &'static str);

type AnswerFuture = Pin<Box<dyn Future<Output = Answer> + Send>>;

pin_project! {
    /// Response future of [`OssPresignService`](super::OssPresignService).
    #[must_use = "futures do nothing unless polled"]
    pub struct PresignFuture<A, B>
    where
        B: Body,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        #[pin]
        state: State<A, B>,
        span: Span,
    }
}

pin_project! {
    #[project = StateProject]
    enum State<A, B>
    where
        B: Body,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        Reading {
            #[pin]
            body: ReadBody<B>,
            exchange: Option<Exchange<A>>,
        },
        Answering { future: AnswerFuture },
        Ready { answer: Option<Answer> },
    }
}

impl<A, B> PresignFuture<A, B>
where
    A: Authorize,
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    pub(super) fn new(authorize: Arc<A>, presigner: &Arc<Presigner>, request: Request<B>) -> Self {
        let (parts, body) = request.into_parts();
        Self {
            state: State::start(authorize, presigner, parts, body),
            span: Span::of_presign(),
        }
    }
}

impl<A, B> State<A, B>
where
    A: Authorize,
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    fn start(authorize: Arc<A>, presigner: &Arc<Presigner>, parts: Parts, body: B) -> Self {
        let route = match Route::of(presigner, &parts) {
            Ok(route) => route,
            Err(error) => return Self::failed(error, presigner, &parts.method, UNKNOWN_ACTION),
        };
        let Some(limit) = route.body_limit() else {
            let exchange = Exchange::new(authorize, presigner, parts, route);
            return Self::answering(exchange, Bytes::new());
        };
        match ReadBody::new(&parts.headers, body, limit) {
            Ok(body) => Self::Reading {
                body,
                exchange: Some(Exchange::new(authorize, presigner, parts, route)),
            },
            Err(error) => Self::failed(error, presigner, &parts.method, route.action()),
        }
    }

    fn answering(exchange: Exchange<A>, body: Bytes) -> Self {
        Self::Answering {
            future: Box::pin(exchange.answer(body)),
        }
    }

    fn failed(
        error: TokenError,
        presigner: &Presigner,
        method: &Method,
        action: &'static str,
    ) -> Self {
        Self::Ready {
            answer: Some((presigner.issuer.reject(error, method), action)),
        }
    }
}

impl<A, B> Future for PresignFuture<A, B>
where
    A: Authorize,
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Output = Result<Response<PolicyBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let span = &*this.span;
        let _entered = span.enter();
        let mut state = this.state;
        loop {
            let next = match state.as_mut().project() {
                StateProject::Reading { body, exchange } => {
                    let body = ready!(body.poll(cx));
                    #[expect(clippy::expect_used, reason = "taking it leaves this state")]
                    let exchange = exchange.take().expect("polled after completion");
                    match body {
                        Ok(body) => State::answering(exchange, body),
                        Err(error) => State::Ready {
                            answer: Some((exchange.reject(error), exchange.action())),
                        },
                    }
                }
                StateProject::Answering { future } => {
                    let answer = ready!(future.as_mut().poll(cx));
                    return Poll::Ready(Ok(answered(answer, span)));
                }
                StateProject::Ready { answer } => {
                    #[expect(clippy::expect_used, reason = "the contract of `Future::poll`")]
                    let answer = answer.take().expect("polled after completion");
                    return Poll::Ready(Ok(answered(answer, span)));
                }
            };
            state.set(next);
        }
    }
}

/// Counts an answer.
fn answered((response, action): Answer, span: &Span) -> Response<PolicyBody> {
    metrics::presign(action, outcome(&response, metrics::ANSWERED), span);
    response
}

impl<A, B> fmt::Debug for PresignFuture<A, B>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PresignFuture").finish_non_exhaustive()
    }
}
