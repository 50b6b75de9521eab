//! The results of a pass, counted.

use std::{fmt, ops::AddAssign};

/// The results of a [pass](super::Recovery::tick) of a recovery. Each claimed row has one result,
/// so `claimed` is the sum of the others without `storage_requests`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct RecoverySummary {
    /// Rows that were due.
    pub claimed: u64,
    /// Uploads whose callback has reached the handler, which responded with success.
    pub recovered: u64,
    /// Grants under which nothing was stored, or whose object belongs to another grant.
    pub dropped: u64,
    /// Objects outside of their grant that are kept.
    pub orphans_kept: u64,
    /// Objects outside of their grant that were deleted.
    pub orphans_deleted: u64,
    /// Rows that are due again later, because it is unknown whether the object exists, the object
    /// can still be stored, another request handles the upload, or the ledger did not respond.
    pub deferred: u64,
    /// Uploads whose handler failed. They are due again later.
    pub failed: u64,
    /// Uploads that were given up.
    pub dead_letters: u64,
    /// Rows that another process has claimed meanwhile, that could not be changed because the
    /// ledger failed, or whose hook for dead letters did not return in time. They are due again
    /// when their claims expire.
    pub lost: u64,
    /// Requests to the storage.
    pub storage_requests: u64,
}

impl AddAssign for RecoverySummary {
    fn add_assign(&mut self, other: Self) {
        self.claimed += other.claimed;
        self.recovered += other.recovered;
        self.dropped += other.dropped;
        self.orphans_kept += other.orphans_kept;
        self.orphans_deleted += other.orphans_deleted;
        self.deferred += other.deferred;
        self.failed += other.failed;
        self.dead_letters += other.dead_letters;
        self.lost += other.lost;
        self.storage_requests += other.storage_requests;
    }
}

impl fmt::Display for RecoverySummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} claimed, {} recovered, {} dropped, {} orphans kept, {} orphans deleted, \
             {} deferred, {} failed, {} dead letters, {} lost",
            self.claimed,
            self.recovered,
            self.dropped,
            self.orphans_kept,
            self.orphans_deleted,
            self.deferred,
            self.failed,
            self.dead_letters,
            self.lost,
        )
    }
}
