//! CN: accepted and rejected spellings of the request target.

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::Full;
use serde::Deserialize;
use tower_aliyun_oss::{
    OssCallbackLayer,
    callback::{CallbackErrorKind, VerifierConfig},
    protocol::{CallbackTarget, TargetError},
};

use crate::support::{FORM, KEY_URL_V1, Log, Signer, builder, full, send};

#[derive(Deserialize)]
struct TargetCase {
    id: String,
    target: String,
    body: String,
    authorization: String,
    naive_accepts: bool,
    expect: serde_json::Value,
}

fn cases() -> Vec<TargetCase> {
    serde_json::from_str(include_str!("../../../cases/request_targets.json")).unwrap()
}

async fn check(id: &str) {
    let case = cases()
        .into_iter()
        .find(|case| case.id == id)
        .expect("the case is in request_targets.json");
    let Ok(uri) = case.target.parse::<Uri>() else {
        // The `http` crate does not parse it.
        assert_eq!(case.expect, false);
        return;
    };
    let request: Request<Full<Bytes>> = Request::post(uri)
        .header("authorization", &case.authorization)
        .header("x-oss-pub-key-url", KEY_URL_V1)
        .header("content-type", FORM)
        .body(full(case.body.clone()))
        .unwrap();
    let outcome = send(&OssCallbackLayer::new(), request).await;
    match id {
        "CN-001" => drop(outcome.assert_accepted()),
        // The `http` crate removes the fragment before the layer sees it.
        "CN-008" => {
            let callback = outcome.assert_accepted().verified.clone().unwrap();
            assert_eq!(callback.target().as_str(), "/index.php?id=1&index=2");
        }
        // Absolute form: the signed text contains only path and query.
        "CN-009" => {
            let callback = outcome.assert_accepted().verified.clone().unwrap();
            assert_eq!(callback.target().as_str(), "/index.php?id=1&index=2");
        }
        // An equivalent spelling: the handler sees the canonical one.
        "CN-006" => {
            let seen = outcome.assert_accepted();
            let callback = seen.verified.clone().unwrap();
            assert_eq!(callback.target().as_str(), "/index.php?id=1&index=2");
            assert_eq!(seen.uri, "/index.php?id=1&index=2");
        }
        // An accepted spelling of another text.
        "CN-027" => outcome.assert_refused(403, CallbackErrorKind::SignatureMismatch),
        // Only the query differs, which is signed as sent.
        "CN-010" | "CN-011" | "CN-012" => {
            outcome.assert_refused(403, CallbackErrorKind::SignatureMismatch);
        }
        _ => outcome.assert_refused(400, CallbackErrorKind::NonCanonicalTarget),
    }
    if case.expect == true {
        outcome.assert_accepted();
    }
    if case.expect == false {
        assert!(outcome.seen.is_none());
    }
    // A verifier that only decodes would accept these, so the signature check must not be what
    // rejects them.
    if case.naive_accepts && case.expect == false {
        assert_eq!(outcome.kind(), Some(CallbackErrorKind::NonCanonicalTarget));
    }
}

macro_rules! target_cases {
    ($($name:ident,)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                check(&stringify!($name).to_uppercase().replace('_', "-")).await;
            }
        )*

        #[test]
        fn every_target_case_has_its_test() {
            let tests = [$(stringify!($name).to_uppercase().replace('_', "-")),*];
            let cases: Vec<String> = cases().into_iter().map(|case| case.id).collect();
            assert_eq!(tests.as_slice(), cases.as_slice());
        }
    };
}

target_cases! {
    cn_001, cn_002, cn_003, cn_006, cn_007, cn_008, cn_009, cn_010, cn_011, cn_012, cn_014, cn_019, cn_020, cn_021, cn_022, cn_023, cn_024, cn_025, cn_026, cn_027, cn_028, cn_030, cn_034, cn_035,
}

#[tokio::test]
async fn cn_040_a_line_feed_of_the_body_moved_into_the_path_is_refused() {
    let signer = Signer::with_512_bits();
    signer_accepts(&signer, "/cb", b"A\nB").await;
    let signature = signer.sign("/cb", b"A\nB");
    assert_eq!(
        signature,
        signer.sign("/cb%0AA", b"B"),
        "both must have the same signed text"
    );
    let request = builder("/cb%0AA", FORM, &signature)
        .body(full("B"))
        .unwrap();
    send(&signer.layer(), request)
        .await
        .assert_refused(400, CallbackErrorKind::NonCanonicalTarget);
}

#[tokio::test]
async fn cn_041_an_encoded_slash_is_refused() {
    let signer = Signer::with_512_bits();
    signer_accepts(&signer, "/t/a", b"X").await;
    let request = signer.request("/t%2Fa", FORM, b"X");
    send(&signer.layer(), request)
        .await
        .assert_refused(400, CallbackErrorKind::NonCanonicalTarget);
}

#[tokio::test]
async fn targets_that_are_canonical_are_accepted_when_signed() {
    let signer = Signer::with_512_bits();
    for target in [
        "/",
        "/?",
        "/cb/",
        "/cb?",
        "/%E4%B8%AD%E6%96%87.php?a=%E4%B8%AD",
        "/a.b-c_d~e!$&'()*,;=:@/f",
        "/cb?x=%0A%3F%zz+&y=/../",
    ] {
        signer_accepts(&signer, target, b"a=b").await;
    }
}

#[tokio::test]
async fn an_http_2_target_signs_path_and_query_only() {
    let signer = Signer::with_512_bits();
    let mut request = signer.request("/cb?a=1", FORM, b"a=b");
    *request.uri_mut() = "https://any.example:8443/cb?a=1".parse().unwrap();
    *request.version_mut() = http::Version::HTTP_2;
    send(&signer.layer(), request).await.assert_accepted();
}

#[tokio::test]
async fn a_configured_path_is_compared_in_its_canonical_spelling() {
    let signer = Signer::with_512_bits();
    // Ambiguous, but configured, so this path is accepted in all equivalent spellings.
    let layer = signer.layer().only_path("/a%2Fb+c").unwrap();
    for same in ["/a%2Fb+c?x=%41", "/a%2fb+c?x=%41", "/%61%2Fb+%63?x=%41"] {
        let outcome = send(&layer, signer.request(same, FORM, b"a=b")).await;
        let seen = outcome.assert_accepted();
        assert_eq!(seen.uri, "/a%2Fb+c?x=%41");
        let callback = seen.verified.clone().unwrap();
        assert_eq!(callback.target().as_str(), "/a%2Fb+c?x=%41");
        // An equivalent spelling is verified, and never passes through.
        let mut forged = signer.request(same, FORM, b"a=b");
        *forged.body_mut() = full("a=c");
        let outcome = send(&layer, forged).await;
        outcome.assert_refused(403, CallbackErrorKind::SignatureMismatch);
    }
    // Other spellings of the same signed text are other paths, which pass unverified.
    for other in ["/a/b+c?x=%41", "/a%2Fb%2Bc?x=%41"] {
        let outcome = send(&layer, signer.request(other, FORM, b"a=b")).await;
        assert!(outcome.seen.unwrap().verified.is_none(), "{other}");
    }
}

#[tokio::test]
async fn equivalent_spellings_are_rewritten() {
    let signer = Signer::with_512_bits();
    for (spelled, canonical) in [
        ("/%63b", "/cb"),
        ("/a%20b%7cc", "/a%20b%7Cc"),
        ("/%e4%B8%aD?%e4", "/%E4%B8%AD?%e4"),
        ("http://h:80/%63b?x", "http://h:80/cb?x"),
    ] {
        let mut request = signer.request("/", FORM, b"a=b");
        let raw: Uri = spelled.parse().unwrap();
        let target = raw.path_and_query().unwrap().as_str();
        let signed = signer.request(target, FORM, b"a=b");
        *request.headers_mut() = signed.headers().clone();
        *request.uri_mut() = raw;
        let outcome = send(&signer.layer(), request).await;
        assert_eq!(outcome.assert_accepted().uri, canonical);
    }
}

#[tokio::test]
async fn where_the_layer_cannot_rewrite_only_the_exact_spelling_is_accepted() {
    let signer = Signer::with_512_bits();
    let refused = |layer: OssCallbackLayer, request| async move {
        let outcome = send(&layer, request).await;
        outcome.assert_refused(400, CallbackErrorKind::NonCanonicalTarget);
    };
    let request = |signed: &str, uri: &str| {
        let mut request = signer.request(signed, FORM, b"a=b");
        *request.uri_mut() = uri.parse().unwrap();
        request
    };
    let hook = |parts: &http::request::Parts| {
        let target = parts.uri.path_and_query()?;
        format!("/gw{target}").parse().ok()
    };
    for only in [false, true] {
        let layer = || match only {
            true => signer.layer().only_path("/gw/cb").unwrap(),
            false => signer.layer(),
        };
        let layers = [layer().target_uri(hook), layer().proxy_prefix("/gw")];
        for layer in layers {
            send(&layer, request("/gw/cb", "/cb"))
                .await
                .assert_accepted();
            refused(layer, request("/gw/cb", "/%63b")).await;
        }
    }
    // The rest of the path is configured, and the prefix is the proxy's.
    let layer = signer.layer().only_path("/cb").unwrap().proxy_prefix("/gw");
    send(&layer, request("/gw/cb", "/cb"))
        .await
        .assert_accepted();
    refused(layer, request("/gw/cb", "/%63b")).await;
    // A path that is configured in another spelling is accepted in that one.
    let layer = signer
        .layer()
        .only_path("/gw/%63b")
        .unwrap()
        .proxy_prefix("/gw");
    send(&layer, request("/gw/cb", "/%63b"))
        .await
        .assert_accepted();
    refused(layer, request("/gw/cb", "/cb")).await;
}

#[tokio::test]
async fn ambiguous_targets_need_a_name_or_the_opt_in() {
    let signer = Signer::with_512_bits();
    let open = signer.layer().dangerous_accept_ambiguous_targets();
    for target in [
        "/a%2Fb", "/a+b", "//a", "/a%3Fb", "/a%25b", "/a|b", "/a%5Bb", "/a%40b",
    ] {
        let request = || signer.request(target, FORM, b"a=b");
        let outcome = send(&signer.layer(), request()).await;
        outcome.assert_refused(400, CallbackErrorKind::NonCanonicalTarget);
        let named = signer.layer().only_path(target).unwrap();
        send(&named, request()).await.assert_accepted();
        send(&open, request()).await.assert_accepted();
        let other = open.clone().only_path("/cb").unwrap();
        assert!(
            send(&other, request())
                .await
                .seen
                .unwrap()
                .verified
                .is_none()
        );
    }
    for target in [
        "/a%0Ab",
        "/a%00",
        "/a%7F",
        "/a%FF",
        "/a%zz",
        "/a/../b",
        "/a/%2e%2E/b",
        "/a%2F..",
    ] {
        let request = || signer.request(target, FORM, b"a=b");
        let outcome = send(&open, request()).await;
        outcome.assert_refused(400, CallbackErrorKind::NonCanonicalTarget);
        assert!(signer.layer().only_path(target).is_err(), "{target}");
        // Nor by a hook.
        let hooked = target.to_owned();
        let layer = open.clone().target_uri(move |_| hooked.parse().ok());
        let outcome = send(&layer, request()).await;
        outcome.assert_refused(400, CallbackErrorKind::NonCanonicalTarget);
    }
}

#[test]
fn configured_paths_with_one_text_are_an_error() {
    for (one, other) in [
        ("/a%2Fb", "/a/b"),
        ("/a%3Fb", "/a"),
        ("/a+b", "/a%20b"),
        ("/a|b", "/a%7cb"),
    ] {
        for (first, second) in [(one, other), (other, one)] {
            let layer = OssCallbackLayer::new().only_path("/cb").unwrap();
            let error = layer
                .only_path(first)
                .unwrap()
                .only_path(second)
                .unwrap_err();
            assert_eq!(error, TargetError::Coincides(second.into()));
        }
    }
    // The same path twice is one path.
    let layer = OssCallbackLayer::new().only_path("/%63b").unwrap();
    assert!(layer.only_path("/cb").unwrap().only_path("/cb/").is_ok());
}

#[test]
fn an_impossible_path_is_an_error() {
    let layer = || Signer::with_512_bits().layer();
    for path in ["cb", "", "*", "/cb?x", "/cb#x", "/a b"] {
        let error = layer().only_path(path).unwrap_err();
        assert_eq!(error, TargetError::InvalidPath(path.into()));
        assert!(error.to_string().contains(&format!("{path:?}")), "{error}");
        assert_eq!(VerifierConfig::new().only_path(path).unwrap_err(), error);
        // A valid first path does not hide the error.
        let second = layer().only_path("/cb").unwrap().only_path(path);
        assert_eq!(second.unwrap_err(), error);
    }
}

#[tokio::test]
async fn a_target_hook_says_what_was_signed() {
    let signer = Signer::with_512_bits();
    let layer = signer
        .layer()
        .target_uri(|parts| format!("/gw{}", parts.uri.path_and_query()?).parse().ok());
    let mut request = signer.request("/gw/cb?a=1", FORM, b"a=b");
    *request.uri_mut() = "/cb?a=1".parse().unwrap();
    let outcome = send(&layer, request).await;
    let callback = outcome.assert_accepted().verified.clone().unwrap();
    assert_eq!(callback.target().as_str(), "/gw/cb?a=1");
    // `None` falls back to the target of the request.
    let layer = signer.layer().target_uri(|_| None);
    send(&layer, signer.request("/cb", FORM, b"a=b"))
        .await
        .assert_accepted();
}

#[tokio::test]
async fn a_hook_adds_to_what_is_verified_and_never_takes_away() {
    let signer = Signer::with_512_bits();
    let layer = signer
        .layer()
        .only_path("/cb")
        .unwrap()
        .target_uri(|parts| {
            parts
                .headers
                .get("x-original-uri")?
                .to_str()
                .ok()?
                .parse()
                .ok()
        });
    // The client controls this header, but cannot bypass the verification of /cb with it.
    let mut request = signer.request("/other", FORM, b"a=b");
    *request.uri_mut() = "/cb".parse().unwrap();
    request
        .headers_mut()
        .insert("x-original-uri", "/elsewhere".parse().unwrap());
    let outcome = send(&layer, request).await;
    outcome.assert_refused(400, CallbackErrorKind::NonCanonicalTarget);
    // Nor can it use a signature for another path.
    let mut request = signer.request("/elsewhere?x=1", FORM, b"a=b");
    *request.uri_mut() = "/cb".parse().unwrap();
    request
        .headers_mut()
        .insert("x-original-uri", "/elsewhere?x=1".parse().unwrap());
    let outcome = send(&layer, request).await;
    outcome.assert_refused(400, CallbackErrorKind::NonCanonicalTarget);
    // If the header names /cb, the request is verified as /cb, whatever path it arrived on.
    let mut request = signer.request("/cb", FORM, b"a=b");
    *request.uri_mut() = "/rewritten".parse().unwrap();
    request
        .headers_mut()
        .insert("x-original-uri", "/cb".parse().unwrap());
    send(&layer, request).await.assert_accepted();
}

#[tokio::test]
async fn cn_045_a_path_that_a_proxy_decoded_is_refused_and_the_log_says_why() {
    let signer = Signer::with_512_bits();
    let log = Log::default();
    let _guard = log.listen();
    let mut request = signer.request("/%E4%B8%AD", FORM, b"a=b");
    *request.uri_mut() = Uri::try_from("/\u{4e2d}".as_bytes()).unwrap();
    let outcome = send(&signer.layer(), request).await;
    outcome.assert_refused(400, CallbackErrorKind::NonCanonicalTarget);
    assert_eq!(log.count("WARN", "did a proxy decode the path?"), 1);
    let answer = String::from_utf8_lossy(&outcome.body);
    assert!(!answer.contains("decoded"), "{answer}");
}

#[tokio::test]
async fn cn_047_the_query_is_used_as_it_came() {
    let signer = Signer::with_512_bits();
    for query in [
        "a=%0A",
        "a=%3F%3f",
        "%FF%fe=%zz&%",
        "a=+%20%2B+",
        "?",
        "a=/../%2e%2e/",
        &"x".repeat(8 * 1024),
    ] {
        signer_accepts(&signer, &format!("/cb?{query}"), b"a=b").await;
        // A changed query fails.
        let mut request = signer.request(&format!("/cb?{query}"), FORM, b"a=b");
        let changed = format!("/cb?{query}&").parse().unwrap();
        *request.uri_mut() = changed;
        let outcome = send(&signer.layer(), request).await;
        outcome.assert_refused(403, CallbackErrorKind::SignatureMismatch);
    }
    let mut request = signer.request("/cb?a=%41", FORM, b"a=b");
    *request.uri_mut() = "/cb?a=A".parse().unwrap();
    let outcome = send(&signer.layer(), request).await;
    outcome.assert_refused(403, CallbackErrorKind::SignatureMismatch);
}

#[tokio::test]
async fn cn_an_absolute_form_without_a_path_is_refused() {
    let signer = Signer::with_512_bits();
    // `path()` returns `/` for a missing path. Cutting the text by its length would verify `/cb`
    // for this target.
    for signed in ["/cb", "/?cb", "/"] {
        for layer in [signer.layer(), signer.layer().only_path("/").unwrap()] {
            let mut request = signer.request(signed, FORM, b"a=b");
            *request.uri_mut() = "http://h?cb".parse().unwrap();
            let outcome = send(&layer, request).await;
            outcome.assert_refused(400, CallbackErrorKind::NonCanonicalTarget);
        }
    }
    let target = "http://h?cb".parse::<Uri>().unwrap();
    let target = target.path_and_query().unwrap().clone();
    assert_eq!(
        CallbackTarget::canonical(target),
        Err(TargetError::NotOriginForm)
    );
}

#[tokio::test]
async fn the_hook_of_the_docs_works_for_absolute_targets_too() {
    let signer = Signer::with_512_bits();
    let layer = signer
        .layer()
        .target_uri(|parts| format!("/gw{}", parts.uri.path_and_query()?).parse().ok());
    let mut request = signer.request("/gw/cb?a=1", FORM, b"a=b");
    *request.uri_mut() = "http://app:8080/cb?a=1".parse().unwrap();
    send(&layer, request).await.assert_accepted();
}

async fn signer_accepts(signer: &Signer, target: &str, body: &[u8]) {
    let outcome = send(&signer.layer(), signer.request(target, FORM, body)).await;
    let callback = outcome.assert_accepted().verified.clone().unwrap();
    assert_eq!(callback.target().as_str(), target);
}
