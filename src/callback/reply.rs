//! Responses that OSS accepts.

use std::error::Error;

use bytes::Bytes;
use http::{
    HeaderValue, Response,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use serde::{Serialize, de::IgnoredAny};

use super::event::UploadEvent;

/// The largest response that OSS accepts: 1 MiB.
pub(super) const MAX_REPLY_LEN: u64 = 1024 * 1024;

/// A response that OSS accepts and forwards to the uploader: status 200, JSON or XML, an exact
/// length, no byte-order mark, at most 1 MiB.
///
/// For any other response, OSS reports `203 CallbackFailed` to the uploader, although the object is
/// stored ([status 203](https://www.alibabacloud.com/help/en/oss/support/http-status-code-203)).
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
///
/// A handler that fails responds with another status. In axum:
///
/// ```
/// # #[cfg(feature = "axum")]
/// # mod app {
/// use axum::http::StatusCode;
/// use serde_json::json;
/// use tower_aliyun_oss::callback::{CallbackReply, VerifiedCallback};
///
/// async fn on_upload(callback: VerifiedCallback) -> Result<CallbackReply, StatusCode> {
///     // With a ticket, `event` never fails, and `claims` only if the grant has other claims.
///     let event = callback.event().map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
///     let user: u64 = callback.claims().map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
///     CallbackReply::json(&json!({ "user": user, "object": event.object() }))
///         .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
/// }
/// # fn app() -> axum::Router { axum::Router::new().route("/", axum::routing::post(on_upload)) }
/// # }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CallbackReply {
    content_type: &'static str,
    body: Bytes,
}

const JSON: &str = "application/json";
const XML: &str = "application/xml";

impl CallbackReply {
    /// Creates the reply `{"Status":"OK"}` of Alibaba's sample servers.
    #[must_use]
    pub fn ok() -> Self {
        Self {
            content_type: JSON,
            body: Bytes::from_static(br#"{"Status":"OK"}"#),
        }
    }

    /// Serializes a value to JSON. It must be an object or an array: whether OSS accepts a bare
    /// number or string is not documented.
    ///
    /// # Errors
    ///
    /// Fails if the value does not serialize, if it is neither an object nor an array, or if the
    /// text exceeds 1 MiB.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, ReplyError> {
        let text = serde_json::to_vec(value).map_err(|why| ReplyError::Serialize(why.into()))?;
        Self::checked(JSON, text.into(), b"{[")
    }

    /// Creates a reply from a text that is already JSON.
    ///
    /// # Errors
    ///
    /// Fails if the text is not JSON (JSON has no byte-order mark), if it is neither an object nor
    /// an array, or if it exceeds 1 MiB.
    pub fn json_text(text: impl Into<Bytes>) -> Result<Self, ReplyError> {
        let text = text.into();
        serde_json::from_slice::<IgnoredAny>(&text)
            .map_err(|why| ReplyError::NotJson(why.into()))?;
        Self::checked(JSON, text, b"{[")
    }

    /// Creates a reply from an XML document, which OSS accepts with the type `application/xml`.
    /// Only the first character is checked, not whether the document is well-formed.
    ///
    /// # Errors
    ///
    /// Fails if the document does not start with `<` (after a byte-order mark it does not), or if
    /// it exceeds 1 MiB.
    pub fn xml(document: impl Into<Bytes>) -> Result<Self, ReplyError> {
        Self::checked(XML, document.into(), b"<")
    }

    /// Creates the document that `CompleteMultipartUpload` of S3 returns, with `Location`,
    /// `Bucket`, `Key` and `ETag`. OSS returns the reply of the callback in place of its own
    /// document, and clients such as uppy read `Location` and `Key`.
    ///
    /// `location` is the URL of the object, such as
    /// [`OssUploads::object_url`](crate::OssUploads::object_url).
    ///
    /// ```
    /// # #[cfg(feature = "axum")]
    /// # mod app {
    /// use axum::{extract::State, http::StatusCode};
    /// use tower_aliyun_oss::{
    ///     OssUploads,
    ///     callback::{CallbackReply, VerifiedCallback},
    /// };
    ///
    /// async fn on_upload(
    ///     State(uploads): State<OssUploads>,
    ///     callback: VerifiedCallback,
    /// ) -> Result<CallbackReply, StatusCode> {
    ///     let event = callback.event().map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    ///     let location = uploads.object_url(event.object().unwrap_or_default());
    ///     Ok(CallbackReply::complete_result(&location, &event))
    /// }
    /// # fn app(uploads: OssUploads) -> axum::Router {
    /// #     axum::Router::new().route("/", axum::routing::post(on_upload)).with_state(uploads)
    /// # }
    /// # }
    /// ```
    #[must_use]
    pub fn complete_result(location: &str, event: &UploadEvent) -> Self {
        let mut document = String::from(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<CompleteMultipartUploadResult>",
        );
        let etag = event.etag().map(|etag| format!("\"{etag}\""));
        for (name, value) in [
            ("Location", Some(location)),
            ("Bucket", event.bucket()),
            ("Key", event.object()),
            ("ETag", etag.as_deref()),
        ] {
            let Some(value) = value else { continue };
            document.extend(["<", name, ">"]);
            push_text(&mut document, value);
            document.extend(["</", name, ">"]);
        }
        document.push_str("</CompleteMultipartUploadResult>");
        Self {
            content_type: XML,
            body: document.into(),
        }
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

/// Appends a text to an element. XML cannot express most control characters, so they are replaced.
fn push_text(document: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '<' => document.push_str("&lt;"),
            '>' => document.push_str("&gt;"),
            '&' => document.push_str("&amp;"),
            '"' => document.push_str("&quot;"),
            '\t' | '\n' | '\r' => document.push_str(&format!("&#{};", u32::from(c))),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => document.push('\u{fffd}'),
            c => document.push(c),
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

/// Why a value cannot be the response to a callback.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// The value does not serialize to JSON.
    #[error("failed to serialize the value to JSON")]
    Serialize(#[source] Box<dyn Error + Send + Sync>),
    /// The text is not JSON.
    #[error("the text is not JSON; OSS rejects it with EC 0007-00000205")]
    NotJson(#[source] Box<dyn Error + Send + Sync>),
    /// The text is neither a JSON object or array, nor does it start like XML.
    #[error(
        "the response must be a JSON object or array, or an XML document, without a byte-order mark"
    )]
    NotADocument,
    /// The text exceeds 1 MiB; contains its length in bytes.
    #[error("the response has {0} bytes, and OSS accepts at most 1048576")]
    TooLarge(usize),
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
    fn the_result_of_a_completion_is_that_of_s3() {
        let event = |body: &'static str| {
            crate::callback::event::read_event(
                crate::protocol::CallbackBodyType::Json,
                body.as_bytes(),
            )
        };
        let whole = event(r#"{"bucket":"b","object":"a<&>\"'\u0001.mp4","etag":"5D41"}"#).unwrap();
        let reply = CallbackReply::complete_result("https://b.example/a?x=1&y=2", &whole);
        let response: Response<Bytes> = reply.into();
        assert_eq!(response.headers()["content-type"], "application/xml");
        let document = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<CompleteMultipartUploadResult>\
            <Location>https://b.example/a?x=1&amp;y=2</Location><Bucket>b</Bucket>\
            <Key>a&lt;&amp;&gt;&quot;'\u{fffd}.mp4</Key><ETag>&quot;5D41&quot;</ETag>\
            </CompleteMultipartUploadResult>";
        assert_eq!(response.body(), document);
        // OSS accepts it.
        assert!(CallbackReply::xml(document).is_ok());
        let bare: Response<Bytes> =
            CallbackReply::complete_result("l", &event("{}").unwrap()).into();
        assert!(bare.body().ends_with(
            b"<CompleteMultipartUploadResult><Location>l</Location></CompleteMultipartUploadResult>"
        ));
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
