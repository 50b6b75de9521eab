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
    body::{ReadBody, check_json},
    error::{TokenError, outcome},
    issuer::Issuer,
    response::{PolicyBody, token_response},
};
use crate::{
    metrics::{self, Span},
    policy::{
        authorize::Authorize,
        requested::{RequestError, RequestedFiles, names_file},
    },
};

/// Maximum length of a request body in bytes.
const MAX_BODY_LEN: usize = 64 * 1024;

type IssueFuture = Pin<Box<dyn Future<Output = Response<PolicyBody>> + Send>>;

pin_project! {
    /// Response future of [`OssPolicyService`](super::OssPolicyService).
    #[must_use = "futures do nothing unless polled"]
    pub struct PolicyFuture<A, B>
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
        Issuing { future: IssueFuture },
        Ready { response: Option<Response<PolicyBody>> },
    }
}

/// A request without its body, and what answers it.
struct Exchange<A> {
    authorize: Arc<A>,
    issuer: Arc<Issuer>,
    parts: Parts,
}

impl<A, B> PolicyFuture<A, B>
where
    A: Authorize,
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    pub(super) fn new(authorize: Arc<A>, issuer: Arc<Issuer>, request: Request<B>) -> Self {
        let (parts, body) = request.into_parts();
        let span = Span::of_token();
        let state = match check(&issuer, &parts) {
            Err(error) => State::failed(error, &issuer, &parts),
            Ok(()) => {
                let exchange = Exchange {
                    authorize,
                    issuer,
                    parts,
                };
                match exchange.parts.method {
                    Method::POST => State::reading(exchange, body),
                    // The body of a GET has no meaning (RFC 9110 section 9.3.1).
                    _ => State::issuing(exchange, &Bytes::new()),
                }
            }
        };
        Self { state, span }
    }
}

impl<A, B> State<A, B>
where
    A: Authorize,
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    fn reading(exchange: Exchange<A>, body: B) -> Self {
        match ReadBody::new(&exchange.parts.headers, body, MAX_BODY_LEN) {
            Ok(body) => Self::Reading {
                body,
                exchange: Some(exchange),
            },
            Err(error) => Self::failed(error, &exchange.issuer, &exchange.parts),
        }
    }

    fn issuing(exchange: Exchange<A>, body: &Bytes) -> Self {
        match parse_request(&exchange.parts, body) {
            Ok(requested) => Self::Issuing {
                future: Box::pin(exchange.issue(requested)),
            },
            Err(error) => Self::failed(error, &exchange.issuer, &exchange.parts),
        }
    }

    fn failed(error: TokenError, issuer: &Issuer, parts: &Parts) -> Self {
        Self::Ready {
            response: Some(issuer.reject(error, &parts.method)),
        }
    }
}

impl<A: Authorize> Exchange<A> {
    async fn issue(self, requested: RequestedFiles) -> Response<PolicyBody> {
        let Self {
            authorize,
            issuer,
            mut parts,
        } = self;
        // The files are shared, not copied.
        parts.extensions.insert(requested.clone());
        match issuer.issue(&*authorize, &parts, &requested).await {
            Ok(body) => token_response(body, &parts.method),
            Err(error) => issuer.reject(error, &parts.method),
        }
    }
}

impl<A, B> Future for PolicyFuture<A, B>
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
                        Ok(body) => State::issuing(exchange, &body),
                        Err(error) => State::failed(error, &exchange.issuer, &exchange.parts),
                    }
                }
                StateProject::Issuing { future } => {
                    let response = ready!(future.as_mut().poll(cx));
                    metrics::token(outcome(&response, metrics::ISSUED), span);
                    return Poll::Ready(Ok(response));
                }
                StateProject::Ready { response } => {
                    #[expect(clippy::expect_used, reason = "the contract of `Future::poll`")]
                    let response = response.take().expect("polled after completion");
                    metrics::token(outcome(&response, metrics::ISSUED), span);
                    return Poll::Ready(Ok(response));
                }
            };
            state.set(next);
        }
    }
}

impl<A, B> fmt::Debug for PolicyFuture<A, B>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicyFuture").finish_non_exhaustive()
    }
}

/// Checks the head of a request, before a byte of the body is read.
fn check(issuer: &Issuer, parts: &Parts) -> Result<(), TokenError> {
    issuer.check_method(&parts.method)?;
    if parts.method == Method::POST {
        check_json(&parts.headers)?;
    }
    Ok(())
}

/// Reads the requested files from the query or from the body, but not from both.
fn parse_request(parts: &Parts, body: &Bytes) -> Result<RequestedFiles, TokenError> {
    let query = parts.uri.query();
    // The body of a GET is never read, and that of a POST may be empty.
    let requested = if body.is_empty() {
        RequestedFiles::from_query(query)
    } else if names_file(query) {
        Err(RequestError::Both)
    } else {
        RequestedFiles::from_json(body)
    };
    requested.map_err(Into::into)
}
