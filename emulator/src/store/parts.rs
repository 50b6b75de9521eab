//! Multipart uploads in progress.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use super::{folder, memory};
use crate::object::{Content, Description};
use tower_aliyun_oss::protocol::Bucket;

/// How many multipart uploads may be in progress.
const MAX_SESSIONS: usize = 10_000;

/// A multipart upload.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) bucket: Bucket,
    pub(crate) description: Description,
    pub(crate) forbid_overwrite: bool,
    pub(crate) initiated: SystemTime,
    pub(crate) parts: BTreeMap<u16, Arc<Part>>,
}

/// What a listing shows of a multipart upload.
pub(crate) struct UploadSummary {
    pub(crate) key: String,
    pub(crate) id: String,
    pub(crate) storage_class: String,
    pub(crate) initiated: SystemTime,
    pub(crate) parts: usize,
}

/// An uploaded part. Its data is deleted on drop.
pub(crate) struct Part {
    pub(crate) content: Content,
    pub(crate) stored: SystemTime,
    pub(super) data: Data,
}

pub(super) enum Data {
    Memory(memory::Part),
    Folder(folder::Part),
}

/// The multipart uploads in progress, by their IDs. They are lost when the process ends, also with
/// a folder store.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<HashMap<String, Session>>);

impl Sessions {
    /// Adds an upload. Returns `false` if there are too many.
    pub(crate) fn begin(&self, id: &str, session: Session) -> bool {
        let mut sessions = self.lock();
        let room = sessions.len() < MAX_SESSIONS;
        if room {
            sessions.insert(id.to_owned(), session);
        }
        room
    }

    /// Restores an upload that was [taken](Self::take), regardless of the limit.
    pub(crate) fn put_back(&self, id: &str, session: Session) {
        self.lock().insert(id.to_owned(), session);
    }

    /// Returns a snapshot of an upload.
    pub(crate) fn get(&self, id: &str, bucket: &Bucket, key: &str) -> Option<Session> {
        // An upload ID is valid only together with its object.
        let sessions = self.lock();
        sessions
            .get(id)
            .filter(|session| session.is_of(bucket, key))
            .cloned()
    }

    /// Adds or replaces a part. Returns `false` if the upload is no longer in progress.
    pub(crate) fn add(&self, id: &str, number: u16, part: Part) -> bool {
        let part = Arc::new(part);
        // Dropping a replaced part may delete a file, so it happens after the lock is released.
        let replaced = {
            let mut sessions = self.lock();
            let session = sessions.get_mut(id);
            session.map(|session| session.parts.insert(number, part))
        };
        replaced.is_some()
    }

    /// Ends an upload. Of several concurrent callers, one gets it.
    pub(crate) fn take(&self, id: &str, bucket: &Bucket, key: &str) -> Option<Session> {
        let mut sessions = self.lock();
        sessions
            .get(id)
            .filter(|session| session.is_of(bucket, key))?;
        sessions.remove(id)
    }

    /// Returns the uploads to a bucket, ordered by name and then by ID.
    pub(crate) fn of_bucket(&self, bucket: &Bucket) -> Vec<UploadSummary> {
        let mut uploads: Vec<_> = self
            .lock()
            .iter()
            .filter(|(_, session)| session.bucket == *bucket)
            .map(|(id, session)| UploadSummary {
                key: session.description.key.clone(),
                id: id.clone(),
                storage_class: session.description.storage_class().to_owned(),
                initiated: session.initiated,
                parts: session.parts.len(),
            })
            .collect();
        uploads.sort_unstable_by(|a, b| (&a.key, &a.id).cmp(&(&b.key, &b.id)));
        uploads
    }

    /// Returns whether no upload to a bucket is in progress.
    pub(super) fn is_empty(&self, bucket: &Bucket) -> bool {
        let sessions = self.lock();
        sessions.values().all(|session| session.bucket != *bucket)
    }

    /// Ends all uploads to a bucket.
    pub(super) fn clear(&self, bucket: &Bucket) {
        // Dropped after the lock is released: parts may be files.
        let _ended: Vec<_> = self
            .lock()
            .extract_if(|_, session| session.bucket == *bucket)
            .collect();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    fn is_of(&self, bucket: &Bucket, key: &str) -> bool {
        self.bucket == *bucket && self.description.key == key
    }
}
