//! The server under load, in a process of its own.

use std::{
    collections::HashMap,
    convert::Infallible,
    env,
    io::Read as _,
    net::SocketAddr,
    panic,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use axum::{
    Json, Router,
    extract::{Query, State},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use http::{StatusCode, request::Parts};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{net::TcpListener, time::sleep};
use tower_aliyun_oss::{
    OssUploads,
    callback::{CallbackReply, VerifiedCallback},
    policy::{CallbackDirective, CallbackTemplate, Credentials, Grant, Refusal},
    protocol::{CallbackBodyType, ObjectPrefix, SizeRange},
    testing::CallbackSigner,
    ticket::{MemoryStore, TicketKey, TicketKeys, Tickets},
};

/// Set in the environment of the child process.
pub(crate) const CHILD: &str = "LOAD_TEST_SERVER";

/// The bucket of all grants.
pub(crate) const BUCKET: &str = "examplebucket";

/// The largest upload that is granted, in bytes.
pub(crate) const MAX_SIZE: u64 = 1 << 20;

/// How many callbacks a ticket for a prefix permits.
pub(crate) const PREFIX_USES: u16 = 3;

/// The lifetime of a policy. Tickets and upload times are short, so that the store reaches the
/// number of records that it keeps under this load.
pub(crate) const LIFETIME: Duration = Duration::from_secs(15);

/// How long an upload may take after its policy has expired.
pub(crate) const UPLOAD_TIME: Duration = Duration::from_secs(5);

/// How long a client may take to send the head of a request.
pub(crate) const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// The message of the panics that a [`Plan`] asks for.
const ON_PURPOSE: &str = "a handler panics on purpose";

/// The body of the failures that a [`Plan`] asks for.
pub(crate) const FAILED: &str = "failed on purpose";

/// What the handler does for one ticket. It is a claim, so only the token decides it.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Plan {
    /// The first runs that end with status 500.
    pub(crate) failing: u32,
    /// The runs after them that panic.
    pub(crate) panicking: u32,
    /// How long each run takes.
    pub(crate) sleep_ms: u64,
}

/// What the handlers of an object did.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Runs {
    pub(crate) starts: u32,
    pub(crate) commits: u32,
    /// How many tickets had a run.
    pub(crate) tickets: usize,
}

/// The state of the server that the test reads.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Status {
    /// Records of the ticket store.
    pub(crate) records: u64,
    /// Objects whose runs nobody has taken.
    pub(crate) untaken: usize,
    /// All commits since the start.
    pub(crate) commits: u64,
    /// Panics that no plan asked for.
    pub(crate) panics: u64,
}

type Nonce = [u8; 16];

/// Records what the handlers did, as a database of the application would.
#[derive(Default)]
struct Ledger {
    /// By object, then by ticket. An entry is removed when the test takes it, so the memory of the
    /// ledger is bounded. A handler that runs afterwards leaves an entry that nobody takes.
    runs: Mutex<HashMap<String, HashMap<Nonce, Runs>>>,
    commits: AtomicU64,
}

impl Ledger {
    /// Returns the number of this run of the ticket.
    fn start(&self, object: &str, nonce: Nonce) -> u32 {
        let mut runs = self.runs.lock().unwrap();
        let runs = runs.entry(object.to_owned()).or_default();
        let runs = runs.entry(nonce).or_default();
        runs.starts += 1;
        runs.starts
    }

    /// Returns a number that no other commit has.
    fn commit(&self, object: &str, nonce: Nonce) -> u64 {
        let mut runs = self.runs.lock().unwrap();
        let runs = runs.entry(object.to_owned()).or_default();
        runs.entry(nonce).or_default().commits += 1;
        self.commits.fetch_add(1, Ordering::Relaxed)
    }

    fn take(&self, object: &str) -> Runs {
        let runs = self.runs.lock().unwrap().remove(object).unwrap_or_default();
        let tickets = runs.len();
        runs.into_values().fold(Runs::default(), |sum, one| Runs {
            starts: sum.starts + one.starts,
            commits: sum.commits + one.commits,
            tickets,
        })
    }
}

#[derive(Clone)]
struct App {
    ledger: Arc<Ledger>,
    store: Arc<MemoryStore>,
    panics: Arc<AtomicU64>,
}

/// Child process of the soak test: serves until its standard input is closed.
#[test]
#[ignore = "started by the soak test"]
fn a_process_that_serves() {
    if env::var_os(CHILD).is_none() {
        return;
    }
    // Also ends the process if the test is killed.
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let panics = Arc::new(AtomicU64::new(0));
    count_panics(Arc::clone(&panics));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let app = app(panics);
        let example = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let default = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("\nserving {} {}", address(&example), address(&default));
        tokio::join!(serve(example, &app, true), serve(default, &app, false));
    });
}

fn address(listener: &TcpListener) -> SocketAddr {
    listener.local_addr().unwrap()
}

/// Counts all panics except those on purpose, which are not printed either.
fn count_panics(panics: Arc<AtomicU64>) {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if info.payload().downcast_ref() != Some(&ON_PURPOSE) {
            panics.fetch_add(1, Ordering::Relaxed);
            print(info);
        }
    }));
}

fn app(panics: Arc<AtomicU64>) -> Router {
    let store = Arc::new(MemoryStore::new());
    let app = App {
        ledger: Arc::default(),
        store: Arc::clone(&store),
        panics,
    };
    let own = uploads(1, &store);
    let foreign = uploads(2, &store);
    Router::new()
        .nest("/form", routes(&own, &foreign))
        .nest("/json", routes(&json(&own), &json(&foreign)))
        .route("/runs", get(take_runs))
        .route("/status", get(status))
        .with_state(app)
}

/// Uploads with a ticket key. All keys have the same ID, so only the MAC tells them apart.
fn uploads(key: u8, store: &Arc<MemoryStore>) -> OssUploads {
    let credentials = Credentials::new("LTAI5tExample", "secret").unwrap();
    let key: Vec<u8> = (0..32).map(|n| n ^ key).collect();
    let key = TicketKey::from_bytes(&key).unwrap();
    let tickets = Tickets::new(TicketKeys::new(1, key), Arc::clone(store));
    OssUploads::builder(BUCKET.parse().unwrap(), credentials)
        .region("cn-hangzhou".parse().unwrap())
        .callback_url("https://app.example/form/callback")
        .tickets(tickets)
        .upload_time(UPLOAD_TIME)
        .build()
        .unwrap()
}

/// The same uploads with a JSON callback.
fn json(uploads: &OssUploads) -> OssUploads {
    let callback = CallbackDirective::new("https://app.example/json/callback")
        .and_then(|callback| callback.body(CallbackTemplate::standard(CallbackBodyType::Json)));
    uploads.with_callback(callback.unwrap()).unwrap()
}

fn routes(own: &OssUploads, foreign: &OssUploads) -> Router<App> {
    let layer = own
        .callback_layer()
        .key_source(CallbackSigner::new().key_source());
    // Longer ago than a ticket is valid, with the tolerated difference of clocks.
    let past = || SystemTime::now() - Duration::from_secs(600);
    Router::new()
        .route("/callback", post(on_upload).route_layer(layer))
        .route_service("/policy", own.policy_service(authorize))
        .route_service("/prefix", own.policy_service(authorize_prefix))
        .route_service("/expired", own.policy_service(authorize).clock(past))
        .route_service("/foreign", foreign.policy_service(authorize))
}

async fn authorize(parts: &Parts) -> Result<Grant, Refusal> {
    grant(parts, Grant::under)
}

async fn authorize_prefix(parts: &Parts) -> Result<Grant, Refusal> {
    let grant = grant(parts, Grant::any_name_under)?;
    Ok(grant.max_uses(PREFIX_USES.try_into().unwrap()))
}

fn grant(parts: &Parts, kind: fn(ObjectPrefix, SizeRange) -> Grant) -> Result<Grant, Refusal> {
    let header = |name| {
        parts
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    let user = header("x-user").ok_or_else(Refusal::unauthorized)?;
    let prefix = ObjectPrefix::from_segments(["load", user]).map_err(|_| Refusal::forbidden())?;
    let plan: Plan = header("x-plan")
        .map(|text| serde_json::from_str(text).unwrap())
        .unwrap_or_default();
    let types = ["image/png", "image/jpeg"].map(|name| name.parse().unwrap());
    Ok(kind(prefix, SizeRange::new(1, MAX_SIZE).unwrap())
        .lifetime(LIFETIME)
        .content_types(types)
        .variable("x:uid", user)
        .claims(&plan))
}

async fn on_upload(State(app): State<App>, callback: VerifiedCallback) -> Response {
    let event = callback.event().unwrap();
    let plan: Plan = callback.claims().unwrap();
    let object = event.object().unwrap();
    let nonce = *callback.ticket_nonce().unwrap().as_bytes();

    let run = app.ledger.start(object, nonce);
    if plan.sleep_ms > 0 {
        sleep(Duration::from_millis(plan.sleep_ms)).await;
    }
    if run <= plan.failing {
        return (StatusCode::INTERNAL_SERVER_ERROR, FAILED).into_response();
    }
    if run <= plan.failing + plan.panicking {
        panic::panic_any(ON_PURPOSE);
    }
    // Nothing is awaited after the commit, so a handler that is dropped has not committed.
    let commit = app.ledger.commit(object, nonce);
    let reply = json!({
        "object": object,
        "uid": event.custom("uid"),
        "size": event.size(),
        "etag": event.etag(),
        "commit": commit,
    });
    CallbackReply::json(&reply).unwrap().into_response()
}

#[derive(Deserialize)]
struct Object {
    object: String,
}

async fn take_runs(State(app): State<App>, Query(query): Query<Object>) -> Json<Value> {
    Json(json!(app.ledger.take(&query.object)))
}

async fn status(State(app): State<App>) -> Json<Value> {
    Json(json!(Status {
        records: app.store.len() as u64,
        untaken: app.ledger.runs.lock().unwrap().len(),
        commits: app.ledger.commits.load(Ordering::Relaxed),
        panics: app.panics.load(Ordering::Relaxed),
    }))
}

/// Serves as the example `appserver` does, if `half_close` is set, and otherwise with the defaults
/// of hyper, where a handler is dropped when its client leaves.
async fn serve(listener: TcpListener, app: &Router, half_close: bool) -> Infallible {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .half_close(half_close)
        .max_headers(64)
        .max_buf_size(16 * 1024);
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let service = TowerToHyperService::new(app.clone());
        let connection = http.serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            // Clients that leave make it fail.
            let _ = connection.await;
        });
    }
}
