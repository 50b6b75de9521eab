//! Uploads in parts with a ledger.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};
use tower_aliyun_oss::{
    policy::Grant,
    protocol::SizeRange,
    recovery::Recovery,
    ticket::{
        MemoryStore,
        ledger::{DueUpload, UploadLedger as _},
    },
};

use super::{
    companion::fetch,
    support::{App, MIB},
};

const MINUTE: Duration = Duration::from_secs(60);

fn grant() -> Grant {
    let size = SizeRange::new(1, 100 * MIB).unwrap();
    Grant::exact("user/7/a.bin".parse().unwrap(), size)
        .allow_overwrite()
        .claims(&7)
}

async fn start() -> (App, Arc<MemoryStore>) {
    let ledger = Arc::new(MemoryStore::new());
    (App::with_ledger(grant(), Arc::clone(&ledger)).await, ledger)
}

/// Claims what is due in this time from now.
async fn due_in(ledger: &MemoryStore, time: Duration) -> Vec<DueUpload> {
    let at = SystemTime::now() + time;
    ledger.due(at, 10, Duration::ZERO).await.unwrap()
}

/// Uploads the only part of a new upload of this handle, and completes it. Returns the status.
async fn complete(app: &App, created: &Value) -> u16 {
    complete_parts(app, created, &[1]).await
}

async fn complete_parts(app: &App, created: &Value, numbers: &[u64]) -> u16 {
    let id = app.initiate(created).await;
    let document = app.upload_parts(created, &id, numbers).await;
    let request = app.step("complete", created, &id).await;
    app.send(&request, document).await.status.as_u16()
}

#[tokio::test]
async fn ps_15_a_failed_callback_stays_open_until_it_is_settled() {
    let (app, ledger) = start().await;
    let created = app.create("a.bin", 5, "").await;
    assert_eq!(ledger.open_rows().await.unwrap(), 1);
    // The handle is valid for a day, and the upload may take another hour.
    assert_eq!(due_in(&ledger, 25 * 60 * MINUTE).await.len(), 0);
    app.failures.store(2, Ordering::SeqCst);
    for _ in 0..2 {
        assert_eq!(complete(&app, &created).await, 203);
        assert_eq!(ledger.open_rows().await.unwrap(), 1);
        assert_eq!(app.runs(), 0);
    }
    // A recovery can deliver it a minute after the failure: the row has what OSS sent.
    assert_eq!(due_in(&ledger, 50 * Duration::from_secs(1)).await.len(), 0);
    let due = due_in(&ledger, MINUTE).await;
    let [row] = &due[..] else { panic!("{due:?}") };
    assert_eq!(row.upload.key().as_str(), "user/7/a.bin");
    assert_eq!(row.upload.call().target(), "/oss/callback");

    assert_eq!(complete(&app, &created).await, 200);
    assert_eq!((ledger.open_rows().await.unwrap(), app.runs()), (0, 1));
    let found = ledger.object(
        row.upload.bucket(),
        row.upload.key(),
        SystemTime::now() + MINUTE,
    );
    assert_eq!(found.await.unwrap().settled.len(), 1);
    assert_eq!(due_in(&ledger, 60 * 24 * 60 * MINUTE).await.len(), 0);
}

#[tokio::test]
async fn ps_15_an_upload_that_is_never_completed_stays_open() {
    let (app, ledger) = start().await;
    let created = app.create("a.bin", 5, "").await;
    let id = app.initiate(&created).await;
    app.upload_parts(&created, &id, &[1]).await;
    let abort = app.step("abort", &created, &id).await;
    app.send(&abort, "").await.assert_ok();
    // The handle can start another upload.
    assert_eq!(ledger.open_rows().await.unwrap(), 1);
    assert_eq!(complete(&app, &created).await, 200);
    assert_eq!(ledger.open_rows().await.unwrap(), 0);
}

#[tokio::test]
async fn ps_03_a_hundred_completions_settle_one_row() {
    let (app, ledger) = start().await;
    // Another grant of the same object has a row of its own.
    app.create("a.bin", 5, "").await;
    let created = app.create("a.bin", 5, "").await;
    assert_eq!(ledger.open_rows().await.unwrap(), 2);
    for number in 0..100 {
        let expected = if number == 0 { 200 } else { 203 };
        assert_eq!(complete(&app, &created).await, expected, "{number}");
        assert_eq!(ledger.open_rows().await.unwrap(), 1, "{number}");
    }
    assert_eq!(app.runs(), 1);
}

/// An upload in two parts, whose handler is down, and works again two minutes later.
#[tokio::test]
async fn ps_16_a_failed_callback_is_recovered_once() {
    let (app, ledger) = start().await;
    let size = 9 * MIB;
    let created = app.create("film.bin", size, "").await;
    app.failures.store(1, Ordering::SeqCst);
    assert_eq!(complete_parts(&app, &created, &[1, 2]).await, 203);
    let recovery = Recovery::new(&app.uploads, app.client(), app.router.clone()).unwrap();
    assert_eq!(recovery.tick().await.unwrap().claimed, 0);
    assert_eq!(ledger.open_rows().await.unwrap(), 1);

    app.pass(2 * MINUTE);
    let summary = recovery.tick().await.unwrap();
    assert_eq!((summary.claimed, summary.recovered), (1, 1), "{summary}");
    let seen = (
        Some(7),
        "user/7/a.bin".to_owned(),
        size,
        "film.bin".to_owned(),
    );
    assert_eq!(*app.seen.lock().unwrap(), [seen]);
    assert_eq!(ledger.open_rows().await.unwrap(), 0);
    // The ticket is redeemed: the handle can store the object again, and the handler does not run.
    let put = json!({ "action": "put", "handle": created["handle"] });
    let put = app.signed(put).await;
    let body = vec![1; usize::try_from(size).unwrap()];
    assert_eq!(app.send(&put["request"], body).await.status, 203);
    app.pass(30 * 24 * 60 * MINUTE);
    assert_eq!(recovery.tick().await.unwrap().claimed, 0);
    assert_eq!(app.runs(), 1);
}

/// The row is due when no URL of the handle works any more.
#[tokio::test]
async fn ps_16_an_abandoned_upload_is_dropped_after_the_end_of_its_handle() {
    let (app, ledger) = start().await;
    let recovery = Recovery::new(&app.uploads, app.client(), app.router.clone()).unwrap();
    let created = app.create("a.bin", 5, "").await;
    let handle_ends = created["expires"].as_u64().unwrap();
    let id = app.initiate(&created).await;
    app.upload_parts(&created, &id, &[1]).await;
    let left = || {
        let now = app.now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        Duration::from_secs(handle_ends) - now
    };
    app.pass(left() - MINUTE);
    let put = json!({ "action": "put", "handle": created["handle"] });
    let last = app.signed(put.clone()).await["request"].clone();
    app.pass(2 * MINUTE);
    assert_eq!(app.ask(put).await.0, 410);
    app.send(&last, "hello")
        .await
        .assert_code(403, "AccessDenied");
    // An upload that began before may still go on, for an hour.
    app.pass(58 * MINUTE);
    assert_eq!(recovery.tick().await.unwrap().claimed, 0);
    app.pass(3 * MINUTE);
    let summary = recovery.tick().await.unwrap();
    assert_eq!((summary.claimed, summary.dropped), (1, 1), "{summary}");
    assert_eq!((ledger.open_rows().await.unwrap(), app.runs()), (0, 0));
}

/// Companion lists the parts and completes the upload itself.
#[tokio::test]
async fn ps_12_an_upload_by_companion_is_recorded_and_settled() {
    let (app, ledger) = start().await;
    let service = app.service.clone().storage(app.client());
    let create = json!({ "filename": "a.bin", "type": "application/octet-stream" });
    let (status, created) = fetch(&service, "POST", "/multipart", Some(create)).await;
    assert_eq!(status, 200, "{created}");
    assert_eq!(ledger.open_rows().await.unwrap(), 1);
    let (handle, id) = (
        created["key"].as_str().unwrap(),
        created["uploadId"].as_str().unwrap(),
    );
    let path = format!("/multipart/{id}/1?key={handle}");
    let (_, mut part) = fetch(&service, "GET", &path, None).await;
    part["method"] = json!("PUT");
    part["headers"] = json!({});
    let etag = app.send(&part, "hello").await.assert_ok().etag();
    let path = format!("/multipart/{id}/complete?key={handle}");
    let parts = json!({ "parts": [{ "PartNumber": 1, "ETag": etag }] });
    app.failures.store(1, Ordering::SeqCst);
    let (status, answer) = fetch(&service, "POST", &path, Some(parts)).await;
    assert_eq!(
        (status.as_u16(), &answer["code"]),
        (502, &json!("CallbackFailed"))
    );
    assert_eq!(ledger.open_rows().await.unwrap(), 1);
    // The same ticket, in another request.
    let put = json!({ "action": "put", "handle": handle });
    let put = app.signed(put).await;
    app.send(&put["request"], "hello").await.assert_ok();
    assert_eq!((ledger.open_rows().await.unwrap(), app.runs()), (0, 1));
}
