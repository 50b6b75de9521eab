//! The parts of an upload: their size and their number.

use crate::{policy::error::PolicyError, protocol::SizeRange};

/// The largest number of parts that OSS accepts.
const MAX_PARTS: u64 = 10_000;

/// The smallest size of every part except the last, in bytes.
const MIN_PART: u64 = 100 * 1024;

/// The largest size of a part, in bytes.
const MAX_PART: u64 = SizeRange::FORM_LIMIT;

/// The default size of a part, in bytes: 67 seconds at 1 Mbit/s.
pub(super) const DEFAULT_PART: u64 = 8 << 20;

/// Part sizes above the preferred one are multiples of this.
const STEP: u64 = 1 << 20;

/// The parts of one upload.
///
/// Source: [multipart upload], limits.
///
/// [multipart upload]: https://www.alibabacloud.com/help/en/oss/user-guide/multipart-upload
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Plan {
    /// The size of the object and of each part but the last.
    Parts { size: u64, part: u64 },
    /// The client chooses the parts of an object of at most this size.
    AnyParts { max: u64 },
}

/// Who divides a file into parts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Divider {
    Service,
    /// Then no URL is for one length, and only the ticket bounds the size of the object.
    Client,
}

impl Plan {
    /// Divides an object into parts of the preferred size, or of larger ones if there would be more
    /// than 10,000.
    pub(super) fn new(size: u64, preferred: u64) -> Self {
        let least = size.div_ceil(MAX_PARTS);
        let part = if least <= preferred {
            preferred
        } else {
            // At most 5 GiB, because an object has at most 10,000 times as much.
            least.div_ceil(STEP).saturating_mul(STEP).min(MAX_PART)
        };
        Self::Parts { size, part }
    }

    /// Checks a size for [`new`](Self::new).
    pub(super) fn check(part: u64) -> Result<u64, PolicyError> {
        if (MIN_PART..=MAX_PART).contains(&part) {
            Ok(part)
        } else {
            Err(PolicyError::PartSize)
        }
    }

    /// Returns the highest part number. An empty object has one part.
    pub(super) fn count(self) -> u16 {
        let count = match self {
            Self::Parts { size, part } => size.div_ceil(part.max(1)),
            Self::AnyParts { max } => max.div_ceil(MIN_PART),
        };
        // At most 10,000.
        count.clamp(1, MAX_PARTS) as u16
    }

    /// Returns the length of a part, if it is known. The number must be one of the upload's.
    pub(super) fn length(self, number: u16) -> Option<u64> {
        match self {
            Self::Parts { size, part } => {
                let before = u64::from(number.saturating_sub(1)).saturating_mul(part);
                Some(size.saturating_sub(before).min(part))
            }
            Self::AnyParts { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn sizes_and_counts() {
        for (size, part, count) in [
            (0, 8 << 20, 1),
            (1, 8 << 20, 1),
            (8 << 20, 8 << 20, 1),
            ((8 << 20) + 1, 8 << 20, 2),
            (GIB, 8 << 20, 128),
            (10_000 * (8 << 20), 8 << 20, 10_000),
            (10_000 * (8 << 20) + 1, 9 << 20, 8889),
            (80 * GIB, 9 << 20, 9103),
            (1024 * GIB, 105 << 20, 9987),
            (SizeRange::LIMIT, 5 * GIB, 10_000),
        ] {
            let plan = Plan::new(size, DEFAULT_PART);
            assert_eq!(plan, Plan::Parts { size, part }, "{size}");
            assert_eq!(plan.count(), count, "{size}");
        }
        assert_eq!(Plan::AnyParts { max: 0 }.count(), 1);
        assert_eq!(Plan::AnyParts { max: GIB }.count(), 10_000);
        assert_eq!(Plan::AnyParts { max: 250_000 }.count(), 3);
        for (size, good) in [
            (MIN_PART - 1, false),
            (MIN_PART, true),
            (MAX_PART, true),
            (MAX_PART + 1, false),
            (0, false),
        ] {
            assert_eq!(Plan::check(size).is_ok(), good, "{size}");
        }
    }

    proptest! {
        #[test]
        fn the_parts_of_every_size_are_within_the_limits(
            size in 0..=SizeRange::LIMIT,
            preferred in MIN_PART..=MAX_PART,
        ) {
            let plan = Plan::new(size, preferred);
            let Plan::Parts { part, .. } = plan else { panic!() };
            prop_assert!((preferred..=MAX_PART).contains(&part));
            let count = plan.count();
            prop_assert!((1..=10_000).contains(&count));
            let last = plan.length(count).unwrap();
            prop_assert_eq!(u64::from(count - 1) * part + last, size);
            prop_assert!(last > 0 || size == 0);
            for number in [1, count / 2 + 1, count.saturating_sub(1).max(1)] {
                let length = plan.length(number).unwrap();
                prop_assert!(number == count || length == part);
            }
        }
    }
}
