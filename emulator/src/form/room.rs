//! The memory of large forms, which they take before any signature is verified.
//!
//! A few large forms are read at a time, and others wait. A client that sends slowly could keep
//! them waiting, so a form keeps its place for certain only for a while. After that, a form that
//! waits displaces the one that has had its place for longest.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Instant, sleep_until},
};

use crate::errors::{self, OssError};

/// How many large forms are in memory at a time.
const MAX_LARGE: usize = 3;
/// How long a form keeps its place even if others wait. Within it, 8 MiB of fields arrive over a
/// connection of 13 Mbit/s.
const CERTAIN: Duration = Duration::from_secs(5);

/// Limits the memory of all forms together.
#[derive(Clone, Debug)]
pub(crate) struct FormRoom(Arc<Room>);

#[derive(Debug)]
struct Room {
    places: Arc<Semaphore>,
    queue: watch::Sender<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: usize,
    /// The forms that have a place, in the order in which they got it.
    placed: VecDeque<u64>,
    next: u64,
}

impl FormRoom {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Room {
            places: Arc::new(Semaphore::new(MAX_LARGE)),
            queue: watch::Sender::default(),
        }))
    }

    /// Waits for a place. Forms get theirs in the order in which they ask.
    pub(super) async fn enter(&self) -> Result<Place, OssError> {
        let room = &self.0;
        room.queue.send_modify(|queue| queue.waiting += 1);
        let waiting = Waiting(room);
        let permit = room.places.clone().acquire_owned().await;
        let permit = permit.map_err(|_| errors::INTERNAL)?;
        drop(waiting);
        let mut id = 0;
        room.queue.send_modify(|queue| {
            id = queue.next;
            queue.next += 1;
            queue.placed.push_back(id);
        });
        Ok(Place {
            room: room.clone(),
            id,
            certain_until: Instant::now() + CERTAIN,
            _permit: permit,
        })
    }
}

/// Counts a form that waits, until it is dropped.
struct Waiting<'a>(&'a Room);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.queue.send_modify(|queue| queue.waiting -= 1);
    }
}

/// The place of a large form, released on drop.
#[derive(Debug)]
pub(super) struct Place {
    room: Arc<Room>,
    id: u64,
    certain_until: Instant,
    // Released after `drop` has run, so that the next form finds this one gone.
    _permit: OwnedSemaphorePermit,
}

impl Place {
    /// Runs `work` until it ends, or until another form needs the place. Returns `None` then.
    pub(super) async fn unless_displaced<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        let mut displaced = pin!(self.displaced());
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending => displaced.as_mut().poll(cx).map(|()| None),
        })
        .await
    }

    async fn displaced(&self) {
        sleep_until(self.certain_until).await;
        let mut queue = self.room.queue.subscribe();
        let is_needed = |queue: &Queue| {
            let free = MAX_LARGE.saturating_sub(queue.placed.len());
            queue.waiting > free && queue.placed.front() == Some(&self.id)
        };
        // The sender is in `self`, so it is not closed.
        let _ = queue.wait_for(is_needed).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let leave = |queue: &mut Queue| queue.placed.retain(|id| *id != self.id);
        self.room.queue.send_modify(leave);
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    /// Returns whether a future is still waiting after all that can happen now has happened.
    async fn is_waiting<T>(future: &mut (impl Future<Output = T> + Unpin)) -> bool {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let now = tokio::time::timeout(Duration::ZERO, future);
        now.await.is_err()
    }

    #[tokio::test(start_paused = true)]
    async fn a_form_that_waits_displaces_the_oldest_one() {
        let room = FormRoom::new();
        let mut slow = Vec::new();
        for _ in 0..MAX_LARGE {
            let place = room.enter().await.unwrap();
            slow.push(tokio::spawn(async move {
                place.unless_displaced(pending::<()>()).await
            }));
        }
        let started = Instant::now();
        let first = room.enter().await.unwrap();
        assert_eq!(started.elapsed(), CERTAIN);
        assert_eq!((&mut slow[0]).await.unwrap(), None);
        // One form waited, so one was displaced.
        assert!(is_waiting(&mut slow[1]).await && is_waiting(&mut slow[2]).await);

        // The others have had their places for long enough.
        let second = room.enter().await.unwrap();
        assert_eq!((&mut slow[1]).await.unwrap(), None);
        assert!(is_waiting(&mut slow[2]).await);
        assert_eq!(started.elapsed(), CERTAIN);
        drop((first, second));

        // Nobody waits.
        tokio::time::advance(CERTAIN * 100).await;
        assert!(is_waiting(&mut slow[2]).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_form_that_gives_up_displaces_no_one() {
        let room = FormRoom::new();
        let mut places = Vec::new();
        for _ in 0..MAX_LARGE {
            places.push(room.enter().await.unwrap());
        }
        let mut entering = Box::pin(room.enter());
        assert!(is_waiting(&mut entering).await);
        drop(entering);
        tokio::time::advance(CERTAIN).await;
        let mut reading = Box::pin(places[0].unless_displaced(pending::<()>()));
        assert!(is_waiting(&mut reading).await);
        let done = places[1].unless_displaced(async { 1 }).await;
        assert_eq!(done, Some(1));
        drop(reading);
        drop(places);
        assert_eq!(room.0.places.available_permits(), MAX_LARGE);
        assert_eq!(room.0.queue.borrow().waiting, 0);
        assert!(room.0.queue.borrow().placed.is_empty());
    }
}
