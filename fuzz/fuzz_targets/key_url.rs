//! Fuzzes the value of `x-oss-pub-key-url`: only the thousand URLs of the table are accepted.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tower_aliyun_oss::key::{KeyTable, KeyUrl};

fuzz_target!(|value: &[u8]| {
    let table = KeyTable::official();
    if let Ok(url) = KeyUrl::from_header(value, &table) {
        let version = url
            .official_version()
            .expect("the table has only official URLs");
        assert_eq!(url.host(), "gosspublic.alicdn.com");
        assert_eq!(url.path(), format!("/callback_pub_key_v{version}.pem"));
    }
});
