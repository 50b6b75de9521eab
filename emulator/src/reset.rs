//! An emulator as new, without a restart.

use std::{io, sync::atomic::Ordering};

use crate::{
    service::Emulator,
    store::{BucketState, RemoveBucketError},
};
use tower_aliyun_oss::protocol::Bucket;

/// How often a bucket is emptied again because a client has stored into it meanwhile.
const ATTEMPTS: usize = 10;

impl Emulator {
    /// Deletes all objects, ends all uploads in parts, and restores the buckets as they were when
    /// this emulator was built: what requests have created is deleted, and what they have deleted
    /// or changed, such as an ACL, CORS rules or tags, is as before.
    ///
    /// For tests that share an emulator. Requests in progress are not waited for, so an upload that
    /// ends later is stored.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be read or written, and with `ResourceBusy` if clients keep
    /// storing into a bucket that is to be deleted. Some objects may then be deleted.
    pub async fn reset(&self) -> io::Result<()> {
        let shared = &self.0;
        shared.blocks_public_access.store(false, Ordering::Relaxed);
        for bucket in shared.store.buckets().all() {
            let name = &bucket.name;
            match shared.at_start.iter().any(|start| start.name == *name) {
                true => self.empty(name).await?,
                false => self.delete(name).await?,
            }
        }
        for bucket in &shared.at_start {
            let bucket = BucketState::clone(bucket);
            shared.store.buckets().restore(bucket).await?;
        }
        Ok(())
    }

    async fn empty(&self, bucket: &Bucket) -> io::Result<()> {
        let store = self.store();
        store.sessions().end_all_of(bucket).await;
        for object in store.list(bucket).await? {
            store.remove(bucket, object.key()).await?;
        }
        Ok(())
    }

    async fn delete(&self, bucket: &Bucket) -> io::Result<()> {
        for _ in 0..ATTEMPTS {
            self.empty(bucket).await?;
            match self.store().remove_bucket(bucket).await {
                Ok(()) | Err(RemoveBucketError::NotFound) => return Ok(()),
                Err(RemoveBucketError::Objects | RemoveBucketError::Uploads) => {}
                Err(RemoveBucketError::Io(error)) => return Err(error),
            }
        }
        Err(io::Error::new(
            io::ErrorKind::ResourceBusy,
            format!("clients keep storing into the bucket {bucket}; stop them before a reset"),
        ))
    }
}
