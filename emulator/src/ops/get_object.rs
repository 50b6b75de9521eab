//! `GetObject`, `HeadObject` and `GetObjectMeta`.

use std::ops::RangeInclusive;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};

use crate::{
    body::EmulatorBody,
    context::RequestContext,
    errors::{self, OssError},
    object::Record,
    response::{http_date, insert, insert_checksums},
};

/// Returns an object, or one range of it. Requests without a signature read public objects only.
pub(super) async fn run(
    context: &RequestContext<'_>,
    signed: bool,
) -> Result<Response<EmulatorBody>, OssError> {
    let key = context.address.key()?;
    if key.is_empty() {
        return Err(errors::NOT_IMPLEMENTED);
    }
    let bucket = context.bucket;
    let found = context.shared.store.get(&bucket.name, key).await;
    let found = found.map_err(|_| errors::INTERNAL)?;
    let Some((record, stored)) = found else {
        // 404 would reveal which names exist to clients that may not read the bucket.
        return Err(if signed || bucket.acl.lets_read() {
            errors::NO_SUCH_KEY.argument("Key", key)
        } else {
            errors::NO_RIGHT
        });
    };
    if !signed && !record.description.is_readable(bucket.acl) {
        return Err(errors::NO_RIGHT);
    }

    let size = record.content.size;
    let range = context.headers().get(header::RANGE);
    let range = match range.map(|range| requested(range, size)) {
        None | Some(Requested::All) => None,
        Some(Requested::Range(range)) => Some(range),
        Some(Requested::Unsatisfiable) => return Err(errors::INVALID_RANGE),
    };
    let (from, length) = match &range {
        Some(range) => (*range.start(), range.end() - range.start() + 1),
        None => (0, size),
    };
    let body = if context.parts.method == Method::HEAD {
        EmulatorBody::empty()
    } else {
        EmulatorBody::of(stored, from, length)
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    insert_object_headers(headers, &record);
    headers.insert(header::CONTENT_LENGTH, length.into());
    if let Some(range) = range {
        let text = format!("bytes {}-{}/{size}", range.start(), range.end());
        insert(headers, header::CONTENT_RANGE, &text);
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

fn insert_object_headers(headers: &mut HeaderMap, record: &Record) {
    let description = &record.description;
    headers.extend(description.headers());
    insert(headers, header::CONTENT_TYPE, &description.content_type);
    insert(headers, header::LAST_MODIFIED, &http_date(record.stored()));
    let acl = HeaderName::from_static("x-oss-object-acl");
    insert(headers, acl, description.acl());
    if !description.tags.is_empty() {
        headers.insert("x-oss-tagging-count", description.tags.len().into());
    }
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(
        "x-oss-object-type",
        HeaderValue::from_static(match record.content.parts {
            Some(_) => "Multipart",
            None => "Normal",
        }),
    );
    insert_checksums(headers, record);
}

/// What a `Range` header requests of an object.
#[derive(Debug, Eq, PartialEq)]
enum Requested {
    All,
    Range(RangeInclusive<u64>),
    Unsatisfiable,
}

/// Parses a `Range` header with one range of bytes.
///
/// Any other header, several ranges included, is ignored (RFC 9110 section 14.2).
fn requested(range: &HeaderValue, size: u64) -> Requested {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        // Digits beyond u64 are a valid position, which lies behind the end of any object.
        digits.then(|| text.parse::<u64>().unwrap_or(u64::MAX))
    };
    let parsed = range
        .to_str()
        .ok()
        .and_then(|text| text.strip_prefix("bytes="))
        .and_then(|text| text.split_once('-'));
    let (from, to) = match parsed {
        // `-N` is the last N bytes.
        Some(("", last)) => match number(last) {
            Some(last) => (size.saturating_sub(last), u64::MAX),
            None => return Requested::All,
        },
        Some((from, "")) => match number(from) {
            Some(from) => (from, u64::MAX),
            None => return Requested::All,
        },
        Some((from, to)) => match (number(from), number(to)) {
            (Some(from), Some(to)) if from <= to => (from, to),
            _ => return Requested::All,
        },
        None => return Requested::All,
    };
    match size.checked_sub(1) {
        Some(last) if from <= last => Requested::Range(from..=to.min(last)),
        _ => Requested::Unsatisfiable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let of = |text: &'static str, size| requested(&HeaderValue::from_static(text), size);
        assert_eq!(of("bytes=0-0", 10), Requested::Range(0..=0));
        assert_eq!(of("bytes=2-", 10), Requested::Range(2..=9));
        assert_eq!(of("bytes=-3", 10), Requested::Range(7..=9));
        assert_eq!(of("bytes=-30", 10), Requested::Range(0..=9));
        assert_eq!(
            of("bytes=5-99999999999999999999", 10),
            Requested::Range(5..=9)
        );
        assert_eq!(of("bytes=10-", 10), Requested::Unsatisfiable);
        assert_eq!(of("bytes=-0", 10), Requested::Unsatisfiable);
        assert_eq!(of("bytes=0-", 0), Requested::Unsatisfiable);
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
            assert_eq!(of(odd, 10), Requested::All, "{odd}");
        }
    }
}
