//! tonic: gRPC and the routes of axum on one port.

use std::{error::Error, future::Future};

use axum::{Router, routing::post};
use tokio::net::TcpListener;
use tonic::{
    service::Routes,
    transport::{Server, server::TcpIncoming},
};
use tower_aliyun_oss::{CallbackReply, OssUploads, VerifiedCallback};

use crate::uploads::authorize;

async fn on_upload(callback: VerifiedCallback) -> CallbackReply {
    println!(
        "{:?} by user {:?}",
        callback.event(),
        callback.claims::<u64>()
    );
    CallbackReply::ok()
}

fn app(uploads: &OssUploads) -> Routes {
    let uploads = Router::new()
        .route_service("/oss/policy", uploads.policy_service(authorize))
        .route(
            "/oss/callback",
            post(on_upload).route_layer(uploads.callback_layer()),
        );
    let (_reporter, health) = tonic_health::server::health_reporter();
    Routes::from(uploads).add_service(health)
}

/// Serves until `stop` completes.
pub async fn serve(
    listener: TcpListener,
    uploads: &OssUploads,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    Server::builder()
        // OSS sends callbacks over HTTP/1.1.
        .accept_http1(true)
        .add_routes(app(uploads))
        .serve_with_incoming_shutdown(TcpIncoming::from(listener), stop)
        .await?;
    Ok(())
}
