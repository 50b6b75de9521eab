//! One process of the application: tokens, callbacks and a recovery.
//!
//! It is this test binary, started for the test [`a_replica`], so that it can be killed and
//! stopped.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{Router, extract::State, http::StatusCode, routing::post};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;
use tower_aliyun_oss::{
    CallbackReply, ContentType, Credentials, Grant, OssUploads, Refusal, SizeRange, TicketKey,
    VerifiedCallback,
    callback::Origin,
    protocol::Endpoint,
    recovery::Recovery,
    storage::OssClient,
    testing::CallbackSigner,
    ticket::{RedisStore, TicketKeys, Tickets},
};

pub const BUCKET: &str = "examplebucket";
pub const REGION: &str = "cn-hangzhou";
pub const ID: &str = "chaos-id";
pub const SECRET: &str = "chaos-secret";

/// The settings of a replica.
#[derive(Clone, Deserialize, Serialize)]
pub struct Settings {
    pub ports: [u16; 2],
    /// Which of the two.
    pub which: usize,
    pub redis: String,
    /// `http://127.0.0.1:PORT/examplebucket/`
    pub oss: String,
    pub directory: PathBuf,
    /// How far its clock runs ahead, in seconds.
    pub ahead: u64,
}

/// A process, killed when it is dropped.
pub struct Replica(Child);

impl Replica {
    pub fn start(settings: &Settings) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "replica::a_replica"])
            .env("REPLICA", serde_json::to_string(settings).unwrap())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    pub fn kill(&mut self) {
        drop(self.0.kill());
        self.0.wait().unwrap();
    }

    /// `-STOP` or `-CONT`.
    pub fn signal(&self, signal: &str) {
        let id = self.0.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &id])
                .status()
                .unwrap()
                .success()
        );
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The database: a file for each row, whose name is the unique key, and a line for each run.
#[derive(Clone)]
struct Database {
    directory: PathBuf,
    runs: Arc<File>,
}

impl Database {
    fn open(directory: &Path) -> Self {
        let runs = OpenOptions::new()
            .append(true)
            .create(true)
            .open(directory.join("runs"))
            .unwrap();
        Self {
            directory: directory.to_owned(),
            runs: Arc::new(runs),
        }
    }

    /// Inserts a row, unless its key exists. Either is one step, also if the process is killed.
    fn insert(&self, table: &str, key: &str, value: &str) -> bool {
        let path = self.directory.join(table).join(key);
        let unfinished = self.directory.join("unfinished").join(random().to_string());
        std::fs::write(&unfinished, value).unwrap();
        // Fails if the new name exists.
        let inserted = std::fs::hard_link(&unfinished, path).is_ok();
        std::fs::remove_file(unfinished).unwrap();
        inserted
    }

    fn ran(&self, callback: &VerifiedCallback, inserted: bool) {
        let origin = match callback.origin() {
            Origin::Recovered => "recovered",
            _ => "oss",
        };
        let line = format!("{} {origin} {inserted}\n", callback.upload_id());
        // One write: lines of several processes do not mix.
        (&*self.runs).write_all(line.as_bytes()).unwrap();
    }
}

pub fn random() -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).unwrap();
    u64::from_be_bytes(bytes)
}

fn failed() -> StatusCode {
    StatusCode::INTERNAL_SERVER_ERROR
}

/// Fails at random 30 % of the time: before it commits, after it has committed, or too late for
/// OSS.
async fn on_upload(
    State(database): State<Database>,
    callback: VerifiedCallback,
) -> Result<CallbackReply, StatusCode> {
    let object = callback.event().unwrap().object().unwrap().to_owned();
    let luck = random() % 100;
    if luck < 15 {
        return Err(failed());
    }
    // Time in which the process can be killed, before and after the commit.
    sleep(Duration::from_millis(random() % 20)).await;
    let inserted = database.insert("rows", &callback.upload_id(), &object);
    database.ran(&callback, inserted);
    sleep(Duration::from_millis(random() % 20)).await;
    match luck {
        15..28 => Err(failed()),
        28..30 => {
            sleep(Duration::from_millis(5500)).await;
            Ok(CallbackReply::ok())
        }
        _ => Ok(CallbackReply::ok()),
    }
}

async fn authorize(_: &http::request::Parts) -> Result<Grant, Refusal> {
    let size = SizeRange::new(1, 1000)?;
    Ok(Grant::under("u/".parse()?, size).content_type(ContentType::PNG))
}

/// A process of the tests in `chaos`.
#[ignore = "started as a process by the tests in chaos"]
#[test]
fn a_replica() {
    let Ok(settings) = std::env::var("REPLICA") else {
        return;
    };
    let settings: Settings = serde_json::from_str(&settings).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(serve(settings));
}

async fn serve(settings: Settings) {
    let database = Database::open(&settings.directory);
    let ahead = Duration::from_secs(settings.ahead);
    let mut key = [7; 32];
    key[0] = 1;
    let keys = TicketKeys::new(1, TicketKey::from_bytes(&key).unwrap());
    let store = RedisStore::new(&settings.redis).unwrap();
    let tickets = Tickets::with_ledger(keys, store).clock(move || SystemTime::now() + ahead);
    let endpoint = Endpoint::custom(settings.oss.parse().unwrap());
    let credentials = Credentials::new(ID, SECRET).unwrap();
    // OSS tries this process first, and then the other.
    let [this, other] = [settings.which, 1 - settings.which].map(|which| settings.ports[which]);
    let uploads = OssUploads::builder(BUCKET.parse().unwrap(), credentials.clone())
        .region(REGION.parse().unwrap())
        .endpoint(endpoint.clone())
        .key_source(CallbackSigner::new().key_source())
        .callback_urls([this, other].map(|port| format!("http://127.0.0.1:{port}/oss/callback")))
        .tickets(tickets)
        .build()
        .unwrap();
    let app = Router::new()
        .route_service("/oss/policy", uploads.policy_service(authorize))
        .route(
            "/oss/callback",
            post(on_upload).route_layer(uploads.callback_layer()),
        )
        .with_state(database.clone());
    let client = OssClient::new(REGION.parse().unwrap(), credentials).endpoint(endpoint);
    let recovery = Recovery::new(&uploads, client, app.clone())
        .unwrap()
        .interval(Duration::from_millis(300))
        .back_off(Duration::from_secs(1), Duration::from_secs(2))
        .max_attempts(100)
        .on_dead_letter(move |letter| {
            database.insert(
                "letters",
                letter.upload_id(),
                letter.upload().key().as_str(),
            );
            async {}
        });
    tokio::spawn(async move { recovery.run(std::future::pending()).await });
    let address = (Ipv4Addr::LOCALHOST, this);
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    axum::serve(listener, app).await.unwrap();
}
