//! Signature version 4, with a key derived for each secret, day and region.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::{Zeroize as _, Zeroizing};

use super::{Secret, SecretIdentity};
use crate::protocol::Region;

/// The value of `x-oss-signature-version`.
pub(crate) const ALGORITHM: &str = "OSS4-HMAC-SHA256";

const LEN: usize = 32;

/// Returns the value of `x-oss-credential`: the AccessKey id, and the scope of the key.
pub(crate) fn credential(access_key_id: &str, day: &str, region: &Region) -> String {
    [
        access_key_id,
        "/",
        day,
        "/",
        region.as_str(),
        "/oss/aliyun_v4_request",
    ]
    .concat()
}

/// Returns the lower-case hex of the HMAC-SHA256 of `text`, for a policy its Base64.
pub(crate) fn sign(
    keys: &DayKeys,
    secret: &Secret,
    day: &str,
    region: &Region,
    text: &str,
) -> String {
    let mac = keys.get(secret, day, region).hmac(text);
    base16ct::lower::encode_string(&mac)
}

/// Caches the last derived key, because a service usually signs with one secret in one region all
/// day. Deriving it takes four HMACs, signing with it one.
#[derive(Default)]
pub(crate) struct DayKeys(Mutex<Option<Cached>>);

struct Cached {
    // Not the secret: a replaced secret must not stay in memory until the next signature.
    secret: SecretIdentity,
    day: Box<str>,
    region: Region,
    key: Arc<DayKey>,
}

impl DayKeys {
    /// Returns the key of this secret, day and region.
    pub(crate) fn get(&self, secret: &Secret, day: &str, region: &Region) -> Arc<DayKey> {
        // Held while deriving: four HMACs are cheaper than deriving the same key on every thread.
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cached) = &*cached
            && cached.secret.is_of(secret)
            && *cached.day == *day
            && cached.region == *region
        {
            return cached.key.clone();
        }
        let key = Arc::new(DayKey::derive(secret.as_bytes(), day, region.as_str()));
        *cached = Some(Cached {
            secret: secret.identity(),
            day: day.into(),
            region: region.clone(),
            key: key.clone(),
        });
        key
    }
}

impl fmt::Debug for DayKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DayKeys").finish_non_exhaustive()
    }
}

/// A key that signs everything of one day in one region. Wiped from memory on drop.
///
/// It is the state of the HMAC after the key, from which every signature starts. The key itself is
/// not kept.
pub(crate) struct DayKey(Hmac<Sha256>);

impl DayKey {
    fn derive(secret: &[u8], day: &str, region: &str) -> Self {
        // Allocated up front: a buffer that grew would leave unwiped copies behind.
        let mut first = Zeroizing::new(Vec::with_capacity("aliyun_v4".len() + secret.len()));
        first.extend_from_slice(b"aliyun_v4");
        first.extend_from_slice(secret);
        let date_key = hmac(&first, day);
        let region_key = hmac(&*date_key, region);
        let service_key = hmac(&*region_key, "oss");
        Self(keyed(&*hmac(&*service_key, "aliyun_v4_request")))
    }

    /// Starts a signature.
    pub(crate) fn start(&self) -> Hmac<Sha256> {
        self.0.clone()
    }

    /// Returns a signature, which is not secret.
    fn hmac(&self, text: &str) -> [u8; LEN] {
        let mac = self.start().chain_update(text.as_bytes());
        mac.finalize().into_bytes().into()
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    #[expect(
        clippy::expect_used,
        reason = "the error exists for other MACs: HMAC hashes or pads its key (RFC 2104 section 2)"
    )]
    Hmac::<Sha256>::new_from_slice(key).expect("HMAC accepts keys of any length")
}

/// Derives a key from a key.
fn hmac(key: &[u8], text: &str) -> Zeroizing<[u8; LEN]> {
    let mut output = keyed(key)
        .chain_update(text.as_bytes())
        .finalize()
        .into_bytes();
    let mut copy = Zeroizing::new([0; LEN]);
    copy.copy_from_slice(&output);
    // The output is a key, and its own type does not wipe it.
    output.as_mut_slice().zeroize();
    copy
}

#[cfg(test)]
mod tests {
    use base16ct::lower::encode_string;
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use hmac::EagerHash;
    use serde_json::Value;
    use zeroize::ZeroizeOnDrop;

    use super::*;

    fn cases() -> Vec<Value> {
        serde_json::from_str(include_str!("../../tests/cases/policies.json")).unwrap()
    }

    fn region(name: &str) -> Region {
        name.parse().unwrap()
    }

    fn secret(text: &str) -> Secret {
        Secret::new(Zeroizing::new(text.to_owned()))
    }

    #[test]
    fn pl_01_v4_signatures_over_the_text_as_it_was_sent() {
        let keys = DayKeys::default();
        let mut count = 0;
        for case in cases().iter().filter(|case| case["version"] == "V4") {
            let text = |name: &str| case[name].as_str().unwrap();
            let secret = secret(text("access_key_secret"));
            let region = region(text("region"));
            assert_eq!(
                credential(text("access_key_id"), text("date"), &region),
                text("x_oss_credential")
            );
            assert_eq!(STANDARD.encode(text("policy_json")), text("policy_base64"));
            assert_eq!(
                sign(&keys, &secret, text("date"), &region, text("policy_base64")),
                text("expected_signature"),
                "{}",
                case["name"]
            );
            count += 1;
        }
        assert_eq!(count, 2);
    }

    #[test]
    fn pl_01_the_keys_on_the_way_are_those_of_the_cases() {
        let mut count = 0;
        for case in &cases() {
            let Some(keys) = case["derived_keys_hex"].as_object() else {
                continue;
            };
            let text = |name: &str| case[name].as_str().unwrap();
            let (secret, day, region) = (text("access_key_secret"), text("date"), text("region"));
            let date = hmac(format!("aliyun_v4{secret}").as_bytes(), day);
            assert_eq!(encode_string(&*date), keys["dateKey"]);
            let in_region = hmac(&*date, region);
            assert_eq!(encode_string(&*in_region), keys["regionKey"]);
            assert_eq!(
                encode_string(&*hmac(&*in_region, "oss")),
                keys["serviceKey"]
            );
            let signing = hmac(&*hmac(&*in_region, "oss"), "aliyun_v4_request");
            assert_eq!(encode_string(&*signing), keys["signingKey"]);
            let key = DayKey::derive(secret.as_bytes(), day, region);
            for text in ["", "a", text("policy_base64")] {
                assert_eq!(key.hmac(text), *hmac(&*signing, text));
            }
            count += 1;
        }
        assert_eq!(count, 2);
    }

    /// A vector of the SDKs of Alibaba Cloud for a signature in headers: the same key, another
    /// text.
    #[test]
    fn pl_01_the_key_is_that_of_the_sdks() {
        use sha2::Digest as _;

        let cases = cases();
        let case = cases
            .iter()
            .find(|case| case["name"] == "sdk-v4-key-derivation")
            .unwrap();
        let text = |name: &str| case[name].as_str().unwrap();
        let to_sign = format!(
            "OSS4-HMAC-SHA256\n{}\n{}/{}/oss/aliyun_v4_request\n{}",
            text("x_oss_date"),
            text("date"),
            text("region"),
            encode_string(&Sha256::digest(text("canonical_request"))),
        );
        let secret = text("access_key_secret").as_bytes();
        let key = DayKey::derive(secret, text("date"), text("region"));
        assert_eq!(
            encode_string(&key.hmac(&to_sign)),
            text("expected_signature")
        );
    }

    #[test]
    fn a_key_is_derived_once_for_each_pair_day_and_region() {
        let keys = DayKeys::default();
        let shared = secret("secret");
        let hangzhou = region("cn-hangzhou");
        let first = keys.get(&shared, "20231203", &hangzhou);
        let again = keys.get(&shared.clone(), "20231203", &hangzhou);
        assert!(Arc::ptr_eq(&first, &again));
        for (day, region) in [
            ("20231204", hangzhou.clone()),
            ("20231203", region("cn-beijing")),
        ] {
            let other = keys.get(&shared, day, &region);
            let fresh = DayKey::derive(b"secret", day, region.as_str());
            assert_eq!(other.hmac("a"), fresh.hmac("a"));
            assert_ne!(other.hmac("a"), first.hmac("a"));
        }
    }

    #[test]
    fn a_refreshed_secret_never_signs_with_an_old_key() {
        let keys = DayKeys::default();
        let region = region("cn-hangzhou");
        // Each secret is dropped before the next is created, so the allocator reuses addresses.
        for round in 0..1_000 {
            let text = format!("secret-{round}");
            let shared = secret(&text);
            let key = keys.get(&shared, "20231203", &region);
            let fresh = DayKey::derive(text.as_bytes(), "20231203", "cn-hangzhou");
            assert_eq!(key.hmac("a"), fresh.hmac("a"), "{round}");
            let equal = secret(&text);
            drop(shared);
            let key = keys.get(&equal, "20231203", &region);
            assert_eq!(key.hmac("a"), fresh.hmac("a"), "{round}");
        }
    }

    #[test]
    fn pl_21_the_day_key_is_wiped_on_drop() {
        fn is_wiped<T: ZeroizeOnDrop>() {}
        // The HMAC consists of two such states, and of a buffer that the key never enters.
        let DayKey(Hmac::<Sha256> { .. }) = DayKey::derive(b"secret", "20231203", "cn-hangzhou");
        is_wiped::<<Sha256 as EagerHash>::Core>();
        is_wiped::<Zeroizing<[u8; LEN]>>();
    }

    #[test]
    fn pl_21_the_cache_does_not_keep_the_secret() {
        let keys = DayKeys::default();
        let secret = secret("secret");
        let key = keys.get(&secret, "20231203", &region("cn-hangzhou"));
        drop(secret);
        let cached = keys.0.lock().unwrap();
        assert!(cached.as_ref().unwrap().secret.is_gone());
        assert!(Arc::ptr_eq(&key, &cached.as_ref().unwrap().key));
    }

    #[test]
    fn pl_20_keys_are_not_shown() {
        let keys = DayKeys::default();
        keys.get(&secret("canary"), "20231203", &region("cn-hangzhou"));
        assert_eq!(format!("{keys:?}"), "DayKeys { .. }");
    }
}
