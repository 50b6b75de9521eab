//! Tokens and callbacks in plain hyper. The page shows `app`.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::{
    body::{Body, Incoming},
    service::{Service, service_fn},
};
use tower::{Layer as _, ServiceExt as _};
use tower_aliyun_oss::{
    OssUploads,
    callback::{CallbackReply, RequestBody, VerifiedCallback},
};

use crate::backend::authorize;

pub(crate) fn app(
    uploads: &OssUploads,
) -> impl Service<Request<Incoming>, Response = Response<impl Body>> {
    let tokens = uploads.policy_service(authorize);
    let callbacks = uploads.callback_layer().layer(tower::service_fn(on_upload));
    service_fn(move |request: Request<Incoming>| {
        let (tokens, callbacks) = (tokens.clone(), callbacks.clone());
        async move {
            Ok::<_, Infallible>(match request.uri().path() {
                "/oss/policy" => tokens.oneshot(request).await?.map(Either::Left),
                // Rejects everything but the callbacks of granted uploads.
                _ => callbacks.oneshot(request).await?.map(Either::Right),
            })
        }
    })
}

async fn on_upload(
    request: Request<RequestBody<Incoming>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    // Only the layer inserts this extension. Without the layer, nothing was verified.
    let Some(callback) = request.extensions().get::<VerifiedCallback>() else {
        let mut response = Response::default();
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        return Ok(response);
    };
    println!("{:?}", callback.event());
    Ok(CallbackReply::ok().into())
}
