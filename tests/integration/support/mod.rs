//! Shared by the tests: cases, test keys, and a handler that records its requests.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    missing_debug_implementations
)]

pub mod oss;
pub mod tokens;

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt as _, Full};
use md5::{Digest as _, Md5};
use percent_encoding::percent_decode_str;
use rsa::{
    BoxedUint, PrivateKey,
    pkcs1::DecodeRsaPrivateKey as _,
    pkcs8::EncodePublicKey as _,
    traits::{PrivateKeyParts as _, PublicKeyParts as _},
};
use serde::Deserialize;
use tower::{Layer as _, Service, ServiceExt as _};
use tower_aliyun_oss::{
    OssCallbackLayer,
    callback::{CallbackError, CallbackErrorKind, CallbackReply, RequestBody, VerifiedCallback},
    key::{PinnedKeys, PublicKey},
};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

pub const FORM: &str = "application/x-www-form-urlencoded";
pub const JSON: &str = "application/json";

/// Base64 of `https://gosspublic.alicdn.com/callback_pub_key_v1.pem`.
pub const KEY_URL_V1: &str =
    "aHR0cHM6Ly9nb3NzcHVibGljLmFsaWNkbi5jb20vY2FsbGJhY2tfcHViX2tleV92MS5wZW0=";

/// A callback from `cases/callbacks.json`.
#[derive(Clone, Debug, Deserialize)]
pub struct Case {
    pub name: String,
    pub path_and_query: String,
    pub headers: std::collections::BTreeMap<String, String>,
    pub body: String,
    pub genuine: bool,
}

impl Case {
    pub fn all() -> Vec<Self> {
        serde_json::from_str(include_str!("../../cases/callbacks.json")).unwrap()
    }

    pub fn genuine() -> Vec<Self> {
        Self::all()
            .into_iter()
            .filter(|case| case.genuine)
            .collect()
    }

    pub fn named(name: &str) -> Self {
        Self::all()
            .into_iter()
            .find(|case| case.name == name)
            .unwrap()
    }

    pub fn content_type(&self) -> &str {
        match self.headers.get("content-type") {
            Some(content_type) => content_type,
            None if self.body.starts_with('{') => JSON,
            None => FORM,
        }
    }

    pub fn signature(&self) -> Vec<u8> {
        STANDARD.decode(&self.headers["authorization"]).unwrap()
    }

    pub fn builder(&self) -> http::request::Builder {
        let mut builder = Request::post(&*self.path_and_query);
        for (name, value) in &self.headers {
            builder = builder.header(name, value);
        }
        if !self.headers.contains_key("content-type") {
            builder = builder.header("content-type", self.content_type());
        }
        builder
    }

    pub fn request(&self) -> Request<Full<Bytes>> {
        self.builder().body(Full::from(self.body.clone())).unwrap()
    }
}

/// A private test key.
pub struct Signer(PrivateKey);

impl Signer {
    pub fn with_512_bits() -> Self {
        Self::from_pem(include_str!("../../keys/rsa_512.pem"))
    }

    pub fn with_1024_bits() -> Self {
        Self::from_pem(include_str!("../../keys/rsa_1024.pem"))
    }

    pub fn with_2048_bits() -> Self {
        Self::from_pem(include_str!("../../keys/rsa_2048.pem"))
    }

    pub fn with_4096_bits() -> Self {
        Self::from_pem(include_str!("../../keys/rsa_4096.pem"))
    }

    fn from_pem(pem: &str) -> Self {
        Self(PrivateKey::from_pkcs1_pem(pem).unwrap())
    }

    pub fn private(&self) -> &PrivateKey {
        &self.0
    }

    pub fn public_der(&self) -> Vec<u8> {
        rsa::PublicKey::from(&self.0)
            .to_public_key_der()
            .unwrap()
            .into_vec()
    }

    pub fn public(&self) -> PublicKey {
        PublicKey::from_der(&self.public_der()).unwrap()
    }

    /// Returns a source that serves this key as version 1 of the official key.
    pub fn keys(&self) -> PinnedKeys {
        PinnedKeys::official().with_version(1, self.public())
    }

    pub fn layer(&self) -> OssCallbackLayer {
        OssCallbackLayer::new().key_source(self.keys())
    }

    pub fn sign(&self, target: &str, body: &[u8]) -> Vec<u8> {
        self.sign_text(&signed_text(target, body))
    }

    pub fn sign_text(&self, text: &[u8]) -> Vec<u8> {
        self.0.pkcs1v15_sign::<Md5>(text).unwrap()
    }

    /// Computes `block ^ d mod n` for any block, without padding.
    pub fn sign_block(&self, block: &[u8]) -> Vec<u8> {
        let precision = self.0.n().bits_precision();
        let block = BoxedUint::from_be_slice(block, precision).unwrap();
        // RSA decryption is encryption with the private exponent.
        let inverse =
            rsa::PublicKey::new_unchecked(self.0.n().as_ref().clone(), self.0.d().clone());
        rsa::hazmat::rsa_encrypt(&inverse, &block)
            .unwrap()
            .to_be_bytes()
            .into_vec()
    }

    pub fn builder(&self, target: &str, content_type: &str, body: &[u8]) -> http::request::Builder {
        builder(target, content_type, &self.sign(target, body))
    }

    pub fn request(&self, target: &str, content_type: &str, body: &[u8]) -> Request<Full<Bytes>> {
        self.builder(target, content_type, body)
            .body(Full::from(body.to_vec()))
            .unwrap()
    }
}

/// Returns the text that OSS signs, as documented: `url_decode(path) + query + "\n" + body`.
pub fn signed_text(target: &str, body: &[u8]) -> Vec<u8> {
    let (path, query) = match target.find('?') {
        Some(at) => target.split_at(at),
        None => (target, ""),
    };
    let mut text: Vec<u8> = percent_decode_str(path).collect();
    text.extend_from_slice(query.as_bytes());
    text.push(b'\n');
    text.extend_from_slice(body);
    text
}

pub fn md5(text: &[u8]) -> [u8; 16] {
    Md5::digest(text).into()
}

pub fn builder(target: &str, content_type: &str, signature: &[u8]) -> http::request::Builder {
    Request::post(target)
        .header("authorization", STANDARD.encode(signature))
        .header("x-oss-pub-key-url", KEY_URL_V1)
        .header("content-type", content_type)
}

/// Returns a body of one frame.
pub fn full(bytes: impl Into<Bytes>) -> Full<Bytes> {
    Full::new(bytes.into())
}

/// A body whose frames are ready. `None` is a broken connection. After the last frame it ends or
/// stalls.
pub struct Frames {
    frames: VecDeque<Option<Frame<Bytes>>>,
    ends: bool,
}

impl Frames {
    pub fn of(frames: impl IntoIterator<Item = Frame<Bytes>>) -> Self {
        Self {
            frames: frames.into_iter().map(Some).collect(),
            ends: true,
        }
    }

    pub fn data(chunks: impl IntoIterator<Item = Bytes>) -> Self {
        Self::of(chunks.into_iter().map(Frame::data))
    }

    pub fn then_break(mut self) -> Self {
        self.frames.push_back(None);
        self
    }

    pub fn then_never_end(mut self) -> Self {
        self.ends = false;
        self
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.frames.pop_front() {
            Some(Some(frame)) => Poll::Ready(Some(Ok(frame))),
            Some(None) => Poll::Ready(Some(Err(std::io::ErrorKind::ConnectionReset.into()))),
            None if self.ends => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

/// A request as the handler received it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub body: Bytes,
    pub headers: HeaderMap,
    pub uri: http::Uri,
    pub verified: Option<VerifiedCallback>,
}

/// A handler that records its requests.
#[derive(Clone, Default)]
pub struct Handler(pub Arc<Mutex<Vec<Seen>>>);

impl Handler {
    pub fn seen(&self) -> Vec<Seen> {
        self.0.lock().unwrap().clone()
    }
}

impl<B> Service<Request<RequestBody<B>>> for Handler
where
    B: Body + Send + 'static,
    B::Error: std::fmt::Debug,
    RequestBody<B>: Send,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody<B>>) -> Self::Future {
        let seen = Arc::clone(&self.0);
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let verified = parts.extensions.get().cloned();
            seen.lock().unwrap().push(Seen {
                body,
                headers: parts.headers,
                uri: parts.uri,
                verified,
            });
            Ok(CallbackReply::ok().into())
        })
    }
}

/// A response, and the request as the handler received it.
#[derive(Debug)]
pub struct Outcome {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub error: Option<CallbackError>,
    pub seen: Option<Seen>,
}

impl Outcome {
    pub fn kind(&self) -> Option<CallbackErrorKind> {
        self.error.as_ref().map(CallbackError::kind)
    }

    #[track_caller]
    pub fn assert_accepted(&self) -> &Seen {
        assert_eq!((self.status, self.kind()), (StatusCode::OK, None));
        let seen = self.seen.as_ref().expect("the handler must run");
        assert_eq!(
            seen.verified
                .as_ref()
                .expect("the callback must be verified")
                .body(),
            &seen.body
        );
        seen
    }

    /// Asserts this rejection, its format, and that the handler did not run.
    #[track_caller]
    pub fn assert_refused(&self, status: u16, kind: CallbackErrorKind) {
        assert_eq!((self.status.as_u16(), self.kind()), (status, Some(kind)));
        assert!(self.seen.is_none(), "the handler must not run");
        assert_eq!(self.headers["content-type"], "application/json");
        assert_eq!(self.headers["content-length"], self.body.len().to_string());
        let answer: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(answer["code"], format!("{kind:?}"));
    }
}

pub async fn send<B>(layer: &OssCallbackLayer, request: Request<B>) -> Outcome
where
    B: Body + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + std::fmt::Debug,
    RequestBody<B>: Send,
{
    let handler = Handler::default();
    let response = layer.layer(handler.clone()).oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let exact = body.size_hint().exact();
    let body = body.collect().await.unwrap().to_bytes();
    assert_eq!(
        exact,
        Some(body.len() as u64),
        "every response must have an exact length"
    );
    let mut seen = handler.seen();
    assert!(seen.len() < 2);
    Outcome {
        status: parts.status,
        headers: parts.headers,
        body,
        error: parts.extensions.get().cloned(),
        seen: seen.pop(),
    }
}

/// Captures the log of the current thread.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub fn listen(&self) -> tracing::subscriber::DefaultGuard {
        // Callsite interest is cached for the whole process. Without a global subscriber that
        // enables everything, another thread that logs first could disable an event for all
        // threads.
        static EVERYTHING: std::sync::Once = std::sync::Once::new();
        EVERYTHING.call_once(|| {
            tracing_subscriber::fmt()
                .with_max_level(tracing::Level::TRACE)
                .with_writer(std::io::sink)
                .init();
        });
        let log = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .event_format(WithoutSpans)
            .with_writer(move || log.clone())
            .finish();
        tracing::subscriber::set_default(subscriber)
    }

    pub fn count(&self, level: &str, text: &str) -> usize {
        let log = self.0.lock().unwrap();
        let log = String::from_utf8_lossy(&log);
        log.lines()
            .filter(|line| line.contains(level) && line.contains(text))
            .count()
    }
}

/// Level, target and fields of an event. The span around it repeats what the event says.
struct WithoutSpans;

impl<S, N> FormatEvent<S, N> for WithoutSpans
where
    S: tracing::Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &tracing::Event<'_>,
    ) -> std::fmt::Result {
        let metadata = event.metadata();
        write!(writer, "{} {}: ", metadata.level(), metadata.target())?;
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
