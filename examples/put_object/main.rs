//! Uploads from a server, with a callback that carries a ticket.
//!
//! ```text
//! cargo run -p example-put-object
//! ```
//!
//! The callback is sent in the headers of `PutObject`, or in the query of a presigned URL for
//! another client. `reqsign`, the signer of OpenDAL, signs both with version 4. Other clients work
//! too if they accept custom headers **and** include them in an OSS signature. `object_store` does
//! not: it signs like S3 and cannot add a header to a single upload.
//!
//! Runs on one machine, with the emulator in place of OSS. For OSS itself, change the endpoint, the
//! access key and the callback URL.

#[path = "../common/exit.rs"]
mod exit;

use std::{error::Error, process::ExitCode, time::Duration};

use aliyun_oss_emulator::{AccessKey, Emulator};
use axum::{Router, routing::post, serve::ListenerExt as _};
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

const USAGE: &str =
    "usage: put_object\n\nUploads two objects to an emulator in this process. Takes no arguments.";

type BoxError = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    exit::exit(run().await)
}

async fn run() -> Result<(), BoxError> {
    match std::env::args().nth(1).as_deref() {
        None => {}
        Some("-h" | "--help") => {
            println!("{USAGE}");
            return Ok(());
        }
        Some(argument) => return Err(format!("unexpected argument {argument:?}\n{USAGE}").into()),
    }
    let oss = TcpListener::bind("127.0.0.1:0").await?;
    let app = TcpListener::bind("127.0.0.1:0").await?;
    let app_address = app.local_addr()?;
    // Responses are small, and must not wait for acknowledgements.
    let app = app.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            eprintln!("failed to set TCP_NODELAY: {error}");
        }
    });
    let endpoint = format!("http://{}/{BUCKET}", oss.local_addr()?);

    let emulator = Emulator::builder()
        .bucket(BUCKET.parse::<tower_aliyun_oss::protocol::Bucket>()?)
        .access_key(AccessKey::new("test-id", "test-secret"))
        .allow_private_callbacks()
        .build()?;
    let uploads = OssUploads::builder(BUCKET.parse()?, Credentials::new("test-id", "test-secret")?)
        .region(REGION.parse()?)
        .callback_url(&format!("http://{app_address}/oss/callback"))
        .ticket_key(TicketKey::generate()?)
        .build()?;
    let layer = uploads.callback_layer().key_source(emulator.key_source());
    let router = Router::new().route("/oss/callback", post(on_upload).route_layer(layer));
    tokio::spawn(emulator.serve(oss));
    tokio::spawn(axum::serve(app, router).into_future());

    // The callback in headers.
    let callback = callback(&uploads, "reports/1.txt")?;
    let mut request = upload(format!("{endpoint}/reports/1.txt").parse()?)?;
    request.headers_mut().extend(callback.headers());
    println!("{}", send(sign(request, None).await?).await?);

    // The callback in a presigned URL, valid for ten minutes. The signature covers the callback.
    let callback = self::callback(&uploads, "reports/2.txt")?;
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(callback.query_pairs());
    let url = format!("{endpoint}/reports/2.txt?{}", query.finish());
    let signed = sign(upload(url.parse()?)?, Some(Duration::from_secs(600))).await?;
    println!("{}", send(upload(signed.uri().clone())?).await?);
    Ok(())
}

/// Returns a callback with a ticket that grants this object, this type and at most 1 MiB.
fn callback(uploads: &OssUploads, key: &str) -> Result<CallbackDirective, BoxError> {
    let grant = Grant::exact(key.parse()?, SizeRange::new(1, 1 << 20)?)
        .content_type(TYPE.parse()?)
        .claims(&"the nightly job");
    Ok(uploads.callback_for(&grant)?)
}

async fn on_upload(callback: VerifiedCallback) -> CallbackReply {
    let (event, uploader) = (callback.event(), callback.claims::<String>());
    if let (Ok(event), Ok(uploader)) = (event, uploader) {
        println!("{uploader} uploaded {:?}", event.object());
    }
    CallbackReply::ok()
}

fn upload(uri: Uri) -> Result<Request<Full<Bytes>>, BoxError> {
    Ok(Request::put(uri)
        .header(header::CONTENT_TYPE, TYPE)
        .body(CONTENT.into())?)
}

/// Signs a request in its headers or, with a lifetime, in its URL.
async fn sign(
    request: Request<Full<Bytes>>,
    lifetime: Option<Duration>,
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
        .sign_request(&Context::new(), &mut parts, Some(&credential), lifetime)
        .await?;
    Ok(Request::from_parts(parts, body))
}

async fn send(mut request: Request<Full<Bytes>>) -> Result<String, BoxError> {
    let authority = request.uri().authority().ok_or("the URL has no host")?;
    let authority = authority.as_str().to_owned();
    let target = request
        .uri()
        .path_and_query()
        .ok_or("the URL has no path")?;
    *request.uri_mut() = target.as_str().parse()?;
    let headers = request.headers_mut();
    headers.insert(header::HOST, authority.parse()?);
    let stream = TcpStream::connect(&*authority).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    let outcome = format!("{status}: {}", String::from_utf8_lossy(&body));
    // OSS responds with 203 when it stored the object but the callback failed.
    if status == StatusCode::OK {
        Ok(outcome)
    } else {
        Err(outcome.into())
    }
}
