//! The settings of a recovery.

use std::{sync::Arc, time::Duration};

use super::hooks::{DeadLetterHook, OrphanHook};
use crate::{storage::ObjectStorage, ticket::Tickets};

/// The pause of an upload if it is unknown whether its object exists.
const UNKNOWN_PAUSE: Duration = Duration::from_secs(5 * 60);

/// The largest batch. Redis sends it in one response.
pub(super) const MAX_BATCH: usize = 1000;

/// The longest attempt. Half of the time for which an expired row is kept, so that one whose
/// process dies is due again before it is freed.
pub(super) const MAX_ATTEMPT: Duration = Duration::from_secs(24 * 60 * 60);

/// How long the hook for dead letters and the last call of the ledger may take after an attempt
/// that took its whole time, and how long a shutdown releases rows.
pub(super) const LAST_STEPS: Duration = Duration::from_secs(10);

/// The part of [`LAST_STEPS`] that the hook leaves to the ledger.
pub(super) const LAST_CALL: Duration = Duration::from_secs(2);

/// How many rows a shutdown releases at the same time.
pub(super) const RELEASES: usize = 128;

/// How long a claim lasts at most if each row takes its whole time, unless one row takes longer.
/// Rows that are not started by then are released.
const LONGEST_CLAIM: Duration = Duration::from_secs(60 * 60);

/// How much longer a claim lasts than the work on its rows. Half of it is for clocks that differ.
const MARGIN: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub(super) struct Settings {
    pub(super) tickets: Tickets,
    pub(super) storage: Arc<dyn ObjectStorage>,
    /// Starts with a slash, and does not end with one.
    pub(super) proxy_prefix: Option<Arc<str>>,
    pub(super) on_orphan: OrphanHook,
    pub(super) on_dead_letter: DeadLetterHook,
    pub(super) interval: Duration,
    pub(super) batch: usize,
    pub(super) concurrency: usize,
    pub(super) max_attempts: u32,
    pub(super) attempt_timeout: Duration,
    pub(super) storage_timeout: Duration,
    pub(super) clock_difference: Duration,
    pub(super) first_pause: Duration,
    pub(super) longest_pause: Duration,
}

impl Settings {
    /// Returns the pause after this many attempts.
    pub(super) fn back_off(&self, attempts: u32) -> Duration {
        let doublings = attempts.saturating_sub(1).min(31);
        let pause = self.first_pause.saturating_mul(1 << doublings);
        jitter(pause.min(self.longest_pause))
    }

    pub(super) fn unknown_pause(&self) -> Duration {
        jitter(UNKNOWN_PAUSE)
    }

    /// Returns how long the work on one row takes at most.
    pub(super) fn row_time(&self) -> Duration {
        self.attempt_timeout.saturating_add(LAST_STEPS)
    }

    /// Returns how long a batch can take, and a claim therefore lasts, up to [`LONGEST_CLAIM`].
    pub(super) fn visibility(&self) -> Duration {
        let rounds = u32::try_from(self.batch.div_ceil(self.concurrency)).unwrap_or(u32::MAX);
        let rounds = self.row_time().saturating_mul(rounds);
        let longest = LONGEST_CLAIM.max(self.row_time());
        rounds.min(longest).saturating_add(MARGIN)
    }

    /// Returns how long after its claim the work on a row can start. Later, another process could
    /// claim the row before the work ends.
    pub(super) fn latest_start(&self) -> Duration {
        let needed = self.row_time().saturating_add(MARGIN / 2);
        self.visibility().saturating_sub(needed)
    }
}

/// Shortens or lengthens a pause by up to a quarter, so that the instances, and the rows that
/// failed together, do not all come back at once.
pub(super) fn jitter(pause: Duration) -> Duration {
    let mut random = [0; 2];
    // Without random numbers, the pause is as it was.
    if getrandom::fill(&mut random).is_err() {
        return pause;
    }
    let random = u32::from(u16::from_be_bytes(random));
    let more = (pause / 2).mul_f64(f64::from(random) / 65_536.0);
    (pause - pause / 4).saturating_add(more)
}

/// Returns a random number that is less than `end`, or 0.
pub(super) fn random_below(end: usize) -> usize {
    let mut random = [0; size_of::<usize>()];
    // Without random numbers, the order is as it was.
    if getrandom::fill(&mut random).is_err() {
        return 0;
    }
    usize::from_be_bytes(random).checked_rem(end).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_changes_by_at_most_a_quarter() {
        let pause = Duration::from_secs(100);
        for _ in 0..1000 {
            let changed = jitter(pause).as_secs();
            assert!((75..=125).contains(&changed), "{changed}");
        }
        assert_eq!(jitter(Duration::ZERO), Duration::ZERO);
        for _ in 0..100 {
            assert!(jitter(Duration::MAX) >= Duration::MAX / 4 * 3);
        }
    }
}
