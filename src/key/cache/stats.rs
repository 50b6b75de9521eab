//! What a cache has done so far.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What a [`FetchedKeys`](super::FetchedKeys) has done since it was made; see
/// [`FetchedKeys::stats`](super::FetchedKeys::stats).
///
/// Pinned keys are not counted: nothing is looked up for them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct KeyStats {
    /// Answers with a key that was at hand, stale ones among them.
    pub hits: u64,
    /// Answers with a key whose time is over, while it cannot be had anew.
    pub stale: u64,
    /// Fetches, the second attempts among them.
    pub fetches: u64,
    /// Fetches that brought no key.
    pub failures: u64,
    /// Answers without a key and without a fetch: the path had failed a short while ago, or there were too many fetches.
    pub refusals: u64,
    /// Fetches that brought another key than before under the same URL.
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

    pub(super) fn fetch(&self) {
        self.fetches.fetch_add(1, Relaxed);
    }

    pub(super) fn failure(&self) {
        self.failures.fetch_add(1, Relaxed);
    }

    pub(super) fn refusal(&self) {
        self.refusals.fetch_add(1, Relaxed);
    }

    pub(super) fn change(&self) {
        self.changes.fetch_add(1, Relaxed);
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
