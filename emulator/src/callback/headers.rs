//! `additionalHeaders`: headers of the uploader's own.

use http::{HeaderName, HeaderValue};
use serde_json::Value;

use crate::{
    catalogue::{
        CALLBACK_HEADER_EMPTY, CALLBACK_HEADER_KEY, CALLBACK_HEADER_PREFIX, CALLBACK_HEADER_VALUE,
        CALLBACK_HEADERS, CALLBACK_HEADERS_MANY,
    },
    error::OssError,
};

const MAX: usize = 10;

/// Reads the map. The headers of the callback itself stay what they are: the pages about it name only `x-oss-` as
/// reserved, but a second `Authorization` would make every callback unreadable.
pub(super) fn parse(value: &Value) -> Result<Vec<(HeaderName, HeaderValue)>, OssError> {
    let map = value.as_object().ok_or(CALLBACK_HEADERS)?;
    if map.len() > MAX {
        return Err(CALLBACK_HEADERS_MANY);
    }
    map.iter()
        .map(|(key, value)| {
            let value = value.as_str().ok_or(CALLBACK_HEADERS)?;
            if key.is_empty() {
                return Err(CALLBACK_HEADER_EMPTY);
            }
            let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            if !key.bytes().all(allowed) {
                return Err(CALLBACK_HEADER_KEY);
            }
            if key.starts_with("x-oss-") {
                return Err(CALLBACK_HEADER_PREFIX);
            }
            let name = key.parse().map_err(|_| CALLBACK_HEADER_KEY)?;
            let value = value.parse().map_err(|_| CALLBACK_HEADER_VALUE)?;
            Ok((name, value))
        })
        .collect()
}
