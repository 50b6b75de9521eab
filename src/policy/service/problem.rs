//! Why there is no token.

use std::error::Error;

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode,
    header::{
        ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING,
        X_CONTENT_TYPE_OPTIONS,
    },
};
use serde::Serialize;

use super::answer::{PolicyBody, json};
use crate::policy::{denied::Denied, error::PolicyError, refusal::Refusal, requested::AskError};

#[derive(Debug)]
pub(super) enum Problem {
    /// Holds the methods that are allowed.
    Method(&'static str),
    MediaType,
    TooLarge,
    TooSlow,
    CutShort,
    Ask(AskError),
    Refused(Refusal),
    BatchUnderExactKey,
    BatchInFormat,
    Size,
    ContentType,
    NoContentType,
    Credentials,
    Policy,
}

#[derive(Serialize)]
struct Text<'a> {
    code: &'a str,
    message: &'a str,
}

impl Problem {
    /// The mistake is on this side, so only the log says which.
    fn policy(error: &PolicyError) -> Self {
        let cause = error.source().map(ToString::to_string);
        tracing::error!(%error, cause, "what was granted cannot be put into a policy");
        Self::Policy
    }

    pub(super) fn credentials(error: &dyn Error) -> Self {
        let cause = error.source().map(ToString::to_string);
        tracing::error!(%error, cause, "no credentials to sign a policy with");
        Self::Credentials
    }

    pub(super) fn response(&self, method: &Method) -> Response<PolicyBody> {
        let (status, code, message) = self.text();
        // Two strings can always be written.
        let body = serde_json::to_vec(&Text { code, message }).unwrap_or_default();
        let mut response = json(status, body.into(), method);
        match self {
            Self::Method(allowed) => {
                let allowed = HeaderValue::from_static(allowed);
                response.headers_mut().insert(ALLOW, allowed);
            }
            Self::Refused(refusal) => add(response.headers_mut(), refusal.headers()),
            _ => {}
        }
        response
    }

    fn text(&self) -> (StatusCode, &str, &str) {
        use StatusCode as S;

        match self {
            Self::Method(_) => (
                S::METHOD_NOT_ALLOWED,
                "MethodNotAllowed",
                "ask for a token with another method",
            ),
            Self::MediaType => (
                S::UNSUPPORTED_MEDIA_TYPE,
                "UnsupportedMediaType",
                "the body must be application/json",
            ),
            Self::TooLarge => (
                S::PAYLOAD_TOO_LARGE,
                "AskTooLarge",
                "the body is over 64 kib, ask for fewer files at once",
            ),
            Self::TooSlow => (
                S::REQUEST_TIMEOUT,
                "AskTimeout",
                "the body took over 10 seconds",
            ),
            Self::CutShort => (S::BAD_REQUEST, "AskCutShort", "the body ended early"),
            Self::Ask(error) => (S::BAD_REQUEST, "InvalidAsk", error.message()),
            Self::Refused(refusal) => (
                refusal.status(),
                refusal.code_text(),
                refusal.message_text(),
            ),
            Self::BatchUnderExactKey => (
                S::BAD_REQUEST,
                "BatchUnderExactKey",
                "one exact key is granted, so ask for one file",
            ),
            Self::BatchInFormat => (
                S::BAD_REQUEST,
                "BatchNotSupported",
                "one token serves all files here, so ask for one",
            ),
            Self::Size => (S::FORBIDDEN, "SizeNotGranted", "this size is not granted"),
            Self::ContentType => (S::FORBIDDEN, "TypeNotGranted", "this type is not granted"),
            Self::NoContentType => (
                S::BAD_REQUEST,
                "TypeRequired",
                "several types are granted, so ask for one of them with type",
            ),
            Self::Credentials => (
                S::SERVICE_UNAVAILABLE,
                "CredentialsUnavailable",
                "no token can be signed now",
            ),
            Self::Policy => (
                S::INTERNAL_SERVER_ERROR,
                "PolicyUnavailable",
                "no token can be issued",
            ),
        }
    }
}

/// Adds all values of the headers that are not there yet.
fn add(headers: &mut HeaderMap, more: &HeaderMap) {
    for name in more.keys().filter(|name| !is_own(name)) {
        for value in more.get_all(name) {
            headers.append(name, value.clone());
        }
    }
}

/// Those that say what the body is, how long it is, and that it is not to be stored.
fn is_own(name: &HeaderName) -> bool {
    [
        CONTENT_TYPE,
        CONTENT_LENGTH,
        CACHE_CONTROL,
        X_CONTENT_TYPE_OPTIONS,
        TRANSFER_ENCODING,
    ]
    .contains(name)
}

impl From<PolicyError> for Problem {
    fn from(error: PolicyError) -> Self {
        match error {
            PolicyError::CredentialsExpired => Self::credentials(&error),
            _ => Self::policy(&error),
        }
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Size => Self::Size,
            Denied::ContentType => Self::ContentType,
            Denied::NoContentType => Self::NoContentType,
            Denied::Grant(error) => error.into(),
        }
    }
}
