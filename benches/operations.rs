//! Measures operations of the emulator over one kept-alive connection: objects of 1 KiB, listings,
//! and uploads that call back.
//!
//! ```text
//! cargo bench -p benches --bench operations [-- OBJECTS]
//! ```
//!
//! `OBJECTS` is the size of the bucket that is listed, by default 100,000. Set `TMPDIR` to an
//! in-memory file system, because a folder store synchronizes each upload.

use std::{
    env,
    error::Error,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use aliyun_oss_emulator::{Acl, Emulator, HostedBucket, ObjectStore};
use axum::{Router, routing::post, serve::ListenerExt as _};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use tokio::{net::TcpListener, runtime::Runtime};
use tower_aliyun_oss::{
    OssCallbackLayer,
    callback::{CallbackReply, VerifiedCallback},
};

const OBJECTS: usize = 100_000;
const BODY: [u8; 1024] = [b'x'; 1024];
/// How long one operation is repeated.
const TIME: Duration = Duration::from_secs(2);
/// The object that the other operations overwrite and read.
const KEY: &str = "one";

fn main() -> Result<(), Box<dyn Error>> {
    // `cargo test --benches` runs this binary too, without `--bench`.
    if !env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let count = env::args().find_map(|argument| argument.parse().ok());
    let count = count.unwrap_or(OBJECTS);
    let runtime = Runtime::new()?;
    let folder = tempfile::tempdir()?;
    for (name, store) in [
        ("memory", ObjectStore::memory(1 << 30)),
        ("folder", ObjectStore::folder(folder.path())?),
    ] {
        let bucket = HostedBucket::new("bucket".parse()?).acl(Acl::PublicReadWrite);
        let emulator = Emulator::builder()
            .bucket(bucket)
            .store(store)
            .allow_private_callbacks()
            .build()?;
        let layer = OssCallbackLayer::new().key_source(emulator.key_source());
        let application = Router::new().route("/", post(on_upload).layer(layer));
        let application = runtime.block_on(serve_application(application))?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        runtime.spawn(emulator.serve(listener));

        let mut client = Client::connect(address)?;
        repeat(name, "put", || client.put(KEY, ""))?;
        repeat(name, "get", || client.get(KEY))?;
        let callback = callback_to(application);
        repeat(name, "put with callback", || client.put(KEY, &callback))?;
        list(name, address, count)?;
    }
    Ok(())
}

async fn on_upload(_: VerifiedCallback) -> CallbackReply {
    CallbackReply::ok()
}

async fn serve_application(router: Router) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        axum::serve(
            listener.tap_io(|stream| {
                let _ = stream.set_nodelay(true);
            }),
            router,
        )
        .await
    });
    Ok(address)
}

fn callback_to(application: SocketAddr) -> String {
    let parameters = format!(
        r#"{{"callbackUrl":"http://{application}/","callbackBody":"bucket=${{bucket}}&object=${{object}}&size=${{size}}"}}"#
    );
    format!("x-oss-callback: {}\r\n", STANDARD.encode(parameters))
}

/// Repeats an operation and prints its rate.
fn repeat(
    store: &str,
    name: &str,
    mut operation: impl FnMut() -> io::Result<()>,
) -> io::Result<()> {
    let start = Instant::now();
    let mut count = 0_u32;
    while start.elapsed() < TIME {
        operation()?;
        count += 1;
    }
    let each = start.elapsed() / count;
    let rate = f64::from(count) / start.elapsed().as_secs_f64();
    println!("{store}: {name}: {rate:.0}/s, {each:.1?} each");
    Ok(())
}

/// Fills the bucket and lists it: the first page, every page, and the folders at the root.
fn list(store: &str, address: SocketAddr, count: usize) -> io::Result<()> {
    let start = Instant::now();
    // Several connections, because each upload into a folder waits for the disk.
    std::thread::scope(|scope| {
        let fill = |worker: usize| {
            let mut client = Client::connect(address)?;
            for at in (worker..count).step_by(8) {
                client.put(&format!("folder-{}/{at:07}", at % 100), "")?;
            }
            Ok(())
        };
        let workers: Vec<_> = (0..8)
            .map(|worker| scope.spawn(move || fill(worker)))
            .collect();
        workers.into_iter().try_for_each(|worker| {
            let filled: io::Result<()> = worker.join().map_err(|_| io::Error::other("panicked"))?;
            filled
        })
    })?;
    println!(
        "{store}: filled with {count} objects in {:.1?}",
        start.elapsed()
    );

    let mut client = Client::connect(address)?;
    let mut pages = 0;
    let start = Instant::now();
    client.page("", "")?;
    println!("{store}: page of 1000: {:.2?}", start.elapsed());
    let start = Instant::now();
    let mut token = String::new();
    loop {
        pages += 1;
        let next = client.page("", &token)?;
        let Some(next) = next else { break };
        token = next;
    }
    println!("{store}: all {pages} pages: {:.2?}", start.elapsed());
    let start = Instant::now();
    client.page("&delimiter=/", "")?;
    println!("{store}: page by delimiter: {:.2?}", start.elapsed());
    Ok(())
}

/// A client with one connection.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::with_capacity(64 * 1024, stream)))
    }

    fn put(&mut self, key: &str, headers: &str) -> io::Result<()> {
        let head = format!(
            "PUT /{key} HTTP/1.1\r\nHost: bucket.localhost\r\n{headers}Content-Length: {}\r\n\r\n",
            BODY.len()
        );
        let mut request = head.into_bytes();
        request.extend_from_slice(&BODY);
        self.ask(&request).map(drop)
    }

    fn get(&mut self, key: &str) -> io::Result<()> {
        let request = format!("GET /{key} HTTP/1.1\r\nHost: bucket.localhost\r\n\r\n");
        let body = self.ask(request.as_bytes())?;
        match body.len() == BODY.len() {
            true => Ok(()),
            false => Err(io::Error::other("another object")),
        }
    }

    /// Reads a page and returns the token of the next one.
    fn page(&mut self, more: &str, token: &str) -> io::Result<Option<String>> {
        let token = match token {
            "" => String::new(),
            token => format!("&continuation-token={}", token.replace('=', "%3D")),
        };
        let request = format!(
            "GET /?list-type=2&max-keys=1000{more}{token} HTTP/1.1\r\nHost: bucket.localhost\r\n\r\n"
        );
        let body = self.ask(request.as_bytes())?;
        let body = String::from_utf8_lossy(&body);
        let next = body.split_once("<NextContinuationToken>");
        let next = next.and_then(|(_, rest)| rest.split_once('<'));
        Ok(next.map(|(token, _)| token.to_owned()))
    }

    /// Sends a request and returns the body of the response, which must be a success.
    fn ask(&mut self, request: &[u8]) -> io::Result<Vec<u8>> {
        self.0.get_mut().write_all(request)?;
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.0.read_line(&mut head)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let head = head.to_ascii_lowercase();
        let length = head.split_once("\r\ncontent-length: ");
        let length = length.and_then(|(_, rest)| rest.split_once("\r\n"));
        let length = length.and_then(|(length, _)| length.parse().ok());
        let mut body = vec![0; length.unwrap_or_default()];
        self.0.read_exact(&mut body)?;
        match head.starts_with("http/1.1 200") {
            true => Ok(body),
            false => Err(io::Error::other(head)),
        }
    }
}
