//! The body of an upload, read under a limit and within reach of two readers: the parser, and the drain after it.

use std::{
    error::Error,
    fmt,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_core::Stream;
use http_body::Body;
use http_body_util::{BodyExt as _, combinators::UnsyncBoxBody};
use md5::{Digest as _, Md5};

use crate::catalogue;

/// What errors of a request body are boxed into.
pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// The largest body OSS takes.
pub(crate) const MAX_BODY: u64 = 5 * 1024 * 1024 * 1024;

/// How much of a refused body is still read, so that the client gets to see the answer.
const DRAIN: u64 = 1024 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Turn {
    /// The next chunk may be asked for.
    Body,
    /// There was one; the parser is to look at it first.
    Parser,
    /// The parser was told that there is nothing at hand, which may not be so.
    Told,
}

/// A request body that several readers share, one after the other.
#[derive(Clone)]
pub(crate) struct Inbound(Arc<Mutex<State>>);

struct State {
    body: UnsyncBoxBody<Bytes, BoxError>,
    pulled: u64,
    /// At `pulled` beyond this, nothing more is asked for.
    allowance: u64,
    digest: Option<Md5>,
    /// Whether the parser gets its turn before the next chunk, and whether it was told so.
    turn: Turn,
    ended: bool,
}

impl Inbound {
    pub(crate) fn new<B>(body: B, with_digest: bool) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self(Arc::new(Mutex::new(State {
            body: body.map_err(Into::into).boxed_unsync(),
            pulled: 0,
            allowance: 0,
            digest: with_digest.then(Md5::new),
            turn: Turn::Body,
            ended: false,
        })))
    }

    /// Allows so many more bytes to be asked for, counted from here.
    pub(crate) fn allow(&self, more: u64) {
        let mut state = self.lock();
        state.allowance = state.pulled.saturating_add(more);
    }

    /// Whether it is known to hold nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().body.is_end_stream()
    }

    /// The next chunk of a body that is read as it is.
    pub(crate) async fn chunk(&self) -> Result<Option<Bytes>, InboundError> {
        poll_fn(|cx| self.lock().poll(cx)).await
    }

    /// The stream a parser reads.
    pub(crate) fn stream(&self) -> FormStream {
        FormStream(self.clone())
    }

    /// Polls the parser until it has something, or the body has nothing.
    pub(crate) async fn parse<T>(&self, parsing: impl Future<Output = T>) -> T {
        let mut parsing = pin!(parsing);
        poll_fn(|cx| {
            loop {
                let parsed = parsing.as_mut().poll(cx);
                if parsed.is_ready() {
                    return parsed;
                }
                let mut state = self.lock();
                if state.turn != Turn::Told {
                    return Poll::Pending;
                }
                state.turn = Turn::Body;
            }
        })
        .await
    }

    /// Reads what follows the form, and gives the MD5 of all of it if that was asked for.
    pub(crate) async fn finish(&self) -> Result<Option<[u8; 16]>, InboundError> {
        self.allow(DRAIN);
        while self.chunk().await?.is_some() {}
        let digest = self.lock().digest.take();
        Ok(digest.map(|digest| digest.finalize().into()))
    }

    /// Reads up to 1 MiB more, for up to five seconds, and drops it.
    pub(crate) async fn drain(&self) {
        self.allow(DRAIN);
        let rest = async { while let Ok(Some(_)) = self.chunk().await {} };
        // A client that has stopped sending waits for nobody but itself.
        let _ = tokio::time::timeout(DRAIN_TIME, rest).await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, InboundError>> {
        loop {
            if self.ended {
                return Poll::Ready(Ok(None));
            }
            if self.pulled > self.allowance {
                return Poll::Ready(Err(InboundError::Allowance));
            }
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => self.ended = true,
                Poll::Ready(Some(Err(error))) => {
                    self.ended = true;
                    return Poll::Ready(Err(InboundError::Read(error)));
                }
                Poll::Ready(Some(Ok(frame))) => {
                    let Ok(data) = frame.into_data() else {
                        continue;
                    };
                    self.pulled = self.pulled.saturating_add(data.len() as u64);
                    if self.pulled > MAX_BODY {
                        return Poll::Ready(Err(InboundError::Whole));
                    }
                    if let Some(digest) = &mut self.digest {
                        digest.update(&data);
                    }
                    return Poll::Ready(Ok(Some(data)));
                }
            }
        }
    }
}

/// What the multipart parser reads, within [`Inbound::parse`].
///
/// The parser asks until there is nothing at hand, and keeps it all. So after each chunk it is told that there is
/// nothing: what it holds is then one chunk and what it cannot yet tell apart.
pub(crate) struct FormStream(Inbound);

impl Stream for FormStream {
    type Item = Result<Bytes, InboundError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut state = self.0.lock();
        if state.turn == Turn::Parser {
            state.turn = Turn::Told;
            return Poll::Pending;
        }
        let polled = state.poll(cx);
        state.turn = match polled {
            Poll::Ready(Ok(Some(_))) => Turn::Parser,
            _ => Turn::Body,
        };
        polled.map(Result::transpose)
    }
}

/// Why a body cannot be read on.
#[derive(Debug)]
pub(crate) enum InboundError {
    /// More than was allowed at this point.
    Allowance,
    /// More than OSS takes.
    Whole,
    /// The body itself failed.
    Read(BoxError),
}

impl InboundError {
    pub(crate) fn refusal(&self) -> super::error::OssError {
        match self {
            Self::Allowance => catalogue::FIELDS_TOO_LARGE,
            Self::Whole => catalogue::BODY_TOO_LARGE,
            // Nobody is left to read this.
            Self::Read(_) => catalogue::MALFORMED_FORM,
        }
    }
}

impl fmt::Display for InboundError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allowance => "the fields of the form are too large",
            Self::Whole => "the body is larger than 5 GiB",
            Self::Read(_) => "the body could not be read",
        })
    }
}

impl Error for InboundError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Read(source) => Some(&**source),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;

    struct Chunks(usize);

    impl Stream for Chunks {
        type Item = Result<Frame<Bytes>, Infallible>;

        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            if self.0 == 0 {
                return Poll::Ready(None);
            }
            self.0 -= 1;
            Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![0; 64 * 1024])))))
        }
    }

    #[tokio::test]
    async fn a_refused_body_is_drained_up_to_a_mebibyte() {
        for (chunks, read) in [(3, 3), (1000, 17)] {
            let body = StreamBody::new(Chunks(chunks));
            let inbound = Inbound::new(body, false);
            inbound.drain().await;
            assert_eq!(inbound.lock().pulled, read * 64 * 1024);
        }
    }

    #[tokio::test]
    async fn the_parser_gets_one_chunk_a_turn() {
        let inbound = Inbound::new(StreamBody::new(Chunks(2)), false);
        inbound.allow(u64::MAX);
        let mut stream = inbound.stream();
        let mut polls = Vec::new();
        poll_fn(|cx| {
            for _ in 0..5 {
                polls.push(match Pin::new(&mut stream).poll_next(cx) {
                    Poll::Pending => "pending",
                    Poll::Ready(None) => "end",
                    Poll::Ready(Some(_)) => "chunk",
                });
            }
            Poll::Ready(())
        })
        .await;
        assert_eq!(polls, ["chunk", "pending", "chunk", "pending", "end"]);
    }
}
