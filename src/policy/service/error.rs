//! Why a request gets no token.

use std::{borrow::Cow, error::Error, fmt, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use serde::Serialize;

use super::response::add_headers;
use crate::{
    policy::{
        authorize::Refusal, document::to_json, error::PolicyError, grant::Denied,
        requested::RequestError,
    },
    storage::{StorageError, StorageErrorKind},
    ticket::store::{StoreError, StoreErrorKind},
};

/// Why [`OssPolicyService`](super::OssPolicyService) issued no token.
///
/// The extensions of the response contain this error, so an outer layer can count rejections or
/// render them. Its message contains nothing from the request. Causes that are a mistake of the
/// server are in the [`source`](Error::source) and in the log, never in the response.
#[derive(Clone, Debug)]
pub struct TokenError {
    kind: TokenErrorKind,
    message: Cow<'static, str>,
    refusal: Option<Refusal>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// Returns what the metrics call a response: its error, or else `success`.
pub(in crate::policy) fn outcome<B>(response: &Response<B>, success: &'static str) -> &'static str {
    let error = response.extensions().get::<TokenError>();
    error.map_or(success, |error| error.kind().name())
}

impl TokenError {
    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> TokenErrorKind {
        self.kind
    }

    /// Returns the status of the response: that of the [`refusal`](Self::refusal), if there is one.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match &self.refusal {
            Some(refusal) => refusal.status(),
            None => self.kind.status(),
        }
    }

    /// Returns the `code` of the default response: the name of the kind, or that of the
    /// [`refusal`](Self::refusal).
    #[must_use]
    pub fn code(&self) -> &str {
        match &self.refusal {
            Some(refusal) => refusal.code_text(),
            None => self.kind.name(),
        }
    }

    /// Returns the `message` of the default response, which the client may see.
    #[must_use]
    pub fn message(&self) -> &str {
        match &self.refusal {
            Some(refusal) => refusal.message_text(),
            None => &self.message,
        }
    }

    /// Returns the refusal of [`Authorize`](crate::policy::Authorize), for
    /// [`TokenErrorKind::Refused`].
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        self.refusal.as_ref()
    }

    fn with_message(kind: TokenErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            message: message.into(),
            ..Self::from(kind)
        }
    }

    fn with_source(kind: TokenErrorKind, source: impl Error + Send + Sync + 'static) -> Self {
        Self {
            source: Some(Arc::new(source)),
            ..Self::from(kind)
        }
    }

    /// A request that cannot be read, with a constant message.
    pub(in crate::policy) fn invalid(message: &'static str) -> Self {
        Self::with_message(TokenErrorKind::InvalidAsk, message)
    }

    /// Logs a mistake of the server. The client only learns that there is one.
    fn policy(error: PolicyError) -> Self {
        let cause = error.source().map(ToString::to_string);
        tracing::error!(%error, cause, "what was granted cannot be put into a policy");
        Self::with_source(TokenErrorKind::PolicyUnavailable, error)
    }

    /// Logs that the server returned neither one grant nor one for each file.
    pub(in crate::policy) fn grant_count(grants: usize, files: usize) -> Self {
        tracing::error!(
            grants,
            files,
            "authorize must return one grant, or one for each requested file"
        );
        TokenErrorKind::PolicyUnavailable.into()
    }

    /// Logs why there are no credentials.
    pub(in crate::policy) fn credentials(error: impl Error + Send + Sync + 'static) -> Self {
        let cause = error.source().map(ToString::to_string);
        tracing::error!(%error, cause, "no credentials to sign a policy with");
        Self::with_source(TokenErrorKind::CredentialsUnavailable, error)
    }

    /// The error was logged when it occurred.
    pub(in crate::policy) fn ledger(error: StoreError) -> Self {
        Self::with_source(TokenErrorKind::LedgerUnavailable, error)
    }

    /// Returns after how many seconds the client should request the token again.
    pub(super) fn retry_after(&self) -> Option<u16> {
        let source = self.source.as_deref()?.downcast_ref::<StoreError>()?;
        Some(match source.kind() {
            // Rows become free when uploads complete, or when the recovery drops them.
            StoreErrorKind::Full => 60,
            _ => 5,
        })
    }

    /// Logs why OSS did not accept a request.
    pub(in crate::policy) fn storage(error: StorageError) -> Self {
        if error.kind() == StorageErrorKind::NotFound {
            return Self::with_source(TokenErrorKind::UnknownUpload, error);
        }
        let cause = error.source().map(ToString::to_string);
        tracing::error!(%error, cause, "OSS did not accept a request for an upload in parts");
        Self::with_source(TokenErrorKind::StorageUnavailable, error)
    }

    /// The default response: JSON with code and message.
    pub(super) fn to_response(&self) -> Response<Bytes> {
        let body = to_json(&ErrorBody {
            code: self.code(),
            message: self.message(),
        });
        let mut response = Response::new(body.into());
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(refusal) = &self.refusal {
            add_headers(headers, refusal.headers());
        }
        response
    }
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    code: &'a str,
    message: &'a str,
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

// Not derived: thiserror returns the `Arc` itself as the source, and callers could not downcast it.
impl Error for TokenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.refusal {
            Some(refusal) => refusal.error(),
            None => self.source.as_deref().map(|source| source as _),
        }
    }
}

impl From<TokenErrorKind> for TokenError {
    fn from(kind: TokenErrorKind) -> Self {
        Self {
            kind,
            message: kind.text().into(),
            refusal: None,
            source: None,
        }
    }
}

impl From<RequestError> for TokenError {
    fn from(error: RequestError) -> Self {
        Self::with_message(TokenErrorKind::InvalidAsk, error.message())
    }
}

impl From<Refusal> for TokenError {
    /// Logs the error of an internal refusal.
    fn from(refusal: Refusal) -> Self {
        if let Some(error) = refusal.error() {
            let cause = error.source().map(ToString::to_string);
            tracing::error!(%error, cause, "authorize failed; the client got no token");
        }
        Self {
            refusal: Some(refusal),
            ..Self::from(TokenErrorKind::Refused)
        }
    }
}

impl From<PolicyError> for TokenError {
    fn from(error: PolicyError) -> Self {
        match error {
            PolicyError::CredentialsExpired => Self::credentials(error),
            _ => Self::policy(error),
        }
    }
}

impl From<Denied> for TokenError {
    fn from(denied: Denied) -> Self {
        match denied {
            // The messages consist of constants and the granted sizes and types, nothing of the
            // request.
            Denied::Size(granted) => Self::with_message(
                TokenErrorKind::SizeNotGranted,
                format!(
                    "this size is not granted; a file may have {} to {} bytes",
                    granted.min(),
                    granted.max()
                ),
            ),
            Denied::ContentType(Some(granted)) => Self::with_message(
                TokenErrorKind::TypeNotGranted,
                format!("this type is not granted; use one of: {granted}"),
            ),
            Denied::ContentType(None) => Self::with_message(
                TokenErrorKind::TypeNotGranted,
                "this type is not granted; types that browsers do not execute are",
            ),
            Denied::NoContentType(granted) => Self::with_message(
                TokenErrorKind::TypeRequired,
                format!(
                    "the type is empty, and the extension of filename has none of the granted \
                    types; send one of them as type: {}",
                    granted.unwrap_or_default()
                ),
            ),
            Denied::ObjectName => Self::with_message(
                TokenErrorKind::InvalidAsk,
                "filename cannot be the name of an object; send one without slashes at its ends, \
                control characters, backslashes, dollar signs and the segments . and ..",
            ),
            Denied::Access | Denied::Download => TokenErrorKind::NotGranted.into(),
            Denied::Filename => Self::with_message(
                TokenErrorKind::InvalidAsk,
                "filename does not fit into the ticket of this upload; send a shorter one",
            ),
            Denied::Grant(error) => error.into(),
        }
    }
}

// One table for status and text, so that no kind can lack one of them.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident, $status:ident, $text:literal;)*) => {
        /// The kind of a [`TokenError`]. Its name is the `code` of the default response.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        #[non_exhaustive]
        pub enum TokenErrorKind {
            $($(#[$doc])* $kind,)*
        }

        impl TokenErrorKind {
            /// Returns the status of the response to a request with this error. It is never a
            /// success.
            #[must_use]
            pub const fn status(self) -> StatusCode {
                match self {
                    $(Self::$kind => StatusCode::$status,)*
                }
            }

            const fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => stringify!($kind),)*
                }
            }

            const fn text(self) -> &'static str {
                match self {
                    $(Self::$kind => $text,)*
                }
            }
        }
    };
}

kinds! {
    /// The method is neither `GET`, `HEAD` nor `POST`, or it is not `POST` and the service accepts
    /// [only that](super::OssPolicyService::post_only).
    MethodNotAllowed, METHOD_NOT_ALLOWED, "this method returns no token";
    /// A `POST` does not have the content type `application/json`.
    UnsupportedMediaType, UNSUPPORTED_MEDIA_TYPE, "a POST must have the content type application/json";
    /// The body exceeds 64 KiB, or 1 MiB if it names the parts of a completed upload.
    AskTooLarge, PAYLOAD_TOO_LARGE, "the body is too long; request fewer files at once";
    /// The body took longer than ten seconds.
    AskTimeout, REQUEST_TIMEOUT, "the body took longer than 10 seconds";
    /// The body ended early.
    AskCutShort, BAD_REQUEST, "the body ended early";
    /// The query or the body is not a valid request.
    InvalidAsk, BAD_REQUEST, "the request is not valid";
    /// [`Authorize`](crate::policy::Authorize) refused; see [`TokenError::refusal`].
    Refused, FORBIDDEN, "this upload was refused";
    /// It is a batch, and one exact key is granted.
    BatchUnderExactKey, BAD_REQUEST, "one exact key is granted; request one file";
    /// It is a batch, and the format is one of the samples.
    BatchNotSupported, BAD_REQUEST, "one token serves all files in this format; request one";
    /// It is a batch of more files than the grant permits.
    TooManyFiles, UNPROCESSABLE_ENTITY, "fewer files are granted at once; request fewer";
    /// The grant does not permit the size.
    SizeNotGranted, FORBIDDEN, "this size is not granted";
    /// The grant does not permit the content type.
    TypeNotGranted, FORBIDDEN, "this type is not granted";
    /// The grant permits several content types, and the request names none of them.
    TypeRequired, BAD_REQUEST, "the type is required";
    /// The [ledger](crate::OssUploadsBuilder::ledger) is full or out of reach; see the source. The
    /// response has `Retry-After`.
    LedgerUnavailable, SERVICE_UNAVAILABLE, "no upload can be recorded now; try again later";
    /// The grant is for reading, and an upload is requested, or the other way round; or it does not
    /// cover the object that the client wants to read.
    NotGranted, FORBIDDEN, "this is not granted";
    /// The handle of an upload was changed, or this service did not issue it.
    InvalidHandle, BAD_REQUEST, "the handle is not valid; create the upload again";
    /// The handle of an upload has expired, or the service has another callback or bucket now.
    HandleExpired, GONE, "the upload has expired; create it again";
    /// The upload id is empty, longer than 256 characters, or contains other characters than
    /// visible ASCII.
    InvalidUploadId, BAD_REQUEST, "the upload id is not valid";
    /// The upload does not have a part with this number, or none or too many are requested.
    InvalidPart, BAD_REQUEST, "request 1 to 100 parts that the upload has";
    /// The file is too large for one request.
    TooLargeForPut, BAD_REQUEST, "OSS accepts at most 5 GiB in one request; upload the file in parts";
    /// A browser sent the request with cookies or a password for a page of another site.
    CrossSite, FORBIDDEN, "pages of other sites get no token with the cookies of this one";
    /// The path is not an endpoint of Companion.
    UnknownPath, NOT_FOUND, "there is nothing at this path";
    /// OSS does not know the upload.
    UnknownUpload, NOT_FOUND, "there is no such upload";
    /// OSS did not accept a request of this service; see the source.
    StorageUnavailable, BAD_GATEWAY, "the storage did not accept the request";
    /// The object is stored, and the callback handler refused it or did not respond.
    CallbackFailed, BAD_GATEWAY, "the file is stored, but the application did not accept it";
    /// There are no credentials to sign with; see the source.
    CredentialsUnavailable, SERVICE_UNAVAILABLE, "no token can be signed now";
    /// The grant does not make a valid policy; see the source and the log.
    PolicyUnavailable, INTERNAL_SERVER_ERROR, "no token can be issued";
}

impl fmt::Display for TokenErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}
