//! Responses of the service: tokens, and errors.

use std::{
    convert::Infallible,
    error::Error,
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode,
    header::{
        ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING,
        X_CONTENT_TYPE_OPTIONS,
    },
};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use serde::Serialize;

use crate::policy::{
    authorize::Refusal, document::to_json, error::PolicyError, grant::Denied,
    requested::RequestError,
};

/// Not a constant of `http`. Source: the Fetch standard, section "Cross-Origin-Resource-Policy
/// header".
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-resource-policy");

/// Response body of [`OssPolicyService`](super::OssPolicyService).
#[derive(Clone, Default)]
pub struct PolicyBody(Full<Bytes>);

impl Body for PolicyBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

impl fmt::Debug for PolicyBody {
    /// Omits the token, which is a bearer credential.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicyBody").finish_non_exhaustive()
    }
}

/// Creates a response with a JSON body. The response to `HEAD` has the headers only.
pub(super) fn json_response(
    status: StatusCode,
    body: Bytes,
    method: &Method,
) -> Response<PolicyBody> {
    // `HEAD` announces the length of the body that `GET` would return (RFC 9110 section 9.3.2).
    let length = HeaderValue::from(body.len());
    let body = if method == Method::HEAD {
        Bytes::new()
    } else {
        body
    };
    let mut response = Response::new(PolicyBody(Full::new(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_LENGTH, length);
    // A token is a bearer credential; RFC 6749 section 5.1 requires the same for access tokens.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // No page of another origin may embed a token, for example as a script. Browsers check this
    // only for requests without CORS, so a `CorsLayer` around the service decides as before.
    let same_origin = HeaderValue::from_static("same-origin");
    headers.insert(CROSS_ORIGIN_RESOURCE_POLICY, same_origin);
    response
}

/// Why a request gets no token.
#[derive(Debug)]
pub(super) enum TokenError {
    /// Contains the allowed methods.
    Method(&'static str),
    MediaType,
    TooLarge,
    TooSlow,
    CutShort,
    Request(RequestError),
    Refused(Refusal),
    BatchUnderExactKey,
    BatchInFormat,
    TooManyFiles,
    Size,
    /// Contains the message.
    ContentType(String),
    /// Contains the message.
    NoContentType(String),
    Credentials,
    Policy,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    code: &'a str,
    message: &'a str,
}

impl TokenError {
    /// Logs a mistake of the server. The client only learns that there is one.
    fn policy(error: &PolicyError) -> Self {
        let cause = error.source().map(ToString::to_string);
        tracing::error!(%error, cause, "what was granted cannot be put into a policy");
        Self::Policy
    }

    /// Logs that the server returned neither one grant nor one for each file.
    pub(super) fn grant_count(grants: usize, files: usize) -> Self {
        tracing::error!(
            grants,
            files,
            "authorize must return one grant, or one for each requested file"
        );
        Self::Policy
    }

    /// Logs why there are no credentials.
    pub(super) fn credentials(error: &dyn Error) -> Self {
        let cause = error.source().map(ToString::to_string);
        tracing::error!(%error, cause, "no credentials to sign a policy with");
        Self::Credentials
    }

    pub(super) fn response(&self, method: &Method) -> Response<PolicyBody> {
        let (status, code, message) = self.parts();
        let body = to_json(&ErrorBody { code, message });
        let mut response = json_response(status, body.into(), method);
        match self {
            Self::Method(allowed) => {
                let allowed = HeaderValue::from_static(allowed);
                response.headers_mut().insert(ALLOW, allowed);
            }
            Self::Refused(refusal) => add_headers(response.headers_mut(), refusal.headers()),
            _ => {}
        }
        response
    }

    fn parts(&self) -> (StatusCode, &str, &str) {
        use StatusCode as S;

        match self {
            Self::Method(_) => (
                S::METHOD_NOT_ALLOWED,
                "MethodNotAllowed",
                "this method returns no token",
            ),
            Self::MediaType => (
                S::UNSUPPORTED_MEDIA_TYPE,
                "UnsupportedMediaType",
                "a POST must have the content type application/json",
            ),
            Self::TooLarge => (
                S::PAYLOAD_TOO_LARGE,
                "AskTooLarge",
                "the body exceeds 64 KiB; request fewer files at once",
            ),
            Self::TooSlow => (
                S::REQUEST_TIMEOUT,
                "AskTimeout",
                "the body took longer than 10 seconds",
            ),
            Self::CutShort => (S::BAD_REQUEST, "AskCutShort", "the body ended early"),
            Self::Request(error) => (S::BAD_REQUEST, "InvalidAsk", error.message()),
            Self::Refused(refusal) => (
                refusal.status(),
                refusal.code_text(),
                refusal.message_text(),
            ),
            Self::BatchUnderExactKey => (
                S::BAD_REQUEST,
                "BatchUnderExactKey",
                "one exact key is granted; request one file",
            ),
            Self::BatchInFormat => (
                S::BAD_REQUEST,
                "BatchNotSupported",
                "one token serves all files in this format; request one",
            ),
            Self::TooManyFiles => (
                S::UNPROCESSABLE_ENTITY,
                "TooManyFiles",
                "fewer files are granted at once; request fewer",
            ),
            Self::Size => (S::FORBIDDEN, "SizeNotGranted", "this size is not granted"),
            Self::ContentType(message) => (S::FORBIDDEN, "TypeNotGranted", message),
            Self::NoContentType(message) => (S::BAD_REQUEST, "TypeRequired", message),
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

impl From<PolicyError> for TokenError {
    fn from(error: PolicyError) -> Self {
        match error {
            PolicyError::CredentialsExpired => Self::credentials(&error),
            _ => Self::policy(&error),
        }
    }
}

impl From<Denied> for TokenError {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Size => Self::Size,
            // The messages consist of constants and the granted types, nothing of the request.
            Denied::ContentType(granted) => Self::ContentType(match granted {
                Some(granted) => format!("this type is not granted; use one of: {granted}"),
                None => "this type is not granted; types that browsers do not execute are".into(),
            }),
            Denied::NoContentType(granted) => Self::NoContentType(format!(
                "the type is empty, and the extension of filename has none of the granted types; \
                send one of them as type: {}",
                granted.unwrap_or_default()
            )),
            Denied::Grant(error) => error.into(),
        }
    }
}

/// Adds all values of the headers that the service does not set itself.
fn add_headers(headers: &mut HeaderMap, more: &HeaderMap) {
    for name in more.keys().filter(|name| !is_own(name)) {
        for value in more.get_all(name) {
            headers.append(name, value.clone());
        }
    }
}

/// Returns whether the header describes the body, or limits who may store or read it.
fn is_own(name: &HeaderName) -> bool {
    [
        CONTENT_TYPE,
        CONTENT_LENGTH,
        CACHE_CONTROL,
        X_CONTENT_TYPE_OPTIONS,
        CROSS_ORIGIN_RESOURCE_POLICY,
        TRANSFER_ENCODING,
    ]
    .contains(name)
}
