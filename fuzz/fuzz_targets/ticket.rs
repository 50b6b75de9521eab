//! The text of a ticket: nothing that was not sealed is taken.
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
    TicketKeys::new(1, TicketKey::from_bytes(&bytes).expect("long enough"))
});
static TARGET: LazyLock<CallbackTarget> = LazyLock::new(|| "/cb".parse().expect("a target"));

// A ticket with one bit turned, or another text in its place.
fuzz_target!(|data: &[u8]| {
    let now = NOW + Duration::from_secs(1_700_000_000);
    if let Ok(text) = std::str::from_utf8(data) {
        let checked = KEYS.check(text, &TARGET, CallbackBodyType::Form, now);
        assert!(checked.is_err(), "a forgery");
        // What it would say is in the claims of a good one.
        let terms = Terms::new(
            "examplebucket".parse().expect("a bucket"),
            Scope::Exact("a/b".parse().expect("a key")),
            SizeRange::new(1, 10).expect("a range"),
            &TARGET,
            now + Duration::from_secs(60),
        );
        let Ok(terms) = terms.claims(text) else {
            return;
        };
        let nonce = Nonce::random().expect("random bytes");
        let Ok(ticket) = KEYS.issue(&terms, now, nonce) else {
            return;
        };
        let checked = KEYS.check(&ticket, &TARGET, CallbackBodyType::Form, now);
        let claims: String = checked.expect("just minted").claims().expect("a text");
        assert_eq!(claims, text);
    }
});
