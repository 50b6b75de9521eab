//! Tests plupload, the browser client of Alibaba's sample, with a token in the format of the first
//! samples.

use std::{
    future::Future,
    io::{self, BufRead as _, BufReader},
    net::SocketAddr,
    path::Path,
    pin::Pin,
    process::{Child, Command, Stdio},
    sync::{Arc, OnceLock},
};

use aliyun_oss_emulator::{
    AccessKey, CallbackNetwork, Connection, CorsRule, Destination, Emulator, HostedBucket,
    SystemNetwork,
};
use axum::{Router, response::Html, routing::get, serve::ListenerExt as _};
use http::header::CONTENT_TYPE;
use serde_json::json;
use tokio::net::TcpListener;

use crate::{
    browser::Browser,
    npm::install,
    server::{Server, example},
    uploads::{image, text},
};

const PLUPLOAD: &str = "plupload@2.3.9";

/// The client page. Like that of the sample, it has another origin than the application server.
const PAGE: &str = include_str!("plupload.html");

/// The server of the page, before it knows its application server.
struct Page {
    listener: TcpListener,
    origin: String,
    script: String,
}

impl Page {
    async fn bind(folder: &Path) -> Self {
        install(folder, &[PLUPLOAD]);
        let script = folder.join("node_modules/plupload/js/plupload.full.min.js");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self {
            origin: format!("http://{}", listener.local_addr().unwrap()),
            script: std::fs::read_to_string(script).unwrap(),
            listener,
        }
    }

    /// Serves the page, which requests tokens from `tokens`, and uploads two files with it. Returns
    /// when both are stored, and answered by the application server.
    async fn upload(self, tokens: &str, folder: &Path) {
        let page = PAGE.replace("TOKENS", tokens);
        let script = self.script;
        let app = Router::new()
            .route("/", get(|| async { Html(page) }))
            .route(
                "/plupload.js",
                get(|| async { ([(CONTENT_TYPE, "text/javascript")], script) }),
            )
            .route(
                "/favicon.ico",
                get(|| async { http::StatusCode::NO_CONTENT }),
            );
        tokio::spawn(async move {
            let listener = self.listener.tap_io(|stream| {
                let _ = stream.set_nodelay(true);
            });
            axum::serve(listener, app).await
        });
        let browser = Browser::open(&self.origin).await;
        browser
            .until("document.querySelector('input[type=file]')")
            .await;
        browser.choose(&[&text(folder), &image(folder)]).await;
        browser.until("window.answers.length === 2").await;
        let answers = browser.value("window.answers").await;
        for answer in answers.as_array().unwrap() {
            assert_eq!(answer["status"], 200, "{answers}");
            let body = answer["response"].as_str().unwrap();
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!(body["Status"], "OK", "{answers}");
        }
        assert_eq!(browser.value("window.errors").await, json!([]));
        browser.close().await;
    }
}

const STORED: [&str; 2] = [
    "user-dir-prefix/notes & <b>.txt",
    "user-dir-prefix/pixel.png",
];

#[tokio::test]
#[ignore = "needs npm, chromium and chromedriver"]
async fn plupload_uploads_with_the_token_of_the_first_samples() {
    let folder = tempfile::tempdir().unwrap();
    let page = Page::bind(folder.path()).await;
    let server = Server::start(&["--allow-origin", &page.origin]);
    let tokens = format!("http://{}/oss/policy/legacy", server.address);
    page.upload(&tokens, folder.path()).await;
    let mut objects: Vec<_> = server
        .received()
        .iter()
        .map(|one| one["object"].as_str().unwrap().to_owned())
        .collect();
    objects.sort();
    assert_eq!(objects, STORED);
}

/// Calls the application server whatever the host of the callback URL is.
struct ToApp(Arc<OnceLock<SocketAddr>>, SystemNetwork);

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl CallbackNetwork for ToApp {
    fn resolve<'a>(&'a self, _: &'a str, _: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async { Ok(self.0.get().into_iter().copied().collect()) })
    }

    fn connect<'a>(&'a self, to: &'a Destination) -> BoxFuture<'a, io::Result<Connection>> {
        self.1.connect(to)
    }
}

/// The example `appserver`, killed when it is dropped.
struct AppServer(Child);

impl AppServer {
    /// Starts it for uploads to `host`, and returns it with its address.
    fn start(host: &str) -> (Self, SocketAddr) {
        let key = concat!(env!("CARGO_MANIFEST_DIR"), "/../src/testing/public_key.pem");
        let mut child = Command::new(example().with_file_name("appserver"))
            .args(["127.0.0.1", "0"])
            .env_clear()
            .envs([
                ("OSS_ACCESS_KEY_ID", "test-id"),
                ("OSS_ACCESS_KEY_SECRET", "test-secret"),
                ("OSS_HOST", host),
                ("OSS_BUCKET", "examplebucket"),
                ("OSS_CALLBACK_URL", "http://app.example"),
                ("OSS_CALLBACK_PUBLIC_KEY", key),
                (
                    "OSS_TICKET_KEY",
                    "R9ELuV7H0+1D0zn6CAbYXrpPEMqXxGXnDhLg4Lf0bLA=",
                ),
            ])
            .stdout(Stdio::piped())
            .spawn()
            .expect("needs: cargo build --example appserver --features axum");
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening on http://") {
            line.clear();
            assert_ne!(stdout.read_line(&mut line).unwrap(), 0, "it stopped");
        }
        let (_, address) = line.trim().split_once("listening on http://").unwrap();
        let address = address.trim_end_matches('/').parse().unwrap();
        (Self(child), address)
    }
}

impl Drop for AppServer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The drop-in and the emulator, in place of the sample server and OSS.
#[tokio::test]
#[ignore = "needs npm, chromium and chromedriver"]
async fn issue_20_line_10_plupload_uploads_with_the_token_of_appserver() {
    let folder = tempfile::tempdir().unwrap();
    let page = Page::bind(folder.path()).await;
    let app = Arc::default();
    let bucket = HostedBucket::new("examplebucket".parse().unwrap());
    let emulator = Emulator::builder()
        .bucket(bucket.cors(CorsRule::any_origin()))
        .access_key(AccessKey::new("test-id", "test-secret"))
        .network(ToApp(Arc::clone(&app), SystemNetwork::new()))
        .allow_private_callbacks()
        .build()
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = format!("http://{}/examplebucket", listener.local_addr().unwrap());
    let oss = emulator.clone();
    tokio::spawn(async move { oss.serve(listener).await });
    let (_server, address) = AppServer::start(&host);
    app.set(address).unwrap();
    page.upload(&format!("http://{address}"), folder.path())
        .await;
    let bucket = "examplebucket".parse().unwrap();
    let stored = emulator.store().list(&bucket).await.unwrap();
    let stored: Vec<_> = stored.iter().map(|object| object.key()).collect();
    assert_eq!(stored, STORED);
}
