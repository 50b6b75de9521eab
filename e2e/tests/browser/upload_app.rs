//! An application with an upload form, and the emulator that it uploads to, in this process.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use aliyun_oss_emulator::{AccessKey, CorsRule, Emulator, HostedBucket};
use axum::{
    Router,
    extract::State,
    routing::{get, post},
};
use http::{Method, StatusCode, request::Parts};
use serde_json::json;
use tokio::net::TcpListener;
use tower_aliyun_oss::{
    OssUploads,
    callback::{CallbackReply, VerifiedCallback},
    policy::{Authorize, Credentials, Grant, Refusal, TokenFormat},
    protocol::{Bucket, Endpoint, SizeRange},
    ticket::TicketKey,
};

const BUCKET: &str = "examplebucket";
const REGION: &str = "cn-hangzhou";
const ID: &str = "STS.test-id";
const SECRET: &str = "test-secret";
const TOKEN: &str = "token-of-sts";

/// How the application issues tokens.
#[derive(Clone, Copy)]
pub(crate) struct Options {
    pub(crate) format: TokenFormat,
    /// Whether the access key is a temporary one.
    pub(crate) sts: bool,
}

/// A verified callback: object, size and content type.
pub(crate) type Seen = (String, u64, String);

pub(crate) struct UploadApp {
    /// The origin of the application and its pages.
    pub(crate) origin: String,
    emulator: Emulator,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl UploadApp {
    /// Serves tokens at `/oss/policy` and at the path of the sample, besides these pages.
    pub(crate) async fn start(options: Options, pages: impl FnOnce(&str) -> Router) -> Self {
        let oss = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let upload_url = format!("http://{}/{BUCKET}", oss.local_addr().unwrap());
        let emulator = emulator(&origin, options.sts);
        let uploads = uploads(&origin, &upload_url, options);
        let layer = uploads.callback_layer().key_source(emulator.key_source());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let tokens = uploads.policy_service(Granted(options));
        let app = Router::new()
            .route_service("/oss/policy", tokens.clone())
            .route_service("/get_post_signature_for_oss_upload", tokens)
            .route("/oss/callback", post(on_upload).route_layer(layer))
            .with_state(Arc::clone(&seen))
            .route("/favicon.ico", get(|| async { StatusCode::NO_CONTENT }))
            .merge(pages(&upload_url));
        tokio::spawn(emulator.clone().serve(oss));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self {
            origin,
            emulator,
            seen,
        }
    }

    /// Takes the callbacks since the last call.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }

    /// Lists the stored objects and their sizes.
    pub(crate) async fn stored(&self) -> Vec<(String, u64)> {
        let bucket: Bucket = BUCKET.parse().unwrap();
        let objects = self.emulator.store().list(&bucket).await.unwrap();
        objects
            .iter()
            .map(|object| (object.key().to_owned(), object.size()))
            .collect()
    }
}

/// Allows the origin to post forms without any header that needs a preflight, and to read the
/// headers that the set-up guide names.
fn emulator(origin: &str, sts: bool) -> Emulator {
    let cors = CorsRule::new()
        .allow_origin(origin)
        .allow_method(Method::POST)
        .expose_header("ETag")
        .expose_header("x-oss-request-id");
    let mut key = AccessKey::new(ID, SECRET);
    if sts {
        key = key.with_security_token(TOKEN, SystemTime::now() + Duration::from_secs(3600));
    }
    Emulator::builder()
        .region(REGION.parse().unwrap())
        .bucket(HostedBucket::new(BUCKET.parse().unwrap()).cors(cors))
        .access_key(key)
        .allow_private_callbacks()
        .build()
        .unwrap()
}

fn uploads(origin: &str, upload_url: &str, options: Options) -> OssUploads {
    let mut credentials = Credentials::new(ID, SECRET).unwrap();
    if options.sts {
        credentials = credentials.with_security_token(TOKEN).unwrap();
    }
    OssUploads::builder(BUCKET.parse().unwrap(), credentials)
        .region(REGION.parse().unwrap())
        .endpoint(Endpoint::custom(upload_url.parse().unwrap()))
        .callback_url(&format!("{origin}/oss/callback"))
        .ticket_key(TicketKey::generate().unwrap())
        .format(options.format)
        .build()
        .unwrap()
}

/// Grants small texts and pictures under one prefix.
struct Granted(Options);

impl Authorize for Granted {
    type Granted = Grant;

    async fn authorize(&self, _: &Parts) -> Result<Grant, Refusal> {
        let prefix = "up/".parse().unwrap();
        let size = SizeRange::new(1, 1 << 20).unwrap();
        let grant = match self.0.format {
            TokenFormat::Fields => Grant::under(prefix, size)
                .content_types(["text/plain", "image/png"].map(|name| name.parse().unwrap())),
            // In the formats of the samples, the client names the object.
            _ => Grant::any_name_under(prefix, size),
        };
        Ok(grant)
    }
}

async fn on_upload(
    State(seen): State<Arc<Mutex<Vec<Seen>>>>,
    callback: VerifiedCallback,
) -> CallbackReply {
    let event = callback.event().unwrap();
    let upload = (
        event.object().unwrap().to_owned(),
        event.size().unwrap(),
        event.mime_type().unwrap().to_owned(),
    );
    seen.lock().unwrap().push(upload);
    CallbackReply::json(&json!({ "Status": "OK" })).unwrap()
}
