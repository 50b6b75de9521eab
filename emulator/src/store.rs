//! Object stores.
//!
//! [`ObjectStore`] dispatches to a store in memory or in a folder. An object is created in three
//! steps: [`Upload`] receives content, [`Sealed`] holds complete content with its checksums, and
//! [`Sealed::commit`] makes it an object. [`ObjectStore::add_part`] makes it a part of a multipart
//! upload instead.

mod buckets;
mod catalog;
mod content;
mod contents;
mod fill;
mod folder;
mod home;
mod memory;
mod page;
mod part_files;
mod parts;
mod record_file;
mod staged;
mod summary;
mod upload;

use std::{
    fmt,
    fs::File,
    io::{self, Read as _},
    path::Path,
    sync::Arc,
    time::SystemTime,
};

use md5::{Digest as _, Md5};

use crate::{body::Stored, object::Record};
use buckets::Buckets;
use content::{SMALL, blocking, read_whole};
use folder::FolderStore;
use memory::{MemoryStore, MemoryUpload};
use part_files::PartFiles;
use parts::{Data, Sessions};
use staged::{SealedKind, SourceKind, Target, UploadKind};
use tower_aliyun_oss::protocol::Bucket;
use upload::FolderUpload;

pub(crate) use buckets::{BucketState, RemoveBucketError};
pub(crate) use content::StoreError;
pub(crate) use page::{Entry, Page, Selection};
pub(crate) use parts::{Part, Session, UploadSummary};
pub(crate) use staged::{Sealed, Source, Upload};
pub use summary::ObjectSummary;

/// The store of an emulator: in memory, or in a folder. Clones share their objects.
///
/// ```
/// use aliyun_oss_emulator::ObjectStore;
///
/// let memory = ObjectStore::memory(64 * 1024 * 1024);
/// let path = std::env::temp_dir().join("oss-emulator-example");
/// let folder = ObjectStore::folder(&path)?;
/// # drop((memory, folder));
/// # std::fs::remove_dir_all(path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct ObjectStore {
    kind: Kind,
    sessions: Arc<Sessions>,
    buckets: Arc<Buckets>,
}

#[derive(Clone)]
enum Kind {
    Memory(Arc<MemoryStore>),
    Folder(Arc<FolderStore>),
}

impl ObjectStore {
    /// Creates a store in memory with a limit in bytes.
    ///
    /// Uploads in progress count. An upload that exceeds the limit fails with `InternalError`.
    #[must_use]
    pub fn memory(limit: u64) -> Self {
        let kind = Kind::Memory(Arc::new(MemoryStore::new(limit)));
        Self::of(kind, Buckets::in_memory(), Sessions::in_memory())
    }

    /// Opens a store in a folder, and creates the folder if it does not exist.
    ///
    /// The folder must be empty or that of an earlier store, which has the file
    /// `.aliyun-oss-emulator`. It is locked until the store and everything that uses it is dropped.
    /// Links inside of it are not followed.
    ///
    /// An upload is written to a temporary file, which is synchronized and then renamed. So an
    /// object is stored as a whole or not at all, even if the process or the machine fails, and a
    /// confirmed upload is durable. Multipart uploads and their parts survive the process. Opening
    /// the store deletes what an earlier process did not finish.
    ///
    /// Listings come from an index in memory, which threads build from the files after this
    /// function has returned. Only listings wait for it.
    ///
    /// # Errors
    ///
    /// Fails if the folder cannot be created, read or written, with `AlreadyExists` if it contains
    /// something else than a store, and with `ResourceBusy` if another store uses it.
    pub fn folder(path: impl AsRef<Path>) -> io::Result<Self> {
        let store = FolderStore::open(path.as_ref())?;
        let buckets = Buckets::in_files(store.bucket_files())?;
        let sessions = Sessions::in_files(PartFiles::new(store.home().clone()))?;
        Ok(Self::of(Kind::Folder(store), buckets, sessions))
    }

    fn of(kind: Kind, buckets: Buckets, sessions: Sessions) -> Self {
        Self {
            kind,
            sessions: Arc::new(sessions),
            buckets: Arc::new(buckets),
        }
    }

    /// The buckets of the store.
    pub(crate) fn buckets(&self) -> &Arc<Buckets> {
        &self.buckets
    }

    /// Removes a bucket that contains neither objects nor parts.
    pub(crate) async fn remove_bucket(&self, bucket: &Bucket) -> Result<(), RemoveBucketError> {
        if let Kind::Folder(store) = &self.kind {
            store.wait().await?;
        }
        let (kind, sessions, name) = (self.kind.clone(), self.sessions.clone(), bucket.clone());
        let check = move || {
            let is_empty = match &kind {
                Kind::Memory(store) => store.is_empty(&name),
                Kind::Folder(store) => store.is_empty(&name),
            };
            match (is_empty, sessions.is_empty(&name)) {
                (false, _) => Err(RemoveBucketError::Objects),
                (true, false) => Err(RemoveBucketError::Uploads),
                (true, true) => Ok(()),
            }
        };
        self.buckets.remove(bucket, check).await?;
        // Those that began meanwhile, or a new bucket of this name would have them.
        self.sessions.end_all_of(bucket).await;
        Ok(())
    }

    /// Returns the objects of a bucket, sorted by name.
    ///
    /// # Errors
    ///
    /// Fails if the folder could not be read when it was opened, or contains a file that is not an
    /// object.
    pub async fn list(&self, bucket: &Bucket) -> io::Result<Vec<ObjectSummary>> {
        let all = Selection {
            prefix: "",
            delimiter: "",
            after: "",
            limit: usize::MAX,
        };
        let page = self.page(bucket, all).await?;
        let objects = page.entries.into_iter().filter_map(|entry| match entry {
            Entry::Object(object) => Some(Arc::unwrap_or_clone(object)),
            Entry::Prefix(_) => None,
        });
        Ok(objects.collect())
    }

    /// Returns a page of the objects of a bucket.
    pub(crate) async fn page(
        &self,
        bucket: &Bucket,
        selection: Selection<'_>,
    ) -> io::Result<Page<Arc<ObjectSummary>>> {
        match &self.kind {
            Kind::Memory(store) => Ok(store.page(bucket, selection)),
            Kind::Folder(store) => store.page(bucket, selection).await,
        }
    }

    /// Returns an object with its content, if it exists.
    pub(crate) async fn get(
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
                blocking(move || {
                    let Some((record, file)) = store.get(&bucket, &key)? else {
                        return Ok(None);
                    };
                    let stored = match record.content.size {
                        // Reading it later would take another switch of threads.
                        size if size <= SMALL => Stored::Memory([read_whole(file, size)?].into()),
                        _ => Stored::File(file),
                    };
                    Ok(Some((record, stored)))
                })
                .await
            }
        }
    }

    pub(crate) async fn contains(&self, bucket: &Bucket, key: &str) -> io::Result<bool> {
        Ok(self.get(bucket, key).await?.is_some())
    }

    /// Removes an object, if it exists.
    pub(crate) async fn remove(&self, bucket: &Bucket, key: &str) -> io::Result<()> {
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

    /// Changes the record of an object, and returns the new one if the object exists.
    pub(crate) async fn update(
        &self,
        bucket: &Bucket,
        key: &str,
        change: impl FnOnce(&mut Record) + Send + 'static,
    ) -> io::Result<Option<Record>> {
        match &self.kind {
            Kind::Memory(store) => Ok(store.update(bucket, key, change)),
            Kind::Folder(store) => {
                let (store, bucket, key) = (store.clone(), bucket.clone(), key.to_owned());
                let buckets = self.buckets.clone();
                blocking(move || {
                    let _kept = buckets.keep();
                    store.update(&bucket, &key, change)
                })
                .await
            }
        }
    }

    /// The multipart uploads in progress.
    pub(crate) fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Adds a part to a multipart upload. Returns `false` if the upload is no longer in progress.
    pub(crate) async fn add_part(
        &self,
        id: &str,
        number: u16,
        sealed: Sealed,
        at: SystemTime,
    ) -> io::Result<bool> {
        let content = sealed.content().clone();
        let data = match (sealed.kind, &self.sessions.files) {
            (SealedKind::Memory(sealed), _) => Data::Memory(sealed.into_part()),
            (SealedKind::Folder(_, sealed), Some(files)) => {
                let (files, id) = (files.clone(), id.to_owned());
                let added = blocking(move || files.add(&id, number, sealed, at));
                match added.await {
                    Ok(file) => Data::Folder(file),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                    Err(error) => return Err(error),
                }
            }
            (SealedKind::Folder(..), None) => {
                return Err(io::Error::other("a store in memory has no part files"));
            }
        };
        let part = Part {
            content,
            stored: at,
            data,
        };
        Ok(self.sessions.add(id, number, part))
    }

    /// Takes an object as it is, for a copy.
    pub(crate) async fn source(&self, bucket: &Bucket, key: &str) -> io::Result<Option<Source>> {
        match &self.kind {
            Kind::Memory(store) => Ok(store.get(bucket, key).map(|object| Source {
                record: object.record.clone(),
                kind: SourceKind::Memory(store.clone(), object),
            })),
            Kind::Folder(store) => {
                let (store, bucket, key) = (store.clone(), bucket.clone(), key.to_owned());
                blocking(move || {
                    let found = store.snapshot(&bucket, &key)?;
                    Ok(found.map(|(record, snapshot)| Source {
                        record,
                        kind: SourceKind::Folder(store, snapshot),
                    }))
                })
                .await
            }
        }
    }

    /// Copies the whole content of an object, for an object of a bucket.
    pub(crate) async fn copy(&self, bucket: &Bucket, source: Source) -> io::Result<Sealed> {
        let target = self.target(bucket);
        let kind = match source.kind {
            SourceKind::Memory(store, object) => {
                SealedKind::Memory(memory::Sealed::copy(store, bucket, &object))
            }
            SourceKind::Folder(store, snapshot) => {
                let (home, content) = (store.home().clone(), source.record.content);
                let sealed = blocking(move || snapshot.into_sealed(&home, content)).await?;
                SealedKind::Folder(store, sealed)
            }
        };
        Ok(Sealed { kind, target })
    }

    /// Copies a range of the content of an object, which it must have.
    pub(crate) async fn copy_range(
        &self,
        bucket: &Bucket,
        source: Source,
        from: u64,
        length: u64,
    ) -> io::Result<Sealed> {
        let (target, bucket) = (self.target(bucket), bucket.clone());
        blocking(move || {
            let kind = match source.kind {
                SourceKind::Memory(store, object) => SealedKind::Memory(
                    memory::Sealed::copy_range(store, &bucket, &object, from, length),
                ),
                SourceKind::Folder(store, snapshot) => {
                    let sealed = snapshot.copy_range(store.home(), from, length)?;
                    SealedKind::Folder(store, sealed)
                }
            };
            Ok(Sealed { kind, target })
        })
        .await
    }

    /// Begins an upload. It is not visible before [`Sealed::commit`].
    pub(crate) async fn begin(&self, bucket: &Bucket) -> io::Result<Upload> {
        let kind = match &self.kind {
            Kind::Memory(store) => UploadKind::Memory(MemoryUpload::new(store.clone(), bucket)),
            Kind::Folder(store) => {
                let home = store.home().clone();
                let upload = blocking(move || FolderUpload::begin(home)).await?;
                UploadKind::Folder(store.clone(), upload)
            }
        };
        Ok(Upload {
            kind,
            target: self.target(bucket),
        })
    }

    fn target(&self, bucket: &Bucket) -> Target {
        Target {
            bucket: bucket.clone(),
            buckets: self.buckets.clone(),
        }
    }

    /// Joins parts in order. The parts remain usable, so that a failed completion can be repeated.
    ///
    /// Keeps the MD5 of the content if `sequential`.
    pub(crate) async fn join(
        &self,
        bucket: &Bucket,
        parts: Vec<Arc<Part>>,
        sequential: bool,
    ) -> io::Result<Sealed> {
        let (kind, bucket) = (self.kind.clone(), bucket.clone());
        let target = self.target(&bucket);
        blocking(move || {
            // Sessions belong to their store, so its parts are all of its kind.
            let foreign = || io::Error::other("the part belongs to another store");
            let sizes: Vec<_> = parts.iter().map(|part| part.content.size).collect();
            let kind = match kind {
                Kind::Memory(store) => {
                    let parts = parts.iter().map(|part| match &part.data {
                        Data::Memory(part) => Ok(part),
                        Data::Folder(_) => Err(foreign()),
                    });
                    let parts = parts.collect::<io::Result<Vec<_>>>()?;
                    SealedKind::Memory(memory::Sealed::of_parts(store, &bucket, parts))
                }
                Kind::Folder(store) => {
                    let parts = parts.iter().map(|part| match &part.data {
                        Data::Folder(part) => Ok(part),
                        Data::Memory(_) => Err(foreign()),
                    });
                    let files = parts.map(|part| File::open(part?.path()));
                    // Part files end with a record.
                    let contents = files.zip(&sizes).map(|(file, size)| Ok(file?.take(*size)));
                    let sealed = upload::Sealed::join(store.home(), contents)?;
                    SealedKind::Folder(store, sealed)
                }
            };
            let mut sealed = Sealed { kind, target };
            // The ETag of a multipart object is computed from the ETags of its parts, as text:
            // `TestUtils` of aliyun-oss-java-sdk, and an object that `download_test.go` of
            // aliyun-oss-go-sdk pins.
            let mut md5 = Md5::new();
            for part in &parts {
                md5.update(part.content.etag());
            }
            let content = sealed.content_mut();
            content.whole_md5 = sequential.then_some(content.md5);
            content.md5 = md5.finalize().into();
            content.parts = u16::try_from(parts.len()).ok();
            Ok(sealed)
        })
        .await
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
