//! What became of claimed rows.

use super::{row::Done, summary::RecoverySummary};
use crate::{metrics, storage::StorageError};

/// What became of the rows of one claim.
pub(super) struct Batch {
    pub(super) summary: RecoverySummary,
    /// The last failure of the storage.
    pub(super) unknown: Option<StorageError>,
    pub(super) all_unknown: bool,
}

impl Batch {
    pub(super) fn new(claimed: usize) -> Self {
        let claimed = u64::try_from(claimed).unwrap_or(u64::MAX);
        metrics::rows_due(claimed);
        Self {
            summary: RecoverySummary {
                claimed,
                ..RecoverySummary::default()
            },
            unknown: None,
            all_unknown: true,
        }
    }

    pub(super) fn count(&mut self, done: &Done) {
        self.all_unknown &= matches!(done, Done::Unknown(_));
        done.count(&mut self.summary);
        metrics::row_done(done.name());
    }
}
