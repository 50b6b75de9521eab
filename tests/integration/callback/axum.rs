//! The layer in axum, at every place where it can be mounted.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use crate::support::{Case, FORM, Log, Signer};
use axum::{
    Extension, Router,
    body::Body,
    error_handling::HandleErrorLayer,
    extract::{DefaultBodyLimit, OriginalUri, State},
    handler::Handler as _,
    middleware::{ResponseAxumBodyLayer, from_fn},
    response::IntoResponse,
    routing::{any, get, post},
};
use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use tower::{Layer as _, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_aliyun_oss::{
    OssCallbackLayer,
    callback::{CallbackError, CallbackReply, VerifiedCallback},
};
use tower_http::{
    catch_panic::CatchPanicLayer, compression::CompressionLayer, cors::CorsLayer,
    limit::RequestBodyLimitLayer, map_request_body::MapRequestBodyLayer,
    normalize_path::NormalizePathLayer, timeout::TimeoutLayer, trace::TraceLayer,
};

const EXAMPLE: &str = "/index.php?id=1&index=2";

async fn on_upload(callback: VerifiedCallback, body: Bytes) -> CallbackReply {
    assert_eq!(
        callback.body(),
        &body,
        "the handler must receive the verified body"
    );
    CallbackReply::ok()
}

fn layer() -> OssCallbackLayer {
    OssCallbackLayer::new()
}

fn genuine() -> Request<Body> {
    Case::named("official-doc-index-php")
        .request()
        .map(Body::new)
}

fn forged() -> Request<Body> {
    genuine().map(|_| Body::from("bucket=examplebucket"))
}

async fn status<S, B>(app: S, request: Request<Body>) -> u16
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: std::fmt::Debug,
{
    app.oneshot(request).await.unwrap().status().as_u16()
}

/// Asserts that genuine callbacks pass, that forged ones are rejected, and the statuses of unknown
/// paths and wrong methods.
async fn check<S, B>(name: &str, app: S, unknown_path: u16, wrong_method: u16)
where
    S: Service<Request<Body>, Response = Response<B>> + Clone,
    S::Error: std::fmt::Debug,
{
    assert_eq!(status(app.clone(), genuine()).await, 200, "{name}: genuine");
    assert_eq!(status(app.clone(), forged()).await, 403, "{name}: forged");
    let mut elsewhere = forged();
    *elsewhere.uri_mut() = Uri::from_static("/elsewhere");
    assert_eq!(
        status(app.clone(), elsewhere).await,
        unknown_path,
        "{name}: unknown path"
    );
    let get = Request::get(EXAMPLE).body(Body::empty()).unwrap();
    assert_eq!(status(app, get).await, wrong_method, "{name}: wrong method");
}

#[tokio::test]
async fn every_way_to_mount_it() {
    let route = || Router::new().route("/index.php", post(on_upload));
    check("Router::layer", route().layer(layer()), 403, 405).await;
    check(
        "Router::route_layer",
        route().route_layer(layer()),
        404,
        405,
    )
    .await;
    let method = |router| Router::new().route("/index.php", router);
    check(
        "MethodRouter::layer",
        method(post(on_upload).layer(layer())),
        404,
        405,
    )
    .await;
    check(
        "MethodRouter::route_layer",
        method(post(on_upload).route_layer(layer())),
        404,
        405,
    )
    .await;
    check(
        "Handler::layer",
        method(post(on_upload.layer(layer()))),
        404,
        405,
    )
    .await;
    let service = layer().layer(service_fn(|_: Request<_>| async {
        Ok::<Response<Full<Bytes>>, std::convert::Infallible>(CallbackReply::ok().into())
    }));
    check(
        "route_service",
        Router::new().route_service("/index.php", service),
        404,
        405,
    )
    .await;
    check(
        "fallback",
        Router::new().fallback(post(on_upload).route_layer(layer())),
        403,
        405,
    )
    .await;
    check(
        "merge",
        Router::new().merge(route().route_layer(layer())),
        404,
        405,
    )
    .await;
}

#[tokio::test]
async fn a_router_with_state() {
    async fn with_state(
        State(count): State<Arc<AtomicUsize>>,
        _: VerifiedCallback,
    ) -> CallbackReply {
        count.fetch_add(1, Ordering::Relaxed);
        CallbackReply::ok()
    }
    let count = Arc::new(AtomicUsize::new(0));
    let app = Router::new()
        .route("/index.php", post(with_state).route_layer(layer()))
        .with_state(Arc::clone(&count));
    check("Router<State>", app, 404, 405).await;
    assert_eq!(
        count.load(Ordering::Relaxed),
        1,
        "forged callbacks must not reach the handler"
    );
}

#[tokio::test]
async fn with_other_layers_outside_and_inside() {
    let route = || Router::new().route("/index.php", post(on_upload));
    let app = route().layer(
        ServiceBuilder::new()
            .layer(TraceLayer::new_for_http())
            .layer(CatchPanicLayer::new())
            .layer(CorsLayer::permissive())
            .layer(RequestBodyLimitLayer::new(1024))
            .layer(TimeoutLayer::with_status_code(
                StatusCode::GATEWAY_TIMEOUT,
                std::time::Duration::from_secs(5),
            ))
            .layer(layer()),
    );
    check("outside", app, 403, 405).await;
    let app = route().layer(
        ServiceBuilder::new()
            .layer(layer())
            .layer(TraceLayer::new_for_http())
            .layer(CorsLayer::permissive())
            .layer(CompressionLayer::new())
            .layer(RequestBodyLimitLayer::new(1024)),
    );
    check("inside", app, 403, 405).await;
    let app = route().layer((TraceLayer::new_for_http(), layer()));
    check("tuple", app, 403, 405).await;
    let errors = || HandleErrorLayer::new(|_| async { StatusCode::SERVICE_UNAVAILABLE });
    let app = route().layer(
        ServiceBuilder::new()
            .layer(errors())
            .load_shed()
            .concurrency_limit(8)
            .timeout(std::time::Duration::from_secs(5))
            .layer(layer())
            .layer(errors())
            .load_shed()
            .concurrency_limit(8),
    );
    check("backpressure", app, 403, 405).await;
    let app = route()
        .layer(layer())
        .layer(DefaultBodyLimit::max(1024))
        .layer(from_fn(
            async |request: Request<Body>, next: axum::middleware::Next| next.run(request).await,
        ));
    check("from_fn outside", app, 403, 405).await;
    let app = route().layer(
        ServiceBuilder::new()
            .layer(layer())
            .layer(MapRequestBodyLayer::new(Body::new))
            .layer(from_fn(
                async |request: Request<Body>, next: axum::middleware::Next| {
                    next.run(request).await
                },
            )),
    );
    check("from_fn inside, after map_request_body", app, 403, 405).await;
    let app =
        route().layer(ServiceBuilder::new().option_layer(Some((ResponseAxumBodyLayer, layer()))));
    check("option_layer", app, 403, 405).await;
}

#[tokio::test]
async fn a_rejection_carries_its_error_outwards() {
    let app = Router::new().route("/index.php", post(on_upload).route_layer(layer()));
    let response = app.oneshot(forged()).await.unwrap();
    let error = response.extensions().get::<CallbackError>().unwrap();
    assert_eq!(error.status(), 403);
}

#[tokio::test]
async fn a_limit_outside_is_413() {
    let app = Router::new()
        .route("/index.php", post(on_upload).route_layer(layer()))
        .layer(RequestBodyLimitLayer::new(3));
    assert_eq!(status(app, genuine()).await, 413);
}

#[tokio::test]
async fn cn_042_nested_routers_verify_the_path_that_was_signed() {
    let signer = Signer::with_512_bits();
    let layer = signer.layer();
    let signed = || {
        signer
            .request("/api/v1/cb?a=%20b", FORM, b"a=b")
            .map(Body::new)
    };
    let unnested = || signer.request("/cb?a=%20b", FORM, b"a=b");
    let inner = |router: Router| Router::new().nest("/api/v1", router);
    let cb = || Router::new().route("/cb", post(on_upload));
    for (name, app) in [
        ("inner layer", inner(cb().layer(layer.clone()))),
        ("inner route_layer", inner(cb().route_layer(layer.clone()))),
        (
            "inner MethodRouter",
            inner(Router::new().route("/cb", post(on_upload).route_layer(layer.clone()))),
        ),
        (
            "nest_service",
            Router::new().nest_service("/api/v1", cb().layer(layer.clone())),
        ),
        (
            "twice",
            Router::new().nest("/api", Router::new().nest("/v1", cb().layer(layer.clone()))),
        ),
    ] {
        assert_eq!(status(app.clone(), signed()).await, 200, "{name}");
        // A signature over the path without the prefix does not verify.
        let mut other = unnested().map(Body::new);
        *other.uri_mut() = Uri::from_static("/api/v1/cb?a=%20b");
        assert_eq!(status(app, other).await, 403, "{name}");
    }
}

#[tokio::test]
async fn cn_043_a_layer_outside_of_the_nesting_verifies_the_whole_path() {
    let signer = Signer::with_512_bits();
    let nested = || Router::new().nest("/api", Router::new().route("/cb", post(on_upload)));
    let signed = || signer.request("/api/cb?a=1", FORM, b"a=b").map(Body::new);
    assert_eq!(status(nested().layer(signer.layer()), signed()).await, 200);
    assert_eq!(
        status(nested().route_layer(signer.layer()), signed()).await,
        200
    );
    // Around the whole application, with the exact path.
    let app = signer.layer().only_path("/api/cb").unwrap().layer(nested());
    assert_eq!(status(app, signed()).await, 200);
    let service = Router::new().fallback_service(signer.layer().layer(nested()));
    assert_eq!(status(service, signed()).await, 200);
}

#[tokio::test]
async fn a_nested_layer_can_name_either_path() {
    let signer = Signer::with_512_bits();
    for path in ["/cb", "/api/cb"] {
        let inner = Router::new()
            .route("/cb", post(on_upload))
            .route("/free", get(|| async { "free" }))
            .layer(signer.layer().only_path(path).unwrap());
        let app = Router::new().nest("/api", inner);
        let signed = signer.request("/api/cb", FORM, b"a=b").map(Body::new);
        assert_eq!(status(app.clone(), signed).await, 200, "{path}");
        let free = Request::get("/api/free").body(Body::empty()).unwrap();
        assert_eq!(status(app, free).await, 200, "{path}");
    }
}

#[tokio::test]
async fn only_path_lets_everything_else_through_unverified() {
    async fn who(callback: Option<Extension<VerifiedCallback>>, body: Bytes) -> String {
        format!("{} {}", callback.is_some(), body.len())
    }
    let signer = Signer::with_512_bits();
    let app = Router::new()
        .route("/p", any(who))
        .fallback(any(who))
        .layer(signer.layer().only_path("/p").unwrap());
    let text = async |request: Request<Body>| {
        let response = app.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    };
    let signed = |target| signer.request(target, FORM, b"a=b").map(Body::new);
    assert_eq!(text(signed("/p")).await, (200, "true 3".into()));
    assert_eq!(text(signed("/p?x=1")).await, (200, "true 3".into()));
    for other in ["/p/", "//p", "/P", "/p%2F", "/p/x", "/"] {
        assert_eq!(
            text(signed(other)).await,
            (200, "false 3".into()),
            "{other}"
        );
        // The layer does not limit or read the bodies of other paths.
        let large = Request::post(other)
            .body(Body::from(vec![0; 100_000]))
            .unwrap();
        assert_eq!(text(large).await, (200, "false 100000".into()));
        let get = Request::get(other).body(Body::empty()).unwrap();
        assert_eq!(text(get).await, (200, "false 0".into()));
    }
    // An equivalent spelling is never passed through. The router has routed it, to the fallback.
    assert_eq!(text(signed("/%70")).await.0, 400);
    assert_eq!(
        text(Request::get("/p").body(Body::empty()).unwrap())
            .await
            .0,
        405
    );
}

#[tokio::test]
async fn a_stray_verified_callback_is_removed() {
    // A `VerifiedCallback` of another request is already in the extensions.
    let signer = Signer::with_512_bits();
    let stray = crate::support::send(&signer.layer(), signer.request("/q", FORM, b"a=b")).await;
    let stray = stray.assert_accepted().verified.clone().unwrap();
    let app = Router::new()
        .route("/p", post(on_upload))
        .route("/other", post(on_upload))
        .layer(signer.layer().only_path("/p").unwrap());
    let mut request = Request::post("/other").body(Body::from("a=b")).unwrap();
    request.extensions_mut().insert(stray);
    assert_eq!(status(app, request).await, 500);
}

#[tokio::test]
async fn a_handler_without_the_layer_never_runs() {
    let app = Router::new().route("/index.php", post(on_upload));
    let response = app.oneshot(genuine()).await.unwrap();
    assert_eq!(response.status(), 500);
    assert_eq!(response.headers()["content-type"], "application/json");
    let length = response.headers()["content-length"].clone();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(length, body.len().to_string());
    assert_eq!(
        serde_json::from_slice::<serde_json::Value>(&body).unwrap()["code"],
        "NotVerified"
    );
}

/// Anyone can send them: the layer passes paths untouched that `only_path` does not name.
#[tokio::test]
async fn df_27_unverified_requests_to_a_handler_are_few_log_lines() {
    let layer = Signer::with_512_bits().layer().only_path("/cb").unwrap();
    let app = Router::new().route("/{name}", post(on_upload)).layer(layer);
    let log = Log::default();
    let _guard = log.listen();
    for _ in 0..100 {
        let request = Request::post("/other").body(Body::empty()).unwrap();
        assert_eq!(status(app.clone(), request).await, 500);
    }
    // None if another test of this process was first.
    assert!(log.count("ERROR", "did not verify") <= 1);
    assert_eq!(log.count("WARN", ""), 0);
}

#[tokio::test]
async fn a_proxy_that_strips_a_prefix_needs_a_hook() {
    let signer = Signer::with_512_bits();
    let app =
        |layer: OssCallbackLayer| Router::new().route("/cb", post(on_upload).route_layer(layer));
    let request = || {
        let mut request = signer.request("/gw/cb?a=1", FORM, b"a=b").map(Body::new);
        *request.uri_mut() = Uri::from_static("/cb?a=1");
        request
    };
    assert_eq!(status(app(signer.layer()), request()).await, 403);
    let hook = signer
        .layer()
        .target_uri(|parts| format!("/gw{}", parts.uri.path_and_query()?).parse().ok());
    assert_eq!(status(app(hook), request()).await, 200);
    // The hook overrides `OriginalUri`, and can read it.
    let hook = signer.layer().target_uri(|parts| {
        let original = parts.extensions.get::<OriginalUri>()?;
        format!("/gw{}", original.0).parse().ok()
    });
    assert_eq!(status(app(hook), request()).await, 200);
}

#[tokio::test]
async fn a_layer_that_rewrites_the_path_outside_breaks_the_signature() {
    let signer = Signer::with_512_bits();
    let app = Router::new().route("/cb", post(on_upload).route_layer(signer.layer()));
    let request = signer.request("/cb/", FORM, b"a=b").map(Body::new);
    let app = NormalizePathLayer::trim_trailing_slash().layer(app);
    assert_eq!(status(app, request).await, 403);
}

#[tokio::test]
async fn a_reply_is_a_response_by_itself() {
    let response = CallbackReply::json(&["stored"]).unwrap().into_response();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-length"], "10");
}

#[tokio::test]
async fn the_whole_application_over_a_socket() {
    let app = Router::new()
        .route("/free", get(|| async { "free" }))
        .route("/index.php", post(on_upload))
        .layer(layer().only_path("/index.php").unwrap());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    let send = async |request: Request<Full<Bytes>>| {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let io = hyper_util::rt::TokioIo::new(stream);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        sender.send_request(request).await.unwrap()
    };
    for case in Case::genuine() {
        let mut request = case.request();
        request
            .headers_mut()
            .insert("host", "88.88.88.88".parse().unwrap());
        let status = send(request).await.status().as_u16();
        assert_eq!(
            status,
            if case.path_and_query == EXAMPLE {
                200
            } else {
                404
            }
        );
    }
    let response = send(Case::named("official-doc-index-php").request()).await;
    assert_eq!(response.headers()["content-length"], "15");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, r#"{"Status":"OK"}"#);
}
