//! Response parts that several operations share: empty responses, checksum headers and times.

use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use jiff::{Timestamp, fmt::rfc2822::DateTimePrinter};

use crate::{
    body::EmulatorBody,
    object::{Description, Record},
    restoration::{Phase, Restoration},
};

/// Creates a response without a body.
pub(crate) fn empty(status: StatusCode) -> Response<EmulatorBody> {
    let mut response = Response::new(EmulatorBody::empty());
    *response.status_mut() = status;
    response
}

/// Creates a 200 response with a body of this type.
pub(crate) fn typed(body: Bytes, content_type: &'static str) -> Response<EmulatorBody> {
    let mut response = Response::new(EmulatorBody::from(body));
    let content_type = HeaderValue::from_static(content_type);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    response
}

/// Inserts a header, unless the value is one that HTTP cannot carry.
pub(crate) fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = value.parse() {
        headers.insert(name, value);
    }
}

/// Inserts `ETag`, `x-oss-hash-crc64ecma` and `Content-MD5`.
///
/// An object uploaded in parts or by appending has no `Content-MD5`: OSS never computes the MD5 of
/// its content.
pub(crate) fn insert_checksums(headers: &mut HeaderMap, record: &Record) {
    let content = &record.content;
    insert(headers, header::ETAG, &format!("\"{}\"", content.etag()));
    let crc64 = HeaderName::from_static("x-oss-hash-crc64ecma");
    insert(headers, crc64, &content.crc64.to_string());
    if let Some(md5) = record.content_md5() {
        insert(headers, HeaderName::from_static("content-md5"), &md5);
    }
}

/// Inserts how the object is encrypted.
pub(crate) fn insert_encryption(headers: &mut HeaderMap, description: &Description) {
    headers.extend(description.encryption());
}

/// Returns what `x-oss-restore` and listings show of a restoration, unless it has expired.
pub(crate) fn restore_info(restoration: &Restoration, now: SystemTime) -> Option<String> {
    restoration.phase(now).map(|phase| match phase {
        Phase::Ongoing(_) => "ongoing-request=\"true\"".to_owned(),
        Phase::Restored => format!(
            "ongoing-request=\"false\", expiry-date=\"{}\"",
            http_date(restoration.expires())
        ),
    })
}

/// Formats a time for `Date` and `Last-Modified` (RFC 9110); empty if it is out of range.
pub(crate) fn http_date(time: SystemTime) -> String {
    Timestamp::try_from(time)
        .ok()
        .and_then(|time| {
            DateTimePrinter::new()
                .timestamp_to_rfc9110_string(&time)
                .ok()
        })
        .unwrap_or_default()
}

/// Formats a time for an XML listing, as in `2014-12-01T12:00:00.000Z`; empty if it is out of
/// range.
pub(crate) fn iso8601(time: SystemTime) -> String {
    Timestamp::try_from(time)
        .map(iso8601_of)
        .unwrap_or_default()
}

/// The same for a time of another type.
pub(crate) fn iso8601_of(time: Timestamp) -> String {
    // Whole seconds: Python's `oss2` parses no fraction other than `.000`.
    let time = Timestamp::from_second(time.as_second());
    time.map(|time| format!("{time:.3}")).unwrap_or_default()
}
