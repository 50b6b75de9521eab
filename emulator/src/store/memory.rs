//! A store in memory.

use std::{
    collections::{BTreeMap, HashMap},
    io::Cursor,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;

use super::{
    content::{Digest, StoreError, measure},
    page::{Page, Selection, page},
};
use crate::object::{Content, Image, Record};
use tower_aliyun_oss::protocol::Bucket;

/// The smallest chunk that is kept as it is, in bytes.
///
/// A smaller one may be a slice of a buffer that it would keep alive. Those of the server have twice
/// this size.
const WHOLE_CHUNK: usize = 64 * 1024;
/// How much of the content is searched for an image header, in bytes.
const HEAD: usize = 1024 * 1024;

/// Objects in memory, up to a limit.
pub(super) struct MemoryStore {
    limit: u64,
    used: AtomicU64,
    objects: Mutex<Objects>,
}

/// The objects of each bucket, ordered by name.
type Objects = HashMap<Bucket, BTreeMap<String, Arc<Object>>>;

pub(super) struct Object {
    pub(super) record: Record,
    pub(super) chunks: Arc<[Bytes]>,
    // Held for its `Drop`.
    _space: Vec<Arc<Space>>,
}

/// A share of the limit, released on drop.
///
/// Joined content shares the space of its parts, so the bytes of a multipart upload count once.
pub(super) struct Space {
    store: Arc<MemoryStore>,
    taken: u64,
}

impl MemoryStore {
    pub(super) fn new(limit: u64) -> Self {
        Self {
            limit,
            used: AtomicU64::new(0),
            objects: Mutex::default(),
        }
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    pub(super) fn get(&self, bucket: &Bucket, key: &str) -> Option<Arc<Object>> {
        self.objects().get(bucket)?.get(key).cloned()
    }

    pub(super) fn page(&self, bucket: &Bucket, selection: Selection<'_>) -> Page<Arc<Object>> {
        let objects = self.objects();
        let of_bucket = objects.get(bucket);
        of_bucket.map_or_else(Page::default, |objects| page(objects, selection))
    }

    pub(super) fn is_empty(&self, bucket: &Bucket) -> bool {
        let objects = self.objects();
        objects.get(bucket).is_none_or(BTreeMap::is_empty)
    }

    /// Changes the record of an object, and returns the new one.
    pub(super) fn update(
        &self,
        bucket: &Bucket,
        key: &str,
        change: impl FnOnce(&mut Record),
    ) -> Option<Record> {
        let mut objects = self.objects();
        let object = objects.get_mut(bucket)?.get_mut(key)?;
        let mut record = object.record.clone();
        change(&mut record);
        *object = Arc::new(Object {
            record: record.clone(),
            chunks: object.chunks.clone(),
            _space: object._space.clone(),
        });
        Some(record)
    }

    pub(super) fn remove(&self, bucket: &Bucket, key: &str) {
        // Dropped after the lock is released: an object may have thousands of chunks.
        let _removed = match self.objects().get_mut(bucket) {
            Some(objects) => objects.remove(key),
            None => None,
        };
    }

    fn objects(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Space {
    fn take(&mut self, more: u64) -> Result<(), StoreError> {
        let limit = self.store.limit;
        let within = |used: u64| used.checked_add(more).filter(|used| *used <= limit);
        // Relaxed, because the counter protects no other memory.
        self.store
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, within)
            .map_err(|_| StoreError::Full)?;
        self.taken += more;
        Ok(())
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        self.store.used.fetch_sub(self.taken, Ordering::Relaxed);
    }
}

/// An upload in progress.
pub(super) struct MemoryUpload {
    bucket: Bucket,
    chunks: Vec<Bytes>,
    digest: Digest,
    space: Space,
}

impl MemoryUpload {
    pub(super) fn new(store: Arc<MemoryStore>, bucket: &Bucket) -> Self {
        Self {
            bucket: bucket.clone(),
            chunks: Vec::new(),
            digest: Digest::new(),
            space: Space { store, taken: 0 },
        }
    }

    pub(super) fn write(&mut self, data: Bytes) -> Result<(), StoreError> {
        // Before the copy, so that the limit holds at all times.
        self.space.take(data.len() as u64)?;
        self.digest.update(&data);
        self.chunks.push(match data.len() >= WHOLE_CHUNK {
            true => data,
            false => Bytes::copy_from_slice(&data),
        });
        Ok(())
    }

    pub(super) fn seal(self) -> Sealed {
        let image = image(&self.chunks);
        Sealed {
            content: self.digest.finish(image),
            bucket: self.bucket,
            chunks: self.chunks.into(),
            store: self.space.store.clone(),
            space: vec![Arc::new(self.space)],
        }
    }
}

fn image(chunks: &[Bytes]) -> Option<Image> {
    let mut head = Vec::new();
    for chunk in chunks {
        let room = HEAD - head.len();
        head.extend_from_slice(&chunk[..chunk.len().min(room)]);
    }
    measure(&mut Cursor::new(head))
}

/// A part of a multipart upload.
pub(super) struct Part {
    chunks: Arc<[Bytes]>,
    space: Vec<Arc<Space>>,
}

/// Complete content that is not yet an object.
pub(super) struct Sealed {
    store: Arc<MemoryStore>,
    bucket: Bucket,
    content: Content,
    chunks: Arc<[Bytes]>,
    space: Vec<Arc<Space>>,
}

impl Sealed {
    /// Joins parts in order. The result shares its bytes with them.
    pub(super) fn join<'a>(
        store: Arc<MemoryStore>,
        bucket: &Bucket,
        parts: impl IntoIterator<Item = &'a Part>,
    ) -> Self {
        let mut digest = Digest::new();
        let mut chunks = Vec::new();
        let mut space = Vec::new();
        for part in parts {
            for chunk in &*part.chunks {
                digest.update(chunk);
                chunks.push(chunk.clone());
            }
            space.extend(part.space.iter().cloned());
        }
        Self {
            content: digest.finish(image(&chunks)),
            store,
            bucket: bucket.clone(),
            chunks: chunks.into(),
            space,
        }
    }

    pub(super) fn into_part(self) -> Part {
        Part {
            chunks: self.chunks,
            space: self.space,
        }
    }

    pub(super) fn content(&self) -> &Content {
        &self.content
    }

    pub(super) fn content_mut(&mut self) -> &mut Content {
        &mut self.content
    }

    pub(super) fn commit(self, record: Record, overwrite: bool) -> Result<(), StoreError> {
        let key = record.description.key.clone();
        let object = Object {
            record,
            chunks: self.chunks,
            _space: self.space,
        };
        // Dropped after the lock is released: an object may have thousands of chunks.
        let _replaced = {
            // One lock for check and insert, so of two concurrent uploads one succeeds.
            let mut objects = self.store.objects();
            let objects = objects.entry(self.bucket).or_default();
            if !overwrite && objects.contains_key(&key) {
                return Err(StoreError::Exists);
            }
            objects.insert(key, Arc::new(object))
        };
        Ok(())
    }
}
