//! What the application server answered.

use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde::de::IgnoredAny;

use crate::emulator::{
    catalogue::{
        CALLBACK_ANSWER, CALLBACK_BAD_LENGTH, CALLBACK_LONG, CALLBACK_NO_LENGTH, CALLBACK_STATUS,
    },
    error::OssError,
};

/// The longest answer that is relayed.
const MAX_BODY: u64 = 1024 * 1024;

/// Status 200, a length, and JSON: anything else is a failure. The second value is the body as far as it was read.
pub(super) async fn check(response: Response<Incoming>) -> (Bytes, Result<(), OssError>) {
    let (parts, body) = response.into_parts();
    if parts.status != StatusCode::OK {
        return (Bytes::new(), Err(of_status(parts.status.as_u16())));
    }
    let length = match parts.headers.get(header::CONTENT_LENGTH) {
        None => return (Bytes::new(), Err(CALLBACK_NO_LENGTH)),
        Some(length) => length.to_str().ok().and_then(|text| text.parse().ok()),
    };
    match length {
        None | Some(0) => return (Bytes::new(), Err(CALLBACK_BAD_LENGTH)),
        Some(MAX_TOO..) => return (Bytes::new(), Err(CALLBACK_LONG)),
        Some(_) => {}
    }
    let limit = usize::try_from(MAX_BODY).unwrap_or(usize::MAX);
    match Limited::new(body, limit).collect().await {
        Ok(body) => {
            let body = body.to_bytes();
            let result = if is_json(&body) {
                Ok(())
            } else {
                Err(CALLBACK_ANSWER)
            };
            (body, result)
        }
        // Cut short.
        Err(_) => (Bytes::new(), Err(of_status(502))),
    }
}

const MAX_TOO: u64 = MAX_BODY + 1;

pub(super) fn of_status(status: u16) -> OssError {
    CALLBACK_STATUS.saying(format!("Error status : {status}."))
}

/// An object or a list. Whether OSS takes a bare number or text is not known, so this does not.
fn is_json(body: &[u8]) -> bool {
    let first = body.iter().find(|b| !b.is_ascii_whitespace());
    matches!(first, Some(b'{' | b'[')) && serde_json::from_slice::<IgnoredAny>(body).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_as_json() {
        for good in ["{}", " [1]\n", r#"{"Status":"OK"}"#] {
            assert!(is_json(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            "OK",
            "\u{feff}{}",
            "{",
            "{} {}",
            "\"ok\"",
            "1",
            "null",
            "<ok/>",
        ] {
            assert!(!is_json(bad.as_bytes()), "{bad}");
        }
    }
}
