//! Keys that are fetched when they are first named, and kept.

mod answer;
mod book;
mod budget;
mod builder;
mod failing;
mod flight;
mod flights;
mod limits;
mod shared;
mod stats;
#[cfg(test)]
mod tests;
mod view;

use std::{fmt, sync::Arc};

use self::shared::Shared;
use super::{KeyError, KeyLookup, KeySource, KeyTable, KeyUrl, PinnedKeys};

pub use builder::FetchedKeysBuilder;
pub use stats::KeyStats;

/// Keys that are fetched over the network when a callback first names them; those that are pinned never are.
///
/// What can be named is what the [`KeyTable`] holds, and what is connected to is the table's own host, by the
/// [fetcher](FetchedKeysBuilder::fetcher). A clone shares all with what it was cloned from.
///
/// # A key once fetched is never lost
///
/// It is fresh for 24 h. Once four fifths of that have passed, the next callback has it fetched anew in the background.
/// When that fails the key stays, for 7 days after it was fresh, and the host is asked again after ever longer pauses. Only
/// another key from the same URL takes its place, never a failure and never another URL. Callbacks are answered with 503
/// once the last good answer of the host is 8 days old.
///
/// A signature that does not match may be a sign of a new key under the old URL, or of a forger. It has the key looked
/// for in the background at most once in 5 minutes, and changes nothing by itself.
///
/// # What a stranger can make it do
///
/// Whoever sends a request chooses what is looked up, so that is bounded: one fetch of a path at a time, two in all; 10
/// of them in any 60 s, and 2 more for paths that have had a key (or were named to [`warm_up`](Self::warm_up)). A path
/// that fails is left alone for 30 s (60 s if it has a key, for which nobody waits), twice as long each time up to
/// 10 minutes, give or take 20 %; for at least 5 minutes when it is answered with 404 or 410; and for as long as
/// `retry-after` says, up to 10 minutes. 8 keys and 64 failed paths are remembered (all keys of a table of your own).
/// Still, a flood of requests that name keys which do not exist can keep a new key from being found: name it to
/// [`warm_up`](Self::warm_up), pin it, or ask for [tickets](crate::OssCallbackLayer::tickets), without which then nothing
/// is looked up at all.
///
/// A fetch runs in a task of its own on the runtime of the first request that wanted it; it is not cut short when that
/// request is given up. While a request waits for it, a fetch that fails at once is tried a second time. Nothing runs,
/// and nothing is connected to, before a callback names a key that is not pinned.
///
/// That runtime has to go on running until the fetch has ended. When nobody drives it any more, the fetch counts as lost
/// after 32 s, ten times its limit and what may be ahead of it, and the next request that asks has another one made.
///
/// # In the log
///
/// Under the target `tower_aliyun_oss::key`: `INFO` for a new key; `WARN` for a key that has changed, for a failed fetch,
/// and once a minute for fetches that were refused; `DEBUG` for the rest. [`stats`](Self::stats) has the numbers.
///
/// ```
/// use tower_aliyun_oss::{OssCallbackLayer, key::FetchedKeys};
///
/// // Version 1 is pinned, any other is fetched from https://gosspublic.alicdn.com when a callback names it.
/// let keys = FetchedKeys::new();
/// let layer = OssCallbackLayer::new().key_source(keys.clone());
/// assert_eq!(keys.stats().fetches, 0);
/// ```
#[derive(Clone)]
pub struct FetchedKeys {
    table: KeyTable,
    pinned: PinnedKeys,
    shared: Arc<Shared>,
}

impl FetchedKeys {
    /// The keys of OSS: version 1 is [pinned](PinnedKeys::official), the others are fetched over https.
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// To change what [`new`](Self::new) takes.
    pub fn builder() -> FetchedKeysBuilder {
        FetchedKeysBuilder::new()
    }

    /// Fetches these paths now, one after the other, so that no callback has to wait for them; to be called at start-up.
    ///
    /// Nothing is done for a key that is at hand. From now on fetches of these paths have a share of their own in what is
    /// fetched in a minute, which is 2 by default; more than the 12 of both shares cannot be fetched at once. What is under
    /// way when this is given up goes on in the runtime that it was called in.
    ///
    /// ```no_run
    /// # async fn f() -> Result<(), tower_aliyun_oss::key::KeyError> {
    /// use tower_aliyun_oss::key::FetchedKeys;
    ///
    /// let keys = FetchedKeys::new();
    /// keys.warm_up(["/callback_pub_key_v2.pem"]).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The first one, after all paths were tried. [`KeyError::Unknown`] says that a path is not in the table.
    pub async fn warm_up<P: AsRef<str>>(
        &self,
        paths: impl IntoIterator<Item = P>,
    ) -> Result<(), KeyError> {
        let urls: Vec<_> = paths
            .into_iter()
            .map(|path| KeyUrl::of_path(&self.table, path.as_ref()).ok_or(KeyError::Unknown))
            .collect();
        for url in urls.iter().flatten() {
            self.shared.expect(url.entry());
        }
        let mut done = Ok(());
        for url in urls {
            let found = match url.map(|url| self.key(&url)) {
                Ok(KeyLookup::Ready(found)) => found,
                Ok(KeyLookup::Pending(lookup)) => lookup.await,
                Err(unknown) => Err(unknown),
            };
            if done.is_ok() {
                done = found.map(|_| ());
            }
        }
        done
    }

    /// What has been done so far.
    #[must_use]
    pub fn stats(&self) -> KeyStats {
        self.shared.stats()
    }
}

impl KeySource for FetchedKeys {
    fn table(&self) -> &KeyTable {
        &self.table
    }

    fn key(&self, url: &KeyUrl) -> KeyLookup {
        if *url.table() != self.table {
            return KeyLookup::Ready(Err(KeyError::Unknown));
        }
        match self.pinned.get(url.entry()) {
            Some(key) => KeyLookup::Ready(Ok(key.clone())),
            None => self.shared.key(url),
        }
    }

    fn signature_failed(&self, url: &KeyUrl) {
        if *url.table() == self.table && self.pinned.get(url.entry()).is_none() {
            self.shared.suspect(url);
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
            .field("table", &self.table)
            .field("pinned", &self.pinned)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
