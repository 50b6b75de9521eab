//! What both stores share: checksums and image properties of content, and their error.

use std::{
    fs::File,
    io::{self, BufRead, Read as _, Seek},
};

use bytes::Bytes;
use crc::{CRC_64_XZ, Crc, Digest as CrcDigest, Table};
use imagesize::{Compression, ImageType};
use md5::{Digest as _, Md5};

use crate::object::{Content, Image, ObjectKind, Record};

static CRC: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_XZ);

/// The largest object in a folder that is read as a whole, in bytes.
pub(super) const SMALL: u64 = 64 * 1024;

/// Reads the content of a file, which begins it.
pub(super) fn read_whole(file: File, size: u64) -> io::Result<Bytes> {
    let mut content = Vec::new();
    file.take(size).read_to_end(&mut content)?;
    match content.len() as u64 == size {
        true => Ok(content.into()),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Computes size, MD5 and CRC-64 of content as it is written.
pub(super) struct Digest {
    size: u64,
    md5: Md5,
    crc: CrcDigest<'static, u64, Table<16>>,
}

impl Digest {
    pub(super) fn new() -> Self {
        Self {
            size: 0,
            md5: Md5::new(),
            crc: CRC.digest(),
        }
    }

    pub(super) fn update(&mut self, data: &[u8]) {
        self.size += data.len() as u64;
        self.md5.update(data);
        self.crc.update(data);
    }

    pub(super) fn finish(self, image: Option<Image>) -> Content {
        Content {
            size: self.size,
            md5: self.md5.finalize().into(),
            parts: None,
            whole_md5: None,
            crc64: self.crc.finalize(),
            image,
        }
    }
}

/// Reads format and dimensions of an image. Returns `None` if the content is not in an image format
/// that OSS recognizes.
pub(super) fn measure(reader: &mut (impl BufRead + Seek)) -> Option<Image> {
    let kind = imagesize::reader_type(&mut *reader).ok()?;
    let format = match kind {
        ImageType::Bmp => "bmp",
        ImageType::Gif => "gif",
        ImageType::Heif(Compression::Av1) => "avif",
        ImageType::Heif(_) => "heic",
        ImageType::Jpeg => "jpg",
        ImageType::Png => "png",
        ImageType::Tiff => "tiff",
        ImageType::Webp => "webp",
        _ => return None,
    };
    // `reader_type` has consumed the magic bytes.
    reader.rewind().ok()?;
    let size = imagesize::reader_size(reader).ok()?;
    Some(Image {
        width: size.width as u64,
        height: size.height as u64,
        format: format.to_owned(),
    })
}

/// Continues a checksum with further content.
pub(super) fn resume_crc64(crc64: u64) -> CrcDigest<'static, u64, Table<16>> {
    // Undoes the last step of the checksum, and the reflection of the initial value.
    CRC.digest_with_initial((crc64 ^ CRC_64_XZ.xorout).reverse_bits())
}

/// What an object is before it grows.
pub(super) struct Growth {
    pub(super) size: u64,
    pub(super) crc64: u64,
    etag: [u8; 16],
}

impl Growth {
    /// Checks that an object, or none, can be appended to at a position.
    pub(super) fn of(record: Option<&Record>, at: u64) -> Result<Self, StoreError> {
        let growth = match record {
            None => Self {
                size: 0,
                crc64: 0,
                etag: [0; 16],
            },
            Some(record) if record.sealed().is_some() => return Err(StoreError::Sealed),
            Some(record) if record.kind == ObjectKind::Appendable => Self {
                size: record.content.size,
                crc64: record.content.crc64,
                etag: record.content.md5,
            },
            Some(_) => return Err(StoreError::NotAppendable),
        };
        match growth.size == at {
            true => Ok(growth),
            false => Err(StoreError::Position(growth.size)),
        }
    }

    /// Returns the content of the object with a piece behind it.
    ///
    /// OSS does not document the ETag. Its samples end in eight zeros.
    pub(super) fn content(&self, piece: &Content, crc64: u64) -> Content {
        let mut etag: [u8; 16] = Md5::new()
            .chain_update(self.etag)
            .chain_update(piece.md5)
            .finalize()
            .into();
        etag[12..].fill(0);
        Content {
            size: self.size + piece.size,
            md5: etag,
            parts: None,
            whole_md5: None,
            crc64,
            image: None,
        }
    }
}

/// Error of an upload to a store.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// [`Sealed::commit`](super::Sealed::commit) was called without `overwrite`.
    #[error("an object of this name exists")]
    Exists,
    #[error("the memory store is full")]
    Full,
    #[error("the bucket does not exist")]
    NoBucket,
    #[error("the object is not appendable")]
    NotAppendable,
    #[error("the object is sealed")]
    Sealed,
    /// The object has this size, which is not the position of the append.
    #[error("the position is not the size of the object, {0}")]
    Position(u64),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Runs blocking file operations on the blocking threads of tokio.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_values_of_both_sums() {
        let mut digest = Digest::new();
        digest.update(b"1234");
        digest.update(b"56789");
        let content = digest.finish(None);
        assert_eq!(content.crc64, 11_051_210_869_376_104_954);
        assert_eq!(content.etag(), "25F9E794323B453885F5181F1B624D0B");
        assert_eq!(content.size, 9);
    }

    #[test]
    fn a_checksum_goes_on_where_it_ended() {
        let mut first = CRC.digest();
        first.update(b"1234");
        let mut whole = resume_crc64(first.finalize());
        whole.update(b"56789");
        assert_eq!(whole.finalize(), 11_051_210_869_376_104_954);
        // An empty object.
        let mut whole = resume_crc64(0);
        whole.update(b"123456789");
        assert_eq!(whole.finalize(), 11_051_210_869_376_104_954);
    }
}
