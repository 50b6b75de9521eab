//! Where objects are kept.

mod digest;
mod folder;
mod folder_upload;
mod memory;
mod parts;
mod range;

use std::{fmt, io, path::Path, sync::Arc};

use bytes::Bytes;
pub(super) use parts::{Part, Session, Sessions};
pub(super) use range::FileRange;

use super::{
    object::{Content, Record},
    summary::ObjectSummary,
};
use folder::FolderStore;
use folder_upload::FolderUpload;
use memory::{MemoryStore, MemoryUpload};
use tower_aliyun_oss::protocol::Bucket;

/// Where the emulator keeps its objects: in memory, or in a folder.
///
/// ```
/// use aliyun_oss_emulator::ObjectStore;
///
/// let store = ObjectStore::memory(64 * 1024 * 1024);
/// let folder = std::env::temp_dir().join("oss-emulator-example");
/// let kept = ObjectStore::folder(&folder)?;
/// # drop((store, kept));
/// # std::fs::remove_dir_all(folder)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct ObjectStore {
    kind: Kind,
    sessions: Arc<Sessions>,
}

#[derive(Clone)]
enum Kind {
    Memory(Arc<MemoryStore>),
    Folder(Arc<FolderStore>),
}

impl ObjectStore {
    /// In memory, up to so many bytes of content, uploads under way included. An upload beyond that is refused.
    #[must_use]
    pub fn memory(limit: u64) -> Self {
        Self::of(Kind::Memory(Arc::new(MemoryStore::new(limit))))
    }

    /// In this folder, which is made if it is missing. It must belong to one process at a time.
    ///
    /// An upload goes into a temporary file, which is synchronised and then renamed: whatever happens to the process,
    /// an object is there as a whole or not at all, and one that was acknowledged is there. What an earlier process
    /// left unfinished is removed, uploads in parts included.
    ///
    /// # Errors
    ///
    /// When the folder cannot be made, read or written.
    pub fn folder(path: impl AsRef<Path>) -> io::Result<Self> {
        let store = FolderStore::open(path.as_ref())?;
        Ok(Self::of(Kind::Folder(Arc::new(store))))
    }

    fn of(kind: Kind) -> Self {
        let sessions = Arc::default();
        Self { kind, sessions }
    }

    /// The objects of a bucket, by name.
    ///
    /// # Errors
    ///
    /// When the folder cannot be read.
    pub async fn list(&self, bucket: &Bucket) -> io::Result<Vec<ObjectSummary>> {
        let mut list = match &self.kind {
            Kind::Memory(store) => store.list(bucket),
            Kind::Folder(store) => {
                let (store, bucket) = (store.clone(), bucket.clone());
                blocking(move || store.list(&bucket)).await?
            }
        };
        list.sort_by(|a, b| a.key().cmp(b.key()));
        Ok(list)
    }

    /// An object with its content, if it is there.
    pub(super) async fn get(
        &self,
        bucket: &Bucket,
        key: &str,
    ) -> io::Result<Option<(Record, Stored)>> {
        match &self.kind {
            Kind::Memory(store) => Ok(store
                .get(bucket, key)
                .map(|object| (object.record.clone(), Stored::Memory(object.chunks.clone())))),
            Kind::Folder(store) => {
                let (store, bucket, key) = (store.clone(), bucket.clone(), key.to_owned());
                let found = blocking(move || store.get(&bucket, &key)).await?;
                Ok(found.map(|(record, file)| (record, Stored::File(file))))
            }
        }
    }

    pub(super) async fn contains(&self, bucket: &Bucket, key: &str) -> io::Result<bool> {
        Ok(self.get(bucket, key).await?.is_some())
    }

    /// Removes an object, if it is there.
    pub(super) async fn remove(&self, bucket: &Bucket, key: &str) -> io::Result<()> {
        match &self.kind {
            Kind::Memory(store) => {
                store.remove(bucket, key);
                Ok(())
            }
            Kind::Folder(store) => {
                let (store, bucket, key) = (store.clone(), bucket.clone(), key.to_owned());
                blocking(move || store.remove(&bucket, &key)).await
            }
        }
    }

    /// The uploads in parts that are under way.
    pub(super) fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Begins an upload; nothing of it is seen before [`Sealed::commit`].
    pub(super) async fn begin(&self, bucket: &Bucket) -> io::Result<Upload> {
        Ok(Upload(match &self.kind {
            Kind::Memory(store) => UploadKind::Memory(MemoryUpload::new(store.clone(), bucket)),
            Kind::Folder(store) => {
                let (store, bucket) = (store.clone(), bucket.clone());
                UploadKind::Folder(blocking(move || FolderUpload::begin(store, bucket)).await?)
            }
        }))
    }
}

impl fmt::Debug for ObjectStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Memory(store) => f.debug_tuple("Memory").field(&store.limit()).finish(),
            Kind::Folder(store) => f.debug_tuple("Folder").field(&store.root()).finish(),
        }
    }
}

/// The content of an object, to be read.
pub(super) enum Stored {
    Memory(Arc<[Bytes]>),
    File(std::fs::File),
}

/// An upload under way; dropped, it leaves nothing.
pub(super) struct Upload(UploadKind);

enum UploadKind {
    Memory(MemoryUpload),
    Folder(FolderUpload),
}

/// Why an upload cannot be kept.
#[derive(Debug)]
pub(super) enum StoreError {
    /// There is an object of this name.
    Exists,
    /// The memory store has reached its limit.
    Full,
    Io(io::Error),
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Upload {
    pub(super) async fn write(&mut self, data: Bytes) -> Result<(), StoreError> {
        match &mut self.0 {
            UploadKind::Memory(upload) => upload.write(&data),
            UploadKind::Folder(upload) => Ok(upload.write(data).await?),
        }
    }

    /// Ends the content, and measures it if it is an image.
    pub(super) async fn seal(self) -> Result<Sealed, StoreError> {
        Ok(Sealed(match self.0 {
            UploadKind::Memory(upload) => SealedKind::Memory(upload.seal()),
            UploadKind::Folder(upload) => SealedKind::Folder(upload.seal().await?),
        }))
    }
}

/// An upload whose content is complete.
pub(super) struct Sealed(SealedKind);

enum SealedKind {
    Memory(memory::Sealed),
    Folder(folder::Sealed),
}

impl Sealed {
    /// Replaces what was worked out.
    fn content_mut(&mut self) -> &mut Content {
        match &mut self.0 {
            SealedKind::Memory(sealed) => sealed.content_mut(),
            SealedKind::Folder(sealed) => sealed.content_mut(),
        }
    }

    pub(super) fn content(&self) -> &Content {
        match &self.0 {
            SealedKind::Memory(sealed) => sealed.content(),
            SealedKind::Folder(sealed) => sealed.content(),
        }
    }

    /// Makes it an object, at once and as a whole.
    pub(super) async fn commit(self, record: Record, overwrite: bool) -> Result<(), StoreError> {
        match self.0 {
            SealedKind::Memory(sealed) => sealed.commit(record, overwrite),
            SealedKind::Folder(sealed) => {
                blocking(move || Ok(sealed.commit(&record, overwrite))).await?
            }
        }
    }
}

/// Runs what blocks where blocking is allowed.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}
