//! One configuration for the token side and the callback side.

use std::{fmt, sync::Arc, time::Duration};

use http::request::Parts;

use crate::{
    callback::OssCallbackLayer,
    key::KeySource,
    policy::{
        Authorize, CallbackDirective, CallbackDirectiveError, CallbackTemplate,
        CredentialsProvider, Grant, OssPolicyService, OssPresignService, PolicyError, Refusal,
        TokenFormat,
    },
    protocol::{Bucket, CallbackBodyType, CallbackTarget, Endpoint, Region},
    storage::ObjectStorage,
    ticket::{TicketKey, TicketKeys, Tickets, ledger::UploadLedger},
};

/// Direct uploads to one bucket: a service that issues upload tokens, and a layer that accepts only
/// the callbacks of uploads that these tokens allow.
///
/// Both are built from one configuration, so they always agree on the ticket keys, the callback URL
/// and the target that OSS signs, and the callback body and its type. A clone only increments
/// reference counts.
///
/// ```
/// use http::request::Parts;
/// use tower_aliyun_oss::{
///     OssUploads,
///     policy::{Credentials, Grant, Refusal},
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
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let credentials = Credentials::new("LTAI5tExample", "secret")?;
/// let uploads = OssUploads::builder("examplebucket".parse()?, credentials)
///     .region("cn-hangzhou".parse()?)
///     .callback_url("https://app.example/oss/callback")
///     .ticket_key(TicketKey::generate()?) // in production: `TicketKey::from_env`
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
/// [`with_callback`](Self::with_callback) and [`with_bucket`](Self::with_bucket) return a
/// configuration that shares the tickets, including their store. A ticket names its bucket and its
/// callback targets, so the route for documents rejects the ticket of an avatar.
#[derive(Clone)]
pub struct OssUploads {
    tokens: OssPolicyService<Nobody>,
    callback: CallbackDirective,
    tickets: Option<Tickets>,
    proxy_prefix: Option<Arc<str>>,
    key_source: Option<Arc<dyn KeySource>>,
    confirm: Option<Arc<dyn ObjectStorage>>,
}

/// The [`Authorize`] of the service that is kept as a template: it refuses every request.
#[derive(Clone, Copy, Debug)]
struct Nobody;

impl Authorize for Nobody {
    type Granted = Grant;

    async fn authorize(&self, _: &Parts) -> Result<Grant, Refusal> {
        Err(Refusal::forbidden())
    }
}

impl OssUploads {
    /// Creates a builder. The policies for `bucket` are signed with `credentials`.
    pub fn builder(
        bucket: Bucket,
        credentials: impl CredentialsProvider + 'static,
    ) -> OssUploadsBuilder {
        OssUploadsBuilder::new(bucket, Arc::new(credentials))
    }

    /// Returns the service that issues tokens. It issues one only if `authorize` returns a grant.
    #[must_use]
    pub fn policy_service<A: Authorize>(&self, authorize: A) -> OssPolicyService<A> {
        self.tokens.authorized_by(authorize)
    }

    /// Returns the service that signs the requests of uploads in parts, and of downloads. It signs
    /// only if `authorize` returns a grant.
    ///
    /// # Errors
    ///
    /// Fails without tickets, whose keys seal the handles of uploads.
    pub fn presign_service<A: Authorize>(
        &self,
        authorize: A,
    ) -> Result<OssPresignService<A>, PolicyError> {
        OssPresignService::new(authorize, &self.tokens)
    }

    /// Returns the URL of an object of the bucket, without a signature: the `Location` of a
    /// [completed upload](crate::callback::CallbackReply::complete_result).
    #[must_use]
    pub fn object_url(&self, key: &str) -> String {
        self.tokens.object_url(key)
    }

    /// Returns the layer for the route that OSS calls. Its other settings, such as the key source,
    /// can still be changed.
    pub fn callback_layer(&self) -> OssCallbackLayer {
        // The content type is not signed. Accepting only the configured one keeps a sender from
        // choosing how a signed body is read.
        let layer = OssCallbackLayer::new()
            .content_types([self.callback.body_type()])
            .issued_targets(self.callback.issued_targets());
        let layer = match &self.proxy_prefix {
            Some(prefix) => layer.proxy_prefix(prefix),
            None => layer,
        };
        let layer = match &self.key_source {
            Some(source) => layer.key_source(Arc::clone(source)),
            None => layer,
        };
        match (&self.tickets, &self.confirm) {
            (Some(tickets), Some(storage)) => {
                layer.tickets_and_storage(tickets.clone(), Arc::clone(storage))
            }
            (Some(tickets), None) => layer.tickets(tickets.clone()),
            // The builder permits no storage without tickets.
            (None, _) => layer,
        }
    }

    /// Returns the callback for an upload that this server performs, or for which it signs a URL:
    /// `PutObject` or `CompleteMultipartUpload`, through any SDK that accepts
    /// [headers](CallbackDirective::headers) or [parameters](CallbackDirective::query_pairs).
    ///
    /// With tickets, the callback contains a ticket for the grant, and the
    /// [layer](Self::callback_layer) accepts it only for an upload within the grant: the key (for
    /// [`Grant::under`], one object with a name of your choice; see [`unique_key`]), the size and
    /// the content type (defaults to `application/octet-stream`). The body must have the fields of
    /// this callback, with its constants and custom variables. The ticket is valid
    /// for the lifetime of the grant plus the [upload time](OssUploadsBuilder::upload_time).
    ///
    /// There is no policy, so OSS itself enforces nothing of the grant. It stores any object that
    /// the signed request names, whatever its size, and the object stays even if the layer rejects
    /// the callback. Sign `Content-Type` with the request and, unless objects may be overwritten,
    /// `x-oss-forbid-overwrite: true`. The ACL, fields and conditions of the grant are ignored.
    ///
    /// [`unique_key`]: crate::policy::unique_key
    ///
    /// ```
    /// use tower_aliyun_oss::{
    ///     OssUploads,
    ///     policy::{Credentials, Grant},
    ///     protocol::SizeRange,
    ///     ticket::TicketKey,
    /// };
    ///
    /// let credentials = Credentials::new("LTAI5tExample", "secret")?;
    /// let uploads = OssUploads::builder("examplebucket".parse()?, credentials)
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
    /// With a [ledger](OssUploadsBuilder::ledger), call
    /// [`recorded_callback_for`](Self::recorded_callback_for) instead.
    ///
    /// # Errors
    ///
    /// Fails if the grant is not valid for a policy either: it allows no content type, or one that
    /// can run scripts, or its lifetime exceeds seven days. Fails if its custom variables or claims
    /// do not fit into the callback, or if the system returns no random bytes. Fails with
    /// [`PolicyError::NotRecorded`] if there is a ledger, unless the grant is
    /// [unrecovered](Grant::unrecovered).
    pub fn callback_for(&self, grant: &Grant) -> Result<CallbackDirective, PolicyError> {
        self.tokens.callback_for(grant)
    }

    /// Returns the same callback as [`callback_for`](Self::callback_for), once the
    /// [ledger](OssUploadsBuilder::ledger) has recorded the upload. Start the upload only then.
    ///
    /// The grant must name the object: with [`Grant::exact`], for example for a
    /// [`unique_key`](crate::policy::unique_key). Without a ledger, this is `callback_for`.
    ///
    /// ```
    /// use tower_aliyun_oss::{
    ///     OssUploads,
    ///     policy::{Credentials, Grant},
    ///     protocol::SizeRange,
    ///     ticket::{MemoryStore, TicketKey},
    /// };
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let credentials = Credentials::new("LTAI5tExample", "secret")?;
    /// let uploads = OssUploads::builder("examplebucket".parse()?, credentials)
    ///     .region("cn-hangzhou".parse()?)
    ///     .callback_url("https://app.example/oss/callback")
    ///     .ticket_key(TicketKey::generate()?)
    ///     .ledger(MemoryStore::new())
    ///     .build()?;
    /// let grant = Grant::exact("report.pdf".parse()?, SizeRange::new(1, 1 << 20)?)
    ///     .content_type("application/pdf".parse()?);
    /// let callback = uploads.recorded_callback_for(&grant).await?;
    /// assert_eq!(callback.headers().count(), 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails as `callback_for` does, with [`PolicyError::Ledger`] if the ledger is full or out of
    /// reach, and with [`PolicyError::OpenName`] if the grant leaves the name open.
    pub async fn recorded_callback_for(
        &self,
        grant: &Grant,
    ) -> Result<CallbackDirective, PolicyError> {
        self.tokens.recorded_callback_for(grant).await
    }

    /// Returns the target of the first callback URL, which OSS requests and signs.
    #[must_use]
    pub fn callback_target(&self) -> &CallbackTarget {
        self.callback.target()
    }

    /// Returns the tickets. The service and the layer share their keys and store.
    #[must_use]
    pub fn tickets(&self) -> Option<&Tickets> {
        self.tickets.as_ref()
    }

    /// Returns the prefix that a proxy strips.
    pub(crate) fn get_proxy_prefix(&self) -> Option<&str> {
        self.proxy_prefix.as_deref()
    }

    /// Returns the same configuration with another callback, which needs its own route.
    ///
    /// # Errors
    ///
    /// Fails if the callback uses the name of a field that a ticket needs for something else,
    /// becomes too long, or has custom variables that a policy cannot pin. Fails if one of its URLs
    /// is not under the [`proxy_prefix`](OssUploadsBuilder::proxy_prefix).
    pub fn with_callback(&self, callback: CallbackDirective) -> Result<Self, OssUploadsError> {
        check_prefix(self.proxy_prefix.as_deref(), &callback)?;
        if self.tickets.is_none() {
            check_unambiguous(&callback)?;
        }
        let mut other = self.clone();
        other.tokens = other.tokens.callback(callback.clone())?;
        other.callback = callback;
        Ok(other)
    }

    /// Returns the same configuration for another bucket, at the public endpoint of its region.
    ///
    /// The [storage](OssUploadsBuilder::confirm) stays the same. If it cannot reach the other
    /// bucket, call [`OssCallbackLayer::confirm`] on the layer with another one: an `OssClient`
    /// signs for one region.
    #[must_use]
    pub fn with_bucket(&self, bucket: Bucket, region: Region) -> Self {
        let mut other = self.clone();
        other.tokens = other.tokens.with_bucket(bucket, region);
        other
    }
}

/// Rejects a callback with an ambiguous target. Without tickets, nothing names it to the layer.
fn check_unambiguous(callback: &CallbackDirective) -> Result<(), OssUploadsError> {
    match callback.ambiguity() {
        Some(why) => Err(OssUploadsError::Callback(CallbackDirectiveError::Target(
            why,
        ))),
        None => Ok(()),
    }
}

/// Rejects a callback with a URL outside of the prefix: it would reach this server without passing
/// the proxy, and the layer would verify a target that OSS did not sign.
fn check_prefix(prefix: Option<&str>, callback: &CallbackDirective) -> Result<(), OssUploadsError> {
    let Some(prefix) = prefix else { return Ok(()) };
    let under = format!("/{}/", prefix.trim_matches('/'));
    let mut paths = callback.targets().map(CallbackTarget::path);
    if paths.all(|path| path.starts_with(&under)) {
        Ok(())
    } else {
        Err(OssUploadsError::ProxyPrefix)
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

/// Builder for [`OssUploads`]. The region, a callback and a ticket key are required. The order of
/// the calls does not matter.
#[must_use = "a builder does nothing until it is built"]
pub struct OssUploadsBuilder {
    bucket: Bucket,
    credentials: Arc<dyn CredentialsProvider>,
    region: Option<Region>,
    endpoint: Option<Endpoint>,
    callback: Option<Callback>,
    body_type: Option<CallbackBodyType>,
    ticket_key: Option<TicketKey>,
    tickets: Option<Tickets>,
    ledger: Option<Arc<dyn UploadLedger>>,
    unrecorded: bool,
    without_tickets: bool,
    upload_time: Option<Duration>,
    format: TokenFormat,
    proxy_prefix: Option<Arc<str>>,
    key_source: Option<Arc<dyn KeySource>>,
    confirm: Option<Arc<dyn ObjectStorage>>,
}

#[derive(Debug)]
enum Callback {
    /// URLs, called with the standard body.
    Urls(Vec<Box<str>>),
    Directive(CallbackDirective),
}

impl OssUploadsBuilder {
    fn new(bucket: Bucket, credentials: Arc<dyn CredentialsProvider>) -> Self {
        Self {
            bucket,
            credentials,
            region: None,
            endpoint: None,
            callback: None,
            body_type: None,
            ticket_key: None,
            tickets: None,
            ledger: None,
            unrecorded: false,
            without_tickets: false,
            upload_time: None,
            format: TokenFormat::default(),
            proxy_prefix: None,
            key_source: None,
            confirm: None,
        }
    }

    /// Sets the region that policies are signed for, for example `cn-hangzhou`.
    pub fn region(mut self, region: Region) -> Self {
        self.region = Some(region);
        self
    }

    /// Sets the host that forms are posted to. Defaults to the public endpoint of the region.
    pub fn endpoint(mut self, endpoint: Endpoint) -> Self {
        self.endpoint = Some(endpoint);
        self
    }

    /// Sets the URL that OSS calls: the address of this server as OSS sees it. The callback body
    /// contains every variable of OSS under its own name.
    ///
    /// Replaces all URLs, and the [`callback`](Self::callback).
    pub fn callback_url(self, url: &str) -> Self {
        self.callback_urls([url])
    }

    /// Sets one to five URLs. OSS calls them in this order until one of them answers. Otherwise
    /// like [`callback_url`](Self::callback_url).
    pub fn callback_urls<I>(mut self, urls: I) -> Self
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        let urls = urls.into_iter().map(|url| url.as_ref().into()).collect();
        self.callback = Some(Callback::Urls(urls));
        self
    }

    /// Sets the callback, with its URLs and its body. Fields that a ticket needs are added to the
    /// body if it lacks them.
    ///
    /// Replaces the [`callback_url`](Self::callback_url). The directive contains the type of its
    /// body, so a [`body_type`](Self::body_type) that differs from it is an error.
    pub fn callback(mut self, callback: CallbackDirective) -> Self {
        self.callback = Some(Callback::Directive(callback));
        self
    }

    /// Sets the format of the callback body for [`callback_url`](Self::callback_url) and
    /// [`callback_urls`](Self::callback_urls). Defaults to a form.
    pub fn body_type(mut self, body_type: CallbackBodyType) -> Self {
        self.body_type = Some(body_type);
        self
    }

    /// Creates and checks tickets with this key, and records used tickets in memory. This is only
    /// for a service that runs as a single process; others need [`tickets`](Self::tickets) with a
    /// shared store.
    pub fn ticket_key(mut self, key: TicketKey) -> Self {
        self.ticket_key = Some(key);
        self
    }

    /// Sets tickets with several keys, another store, or other settings. They contain their keys,
    /// so a [`ticket_key`](Self::ticket_key) as well is an error.
    pub fn tickets(mut self, tickets: Tickets) -> Self {
        self.tickets = Some(tickets);
        self
    }

    /// Records every granted upload in this ledger before its token is sent, so that a recovery can
    /// deliver the callbacks that do not arrive. See [the guide](crate::guide::ledger).
    ///
    /// The ledger is the store of redeemed tickets too. Use it with
    /// [`ticket_key`](Self::ticket_key); tickets with several keys are created with
    /// [`Tickets::with_ledger`], so a ledger beside [`tickets`](Self::tickets) is an error.
    ///
    /// If the ledger is full or out of reach, the response to a request for tokens is 503 with
    /// `Retry-After`. A grant that leaves the name of the object open is an error, unless it is
    /// [unrecovered](Grant::unrecovered).
    ///
    /// ```
    /// # #[cfg(feature = "redis")]
    /// # fn build() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_aliyun_oss::{Credentials, OssUploads, TicketKey, ticket::RedisStore};
    ///
    /// let uploads = OssUploads::builder("examplebucket".parse()?, Credentials::from_env()?)
    ///     .region("cn-hangzhou".parse()?)
    ///     .callback_url("https://app.example/oss/callback")
    ///     .ticket_key(TicketKey::from_env("OSS_TICKET_KEY")?)
    ///     .ledger(RedisStore::new("redis://10.0.0.5/0")?)
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn ledger(mut self, ledger: impl UploadLedger + 'static) -> Self {
        self.ledger = Some(Arc::new(ledger));
        self
    }

    /// Issues tokens although the ledger is full or out of reach. See
    /// [`Tickets::dangerous_issue_when_ledger_fails`].
    pub fn dangerous_issue_when_ledger_fails(mut self) -> Self {
        self.unrecorded = true;
        self
    }

    /// Sets how long an upload may take, as in [`OssPolicyService::upload_time`]. Defaults to one
    /// hour.
    pub fn upload_time(mut self, time: Duration) -> Self {
        self.upload_time = Some(time);
        self
    }

    /// Sets the format of tokens. Defaults to [`TokenFormat::Fields`].
    pub fn format(mut self, format: TokenFormat) -> Self {
        self.format = format;
        self
    }

    /// Sets the prefix that a proxy in front strips from the path. With `/gw`, OSS calls
    /// `/gw/oss/callback`, and the route of this server is `/oss/callback`. The layer uses it as
    /// its [`proxy_prefix`](crate::OssCallbackLayer::proxy_prefix).
    ///
    /// If the prefix is missing or wrong, tickets do not match the target, and the layer logs a
    /// warning that names the prefix.
    pub fn proxy_prefix(mut self, prefix: &str) -> Self {
        self.proxy_prefix = Some(prefix.into());
        self
    }

    /// Sets the source of public keys, as in
    /// [`OssCallbackLayer::key_source`](crate::OssCallbackLayer::key_source). Defaults to the
    /// published key of OSS. Tests pass that of the emulator.
    ///
    /// ```
    /// use tower_aliyun_oss::{OssUploads, key::KeySource, policy::Credentials};
    ///
    /// // In production: `Box::new(PinnedKeys::official())`.
    /// fn builder(keys: Box<dyn KeySource>) -> Result<(), Box<dyn std::error::Error>> {
    ///     let credentials = Credentials::from_env()?;
    ///     let builder = OssUploads::builder("examplebucket".parse()?, credentials).key_source(keys);
    ///     // …
    /// #   let _ = builder;
    ///     Ok(())
    /// }
    /// ```
    pub fn key_source(mut self, source: impl KeySource + 'static) -> Self {
        self.key_source = Some(Arc::new(source));
        self
    }

    /// Asks OSS about the object of a callback before the handler runs, as in
    /// [`OssCallbackLayer::confirm`]. Requires tickets.
    ///
    /// ```
    /// # #[cfg(feature = "storage")]
    /// # fn build() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_aliyun_oss::{
    ///     Credentials, OssUploads, TicketKey,
    ///     protocol::{Endpoint, Region},
    ///     storage::OssClient,
    /// };
    ///
    /// let credentials = Credentials::from_env()?;
    /// let region: Region = "cn-hangzhou".parse()?;
    /// // On a machine in the region.
    /// let storage = OssClient::new(region.clone(), credentials.clone())
    ///     .endpoint(Endpoint::internal(&region));
    /// let uploads = OssUploads::builder("examplebucket".parse()?, credentials)
    ///     .region(region)
    ///     .callback_url("https://app.example/oss/callback")
    ///     .ticket_key(TicketKey::from_env("OSS_TICKET_KEY")?)
    ///     .confirm(storage)
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn confirm(mut self, storage: impl ObjectStorage + 'static) -> Self {
        self.confirm = Some(Arc::new(storage));
        self
    }

    /// Accepts every callback that OSS signed, without a ticket. This is dangerous: anybody with an
    /// OSS bucket can make OSS sign any body for your URL. Tickets as well, or a grant
    /// [without a callback](Grant::without_callback), are an error.
    pub fn dangerous_without_tickets(mut self) -> Self {
        self.without_tickets = true;
        self
    }

    /// Builds the configuration.
    ///
    /// # Errors
    ///
    /// Fails if the region, the callback or the ticket key is missing, if OSS would not call the
    /// callback or the layer would reject it, if a callback URL is not under the
    /// [`proxy_prefix`](Self::proxy_prefix), or if the token format cannot express the policy.
    /// Fails if two settings contradict each other.
    pub fn build(self) -> Result<OssUploads, OssUploadsError> {
        let region = self.region.ok_or(OssUploadsError::NoRegion)?;
        let callback = match self.callback.ok_or(OssUploadsError::NoCallback)? {
            Callback::Urls(urls) => {
                let body_type = self.body_type.unwrap_or(CallbackBodyType::Form);
                CallbackDirective::with_urls(urls)
                    .and_then(|callback| callback.body(CallbackTemplate::standard(body_type)))
                    .map_err(OssUploadsError::Callback)?
            }
            Callback::Directive(callback) => match self.body_type {
                Some(other) if other != callback.body_type() => {
                    return Err(OssUploadsError::BodyType);
                }
                _ => callback,
            },
        };
        let tickets = match (self.ticket_key, self.tickets, self.ledger) {
            (Some(_), Some(_), _) => return Err(OssUploadsError::TicketKeyAndTickets),
            (_, Some(_), Some(_)) => return Err(OssUploadsError::TicketsAndLedger),
            (None, None, Some(_)) if self.without_tickets => {
                return Err(OssUploadsError::LedgerWithoutTickets);
            }
            // Any ID works for a single key. Rotation needs several keys, so it goes through
            // `tickets`.
            (Some(key), None, Some(ledger)) => {
                Some(Tickets::with_ledger(TicketKeys::new(1, key), ledger))
            }
            (Some(key), None, None) => Some(Tickets::in_memory(TicketKeys::new(1, key))),
            (None, tickets, _) => tickets,
        };
        let tickets = match self.unrecorded {
            true => tickets.map(Tickets::dangerous_issue_when_ledger_fails),
            false => tickets,
        };
        match &tickets {
            None if !self.without_tickets => return Err(OssUploadsError::NoTicketKey),
            Some(_) if self.without_tickets => return Err(OssUploadsError::WithoutTickets),
            None if self.confirm.is_some() => return Err(OssUploadsError::ConfirmWithoutTickets),
            _ => {}
        }
        check_prefix(self.proxy_prefix.as_deref(), &callback)?;
        if tickets.is_none() {
            check_unambiguous(&callback)?;
        }
        let mut tokens = OssPolicyService::new(
            Nobody,
            self.credentials,
            self.bucket,
            region,
            callback.clone(),
        )?
        .format(self.format)?;
        if let Some(endpoint) = self.endpoint {
            tokens = tokens.endpoint(endpoint)?;
        }
        if let Some(tickets) = &tickets {
            tokens = tokens.tickets(tickets.clone())?;
        }
        if let Some(time) = self.upload_time {
            tokens = tokens.upload_time(time);
        }
        tokens.check_complete()?;
        Ok(OssUploads {
            tokens,
            callback,
            tickets,
            proxy_prefix: self.proxy_prefix,
            key_source: self.key_source,
            confirm: self.confirm,
        })
    }
}

impl fmt::Debug for OssUploadsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OssUploadsBuilder")
            .field("bucket", &self.bucket)
            .field("region", &self.region)
            .field("callback", &self.callback)
            .field("ticket_key", &self.ticket_key)
            .field("tickets", &self.tickets)
            .finish_non_exhaustive()
    }
}

/// Error returned when [`OssUploads`] cannot be built.
#[derive(Clone, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum OssUploadsError {
    /// The region is not set.
    #[error("the region is not set; call region, for example with cn-hangzhou")]
    NoRegion,
    /// The callback is not set.
    #[error("the callback is not set; call callback_url with the URL that OSS requests")]
    NoCallback,
    /// The ticket key is not set. Without tickets, anybody can make OSS sign a callback for your
    /// URL.
    #[error("the ticket key is not set; call ticket_key with a key from `openssl rand -base64 32`")]
    NoTicketKey,
    /// There are a [`ticket_key`](OssUploadsBuilder::ticket_key) and
    /// [`tickets`](OssUploadsBuilder::tickets), which contain their own keys.
    #[error("ticket_key and tickets are set, and tickets contain their keys; remove ticket_key")]
    TicketKeyAndTickets,
    /// There is a [`ledger`](OssUploadsBuilder::ledger), and
    /// [`tickets`](OssUploadsBuilder::tickets) with a store of their own.
    #[error(
        "tickets and a ledger are set, and tickets contain their store; create them with \
        Tickets::with_ledger, and remove ledger"
    )]
    TicketsAndLedger,
    /// There is a [`ledger`](OssUploadsBuilder::ledger), and [`dangerous_without_tickets`].
    ///
    /// [`dangerous_without_tickets`]: OssUploadsBuilder::dangerous_without_tickets
    #[error("a ledger needs tickets, which identify the uploads; remove dangerous_without_tickets")]
    LedgerWithoutTickets,
    /// There are tickets, and [`dangerous_without_tickets`] as well.
    ///
    /// [`dangerous_without_tickets`]: OssUploadsBuilder::dangerous_without_tickets
    #[error("tickets are set, and dangerous_without_tickets too; remove one of them")]
    WithoutTickets,
    /// There is a storage to [confirm](OssUploadsBuilder::confirm) with, and
    /// [`dangerous_without_tickets`].
    ///
    /// [`dangerous_without_tickets`]: OssUploadsBuilder::dangerous_without_tickets
    #[error("confirm needs tickets, which name the bucket; remove dangerous_without_tickets")]
    ConfirmWithoutTickets,
    /// The body type differs from that of the callback.
    #[error("the body type differs from that of the callback, which contains its own; remove it")]
    BodyType,
    /// A callback URL is not under the prefix that the proxy strips.
    #[error(
        "a callback URL is not under the prefix that the proxy strips; OSS calls the proxy, so \
         every URL must start with it"
    )]
    ProxyPrefix,
    /// OSS would not call the callback, or the layer would reject it.
    #[error("the callback is not valid")]
    Callback(#[source] CallbackDirectiveError),
    /// A policy cannot be created with these settings.
    #[error("a policy cannot be created with these settings")]
    Policy(#[from] PolicyError),
}

crate::causes::debug_is_text!(OssUploadsError);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Credentials;

    fn builder() -> OssUploadsBuilder {
        let credentials = Credentials::new("id", "secret").unwrap();
        OssUploads::builder("examplebucket".parse().unwrap(), credentials)
            .region("cn-hangzhou".parse().unwrap())
            .dangerous_without_tickets()
    }

    #[test]
    fn settings_that_contradict_each_other_are_an_error() {
        let form = CallbackDirective::new("https://app.example/cb").unwrap();
        for builder in [
            builder()
                .callback(form.clone())
                .body_type(CallbackBodyType::Json),
            builder()
                .body_type(CallbackBodyType::Json)
                .callback(form.clone()),
        ] {
            assert_eq!(builder.build().unwrap_err(), OssUploadsError::BodyType);
        }
        let same = builder()
            .callback(form.clone())
            .body_type(CallbackBodyType::Form);
        assert!(same.build().is_ok());

        let both = builder()
            .callback(form.clone())
            .ticket_key(TicketKey::generate().unwrap());
        assert_eq!(both.build().unwrap_err(), OssUploadsError::WithoutTickets);

        let time = Duration::from_secs(60);
        let error = builder()
            .upload_time(time)
            .callback(form)
            .build()
            .unwrap_err();
        assert_eq!(error, OssUploadsError::Policy(PolicyError::UploadTime));
    }

    #[test]
    fn an_ambiguous_target_needs_tickets() {
        let url = "https://app.example/a%2Fb";
        let error = builder().callback_url(url).build().unwrap_err();
        assert!(matches!(error, OssUploadsError::Callback(_)), "{error}");
        let plain = builder().callback_url("https://app.example/cb").build();
        let other = CallbackDirective::new(url).unwrap();
        let error = plain.unwrap().with_callback(other).unwrap_err();
        assert!(matches!(error, OssUploadsError::Callback(_)), "{error}");
        let credentials = Credentials::new("id", "secret").unwrap();
        let uploads = OssUploads::builder("examplebucket".parse().unwrap(), credentials)
            .region("cn-hangzhou".parse().unwrap())
            .ticket_key(TicketKey::generate().unwrap())
            .callback_url(url)
            .build();
        assert_eq!(uploads.unwrap().callback_target().as_str(), "/a%2Fb");
    }

    #[test]
    fn another_callback_is_under_the_prefix_of_the_proxy_too() {
        let callback =
            |path| CallbackDirective::new(&format!("https://app.example{path}")).unwrap();
        let built = |prefix| {
            builder()
                .callback(callback("/gw/cb"))
                .proxy_prefix(prefix)
                .build()
        };
        for prefix in ["/gw", "gw/", "/gw/"] {
            let uploads = built(prefix).unwrap();
            for wrong in ["/cb", "/gw", "/gwx/cb", "/other/gw/cb"] {
                let error = uploads.with_callback(callback(wrong)).unwrap_err();
                assert_eq!(error, OssUploadsError::ProxyPrefix, "{wrong}");
            }
            let other = uploads.with_callback(callback("/gw/avatar")).unwrap();
            assert_eq!(other.callback_target().path(), "/gw/avatar");
        }
        // Every URL, not only the first.
        let urls = ["https://app.example/gw/cb", "https://app.example/cb"];
        let two = CallbackDirective::with_urls(urls).unwrap();
        let error = built("/gw").unwrap().with_callback(two).unwrap_err();
        assert_eq!(error, OssUploadsError::ProxyPrefix);
        // Without a prefix there is no condition.
        let plain = builder().callback(callback("/cb")).build().unwrap();
        assert!(plain.with_callback(callback("/avatar")).is_ok());
    }

    #[test]
    fn the_order_of_body_type_and_url_does_not_matter() {
        let url = "https://app.example/cb";
        for builder in [
            builder()
                .callback_url(url)
                .body_type(CallbackBodyType::Json),
            builder()
                .body_type(CallbackBodyType::Json)
                .callback_url(url),
        ] {
            let uploads = builder.build().unwrap();
            assert_eq!(uploads.callback.body_type(), CallbackBodyType::Json);
        }
    }
}
