//! The service with a fixed clock, and what it signed, taken apart.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{Request, Uri, request::Parts};
use http_body_util::{BodyExt as _, Full};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use tower_aliyun_oss::{
    OssUploads,
    policy::{Authorize, Credentials, CredentialsProvider, Grant, OssPresignService, Refusal},
    protocol::{ContentType, ObjectPrefix, SizeRange},
    ticket::TicketKey,
};

/// 2024-12-31T23:59:30Z, in seconds of Unix time.
pub(super) const NOW: u64 = 1_735_689_570;

pub(super) fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// A clock that a test moves.
#[derive(Clone, Default)]
pub(super) struct Clock(Arc<AtomicU64>);

impl Clock {
    pub(super) fn advance(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

/// Returns the same grant for every request.
pub(super) struct Always(pub Grant);

impl Authorize for Always {
    type Granted = Grant;

    async fn authorize(&self, _: &Parts) -> Result<Grant, Refusal> {
        Ok(self.0.clone())
    }
}

/// Videos of up to 80 GiB.
pub(super) fn videos() -> Grant {
    let prefix = ObjectPrefix::from_segments(["video", "7"]).unwrap();
    Grant::under(prefix, SizeRange::new(0, 80 << 30).unwrap())
        .content_types(ContentType::VIDEOS)
        .claims(&7)
}

pub(super) fn credentials() -> Credentials {
    Credentials::new("LTAI5tExample", "canary-secret").unwrap()
}

pub(super) fn uploads(credentials: impl CredentialsProvider + 'static) -> OssUploads {
    OssUploads::builder("examplebucket".parse().unwrap(), credentials)
        .region("cn-hangzhou".parse().unwrap())
        .callback_url("https://app.example/oss/callback")
        .ticket_key(TicketKey::generate().unwrap())
        .build()
        .unwrap()
}

pub(super) fn service_at<A: Authorize>(
    uploads: &OssUploads,
    authorize: A,
    clock: &Clock,
) -> OssPresignService<A> {
    let clock = clock.clone();
    let service = uploads.presign_service(authorize).unwrap();
    service.clock(move || at(NOW + clock.0.load(Ordering::SeqCst)))
}

pub(super) fn service<A: Authorize>(authorize: A) -> OssPresignService<A> {
    service_at(&uploads(credentials()), authorize, &Clock::default())
}

pub(super) fn request(body: &Value) -> Request<Full<Bytes>> {
    raw_request(body.to_string())
}

pub(super) fn raw_request(body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::post("/oss/presign")
        .header("content-type", "application/json")
        .body(Full::new(body.into()))
        .unwrap()
}

pub(super) async fn send<A: Authorize>(
    service: &OssPresignService<A>,
    request: Request<Full<Bytes>>,
) -> (u16, Value) {
    let response = service.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    assert_eq!(response.headers()["cache-control"], "no-store");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}

pub(super) async fn ask<A: Authorize>(
    service: &OssPresignService<A>,
    body: &Value,
) -> (u16, Value) {
    send(service, request(body)).await
}

/// Asks, and expects success.
pub(super) async fn answer<A: Authorize>(service: &OssPresignService<A>, body: &Value) -> Value {
    let (status, answer) = ask(service, body).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

pub(super) async fn create<A: Authorize>(
    service: &OssPresignService<A>,
    name: &str,
    size: u64,
    of_type: &str,
) -> Value {
    let body = json!({"action": "create", "filename": name, "size": size, "type": of_type});
    answer(service, &body).await
}

/// A signed request, taken apart.
#[derive(Debug)]
pub(super) struct Signed {
    pub(super) method: String,
    pub(super) authority: String,
    /// Decoded.
    pub(super) path: String,
    /// Names and values, decoded.
    pub(super) query: Vec<(String, String)>,
}

impl Signed {
    pub(super) fn of(request: &Value) -> Self {
        let method = request["method"].as_str().unwrap();
        Self::new(method, request["url"].as_str().unwrap())
    }

    pub(super) fn new(method: &str, url: &str) -> Self {
        let decode = |text: &str| percent_decode_str(text).decode_utf8().unwrap().into_owned();
        let url: Uri = url.parse().unwrap();
        let pairs = url.query().unwrap().split('&');
        let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        Self {
            method: method.to_owned(),
            authority: url.authority().unwrap().to_string(),
            path: decode(url.path()),
            query: pairs
                .map(|(name, value)| (decode(name), decode(value)))
                .collect(),
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let mut found = self.query.iter().filter(|(known, _)| known == name);
        let value = found.next().map(|(_, value)| &**value);
        assert!(found.next().is_none(), "{name} is repeated");
        value
    }

    /// The query without the parameters of the signature.
    pub(super) fn own_query(&self) -> Vec<(String, String)> {
        let signature = [
            "x-oss-additional-headers",
            "x-oss-credential",
            "x-oss-date",
            "x-oss-expires",
            "x-oss-security-token",
            "x-oss-signature",
            "x-oss-signature-version",
        ];
        let own = self.query.iter();
        own.filter(|(name, _)| !signature.contains(&&**name))
            .cloned()
            .collect()
    }
}
