//! A form against its policy.

use super::document::{Condition, Policy};
use crate::{
    catalogue::{POLICY, POLICY_FAILED},
    error::OssError,
    form::Form,
};
use tower_aliyun_oss::protocol::Bucket;

/// Whether every condition holds; what the file weighs is looked at while it is read.
///
/// Fields are compared as they were sent, before `${filename}` is filled in. A field that comes several times must
/// hold each time: which of them OSS takes is not documented. Fields that no condition names are not looked at.
pub(crate) fn check_conditions(
    policy: &Policy,
    form: &Form,
    bucket: &Bucket,
) -> Result<(), OssError> {
    for condition in &policy.conditions {
        let (field, holds): (_, &dyn Fn(&str) -> bool) = match condition {
            Condition::Size { .. } => continue,
            Condition::Equals { field, value } => (field, &move |given| given == value),
            Condition::StartsWith { field, value } => {
                (field, &move |given| given.starts_with(&**value))
            }
            Condition::In { field, values } => (field, &move |given| {
                values.iter().any(|value| value == given)
            }),
            Condition::NotIn { field, values } => (field, &move |given| {
                values.iter().all(|value| value != given)
            }),
        };
        // The bucket is that of the host, whatever the form says.
        let holds = if field.eq_ignore_ascii_case("bucket") {
            holds(bucket.as_str())
        } else {
            let mut given = form.values(field).peekable();
            given.peek().is_some() && given.all(holds)
        };
        if !holds {
            return Err(POLICY_FAILED.saying(format!(
                "Invalid according to Policy: Policy Condition failed: {condition}"
            )));
        }
    }
    Ok(())
}

/// Whether the policy pins these fields, as signature version 4 demands.
pub(crate) fn check_names(policy: &Policy, names: &[&str]) -> Result<(), OssError> {
    for name in names {
        let pins = |condition: &Condition| matches!(condition, Condition::Equals { field, .. } if field.eq_ignore_ascii_case(name));
        if !policy.conditions.iter().any(pins) {
            return Err(POLICY.saying(format!(
                "Invalid Policy: The policy must contain a condition on {name}."
            )));
        }
    }
    Ok(())
}
