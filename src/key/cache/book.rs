//! What the cache knows and decides, without clock, network or task.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::sync::watch;

use super::{
    super::{PublicKey, fetch::FetchError},
    budget::Budget,
    failing::Failing,
    limits::Limits,
    view::{Shown, View},
};

/// What a fetch came to; nothing yet while it is under way.
pub(super) type Landed = Option<Result<PublicKey, Arc<FetchError>>>;

/// Points in time are durations since the cache was made.
#[derive(Debug)]
pub(super) struct Book {
    limits: Limits,
    good: Vec<Good>,
    failing: Failing,
    running: Vec<Running>,
    anybody: Budget,
    reserved: Budget,
    expected: BTreeSet<u16>,
}

#[derive(Debug)]
struct Good {
    entry: u16,
    key: PublicKey,
    fetched_at: Duration,
    /// Since the last fetch that brought a key.
    failures: u32,
    last_error: Option<Arc<FetchError>>,
    quiet_until: Duration,
    unsuspected_until: Duration,
}

#[derive(Debug)]
struct Running {
    entry: u16,
    landed: watch::Receiver<Landed>,
}

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

impl Book {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            good: Vec::new(),
            failing: Failing::new(limits.failing),
            running: Vec::new(),
            anybody: Budget::new(limits.per_minute),
            reserved: Budget::new(limits.reserved_per_minute),
            expected: BTreeSet::new(),
            limits,
        }
    }

    /// The operator has named this path, so it does not compete with what strangers name.
    pub(super) fn expect(&mut self, entry: u16) {
        self.expected.insert(entry);
    }

    pub(super) fn ask(&mut self, entry: u16, why: Why, now: Duration) -> Answer {
        if let Some(running) = self.running.iter().find(|running| running.entry == entry) {
            return Answer::Running(running.landed.clone());
        }
        match self.good.iter().find(|good| good.entry == entry) {
            Some(good) => {
                let usable = now < self.stale_until(good);
                let due = match why {
                    Why::Missing => !usable,
                    Why::Refresh => now >= self.refresh_at(good),
                    Why::Suspicion => now >= good.unsuspected_until,
                };
                match &good.last_error {
                    _ if usable && why == Why::Missing => return Answer::Held(good.key.clone()),
                    _ if !due => return Answer::NoReason,
                    Some(error) if now < good.quiet_until => {
                        return Answer::Cooling(Arc::clone(error));
                    }
                    _ => {}
                }
            }
            None if why == Why::Suspicion => return Answer::NoReason,
            None => match self.failing.get(entry) {
                Some(failed) if now < failed.until => {
                    return Answer::Cooling(Arc::clone(&failed.error));
                }
                _ => {}
            },
        }
        if !self.take(entry, now) {
            let free_at = self.anybody.free_at().min(self.reserved.free_at());
            if let Some(good) = self.good_mut(entry) {
                good.quiet_until = free_at;
            }
            return Answer::OverBudget;
        }
        let look_again = now.saturating_add(self.limits.look_again);
        if let Some(good) = self.good_mut(entry) {
            good.unsuspected_until = look_again;
        }
        let (sender, landed) = watch::channel(None);
        self.running.push(Running {
            entry,
            landed: landed.clone(),
        });
        Answer::Start(sender, landed)
    }

    /// Whether the fetch that is under way may be tried once more.
    pub(super) fn take(&mut self, entry: u16, now: Duration) -> bool {
        let known =
            self.expected.contains(&entry) || self.good.iter().any(|good| good.entry == entry);
        (known && self.reserved.take(now)) || self.anybody.take(now)
    }

    pub(super) fn landed(&mut self, entry: u16, key: &PublicKey, now: Duration) -> Kept {
        self.running.retain(|running| running.entry != entry);
        let fetched = Good {
            entry,
            key: key.clone(),
            fetched_at: now,
            failures: 0,
            last_error: None,
            quiet_until: now,
            unsuspected_until: now.saturating_add(self.limits.look_again),
        };
        if let Some(good) = self.good_mut(entry) {
            let same = good.key == *key;
            *good = fetched;
            return if same { Kept::Same } else { Kept::Changed };
        }
        if self.good.len() >= self.limits.keys {
            // Only a key that may not be used any more makes room.
            let Some(at) = (self.good.iter()).position(|good| now >= self.stale_until(good)) else {
                return Kept::No;
            };
            self.good.swap_remove(at);
        }
        self.failing.remove(entry);
        self.good.push(fetched);
        Kept::New
    }

    /// Returns how long the path is left alone.
    pub(super) fn failed(
        &mut self,
        entry: u16,
        error: &Arc<FetchError>,
        now: Duration,
        chance: u32,
    ) -> Duration {
        self.running.retain(|running| running.entry != entry);
        let limits = self.limits.clone();
        if let Some(good) = self.good_mut(entry) {
            good.failures = good.failures.saturating_add(1);
            // One step further than without a key: nobody waits for this one.
            let pause = limits.pause(good.failures.saturating_add(1), error, chance);
            good.quiet_until = now.saturating_add(pause);
            good.last_error = Some(Arc::clone(error));
            return pause;
        }
        let before = self.failing.get(entry).map_or(0, |failed| failed.failures);
        let failures = before.saturating_add(1);
        let pause = limits.pause(failures, error, chance);
        (self.failing).set(
            entry,
            failures,
            now.saturating_add(pause),
            Arc::clone(error),
        );
        pause
    }

    pub(super) fn view(&self) -> View {
        let shown = self.good.iter().map(|good| {
            let running = self
                .running
                .iter()
                .any(|running| running.entry == good.entry);
            Shown {
                entry: good.entry,
                key: good.key.clone(),
                refresh_at: self.refresh_at(good),
                fresh_until: good.fetched_at.saturating_add(self.limits.fresh),
                stale_until: self.stale_until(good),
                quiet_until: if running {
                    Duration::MAX
                } else {
                    good.quiet_until
                },
                unsuspected_until: good.unsuspected_until,
            }
        });
        View(shown.collect())
    }

    fn good_mut(&mut self, entry: u16) -> Option<&mut Good> {
        self.good.iter_mut().find(|good| good.entry == entry)
    }

    fn refresh_at(&self, good: &Good) -> Duration {
        good.fetched_at.saturating_add(self.limits.refresh_after())
    }

    fn stale_until(&self, good: &Good) -> Duration {
        let fresh_until = good.fetched_at.saturating_add(self.limits.fresh);
        fresh_until.saturating_add(self.limits.stale)
    }

    #[cfg(test)]
    pub(super) fn sizes(&self) -> [usize; 3] {
        [self.good.len(), self.failing.len(), self.running.len()]
    }
}
