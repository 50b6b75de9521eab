//! The callback route: its handler, and a middleware that records what the layer checked.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use axum::{
    Extension, Json,
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};
use tower_aliyun_oss::callback::{
    CallbackError, CallbackErrorKind as Kind, CallbackReply, Origin, VerifiedCallback,
};

use crate::{
    backend::Claims,
    feed::{self, Feed},
};

/// The checks of the layer in their order, with the errors of each.
const CHECKS: [(&str, &[Kind]); 11] = [
    ("method", &[Kind::MethodNotAllowed]),
    (
        "headers",
        &[
            Kind::MissingHeader,
            Kind::DuplicateHeader,
            Kind::InvalidHeader,
            Kind::UnsupportedSignatureVersion,
        ],
    ),
    ("keyUrl", &[Kind::KeyUrlRejected]),
    ("target", &[Kind::NonCanonicalTarget]),
    (
        "contentType",
        &[
            Kind::UnsupportedContentType,
            Kind::UnsupportedContentEncoding,
        ],
    ),
    (
        "body",
        &[
            Kind::BodyTooLarge,
            Kind::BodyTimeout,
            Kind::BodyIncomplete,
            Kind::DeadlineExceeded,
        ],
    ),
    ("ticket", &[Kind::TicketMissing, Kind::TicketInvalid]),
    ("key", &[Kind::KeyUnavailable]),
    ("signature", &[Kind::SignatureMismatch]),
    ("grant", &[Kind::OutsideGrant]),
    ("oneUse", &[Kind::TicketUsed, Kind::StoreUnavailable]),
];

/// The state of the callback route.
#[derive(Clone)]
pub(crate) struct Watched(Arc<Inner>);

struct Inner {
    feed: Feed,
    runs: AtomicU64,
    last: Mutex<Option<Callback>>,
}

/// A callback request as it was received.
#[derive(Clone)]
pub(crate) struct Callback {
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Whether the handler has run for this request.
#[derive(Clone, Default)]
pub(crate) struct Ran(Arc<AtomicBool>);

impl Watched {
    pub(crate) fn new(feed: Feed) -> Self {
        Self(Arc::new(Inner {
            feed,
            runs: AtomicU64::new(0),
            last: Mutex::new(None),
        }))
    }

    /// Returns how often the handler ran.
    pub(crate) fn runs(&self) -> u64 {
        self.0.runs.load(Ordering::SeqCst)
    }

    /// Returns the last callback that the handler accepted.
    pub(crate) fn last(&self) -> Option<Callback> {
        let last = self.0.last.lock();
        last.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn remember(&self, callback: Callback) {
        let last = self.0.last.lock();
        *last.unwrap_or_else(PoisonError::into_inner) = Some(callback);
    }
}

/// Handles a callback. The layer passes on only callbacks that OSS signed and this server granted,
/// each of them once.
pub(crate) async fn on_upload(
    State(watched): State<Watched>,
    Extension(ran): Extension<Ran>,
    headers: HeaderMap,
    callback: VerifiedCallback,
) -> Response {
    ran.0.store(true, Ordering::SeqCst);
    let number = watched.0.runs.fetch_add(1, Ordering::SeqCst) + 1;
    let (event, claims) = match (callback.event(), callback.claims::<Option<Claims>>()) {
        (Ok(event), Ok(claims)) => (event, claims.unwrap_or_default()),
        (Err(error), _) => return failed(&error),
        (_, Err(error)) => return failed(&error),
    };
    if claims.fail {
        return failed(&"the page requested a failing handler");
    }
    let recovered = callback.origin() == Origin::Recovered;
    let upload = json!({
        "number": number,
        "receivedAt": Timestamp::now().to_string(),
        "requestId": event.req_id(),
        "bucket": event.bucket(),
        "object": event.object(),
        "size": event.size(),
        "etag": event.etag(),
        "mimeType": event.mime_type(),
        "filename": callback.requested_filename(),
        "recovered": recovered,
    });
    let answer = json!({ "Status": "OK", "number": number, "object": event.object() });
    let reply = match CallbackReply::json(&answer) {
        Ok(reply) => reply,
        Err(error) => return failed(&error),
    };
    watched.0.feed.upload(upload);
    // Without a signature, it cannot be replayed.
    if !recovered {
        watched.remember(Callback {
            target: callback.target().as_str().to_owned(),
            headers,
            body: callback.body().clone(),
        });
    }
    reply.into_response()
}

fn failed(error: &dyn std::fmt::Display) -> Response {
    tracing::warn!(%error, "failed to handle a callback");
    let answer = json!({ "code": "NotHandled", "message": "the upload was not recorded" });
    (StatusCode::INTERNAL_SERVER_ERROR, Json(answer)).into_response()
}

/// Wraps the layer and adds a trace of its decision to the feed.
pub(crate) async fn watch(
    State(watched): State<Watched>,
    mut request: Request,
    next: Next,
) -> Response {
    let ran = Ran::default();
    request.extensions_mut().insert(ran.clone());
    let headers = feed::headers(request.headers());
    let id = request.headers().get("x-oss-request-id");
    let id = id.and_then(|id| id.to_str().ok()).map(ToOwned::to_owned);
    let response = next.run(request).await;
    let mut seen = outcome(&response, &ran);
    seen["kind"] = "application".into();
    seen["requestId"] = id.into();
    seen["headers"] = headers;
    watched.0.feed.trace(seen);
    response
}

/// Derives from a response which checks of the layer passed.
fn outcome(response: &Response, ran: &Ran) -> Value {
    let error = response.extensions().get::<CallbackError>();
    let kind = error.map(CallbackError::kind);
    let failed = CHECKS
        .iter()
        .position(|(_, kinds)| kind.is_some_and(|kind| kinds.contains(&kind)));
    let checks: Vec<_> = CHECKS
        .iter()
        .enumerate()
        .map(|(at, (name, _))| {
            let state = match failed {
                Some(failed) if at == failed => "failed",
                Some(failed) if at > failed => "notReached",
                _ => "passed",
            };
            json!({ "name": name, "state": state })
        })
        .collect();
    json!({
        "status": response.status().as_u16(),
        "code": kind.map(|kind| format!("{kind:?}")),
        "checks": checks,
        "ran": ran.0.load(Ordering::SeqCst),
    })
}
