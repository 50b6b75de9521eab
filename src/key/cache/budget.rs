//! How many fetches a minute.

use std::{collections::VecDeque, time::Duration};

const WINDOW: Duration = Duration::from_secs(60);

/// At most so many begin in any 60 s, whatever came before: a bucket of tokens would let twice as many through.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    most: usize,
    /// Promised, and not begun: they count for as long as they wait.
    promised: usize,
    begun: VecDeque<Duration>,
}

impl Budget {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            promised: 0,
            begun: VecDeque::new(),
        }
    }

    /// Promises one, if there may be one more.
    pub(super) fn promise(&mut self, now: Duration) -> bool {
        while (self.begun.front()).is_some_and(|&at| at.saturating_add(WINDOW) <= now) {
            self.begun.pop_front();
        }
        let free = self.begun.len() + self.promised < self.most;
        self.promised += usize::from(free);
        free
    }

    /// A promised one begins.
    pub(super) fn begin(&mut self, now: Duration) {
        self.withdraw();
        self.begun.push_back(now);
    }

    /// A promised one does not come to be.
    pub(super) fn withdraw(&mut self) {
        self.promised = self.promised.saturating_sub(1);
    }

    /// When one more may be promised, after one was refused: at the latest then.
    pub(super) fn free_at(&self, now: Duration) -> Duration {
        match self.begun.front() {
            Some(at) => at.saturating_add(WINDOW),
            None => now.saturating_add(WINDOW),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_more_begin_in_any_minute() {
        let mut budget = Budget::new(3);
        let at = Duration::from_secs;
        let mut take = |second| {
            let promised = budget.promise(at(second));
            if promised {
                budget.begin(at(second));
            }
            promised
        };
        let begun: Vec<u64> = (0..180).filter(|&second| take(second)).collect();
        assert_eq!(begun, [0, 1, 2, 60, 61, 62, 120, 121, 122]);
        assert_eq!(budget.free_at(at(179)), at(180));
    }

    #[test]
    fn what_is_promised_counts_until_it_begins_or_is_withdrawn() {
        let mut budget = Budget::new(2);
        let at = Duration::from_secs;
        assert!(budget.promise(at(0)) && budget.promise(at(0)));
        assert!(!budget.promise(at(1_000)));
        assert_eq!(budget.free_at(at(1_000)), at(1_060));
        budget.begin(at(1_000));
        budget.withdraw();
        assert!(budget.promise(at(1_001)) && !budget.promise(at(1_001)));
        assert!(!Budget::new(0).promise(at(1)));
    }
}
