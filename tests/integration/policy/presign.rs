//! `OssPresignService`: what it signs, and what it does not.

mod hostile;
#[cfg(all(feature = "metrics", feature = "testing"))]
mod metrics;
mod support;
mod uppy;

use std::time::Duration;

use http::{Method, Request, header, request::Parts};
use http_body_util::Full;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use tower_aliyun_oss::{
    OssUploads,
    policy::{
        Condition, Credentials, FieldProblem, Grant, OssPresignService, PolicyError, Refusal,
        RequestedDownload, RequestedFiles, TokenError,
    },
    protocol::{ContentType, ObjectAcl, ObjectPrefix, SizeRange},
    ticket::{TicketKey, TicketKeys, Tickets},
};

use self::support::{
    Always, Clock, NOW, Signed, answer, ask, create, credentials, service, service_at, uploads,
    videos,
};

const GIB: u64 = 1 << 30;

async fn refused(grant: Grant, body: Value) -> (u16, String) {
    let (status, answer) = ask(&service(Always(grant)), &body).await;
    assert!(answer["message"].is_string(), "{answer}");
    (status, answer["code"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn an_upload_has_what_was_granted() {
    let service = service(Always(videos()));
    let created = create(&service, "holiday.mp4", 20 << 20, "video/mp4").await;
    assert_eq!(created["size"], 20 << 20);
    assert_eq!(created["partSize"], 8 << 20);
    assert_eq!(created["partCount"], 3);
    assert_eq!(created["type"], "video/mp4");
    assert_eq!(created["expires"], NOW + 86_400);
    let key = created["key"].as_str().unwrap();
    assert!(
        key.starts_with("video/7/") && key.ends_with(".mp4"),
        "{key}"
    );
    let request = Signed::of(&created["request"]);
    assert_eq!(request.method, "POST");
    assert_eq!(request.path, format!("/{key}"));
    assert_eq!(request.own_query(), [("uploads".to_owned(), String::new())]);
    assert_eq!(
        created["request"]["headers"],
        json!({
            "content-type": "video/mp4",
            "x-oss-object-acl": "private",
            "x-oss-forbid-overwrite": "true",
        })
    );
    assert_eq!(request.get("x-oss-expires"), Some("3600"));
    assert_eq!(created["request"]["expires"], NOW + 3600);

    let handle = &created["handle"];
    let body = json!({"action": "parts", "handle": handle, "uploadId": "U", "parts": [3, 1]});
    let parts = answer(&service, &body).await;
    let parts = parts["parts"].as_array().unwrap();
    assert_eq!(parts.len(), 2);
    for (part, (number, size)) in parts.iter().zip([(3, 4 << 20), (1, 8 << 20)]) {
        assert_eq!(part["partNumber"], number);
        assert_eq!(part["size"], size);
        let request = Signed::of(&part["request"]);
        assert_eq!(request.method, "PUT");
        assert_eq!(request.path, format!("/{key}"));
        assert_eq!(request.get("partNumber"), Some(&*number.to_string()));
        assert_eq!(request.get("uploadId"), Some("U"));
        assert_eq!(
            request.get("x-oss-additional-headers"),
            Some("content-length")
        );
        assert_eq!(part["request"]["headers"], json!({}));
    }
}

#[tokio::test]
async fn grants_decide_headers_keys_and_lifetimes() {
    let prefix = || ObjectPrefix::from_segments(["a"]).unwrap();
    let size = SizeRange::new(0, 100 * GIB).unwrap();
    let grant = Grant::any_name_under(prefix(), size)
        .any_content_type()
        .object_acl(ObjectAcl::PublicRead)
        .allow_overwrite()
        .field("Cache-Control", "max-age=60")
        .field("x-oss-meta-album", "7")
        .lifetime(Duration::from_secs(600));
    let service = service(Always(grant.clone()));
    let created = create(&service, "b/c.bin", 5, "").await;
    assert_eq!(created["key"], "a/b/c.bin");
    assert_eq!(created["expires"], NOW + 600);
    // No URL outlives the handle.
    assert_eq!(created["request"]["expires"], NOW + 600);
    let headers = json!({
        "content-type": "application/octet-stream",
        "x-oss-object-acl": "public-read",
        "cache-control": "max-age=60",
        "x-oss-meta-album": "7",
    });
    assert_eq!(created["request"]["headers"], headers);
    let request = Signed::of(&created["request"]);
    assert_eq!(
        request.get("x-oss-additional-headers"),
        Some("cache-control")
    );
    let put = answer(
        &service,
        &json!({"action": "put", "handle": created["handle"]}),
    )
    .await;
    assert_eq!(put["request"]["headers"], headers);
    let named = Signed::of(&put["request"]);
    assert_eq!(
        named.get("x-oss-additional-headers"),
        Some("cache-control;content-length")
    );

    let exact = Grant::exact("b.mp4".parse().unwrap(), size).content_type(ContentType::MP4);
    let created = create(&self::service(Always(exact)), "x.png", 5, "").await;
    assert_eq!(
        (&created["key"], &created["type"]),
        (&json!("b.mp4"), &json!("video/mp4"))
    );
    // The uploader chooses the name, and none of these can be one.
    for name in ["", "../x", "a//b", "/", "a\\b", "a\n", "$x"] {
        let body = json!({"action": "create", "filename": name, "size": 5});
        assert_eq!(
            refused(grant.clone(), body).await,
            (400, "InvalidAsk".into()),
            "{name:?}"
        );
    }
}

#[tokio::test]
async fn what_is_not_granted_is_refused() {
    let create = |size: u64, of_type: &str| json!({"action": "create", "filename": "a.mp4", "size": size, "type": of_type});
    for (body, expected) in [
        (create(80 * GIB + 1, "video/mp4"), (403, "SizeNotGranted")),
        (create(5, "image/png"), (403, "TypeNotGranted")),
        (
            json!({"action": "create", "filename": "a", "size": 5}),
            (400, "TypeRequired"),
        ),
        (
            json!({"action": "get", "key": "video/7/a"}),
            (403, "NotGranted"),
        ),
        (json!({"action": "create"}), (400, "InvalidAsk")),
    ] {
        let (status, code) = refused(videos(), body.clone()).await;
        assert_eq!((status, &*code), expected, "{body}");
    }
    let read = Grant::read(ObjectPrefix::from_segments(["video", "7"]).unwrap());
    assert_eq!(
        refused(read, create(5, "video/mp4")).await,
        (403, "NotGranted".into())
    );
}

/// What the server gets wrong is 500, and the log has the reason.
#[tokio::test]
async fn grants_that_cannot_be_signed() {
    let wrong = [
        videos().field("x-foo", "1"),
        videos().field("Cache-Control", "é"),
        videos().condition(Condition::starts_with("x-oss-meta-a", "b")),
        videos().claims(&"c".repeat(1025)),
        videos().lifetime(Duration::from_secs(8 * 86_400)),
    ];
    for grant in wrong {
        let body = json!({
            "action": "create", "filename": "a.mp4", "size": 5, "type": "video/mp4"
        });
        let shown = format!("{grant:?}");
        assert_eq!(
            refused(grant, body).await,
            (500, "PolicyUnavailable".into()),
            "{shown}"
        );
    }
    let form = Grant::under("a/".parse().unwrap(), SizeRange::new(0, 1).unwrap())
        .field("Cache-Control", "é");
    let error = |grant: &Grant| {
        let service = service(Always(grant.clone()));
        async move {
            let request = support::request(&json!({"action": "create", "size": 1}));
            let response = service.oneshot(request).await.unwrap();
            let error: &TokenError = response.extensions().get().unwrap();
            let source = std::error::Error::source(error).unwrap();
            source.downcast_ref::<PolicyError>().unwrap().clone()
        }
    };
    let PolicyError::Field { field, problem } = error(&form).await else {
        panic!()
    };
    assert_eq!(
        (&*field, problem),
        ("Cache-Control", FieldProblem::NotAHeader)
    );
}

#[tokio::test]
async fn a_service_needs_tickets_and_sizes_that_oss_accepts() {
    let without = OssUploads::builder("examplebucket".parse().unwrap(), credentials())
        .region("cn-hangzhou".parse().unwrap())
        .callback_url("https://app.example/oss/callback")
        .dangerous_without_tickets()
        .build()
        .unwrap();
    let error = without.presign_service(Always(videos())).unwrap_err();
    assert_eq!(error, PolicyError::Tickets);
    for (size, good) in [
        (102_399, false),
        (102_400, true),
        (5 * GIB, true),
        (5 * GIB + 1, false),
    ] {
        let sized = service(Always(videos())).part_size(size);
        assert_eq!(sized.is_ok(), good, "{size}");
    }
    for (seconds, good) in [(0, false), (1, true), (604_800, true), (604_801, false)] {
        let timed = service(Always(videos())).url_lifetime(Duration::from_secs(seconds));
        assert_eq!(timed.is_ok(), good, "{seconds}");
    }
}

/// The handle is the only thing that has to be kept, also across instances.
#[tokio::test]
async fn ps_02_a_handle_expires_and_is_of_one_bucket_and_one_callback() {
    let clock = Clock::default();
    let keys = || {
        let key = TicketKey::from_bytes(&std::array::from_fn::<_, 32, _>(|n| n as u8)).unwrap();
        Tickets::in_memory(TicketKeys::new(1, key))
    };
    let at = |callback: &str, bucket: &str, tickets: Tickets| {
        let uploads = OssUploads::builder(bucket.parse().unwrap(), credentials())
            .region("cn-hangzhou".parse().unwrap())
            .callback_url(callback)
            .tickets(tickets)
            .build()
            .unwrap();
        service_at(&uploads, Always(videos()), &clock)
    };
    const URL: &str = "https://app.example/oss/callback";
    let service = at(URL, "examplebucket", keys());
    let created = create(&service, "a.mp4", 5, "video/mp4").await;
    let list = json!({"action": "list", "handle": created["handle"], "uploadId": "U"});
    answer(&service, &list).await;
    answer(&at(URL, "examplebucket", keys()), &list).await;
    let code = async |service: &OssPresignService<Always>| {
        let (status, body) = ask(service, &list).await;
        (status, body["code"].as_str().unwrap_or_default().to_owned())
    };
    let expired = (410, "HandleExpired".to_owned());
    assert_eq!(
        code(&at("https://app.example/other", "examplebucket", keys())).await,
        expired
    );
    assert_eq!(code(&at(URL, "otherbucket", keys())).await, expired);
    let other = Tickets::in_memory(TicketKeys::new(1, TicketKey::generate().unwrap()));
    let invalid = (400, "InvalidHandle".to_owned());
    assert_eq!(code(&at(URL, "examplebucket", other)).await, invalid);

    // A URL ends with the handle.
    clock.advance(86_400 - 60);
    let last = answer(&service, &list).await;
    assert_eq!(last["request"]["expires"], NOW + 86_400);
    assert_eq!(
        Signed::of(&last["request"]).get("x-oss-expires"),
        Some("60")
    );
    clock.advance(60);
    assert_eq!(code(&service).await, expired);
}

#[tokio::test]
async fn ps_10_no_url_outlives_the_credentials() {
    let ends = support::at(NOW + 100);
    let sts = Credentials::new("STS.id", "secret")
        .and_then(|sts| sts.with_security_token("token/+=="))
        .unwrap()
        .with_expiry(ends);
    let clock = Clock::default();
    let uploads = uploads(sts);
    let service = service_at(&uploads, Always(videos()), &clock);
    let created = create(&service, "a.mp4", 9 << 20, "video/mp4").await;
    // The handle does: the next URL is signed with the next credentials.
    assert_eq!(created["expires"], NOW + 86_400);
    assert_eq!(created["request"]["expires"], NOW + 100);
    let signed = Signed::of(&created["request"]);
    assert_eq!(signed.get("x-oss-security-token"), Some("token/+=="));
    assert_eq!(signed.get("x-oss-expires"), Some("100"));
    clock.advance(100);
    let body = json!({"action": "create", "filename": "a.mp4", "size": 5, "type": "video/mp4"});
    let (status, answer) = ask(&service, &body).await;
    assert_eq!(
        (status, &answer["code"]),
        (503, &json!("CredentialsUnavailable"))
    );
}

/// Downloads: the grant decides about object, processing and time.
#[tokio::test]
async fn ps_11_a_download_is_signed_as_granted() {
    let read = Grant::read(ObjectPrefix::from_segments(["video", "7"]).unwrap())
        .process("image/resize,w_200")
        .lifetime(Duration::from_secs(300));
    let service = service(Always(read.clone()));
    let body = json!({
        "action": "get", "key": "video/7/x.mp4", "download": "Ferien \"1\" é.mp4",
        "process": "image/resize,w_200",
    });
    let signed = answer(&service, &body).await;
    let request = Signed::of(&signed["request"]);
    assert_eq!(
        (&*request.method, &*request.path),
        ("GET", "/video/7/x.mp4")
    );
    assert_eq!(
        request.own_query(),
        [
            (
                "response-content-disposition".to_owned(),
                "attachment; filename=\"Ferien _1_ _.mp4\"; \
                 filename*=UTF-8''Ferien%20%221%22%20%C3%A9.mp4"
                    .to_owned()
            ),
            ("x-oss-process".to_owned(), "image/resize,w_200".to_owned()),
        ]
    );
    assert_eq!(signed["request"]["expires"], NOW + 300);
    assert_eq!(signed["request"]["headers"], json!({}));
    for (key, process) in [
        ("video/7", None),
        ("video/70/x.mp4", None),
        ("video/8/x.mp4", None),
        ("video/7/x.mp4", Some("image/resize,w_2000")),
        ("video/7/x.mp4", Some("image/resize,w_200|sys/saveas,o_YQ")),
    ] {
        let body = json!({"action": "get", "key": key, "process": process});
        let (status, answer) = ask(&service, &body).await;
        assert_eq!(
            (status, &answer["code"]),
            (403, &json!("NotGranted")),
            "{body}"
        );
    }
    for key in ["video/7/../8/x", "", "video/7/"] {
        let (status, _) = ask(&service, &json!({"action": "get", "key": key})).await;
        assert_eq!(status, 400, "{key}");
    }
    // A grant to read is no grant to upload a form, either.
    let form = uploads(credentials()).policy_service(Always(read));
    let response = form.oneshot(
        Request::get("/")
            .body(Full::<bytes::Bytes>::default())
            .unwrap(),
    );
    assert_eq!(response.await.unwrap().status(), 403);
}

/// `authorize` learns what is requested, and runs for new uploads and downloads only.
#[tokio::test]
async fn authorize_runs_once_for_an_upload() {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };
    let runs: Arc<AtomicUsize> = Arc::default();
    let count = Arc::clone(&runs);
    let authorize = async move |parts: &Parts| -> Result<Grant, Refusal> {
        count.fetch_add(1, Ordering::SeqCst);
        if let Some(download) = parts.extensions.get::<RequestedDownload>() {
            assert_eq!(download, &RequestedDownload::of("video/7/a".parse()?));
            return Ok(Grant::read(download.key().clone()));
        }
        let files: &RequestedFiles = parts.extensions.get().ok_or_else(Refusal::forbidden)?;
        assert_eq!(files.files()[0].filename(), Some("a.mp4"));
        Ok(videos())
    };
    let service = service(authorize);
    let created = create(&service, "a.mp4", 5, "video/mp4").await;
    for action in ["list", "complete", "abort", "put"] {
        let body = json!({"action": action, "handle": created["handle"], "uploadId": "U"});
        answer(&service, &body).await;
    }
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    answer(&service, &json!({"action": "get", "key": "video/7/a"})).await;
    assert_eq!(runs.load(Ordering::SeqCst), 2);
}

/// As in the service that issues tokens: methods, types and lengths of requests.
#[tokio::test]
async fn requests_of_other_sites_and_of_other_kinds_are_rejected() {
    let service = service(Always(videos()));
    let send = async |request: Request<Full<bytes::Bytes>>| {
        let response = service.clone().oneshot(request).await.unwrap();
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
        response
    };
    for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE] {
        let mut request = support::request(&json!({"action": "create", "size": 5}));
        *request.method_mut() = method;
        let response = send(request).await;
        assert_eq!(response.status(), 405);
        assert_eq!(response.headers()[header::ALLOW], "POST");
    }
    let mut plain = support::request(&json!({"action": "create", "size": 5}));
    let text = http::HeaderValue::from_static("text/plain");
    plain.headers_mut().insert(header::CONTENT_TYPE, text);
    assert_eq!(send(plain).await.status(), 415);
    let long = support::request(&json!({"action": "create", "filename": "x".repeat(70_000)}));
    assert_eq!(send(long).await.status(), 413);
    // Companion's paths exist only with a storage.
    let mut params = support::request(&json!({}));
    *params.method_mut() = Method::GET;
    *params.uri_mut() = "/s3/params".parse().unwrap();
    assert_eq!(send(params).await.status(), 405);
}

/// The upload of 80 GiB, and of the largest object, without sending a byte of it.
#[tokio::test]
async fn ps_06_uploads_of_every_size_are_within_the_limits_of_oss() {
    const TIB: u64 = 1 << 40;
    let largest = SizeRange::new(0, SizeRange::LIMIT).unwrap();
    let grant = Grant::exact("a.bin".parse().unwrap(), largest);
    // Size, part size, parts, asks, and KiB of signed URLs: the table of docs/presign.md.
    for (size, part, count, asks, kib) in [
        (20 << 20, 8 << 20, 3, 1, 2),
        (GIB, 8 << 20, 128, 2, 51),
        (80 * GIB, 9 << 20, 9103, 92, 3_600),
        (TIB, 105 << 20, 9987, 100, 3_949),
        (SizeRange::LIMIT, 5 * GIB, 10_000, 100, 3_954),
    ] {
        let service = service(Always(grant.clone()));
        let created = create(&service, "a.bin", size, "").await;
        assert_eq!(created["partSize"], part);
        assert_eq!(created["partCount"], count);
        let (mut asked, mut next, mut covered, mut signed) = (0, 1, 0, 0);
        let mut longest = 0;
        while next <= count {
            let numbers: Vec<u64> = (next..=count.min(next + 99)).collect();
            let id = "0004B9894A22E5B1888A1E29F8236E2D";
            let body = json!({
                "action": "parts", "handle": created["handle"], "uploadId": id, "parts": numbers
            });
            let parts = answer(&service, &body).await;
            for (part_of, number) in parts["parts"].as_array().unwrap().iter().zip(&numbers) {
                assert_eq!(part_of["partNumber"], *number);
                let length = part_of["size"].as_u64().unwrap();
                // Only the last part may be smaller than 100 KiB.
                assert!(*number == count || length >= 102_400);
                assert!(length > 0 && length <= 5 * GIB);
                covered += length;
                let url = part_of["request"]["url"].as_str().unwrap();
                signed += url.len() as u64;
                longest = longest.max(url.len());
            }
            next += 100;
            asked += 1;
        }
        assert_eq!((covered, asked), (size, asks), "{size}");
        assert!(count <= 10_000 && longest < 2048, "{longest}");
        assert_eq!(signed.div_ceil(1024), kib, "{size}");
    }
}
