//! Genuine callbacks, signed by OSS.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tower_aliyun_oss::{OssCallbackLayer, callback::CallbackErrorKind, protocol::CallbackBodyType};

use crate::support::{Case, full, send};

async fn accepted(name: &str) {
    let case = Case::named(name);
    let outcome = send(&OssCallbackLayer::new(), case.request()).await;
    let seen = outcome.assert_accepted();
    assert_eq!(seen.body, case.body);
    let callback = seen.verified.as_ref().unwrap();
    assert_eq!(callback.target().as_str(), case.path_and_query);
    assert_eq!(callback.key().unwrap().bits(), 512);
    assert_eq!(callback.key_url().unwrap().official_version(), Some(1));
    assert_eq!(
        Some(callback.body_type()),
        CallbackBodyType::from_header(case.content_type().as_bytes())
    );
}

async fn refused(name: &str) {
    let outcome = send(&OssCallbackLayer::new(), Case::named(name).request()).await;
    outcome.assert_refused(403, CallbackErrorKind::SignatureMismatch);
}

#[tokio::test]
async fn sg_01_the_official_example_is_accepted() {
    accepted("official-doc-index-php").await;
}

#[tokio::test]
async fn sg_02_genuine_captures_are_accepted() {
    for case in Case::genuine() {
        accepted(&case.name).await;
    }
    // One body does not match its content type: a form with the quotes of JSON. It verifies all the
    // same, because verification does not parse.
    assert!(
        Case::named("iosoon-literal-quotes-form")
            .body
            .contains("=\"")
    );
}

#[tokio::test]
async fn sg_03_the_anonymised_example_is_refused() {
    refused("current-doc-rewritten").await;
}

#[tokio::test]
async fn sg_03_one_letter_of_the_signature_changed_is_refused() {
    refused("cloudreve-negative").await;
}

/// Returns copies with one changed byte each: the lowest bit flipped, or another letter.
fn mutations(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    (0..bytes.len()).flat_map(move |at| {
        [bytes[at] ^ 1, if bytes[at] == b'x' { b'y' } else { b'x' }]
            .into_iter()
            .map(move |byte| {
                let mut changed = bytes.to_vec();
                changed[at] = byte;
                changed
            })
    })
}

#[tokio::test]
async fn one_byte_of_the_body_changed_is_refused() {
    for case in Case::genuine() {
        for body in mutations(case.body.as_bytes()) {
            let request = case.builder().body(full(body)).unwrap();
            let outcome = send(&OssCallbackLayer::new(), request).await;
            outcome.assert_refused(403, CallbackErrorKind::SignatureMismatch);
        }
    }
}

#[tokio::test]
async fn one_byte_of_path_or_query_changed_is_refused() {
    for case in Case::genuine() {
        for target in mutations(case.path_and_query.as_bytes()) {
            let Ok(target) = http::Uri::try_from(target) else {
                continue;
            };
            let mut request = case.request();
            *request.uri_mut() = target;
            let outcome = send(&OssCallbackLayer::new(), request).await;
            assert!(
                matches!(
                    outcome.kind(),
                    Some(
                        CallbackErrorKind::SignatureMismatch
                            | CallbackErrorKind::NonCanonicalTarget
                    )
                ),
                "{outcome:?}"
            );
            assert!(matches!(outcome.status.as_u16(), 400 | 403));
            assert!(outcome.seen.is_none());
        }
    }
}

#[tokio::test]
async fn one_byte_of_the_signature_changed_is_refused() {
    for case in Case::genuine() {
        for signature in mutations(&case.signature()) {
            let mut request = case.request();
            let value = STANDARD.encode(signature).parse().unwrap();
            request.headers_mut().insert("authorization", value);
            let outcome = send(&OssCallbackLayer::new(), request).await;
            outcome.assert_refused(403, CallbackErrorKind::SignatureMismatch);
        }
        // The same for the Base64 text. If it is no longer valid Base64, the status is 400.
        for text in mutations(case.headers["authorization"].as_bytes()) {
            let mut request = case.request();
            let strict = STANDARD.decode(&text).is_ok();
            let value = http::HeaderValue::from_bytes(&text).unwrap();
            request.headers_mut().insert("authorization", value);
            let outcome = send(&OssCallbackLayer::new(), request).await;
            match strict {
                true => outcome.assert_refused(403, CallbackErrorKind::SignatureMismatch),
                false => outcome.assert_refused(400, CallbackErrorKind::InvalidHeader),
            }
        }
    }
}

#[tokio::test]
async fn a_genuine_callback_with_every_header_of_oss_is_accepted() {
    let case = Case::named("official-doc-index-php");
    let request: Request<Full<Bytes>> = case
        .builder()
        .header("host", "88.88.88.88:8888")
        .header("connection", "close")
        .header("content-length", case.body.len())
        .header("content-md5", "not checked")
        .header("date", "Tue, 15 Sep 2015 12:37:27 GMT")
        .header("user-agent", "aliyun-oss-callback")
        .header("x-oss-additional-headers", "")
        .header("x-oss-bucket", "examplebucket")
        .header("x-oss-owner", "1234567890")
        .header("x-oss-requester", "1234567891")
        .header("x-oss-request-id", "55F6BF87207FB30F2640C548")
        .header("x-oss-signature-version", "1.0")
        .header("x-oss-tag", "CALLBACK")
        .header("eagleeye-rpcid", "0.1")
        .body(full(case.body.clone()))
        .unwrap();
    let outcome = send(&OssCallbackLayer::new(), request).await;
    let callback = outcome.assert_accepted().verified.clone().unwrap();
    assert_eq!(callback.unauthenticated_bucket(), Some("examplebucket"));
    assert_eq!(callback.unauthenticated_owner(), Some("1234567890"));
    assert_eq!(callback.unauthenticated_requester(), Some("1234567891"));
    assert_eq!(
        callback.unauthenticated_request_id(),
        Some("55F6BF87207FB30F2640C548")
    );
}
