//! What the layer says in the log, and how often.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed},
};

use bytes::Bytes;
use http::{Response, StatusCode, header::CONTENT_LENGTH};
use http_body::Body;

use super::{
    diagnose::Diagnosis,
    error::{CallbackError, CallbackErrorKind},
    reply::MAX_REPLY_LEN,
};
use crate::key::{KeyTable, KeyUrl};

/// Anybody can provoke what is said here, so each thing is said loudly once and quietly from then on.
#[derive(Clone, Debug, Default)]
pub(super) struct Reporter(Arc<Said>);

#[derive(Debug, Default)]
struct Said {
    unusable_answers: AtomicU8,
    failing_store: AtomicBool,
    unanswered: AtomicBool,
    /// A bit for each entry a key table can have.
    missing_keys: [AtomicU64; KeyTable::MAX_PATHS.div_ceil(64)],
}

/// Why OSS would count an answer as a failure (error page of status 203).
#[derive(Clone, Copy)]
enum Unusable {
    Status = 1,
    NoLength = 2,
    TooLarge = 4,
}

impl Reporter {
    /// A refused request. The texts are ours; what the sender wrote stays out, or is the digits of a key version.
    pub(super) fn rejection(&self, error: &CallbackError, key_url: Option<&KeyUrl>) {
        let source = std::error::Error::source(error);
        let kind = error.kind();
        let key_url_of_missing = key_url.filter(|_| kind == CallbackErrorKind::KeyUnavailable);
        match key_url_of_missing {
            _ if kind == CallbackErrorKind::StoreUnavailable && first(&self.0.failing_store) => {
                tracing::warn!(
                    target: "tower_aliyun_oss::rejection",
                    reason = source,
                    "the store of used tickets fails; answered with 503"
                );
            }
            _ if kind == CallbackErrorKind::UnusableAnswer && first(&self.0.unanswered) => {
                tracing::warn!(
                    target: "tower_aliyun_oss::rejection",
                    "the answer to a callback with a ticket breaks off, or is over 1 MiB; answered with 503"
                );
            }
            Some(url) if self.0.first_without_key(url.entry()) => tracing::warn!(
                target: "tower_aliyun_oss::rejection",
                key_url = %url,
                version = url.official_version(),
                reason = source,
                "a callback names a public key that is not available; answered with 503"
            ),
            _ => tracing::debug!(
                target: "tower_aliyun_oss::rejection",
                status = error.status().as_u16(),
                key_url = key_url_of_missing.map(tracing::field::display),
                reason = source,
                "{error}"
            ),
        }
    }

    /// Whether anybody wants to read why a signature does not match.
    pub(super) fn wants_diagnosis() -> bool {
        tracing::enabled!(target: "tower_aliyun_oss::diagnose", tracing::Level::DEBUG)
    }

    /// Why a signature does not match; only what was signed by OSS stands in it, and escaped.
    pub(super) fn diagnosis(diagnosis: &Diagnosis) {
        tracing::debug!(target: "tower_aliyun_oss::diagnose", "{diagnosis}");
    }

    /// Warns of an answer to a verified callback that OSS would not take.
    pub(super) fn answer<B: Body<Data = Bytes>>(&self, response: &Response<B>) {
        let length = match response.headers().get(CONTENT_LENGTH) {
            Some(value) => value.to_str().ok().and_then(|text| text.parse().ok()),
            None => response.body().size_hint().exact(),
        };
        let status = response.status();
        if status != StatusCode::OK && self.0.first_unusable(Unusable::Status) {
            tracing::warn!(
                status = status.as_u16(),
                "the answer to a callback is not 200: oss tells the uploader 203 CallbackFailed and keeps the object"
            );
        }
        match length {
            // An empty answer has a length that oss calls invalid, and is no JSON.
            None | Some(0) if self.0.first_unusable(Unusable::NoLength) => tracing::warn!(
                "the answer to a callback has no exact length above zero: oss takes no chunked or empty answer \
                 (is it compressed or streamed?)"
            ),
            Some(length) if length > MAX_REPLY_LEN && self.0.first_unusable(Unusable::TooLarge) => {
                tracing::warn!(
                    length,
                    "the answer to a callback is over 1 MiB: oss does not take it"
                );
            }
            _ => {}
        }
    }
}

fn first(said: &AtomicBool) -> bool {
    !said.load(Relaxed) && !said.swap(true, Relaxed)
}

impl Said {
    fn first_unusable(&self, cause: Unusable) -> bool {
        let bit = cause as u8;
        self.unusable_answers.load(Relaxed) & bit == 0
            && self.unusable_answers.fetch_or(bit, Relaxed) & bit == 0
    }

    fn first_without_key(&self, entry: u16) -> bool {
        let bit = 1 << (entry % 64);
        self.missing_keys
            .get(usize::from(entry / 64))
            .is_some_and(|said| said.fetch_or(bit, Relaxed) & bit == 0)
    }
}
