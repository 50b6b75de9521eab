//! Callbacks that OSS confirms or refutes.

use std::{
    pin::pin,
    sync::{Mutex, atomic::Ordering},
};

use tokio::time::{Instant, sleep};
use tower_aliyun_oss::{
    OssUploads, OssUploadsError,
    callback::ConfirmError,
    protocol::Bucket,
    storage::{ObjectMetadata, ObjectPage, ObjectStorage, StorageError, StorageErrorKind},
    ticket::{OnFailure, store::StoreErrorKind},
};

use super::*;

type Found = Result<ObjectMetadata, StorageErrorKind>;

/// A storage that holds what a test puts into it, and records what it is asked for.
#[derive(Clone)]
struct Storage {
    found: Arc<Mutex<Found>>,
    /// How long it takes.
    late: Option<Duration>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Storage {
    fn with(found: Found) -> Self {
        Self {
            found: Arc::new(Mutex::new(found)),
            late: None,
            asked: Arc::default(),
        }
    }

    fn good() -> Self {
        Self::with(Ok(stored()))
    }

    fn late(mut self, time: Duration) -> Self {
        self.late = Some(time);
        self
    }

    fn set(&self, found: Found) {
        *self.found.lock().unwrap() = found;
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

impl ObjectStorage for Storage {
    fn head(&self, bucket: &Bucket, key: &str) -> Lookup<ObjectMetadata, StorageError> {
        self.asked.lock().unwrap().push(format!("{bucket}/{key}"));
        let found = self.found.lock().unwrap().clone().map_err(Into::into);
        match self.late {
            None => Lookup::Ready(found),
            Some(time) => Lookup::pending(async move {
                sleep(time).await;
                found
            }),
        }
    }

    fn list(&self, _: &Bucket, _: &str, _: Option<&str>) -> Lookup<ObjectPage, StorageError> {
        panic!("a callback lists nothing")
    }

    fn delete(&self, _: &Bucket, _: &str) -> Lookup<(), StorageError> {
        panic!("a callback deletes nothing")
    }
}

/// The object that [`form`] reports, as `HeadObject` writes it.
fn stored() -> ObjectMetadata {
    ObjectMetadata::new(5)
        .with_etag("\"D41D\"")
        .with_content_type("image/png")
}

fn tickets() -> Tickets {
    Tickets::in_memory(keys())
}

fn confirming(tickets: &Tickets, storage: &Storage) -> OssCallbackLayer {
    layer(tickets).confirm(storage.clone()).unwrap()
}

fn callback() -> Request<Full<Bytes>> {
    signed(form("a.png", &mint(&exact("a.png"))))
}

/// Another text for each `n`, under one ticket.
fn text(ticket: &str, n: usize) -> Request<Full<Bytes>> {
    signed(form("u/a.png", ticket).replace("5CF3E782", &format!("{n:08X}")))
}

fn source(outcome: &Outcome) -> String {
    let error = outcome.error.as_ref().unwrap();
    std::error::Error::source(error).unwrap().to_string()
}

#[tokio::test]
async fn co_01_a_confirmed_upload_reaches_the_handler_with_what_oss_reports() {
    for storage in [
        Storage::good(),
        Storage::good().late(Duration::from_millis(1)),
    ] {
        storage.set(Ok(stored().with_crc64(7)));
        let inner = service_fn(|request: Request<RequestBody<Full<Bytes>>>| {
            let callback = request.extensions().get::<VerifiedCallback>().unwrap();
            assert_eq!(callback.confirmed(), Some(&stored().with_crc64(7)));
            ready(Ok::<_, Infallible>(Response::new(Full::from("{}"))))
        });
        let outcome = send(confirming(&tickets(), &storage).layer(inner), callback()).await;
        assert_eq!(outcome.status, StatusCode::OK);
        assert_eq!(*storage.asked.lock().unwrap(), ["examplebucket/a.png"]);
    }
}

#[tokio::test]
async fn co_01_without_a_storage_nothing_is_confirmed() {
    let inner = service_fn(|request: Request<RequestBody<Full<Bytes>>>| {
        let callback = request.extensions().get::<VerifiedCallback>().unwrap();
        assert_eq!(callback.confirmed(), None);
        ready(Ok::<_, Infallible>(Response::new(Full::from("{}"))))
    });
    let outcome = send(layer(&tickets()).layer(inner), callback()).await;
    assert_eq!(outcome.status, StatusCode::OK);
}

#[tokio::test]
async fn co_02_spellings_that_mean_the_same_are_no_difference() {
    for found in [
        stored().with_etag("d41d"),
        stored().with_content_type("Image/PNG"),
        stored().with_version_id("v").with_storage_class("IA"),
        // What a storage does not report is not compared.
        ObjectMetadata::new(5),
    ] {
        let (storage, handler) = (Storage::with(Ok(found)), Handler::default());
        let layer = confirming(&tickets(), &storage);
        send(layer.layer(handler), callback()).await.assert_run(1);
    }
}

/// OSS may write a `+` or a space in a form as `+`, and nothing tells which one it was.
#[tokio::test]
async fn co_02_a_plus_in_a_form_is_no_difference() {
    let variables = [
        SystemVariable::Bucket,
        SystemVariable::Object,
        SystemVariable::Size,
        SystemVariable::MimeType,
        SystemVariable::ContentMd5,
    ];
    // Without content types, the grant permits any.
    let terms = exact("a.svg").content_types([]);
    for (written, found) in [
        ("image%2Fsvg+xml", "image/svg+xml"),
        ("image%2Fsvg%2Bxml", "Image/SVG+xml"),
        (
            "text%2Fplain%3B+charset%3Dutf-8",
            "text/plain; charset=utf-8",
        ),
    ] {
        let ticket = mint_for(&terms, fields(&variables));
        let body = format!(
            "bucket=examplebucket&object=a.svg&size=5&mimeType={written}\
             &contentMd5=a+b%3D%3D&{TICKET_FIELD}={ticket}"
        );
        let found = ObjectMetadata::new(5).with_content_type(found);
        let storage = Storage::with(Ok(found.with_content_md5("a+b==")));
        let layer = confirming(&tickets(), &storage);
        let outcome = send(layer.layer(Handler::default()), signed(body)).await;
        outcome.assert_run(1);
    }
}

#[tokio::test]
async fn co_03_a_false_callback_is_refused_and_its_ticket_is_free() {
    for (found, why) in [
        (
            Err(StorageErrorKind::NotFound),
            "the object or upload does not exist",
        ),
        (Ok(ObjectMetadata::new(6).with_etag("D41D")), "another size"),
        (Ok(stored().with_etag("D41E")), "another ETag"),
        (
            Ok(stored().with_content_type("image/gif")),
            "another content type",
        ),
    ] {
        let (storage, handler) = (Storage::with(found), Handler::default());
        let service = confirming(&tickets(), &storage).layer(handler.clone());
        let request = callback();
        let outcome = send(service.clone(), request.clone()).await;
        outcome.assert_refused(403, CallbackErrorKind::NotConfirmed);
        assert!(source(&outcome).contains(why), "{}", source(&outcome));
        assert_eq!(handler.runs(), 0);
        // The genuine upload follows.
        storage.set(Ok(stored()));
        send(service, request).await.assert_run(1);
    }
}

#[tokio::test]
async fn co_03_checksums_are_compared_if_the_body_contains_them() {
    let variables = [
        SystemVariable::Bucket,
        SystemVariable::Object,
        SystemVariable::Size,
        SystemVariable::MimeType,
        SystemVariable::Crc64,
        SystemVariable::ContentMd5,
    ];
    for (found, why) in [
        (stored().with_crc64(7).with_content_md5("md5=="), None),
        (stored().with_crc64(8), Some("another CRC-64")),
        (stored().with_content_md5("MD5=="), Some("another MD5")),
        // The body has no ETag.
        (stored().with_etag("other"), None),
    ] {
        let ticket = mint_for(&exact("a.png"), fields(&variables));
        let body = format!(
            "bucket=examplebucket&object=a.png&size=5&mimeType=image%2Fpng&crc64=7\
             &contentMd5=md5%3D%3D&{TICKET_FIELD}={ticket}"
        );
        let (storage, handler) = (Storage::with(Ok(found)), Handler::default());
        let layer = confirming(&tickets(), &storage);
        let outcome = send(layer.layer(handler.clone()), signed(body)).await;
        match why {
            None => outcome.assert_run(1),
            Some(why) => {
                outcome.assert_refused(403, CallbackErrorKind::NotConfirmed);
                assert!(source(&outcome).contains(why));
                assert_eq!(handler.runs(), 0);
            }
        }
    }
}

#[tokio::test]
async fn co_04_what_oss_cannot_tell_is_not_refuted() {
    for kind in [
        StorageErrorKind::Credentials,
        StorageErrorKind::Denied,
        StorageErrorKind::Rejected,
        StorageErrorKind::Throttled,
        StorageErrorKind::Unavailable,
        StorageErrorKind::TimedOut,
        StorageErrorKind::Tls,
        StorageErrorKind::Unreadable,
    ] {
        let (storage, handler) = (Storage::with(Err(kind)), Handler::default());
        let service = confirming(&tickets(), &storage).layer(handler.clone());
        let request = callback();
        // However often: it may work again.
        for _ in 0..25 {
            let outcome = send(service.clone(), request.clone()).await;
            outcome.assert_refused(503, CallbackErrorKind::ConfirmationUnavailable);
        }
        assert_eq!((handler.runs(), storage.asked()), (0, 25));
        storage.set(Ok(stored()));
        send(service, request).await.assert_run(1);
    }
}

#[tokio::test]
async fn co_04_each_cause_is_one_warning_with_the_remedy() {
    for (kind, remedy) in [
        (
            StorageErrorKind::Credentials,
            "check the credentials provider",
        ),
        (StorageErrorKind::Denied, "grant oss:GetObject"),
        (
            StorageErrorKind::Rejected,
            "check the endpoint, the region and the bucket",
        ),
        (
            StorageErrorKind::Unreadable,
            "check the endpoint, the region and the bucket",
        ),
        (
            StorageErrorKind::Tls,
            "check the endpoint, the region and the bucket",
        ),
        (StorageErrorKind::Throttled, "a higher limit"),
        (
            StorageErrorKind::Unavailable,
            "inside of the region, the internal one",
        ),
        (
            StorageErrorKind::TimedOut,
            "inside of the region, the internal one",
        ),
        (StorageErrorKind::NotFound, "its uploader forged it"),
    ] {
        let log = crate::support::Log::default();
        let guard = log.listen();
        let service = confirming(&tickets(), &Storage::with(Err(kind))).layer(Handler::default());
        for _ in 0..3 {
            send(service.clone(), callback()).await;
        }
        drop(guard);
        assert_eq!(
            (log.count("WARN", remedy), log.count("WARN", "")),
            (1, 1),
            "{kind:?}"
        );
        let reason = StorageError::from(kind).to_string();
        assert_eq!(log.count("WARN", &reason), 1, "{kind:?}");
        assert_eq!(log.count("ERROR", ""), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn co_05_a_late_answer_is_none() {
    let second = Duration::from_secs(1);
    let layer_of = |storage: &Storage| confirming(&tickets(), storage);
    let plain: fn(OssCallbackLayer) -> OssCallbackLayer = |layer| layer;
    for (set, after) in [
        (plain, Duration::from_millis(1500)),
        (
            |layer| layer.confirm_deadline(Duration::from_millis(200)),
            Duration::from_millis(200),
        ),
        // The deadline of the layer applies as well.
        (
            |layer| layer.deadline(Duration::from_millis(700)),
            Duration::from_millis(700),
        ),
    ] {
        let storage = Storage::good().late(2 * second);
        let handler = Handler::default();
        let service = set(layer_of(&storage)).layer(handler.clone());
        let (start, request) = (Instant::now(), callback());
        let outcome = send(service.clone(), request).await;
        outcome.assert_refused(503, CallbackErrorKind::ConfirmationUnavailable);
        // Timers have a resolution of one millisecond.
        let elapsed = start.elapsed();
        assert!(
            elapsed >= after && elapsed <= after + Duration::from_millis(2),
            "{elapsed:?}"
        );
        assert_eq!(handler.runs(), 0);
    }
    let storage = Storage::good().late(Duration::from_millis(1400));
    let service = layer_of(&storage).layer(Handler::default());
    send(service, callback()).await.assert_run(1);
}

#[tokio::test]
async fn co_06_a_repeated_callback_is_not_confirmed_again() {
    let (storage, handler) = (Storage::good(), Handler::default());
    let service = confirming(&tickets(), &storage).layer(handler.clone());
    let request = callback();
    for _ in 0..5 {
        send(service.clone(), request.clone()).await.assert_run(1);
    }
    assert_eq!((handler.runs(), storage.asked()), (1, 1));
}

#[tokio::test]
async fn co_07_nothing_is_asked_before_all_other_checks_pass() {
    let (storage, handler) = (Storage::good(), Handler::default());
    let service = confirming(&tickets(), &storage).layer(handler.clone());
    let ticket = mint(&exact("a.png"));
    let mut unsigned = signed(form("a.png", &mint(&exact("a.png"))));
    let header = unsigned.headers_mut().get_mut("authorization").unwrap();
    *header = http::HeaderValue::from_static("AAAA");
    let used = signed(form("a.png", &ticket));
    send(service.clone(), used).await.assert_run(1);
    for (request, kind) in [
        (
            signed("object=a.png&size=5"),
            CallbackErrorKind::TicketMissing,
        ),
        (
            signed(form(
                "a.png",
                &ticket.replace(|c: char| c.is_ascii_digit(), "0"),
            )),
            CallbackErrorKind::TicketInvalid,
        ),
        (unsigned, CallbackErrorKind::SignatureMismatch),
        (
            signed(form("b.png", &mint(&exact("a.png")))),
            CallbackErrorKind::OutsideGrant,
        ),
        (
            signed(form("a.png", &ticket).replace("5CF3", "5CF4")),
            CallbackErrorKind::TicketUsed,
        ),
    ] {
        send(service.clone(), request)
            .await
            .assert_refused(403, kind);
    }
    assert_eq!((handler.runs(), storage.asked()), (1, 1));
}

#[tokio::test]
async fn co_08_after_20_refuted_callbacks_oss_is_asked_no_more() {
    for on_failure in [OnFailure::Retry, OnFailure::AtMostOnce] {
        let storage = Storage::with(Err(StorageErrorKind::NotFound));
        let handler = Handler::default();
        let tickets = tickets().on_failure(on_failure);
        let service = confirming(&tickets, &storage).layer(handler.clone());
        let ticket = mint(&under("u/"));
        for n in 0..20 {
            let outcome = send(service.clone(), text(&ticket, n)).await;
            outcome.assert_refused(403, CallbackErrorKind::NotConfirmed);
        }
        storage.set(Ok(stored()));
        for n in 0..5 {
            let outcome = send(service.clone(), text(&ticket, n)).await;
            outcome.assert_refused(503, CallbackErrorKind::TooManyAttempts);
        }
        assert_eq!((handler.runs(), storage.asked()), (0, 20));
        // Another ticket is not affected.
        let other = mint(&under("u/"));
        send(service, text(&other, 0)).await.assert_run(1);
    }
}

#[tokio::test]
async fn co_08_refutations_do_not_count_as_starts_of_the_handler() {
    let storage = Storage::with(Err(StorageErrorKind::NotFound));
    let service = confirming(&tickets(), &storage).layer(Handler::default());
    let request = callback();
    // More than `max_attempts`.
    for _ in 0..19 {
        let outcome = send(service.clone(), request.clone()).await;
        outcome.assert_refused(403, CallbackErrorKind::NotConfirmed);
    }
    storage.set(Ok(stored()));
    send(service, request).await.assert_run(1);
}

/// Otherwise anyone with a ticket could cause any number of requests to OSS.
#[tokio::test]
async fn co_09_a_client_that_leaves_while_oss_is_asked_counts_as_refuted() {
    let storage = Storage::good().late(Duration::from_secs(1));
    let handler = Handler::default();
    let service = confirming(&tickets(), &storage).layer(handler.clone());
    let request = callback();
    for _ in 0..20 {
        let mut call = pin!(send(service.clone(), request.clone()));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(call.as_mut().poll(&mut cx).is_pending());
    }
    let outcome = send(service, request).await;
    outcome.assert_refused(503, CallbackErrorKind::TooManyAttempts);
    assert_eq!((handler.runs(), storage.asked()), (0, 20));
}

/// A crash while OSS is asked must not use up the ticket.
#[tokio::test]
async fn co_10_an_at_most_once_ticket_is_used_up_only_after_the_confirmation() {
    let store = CountedStore::default();
    let tickets = Tickets::new(keys(), store.clone()).on_failure(OnFailure::AtMostOnce);
    let storage = Storage::good().late(Duration::from_millis(20));
    let handler = Handler::default();
    let service = confirming(&tickets, &storage).layer(handler.clone());
    let request = callback();
    let started = || store.started.load(Ordering::SeqCst);
    {
        let mut call = pin!(send(service.clone(), request.clone()));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(call.as_mut().poll(&mut cx).is_pending());
        assert_eq!((storage.asked(), started()), (1, 0));
    }
    storage.set(Err(StorageErrorKind::NotFound));
    let outcome = send(service.clone(), request.clone()).await;
    outcome.assert_refused(403, CallbackErrorKind::NotConfirmed);
    assert_eq!((handler.runs(), started()), (0, 0));
    assert_eq!(store.refused.load(Ordering::SeqCst), 2);
    storage.set(Ok(stored()));
    send(service, request).await.assert_run(1);
    assert_eq!(started(), 1);
}

#[tokio::test]
async fn co_11_a_store_that_is_out_of_reach_does_not_skip_the_confirmation() {
    struct Down;

    impl ReplayStore for Down {
        fn begin(&self, _: &Attempt) -> Lookup<Begin, StoreError> {
            Lookup::Ready(Err(StoreErrorKind::Unavailable.into()))
        }
        fn start(&self, _: &Lease) -> Lookup<(), StoreError> {
            panic!("no lease was granted")
        }
        fn finish(&self, _: &Lease, _: &StoredReply) -> Lookup<(), StoreError> {
            panic!("no lease was granted")
        }
        fn fail(&self, _: &Lease) -> Lookup<(), StoreError> {
            panic!("no lease was granted")
        }
        fn abandon(&self, _: &Lease) -> Lookup<(), StoreError> {
            Lookup::Ready(Err(StoreErrorKind::Unavailable.into()))
        }
    }

    for on_failure in [OnFailure::Retry, OnFailure::AtMostOnce] {
        let tickets = Tickets::new(keys(), Down).on_failure(on_failure);
        let tickets = tickets.dangerous_run_when_store_fails();
        let storage = Storage::with(Err(StorageErrorKind::NotFound));
        let handler = Handler::default();
        let service = confirming(&tickets, &storage).layer(handler.clone());
        let outcome = send(service.clone(), callback()).await;
        outcome.assert_refused(403, CallbackErrorKind::NotConfirmed);
        assert_eq!(handler.runs(), 0);
        storage.set(Ok(stored()));
        send(service, callback()).await.assert_run(1);
    }
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn a_handler_that_requires_the_confirmation_does_not_run_without() {
    use axum::{Router, body::Body, routing::post};
    use tower_aliyun_oss::callback::{CallbackReply, ConfirmedUpload};

    async fn on_upload(upload: ConfirmedUpload) -> CallbackReply {
        assert_eq!(upload.metadata(), &stored());
        assert_eq!(upload.callback().confirmed(), Some(&stored()));
        CallbackReply::ok()
    }

    let app =
        |layer: OssCallbackLayer| Router::new().route(TARGET, post(on_upload).route_layer(layer));
    let with = app(confirming(&tickets(), &Storage::good()));
    let response = with.oneshot(callback().map(Body::new)).await.unwrap();
    assert_eq!(response.status(), 200);

    let log = crate::support::Log::default();
    let guard = log.listen();
    let without = app(layer(&tickets()));
    let response = without.oneshot(callback().map(Body::new)).await.unwrap();
    drop(guard);
    // The layer makes no success of it.
    assert_eq!(response.status(), 500);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["code"], "NotConfirmed");
    assert_eq!(log.count("ERROR", "is confirm called on the layer"), 1);
}

#[test]
fn confirm_needs_tickets() {
    let storage = Storage::good();
    let error = by_signature_alone().confirm(storage.clone()).unwrap_err();
    assert_eq!(error, ConfirmError::NoTickets);
    assert!(error.to_string().contains("call tickets before confirm"));
    assert!(layer(&tickets()).confirm(storage.clone()).is_ok());

    let builder = || {
        let credentials = tower_aliyun_oss::Credentials::new("id", "secret").unwrap();
        OssUploads::builder("examplebucket".parse().unwrap(), credentials)
            .region("cn-hangzhou".parse().unwrap())
            .callback_url("https://app.example/oss/callback")
            .confirm(storage.clone())
    };
    let error = builder().dangerous_without_tickets().build().unwrap_err();
    assert_eq!(error, OssUploadsError::ConfirmWithoutTickets);
    let uploads = builder().ticket_key(key(1)).build().unwrap();
    let shown = format!("{:?}", uploads.callback_layer());
    assert!(shown.contains("Confirmation { deadline: 1.5s"), "{shown}");
}

#[tokio::test]
async fn co_08_refutations_are_counted_per_ticket() {
    let storage = Storage::with(Err(StorageErrorKind::NotFound));
    let service = confirming(&tickets(), &storage).layer(Handler::default());
    for _ in 0..30 {
        let outcome = send(service.clone(), callback()).await;
        outcome.assert_refused(403, CallbackErrorKind::NotConfirmed);
    }
    assert_eq!(storage.asked(), 30);
}
