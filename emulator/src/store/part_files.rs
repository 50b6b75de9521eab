//! Multipart uploads of a folder store, which survive the process.
//!
//! ```text
//! FOLDER/.aliyun-oss-emulator-parts/UPLOAD ID/upload.json              what the upload will create
//! FOLDER/.aliyun-oss-emulator-parts/UPLOAD ID/part-NUMBER-ORDER.part   see [`record_file`](super::record_file)
//! ```
//!
//! A part that replaces another has a higher order. A folder without `upload.json` is one whose
//! upload has ended.

use std::{
    collections::BTreeMap,
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

use super::{
    home::{Home, create_folder, sync_folder},
    record_file,
    upload::{Data, Sealed},
};
use crate::object::{Content, Description};
use tower_aliyun_oss::protocol::Bucket;

const UPLOAD: &str = "upload.json";
const PREFIX: &str = "part-";
const SUFFIX: &str = ".part";

/// What a multipart upload will create.
#[derive(Deserialize, Serialize)]
pub(super) struct SavedUpload {
    pub(super) bucket: String,
    pub(super) description: Description,
    pub(super) forbid_overwrite: bool,
    #[serde(default)]
    pub(super) sequential: bool,
    /// Milliseconds since the Unix epoch.
    pub(super) initiated: u64,
}

/// A part as its file records it.
#[derive(Deserialize, Serialize)]
struct SavedPart {
    content: Content,
    /// Milliseconds since the Unix epoch.
    stored: u64,
}

/// An upload that an earlier process began.
pub(super) struct Restored {
    pub(super) id: String,
    pub(super) bucket: Bucket,
    pub(super) upload: SavedUpload,
    pub(super) parts: Vec<RestoredPart>,
}

pub(super) struct RestoredPart {
    pub(super) number: u16,
    pub(super) content: Content,
    pub(super) stored: SystemTime,
    pub(super) file: FilePart,
}

/// The folder of the multipart uploads. All methods block.
pub(super) struct PartFiles {
    // Also held for its lock.
    home: Arc<Home>,
    order: AtomicU64,
}

/// The file of a part. It stays when it is dropped, unless it was [discarded](Self::discard).
pub(super) struct FilePart {
    path: PathBuf,
    is_discarded: AtomicBool,
}

impl FilePart {
    fn new(path: PathBuf) -> Self {
        Self {
            path,
            is_discarded: AtomicBool::new(false),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Deletes the file once nobody reads it.
    pub(super) fn discard(&self) {
        self.is_discarded.store(true, Ordering::Relaxed);
    }
}

impl Drop for FilePart {
    fn drop(&mut self) {
        if *self.is_discarded.get_mut() {
            // What remains is deleted when the store is opened again.
            let _ = fs::remove_file(&self.path);
            if let Some(folder) = self.path.parent() {
                // Succeeds for the last part of an upload that has ended.
                let _ = fs::remove_dir(folder);
            }
        }
    }
}

impl PartFiles {
    pub(super) fn new(home: Arc<Home>) -> Self {
        Self {
            home,
            order: AtomicU64::new(0),
        }
    }

    /// Reads the uploads that an earlier process began, and deletes what remains of others.
    pub(super) fn restore(&self) -> io::Result<Vec<Restored>> {
        let mut all = Vec::new();
        for entry in fs::read_dir(self.home.parts())? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(id) = name.to_str().filter(|name| is_id(name)) else {
                continue;
            };
            if !entry.file_type()?.is_dir() {
                continue;
            }
            let upload = fs::read(entry.path().join(UPLOAD));
            let upload = upload
                .ok()
                .and_then(|text| serde_json::from_slice(&text).ok());
            let upload = upload.and_then(|upload: SavedUpload| {
                let bucket = upload.bucket.parse().ok()?;
                Some((bucket, upload))
            });
            let parts = self.restore_parts(&entry.path())?;
            match upload {
                Some((bucket, upload)) => all.push(Restored {
                    id: id.to_owned(),
                    bucket,
                    upload,
                    parts,
                }),
                None => {
                    parts.iter().for_each(|part| part.file.discard());
                    drop(parts);
                    let _ = fs::remove_dir(entry.path());
                }
            }
        }
        Ok(all)
    }

    fn restore_parts(&self, folder: &Path) -> io::Result<Vec<RestoredPart>> {
        let mut newest: BTreeMap<u16, (u64, RestoredPart)> = BTreeMap::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some((number, order)) = name.to_str().and_then(number_and_order) else {
                continue;
            };
            self.order.fetch_max(order + 1, Ordering::Relaxed);
            let file = FilePart::new(entry.path());
            let parse = |json: &[u8]| serde_json::from_slice::<SavedPart>(json);
            let found = match record_file::read(&entry.path(), parse) {
                Ok(found) if found.size == found.record.content.size => found,
                Err(error) if error.kind() != io::ErrorKind::InvalidData => return Err(error),
                Ok(_) | Err(_) => continue,
            };
            let part = RestoredPart {
                number,
                content: found.record.content,
                stored: SystemTime::UNIX_EPOCH + Duration::from_millis(found.record.stored),
                file,
            };
            let older = match newest.get(&number) {
                Some((known, _)) if *known > order => Some(part),
                _ => newest.insert(number, (order, part)).map(|(_, part)| part),
            };
            if let Some(older) = older {
                older.file.discard();
            }
        }
        Ok(newest.into_values().map(|(_, part)| part).collect())
    }

    /// Records an upload.
    pub(super) fn begin(&self, id: &str, upload: &SavedUpload) -> io::Result<()> {
        let text = serde_json::to_vec(upload).map_err(io::Error::from)?;
        let mut file = self.home.temporary_file()?;
        file.write_all(&text)?;
        file.as_file().sync_all()?;
        let folder = self.home.parts().join(id);
        create_folder(&folder)?;
        file.persist(folder.join(UPLOAD))
            .map_err(|error| error.error)?;
        sync_folder(&folder)?;
        sync_folder(&self.home.parts())
    }

    /// Makes content the file of a part. Fails with `NotFound` if the upload has ended.
    pub(super) fn add(
        &self,
        id: &str,
        number: u16,
        sealed: Sealed,
        stored: SystemTime,
    ) -> io::Result<FilePart> {
        let Data::New(mut file) = sealed.data else {
            return Err(io::Error::other("a part is a file of its own"));
        };
        let saved = SavedPart {
            content: sealed.content,
            stored: millis(stored),
        };
        record_file::finish(&mut file, &saved)?;
        let order = self.order.fetch_add(1, Ordering::Relaxed);
        let folder = self.home.parts().join(id);
        let path = folder.join(format!("{PREFIX}{number:05}-{order:016x}{SUFFIX}"));
        file.persist(&path).map_err(|error| error.error)?;
        sync_folder(&folder)?;
        Ok(FilePart::new(path))
    }

    /// Ends an upload. Its parts are deleted when they are dropped, if they were discarded.
    pub(super) fn end(&self, id: &str) {
        let folder = self.home.parts().join(id);
        let removed = fs::remove_file(folder.join(UPLOAD));
        // Before the parts, so that no process finds an upload that lacks some.
        let removed = removed.and_then(|()| sync_folder(&folder));
        if let Err(error) = removed {
            tracing::debug!(%error, "failed to delete an ended multipart upload");
        }
        let _ = fs::remove_dir(folder);
    }
}

/// Milliseconds since the Unix epoch.
pub(super) fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

/// Whether a name is an upload ID of the emulator.
fn is_id(name: &str) -> bool {
    name.len() == 32
        && name
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b))
}

/// Parses the name of the file of a part.
fn number_and_order(name: &str) -> Option<(u16, u64)> {
    let name = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    let (number, order) = name.split_once('-')?;
    let order = u64::from_str_radix(order, 16).ok()?;
    Some((number.parse().ok()?, order))
}
