//! Uploads to a folder store: content that is not yet an object.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek as _, SeekFrom, Write as _},
    sync::Arc,
};

use bytes::Bytes;
use tempfile::NamedTempFile;
use tokio::{sync::OwnedSemaphorePermit, task::JoinHandle};

use super::{
    content::{Digest, blocking, measure},
    contents::Linked,
    home::{BATCHES, Home},
};
use crate::object::Content;

/// How much is written at a time, in bytes.
const BATCH: usize = 1024 * 1024;

/// An upload in progress. At most two batches are in memory: one that fills, and one that is
/// written.
///
/// Checksums are computed on the calling thread while the previous batch is written on another,
/// because they take most of the time.
pub(super) struct FolderUpload {
    home: Arc<Home>,
    digest: Digest,
    batch: Vec<Bytes>,
    batched: usize,
    /// The room that the batch takes.
    room: Option<OwnedSemaphorePermit>,
    /// `None` while a batch is written, and after an error.
    file: Option<NamedTempFile>,
    writing: Option<JoinHandle<io::Result<NamedTempFile>>>,
}

impl FolderUpload {
    pub(super) fn begin(home: Arc<Home>) -> io::Result<Self> {
        Ok(Self {
            digest: Digest::new(),
            batch: Vec::new(),
            batched: 0,
            room: None,
            file: Some(home.temporary_file()?),
            writing: None,
            home,
        })
    }

    pub(super) async fn write(&mut self, data: Bytes) -> io::Result<()> {
        self.digest.update(&data);
        let room = self.home.batches().clone();
        // At least half of the room is that of batches which are being written, so it becomes free.
        let needed = u32::try_from(data.len().min(BATCHES / 2)).unwrap_or(u32::MAX);
        let taken = room.clone().acquire_many_owned(needed);
        let taken = taken.await.map_err(io::Error::other)?;
        match &mut self.room {
            Some(room) => room.merge(taken),
            None => self.room = Some(taken),
        }
        self.batched += data.len();
        self.batch.push(data);
        // With many uploads, none keeps data: a client that pauses would hold up the others.
        if self.batched >= BATCH || room.available_permits() < BATCHES / 2 {
            self.flush().await?;
        }
        Ok(())
    }

    /// Starts to write the batch, once the previous one is written.
    async fn flush(&mut self) -> io::Result<()> {
        let file = self.ready().await?;
        let batch = std::mem::take(&mut self.batch);
        self.batched = 0;
        let room = self.room.take();
        self.writing = Some(tokio::task::spawn_blocking(move || {
            let written = write_all(file, &batch);
            drop((batch, room));
            written
        }));
        Ok(())
    }

    async fn ready(&mut self) -> io::Result<NamedTempFile> {
        if let Some(writing) = self.writing.take() {
            self.file = Some(writing.await.map_err(io::Error::other)??);
        }
        self.file
            .take()
            .ok_or_else(|| io::Error::other("an earlier write failed"))
    }

    pub(super) async fn discard(mut self) {
        // The file is deleted on drop, whatever became of it.
        let file = self.ready().await;
        let deleted = blocking(move || file?.close()).await;
        if let Err(error) = deleted {
            tracing::debug!(%error, "failed to delete the file of a discarded upload");
        }
    }

    pub(super) async fn seal(mut self) -> io::Result<Sealed> {
        let file = self.ready().await?;
        blocking(move || {
            let file = write_all(file, &self.batch)?;
            Sealed::new(file, self.digest)
        })
        .await
    }
}

fn write_all(mut file: NamedTempFile, batch: &[Bytes]) -> io::Result<NamedTempFile> {
    for data in batch {
        file.as_file_mut().write_all(data)?;
    }
    Ok(file)
}

/// Complete content that is not yet an object. Dropping it deletes its file.
pub(super) struct Sealed {
    pub(super) content: Content,
    pub(super) data: Data,
}

/// The content of a [`Sealed`].
pub(super) enum Data {
    /// A temporary file, positioned at its end.
    New(NamedTempFile),
    /// The content of another object.
    Linked(Linked),
}

impl Sealed {
    fn new(mut file: NamedTempFile, digest: Digest) -> io::Result<Self> {
        file.rewind()?;
        // Image headers such as TIFF's point anywhere in the file, so it is read by seeking.
        let image = measure(&mut BufReader::new(file.as_file()));
        file.as_file_mut().seek(SeekFrom::End(0))?;
        Ok(Self {
            content: digest.finish(image),
            data: Data::New(file),
        })
    }

    /// Copies what the readers contain, in order, into one file.
    pub(super) fn join<R: Read>(
        home: &Home,
        sources: impl IntoIterator<Item = io::Result<R>>,
    ) -> io::Result<Self> {
        let mut file = home.temporary_file()?;
        let mut digest = Digest::new();
        let mut batch = vec![0; BATCH];
        for source in sources {
            let mut source = source?;
            loop {
                let read = source.read(&mut batch)?;
                if read == 0 {
                    break;
                }
                digest.update(&batch[..read]);
                file.write_all(&batch[..read])?;
            }
        }
        Self::new(file, digest)
    }
}

/// A source of a copy: the content of an object as it is, whatever becomes of the object.
pub(super) enum Snapshot {
    Small(Bytes),
    Linked(Linked),
}

impl Snapshot {
    /// Returns the content as it is.
    pub(super) fn into_sealed(self, home: &Home, content: Content) -> io::Result<Sealed> {
        let data = match self {
            Self::Linked(linked) => Data::Linked(linked),
            Self::Small(bytes) => {
                let mut file = home.temporary_file()?;
                file.write_all(&bytes)?;
                Data::New(file)
            }
        };
        Ok(Sealed { content, data })
    }

    /// Copies a range of the content.
    pub(super) fn copy_range(self, home: &Home, from: u64, length: u64) -> io::Result<Sealed> {
        match self {
            Self::Small(bytes) => {
                let end = from.saturating_add(length);
                let range = usize::try_from(from).ok().zip(usize::try_from(end).ok());
                let range = range.and_then(|(from, end)| bytes.get(from..end));
                let range = range.ok_or(io::ErrorKind::UnexpectedEof)?;
                Sealed::join(home, [Ok(range)])
            }
            Self::Linked(linked) => {
                let mut file = File::open(linked.path())?;
                file.seek(SeekFrom::Start(from))?;
                Sealed::join(home, [Ok(file.take(length))])
            }
        }
    }
}
