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
use crate::policy::{
    authorize::Authorize,
    service::{PolicyBody, ReadBody, TokenError},
};

type AnswerFuture = Pin<Box<dyn Future<Output = Response<PolicyBody>> + Send>>;

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
        Ready { response: Option<Response<PolicyBody>> },
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
        let state = match State::start(authorize, presigner, parts, body) {
            Ok(state) => state,
            Err((error, method)) => State::failed(error, presigner, &method),
        };
        Self { state }
    }
}

impl<A, B> State<A, B>
where
    A: Authorize,
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    fn start(
        authorize: Arc<A>,
        presigner: &Arc<Presigner>,
        parts: Parts,
        body: B,
    ) -> Result<Self, (TokenError, Method)> {
        let route = Route::of(presigner, &parts).map_err(|error| (error, parts.method.clone()))?;
        let Some(limit) = route.body_limit() else {
            let exchange = Exchange::new(authorize, presigner, parts, route);
            return Ok(Self::answering(exchange, Bytes::new()));
        };
        match ReadBody::new(&parts.headers, body, limit) {
            Ok(body) => Ok(Self::Reading {
                body,
                exchange: Some(Exchange::new(authorize, presigner, parts, route)),
            }),
            Err(error) => Err((error, parts.method)),
        }
    }

    fn answering(exchange: Exchange<A>, body: Bytes) -> Self {
        Self::Answering {
            future: Box::pin(exchange.answer(body)),
        }
    }

    fn failed(error: TokenError, presigner: &Presigner, method: &Method) -> Self {
        Self::Ready {
            response: Some(presigner.issuer.reject(error, method)),
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
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProject::Reading { body, exchange } => {
                    let body = ready!(body.poll(cx));
                    #[expect(clippy::expect_used, reason = "taking it leaves this state")]
                    let exchange = exchange.take().expect("polled after completion");
                    match body {
                        Ok(body) => State::answering(exchange, body),
                        Err(error) => State::Ready {
                            response: Some(exchange.reject(error)),
                        },
                    }
                }
                StateProject::Answering { future } => return future.as_mut().poll(cx).map(Ok),
                StateProject::Ready { response } => {
                    #[expect(clippy::expect_used, reason = "the contract of `Future::poll`")]
                    let response = response.take().expect("polled after completion");
                    return Poll::Ready(Ok(response));
                }
            };
            state.set(next);
        }
    }
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
