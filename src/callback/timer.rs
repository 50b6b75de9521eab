//! Deadlines.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

pin_project! {
    /// A deadline that costs nothing until something has to be waited for.
    #[derive(Default)]
    pub(super) struct Timer {
        started: Option<Instant>,
        #[pin]
        sleep: Option<Sleep>,
    }
}

impl Timer {
    /// A deadline that goes on from when another one has started, if it has.
    pub(super) fn resumed(started: Option<Instant>) -> Self {
        Self {
            started,
            sleep: None,
        }
    }

    /// When something first had to be waited for.
    pub(super) fn started(&self) -> Option<Instant> {
        self.started
    }

    /// Ready once `limit` has passed since the first call.
    pub(super) fn poll_after(
        self: Pin<&mut Self>,
        limit: Duration,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let mut this = self.project();
        let started = *this.started.get_or_insert_with(Instant::now);
        // A limit beyond what the clock can hold is none.
        let Some(deadline) = started.checked_add(limit) else {
            return Poll::Pending;
        };
        if this.sleep.is_none() {
            this.sleep.set(Some(sleep_until(deadline)));
        }
        let Some(mut sleep) = this.sleep.as_pin_mut() else {
            return Poll::Pending;
        };
        if sleep.deadline() != deadline {
            sleep.as_mut().reset(deadline);
        }
        sleep.poll(cx)
    }
}
