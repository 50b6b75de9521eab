//! hyper, without a framework: tower services behind a `match` on the path.

use std::{convert::Infallible, error::Error, future::Future};

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::{Request, Response, StatusCode, body::Incoming};
use tokio::net::TcpListener;
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_aliyun_oss::{CallbackReply, OssUploads, VerifiedCallback};

use crate::uploads::authorize;

type Answer = Response<Full<Bytes>>;

/// Handles a callback. The body of the request is the verified one, in a type of the layer.
pub(crate) async fn on_upload<B>(request: Request<B>) -> Result<Answer, Infallible> {
    // Only the layer inserts this extension. Without it nothing was verified, so fail closed.
    let Some(callback) = request.extensions().get::<VerifiedCallback>() else {
        return Ok(status(StatusCode::INTERNAL_SERVER_ERROR));
    };
    println!(
        "{:?} by user {:?}",
        callback.event(),
        callback.claims::<u64>()
    );
    Ok(CallbackReply::ok().into())
}

fn status(status: StatusCode) -> Answer {
    let mut answer = Answer::default();
    *answer.status_mut() = status;
    answer
}

/// Serves until `stop` completes.
pub async fn serve(
    listener: TcpListener,
    uploads: &OssUploads,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let policy = uploads.policy_service(authorize);
    let callback = uploads.callback_layer().layer(service_fn(on_upload));
    let app = service_fn(move |request: Request<Incoming>| {
        let (policy, callback) = (policy.clone(), callback.clone());
        async move {
            Ok::<_, Infallible>(match request.uri().path() {
                "/oss/policy" => policy.oneshot(request).await?.map(Either::Left),
                "/oss/callback" => {
                    let answer = callback.oneshot(request).await?;
                    answer.map(Either::Left).map(Either::Right)
                }
                _ => {
                    let answer = status(StatusCode::NOT_FOUND);
                    answer.map(Either::Right).map(Either::Right)
                }
            })
        }
    });
    crate::serve::serve(listener, app, stop).await;
    Ok(())
}
