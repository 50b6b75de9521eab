//! What the layer logs, and how often.

use std::{
    error::Error as _,
    fmt::Display,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use bytes::Bytes;
use http::{
    Response, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use http_body::Body;

use super::{
    error::{CallbackError, CallbackErrorKind as Kind},
    reply::MAX_REPLY_LEN,
};
use crate::{
    key::{KeyTable, KeyUrl},
    protocol::TargetError,
    ticket::{TicketError, store::Nonce},
};

/// The log of one layer. Anyone can provoke its messages, so each problem is a warning once and a
/// debug message afterwards.
#[derive(Clone, Debug, Default)]
pub(super) struct Log(Arc<Warned>);

/// Why callbacks that OSS may really have sent are rejected. Each is a warning once, and once an
/// hour again with a count: anyone can provoke some of them.
#[derive(Clone, Copy)]
enum Cause {
    Mismatch,
    Plus,
    Encoded,
    Character,
    EmptySegment,
    Spelling,
    NotConfigured,
    Version,
    OutsideGrant,
    TicketTerms,
}

impl Cause {
    const COUNT: usize = Self::TicketTerms as usize + 1;

    fn of(error: &CallbackError) -> Option<Self> {
        let source = error.source();
        Some(match error.kind() {
            Kind::NonCanonicalTarget => match source?.downcast_ref()? {
                TargetError::Plus => Self::Plus,
                TargetError::Encoded => Self::Encoded,
                TargetError::Character => Self::Character,
                TargetError::EmptySegment => Self::EmptySegment,
                TargetError::Spelling => Self::Spelling,
                TargetError::NotConfigured => Self::NotConfigured,
                _ => return None,
            },
            Kind::UnsupportedSignatureVersion => Self::Version,
            Kind::OutsideGrant => Self::OutsideGrant,
            // These come after the MAC, so the ticket is one of this server.
            Kind::TicketInvalid => match source?.downcast_ref()? {
                TicketError::Expired
                | TicketError::TooFar
                | TicketError::Target
                | TicketError::BodyType => Self::TicketTerms,
                _ => return None,
            },
            _ => return None,
        })
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Mismatch => {
                "a signature that OSS made with this key does not match: something in front \
                 changes the path, the query or the body, or the callback is replayed elsewhere; \
                 set the log level of tower_aliyun_oss::diagnose to DEBUG to find out what"
            }
            Self::Plus => {
                "a callback is rejected because its path contains a plus sign; write callbackUrl \
                 without it, name the path with only_path, or use tickets"
            }
            Self::Encoded => {
                "a callback is rejected because its path contains the escape of a reserved \
                 character; write callbackUrl without it, name the path with only_path, or use \
                 tickets"
            }
            Self::Character => {
                "a callback is rejected because its path contains a character that is not allowed \
                 unencoded (did a proxy decode the path?); write callbackUrl encoded, name the \
                 path with only_path, or use tickets"
            }
            Self::EmptySegment => {
                "a callback is rejected because its path contains an empty segment; remove the \
                 doubled slash from callbackUrl, name the path with only_path, or use tickets"
            }
            Self::Spelling => {
                "a callback is rejected because its path is not in its canonical spelling, and a \
                 router, proxy_prefix or target_uri has read it already; write callbackUrl \
                 canonically, put the layer outside of the router, or name the spelling with \
                 only_path"
            }
            Self::NotConfigured => {
                "a callback is rejected because it was signed for a path that only_path does not \
                 name; check only_path, proxy_prefix and target_uri"
            }
            Self::Version => {
                "a callback is rejected because its signature version is not 1.0; OSS offers \
                 version 2.0 by invitation only, and its formula is not published"
            }
            Self::OutsideGrant => {
                "a callback that OSS signed is rejected because it is outside of what its ticket \
                 grants; set the log level of tower_aliyun_oss::rejection to DEBUG to see why"
            }
            Self::TicketTerms => {
                "a callback is rejected because its ticket, made with a key of this server, is \
                 expired or for another target or body type; set the log level of \
                 tower_aliyun_oss::rejection to DEBUG to see why"
            }
        }
    }
}

/// When a cause was warned of, and how often it occurred since.
#[derive(Debug, Default)]
struct Repeated {
    /// In seconds after the start of the log. 0 if the cause has not occurred yet.
    next: AtomicU64,
    since: AtomicU64,
}

impl Repeated {
    const EVERY: u64 = 60 * 60;

    /// Counts an occurrence. Returns the count since the last warning if another one is due.
    fn occurred(&self, seconds: u64) -> Option<u64> {
        self.since.fetch_add(1, Relaxed);
        let next = self.next.load(Relaxed);
        if next > seconds {
            return None;
        }
        let after = seconds.saturating_add(Self::EVERY);
        // Of several threads, one warns.
        self.next
            .compare_exchange(next, after, Relaxed, Relaxed)
            .ok()
            .map(|_| self.since.swap(0, Relaxed))
    }
}

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
        if let Some(cause) = Cause::of(error) {
            self.warn(cause);
        }
        let reason = error.source();
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

    fn warn(&self, cause: Cause) {
        let seconds = self.0.started.elapsed().as_secs();
        let repeated = self.0.causes.get(cause as usize);
        if let Some(count) = repeated.and_then(|repeated| repeated.occurred(seconds)) {
            tracing::warn!(target: "tower_aliyun_oss::rejection", count, "{}", cause.text());
        }
    }

    /// Warns that the handler failed for a ticket as often as it may. Logged once per ticket, which
    /// takes a ticket of yours.
    pub(super) fn too_many_attempts(nonce: Nonce) {
        tracing::warn!(
            target: "tower_aliyun_oss::rejection",
            ?nonce,
            "the handler has failed for a ticket as often as Tickets::max_attempts allows; its \
             callbacks are rejected with 503"
        );
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
    fn a_cause_is_warned_of_once_and_hourly_with_a_count() {
        let repeated = Repeated::default();
        assert_eq!(repeated.occurred(0), Some(1));
        for seconds in [0, 1, 3599] {
            assert_eq!(repeated.occurred(seconds), None);
        }
        assert_eq!(repeated.occurred(3600), Some(4));
        assert_eq!(repeated.occurred(7199), None);
        assert_eq!(repeated.occurred(9000), Some(2));
    }

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
