//! Parts that the signature does not cover: key URL, content encoding and other headers.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tower::{Layer as _, ServiceBuilder, ServiceExt as _};
use tower_aliyun_oss::{
    OssCallbackLayer,
    callback::CallbackErrorKind as Kind,
    key::{PinnedKeys, PublicKey},
};
use tower_http::decompression::RequestDecompressionLayer;

use crate::support::{FORM, Handler, Signer, builder, full, send};

/// Base64 of `https://gosspublic.alicdn.com/callback_pub_key_v2.pem`.
const KEY_URL_V2: &str = "aHR0cHM6Ly9nb3NzcHVibGljLmFsaWNkbi5jb20vY2FsbGJhY2tfcHViX2tleV92Mi5wZW0=";

#[tokio::test]
async fn sg_15_a_signature_counts_only_under_the_key_that_is_named() {
    let first = Signer::with_512_bits();
    let second = Signer::with_1024_bits();
    let keys = PinnedKeys::official()
        .with_version(1, first.public())
        .with_version(2, second.public());
    let layer = OssCallbackLayer::new().key_source(keys);
    let request = |signer: &Signer, version: u8| {
        let mut request = signer.request("/cb", FORM, b"a=b");
        if version == 2 {
            let url = KEY_URL_V2.parse().unwrap();
            request.headers_mut().insert("x-oss-pub-key-url", url);
        }
        request
    };
    for (signer, version, key) in [(&first, 1, first.public()), (&second, 2, second.public())] {
        let outcome = send(&layer, request(signer, version)).await;
        let callback = outcome.assert_accepted().verified.clone().unwrap();
        let verified_with: &PublicKey = callback.key().unwrap();
        assert_eq!(*verified_with, key);
    }
    for (signer, version) in [(&first, 2), (&second, 1)] {
        send(&layer, request(signer, version))
            .await
            .assert_refused(403, Kind::SignatureMismatch);
    }
}

/// Base64 of `bucket=b` in gzip.
const ZIPPED: &str = "H4sIAAAAAAACA0sqTc5OLbFNAgD8M2q/CAAAAA==";

#[tokio::test]
async fn sg_19_a_coded_body_is_refused_before_anything_decodes_it() {
    let signer = Signer::with_512_bits();
    let zipped = STANDARD.decode(ZIPPED).unwrap();
    let coded = |signed: &[u8]| -> Request<Full<Bytes>> {
        builder("/cb", FORM, &signer.sign("/cb", signed))
            .header("content-encoding", "gzip")
            .body(full(zipped.clone()))
            .unwrap()
    };

    for signed in [&zipped[..], b"bucket=b"] {
        let outcome = send(&signer.layer(), coded(signed)).await;
        outcome.assert_refused(415, Kind::UnsupportedContentEncoding);
    }
    for coding in ["identity", "", "br", "gzip, gzip"] {
        let mut request = signer.request("/cb", FORM, b"bucket=b");
        request
            .headers_mut()
            .insert("content-encoding", coding.parse().unwrap());
        let outcome = send(&signer.layer(), request).await;
        outcome.assert_refused(415, Kind::UnsupportedContentEncoding);
    }

    // A decoder inside of the layer never receives the request.
    let app = ServiceBuilder::new()
        .layer(signer.layer())
        .layer(RequestDecompressionLayer::new())
        .service_fn(|_: Request<_>| async {
            unreachable!("an encoded body reached the handler");
            #[expect(unreachable_code, reason = "names the type of the answer")]
            Ok::<_, tower::BoxError>(http::Response::new(full("")))
        });
    assert_eq!(app.oneshot(coded(&zipped)).await.unwrap().status(), 415);

    // A decoder outside passes the decoded bytes to the layer. The signature must cover exactly
    // those.
    for (signed, status) in [(&b"bucket=b"[..], 200), (&zipped[..], 403)] {
        let handler = Handler::default();
        let app = ServiceBuilder::new()
            .layer(RequestDecompressionLayer::new())
            .service(signer.layer().layer(handler.clone()));
        assert_eq!(app.oneshot(coded(signed)).await.unwrap().status(), status);
        let bodies: Vec<Bytes> = handler.seen().into_iter().map(|seen| seen.body).collect();
        assert_eq!(
            bodies,
            vec![Bytes::from("bucket=b"); usize::from(status == 200)]
        );
    }
}

#[tokio::test]
async fn sg_24_headers_that_are_not_signed_are_marked_so() {
    let signer = Signer::with_512_bits();
    let request = signer
        .builder("/cb", FORM, b"bucket=mine")
        .header("x-oss-bucket", "forged")
        .header("x-oss-owner", "1")
        .header("x-oss-requester", "2")
        .header("x-oss-request-id", "3")
        .header("date", "Thu, 01 Jan 1970 00:00:00 GMT")
        .header("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")
        .header("host", "forged.example")
        .body(full("bucket=mine"))
        .unwrap();
    let outcome = send(&signer.layer(), request).await;
    let callback = outcome.assert_accepted().verified.clone().unwrap();
    assert_eq!(callback.unauthenticated_bucket(), Some("forged"));
    assert_eq!(callback.unauthenticated_owner(), Some("1"));
    assert_eq!(callback.unauthenticated_requester(), Some("2"));
    assert_eq!(callback.unauthenticated_request_id(), Some("3"));

    // Repeated or non-text values count as absent.
    let request = signer
        .builder("/cb", FORM, b"bucket=mine")
        .header("x-oss-bucket", "one")
        .header("x-oss-bucket", "two")
        .header("x-oss-owner", &b"\xe4\xb8\xad"[..])
        .body(full("bucket=mine"))
        .unwrap();
    let outcome = send(&signer.layer(), request).await;
    let callback = outcome.assert_accepted().verified.clone().unwrap();
    assert_eq!(callback.unauthenticated_bucket(), None);
    assert_eq!(callback.unauthenticated_owner(), None);
}
