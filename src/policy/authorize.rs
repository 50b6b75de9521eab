//! Your decision who may upload what: [`Authorize`] returns [`Grants`] or a [`Refusal`].

use std::{borrow::Cow, error::Error, fmt, future::Future, slice, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, request::Parts};

use super::{error::PolicyError, grant::Grant};
use crate::protocol::{EndpointError, ObjectError};

/// Decides what the sender of a request may upload.
///
/// It receives the parts of the request: headers and extensions identify the session, and the
/// extension [`RequestedFiles`](super::RequestedFiles) contains what the client requests. Nothing
/// is signed before the decision.
///
/// A middleware around the service sets an extension with `request.extensions_mut().insert(user)`.
/// In axum that is a `middleware::from_fn`, added with `Router::layer` after the route.
///
/// An `async fn(&Parts)` implements the trait:
///
/// ```
/// use http::{header::AUTHORIZATION, request::Parts};
/// use tower_aliyun_oss::{
///     policy::{Authorize, Grant, Refusal},
///     protocol::{ContentType, ObjectPrefix, SizeRange},
/// };
///
/// async fn authorize(parts: &Parts) -> Result<Grant, Refusal> {
///     let user = match parts.headers.get(AUTHORIZATION) {
///         Some(session) => user_of(session.as_bytes()).await?,
///         None => return Err(Refusal::unauthorized()),
///     };
///     // Refuses a name such as `ann/private`, which would be a folder of `ann`.
///     let prefix = ObjectPrefix::from_segments(["user", &user]).map_err(|_| Refusal::forbidden())?;
///     Ok(Grant::under(prefix, SizeRange::new(1, 10 << 20)?).content_types(ContentType::IMAGES))
/// }
/// # async fn user_of(_: &[u8]) -> Result<String, Refusal> { Ok("ann".into()) }
/// # fn is_authorize(_: impl Authorize) {}
/// # is_authorize(authorize);
/// ```
///
/// The error of a parser becomes a [`Refusal`] with status 500, so `?` works, and the log contains
/// the error. Map it, as above, if the text comes from the client.
///
/// # State
///
/// A closure captures state, such as a connection pool. It runs once per request on a clone of
/// itself, so what it captures must be `Clone`, and the closure cannot change it or move it out:
///
/// ```
/// use http::request::Parts;
/// use tower_aliyun_oss::policy::{Authorize, Grant, Refusal};
/// # #[derive(Clone)]
/// # struct Sessions;
/// # impl Sessions {
/// #     async fn grant(&self, _: &Parts) -> Result<Grant, Refusal> { Err(Refusal::forbidden()) }
/// # }
/// # fn is_authorize(_: impl Authorize) {}
///
/// let sessions = Sessions; // cheap to clone, as connection pools are
/// let authorize = async move |parts: &Parts| sessions.grant(parts).await;
/// # is_authorize(authorize);
/// ```
///
/// A closure that counts in a captured variable does not compile, because every request would start
/// from the same count. Share a count, for example in an `Arc<AtomicU32>`:
///
/// ```compile_fail,E0525
/// # use http::request::Parts;
/// # use tower_aliyun_oss::policy::{Authorize, Grant, Refusal};
/// # fn is_authorize(_: impl Authorize) {}
/// let mut left = 100;
/// is_authorize(async move |_: &Parts| -> Result<Grant, Refusal> {
///     left -= 1;
///     Err(Refusal::forbidden())
/// });
/// ```
///
/// [`with_state`] passes state by reference to an `async fn(&State, &Parts)`. A type with its own
/// fields implements the trait, and so does an `Arc` of one:
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
///
/// # Several files
///
/// A client can request several files at once. One grant serves one file unless
/// [`Grant::max_files`] permits more. To decide about each file, or to give each its own
/// [claims](Grant::claims), return one grant per file, in the order of the request:
///
/// ```
/// use http::request::Parts;
/// use tower_aliyun_oss::{
///     policy::{Grant, Refusal, RequestedFiles},
///     protocol::{ContentType, ObjectPrefix, SizeRange},
/// };
///
/// async fn authorize(parts: &Parts) -> Result<Vec<Grant>, Refusal> {
///     let requested: &RequestedFiles = parts.extensions.get().ok_or_else(Refusal::forbidden)?;
///     let album = ObjectPrefix::from_segments(["album", "7"])?;
///     let grant = |page| {
///         // The first picture is the cover, and may be larger.
///         let size = SizeRange::new(1, if page == 1 { 20 << 20 } else { 2 << 20 })?;
///         let grant = Grant::under(album.clone(), size).content_types(ContentType::IMAGES);
///         // The callback of this file has these claims.
///         Ok(grant.claims(&page))
///     };
///     (1..=requested.files().len()).map(grant).collect()
/// }
/// # fn is_authorize(_: impl tower_aliyun_oss::policy::Authorize) {}
/// # is_authorize(authorize);
/// ```
///
/// The callback handler reads the claims of its file, and the name that the client sent for it with
/// [`VerifiedCallback::requested_filename`](crate::VerifiedCallback::requested_filename).
///
/// # Tests
///
/// A decision needs no server. Grants can be compared, and their settings read:
///
/// ```
/// use http::{Request, request::Parts};
/// use tower_aliyun_oss::{
///     policy::{Grant, Refusal},
///     protocol::{ContentType, ObjectPrefix, SizeRange},
/// };
///
/// #[derive(Clone, Copy)]
/// struct UserId(u64); // set by your session layer
///
/// async fn authorize(parts: &Parts) -> Result<Grant, Refusal> {
///     let UserId(user) = *parts.extensions.get().ok_or_else(Refusal::unauthorized)?;
///     let prefix = ObjectPrefix::from_segments(["user", &user.to_string()])?;
///     Ok(Grant::under(prefix, SizeRange::new(1, 10 << 20)?)
///         .content_types(ContentType::IMAGES)
///         .claims(&user))
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (mut parts, ()) = Request::new(()).into_parts();
/// let refusal = authorize(&parts).await.unwrap_err();
/// assert_eq!(refusal.status(), 401);
///
/// parts.extensions.insert(UserId(7));
/// let grant = authorize(&parts).await?;
/// assert_eq!(grant.get_prefix(), Some(&"user/7/".parse()?));
/// assert_eq!(grant.get_claims::<u64>(), Some(7));
/// assert_eq!(grant, authorize(&parts).await?);
/// # Ok(())
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not decide who may upload what",
    label = "neither an `Authorize` nor an `async fn(&Parts) -> Result<Grant, Refusal>`",
    note = "one grant, or a `Vec<Grant>` with one per requested file",
    note = "a closure needs the type of its argument, `async move |parts: &Parts| …`, and what it \
           captures must be `Clone`",
    note = "with state: `policy::with_state(state, authorize)`, or implement `Authorize` for a type"
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
        let decision = self.decide(parts);
        async move { decision.await.map(Into::into) }
    }
}

impl<A: Authorize> Authorize for Arc<A> {
    type Granted = A::Granted;

    fn authorize(&self, parts: &Parts) -> impl Future<Output = Result<A::Granted, Refusal>> + Send {
        A::authorize(self, parts)
    }
}

/// Returns an [`Authorize`] that passes `state` to `authorize`, an `async fn(&State, &Parts)` or a
/// closure such as `async |state, parts| …`. The state is not cloned.
///
/// ```
/// use http::request::Parts;
/// use tower_aliyun_oss::{
///     OssUploads,
///     policy::{Authorize, Grant, OssPolicyService, Refusal, with_state},
/// };
///
/// struct Database {
///     // a connection pool, …
/// }
///
/// async fn authorize(database: &Database, parts: &Parts) -> Result<Grant, Refusal> {
///     let _ = (database, parts); // find the session, and decide
///     Err(Refusal::unauthorized())
/// }
///
/// fn tokens(uploads: &OssUploads, database: Database) -> OssPolicyService<impl Authorize> {
///     uploads.policy_service(with_state(database, authorize))
/// }
/// ```
pub fn with_state<S, F, G>(state: S, authorize: F) -> impl Authorize<Granted = Grants>
where
    S: Send + Sync + 'static,
    // With the first bound, the compiler infers the types of a closure. The second requires that
    // its future is `Send`.
    F: AsyncFn(&S, &Parts) -> Result<G, Refusal>,
    F: for<'a> sealed::AuthorizeWithFn<'a, S> + Send + Sync + 'static,
    G: Into<Grants>,
{
    WithState { state, authorize }
}

struct WithState<S, F> {
    state: S,
    authorize: F,
}

impl<S, F> Authorize for WithState<S, F>
where
    S: Send + Sync + 'static,
    F: for<'a> sealed::AuthorizeWithFn<'a, S> + Send + Sync + 'static,
{
    type Granted = Grants;

    async fn authorize(&self, parts: &Parts) -> Result<Grants, Refusal> {
        let decision = self.authorize.decide(&self.state, parts);
        decision.await.map(Into::into)
    }
}

mod sealed {
    use super::{Future, Grants, Parts, Refusal};

    /// One `FnOnce` for each lifetime: the future of an `async fn` borrows the parts, and on stable
    /// Rust no other bound can require that such a future is `Send`.
    ///
    /// `FnOnce` and `Clone`, because the future of an async closure borrows what the closure
    /// captured, so such a closure is no `Fn`. `AsyncFn` as well, so that the closure cannot change
    /// what it captured: a count of uploads would start anew with each clone.
    #[allow(unnameable_types, reason = "sealed")]
    pub trait AuthorizeFn<'a> {
        type Granted: Into<Grants>;
        type Future: Future<Output = Result<Self::Granted, Refusal>> + Send;

        fn decide(&self, parts: &'a Parts) -> Self::Future;
    }

    impl<'a, F, T, G> AuthorizeFn<'a> for F
    where
        F: FnOnce(&'a Parts) -> T + AsyncFn(&'a Parts) -> Result<G, Refusal> + Clone,
        T: Future<Output = Result<G, Refusal>> + Send,
        G: Into<Grants>,
    {
        type Granted = G;
        type Future = T;

        fn decide(&self, parts: &'a Parts) -> T {
            self.clone()(parts)
        }
    }

    /// Like [`AuthorizeFn`], with state.
    #[allow(unnameable_types, reason = "sealed")]
    #[diagnostic::on_unimplemented(
        message = "`{Self}` does not decide who may upload what",
        label = "not an `async fn(&{S}, &Parts) -> Result<Grant, Refusal>`",
        note = "a closure needs the types of its arguments: `async |state: &{S}, parts: &Parts| …`"
    )]
    pub trait AuthorizeWithFn<'a, S> {
        type Granted: Into<Grants>;
        type Future: Future<Output = Result<Self::Granted, Refusal>> + Send;

        fn decide(&self, state: &'a S, parts: &'a Parts) -> Self::Future;
    }

    impl<'a, F, S, T, G> AuthorizeWithFn<'a, S> for F
    where
        F: Fn(&'a S, &'a Parts) -> T,
        S: 'a,
        T: Future<Output = Result<G, Refusal>> + Send,
        G: Into<Grants>,
    {
        type Granted = G;
        type Future = T;

        fn decide(&self, state: &'a S, parts: &'a Parts) -> T {
            self(state, parts)
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
#[derive(Clone, Debug, PartialEq)]
#[must_use = "grants do nothing until they are returned"]
pub struct Grants(Inner);

#[derive(Clone, Debug, PartialEq)]
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
///
/// `?` turns the errors with which the crate parses names, sizes and types into a refusal with
/// status 500. Pass other errors through [`internal`](Self::internal). The log contains the error
/// at level `ERROR`, and the response a constant text.
#[derive(Clone)]
pub struct Refusal(Box<Answer>);

#[derive(Clone)]
struct Answer {
    status: StatusCode,
    code: Cow<'static, str>,
    message: Cow<'static, str>,
    headers: HeaderMap,
    /// For the log only.
    error: Option<Arc<dyn Error + Send + Sync>>,
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
            error: None,
        }))
    }

    /// Creates a refusal with status 500, because the decision itself failed: the database is not
    /// reachable, or a setting is wrong. The log contains the error and its causes, and the client
    /// receives none of it.
    ///
    /// ```
    /// use tower_aliyun_oss::policy::Refusal;
    ///
    /// fn user(row: Result<u64, std::io::Error>) -> Result<u64, Refusal> {
    ///     row.map_err(Refusal::internal)
    /// }
    /// ```
    #[must_use]
    pub fn internal(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let mut refusal = Self::new(StatusCode::INTERNAL_SERVER_ERROR);
        refusal.0.code = "InternalError".into();
        refusal.0.message = "the server failed to decide on this upload".into();
        refusal.0.error = Some(Arc::from(error.into()));
        refusal
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

    /// Returns the error of an [`internal`](Self::internal) refusal.
    #[must_use]
    pub fn error(&self) -> Option<&(dyn Error + 'static)> {
        self.0.error.as_deref().map(|error| error as _)
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

impl fmt::Debug for Refusal {
    /// Shows only the `Display` of the error. The `Debug` of foreign errors can contain requests
    /// and secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = self.error().map(ToString::to_string);
        f.debug_struct("Refusal")
            .field("status", &self.0.status)
            .field("code", &self.0.code)
            .field("message", &self.0.message)
            .field("error", &error)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.status.as_u16(), self.0.message)
    }
}

/// An authoriser can be tested in a function that returns `Result<(), Box<dyn Error>>`.
impl Error for Refusal {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error()
    }
}

impl From<ObjectError> for Refusal {
    fn from(error: ObjectError) -> Self {
        Self::internal(error)
    }
}

impl From<EndpointError> for Refusal {
    fn from(error: EndpointError) -> Self {
        Self::internal(error)
    }
}

impl From<PolicyError> for Refusal {
    fn from(error: PolicyError) -> Self {
        Self::internal(error)
    }
}
