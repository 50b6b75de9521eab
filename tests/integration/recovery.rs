//! The recovery of uploads whose callback did not reach the handler.

mod attempts;
mod bounds;
mod expiry;
mod faulty;
mod imitations;
#[cfg(feature = "metrics")]
mod metrics;
mod orphans;
mod owners;
mod runs;
mod uploads;

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tower::{Layer as _, Service};
use tower_aliyun_oss::{
    Lookup, OssCallbackLayer, OssUploads, VerifiedCallback,
    callback::{CallbackErrorKind, CallbackReply, Origin, OssCallback, RequestBody},
    policy::Credentials,
    protocol::{Bucket, ObjectKey},
    recovery::{DeadLetter, Recovery, RecoverySummary},
    storage::{ObjectMetadata, ObjectPage, ObjectStorage, StorageError, StorageErrorKind},
    ticket::{
        MemoryStore, OnFailure, Tickets,
        internal::{Scope, Terms},
        ledger::{CallbackCall, GrantedUpload, UploadLedger},
        store::Nonce,
    },
};

use crate::tickets::support::*;

const MINUTE: Duration = Duration::from_secs(60);

/// When the world of a test begins: a whole second.
const START: Duration = Duration::from_secs(1_790_000_000);

/// A clock that a test sets.
#[derive(Clone, Default)]
struct Clock(Arc<AtomicU64>);

impl Clock {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + START + Duration::from_secs(self.0.load(Ordering::SeqCst))
    }

    fn pass(&self, time: Duration) {
        self.0.fetch_add(time.as_secs(), Ordering::SeqCst);
    }
}

/// A storage that holds what a test puts into it.
#[derive(Clone, Default)]
struct Storage {
    objects: Arc<Mutex<std::collections::HashMap<String, ObjectMetadata>>>,
    fails: Arc<Mutex<Option<StorageErrorKind>>>,
    deleted: Arc<Mutex<Vec<String>>>,
    heads: Arc<AtomicUsize>,
}

impl Storage {
    fn put(&self, key: &str, metadata: ObjectMetadata) {
        self.objects
            .lock()
            .unwrap()
            .insert(key.to_owned(), metadata);
    }

    fn fail(&self, kind: impl Into<Option<StorageErrorKind>>) {
        *self.fails.lock().unwrap() = kind.into();
    }

    fn heads(&self) -> usize {
        self.heads.load(Ordering::SeqCst)
    }

    fn deleted(&self) -> Vec<String> {
        self.deleted.lock().unwrap().clone()
    }
}

impl ObjectStorage for Storage {
    fn head(&self, bucket: &Bucket, key: &str) -> Lookup<ObjectMetadata, StorageError> {
        assert_eq!(bucket.as_str(), "examplebucket");
        self.heads.fetch_add(1, Ordering::SeqCst);
        if let Some(kind) = *self.fails.lock().unwrap() {
            return Lookup::Ready(Err(kind.into()));
        }
        let found = self.objects.lock().unwrap().get(key).cloned();
        Lookup::Ready(found.ok_or(StorageErrorKind::NotFound.into()))
    }

    fn list(&self, _: &Bucket, _: &str, _: Option<&str>) -> Lookup<ObjectPage, StorageError> {
        panic!("a recovery lists nothing")
    }

    fn delete(&self, bucket: &Bucket, key: &str) -> Lookup<(), StorageError> {
        assert_eq!(bucket.as_str(), "examplebucket");
        self.objects.lock().unwrap().remove(key);
        self.deleted.lock().unwrap().push(key.to_owned());
        Lookup::Ready(Ok(()))
    }
}

/// What a handler does, once for each run; then it succeeds.
enum Act {
    Fail,
    Panic,
    /// Until the sender is dropped.
    Wait(tokio::sync::oneshot::Receiver<()>),
}

/// A handler that keeps what it receives.
#[derive(Clone, Default)]
struct App {
    acts: Arc<Mutex<std::collections::VecDeque<Act>>>,
    runs: Arc<Mutex<Vec<VerifiedCallback>>>,
    running: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl App {
    fn fails(&self, times: usize) {
        let mut acts = self.acts.lock().unwrap();
        acts.extend(std::iter::repeat_with(|| Act::Fail).take(times));
    }

    fn does(&self, act: Act) {
        self.acts.lock().unwrap().push_back(act);
    }

    fn runs(&self) -> Vec<VerifiedCallback> {
        self.runs.lock().unwrap().clone()
    }

    fn objects(&self) -> Vec<String> {
        let object = |run: &VerifiedCallback| run.event().unwrap().object().unwrap().to_owned();
        let mut objects: Vec<_> = self.runs().iter().map(object).collect();
        objects.sort();
        objects
    }
}

impl<B> Service<Request<RequestBody<B>>> for App {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody<B>>) -> Self::Future {
        let callback = request.extensions().get::<VerifiedCallback>().unwrap();
        self.runs.lock().unwrap().push(callback.clone());
        let (act, app) = (self.acts.lock().unwrap().pop_front(), self.clone());
        Box::pin(async move {
            let running = app.running.fetch_add(1, Ordering::SeqCst) + 1;
            app.most.fetch_max(running, Ordering::SeqCst);
            let status = match act {
                Some(Act::Fail) => StatusCode::INTERNAL_SERVER_ERROR,
                Some(Act::Panic) => panic!("the handler panics"),
                Some(Act::Wait(until)) => {
                    drop(until.await);
                    StatusCode::OK
                }
                None => StatusCode::OK,
            };
            app.running.fetch_sub(1, Ordering::SeqCst);
            let mut response: Response<_> = CallbackReply::ok().into();
            *response.status_mut() = status;
            Ok(response)
        })
    }
}

/// An application with a ledger, and OSS.
struct World {
    clock: Clock,
    ledger: Arc<MemoryStore>,
    tickets: Tickets,
    storage: Storage,
    app: App,
    letters: Arc<Mutex<Vec<DeadLetter>>>,
}

impl World {
    fn new() -> Self {
        let (clock, ledger) = (Clock::default(), Arc::new(MemoryStore::new()));
        let at = clock.clone();
        Self {
            tickets: Tickets::with_ledger(keys(), Arc::clone(&ledger)).clock(move || at.now()),
            clock,
            ledger,
            storage: Storage::default(),
            app: App::default(),
            letters: Arc::default(),
        }
    }

    /// Handlers that a failure does not repeat.
    fn at_most_once() -> Self {
        let world = Self::new();
        let tickets = world.tickets.clone().on_failure(OnFailure::AtMostOnce);
        Self { tickets, ..world }
    }

    /// Replaces the ledger, with faults or without, by one on the same rows.
    fn with_ledger(self, ledger: faulty::Faulty) -> Self {
        let at = self.clock.clone();
        Self {
            tickets: Tickets::with_ledger(keys(), ledger).clock(move || at.now()),
            ..self
        }
    }

    fn uploads(&self) -> OssUploads {
        OssUploads::builder(
            "examplebucket".parse().unwrap(),
            Credentials::new("id", "secret").unwrap(),
        )
        .region("cn-hangzhou".parse().unwrap())
        .callback_url(&format!("https://app.example{TARGET}"))
        .tickets(self.tickets.clone())
        .build()
        .unwrap()
    }

    fn layer(&self) -> OssCallbackLayer {
        layer(&self.tickets)
    }

    fn service(&self) -> OssCallback<App> {
        self.layer().layer(self.app.clone())
    }

    fn recovery(&self) -> Recovery<OssCallback<App>> {
        self.recovery_with(self.service())
    }

    fn recovery_with<S>(&self, service: S) -> Recovery<S> {
        let letters = Arc::clone(&self.letters);
        Recovery::new(&self.uploads(), self.storage.clone(), service)
            .unwrap()
            .on_dead_letter(move |letter| {
                letters.lock().unwrap().push(letter);
                async {}
            })
    }

    async fn tick(&self) -> RecoverySummary {
        self.recovery().tick().await.unwrap()
    }

    /// Asserts what one pass counts, beside the number of claimed rows and of requests.
    #[track_caller]
    fn passes(&self, expected: fn(&mut RecoverySummary)) -> impl Future<Output = ()> {
        let pass = self.recovery();
        let caller = std::panic::Location::caller();
        async move {
            let summary = pass.tick().await.unwrap();
            let mut wanted = RecoverySummary::default();
            expected(&mut wanted);
            wanted.claimed = summary.claimed;
            wanted.storage_requests = summary.storage_requests;
            assert_eq!(summary, wanted, "{caller}");
        }
    }

    async fn open(&self) -> u64 {
        self.ledger.open_rows().await.unwrap()
    }

    /// Until the row of a ticket that was granted now is due.
    fn pass_until_due(&self) {
        self.clock.pass(HOUR + MINUTE);
    }

    /// Grants one object, for an hour.
    async fn grant(&self, key: &str) -> Granted {
        let grant = Granted::new(&self.terms(key), key, self.clock.now());
        self.ledger
            .granted(std::slice::from_ref(&grant.row))
            .await
            .unwrap();
        grant
    }

    fn terms(&self, key: &str) -> Terms {
        let scope = Scope::Exact(key.parse().unwrap());
        let terms = terms_at(TARGET, scope, self.clock.now() + HOUR);
        terms.claims(&key).unwrap()
    }

    /// Grants an object, and stores it a second later.
    async fn stored(&self, key: &str) -> Granted {
        let grant = self.grant(key).await;
        self.clock.pass(Duration::from_secs(1));
        self.put(key);
        grant
    }

    fn put(&self, key: &str) {
        self.storage.put(key, self.object());
    }

    /// An object within every grant, stored now.
    fn object(&self) -> ObjectMetadata {
        ObjectMetadata::new(5)
            .with_etag("D41D")
            .with_content_type("image/png")
            .with_last_modified(self.clock.now())
    }
}

/// A granted upload.
#[derive(Clone)]
struct Granted {
    row: GrantedUpload,
    key: String,
    ticket: String,
}

impl Granted {
    fn new(terms: &Terms, key: &str, now: SystemTime) -> Self {
        let (bucket, object): (Bucket, ObjectKey) =
            ("examplebucket".parse().unwrap(), key.parse().unwrap());
        let mut random = [0; 16];
        random.copy_from_slice(Nonce::random().unwrap().as_bytes());
        let nonce = Nonce::for_object(&bucket, &object, random);
        let ticket = keys().issue(terms, form_fields(), now, nonce).unwrap();
        let template = form("${object}", &ticket)
            .replace("5CF3E7820000000000000001", "${reqId}")
            .replace("examplebucket", "${bucket}")
            .replace("size=5", "size=${size}")
            .replace("D41D", "${etag}")
            .replace("image%2Fpng", "${mimeType}");
        let call = CallbackCall::new(
            TARGET,
            "app.example",
            tower_aliyun_oss::protocol::CallbackBodyType::Form,
            &template,
        );
        Self {
            row: GrantedUpload::new(nonce, bucket, object, now, now + HOUR, call),
            key: key.to_owned(),
            ticket,
        }
    }

    /// The callback that OSS signs for the upload.
    fn callback(&self) -> Request<Full<Bytes>> {
        signed(form(&self.key, &self.ticket))
    }

    fn upload_id(&self) -> String {
        let nonce = u128::from_be_bytes(*self.row.nonce().as_bytes());
        format!("{nonce:032x}")
    }
}
