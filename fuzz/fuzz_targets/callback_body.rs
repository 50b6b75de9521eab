//! Fuzzes the parsers of a verified callback's body. An even first byte selects a form, an odd one
//! JSON.
#![no_main]

use std::sync::LazyLock;

use bytes::Bytes;
use http::Request;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tower_aliyun_oss::{
    callback::{CallbackVerifier, VerifierConfig},
    testing::CallbackSigner,
};

/// As short as the key of OSS, because signing takes nearly all of the time.
const KEY: &str = include_str!("../../tests/keys/rsa_512.pem");

static SIGNER: LazyLock<CallbackSigner> =
    LazyLock::new(|| CallbackSigner::from_pem(KEY).expect("the key is valid"));

fuzz_target!(|data: &[u8]| {
    let Some((kind, body)) = data.split_first() else {
        return;
    };
    let body = Bytes::copy_from_slice(body);
    let callback = SIGNER.callback("/oss/callback");
    let callback = if kind % 2 == 0 {
        callback.form(body.clone())
    } else {
        callback.json(body.clone())
    };
    let request: Result<Request<Bytes>, _> = callback.request();
    let Ok(request) = request else {
        return;
    };
    let (parts, _) = request.into_parts();
    let Ok(mut verifier) = CallbackVerifier::check(&parts, &VerifierConfig::new()) else {
        return;
    };
    if verifier.update(body).is_err() {
        return;
    }
    let verified = verifier
        .verify(SIGNER.public_key())
        .expect("a signature by the same key is valid");
    let event = verified.event();
    let _ = verified.event_as::<Value>();
    if let Err(error) = &event {
        assert!(error.to_string().len() < 1000);
    }
    let _ = (
        event.map(|event| event.object().map(str::to_owned)),
        verified.claims::<Value>(),
    );
});
