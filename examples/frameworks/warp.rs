//! warp: the layer around all filters, beside the service.

use std::{convert::Infallible, error::Error, future::Future};

use http_body_util::Either;
use hyper::{Request, body::Incoming};
use tokio::net::TcpListener;
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_aliyun_oss::{CallbackReply, OssUploads, VerifiedCallback};
use warp::{Filter, Rejection, Reply};

use crate::uploads::authorize;

fn on_upload() -> impl Filter<Extract = (impl Reply,), Error = Rejection> + Clone {
    warp::path!("oss" / "callback")
        .and(warp::post())
        // Only the layer inserts this extension. The filter answers 500 without it.
        .and(warp::ext::get::<VerifiedCallback>())
        .map(|callback: VerifiedCallback| {
            println!(
                "{:?} by user {:?}",
                callback.event(),
                callback.claims::<u64>()
            );
            warp::reply::Response::from(CallbackReply::ok())
        })
}

/// Serves until `stop` completes.
pub async fn serve(
    listener: TcpListener,
    uploads: &OssUploads,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let policy = uploads.policy_service(authorize);
    let filters = on_upload().or(warp::path::end().map(warp::reply));
    // Requests for other paths pass the layer.
    let verified = uploads.callback_layer().only_path("/oss/callback")?;
    let filters = verified.layer(warp::service(filters));
    let app = service_fn(move |request: Request<Incoming>| {
        let (policy, filters) = (policy.clone(), filters.clone());
        async move {
            Ok::<_, Infallible>(match request.uri().path() {
                "/oss/policy" => policy.oneshot(request).await?.map(Either::Left),
                _ => filters.oneshot(request).await?.map(Either::Right),
            })
        }
    });
    crate::serve::serve(listener, app, stop).await;
    Ok(())
}
