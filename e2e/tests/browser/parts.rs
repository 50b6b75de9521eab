//! Tests uploads in parts with the module in `client`: a real browser, broken connections, and
//! reloads of the page.
//!
//! `CLIENT_UPLOAD_MIB` sets the size of the file, 64 MiB by default. The long form is 1024.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Write as _,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use aliyun_oss_emulator::{AccessKey, Acl, CorsRule, Emulator, HostedBucket, ObjectStore};
use axum::{
    Router,
    extract::{Request, State},
    http::StatusCode,
    middleware::{Next, from_fn_with_state},
    response::{Html, Response},
    routing::{get, post},
};
use crc::{CRC_64_XZ, Crc, Table};
use fantoccini::wd::TimeoutConfiguration;
use http::{Method, header::CONTENT_TYPE, request::Parts};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tower_aliyun_oss::{
    OssUploads,
    callback::{CallbackReply, VerifiedCallback},
    policy::{Credentials, Grant, Refusal},
    protocol::{Bucket, Endpoint, ObjectAcl, SizeRange},
    ticket::TicketKey,
};

use crate::{browser::Browser, cutter::Cutter, many::throttle};

const CUTS: u64 = 10;
const RELOADS: usize = 2;
/// Parts that the module sends at once.
const AT_ONCE: usize = 4;

const BUCKET: &str = "examplebucket";

static CRC64: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_XZ);

macro_rules! module {
    ($($file:literal)+) => {
        [$(($file, include_str!(concat!("../../../client/", $file)))),+]
    };
}

/// The module, as an application serves it.
const MODULE: [(&str, &str); 9] = module! {
    "attempts.js" "crc64.js" "errors.js" "http.js" "progress.js" "records.js" "service.js"
    "upload.js" "xml.js"
};

/// How often each part arrived at the emulator.
#[derive(Default)]
struct Counts {
    begun: BTreeMap<u32, usize>,
    stored: BTreeMap<u32, usize>,
    /// Their URLs had expired.
    refused: BTreeMap<u32, usize>,
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

/// Writes a file whose bytes do not repeat, and returns its CRC-64.
fn write_file(path: &Path, size: u64) -> u64 {
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

async fn authorize(_: &Parts) -> Result<Grant, Refusal> {
    let prefix = "video/".parse().unwrap();
    let size = SizeRange::new(1, 5 << 30).unwrap();
    Ok(Grant::under(prefix, size)
        .content_types(["video/mp4".parse().unwrap()])
        // That of the bucket, so that the test can download the object.
        .object_acl(ObjectAcl::Bucket))
}

/// A verified callback: object, size and content type.
type Seen = Arc<Mutex<Vec<(String, u64, String)>>>;

async fn on_upload(State(seen): State<Seen>, callback: VerifiedCallback) -> CallbackReply {
    let event = callback.event().unwrap();
    let object = event.object().unwrap().to_owned();
    let upload = (
        object.clone(),
        event.size().unwrap(),
        event.mime_type().unwrap().to_owned(),
    );
    seen.lock().unwrap().push(upload);
    CallbackReply::json(&json!({ "object": object })).unwrap()
}

struct Setting {
    origin: String,
    oss: std::net::SocketAddr,
    cutter: Cutter,
    counts: Arc<Mutex<Counts>>,
    seen: Seen,
    emulator: Emulator,
}

impl Setting {
    async fn start(folder: &Path, cuts: Vec<u64>) -> Self {
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
        let layer = uploads.callback_layer().key_source(emulator.key_source());
        let presigned = uploads
            .presign_service(authorize)
            .and_then(|service| service.part_size(4 << 20))
            // Less than the upload takes, so URLs expire on the way.
            .and_then(|service| service.url_lifetime(Duration::from_secs(8)))
            .unwrap();
        let app = Router::new()
            .route_service("/oss/presign", presigned)
            .route("/oss/callback", post(on_upload).route_layer(layer))
            .with_state(Arc::clone(&seen))
            .route("/", get(|| async { Html(include_str!("parts.html")) }))
            .route("/favicon.ico", get(|| async { StatusCode::NO_CONTENT }));
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

    /// Downloads an object, and returns its size, its CRC-64, and the one that OSS reports.
    async fn stored(&self, key: &str) -> (u64, u64, String) {
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

/// Opens the page, and gives its scripts ten minutes for what they wait for.
async fn patient(url: &str) -> Browser {
    let browser = Browser::open(url).await;
    let timeouts = TimeoutConfiguration::new(Some(Duration::from_secs(600)), None, None);
    browser.client.update_timeouts(timeouts).await.unwrap();
    browser
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs chromium and chromedriver"]
async fn issue_22_shown_1_ten_cuts_and_two_reloads() {
    let mebibytes = std::env::var("CLIENT_UPLOAD_MIB").map_or(64, |size| size.parse().unwrap());
    let size: u64 = mebibytes << 20;
    let folder = tempfile::tempdir().unwrap();
    let film = folder.path().join("film.mp4");
    let crc = write_file(&film, size);
    let cuts = (1..=CUTS)
        .map(|number| size * number / (CUTS + 1))
        .collect();
    let setting = Setting::start(&folder.path().join("oss"), cuts).await;
    let started = Instant::now();
    let browser = patient(&setting.origin).await;
    // A short file would be there before the page could be reloaded twice.
    browser.devtools("Network.enable", json!({})).await;
    throttle(&browser, i64::try_from(size / 8).unwrap()).await;
    let mut resumed = Vec::new();
    for reload in 0..=RELOADS {
        browser.until("window.ready").await;
        browser.choose_in("#pick", &[&film]).await;
        if reload < RELOADS {
            let fraction = (reload + 1) as f64 / (RELOADS + 1) as f64;
            let reached = format!(
                "window.outcome ||
                 window.progress?.partsStored > {fraction} * window.progress?.partCount"
            );
            browser.until(&reached).await;
            assert_eq!(browser.value("window.outcome ?? null").await, Value::Null);
            let stored = browser.value("window.progress.partsStored").await;
            resumed.push(stored.as_u64().unwrap());
            browser.client.refresh().await.unwrap();
        } else {
            browser.until("window.outcome").await;
        }
    }
    let outcome = browser.value("window.outcome").await;
    let progress = browser.value("window.upload.progress").await;
    let elapsed = started.elapsed();

    // The object is the file, and the application heard of it once.
    let key = outcome["key"]
        .as_str()
        .unwrap_or_else(|| panic!("{outcome}"));
    assert_eq!(outcome["crc64"], crc.to_string(), "{outcome}");
    assert_eq!(outcome["crc64Verified"], true);
    assert_eq!(outcome["reply"], json!({ "object": key }));
    assert_eq!(setting.stored(key).await, (size, crc, crc.to_string()));
    let seen = setting.seen.lock().unwrap().clone();
    assert_eq!(seen, [(key.to_owned(), size, "video/mp4".to_owned())]);
    let bucket: Bucket = BUCKET.parse().unwrap();
    assert_eq!(
        setting.emulator.store().list(&bucket).await.unwrap().len(),
        1
    );

    // A cut costs the part that it hits. A reload costs those that were on their way.
    assert_eq!(setting.cutter.cuts(), usize::try_from(CUTS).unwrap());
    let counts = setting.counts.lock().unwrap();
    let parts = progress["partCount"].as_u64().unwrap() as usize;
    let sum = |counts: &BTreeMap<u32, usize>| counts.values().sum::<usize>();
    let (begun, stored, refused) = (
        sum(&counts.begun),
        sum(&counts.stored),
        sum(&counts.refused),
    );
    println!(
        "{mebibytes} MiB in {parts} parts, {CUTS} cuts, {RELOADS} reloads with {resumed:?} parts \
         stored: {begun} requests, {stored} stored, {refused} expired, {:.1} s",
        elapsed.as_secs_f64()
    );
    assert_eq!(counts.stored.len(), parts);
    let cuts = setting.cutter.cuts();
    assert!(
        begun - refused <= parts + cuts + RELOADS * AT_ONCE,
        "{:?}",
        counts.begun
    );
    assert!(stored <= parts + cuts, "{:?}", counts.stored);
    browser.close().await;
}
