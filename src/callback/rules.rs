//! What a callback must look like.

use std::{fmt, sync::Arc};

use http::{Uri, request::Parts, uri::PathAndQuery};

use super::error::{CallbackError, CallbackErrorKind};
use crate::{
    key::KeyTable,
    protocol::{CallbackBodyType, CallbackTarget, TargetError},
    ticket::Tickets,
};

type TargetUri = Arc<dyn Fn(&Parts) -> Option<Uri> + Send + Sync>;

/// What a callback must look like before its signature is looked at.
///
/// [`OssCallbackLayer`](super::OssCallbackLayer) has the same settings; this type is for using
/// [`Preflight`](super::Preflight) without tower.
#[derive(Clone)]
pub struct Rules {
    table: KeyTable,
    body_types: Vec<CallbackBodyType>,
    body_limit: usize,
    only: Only,
    target_uri: Option<TargetUri>,
    target_prefix: Option<Box<str>>,
    diagnose_prefixes: Vec<Box<str>>,
    tickets: Option<Tickets>,
}

#[derive(Clone, Debug)]
enum Only {
    /// Every request is a callback.
    Every,
    /// The raw paths that are callbacks.
    Paths(Vec<Box<str>>),
    /// A path was configured that no request can have.
    Impossible,
}

impl Rules {
    /// The default limit of a callback body: 64 KiB.
    pub const DEFAULT_BODY_LIMIT: usize = 64 * 1024;

    /// Every request, both body types, 64 KiB, the key table of OSS.
    #[must_use]
    pub fn new() -> Self {
        Self {
            table: KeyTable::official(),
            body_types: CallbackBodyType::ALL.to_vec(),
            body_limit: Self::DEFAULT_BODY_LIMIT,
            only: Only::Every,
            target_uri: None,
            target_prefix: None,
            diagnose_prefixes: Vec::new(),
            tickets: None,
        }
    }

    /// The table that key URLs are read against.
    #[must_use]
    pub fn key_table(mut self, table: KeyTable) -> Self {
        self.table = table;
        self
    }

    /// See [`OssCallbackLayer::only_path`](super::OssCallbackLayer::only_path).
    #[must_use]
    pub fn only_path(mut self, path: &str) -> Self {
        let possible = path
            .parse::<PathAndQuery>()
            .is_ok_and(|parsed| parsed.path() == path);
        if !possible || !path.starts_with('/') {
            tracing::error!(
                path,
                "only_path takes a raw path such as /oss/callback, without query; no request can have \
                 this one, so every request is verified"
            );
            self.only = Only::Impossible;
            return self;
        }
        match &mut self.only {
            Only::Every => self.only = Only::Paths(vec![path.into()]),
            Only::Paths(paths) => paths.push(path.into()),
            Only::Impossible => {}
        }
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

    /// See [`OssCallbackLayer::target_prefix`](super::OssCallbackLayer::target_prefix).
    #[must_use]
    pub fn target_prefix(mut self, prefix: &str) -> Self {
        let prefix = prefix.trim_matches('/');
        self.target_prefix = (!prefix.is_empty()).then(|| format!("/{prefix}").into());
        self
    }

    /// See [`OssCallbackLayer::diagnose_prefix`](super::OssCallbackLayer::diagnose_prefix).
    #[must_use]
    pub fn diagnose_prefix(mut self, prefix: &str) -> Self {
        let prefix = prefix.trim_matches('/');
        if !prefix.is_empty() {
            self.diagnose_prefixes.push(format!("/{prefix}").into());
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

    /// See [`OssCallbackLayer::tickets`](super::OssCallbackLayer::tickets). Without tower,
    /// [`Preflight::check_ticket`](super::Preflight::check_ticket) comes before the key, and whoever calls the store
    /// sees to the one use.
    #[must_use]
    pub fn tickets(mut self, tickets: Tickets) -> Self {
        self.tickets = Some(tickets);
        self
    }

    /// Whether a request is to be verified; without [`only_path`](Self::only_path), every one is.
    ///
    /// A request is a callback when its own path, or the path it says was signed, is one of the configured: what a
    /// header or an outer router says can add to what is verified, never take away from it.
    #[must_use]
    pub fn apply_to(&self, parts: &Parts) -> bool {
        match &self.only {
            Only::Every | Only::Impossible => true,
            Only::Paths(paths) => {
                let expected = |path: &str| paths.iter().any(|known| **known == *path);
                expected(parts.uri.path())
                    || self
                        .signed_target(parts)
                        .is_some_and(|target| expected(target.path()))
            }
        }
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

    pub(super) fn diagnose_prefixes(&self) -> &[Box<str>] {
        &self.diagnose_prefixes
    }

    /// The target that was signed, in its canonical spelling or as configured.
    pub(super) fn target(&self, parts: &Parts) -> Result<CallbackTarget, CallbackError> {
        let target = match self.signed_target(parts) {
            Some(target) => self.accepted(target, parts),
            None => Err(TargetError::NotOriginForm),
        };
        target.map_err(|why| CallbackError::with_source(CallbackErrorKind::NonCanonicalTarget, why))
    }

    fn accepted(&self, target: PathAndQuery, parts: &Parts) -> Result<CallbackTarget, TargetError> {
        let Only::Paths(paths) = &self.only else {
            return CallbackTarget::canonical(target);
        };
        let configured = |path: &str| paths.iter().any(|known| **known == *path);
        if configured(target.path()) {
            return CallbackTarget::with_expected_path(target);
        }
        // Inside a nested router the configured path can be the one that is left of what was signed. A hook says what
        // was signed by itself, and may have it from a header: then only the signed path counts.
        let rest = parts.uri.path();
        if self.hooked(parts).is_none() && configured(rest) && target.path().ends_with(rest) {
            return CallbackTarget::canonical(target);
        }
        Err(TargetError::NotConfigured)
    }

    fn hooked(&self, parts: &Parts) -> Option<Uri> {
        self.target_uri.as_ref().and_then(|hook| hook(parts))
    }

    /// The path and query OSS signed: what the hook says, else what the outermost axum router saw, else the URI.
    pub(super) fn signed_target(&self, parts: &Parts) -> Option<PathAndQuery> {
        if let Some(uri) = self.hooked(parts) {
            return uri.path_and_query().cloned();
        }
        let seen = outermost(parts)?;
        match &self.target_prefix {
            Some(prefix) => format!("{prefix}{seen}").parse().ok(),
            None => Some(seen.clone()),
        }
    }
}

/// What the outermost axum router saw, or a server without one.
fn outermost(parts: &Parts) -> Option<&PathAndQuery> {
    #[cfg(feature = "axum")]
    if let Some(original) = parts.extensions.get::<axum::extract::OriginalUri>() {
        return original.0.path_and_query();
    }
    parts.uri.path_and_query()
}

impl Default for Rules {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules")
            .field("table", &self.table)
            .field("body_types", &self.body_types)
            .field("body_limit", &self.body_limit)
            .field("only", &self.only)
            .field(
                "target_uri",
                &self.target_uri.as_ref().map(|_| format_args!("<fn>")),
            )
            .field("target_prefix", &self.target_prefix)
            .field("diagnose_prefixes", &self.diagnose_prefixes)
            .field("tickets", &self.tickets)
            .finish()
    }
}
