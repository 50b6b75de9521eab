//! An object in a listing.

use std::time::SystemTime;

use crate::object::Record;

/// An object in a listing: see [`ObjectStore::list`](super::ObjectStore::list).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ObjectSummary {
    key: String,
    size: u64,
    etag: String,
    content_type: String,
    storage_class: String,
    last_modified: SystemTime,
}

impl ObjectSummary {
    pub(crate) fn of(record: &Record) -> Self {
        Self {
            key: record.description.key.clone(),
            size: record.content.size,
            etag: record.content.etag(),
            content_type: record.description.content_type.clone(),
            storage_class: record.description.storage_class().to_owned(),
            last_modified: record.stored(),
        }
    }

    /// The full name.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The size, in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The ETag, upper-case hex without quotes.
    #[must_use]
    pub fn etag(&self) -> &str {
        &self.etag
    }

    /// The media type, as the uploader gave it.
    #[must_use]
    pub fn content_type(&self) -> &str {
        &self.content_type
    }

    /// The storage class, as in `Standard`.
    #[must_use]
    pub fn storage_class(&self) -> &str {
        &self.storage_class
    }

    /// When it was stored.
    #[must_use]
    pub fn last_modified(&self) -> SystemTime {
        self.last_modified
    }
}
