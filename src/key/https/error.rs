//! Errors of fetching a key.

use std::{borrow::Cow, error::Error, time::Duration};

use http::StatusCode;

use crate::https::TlsError;

/// Why a fetch returned no key, or a setting of a fetcher is invalid. A failed fetch is the content
/// of [`KeyError::Unavailable`](crate::key::KeyError::Unavailable).
#[derive(Debug, thiserror::Error)]
#[error("{}", self.message())]
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
    /// The host name could not be resolved, or resolved to no allowed address.
    Resolve,
    /// No connection to the host or to the proxy could be established.
    Connect,
    /// The host has no valid certificate for its name, or supports neither TLS 1.2 nor TLS 1.3.
    Tls,
    /// No root certificates or no cryptography are available to verify the host.
    NoTls,
    /// A time limit was exceeded.
    Timeout,
    /// The host responded with a redirect. Redirects are not followed.
    Redirect,
    /// The host responded with a status other than 200.
    Status,
    /// The body is larger than a key file.
    TooLarge,
    /// The body is compressed.
    Encoding,
    /// The connection broke, or the response is not HTTP/1.1.
    Interrupted,
    /// The body is not an accepted public key.
    Key,
    /// The key is valid, but the cache is full of other usable keys.
    CacheFull,
    /// Too many fetches started in the last minute.
    OverBudget,
    /// The lookup ran outside a tokio runtime.
    NoRuntime,
    /// The fetch ended without a result: the runtime was shut down, or the fetcher panicked.
    Aborted,
    /// [`root_certificates`](crate::key::HttpsFetcher::root_certificates) received no PEM
    /// certificate, or one that cannot be a root.
    RootsPem,
    /// [`proxy`](crate::key::HttpsFetcher::proxy) received something other than
    /// `http://host:port`.
    ProxyUrl,
}

impl From<TlsError> for FetchError {
    fn from(why: TlsError) -> Self {
        match why {
            TlsError::Unavailable(None) => Self::new(FetchErrorKind::NoTls),
            TlsError::Unavailable(Some(why)) => Self::with_source(FetchErrorKind::NoTls, why),
            TlsError::Aborted(why) => Self::with_source(FetchErrorKind::Aborted, why),
        }
    }
}

impl FetchError {
    /// Creates an error of this kind.
    #[must_use]
    pub const fn new(kind: FetchErrorKind) -> Self {
        Self {
            kind,
            status: None,
            retry_after: None,
            source: None,
        }
    }

    /// Creates an error of this kind with a source. The source is logged with control characters
    /// escaped.
    pub fn with_source(
        kind: FetchErrorKind,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self {
            source: Some(source.into()),
            ..Self::new(kind)
        }
    }

    /// Creates an error from a status other than 200: [`Redirect`](FetchErrorKind::Redirect) for
    /// 301, 302, 303, 307 and 308, or else [`Status`](FetchErrorKind::Status).
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

    /// Sets how long the host asks not to be contacted again. The cache honours it up to its own
    /// longest backoff.
    #[must_use]
    pub const fn with_retry_after(mut self, time: Duration) -> Self {
        self.retry_after = Some(time);
        self
    }

    /// The kind of the error.
    #[must_use]
    pub const fn kind(&self) -> FetchErrorKind {
        self.kind
    }

    /// The status of the response, if it is not 200.
    #[must_use]
    pub const fn status(&self) -> Option<StatusCode> {
        self.status
    }

    /// How long the host asks not to be contacted again.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The chain of sources as text for a log. The network controls parts of it, so it is escaped
    /// and limited to 160 characters.
    pub(in crate::key) fn cause(&self) -> Option<String> {
        const MAX_CHARS: usize = 160;

        let mut text = String::new();
        let mut next = self.source();
        while let Some(cause) = next {
            text.push_str(if text.is_empty() { "" } else { ": " });
            text.extend(cause.to_string().chars().flat_map(char::escape_debug));
            next = cause.source();
        }
        (!text.is_empty()).then(|| text.chars().take(MAX_CHARS).collect())
    }

    fn message(&self) -> Cow<'static, str> {
        use FetchErrorKind as Kind;

        Cow::Borrowed(match (self.kind, self.status) {
            (Kind::Resolve, _) => "the key host has no address that may be connected to",
            (Kind::Connect, _) => "could not connect to the key host",
            (Kind::Tls, _) => "could not verify the identity of the key host over TLS",
            (Kind::NoTls, _) => {
                "no root certificates or no cryptography for TLS: install the root certificates \
                 of the system, set root certificates, or install a rustls crypto provider"
            }
            (Kind::Timeout, _) => "the key host did not respond in time",
            (Kind::Redirect, _) => "the key host responded with a redirect, which is not followed",
            (Kind::Status, Some(status)) => {
                let status = status.as_u16();
                return Cow::Owned(format!("the key host responded with status {status}"));
            }
            (Kind::Status, None) => "the key host responded with a status other than 200",
            (Kind::TooLarge, _) => "the response of the key host is larger than a key file",
            (Kind::Encoding, _) => "the response of the key host is compressed",
            (Kind::Interrupted, _) => {
                "the connection to the key host broke or does not carry HTTP/1.1"
            }
            (Kind::Key, _) => "the response of the key host is not an accepted public key",
            (Kind::CacheFull, _) => "the key cache is full of other usable keys",
            (Kind::OverBudget, _) => "too many key fetches started in the last minute",
            (Kind::NoRuntime, _) => "keys can only be fetched on a tokio runtime",
            (Kind::Aborted, _) => "the key fetch ended without a result",
            (Kind::RootsPem, _) => "root certificates must be one or more certificates in PEM",
            (Kind::ProxyUrl, _) => "a proxy is written http://host:port, without a user name",
        })
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
            (Kind::Connect, "could not connect"),
            (Kind::Tls, "identity of the key host"),
            (Kind::NoTls, "install"),
            (Kind::Timeout, "in time"),
            (Kind::Redirect, "redirect"),
            (Kind::Status, "other than 200"),
            (Kind::TooLarge, "larger than a key file"),
            (Kind::Encoding, "compressed"),
            (Kind::Interrupted, "broke"),
            (Kind::Key, "not an accepted public key"),
            (Kind::CacheFull, "full"),
            (Kind::OverBudget, "in the last minute"),
            (Kind::NoRuntime, "runtime"),
            (Kind::Aborted, "without a result"),
            (Kind::RootsPem, "in PEM"),
            (Kind::ProxyUrl, "without a user name"),
        ];
        for (kind, part) in said {
            let text = FetchError::new(kind).to_string();
            assert!(text.contains(part), "{kind:?}: {text}");
            assert!(text.starts_with(|c: char| c.is_ascii_lowercase()), "{text}");
        }
        for (status, text) in [
            (502, "the key host responded with status 502"),
            (
                302,
                "the key host responded with a redirect, which is not followed",
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
            "could not connect to the key host: line\\nbreak\\u{202e}"
        );
        let long = FetchError::with_source(FetchErrorKind::Tls, "e".repeat(1_000));
        assert_eq!(long.cause().unwrap(), "e".repeat(160));
        assert_eq!(FetchError::new(FetchErrorKind::Tls).cause(), None);
    }
}
