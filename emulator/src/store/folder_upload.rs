//! An upload on its way into a file.

use std::{
    io::{self, Write as _},
    sync::Arc,
};

use bytes::Bytes;
use tempfile::NamedTempFile;
use tokio::task::JoinHandle;

use super::{
    blocking,
    digest::Digest,
    folder::{BATCH, FolderStore, Sealed},
};
use tower_aliyun_oss::protocol::Bucket;

/// An upload under way. At most two batches are in memory: one that fills, and one that is being written.
///
/// The sums are computed here and not where files are written: they take most of the time, and so nothing waits for
/// the other thread.
pub(super) struct FolderUpload {
    store: Arc<FolderStore>,
    bucket: Bucket,
    digest: Digest,
    batch: Vec<Bytes>,
    batched: usize,
    /// `None` while it is being written to, and after an error.
    file: Option<NamedTempFile>,
    writing: Option<JoinHandle<io::Result<NamedTempFile>>>,
}

impl FolderUpload {
    pub(super) fn begin(store: Arc<FolderStore>, bucket: Bucket) -> io::Result<Self> {
        let file = NamedTempFile::new_in(store.temporary())?;
        Ok(Self {
            store,
            bucket,
            digest: Digest::new(),
            batch: Vec::new(),
            batched: 0,
            file: Some(file),
            writing: None,
        })
    }

    pub(super) async fn write(&mut self, data: Bytes) -> io::Result<()> {
        self.digest.update(&data);
        self.batched += data.len();
        self.batch.push(data);
        if self.batched >= BATCH {
            self.flush().await?;
        }
        Ok(())
    }

    /// Hands the batch over, once the one before is written.
    async fn flush(&mut self) -> io::Result<()> {
        let file = self.ready().await?;
        let batch = std::mem::take(&mut self.batch);
        self.batched = 0;
        self.writing = Some(tokio::task::spawn_blocking(move || write_all(file, &batch)));
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

    pub(super) async fn seal(mut self) -> io::Result<Sealed> {
        let file = self.ready().await?;
        blocking(move || {
            let file = write_all(file, &self.batch)?;
            Sealed::new(self.store, self.bucket, file, self.digest)
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
