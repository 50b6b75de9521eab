//! Objects: responses to uploads, reading, and CORS.

use std::time::Duration;

use aliyun_oss_emulator::{Acl, CorsRule, Emulator, EmulatorError, HostedBucket, ObjectStore};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use serde_json::json;
use tower_aliyun_oss::protocol::Bucket;

use super::support::{Answer, BUCKET, HOST, builder, callback, emulator, get, good, send};

fn public() -> Emulator {
    let bucket = HostedBucket::new("pictures".parse().unwrap()).acl(Acl::PublicRead);
    builder().bucket(bucket).build().unwrap()
}

async fn store(emulator: &Emulator, fields: &[(&str, &str)], content: &[u8]) -> Answer {
    let conditions = json!([{ "bucket": "pictures" }]);
    let mut request = super::support::under(&conditions, fields)
        .file(content)
        .request();
    request
        .headers_mut()
        .insert("host", "pictures.localhost:9000".parse().unwrap());
    send(emulator, request).await
}

async fn ask(
    emulator: &Emulator,
    method: Method,
    path: &str,
    headers: &[(&'static str, &str)],
) -> Answer {
    let mut request = Request::new(Full::<Bytes>::default());
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().unwrap();
    request
        .headers_mut()
        .insert("host", "pictures.localhost:9000".parse().unwrap());
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    send(emulator, request).await
}

/// Section 8.2 of the reference.
#[tokio::test]
async fn the_forms_of_success() {
    let emulator = emulator();
    for (status, answered) in [
        (None, 204),
        (Some("200"), 200),
        (Some("204"), 204),
        (Some("201"), 201),
        (Some("302"), 204),
        (Some(""), 204),
    ] {
        let fields: Vec<_> = status
            .map(|status| ("success_action_status", status))
            .into_iter()
            .collect();
        let answer = good(&fields).file(b"test\n").post(&emulator).await;
        assert_eq!(answer.status.as_u16(), answered, "{status:?}");
        assert_eq!(
            answer.header("etag"),
            Some("\"D8E8FCA2DC0F896FD7CB4CB0031BA249\"")
        );
        assert_eq!(
            answer.header("content-md5"),
            Some("2Oj8otwPiW/Xy0ywAxuiSQ==")
        );
        assert_eq!(answer.header("server"), Some("AliyunOSS"));
        assert!(answer.header("x-oss-request-id").is_some() && answer.header("date").is_some());
        assert!(answer.header("x-oss-hash-crc64ecma").is_some());
        assert_eq!(answer.body.is_empty(), answered != 201);
    }
    let fields = [("key", "a b/<中>.txt"), ("success_action_status", "201")];
    let answer = good(&fields).file(b"test\n").post(&emulator).await;
    assert_eq!(answer.header("content-type"), Some("application/xml"));
    assert_eq!(answer.element("Bucket").unwrap(), BUCKET);
    assert_eq!(answer.element("Key").unwrap(), "a b/<中>.txt");
    assert_eq!(
        answer.element("ETag").unwrap(),
        "\"D8E8FCA2DC0F896FD7CB4CB0031BA249\""
    );
    let location = "http://examplebucket.localhost:9000/a%20b%2F%3C%E4%B8%AD%3E.txt";
    assert_eq!(answer.element("Location").unwrap(), location);

    // A redirect takes precedence over a status, and applies only to a success.
    let fields = [
        ("success_action_redirect", "http://app.example/done?x=1"),
        ("success_action_status", "201"),
    ];
    let answer = good(&fields).file(b"test\n").post(&emulator).await;
    assert_eq!(answer.status, 303);
    let location = "http://app.example/done?x=1&bucket=examplebucket&key=a%2Etxt&etag=%22D8E8FCA2DC0F896FD7CB4CB0031BA249%22";
    assert_eq!(answer.header("location"), Some(location));
    let answer = good(&fields)
        .with("Signature", "x")
        .file(b"test\n")
        .post(&emulator)
        .await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("location")),
        (403, None)
    );
    for odd in ["javascript:alert(1)", "/done", "http://a.example/\r\nx: y"] {
        let answer = good(&[("success_action_redirect", odd)])
            .file(b"test\n")
            .post(&emulator)
            .await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("location")),
            (204, None),
            "{odd}"
        );
    }
}

/// Section 8 of the reference: the field `x-oss-content-type` takes precedence over the type of the
/// file, and that over the field `Content-Type`.
#[tokio::test]
async fn the_type_of_an_object() {
    let emulator = public();
    let file = |part: &str| {
        super::support::under(
            &json!([{ "bucket": "pictures" }]),
            &[("Content-Type", "c/c")],
        )
        .part(part, b"x")
    };
    let disposition = "Content-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n";
    let typed = format!("{disposition}Content-Type: b/b\r\n");
    let post = async |form: super::support::Form| {
        let mut request = form.request();
        request
            .headers_mut()
            .insert("host", "pictures.localhost".parse().unwrap());
        assert_eq!(send(&emulator, request).await.status, 204);
        let answer = ask(&emulator, Method::GET, "/a.txt", &[]).await;
        answer.header("content-type").unwrap().to_owned()
    };
    assert_eq!(post(file(disposition)).await, "c/c");
    assert_eq!(post(file(&typed)).await, "b/b");
    let all = super::support::under(
        &json!([{ "bucket": "pictures" }]),
        &[("Content-Type", "c/c"), ("x-oss-content-type", "a/a")],
    );
    assert_eq!(post(all.part(&typed, b"x")).await, "a/a");
    let none = super::support::under(&json!([{ "bucket": "pictures" }]), &[]);
    assert_eq!(
        post(none.part(disposition, b"x")).await,
        "application/octet-stream"
    );
}

#[tokio::test]
async fn what_is_public_can_be_read() {
    for in_folder in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let bucket = HostedBucket::new("pictures".parse().unwrap()).acl(Acl::PublicRead);
        let mut settings = builder().bucket(bucket);
        if in_folder {
            settings = settings.store(ObjectStore::folder(folder.path()).unwrap());
        }
        let emulator = settings.build().unwrap();
        let content: Vec<u8> = (0..600_000_u32).map(|at| (at % 251) as u8).collect();
        let fields = [
            ("key", "d/ä.bin"),
            ("x-oss-content-type", "image/x"),
            ("Cache-Control", "no-cache"),
            ("x-oss-meta-Album", "sea"),
        ];
        assert_eq!(store(&emulator, &fields, &content).await.status, 204);

        let answer = ask(&emulator, Method::GET, "/d/%C3%A4.bin", &[]).await;
        assert_eq!(answer.status, 200);
        assert!(answer.body == content, "the content must be unchanged");
        for (name, value) in [
            ("content-length", "600000"),
            ("content-type", "image/x"),
            ("cache-control", "no-cache"),
            ("x-oss-meta-album", "sea"),
            ("x-oss-object-type", "Normal"),
            ("x-oss-storage-class", "Standard"),
            ("accept-ranges", "bytes"),
            ("last-modified", "Sun, 03 Dec 2023 12:12:12 GMT"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{name}");
        }
        let head = ask(&emulator, Method::HEAD, "/d/%C3%A4.bin", &[]).await;
        assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
        assert_eq!(head.header("content-length"), Some("600000"));
        assert_eq!(head.header("etag"), answer.header("etag"));

        for (range, from, to) in [
            ("bytes=0-0", 0, 1),
            ("bytes=262143-262145", 262_143, 262_146),
            ("bytes=-5", 599_995, 600_000),
        ] {
            let answer = ask(&emulator, Method::GET, "/d/%C3%A4.bin", &[("range", range)]).await;
            assert_eq!(answer.status, 206, "{range}");
            assert!(answer.body == content[from..to], "{range}");
            let says = format!("bytes {from}-{}/600000", to - 1);
            assert_eq!(answer.header("content-range"), Some(&*says));
        }
        let answer = ask(
            &emulator,
            Method::GET,
            "/d/%C3%A4.bin",
            &[("range", "bytes=600000-")],
        )
        .await;
        answer.assert_refused(416, "InvalidRange", "");
        let answer = ask(&emulator, Method::GET, "/none", &[]).await;
        answer.assert_refused(404, "NoSuchKey", "0026-00000001");
        let answer = ask(&emulator, Method::HEAD, "/none", &[]).await;
        assert_eq!((answer.status.as_u16(), answer.body.len()), (404, 0));

        // An empty object exists too.
        assert_eq!(store(&emulator, &[("key", "empty")], b"").await.status, 204);
        let answer = ask(&emulator, Method::GET, "/empty", &[]).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("content-length")),
            (200, Some("0"))
        );
        // An object with its own ACL.
        let fields = [("key", "hidden"), ("x-oss-object-acl", "private")];
        assert_eq!(store(&emulator, &fields, b"x").await.status, 204);
        let answer = ask(&emulator, Method::GET, "/hidden", &[]).await;
        answer.assert_refused(403, "AccessDenied", "0003-00000001");
    }
    let emulator = emulator();
    assert_eq!(good(&[]).file(b"x").post(&emulator).await.status, 204);
    get(&emulator, "/a.txt")
        .await
        .assert_refused(403, "AccessDenied", "0003-00000001");
    // The response does not reveal whether an object exists.
    get(&emulator, "/none")
        .await
        .assert_refused(403, "AccessDenied", "0003-00000001");
}

/// Section 13 of the reference.
#[tokio::test]
async fn pages_of_other_origins() {
    let rule = CorsRule::new()
        .allow_origin("http://localhost:*")
        .allow_method(Method::POST)
        .allow_header("X-Requested-*")
        .expose_header("ETag")
        .max_age(Duration::from_secs(60));
    let with_rules = HostedBucket::new("pictures".parse().unwrap())
        .cors(CorsRule::new())
        .cors(rule);
    let emulator = builder().bucket(with_rules).build().unwrap();
    let origin = ("origin", "http://localhost:8080");
    let post = ("access-control-request-method", "POST");
    let header = ("access-control-request-headers", "x-requested-with");
    let preflight = async |headers: &[(&'static str, &str)]| {
        ask(&emulator, Method::OPTIONS, "/", headers).await
    };

    let answer = preflight(&[origin, post, header]).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0));
    for (name, value) in [
        ("access-control-allow-origin", "http://localhost:8080"),
        ("access-control-allow-methods", "POST"),
        ("access-control-allow-headers", "x-requested-with"),
        ("access-control-expose-headers", "ETag"),
        ("access-control-max-age", "60"),
        ("vary", "Origin"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    for refused in [
        &[("origin", "http://evil.example"), post][..],
        &[("origin", "null"), post],
        &[("origin", "http://LOCALHOST:8080"), post],
        &[origin, ("access-control-request-method", "PUT")],
        &[
            origin,
            post,
            (
                "access-control-request-headers",
                "x-requested-with, x-other",
            ),
        ],
    ] {
        let answer = preflight(refused).await;
        answer.assert_refused(403, "AccessForbidden", "0003-00000602");
        assert!(answer.header("access-control-allow-origin").is_none());
    }
    preflight(&[post])
        .await
        .assert_refused(400, "BadRequest", "0034-00000101");
    preflight(&[origin])
        .await
        .assert_refused(400, "BadRequest", "0034-00000102");
    let mut disabled = Request::new(Full::<Bytes>::default());
    *disabled.method_mut() = Method::OPTIONS;
    for (name, value) in [("host", HOST), origin, post] {
        disabled.headers_mut().insert(name, value.parse().unwrap());
    }
    send(&emulator, disabled)
        .await
        .assert_refused(403, "AccessForbidden", "0003-00000601");

    // An allowed page may read every response. Forms of other pages are processed too, as CORS only
    // hides the response.
    let upload = async |origin: &str, fields: &[(&str, &str)]| {
        let conditions = json!([{ "bucket": "pictures" }]);
        let mut request = super::support::under(&conditions, fields)
            .file(b"x")
            .request();
        request
            .headers_mut()
            .insert("host", "pictures.localhost".parse().unwrap());
        request
            .headers_mut()
            .insert("origin", origin.parse().unwrap());
        send(&emulator, request).await
    };
    let failing = callback(&json!({ "callbackUrl": "8.8.8.8", "callbackBody": "a" }));
    for (fields, status) in [
        (&[][..], 204),
        (&[("callback", &*failing)], 203),
        (&[("callback", "!")], 400),
    ] {
        let answer = upload("http://localhost:1", fields).await;
        assert_eq!(answer.status.as_u16(), status);
        assert_eq!(
            answer.header("access-control-allow-origin"),
            Some("http://localhost:1")
        );
        assert_eq!(answer.header("access-control-expose-headers"), Some("ETag"));
    }
    let answer = upload("http://evil.example", &[]).await;
    assert_eq!(
        (
            answer.status.as_u16(),
            answer.header("access-control-allow-origin")
        ),
        (204, None)
    );
}

#[tokio::test]
async fn memory_has_a_limit() {
    let emulator = builder().store(ObjectStore::memory(1000)).build().unwrap();
    let upload = async |key: &str, size: usize| {
        good(&[("key", key)])
            .file(&vec![0; size])
            .post(&emulator)
            .await
    };
    assert_eq!(upload("a", 600).await.status, 204);
    upload("b", 401)
        .await
        .assert_refused(500, "InternalError", "");
    assert_eq!(upload("b", 400).await.status, 204);
    // Replaced objects and rejected uploads do not count towards the limit.
    upload("a", 1)
        .await
        .assert_refused(500, "InternalError", "");
    assert_eq!(upload("b", 0).await.status, 204);
    assert_eq!(upload("b", 400).await.status, 204);
}

#[tokio::test]
async fn a_folder_keeps_objects_and_drops_what_is_unfinished() {
    let folder = tempfile::tempdir().unwrap();
    let bucket: Bucket = BUCKET.parse().unwrap();
    let open = || {
        builder()
            .store(ObjectStore::folder(folder.path()).unwrap())
            .build()
            .unwrap()
    };
    let emulator = open();
    let long = "k".repeat(1023);
    for key in ["../../etc/passwd", "a", "a/b", "CON", &long] {
        assert_eq!(
            good(&[("key", key)])
                .file(key.as_bytes())
                .post(&emulator)
                .await
                .status,
            204,
            "{key}"
        );
    }
    // A rejected upload leaves no files.
    let cut = good(&[("key", "cut")]).file(&vec![1; 2_000_000]).bytes();
    let answer = send(
        &emulator,
        super::support::request(cut.slice(..cut.len() - 100)),
    )
    .await;
    answer.assert_refused(400, "MalformedPOSTRequest", "0006-00000104");
    let left = || {
        std::fs::read_dir(folder.path().join(".aliyun-oss-emulator-uploads"))
            .unwrap()
            .count()
    };
    assert_eq!(left(), 0);
    let unfinished = ".aliyun-oss-emulator-uploads/upload-1.part";
    std::fs::write(folder.path().join(unfinished), "half").unwrap();
    drop(emulator);
    let again = open();
    assert_eq!(left(), 0);
    let list = again.store().list(&bucket).await.unwrap();
    let keys: Vec<_> = list.iter().map(|object| object.key()).collect();
    assert_eq!(keys, ["../../etc/passwd", "CON", "a", "a/b", &long]);
    assert!(
        list.iter()
            .all(|object| object.size() == object.key().len() as u64)
    );
    assert_eq!(
        again.store().list(&"empty".parse().unwrap()).await.unwrap(),
        []
    );
}

/// Listings come from an index, which is built from the files when the folder is opened.
#[tokio::test]
async fn the_index_of_a_folder_follows_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let store = ObjectStore::folder(folder.path()).unwrap();
        builder().store(store).build().unwrap()
    };
    let bucket: Bucket = BUCKET.parse().unwrap();
    let upload = async |emulator: &Emulator, key: &str, content: &[u8]| {
        let form = good(&[("key", key)]).file(content);
        assert_eq!(form.post(emulator).await.status, 204, "{key}");
    };
    let sizes = async |emulator: &Emulator| {
        let list = emulator.store().list(&bucket).await;
        list.map(|list| {
            list.iter()
                .map(|o| (o.key().to_owned(), o.size()))
                .collect::<Vec<_>>()
        })
    };
    let first = open();
    for at in 0..200 {
        upload(&first, &format!("old-{at:03}"), b"1").await;
    }
    drop(first);
    // Written while the index is built.
    let emulator = open();
    upload(&emulator, "old-000", b"22").await;
    upload(&emulator, "young", b"333").await;
    let found = sizes(&emulator).await.unwrap();
    assert_eq!(found.len(), 201);
    assert_eq!(found[0], ("old-000".to_owned(), 2));
    assert_eq!(found[200], ("young".to_owned(), 3));
    drop(emulator);

    // A file that is not an object is an error until the store replaces it.
    let files = folder.path().join("buckets").join(BUCKET);
    let file = std::fs::read_dir(&files).unwrap().next().unwrap().unwrap();
    let whole = std::fs::read(file.path()).unwrap();
    std::fs::write(file.path(), "damaged").unwrap();
    let emulator = open();
    sizes(&emulator).await.unwrap_err();
    for at in 0..200 {
        upload(&emulator, &format!("old-{at:03}"), b"1").await;
    }
    upload(&emulator, "young", b"333").await;
    assert_eq!(sizes(&emulator).await.unwrap().len(), 201);
    drop(emulator);

    // A copy under another name is not an object, but hidden from no one.
    std::fs::write(files.join("copy"), whole).unwrap();
    let emulator = open();
    sizes(&emulator).await.unwrap_err();
    drop(emulator);
    std::fs::remove_file(files.join("copy")).unwrap();

    // A folder that cannot be read. Once it can, listings succeed again.
    let stray = folder.path().join("buckets/straybucket");
    std::fs::write(&stray, "").unwrap();
    let emulator = open();
    sizes(&emulator).await.unwrap_err();
    sizes(&emulator).await.unwrap_err();
    std::fs::remove_file(&stray).unwrap();
    // The listing before started to read the folder again, perhaps before the file was removed.
    let _ = sizes(&emulator).await;
    assert_eq!(sizes(&emulator).await.unwrap().len(), 201);
}

#[test]
fn settings_that_cannot_be() {
    let bucket = || HostedBucket::new(BUCKET.parse().unwrap());
    assert_eq!(
        Emulator::builder().build().unwrap_err(),
        EmulatorError::NoBucket
    );
    let twice = Emulator::builder()
        .bucket(bucket())
        .bucket(bucket())
        .build();
    assert!(matches!(
        twice.unwrap_err(),
        EmulatorError::DuplicateBucket(_)
    ));
    let rules = (0..11).fold(bucket(), |bucket, _| bucket.cors(CorsRule::any_origin()));
    let many = Emulator::builder().bucket(rules).build();
    assert!(matches!(many.unwrap_err(), EmulatorError::CorsRules(_)));
}

/// The emulator is a tower service, so axum can mount it.
#[tokio::test]
async fn the_emulator_is_a_service_for_axum() {
    let app: axum::Router = axum::Router::new().fallback_service(emulator());
    let request = good(&[]).file(b"x").request().map(axum::body::Body::new);
    let answer = tower::ServiceExt::oneshot(app, request).await.unwrap();
    assert_eq!(answer.status(), 204);
}
