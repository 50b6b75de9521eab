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
    responding::{Answer, Respond, Responding},
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

pin_project! {
    /// Response future of [`OssPolicyService`](super::OssPolicyService).
    #[must_use = "futures do nothing unless polled"]
    pub struct PolicyFuture<A, B>
    where
        B: Body,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        #[pin]
        responding: Responding<Exchange<A>, Response<PolicyBody>, B>,
        span: Span,
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
        let checked = check(&issuer, &parts);
        let exchange = Exchange {
            authorize,
            issuer,
            parts,
        };
        let responding = match checked {
            Ok(()) if exchange.parts.method == Method::POST => {
                let body = ReadBody::new(&exchange.parts.headers, body, MAX_BODY_LEN);
                Responding::reading(body, exchange)
            }
            // The body of a GET has no meaning (RFC 9110 section 9.3.1).
            checked => Responding::answering(exchange.respond(checked.map(|()| Bytes::new()))),
        };
        Self { responding, span }
    }
}

impl<A: Authorize> Respond<Response<PolicyBody>> for Exchange<A> {
    fn respond(self, body: Result<Bytes, TokenError>) -> Answer<Response<PolicyBody>> {
        match body.and_then(|body| parse_request(&self.parts, &body)) {
            Ok(requested) => Answer::Later(Box::pin(self.issue(requested))),
            Err(error) => Answer::Now(self.issuer.reject(error, &self.parts.method)),
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
        let response = ready!(this.responding.poll(cx));
        metrics::token(outcome(&response, metrics::ISSUED), span);
        Poll::Ready(Ok(response))
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
