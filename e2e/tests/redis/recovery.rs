//! Tests the recovery with a ledger in a real Redis.

use std::{
    convert::Infallible,
    slice,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tokio::sync::Notify;
use tower::{Layer as _, service_fn};
use tower_aliyun_oss::{
    Credentials, Lookup, OssUploads,
    callback::{OssCallback, RequestBody},
    protocol::{Bucket, CallbackBodyType, ObjectKey},
    recovery::{DeadLetter, Recovery, RecoverySummary},
    storage::{ObjectMetadata, ObjectPage, ObjectStorage, StorageError},
    ticket::{
        OnFailure, Tickets,
        internal::Scope,
        ledger::{CallbackCall, GrantedUpload, UploadLedger as _},
        store::{Attempt, Begin, Nonce, ReplayStore as _, UseLimit},
    },
};

use crate::{
    server::{FORGETFUL, Redis},
    support::*,
};

const MINUTE: Duration = Duration::from_secs(60);

/// A clock that runs ahead of the real one.
#[derive(Clone, Default)]
struct Clock(Arc<AtomicU64>);

impl Clock {
    fn now(&self) -> SystemTime {
        SystemTime::now() + Duration::from_secs(self.0.load(Ordering::SeqCst))
    }

    fn pass(&self, time: Duration) {
        self.0.fetch_add(time.as_secs(), Ordering::SeqCst);
    }
}

/// A storage that has every object, stored now.
struct Storage(Clock);

impl ObjectStorage for Storage {
    fn head(&self, _: &Bucket, _: &str) -> Lookup<ObjectMetadata, StorageError> {
        let object = ObjectMetadata::new(5)
            .with_etag("D41D")
            .with_content_type("image/png")
            .with_last_modified(self.0.now());
        Lookup::Ready(Ok(object))
    }

    fn list(&self, _: &Bucket, _: &str, _: Option<&str>) -> Lookup<ObjectPage, StorageError> {
        panic!("a recovery lists nothing")
    }

    fn delete(&self, _: &Bucket, _: &str) -> Lookup<(), StorageError> {
        panic!("nothing is an orphan")
    }
}

/// Processes with a ledger in Redis, and one upload whose callback does not arrive.
#[derive(Clone)]
struct World {
    redis: Arc<Redis>,
    clock: Clock,
    on_failure: OnFailure,
    row: GrantedUpload,
    runs: Arc<AtomicUsize>,
    letters: Arc<Mutex<Vec<DeadLetter>>>,
}

impl World {
    /// Until the row is due.
    async fn new(on_failure: OnFailure) -> Self {
        let (redis, clock) = (Arc::new(Redis::start(FORGETFUL)), Clock::default());
        let (now, key) = (clock.now(), "a.png");
        let (bucket, object): (Bucket, ObjectKey) =
            ("examplebucket".parse().unwrap(), key.parse().unwrap());
        let random = *Nonce::random().unwrap().as_bytes();
        let nonce = Nonce::for_object(&bucket, &object, random);
        let terms = terms_at(TARGET, Scope::Exact(object.clone()), now + HOUR);
        let ticket = keys().issue(&terms, form_fields(), now, nonce).unwrap();
        let template = form("${object}", &ticket)
            .replace("5CF3E7820000000000000001", "${reqId}")
            .replace("examplebucket", "${bucket}")
            .replace("size=5", "size=${size}")
            .replace("D41D", "${etag}")
            .replace("image%2Fpng", "${mimeType}");
        let call = CallbackCall::new(TARGET, "app.example", CallbackBodyType::Form, &template);
        let row = GrantedUpload::new(nonce, bucket, object, now, now + HOUR, call);
        let granted = redis.store();
        granted.granted(slice::from_ref(&row)).await.unwrap();
        clock.pass(HOUR + 2 * MINUTE);
        Self {
            redis,
            clock,
            on_failure,
            row,
            runs: Arc::default(),
            letters: Arc::default(),
        }
    }

    fn tickets(&self) -> Tickets {
        let at = self.clock.clone();
        Tickets::with_ledger(keys(), self.redis.store())
            .clock(move || at.now())
            .on_failure(self.on_failure)
    }

    /// A process of its own, whose service ends in `handler`.
    fn recovery<S>(&self, handler: S) -> Recovery<OssCallback<S>> {
        let tickets = self.tickets();
        let uploads = OssUploads::builder(
            "examplebucket".parse().unwrap(),
            Credentials::new("id", "secret").unwrap(),
        )
        .region("cn-hangzhou".parse().unwrap())
        .callback_url(&format!("https://app.example{TARGET}"))
        .tickets(tickets.clone())
        .build()
        .unwrap();
        // What another process holds is waited for, which takes the whole deadline.
        let service = layer(&tickets)
            .deadline(Duration::from_millis(500))
            .layer(handler);
        let letters = Arc::clone(&self.letters);
        Recovery::new(&uploads, Storage(self.clock.clone()), service)
            .unwrap()
            .on_dead_letter(move |letter| {
                letters.lock().unwrap().push(letter);
                async {}
            })
            .back_off(HOUR, HOUR)
    }

    /// One pass, with a handler that responds with this status.
    async fn pass(&self, status: StatusCode) -> RecoverySummary {
        let runs = Arc::clone(&self.runs);
        let handler = service_fn(move |_: Request<RequestBody<_>>| {
            runs.fetch_add(1, Ordering::SeqCst);
            let mut response = Response::new(Full::<Bytes>::default());
            *response.status_mut() = status;
            async { Ok::<_, Infallible>(response) }
        });
        self.recovery(handler).tick().await.unwrap()
    }

    /// Until the ticket is free: until what the layer does in the background has been executed.
    async fn released(&self) {
        let store = self.redis.store();
        loop {
            let (until, now) = (self.row.until(), self.clock.now());
            let nonce = self.row.nonce();
            let attempt = Attempt::new(nonce, [9; 32], UseLimit::Once, until, now).unwrap();
            if let Begin::Fresh(lease) = store.begin(&attempt).await.unwrap() {
                store.abandon(&lease).await.unwrap();
                return;
            }
        }
    }
}

/// A failed attempt releases the ticket after the recovery has deferred the row.
#[ignore = "needs redis-server"]
#[tokio::test]
async fn rv_34_the_pause_after_a_failure_holds_in_redis() {
    let world = World::new(OnFailure::Retry).await;
    let failed = world.pass(StatusCode::INTERNAL_SERVER_ERROR).await;
    assert_eq!(failed.failed, 1);
    world.released().await;
    let now = world.clock.now();
    let ledger = world.redis.store();
    // At most a quarter earlier or later.
    let early = ledger.due(now + 44 * MINUTE, 10, MINUTE).await.unwrap();
    assert!(early.is_empty(), "{early:?}");
    world.clock.pass(76 * MINUTE);
    let recovered = world.pass(StatusCode::OK).await;
    assert_eq!(recovered.recovered, 1);
    assert_eq!(world.runs.load(Ordering::SeqCst), 2);
}

/// Nothing releases the ticket that the killed process has used up.
#[ignore = "needs redis-server"]
#[tokio::test]
async fn rv_36_a_process_killed_in_an_at_most_once_handler_leaves_a_dead_letter() {
    let world = World::new(OnFailure::AtMostOnce).await;
    let killed = world.clone();
    let process = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let reached = Arc::new(Notify::new());
        let notified = Arc::clone(&reached);
        let runs = Arc::clone(&killed.runs);
        let handler = service_fn(move |_: Request<RequestBody<_>>| {
            runs.fetch_add(1, Ordering::SeqCst);
            notified.notify_one();
            std::future::pending::<Result<Response<Full<Bytes>>, Infallible>>()
        });
        // Nothing that the layer would do on its way out reaches Redis.
        runtime.block_on(async {
            let recovery = killed.recovery(handler);
            tokio::select! {
                _ = recovery.tick() => panic!("the handler never ends"),
                () = reached.notified() => {}
            }
        });
        drop(runtime);
    });
    process.join().unwrap();
    // Its claim expires.
    world.clock.pass(2 * HOUR);
    for _ in 0..3 {
        let pass = world.pass(StatusCode::OK).await;
        assert_eq!(pass.deferred, 1, "{pass}");
        world.clock.pass(2 * MINUTE);
    }
    let pass = world.pass(StatusCode::OK).await;
    assert_eq!(pass.dead_letters, 1, "{pass}");
    let letters = world.letters.lock().unwrap().clone();
    let reason = letters[0].reason().to_string();
    assert!(
        reason.contains("at-most-once handler was started"),
        "{reason}"
    );
    assert_eq!((letters.len(), letters[0].attempts()), (1, 5));
    assert_eq!(world.runs.load(Ordering::SeqCst), 1);
    assert_eq!(world.redis.store().open_rows().await.unwrap(), 0);
}

/// A process that holds a ticket for long, and has started nothing.
#[ignore = "needs redis-server"]
#[tokio::test]
async fn rv_40_a_ticket_that_is_only_held_uses_up_no_attempt_in_redis() {
    let world = World::new(OnFailure::AtMostOnce).await;
    let store = world.redis.store();
    let (nonce, until, now) = (world.row.nonce(), world.row.until(), world.clock.now());
    let attempt = Attempt::new(nonce, [9; 32], UseLimit::Once, until, now).unwrap();
    let attempt = attempt.at_most_once().lease(HOUR);
    assert!(!store.is_used_up(nonce).await.unwrap());
    let Begin::Fresh(lease) = store.begin(&attempt).await.unwrap() else {
        panic!("unused")
    };
    assert!(!store.is_used_up(nonce).await.unwrap());
    for _ in 0..7 {
        let pass = world.pass(StatusCode::OK).await;
        assert_eq!(pass.deferred, 1, "{pass}");
        world.clock.pass(2 * MINUTE);
    }
    store.abandon(&lease).await.unwrap();
    let pass = world.pass(StatusCode::OK).await;
    assert_eq!(pass.recovered, 1, "{pass}");
    assert!(store.is_used_up(nonce).await.unwrap());
    assert_eq!(world.letters.lock().unwrap().len(), 0);
}

/// A text is used up from its start on, and no more once its handler turns out not to have run.
#[ignore = "needs redis-server"]
#[tokio::test]
async fn rv_40_a_started_text_is_used_up_in_redis() {
    let redis = Redis::start(FORGETFUL);
    let store = redis.store();
    let (nonce, now) = (Nonce::random().unwrap(), SystemTime::now());
    let texts = UseLimit::Texts(2.try_into().unwrap());
    let begin = async |digest| {
        let attempt = Attempt::new(nonce, [digest; 32], texts, now + HOUR, now).unwrap();
        match store.begin(&attempt.at_most_once()).await.unwrap() {
            Begin::Fresh(lease) => lease,
            other => panic!("{other:?}"),
        }
    };
    let (held, started) = (begin(1).await, begin(2).await);
    assert!(!store.is_used_up(nonce).await.unwrap());
    store.start(&started).await.unwrap();
    assert!(store.is_used_up(nonce).await.unwrap());
    store.abandon(&held).await.unwrap();
    assert!(store.is_used_up(nonce).await.unwrap());
    store.abandon(&started).await.unwrap();
    assert!(!store.is_used_up(nonce).await.unwrap());
}
