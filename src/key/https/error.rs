//! Errors of fetching a key.

use std::{error::Error, fmt, iter, time::Duration};

use http::StatusCode;

/// Why a fetch returned no key, or a setting of a fetcher is invalid. A failed fetch is the content
/// of [`KeyError::Unavailable`](crate::key::KeyError::Unavailable).
#[derive(Debug, thiserror::Error)]
pub struct FetchError {
    kind: FetchErrorKind,
    status: Option<StatusCode>,
    pub(super) retry_after: Option<Duration>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// Defines the kinds with their texts, which are their documentation too.
macro_rules! kinds {
    ($($kind:ident: $text:literal;)*) => {
        /// The kinds of [`FetchError`].
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        #[non_exhaustive]
        pub enum FetchErrorKind {
            $(#[doc = concat!("\"", $text, "\"")] $kind,)*
        }

        impl FetchErrorKind {
            pub(in crate::key) const fn name(self) -> &'static str {
                match self { $(Self::$kind => stringify!($kind),)* }
            }
        }

        impl fmt::Display for FetchErrorKind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$kind => $text,)* })
            }
        }
    };
}

kinds! {
    Resolve: "the key host has no address that may be connected to";
    Connect: "could not connect to the key host";
    Tls: "could not verify the identity of the key host over TLS";
    NoTls: "no root certificates or no cryptography for TLS: install the root certificates of the \
        system, set root certificates, or install a rustls crypto provider";
    Timeout: "the key host did not respond in time";
    Redirect: "the key host responded with a redirect, which is not followed";
    Status: "the key host responded with a status other than 200";
    TooLarge: "the response of the key host is larger than a key file";
    Encoding: "the response of the key host is compressed";
    Interrupted: "the connection to the key host broke or does not carry HTTP/1.1";
    Key: "the response of the key host is not an accepted public key";
    CacheFull: "the key cache is full of other usable keys";
    OverBudget: "too many key fetches started in the last minute";
    NoRuntime: "keys can only be fetched on a tokio runtime";
    Aborted: "the key fetch ended without a result: the runtime was shut down, or the fetcher panicked";
    RootsPem: "root certificates must be one or more certificates in PEM";
    ProxyUrl: "a proxy is written http://host:port, without a user name";
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
        let mut error = Self::new(kind);
        error.source = Some(source.into());
        error
    }

    /// Creates an error from a status other than 200: [`Redirect`](FetchErrorKind::Redirect) for
    /// 301, 302, 303, 307 and 308, or else [`Status`](FetchErrorKind::Status).
    #[must_use]
    pub fn from_status(status: StatusCode) -> Self {
        let mut error = Self::new(match status.as_u16() {
            301 | 302 | 303 | 307 | 308 => FetchErrorKind::Redirect,
            _ => FetchErrorKind::Status,
        });
        error.status = Some(status);
        error
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
        let causes = iter::successors(self.source(), |&cause| cause.source());
        let texts: Vec<_> = causes.map(ToString::to_string).collect();
        let text = texts.join(": ");
        let escaped = text.chars().flat_map(char::escape_debug);
        (!texts.is_empty()).then(|| escaped.take(160).collect())
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind, self.status) {
            (FetchErrorKind::Status, Some(status)) => {
                write!(f, "the key host responded with status {}", status.as_u16())
            }
            (kind, _) => kind.fmt(f),
        }
    }
}
