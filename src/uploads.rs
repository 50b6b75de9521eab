//! Both halves out of one configuration.

mod builder;
mod error;

use std::{fmt, sync::Arc};

use http::request::Parts;

use crate::{
    callback::OssCallbackLayer,
    policy::{
        Authorize, CallbackDirective, CredentialsProvider, Grant, OssPolicyService, PolicyError,
        Refusal,
    },
    protocol::{Bucket, CallbackTarget, Region},
    ticket::Tickets,
};

pub use builder::OssUploadsBuilder;
pub use error::OssUploadsError;

/// Direct uploads to one bucket: a service that hands out tokens, and a layer that takes only the callbacks that these
/// tokens were granted.
///
/// Both come out of one configuration, so they agree on the keys of the tickets, on the callback URL and the target OSS
/// signs, on the body of the callback and its type. A clone costs a few reference counts.
///
/// ```
/// use http::request::Parts;
/// use tower_aliyun_oss::{
///     OssUploads,
///     policy::{Credentials, Grant, Refusal},
///     protocol::SizeRange,
///     ticket::TicketKey,
/// };
///
/// async fn authorize(parts: &Parts) -> Result<Grant, Refusal> {
///     let user: u64 = *parts.extensions.get().ok_or_else(Refusal::unauthorized)?;
///     let prefix = format!("user/{user}/").parse().map_err(|_| Refusal::forbidden())?;
///     let size = SizeRange::new(1, 10 << 20).map_err(|_| Refusal::forbidden())?;
///     Ok(Grant::under(prefix, size).claims(&user))
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let credentials = Credentials::new("LTAI5tExample", "secret")?;
/// let uploads = OssUploads::builder("examplebucket".parse()?, credentials)
///     .region("cn-hangzhou".parse()?)
///     .callback_url("https://app.example/oss/callback")
///     .ticket_key(TicketKey::generate()?) // from_env in earnest
///     .build()?;
/// # #[cfg(feature = "axum")] {
/// use axum::{Router, routing::post};
/// use tower_aliyun_oss::callback::{CallbackReply, VerifiedCallback};
///
/// async fn on_upload(callback: VerifiedCallback) -> CallbackReply {
///     match callback.claims::<u64>() {
///         Ok(user) => println!("user {user}: {:?}", callback.event()),
///         Err(error) => println!("{error}"),
///     }
///     CallbackReply::ok()
/// }
///
/// let app: Router = Router::new()
///     .route_service("/oss/policy", uploads.policy_service(authorize))
///     .route("/oss/callback", post(on_upload).route_layer(uploads.callback_layer()));
/// # }
/// # #[cfg(not(feature = "axum"))] { let _ = uploads.policy_service(authorize); }
/// # Ok(())
/// # }
/// ```
///
/// # Several routes, several buckets
///
/// [`with_callback`](Self::with_callback) and [`with_bucket`](Self::with_bucket) give another one that shares the
/// tickets, their store included. A ticket names its bucket and its targets, so one for an avatar is refused where
/// documents are called back.
#[derive(Clone)]
pub struct OssUploads {
    tokens: OssPolicyService<Nobody>,
    callback: CallbackDirective,
    tickets: Option<Tickets>,
    proxy_prefix: Option<Arc<str>>,
}

/// The authoriser of a service that has not been given one.
#[derive(Clone, Copy, Debug)]
struct Nobody;

impl Authorize for Nobody {
    async fn authorize(&self, _: &Parts) -> Result<Grant, Refusal> {
        Err(Refusal::forbidden())
    }
}

impl OssUploads {
    /// Begins with the bucket, and whatever gives the credentials that sign for it.
    pub fn builder(
        bucket: Bucket,
        credentials: impl CredentialsProvider + 'static,
    ) -> OssUploadsBuilder {
        OssUploadsBuilder::new(bucket, Arc::new(credentials))
    }

    /// The service that gives a token to whom `authorize` lets have one.
    #[must_use]
    pub fn policy_service<A: Authorize>(&self, authorize: A) -> OssPolicyService<A> {
        self.tokens.authorized_by(authorize)
    }

    /// The layer for the route that OSS calls. It can be changed further, its key source for instance.
    pub fn callback_layer(&self) -> OssCallbackLayer {
        let layer = OssCallbackLayer::new().content_types([self.callback.body_type()]);
        let layer = match &self.proxy_prefix {
            Some(prefix) => layer.target_prefix(prefix),
            None => layer,
        };
        match &self.tickets {
            Some(tickets) => layer.tickets(tickets.clone()),
            None => layer,
        }
    }

    /// The callback for an upload that this server makes by itself, or that it signs a URL for: `PutObject`, or
    /// `CompleteMultipartUpload`, through any SDK that takes [headers](CallbackDirective::headers) or
    /// [parameters](CallbackDirective::query_pairs).
    ///
    /// If there are tickets it has one for what is granted, and the [layer](Self::callback_layer) takes nothing else under
    /// it: the key (of [`Grant::under`], one object with a name of your choice; see [`unique_key`]), the size, the
    /// content type (by default `application/octet-stream`), the claims. The ticket lives as long as the grant, and the
    /// time for the upload.
    ///
    /// That is all a grant can do here, for there is no policy: OSS stores what the signed request says, whatever its
    /// size, and what the layer then refuses stays stored. Have `Content-Type` and, unless objects may be replaced,
    /// `x-oss-forbid-overwrite: true` signed with the request. ACL, fields and conditions of the grant are not heeded.
    ///
    /// [`unique_key`]: crate::policy::unique_key
    ///
    /// ```
    /// use tower_aliyun_oss::{OssUploads, policy::{Credentials, Grant}, protocol::SizeRange, ticket::TicketKey};
    ///
    /// let uploads = OssUploads::builder("examplebucket".parse()?, Credentials::new("LTAI5tExample", "secret")?)
    ///     .region("cn-hangzhou".parse()?)
    ///     .callback_url("https://app.example/oss/callback")
    ///     .ticket_key(TicketKey::generate()?)
    ///     .build()?;
    /// let grant = Grant::exact("report.pdf".parse()?, SizeRange::new(1, 1 << 20)?)
    ///     .content_type("application/pdf".parse()?)
    ///     .claims(&"nightly");
    /// for (name, value) in uploads.callback_for(&grant)?.headers() {
    ///     println!("{name}: {} bytes", value.len());
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When the grant allows nothing that a policy could allow: no content type, one that can run scripts, a lifetime of
    /// more than seven days. When its custom variables or claims do not fit into the callback, or the system gives no
    /// random bytes.
    pub fn callback_for(&self, grant: &Grant) -> Result<CallbackDirective, PolicyError> {
        self.tokens.callback_for(grant)
    }

    /// The target that OSS calls and signs, of the first URL.
    #[must_use]
    pub fn callback_target(&self) -> &CallbackTarget {
        self.callback.target()
    }

    /// The tickets, whose store and keys both halves share.
    #[must_use]
    pub fn tickets(&self) -> Option<&Tickets> {
        self.tickets.as_ref()
    }

    /// The same for another callback, which has a route of its own.
    ///
    /// # Errors
    ///
    /// When the callback has another field under a name that a ticket needs, gets too long, or has custom variables
    /// that no policy can pin.
    pub fn with_callback(&self, callback: CallbackDirective) -> Result<Self, OssUploadsError> {
        let mut other = self.clone();
        other.tokens = other.tokens.callback(callback.clone())?;
        other.callback = callback;
        Ok(other)
    }

    /// The same for another bucket, at the public endpoint of its region.
    #[must_use]
    pub fn with_bucket(&self, bucket: Bucket, region: Region) -> Self {
        let mut other = self.clone();
        other.tokens = other.tokens.bucket_in(bucket, region);
        other
    }
}

impl fmt::Debug for OssUploads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OssUploads")
            .field("tokens", &self.tokens)
            .field("tickets", &self.tickets)
            .field("proxy_prefix", &self.proxy_prefix)
            .finish_non_exhaustive()
    }
}
