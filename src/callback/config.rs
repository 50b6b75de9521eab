//! The settings of a verifier, and those that the layer adds.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode, Uri,
    header::{ALLOW, CONTENT_LENGTH},
    request::Parts,
    uri::PathAndQuery,
};
use http_body_util::Full;

use super::{
    body::ResponseBody,
    error::{CallbackError, CallbackErrorKind},
    log::Log,
};
use crate::{
    key::{KeySource, KeyTable, KeyUrl, PinnedKeys},
    protocol::{CallbackBodyType, CallbackTarget, TargetError},
    ticket::Tickets,
};

type TargetUri = Arc<dyn Fn(&Parts) -> Option<Uri> + Send + Sync>;

/// Settings for [`CallbackVerifier`](super::CallbackVerifier), for use without tower.
///
/// [`OssCallbackLayer`](super::OssCallbackLayer) has the same settings.
#[derive(Clone)]
pub struct VerifierConfig {
    table: KeyTable,
    body_types: Vec<CallbackBodyType>,
    body_limit: usize,
    /// Raw paths. Without any, every request is a callback.
    only_paths: Vec<Box<str>>,
    target_uri: Option<TargetUri>,
    proxy_prefix: Option<Box<str>>,
    diagnose_proxy_prefixes: Vec<Box<str>>,
    tickets: Option<Tickets>,
}

impl VerifierConfig {
    /// The default limit of a callback body: 64 KiB.
    pub const DEFAULT_BODY_LIMIT: usize = 64 * 1024;

    /// Creates the default settings: every request is a callback, both body types are accepted, the
    /// body limit is 64 KiB, the key table is that of OSS, and no ticket is required.
    #[must_use]
    pub fn new() -> Self {
        Self {
            table: KeyTable::official(),
            body_types: CallbackBodyType::ALL.to_vec(),
            body_limit: Self::DEFAULT_BODY_LIMIT,
            only_paths: Vec::new(),
            target_uri: None,
            proxy_prefix: None,
            diagnose_proxy_prefixes: Vec::new(),
            tickets: None,
        }
    }

    /// Sets the table that key URLs are checked against.
    #[must_use]
    pub fn key_table(mut self, table: KeyTable) -> Self {
        self.table = table;
        self
    }

    /// See [`OssCallbackLayer::only_path`](super::OssCallbackLayer::only_path).
    ///
    /// # Errors
    ///
    /// Fails if no request can have this path.
    pub fn only_path(mut self, path: &str) -> Result<Self, TargetError> {
        let parsed = path.parse::<PathAndQuery>();
        // The parser drops a fragment and splits off a query, so a path that contains one differs
        // afterwards.
        if !path.starts_with('/') || !parsed.is_ok_and(|parsed| parsed.path() == path) {
            return Err(TargetError::InvalidPath(path.into()));
        }
        self.only_paths.push(path.into());
        Ok(self)
    }

    /// See [`OssCallbackLayer::target_uri`](super::OssCallbackLayer::target_uri).
    #[must_use]
    pub fn target_uri<F>(mut self, target_uri: F) -> Self
    where
        F: Fn(&Parts) -> Option<Uri> + Send + Sync + 'static,
    {
        self.target_uri = Some(Arc::new(target_uri));
        self
    }

    /// See [`OssCallbackLayer::proxy_prefix`](super::OssCallbackLayer::proxy_prefix).
    #[must_use]
    pub fn proxy_prefix(mut self, prefix: &str) -> Self {
        let prefix = prefix.trim_matches('/');
        self.proxy_prefix = (!prefix.is_empty()).then(|| format!("/{prefix}").into());
        self
    }

    /// See [`OssCallbackLayer::diagnose_proxy_prefix`](super::OssCallbackLayer::diagnose_proxy_prefix).
    #[must_use]
    pub fn diagnose_proxy_prefix(mut self, prefix: &str) -> Self {
        let prefix = prefix.trim_matches('/');
        if !prefix.is_empty() {
            self.diagnose_proxy_prefixes
                .push(format!("/{prefix}").into());
        }
        self
    }

    /// See [`OssCallbackLayer::body_limit`](super::OssCallbackLayer::body_limit).
    #[must_use]
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self
    }

    /// See [`OssCallbackLayer::content_types`](super::OssCallbackLayer::content_types).
    #[must_use]
    pub fn content_types(mut self, body_types: impl IntoIterator<Item = CallbackBodyType>) -> Self {
        self.body_types = body_types.into_iter().collect();
        self
    }

    /// Requires a ticket, see [`OssCallbackLayer::tickets`](super::OssCallbackLayer::tickets).
    ///
    /// Without tower, you call [`CallbackVerifier::check_ticket`](super::CallbackVerifier::check_ticket) before
    /// you look up the key, and the [store](Tickets::store) after the verification: the verifier
    /// does not enforce one use.
    #[must_use]
    pub fn tickets(mut self, tickets: Tickets) -> Self {
        self.tickets = Some(tickets);
        self
    }

    /// Returns whether a request has to be verified. Without [`only_path`](Self::only_path), every
    /// request has to.
    ///
    /// A request is a callback if its own path or the signed path is one of the configured paths.
    /// So a header or an outer router can add requests to those that are verified, and never remove
    /// one.
    #[must_use]
    pub fn apply_to(&self, parts: &Parts) -> bool {
        self.only_paths.is_empty()
            || self.is_configured(parts.uri.path())
            || self
                .signed_target(parts)
                .is_some_and(|target| self.is_configured(target.path()))
    }

    pub(super) fn table(&self) -> &KeyTable {
        &self.table
    }

    pub(super) fn limit(&self) -> usize {
        self.body_limit
    }

    pub(super) fn allows(&self, body_type: CallbackBodyType) -> bool {
        self.body_types.contains(&body_type)
    }

    pub(super) fn required_tickets(&self) -> Option<&Tickets> {
        self.tickets.as_ref()
    }

    pub(super) fn diagnose_proxy_prefixes(&self) -> &[Box<str>] {
        &self.diagnose_proxy_prefixes
    }

    /// Returns the signed target if its spelling is canonical or configured.
    pub(super) fn target(&self, parts: &Parts) -> Result<CallbackTarget, CallbackError> {
        let target = match self.signed_target(parts) {
            Some(target) => self.accepted(target, parts),
            None => Err(TargetError::NotOriginForm),
        };
        target.map_err(|why| CallbackError::with_source(CallbackErrorKind::NonCanonicalTarget, why))
    }

    fn accepted(&self, target: PathAndQuery, parts: &Parts) -> Result<CallbackTarget, TargetError> {
        if self.only_paths.is_empty() {
            return CallbackTarget::canonical(target);
        }
        if self.is_configured(target.path()) {
            return CallbackTarget::with_expected_path(target);
        }
        // In a nested router, the configured path can be the rest of the signed path. This does not
        // apply if a hook returned the target: it may come from a header, so only the signed path
        // itself counts.
        let rest = parts.uri.path();
        if self.hooked(parts).is_none() && self.is_configured(rest) && target.path().ends_with(rest)
        {
            return CallbackTarget::canonical(target);
        }
        Err(TargetError::NotConfigured)
    }

    /// Compares byte for byte: decoding would let several spellings share one signature.
    fn is_configured(&self, path: &str) -> bool {
        self.only_paths.iter().any(|known| **known == *path)
    }

    fn hooked(&self, parts: &Parts) -> Option<Uri> {
        self.target_uri.as_ref().and_then(|hook| hook(parts))
    }

    /// The path and query that OSS signed, from the first source that has it: the hook, the
    /// outermost axum router, the URI of the request.
    pub(super) fn signed_target(&self, parts: &Parts) -> Option<PathAndQuery> {
        if let Some(uri) = self.hooked(parts) {
            return uri.path_and_query().cloned();
        }
        let received = received_target(parts)?;
        match &self.proxy_prefix {
            Some(prefix) => format!("{prefix}{received}").parse().ok(),
            None => Some(received.clone()),
        }
    }
}

/// The target as this server received it, before axum stripped the prefix of a nested router.
fn received_target(parts: &Parts) -> Option<&PathAndQuery> {
    #[cfg(feature = "axum")]
    if let Some(original) = parts.extensions.get::<axum::extract::OriginalUri>() {
        return original.0.path_and_query();
    }
    parts.uri.path_and_query()
}

impl Default for VerifierConfig {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for VerifierConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifierConfig")
            .field("table", &self.table)
            .field("body_types", &self.body_types)
            .field("body_limit", &self.body_limit)
            .field("only_paths", &self.only_paths)
            .field(
                "target_uri",
                &self.target_uri.as_ref().map(|_| format_args!("<fn>")),
            )
            .field("proxy_prefix", &self.proxy_prefix)
            .field("diagnose_proxy_prefixes", &self.diagnose_proxy_prefixes)
            .field("tickets", &self.tickets)
            .finish()
    }
}

type Rejection = Arc<dyn Fn(&CallbackError) -> Response<Bytes> + Send + Sync>;

/// The settings of a layer, shared by all its services and their futures.
#[derive(Clone)]
pub(super) struct Config {
    pub(super) verifier: VerifierConfig,
    pub(super) key_source: Arc<dyn KeySource>,
    pub(super) body_deadline: Duration,
    pub(super) deadline: Duration,
    pub(super) rejection: Option<Rejection>,
    pub(super) log: Log,
}

impl Config {
    const BODY_DEADLINE: Duration = Duration::from_secs(3);
    /// OSS waits 5 s for the response to a callback, and the handler needs a part of it.
    const DEADLINE: Duration = Duration::from_secs(4);

    pub(super) fn new() -> Self {
        Self {
            verifier: VerifierConfig::new(),
            key_source: Arc::new(PinnedKeys::official()),
            body_deadline: Self::BODY_DEADLINE,
            deadline: Self::DEADLINE,
            rejection: None,
            log: Log::default(),
        }
    }

    /// The deadline of the body, and the error if it is missed.
    pub(super) fn body_deadline(&self) -> (Duration, CallbackErrorKind) {
        if self.body_deadline < self.deadline {
            (self.body_deadline, CallbackErrorKind::BodyTimeout)
        } else {
            (self.deadline, CallbackErrorKind::DeadlineExceeded)
        }
    }

    /// Logs and renders a rejection. `missing_key` is the key URL of
    /// [`CallbackErrorKind::KeyUnavailable`].
    pub(super) fn reject<B>(
        &self,
        error: CallbackError,
        missing_key: Option<&KeyUrl>,
    ) -> Response<ResponseBody<B>> {
        self.log.rejection(&error, missing_key);
        let mut response = match &self.rejection {
            Some(render) => render(&error),
            None => error.to_response(),
        };
        // OSS takes 200 for success and hides the body of any other status, so a rejection is never
        // a success. A status below 200 is not final.
        let status = response.status();
        if !status.is_client_error() && !status.is_server_error() {
            *response.status_mut() = error.status();
        }
        if response.status() == StatusCode::METHOD_NOT_ALLOWED {
            response
                .headers_mut()
                .entry(ALLOW)
                .or_insert(HeaderValue::from_static("POST"));
        }
        // OSS rejects a response without a length.
        let length = HeaderValue::from(response.body().len());
        response.headers_mut().insert(CONTENT_LENGTH, length);
        response.extensions_mut().insert(error);
        response.map(|bytes| ResponseBody::whole(Full::new(bytes)))
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("verifier", &self.verifier)
            .field("keys", self.key_source.table())
            .field("body_deadline", &self.body_deadline)
            .field("deadline", &self.deadline)
            .field(
                "rejection",
                &self.rejection.as_ref().map(|_| format_args!("<fn>")),
            )
            .finish_non_exhaustive()
    }
}
