//! Why there is no token.

use std::borrow::Cow;

use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header::ALLOW};
use serde::Serialize;

use super::answer::{PolicyBody, json};
use crate::policy::{error::PolicyError, grant::Denied, refusal::Refusal, requested::AskError};

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

impl Problem {
    pub(super) fn policy(error: PolicyError) -> Self {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        tracing::error!(%error, cause, "what was granted cannot be put into a policy");
        Self::Policy
    }

    pub(super) fn response(self, method: &Method) -> Response<PolicyBody> {
        use StatusCode as S;

        let message = |status, code: &'static str, message: &'static str| {
            (
                status,
                Cow::from(code),
                Cow::from(message),
                HeaderMap::new(),
            )
        };
        let (status, code, message, headers) = match self {
            Self::Method(allowed) => {
                let code = "MethodNotAllowed";
                let mut all = message(
                    S::METHOD_NOT_ALLOWED,
                    code,
                    "ask for a token with another method",
                );
                all.3.insert(ALLOW, HeaderValue::from_static(allowed));
                all
            }
            Self::MediaType => message(
                S::UNSUPPORTED_MEDIA_TYPE,
                "UnsupportedMediaType",
                "the body must be application/json",
            ),
            Self::TooLarge => message(
                S::PAYLOAD_TOO_LARGE,
                "AskTooLarge",
                "the body is over 64 kib, ask for fewer files at once",
            ),
            Self::TooSlow => message(
                S::REQUEST_TIMEOUT,
                "AskTimeout",
                "the body took over 10 seconds",
            ),
            Self::CutShort => message(S::BAD_REQUEST, "AskCutShort", "the body ended early"),
            Self::Ask(error) => message(S::BAD_REQUEST, "InvalidAsk", error.message()),
            Self::Refused(refusal) => refusal.into_parts(),
            Self::BatchUnderExactKey => message(
                S::BAD_REQUEST,
                "BatchUnderExactKey",
                "one exact key is granted, so ask for one file",
            ),
            Self::BatchInFormat => message(
                S::BAD_REQUEST,
                "BatchNotSupported",
                "one token serves all files here, so ask for one",
            ),
            Self::Size => message(S::FORBIDDEN, "SizeNotGranted", "this size is not granted"),
            Self::ContentType => {
                message(S::FORBIDDEN, "TypeNotGranted", "this type is not granted")
            }
            Self::NoContentType => message(
                S::BAD_REQUEST,
                "TypeRequired",
                "several types are granted, so ask for one of them with type",
            ),
            Self::Credentials => message(
                S::SERVICE_UNAVAILABLE,
                "CredentialsUnavailable",
                "no token can be signed now",
            ),
            Self::Policy => message(
                S::INTERNAL_SERVER_ERROR,
                "PolicyUnavailable",
                "no token can be issued",
            ),
        };
        #[derive(Serialize)]
        struct Text<'a> {
            code: &'a str,
            message: &'a str,
        }
        let text = Text {
            code: &code,
            message: &message,
        };
        // Two strings can always be written.
        let body = serde_json::to_vec(&text).unwrap_or_default();
        let mut response = json(status, body.into(), method);
        for (name, value) in headers {
            // A name is given once for all its values.
            if let Some(name) = name
                && !response.headers().contains_key(&name)
            {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Size => Self::Size,
            Denied::ContentType => Self::ContentType,
            Denied::NoContentType => Self::NoContentType,
            Denied::Grant(error) => Self::policy(error),
        }
    }
}
