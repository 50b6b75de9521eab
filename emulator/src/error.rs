//! What OSS answers when it refuses, and the XML it says so in.

use std::borrow::Cow;

use bytes::Bytes;
use http::StatusCode;

use crate::xml;

/// A refusal: one row of the tables of the reference.
///
/// Rows without a number are those for which no EC is documented; OSS has one, but it is not known.
#[derive(Clone, Debug)]
pub(crate) struct OssError {
    status: u16,
    code: &'static str,
    message: Cow<'static, str>,
    ec: Option<&'static str>,
    /// More elements, by their names.
    details: Vec<(&'static str, String)>,
}

impl OssError {
    pub(crate) const fn new(
        status: u16,
        code: &'static str,
        message: &'static str,
        ec: &'static str,
    ) -> Self {
        Self {
            status,
            code,
            message: Cow::Borrowed(message),
            ec: if ec.is_empty() { None } else { Some(ec) },
            details: Vec::new(),
        }
    }

    /// The same row with another text, for those whose text depends on the request.
    #[must_use]
    pub(crate) fn saying(mut self, message: impl Into<Cow<'static, str>>) -> Self {
        self.message = message.into();
        self
    }

    /// Adds `ArgumentName` and `ArgumentValue`.
    #[must_use]
    pub(crate) fn argument(self, name: &'static str, value: impl Into<String>) -> Self {
        self.detail("ArgumentName", name)
            .detail("ArgumentValue", value)
    }

    /// Adds an element.
    #[must_use]
    pub(crate) fn detail(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.details.push((name, value.into()));
        self
    }

    pub(crate) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    pub(crate) fn code(&self) -> &'static str {
        self.code
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn ec(&self) -> Option<&'static str> {
        self.ec
    }

    /// The document, with the id of the request and the host it was sent to.
    pub(crate) fn document(&self, request_id: &str, host: &str) -> Bytes {
        let mut elements = vec![
            ("Code", self.code),
            ("Message", &*self.message),
            ("RequestId", request_id),
            ("HostId", host),
        ];
        elements.extend(self.details.iter().map(|(name, value)| (*name, &**value)));
        let advice = self
            .ec
            .map(|ec| format!("https://api.aliyun.com/troubleshoot?q={ec}"));
        if let (Some(ec), Some(advice)) = (self.ec, &advice) {
            elements.extend([("EC", ec), ("RecommendDoc", advice)]);
        }
        xml::document("Error", &elements)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::CALLBACK_STATUS;

    #[test]
    fn a_document_as_oss_writes_it() {
        let error = CALLBACK_STATUS.saying("Error status : 301.");
        assert_eq!(
            error.document("63F1", "b.oss-cn-hangzhou.aliyuncs.com"),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>CallbackFailed</Code>\
             <Message>Error status : 301.</Message><RequestId>63F1</RequestId>\
             <HostId>b.oss-cn-hangzhou.aliyuncs.com</HostId><EC>0007-00000203</EC>\
             <RecommendDoc>https://api.aliyun.com/troubleshoot?q=0007-00000203</RecommendDoc></Error>"
        );
    }

    #[test]
    fn what_the_uploader_sent_cannot_break_the_document() {
        let error = OssError::new(400, "A", "m", "").argument("callback", "<a>&\"\u{0}\u{ffff}");
        let document = error.document("1", "h");
        let text = std::str::from_utf8(&document).unwrap();
        assert!(text.contains("<ArgumentValue>&lt;a&gt;&amp;"), "{text}");
        assert!(!text.contains('\0') && !text.contains('\u{ffff}'), "{text}");
        assert!(!text.contains("<EC>"), "{text}");
    }
}
