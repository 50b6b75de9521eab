//! Rows that a ledger removes before a recovery has taken them.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::metrics;

/// Reports open rows that expired. A ledger has one of these.
#[derive(Debug, Default)]
pub(crate) struct ExpiredRows {
    logged: AtomicBool,
}

impl ExpiredRows {
    /// Counts removed rows. The first ones are logged as a warning: without a recovery, every call
    /// can remove some.
    pub(crate) fn removed(&self, rows: u64) {
        if rows == 0 {
            return;
        }
        metrics::rows_expired(rows);
        if self.logged.swap(true, Relaxed) {
            tracing::debug!(rows, "open rows expired before a recovery took them");
        } else {
            tracing::warn!(
                rows,
                "open rows expired before a recovery took them, and their uploads are forgotten; run \
                 a Recovery at least once in seven days"
            );
        }
    }
}
