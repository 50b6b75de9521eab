//! What the cache knows and decides, without clock, network or task.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::sync::watch;

use super::{
    super::{
        PublicKey,
        fetch::{FetchError, FetchErrorKind},
    },
    answer::{Answer, Kept, Landed, Why},
    budget::Budget,
    failing::Failing,
    flights::{Flight, Flights, Share, Turn},
    limits::Limits,
    view::{Shown, View},
};

/// Points in time are durations since the cache was made.
#[derive(Debug)]
pub(super) struct Book {
    limits: Limits,
    good: Vec<Good>,
    failing: Failing,
    flights: Flights,
    anybody: Budget,
    reserved: Budget,
    expected: BTreeSet<u16>,
    /// How to tell those who wait for flights that were given up.
    given_up: Vec<Arc<watch::Sender<Landed>>>,
    /// Whether a view would show anything else than the last one.
    changed: bool,
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

impl Book {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            good: Vec::new(),
            failing: Failing::new(limits.failing),
            flights: Flights::new(&limits),
            anybody: Budget::new(limits.per_minute),
            reserved: Budget::new(limits.reserved_per_minute),
            expected: BTreeSet::new(),
            given_up: Vec::new(),
            changed: false,
            limits,
        }
    }

    /// The operator has named this path, so it does not compete with what strangers name.
    pub(super) fn expect(&mut self, entry: u16) {
        self.expected.insert(entry);
    }

    pub(super) fn ask(&mut self, entry: u16, why: Why, now: Duration) -> Answer {
        self.give_up(now, |_| true);
        if let Some(flight) = self.flights.of(entry) {
            return Answer::Running(flight.landed());
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
            if let Some(good) = self.good_mut(entry).filter(|good| good.quiet_until <= now) {
                good.quiet_until = free_at;
                self.changed = true;
            }
            return Answer::OverBudget;
        };
        let look_again = now.saturating_add(self.limits.look_again);
        if let Some(good) = self.good_mut(entry) {
            good.unsuspected_until = look_again;
            self.changed = true;
        }
        let (number, sender) = self.flights.start(entry, share, now);
        Answer::Start(number, sender)
    }

    /// A flight asks for its slot, until it has one.
    pub(super) fn begin(&mut self, number: u64, now: Duration) -> Turn {
        self.flights.heard_of(number, now);
        let mut turn = self.flights.begin(number);
        if turn == Turn::Later {
            // Those that wait as well may be about to be heard of: a whole runtime may have stood still for a while.
            self.give_up(now, |flight| flight.begun);
            turn = self.flights.begin(number);
        }
        let share = self.flights.get(number).map(|flight| flight.share);
        if let (Turn::Now, Some(share)) = (turn, share) {
            self.budget(share).begin(now);
        }
        turn
    }

    /// Whether the fetch that is under way may be tried once more.
    pub(super) fn begin_again(&mut self, number: u64, now: Duration) -> bool {
        let entry = self.flights.get(number).map(|flight| flight.entry);
        let share = entry.and_then(|entry| self.promise(entry, now));
        if let Some(share) = share {
            self.budget(share).begin(now);
        }
        share.is_some()
    }

    /// Takes what a flight came to; nothing, if it was given up, for then another one may be under way or have landed.
    pub(super) fn settle(
        &mut self,
        number: u64,
        result: &Result<PublicKey, Arc<FetchError>>,
        now: Duration,
        chance: u32,
    ) -> Option<Kept> {
        let flight = self.flights.end(number)?;
        self.ended(&flight);
        Some(match result {
            Ok(key) => self.keep(flight.entry, key, now, chance),
            Err(error) => self.failed(flight.entry, error, now, chance),
        })
    }

    fn keep(&mut self, entry: u16, key: &PublicKey, now: Duration, chance: u32) -> Kept {
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
            self.changed = true;
            return match same {
                true => Kept::Same,
                false => Kept::Changed(key.bits()),
            };
        }
        if self.good.len() >= self.limits.keys {
            // Only a key that may not be used any more makes room.
            let Some(at) = (self.good.iter()).position(|good| now >= self.stale_until(good)) else {
                let full = Arc::new(FetchError::new(FetchErrorKind::CacheFull));
                return self.failed(entry, &full, now, chance);
            };
            self.good.swap_remove(at);
        }
        self.failing.remove(entry);
        self.good.push(fetched);
        self.changed = true;
        Kept::New(key.bits())
    }

    fn failed(&mut self, entry: u16, error: &Arc<FetchError>, now: Duration, chance: u32) -> Kept {
        let limits = self.limits.clone();
        if let Some(good) = self.good_mut(entry) {
            good.failures = good.failures.saturating_add(1);
            // One step further than without a key: nobody waits for this one.
            let pause = limits.pause(good.failures.saturating_add(1), error, chance);
            good.quiet_until = now.saturating_add(pause);
            good.last_error = Some(Arc::clone(error));
            self.changed = true;
            return Kept::No(Arc::clone(error), pause);
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
        Kept::No(Arc::clone(error), pause)
    }

    /// How to tell those who wait for flights that were given up: for when the book is closed.
    pub(super) fn given_up(&mut self) -> Vec<Arc<watch::Sender<Landed>>> {
        std::mem::take(&mut self.given_up)
    }

    /// What there is to see, if it is not what there was.
    pub(super) fn new_view(&mut self) -> Option<View> {
        std::mem::take(&mut self.changed).then(|| self.view())
    }

    fn view(&self) -> View {
        let shown = self.good.iter().map(|good| {
            let flight = self.flights.of(good.entry);
            Shown {
                entry: good.entry,
                key: good.key.clone(),
                refresh_at: self.refresh_at(good),
                fresh_until: good.fetched_at.saturating_add(self.limits.fresh),
                stale_until: self.stale_until(good),
                quiet_until: match flight {
                    Some(flight) => self.flights.lost_at(flight),
                    None => good.quiet_until,
                },
                unsuspected_until: good.unsuspected_until,
            }
        });
        View(shown.collect())
    }

    /// Ends those of these flights that will not end by themselves.
    fn give_up(&mut self, now: Duration, these: impl Fn(&Flight) -> bool) {
        while let Some(flight) = self.flights.give_up(now, &these) {
            self.ended(&flight);
            self.changed = true;
            self.given_up.extend(flight.sender());
        }
    }

    fn ended(&mut self, flight: &Flight) {
        if !flight.begun {
            self.budget(flight.share).withdraw();
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
        [self.good.len(), self.failing.len(), self.flights.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::PinnedKeys;

    const NOW: Duration = Duration::from_secs(1_000);

    fn key() -> PublicKey {
        PinnedKeys::official().get(1).unwrap().clone()
    }

    /// A flight that starts, with what its task would hold.
    fn start(book: &mut Book, entry: u16, now: Duration) -> (u64, Arc<watch::Sender<Landed>>) {
        match book.ask(entry, Why::Missing, now) {
            Answer::Start(number, sender) => (number, sender),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_refused_is_seen_only_where_it_changes_something() {
        let mut book = Book::new(Limits {
            per_minute: 1,
            reserved_per_minute: 0,
            ..Limits::new()
        });
        let (number, _sender) = start(&mut book, 2, NOW);
        assert_eq!(book.begin(number, NOW), Turn::Now);
        assert!(book.new_view().is_none(), "there is no key to show");
        book.settle(number, &Ok(key()), NOW, 0);
        assert!(book.new_view().is_some());
        for entry in 3..100 {
            let refused = book.ask(entry, Why::Missing, NOW);
            assert!(matches!(refused, Answer::OverBudget));
            assert!(book.new_view().is_none());
        }
        // A key that is wanted, once until there may be another fetch.
        let later = NOW + Duration::from_secs(9 * 24 * 3600);
        let (number, _sender) = start(&mut book, 3, later);
        assert_eq!(book.begin(number, later), Turn::Now);
        for first in [true, false] {
            let refused = book.ask(2, Why::Missing, later);
            assert!(matches!(refused, Answer::OverBudget));
            assert_eq!(book.new_view().is_some(), first);
        }
    }

    #[test]
    fn a_flight_that_was_given_up_changes_nothing_and_leaves_no_slot() {
        let limits = Limits::new();
        let mut book = Book::new(limits.clone());
        let (first, sender) = start(&mut book, 2, NOW);
        assert_eq!(book.begin(first, NOW), Turn::Now);
        let lost = NOW + limits.patience();
        let soon = book.ask(2, Why::Missing, lost - Duration::from_nanos(1));
        assert!(matches!(soon, Answer::Running(_)));
        let (second, successor) = start(&mut book, 2, lost);
        assert!(
            book.given_up()
                .iter()
                .all(|told| Arc::ptr_eq(told, &sender))
        );
        assert_eq!(book.begin(second, lost), Turn::Now);
        assert!(book.settle(first, &Ok(key()), lost, 0).is_none());
        assert_eq!(book.begin(first, lost), Turn::Never);
        assert!(!book.begin_again(first, lost));
        assert_eq!(book.sizes(), [0, 0, 1]);
        // One whose task is gone without a word is lost at once.
        drop(successor);
        let (third, _sender) = start(&mut book, 2, lost);
        assert_eq!(book.begin(third, lost), Turn::Now);
        assert!(book.settle(third, &Ok(key()), lost, 0).is_some());
        assert_eq!(book.sizes(), [1, 0, 0]);
    }

    #[test]
    fn what_is_due_is_due_to_the_nanosecond() {
        const TICK: Duration = Duration::from_nanos(1);

        let limits = Limits::new();
        let mut book = Book::new(limits.clone());
        let lost = Err(Arc::new(FetchError::new(FetchErrorKind::Connect)));
        let land = |book: &mut Book, why, result: &Result<_, _>, now| {
            let Answer::Start(number, _sender) = book.ask(2, why, now) else {
                panic!("no reason for a fetch at {now:?}");
            };
            book.settle(number, result, now, 0)
        };
        let no_reason = book.ask(2, Why::Suspicion, NOW);
        assert!(matches!(no_reason, Answer::NoReason), "there is no key yet");

        let Some(Kept::No(_, pause)) = land(&mut book, Why::Missing, &lost, NOW) else {
            panic!("no key came");
        };
        let cooling = book.ask(2, Why::Missing, NOW + pause - TICK);
        assert!(matches!(cooling, Answer::Cooling(_)));
        let fetched = NOW + pause;
        let kept = land(&mut book, Why::Missing, &Ok(key()), fetched);
        assert!(matches!(kept, Some(Kept::New(_))));

        let refresh_at = fetched + limits.refresh_after();
        let stale_until = fetched + limits.fresh + limits.stale;
        let not_due = book.ask(2, Why::Refresh, refresh_at - TICK);
        assert!(matches!(not_due, Answer::NoReason));
        let held = book.ask(2, Why::Missing, stale_until - TICK);
        assert!(matches!(held, Answer::Held(_)));
        let suspect_at = fetched + limits.look_again;
        let too_soon = book.ask(2, Why::Suspicion, suspect_at - TICK);
        assert!(matches!(too_soon, Answer::NoReason));
        let kept = land(&mut book, Why::Suspicion, &Ok(key()), suspect_at);
        assert!(matches!(kept, Some(Kept::Same)));

        let refresh_at = suspect_at + limits.refresh_after();
        let Some(Kept::No(_, pause)) = land(&mut book, Why::Refresh, &lost, refresh_at) else {
            panic!("no key came");
        };
        let cooling = book.ask(2, Why::Refresh, refresh_at + pause - TICK);
        assert!(matches!(cooling, Answer::Cooling(_)));
        let kept = land(&mut book, Why::Refresh, &lost, refresh_at + pause);
        assert!(matches!(kept, Some(Kept::No(..))));

        let stale_until = suspect_at + limits.fresh + limits.stale;
        let kept = land(&mut book, Why::Missing, &Ok(key()), stale_until);
        assert!(matches!(kept, Some(Kept::Same)));
    }
}
