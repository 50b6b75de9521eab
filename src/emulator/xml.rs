//! The documents of OSS.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use quick_xml::{
    Writer,
    events::{BytesDecl, BytesText, Event},
    se::Serializer,
};
use serde::{Serialize, de::DeserializeOwned};

use super::{body::EmulatorBody, catalogue, error::OssError, query::Query};

/// Of a name, slashes stay.
const NAME: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

/// A root with one level of elements.
pub(super) fn document(root: &str, elements: &[(&str, &str)]) -> Bytes {
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
    debug_assert!(written, "writing into memory does not fail");
    writer.into_inner().into()
}

/// An answer of several levels.
pub(super) fn response(
    root: &'static str,
    value: &impl Serialize,
) -> Result<Response<EmulatorBody>, OssError> {
    let mut document = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let serializer = Serializer::with_root(&mut document, Some(root));
    let written = serializer.and_then(|serializer| value.serialize(serializer));
    written.map_err(|_| catalogue::INTERNAL)?;
    let mut response = Response::new(EmulatorBody::from(Bytes::from(document)));
    let xml = HeaderValue::from_static("application/xml");
    response.headers_mut().insert(header::CONTENT_TYPE, xml);
    Ok(response)
}

/// How names of objects are written into an answer.
#[derive(Clone, Copy)]
pub(super) struct Encoding {
    url: bool,
}

impl Encoding {
    /// As the parameter `encoding-type` says.
    pub(super) fn of(query: &Query) -> Result<Self, OssError> {
        match query.get("encoding-type") {
            None | Some("") => Ok(Self { url: false }),
            Some("url") => Ok(Self { url: true }),
            Some(_) => Err(catalogue::ENCODING_TYPE),
        }
    }

    pub(super) fn name(self) -> Option<&'static str> {
        self.url.then_some("url")
    }

    pub(super) fn text(self, text: &str) -> String {
        if self.url {
            utf8_percent_encode(text, NAME).to_string()
        } else {
            printable(text).into_owned()
        }
    }
}

/// Reads one.
pub(super) fn parse<T: DeserializeOwned>(document: &[u8]) -> Result<T, OssError> {
    quick_xml::de::from_reader(document).map_err(|_| catalogue::MALFORMED_XML)
}

/// XML 1.0 cannot hold most control characters, not even escaped (section 2.2).
fn printable(text: &str) -> Cow<'_, str> {
    let odd = |c: char| matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}');
    if text.contains(odd) {
        text.replace(odd, "\u{fffd}").into()
    } else {
        text.into()
    }
}
