//! A store in a folder. Each object is one file: its content, followed by its record.
//!
//! ```text
//! FOLDER/buckets/BUCKET/SHA-256 of the name   content, record as JSON,
//!                                             length of the record (8 bytes), MARK
//! ```
//!
//! The rest of the folder is described in [`home`](super::home).

use std::{
    fs::{self, File},
    io::{self, BufReader, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Weak},
};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tempfile::{NamedTempFile, TempPath};
use tokio::task::JoinHandle;

use super::{
    catalog::Catalog,
    content::{Digest, StoreError, blocking, measure},
    home::{BucketFiles, Home, create_folder, sync_folder},
    page::{Page, Selection},
    summary::ObjectSummary,
};
use crate::object::{Content, Record};
use tower_aliyun_oss::protocol::Bucket;

const MARK: [u8; 8] = *b"oss-obj1";
/// Size of the record length and the mark, in bytes.
const TAIL: u64 = 16;
/// The longest record, in bytes.
///
/// A record contains a name, a type, at most 8 KiB of metadata, and headers from form fields, which
/// have at most 8 MiB in total.
const MAX_RECORD: u64 = 64 * 1024 * 1024;
/// How much is written at a time, in bytes.
const BATCH: usize = 1024 * 1024;

/// Objects in a folder. All its methods but [`page`](Self::page) block.
pub(super) struct FolderStore {
    home: Home,
    // Shared with the thread that builds it, which must not hold the lock of the folder.
    catalog: Arc<Catalog>,
}

impl FolderStore {
    pub(super) fn open(root: &Path) -> io::Result<Arc<Self>> {
        let store = Arc::new(Self {
            home: Home::open(root)?,
            catalog: Arc::new(Catalog::new()),
        });
        store.build_catalog()?;
        Ok(store)
    }

    /// Starts to build the index of the files on a thread of its own.
    fn build_catalog(self: &Arc<Self>) -> io::Result<()> {
        // Weak, so that the thread ends when the store is dropped.
        let catalog = Arc::downgrade(&self.catalog);
        let root = self.home.buckets();
        let thread = std::thread::Builder::new().name("oss-emulator-index".to_owned());
        thread.spawn(move || {
            let read = read_all(&catalog, &root);
            if let Some(catalog) = catalog.upgrade() {
                catalog.end(read);
            }
        })?;
        Ok(())
    }

    pub(super) fn root(&self) -> &Path {
        self.home.root()
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

    pub(super) fn get(&self, bucket: &Bucket, key: &str) -> io::Result<Option<(Record, File)>> {
        match read(&self.path(bucket, key)) {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
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

    /// Changes the record of an object, and returns the new one.
    ///
    /// Copies the content, because content and record are one file that is replaced as a whole.
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
            let (mut record, source) = read(&path)?;
            change(&mut record);
            let mut file = self.home.temporary_file()?;
            io::copy(&mut source.take(record.content.size), file.as_file_mut())?;
            finish(&mut file, &record)?;
            file.persist(&path).map_err(|error| error.error)?;
            updated = Some(record.clone());
            Ok(Some(ObjectSummary::of(record)))
        };
        match self.catalog.change(bucket, &name, key, rewrite) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            changed => changed?,
        }
        sync_folder(&folder)?;
        Ok(updated)
    }

    pub(super) fn remove(&self, bucket: &Bucket, key: &str) -> io::Result<()> {
        let file = file_name(key);
        let folder = self.home.bucket(bucket);
        let mut existed = true;
        let remove = || match fs::remove_file(folder.join(&file)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                existed = false;
                Ok(None)
            }
            removed => removed.map(|()| None),
        };
        self.catalog.change(bucket, &file, key, remove)?;
        match existed {
            true => sync_folder(&folder),
            false => Ok(()),
        }
    }
}

/// The name of the file of an object: a hash, because an object name may be too long for a file
/// name or contain `..`.
fn file_name(key: &str) -> String {
    base16ct::lower::encode_string(&Sha256::digest(key))
}

/// Reads the records of all files into the index, until the store is dropped.
fn read_all(catalog: &Weak<Catalog>, root: &Path) -> io::Result<()> {
    for folder in fs::read_dir(root)? {
        let folder = folder?;
        // No other name is one of a bucket of the emulator.
        let Some(bucket) = folder
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        for entry in fs::read_dir(folder.path())? {
            let entry = entry?;
            let Some(catalog) = catalog.upgrade() else {
                return Ok(());
            };
            let name = entry.file_name().to_string_lossy().into_owned();
            let found = match read(&entry.path()) {
                // A copy under another name is not the object.
                Ok((record, _)) if file_name(&record.description.key) == name => Some(record),
                // Removed since the folder was read.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                // The process has too many open files, for example.
                Err(error) if error.kind() != io::ErrorKind::InvalidData => return Err(error),
                Ok(_) | Err(_) => None,
            };
            let found = found.map(ObjectSummary::of);
            catalog.found(&bucket, &name, found);
        }
    }
    Ok(())
}

/// Reads the record of a file, and returns the file positioned at the content.
fn read(path: &Path) -> io::Result<(Record, File)> {
    let broken = || {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "the file is not an object of the emulator",
        )
    };
    // Not a link, for example.
    if !fs::symlink_metadata(path)?.is_file() {
        return Err(broken());
    }
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let tail_at = length.checked_sub(TAIL).ok_or_else(broken)?;
    file.seek(SeekFrom::Start(tail_at))?;
    let mut tail = [0; 16];
    file.read_exact(&mut tail)?;
    let (record_length, mark) = tail.split_at(8);
    // Bounded, because a damaged length must not allocate the memory of the machine.
    let record_length = u64::from_be_bytes(record_length.try_into().map_err(|_| broken())?);
    if mark != MARK || record_length > MAX_RECORD {
        return Err(broken());
    }
    let record_at = tail_at.checked_sub(record_length).ok_or_else(broken)?;
    file.seek(SeekFrom::Start(record_at))?;
    let mut text = Vec::new();
    (&file).take(record_length).read_to_end(&mut text)?;
    let record: Record = serde_json::from_slice(&text).map_err(|_| broken())?;
    if record.content.size != record_at {
        return Err(broken());
    }
    file.rewind()?;
    Ok((record, file))
}

/// An upload in progress. At most two batches are in memory: one that fills, and one that is
/// written.
///
/// Checksums are computed on the calling thread while the previous batch is written on another,
/// because they take most of the time.
pub(super) struct FolderUpload {
    store: Arc<FolderStore>,
    bucket: Bucket,
    digest: Digest,
    batch: Vec<Bytes>,
    batched: usize,
    /// `None` while a batch is written, and after an error.
    file: Option<NamedTempFile>,
    writing: Option<JoinHandle<io::Result<NamedTempFile>>>,
}

impl FolderUpload {
    pub(super) fn begin(store: Arc<FolderStore>, bucket: Bucket) -> io::Result<Self> {
        let file = store.home.temporary_file()?;
        Ok(Self {
            store,
            bucket,
            digest: Digest::new(),
            batch: Vec::new(),
            batched: 0,
            file: Some(file),
            writing: None,
        })
    }

    pub(super) async fn write(&mut self, data: Bytes) -> io::Result<()> {
        self.digest.update(&data);
        self.batched += data.len();
        self.batch.push(data);
        if self.batched >= BATCH {
            self.flush().await?;
        }
        Ok(())
    }

    /// Starts to write the batch, once the previous one is written.
    async fn flush(&mut self) -> io::Result<()> {
        let file = self.ready().await?;
        let batch = std::mem::take(&mut self.batch);
        self.batched = 0;
        self.writing = Some(tokio::task::spawn_blocking(move || write_all(file, &batch)));
        Ok(())
    }

    async fn ready(&mut self) -> io::Result<NamedTempFile> {
        if let Some(writing) = self.writing.take() {
            self.file = Some(writing.await.map_err(io::Error::other)??);
        }
        self.file
            .take()
            .ok_or_else(|| io::Error::other("an earlier write failed"))
    }

    pub(super) async fn discard(mut self) {
        // The file is deleted on drop, whatever became of it.
        let file = self.ready().await;
        let deleted = blocking(move || file?.close()).await;
        if let Err(error) = deleted {
            tracing::debug!(%error, "failed to delete the file of a discarded upload");
        }
    }

    pub(super) async fn seal(mut self) -> io::Result<Sealed> {
        let file = self.ready().await?;
        blocking(move || {
            let file = write_all(file, &self.batch)?;
            Sealed::new(self.store, self.bucket, file, self.digest)
        })
        .await
    }
}

fn write_all(mut file: NamedTempFile, batch: &[Bytes]) -> io::Result<NamedTempFile> {
    for data in batch {
        file.as_file_mut().write_all(data)?;
    }
    Ok(file)
}

/// Complete content that is not yet an object.
pub(super) struct Sealed {
    store: Arc<FolderStore>,
    bucket: Bucket,
    file: NamedTempFile,
    content: Content,
}

/// A part of a multipart upload: a temporary file, deleted on drop.
pub(super) struct Part(TempPath);

impl Sealed {
    fn new(
        store: Arc<FolderStore>,
        bucket: Bucket,
        mut file: NamedTempFile,
        digest: Digest,
    ) -> io::Result<Self> {
        file.rewind()?;
        // Image headers such as TIFF's point anywhere in the file, so it is read by seeking.
        let image = measure(&mut BufReader::new(file.as_file()));
        file.as_file_mut().seek(SeekFrom::End(0))?;
        Ok(Self {
            content: digest.finish(image),
            store,
            bucket,
            file,
        })
    }

    /// Copies parts in order into one file.
    pub(super) fn join<'a>(
        store: Arc<FolderStore>,
        bucket: &Bucket,
        parts: impl IntoIterator<Item = &'a Part>,
    ) -> io::Result<Self> {
        let mut file = store.home.temporary_file()?;
        let mut digest = Digest::new();
        let mut batch = vec![0; BATCH];
        for Part(path) in parts {
            let mut part = File::open(path)?;
            loop {
                let read = part.read(&mut batch)?;
                if read == 0 {
                    break;
                }
                digest.update(&batch[..read]);
                file.write_all(&batch[..read])?;
            }
        }
        Self::new(store, bucket.clone(), file, digest)
    }

    /// Closes the file, so that ten thousand parts do not need as many file descriptors.
    pub(super) fn into_part(self) -> Part {
        Part(self.file.into_temp_path())
    }

    pub(super) fn content_mut(&mut self) -> &mut Content {
        &mut self.content
    }

    pub(super) fn content(&self) -> &Content {
        &self.content
    }

    /// Writes the record, synchronizes the file and renames it to its final name.
    pub(super) fn commit(mut self, record: &Record, overwrite: bool) -> Result<(), StoreError> {
        finish(&mut self.file, record)?;
        let folder = self.store.home.bucket(&self.bucket);
        if create_folder(&folder)? {
            sync_folder(&self.store.home.buckets())?;
        }
        let key = &record.description.key;
        let name = file_name(key);
        let path = folder.join(&name);
        let summary = ObjectSummary::of(record.clone());
        let file = self.file;
        let persist = || {
            if overwrite {
                file.persist(path).map_err(|error| error.error)?;
                return Ok(Some(summary));
            }
            // Atomic, so of two concurrent uploads one succeeds.
            match file.persist_noclobber(path) {
                Ok(_) => Ok(Some(summary)),
                Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                    Err(StoreError::Exists)
                }
                Err(error) => Err(error.error.into()),
            }
        };
        let catalog = &self.store.catalog;
        catalog.change(&self.bucket, &name, key, persist)?;
        // A rename is durable once the folder is synchronized.
        Ok(sync_folder(&folder)?)
    }
}

/// Writes the record behind the content, and synchronizes the file.
fn finish(file: &mut NamedTempFile, record: &Record) -> io::Result<()> {
    let text = serde_json::to_vec(record).map_err(io::Error::from)?;
    file.write_all(&text)?;
    file.write_all(&(text.len() as u64).to_be_bytes())?;
    file.write_all(&MARK)?;
    // Before the rename, or a power failure could leave the final name with a partial file.
    file.as_file().sync_all()
}
