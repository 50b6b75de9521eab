//! A store in a folder. Each object is one file: its content, followed by its record.
//!
//! ```text
//! FOLDER/buckets/BUCKET/SHA-256 of the name   see [`record_file`](super::record_file)
//! ```
//!
//! The content of a copy, and of an object that grows, is in a file of its own: see
//! [`contents`](super::contents). The rest of the folder is described in [`home`](super::home).

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use super::{
    catalog::Catalog,
    content::{Growth, SMALL, StoreError, read_whole},
    contents::Contents,
    fill::fill,
    home::{BucketFiles, Home, create_folder, sync_folder},
    page::{Page, Selection},
    record_file::{self, Found, broken, finish},
    summary::ObjectSummary,
    upload::{Data, Sealed, Snapshot},
};
use crate::object::Record;
use tower_aliyun_oss::protocol::Bucket;

/// How often an object is read again that is replaced meanwhile.
const ATTEMPTS: usize = 5;

/// Objects in a folder. All its methods but [`page`](Self::page) block.
pub(super) struct FolderStore {
    home: Arc<Home>,
    contents: Arc<Contents>,
    // Shared with the thread that builds it, which must not hold the lock of the folder.
    catalog: Arc<Catalog>,
}

/// What the file of an object says. As JSON, the content file is a member beside those of the
/// record.
#[derive(Serialize)]
struct Entry {
    #[serde(flatten)]
    record: Record,
    /// The name of the content file, if the content is not in this file.
    #[serde(skip_serializing_if = "Option::is_none")]
    content_file: Option<String>,
}

impl Entry {
    /// Reads the record and the content file one after the other. To read a flattened record, serde
    /// would keep every value first, which takes longer than reading the text twice.
    fn parse(json: &[u8]) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        struct Beside {
            #[serde(default)]
            content_file: Option<String>,
        }
        let Beside { content_file } = serde_json::from_slice(json)?;
        Ok(Self {
            record: serde_json::from_slice(json)?,
            content_file,
        })
    }
}

impl FolderStore {
    pub(super) fn open(root: &Path) -> io::Result<Arc<Self>> {
        let home = Home::open(root)?;
        let store = Arc::new(Self {
            contents: Arc::new(Contents::open(home.contents())?),
            home: Arc::new(home),
            catalog: Arc::new(Catalog::new()),
        });
        store.build_catalog()?;
        Ok(store)
    }

    /// Starts to build the index of the files on a thread of its own.
    fn build_catalog(self: &Arc<Self>) -> io::Result<()> {
        // Weak, so that the thread ends when the store is dropped.
        let catalog = Arc::downgrade(&self.catalog);
        let contents = self.contents.clone();
        let root = self.home.buckets();
        let thread = std::thread::Builder::new().name("oss-emulator-index".to_owned());
        thread.spawn(move || {
            let is_damaged = AtomicBool::new(false);
            let look = |path: &Path, name: &str| {
                let found = look(&contents, path, name)?;
                is_damaged.fetch_or(found.is_none(), Ordering::Relaxed);
                Ok(found)
            };
            let read = fill(&catalog, &root, &look);
            if let Some(catalog) = catalog.upgrade() {
                // A file that cannot be read may name a content file.
                if read.is_ok() && !is_damaged.load(Ordering::Relaxed) {
                    contents.remove_unused();
                }
                catalog.end(read);
            }
        })?;
        Ok(())
    }

    pub(super) fn root(&self) -> &Path {
        self.home.root()
    }

    pub(super) fn home(&self) -> &Arc<Home> {
        &self.home
    }

    pub(super) fn bucket_files(&self) -> BucketFiles {
        self.home.bucket_files()
    }

    fn path(&self, bucket: &Bucket, key: &str) -> PathBuf {
        self.home.bucket(bucket).join(file_name(key))
    }

    /// Returns a page of a listing, once the index is built.
    pub(super) async fn page(
        self: &Arc<Self>,
        bucket: &Bucket,
        selection: Selection<'_>,
    ) -> io::Result<Page<Arc<ObjectSummary>>> {
        self.wait().await?;
        self.catalog.page(bucket, selection)
    }

    /// Waits until the index is built.
    pub(super) async fn wait(self: &Arc<Self>) -> io::Result<()> {
        if let Err(error) = self.catalog.wait().await {
            // So that a later listing succeeds if the cause has gone.
            self.build_catalog()?;
            return Err(error);
        }
        Ok(())
    }

    /// Returns whether a bucket contains no file, as far as the index is built.
    pub(super) fn is_empty(&self, bucket: &Bucket) -> bool {
        self.catalog.is_empty(bucket)
    }

    /// Returns an object, and a file that begins with its content.
    pub(super) fn get(&self, bucket: &Bucket, key: &str) -> io::Result<Option<(Record, File)>> {
        let path = self.path(bucket, key);
        for _ in 0..ATTEMPTS {
            let Some((entry, file)) = found(read(&path))? else {
                return Ok(None);
            };
            let Some(name) = &entry.content_file else {
                return Ok(Some((entry.record, file)));
            };
            // It is deleted when the object is replaced.
            if let Some(file) = found(self.contents.file(name, entry.record.content.size))? {
                return Ok(Some((entry.record, file)));
            }
        }
        Err(broken())
    }

    /// Returns an object for a copy.
    pub(super) fn snapshot(
        &self,
        bucket: &Bucket,
        key: &str,
    ) -> io::Result<Option<(Record, Snapshot)>> {
        let name = file_name(key);
        let path = self.home.bucket(bucket).join(&name);
        self.catalog.locked(bucket, &name, || {
            let Some((entry, file)) = found(read(&path))? else {
                return Ok(None);
            };
            let snapshot = self.snapshot_of(&path, &entry, file)?;
            Ok(Some((entry.record, snapshot)))
        })
    }

    /// Takes the content of an object, whose lock the caller holds.
    fn snapshot_of(&self, path: &Path, entry: &Entry, file: File) -> io::Result<Snapshot> {
        let size = entry.record.content.size;
        Ok(match &entry.content_file {
            Some(name) => Snapshot::Linked(self.contents.link(&self.contents.path(name)?, size)?),
            None if size <= SMALL => Snapshot::Small(read_whole(file, size)?),
            None => Snapshot::Linked(self.contents.link(path, size)?),
        })
    }

    /// Changes the record of an object, and returns the new one.
    pub(super) fn update(
        &self,
        bucket: &Bucket,
        key: &str,
        change: impl FnOnce(&mut Record),
    ) -> io::Result<Option<Record>> {
        let name = file_name(key);
        let folder = self.home.bucket(bucket);
        let path = folder.join(&name);
        let mut updated = None;
        let rewrite = || -> io::Result<_> {
            let (entry, file) = read(&path)?;
            let snapshot = self.snapshot_of(&path, &entry, file)?;
            let mut record = entry.record;
            change(&mut record);
            let sealed = snapshot.into_sealed(&self.home, record.content.clone())?;
            self.write(&path, sealed.data, &record, true)
                .map_err(io::Error::other)?;
            self.remove_content(entry.content_file.as_deref());
            updated = Some(record.clone());
            Ok(Some(ObjectSummary::of(record)))
        };
        if found(self.catalog.change(bucket, &name, key, rewrite))?.is_none() {
            return Ok(None);
        }
        sync_folder(&folder)?;
        Ok(updated)
    }

    /// Makes content an object: writes the record, synchronizes the file and renames it to its
    /// final name.
    pub(super) fn commit(
        &self,
        bucket: &Bucket,
        sealed: Sealed,
        record: &Record,
        overwrite: bool,
    ) -> Result<(), StoreError> {
        let folder = self.bucket_folder(bucket)?;
        let key = &record.description.key;
        let name = file_name(key);
        let path = folder.join(&name);
        self.catalog.change(bucket, &name, key, || {
            let replaced = content_file(&path);
            self.write(&path, sealed.data, record, overwrite)?;
            self.remove_content(replaced.as_deref());
            Ok::<_, StoreError>(Some(ObjectSummary::of(record.clone())))
        })?;
        // A rename is durable once the folder is synchronized.
        Ok(sync_folder(&folder)?)
    }

    /// Appends content to an object, or creates it, and returns its record.
    ///
    /// `grow` makes the new record from the old one. Its content is replaced.
    pub(super) fn append(
        &self,
        bucket: &Bucket,
        key: &str,
        piece: Sealed,
        at: u64,
        grow: impl FnOnce(Option<Record>) -> Record,
    ) -> Result<Record, StoreError> {
        let folder = self.bucket_folder(bucket)?;
        let name = file_name(key);
        let path = folder.join(&name);
        let mut appended = None;
        let append = || -> Result<_, StoreError> {
            let old = found(read(&path))?;
            let growth = Growth::of(old.as_ref().map(|(entry, _)| &entry.record), at)?;
            if let Some((entry, _)) = &old
                && entry.content_file.is_none()
            {
                // Appendable objects have one.
                return Err(broken().into());
            }
            let (record, content_file) = old.map_or((None, None), |(entry, _)| {
                (Some(entry.record), entry.content_file)
            });
            let Data::New(mut file) = piece.data else {
                return Err(io::Error::other("a copy is not appended").into());
            };
            let (crc64, name, new) = match content_file {
                Some(name) => {
                    let (size, crc64) = (growth.size, growth.crc64);
                    let crc64 = self
                        .contents
                        .append(&name, size, crc64, file.as_file_mut())?;
                    (crc64, name, None)
                }
                None => {
                    let adopted = self.contents.adopt(file)?;
                    let name = adopted.name().to_owned();
                    (piece.content.crc64, name, Some(adopted))
                }
            };
            let mut record = grow(record);
            record.content = growth.content(&piece.content, crc64);
            let entry = Entry {
                record,
                content_file: Some(name),
            };
            let mut file = self.home.temporary_file()?;
            finish(&mut file, &entry)?;
            file.persist(&path).map_err(|error| error.error)?;
            if let Some(new) = new {
                new.into_used();
            }
            appended = Some(entry.record.clone());
            Ok(Some(ObjectSummary::of(entry.record)))
        };
        self.catalog.change(bucket, &name, key, append)?;
        sync_folder(&folder)?;
        appended.ok_or_else(|| io::Error::other("nothing was appended").into())
    }

    pub(super) fn remove(&self, bucket: &Bucket, key: &str) -> io::Result<()> {
        let file = file_name(key);
        let folder = self.home.bucket(bucket);
        let path = folder.join(&file);
        let mut existed = true;
        let remove = || {
            let content = content_file(&path);
            existed = found(fs::remove_file(&path))?.is_some();
            self.remove_content(content.as_deref());
            Ok::<_, io::Error>(None)
        };
        self.catalog.change(bucket, &file, key, remove)?;
        match existed {
            true => sync_folder(&folder),
            false => Ok(()),
        }
    }

    fn bucket_folder(&self, bucket: &Bucket) -> io::Result<PathBuf> {
        let folder = self.home.bucket(bucket);
        if create_folder(&folder)? {
            sync_folder(&self.home.buckets())?;
        }
        Ok(folder)
    }

    /// Writes the file of an object.
    fn write(
        &self,
        path: &Path,
        data: Data,
        record: &Record,
        overwrite: bool,
    ) -> Result<(), StoreError> {
        let record = record.clone();
        let (mut file, linked) = match data {
            Data::New(file) => (file, None),
            Data::Linked(linked) => (self.home.temporary_file()?, Some(linked)),
        };
        let entry = Entry {
            record,
            content_file: linked.as_ref().map(|linked| linked.name().to_owned()),
        };
        finish(&mut file, &entry)?;
        persist(file, path, overwrite)?;
        if let Some(linked) = linked {
            linked.into_used();
        }
        Ok(())
    }

    fn remove_content(&self, name: Option<&str>) {
        if let Some(name) = name {
            self.contents.remove(name);
        }
    }
}

fn persist(file: NamedTempFile, path: &Path, overwrite: bool) -> Result<(), StoreError> {
    if overwrite {
        file.persist(path).map_err(|error| error.error)?;
        return Ok(());
    }
    // Atomic, so of two concurrent uploads one succeeds.
    match file.persist_noclobber(path) {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Err(StoreError::Exists),
        Err(error) => Err(error.error.into()),
    }
}

/// Returns `None` if a file does not exist.
fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The name of the file of an object: a hash, because an object name may be too long for a file
/// name or contain `..`.
fn file_name(key: &str) -> String {
    base16ct::lower::encode_string(&Sha256::digest(key))
}

/// Returns what a listing shows of a file, or `None` if it is not an object.
fn look(contents: &Contents, path: &Path, name: &str) -> io::Result<Option<ObjectSummary>> {
    let entry = match read(path) {
        // A copy under another name is not the object.
        Ok((entry, _)) if file_name(&entry.record.description.key) == name => entry,
        // The process has too many open files, for example.
        Err(error) if error.kind() != io::ErrorKind::InvalidData => return Err(error),
        Ok(_) | Err(_) => return Ok(None),
    };
    if let Some(name) = &entry.content_file {
        contents.path(name)?;
    }
    Ok(Some(ObjectSummary::of(entry.record)))
}

/// Returns the content file of an object, if the object exists and has one.
fn content_file(path: &Path) -> Option<String> {
    read(path).ok()?.0.content_file
}

/// Reads the file of an object.
fn read(path: &Path) -> io::Result<(Entry, File)> {
    let Found { record, file, size } = record_file::read(path, Entry::parse)?;
    let expected = match record.content_file {
        Some(_) => 0,
        None => record.record.content.size,
    };
    match size == expected {
        true => Ok((record, file)),
        false => Err(broken()),
    }
}
