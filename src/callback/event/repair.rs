//! The numbers that OSS leaves out of JSON.

use std::{borrow::Cow, iter};

use memchr::memchr2;

const NULL: &str = "null";

/// A JSON text in which every member has a value.
///
/// OSS writes an empty number as nothing at all: `{"imageInfo.height":,"imageInfo.width":}`. `null` goes where the
/// number is missing, which is where a colon outside of a string is followed by a comma or a closing brace; in valid
/// JSON it never is. Elements of arrays are left alone: in `[${size}]` an empty number leaves `[]`, which is valid
/// and means something else.
pub(super) struct Repaired<'a> {
    text: Cow<'a, str>,
    /// Where in `text` each `null` begins, ascending.
    inserted: Vec<usize>,
}

impl<'a> Repaired<'a> {
    /// One pass, without a stack; copies nothing when nothing is missing.
    pub(super) fn new(json: &'a str) -> Self {
        let mut repaired = String::new();
        let mut inserted = Vec::new();
        let mut copied = 0;
        for at in gaps(json.as_bytes()) {
            if inserted.is_empty() {
                repaired.reserve(json.len() + 4 * NULL.len());
            }
            repaired.push_str(&json[copied..at]);
            inserted.push(repaired.len());
            repaired.push_str(NULL);
            copied = at;
        }
        let text = if inserted.is_empty() {
            Cow::Borrowed(json)
        } else {
            repaired.push_str(&json[copied..]);
            Cow::Owned(repaired)
        };
        Self { text, inserted }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Where a byte of the repaired text stands in the original; a byte of a `null` stands where that was missing.
    pub(super) fn original_offset(&self, offset: usize) -> usize {
        let before = self.inserted.partition_point(|&at| at <= offset);
        match self.inserted[..before].last() {
            Some(&last) => {
                let within = (offset - last).min(NULL.len());
                offset - within - (before - 1) * NULL.len()
            }
            None => offset,
        }
    }
}

/// The offsets behind each colon whose value is missing.
fn gaps(json: &[u8]) -> impl Iterator<Item = usize> + '_ {
    let mut at = 0;
    // The offset behind the colon that is still without a value.
    let mut open = None;
    iter::from_fn(move || {
        while let Some(&byte) = json.get(at) {
            at += 1;
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' => {}
                b':' => open = Some(at),
                b',' | b'}' => {
                    if let Some(gap) = open.take() {
                        return Some(gap);
                    }
                }
                b'"' => {
                    open = None;
                    at = end_of_string(json, at);
                }
                _ => open = None,
            }
        }
        None
    })
}

/// The offset behind the quote that ends the string which goes on here.
fn end_of_string(json: &[u8], mut at: usize) -> usize {
    while let Some(next) = json.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += next;
        match json.get(at) {
            Some(b'"') => return at + 1,
            // What is escaped does not end it.
            _ => at += 2,
        }
    }
    json.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[track_caller]
    fn repairs(broken: &str, good: &str) {
        assert_eq!(Repaired::new(broken).text(), good);
    }

    #[test]
    fn missing_members_become_null() {
        repairs(r#"{"a":,"b":}"#, r#"{"a":null,"b":null}"#);
        repairs(
            "{\"a\": \t\r\n,\"b\":\n}",
            "{\"a\":null \t\r\n,\"b\":null\n}",
        );
        repairs(r#"{"é":,"b":{"c":}}"#, r#"{"é":null,"b":{"c":null}}"#);
        repairs(
            r#"[{"a":},[{"b":,"c":1}]]"#,
            r#"[{"a":null},[{"b":null,"c":1}]]"#,
        );
    }

    #[test]
    fn strings_are_left_alone() {
        for text in [
            r#"{"a":":,","b":":}"}"#,
            r#"{"a":"\":,","b":"\\\":}"}"#,
            r#"{":,":1,":}":"\\"}"#,
            r#"{"\":,":"\"\":,\":}"}"#,
        ] {
            let repaired = Repaired::new(text);
            assert!(matches!(repaired.text, Cow::Borrowed(same) if same == text));
        }
        // An even number of backslashes ends the string.
        repairs(r#"{"a":"\\","b":,"c":1}"#, r#"{"a":"\\","b":null,"c":1}"#);
    }

    #[test]
    fn nothing_else_is_repaired() {
        for text in [
            "",
            ":",
            "{\"a\":",
            "{\"a\":]",
            "[,]",
            "[1,]",
            "{,}",
            "{\"a\",}",
            "\":,",
            "{\"a\"::1}",
        ] {
            repairs(text, text);
        }
    }

    #[test]
    fn offsets_lead_back() {
        let broken = r#"{"a":,"b":}"#;
        let repaired = Repaired::new(broken);
        assert_eq!(repaired.text(), r#"{"a":null,"b":null}"#);
        let back: Vec<usize> = (0..repaired.text().len())
            .map(|at| repaired.original_offset(at))
            .collect();
        assert_eq!(
            back,
            [0, 1, 2, 3, 4, 5, 5, 5, 5, 5, 6, 7, 8, 9, 10, 10, 10, 10, 10]
        );
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            text().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(text(), inner, 0..6)
                    .prop_map(|members| members.into_iter().collect()),
            ]
        })
    }

    /// Strings full of what a repair by text would trip over.
    fn text() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            prop::sample::select(vec![
                ":,", ":}", "\":,", "\\", "\"", "{", "}", ":", ",", "null", "\n", "é"
            ])
            .prop_map(str::to_owned),
            any::<char>().prop_map(String::from),
        ];
        prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn valid_json_is_not_copied(value in json(), pretty in any::<bool>()) {
            let text = if pretty { format!("{value:#}") } else { value.to_string() };
            let repaired = Repaired::new(&text);
            prop_assert!(matches!(repaired.text, Cow::Borrowed(same) if same == text));
        }

        #[test]
        fn a_repaired_text_needs_no_repair(pieces in prop::collection::vec(text(), 0..8)) {
            let text = pieces.concat();
            let once = Repaired::new(&text);
            let twice = Repaired::new(once.text());
            prop_assert!(twice.inserted.is_empty());
            let back = (0..once.text().len()).map(|at| once.original_offset(at));
            prop_assert!(back.clone().is_sorted() && back.clone().all(|at| at < text.len()));
            let bytes = |(at, byte): (usize, u8)| text.as_bytes()[at] == byte || NULL.as_bytes().contains(&byte);
            prop_assert!(back.zip(once.text().bytes()).all(bytes));
        }
    }
}
