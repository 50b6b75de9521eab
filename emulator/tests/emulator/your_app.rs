//! An application and its test, as the guide `docs/testing-your-app.md` shows them.

use aliyun_oss_emulator::{Emulator, SpawnedEmulator};
use axum::{Router, body::Body, extract::State, routing::post};
use http::{Request, request::Parts};
use http_body_util::BodyExt as _;
use std::{
    error::Error,
    sync::{Arc, Mutex},
};
use tower::ServiceExt as _;
use tower_aliyun_oss::{
    CallbackReply, Grant, OssUploads, Refusal, SizeRange, TicketKey, VerifiedCallback,
    policy::{UploadToken, with_state},
    protocol::ContentType,
};

// The application: users may upload pictures, and the server remembers their names.

#[derive(Clone, Default)]
struct Photos(Arc<Mutex<Vec<String>>>);

async fn authorize(_: &Photos, parts: &Parts) -> Result<Grant, Refusal> {
    if !parts.headers.contains_key("cookie") {
        return Err(Refusal::unauthorized());
    }
    let size = SizeRange::new(1, 1 << 20)?;
    Ok(Grant::under("photos/".parse()?, size).content_types(ContentType::IMAGES))
}

async fn on_upload(State(photos): State<Photos>, callback: VerifiedCallback) -> CallbackReply {
    let name = callback
        .event()
        .ok()
        .and_then(|event| event.object().map(str::to_owned));
    photos.0.lock().unwrap().extend(name);
    CallbackReply::ok()
}

fn app(uploads: &OssUploads, photos: Photos) -> Router {
    let tokens = uploads.policy_service(with_state(photos.clone(), authorize));
    Router::new()
        .route_service("/oss/policy", tokens)
        .route(
            "/oss/callback",
            post(on_upload).route_layer(uploads.callback_layer()),
        )
        .with_state(photos)
}

// Its test.

async fn start(photos: &Photos) -> Result<(SpawnedEmulator, Router), Box<dyn Error>> {
    let oss = Emulator::spawn().await?;
    let uploads = oss.uploads("https://app.example/oss/callback");
    let app = app(
        &uploads.ticket_key(TicketKey::generate()?).build()?,
        photos.clone(),
    );
    oss.route_callbacks(app.clone());
    Ok((oss, app))
}

#[tokio::test]
async fn an_uploaded_photo_is_remembered() -> Result<(), Box<dyn Error>> {
    let photos = Photos::default();
    let (oss, app) = start(&photos).await?;

    let request = Request::get("/oss/policy?filename=a.png&size=5").header("cookie", "session=7");
    let response = app.oneshot(request.body(Body::empty())?).await?;
    let token: UploadToken =
        serde_json::from_slice(&response.into_body().collect().await?.to_bytes())?;

    let upload = oss.upload(&token, "photo").await?;
    assert_eq!(upload.status(), 200);
    assert_eq!(upload.body(), r#"{"Status":"OK"}"#);
    assert_eq!(
        oss.object(token.key()).await?.as_deref(),
        Some(&b"photo"[..])
    );
    assert_eq!(*photos.0.lock().unwrap(), [token.key()]);
    Ok(())
}
