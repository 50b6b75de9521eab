//! A request target: what is taken has one spelling, and decodes to what was signed.
#![no_main]

use http::uri::PathAndQuery;
use libfuzzer_sys::fuzz_target;
use tower_aliyun_oss::protocol::CallbackTarget;

fuzz_target!(|data: &[u8]| {
    let Ok(target) = PathAndQuery::try_from(data) else {
        return;
    };
    let text = target.as_str().to_owned();
    if let Ok(taken) = CallbackTarget::canonical(target) {
        assert_eq!(taken.as_str(), text);
        assert!(taken.path().starts_with('/') && !taken.path().contains(['+', '\\']));
        let again: CallbackTarget = text.parse().expect("taken once, taken again");
        assert_eq!(again.as_str(), text);
    }
});
