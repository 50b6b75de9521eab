//! An application that exports its spans to the collector.

use std::sync::{
    LazyLock,
    atomic::{AtomicU64, Ordering},
};

use aliyun_oss_emulator::{Emulator, SpawnedEmulator, UploadResponse};
use axum::{Router, body::Body, routing::post};
use bytes::Bytes;
use http::{Request, Response, StatusCode, request::Parts};
use http_body_util::BodyExt as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Runtime;
use tower::ServiceExt as _;
use tower_aliyun_oss::{
    CallbackReply, Grant, Refusal, SizeRange, TicketKey, VerifiedCallback, policy::UploadToken,
};
use tower_http::trace::TraceLayer;
use tracing::Instrument as _;

use super::{
    collector::{Collector, Received},
    setup::export_spans,
};

/// What the tests of this process share: a process has one global subscriber.
struct Telemetry {
    runtime: Runtime,
    collector: Collector,
    provider: SdkTracerProvider,
}

static TELEMETRY: LazyLock<Telemetry> = LazyLock::new(|| {
    let runtime = Runtime::new().unwrap();
    let (collector, provider) = runtime.block_on(async {
        let (collector, url) = Collector::start().await;
        (collector, export_spans(&url).unwrap())
    });
    Telemetry {
        runtime,
        collector,
        provider,
    }
});

/// Runs a test with an application. Returns the spans of its traces.
pub fn exported(test: impl AsyncFnOnce(&App)) -> Vec<Received> {
    static APPS: AtomicU64 = AtomicU64::new(0);
    let telemetry = &*TELEMETRY;
    let name = format!("app-{}", APPS.fetch_add(1, Ordering::SeqCst));
    telemetry.runtime.block_on(async {
        let app = App::start(name.clone()).await;
        test(&app).await;
    });
    telemetry.provider.force_flush().unwrap();
    let mut received = telemetry.collector.received();
    let of_app = |received: &&Received| received.attribute("app") == Some(&name);
    let traces: Vec<_> = received
        .iter()
        .filter(of_app)
        .map(|root| root.span.trace_id.clone())
        .collect();
    received.retain(|received| traces.contains(&received.span.trace_id));
    received
}

pub struct App {
    oss: SpawnedEmulator,
    router: Router,
}

async fn on_upload(callback: VerifiedCallback) -> CallbackReply {
    tracing::info!("uploaded");
    let size = callback.event().unwrap().size();
    async { CallbackReply::ok() }
        .instrument(tracing::info_span!("save", size))
        .await
}

/// Grants uploads to those who sign in.
async fn authorize(request: &Parts) -> Result<Grant, Refusal> {
    if !request.headers.contains_key("authorization") {
        return Err(Refusal::forbidden());
    }
    Ok(Grant::under("u/".parse()?, SizeRange::new(1, 1 << 20)?))
}

impl App {
    async fn start(name: String) -> Self {
        let oss = Emulator::spawn().await.unwrap();
        let uploads = oss
            .uploads("https://app.example/oss/callback")
            .ticket_key(TicketKey::generate().unwrap())
            .build()
            .unwrap();
        let verified = uploads.callback_layer();
        let outer = TraceLayer::new_for_http().make_span_with(move |request: &Request<Body>| {
            tracing::info_span!("request", app = name, path = request.uri().path())
        });
        let router = Router::new()
            .route("/oss/callback", post(on_upload).route_layer(verified))
            .route_service("/oss/policy", uploads.policy_service(authorize))
            .route_service("/oss/presign", uploads.presign_service(authorize).unwrap())
            .layer(outer);
        oss.route_callbacks(router.clone());
        Self { oss, router }
    }

    /// Sends a request to the application, and reads its response.
    pub async fn send(&self, request: Request<impl Into<Body>>) -> (StatusCode, Bytes) {
        let response: Response<Body> = self
            .router
            .clone()
            .oneshot(request.map(Into::into))
            .await
            .unwrap();
        let status = response.status();
        (
            status,
            response.into_body().collect().await.unwrap().to_bytes(),
        )
    }

    pub async fn token(&self) -> UploadToken {
        let request =
            Request::get("/oss/policy?filename=a.png").header("authorization", "Bearer 7");
        let (status, body) = self.send(request.body("").unwrap()).await;
        assert_eq!(status, 200);
        serde_json::from_slice(&body).unwrap()
    }

    pub async fn upload(&self) -> UploadResponse {
        let token = self.token().await;
        self.oss.upload(&token, "photo").await.unwrap()
    }
}
