//! The body types of the layer, and how a body is collected.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use pin_project_lite::pin_project;

pin_project! {
    /// The body that the inner service sees: the verified bytes, or the untouched body of a request that
    /// [`only_path`](super::OssCallbackLayer::only_path) let through.
    pub struct CallbackBody<B> {
        #[pin]
        inner: Either<B>,
    }
}

pin_project! {
    #[project = EitherProj]
    enum Either<B> {
        Ours { #[pin] body: Full<Bytes> },
        Theirs { #[pin] body: B },
    }
}

impl<B> CallbackBody<B> {
    pub(super) fn verified(bytes: Bytes) -> Self {
        Self {
            inner: Either::Ours {
                body: Full::new(bytes),
            },
        }
    }

    pub(super) fn untouched(body: B) -> Self {
        Self {
            inner: Either::Theirs { body },
        }
    }
}

impl<B: Body> Body for CallbackBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().inner.project() {
            EitherProj::Ours { body } => poll_infallible(body, cx),
            EitherProj::Theirs { body } => {
                let frame = ready!(body.poll_frame(cx));
                // Bytes are handed on as they are, other buffers are copied into some.
                Poll::Ready(frame.map(|frame| {
                    frame.map(|frame| {
                        frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))
                    })
                }))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Either::Ours { body } => body.is_end_stream(),
            Either::Theirs { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Either::Ours { body } => body.size_hint(),
            Either::Theirs { body } => body.size_hint(),
        }
    }
}

impl<B> fmt::Debug for CallbackBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.inner {
            Either::Ours { .. } => "CallbackBody(verified)",
            Either::Theirs { .. } => "CallbackBody(untouched)",
        })
    }
}

pin_project! {
    /// The body of an answer: that of the inner service, or bytes that the layer has in hand, with an exact length (a
    /// rejection, or an answer that is kept with a ticket).
    pub struct ResponseBody<B> {
        #[pin]
        inner: Either<B>,
    }
}

impl<B> ResponseBody<B> {
    pub(super) fn whole(body: Full<Bytes>) -> Self {
        Self {
            inner: Either::Ours { body },
        }
    }

    pub(super) fn inner(body: B) -> Self {
        Self {
            inner: Either::Theirs { body },
        }
    }
}

impl<B: Body<Data = Bytes>> Body for ResponseBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().inner.project() {
            EitherProj::Ours { body } => poll_infallible(body, cx),
            EitherProj::Theirs { body } => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Either::Ours { body } => body.is_end_stream(),
            Either::Theirs { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Either::Ours { body } => body.size_hint(),
            Either::Theirs { body } => body.size_hint(),
        }
    }
}

/// So that layers which answer by themselves, such as `CorsLayer`, can stand outside.
impl<B: Default> Default for ResponseBody<B> {
    fn default() -> Self {
        Self::inner(B::default())
    }
}

impl<B> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.inner {
            Either::Ours { .. } => "ResponseBody(whole)",
            Either::Theirs { .. } => "ResponseBody(inner)",
        })
    }
}

fn poll_infallible<E>(
    body: Pin<&mut Full<Bytes>>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, E>>> {
    body.poll_frame(cx)
        .map(|frame| frame.map(|frame| frame.map_err(|never| match never {})))
}

/// The pieces of a body; a body that came in one piece is not copied.
#[derive(Default)]
pub(super) enum Collected {
    #[default]
    Empty,
    One(Bytes),
    Many(BytesMut),
}

impl fmt::Debug for Collected {
    /// The length alone: a body can hold what does not belong into a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

impl Collected {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Empty => 0,
            Self::One(bytes) => bytes.len(),
            Self::Many(all) => all.len(),
        }
    }

    pub(super) fn push(&mut self, chunk: Bytes) {
        if chunk.is_empty() {
            return;
        }
        match self {
            Self::Empty => *self = Self::One(chunk),
            Self::One(first) => {
                let mut all = BytesMut::with_capacity(first.len() + chunk.len());
                all.extend_from_slice(first);
                all.extend_from_slice(&chunk);
                *self = Self::Many(all);
            }
            Self::Many(all) => all.extend_from_slice(&chunk),
        }
    }

    /// The whole, in one piece; it is kept.
    pub(super) fn bytes(&mut self) -> Bytes {
        let bytes = match std::mem::take(self) {
            Self::Empty => return Bytes::new(),
            Self::One(bytes) => bytes,
            Self::Many(all) => all.freeze(),
        };
        *self = Self::One(bytes.clone());
        bytes
    }
}
