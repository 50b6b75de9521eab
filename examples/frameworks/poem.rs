//! poem: `compat` turns a tower service into an endpoint.

use std::{future::Future, io, time::Duration};

use poem::{Endpoint, Route, Server, endpoint::TowerCompatExt as _, listener::TcpAcceptor};
use tokio::net::TcpListener;
use tower::{Layer as _, service_fn};

use tower_aliyun_oss::OssUploads;

use crate::{hyper::on_upload, uploads::authorize};

fn app(uploads: &OssUploads) -> impl Endpoint + 'static {
    // The handler is a tower service, because the layer passes it the verified body.
    let callback = uploads.callback_layer().layer(service_fn(on_upload));
    Route::new()
        .at("/oss/policy", uploads.policy_service(authorize).compat())
        .at("/oss/callback", callback.compat())
}

/// Serves until `stop` completes.
pub async fn serve(
    listener: TcpListener,
    uploads: &OssUploads,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    Server::new_with_acceptor(TcpAcceptor::from_tokio(listener)?)
        .run_with_graceful_shutdown(app(uploads), stop, Some(Duration::from_secs(5)))
        .await
}
