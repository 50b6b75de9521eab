//! One fetch, in a task of its own.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::{
    super::{
        KeyUrl, PublicKey,
        fetch::{FetchError, FetchErrorKind as Kind},
    },
    answer::Landed,
    flights::Turn,
    shared::Shared,
    stats::Counters,
};

/// Before a fetch that failed at once is tried again.
const BREATH: Duration = Duration::from_millis(100);

/// Says what a fetch came to, whatever becomes of its task.
pub(super) struct Landing {
    shared: Arc<Shared>,
    url: KeyUrl,
    number: u64,
    sender: Arc<watch::Sender<Landed>>,
    done: bool,
}

impl Landing {
    pub(super) fn new(
        shared: Arc<Shared>,
        url: KeyUrl,
        number: u64,
        sender: Arc<watch::Sender<Landed>>,
    ) -> Self {
        Self {
            shared,
            url,
            number,
            sender,
            done: false,
        }
    }

    fn land(&mut self, result: Result<PublicKey, FetchError>) {
        self.done = true;
        let result = result.map_err(Arc::new);
        // First the cache, then those who wait: who has heard of a key finds it. The log is last, for whoever keeps it
        // may panic.
        if let Some(kept) = self.shared.settle(self.number, &result) {
            self.sender.send_replace(Some(result));
            self.shared.log(&self.url, &kept);
        }
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        if !self.done {
            let aborted = || self.land(Err(FetchError::new(Kind::Aborted)));
            // It may be the log that has panicked, and would do so again: a second panic ends the process.
            drop(catch_unwind(AssertUnwindSafe(aborted)));
        }
    }
}

/// Fetches a key; when somebody waits for it, a second time if the first one fails at once.
pub(super) async fn fly(mut landing: Landing, awaited: bool) {
    let shared = Arc::clone(&landing.shared);
    if !begin(&shared, landing.number).await {
        return;
    }
    let limit = shared.limits.fetch_timeout;
    let attempts = async {
        let started = Instant::now();
        let first = attempt(&shared, &landing.url).await;
        match &first {
            Err(error) if awaited && is_passing(error) && started.elapsed() < limit / 2 => {}
            _ => return first,
        }
        sleep(BREATH).await;
        if shared.begin_again(landing.number) {
            attempt(&shared, &landing.url).await
        } else {
            first
        }
    };
    let result = timeout(limit, attempts).await;
    landing.land(result.unwrap_or_else(|_| Err(FetchError::new(Kind::Timeout))));
}

/// Waits for a slot. There is none any more for a flight that was given up.
async fn begin(shared: &Shared, number: u64) -> bool {
    loop {
        let ended = shared.ended.notified();
        match shared.begin(number) {
            Turn::Now => return true,
            Turn::Never => return false,
            // A flight that is lost does not say that it has ended.
            Turn::Later => drop(timeout(shared.limits.fetch_timeout, ended).await),
        }
    }
}

async fn attempt(shared: &Shared, url: &KeyUrl) -> Result<PublicKey, FetchError> {
    let counted = Counted::new(&shared.counters);
    let pem = shared.fetcher.fetch(url).await?;
    let key = PublicKey::from_pem(&pem).map_err(|why| FetchError::with_source(Kind::Key, why))?;
    if key.bits() < shared.min_bits {
        return Err(FetchError::new(Kind::Key));
    }
    counted.succeeded();
    Ok(key)
}

/// Counts a fetch, and a failure of it however it ends.
struct Counted<'c>(Option<&'c Counters>);

impl<'c> Counted<'c> {
    fn new(counters: &'c Counters) -> Self {
        counters.fetch();
        Self(Some(counters))
    }

    fn succeeded(mut self) {
        self.0 = None;
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        if let Some(counters) = self.0 {
            counters.failure();
        }
    }
}

/// Whether it may be otherwise in a moment.
fn is_passing(error: &FetchError) -> bool {
    matches!(
        error.kind(),
        Kind::Resolve | Kind::Connect | Kind::Interrupted
    )
}
