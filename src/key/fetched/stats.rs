//! Statistics of the key cache.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counters of a [`FetchedKeys`](super::FetchedKeys) since its creation, returned by
/// [`FetchedKeys::stats`](super::FetchedKeys::stats).
///
/// Lookups of pinned keys are not counted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct KeyStats {
    /// Lookups answered from the cache, including those answered with a stale key.
    pub hits: u64,
    /// Lookups answered with a key that is no longer fresh because its refresh failed.
    pub stale: u64,
    /// Fetches started, including second attempts.
    pub fetches: u64,
    /// Fetches that returned no accepted key.
    pub failures: u64,
    /// Lookups refused without a fetch, because the path failed recently or the budget was used up.
    pub refusals: u64,
    /// Fetches that returned a different key than before for the same URL.
    pub changes: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    hits: AtomicU64,
    stale: AtomicU64,
    fetches: AtomicU64,
    failures: AtomicU64,
    refusals: AtomicU64,
    changes: AtomicU64,
}

impl Counters {
    pub(super) fn hit(&self, stale: bool) {
        self.hits.fetch_add(1, Relaxed);
        if stale {
            self.stale.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn refusal(&self) {
        self.refusals.fetch_add(1, Relaxed);
    }

    pub(super) fn change(&self) {
        self.changes.fetch_add(1, Relaxed);
    }

    /// Counts a fetch, as a failed one unless [`FetchCount::succeeded`] is called.
    pub(super) fn fetch(&self) -> FetchCount<'_> {
        self.fetches.fetch_add(1, Relaxed);
        FetchCount(Some(&self.failures))
    }

    pub(super) fn snapshot(&self) -> KeyStats {
        KeyStats {
            hits: self.hits.load(Relaxed),
            stale: self.stale.load(Relaxed),
            fetches: self.fetches.load(Relaxed),
            failures: self.failures.load(Relaxed),
            refusals: self.refusals.load(Relaxed),
            changes: self.changes.load(Relaxed),
        }
    }
}

/// A guard, because a fetch may also be cancelled or panic.
#[must_use]
pub(super) struct FetchCount<'c>(Option<&'c AtomicU64>);

impl FetchCount<'_> {
    pub(super) fn succeeded(mut self) {
        self.0 = None;
    }
}

impl Drop for FetchCount<'_> {
    fn drop(&mut self) {
        if let Some(failures) = self.0 {
            failures.fetch_add(1, Relaxed);
        }
    }
}
