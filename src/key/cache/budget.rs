//! How many fetches a minute.

use std::{collections::VecDeque, time::Duration};

const WINDOW: Duration = Duration::from_secs(60);

/// At most so many in any 60 s, whatever came before: a bucket of tokens would let twice as many through.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    most: usize,
    taken: VecDeque<Duration>,
}

impl Budget {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            taken: VecDeque::new(),
        }
    }

    pub(super) fn take(&mut self, now: Duration) -> bool {
        while self
            .taken
            .front()
            .is_some_and(|&at| at.saturating_add(WINDOW) <= now)
        {
            self.taken.pop_front();
        }
        let free = self.taken.len() < self.most;
        if free {
            self.taken.push_back(now);
        }
        free
    }

    /// When the next one is free, after one was refused.
    pub(super) fn free_at(&self) -> Duration {
        self.taken
            .front()
            .map_or(Duration::MAX, |at| at.saturating_add(WINDOW))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_more_in_any_minute() {
        let mut budget = Budget::new(3);
        let at = Duration::from_secs;
        let taken: Vec<u64> = (0..180).filter(|&second| budget.take(at(second))).collect();
        assert_eq!(taken, [0, 1, 2, 60, 61, 62, 120, 121, 122]);
        assert_eq!(budget.free_at(), at(180));
        assert!(!Budget::new(0).take(at(1)));
        assert_eq!(Budget::new(0).free_at(), Duration::MAX);
    }
}
