//! The layer.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Response, Uri, request::Parts};
use tower_layer::Layer;

use super::{config::Config, error::CallbackError, service::OssCallback};
use crate::{key::KeySource, protocol::CallbackBodyType, ticket::Tickets};

/// Verifies that the requests it wraps are callbacks signed by OSS, before the inner service sees them.
///
/// See the [module docs](crate::callback) for what is checked and for examples.
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it wraps a service"]
pub struct OssCallbackLayer {
    config: Arc<Config>,
}

impl OssCallbackLayer {
    /// Verifies every request it wraps, with the published key of OSS, and connects to nothing.
    pub fn new() -> Self {
        Self {
            config: Arc::new(Config::new()),
        }
    }

    /// Verifies only the requests to this path, so that a whole application can wear the layer; can be called
    /// several times.
    ///
    /// The path is compared byte for byte with the raw path, without its query. Every other request (`/p/`, `//p` and
    /// `/%70` are others than `/p`) goes to the inner service untouched and without a
    /// [`VerifiedCallback`](super::VerifiedCallback), so a handler that takes one never runs for it. A request whose
    /// own path is another is still verified when [`target_uri`](Self::target_uri) or axum's `OriginalUri` says that
    /// this path was signed; one whose path this is, and which was signed for another, is refused.
    ///
    /// A path that no request can have (no `/` in front, a query, a space) is logged as an error and the layer then
    /// verifies every request.
    pub fn only_path(self, path: &str) -> Self {
        self.with_rules(|rules| rules.only_path(path))
    }

    /// Says which URI OSS has signed, when it is not the one the request has here: behind a proxy that strips a
    /// prefix, say. `None` leaves it to the request.
    ///
    /// Only path and query matter. What a hook takes from a header, the sender of the request chooses: he then chooses
    /// for which path a signature counts, so name the one path with [`only_path`](Self::only_path) as well.
    ///
    /// ```
    /// use tower_aliyun_oss::OssCallbackLayer;
    ///
    /// // The proxy in front serves this application under /gw and strips that.
    /// let layer = OssCallbackLayer::new().target_uri(|parts| format!("/gw{}", parts.uri.path_and_query()?).parse().ok());
    /// ```
    pub fn target_uri<F>(self, target_uri: F) -> Self
    where
        F: Fn(&Parts) -> Option<Uri> + Send + Sync + 'static,
    {
        self.with_rules(|rules| rules.target_uri(target_uri))
    }

    /// What a proxy in front strips from the path before it hands a callback on: OSS has signed the path with it. A
    /// [`target_uri`](Self::target_uri) says all by itself and leaves this aside.
    ///
    /// ```
    /// # use tower_aliyun_oss::OssCallbackLayer;
    /// // OSS calls https://app.example/gw/oss/callback, and the route here is /oss/callback.
    /// let layer = OssCallbackLayer::new().target_prefix("/gw");
    /// ```
    pub fn target_prefix(self, prefix: &str) -> Self {
        self.with_rules(|rules| rules.target_prefix(prefix))
    }

    /// Names a prefix that a proxy in front may strip from the path, or add to it; can be called several times.
    ///
    /// It changes nothing in what is verified. When a signature does not match, and the log level of the target
    /// `tower_aliyun_oss::diagnose` is `DEBUG`, then the log says whether it would match with the prefix (or without
    /// it); see [`diagnose`](super::diagnose()). At most 16 are tried.
    ///
    /// ```
    /// use tower_aliyun_oss::OssCallbackLayer;
    ///
    /// let layer = OssCallbackLayer::new().diagnose_prefix("/gw").diagnose_prefix("/api/v1");
    /// ```
    pub fn diagnose_prefix(self, prefix: &str) -> Self {
        self.with_rules(|rules| rules.diagnose_prefix(prefix))
    }

    /// The largest body taken, in bytes; 64 KiB by default. Larger ones are answered with 413.
    ///
    /// It bounds the memory and the hashing that an unverified request can cost. A body that OSS makes of its 5 KiB
    /// of callback parameters stays below 64 KiB.
    pub fn body_limit(self, bytes: usize) -> Self {
        self.with_rules(|rules| rules.body_limit(bytes))
    }

    /// How long the body may take to arrive; 3 s by default. Slower ones are answered with 408.
    pub fn body_deadline(mut self, time: Duration) -> Self {
        Arc::make_mut(&mut self.config).body_deadline = time;
        self
    }

    /// How long body, key and store of tickets together may take; 4 s by default. What takes longer is answered with
    /// 503. So is a callback that waits for as long for another one of the same ticket to be answered. Keeping the answer
    /// may take as long once more: the inner service has run by then.
    ///
    /// OSS waits 5 s for the answer and does not try again, so keep some of it for the handler.
    pub fn deadline(mut self, time: Duration) -> Self {
        Arc::make_mut(&mut self.config).deadline = time;
        self
    }

    /// The body types taken; both by default. Others are answered with 415.
    ///
    /// The content type is not signed: a body that was signed as JSON can be sent again as a form. Name the one that
    /// your `callbackBodyType` has, and nobody can choose how your handler reads it.
    ///
    /// ```
    /// use tower_aliyun_oss::{OssCallbackLayer, protocol::CallbackBodyType};
    ///
    /// let layer = OssCallbackLayer::new().content_types([CallbackBodyType::Json]);
    /// ```
    pub fn content_types(self, types: impl IntoIterator<Item = CallbackBodyType>) -> Self {
        self.with_rules(|rules| rules.content_types(types))
    }

    /// Where the public keys come from; [`PinnedKeys::official`](crate::key::PinnedKeys::official) by default.
    pub fn key_source(mut self, source: impl KeySource + 'static) -> Self {
        let config = Arc::make_mut(&mut self.config);
        config.rules = config.rules.clone().key_table(source.table().clone());
        config.key_source = Arc::new(source);
        self
    }

    /// Takes only callbacks that bear a ticket of ours, and each only as often as the ticket says.
    ///
    /// The ticket is the field [`TICKET_FIELD`](crate::protocol::TICKET_FIELD) of the body. Without a valid one for this
    /// target and body type a request costs no key, no signature check and no store (403). Once the signature is
    /// verified, `bucket`, `object`, `size` and `mimeType` of the body must be within what was granted (403), and the
    /// ticket must not have been used for another body (403) or too often (403). The same callback once more is given
    /// the answer of the first time, without the inner service; while that is at work, it waits until the
    /// [`deadline`](Self::deadline) (503).
    ///
    /// For that the answer is collected before it is given, up to 1 MiB; what is larger, or breaks off, is answered
    /// with 503. What is kept of it is its status, its content type and its body.
    ///
    /// See [`ticket`](crate::ticket) and, for what happens when the inner service fails,
    /// [`OnFailure`](crate::ticket::OnFailure).
    ///
    /// ```
    /// use tower_aliyun_oss::OssCallbackLayer;
    /// use tower_aliyun_oss::ticket::{MemoryStore, OnFailure, TicketKey, TicketKeys, Tickets};
    ///
    /// let keys = TicketKeys::new(1, TicketKey::generate()?);
    /// let tickets = Tickets::new(keys, MemoryStore::new()).on_failure(OnFailure::AtMostOnce);
    /// let layer = OssCallbackLayer::new().tickets(tickets);
    /// # Ok::<(), tower_aliyun_oss::ticket::RandomError>(())
    /// ```
    pub fn tickets(self, tickets: Tickets) -> Self {
        self.with_rules(|rules| rules.tickets(tickets))
    }

    /// Renders the rejections, which are JSON with a constant text by default.
    ///
    /// Whatever it makes, the length is set, the [`CallbackError`] lies in the extensions, a status that is neither 4xx
    /// nor 5xx is replaced by the error's own, and a 405 says what is allowed. On anything but 200, OSS does not hand the body to the uploader.
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

    fn with_rules(mut self, change: impl FnOnce(super::Rules) -> super::Rules) -> Self {
        let config = Arc::make_mut(&mut self.config);
        config.rules = change(config.rules.clone());
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
