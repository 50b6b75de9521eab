//! Limits and intervals of the key cache.

use std::time::Duration;

use crate::key::https::{FetchError, FetchErrorKind};

#[derive(Clone, Debug)]
pub(super) struct Limits {
    pub(super) fresh: Duration,
    /// How long a key is used after it is no longer fresh.
    pub(super) stale: Duration,
    pub(super) fetch_timeout: Duration,
    /// The first backoff after a failed fetch. It doubles with each further failure.
    pub(super) cool_down: Duration,
    pub(super) longest_cool_down: Duration,
    /// The minimum backoff after status 404 or 410.
    pub(super) not_found: Duration,
    /// The minimum time between two fetches of a key that failed signatures trigger.
    pub(super) recheck: Duration,
    pub(super) per_minute: usize,
    pub(super) reserved_per_minute: usize,
    pub(super) keys: usize,
    pub(super) failed_paths: usize,
    pub(super) concurrent: usize,
}

impl Limits {
    pub(super) const fn new() -> Self {
        Self {
            fresh: Duration::from_secs(24 * 3600),
            stale: Duration::from_secs(7 * 24 * 3600),
            fetch_timeout: Duration::from_secs(2),
            cool_down: Duration::from_secs(30),
            longest_cool_down: Duration::from_secs(600),
            not_found: Duration::from_secs(300),
            recheck: Duration::from_secs(300),
            per_minute: 10,
            reserved_per_minute: 2,
            keys: 8,
            failed_paths: 64,
            concurrent: 2,
        }
    }

    /// The age at which a key is refreshed although it is still fresh.
    pub(super) fn refresh_after(&self) -> Duration {
        self.fresh / 5 * 4
    }

    /// The age at which a key is no longer used.
    pub(super) fn expires_after(&self) -> Duration {
        self.fresh.saturating_add(self.stale)
    }

    /// How long a fetch may go without a sign of life before it counts as lost.
    ///
    /// Generous, because a fetch that waits for a slot is silent too: everything that can be ahead
    /// of it in any minute, plus ten times its own time limit.
    pub(super) fn lost_after(&self) -> Duration {
        let ahead =
            self.per_minute.saturating_add(self.reserved_per_minute) / self.concurrent.max(1);
        let times = u32::try_from(ahead).unwrap_or(u32::MAX).saturating_add(10);
        self.fetch_timeout.saturating_mul(times)
    }

    /// How long a path is not fetched after this many consecutive failures.
    ///
    /// `random` is uniform over `u32` and spreads the backoff, so that machines which failed
    /// together do not retry together.
    pub(super) fn backoff(&self, failures: u32, error: &FetchError, random: u32) -> Duration {
        let doubled = self
            .cool_down
            .saturating_mul(1 << failures.saturating_sub(1).min(16))
            .min(self.longest_cool_down);
        // From 80 % to 120 %, in thousandths.
        let thousandths = 800 + u32::try_from((u64::from(random) * 401) >> 32).unwrap_or_default();
        let spread = doubled.saturating_mul(thousandths) / 1000;
        // The host may ask for more time, but not lock the key out for longer than we would.
        let requested = error
            .retry_after()
            .unwrap_or_default()
            .min(self.longest_cool_down);
        let not_found = match (error.kind(), error.status().map(|status| status.as_u16())) {
            (FetchErrorKind::Status, Some(404 | 410)) => self.not_found,
            _ => Duration::ZERO,
        };
        spread.max(requested).max(not_found)
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn pauses_grow_and_are_spread() {
        let limits = Limits::new();
        let error = FetchError::new(FetchErrorKind::Connect);
        let backoff = |failures, random| limits.backoff(failures, &error, random).as_secs();
        assert_eq!(
            [1, 2, 3, 5, 6, u32::MAX].map(|n| backoff(n, u32::MAX / 2)),
            [30, 60, 120, 480, 600, 600]
        );
        assert_eq!([backoff(1, 0), backoff(1, u32::MAX)], [24, 36]);
        assert_eq!([backoff(9, 0), backoff(9, u32::MAX)], [480, 720]);
    }

    #[test]
    fn times_that_follow_from_others() {
        let limits = Limits::new();
        assert_eq!(limits.refresh_after().as_secs(), 24 * 3600 * 4 / 5);
        // Twelve in a minute, two at once, and ten times two seconds.
        assert_eq!(limits.lost_after().as_secs(), 12 / 2 * 2 + 10 * 2);
    }

    #[test]
    fn what_the_server_says_counts_up_to_the_cap() {
        let limits = Limits::new();
        let requested = |seconds| {
            let error = FetchError::from_status(StatusCode::TOO_MANY_REQUESTS)
                .with_retry_after(Duration::from_secs(seconds));
            limits.backoff(1, &error, u32::MAX / 2).as_secs()
        };
        assert_eq!(
            [requested(5), requested(100), requested(u64::MAX)],
            [30, 100, 600]
        );
        let not_found = FetchError::from_status(StatusCode::NOT_FOUND);
        assert_eq!(limits.backoff(1, &not_found, 0).as_secs(), 300);
    }
}
