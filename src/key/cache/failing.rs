//! Paths that have no key, and how long they are left alone.

use std::{sync::Arc, time::Duration};

use super::super::fetch::FetchError;

/// A bounded list: whoever names many paths makes us forget others of them, and never a key.
#[derive(Debug)]
pub(super) struct Failing {
    most: usize,
    paths: Vec<Failed>,
}

#[derive(Clone, Debug)]
pub(super) struct Failed {
    entry: u16,
    pub(super) failures: u32,
    pub(super) until: Duration,
    pub(super) error: Arc<FetchError>,
}

impl Failing {
    pub(super) const fn new(most: usize) -> Self {
        Self {
            most,
            paths: Vec::new(),
        }
    }

    pub(super) fn get(&self, entry: u16) -> Option<&Failed> {
        self.paths.iter().find(|path| path.entry == entry)
    }

    pub(super) fn set(
        &mut self,
        entry: u16,
        failures: u32,
        until: Duration,
        error: Arc<FetchError>,
    ) {
        self.remove(entry);
        if self.paths.len() >= self.most {
            let soonest =
                (0..self.paths.len()).min_by_key(|&at| self.paths.get(at).map(|p| p.until));
            match soonest {
                Some(at) => drop(self.paths.swap_remove(at)),
                None => return,
            }
        }
        self.paths.push(Failed {
            entry,
            failures,
            until,
            error,
        });
    }

    pub(super) fn remove(&mut self, entry: u16) {
        self.paths.retain(|path| path.entry != entry);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.paths.len()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::super::fetch::FetchErrorKind, *};

    #[test]
    fn forgets_what_is_over_soonest() {
        let error = Arc::new(FetchError::new(FetchErrorKind::Connect));
        let mut failing = Failing::new(2);
        for (entry, until) in [(1, 30), (2, 10), (3, 20), (3, 40)] {
            failing.set(entry, 1, Duration::from_secs(until), Arc::clone(&error));
        }
        assert_eq!(
            [1, 2, 3].map(|entry| failing.get(entry).is_some()),
            [true, false, true]
        );
        assert_eq!(failing.get(3).unwrap().until.as_secs(), 40);
        assert_eq!(failing.len(), 2);
        let mut none = Failing::new(0);
        none.set(1, 1, Duration::ZERO, error);
        assert_eq!(none.len(), 0);
    }
}
