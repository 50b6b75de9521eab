//! Objects in a folder: one file each, with what is known about the object behind its content.
//!
//! ```text
//! FOLDER/temporary/…                          uploads under way
//! FOLDER/buckets/BUCKET/SHA-256 of the name   content, record as JSON, length of the record (8 bytes), MARK
//! ```

use std::{
    fs::{self, File},
    io::{self, BufReader, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use sha2::{Digest as _, Sha256};
use tempfile::{NamedTempFile, TempPath};

use super::{
    StoreError,
    digest::{Digest, measure},
};
use crate::{
    object::{Content, Record},
    summary::ObjectSummary,
};
use tower_aliyun_oss::protocol::Bucket;

const MARK: [u8; 8] = *b"oss-obj1";
/// The length of the record, and the mark.
const TAIL: u64 = 16;
/// A record holds a name, a type and at most 8 KiB of metadata; headers may be longer, but are fields of a form.
const MAX_RECORD: u64 = 64 * 1024 * 1024;
/// How much is written at a time.
pub(super) const BATCH: usize = 1024 * 1024;

pub(super) struct FolderStore {
    root: PathBuf,
}

impl FolderStore {
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        let store = Self {
            root: root.to_owned(),
        };
        fs::create_dir_all(store.temporary())?;
        fs::create_dir_all(root.join("buckets"))?;
        for left in fs::read_dir(store.temporary())? {
            fs::remove_file(left?.path())?;
        }
        Ok(store)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn temporary(&self) -> PathBuf {
        self.root.join("temporary")
    }

    fn of_bucket(&self, bucket: &Bucket) -> PathBuf {
        self.root.join("buckets").join(bucket.as_str())
    }

    /// A name of an object may be too long for a file, or mean something to the file system.
    fn path(&self, bucket: &Bucket, key: &str) -> PathBuf {
        let name = base16ct::lower::encode_string(&Sha256::digest(key));
        self.of_bucket(bucket).join(name)
    }

    pub(super) fn list(&self, bucket: &Bucket) -> io::Result<Vec<ObjectSummary>> {
        let entries = match fs::read_dir(self.of_bucket(bucket)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let read = entries.map(|entry| read(&entry?.path()));
        read.filter_map(|found| match found {
            Ok((record, _)) => Some(Ok(ObjectSummary::of(&record))),
            // Deleted since the folder was read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => Some(Err(error)),
        })
        .collect()
    }

    pub(super) fn get(&self, bucket: &Bucket, key: &str) -> io::Result<Option<(Record, File)>> {
        match read(&self.path(bucket, key)) {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn remove(&self, bucket: &Bucket, key: &str) -> io::Result<()> {
        match fs::remove_file(self.path(bucket, key)) {
            Ok(()) => sync_folder(&self.of_bucket(bucket)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// The record of a file, and the file at its beginning.
fn read(path: &Path) -> io::Result<(Record, File)> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let broken = || io::Error::new(io::ErrorKind::InvalidData, "the file is no object");
    let tail_at = length.checked_sub(TAIL).ok_or_else(broken)?;
    file.seek(SeekFrom::Start(tail_at))?;
    let mut tail = [0; 16];
    file.read_exact(&mut tail)?;
    let (record_length, mark) = tail.split_at(8);
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

pub(super) struct Sealed {
    store: Arc<FolderStore>,
    bucket: Bucket,
    file: NamedTempFile,
    content: Content,
}

/// A part of an upload in parts.
pub(super) struct Part(TempPath);

impl Sealed {
    pub(super) fn new(
        store: Arc<FolderStore>,
        bucket: Bucket,
        mut file: NamedTempFile,
        digest: Digest,
    ) -> io::Result<Self> {
        file.rewind()?;
        let image = measure(&mut BufReader::new(file.as_file()));
        file.as_file_mut().seek(SeekFrom::End(0))?;
        Ok(Self {
            content: digest.finish(image),
            store,
            bucket,
            file,
        })
    }

    /// The parts in their order, copied into one file a batch at a time.
    pub(super) fn join<'a>(
        store: Arc<FolderStore>,
        bucket: &Bucket,
        parts: impl Iterator<Item = &'a Part>,
    ) -> io::Result<Self> {
        let mut file = NamedTempFile::new_in(store.temporary())?;
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

    /// Closes the file, so that many parts do not need as many handles.
    pub(super) fn into_part(self) -> Part {
        Part(self.file.into_temp_path())
    }

    pub(super) fn content_mut(&mut self) -> &mut Content {
        &mut self.content
    }

    pub(super) fn content(&self) -> &Content {
        &self.content
    }

    pub(super) fn commit(mut self, record: &Record, overwrite: bool) -> Result<(), StoreError> {
        let text = serde_json::to_vec(record).map_err(io::Error::from)?;
        self.file.write_all(&text)?;
        self.file.write_all(&(text.len() as u64).to_be_bytes())?;
        self.file.write_all(&MARK)?;
        self.file.as_file().sync_all()?;

        let folder = self.store.of_bucket(&self.bucket);
        if !folder.exists() {
            fs::create_dir_all(&folder)?;
            sync_folder(&self.store.root.join("buckets"))?;
        }
        let path = self.store.path(&self.bucket, &record.description.key);
        if overwrite {
            self.file.persist(path).map_err(|error| error.error)?;
        } else {
            match self.file.persist_noclobber(path) {
                Ok(_) => {}
                Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                    return Err(StoreError::Exists);
                }
                Err(error) => return Err(error.error.into()),
            }
        }
        // A rename is kept by the folder, not by the file.
        Ok(sync_folder(&folder)?)
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    // Windows has no such thing.
    if cfg!(unix) {
        File::open(path)?.sync_all()?;
    }
    Ok(())
}
