//! What the application server answered.

use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use quick_xml::{Reader, events::Event};
use serde::de::IgnoredAny;

use crate::{
    catalogue::{
        CALLBACK_ANSWER, CALLBACK_BAD_LENGTH, CALLBACK_LONG, CALLBACK_NO_LENGTH, CALLBACK_STATUS,
    },
    error::OssError,
};

/// The longest answer that is relayed.
const MAX_BODY: u64 = 1024 * 1024;

/// Status 200, a length, and JSON, or XML that says so: anything else is a failure. What comes out is the body as far as
/// it was read, and its type.
pub(super) async fn check(response: Response<Incoming>) -> (Bytes, Result<&'static str, OssError>) {
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
            let content_type = parts.headers.get(header::CONTENT_TYPE);
            let says_xml = content_type.is_some_and(|value| is_of_xml(value.as_bytes()));
            let result = if is_json(&body) {
                Ok("application/json")
            } else if says_xml && is_xml(&body) {
                Ok("application/xml")
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

fn is_of_xml(content_type: &[u8]) -> bool {
    let essence = content_type.split(|b| *b == b';').next();
    essence.is_some_and(|essence| {
        let essence = essence.trim_ascii();
        essence.eq_ignore_ascii_case(b"application/xml")
    })
}

/// Well-formed as far as elements go, and with one of them at least.
fn is_xml(body: &[u8]) -> bool {
    let mut reader = Reader::from_reader(body);
    let mut depth = 0_usize;
    let mut roots = 0_usize;
    loop {
        match reader.read_event() {
            Ok(Event::Start(_)) => {
                roots += usize::from(depth == 0);
                depth += 1;
            }
            Ok(Event::Empty(_)) => roots += usize::from(depth == 0),
            // The reader refuses an end without a start.
            Ok(Event::End(_)) => depth = depth.saturating_sub(1),
            Ok(Event::Eof) => return depth == 0 && roots == 1,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
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

    #[test]
    fn what_counts_as_xml() {
        for good in ["<a/>", "<?xml version=\"1.0\"?><a><b>1</b></a>\n"] {
            assert!(is_xml(good.as_bytes()), "{good}");
        }
        for bad in ["", "OK", "<a>", "<a></b>", "</a>", "<a/><b/>", "<a"] {
            assert!(!is_xml(bad.as_bytes()), "{bad}");
        }
        assert!(is_of_xml(b"Application/XML; charset=utf-8") && !is_of_xml(b"text/xml"));
    }
}
