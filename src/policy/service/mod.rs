//! The service that hands out tokens.

mod answer;
mod demo;
mod format;
mod future;
mod issuer;
mod problem;

use std::{
    convert::Infallible,
    error::Error,
    fmt,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body;
use tower_service::Service;

use super::{
    authorize::Authorize, credentials::CredentialsProvider, destination::Destination,
    directive::CallbackDirective, error::PolicyError, grant::Grant, mint::Mint, template::Template,
};
use crate::{
    protocol::{Bucket, Endpoint, Region},
    sign::SignatureVersion,
    ticket::Tickets,
};

pub use answer::PolicyBody;
pub use demo::PublicDemo;
pub use format::TokenFormat;
pub use future::PolicyFuture;

use issuer::Issuer;

/// Answers a request with a token that lets the client upload to OSS by itself, if the
/// [authoriser](Authorize) grants it.
///
/// `GET`, `HEAD` and `POST`; what is asked for stands in the query or in a JSON body, see
/// [`RequestedFiles`](super::RequestedFiles). The answer is JSON in one of three [formats](TokenFormat), and never
/// cached (`Cache-Control: no-store`). Everything else is an error `{"code","message"}`:
///
/// | status | when |
/// |---|---|
/// | 400 | what is asked for cannot be read; a batch where one exact key is granted, or in a format of the samples; no type named where several are granted |
/// | 403 | a size or type that is not granted; whatever status the authoriser refuses with |
/// | 405 + `Allow` | another method. `OPTIONS` is the business of a `CorsLayer` around this service |
/// | 408 / 413 / 415 | the body takes over ten seconds / is over 64 KiB / is not `application/json` |
/// | 500 | the grant cannot be put into a policy; the log says why |
/// | 503 | there are no credentials to sign with |
///
/// ```
/// use http::request::Parts;
/// use tower_aliyun_oss::{
///     policy::{CallbackDirective, Credentials, Grant, OssPolicyService, Refusal},
///     protocol::SizeRange,
/// };
///
/// async fn authorize(parts: &Parts) -> Result<Grant, Refusal> {
///     let user: u64 = *parts.extensions.get().ok_or_else(Refusal::unauthorized)?;
///     let prefix = format!("user/{user}/").parse().map_err(|_| Refusal::forbidden())?;
///     let size = SizeRange::new(1, 10 * 1024 * 1024).map_err(|_| Refusal::forbidden())?;
///     Ok(Grant::under(prefix, size))
/// }
///
/// let tokens = OssPolicyService::new(
///     authorize,
///     Credentials::new("LTAI5tExample", "secret")?,
///     "examplebucket".parse()?,
///     "cn-hangzhou".parse()?,
///     CallbackDirective::new("https://app.example/oss/callback")?,
/// )?;
/// # let _ = tokens;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The service is always ready, and a clone costs two reference counts. A body needs tokio's clock for its ten seconds.
pub struct OssPolicyService<A> {
    authorize: Arc<A>,
    issuer: Arc<Issuer>,
}

impl<A: Authorize> OssPolicyService<A> {
    /// Tokens for this bucket, signed for its region with the credentials that the provider gives, for whom `authorize`
    /// lets have one. The callback is that of every upload.
    ///
    /// # Errors
    ///
    /// When no policy can pin the custom variables of the callback.
    pub fn new(
        authorize: A,
        credentials: impl CredentialsProvider + 'static,
        bucket: Bucket,
        region: Region,
        callback: CallbackDirective,
    ) -> Result<Self, PolicyError> {
        let template = Template::new(bucket, region, callback);
        Self::issuing(authorize, credentials, template, TokenFormat::Fields)
    }

    fn issuing(
        authorize: A,
        credentials: impl CredentialsProvider + 'static,
        mut template: Template,
        format: TokenFormat,
    ) -> Result<Self, PolicyError> {
        format.shape(&mut template);
        template.check()?;
        Ok(Self {
            authorize: Arc::new(authorize),
            issuer: Arc::new(Issuer {
                template: Arc::new(template),
                credentials: Arc::new(credentials),
                format,
                clock: Arc::new(SystemTime::now),
                post_only: false,
            }),
        })
    }

    /// The host that forms are posted to; by default the public endpoint of the region. A
    /// [`public_demo`](OssPolicyService::public_demo) is given the whole URL instead, and keeps it.
    #[must_use]
    pub fn endpoint(mut self, endpoint: Endpoint) -> Self {
        self.template().destination.reach_through(endpoint);
        self
    }

    /// How tokens are written; [`TokenFormat::Fields`] by default.
    ///
    /// # Errors
    ///
    /// When the callback has custom variables and the clients of the format send none, or the format is signed for a
    /// region and none is known.
    pub fn format(mut self, format: TokenFormat) -> Result<Self, PolicyError> {
        self.shape(format);
        self.template().check()?;
        Ok(self)
    }

    /// Signs [`TokenFormat::Fields`] with another version than 4. The other formats have their own and keep it; choosing a
    /// [format](Self::format) chooses version 4 again.
    #[must_use]
    pub fn signature(mut self, version: SignatureVersion) -> Self {
        if self.issuer.format == TokenFormat::Fields {
            self.template().signature = version;
        }
        self
    }

    /// Puts a ticket into every callback, so that a [layer](crate::OssCallbackLayer::tickets) with the same keys takes
    /// only callbacks that were granted here. The body of the callback gets `reqId`, `bucket`, `object`, `size`, `etag`
    /// and `mimeType`, as far as it does not have them.
    ///
    /// [`OssUploads`](crate::OssUploads) does this on both sides at once.
    ///
    /// # Errors
    ///
    /// When the callback has another field of such a name, or gets too long for OSS; when no bucket is known.
    pub fn tickets(mut self, tickets: Tickets) -> Result<Self, PolicyError> {
        let template = self.template();
        template.callback = Mint::prepare(template.callback.clone())?;
        template.mint = Some(Mint::new(tickets));
        template.check()?;
        Ok(self)
    }

    /// How long an upload may take, from the end of its policy to its callback; one hour by default. A ticket lives as
    /// long as the policy and this time. To be called after [`tickets`](Self::tickets): without them it says nothing.
    #[must_use]
    pub fn upload_time(mut self, time: Duration) -> Self {
        if let Some(mint) = &mut self.template().mint {
            mint.upload_time = time;
        }
        self
    }

    /// The callback of an upload that a server makes by itself, with a ticket for this grant.
    pub(crate) fn callback_for(&self, grant: &Grant) -> Result<CallbackDirective, PolicyError> {
        grant.callback(&self.issuer.template, (self.issuer.clock)())
    }

    /// The same tokens, for whom another authoriser lets have one.
    #[must_use]
    pub fn authorized_by<B: Authorize>(&self, authorize: B) -> OssPolicyService<B> {
        OssPolicyService {
            authorize: Arc::new(authorize),
            issuer: Arc::clone(&self.issuer),
        }
    }

    /// Another callback.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and as [`tickets`](Self::tickets) where there are some.
    pub fn callback(mut self, callback: CallbackDirective) -> Result<Self, PolicyError> {
        let template = self.template();
        template.callback = match template.mint {
            Some(_) => Mint::prepare(callback)?,
            None => callback,
        };
        template.check()?;
        Ok(self)
    }

    /// Another bucket, at the public endpoint of its region.
    #[must_use]
    pub fn bucket_in(mut self, bucket: Bucket, region: Region) -> Self {
        let template = self.template();
        template.destination = Destination::bucket(bucket, &region);
        template.region = Some(region);
        self
    }

    fn shape(&mut self, format: TokenFormat) {
        format.shape(self.template());
        Arc::make_mut(&mut self.issuer).format = format;
    }

    fn template(&mut self) -> &mut Template {
        Arc::make_mut(&mut Arc::make_mut(&mut self.issuer).template)
    }

    /// Leaves `GET` and `HEAD` out: tokens are credentials, and nothing follows a link to a `POST`.
    #[must_use]
    pub fn post_only(mut self) -> Self {
        Arc::make_mut(&mut self.issuer).post_only = true;
        self
    }

    /// Reads the time from here instead of from the system.
    #[must_use]
    pub fn clock(mut self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Arc::make_mut(&mut self.issuer).clock = Arc::new(clock);
        self
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
        let (parts, body) = request.into_parts();
        if let Err(problem) = self.issuer.accepts(&parts.method) {
            return PolicyFuture::ready(problem.response(&parts.method));
        }
        if parts.method == Method::POST {
            return PolicyFuture::reading(self.clone(), parts, body);
        }
        PolicyFuture::asked(self.clone(), parts, &Bytes::new())
    }
}
