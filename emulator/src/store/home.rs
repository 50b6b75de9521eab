//! The folder of a folder store: its mark, its lock, and its temporary files.
//!
//! ```text
//! FOLDER/.aliyun-oss-emulator          mark and lock
//! FOLDER/.aliyun-oss-emulator-content  content of copies, and of objects that grow
//! FOLDER/.aliyun-oss-emulator-parts    multipart uploads
//! FOLDER/.aliyun-oss-emulator-uploads  upload-….part: uploads in progress
//! FOLDER/buckets/BUCKET                objects
//! FOLDER/settings/BUCKET.json          settings of buckets
//! ```
//!
//! Opening a store deletes files. So it takes only a folder that is empty or has the mark, deletes
//! only files with names that it made, and follows no links.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use tempfile::NamedTempFile;
use tokio::sync::Semaphore;

use tower_aliyun_oss::protocol::Bucket;

const MARK: &str = ".aliyun-oss-emulator";
const CONTENTS: &str = ".aliyun-oss-emulator-content";
const PARTS: &str = ".aliyun-oss-emulator-parts";
const UPLOADS: &str = ".aliyun-oss-emulator-uploads";
const SETTINGS: &str = "settings";
const PREFIX: &str = "upload-";
const SUFFIX: &str = ".part";

/// How much all uploads together keep in memory until it is written, in bytes.
pub(super) const BATCHES: usize = 24 * 1024 * 1024;

/// The folder of a store, locked until it is dropped.
pub(super) struct Home {
    root: PathBuf,
    /// For what uploads keep in memory until it is written.
    batches: Arc<Semaphore>,
    // Held for its lock.
    _mark: File,
}

impl Home {
    /// Opens a folder, and creates it if it does not exist. Deletes what an earlier process did not
    /// finish.
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        let mark = root.join(MARK);
        let file = match fs::symlink_metadata(&mark) {
            Ok(found) if found.is_file() => OpenOptions::new().write(true).open(&mark)?,
            Ok(_) => return Err(foreign(&mark, "is not a file")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if fs::read_dir(root)?.next().is_some() {
                    let what = "is neither empty nor the folder of a store; choose another one";
                    return Err(foreign(root, what));
                }
                // Another process may be doing the same.
                OpenOptions::new()
                    .write(true)
                    .create(true)
                    .truncate(false)
                    .open(&mark)?
            }
            Err(error) => return Err(error),
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let text = format!("{} is in use by another store", root.display());
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, text));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let home = Self {
            root: root.to_owned(),
            batches: Arc::new(Semaphore::new(BATCHES)),
            _mark: file,
        };
        create_folder(&home.contents())?;
        create_folder(&home.parts())?;
        create_folder(&home.uploads())?;
        create_folder(&home.buckets())?;
        create_folder(&home.settings())?;
        for bucket in fs::read_dir(home.buckets())? {
            let bucket = bucket?;
            if bucket.file_type()?.is_symlink() {
                return Err(foreign(&bucket.path(), "is a link"));
            }
        }
        home.delete_unfinished()?;
        Ok(home)
    }

    fn delete_unfinished(&self) -> io::Result<()> {
        for left in fs::read_dir(self.uploads())? {
            let left = left?;
            let name = left.file_name();
            let is_ours = name
                .to_str()
                .is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX));
            if is_ours && left.file_type()?.is_file() {
                fs::remove_file(left.path())?;
            }
        }
        Ok(())
    }

    /// Returns the room for what uploads keep in memory, in bytes.
    pub(super) fn batches(&self) -> &Arc<Semaphore> {
        &self.batches
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn buckets(&self) -> PathBuf {
        self.root.join("buckets")
    }

    pub(super) fn bucket(&self, bucket: &Bucket) -> PathBuf {
        self.buckets().join(bucket.as_str())
    }

    pub(super) fn contents(&self) -> PathBuf {
        self.root.join(CONTENTS)
    }

    pub(super) fn parts(&self) -> PathBuf {
        self.root.join(PARTS)
    }

    fn uploads(&self) -> PathBuf {
        self.root.join(UPLOADS)
    }

    fn settings(&self) -> PathBuf {
        self.root.join(SETTINGS)
    }

    /// Returns the files with the settings of the buckets.
    pub(super) fn bucket_files(&self) -> BucketFiles {
        BucketFiles {
            settings: self.settings(),
            uploads: self.uploads(),
            objects: self.buckets(),
        }
    }

    /// Creates a file for an upload, which is deleted on drop.
    pub(super) fn temporary_file(&self) -> io::Result<NamedTempFile> {
        temporary_file(&self.uploads())
    }
}

fn temporary_file(folder: &Path) -> io::Result<NamedTempFile> {
    tempfile::Builder::new()
        .prefix(PREFIX)
        .suffix(SUFFIX)
        .tempfile_in(folder)
}

/// The settings of buckets, one file for each.
pub(super) struct BucketFiles {
    settings: PathBuf,
    uploads: PathBuf,
    objects: PathBuf,
}

impl BucketFiles {
    /// Returns the content of all files. Skips names that are not those of buckets.
    pub(super) fn read_all(&self) -> io::Result<Vec<(Bucket, Vec<u8>)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.settings)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_str().and_then(|name| name.strip_suffix(".json"));
            let Some(bucket) = name.and_then(|name| name.parse().ok()) else {
                continue;
            };
            if !entry.file_type()?.is_file() {
                return Err(foreign(&entry.path(), "is not a file"));
            }
            found.push((bucket, fs::read(entry.path())?));
        }
        Ok(found)
    }

    /// Replaces the file of a bucket as a whole.
    pub(super) fn write(&self, bucket: &Bucket, text: &[u8]) -> io::Result<()> {
        let mut file = temporary_file(&self.uploads)?;
        file.write_all(text)?;
        file.as_file().sync_all()?;
        file.persist(self.path(bucket))
            .map_err(|error| error.error)?;
        sync_folder(&self.settings)
    }

    /// Removes the folder of a bucket, which must be empty, and its file.
    pub(super) fn remove(&self, bucket: &Bucket) -> io::Result<()> {
        match fs::remove_dir(self.objects.join(bucket.as_str())) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::remove_file(self.path(bucket))?;
        sync_folder(&self.settings)
    }

    fn path(&self, bucket: &Bucket) -> PathBuf {
        self.settings.join(format!("{bucket}.json"))
    }
}

/// Makes changes of names in a folder durable.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    // Windows cannot synchronize a folder.
    if cfg!(unix) {
        File::open(path)?.sync_all()?;
    }
    Ok(())
}

/// Creates a folder. Returns `false` if it exists. Fails if there is something else, such as a link
/// to a folder.
pub(super) fn create_folder(path: &Path) -> io::Result<bool> {
    match fs::create_dir(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            match fs::symlink_metadata(path)?.is_dir() {
                true => Ok(false),
                false => Err(foreign(path, "is not a folder")),
            }
        }
        Err(error) => Err(error),
    }
}

fn foreign(path: &Path, what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::AlreadyExists,
        format!("{} {what}", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(path: &Path) -> io::ErrorKind {
        Home::open(path).err().unwrap().kind()
    }

    #[test]
    fn a_folder_with_other_files_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("temporary/diary.txt");
        fs::create_dir(own.parent().unwrap()).unwrap();
        fs::write(&own, "mine").unwrap();
        assert_eq!(kind(folder.path()), io::ErrorKind::AlreadyExists);
        let entries = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!((entries, &*fs::read_to_string(own).unwrap()), (1, "mine"));
    }

    #[test]
    fn only_files_that_it_made_are_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let uploads = folder.path().join(UPLOADS);
        drop(Home::open(folder.path()).unwrap());
        for name in ["upload-1.part", "notes.txt", "upload-2", "1.part"] {
            fs::write(uploads.join(name), "x").unwrap();
        }
        fs::create_dir(uploads.join("upload-3.part")).unwrap();
        let home = Home::open(folder.path()).unwrap();
        let mut left: Vec<_> = fs::read_dir(&uploads)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["1.part", "notes.txt", "upload-2", "upload-3.part"]);
        let file = home.temporary_file().unwrap();
        let name = file.path().file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with(PREFIX) && name.ends_with(SUFFIX), "{name}");
    }

    #[test]
    fn one_store_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let first = Home::open(folder.path()).unwrap();
        assert_eq!(kind(folder.path()), io::ErrorKind::ResourceBusy);
        drop(first);
        Home::open(folder.path()).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn links_are_not_followed() {
        use std::os::unix::fs::symlink;

        let folder = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let kept = elsewhere.path().join("upload-1.part");
        fs::write(&kept, "mine").unwrap();
        for name in [CONTENTS, PARTS, UPLOADS, "buckets"] {
            let root = folder.path().join(format!("store-{name}"));
            drop(Home::open(&root).unwrap());
            fs::remove_dir(root.join(name)).unwrap();
            symlink(elsewhere.path(), root.join(name)).unwrap();
            assert_eq!(kind(&root), io::ErrorKind::AlreadyExists, "{name}");
        }
        let root = folder.path().join("bucket");
        drop(Home::open(&root).unwrap());
        symlink(elsewhere.path(), root.join("buckets/examplebucket")).unwrap();
        assert_eq!(kind(&root), io::ErrorKind::AlreadyExists);

        let root = folder.path().join("mark");
        fs::create_dir(&root).unwrap();
        symlink(&kept, root.join(MARK)).unwrap();
        assert_eq!(kind(&root), io::ErrorKind::AlreadyExists);
        let root = folder.path().join("upload");
        drop(Home::open(&root).unwrap());
        symlink(&kept, root.join(UPLOADS).join("upload-2.part")).unwrap();
        Home::open(&root).unwrap();
        assert_eq!(fs::read_to_string(kept).unwrap(), "mine");
    }
}
