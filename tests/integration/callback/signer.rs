//! `CallbackSigner` creates requests as OSS sends them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::support::{FORM, JSON, KEY_URL_V1, md5, send};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tower_aliyun_oss::{
    OssCallbackLayer,
    callback::CallbackErrorKind,
    key::PublicKey,
    testing::{CallbackSigner, SignError},
};

const URL: &str = "https://app.example:8443/oss/callback?from=oss&x=%2f";

fn layer(signer: &CallbackSigner) -> OssCallbackLayer {
    OssCallbackLayer::new().key_source(signer.key_source())
}

#[test]
fn every_header_that_oss_sets() {
    // A published capture with this time has the request id 5CF3E782….
    let time = UNIX_EPOCH + Duration::from_secs(0x5CF3_E782);
    let signer = CallbackSigner::new();
    let request: Request<Bytes> = signer
        .callback(URL)
        .form("bucket=a")
        .bucket("b-1")
        .owner("1")
        .requester("2")
        .time(time)
        .request()
        .unwrap();
    assert_eq!(request.method(), "POST");
    assert_eq!(request.uri(), "/oss/callback?from=oss&x=%2f");
    assert_eq!(request.body(), "bucket=a");

    let headers = request.headers();
    let mut names: Vec<_> = headers.keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    let expected = [
        "authorization",
        "connection",
        "content-length",
        "content-md5",
        "content-type",
        "date",
        "host",
        "user-agent",
        "x-oss-additional-headers",
        "x-oss-bucket",
        "x-oss-owner",
        "x-oss-pub-key-url",
        "x-oss-request-id",
        "x-oss-requester",
        "x-oss-signature-version",
        "x-oss-tag",
    ];
    assert_eq!(names, expected);
    assert_eq!(headers.len(), expected.len(), "each header must occur once");
    for (name, value) in [
        ("connection", "close"),
        ("content-length", "8"),
        ("content-md5", &*STANDARD.encode(md5(b"bucket=a"))),
        ("content-type", FORM),
        ("date", "Sun, 02 Jun 2019 15:13:06 GMT"),
        ("host", "app.example:8443"),
        ("user-agent", "aliyun-oss-callback"),
        ("x-oss-additional-headers", ""),
        ("x-oss-bucket", "b-1"),
        ("x-oss-owner", "1"),
        ("x-oss-pub-key-url", KEY_URL_V1),
        ("x-oss-requester", "2"),
        ("x-oss-signature-version", "1.0"),
        ("x-oss-tag", "CALLBACK"),
    ] {
        assert_eq!(headers[name], value, "{name}");
    }
    let id = headers["x-oss-request-id"].to_str().unwrap();
    assert_eq!((id.len(), &id[..8]), (24, "5CF3E782"));
    assert_eq!(
        STANDARD.decode(&headers["authorization"]).unwrap().len(),
        64
    );

    let given: Request<Bytes> = signer.callback(URL).request_id("77").request().unwrap();
    assert_eq!(given.headers()["x-oss-request-id"], "77");
}

#[tokio::test]
async fn a_layer_with_its_key_takes_it_and_no_other() {
    let signer = CallbackSigner::new();
    let request = |url| -> Request<Full<Bytes>> {
        let callback = signer.callback(url).json(r#"{"size":1}"#);
        callback.request().unwrap()
    };
    for url in [
        URL,
        "http://app.example",
        "http://app.example?",
        "/",
        "/%E4%B8%AD/?a=b",
    ] {
        let outcome = send(&layer(&signer), request(url)).await;
        let seen = outcome.assert_accepted();
        assert_eq!(seen.headers["content-type"], JSON);
        assert_eq!(seen.body, r#"{"size":1}"#);
        let verified = seen.verified.as_ref().unwrap();
        assert_eq!(verified.unauthenticated_bucket(), Some("examplebucket"));
        assert_eq!(verified.key(), Some(signer.public_key()));

        let outcome = send(&OssCallbackLayer::new(), request(url)).await;
        outcome.assert_refused(403, CallbackErrorKind::SignatureMismatch);
    }
    // OSS would sign this unwise callback URL too. The layer rejects it.
    let outcome = send(&layer(&signer), request("/a%2Fb")).await;
    outcome.assert_refused(400, CallbackErrorKind::NonCanonicalTarget);
}

#[tokio::test]
async fn keys_that_you_load() {
    // As long as the key of OSS, so that tests sign as fast as OSS does.
    assert_eq!(CallbackSigner::new().public_key().bits(), 512);
    for (pem, bits) in [
        (include_str!("../../keys/rsa_512.pem"), 512),
        (include_str!("../../keys/rsa_2048.pem"), 2048),
        (include_str!("../../keys/rsa_2048_pkcs8.pem"), 2048),
    ] {
        let signer = CallbackSigner::from_pem(pem).unwrap();
        assert_eq!(signer.public_key().bits(), bits);
        let request: Request<Full<Bytes>> = signer.callback(URL).form("a=b").request().unwrap();
        send(&layer(&signer), request).await.assert_accepted();
    }
    for not_a_key in [
        "",
        "x",
        include_str!("../../../src/key/callback_pub_key_v1.pem"),
    ] {
        let error = CallbackSigner::from_pem(not_a_key).unwrap_err();
        assert_eq!(error, SignError::NotAPrivateKey);
    }
}

#[test]
fn what_cannot_be_made() {
    let signer = CallbackSigner::default();
    let error = |url| {
        signer
            .callback(url)
            .request::<Bytes>()
            .map(drop)
            .unwrap_err()
    };
    for url in ["", "app.example", "*", "/a b", "http://", "not a url"] {
        assert_eq!(error(url), SignError::Url, "{url:?}");
    }
    let header = signer.callback(URL).bucket("a\r\nb").request::<Bytes>();
    assert_eq!(header.map(drop), Err(SignError::Header));
    let far = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(400_000_000_000));
    let time = signer.callback(URL).time(far.unwrap()).request::<Bytes>();
    assert_eq!(time.map(drop), Err(SignError::Time));
}

#[test]
fn the_private_key_is_not_shown() {
    let signer = CallbackSigner::new();
    let shown = format!("{signer:?} {:#?}", signer.callback(URL));
    assert!(shown.contains("CallbackSigner"));
    let pem = include_str!("../../../src/testing/rsa_512.pem");
    assert!(!shown.contains(pem.lines().nth(1).unwrap()));
    assert!(shown.len() < 2000, "{shown}");
}

#[test]
fn the_public_key_is_exported_as_pem() {
    let signer = CallbackSigner::new();
    let published = include_str!("../../../src/testing/public_key.pem");
    assert_eq!(signer.public_key_pem().trim(), published.trim());
    let parsed = PublicKey::from_pem(signer.public_key_pem().as_bytes()).unwrap();
    assert_eq!(parsed, *signer.public_key());
    let own = CallbackSigner::from_pem(include_str!("../../keys/rsa_2048.pem")).unwrap();
    assert_ne!(own.public_key_pem(), signer.public_key_pem());
}
