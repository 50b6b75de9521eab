//! The page, and what it may do.

use axum::{
    Router,
    response::{IntoResponse as _, Response},
    routing::get,
};
use http::{
    HeaderMap, HeaderValue,
    header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, InvalidHeaderValue, REFERRER_POLICY,
        X_CONTENT_TYPE_OPTIONS,
    },
};

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

const FILES: [(&str, &str, &str); 13] = [
    ("/", HTML, include_str!("page/index.html")),
    ("/page/style.css", CSS, include_str!("page/style.css")),
    ("/page/parts.css", CSS, include_str!("page/parts.css")),
    ("/page/panels.css", CSS, include_str!("page/panels.css")),
    (
        "/page/icon.svg",
        "image/svg+xml",
        include_str!("page/icon.svg"),
    ),
    ("/page/app.js", SCRIPT, include_str!("page/app.js")),
    ("/page/dom.js", SCRIPT, include_str!("page/dom.js")),
    ("/page/words.js", SCRIPT, include_str!("page/words.js")),
    (
        "/page/transfer.js",
        SCRIPT,
        include_str!("page/transfer.js"),
    ),
    ("/page/queue.js", SCRIPT, include_str!("page/queue.js")),
    ("/page/feed.js", SCRIPT, include_str!("page/feed.js")),
    ("/page/steps.js", SCRIPT, include_str!("page/steps.js")),
    (
        "/page/experiments.js",
        SCRIPT,
        include_str!("page/experiments.js"),
    ),
];

/// The page of a server whose uploads go to this URL.
pub(crate) fn router(upload_url: &str) -> Result<Router, InvalidHeaderValue> {
    // Nothing but our own files, our own routes, and the store; images are those that somebody is uploading.
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; \
         connect-src 'self' {}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'",
        origin(upload_url)
    );
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_SECURITY_POLICY, policy.parse()?);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(FILES
        .into_iter()
        .fold(Router::new(), |router, (path, kind, text)| {
            let headers = headers.clone();
            router.route(path, get(move || async move { file(headers, kind, text) }))
        }))
}

fn file(mut headers: HeaderMap, kind: &'static str, text: &'static str) -> Response {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    (headers, text).into_response()
}

/// Scheme and host of a URL.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find('/').map_or(url.len(), |at| host + at);
    &url[..end]
}
