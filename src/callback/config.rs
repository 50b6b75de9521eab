//! The settings of a verifier, and those that the layer adds.

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

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
    confirm::Confirmation,
    error::{CallbackError, CallbackErrorKind},
    log::Log,
};
use crate::{
    key::{KeySource, KeyTable, KeyUrl, PinnedKeys},
    metrics,
    protocol::{CallbackBodyType, CallbackTarget, Spelling, TargetError, paths_coincide},
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
    /// Without any, every request is a callback.
    only_paths: Vec<OnlyPath>,
    ambiguous_targets: bool,
    /// The targets that callbacks are issued for, if the layer knows them.
    issued_targets: Arc<[IssuedTarget]>,
    target_uri: Option<TargetUri>,
    proxy_prefix: Option<Box<str>>,
    diagnose_proxy_prefixes: Vec<Box<str>>,
    tickets: Option<Tickets>,
}

/// A configured path.
#[derive(Clone, Debug)]
struct OnlyPath {
    raw: Box<str>,
    canonical: Box<str>,
}

/// A target of an issued callback, as its URL spells it and in its canonical spelling.
#[derive(Clone, Debug)]
pub(crate) struct IssuedTarget {
    pub(crate) raw: Box<str>,
    pub(crate) target: CallbackTarget,
}

/// The signed target of a request, accepted by its spelling.
pub(super) struct AcceptedTarget {
    pub(super) target: CallbackTarget,
    /// The URI of the request is not the canonical one, and must be replaced by it.
    pub(super) rewrite: bool,
    /// The rule that makes the target ambiguous, if only a ticket can name it.
    pub(super) needs_ticket: Option<TargetError>,
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
            ambiguous_targets: false,
            issued_targets: Arc::default(),
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
    /// Fails if no request can have this path, if its spelling is
    /// [impossible](CallbackTarget), or if a signature for it can also be one for another
    /// configured path.
    pub fn only_path(mut self, path: &str) -> Result<Self, TargetError> {
        let parsed = path.parse::<PathAndQuery>();
        // The parser drops a fragment and splits off a query, so a path that contains one differs
        // afterwards.
        if !path.starts_with('/') || !parsed.is_ok_and(|parsed| parsed.path() == path) {
            return Err(TargetError::InvalidPath(path.into()));
        }
        let canonical = Spelling::of(path)?.path;
        let coincides = |known: &OnlyPath| {
            *known.canonical != *canonical && paths_coincide(&known.canonical, &canonical)
        };
        if self.only_paths.iter().any(coincides) {
            return Err(TargetError::Coincides(path.into()));
        }
        self.only_paths.push(OnlyPath {
            raw: path.into(),
            canonical: canonical.into(),
        });
        Ok(self)
    }

    /// See
    /// [`OssCallbackLayer::dangerous_accept_ambiguous_targets`](super::OssCallbackLayer::dangerous_accept_ambiguous_targets).
    #[must_use]
    pub fn dangerous_accept_ambiguous_targets(mut self) -> Self {
        self.ambiguous_targets = true;
        self
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

    /// See
    /// [`OssCallbackLayer::diagnose_proxy_prefix`](super::OssCallbackLayer::diagnose_proxy_prefix).
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
    /// Without tower, you call
    /// [`CallbackVerifier::check_ticket`](super::CallbackVerifier::check_ticket) before you look up
    /// the key, and the [store](Tickets::store) after the verification: the verifier does not
    /// enforce one use.
    #[must_use]
    pub fn tickets(mut self, tickets: Tickets) -> Self {
        self.tickets = Some(tickets);
        self
    }

    /// Returns whether a request has to be verified. Without [`only_path`](Self::only_path), every
    /// request has to.
    ///
    /// A request is a callback if its own path or the signed path is one of the configured paths,
    /// in any [equivalent](CallbackTarget) spelling. So a header or an outer router can add
    /// requests to those that are verified, and never remove one.
    #[must_use]
    pub fn apply_to(&self, parts: &Parts) -> bool {
        self.only_paths.is_empty()
            || self.configured(parts.uri.path()).is_some()
            || self
                .signed_target(parts)
                .is_some_and(|target| self.configured(target.path()).is_some())
    }

    pub(super) fn set_issued_targets(mut self, targets: Arc<[IssuedTarget]>) -> Self {
        self.issued_targets = targets;
        self
    }

    pub(super) fn issued_targets(&self) -> &[IssuedTarget] {
        &self.issued_targets
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

    /// Returns the signed target if its spelling is accepted.
    pub(super) fn target(&self, parts: &Parts) -> Result<AcceptedTarget, CallbackError> {
        let target = match self.signed_target(parts) {
            Some(target) => self.accepted(&target, parts),
            None => Err(TargetError::NotOriginForm),
        };
        target.map_err(CallbackError::target)
    }

    fn accepted(
        &self,
        signed: &PathAndQuery,
        parts: &Parts,
    ) -> Result<AcceptedTarget, TargetError> {
        let (target, mut ambiguity) = CallbackTarget::classify(signed.clone())?;
        let canonical = target.path() == signed.path();
        let can_rewrite = self.can_rewrite(parts);
        let exact = match self.configured(signed.path()) {
            Some(known) => {
                // `only_path` refuses a second path with the same text, so the spelling is
                // unambiguous here.
                ambiguity = None;
                *known.raw == *signed.path()
            }
            None if self.only_paths.is_empty() => {
                let issued = self
                    .issued_targets
                    .iter()
                    .find(|known| known.target == target);
                issued.map_or(canonical, |known| *known.raw == *signed.as_str())
            }
            // In a nested router, the configured path can be the rest of the signed path. This does
            // not apply if a hook returned the target: it may come from a header, so only the
            // signed path itself counts.
            None => {
                let rest = parts.uri.path();
                let nested = self.hooked(parts).is_none()
                    && self.configured(rest).is_some()
                    && signed.path().ends_with(rest);
                let shared = |known: &OnlyPath| paths_coincide(&known.canonical, target.path());
                if !nested || self.only_paths.iter().any(shared) {
                    return Err(TargetError::NotConfigured);
                }
                canonical
            }
        };
        let needs_ticket = match ambiguity {
            Some(why) if !self.ambiguous_targets => {
                // Only a ticket can still name the target, and it is in the body.
                if self.tickets.is_none() {
                    return Err(why);
                }
                Some(why)
            }
            _ => None,
        };
        // Where the callback URLs are known, OSS requests them as they are spelled. A router that
        // leaves no trace may have read another spelling before the layer, and called another
        // handler.
        if !exact && (!can_rewrite || !self.issued_targets.is_empty()) {
            return Err(TargetError::Spelling);
        }
        Ok(AcceptedTarget {
            target,
            rewrite: can_rewrite && !canonical,
            needs_ticket,
        })
    }

    /// Compares canonical spellings. Decoding would let several paths share one signature.
    fn configured(&self, path: &str) -> Option<&OnlyPath> {
        if self.only_paths.is_empty() {
            return None;
        }
        let path = Spelling::of(path).ok()?.path;
        self.only_paths
            .iter()
            .find(|known| *known.canonical == *path)
    }

    /// Returns whether nothing outside of the layer has read the path. A hook, a proxy prefix or a
    /// router has, and another spelling could have led that to another handler.
    fn can_rewrite(&self, parts: &Parts) -> bool {
        self.proxy_prefix.is_none() && self.hooked(parts).is_none() && !is_routed(parts)
    }

    pub(super) fn hooked(&self, parts: &Parts) -> Option<Uri> {
        self.target_uri.as_ref().and_then(|hook| hook(parts))
    }

    /// The path and query that OSS signed, from the first source that has it: the hook, the
    /// outermost axum router, the URI of the request.
    pub(super) fn signed_target<'p>(&self, parts: &'p Parts) -> Option<Cow<'p, PathAndQuery>> {
        if let Some(uri) = self.hooked(parts) {
            return uri.into_parts().path_and_query.map(Cow::Owned);
        }
        let received = received_target(parts)?;
        match &self.proxy_prefix {
            Some(prefix) => format!("{prefix}{received}").parse().ok().map(Cow::Owned),
            None => Some(Cow::Borrowed(received)),
        }
    }
}

/// Returns whether an axum router has routed the request. It matches raw paths: `/c%62` can be a
/// parameter or a fallback where `/cb` is a route.
fn is_routed(_parts: &Parts) -> bool {
    #[cfg(feature = "axum")]
    return _parts
        .extensions
        .get::<axum::extract::OriginalUri>()
        .is_some();
    #[cfg(not(feature = "axum"))]
    false
}

/// Replaces the path of a request by the canonical one.
pub(super) fn rewrite(parts: &mut Parts, target: &CallbackTarget) -> Result<(), CallbackError> {
    let mut uri = parts.uri.clone().into_parts();
    uri.path_and_query = Some(target.path_and_query().clone());
    parts.uri = Uri::from_parts(uri).map_err(|_| CallbackError::target(TargetError::Spelling))?;
    Ok(())
}

/// The target as this server received it, before axum stripped the prefix of a nested router.
pub(super) fn received_target(parts: &Parts) -> Option<&PathAndQuery> {
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
            .field("ambiguous_targets", &self.ambiguous_targets)
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
    pub(super) confirmation: Option<Confirmation>,
    pub(super) rejection: Option<Rejection>,
    pub(super) log: Log,
    pub(super) metrics: metrics::Callbacks,
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
            confirmation: None,
            rejection: None,
            log: Log::default(),
            metrics: metrics::Callbacks::default(),
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
            .field("confirmation", &self.confirmation)
            .field(
                "rejection",
                &self.rejection.as_ref().map(|_| format_args!("<fn>")),
            )
            .finish_non_exhaustive()
    }
}
