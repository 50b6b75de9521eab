//! What was answered the first time.

use std::{error::Error, fmt};

use bytes::Bytes;
use http::{HeaderValue, StatusCode};

/// The answer to a callback, kept so that it can be given again without the handler.
///
/// ```
/// use http::{HeaderValue, StatusCode};
/// use tower_aliyun_oss::ticket::StoredReply;
///
/// let json = HeaderValue::from_static("application/json");
/// let reply = StoredReply::new(StatusCode::OK, Some(json), "{}")?;
/// assert_eq!(StoredReply::from_bytes(&reply.to_bytes())?, reply);
/// # Ok::<(), tower_aliyun_oss::ticket::StoredReplyError>(())
/// ```
#[derive(Clone, Eq, PartialEq)]
pub struct StoredReply {
    status: StatusCode,
    content_type: Option<HeaderValue>,
    body: Bytes,
}

impl StoredReply {
    /// The longest body, in bytes: 1 MiB, as much as OSS takes.
    pub const MAX_BODY_LEN: usize = 1024 * 1024;

    /// The longest content type, in bytes.
    pub const MAX_CONTENT_TYPE_LEN: usize = 255;

    /// An answer of this status, content type and body.
    ///
    /// # Errors
    ///
    /// When the body is longer than [`Self::MAX_BODY_LEN`], or the content type than [`Self::MAX_CONTENT_TYPE_LEN`].
    pub fn new(
        status: StatusCode,
        content_type: Option<HeaderValue>,
        body: impl Into<Bytes>,
    ) -> Result<Self, StoredReplyError> {
        let body = body.into();
        if body.len() > Self::MAX_BODY_LEN {
            return Err(StoredReplyError::BodyTooLong(body.len()));
        }
        if content_type.as_ref().map_or(0, HeaderValue::len) > Self::MAX_CONTENT_TYPE_LEN {
            return Err(StoredReplyError::ContentTypeTooLong);
        }
        Ok(Self {
            status,
            content_type,
            body,
        })
    }

    /// A short constant text of ours.
    pub(crate) fn json(status: StatusCode, body: &'static str) -> Self {
        Self {
            status,
            content_type: Some(HeaderValue::from_static("application/json")),
            body: Bytes::from_static(body.as_bytes()),
        }
    }

    /// The status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// The content type, if there was one.
    #[must_use]
    pub const fn content_type(&self) -> Option<&HeaderValue> {
        self.content_type.as_ref()
    }

    /// The body.
    #[must_use]
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    /// The answer as bytes, for a store outside the process: status (2 bytes), length of the content type (1 byte, 0
    /// for none), content type, body.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let content_type = self.content_type.as_ref().map_or(&[][..], |t| t.as_bytes());
        let mut out = Vec::with_capacity(3 + content_type.len() + self.body.len());
        out.extend(self.status.as_u16().to_be_bytes());
        // Not above 255, see `new`.
        out.push(u8::try_from(content_type.len()).unwrap_or_default());
        out.extend(content_type);
        out.extend(&self.body);
        out
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    ///
    /// When it did not write these bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StoredReplyError> {
        let unreadable = || StoredReplyError::Unreadable;
        let (&[high, low, length], rest) = bytes.split_first_chunk().ok_or_else(unreadable)?;
        let (content_type, body) = rest
            .split_at_checked(usize::from(length))
            .ok_or_else(unreadable)?;
        let status = StatusCode::from_u16(u16::from_be_bytes([high, low]))
            .map_err(|_| StoredReplyError::Unreadable)?;
        let content_type = (!content_type.is_empty())
            .then(|| HeaderValue::from_bytes(content_type))
            .transpose()
            .map_err(|_| StoredReplyError::Unreadable)?;
        Self::new(status, content_type, Bytes::copy_from_slice(body))
    }
}

impl fmt::Debug for StoredReply {
    /// Leaves the body out: it is for the uploader, not for a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredReply")
            .field("status", &self.status)
            .field("body_len", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// Why an answer cannot be kept, or not be read again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum StoredReplyError {
    /// The body is longer than 1 MiB; holds the length.
    BodyTooLong(usize),
    /// The content type is longer than 255 bytes.
    ContentTypeTooLong,
    /// Not the bytes of an answer.
    Unreadable,
}

impl fmt::Display for StoredReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BodyTooLong(length) => write!(
                f,
                "the answer has {length} bytes, and at most 1048576 are kept; oss takes no more either"
            ),
            Self::ContentTypeTooLong => {
                f.write_str("the content type of the answer is longer than the 255 bytes kept")
            }
            Self::Unreadable => f.write_str(
                "the bytes are not a stored answer; does something else write to the store?",
            ),
        }
    }
}

impl Error for StoredReplyError {}
