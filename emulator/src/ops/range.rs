//! Ranges of bytes: the headers `Range` and `x-oss-copy-source-range`.

use std::ops::RangeInclusive;

use http::HeaderValue;

/// What a header requests of an object.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Requested {
    All,
    Range(RangeInclusive<u64>),
    Unsatisfiable,
}

impl Requested {
    /// Parses one range of bytes.
    ///
    /// Any other header, several ranges included, is ignored (RFC 9110 section 14.2). So is one
    /// whose last byte lies behind the object, unless the request has `x-oss-range-behavior:
    /// standard`: see `GetObjectTest` of aliyun-oss-java-sdk and `TestGetObjectRangeBehavior` of
    /// aliyun-oss-go-sdk.
    pub(super) fn parse(range: &HeaderValue, size: u64, standard: bool) -> Self {
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            // Digits beyond u64 are a valid position, which lies behind the end of any object.
            digits.then(|| text.parse::<u64>().unwrap_or(u64::MAX))
        };
        let parsed = range
            .to_str()
            .ok()
            .and_then(|text| text.strip_prefix("bytes="))
            .and_then(|text| text.split_once('-'));
        let (from, to) = match parsed {
            // `-N` is the last N bytes.
            Some(("", last)) => match number(last) {
                Some(last) => (size.saturating_sub(last), u64::MAX),
                None => return Self::All,
            },
            Some((from, "")) => match number(from) {
                Some(from) => (from, u64::MAX),
                None => return Self::All,
            },
            Some((from, to)) => match (number(from), number(to)) {
                (Some(from), Some(to)) if from <= to && (standard || to < size) => (from, to),
                _ => return Self::All,
            },
            None => return Self::All,
        };
        match size.checked_sub(1) {
            // `DownloadFileTest` of aliyun-oss-java-sdk.
            None if from == 0 && !standard => Self::All,
            Some(last) if from <= last => Self::Range(from..=to.min(last)),
            _ => Self::Unsatisfiable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &'static str, size: u64, standard: bool) -> Requested {
        Requested::parse(&HeaderValue::from_static(text), size, standard)
    }

    #[test]
    fn ranges() {
        for standard in [false, true] {
            let of = |text, size| parse(text, size, standard);
            assert_eq!(of("bytes=0-0", 10), Requested::Range(0..=0));
            assert_eq!(of("bytes=2-", 10), Requested::Range(2..=9));
            assert_eq!(of("bytes=-3", 10), Requested::Range(7..=9));
            assert_eq!(of("bytes=-30", 10), Requested::Range(0..=9));
            assert_eq!(of("bytes=10-", 10), Requested::Unsatisfiable);
            assert_eq!(of("bytes=-0", 10), Requested::Unsatisfiable);
            assert_eq!(of("bytes=1-", 0), Requested::Unsatisfiable);
            for odd in [
                "",
                "bytes",
                "bytes=",
                "bytes=-",
                "bytes=a-b",
                "bytes=3-1",
                "items=0-1",
                "bytes=0-1,3-4",
            ] {
                assert_eq!(of(odd, 10), Requested::All, "{odd}");
            }
        }
    }

    #[test]
    fn ranges_of_an_empty_object() {
        for range in ["bytes=0-", "bytes=-1", "bytes=-0"] {
            assert_eq!(parse(range, 0, false), Requested::All, "{range}");
            assert_eq!(parse(range, 0, true), Requested::Unsatisfiable, "{range}");
        }
        assert_eq!(parse("bytes=0-0", 0, false), Requested::All);
    }

    #[test]
    fn ranges_that_end_behind_the_object() {
        for (range, expected) in [
            ("bytes=5-99999999999999999999", Requested::Range(5..=9)),
            ("bytes=0-10", Requested::Range(0..=9)),
            ("bytes=10-20", Requested::Unsatisfiable),
        ] {
            assert_eq!(parse(range, 10, false), Requested::All, "{range}");
            assert_eq!(parse(range, 10, true), expected, "{range}");
        }
    }
}
