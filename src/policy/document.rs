//! The policy document: its conditions, and the form that satisfies them.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde::Serialize;

use super::{
    form_fields::FormFields,
    json::{push_escaped, push_number, push_string},
    validity::push_expiration,
};
use crate::protocol::SizeRange;

/// One condition of the document: on a form field, or on the size of the file.
///
/// The two spellings of equality are equivalent. Each is used where Alibaba's samples use it.
#[derive(Clone, Copy)]
pub(super) enum Clause<'a> {
    /// `{"field":"value"}`: the field must have exactly this value.
    Is(&'a str, &'a str),
    /// `["eq","$field","value"]`: the same.
    Equals(&'a str, &'a str),
    /// The value of the field must start with this text.
    StartsWith(&'a str, &'a str),
    /// The value of the field must be one of these.
    In(&'a str, &'a [Box<str>]),
    /// The value of the field must not be one of these.
    NotIn(&'a str, &'a [Box<str>]),
    /// The size of the file must be within this range.
    ContentLengthRange(SizeRange),
}

impl Clause<'_> {
    /// Appends the condition as JSON.
    fn push(self, out: &mut String) {
        match self {
            Self::Is(field, value) => {
                out.push('{');
                push_string(out, field);
                out.push(':');
                push_string(out, value);
                out.push('}');
            }
            Self::Equals(field, value) => {
                push_rule(out, "eq", field, |out| push_string(out, value))
            }
            Self::StartsWith(field, value) => {
                push_rule(out, "starts-with", field, |out| push_string(out, value));
            }
            Self::In(field, values) => push_rule(out, "in", field, |out| push_list(out, values)),
            Self::NotIn(field, values) => {
                push_rule(out, "not-in", field, |out| push_list(out, values));
            }
            Self::ContentLengthRange(range) => {
                out.push_str("[\"content-length-range\",");
                push_number(out, range.min());
                out.push(',');
                push_number(out, range.max());
                out.push(']');
            }
        }
    }
}

/// Appends a condition with three parts, which name the field `$name`.
fn push_rule(out: &mut String, rule: &str, field: &str, value: impl FnOnce(&mut String)) {
    out.extend(["[\"", rule, "\",\"$"]);
    push_escaped(out, field);
    out.push_str("\",");
    value(out);
    out.push(']');
}

fn push_list(out: &mut String, values: &[Box<str>]) {
    let mut separator = "[";
    for value in values {
        out.push_str(separator);
        push_string(out, value);
        separator = ",";
    }
    // No list is empty: a policy with an empty one is not built.
    out.push_str(if values.is_empty() { "[]" } else { "]" });
}

/// Serialises a value that consists of strings, numbers, and maps with string keys.
///
/// # Panics
///
/// If the value has no JSON form, which for the types above cannot happen: `serde_json` fails only
/// on map keys that are not strings, on errors of a `Serialize` implementation, and on errors of
/// the writer. An empty result instead of the panic would be signed, or sent as a token.
pub(super) fn to_json(value: &impl Serialize) -> Vec<u8> {
    #[expect(
        clippy::expect_used,
        reason = "every caller serialises strings and numbers into memory"
    )]
    serde_json::to_vec(value).expect("strings and numbers always serialise")
}

/// Number of bytes of a document, and of a form, without the callback and the STS token.
const USUAL_LEN: usize = 1024;

/// The fields of a form together with the conditions on them.
///
/// OSS does not check a field that the policy does not mention, so a field can only be added here
/// together with its condition. Both are written as they are added.
pub(super) struct Form {
    /// The document as JSON, without its end.
    document: String,
    fields: FormFields,
}

impl Form {
    /// Creates an empty form, and the document of a policy that expires at this time. `values` is
    /// the length of the long values, to size the buffers.
    pub(super) fn new(expiration: Timestamp, values: usize) -> Self {
        let len = USUAL_LEN + values;
        let mut document = String::with_capacity(len);
        document.push_str("{\"expiration\":\"");
        push_expiration(&mut document, expiration);
        document.push_str("\",\"conditions\":[");
        Self {
            document,
            // The document is a field too, as Base64.
            fields: FormFields::with_capacity(len + len / 3 * 4),
        }
    }

    /// Adds a field that must be sent unchanged, as `{"field":"value"}`.
    pub(super) fn require(&mut self, name: &str, value: &str) {
        self.require_by(name, value, Clause::Is(name, value));
    }

    /// Adds a field that must be sent unchanged, as `["eq","$field","value"]`.
    pub(super) fn require_eq(&mut self, name: &str, value: &str) {
        self.require_by(name, value, Clause::Equals(name, value));
    }

    /// Adds a field with this condition.
    pub(super) fn require_by(&mut self, name: &str, value: &str, clause: Clause<'_>) {
        self.fields.push(name, value);
        self.condition(clause);
    }

    /// Adds a condition on something that the client sends itself, or on the request.
    pub(super) fn condition(&mut self, clause: Clause<'_>) {
        if !self.document.ends_with('[') {
            self.document.push(',');
        }
        clause.push(&mut self.document);
    }

    /// Adds the AccessKey id of a version 1 signature, which the samples send before the policy. It
    /// needs no condition: with another id, the signature does not verify.
    pub(super) fn add_id(&mut self, access_key_id: &str) {
        self.fields.push("OSSAccessKeyId", access_key_id);
    }

    /// Ends the document. Returns the fields, the last of which is `policy`: the text that is
    /// signed and sent, the document in Base64.
    ///
    /// What is added afterwards needs no condition: with another value, the signature does not
    /// verify.
    pub(super) fn into_fields(mut self) -> FormFields {
        self.document.push_str("]}");
        let document = &self.document;
        self.fields
            .push_with("policy", |text| STANDARD.encode_string(document, text));
        self.fields
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::{Serializer, ser::SerializeMap as _};
    use serde_json::Value;

    use super::*;

    /// Returns the field `policy` of a form with these conditions.
    fn encode(expiration: Timestamp, conditions: &[Clause<'_>]) -> String {
        let mut form = Form::new(expiration, 0);
        for clause in conditions {
            form.condition(*clause);
        }
        form.into_fields().last().to_owned()
    }

    /// The same document by serde, as it was written before.
    #[derive(Serialize)]
    struct Document<'a> {
        expiration: String,
        conditions: &'a [Clause<'a>],
    }

    impl Serialize for Clause<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let dollar = |field: &str| format!("${field}");
            match self {
                Self::Is(field, value) => {
                    let mut map = serializer.serialize_map(Some(1))?;
                    map.serialize_entry(field, value)?;
                    map.end()
                }
                Self::Equals(field, value) => ("eq", dollar(field), value).serialize(serializer),
                Self::StartsWith(field, value) => {
                    ("starts-with", dollar(field), value).serialize(serializer)
                }
                Self::In(field, values) => ("in", dollar(field), values).serialize(serializer),
                Self::NotIn(field, values) => {
                    ("not-in", dollar(field), values).serialize(serializer)
                }
                Self::ContentLengthRange(range) => {
                    ("content-length-range", range.min(), range.max()).serialize(serializer)
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1024))]

        #[test]
        fn any_document_is_written_as_serde_writes_it(
            second in 0..253_402_207_200_i64,
            rules in prop::collection::vec(
                (0..6, "[aé中\u{2028}]{0,9}|[\\x00-\\x7f]{0,9}|[a-z\"]{0,40}", "[aé中\u{2028}]{0,40}|[\\x00-\\x7f]{0,50}",
                    prop::collection::vec("[aé中\u{2028}]{0,9}|[a-z\"\\\\/]{0,40}", 0..4), any::<(u64, u64)>()),
                0..12,
            ),
        ) {
            let lists: Vec<Vec<Box<str>>> = rules
                .iter()
                .map(|(.., list, _)| list.iter().map(|value| value.as_str().into()).collect())
                .collect();
            let conditions: Vec<_> = rules
                .iter()
                .zip(&lists)
                .map(|((kind, field, value, _, (min, max)), list)| match kind {
                    0 => Clause::Is(field, value),
                    1 => Clause::Equals(field, value),
                    2 => Clause::StartsWith(field, value),
                    3 => Clause::In(field, list),
                    4 => Clause::NotIn(field, list),
                    _ => Clause::ContentLengthRange(
                        SizeRange::new(*min.min(max) % 5_000, *min.max(max) % 5_000 + 5_000).unwrap(),
                    ),
                })
                .collect();
            let at = Timestamp::from_second(second).unwrap();
            let expiration = format!("{at:.3}");
            let expected = to_json(&Document { expiration, conditions: &conditions });
            prop_assert_eq!(encode(at, &conditions), STANDARD.encode(expected));
        }
    }

    #[test]
    fn a_document_as_oss_reads_it() {
        let expiration = Timestamp::from_second(1_735_689_599).unwrap();
        let size = SizeRange::new(0, 1_048_576_000).unwrap();
        let conditions = [
            Clause::StartsWith("key", "user-dir-prefix/"),
            Clause::ContentLengthRange(size),
            Clause::Is("callback", "e30="),
        ];
        let text = encode(expiration, &conditions);
        assert_eq!(
            String::from_utf8(STANDARD.decode(text).unwrap()).unwrap(),
            concat!(
                r#"{"expiration":"2024-12-31T23:59:59.000Z","conditions":[["starts-with","$key","user-dir-prefix/"],"#,
                r#"["content-length-range",0,1048576000],{"callback":"e30="}]}"#
            )
        );
    }

    /// Cases of the official page and of the first samples. Other cases use another spelling.
    #[test]
    fn pl_01_documents_of_the_cases_byte_for_byte() {
        let cases: Vec<Value> =
            serde_json::from_str(include_str!("../../tests/cases/policies.json")).unwrap();
        let case = |name: &str| cases.iter().find(|case| case["name"] == name).unwrap();
        let list =
            |values: &[&str]| -> Vec<Box<str>> { values.iter().map(|&v| v.into()).collect() };
        let (types, directives) = (list(&["image/jpg", "image/png"]), list(&["no-cache"]));
        for name in ["derived-v4-aksk", "derived-v4-sts"] {
            let case = case(name);
            let mut clauses = vec![
                Clause::Is("bucket", "examplebucket"),
                Clause::Is("x-oss-signature-version", "OSS4-HMAC-SHA256"),
                Clause::Is(
                    "x-oss-credential",
                    case["x_oss_credential"].as_str().unwrap(),
                ),
            ];
            if let Some(token) = case["security_token"].as_str() {
                clauses.push(Clause::Is("x-oss-security-token", token));
            }
            clauses.extend([
                Clause::Is("x-oss-date", case["x_oss_date"].as_str().unwrap()),
                Clause::ContentLengthRange(SizeRange::new(1, 10).unwrap()),
                Clause::Equals("success_action_status", "201"),
                Clause::StartsWith("key", "user/eric/"),
                Clause::In("content-type", &types),
                Clause::NotIn("cache-control", &directives),
            ]);
            let text = encode("2023-12-03T13:00:00Z".parse().unwrap(), &clauses);
            assert_eq!(text, case["policy_base64"], "{name}");
        }
        let clauses = [
            Clause::Is("bucket", "johnsmith"),
            Clause::StartsWith("key", "user/eric/"),
        ];
        let text = encode("2014-12-01T12:00:00Z".parse().unwrap(), &clauses);
        assert_eq!(text, case("derived-v1-johnsmith")["policy_base64"]);
    }
}
