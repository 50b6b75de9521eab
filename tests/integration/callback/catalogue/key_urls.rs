//! KU: accepted and rejected values of `x-oss-pub-key-url`.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use http::{HeaderValue, Request};
use http_body_util::Full;
use serde::Deserialize;
use tower_aliyun_oss::{
    Lookup, OssCallbackLayer,
    callback::CallbackErrorKind,
    key::{KeyError, KeySource, KeyTable, KeyUrl, PinnedKeys, PublicKey},
};

use crate::support::{Case, KEY_URL_V1, Outcome, send};

/// The test sends `header`; each character is one byte of the value.
#[derive(Deserialize)]
struct KeyUrlCase {
    id: String,
    header: String,
    accept: bool,
}

fn cases() -> Vec<KeyUrlCase> {
    serde_json::from_str(include_str!("../../../cases/key_urls.json")).unwrap()
}

/// Counts key lookups. Any connection would start with one.
struct Counted(PinnedKeys, Arc<AtomicUsize>);

impl KeySource for Counted {
    fn table(&self) -> &KeyTable {
        self.0.table()
    }

    fn key(&self, url: &KeyUrl) -> Lookup<PublicKey, KeyError> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.key(url)
    }
}

/// Sends the official example with these key URLs. Returns the outcome and the number of key
/// lookups.
async fn send_with(values: &[HeaderValue]) -> (Outcome, usize) {
    let lookups = Arc::new(AtomicUsize::new(0));
    let keys = Counted(PinnedKeys::official(), Arc::clone(&lookups));
    let mut request: Request<Full<Bytes>> = Case::named("official-doc-index-php").request();
    request.headers_mut().remove("x-oss-pub-key-url");
    for value in values {
        request
            .headers_mut()
            .append("x-oss-pub-key-url", value.clone());
    }
    let outcome = send(&OssCallbackLayer::new().key_source(keys), request).await;
    (outcome, lookups.load(Ordering::Relaxed))
}

async fn check(id: &str) {
    let case = cases()
        .into_iter()
        .find(|case| case.id == id)
        .expect("the case is in key_urls.json");
    let header: Vec<u8> = case
        .header
        .chars()
        .map(|c| u8::try_from(u32::from(c)).unwrap())
        .collect();
    let parsed = KeyUrl::from_header(&header, &KeyTable::official());
    assert_eq!(parsed.is_ok(), case.accept);
    let (outcome, lookups) = send_with(&[HeaderValue::from_bytes(&header).unwrap()]).await;
    if !case.accept {
        assert_eq!(lookups, 0, "a rejected key URL must cause no lookup");
        // Invalid Base64 is a malformed header; everything else names a key that is not allowed.
        match id {
            "KU-160" | "KU-161" | "KU-164" | "KU-165" | "KU-167" | "KU-169" | "KU-170"
            | "KU-173" => {
                outcome.assert_refused(400, CallbackErrorKind::InvalidHeader);
            }
            _ => outcome.assert_refused(403, CallbackErrorKind::KeyUrlRejected),
        }
        return;
    }
    assert_eq!(lookups, 1);
    let url = parsed.unwrap();
    assert_eq!(url.host(), "gosspublic.alicdn.com");
    match url.official_version() {
        Some(1) => drop(outcome.assert_accepted()),
        Some(2) => outcome.assert_refused(503, CallbackErrorKind::KeyUnavailable),
        other => panic!("{other:?}"),
    }
}

macro_rules! key_url_cases {
    ($($name:ident,)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                check(&stringify!($name).to_uppercase().replace('_', "-")).await;
            }
        )*

        #[test]
        fn every_key_url_case_has_its_test() {
            let tests = [$(stringify!($name).to_uppercase().replace('_', "-")),*];
            let cases: Vec<String> = cases().into_iter().map(|case| case.id).collect();
            assert_eq!(tests.as_slice(), cases.as_slice());
        }
    };
}

key_url_cases! {
    ku_001, ku_002, ku_003, ku_010, ku_011, ku_013, ku_014, ku_015, ku_016, ku_020, ku_021, ku_022, ku_023, ku_026, ku_030, ku_031, ku_032, ku_034, ku_040, ku_041, ku_042, ku_043, ku_044, ku_050, ku_052, ku_053, ku_060, ku_062, ku_065, ku_070, ku_071, ku_073, ku_080, ku_082, ku_083, ku_084, ku_085, ku_086, ku_088, ku_091, ku_095, ku_096, ku_098, ku_100, ku_101, ku_102, ku_110, ku_113, ku_114, ku_115, ku_118, ku_119, ku_121, ku_123, ku_126, ku_130, ku_131, ku_132, ku_133, ku_134, ku_135, ku_136, ku_140, ku_141, ku_142, ku_143, ku_144, ku_150, ku_160, ku_161, ku_164, ku_165, ku_167, ku_169, ku_170, ku_171, ku_173,
}

#[tokio::test]
async fn ku_180_an_absent_or_repeated_key_url_is_refused() {
    let v1 = || HeaderValue::from_static(KEY_URL_V1);
    let other = HeaderValue::from_static("aHR0cHM6Ly9ldmlsLmV4YW1wbGUvay5wZW0=");
    let (absent, lookups) = send_with(&[]).await;
    absent.assert_refused(400, CallbackErrorKind::MissingHeader);
    assert_eq!(lookups, 0);
    for values in [
        vec![v1(), v1()],
        vec![v1(), other.clone()],
        vec![other, v1()],
        vec![v1(); 100],
    ] {
        let (repeated, lookups) = send_with(&values).await;
        repeated.assert_refused(400, CallbackErrorKind::DuplicateHeader);
        assert_eq!(
            repeated.error.unwrap().header().unwrap(),
            "x-oss-pub-key-url"
        );
        assert_eq!(lookups, 0);
    }
}

#[tokio::test]
async fn ku_001_both_schemes_name_one_key() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let parse = |url: &str| {
        KeyUrl::from_header(STANDARD.encode(url).as_bytes(), &KeyTable::official()).unwrap()
    };
    let https = parse("https://gosspublic.alicdn.com/callback_pub_key_v1.pem");
    let http = parse("http://gosspublic.alicdn.com/callback_pub_key_v1.pem");
    assert_eq!(https, http);
    assert_eq!(
        http.to_string(),
        "https://gosspublic.alicdn.com/callback_pub_key_v1.pem"
    );
}
