//! A policy service, and a client that requests a token over an in-memory connection.
#![allow(clippy::unwrap_used, unreachable_pub)]

use bytes::Bytes;
use http::{Request, Response, request::Parts};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::DuplexStream;
use tower_aliyun_oss::{
    OssPolicyService,
    policy::{Authorize, CallbackDirective, Credentials, Grant, Refusal},
    protocol::SizeRange,
};

pub async fn everybody(_: &Parts) -> Result<Grant, Refusal> {
    let prefix = "user/7/".parse().unwrap();
    Ok(Grant::under(prefix, SizeRange::new(1, 1000).unwrap()))
}

pub fn tokens<A: Authorize>(authorize: A) -> OssPolicyService<A> {
    OssPolicyService::new(
        authorize,
        Credentials::new("LTAI5tExample", "secret").unwrap(),
        "examplebucket".parse().unwrap(),
        "cn-hangzhou".parse().unwrap(),
        CallbackDirective::new("https://app.example/oss/callback").unwrap(),
    )
    .unwrap()
}

pub fn token_request() -> Request<Full<Bytes>> {
    let request = Request::get("http://any.example/oss/policy?size=5");
    request.body(Full::default()).unwrap()
}

/// Sends a token request over HTTP/1.
pub async fn get_over(connection: DuplexStream) -> Response<Incoming> {
    let io = TokioIo::new(connection);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    sender.send_request(token_request()).await.unwrap()
}

pub async fn is_token(response: Response<Incoming>) {
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["cache-control"], "no-store");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let token: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(token["method"], "POST");
}
