//! Fuzzes a policy request, given as a query and a JSON body separated by a line feed. No request
//! may widen the grant.
#![no_main]

use std::sync::LazyLock;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{Request, request::Parts};
use http_body_util::{BodyExt as _, Full};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tower::ServiceExt as _;
use tower_aliyun_oss::{
    OssPolicyService,
    policy::{CallbackDirective, Credentials, Grant, Refusal},
    protocol::SizeRange,
};

async fn authorize(_: &Parts) -> Result<Grant, Refusal> {
    let size = SizeRange::new(1, 1000).map_err(|_| Refusal::forbidden())?;
    let prefix = "user/7/".parse().map_err(|_| Refusal::forbidden())?;
    Ok(Grant::under(prefix, size).any_content_type().max_files(50))
}

fn service() -> OssPolicyService<impl tower_aliyun_oss::policy::Authorize> {
    OssPolicyService::new(
        authorize,
        Credentials::new("id", "secret").expect("the credentials are valid"),
        "examplebucket".parse().expect("the bucket name is valid"),
        "cn-hangzhou".parse().expect("the region is valid"),
        CallbackDirective::new("https://app.example/cb").expect("the callback URL is valid"),
    )
    .expect("the configuration is valid")
}

static TEXT: LazyLock<&str> = LazyLock::new(|| "application/json");

fuzz_target!(|data: &[u8]| {
    let mut halves = data.splitn(2, |byte| *byte == b'\n');
    let query = halves.next().unwrap_or_default();
    let body = halves.next().unwrap_or_default();
    let uri = [b"/?", query].concat();
    let request = Request::post(&uri[..])
        .header("content-type", *TEXT)
        .body(Full::new(Bytes::copy_from_slice(body)));
    let Ok(request) = request else { return };
    let response = service().oneshot(request).now_or_never();
    let response = response
        .expect("nothing waits")
        .expect("the service is infallible");
    let status = response.status().as_u16();
    let body = response.into_body().collect().now_or_never();
    let body = body
        .expect("nothing waits")
        .expect("the body is infallible")
        .to_bytes();
    let answer: Value = serde_json::from_slice(&body).expect("every response is JSON");
    match status {
        200 => {
            let uploads = answer["uploads"].as_array().cloned();
            for token in uploads.unwrap_or_else(|| vec![answer]) {
                let key = token["key"].as_str().expect("a token has a key");
                assert!(key.starts_with("user/7/") && !key["user/7/".len()..].contains('/'));
            }
        }
        400 | 403 | 413 | 422 => assert!(answer["code"].is_string()),
        other => panic!("status {other}"),
    }
});
