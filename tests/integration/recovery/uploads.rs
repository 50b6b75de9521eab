//! The results of due uploads.

use super::*;

#[tokio::test]
async fn rv_01_an_upload_without_a_callback_reaches_the_handler_once() {
    let world = World::new();
    let grant = world.stored("a/1.png").await;
    // Not before OSS can no longer store it.
    world.passes(|_| {}).await;
    assert_eq!(world.storage.heads(), 0);

    world.pass_until_due();
    world.passes(|summary| summary.recovered = 1).await;
    let [callback] = &world.app.runs()[..] else {
        panic!("one run")
    };
    assert_eq!(callback.origin(), Origin::Recovered);
    assert_eq!(callback.upload_id(), grant.upload_id());
    assert_eq!(callback.claims::<String>().unwrap(), "a/1.png");
    assert_eq!((callback.key(), callback.key_url()), (None, None));
    let confirmed = callback.confirmed().unwrap();
    assert_eq!(
        Some(confirmed),
        world.storage.objects.lock().unwrap().get("a/1.png")
    );
    let event = callback.event().unwrap();
    assert_eq!(
        (event.bucket(), event.object(), event.size(), event.etag()),
        (
            Some("examplebucket"),
            Some("a/1.png"),
            Some(5),
            Some("D41D")
        )
    );
    assert_eq!(
        (event.mime_type(), event.req_id()),
        (Some("image/png"), None)
    );
    assert_eq!(world.storage.heads(), 1);

    assert_eq!(world.open().await, 0);
    world.clock.pass(24 * HOUR);
    world.passes(|_| {}).await;
    assert_eq!(world.app.runs().len(), 1);
}

#[tokio::test]
async fn rv_01_a_callback_has_the_same_upload_id_as_its_recovery() {
    let world = World::new();
    let grant = world.stored("a.png").await;
    world.app.fails(1);
    let failed = send(world.service(), grant.callback()).await;
    assert_eq!(failed.status, 500);
    world.clock.pass(MINUTE);
    world.passes(|summary| summary.recovered = 1).await;
    let runs = world.app.runs();
    assert_eq!(
        runs.iter()
            .map(VerifiedCallback::origin)
            .collect::<Vec<_>>(),
        [Origin::Oss, Origin::Recovered]
    );
    for run in &runs {
        assert_eq!(run.upload_id(), grant.upload_id());
    }
}

#[tokio::test]
async fn rv_01_uploads_of_one_ticket_have_ids_of_their_own() {
    let ticket = mint(&under("u/"));
    let (app, tickets) = (App::default(), Tickets::in_memory(keys()));
    let service = layer(&tickets).layer(app.clone());
    for key in ["u/a.png", "u/b.png"] {
        send(service.clone(), signed(form(key, &ticket))).await;
    }
    let ids: Vec<_> = app.runs().iter().map(VerifiedCallback::upload_id).collect();
    assert_eq!((ids[0].len(), ids[1].len()), (65, 65));
    assert!(ids[0] != ids[1] && ids[0][..33] == ids[1][..33], "{ids:?}");

    // Without a ticket, the text is all there is.
    let service = by_signature_alone().layer(app.clone());
    send(service.clone(), signed("size=1")).await;
    send(service.clone(), signed("size=1")).await;
    send(service, signed("size=2")).await;
    let ids: Vec<_> = app.runs()[2..]
        .iter()
        .map(VerifiedCallback::upload_id)
        .collect();
    assert!(
        ids[0].len() == 64 && ids[0] == ids[1] && ids[0] != ids[2],
        "{ids:?}"
    );
}

#[tokio::test]
async fn rv_03_a_settled_upload_is_not_recovered() {
    let world = World::new();
    let grant = world.stored("a.png").await;
    assert_eq!(send(world.service(), grant.callback()).await.status, 200);
    assert_eq!(world.open().await, 0);
    world.pass_until_due();
    world.passes(|_| {}).await;
    assert_eq!((world.app.runs().len(), world.storage.heads()), (1, 0));
}

#[tokio::test]
async fn rv_03_a_late_callback_after_a_recovery_is_refused() {
    let world = World::new();
    let grant = world.stored("a.png").await;
    // Its handler failed, so it is recovered before its ticket expires.
    world.app.fails(1);
    send(world.service(), grant.callback()).await;
    world.clock.pass(MINUTE);
    world.passes(|summary| summary.recovered = 1).await;
    let late = send(world.service(), grant.callback()).await;
    late.assert_refused(403, CallbackErrorKind::TicketUsed);
    assert_eq!(world.app.runs().len(), 2);
}

#[tokio::test]
async fn rv_03_a_recovery_waits_for_a_callback_that_is_handled() {
    for succeeds in [true, false] {
        let world = World::new();
        let grant = world.stored("a.png").await;
        world.app.fails(1);
        send(world.service(), grant.callback()).await;
        world.clock.pass(MINUTE);
        // The callback comes again, and its handler takes long.
        let (end, until) = tokio::sync::oneshot::channel();
        world.app.does(Act::Wait(until));
        let late = tokio::spawn(send(world.service(), grant.callback()));
        while world.app.runs().len() < 2 {
            tokio::task::yield_now().await;
        }
        world.passes(|summary| summary.deferred = 1).await;
        if succeeds {
            drop(end);
            assert_eq!(late.await.unwrap().status, 200);
        } else {
            late.abort();
            assert!(late.await.unwrap_err().is_cancelled());
        }
        world.clock.pass(2 * MINUTE);
        world.tick().await;
        let origins: Vec<_> = world
            .app
            .runs()
            .iter()
            .map(VerifiedCallback::origin)
            .collect();
        match succeeds {
            true => assert_eq!(origins, [Origin::Oss, Origin::Oss]),
            false => assert_eq!(origins, [Origin::Oss, Origin::Oss, Origin::Recovered]),
        }
        assert_eq!(world.open().await, 0);
    }
}

#[tokio::test]
async fn rv_04_a_grant_without_an_object_is_dropped_once_it_is_due() {
    let world = World::new();
    let grant = world.grant("a.png").await;
    // A forged callback makes its row due early. The object can still be stored.
    world.app.fails(1);
    send(world.service(), grant.callback()).await;
    world.clock.pass(MINUTE);
    world.passes(|summary| summary.deferred = 1).await;
    assert_eq!((world.open().await, world.storage.heads()), (1, 1));
    world.clock.pass(HOUR - MINUTE);
    world.passes(|_| {}).await;

    world.clock.pass(MINUTE);
    world.passes(|summary| summary.dropped = 1).await;
    assert_eq!((world.open().await, world.storage.heads()), (0, 2));
    assert_eq!(world.app.runs().len(), 1);
}

#[tokio::test]
async fn rv_05_what_oss_cannot_tell_is_deferred_and_not_counted() {
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
        let world = World::new();
        world.stored("a.png").await;
        world.storage.fail(kind);
        world.pass_until_due();
        for _ in 0..30 {
            world.passes(|summary| summary.deferred = 1).await;
            world.passes(|_| {}).await;
            world.clock.pass(7 * MINUTE);
        }
        assert_eq!(
            (world.open().await, world.app.runs().len()),
            (1, 0),
            "{kind:?}"
        );
        world.storage.fail(None);
        world.app.fails(19);
        world.passes(|summary| summary.failed = 1).await;
        assert_eq!(world.letters.lock().unwrap().len(), 0);
    }
}

#[tokio::test]
async fn rv_05_a_storage_that_never_tells_leads_to_a_dead_letter() {
    let world = World::new();
    let grant = world.stored("a.png").await;
    world.storage.fail(StorageErrorKind::Denied);
    world.pass_until_due();
    let expires = grant.row.until();
    while world.clock.now() < expires {
        world.tick().await;
        world.clock.pass(Duration::from_secs(376));
    }
    assert_eq!(world.open().await, 0);
    let letters = world.letters.lock().unwrap().clone();
    assert_eq!((letters.len(), letters[0].attempts()), (1, 0));
    assert!(
        letters[0]
            .reason()
            .to_string()
            .contains("check the RAM policy")
    );
}

/// While OSS is out of reach, a pass asks it once for each row of one claim.
#[tokio::test]
async fn rv_05_a_storage_out_of_reach_ends_the_pass() {
    let world = World::new();
    for n in 0..100 {
        world.stored(&format!("{n}.png")).await;
    }
    world.storage.fail(StorageErrorKind::Unavailable);
    world.clock.pass(2 * HOUR);
    let log = crate::support::Log::default();
    let guard = log.listen();
    let summary = world.recovery().batch(10).tick().await.unwrap();
    drop(guard);
    assert_eq!((summary.claimed, summary.deferred), (10, 10));
    assert_eq!(world.storage.heads(), 10);
    assert_eq!(log.count("WARN", "check the endpoint"), 1);
    world.storage.fail(None);
    world.passes(|summary| summary.recovered = 90).await;
    world.clock.pass(7 * MINUTE);
    world.passes(|summary| summary.recovered = 10).await;
    assert_eq!((world.app.runs().len(), world.open().await), (100, 0));
}

#[tokio::test]
async fn rv_06_a_handler_that_fails_is_tried_again_with_growing_pauses() {
    let world = World::new();
    world.stored("a.png").await;
    world.app.fails(3);
    world.pass_until_due();
    for pause in [1, 2, 4] {
        world.passes(|summary| summary.failed = 1).await;
        // At most a quarter earlier.
        world.clock.pass(Duration::from_secs(pause * 45 - 1));
        world.passes(|_| {}).await;
        world.clock.pass(Duration::from_secs(pause * 30 + 1));
    }
    world.passes(|summary| summary.recovered = 1).await;
    assert_eq!((world.app.runs().len(), world.open().await), (4, 0));
}

#[tokio::test]
async fn rv_07_after_20_attempts_an_upload_is_a_dead_letter() {
    let world = World::new();
    let grant = world.stored("a.png").await;
    world.app.fails(100);
    world.pass_until_due();
    let recovery = world.recovery().back_off(MINUTE, MINUTE);
    let mut passes = 0;
    while world.open().await > 0 {
        recovery.tick().await.unwrap();
        passes += 1;
        world.clock.pass(2 * MINUTE);
    }
    assert_eq!((passes, world.app.runs().len()), (20, 20));
    let letters = world.letters.lock().unwrap().clone();
    let [letter] = &letters[..] else {
        panic!("one letter")
    };
    assert_eq!(
        (letter.attempts(), letter.upload_id()),
        (20, &*grant.upload_id())
    );
    assert_eq!(letter.upload(), &grant.row);
    assert_eq!(
        letter.reason().to_string(),
        "the service responded with 500"
    );
}

/// A row must not expire before its 20 attempts: their pauses take five days at most.
#[tokio::test]
async fn rv_07_20_attempts_fit_into_the_life_of_a_row() {
    let world = World::new();
    let grant = world.stored("a.png").await;
    world.app.fails(100);
    world.pass_until_due();
    let start = world.clock.now();
    while world.open().await > 0 {
        world.tick().await;
        world.clock.pass(Duration::from_secs(20));
    }
    assert_eq!(world.app.runs().len(), 20);
    let took = world.clock.now().duration_since(start).unwrap();
    assert!(
        took < 5 * 24 * HOUR && world.clock.now() < grant.row.until(),
        "{took:?}"
    );
}

/// Its handler takes the whole process down, so nothing is left that could count it.
#[tokio::test]
async fn rv_07_an_upload_that_kills_its_processes_is_given_up() {
    let world = World::new();
    world.stored("a.png").await;
    world.pass_until_due();
    for attempt in 1..=20 {
        let claimed = world
            .ledger
            .due(world.clock.now(), 1, MINUTE)
            .await
            .unwrap();
        assert_eq!(claimed[0].claim.attempts(), attempt);
        world.clock.pass(2 * MINUTE);
    }
    world.passes(|summary| summary.dead_letters = 1).await;
    assert_eq!((world.app.runs().len(), world.open().await), (0, 0));
}

#[tokio::test]
async fn rv_07_an_at_most_once_handler_has_one_attempt() {
    let world = World::at_most_once();
    world.stored("a.png").await;
    world.stored("b.png").await;
    world.app.fails(1);
    world.pass_until_due();
    let summary = world.tick().await;
    assert_eq!((summary.recovered, summary.dead_letters), (1, 1));
    world.clock.pass(HOUR);
    world.passes(|_| {}).await;
    assert_eq!((world.app.runs().len(), world.open().await), (2, 0));
}

/// Its ticket is used up however it fails, and the layer has removed the row.
#[tokio::test(start_paused = true)]
async fn rv_24_an_at_most_once_handler_that_panics_or_hangs_is_a_dead_letter() {
    for hangs in [false, true] {
        let world = World::at_most_once();
        let grant = world.stored("a.png").await;
        let (_end, until) = tokio::sync::oneshot::channel();
        world.app.does(match hangs {
            true => Act::Wait(until),
            false => Act::Panic,
        });
        world.pass_until_due();
        world.passes(|summary| summary.dead_letters = 1).await;
        let letters = world.letters.lock().unwrap().clone();
        let ids: Vec<_> = letters.iter().map(DeadLetter::upload_id).collect();
        assert_eq!(ids, [grant.upload_id()]);
        world.clock.pass(HOUR);
        world.passes(|_| {}).await;
        assert_eq!((world.app.runs().len(), world.open().await), (1, 0));
    }
}

/// It was not called, so its ticket is not used up.
#[tokio::test]
async fn rv_24_an_at_most_once_handler_that_is_not_ready_is_tried_again() {
    let world = World::at_most_once();
    world.stored("a.png").await;
    world.pass_until_due();
    let broken = tower::service_fn(async |_| Err::<Response<Full<Bytes>>, _>("not reached"));
    let summary = world.recovery_with(broken).tick().await.unwrap();
    assert_eq!((summary.failed, world.open().await), (1, 1));
    world.clock.pass(HOUR);
    world.passes(|summary| summary.recovered = 1).await;
}

#[tokio::test]
async fn rv_07_a_hook_that_panics_leaves_the_row() {
    let world = World::new();
    world.stored("a.png").await;
    world.app.fails(1);
    world.pass_until_due();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let recovery = world.recovery().max_attempts(1).on_dead_letter(move |_| {
        let first = counted.fetch_add(1, Ordering::SeqCst) == 0;
        async move { assert!(!first, "the hook panics") }
    });
    assert_eq!(recovery.tick().await.unwrap().lost, 1);
    assert_eq!(world.open().await, 1);
    // Its claim expires.
    world.clock.pass(HOUR);
    world.app.fails(1);
    assert_eq!(recovery.tick().await.unwrap().dead_letters, 1);
    assert_eq!((world.open().await, calls.load(Ordering::SeqCst)), (0, 2));
}

/// The holder of a ticket can have OSS sign any number of false callbacks for it.
#[tokio::test]
async fn rv_13_a_holder_cannot_use_up_the_recovery() {
    let world = World::new();
    let grant = world.grant("a.png").await;
    let confirming = world.layer().confirm(world.storage.clone()).unwrap();
    let service = confirming.layer(world.app.clone());
    for n in 0..25 {
        let forged = form("a.png", &grant.ticket).replace("5CF3E782", &format!("{n:08}"));
        send(service.clone(), signed(forged)).await;
    }
    assert_eq!((world.app.runs().len(), world.storage.heads()), (0, 20));
    world.app.fails(5);
    for n in 0..6 {
        let forged = form("a.png", &grant.ticket).replace("5CF3E782", &format!("A{n:07}"));
        send(world.service(), signed(forged)).await;
    }
    let runs = world.app.runs().len();
    world.put("a.png");
    world.app.acts.lock().unwrap().clear();
    world.pass_until_due();
    world.passes(|summary| summary.recovered = 1).await;
    assert_eq!(world.app.runs().len(), runs + 1);
}

#[tokio::test]
async fn rv_14_a_layer_that_confirms_does_not_ask_again() {
    let world = World::new();
    world.stored("a.png").await;
    world.pass_until_due();
    let layer = world.layer().confirm(world.storage.clone()).unwrap();
    let recovery = world.recovery_with(layer.layer(world.app.clone()));
    assert_eq!(recovery.tick().await.unwrap().recovered, 1);
    assert_eq!(world.storage.heads(), 1);
    assert!(world.app.runs()[0].confirmed().is_some());
}

#[tokio::test]
async fn rv_18_a_service_without_the_route_is_an_error() {
    let world = World::new();
    world.stored("a.png").await;
    world.pass_until_due();
    let anything =
        tower::service_fn(async |_| Ok::<_, Infallible>(Response::<Full<Bytes>>::default()));
    let log = crate::support::Log::default();
    let guard = log.listen();
    let summary = world.recovery_with(anything).tick().await.unwrap();
    drop(guard);
    assert_eq!((summary.failed, world.open().await), (1, 1));
    assert_eq!(
        log.count("WARN", "has the service the route of the callback URL?"),
        1
    );
    // A layer that requires no tickets does not accept a request that nothing but a ticket proves.
    world.clock.pass(HOUR);
    let unbound = by_signature_alone().layer(world.app.clone());
    let summary = world.recovery_with(unbound).tick().await.unwrap();
    assert_eq!((summary.failed, world.app.runs().len()), (1, 0));
    world.clock.pass(HOUR);
    world.passes(|summary| summary.recovered = 1).await;
}

#[tokio::test]
async fn rv_18_a_ticket_of_an_unknown_key_is_an_error() {
    let world = World::new();
    world.stored("a.png").await;
    world.pass_until_due();
    let at = world.clock.clone();
    let rotated = tower_aliyun_oss::ticket::TicketKeys::new(2, key(2));
    let rotated = World {
        tickets: Tickets::with_ledger(rotated, Arc::clone(&world.ledger)).clock(move || at.now()),
        ..world
    };
    rotated.passes(|summary| summary.failed = 1).await;
    assert_eq!((rotated.open().await, rotated.app.runs().len()), (1, 0));
}

#[tokio::test]
async fn rv_21_a_prefix_that_a_proxy_strips_is_stripped() {
    let world = World::new();
    let now = world.clock.now();
    let scope = Scope::Exact("a.png".parse().unwrap());
    let terms = terms_at("/gw/oss/callback?a=1", scope, now + HOUR);
    let granted = Granted::new(&terms, "a.png", now);
    let call = granted.row.call();
    let call = CallbackCall::new(
        "/gw/oss/callback?a=1",
        call.host(),
        call.body_type(),
        call.template(),
    );
    let row = GrantedUpload::new(
        granted.row.nonce(),
        granted.row.bucket().clone(),
        granted.row.key().clone(),
        now,
        now + HOUR,
        call,
    );
    world.ledger.granted(&[row]).await.unwrap();
    world.put("a.png");
    world.pass_until_due();
    let uploads = OssUploads::builder(
        "examplebucket".parse().unwrap(),
        Credentials::new("id", "secret").unwrap(),
    )
    .region("cn-hangzhou".parse().unwrap())
    .callback_url("https://app.example/gw/oss/callback?a=1")
    .proxy_prefix("/gw/")
    .tickets(world.tickets.clone())
    .build()
    .unwrap();
    let paths: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&paths);
    let service = uploads.callback_layer().layer(world.app.clone());
    let service = tower::ServiceBuilder::new()
        .map_request(move |request: Request<_>| {
            seen.lock().unwrap().push(request.uri().to_string());
            request
        })
        .service(service);
    let recovery = Recovery::new(&uploads, world.storage.clone(), service).unwrap();
    assert_eq!(recovery.tick().await.unwrap().recovered, 1);
    assert_eq!(*paths.lock().unwrap(), ["/oss/callback?a=1"]);
}

#[tokio::test]
async fn rv_22_the_request_is_that_of_oss_without_what_only_oss_knows() {
    let world = World::new();
    let grant = world.stored("a/1.png").await;
    world.pass_until_due();
    let seen: Arc<Mutex<Option<Request<()>>>> = Arc::default();
    let kept = Arc::clone(&seen);
    let service = tower::ServiceBuilder::new()
        .map_request(move |request: Request<_>| {
            let mut copy = Request::new(());
            *copy.method_mut() = request.method().clone();
            *copy.uri_mut() = request.uri().clone();
            *copy.headers_mut() = request.headers().clone();
            *kept.lock().unwrap() = Some(copy);
            request
        })
        .service(world.service());
    assert_eq!(
        world.recovery_with(service).tick().await.unwrap().recovered,
        1
    );
    let request = seen.lock().unwrap().take().unwrap();
    let genuine = grant.callback();
    assert_eq!(
        (request.method(), request.uri()),
        (genuine.method(), genuine.uri())
    );
    let unknown = [
        "authorization",
        "connection",
        "x-oss-additional-headers",
        "x-oss-owner",
        "x-oss-pub-key-url",
        "x-oss-request-id",
        "x-oss-requester",
        "x-oss-signature-version",
    ];
    for (name, value) in genuine.headers() {
        let found = request.headers().get(name);
        match name.as_str() {
            name if unknown.contains(&name) => assert_eq!(found, None, "{name}"),
            // The body has no request ID.
            "content-length" | "content-md5" | "date" => assert!(found.is_some(), "{name}"),
            _ => assert_eq!(found, Some(value), "{name}"),
        }
    }
    assert_eq!(
        request.headers().len() + unknown.len(),
        genuine.headers().len()
    );
}
