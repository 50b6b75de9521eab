//! What a storage reports about objects.

use std::time::SystemTime;

/// The metadata of a stored object, as OSS reports it.
///
/// A storage that does not report a value leaves it out.
///
/// ```
/// use tower_aliyun_oss::storage::ObjectMetadata;
///
/// let metadata = ObjectMetadata::new(5)
///     .with_etag("\"5D41402ABC4B2A76B9719D911017C592\"")
///     .with_content_type("text/plain");
/// assert_eq!(metadata.etag(), Some("5D41402ABC4B2A76B9719D911017C592"));
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ObjectMetadata {
    size: u64,
    etag: Option<Box<str>>,
    crc64: Option<u64>,
    content_md5: Option<Box<str>>,
    content_type: Option<Box<str>>,
    last_modified: Option<SystemTime>,
    version_id: Option<Box<str>>,
    storage_class: Option<Box<str>>,
}

impl ObjectMetadata {
    /// Creates the metadata of an object with this size, in bytes.
    #[must_use]
    pub const fn new(size: u64) -> Self {
        Self {
            size,
            etag: None,
            crc64: None,
            content_md5: None,
            content_type: None,
            last_modified: None,
            version_id: None,
            storage_class: None,
        }
    }

    /// Sets the ETag. Quotes around it are removed.
    #[must_use]
    pub fn with_etag(mut self, etag: &str) -> Self {
        let inner = etag.strip_prefix('"').and_then(|e| e.strip_suffix('"'));
        self.etag = Some(inner.unwrap_or(etag).into());
        self
    }

    /// Sets the CRC-64 (`x-oss-hash-crc64ecma`).
    #[must_use]
    pub const fn with_crc64(mut self, crc64: u64) -> Self {
        self.crc64 = Some(crc64);
        self
    }

    /// Sets the MD5 of the content, in Base64.
    #[must_use]
    pub fn with_content_md5(mut self, md5: &str) -> Self {
        self.content_md5 = Some(md5.into());
        self
    }

    /// Sets the content type.
    #[must_use]
    pub fn with_content_type(mut self, content_type: &str) -> Self {
        self.content_type = Some(content_type.into());
        self
    }

    /// Sets when the object was stored.
    #[must_use]
    pub const fn with_last_modified(mut self, time: SystemTime) -> Self {
        self.last_modified = Some(time);
        self
    }

    /// Sets the id of the version, in a bucket with versioning.
    #[must_use]
    pub fn with_version_id(mut self, id: &str) -> Self {
        self.version_id = Some(id.into());
        self
    }

    /// Sets the storage class.
    #[must_use]
    pub fn with_storage_class(mut self, class: &str) -> Self {
        self.storage_class = Some(class.into());
        self
    }

    /// Returns the size, in bytes.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Returns the ETag without quotes. OSS writes it in upper-case hex. It is the MD5 of the
    /// content only for objects that were stored in one `PutObject`.
    #[must_use]
    pub fn etag(&self) -> Option<&str> {
        self.etag.as_deref()
    }

    /// Returns the CRC-64 of the content.
    #[must_use]
    pub const fn crc64(&self) -> Option<u64> {
        self.crc64
    }

    /// Returns the MD5 of the content in Base64. OSS has none for objects that were uploaded in
    /// parts.
    #[must_use]
    pub fn content_md5(&self) -> Option<&str> {
        self.content_md5.as_deref()
    }

    /// Returns the content type.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.content_type.as_deref()
    }

    /// Returns when the object was stored, with a resolution of one second.
    #[must_use]
    pub const fn last_modified(&self) -> Option<SystemTime> {
        self.last_modified
    }

    /// Returns the id of the version, in a bucket with versioning.
    #[must_use]
    pub fn version_id(&self) -> Option<&str> {
        self.version_id.as_deref()
    }

    /// Returns the storage class, such as `Standard`.
    #[must_use]
    pub fn storage_class(&self) -> Option<&str> {
        self.storage_class.as_deref()
    }
}

/// A page of objects, from [`ObjectStorage::list`](super::ObjectStorage::list).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ObjectPage {
    objects: Vec<(String, ObjectMetadata)>,
    next: Option<String>,
}

impl ObjectPage {
    /// Creates a page of keys and metadata. `next` is a token for the next page, or `None` on the
    /// last one.
    #[must_use]
    pub const fn new(objects: Vec<(String, ObjectMetadata)>, next: Option<String>) -> Self {
        Self { objects, next }
    }

    /// Returns the keys, ordered, with what a listing reports: size, ETag, time and storage class.
    #[must_use]
    pub fn objects(&self) -> &[(String, ObjectMetadata)] {
        &self.objects
    }

    /// Returns the token of the next page, or `None` on the last one.
    #[must_use]
    pub fn next(&self) -> Option<&str> {
        self.next.as_deref()
    }
}
