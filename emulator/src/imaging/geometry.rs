//! Sizes and areas of the actions `resize` and `crop`.

use image::{DynamicImage, Rgba, RgbaImage, imageops::FilterType};

use crate::errors::{self, OssError};

/// The widest and highest result, in pixels, as on OSS.
const MAX_TARGET_SIDE: f64 = 16_384.0;
/// The most pixels of a result, as on OSS.
const MAX_TARGET_PIXELS: u64 = 16_777_216;

/// How an image fits the size of `resize`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Mode {
    /// `lfit`: the largest image within.
    #[default]
    Within,
    /// `mfit`: the smallest image around.
    Around,
    /// `fill`: the smallest image around, cut in the middle.
    Fill,
    /// `pad`: the largest image within, in the middle of a colour.
    Pad,
    /// `fixed`: not in proportion.
    Fixed,
}

#[derive(Debug, PartialEq)]
pub(super) struct Resize {
    pub(super) mode: Mode,
    pub(super) width: Option<u32>,
    pub(super) height: Option<u32>,
    pub(super) longer: Option<u32>,
    pub(super) shorter: Option<u32>,
    pub(super) percent: Option<u32>,
    /// `limit_0`. By default an image that would grow stays as it is.
    pub(super) enlarges: bool,
    pub(super) color: [u8; 3],
}

impl Default for Resize {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            width: None,
            height: None,
            longer: None,
            shorter: None,
            percent: None,
            enlarges: false,
            color: [255; 3],
        }
    }
}

/// What `resize` does to an image of a certain size.
#[derive(Debug, PartialEq)]
pub(super) struct Plan {
    scaled: (u32, u32),
    /// The size of the result, with the scaled image in its middle.
    canvas: (u32, u32),
    color: [u8; 3],
}

impl Resize {
    pub(super) fn has_size(&self) -> bool {
        let sides = [self.width, self.height, self.longer, self.shorter];
        self.percent.is_some() || sides.iter().any(Option::is_some)
    }

    /// Plans for an image of this size.
    ///
    /// # Errors
    ///
    /// Fails if the result would be too large.
    pub(super) fn plan(&self, width: u32, height: u32) -> Result<Plan, OssError> {
        let (w, h) = (f64::from(width), f64::from(height));
        if let Some(percent) = self.percent {
            let scale = f64::from(percent) / 100.0;
            let size = (w * scale, h * scale);
            return self.of(size, size);
        }
        let is_wide = width >= height;
        let target_w = self
            .width
            .or(if is_wide { self.longer } else { self.shorter });
        let target_h = self
            .height
            .or(if is_wide { self.shorter } else { self.longer });
        let target_w = target_w.map(f64::from);
        let target_h = target_h.map(f64::from);
        let (by_width, by_height) = (target_w.map(|t| t / w), target_h.map(|t| t / h));
        let box_of = |scale: f64| (target_w.unwrap_or(w * scale), target_h.unwrap_or(h * scale));
        let (scaled, canvas) = match (self.mode, by_width, by_height) {
            (Mode::Fixed, _, _) => {
                // One side alone is that of a square.
                let side = target_w.or(target_h).unwrap_or(w);
                let size = (target_w.unwrap_or(side), target_h.unwrap_or(side));
                (size, size)
            }
            (_, Some(scale), None) | (_, None, Some(scale)) => {
                let size = (w * scale, h * scale);
                (size, size)
            }
            (mode, Some(by_width), Some(by_height)) => {
                let within = by_width.min(by_height);
                let around = by_width.max(by_height);
                let scaled = |scale: f64| (w * scale, h * scale);
                match mode {
                    Mode::Around => (scaled(around), scaled(around)),
                    Mode::Fill => (scaled(around), box_of(around)),
                    Mode::Pad => (scaled(within), box_of(within)),
                    Mode::Within | Mode::Fixed => (scaled(within), scaled(within)),
                }
            }
            (_, None, None) => ((w, h), (w, h)),
        };
        if !self.enlarges && (canvas.0.round() > w || canvas.1.round() > h) {
            return Ok(Plan {
                scaled: (width, height),
                canvas: (width, height),
                color: self.color,
            });
        }
        self.of(scaled, canvas)
    }

    fn of(&self, scaled: (f64, f64), canvas: (f64, f64)) -> Result<Plan, OssError> {
        Ok(Plan {
            // An image around the canvas is cut, so it may be wider or higher.
            scaled: whole(scaled)?,
            canvas: whole(canvas)?,
            color: self.color,
        })
    }
}

/// Rounds a size to whole pixels. Fails if it is larger than OSS allows.
fn whole((width, height): (f64, f64)) -> Result<(u32, u32), OssError> {
    let side = |side: f64| {
        let side = side.round().max(1.0);
        // Compared before the conversion, which is exact for whole numbers of this size.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        (side <= MAX_TARGET_SIDE).then_some(side as u32)
    };
    let (Some(width), Some(height)) = (side(width), side(height)) else {
        return Err(errors::IMAGE_TARGET);
    };
    match u64::from(width) * u64::from(height) <= MAX_TARGET_PIXELS {
        true => Ok((width, height)),
        false => Err(errors::IMAGE_TARGET),
    }
}

impl Plan {
    pub(super) fn apply(&self, image: DynamicImage) -> DynamicImage {
        let (width, height) = self.scaled;
        let scaled = match (image.width(), image.height()) == self.scaled {
            true => image,
            false => image.resize_exact(width, height, FilterType::CatmullRom),
        };
        let (canvas_w, canvas_h) = self.canvas;
        if self.canvas == self.scaled {
            return scaled;
        }
        if canvas_w <= width && canvas_h <= height {
            let (x, y) = ((width - canvas_w) / 2, (height - canvas_h) / 2);
            return scaled.crop_imm(x, y, canvas_w, canvas_h);
        }
        let [r, g, b] = self.color;
        let mut canvas = RgbaImage::from_pixel(canvas_w, canvas_h, Rgba([r, g, b, 255]));
        let middle = |outer: u32, inner: u32| (i64::from(outer) - i64::from(inner)) / 2;
        let (x, y) = (middle(canvas_w, width), middle(canvas_h, height));
        image::imageops::overlay(&mut canvas, &scaled, x, y);
        canvas.into()
    }
}

/// The corner or side from which `crop` counts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Gravity {
    /// 0 is left, 1 the middle, 2 right.
    column: u8,
    row: u8,
}

impl Gravity {
    pub(super) fn from_name(name: &str) -> Option<Self> {
        let names = [
            "nw", "north", "ne", "west", "center", "east", "sw", "south", "se",
        ];
        let at = names.iter().position(|known| *known == name)?;
        let at = u8::try_from(at).ok()?;
        Some(Self {
            column: at % 3,
            row: at / 3,
        })
    }
}

#[derive(Debug, Default, PartialEq)]
pub(super) struct Crop {
    /// 0 is as much as there is.
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) x: u32,
    pub(super) y: u32,
    pub(super) gravity: Gravity,
}

/// A rectangle within an image.
#[derive(Debug, PartialEq)]
pub(super) struct Area {
    pub(super) x: u32,
    pub(super) y: u32,
    pub(super) width: u32,
    pub(super) height: u32,
}

impl Crop {
    /// Returns the area in an image of this size, cut at its edges.
    ///
    /// # Errors
    ///
    /// Fails if the area begins outside of the image.
    pub(super) fn area(&self, width: u32, height: u32) -> Result<Area, OssError> {
        let (x, w) = span(width, self.width, self.x, self.gravity.column)?;
        let (y, h) = span(height, self.height, self.y, self.gravity.row)?;
        Ok(Area {
            x,
            y,
            width: w,
            height: h,
        })
    }
}

/// Returns begin and length along one side.
fn span(side: u32, length: u32, offset: u32, gravity: u8) -> Result<(u32, u32), OssError> {
    let length = match length {
        0 => side,
        length => length.min(side),
    };
    let origin = match gravity {
        0 => 0,
        1 => (side - length) / 2,
        _ => side - length,
    };
    let begin = origin.checked_add(offset).filter(|begin| *begin < side);
    let begin = begin.ok_or(errors::IMAGE_CROP_OUTSIDE)?;
    Ok((begin, length.min(side - begin)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(resize: &Resize) -> ((u32, u32), (u32, u32)) {
        let plan = resize.plan(200, 100).unwrap();
        (plan.scaled, plan.canvas)
    }

    fn to(mode: Mode, width: Option<u32>, height: Option<u32>) -> Resize {
        Resize {
            mode,
            width,
            height,
            ..Resize::default()
        }
    }

    /// The examples of the reference: 200 × 100 pixels, resized to 150 × 80.
    #[test]
    fn the_modes() {
        for (mode, scaled, canvas) in [
            (Mode::Within, (150, 75), (150, 75)),
            (Mode::Around, (160, 80), (160, 80)),
            (Mode::Fill, (160, 80), (150, 80)),
            (Mode::Pad, (150, 75), (150, 80)),
            (Mode::Fixed, (150, 80), (150, 80)),
        ] {
            let resize = to(mode, Some(150), Some(80));
            assert_eq!(size(&resize), (scaled, canvas), "{mode:?}");
        }
        assert_eq!(size(&to(Mode::Within, None, Some(50))).0, (100, 50));
        assert_eq!(size(&to(Mode::Fixed, None, Some(100))).0, (100, 100));
        let longer = Resize {
            longer: Some(100),
            ..Resize::default()
        };
        assert_eq!(size(&longer).0, (100, 50));
        let shorter = Resize {
            shorter: Some(50),
            ..Resize::default()
        };
        assert_eq!(size(&shorter).0, (100, 50));
    }

    #[test]
    fn images_grow_only_if_asked_to() {
        let mut resize = to(Mode::Within, Some(400), None);
        assert_eq!(size(&resize).0, (200, 100));
        resize.enlarges = true;
        assert_eq!(size(&resize).0, (400, 200));
        let percent = Resize {
            percent: Some(150),
            ..Resize::default()
        };
        assert_eq!(size(&percent).0, (300, 150));
        let mut huge = to(Mode::Fixed, Some(16_384), Some(16_384));
        huge.enlarges = true;
        let error = huge.plan(200, 100).unwrap_err();
        assert_eq!(error.ec(), Some("0040-00000007"));
    }

    #[test]
    fn areas() {
        let crop = |x, y, width, height, gravity: &str| Crop {
            x,
            y,
            width,
            height,
            gravity: Gravity::from_name(gravity).unwrap(),
        };
        let area = |crop: Crop| {
            let area = crop.area(400, 267).unwrap();
            (area.x, area.y, area.width, area.height)
        };
        assert_eq!(area(crop(100, 50, 0, 0, "nw")), (100, 50, 300, 217));
        assert_eq!(area(crop(100, 50, 100, 100, "nw")), (100, 50, 100, 100));
        assert_eq!(area(crop(0, 0, 200, 200, "se")), (200, 67, 200, 200));
        assert_eq!(area(crop(10, 10, 200, 200, "se")), (210, 77, 190, 190));
        assert_eq!(area(crop(0, 0, 200, 67, "center")), (100, 100, 200, 67));
        assert_eq!(area(crop(0, 0, 9000, 9000, "nw")), (0, 0, 400, 267));
        for outside in [crop(400, 0, 1, 1, "nw"), crop(1, 0, 0, 0, "se").then(400)] {
            let error = outside.area(400, 267).unwrap_err();
            assert_eq!(error.code(), "BadRequest");
        }
    }

    impl Crop {
        fn then(mut self, x: u32) -> Self {
            self.x = x;
            self
        }
    }
}
