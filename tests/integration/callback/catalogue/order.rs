//! DF: the cost of requests before their signature is verified.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, header::HeaderName};
use http_body::{Body, Frame};
use tokio::time::Instant;
use tower_aliyun_oss::callback::CallbackErrorKind as Kind;

use crate::support::{FORM, Frames, Signer, builder, send};

/// Panics when it is read.
struct Untouchable;

impl Body for Untouchable {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        panic!("the body must not be read");
    }
}

#[tokio::test]
async fn df_20_a_bad_head_is_refused_before_the_body_is_read() {
    type Change = (u16, Kind, fn(&mut Request<Untouchable>));
    fn set(request: &mut Request<Untouchable>, name: &'static str, value: &'static str) {
        let name = HeaderName::from_static(name);
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    fn repeat(request: &mut Request<Untouchable>, name: &'static str) {
        let value = request.headers()[name].clone();
        request.headers_mut().append(name, value);
    }
    let changes: [Change; 16] = [
        (405, Kind::MethodNotAllowed, |request| {
            *request.method_mut() = http::Method::PUT;
        }),
        (400, Kind::MissingHeader, |request| {
            request.headers_mut().remove("authorization");
        }),
        (400, Kind::MissingHeader, |request| {
            request.headers_mut().remove("x-oss-pub-key-url");
        }),
        (400, Kind::DuplicateHeader, |request| {
            repeat(request, "authorization");
        }),
        (400, Kind::DuplicateHeader, |request| {
            repeat(request, "x-oss-pub-key-url");
        }),
        (400, Kind::InvalidHeader, |request| {
            set(request, "authorization", "not base64");
        }),
        (400, Kind::InvalidHeader, |request| {
            set(request, "x-oss-pub-key-url", "not base64");
        }),
        (403, Kind::KeyUrlRejected, |request| {
            set(request, "x-oss-pub-key-url", "aHR0cDovL2V2aWwuZXhhbXBsZS8=");
        }),
        (400, Kind::UnsupportedSignatureVersion, |request| {
            set(request, "x-oss-signature-version", "2.0");
        }),
        (400, Kind::NonCanonicalTarget, |request| {
            *request.uri_mut() = "/cb/%2e".parse().unwrap();
        }),
        (400, Kind::InvalidHeader, |request| {
            set(request, "content-length", "+5");
        }),
        (413, Kind::BodyTooLarge, |request| {
            set(request, "content-length", "65537");
        }),
        (415, Kind::UnsupportedContentType, |request| {
            set(request, "content-type", "text/plain");
        }),
        (415, Kind::UnsupportedContentType, |request| {
            request.headers_mut().remove("content-type");
        }),
        (415, Kind::UnsupportedContentType, |request| {
            repeat(request, "content-type");
        }),
        (415, Kind::UnsupportedContentEncoding, |request| {
            set(request, "content-encoding", "gzip");
        }),
    ];
    let signer = Signer::with_512_bits();
    for (status, kind, change) in changes {
        let mut request = signer
            .builder("/cb", FORM, b"a=b")
            .body(Untouchable)
            .unwrap();
        change(&mut request);
        let outcome = send(&signer.layer(), request).await;
        outcome.assert_refused(status, kind);
    }
    // A signature that is too long for any key is rejected without reading or hashing the body. A
    // merely wrong length is found later, as it depends on the key.
    let long = "QUFB".repeat(257);
    let mut request = signer
        .builder("/cb", FORM, b"a=b")
        .body(Untouchable)
        .unwrap();
    let headers = request.headers_mut();
    headers.insert("authorization", long.parse().unwrap());
    send(&signer.layer(), request)
        .await
        .assert_refused(403, Kind::SignatureMismatch);
}

#[tokio::test(start_paused = true)]
async fn df_15_a_thousand_slow_bodies_hold_up_nobody() {
    let signer = Signer::with_512_bits();
    let layer = signer.layer();
    // Each sends one frame, then stalls.
    let signature = signer.sign("/cb", b"a=b");
    let start = Instant::now();
    let slow: Vec<_> = (0..1000)
        .map(|_| {
            let piece = Frames::data([Bytes::from_static(b"a")]).then_never_end();
            let request = builder("/cb", FORM, &signature).body(piece).unwrap();
            let layer = layer.clone();
            tokio::spawn(async move { send(&layer, request).await })
        })
        .collect();
    tokio::task::yield_now().await;

    for _ in 0..1000 {
        let good = builder("/cb", FORM, &signature)
            .body(Frames::data([Bytes::from_static(b"a=b")]))
            .unwrap();
        send(&layer, good).await.assert_accepted();
    }
    assert_eq!(
        start.elapsed(),
        Duration::ZERO,
        "good requests must not wait"
    );

    for slow in slow {
        let outcome = slow.await.unwrap();
        outcome.assert_refused(408, Kind::BodyTimeout);
    }
    assert_eq!(start.elapsed().as_secs(), 3);
}

#[tokio::test]
async fn df_15_a_slow_body_without_a_valid_head_is_never_waited_for() {
    let signer = Signer::with_512_bits();
    for name in ["authorization", "x-oss-pub-key-url", "content-type"] {
        let mut request = signer
            .builder("/cb", FORM, b"a=b")
            .body(Untouchable)
            .unwrap();
        request.headers_mut().remove(name);
        let outcome = send(&signer.layer(), request).await;
        assert!(outcome.status.is_client_error() && outcome.seen.is_none());
    }
}
