//! The headers OSS puts on a callback.
//!
//! None of them is covered by the signature: only `Authorization` and `x-oss-pub-key-url` take part in
//! checking it, everything else is a hint that anybody could have written.

use http::HeaderName;

/// `x-oss-pub-key-url`: Base64 of the URL of the public key the callback was signed with.
pub const X_OSS_PUB_KEY_URL: HeaderName = HeaderName::from_static("x-oss-pub-key-url");

/// `x-oss-signature-version`: the version of the callback signature; `1.0`, or absent.
pub const X_OSS_SIGNATURE_VERSION: HeaderName = HeaderName::from_static("x-oss-signature-version");

/// `x-oss-bucket`: the bucket the object was stored in.
pub const X_OSS_BUCKET: HeaderName = HeaderName::from_static("x-oss-bucket");

/// `x-oss-owner`: the account that owns the bucket.
pub const X_OSS_OWNER: HeaderName = HeaderName::from_static("x-oss-owner");

/// `x-oss-requester`: the account that uploaded the object.
pub const X_OSS_REQUESTER: HeaderName = HeaderName::from_static("x-oss-requester");

/// `x-oss-request-id`: the id of the upload request.
pub const X_OSS_REQUEST_ID: HeaderName = HeaderName::from_static("x-oss-request-id");

/// `x-oss-tag`: `CALLBACK`.
pub const X_OSS_TAG: HeaderName = HeaderName::from_static("x-oss-tag");

/// `x-oss-additional-headers`: the names of headers the uploader asked OSS to add; often present and empty.
pub const X_OSS_ADDITIONAL_HEADERS: HeaderName =
    HeaderName::from_static("x-oss-additional-headers");
