//! `ListLiveChannel`.
//!
//! A bucket has none, because the emulator creates none. The suite of `oss2` lists them before it
//! deletes a bucket.

use http::Response;
use serde::Serialize;

use crate::{
    body::EmulatorBody,
    context::RequestContext,
    errors::{self, OssError},
    xml,
};

/// Page size without `max-keys`.
const DEFAULT_KEYS: u16 = 100;
const MAX_KEYS: u16 = 1000;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Listing<'a> {
    prefix: &'a str,
    marker: &'a str,
    max_keys: u16,
    is_truncated: bool,
}

/// Returns an empty listing.
pub(super) fn run(context: &RequestContext<'_>) -> Result<Response<EmulatorBody>, OssError> {
    let get = |name| context.query.get(name).unwrap_or_default();
    let max_keys = match get("max-keys") {
        "" => DEFAULT_KEYS,
        max => max
            .parse()
            .ok()
            .filter(|max| (1..=MAX_KEYS).contains(max))
            .ok_or(errors::MAX_KEYS)?,
    };
    let listing = Listing {
        prefix: get("prefix"),
        marker: get("marker"),
        max_keys,
        is_truncated: false,
    };
    xml::response("ListLiveChannelResult", &listing)
}
