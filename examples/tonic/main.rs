//! Serves callbacks and gRPC on the same port.
//!
//! ```text
//! cargo run -p example-tonic -- 127.0.0.1:50051 127.0.0.1:50052 /oss/callback
//! ```
//!
//! The first address mounts the layer on a route next to gRPC; the second wraps the whole server in
//! the layer. OSS sends callbacks over HTTP/1.1, so both accept it. tonic does not limit the time
//! in which a client must send the head of such a request, and does not answer a client that closes
//! its sending half after the request: put a proxy in front that does both.

use std::{error::Error, net::SocketAddr};

use axum::{Router, routing::post};
use tokio::signal;
use tonic::{
    service::Routes,
    transport::{Server, server::TcpIncoming},
};
use tower_aliyun_oss::{
    OssCallbackLayer,
    callback::{CallbackReply, VerifiedCallback},
};

async fn on_upload(callback: VerifiedCallback) -> CallbackReply {
    println!(
        "{}: {}",
        callback.target().path(),
        callback.body().escape_ascii()
    );
    CallbackReply::ok()
}

async fn interrupted() {
    // If no handler can be installed, this returns at once and the server shuts down.
    let _ = signal::ctrl_c().await;
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |default: &str| arguments.next().unwrap_or_else(|| default.to_owned());
    let beside: SocketAddr = next("127.0.0.1:50051").parse()?;
    let around: SocketAddr = next("127.0.0.1:50052").parse()?;
    let path = next("/oss/callback");

    // The layer on a route: gRPC calls do not pass through it.
    let (_reporter, health) = tonic_health::server::health_reporter();
    let callbacks =
        Router::new().route(&path, post(on_upload).route_layer(OssCallbackLayer::new()));
    let beside_server = Server::builder()
        .accept_http1(true)
        .add_routes(Routes::from(callbacks).add_service(health))
        .serve_with_incoming_shutdown(TcpIncoming::bind(beside)?, interrupted());

    // The layer around the server: requests for any other path bypass verification.
    let (_reporter, health) = tonic_health::server::health_reporter();
    let callbacks = Router::new().route(&path, post(on_upload));
    let around_server = Server::builder()
        .accept_http1(true)
        .layer(OssCallbackLayer::new().only_path(&path)?)
        .add_routes(Routes::from(callbacks).add_service(health))
        .serve_with_incoming_shutdown(TcpIncoming::bind(around)?, interrupted());

    println!("listening on http://{beside} and http://{around}");
    tokio::try_join!(beside_server, around_server)?;
    println!("stopped");
    Ok(())
}
