//! What a handler answers so that OSS takes it.

use std::{error::Error, fmt};

use bytes::Bytes;
use http::{
    HeaderValue, Response,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use serde::{Serialize, de::IgnoredAny};

/// The largest answer OSS takes: 1 MiB.
pub(super) const MAX_REPLY_LEN: u64 = 1024 * 1024;

/// An answer that OSS accepts and hands to the uploader: status 200, JSON or XML, an exact length, no byte-order mark,
/// at most 1 MiB.
///
/// Anything else makes OSS tell the uploader `203 CallbackFailed`, although the object is stored
/// ([status 203](https://www.alibabacloud.com/help/en/oss/support/http-status-code-203)).
///
/// ```
/// use http::Response;
/// use bytes::Bytes;
/// use serde_json::json;
/// use tower_aliyun_oss::callback::CallbackReply;
///
/// let reply = CallbackReply::json(&json!({ "Status": "OK", "id": 7 }))?;
/// let response: Response<Bytes> = reply.into();
/// assert_eq!(response.headers()["content-length"], "22");
/// # Ok::<(), tower_aliyun_oss::callback::ReplyError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CallbackReply {
    content_type: &'static str,
    body: Bytes,
}

const JSON: &str = "application/json";
const XML: &str = "application/xml";

impl CallbackReply {
    /// `{"Status":"OK"}`, what Alibaba's sample servers answer.
    #[must_use]
    pub fn ok() -> Self {
        Self {
            content_type: JSON,
            body: Bytes::from_static(br#"{"Status":"OK"}"#),
        }
    }

    /// A value as JSON. It must make an object or an array: whether OSS takes a bare number or string is not
    /// documented.
    ///
    /// # Errors
    ///
    /// When serde cannot write the value, it is neither object nor array, or the text is over 1 MiB.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, ReplyError> {
        let text = serde_json::to_vec(value).map_err(ReplyError::Serialize)?;
        Self::checked(JSON, text.into(), b"{[")
    }

    /// A text that is JSON already.
    ///
    /// # Errors
    ///
    /// When it is not JSON (a byte-order mark makes it none), neither object nor array, or over 1 MiB.
    pub fn json_text(text: impl Into<Bytes>) -> Result<Self, ReplyError> {
        let text = text.into();
        serde_json::from_slice::<IgnoredAny>(&text).map_err(ReplyError::NotJson)?;
        Self::checked(JSON, text, b"{[")
    }

    /// An XML document, which OSS takes with the type `application/xml`. Only its beginning is looked at, not whether
    /// it is well-formed.
    ///
    /// # Errors
    ///
    /// When it does not start with `<` (a byte-order mark before it counts), or is over 1 MiB.
    pub fn xml(document: impl Into<Bytes>) -> Result<Self, ReplyError> {
        Self::checked(XML, document.into(), b"<")
    }

    fn checked(content_type: &'static str, body: Bytes, starts: &[u8]) -> Result<Self, ReplyError> {
        if body.len() as u64 > MAX_REPLY_LEN {
            return Err(ReplyError::TooLarge(body.len()));
        }
        match body.trim_ascii_start().first() {
            Some(first) if starts.contains(first) => Ok(Self { content_type, body }),
            _ => Err(ReplyError::NotADocument),
        }
    }
}

impl<B: From<Bytes>> From<CallbackReply> for Response<B> {
    fn from(reply: CallbackReply) -> Self {
        let length = HeaderValue::from(reply.body.len());
        let mut response = Self::new(reply.body.into());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
        headers.insert(CONTENT_LENGTH, length);
        response
    }
}

/// Why a value cannot be the answer to a callback.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReplyError {
    /// Serde could not write the value.
    Serialize(serde_json::Error),
    /// The text is not JSON.
    NotJson(serde_json::Error),
    /// Neither a JSON object or array, nor something that starts like XML.
    NotADocument,
    /// Over 1 MiB; holds the length.
    TooLarge(usize),
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serialize(_) => f.write_str("the value cannot be written as json"),
            Self::NotJson(_) => f.write_str("the text is not json, which oss would refuse (EC 0007-00000205)"),
            Self::NotADocument => f.write_str(
                "the answer must be a json object or array, or an xml document, without a byte-order mark",
            ),
            Self::TooLarge(length) => {
                write!(f, "the answer has {length} bytes, and oss takes at most 1048576")
            }
        }
    }
}

impl Error for ReplyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Serialize(source) | Self::NotJson(source) => Some(source),
            Self::NotADocument | Self::TooLarge(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn answers_that_oss_takes() {
        for (reply, content_type, body) in [
            (
                CallbackReply::ok(),
                "application/json",
                r#"{"Status":"OK"}"#,
            ),
            (
                CallbackReply::json(&json!([1])).unwrap(),
                "application/json",
                "[1]",
            ),
            (
                CallbackReply::json_text(" {}").unwrap(),
                "application/json",
                " {}",
            ),
            (
                CallbackReply::xml("<a/>").unwrap(),
                "application/xml",
                "<a/>",
            ),
        ] {
            let response: Response<Bytes> = reply.into();
            assert_eq!(response.status(), 200);
            assert_eq!(response.headers()["content-type"], content_type);
            assert_eq!(response.headers()["content-length"], body.len().to_string());
            assert_eq!(response.body(), body);
        }
    }

    #[test]
    fn answers_that_oss_would_refuse() {
        assert!(matches!(
            CallbackReply::json_text("OK"),
            Err(ReplyError::NotJson(_))
        ));
        assert!(matches!(
            CallbackReply::json_text("\u{feff}{}"),
            Err(ReplyError::NotJson(_))
        ));
        assert!(matches!(
            CallbackReply::json_text(""),
            Err(ReplyError::NotJson(_))
        ));
        assert!(matches!(
            CallbackReply::json(&7),
            Err(ReplyError::NotADocument)
        ));
        assert!(matches!(
            CallbackReply::json(&()),
            Err(ReplyError::NotADocument)
        ));
        for xml in ["", "OK", "\u{feff}<a/>"] {
            assert!(matches!(
                CallbackReply::xml(xml),
                Err(ReplyError::NotADocument)
            ));
        }
        let largest = "x".repeat(1024 * 1024 - r#"[""]"#.len());
        assert!(CallbackReply::json(&[&largest]).is_ok());
        let larger = CallbackReply::json(&[largest + "x"]);
        assert!(matches!(larger, Err(ReplyError::TooLarge(1_048_577))));
    }
}
