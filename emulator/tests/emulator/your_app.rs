//! An application and its test, as the guide `docs/testing-your-app.md` shows them.

use aliyun_oss_emulator::{CorsRule, Emulator, HostedBucket, SpawnedEmulator};
use axum::{Router, body::Body, extract::State, routing::post};
use http::{Request, request::Parts};
use http_body_util::BodyExt as _;
use std::{
    error::Error,
    sync::{Arc, Mutex},
};
use tokio::net::TcpListener;
use tower::ServiceExt as _;
use tower_aliyun_oss::{
    CallbackReply, Grant, OssUploads, Refusal, SizeRange, TicketKey, VerifiedCallback,
    policy::{UploadToken, with_state},
    protocol::{Bucket, ContentType},
};

// For the last test.
use bytes::Bytes;
use http::{Response, Uri};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::support::Form;

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

// The same application for a browser.

async fn serve_on_this_machine(listener: TcpListener) -> Result<(), Box<dyn Error>> {
    let bucket: Bucket = "examplebucket".parse()?;
    let bucket = HostedBucket::new(bucket).cors(CorsRule::any_origin());
    let oss = Emulator::builder().bucket(bucket).spawn().await?; // runs until it is dropped
    let uploads = oss.uploads("https://app.example/oss/callback");
    let app = app(
        &uploads.ticket_key(TicketKey::generate()?).build()?,
        Photos::default(),
    );
    oss.route_callbacks(app.clone());
    axum::serve(listener, app).await?;
    Ok(())
}

#[tokio::test]
async fn a_browser_uploads_to_the_application_on_this_machine() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let app = listener.local_addr()?.to_string();
    let client = async {
        let request =
            Request::get("/oss/policy?filename=a.png&size=5").header("cookie", "session=7");
        let response = exchange(&app, request.body(Full::default())?).await?;
        let token: UploadToken = serde_json::from_slice(response.body())?;

        let form = Form::new().fields(token.fields()).file(b"photo");
        let (mut head, body) = form.request().into_parts();
        let url: Uri = token.url().as_str().parse()?;
        head.uri = url.path().parse()?;
        head.headers.remove("host");
        head.headers
            .insert("origin", format!("http://{app}").parse()?);
        let oss = url.authority().unwrap().as_str();
        let response = exchange(oss, Request::from_parts(head, body)).await?;
        assert_eq!(response.status(), 200, "{response:?}");
        assert_eq!(response.body(), r#"{"Status":"OK"}"#);
        let allowed = &response.headers()["access-control-allow-origin"];
        assert_eq!(allowed, &*format!("http://{app}"));
        Ok::<_, Box<dyn Error>>(())
    };
    tokio::select! {
        uploaded = client => uploaded,
        served = serve_on_this_machine(listener) => panic!("the application stopped: {served:?}"),
    }
}

/// Sends a request to this address.
async fn exchange(
    address: &str,
    mut request: Request<Full<Bytes>>,
) -> Result<Response<Bytes>, Box<dyn Error>> {
    let stream = TokioIo::new(TcpStream::connect(address).await?);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
    tokio::spawn(connection);
    request.headers_mut().insert("host", address.parse()?);
    let (head, body) = sender.send_request(request).await?.into_parts();
    Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
}
