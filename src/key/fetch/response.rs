//! The request for a key file and the answer to it.

use std::{error::Error, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, Request, Response, StatusCode,
    header::{ACCEPT_ENCODING, CONTENT_ENCODING, RETRY_AFTER, USER_AGENT},
};
use http_body::Body;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use super::{
    MAX_FILE_LEN,
    error::{FetchError, FetchErrorKind as Kind},
};
use crate::key::KeyUrl;

pub(super) fn request<B: Default>(url: &KeyUrl) -> Result<Request<B>, FetchError> {
    Request::get(url.to_string())
        .header(
            USER_AGENT,
            concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")),
        )
        .header(ACCEPT_ENCODING, "identity")
        .body(B::default())
        .map_err(|why| FetchError::with_source(Kind::Connect, why))
}

/// Takes an answer of status 200 that is small and not compressed, and nothing else.
pub(super) async fn read<B>(response: Response<B>) -> Result<Bytes, FetchError>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let (head, body) = response.into_parts();
    if head.status != StatusCode::OK {
        let error = FetchError::from_status(head.status);
        return Err(match retry_after(&head.headers) {
            Some(time) => error.with_retry_after(time),
            None => error,
        });
    }
    let mut codings = head.headers.get_all(CONTENT_ENCODING).iter();
    if codings.any(|coding| coding != "identity") {
        return Err(FetchError::new(Kind::Encoding));
    }
    let most = u64::try_from(MAX_FILE_LEN).unwrap_or(u64::MAX);
    if body.size_hint().lower() > most {
        return Err(FetchError::new(Kind::TooLarge));
    }
    match Limited::new(body, MAX_FILE_LEN).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(FetchError::new(Kind::TooLarge)),
        Err(error) => Err(FetchError::with_source(Kind::Interrupted, error)),
    }
}

/// In seconds (RFC 9110 section 10.2.3); a date would have us trust two clocks.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}
