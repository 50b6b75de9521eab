//! The body of an answer.

use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::store::{FileRange, Stored};

/// What the emulator answers with: a document, or the content of an object, a piece at a time.
///
/// It fails only when a file of the folder can no longer be read.
pub struct EmulatorBody(Repr);

enum Repr {
    Whole(Bytes),
    /// The chunks of an object in memory: which is next, how much of it to leave out, and how much is left.
    Chunks {
        chunks: Arc<[Bytes]>,
        next: usize,
        skip: u64,
        left: u64,
    },
    File(FileRange),
}

impl EmulatorBody {
    pub(crate) fn empty() -> Self {
        Self(Repr::Whole(Bytes::new()))
    }

    /// `length` bytes of an object, beginning at `from`.
    pub(crate) async fn of(stored: Stored, from: u64, length: u64) -> io::Result<Self> {
        Ok(Self(match stored {
            Stored::File(file) => Repr::File(FileRange::new(file, from, length).await?),
            Stored::Memory(chunks) => Repr::Chunks {
                chunks,
                next: 0,
                skip: from,
                left: length,
            },
        }))
    }

    fn left(&self) -> u64 {
        match &self.0 {
            Repr::Whole(bytes) => bytes.len() as u64,
            Repr::Chunks { left, .. } => *left,
            Repr::File(range) => range.left(),
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
            Repr::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Repr::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
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
                    // Both are below the length of a chunk, which is in memory.
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
        self.left() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left())
    }
}

impl fmt::Debug for EmulatorBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmulatorBody")
            .field("left", &self.left())
            .finish_non_exhaustive()
    }
}
