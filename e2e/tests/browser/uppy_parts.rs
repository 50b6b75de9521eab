//! Tests `@uppy/aws-s3` in parts with Golden Retriever, both unchanged from npm, and the snippets
//! of the guides.

use axum::{Router, response::Html, routing::get};
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};
use tower_aliyun_oss::policy::PresignFormat;

use crate::{
    browser::Browser,
    libraries::{CLIENTS, block},
    many::throttle,
    npm::{bundle, install},
    parts_app::{PartsApp, write_file},
};

const PACKAGES: [&str; 4] = [
    "esbuild@0.28.2",
    "@uppy/core@6.3.1",
    "@uppy/aws-s3@6.3.1",
    "@uppy/golden-retriever@6.0.0",
];

const PRESIGN: &str = include_str!("../../../docs/presign.md");

/// Five parts: uppy's are of 5 MiB at least.
const SIZE: u64 = 24 << 20;

const PAGE: &str = "<!doctype html><meta charset=utf-8><title>uppy</title>
    <input id=pick type=file><script src='/uppy.js'></script>";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs npm, chromium and chromedriver"]
async fn uppy_resumes_in_parts_after_a_reload() {
    let folder = tempfile::tempdir().unwrap();
    install(folder.path(), &PACKAGES);
    let snippets = [
        block(CLIENTS, "uppy.use(GoldenRetriever,"),
        block(PRESIGN, "uppy.use(AwsS3,"),
    ];
    let script =
        include_str!("libraries/uppy-parts.js").replace("/* snippets */", &snippets.join("\n"));
    let script = bundle(folder.path(), "uppy", &script);
    let pages = Router::new()
        .route("/", get(|| async { Html(PAGE) }))
        .route(
            "/uppy.js",
            get(|| async { ([(CONTENT_TYPE, "text/javascript")], script) }),
        );
    let film = folder.path().join("film.mp4");
    let crc = write_file(&film, SIZE);
    let objects = folder.path().join("oss");
    let app = PartsApp::start(&objects, Vec::new(), PresignFormat::SignRequest, pages).await;

    let browser = Browser::open(&app.origin).await;
    browser.devtools("Network.enable", json!({})).await;
    throttle(&browser, 4 << 20).await;
    browser.until("window.uppy").await;
    browser.choose_in("#pick", &[&film]).await;
    // The third part is on its way.
    browser
        .until("window.uppy.getFiles()[0]?.progress.bytesUploaded > 11 * 1024 * 1024")
        .await;
    assert_eq!(browser.value("window.outcome ?? null").await, Value::Null);
    browser.client.refresh().await.unwrap();
    browser.until("window.restored").await;
    let ghost = "window.uppy.getFiles().map((file) => file.isGhost)";
    assert_eq!(browser.value(ghost).await, json!([false]));
    // What the button "Resume" of uppy's dashboard does.
    browser.run("window.uppy.emit('restore-confirmed')").await;
    browser.until("window.outcome").await;
    assert_eq!(browser.value("window.outcome").await, "done");

    let seen = app.seen();
    assert_eq!(seen.len(), 1, "{seen:?}");
    let (key, size, content_type) = &seen[0];
    assert_eq!((*size, &**content_type), (SIZE, "video/mp4"));
    app.assert_stored(key, SIZE, crc).await;
    let body = browser.value("window.body").await;
    assert_eq!(body["key"], **key, "{body}");
    let location = body["location"].as_str().unwrap();
    assert!(location.ends_with(&format!("/{key}")), "{location}");
    // Parts that were stored before the reload were not sent again.
    let counts = app.counts();
    println!("{counts:?}");
    let stored: Vec<_> = counts.stored.into_iter().collect();
    assert_eq!(stored, [(1, 1), (2, 1), (3, 1), (4, 1), (5, 1)]);
    browser.close().await;
}
