//! JSON written directly into a text, in the spelling of `serde_json`.
//!
//! Most of what a token contains is Base64, which needs no escape. A value is therefore searched in
//! chunks, which the compiler turns into vector instructions, and copied as a whole.

use std::fmt::Write as _;

/// Number of bytes that are checked for escapes at once.
const CHUNK: usize = 32;

/// Appends a JSON string.
pub(super) fn push_string(out: &mut String, text: &str) {
    out.push('"');
    push_escaped(out, text);
    out.push('"');
}

/// Appends the inner text of a JSON string.
pub(super) fn push_escaped(out: &mut String, text: &str) {
    let mut rest = text;
    while let Some(at) = first_escape(rest.as_bytes()) {
        let (plain, tail) = rest.split_at(at);
        out.push_str(plain);
        let mut tail = tail.chars();
        match tail.next() {
            Some('"') => out.push_str("\\\""),
            Some('\\') => out.push_str("\\\\"),
            Some('\u{8}') => out.push_str("\\b"),
            Some('\t') => out.push_str("\\t"),
            Some('\n') => out.push_str("\\n"),
            Some('\u{c}') => out.push_str("\\f"),
            Some('\r') => out.push_str("\\r"),
            Some(control) => push_display(out, format_args!("\\u{:04x}", u32::from(control))),
            None => {}
        }
        rest = tail.as_str();
    }
    out.push_str(rest);
}

/// Appends a number.
pub(super) fn push_number(out: &mut String, number: impl Into<i128>) {
    push_display(out, format_args!("{}", number.into()));
}

fn push_display(out: &mut String, text: std::fmt::Arguments<'_>) {
    #[expect(clippy::expect_used, reason = "writing to a `String` does not fail")]
    out.write_fmt(text).expect("a string takes any text");
}

/// Returns the position of the first character that JSON escapes, which is one byte long.
fn first_escape(bytes: &[u8]) -> Option<usize> {
    let is_escaped = |byte: &u8| *byte < b' ' || *byte == b'"' || *byte == b'\\';
    let (chunks, _) = bytes.as_chunks::<CHUNK>();
    let plain = chunks.iter().position(|chunk| {
        // Without an early return, so that the bytes are compared together.
        let escapes = chunk.iter().map(|byte| u8::from(is_escaped(byte)));
        escapes.fold(0, |found, escape| found | escape) != 0
    });
    let start = plain.unwrap_or(chunks.len()) * CHUNK;
    let rest = bytes.get(start..).unwrap_or_default();
    Some(start + rest.iter().position(is_escaped)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn string(text: &str) -> String {
        let mut out = String::new();
        push_string(&mut out, text);
        out
    }

    #[test]
    fn every_character_is_written_as_serde_json_writes_it() {
        for character in (0..=0x2100).filter_map(char::from_u32) {
            for text in [
                character.to_string(),
                format!("{}{character}{character}a", "x".repeat(CHUNK - 1)),
            ] {
                assert_eq!(string(&text), serde_json::to_string(&text).unwrap());
            }
        }
        for number in [0, 1, i64::MIN, i64::MAX] {
            let mut out = String::new();
            push_number(&mut out, number);
            assert_eq!(out, number.to_string());
        }
        let mut out = String::new();
        push_number(&mut out, u64::MAX);
        assert_eq!(out, u64::MAX.to_string());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1024))]

        #[test]
        fn any_text_is_written_as_serde_json_writes_it(
            text in "([a-zA-Z0-9+/=]{0,40}|[\\x00-\\x7f]{0,3}|[aé中\u{2028}]{0,5}|[\"\\\\]){0,6}"
        ) {
            prop_assert_eq!(string(&text), serde_json::to_string(&text).unwrap());
        }
    }
}
