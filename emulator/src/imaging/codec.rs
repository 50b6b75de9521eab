//! Formats of images: what they are called, and how they are written.

use std::io::Cursor;

use bytes::Bytes;
use image::{
    AnimationDecoder as _, DynamicImage, Frame, ImageFormat, Rgb, RgbImage,
    codecs::{
        gif::{GifDecoder, GifEncoder, Repeat},
        jpeg::JpegEncoder,
    },
};

use super::limits::{MAX_PIXELS, limits};
use crate::errors::{self, OssError};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Format {
    Gif,
    Jpeg,
    Png,
    WebP,
}

impl Format {
    pub(super) fn of(format: ImageFormat) -> Option<Self> {
        match format {
            ImageFormat::Gif => Some(Self::Gif),
            ImageFormat::Jpeg => Some(Self::Jpeg),
            ImageFormat::Png => Some(Self::Png),
            ImageFormat::WebP => Some(Self::WebP),
            _ => None,
        }
    }

    /// Returns the name as OSS spells it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Gif => "gif",
            Self::Jpeg => "jpg",
            Self::Png => "png",
            Self::WebP => "webp",
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Gif => "image/gif",
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::WebP => "image/webp",
        }
    }
}

/// How the result is written.
pub(super) struct Output {
    pub(super) format: Format,
    /// Of a JPEG, 1 to 100. WebP is written without loss.
    pub(super) quality: u8,
}

/// Writes an image.
pub(super) fn encode(image: &DynamicImage, output: &Output) -> Result<Bytes, OssError> {
    let mut content = Vec::new();
    let written = match output.format {
        Format::Jpeg => {
            let encoder = JpegEncoder::new_with_quality(&mut content, output.quality);
            opaque(image).write_with_encoder(encoder)
        }
        Format::WebP => {
            // The encoder knows 8 bits per channel only.
            let image = match image.color().has_alpha() {
                true => DynamicImage::from(image.to_rgba8()),
                false => DynamicImage::from(image.to_rgb8()),
            };
            image.write_to(&mut Cursor::new(&mut content), ImageFormat::WebP)
        }
        Format::Png => image.write_to(&mut Cursor::new(&mut content), ImageFormat::Png),
        Format::Gif => {
            let mut encoder = GifEncoder::new(&mut content);
            encoder.encode_frame(Frame::new(image.to_rgba8()))
        }
    };
    match written {
        Ok(()) => Ok(content.into()),
        Err(_) => Err(errors::INTERNAL),
    }
}

/// Puts an image on white, as OSS does for JPEG.
fn opaque(image: &DynamicImage) -> DynamicImage {
    if !image.color().has_alpha() {
        return DynamicImage::from(image.to_rgb8());
    }
    let image = image.to_rgba8();
    let flat = RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let [r, g, b, alpha] = image.get_pixel(x, y).0;
        let blend = |channel: u8| {
            let mixed = u16::from(channel) * u16::from(alpha) + 255 * (255 - u16::from(alpha));
            u8::try_from(mixed / 255).unwrap_or(u8::MAX)
        };
        Rgb([blend(r), blend(g), blend(b)])
    });
    flat.into()
}

/// Changes every frame of a GIF. One frame is in memory at a time.
pub(super) fn animate(
    source: &Bytes,
    output: &Output,
    change: impl Fn(DynamicImage) -> Result<DynamicImage, OssError>,
) -> Result<Bytes, OssError> {
    debug_assert_eq!(output.format, Format::Gif);
    let mut decoder = GifDecoder::new(Cursor::new(source)).map_err(|_| errors::IMAGE)?;
    image::ImageDecoder::set_limits(&mut decoder, limits()).map_err(|_| errors::IMAGE)?;
    let mut content = Vec::new();
    {
        let mut encoder = GifEncoder::new_with_speed(&mut content, 10);
        encoder
            .set_repeat(Repeat::Infinite)
            .map_err(|_| errors::INTERNAL)?;
        let mut pixels = 0;
        for frame in decoder.into_frames() {
            let frame = frame.map_err(|_| errors::IMAGE)?;
            let delay = frame.delay();
            let image = DynamicImage::from(frame.into_buffer());
            pixels += u64::from(image.width()) * u64::from(image.height());
            if pixels > MAX_PIXELS {
                return Err(errors::IMAGE_PIXELS);
            }
            let changed = change(image)?.to_rgba8();
            let frame = Frame::from_parts(changed, 0, 0, delay);
            encoder.encode_frame(frame).map_err(|_| errors::INTERNAL)?;
        }
    }
    Ok(content.into())
}
