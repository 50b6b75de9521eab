//! Encodings of object names: percent-encoding in URLs, and `encoding-type` in XML documents.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::{
    errors::{self, OssError},
    query::Query,
};

/// Encodes everything but the unreserved characters of RFC 3986: letters, digits and `-._~`.
pub(crate) const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// [`COMPONENT`] for a path: keeps slashes.
pub(crate) const PATH: &AsciiSet = &COMPONENT.remove(b'/');

/// What `encoding-type=url` encodes, and `Location`: everything but letters, digits and `-._`.
///
/// The tests of aliyun-oss-java-sdk show `%2F` and `%7E`.
pub(crate) const NAME: &AsciiSet = &COMPONENT.add(b'~');

/// How a response document represents object names, from `encoding-type`.
#[derive(Clone, Copy, Default)]
pub(crate) struct Encoding {
    url: bool,
}

impl Encoding {
    /// Reads the parameter `encoding-type`.
    pub(crate) fn of(query: &Query) -> Result<Self, OssError> {
        Self::named(query.get("encoding-type").unwrap_or_default())
    }

    /// Returns the encoding of this name. `url` is the only one of OSS.
    pub(crate) fn named(name: &str) -> Result<Self, OssError> {
        match name {
            "" => Ok(Self::default()),
            "url" => Ok(Self { url: true }),
            _ => Err(errors::ENCODING_TYPE),
        }
    }

    /// The value of the element `EncodingType`, if the response has one.
    pub(crate) fn name(self) -> Option<&'static str> {
        self.url.then_some("url")
    }

    pub(crate) fn text(self, text: &str) -> String {
        if self.url {
            utf8_percent_encode(text, NAME).to_string()
        } else {
            // XML 1.0 has no control characters. OSS sends them nevertheless, as the suite of
            // `ali-oss` shows, which is why clients that parse strictly request `url`.
            text.to_owned()
        }
    }
}
