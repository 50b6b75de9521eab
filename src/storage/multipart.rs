//! Uploads in parts that the server makes itself.

use std::sync::Arc;

use http::HeaderMap;

use super::error::StorageError;
use crate::{Lookup, protocol::Bucket};

/// Uploads in parts: creating, listing, completing and aborting them. The parts themselves are sent
/// by the client.
///
/// Only the endpoints of Companion need it; see
/// [`OssPresignService::storage`](crate::policy::OssPresignService::storage). With the feature
/// `storage`, `OssClient` implements it.
///
/// A pending lookup is dropped when the client leaves. An implementation limits the time and the
/// memory of a call itself.
pub trait MultipartStorage: Send + Sync {
    /// Starts an upload with these headers of the object, and returns its id
    /// (`InitiateMultipartUpload`).
    ///
    /// # Errors
    ///
    /// Fails if the storage returns no id.
    fn initiate(
        &self,
        bucket: &Bucket,
        key: &str,
        headers: HeaderMap,
    ) -> Lookup<String, StorageError>;

    /// Returns a page of the uploaded parts, ordered by number (`ListParts`). `after` is
    /// [`PartPage::next`] of the page before.
    ///
    /// # Errors
    ///
    /// Fails with [`StorageErrorKind::NotFound`](super::StorageErrorKind::NotFound) if the upload
    /// certainly does not exist.
    fn list_parts(
        &self,
        bucket: &Bucket,
        key: &str,
        upload_id: &str,
        after: Option<u16>,
    ) -> Lookup<PartPage, StorageError>;

    /// Creates the object from these parts, numbers and ETags (`CompleteMultipartUpload`). The
    /// headers contain the callback, so the call can take as long as its handler.
    ///
    /// # Errors
    ///
    /// Fails if the object is not stored, or if that is not known. It is not repeated after an
    /// error.
    fn complete(
        &self,
        bucket: &Bucket,
        key: &str,
        upload_id: &str,
        parts: &[(u16, String)],
        headers: HeaderMap,
    ) -> Lookup<CompletedUpload, StorageError>;

    /// Removes the upload and its parts (`AbortMultipartUpload`).
    ///
    /// # Errors
    ///
    /// Fails if the storage does not confirm the removal.
    fn abort(&self, bucket: &Bucket, key: &str, upload_id: &str) -> Lookup<(), StorageError>;
}

impl<S: MultipartStorage + ?Sized> MultipartStorage for Arc<S> {
    fn initiate(
        &self,
        bucket: &Bucket,
        key: &str,
        headers: HeaderMap,
    ) -> Lookup<String, StorageError> {
        (**self).initiate(bucket, key, headers)
    }

    fn list_parts(
        &self,
        bucket: &Bucket,
        key: &str,
        upload_id: &str,
        after: Option<u16>,
    ) -> Lookup<PartPage, StorageError> {
        (**self).list_parts(bucket, key, upload_id, after)
    }

    fn complete(
        &self,
        bucket: &Bucket,
        key: &str,
        upload_id: &str,
        parts: &[(u16, String)],
        headers: HeaderMap,
    ) -> Lookup<CompletedUpload, StorageError> {
        (**self).complete(bucket, key, upload_id, parts, headers)
    }

    fn abort(&self, bucket: &Bucket, key: &str, upload_id: &str) -> Lookup<(), StorageError> {
        (**self).abort(bucket, key, upload_id)
    }
}

/// A part that is stored.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredPart {
    number: u16,
    size: u64,
    etag: Box<str>,
}

impl StoredPart {
    /// Creates a part. The ETag can have quotes.
    #[must_use]
    pub fn new(number: u16, size: u64, etag: &str) -> Self {
        Self {
            number,
            size,
            etag: etag.trim_matches('"').into(),
        }
    }

    /// Returns the number, 1 to 10,000.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }

    /// Returns the size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the ETag without quotes.
    #[must_use]
    pub fn etag(&self) -> &str {
        &self.etag
    }
}

/// A page of the parts of an upload.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PartPage {
    parts: Vec<StoredPart>,
    next: Option<u16>,
}

impl PartPage {
    /// Creates a page. `next` is the last number of a page that others follow.
    #[must_use]
    pub fn new(parts: Vec<StoredPart>, next: Option<u16>) -> Self {
        Self { parts, next }
    }

    /// Returns the parts, ordered by number.
    #[must_use]
    pub fn parts(&self) -> &[StoredPart] {
        &self.parts
    }

    /// Returns the number after which the next page starts, or `None` on the last page.
    #[must_use]
    pub fn next(&self) -> Option<u16> {
        self.next
    }
}

/// An upload whose object is stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CompletedUpload {
    callback_failed: bool,
}

impl CompletedUpload {
    /// Creates the result. `callback_failed` is whether OSS reported that the callback failed (203
    /// `CallbackFailed`).
    #[must_use]
    pub fn new(callback_failed: bool) -> Self {
        Self { callback_failed }
    }

    /// Returns whether the object is stored, but its callback failed.
    #[must_use]
    pub fn callback_failed(&self) -> bool {
        self.callback_failed
    }
}
