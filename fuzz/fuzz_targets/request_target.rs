//! Fuzzes a request target: an accepted target has one canonical spelling, with the same signed
//! text.
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
        let decoded = |text: &str| {
            let (path, query) = text.split_at(text.find('?').unwrap_or(text.len()));
            let mut decoded: Vec<u8> = percent_decode(path);
            assert!(!decoded.iter().any(|byte| b"\n?+".contains(byte)));
            decoded.extend_from_slice(query.as_bytes());
            decoded
        };
        assert_eq!(decoded(accepted.as_str()), decoded(&text));
        assert!(accepted.path().starts_with('/') && !accepted.path().contains(['+', '\\']));
        let again: CallbackTarget = text.parse().expect("an accepted target parses again");
        assert_eq!(again, accepted);
        let again: CallbackTarget = accepted.as_str().parse().expect("a canonical target parses");
        assert_eq!(again, accepted);
    }
});

fn percent_decode(path: &str) -> Vec<u8> {
    let mut rest = path.as_bytes();
    let mut decoded = Vec::new();
    while let Some((&byte, behind)) = rest.split_first() {
        let digits = behind.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(value) if byte == b'%' => {
                decoded.push(value);
                rest = &behind[2..];
            }
            _ => {
                decoded.push(byte);
                rest = behind;
            }
        }
    }
    decoded
}
