//! Downloads of private objects.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tower_aliyun_oss::{
    policy::Grant,
    protocol::{ContentType, ObjectPrefix, SizeRange},
};

use super::support::{App, Everybody, MIB, Reply, ask};

/// 4 pixels wide, 2 high.
const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAQAAAACCAIAAADwyuo0AAAAEElEQVR42mP4z8AARwzIHABvqgf5aN2v\
                   pwAAAABJRU5ErkJggg==";

const HALF: &str = "image/resize,w_2";

fn prefix() -> ObjectPrefix {
    "photo/7/".parse().unwrap()
}

/// Uploads the image. Returns it, and its key.
async fn stored() -> (App, Vec<u8>, String) {
    let grant = Grant::under(prefix(), SizeRange::new(1, MIB).unwrap());
    let app = App::start(grant.content_type(ContentType::PNG)).await;
    let image = STANDARD.decode(PNG).unwrap();
    let created = app.create("a.png", image.len() as u64, "image/png").await;
    let put = json!({"action": "put", "handle": created["handle"]});
    let put = app.signed(put).await;
    app.send(&put["request"], image.clone()).await.assert_ok();
    (app, image, created["key"].as_str().unwrap().to_owned())
}

async fn signed(app: &App, body: Value) -> Value {
    let read = Grant::read(prefix()).process(HALF);
    let service = app.uploads.presign_service(Everybody(read)).unwrap();
    let (status, mut signed) = ask(&service, body).await;
    assert_eq!(status, 200, "{signed}");
    signed["request"].take()
}

fn header<'a>(reply: &'a Reply, name: &str) -> &'a str {
    reply.headers[name].to_str().unwrap()
}

#[tokio::test]
async fn ps_11_a_download_has_the_name_that_is_asked_for() {
    let (app, image, key) = stored().await;
    let plain = signed(&app, json!({"action": "get", "key": key})).await;
    let reply = app.send(&plain, "").await.assert_ok();
    assert_eq!(reply.body, image);
    assert_eq!(header(&reply, "content-type"), "image/png");
    assert!(!reply.headers.contains_key("content-disposition"));

    let body = json!({"action": "get", "key": key, "download": "Ferien \"1\" é.png"});
    let named = signed(&app, body).await;
    let reply = app.send(&named, "").await.assert_ok();
    assert_eq!(reply.body, image);
    assert_eq!(
        header(&reply, "content-disposition"),
        "attachment; filename=\"Ferien _1_ _.png\"; filename*=UTF-8''Ferien%20%221%22%20%C3%A9.png"
    );
    // Neither the name nor its presence can be changed.
    let url = named["url"].as_str().unwrap();
    assert!(url.contains("Ferien"));
    for changed in [
        url.replace("Ferien", "Urlaub"),
        url.replace("response-content-disposition", "response-content-type"),
        format!("{url}&response-content-type=text%2Fhtml"),
    ] {
        let mut request = named.clone();
        request["url"] = json!(changed);
        let refused = app.send(&request, "").await;
        refused.assert_code(403, "SignatureDoesNotMatch");
    }
}

#[tokio::test]
async fn ps_11_a_download_is_processed_as_granted() {
    let (app, _, key) = stored().await;
    let body = json!({"action": "get", "key": key, "process": HALF, "download": "half.png"});
    let half = signed(&app, body).await;
    let reply = app.send(&half, "").await.assert_ok();
    assert_eq!(header(&reply, "content-type"), "image/png");
    assert!(header(&reply, "content-disposition").starts_with("attachment; filename=\"half.png\""));
    // The width and the height follow the signature and the head of the first chunk.
    let dimension = |at: usize| u32::from_be_bytes(reply.body[at..at + 4].try_into().unwrap());
    assert_eq!((dimension(16), dimension(20)), (2, 1));
    let mut more = half.clone();
    more["url"] = json!(half["url"].as_str().unwrap().replace("w_2", "w_3"));
    let refused = app.send(&more, "").await;
    refused.assert_code(403, "SignatureDoesNotMatch");
}

#[tokio::test]
async fn ps_09_a_download_expires() {
    let (app, ..) = stored().await;
    let missing = signed(&app, json!({"action": "get", "key": "photo/7/none.png"})).await;
    app.send(&missing, "").await.assert_code(404, "NoSuchKey");
    let lifetime = 15 * 60;
    app.ahead
        .store(lifetime + 1, std::sync::atomic::Ordering::SeqCst);
    app.send(&missing, "")
        .await
        .assert_code(403, "AccessDenied");
}
