//! What is granted is recorded before the token is sent, and settled with the reply of the handler.

mod presign;

use std::{
    error::Error as _,
    sync::{Mutex, atomic::AtomicBool},
};

use axum::{Router, body::Body, response::IntoResponse as _, routing::post};
use tower_aliyun_oss::{
    Lookup,
    policy::{Authorize, Grants, PolicyBody, TokenError, TokenErrorKind},
    protocol::{Bucket, ObjectKey, ObjectPrefix},
    ticket::{
        MemoryStore, OnFailure,
        ledger::{
            Claim, CloseReason, DueUpload, GrantedUpload, ObjectGrants, SettledObject, UploadLedger,
        },
        store::{
            Attempt, Begin, Lease, Nonce, ReplayStore, StoreError, StoreErrorKind, StoredReply,
        },
    },
};

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

/// A ledger that can fail, and that remembers what it is asked for.
#[derive(Clone, Default)]
struct Ledger {
    memory: Arc<MemoryStore>,
    fails: Arc<Mutex<Option<StoreErrorKind>>>,
    grants: Arc<AtomicUsize>,
    ends: Arc<Mutex<Vec<SystemTime>>>,
    /// Whether `granted` has completed. It takes a moment.
    recorded: Arc<AtomicBool>,
}

impl Ledger {
    /// Claims everything that is ever due.
    async fn rows(&self) -> Vec<GrantedUpload> {
        let end = SystemTime::now() + 24 * 60 * MINUTE;
        let rows = self.memory.due(end, 1000, Duration::ZERO).await.unwrap();
        rows.into_iter().map(|row| row.upload).collect()
    }

    async fn due_in(&self, time: Duration) -> usize {
        let at = SystemTime::now() + time;
        let rows = self.memory.due(at, 1000, Duration::ZERO).await.unwrap();
        rows.len()
    }

    async fn open(&self) -> u64 {
        self.memory.open_rows().await.unwrap()
    }

    fn fail(&self, kind: Option<StoreErrorKind>) {
        *self.fails.lock().unwrap() = kind;
    }
}

impl ReplayStore for Ledger {
    fn begin(&self, attempt: &Attempt) -> Lookup<Begin, StoreError> {
        self.ends.lock().unwrap().push(attempt.until());
        self.memory.begin(attempt)
    }

    fn start(&self, lease: &Lease) -> Lookup<(), StoreError> {
        self.memory.start(lease)
    }

    fn finish(&self, _: &Lease, _: &StoredReply) -> Lookup<(), StoreError> {
        panic!("with a ledger, the layer settles")
    }

    fn fail(&self, _: &Lease) -> Lookup<(), StoreError> {
        panic!("with a ledger, the layer tells it of the failure")
    }

    fn abandon(&self, lease: &Lease) -> Lookup<(), StoreError> {
        self.memory.abandon(lease)
    }

    fn refuse(&self, lease: &Lease) -> Lookup<(), StoreError> {
        self.memory.refuse(lease)
    }
}

impl UploadLedger for Ledger {
    fn granted(&self, uploads: &[GrantedUpload]) -> Lookup<(), StoreError> {
        self.grants.fetch_add(1, Ordering::SeqCst);
        if let Some(kind) = *self.fails.lock().unwrap() {
            return Lookup::Ready(Err(StoreError::with_source(kind, "canary")));
        }
        let (ledger, uploads) = (self.clone(), uploads.to_vec());
        Lookup::pending(async move {
            tokio::task::yield_now().await;
            ledger.recorded.store(true, Ordering::SeqCst);
            ledger.memory.granted(&uploads).await
        })
    }

    fn settled(
        &self,
        lease: &Lease,
        reply: &StoredReply,
        object: &SettledObject,
        until: SystemTime,
    ) -> Lookup<(), StoreError> {
        self.memory.settled(lease, reply, object, until)
    }

    fn fail_upload(&self, lease: &Lease, due: SystemTime) -> Lookup<(), StoreError> {
        self.memory.fail_upload(lease, due)
    }

    fn due(
        &self,
        now: SystemTime,
        limit: usize,
        visibility: Duration,
    ) -> Lookup<Vec<DueUpload>, StoreError> {
        self.memory.due(now, limit, visibility)
    }

    fn defer(&self, claim: &Claim, due: SystemTime, attempts: u32) -> Lookup<(), StoreError> {
        self.memory.defer(claim, due, attempts)
    }

    fn close(&self, claim: &Claim, reason: CloseReason) -> Lookup<(), StoreError> {
        self.memory.close(claim, reason)
    }

    fn object(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        stored: SystemTime,
    ) -> Lookup<ObjectGrants, StoreError> {
        self.memory.object(bucket, key, stored)
    }

    fn open_rows(&self) -> Lookup<u64, StoreError> {
        self.memory.open_rows()
    }
}

fn with(ledger: &Ledger) -> OssUploads {
    let builder = builder().callback_url(URL).ledger(ledger.clone());
    builder.build().unwrap()
}

fn always(grants: impl Into<Grants>) -> impl Authorize {
    let grants = grants.into();
    async move |_: &Parts| Ok::<_, Refusal>(grants.clone())
}

fn under() -> Grant {
    Grant::under("u/".parse().unwrap(), SizeRange::new(1, 1000).unwrap())
        .content_type("image/png".parse().unwrap())
}

fn any_name() -> Grant {
    Grant::any_name_under("u/".parse().unwrap(), SizeRange::new(1, 1000).unwrap())
        .content_type("image/png".parse().unwrap())
}

struct Answer {
    status: StatusCode,
    retry_after: Option<String>,
    error: Option<TokenError>,
    json: Value,
}

impl Answer {
    async fn of(response: http::Response<PolicyBody>) -> Self {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let header = parts.headers.get("retry-after");
        Self {
            status: parts.status,
            retry_after: header.map(|value| value.to_str().unwrap().to_owned()),
            error: parts.extensions.get().cloned(),
            json: serde_json::from_slice(&body).unwrap(),
        }
    }

    fn kind(&self) -> Option<TokenErrorKind> {
        self.error.as_ref().map(TokenError::kind)
    }
}

async fn ask(uploads: &OssUploads, grants: impl Into<Grants>, ask: &Value) -> Answer {
    let request = Request::post("/oss/policy")
        .header("content-type", "application/json")
        .body(Body::from(ask.to_string()))
        .unwrap();
    let service = uploads.policy_service(always(grants));
    Answer::of(service.oneshot(request).await.unwrap()).await
}

/// The row contains the callback that OSS makes, in every body type.
#[tokio::test]
async fn lg_11_an_upload_is_recorded_before_its_token_is_sent() {
    for body_type in CallbackBodyType::ALL {
        let ledger = Ledger::default();
        let template = CallbackTemplate::standard(body_type)
            .custom("x:a", "1")
            .unwrap();
        let urls = [
            "http://app.example:8080/oss/c%61llback?q=%2F",
            "http://b.example/",
        ];
        let callback = CallbackDirective::with_urls(urls)
            .unwrap()
            .body(template)
            .unwrap()
            .variable("x:c", "3")
            .unwrap();
        let uploads = builder()
            .callback(callback)
            .ledger(ledger.clone())
            .upload_time(10 * MINUTE)
            .build()
            .unwrap();
        let grant = under().variable("x:b", "2").lifetime(5 * MINUTE);
        let before = SystemTime::now();
        let file = json!({ "filename": "a.PNG", "size": 5 });
        let answer = ask(&uploads, grant, &file).await;
        assert_eq!(answer.status, 200, "{}", answer.json);
        assert!(ledger.recorded.load(Ordering::SeqCst));
        let rows = ledger.rows().await;
        let [row] = &rows[..] else { panic!("{rows:?}") };
        assert_eq!(row.key().as_str(), answer.json["key"]);
        assert_eq!(row.bucket().as_str(), "examplebucket");
        let second = Duration::from_secs(1);
        assert!(row.granted_at() + second > before && row.granted_at() <= SystemTime::now());
        let expires = answer.json["expires"].as_u64().unwrap();
        let expires = SystemTime::UNIX_EPOCH + Duration::from_secs(expires) + 10 * MINUTE;
        assert_eq!((row.expires(), row.due_at()), (expires, expires + MINUTE));

        let parameters = answer.json["fields"]["callback"].as_str().unwrap();
        let parameters: Value =
            serde_json::from_slice(&STANDARD.decode(parameters).unwrap()).unwrap();
        let call = row.call();
        assert_eq!(call.template(), parameters["callbackBody"]);
        assert!(call.template().contains("${x:b}") && call.template().contains(TICKET_FIELD));
        assert_eq!(call.body_type(), body_type);
        assert_eq!(call.target(), "/oss/c%61llback?q=%2F");
        assert_eq!(call.host(), "app.example:8080");
        let mut variables: Vec<_> = call.get_variables().collect();
        variables.sort_unstable();
        assert_eq!(variables, [("x:a", "1"), ("x:b", "2"), ("x:c", "3")]);
        for (name, value) in variables {
            assert_eq!(answer.json["fields"][name], value);
        }
    }
}

#[tokio::test]
async fn lg_12_a_batch_is_recorded_as_a_whole_or_not_at_all() {
    let ledger = Ledger::default();
    let uploads = with(&ledger);
    let files = json!({ "files": vec![json!({ "filename": "a.png" }); 100] });
    let answer = ask(&uploads, under().max_files(100), &files).await;
    assert_eq!(answer.status, 200, "{}", answer.json);
    assert_eq!(ledger.grants.load(Ordering::SeqCst), 1);
    let keys: std::collections::BTreeSet<_> = ledger
        .rows()
        .await
        .iter()
        .map(|row| row.key().to_string())
        .collect();
    let tokens = answer.json["uploads"].as_array().unwrap();
    let sent = tokens
        .iter()
        .map(|token| token["key"].as_str().unwrap().to_owned());
    assert_eq!(keys, sent.collect());
    assert_eq!(keys.len(), 100);

    // Room for 50 more.
    let memory = MemoryStore::new().ledger_capacity(150);
    let ledger = Ledger {
        memory: Arc::new(memory),
        ..Ledger::default()
    };
    let uploads = with(&ledger);
    for (status, open) in [(200, 100), (503, 100)] {
        let answer = ask(&uploads, under().max_files(100), &files).await;
        assert_eq!(
            (answer.status.as_u16(), ledger.open().await),
            (status, open)
        );
    }
    // One of several grants is not valid: nothing is recorded.
    let ledger = Ledger::default();
    let two = json!({ "files": [{ "size": 1 }, { "size": 5000 }] });
    let answer = ask(&with(&ledger), under().max_files(2), &two).await;
    assert_eq!((answer.status.as_u16(), ledger.open().await), (403, 0));
}

#[tokio::test]
async fn lg_13_without_the_ledger_there_is_no_token() {
    for (kind, seconds) in [
        (StoreErrorKind::Full, "60"),
        (StoreErrorKind::Unavailable, "5"),
        (StoreErrorKind::TimedOut, "5"),
        (StoreErrorKind::Unreadable, "5"),
    ] {
        let ledger = Ledger::default();
        ledger.fail(Some(kind));
        let uploads = with(&ledger);
        let answer = ask(&uploads, under(), &json!({})).await;
        assert_eq!(answer.status, 503);
        assert_eq!(answer.kind(), Some(TokenErrorKind::LedgerUnavailable));
        assert_eq!(answer.json["code"], "LedgerUnavailable");
        assert_eq!(answer.json.as_object().unwrap().len(), 2, "{}", answer.json);
        assert!(!answer.json.to_string().contains("canary"));
        assert_eq!(answer.retry_after.as_deref(), Some(seconds));
        let error = answer.error.unwrap();
        let source = error.source().unwrap().downcast_ref::<StoreError>();
        assert_eq!(source.unwrap().kind(), kind);

        // A response that the application renders has the header, too.
        let service = uploads
            .policy_service(always(under()))
            .rejection(|_| http::Response::new(Bytes::from_static(b"busy")));
        let request = Request::get("/oss/policy").body(Body::empty()).unwrap();
        let response = service.oneshot(request).await.unwrap();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["retry-after"], seconds);

        let grant = Grant::exact("a".parse().unwrap(), SizeRange::new(1, 2).unwrap());
        let refused = uploads.recorded_callback_for(&grant).await.unwrap_err();
        assert_eq!(refused, PolicyError::Ledger(kind));

        // Chosen by name.
        let builder = builder().callback_url(URL).ledger(ledger.clone());
        let uploads = builder.dangerous_issue_when_ledger_fails().build().unwrap();
        let answer = ask(&uploads, under(), &json!({})).await;
        assert_eq!((answer.status.as_u16(), ledger.open().await), (200, 0));
        uploads.recorded_callback_for(&grant).await.unwrap();
        ledger.fail(None);
        let answer = ask(&uploads, under(), &json!({})).await;
        assert_eq!((answer.status.as_u16(), ledger.open().await), (200, 1));
    }
}

/// Returns the condition on the key in the policy of a token.
fn key_condition(token: &Value) -> Value {
    let policy = STANDARD.decode(token["fields"]["policy"].as_str().unwrap());
    let policy: Value = serde_json::from_slice(&policy.unwrap()).unwrap();
    let conditions = policy["conditions"].as_array().unwrap();
    let on_key = conditions
        .iter()
        .find(|one| one.as_array().is_some_and(|one| one[1] == "$key"));
    on_key.unwrap().clone()
}

#[tokio::test]
async fn lg_14_a_name_is_pinned_unless_the_grant_is_unrecovered() {
    let ledger = Ledger::default();
    let uploads = with(&ledger);
    for name in ["a.png", "照片 1.png", "b/c.png"] {
        let answer = ask(&uploads, any_name(), &json!({ "filename": name })).await;
        let key = format!("u/{name}");
        assert_eq!(answer.json["key"], key, "{}", answer.json);
        assert_eq!(key_condition(&answer.json), json!(["eq", "$key", key]));
    }
    // Without a valid name, a new one each time.
    for name in [
        "",
        "../a.png",
        "a\u{0}.png",
        "a/",
        "/a.png",
        &"a".repeat(1023),
    ] {
        let answer = ask(&uploads, any_name(), &json!({ "filename": name })).await;
        let key = answer.json["key"].as_str().unwrap().to_owned();
        assert!(key.starts_with("u/0") && key.len() > 36, "{key}");
        assert_eq!(key_condition(&answer.json), json!(["eq", "$key", key]));
    }
    assert_eq!(ledger.open().await, 9);
    // The ticket is for one object, however many uses the grant permits.
    let (app, runs) = on_upload_of(&uploads, any_name());
    let token = token(&app, "/oss/policy?filename=a.png&size=5&type=image/png").await;
    let of = |object| Upload::of(object).callback(&token["fields"]["callback"]);
    assert_eq!(
        app.clone()
            .oneshot(of("u/b.png").map(Body::new))
            .await
            .unwrap()
            .status(),
        403
    );
    assert_eq!(
        app.clone()
            .oneshot(of("u/a.png").map(Body::new))
            .await
            .unwrap()
            .status(),
        200
    );
    assert_eq!(runs.load(Ordering::SeqCst), 1);

    let ledger = Ledger::default();
    let uploads = with(&ledger);
    ledger.fail(Some(StoreErrorKind::Unavailable));
    let answer = ask(
        &uploads,
        any_name().unrecovered(),
        &json!({ "filename": "a.png" }),
    )
    .await;
    assert_eq!(answer.json["key"], "u/${filename}");
    let answer = ask(&uploads, under().unrecovered(), &json!({})).await;
    assert_eq!(answer.status, 200);
    let answer = ask(&uploads, under().without_callback(), &json!({})).await;
    assert_eq!(answer.status, 200);
    assert_eq!(ledger.grants.load(Ordering::SeqCst), 0);

    // Without a ledger, nothing changes.
    let plain = builder().callback_url(URL).build().unwrap();
    let answer = ask(&plain, any_name(), &json!({ "filename": "a.png" })).await;
    assert_eq!(answer.json["key"], "u/${filename}");
}

#[tokio::test]
async fn lg_14_a_grant_that_leaves_the_name_open_is_a_typed_error() {
    let size = SizeRange::new(1, 1000).unwrap();
    let open = Grant::any_name_under("u/".parse().unwrap(), size).any_content_type();
    for format in [TokenFormat::V4, TokenFormat::Legacy] {
        let ledger = Ledger::default();
        let builder = builder().callback_url(URL).ledger(ledger.clone());
        let uploads = builder.format(format).build().unwrap();
        let grant = open.clone();
        let answer = ask(&uploads, grant.clone(), &json!({})).await;
        assert_eq!(answer.status, 500);
        let error = answer.error.unwrap();
        let source = error.source().unwrap().downcast_ref::<PolicyError>();
        assert_eq!(source, Some(&PolicyError::OpenName));
        let answer = ask(&uploads, grant.unrecovered(), &json!({})).await;
        assert_eq!((answer.status.as_u16(), ledger.open().await), (200, 0));
    }
    let ledger = Ledger::default();
    let uploads = with(&ledger);
    let under = Grant::under("u/".parse().unwrap(), size);
    for grant in [open, under] {
        let error = uploads.recorded_callback_for(&grant).await.unwrap_err();
        assert_eq!(error, PolicyError::OpenName);
        uploads.callback_for(&grant.unrecovered()).unwrap();
    }
    assert_eq!(ledger.open().await, 0);
}

#[tokio::test]
async fn lg_15_an_upload_of_the_server_is_recorded_before_its_callback_is_returned() {
    let ledger = Ledger::default();
    let uploads = with(&ledger);
    let grant = Grant::exact("r.pdf".parse().unwrap(), SizeRange::new(1, 1000).unwrap())
        .claims(&7)
        .lifetime(5 * MINUTE);
    let error = uploads.callback_for(&grant).unwrap_err();
    assert_eq!(error, PolicyError::NotRecorded);
    assert_eq!(ledger.open().await, 0);
    let callback = uploads.recorded_callback_for(&grant).await.unwrap();
    let rows = ledger.rows().await;
    let [row] = &rows[..] else { panic!("{rows:?}") };
    let parameters = STANDARD.decode(callback.encoded()).unwrap();
    let parameters: Value = serde_json::from_slice(&parameters).unwrap();
    assert_eq!(row.call().template(), parameters["callbackBody"]);
    assert_eq!(
        (row.key().as_str(), row.call().target()),
        ("r.pdf", "/oss/callback")
    );

    // The callback settles the row.
    let (app, _) = on_upload_of(&uploads, grant.clone());
    let mut upload = Upload::of("r.pdf");
    upload.content_type = "application/octet-stream";
    let request = upload.callback(&json!(callback.encoded()));
    assert_eq!(
        app.oneshot(request.map(Body::new)).await.unwrap().status(),
        200
    );
    assert_eq!(ledger.open().await, 0);

    // Without a ledger it is the same callback.
    let plain = builder().callback_url(URL).build().unwrap();
    plain.recorded_callback_for(&grant).await.unwrap();
}

#[test]
fn lg_16_settings_that_contradict_a_ledger_are_an_error() {
    let ledger = || builder().callback_url(URL).ledger(MemoryStore::new());
    let keys = || TicketKeys::new(1, key(1));
    let with_tickets = without_tickets()
        .callback_url(URL)
        .tickets(Tickets::in_memory(keys()));
    let error = with_tickets.ledger(MemoryStore::new()).build().unwrap_err();
    assert_eq!(error, OssUploadsError::TicketsAndLedger);
    let none = without_tickets()
        .callback_url(URL)
        .ledger(MemoryStore::new());
    assert_eq!(none.build().unwrap_err(), OssUploadsError::NoTicketKey);
    let none = without_tickets()
        .callback_url(URL)
        .ledger(MemoryStore::new());
    let error = none.dangerous_without_tickets().build().unwrap_err();
    assert_eq!(error, OssUploadsError::LedgerWithoutTickets);
    let error = ledger().dangerous_without_tickets().build().unwrap_err();
    assert_eq!(error, OssUploadsError::WithoutTickets);

    assert!(
        ledger()
            .build()
            .unwrap()
            .tickets()
            .unwrap()
            .ledger()
            .is_some()
    );
    let tickets = Tickets::with_ledger(keys(), MemoryStore::new());
    let several = without_tickets().callback_url(URL).tickets(tickets);
    assert!(
        several
            .build()
            .unwrap()
            .tickets()
            .unwrap()
            .ledger()
            .is_some()
    );
    let plain = builder().callback_url(URL).build().unwrap();
    assert!(plain.tickets().unwrap().ledger().is_none());
}

/// Mounts the policy service with this grant, and the callback layer.
fn on_upload_of(uploads: &OssUploads, grant: Grant) -> (Router, Runs) {
    let runs = Runs::default();
    let app = Router::new()
        .route_service("/oss/policy", uploads.policy_service(always(grant)))
        .route(
            "/oss/callback",
            post(on_upload).route_layer(uploads.callback_layer()),
        )
        .layer(Extension(Arc::clone(&runs)));
    (app, runs)
}

/// Mounts a handler that fails until the test switches that off.
fn failing(
    uploads: &OssUploads,
    fails: &Arc<AtomicBool>,
    nonces: &Arc<Mutex<Vec<Nonce>>>,
) -> Router {
    let (fails, nonces) = (Arc::clone(fails), Arc::clone(nonces));
    let handler = async move |callback: VerifiedCallback| {
        nonces
            .lock()
            .unwrap()
            .push(callback.ticket_nonce().unwrap());
        match fails.load(Ordering::SeqCst) {
            true => (StatusCode::INTERNAL_SERVER_ERROR, "").into_response(),
            false => CallbackReply::ok().into_response(),
        }
    };
    Router::new()
        .route_service("/oss/policy", uploads.policy_service(always(under())))
        .route(
            "/oss/callback",
            post(handler).route_layer(uploads.callback_layer()),
        )
}

#[tokio::test]
async fn lg_17_a_failure_is_due_in_a_minute_and_a_success_settles() {
    let ledger = Ledger::default();
    let uploads = with(&ledger);
    let (fails, nonces) = (Arc::new(AtomicBool::new(true)), Arc::default());
    let app = failing(&uploads, &fails, &nonces);
    let token = token(&app, "/oss/policy?filename=a.png&size=5").await;
    let object = token["key"].as_str().unwrap();
    let request = || {
        let request = Upload::of(object).callback(&token["fields"]["callback"]);
        request.map(Body::new)
    };
    let status = async || app.clone().oneshot(request()).await.unwrap().status();
    let second = Duration::from_secs(1);
    assert_eq!(ledger.due_in(60 * MINUTE).await, 0);
    assert_eq!(status().await, 500);
    assert_eq!(ledger.due_in(MINUTE - second).await, 0);
    fails.store(false, Ordering::SeqCst);
    assert_eq!(status().await, 200);
    assert_eq!(ledger.open().await, 0);
    // The stored reply, without a second run.
    assert_eq!(status().await, 200);
    let nonces = nonces.lock().unwrap().clone();
    assert_eq!(nonces.len(), 2);

    let found = ledger
        .memory
        .object(
            &"examplebucket".parse().unwrap(),
            &object.parse().unwrap(),
            SystemTime::now(),
        )
        .await
        .unwrap();
    assert_eq!((found.settled.len(), found.owner, found.open), (1, None, 0));

    // A record that is not settled lives as long as the row.
    let ends = ledger.ends.lock().unwrap().clone();
    let expires = token["expires"].as_u64().unwrap();
    let expires = SystemTime::UNIX_EPOCH + Duration::from_secs(expires) + 60 * MINUTE;
    assert_eq!(ends, [expires + MINUTE + GrantedUpload::LIFE; 3]);
}

#[tokio::test]
async fn lg_17_the_row_of_a_failure_is_due_in_a_minute() {
    let ledger = Ledger::default();
    let uploads = with(&ledger);
    let (fails, nonces) = (Arc::new(AtomicBool::new(true)), Arc::default());
    let app = failing(&uploads, &fails, &nonces);
    let token = token(&app, "/oss/policy?filename=a.png&size=5").await;
    let object = token["key"].as_str().unwrap();
    let request = Upload::of(object).callback(&token["fields"]["callback"]);
    app.oneshot(request.map(Body::new)).await.unwrap();
    let rows = ledger.memory.due(SystemTime::now() + MINUTE, 10, MINUTE);
    let rows = rows.await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].upload.nonce(), nonces.lock().unwrap()[0]);
}

/// An at-most-once handler never runs again, whatever it answered.
#[tokio::test]
async fn lg_18_an_at_most_once_handler_settles_when_it_fails() {
    let ledger = Ledger::default();
    let keys = TicketKeys::new(1, key(1));
    let tickets = Tickets::with_ledger(keys, ledger.clone()).on_failure(OnFailure::AtMostOnce);
    let uploads = without_tickets()
        .callback_url(URL)
        .tickets(tickets)
        .build()
        .unwrap();
    let (fails, nonces) = (Arc::new(AtomicBool::new(true)), Arc::default());
    let app = failing(&uploads, &fails, &nonces);
    let token = token(&app, "/oss/policy?filename=a.png&size=5").await;
    let object = token["key"].as_str().unwrap();
    for _ in 0..2 {
        let request = Upload::of(object).callback(&token["fields"]["callback"]);
        let response = app.clone().oneshot(request.map(Body::new)).await.unwrap();
        assert_eq!((response.status().as_u16(), ledger.open().await), (500, 0));
    }
    assert_eq!(nonces.lock().unwrap().len(), 1);
}

/// What the layer rejects leaves the row as it is.
#[tokio::test]
async fn lg_19_a_rejected_callback_settles_nothing() {
    let ledger = Ledger::default();
    let uploads = with(&ledger);
    let (app, runs) = on_upload_of(&uploads, under());
    let token = token(&app, "/oss/policy?filename=a.png&size=5").await;
    let object = token["key"].as_str().unwrap();
    for wrong in [
        Upload {
            size: "6",
            ..Upload::of(object)
        },
        Upload {
            bucket: "otherbucket",
            ..Upload::of(object)
        },
        Upload::of("u/other.png"),
    ] {
        let request = wrong.callback(&token["fields"]["callback"]);
        let response = app.clone().oneshot(request.map(Body::new)).await.unwrap();
        assert_eq!(response.status(), 403);
    }
    assert_eq!((ledger.open().await, runs.load(Ordering::SeqCst)), (1, 0));
    assert_eq!(ledger.due_in(10 * MINUTE).await, 0);
}

/// The response to `HEAD` contains no token.
#[tokio::test]
async fn lg_20_a_head_request_records_nothing() {
    let ledger = Ledger::default();
    let service = with(&ledger).policy_service(always(under()));
    let request = Request::head("/oss/policy").body(Body::empty()).unwrap();
    assert_eq!(service.oneshot(request).await.unwrap().status(), 200);
    assert_eq!(ledger.grants.load(Ordering::SeqCst), 0);
}
