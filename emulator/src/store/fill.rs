//! Fills the index of a folder store with what its files say, on several threads.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use super::{catalog::Catalog, summary::ObjectSummary};
use tower_aliyun_oss::protocol::Bucket;

/// How many files a thread takes at a time.
const BATCH: usize = 256;
/// The largest number of threads. More wait for each other in the file system.
const MAX_THREADS: usize = 4;

/// Returns what a listing shows of a file, by its path and its name.
type Look<'a> = dyn Fn(&Path, &str) -> io::Result<Option<ObjectSummary>> + Sync + 'a;

/// Files of a bucket.
struct Batch {
    bucket: Bucket,
    folder: Arc<Path>,
    names: Vec<OsString>,
}

/// Reads the files of all buckets below `root` into the index, until the store is dropped.
pub(super) fn fill(catalog: &Weak<Catalog>, root: &Path, look: &Look<'_>) -> io::Result<()> {
    let threads = thread::available_parallelism().map_or(1, |threads| threads.get());
    let threads = threads.min(MAX_THREADS);
    // Bounded, so that the names of a large folder are not in memory all at once.
    let (batches, queue) = sync_channel(2 * threads);
    let queue = Arc::new(Mutex::new(queue));
    thread::scope(|scope| {
        // Moved, so that the readers end when everything is sent.
        let batches = batches;
        let mut readers = Vec::new();
        for _ in 0..threads {
            let thread = thread::Builder::new().name("oss-emulator-index".to_owned());
            let queue = queue.clone();
            readers.push(thread.spawn_scoped(scope, move || read_all(&queue, catalog, look))?);
        }
        // Without this one, sending fails if no reader is left.
        drop(queue);
        let mut filled = send_all(&batches, root);
        drop(batches);
        for reader in readers {
            let read = reader.join();
            let read = read.map_err(|_| io::Error::other("a thread of the index panicked"));
            let read = read.flatten();
            filled = filled.and(read);
        }
        filled
    })
}

/// Sends the names of all files.
fn send_all(batches: &SyncSender<Batch>, root: &Path) -> io::Result<()> {
    for folder in fs::read_dir(root)? {
        let folder = folder?;
        // No other name is one of a bucket of the emulator.
        let name = folder.file_name();
        let Some(bucket) = name.to_str().and_then(|name| name.parse::<Bucket>().ok()) else {
            continue;
        };
        let folder: Arc<Path> = folder.path().into();
        let mut files = fs::read_dir(&folder)?.peekable();
        while files.peek().is_some() {
            let names = files.by_ref().take(BATCH);
            let names = names.map(|file| Ok(file?.file_name()));
            let batch = Batch {
                bucket: bucket.clone(),
                folder: folder.clone(),
                names: names.collect::<io::Result<_>>()?,
            };
            batches.send(batch).map_err(io::Error::other)?;
        }
    }
    Ok(())
}

/// Reads batches until the queue ends. After an error it only empties the queue, because the sender
/// waits for room in it.
fn read_all(
    queue: &Mutex<Receiver<Batch>>,
    catalog: &Weak<Catalog>,
    look: &Look<'_>,
) -> io::Result<()> {
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
    let mut read = Ok(());
    while let Ok(batch) = next() {
        let Some(catalog) = catalog.upgrade() else {
            continue;
        };
        if read.is_ok() {
            read = read_batch(&batch, &catalog, look);
        }
    }
    read
}

fn read_batch(batch: &Batch, catalog: &Catalog, look: &Look<'_>) -> io::Result<()> {
    let mut found = Vec::with_capacity(batch.names.len());
    for name in &batch.names {
        let path: PathBuf = batch.folder.join(name);
        let name = name.to_string_lossy().into_owned();
        match look(&path, &name) {
            Ok(object) => found.push((name, object)),
            // Removed since the folder was read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    catalog.found(&batch.bucket, found);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs::File, time::SystemTime};

    use super::*;
    use crate::store::page::{Entry, Selection};

    fn summary(key: &str) -> ObjectSummary {
        ObjectSummary {
            key: key.to_owned(),
            size: 0,
            etag: String::new(),
            content_type: String::new(),
            storage_class: String::new(),
            last_modified: SystemTime::UNIX_EPOCH,
            object_type: "Normal",
            restoration: None,
        }
    }

    /// Creates buckets with files.
    fn folder(buckets: usize, files: usize) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for bucket in 0..buckets {
            let bucket = folder.path().join(format!("bucket-{bucket}"));
            fs::create_dir(&bucket).unwrap();
            for file in 0..files {
                File::create(bucket.join(file.to_string())).unwrap();
            }
        }
        folder
    }

    fn names(catalog: &Catalog, bucket: &str) -> Vec<String> {
        let all = Selection {
            prefix: "",
            delimiter: "",
            after: "",
            limit: usize::MAX,
        };
        let page = catalog.page(&bucket.parse().unwrap(), all).unwrap();
        let names = page.entries.into_iter().map(|entry| match entry {
            Entry::Object(object) => object.key.clone(),
            Entry::Prefix(prefix) => prefix,
        });
        names.collect()
    }

    #[test]
    fn every_file_is_read_once() {
        let files = 2 * BATCH + 3;
        let folder = folder(2, files);
        fs::create_dir(folder.path().join("NO BUCKET")).unwrap();
        let catalog = Arc::new(Catalog::new());
        let seen = Mutex::new(Vec::new());
        let look = |path: &Path, name: &str| {
            assert!(path.ends_with(name));
            seen.lock().unwrap().push(path.to_owned());
            match name {
                "7" => Err(io::ErrorKind::NotFound.into()),
                _ => Ok(Some(summary(name))),
            }
        };
        fill(&Arc::downgrade(&catalog), folder.path(), &look).unwrap();
        let mut seen = seen.into_inner().unwrap();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 2 * files);
        let mut expected: Vec<_> = (0..files).map(|name| name.to_string()).collect();
        expected.retain(|name| name != "7");
        expected.sort();
        for bucket in ["bucket-0", "bucket-1"] {
            assert_eq!(names(&catalog, bucket), expected);
        }
    }

    /// The queue has room for few of these batches.
    #[test]
    fn an_error_ends_it() {
        let folder = folder(100, 1);
        let catalog = Arc::new(Catalog::new());
        let fails = |_: &Path, _: &str| Err(io::ErrorKind::PermissionDenied.into());
        let error = fill(&Arc::downgrade(&catalog), folder.path(), &fails).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        let error = fill(
            &Arc::downgrade(&catalog),
            &folder.path().join("none"),
            &fails,
        );
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn no_file_is_read_for_a_store_that_is_gone() {
        let folder = folder(100, 1);
        let unreachable = |_: &Path, _: &str| panic!("nobody lists");
        fill(&Weak::new(), folder.path(), &unreachable).unwrap();
    }
}
