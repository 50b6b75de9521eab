//! Fuzzes the text of a ticket: only an issued ticket is accepted.
#![no_main]

use std::{
    sync::LazyLock,
    time::{Duration, SystemTime},
};

use libfuzzer_sys::fuzz_target;
use tower_aliyun_oss::{
    protocol::{CallbackBodyType, CallbackTarget, SizeRange},
    ticket::{
        TicketKey, TicketKeys,
        internal::{Scope, Terms},
        store::Nonce,
    },
};

const NOW: SystemTime = SystemTime::UNIX_EPOCH;

static KEYS: LazyLock<TicketKeys> = LazyLock::new(|| {
    let bytes: Vec<u8> = (0..32).collect();
    TicketKeys::new(
        1,
        TicketKey::from_bytes(&bytes).expect("the key is long enough"),
    )
});
static TARGET: LazyLock<CallbackTarget> =
    LazyLock::new(|| "/cb".parse().expect("the target is valid"));

fuzz_target!(|data: &[u8]| {
    let now = NOW + Duration::from_secs(1_700_000_000);
    if let Ok(text) = std::str::from_utf8(data) {
        let checked = KEYS.check(text, &TARGET, CallbackBodyType::Form, now);
        assert!(checked.is_err(), "a forgery was accepted");
        // The same text as claims and file name of a genuine ticket survives the round trip.
        let terms = Terms::new(
            "examplebucket".parse().expect("the bucket name is valid"),
            Scope::Exact("a/b".parse().expect("the object key is valid")),
            SizeRange::new(1, 10).expect("the size range is valid"),
            &TARGET,
            now + Duration::from_secs(60),
        );
        let Ok(terms) = terms.filename(text).claims(text) else {
            return;
        };
        let nonce = Nonce::random().expect("the operating system provides random bytes");
        let Ok(ticket) = KEYS.issue(&terms, [], now, nonce) else {
            return;
        };
        let checked = KEYS.check(&ticket, &TARGET, CallbackBodyType::Form, now);
        let checked = checked.expect("the ticket was just issued");
        let claims: String = checked.claims().expect("the claims are a string");
        assert_eq!(claims, text);
        assert_eq!(checked.filename().unwrap_or_default(), text);
    }
});
