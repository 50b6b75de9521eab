//! What a request sees of the cache without waiting for anybody.

use std::time::Duration;

use super::super::PublicKey;

#[derive(Clone, Debug, Default)]
pub(super) struct View(pub(super) Vec<Shown>);

#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub(super) entry: u16,
    pub(super) key: PublicKey,
    pub(super) refresh_at: Duration,
    pub(super) fresh_until: Duration,
    pub(super) stale_until: Duration,
    /// Nobody needs to ask for another look before; while there is one, not before it would count as lost.
    pub(super) quiet_until: Duration,
    /// The same, for looks because of a signature.
    pub(super) unsuspected_until: Duration,
}

impl View {
    pub(super) fn get(&self, entry: u16) -> Option<&Shown> {
        self.0.iter().find(|shown| shown.entry == entry)
    }
}

impl Shown {
    pub(super) fn wants_refresh(&self, now: Duration) -> bool {
        now >= self.refresh_at && now >= self.quiet_until
    }

    pub(super) fn may_be_suspected(&self, now: Duration) -> bool {
        now >= self.unsuspected_until && now >= self.quiet_until
    }
}
