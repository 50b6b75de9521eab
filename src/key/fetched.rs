//! Keys that are fetched when a callback first names them, and cached.
//!
//! [`state`] decides, without a clock and without I/O; [`cache`] runs what it decides.

mod cache;
mod state;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc, time::Duration};

use self::{cache::Cache, state::Limits};
use super::{
    https::{FetchKey, HttpsFetcher},
    public_key::PublicKey,
    source::{KeyError, KeySource, PinnedKeys},
    url::{KeyTable, KeyUrl},
};
use crate::Lookup;

pub use state::KeyStats;

/// A [`KeySource`] that fetches keys over the network when a callback first names them.
///
/// Only URLs in the [`KeyTable`] can be named, and the
/// [fetcher](FetchedKeysBuilder::fetcher) connects only to the host of the table. Pinned keys are
/// never fetched. Clones share one cache.
///
/// # A fetched key is never lost
///
/// A key is fresh for 24 h. After four fifths of that time, the next callback triggers a refresh in
/// the background. If the refresh fails, the key remains in use for 7 days after it was fresh, and
/// the host is asked again with increasing backoff. Only a different key from the same URL replaces
/// a key; failures and other URLs never do. Once the last successful fetch is 8 days old, callbacks
/// are rejected with status 503.
///
/// A signature that fails to verify may be a sign of a new key under the old URL, or of a forgery.
/// It triggers a fetch in the background at most once in 5 minutes, and changes nothing by itself.
///
/// # Limits
///
/// Senders of unverified requests choose which keys are looked up, so fetches are limited:
///
/// * One fetch of a path at a time, and two fetches in total.
/// * 10 fetches in any 60 s. Paths that have had a key, or that were passed to
///   [`warm_up`](Self::warm_up), have 2 more.
/// * A path whose fetch fails is not fetched for 30 s, or for 60 s if it has a key, in which case
///   no request waits for it. The backoff doubles with each consecutive failure, up to 10 minutes,
///   and varies by 20 %. It is at least 5 minutes after status 404 or 410, and at least as long as
///   `retry-after` requests, up to 10 minutes.
/// * The cache holds 64 paths, of which 8 can have a key. It holds every path of a custom table.
///
/// A flood of requests that name nonexistent keys can still delay the discovery of a new key. Pass
/// the new key to [`warm_up`](Self::warm_up), pin it, or require
/// [tickets](crate::OssCallbackLayer::tickets): a request without a valid ticket triggers no
/// lookup.
///
/// # Runtime
///
/// A fetch runs in a task on the tokio runtime of the first request that needs it, and continues if
/// that request is cancelled. If a request waits for a fetch that fails early, the fetch is tried a
/// second time. Before a callback names a key that is not pinned, nothing runs. The timer of the
/// runtime must be enabled.
///
/// If the runtime ends, or if nothing drives it any more, the fetch counts as lost after 32 s (16
/// times its time limit). The next request that needs the key then starts another one.
///
/// # Logging
///
/// Events have the target `tower_aliyun_oss::key`: `INFO` for a new key; `WARN` for a changed key,
/// for a failed fetch, and once a minute for refused fetches; `DEBUG` for everything else.
/// [`stats`](Self::stats) returns counters.
///
/// ```
/// use tower_aliyun_oss::{OssCallbackLayer, key::FetchedKeys};
///
/// // Version 1 is pinned. Other versions are fetched from https://gosspublic.alicdn.com.
/// let keys = FetchedKeys::new();
/// let layer = OssCallbackLayer::new().key_source(keys.clone());
/// assert_eq!(keys.stats().fetches, 0);
/// ```
#[derive(Clone)]
pub struct FetchedKeys {
    pinned: PinnedKeys,
    cache: Arc<Cache>,
}

impl FetchedKeys {
    /// Creates a source of the keys of OSS. Version 1 is [pinned](PinnedKeys::official), the others
    /// are fetched over HTTPS.
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Returns a builder with the settings of [`new`](Self::new).
    pub fn builder() -> FetchedKeysBuilder {
        FetchedKeysBuilder {
            pinned: PinnedKeys::official(),
            fetcher: Arc::new(HttpsFetcher::new()),
            limits: Limits::default(),
        }
    }

    /// Fetches these paths now, one after the other, so that no callback waits for them. Call it at
    /// start-up.
    ///
    /// Cached and pinned keys are not fetched. From now on, fetches of these paths can use the
    /// reserved part of the budget, 2 fetches a minute by default. No more than both parts
    /// together, 12 paths, can be fetched at once. If the returned future is dropped, the current
    /// fetch continues on the runtime.
    ///
    /// ```no_run
    /// # async fn f() -> Result<(), tower_aliyun_oss::key::KeyError> {
    /// # let keys = tower_aliyun_oss::key::FetchedKeys::new();
    /// keys.warm_up(["/callback_pub_key_v2.pem"]).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the first error, after trying all paths. [`KeyError::Unknown`] means that a path is
    /// not in the table.
    pub async fn warm_up<P: AsRef<str>>(
        &self,
        paths: impl IntoIterator<Item = P>,
    ) -> Result<(), KeyError> {
        let url = |path: P| KeyUrl::of_path(self.table(), path.as_ref());
        let urls: Vec<_> = paths.into_iter().map(url).collect();
        let known = urls.iter().flatten().map(KeyUrl::entry);
        self.cache.lock().expected.extend(known);
        let mut result = Ok(());
        for url in urls {
            let found = match url {
                Some(url) => self.key(&url).await.map(drop),
                None => Err(KeyError::Unknown),
            };
            result = result.and(found);
        }
        result
    }

    /// Returns the counters of this source and its clones.
    #[must_use]
    pub fn stats(&self) -> KeyStats {
        self.cache.stats()
    }
}

impl KeySource for FetchedKeys {
    fn table(&self) -> &KeyTable {
        self.pinned.table()
    }

    fn key(&self, url: &KeyUrl) -> Lookup<PublicKey, KeyError> {
        match self.pinned.key(url) {
            Lookup::Ready(Err(_)) if url.table() == self.table() => self.cache.key(url),
            pinned => pinned,
        }
    }

    fn signature_failed(&self, url: &KeyUrl) {
        if url.table() == self.table() && self.pinned.get(url.entry()).is_none() {
            self.cache.signature_failed(url);
        }
    }
}

impl Default for FetchedKeys {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for FetchedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FetchedKeys")
            .field("pinned", &self.pinned)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// Builder of [`FetchedKeys`], returned by [`FetchedKeys::builder`].
///
/// ```
/// use std::time::Duration;
/// use tower_aliyun_oss::key::FetchedKeys;
///
/// let keys = FetchedKeys::builder().fresh_for(Duration::from_secs(3600)).build();
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it builds"]
pub struct FetchedKeysBuilder {
    pinned: PinnedKeys,
    fetcher: Arc<dyn FetchKey>,
    limits: Limits,
}

impl FetchedKeysBuilder {
    /// Sets a custom host and its paths, none of them pinned. Fetched keys then need at least
    /// [1,024 bits](PinnedKeys::MIN_OWN_BITS).
    pub fn table(mut self, table: KeyTable) -> Self {
        // Entries of another table mean other keys.
        if table != *self.pinned.table() {
            self.pinned = PinnedKeys::none(table);
        }
        self
    }

    /// Sets the keys that are never fetched, and the [table](Self::table) to theirs. Defaults to
    /// [`PinnedKeys::official`].
    pub fn pinned(mut self, keys: PinnedKeys) -> Self {
        self.pinned = keys;
        self
    }

    /// Sets the fetcher. Defaults to [`HttpsFetcher::new`]. With another [`FetchKey`], keys are
    /// fetched through your client.
    pub fn fetcher(mut self, fetcher: impl FetchKey + 'static) -> Self {
        self.fetcher = Arc::new(fetcher);
        self
    }

    /// Sets how long a fetched key is fresh. Defaults to 24 h. The key is refreshed after four
    /// fifths of that time.
    pub fn fresh_for(mut self, time: Duration) -> Self {
        self.limits.fresh = time;
        self
    }

    /// Sets how long a key is used after it was fresh, while its refresh fails. Defaults to 7 days:
    /// with the 24 h before, 8 days after the last successful fetch.
    pub fn stale_for(mut self, time: Duration) -> Self {
        self.limits.stale = time;
        self
    }

    /// Sets the time limit of a fetch, including its second attempt. Defaults to 2 s. It applies to
    /// every fetcher, in addition to the fetcher's own limits.
    pub fn fetch_timeout(mut self, time: Duration) -> Self {
        self.limits.fetch_timeout = time;
        self
    }

    /// Sets how long a path is not fetched after a failure. Defaults to 30 s. It doubles with each
    /// consecutive failure, up to 20 times this value, and varies by 20 %. A path with a key starts
    /// with twice this value.
    pub fn cool_down(mut self, time: Duration) -> Self {
        self.limits.cool_down = time;
        self
    }

    /// Sets the number of fetches in any 60 s. Defaults to 10, and 2 more that are reserved for
    /// paths that have had a key or were passed to [`FetchedKeys::warm_up`].
    pub fn fetches_per_minute(mut self, anybody: usize, known: usize) -> Self {
        self.limits.per_minute = anybody;
        self.limits.reserved_per_minute = known;
        self
    }

    /// Builds the source. It connects to nothing until a key is looked up.
    #[must_use]
    pub fn build(mut self) -> FetchedKeys {
        if let Some(paths) = self.pinned.table().own_paths() {
            self.limits.keys = paths;
            self.limits.min_bits = PinnedKeys::MIN_OWN_BITS;
        }
        FetchedKeys {
            pinned: self.pinned,
            cache: Arc::new(Cache::new(self.limits, self.fetcher)),
        }
    }
}
