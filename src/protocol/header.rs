//! Names of the headers that OSS sets on a callback.
//!
//! The signature covers none of them. Verification uses only `Authorization` and
//! `x-oss-pub-key-url`; the sender can choose every other header freely.

use std::time::SystemTime;

use http::HeaderName;
use jiff::{Timestamp, fmt::rfc2822::DateTimePrinter};

/// `x-oss-pub-key-url`: the Base64-encoded URL of the public key that verifies the callback.
pub const X_OSS_PUB_KEY_URL: HeaderName = HeaderName::from_static("x-oss-pub-key-url");

/// `x-oss-signature-version`: the version of the callback signature; `1.0` or absent.
pub const X_OSS_SIGNATURE_VERSION: HeaderName = HeaderName::from_static("x-oss-signature-version");

/// `x-oss-bucket`: the bucket that stores the object.
pub const X_OSS_BUCKET: HeaderName = HeaderName::from_static("x-oss-bucket");

/// `x-oss-owner`: the account that owns the bucket.
pub const X_OSS_OWNER: HeaderName = HeaderName::from_static("x-oss-owner");

/// `x-oss-requester`: the account that uploaded the object.
pub const X_OSS_REQUESTER: HeaderName = HeaderName::from_static("x-oss-requester");

/// `x-oss-request-id`: the ID of the upload request.
pub const X_OSS_REQUEST_ID: HeaderName = HeaderName::from_static("x-oss-request-id");

/// `x-oss-tag`: `CALLBACK`.
pub const X_OSS_TAG: HeaderName = HeaderName::from_static("x-oss-tag");

/// `x-oss-additional-headers`: the names of headers that the uploader asked OSS to add. It is often
/// present and empty.
pub const X_OSS_ADDITIONAL_HEADERS: HeaderName =
    HeaderName::from_static("x-oss-additional-headers");

/// Formats a time for `Date` and `Last-Modified` (RFC 9110 section 5.6.7).
///
/// Returns `None` for a time outside the years 0 to 9999.
pub(crate) fn http_date(time: SystemTime) -> Option<String> {
    let time = Timestamp::try_from(time).ok()?;
    DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&time)
        .ok()
}
