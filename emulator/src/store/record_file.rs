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

use serde::Serialize;
use tempfile::NamedTempFile;

const MARK: [u8; 8] = *b"oss-obj1";
/// Size of the record length and the mark, in bytes.
const TAIL: usize = 16;
/// How much of the end of a file is read at once, in bytes. Most records fit.
const END: u64 = 4096;
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

/// Reads the record of a file. Fails with `InvalidData` if the file has none, or if `parse`
/// cannot read it.
pub(super) fn read<R>(
    path: &Path,
    parse: impl Fn(&[u8]) -> serde_json::Result<R>,
) -> io::Result<Found<R>> {
    // Not a link, for example.
    if !fs::symlink_metadata(path)?.is_file() {
        return Err(broken());
    }
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut end = vec![0; usize::try_from(length.min(END)).map_err(io::Error::other)?];
    file.seek(SeekFrom::Start(length - end.len() as u64))?;
    file.read_exact(&mut end)?;
    let (end, tail) = end.split_last_chunk::<TAIL>().ok_or_else(broken)?;
    let (record_length, mark) = tail.split_at(8);
    // Bounded, because a damaged length must not allocate the memory of the machine.
    let record_length = u64::from_be_bytes(record_length.try_into().map_err(|_| broken())?);
    if mark != MARK || record_length > MAX_RECORD {
        return Err(broken());
    }
    let size = (length - TAIL as u64).checked_sub(record_length);
    let size = size.ok_or_else(broken)?;
    let begin = usize::try_from(record_length).ok();
    let record = match begin.and_then(|length| end.len().checked_sub(length)) {
        Some(begin) => parse(&end[begin..]),
        None => {
            let mut text = Vec::new();
            file.seek(SeekFrom::Start(size))?;
            (&file).take(record_length).read_to_end(&mut text)?;
            parse(&text)
        }
    };
    let record = record.map_err(|_| broken())?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_any_size_is_found_behind_its_content() {
        let folder = tempfile::tempdir().unwrap();
        // As JSON, a text has two quotes more. With the tail, 4078 is the longest that is read at
        // once.
        for record in [0, 1, 4077, 4078, 4079, 10_000] {
            for content in [0, 1, 4096, 5000] {
                let mut file = NamedTempFile::new_in(&folder).unwrap();
                file.write_all(&vec![b'c'; content]).unwrap();
                finish(&mut file, &"r".repeat(record)).unwrap();
                let parse = |text: &[u8]| serde_json::from_slice::<String>(text);
                let mut found = read(file.path(), parse).unwrap();
                assert_eq!(found.record, "r".repeat(record));
                assert_eq!(found.size, content as u64);
                let mut text = Vec::new();
                found.file.read_to_end(&mut text).unwrap();
                assert!(text.starts_with(&vec![b'c'; content]));

                let length = file.as_file().metadata().unwrap().len();
                for shorter in [0, 1, 15, 16, length - 1] {
                    file.as_file().set_len(shorter).unwrap();
                    let error = read(file.path(), parse).err().unwrap();
                    assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{shorter}");
                }
            }
        }
    }
}
