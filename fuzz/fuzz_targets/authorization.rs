//! Fuzzes a whole callback, given as four lines: authorization, key URL, target, body. Verification
//! must not panic, and must accept only what OSS signed.
#![no_main]

use bytes::Bytes;
use http::Request;
use libfuzzer_sys::fuzz_target;
use tower_aliyun_oss::{
    Lookup,
    callback::{CallbackVerifier, VerifierConfig},
    key::{KeySource, PinnedKeys},
};

/// The body of the one genuine callback in the corpus.
const GENUINE: &[u8] = b"bucket=yonghu-test";

fuzz_target!(|data: &[u8]| {
    let mut lines = data.splitn(4, |byte| *byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let (authorization, key_url, target, body) = (line(), line(), line(), line());
    let request = Request::post(target)
        .header("authorization", authorization)
        .header("x-oss-pub-key-url", key_url)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(());
    let Ok(request) = request else { return };
    let (parts, ()) = request.into_parts();
    let Ok(mut verifier) = CallbackVerifier::check(&parts, &VerifierConfig::new()) else {
        return;
    };
    if verifier.update(Bytes::copy_from_slice(body)).is_err() {
        return;
    }
    let Lookup::Ready(Ok(key)) = PinnedKeys::official().key(verifier.key_url()) else {
        return;
    };
    if let Ok(callback) = verifier.verify(&key) {
        assert_eq!(callback.body(), GENUINE, "a forgery was verified");
    }
});
