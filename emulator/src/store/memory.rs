//! A store in memory.

use std::{
    collections::{BTreeMap, HashMap},
    io::Cursor,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;

use super::{
    content::{Digest, Growth, StoreError, measure, resume_crc64},
    page::{Page, Selection, page},
    summary::ObjectSummary,
};
use crate::object::{Content, Image, Record};
use tower_aliyun_oss::protocol::Bucket;

/// The smallest chunk that is kept as it is, in bytes.
///
/// A smaller one may be a slice of a buffer that it would keep alive. Those of the server have
/// twice this size.
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
    /// Held for its `Drop`.
    space: Vec<Arc<Space>>,
    /// What listings show of the object, once one has shown it.
    summary: OnceLock<Arc<ObjectSummary>>,
}

impl Object {
    fn new(record: Record, chunks: Arc<[Bytes]>, space: Vec<Arc<Space>>) -> Self {
        Self {
            record,
            chunks,
            space,
            summary: OnceLock::new(),
        }
    }

    fn summary(&self) -> Arc<ObjectSummary> {
        let summary = || Arc::new(ObjectSummary::of(self.record.clone()));
        self.summary.get_or_init(summary).clone()
    }
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

    pub(super) fn page(
        &self,
        bucket: &Bucket,
        selection: Selection<'_>,
    ) -> Page<Arc<ObjectSummary>> {
        // The lock is released before the summaries are made.
        let found = match self.objects().get(bucket) {
            Some(objects) => page(objects, selection),
            None => Page::default(),
        };
        found.map(|object: Arc<Object>| object.summary())
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
        let (chunks, space) = (object.chunks.clone(), object.space.clone());
        *object = Arc::new(Object::new(record.clone(), chunks, space));
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
    /// Joins chunks in order. The result shares its bytes with them, and their space.
    fn join(
        store: Arc<MemoryStore>,
        bucket: &Bucket,
        chunks: Vec<Bytes>,
        space: Vec<Arc<Space>>,
    ) -> Self {
        let mut digest = Digest::new();
        for chunk in &chunks {
            digest.update(chunk);
        }
        Self {
            content: digest.finish(image(&chunks)),
            store,
            bucket: bucket.clone(),
            chunks: chunks.into(),
            space,
        }
    }

    /// Joins parts in order.
    pub(super) fn of_parts<'a>(
        store: Arc<MemoryStore>,
        bucket: &Bucket,
        parts: impl IntoIterator<Item = &'a Part>,
    ) -> Self {
        let mut chunks = Vec::new();
        let mut space = Vec::new();
        for part in parts {
            chunks.extend(part.chunks.iter().cloned());
            space.extend(part.space.iter().cloned());
        }
        Self::join(store, bucket, chunks, space)
    }

    /// Returns the content of another object.
    pub(super) fn copy(store: Arc<MemoryStore>, bucket: &Bucket, object: &Object) -> Self {
        Self {
            store,
            bucket: bucket.clone(),
            content: object.record.content.clone(),
            chunks: object.chunks.clone(),
            space: object.space.clone(),
        }
    }

    /// Returns a range of the content of another object.
    pub(super) fn copy_range(
        store: Arc<MemoryStore>,
        bucket: &Bucket,
        object: &Object,
        from: u64,
        length: u64,
    ) -> Self {
        let (mut skip, mut left) = (from, length);
        let mut chunks = Vec::new();
        for chunk in &*object.chunks {
            let size = chunk.len() as u64;
            let begin = skip.min(size);
            let end = size.min(begin + left);
            skip -= begin;
            left -= end - begin;
            // Neither exceeds the length of the chunk, which is a `usize`.
            #[allow(clippy::cast_possible_truncation)]
            let range = begin as usize..end as usize;
            if !range.is_empty() {
                chunks.push(chunk.slice(range));
            }
        }
        Self::join(store, bucket, chunks, object.space.clone())
    }

    /// Appends the content to an object, or makes it one, and returns its record.
    pub(super) fn append(
        self,
        key: &str,
        at: u64,
        grow: impl FnOnce(Option<Record>) -> Record,
    ) -> Result<Record, StoreError> {
        let store = self.store;
        // Dropped after the lock is released.
        let (_replaced, record) = {
            let mut objects = store.objects();
            let objects = objects.entry(self.bucket).or_default();
            let old = objects.get(key).cloned();
            let old = old.as_deref();
            let growth = Growth::of(old.map(|old| &old.record), at)?;
            let mut crc = resume_crc64(growth.crc64);
            self.chunks.iter().for_each(|chunk| crc.update(chunk));
            let mut record = grow(old.map(|old| old.record.clone()));
            record.content = growth.content(&self.content, crc.finalize());
            let chunks = old.iter().flat_map(|old| old.chunks.iter());
            let space = old.iter().flat_map(|old| old.space.iter());
            let object = Object::new(
                record.clone(),
                chunks.chain(self.chunks.iter()).cloned().collect(),
                space.chain(self.space.iter()).cloned().collect(),
            );
            (objects.insert(key.to_owned(), Arc::new(object)), record)
        };
        Ok(record)
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
        let object = Object::new(record, self.chunks, self.space);
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
