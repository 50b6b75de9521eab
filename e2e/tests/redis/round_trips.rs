//! Counts the steps that a callback, a token and a recovery take in Redis, and how many of them
//! wait for one another. `docs/ledger.md` states these numbers.

use std::{
    collections::HashMap,
    convert::Infallible,
    future::ready,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use redis::{
    Arg, Cmd, Pipeline, RedisFuture, Value,
    aio::{ConnectionLike, MultiplexedConnection},
};
use tower::{Layer as _, service_fn};
use tower_aliyun_oss::{
    Credentials, Grant, Lookup, OssUploads, SizeRange,
    callback::{CallbackReply, RequestBody},
    protocol::Bucket,
    recovery::Recovery,
    storage::{ObjectMetadata, ObjectPage, ObjectStorage, StorageError, StorageErrorKind},
    testing::CallbackSigner,
    ticket::{OnFailure, RedisStore, Tickets},
};

use crate::{
    server::{FORGETFUL, Redis},
    support::{keys, send},
};

/// Words by which a script is recognised, and the name of its operation. The first that fits
/// counts.
const SCRIPTS: [(&str, &str); 12] = [
    ("Redeems a ticket", "begin"),
    ("Uses up a text", "start"),
    ("Stores the reply to a text if", "finish"),
    ("Makes the row of", "failed"),
    ("Releases a text", "release"),
    ("Adds rows", "granted"),
    ("removes the row of the ticket", "settled"),
    ("Claims rows", "due"),
    ("Releases a claimed row", "defer"),
    ("Removes a claimed row", "close"),
    ("the newest grant of an object", "object"),
    ("the number of rows of a shard", "open"),
];

/// How long a step may take.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Default)]
struct Seen {
    /// Names of the scripts, by what `EVALSHA` calls them.
    names: HashMap<String, &'static str>,
    steps: Vec<&'static str>,
    /// The longest chain of steps of which each was sent after the response to the one before.
    rounds: usize,
    /// The same, of the steps that have their response.
    completed: usize,
}

/// A connection that records what is sent over it.
#[derive(Clone)]
struct Recorded {
    connection: MultiplexedConnection,
    seen: Arc<Mutex<Seen>>,
}

impl Recorded {
    /// Records a command. Returns its place in the longest chain that leads to it.
    fn sent(&self, command: &Cmd) -> usize {
        let mut words = command.args_iter().map(|arg| match arg {
            Arg::Simple(word) => String::from_utf8_lossy(word).into_owned(),
            _ => String::new(),
        });
        let (name, script) = (words.next().unwrap(), words.next().unwrap());
        let seen = &mut *self.seen.lock().unwrap();
        if name == "EVAL" {
            let known = SCRIPTS.iter().find(|(words, _)| script.contains(words));
            let hash = redis::Script::new(&script).get_hash().to_owned();
            seen.names.insert(hash, known.expect("a known script").1);
        }
        let step = seen.names.get(&script).copied();
        seen.steps.push(step.unwrap_or("unknown"));
        let place = seen.completed + 1;
        seen.rounds = seen.rounds.max(place);
        place
    }

    /// Returns the steps since the last call, and how many of them wait for one another.
    fn take(&self) -> (Vec<&'static str>, usize) {
        let mut seen = self.seen.lock().unwrap();
        seen.completed = 0;
        let rounds = std::mem::take(&mut seen.rounds);
        (std::mem::take(&mut seen.steps), rounds)
    }

    /// Waits until so many steps have their response, which can come after that of the layer.
    async fn completed(&self, rounds: usize) {
        let give_up = Instant::now() + PATIENCE;
        while self.seen.lock().unwrap().completed < rounds {
            assert!(Instant::now() < give_up, "{:?}", self.take());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl ConnectionLike for Recorded {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            let place = self.sent(cmd);
            // All steps that do not wait for this one are sent before it has its response.
            tokio::time::sleep(Duration::from_millis(1)).await;
            let response = self.connection.req_packed_command(cmd).await;
            let mut seen = self.seen.lock().unwrap();
            seen.completed = seen.completed.max(place);
            response
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        _: &'a Pipeline,
        _: usize,
        _: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        panic!("without replicas, each step is one command")
    }

    fn get_db(&self) -> i64 {
        0
    }
}

/// A storage that has every object, or none.
#[derive(Clone, Copy, PartialEq)]
enum Storage {
    Full,
    Empty,
}

impl ObjectStorage for Storage {
    fn head(&self, _: &Bucket, _: &str) -> Lookup<ObjectMetadata, StorageError> {
        Lookup::Ready(match self {
            Self::Full => Ok(ObjectMetadata::new(5)
                .with_etag("\"D41D\"")
                .with_content_type("application/octet-stream")
                .with_last_modified(SystemTime::now())),
            Self::Empty => Err(StorageErrorKind::NotFound.into()),
        })
    }

    fn list(&self, _: &Bucket, _: &str, _: Option<&str>) -> Lookup<ObjectPage, StorageError> {
        Lookup::Ready(Ok(ObjectPage::new(Vec::new(), None)))
    }

    fn delete(&self, _: &Bucket, _: &str) -> Lookup<(), StorageError> {
        panic!("nothing is deleted")
    }
}

/// An application with a ledger, whose clock can be set forward.
struct App {
    recorded: Recorded,
    uploads: OssUploads,
    ahead: Arc<AtomicU64>,
}

impl App {
    async fn start(redis: &Redis, on_failure: OnFailure) -> Self {
        let client = redis::Client::open(redis.url()).unwrap();
        let recorded = Recorded {
            connection: client.get_multiplexed_async_connection().await.unwrap(),
            seen: Arc::default(),
        };
        let store = RedisStore::with_connection(recorded.clone()).timeout(Duration::from_secs(20));
        let ahead = Arc::new(AtomicU64::new(0));
        let clock = Arc::clone(&ahead);
        let tickets = Tickets::with_ledger(keys(), store)
            .on_failure(on_failure)
            .clock(move || SystemTime::now() + Duration::from_secs(clock.load(SeqCst)));
        Self {
            recorded,
            uploads: uploads(tickets),
            ahead,
        }
    }

    async fn callback(&self, key: &str) -> Request<Full<Bytes>> {
        let size = SizeRange::new(1, 1000).unwrap();
        let grant = Grant::exact(key.parse().unwrap(), size);
        let callback = self.uploads.recorded_callback_for(&grant).await.unwrap();
        signed(callback.encoded(), key)
    }

    /// Makes a callback for an upload of `key`. Returns the steps, and how many of them wait for
    /// one another.
    async fn steps_of_a_callback(
        &self,
        key: &str,
        storage: Storage,
        status: StatusCode,
        expected: u16,
        steps: usize,
    ) -> (Vec<&'static str>, usize) {
        let request = self.callback(key).await;
        self.recorded.take();
        let layer = self.uploads.callback_layer();
        let layer = layer.confirm(storage).unwrap();
        let outcome = send(layer.layer(handler(status)), request).await;
        assert_eq!(outcome.status, expected, "{:?}", outcome.error);
        self.recorded.completed(steps).await;
        let (steps, rounds) = self.recorded.take();
        (steps, rounds)
    }
}

fn uploads(tickets: Tickets) -> OssUploads {
    let credentials = Credentials::new("LTAI5tExample", "secret").unwrap();
    OssUploads::builder("examplebucket".parse().unwrap(), credentials)
        .region("cn-hangzhou".parse().unwrap())
        .callback_url("https://app.example/oss/callback")
        .key_source(CallbackSigner::new().key_source())
        .tickets(tickets)
        .build()
        .unwrap()
}

/// Fills in the body of a callback as OSS does, and signs it.
fn signed(callback: &str, key: &str) -> Request<Full<Bytes>> {
    let parameters: serde_json::Value =
        serde_json::from_slice(&STANDARD.decode(callback).unwrap()).unwrap();
    let template = parameters["callbackBody"].as_str().unwrap();
    let filled = [
        ("bucket", "examplebucket"),
        ("object", key),
        ("size", "5"),
        ("etag", "D41D"),
        ("mimeType", "application%2Foctet-stream"),
    ]
    .iter()
    .fold(template.to_owned(), |body, (name, value)| {
        body.replace(&format!("${{{name}}}"), value)
    });
    // OSS leaves the others empty.
    let mut parts = filled.split("${");
    let mut body = parts.next().unwrap().to_owned();
    for part in parts {
        body.push_str(part.split_once('}').unwrap().1);
    }
    let signer = CallbackSigner::new();
    signer
        .callback("/oss/callback")
        .form(body)
        .request()
        .unwrap()
}

type Handled = std::future::Ready<Result<Response<Full<Bytes>>, Infallible>>;

fn handler(
    status: StatusCode,
) -> impl tower::Service<
    Request<RequestBody<Full<Bytes>>>,
    Response = Response<Full<Bytes>>,
    Error = Infallible,
    Future = Handled,
> + Clone {
    service_fn(move |_| {
        let mut response: Response<Full<Bytes>> = CallbackReply::ok().into();
        *response.status_mut() = status;
        ready(Ok(response))
    })
}

#[ignore = "needs redis-server"]
#[tokio::test]
async fn lg_21_a_callback_takes_two_steps() {
    let redis = Redis::start(FORGETFUL);
    let app = App::start(&redis, OnFailure::Retry).await;
    let (ok, failed) = (StatusCode::OK, StatusCode::INTERNAL_SERVER_ERROR);
    // The first time, Redis does not know the scripts.
    for (first, number) in [("warm-up", 0), ("", 1)] {
        let key = |name: &str| format!("{name}-{number}");
        let callback = app
            .steps_of_a_callback(&key("a"), Storage::Full, ok, 200, 2)
            .await;
        let failure = app
            .steps_of_a_callback(&key("b"), Storage::Full, failed, 500, 2)
            .await;
        let refuted = app
            .steps_of_a_callback(&key("c"), Storage::Empty, ok, 403, 2)
            .await;
        if first.is_empty() {
            assert_eq!(callback, (vec!["begin", "settled"], 2));
            // Releasing the ticket and making its row due are one step.
            assert_eq!(failure, (vec!["begin", "failed"], 2));
            assert_eq!(refuted, (vec!["begin", "release"], 2));
        }
    }
    // A repetition of the callback is answered by the first step.
    let request = app.callback("d").await;
    let layer = app.uploads.callback_layer();
    for expected in [vec!["begin", "settled"], vec!["begin"]] {
        app.recorded.take();
        let outcome = send(layer.layer(handler(ok)), request.clone()).await;
        assert_eq!(outcome.status, 200);
        assert_eq!(app.recorded.take().0, expected);
    }
}

#[ignore = "needs redis-server"]
#[tokio::test]
async fn lg_21_at_most_once_takes_a_third_step() {
    let redis = Redis::start(FORGETFUL);
    let app = App::start(&redis, OnFailure::AtMostOnce).await;
    app.steps_of_a_callback("a", Storage::Full, StatusCode::OK, 200, 3)
        .await;
    let steps = app
        .steps_of_a_callback("b", Storage::Full, StatusCode::OK, 200, 3)
        .await;
    assert_eq!(steps, (vec!["begin", "start", "settled"], 3));
}

/// The shards of the ledger are asked 16 at a time, not one after the other.
#[ignore = "needs redis-server"]
#[tokio::test]
async fn lg_21_a_pass_over_all_shards_takes_four_round_trips() {
    let redis = Redis::start(FORGETFUL);
    let app = App::start(&redis, OnFailure::Retry).await;
    let tickets = app.uploads.tickets().unwrap();
    let ledger = tickets.ledger().unwrap();
    for known in [false, true] {
        app.recorded.take();
        let now = SystemTime::now();
        assert_eq!(
            ledger
                .due(now, 64, Duration::from_secs(60))
                .await
                .unwrap()
                .len(),
            0
        );
        let due = app.recorded.take();
        assert_eq!(ledger.open_rows().await.unwrap(), 0);
        let open = app.recorded.take();
        if known {
            assert_eq!(due, (vec!["due"; 64], 4));
            assert_eq!(open, (vec!["open"; 64], 4));
        }
    }
    // Rows of several shards are added at the same time.
    let rows: Vec<_> = ["a", "b", "c", "d"].map(crate::ledger::row).into();
    ledger.granted(&rows).await.unwrap();
    app.recorded.take();
    ledger.granted(&rows).await.unwrap();
    let (steps, rounds) = app.recorded.take();
    assert!(
        steps.len() > 1 && steps.iter().all(|step| *step == "granted"),
        "{steps:?}"
    );
    assert_eq!(rounds, 1);
    // A full batch in one round, and none of the 64 shards is asked twice.
    let all: Vec<_> = (0..2_000)
        .map(|n| crate::ledger::row(&format!("many/{n}")))
        .collect();
    for rows in all.chunks(100) {
        ledger.granted(rows).await.unwrap();
    }
    app.recorded.take();
    let later = SystemTime::now() + Duration::from_secs(2 * 60 * 60);
    let claimed = ledger
        .due(later, 64, Duration::from_secs(60))
        .await
        .unwrap();
    assert_eq!(claimed.len(), 64);
    assert_eq!(app.recorded.take(), (vec!["due"; 16], 1));
}

#[ignore = "needs redis-server"]
#[tokio::test]
async fn lg_21_a_recovered_upload_takes_three_steps() {
    let redis = Redis::start(FORGETFUL);
    let app = App::start(&redis, OnFailure::Retry).await;
    let storage = Storage::Full;
    let layer = app.uploads.callback_layer();
    let layer = layer.confirm(storage).unwrap();
    let handler = service_fn(
        |_: Request<RequestBody<tower_aliyun_oss::recovery::RecoveryBody>>| {
            let response: Response<Full<Bytes>> = CallbackReply::ok().into();
            ready(Ok::<_, Infallible>(response))
        },
    );
    let recovery = Recovery::new(&app.uploads, storage, layer.layer(handler)).unwrap();
    for (number, known) in [(0, false), (1, true)] {
        // Its callback does not arrive.
        drop(app.callback(&format!("a-{number}")).await);
        app.ahead.store(2 * 60 * 60, SeqCst);
        app.recorded.take();
        let summary = recovery.tick().await.unwrap();
        assert_eq!(summary.recovered, 1, "{summary}");
        let (steps, _) = app.recorded.take();
        let of_the_row: Vec<_> = steps
            .into_iter()
            .filter(|step| !["due", "open"].contains(step))
            .collect();
        if known {
            assert_eq!(of_the_row, ["object", "begin", "settled"]);
        }
        app.ahead.store(0, SeqCst);
    }
}
