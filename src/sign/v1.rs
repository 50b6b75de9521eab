//! Signature version 1.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;

use super::secret::Secret;

/// Returns the Base64 of the HMAC-SHA1 of `text`, for a policy its Base64.
pub(crate) fn sign(secret: &Secret, text: &str) -> String {
    #[expect(
        clippy::expect_used,
        reason = "the error exists for other MACs: HMAC hashes or pads its key (RFC 2104 section 2)"
    )]
    let mut mac =
        Hmac::<Sha1>::new_from_slice(secret.as_bytes()).expect("HMAC accepts keys of any length");
    mac.update(text.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use zeroize::Zeroizing;

    use super::*;

    /// Signatures published by the SDKs of Alibaba Cloud and their tests, and one that follows from
    /// the documentation.
    #[test]
    fn pl_01_v1_signatures_over_the_text_as_it_was_sent() {
        let cases: Vec<Value> =
            serde_json::from_str(include_str!("../../tests/cases/policies.json")).unwrap();
        let v1 = cases.iter().filter(|case| case["version"] == "V1");
        let mut count = 0;
        for case in v1 {
            let text = |name: &str| case[name].as_str().unwrap();
            let secret = Secret::new(Zeroizing::new(text("access_key_secret").to_owned()));
            assert_eq!(STANDARD.encode(text("policy_json")), text("policy_base64"));
            assert_eq!(
                sign(&secret, text("policy_base64")),
                text("expected_signature"),
                "{}",
                case["name"]
            );
            count += 1;
        }
        assert_eq!(count, 3);
    }
}
