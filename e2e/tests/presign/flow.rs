//! Uploads, step by step.

use serde_json::json;
use tower_aliyun_oss::{
    policy::Grant,
    protocol::{ContentType, SizeRange},
};

use super::support::{App, MIB};

fn videos() -> Grant {
    let size = SizeRange::new(0, 80 << 30).unwrap();
    Grant::under("video/7/".parse().unwrap(), size)
        .content_types(ContentType::VIDEOS)
        .claims(&7)
}

#[tokio::test]
async fn a_file_is_uploaded_in_parts() {
    let app = App::start(videos()).await;
    let size = 20 * MIB + 5;
    let created = app.create("holiday.mp4", size, "video/mp4").await;
    assert_eq!(created["partSize"], 8 * MIB);
    assert_eq!(created["partCount"], 3);
    assert_eq!(created["size"], size);
    assert_eq!(created["type"], "video/mp4");
    let key = created["key"].as_str().unwrap().to_owned();
    assert!(
        key.starts_with("video/7/") && key.ends_with(".mp4"),
        "{key}"
    );

    let id = app.initiate(&created).await;
    let document = app.upload_parts(&created, &id, &[3, 1, 2]).await;
    // The client sorts the parts by number.
    let mut parts: Vec<_> = document
        .trim_start_matches("<CompleteMultipartUpload>")
        .trim_end_matches("</CompleteMultipartUpload>")
        .split_inclusive("</Part>")
        .collect();
    parts.sort_unstable();
    let document = format!(
        "<CompleteMultipartUpload>{}</CompleteMultipartUpload>",
        parts.concat()
    );

    let list = app.step("list", &created, &id).await;
    let listing = app.send(&list, "").await.assert_ok().text();
    assert_eq!(listing.matches("<Part>").count(), 3, "{listing}");

    let complete = app.step("complete", &created, &id).await;
    let reply = app.send(&complete, document).await.assert_ok();
    assert_eq!(reply.text(), r#"{"Status":"OK"}"#);
    let seen = app.seen.lock().unwrap().clone();
    assert_eq!(
        seen,
        [(Some(7), key.clone(), size, "holiday.mp4".to_owned())]
    );
}

#[tokio::test]
async fn a_small_file_is_uploaded_at_once() {
    let app = App::start(videos()).await;
    let created = app.create("a.mp4", 5, "video/mp4").await;
    let ask = json!({"action": "put", "handle": created["handle"]});
    let put = app.signed(ask).await;
    app.send(&put["request"], "hello").await.assert_ok();
    assert_eq!(app.runs(), 1);
    // The length is signed.
    for body in ["", "hell", "hello!"] {
        let created = app.create("a.mp4", 5, "video/mp4").await;
        let put = app
            .signed(json!({"action": "put", "handle": created["handle"]}))
            .await;
        let refused = app.send(&put["request"], body).await;
        refused.assert_code(403, "SignatureDoesNotMatch");
    }
    assert_eq!(app.runs(), 1);
}

#[tokio::test]
async fn an_upload_is_aborted() {
    let app = App::start(videos()).await;
    let created = app.create("a.mp4", 9 * MIB, "video/mp4").await;
    let id = app.initiate(&created).await;
    app.upload_parts(&created, &id, &[1]).await;
    let abort = app.step("abort", &created, &id).await;
    app.send(&abort, "").await.assert_ok();
    let list = app.step("list", &created, &id).await;
    app.send(&list, "").await.assert_code(404, "NoSuchUpload");
}
