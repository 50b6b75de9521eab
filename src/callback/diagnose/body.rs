//! The bodies that are tried.

use std::{borrow::Cow, fmt, str};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};

use super::{
    json::{self, Spacing, Strings},
    percent,
};

/// The longest body that others are made of. OSS makes one of 5 KiB of callback parameters, so nearly all are shorter.
const MAX_REWRITTEN: usize = 16 * 1024;

/// What `application/x-www-form-urlencoded` leaves as it is (URL Standard), and RFC 3986.
const FORM: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'*')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_');
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

macro_rules! bodies {
    ($($(#[$doc:meta])* $body:ident, $text:literal;)*) => {
        /// A body that OSS may have signed: what would have to be done to the one received.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        #[non_exhaustive]
        pub enum BodyCandidate {
            $($(#[$doc])* $body,)*
        }

        impl fmt::Display for BodyCandidate {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$body => $text,)*
                })
            }
        }
    };
}

bodies! {
    /// Nothing: the body is as it was.
    AsReceived, "the body received";
    /// A line end at its end: LF or CRLF.
    LineEndAdded, "the body received with a line end behind it";
    /// Its last line end removed.
    LineEndRemoved, "the body received without the line end behind it";
    /// LF for each CRLF.
    LineFeeds, "the body received with LF for each CRLF";
    /// CRLF for each LF.
    CarriageReturns, "the body received with CRLF for each LF";
    /// JSON without a space, as JavaScript and Go write it.
    JsonCompact, "the JSON received without spaces";
    /// JSON with a space behind each `,` and `:`, as Python writes it.
    JsonSpaced, "the JSON received with a space behind each , and :";
    /// JSON with a space behind each `,` or each `:`, but not both.
    JsonHalfSpaced, "the JSON received with a space behind each , or each :";
    /// JSON with the outermost keys in order.
    JsonSorted, "the JSON received with its keys sorted";
    /// JSON with its strings escaped in another way: `/` and `\/`, `中` and `\u4e2d`.
    JsonReescaped, "the JSON received with its strings escaped in another way";
    /// A form with `+` for each `%20`.
    FormPlus, "the form received with + for each %20";
    /// A form with `%20` for each `+`.
    FormPercent20, "the form received with %20 for each +";
    /// A form decoded.
    FormDecoded, "the form received, decoded";
    /// A form whose values are decoded and encoded again.
    FormReencoded, "the form received with its values encoded again";
    /// A form with its escapes in the other case, upper or lower.
    FormHexCase, "the form received with its escapes in the other case";
    /// A form with its pairs in order.
    FormSorted, "the form received with its pairs sorted";
}

/// The bodies that OSS may have signed other than the one received, and whether there were more.
pub(super) fn candidates(body: &[u8]) -> (Vec<(BodyCandidate, Vec<u8>)>, bool) {
    if body.len() > MAX_REWRITTEN {
        return (Vec::new(), true);
    }
    let mut candidates: Vec<(BodyCandidate, Vec<u8>)> = Vec::new();
    let mut take = |candidate, text: Vec<u8>| {
        if text != body && !candidates.iter().any(|(_, known)| *known == text) {
            candidates.push((candidate, text));
        }
    };
    line_ends(body, &mut take);
    // The content type is not signed, and may be what was changed.
    if json::is_json(body) {
        as_json(body, &mut take);
    } else if let Ok(text) = str::from_utf8(body)
        && !text.is_empty()
    {
        as_form(text, &mut take);
    }
    (candidates, false)
}

fn line_ends(body: &[u8], take: &mut impl FnMut(BodyCandidate, Vec<u8>)) {
    if let Some(shorter) = body.strip_suffix(b"\n") {
        take(BodyCandidate::LineEndRemoved, shorter.to_vec());
        if let Some(shorter) = shorter.strip_suffix(b"\r") {
            take(BodyCandidate::LineEndRemoved, shorter.to_vec());
        }
    }
    take(BodyCandidate::LineEndAdded, [body, b"\n"].concat());
    take(BodyCandidate::LineEndAdded, [body, b"\r\n"].concat());
    let mut line_feeds = Vec::with_capacity(body.len());
    for (at, &byte) in body.iter().enumerate() {
        if byte != b'\r' || body.get(at + 1) != Some(&b'\n') {
            line_feeds.push(byte);
        }
    }
    let carriage_returns = line_feeds
        .iter()
        .flat_map(|&byte| {
            let line_end: &[u8] = if byte == b'\n' { b"\r\n" } else { &[] };
            let other = (byte != b'\n').then_some(byte);
            line_end.iter().copied().chain(other)
        })
        .collect();
    take(BodyCandidate::LineFeeds, line_feeds);
    take(BodyCandidate::CarriageReturns, carriage_returns);
}

fn as_json(body: &[u8], take: &mut impl FnMut(BodyCandidate, Vec<u8>)) {
    use BodyCandidate as Body;
    let spacings = [
        (Body::JsonCompact, Spacing::COMPACT),
        (Body::JsonSpaced, Spacing::SPACED),
        (Body::JsonHalfSpaced, Spacing::AFTER_COMMAS),
        (Body::JsonHalfSpaced, Spacing::AFTER_COLONS),
    ];
    for (candidate, spacing) in spacings {
        take(candidate, json::rewrite(body, spacing, Strings::AsTheyAre));
    }
    if let Some(sorted) = json::sorted(body) {
        for spacing in [Spacing::COMPACT, Spacing::SPACED] {
            let text = json::rewrite(&sorted, spacing, Strings::AsTheyAre);
            take(Body::JsonSorted, text);
        }
    }
    for strings in [Strings::Plain, Strings::Ascii, Strings::EscapedSlashes] {
        for spacing in [Spacing::AS_IT_IS, Spacing::COMPACT, Spacing::SPACED] {
            take(Body::JsonReescaped, json::rewrite(body, spacing, strings));
        }
    }
}

fn as_form(body: &str, take: &mut impl FnMut(BodyCandidate, Vec<u8>)) {
    use BodyCandidate as Body;
    take(Body::FormPlus, body.replace("%20", "+").into_bytes());
    take(Body::FormPercent20, body.replace('+', "%20").into_bytes());
    let spaced = body.replace('+', " ");
    for text in [body, &spaced] {
        take(Body::FormDecoded, percent_decode(text.as_bytes()).collect());
    }
    let encoded = reencoded(body, |value| {
        utf8_percent_encode(value, UNRESERVED).to_string()
    });
    take(Body::FormReencoded, encoded.into_bytes());
    let encoded = reencoded(body, |value| {
        let encoded = utf8_percent_encode(value, FORM).to_string();
        encoded.replace("%20", "+")
    });
    take(Body::FormReencoded, encoded.into_bytes());
    for change in [u8::to_ascii_uppercase, u8::to_ascii_lowercase] {
        take(
            Body::FormHexCase,
            percent::with_case(body.as_bytes(), change),
        );
    }
    let mut pairs: Vec<&str> = body.split('&').collect();
    pairs.sort_unstable();
    take(Body::FormSorted, pairs.join("&").into_bytes());
}

fn reencoded(body: &str, encode: impl Fn(&str) -> String) -> String {
    let decode = |text: &str| -> String {
        let spaced = text.replace('+', " ");
        let decoded: Cow<'_, str> = percent_decode(spaced.as_bytes()).decode_utf8_lossy();
        encode(&decoded)
    };
    let pairs: Vec<String> = body
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((name, value)) => format!("{}={}", decode(name), decode(value)),
            None => decode(pair),
        })
        .collect();
    pairs.join("&")
}
