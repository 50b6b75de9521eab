//! The events of the page: uploads that callbacks confirmed, and traces of what the servers saw.
//!
//! The feed keeps the latest events and streams new ones to every open page.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aliyun_oss_emulator::{Exchange, UploadReport, UploadStep};
use axum::response::sse::{Event, KeepAlive, Sse};
use serde_json::{Value, json};
use tokio::sync::{broadcast, mpsc, watch};
use tokio_stream::{Stream, wrappers::ReceiverStream};

/// How many events are kept. Older ones are dropped.
const MAX_UPLOADS: usize = 200;
const MAX_TRACES: usize = 30;

/// How many events a slow page may lag behind before it is sent a new snapshot.
const MAX_LAG: usize = 256;

/// The maximum length of a text in a trace, in characters.
const MAX_TEXT: usize = 8 * 1024;

const STEPS: [(UploadStep, &str); 8] = [
    (UploadStep::Form, "form"),
    (UploadStep::Signature, "signature"),
    (UploadStep::Expiry, "expiry"),
    (UploadStep::Conditions, "conditions"),
    (UploadStep::CallbackParameters, "callbackParameters"),
    (UploadStep::Size, "size"),
    (UploadStep::Stored, "stored"),
    (UploadStep::Callback, "callback"),
];

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

    /// Adds an upload that a verified callback reported.
    pub(crate) fn upload(&self, upload: Value) {
        self.add("upload", upload, |kept| (&mut kept.uploads, MAX_UPLOADS));
    }

    /// Adds a trace of what a server saw.
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
        // Sent under the lock, so that a new subscriber gets each event exactly once: in its
        // snapshot or from the channel.
        let _ = self.0.live.send(News { kind, data });
    }

    /// Returns the uploads that verified callbacks reported, newest first.
    pub(crate) fn uploads(&self) -> Value {
        self.kept().uploads.iter().cloned().collect()
    }

    /// Ends all current and later streams.
    pub(crate) fn close(&self) {
        self.0.closed.send_replace(true);
    }

    /// Streams a snapshot of the kept events, then new events as they occur.
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
        // No code panics while it holds this lock, so the data is consistent.
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Describes an upload as the emulator saw it.
pub(crate) fn emulator_trace(report: &UploadReport) -> Value {
    let fields: Vec<_> = report
        .fields()
        .map(|(name, value)| json!([cut(name), cut(value)]))
        .collect();
    let passed: Vec<_> = STEPS
        .iter()
        .filter(|(step, _)| report.steps().contains(step))
        .map(|(_, name)| name)
        .collect();
    let exchanges: Vec<_> = report.exchanges().iter().map(exchange).collect();
    let refusal = report
        .refusal()
        .map(|(code, message)| json!({ "code": code, "message": cut(message), "ec": report.ec() }));
    json!({
        "kind": "oss",
        "requestId": report.request_id(),
        "bucket": report.bucket().to_string(),
        "fileName": report.file_name().map(cut),
        "fields": fields,
        "policy": report.policy().map(cut),
        "callback": report.callback().map(cut),
        "passed": passed,
        "exchanges": exchanges,
        "status": report.status().as_u16(),
        "refusal": refusal,
    })
}

fn exchange(exchange: &Exchange) -> Value {
    json!({
        "url": cut(exchange.url()),
        "headers": headers(exchange.headers()),
        "body": cut(&String::from_utf8_lossy(exchange.body())),
        "status": exchange.status().map(|status| status.as_u16()),
        "answer": cut(&String::from_utf8_lossy(exchange.answer())),
    })
}

/// Lists header names and values in the order of the request.
pub(crate) fn headers(headers: &http::HeaderMap) -> Value {
    headers
        .iter()
        .map(|(name, value)| {
            json!([
                name.as_str(),
                cut(&String::from_utf8_lossy(value.as_bytes()))
            ])
        })
        .collect()
}

/// Shortens a text to [`MAX_TEXT`] characters.
fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
