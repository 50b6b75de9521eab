//! Fuzzes a request target: an accepted target has exactly one spelling, the one that was signed.
#![no_main]

use http::uri::PathAndQuery;
use libfuzzer_sys::fuzz_target;
use tower_aliyun_oss::protocol::CallbackTarget;

fuzz_target!(|data: &[u8]| {
    let Ok(target) = PathAndQuery::try_from(data) else {
        return;
    };
    let text = target.as_str().to_owned();
    if let Ok(accepted) = CallbackTarget::canonical(target) {
        assert_eq!(accepted.as_str(), text);
        assert!(accepted.path().starts_with('/') && !accepted.path().contains(['+', '\\']));
        let again: CallbackTarget = text.parse().expect("an accepted target parses again");
        assert_eq!(again.as_str(), text);
    }
});
