//! Content between a request and the store: uploads, complete content, and sources of copies.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    buckets::Buckets,
    content::{StoreError, blocking},
    folder::FolderStore,
    memory::{self, MemoryStore, MemoryUpload},
    upload::{self, FolderUpload},
};
use crate::object::{Content, Record};
use tower_aliyun_oss::protocol::Bucket;

/// An object as it was at some time, for a copy.
pub(crate) struct Source {
    pub(crate) record: Record,
    pub(super) kind: SourceKind,
}

pub(super) enum SourceKind {
    Memory(Arc<MemoryStore>, Arc<memory::Object>),
    Folder(Arc<FolderStore>, upload::Snapshot),
}

/// The bucket that an upload goes to, which may be removed meanwhile.
pub(super) struct Target {
    pub(super) bucket: Bucket,
    pub(super) buckets: Arc<Buckets>,
}

impl Target {
    /// Runs `work` with the storage class of the bucket if the bucket exists, and keeps it
    /// meanwhile.
    fn run<T>(&self, work: impl FnOnce(&str) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let _kept = self.buckets.keep();
        let bucket = self.buckets.get(&self.bucket);
        let bucket = bucket.ok_or(StoreError::NoBucket)?;
        work(&bucket.storage_class)
    }

    /// The same, for a new object.
    fn commit<T>(
        &self,
        record: Record,
        commit: impl FnOnce(Record) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.run(|class| commit(inherit(record, class)))
    }
}

/// Sets the storage class of the bucket, unless the client has chosen one.
fn inherit(mut record: Record, class: &str) -> Record {
    record.description.inherit_storage_class(class);
    record
}

/// An upload in progress. Dropping it discards the content.
pub(crate) struct Upload {
    pub(super) kind: UploadKind,
    pub(super) target: Target,
}

pub(super) enum UploadKind {
    Memory(MemoryUpload),
    Folder(Arc<FolderStore>, FolderUpload),
}

impl Upload {
    pub(crate) async fn write(&mut self, data: Bytes) -> Result<(), StoreError> {
        match &mut self.kind {
            UploadKind::Memory(upload) => upload.write(data),
            UploadKind::Folder(_, upload) => Ok(upload.write(data).await?),
        }
    }

    /// Discards the content. Unlike a drop, waits until its file is deleted.
    pub(crate) async fn discard(self) {
        match self.kind {
            UploadKind::Memory(_) => {}
            UploadKind::Folder(_, upload) => upload.discard().await,
        }
    }

    /// Ends the content, and reads its dimensions if it is an image.
    pub(crate) async fn seal(self) -> Result<Sealed, StoreError> {
        let kind = match self.kind {
            UploadKind::Memory(upload) => SealedKind::Memory(upload.seal()),
            UploadKind::Folder(store, upload) => SealedKind::Folder(store, upload.seal().await?),
        };
        Ok(Sealed {
            kind,
            target: self.target,
        })
    }
}

/// Complete content that is not yet an object. Dropping it discards the content.
pub(crate) struct Sealed {
    pub(super) kind: SealedKind,
    pub(super) target: Target,
}

pub(super) enum SealedKind {
    Memory(memory::Sealed),
    Folder(Arc<FolderStore>, upload::Sealed),
}

impl Sealed {
    pub(crate) fn content(&self) -> &Content {
        match &self.kind {
            SealedKind::Memory(sealed) => sealed.content(),
            SealedKind::Folder(_, sealed) => &sealed.content,
        }
    }

    pub(super) fn content_mut(&mut self) -> &mut Content {
        match &mut self.kind {
            SealedKind::Memory(sealed) => sealed.content_mut(),
            SealedKind::Folder(_, sealed) => &mut sealed.content,
        }
    }

    /// Makes the content an object, atomically. Without `overwrite`, fails if the object exists.
    /// Fails if the bucket was removed.
    pub(crate) async fn commit(self, record: Record, overwrite: bool) -> Result<(), StoreError> {
        let Self { kind, target } = self;
        match kind {
            SealedKind::Memory(sealed) => {
                target.commit(record, |record| sealed.commit(record, overwrite))
            }
            SealedKind::Folder(store, sealed) => {
                let commit = move || {
                    let bucket = &target.bucket;
                    target.commit(record, |record| {
                        store.commit(bucket, sealed, &record, overwrite)
                    })
                };
                // The outer error is that of the thread pool.
                blocking(move || Ok(commit())).await?
            }
        }
    }

    /// Appends the content to an object, or makes it one, and returns the new record.
    ///
    /// `grow` makes that record from the old one. Its content is replaced. Fails if the object is
    /// not appendable, or if its size is not `at`.
    pub(crate) async fn append(
        self,
        key: &str,
        at: u64,
        grow: impl FnOnce(Option<Record>) -> Record + Send + 'static,
    ) -> Result<Record, StoreError> {
        let Self { kind, target } = self;
        match kind {
            SealedKind::Memory(sealed) => {
                target.run(|class| sealed.append(key, at, |old| inherit(grow(old), class)))
            }
            SealedKind::Folder(store, sealed) => {
                let key = key.to_owned();
                let append = move || {
                    let bucket = &target.bucket;
                    target.run(|class| {
                        let grow = |old| inherit(grow(old), class);
                        store.append(bucket, &key, sealed, at, grow)
                    })
                };
                blocking(move || Ok(append())).await?
            }
        }
    }
}
