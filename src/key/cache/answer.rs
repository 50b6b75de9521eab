//! What the cache is asked and answers.

use std::sync::Arc;

use tokio::sync::watch;

use super::super::{PublicKey, fetch::FetchError};

/// What a fetch came to; nothing yet while it is under way.
pub(super) type Landed = Option<Result<PublicKey, Arc<FetchError>>>;

/// Why somebody asks for a fetch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Why {
    /// There is no key that may be used.
    Missing,
    /// The key will not be fresh for much longer.
    Refresh,
    /// A signature did not match under the key.
    Suspicion,
}

#[derive(Debug)]
pub(super) enum Answer {
    /// It came while somebody asked.
    Held(PublicKey),
    /// The one who asked has to fetch, and to say here what it came to.
    Start(watch::Sender<Landed>, watch::Receiver<Landed>),
    /// Somebody is fetching.
    Running(watch::Receiver<Landed>),
    /// Not now: the last fetch failed.
    Cooling(Arc<FetchError>),
    /// Not now: there were too many fetches.
    OverBudget,
    /// A signature is no reason now.
    NoReason,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kept {
    New,
    Same,
    Changed,
    /// The cache is full of keys that are good.
    No,
}
