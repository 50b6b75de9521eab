//! The results of claimed rows.

use super::summary::RecoverySummary;
use crate::{metrics, storage::StorageError};

/// The result of a row, which the ledger already has.
pub(super) enum Done {
    Recovered,
    Dropped,
    OrphanKept,
    OrphanDeleted,
    Deferred,
    /// Deferred, because it is unknown whether the object exists.
    Unknown(StorageError),
    Failed,
    DeadLetter,
    /// Another process has the row, or the ledger failed.
    Lost,
}

impl Done {
    /// The names in the metrics.
    pub(super) const NAMES: &'static [&'static str] = &[
        "Recovered",
        "Dropped",
        "OrphanKept",
        "OrphanDeleted",
        "Deferred",
        "Unknown",
        "Failed",
        "DeadLetter",
        "Lost",
    ];

    /// Returns the name in the metrics.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Recovered => "Recovered",
            Self::Dropped => "Dropped",
            Self::OrphanKept => "OrphanKept",
            Self::OrphanDeleted => "OrphanDeleted",
            Self::Deferred => "Deferred",
            Self::Unknown(_) => "Unknown",
            Self::Failed => "Failed",
            Self::DeadLetter => "DeadLetter",
            Self::Lost => "Lost",
        }
    }

    pub(super) fn count(&self, summary: &mut RecoverySummary) {
        *match self {
            Self::Recovered => &mut summary.recovered,
            Self::Dropped => &mut summary.dropped,
            Self::OrphanKept => &mut summary.orphans_kept,
            Self::OrphanDeleted => &mut summary.orphans_deleted,
            Self::Deferred | Self::Unknown(_) => &mut summary.deferred,
            Self::Failed => &mut summary.failed,
            Self::DeadLetter => &mut summary.dead_letters,
            Self::Lost => &mut summary.lost,
        } += 1;
    }
}

/// The results of the rows of one claim.
pub(super) struct Batch {
    pub(super) summary: RecoverySummary,
    /// The last failure of the storage.
    pub(super) unknown: Option<StorageError>,
    pub(super) all_unknown: bool,
    /// Whether the work on a row was started. Otherwise all of them were released.
    pub(super) started: bool,
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
            started: false,
        }
    }

    pub(super) fn count(&mut self, done: &Done) {
        self.all_unknown &= matches!(done, Done::Unknown(_));
        done.count(&mut self.summary);
        metrics::row_done(done.name());
    }
}
