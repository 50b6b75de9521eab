//! How large an upload may be.

use std::{error::Error, fmt};

/// The sizes an upload may have, in bytes, both ends included: the `content-length-range` of a policy.
///
/// OSS takes at most 5 GiB in one form upload ([PostObject]).
///
/// ```
/// use tower_aliyun_oss::protocol::SizeRange;
///
/// let range = SizeRange::new(1, 10 * 1024 * 1024)?;
/// assert!(range.contains(1) && !range.contains(0));
/// assert!(SizeRange::new(2, 1).is_err());
/// # Ok::<(), tower_aliyun_oss::protocol::SizeRangeError>(())
/// ```
///
/// [PostObject]: https://www.alibabacloud.com/help/en/oss/developer-reference/postobject
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct SizeRange {
    min: u64,
    max: u64,
}

impl SizeRange {
    /// The largest form upload OSS takes: 5 GiB.
    pub const LIMIT: u64 = 5 * 1024 * 1024 * 1024;

    /// From `min` to `max` bytes.
    ///
    /// # Errors
    ///
    /// When `min` is above `max`, which OSS would refuse with EC 0006-00000219, or `max` above [`Self::LIMIT`].
    pub const fn new(min: u64, max: u64) -> Result<Self, SizeRangeError> {
        if min > max {
            return Err(SizeRangeError::Reversed);
        }
        if max > Self::LIMIT {
            return Err(SizeRangeError::TooLarge);
        }
        Ok(Self { min, max })
    }

    /// The smallest size, in bytes.
    #[must_use]
    pub const fn min(&self) -> u64 {
        self.min
    }

    /// The largest size, in bytes.
    #[must_use]
    pub const fn max(&self) -> u64 {
        self.max
    }

    /// Whether an upload of `size` bytes is within the range.
    #[must_use]
    pub const fn contains(&self, size: u64) -> bool {
        self.min <= size && size <= self.max
    }
}

/// Why two numbers are not a range of sizes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SizeRangeError {
    /// The smallest size is above the largest.
    Reversed,
    /// The largest size is above what OSS takes in one form upload.
    TooLarge,
}

impl fmt::Display for SizeRangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reversed => {
                "the smallest size is above the largest; oss refuses such a content-length-range (EC 0006-00000219)"
            }
            Self::TooLarge => "the largest size is above the 5 GiB that oss takes in one form upload",
        })
    }
}

impl Error for SizeRangeError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let one = SizeRange::new(7, 7).unwrap();
        assert!(one.contains(7) && !one.contains(6) && !one.contains(8));
        assert_eq!(
            SizeRange::new(0, SizeRange::LIMIT).unwrap().max(),
            5_368_709_120
        );
        assert_eq!(
            SizeRange::new(0, SizeRange::LIMIT + 1),
            Err(SizeRangeError::TooLarge)
        );
        assert_eq!(SizeRange::new(u64::MAX, 0), Err(SizeRangeError::Reversed));
        assert_eq!(SizeRange::new(0, u64::MAX), Err(SizeRangeError::TooLarge));
    }
}
