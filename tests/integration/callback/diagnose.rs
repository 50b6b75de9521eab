//! `diagnose`: findings, cost, and the absence of side effects.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use crate::support::{Case, FORM, JSON, Signer, full, send};
use http::{HeaderValue, Request, request::Parts};
use proptest::{collection::vec, prelude::any, strategy::Strategy as _};
use tower_aliyun_oss::{
    callback::{
        BodyCandidate as Body, CallbackErrorKind, Diagnosis, TargetChange as Change,
        TargetOrigin as Origin, VerifierConfig, diagnose,
    },
    key::PublicKey,
};
use tracing::Level;

/// A request that changes between OSS and the layer.
struct Changed {
    signer: Signer,
    parts: Parts,
    body: Vec<u8>,
    rules: VerifierConfig,
}

impl Changed {
    fn new(signed: (&str, &str), received: (&str, &str)) -> Self {
        let signer = Signer::with_512_bits();
        let signature = signer.sign(signed.0, signed.1.as_bytes());
        let (parts, ()) = crate::support::builder(received.0, FORM, &signature)
            .body(())
            .unwrap()
            .into_parts();
        Self {
            signer,
            parts,
            body: received.1.into(),
            rules: VerifierConfig::new(),
        }
    }

    fn target(signed: &str, received: &str) -> Self {
        Self::new((signed, "a=b"), (received, "a=b"))
    }

    fn body(signed: &str, received: &str) -> Self {
        Self::new(("/cb", signed), ("/cb", received))
    }

    fn header(mut self, name: &'static str, value: &str) -> Self {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        self.parts.headers.append(name, value);
        self
    }

    fn prefix(mut self, prefix: &str) -> Self {
        self.rules = self.rules.diagnose_proxy_prefix(prefix);
        self
    }

    fn diagnose(&self) -> Diagnosis {
        let key = self.signer.public();
        diagnose(&self.parts, &self.body, &key, &self.rules)
    }

    #[track_caller]
    fn assert(&self, origin: &Origin, change: Option<Change>, expected: Body) {
        let diagnosis = self.diagnose();
        let Diagnosis::WouldMatch {
            origin: from,
            change: by,
            body,
            ..
        } = &diagnosis
        else {
            panic!("{diagnosis:?}");
        };
        assert_eq!(
            (from, *by, *body),
            (origin, change, expected),
            "{diagnosis}"
        );
    }
}

fn header(name: &'static str) -> Origin {
    Origin::Header(http::HeaderName::from_static(name))
}

#[test]
fn what_matches_as_it_is_matches() {
    let same = Changed::target("/cb?a=1", "/cb?a=1");
    assert_eq!(same.diagnose(), Diagnosis::Matches);
    for case in Case::genuine() {
        let (parts, _) = case.request().into_parts();
        let diagnosis = diagnose(
            &parts,
            case.body.as_bytes(),
            &official(),
            &VerifierConfig::new(),
        );
        assert_eq!(diagnosis, Diagnosis::Matches, "{}", case.name);
    }
}

#[test]
fn a_stripped_prefix_is_found_in_headers() {
    let stripped = || Changed::target("/gw/cb?a=1", "/cb?a=1");
    stripped().header("x-forwarded-prefix", "/gw").assert(
        &Origin::ForwardedPrefix,
        None,
        Body::AsReceived,
    );
    stripped().header("x-forwarded-prefix", " gw/ ").assert(
        &Origin::ForwardedPrefix,
        None,
        Body::AsReceived,
    );
    Changed::target("/a/b/cb", "/cb")
        .header("x-forwarded-prefix", "/a, /b")
        .assert(&Origin::ForwardedPrefix, None, Body::AsReceived);
    for name in [
        "x-forwarded-uri",
        "x-original-uri",
        "x-original-url",
        "x-rewrite-url",
        "x-envoy-original-path",
        "x-replaced-path",
        "x-forwarded-path",
    ] {
        stripped()
            .header(name, "/gw/cb?a=1")
            .assert(&header(name), None, Body::AsReceived);
        stripped()
            .header(name, "https://app.example:8443/gw/cb?a=1")
            .assert(&header(name), None, Body::AsReceived);
        let path_of = Origin::HeaderPath(http::HeaderName::from_static(name));
        stripped()
            .header(name, "/gw/cb")
            .assert(&path_of, None, Body::AsReceived);
    }
}

#[test]
fn a_listed_prefix_is_found_on_both_sides() {
    for prefix in ["/gw", "gw", "/gw/"] {
        Changed::target("/gw/cb?a=1", "/cb?a=1")
            .prefix("/api/v1")
            .prefix(prefix)
            .assert(&Origin::PrefixAdded("/gw".into()), None, Body::AsReceived);
        Changed::target("/cb?a=1", "/gw/cb?a=1")
            .prefix(prefix)
            .assert(
                &Origin::PrefixStripped("/gw".into()),
                None,
                Body::AsReceived,
            );
    }
    Changed::target("/", "/gw").prefix("/gw").assert(
        &Origin::PrefixStripped("/gw".into()),
        None,
        Body::AsReceived,
    );
    let other = Changed::target("/way/cb", "/gway/cb")
        .prefix("/g")
        .diagnose();
    assert!(matches!(other, Diagnosis::NoCandidate { .. }), "{other}");
    let sentence = Changed::target("/gw/cb", "/cb")
        .prefix("/gw")
        .diagnose()
        .to_string();
    assert_eq!(
        sentence,
        "the signature was made over the target \"/gw/cb\", which is the received target after the prefix \"/gw\", \
         and the received body; a proxy strips the prefix: put it back with \
         target_uri(|parts| format!(\"/gw{}\", parts.uri.path_and_query()?).parse().ok())"
    );
}

#[test]
fn a_wrong_hook_is_found() {
    let mut changed = Changed::target("/cb", "/cb");
    changed.rules = VerifierConfig::new().target_uri(|_| Some(http::Uri::from_static("/other")));
    changed.assert(&Origin::RequestUri, None, Body::AsReceived);
}

#[cfg(feature = "axum")]
#[test]
fn original_uri_is_found_behind_a_hook() {
    let mut changed = Changed::target("/api/cb?a=1", "/cb?a=1");
    let original = axum::extract::OriginalUri("/api/cb?a=1".parse().unwrap());
    changed.parts.extensions.insert(original);
    assert_eq!(changed.diagnose(), Diagnosis::Matches);
    changed.rules = VerifierConfig::new().target_uri(|parts| Some(parts.uri.clone()));
    changed.assert(&Origin::OriginalUri, None, Body::AsReceived);
}

#[test]
fn a_query_that_got_lost_added_or_rewritten_is_found() {
    Changed::target("/cb?a=1", "/cb")
        .header("x-original-uri", "/rewritten?a=1")
        .assert(
            &Origin::HeaderQuery(http::HeaderName::from_static("x-original-uri")),
            None,
            Body::AsReceived,
        );
    // A header that contains only a path implies nothing about the query.
    Changed::target("/cb", "/cb?added=1")
        .header("x-original-uri", "/other")
        .assert(
            &Origin::Verified,
            Some(Change::QueryDropped),
            Body::AsReceived,
        );
    for (signed, received, change) in [
        ("/cb", "/cb?added=1", Change::QueryDropped),
        ("/cb", "/cb?", Change::QueryDropped),
        ("/cb?", "/cb", Change::QuestionMarkAdded),
        ("/cb?a=x%20y", "/cb?a=x+y", Change::QueryPlusAsPercent20),
        ("/cb?a=x+y", "/cb?a=x%20y", Change::QueryPercent20AsPlus),
        ("/cb?a=%2F", "/cb?a=%2f", Change::QueryHexCase),
        ("/cb?a=%e4", "/cb?a=%E4", Change::QueryHexCase),
        (
            "/cb?u=http://x",
            "/cb?u=http%3A%2F%2Fx",
            Change::QueryDecoded,
        ),
        (
            "/cb?u=http%3A%2F%2Fx&b=1",
            "/cb?u=http://x&b=1",
            Change::QueryEncoded,
        ),
    ] {
        Changed::target(signed, received).assert(&Origin::Verified, Some(change), Body::AsReceived);
    }
}

#[test]
fn a_parameter_that_something_adds_is_found() {
    for (signed, received) in [
        ("/cb?a=1", "/cb?a=1&added=2"),
        ("/cb?a=1", "/cb?added=2&a=1"),
        ("/cb?a=1&b=2", "/cb?a=1&added=%2F&b=2"),
        ("/cb?a=1&b", "/cb?a=1&&b"),
        ("/cb?1&2&3&4&5&6&7", "/cb?1&2&3&4&5&6&7&8"),
    ] {
        let change = Some(Change::ParameterDropped);
        Changed::target(signed, received).assert(&Origin::Verified, change, Body::AsReceived);
    }
    // The only parameter is the query.
    let change = Some(Change::QueryDropped);
    Changed::target("/cb", "/cb?added=2").assert(&Origin::Verified, change, Body::AsReceived);
    // Two parameters are not one.
    let two = Changed::target("/cb?a=1", "/cb?a=1&b&c").diagnose();
    assert!(matches!(two, Diagnosis::NoCandidate { .. }), "{two}");
    let sentence = Changed::target("/cb?a=1", "/cb?a=1&b")
        .diagnose()
        .to_string();
    assert!(
        sentence.contains("without one parameter of its query"),
        "{sentence}"
    );
}

#[test]
fn a_parameter_that_something_drops_is_found_if_another_target_has_it() {
    // A header has the parameter, with another path and other parameters.
    let change = Some(Change::ParameterAdded);
    for (signed, received) in [
        ("/cb?a=1&sig=x%2F", "/cb?a=1"),
        ("/cb?sig=x%2F&a=1", "/cb?a=1"),
        ("/cb?a=1&sig=x%2F&b=2", "/cb?a=1&b=2"),
        ("/cb?1&2&3&4&5&6&sig=x%2F", "/cb?1&2&3&4&5&6"),
    ] {
        Changed::target(signed, received)
            .header("x-original-uri", "/rewritten?sig=x%2F&more=1")
            .assert(&Origin::Verified, change, Body::AsReceived);
    }
    let unknown = Changed::target("/cb?a=1&sig=x", "/cb?a=1").diagnose();
    assert!(
        matches!(unknown, Diagnosis::NoCandidate { .. }),
        "{unknown}"
    );
    let sentence = Changed::target("/cb?a=1&sig=x", "/cb?a=1")
        .header("x-forwarded-uri", "/rewritten?sig=x&more=1")
        .diagnose()
        .to_string();
    assert!(
        sentence.contains("with one parameter more in its query"),
        "{sentence}"
    );
}

#[test]
fn a_fragment_that_is_signed_or_not_is_found() {
    // The parser of a request drops the fragment, and OSS signed it.
    let added = Some(Change::FragmentAdded);
    for (signed, received, forwarded) in [
        ("/cb#", "/cb", "/cb"),
        ("/cb?a=1#", "/cb?a=1", "/cb"),
        ("/cb?a=1#x", "/cb?a=1", "/rewritten#x"),
        ("/cb#/6/", "/cb", "/rewritten?a=1#/6/"),
    ] {
        let signed = Changed::target(signed, received).header("x-original-uri", forwarded);
        signed.assert(&Origin::Verified, added, Body::AsReceived);
    }
    // The header has the fragment, and OSS did not sign it.
    let dropped = Some(Change::FragmentDropped);
    for (signed, forwarded) in [("/gw/cb", "/gw/cb#x"), ("/gw/cb?a=1", "/gw/cb?a=1#x?y")] {
        Changed::target(signed, "/other?b=2")
            .header("x-original-uri", forwarded)
            .assert(&header("x-original-uri"), dropped, Body::AsReceived);
    }
    // The header has the whole text.
    Changed::target("/gw/cb?a=1#x", "/cb?a=1")
        .header("x-original-uri", "/gw/cb?a=1#x")
        .assert(&header("x-original-uri"), None, Body::AsReceived);
    let sentence = Changed::target("/cb#", "/cb").diagnose().to_string();
    assert!(
        sentence.contains("with the fragment of callbackUrl, which must have none"),
        "{sentence}"
    );
}

#[test]
fn a_path_written_in_another_way_is_found() {
    for (signed, received, change) in [
        ("/cb/", "/cb", Change::SlashAdded),
        ("/cb/?a=1", "/cb?a=1", Change::SlashAdded),
        ("/cb", "/cb/", Change::SlashRemoved),
        ("//cb", "/cb", Change::SlashDoubled),
        ("/a%252Fb", "/a%2Fb", Change::PathNotDecoded),
        ("/%E4%B8%AD", "/%25E4%25B8%25AD", Change::PathDecodedTwice),
        ("/a%20b", "/a+b", Change::PathPlusAsSpace),
        ("/a+b", "/a%20b", Change::PathSpaceAsPlus),
    ] {
        Changed::target(signed, received).assert(&Origin::Verified, Some(change), Body::AsReceived);
    }
    // Both changes at once.
    Changed::target("/gw/cb/", "/cb").prefix("/gw").assert(
        &Origin::PrefixAdded("/gw".into()),
        Some(Change::SlashAdded),
        Body::AsReceived,
    );
}

#[test]
fn a_body_written_anew_is_found() {
    for (signed, received, body) in [
        ("a=b\n", "a=b", Body::LineEndAdded),
        ("a=b\r\n", "a=b", Body::LineEndAdded),
        ("a=b", "a=b\n", Body::LineEndRemoved),
        ("a=b", "a=b\r\n", Body::LineEndRemoved),
        ("a\nb\nc", "a\r\nb\r\nc", Body::LineFeeds),
        ("a\r\nb\r\nc", "a\nb\r\nc", Body::CarriageReturns),
        (
            r#"{"a":1,"b":[2,3]}"#,
            r#"{"a": 1, "b": [2, 3]}"#,
            Body::JsonCompact,
        ),
        (
            r#"{"a": 1, "b": "c,d"}"#,
            r#"{"a":1,"b":"c,d"}"#,
            Body::JsonSpaced,
        ),
        (
            r#"{"a":1, "b":2}"#,
            r#"{"a":1,"b":2}"#,
            Body::JsonHalfSpaced,
        ),
        (
            r#"{"a": 1,"b": 2}"#,
            r#"{"a":1,"b":2}"#,
            Body::JsonHalfSpaced,
        ),
        (
            r#"{"a":1.50,"b":2}"#,
            r#"{"b":2,"a":1.50}"#,
            Body::JsonSorted,
        ),
        (r#"{"a":"中/"}"#, r#"{"a":"\u4e2d\/"}"#, Body::JsonReescaped),
        (r#"{"a":"中/"}"#, r#"{"a": "\u4e2d/"}"#, Body::JsonReescaped),
        (r#"{"a":"\u4e2d\/"}"#, r#"{"a":"中/"}"#, Body::JsonReescaped),
        ("o=a+b&c=d", "o=a%20b&c=d", Body::FormPlus),
        ("o=a%20b&c=d", "o=a+b&c=d", Body::FormPercent20),
        ("o=a/b&c=d e", "o=a%2Fb&c=d+e", Body::FormDecoded),
        ("o=a%2Fb%20&c=d", "o=a/b+&c=d", Body::FormReencoded),
        ("o=a%2Fb+&c=d", "o=a/b &c=d", Body::FormReencoded),
        ("o=a%2fb", "o=a%2Fb", Body::FormHexCase),
        ("a=1&b=2", "b=2&a=1", Body::FormSorted),
    ] {
        Changed::body(signed, received).assert(&Origin::Verified, None, body);
    }
    // The same with a stripped prefix.
    Changed::new(("/gw/cb", r#"{"a": 1}"#), ("/cb", r#"{"a":1}"#))
        .header("x-forwarded-prefix", "/gw")
        .assert(&Origin::ForwardedPrefix, None, Body::JsonSpaced);
}

#[test]
fn a_body_that_was_read_before_is_hinted_at() {
    let diagnosis = Changed::body("bucket=b", "").diagnose();
    assert!(matches!(
        diagnosis,
        Diagnosis::NoCandidate { cut: false, .. }
    ));
    assert!(
        diagnosis
            .to_string()
            .contains("reads the body before the layer")
    );
}

#[test]
fn a_signature_of_another_key_is_told_from_one_over_another_text() {
    let changed = Changed::target("/cb", "/cb");
    for other in [Signer::with_1024_bits().public(), official()] {
        let diagnosis = diagnose(&changed.parts, &changed.body, &other, &changed.rules);
        assert_eq!(diagnosis, Diagnosis::OtherKey);
    }
    let mut changed = Changed::target("/cb", "/elsewhere");
    assert!(matches!(changed.diagnose(), Diagnosis::NoCandidate { .. }));
    let wrong: [&[&'static str]; 3] = [&[], &["no base64"], &["YQ==", "YQ=="]];
    for values in wrong {
        changed.parts.headers.remove("authorization");
        for value in values {
            let value = HeaderValue::from_static(value);
            changed.parts.headers.append("authorization", value);
        }
        assert_eq!(changed.diagnose(), Diagnosis::NoSignature);
    }
    changed
        .parts
        .headers
        .insert("authorization", "A".repeat(1 << 20).parse().unwrap());
    assert_eq!(changed.diagnose(), Diagnosis::NoSignature);
}

#[test]
fn genuine_callbacks_behind_a_proxy() {
    let case = Case::named("official-doc-index-php");
    let (mut parts, _) = case.request().into_parts();
    parts.uri = "/php?id=1&index=2".parse().unwrap();
    parts.headers.insert(
        "x-original-uri",
        HeaderValue::from_str(&case.path_and_query).unwrap(),
    );
    let diagnosis = diagnose(
        &parts,
        case.body.as_bytes(),
        &official(),
        &VerifierConfig::new(),
    );
    assert!(diagnosis.to_string().starts_with(
        "the signature was made over the target \"/index.php?id=1&index=2\", which is the target in the header \
         x-original-uri, and the received body; a proxy rewrites the target"
    ));
    // A body that Python parsed and serialized again.
    let case = Case::named("cloudreve-v3-json");
    let (parts, _) = case.request().into_parts();
    let spaced = case.body.replace("\":", "\": ").replace(",\"", ", \"");
    let diagnosis = diagnose(
        &parts,
        spaced.as_bytes(),
        &official(),
        &VerifierConfig::new(),
    );
    assert!(
        matches!(
            &diagnosis,
            Diagnosis::WouldMatch {
                body: Body::JsonCompact,
                ..
            }
        ),
        "{diagnosis}"
    );
    // A callback whose body was anonymized after OSS signed it.
    let case = Case::named("current-doc-rewritten");
    let (parts, _) = case.request().into_parts();
    let diagnosis = diagnose(
        &parts,
        case.body.as_bytes(),
        &official(),
        &VerifierConfig::new(),
    );
    assert!(
        matches!(diagnosis, Diagnosis::NoCandidate { .. }),
        "{diagnosis}"
    );
    // One changed letter in the signature.
    let case = Case::named("cloudreve-negative");
    let (parts, _) = case.request().into_parts();
    let diagnosis = diagnose(
        &parts,
        case.body.as_bytes(),
        &official(),
        &VerifierConfig::new(),
    );
    assert_eq!(diagnosis, Diagnosis::OtherKey);
}

#[test]
fn hostile_headers_stay_bounded_and_escaped() {
    let texts = |changed: &Changed| match changed.diagnose() {
        Diagnosis::NoCandidate { texts, cut, .. } => (texts, cut),
        other => panic!("{other}"),
    };
    let mut changed = Changed::target("/signed", "/cb");
    for at in 0..10_000 {
        changed = changed.header("x-forwarded-prefix", &format!("/p{at}"));
        changed.rules = changed.rules.diagnose_proxy_prefix(&format!("/q{at}"));
    }
    changed = changed.header("x-original-uri", &format!("/{}", "a,/%25".repeat(1 << 18)));
    changed = changed.header("x-forwarded-uri", &"/a".repeat(4 * 1024));
    let json: Vec<String> = (0..1_000)
        .map(|at| format!("\"{at}\":\"\u{4e2d}\""))
        .collect();
    changed.body = format!("{{{}}}", json.join(", ")).into_bytes();
    assert!(changed.body.len() < 16 * 1024);
    let (tried, cut) = texts(&changed);
    assert!((64..=256).contains(&tried) && cut, "{tried}");
    // Small texts run into the limit on their number.
    changed.body = b"{\"b\": \"\\/\", \"a\": 1}\n".to_vec();
    assert_eq!(texts(&changed), (256, true));
    // The longest body that the layer accepts by default.
    changed.body = vec![b'a'; 64 * 1024];
    assert_eq!(texts(&changed), (63, true));
    // A body above the byte budget is hashed once for the verified text, and at most a few more
    // times.
    changed.body = vec![b'a'; 5 << 20];
    assert_eq!(texts(&changed), (1, true));
    changed.body = vec![b'a'; 1 << 20];
    assert_eq!(texts(&changed), (3, true));
}

#[test]
fn what_is_shown_of_a_request_is_escaped_and_cut() {
    // Anyone with a bucket can have OSS sign this text.
    let signed = "/%0A%1B[31mWARN\u{202e}%22?\u{4e2d}";
    let diagnosis = Changed::target(signed, "/cb")
        .header("x-original-uri", signed)
        .diagnose();
    let sentence = diagnosis.to_string();
    assert!(
        sentence.contains(r#"the target "/\n\u{1b}[31mWARN\u{202e}\"?中", which"#),
        "{sentence}"
    );
    assert!(!format!("{diagnosis:?}").contains(['\n', '\u{1b}', '\u{202e}']));
    for long in [
        format!("/{}", "a".repeat(7_000)),
        format!("/{}", "%00".repeat(2_000)),
        format!("/{}", "%FF".repeat(2_000)),
        format!("/{}", "\u{4e2d}".repeat(2_000)),
    ] {
        let diagnosis = Changed::target(&long, "/cb")
            .header("x-original-uri", &long)
            .diagnose();
        let sentence = diagnosis.to_string();
        assert!(sentence.contains("(cut), which is"), "{sentence}");
        assert!(sentence.chars().count() < 1_600, "{}", sentence.len());
        assert!(format!("{diagnosis:?}").chars().count() < 1_600);
    }
}

#[tokio::test]
async fn the_answer_is_the_same_with_and_without_a_log() {
    let signer = Signer::with_512_bits();
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let layer = signer.layer().target_uri(move |_| {
        counter.fetch_add(1, Relaxed);
        None
    });
    let request = || {
        let mut request: Request<_> = signer.request("/gw/cb?a=1", JSON, b"{}");
        *request.uri_mut() = "/cb?a=1".parse().unwrap();
        let prefix = HeaderValue::from_static("/gw");
        request.headers_mut().insert("x-forwarded-prefix", prefix);
        request
    };
    let silent = {
        // Other tests of this binary may have installed a global subscriber.
        let _guard = tracing::subscriber::set_default(tracing::subscriber::NoSubscriber::new());
        send(&layer, request()).await
    };
    silent.assert_refused(403, CallbackErrorKind::SignatureMismatch);
    let asked_silently = asked.swap(0, Relaxed);

    for (level, lines) in [(Level::INFO, 0), (Level::DEBUG, 1), (Level::TRACE, 1)] {
        let log = Log::default();
        let guard = log.listen(level);
        let outcome = send(&layer, request()).await;
        drop(guard);
        outcome.assert_refused(403, CallbackErrorKind::SignatureMismatch);
        assert_eq!(outcome.headers, silent.headers);
        assert_eq!(outcome.body, silent.body);
        let diagnoses = log.lines("tower_aliyun_oss::diagnose");
        assert_eq!(diagnoses.len(), lines, "{diagnoses:?}");
        assert!(diagnoses.iter().all(|line| {
            line.contains("DEBUG")
                && line.contains("a proxy strips the prefix: put it back with target_uri")
        }));
        // The hook counts how often it was called, which reveals whether a search ran.
        assert_eq!(asked.swap(0, Relaxed), asked_silently + lines);
    }
}

#[tokio::test]
async fn only_mismatches_are_diagnosed() {
    let signer = Signer::with_512_bits();
    let log = Log::default();
    let _guard = log.listen(Level::TRACE);
    send(&signer.layer(), signer.request("/cb", FORM, b"a=b"))
        .await
        .assert_accepted();
    let get = Request::get("/cb").body(full("")).unwrap();
    send(&signer.layer(), get)
        .await
        .assert_refused(405, CallbackErrorKind::MethodNotAllowed);
    assert_eq!(log.lines("tower_aliyun_oss::diagnose").len(), 0);
    // A signature that no key made.
    let request = crate::support::builder("/cb", FORM, &[7; 64])
        .body(full("a=b"))
        .unwrap();
    send(&signer.layer(), request)
        .await
        .assert_refused(403, CallbackErrorKind::SignatureMismatch);
    let lines = log.lines("tower_aliyun_oss::diagnose");
    assert!(lines[0].contains("was not made with this key"), "{lines:?}");
    assert_eq!(lines.len(), 1);
}

proptest::proptest! {
    /// Any request, with or without a valid signature.
    #[test]
    fn no_request_makes_it_panic(
        target in "/[a-z/%0-9A-F+\u{4e2d}]{0,20}(\\?[a-z=&%0-9A-F+?]{0,20})?",
        header in vec(any::<u8>(), 0..40),
        path in "(https?://[a-z]{0,3})?/?[a-z/%0-9,? ]{0,20}",
        name in proptest::sample::select(vec!["x-original-uri", "x-forwarded-prefix", "x-replaced-path"]),
        body in proptest::prop_oneof![
            vec(any::<u8>(), 0..60),
            "[\\[\\]{}\",: a-f0-9\\\\\r\n+%=&]{0,40}".prop_map(String::into_bytes),
        ],
        signed in proptest::option::of(vec(any::<u8>(), 0..20)),
        garbage in vec(any::<u8>(), 0..70),
    ) {
        let signer = Signer::with_512_bits();
        let signature = signed.map_or(garbage, |text| signer.sign_text(&text));
        let Ok(request) = crate::support::builder(&target, FORM, &signature).body(()) else {
            return Ok(());
        };
        let (mut parts, ()) = request.into_parts();
        for value in [&header[..], path.as_bytes()] {
            if let Ok(value) = HeaderValue::from_bytes(value) {
                parts.headers.insert(name, value);
            }
            let rules = VerifierConfig::new().diagnose_proxy_prefix(&path);
            let diagnosis = diagnose(&parts, &body, &signer.public(), &rules);
            proptest::prop_assert!(!diagnosis.to_string().contains(char::is_control));
        }
    }
}

fn official() -> PublicKey {
    PublicKey::from_pem(
        b"-----BEGIN PUBLIC KEY-----\n\
          MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAKs/JBGzwUB2aVht4crBx3oIPBLNsjGs\n\
          C0fTXv+nvlmklvkcolvpvXLTjaxUHR3W9LXxQ2EHXAJfCB+6H2YF1k8CAwEAAQ==\n\
          -----END PUBLIC KEY-----\n",
    )
    .unwrap()
}

/// Captures the log of the current thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn listen(&self, level: Level) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(level)
            .with_ansi(false)
            .with_writer(move || log.clone())
            .finish();
        tracing::subscriber::set_default(subscriber)
    }

    fn lines(&self, target: &str) -> Vec<String> {
        let log = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        log.lines()
            .filter(|line| line.contains(target))
            .map(str::to_owned)
            .collect()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
