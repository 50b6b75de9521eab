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
use http::{Request, Response, request::Parts};
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
        service::{Answer, PolicyBody, ReadBody, Respond, Responding, TokenError, outcome},
    },
};

/// The response, and the name of the action in the metrics.
type Answered = (Response<PolicyBody>, &'static str);

pin_project! {
    /// Response future of [`OssPresignService`](super::OssPresignService).
    #[must_use = "futures do nothing unless polled"]
    pub struct PresignFuture<A, B>
    where
        B: Body,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        #[pin]
        responding: Responding<Exchange<A>, Answered, B>,
        span: Span,
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
            responding: start(authorize, presigner, parts, body),
            span: Span::of_presign(),
        }
    }
}

fn start<A, B>(
    authorize: Arc<A>,
    presigner: &Arc<Presigner>,
    parts: Parts,
    body: B,
) -> Responding<Exchange<A>, Answered, B>
where
    A: Authorize,
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let route = match Route::of(presigner, &parts) {
        Ok(route) => route,
        Err(error) => {
            let response = presigner.issuer.reject(error, &parts.method);
            return Responding::answering(Answer::Now((response, UNKNOWN_ACTION)));
        }
    };
    let body = route
        .body_limit()
        .map(|limit| ReadBody::new(&parts.headers, body, limit));
    let exchange = Exchange::new(authorize, presigner, parts, route);
    match body {
        Some(body) => Responding::reading(body, exchange),
        None => Responding::answering(exchange.respond(Ok(Bytes::new()))),
    }
}

impl<A: Authorize> Respond<Answered> for Exchange<A> {
    fn respond(self, body: Result<Bytes, TokenError>) -> Answer<Answered> {
        match body {
            Ok(body) => Answer::Later(Box::pin(self.answer(body))),
            Err(error) => Answer::Now((self.reject(error), self.action())),
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
        let (response, action) = ready!(this.responding.poll(cx));
        metrics::presign(action, outcome(&response, metrics::ANSWERED), span);
        Poll::Ready(Ok(response))
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
