//! Documents of several levels, in both directions.

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use quick_xml::se::Serializer;
use serde::{Serialize, de::DeserializeOwned};

use crate::{body::EmulatorBody, catalogue, error::OssError, query::Query, xml::printable};

/// Of the name of an object, slashes stay.
pub(crate) const NAME: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

/// An answer of several levels.
pub(crate) fn response(
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
#[derive(Clone, Copy, Default)]
pub(crate) struct Encoding {
    url: bool,
}

impl Encoding {
    /// As the parameter `encoding-type` says.
    pub(crate) fn of(query: &Query) -> Result<Self, OssError> {
        match query.get("encoding-type") {
            None | Some("") => Ok(Self::default()),
            Some("url") => Ok(Self { url: true }),
            Some(_) => Err(catalogue::ENCODING_TYPE),
        }
    }

    pub(crate) fn name(self) -> Option<&'static str> {
        self.url.then_some("url")
    }

    pub(crate) fn text(self, text: &str) -> String {
        if self.url {
            utf8_percent_encode(text, NAME).to_string()
        } else {
            printable(text).into_owned()
        }
    }
}

/// Reads one.
pub(crate) fn parse<T: DeserializeOwned>(document: &[u8]) -> Result<T, OssError> {
    quick_xml::de::from_reader(document).map_err(|_| catalogue::MALFORMED_XML)
}
