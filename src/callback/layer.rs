//! The layer and its settings.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Response, Uri, request::Parts};
use tower_layer::Layer;

use super::{
    config::{Config, IssuedTarget, VerifierConfig},
    confirm::Confirmation,
    error::CallbackError,
    service::OssCallback,
};
use crate::{
    key::KeySource,
    protocol::{CallbackBodyType, TargetError},
    storage::ObjectStorage,
    ticket::Tickets,
};

/// Verifies that a request is a callback signed by OSS before the inner service receives it.
///
/// [`OssUploads`](crate::OssUploads) configures the layer and the service that issues the tokens,
/// so the layer accepts only the callbacks of uploads that this server granted:
///
/// ```
/// # #[cfg(feature = "axum")]
/// # fn app() -> Result<axum::Router, Box<dyn std::error::Error>> {
/// use axum::{Router, routing::post};
/// use http::request::Parts;
/// use tower_aliyun_oss::{
///     CallbackReply, ContentType, Credentials, Grant, ObjectPrefix, OssUploads, Refusal, SizeRange,
///     TicketKey, VerifiedCallback,
/// };
///
/// async fn authorize(parts: &Parts) -> Result<Grant, Refusal> {
///     let user: u64 = *parts.extensions.get().ok_or_else(Refusal::unauthorized)?;
///     let prefix = ObjectPrefix::from_segments(["user", &user.to_string()])?;
///     let size = SizeRange::new(1, 10 << 20)?;
///     Ok(Grant::under(prefix, size).content_types(ContentType::IMAGES).claims(&user))
/// }
///
/// async fn on_upload(callback: VerifiedCallback) -> CallbackReply {
///     println!("{:?} by user {:?}", callback.event(), callback.claims::<u64>());
///     CallbackReply::ok()
/// }
///
/// let uploads = OssUploads::builder("examplebucket".parse()?, Credentials::from_env()?)
///     .region("cn-hangzhou".parse()?)
///     .callback_url("https://app.example/oss/callback")
///     .ticket_key(TicketKey::from_env("OSS_TICKET_KEY")?) // openssl rand -base64 32
///     .build()?;
/// Ok(Router::new()
///     .route_service("/oss/policy", uploads.policy_service(authorize))
///     .route("/oss/callback", post(on_upload).route_layer(uploads.callback_layer())))
/// # }
/// ```
///
/// Alone, the layer accepts every callback that OSS signed, for any of its customers. Use this to
/// replace a sample server, or with [`tickets`](Self::tickets):
///
/// ```
/// # #[cfg(feature = "axum")]
/// # fn app() -> axum::Router {
/// use axum::{Router, routing::post};
/// use tower_aliyun_oss::{CallbackReply, OssCallbackLayer, VerifiedCallback};
///
/// async fn on_upload(callback: VerifiedCallback) -> CallbackReply {
///     println!("somebody uploaded {:?}", callback.event_of_sample());
///     CallbackReply::ok()
/// }
///
/// Router::new().route("/oss/callback", post(on_upload).route_layer(OssCallbackLayer::new()))
/// # }
/// ```
///
/// See the [module docs](crate::callback) for the checks, and for other servers than axum.
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it wraps a service"]
pub struct OssCallbackLayer {
    config: Arc<Config>,
}

impl OssCallbackLayer {
    /// Creates a layer that verifies every request with the published key of OSS. It opens no
    /// connections.
    pub fn new() -> Self {
        Self {
            config: Arc::new(Config::new()),
        }
    }

    /// Verifies only requests to this path, so that the layer can wrap a whole application. Call it
    /// once per path.
    ///
    /// The path is compared with the raw path of a request, without its query, both in their
    /// [canonical](crate::protocol::CallbackTarget) spelling: `/%70` equals `/p`, and the inner
    /// service sees `/p`. Behind a router of axum, which has matched the raw path, only the
    /// spelling that is configured here is accepted, and an equivalent one is rejected. Any other
    /// request (`/p/`, `//p`) reaches the inner service untouched and without a
    /// [`VerifiedCallback`](super::VerifiedCallback), so a handler that takes one never runs for
    /// it.
    ///
    /// The path may be ambiguous, such as `/a%2Fb` or `/a+b`: naming it here selects this spelling,
    /// and not `/a/b`, although both have the same signatures.
    ///
    /// If [`target_uri`](Self::target_uri) or axum's `OriginalUri` reports this path as the signed
    /// one, the request is verified even if its own path differs. A request to this path that was
    /// signed for a different one is rejected.
    ///
    /// # Errors
    ///
    /// Fails if no request can have this path: it does not start with `/`, or contains a query, a
    /// fragment, a space, an escaped control byte, a segment `..`, or escapes that are not UTF-8.
    /// Fails if a signature for this path can also be one for a path that is already configured, as
    /// with `/a%2Fb` and `/a/b`.
    ///
    /// ```
    /// use tower_aliyun_oss::OssCallbackLayer;
    ///
    /// let layer = OssCallbackLayer::new().only_path("/oss/callback")?;
    /// # Ok::<(), tower_aliyun_oss::protocol::TargetError>(())
    /// ```
    pub fn only_path(mut self, path: &str) -> Result<Self, TargetError> {
        let config = Arc::make_mut(&mut self.config);
        config.verifier = config.verifier.clone().only_path(path)?;
        Ok(self)
    }

    /// Accepts a callback whose path is [ambiguous](crate::protocol::CallbackTarget), such as
    /// `/a%2Fb`, `/a+b` or `//a`. Prefer [`only_path`](Self::only_path) or
    /// [tickets](Self::tickets), which name the path.
    ///
    /// This is dangerous: anyone who receives a callback that OSS signed for `/a/b` can replay it
    /// to `/a%2Fb`, and one for `/a?b` to `/a%3Fb`. Use it only if every path leads to the same
    /// handler, and that handler does not read path or query. Escaped control bytes, segments `..`
    /// and escapes that are not UTF-8 are still rejected.
    pub fn dangerous_accept_ambiguous_targets(self) -> Self {
        self.with_config(VerifierConfig::dangerous_accept_ambiguous_targets)
    }

    /// Sets a hook that returns the URI that OSS signed, if it differs from the URI of the request:
    /// for example behind a proxy that strips a prefix. If the hook returns `None`, the URI of the
    /// request is used.
    ///
    /// Only path and query matter. If the hook reads a header, the sender of the request chooses
    /// for which path a signature counts, so configure the path with [`only_path`](Self::only_path)
    /// as well.
    ///
    /// ```
    /// use tower_aliyun_oss::OssCallbackLayer;
    ///
    /// // The proxy serves this application under /gw and strips that prefix.
    /// let layer = OssCallbackLayer::new()
    ///     .target_uri(|parts| format!("/gw{}", parts.uri.path_and_query()?).parse().ok());
    /// ```
    pub fn target_uri<F>(self, target_uri: F) -> Self
    where
        F: Fn(&Parts) -> Option<Uri> + Send + Sync + 'static,
    {
        self.with_config(|verifier| verifier.target_uri(target_uri))
    }

    /// Sets the prefix that a proxy strips from the path of a callback; OSS signed the path with
    /// it. A URI returned by [`target_uri`](Self::target_uri) overrides it.
    ///
    /// ```
    /// # use tower_aliyun_oss::OssCallbackLayer;
    /// // OSS calls https://app.example/gw/oss/callback, and the route here is /oss/callback.
    /// let layer = OssCallbackLayer::new().proxy_prefix("/gw");
    /// ```
    pub fn proxy_prefix(self, prefix: &str) -> Self {
        self.with_config(|verifier| verifier.proxy_prefix(prefix))
    }

    /// Adds a prefix that a proxy may strip from the path, or add to it, to the search for
    /// mismatched signatures. Call it once per prefix.
    ///
    /// It does not change what is verified. If a signature does not match, and the log level of the
    /// target `tower_aliyun_oss::diagnose` is `DEBUG`, the log reports whether it matches with or
    /// without the prefix; see [`diagnose`](super::diagnose()). The search tries at most 16
    /// prefixes.
    ///
    /// ```
    /// use tower_aliyun_oss::OssCallbackLayer;
    ///
    /// let layer = OssCallbackLayer::new().diagnose_proxy_prefix("/gw").diagnose_proxy_prefix("/api/v1");
    /// ```
    pub fn diagnose_proxy_prefix(self, prefix: &str) -> Self {
        self.with_config(|verifier| verifier.diagnose_proxy_prefix(prefix))
    }

    /// Sets the largest accepted body in bytes; defaults to 64 KiB. A larger body is rejected with
    /// 413.
    ///
    /// The limit bounds the memory and the hashing that an unverified request can cost. OSS builds
    /// the body from at most 5 KiB of callback parameters, and it stays below 64 KiB.
    pub fn body_limit(self, bytes: usize) -> Self {
        self.with_config(|verifier| verifier.body_limit(bytes))
    }

    /// Sets how long the body may take to arrive; defaults to 3 s. A slower body is rejected with
    /// 408.
    ///
    /// The [`deadline`](Self::deadline) applies as well.
    pub fn body_deadline(mut self, time: Duration) -> Self {
        Arc::make_mut(&mut self.config).body_deadline = time;
        self
    }

    /// Sets how long the body, the key, the store of used tickets and a
    /// [confirmation](Self::confirm) may take together; defaults to 4 s. If they take longer, the
    /// request is rejected with 503.
    ///
    /// This includes the wait for a concurrent callback with the same ticket. Storing the response
    /// has a deadline of the same length of its own, because the inner service runs in between.
    ///
    /// OSS waits 5 s for a response and does not retry, so leave some of that time to the handler.
    pub fn deadline(mut self, time: Duration) -> Self {
        Arc::make_mut(&mut self.config).deadline = time;
        self
    }

    /// Sets the accepted body types; defaults to both. Any other type is rejected with 415.
    ///
    /// OSS does not sign the content type: a body that was signed as JSON can be replayed as a
    /// form. Accept only the type that your `callbackBodyType` sets, and no attacker can choose how
    /// your handler parses the body.
    ///
    /// ```
    /// use tower_aliyun_oss::{OssCallbackLayer, protocol::CallbackBodyType};
    ///
    /// let layer = OssCallbackLayer::new().content_types([CallbackBodyType::Json]);
    /// ```
    pub fn content_types(self, types: impl IntoIterator<Item = CallbackBodyType>) -> Self {
        self.with_config(|verifier| verifier.content_types(types))
    }

    /// Sets the source of public keys; defaults to
    /// [`PinnedKeys::official`](crate::key::PinnedKeys::official). Its table replaces the table of
    /// allowed key URLs.
    pub fn key_source(mut self, source: impl KeySource + 'static) -> Self {
        let config = Arc::make_mut(&mut self.config);
        config.verifier = config.verifier.clone().key_table(source.table().clone());
        config.key_source = Arc::new(source);
        self
    }

    /// Accepts only callbacks with a valid ticket, and each ticket only as often as it allows.
    ///
    /// The ticket is the field [`TICKET_FIELD`](crate::protocol::TICKET_FIELD) of the body. Without
    /// a valid ticket for this target and body type, a request is rejected with 403 before it costs
    /// a key lookup, a signature check or an access to the store. After the signature is verified,
    /// the request is rejected with 403 if:
    ///
    /// * `bucket`, `object`, `size` or `mimeType` of the body are outside of what the ticket
    ///   grants;
    /// * the ticket was used for a different body;
    /// * the ticket is used up.
    ///
    /// If the same callback arrives again, the layer sends the stored response and does not call
    /// the inner service. While the first delivery is still being handled, the second one waits
    /// until the [`deadline`](Self::deadline), and is then rejected with 503.
    ///
    /// To be stored, a response is collected before it is sent. A response that exceeds 1 MiB, or
    /// whose body fails, is replaced by a rejection with 503. The store keeps the status, the
    /// content type and the body.
    ///
    /// See [`ticket`](crate::ticket), and [`OnFailure`](crate::ticket::OnFailure) for failures of
    /// the inner service.
    ///
    /// ```
    /// use tower_aliyun_oss::OssCallbackLayer;
    /// use tower_aliyun_oss::ticket::{MemoryStore, OnFailure, TicketKey, TicketKeys, Tickets};
    ///
    /// let keys = TicketKeys::new(1, TicketKey::generate()?);
    /// let tickets = Tickets::new(keys, MemoryStore::new()).on_failure(OnFailure::AtMostOnce);
    /// let layer = OssCallbackLayer::new().tickets(tickets);
    /// # Ok::<(), tower_aliyun_oss::ticket::TicketKeyError>(())
    /// ```
    pub fn tickets(self, tickets: Tickets) -> Self {
        self.with_config(|verifier| verifier.tickets(tickets))
    }

    /// Asks OSS about the object before the inner service runs (`HeadObject`). Requires
    /// [`tickets`](Self::tickets), which name the bucket; set them before.
    ///
    /// The holder of a ticket can have OSS sign a callback with a false size, type or checksum, or
    /// for no object at all. With `confirm`, the object exists in the granted bucket, and its size,
    /// ETag, content type, CRC-64 and MD5 are those of the callback, as far as the body contains
    /// them and the storage reports them. [`VerifiedCallback::confirmed`] returns the metadata.
    ///
    /// | the storage responds | response to the callback |
    /// |---|---|
    /// | the object is as reported, and within the grant | from the inner service |
    /// | the object does not exist, or differs | 403; the ticket is released |
    /// | anything else, or not within 1.5 s | 503 and a warning; the ticket is released |
    ///
    /// It asks only for a callback that has passed all other checks and whose handler has not run:
    /// a repeated callback costs no request. After 20 refuted callbacks of a ticket, or that many
    /// disconnects while the storage is asked, it asks no more for that ticket, and responds with
    /// 503.
    ///
    /// A callback that was accepted
    /// [without a ticket](Tickets::dangerous_accept_without_ticket_until) is not confirmed.
    ///
    /// [`VerifiedCallback::confirmed`]: super::VerifiedCallback::confirmed
    ///
    /// ```
    /// use tower_aliyun_oss::{OssCallbackLayer, callback::ConfirmError, storage::ObjectStorage};
    /// use tower_aliyun_oss::ticket::Tickets;
    ///
    /// // `OssClient` with the feature `storage`, or your implementation.
    /// fn layer(
    ///     tickets: Tickets,
    ///     storage: impl ObjectStorage + 'static,
    /// ) -> Result<OssCallbackLayer, ConfirmError> {
    ///     OssCallbackLayer::new().tickets(tickets).confirm(storage)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails with [`ConfirmError::NoTickets`] if the layer does not require tickets.
    pub fn confirm(mut self, storage: impl ObjectStorage + 'static) -> Result<Self, ConfirmError> {
        let config = Arc::make_mut(&mut self.config);
        if config.verifier.required_tickets().is_none() {
            return Err(ConfirmError::NoTickets);
        }
        let deadline = match &config.confirmation {
            Some(confirmation) => confirmation.deadline,
            None => Confirmation::DEADLINE,
        };
        config.confirmation = Some(Confirmation::new(Arc::new(storage), deadline));
        Ok(self)
    }

    /// Sets how long [`confirm`](Self::confirm) may take; defaults to 1.5 s. If the storage does
    /// not respond in time, the request is rejected with 503. Has no effect before `confirm`.
    ///
    /// The [`deadline`](Self::deadline) applies as well.
    pub fn confirm_deadline(mut self, time: Duration) -> Self {
        if let Some(confirmation) = &mut Arc::make_mut(&mut self.config).confirmation {
            confirmation.deadline = time;
        }
        self
    }

    /// Sets a function that renders rejections; by default they are JSON with a constant text.
    ///
    /// The layer completes the response: it sets the length and puts the [`CallbackError`] into the
    /// extensions. It replaces a status that is neither 4xx nor 5xx by the status of the error, and
    /// adds `Allow` to a 405. OSS does not forward the body of a response with a status other than
    /// 200 to the uploader.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use http::Response;
    /// use tower_aliyun_oss::OssCallbackLayer;
    ///
    /// let layer = OssCallbackLayer::new().rejection(|error| {
    ///     let mut response = Response::new(Bytes::from_static(b"no"));
    ///     *response.status_mut() = error.status();
    ///     response
    /// });
    /// ```
    pub fn rejection<F>(mut self, render: F) -> Self
    where
        F: Fn(&CallbackError) -> Response<Bytes> + Send + Sync + 'static,
    {
        Arc::make_mut(&mut self.config).rejection = Some(Arc::new(render));
        self
    }

    /// [`tickets`](Self::tickets) and [`confirm`](Self::confirm), which cannot fail together.
    pub(crate) fn tickets_and_storage(
        self,
        tickets: Tickets,
        storage: Arc<dyn ObjectStorage>,
    ) -> Self {
        let mut layer = self.tickets(tickets);
        let confirmation = Confirmation::new(storage, Confirmation::DEADLINE);
        Arc::make_mut(&mut layer.config).confirmation = Some(confirmation);
        layer
    }

    /// Tells the layer for which targets callbacks are issued, in the spelling of their URLs.
    pub(crate) fn issued_targets(self, targets: Arc<[IssuedTarget]>) -> Self {
        self.with_config(|verifier| verifier.set_issued_targets(targets))
    }

    fn with_config(mut self, change: impl FnOnce(VerifierConfig) -> VerifierConfig) -> Self {
        let config = Arc::make_mut(&mut self.config);
        config.verifier = change(config.verifier.clone());
        self
    }
}

impl Default for OssCallbackLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for OssCallbackLayer {
    type Service = OssCallback<S>;

    fn layer(&self, inner: S) -> OssCallback<S> {
        OssCallback::new(inner, Arc::clone(&self.config))
    }
}

/// Why a layer cannot [confirm](OssCallbackLayer::confirm) uploads.
#[derive(Clone, Copy, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfirmError {
    /// The layer does not require tickets. Without one, nothing tells which bucket was granted.
    #[error("confirm needs tickets, which name the bucket; call tickets before confirm")]
    NoTickets,
}

crate::causes::debug_is_text!(ConfirmError);
