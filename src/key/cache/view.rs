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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::PinnedKeys;

    #[test]
    fn a_look_waits_for_both_times() {
        let key = PinnedKeys::official().get(1).unwrap().clone();
        let at = Duration::from_secs;
        for (refresh, suspect, quiet) in [(1, 3, 2), (3, 1, 2), (2, 2, 3), (2, 2, 2)] {
            let shown = Shown {
                entry: 2,
                key: key.clone(),
                refresh_at: at(refresh),
                fresh_until: at(5),
                stale_until: at(6),
                quiet_until: at(quiet),
                unsuspected_until: at(suspect),
            };
            for now in 0..5 {
                assert_eq!(shown.wants_refresh(at(now)), now >= refresh.max(quiet));
                assert_eq!(shown.may_be_suspected(at(now)), now >= suspect.max(quiet));
            }
        }
    }
}
