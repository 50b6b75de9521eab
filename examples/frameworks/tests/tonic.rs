//! Tests the layer in tonic servers, end to end over in-memory connections.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../../tests/integration/support/mod.rs"]
mod support;

use std::{convert::Infallible, pin::Pin};

use axum::{Router, routing::post};
use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri};
use http_body::Body;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use support::tokens::{everybody, get_over, is_token, token_request, tokens};
use support::{Case, FORM, Frames, Handler, Signer, full};
use tokio::io::{DuplexStream, duplex};
use tokio_stream::Stream;
use tonic::{
    service::{LayerExt as _, Routes, interceptor::InterceptorLayer},
    transport::{Channel, Endpoint, Server},
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tower::{Layer as _, ServiceBuilder, service_fn};
use tower_aliyun_oss::{
    OssCallbackLayer,
    callback::{CallbackReply, VerifiedCallback},
};

const EXAMPLE: &str = "official-doc-index-php";
const EXAMPLE_PATH: &str = "/index.php";

async fn on_upload(callback: VerifiedCallback, body: Bytes) -> CallbackReply {
    assert_eq!(callback.body(), &body);
    CallbackReply::ok()
}

fn callbacks() -> Router {
    Router::new().route(EXAMPLE_PATH, post(on_upload))
}

/// In-memory connections for a server to accept.
type Connections = Pin<Box<dyn Stream<Item = Result<DuplexStream, Infallible>> + Send>>;

fn connections(count: usize) -> (Vec<DuplexStream>, Connections) {
    let (clients, servers): (Vec<_>, Vec<_>) = (0..count).map(|_| duplex(64 * 1024)).unzip();
    (
        clients,
        Box::pin(tokio_stream::iter(servers.into_iter().map(Ok))),
    )
}

async fn http1<B>(connection: DuplexStream, request: Request<B>) -> Response<Incoming>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let io = TokioIo::new(connection);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    sender.send_request(request).await.unwrap()
}

async fn http2(connection: DuplexStream, mut request: Request<Full<Bytes>>) -> Response<Incoming> {
    let io = TokioIo::new(connection);
    let executor = TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io)
        .await
        .unwrap();
    tokio::spawn(connection);
    let target = request.uri().path_and_query().unwrap().clone();
    *request.uri_mut() = format!("http://any.example{target}").parse().unwrap();
    sender.send_request(request).await.unwrap()
}

async fn grpc(connection: DuplexStream) -> Result<i32, tonic::Status> {
    let mut connection = Some(connection);
    let connect = service_fn(move |_: Uri| {
        let connection = connection.take().map(TokioIo::new);
        std::future::ready(connection.ok_or_else(|| std::io::Error::other("connected twice")))
    });
    let channel: Channel = Endpoint::from_static("http://any.example")
        .connect_with_connector(connect)
        .await
        .unwrap();
    let answer = HealthClient::new(channel)
        .check(HealthCheckRequest::default())
        .await?;
    Ok(answer.into_inner().status)
}

/// Checks what every mount must do: accept genuine callbacks over HTTP/1.1 and HTTP/2, reject
/// forged ones, and serve gRPC.
async fn check(name: &str, mut connections: Vec<DuplexStream>) {
    let mut next = || connections.pop().unwrap();
    for (case, expected) in [(EXAMPLE, 200), ("current-doc-rewritten", 403)] {
        let request = || {
            let mut request = Case::named(case).request();
            *request.uri_mut() = Case::named(EXAMPLE).path_and_query.parse().unwrap();
            request
        };
        for response in [
            http1(next(), request()).await,
            http2(next(), request()).await,
        ] {
            assert_eq!(response.status(), expected, "{name}: {case}");
            let length = response.headers()["content-length"].clone();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(length, body.len().to_string(), "{name}: {case}");
            if expected == 200 {
                assert_eq!(body, r#"{"Status":"OK"}"#);
            }
        }
    }
    let serving: i32 = ServingStatus::Serving.into();
    assert_eq!(grpc(next()).await.unwrap(), serving, "{name}: grpc");
}

#[tokio::test]
async fn callbacks_beside_grpc_through_routes() {
    let (_, health) = tonic_health::server::health_reporter();
    let app = callbacks().route_layer(OssCallbackLayer::new());
    let routes = Routes::from(app).add_service(health);
    let (clients, incoming) = connections(5);
    tokio::spawn(
        Server::builder()
            .accept_http1(true)
            .add_routes(routes)
            .serve_with_incoming(incoming),
    );
    check("Routes", clients).await;
}

#[tokio::test]
async fn the_layer_around_the_whole_server() {
    let (_, health) = tonic_health::server::health_reporter();
    let routes = Routes::from(callbacks()).add_service(health);
    let (clients, incoming) = connections(5);
    tokio::spawn(
        Server::builder()
            .accept_http1(true)
            .layer(OssCallbackLayer::new().only_path(EXAMPLE_PATH).unwrap())
            .add_routes(routes)
            .serve_with_incoming(incoming),
    );
    check("Server::layer", clients).await;
}

#[tokio::test]
async fn with_an_interceptor_inside() {
    let (_, health) = tonic_health::server::health_reporter();
    let routes = Routes::from(callbacks()).add_service(health);
    let layers = ServiceBuilder::new()
        .layer(OssCallbackLayer::new().only_path(EXAMPLE_PATH).unwrap())
        .layer(InterceptorLayer::new(
            |request: tonic::Request<()>| -> Result<_, tonic::Status> { Ok(request) },
        ))
        .into_inner();
    let (clients, incoming) = connections(5);
    tokio::spawn(
        Server::builder()
            .accept_http1(true)
            .layer(layers)
            .add_routes(routes)
            .serve_with_incoming(incoming),
    );
    check("InterceptorLayer", clients).await;
}

#[tokio::test]
async fn without_only_path_no_grpc_call_gets_through() {
    let (_, health) = tonic_health::server::health_reporter();
    let (mut clients, incoming) = connections(2);
    tokio::spawn(
        Server::builder()
            .layer(OssCallbackLayer::new())
            .add_service(health)
            .serve_with_incoming(incoming),
    );
    let refused = grpc(clients.pop().unwrap()).await.unwrap_err();
    assert_ne!(refused.code(), tonic::Code::Ok);

    // `named_layer` wraps a single gRPC service; requests for other paths are still routed.
    let (_, health) = tonic_health::server::health_reporter();
    let named = ServiceBuilder::new()
        .layer(OssCallbackLayer::new())
        .named_layer(health);
    let (mut clients, incoming) = connections(2);
    tokio::spawn(
        Server::builder()
            .accept_http1(true)
            .add_service(named)
            .serve_with_incoming(incoming),
    );
    assert!(grpc(clients.pop().unwrap()).await.is_err());
    let request = Request::get("/").body(full("")).unwrap();
    let response = http1(clients.pop().unwrap(), request).await;
    assert_ne!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn tonic_serves_it_beside_grpc() {
    let (_, health) = tonic_health::server::health_reporter();
    let app = Router::new().route_service("/oss/policy", tokens(everybody));
    let routes = Routes::from(app).add_service(health);
    let (clients, servers): (Vec<_>, Vec<_>) = (0..2).map(|_| duplex(64 * 1024)).unzip();
    let incoming = tokio_stream::iter(servers.into_iter().map(Ok::<_, Infallible>));
    tokio::spawn(
        Server::builder()
            .accept_http1(true)
            .add_routes(routes)
            .serve_with_incoming(incoming),
    );
    let [first, second] = <[DuplexStream; 2]>::try_from(clients).unwrap();
    is_token(get_over(first).await).await;
    is_token(get_over_http2(second).await).await;
}

#[tokio::test]
async fn tonic_serves_it_as_its_only_service() {
    let (client, server) = duplex(64 * 1024);
    let incoming = tokio_stream::iter([Ok::<_, Infallible>(server)]);
    tokio::spawn(Server::builder().serve_with_incoming(tokens(everybody), incoming));
    is_token(get_over_http2(client).await).await;
}

#[tokio::test]
async fn sg_22_http_2() {
    let signer = Signer::with_512_bits();
    let (client, handler) = serve_http2(&signer.layer());
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(client))
            .await
            .unwrap();
    tokio::spawn(connection);
    let chunks = b"bucket=b&object=o".chunks(3).map(Bytes::from_static);
    let mut request = signer
        .builder("/cb?a=1", FORM, b"bucket=b&object=o")
        .body(Frames::data(chunks))
        .unwrap();
    *request.uri_mut() = "https://any.example/cb?a=1".parse().unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-length"], "15");
    assert_eq!(handler.seen()[0].body, "bucket=b&object=o");
}

/// Serves HTTP/2 on one in-memory connection.
fn serve_http2(layer: &OssCallbackLayer) -> (DuplexStream, Handler) {
    let handler = Handler::default();
    let service = TowerToHyperService::new(layer.layer(handler.clone()));
    let (client, server) = duplex(64 * 1024);
    let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    tokio::spawn(builder.serve_connection(TokioIo::new(server), service));
    (client, handler)
}

/// Sends the token request of [`get_over`] over HTTP/2.
async fn get_over_http2(connection: DuplexStream) -> Response<Incoming> {
    let io = TokioIo::new(connection);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .unwrap();
    tokio::spawn(connection);
    sender.send_request(token_request()).await.unwrap()
}
