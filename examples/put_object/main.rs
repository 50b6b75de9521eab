//! A server that uploads by itself, and is called back with a ticket of its own.
//!
//! ```text
//! cargo run --example put_object --features axum,emulator
//! ```
//!
//! The callback goes into the headers of `PutObject`, or into a URL that is signed for somebody else; `reqsign` signs
//! both, as it does for OpenDAL, with version 4. Any client will do that sends headers of your own **and** signs them with a signature
//! of OSS. `object_store` is none: it signs as S3 does, and gives no way to add a header to one upload.
//!
//! Runs on one machine: the emulator stands for OSS. For OSS itself, change the endpoint, the key and the URL.

use std::{error::Error, time::Duration};

use aliyun_oss_emulator::{AccessKey, Emulator};
use axum::{Router, routing::post};
use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use reqsign_aliyun_oss::{Credential, RequestSigner, SigningVersion};
use reqsign_core::{Context, SignRequest as _};
use tokio::net::{TcpListener, TcpStream};
use tower_aliyun_oss::{
    OssUploads,
    callback::{CallbackReply, VerifiedCallback},
    policy::{CallbackDirective, Credentials, Grant},
    protocol::SizeRange,
    ticket::TicketKey,
};

const BUCKET: &str = "examplebucket";
const REGION: &str = "cn-hangzhou";
const CONTENT: &str = "a report";
const TYPE: &str = "text/plain";

type BoxError = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let oss = TcpListener::bind("127.0.0.1:0").await?;
    let app = TcpListener::bind("127.0.0.1:0").await?;
    let endpoint = format!("http://{}/{BUCKET}", oss.local_addr()?);

    let emulator = Emulator::builder()
        .bucket(BUCKET.parse::<tower_aliyun_oss::protocol::Bucket>()?)
        .access_key(AccessKey::new("test-id", "test-secret"))
        .allow_private_callbacks()
        .build()?;
    let uploads = OssUploads::builder(BUCKET.parse()?, Credentials::new("test-id", "test-secret")?)
        .region(REGION.parse()?)
        .callback_url(&format!("http://{}/oss/callback", app.local_addr()?))
        .ticket_key(TicketKey::generate()?)
        .build()?;
    let layer = uploads.callback_layer().key_source(emulator.key_source());
    let router = Router::new().route("/oss/callback", post(on_upload).route_layer(layer));
    tokio::spawn(emulator.serve(oss));
    tokio::spawn(axum::serve(app, router).into_future());

    // With headers.
    let callback = callback(&uploads, "reports/1.txt")?;
    let mut request = upload(format!("{endpoint}/reports/1.txt").parse()?)?;
    request.headers_mut().extend(callback.headers());
    println!("{}", send(sign(request, None).await?).await?);

    // With a URL for somebody else, good for ten minutes. The callback is part of what is signed.
    let callback = self::callback(&uploads, "reports/2.txt")?;
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(callback.query_pairs());
    let url = format!("{endpoint}/reports/2.txt?{}", query.finish());
    let signed = sign(upload(url.parse()?)?, Some(Duration::from_secs(600))).await?;
    println!("{}", send(upload(signed.uri().clone())?).await?);
    Ok(())
}

/// What the ticket grants: this object, of this type, so large at most.
fn callback(uploads: &OssUploads, key: &str) -> Result<CallbackDirective, BoxError> {
    let grant = Grant::exact(key.parse()?, SizeRange::new(1, 1 << 20)?)
        .content_type(TYPE.parse()?)
        .claims(&"the nightly job");
    Ok(uploads.callback_for(&grant)?)
}

async fn on_upload(callback: VerifiedCallback) -> CallbackReply {
    let (event, whose) = (callback.event(), callback.claims::<String>());
    if let (Ok(event), Ok(whose)) = (event, whose) {
        println!("{whose} has uploaded {:?}", event.object());
    }
    CallbackReply::ok()
}

fn upload(uri: Uri) -> Result<Request<Full<Bytes>>, BoxError> {
    Ok(Request::put(uri)
        .header(header::CONTENT_TYPE, TYPE)
        .body(CONTENT.into())?)
}

/// In the headers, or for so long in the URL.
async fn sign(
    request: Request<Full<Bytes>>,
    life: Option<Duration>,
) -> Result<Request<Full<Bytes>>, BoxError> {
    let credential = Credential {
        access_key_id: "test-id".into(),
        access_key_secret: "test-secret".into(),
        security_token: None,
        expires_in: None,
    };
    let (mut parts, body) = request.into_parts();
    RequestSigner::new(BUCKET)
        .with_region(REGION)
        .with_signing_version(SigningVersion::V4)
        .sign_request(&Context::new(), &mut parts, Some(&credential), life)
        .await?;
    Ok(Request::from_parts(parts, body))
}

async fn send(mut request: Request<Full<Bytes>>) -> Result<String, BoxError> {
    let authority = request.uri().authority().ok_or("the url has no host")?;
    let authority = authority.as_str().to_owned();
    let target = request
        .uri()
        .path_and_query()
        .ok_or("the url has no path")?;
    *request.uri_mut() = target.as_str().parse()?;
    let headers = request.headers_mut();
    headers.insert(header::HOST, authority.parse()?);
    let stream = TcpStream::connect(&*authority).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    let answer = format!("{status}: {}", String::from_utf8_lossy(&body));
    // With 203 the object is stored, but its callback failed.
    if status == StatusCode::OK {
        Ok(answer)
    } else {
        Err(answer.into())
    }
}
