//! The policy service mounted in axum and hyper, under a real `CorsLayer`.

use axum::{Router, extract::Request as AxumRequest, middleware, routing::get_service};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header, request::Parts};
use http_body_util::BodyExt as _;
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use serde_json::Value;
use tokio::io::duplex;
use tower::{Layer as _, ServiceExt as _};
use tower_aliyun_oss::{
    policy::{Grant, Refusal},
    protocol::{ObjectPrefix, SizeRange},
};
use tower_http::{
    cors::{AllowOrigin, CorsLayer},
    csrf::CsrfLayer,
};

use crate::support::tokens::{everybody, get_over, is_token, tokens};

const PAGE: &str = "https://page.example";

/// Inserted by a session layer.
#[derive(Clone, Copy)]
struct UserId(u64);

async fn authorize(parts: &Parts) -> Result<Grant, Refusal> {
    let UserId(user) = *parts.extensions.get().ok_or_else(Refusal::unauthorized)?;
    let prefix = ObjectPrefix::from_segments(["user", &user.to_string()]).unwrap();
    Ok(Grant::under(prefix, SizeRange::new(1, 1000).unwrap()))
}

/// As in the browser guide: one allowed origin, with cookies.
fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(AllowOrigin::exact(HeaderValue::from_static(PAGE)))
        .allow_credentials(true)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([header::CONTENT_TYPE])
}

fn session(mut request: AxumRequest) -> AxumRequest {
    if request.headers().contains_key("cookie") {
        request.extensions_mut().insert(UserId(7));
    }
    request
}

async fn ask(app: &Router, request: Request<axum::body::Body>) -> (Response<()>, Bytes) {
    let response = app.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (Response::from_parts(parts, ()), body)
}

fn request(method: &str, uri: &str, headers: &[(&str, &str)]) -> Request<axum::body::Body> {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(axum::body::Body::empty()).unwrap()
}

#[tokio::test]
async fn axum_mounts() {
    let service = || tokens(authorize);
    let with_session = middleware::map_request(|request: AxumRequest| async { session(request) });
    for (mount, app, uri) in [
        (
            "route_service",
            Router::new().route_service("/oss/policy", service()),
            "/oss/policy",
        ),
        (
            "nest_service",
            Router::new().nest_service("/oss", service()),
            "/oss/policy",
        ),
        (
            "nested router",
            Router::new().nest("/oss", Router::new().route_service("/policy", service())),
            "/oss/policy",
        ),
        (
            "get_service",
            Router::new().route(
                "/oss/policy",
                get_service(service()).post_service(service()),
            ),
            "/oss/policy",
        ),
        (
            "fallback_service",
            Router::new().fallback_service(service()),
            "/oss/policy",
        ),
    ] {
        let app = app.layer(with_session.clone()).layer(cors());
        let cookie = ("cookie", "session=seven");
        let (response, body) = ask(&app, request("GET", uri, &[("origin", PAGE), cookie])).await;
        assert_eq!(response.status(), 200, "{mount}");
        assert_eq!(response.headers()["access-control-allow-origin"], PAGE);
        // For requests that are not CORS only: `script`, `img`, `fetch` with `no-cors`.
        assert_eq!(
            response.headers()["cross-origin-resource-policy"],
            "same-origin"
        );
        let token: Value = serde_json::from_slice(&body).unwrap();
        assert!(token["key"].as_str().unwrap().starts_with("user/7/"));

        // Before it posts JSON, a browser sends a preflight without cookies.
        let preflight = [
            ("origin", PAGE),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "content-type"),
        ];
        let (response, body) = ask(&app, request("OPTIONS", uri, &preflight)).await;
        assert_eq!(response.status(), 200, "{mount}");
        assert!(body.is_empty());
        let headers = response.headers();
        assert_eq!(headers["access-control-allow-origin"], PAGE);
        assert_eq!(headers["access-control-allow-methods"], "GET,POST");
        assert_eq!(headers["access-control-allow-headers"], "content-type");
        assert_eq!(headers["access-control-allow-credentials"], "true");

        let mut post = request("POST", uri, &[("content-type", "application/json"), cookie]);
        *post.body_mut() = r#"{"filename":"a.png","size":5}"#.into();
        let (response, body) = ask(&app, post).await;
        assert_eq!(response.status(), 200, "{mount}");
        let token: Value = serde_json::from_slice(&body).unwrap();
        assert!(token["key"].as_str().unwrap().ends_with(".png"));

        let (response, _) = ask(&app, request("GET", uri, &[])).await;
        assert_eq!(response.status(), 401, "{mount}");
    }
}

#[tokio::test]
async fn pl_24_no_other_origin_is_let_in() {
    let app = Router::new().route_service("/", tokens(everybody));
    let bare = app.clone();
    let app = app.layer(cors());
    for origin in [
        "null",
        "https://evil.example",
        "https://page.example.evil.example",
        "https://evilpage.example",
        "https://PAGE.example",
        "http://page.example",
        "https://page.example:8443",
    ] {
        for method in ["GET", "OPTIONS"] {
            let headers = [("origin", origin), ("access-control-request-method", "GET")];
            let (response, _) = ask(&app, request(method, "/", &headers)).await;
            // Only `PAGE` is allowed.
            let allowed = response.headers().get("access-control-allow-origin");
            assert!(allowed.is_none_or(|allowed| allowed == PAGE), "{origin}");
        }
    }
    // Without the layer, the service sends no CORS headers and rejects preflights.
    let (response, _) = ask(&bare, request("GET", "/", &[("origin", PAGE)])).await;
    let cors_headers = response.headers().keys();
    assert_eq!(
        cors_headers
            .filter(|name| name.as_str().starts_with("access-control"))
            .count(),
        0
    );
    let mut large = vec![("origin", PAGE), ("access-control-request-method", "GET")];
    let many = vec!["x-a"; 1000].join(",");
    large.push(("access-control-request-headers", &many));
    let (response, _) = ask(&bare, request("OPTIONS", "/", &large)).await;
    assert_eq!(response.status(), 405);
    let (response, _) = ask(&app, request("OPTIONS", "/", &large)).await;
    assert!(!format!("{:?}", response.headers()).contains("x-a"));
}

/// What a page of another origin can send with the cookies of its visitor, and without a preflight.
#[tokio::test]
async fn pl_28_no_other_site_posts_for_a_visitor() {
    let session = middleware::map_request(|request: AxumRequest| async { session(request) });
    let bare = Router::new()
        .route_service("/", tokens(authorize))
        .layer(session);
    let cross_site = [
        ("cookie", "session=seven"),
        ("host", "app.example"),
        ("origin", "https://evil.example"),
        ("sec-fetch-site", "cross-site"),
    ];
    // `sendBeacon(url)`, `sendBeacon(url, text)`, a form, a form of another encoding.
    for content_type in [
        None,
        Some("text/plain;charset=UTF-8"),
        Some("application/x-www-form-urlencoded"),
        Some("multipart/form-data; boundary=x"),
        Some("text/plain; application/json"),
    ] {
        for body in ["", "{}"] {
            let mut post = request("POST", "/", &cross_site);
            if let Some(content_type) = content_type {
                let content_type = HeaderValue::from_static(content_type);
                post.headers_mut().insert("content-type", content_type);
            }
            *post.body_mut() = body.into();
            let (response, answer) = ask(&bare, post).await;
            assert_eq!(response.status(), 415, "{content_type:?}");
            assert!(!answer.windows(6).any(|part| part == b"policy"));
        }
    }
    // As in the browser guide: the layer also holds off JSON, whatever a CORS layer allows.
    let app = bare.layer(CsrfLayer::new().add_trusted_origin(PAGE).unwrap());
    let json = ("content-type", "application/json");
    let from = |origin, site| {
        let mut headers = vec![json, ("cookie", "session=seven"), ("host", "app.example")];
        headers.extend([("origin", origin), ("sec-fetch-site", site)]);
        request("POST", "/", &headers)
    };
    for (origin, site, status) in [
        ("https://app.example", "same-origin", 200),
        (PAGE, "cross-site", 200),
        ("https://evil.example", "cross-site", 403),
        ("https://evil.app.example", "same-site", 403),
        ("null", "cross-site", 403),
    ] {
        let (response, _) = ask(&app, from(origin, site)).await;
        assert_eq!(response.status(), status, "{origin}");
    }
}

#[tokio::test]
async fn hyper_serves_it() {
    let (client, server) = duplex(64 * 1024);
    let service = TowerToHyperService::new(cors().layer(tokens(everybody)));
    tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(server), service));
    is_token(get_over(client).await).await;
}
