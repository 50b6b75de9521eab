//! An application with the service and the callback layer, and the emulator as its OSS.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use aliyun_oss_emulator::{AccessKey, Emulator, HostedBucket};
use axum::{Router, routing::post};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower::ServiceExt as _;
use tower_aliyun_oss::{
    OssUploads, TicketKey,
    callback::{CallbackReply, UploadEvent, VerifiedCallback},
    policy::{Authorize, Credentials, Grant, OssPresignService, Refusal},
    protocol::Endpoint,
    storage::OssClient,
    ticket::{MemoryStore, TicketKeys, Tickets},
};

pub const ID: &str = "test-id";
pub const SECRET: &str = "test-secret";
pub const BUCKET: &str = "examplebucket";
pub const REGION: &str = "cn-hangzhou";
pub const MIB: u64 = 1 << 20;

/// Grants the same to everybody.
pub struct Everybody(pub Grant);

impl Authorize for Everybody {
    type Granted = Grant;

    async fn authorize(&self, _: &http::request::Parts) -> Result<Grant, Refusal> {
        Ok(self.0.clone())
    }
}

/// What the handler of callbacks got: the claims, the object and the size.
pub type Seen = (Option<u64>, String, u64, String);

pub struct App {
    pub emulator: Emulator,
    pub port: u16,
    pub uploads: OssUploads,
    pub service: OssPresignService<Everybody>,
    /// The application that OSS calls.
    pub router: Router,
    pub runs: Arc<AtomicUsize>,
    pub seen: Arc<Mutex<Vec<Seen>>>,
    /// How many more callbacks the handler fails.
    pub failures: Arc<AtomicUsize>,
    /// Seconds by which the clock of the emulator and of the service is ahead; with a ledger, also
    /// that of the callback layer.
    pub ahead: Arc<AtomicU64>,
}

/// A response of OSS.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Returns the text of an element.
    #[track_caller]
    pub fn element(&self, name: &str) -> String {
        let text = self.text();
        let (_, rest) = text
            .split_once(&format!("<{name}>"))
            .unwrap_or_else(|| panic!("{text}"));
        rest.split_once('<').unwrap().0.to_owned()
    }

    #[track_caller]
    pub fn assert_ok(self) -> Self {
        assert!(
            self.status == 200 || self.status == 204,
            "{} {}",
            self.status,
            self.text()
        );
        self
    }

    /// Asserts the error code of OSS.
    #[track_caller]
    pub fn assert_code(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.element("Code"), code, "{}", self.text());
    }

    pub fn etag(&self) -> String {
        self.headers["etag"]
            .to_str()
            .unwrap()
            .trim_matches('"')
            .to_owned()
    }
}

fn now(ahead: &AtomicU64) -> SystemTime {
    SystemTime::now() + Duration::from_secs(ahead.load(Ordering::SeqCst))
}

impl App {
    pub async fn start(grant: Grant) -> Self {
        Self::replying_with(grant, |_, _| CallbackReply::ok()).await
    }

    pub async fn with_ledger(grant: Grant, ledger: Arc<MemoryStore>) -> Self {
        Self::build(grant, |_, _| CallbackReply::ok(), Some(ledger)).await
    }

    /// `reply` gets the URL of the object, and the event.
    pub async fn replying_with(
        grant: Grant,
        reply: fn(&str, &UploadEvent) -> CallbackReply,
    ) -> Self {
        Self::build(grant, reply, None).await
    }

    async fn build(
        grant: Grant,
        reply: fn(&str, &UploadEvent) -> CallbackReply,
        ledger: Option<Arc<MemoryStore>>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let ahead: Arc<AtomicU64> = Arc::default();
        let clock = {
            let ahead = Arc::clone(&ahead);
            move || now(&ahead)
        };
        let emulator = Emulator::builder()
            .bucket(HostedBucket::new(BUCKET.parse().unwrap()))
            .access_key(AccessKey::new(ID, SECRET))
            .clock(clock.clone())
            .allow_private_callbacks()
            .build()
            .unwrap();
        tokio::spawn(emulator.clone().serve(listener));

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let url = format!("http://127.0.0.1:{port}/{BUCKET}/");
        let builder = OssUploads::builder(
            BUCKET.parse().unwrap(),
            Credentials::new(ID, SECRET).unwrap(),
        )
        .region(REGION.parse().unwrap())
        .endpoint(Endpoint::custom(url.parse().unwrap()))
        .callback_url(&format!("http://{address}/oss/callback"))
        .key_source(emulator.key_source());
        let key = TicketKey::generate().unwrap();
        let builder = match ledger {
            Some(ledger) => {
                let tickets = Tickets::with_ledger(TicketKeys::new(1, key), ledger);
                builder.tickets(tickets.clock(clock.clone()))
            }
            None => builder.ticket_key(key),
        };
        let uploads = builder.build().unwrap();
        let service = uploads
            .presign_service(Everybody(grant))
            .unwrap()
            .clock(clock);
        let (runs, seen): (Arc<AtomicUsize>, Arc<Mutex<Vec<Seen>>>) = Default::default();
        let failures: Arc<AtomicUsize> = Arc::default();
        let on_upload = {
            let (runs, seen) = (Arc::clone(&runs), Arc::clone(&seen));
            let failures = Arc::clone(&failures);
            let uploads = uploads.clone();
            async move |callback: VerifiedCallback| {
                let one_less = |left: usize| left.checked_sub(1);
                let fails = failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less);
                if fails.is_ok() {
                    return Err(StatusCode::INTERNAL_SERVER_ERROR);
                }
                runs.fetch_add(1, Ordering::SeqCst);
                let event = callback.event().unwrap();
                seen.lock().unwrap().push((
                    callback.claims().unwrap(),
                    event.object().unwrap().to_owned(),
                    event.size().unwrap(),
                    callback.requested_filename().unwrap_or_default().to_owned(),
                ));
                Ok(reply(&uploads.object_url(event.object().unwrap()), &event))
            }
        };
        // Without a ledger, the clock of the layer is that of this machine: a test that moves the
        // other one sends no callback.
        let layer = uploads.callback_layer();
        let router: Router = Router::new().route("/oss/callback", post(on_upload).layer(layer));
        let served = router.clone();
        tokio::spawn(async move { axum::serve(listener, served).await.unwrap() });
        Self {
            emulator,
            port,
            uploads,
            service,
            router,
            runs,
            seen,
            failures,
            ahead,
        }
    }

    /// Moves the clocks.
    pub fn pass(&self, time: Duration) {
        self.ahead.fetch_add(time.as_secs(), Ordering::SeqCst);
    }

    /// Returns the time of the clocks.
    pub fn now(&self) -> SystemTime {
        now(&self.ahead)
    }

    /// Returns a client of the emulator.
    pub fn client(&self) -> OssClient {
        let url = format!("http://127.0.0.1:{}/{BUCKET}/", self.port);
        let credentials = Credentials::new(ID, SECRET).unwrap();
        let ahead = Arc::clone(&self.ahead);
        OssClient::new(REGION.parse().unwrap(), credentials)
            .endpoint(Endpoint::custom(url.parse().unwrap()))
            .clock(move || now(&ahead))
    }

    pub fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }

    /// Asks the service. Returns the status and the JSON.
    pub async fn ask(&self, body: Value) -> (StatusCode, Value) {
        ask(&self.service, body).await
    }

    /// Asks the service, which must answer with success.
    #[track_caller]
    pub fn signed(&self, body: Value) -> impl Future<Output = Value> {
        let at = std::panic::Location::caller();
        async move {
            let (status, answer) = self.ask(body).await;
            assert_eq!(status, 200, "{at}: {answer}");
            answer
        }
    }

    pub async fn create(&self, name: &str, size: u64, content_type: &str) -> Value {
        let ask = json!({"action": "create", "filename": name, "size": size, "type": content_type});
        self.signed(ask).await
    }

    /// Sends a signed request to OSS, as a client does.
    pub async fn send(&self, request: &Value, body: impl Into<Bytes>) -> Reply {
        self.send_with(request, &[], body).await
    }

    /// Sends a signed request with other headers, too.
    pub async fn send_with(
        &self,
        request: &Value,
        more: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Reply {
        let body: Bytes = body.into();
        let url: http::Uri = request["url"].as_str().unwrap().parse().unwrap();
        let mut sent = Request::new(Full::new(body.clone()));
        *sent.method_mut() = request["method"].as_str().unwrap().parse().unwrap();
        *sent.uri_mut() = url.path_and_query().unwrap().as_str().parse().unwrap();
        let mut headers: HashMap<String, String> = HashMap::new();
        for (name, value) in request["headers"].as_object().unwrap() {
            headers.insert(name.clone(), value.as_str().unwrap().to_owned());
        }
        // What a browser sets itself.
        headers.insert("host".into(), url.authority().unwrap().to_string());
        if sent.method() != "GET" && sent.method() != "DELETE" {
            headers.insert("content-length".into(), body.len().to_string());
        }
        for (name, value) in more {
            headers.insert((*name).to_owned(), (*value).to_owned());
        }
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            sent.headers_mut()
                .insert(name, HeaderValue::from_str(&value).unwrap());
        }
        let response = self.emulator.clone().oneshot(sent).await.unwrap();
        let (parts, body) = response.into_parts();
        Reply {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }

    /// Starts an upload in parts. Returns its id.
    pub async fn initiate(&self, created: &Value) -> String {
        let reply = self.send(&created["request"], "").await.assert_ok();
        reply.element("UploadId")
    }

    /// Uploads these parts. Returns the document that completes the upload.
    pub async fn upload_parts(&self, created: &Value, id: &str, numbers: &[u64]) -> String {
        let ask = json!({
            "action": "parts", "handle": created["handle"], "uploadId": id, "parts": numbers
        });
        let answer = self.signed(ask).await;
        let mut document = String::from("<CompleteMultipartUpload>");
        for part in answer["parts"].as_array().unwrap() {
            let size = usize::try_from(part["size"].as_u64().unwrap()).unwrap();
            let reply = self.send(&part["request"], vec![7; size]).await.assert_ok();
            let (number, etag) = (&part["partNumber"], reply.etag());
            document +=
                &format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>");
        }
        document + "</CompleteMultipartUpload>"
    }

    pub async fn step(&self, action: &str, created: &Value, id: &str) -> Value {
        let ask = json!({"action": action, "handle": created["handle"], "uploadId": id});
        self.signed(ask).await["request"].clone()
    }
}

pub async fn ask<A: Authorize>(service: &OssPresignService<A>, body: Value) -> (StatusCode, Value) {
    let request = Request::post("/oss/presign")
        .header("content-type", "application/json")
        .body(Full::<Bytes>::from(body.to_string()))
        .unwrap();
    let response = service.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}
