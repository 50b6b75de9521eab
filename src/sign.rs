//! Signatures with an AccessKey: versions 1 and 4.
//!
//! Each function signs a text exactly as given. Callers pass the text that they send: signing
//! anything parsed or serialized again would sign other bytes than OSS receives.

pub(crate) mod request;
pub(crate) mod url;
pub(crate) mod v4;

use std::sync::{Arc, Weak};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use zeroize::Zeroizing;

/// The signature version of a policy.
///
/// Sources: [signature version 4] and [signature version 1].
///
/// [signature version 4]: https://www.alibabacloud.com/help/en/oss/developer-reference/signature-version-4-recommend
/// [signature version 1]: https://alibabacloud.com/help/en/oss/developer-reference/signature-version-1
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum SignatureVersion {
    /// `OSS4-HMAC-SHA256`, with a derived key that is valid for one region and one day.
    #[default]
    V4,
    /// HMAC-SHA1 with the AccessKey secret itself, for stores and clients that do not support V4.
    ///
    /// Alibaba Cloud is switching this version off in phases: for new accounts since 2025-03-01,
    /// for new buckets since 2025-09-01 (403, EC 0002-00000080). The notice does not state whether
    /// form uploads are affected.
    V1,
}

/// An AccessKey secret. Clones share its memory, which is wiped when the last one is dropped.
///
/// Has no `Debug`, so that nothing that contains it can derive one that shows it.
#[derive(Clone)]
pub(crate) struct Secret(Arc<Zeroizing<String>>);

impl Secret {
    pub(crate) fn new(secret: Zeroizing<String>) -> Self {
        Self(Arc::new(secret))
    }

    fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Returns a handle that recognizes this secret and its clones without keeping it in memory.
    pub(crate) fn identity(&self) -> SecretIdentity {
        SecretIdentity(Arc::downgrade(&self.0))
    }

    #[cfg(test)]
    pub(crate) fn zeroizing(&self) -> &Zeroizing<String> {
        &self.0
    }

    #[cfg(test)]
    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

/// The address of a secret.
///
/// The weak reference keeps the allocation, so that no other secret can have the same address. The
/// secret itself is wiped with its last clone.
pub(crate) struct SecretIdentity(Weak<Zeroizing<String>>);

impl SecretIdentity {
    fn is_of(&self, secret: &Secret) -> bool {
        std::ptr::eq(self.0.as_ptr(), Arc::as_ptr(&secret.0))
    }

    #[cfg(test)]
    pub(crate) fn is_gone(&self) -> bool {
        self.0.strong_count() == 0
    }
}

/// Signs with version 1: returns the Base64 of the HMAC-SHA1 of `text`, for a policy its Base64.
pub(crate) fn sign_v1(secret: &Secret, text: &str) -> String {
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

    use super::*;

    /// Signatures published by the SDKs of Alibaba Cloud and their tests, and one that follows from
    /// the documentation.
    #[test]
    fn pl_01_v1_signatures_over_the_text_as_it_was_sent() {
        let cases: Vec<Value> =
            serde_json::from_str(include_str!("../tests/cases/policies.json")).unwrap();
        let v1 = cases.iter().filter(|case| case["version"] == "V1");
        let mut count = 0;
        for case in v1 {
            let text = |name: &str| case[name].as_str().unwrap();
            let secret = Secret::new(Zeroizing::new(text("access_key_secret").to_owned()));
            assert_eq!(STANDARD.encode(text("policy_json")), text("policy_base64"));
            assert_eq!(
                sign_v1(&secret, text("policy_base64")),
                text("expected_signature"),
                "{}",
                case["name"]
            );
            count += 1;
        }
        assert_eq!(count, 3);
    }
}
