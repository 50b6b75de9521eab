//! Callback policies of a bucket: parameters that requests use by their name.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::errors::{CALLBACK_POLICY, OssError};

/// A policy, as its document spells it.
#[derive(Clone, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CallbackPolicy {
    policy_name: String,
    /// Base64, as in `x-oss-callback`.
    pub(super) callback: String,
    /// The same for `x-oss-callback-var`; may be empty.
    #[serde(default)]
    pub(super) callback_var: String,
}

// URLs and variables may contain secrets of the application.
impl fmt::Debug for CallbackPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallbackPolicy")
            .field("policy_name", &self.policy_name)
            .finish_non_exhaustive()
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_the_name_only() {
        let policy = CallbackPolicy {
            policy_name: "test".to_owned(),
            callback: "c2VjcmV0".to_owned(),
            callback_var: "c2VjcmV0".to_owned(),
        };
        let text = format!("{policy:?}");
        assert_eq!(text, "CallbackPolicy { policy_name: \"test\", .. }");
    }
}
