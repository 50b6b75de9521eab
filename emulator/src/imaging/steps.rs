//! The value of `x-oss-process`: `image/resize,w_100/quality,q_80`.

use super::{
    codec::Format,
    geometry::{Crop, Gravity, Mode, Resize},
};
use crate::errors::{self, OssError};

/// How many actions one request may have. OSS documents no limit.
const MAX_STEPS: usize = 20;

/// Actions of OSS that the emulator does not implement.
const OTHERS: [&str; 13] = [
    "auto-orient",
    "average-hue",
    "blind-watermark",
    "blur",
    "bright",
    "circle",
    "contrast",
    "indexcrop",
    "interlace",
    "rounded-corners",
    "sharpen",
    "slim",
    "watermark",
];

/// The actions of a request.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Steps {
    /// What changes the pixels, and `info`, in order.
    pub(super) all: Vec<Step>,
    pub(super) format: Option<Format>,
    pub(super) quality: Option<Quality>,
    pub(super) info: bool,
    /// Whether an animation becomes its first frame.
    pub(super) is_static: bool,
}

#[derive(Debug, PartialEq)]
pub(super) enum Step {
    Resize(Resize),
    Crop(Crop),
    /// Clockwise, by this many quarters of a turn.
    Rotate(u32),
    Info,
}

/// The quality of a JPEG, in percent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Quality {
    /// `q`: of that of the source.
    Relative(u8),
    /// `Q`: at most.
    Absolute(u8),
}

/// Parses the actions.
pub(super) fn parse(process: &str) -> Result<Steps, OssError> {
    let Some(actions) = process.strip_prefix("image/") else {
        return Err(errors::PROCESS);
    };
    let mut steps = Steps::default();
    for (at, action) in actions.split('/').enumerate() {
        if at == MAX_STEPS {
            return Err(errors::IMAGE_ARGUMENT);
        }
        let mut parts = action.split(',').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let parameters: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
        match name {
            "resize" => {
                let resize = resize(&parameters)?;
                steps.is_static |= resize.percent.is_some();
                steps.all.push(Step::Resize(resize));
            }
            "crop" => steps.all.push(Step::Crop(crop(&parameters)?)),
            "rotate" => steps.all.push(Step::Rotate(quarters(&parameters)?)),
            "quality" => steps.quality = Some(quality(&parameters)?),
            "format" => steps.format = Some(format(&parameters)?),
            "info" => {
                steps.info = true;
                steps.all.push(Step::Info);
            }
            other if OTHERS.contains(&other) => return Err(errors::IMAGE_ACTION_MISSING),
            _ => return Err(errors::IMAGE_ACTION),
        }
    }
    Ok(steps)
}

/// Splits `w_100` into name and value.
fn pair(parameter: &str) -> Result<(&str, &str), OssError> {
    parameter.split_once('_').ok_or(errors::IMAGE_ARGUMENT)
}

/// Parses a number that is at most `most`.
fn number(text: &str, least: u32, most: u32, invalid: OssError) -> Result<u32, OssError> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = text.parse().ok().filter(|_| digits);
    let number = number.filter(|number| (least..=most).contains(number));
    number.ok_or(invalid)
}

fn resize(parameters: &[&str]) -> Result<Resize, OssError> {
    const MAX: u32 = 16_384;
    let mut resize = Resize::default();
    for parameter in parameters {
        let (name, value) = pair(parameter)?;
        let side = || number(value, 1, MAX, errors::IMAGE_RESIZE).map(Some);
        match name {
            "w" => resize.width = side()?,
            "h" => resize.height = side()?,
            "l" => resize.longer = side()?,
            "s" => resize.shorter = side()?,
            "p" => resize.percent = Some(number(value, 1, 1000, errors::IMAGE_RESIZE)?),
            "limit" => {
                let limit = number(value, 0, 1, errors::IMAGE_RESIZE)?;
                resize.enlarges = limit == 0;
            }
            "color" => resize.color = color(value)?,
            "m" => {
                resize.mode = match value {
                    "lfit" => Mode::Within,
                    "mfit" => Mode::Around,
                    "fill" => Mode::Fill,
                    "pad" => Mode::Pad,
                    "fixed" => Mode::Fixed,
                    _ => return Err(errors::IMAGE_RESIZE),
                }
            }
            _ => return Err(errors::IMAGE_RESIZE),
        }
    }
    match resize.has_size() {
        true => Ok(resize),
        false => Err(errors::IMAGE_RESIZE),
    }
}

fn color(value: &str) -> Result<[u8; 3], OssError> {
    let value = value.strip_prefix('#').unwrap_or(value);
    let mut color = [0; 3];
    base16ct::mixed::decode(value, &mut color)
        .ok()
        .filter(|color| color.len() == 3)
        .ok_or(errors::IMAGE_RESIZE)?;
    Ok(color)
}

fn crop(parameters: &[&str]) -> Result<Crop, OssError> {
    let mut crop = Crop::default();
    for parameter in parameters {
        let (name, value) = pair(parameter)?;
        match name {
            "w" => crop.width = number(value, 0, u32::MAX, errors::IMAGE_CROP_WIDTH)?,
            "h" => crop.height = number(value, 0, u32::MAX, errors::IMAGE_CROP_HEIGHT)?,
            "x" => crop.x = number(value, 0, u32::MAX, errors::IMAGE_ARGUMENT)?,
            "y" => crop.y = number(value, 0, u32::MAX, errors::IMAGE_ARGUMENT)?,
            "g" => crop.gravity = Gravity::from_name(value).ok_or(errors::IMAGE_CROP_GRAVITY)?,
            // The tests of the SDKs send it, and the reference does not know it.
            "r" => {}
            _ => return Err(errors::IMAGE_ARGUMENT),
        }
    }
    Ok(crop)
}

/// Parses an angle. OSS rotates by any, the emulator by quarters of a turn.
fn quarters(parameters: &[&str]) -> Result<u32, OssError> {
    let [angle] = parameters else {
        return Err(errors::IMAGE_ARGUMENT);
    };
    match number(angle, 0, 360, errors::IMAGE_ARGUMENT)? {
        angle if angle % 90 == 0 => Ok(angle / 90),
        _ => Err(errors::IMAGE_ANGLE),
    }
}

fn quality(parameters: &[&str]) -> Result<Quality, OssError> {
    let mut quality = None;
    for parameter in parameters {
        let (name, value) = pair(parameter)?;
        let percent = number(value, 1, 100, errors::IMAGE_ARGUMENT)?;
        let percent = u8::try_from(percent).map_err(|_| errors::IMAGE_ARGUMENT)?;
        quality = match (name, quality) {
            ("Q", _) => Some(Quality::Absolute(percent)),
            // `Q` takes precedence.
            ("q", Some(Quality::Absolute(_))) => quality,
            ("q", _) => Some(Quality::Relative(percent)),
            _ => return Err(errors::IMAGE_ARGUMENT),
        };
    }
    quality.ok_or(errors::IMAGE_ARGUMENT)
}

fn format(parameters: &[&str]) -> Result<Format, OssError> {
    match parameters {
        ["jpg" | "jpeg"] => Ok(Format::Jpeg),
        ["png"] => Ok(Format::Png),
        ["webp"] => Ok(Format::WebP),
        ["gif"] => Ok(Format::Gif),
        ["bmp" | "tiff" | "heic" | "heif" | "avif"] => Err(errors::IMAGE_FORMAT_MISSING),
        _ => Err(errors::IMAGE_FORMAT),
    }
}
