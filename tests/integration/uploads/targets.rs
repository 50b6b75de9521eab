//! Callback URLs whose path is ambiguous, or arrives without its prefix.

use std::{convert::Infallible, error::Error as _};

use http::Response;
use tower::{Layer as _, service_fn};
use tower_aliyun_oss::{
    OssCallbackLayer, OssPolicyService,
    callback::{CallbackError, CallbackErrorKind as Kind, RequestBody},
    protocol::TargetError,
    ticket::TicketError,
};

use super::*;
use crate::support::Log;

type Callback = Request<Full<Bytes>>;

fn uploads(url: &str) -> OssUploads {
    builder().callback_url(url).build().unwrap()
}

fn layer(uploads: &OssUploads) -> OssCallbackLayer {
    uploads
        .callback_layer()
        .key_source(CallbackSigner::new().key_source())
}

/// A callback that OSS makes for a token of `uploads`, as a proxy forwards it to `arrives`.
fn callback(uploads: &OssUploads, arrives: &str) -> Callback {
    let size = SizeRange::new(1, 1000).unwrap();
    let grant = Grant::exact("a".parse().unwrap(), size).content_type("image/png".parse().unwrap());
    let callback = json!(uploads.callback_for(&grant).unwrap().encoded());
    let mut request = Upload::of("a").callback(&callback);
    *request.uri_mut() = arrives.parse().unwrap();
    request
}

/// A callback that OSS signed for `url`, without a ticket.
fn without_ticket(url: &str) -> Callback {
    let signer = CallbackSigner::new();
    let mut request = signer.callback(url).form("a=b").request().unwrap();
    let target = request.uri().path_and_query().unwrap().as_str().to_owned();
    *request.uri_mut() = target.parse().unwrap();
    request
}

/// Returns the status, and why the request was rejected.
async fn send(layer: &OssCallbackLayer, request: Callback) -> (u16, Option<CallbackError>) {
    let service = layer.layer(service_fn(async |_: Request<RequestBody<Full<Bytes>>>| {
        let reply: Response<Full<Bytes>> = CallbackReply::ok().into();
        Ok::<_, Infallible>(reply)
    }));
    let response = service.oneshot(request).await.unwrap();
    let error = response.extensions().get().cloned();
    (response.status().as_u16(), error)
}

async fn refused(layer: &OssCallbackLayer, request: Callback, kind: Kind) {
    let (status, error) = send(layer, request).await;
    let error = error.unwrap();
    assert_eq!(
        (status, error.kind()),
        (kind.status().as_u16(), kind),
        "{error:?}"
    );
}

/// Ambiguous paths, the rule that makes them so, and other targets with the same signed text.
const AMBIGUOUS: [(&str, &str, &[&str]); 6] = [
    ("//oss/cb", "an empty segment", &["/%2Foss/cb"]),
    ("/oss//cb", "an empty segment", &["/oss%2F/cb"]),
    ("/oss/c+b", "a plus sign", &["/oss/c%2Bb", "/oss/c%20b"]),
    (
        "/oss%2Fcb",
        "the escape of a reserved character",
        &["/oss/cb"],
    ),
    (
        "/oss/cb%3Fa=b",
        "the escape of a reserved character",
        &["/oss/cb?a=b"],
    ),
    (
        "/oss/c%5Bb",
        "the escape of a reserved character",
        &["/oss/c[b"],
    ),
];

#[tokio::test]
async fn a_ticket_names_exactly_one_spelling_of_an_ambiguous_target() {
    for (path, rule, others) in AMBIGUOUS {
        let url = format!("https://app.example{path}");
        let uploads = uploads(&url);
        let layer = layer(&uploads);
        let log = Log::default();
        let _guard = log.listen();
        let (status, error) = send(&layer, callback(&uploads, path)).await;
        assert_eq!(status, 200, "{path} {error:?}");
        assert_eq!(log.count("WARN", ""), 0, "{path}");
        // OSS requests the URL as it is spelled, so an equivalent spelling is none of it.
        let lower = path.replace("%2F", "%2f").replace("%5B", "%5b");
        if lower != path {
            refused(&layer, callback(&uploads, &lower), Kind::NonCanonicalTarget).await;
        }
        for other in others {
            let (status, error) = send(&layer, callback(&uploads, other)).await;
            let source = error.as_ref().and_then(|error| error.source());
            let source = source.and_then(|source| source.downcast_ref());
            assert_eq!(
                (status, source),
                (403, Some(&TicketError::Target)),
                "{other}"
            );
        }
        // No ticket names it: the layer requires one.
        refused(&layer, without_ticket(&url), Kind::TicketMissing).await;

        // Nothing names it to a layer without tickets, nor to one that accepts callbacks without.
        let bare = || OssCallbackLayer::new().key_source(CallbackSigner::new().key_source());
        let until = SystemTime::now() + Duration::from_secs(60);
        let tickets = Tickets::in_memory(TicketKeys::new(1, key(1)));
        let lenient = tickets.dangerous_accept_without_ticket_until(until);
        for layer in [bare(), bare().tickets(lenient)] {
            let log = Log::default();
            let _guard = log.listen();
            for _ in 0..5 {
                refused(&layer, without_ticket(&url), Kind::NonCanonicalTarget).await;
            }
            assert_eq!(log.count("WARN", ""), 1, "{path}");
            assert_eq!(
                log.count("WARN tower_aliyun_oss::rejection", rule),
                1,
                "{path}"
            );
            for remedy in ["callbackUrl", "only_path", "tickets"] {
                assert_eq!(log.count(rule, remedy), 1, "{path}");
            }
            assert_eq!(log.count("WARN", path), 0, "{path}");
        }
        // Named by `only_path`, it needs no ticket.
        let named = bare().only_path(path).unwrap();
        assert_eq!(send(&named, without_ticket(&url)).await.0, 200, "{path}");
    }
}

/// No ticket, no path of `only_path` and no opt-in can name them, and no body is read for them.
#[tokio::test]
async fn an_impossible_target_is_refused_before_the_ticket_is_read() {
    let uploads = uploads(URL);
    let open = layer(&uploads).dangerous_accept_ambiguous_targets();
    for path in [
        "/oss/callback%0Ax=1",
        "/oss/callback%00",
        "/oss/callback%7f",
        "/oss/callback%FF",
        "/oss/callback%zz",
        "/oss/./callback",
        "/oss/%2E%2e/oss/callback",
        "/oss/x%2F..%2Fcallback",
    ] {
        for layer in [&layer(&uploads), &open] {
            let request = callback(&uploads, path);
            refused(layer, request, Kind::NonCanonicalTarget).await;
        }
        assert!(open.clone().only_path(path).is_err(), "{path}");
        let url = format!("https://app.example{path}");
        assert!(CallbackDirective::new(&url).is_err(), "{path}");
    }
}

/// A layer with `only_path` accepts these callbacks, so the service cannot refuse to issue them.
#[tokio::test]
async fn a_service_without_tickets_warns_of_an_ambiguous_target() {
    let service = |path: &str| {
        OssPolicyService::new(
            any_name,
            Credentials::new("LTAI5tExample", "secret").unwrap(),
            "examplebucket".parse().unwrap(),
            "cn-hangzhou".parse().unwrap(),
            CallbackDirective::new(&format!("https://app.example{path}")).unwrap(),
        )
        .unwrap()
    };
    let issue = async |service: &OssPolicyService<_>| {
        let request = Request::get("/").body(Full::<Bytes>::default()).unwrap();
        let response = service.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice::<Value>(&body).unwrap()
    };
    for (path, rule, _) in AMBIGUOUS {
        let log = Log::default();
        let _guard = log.listen();
        let service = service(path);
        assert_eq!(log.count("WARN", ""), 0, "tickets can still be set");
        let token = issue(&service).await;
        issue(&service).await;
        issue(&service.clone()).await;
        assert_eq!(log.count("WARN", rule), 1, "{path}");
        assert_eq!(
            log.count(rule, "name the path with only_path, or use tickets"),
            1
        );
        assert_eq!(log.count("WARN", ""), 1, "{path}");
        // What the warning names is a way out.
        let layer = OssCallbackLayer::new()
            .key_source(CallbackSigner::new().key_source())
            .only_path(path)
            .unwrap();
        let mut request = Upload::of("user/7/a").callback(&token["fields"]["callback"]);
        *request.uri_mut() = path.parse().unwrap();
        assert_eq!(send(&layer, request).await.0, 200, "{path}");
        // With tickets there is nothing to warn of.
        let tickets = Tickets::in_memory(TicketKeys::new(1, key(1)));
        issue(&service.tickets(tickets).unwrap()).await;
        assert_eq!(log.count("WARN", ""), 1, "{path}");
    }
    let log = Log::default();
    let _guard = log.listen();
    issue(&service("/oss/%e4%b8%ad?a=+%2F")).await;
    assert_eq!(log.count("WARN", ""), 0);
    // What no layer can accept is an error.
    for impossible in ["/a%0Ab", "/a%FF", "/a%zz", "/a/../b", "/a%2F..", "/a%00"] {
        let error =
            CallbackDirective::new(&format!("https://app.example{impossible}")).unwrap_err();
        assert!(
            matches!(
                error,
                CallbackDirectiveError::Target(
                    TargetError::Control
                        | TargetError::NotUtf8
                        | TargetError::Escape
                        | TargetError::DotSegment
                )
            ),
            "{impossible}: {error:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_prefix_that_a_proxy_strips_is_named_in_one_warning() {
    let url = "https://app.example/gw/oss/callback?secret=1";
    let forward = "/oss/callback?secret=1";
    let uploads = uploads(url);
    let layer = layer(&uploads);
    let log = Log::default();
    let _guard = log.listen();
    for _ in 0..20 {
        refused(&layer, callback(&uploads, forward), Kind::TicketInvalid).await;
    }
    let says = "OSS called /gw/oss/callback, and the callback arrived as /oss/callback: a proxy \
                strips the prefix; set it with OssUploadsBuilder::proxy_prefix(\"/gw\")";
    assert_eq!(log.count("WARN tower_aliyun_oss::rejection", says), 1);
    assert_eq!(log.count("WARN", ""), 1);
    // A query can be a secret.
    assert_eq!(log.count("WARN", "secret"), 0);
    tokio::time::advance(Duration::from_secs(3600)).await;
    refused(&layer, callback(&uploads, forward), Kind::TicketInvalid).await;
    assert_eq!(log.count(says, "count=20"), 1);

    // What the warning says helps.
    let log = Log::default();
    let _guard = log.listen();
    let mended = builder()
        .callback_url(url)
        .proxy_prefix("/gw")
        .build()
        .unwrap();
    let (status, error) = send(&self::layer(&mended), callback(&mended, forward)).await;
    assert_eq!(status, 200, "{error:?}");
    assert_eq!(log.count("WARN", ""), 0);
}

#[tokio::test]
async fn a_wrong_proxy_prefix_is_named_too() {
    let url = "https://app.example/gw/v1/oss/callback";
    for (set, arrives, says) in [
        (
            "/gw",
            "/oss/callback",
            "OssUploadsBuilder::proxy_prefix(\"/gw/v1\")",
        ),
        (
            "/gw/v1",
            "/v1/oss/callback",
            "OssUploadsBuilder::proxy_prefix(\"/gw\")",
        ),
        (
            "/gw",
            "/gw/v1/oss/callback",
            "no proxy strips the prefix; remove OssUploadsBuilder::proxy_prefix",
        ),
    ] {
        let uploads = builder()
            .callback_url(url)
            .proxy_prefix(set)
            .build()
            .unwrap();
        let layer = layer(&uploads);
        let log = Log::default();
        let _guard = log.listen();
        for _ in 0..3 {
            refused(&layer, callback(&uploads, arrives), Kind::TicketInvalid).await;
        }
        assert_eq!(log.count("WARN", says), 1, "{says}");
        assert_eq!(log.count("WARN", ""), 1, "{says}");
    }
}

#[tokio::test]
async fn a_stripped_prefix_is_named_behind_a_router() {
    let plain = uploads("https://app.example/gw/api/cb");
    let route = post(CallbackReply::ok()).route_layer(layer(&plain));
    let app = Router::new().nest("/api", Router::new().route("/cb", route));
    let log = Log::default();
    let _guard = log.listen();
    let routed = callback(&plain, "/api/cb").map(axum::body::Body::new);
    assert_eq!(app.oneshot(routed).await.unwrap().status(), 403);
    let says = "arrived as /api/cb: a proxy strips the prefix; set it with \
                OssUploadsBuilder::proxy_prefix(\"/gw\")";
    assert_eq!(log.count("WARN", says), 1);
    assert_eq!(log.count("WARN", ""), 1);
}

/// A router that leaves no trace matches the path that arrived: `/oss/{name}` takes `/oss/c%62`.
#[tokio::test]
async fn cn_048_the_layer_of_uploads_takes_the_spelling_of_its_url_only() {
    let urls = [
        ("https://app.example/oss/cb", "/oss/cb", "/oss/c%62"),
        ("https://app.example/oss/c%62", "/oss/c%62", "/oss/cb"),
        ("https://app.example/oss/%7C", "/oss/%7C", "/oss/%7c"),
    ];
    for (url, signed, other) in urls {
        let uploads = uploads(url);
        let seen = Arc::new(AtomicUsize::new(0));
        let mut router = matchit::Router::new();
        router.insert(signed, "fixed").unwrap();
        router.insert("/oss/{name}", "named").unwrap();
        let layer = layer(&uploads);
        let serve = async |request: Callback| {
            let matched = *router.at(request.uri().path()).unwrap().value;
            let service = layer.layer(service_fn(|_: Request<RequestBody<Full<Bytes>>>| {
                seen.fetch_add(1, Ordering::SeqCst);
                let reply: Response<Full<Bytes>> = CallbackReply::ok().into();
                async { Ok::<_, Infallible>(reply) }
            }));
            (matched, service.oneshot(request).await.unwrap().status())
        };
        let log = Log::default();
        let _guard = log.listen();
        let replayed = serve(callback(&uploads, other)).await;
        assert_eq!(replayed, ("named", StatusCode::BAD_REQUEST), "{url}");
        assert_eq!(
            log.count("WARN", "not spelled as in the callback URL"),
            1,
            "{url}"
        );
        assert_eq!(seen.load(Ordering::SeqCst), 0, "{url}");
        let genuine = serve(callback(&uploads, signed)).await;
        assert_eq!(genuine, ("fixed", StatusCode::OK), "{url}");
    }
}

#[tokio::test]
async fn nothing_but_a_ticket_for_the_configured_target_names_a_prefix() {
    let uploads = uploads("https://app.example/gw/oss/callback");
    // A ticket whose MAC is wrong.
    let others = builder().ticket_key(key(2));
    let others = others.callback_url("https://app.example/gw/oss/callback");
    let others = others.build().unwrap();
    // A ticket for another route.
    let avatar = CallbackDirective::new("https://app.example/gw/oss/avatar").unwrap();
    let avatars = uploads.with_callback(avatar).unwrap();
    let hooked = layer(&uploads).target_uri(|_| "/elsewhere".parse().ok());
    let (forged, other) = (
        "made with a key that this server does not have",
        "another callback target",
    );
    for (layer, request, says) in [
        (layer(&uploads), callback(&others, "/oss/callback"), forged),
        (layer(&uploads), callback(&avatars, "/oss/callback"), other),
        // The path is not the end of the configured one.
        (
            layer(&uploads),
            callback(&uploads, "/attacker/callback"),
            other,
        ),
        (layer(&uploads), callback(&uploads, "/s/callback"), other),
        (
            layer(&uploads),
            callback(&uploads, "/oss/callback?attacker"),
            other,
        ),
        // A hook overrides the prefix.
        (hooked, callback(&uploads, "/oss/callback"), other),
    ] {
        let log = Log::default();
        let _guard = log.listen();
        for _ in 0..3 {
            refused(&layer, request.clone(), Kind::TicketInvalid).await;
        }
        assert_eq!(log.count("WARN", says), 1, "{says}");
        assert_eq!(log.count("WARN", ""), 1, "{says}");
        for theirs in ["/gw", "/oss", "/s/", "attacker"] {
            assert_eq!(log.count("WARN", theirs), 0, "{theirs}");
        }
    }
}

/// Without tickets, the signature is the first check that knows of another target.
#[tokio::test]
async fn the_configured_targets_are_tried_for_a_signature_that_does_not_match() {
    let uploads = |urls: &[&str]| {
        let credentials = Credentials::new("LTAI5tExample", "secret").unwrap();
        OssUploads::builder("examplebucket".parse().unwrap(), credentials)
            .region("cn-hangzhou".parse().unwrap())
            .callback_urls(urls)
            .dangerous_without_tickets()
            .build()
            .unwrap()
    };
    let uploads = uploads(&["https://a.example/cb", "https://b.example/gw/%63b?a=1&b=2"]);
    for (arrives, finds) in [
        (
            "/cb?a=1",
            r#"over the target "/gw/cb?a=1&b=2", which is the target of the configured"#,
        ),
        (
            "/x/y",
            r#"over the target "/gw/cb?a=1&b=2", which is the target of the configured"#,
        ),
    ] {
        let mut request = without_ticket("https://b.example/gw/%63b?a=1&b=2");
        *request.uri_mut() = arrives.parse().unwrap();
        let log = Log::default();
        let _guard = log.listen();
        refused(&layer(&uploads), request, Kind::SignatureMismatch).await;
        assert_eq!(
            log.count("tower_aliyun_oss::diagnose", finds),
            1,
            "{arrives}"
        );
        assert_eq!(log.count("WARN", "tower_aliyun_oss::diagnose to DEBUG"), 1);
    }
    // A parameter of a configured target that got lost on the way.
    let mut request = without_ticket("https://b.example/other?a=1&b=2");
    *request.uri_mut() = "/other?a=1".parse().unwrap();
    let log = Log::default();
    let _guard = log.listen();
    refused(&layer(&uploads), request, Kind::SignatureMismatch).await;
    let finds = "with one parameter more in its query, because something in front drops it";
    assert_eq!(log.count("tower_aliyun_oss::diagnose", finds), 1);
}
