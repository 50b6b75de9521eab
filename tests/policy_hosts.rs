//! The policy service where servers mount it: axum, tonic and hyper, under a real `CorsLayer`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::convert::Infallible;

use axum::{Router, extract::Request as AxumRequest, middleware, routing::get_service};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header, request::Parts};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use serde_json::Value;
use tokio::io::{DuplexStream, duplex};
use tonic::{service::Routes, transport::Server};
use tower::{Layer as _, ServiceExt as _};
use tower_aliyun_oss::{
    OssPolicyService,
    policy::{Authorize, CallbackDirective, Credentials, Grant, Refusal},
    protocol::SizeRange,
};
use tower_http::cors::{AllowOrigin, CorsLayer};

const PAGE: &str = "https://page.example";

/// What a session layer has put there.
#[derive(Clone, Copy)]
struct User(u64);

async fn authorize(parts: &Parts) -> Result<Grant, Refusal> {
    let User(user) = *parts.extensions.get().ok_or_else(Refusal::unauthorized)?;
    let prefix = format!("user/{user}/");
    Ok(Grant::under(
        prefix.parse().unwrap(),
        SizeRange::new(1, 1000).unwrap(),
    ))
}

async fn everybody(_: &Parts) -> Result<Grant, Refusal> {
    let prefix = "user/7/".parse().unwrap();
    Ok(Grant::under(prefix, SizeRange::new(1, 1000).unwrap()))
}

fn tokens<A: Authorize>(authorize: A) -> OssPolicyService<A> {
    OssPolicyService::new(
        authorize,
        Credentials::new("LTAI5tExample", "secret").unwrap(),
        "examplebucket".parse().unwrap(),
        "cn-hangzhou".parse().unwrap(),
        CallbackDirective::new("https://app.example/oss/callback").unwrap(),
    )
    .unwrap()
}

/// As the README has it: one page, and with its cookies.
fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(AllowOrigin::exact(HeaderValue::from_static(PAGE)))
        .allow_credentials(true)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([header::CONTENT_TYPE])
}

fn session(mut request: AxumRequest) -> AxumRequest {
    if request.headers().contains_key("cookie") {
        request.extensions_mut().insert(User(7));
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
        let token: Value = serde_json::from_slice(&body).unwrap();
        assert!(token["key"].as_str().unwrap().starts_with("user/7/"));

        // A browser asks first, without a cookie, before it posts JSON.
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
            // One origin is allowed by name, and it is not this one.
            let allowed = response.headers().get("access-control-allow-origin");
            assert!(allowed.is_none_or(|allowed| allowed == PAGE), "{origin}");
        }
    }
    // Without the layer there is nothing at all, and a preflight is refused.
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

async fn get_over(connection: DuplexStream, http2: bool) -> Response<Incoming> {
    let io = TokioIo::new(connection);
    let request = Request::get("http://any.example/oss/policy?size=5");
    let request = request.body(Full::<Bytes>::default()).unwrap();
    if http2 {
        let executor = TokioExecutor::new();
        let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io)
            .await
            .unwrap();
        tokio::spawn(connection);
        return sender.send_request(request).await.unwrap();
    }
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    sender.send_request(request).await.unwrap()
}

async fn is_token(response: Response<Incoming>) {
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["cache-control"], "no-store");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let token: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(token["method"], "POST");
}

#[tokio::test]
async fn hyper_serves_it() {
    let (client, server) = duplex(64 * 1024);
    let service = TowerToHyperService::new(cors().layer(tokens(everybody)));
    tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(server), service));
    is_token(get_over(client, false).await).await;
}

#[tokio::test]
async fn tonic_serves_it_beside_grpc() {
    let (_, health) = tonic_health::server::health_reporter();
    let app = Router::new().route_service("/oss/policy", tokens(everybody));
    let routes = Routes::from(app).add_service(health);
    let (clients, servers): (Vec<_>, Vec<_>) = (0..2).map(|_| duplex(64 * 1024)).unzip();
    let incoming = tokio_stream::iter(servers.into_iter().map(Ok::<_, Infallible>));
    tokio::spawn(
        Server::builder()
            .accept_http1(true)
            .add_routes(routes)
            .serve_with_incoming(incoming),
    );
    for (client, http2) in clients.into_iter().zip([false, true]) {
        is_token(get_over(client, http2).await).await;
    }
}

#[tokio::test]
async fn tonic_serves_it_as_its_only_service() {
    let (client, server) = duplex(64 * 1024);
    let incoming = tokio_stream::iter([Ok::<_, Infallible>(server)]);
    tokio::spawn(Server::builder().serve_with_incoming(tokens(everybody), incoming));
    is_token(get_over(client, true).await).await;
}
