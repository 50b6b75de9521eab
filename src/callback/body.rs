//! The body types of the layer, and the buffer that collects a body.

use std::{
    fmt, mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use pin_project_lite::pin_project;

pin_project! {
    /// The request body that the inner service receives: the verified bytes, or the untouched body
    /// of a request that [`only_path`](super::OssCallbackLayer::only_path) lets pass.
    pub struct RequestBody<B> {
        #[pin]
        body: Either<B>,
    }
}

impl<B> RequestBody<B> {
    pub(super) fn verified(bytes: Bytes) -> Self {
        let body = Full::new(bytes);
        Self {
            body: Either::Whole { body },
        }
    }

    pub(super) fn untouched(body: B) -> Self {
        Self {
            body: Either::Inner { body },
        }
    }
}

impl<B: Body> Body for RequestBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> fmt::Debug for RequestBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.body {
            Either::Whole { .. } => "RequestBody(verified)",
            Either::Inner { .. } => "RequestBody(untouched)",
        })
    }
}

pin_project! {
    /// The response body: that of the inner service, or bytes of exact length for a rejection or a
    /// response that is stored with a ticket.
    pub struct ResponseBody<B> {
        #[pin]
        body: Either<B>,
    }
}

impl<B> ResponseBody<B> {
    pub(super) fn whole(body: Full<Bytes>) -> Self {
        Self {
            body: Either::Whole { body },
        }
    }

    pub(super) fn inner(body: B) -> Self {
        Self {
            body: Either::Inner { body },
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
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Lets layers that create responses themselves, such as `CorsLayer`, wrap the service.
impl<B: Default> Default for ResponseBody<B> {
    fn default() -> Self {
        Self::inner(B::default())
    }
}

impl<B> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.body {
            Either::Whole { .. } => "ResponseBody(whole)",
            Either::Inner { .. } => "ResponseBody(inner)",
        })
    }
}

pin_project! {
    #[project = EitherProj]
    enum Either<B> {
        Whole { #[pin] body: Full<Bytes> },
        Inner { #[pin] body: B },
    }
}

impl<B: Body> Body for Either<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project() {
            EitherProj::Whole { body } => body
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(|never| match never {}))),
            EitherProj::Inner { body } => {
                let frame = ready!(body.poll_frame(cx));
                // `Bytes` are passed on without a copy, other buffers are copied.
                Poll::Ready(frame.map(|frame| {
                    frame.map(|frame| {
                        frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))
                    })
                }))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole { body } => body.is_end_stream(),
            Self::Inner { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole { body } => body.size_hint(),
            Self::Inner { body } => body.size_hint(),
        }
    }
}

/// The chunks of a body. A body that consists of one chunk is not copied.
#[derive(Default)]
pub(super) enum Collected {
    #[default]
    Empty,
    One(Bytes),
    Many(BytesMut),
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

    /// Returns the whole body.
    pub(super) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Empty => &[],
            Self::One(bytes) => bytes,
            Self::Many(all) => all,
        }
    }

    /// Returns the whole body as one buffer, and keeps it.
    pub(super) fn bytes(&mut self) -> Bytes {
        let bytes = self.take();
        *self = Self::One(bytes.clone());
        bytes
    }

    /// Takes the whole body out as one buffer.
    pub(super) fn take(&mut self) -> Bytes {
        match mem::take(self) {
            Self::Empty => Bytes::new(),
            Self::One(bytes) => bytes,
            Self::Many(all) => all.freeze(),
        }
    }
}

impl fmt::Debug for Collected {
    /// Prints the length only, because a body can contain data that must not be logged.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}
