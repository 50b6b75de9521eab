//! Why a request was rejected.

use std::{error::Error, fmt, sync::Arc};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header::CONTENT_TYPE};

use crate::protocol::TargetError;

/// Why the layer rejected a request.
///
/// The extensions of a rejection contain this error, so an outer layer can count rejections or
/// render them. Its text contains nothing from the request, unless a body or a key source puts it
/// into the [`source`](Error::source).
#[derive(Clone, Debug)]
pub struct CallbackError {
    kind: CallbackErrorKind,
    header: Option<HeaderName>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl CallbackError {
    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> CallbackErrorKind {
        self.kind
    }

    /// Returns the status of the response.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.kind.status()
    }

    /// Returns the missing, repeated or malformed header, if the error is about a header.
    #[must_use]
    pub fn header(&self) -> Option<&HeaderName> {
        self.header.as_ref()
    }

    pub(super) fn with_header(kind: CallbackErrorKind, header: HeaderName) -> Self {
        Self {
            kind,
            header: Some(header),
            source: None,
        }
    }

    pub(super) fn with_source(
        kind: CallbackErrorKind,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self {
            kind,
            header: None,
            source: Some(Arc::from(source.into())),
        }
    }

    pub(super) fn target(why: TargetError) -> Self {
        Self::with_source(CallbackErrorKind::NonCanonicalTarget, why)
    }

    /// The default response: JSON with a constant text per kind.
    pub(super) fn to_response(&self) -> Response<Bytes> {
        let body = self.kind.body();
        let mut response = Response::new(Bytes::from_static(body.as_bytes()));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

impl From<CallbackErrorKind> for CallbackError {
    fn from(kind: CallbackErrorKind) -> Self {
        Self {
            kind,
            header: None,
            source: None,
        }
    }
}

impl fmt::Display for CallbackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.header {
            Some(header) => write!(f, "{}: {header}", self.kind),
            None => self.kind.fmt(f),
        }
    }
}

// Not derived: thiserror returns the `Arc` itself as the source, and callers could not downcast it.
impl Error for CallbackError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

// One table for status, text and body, so that no kind can lack one of them, and each body is a
// constant.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident, $status:ident, $text:literal;)*) => {
        /// The kind of a [`CallbackError`]. It determines the status of the response.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        #[non_exhaustive]
        pub enum CallbackErrorKind {
            $($(#[$doc])* $kind,)*
        }

        impl CallbackErrorKind {
            /// Returns the status of the response to a request with this error. It is never a
            /// success.
            #[must_use]
            pub const fn status(self) -> StatusCode {
                match self {
                    $(Self::$kind => StatusCode::$status,)*
                }
            }

            /// The names of all kinds, which are outcomes of the metrics.
            pub(crate) const NAMES: &'static [&'static str] = &[$(stringify!($kind)),*];

            pub(crate) const fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => stringify!($kind),)*
                }
            }

            const fn text(self) -> &'static str {
                match self {
                    $(Self::$kind => $text,)*
                }
            }

            pub(super) const fn body(self) -> &'static str {
                match self {
                    $(Self::$kind => concat!(
                        r#"{"code":""#, stringify!($kind), r#"","message":""#, $text, r#""}"#
                    ),)*
                }
            }
        }
    };
}

kinds! {
    /// The method is not `POST`.
    MethodNotAllowed, METHOD_NOT_ALLOWED, "the method of a callback must be POST";
    /// `authorization` or `x-oss-pub-key-url` is absent.
    MissingHeader, BAD_REQUEST, "a header of the callback is missing";
    /// A header that must occur once is repeated.
    DuplicateHeader, BAD_REQUEST, "a header of the callback is repeated";
    /// A header is malformed: not strict Base64, or a length that is not a number.
    InvalidHeader, BAD_REQUEST, "a header of the callback is malformed";
    /// The key URL is not in the table of the key source.
    KeyUrlRejected, FORBIDDEN, "the URL of the public key is not allowed";
    /// `x-oss-signature-version` is not `1.0`.
    UnsupportedSignatureVersion, BAD_REQUEST, "the signature version is not supported";
    /// The path is ambiguous and nothing names it, its spelling is
    /// [impossible](crate::protocol::CallbackTarget), or it is not the configured path; see the
    /// source.
    NonCanonicalTarget, BAD_REQUEST, "the request target is not canonical";
    /// The body exceeds the limit.
    BodyTooLarge, PAYLOAD_TOO_LARGE, "the body is too large";
    /// The content type is absent, repeated, or not allowed.
    UnsupportedContentType, UNSUPPORTED_MEDIA_TYPE, "the content type is not supported";
    /// The request has a `content-encoding`.
    UnsupportedContentEncoding, UNSUPPORTED_MEDIA_TYPE, "content encodings are not supported";
    /// The body did not arrive in time.
    BodyTimeout, REQUEST_TIMEOUT, "the body did not arrive in time";
    /// The body failed, or its length differs from `content-length`.
    BodyIncomplete, BAD_REQUEST, "the body is incomplete";
    /// The body contains no ticket, and [tickets](super::OssCallbackLayer::tickets) are required.
    TicketMissing, FORBIDDEN, "the callback has no ticket";
    /// The ticket is not authentic, expired, or issued for a different target or body type; see the
    /// source.
    TicketInvalid, FORBIDDEN, "the ticket is not valid for this callback";
    /// The key source does not have the key, or failed to fetch it; see the source.
    KeyUnavailable, SERVICE_UNAVAILABLE, "the public key is not available";
    /// Body, key and store together missed the deadline. If another request runs the handler for
    /// the same callback, the source says so.
    DeadlineExceeded, SERVICE_UNAVAILABLE, "the verification took too long";
    /// The signature does not verify for this target and body with this key.
    SignatureMismatch, FORBIDDEN, "the signature does not match";
    /// The signature verifies, and the body is outside of what the ticket grants; see the source.
    OutsideGrant, FORBIDDEN, "the callback is outside of what the ticket grants";
    /// The ticket was used for a different callback, or is used up.
    TicketUsed, FORBIDDEN, "the ticket is already used";
    /// The handler was started as often as
    /// [`Tickets::max_attempts`](crate::ticket::Tickets::max_attempts) allows, and failed. Or OSS
    /// refuted 20 callbacks of the ticket.
    TooManyAttempts, SERVICE_UNAVAILABLE, "the callback has failed too often";
    /// The store of used tickets failed; see the source.
    StoreUnavailable, SERVICE_UNAVAILABLE, "the store of used tickets is not available";
    /// OSS [refutes](super::OssCallbackLayer::confirm) the callback: the object does not exist, or
    /// has another size, ETag or type; see the source.
    NotConfirmed, FORBIDDEN, "the upload is not stored as the callback reports it";
    /// OSS could not be asked whether the upload is stored; see the source, a
    /// [`StorageError`](crate::storage::StorageError).
    ConfirmationUnavailable, SERVICE_UNAVAILABLE, "the upload could not be confirmed";
    /// With tickets: the response of the inner service cannot be stored, because it exceeds 1 MiB,
    /// its body failed, or its content type is too long.
    UnusableAnswer, SERVICE_UNAVAILABLE, "the callback was not answered";
}

impl fmt::Display for CallbackErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}
