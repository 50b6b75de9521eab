//! The format of the files of objects and parts: content, followed by a record.
//!
//! ```text
//! content, record as JSON, length of the record (8 bytes), MARK
//! ```

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::Path,
};

use serde::{Serialize, de::DeserializeOwned};
use tempfile::NamedTempFile;

const MARK: [u8; 8] = *b"oss-obj1";
/// Size of the record length and the mark, in bytes.
const TAIL: u64 = 16;
/// The longest record, in bytes.
///
/// A record contains a name, a type, at most 8 KiB of metadata, and headers from form fields, which
/// have at most 8 MiB in total.
const MAX_RECORD: u64 = 64 * 1024 * 1024;

/// A record, and the file that ends with it.
pub(super) struct Found<R> {
    pub(super) record: R,
    /// Positioned at its begin.
    pub(super) file: File,
    /// The size of the content, in bytes.
    pub(super) size: u64,
}

/// Reads the record of a file. Fails with `InvalidData` if there is none.
pub(super) fn read<R: DeserializeOwned>(path: &Path) -> io::Result<Found<R>> {
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
    let size = tail_at.checked_sub(record_length).ok_or_else(broken)?;
    file.seek(SeekFrom::Start(size))?;
    let mut text = Vec::new();
    (&file).take(record_length).read_to_end(&mut text)?;
    let record = serde_json::from_slice(&text).map_err(|_| broken())?;
    file.rewind()?;
    Ok(Found { record, file, size })
}

pub(super) fn broken() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the file is not an object of the emulator",
    )
}

/// Writes the record behind the content, and synchronizes the file.
pub(super) fn finish(file: &mut NamedTempFile, record: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_vec(record).map_err(io::Error::from)?;
    file.write_all(&text)?;
    file.write_all(&(text.len() as u64).to_be_bytes())?;
    file.write_all(&MARK)?;
    // Before the rename, or a power failure could leave the final name with a partial file.
    file.as_file().sync_all()
}
