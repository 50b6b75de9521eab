//! The policy document: what a form may carry.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde::{Serialize, Serializer, ser::SerializeMap as _};

use super::error::PolicyError;
use crate::protocol::SizeRange;

/// A rule for one field of the form, or for the size of the file, as the document spells it.
///
/// The two spellings of equality mean the same; which one stands where follows Alibaba's own samples.
#[derive(Clone, Copy)]
pub(super) enum Clause<'a> {
    /// `{"field":"value"}`: the field must have exactly this value.
    Is(&'a str, &'a str),
    /// `["eq","$field","value"]`: the same.
    Equals(&'a str, &'a str),
    /// The value of the field must start with this.
    StartsWith(&'a str, &'a str),
    /// The value of the field must be one of these.
    In(&'a str, &'a [Box<str>]),
    /// The value of the field must be none of these.
    NotIn(&'a str, &'a [Box<str>]),
    /// The size of the file must be within this range.
    ContentLengthRange(SizeRange),
}

impl Serialize for Clause<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Is(field, value) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry(field, value)?;
                map.end()
            }
            Self::Equals(field, value) => ("eq", Field(field), value).serialize(serializer),
            Self::StartsWith(field, value) => {
                ("starts-with", Field(field), value).serialize(serializer)
            }
            Self::In(field, values) => ("in", Field(field), values).serialize(serializer),
            Self::NotIn(field, values) => ("not-in", Field(field), values).serialize(serializer),
            Self::ContentLengthRange(range) => {
                ("content-length-range", range.min(), range.max()).serialize(serializer)
            }
        }
    }
}

/// The name of a field as a condition of three parts has it.
struct Field<'a>(&'a str);

impl Serialize for Field<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("${}", self.0))
    }
}

#[derive(Serialize)]
struct Document<'a> {
    expiration: String,
    conditions: &'a [Clause<'a>],
}

/// The text that is signed and sent: Base64 of the document.
pub(super) fn encode(
    expiration: Timestamp,
    conditions: &[Clause<'_>],
) -> Result<String, PolicyError> {
    let document = Document {
        expiration: format!("{expiration:.3}"),
        conditions,
    };
    let json = serde_json::to_vec(&document).map_err(|_| PolicyError::Serialize)?;
    Ok(STANDARD.encode(json))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_document_as_oss_reads_it() {
        let expiration = Timestamp::from_second(1_735_689_599).unwrap();
        let size = SizeRange::new(0, 1_048_576_000).unwrap();
        let conditions = [
            Clause::StartsWith("key", "user-dir-prefix/"),
            Clause::ContentLengthRange(size),
            Clause::Is("callback", "e30="),
        ];
        let text = encode(expiration, &conditions).unwrap();
        assert_eq!(
            String::from_utf8(STANDARD.decode(text).unwrap()).unwrap(),
            concat!(
                r#"{"expiration":"2024-12-31T23:59:59.000Z","conditions":[["starts-with","$key","user-dir-prefix/"],"#,
                r#"["content-length-range",0,1048576000],{"callback":"e30="}]}"#
            )
        );
    }

    /// The cases whose text this spelling can make: those of the official page, and the one of the first samples.
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
            let text = encode("2023-12-03T13:00:00Z".parse().unwrap(), &clauses).unwrap();
            assert_eq!(text, case["policy_base64"], "{name}");
        }
        let clauses = [
            Clause::Is("bucket", "johnsmith"),
            Clause::StartsWith("key", "user/eric/"),
        ];
        let text = encode("2014-12-01T12:00:00Z".parse().unwrap(), &clauses).unwrap();
        assert_eq!(text, case("derived-v1-johnsmith")["policy_base64"]);
    }
}
