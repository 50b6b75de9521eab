//! The record of one ticket: the texts that it was redeemed for, and when it expires.

use std::{
    collections::BTreeMap,
    mem,
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::sync::Notify;

use super::super::{Attempt, StoredReply};

/// How long a record outlives its ticket, so that a clock that is set back by less does not allow a
/// replay, nor an attempt that was delayed on its way to the store.
pub(super) const KEPT_LONGER: Duration = Duration::from_secs(10 * 60);

pub(super) type Digest = [u8; 32];

/// The current time on both clocks.
#[derive(Clone, Copy)]
pub(super) struct Clocks {
    /// Milliseconds since the creation of the store.
    pub(super) monotonic: u64,
    /// Seconds of Unix time.
    wall: u64,
}

impl Clocks {
    pub(super) fn new(monotonic: u64, wall: SystemTime) -> Self {
        let wall = unix_seconds(wall);
        Self { monotonic, wall }
    }

    /// Returns the monotonic time after `time` has passed, in milliseconds.
    pub(super) fn after(self, time: Duration) -> u64 {
        let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.monotonic.saturating_add(milliseconds)
    }
}

fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

/// The record of one ticket. Kept small, because there is one per unexpired ticket.
pub(super) struct Entry {
    /// When the record expires, in seconds of Unix time.
    until: u64,
    /// The same moment on the monotonic clock, as estimated at the first redemption.
    until_monotonic: u64,
    pub(super) texts: Texts,
    /// How often the handler was started.
    pub(super) starts: u32,
    /// How many callbacks OSS refuted.
    pub(super) refusals: u8,
    /// Whether a caller was told that the starts or the refusals are used up.
    pub(super) spent: bool,
}

impl Entry {
    /// The record of a ticket whose first text runs.
    pub(super) fn new(attempt: &Attempt, now: Clocks) -> Self {
        let left = attempt.until().duration_since(attempt.now());
        let mut entry = Self {
            until: unix_seconds(attempt.until()).saturating_add(KEPT_LONGER.as_secs()),
            until_monotonic: now.after(left.unwrap_or_default().saturating_add(KEPT_LONGER)),
            texts: Texts::None,
            starts: 0,
            refusals: 0,
            spent: false,
        };
        entry.run(attempt);
        entry
    }

    /// Adds a text whose handler runs.
    pub(super) fn run(&mut self, attempt: &Attempt) {
        let run = Run::new(attempt);
        // An at-most-once handler starts once per text, so its starts need no limit.
        self.starts += u32::from(run.counted);
        self.texts.insert(attempt.digest(), run);
    }

    /// Lets the record expire earlier: when it would expire if its ticket did so at `until`.
    pub(super) fn shorten(&mut self, until: SystemTime) {
        let until = unix_seconds(until).saturating_add(KEPT_LONGER.as_secs());
        let earlier = self.until.saturating_sub(until);
        self.until -= earlier;
        let earlier = earlier.saturating_mul(1000);
        self.until_monotonic = self.until_monotonic.saturating_sub(earlier);
    }

    /// Returns the monotonic time until which the record has certainly not expired.
    pub(super) const fn until_monotonic(&self) -> u64 {
        self.until_monotonic
    }

    pub(super) fn has_expired(&self, now: Clocks) -> bool {
        // Both: the wall clock alone could jump ahead and back, and the monotonic clock alone could
        // run ahead of a wall clock that was set back, by which the ticket is still accepted.
        // A text whose handler runs is never evicted: its waiters would run the handler, too.
        now.wall > self.until && now.monotonic > self.until_monotonic && !self.texts.any_runs()
    }
}

/// The texts that a ticket was redeemed for. A ticket for one object has one text, stored inline to
/// avoid a second allocation. Many are a map: a ticket for a prefix can have 65,535 of them, and
/// any replay looks one up. A tree, unlike a hash table, never moves all of them at once.
pub(super) enum Texts {
    None,
    One(Digest, State),
    Many(Box<Many>),
}

#[derive(Default)]
pub(super) struct Many {
    texts: BTreeMap<Digest, State>,
    /// The number of texts whose handler runs.
    running: usize,
}

impl Texts {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One(..) => 1,
            Self::Many(many) => many.texts.len(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn get_mut(&mut self, digest: Digest) -> Option<&mut State> {
        match self {
            Self::One(known, state) if *known == digest => Some(state),
            Self::Many(many) => many.texts.get_mut(&digest),
            Self::None | Self::One(..) => None,
        }
    }

    /// Adds a text that is not there yet.
    fn insert(&mut self, digest: Digest, run: Run) {
        let state = State::Running(Box::new(run));
        *self = match mem::replace(self, Self::None) {
            Self::None => Self::One(digest, state),
            Self::One(first, known) => {
                let running = 1 + usize::from(known.runs());
                let texts = [(first, known), (digest, state)].into();
                Self::Many(Box::new(Many { texts, running }))
            }
            Self::Many(mut many) => {
                many.texts.insert(digest, state);
                many.running += 1;
                Self::Many(many)
            }
        };
    }

    /// Replaces a text whose handler runs. Has no effect on any other.
    pub(super) fn finish(&mut self, digest: Digest, finished: Finished) {
        match self.get_mut(digest) {
            Some(state) if state.runs() => *state = State::Finished(Box::new(finished)),
            _ => return,
        }
        if let Self::Many(many) = self {
            many.running -= 1;
        }
    }

    /// Removes a text whose handler runs. Returns `None`, and removes nothing, if it has finished.
    pub(super) fn remove_run(&mut self, digest: Digest) -> Option<Box<Run>> {
        if !self.get_mut(digest)?.runs() {
            return None;
        }
        let removed = match self {
            Self::Many(many) => {
                many.running -= 1;
                many.texts.remove(&digest)
            }
            Self::None | Self::One(..) => match mem::replace(self, Self::None) {
                Self::One(_, state) => Some(state),
                Self::None | Self::Many(_) => None,
            },
        };
        match removed {
            Some(State::Running(run)) => Some(run),
            _ => None,
        }
    }

    fn any_runs(&self) -> bool {
        match self {
            Self::None => false,
            Self::One(_, state) => state.runs(),
            Self::Many(many) => many.running > 0,
        }
    }

    /// Returns whether a text is not only held. Visits all texts of a ticket for several objects,
    /// which no recovery redeems.
    pub(super) fn any_is_used_up(&self) -> bool {
        match self {
            Self::None => false,
            Self::One(_, state) => state.is_used_up(),
            Self::Many(many) => {
                many.running < many.texts.len() || many.texts.values().any(State::is_used_up)
            }
        }
    }

    /// Removes one of the texts, which have all finished, and returns the bytes of its reply.
    pub(super) fn free_one(&mut self) -> Option<usize> {
        let state = match self {
            Self::None => None,
            Self::One(..) => match mem::replace(self, Self::None) {
                Self::One(_, state) => Some(state),
                Self::None | Self::Many(_) => None,
            },
            Self::Many(many) => many.texts.pop_first().map(|(_, state)| state),
        };
        state.map(|state| state.reply_bytes())
    }
}

/// The redemption of a ticket for one text.
pub(super) enum State {
    Running(Box<Run>),
    Finished(Box<Finished>),
}

impl State {
    pub(super) const fn runs(&self) -> bool {
        matches!(self, Self::Running(_))
    }

    pub(super) fn fence(&self) -> u128 {
        u128::from_be_bytes(match self {
            Self::Running(run) => run.fence,
            Self::Finished(finished) => finished.fence,
        })
    }

    /// Records that the handler was started.
    pub(super) fn start(&mut self) {
        if let Self::Running(run) = self {
            run.started = true;
        }
    }

    fn is_used_up(&self) -> bool {
        match self {
            Self::Running(run) => run.started,
            Self::Finished(_) => true,
        }
    }

    fn reply_bytes(&self) -> usize {
        match self {
            Self::Finished(finished) => finished.reply.as_ref().map_or(0, Finished::size_of),
            Self::Running(_) => 0,
        }
    }
}

/// A handler that runs.
pub(super) struct Run {
    // In bytes, because the alignment of `u128` would cost another eight.
    fence: [u8; 16],
    /// Created by the first waiter: most callbacks have none.
    done: Option<Arc<Notify>>,
    /// Whether it counts as a start of the handler.
    pub(super) counted: bool,
    /// Whether an at-most-once handler was started.
    started: bool,
}

impl Run {
    fn new(attempt: &Attempt) -> Self {
        Self {
            fence: attempt.fence().to_be_bytes(),
            done: None,
            counted: !attempt.is_at_most_once(),
            started: false,
        }
    }

    pub(super) fn fence(&self) -> u128 {
        u128::from_be_bytes(self.fence)
    }

    /// Returns a future that completes when this run ends.
    pub(super) fn wait(&mut self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let done = self.done.get_or_insert_default().clone();
        // `notify_waiters` wakes futures that exist, polled or not. Created here, under the lock,
        // this one misses no notification.
        Box::pin(done.notified_owned())
    }
}

/// Wakes the waiters however the run ends: finished, released or evicted.
impl Drop for Run {
    fn drop(&mut self) {
        if let Some(done) = &self.done {
            done.notify_waiters();
        }
    }
}

/// A handler that has run.
pub(super) struct Finished {
    fence: [u8; 16],
    /// Compact. `None` if there was no room for it.
    pub(super) reply: Option<StoredReply>,
}

impl Finished {
    pub(super) fn new(fence: u128, reply: Option<StoredReply>) -> Self {
        let fence = fence.to_be_bytes();
        Self { fence, reply }
    }

    /// Returns the memory that a stored reply takes, in bytes.
    pub(super) fn size_of(reply: &StoredReply) -> usize {
        size_of::<Self>() + reply.heap_bytes()
    }
}
