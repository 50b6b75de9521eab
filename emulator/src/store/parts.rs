//! Multipart uploads in progress.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use super::{
    content::blocking,
    memory,
    part_files::{FilePart, PartFiles, Restored, SavedUpload, millis},
};
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
    /// Whether the parts must be uploaded in order, so that the MD5 of the object is known.
    pub(crate) sequential: bool,
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

/// An uploaded part.
pub(crate) struct Part {
    pub(crate) content: Content,
    pub(crate) stored: SystemTime,
    pub(super) data: Data,
}

pub(super) enum Data {
    /// Deleted on drop.
    Memory(memory::Part),
    Folder(FilePart),
}

impl Part {
    fn discard(&self) {
        if let Data::Folder(file) = &self.data {
            file.discard();
        }
    }
}

/// The multipart uploads in progress, by their IDs. Those of a folder store survive the process.
pub(crate) struct Sessions {
    known: Mutex<HashMap<String, Session>>,
    /// `None` in memory.
    pub(super) files: Option<Arc<PartFiles>>,
}

impl Sessions {
    pub(super) fn in_memory() -> Self {
        Self {
            known: Mutex::default(),
            files: None,
        }
    }

    /// Reads the uploads of a folder.
    pub(super) fn in_files(files: PartFiles) -> io::Result<Self> {
        let restored = files.restore()?.into_iter().map(restored);
        Ok(Self {
            known: Mutex::new(restored.collect()),
            files: Some(Arc::new(files)),
        })
    }

    /// Adds an upload. Returns `false` if there are too many.
    pub(crate) async fn begin(&self, id: &str, session: Session) -> io::Result<bool> {
        if self.lock().len() >= MAX_SESSIONS {
            return Ok(false);
        }
        if let Some(files) = &self.files {
            let (files, id) = (files.clone(), id.to_owned());
            let saved = SavedUpload {
                bucket: session.bucket.as_str().to_owned(),
                description: session.description.clone(),
                forbid_overwrite: session.forbid_overwrite,
                sequential: session.sequential,
                initiated: millis(session.initiated),
            };
            blocking(move || files.begin(&id, &saved)).await?;
        }
        self.lock().insert(id.to_owned(), session);
        Ok(true)
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
    pub(super) fn add(&self, id: &str, number: u16, part: Part) -> bool {
        let part = Arc::new(part);
        // Dropping a replaced part may delete a file, so it happens after the lock is released.
        let replaced = {
            let mut sessions = self.lock();
            match sessions.get_mut(id) {
                Some(session) => session.parts.insert(number, part),
                None => {
                    part.discard();
                    return false;
                }
            }
        };
        if let Some(replaced) = replaced {
            replaced.discard();
        }
        true
    }

    /// Returns snapshots of all uploads, with their IDs.
    #[cfg(feature = "cli")]
    pub(crate) fn all(&self) -> Vec<(String, Session)> {
        let sessions = self.lock();
        let all = sessions.iter();
        all.map(|(id, session)| (id.clone(), session.clone()))
            .collect()
    }

    /// Takes an upload. Of several concurrent callers, one gets it. It goes on if it is
    /// [put back](Self::put_back), and otherwise must be [ended](Self::end).
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

    /// Ends an upload that was [taken](Self::take), and deletes its parts.
    pub(crate) async fn end(&self, id: &str, session: Session) {
        let Some(files) = self.files.clone() else {
            return;
        };
        let id = id.to_owned();
        let ended = blocking(move || {
            end(&files, &id, &session);
            Ok(())
        });
        // The work does not fail, and the runtime ends with the process.
        let _ = ended.await;
    }

    /// Ends the uploads of which nothing was heard for this long. Returns how many there were.
    pub(crate) async fn end_idle(&self, now: SystemTime, idle: Duration) -> usize {
        let is_idle = |session: &Session| {
            let age = now.duration_since(session.last_active());
            age.is_ok_and(|age| age >= idle)
        };
        let ended: Vec<_> = self
            .lock()
            .extract_if(|_, session| is_idle(session))
            .collect();
        let count = ended.len();
        for (id, session) in ended {
            self.end(&id, session).await;
        }
        count
    }

    /// Returns whether no upload to a bucket is in progress.
    pub(super) fn is_empty(&self, bucket: &Bucket) -> bool {
        let sessions = self.lock();
        sessions.values().all(|session| session.bucket != *bucket)
    }

    /// Ends all uploads to a bucket.
    pub(crate) async fn end_all_of(&self, bucket: &Bucket) {
        let ended: Vec<_> = self
            .lock()
            .extract_if(|_, session| session.bucket == *bucket)
            .collect();
        for (id, session) in ended {
            self.end(&id, session).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn end(files: &PartFiles, id: &str, session: &Session) {
    files.end(id);
    session.parts.values().for_each(|part| part.discard());
}

fn restored(restored: Restored) -> (String, Session) {
    let parts = restored.parts.into_iter().map(|part| {
        let found = Part {
            content: part.content,
            stored: part.stored,
            data: Data::Folder(part.file),
        };
        (part.number, Arc::new(found))
    });
    let session = Session {
        bucket: restored.bucket,
        description: restored.upload.description,
        forbid_overwrite: restored.upload.forbid_overwrite,
        sequential: restored.upload.sequential,
        initiated: SystemTime::UNIX_EPOCH + Duration::from_millis(restored.upload.initiated),
        parts: parts.collect(),
    };
    (restored.id, session)
}

impl Session {
    fn is_of(&self, bucket: &Bucket, key: &str) -> bool {
        self.bucket == *bucket && self.description.key == key
    }

    fn last_active(&self) -> SystemTime {
        let parts = self.parts.values().map(|part| part.stored);
        parts.fold(self.initiated, SystemTime::max)
    }
}
