//! What every recipe must do.

use std::{fmt::Debug, future::Future, net::SocketAddr};

use bytes::Bytes;
use http::Request;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};
use tower_aliyun_oss::{OssUploads, testing::CallbackSigner};

use crate::{
    support::{answer, callback, head, send},
    uploads,
};

const ASK: &str = "/oss/policy?filename=a.png&size=5&type=image/png";

/// Other spellings of the path of the callback.
const SPELLINGS: &[&str] = &[
    "/oss/c%61llback",
    "/oss/%63allback",
    "/%6Fss/callback",
    "/%6fss/callbac%6b",
    "/oss//callback",
    "//oss/callback",
    "/oss%2Fcallback",
    "/oss%2fcallback",
    "/./oss/callback",
    "/x/../oss/callback",
    "/oss/%2e/callback",
    "/oss/callback/",
    "/oss/callback%20",
    "/oss/callback+",
    "/OSS/callback",
    "/oss/callback%3F",
    "/oss/callback;a",
];

async fn get_token(server: SocketAddr) -> Value {
    let request = Request::get(ASK).header("host", "app.example");
    let request = request.header("connection", "close").body(Bytes::new());
    let (status, token) = send(server, &request.unwrap(), ASK).await;
    assert_eq!(status, 200, "{token}");
    let token: Value = serde_json::from_str(&token).unwrap();
    assert!(
        token["key"].as_str().unwrap().starts_with("user/7/"),
        "{token}"
    );
    token
}

/// Tests a recipe on a loopback address.
pub(crate) async fn check<F, E>(
    serve: impl FnOnce(TcpListener, OssUploads, oneshot::Receiver<()>) -> F,
) where
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Debug + Send + 'static,
{
    let signer = CallbackSigner::new();
    let uploads = uploads("http://app.example/oss/callback").unwrap();
    let uploads = uploads.key_source(signer.key_source()).build().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let serving = serve(listener, uploads, stopped);
    let serving = tokio::spawn(async {
        // A server that does not start would otherwise only show as a connection reset.
        serving.await.inspect_err(|error| eprintln!("{error:?}"))
    });

    let token = get_token(server).await;
    let genuine = callback(&signer, &token);
    let target = genuine.uri().to_string();

    // Without a signature, with one of another key, and with another body.
    let mut unsigned = genuine.clone();
    unsigned.headers_mut().remove("authorization");
    let mut tampered = genuine.clone();
    let body = String::from_utf8(genuine.body().to_vec()).unwrap();
    *tampered.body_mut() = body.replace("&size=5", "&size=6").into();
    assert_ne!(tampered.body(), genuine.body());
    let mut elsewhere = genuine.clone();
    let forger = CallbackSigner::from_pem(include_str!("../../../../tests/keys/rsa_2048.pem"));
    let signature = forger
        .unwrap()
        .authorization(genuine.uri().path_and_query().unwrap(), genuine.body());
    elsewhere
        .headers_mut()
        .insert("authorization", signature.unwrap());
    for forged in [&unsigned, &tampered, &elsewhere] {
        let (status, body) = send(server, forged, &target).await;
        assert!(matches!(status, 400 | 401 | 403), "{status} {body}");
    }

    let (status, body) = send(server, &genuine, &target).await;
    assert_eq!((status, &*body), (200, r#"{"Status":"OK"}"#));

    // The handler is the only one of the recipe, and has run for this ticket.
    for spelling in SPELLINGS {
        let (status, body) = send(server, &genuine, spelling).await;
        let handled = status == 200 && body == r#"{"Status":"OK"}"#;
        assert!(handled || status >= 400, "{spelling}: {status} {body}");
    }

    // Stopped after the head of a callback has arrived, and before its body has.
    let token = get_token(server).await;
    let genuine = callback(&signer, &token);
    let mut stream = TcpStream::connect(server).await.unwrap();
    let expecting = head(&genuine, &target).replacen("\r\n", "\r\nexpect: 100-continue\r\n", 1);
    stream.write_all(expecting.as_bytes()).await.unwrap();
    let mut line = [0; 25];
    stream.read_exact(&mut line).await.unwrap();
    assert_eq!(
        line.escape_ascii().to_string(),
        r"HTTP/1.1 100 Continue\r\n\r\n"
    );
    stop.send(()).unwrap();
    stream.write_all(genuine.body()).await.unwrap();
    let (status, body) = answer(stream).await;
    assert_eq!((status, &*body), (200, r#"{"Status":"OK"}"#));
    serving.await.unwrap().unwrap();
}
