//! Uploads in parts: nothing of them is an object before they are complete.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use md5::{Digest as _, Md5};

use super::{Kind, ObjectStore, Sealed, SealedKind, blocking, folder, memory};
use crate::object::{Content, Description};
use tower_aliyun_oss::protocol::Bucket;

/// How many uploads in parts may be under way.
const MAX_SESSIONS: usize = 10_000;

/// An upload in parts.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) bucket: Bucket,
    pub(crate) description: Description,
    pub(crate) forbid_overwrite: bool,
    pub(crate) parts: BTreeMap<u16, Arc<Part>>,
}

/// A part that has arrived; dropped, it is gone.
pub(crate) struct Part {
    pub(crate) content: Content,
    pub(crate) stored: SystemTime,
    data: Data,
}

enum Data {
    Memory(memory::Part),
    Folder(folder::Part),
}

/// Those under way, by their ids. They end with the process, whatever the store.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<HashMap<String, Session>>);

impl Sessions {
    /// `false` when there are too many.
    pub(crate) fn begin(&self, id: &str, session: Session) -> bool {
        let mut sessions = self.lock();
        let room = sessions.len() < MAX_SESSIONS;
        if room {
            sessions.insert(id.to_owned(), session);
        }
        room
    }

    /// Goes on with an upload that was [taken](Self::take), however many are under way.
    pub(crate) fn put_back(&self, id: &str, session: Session) {
        self.lock().insert(id.to_owned(), session);
    }

    /// What has arrived so far.
    pub(crate) fn get(&self, id: &str, bucket: &Bucket, key: &str) -> Option<Session> {
        let sessions = self.lock();
        sessions
            .get(id)
            .filter(|session| session.is_of(bucket, key))
            .cloned()
    }

    /// Adds a part, or replaces it; `false` when the upload is no longer under way.
    pub(crate) fn add(&self, id: &str, number: u16, part: Part) -> bool {
        let part = Arc::new(part);
        // What it replaces may be a file, and is dropped when the lock is open again.
        let replaced = {
            let mut sessions = self.lock();
            let session = sessions.get_mut(id);
            session.map(|session| session.parts.insert(number, part))
        };
        replaced.is_some()
    }

    /// Ends an upload: of several who ask, one gets it.
    pub(crate) fn take(&self, id: &str, bucket: &Bucket, key: &str) -> Option<Session> {
        let mut sessions = self.lock();
        sessions
            .get(id)
            .filter(|session| session.is_of(bucket, key))?;
        sessions.remove(id)
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

impl Sealed {
    /// Keeps it as a part.
    pub(crate) fn into_part(self, at: SystemTime) -> Part {
        Part {
            content: self.content().clone(),
            stored: at,
            data: match self.0 {
                SealedKind::Memory(sealed) => Data::Memory(sealed.into_part()),
                SealedKind::Folder(sealed) => Data::Folder(sealed.into_part()),
            },
        }
    }
}

impl ObjectStore {
    /// Makes one content of these parts. They stay as they are.
    pub(crate) async fn join(&self, bucket: &Bucket, parts: Vec<Arc<Part>>) -> io::Result<Sealed> {
        let (kind, bucket) = (self.kind.clone(), bucket.clone());
        blocking(move || {
            let mut md5 = Md5::new();
            for part in &parts {
                md5.update(part.content.md5);
            }
            let kind = match kind {
                Kind::Memory(store) => {
                    let parts = parts.iter().filter_map(|part| part.in_memory());
                    SealedKind::Memory(memory::Sealed::join(store, &bucket, parts))
                }
                Kind::Folder(store) => {
                    let parts = parts.iter().filter_map(|part| part.in_folder());
                    SealedKind::Folder(folder::Sealed::join(store, &bucket, parts)?)
                }
            };
            let mut sealed = Sealed(kind);
            let content = sealed.content_mut();
            content.md5 = md5.finalize().into();
            content.parts = u16::try_from(parts.len()).ok();
            Ok(sealed)
        })
        .await
    }
}

impl Part {
    fn in_memory(&self) -> Option<&memory::Part> {
        match &self.data {
            Data::Memory(part) => Some(part),
            Data::Folder(_) => None,
        }
    }

    fn in_folder(&self) -> Option<&folder::Part> {
        match &self.data {
            Data::Folder(part) => Some(part),
            Data::Memory(_) => None,
        }
    }
}
