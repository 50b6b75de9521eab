//! Fuzzes a request to the service that signs URLs, and the handle in it. The text `@` stands for a
//! lawful handle. Nothing outside of the grant may be signed, and no other handle may be accepted.
#![no_main]

use std::{sync::LazyLock, time::SystemTime};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{Request, request::Parts};
use http_body_util::{BodyExt as _, Full};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tower::ServiceExt as _;
use tower_aliyun_oss::{
    OssUploads,
    policy::{Authorize, Credentials, Grant, OssPresignService, PresignFormat, Refusal},
    protocol::SizeRange,
    ticket::TicketKey,
};

async fn authorize(_: &Parts) -> Result<Grant, Refusal> {
    let size = SizeRange::new(1, 20 << 20).map_err(|_| Refusal::forbidden())?;
    let prefix = "user/7/".parse().map_err(|_| Refusal::forbidden())?;
    Ok(Grant::under(prefix, size).any_content_type())
}

fn service() -> OssPresignService<impl Authorize> {
    let key = std::array::from_fn::<_, 32, _>(|n| n as u8);
    let uploads = OssUploads::builder(
        "examplebucket".parse().expect("the bucket name is valid"),
        Credentials::new("id", "secret").expect("the credentials are valid"),
    )
    .region("cn-hangzhou".parse().expect("the region is valid"))
    .callback_url("https://app.example/cb")
    .ticket_key(TicketKey::from_bytes(&key).expect("the key is valid"))
    .build()
    .expect("the configuration is valid");
    let service = uploads
        .presign_service(authorize)
        .expect("there are tickets");
    service.clock(|| SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_735_689_570))
}

fn ask<A: Authorize>(service: OssPresignService<A>, body: Vec<u8>) -> (u16, Value) {
    let request = Request::post("/")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))
        .expect("the request is valid");
    let response = service.oneshot(request).now_or_never();
    let response = response
        .expect("nothing waits")
        .expect("the service is infallible");
    let status = response.status().as_u16();
    let body = response.into_body().collect().now_or_never();
    let body = body
        .expect("nothing waits")
        .expect("the body is infallible")
        .to_bytes();
    (
        status,
        serde_json::from_slice(&body).expect("every response is JSON"),
    )
}

static HANDLE: LazyLock<String> = LazyLock::new(|| {
    let create = br#"{"action":"create","filename":"a.bin","size":10000000}"#;
    let (status, answer) = ask(service(), create.to_vec());
    assert_eq!(status, 200, "{answer}");
    answer["handle"]
        .as_str()
        .expect("there is a handle")
        .to_owned()
});

fuzz_target!(|data: &[u8]| {
    let mut body = Vec::new();
    for byte in data {
        match byte {
            b'@' => body.extend(HANDLE.as_bytes()),
            byte => body.push(*byte),
        }
    }
    let formats = [PresignFormat::Json, PresignFormat::SignRequest];
    for format in formats {
        let (status, answer) = ask(service().format(format), body.clone());
        match status {
            200 => {
                let single = std::slice::from_ref(&answer);
                for part in answer["parts"].as_array().map_or(single, |parts| parts) {
                    let url = part["request"]["url"].as_str().or(part["url"].as_str());
                    let url = url.expect("an answer has a URL");
                    let start = "https://examplebucket.oss-cn-hangzhou.aliyuncs.com/user/7/";
                    let key = url
                        .strip_prefix(start)
                        .expect("the key is under the prefix");
                    let (key, _) = key.split_once('?').expect("the URL is signed");
                    assert!(!key.contains('/') && !key.contains('%'), "{url}");
                }
            }
            400 | 403 | 410 | 413 => assert!(answer["code"].is_string()),
            other => panic!("status {other}"),
        }
    }
});
