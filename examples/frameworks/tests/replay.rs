//! CN-048: a replay of a genuine callback under every equivalent spelling of its target reaches the
//! same handler or none, in the routers of poem, salvo and warp.
//!
//! Each router has a route for a fixed path, one with a parameter, and one for the rest of a path.
//! The layer has no tickets, which would reject most of these requests before any router sees them.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../../common/serve.rs"]
mod serve;
mod support;

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use support::send;
use tokio::net::TcpListener;
use tower::{Layer as _, Service, ServiceBuilder, service_fn};
use tower_aliyun_oss::{
    CallbackReply, OssCallbackLayer, VerifiedCallback, callback::RequestBody,
    testing::CallbackSigner,
};

/// Signed targets, with other spellings that a router or a client could take for them.
const SPELLINGS: &[(&str, &[&str])] = &[
    (
        "/oss/cb",
        &[
            "/oss/c%62",
            "/%6Fss/cb",
            "/%6fs%73/%63%62",
            "/oss//cb",
            "//oss/cb",
            "/oss%2Fcb",
            "/oss%2fcb",
            "/oss/./cb",
            "/./oss/cb",
            "/oss/x/../cb",
            "/oss/%2e/cb",
            "/oss/%2E%2E/oss/cb",
            "/oss/cb/",
            "/oss/cb%2F",
            "/oss/cb%00",
            "/oss/cb;a",
            "/OSS/cb",
            "/oss/cb%3F",
            "/oss/cb?",
            "http://other.example/oss/cb",
        ],
    ),
    (
        "/oss/a-b_c",
        &[
            "/oss/a%2Db%5fc",
            "/oss/%61-b%5Fc",
            "/%6fss/a-b_c",
            "/oss/a%252Db_c",
        ],
    ),
    (
        "/oss/%E4%B8%AD%20x",
        &[
            "/oss/%e4%b8%ad%20x",
            "/oss/%E4%b8%AD%20%78",
            "/os%73/%E4%B8%AD%20x",
            "/oss/%E4%B8%AD+x",
            "/oss/%E4%B8%AD%2Bx",
            "/oss/%E4%B8%AD%2520x",
            "/oss/\u{4e2d}%20x",
        ],
    ),
    (
        "/oss/a%7Cb%5C",
        &[
            "/oss/a%7cb%5c",
            "/oss/%61%7Cb%5c",
            "/%6Fss/a%7cb%5C",
            "/oss/a|b%5C",
            "/oss/a|b\\",
            "/oss/a%7Cb/",
        ],
    ),
    (
        "/oss/%22%3C%3E%60%7B%7D%5E",
        &[
            "/oss/%22%3c%3e%60%7b%7d%5e",
            "/oss/\"<>`{}^",
            "/oss/%22%3C%3E%60{}%5E",
        ],
    ),
    (
        "/oss/deep/er",
        &[
            "/oss/deep%2Fer",
            "/oss/deep//er",
            "/oss/d%65ep/er",
            "/oss/deep/./er",
            "/oss/deep/er/",
        ],
    ),
    (
        "/oss/cb?a=%7e",
        &[
            "/oss/cb?a=~",
            "/oss/cb?a=%7E",
            "/oss/c%62?a=%7e",
            "/oss/cb%3Fa=%7e",
            "/oss/cb?%61=%7e",
        ],
    ),
];

/// What handlers saw: their route, and its parameter.
type Reached = Arc<Mutex<Vec<String>>>;

/// Sends every spelling, and compares what was reached with what the signed one reaches. Returns
/// how many other spellings reached a handler.
async fn check(server: SocketAddr, reached: &Reached) -> usize {
    let signer = CallbackSigner::new();
    let mut accepted = 0;
    for (signed, spellings) in SPELLINGS {
        let genuine = signer.callback(signed).form("a=b");
        let genuine: Request<Bytes> = genuine.request().unwrap();
        let (status, body) = send(server, &genuine, signed).await;
        let canonical: Vec<String> = reached.lock().unwrap().drain(..).collect();
        assert_eq!((status, canonical.len()), (200, 1), "{signed}: {body}");
        for sent in *spellings {
            let (status, body) = send(server, &genuine, sent).await;
            let seen: Vec<String> = reached.lock().unwrap().drain(..).collect();
            if seen.is_empty() {
                assert!(status >= 400, "{sent}: {status} {body}");
            } else {
                assert_eq!(seen, canonical, "{signed} as {sent}");
                assert_eq!(status, 200, "{signed} as {sent}");
                accepted += 1;
            }
        }
    }
    accepted
}

fn layer() -> OssCallbackLayer {
    OssCallbackLayer::new().key_source(CallbackSigner::new().key_source())
}

fn record(reached: &Reached, route: &str, parameter: &str) {
    reached.lock().unwrap().push(format!("{route} {parameter}"));
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[tokio::test]
async fn cn_048_warp_reaches_the_same_handler_or_none() {
    use warp::Filter as _;

    let reached = Reached::default();
    let handler = |route: &'static str| {
        let reached = Arc::clone(&reached);
        move |parameter: String, _: VerifiedCallback| {
            record(&reached, route, &parameter);
            warp::reply::Response::from(CallbackReply::ok())
        }
    };
    let verified = || warp::post().and(warp::ext::get::<VerifiedCallback>());
    let fixed = warp::path!("oss" / "cb").map(String::new);
    let rest = warp::path("oss").and(warp::path::tail());
    let rest = rest.map(|tail: warp::path::Tail| tail.as_str().to_owned());
    let filters = fixed.and(verified()).map(handler("fixed"));
    let named = warp::path!("oss" / String).and(verified());
    let filters = filters.or(named.map(handler("named")));
    let filters = filters.or(rest.and(verified()).map(handler("rest")));
    let (listener, server) = listener().await;
    let app = layer().layer(warp::service(filters));
    tokio::spawn(serve::serve(listener, app, std::future::pending()));
    let accepted = check(server, &reached).await;
    assert!(accepted >= 10, "{accepted}");
}

/// A handler as a tower service, for poem.
fn handler(
    reached: &Reached,
    route: &'static str,
) -> impl Service<
    Request<RequestBody<poem_body::BoxBody>>,
    Response = Response<Full<Bytes>>,
    Error = Infallible,
    Future: Send,
> + Clone
+ Send
+ Sync
+ use<> {
    let reached = Arc::clone(reached);
    service_fn(move |request: Request<RequestBody<poem_body::BoxBody>>| {
        assert!(request.extensions().get::<VerifiedCallback>().is_some());
        record(&reached, route, request.uri().path());
        async { Ok(CallbackReply::ok().into()) }
    })
}

/// The body that poem passes to a tower service.
mod poem_body {
    pub(crate) type BoxBody = http_body_util::combinators::BoxBody<bytes::Bytes, std::io::Error>;
}

/// poem passes no sign of its routing to the layer, which then accepts equivalent spellings. A
/// route with a parameter takes them for another path, so its layer must accept the exact spelling
/// only.
#[tokio::test]
async fn cn_048_poem_reaches_the_same_handler_or_none() {
    use poem::{Route, Server, endpoint::TowerCompatExt as _, listener::TcpAcceptor};

    let reached = Reached::default();
    let exact = || layer().target_uri(|parts| Some(parts.uri.clone()));
    let routes = Route::new()
        .at(
            "/oss/cb",
            layer().layer(handler(&reached, "fixed")).compat(),
        )
        .at(
            "/oss/:name",
            exact().layer(handler(&reached, "named")).compat(),
        )
        .at(
            "/oss/*rest",
            exact().layer(handler(&reached, "rest")).compat(),
        );
    let (listener, server) = listener().await;
    let acceptor = TcpAcceptor::from_tokio(listener).unwrap();
    tokio::spawn(Server::new_with_acceptor(acceptor).run(routes));
    check(server, &reached).await;
}

struct Recorder(Reached, &'static str);

#[salvo::async_trait]
impl salvo::Handler for Recorder {
    async fn handle(
        &self,
        request: &mut salvo::Request,
        _: &mut salvo::Depot,
        response: &mut salvo::Response,
        _: &mut salvo::FlowCtrl,
    ) {
        assert!(request.extensions().get::<VerifiedCallback>().is_some());
        let parameters: Vec<_> = request.params().iter().collect();
        record(
            &self.0,
            self.1,
            &format!("{parameters:?} {}", request.uri().path()),
        );
        response.merge_hyper(Response::<Bytes>::from(CallbackReply::ok()));
    }
}

#[tokio::test]
async fn cn_048_salvo_reaches_the_same_handler_or_none() {
    use salvo::{
        Router, Server, conn::tcp::TcpAcceptor, http::ReqBody, prelude::TowerLayerCompat as _,
    };

    let reached = Reached::default();
    let verified = ServiceBuilder::new().layer(layer()).map_request(
        |request: Request<RequestBody<ReqBody>>| {
            request.map(|body| ReqBody::Boxed {
                inner: Box::pin(body.map_err(Into::into)),
                fuse_config: None,
            })
        },
    );
    let route =
        |path: &str, name| Router::with_path(path).post(Recorder(Arc::clone(&reached), name));
    let routes = Router::with_path("oss")
        .hoop(verified.compat())
        .push(route("cb", "fixed"))
        .push(route("{name}", "named"))
        .push(route("{**rest}", "rest"));
    let (listener, server) = listener().await;
    let server_task = Server::new(TcpAcceptor::try_from(listener).unwrap());
    tokio::spawn(async move { server_task.try_serve(routes).await });
    let accepted = check(server, &reached).await;
    assert!(accepted >= 4, "{accepted}");
}
