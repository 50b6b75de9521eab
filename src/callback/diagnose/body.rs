//! The bodies that OSS may have signed.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt::{self, Write as _},
    str,
};

use percent_encoding::{AsciiSet, percent_decode, utf8_percent_encode};
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::protocol::percent::{self, UNRESERVED};

/// The longest body that is rewritten. OSS generates it from at most 5 KiB of callback parameters,
/// so nearly all bodies are shorter.
const MAX_REWRITTEN: usize = 16 * 1024;

/// The characters that `application/x-www-form-urlencoded` escapes (URL Standard). A space becomes
/// `+` in a later step.
const FORM: &AsciiSet = &UNRESERVED.remove(b'*').add(b'~');

macro_rules! bodies {
    ($($(#[$doc:meta])* $body:ident, $text:literal;)*) => {
        /// A body that OSS may have signed: the change that turns the received body into it.
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
    /// The body as received.
    AsReceived, "the received body";
    /// With a line ending appended: LF or CRLF.
    LineEndAdded, "the received body with a line ending appended";
    /// Without the last line ending.
    LineEndRemoved, "the received body without its last line ending";
    /// With LF for each CRLF.
    LineFeeds, "the received body with LF for each CRLF";
    /// With CRLF for each LF.
    CarriageReturns, "the received body with CRLF for each LF";
    /// JSON without whitespace, as JavaScript and Go write it.
    JsonCompact, "the received JSON without spaces";
    /// JSON with a space after each `,` and `:`, as Python writes it.
    JsonSpaced, "the received JSON with a space after each , and :";
    /// JSON with a space after each `,` or after each `:`, but not both.
    JsonHalfSpaced, "the received JSON with a space after each , or each :";
    /// JSON with the outermost keys sorted.
    JsonSorted, "the received JSON with its keys sorted";
    /// JSON with other escapes in its strings: `/` or `\/`, `中` or `\u4e2d`.
    JsonReescaped, "the received JSON with its strings escaped in another way";
    /// A form with `+` for each `%20`.
    FormPlus, "the received form with + for each %20";
    /// A form with `%20` for each `+`.
    FormPercent20, "the received form with %20 for each +";
    /// A form after decoding.
    FormDecoded, "the received form, decoded";
    /// A form whose names and values are decoded and encoded again.
    FormReencoded, "the received form with its values encoded again";
    /// A form with the hex digits of its escapes in the other case, upper or lower.
    FormHexCase, "the received form with its escapes in the other case";
    /// A form with its pairs sorted.
    FormSorted, "the received form with its pairs sorted";
}

/// Returns the bodies, other than the received one, that OSS may have signed, and whether a limit
/// omitted some.
pub(super) fn candidates(body: &[u8]) -> (Vec<(BodyCandidate, Vec<u8>)>, bool) {
    if body.len() > MAX_REWRITTEN {
        return (Vec::new(), true);
    }
    let mut candidates: Vec<(BodyCandidate, Vec<u8>)> = Vec::new();
    let mut take = |candidate, text: Vec<u8>| {
        // A duplicate would use up one of the limited texts.
        if text != body && !candidates.iter().any(|(_, known)| *known == text) {
            candidates.push((candidate, text));
        }
    };
    line_ends(body, &mut take);
    // The content type is not signed and may itself have been changed, so only the bytes decide.
    if is_json(body) {
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
        take(candidate, rewrite(body, spacing, Strings::AsTheyAre));
    }
    // A map that is not ordered by insertion, as in Go, sorts the keys. Which whitespace the
    // original had is lost, so only the two common styles are tried.
    if let Some(sorted) = sort_keys(body) {
        for spacing in [Spacing::COMPACT, Spacing::SPACED] {
            let text = rewrite(&sorted, spacing, Strings::AsTheyAre);
            take(Body::JsonSorted, text);
        }
    }
    for strings in [Strings::Plain, Strings::Ascii, Strings::EscapedSlashes] {
        for spacing in [Spacing::AS_IT_IS, Spacing::COMPACT, Spacing::SPACED] {
            take(Body::JsonReescaped, rewrite(body, spacing, strings));
        }
    }
}

fn as_form(body: &str, take: &mut impl FnMut(BodyCandidate, Vec<u8>)) {
    use BodyCandidate as Body;
    take(Body::FormPlus, body.replace("%20", "+").into_bytes());
    take(Body::FormPercent20, body.replace('+', "%20").into_bytes());
    // Decoders disagree on `+`: in a form it is a space, in a URI it is itself.
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
        // `%` is escaped too, so every `%20` here is a space.
        encoded.replace("%20", "+")
    });
    take(Body::FormReencoded, encoded.into_bytes());
    for change in [u8::to_ascii_uppercase, u8::to_ascii_lowercase] {
        take(
            Body::FormHexCase,
            percent::map_hex_digits(body.as_bytes(), change),
        );
    }
    let mut pairs: Vec<&str> = body.split('&').collect();
    pairs.sort_unstable();
    take(Body::FormSorted, pairs.join("&").into_bytes());
}

/// Decodes and encodes the name and value of each pair.
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

fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(text).is_ok()
}

/// The whitespace outside of strings: whether there is a space after each comma and colon. `None`
/// keeps it as it is.
#[derive(Clone, Copy)]
struct Spacing(Option<(bool, bool)>);

impl Spacing {
    const AS_IT_IS: Self = Self(None);
    const COMPACT: Self = Self(Some((false, false)));
    const AFTER_COMMAS: Self = Self(Some((true, false)));
    const AFTER_COLONS: Self = Self(Some((false, true)));
    const SPACED: Self = Self(Some((true, true)));
}

/// How the strings are escaped.
#[derive(Clone, Copy)]
enum Strings {
    AsTheyAre,
    /// Only the characters that must be escaped.
    Plain,
    /// And all non-ASCII characters, as in Python.
    Ascii,
    /// And all non-ASCII characters and each slash, as in PHP.
    EscapedSlashes,
}

/// Rewrites valid JSON as another serializer would: with other whitespace and escapes, but the same
/// order and the same number literals.
///
/// A parser would lose the spelling of numbers, such as `1.50`, so this works on the text.
fn rewrite(json: &[u8], spacing: Spacing, strings: Strings) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len());
    let mut rest = json;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        match (byte, spacing.0) {
            (b'"', _) => {
                let (string, tail) = tail.split_at(string_len(tail));
                rest = tail;
                write_string(string, strings, &mut out);
            }
            (b' ' | b'\t' | b'\n' | b'\r', Some(_)) => {}
            (b',', Some((true, _))) => out.extend(b", "),
            (b':', Some((_, true))) => out.extend(b": "),
            _ => out.push(*byte),
        }
    }
    out
}

/// Returns the length of a string after its opening quote, including the closing quote.
fn string_len(tail: &[u8]) -> usize {
    let mut escaped = false;
    for (at, byte) in tail.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    tail.len()
}

/// Writes a string. `string` starts after its opening quote.
fn write_string(string: &[u8], strings: Strings, out: &mut Vec<u8>) {
    let quoted = [b"\"", string].concat();
    let text = match strings {
        Strings::AsTheyAre => None,
        Strings::Plain | Strings::Ascii | Strings::EscapedSlashes => {
            serde_json::from_slice::<String>(&quoted).ok()
        }
    };
    // serde_json writes only the escapes that JSON requires; the loop below adds the others.
    let Some(plain) = text.and_then(|text| serde_json::to_string(&text).ok()) else {
        out.extend(quoted);
        return;
    };
    let mut written = String::with_capacity(plain.len());
    for char in plain.chars() {
        match (char, strings) {
            ('/', Strings::EscapedSlashes) => written.push_str("\\/"),
            (other, Strings::Ascii | Strings::EscapedSlashes) if !other.is_ascii() => {
                let mut units = [0; 2];
                for unit in other.encode_utf16(&mut units) {
                    // Writing to a `String` cannot fail.
                    let _ = write!(written, "\\u{unit:04x}");
                }
            }
            (other, _) => written.push(other),
        }
    }
    out.extend(written.into_bytes());
}

/// Sorts the outermost keys of an object, and keeps the text of its values. Returns `None` for
/// anything other than an object.
fn sort_keys(json: &[u8]) -> Option<Vec<u8>> {
    let object: BTreeMap<String, &RawValue> = serde_json::from_slice(json).ok()?;
    serde_json::to_vec(&object).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn rewritten(json: &str, spacing: Spacing, strings: Strings) -> String {
        String::from_utf8(rewrite(json.as_bytes(), spacing, strings)).unwrap()
    }

    #[test]
    fn spaces_change_outside_of_strings_only() {
        let json = "{ \"a,\\\" b:\" :\n[1.50,\t2e3],\"c\":\"\\\\\"}";
        for (spacing, expected) in [
            (Spacing::AS_IT_IS, json),
            (Spacing::COMPACT, r#"{"a,\" b:":[1.50,2e3],"c":"\\"}"#),
            (Spacing::SPACED, r#"{"a,\" b:": [1.50, 2e3], "c": "\\"}"#),
            (
                Spacing::AFTER_COMMAS,
                r#"{"a,\" b:":[1.50, 2e3], "c":"\\"}"#,
            ),
            (
                Spacing::AFTER_COLONS,
                r#"{"a,\" b:": [1.50,2e3],"c": "\\"}"#,
            ),
        ] {
            assert_eq!(rewritten(json, spacing, Strings::AsTheyAre), expected);
        }
    }

    #[test]
    fn strings_change_their_escapes_only() {
        let json = r#"{"a": "x\/\u4e2d\n/😀"}"#;
        for (strings, expected) in [
            (Strings::AsTheyAre, json),
            (Strings::Plain, r#"{"a": "x/中\n/😀"}"#),
            (Strings::Ascii, r#"{"a": "x/\u4e2d\n/\ud83d\ude00"}"#),
            (
                Strings::EscapedSlashes,
                r#"{"a": "x\/\u4e2d\n\/\ud83d\ude00"}"#,
            ),
        ] {
            assert_eq!(rewritten(json, Spacing::AS_IT_IS, strings), expected);
        }
    }

    #[test]
    fn sorting_keeps_the_values() {
        let sorted = sort_keys(br#"{"b":1.0,"a":{"d":1,"c":2}}"#).unwrap();
        assert_eq!(sorted, br#"{"a":{"d":1,"c":2},"b":1.0}"#);
        assert_eq!(sort_keys(b"[1]"), None);
    }

    /// Generates only integers: a fraction may change when it is parsed and written again.
    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "\\PC{0,8}".prop_map(Value::from),
            "[\"\\\\/\n\u{0}\u{7f}\u{e4}\u{1f600}]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[ ,:\"\\PC]{0,4}", inner, 0..4)
                    .prop_map(|members| members.into_iter().collect()),
            ]
        })
    }

    const SPACINGS: [Spacing; 5] = [
        Spacing::AS_IT_IS,
        Spacing::COMPACT,
        Spacing::AFTER_COMMAS,
        Spacing::AFTER_COLONS,
        Spacing::SPACED,
    ];
    const STRINGS: [Strings; 4] = [
        Strings::AsTheyAre,
        Strings::Plain,
        Strings::Ascii,
        Strings::EscapedSlashes,
    ];

    proptest! {
        #[test]
        fn rewriting_keeps_what_it_means(json in any_json(), pretty: bool) {
            let text = match pretty {
                true => serde_json::to_vec_pretty(&json).unwrap(),
                false => serde_json::to_vec(&json).unwrap(),
            };
            for spacing in SPACINGS {
                for strings in STRINGS {
                    let rewritten = rewrite(&text, spacing, strings);
                    prop_assert_eq!(&serde_json::from_slice::<Value>(&rewritten).unwrap(), &json);
                }
            }
        }

        /// Any text may be passed. Valid JSON stays valid; invalid JSON may become valid, as `1 0`
        /// does.
        #[test]
        fn rewriting_never_panics(text in "[\\[\\]{},:\"\\\\ u0-9a-f/\u{e4}]{0,40}") {
            for strings in STRINGS {
                let rewritten = rewrite(text.as_bytes(), Spacing::SPACED, strings);
                prop_assert!(!is_json(text.as_bytes()) || is_json(&rewritten));
            }
        }
    }
}
