//! An application with a ledger, and the emulator.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use aliyun_oss_emulator::{SpawnedEmulator, UploadResponse};
use axum::{Router, body::Body, extract::State, routing::post};
use bytes::Bytes;
use http::{Request, StatusCode, request::Parts};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;
use tower_aliyun_oss::{
    CallbackReply, ContentType, Grant, OssUploads, OssUploadsBuilder, Refusal, SizeRange,
    TicketKey, VerifiedCallback,
    policy::UploadToken,
    recovery::{DeadLetter, Recovery},
    storage::OssClient,
    ticket::{MemoryStore, TicketKeys, Tickets, ledger::UploadLedger as _},
};

pub const CALLBACK: &str = "https://app.example/oss/callback";

/// A clock that runs ahead of the real one.
#[derive(Clone, Default)]
pub struct Clock(Arc<AtomicU64>);

impl Clock {
    pub fn pass(&self, time: Duration) {
        self.0.fetch_add(time.as_secs(), Ordering::SeqCst);
    }

    pub fn now(&self) -> SystemTime {
        SystemTime::now() + Duration::from_secs(self.0.load(Ordering::SeqCst))
    }
}

#[derive(Clone, Default)]
pub struct App {
    /// Whether the callback server is down.
    pub down: Arc<AtomicBool>,
    /// The statuses of the next runs. Afterwards the handler succeeds.
    pub statuses: Arc<Mutex<VecDeque<StatusCode>>>,
    pub callbacks: Arc<Mutex<Vec<VerifiedCallback>>>,
}

impl App {
    pub fn fails(&self, times: usize) {
        let failed = StatusCode::INTERNAL_SERVER_ERROR;
        let mut statuses = self.statuses.lock().unwrap();
        statuses.extend(std::iter::repeat_n(failed, times));
    }
}

async fn on_upload(
    State(app): State<App>,
    callback: VerifiedCallback,
) -> (StatusCode, CallbackReply) {
    app.callbacks.lock().unwrap().push(callback);
    let status = app.statuses.lock().unwrap().pop_front();
    (status.unwrap_or(StatusCode::OK), CallbackReply::ok())
}

pub struct World {
    pub oss: SpawnedEmulator,
    pub clock: Clock,
    pub ledger: Arc<MemoryStore>,
    pub uploads: OssUploads,
    pub app: App,
    pub letters: Arc<Mutex<Vec<DeadLetter>>>,
}

impl World {
    pub async fn start() -> Self {
        Self::with(|builder| builder).await
    }

    pub async fn with(set: impl FnOnce(OssUploadsBuilder) -> OssUploadsBuilder) -> Self {
        let oss = aliyun_oss_emulator::Emulator::spawn().await.unwrap();
        let (clock, ledger) = (Clock::default(), Arc::new(MemoryStore::new()));
        let at = clock.clone();
        let keys = TicketKeys::new(1, TicketKey::generate().unwrap());
        let tickets = Tickets::with_ledger(keys, Arc::clone(&ledger)).clock(move || at.now());
        let uploads = set(oss.uploads(CALLBACK).tickets(tickets)).build().unwrap();
        let world = Self {
            oss,
            clock,
            ledger,
            uploads,
            app: App::default(),
            letters: Arc::default(),
        };
        let (down, router) = (Arc::clone(&world.app.down), world.router());
        world.oss.route_callbacks(tower::service_fn(move |request| {
            let (down, router) = (down.load(Ordering::SeqCst), router.clone());
            async move {
                if down {
                    return Err(std::io::Error::other("the callback server is down"));
                }
                let Ok(response) = router.oneshot(request).await;
                Ok(response)
            }
        }));
        world
    }

    /// The service that takes callbacks.
    pub fn router(&self) -> Router {
        let layer = self.uploads.callback_layer();
        Router::new()
            .route("/oss/callback", post(on_upload).route_layer(layer))
            .with_state(self.app.clone())
    }

    pub fn client(&self) -> OssClient {
        OssClient::new(self.oss.region(), self.oss.credentials()).endpoint(self.oss.endpoint())
    }

    pub fn recovery(&self) -> Recovery<Router> {
        let letters = Arc::clone(&self.letters);
        Recovery::new(&self.uploads, self.client(), self.router())
            .unwrap()
            .on_dead_letter(move |letter| {
                letters.lock().unwrap().push(letter);
                async {}
            })
    }

    pub async fn open(&self) -> u64 {
        self.ledger.open_rows().await.unwrap()
    }

    pub fn pass_until_due(&self) {
        self.clock.pass(Duration::from_secs(3 * 60 * 60));
    }

    pub async fn token(&self, query: &str) -> UploadToken {
        async fn authorize(_: &Parts) -> Result<Grant, Refusal> {
            let size = SizeRange::new(1, 1 << 20)?;
            let grant = Grant::under("u/".parse()?, size).content_types(ContentType::IMAGES);
            Ok(grant.claims(&7))
        }
        let request = Request::get(format!("/?{query}"))
            .body(Body::empty())
            .unwrap();
        let service = self.uploads.policy_service(authorize);
        let Ok(response) = service.oneshot(request).await;
        assert_eq!(response.status(), 200);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice(&body).unwrap()
    }

    /// Requests a token, and uploads with it.
    pub async fn upload(&self) -> (UploadToken, UploadResponse) {
        let token = self.token("filename=a.png&size=5").await;
        let response = self.oss.upload(&token, Bytes::from("photo")).await.unwrap();
        (token, response)
    }
}
