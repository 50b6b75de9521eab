//! The routes.

use std::{error::Error, sync::Arc};

use axum::{
    Json, Router,
    middleware::from_fn_with_state,
    routing::{get, post},
};
use http::{HeaderValue, Method};
use serde_json::json;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::{
    attacks::{Attacks, forge, replay},
    backend::{Backend, CALLBACK_PATH},
    feed::Feed,
    grants::{MAX_SIZE, TYPES},
    page,
    watch::{Watched, on_upload, watch},
};

pub(crate) fn router(
    backend: &Backend,
    feed: &Feed,
    allow_origins: &[String],
) -> Result<Router, Box<dyn Error>> {
    let watched = Watched::new(feed.clone());
    let callback = callback_route(backend, &watched);
    let attacks = Arc::new(Attacks {
        route: callback.clone(),
        watched,
        callback_url: backend.callback_url().to_owned(),
        signer: backend.signer(),
    });
    let experiments = Router::new()
        .route("/demo/forge", post(forge))
        .route("/demo/replay", post(replay))
        .with_state(attacks)
        .route_service("/demo/policy/expired", backend.expired_tokens())
        .route_service("/demo/policy/failing", backend.failing_tokens());
    Ok(token_routes(backend, allow_origins)?
        .merge(callback)
        .merge(experiments)
        .merge(status_routes(backend, feed))
        .merge(page::router(backend.upload_url().as_str())?))
}

fn token_routes(backend: &Backend, allow_origins: &[String]) -> Result<Router, Box<dyn Error>> {
    let origins: Vec<HeaderValue> = allow_origins
        .iter()
        .map(|origin| origin.parse())
        .collect::<Result<_, _>>()?;
    let cors = CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([Method::GET]);
    Ok(Router::new()
        .route_service("/oss/policy", backend.tokens())
        .route_service("/oss/policy/legacy", backend.legacy_tokens())
        .layer(cors))
}

fn callback_route(backend: &Backend, watched: &Watched) -> Router {
    let handler = post(on_upload)
        .route_layer(backend.callback_layer())
        .route_layer(from_fn_with_state(watched.clone(), watch));
    Router::new()
        .route(CALLBACK_PATH, handler)
        .with_state(watched.clone())
}

fn status_routes(backend: &Backend, feed: &Feed) -> Router {
    let config = json!({
        "emulated": backend.is_emulated(),
        "bucket": backend.bucket().to_string(),
        "uploadUrl": backend.upload_url().as_str(),
        "callbackUrl": backend.callback_url(),
        "maxSize": MAX_SIZE,
        "types": TYPES,
    });
    let (uploads, events) = (feed.clone(), feed.clone());
    Router::new()
        .route("/config", get(|| async { Json(config) }))
        .route("/uploads", get(|| async move { Json(uploads.uploads()) }))
        .route("/events", get(|| async move { events.stream() }))
}
