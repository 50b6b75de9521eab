//! Callbacks: the request that is sent, its verification, and the response to the uploader.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use aliyun_oss_emulator::{ClientAddress, Emulator, UploadReport, UploadStep};
use axum::{Router, routing::post};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tower_aliyun_oss::{
    OssCallbackLayer,
    callback::{CallbackReply, VerifiedCallback},
    policy::{CallbackDirective, Credentials, PostPolicy, SignatureVersion},
    protocol::{ObjectKey, SizeRange},
    testing::CallbackSigner,
};

use super::support::{
    Answer, BUCKET, Form, ID, NOW, OneServer, SECRET, at, builder, callback, good, send,
};

const PNG: &[u8] = &[
    0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 13, b'I', b'H', b'D', b'R', 0, 0, 3,
    0x2a, 0, 0, 2, 0x1b, 8, 6, 0, 0, 0, 0, 0, 0, 0,
];

/// The whole path over real sockets: token, form, emulator, callback, layer, handler, and back.
#[tokio::test]
async fn a_token_becomes_a_verified_callback() {
    let seen: Arc<Mutex<Vec<VerifiedCallback>>> = Arc::default();
    let handler_seen = seen.clone();
    let app_listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let oss_listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let app_address = app_listener.local_addr().unwrap();
    let oss_address = oss_listener.local_addr().unwrap();

    let signer = CallbackSigner::from_pem(include_str!("../keys/rsa_512.pem")).unwrap();
    let emulator = builder()
        .signer(signer)
        .network(aliyun_oss_emulator::SystemNetwork::new())
        .allow_private_callbacks()
        .build()
        .unwrap();
    let handler = move |callback: VerifiedCallback| {
        handler_seen.lock().unwrap().push(callback);
        async { CallbackReply::json(&json!({ "Status": "OK", "id": 7 })).unwrap() }
    };
    let layer = OssCallbackLayer::new().key_source(emulator.key_source());
    let app = Router::new().route("/oss/callback", post(handler).route_layer(layer));
    tokio::spawn(async move { axum::serve(app_listener, app).await });
    tokio::spawn(emulator.clone().serve(oss_listener));

    let credentials = Credentials::new(ID, SECRET).unwrap();
    for (at_key, version, host) in [
        ("a.png", SignatureVersion::V4, "127.0.0.1"),
        ("b.png", SignatureVersion::V1, "localhost"),
    ] {
        let key: ObjectKey = format!("user/1/{at_key}").parse().unwrap();
        let policy = PostPolicy::builder(
            BUCKET.parse().unwrap(),
            "cn-hangzhou".parse().unwrap(),
            key,
            SizeRange::new(1, 1024).unwrap(),
            CallbackDirective::new(&format!(
                "http://{host}:{}/oss/callback?from=oss",
                app_address.port()
            ))
            .unwrap(),
        )
        .content_type("image/png".parse().unwrap())
        .signature(version)
        .build()
        .unwrap();
        let token = policy.sign(&credentials, at(NOW)).unwrap();
        let form = Form::new()
            .fields(token.fields())
            .file_of("x.png", "text/html", PNG);
        let answer = over_tcp(oss_address, &form).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.text(), r#"{"Status":"OK","id":7}"#);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert!(answer.header("etag").unwrap().starts_with('"'));
        assert!(answer.header("x-oss-hash-crc64ecma").is_some());
    }
    let seen = seen.lock().unwrap();
    let first = &seen[0];
    assert_eq!(
        first.body(),
        "filename=user%2F1%2Fa.png&size=33&mimeType=image%2Fpng&height=539&width=810"
    );
    assert_eq!(first.target().as_str(), "/oss/callback?from=oss");
    assert_eq!(first.unauthenticated_bucket(), Some(BUCKET));
    assert_eq!(seen.len(), 2);
}

async fn over_tcp(address: std::net::SocketAddr, form: &Form) -> Answer {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    let response = sender.send_request(form.request()).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body,
    }
}

type Requests = Arc<Mutex<Vec<(http::request::Parts, Bytes)>>>;

/// A server that records its requests and responds with success.
fn keeper() -> (OneServer, Requests) {
    let requests = Requests::default();
    let kept = requests.clone();
    let server = OneServer::http(move |request: Request<Incoming>| {
        let kept = kept.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            kept.lock().unwrap().push((parts, body));
            Response::new(Full::from("{}"))
        }
    });
    (server, requests)
}

#[tokio::test]
async fn every_variable_is_filled_in() {
    let (server, requests) = keeper();
    let emulator = builder().network(server).build().unwrap();
    let names = [
        "bucket",
        "object",
        "etag",
        "size",
        "mimeType",
        "imageInfo.height",
        "imageInfo.width",
        "imageInfo.format",
        "crc64",
        "contentMd5",
        "vpcId",
        "clientIp",
        "reqId",
        "operation",
        "imageInfo",
        "x:a",
        "x:none",
    ];
    let template: Vec<_> = names
        .iter()
        .map(|name| format!("{name}=${{{name}}}"))
        .collect();
    let form =
        callback(&json!({ "callbackUrl": "app.example/cb", "callbackBody": template.join("&") }));
    let template: Vec<_> = names
        .iter()
        .map(|name| format!("\"{name}\":${{{name}}}"))
        .collect();
    let json = callback(&json!({
        "callbackUrl": "app.example/cb",
        "callbackBody": format!("{{{}}}", template.join(",")),
        "callbackBodyType": "application/json",
    }));
    for (parameters, content) in [
        (&form, PNG),
        (&form, b"text"),
        (&json, PNG),
        (&json, b"text"),
    ] {
        let fields = [
            ("key", "d/ä b.png"),
            ("x:a", "1&2=\"3\""),
            ("callback", &**parameters),
        ];
        let mut request = good(&fields).file_of("x", "image/png", content).request();
        request
            .extensions_mut()
            .insert(ClientAddress("192.0.2.7:1234".parse().unwrap()));
        assert_eq!(send(&emulator, request).await.status, 200);
    }
    let requests = requests.lock().unwrap();
    let body = |at: usize| std::str::from_utf8(&requests[at].1).unwrap();
    let id = |at: usize| requests[at].0.headers["x-oss-request-id"].to_str().unwrap();
    let sums = |text: &[u8]| {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        use md5::Digest as _;
        let md5: [u8; 16] = md5::Md5::digest(text).into();
        let etag: String = md5.iter().map(|b| format!("{b:02X}")).collect();
        (
            etag,
            STANDARD.encode(md5),
            crc::Crc::<u64>::new(&crc::CRC_64_XZ).checksum(text),
        )
    };
    let (etag, md5, crc) = sums(PNG);
    let md5_encoded = md5
        .replace('/', "%2F")
        .replace('+', "%2B")
        .replace('=', "%3D");
    assert_eq!(
        body(0),
        format!(
            "bucket=examplebucket&object=d%2F%C3%A4%20b.png&etag={etag}&size=33&mimeType=image%2Fpng&\
             imageInfo.height=539&imageInfo.width=810&imageInfo.format=png&crc64={crc}&contentMd5={md5_encoded}&vpcId=&\
             clientIp=192.0.2.7&reqId={}&operation=PostObject&\
             imageInfo=%7B%22height%22%3A539%2C%22width%22%3A810%2C%22format%22%3A%22png%22%7D&\
             x:a=1%262%3D%223%22&x:none=",
            id(0)
        )
    );
    assert!(
        body(1).contains("imageInfo.height=&imageInfo.width=&imageInfo.format=&"),
        "{}",
        body(1)
    );
    assert!(body(1).contains("&imageInfo=&"), "{}", body(1));
    assert_eq!(
        body(2),
        format!(
            "{{\"bucket\":\"examplebucket\",\"object\":\"d/ä b.png\",\"etag\":\"{etag}\",\"size\":33,\
             \"mimeType\":\"image/png\",\"imageInfo.height\":539,\"imageInfo.width\":810,\"imageInfo.format\":\"png\",\
             \"crc64\":{crc},\"contentMd5\":\"{md5}\",\"vpcId\":null,\"clientIp\":\"192.0.2.7\",\"reqId\":\"{}\",\
             \"operation\":\"PostObject\",\"imageInfo\":{{\"height\":539,\"width\":810,\"format\":\"png\"}},\
             \"x:a\":\"1&2=\\\"3\\\"\",\"x:none\":null}}",
            id(2)
        )
    );
    let empty = "\"imageInfo.height\":,\"imageInfo.width\":,\"imageInfo.format\":null,";
    assert!(
        body(3).contains(empty) && body(3).contains("\"imageInfo\":null,"),
        "{}",
        body(3)
    );
}

/// Section 4 of the reference.
#[tokio::test]
async fn the_request_is_that_of_oss() {
    let (server, requests) = keeper();
    let connected = server.connected.clone();
    let emulator = builder().network(server).owner("42").build().unwrap();
    let parameters = callback(&json!({
        "callbackUrl": "http://app.example:8080/a/%E4%B8%AD?x=%2F+y",
        "callbackHost": "inside.example",
        "callbackBody": "constant",
        "callbackSNI": true,
        "additionalHeaders": { "my-header": "1", "date": "never" },
    }));
    assert_eq!(
        good(&[("callback", &parameters)])
            .file(b"x")
            .post(&emulator)
            .await
            .status,
        200
    );
    let requests = requests.lock().unwrap();
    let (parts, body) = &requests[0];
    assert_eq!(
        (parts.method.as_str(), &body[..]),
        ("POST", &b"constant"[..])
    );
    assert_eq!(parts.uri, "/a/%E4%B8%AD?x=%2F+y");
    let header = |name: &str| {
        assert_eq!(parts.headers.get_all(name).iter().count(), 1, "{name}");
        parts.headers[name].to_str().unwrap()
    };
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use md5::Digest as _;
    let md5 = STANDARD.encode(md5::Md5::digest(b"constant"));
    for (name, value) in [
        ("host", "inside.example"),
        ("connection", "close"),
        ("content-length", "8"),
        ("content-md5", &md5),
        ("content-type", "application/x-www-form-urlencoded"),
        ("date", "Sun, 03 Dec 2023 12:12:12 GMT"),
        ("user-agent", "aliyun-oss-callback"),
        ("x-oss-additional-headers", "my-header"),
        ("my-header", "1"),
        ("x-oss-bucket", BUCKET),
        ("x-oss-owner", "42"),
        ("x-oss-requester", "42"),
        ("x-oss-signature-version", "1.0"),
        ("x-oss-tag", "CALLBACK"),
        ("x-oss-request-id", "656C6F3C0000000000000001"),
    ] {
        assert_eq!(header(name), value, "{name}");
    }
    assert_eq!(parts.version, http::Version::HTTP_11);
    let connected = connected.lock().unwrap();
    assert!(connected[0].sends_sni() && !connected[0].is_https());
    assert_eq!(connected[0].host(), "app.example");
    assert_eq!(connected[0].address().to_string(), "93.184.215.14:8080");
}

/// Section 6 of the reference: the object is kept, and the uploader gets the reason for the
/// failure.
#[tokio::test(start_paused = true)]
async fn failures_are_relayed_with_203() {
    let long = "1".repeat(1024 * 1024 + 1);
    let table: Vec<(String, &str, &str)> = vec![
        (
            raw(
                "301 Moved",
                "Location: http://app.example/other\r\nContent-Length: 2\r\n",
                "{}",
            ),
            "Error status : 301.",
            "203",
        ),
        (
            raw("400 Bad", "Content-Length: 2\r\n", "{}"),
            "Error status : 400.",
            "203",
        ),
        (
            raw("404 Not", "Content-Length: 2\r\n", "{}"),
            "Error status : 404.",
            "203",
        ),
        (
            raw("201 Made", "Content-Length: 2\r\n", "{}"),
            "Error status : 201.",
            "203",
        ),
        (raw("204 None", "", ""), "Error status : 204.", "203"),
        (
            raw("200 OK", "Content-Length: 2\r\n", "OK"),
            "Response body is not valid json format.",
            "205",
        ),
        (
            raw("200 OK", "Content-Length: 5\r\n", "\u{feff}{}"),
            "Response body is not valid json format.",
            "205",
        ),
        (
            raw("200 OK", "Content-Length: 1\r\n", "1"),
            "Response body is not valid json format.",
            "205",
        ),
        (
            raw("200 OK", "", "{}"),
            "Error Status : 400.User server missing content-length.",
            "",
        ),
        (
            raw(
                "200 OK",
                "Transfer-Encoding: chunked\r\n",
                "2\r\n{}\r\n0\r\n\r\n",
            ),
            "Error Status : 400.User server missing content-length.",
            "",
        ),
        (
            raw("200 OK", "Content-Length: 0\r\n", ""),
            "Error Status : 400.User server return invalid content-length value.",
            "",
        ),
        (
            raw("200 OK", "Content-Length: -2\r\n", "{}"),
            "Error Status : 400.User server return invalid content-length value.",
            "",
        ),
        (
            raw("200 OK", "Content-Length: two\r\n", "{}"),
            "Error Status : 400.User server return invalid content-length value.",
            "",
        ),
        (
            raw(
                "200 OK",
                &format!("Content-Length: {}\r\n", long.len()),
                &long,
            ),
            "Error Status : 400.User server return too long content-length value.",
            "",
        ),
        (
            raw("200 OK", "Content-Length: 10\r\n", "{}"),
            "Error status : 502.",
            "203",
        ),
        (
            raw(
                "200 OK",
                "Content-Type: application/xml\r\nContent-Length: 4\r\n",
                "<a><",
            ),
            "Response body is not valid json format.",
            "205",
        ),
        (String::new(), "Error status : 502.", "203"),
        ("garbage\r\n\r\n".to_owned(), "Error status : 502.", "203"),
        ("stay silent".to_owned(), "Cost too long time.", "202"),
    ];
    for (answer, message, ec) in table {
        let server = OneServer::raw(move |mut connection| {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = connection.read(&mut request).await;
                if answer == "stay silent" {
                    std::future::pending::<()>().await;
                }
                let _ = connection.write_all(answer.as_bytes()).await;
            });
        });
        let emulator = builder().network(server).build().unwrap();
        assert_failed(&emulator, "http://app.example/cb", message, ec).await;
    }
    let never = || OneServer::raw(|_| panic!("no callback may be sent"));
    let emulator = builder().network(never()).build().unwrap();
    let message = "Error status : -1.OSS can not connect to your callbackUrl, please check it.";
    assert_failed(&emulator, "http://down.example/cb", message, "203").await;
    assert_failed(
        &emulator,
        "https://app.example/cb",
        "Error status : 502.",
        "203",
    )
    .await;
}

fn raw(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}\r\n{body}")
}

async fn assert_failed(emulator: &Emulator, url: &str, message: &str, ec: &str) {
    let parameters = callback(&json!({ "callbackUrl": url, "callbackBody": "a" }));
    let fields = [("callback", &*parameters), ("success_action_status", "200")];
    let answer = good(&fields).file(b"x").post(emulator).await;
    let ec = if ec.is_empty() {
        String::new()
    } else {
        format!("0007-00000{ec}")
    };
    assert_eq!(answer.element("Message").as_deref(), Some(message));
    answer.assert_refused(203, "CallbackFailed", &ec);
    assert_eq!(answer.element("HostId").unwrap(), "examplebucket.localhost");
    assert_eq!(answer.header("content-type"), Some("application/xml"));
    let list = emulator
        .store()
        .list(&BUCKET.parse().unwrap())
        .await
        .unwrap();
    assert_eq!(list.len(), 1, "the object must be kept");
}

/// The Chinese documentation of callbacks also allows XML.
#[tokio::test]
async fn an_answer_in_xml_is_relayed_as_such() {
    let server = OneServer::http(|_: Request<Incoming>| async {
        CallbackReply::xml("<?xml version=\"1.0\"?><ok>1</ok>")
            .unwrap()
            .into()
    });
    let emulator = builder().network(server).build().unwrap();
    let parameters = callback(&json!({ "callbackUrl": "app.example", "callbackBody": "a" }));
    let answer = good(&[("callback", &parameters)])
        .file(b"x")
        .post(&emulator)
        .await;
    assert_eq!(
        (answer.status.as_u16(), answer.text()),
        (200, "<?xml version=\"1.0\"?><ok>1</ok>")
    );
    assert_eq!(answer.header("content-type"), Some("application/xml"));
}

#[tokio::test]
async fn several_urls_are_tried_in_their_order() {
    let calls: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = calls.clone();
    let server = OneServer::http(move |request: Request<Incoming>| {
        kept.lock().unwrap().push(request.uri().to_string());
        async move {
            let status = if request.uri().path() == "/good" {
                200
            } else {
                500
            };
            Response::builder()
                .status(status)
                .body(Full::from("{}"))
                .unwrap()
        }
    });
    let emulator = builder().network(server).build().unwrap();
    let post = async |urls: &str| {
        let parameters = callback(&json!({ "callbackUrl": urls, "callbackBody": "a" }));
        good(&[("callback", &parameters)])
            .file(b"x")
            .post(&emulator)
            .await
    };
    let answer =
        post("http://down.example/;app.example/bad;http://app.example/good;app.example/never")
            .await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, "{}"));
    assert_eq!(
        std::mem::take(&mut *calls.lock().unwrap()),
        ["/bad", "/good"]
    );
    let answer = post("http://down.example/;app.example/bad").await;
    answer.assert_refused(203, "CallbackFailed", "0007-00000203");
    assert_eq!(answer.element("Message").unwrap(), "Error status : 500.");
}

#[tokio::test]
async fn no_callback_for_what_is_not_stored() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let server = OneServer::http(move |_: Request<Incoming>| {
        counted.fetch_add(1, Ordering::Relaxed);
        async { Response::new(Full::from("{}")) }
    });
    let emulator = builder().network(server).build().unwrap();
    let parameters = callback(&json!({ "callbackUrl": "app.example", "callbackBody": "a" }));
    let form = good(&[
        ("callback", &parameters),
        ("x-oss-forbid-overwrite", "true"),
    ]);
    assert_eq!(form.clone().file(b"x").post(&emulator).await.status, 200);
    form.file(b"x")
        .post(&emulator)
        .await
        .assert_refused(409, "FileAlreadyExists", "");
    assert_eq!(count.load(Ordering::Relaxed), 1);
}

/// A host with a public and a private address could lead to either.
#[tokio::test]
async fn one_private_address_is_enough_to_refuse() {
    let mut server = OneServer::raw(|_| panic!("no callback may be sent"));
    server.addresses = vec![
        "93.184.215.14:80".parse().unwrap(),
        "10.0.0.1:80".parse().unwrap(),
    ];
    let emulator = builder().network(server.clone()).build().unwrap();
    let parameters = callback(&json!({ "callbackUrl": "app.example", "callbackBody": "a" }));
    let form = good(&[("callback", &parameters)]).file(b"x");
    form.post(&emulator)
        .await
        .assert_refused(400, "InvalidArgument", "0007-00000008");
    server.addresses = vec!["[2001:db8::1]:80".parse().unwrap()];
    let emulator = builder().network(server).build().unwrap();
    form.post(&emulator)
        .await
        .assert_refused(400, "InvalidArgument", "0007-00000007");
}

#[tokio::test]
async fn an_observer_sees_each_step() {
    let reports: Arc<Mutex<Vec<UploadReport>>> = Arc::default();
    let kept = reports.clone();
    let (server, _) = keeper();
    let emulator = builder()
        .network(server)
        .observer(move |report| kept.lock().unwrap().push(report))
        .build()
        .unwrap();
    let parameters =
        callback(&json!({ "callbackUrl": "app.example/cb", "callbackBody": "a=${object}" }));
    assert_eq!(
        good(&[("callback", &parameters)])
            .file(b"x")
            .post(&emulator)
            .await
            .status,
        200
    );
    good(&[])
        .with("Signature", "wrong")
        .file(b"x")
        .post(&emulator)
        .await;
    let reports = reports.lock().unwrap();
    let [good, bad] = &reports[..] else {
        panic!("{reports:?}")
    };
    use UploadStep as S;
    assert_eq!(
        good.steps(),
        [
            S::Form,
            S::Signature,
            S::Expiry,
            S::Conditions,
            S::CallbackParameters,
            S::Size,
            S::Stored,
            S::Callback
        ]
    );
    assert_eq!(
        (good.status().as_u16(), good.refusal(), good.file_name()),
        (200, None, Some("a.txt"))
    );
    assert!(
        good.policy().unwrap().contains("expiration")
            && good.callback().unwrap().contains("app.example")
    );
    let exchange = &good.exchanges()[0];
    assert_eq!(
        (exchange.url(), &exchange.body()[..]),
        ("http://app.example/cb", &b"a=a.txt"[..])
    );
    assert_eq!(
        (exchange.status().unwrap().as_u16(), &exchange.answer()[..]),
        (200, &b"{}"[..])
    );
    assert!(exchange.headers().contains_key("authorization"));
    assert_eq!(bad.steps(), [S::Form]);
    assert_eq!(
        (bad.status().as_u16(), bad.ec()),
        (403, Some("0002-00000705"))
    );
    let shown = format!("{reports:?}{emulator:?}");
    for secret in [
        SECRET,
        good.fields().find(|(n, _)| *n == "Signature").unwrap().1,
    ] {
        assert!(!shown.contains(secret), "{shown}");
    }
}
