//! Deserializer for JSON bodies, and the repair of the invalid JSON that OSS sends.

use std::{borrow::Cow, fmt, iter, str};

use memchr::memchr2;
use serde::{
    Deserialize as _,
    de::{
        DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor,
    },
};

use super::{
    Name,
    error::{EventError, detail, field_name, unfit},
    names::Names,
};

pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, EventError> {
    let text = str::from_utf8(body).map_err(|error| EventError::NotUtf8 {
        field: None,
        offset: error.valid_up_to(),
    })?;
    let repaired = Repaired::new(text);
    check_names(&repaired)?;
    let mut json = serde_json::Deserializer::from_str(repaired.text());
    if let Ok(read) = T::deserialize(&mut json) {
        return Ok(read);
    }
    // A second time, for the field that does not fit. To follow the path costs more than to read.
    let mut json = serde_json::Deserializer::from_str(repaired.text());
    serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path();
        unfit(
            path.iter().next().map(|_| field_name(path)),
            Some(offset(error.inner(), &repaired)),
            &message(error.inner()),
        )
    })
}

/// Checks the syntax of the whole text, and that no name appears twice at the top level.
///
/// Parsers disagree on which of two values counts. The ticket and the object that this crate checks
/// must be the ones that the handler acts on, so duplicates are rejected.
///
/// This is one pass over the text. `IgnoredAny` skips values without recursion, so depth does not
/// matter.
fn check_names(repaired: &Repaired<'_>) -> Result<(), EventError> {
    let mut json = serde_json::Deserializer::from_str(repaired.text());
    let mut twice = None;
    let read = if repaired.text().trim_ascii_start().starts_with('{') {
        Distinct { twice: &mut twice }.deserialize(&mut json)
    } else {
        // An array or a scalar has no fields; the target type decides whether it fits.
        IgnoredAny::deserialize(&mut json).map(drop)
    };
    read.and_then(|()| json.end()).map_err(|error| match twice {
        Some(name) => EventError::DuplicateField {
            field: field_name(name),
            offset: offset(&error, repaired),
        },
        None => EventError::NotJson {
            offset: offset(&error, repaired),
            source: detail(message(&error)),
        },
    })
}

/// Returns the message without the position that serde_json appends, which refers to the repaired
/// text and would mislead.
fn message(error: &serde_json::Error) -> String {
    let mut text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    if text.ends_with(&place) {
        text.truncate(text.len() - place.len());
    }
    text
}

/// Returns the offset in the body of the last byte that serde_json read.
fn offset(error: &serde_json::Error, repaired: &Repaired<'_>) -> usize {
    let mut line_starts = repaired
        .text()
        .bytes()
        .enumerate()
        .filter(|&(_, byte)| byte == b'\n')
        .map(|(at, _)| at + 1);
    let line_start = match error.line() {
        0 | 1 => 0,
        line => line_starts.nth(line - 2).unwrap_or_default(),
    };
    // Columns count from 1; column 0 of a line is the line feed before it.
    repaired.original_offset((line_start + error.column()).saturating_sub(1))
}

/// Compares the names at the top level, decoded, so that `"\u0061"` equals `"a"`.
struct Distinct<'n> {
    twice: &'n mut Option<String>,
}

impl<'de> DeserializeSeed<'de> for Distinct<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Distinct<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut names = Names::default();
        while let Some(name) = map.next_key_seed(Name)? {
            if let Err(name) = names.insert(name) {
                *self.twice = Some(name.into_owned());
                return Err(A::Error::custom("duplicate name"));
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

/// What the repair inserts.
const NULL: &str = "null";

/// The most values that the repair inserts. OSS accepts 3,840 bytes of JSON for a whole callback,
/// and every empty number comes from at least `"":${size},` in its template.
pub(super) const MAX_GAPS: usize = 3840 / r#""":${size},"#.len();

/// A JSON text in which every member has a value.
///
/// OSS writes an empty number as nothing at all: `{"imageInfo.height":,"imageInfo.width":}`. The
/// repair inserts `null` where a colon outside of a string is followed by a comma or a closing
/// brace, which never happens in valid JSON. It does not change arrays: in `[${size}]` an empty
/// number leaves `[]`, which is valid and means something else.
///
/// The repair takes the memory of the body once more, and a little for what it inserts. It runs
/// before the signature is verified, so a text with more than [`MAX_GAPS`] is left as it is, and
/// fails as JSON.
pub(super) struct Repaired<'a> {
    original: &'a str,
    text: Cow<'a, str>,
}

impl<'a> Repaired<'a> {
    /// Repairs a text in two passes without recursion. Borrows it if there is nothing to insert.
    pub(super) fn new(json: &'a str) -> Self {
        let count = gaps(json.as_bytes()).take(MAX_GAPS + 1).count();
        if count == 0 || count > MAX_GAPS {
            return Self {
                original: json,
                text: Cow::Borrowed(json),
            };
        }
        let mut repaired = String::with_capacity(json.len() + count * NULL.len());
        let mut copied = 0;
        for at in gaps(json.as_bytes()) {
            repaired.push_str(&json[copied..at]);
            repaired.push_str(NULL);
            copied = at;
        }
        repaired.push_str(&json[copied..]);
        Self {
            original: json,
            text: Cow::Owned(repaired),
        }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Maps an offset in the repaired text to the original text. The bytes of an inserted `null`
    /// map to the place where it is inserted.
    ///
    /// Only errors need it, so the places are found again and not kept.
    pub(super) fn original_offset(&self, offset: usize) -> usize {
        if matches!(self.text, Cow::Borrowed(_)) {
            return offset;
        }
        let mut inserted = 0;
        for gap in gaps(self.original.as_bytes()) {
            // In the repaired text, this `null` starts here.
            let start = gap + inserted;
            if offset < start {
                break;
            }
            if offset < start + NULL.len() {
                return gap;
            }
            inserted += NULL.len();
        }
        offset - inserted
    }
}

/// Returns the offset after each colon that has no value.
fn gaps(json: &[u8]) -> impl Iterator<Item = usize> + '_ {
    let mut at = 0;
    // The offset after the last colon, until its value starts.
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

/// Returns whether a text has a character that JSON must escape because it is below a space.
pub(super) fn has_control(text: &str) -> bool {
    // Without an early end, so that the compiler can take many bytes at once.
    text.bytes()
        .fold(false, |found, byte| found | (byte < b' '))
}

/// Returns the offset after the closing quote of the string that `at` is in.
pub(super) fn end_of_string(json: &[u8], mut at: usize) -> usize {
    while let Some(next) = json.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += next;
        match json.get(at) {
            Some(b'"') => return at + 1,
            // A backslash: the next byte cannot end the string.
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

    /// The peak of what repairing and reading a text allocates.
    fn peak(run: impl FnOnce()) -> usize {
        let bytes = allocation_counter::measure(run).bytes_max;
        usize::try_from(bytes).unwrap()
    }

    #[test]
    fn a_repair_takes_the_memory_of_the_body_once_more() {
        let limit = 64 * 1024;
        let few = "\"\":,".repeat(MAX_GAPS);
        let padded = format!("{few}{}", " ".repeat(limit - few.len()));
        for text in [":,".repeat(limit / 2), "\"\":,".repeat(limit / 4), padded] {
            assert_eq!(text.len(), limit);
            let repair = peak(|| drop(Repaired::new(&text)));
            assert!(repair <= limit + MAX_GAPS * NULL.len(), "{repair}");
            // Beside it there is only the message of the error.
            let read = peak(|| assert!(read::<Value>(text.as_bytes()).is_err()));
            assert!(read <= repair + 4096, "{read}");
        }
        // More gaps than OSS can leave are not repaired at all.
        let text = ":,".repeat(MAX_GAPS + 1);
        assert_eq!(peak(|| drop(Repaired::new(&text))), 0);
    }

    #[test]
    fn as_many_gaps_are_repaired_as_a_callback_can_have() {
        let body = |gaps: usize| {
            let members: Vec<_> = (0..gaps).map(|n| format!("\"{n}\":")).collect();
            format!("{{{}}}", members.join(","))
        };
        let most: Value = read(body(MAX_GAPS).as_bytes()).unwrap();
        assert!(most.as_object().unwrap().values().all(Value::is_null));
        let error = read::<Value>(body(MAX_GAPS + 1).as_bytes()).unwrap_err();
        assert!(matches!(error, EventError::NotJson { .. }), "{error}");
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

    /// Strings full of sequences that a repair by text replacement would corrupt.
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
            prop_assert!(matches!(twice.text, Cow::Borrowed(_)));
            let back = (0..once.text().len()).map(|at| once.original_offset(at));
            prop_assert!(back.clone().is_sorted() && back.clone().all(|at| at < text.len()));
            let bytes = |(at, byte): (usize, u8)| {
                text.as_bytes()[at] == byte || NULL.as_bytes().contains(&byte)
            };
            prop_assert!(back.zip(once.text().bytes()).all(bytes));
        }
    }
}
