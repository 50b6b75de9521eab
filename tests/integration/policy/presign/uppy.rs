//! The contract of uppy's `signRequest`.

use serde_json::{Value, json};
use tower_aliyun_oss::{
    policy::{Grant, PresignFormat},
    protocol::{ContentType, SizeRange},
};

use super::support::{Always, Signed, answer, ask, service};

fn grant() -> Grant {
    let size = SizeRange::new(1, 1 << 30).unwrap();
    Grant::under("u/7/".parse().unwrap(), size)
        .content_types([ContentType::MP4, ContentType::PNG])
        .claims(&7)
}

#[tokio::test]
async fn the_key_of_uppy_is_the_handle() {
    let service = service(Always(grant())).format(PresignFormat::SignRequest);
    let created = answer(&service, &json!({"method": "POST", "key": "1-a.mp4"})).await;
    let handle = created["key"].as_str().unwrap();
    let request = Signed::new("POST", created["url"].as_str().unwrap());
    assert!(request.path.starts_with("/u/7/") && request.path.ends_with(".mp4"));
    assert_eq!(created["headers"]["content-type"], "video/mp4");
    let step = async |more: Value| {
        let mut body = more;
        body["key"] = json!(handle);
        body["uploadId"] = json!("U");
        body["expiresIn"] = json!(60);
        let method = body["method"].as_str().unwrap().to_owned();
        let answer = answer(&service, &body).await;
        // Only the first answer names a key.
        assert_eq!(answer.get("key"), None);
        (
            Signed::new(&method, answer["url"].as_str().unwrap()),
            answer,
        )
    };
    let (part, answer_of_part) = step(json!({"method": "PUT", "partNumber": 7})).await;
    assert_eq!(part.path, request.path);
    assert_eq!(part.get("partNumber"), Some("7"));
    assert_eq!(part.get("x-oss-expires"), Some("60"));
    // uppy chooses the size of a part, so no length is signed.
    assert_eq!(part.get("x-oss-additional-headers"), None);
    assert_eq!(answer_of_part["headers"], json!({}));
    let (list, _) = step(json!({"method": "GET"})).await;
    assert_eq!(list.own_query(), [("uploadId".to_owned(), "U".to_owned())]);
    let (complete, answer_of_complete) = step(json!({"method": "POST"})).await;
    assert!(complete.get("callback").is_some());
    assert_eq!(
        answer_of_complete["headers"]["content-type"],
        "application/xml"
    );
    step(json!({"method": "DELETE"})).await;
}

#[tokio::test]
async fn a_file_in_one_request_keeps_its_key() {
    let service = service(Always(grant())).format(PresignFormat::SignRequest);
    let body = json!({"method": "PUT", "key": "a.png", "contentType": "image/png", "size": 5});
    let signed = answer(&service, &body).await;
    let request = Signed::new("PUT", signed["url"].as_str().unwrap());
    let key = signed["key"].as_str().unwrap();
    assert_eq!(request.path, format!("/{key}"));
    assert!(request.get("callback").is_some());
    assert_eq!(
        request.get("x-oss-additional-headers"),
        Some("content-length")
    );
    // The URL is also the location that uppy reports.
    assert_eq!(signed["headers"]["content-type"], "image/png");
}

#[tokio::test]
async fn uppy_gets_no_more_than_is_granted() {
    let service = service(Always(grant())).format(PresignFormat::SignRequest);
    for (body, status, code) in [
        (
            json!({"method": "DELETE", "key": "u/7/a.png"}),
            403,
            "NotGranted",
        ),
        (
            json!({"method": "GET", "key": "u/7/a.png"}),
            403,
            "NotGranted",
        ),
        (
            json!({"method": "POST", "key": "a.exe"}),
            400,
            "TypeRequired",
        ),
        (
            json!({"method": "PUT", "key": "a", "contentType": "text/css"}),
            403,
            "TypeNotGranted",
        ),
        // A plain key is no handle, even one that exists.
        (
            json!({"method": "POST", "key": "u/7/a.png", "uploadId": "U"}),
            400,
            "InvalidHandle",
        ),
        (json!({"action": "create", "size": 1}), 400, "InvalidAsk"),
    ] {
        let (found, answer) = ask(&service, &body).await;
        assert_eq!((found, &answer["code"]), (status, &json!(code)), "{body}");
    }
    let created = answer(&service, &json!({"method": "POST", "key": "a.png"})).await;
    for (number, good) in [(0, false), (1, true), (10_000, true), (10_001, false)] {
        let body = json!({
            "method": "PUT", "key": created["key"], "uploadId": "U", "partNumber": number
        });
        let (status, _) = ask(&service, &body).await;
        assert_eq!(status == 200, good, "{number}");
    }
}

/// Otherwise OSS refuses each part whose length uppy chooses.
#[tokio::test]
async fn uppy_chooses_the_parts_of_a_file_whose_size_it_sends() {
    let service = service(Always(grant())).format(PresignFormat::SignRequest);
    let created = json!({"method": "POST", "key": "a.mp4", "size": 20 << 20});
    let handle = answer(&service, &created).await["key"].clone();
    // Four parts of 5 MiB. Parts of 8 MiB would be three.
    for number in 1..=4 {
        let part = json!({"method": "PUT", "key": handle, "uploadId": "U", "partNumber": number});
        let signed = answer(&service, &part).await;
        let request = Signed::new("PUT", signed["url"].as_str().unwrap());
        assert_eq!(request.get("x-oss-additional-headers"), None);
    }
}

/// There is no ticket that bounds the size, so the URLs must.
#[tokio::test]
async fn ps_08_no_upload_without_a_callback_is_of_any_size() {
    let size = SizeRange::new(1, 1 << 20).unwrap();
    let grant = Grant::under("u/7/".parse().unwrap(), size)
        .content_type(ContentType::MP4)
        .without_callback();
    let service = service(Always(grant)).format(PresignFormat::SignRequest);
    for body in [
        json!({"method": "POST", "key": "a.mp4"}),
        json!({"method": "POST", "key": "a.mp4", "size": 5}),
        json!({"method": "PUT", "key": "a.mp4"}),
    ] {
        let (status, error) = ask(&service, &body).await;
        assert_eq!(
            (status, &error["code"]),
            (500, &json!("PolicyUnavailable")),
            "{body}"
        );
    }
    let put = json!({"method": "PUT", "key": "a.mp4", "size": 5});
    let signed = answer(&service, &put).await;
    let request = Signed::new("PUT", signed["url"].as_str().unwrap());
    assert_eq!(
        request.get("x-oss-additional-headers"),
        Some("content-length")
    );
    assert_eq!(request.get("callback"), None);
}
