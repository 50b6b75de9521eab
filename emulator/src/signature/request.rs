//! A request, as its signature sees it.

use std::time::SystemTime;

use http::{HeaderMap, HeaderName, Method, request::Parts};

use crate::{access_key::AccessKey, address::Address, error::OssError, query::Query};
use tower_aliyun_oss::protocol::Region;

/// What a signature is made over, and what it is held to.
pub(crate) struct SignedRequest<'a> {
    pub(crate) parts: &'a Parts,
    pub(crate) address: &'a Address,
    pub(crate) query: &'a Query,
    pub(crate) keys: &'a [AccessKey],
    pub(crate) region: &'a Region,
    pub(crate) now: SystemTime,
}

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
        self.address
            .bucket()
            .map(tower_aliyun_oss::protocol::Bucket::as_str)
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
