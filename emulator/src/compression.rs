//! Compression of responses: OSS sends text in gzip to clients that accept it.
//!
//! Sources: [GetObject], and the tests of `oss2` and of the SDK for PHP.
//!
//! [GetObject]: https://www.alibabacloud.com/help/en/oss/developer-reference/getobject

use std::{
    io::{self, Write as _},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, header};
use http_body::{Body, Frame};

/// The size from which OSS compresses, in bytes.
const MIN_SIZE: u64 = 1024;
/// How much is compressed at a time, in bytes.
const CHUNK: usize = 64 * 1024;
/// The types that OSS compresses.
const TYPES: [&str; 9] = [
    "application/javascript",
    "application/json",
    "application/rss+xml",
    "application/x-javascript",
    "text/cache-manifest",
    "text/css",
    "text/json",
    "text/plain",
    "text/xml",
];

/// Whether OSS compresses a response with these headers and a body of this size.
pub(crate) fn is_compressible(response: &HeaderMap, size: u64) -> bool {
    let content_type = response.get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default().split(';').next();
    let content_type = content_type.unwrap_or_default().trim().to_ascii_lowercase();
    size >= MIN_SIZE
        && !response.contains_key(header::CONTENT_ENCODING)
        && TYPES.contains(&&*content_type)
}

/// Whether the client accepts gzip.
pub(crate) fn accepts_gzip(request: &HeaderMap) -> bool {
    let values = request.get_all(header::ACCEPT_ENCODING).iter();
    let mut codings = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    codings.any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let refused = ["q=0", "q=0.", "q=0.0", "q=0.00", "q=0.000"];
        name.trim().eq_ignore_ascii_case("gzip") && !refused.contains(&weight.trim())
    })
}

/// A body that compresses another one.
pub(crate) struct Gzip<B> {
    source: B,
    /// What was read from the source and not yet compressed.
    read: Bytes,
    /// `None` at the end.
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl<B> Gzip<B> {
    pub(crate) fn new(source: B) -> Self {
        Self {
            source,
            read: Bytes::new(),
            encoder: Some(GzEncoder::new(Vec::new(), Compression::fast())),
        }
    }
}

impl<B> Body for Gzip<B>
where
    B: Body<Data = Bytes, Error = io::Error> + Unpin,
{
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        loop {
            let Some(encoder) = &mut this.encoder else {
                return Poll::Ready(None);
            };
            if this.read.is_empty() {
                match ready!(Pin::new(&mut this.source).poll_frame(cx)) {
                    Some(frame) => this.read = frame?.into_data().unwrap_or_default(),
                    None => {
                        let rest = this.encoder.take().map(GzEncoder::finish).transpose()?;
                        let rest = Bytes::from(rest.unwrap_or_default());
                        return Poll::Ready(Some(Ok(Frame::data(rest))));
                    }
                }
            } else {
                let chunk = this.read.split_to(this.read.len().min(CHUNK));
                encoder.write_all(&chunk)?;
                let compressed = std::mem::take(encoder.get_mut());
                if !compressed.is_empty() {
                    return Poll::Ready(Some(Ok(Frame::data(compressed.into()))));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.encoder.is_none()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn what_is_compressed() {
        for (content_type, size, expected) in [
            ("text/plain", 1024, true),
            ("text/plain", 1023, false),
            ("Text/Plain; charset=utf-8", 1024, true),
            ("application/json", 4096, true),
            ("application/octet-stream", 4096, false),
            ("image/png", 4096, false),
        ] {
            let mut headers = HeaderMap::new();
            let value = HeaderValue::from_static(content_type);
            headers.insert(header::CONTENT_TYPE, value);
            let found = is_compressible(&headers, size);
            assert_eq!(found, expected, "{content_type} {size}");
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("br"));
            assert!(!is_compressible(&headers, size));
        }
        assert!(!is_compressible(&HeaderMap::new(), 4096));
    }

    #[test]
    fn who_accepts_gzip() {
        for (value, expected) in [
            ("gzip", true),
            ("deflate, gzip", true),
            ("deflate,GZIP;q=0.5", true),
            ("gzip; q=0", false),
            ("gzip;q=0.0", false),
            ("identity", false),
            ("", false),
            ("*", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(value));
            assert_eq!(accepts_gzip(&headers), expected, "{value}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }
}
