//! SG-40 to SG-42: limits of the signature scheme. These requests verify.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use tower_aliyun_oss::OssCallbackLayer;

use crate::support::{Case, FORM, Signer, builder, full, md5, send, signed_text};

#[derive(Deserialize)]
struct Collision {
    target: String,
    body_a_base64: String,
    body_b_base64: String,
    md5_hex: String,
}

#[tokio::test]
async fn sg_40_md5_collision_verifies_known_limit() {
    let collision: Collision =
        serde_json::from_str(include_str!("../../../cases/md5_collision.json")).unwrap();
    let a = STANDARD.decode(&collision.body_a_base64).unwrap();
    let b = STANDARD.decode(&collision.body_b_base64).unwrap();
    assert_ne!(a, b);
    for body in [&a, &b] {
        let digest = md5(&signed_text(&collision.target, body));
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, collision.md5_hex);
    }

    let signer = Signer::with_512_bits();
    let signed_once = signer.sign(&collision.target, &a);
    for body in [a, b] {
        let request = builder(&collision.target, FORM, &signed_once)
            .body(full(body.clone()))
            .unwrap();
        let outcome = send(&signer.layer(), request).await;
        assert_eq!(outcome.assert_accepted().body, body);
    }
}

#[tokio::test]
async fn sg_41_a_bucket_of_another_customer_verifies_known_limit() {
    // Genuine callbacks of two other customers, signed with the same key.
    let mut keys = Vec::new();
    for name in ["official-doc-index-php", "cloudreve-v3-json"] {
        let outcome = send(&OssCallbackLayer::new(), Case::named(name).request()).await;
        let callback = outcome.assert_accepted().verified.clone().unwrap();
        keys.push(callback.key().unwrap().clone());
    }
    assert_eq!(keys[0], keys[1]);
}

#[tokio::test(start_paused = true)]
async fn sg_42_a_replay_verifies_known_limit() {
    let layer = OssCallbackLayer::new();
    let case = Case::named("official-doc-index-php");
    for (after_seconds, host) in [
        (0, "a.example"),
        (3_600, "b.example"),
        (365 * 24 * 3_600, "[2001:db8::1]:8080"),
    ] {
        tokio::time::advance(std::time::Duration::from_secs(after_seconds)).await;
        let request = case.builder().header("host", host);
        let request = request.body(full(case.body.clone())).unwrap();
        send(&layer, request).await.assert_accepted();
    }
}
