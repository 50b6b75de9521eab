//! What both stores share: checksums and image properties of content, and their error.

use std::io::{self, BufRead, Seek};

use crc::{CRC_64_XZ, Crc, Digest as CrcDigest, Table};
use imagesize::{Compression, ImageType};
use md5::{Digest as _, Md5};

use crate::object::{Content, Image};

static CRC: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_XZ);

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
}
