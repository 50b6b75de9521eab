//! Forms, an emulator that receives them, and its responses.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use aliyun_oss_emulator::{
    AccessKey, CallbackNetwork, Connection, Destination, Emulator, EmulatorBody, EmulatorBuilder,
    HostedBucket,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sha1::Sha1;
use tokio::sync::mpsc;
use tower::ServiceExt as _;

pub const ID: &str = "AKIDEXAMPLE";
pub const SECRET: &str = "OtxrzxIsfpFjA7SwPzILwy8Bw21TLhquhboDYROV";
pub const BUCKET: &str = "examplebucket";
pub const HOST: &str = "examplebucket.localhost:9000";
pub const BOUNDARY: &str = "9431149156168";

pub fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// 2023-12-03T12:12:12Z, the time of the vectors.
pub const NOW: u64 = 1_701_605_532;

/// An emulator at [`NOW`] with one private bucket, one key, and no network for callbacks.
pub fn builder() -> EmulatorBuilder {
    let ids = AtomicU64::new(1);
    Emulator::builder()
        .bucket(HostedBucket::new(BUCKET.parse().unwrap()))
        .access_key(AccessKey::new(ID, SECRET))
        .clock(|| at(NOW))
        .request_ids(move |_| format!("656C6F3C{:016X}", ids.fetch_add(1, Ordering::Relaxed)))
        .network(Nowhere)
}

pub fn emulator() -> Emulator {
    builder().build().unwrap()
}

/// Builds a multipart form.
#[derive(Clone, Debug, Default)]
pub struct Form(Vec<(String, Vec<u8>)>);

impl Form {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn field(self, name: &str, value: &str) -> Self {
        self.part(
            &format!("Content-Disposition: form-data; name=\"{name}\"\r\n"),
            value.as_bytes(),
        )
    }

    pub fn fields<'a>(self, fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        fields
            .into_iter()
            .fold(self, |form, (name, value)| form.field(name, value))
    }

    pub fn file(self, content: &[u8]) -> Self {
        self.file_of("a.txt", "text/plain", content)
    }

    pub fn file_of(self, name: &str, content_type: &str, content: &[u8]) -> Self {
        let head = format!(
            "Content-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
             Content-Type: {content_type}\r\n"
        );
        self.part(&head, content)
    }

    pub fn part(mut self, head: &str, content: &[u8]) -> Self {
        self.0.push((head.to_owned(), content.to_owned()));
        self
    }

    /// Replaces the value of a field, and keeps its position.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        let head = format!("Content-Disposition: form-data; name=\"{name}\"\r\n");
        let part = self.0.iter_mut().find(|(known, _)| *known == head);
        part.unwrap().1 = value.as_bytes().to_owned();
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        let head = format!("Content-Disposition: form-data; name=\"{name}\"");
        let before = self.0.len();
        self.0.retain(|(known, _)| !known.starts_with(&head));
        assert!(self.0.len() < before, "{name}");
        self
    }

    pub fn bytes(&self) -> Bytes {
        let mut body = Vec::new();
        for (head, content) in &self.0 {
            body.extend(format!("--{BOUNDARY}\r\n{head}\r\n").bytes());
            body.extend(content);
            body.extend(b"\r\n");
        }
        body.extend(format!("--{BOUNDARY}--\r\n").bytes());
        body.into()
    }

    pub fn request(&self) -> Request<Full<Bytes>> {
        request(self.bytes())
    }

    pub async fn post(&self, emulator: &Emulator) -> Answer {
        send(emulator, self.request()).await
    }
}

pub fn request(body: Bytes) -> Request<Full<Bytes>> {
    Request::post("/")
        .header("host", HOST)
        .header(
            "content-type",
            format!("multipart/form-data; boundary={BOUNDARY}"),
        )
        .header("content-length", body.len())
        .body(body.into())
        .unwrap()
}

/// Builds a policy with these conditions, signed with version 1.
pub fn policy(conditions: &Value) -> Vec<(&'static str, String)> {
    let document = json!({ "expiration": "2023-12-03T13:00:00.000Z", "conditions": conditions });
    signed(document.to_string().as_bytes())
}

pub fn signed(document: &[u8]) -> Vec<(&'static str, String)> {
    let policy = STANDARD.encode(document);
    let mut mac = Hmac::<Sha1>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(policy.as_bytes());
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    vec![
        ("OSSAccessKeyId", ID.to_owned()),
        ("policy", policy),
        ("Signature", signature),
    ]
}

/// Builds a valid form with key, policy, signature and these fields.
pub fn good(more: &[(&str, &str)]) -> Form {
    under(&json!([{ "bucket": BUCKET }]), more)
}

pub fn under(conditions: &Value, more: &[(&str, &str)]) -> Form {
    let signed = policy(conditions);
    let signed = signed.iter().map(|(name, value)| (*name, &**value));
    let mut form = Form::new();
    if more
        .iter()
        .all(|(name, _)| !name.eq_ignore_ascii_case("key"))
    {
        form = form.field("key", "a.txt");
    }
    form.fields(more.iter().copied()).fields(signed)
}

#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// Returns the text of an XML element.
    pub fn element(&self, name: &str) -> Option<String> {
        let text = self.text();
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        let (value, _) = rest.split_once(&format!("</{name}>"))?;
        let value = value
            .replace("&quot;", "\"")
            .replace("&apos;", "'")
            .replace("&lt;", "<")
            .replace("&gt;", ">");
        Some(value.replace("&amp;", "&"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    #[track_caller]
    pub fn assert_refused(&self, status: u16, code: &str, ec: &str) {
        let found = (
            self.status.as_u16(),
            self.element("Code").unwrap_or_default(),
            self.element("EC").unwrap_or_default(),
        );
        assert_eq!(
            found,
            (status, code.to_owned(), ec.to_owned()),
            "{}",
            self.text()
        );
    }
}

pub async fn send(emulator: &Emulator, request: Request<Full<Bytes>>) -> Answer {
    let response = emulator.clone().oneshot(request).await.unwrap();
    read(response).await
}

pub async fn read(response: Response<EmulatorBody>) -> Answer {
    let (parts, body) = response.into_parts();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: body.collect().await.unwrap().to_bytes(),
    }
}

pub async fn get(emulator: &Emulator, path: &str) -> Answer {
    let request = Request::get(path).header("host", HOST);
    send(emulator, request.body(Full::default()).unwrap()).await
}

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A network without hosts.
pub struct Nowhere;

impl CallbackNetwork for Nowhere {
    fn resolve<'a>(&'a self, _: &'a str, _: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async { Err(io::ErrorKind::NotFound.into()) })
    }

    fn connect<'a>(&'a self, _: &'a Destination) -> BoxFuture<'a, io::Result<Connection>> {
        Box::pin(async { Err(io::ErrorKind::ConnectionRefused.into()) })
    }
}

/// An application server in memory. Every host name resolves to it.
#[derive(Clone)]
pub struct OneServer {
    serve: Arc<dyn Fn(Connection) + Send + Sync>,
    pub addresses: Vec<SocketAddr>,
    pub connected: Arc<Mutex<Vec<Destination>>>,
}

impl OneServer {
    /// Creates an HTTP server.
    pub fn http<F, R>(handler: F) -> Self
    where
        F: Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Response<Full<Bytes>>> + Send + 'static,
    {
        Self::raw(move |connection| {
            let handler = handler.clone();
            let service = service_fn(move |request| {
                let answer = handler(request);
                async move { Ok::<_, Infallible>(answer.await) }
            });
            tokio::spawn(async move {
                let server = hyper::server::conn::http1::Builder::new();
                let _ = server
                    .serve_connection(TokioIo::new(connection), service)
                    .await;
            });
        })
    }

    /// Creates a server that handles raw connections.
    pub fn raw(serve: impl Fn(Connection) + Send + Sync + 'static) -> Self {
        Self {
            serve: Arc::new(serve),
            addresses: vec!["93.184.215.14:80".parse().unwrap()],
            connected: Arc::default(),
        }
    }
}

impl CallbackNetwork for OneServer {
    fn resolve<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move {
            if host == "my" {
                return Err(io::ErrorKind::NotFound.into());
            }
            let mut addresses = self.addresses.clone();
            for address in &mut addresses {
                address.set_port(port);
            }
            Ok(addresses)
        })
    }

    fn connect<'a>(&'a self, to: &'a Destination) -> BoxFuture<'a, io::Result<Connection>> {
        Box::pin(async move {
            self.connected.lock().unwrap().push(to.clone());
            if to.host() == "down.example" || to.is_https() {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            (self.serve)(Connection::new(theirs));
            Ok(Connection::new(ours))
        })
    }
}

/// Encodes callback parameters as Base64.
pub fn callback(parameters: &Value) -> String {
    STANDARD.encode(parameters.to_string())
}

/// A body whose pieces the test sends.
pub struct Pieces(pub mpsc::Receiver<Bytes>);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.0.poll_recv(cx);
        piece.map(|piece| piece.map(|data| Ok(Frame::data(data))))
    }
}
