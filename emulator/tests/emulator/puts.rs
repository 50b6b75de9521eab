//! `PutObject`, `DeleteObject`, and callbacks requested in headers or the query.

use std::sync::{Arc, Mutex};

use aliyun_oss_emulator::{Acl, Emulator, HostedBucket, UploadReport, UploadStep};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tower_aliyun_oss::{
    policy::{CallbackDirective, CallbackTemplate},
    protocol::CallbackBodyType,
};

use super::{
    client::{Way, ask, put, read, to, today, ways},
    support::{BUCKET, OneServer, callback, send},
};

/// An emulator, and the callback bodies that its application server received.
fn called() -> (Emulator, Arc<Mutex<Vec<String>>>) {
    let bodies: Arc<Mutex<Vec<String>>> = Arc::default();
    let keep = bodies.clone();
    let server = OneServer::http(move |request: Request<Incoming>| {
        let keep = keep.clone();
        async move {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            keep.lock()
                .unwrap()
                .push(String::from_utf8(body.to_vec()).unwrap());
            Response::new(Full::from(r#"{"Status":"OK"}"#))
        }
    });
    (today().network(server).build().unwrap(), bodies)
}

async fn names(emulator: &Emulator) -> Vec<String> {
    let list = emulator
        .store()
        .list(&BUCKET.parse().unwrap())
        .await
        .unwrap();
    list.iter().map(|object| object.key().to_owned()).collect()
}

#[tokio::test]
async fn what_the_headers_say_is_kept() {
    let emulator = today().build().unwrap();
    let headers = [
        ("content-type", "text/plain"),
        ("cache-control", "no-cache"),
        ("content-disposition", "attachment"),
        ("content-language", "zh-CN"),
        ("x-oss-storage-class", "IA"),
        ("x-oss-object-acl", "private"),
        ("x-oss-meta-uid", "7"),
        ("content-md5", "2Oj8otwPiW/Xy0ywAxuiSQ=="),
    ];
    let answer = put(&emulator, "/a%20b/%E4%B8%AD", &headers, b"test\n").await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, ""));
    let etag = "\"D8E8FCA2DC0F896FD7CB4CB0031BA249\"";
    assert_eq!(answer.header("etag"), Some(etag));
    assert!(answer.header("x-oss-hash-crc64ecma").is_some());
    assert!(answer.header("x-oss-request-id").is_some());
    assert_eq!(names(&emulator).await, ["a b/中"]);
    let answer = read(&emulator, "/a%20b/%E4%B8%AD").await;
    assert_eq!(answer.text(), "test\n");
    for (name, value) in headers {
        assert_eq!(answer.header(name), Some(value));
    }
    // Without a type, the default applies.
    put(&emulator, "/b", &[], b"").await;
    let answer = ask(&emulator, Method::HEAD, "/b", &[], b"").await;
    assert_eq!(
        answer.header("content-type"),
        Some("application/octet-stream")
    );
    assert_eq!(answer.header("content-length"), Some("0"));
}

#[tokio::test]
async fn what_cannot_be_kept_is_refused() {
    let emulator = today().build().unwrap();
    let long = "x".repeat(9000);
    for (target, headers, code) in [
        (
            "/a",
            [("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")],
            "InvalidDigest",
        ),
        ("/a", [("x-oss-object-acl", "everybody")], "InvalidArgument"),
        ("/a", [("x-oss-storage-class", "Cold")], "InvalidArgument"),
        ("/a", [("x-oss-forbid-overwrite", "yes")], "InvalidArgument"),
        ("/a", [("x-oss-meta-long", &*long)], "InvalidArgument"),
        (
            "/a",
            [("x-oss-server-side-encryption", "ROT13")],
            "InvalidEncryptionAlgorithmError",
        ),
        (
            "/a",
            [("x-oss-copy-source", "/examplebucket/b?versionId=1")],
            "NotImplemented",
        ),
        ("/a?tagging", [("x", "")], "MalformedXML"),
        ("/a?retention", [("x", "")], "NotImplemented"),
        ("/%5Ca", [("x", "")], "InvalidObjectName"),
    ] {
        let answer = put(&emulator, target, &headers, b"x").await;
        assert_eq!(answer.status, 400, "{target} {headers:?}");
        assert_eq!(
            answer.element("Code").unwrap(),
            code,
            "{target} {headers:?}"
        );
    }
    // Rejected before authentication, because such a target cannot be signed.
    let request = to(Method::PUT, "/%FF", &[], b"x").map(Full::new);
    let answer = send(&emulator, request).await;
    answer.assert_refused(400, "InvalidArgument", "");
    let long_name = format!("/{}", "n".repeat(1024));
    let answer = put(&emulator, &long_name, &[], b"x").await;
    answer.assert_refused(400, "InvalidObjectName", "");
    assert!(names(&emulator).await.is_empty());
}

#[tokio::test]
async fn overwriting_can_be_forbidden() {
    let emulator = today().build().unwrap();
    let forbid = [("x-oss-forbid-overwrite", "true")];
    assert_eq!(put(&emulator, "/a", &forbid, b"1").await.status, 200);
    let answer = put(&emulator, "/a", &forbid, b"2").await;
    answer.assert_refused(409, "FileAlreadyExists", "");
    assert_eq!(read(&emulator, "/a").await.text(), "1");
    assert_eq!(put(&emulator, "/a", &[], b"3").await.status, 200);
    assert_eq!(read(&emulator, "/a").await.text(), "3");
}

#[tokio::test]
async fn who_may_without_a_signature() {
    let public = |name: &str, acl| HostedBucket::new(name.parse().unwrap()).acl(acl);
    let emulator = today()
        .bucket(public("readable", Acl::PublicRead))
        .bucket(public("open", Acl::PublicReadWrite))
        .build()
        .unwrap();
    let requests = [
        (Method::PUT, "/a", "200 403 403"),
        (Method::GET, "/?list-type=2", "200 200 403"),
        (Method::POST, "/a?uploads", "200 403 403"),
        (Method::DELETE, "/a", "204 403 403"),
        (Method::GET, "/?cors", "403 403 403"),
        (Method::PUT, "/?cors", "403 403 403"),
        (Method::DELETE, "/?cors", "403 403 403"),
    ];
    for (method, target, expected) in requests {
        let mut found = Vec::new();
        for bucket in ["open", "readable", BUCKET] {
            let mut request = to(method.clone(), target, &[], b"x").map(Full::new);
            let uri = format!("http://{bucket}.localhost{target}");
            *request.uri_mut() = uri.parse().unwrap();
            found.push(send(&emulator, request).await.status.as_u16().to_string());
        }
        assert_eq!(found.join(" "), expected, "{method} {target}");
    }
}

#[tokio::test]
async fn delete_answers_the_same_whether_there_was_one() {
    let folder = tempfile::tempdir().unwrap();
    let kept = aliyun_oss_emulator::ObjectStore::folder(folder.path()).unwrap();
    for emulator in [
        today().build().unwrap(),
        today().store(kept).build().unwrap(),
    ] {
        put(&emulator, "/a", &[], b"x").await;
        for _ in 0..2 {
            let answer = ask(&emulator, Method::DELETE, "/a", &[], b"").await;
            assert_eq!((answer.status.as_u16(), answer.text()), (204, ""));
            assert!(names(&emulator).await.is_empty());
        }
        let answer = read(&emulator, "/a").await;
        answer.assert_refused(404, "NoSuchKey", "0026-00000001");
        let head = ask(&emulator, Method::HEAD, "/a", &[], b"").await;
        assert!(head.body.is_empty());
        // A response to HEAD has no body, so clients read the error from this header.
        let error = STANDARD.decode(head.header("x-oss-err").unwrap()).unwrap();
        let error = String::from_utf8(error).unwrap();
        assert!(error.contains("<Code>NoSuchKey</Code>"), "{error}");
    }
}

fn directive() -> CallbackDirective {
    let body = CallbackTemplate::form()
        .custom("x:uid", "7 ü&=")
        .and_then(|body| {
            body.variable(
                "operation",
                tower_aliyun_oss::protocol::SystemVariable::Operation,
            )
        })
        .unwrap();
    let directive = CallbackDirective::new("http://app.example/cb").unwrap();
    assert_eq!(directive.body_type(), CallbackBodyType::Form);
    directive.body(body).unwrap()
}

fn encoded(pairs: impl Iterator<Item = (&'static str, String)>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(pairs);
    query.finish()
}

/// Uploads that are rejected before they begin are reported too: a developer wants to see them.
#[tokio::test]
async fn the_observer_sees_uploads_that_nobody_signed() {
    let reports: Arc<Mutex<Vec<UploadReport>>> = Arc::default();
    let keep = reports.clone();
    let emulator = today()
        .observer(move |report| keep.lock().unwrap().push(report))
        .build()
        .unwrap();
    for (method, target) in [
        (Method::PUT, "/a"),
        (Method::POST, "/a?uploadId=0"),
        (Method::DELETE, "/a"),
        (Method::GET, "/a"),
    ] {
        let request = to(method, target, &[], b"x").map(Full::new);
        let answer = send(&emulator, request).await;
        answer.assert_refused(403, "AccessDenied", "0003-00000001");
    }
    let reports = reports.lock().unwrap();
    let seen: Vec<_> = reports
        .iter()
        .map(|report| (report.operation(), report.status().as_u16(), report.steps()))
        .collect();
    let none: &[UploadStep] = &[];
    assert_eq!(
        seen,
        [
            ("PutObject", 403, none),
            ("CompleteMultipartUpload", 403, none)
        ]
    );
}

/// Callbacks of a [`CallbackDirective`] in headers and query, with every kind of signature.
#[tokio::test]
async fn callbacks_of_headers_and_queries() {
    let (emulator, bodies) = called();
    for way in ways() {
        let directive = directive();
        let query = format!("/a?{}", encoded(directive.query_pairs()));
        let headers: Vec<_> = directive.headers().collect();
        let in_headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        for (target, headers) in [("/a", &*in_headers), (&query, &[])] {
            let request = to(Method::PUT, target, headers, b"hello");
            let answer = send(&emulator, way.sign(request).await).await;
            assert_eq!(
                (answer.status.as_u16(), answer.text()),
                (200, r#"{"Status":"OK"}"#)
            );
            assert_eq!(answer.header("content-type"), Some("application/json"));
            assert!(answer.header("etag").is_some());
            let body = bodies.lock().unwrap().pop().unwrap();
            assert_eq!(
                body, "x:uid=7%20%C3%BC%26%3D&operation=PutObject",
                "{way:?}"
            );
        }
    }
}

/// `test_sign_url_with_callback` of `oss2` sends such names and expects no refusal.
#[tokio::test]
async fn custom_variables_may_lack_their_prefix() {
    let (emulator, bodies) = called();
    let body = "a=${a}&size=${size}&b=${x:b}";
    let good = callback(&json!({ "callbackUrl": "http://app.example", "callbackBody": body }));
    let variables = STANDARD.encode(json!({ "a": "1", "size": "9", "x:b": "2" }).to_string());
    let headers = [
        ("x-oss-callback", &*good),
        ("x-oss-callback-var", &*variables),
    ];
    let answer = put(&emulator, "/a", &headers, b"xyz").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    // Those of OSS come first.
    assert_eq!(bodies.lock().unwrap().pop().unwrap(), "a=1&size=3&b=2");
}

#[tokio::test]
async fn callbacks_that_are_refused() {
    let (emulator, bodies) = called();
    let good = callback(&json!({ "callbackUrl": "http://app.example", "callbackBody": "b" }));
    let var = |value: &Value| STANDARD.encode(value.to_string());
    let good_var = var(&json!({ "x:a": "1" }));
    let long = "A".repeat(5124);
    let twice = "Either the callback query string parameter or the x-oss-callback header should be specified, not both.";
    let var_twice = "Either the callback-var query string parameter or the x-oss-callback-var header should be specified, not both.";
    let not_json = "The callback var is not expecten json.";
    let odd = [
        var(&json!({ "x:a": 1 })),
        var(&json!(["x:a"])),
        "!".to_owned(),
    ];
    let mut cases = vec![
        (Some(&good), None, Some(&good), None, twice, ""),
        (
            Some(&good),
            Some(&good_var),
            None,
            Some(&good_var),
            var_twice,
            "",
        ),
        (
            None,
            Some(&long),
            None,
            None,
            "The length of callback var exceed max value.",
            "0007-00000101",
        ),
        (
            Some(&long),
            None,
            None,
            None,
            "The length of callback exceed max value.",
            "0007-00000001",
        ),
        (
            None,
            None,
            Some(&long),
            None,
            "The length of callback exceed max value.",
            "0007-00000001",
        ),
        (
            None,
            None,
            Some(&odd[2]),
            None,
            "The callback configuration is not base64 encoded.",
            "0007-00000002",
        ),
    ];
    for odd in &odd {
        cases.push((Some(&good), Some(odd), None, None, not_json, ""));
        cases.push((None, None, Some(&good), Some(odd), not_json, ""));
    }
    for (header, header_var, query, query_var, message, ec) in cases {
        let headers = [
            ("x-oss-callback", header),
            ("x-oss-callback-var", header_var),
        ];
        let headers: Vec<_> = headers
            .iter()
            .filter_map(|(name, value)| Some((*name, value.as_ref()?.as_str())))
            .collect();
        let pairs = [("callback", query), ("callback-var", query_var)];
        let pairs = pairs
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?.clone())));
        let target = format!("/a?{}", encoded(pairs));
        let answer = put(&emulator, &target, &headers, b"x").await;
        answer.assert_refused(400, "InvalidArgument", ec);
        assert_eq!(answer.element("Message").unwrap(), message);
    }
    // No object was stored, and no callback was sent.
    assert!(names(&emulator).await.is_empty());
    assert!(bodies.lock().unwrap().is_empty());
}

/// The callback follows after the object is stored, and its failure does not remove the object.
#[tokio::test]
async fn a_callback_that_fails() {
    let reports: Arc<Mutex<Vec<UploadReport>>> = Arc::default();
    let keep = reports.clone();
    let server = OneServer::http(|_| async {
        let mut response = Response::new(Full::<Bytes>::default());
        *response.status_mut() = http::StatusCode::FORBIDDEN;
        response
    });
    let emulator = today()
        .network(server)
        .observer(move |report| keep.lock().unwrap().push(report))
        .build()
        .unwrap();
    let directive = directive();
    let headers: Vec<_> = directive.headers().collect();
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    let answer = put(&emulator, "/a", &headers, b"x").await;
    answer.assert_refused(203, "CallbackFailed", "0007-00000203");
    assert_eq!(answer.element("Message").unwrap(), "Error status : 403.");
    assert_eq!(names(&emulator).await, ["a"]);
    let report = reports.lock().unwrap().pop().unwrap();
    assert_eq!(report.operation(), "PutObject");
    let steps = [
        UploadStep::Signature,
        UploadStep::CallbackParameters,
        UploadStep::Size,
        UploadStep::Stored,
    ];
    assert_eq!(report.steps(), steps);
}

#[tokio::test]
async fn a_body_needs_a_length() {
    let emulator = today().build().unwrap();
    let mut request = to(Method::PUT, "/a", &[], b"");
    request.headers_mut().remove("content-length");
    let answer = send(&emulator, Way::V4.sign(request).await).await;
    answer.assert_refused(411, "MissingContentLength", "");
    let mut request = to(Method::PUT, "/a", &[], b"");
    let length = (5_u64 << 30) + 1;
    request
        .headers_mut()
        .insert("content-length", length.into());
    let answer = send(&emulator, Way::V4.sign(request).await).await;
    answer.assert_refused(400, "EntityTooLarge", "0006-00000003");
}
