//! What is remembered of one ticket. Kept small: there is one for each that has not expired.

use std::{
    future::Future,
    mem,
    pin::Pin,
    slice,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::super::{
    reply::StoredReply,
    store::{Attempt, TextDigest},
};

/// A time by both clocks.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    /// Milliseconds since the store was made.
    pub(super) monotonic: u64,
    /// Seconds of Unix time.
    wall: u64,
}

impl Moment {
    pub(super) fn new(monotonic: u64, wall: SystemTime) -> Self {
        let wall = seconds(wall);
        Self { monotonic, wall }
    }

    /// In milliseconds since the store was made.
    pub(super) fn after(self, time: Duration) -> u64 {
        let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.monotonic.saturating_add(milliseconds)
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

pub(super) struct Entry {
    /// Seconds of Unix time.
    until: u64,
    /// The same by the monotonic clock, as it seemed when the ticket was first used.
    until_monotonic: u64,
    uses: Uses,
}

/// A ticket for one object has one use; that must not cost a second allocation.
enum Uses {
    One(Use),
    Many(Vec<Use>),
}

impl Uses {
    fn as_slice(&self) -> &[Use] {
        match self {
            Self::One(one) => slice::from_ref(one),
            Self::Many(many) => many,
        }
    }

    fn as_mut_slice(&mut self) -> &mut [Use] {
        match self {
            Self::One(one) => slice::from_mut(one),
            Self::Many(many) => many,
        }
    }

    /// Returns how many went.
    fn remove(&mut self, mut which: impl FnMut(&Use) -> bool) -> usize {
        let before = self.as_slice().len();
        match self {
            Self::One(one) if which(one) => *self = Self::Many(Vec::new()),
            Self::One(_) => {}
            Self::Many(many) => many.retain(|one| !which(one)),
        }
        before - self.as_slice().len()
    }

    fn push(&mut self, new: Use) {
        *self = match mem::replace(self, Self::Many(Vec::new())) {
            Self::One(one) => Self::Many(vec![one, new]),
            Self::Many(many) if many.is_empty() => Self::One(new),
            Self::Many(mut many) => {
                many.push(new);
                Self::Many(many)
            }
        };
    }
}

impl Entry {
    pub(super) fn new(attempt: &Attempt, now: Moment, first: Use) -> Self {
        let left = attempt.until().duration_since(attempt.now());
        Self {
            until: seconds(attempt.until()),
            until_monotonic: now.after(left.unwrap_or_default()),
            uses: Uses::One(first),
        }
    }

    pub(super) fn has_expired(&self, now: Moment) -> bool {
        now.wall > self.until && now.monotonic > self.until_monotonic
    }

    pub(super) fn find(&mut self, digest: TextDigest) -> Option<&mut Use> {
        let uses = self.uses.as_mut_slice();
        uses.iter_mut().find(|known| known.digest == digest)
    }

    pub(super) fn count_without_ended(&self, now: Moment) -> usize {
        let uses = self.uses.as_slice().iter();
        uses.filter(|known| !known.has_ended(now)).count()
    }

    pub(super) fn remove_ended(&mut self, now: Moment) -> usize {
        self.uses.remove(|known| known.has_ended(now))
    }

    pub(super) fn remove_run(&mut self, digest: TextDigest, fence: u128) -> usize {
        self.uses
            .remove(|known| known.digest == digest && known.is_run_by(fence))
    }

    pub(super) fn push(&mut self, new: Use) {
        self.uses.push(new);
    }

    pub(super) fn len(&self) -> usize {
        self.uses.as_slice().len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn answer_bytes(&self) -> usize {
        self.uses.as_slice().iter().map(Use::answer_bytes).sum()
    }
}

pub(super) struct Use {
    digest: TextDigest,
    state: State,
}

enum State {
    Running(Box<Run>),
    Answered(Box<Answer>),
}

struct Run {
    fence: u64,
    /// Milliseconds since the store was made.
    ends: u64,
    /// Made by the first who waits.
    done: Option<Arc<Notify>>,
}

/// However a run ends, those who wait for it look again.
impl Drop for Run {
    fn drop(&mut self) {
        if let Some(done) = &self.done {
            done.notify_waiters();
        }
    }
}

pub(super) struct Answer {
    fence: u128,
    reply: Option<StoredReply>,
}

impl Answer {
    /// What keeping it costs.
    pub(super) fn size_of(reply: &StoredReply) -> usize {
        let content_type = reply.content_type().map_or(0, |value| value.len());
        size_of::<Self>() + reply.body().len() + content_type
    }
}

/// What is known of a text that was seen before.
pub(super) enum Found {
    Answered(Option<StoredReply>),
    Running(Pin<Box<dyn Future<Output = ()> + Send>>),
    Ended,
}

impl Use {
    pub(super) fn running(attempt: &Attempt, fence: u64, now: Moment) -> Self {
        Self {
            digest: attempt.digest(),
            state: State::Running(Box::new(Run {
                fence,
                ends: now.after(attempt.lease_time()),
                done: None,
            })),
        }
    }

    /// `start` is when the store was made.
    pub(super) fn look(&mut self, start: Instant, now: Moment) -> Found {
        match &mut self.state {
            State::Answered(answer) => Found::Answered(answer.reply.clone()),
            State::Running(run) if run.ends <= now.monotonic => Found::Ended,
            State::Running(run) => {
                let done = run.done.get_or_insert_default().clone();
                // Registered here, under the lock: what happens from now on is not missed.
                let done = done.notified_owned();
                let ends = start.checked_add(Duration::from_millis(run.ends));
                Found::Running(Box::pin(async move {
                    match ends {
                        // Either way it is time to look again.
                        Some(ends) => drop(timeout_at(ends, done).await),
                        None => done.await,
                    }
                }))
            }
        }
    }

    pub(super) fn answer(&mut self, fence: u128, reply: Option<StoredReply>) {
        self.state = State::Answered(Box::new(Answer { fence, reply }));
    }

    pub(super) fn is_answered_by(&self, fence: u128) -> bool {
        matches!(&self.state, State::Answered(answer) if answer.fence == fence)
    }

    pub(super) fn is_run_by(&self, fence: u128) -> bool {
        matches!(&self.state, State::Running(run) if u128::from(run.fence) == fence)
    }

    fn has_ended(&self, now: Moment) -> bool {
        matches!(&self.state, State::Running(run) if run.ends <= now.monotonic)
    }

    fn answer_bytes(&self) -> usize {
        match &self.state {
            State::Answered(answer) => answer.reply.as_ref().map_or(0, Answer::size_of),
            State::Running(_) => 0,
        }
    }
}
