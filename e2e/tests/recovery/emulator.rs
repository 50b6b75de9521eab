//! From the token over OSS to the handler.

use std::sync::{Arc, Mutex, atomic::Ordering};

use aliyun_oss_emulator::Emulator;
use http::StatusCode;
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;
use tower_aliyun_oss::{
    CallbackReply, ContentType, Credentials, Grant, Refusal, SizeRange, TicketKey,
    callback::{ConfirmedUpload, Origin},
    policy::UploadToken,
    protocol::ObjectKey,
    recovery::{self, Recovery},
    storage::OssClient,
};

use super::world::{CALLBACK, World};

#[tokio::test]
async fn rv_30_an_upload_while_the_application_is_down_reaches_the_handler_once() {
    let world = World::start().await;
    world.app.down.store(true, Ordering::SeqCst);
    let (token, stored) = world.upload().await;
    assert_eq!(stored.status(), 203);
    assert_eq!(world.open().await, 1);
    world.app.down.store(false, Ordering::SeqCst);

    let recovery = world.recovery();
    assert_eq!(recovery.tick().await.unwrap().claimed, 0);
    world.pass_until_due();
    let summary = recovery.tick().await.unwrap();
    assert_eq!((summary.claimed, summary.recovered), (1, 1));
    {
        let runs = world.app.callbacks.lock().unwrap();
        let [callback] = &runs[..] else {
            panic!("one run")
        };
        let found = callback.confirmed().unwrap();
        assert_eq!(callback.origin(), Origin::Recovered);
        assert_eq!(callback.claims::<u64>().unwrap(), 7);
        assert_eq!(callback.requested_filename(), Some("a.png"));
        let event = callback.event().unwrap();
        assert_eq!((event.object(), event.size()), (Some(token.key()), Some(5)));
        assert_eq!((found.size(), found.content_type()), (5, Some("image/png")));
        assert_eq!(event.etag(), found.etag());
        assert_eq!(event.crc64(), found.crc64());
        assert!(found.etag().is_some() && found.crc64().is_some());
    }
    assert_eq!(world.open().await, 0);
    world.pass_until_due();
    assert_eq!(recovery.tick().await.unwrap().claimed, 0);
    assert_eq!(world.app.callbacks.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn rv_30_a_callback_that_arrives_leaves_nothing_to_recover() {
    let world = World::start().await;
    let (_, stored) = world.upload().await;
    assert_eq!((stored.status(), world.open().await), (StatusCode::OK, 0));
    world.pass_until_due();
    assert_eq!(world.recovery().tick().await.unwrap().claimed, 0);
    assert_eq!(world.app.callbacks.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn rv_30_a_handler_that_fails_three_times_is_called_until_it_succeeds() {
    let world = World::start().await;
    world.app.fails(3);
    let (_, stored) = world.upload().await;
    assert_eq!(
        (stored.status(), world.open().await),
        (StatusCode::NON_AUTHORITATIVE_INFORMATION, 1)
    );
    // The object is there already, so its recovery need not wait for the end of the policy.
    let recovery = world.recovery();
    for _ in 0..2 {
        world.clock.pass(std::time::Duration::from_secs(151));
        assert_eq!(recovery.tick().await.unwrap().failed, 1);
    }
    world.clock.pass(std::time::Duration::from_secs(301));
    assert_eq!(recovery.tick().await.unwrap().recovered, 1);
    let callbacks = world.app.callbacks.lock().unwrap();
    let origins: Vec<_> = callbacks.iter().map(|callback| callback.origin()).collect();
    assert_eq!(
        origins,
        [
            Origin::Oss,
            Origin::Recovered,
            Origin::Recovered,
            Origin::Recovered
        ]
    );
    let ids: std::collections::HashSet<_> = callbacks
        .iter()
        .map(|callback| callback.upload_id())
        .collect();
    assert_eq!(ids.len(), 1);
}

#[tokio::test]
async fn rv_30_a_handler_that_always_fails_leads_to_a_dead_letter() {
    let world = World::start().await;
    world.app.fails(100);
    let (token, _) = world.upload().await;
    let minute = std::time::Duration::from_secs(60);
    let recovery = world.recovery().back_off(minute, minute);
    while world.open().await > 0 {
        world.clock.pass(2 * minute);
        recovery.tick().await.unwrap();
    }
    assert_eq!(world.app.callbacks.lock().unwrap().len(), 21);
    let letters = world.letters.lock().unwrap().clone();
    assert_eq!((letters.len(), letters[0].attempts()), (1, 20));
    assert_eq!(letters[0].upload().key().as_str(), token.key());
    assert!(world.oss.object(token.key()).await.unwrap().is_some());
}

#[tokio::test]
async fn rv_30_a_token_that_is_not_used_is_dropped() {
    let world = World::start().await;
    world.token("filename=a.png").await;
    assert_eq!(world.open().await, 1);
    world.pass_until_due();
    let summary = world.recovery().tick().await.unwrap();
    assert_eq!((summary.dropped, summary.storage_requests), (1, 1));
    assert_eq!(world.open().await, 0);
}

/// OSS responds with 403 to wrong credentials, and may have the object.
#[tokio::test]
async fn rv_30_wrong_credentials_tell_nothing() {
    let world = World::start().await;
    world.app.down.store(true, Ordering::SeqCst);
    world.upload().await;
    world.app.down.store(false, Ordering::SeqCst);
    world.pass_until_due();
    let wrong = Credentials::new("nobody", "wrong").unwrap();
    let client = OssClient::new(world.oss.region(), wrong).endpoint(world.oss.endpoint());
    let blind = Recovery::new(&world.uploads, client, world.router()).unwrap();
    assert_eq!(blind.tick().await.unwrap().deferred, 1);
    let gone = OssClient::new(world.oss.region(), world.oss.credentials()).endpoint({
        let other = Emulator::spawn().await.unwrap();
        other.endpoint()
    });
    let gone = Recovery::new(&world.uploads, gone, world.router()).unwrap();
    world.pass_until_due();
    assert_eq!(gone.tick().await.unwrap().deferred, 1);
    world.pass_until_due();
    assert_eq!(world.recovery().tick().await.unwrap().recovered, 1);
}

/// A layer with `confirm` asks OSS for callbacks, and not again for a recovery.
#[tokio::test]
async fn rv_30_confirmed_uploads_are_recovered() {
    let world = World::start().await;
    let layer = world
        .uploads
        .callback_layer()
        .confirm(world.client())
        .unwrap();
    let confirmed: Arc<Mutex<Vec<ConfirmedUpload>>> = Arc::default();
    let kept = Arc::clone(&confirmed);
    let router = axum::Router::new().route(
        "/oss/callback",
        axum::routing::post(async move |upload: ConfirmedUpload| {
            kept.lock().unwrap().push(upload);
            CallbackReply::ok()
        })
        .route_layer(layer),
    );
    world.app.down.store(true, Ordering::SeqCst);
    world.upload().await;
    world.pass_until_due();
    let recovery = Recovery::new(&world.uploads, world.client(), router).unwrap();
    let summary = recovery.tick().await.unwrap();
    assert_eq!((summary.recovered, summary.storage_requests), (1, 1));
    assert_eq!(confirmed.lock().unwrap().len(), 1);
}

/// Where no policy limits an upload, OSS stores what is outside of the grant.
#[tokio::test]
async fn rv_30_an_orphan_is_deleted_if_its_hook_says_so() {
    let world = World::start().await;
    let token = world.token("filename=a.png&size=5").await;
    // Another program of the owner stores something else under the granted name.
    world.app.down.store(true, Ordering::SeqCst);
    put(&world, token.key(), "thirteen byte").await;
    world.pass_until_due();
    let keeps = world.recovery();
    let deletes = keeps.clone().on_orphan(recovery::delete);
    let summary = deletes.tick().await.unwrap();
    assert_eq!((summary.orphans_deleted, summary.recovered), (1, 0));
    assert_eq!(world.oss.object(token.key()).await.unwrap(), None);
    assert_eq!(world.app.callbacks.lock().unwrap().len(), 0);
}

/// Uploads an object under a policy that the ledger does not know.
async fn put(world: &World, key: &str, content: &'static str) {
    let other = world
        .oss
        .uploads(CALLBACK)
        .ticket_key(TicketKey::generate().unwrap());
    let key: ObjectKey = key.parse().unwrap();
    let authorize = async move |_: &http::request::Parts| {
        let size = SizeRange::new(1, 100)?;
        let grant = Grant::exact(key.clone(), size).content_type(ContentType::PNG);
        Ok::<_, Refusal>(grant.without_callback())
    };
    let service = other.build().unwrap().policy_service(authorize);
    let request = http::Request::get("/")
        .body(axum::body::Body::empty())
        .unwrap();
    let Ok(response) = service.oneshot(request).await;
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let token: UploadToken = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        world.oss.upload(&token, content).await.unwrap().status(),
        200
    );
}
