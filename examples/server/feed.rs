//! What has happened, for those who ask, and for those who watch.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::response::sse::{Event, KeepAlive, Sse};
use serde_json::{Value, json};
use tokio::sync::{broadcast, mpsc, watch};
use tokio_stream::{Stream, wrappers::ReceiverStream};

/// What is remembered; older ones are forgotten.
const MAX_UPLOADS: usize = 200;
const MAX_TRACES: usize = 30;
/// How far a slow watcher may lag before he is sent everything anew.
const MAX_LAG: usize = 256;

#[derive(Clone)]
pub(crate) struct Feed(Arc<Inner>);

struct Inner {
    kept: Mutex<Kept>,
    live: broadcast::Sender<News>,
    closed: watch::Sender<bool>,
}

/// Newest first.
#[derive(Default)]
struct Kept {
    uploads: VecDeque<Value>,
    traces: VecDeque<Value>,
}

#[derive(Clone)]
struct News {
    kind: &'static str,
    data: Arc<str>,
}

impl Feed {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner {
            kept: Mutex::default(),
            live: broadcast::channel(MAX_LAG).0,
            closed: watch::channel(false).0,
        }))
    }

    /// A verified callback brought this.
    pub(crate) fn upload(&self, upload: Value) {
        self.add("upload", upload, |kept| (&mut kept.uploads, MAX_UPLOADS));
    }

    /// A step as a server saw it.
    pub(crate) fn trace(&self, trace: Value) {
        self.add("trace", trace, |kept| (&mut kept.traces, MAX_TRACES));
    }

    fn add(
        &self,
        kind: &'static str,
        value: Value,
        list: impl FnOnce(&mut Kept) -> (&mut VecDeque<Value>, usize),
    ) {
        let data = value.to_string().into();
        let mut kept = self.kept();
        let (list, max) = list(&mut kept);
        list.truncate(max - 1);
        list.push_front(value);
        // Under the lock, so that whoever takes a snapshot misses nothing and gets nothing twice.
        let _ = self.0.live.send(News { kind, data });
    }

    /// What verified callbacks brought, newest first.
    pub(crate) fn uploads(&self) -> Value {
        self.kept().uploads.iter().cloned().collect()
    }

    /// Ends every stream, and those that begin later.
    pub(crate) fn close(&self) {
        self.0.closed.send_replace(true);
    }

    /// All that is remembered, then everything as it happens.
    pub(crate) fn stream(&self) -> Sse<impl Stream<Item = Result<Event, Infallible>> + use<>> {
        let (events, stream) = mpsc::channel(16);
        let feed = self.clone();
        tokio::spawn(async move {
            let mut closed = feed.0.closed.subscribe();
            tokio::select! {
                () = feed.follow(&events) => {}
                _ = closed.wait_for(|closed| *closed) => {}
                () = events.closed() => {}
            }
        });
        Sse::new(ReceiverStream::new(stream)).keep_alive(KeepAlive::default())
    }

    async fn follow(&self, events: &mpsc::Sender<Result<Event, Infallible>>) {
        loop {
            let (snapshot, mut live) = self.snapshot();
            let snapshot = Event::default().event("snapshot").data(snapshot);
            if events.send(Ok(snapshot)).await.is_err() {
                return;
            }
            loop {
                let news = match live.recv().await {
                    Ok(news) => news,
                    Err(broadcast::error::RecvError::Lagged(_)) => break,
                    Err(broadcast::error::RecvError::Closed) => return,
                };
                let event = Event::default().event(news.kind).data(&*news.data);
                if events.send(Ok(event)).await.is_err() {
                    return;
                }
            }
        }
    }

    fn snapshot(&self) -> (String, broadcast::Receiver<News>) {
        let kept = self.kept();
        let live = self.0.live.subscribe();
        let snapshot = json!({ "uploads": kept.uploads, "traces": kept.traces });
        (snapshot.to_string(), live)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Nothing is left half-done under this lock.
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
