//! The numbers of a cache.

use std::time::Duration;

use super::super::fetch::{FetchError, FetchErrorKind};

#[derive(Clone, Debug)]
pub(super) struct Limits {
    pub(super) fresh: Duration,
    pub(super) stale: Duration,
    pub(super) fetch_timeout: Duration,
    pub(super) cool_down: Duration,
    pub(super) longest_cool_down: Duration,
    pub(super) missing: Duration,
    pub(super) look_again: Duration,
    pub(super) per_minute: usize,
    pub(super) reserved_per_minute: usize,
    pub(super) keys: usize,
    pub(super) failing: usize,
    pub(super) at_once: usize,
}

impl Limits {
    pub(super) const fn new() -> Self {
        Self {
            fresh: Duration::from_secs(24 * 3600),
            stale: Duration::from_secs(7 * 24 * 3600),
            fetch_timeout: Duration::from_secs(2),
            cool_down: Duration::from_secs(30),
            longest_cool_down: Duration::from_secs(600),
            missing: Duration::from_secs(300),
            look_again: Duration::from_secs(300),
            per_minute: 10,
            reserved_per_minute: 2,
            keys: 8,
            failing: 64,
            at_once: 2,
        }
    }

    /// When a key is looked for again although it is still fresh.
    pub(super) fn refresh_after(&self) -> Duration {
        self.fresh / 5 * 4
    }

    /// How long a flight may be silent, waiting for a slot or after it has one, before it counts as lost. Generous: all
    /// that can be ahead of it in any minute, and then ten times as long as it may take.
    pub(super) fn patience(&self) -> Duration {
        let ahead = self.per_minute.saturating_add(self.reserved_per_minute) / self.at_once.max(1);
        let times = u32::try_from(ahead).unwrap_or(u32::MAX).saturating_add(10);
        self.fetch_timeout.saturating_mul(times)
    }

    /// How long a path is left alone after so many failures in a row; `chance` is spread evenly over `u32`.
    pub(super) fn pause(&self, failures: u32, error: &FetchError, chance: u32) -> Duration {
        let doubled = self
            .cool_down
            .saturating_mul(1 << failures.saturating_sub(1).min(16))
            .min(self.longest_cool_down);
        // From 80 % to 120 %, in thousandths.
        let thousandths = 800 + u32::try_from((u64::from(chance) * 401) >> 32).unwrap_or_default();
        let spread = doubled.saturating_mul(thousandths) / 1000;
        let told = error
            .retry_after()
            .unwrap_or_default()
            .min(self.longest_cool_down);
        let absent = match (error.kind(), error.status().map(|status| status.as_u16())) {
            (FetchErrorKind::Status, Some(404 | 410)) => self.missing,
            _ => Duration::ZERO,
        };
        spread.max(told).max(absent)
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn pauses_grow_and_are_spread() {
        let limits = Limits::new();
        let lost = FetchError::new(FetchErrorKind::Connect);
        let pause = |failures, chance| limits.pause(failures, &lost, chance).as_secs();
        assert_eq!(
            [1, 2, 3, 5, 6, u32::MAX].map(|n| pause(n, u32::MAX / 2)),
            [30, 60, 120, 480, 600, 600]
        );
        assert_eq!([pause(1, 0), pause(1, u32::MAX)], [24, 36]);
        assert_eq!([pause(9, 0), pause(9, u32::MAX)], [480, 720]);
    }

    #[test]
    fn times_that_follow_from_others() {
        let limits = Limits::new();
        assert_eq!(limits.refresh_after().as_secs(), 24 * 3600 * 4 / 5);
        // Twelve in a minute, two at once, and ten times two seconds.
        assert_eq!(limits.patience().as_secs(), 12 / 2 * 2 + 10 * 2);
    }

    #[test]
    fn what_the_server_says_counts_up_to_the_cap() {
        let limits = Limits::new();
        let told = |seconds| {
            let error = FetchError::from_status(StatusCode::TOO_MANY_REQUESTS)
                .with_retry_after(Duration::from_secs(seconds));
            limits.pause(1, &error, u32::MAX / 2).as_secs()
        };
        assert_eq!([told(5), told(100), told(u64::MAX)], [30, 100, 600]);
        let absent = FetchError::from_status(StatusCode::NOT_FOUND);
        assert_eq!(limits.pause(1, &absent, 0).as_secs(), 300);
    }
}
