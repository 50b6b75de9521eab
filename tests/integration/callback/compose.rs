//! The layer combined with layers of tower and tower-http, without a framework.

use std::{convert::Infallible, error::Error, io, time::Duration};

use crate::support::{Case, FORM, Frames, Signer};
use bytes::Bytes;
use http::{HeaderName, Request, Response, StatusCode, header::AUTHORIZATION};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service, ServiceBuilder, ServiceExt as _, service_fn, util::BoxCloneService};
use tower_aliyun_oss::{
    OssCallbackLayer,
    callback::{CallbackReply, RequestBody, VerifiedCallback},
};
use tower_http::{
    catch_panic::CatchPanicLayer,
    compression::CompressionLayer,
    cors::CorsLayer,
    decompression::RequestDecompressionLayer,
    limit::RequestBodyLimitLayer,
    map_request_body::MapRequestBodyLayer,
    normalize_path::NormalizePathLayer,
    request_id::{MakeRequestUuid, SetRequestIdLayer},
    sensitive_headers::SetSensitiveRequestHeadersLayer,
    timeout::{RequestBodyTimeoutLayer, TimeoutLayer},
    trace::TraceLayer,
};

/// Asserts that the received body is the verified one.
async fn on_upload<B>(request: Request<B>) -> Result<Response<Full<Bytes>>, Infallible>
where
    B: Body,
    B::Error: std::fmt::Debug,
{
    let callback = request.extensions().get::<VerifiedCallback>().cloned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(callback.unwrap().body(), &body);
    Ok(CallbackReply::ok().into())
}

async fn check<S, B>(name: &str, app: S)
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone,
    S::Error: std::fmt::Debug,
    B: Body,
    B::Error: std::fmt::Debug,
{
    for case in Case::all() {
        let response = app.clone().oneshot(case.request()).await.unwrap();
        let expected = if case.genuine { 200 } else { 403 };
        assert_eq!(response.status(), expected, "{name}: {}", case.name);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        if case.genuine {
            assert_eq!(body, r#"{"Status":"OK"}"#, "{name}: {}", case.name);
        }
    }
}

macro_rules! outside {
    ($($layer:expr),+ $(,)?) => {
        $(check(
            stringify!($layer),
            ServiceBuilder::new()
                .layer($layer)
                .layer(OssCallbackLayer::new())
                .service_fn(on_upload),
        )
        .await;)+
    };
}

macro_rules! inside {
    ($($layer:expr),+ $(,)?) => {
        $(check(
            stringify!($layer),
            ServiceBuilder::new()
                .layer(OssCallbackLayer::new())
                .layer($layer)
                .service_fn(on_upload),
        )
        .await;)+
    };
}

fn a_minute() -> TimeoutLayer {
    TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, Duration::from_secs(60))
}

#[tokio::test]
async fn outside() {
    outside!(
        CatchPanicLayer::new(),
        SetRequestIdLayer::x_request_id(MakeRequestUuid),
        SetSensitiveRequestHeadersLayer::new([AUTHORIZATION]),
        TraceLayer::new_for_http(),
        a_minute(),
        RequestBodyTimeoutLayer::new(Duration::from_secs(60)),
        RequestBodyLimitLayer::new(64 * 1024),
        CorsLayer::permissive(),
        tower::limit::ConcurrencyLimitLayer::new(1),
        tower::load_shed::LoadShedLayer::new(),
        tower::timeout::TimeoutLayer::new(Duration::from_secs(60)),
        tower::buffer::BufferLayer::new(2),
    );
}

#[tokio::test]
async fn inside() {
    inside!(
        CompressionLayer::new(),
        TraceLayer::new_for_http(),
        CorsLayer::permissive(),
        RequestBodyLimitLayer::new(64 * 1024),
        RequestDecompressionLayer::new(),
        MapRequestBodyLayer::new(|body: RequestBody<Full<Bytes>>| body.boxed()),
        a_minute(),
        tower::limit::ConcurrencyLimitLayer::new(1),
        tower::load_shed::LoadShedLayer::new(),
        tower::timeout::TimeoutLayer::new(Duration::from_secs(60)),
        tower::buffer::BufferLayer::new(2),
    );
}

#[tokio::test]
async fn boxed_inside_and_outside() {
    let inner: BoxCloneService<Request<RequestBody<Full<Bytes>>>, _, Infallible> =
        BoxCloneService::new(service_fn(on_upload));
    let app = OssCallbackLayer::new().layer(inner);
    check("BoxCloneService inside", app.clone()).await;
    check("BoxCloneService outside", BoxCloneService::new(app)).await;
}

#[tokio::test]
async fn an_option_of_the_layer_needs_one_body_type() {
    // The layer changes the body types, so both branches are boxed to the same type.
    for layer in [None, Some(OssCallbackLayer::new())] {
        let on = layer.is_some();
        let app = match layer {
            Some(layer) => BoxCloneService::new(
                ServiceBuilder::new()
                    .map_response(|response: Response<_>| response.map(BodyExt::boxed))
                    .layer(layer)
                    .service_fn(|_| async {
                        Ok::<Response<Full<Bytes>>, Infallible>(CallbackReply::ok().into())
                    }),
            ),
            None => BoxCloneService::new(service_fn(|_| async {
                let reply: Response<Full<Bytes>> = CallbackReply::ok().into();
                Ok::<_, Infallible>(reply.map(BodyExt::boxed))
            })),
        };
        let forged = Case::named("current-doc-rewritten").request();
        let status = app.oneshot(forged).await.unwrap().status();
        assert_eq!(status, if on { 403 } else { 200 });
    }
}

#[tokio::test]
async fn an_error_of_the_inner_service_passes_through_untouched() {
    #[derive(Debug, PartialEq)]
    struct Mine(u8);
    let inner = service_fn(|_: Request<RequestBody<Full<Bytes>>>| async {
        Err::<Response<Full<Bytes>>, _>(Mine(7))
    });
    let app = OssCallbackLayer::new().layer(inner);
    let genuine = Case::named("official-doc-index-php").request();
    assert_eq!(app.oneshot(genuine).await.unwrap_err(), Mine(7));
}

#[tokio::test(start_paused = true)]
async fn a_body_timeout_outside_is_a_body_that_broke_off() {
    let app = ServiceBuilder::new()
        .layer(RequestBodyTimeoutLayer::new(Duration::from_secs(1)))
        .layer(OssCallbackLayer::new())
        .service_fn(on_upload);
    let signer = Signer::with_512_bits();
    let request = signer
        .builder("/cb", FORM, b"a=b")
        .body(Frames::data([]).then_never_end())
        .unwrap();
    assert_eq!(app.oneshot(request).await.unwrap().status(), 400);
}

#[tokio::test]
async fn a_body_error_of_any_type_will_do() {
    struct Breaks;
    impl Body for Breaks {
        type Data = io::Cursor<Vec<u8>>;
        type Error = Box<dyn Error + Send + Sync>;

        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
            std::task::Poll::Ready(Some(Err("gone".into())))
        }
    }
    let app = OssCallbackLayer::new().layer(service_fn(|_: Request<RequestBody<Breaks>>| async {
        Ok::<Response<Full<Bytes>>, Infallible>(CallbackReply::ok().into())
    }));
    let request = Signer::with_512_bits()
        .builder("/cb", FORM, b"a=b")
        .body(Breaks)
        .unwrap();
    assert_eq!(app.oneshot(request).await.unwrap().status(), 400);
}

#[tokio::test]
async fn cn_044_a_layer_that_normalises_the_path_stands_inside() {
    let signer = Signer::with_512_bits();
    let request = || signer.request("/cb/", FORM, b"a=b");
    let outside = ServiceBuilder::new()
        .layer(NormalizePathLayer::trim_trailing_slash())
        .layer(signer.layer())
        .service_fn(on_upload);
    assert_eq!(outside.oneshot(request()).await.unwrap().status(), 403);
    let inside = ServiceBuilder::new()
        .layer(signer.layer())
        .layer(NormalizePathLayer::trim_trailing_slash())
        .service_fn(on_upload);
    assert_eq!(inside.oneshot(request()).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_header_that_a_layer_outside_hides_is_hidden_from_us_too() {
    let name = HeaderName::from_static("x-oss-pub-key-url");
    let app = ServiceBuilder::new()
        .map_request(move |mut request: Request<Full<Bytes>>| {
            request.headers_mut().remove(&name);
            request
        })
        .layer(OssCallbackLayer::new())
        .service_fn(on_upload);
    let genuine = Case::named("official-doc-index-php").request();
    assert_eq!(app.oneshot(genuine).await.unwrap().status(), 400);
}
