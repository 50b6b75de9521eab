//! The quality of a JPEG, which its file does not contain: what `quality,q_90` is relative to.

/// The quality of results whose source is no JPEG, or one without a common table.
pub(super) const DEFAULT_QUALITY: u8 = 75;

/// The sum of the luminance table that quality 50 has (ITU T.81, table K.1).
const STANDARD_SUM: u32 = 3687;

/// Estimates the quality with which a JPEG was written, from 1 to 100.
///
/// libjpeg and its descendants scale the standard table by the quality. So the sum of the table in
/// the file tells it, up to rounding.
pub(super) fn quality(file: &[u8]) -> Option<u8> {
    let sum = luminance_sum(file)?;
    let scale = (sum * 100 + STANDARD_SUM / 2) / STANDARD_SUM;
    let quality = match scale {
        0..=100 => (200 - scale) / 2,
        scale => 5000 / scale,
    };
    u8::try_from(quality.clamp(1, 100)).ok()
}

/// Finds the first quantization table, and returns its sum.
fn luminance_sum(file: &[u8]) -> Option<u32> {
    let mut rest = file.strip_prefix(b"\xff\xd8")?;
    loop {
        let [0xff, marker, high, low, ..] = *rest else {
            return None;
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let segment = rest.get(4..2 + length)?;
        match marker {
            0xdb => {
                let (kind, table) = segment.split_first()?;
                // The high half of the byte is the precision, 0 for 8 bits.
                return match kind {
                    0x00 => Some(table.get(..64)?.iter().map(|b| u32::from(*b)).sum()),
                    _ => None,
                };
            }
            // The image data begins, so there is no table.
            0xda | 0xd9 => return None,
            _ => rest = rest.get(2 + length..)?,
        }
    }
}
