//! The key of signature version 4: one for each secret, day and region.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::{Zeroize as _, Zeroizing};

use crate::{
    policy::{
        credentials::{Credentials, CredentialsIdentity},
        error::PolicyError,
    },
    protocol::Region,
};

const LEN: usize = 32;

/// Signs everything of one day in one region; wiped from memory when it goes.
pub(super) struct DayKey(Zeroizing<[u8; LEN]>);

impl DayKey {
    pub(super) fn derive(secret: &[u8], day: &str, region: &str) -> Result<Self, PolicyError> {
        let mut first = Zeroizing::new(Vec::with_capacity("aliyun_v4".len() + secret.len()));
        first.extend_from_slice(b"aliyun_v4");
        first.extend_from_slice(secret);
        let date_key = hmac(&first, day)?;
        let region_key = hmac(&*date_key, region)?;
        let service_key = hmac(&*region_key, "oss")?;
        hmac(&*service_key, "aliyun_v4_request").map(Self)
    }

    pub(super) fn hmac(&self, text: &str) -> Result<Zeroizing<[u8; LEN]>, PolicyError> {
        hmac(&*self.0, text)
    }
}

fn hmac(key: &[u8], text: &str) -> Result<Zeroizing<[u8; LEN]>, PolicyError> {
    // HMAC takes a key of any length (RFC 2104 section 2); the error exists for other constructions.
    let mut mac = Hmac::<Sha256>::new_from_slice(key).map_err(|_| PolicyError::Sign)?;
    mac.update(text.as_bytes());
    let mut output = mac.finalize().into_bytes();
    let mut copy = Zeroizing::new([0; LEN]);
    copy.copy_from_slice(&output);
    output.as_mut_slice().zeroize();
    Ok(copy)
}

/// Remembers the last day key, because a service signs with one pair in one region all day.
#[derive(Default)]
pub(in crate::policy) struct DayKeys(Mutex<Option<Cached>>);

struct Cached {
    credentials: CredentialsIdentity,
    day: Box<str>,
    region: Region,
    key: Arc<DayKey>,
}

impl DayKeys {
    pub(super) fn get(
        &self,
        credentials: &Credentials,
        day: &str,
        region: &Region,
    ) -> Result<Arc<DayKey>, PolicyError> {
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cached) = &*cached
            && cached.credentials.is_of(credentials)
            && *cached.day == *day
            && cached.region == *region
        {
            return Ok(cached.key.clone());
        }
        let key = Arc::new(DayKey::derive(credentials.secret(), day, region.as_str())?);
        *cached = Some(Cached {
            credentials: credentials.identity(),
            day: day.into(),
            region: region.clone(),
            key: key.clone(),
        });
        Ok(key)
    }
}

impl fmt::Debug for DayKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DayKeys").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use base16ct::lower::encode_string;
    use serde_json::Value;
    use zeroize::ZeroizeOnDrop;

    use super::*;

    fn region(name: &str) -> Region {
        name.parse().unwrap()
    }

    #[test]
    fn pl_01_the_keys_on_the_way_are_those_of_the_cases() {
        let cases: Vec<Value> =
            serde_json::from_str(include_str!("../../../tests/cases/policies.json")).unwrap();
        let mut count = 0;
        for case in &cases {
            let Some(keys) = case["derived_keys_hex"].as_object() else {
                continue;
            };
            let text = |name: &str| case[name].as_str().unwrap();
            let (secret, day, region) = (text("access_key_secret"), text("date"), text("region"));
            let date = hmac(format!("aliyun_v4{secret}").as_bytes(), day).unwrap();
            assert_eq!(encode_string(&*date), keys["dateKey"]);
            let in_region = hmac(&*date, region).unwrap();
            assert_eq!(encode_string(&*in_region), keys["regionKey"]);
            assert_eq!(
                encode_string(&*hmac(&*in_region, "oss").unwrap()),
                keys["serviceKey"]
            );
            let key = DayKey::derive(secret.as_bytes(), day, region).unwrap();
            assert_eq!(encode_string(&*key.0), keys["signingKey"]);
            count += 1;
        }
        assert_eq!(count, 2);
    }

    /// A vector of Alibaba's SDKs, for a signature of headers: the same key, another text.
    #[test]
    fn pl_01_the_key_is_that_of_the_sdks() {
        use sha2::Digest as _;

        let cases: Vec<Value> =
            serde_json::from_str(include_str!("../../../tests/cases/policies.json")).unwrap();
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
        let key = DayKey::derive(secret, text("date"), text("region")).unwrap();
        assert_eq!(
            encode_string(&*key.hmac(&to_sign).unwrap()),
            text("expected_signature")
        );
    }

    #[test]
    fn a_key_is_derived_once_for_each_pair_day_and_region() {
        let keys = DayKeys::default();
        let pair = Credentials::new("id", "secret").unwrap();
        let hangzhou = region("cn-hangzhou");
        let first = keys.get(&pair, "20231203", &hangzhou).unwrap();
        let again = keys.get(&pair.clone(), "20231203", &hangzhou).unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        for (day, region) in [
            ("20231204", hangzhou.clone()),
            ("20231203", region("cn-beijing")),
        ] {
            let other = keys.get(&pair, day, &region).unwrap();
            let fresh = DayKey::derive(b"secret", day, region.as_str()).unwrap();
            assert_eq!(other.0, fresh.0);
            assert_ne!(other.0, first.0);
        }
    }

    #[test]
    fn a_refreshed_secret_never_signs_with_an_old_key() {
        let keys = DayKeys::default();
        let region = region("cn-hangzhou");
        // Each pair dies before the next is made, so that addresses would be used again.
        for round in 0..1_000 {
            let secret = format!("secret-{round}");
            let pair = Credentials::new("id", secret.clone()).unwrap();
            let key = keys.get(&pair, "20231203", &region).unwrap();
            let fresh = DayKey::derive(secret.as_bytes(), "20231203", "cn-hangzhou").unwrap();
            assert_eq!(key.0, fresh.0, "{round}");
            let with_token = pair.with_security_token("token").unwrap();
            let key = keys.get(&with_token, "20231203", &region).unwrap();
            assert_eq!(key.0, fresh.0, "{round}");
        }
    }

    #[test]
    fn pl_21_the_day_key_is_wiped_on_drop() {
        fn is_wiped<T: ZeroizeOnDrop>(_: &T) {}
        let key = DayKey::derive(b"secret", "20231203", "cn-hangzhou").unwrap();
        is_wiped(&key.0);
        let DayKey(mut bytes) = key;
        bytes.zeroize();
        assert_eq!(*bytes, [0; LEN]);
    }

    #[test]
    fn pl_21_the_cache_does_not_keep_the_secret() {
        let keys = DayKeys::default();
        let pair = Credentials::new("id", "secret").unwrap();
        let key = keys.get(&pair, "20231203", &region("cn-hangzhou")).unwrap();
        drop(pair);
        let cached = keys.0.lock().unwrap();
        assert!(cached.as_ref().unwrap().credentials.is_gone());
        assert!(Arc::ptr_eq(&key, &cached.as_ref().unwrap().key));
    }

    #[test]
    fn pl_20_keys_are_not_shown() {
        let keys = DayKeys::default();
        let pair = Credentials::new("canary-id", "canary").unwrap();
        keys.get(&pair, "20231203", &region("cn-hangzhou")).unwrap();
        assert_eq!(format!("{keys:?}"), "DayKeys { .. }");
    }
}
