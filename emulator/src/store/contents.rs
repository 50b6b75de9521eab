//! Content files of a folder store: content that is not in the file of its object.
//!
//! ```text
//! FOLDER/.aliyun-oss-emulator-content/content-….data
//! ```
//!
//! Content never changes, so a copy of a large object is a second name of the same file, a hard
//! link, and takes no time. An appendable object grows in its content file: the record says how
//! much of it is content, and what a crash leaves behind that is not.

use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tempfile::NamedTempFile;

use super::{content::resume_crc64, home::sync_folder, record_file::broken};

const PREFIX: &str = "content-";
const SUFFIX: &str = ".data";
/// How much is copied at a time, in bytes.
const BATCH: usize = 1024 * 1024;

/// The folder of the content files.
pub(super) struct Contents {
    folder: PathBuf,
    /// Files of an earlier process that no object is known to use yet.
    unused: Mutex<HashSet<String>>,
}

impl Contents {
    pub(super) fn open(folder: PathBuf) -> io::Result<Self> {
        let mut unused = HashSet::new();
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_str().filter(|name| is_name(name));
            if let Some(name) = name
                && entry.file_type()?.is_file()
            {
                unused.insert(name.to_owned());
            }
        }
        Ok(Self {
            folder,
            unused: Mutex::new(unused),
        })
    }

    /// Returns the path of a content file, which an object uses.
    pub(super) fn path(&self, name: &str) -> io::Result<PathBuf> {
        if !is_name(name) {
            return Err(broken());
        }
        self.unused().remove(name);
        Ok(self.folder.join(name))
    }

    /// Opens the content of an object.
    pub(super) fn file(&self, name: &str, size: u64) -> io::Result<File> {
        let path = self.path(name)?;
        let found = fs::symlink_metadata(&path)?;
        match found.is_file() && found.len() >= size {
            true => File::open(path),
            false => Err(broken()),
        }
    }

    /// Deletes a content file that no object uses any longer.
    pub(super) fn remove(&self, name: &str) {
        let removed = self.path(name).and_then(fs::remove_file);
        if let Err(error) = removed {
            // The next process deletes it.
            tracing::debug!(%error, "failed to delete the content of a replaced object");
        }
    }

    /// Deletes the files that an earlier process left, once all objects are known.
    pub(super) fn remove_unused(&self) {
        let unused = std::mem::take(&mut *self.unused());
        for name in unused {
            // Not one that a request found to be in use meanwhile: those have left the set.
            self.remove(&name);
        }
    }

    /// Gives the first `size` bytes of a file a second name.
    pub(super) fn link(self: &Arc<Self>, from: &Path, size: u64) -> io::Result<Linked> {
        let linked = self.new_name()?;
        if fs::hard_link(from, linked.path()).is_err() {
            // Not every file system has links.
            let mut to = self.temporary()?;
            io::copy(&mut File::open(from)?.take(size), to.as_file_mut())?;
            to.as_file().sync_all()?;
            to.persist_noclobber(linked.path())
                .map_err(|error| error.error)?;
        }
        sync_folder(&self.folder)?;
        Ok(linked)
    }

    /// Makes a file a content file.
    pub(super) fn adopt(self: &Arc<Self>, file: NamedTempFile) -> io::Result<Linked> {
        let linked = self.new_name()?;
        file.as_file().sync_all()?;
        file.persist_noclobber(linked.path())
            .map_err(|error| error.error)?;
        sync_folder(&self.folder)?;
        Ok(linked)
    }

    /// Appends a file to content of this size, and returns the checksum of the whole.
    pub(super) fn append(
        &self,
        name: &str,
        size: u64,
        crc64: u64,
        piece: &mut File,
    ) -> io::Result<u64> {
        let mut file = OpenOptions::new().write(true).open(self.path(name)?)?;
        // What a crash left.
        file.set_len(size)?;
        file.seek(SeekFrom::Start(size))?;
        piece.rewind()?;
        let mut crc = resume_crc64(crc64);
        let mut batch = vec![0; BATCH];
        loop {
            let read = piece.read(&mut batch)?;
            if read == 0 {
                break;
            }
            crc.update(&batch[..read]);
            file.write_all(&batch[..read])?;
        }
        file.sync_all()?;
        Ok(crc.finalize())
    }

    fn temporary(&self) -> io::Result<NamedTempFile> {
        // The name of a content file, so that a later process deletes it if this one is killed.
        tempfile::Builder::new()
            .prefix(PREFIX)
            .suffix(SUFFIX)
            .tempfile_in(&self.folder)
    }

    fn new_name(self: &Arc<Self>) -> io::Result<Linked> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let random = base16ct::lower::encode_string(&random);
        Ok(Linked {
            contents: self.clone(),
            name: format!("{PREFIX}{random}{SUFFIX}"),
            is_used: false,
        })
    }

    fn unused(&self) -> MutexGuard<'_, HashSet<String>> {
        self.unused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a name is one of a content file.
fn is_name(name: &str) -> bool {
    let middle = name.strip_prefix(PREFIX);
    let middle = middle.and_then(|rest| rest.strip_suffix(SUFFIX));
    middle.is_some_and(|middle| middle.bytes().all(|b| b.is_ascii_alphanumeric()))
}

/// A new content file. It is deleted on drop, unless an object [uses](Self::into_used) it.
pub(super) struct Linked {
    contents: Arc<Contents>,
    name: String,
    is_used: bool,
}

impl Linked {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn path(&self) -> PathBuf {
        self.contents.folder.join(&self.name)
    }

    /// Keeps the file: an object refers to it.
    pub(super) fn into_used(mut self) {
        self.is_used = true;
    }
}

impl Drop for Linked {
    fn drop(&mut self) {
        if !self.is_used {
            // It may not exist yet.
            let _ = fs::remove_file(self.path());
        }
    }
}
