//! Tests plupload, the browser client of Alibaba's sample, with a token in the format of the first
//! samples.

use axum::{Router, response::Html, routing::get, serve::ListenerExt as _};
use http::header::CONTENT_TYPE;
use serde_json::json;
use tokio::net::TcpListener;

use crate::{
    browser::Browser,
    npm::install,
    server::Server,
    uploads::{image, text},
};

const PLUPLOAD: &str = "plupload@2.3.9";

/// The client page. Like that of the sample, it has another origin than the application server.
const PAGE: &str = include_str!("plupload.html");

#[tokio::test]
#[ignore = "needs npm, chromium and chromedriver"]
async fn plupload_uploads_with_the_token_of_the_first_samples() {
    let folder = tempfile::tempdir().unwrap();
    install(folder.path(), &[PLUPLOAD]);
    let script = folder
        .path()
        .join("node_modules/plupload/js/plupload.full.min.js");
    let script = std::fs::read_to_string(script).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let server = Server::start(&["--allow-origin", &origin]);
    let page = PAGE.replace("SERVER", &format!("http://{}", server.address));
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
        axum::serve(
            listener.tap_io(|stream| {
                let _ = stream.set_nodelay(true);
            }),
            app,
        )
        .await
    });

    let browser = Browser::open(&origin).await;
    browser
        .until("document.querySelector('input[type=file]')")
        .await;
    browser
        .choose(&[&text(folder.path()), &image(folder.path())])
        .await;
    browser.until("window.answers.length === 2").await;
    let answers = browser.value("window.answers").await;
    for answer in answers.as_array().unwrap() {
        assert_eq!(answer["status"], 200, "{answers}");
        let body = answer["response"].as_str().unwrap();
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["Status"], "OK", "{answers}");
    }
    let mut objects: Vec<_> = server
        .received()
        .iter()
        .map(|one| one["object"].as_str().unwrap().to_owned())
        .collect();
    objects.sort();
    assert_eq!(
        objects,
        [
            "user-dir-prefix/notes & <b>.txt",
            "user-dir-prefix/pixel.png"
        ]
    );
    assert_eq!(browser.value("window.errors").await, json!([]));
    browser.close().await;
}
