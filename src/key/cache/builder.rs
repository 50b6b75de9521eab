//! The settings of a source.

use std::{fmt, sync::Arc, time::Duration};

use super::{
    super::{
        KeySource as _, KeyTable, PinnedKeys, PublicKey,
        fetch::{FetchKey, HttpsFetcher},
    },
    FetchedKeys,
    limits::Limits,
    shared::Shared,
};

/// Changes what a [`FetchedKeys`] takes; from [`FetchedKeys::builder`].
///
/// ```
/// use std::time::Duration;
/// use tower_aliyun_oss::key::FetchedKeys;
///
/// let keys = FetchedKeys::builder().fresh_for(Duration::from_secs(3600)).build();
/// ```
#[derive(Clone)]
#[must_use = "a builder does nothing until it builds"]
pub struct FetchedKeysBuilder {
    table: KeyTable,
    pinned: PinnedKeys,
    fetcher: Option<Arc<dyn FetchKey>>,
    limits: Limits,
    keys: Option<usize>,
}

impl FetchedKeysBuilder {
    pub(super) fn new() -> Self {
        Self {
            table: KeyTable::official(),
            pinned: PinnedKeys::official(),
            fetcher: None,
            limits: Limits::new(),
            keys: None,
        }
    }

    /// A host and paths of your own, of which no key is pinned. Keys fetched from them need
    /// [1,024 bits](PinnedKeys::MIN_OWN_BITS).
    pub fn table(mut self, table: KeyTable) -> Self {
        self.table = table;
        self
    }

    /// Keys that are never looked up, and with them their [table](Self::table);
    /// [`PinnedKeys::official`] by default.
    pub fn pinned(mut self, keys: PinnedKeys) -> Self {
        self.table = keys.table().clone();
        self.pinned = keys;
        self
    }

    /// What fetches; [`HttpsFetcher::new`] by default.
    pub fn fetcher(mut self, fetcher: impl FetchKey + 'static) -> Self {
        self.fetcher = Some(Arc::new(fetcher));
        self
    }

    /// How long a fetched key is fresh; 24 h by default. It is fetched anew once four fifths of that have passed.
    pub fn fresh_for(mut self, time: Duration) -> Self {
        self.limits.fresh = time;
        self
    }

    /// How long a key that is no longer fresh is used, while it cannot be fetched anew; 7 days by default, which with the
    /// 24 h before makes 8 days since the last good answer.
    pub fn stale_for(mut self, time: Duration) -> Self {
        self.limits.stale = time;
        self
    }

    /// How long a fetch may take, with a second attempt if there is one; 2 s by default. It cuts short whatever the
    /// fetcher does.
    pub fn fetch_timeout(mut self, time: Duration) -> Self {
        self.limits.fetch_timeout = time;
        self
    }

    /// How long a path is left alone when its fetch has failed; 30 s by default. It doubles with each failure in a row,
    /// up to 20 times as much, and is spread by 20 % either way. A path that has a key starts at twice as much.
    pub fn cool_down(mut self, time: Duration) -> Self {
        self.limits.cool_down = time;
        self.limits.longest_cool_down = time.saturating_mul(20);
        self
    }

    /// How many fetches there may be in any 60 s; 10 by default, and 2 more for paths that have had a key or were named
    /// to [`FetchedKeys::warm_up`].
    pub fn fetches_per_minute(mut self, anybody: usize, known: usize) -> Self {
        self.limits.per_minute = anybody;
        self.limits.reserved_per_minute = known;
        self
    }

    /// How many fetched keys are kept; 8 by default, or all that a table of your own names. When all of them are good,
    /// one more is not kept.
    pub fn max_keys(mut self, keys: usize) -> Self {
        self.keys = Some(keys);
        self
    }

    /// The source. Nothing runs, and nothing is connected to, before a key is asked for.
    #[must_use]
    pub fn build(self) -> FetchedKeys {
        let mut limits = self.limits;
        limits.keys = self
            .keys
            .or_else(|| self.table.own_paths())
            .unwrap_or(limits.keys);
        let min_bits = match self.table.is_official() {
            true => PublicKey::MIN_BITS,
            false => PinnedKeys::MIN_OWN_BITS,
        };
        let fetcher = self
            .fetcher
            .unwrap_or_else(|| Arc::new(HttpsFetcher::new()));
        let pinned = match self.table == *self.pinned.table() {
            true => self.pinned,
            false => PinnedKeys::none(self.table.clone()),
        };
        FetchedKeys {
            shared: Arc::new(Shared::new(limits, fetcher, min_bits)),
            table: self.table,
            pinned,
        }
    }
}

impl fmt::Debug for FetchedKeysBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FetchedKeysBuilder")
            .field("table", &self.table)
            .field("pinned", &self.pinned)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_what_is_set() {
        let builder = FetchedKeys::builder();
        let shown = format!("{builder:?}");
        assert!(shown.starts_with("FetchedKeysBuilder { table: KeyTable"));
        assert!(shown.contains("limits: Limits"));
        let shown = format!("{:?}", builder.build());
        assert!(shown.starts_with("FetchedKeys { table: KeyTable"));
        assert!(shown.contains("stats: KeyStats"));
    }
}
