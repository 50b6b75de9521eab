//! What somebody is told who may not upload.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// What somebody is told who may not upload: a status, and a JSON body `{"code","message"}`.
///
/// ```
/// use http::{HeaderValue, StatusCode, header::RETRY_AFTER};
/// use tower_aliyun_oss::policy::Refusal;
///
/// let full = Refusal::new(StatusCode::TOO_MANY_REQUESTS)
///     .message("ten uploads a minute, wait a little")
///     .header(RETRY_AFTER, HeaderValue::from_static("60"));
/// assert_eq!(full.status(), StatusCode::TOO_MANY_REQUESTS);
/// ```
#[derive(Clone, Debug)]
pub struct Refusal(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    status: StatusCode,
    code: Cow<'static, str>,
    message: Cow<'static, str>,
    headers: HeaderMap,
}

impl Refusal {
    /// A refusal with this status. One that is no error (4xx, 5xx) becomes 403: nobody may take it for a token.
    #[must_use]
    pub fn new(status: StatusCode) -> Self {
        let error = status.is_client_error() || status.is_server_error();
        let status = if error { status } else { StatusCode::FORBIDDEN };
        let (code, message) = match status {
            StatusCode::UNAUTHORIZED => ("Unauthorized", "log in before you upload"),
            StatusCode::FORBIDDEN => ("Forbidden", "this upload is not allowed"),
            StatusCode::TOO_MANY_REQUESTS => ("TooManyRequests", "wait before you upload more"),
            _ => ("Refused", "no token is given"),
        };
        Self(Box::new(Inner {
            status,
            code: code.into(),
            message: message.into(),
            headers: HeaderMap::new(),
        }))
    }

    /// 401: it is not known who asks.
    #[must_use]
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED)
    }

    /// 403: it is known who asks, and they may not.
    #[must_use]
    pub fn forbidden() -> Self {
        Self::new(StatusCode::FORBIDDEN)
    }

    /// The `code` of the body, for programs. It is given out as it is.
    #[must_use]
    pub fn code(mut self, code: impl Into<Cow<'static, str>>) -> Self {
        self.0.code = code.into();
        self
    }

    /// The `message` of the body, for people. It is given out as it is.
    #[must_use]
    pub fn message(mut self, message: impl Into<Cow<'static, str>>) -> Self {
        self.0.message = message.into();
        self
    }

    /// A header besides, such as `Retry-After` or `WWW-Authenticate`. Those that describe the body, or keep it out of
    /// caches, stay what they are.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.append(name, value);
        self
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    pub(super) fn code_text(&self) -> &str {
        &self.0.code
    }

    pub(super) fn message_text(&self) -> &str {
        &self.0.message
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        &self.0.headers
    }
}
