//! The application: its routes, and the files of its page.

use std::{error::Error, sync::Arc};

use axum::{
    Json, Router,
    middleware::from_fn_with_state,
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use http::{
    HeaderMap, HeaderValue, Method,
    header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, InvalidHeaderValue, REFERRER_POLICY,
        X_CONTENT_TYPE_OPTIONS,
    },
};
use serde_json::json;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::{
    attacks::{Attacks, forge, replay},
    backend::{Backend, CALLBACK_PATH, MAX_SIZE, TYPES},
    callback::{Watched, on_upload, watch},
    feed::Feed,
    outage::{self, Switch, gate},
    recipes::recipes,
};

pub(crate) fn router(
    backend: &Backend,
    feed: &Feed,
    allow_origins: &[String],
) -> Result<Router, Box<dyn Error>> {
    let recipes = recipes()?;
    let watched = Watched::new(feed.clone());
    let callback = callback_route(backend, &watched);
    let switch = Switch::default();
    let switches = outage::routes(backend, &switch, callback.clone())?;
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
        .merge(callback.layer(from_fn_with_state(switch, gate)))
        .merge(switches)
        .merge(experiments)
        .merge(status_routes(backend, feed))
        .route("/recipes", get(|| async { Json(recipes) }))
        .merge(page_routes(backend)?))
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
        .route_service("/oss/presign", backend.presigned()?)
        .layer(cors))
}

fn callback_route(backend: &Backend, watched: &Watched) -> Router {
    let handler = post(on_upload)
        .route_layer(backend.callback_layer())
        // Outermost, so that it also sees the requests that the layer rejects.
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
        "objectsUrl": backend.objects_url(),
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

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SVG: &str = "image/svg+xml";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Adds the kind of a file and its text.
macro_rules! files {
    ($($path:literal $kind:ident $file:literal)+) => {
        [$(($path, $kind, include_str!(concat!("page/", $file)))),+]
    };
}

/// Adds the files of the module `client`, which the page uses as it is.
macro_rules! module {
    ($($file:literal)+) => {
        [$((
            concat!("/client/", $file),
            SCRIPT,
            include_str!(concat!("../../client/", $file)),
        )),+]
    };
}

const MODULE: [(&str, &str, &str); 11] = module! {
    "attempts.js" "crc64.js" "errors.js" "http.js" "progress.js" "records.js" "service.js"
    "source.js" "upload.js" "urls.js" "xml.js"
};

/// Adds the files that the page shares with that of the emulator.
macro_rules! shared {
    ($($kind:ident $file:literal)+) => {
        [$((
            concat!("/page/", $file),
            $kind,
            include_str!(concat!("../../emulator/src/cli/page/", $file)),
        )),+]
    };
}

const SHARED: [(&str, &str, &str); 3] = shared! {
    SVG "icon.svg" CSS "colors.css" SCRIPT "element.js"
};

const FILES: [(&str, &str, &str); 16] = files! {
    "/" HTML "index.html"
    "/page/style.css" CSS "style.css"
    "/page/files.css" CSS "files.css"
    "/page/panels.css" CSS "panels.css"
    "/page/app.js" SCRIPT "app.js"
    "/page/texts.js" SCRIPT "texts.js"
    "/page/dom.js" SCRIPT "dom.js"
    "/page/transfer.js" SCRIPT "transfer.js"
    "/page/outage.js" SCRIPT "outage.js"
    "/page/queue.js" SCRIPT "queue.js"
    "/page/parts.js" SCRIPT "parts.js"
    "/page/row.js" SCRIPT "row.js"
    "/page/received.js" SCRIPT "received.js"
    "/page/steps.js" SCRIPT "steps.js"
    "/page/experiments.js" SCRIPT "experiments.js"
    "/page/recipes.js" SCRIPT "recipes.js"
};

fn page_routes(backend: &Backend) -> Result<Router, InvalidHeaderValue> {
    // The page may load its own files, and connect to its own server and to OSS. `blob:` images are
    // the thumbnails of files that are being uploaded, and those of OSS the received ones.
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: {}; \
         connect-src 'self' {}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'",
        backend.objects_url().map_or("", origin),
        origin(backend.upload_url().as_str()),
    );
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_SECURITY_POLICY, policy.parse()?);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(FILES.into_iter().chain(SHARED).chain(MODULE).fold(
        Router::new(),
        |router, (path, kind, text)| {
            let headers = headers.clone();
            router.route(path, get(move || async move { file(headers, kind, text) }))
        },
    ))
}

fn file(mut headers: HeaderMap, kind: &'static str, text: &'static str) -> Response {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    (headers, text).into_response()
}

/// Returns the scheme and the host of a URL.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find('/').map_or(url.len(), |at| host + at);
    &url[..end]
}
