//! What a listing shows of an object.

use std::time::SystemTime;

use crate::{object::Record, restoration::Restoration};

/// An entry of [`ObjectStore::list`](super::ObjectStore::list).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ObjectSummary {
    pub(super) key: String,
    pub(super) size: u64,
    pub(super) etag: String,
    pub(super) content_type: String,
    pub(super) storage_class: String,
    pub(super) last_modified: SystemTime,
    pub(super) object_type: &'static str,
    pub(super) restoration: Option<Restoration>,
}

impl ObjectSummary {
    pub(super) fn of(record: Record) -> Self {
        Self {
            size: record.content.size,
            etag: record.content.etag(),
            storage_class: record.description.storage_class().to_owned(),
            last_modified: record.stored(),
            object_type: record.object_type(),
            restoration: record.restoration,
            key: record.description.key,
            content_type: record.description.content_type,
        }
    }

    /// Returns the full object name.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Returns the size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the ETag: upper-case hex without quotes.
    #[must_use]
    pub fn etag(&self) -> &str {
        &self.etag
    }

    /// Returns the media type that the uploader sent.
    #[must_use]
    pub fn content_type(&self) -> &str {
        &self.content_type
    }

    /// Returns the storage class, such as `Standard`.
    #[must_use]
    pub fn storage_class(&self) -> &str {
        &self.storage_class
    }

    /// Returns how the object was created: `Normal`, `Multipart`, `Appendable` or `Symlink`.
    #[must_use]
    pub fn object_type(&self) -> &'static str {
        self.object_type
    }

    pub(crate) fn restoration(&self) -> Option<&Restoration> {
        self.restoration.as_ref()
    }

    /// Returns the time at which the object was stored.
    #[must_use]
    pub fn last_modified(&self) -> SystemTime {
        self.last_modified
    }
}
