//! What the cache is asked and answers.

use std::{sync::Arc, time::Duration};

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
    /// The one who asked has to make the flight of this number, and to say here what it came to.
    Start(u64, Arc<watch::Sender<Landed>>),
    /// Somebody is fetching.
    Running(watch::Receiver<Landed>),
    /// Not now: the last fetch failed.
    Cooling(Arc<FetchError>),
    /// Not now: there were too many fetches.
    OverBudget,
    /// A signature is no reason now.
    NoReason,
}

/// What has become of a result.
#[derive(Debug)]
pub(super) enum Kept {
    /// A key of so many bits.
    New(usize),
    Same,
    Changed(usize),
    /// No key, or none that there is room for; the path is left alone for so long.
    No(Arc<FetchError>, Duration),
}
