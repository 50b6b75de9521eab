//! The clients of uppy: `signRequest`, and the endpoints of Companion.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tower::ServiceExt as _;
use tower_aliyun_oss::{
    callback::CallbackReply,
    policy::{Grant, OssPresignService, PresignFormat},
    protocol::{ContentType, SizeRange},
};

use super::support::{App, BUCKET, Everybody, ask};

fn grant() -> Grant {
    let size = SizeRange::new(1, 1 << 30).unwrap();
    Grant::under("u/7/".parse().unwrap(), size)
        .content_type(ContentType::MP4)
        .claims(&7)
}

/// The requests that `S3mini` of `@uppy/aws-s3` makes, and what it reads of the responses.
#[tokio::test]
async fn uppy_signs_every_request() {
    let app = App::replying_with(grant(), |location, event| {
        CallbackReply::complete_result(location, event)
    })
    .await;
    let service = app.service.clone().format(PresignFormat::SignRequest);
    let sign = async |body: Value| {
        let (status, mut answer) = ask(&service, body.clone()).await;
        assert_eq!(status, 200, "{answer}");
        answer["method"] = body["method"].clone();
        answer
    };
    let created = sign(json!({"method": "POST", "key": "1-a.mp4"})).await;
    // uppy sends a type of its own, which that of the signer replaces.
    let id = app.send(&created, "").await.assert_ok().element("UploadId");
    let key = &created["key"];
    let part = sign(json!({"method": "PUT", "key": key, "uploadId": id, "partNumber": 1})).await;
    let etag = app.send(&part, vec![7; 1000]).await.assert_ok().etag();
    // After a reload, uppy lists what is there.
    let list = sign(json!({"method": "GET", "key": key, "uploadId": id})).await;
    let listed = app.send(&list, "").await.assert_ok();
    assert_eq!(listed.element("PartNumber"), "1");
    let complete = sign(json!({"method": "POST", "key": key, "uploadId": id})).await;
    let document = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>\
         </CompleteMultipartUpload>"
    );
    let done = app.send(&complete, document).await.assert_ok();
    assert_eq!(done.headers["content-type"], "application/xml");
    let stored = done.element("Key");
    assert!(
        stored.starts_with("u/7/") && stored.ends_with(".mp4"),
        "{stored}"
    );
    assert_eq!(done.element("Location"), app.uploads.object_url(&stored));
    assert_eq!(done.element("Bucket"), BUCKET);
    let seen = app.seen.lock().unwrap().clone();
    assert_eq!(seen, [(Some(7), stored, 1000, "1-a.mp4".to_owned())]);
}

pub async fn fetch(
    service: &OssPresignService<Everybody>,
    method: &str,
    path: &str,
    body: Option<Value>,
) -> (StatusCode, Value) {
    let mut request = Request::builder()
        .method(method)
        .uri(format!("/companion/s3{path}"));
    if body.is_some() {
        request = request.header("content-type", "application/json");
    }
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let request = request.body(Full::<Bytes>::from(body)).unwrap();
    let response = service.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}

/// The requests that `S3Companion` of `@uppy/aws-s3` makes.
#[tokio::test]
async fn companion_creates_lists_and_completes_by_itself() {
    let app = App::start(grant()).await;
    let service = app.service.clone().storage(app.client());
    let get = async |method: &str, path: &str, body: Option<Value>| {
        let (status, answer) = fetch(&service, method, path, body).await;
        assert_eq!(status, 200, "{method} {path}: {answer}");
        answer
    };
    let create = json!({"filename": "a.mp4", "type": "video/mp4", "metadata": {"name": "a"}});
    let created = get("POST", "/multipart", Some(create)).await;
    assert_eq!(created["bucket"], BUCKET);
    let (handle, id) = (
        created["key"].as_str().unwrap(),
        created["uploadId"].as_str().unwrap(),
    );
    let mut parts = Vec::new();
    for number in 1..=2 {
        let path = format!("/multipart/{id}/{number}?key={handle}");
        let mut part = get("GET", &path, None).await;
        assert_eq!(part["expires"], 3600);
        part["method"] = json!("PUT");
        part["headers"] = json!({});
        let size = if number == 1 { 200_000 } else { 5 };
        let etag = app.send(&part, vec![7; size]).await.assert_ok().etag();
        parts.push(json!({"PartNumber": number, "ETag": etag}));
    }
    let path = format!("/multipart/{id}/batch?key={handle}&partNumbers=1,3");
    let batch = get("GET", &path, None).await;
    let urls = batch["presignedUrls"].as_object().unwrap();
    assert_eq!(urls.keys().collect::<Vec<_>>(), ["1", "3"]);

    let listed = get("GET", &format!("/multipart/{id}?key={handle}"), None).await;
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert_eq!(listed[0]["PartNumber"], 1);
    assert_eq!(listed[0]["Size"], 200_000);
    assert_eq!(listed[0]["ETag"], parts[0]["ETag"]);

    let path = format!("/multipart/{id}/complete?key={handle}");
    let done = get("POST", &path, Some(json!({"parts": parts}))).await;
    let stored = done["key"].as_str().unwrap().to_owned();
    assert_eq!(done["location"], app.uploads.object_url(&stored));
    let seen = app.seen.lock().unwrap().clone();
    assert_eq!(seen, [(Some(7), stored, 200_005, "a.mp4".to_owned())]);
    // The upload is over.
    let (status, answer) = fetch(&service, "POST", &path, Some(json!({"parts": parts}))).await;
    assert_eq!(
        (status.as_u16(), &answer["code"]),
        (404, &json!("UnknownUpload"))
    );
}

#[tokio::test]
async fn companion_aborts_and_grants_forms() {
    let app = App::start(grant()).await;
    let service = app.service.clone().storage(app.client());
    let create = json!({"filename": "a.mp4", "type": "video/mp4"});
    let (_, created) = fetch(&service, "POST", "/multipart", Some(create)).await;
    let (handle, id) = (
        created["key"].as_str().unwrap(),
        created["uploadId"].as_str().unwrap(),
    );
    let path = format!("/multipart/{id}?key={handle}");
    let (status, answer) = fetch(&service, "DELETE", &path, None).await;
    assert_eq!((status.as_u16(), answer), (200, json!({})));
    let (status, answer) = fetch(&service, "GET", &path, None).await;
    assert_eq!(
        (status.as_u16(), &answer["code"]),
        (404, &json!("UnknownUpload"))
    );

    let (status, token) = fetch(
        &service,
        "GET",
        "/params?filename=a.mp4&type=video/mp4",
        None,
    )
    .await;
    assert_eq!(status, 200, "{token}");
    assert_eq!(token["method"], "POST");
    assert!(token["fields"]["policy"].is_string(), "{token}");

    for (method, path, status, code) in [
        ("GET", "/multipart/U?key=h".to_owned(), 400, "InvalidHandle"),
        ("GET", "/multipart/U".to_owned(), 400, "InvalidAsk"),
        (
            "GET",
            format!("/multipart/U/10001?key={handle}"),
            400,
            "InvalidPart",
        ),
        (
            "GET",
            format!("/multipart/U?key={handle}&key={handle}"),
            400,
            "InvalidAsk",
        ),
        ("GET", "/sts".to_owned(), 404, "UnknownPath"),
    ] {
        let (found, answer) = fetch(&service, method, &path, None).await;
        assert_eq!(
            (found.as_u16(), &answer["code"]),
            (status, &json!(code)),
            "{path}"
        );
    }
    let path = format!("/multipart/U/complete?key={handle}");
    for body in [
        json!({"parts": [{"PartNumber": 0, "ETag": "a"}]}),
        json!({"parts": [{"PartNumber": 1, "ETag": "</ETag><x>"}]}),
        json!({"parts": "a"}),
        json!({}),
    ] {
        let (status, _) = fetch(&service, "POST", &path, Some(body.clone())).await;
        assert_eq!(status, 400, "{body}");
    }
}

/// The application refuses, so the client of uppy does not get a success.
#[tokio::test]
async fn companion_reports_a_refused_callback() {
    let size = SizeRange::new(1, 100_000).unwrap();
    let app = App::start(Grant::under("u/7/".parse().unwrap(), size)).await;
    let service = app.service.clone().storage(app.client());
    let create = json!({"filename": "a", "size": 5});
    let (_, created) = fetch(&service, "POST", "/multipart", Some(create)).await;
    let (handle, id) = (
        created["key"].as_str().unwrap(),
        created["uploadId"].as_str().unwrap(),
    );
    // Smaller than granted: uppy chooses the parts, and the ticket is for five bytes.
    let (_, mut part) = fetch(
        &service,
        "GET",
        &format!("/multipart/{id}/1?key={handle}"),
        None,
    )
    .await;
    part["method"] = json!("PUT");
    part["headers"] = json!({});
    let etag = app.send(&part, "hello").await.assert_ok().etag();
    let path = format!("/multipart/{id}/complete?key={handle}");
    let body = json!({"parts": [{"PartNumber": 1, "ETag": etag}]});
    let (status, _) = fetch(&service, "POST", &path, Some(body)).await;
    assert_eq!((status.as_u16(), app.runs()), (200, 1));

    let create = json!({"filename": "a", "size": 100_000});
    let (_, created) = fetch(&service, "POST", "/multipart", Some(create)).await;
    let (handle, id) = (
        created["key"].as_str().unwrap(),
        created["uploadId"].as_str().unwrap(),
    );
    // No part at all: the object is empty, and the callback is refused.
    let path = format!("/multipart/{id}/complete?key={handle}");
    let (status, answer) = fetch(&service, "POST", &path, Some(json!({"parts": []}))).await;
    assert_eq!(
        (status.as_u16(), &answer["code"]),
        (502, &json!("CallbackFailed"))
    );
    assert_eq!(app.runs(), 1);
}
