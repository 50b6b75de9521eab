//! Finds the prefix that a proxy strips from the path of a callback, if `proxy_prefix` is not set
//! or wrong.

use std::{error::Error as _, fmt};

use http::request::Parts;

use super::{
    config::{Config, VerifierConfig, received_target},
    error::CallbackError,
    verifier::Content,
};
use crate::{protocol::CallbackTarget, ticket::TicketError};

/// Warns if the ticket of a callback is for another target. Its MAC is verified then.
pub(super) fn warn_of_other_target(
    error: &CallbackError,
    config: &Config,
    parts: &Parts,
    content: &mut Content,
) {
    let source = error.source().and_then(|source| source.downcast_ref());
    if source == Some(&TicketError::Target) {
        let names = |target: &CallbackTarget| content.ticket_names(target);
        config
            .log
            .other_target(Stripped::find(&config.verifier, parts, names).as_ref());
    }
}

/// A prefix that something in front of the layer strips. All texts are parts of a configured
/// callback URL, so they can be logged.
#[derive(Debug, PartialEq)]
pub(super) struct Stripped<'c> {
    called: &'c str,
    arrived: &'c str,
    /// Empty if nothing is stripped, although `proxy_prefix` is set.
    prefix: &'c str,
}

impl<'c> Stripped<'c> {
    /// Looks for a configured target that ends in the received one, and that the ticket names.
    fn find(
        config: &'c VerifierConfig,
        parts: &Parts,
        mut names: impl FnMut(&CallbackTarget) -> bool,
    ) -> Option<Self> {
        // A hook overrides the prefix.
        if config.hooked(parts).is_some() {
            return None;
        }
        let received = received_target(parts)?;
        config.issued_targets().iter().find_map(|issued| {
            // The layer may have replaced the received path by the canonical one.
            [&*issued.raw, issued.target.as_str()]
                .into_iter()
                .find_map(|called| Self::between(called, received.as_str()))
                .filter(|_| names(&issued.target))
        })
    }

    fn between(called: &'c str, received: &str) -> Option<Self> {
        let (called, query) = split(called);
        let (received, received_query) = split(received);
        if query != received_query || !received.starts_with('/') {
            return None;
        }
        let prefix = called.strip_suffix(received)?;
        // `proxy_prefix` drops slashes at both ends.
        (prefix.is_empty() || !prefix.ends_with('/')).then_some(Self {
            called,
            arrived: called.get(prefix.len()..)?,
            prefix,
        })
    }
}

fn split(target: &str) -> (&str, &str) {
    target.split_at(target.find('?').unwrap_or(target.len()))
}

impl fmt::Display for Stripped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            called,
            arrived,
            prefix,
        } = self;
        match *prefix {
            "" => write!(
                f,
                "OSS called {called}, and the callback arrived so: no proxy strips the prefix; \
                 remove OssUploadsBuilder::proxy_prefix"
            ),
            _ => write!(
                f,
                "OSS called {called}, and the callback arrived as {arrived}: a proxy strips the \
                 prefix; set it with OssUploadsBuilder::proxy_prefix(\"{prefix}\")"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_what_is_missing_before_a_slash() {
        let prefix =
            |called, received| Stripped::between(called, received).map(|stripped| stripped.prefix);
        for (called, received, expected) in [
            ("/gw/oss/callback", "/oss/callback", Some("/gw")),
            ("/gw/oss/callback", "/callback", Some("/gw/oss")),
            ("/gw/cb?a=/b", "/cb?a=/b", Some("/gw")),
            ("/gw/", "/", Some("/gw")),
            ("/cb", "/cb", Some("")),
            // The query contains the path.
            ("/cb?a=/b", "/b", None),
            ("/gw/cb?a", "/cb", None),
            ("/gw/cb", "/cb?a", None),
            ("/gw/cb", "cb", None),
            ("/gw/cb", "/other", None),
            ("/cb", "/gw/cb", None),
            // `proxy_prefix` cannot add a slash.
            ("//cb", "/cb", None),
            ("/gw//cb", "/cb", None),
        ] {
            assert_eq!(prefix(called, received), expected, "{called} {received}");
        }
    }
}
