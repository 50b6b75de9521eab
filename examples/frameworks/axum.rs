//! axum: the service and the layer on two routes.

use std::{future::Future, io};

use axum::{Router, routing::post};
use tokio::net::TcpListener;
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

fn app(uploads: &OssUploads) -> Router {
    Router::new()
        .route_service("/oss/policy", uploads.policy_service(authorize))
        .route(
            "/oss/callback",
            post(on_upload).route_layer(uploads.callback_layer()),
        )
}

/// Serves until `stop` completes.
pub async fn serve(
    listener: TcpListener,
    uploads: &OssUploads,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    axum::serve(listener, app(uploads))
        .with_graceful_shutdown(stop)
        .await
}
