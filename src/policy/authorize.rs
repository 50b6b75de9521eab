//! Your decision who may upload what: [`Authorize`] returns [`Grants`] or a [`Refusal`].

use std::{borrow::Cow, future::Future, slice};

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
///     protocol::{ObjectPrefix, SizeRange},
/// };
///
/// async fn authorize(parts: &Parts) -> Result<Grant, Refusal> {
///     let user = match parts.headers.get(AUTHORIZATION) {
///         Some(session) => user_of(session.as_bytes()).await?,
///         None => return Err(Refusal::unauthorized()),
///     };
///     // Refuses a name such as `ann/private`, which would be a folder of `ann`.
///     let prefix = ObjectPrefix::from_segments(["user", &user]).map_err(|_| Refusal::forbidden())?;
///     let size = SizeRange::new(1, 10 * 1024 * 1024).map_err(|_| Refusal::forbidden())?;
///     Ok(Grant::under(prefix, size))
/// }
/// # async fn user_of(_: &[u8]) -> Result<String, Refusal> { Ok("ann".into()) }
/// # fn is_authorize(_: impl Authorize) {}
/// # is_authorize(authorize);
/// ```
///
/// A client can request several files at once. One grant serves one file unless
/// [`Grant::max_files`] permits more. To decide about each file, return one grant per file, in the
/// order of the request:
///
/// ```
/// use http::request::Parts;
/// use tower_aliyun_oss::{
///     policy::{Grant, Refusal, RequestedFiles},
///     protocol::{ObjectPrefix, SizeRange},
/// };
///
/// async fn authorize(parts: &Parts) -> Result<Vec<Grant>, Refusal> {
///     let requested: &RequestedFiles = parts.extensions.get().ok_or_else(Refusal::forbidden)?;
///     let album = ObjectPrefix::from_segments(["album", "7"]).map_err(|_| Refusal::forbidden())?;
///     let grant = |bytes| {
///         let size = SizeRange::new(1, bytes).map_err(|_| Refusal::forbidden())?;
///         Ok(Grant::under(album.clone(), size))
///     };
///     // The first picture is the cover, and may be larger.
///     let files = requested.files().iter().enumerate();
///     files.map(|(n, _)| grant(if n == 0 { 20 << 20 } else { 2 << 20 })).collect()
/// }
/// # fn is_authorize(_: impl tower_aliyun_oss::policy::Authorize) {}
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
///     type Granted = Grant;
///
///     async fn authorize(&self, parts: &Parts) -> Result<Grant, Refusal> {
///         let _ = parts;
///         Err(Refusal::unauthorized())
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not decide who may upload what",
    label = "neither an `Authorize` nor an `async fn(&Parts) -> Result<Grant, Refusal>`",
    note = "one grant, or a `Vec<Grant>` with one per requested file",
    note = "a closure needs the type of its argument: `|parts: &Parts| …`; with state, implement \
           `Authorize` for a struct"
)]
pub trait Authorize: Send + Sync + 'static {
    /// What the decision returns: a [`Grant`], a `Vec<Grant>` with one grant per requested file, or
    /// [`Grants`] if it is sometimes one and sometimes the other.
    type Granted: Into<Grants>;

    /// Returns what the sender of this request may upload.
    ///
    /// # Errors
    ///
    /// Fails if they may not upload anything. The service sends the [`Refusal`] as its response.
    fn authorize(
        &self,
        parts: &Parts,
    ) -> impl Future<Output = Result<Self::Granted, Refusal>> + Send;
}

impl<F> Authorize for F
where
    F: for<'a> sealed::AuthorizeFn<'a> + Send + Sync + 'static,
{
    // The function may return another type for each lifetime of the parts, so no type of its own
    // can be named here.
    type Granted = Grants;

    fn authorize(&self, parts: &Parts) -> impl Future<Output = Result<Grants, Refusal>> + Send {
        let decision = self.call(parts);
        async move { decision.await.map(Into::into) }
    }
}

mod sealed {
    use super::{Future, Grants, Parts, Refusal};

    /// One `Fn` for each lifetime: the future of an `async fn` borrows the parts, and on stable
    /// Rust no other bound can require that such a future is `Send`.
    #[allow(unnameable_types, reason = "sealed")]
    pub trait AuthorizeFn<'a> {
        type Granted: Into<Grants>;
        type Future: Future<Output = Result<Self::Granted, Refusal>> + Send;

        fn call(&self, parts: &'a Parts) -> Self::Future;
    }

    impl<'a, F, T, G> AuthorizeFn<'a> for F
    where
        F: Fn(&'a Parts) -> T,
        T: Future<Output = Result<G, Refusal>> + Send,
        G: Into<Grants>,
    {
        type Granted = G;
        type Future = T;

        fn call(&self, parts: &'a Parts) -> T {
            self(parts)
        }
    }
}

/// The grants for one request: one [`Grant`], or one for each requested file.
///
/// One grant serves as many files as [`Grant::max_files`] permits, by default one; if the client
/// requests more, the response is 422. Several grants serve one file each, in the order of
/// [`RequestedFiles::files`](super::RequestedFiles::files). If their number differs from the number
/// of files, which is a mistake of the server, the response is 500 and the log contains both.
///
/// ```
/// use tower_aliyun_oss::{policy::{Grant, Grants}, protocol::SizeRange};
///
/// let grant = Grant::under("user/7/".parse()?, SizeRange::new(1, 5 << 20)?);
/// let one: Grants = grant.clone().into();
/// let for_two_files: Grants = vec![grant.clone(), grant].into();
/// # let _ = (one, for_two_files);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "grants do nothing until they are returned"]
pub struct Grants(Inner);

#[derive(Clone, Debug)]
enum Inner {
    One(Box<Grant>),
    Each(Vec<Grant>),
}

impl Grants {
    /// Returns the grants without repetition.
    pub(super) fn as_slice(&self) -> &[Grant] {
        match &self.0 {
            Inner::One(grant) => slice::from_ref(grant),
            Inner::Each(grants) => grants,
        }
    }

    /// Returns the grant for all files, unless there is one for each.
    pub(super) fn one(&self) -> Option<&Grant> {
        match &self.0 {
            Inner::One(grant) => Some(grant),
            Inner::Each(_) => None,
        }
    }
}

impl From<Grant> for Grants {
    fn from(grant: Grant) -> Self {
        Self(Inner::One(grant.into()))
    }
}

impl From<Vec<Grant>> for Grants {
    fn from(grants: Vec<Grant>) -> Self {
        Self(Inner::Each(grants))
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
pub struct Refusal(Box<Answer>);

#[derive(Clone, Debug)]
struct Answer {
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
        Self(Box::new(Answer {
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
