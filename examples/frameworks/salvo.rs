//! salvo: `compat` turns a tower service into a handler, and a tower layer into a hoop.

use std::{future::Future, io, time::Duration};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use salvo::{
    Request, Response, Router, Server,
    conn::tcp::TcpAcceptor,
    handler,
    http::{ReqBody, StatusCode},
    prelude::{TowerLayerCompat as _, TowerServiceCompat},
};
use tokio::net::TcpListener;
use tower::ServiceBuilder;
use tower_aliyun_oss::{CallbackReply, OssUploads, VerifiedCallback, callback::RequestBody};

use crate::uploads::authorize;

#[handler]
async fn on_upload(request: &Request, response: &mut Response) {
    // Only the layer inserts this extension. Without it nothing was verified, so fail closed.
    let Some(callback) = request.extensions().get::<VerifiedCallback>() else {
        response.status_code(StatusCode::INTERNAL_SERVER_ERROR);
        return;
    };
    println!(
        "{:?} by user {:?}",
        callback.event(),
        callback.claims::<u64>()
    );
    response.merge_hyper(http::Response::<Bytes>::from(CallbackReply::ok()));
}

fn app(uploads: &OssUploads) -> Router {
    let policy = uploads.policy_service(authorize);
    let policy = TowerServiceCompat::<ReqBody, _, _, _>::compat(policy);
    let verified = ServiceBuilder::new()
        .layer(uploads.callback_layer())
        // salvo's handlers take a body of salvo.
        .map_request(|request: http::Request<RequestBody<ReqBody>>| {
            request.map(|body| ReqBody::Boxed {
                inner: Box::pin(body.map_err(Into::into)),
                fuse_config: None,
            })
        });
    Router::with_path("oss")
        .push(Router::with_path("policy").goal(policy))
        .push(
            Router::with_path("callback")
                .hoop(verified.compat())
                .post(on_upload),
        )
}

/// Serves until `stop` completes.
pub async fn serve(
    listener: TcpListener,
    uploads: &OssUploads,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let server = Server::new(TcpAcceptor::try_from(listener)?);
    let handle = server.handle();
    tokio::spawn(async move {
        stop.await;
        handle.stop_graceful(Duration::from_secs(5));
    });
    server.try_serve(app(uploads)).await
}
