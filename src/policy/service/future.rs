//! Response future of the service.

use std::{
    convert::Infallible,
    error::Error,
    fmt,
    future::Future,
    iter,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf as _, Bytes, BytesMut};
use http::{
    Method, Request, Response,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
    request::Parts,
};
use http_body::{Body, Frame};
use http_body_util::{LengthLimitError, Limited};
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};

use super::{
    error::{TokenError, TokenErrorKind},
    issuer::Issuer,
    response::{PolicyBody, token_response},
};
use crate::policy::{
    authorize::Authorize,
    requested::{RequestError, RequestedFiles, names_file},
};

/// Maximum length of a request body in bytes.
const MAX_BODY_LEN: usize = 64 * 1024;

/// Maximum time for a request body to arrive, measured from the first wait for it.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Number of body frames that one poll reads at most. A body of endless empty frames would
/// otherwise never let the timer, or other tasks, run.
const FRAMES_PER_POLL: usize = 64;

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
            body: Limited<B>,
            read: BytesMut,
            // Set on the first wait, so that a body in memory needs no runtime.
            #[pin]
            timer: Option<Sleep>,
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
        Self { state }
    }
}

impl<A, B> State<A, B>
where
    A: Authorize,
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    fn reading(exchange: Exchange<A>, body: B) -> Self {
        let length = exchange.parts.headers.get(CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        let lower = body.size_hint().lower();
        // Rejects a declared length before reading; `Limited` enforces the actual one.
        if length.unwrap_or(lower).max(lower) > MAX_BODY_LEN as u64 {
            return Self::failed(
                TokenErrorKind::AskTooLarge.into(),
                &exchange.issuer,
                &exchange.parts,
            );
        }
        Self::Reading {
            body: Limited::new(body, MAX_BODY_LEN),
            read: BytesMut::new(),
            timer: None,
            exchange: Some(exchange),
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
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProject::Reading {
                    body,
                    read,
                    mut timer,
                    exchange,
                } => {
                    let body = match poll_to_end(body, read, cx) {
                        Poll::Ready(end) => end.map(|()| read.split().freeze()),
                        Poll::Pending => {
                            if timer.is_none() {
                                timer.set(Some(sleep(BODY_TIMEOUT)));
                            }
                            if let Some(timer) = timer.as_pin_mut() {
                                ready!(timer.poll(cx));
                            }
                            Err(TokenErrorKind::AskTimeout.into())
                        }
                    };
                    #[expect(clippy::expect_used, reason = "taking it leaves this state")]
                    let exchange = exchange.take().expect("polled after completion");
                    match body {
                        Ok(body) => State::issuing(exchange, &body),
                        Err(error) => State::failed(error, &exchange.issuer, &exchange.parts),
                    }
                }
                StateProject::Issuing { future } => {
                    return future.as_mut().poll(cx).map(Ok);
                }
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

impl<A, B> fmt::Debug for PolicyFuture<A, B>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicyFuture").finish_non_exhaustive()
    }
}

/// Reads the body into one buffer.
fn poll_to_end<B>(
    mut body: Pin<&mut Limited<B>>,
    read: &mut BytesMut,
    cx: &mut Context<'_>,
) -> Poll<Result<(), TokenError>>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    for _ in 0..FRAMES_PER_POLL {
        let Some(frame) = ready!(body.as_mut().poll_frame(cx)) else {
            return Poll::Ready(Ok(()));
        };
        match frame.map(Frame::into_data) {
            Ok(Ok(mut data)) => read.extend_from_slice(&data.copy_to_bytes(data.remaining())),
            Ok(Err(_trailers)) => {}
            Err(error) if is_limit(&*error) => {
                return Poll::Ready(Err(TokenErrorKind::AskTooLarge.into()));
            }
            Err(_) => return Poll::Ready(Err(TokenErrorKind::AskCutShort.into())),
        }
    }
    // The body may be ready for more, so nothing else would wake this task.
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// Returns whether the body exceeded a limit: the one above, or that of an outer layer, whose error
/// a framework may have wrapped.
fn is_limit(error: &(dyn Error + 'static)) -> bool {
    iter::successors(Some(error), |error| (*error).source())
        .any(|error| error.is::<LengthLimitError>())
}

/// Checks the head of a request, before a byte of the body is read.
fn check(issuer: &Issuer, parts: &Parts) -> Result<(), TokenError> {
    issuer.check_method(&parts.method)?;
    // A page of another origin can send a form, plain text, or a POST without a type, all with the
    // cookies of its visitor. JSON needs a CORS preflight, so a POST without a body needs it too.
    if parts.method == Method::POST {
        let mut types = parts.headers.get_all(CONTENT_TYPE).iter();
        let json = types.next().is_some_and(|first| is_json(first.as_bytes()));
        if !json || types.next().is_some() {
            return Err(TokenErrorKind::UnsupportedMediaType.into());
        }
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

/// Accepts `application/json` with or without parameters. The JSON parser rejects other charsets
/// than UTF-8.
fn is_json(content_type: &[u8]) -> bool {
    let essence = content_type.split(|b| *b == b';').next();
    essence.is_some_and(|essence| {
        essence
            .trim_ascii()
            .eq_ignore_ascii_case(b"application/json")
    })
}
