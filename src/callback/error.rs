//! Why a request was not taken for a callback.

use std::{error::Error, fmt, sync::Arc};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header::CONTENT_TYPE};

/// A request that the layer did not let through.
///
/// It lies in the extensions of the rejection, so a layer outside can count it or render it anew. Its texts hold
/// nothing that the sender wrote, unless a body or key source puts it into the [`source`](Error::source).
#[derive(Clone, Debug)]
pub struct CallbackError {
    kind: CallbackErrorKind,
    header: Option<HeaderName>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl CallbackError {
    /// What kind of error it is.
    #[must_use]
    pub fn kind(&self) -> CallbackErrorKind {
        self.kind
    }

    /// The status the request is answered with.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.kind.status()
    }

    /// The header that is missing, repeated or malformed, when the error is about one.
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

    /// The default answer: JSON of a constant text per kind.
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

impl Error for CallbackError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident, $status:ident, $text:literal;)*) => {
        /// What is wrong with a request, and with it the status of the answer.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        #[non_exhaustive]
        pub enum CallbackErrorKind {
            $($(#[$doc])* $kind,)*
        }

        impl CallbackErrorKind {
            /// The status a request with this error is answered with; never a success.
            #[must_use]
            pub const fn status(self) -> StatusCode {
                match self {
                    $(Self::$kind => StatusCode::$status,)*
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
    /// Any method but `POST`.
    MethodNotAllowed, METHOD_NOT_ALLOWED, "a callback is a post request";
    /// `authorization` or `x-oss-pub-key-url` is absent.
    MissingHeader, BAD_REQUEST, "a header of the callback is missing";
    /// A header that must stand once stands several times.
    DuplicateHeader, BAD_REQUEST, "a header of the callback is repeated";
    /// A header is malformed: not strict Base64, or a length that is no number.
    InvalidHeader, BAD_REQUEST, "a header of the callback is malformed";
    /// The key URL is not in the table of the key source.
    KeyUrlRejected, FORBIDDEN, "the key url is not allowed";
    /// `x-oss-signature-version` is another than `1.0`.
    UnsupportedSignatureVersion, BAD_REQUEST, "the signature version is not supported";
    /// The path could be spelled in more than one way, or is not the configured one.
    NonCanonicalTarget, BAD_REQUEST, "the request target is not canonical";
    /// The body is larger than the limit.
    BodyTooLarge, PAYLOAD_TOO_LARGE, "the body is too large";
    /// The content type is absent, repeated, or not one of the allowed.
    UnsupportedContentType, UNSUPPORTED_MEDIA_TYPE, "the content type is not supported";
    /// There is a `content-encoding`.
    UnsupportedContentEncoding, UNSUPPORTED_MEDIA_TYPE, "a content encoding is not supported";
    /// The body did not arrive in time.
    BodyTimeout, REQUEST_TIMEOUT, "the body did not arrive in time";
    /// The body broke off, or is not as long as announced.
    BodyIncomplete, BAD_REQUEST, "the body is incomplete";
    /// There is no ticket in the body, and [tickets](super::OssCallbackLayer::tickets) are asked for.
    TicketMissing, FORBIDDEN, "the callback has no ticket";
    /// The ticket is not one of ours, has expired, or is for another target or body type; see the source.
    TicketInvalid, FORBIDDEN, "the ticket is not valid for this callback";
    /// The key source has no key for this URL, or cannot get it now.
    KeyUnavailable, SERVICE_UNAVAILABLE, "the public key is not available";
    /// Body, key and store together took longer than the deadline.
    DeadlineExceeded, SERVICE_UNAVAILABLE, "the verification took too long";
    /// The signature does not belong to this target, body and key.
    SignatureMismatch, FORBIDDEN, "the signature does not match";
    /// The signature is right, and the callback is about something else than the ticket grants; see the source.
    OutsideGrant, FORBIDDEN, "the callback is outside of what was granted";
    /// The ticket was used for another text, or as often as it may.
    TicketUsed, FORBIDDEN, "the ticket has been used";
    /// The store of used tickets cannot be reached, or cannot say; see the source.
    StoreUnavailable, SERVICE_UNAVAILABLE, "the store of used tickets is not available";
    /// The inner service gave no answer that could be kept: it was over 1 MiB, or broke off. Only with tickets.
    UnusableAnswer, SERVICE_UNAVAILABLE, "the callback was not answered";
}

impl fmt::Display for CallbackErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}
