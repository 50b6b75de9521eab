//! The service that issues tokens.

mod body;
mod demo;
mod error;
mod format;
mod future;
mod issuer;
mod responding;
mod response;
#[cfg(test)]
mod tests;

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

use super::{
    authorize::Authorize,
    callback::CallbackDirective,
    credentials::CredentialsProvider,
    error::PolicyError,
    grant::Grant,
    post_policy::{Destination, PolicyConfig},
};
use crate::{
    protocol::{Bucket, Endpoint, Region},
    sign::SignatureVersion,
    ticket::Tickets,
};

pub use demo::PublicDemo;
pub use error::{TokenError, TokenErrorKind};
pub use format::TokenFormat;
pub use future::PolicyFuture;
pub use response::PolicyBody;

pub(super) use body::{ReadBody, check_json};
pub(super) use error::outcome;
pub(super) use issuer::Issuer;
pub(super) use responding::{Answer, Respond, Responding};
pub(super) use response::token_response;

/// Issues tokens, with which clients upload to OSS by themselves, if [`authorize`](Authorize)
/// returns a grant.
///
/// ```
/// use http::request::Parts;
/// use tower_aliyun_oss::{
///     OssUploads,
///     policy::{Authorize, Credentials, Grant, OssPolicyService, Refusal},
///     protocol::{ContentType, ObjectPrefix, SizeRange},
///     ticket::TicketKey,
/// };
///
/// #[derive(Clone, Copy)]
/// struct UserId(u64); // set by your session layer
///
/// async fn authorize(parts: &Parts) -> Result<Grant, Refusal> {
///     let UserId(user) = *parts.extensions.get().ok_or_else(Refusal::unauthorized)?;
///     let prefix = ObjectPrefix::from_segments(["user", &user.to_string()])?;
///     let size = SizeRange::new(1, 10 << 20)?;
///     Ok(Grant::under(prefix, size).content_types(ContentType::IMAGES).claims(&user))
/// }
///
/// // With a ticket in every callback, which `uploads.callback_layer()` requires.
/// fn tokens() -> Result<OssPolicyService<impl Authorize>, Box<dyn std::error::Error>> {
///     let uploads = OssUploads::builder("examplebucket".parse()?, Credentials::from_env()?)
///         .region("cn-hangzhou".parse()?)
///         .callback_url("https://app.example/oss/callback")
///         .ticket_key(TicketKey::from_env("OSS_TICKET_KEY")?) // openssl rand -base64 32
///         .build()?;
///     Ok(uploads.policy_service(authorize))
/// }
/// ```
///
/// The service accepts `GET`, `HEAD` and `POST`. The client describes its file in the query or in a
/// JSON body; see [`RequestedFiles`](super::RequestedFiles). The response is JSON in one of three
/// [formats](TokenFormat). All other responses are errors `{"code","message"}`:
///
/// | status | reason |
/// |---|---|
/// | 400 | the request is not valid, or neither its type nor the extension of its file name is one of several granted types |
/// | 400 | it is a batch, and one exact key is granted, or the format is one of the samples |
/// | 403 | the grant does not permit the size or type |
/// | 405 + `Allow` | another method; a `CorsLayer` around this service answers `OPTIONS` |
/// | 408 | the body takes longer than ten seconds |
/// | 413 | the body exceeds 64 KiB |
/// | 415 | it is a `POST` without the content type `application/json`, even if it has no body |
/// | 422 | it is a batch of more files than the grant [permits](Grant::max_files) |
/// | 500 | the grant does not make a valid policy; the log contains the reason |
/// | 500 | there is neither one grant nor one for each file; the log contains both numbers |
/// | 500 | a parser or the database failed in `authorize`; the log contains the error |
/// | 503 | there are no credentials to sign with |
/// | 503 + `Retry-After` | the [ledger](crate::OssUploadsBuilder::ledger) is full or out of reach |
/// | 4xx, 5xx | the status of the [`Refusal`](super::Refusal) |
///
/// [`rejection`](Self::rejection) renders them in another way, and the extensions of the response
/// contain the [`TokenError`].
///
/// All responses have `Cache-Control: no-store` and `Cross-Origin-Resource-Policy: same-origin`.
/// See [the browser guide](crate::guide::browser) for protection against requests that other sites
/// forge.
///
/// Without [`OssUploads`](crate::OssUploads), the callback layer and its [tickets](Self::tickets)
/// are configured separately:
///
/// ```
/// use tower_aliyun_oss::policy::{CallbackDirective, Credentials, Grant, OssPolicyService, Refusal};
/// use tower_aliyun_oss::ticket::{TicketKey, TicketKeys, Tickets};
///
/// # async fn authorize(_: &http::request::Parts) -> Result<Grant, Refusal> { Err(Refusal::forbidden()) }
/// let tickets = Tickets::in_memory(TicketKeys::new(1, TicketKey::generate()?));
/// let tokens = OssPolicyService::new(
///     authorize,
///     Credentials::new("LTAI5tExample", "secret")?,
///     "examplebucket".parse()?,
///     "cn-hangzhou".parse()?,
///     CallbackDirective::new("https://app.example/oss/callback")?,
/// )?
/// .tickets(tickets)?; // the same as those of the layer
/// # let _ = tokens;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The service is always ready. A clone copies two reference counts. A request whose body is not
/// yet complete needs a tokio runtime with its timer enabled.
pub struct OssPolicyService<A> {
    authorize: Arc<A>,
    issuer: Arc<Issuer>,
}

/// # Settings
///
/// The order of the setters has no effect on the tokens. A setter that returns a `Result` checks
/// the settings at that point, and fails if it needs a region or bucket that is set only
/// afterwards.
impl<A: Authorize> OssPolicyService<A> {
    /// Creates a service that issues tokens for this bucket. They are signed for `region` with the
    /// credentials of the provider, and every upload has this callback.
    ///
    /// If the path of the callback is [ambiguous](crate::protocol::CallbackTarget), such as
    /// `/a%2Fb` or `/a+b`, set [`tickets`](Self::tickets), or name the path with
    /// [`only_path`](crate::OssCallbackLayer::only_path) of the layer. Otherwise the layer rejects
    /// every callback. Without tickets, the service logs a warning with its first token.
    ///
    /// # Errors
    ///
    /// Fails if a policy cannot require the custom variables of the callback.
    pub fn new(
        authorize: A,
        credentials: impl CredentialsProvider + 'static,
        bucket: Bucket,
        region: Region,
        callback: CallbackDirective,
    ) -> Result<Self, PolicyError> {
        let config = PolicyConfig::for_bucket(bucket, region);
        let issuer = Issuer::new(config, callback, credentials, TokenFormat::Fields)?;
        Ok(Self::from_parts(authorize, issuer))
    }

    /// Returns the URL of an object, without a signature.
    pub(crate) fn object_url(&self, key: &str) -> String {
        self.issuer.config.destination.object_url(key)
    }

    /// Returns the settings, for the service that signs URLs.
    pub(super) fn issuer(&self) -> &Arc<Issuer> {
        &self.issuer
    }

    fn from_parts(authorize: A, issuer: Issuer) -> Self {
        Self {
            authorize: Arc::new(authorize),
            issuer: Arc::new(issuer),
        }
    }

    /// Sets the host that receives forms; defaults to the public endpoint of the region.
    ///
    /// # Errors
    ///
    /// Fails for a [`public_demo`](OssPolicyService::public_demo), whose URL contains the host.
    pub fn endpoint(mut self, endpoint: Endpoint) -> Result<Self, PolicyError> {
        let issuer = Arc::make_mut(&mut self.issuer);
        issuer.config.destination.set_endpoint(endpoint)?;
        Ok(self)
    }

    /// Sets the format of tokens; defaults to [`TokenFormat::Fields`].
    ///
    /// # Errors
    ///
    /// Fails if the callback has custom variables, which the clients of the format do not send, if
    /// the format is signed for a region and none is set, or if it is always signed with another
    /// version than the chosen [`signature`](Self::signature).
    pub fn format(self, format: TokenFormat) -> Result<Self, PolicyError> {
        self.try_with(|issuer| issuer.format = Some(format))
    }

    /// Sets the signature version of [`TokenFormat::Fields`]; defaults to version 4.
    ///
    /// # Errors
    ///
    /// Fails if another [format](Self::format) is chosen that is always signed with the other
    /// version. For the default format of a [`public_demo`](OssPolicyService::public_demo), which
    /// depends on its region, the service fails with 500 instead.
    pub fn signature(self, version: SignatureVersion) -> Result<Self, PolicyError> {
        let service = self.with(|issuer| issuer.signature = Some(version));
        if service.issuer.format.is_some() {
            service.issuer.check_signature()?;
        }
        Ok(service)
    }

    /// Adds a ticket to every callback. A [callback layer](crate::OssCallbackLayer::tickets) with
    /// the same keys then accepts only callbacks of uploads that this service granted. The callback
    /// body gets the fields `reqId`, `bucket`, `object`, `size`, `etag` and `mimeType` if it lacks
    /// them.
    ///
    /// [`OssUploads`](crate::OssUploads) configures both sides together.
    ///
    /// # Errors
    ///
    /// Fails if the callback has another field with one of these names, if it exceeds the length
    /// that OSS accepts, or if the bucket is not known.
    pub fn tickets(self, tickets: Tickets) -> Result<Self, PolicyError> {
        self.try_with(|issuer| issuer.tickets = Some(tickets))
    }

    /// Sets the maximum time from the end of the policy to the callback; defaults to one hour. A
    /// ticket is valid for the lifetime of the policy plus this time. A service without
    /// [`tickets`](Self::tickets) that has an upload time fails with 500, because nothing enforces
    /// it.
    #[must_use]
    pub fn upload_time(self, time: Duration) -> Self {
        self.with(|issuer| issuer.upload_time = Some(time))
    }

    /// Checks the settings after the last setter.
    pub(crate) fn check_complete(&self) -> Result<(), PolicyError> {
        self.issuer.check_complete()
    }

    /// Returns the callback of an upload that the server makes itself, with a ticket for this
    /// grant.
    pub(crate) fn callback_for(&self, grant: &Grant) -> Result<CallbackDirective, PolicyError> {
        self.issuer.callback_for(grant)
    }

    /// Returns the same callback once the ledger, if there is one, has recorded the upload.
    pub(crate) async fn recorded_callback_for(
        &self,
        grant: &Grant,
    ) -> Result<CallbackDirective, PolicyError> {
        self.issuer.recorded_callback_for(grant).await
    }

    /// Returns a service with the same settings that asks another `authorize`.
    #[must_use]
    pub fn authorized_by<B: Authorize>(&self, authorize: B) -> OssPolicyService<B> {
        OssPolicyService {
            authorize: Arc::new(authorize),
            issuer: Arc::clone(&self.issuer),
        }
    }

    /// Replaces the callback.
    ///
    /// # Errors
    ///
    /// Fails for the reasons of [`new`](Self::new), and with tickets for those of
    /// [`tickets`](Self::tickets).
    pub fn callback(self, callback: CallbackDirective) -> Result<Self, PolicyError> {
        self.try_with(|issuer| issuer.callback = callback)
    }

    /// Replaces the bucket, its region and its endpoint, which becomes the public endpoint of the
    /// region. For [`OssUploads`](crate::OssUploads), which has no setter for the endpoint that
    /// could come before or after.
    pub(crate) fn with_bucket(self, bucket: Bucket, region: Region) -> Self {
        self.with(|issuer| {
            issuer.config.destination = Destination::bucket(bucket, &region);
            issuer.config.region = Some(region);
        })
    }

    /// Rejects `GET` and `HEAD`. Tokens are credentials, and no browser sends a `POST` when it
    /// follows a link or prefetches one.
    #[must_use]
    pub fn post_only(self) -> Self {
        self.with(|issuer| issuer.post_only = true)
    }

    /// Sets a function that renders rejections; by default they are JSON, `{"code","message"}`.
    ///
    /// The service completes the response: it sets the length and the headers that every response
    /// has, and puts the [`TokenError`] into the extensions. It replaces a status that is neither
    /// 4xx nor 5xx by the status of the error, and adds `Allow` to a 405. The headers of a
    /// [`Refusal`](super::Refusal) are part of the default response only.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use http::{HeaderValue, Response, header::CONTENT_TYPE};
    /// use tower_aliyun_oss::policy::{Authorize, OssPolicyService};
    ///
    /// fn plain<A: Authorize>(tokens: OssPolicyService<A>) -> OssPolicyService<A> {
    ///     tokens.rejection(|error| {
    ///         let mut response = Response::new(Bytes::from(error.message().to_owned()));
    ///         *response.status_mut() = error.status();
    ///         let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    ///         response.headers_mut().insert(CONTENT_TYPE, plain);
    ///         response
    ///     })
    /// }
    /// ```
    #[must_use]
    pub fn rejection<F>(self, render: F) -> Self
    where
        F: Fn(&TokenError) -> Response<Bytes> + Send + Sync + 'static,
    {
        self.with(|issuer| issuer.rejection = Some(Arc::new(render)))
    }

    /// Sets the clock; defaults to the system clock.
    #[must_use]
    pub fn clock(self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.with(|issuer| issuer.clock = Arc::new(clock))
    }

    fn with(mut self, change: impl FnOnce(&mut Issuer)) -> Self {
        let issuer = Arc::make_mut(&mut self.issuer);
        change(issuer);
        issuer.derive();
        self
    }

    fn try_with(self, change: impl FnOnce(&mut Issuer)) -> Result<Self, PolicyError> {
        let mut service = self.with(change);
        Arc::make_mut(&mut service.issuer).check()?;
        Ok(service)
    }
}

impl<A> Clone for OssPolicyService<A> {
    fn clone(&self) -> Self {
        Self {
            authorize: Arc::clone(&self.authorize),
            issuer: Arc::clone(&self.issuer),
        }
    }
}

impl<A> fmt::Debug for OssPolicyService<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OssPolicyService")
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}

impl<A, B> Service<Request<B>> for OssPolicyService<A>
where
    A: Authorize,
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response<PolicyBody>;
    type Error = Infallible;
    type Future = PolicyFuture<A, B>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> PolicyFuture<A, B> {
        PolicyFuture::new(
            Arc::clone(&self.authorize),
            Arc::clone(&self.issuer),
            request,
        )
    }
}
