//! What genuine callbacks and wrong settings cause is a warning once, and hourly with a count.

use std::time::Duration;

use http::{HeaderValue, Request};
use http_body_util::Full;
use tower_aliyun_oss::{
    OssCallbackLayer, callback::CallbackErrorKind as Kind, protocol::CallbackBodyType,
};

use crate::support::{Case, FORM, Frames, JSON, Log, Signer, builder, full, send};

type Callback = Request<Full<bytes::Bytes>>;

/// A callback for `signed` that arrives for `received`.
fn replay(signer: &Signer, signed: &str, received: &str) -> Callback {
    let mut request = signer.request(signed, FORM, b"a=b");
    *request.uri_mut() = received.parse().unwrap();
    request
}

#[tokio::test(start_paused = true)]
async fn genuine_callbacks_without_their_prefix_are_one_warning_and_hourly_a_count() {
    let signer = Signer::with_512_bits();
    let layer = signer.layer();
    let log = Log::default();
    let _guard = log.listen();
    let stripped = || replay(&signer, "/gw/oss/callback", "/oss/callback");
    for _ in 0..20 {
        let outcome = send(&layer, stripped()).await;
        outcome.assert_refused(403, Kind::SignatureMismatch);
    }
    assert_eq!(log.count("WARN", ""), 1);
    let explains = "set the log level of tower_aliyun_oss::diagnose to DEBUG";
    assert_eq!(log.count("WARN tower_aliyun_oss::rejection", explains), 1);
    assert_eq!(log.count("WARN", "count=1"), 1);
    // Which text OSS signed is not in the warning, and is in the log that it names.
    assert_eq!(log.count("WARN", "/gw"), 0);
    assert_eq!(
        log.count("tower_aliyun_oss::diagnose", "was made with this key"),
        20
    );

    tokio::time::advance(Duration::from_secs(3599)).await;
    send(&layer, stripped()).await;
    assert_eq!(log.count("WARN", ""), 1);
    tokio::time::advance(Duration::from_secs(1)).await;
    for _ in 0..5 {
        send(&layer, stripped()).await;
    }
    assert_eq!(log.count("WARN", ""), 2);
    assert_eq!(log.count(explains, "count=21"), 1);
    tokio::time::advance(Duration::from_secs(3600)).await;
    send(&layer, stripped()).await;
    assert_eq!(log.count(explains, "count=5"), 1);

    // Clones of a layer share what was warned of.
    send(&layer.clone(), stripped()).await;
    assert_eq!(log.count("WARN", ""), 3);
}

#[tokio::test]
async fn captured_callbacks_on_another_path_are_one_warning() {
    let layer = OssCallbackLayer::new();
    let log = Log::default();
    let _guard = log.listen();
    for case in Case::genuine() {
        let mut request = case.request();
        *request.uri_mut() = "/elsewhere".parse().unwrap();
        let outcome = send(&layer, request).await;
        outcome.assert_refused(403, Kind::SignatureMismatch);
    }
    assert_eq!(log.count("WARN", "tower_aliyun_oss::diagnose"), 1);
    assert_eq!(log.count("WARN", ""), 1);
}

#[tokio::test]
async fn what_any_stray_request_produces_is_no_warning() {
    let signer = Signer::with_512_bits();
    let layer = signer.layer();
    let log = Log::default();
    let _guard = log.listen();
    let forged = || builder("/cb", FORM, &[7; 64]).body(full("a=b")).unwrap();
    let changed = |change: fn(&mut Callback)| {
        let mut request = forged();
        change(&mut request);
        request
    };
    for (kind, request) in [
        (Kind::SignatureMismatch, forged()),
        (
            Kind::MethodNotAllowed,
            changed(|request| *request.method_mut() = http::Method::GET),
        ),
        (
            Kind::MissingHeader,
            changed(|request| drop(request.headers_mut().remove("authorization"))),
        ),
        (
            Kind::InvalidHeader,
            changed(|request| {
                let value = HeaderValue::from_static("Bearer x");
                request.headers_mut().insert("authorization", value);
            }),
        ),
    ] {
        for _ in 0..3 {
            let outcome = send(&layer, request.clone()).await;
            outcome.assert_refused(kind.status().as_u16(), kind);
        }
    }
    let broken = Frames::data([]).then_break();
    let broken = builder("/cb", FORM, &[7; 64]).body(broken).unwrap();
    let outcome = send(&layer, broken).await;
    outcome.assert_refused(400, Kind::BodyIncomplete);
    assert_eq!(log.count("WARN", ""), 0);
}

/// Each cause with what the warning says of rule and remedy. The causes of tickets are tested with
/// the tickets.
#[tokio::test]
async fn each_cause_is_one_warning_with_rule_and_remedy() {
    let signer = Signer::with_512_bits();
    let plain = || signer.layer();
    let at = |target: &str| signer.request(target, FORM, b"a=b");
    let with = |name: &'static str, value: &'static str| {
        let mut request = at("/cb");
        let value = HeaderValue::from_static(value);
        request.headers_mut().insert(name, value);
        request
    };
    let target = Kind::NonCanonicalTarget;
    let by_name = ["only_path", "or use tickets"];
    let never = ["which nothing can allow", "callbackUrl"];
    for (layer, request, kind, rule, remedies) in [
        (plain(), at("/a+b"), target, "a plus sign", by_name),
        (
            plain(),
            at("/a%2Fb"),
            target,
            "the escape of a reserved character",
            by_name,
        ),
        (
            plain(),
            at("/a%25b"),
            target,
            "the escape of a reserved character",
            by_name,
        ),
        (
            plain(),
            at("/a%3Fb"),
            target,
            "the escape of a reserved character",
            by_name,
        ),
        (
            plain(),
            at("/a%5Bb"),
            target,
            "the escape of a reserved character",
            by_name,
        ),
        (
            plain(),
            at("/a|b"),
            target,
            "a character that is not allowed unencoded",
            by_name,
        ),
        (plain(), at("//a"), target, "an empty segment", by_name),
        (plain(), at("/a%0Ab"), target, "a control byte", never),
        (plain(), at("/a%D6%D0"), target, "not UTF-8", never),
        (plain(), at("/a%zz"), target, "starts no escape", never),
        (
            plain(),
            at("/a/./b"),
            target,
            "a segment \".\" or \"..\"",
            never,
        ),
        (
            plain().proxy_prefix("/gw"),
            replay(&signer, "/gw/cb", "/%63b"),
            target,
            "not spelled as in the callback URL",
            ["write callbackUrl canonically", "only_path"],
        ),
        (
            plain().only_path("/cb").unwrap().proxy_prefix("/x"),
            at("/cb"),
            Kind::SignatureMismatch,
            "does not match",
            ["tower_aliyun_oss::diagnose", "DEBUG"],
        ),
        (
            plain()
                .only_path("/cb")
                .unwrap()
                .target_uri(|_| "/other".parse().ok()),
            at("/cb"),
            target,
            "a path that only_path does not name",
            ["check only_path", "target_uri"],
        ),
        (
            plain(),
            with("x-oss-signature-version", "2.0"),
            Kind::UnsupportedSignatureVersion,
            "version is not 1.0",
            ["by invitation only", "not published"],
        ),
        (
            plain(),
            // https://keys.internal/k.pem
            with("x-oss-pub-key-url", "aHR0cHM6Ly9rZXlzLmludGVybmFsL2sucGVt"),
            Kind::KeyUrlRejected,
            "not in the table of the key source",
            ["another store than OSS", "key_source"],
        ),
        (
            plain().content_types([CallbackBodyType::Json]),
            at("/cb"),
            Kind::UnsupportedContentType,
            "content type is not one that the layer accepts",
            ["callbackBodyType", "content_types"],
        ),
        (
            plain().content_types([CallbackBodyType::Form]),
            signer.request("/cb", JSON, b"{}"),
            Kind::UnsupportedContentType,
            "content type is not one that the layer accepts",
            ["callbackBodyType", "content_types"],
        ),
        (
            plain(),
            with("content-encoding", "gzip"),
            Kind::UnsupportedContentEncoding,
            "a content encoding",
            ["which OSS does not send", "something in front"],
        ),
        (
            plain().body_limit(2),
            at("/cb"),
            Kind::BodyTooLarge,
            "over the limit",
            ["body_limit", "in front of the layer"],
        ),
        (
            plain(),
            with("content-length", "4"),
            Kind::BodyIncomplete,
            "does not have the length of content-length",
            ["something in front", "reads or changes the body"],
        ),
    ] {
        let log = Log::default();
        let _guard = log.listen();
        for _ in 0..3 {
            let outcome = send(&layer, request.clone()).await;
            outcome.assert_refused(kind.status().as_u16(), kind);
        }
        assert_eq!(
            log.count("WARN tower_aliyun_oss::rejection", rule),
            1,
            "{rule}"
        );
        for remedy in remedies {
            assert_eq!(log.count("WARN", remedy), 1, "{rule}: {remedy}");
        }
        assert_eq!(log.count("WARN", ""), 1, "{rule}");
        // Constant text.
        for theirs in ["/cb", "/a", "internal", "gzip"] {
            assert_eq!(log.count("WARN", theirs), 0, "{rule}");
        }
    }
    // One layer warns of each cause by itself.
    let log = Log::default();
    let _guard = log.listen();
    let layer = plain();
    for _ in 0..2 {
        for path in ["/a+b", "/a%2Fb", "/a|b", "//a"] {
            send(&layer, at(path)).await.assert_refused(400, target);
        }
    }
    assert_eq!(log.count("WARN", ""), 4);
}

#[tokio::test(start_paused = true)]
async fn a_missed_deadline_is_one_warning() {
    let signer = Signer::with_512_bits();
    let layer = signer.layer().deadline(Duration::from_secs(1));
    let log = Log::default();
    let _guard = log.listen();
    for _ in 0..3 {
        let body = Frames::data([]).then_never_end();
        let request = signer.builder("/cb", FORM, b"").body(body).unwrap();
        let outcome = send(&layer, request).await;
        outcome.assert_refused(503, Kind::DeadlineExceeded);
    }
    assert_eq!(log.count("WARN", "missed the deadline"), 1);
    assert_eq!(log.count("WARN", ""), 1);
}
