//! Where a request carries its signature.

use http::header;

use super::{key::ALGORITHM, request::SignedRequest, v1, v4};
use crate::{catalogue, error::OssError};

/// Whether a known key has signed the request; `false` if it carries no part of a signature.
pub(crate) fn verify(request: &SignedRequest<'_>) -> Result<bool, OssError> {
    let in_query = match request.query.get("x-oss-signature-version") {
        Some(ALGORITHM) => Some(v4::in_query as Check),
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
            Some((ALGORITHM, rest)) => v4::in_header(request, rest)?,
            Some(("OSS2", _)) => return Err(catalogue::NOT_IMPLEMENTED),
            _ => return Err(catalogue::AUTHORIZATION),
        },
    }
    Ok(true)
}

type Check = fn(&SignedRequest<'_>) -> Result<(), OssError>;
