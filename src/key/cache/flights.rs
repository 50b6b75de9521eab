//! Fetches that are under way, and the slots they hold.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::sync::watch;

use super::{answer::Landed, limits::Limits};

/// Whose fetches a fetch is counted with.
#[derive(Clone, Copy, Debug)]
pub(super) enum Share {
    Anybody,
    Reserved,
}

#[derive(Debug)]
pub(super) struct Flight {
    pub(super) entry: u16,
    pub(super) share: Share,
    pub(super) begun: bool,
    number: u64,
    /// When it was last heard of.
    since: Duration,
    sender: Weak<watch::Sender<Landed>>,
    landed: watch::Receiver<Landed>,
}

/// What a flight may do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Turn {
    Now,
    Later,
    /// It was given up.
    Never,
}

/// A slot belongs to what is written down here and not to a task: the task of a runtime that nobody drives any more
/// could neither go on nor give it back.
#[derive(Debug)]
pub(super) struct Flights {
    at_once: usize,
    patience: Duration,
    last: u64,
    all: Vec<Flight>,
}

impl Flights {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            at_once: limits.at_once,
            patience: limits.patience(),
            last: 0,
            all: Vec::new(),
        }
    }

    pub(super) fn start(
        &mut self,
        entry: u16,
        share: Share,
        now: Duration,
    ) -> (u64, Arc<watch::Sender<Landed>>) {
        let (sender, landed) = watch::channel(None);
        let sender = Arc::new(sender);
        self.last += 1;
        self.all.push(Flight {
            entry,
            share,
            begun: false,
            number: self.last,
            since: now,
            sender: Arc::downgrade(&sender),
            landed,
        });
        (self.last, sender)
    }

    pub(super) fn of(&self, entry: u16) -> Option<&Flight> {
        self.all.iter().find(|flight| flight.entry == entry)
    }

    pub(super) fn get(&self, number: u64) -> Option<&Flight> {
        self.all.iter().find(|flight| flight.number == number)
    }

    pub(super) fn heard_of(&mut self, number: u64, now: Duration) {
        if let Some(flight) = self.all.iter_mut().find(|flight| flight.number == number) {
            flight.since = now;
        }
    }

    /// Gives a flight a slot, if there is one.
    pub(super) fn begin(&mut self, number: u64) -> Turn {
        let busy = self.all.iter().filter(|flight| flight.begun).count();
        let flight = (self.all.iter_mut()).find(|flight| flight.number == number);
        match flight {
            None => Turn::Never,
            Some(_) if busy >= self.at_once => Turn::Later,
            Some(flight) => {
                flight.begun = true;
                Turn::Now
            }
        }
    }

    pub(super) fn end(&mut self, number: u64) -> Option<Flight> {
        let at = (self.all.iter()).position(|flight| flight.number == number)?;
        Some(self.all.swap_remove(at))
    }

    /// Ends one of these that will never end by itself.
    pub(super) fn give_up(
        &mut self,
        now: Duration,
        these: impl Fn(&Flight) -> bool,
    ) -> Option<Flight> {
        let lost =
            |flight: &Flight| now >= self.lost_at(flight) || flight.sender.strong_count() == 0;
        let at = (self.all.iter()).position(|flight| these(flight) && lost(flight))?;
        Some(self.all.swap_remove(at))
    }

    pub(super) fn lost_at(&self, flight: &Flight) -> Duration {
        flight.since.saturating_add(self.patience)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }
}

impl Flight {
    pub(super) fn landed(&self) -> watch::Receiver<Landed> {
        self.landed.clone()
    }

    /// To tell those who wait for it.
    pub(super) fn sender(&self) -> Option<Arc<watch::Sender<Landed>>> {
        self.sender.upgrade()
    }
}
