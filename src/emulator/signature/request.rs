//! Where a request carries its signature.

use std::time::SystemTime;

use http::{HeaderMap, HeaderName, Method, header, request::Parts};

use super::{v1, v4};
use crate::{
    emulator::{access_key::AccessKey, address::Address, catalogue, error::OssError, query::Query},
    protocol::Region,
};

/// What a signature is made over, and what it is held to.
pub(in crate::emulator) struct SignedRequest<'a> {
    pub(in crate::emulator) parts: &'a Parts,
    pub(in crate::emulator) address: &'a Address,
    pub(in crate::emulator) query: &'a Query,
    pub(in crate::emulator) keys: &'a [AccessKey],
    pub(in crate::emulator) region: &'a Region,
    pub(in crate::emulator) now: SystemTime,
}

/// Whether a known key has signed the request; `false` if it carries no part of a signature.
pub(in crate::emulator) fn verify(request: &SignedRequest<'_>) -> Result<bool, OssError> {
    let in_query = match request.query.get("x-oss-signature-version") {
        Some(super::key::ALGORITHM) => Some(v4::in_query as Check),
        Some("OSS2") => return Err(catalogue::NOT_IMPLEMENTED),
        Some(_) => return Err(catalogue::SIGNATURE_VERSION),
        None => {
            let names = ["OSSAccessKeyId", "Signature", "Expires"];
            let any = names.into_iter().any(|name| request.query.has(name));
            any.then_some(v1::in_query as Check)
        }
    };
    let authorization = request.header(&header::AUTHORIZATION);
    match (authorization, in_query) {
        (None, None) => return Ok(false),
        (Some(_), Some(_)) => return Err(catalogue::TWO_SIGNATURES),
        (None, Some(check)) => check(request)?,
        (Some(text), None) => match text.split_once(' ') {
            Some(("OSS", rest)) => v1::in_header(request, rest)?,
            Some((super::key::ALGORITHM, rest)) => v4::in_header(request, rest)?,
            Some(("OSS2", _)) => return Err(catalogue::NOT_IMPLEMENTED),
            _ => return Err(catalogue::AUTHORIZATION),
        },
    }
    Ok(true)
}

type Check = fn(&SignedRequest<'_>) -> Result<(), OssError>;

impl<'a> SignedRequest<'a> {
    pub(super) fn method(&self) -> &Method {
        &self.parts.method
    }

    pub(super) fn headers(&self) -> &'a HeaderMap {
        &self.parts.headers
    }

    /// The first value of a header; empty if it is no text.
    pub(super) fn header(&self, name: &HeaderName) -> Option<&'a str> {
        text(self.headers(), name.as_str())
    }

    pub(super) fn bucket(&self) -> Result<&'a str, OssError> {
        self.address.bucket().map(crate::protocol::Bucket::as_str)
    }

    /// The security token of a request that is signed by a header.
    pub(super) fn token_header(&self) -> Option<&'a str> {
        text(self.headers(), "x-oss-security-token")
    }
}

pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let value = headers.get(name)?;
    Some(std::str::from_utf8(value.as_bytes()).unwrap_or_default())
}
