//! The JSON of policies, including what older SDKs write.

use std::borrow::Cow;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::Value;

use crate::errors::{OssError, POLICY};

/// The members of an object in order, including duplicates.
pub(super) struct Members(pub(super) Vec<(String, Value)>);

/// Parses the text of a policy.
///
/// Older SDKs write a dollar as `\$`, which is not valid JSON but which OSS accepts. Error messages
/// are those of OSS.
pub(super) fn parse(text: &str) -> Result<Members, OssError> {
    let text = with_legal_dollars(text);
    serde_json::from_str(&text).map_err(|error| {
        let message = error.to_string();
        // serde_json exposes the category and the position of an error, but not its kind.
        let what = if message.starts_with("expected `,` or `]`") {
            ", or ] expected".to_owned()
        } else {
            let line = text.lines().nth(error.line().saturating_sub(1));
            let at = line.and_then(|line| line.get(error.column().saturating_sub(1)..));
            match at.and_then(|rest| rest.chars().next()) {
                Some(c) if !error.is_eof() => format!("unknown char {c}"),
                _ => "unexpected end".to_owned(),
            }
        };
        POLICY.with_message(format!("Invalid Policy: Invalid JSON: {what}"))
    })
}

/// Doubles the backslash of each `\$`.
fn with_legal_dollars(text: &str) -> Cow<'_, str> {
    if !text.contains(r"\$") {
        return text.into();
    }
    let mut legal = String::with_capacity(text.len() + 8);
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        legal.push(c);
        if c == '\\' {
            match rest.next() {
                Some('$') => legal.push_str(r"\$"),
                // Copied as a pair, so that the second backslash of `\\$` begins no escape.
                Some(escaped) => legal.push(escaped),
                None => {}
            }
        }
    }
    legal.into()
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Members;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                // A map would drop duplicates.
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dollar_may_be_escaped_either_way() {
        for (text, value) in [
            (r#"{"a":"\${f}"}"#, r"\${f}"),
            (r#"{"a":"\\${f}"}"#, r"\${f}"),
            (r#"{"a":"\\\\\$"}"#, r"\\\$"),
            (r#"{"a":"${f}"}"#, "${f}"),
        ] {
            assert_eq!(parse(text).unwrap().0[0].1, value, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_as_oss_says_it() {
        for (text, what) in [
            (r#"{"a":[1 2]}"#, ", or ] expected"),
            ("{e}", "unknown char e"),
            ("{\"a\":\n\u{e9}}", "unknown char \u{e9}"),
            ("{\"a\":\"b", "unexpected end"),
            ("", "unexpected end"),
        ] {
            let error = parse(text).err().unwrap();
            assert_eq!(
                error.message(),
                format!("Invalid Policy: Invalid JSON: {what}"),
                "{text}"
            );
        }
    }
}
