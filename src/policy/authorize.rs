//! Your decision who may upload what: [`Authorize`], and [`Refusal`] if it is nothing.

use std::{borrow::Cow, future::Future};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, request::Parts};

use super::grant::Grant;

/// Decides what the sender of a request may upload.
///
/// It receives the parts of the request: headers and extensions identify the session, and the
/// extension [`RequestedFiles`](super::RequestedFiles) contains what the client requests. Nothing
/// is signed before the decision.
///
/// An `async fn(&Parts)` implements the trait:
///
/// ```
/// use http::{header::AUTHORIZATION, request::Parts};
/// use tower_aliyun_oss::{
///     policy::{Authorize, Grant, Refusal},
///     protocol::SizeRange,
/// };
///
/// async fn authorize(parts: &Parts) -> Result<Grant, Refusal> {
///     let user = match parts.headers.get(AUTHORIZATION) {
///         Some(session) => user_of(session.as_bytes()).await?,
///         None => return Err(Refusal::unauthorized()),
///     };
///     let prefix = format!("user/{user}/").parse().map_err(|_| Refusal::forbidden())?;
///     let size = SizeRange::new(1, 10 * 1024 * 1024).map_err(|_| Refusal::forbidden())?;
///     Ok(Grant::under(prefix, size))
/// }
/// # async fn user_of(_: &[u8]) -> Result<u64, Refusal> { Ok(7) }
/// # fn is_authorize(_: impl Authorize) {}
/// # is_authorize(authorize);
/// ```
///
/// With a database or other state, implement it for a struct:
///
/// ```
/// use http::request::Parts;
/// use tower_aliyun_oss::policy::{Authorize, Grant, Refusal};
///
/// struct Sessions {
///     // a connection pool, …
/// }
///
/// impl Authorize for Sessions {
///     async fn authorize(&self, parts: &Parts) -> Result<Grant, Refusal> {
///         let _ = parts;
///         Err(Refusal::unauthorized())
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not decide who may upload what",
    label = "neither an `Authorize` nor an `async fn(&Parts) -> Result<Grant, Refusal>`",
    note = "a closure needs the type of its argument: `|parts: &Parts| …`; with state, implement \
           `Authorize` for a struct"
)]
pub trait Authorize: Send + Sync + 'static {
    /// Returns what the sender of this request may upload.
    ///
    /// # Errors
    ///
    /// Fails if they may not upload anything. The service sends the [`Refusal`] as its response.
    fn authorize(&self, parts: &Parts) -> impl Future<Output = Result<Grant, Refusal>> + Send;
}

impl<F> Authorize for F
where
    F: for<'a> sealed::AuthorizeFn<'a> + Send + Sync + 'static,
{
    fn authorize(&self, parts: &Parts) -> impl Future<Output = Result<Grant, Refusal>> + Send {
        self.call(parts)
    }
}

mod sealed {
    use super::{Future, Grant, Parts, Refusal};

    /// One `Fn` for each lifetime: the future of an `async fn` borrows the parts, and on stable
    /// Rust no other bound can require that such a future is `Send`.
    #[allow(unnameable_types, reason = "sealed")]
    pub trait AuthorizeFn<'a> {
        type Future: Future<Output = Result<Grant, Refusal>> + Send;

        fn call(&self, parts: &'a Parts) -> Self::Future;
    }

    impl<'a, F, T> AuthorizeFn<'a> for F
    where
        F: Fn(&'a Parts) -> T,
        T: Future<Output = Result<Grant, Refusal>> + Send,
    {
        type Future = T;

        fn call(&self, parts: &'a Parts) -> T {
            self(parts)
        }
    }
}

/// The response to a client that may not upload: a status, and a JSON body `{"code","message"}`.
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
    /// Creates a refusal with this status. A status outside 4xx and 5xx becomes 403, so that no
    /// client mistakes the response for a token.
    #[must_use]
    pub fn new(status: StatusCode) -> Self {
        let error = status.is_client_error() || status.is_server_error();
        let status = if error { status } else { StatusCode::FORBIDDEN };
        let (code, message) = match status {
            StatusCode::UNAUTHORIZED => ("Unauthorized", "log in before you upload"),
            StatusCode::FORBIDDEN => ("Forbidden", "this upload is not allowed"),
            StatusCode::TOO_MANY_REQUESTS => ("TooManyRequests", "wait before you upload more"),
            _ => ("Refused", "this upload was refused"),
        };
        Self(Box::new(Inner {
            status,
            code: code.into(),
            message: message.into(),
            headers: HeaderMap::new(),
        }))
    }

    /// Creates a refusal with status 401: the client is not authenticated.
    #[must_use]
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED)
    }

    /// Creates a refusal with status 403: the client is authenticated, but not permitted to upload.
    #[must_use]
    pub fn forbidden() -> Self {
        Self::new(StatusCode::FORBIDDEN)
    }

    /// Sets the `code` of the body, for programs. The client receives it unchanged.
    #[must_use]
    pub fn code(mut self, code: impl Into<Cow<'static, str>>) -> Self {
        self.0.code = code.into();
        self
    }

    /// Sets the `message` of the body, for people. The client receives it unchanged.
    #[must_use]
    pub fn message(mut self, message: impl Into<Cow<'static, str>>) -> Self {
        self.0.message = message.into();
        self
    }

    /// Adds a header such as `Retry-After` or `WWW-Authenticate`. Headers that describe the body or
    /// prevent caching are ignored; the service sets them.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.append(name, value);
        self
    }

    /// Returns the status.
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
