//! Image processing: what `x-oss-process=image/…` makes of an object.
//!
//! Resize, crop, quality, format and info, for JPEG, PNG, WebP and GIF. Sources: the reference of
//! [resize], [crop], [quality], [format] and [info], and the pages of their EC.
//!
//! An image is decoded in memory, and its header decides how much that takes. So the limits of OSS
//! apply before it is decoded, then one of the emulator, and only [`MAX_CONCURRENT`] images are
//! processed at a time.
//!
//! [resize]: https://www.alibabacloud.com/help/en/oss/user-guide/resize-images-4
//! [crop]: https://www.alibabacloud.com/help/en/oss/user-guide/custom-crop
//! [quality]: https://www.alibabacloud.com/help/en/oss/user-guide/adjust-image-quality
//! [format]: https://www.alibabacloud.com/help/en/oss/user-guide/convert-image-formats-2
//! [info]: https://www.alibabacloud.com/help/en/oss/user-guide/query-the-exif-data-of-an-image

mod codec;
mod geometry;
mod jpeg;
mod limits;
mod steps;

use std::io::Cursor;

use bytes::Bytes;
use image::{DynamicImage, ImageDecoder as _, ImageReader};
use tokio::sync::Semaphore;

use crate::errors::{self, OssError};
use codec::Output;
use limits::{check_size, limits};
use steps::{Step, Steps};

use codec::Format;
pub(crate) use limits::MAX_SOURCE;

/// How many images are processed at a time.
const MAX_CONCURRENT: usize = 2;

static ROOM: Semaphore = Semaphore::const_new(MAX_CONCURRENT);

/// A processed image, or information about one.
pub(crate) struct Processed {
    pub(crate) content: Bytes,
    pub(crate) content_type: &'static str,
}

/// Processes an image on a blocking thread. `process` is the value of `x-oss-process`.
pub(crate) async fn process(source: Bytes, process: &str) -> Result<Processed, OssError> {
    let steps = steps::parse(process)?;
    let _room = ROOM.acquire().await.map_err(|_| errors::INTERNAL)?;
    let work = tokio::task::spawn_blocking(move || run(&source, &steps));
    work.await.map_err(|_| errors::INTERNAL)?
}

fn run(source: &Bytes, steps: &Steps) -> Result<Processed, OssError> {
    let reader = ImageReader::new(Cursor::new(source.clone()));
    let reader = reader.with_guessed_format().map_err(|_| errors::IMAGE)?;
    let format = reader.format().and_then(Format::of).ok_or(errors::IMAGE)?;
    let mut reader = reader;
    reader.limits(limits());
    let decoder = reader.into_decoder().map_err(|_| errors::IMAGE)?;
    let (width, height) = decoder.dimensions();
    check_size(width, height)?;

    let output = output(source, format, steps);
    let only_info = matches!(steps.all[..], [Step::Info]);
    let content = if only_info {
        source.clone()
    } else if format == Format::Gif && output.format == Format::Gif && !steps.is_static {
        codec::animate(source, &output, |frame| transform(frame, steps))?
    } else {
        let image = DynamicImage::from_decoder(decoder).map_err(|_| errors::IMAGE)?;
        codec::encode(&transform(image, steps)?, &output)?
    };
    if !steps.info {
        return Ok(Processed {
            content,
            content_type: output.format.content_type(),
        });
    }
    let size = ImageReader::new(Cursor::new(&content)).with_guessed_format();
    let size = size.ok().and_then(|reader| reader.into_dimensions().ok());
    let (width, height) = size.ok_or(errors::INTERNAL)?;
    let value = |value: String| serde_json::json!({ "value": value });
    let info = serde_json::json!({
        "FileSize": value(content.len().to_string()),
        "Format": value(output.format.name().to_owned()),
        "ImageHeight": value(height.to_string()),
        "ImageWidth": value(width.to_string()),
    });
    Ok(Processed {
        content: info.to_string().into(),
        content_type: "application/json",
    })
}

/// Chooses the format and the quality of the result.
fn output(source: &[u8], from: Format, steps: &Steps) -> Output {
    let format = match steps.format {
        // As on OSS, only a GIF can become a GIF.
        Some(Format::Gif) if from != Format::Gif => from,
        Some(format) => format,
        None => from,
    };
    let original = match from {
        Format::Jpeg => jpeg::quality(source).unwrap_or(jpeg::DEFAULT_QUALITY),
        _ => jpeg::DEFAULT_QUALITY,
    };
    let quality = match steps.quality {
        Some(steps::Quality::Absolute(quality)) if from == Format::Jpeg => quality.min(original),
        Some(steps::Quality::Absolute(quality)) => quality,
        Some(steps::Quality::Relative(percent)) => {
            let quality = u16::from(original) * u16::from(percent) / 100;
            u8::try_from(quality).unwrap_or(100).max(1)
        }
        None => original,
    };
    Output { format, quality }
}

fn transform(mut image: DynamicImage, steps: &Steps) -> Result<DynamicImage, OssError> {
    for step in &steps.all {
        match step {
            Step::Resize(resize) => {
                let plan = resize.plan(image.width(), image.height())?;
                image = plan.apply(image);
            }
            Step::Crop(crop) => {
                let area = crop.area(image.width(), image.height())?;
                image = image.crop_imm(area.x, area.y, area.width, area.height);
            }
            Step::Rotate(quarters) => {
                image = match quarters % 4 {
                    1 => image.rotate90(),
                    2 => image.rotate180(),
                    3 => image.rotate270(),
                    _ => image,
                }
            }
            Step::Info => {}
        }
    }
    Ok(image)
}

#[cfg(test)]
mod tests;
