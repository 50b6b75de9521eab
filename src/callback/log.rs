//! What the layer logs, and how often.

mod cause;

#[cfg(feature = "axum")]
use std::sync::LazyLock;
use std::{
    error::Error,
    fmt::Display,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use http::{
    Response, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use http_body::Body;
use tokio::time::Instant;

use self::cause::{Cause, Repeated};
use super::{
    error::{CallbackError, CallbackErrorKind as Kind},
    reply::MAX_REPLY_LEN,
};
use crate::{
    key::{KeyTable, KeyUrl},
    storage::StorageError,
    ticket::store::Nonce,
};

/// The log of one layer. Anyone can provoke its messages, so each problem is a warning once and a
/// debug message afterwards.
#[derive(Clone, Debug, Default)]
pub(super) struct Log(Arc<Warned>);

/// What has been warned of.
#[derive(Debug)]
struct Warned {
    started: Instant,
    causes: [Repeated; Cause::COUNT],
    rejected_responses: AtomicU8,
    store: AtomicBool,
    unusable_response: AtomicBool,
    not_json: AtomicBool,
    /// One bit per entry of a key table.
    missing_keys: [AtomicU64; KeyTable::MAX_PATHS.div_ceil(64)],
}

/// Why OSS counts a response as a failure (documentation of status 203).
#[derive(Clone, Copy)]
enum Rejected {
    Status = 1,
    NoLength = 2,
    TooLarge = 4,
}

impl Log {
    /// Logs a rejected request. The texts are constant. The only part of the request that is logged
    /// is `missing_key`, and that URL is an entry of the key table.
    pub(super) fn rejection(&self, error: &CallbackError, missing_key: Option<&KeyUrl>) {
        let reason = error.source();
        if let Some(cause) = Cause::of(error) {
            match reason.filter(|why| why.is::<StorageError>()) {
                // It has the status and the code of OSS.
                Some(why) => self.warn_as(cause, &format_args!("{} ({why})", cause.text())),
                None => self.warn(cause),
            }
        }
        let newly_missing = missing_key.filter(|url| self.0.first_missing_key(url.entry()));
        match (error.kind(), newly_missing) {
            (Kind::StoreUnavailable, _) if first(&self.0.store) => tracing::warn!(
                target: "tower_aliyun_oss::rejection",
                reason,
                "the store of used tickets fails; the callback is rejected with 503"
            ),
            (Kind::UnusableAnswer, _) if first(&self.0.unusable_response) => tracing::warn!(
                target: "tower_aliyun_oss::rejection",
                "the response to a callback with a ticket fails or is over 1 MiB; the callback is \
                 rejected with 503"
            ),
            (_, Some(url)) => tracing::warn!(
                target: "tower_aliyun_oss::rejection",
                key_url = %url,
                version = url.official_version(),
                reason,
                "the public key that a callback names is not available; the callback is rejected \
                 with 503"
            ),
            _ => tracing::debug!(
                target: "tower_aliyun_oss::rejection",
                status = error.status().as_u16(),
                key_url = missing_key.map(tracing::field::display),
                reason,
                "{error}"
            ),
        }
    }

    /// Warns of a signature that was made with the key that the callback names, over another text.
    pub(super) fn mismatch_of_this_key(&self) {
        self.warn(Cause::Mismatch);
    }

    /// Warns of a ticket of this server for another target than that of the callback.
    /// `stripped_prefix` tells of a prefix that explains it, and consists of configured text.
    pub(super) fn other_target(&self, stripped_prefix: Option<&impl Display>) {
        match stripped_prefix {
            Some(text) => self.warn_as(Cause::StrippedPrefix, text),
            None => self.warn(Cause::TicketTarget),
        }
    }

    fn warn(&self, cause: Cause) {
        self.warn_as(cause, &cause.text());
    }

    fn warn_as(&self, cause: Cause, text: &impl Display) {
        let seconds = self.0.started.elapsed().as_secs();
        let repeated = self.0.causes.get(cause as usize);
        if let Some(count) = repeated.and_then(|repeated| repeated.occurred(seconds)) {
            tracing::warn!(target: "tower_aliyun_oss::rejection", count, "{text}");
        }
    }

    /// Warns that the handler failed for a ticket, or OSS refuted it, as often as may be. Logged
    /// once per ticket, which takes a ticket of yours.
    pub(super) fn too_many_attempts(nonce: Nonce) {
        tracing::warn!(
            target: "tower_aliyun_oss::rejection",
            ?nonce,
            "the handler has failed for a ticket as often as Tickets::max_attempts allows, or OSS \
             refuted 20 of its callbacks; its callbacks are rejected with 503"
        );
    }

    /// Reports a request without a verified callback to a handler that takes one, once and once an
    /// hour again with a count. Such a handler can be without a layer, so all of them share the
    /// count.
    #[cfg(feature = "axum")]
    pub(super) fn not_verified() {
        static REPORTED: LazyLock<(std::time::Instant, Repeated)> =
            LazyLock::new(|| (std::time::Instant::now(), Repeated::default()));
        let (started, repeated) = &*REPORTED;
        if let Some(count) = repeated.occurred(started.elapsed().as_secs()) {
            tracing::error!(
                count,
                "a request that OssCallbackLayer did not verify reached a handler that takes a \
                 VerifiedCallback: is the layer on this route? if it has only_path, does that equal \
                 this path byte for byte?"
            );
        }
    }

    /// Warns of a response to a verified callback that OSS rejects. `body` is the whole body, if it
    /// is in memory.
    pub(super) fn response<B: Body<Data = Bytes>>(
        &self,
        response: &Response<B>,
        body: Option<&[u8]>,
    ) {
        let length = match response.headers().get(CONTENT_LENGTH) {
            Some(value) => value.to_str().ok().and_then(|text| text.parse().ok()),
            None => response.body().size_hint().exact(),
        };
        let status = response.status();
        if status != StatusCode::OK && self.0.first_rejected(Rejected::Status) {
            tracing::warn!(
                status = status.as_u16(),
                "the response to a callback is not 200: OSS reports 203 CallbackFailed to the \
                 uploader and keeps the object"
            );
        }
        let readable = match body {
            Some(body) => is_json_or_xml(body),
            None => response
                .headers()
                .get(CONTENT_TYPE)
                .is_some_and(|value| names_json_or_xml(value.as_bytes())),
        };
        // An empty body has a warning of its own.
        if status == StatusCode::OK
            && !matches!(length, None | Some(0))
            && !readable
            && first(&self.0.not_json)
        {
            tracing::warn!(
                "the response to a callback is neither JSON nor XML: OSS reports 203 \
                 CallbackFailed to the uploader; return CallbackReply, or a JSON object with its \
                 content type"
            );
        }
        match length {
            // OSS calls the length of an empty response invalid, and an empty response is not JSON.
            None | Some(0) if self.0.first_rejected(Rejected::NoLength) => tracing::warn!(
                "the response to a callback has no exact length above zero: OSS rejects chunked \
                 and empty responses (is it compressed or streamed?)"
            ),
            Some(length) if length > MAX_REPLY_LEN && self.0.first_rejected(Rejected::TooLarge) => {
                tracing::warn!(
                    length,
                    "the response to a callback is over 1 MiB: OSS rejects it"
                );
            }
            _ => {}
        }
    }
}

impl Default for Warned {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            causes: Default::default(),
            rejected_responses: AtomicU8::default(),
            store: AtomicBool::default(),
            unusable_response: AtomicBool::default(),
            not_json: AtomicBool::default(),
            missing_keys: std::array::from_fn(|_| AtomicU64::default()),
        }
    }
}

/// Whether the log level asks for a diagnosis of mismatched signatures.
pub(super) fn diagnosis_enabled() -> bool {
    tracing::enabled!(target: "tower_aliyun_oss::diagnose", tracing::Level::DEBUG)
}

/// Logs a diagnosis. It contains only text that OSS signed, and escapes it.
pub(super) fn diagnosis(diagnosis: &impl Display) {
    tracing::debug!(target: "tower_aliyun_oss::diagnose", "{diagnosis}");
}

/// Whether a body is a JSON object or array, or looks like XML. A bare `null` or `OK` is neither.
fn is_json_or_xml(body: &[u8]) -> bool {
    match body.trim_ascii_start().first() {
        Some(b'{' | b'[') => serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok(),
        Some(b'<') => true,
        _ => false,
    }
}

fn names_json_or_xml(content_type: &[u8]) -> bool {
    let end = content_type.iter().position(|&byte| byte == b';');
    let essence = content_type.get(..end.unwrap_or(content_type.len()));
    let essence = essence
        .unwrap_or_default()
        .trim_ascii()
        .to_ascii_lowercase();
    [&b"/json"[..], b"+json", b"/xml", b"+xml"]
        .iter()
        .any(|end| essence.ends_with(end))
}

/// The load comes first so that later requests do not write to a cache line that all threads share.
fn first(warned: &AtomicBool) -> bool {
    !warned.load(Relaxed) && !warned.swap(true, Relaxed)
}

impl Warned {
    fn first_rejected(&self, why: Rejected) -> bool {
        let bit = why as u8;
        self.rejected_responses.load(Relaxed) & bit == 0
            && self.rejected_responses.fetch_or(bit, Relaxed) & bit == 0
    }

    fn first_missing_key(&self, entry: u16) -> bool {
        let bit = 1 << (entry % 64);
        self.missing_keys
            .get(usize::from(entry / 64))
            .is_some_and(|warned| warned.fetch_or(bit, Relaxed) & bit == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_oss_takes_for_json_or_xml() {
        for good in ["{}", " {\"a\":1}", "[]", "<a/>"] {
            assert!(is_json_or_xml(good.as_bytes()), "{good}");
        }
        for bad in ["", "OK", "null", "{", "\"ok\"", "\u{feff}{}"] {
            assert!(!is_json_or_xml(bad.as_bytes()), "{bad}");
        }
        for good in ["application/json", "Text/XML; charset=utf-8", "a/b+json"] {
            assert!(names_json_or_xml(good.as_bytes()), "{good}");
        }
        for bad in ["", "text/plain", "application/jsonp", "text/html"] {
            assert!(!names_json_or_xml(bad.as_bytes()), "{bad}");
        }
    }
}
