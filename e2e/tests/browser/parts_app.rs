//! An application that signs uploads in parts, and the emulator behind a proxy that cuts
//! connections.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Write as _,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use aliyun_oss_emulator::{AccessKey, Acl, CorsRule, Emulator, HostedBucket, ObjectStore};
use axum::{
    Router,
    extract::{Request, State},
    http::StatusCode,
    middleware::{Next, from_fn_with_state},
    response::Response,
    routing::{get, post},
};
use crc::{CRC_64_XZ, Crc, Table};
use http::{Method, header::CONTENT_TYPE, request::Parts};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tower_aliyun_oss::{
    OssUploads,
    callback::{CallbackReply, VerifiedCallback},
    policy::{Credentials, Grant, PresignFormat, Refusal},
    protocol::{Bucket, Endpoint, ObjectAcl, SizeRange},
    ticket::TicketKey,
};

use crate::cutter::Cutter;

const BUCKET: &str = "examplebucket";

static CRC64: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_XZ);

macro_rules! module {
    ($($file:literal)+) => {
        [$(($file, include_str!(concat!("../../../client/", $file)))),+]
    };
}

/// The module, as an application serves it.
const MODULE: [(&str, &str); 11] = module! {
    "attempts.js" "crc64.js" "errors.js" "http.js" "progress.js" "records.js" "service.js"
    "source.js" "upload.js" "urls.js" "xml.js"
};

/// How often each part arrived at the emulator.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) begun: BTreeMap<u32, usize>,
    pub(crate) stored: BTreeMap<u32, usize>,
    /// Their URLs had expired.
    pub(crate) refused: BTreeMap<u32, usize>,
}

/// Counts requests that carry a part: those that begin, and those that OSS answers.
async fn count(State(counts): State<Arc<Mutex<Counts>>>, request: Request, next: Next) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let number = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("partNumber="))
        .filter(|_| request.method() == Method::PUT)
        .and_then(|number| number.parse().ok());
    if let Some(number) = number {
        *counts.lock().unwrap().begun.entry(number).or_default() += 1;
    }
    let response = next.run(request).await;
    if let Some(number) = number {
        let counts = &mut *counts.lock().unwrap();
        let answered = match response.status() {
            StatusCode::OK => Some(&mut counts.stored),
            StatusCode::FORBIDDEN => Some(&mut counts.refused),
            // The connection was cut.
            _ => None,
        };
        if let Some(answered) = answered {
            *answered.entry(number).or_default() += 1;
        }
    }
    response
}

async fn authorize(_: &Parts) -> Result<Grant, Refusal> {
    let prefix = "video/".parse().unwrap();
    let size = SizeRange::new(1, 5 << 30).unwrap();
    Ok(Grant::under(prefix, size)
        .content_types(["video/mp4".parse().unwrap()])
        // That of the bucket, so that the test can download the object.
        .object_acl(ObjectAcl::Bucket))
}

/// The verified callbacks: object, size and content type.
type Seen = Arc<Mutex<Vec<(String, u64, String)>>>;

/// The state of the callback route.
#[derive(Clone)]
struct Called {
    seen: Seen,
    uploads: OssUploads,
    format: PresignFormat,
}

async fn on_upload(State(called): State<Called>, callback: VerifiedCallback) -> CallbackReply {
    let event = callback.event().unwrap();
    let object = event.object().unwrap().to_owned();
    let upload = (
        object.clone(),
        event.size().unwrap(),
        event.mime_type().unwrap().to_owned(),
    );
    called.seen.lock().unwrap().push(upload);
    match called.format {
        // uppy reads the document that OSS returns without a callback.
        PresignFormat::SignRequest => {
            let location = called.uploads.object_url(&object);
            CallbackReply::complete_result(&location, &event)
        }
        _ => CallbackReply::json(&json!({ "object": object })).unwrap(),
    }
}

pub(crate) struct PartsApp {
    /// The origin of the application and its pages.
    pub(crate) origin: String,
    oss: SocketAddr,
    cutter: Cutter,
    counts: Arc<Mutex<Counts>>,
    seen: Seen,
    emulator: Emulator,
}

impl PartsApp {
    /// Serves the presign service at `/oss/presign`, or for uppy at `/oss/uppy`, and the module at
    /// `/client`, besides these pages. Objects are stored in `folder`.
    pub(crate) async fn start(
        folder: &Path,
        cuts: Vec<u64>,
        format: PresignFormat,
        pages: Router,
    ) -> Self {
        let application = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", application.local_addr().unwrap());
        let oss = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let oss_address = oss.local_addr().unwrap();
        let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upload_url = format!("http://{}/{BUCKET}", proxy.local_addr().unwrap());

        // The rule that the guide names.
        let cors = [Method::GET, Method::PUT, Method::POST, Method::DELETE]
            .into_iter()
            .fold(CorsRule::new(), CorsRule::allow_method)
            .allow_origin(&origin)
            .allow_header("*")
            .expose_header("ETag")
            .expose_header("x-oss-request-id")
            .expose_header("x-oss-hash-crc64ecma")
            .max_age(Duration::from_secs(600));
        let bucket = HostedBucket::new(BUCKET.parse().unwrap())
            .acl(Acl::PublicRead)
            .cors(cors);
        let emulator = Emulator::builder()
            .region("cn-hangzhou".parse().unwrap())
            .bucket(bucket)
            .access_key(AccessKey::new("test-id", "test-secret"))
            .store(ObjectStore::folder(folder).unwrap())
            .allow_private_callbacks()
            .build()
            .unwrap();
        let uploads = OssUploads::builder(
            BUCKET.parse().unwrap(),
            Credentials::new("test-id", "test-secret").unwrap(),
        )
        .region("cn-hangzhou".parse().unwrap())
        .endpoint(Endpoint::custom(upload_url.parse().unwrap()))
        .callback_url(&format!("{origin}/oss/callback"))
        .ticket_key(TicketKey::generate().unwrap())
        .build()
        .unwrap();

        let seen = Seen::default();
        let called = Called {
            seen: Arc::clone(&seen),
            uploads: uploads.clone(),
            format,
        };
        let layer = uploads.callback_layer().key_source(emulator.key_source());
        let presigned = uploads
            .presign_service(authorize)
            .and_then(|service| service.part_size(4 << 20))
            // Less than the upload takes, so URLs expire on the way.
            .and_then(|service| service.url_lifetime(Duration::from_secs(8)))
            .unwrap()
            .format(format);
        let path = match format {
            PresignFormat::SignRequest => "/oss/uppy",
            _ => "/oss/presign",
        };
        let app = Router::new()
            .route_service(path, presigned)
            .route("/oss/callback", post(on_upload).route_layer(layer))
            .with_state(called)
            .route("/favicon.ico", get(|| async { StatusCode::NO_CONTENT }))
            .merge(pages);
        let app = MODULE.into_iter().fold(app, |app, (name, text)| {
            let script = move || async move { ([(CONTENT_TYPE, "text/javascript")], text) };
            app.route(&format!("/client/{name}"), get(script))
        });
        let counts = Arc::<Mutex<Counts>>::default();
        let counted = Router::new()
            .fallback_service(emulator.clone())
            .layer(from_fn_with_state(Arc::clone(&counts), count));
        tokio::spawn(async move { axum::serve(application, app).await });
        tokio::spawn(async move { axum::serve(oss, counted).await });
        Self {
            origin,
            oss: oss_address,
            cutter: Cutter::start(proxy, oss_address, cuts),
            counts,
            seen,
            emulator,
        }
    }

    /// Returns how many connections were cut.
    pub(crate) fn cuts(&self) -> usize {
        self.cutter.cuts()
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts.lock().unwrap().clone()
    }

    /// Returns the verified callbacks: object, size and content type.
    pub(crate) fn seen(&self) -> Vec<(String, u64, String)> {
        self.seen.lock().unwrap().clone()
    }

    /// Asserts that there is exactly this object, with this content.
    pub(crate) async fn assert_stored(&self, key: &str, size: u64, crc: u64) {
        let bucket: Bucket = BUCKET.parse().unwrap();
        let objects = self.emulator.store().list(&bucket).await.unwrap();
        assert_eq!(objects.len(), 1, "{objects:?}");
        assert_eq!(self.download(key).await, (size, crc, crc.to_string()));
    }

    /// Downloads an object, and returns its size, its CRC-64, and the one that OSS reports.
    async fn download(&self, key: &str) -> (u64, u64, String) {
        let mut connection = TcpStream::connect(self.oss).await.unwrap();
        let request = format!(
            "GET /{BUCKET}/{key} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n",
            self.oss
        );
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut response = Vec::new();
        let head = loop {
            connection.read_buf(&mut response).await.unwrap();
            if let Some(end) = response.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let text = String::from_utf8_lossy(&response[..head]).to_ascii_lowercase();
        assert!(text.starts_with("http/1.1 200"), "{text}");
        let reported = text
            .lines()
            .find_map(|line| line.strip_prefix("x-oss-hash-crc64ecma: "));
        let mut digest = CRC64.digest();
        let mut size = (response.len() - head) as u64;
        digest.update(&response[head..]);
        let mut buffer = vec![0; 1 << 20];
        loop {
            let length = connection.read(&mut buffer).await.unwrap();
            if length == 0 {
                return (size, digest.finalize(), reported.unwrap().to_owned());
            }
            digest.update(&buffer[..length]);
            size += length as u64;
        }
    }
}

/// Writes a file whose bytes do not repeat, and returns its CRC-64.
pub(crate) fn write_file(path: &Path, size: u64) -> u64 {
    let mut file = File::create(path).unwrap();
    let mut digest = CRC64.digest();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut block = vec![0; 1 << 20];
    for _ in 0..size >> 20 {
        for word in block.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        digest.update(&block);
        file.write_all(&block).unwrap();
    }
    digest.finalize()
}
