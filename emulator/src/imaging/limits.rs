//! Limits of images: those of OSS, and those that bound the memory of the emulator.

use image::Limits;

use crate::errors::{self, OssError};

/// The largest source, in bytes, as on OSS.
pub(crate) const MAX_SOURCE: u64 = 20 * 1024 * 1024;
/// The widest and highest source, in pixels, as on OSS.
const MAX_SIDE: u32 = 30_000;
/// The most pixels of a source, those of all its frames together, as on OSS.
pub(super) const MAX_PIXELS: u64 = 250_000_000;
/// The most pixels of a frame that the emulator decodes: 256 MiB of memory.
const MAX_DECODED: u64 = 64 * 1024 * 1024;
/// The most memory that a decoder may take, in bytes.
const MAX_MEMORY: u64 = 512 * 1024 * 1024;
/// Returns the limits of a decoder.
pub(super) fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_MEMORY);
    limits
}

/// Checks the size of a frame before it is decoded.
pub(super) fn check_size(width: u32, height: u32) -> Result<(), OssError> {
    let pixels = u64::from(width) * u64::from(height);
    if width > MAX_SIDE || height > MAX_SIDE || pixels > MAX_PIXELS {
        return Err(errors::IMAGE_PIXELS);
    }
    if pixels > MAX_DECODED {
        return Err(errors::IMAGE_MEMORY);
    }
    Ok(())
}
