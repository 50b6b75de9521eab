//! The callback layer with `FetchedKeys` as its key source.

use std::{error::Error as _, sync::Arc, time::SystemTime};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tower_aliyun_oss::{
    Lookup, OssCallbackLayer,
    callback::CallbackErrorKind,
    key::{FetchedKeys, KeySource as _},
    protocol::{SizeRange, SystemVariable, TICKET_FIELD},
    ticket::{
        MemoryStore, TicketError, TicketKey, TicketKeys, Tickets,
        internal::{BodyField, FieldValue, Scope, Terms},
        store::Nonce,
    },
};

use super::{
    fake::{Does, HOUR, Host, pem, settle},
    site::{Site, answer, official},
};
use crate::support::{Case, FORM, Signer, full, send};

const TARGET: &str = "/oss/callback";
const BODY: &[u8] = b"bucket=examplebucket&object=a.txt";

/// Builds a callback that names this version of the key.
fn callback(version: u16, signature: &[u8]) -> Request<Full<Bytes>> {
    callback_with(version, signature, BODY)
}

fn callback_with(version: u16, signature: &[u8], body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::post(TARGET)
        .header("authorization", STANDARD.encode(signature))
        .header(
            "x-oss-pub-key-url",
            STANDARD.encode(official(version).to_string()),
        )
        .header("content-type", FORM)
        .body(full(body))
        .unwrap()
}

#[tokio::test]
async fn a_callback_is_verified_with_a_key_that_is_fetched_for_it() {
    let signer = Signer::with_512_bits();
    let site = Site::saying(answer("200 OK", "", &pem(&signer))).await;
    let keys = FetchedKeys::builder().fetcher(site.fetcher()).build();
    let layer = OssCallbackLayer::new().key_source(keys.clone());
    let signature = signer.sign(TARGET, BODY);
    for _ in 0..3 {
        send(&layer, callback(2, &signature))
            .await
            .assert_accepted();
    }
    assert_eq!(site.requests().len(), 1);
    // Genuine callbacks use the pinned key, so they need no network.
    for case in Case::genuine() {
        send(&layer, case.request()).await.assert_accepted();
    }
    let stats = keys.stats();
    assert_eq!((stats.fetches, stats.hits, site.connections()), (1, 2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_key_at_hand_costs_no_allocation() {
    let keys = Host::that(Does::key(&Signer::with_512_bits())).keys();
    let url = official(2);
    super::fake::get(&keys, 2).await.unwrap();
    let counted = allocation_counter::measure(|| {
        for _ in 0..1_000 {
            assert!(matches!(keys.key(&url), Lookup::Ready(Ok(_))));
            keys.signature_failed(&url);
        }
    });
    assert_eq!(counted.count_total, 0);
}

#[tokio::test(start_paused = true)]
async fn the_default_layer_fetches_nothing() {
    let signature = Signer::with_512_bits().sign(TARGET, BODY);
    let outcome = send(&OssCallbackLayer::new(), callback(2, &signature)).await;
    outcome.assert_refused(503, CallbackErrorKind::KeyUnavailable);
    assert_eq!(
        outcome.error.unwrap().kind(),
        CallbackErrorKind::KeyUnavailable
    );
}

#[tokio::test(start_paused = true)]
async fn df_04_a_key_that_cannot_be_had_is_answered_with_503() {
    let host = Host::that(Does::Hang);
    let layer = OssCallbackLayer::new().key_source(host.keys());
    for _ in 0..3 {
        let outcome = send(&layer, callback(2, &[0; 64])).await;
        outcome.assert_refused(503, CallbackErrorKind::KeyUnavailable);
    }
    assert_eq!(host.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn df_10_forgeries_evict_nothing() {
    let signer = Signer::with_512_bits();
    let host = Host::that(Does::key(&signer));
    let keys = Arc::new(host.keys());
    let layer = OssCallbackLayer::new().key_source(Arc::clone(&keys));
    let signature = signer.sign(TARGET, BODY);
    send(&layer, callback(2, &signature))
        .await
        .assert_accepted();
    host.does(Does::Status(404));
    tokio::time::advance(HOUR).await;
    for version in [1, 2] {
        for _ in 0..200 {
            let outcome = send(&layer, callback(version, &[1; 64])).await;
            outcome.assert_refused(403, CallbackErrorKind::SignatureMismatch);
        }
    }
    settle().await;
    assert_eq!(host.fetches_of(1).len(), 0);
    assert_eq!(host.fetches_of(2).len(), 2);
    send(&layer, callback(2, &signature))
        .await
        .assert_accepted();
    for case in Case::genuine() {
        send(&layer, case.request()).await.assert_accepted();
    }
}

#[tokio::test(start_paused = true)]
async fn df_20b_without_a_ticket_nothing_is_looked_up() {
    let signer = Signer::with_512_bits();
    let host = Host::that(Does::key(&signer));
    let keys = TicketKeys::new(1, TicketKey::generate().unwrap());
    let layer = OssCallbackLayer::new()
        .key_source(host.keys())
        .tickets(Tickets::new(keys.clone(), MemoryStore::new()));
    let now = SystemTime::now();
    let mint = |keys: &TicketKeys, target: &str, at: SystemTime| {
        let terms = Terms::new(
            "examplebucket".parse().unwrap(),
            Scope::Exact("a.txt".parse().unwrap()),
            SizeRange::new(1, 1000).unwrap(),
            &target.parse().unwrap(),
            at + HOUR,
        );
        let fields = [
            ("bucket", FieldValue::System(SystemVariable::Bucket)),
            ("object", FieldValue::System(SystemVariable::Object)),
            ("size", FieldValue::System(SystemVariable::Size)),
            ("etag", FieldValue::System(SystemVariable::Etag)),
            (TICKET_FIELD, FieldValue::Ticket),
        ];
        let fields = fields.map(|(name, value)| BodyField::new(name, value));
        keys.issue(&terms, fields, at, Nonce::random().unwrap())
            .unwrap()
    };
    let body = |ticket: &str| {
        format!("bucket=examplebucket&object=a.txt&size=5&etag=D41D&{TICKET_FIELD}={ticket}")
    };
    let valid = mint(&keys, TARGET, now);
    // Change a character in the middle, which the seal covers.
    let mut forged = valid.clone().into_bytes();
    let middle = forged.len() / 2;
    forged[middle] = if forged[middle] == b'A' { b'B' } else { b'A' };
    let another = TicketKeys::new(2, TicketKey::generate().unwrap());
    let refused = [
        ("AAAA".to_owned(), TicketError::Malformed),
        (String::from_utf8(forged).unwrap(), TicketError::Mac),
        (mint(&another, TARGET, now), TicketError::UnknownKey),
        (mint(&keys, TARGET, now - 24 * HOUR), TicketError::Expired),
        (mint(&keys, "/oss/elsewhere", now), TicketError::Target),
    ];
    // Every request has a valid signature.
    for round in 0..998_u16 {
        for (ticket, why) in &refused {
            let body = body(ticket);
            let signature = signer.sign(TARGET, body.as_bytes());
            let request = callback_with(2 + round, &signature, body);
            let outcome = send(&layer, request).await;
            assert_eq!(outcome.status, 403);
            let error = outcome.error.unwrap();
            let source = error.source().and_then(|why| why.downcast_ref());
            assert_eq!(source, Some(why));
        }
        let signature = [0; 64];
        let outcome = send(&layer, callback(2 + round, &signature)).await;
        assert_eq!(outcome.status, 403);
    }
    assert_eq!(host.fetches(), 0);
    let body = body(&valid);
    let signature = signer.sign(TARGET, body.as_bytes());
    send(&layer, callback_with(7, &signature, body))
        .await
        .assert_accepted();
    assert_eq!((host.fetches(), host.fetches_of(7).len()), (1, 1));
}
