//! The last requests, for `GET /_emulator/requests` and for the page.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use jiff::Timestamp;
use serde::Serialize;

use crate::{
    report::{Exchange, UploadReport, UploadStep},
    request_report::RequestReport,
};

/// How many requests are kept.
const MAX_ENTRIES: usize = 1000;
/// How much the texts of the kept requests may take, in bytes.
const MAX_BYTES: usize = 8 * 1024 * 1024;
/// How many uploads are kept whose request has not ended.
const MAX_WAITING: usize = 100;
/// How much of one text is kept, in bytes.
const MAX_TEXT: usize = 16 * 1024;
/// Query parameters with signatures, tokens and tickets. Who has one can repeat the request.
const SECRET: [&str; 7] = [
    "Signature",
    // Its body has the ticket.
    "callback",
    "callback-var",
    "security-token",
    "signature",
    "x-oss-security-token",
    "x-oss-signature",
];

/// A request, as JSON shows it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    /// Counts the requests since the start, from 1.
    pub(super) sequence: u64,
    pub(super) time: String,
    pub(super) request_id: String,
    pub(super) client: Option<String>,
    pub(super) method: String,
    pub(super) host: String,
    /// Path and query. The values of signatures and tokens are replaced.
    pub(super) target: String,
    pub(super) bucket: Option<String>,
    pub(super) key: Option<String>,
    pub(super) operation: Option<String>,
    /// `None` if the client disconnected before the response.
    pub(super) status: Option<u16>,
    pub(super) code: Option<String>,
    pub(super) ec: Option<String>,
    pub(super) message: Option<String>,
    pub(super) milliseconds: u64,
    /// What an upload did. `None` for other requests.
    pub(super) upload: Option<Upload>,
    pub(super) callbacks: Vec<Callback>,
}

/// The part of an [`UploadReport`] that is kept.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Upload {
    pub(super) steps: Vec<&'static str>,
    pub(super) file_name: Option<String>,
    /// The policy as JSON text.
    pub(super) policy: Option<String>,
    /// The callback parameters as JSON text.
    pub(super) callback: Option<String>,
}

/// A callback that was sent.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Callback {
    pub(super) url: String,
    pub(super) body: String,
    /// `None` if no response arrived.
    pub(super) status: Option<u16>,
    /// Why no response arrived, or not all of it.
    pub(super) failure: Option<String>,
    pub(super) response: String,
}

/// The last requests, bounded by number and size. Clones of the entries are returned.
#[derive(Debug, Default)]
pub(super) struct History(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    count: u64,
    bytes: usize,
    entries: VecDeque<Entry>,
    /// Uploads whose request has not ended, by request ID.
    waiting: VecDeque<(String, Upload, Vec<Callback>)>,
}

impl History {
    /// Records an upload, whose request is reported later. If the client is gone, it is already.
    pub(super) fn uploaded(&self, report: &UploadReport) {
        let upload = Upload {
            steps: report.steps().iter().map(|step| step_name(*step)).collect(),
            file_name: report.file_name().map(bounded),
            policy: report.policy().map(bounded),
            callback: report.callback().map(bounded),
        };
        let callbacks: Vec<_> = report.exchanges().iter().map(Callback::of).collect();
        let mut state = self.state();
        // Of a client that waits for the response, the upload is reported first.
        let gone =
            |entry: &&mut Entry| entry.status.is_none() && entry.request_id == report.request_id();
        if let Some(entry) = state.entries.iter_mut().rev().find(gone) {
            let before = entry.size();
            entry.upload = Some(upload);
            entry.callbacks = callbacks;
            let after = entry.size();
            state.bytes = (state.bytes + after).saturating_sub(before);
            state.trim();
            return;
        }
        if state.waiting.len() == MAX_WAITING {
            state.waiting.pop_front();
        }
        let id = report.request_id().to_owned();
        state.waiting.push_back((id, upload, callbacks));
    }

    /// Records a request, and returns what is kept of it.
    pub(super) fn requested(&self, report: &RequestReport) -> Entry {
        let mut entry = Entry::of(report);
        let mut state = self.state();
        let waiting = state.waiting.iter();
        let at = waiting
            .map(|(id, ..)| id)
            .position(|id| *id == entry.request_id);
        if let Some((_, upload, callbacks)) = at.and_then(|at| state.waiting.remove(at)) {
            entry.upload = Some(upload);
            entry.callbacks = callbacks;
        }
        state.count += 1;
        entry.sequence = state.count;
        state.bytes += entry.size();
        state.entries.push_back(entry.clone());
        state.trim();
        entry
    }

    /// Returns the requests behind `after`, the oldest first, and the number of the last request.
    ///
    /// A larger number is one of an earlier process, so all requests are behind it.
    pub(super) fn after(&self, after: u64) -> (Vec<Entry>, u64) {
        let state = self.state();
        let after = if after > state.count { 0 } else { after };
        let entries = state.entries.iter();
        let found = entries.filter(|entry| entry.sequence > after);
        (found.cloned().collect(), state.count)
    }

    /// Forgets the requests. The count goes on, so that a client which polls misses none.
    pub(super) fn clear(&self) {
        let mut state = self.state();
        state.entries.clear();
        state.bytes = 0;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn trim(&mut self) {
        while self.entries.len() > MAX_ENTRIES || self.bytes > MAX_BYTES {
            let Some(oldest) = self.entries.pop_front() else {
                self.bytes = 0;
                return;
            };
            self.bytes = self.bytes.saturating_sub(oldest.size());
        }
    }
}

impl Entry {
    fn of(report: &RequestReport) -> Self {
        let refusal = report.refusal();
        let milliseconds = u64::try_from(report.duration().as_millis());
        Self {
            sequence: 0,
            time: timestamp(report.received()),
            request_id: report.request_id().to_owned(),
            client: report.client().map(|client| client.ip().to_string()),
            method: bounded(report.method().as_str()),
            host: bounded(report.host()),
            target: bounded(&target(report)),
            bucket: report.bucket().map(bounded),
            key: report.key().map(bounded),
            operation: report.operation().map(Into::into),
            status: report.status().map(|status| status.as_u16()),
            code: refusal.map(|(code, _)| code.to_owned()),
            ec: report.ec().map(Into::into),
            message: refusal.map(|(_, message)| bounded(message)),
            milliseconds: milliseconds.unwrap_or(u64::MAX),
            upload: None,
            callbacks: Vec::new(),
        }
    }

    /// Returns the size of the texts whose length a client chooses.
    fn size(&self) -> usize {
        let texts = [&self.bucket, &self.key, &self.message]
            .into_iter()
            .flatten();
        let upload = self.upload.iter();
        let uploads =
            upload.flat_map(|u| [&u.file_name, &u.policy, &u.callback].into_iter().flatten());
        let lengths = texts.chain(uploads).map(String::len);
        let callbacks = self.callbacks.iter();
        let callbacks = callbacks.map(|c| {
            let failure = c.failure.as_ref().map_or(0, String::len);
            c.url.len() + c.body.len() + failure + c.response.len()
        });
        let own = self.method.len() + self.host.len() + self.target.len();
        size_of::<Self>() + own + lengths.chain(callbacks).sum::<usize>()
    }
}

impl Callback {
    fn of(exchange: &Exchange) -> Self {
        Self {
            url: bounded(exchange.url()),
            body: bounded(&String::from_utf8_lossy(exchange.body())),
            status: exchange.status().map(|status| status.as_u16()),
            failure: exchange.failure().map(bounded),
            response: bounded(&String::from_utf8_lossy(exchange.answer())),
        }
    }
}

/// Returns path and query, without the values that must not be in a log.
fn target(report: &RequestReport) -> String {
    let uri = report.target();
    let Some(query) = uri.query() else {
        return uri.path().to_owned();
    };
    let parameters = query
        .split('&')
        .map(|parameter| match parameter.split_once('=') {
            // A name may be percent-encoded, which the emulator decodes.
            Some((name, _)) if is_secret(name) => format!("{name}=***"),
            _ => parameter.to_owned(),
        });
    let query = parameters.collect::<Vec<_>>().join("&");
    format!("{}?{query}", uri.path())
}

fn is_secret(name: &str) -> bool {
    let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
    SECRET.contains(&&*name)
}

/// Returns the text, or as much as is kept of it.
fn bounded(text: &str) -> String {
    if text.len() <= MAX_TEXT {
        return text.to_owned();
    }
    let end = (0..=MAX_TEXT).rev().find(|end| text.is_char_boundary(*end));
    format!("{}…", &text[..end.unwrap_or_default()])
}

/// Formats a time as in `2026-01-02T03:04:05.678Z`; empty if it is out of range.
pub(super) fn timestamp(time: SystemTime) -> String {
    Timestamp::try_from(time).map_or_else(|_| String::new(), |time| format!("{time:.3}"))
}

fn step_name(step: UploadStep) -> &'static str {
    match step {
        UploadStep::Form => "form",
        UploadStep::Signature => "signature",
        UploadStep::Expiry => "expiry",
        UploadStep::Conditions => "conditions",
        UploadStep::CallbackParameters => "callbackParameters",
        UploadStep::Size => "size",
        UploadStep::Stored => "stored",
        UploadStep::Callback => "callback",
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, Method, Request};
    use http_body_util::Full;
    use tower_service::Service as _;

    use super::*;
    use crate::service::Emulator;
    use std::sync::Arc;

    /// Records these requests.
    async fn history(requests: impl IntoIterator<Item = Request<Full<Bytes>>>) -> Arc<History> {
        let history = Arc::new(History::default());
        let observing = history.clone();
        let mut emulator = Emulator::builder()
            .bucket(
                "examplebucket"
                    .parse::<tower_aliyun_oss::protocol::Bucket>()
                    .unwrap(),
            )
            .request_observer(move |report| {
                observing.requested(&report);
            })
            .build()
            .unwrap();
        for request in requests {
            emulator.call(request).await.unwrap();
        }
        history
    }

    fn get(target: &str) -> Request<Full<Bytes>> {
        let request = Request::get(target).header("host", "127.0.0.1:9000");
        request.body(Full::default()).unwrap()
    }

    #[tokio::test]
    async fn em_06_signatures_and_tokens_are_not_kept() {
        let query = "x-oss-signature=s3cret&Signature=s3cret&security-token=s3cret&\
                     x-oss-security-tok%65n=s3cret&callback=s3cret&callback-var=s3cret&prefix=kept";
        let history = history([get(&format!("/examplebucket/a.txt?{query}"))]).await;
        let [entry] = &*history.after(0).0 else {
            panic!()
        };
        assert!(!serde_json::to_string(entry).unwrap().contains("s3cret"));
        assert!(
            entry.target.ends_with("callback-var=***&prefix=kept"),
            "{}",
            entry.target
        );
        assert!(!format!("{entry:?}").contains("s3cret"));
    }

    #[tokio::test]
    async fn em_09_a_bounded_number_is_kept() {
        let requests = (0..MAX_ENTRIES + 5).map(|n| get(&format!("/examplebucket/{n}")));
        let history = history(requests).await;
        let (entries, _) = history.after(0);
        assert_eq!(entries.len(), MAX_ENTRIES);
        assert_eq!(entries[0].key.as_deref(), Some("5"));
        let last = entries.last().unwrap().sequence;
        assert_eq!(last, MAX_ENTRIES as u64 + 5);
        assert_eq!(history.after(last - 2).0.len(), 2);
        history.clear();
        assert!(history.after(0).0.is_empty());
        assert_eq!(history.state().bytes, 0);
    }

    #[tokio::test]
    async fn em_09_large_requests_are_cut_and_bounded_together() {
        let long = "k".repeat(30_000);
        let requests = (0..400).map(|_| get(&format!("/examplebucket/{long}?prefix={long}")));
        let history = history(requests).await;
        let (entries, _) = history.after(0);
        assert!(
            entries.len() < 400 && entries.len() > 100,
            "{}",
            entries.len()
        );
        let size: usize = entries.iter().map(Entry::size).sum();
        assert!(size <= MAX_BYTES, "{size}");
        assert_eq!(history.state().bytes, size);
        assert!(entries[0].target.len() <= MAX_TEXT + 3);
    }

    #[test]
    fn an_upload_is_joined_with_its_request_in_either_order() {
        let history = History::default();
        let bucket = "examplebucket".parse().unwrap();
        let mut report = UploadReport::new("PutObject", "ID", &bucket);
        report.exchanges.push(Exchange::new(
            "http://app/",
            &HeaderMap::new(),
            Bytes::from_static(b"\xff"),
        ));
        history.uploaded(&report);
        let entry = Entry {
            sequence: 1,
            time: String::new(),
            request_id: "ID".into(),
            client: None,
            method: Method::PUT.to_string(),
            host: String::new(),
            target: "/".into(),
            bucket: None,
            key: None,
            operation: None,
            status: None,
            code: None,
            ec: None,
            message: None,
            milliseconds: 0,
            upload: None,
            callbacks: Vec::new(),
        };
        assert_eq!(history.state().waiting.len(), 1);
        history.state().waiting.clear();
        history.state().entries.push_back(entry);
        history.uploaded(&report);
        let [entry] = &*history.after(0).0 else {
            panic!()
        };
        assert_eq!(entry.callbacks[0].body, "\u{fffd}");
        assert!(history.state().waiting.is_empty());
        // Uploads whose requests never end do not pile up.
        for number in 0..MAX_WAITING + 10 {
            history.uploaded(&UploadReport::new(
                "PutObject",
                &number.to_string(),
                &bucket,
            ));
        }
        assert_eq!(history.state().waiting.len(), MAX_WAITING);
    }
}
