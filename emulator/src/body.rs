//! Bodies: [`EmulatorBody`] of responses, and [`Inbound`], the bounded reader of everything that
//! the emulator receives.

use std::{
    error::Error,
    fmt,
    fs::File,
    future::{Future, poll_fn},
    io::{self, Read as _, Seek as _, SeekFrom},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, combinators::UnsyncBoxBody};
use md5::{Digest as _, Md5};
use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::{Sleep, sleep_until},
};

use crate::{
    compression::Gzip,
    errors::{self, OssError},
    traffic_limit::{Pace, TrafficLimit},
};

/// Error type of a request body.
pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// The largest request body that OSS accepts, in bytes.
pub(crate) const MAX_BODY: u64 = 5 * 1024 * 1024 * 1024;

/// How much of a rejected body is still read, in bytes.
const DRAIN: u64 = 1024 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(5);
/// How long a client may send nothing within a body.
const IDLE_TIME: Duration = Duration::from_secs(60);
/// How much of a file is read at a time, in bytes.
const FILE_CHUNK: u64 = 1024 * 1024;

/// Response body of [`Emulator`](crate::Emulator): a document, or the content of an object in
/// pieces.
///
/// It fails only if a file of [`ObjectStore::folder`](crate::ObjectStore::folder) cannot be read.
pub struct EmulatorBody(Repr);

enum Repr {
    Whole(Bytes),
    Chunks {
        chunks: Arc<[Bytes]>,
        /// The index of the next chunk.
        next: usize,
        /// How many bytes to skip from there.
        skip: u64,
        left: u64,
    },
    File(FileRange),
    Gzip(Box<Gzip<EmulatorBody>>),
    Paced(Box<Paced>),
}

/// A body that is not sent faster than a limit.
struct Paced {
    body: EmulatorBody,
    pace: Pace,
    /// What was read and not yet sent.
    held: Bytes,
    /// The next piece of it, and when to send it.
    next: Option<(usize, Pin<Box<Sleep>>)>,
}

/// The content of a stored object.
pub(crate) enum Stored {
    Memory(Arc<[Bytes]>),
    /// A file that begins with the content.
    File(File),
}

impl EmulatorBody {
    pub(crate) fn empty() -> Self {
        Self(Repr::Whole(Bytes::new()))
    }

    /// `length` bytes of an object, starting at `from`.
    pub(crate) fn of(stored: Stored, from: u64, length: u64) -> Self {
        Self(match stored {
            Stored::File(file) => Repr::File(FileRange::new(file, from, length)),
            Stored::Memory(chunks) => Repr::Chunks {
                chunks,
                next: 0,
                skip: from,
                left: length,
            },
        })
    }

    /// Sends the body no faster than `limit`.
    pub(crate) fn limited(self, limit: TrafficLimit) -> Self {
        Self(Repr::Paced(Box::new(Paced {
            body: self,
            pace: limit.begin(),
            held: Bytes::new(),
            next: None,
        })))
    }

    /// Compresses the body. Its length is then not known before its end.
    pub(crate) fn gzip(self) -> Self {
        Self(Repr::Gzip(Box::new(Gzip::new(self))))
    }

    /// Returns how many bytes are left, if that is known.
    fn left(&self) -> Option<u64> {
        match &self.0 {
            Repr::Whole(bytes) => Some(bytes.len() as u64),
            Repr::Chunks { left, .. } => Some(*left),
            Repr::File(range) => Some(range.left),
            Repr::Gzip(_) => None,
            Repr::Paced(paced) => Some(paced.body.left()? + paced.held.len() as u64),
        }
    }
}

impl From<Bytes> for EmulatorBody {
    fn from(bytes: Bytes) -> Self {
        Self(Repr::Whole(bytes))
    }
}

impl Body for EmulatorBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut self.0 {
            Repr::Paced(paced) => paced.poll_frame(cx),
            Repr::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Repr::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Repr::Gzip(gzip) => Pin::new(&mut **gzip).poll_frame(cx),
            Repr::File(range) => range
                .poll_chunk(cx)
                .map(|chunk| chunk.map(|data| data.map(Frame::data))),
            Repr::Chunks {
                chunks,
                next,
                skip,
                left,
            } => {
                while *left > 0 {
                    let Some(chunk) = chunks.get(*next) else {
                        break;
                    };
                    *next += 1;
                    let length = chunk.len() as u64;
                    if *skip >= length {
                        *skip -= length;
                        continue;
                    }
                    // Neither exceeds the length of the chunk, which is a `usize`.
                    #[allow(clippy::cast_possible_truncation)]
                    let (from, to) = (*skip as usize, length.min(*skip + *left) as usize);
                    *skip = 0;
                    *left -= (to - from) as u64;
                    return Poll::Ready(Some(Ok(Frame::data(chunk.slice(from..to)))));
                }
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Repr::Gzip(gzip) => gzip.is_end_stream(),
            _ => self.left() == Some(0),
        }
    }

    // Exact if possible, so that the server sends `Content-Length` and not chunks.
    fn size_hint(&self) -> SizeHint {
        self.left().map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}

impl fmt::Debug for EmulatorBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmulatorBody")
            .field("left", &self.left())
            .finish_non_exhaustive()
    }
}

impl Paced {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        loop {
            if let Some((size, sleep)) = &mut self.next {
                ready!(sleep.as_mut().poll(cx));
                let piece = self.held.split_to(*size);
                self.next = None;
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            if self.held.is_empty() {
                let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                    Some(Ok(frame)) => frame,
                    end => return Poll::Ready(end),
                };
                self.held = frame.into_data().unwrap_or_default();
            } else {
                let size = self.held.len().min(self.pace.piece());
                let sleep = Box::pin(sleep_until(self.pace.due(size)));
                self.next = Some((size, sleep));
            }
        }
    }
}

/// Reads a range of a file on the blocking threads of tokio.
struct FileRange {
    /// `None` while a read is in progress, and after an error.
    file: Option<File>,
    /// Where to begin, before the first read.
    seek: Option<u64>,
    left: u64,
    reading: Option<JoinHandle<io::Result<(File, Bytes)>>>,
}

impl FileRange {
    fn new(file: File, from: u64, left: u64) -> Self {
        Self {
            file: Some(file),
            seek: Some(from),
            left,
            reading: None,
        }
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        if let Some(mut file) = self.file.take() {
            let length = self.left.min(FILE_CHUNK);
            let seek = self.seek.take();
            self.reading = Some(spawn_blocking(move || {
                if let Some(from) = seek {
                    file.seek(SeekFrom::Start(from))?;
                }
                let mut data = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
                (&mut file).take(length).read_to_end(&mut data)?;
                Ok((file, data.into()))
            }));
        }
        let Some(reading) = &mut self.reading else {
            // An earlier read failed and took the file with it.
            return Poll::Ready(None);
        };
        let read = ready!(Pin::new(reading).poll(cx));
        self.reading = None;
        let read = read.map_err(io::Error::other).and_then(|read| read);
        Poll::Ready(Some(read.and_then(|(file, data): (File, Bytes)| {
            // The file is shorter than its record claims. The client has the headers already, so a
            // failed body, which closes the connection, is all that can tell it.
            if data.is_empty() {
                self.left = 0;
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.left -= data.len() as u64;
            self.file = Some(file);
            Ok(data)
        })))
    }
}

/// A received body, read within limits.
///
/// Clones share the body: the form parser reads it first, then the code that drains what the parser
/// left. A read fails after [`IDLE_TIME`] without data. Nothing can be read before
/// [`allow`](Self::allow).
#[derive(Clone)]
pub(crate) struct Inbound(Arc<Mutex<State>>);

struct State {
    body: UnsyncBoxBody<Bytes, BoxError>,
    /// How many bytes were read.
    pulled: u64,
    /// Once `pulled` exceeds this, reads fail.
    allowance: u64,
    digest: Option<Md5>,
    ended: bool,
    /// For how long a limit has delayed the request.
    delay: Duration,
}

impl Inbound {
    /// Wraps a body. `with_digest` computes the MD5 that [`finish`](Self::finish) returns.
    pub(crate) fn new<B>(body: B, with_digest: bool) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self(Arc::new(Mutex::new(State {
            body: body.map_err(Into::into).boxed_unsync(),
            pulled: 0,
            // A reader that forgets to set its limit fails.
            allowance: 0,
            digest: with_digest.then(Md5::new),
            ended: false,
            delay: Duration::ZERO,
        })))
    }

    /// Allows `more` bytes from here on, in place of the earlier limit.
    ///
    /// A read fails once the limit is exceeded, so up to one chunk more is read.
    pub(crate) fn allow(&self, more: u64) {
        let mut state = self.lock();
        state.allowance = state.pulled.saturating_add(more);
    }

    /// Notes that a limit has delayed the request for so long.
    pub(crate) fn delayed(&self, delay: Duration) {
        self.lock().delay += delay;
    }

    /// Returns for how long a limit has delayed the request.
    pub(crate) fn delay(&self) -> Duration {
        self.lock().delay
    }

    /// Whether the body is known to be empty.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().body.is_end_stream()
    }

    /// Reads the next chunk.
    pub(crate) async fn chunk(&self) -> Result<Option<Bytes>, InboundError> {
        let chunk = poll_fn(|cx| self.lock().poll(cx));
        let chunk = tokio::time::timeout(IDLE_TIME, chunk).await;
        chunk.unwrap_or(Err(InboundError::Idle))
    }

    /// Reads the whole body, up to `limit` bytes.
    pub(crate) async fn collect(&self, limit: usize) -> Result<Vec<u8>, InboundError> {
        self.allow(limit as u64);
        let mut body = Vec::new();
        while let Some(data) = self.chunk().await? {
            // The allowance is checked before a chunk is read, so the last chunk may exceed it.
            if body.len() + data.len() > limit {
                return Err(InboundError::Allowance);
            }
            body.extend_from_slice(&data);
        }
        Ok(body)
    }

    /// Reads the rest of the body, up to 1 MiB, and returns the MD5 of the whole body if it was
    /// requested.
    pub(crate) async fn finish(&self) -> Result<Option<[u8; 16]>, InboundError> {
        self.allow(DRAIN);
        while self.chunk().await?.is_some() {}
        let digest = self.lock().digest.take();
        Ok(digest.map(|digest| digest.finalize().into()))
    }

    /// Reads and discards the rest of a rejected body, up to 1 MiB and five seconds.
    ///
    /// Clients read the response after they sent the body. If the connection closes before that,
    /// most report a broken connection and not the response.
    pub(crate) async fn drain(&self) {
        self.allow(DRAIN);
        let rest = async { while let Ok(Some(_)) = self.chunk().await {} };
        // The response is sent in either case, so the outcome does not matter.
        let _ = tokio::time::timeout(DRAIN_TIME, rest).await;
    }

    // Held for one poll and never across an await, so a mutex of `std` is enough.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, InboundError>> {
        loop {
            // Not every body can be polled again after an error.
            if self.ended {
                return Poll::Ready(Ok(None));
            }
            if self.pulled > self.allowance {
                return Poll::Ready(Err(InboundError::Allowance));
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                None => self.ended = true,
                Some(Err(error)) => {
                    self.ended = true;
                    return Poll::Ready(Err(InboundError::Read(error)));
                }
                Some(Ok(frame)) => {
                    // Trailers are of no interest.
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

/// Error of a read from [`Inbound`].
#[derive(Debug, thiserror::Error)]
pub(crate) enum InboundError {
    /// More than [`Inbound::allow`] permitted.
    #[error("the body is larger than allowed at this point")]
    Allowance,
    /// More than [`MAX_BODY`].
    #[error("the body is larger than 5 GiB")]
    Whole,
    /// No data for [`IDLE_TIME`].
    #[error("the client sent nothing for a minute")]
    Idle,
    #[error("failed to read the body")]
    Read(#[source] BoxError),
}

impl InboundError {
    /// The response to a form whose body failed.
    pub(crate) fn refusal(&self) -> OssError {
        match self {
            Self::Allowance => errors::FIELDS_TOO_LARGE,
            Self::Whole => errors::BODY_TOO_LARGE,
            Self::Idle => errors::IDLE,
            // The connection is gone, so no client reads this.
            Self::Read(_) => errors::MALFORMED_FORM,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_core::Stream;
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
    async fn a_body_is_collected_up_to_its_limit() {
        let collect = |limit| async move {
            let inbound = Inbound::new(StreamBody::new(Chunks(2)), false);
            inbound.collect(limit).await
        };
        assert_eq!(collect(128 * 1024).await.unwrap().len(), 128 * 1024);
        assert!(matches!(
            collect(128 * 1024 - 1).await,
            Err(InboundError::Allowance)
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_sends_nothing_is_not_awaited_for_ever() {
        struct Silent;
        impl Stream for Silent {
            type Item = Result<Frame<Bytes>, Infallible>;

            fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
                Poll::Pending
            }
        }
        let inbound = Inbound::new(StreamBody::new(Silent), false);
        inbound.allow(1);
        let begun = tokio::time::Instant::now();
        assert!(matches!(inbound.chunk().await, Err(InboundError::Idle)));
        assert_eq!(begun.elapsed(), IDLE_TIME);
    }
}
