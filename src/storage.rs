//! Stored objects: what OSS itself reports about them.
//!
//! A callback reports an upload, and [tickets](crate::ticket) bind it to a grant. Only OSS knows
//! whether the object exists, and its size, type and checksum.
//! [`OssCallbackLayer::confirm`](crate::OssCallbackLayer::confirm) asks it before the handler runs.
//!
//! [`ObjectStorage`] is the interface. With the feature `storage`, `OssClient` implements it. Users
//! of another SDK implement it themselves.

#[cfg(feature = "storage")]
mod client;
mod error;
mod metadata;
mod multipart;

use std::sync::Arc;

#[cfg(feature = "storage")]
pub use self::client::OssClient;
pub use self::{
    error::{StorageError, StorageErrorKind},
    metadata::{ObjectMetadata, ObjectPage},
    multipart::{CompletedUpload, MultipartStorage, PartPage, StoredPart},
};
use crate::{Lookup, protocol::Bucket};

/// Access to stored objects.
///
/// A pending lookup is dropped when a deadline passes. An implementation limits the time and the
/// memory of a call itself.
///
/// ```
/// use std::{collections::HashMap, sync::Arc};
/// use tower_aliyun_oss::{
///     Lookup,
///     protocol::Bucket,
///     storage::{ObjectMetadata, ObjectPage, ObjectStorage, StorageError, StorageErrorKind},
/// };
///
/// /// The client of another SDK.
/// #[derive(Clone)]
/// struct Sdk(Arc<HashMap<String, u64>>);
///
/// impl Sdk {
///     async fn head_object(&self, bucket: String, key: String) -> Option<u64> {
///         self.0.get(&format!("{bucket}/{key}")).copied()
///     }
/// }
///
/// impl ObjectStorage for Sdk {
///     fn head(&self, bucket: &Bucket, key: &str) -> Lookup<ObjectMetadata, StorageError> {
///         let (sdk, bucket, key) = (self.clone(), bucket.to_string(), key.to_owned());
///         Lookup::pending(async move {
///             // Only an object that certainly does not exist is `NotFound`.
///             let size = sdk.head_object(bucket, key).await.ok_or(StorageErrorKind::NotFound)?;
///             Ok(ObjectMetadata::new(size))
///         })
///     }
/// #   fn list(&self, _: &Bucket, _: &str, _: Option<&str>) -> Lookup<ObjectPage, StorageError> {
/// #       Lookup::Ready(Ok(ObjectPage::new(Vec::new(), None)))
/// #   }
/// #   fn delete(&self, _: &Bucket, _: &str) -> Lookup<(), StorageError> {
/// #       Lookup::Ready(Ok(()))
/// #   }
///     // `list` and `delete` likewise.
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let storage = Sdk(Arc::new(HashMap::from([("examplebucket/a.txt".to_owned(), 5)])));
/// let bucket: Bucket = "examplebucket".parse()?;
/// assert_eq!(storage.head(&bucket, "a.txt").await?.size(), 5);
/// let error = storage.head(&bucket, "b.txt").await.unwrap_err();
/// assert_eq!(error.kind(), StorageErrorKind::NotFound);
/// # Ok(())
/// # }
/// ```
pub trait ObjectStorage: Send + Sync {
    /// Returns the metadata of an object (`HeadObject`).
    ///
    /// # Errors
    ///
    /// Fails with [`StorageErrorKind::NotFound`] only if the object certainly does not exist. A
    /// storage that cannot tell fails with another kind.
    fn head(&self, bucket: &Bucket, key: &str) -> Lookup<ObjectMetadata, StorageError>;

    /// Returns a page of the objects whose keys start with `prefix`, ordered by key
    /// (`ListObjectsV2`). `after` is [`ObjectPage::next`] of the page before.
    ///
    /// # Errors
    ///
    /// Fails if the storage returns no page.
    fn list(
        &self,
        bucket: &Bucket,
        prefix: &str,
        after: Option<&str>,
    ) -> Lookup<ObjectPage, StorageError>;

    /// Deletes an object (`DeleteObject`). Succeeds if the object does not exist.
    ///
    /// # Errors
    ///
    /// Fails if the storage does not confirm the deletion.
    fn delete(&self, bucket: &Bucket, key: &str) -> Lookup<(), StorageError>;
}

impl<S: ObjectStorage + ?Sized> ObjectStorage for Arc<S> {
    fn head(&self, bucket: &Bucket, key: &str) -> Lookup<ObjectMetadata, StorageError> {
        (**self).head(bucket, key)
    }

    fn list(
        &self,
        bucket: &Bucket,
        prefix: &str,
        after: Option<&str>,
    ) -> Lookup<ObjectPage, StorageError> {
        (**self).list(bucket, prefix, after)
    }

    fn delete(&self, bucket: &Bucket, key: &str) -> Lookup<(), StorageError> {
        (**self).delete(bucket, key)
    }
}
