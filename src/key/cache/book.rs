//! What the cache knows and decides, without clock, network or task.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::sync::watch;

use super::{
    super::{PublicKey, fetch::FetchError},
    answer::{Answer, Kept, Landed, Why},
    budget::Budget,
    failing::Failing,
    limits::Limits,
    view::{Shown, View},
};

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
    share: Share,
    begun: bool,
}

/// Whose fetches a fetch is counted with.
#[derive(Clone, Copy, Debug)]
enum Share {
    Anybody,
    Reserved,
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
        let Some(share) = self.promise(entry, now) else {
            let free_at = self.anybody.free_at(now).min(self.reserved.free_at(now));
            if let Some(good) = self.good_mut(entry) {
                good.quiet_until = free_at;
            }
            return Answer::OverBudget;
        };
        let look_again = now.saturating_add(self.limits.look_again);
        if let Some(good) = self.good_mut(entry) {
            good.unsuspected_until = look_again;
        }
        let (sender, landed) = watch::channel(None);
        self.running.push(Running {
            entry,
            landed: landed.clone(),
            share,
            begun: false,
        });
        Answer::Start(sender, landed)
    }

    /// A fetch gets its slot.
    pub(super) fn begin(&mut self, entry: u16, now: Duration) {
        let running = self
            .running
            .iter_mut()
            .find(|running| running.entry == entry);
        if let Some(running) = running.filter(|running| !running.begun) {
            running.begun = true;
            let share = running.share;
            self.budget(share).begin(now);
        }
    }

    /// Whether the fetch that is under way may be tried once more.
    pub(super) fn begin_again(&mut self, entry: u16, now: Duration) -> bool {
        let share = self.promise(entry, now);
        if let Some(share) = share {
            self.budget(share).begin(now);
        }
        share.is_some()
    }

    pub(super) fn landed(&mut self, entry: u16, key: &PublicKey, now: Duration) -> Kept {
        self.ended(entry);
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
        self.ended(entry);
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

    fn ended(&mut self, entry: u16) {
        let Some(at) = (self.running.iter()).position(|running| running.entry == entry) else {
            return;
        };
        let running = self.running.swap_remove(at);
        if !running.begun {
            self.budget(running.share).withdraw();
        }
    }

    fn promise(&mut self, entry: u16, now: Duration) -> Option<Share> {
        let known =
            self.expected.contains(&entry) || self.good.iter().any(|good| good.entry == entry);
        if known && self.reserved.promise(now) {
            return Some(Share::Reserved);
        }
        self.anybody.promise(now).then_some(Share::Anybody)
    }

    fn budget(&mut self, share: Share) -> &mut Budget {
        match share {
            Share::Anybody => &mut self.anybody,
            Share::Reserved => &mut self.reserved,
        }
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
