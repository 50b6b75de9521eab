//! Signed URLs: uploads in parts, that pause and resume, and downloads.
//!
//! | file | content |
//! |---|---|
//! | `ask` | what a client asks for |
//! | `handle` | the sealed upload handle |
//! | `plan` | size and number of the parts |
//! | `presigner` | the settings, and what a grant becomes |
//! | `signing` | what is signed for each step |
//! | `answer` | signed requests as JSON |
//! | `client` | the client of a request, and what it is granted |
//! | `exchange` | one request and its answer |
//! | `companion` | the endpoints of uppy's Companion |
//! | `future` | the response future |

mod answer;
mod ask;
mod client;
mod companion;
mod exchange;
mod future;
mod handle;
mod plan;
mod presigner;
mod signing;

use std::{
    convert::Infallible,
    error::Error,
    fmt,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use self::{plan::Plan, presigner::Presigner};
use super::{
    authorize::Authorize,
    conditions::check_lifetime,
    error::PolicyError,
    service::{Issuer, PolicyBody, TokenError},
};
use crate::storage::MultipartStorage;

pub use future::PresignFuture;

/// Signs the requests with which clients upload files of any size in parts, and download private
/// objects, if [`authorize`](Authorize) grants it.
///
/// ```
/// use http::request::Parts;
/// use tower_aliyun_oss::{
///     OssUploads,
///     policy::{Authorize, Grant, OssPresignService, PolicyError, Refusal},
///     protocol::{ContentType, ObjectPrefix, SizeRange},
/// };
///
/// #[derive(Clone, Copy)]
/// struct UserId(u64); // set by your session layer
///
/// async fn authorize(parts: &Parts) -> Result<Grant, Refusal> {
///     let UserId(user) = *parts.extensions.get().ok_or_else(Refusal::unauthorized)?;
///     let prefix = ObjectPrefix::from_segments(["video", &user.to_string()])?;
///     let size = SizeRange::new(1, 80 << 30)?; // 80 GiB
///     Ok(Grant::under(prefix, size).content_types(ContentType::VIDEOS).claims(&user))
/// }
///
/// fn service(uploads: &OssUploads) -> Result<OssPresignService<impl Authorize>, PolicyError> {
///     uploads.presign_service(authorize)
/// }
/// ```
///
/// The service accepts `POST` with a JSON body of at most 64 KiB. It keeps nothing, and connects to
/// nothing but the [ledger](crate::OssUploadsBuilder::ledger), if there is one: the client sends
/// the signed requests to OSS itself.
///
/// | `action` | members | signed request |
/// |---|---|---|
/// | `create` | `size`, `filename`, `type` | `InitiateMultipartUpload` |
/// | `parts` | `handle`, `uploadId`, `parts`: up to 100 numbers | `UploadPart`, one for each |
/// | `list` | `handle`, `uploadId`, `marker` | `ListParts` |
/// | `complete` | `handle`, `uploadId` | `CompleteMultipartUpload`, with the callback |
/// | `abort` | `handle`, `uploadId` | `AbortMultipartUpload` |
/// | `put` | `handle` | `PutObject`, with the callback: the whole file at once |
/// | `get` | `key`, `download`, `process` | `GetObject` |
///
/// Only `create` and `get` ask `authorize`, and of the endpoints of [Companion](Self::storage)
/// those that create an upload or return the token of a form. The answer to `create` contains a
/// *handle*: the object key, size, type, claims and expiry, sealed with the ticket keys. The holder
/// of the handle can continue the upload, from the same page after a reload or from another device.
/// The guide [presigned uploads](crate::guide::presign) has the JSON, a browser client, the limits,
/// and what a client can do with a handle.
///
/// With a [ledger](crate::OssUploadsBuilder::ledger), `create` records the upload before it
/// answers. Each handle has one row, and one ticket.
///
/// The rules of a [`Grant`] apply as in [`OssPolicyService`](super::OssPolicyService), with these
/// differences:
///
/// * A handle is valid for one day, or longer for a large file: as long as it takes at 1 Mbit/s, up
///   to seven days. [`Grant::lifetime`] and [`Grant::max_lifetime`] change both. A URL is valid for
///   an hour, and not longer than the handle and the credentials.
/// * The object has exactly one type. If the grant permits any and the client requests none, it is
///   `application/octet-stream`.
/// * For [`Grant::any_name_under`], the name is the requested `filename`.
/// * [Fields](super::Grant::field) become headers: `x-oss-*`, `Cache-Control`,
///   `Content-Disposition`, `Content-Encoding`, `Content-Language` and `Expires`. Others, and
///   [conditions](super::Grant::condition), are an error. The [status of a
///   success](super::Grant::success_action_status) has no effect.
///
/// [`Grant`]: super::Grant
/// [`Grant::lifetime`]: super::Grant::lifetime
/// [`Grant::max_lifetime`]: super::Grant::max_lifetime
/// [`Grant::any_name_under`]: super::Grant::any_name_under
///
/// Errors are those of [`OssPolicyService`](super::OssPolicyService), and:
///
/// | status | code | reason |
/// |---|---|---|
/// | 400 | `InvalidHandle`, `InvalidUploadId`, `InvalidPart` | the handle was changed; the id or a number cannot be one |
/// | 400 | `TooLargeForPut` | `put` of more than 5 GiB |
/// | 403 | `NotGranted` | the grant is for the other direction, or does not cover the object or the processing |
/// | 403 | `CrossSite` | see [`storage`](Self::storage) |
/// | 410 | `HandleExpired` | the handle has expired; the client creates the upload again |
/// | 503 | `LedgerUnavailable` | the ledger is full or out of reach; the response has `Retry-After` |
///
/// All responses have `Cache-Control: no-store`: a handle and a URL are bearer credentials.
pub struct OssPresignService<A> {
    authorize: Arc<A>,
    presigner: Arc<Presigner>,
}

/// The JSON that a service understands.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum PresignFormat {
    /// The actions of [`OssPresignService`].
    #[default]
    Json,
    /// The argument of `signRequest` of `@uppy/aws-s3`, version 6:
    /// `{"method","key","uploadId","partNumber","contentType","expiresIn"}`. The answer is
    /// `{"url","key","headers"}`.
    ///
    /// uppy names the file in the `key` of its first request. The answer contains the handle as the
    /// key, and uppy sends it with every other request, also after a reload. uppy sends no size, so
    /// every size of the grant is permitted and no length is signed. An application that adds
    /// `size` to the first request gets a handle for that size only; uppy still chooses the parts.
    SignRequest,
}

impl<A: Authorize> OssPresignService<A> {
    /// Creates a service with the settings of one that issues tokens. Fails without tickets.
    pub(crate) fn new(
        authorize: A,
        tokens: &super::OssPolicyService<impl Authorize>,
    ) -> Result<Self, PolicyError> {
        let mut issuer = Issuer::clone(tokens.issuer());
        issuer.post_only = true;
        Ok(Self {
            authorize: Arc::new(authorize),
            presigner: Arc::new(Presigner::new(issuer)?),
        })
    }

    /// Sets how long a URL of an upload is valid, one second to seven days; defaults to one hour.
    /// OSS compares the time when a request arrives, so an upload may take longer. No URL outlives
    /// its handle or the credentials. A URL to download is valid for the
    /// [lifetime](super::Grant::lifetime) of its grant.
    ///
    /// # Errors
    ///
    /// Fails if the time is shorter than one second or longer than seven days.
    pub fn url_lifetime(self, time: Duration) -> Result<Self, PolicyError> {
        check_lifetime(time)?;
        Ok(self.with(|presigner| presigner.url_lifetime = time))
    }

    /// Sets the preferred size of a part in bytes, 100 KiB to 5 GiB; defaults to 8 MiB. A file of
    /// more than 10,000 such parts gets larger ones. If the connection breaks, a client sends at
    /// most one part again for each of its connections.
    ///
    /// # Errors
    ///
    /// Fails if OSS does not accept parts of this size.
    pub fn part_size(self, size: u64) -> Result<Self, PolicyError> {
        let size = Plan::check(size)?;
        Ok(self.with(|presigner| presigner.part_size = size))
    }

    /// Sets the JSON that clients send; defaults to [`PresignFormat::Json`].
    #[must_use]
    pub fn format(self, format: PresignFormat) -> Self {
        self.with(|presigner| presigner.format = format)
    }

    /// Adds the endpoints of uppy's Companion, `/s3/multipart…` and `/s3/params`, wherever the
    /// service is mounted. They create, list, complete and abort uploads themselves, so they need a
    /// storage, such as `OssClient`.
    ///
    /// The `companionEndpoint` of `@uppy/aws-s3` is the path in front of `/s3`. As for
    /// [`PresignFormat::SignRequest`], uppy sends no size, and the key that it gets is the handle.
    ///
    /// `GET /s3/params` asks `authorize` too, and a browser sends it for any page without a CORS
    /// preflight. With a `Cookie` or `Authorization` header and `Sec-Fetch-Site: cross-site`, it is
    /// rejected with 403 (`CrossSite`). uppy sends neither to another site.
    #[must_use]
    pub fn storage(self, storage: impl MultipartStorage + 'static) -> Self {
        self.with(|presigner| presigner.storage = Some(Arc::new(storage)))
    }

    /// Sets a function that renders rejections, as in
    /// [`OssPolicyService::rejection`](super::OssPolicyService::rejection).
    #[must_use]
    pub fn rejection<F>(self, render: F) -> Self
    where
        F: Fn(&TokenError) -> Response<Bytes> + Send + Sync + 'static,
    {
        self.with(|presigner| presigner.issuer.rejection = Some(Arc::new(render)))
    }

    /// Sets the clock; defaults to the system clock.
    #[must_use]
    pub fn clock(self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.with(|presigner| presigner.issuer.clock = Arc::new(clock))
    }

    fn with(mut self, change: impl FnOnce(&mut Presigner)) -> Self {
        change(Arc::make_mut(&mut self.presigner));
        self
    }
}

impl<A> Clone for OssPresignService<A> {
    fn clone(&self) -> Self {
        Self {
            authorize: Arc::clone(&self.authorize),
            presigner: Arc::clone(&self.presigner),
        }
    }
}

impl<A> fmt::Debug for OssPresignService<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OssPresignService")
            .field("presigner", &self.presigner)
            .finish_non_exhaustive()
    }
}

impl<A, B> Service<Request<B>> for OssPresignService<A>
where
    A: Authorize,
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response<PolicyBody>;
    type Error = Infallible;
    type Future = PresignFuture<A, B>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> PresignFuture<A, B> {
        PresignFuture::new(Arc::clone(&self.authorize), &self.presigner, request)
    }
}
