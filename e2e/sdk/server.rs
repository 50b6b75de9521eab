//! The server that Alibaba's SDKs are tested against: an emulator of OSS, and the application that
//! it calls back.
//!
//! ```text
//! cargo run -p e2e --bin sdk_server
//! ```
//!
//! Prints `oss http://…` and `app http://…`, and runs until its standard input is closed. Routes of
//! the application:
//!
//! | route | description |
//! |---|---|
//! | `GET /callback?key=…` | Returns a callback with a ticket for an upload of this object. |
//! | `POST /oss/callback` | Receives the callbacks of OSS; the layer accepts only granted ones. |
//! | `GET /seen` | Lists the accepted callbacks. |
//! | `GET /token?filename=…` | Returns an upload token, signed with the temporary key. |
//! | `POST /presign` | Signs uploads in parts and downloads, also with the temporary key. |
//! | `GET /sts` | Returns the temporary key, in the format of STS. |

use std::{
    error::Error,
    io::Read as _,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use aliyun_oss_emulator::{AccessKey, CorsRule, Emulator, HostedBucket};
use axum::{
    Json, Router,
    extract::{Query, State},
    http::{Method, StatusCode, request::Parts},
    routing::{get, post},
    serve::ListenerExt as _,
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::oneshot};
use tower_aliyun_oss::{
    OssUploads,
    callback::{CallbackReply, VerifiedCallback},
    policy::{
        CallbackDirective, CallbackTemplate, Credentials, CredentialsError, Grant, Refusal,
        RequestedDownload,
    },
    protocol::{CallbackBodyType, Endpoint, ObjectPrefix, SizeRange},
    ticket::TicketKey,
};
use tower_http::cors::CorsLayer;

const BUCKET: &str = "examplebucket";
const REGION: &str = "cn-hangzhou";
/// The size of a signed part, in bytes.
const PART: u64 = 128 * 1024;
/// The long-term key of the emulator.
const KEY: (&str, &str) = ("test-id", "test-secret");

/// A temporary key, created at every start. Serializes like the response of `AssumeRole`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Session {
    access_key_id: String,
    access_key_secret: String,
    security_token: String,
    #[serde(skip)]
    ends: SystemTime,
}

#[derive(Clone)]
struct App {
    session: Arc<Session>,
    uploads: OssUploads,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// A callback that the layer accepted.
#[derive(Clone, Serialize)]
struct Seen {
    object: Option<String>,
    size: Option<u64>,
    etag: Option<String>,
    operation: Option<String>,
    note: Option<String>,
    granted_to: String,
}

#[derive(Deserialize)]
struct Wanted {
    key: String,
    content_type: Option<String>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let oss = TcpListener::bind("127.0.0.1:0").await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (oss_url, app_url) = (
        format!("http://{}", oss.local_addr()?),
        format!("http://{}", listener.local_addr()?),
    );

    let session = Session::begin()?;
    let temporary = AccessKey::new(&session.access_key_id, &session.access_key_secret)
        .with_security_token(&session.security_token, session.ends);
    let cors = CorsRule::any_origin()
        .allow_method(Method::PUT)
        .allow_method(Method::DELETE);
    let emulator = Emulator::builder()
        .region(REGION.parse()?)
        .bucket(HostedBucket::new(BUCKET.parse()?).cors(cors))
        .bucket(HostedBucket::new("secondbucket".parse()?))
        .access_key(AccessKey::new(KEY.0, KEY.1))
        .access_key(temporary)
        .allow_private_callbacks()
        .create_buckets(true)
        .build()?;

    let body =
        CallbackTemplate::standard(CallbackBodyType::Json).custom("x:note", "a note: +/=中")?;
    let callback = CallbackDirective::new(&format!("{app_url}/oss/callback"))?.body(body)?;
    let uploads = OssUploads::builder(BUCKET.parse()?, session.credentials()?)
        .region(REGION.parse()?)
        .endpoint(Endpoint::custom(format!("{oss_url}/{BUCKET}/").parse()?))
        .callback(callback)
        .ticket_key(TicketKey::generate()?)
        .build()?;
    let layer = uploads.callback_layer().key_source(emulator.key_source());
    let tokens = uploads.policy_service(authorize);
    let presigned = uploads.presign_service(authorize_parts)?.part_size(PART)?;
    let app = Router::new()
        .route("/callback", get(callback_for))
        .route("/oss/callback", post(on_upload).route_layer(layer))
        .route("/seen", get(seen))
        .route("/sts", get(sts))
        .route_service("/token", tokens)
        .route_service("/presign", presigned)
        .with_state(App {
            session: Arc::new(session),
            uploads,
            seen: Arc::default(),
        })
        .layer(CorsLayer::permissive());

    println!("oss {oss_url}");
    println!("app {app_url}");
    let (stop, stopped) = oneshot::channel::<()>();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        drop(stop);
    });
    tokio::select! {
        served = emulator.serve(oss) => served?,
        served = axum::serve(listener.tap_io(|stream| { let _ = stream.set_nodelay(true); }), app).into_future() => served?,
        _ = stopped => {}
    }
    Ok(())
}

impl Session {
    fn begin() -> Result<Self, Box<dyn Error>> {
        let mut random = [0; 48];
        getrandom::fill(&mut random).map_err(|error| error.to_string())?;
        let (id, rest) = random.split_at(12);
        let (secret, token) = rest.split_at(18);
        Ok(Self {
            access_key_id: format!("STS.{}", URL_SAFE_NO_PAD.encode(id)),
            access_key_secret: URL_SAFE_NO_PAD.encode(secret),
            security_token: STANDARD.encode(token),
            ends: SystemTime::now() + Duration::from_secs(60 * 60),
        })
    }

    fn credentials(&self) -> Result<Credentials, CredentialsError> {
        Ok(
            Credentials::new(&*self.access_key_id, &*self.access_key_secret)?
                .with_security_token(&*self.security_token)?
                .with_expiry(self.ends),
        )
    }
}

fn granted(key: &str) -> Result<Grant, Box<dyn Error>> {
    let size = SizeRange::new(0, 64 << 20)?;
    Ok(Grant::exact(key.parse()?, size).claims(&format!("uploader of {key}")))
}

async fn authorize(_: &Parts) -> Result<Grant, Refusal> {
    let prefix = "forms/".parse().map_err(|_| Refusal::forbidden())?;
    let size = SizeRange::new(1, 64 << 20).map_err(|_| Refusal::forbidden())?;
    Ok(Grant::under(prefix, size).claims(&"any client"))
}

async fn authorize_parts(parts: &Parts) -> Result<Grant, Refusal> {
    let prefix: ObjectPrefix = "parts/".parse().map_err(|_| Refusal::forbidden())?;
    if parts.extensions.get::<RequestedDownload>().is_some() {
        return Ok(Grant::read(prefix));
    }
    let size = SizeRange::new(1, 64 << 20).map_err(|_| Refusal::forbidden())?;
    Ok(Grant::under(prefix, size).claims(&"any client"))
}

/// Returns a callback as encoded values for headers or query, and its variables for SDKs that
/// encode them themselves.
async fn callback_for(
    State(app): State<App>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Value>, (StatusCode, String)> {
    let refuse = |error: Box<dyn Error>| (StatusCode::BAD_REQUEST, error.to_string());
    let mut grant = granted(&wanted.key).map_err(refuse)?;
    if let Some(content_type) = wanted.content_type {
        let content_type = content_type.parse();
        grant = grant.content_type(content_type.map_err(|e| refuse(Box::new(e)))?);
    }
    let callback = app.uploads.callback_for(&grant);
    let callback = callback.map_err(|e| refuse(Box::new(e)))?;
    Ok(Json(json!({
        "callback": callback.encoded(),
        "callback_var": callback.encoded_variables(),
        "variables": callback.variables().collect::<std::collections::BTreeMap<_, _>>(),
    })))
}

async fn on_upload(State(app): State<App>, callback: VerifiedCallback) -> CallbackReply {
    let (Ok(event), Ok(granted_to)) = (callback.event(), callback.claims::<String>()) else {
        return CallbackReply::ok();
    };
    let seen = Seen {
        object: event.object().map(Into::into),
        size: event.size(),
        etag: event.etag().map(Into::into),
        operation: event.operation().map(Into::into),
        note: event.custom("x:note").map(Into::into),
        granted_to,
    };
    let reply = CallbackReply::json(&json!({ "Status": "OK", "object": seen.object }));
    if let Ok(mut all) = app.seen.lock() {
        all.push(seen);
    }
    reply.unwrap_or_else(|_| CallbackReply::ok())
}

async fn seen(State(app): State<App>) -> Json<Vec<Seen>> {
    Json(app.seen.lock().map(|all| all.clone()).unwrap_or_default())
}

async fn sts(State(app): State<App>) -> Json<Value> {
    Json(json!(*app.session))
}
