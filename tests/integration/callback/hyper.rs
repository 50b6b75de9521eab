//! The layer under hyper, over in-memory connections.

use std::{convert::Infallible, rc::Rc};

use crate::support::{Case, Handler, full};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tower::{Layer as _, service_fn};
use tower_aliyun_oss::{
    OssCallbackLayer,
    callback::{CallbackReply, RequestBody},
};

/// Serves HTTP/1 on one in-memory connection. The tests of `examples/frameworks` cover HTTP/2.
fn serve(layer: &OssCallbackLayer) -> (DuplexStream, Handler) {
    let handler = Handler::default();
    let service = TowerToHyperService::new(layer.layer(handler.clone()));
    let (client, server) = duplex(64 * 1024);
    tokio::spawn(async move {
        http1::Builder::new()
            .serve_connection(TokioIo::new(server), service)
            .await
    });
    (client, handler)
}

/// Sends these bytes, and reads until the server closes the connection.
async fn exchange(layer: &OssCallbackLayer, request: &[u8]) -> (String, Handler) {
    let (mut stream, handler) = serve(layer);
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    (answer, handler)
}

fn head(case: &Case, version: &str, more: &str) -> String {
    let mut head = format!(
        "POST {} {version}\r\nhost: a.example\r\n",
        case.path_and_query
    );
    for (name, value) in &case.headers {
        head += &format!("{name}: {value}\r\n");
    }
    if !case.headers.contains_key("content-type") {
        head += &format!("content-type: {}\r\n", case.content_type());
    }
    head + more + "\r\n"
}

#[tokio::test]
async fn sg_22_http_1_0_without_keep_alive() {
    for case in Case::genuine() {
        let length = format!(
            "content-length: {}\r\nconnection: close\r\n",
            case.body.len()
        );
        let request = head(&case, "HTTP/1.0", &length) + &case.body;
        let (answer, handler) = exchange(&OssCallbackLayer::new(), request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
        assert!(answer.contains("content-length: 15") && answer.ends_with(r#"{"Status":"OK"}"#));
        assert_eq!(handler.seen()[0].body, case.body);
    }
}

#[tokio::test]
async fn sg_22_chunks_of_one_byte_with_trailers() {
    for case in Case::genuine() {
        let chunked = "transfer-encoding: chunked\r\ntrailer: x-a\r\nconnection: close\r\n";
        let mut request = head(&case, "HTTP/1.1", chunked).into_bytes();
        for byte in case.body.as_bytes() {
            request.extend_from_slice(&[b'1', b'\r', b'\n', *byte, b'\r', b'\n']);
        }
        request.extend_from_slice(b"0\r\nx-a: 1\r\n\r\n");
        let (answer, handler) = exchange(&OssCallbackLayer::new(), &request).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert_eq!(handler.seen()[0].body, case.body);
    }
}

#[tokio::test]
async fn sg_22_expect_100_continue() {
    let case = Case::named("official-doc-index-php");
    let more = format!(
        "expect: 100-continue\r\nconnection: close\r\ncontent-length: {}\r\n",
        case.body.len()
    );
    let (mut stream, handler) = serve(&OssCallbackLayer::new());
    stream
        .write_all(head(&case, "HTTP/1.1", &more).as_bytes())
        .await
        .unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).await.unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(case.body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(handler.seen()[0].body, case.body);

    // A request rejected by its head gets no `100 Continue`.
    let more = more.replace("content-length: 18", "content-length: 99999999");
    let (answer, _) = exchange(
        &OssCallbackLayer::new(),
        head(&case, "HTTP/1.1", &more).as_bytes(),
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

/// The transport decides how to read ambiguous lengths. Either the request is rejected, or the
/// layer verifies exactly the body that the handler sees.
#[tokio::test]
async fn sg_25_heads_that_two_readers_could_read_differently() {
    let case = Case::named("official-doc-index-php");
    let body = &case.body;
    let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let length = body.len();
    for (more, sent, accepted) in [
        // Two lengths, equal or different: rejected.
        (
            format!("content-length: {length}\r\ncontent-length: 3\r\n"),
            body,
            false,
        ),
        (
            format!("content-length: {length}, {length}\r\n"),
            body,
            false,
        ),
        ("content-length: +18\r\n".into(), body, false),
        ("content-length: 0x12\r\n".into(), body, false),
        ("content-length: -18\r\n".into(), body, false),
        // A shorter length truncates the body.
        ("content-length: 3\r\n".into(), body, false),
        // With both, the transfer coding overrides the length.
        (
            format!("content-length: {length}\r\ntransfer-encoding: chunked\r\n"),
            &chunked,
            true,
        ),
        (
            format!("transfer-encoding: chunked\r\ncontent-length: {length}\r\n"),
            &chunked,
            true,
        ),
        (
            "transfer-encoding: chunked, identity\r\n".into(),
            &chunked,
            false,
        ),
        ("transfer-encoding: xchunked\r\n".into(), &chunked, false),
        // Folded header lines.
        (
            format!("x-a: b\r\n content-length: 3\r\ncontent-length: {length}\r\n"),
            body,
            false,
        ),
        (format!("content-length : {length}\r\n"), body, false),
    ] {
        let more = more + "connection: close\r\n";
        let request = head(&case, "HTTP/1.1", &more) + sent;
        let (answer, handler) = exchange(&OssCallbackLayer::new(), request.as_bytes()).await;
        assert!(
            answer.starts_with("HTTP/1.1 200") || !accepted,
            "{more:?}: {answer}"
        );
        for seen in handler.seen() {
            assert!(accepted, "{more:?}: {answer}");
            assert_eq!(seen.body, *body, "{more:?}");
        }
    }
}

#[tokio::test]
async fn cn_009_absolute_form_signs_path_and_query_only() {
    let mut case = Case::named("official-doc-index-php");
    let length = format!(
        "content-length: {}\r\nconnection: close\r\n",
        case.body.len()
    );
    case.path_and_query = format!("http://other.example{}", case.path_and_query);
    let request = head(&case, "HTTP/1.1", &length) + &case.body;
    let (answer, handler) = exchange(&OssCallbackLayer::new(), request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let callback = handler.seen()[0].verified.clone().unwrap();
    assert_eq!(callback.target().as_str(), "/index.php?id=1&index=2");
}

#[tokio::test]
async fn df_14_a_connection_that_ends_in_the_body_reaches_nobody() {
    let case = Case::named("official-doc-index-php");
    let (mut stream, handler) = serve(&OssCallbackLayer::new());
    let request = head(&case, "HTTP/1.1", "content-length: 18\r\n") + "bucket=";
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 400"),
        "{answer}"
    );
    assert!(handler.seen().is_empty());
}

#[tokio::test]
async fn one_connection_takes_callback_after_callback() {
    let (client, handler) = serve(&OssCallbackLayer::new());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(client))
        .await
        .unwrap();
    tokio::spawn(connection);
    for round in 0..3 {
        for case in Case::all() {
            let response = sender.send_request(case.request()).await.unwrap();
            assert_eq!(
                response.status(),
                if case.genuine { 200 } else { 403 },
                "{} {round}",
                case.name
            );
            response.into_body().collect().await.unwrap();
        }
    }
    assert_eq!(handler.seen().len(), 9);
}

/// The layer does not require `Send`, so it accepts a single-threaded service.
#[tokio::test]
async fn a_service_that_is_not_send_is_fine() {
    let count = Rc::new(std::cell::Cell::new(0));
    let counted = Rc::clone(&count);
    let service =
        OssCallbackLayer::new().layer(service_fn(move |_: Request<RequestBody<Incoming>>| {
            counted.set(counted.get() + 1);
            async { Ok::<Response<Full<Bytes>>, Infallible>(CallbackReply::ok().into()) }
        }));
    let (client, server) = duplex(4096);
    let connection = http1::Builder::new()
        .serve_connection(TokioIo::new(server), TowerToHyperService::new(service));
    let (mut sender, client) = hyper::client::conn::http1::handshake(TokioIo::new(client))
        .await
        .unwrap();
    let ask = async move {
        let response = sender
            .send_request(Case::named("official-doc-index-php").request())
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
        let request = Request::get("/").body(full("")).unwrap();
        assert_eq!(sender.send_request(request).await.unwrap().status(), 405);
    };
    let (served, asked, ()) = tokio::join!(connection, client, ask);
    served.unwrap();
    asked.unwrap();
    assert_eq!(count.get(), 1);
}
