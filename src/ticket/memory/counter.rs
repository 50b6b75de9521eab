//! How much of a bound is taken.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::store_error::{StoreError, StoreErrorKind};

pub(super) struct Counter {
    taken: AtomicUsize,
    bound: usize,
}

impl Counter {
    pub(super) const fn new(bound: usize) -> Self {
        Self {
            taken: AtomicUsize::new(0),
            bound,
        }
    }

    pub(super) fn get(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    pub(super) fn take(&self, count: usize) -> Result<(), StoreError> {
        let within = |taken: usize| taken.checked_add(count).filter(|sum| *sum <= self.bound);
        match self
            .taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, within)
        {
            Ok(_) => Ok(()),
            Err(_) => Err(StoreErrorKind::Full.into()),
        }
    }

    pub(super) fn give_back(&self, count: usize) {
        self.taken.fetch_sub(count, Ordering::Relaxed);
    }
}
