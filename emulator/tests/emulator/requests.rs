//! Reports of requests, the reset, and settings for an emulator that browsers can reach.

use std::{
    future::{Future as _, poll_fn},
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use aliyun_oss_emulator::{
    Acl, CorsRule, Emulator, EmulatorBuilder, EmulatorError, HostedBucket, ObjectStore,
    RequestReport,
};
use bytes::Bytes;
use http::{Method, Request};
use http_body::{Body, Frame};
use http_body_util::Full;
use serde_json::json;
use tower::ServiceExt as _;

use super::path_style::{ask, ask_with, stores};
use super::support::{Answer, BUCKET, HOST, OneServer, builder, callback, emulator, good, send};

type Reports = Arc<Mutex<Vec<RequestReport>>>;

fn observed(builder: EmulatorBuilder) -> (Emulator, Reports) {
    let reports = Reports::default();
    let observing = reports.clone();
    let observe = move |report| observing.lock().unwrap().push(report);
    (builder.request_observer(observe).build().unwrap(), reports)
}

/// An emulator in whose bucket `open` everyone may write.
fn open() -> EmulatorBuilder {
    let open = HostedBucket::new("open".parse().unwrap()).acl(Acl::PublicReadWrite);
    builder().bucket(open.cors(CorsRule::any_origin().allow_method(Method::PUT)))
}

async fn request(
    emulator: &Emulator,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
) -> Answer {
    let body = Bytes::from_static(b"hello");
    let mut request = Request::builder()
        .method(method)
        .uri(target)
        .header("host", "127.0.0.1:9000")
        .header("content-length", body.len());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(emulator, request.body(Full::new(body)).unwrap()).await
}

#[tokio::test]
async fn every_request_is_reported_once_with_its_operation() {
    let (emulator, reports) = observed(open());
    let mut expected = Vec::new();
    for (method, target, operation, status, code) in [
        ("PUT", "/open/a", Some("PutObject"), 200, None),
        ("GET", "/open/a", Some("GetObject"), 200, None),
        ("HEAD", "/open/a", Some("HeadObject"), 200, None),
        (
            "HEAD",
            "/open/a?objectMeta",
            Some("GetObjectMeta"),
            200,
            None,
        ),
        ("GET", "/open/b", Some("GetObject"), 404, Some("NoSuchKey")),
        (
            "GET",
            "/open/?list-type=2",
            Some("ListObjectsV2"),
            200,
            None,
        ),
        (
            "POST",
            "/open/p?uploads",
            Some("InitiateMultipartUpload"),
            200,
            None,
        ),
        (
            "PUT",
            "/open/p?partNumber=1&uploadId=x",
            Some("UploadPart"),
            404,
            Some("NoSuchUpload"),
        ),
        (
            "GET",
            "/open/p?uploadId=x",
            Some("ListParts"),
            404,
            Some("NoSuchUpload"),
        ),
        (
            "DELETE",
            "/open/p?uploadId=x",
            Some("AbortMultipartUpload"),
            404,
            Some("NoSuchUpload"),
        ),
        ("DELETE", "/open/a", Some("DeleteObject"), 204, None),
        ("DELETE", "/open/a?live", None, 400, Some("NotImplemented")),
        ("PATCH", "/open/a", None, 405, Some("MethodNotAllowed")),
        (
            "GET",
            "/open/?cors",
            Some("GetBucketCors"),
            403,
            Some("AccessDenied"),
        ),
        (
            "OPTIONS",
            "/open/a",
            Some("Options"),
            400,
            Some("BadRequest"),
        ),
        (
            "GET",
            "/none/a",
            Some("GetObject"),
            404,
            Some("NoSuchBucket"),
        ),
    ] {
        let answer = request(&emulator, method, target, &[]).await;
        assert_eq!(answer.status, status, "{method} {target}");
        expected.push((method, target, operation, status, code));
        let reports = reports.lock().unwrap();
        assert_eq!(reports.len(), expected.len(), "{method} {target}");
        let report = reports.last().unwrap();
        let found = (
            report.method().as_str(),
            report.target().path_and_query().unwrap().as_str(),
            report.operation(),
            report.status().unwrap().as_u16(),
            report.refusal().map(|(code, _)| code),
        );
        assert_eq!(Some(&found), expected.last());
        assert_eq!(Some(report.request_id()), answer.header("x-oss-request-id"));
        assert_eq!(report.ec(), answer.header("x-oss-ec"));
        assert_eq!(report.host(), "127.0.0.1");
    }
}

#[tokio::test]
async fn every_operation_has_the_name_of_the_documentation() {
    let (emulator, reports) = observed(open());
    let copy = [("x-oss-copy-source", "/open/a")];
    let plain: &[(&str, &str)] = &[];
    for (method, target, headers, name) in [
        (
            "DELETE",
            "/open/a?uploadId=x",
            plain,
            "AbortMultipartUpload",
        ),
        ("POST", "/open/a?append&position=0", plain, "AppendObject"),
        (
            "POST",
            "/open/a?cleanRestoredObject",
            plain,
            "CleanRestoredObject",
        ),
        (
            "POST",
            "/open/a?uploadId=x",
            plain,
            "CompleteMultipartUpload",
        ),
        ("PUT", "/open/a", &copy, "CopyObject"),
        ("PUT", "/new/", plain, "CreateBucket"),
        ("DELETE", "/open/", plain, "DeleteBucket"),
        (
            "DELETE",
            "/open/?policy&comp=callback",
            plain,
            "DeleteBucketCallbackPolicy",
        ),
        (
            "GET",
            "/open/?policy&comp=callback",
            plain,
            "GetBucketCallbackPolicy",
        ),
        (
            "PUT",
            "/open/?policy&comp=callback",
            plain,
            "PutBucketCallbackPolicy",
        ),
        ("DELETE", "/open/?cors", plain, "DeleteBucketCors"),
        (
            "DELETE",
            "/open/?encryption",
            plain,
            "DeleteBucketEncryption",
        ),
        ("DELETE", "/open/?tagging", plain, "DeleteBucketTags"),
        (
            "DELETE",
            "/open/?transferAcceleration",
            plain,
            "DeleteBucketTransferAcceleration",
        ),
        ("POST", "/open/?delete", plain, "DeleteMultipleObjects"),
        ("DELETE", "/open/a", plain, "DeleteObject"),
        ("DELETE", "/open/a?tagging", plain, "DeleteObjectTagging"),
        ("GET", "/open/?acl", plain, "GetBucketAcl"),
        ("GET", "/open/?cors", plain, "GetBucketCors"),
        ("GET", "/open/?encryption", plain, "GetBucketEncryption"),
        ("GET", "/open/?bucketInfo", plain, "GetBucketInfo"),
        ("GET", "/open/?location", plain, "GetBucketLocation"),
        (
            "GET",
            "/open/?requestPayment",
            plain,
            "GetBucketRequestPayment",
        ),
        ("GET", "/open/?referer", plain, "GetBucketReferer"),
        ("GET", "/open/?stat", plain, "GetBucketStat"),
        (
            "GET",
            "/open/?publicAccessBlock",
            plain,
            "GetBucketPublicAccessBlock",
        ),
        ("GET", "/open/?tagging", plain, "GetBucketTags"),
        ("GET", "/open/?versioning", plain, "GetBucketVersioning"),
        (
            "GET",
            "/open/?transferAcceleration",
            plain,
            "GetBucketTransferAcceleration",
        ),
        ("GET", "/open/a", plain, "GetObject"),
        ("GET", "/open/a?acl", plain, "GetObjectACL"),
        ("HEAD", "/open/a?objectMeta", plain, "GetObjectMeta"),
        ("GET", "/open/a?tagging", plain, "GetObjectTagging"),
        ("GET", "/open/a?symlink", plain, "GetSymlink"),
        ("HEAD", "/open/", plain, "HeadBucket"),
        ("HEAD", "/open/a", plain, "HeadObject"),
        ("POST", "/open/a?uploads", plain, "InitiateMultipartUpload"),
        ("GET", "/", plain, "ListBuckets"),
        ("GET", "/?publicAccessBlock", plain, "GetPublicAccessBlock"),
        ("PUT", "/?publicAccessBlock", plain, "PutPublicAccessBlock"),
        (
            "DELETE",
            "/?publicAccessBlock",
            plain,
            "DeletePublicAccessBlock",
        ),
        (
            "PUT",
            "/open/?publicAccessBlock",
            plain,
            "PutBucketPublicAccessBlock",
        ),
        (
            "DELETE",
            "/open/?publicAccessBlock",
            plain,
            "DeleteBucketPublicAccessBlock",
        ),
        ("GET", "/open/?cname", plain, "ListCname"),
        ("GET", "/open/?live", plain, "ListLiveChannel"),
        ("GET", "/open/?uploads", plain, "ListMultipartUploads"),
        ("GET", "/open/?versions", plain, "ListObjectVersions"),
        ("GET", "/open/", plain, "ListObjects"),
        ("GET", "/open/?list-type=2", plain, "ListObjectsV2"),
        ("GET", "/open/a?uploadId=x", plain, "ListParts"),
        ("OPTIONS", "/open/a", plain, "OPTIONS"),
        ("POST", "/open/", plain, "PostObject"),
        ("POST", "/open/a?x-oss-process", plain, "ProcessObject"),
        ("PUT", "/open/?acl", plain, "PutBucketAcl"),
        ("PUT", "/open/?cors", plain, "PutBucketCors"),
        ("PUT", "/open/?encryption", plain, "PutBucketEncryption"),
        (
            "PUT",
            "/open/?requestPayment",
            plain,
            "PutBucketRequestPayment",
        ),
        ("PUT", "/open/?referer", plain, "PutBucketReferer"),
        ("PUT", "/open/?tagging", plain, "PutBucketTags"),
        (
            "PUT",
            "/open/?transferAcceleration",
            plain,
            "PutBucketTransferAcceleration",
        ),
        ("PUT", "/open/a", plain, "PutObject"),
        ("PUT", "/open/a?acl", plain, "PutObjectACL"),
        ("PUT", "/open/a?tagging", plain, "PutObjectTagging"),
        ("PUT", "/open/a?symlink", plain, "PutSymlink"),
        ("POST", "/open/a?restore", plain, "RestoreObject"),
        ("POST", "/open/a?seal&position=1", plain, "SealAppendObject"),
        (
            "PUT",
            "/open/a?partNumber=1&uploadId=x",
            plain,
            "UploadPart",
        ),
        (
            "PUT",
            "/open/a?partNumber=1&uploadId=x",
            &copy,
            "UploadPartCopy",
        ),
    ] {
        request(&emulator, method, target, headers).await;
        let report = reports.lock().unwrap().pop().unwrap();
        let found = report.operation().unwrap();
        assert!(
            found.eq_ignore_ascii_case(name),
            "{method} {target}: {found}"
        );
        let documented = include_str!("../../src/lib.rs").contains(&format!("`{name}`"));
        assert!(documented, "{name}");
    }
}

#[tokio::test]
async fn a_form_is_reported_after_its_upload() {
    let order: Arc<Mutex<Vec<&str>>> = Arc::default();
    let (uploads, requests) = (order.clone(), order.clone());
    let emulator = builder()
        .observer(move |_| uploads.lock().unwrap().push("upload"))
        .request_observer(move |report| {
            assert_eq!(
                (report.operation(), report.key()),
                (Some("PostObject"), None)
            );
            assert_eq!(report.bucket(), Some(BUCKET));
            requests.lock().unwrap().push("request");
        })
        .build()
        .unwrap();
    assert_eq!(good(&[]).file(b"hello").post(&emulator).await.status, 204);
    assert_eq!(*order.lock().unwrap(), ["upload", "request"]);
}

#[tokio::test]
async fn a_client_that_disconnects_is_reported_without_a_status() {
    let (emulator, reports) = observed(open());
    let request = Request::put("/open/a?x-oss-signature=s3cret")
        .header("host", "127.0.0.1")
        .header("content-length", 5)
        .body(Never)
        .unwrap();
    {
        let mut response = pin!(emulator.oneshot(request));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(matches!(response.as_mut().poll(&mut cx), Poll::Pending));
        assert!(reports.lock().unwrap().is_empty());
    }
    let reports = reports.lock().unwrap();
    let [report] = &**reports else {
        panic!("{reports:?}")
    };
    assert_eq!(
        (report.operation(), report.status()),
        (Some("PutObject"), None)
    );
    assert!(report.duration() < Duration::from_secs(60));
    assert!(!format!("{report:?}").contains("s3cret"));
}

/// A body of which nothing arrives.
struct Never;

impl Body for Never {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Pending
    }
}

#[tokio::test]
async fn a_reset_restores_the_start() {
    let emulator = open().build().unwrap();
    assert_eq!(request(&emulator, "PUT", "/open/a", &[]).await.status, 200);
    let started = request(&emulator, "POST", "/open/p?uploads", &[]).await;
    let id = started.element("UploadId").unwrap();
    let part = format!("/open/p?partNumber=1&uploadId={id}");
    assert_eq!(request(&emulator, "PUT", &part, &[]).await.status, 200);
    emulator.reset().await.unwrap();
    assert_eq!(request(&emulator, "GET", "/open/a", &[]).await.status, 404);
    assert_eq!(request(&emulator, "PUT", &part, &[]).await.status, 404);
    let bucket = "open".parse().unwrap();
    assert!(emulator.store().list(&bucket).await.unwrap().is_empty());
    // The rules of the builder are those that apply.
    let origin = [("origin", "http://a")];
    let answer = request(&emulator, "GET", "/open/a", &origin).await;
    assert_eq!(
        answer.header("access-control-allow-origin"),
        Some("http://a")
    );
}

#[tokio::test]
async fn a_reset_restores_the_buckets() {
    let tags: &[u8] =
        b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>";
    let rules: &[u8] = b"<CORSConfiguration><CORSRule><AllowedOrigin>http://b</AllowedOrigin>\
                  <AllowedMethod>GET</AllowedMethod></CORSRule></CORSConfiguration>";
    for (_folder, builder) in stores() {
        let open = HostedBucket::new("open".parse().unwrap()).acl(Acl::PublicReadWrite);
        let gone = HostedBucket::new("gone".parse().unwrap());
        let builder = builder.create_buckets(true);
        let emulator = builder
            .bucket(open.cors(CorsRule::any_origin()))
            .bucket(gone)
            .build();
        let emulator = emulator.unwrap();
        let private = [("x-oss-acl", "private")];
        for (method, target, headers, body) in [
            (Method::PUT, "/open/?acl", &private[..], &b""[..]),
            (Method::PUT, "/open/?tagging", &[], tags),
            (Method::PUT, "/open/?cors", &[], rules),
            (Method::DELETE, "/gone/", &[], b""),
            (Method::PUT, "/made/", &[], b""),
            (Method::PUT, "/made/a", &[], b"hello"),
            (Method::PUT, "/open/a", &[], b"hello"),
        ] {
            let answer = ask_with(&emulator, method.clone(), target, "", headers, body).await;
            assert!(
                answer.status.is_success(),
                "{method} {target}: {}",
                answer.text()
            );
        }
        let refused = request(&emulator, "PUT", "/open/b", &[]).await;
        assert_eq!(refused.status, 403);

        emulator.reset().await.unwrap();
        assert_eq!(request(&emulator, "PUT", "/open/b", &[]).await.status, 200);
        assert_eq!(request(&emulator, "GET", "/open/a", &[]).await.status, 404);
        let origin = [("origin", "http://a")];
        let answer = request(&emulator, "GET", "/open/b", &origin).await;
        assert_eq!(
            answer.header("access-control-allow-origin"),
            Some("http://a")
        );
        let get = async |target| ask(&emulator, Method::GET, target).await;
        assert!(!get("/open/?tagging").await.text().contains("<Key>a</Key>"));
        assert_eq!(get("/gone/").await.status, 200);
        assert_eq!(get("/made/").await.status, 404);
        // An object of the deleted bucket does not come back with a bucket of its name.
        let made = ask(&emulator, Method::PUT, "/made/").await;
        assert_eq!(made.status, 200);
        assert_eq!(get("/made/a").await.status, 404);
    }
}

/// A client that stores whenever the reset waits for its folder.
#[tokio::test]
async fn a_reset_gives_up_on_a_bucket_that_stays_in_use() {
    for (method, query) in [(Method::PUT, ""), (Method::POST, "?uploads")] {
        let folder = tempfile::tempdir().unwrap();
        let emulator = builder()
            .store(ObjectStore::folder(folder.path()).unwrap())
            .create_buckets(true)
            .build()
            .unwrap();
        let made = ask(&emulator, Method::PUT, "/made/").await;
        assert_eq!(made.status, 200);
        let mut count = 0;
        let mut store = async || {
            count += 1;
            let target = format!("/made/{count}{query}");
            let stored = ask(&emulator, method.clone(), &target).await;
            assert_eq!(stored.status, 200, "{}", stored.text());
        };
        store().await;
        let mut reset = pin!(emulator.reset());
        let error = loop {
            match poll_fn(|cx| Poll::Ready(reset.as_mut().poll(cx))).await {
                Poll::Ready(done) => break done.unwrap_err(),
                Poll::Pending => store().await,
            }
        };
        assert_eq!(error.kind(), std::io::ErrorKind::ResourceBusy);
        let text = error.to_string();
        assert!(text.contains("the bucket made; stop them"), "{text}");
        // The bucket works, and what was stored last is in it.
        let last = format!("/made/{count}");
        if query.is_empty() {
            assert_eq!(ask(&emulator, Method::GET, &last).await.status, 200);
        }
        // Nobody stores any longer.
        emulator.reset().await.unwrap();
        assert_eq!(ask(&emulator, Method::GET, "/made/").await.status, 404);
    }
}

#[tokio::test]
async fn named_callbacks_may_be_private() {
    let mut server =
        OneServer::http(|_| async { http::Response::new(Full::from(r#"{"Status":"OK"}"#)) });
    server.addresses = vec!["10.0.0.7:80".parse().unwrap()];
    let emulator = open()
        .network(server)
        .allow_callbacks_to("http://app.internal:8080/anything")
        .build()
        .unwrap();
    for (url, ec) in [
        ("http://app.internal:8080/oss/callback", None),
        ("http://APP.internal:8080/", None),
        ("http://app.internal/", Some("0007-00000008")),
        ("http://other.internal:8080/", Some("0007-00000008")),
        ("http://10.0.0.7:8080/", Some("0007-00000008")),
    ] {
        let parameters = callback(&json!({ "callbackUrl": url, "callbackBody": "a=1" }));
        let headers = [("x-oss-callback", &*parameters)];
        let answer = request(&emulator, "PUT", "/open/a", &headers).await;
        assert_eq!(answer.header("x-oss-ec"), ec, "{url}");
        assert_eq!(answer.status, if ec.is_none() { 200 } else { 400 }, "{url}");
    }
}

#[test]
fn settings_that_do_not_fit_are_errors() {
    let builder = builder()
        .allow_callbacks_to("app:80")
        .allow_callbacks_to("http://app");
    let error = builder.build().unwrap_err();
    assert_eq!(error, EmulatorError::CallbackUrl("app:80".into()));
    let none = Emulator::builder().build().unwrap_err();
    assert_eq!(none, EmulatorError::NoBucket);
    Emulator::builder().create_buckets(true).build().unwrap();
    let again = Emulator::builder()
        .create_buckets(true)
        .create_buckets(false);
    assert_eq!(again.build().unwrap_err(), EmulatorError::NoBucket);
}

#[tokio::test]
async fn em_07_origins_that_no_rule_allows_change_nothing() {
    let own = CorsRule::new()
        .allow_origin("http://app.example")
        .allow_method(Method::PUT)
        .allow_method(Method::POST);
    let bucket = HostedBucket::new("open".parse().unwrap()).acl(Acl::PublicReadWrite);
    let builder = builder().bucket(bucket.cors(own)).refuse_foreign_origins();
    let emulator = builder.build().unwrap();
    for (method, target, origin, allowed) in [
        ("PUT", "/open/a", Some("http://app.example"), true),
        ("PUT", "/open/a", None, true),
        ("PUT", "/open/a", Some("https://evil.example"), false),
        ("PUT", "/open/a", Some("null"), false),
        ("PUT", "/open/a", Some(""), false),
        ("DELETE", "/open/a", Some("http://app.example"), false),
        (
            "POST",
            "/open/a?uploads",
            Some("https://evil.example"),
            false,
        ),
        ("GET", "/open/a", Some("https://evil.example"), true),
    ] {
        let headers: Vec<_> = origin.iter().map(|origin| ("origin", *origin)).collect();
        let answer = request(&emulator, method, target, &headers).await;
        let found = answer.header("x-oss-ec") != Some("0003-00000602");
        assert_eq!(found, allowed, "{method} {origin:?}");
        assert_eq!(answer.status == 200, allowed, "{method} {origin:?}");
    }
    // A form is refused before its content is read, although it is signed.
    let mut form = good(&[]).file(b"hello").request();
    form.headers_mut()
        .insert("origin", "https://evil.example".parse().unwrap());
    assert_eq!(form.headers()["host"], HOST);
    send(&emulator, form)
        .await
        .assert_refused(403, "AccessForbidden", "0003-00000602");
    // OSS leaves this to the browser, and so does an emulator without the setting.
    let mut form = good(&[]).file(b"hello").request();
    form.headers_mut()
        .insert("origin", "https://evil.example".parse().unwrap());
    assert_eq!(send(&self::emulator(), form).await.status, 204);
}
