//! Signature version 1.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;

use crate::policy::{credentials::Credentials, error::PolicyError};

/// Base64 of HMAC-SHA1 over the Base64 text of the policy.
pub(in crate::policy) fn sign(
    credentials: &Credentials,
    policy: &str,
) -> Result<String, PolicyError> {
    // HMAC takes a key of any length (RFC 2104 section 2); the error exists for other constructions.
    let mut mac =
        Hmac::<Sha1>::new_from_slice(credentials.secret()).map_err(|_| PolicyError::Sign)?;
    mac.update(policy.as_bytes());
    Ok(STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// Signatures that Alibaba's SDKs and their tests have published, and one that follows from the documentation.
    #[test]
    fn pl_01_v1_signatures_over_the_text_as_it_was_sent() {
        let cases: Vec<Value> =
            serde_json::from_str(include_str!("../../../tests/cases/policies.json")).unwrap();
        let v1 = cases.iter().filter(|case| case["version"] == "V1");
        let mut count = 0;
        for case in v1 {
            let text = |name: &str| case[name].as_str().unwrap();
            let credentials =
                Credentials::new(text("access_key_id"), text("access_key_secret")).unwrap();
            assert_eq!(STANDARD.encode(text("policy_json")), text("policy_base64"));
            assert_eq!(
                sign(&credentials, text("policy_base64")).unwrap(),
                text("expected_signature"),
                "{}",
                case["name"]
            );
            count += 1;
        }
        assert_eq!(count, 3);
    }
}
