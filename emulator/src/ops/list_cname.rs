//! `ListCname`.
//!
//! A bucket has no custom domain, because the emulator maps none.

use http::Response;
use serde::Serialize;

use crate::{body::EmulatorBody, context::RequestContext, errors::OssError, xml};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Listing<'a> {
    bucket: &'a str,
    owner: &'a str,
}

/// Returns an empty listing.
pub(super) fn run(context: &RequestContext<'_>) -> Result<Response<EmulatorBody>, OssError> {
    let listing = Listing {
        bucket: context.bucket.name.as_str(),
        owner: &context.shared.caller.owner,
    };
    xml::response("ListCnameResult", &listing)
}
