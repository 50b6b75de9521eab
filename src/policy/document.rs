//! The policy document: what a form may carry.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde::{Serialize, Serializer, ser::SerializeMap as _};

use super::error::PolicyError;
use crate::protocol::SizeRange;

/// A rule for one field of the form, or for the size of the file.
pub(super) enum Condition<'a> {
    /// The field must have exactly this value.
    Equals(&'static str, &'a str),
    /// The value of the field must start with this.
    StartsWith(&'static str, &'a str),
    /// The size of the file must be within this range.
    ContentLengthRange(SizeRange),
}

impl Serialize for Condition<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Equals(field, value) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry(field, value)?;
                map.end()
            }
            Self::StartsWith(field, value) => {
                ("starts-with", Field(field), value).serialize(serializer)
            }
            Self::ContentLengthRange(range) => {
                ("content-length-range", range.min(), range.max()).serialize(serializer)
            }
        }
    }
}

/// The name of a field as a condition of three parts has it.
struct Field(&'static str);

impl Serialize for Field {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("${}", self.0))
    }
}

#[derive(Serialize)]
struct Document<'a> {
    expiration: String,
    conditions: &'a [Condition<'a>],
}

/// The text that is signed and sent: Base64 of the document.
pub(super) fn encode(
    expiration: Timestamp,
    conditions: &[Condition<'_>],
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
    use super::*;

    #[test]
    fn a_document_as_oss_reads_it() {
        let expiration = Timestamp::from_second(1_735_689_599).unwrap();
        let size = SizeRange::new(0, 1_048_576_000).unwrap();
        let conditions = [
            Condition::StartsWith("key", "user-dir-prefix/"),
            Condition::ContentLengthRange(size),
            Condition::Equals("callback", "e30="),
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
}
