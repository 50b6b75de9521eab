//! Errors of a storage.

use std::{error::Error, fmt, sync::Arc};

use http::StatusCode;

/// Why an [`ObjectStorage`](super::ObjectStorage) returns no result.
#[derive(Clone, Debug)]
pub struct StorageError {
    kind: StorageErrorKind,
    status: Option<StatusCode>,
    code: Option<Box<str>>,
    request_id: Option<Box<str>>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// The kind of a [`StorageError`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum StorageErrorKind {
    /// The object, or the upload in parts, does not exist. OSS: 404 with the code `NoSuchKey` or
    /// `NoSuchUpload`.
    NotFound,
    /// No credentials are available, or they have expired.
    Credentials,
    /// The credentials may not do this, or the signature is wrong. OSS: 401 and 403.
    Denied,
    /// OSS rejects the request for another reason, such as a bucket that does not exist, or is not
    /// at this endpoint. OSS: other 4xx, and redirects.
    Rejected,
    /// There are too many requests. OSS: 429 and 503.
    Throttled,
    /// OSS cannot be reached, or fails. OSS: other 5xx.
    Unavailable,
    /// OSS did not respond in time.
    TimedOut,
    /// The host cannot be verified over TLS.
    Tls,
    /// The response is not one of OSS, or is too large.
    Unreadable,
}

impl StorageError {
    /// Creates an error of this kind with its cause.
    pub fn with_source(
        kind: StorageErrorKind,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self {
            source: Some(Arc::from(source.into())),
            ..Self::from(kind)
        }
    }

    #[cfg(feature = "storage")]
    pub(super) fn of_response(
        kind: StorageErrorKind,
        status: StatusCode,
        code: Option<Box<str>>,
        request_id: Option<Box<str>>,
    ) -> Self {
        Self {
            status: Some(status),
            code,
            request_id,
            ..Self::from(kind)
        }
    }

    /// Returns the kind of the error.
    #[must_use]
    pub const fn kind(&self) -> StorageErrorKind {
        self.kind
    }

    /// Returns the status of the response, if there was one.
    #[must_use]
    pub const fn status(&self) -> Option<StatusCode> {
        self.status
    }

    /// Returns the error code of OSS, such as `AccessDenied`. At most 64 characters: letters,
    /// digits, `.`, `-` and `_`.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// Returns the id of the request, which the support of Alibaba Cloud asks for. The same
    /// characters as in [`code`](Self::code).
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }
}

impl From<StorageErrorKind> for StorageError {
    fn from(kind: StorageErrorKind) -> Self {
        Self {
            kind,
            status: None,
            code: None,
            request_id: None,
            source: None,
        }
    }
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            StorageErrorKind::NotFound => "the object or upload does not exist",
            StorageErrorKind::Credentials => {
                "there are no valid credentials for the request; check their provider"
            }
            StorageErrorKind::Denied => {
                "the request was denied; check the RAM policy, the AccessKey, the region and the \
                 clock"
            }
            StorageErrorKind::Rejected => {
                "the request was rejected; check the bucket and the endpoint"
            }
            StorageErrorKind::Throttled => "there are too many requests for OSS",
            StorageErrorKind::Unavailable => {
                "no connection to OSS, or it failed; check the endpoint"
            }
            StorageErrorKind::TimedOut => "no response from OSS in time; check the endpoint",
            StorageErrorKind::Tls => {
                "the host of OSS cannot be verified; check the endpoint and the root certificates"
            }
            StorageErrorKind::Unreadable => {
                "the response is not one of OSS; check the endpoint and the proxies in between"
            }
        })?;
        let status = self.status.as_ref().map(StatusCode::as_str);
        let details = [
            ("status", status),
            ("code", self.code()),
            ("request id", self.request_id()),
        ];
        let given = details
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        for (at, (name, value)) in given.enumerate() {
            write!(f, "{}{name} {value}", if at == 0 { " (" } else { ", " })?;
        }
        f.write_str(if details.iter().any(|(_, value)| value.is_some()) {
            ")"
        } else {
            ""
        })
    }
}

// Not derived: thiserror would return the `Arc` as the source, which hides the type of the cause
// from `downcast_ref`.
impl Error for StorageError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
