//! `Emulator::spawn`: uploads, callbacks to an application, and objects.

use std::{
    convert::Infallible,
    error::Error as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use aliyun_oss_emulator::{
    AccessKey, Emulator, EmulatorBody, HostedBucket, SpawnedEmulator, SystemNetwork, UploadStep,
};
use axum::{Router, body::Body, routing::post};
use bytes::Bytes;
use http::{Request, Response, StatusCode, request::Parts};
use http_body_util::{BodyExt as _, Full};
use tokio::net::{TcpListener, TcpStream};
use tower::{ServiceExt as _, service_fn};
use tower_aliyun_oss::{
    OssUploads,
    callback::{CallbackReply, VerifiedCallback},
    policy::{Grant, Refusal, TokenFormat, UploadToken},
    protocol::{ContentType, SizeRange},
    ticket::TicketKey,
};

const URL: &str = "https://app.example/oss/callback";

async fn authorize(_: &Parts) -> Result<Grant, Refusal> {
    let size = SizeRange::new(1, 1000)?;
    Ok(Grant::under("a/".parse()?, size).content_types(ContentType::IMAGES))
}

async fn any_name(_: &Parts) -> Result<Grant, Refusal> {
    Ok(Grant::any_name_under(
        "a/".parse()?,
        SizeRange::new(1, 1000)?,
    ))
}

async fn on_upload(callback: VerifiedCallback) -> CallbackReply {
    let event = callback.event().unwrap();
    CallbackReply::json(&serde_json::json!({ "object": event.object() })).unwrap()
}

fn key() -> TicketKey {
    TicketKey::from_bytes(b"ticket-key-of-at-least-32-bytes-0").unwrap()
}

fn uploads(oss: &SpawnedEmulator, url: &str) -> OssUploads {
    oss.uploads(url).ticket_key(key()).build().unwrap()
}

fn app(uploads: &OssUploads) -> Router {
    Router::new()
        .route_service("/oss/policy", uploads.policy_service(authorize))
        .route_service("/oss/any", uploads.policy_service(any_name))
        .route(
            "/oss/callback",
            post(on_upload).route_layer(uploads.callback_layer()),
        )
}

async fn token(app: &Router, ask: &str) -> UploadToken {
    let request = Request::get(ask).body(Body::empty()).unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{error}: {body:?}"))
}

const ASK: &str = "/oss/policy?filename=a.png&size=5";

#[tokio::test]
async fn an_upload_reaches_the_application_in_memory() {
    let oss = Emulator::spawn().await.unwrap();
    let app = app(&uploads(&oss, URL));
    oss.route_callbacks(app.clone());
    let token = token(&app, ASK).await;
    assert_eq!(token.field("x-oss-content-type"), Some("image/png"));

    let upload = oss.upload(&token, "hello").await.unwrap();
    let object = format!(r#"{{"object":"{}"}}"#, token.key());
    assert_eq!(
        (upload.status(), upload.body()),
        (StatusCode::OK, &Bytes::from(object.clone()))
    );
    assert!(upload.headers().contains_key("etag"));
    let callback = upload.callback().unwrap();
    assert_eq!(
        (callback.url(), callback.status()),
        (URL, Some(StatusCode::OK))
    );
    assert_eq!(callback.answer(), object.as_bytes());
    assert_eq!(
        upload.report().unwrap().steps().last(),
        Some(&UploadStep::Callback)
    );

    let listed = oss.objects().await.unwrap();
    let [listed] = &*listed else {
        panic!("{listed:?}")
    };
    assert_eq!((listed.key(), listed.size()), (token.key(), 5));
    assert_eq!(listed.content_type(), "image/png");
    assert_eq!(oss.object(token.key()).await.unwrap().unwrap(), "hello");
    assert_eq!(oss.object("a/absent").await.unwrap(), None);
    oss.delete(token.key()).await.unwrap();
    oss.delete("a/absent").await.unwrap();
    assert_eq!(oss.object(token.key()).await.unwrap(), None);
    assert!(oss.objects().await.unwrap().is_empty());

    // The object is new again, but its ticket is used: the stored reply does not match.
    let again = oss.upload(&token, "hallo").await.unwrap();
    assert_eq!(again.status(), 203);
    assert_eq!(
        again.callback().unwrap().status(),
        Some(StatusCode::FORBIDDEN)
    );
}

#[tokio::test]
async fn what_the_policy_does_not_permit_is_a_refusal_with_a_report() {
    let oss = Emulator::spawn().await.unwrap();
    let app = app(&uploads(&oss, URL));
    oss.route_callbacks(app.clone());
    let token = token(&app, ASK).await;
    let larger = oss.upload(&token, "hello!").await.unwrap();
    assert_eq!(larger.status(), 400);
    let text = String::from_utf8(larger.body().to_vec()).unwrap();
    assert!(text.contains("EntityTooLarge"), "{text}");
    let report = larger.report().unwrap();
    assert_eq!(report.refusal().unwrap().0, "EntityTooLarge");
    assert!(larger.callback().is_none());

    let html = token.fields().map(|(name, value)| match name {
        "x-oss-content-type" => (name, "text/html"),
        _ => (name, value),
    });
    let html = oss.upload_form(html, "a.png", "hello").await.unwrap();
    assert_eq!(html.status(), 403);
    assert!(oss.objects().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_form_has_its_own_file_name_and_token_format() {
    let oss = Emulator::spawn().await.unwrap();
    let uploads = oss
        .uploads(URL)
        .ticket_key(key())
        .format(TokenFormat::V4)
        .build()
        .unwrap();
    let app = app(&uploads);
    oss.route_callbacks(app.clone());
    let request = Request::get("/oss/any").body(Body::empty()).unwrap();
    let response = app.oneshot(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    // Not the format of `UploadToken`.
    assert!(serde_json::from_slice::<UploadToken>(&body).is_err());
    let token: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let text = |name: &str| token[name].as_str().unwrap();
    assert_eq!(text("host"), oss.url().as_str());
    let fields = [
        ("key", "a/${filename}"),
        ("success_action_status", "200"),
        ("policy", text("policy")),
        ("callback", text("callback")),
        ("x-oss-signature-version", text("version")),
        ("x-oss-credential", text("x_oss_credential")),
        ("x-oss-date", text("x_oss_date")),
        ("x-oss-signature", text("signature")),
    ];
    let upload = oss
        .upload_form(fields, "cat \"1\".png", vec![0, 255])
        .await
        .unwrap();
    assert_eq!(upload.status(), 200, "{upload:?}");
    assert_eq!(
        oss.object("a/cat %221%22.png").await.unwrap().unwrap(),
        &[0, 255][..]
    );
}

#[tokio::test]
async fn concurrent_uploads_get_their_own_reports() {
    let oss = Arc::new(Emulator::spawn().await.unwrap());
    let app = app(&uploads(&oss, URL));
    oss.route_callbacks(app.clone());
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..20 {
        let (oss, app) = (Arc::clone(&oss), app.clone());
        tasks.spawn(async move {
            let token = token(&app, &format!("/oss/policy?filename=a.png&size={n}1")).await;
            let upload = oss.upload(&token, vec![b'x'; n * 10 + 1]).await.unwrap();
            let report = upload.report().unwrap();
            let key = report.fields().find(|(name, _)| *name == "key");
            assert_eq!(key.unwrap().1, token.key());
            assert_eq!(upload.headers()["x-oss-request-id"], report.request_id());
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert_eq!(oss.objects().await.unwrap().len(), 20);
}

#[tokio::test]
async fn callbacks_go_only_where_the_test_allows() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/oss/callback", listener.local_addr().unwrap());
    let oss = Emulator::spawn().await.unwrap();
    let app = app(&uploads(&oss, &url));
    let server = tokio::spawn(axum::serve(listener, app.clone()).into_future());

    // Neither an address in the URL nor a name is called.
    let refused = oss.upload(&token(&app, ASK).await, "hello").await.unwrap();
    assert_eq!(refused.status(), 203, "{refused:?}");
    assert_eq!(refused.callback().unwrap().status(), None);
    let elsewhere = self::app(&uploads(&oss, "http://localhost:9/oss/callback"));
    let refused = oss
        .upload(&token(&elsewhere, ASK).await, "hello")
        .await
        .unwrap();
    assert_eq!(
        (refused.status(), refused.callback().is_some()),
        (StatusCode::BAD_REQUEST, false)
    );

    oss.allow_callbacks_to(&url).unwrap();
    let upload = oss.upload(&token(&app, ASK).await, "hello").await.unwrap();
    assert_eq!(upload.status(), 200);
    // Another port of the same host is another server.
    let second = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let other = format!("http://{}/oss/callback", second.local_addr().unwrap());
    let elsewhere = self::app(&uploads(&oss, &other));
    let refused = oss.upload(&token(&elsewhere, ASK).await, "hello").await;
    assert_eq!(refused.unwrap().status(), 203);
    for text in ["", "/oss/callback", "app.example", "ftp://a/"] {
        assert!(oss.allow_callbacks_to(text).is_err(), "{text}");
    }
    server.abort();
}

#[tokio::test]
async fn any_tower_service_receives_callbacks() {
    let oss = Emulator::spawn().await.unwrap();
    let app = app(&uploads(&oss, URL));
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    oss.route_callbacks(service_fn(move |request: Request<EmulatorBody>| {
        let calls = Arc::clone(&counted);
        async move {
            assert_eq!(request.uri(), "/oss/callback");
            assert_eq!(request.headers()["host"], "app.example");
            let body = request.into_body().collect().await.unwrap().to_bytes();
            assert!(body.starts_with(b"bucket=examplebucket"), "{body:?}");
            calls.fetch_add(1, Ordering::SeqCst);
            let reply: Response<Full<Bytes>> = CallbackReply::ok().into();
            Ok::<_, Infallible>(reply)
        }
    }));
    let token = token(&app, ASK).await;
    let upload = oss.upload(&token, "hello").await.unwrap();
    assert_eq!(upload.body(), r#"{"Status":"OK"}"#);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    // A service that fails is an application that closes the connection.
    oss.route_callbacks(service_fn(async |_: Request<EmulatorBody>| {
        Err::<Response<Full<Bytes>>, _>(std::io::Error::other("broken"))
    }));
    let token = self::token(&app, ASK).await;
    let failed = oss.upload(&token, "hello").await.unwrap();
    assert_eq!(failed.status(), 203);
    assert!(oss.object(token.key()).await.unwrap().is_some());
}

#[tokio::test]
async fn a_handler_that_panics_leaves_a_callback_without_a_response() {
    async fn broken(_: VerifiedCallback) -> CallbackReply {
        panic!("a fault of the application")
    }
    let oss = Emulator::spawn().await.unwrap();
    let uploads = uploads(&oss, URL);
    let callback = post(broken).route_layer(uploads.callback_layer());
    let app = app(&uploads);
    oss.route_callbacks(Router::new().route("/oss/callback", callback));

    let upload = oss.upload(&token(&app, ASK).await, "photo").await.unwrap();
    assert_eq!(upload.status(), 203);
    assert_eq!(upload.callback().unwrap().status(), None);
    // What a failed assertion prints names the callback, and nothing that it carried.
    let shown = format!("{upload:?}");
    assert!(shown.contains(&format!("{URL:?}, status: None")), "{shown}");
    assert!(!shown.contains("ticket"), "{shown}");
}

#[tokio::test]
async fn settings_of_the_builder_are_kept() {
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&seen);
    let expires = std::time::SystemTime::now() + std::time::Duration::from_secs(900);
    let oss = Emulator::builder()
        .bucket(HostedBucket::new("photos-7".parse().unwrap()))
        .access_key(AccessKey::new("STS.id", "secret").with_security_token("token", expires))
        .region("ap-southeast-1".parse().unwrap())
        .observer(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
        })
        .spawn()
        .await
        .unwrap();
    assert_eq!(
        (oss.bucket().as_str(), oss.region().as_str()),
        ("photos-7", "ap-southeast-1")
    );
    assert!(oss.url().as_str().ends_with("/photos-7/"));
    let app = app(&uploads(&oss, URL));
    oss.route_callbacks(app.clone());
    let token = token(&app, ASK).await;
    assert_eq!(token.field("x-oss-security-token"), Some("token"));
    assert_eq!(oss.upload(&token, "hello").await.unwrap().status(), 200);
    assert_eq!(seen.load(Ordering::SeqCst), 1);
    assert!(!format!("{oss:?}").contains("secret"));
}

#[tokio::test]
async fn mistakes_in_the_set_up_are_errors_that_name_the_remedy() {
    let own_network = Emulator::builder()
        .network(SystemNetwork::new())
        .spawn()
        .await;
    let open = Emulator::builder().allow_private_callbacks().spawn().await;
    for result in [own_network, open] {
        let error = result.unwrap_err();
        assert!(error.to_string().contains("route_callbacks"), "{error}");
    }
    let spaces = Emulator::builder()
        .access_key(AccessKey::new("a b", "c"))
        .spawn()
        .await;
    assert!(spaces.unwrap_err().to_string().contains("white space"));
    let bucket = || HostedBucket::new("examplebucket".parse().unwrap());
    let twice = Emulator::builder()
        .bucket(bucket())
        .bucket(bucket())
        .spawn()
        .await;
    let error = twice.unwrap_err();
    assert!(
        format!("{error:?}").contains("was added twice"),
        "{error:?}"
    );
    assert!(error.get_ref().is_some() && error.source().is_none());

    // The token of an application that still uses the public endpoint.
    let oss = Emulator::spawn().await.unwrap();
    let public = OssUploads::builder(oss.bucket(), oss.credentials())
        .region(oss.region())
        .callback_url(URL)
        .ticket_key(key())
        .build()
        .unwrap();
    let token = token(&app(&public), ASK).await;
    let error = oss.upload(&token, "hello").await.unwrap_err();
    assert!(
        error.to_string().contains("SpawnedEmulator::endpoint"),
        "{error}"
    );
}

#[tokio::test]
async fn it_serves_its_address_until_it_is_dropped() {
    let oss = Emulator::spawn().await.unwrap();
    let url: http::Uri = oss.url().as_str().parse().unwrap();
    let address = url.authority().unwrap().as_str().to_owned();
    assert!(TcpStream::connect(&address).await.is_ok());
    drop(oss);
    // The listener closes when its task has ended.
    for _ in 0..1000 {
        if TcpStream::connect(&address).await.is_err() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("{address} still accepts connections");
}
