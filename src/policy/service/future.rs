//! The future of the service.

use std::{
    convert::Infallible,
    error::Error,
    fmt,
    future::Future,
    iter,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf as _, Bytes, BytesMut};
use http::{
    Method, Response, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
    request::Parts,
};
use http_body::{Body, Frame};
use http_body_util::{LengthLimitError, Limited};
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};

use super::{
    OssPolicyService,
    answer::{PolicyBody, json},
    problem::Problem,
};
use crate::policy::{
    authorize::Authorize,
    requested::{AskError, RequestedFiles, asks, from_json, from_query},
};

/// The longest ask, in bytes.
const MAX_ASK_LEN: usize = 64 * 1024;

/// How long an ask may take to arrive once it has been waited for.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);

/// Frames taken in one go before others get their turn, the timer among them: a body of endless empty frames must meet
/// it.
const FRAMES_PER_POLL: usize = 64;

type Answer = Pin<Box<dyn Future<Output = Response<PolicyBody>> + Send>>;

pin_project! {
    /// The future of [`OssPolicyService`].
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
            // Only a body that is waited for has one.
            #[pin]
            timer: Option<Sleep>,
            request: Option<(OssPolicyService<A>, Parts)>,
        },
        Answering { answer: Answer },
        Ready { response: Option<Response<PolicyBody>> },
    }
}

impl<A, B> PolicyFuture<A, B>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    pub(super) fn ready(response: Response<PolicyBody>) -> Self {
        let response = Some(response);
        Self {
            state: State::Ready { response },
        }
    }
}

impl<A, B> PolicyFuture<A, B>
where
    A: Authorize,
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// The answer to a `POST`, whose body may ask.
    pub(super) fn reading(service: OssPolicyService<A>, parts: Parts, body: B) -> Self {
        let length = parts.headers.get(CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        let lower = body.size_hint().lower();
        if length.unwrap_or(lower).max(lower) > MAX_ASK_LEN as u64 {
            return Self::ready(Problem::TooLarge.response(&parts.method));
        }
        Self {
            state: State::Reading {
                body: Limited::new(body, MAX_ASK_LEN),
                read: BytesMut::new(),
                timer: None,
                request: Some((service, parts)),
            },
        }
    }

    /// The answer once the body is there.
    pub(super) fn asked(service: OssPolicyService<A>, parts: Parts, body: &Bytes) -> Self {
        match ask(&parts, body) {
            Ok(asked) => Self {
                state: State::Answering {
                    answer: Box::pin(answer(service, parts, asked)),
                },
            },
            Err(problem) => Self::ready(problem.response(&parts.method)),
        }
    }
}

/// Into one buffer, whatever pieces it comes in.
fn poll_to_end<B>(
    mut body: Pin<&mut Limited<B>>,
    read: &mut BytesMut,
    cx: &mut Context<'_>,
) -> Poll<Result<(), Problem>>
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
            Err(error) if is_limit(&*error) => return Poll::Ready(Err(Problem::TooLarge)),
            Err(_) => return Poll::Ready(Err(Problem::CutShort)),
        }
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// Whether it is a limit that was passed, ours or that of a layer outside, which a framework may have wrapped.
fn is_limit(error: &(dyn Error + 'static)) -> bool {
    iter::successors(Some(error), |error| (*error).source())
        .any(|error| error.is::<LengthLimitError>())
}

/// In the query or in the body, not in both.
fn ask(parts: &Parts, body: &Bytes) -> Result<RequestedFiles, Problem> {
    let query = parts.uri.query();
    // What a GET says of a body that it has not is nobody's business.
    if parts.method != Method::POST {
        return from_query(query).map_err(Problem::Ask);
    }
    let asked = match parts.headers.get(CONTENT_TYPE) {
        // A page of another origin can send a form or text unasked, but not this type.
        Some(other) if !is_json(other.as_bytes()) => return Err(Problem::MediaType),
        None if !body.is_empty() => return Err(Problem::MediaType),
        _ if body.is_empty() => from_query(query),
        _ if asks(query) => Err(AskError::Both),
        _ => from_json(body),
    };
    asked.map_err(Problem::Ask)
}

/// `application/json`, with a charset or without: what is not UTF-8 is found out anyway.
fn is_json(content_type: &[u8]) -> bool {
    let essence = content_type.split(|b| *b == b';').next();
    essence.is_some_and(|essence| {
        essence
            .trim_ascii()
            .eq_ignore_ascii_case(b"application/json")
    })
}

async fn answer<A: Authorize>(
    service: OssPolicyService<A>,
    mut parts: Parts,
    asked: RequestedFiles,
) -> Response<PolicyBody> {
    parts.extensions.insert(asked.clone());
    let token = service.issuer.token(&*service.authorize, &parts, &asked);
    match token.await {
        Ok(token) => json(StatusCode::OK, token, &parts.method),
        Err(problem) => problem.response(&parts.method),
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
                    request,
                } => {
                    let body = match poll_to_end(body, read, cx) {
                        Poll::Ready(end) => end.map(|()| read.split().freeze()),
                        Poll::Pending => {
                            if timer.is_none() {
                                timer.set(Some(sleep(ASK_TIMEOUT)));
                            }
                            if let Some(timer) = timer.as_pin_mut() {
                                ready!(timer.poll(cx));
                            }
                            Err(Problem::TooSlow)
                        }
                    };
                    #[expect(clippy::expect_used, reason = "the state is left with it")]
                    let (service, parts) = request.take().expect("polled after completion");
                    match body {
                        Ok(body) => Self::asked(service, parts, &body).state,
                        Err(problem) => State::Ready {
                            response: Some(problem.response(&parts.method)),
                        },
                    }
                }
                StateProject::Answering { answer } => {
                    return answer.as_mut().poll(cx).map(Ok);
                }
                StateProject::Ready { response } => {
                    #[expect(clippy::expect_used, reason = "as every future")]
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
