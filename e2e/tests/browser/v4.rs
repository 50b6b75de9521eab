//! Tests the browser client of Alibaba's current sample, with tokens in the format of signature
//! version 4.
//!
//! The page is not that of the sample, but reads and sends the same. To run another page, such as
//! the one in the archives of the sample, name its file in `V4_SAMPLE_PAGE`.

use axum::{Router, response::Html, routing::get};
use serde_json::{Value, json};
use tower_aliyun_oss::policy::TokenFormat;

use crate::{
    browser::Browser,
    upload_app::{Options, UploadApp},
    uploads::{image, text},
};

/// Reads a page with a form, a file input `#file`, and `#callback-content` for the response.
fn page() -> String {
    match std::env::var_os("V4_SAMPLE_PAGE") {
        Some(path) => std::fs::read_to_string(path).unwrap(),
        None => include_str!("v4.html").to_owned(),
    }
}

#[tokio::test]
#[ignore = "needs chromium and chromedriver"]
async fn the_page_of_the_current_sample_uploads_with_a_token_of_version_4() {
    let folder = tempfile::tempdir().unwrap();
    for sts in [false, true] {
        let options = Options {
            format: TokenFormat::V4,
            sts,
        };
        let app = UploadApp::start(options, |_| {
            Router::new().route("/", get(|| async { Html(page()) }))
        })
        .await;
        let browser = Browser::open("about:blank").await;
        for client in ["constant", "java", "python"] {
            for file in [text(folder.path()), image(folder.path())] {
                let url = format!("{}/?client={client}", app.origin);
                browser.client.goto(&url).await.unwrap();
                browser.choose(&[&file]).await;
                browser.click("button[type=submit]").await;
                let content = "document.querySelector('#callback-content').textContent";
                browser.until(&format!("{content} !== ''")).await;
                let answer = browser.value(content).await;
                let answer: Value = serde_json::from_str(answer.as_str().unwrap()).unwrap();
                assert_eq!(answer, json!({ "Status": "OK" }), "{client}, STS {sts}");
                let object = format!("up/{}", file.file_name().unwrap().to_str().unwrap());
                let size = std::fs::metadata(&file).unwrap().len();
                let seen = app.seen();
                assert_eq!(seen.len(), 1, "{seen:?}");
                assert_eq!((&seen[0].0, seen[0].1), (&object, size));
                assert!(app.stored().await.contains(&(object, size)));
            }
        }
        let errors: Vec<_> = browser.console().await;
        let errors: Vec<_> = errors
            .iter()
            .filter(|entry| entry["level"] != "INFO")
            .collect();
        assert_eq!(errors, Vec::<&Value>::new());
        browser.close().await;
    }
}
