//! DF: bodies and key lookups that are too large, too slow or fail.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request};
use http_body::{Body, Frame};
use http_body_util::Limited;
use tokio::time::{self, Instant, Interval};
use tower_aliyun_oss::{
    Lookup, OssCallbackLayer,
    callback::{CallbackErrorKind as Kind, VerifierConfig},
    key::{KeyError, KeySource, KeyTable, KeyUrl, PinnedKeys, PublicKey},
};

use crate::support::{Case, FORM, Frames, Log, Signer, full, send};

const LIMIT: usize = VerifierConfig::DEFAULT_BODY_LIMIT;

fn builder(signer: &Signer, body: &[u8]) -> http::request::Builder {
    signer.builder("/cb", FORM, body)
}

#[tokio::test]
async fn df_14_a_body_of_exactly_the_limit_is_accepted() {
    let signer = Signer::with_512_bits();
    let body = vec![b'x'; LIMIT];
    let one = builder(&signer, &body).header("content-length", LIMIT);
    let outcome = send(&signer.layer(), one.body(full(body.clone())).unwrap()).await;
    assert_eq!(outcome.assert_accepted().body, body);
    let chunks = body.chunks(1000).map(Bytes::copy_from_slice);
    let outcome = send(
        &signer.layer(),
        builder(&signer, &body).body(Frames::data(chunks)).unwrap(),
    )
    .await;
    assert_eq!(outcome.assert_accepted().body, body);
}

#[tokio::test]
async fn df_14_a_byte_more_is_refused() {
    let signer = Signer::with_512_bits();
    let body = vec![b'x'; LIMIT + 1];
    let outcome = send(
        &signer.layer(),
        builder(&signer, &body).body(full(body.clone())).unwrap(),
    )
    .await;
    outcome.assert_refused(413, Kind::BodyTooLarge);
    // A higher limit accepts it.
    let layer = signer.layer().body_limit(LIMIT + 1);
    send(
        &layer,
        builder(&signer, &body).body(full(body.clone())).unwrap(),
    )
    .await
    .assert_accepted();
}

/// An endless body that counts the bytes that were read.
struct Endless(Arc<AtomicUsize>);

impl Body for Endless {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 1024])))))
    }
}

#[tokio::test]
async fn df_14_an_announced_10_gib_is_refused_before_reading() {
    let signer = Signer::with_512_bits();
    for length in ["10737418240", "65537", "18446744073709551615"] {
        let frames = Arc::new(AtomicUsize::new(0));
        let request = builder(&signer, b"").header("content-length", length);
        let request = request.body(Endless(Arc::clone(&frames))).unwrap();
        send(&signer.layer(), request)
            .await
            .assert_refused(413, Kind::BodyTooLarge);
        assert_eq!(frames.load(Ordering::Relaxed), 0);
    }
}

#[tokio::test]
async fn df_14_an_endless_body_is_refused_at_the_limit() {
    let signer = Signer::with_512_bits();
    let frames = Arc::new(AtomicUsize::new(0));
    let request = builder(&signer, b"")
        .body(Endless(Arc::clone(&frames)))
        .unwrap();
    send(&signer.layer(), request)
        .await
        .assert_refused(413, Kind::BodyTooLarge);
    assert_eq!(frames.load(Ordering::Relaxed), LIMIT / 1024 + 1);
}

#[tokio::test]
async fn df_14_a_length_that_lies_is_refused() {
    let signer = Signer::with_512_bits();
    for length in [0, 2, 4, 100] {
        let request = builder(&signer, b"a=b").header("content-length", length);
        let outcome = send(&signer.layer(), request.body(full("a=b")).unwrap()).await;
        outcome.assert_refused(400, Kind::BodyIncomplete);
    }
    for length in ["+3", "-3", "3.0", " 3 3", "0x3", "", "99999999999999999999"] {
        let request = builder(&signer, b"a=b").header("content-length", length);
        let outcome = send(&signer.layer(), request.body(full("a=b")).unwrap()).await;
        outcome.assert_refused(400, Kind::InvalidHeader);
    }
    let request = builder(&signer, b"a=b")
        .header("content-length", 3)
        .header("content-length", 3);
    let outcome = send(&signer.layer(), request.body(full("a=b")).unwrap()).await;
    outcome.assert_refused(400, Kind::DuplicateHeader);
}

#[tokio::test]
async fn df_14_a_broken_connection_is_refused() {
    let signer = Signer::with_512_bits();
    let body = Frames::data([Bytes::from_static(b"a=")]).then_break();
    let outcome = send(
        &signer.layer(),
        builder(&signer, b"a=b").body(body).unwrap(),
    )
    .await;
    outcome.assert_refused(400, Kind::BodyIncomplete);
}

#[tokio::test]
async fn df_14_a_limit_outside_is_seen_as_one() {
    let signer = Signer::with_512_bits();
    let body = Limited::new(full(vec![b'x'; 100]), 10);
    let outcome = send(
        &signer.layer(),
        builder(&signer, b"").body(Boxed(body)).unwrap(),
    )
    .await;
    outcome.assert_refused(413, Kind::BodyTooLarge);
}

/// Wraps the error of a body, as layers do.
struct Boxed<B>(B);

#[derive(Debug)]
struct Wrapped(Box<dyn std::error::Error + Send + Sync>);

impl std::fmt::Display for Wrapped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("wrapped")
    }
}

impl std::error::Error for Wrapped {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}

impl<B: Body<Error = Box<dyn std::error::Error + Send + Sync>> + Unpin> Body for Boxed<B> {
    type Data = B::Data;
    type Error = Wrapped;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, Wrapped>>> {
        Pin::new(&mut self.0)
            .poll_frame(cx)
            .map(|frame| frame.map(|frame| frame.map_err(Wrapped)))
    }
}

/// Yields one byte per interval.
struct Trickle(Interval, std::vec::IntoIter<u8>);

impl Trickle {
    fn new(every: Duration, body: &[u8]) -> Self {
        let mut interval = time::interval(every);
        interval.reset();
        Self(interval, Vec::from(body).into_iter())
    }
}

impl Body for Trickle {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        std::task::ready!(self.0.poll_tick(cx));
        let byte = self.1.next();
        Poll::Ready(byte.map(|byte| Ok(Frame::data(Bytes::from(vec![byte])))))
    }
}

#[tokio::test(start_paused = true)]
async fn df_14_a_byte_a_second_is_cut_off_after_3_s() {
    let signer = Signer::with_512_bits();
    let body = Trickle::new(Duration::from_secs(1), b"bucket=examplebucket");
    let request = builder(&signer, b"bucket=examplebucket")
        .body(body)
        .unwrap();
    let start = Instant::now();
    send(&signer.layer(), request)
        .await
        .assert_refused(408, Kind::BodyTimeout);
    assert_eq!(start.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn df_14_a_body_that_never_ends_is_cut_off_after_3_s() {
    let signer = Signer::with_512_bits();
    let body = Frames::data([Bytes::from_static(b"a=b")]).then_never_end();
    let start = Instant::now();
    let outcome = send(
        &signer.layer(),
        builder(&signer, b"a=b").body(body).unwrap(),
    )
    .await;
    outcome.assert_refused(408, Kind::BodyTimeout);
    assert_eq!(start.elapsed().as_secs(), 3);
}

/// Yields empty frames without end, and is always ready.
struct Nothing;

impl Body for Nothing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::new()))))
    }
}

#[tokio::test]
async fn df_14_endless_empty_frames_meet_the_deadline() {
    let signer = Signer::with_512_bits();
    // A paused clock advances only when no task is ready, and this body is always ready. So use the
    // real clock.
    let layer = signer.layer().body_deadline(Duration::from_millis(20));
    let outcome = send(&layer, builder(&signer, b"").body(Nothing).unwrap()).await;
    outcome.assert_refused(408, Kind::BodyTimeout);
}

#[tokio::test(start_paused = true)]
async fn a_slow_body_within_the_deadline_is_accepted() {
    let signer = Signer::with_512_bits();
    let body = Trickle::new(Duration::from_millis(100), b"bucket=examplebucket");
    let request = builder(&signer, b"bucket=examplebucket")
        .body(body)
        .unwrap();
    send(&signer.layer(), request).await.assert_accepted();
}

/// A key source whose lookups take a while, or never complete.
struct Late {
    keys: PinnedKeys,
    after: Option<Duration>,
}

impl KeySource for Late {
    fn table(&self) -> &KeyTable {
        self.keys.table()
    }

    fn key(&self, url: &KeyUrl) -> Lookup<PublicKey, KeyError> {
        let (found, after) = (self.keys.key(url), self.after);
        Lookup::Pending(Box::pin(async move {
            match after {
                Some(after) => time::sleep(after).await,
                None => std::future::pending().await,
            }
            match found {
                Lookup::Ready(key) => key,
                Lookup::Pending(_) => unreachable!(),
            }
        }))
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_comes_in_time_is_waited_for() {
    let signer = Signer::with_512_bits();
    let source = Late {
        keys: signer.keys(),
        after: Some(Duration::from_millis(3900)),
    };
    let layer = OssCallbackLayer::new().key_source(source);
    send(&layer, signer.request("/cb", FORM, b"a=b"))
        .await
        .assert_accepted();
}

#[tokio::test(start_paused = true)]
async fn body_and_key_together_have_4_s() {
    let signer = Signer::with_512_bits();
    for after in [None, Some(Duration::from_secs(3))] {
        let source = Late {
            keys: signer.keys(),
            after,
        };
        let layer = OssCallbackLayer::new().key_source(source);
        // The body takes two seconds of the deadline, so two remain for the key.
        let body = Trickle::new(Duration::from_millis(500), b"a=b");
        let start = Instant::now();
        let outcome = send(&layer, builder(&signer, b"a=b").body(body).unwrap()).await;
        outcome.assert_refused(503, Kind::DeadlineExceeded);
        assert_eq!(start.elapsed().as_secs(), 4);
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_before_that_of_the_body_is_503() {
    let signer = Signer::with_512_bits();
    let body = Frames::data([]).then_never_end();
    let layer = signer.layer().deadline(Duration::from_secs(2));
    let start = Instant::now();
    let outcome = send(&layer, builder(&signer, b"").body(body).unwrap()).await;
    outcome.assert_refused(503, Kind::DeadlineExceeded);
    assert_eq!(start.elapsed().as_secs(), 2);
}

#[tokio::test(start_paused = true)]
async fn deadlines_beyond_the_clock_are_none() {
    let signer = Signer::with_512_bits();
    let layer = signer
        .layer()
        .body_deadline(Duration::MAX)
        .deadline(Duration::MAX);
    let body = Trickle::new(Duration::from_secs(3600), b"a=b");
    send(&layer, builder(&signer, b"a=b").body(body).unwrap())
        .await
        .assert_accepted();
}

/// A key source that fails.
struct Down(KeyTable);

impl KeySource for Down {
    fn table(&self) -> &KeyTable {
        &self.0
    }

    fn key(&self, _: &KeyUrl) -> Lookup<PublicKey, KeyError> {
        Lookup::Ready(Err(KeyError::Unavailable(Arc::new(io::Error::other(
            "key server",
        )))))
    }
}

#[tokio::test]
async fn a_key_that_cannot_be_got_is_503_and_the_log_says_which() {
    let log = Log::default();
    let _guard = log.listen();
    // Version 2, which is not pinned.
    let v2 = "aHR0cHM6Ly9nb3NzcHVibGljLmFsaWNkbi5jb20vY2FsbGJhY2tfcHViX2tleV92Mi5wZW0=";
    let request = || {
        let mut request = Case::named("official-doc-index-php").request();
        request
            .headers_mut()
            .insert("x-oss-pub-key-url", HeaderValue::from_static(v2));
        request
    };
    let layer = OssCallbackLayer::new();
    let outcome = send(&layer, request()).await;
    outcome.assert_refused(503, Kind::KeyUnavailable);
    assert!(
        !String::from_utf8_lossy(&outcome.body).contains("v2"),
        "the response must not contain request data"
    );
    assert_eq!(log.count("WARN", "version=2"), 1);
    // WARN once per version and layer, then DEBUG.
    send(&layer, request())
        .await
        .assert_refused(503, Kind::KeyUnavailable);
    assert_eq!(log.count("WARN", "version=2"), 1);
    assert_eq!(log.count("DEBUG", "callback_pub_key_v2.pem"), 1);

    let down = OssCallbackLayer::new().key_source(Down(KeyTable::official()));
    let outcome = send(&down, Case::named("official-doc-index-php").request()).await;
    outcome.assert_refused(503, Kind::KeyUnavailable);
    assert_eq!(log.count("WARN", "version=1"), 1);
}

#[tokio::test]
async fn keys_of_your_own_have_their_own_table() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let signer = Signer::with_1024_bits();
    let keys = PinnedKeys::own("store.internal:8443", [("/keys/v1.pem", signer.public())]).unwrap();
    let layer = OssCallbackLayer::new().key_source(keys);
    let request = |url: &str| {
        let mut request: Request<_> = signer.request("/cb", FORM, b"a=b");
        request
            .headers_mut()
            .insert("x-oss-pub-key-url", STANDARD.encode(url).parse().unwrap());
        request
    };
    for url in [
        "http://store.internal:8443/keys/v1.pem",
        "https://store.internal:8443/keys/v1.pem",
    ] {
        let outcome = send(&layer, request(url)).await;
        let callback = outcome.assert_accepted().verified.clone().unwrap();
        assert_eq!(
            callback.key_url().unwrap().to_string(),
            "https://store.internal:8443/keys/v1.pem"
        );
        assert_eq!(callback.key_url().unwrap().official_version(), None);
    }
    for url in [
        "https://store.internal/keys/v1.pem",
        "https://store.internal:8443/keys/v2.pem",
        "https://gosspublic.alicdn.com/callback_pub_key_v1.pem",
    ] {
        send(&layer, request(url))
            .await
            .assert_refused(403, Kind::KeyUrlRejected);
    }
}

#[tokio::test]
async fn answers_that_oss_would_not_take_are_warned_of_once_a_cause() {
    use http::Response;
    use tower::{Layer as _, ServiceExt as _, service_fn};

    let log = Log::default();
    let _guard = log.listen();
    let signer = Signer::with_512_bits();
    let layer = signer.layer();
    let answer = async |status: u16, body: Frames, length: Option<u64>, content_type: bool| {
        let body = Mutex::new(Some(body));
        let inner = service_fn(move |_: Request<_>| {
            let mut response = Response::new(body.lock().unwrap().take().unwrap());
            *response.status_mut() = status.try_into().unwrap();
            if content_type {
                let json = "application/json".parse().unwrap();
                response.headers_mut().insert("content-type", json);
            }
            if let Some(length) = length {
                response
                    .headers_mut()
                    .insert("content-length", length.into());
            }
            std::future::ready(Ok::<_, std::convert::Infallible>(response))
        });
        let inner = Arc::new(Mutex::new(inner));
        let inner = service_fn(move |request| {
            use tower::Service as _;
            inner.lock().unwrap().call(request)
        });
        layer
            .layer(inner)
            .oneshot(signer.request("/cb", FORM, b"a=b"))
            .await
            .unwrap()
            .status()
    };
    let body = || Frames::data([Bytes::from_static(b"{}")]);
    for _ in 0..3 {
        // This body has no exact size hint, so the length comes from the header.
        assert_eq!(answer(200, body(), Some(2), true).await, 200);
    }
    assert_eq!(log.count("WARN", ""), 0);
    for _ in 0..3 {
        assert_eq!(
            answer(201, body(), Some(2), true).await,
            201,
            "the response must not change"
        );
        assert_eq!(answer(200, body(), None, true).await, 200);
        assert_eq!(answer(200, body(), Some(1024 * 1024 + 1), true).await, 200);
    }
    for _ in 0..3 {
        assert_eq!(answer(200, body(), Some(2), false).await, 200);
    }
    assert_eq!(log.count("WARN", "is not 200"), 1);
    assert_eq!(log.count("WARN", "no exact length"), 1);
    assert_eq!(log.count("WARN", "over 1 MiB"), 1);
    assert_eq!(log.count("WARN", "neither JSON nor XML"), 1);
    assert_eq!(log.count("WARN", ""), 4);
}
