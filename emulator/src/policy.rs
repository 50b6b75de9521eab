//! Policies of forms: the parser, and the check of a form against its policy.
//!
//! This module shares no code with `tower_aliyun_oss::policy`, which creates policies. It is an
//! independent reading of the documentation, so that a mistake in one of them shows.

mod json;

use std::{fmt, time::SystemTime};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    errors::{
        OssError, POLICY, POLICY_ARITY, POLICY_CONDITIONS_EMPTY, POLICY_ELEMENT, POLICY_EMPTY,
        POLICY_EXPIRATION_EMPTY, POLICY_EXPIRATION_TYPE, POLICY_EXPIRED, POLICY_FAILED,
        POLICY_LIST, POLICY_MEMBER, POLICY_NO_CONDITIONS, POLICY_NO_EXPIRATION, POLICY_RANGE,
        POLICY_RANGE_MAX, POLICY_RANGE_MIN,
    },
    form::Form,
};
use tower_aliyun_oss::protocol::Bucket;

/// A parsed policy.
#[derive(Debug)]
pub(crate) struct Policy {
    expiration: Timestamp,
    conditions: Vec<Condition>,
    /// The policy decoded from Base64.
    pub(crate) json: String,
}

/// A condition of a policy. Field names do not include the `$`.
#[derive(Debug)]
enum Condition {
    Equals { field: String, value: String },
    StartsWith { field: String, value: String },
    In { field: String, values: Vec<String> },
    NotIn { field: String, values: Vec<String> },
    Size { min: u64, max: u64 },
}

impl Policy {
    /// Parses the form field `policy`: Base64 of JSON.
    pub(crate) fn parse(encoded: &str) -> Result<Self, OssError> {
        let invalid = |reason| POLICY.with_message(format!("Invalid Policy: {reason}"));
        let bytes = STANDARD
            .decode(encoded)
            .map_err(|_| invalid("The policy is not base64 encoded."))?;
        let text =
            String::from_utf8(bytes).map_err(|_| invalid("The policy is not utf-8 encoded."))?;
        let mut expiration = None;
        let mut conditions = None;
        // Strict about unknown and repeated members, so that a typo cannot disable a condition.
        for (name, value) in json::parse(&text)?.0 {
            let slot = match &*name {
                "expiration" => &mut expiration,
                "conditions" => &mut conditions,
                _ => return Err(POLICY_MEMBER),
            };
            if slot.replace(value).is_some() {
                return Err(invalid("A member is specified twice."));
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
            Value::String(text) => instant(&text).ok_or_else(|| invalid("Invalid expiration."))?,
            _ => return Err(POLICY_EXPIRATION_TYPE),
        };
        let conditions = match conditions {
            Value::Array(list) if list.is_empty() => return Err(POLICY_CONDITIONS_EMPTY),
            Value::Array(list) => list,
            _ => return Err(invalid("conditions must be a list.")),
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

    /// Fails after the expiration. The policy is still valid at that very instant.
    pub(crate) fn check_expiration(&self, now: SystemTime) -> Result<(), OssError> {
        match Timestamp::try_from(now) {
            Ok(now) if now <= self.expiration => Ok(()),
            _ => Err(POLICY_EXPIRED),
        }
    }

    /// Returns the allowed sizes of the file, inclusive, or `None` if the policy does not limit
    /// them.
    pub(crate) fn size(&self) -> Option<(u64, u64)> {
        self.conditions
            .iter()
            .filter_map(|condition| match condition {
                Condition::Size { min, max } => Some((*min, *max)),
                _ => None,
            })
            // All conditions must hold, so the intersection applies.
            .reduce(|a, b| (a.0.max(b.0), a.1.min(b.1)))
    }
}

/// Checks that every condition holds, except for the size of the file, which is checked while it is
/// read.
///
/// The values are those that were sent, before `${filename}` is replaced. Fields without a
/// condition may have any value. If a field occurs more than once, every value must satisfy the
/// condition, because the reference does not document which of them OSS uses.
///
/// A condition on `content-type` applies to `content_type`, the type that the object will have, if
/// the form has no such field. No reference states this, but clients in production upload with such
/// a policy, and send a type only with the file.
pub(crate) fn check_conditions(
    policy: &Policy,
    form: &Form,
    content_type: Option<&str>,
    bucket: &Bucket,
) -> Result<(), OssError> {
    for condition in &policy.conditions {
        let Some(field) = condition.field() else {
            continue;
        };
        // The host names the bucket. A form field of that name does not count.
        let holds = if field.eq_ignore_ascii_case("bucket") {
            condition.accepts(bucket.as_str())
        } else {
            // `all` alone holds for a missing field.
            let mut given = form.values(field).peekable();
            let is_type = field.eq_ignore_ascii_case("content-type");
            let otherwise = content_type.filter(|_| is_type && given.peek().is_none());
            let mut given = given.chain(otherwise).peekable();
            given.peek().is_some() && given.all(|given| condition.accepts(given))
        };
        if !holds {
            return Err(POLICY_FAILED.with_message(format!(
                "Invalid according to Policy: Policy Condition failed: {condition}"
            )));
        }
    }
    Ok(())
}

/// Checks that the policy has an equality condition for each of these fields, which signature
/// version 4 requires.
pub(crate) fn check_names(policy: &Policy, names: &[&str]) -> Result<(), OssError> {
    for name in names {
        let pinned = policy.conditions.iter().any(|condition| {
            matches!(condition, Condition::Equals { field, .. } if field.eq_ignore_ascii_case(name))
        });
        if !pinned {
            return Err(POLICY.with_message(format!(
                "Invalid Policy: The policy must contain a condition on {name}."
            )));
        }
    }
    Ok(())
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
                    _ => Err(POLICY.with_message(
                        "Invalid Policy: Invalid Simple-Condition: Simple-Conditions must have \
                         exactly one property specified.",
                    )),
                }
            }
            Value::Array(elements) => Self::parse_list(&elements),
            _ => Err(POLICY_ELEMENT),
        }
    }

    fn parse_list(elements: &[Value]) -> Result<Self, OssError> {
        let operator = elements.first().ok_or(POLICY_ARITY)?;
        let operator = operator.as_str().ok_or(POLICY_ELEMENT)?;
        let operands = || match elements {
            [_, first, second] => Ok((first, second)),
            _ => Err(POLICY_ARITY),
        };
        let field = |value: &Value| {
            let field = value.as_str().ok_or(POLICY_ELEMENT)?;
            // The example on the page of EC 0006-00000227 omits the dollar.
            Ok(field.strip_prefix('$').unwrap_or(field).to_owned())
        };
        let text = |value: &Value| value.as_str().map(without_escapes).ok_or(POLICY_ELEMENT);
        let list = |value: &Value| match value {
            Value::Array(values) => values.iter().map(text).collect(),
            _ => Err(POLICY_LIST),
        };
        match operator {
            "eq" => operands().and_then(|(name, value)| {
                let (field, value) = (field(name)?, text(value)?);
                Ok(Self::Equals { field, value })
            }),
            "starts-with" => operands().and_then(|(name, value)| {
                let (field, value) = (field(name)?, text(value)?);
                Ok(Self::StartsWith { field, value })
            }),
            "in" => operands().and_then(|(name, values)| {
                let (field, values) = (field(name)?, list(values)?);
                Ok(Self::In { field, values })
            }),
            "not-in" => operands().and_then(|(name, values)| {
                let (field, values) = (field(name)?, list(values)?);
                Ok(Self::NotIn { field, values })
            }),
            "content-length-range" => operands().and_then(|(min, max)| range(min, max)),
            _ => Err(POLICY.with_message("Invalid Policy: Invalid condition: unknown match type.")),
        }
    }

    /// The field that the condition restricts, or `None` for the size of the file.
    fn field(&self) -> Option<&str> {
        match self {
            Self::Equals { field, .. }
            | Self::StartsWith { field, .. }
            | Self::In { field, .. }
            | Self::NotIn { field, .. } => Some(field),
            Self::Size { .. } => None,
        }
    }

    /// Whether a value of the field satisfies the condition.
    fn accepts(&self, given: &str) -> bool {
        match self {
            Self::Equals { value, .. } => given == value,
            Self::StartsWith { value, .. } => given.starts_with(&**value),
            Self::In { values, .. } => values.iter().any(|value| value == given),
            Self::NotIn { values, .. } => values.iter().all(|value| value != given),
            // Checked while the file is read.
            Self::Size { .. } => true,
        }
    }
}

/// Parses the bounds of `content-length-range`.
///
/// On the pages of the ECs, 0006-00000223 has a list in place of a number, and 0006-00000220 and
/// 0006-00000221 have a string.
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

/// Unescapes `\$`, which stands for a dollar that does not begin a variable.
fn without_escapes(value: impl AsRef<str>) -> String {
    value.as_ref().replace(r"\$", "$")
}

/// Parses `2014-12-01T12:00:00.000Z`. The fraction is optional.
fn instant(text: &str) -> Option<Timestamp> {
    let shape = |(at, b): (usize, u8)| match at {
        4 | 7 => b == b'-',
        10 => b == b'T',
        13 | 16 => b == b':',
        19 => b == b'.',
        _ => b.is_ascii_digit(),
    };
    // jiff accepts more, such as offsets and spaces.
    let digits = text.strip_suffix('Z')?;
    let whole = matches!(digits.len(), 19 | 21..=29);
    if !whole || !digits.bytes().enumerate().all(shape) {
        return None;
    }
    text.parse().ok()
}

/// The form in which OSS reports a failed condition.
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
