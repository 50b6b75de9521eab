//! Signing one request by hand, for the tests of this repository.

use std::time::SystemTime;

use http::{HeaderMap, HeaderName, Method, Uri, header::InvalidHeaderValue};

use super::Credentials;
use crate::{
    protocol::{Bucket, Region},
    sign::{
        request::{RequestLine, RequestSigner, encode_key, encode_query},
        v4::DayKeys,
    },
};

/// A request, and the instant and region that it is signed for.
#[derive(Clone, Debug)]
#[allow(clippy::exhaustive_structs, reason = "only for tests")]
pub struct ToSign<'a> {
    /// When it is signed.
    pub at: SystemTime,
    /// The region of the bucket.
    pub region: &'a Region,
    /// The method.
    pub method: &'a Method,
    /// The bucket.
    pub bucket: &'a Bucket,
    /// The object key, not encoded.
    pub key: &'a str,
    /// Names and values of the query, not encoded.
    pub query: &'a [(&'a str, &'a str)],
    /// Headers that are signed although they need not be.
    pub additional: &'a [HeaderName],
}

impl ToSign<'_> {
    /// Returns the URL of the request without a signature, at this authority.
    ///
    /// # Errors
    ///
    /// Fails if the URL is too long.
    pub fn url(&self, authority: &str) -> Result<Uri, http::Error> {
        let (path, query) = (encode_key(self.key), encode_query(self.query));
        let mark = if query.is_empty() { "" } else { "?" };
        Ok(format!("http://{authority}/{path}{mark}{query}").parse()?)
    }
}

fn with<T>(
    credentials: &Credentials,
    request: &ToSign<'_>,
    sign: impl FnOnce(&RequestSigner<'_>, RequestLine<'_>) -> T,
) -> Option<T> {
    let keys = DayKeys::default();
    let access_key = credentials.access_key();
    let signer = RequestSigner::new(&keys, access_key, request.region, request.at)?;
    let line = RequestLine {
        method: request.method,
        bucket: request.bucket,
        key: request.key,
        query: request.query,
    };
    Some(sign(&signer, line))
}

/// Adds the headers of a signature. Returns `None` if the time cannot be expressed.
///
/// # Errors
///
/// Fails if the credentials contain characters that a header cannot have.
pub fn sign_headers(
    credentials: &Credentials,
    request: &ToSign<'_>,
    headers: &mut HeaderMap,
) -> Option<Result<(), InvalidHeaderValue>> {
    with(credentials, request, |signer, line| {
        signer.sign_headers(line, request.additional, headers)
    })
}

/// Returns the query of a signed URL, valid for this number of seconds. Returns `None` if the time
/// cannot be expressed.
#[must_use]
pub fn sign_query(
    credentials: &Credentials,
    request: &ToSign<'_>,
    headers: &HeaderMap,
    seconds: u32,
) -> Option<String> {
    with(credentials, request, |signer, line| {
        signer.sign_query(line, request.additional, headers, seconds)
    })
}
