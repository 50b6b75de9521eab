//! Counting the open rows of a ledger, for the metrics.

#![cfg_attr(
    not(feature = "metrics"),
    allow(
        unused_variables,
        clippy::unused_async,
        clippy::unused_self,
        clippy::needless_pass_by_ref_mut
    )
)]

#[cfg(feature = "metrics")]
use std::future::IntoFuture as _;
use std::time::Duration;

#[cfg(feature = "metrics")]
use tokio::time::{Instant, timeout};

#[cfg(feature = "metrics")]
use super::row::TARGET;
#[cfg(feature = "metrics")]
use crate::metrics;
use crate::ticket::ledger::UploadLedger;

/// The least time between two counts. Redis needs one call for each shard.
#[cfg(feature = "metrics")]
const INTERVAL: Duration = Duration::from_secs(60);

/// When the open rows were counted.
#[derive(Default)]
pub(super) struct OpenRows {
    #[cfg(feature = "metrics")]
    counted: Option<Instant>,
}

impl OpenRows {
    /// Counts the rows, unless that was less than a minute ago. Takes at most `limit`. A failure
    /// has no consequence: the next pass reports that the ledger fails.
    pub(super) async fn count(&mut self, ledger: &dyn UploadLedger, limit: Duration) {
        #[cfg(feature = "metrics")]
        {
            if self.counted.is_some_and(|at| at.elapsed() < INTERVAL) {
                return;
            }
            self.counted = Some(Instant::now());
            match timeout(limit, ledger.open_rows().into_future()).await {
                Ok(Ok(rows)) => metrics::rows_open(rows),
                Ok(Err(error)) => {
                    tracing::debug!(target: TARGET, %error, "the ledger cannot count its rows");
                }
                Err(_) => tracing::debug!(target: TARGET, "the ledger counts its rows too slowly"),
            }
        }
    }
}
