//! The index of a folder store: what its listings show, in memory.
//!
//! A listing that read the record of every file would take a second for 100,000 objects. The index
//! is built once, from the files, on threads of its own. Uploads do not wait for it, listings do.
//! Changes that happen meanwhile are recorded at once, and win over what these threads find.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    hash::{BuildHasher as _, RandomState},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use super::{
    page::{Page, Selection, page},
    summary::ObjectSummary,
};
use tower_aliyun_oss::protocol::Bucket;

/// How many locks order the changes of objects.
const LOCKS: usize = 64;

/// The index. File names identify objects in a bucket as well as their names do.
pub(super) struct Catalog {
    state: Mutex<State>,
    /// Whether the index is complete, or could not be built.
    ended: watch::Sender<bool>,
    /// A change of a file and of its entry happen under the lock of the file, so that of two
    /// concurrent changes both end with the same one.
    order: [Mutex<()>; LOCKS],
    hasher: RandomState,
}

#[derive(Default)]
struct State {
    buckets: HashMap<Bucket, Objects>,
    /// Why the index could not be built.
    failure: Option<io::Error>,
}

#[derive(Default)]
struct Objects {
    by_name: BTreeMap<String, Arc<ObjectSummary>>,
    /// Files that are not objects.
    damaged: HashSet<String>,
    /// Files that changed while the index was built.
    changed: HashSet<String>,
}

impl Catalog {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::default(),
            ended: watch::Sender::new(false),
            order: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
        }
    }

    /// Runs `read` while the file does not change.
    pub(super) fn locked<T>(&self, bucket: &Bucket, file: &str, read: impl FnOnce() -> T) -> T {
        let _ordered = self.lock(bucket, file);
        read()
    }

    fn lock(&self, bucket: &Bucket, file: &str) -> Option<MutexGuard<'_, ()>> {
        let at = self.hasher.hash_one((bucket, file)) % LOCKS as u64;
        let lock = self.order.get(usize::try_from(at).unwrap_or_default());
        lock.map(|lock| lock.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes a file and records what `change` returns: the object that it contains now, or none.
    pub(super) fn change<E>(
        &self,
        bucket: &Bucket,
        file: &str,
        key: &str,
        change: impl FnOnce() -> Result<Option<ObjectSummary>, E>,
    ) -> Result<(), E> {
        let _ordered = self.lock(bucket, file);
        let object = change()?;
        let mut state = self.state();
        let objects = state.buckets.entry(bucket.clone()).or_default();
        if !*self.ended.borrow() {
            objects.changed.insert(file.to_owned());
        }
        objects.damaged.remove(file);
        match object {
            Some(object) => {
                objects.by_name.insert(key.to_owned(), Arc::new(object));
            }
            None => {
                objects.by_name.remove(key);
            }
        }
        Ok(())
    }

    /// Records what was found in files. `None` means that a file is not an object.
    pub(super) fn found(
        &self,
        bucket: &Bucket,
        files: impl IntoIterator<Item = (String, Option<ObjectSummary>)>,
    ) {
        let mut state = self.state();
        let objects = state.buckets.entry(bucket.clone()).or_default();
        for (file, object) in files {
            // The file may have been read before the change.
            if objects.changed.contains(&file) {
                continue;
            }
            match object {
                Some(object) => {
                    objects.by_name.insert(object.key.clone(), Arc::new(object));
                }
                None => {
                    objects.damaged.insert(file);
                }
            }
        }
    }

    /// Ends the building.
    pub(super) fn end(&self, result: io::Result<()>) {
        let mut state = self.state();
        for objects in state.buckets.values_mut() {
            objects.changed = HashSet::new();
        }
        state.failure = result.err();
        // Under the lock of the state, because `change` decides by it.
        self.ended.send_replace(true);
    }

    /// Waits until the index is built.
    ///
    /// If it could not be built, returns the error once. The caller then builds it again.
    pub(super) async fn wait(&self) -> io::Result<()> {
        let mut ended = self.ended.subscribe();
        loop {
            // The sender is in `self`, so it is not closed.
            ended
                .wait_for(|ended| *ended)
                .await
                .map_err(io::Error::other)?;
            let mut state = self.state();
            if !*self.ended.borrow() {
                // Another caller has seen the error, and builds the index again.
                continue;
            }
            let Some(failure) = state.failure.take() else {
                return Ok(());
            };
            state.buckets.clear();
            self.ended.send_replace(false);
            return Err(failure);
        }
    }

    /// Returns whether a bucket contains no file.
    pub(super) fn is_empty(&self, bucket: &Bucket) -> bool {
        let state = self.state();
        let objects = state.buckets.get(bucket);
        objects.is_none_or(|objects| objects.by_name.is_empty() && objects.damaged.is_empty())
    }

    /// Returns a page of the objects of a bucket. Fails if the bucket contains damaged files.
    pub(super) fn page(
        &self,
        bucket: &Bucket,
        selection: Selection<'_>,
    ) -> io::Result<Page<Arc<ObjectSummary>>> {
        let state = self.state();
        let Some(objects) = state.buckets.get(bucket) else {
            return Ok(Page::default());
        };
        if let Some(file) = objects.damaged.iter().next() {
            let text = format!("the file {file} in the bucket {bucket} is not an object");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(page(&objects.by_name, selection))
    }

    // Held for work in memory, and never across an await.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        task::{Context, Poll, Waker},
        time::SystemTime,
    };

    use super::*;
    use crate::store::page::Entry;

    fn object(key: &str, size: u64) -> ObjectSummary {
        ObjectSummary {
            key: key.to_owned(),
            size,
            etag: String::new(),
            content_type: String::new(),
            storage_class: String::new(),
            last_modified: SystemTime::UNIX_EPOCH,
            object_type: "Normal",
            restoration: None,
        }
    }

    fn bucket() -> Bucket {
        "examplebucket".parse().unwrap()
    }

    fn put(catalog: &Catalog, key: &str, size: u64) {
        let done = || Ok::<_, io::Error>(Some(object(key, size)));
        catalog.change(&bucket(), key, key, done).unwrap();
    }

    fn remove(catalog: &Catalog, key: &str) {
        let done = || Ok::<_, io::Error>(None);
        catalog.change(&bucket(), key, key, done).unwrap();
    }

    fn found(catalog: &Catalog, file: &str, object: Option<ObjectSummary>) {
        catalog.found(&bucket(), [(file.to_owned(), object)]);
    }

    fn sizes(catalog: &Catalog) -> io::Result<Vec<(String, u64)>> {
        let all = Selection {
            prefix: "",
            delimiter: "",
            after: "",
            limit: 100,
        };
        let page = catalog.page(&bucket(), all)?;
        let sizes = page.entries.into_iter().map(|entry| match entry {
            Entry::Object(object) => (object.key.clone(), object.size),
            Entry::Prefix(prefix) => (prefix, 0),
        });
        Ok(sizes.collect())
    }

    #[test]
    fn a_change_wins_over_what_was_read_before_it() {
        let catalog = Catalog::new();
        put(&catalog, "new", 1);
        put(&catalog, "replaced", 2);
        found(&catalog, "replaced", Some(object("replaced", 1)));
        remove(&catalog, "removed");
        found(&catalog, "removed", Some(object("removed", 1)));
        put(&catalog, "repaired", 3);
        found(&catalog, "repaired", None);
        found(&catalog, "old", Some(object("old", 4)));
        catalog.end(Ok(()));
        let found = sizes(&catalog).unwrap();
        let found: Vec<_> = found.iter().map(|(key, size)| (&**key, *size)).collect();
        assert_eq!(
            found,
            [("new", 1), ("old", 4), ("repaired", 3), ("replaced", 2)]
        );
    }

    #[test]
    fn a_change_that_fails_is_not_recorded() {
        let catalog = Catalog::new();
        catalog.end(Ok(()));
        put(&catalog, "a", 1);
        let full = || Err(io::Error::from(io::ErrorKind::StorageFull));
        let failed = catalog.change(&bucket(), "a", "a", full);
        failed.unwrap_err();
        assert_eq!(sizes(&catalog).unwrap(), [("a".to_owned(), 1)]);
    }

    #[test]
    fn damaged_files_are_an_error_until_they_are_replaced() {
        let catalog = Catalog::new();
        found(&catalog, "a", None);
        found(&catalog, "b", None);
        catalog.end(Ok(()));
        let error = sizes(&catalog).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        put(&catalog, "a", 1);
        sizes(&catalog).unwrap_err();
        remove(&catalog, "b");
        assert_eq!(sizes(&catalog).unwrap(), [("a".to_owned(), 1)]);
    }

    #[test]
    fn listings_wait_for_the_index_and_see_an_error_once() {
        let catalog = Catalog::new();
        let mut cx = Context::from_waker(Waker::noop());
        let mut waiting = pin!(catalog.wait());
        let mut second = pin!(catalog.wait());
        assert!(waiting.as_mut().poll(&mut cx).is_pending());
        assert!(second.as_mut().poll(&mut cx).is_pending());
        found(&catalog, "gone", Some(object("gone", 1)));
        catalog.end(Err(io::ErrorKind::PermissionDenied.into()));
        assert!(matches!(waiting.poll(&mut cx), Poll::Ready(Err(_))));
        // The index is now built again.
        assert!(second.as_mut().poll(&mut cx).is_pending());
        found(&catalog, "a", Some(object("a", 1)));
        catalog.end(Ok(()));
        assert!(matches!(second.poll(&mut cx), Poll::Ready(Ok(()))));
        assert_eq!(sizes(&catalog).unwrap(), [("a".to_owned(), 1)]);
    }
}
