//! `GetObject` and `HeadObject`.

use std::ops::RangeInclusive;

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header, request::Parts};

use super::{
    address::Address, body::EmulatorBody, bucket::HostedBucket, catalogue, error::OssError,
    object::Record, store::ObjectStore,
};
use crate::protocol::header::http_date;

/// Answers with an object, or a range of it. Without a signature only what is public can be read.
pub(super) async fn object(
    store: &ObjectStore,
    bucket: &HostedBucket,
    address: &Address,
    parts: &Parts,
    signed: bool,
) -> Result<Response<EmulatorBody>, OssError> {
    let key = address.key()?;
    if key.is_empty() {
        return Err(catalogue::NOT_IMPLEMENTED);
    }
    let found = store.get(&bucket.name, key).await;
    let found = found.map_err(|_| catalogue::INTERNAL)?;
    let Some((record, stored)) = found else {
        // What is not there is told only to those who may look.
        return Err(if signed || bucket.acl.lets_read() {
            catalogue::NO_SUCH_KEY.argument("Key", key)
        } else {
            catalogue::NO_RIGHT
        });
    };
    if !signed && !record.description.is_readable(bucket.acl) {
        return Err(catalogue::NO_RIGHT);
    }

    let size = record.content.size;
    let range = match parts
        .headers
        .get(header::RANGE)
        .map(|range| wanted(range, size))
    {
        None | Some(Wanted::All) => None,
        Some(Wanted::Range(range)) => Some(range),
        Some(Wanted::Nothing) => return Err(catalogue::INVALID_RANGE),
    };
    let (from, length) = match &range {
        Some(range) => (*range.start(), range.end() - range.start() + 1),
        None => (0, size),
    };
    let body = if parts.method == http::Method::HEAD {
        EmulatorBody::empty()
    } else {
        let body = EmulatorBody::of(stored, from, length).await;
        body.map_err(|_| catalogue::INTERNAL)?
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    describe(headers, &record);
    headers.insert(header::CONTENT_LENGTH, length.into());
    if let Some(range) = range {
        let text = format!("bytes {}-{}/{size}", range.start(), range.end());
        insert(headers, header::CONTENT_RANGE, &text);
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

fn describe(headers: &mut HeaderMap, record: &Record) {
    let content = &record.content;
    headers.extend(record.description.headers());
    insert(
        headers,
        header::CONTENT_TYPE,
        &record.description.content_type,
    );
    insert(
        headers,
        header::LAST_MODIFIED,
        &http_date(record.stored()).unwrap_or_default(),
    );
    content_md5(headers, record);
    insert(
        headers,
        HeaderName::from_static("x-oss-object-acl"),
        record.description.acl(),
    );
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(
        "x-oss-object-type",
        HeaderValue::from_static(match content.parts {
            Some(_) => "Multipart",
            None => "Normal",
        }),
    );
    sums(headers, record);
}

/// `Content-MD5`, of what did not come in parts.
pub(super) fn content_md5(headers: &mut HeaderMap, record: &Record) {
    if record.content.parts.is_none() {
        let name = HeaderName::from_static("content-md5");
        insert(headers, name, &record.content.md5_base64());
    }
}

/// The two sums that go with every object.
pub(super) fn sums(headers: &mut HeaderMap, record: &Record) {
    insert(
        headers,
        header::ETAG,
        &format!("\"{}\"", record.content.etag()),
    );
    let crc64 = HeaderName::from_static("x-oss-hash-crc64ecma");
    insert(headers, crc64, &record.content.crc64.to_string());
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = value.parse() {
        headers.insert(name, value);
    }
}

#[derive(Debug, Eq, PartialEq)]
enum Wanted {
    All,
    Range(RangeInclusive<u64>),
    Nothing,
}

/// One range of bytes. What is none, or more than one, counts as if it were not there (RFC 9110 section 14.2).
fn wanted(range: &HeaderValue, size: u64) -> Wanted {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse::<u64>().unwrap_or(u64::MAX))
    };
    let parsed = range
        .to_str()
        .ok()
        .and_then(|text| text.strip_prefix("bytes="))
        .and_then(|text| text.split_once('-'));
    let (from, to) = match parsed {
        Some(("", last)) => match number(last) {
            Some(last) => (size.saturating_sub(last), u64::MAX),
            None => return Wanted::All,
        },
        Some((from, "")) => match number(from) {
            Some(from) => (from, u64::MAX),
            None => return Wanted::All,
        },
        Some((from, to)) => match (number(from), number(to)) {
            (Some(from), Some(to)) if from <= to => (from, to),
            _ => return Wanted::All,
        },
        None => return Wanted::All,
    };
    match size.checked_sub(1) {
        Some(last) if from <= last => Wanted::Range(from..=to.min(last)),
        _ => Wanted::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let of = |text: &'static str, size| wanted(&HeaderValue::from_static(text), size);
        assert_eq!(of("bytes=0-0", 10), Wanted::Range(0..=0));
        assert_eq!(of("bytes=2-", 10), Wanted::Range(2..=9));
        assert_eq!(of("bytes=-3", 10), Wanted::Range(7..=9));
        assert_eq!(of("bytes=-30", 10), Wanted::Range(0..=9));
        assert_eq!(of("bytes=5-99999999999999999999", 10), Wanted::Range(5..=9));
        assert_eq!(of("bytes=10-", 10), Wanted::Nothing);
        assert_eq!(of("bytes=-0", 10), Wanted::Nothing);
        assert_eq!(of("bytes=0-", 0), Wanted::Nothing);
        for odd in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=3-1",
            "items=0-1",
            "bytes=0-1,3-4",
        ] {
            assert_eq!(of(odd, 10), Wanted::All, "{odd}");
        }
    }
}
