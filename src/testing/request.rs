//! The request, with everything that OSS puts into it.

use std::{
    error::Error,
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{
    HeaderName, Request, Uri, header,
    uri::{Parts as UriParts, PathAndQuery},
};
use jiff::{Timestamp, fmt::rfc2822::DateTimePrinter};
use md5::{Digest as _, Md5};

use super::signer::CallbackSigner;
use crate::protocol::{
    CallbackBodyType,
    header::{
        X_OSS_ADDITIONAL_HEADERS, X_OSS_BUCKET, X_OSS_OWNER, X_OSS_PUB_KEY_URL, X_OSS_REQUEST_ID,
        X_OSS_REQUESTER, X_OSS_SIGNATURE_VERSION, X_OSS_TAG,
    },
};

const KEY_URL: &str = "https://gosspublic.alicdn.com/callback_pub_key_v1.pem";

/// A callback in the making; see [`CallbackSigner::callback`].
///
/// Unless told otherwise it is an empty form, and comes from `examplebucket`.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `request` is called"]
pub struct CallbackBuilder<'a> {
    signer: &'a CallbackSigner,
    url: &'a str,
    body_type: CallbackBodyType,
    body: Bytes,
    bucket: &'a str,
    owner: &'a str,
    requester: &'a str,
    request_id: Option<&'a str>,
    time: Option<SystemTime>,
}

impl<'a> CallbackBuilder<'a> {
    pub(super) fn new(signer: &'a CallbackSigner, url: &'a str) -> Self {
        Self {
            signer,
            url,
            body_type: CallbackBodyType::Form,
            body: Bytes::new(),
            bucket: "examplebucket",
            owner: "1234567890123456",
            requester: "1234567890123456",
            request_id: None,
            time: None,
        }
    }

    /// A body of type `application/x-www-form-urlencoded`, as it stands.
    pub fn form(mut self, body: impl Into<Bytes>) -> Self {
        self.body_type = CallbackBodyType::Form;
        self.body = body.into();
        self
    }

    /// A body of type `application/json`, as it stands. OSS does not check that it is JSON, and neither does this.
    pub fn json(mut self, body: impl Into<Bytes>) -> Self {
        self.body_type = CallbackBodyType::Json;
        self.body = body.into();
        self
    }

    /// `x-oss-bucket`.
    pub fn bucket(mut self, bucket: &'a str) -> Self {
        self.bucket = bucket;
        self
    }

    /// `x-oss-owner`, the account that owns the bucket.
    pub fn owner(mut self, account: &'a str) -> Self {
        self.owner = account;
        self
    }

    /// `x-oss-requester`, the account that uploads.
    pub fn requester(mut self, account: &'a str) -> Self {
        self.requester = account;
        self
    }

    /// `x-oss-request-id`; unless given, one that begins with the time, as those of OSS do.
    pub fn request_id(mut self, id: &'a str) -> Self {
        self.request_id = Some(id);
        self
    }

    /// The time in `Date`; unless given, now.
    pub fn time(mut self, time: SystemTime) -> Self {
        self.time = Some(time);
        self
    }

    /// The request, with every header that OSS sets. The body is anything that bytes turn into: `Bytes`,
    /// `Full<Bytes>`, axum's `Body`.
    ///
    /// # Errors
    ///
    /// When the URL is none, a value cannot stand in a header, or the time is out of range.
    pub fn request<B: From<Bytes>>(self) -> Result<Request<B>, SignError> {
        let url: UriParts = self
            .url
            .parse::<Uri>()
            .map_err(|_| SignError::Url)?
            .into_parts();
        // A callback URL without a path is called at its root.
        let target = match url.path_and_query {
            // Written out, it has the slash that its text is without.
            Some(target) if target.as_str().starts_with('?') => {
                target.to_string().parse().map_err(|_| SignError::Url)?
            }
            Some(target) => target,
            None => PathAndQuery::from_static("/"),
        };
        let host = match (&url.scheme, &url.authority) {
            (Some(_), Some(authority)) => authority.as_str(),
            (None, None) if target.path().starts_with('/') => "app.example",
            _ => return Err(SignError::Url),
        };
        let time = self.time.unwrap_or_else(SystemTime::now);
        let generated;
        let request_id = match self.request_id {
            Some(id) => id,
            None => {
                generated = generated_request_id(time);
                &generated
            }
        };
        let content_type = self.body_type.as_str();
        let authorization = self.signer.authorization(&target, &self.body)?;
        let content_md5 = STANDARD.encode(Md5::digest(&self.body));
        let headers: [(HeaderName, &str); 14] = [
            (header::HOST, host),
            (header::CONNECTION, "close"),
            (header::CONTENT_LENGTH, &self.body.len().to_string()),
            (HeaderName::from_static("content-md5"), &content_md5),
            (header::CONTENT_TYPE, content_type),
            (header::DATE, &http_date(time)?),
            (header::USER_AGENT, "aliyun-oss-callback"),
            (X_OSS_ADDITIONAL_HEADERS, ""),
            (X_OSS_BUCKET, self.bucket),
            (X_OSS_OWNER, self.owner),
            (X_OSS_PUB_KEY_URL, &STANDARD.encode(KEY_URL)),
            (X_OSS_REQUEST_ID, request_id),
            (X_OSS_REQUESTER, self.requester),
            (X_OSS_SIGNATURE_VERSION, "1.0"),
        ];
        let mut request = Request::post(Uri::from(target))
            .header(header::AUTHORIZATION, authorization)
            .header(X_OSS_TAG, "CALLBACK");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        request
            .body(self.body.into())
            .map_err(|_| SignError::Header)
    }
}

/// The RFC 9110 form of a time.
fn http_date(time: SystemTime) -> Result<String, SignError> {
    let time = Timestamp::try_from(time).map_err(|_| SignError::Time)?;
    DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&time)
        .map_err(|_| SignError::Time)
}

/// 24 hex digits, of which the first eight are the time in seconds.
fn generated_request_id(time: SystemTime) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{:08X}{count:016X}", seconds.as_secs() & 0xFFFF_FFFF)
}

/// Why a callback cannot be made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SignError {
    /// The callback URL is neither absolute nor a path with query.
    Url,
    /// A value cannot stand in a header.
    Header,
    /// The time is beyond year 9999, or before year 1.
    Time,
    /// The key cannot make the signature.
    Key,
}

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Url => "the callback url is neither absolute nor a path that starts with a slash",
            Self::Header => "a value holds what cannot stand in a header",
            Self::Time => "the time cannot be written in a date header",
            Self::Key => "the key is too short for this signature",
        })
    }
}

impl Error for SignError {}
