//! Reading the body of a request, within a size and a time.

use std::{
    error::Error,
    future::Future as _,
    iter,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf as _, Bytes, BytesMut};
use http::{
    HeaderMap,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use http_body::{Body, Frame};
use http_body_util::{LengthLimitError, Limited};
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};

use super::error::{TokenError, TokenErrorKind};

/// Maximum time for a request body to arrive, measured from the first wait for it.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Number of body frames that one poll reads at most. A body of endless empty frames would
/// otherwise never let the timer, or other tasks, run.
const FRAMES_PER_POLL: usize = 64;

pin_project! {
    /// A body that is being read into one buffer.
    pub(in crate::policy) struct ReadBody<B> {
        #[pin]
        body: Limited<B>,
        read: BytesMut,
        // Set on the first wait, so that a body in memory needs no runtime.
        #[pin]
        timer: Option<Sleep>,
    }
}

impl<B> ReadBody<B>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// Starts to read a body of at most `limit` bytes.
    pub(in crate::policy) fn new(
        headers: &HeaderMap,
        body: B,
        limit: usize,
    ) -> Result<Self, TokenError> {
        let length = headers.get(CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        let lower = body.size_hint().lower();
        // Rejects a declared length before reading; `Limited` enforces the actual one.
        if length.unwrap_or(lower).max(lower) > limit as u64 {
            return Err(TokenErrorKind::AskTooLarge.into());
        }
        Ok(Self {
            body: Limited::new(body, limit),
            read: BytesMut::new(),
            timer: None,
        })
    }

    pub(in crate::policy) fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Bytes, TokenError>> {
        let mut this = self.project();
        match poll_to_end(this.body, this.read, cx) {
            Poll::Ready(end) => Poll::Ready(end.map(|()| this.read.split().freeze())),
            Poll::Pending => {
                if this.timer.is_none() {
                    this.timer.set(Some(sleep(BODY_TIMEOUT)));
                }
                if let Some(timer) = this.timer.as_pin_mut() {
                    ready!(timer.poll(cx));
                }
                Poll::Ready(Err(TokenErrorKind::AskTimeout.into()))
            }
        }
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

/// Rejects the body of a `POST` that is not JSON.
///
/// A page of another origin can send a form, plain text, or a `POST` without a type, all with the
/// cookies of its visitor. JSON needs a CORS preflight, so a `POST` without a body needs it too.
pub(in crate::policy) fn check_json(headers: &HeaderMap) -> Result<(), TokenError> {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let json = types.next().is_some_and(|first| is_json(first.as_bytes()));
    if !json || types.next().is_some() {
        return Err(TokenErrorKind::UnsupportedMediaType.into());
    }
    Ok(())
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
