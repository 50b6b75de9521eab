//! Callback policies of a bucket: parameters that requests use by their name.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::errors::{CALLBACK_POLICY, OssError};

/// A policy, as its document spells it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CallbackPolicy {
    policy_name: String,
    /// Base64, as in `x-oss-callback`.
    pub(super) callback: String,
    /// The same for `x-oss-callback-var`; may be empty.
    #[serde(default)]
    pub(super) callback_var: String,
}

/// Returns the policy that callback parameters name, unless they name none.
pub(super) fn named<'a>(
    json: &str,
    policies: &'a [CallbackPolicy],
) -> Result<Option<&'a CallbackPolicy>, OssError> {
    let Ok(Value::Object(parameters)) = serde_json::from_str(json) else {
        return Ok(None);
    };
    let Some(name) = parameters.get("callbackPolicy") else {
        return Ok(None);
    };
    let name = name.as_str().ok_or(CALLBACK_POLICY)?;
    let mut policies = policies.iter();
    let policy = policies.find(|policy| policy.policy_name == name);
    policy.map(Some).ok_or(CALLBACK_POLICY)
}
