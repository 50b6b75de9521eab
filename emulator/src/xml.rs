//! XML documents: error responses, result documents and the documents that clients send.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use quick_xml::{
    Writer,
    events::{BytesDecl, BytesText, Event},
    se::Serializer,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    body::EmulatorBody,
    errors::{self, OssError},
};

/// Builds a document with a root and one level of elements.
pub(crate) fn document(root: &str, elements: &[(&str, &str)]) -> Bytes {
    let mut writer = Writer::new(Vec::new());
    let declaration = BytesDecl::new("1.0", Some("UTF-8"), None);
    let written = writer
        .write_event(Event::Decl(declaration))
        .and_then(|()| {
            writer.create_element(root).write_inner_content(|writer| {
                for (name, text) in elements {
                    let text = printable(text);
                    writer
                        .create_element(*name)
                        .write_text_content(BytesText::new(&text))?;
                }
                Ok(())
            })
        })
        .is_ok();
    // The writer is a `Vec`, and names of elements are constants.
    debug_assert!(written, "writing to memory does not fail");
    writer.into_inner().into()
}

impl OssError {
    /// The error document. `host` is the host that the request was sent to, without its port.
    pub(crate) fn document(&self, request_id: &str, host: &str) -> Bytes {
        let mut elements = vec![
            ("Code", self.code()),
            ("Message", self.message()),
            ("RequestId", request_id),
            ("HostId", host),
        ];
        elements.extend(self.details());
        let advice = self
            .ec()
            .map(|ec| format!("https://api.aliyun.com/troubleshoot?q={ec}"));
        if let (Some(ec), Some(advice)) = (self.ec(), &advice) {
            elements.extend([("EC", ec), ("RecommendDoc", advice)]);
        }
        document("Error", &elements)
    }
}

/// Builds a response from a value whose document has more than one level.
pub(crate) fn response(
    root: &'static str,
    value: &impl Serialize,
) -> Result<Response<EmulatorBody>, OssError> {
    let mut document = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let serializer = Serializer::with_root(&mut document, Some(root));
    let written = serializer.and_then(|serializer| value.serialize(serializer));
    written.map_err(|_| errors::INTERNAL)?;
    let mut response = Response::new(EmulatorBody::from(Bytes::from(document)));
    let xml = HeaderValue::from_static("application/xml");
    response.headers_mut().insert(header::CONTENT_TYPE, xml);
    Ok(response)
}

/// Parses a document that a client sent.
pub(crate) fn parse<T: DeserializeOwned>(document: &[u8]) -> Result<T, OssError> {
    quick_xml::de::from_reader(document).map_err(|_| errors::MALFORMED_XML)
}

/// Replaces the characters that XML 1.0 cannot represent, not even escaped (section 2.2).
fn printable(text: &str) -> Cow<'_, str> {
    let invalid = |c: char| {
        matches!(
            c,
            '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}'
        )
    };
    if text.contains(invalid) {
        text.replace(invalid, "\u{fffd}").into()
    } else {
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errors::CALLBACK_STATUS;

    #[test]
    fn a_document_as_oss_writes_it() {
        let error = CALLBACK_STATUS.with_message("Error status : 301.");
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
