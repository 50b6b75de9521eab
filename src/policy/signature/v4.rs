//! Signature version 4.

use super::day_key::DayKeys;
use crate::{
    policy::{credentials::Credentials, error::PolicyError},
    protocol::Region,
};

/// The value of `x-oss-signature-version`.
pub(in crate::policy) const ALGORITHM: &str = "OSS4-HMAC-SHA256";

/// The value of `x-oss-credential`: who signed, and for which day and region the key is good.
pub(in crate::policy) fn credential(
    credentials: &Credentials,
    day: &str,
    region: &Region,
) -> String {
    let id = credentials.access_key_id();
    format!("{id}/{day}/{region}/oss/aliyun_v4_request")
}

/// Lower-case hex of HMAC-SHA256 over the Base64 text of the policy.
pub(in crate::policy) fn sign(
    keys: &DayKeys,
    credentials: &Credentials,
    day: &str,
    region: &Region,
    policy: &str,
) -> Result<String, PolicyError> {
    let mac = keys.get(credentials, day, region)?.hmac(policy)?;
    Ok(base16ct::lower::encode_string(&*mac))
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use serde_json::Value;

    use super::*;

    #[test]
    fn pl_01_v4_signatures_over_the_text_as_it_was_sent() {
        let cases: Vec<Value> =
            serde_json::from_str(include_str!("../../../tests/cases/policies.json")).unwrap();
        let keys = DayKeys::default();
        let mut count = 0;
        for case in cases.iter().filter(|case| case["version"] == "V4") {
            let text = |name: &str| case[name].as_str().unwrap();
            let pair = Credentials::new(text("access_key_id"), text("access_key_secret")).unwrap();
            let region = text("region").parse().unwrap();
            assert_eq!(
                credential(&pair, text("date"), &region),
                text("x_oss_credential")
            );
            assert_eq!(STANDARD.encode(text("policy_json")), text("policy_base64"));
            assert_eq!(
                sign(&keys, &pair, text("date"), &region, text("policy_base64")).unwrap(),
                text("expected_signature"),
                "{}",
                case["name"]
            );
            count += 1;
        }
        assert_eq!(count, 2);
    }
}
