//! The document, read as strictly as OSS reads it.

use std::{fmt, time::SystemTime};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::Value;

use super::json;
use crate::{
    catalogue::{
        POLICY, POLICY_ARITY, POLICY_CONDITIONS_EMPTY, POLICY_ELEMENT, POLICY_EMPTY,
        POLICY_EXPIRATION_EMPTY, POLICY_EXPIRATION_TYPE, POLICY_EXPIRED, POLICY_LIST,
        POLICY_MEMBER, POLICY_NO_CONDITIONS, POLICY_NO_EXPIRATION, POLICY_RANGE, POLICY_RANGE_MAX,
        POLICY_RANGE_MIN,
    },
    error::OssError,
};

/// What one form may be.
#[derive(Debug)]
pub(crate) struct Policy {
    expiration: Timestamp,
    pub(super) conditions: Vec<Condition>,
    /// The text that was Base64.
    pub(crate) json: String,
}

/// One condition; names are without their `$`.
#[derive(Debug)]
pub(super) enum Condition {
    Equals { field: String, value: String },
    StartsWith { field: String, value: String },
    In { field: String, values: Vec<String> },
    NotIn { field: String, values: Vec<String> },
    Size { min: u64, max: u64 },
}

impl Policy {
    /// Reads the value of the field `policy`.
    pub(crate) fn parse(encoded: &str) -> Result<Self, OssError> {
        let bytes = STANDARD.decode(encoded);
        let bytes = bytes
            .map_err(|_| POLICY.saying("Invalid Policy: The policy is not base64 encoded."))?;
        let text = String::from_utf8(bytes)
            .map_err(|_| POLICY.saying("Invalid Policy: The policy is not utf-8 encoded."))?;
        let mut expiration = None;
        let mut conditions = None;
        for (name, value) in json::parse(&text)?.0 {
            let slot = match &*name {
                "expiration" => &mut expiration,
                "conditions" => &mut conditions,
                _ => return Err(POLICY_MEMBER),
            };
            if slot.replace(value).is_some() {
                return Err(POLICY.saying("Invalid Policy: A member is specified twice."));
            }
        }
        let (expiration, conditions) = match (expiration, conditions) {
            (Some(expiration), Some(conditions)) => (expiration, conditions),
            (None, None) => return Err(POLICY_EMPTY),
            (None, Some(_)) => return Err(POLICY_NO_EXPIRATION),
            (Some(_), None) => return Err(POLICY_NO_CONDITIONS),
        };
        let expiration = match expiration {
            Value::String(text) if text.is_empty() => return Err(POLICY_EXPIRATION_EMPTY),
            Value::String(text) => instant(&text)
                .ok_or_else(|| POLICY.saying("Invalid Policy: Invalid expiration."))?,
            _ => return Err(POLICY_EXPIRATION_TYPE),
        };
        let conditions = match conditions {
            Value::Array(list) if list.is_empty() => return Err(POLICY_CONDITIONS_EMPTY),
            Value::Array(list) => list,
            _ => return Err(POLICY.saying("Invalid Policy: conditions must be a list.")),
        };
        Ok(Self {
            expiration,
            conditions: conditions
                .into_iter()
                .map(Condition::parse)
                .collect::<Result<_, _>>()?,
            json: text,
        })
    }

    /// Whether it still counts: until its expiration, which is included.
    pub(crate) fn check_expiration(&self, now: SystemTime) -> Result<(), OssError> {
        match Timestamp::try_from(now) {
            Ok(now) if now <= self.expiration => Ok(()),
            _ => Err(POLICY_EXPIRED),
        }
    }

    /// The sizes the file may have, both ends included, and `None` if the policy does not say.
    pub(crate) fn size(&self) -> Option<(u64, u64)> {
        self.conditions
            .iter()
            .filter_map(|condition| match condition {
                Condition::Size { min, max } => Some((*min, *max)),
                _ => None,
            })
            // All of them hold, so the narrowest counts.
            .reduce(|a, b| (a.0.max(b.0), a.1.min(b.1)))
    }
}

impl Condition {
    fn parse(value: Value) -> Result<Self, OssError> {
        match value {
            Value::Object(members) => {
                let mut members = members.into_iter();
                match (members.next(), members.next()) {
                    (Some((field, Value::String(value))), None) => Ok(Self::Equals {
                        field,
                        value: without_escapes(&value),
                    }),
                    (Some(_), None) => Err(POLICY_ELEMENT),
                    _ => Err(POLICY.saying(
                        "Invalid Policy: Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.",
                    )),
                }
            }
            Value::Array(elements) => Self::parse_list(&elements),
            _ => Err(POLICY_ELEMENT),
        }
    }

    fn parse_list(elements: &[Value]) -> Result<Self, OssError> {
        let Some(operator) = elements.first().and_then(Value::as_str) else {
            return Err(if elements.is_empty() {
                POLICY_ARITY
            } else {
                POLICY_ELEMENT
            });
        };
        if !matches!(
            operator,
            "eq" | "starts-with" | "in" | "not-in" | "content-length-range"
        ) {
            return Err(POLICY.saying("Invalid Policy: Invalid condition: unknown match type."));
        }
        let [operator, first, second] = elements else {
            return Err(POLICY_ARITY);
        };
        if operator == "content-length-range" {
            return range(first, second);
        }
        let field = first.as_str().ok_or(POLICY_ELEMENT)?;
        // The example of EC 0006-00000227 leaves the dollar out.
        let field = field.strip_prefix('$').unwrap_or(field).to_owned();
        let text = |value: &Value| value.as_str().map(without_escapes).ok_or(POLICY_ELEMENT);
        let list = |value: &Value| match value {
            Value::Array(values) => values.iter().map(text).collect(),
            _ => Err(POLICY_LIST),
        };
        Ok(match operator.as_str() {
            Some("eq") => Self::Equals {
                field,
                value: text(second)?,
            },
            Some("starts-with") => Self::StartsWith {
                field,
                value: text(second)?,
            },
            Some("in") => Self::In {
                field,
                values: list(second)?,
            },
            _ => Self::NotIn {
                field,
                values: list(second)?,
            },
        })
    }
}

/// The page of EC 0006-00000223 has a list for a number, those of 220 and 221 a text.
fn range(min: &Value, max: &Value) -> Result<Condition, OssError> {
    let composite = |value: &Value| matches!(value, Value::Array(_) | Value::Object(_));
    if composite(min) || composite(max) {
        return Err(POLICY_ELEMENT);
    }
    let min = min.as_u64().ok_or(POLICY_RANGE_MIN)?;
    let max = max.as_u64().ok_or(POLICY_RANGE_MAX)?;
    if max < min {
        return Err(POLICY_RANGE);
    }
    Ok(Condition::Size { min, max })
}

/// A condition writes a dollar that begins no variable as `\$`.
fn without_escapes(value: impl AsRef<str>) -> String {
    value.as_ref().replace(r"\$", "$")
}

/// `2014-12-01T12:00:00.000Z`, the milliseconds may be left out.
fn instant(text: &str) -> Option<Timestamp> {
    let shape = |(at, b): (usize, u8)| match at {
        4 | 7 => b == b'-',
        10 => b == b'T',
        13 | 16 => b == b':',
        19 => b == b'.',
        _ => b.is_ascii_digit(),
    };
    let digits = text.strip_suffix('Z')?;
    let whole = matches!(digits.len(), 19 | 21..=29);
    if !whole || !digits.bytes().enumerate().all(shape) {
        return None;
    }
    text.parse().ok()
}

/// As OSS prints a condition that does not hold.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Equals { field, value } => write!(f, "[\"eq\", \"${field}\", {}]", quoted(value)),
            Self::StartsWith { field, value } => {
                write!(f, "[\"starts-with\", \"${field}\", {}]", quoted(value))
            }
            Self::In { field, values } => write!(f, "[\"in\", \"${field}\", {}]", list(values)),
            Self::NotIn { field, values } => {
                write!(f, "[\"not-in\", \"${field}\", {}]", list(values))
            }
            Self::Size { min, max } => write!(f, "[\"content-length-range\", {min}, {max}]"),
        }
    }
}

fn quoted(text: &str) -> Value {
    Value::from(text)
}

fn list(values: &[String]) -> String {
    let values: Vec<_> = values
        .iter()
        .map(|value| quoted(value).to_string())
        .collect();
    format!("[{}]", values.join(", "))
}
