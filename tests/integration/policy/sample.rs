//! The policy service in the format of the sample server, and the signatures of its tokens.

use std::{
    convert::Infallible,
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use serde_json::Value;
use sha1::Sha1;
use tower::{ServiceBuilder, ServiceExt as _};
use tower_aliyun_oss::{
    OssPolicyService,
    policy::{CallbackDirective, Credentials, PolicyBody, PolicyError, PublicDemo},
    protocol::SizeRange,
};
use tower_http::cors::{Any, CorsLayer};

const SECRET: &str = "OtxrzxIsfpFjA7SwPzILwy8Bw21TLhquhboDYROV";

/// 2024-12-31T23:59:30.9Z
fn clock() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(1_735_689_570_900)
}

fn service() -> OssPolicyService<PublicDemo> {
    OssPolicyService::public_demo(
        Credentials::new("44CF9590006BF252F707", SECRET).unwrap(),
        "http://bucket-name.oss-cn-hangzhou.aliyuncs.com"
            .parse()
            .unwrap(),
        "user-dir-prefix/".parse().unwrap(),
        CallbackDirective::new("http://88.88.88.88:8888").unwrap(),
    )
    .unwrap()
    .clock(clock)
    .lifetime(Duration::from_secs(30))
    .unwrap()
}

async fn ask(service: OssPolicyService<PublicDemo>, method: &str) -> (Response<()>, Bytes) {
    let request = Request::builder()
        .method(method)
        .uri("/any/path?x")
        .body(Full::<Bytes>::default());
    let response: Result<Response<PolicyBody>, Infallible> =
        service.oneshot(request.unwrap()).await;
    let (parts, body) = response.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (Response::from_parts(parts, ()), body)
}

#[tokio::test]
async fn a_token_is_that_of_the_sample_server() {
    let (response, body) = ask(service(), "GET").await;
    assert_eq!(response.status(), 200);
    // The order matters: clients of the samples display the text.
    let text = std::str::from_utf8(&body).unwrap();
    let names = [
        "accessid",
        "host",
        "policy",
        "signature",
        "expire",
        "dir",
        "callback",
    ];
    let positions: Vec<_> = names
        .iter()
        .map(|name| text.find(&format!("\"{name}\":")).unwrap())
        .collect();
    assert!(positions.is_sorted());
    let token: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(token.as_object().unwrap().len(), names.len());
    assert_eq!(token["accessid"], "44CF9590006BF252F707");
    assert_eq!(
        token["host"],
        "http://bucket-name.oss-cn-hangzhou.aliyuncs.com"
    );
    assert_eq!(token["dir"], "user-dir-prefix/");
    assert_eq!(token["expire"], 1_735_689_600);

    let policy = STANDARD.decode(token["policy"].as_str().unwrap()).unwrap();
    let policy: Value = serde_json::from_slice(&policy).unwrap();
    assert_eq!(
        policy["expiration"], "2025-01-01T00:00:00.000Z",
        "must equal `expire`"
    );
    // Only fields that the client of the sample sends, including the callback.
    assert_eq!(
        policy["conditions"],
        serde_json::json!([
            ["starts-with", "$key", "user-dir-prefix/"],
            ["content-length-range", 0, 1_048_576_000],
            ["eq", "$success_action_status", "200"],
            { "callback": token["callback"] }
        ])
    );
    let callback = STANDARD
        .decode(token["callback"].as_str().unwrap())
        .unwrap();
    assert_eq!(
        String::from_utf8(callback).unwrap(),
        "{\"callbackUrl\":\"http://88.88.88.88:8888\",\
         \"callbackBody\":\"filename=${object}&size=${size}&mimeType=${mimeType}\
         &height=${imageInfo.height}&width=${imageInfo.width}\",\
         \"callbackBodyType\":\"application/x-www-form-urlencoded\"}"
    );
}

#[tokio::test]
async fn pl_01_the_signature_is_hmac_sha1_over_the_text_that_is_sent() {
    let (_, body) = ask(service(), "GET").await;
    let token: Value = serde_json::from_slice(&body).unwrap();
    let policy = token["policy"].as_str().unwrap();
    let mut mac = Hmac::<Sha1>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(policy.as_bytes());
    assert_eq!(
        token["signature"],
        STANDARD.encode(mac.finalize().into_bytes())
    );
}

#[tokio::test]
async fn pl_32_the_policy_is_padded_standard_base64_in_one_line() {
    let (_, body) = ask(service(), "GET").await;
    let token: Value = serde_json::from_slice(&body).unwrap();
    for field in ["policy", "signature", "callback"] {
        let text = token[field].as_str().unwrap();
        assert_eq!(STANDARD.encode(STANDARD.decode(text).unwrap()), text);
    }
}

#[tokio::test]
async fn pl_23_answers_are_never_stored_and_only_get_asks() {
    let (response, body) = ask(service(), "GET").await;
    let (head, nothing) = ask(service(), "HEAD").await;
    assert_eq!(
        (head.status(), head.headers()),
        (response.status(), response.headers())
    );
    assert!(nothing.is_empty());
    let headers = response.headers();
    assert_eq!(headers["cache-control"], "no-store");
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(headers["content-length"], body.len().to_string());
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert!(!headers.contains_key("etag"));
    assert!(
        !headers
            .keys()
            .any(|name| name.as_str().starts_with("access-control-"))
    );
    for method in ["PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "get"] {
        let (refused, body) = ask(service(), method).await;
        assert_eq!(refused.status(), 405, "{method}");
        assert_eq!(refused.headers()["allow"], "GET, HEAD, POST");
        assert_eq!(refused.headers()["cache-control"], "no-store");
        assert_eq!(
            serde_json::from_slice::<Value>(&body).unwrap()["code"],
            "MethodNotAllowed"
        );
    }
}

#[tokio::test]
async fn cors_is_a_layer_around_it() {
    let cors = CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([http::Method::GET]);
    let app = ServiceBuilder::new().layer(cors).service(service());
    let get = Request::get("/")
        .header("origin", "https://page.example")
        .body(Full::<Bytes>::default());
    let response = app.clone().oneshot(get.unwrap()).await.unwrap();
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
    assert!(
        !response
            .headers()
            .contains_key("access-control-allow-credentials")
    );
    let preflight = Request::options("/")
        .header("origin", "https://page.example")
        .header("access-control-request-method", "GET")
        .body(Full::<Bytes>::default());
    let response = app.oneshot(preflight.unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["access-control-allow-methods"], "GET");
}

#[tokio::test]
async fn pl_11_lifetimes_and_clocks_that_cannot_be() {
    for wrong in [
        Duration::ZERO,
        Duration::from_millis(999),
        Duration::from_secs(604_801),
        Duration::MAX,
    ] {
        assert_eq!(
            service().lifetime(wrong).unwrap_err(),
            PolicyError::Lifetime
        );
    }
    assert!(service().lifetime(Duration::from_secs(604_800)).is_ok());
    let before_1970 = service().clock(|| SystemTime::UNIX_EPOCH - Duration::from_secs(1));
    let (response, body) = ask(before_1970, "GET").await;
    assert_eq!(response.status(), 500);
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(
        serde_json::from_slice::<Value>(&body).unwrap()["code"],
        "PolicyUnavailable"
    );
}

#[tokio::test]
async fn pl_14_the_size_is_in_the_policy() {
    let (_, body) = ask(service().size(SizeRange::new(1, 42).unwrap()), "GET").await;
    let token: Value = serde_json::from_slice(&body).unwrap();
    let policy = STANDARD.decode(token["policy"].as_str().unwrap()).unwrap();
    let policy: Value = serde_json::from_slice(&policy).unwrap();
    assert_eq!(
        policy["conditions"][1],
        serde_json::json!(["content-length-range", 1, 42])
    );
}

#[test]
fn pl_20_the_service_does_not_show_its_secret() {
    let shown = format!("{:?} {:#?}", service(), service());
    assert!(shown.contains("bucket-name.oss-cn-hangzhou") && !shown.contains(SECRET));
}
