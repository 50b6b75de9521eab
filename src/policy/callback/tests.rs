use proptest::{collection::vec, option, prelude::*};
use serde::Serialize;
use serde_json::{Value, json};

use super::*;
use crate::protocol::{CallbackBodyType, SystemVariable};

fn decoded(directive: &CallbackDirective) -> String {
    String::from_utf8(STANDARD.decode(directive.encoded()).unwrap()).unwrap()
}

#[test]
fn the_callback_of_the_sample_servers() {
    let directive = CallbackDirective::new("http://88.88.88.88:8888").unwrap();
    assert_eq!(
        decoded(&directive),
        "{\"callbackUrl\":\"http://88.88.88.88:8888\",\
         \"callbackBody\":\"filename=${object}&size=${size}&mimeType=${mimeType}\
         &height=${imageInfo.height}&width=${imageInfo.width}\",\
         \"callbackBodyType\":\"application/x-www-form-urlencoded\"}"
    );
    assert_eq!(directive.variables().count(), 0);
}

#[test]
fn every_parameter_in_its_order() {
    let body = CallbackTemplate::json()
        .variable("n", SystemVariable::Size)
        .unwrap();
    let directive = CallbackDirective::with_urls(["https://a.example/1?x", "b.example/2"])
        .and_then(|directive| directive.host("cb.example"))
        .and_then(|directive| directive.body(body))
        .unwrap();
    assert_eq!(
        decoded(&directive),
        "{\"callbackUrl\":\"https://a.example/1?x;b.example/2\",\
         \"callbackHost\":\"cb.example\",\
         \"callbackBody\":\"{\\\"n\\\":${size}}\",\
         \"callbackBodyType\":\"application/json\",\
         \"callbackSNI\":true}"
    );
    let targets: Vec<_> = directive.targets().map(CallbackTarget::as_str).collect();
    assert_eq!(targets, ["/1?x", "/2"]);
    assert_eq!(directive.target().as_str(), "/1?x");
}

#[test]
fn https_asks_for_sni_and_http_does_not() {
    for (urls, sni) in [
        (&["http://h"][..], Value::Null),
        (&["h"], Value::Null),
        (&["https://h"], json!(true)),
        (&["http://h", "https://h"], json!(true)),
    ] {
        let directive = CallbackDirective::with_urls(urls).unwrap();
        let parameters: Value = serde_json::from_str(&decoded(&directive)).unwrap();
        assert_eq!(parameters["callbackSNI"], sni, "{urls:?}");
    }
}

#[test]
fn hosts() {
    let directive = || CallbackDirective::new("http://192.0.2.1/cb").unwrap();
    for host in ["app.example", "192.0.2.1", "localhost"] {
        assert!(directive().host(host).is_ok(), "{host}");
    }
    for host in [
        "",
        "h:80",
        "[::1]",
        "a b",
        "a\r\nb",
        "http://h",
        "a/b",
        "中",
        "${object}",
    ] {
        let error = directive().host(host).map(drop);
        assert_eq!(error, Err(CallbackDirectiveError::CallbackHost), "{host}");
    }
}

#[test]
fn variables_of_the_body_go_with_it() {
    let body = |uid: &str| CallbackTemplate::form().custom("x:uid", uid).unwrap();
    let directive = CallbackDirective::new("http://h")
        .and_then(|directive| directive.variable("x:a", "1"))
        .and_then(|directive| directive.body(body("7")))
        .unwrap();
    let duplicate = |name: &str| Err(duplicate(name));
    for name in ["x:a", "x:uid"] {
        let again = directive.clone().variable(name, "2").map(drop);
        assert_eq!(again, duplicate(name));
    }
    let both = CallbackTemplate::form().custom("x:a", "1").unwrap();
    assert_eq!(directive.clone().body(both).map(drop), duplicate("x:a"));

    assert!(directive.variables().eq([("x:uid", "7"), ("x:a", "1")]));
    let directive = directive.body(body("8")).unwrap();
    assert!(directive.variables().eq([("x:uid", "8"), ("x:a", "1")]));
    let directive = directive.body(CallbackTemplate::sample()).unwrap();
    assert!(directive.variables().eq([("x:a", "1")]));
}

/// EC 0007-00000001 and 0007-00000101: to the byte.
#[test]
fn five_kib_of_base64() {
    use CallbackDirectiveError as E;
    let url = |len: usize| format!("http://h/{}", "a".repeat(len));
    let base = CallbackDirective::new(&url(0)).map(|directive| decoded(&directive).len());
    let fits = MAX_ENCODED_LEN / 4 * 3 - base.unwrap();
    let longest = CallbackDirective::new(&url(fits)).unwrap();
    assert_eq!(longest.encoded().len(), 5120);
    assert_eq!(
        CallbackDirective::new(&url(fits + 1)).map(drop),
        Err(E::TooLong(5124))
    );
    assert_eq!(
        longest.host("longer.example").map(drop),
        Err(E::TooLong(5164))
    );

    let directive = || CallbackDirective::new("http://h").unwrap();
    let body = CallbackTemplate::form()
        .constant("a", &"中".repeat(1000))
        .unwrap();
    assert!(matches!(
        directive().body(body).map(drop),
        Err(E::TooLong(_))
    ));

    // {"x:a":"…"} has ten bytes besides the value.
    let value = "a".repeat(3840 - 10);
    let longer = format!("{value}a");
    assert!(directive().variable("x:a", &value).is_ok());
    let error = directive().variable("x:a", &longer).map(drop);
    assert_eq!(error, Err(E::VariablesTooLong(5124)));
    let body = CallbackTemplate::form().custom("x:a", &longer).unwrap();
    assert_eq!(
        directive().body(body).map(drop),
        Err(E::VariablesTooLong(5124))
    );
    let body = CallbackTemplate::form().custom("x:a", &value).unwrap();
    let directive = directive().body(body).unwrap();
    assert!(directive.variable("x:b", "").is_err(), "together");
}

#[test]
fn a_body_without_fields() {
    for body_type in CallbackBodyType::ALL {
        let directive = CallbackDirective::new("http://h").unwrap();
        assert_eq!(
            directive.body(CallbackTemplate::new(body_type)).map(drop),
            Err(CallbackDirectiveError::EmptyBody)
        );
    }
}

#[test]
fn pl_20_values_are_not_shown() {
    let body = CallbackTemplate::form()
        .constant("ticket", "canary")
        .and_then(|body| body.custom("x:uid", "canary"))
        .unwrap();
    let directive = CallbackDirective::new("http://h/cb")
        .and_then(|directive| directive.body(body))
        .and_then(|directive| directive.variable("x:a", "canary"))
        .unwrap();
    let shown = format!("{directive:?} {directive:#?}");
    for name in ["http://h/cb", "ticket", "x:uid", "x:a"] {
        assert!(shown.contains(name), "{shown}");
    }
    assert!(!shown.contains("canary") && !shown.contains(directive.encoded()));
}

/// The callback parameters by serde, as they were written before.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Parameters<'a> {
    callback_url: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    callback_host: Option<&'a str>,
    callback_body: &'a str,
    callback_body_type: &'static str,
    #[serde(rename = "callbackSNI", skip_serializing_if = "std::ops::Not::not")]
    callback_sni: bool,
}

fn by_serde(directive: &CallbackDirective) -> String {
    STANDARD.encode(to_json(&Parameters {
        callback_url: directive.urls.as_str(),
        callback_host: directive.host.as_deref(),
        callback_body: directive.body.template(),
        callback_body_type: directive.body.body_type().as_str(),
        callback_sni: directive.urls.https(),
    }))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    /// The text that a token contains is put together from parts. Here the whole template is built
    /// for each upload, and serialised by serde.
    #[test]
    fn any_callback_is_written_as_serde_writes_it(
        urls in vec("(http://|https://)?[a-z]{1,9}/[a-z0-9&=]{0,9}", 1..3),
        host in option::of("[a-z]{1,9}"),
        json in any::<bool>(),
        constants in vec(("[A-Za-z0-9_]{1,9}", "[aé中\u{2028}]{0,9}|[\\x00-\\x7f]{0,9}|[a-z\"\\\\]{0,9}"), 0..4),
        own in vec(("x:[a-c]{1,2}", "[ -~]{0,9}"), 0..2),
        added in vec(("x:[a-e.-]{1,2}", "[ -~é中]{0,9}"), 0..3),
        ticket in option::of("[A-Za-z0-9_-]{0,400}|[aé中\u{2028}]{0,9}|[\\x00-\\x7f]{0,9}"),
    ) {
        let mut body = CallbackTemplate::new(match json {
            true => CallbackBodyType::Json,
            false => CallbackBodyType::Form,
        });
        body = body.variable("object", SystemVariable::Object).unwrap();
        for (name, value) in &constants {
            body = body.clone().constant(name, value).unwrap_or(body);
        }
        for (name, value) in &own {
            body = body.clone().custom(name, value).unwrap_or(body);
        }
        let directive = CallbackDirective::with_urls(&urls).and_then(|directive| {
            let directive = match &host {
                Some(host) => directive.host(host)?,
                None => directive,
            };
            directive.body(body)
        });
        // Some of the random URLs cannot be called, or called both.
        let directive = directive.unwrap_or_else(|_| CallbackDirective::new("https://h/%22?a").unwrap());
        prop_assert_eq!(directive.encoded(), by_serde(&directive));

        let added: Vec<(Box<str>, Box<str>)> = added
            .iter()
            .map(|(name, value)| (name.as_str().into(), value.as_str().into()))
            .collect();
        let ticket = ticket.as_deref();
        let expected = directive.for_upload(&added, ticket);
        let encoded = directive.encode_for(&added, ticket);
        match (expected, encoded) {
            (Ok(expected), Ok(encoded)) => prop_assert_eq!(encoded, by_serde(&expected)),
            (expected, encoded) => {
                prop_assert_eq!(encoded.map(drop).is_err(), expected.map(drop).is_err());
            }
        }
    }
}
