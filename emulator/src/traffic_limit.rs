//! `x-oss-traffic-limit`: how fast one connection may transfer an object.
//!
//! It limits the bodies of uploads and of `GetObject`. Copies transfer nothing here, so it has no
//! effect on them. Source: [single-connection bandwidth throttling].
//!
//! [single-connection bandwidth throttling]: https://www.alibabacloud.com/help/en/oss/user-guide/single-connection-bandwidth-throttling

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::errors::{self, OssError};

/// The header, query parameter and form field.
pub(crate) const NAME: &str = "x-oss-traffic-limit";

/// In bits per second: 30 KiB and 100 MiB. The minimum was once 100 KiB. The tests of `ali-oss` use
/// less.
const MIN: u64 = 245_760;
const MAX: u64 = 838_860_800;

/// A limit that a request asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct TrafficLimit {
    bytes_per_second: u64,
}

impl TrafficLimit {
    /// Reads the values of the header and of the query parameter, of which a request may have one.
    pub(crate) fn of(header: Option<&str>, query: Option<&str>) -> Result<Option<Self>, OssError> {
        match (header, query) {
            (None, None) => Ok(None),
            (Some(text), None) | (None, Some(text)) => Self::parse(text).map(Some),
            (Some(_), Some(_)) => Err(errors::TRAFFIC_LIMIT_TWICE),
        }
    }

    fn parse(text: &str) -> Result<Self, OssError> {
        let bits = text.parse().ok().filter(|bits| (MIN..=MAX).contains(bits));
        let bits: u64 = bits.ok_or_else(|| errors::TRAFFIC_LIMIT.argument(NAME, text))?;
        Ok(Self {
            bytes_per_second: bits / 8,
        })
    }

    /// Starts to count.
    pub(crate) fn begin(self) -> Pace {
        Pace {
            limit: self,
            begun: Instant::now(),
            bytes: 0,
        }
    }
}

/// How much of a body was transferred since when.
#[derive(Debug)]
pub(crate) struct Pace {
    limit: TrafficLimit,
    begun: Instant,
    bytes: u64,
}

impl Pace {
    /// Counts `bytes` more, and returns when so many may have been transferred.
    pub(crate) fn due(&mut self, bytes: usize) -> Instant {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        // Exact for bodies of 5 GiB, the largest: the product is far below the limit of `u64`.
        let nanos = self.bytes.saturating_mul(1_000_000_000) / self.limit.bytes_per_second;
        self.begun + Duration::from_nanos(nanos)
    }

    /// Waits until `bytes` more may have been transferred, and returns how long that takes.
    pub(crate) async fn wait(&mut self, bytes: usize) -> Duration {
        let due = self.due(bytes);
        let delay = due.saturating_duration_since(Instant::now());
        sleep_until(due).await;
        delay
    }

    /// How much to send at a time: a tenth of a second, so that a client sees steady progress.
    pub(crate) fn piece(&self) -> usize {
        usize::try_from(self.limit.bytes_per_second / 10).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_requests() {
        let bytes = |header, query| {
            TrafficLimit::of(header, query).map(|limit| limit.map(|l| l.bytes_per_second))
        };
        assert_eq!(bytes(None, None).unwrap(), None);
        assert_eq!(bytes(Some("245760"), None).unwrap(), Some(30_720));
        assert_eq!(bytes(Some("819200"), None).unwrap(), Some(102_400));
        assert_eq!(bytes(None, Some("838860800")).unwrap(), Some(104_857_600));
        for text in ["", "0", "-1", "245759", "838860801", "1e6", "819200.0"] {
            let error = bytes(Some(text), None).unwrap_err();
            assert_eq!(error.code(), "InvalidArgument", "{text}");
        }
        assert!(bytes(Some("819200"), Some("819200")).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_pace_is_kept_over_all_pieces() {
        let limit = TrafficLimit::parse("819200").unwrap();
        let begun = Instant::now();
        let mut pace = limit.begin();
        for _ in 0..10 {
            pace.wait(102_400).await;
        }
        assert_eq!(begun.elapsed(), Duration::from_secs(10));
        assert_eq!(pace.piece(), 10_240);
        // The largest body at the lowest limit.
        pace.due(5 * 1024 * 1024 * 1024);
    }
}
