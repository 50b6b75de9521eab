//! Why a key could not be fetched.

use std::{error::Error, fmt, time::Duration};

use http::StatusCode;

/// Why a key could not be fetched. It lies in [`KeyError::Unavailable`](crate::key::KeyError::Unavailable).
#[derive(Debug)]
pub struct FetchError {
    kind: FetchErrorKind,
    status: Option<StatusCode>,
    retry_after: Option<Duration>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// The kinds of [`FetchError`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum FetchErrorKind {
    /// The name of the host could not be resolved, or to no address that is allowed.
    Resolve,
    /// No connection to the host or to the proxy.
    Connect,
    /// The host could not prove that it is the one, or speaks no TLS 1.2 or 1.3.
    Tls,
    /// There are no root certificates, or no cryptography, to check the host with.
    NoTls,
    /// It took longer than it may, as a whole or to connect.
    Timeout,
    /// The host sent us elsewhere; nobody went.
    Redirect,
    /// A status other than 200.
    Status,
    /// The body is larger than a key.
    TooLarge,
    /// The body is compressed.
    Encoding,
    /// The connection broke, or what came over it is not HTTP/1.1.
    Interrupted,
    /// The body is not a public key that is accepted.
    Key,
    /// The key is good, but the cache is full of others that are.
    CacheFull,
    /// There were too many fetches in the last minute.
    OverBudget,
    /// There is no tokio runtime to fetch in.
    NoRuntime,
    /// The fetch ended without a result: the runtime was shut down, or the fetcher panicked.
    Aborted,
}

impl FetchError {
    /// An error of this kind.
    #[must_use]
    pub const fn new(kind: FetchErrorKind) -> Self {
        Self {
            kind,
            status: None,
            retry_after: None,
            source: None,
        }
    }

    /// An error of this kind, and what it comes from. That is logged, with control characters escaped.
    pub fn with_source(
        kind: FetchErrorKind,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self {
            source: Some(source.into()),
            ..Self::new(kind)
        }
    }

    /// A status other than 200: a [`Redirect`](FetchErrorKind::Redirect), if it would have led elsewhere, or a
    /// [`Status`](FetchErrorKind::Status).
    #[must_use]
    pub fn from_status(status: StatusCode) -> Self {
        let kind = match status.as_u16() {
            301 | 302 | 303 | 307 | 308 => FetchErrorKind::Redirect,
            _ => FetchErrorKind::Status,
        };
        Self {
            status: Some(status),
            ..Self::new(kind)
        }
    }

    /// How long the host asks to be left alone; a cache does so up to its own longest pause.
    #[must_use]
    pub const fn with_retry_after(mut self, time: Duration) -> Self {
        self.retry_after = Some(time);
        self
    }

    /// What kind of error it is.
    #[must_use]
    pub const fn kind(&self) -> FetchErrorKind {
        self.kind
    }

    /// The status, if the host sent another one than 200.
    #[must_use]
    pub const fn status(&self) -> Option<StatusCode> {
        self.status
    }

    /// What it comes from, for a log: a network wrote some of it.
    pub(in crate::key) fn cause(&self) -> Option<String> {
        const MOST: usize = 160;

        let mut text = String::new();
        let mut next = self.source();
        while let Some(cause) = next {
            text.push_str(if text.is_empty() { "" } else { ": " });
            text.extend(cause.to_string().chars().flat_map(char::escape_debug));
            next = cause.source();
        }
        (!text.is_empty()).then(|| text.chars().take(MOST).collect())
    }

    /// How long the host asks to be left alone.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use FetchErrorKind as Kind;

        let text = match (self.kind, self.status) {
            (Kind::Redirect, _) => "the key host answers with a redirect, which is not followed",
            (Kind::Status, Some(status)) => {
                return write!(f, "the key host answers with status {}", status.as_u16());
            }
            (Kind::Status, None) => "the key host answers with a status other than 200",
            (Kind::Resolve, _) => "the key host has no address that may be connected to",
            (Kind::Connect, _) => "no connection to the key host",
            (Kind::Tls, _) => "the key host does not prove who it is",
            (Kind::NoTls, _) => {
                "no root certificates or no cryptography: install the root certificates of the system, name roots, \
                 or install a rustls crypto provider"
            }
            (Kind::Timeout, _) => "the key host takes too long",
            (Kind::TooLarge, _) => "the answer of the key host is larger than a key",
            (Kind::Encoding, _) => "the answer of the key host is compressed",
            (Kind::Interrupted, _) => "the connection to the key host broke, or is no http/1.1",
            (Kind::Key, _) => "the answer of the key host is not a public key that is accepted",
            (Kind::CacheFull, _) => "the cache is full of other keys that are good",
            (Kind::OverBudget, _) => "too many keys were looked up in the last minute",
            (Kind::NoRuntime, _) => "there is no tokio runtime to fetch the key in",
            (Kind::Aborted, _) => "the fetch of the key ended without a result",
        };
        f.write_str(text)
    }
}

impl Error for FetchError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.source {
            Some(source) => Some(&**source),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_says_what_it_is() {
        use FetchErrorKind as Kind;

        let said = [
            (Kind::Resolve, "no address"),
            (Kind::Connect, "no connection"),
            (Kind::Tls, "prove who it is"),
            (Kind::NoTls, "install"),
            (Kind::Timeout, "too long"),
            (Kind::Redirect, "redirect"),
            (Kind::Status, "other than 200"),
            (Kind::TooLarge, "larger than a key"),
            (Kind::Encoding, "compressed"),
            (Kind::Interrupted, "broke"),
            (Kind::Key, "not a public key"),
            (Kind::CacheFull, "full"),
            (Kind::OverBudget, "in the last minute"),
            (Kind::NoRuntime, "runtime"),
            (Kind::Aborted, "without a result"),
        ];
        for (kind, part) in said {
            let text = FetchError::new(kind).to_string();
            assert!(text.contains(part), "{kind:?}: {text}");
            assert_eq!(text, text.to_lowercase());
        }
        for (status, text) in [
            (502, "the key host answers with status 502"),
            (
                302,
                "the key host answers with a redirect, which is not followed",
            ),
        ] {
            let error = FetchError::from_status(StatusCode::from_u16(status).unwrap());
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn causes_are_escaped_and_cut() {
        let nested = FetchError::with_source(FetchErrorKind::Connect, "line\nbreak\u{202e}");
        let error = FetchError::with_source(FetchErrorKind::Tls, nested);
        assert_eq!(
            error.cause().unwrap(),
            "no connection to the key host: line\\nbreak\\u{202e}"
        );
        let long = FetchError::with_source(FetchErrorKind::Tls, "e".repeat(1_000));
        assert_eq!(long.cause().unwrap(), "e".repeat(160));
        assert_eq!(FetchError::new(FetchErrorKind::Tls).cause(), None);
    }
}
