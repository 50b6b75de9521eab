//! JSON written again, as a parser in between would have.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::de::IgnoredAny;
use serde_json::value::RawValue;

pub(super) fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(text).is_ok()
}

/// Where spaces stand outside of strings.
#[derive(Clone, Copy)]
pub(super) struct Spacing(Option<(bool, bool)>);

impl Spacing {
    pub(super) const AS_IT_IS: Self = Self(None);
    pub(super) const COMPACT: Self = Self(Some((false, false)));
    pub(super) const AFTER_COMMAS: Self = Self(Some((true, false)));
    pub(super) const AFTER_COLONS: Self = Self(Some((false, true)));
    pub(super) const SPACED: Self = Self(Some((true, true)));
}

/// How strings are written.
#[derive(Clone, Copy)]
pub(super) enum Strings {
    AsTheyAre,
    /// Only what must be escaped is.
    Plain,
    /// And all that is not ASCII, as Python does.
    Ascii,
    /// And each slash, as PHP does together with all that is not ASCII.
    EscapedSlashes,
}

/// Writes valid JSON with other spaces and strings; every number stays as it was written.
pub(super) fn rewrite(json: &[u8], spacing: Spacing, strings: Strings) -> Vec<u8> {
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

/// The length of a string behind its first quote, with its last.
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

/// Writes a string that is given without its first quote.
fn write_string(string: &[u8], strings: Strings, out: &mut Vec<u8>) {
    let quoted = [b"\"", string].concat();
    let text = match strings {
        Strings::AsTheyAre => None,
        Strings::Plain | Strings::Ascii | Strings::EscapedSlashes => {
            serde_json::from_slice::<String>(&quoted).ok()
        }
    };
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
                    // Writing to a string does not fail.
                    let _ = write!(written, "\\u{unit:04x}");
                }
            }
            (other, _) => written.push(other),
        }
    }
    out.extend(written.into_bytes());
}

/// An object with its outermost keys sorted, its values as they were written.
pub(super) fn sorted(json: &[u8]) -> Option<Vec<u8>> {
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
        let sorted = sorted(br#"{"b":1.0,"a":{"d":1,"c":2}}"#).unwrap();
        assert_eq!(sorted, br#"{"a":{"d":1,"c":2},"b":1.0}"#);
        assert_eq!(super::sorted(b"[1]"), None);
    }

    /// Numbers are whole ones: what is read of a fraction need not be what was written.
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

        /// Whatever it is given, JSON or not; what is none may become some, as `1 0` does.
        #[test]
        fn rewriting_never_panics(text in "[\\[\\]{},:\"\\\\ u0-9a-f/\u{e4}]{0,40}") {
            for strings in STRINGS {
                let rewritten = rewrite(text.as_bytes(), Spacing::SPACED, strings);
                prop_assert!(!is_json(text.as_bytes()) || is_json(&rewritten));
            }
        }
    }
}
