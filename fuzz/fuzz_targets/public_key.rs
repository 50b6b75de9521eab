//! Fuzzes the parsers of public keys in PEM and DER.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tower_aliyun_oss::key::PublicKey;

fuzz_target!(|data: &[u8]| {
    for key in [
        PublicKey::from_pem(data).ok(),
        PublicKey::from_der(data).ok(),
    ] {
        if let Some(key) = key {
            assert!((512..=4096).contains(&key.bits()));
        }
    }
});
