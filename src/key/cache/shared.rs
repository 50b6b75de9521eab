//! What all clones of a source share.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
    time::Instant,
};

use super::{
    super::{
        KeyError, KeyLookup, KeyUrl, PublicKey,
        fetch::{FetchError, FetchErrorKind, FetchKey},
    },
    answer::{Answer, Kept, Landed, Why},
    book::Book,
    flight::{Landing, fly},
    flights::Turn,
    limits::Limits,
    stats::{Counters, KeyStats},
    view::View,
};

pub(super) struct Shared {
    pub(super) limits: Limits,
    pub(super) fetcher: Arc<dyn FetchKey>,
    /// The shortest key taken, in bits.
    pub(super) min_bits: usize,
    /// Told when a flight has ended, and left a slot.
    pub(super) ended: Notify,
    pub(super) counters: Counters,
    origin: Instant,
    view: ArcSwap<View>,
    book: Mutex<Book>,
    /// The last minute in which refused fetches were complained of, counted from 1.
    complained: AtomicU64,
}

impl Shared {
    pub(super) fn new(limits: Limits, fetcher: Arc<dyn FetchKey>, min_bits: usize) -> Self {
        Self {
            fetcher,
            min_bits,
            ended: Notify::new(),
            counters: Counters::default(),
            origin: Instant::now(),
            view: ArcSwap::default(),
            book: Mutex::new(Book::new(limits.clone())),
            complained: AtomicU64::new(0),
            limits,
        }
    }

    pub(super) fn stats(&self) -> KeyStats {
        self.counters.snapshot()
    }

    /// The key that is at hand, or the way to it.
    pub(super) fn key(self: &Arc<Self>, url: &KeyUrl) -> KeyLookup {
        let now = self.now();
        let view = self.view.load();
        let at_hand = view
            .get(url.entry())
            .filter(|shown| now < shown.stale_until);
        let Some(shown) = at_hand else {
            drop(view);
            return self.look_up(url, now);
        };
        self.counters.hit(now >= shown.fresh_until);
        let key = shown.key.clone();
        if shown.wants_refresh(now) {
            drop(view);
            self.in_background(url, Why::Refresh, now);
        }
        KeyLookup::Ready(Ok(key))
    }

    /// A signature does not match under the key at hand.
    pub(super) fn suspect(self: &Arc<Self>, url: &KeyUrl) {
        let now = self.now();
        let view = self.view.load();
        let due = view
            .get(url.entry())
            .is_some_and(|shown| shown.may_be_suspected(now));
        drop(view);
        if due {
            self.in_background(url, Why::Suspicion, now);
        }
    }

    pub(super) fn expect(&self, entry: u16) {
        self.book().expect(entry);
    }

    /// Takes what a flight came to, if it was not given up.
    pub(super) fn settle(
        &self,
        number: u64,
        result: &Result<PublicKey, Arc<FetchError>>,
    ) -> Option<Kept> {
        let (now, chance) = (self.now(), chance());
        let kept = self.change(|book| book.settle(number, result, now, chance));
        self.ended.notify_waiters();
        if let Some(Kept::Changed(_)) = kept {
            self.counters.change();
        }
        kept
    }

    pub(super) fn log(&self, url: &KeyUrl, kept: &Kept) {
        match kept {
            Kept::New(bits) => tracing::info!(
                target: "tower_aliyun_oss::key", key_url = %url, bits, "fetched a new key"
            ),
            Kept::Same => tracing::debug!(
                target: "tower_aliyun_oss::key", key_url = %url, "the key is still the same"
            ),
            Kept::Changed(bits) => tracing::warn!(
                target: "tower_aliyun_oss::key",
                key_url = %url, bits, "another key stands under the same url"
            ),
            Kept::No(error, pause) => tracing::warn!(
                target: "tower_aliyun_oss::key",
                key_url = %url,
                pause = pause.as_secs(),
                cause = error.cause().map(tracing::field::display),
                "{error}"
            ),
        }
    }

    /// A flight asks for its slot.
    pub(super) fn begin(&self, number: u64) -> Turn {
        let now = self.now();
        self.change(|book| book.begin(number, now))
    }

    /// Whether a fetch that is under way may be tried once more.
    pub(super) fn begin_again(&self, number: u64) -> bool {
        let now = self.now();
        self.change(|book| book.begin_again(number, now))
    }

    fn look_up(self: &Arc<Self>, url: &KeyUrl, now: Duration) -> KeyLookup {
        let Ok(runtime) = Handle::try_current() else {
            return refused(Arc::new(FetchError::new(FetchErrorKind::NoRuntime)));
        };
        let error = match self.ask(url, Why::Missing, now) {
            Answer::Held(key) => {
                self.counters.hit(false);
                return KeyLookup::Ready(Ok(key));
            }
            Answer::Start(number, sender) => {
                let landed = sender.subscribe();
                let landing = Landing::new(Arc::clone(self), url.clone(), number, sender);
                runtime.spawn(fly(landing, true));
                return wait(landed);
            }
            Answer::Running(landed) => return wait(landed),
            Answer::Cooling(error) => error,
            Answer::OverBudget | Answer::NoReason => {
                self.complain(now);
                Arc::new(FetchError::new(FetchErrorKind::OverBudget))
            }
        };
        self.counters.refusal();
        refused(error)
    }

    fn in_background(self: &Arc<Self>, url: &KeyUrl, why: Why, now: Duration) {
        // Without a runtime a key that is at hand is still good.
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        if let Answer::Start(number, sender) = self.ask(url, why, now) {
            // Before the log, which may panic: without a landing the path would be taken for being fetched.
            let landing = Landing::new(Arc::clone(self), url.clone(), number, sender);
            tracing::debug!(target: "tower_aliyun_oss::key", key_url = %url, ?why, "looks for the key again");
            runtime.spawn(fly(landing, false));
        }
    }

    /// What comes of it has to be started when the book is closed: a task that is refused ends at once, and says so here.
    fn ask(&self, url: &KeyUrl, why: Why, now: Duration) -> Answer {
        self.change(|book| book.ask(url.entry(), why, now))
    }

    /// Shows what has changed before the book is closed; what is logged of it is logged afterwards.
    fn change<T>(&self, change: impl FnOnce(&mut Book) -> T) -> T {
        let mut book = self.book();
        let done = change(&mut book);
        let given_up = book.given_up();
        if let Some(view) = book.new_view() {
            self.view.store(Arc::new(view));
        }
        drop(book);
        for flight in &given_up {
            let error = FetchError::new(FetchErrorKind::Timeout);
            flight.send_replace(Some(Err(Arc::new(error))));
        }
        if !given_up.is_empty() {
            self.ended.notify_waiters();
        }
        done
    }

    fn complain(&self, now: Duration) {
        let minute = now.as_secs() / 60 + 1;
        if self.complained.load(Relaxed) != minute
            && self.complained.swap(minute, Relaxed) != minute
        {
            tracing::warn!(
                target: "tower_aliyun_oss::key",
                "callbacks name more keys than may be looked up; somebody may be trying out names"
            );
        }
    }

    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn sizes(&self) -> [usize; 3] {
        self.book().sizes()
    }
}

fn refused(error: Arc<FetchError>) -> KeyLookup {
    KeyLookup::Ready(Err(KeyError::Unavailable(error)))
}

fn wait(mut landed: watch::Receiver<Landed>) -> KeyLookup {
    KeyLookup::Pending(Box::pin(async move {
        let result = match landed.wait_for(Option::is_some).await {
            Ok(landed) => (*landed).clone(),
            Err(_) => None,
        };
        let aborted = || Err(Arc::new(FetchError::new(FetchErrorKind::Aborted)));
        let result = result.unwrap_or_else(aborted);
        result.map_err(|error| KeyError::Unavailable(error))
    }))
}

fn chance() -> u32 {
    // Without a random number a pause is as long as it is on average.
    getrandom::u32().unwrap_or(u32::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_not_all_the_same() {
        let first = chance();
        assert!((0..64).any(|_| chance() != first));
    }
}
