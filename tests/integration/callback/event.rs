//! Reading verified bodies as events.

use std::{collections::BTreeMap, error::Error as _, sync::LazyLock};

use bytes::Bytes;
use http::Request;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};
use tower_aliyun_oss::{
    Lookup,
    callback::{CallbackVerifier, EventError, UploadEvent, VerifiedCallback, VerifierConfig},
    key::{KeySource as _, KeyUrl, PinnedKeys, PublicKey},
    protocol::{SystemVariable, TICKET_FIELD},
};

use crate::support::{Case, FORM, JSON, Signer};

fn verify(request: http::request::Builder, key: &PublicKey, body: Bytes) -> VerifiedCallback {
    let (parts, ()) = request.body(()).unwrap().into_parts();
    // Some bodies exceed the default limit.
    let rules = VerifierConfig::new().body_limit(1 << 20);
    let mut verifier = CallbackVerifier::check(&parts, &rules).unwrap();
    verifier.update(body).unwrap();
    verifier.verify(key).unwrap()
}

/// Verifies a genuine callback of the catalogue.
fn genuine(case: &Case) -> VerifiedCallback {
    genuine_as(case, case.content_type())
}

/// Verifies it with another content type, which the signature does not cover.
fn genuine_as(case: &Case, content_type: &str) -> VerifiedCallback {
    let mut request = Request::post(&*case.path_and_query).header("content-type", content_type);
    for (name, value) in &case.headers {
        if name != "content-type" {
            request = request.header(name, value);
        }
    }
    let url = request.headers_ref().unwrap()["x-oss-pub-key-url"].clone();
    let url = KeyUrl::from_header(url.as_bytes(), PinnedKeys::official().table()).unwrap();
    let Lookup::Ready(key) = PinnedKeys::official().key(&url) else {
        panic!("pinned keys are ready");
    };
    verify(request, &key.unwrap(), Bytes::from(case.body.clone()))
}

static SIGNER: LazyLock<(Signer, PublicKey)> = LazyLock::new(|| {
    let signer = Signer::with_512_bits();
    let public = signer.public();
    (signer, public)
});

/// Signs and verifies a callback with the test key.
fn signed(content_type: &str, body: impl Into<Vec<u8>>) -> VerifiedCallback {
    let body = body.into();
    let (signer, public) = &*SIGNER;
    let request = signer.builder("/oss/callback", content_type, &body);
    verify(request, public, body.into())
}

/// The body of the samples, which names the object `filename`.
#[test]
fn issue_18_line_11_the_names_of_the_samples() {
    let form = "filename=user%2Fa.png&size=5&mimeType=image%2Fpng&height=7&width=9&format=png";
    let json = r#"{"filename":"user/a.png","size":5,"mimeType":"image/png","height":7,"width":9,"format":"png"}"#;
    for (content_type, body) in [(FORM, form), (JSON, json)] {
        let callback = signed(content_type, body);
        assert_eq!(callback.event().unwrap().object(), None);
        let event = callback.event_of_sample().unwrap();
        assert_eq!(event.object(), Some("user/a.png"));
        assert_eq!(
            (event.size(), event.mime_type()),
            (Some(5), Some("image/png"))
        );
        assert_eq!(
            (event.image_height(), event.image_width()),
            (Some(7), Some(9))
        );
        assert_eq!(event.image_format(), Some("png"));
    }
    let sample = |body: &str| signed(FORM, body).event_of_sample();
    // A text file has no image.
    let event = sample("filename=a.txt&height=&width=").unwrap();
    assert_eq!(
        (event.object(), event.image_height()),
        (Some("a.txt"), None)
    );
    // A variable under its own name wins, in either order.
    for body in ["filename=a&object=b", "object=b&filename=a"] {
        assert_eq!(sample(body).unwrap().object(), Some("b"));
    }
    for case in Case::genuine() {
        let callback = genuine(&case);
        let expected = callback.event().unwrap();
        let event = callback.event_of_sample().unwrap();
        assert_eq!(event.size(), expected.size());
        assert!(
            event.object().is_some() || !case.body.contains("filename="),
            "{}",
            case.body
        );
    }
    let error = sample("filename=a&height=tall").unwrap_err();
    assert_eq!(
        (kind_of(&error), error.field()),
        (EventErrorKind::Mismatch, Some("height"))
    );
    let error = sample("filename=a&filename=b").unwrap_err();
    assert_eq!(kind_of(&error), EventErrorKind::DuplicateField);
    let error = sample("filename=${object}").unwrap_err();
    assert!(matches!(error, EventError::Unsubstituted { .. }), "{error}");
}

fn event(content_type: &str, body: &str) -> UploadEvent {
    signed(content_type, body).event().unwrap()
}

/// The variant of an error.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum EventErrorKind {
    NotUtf8,
    NotJson,
    DuplicateField,
    Mismatch,
}

fn kind_of(error: &EventError) -> EventErrorKind {
    match error {
        EventError::NotUtf8 { .. } => EventErrorKind::NotUtf8,
        EventError::NotJson { .. } => EventErrorKind::NotJson,
        EventError::DuplicateField { .. } => EventErrorKind::DuplicateField,
        EventError::Mismatch { .. } => EventErrorKind::Mismatch,
        _ => unreachable!("{error}"),
    }
}

/// Returns the error of `event`, and asserts that `event_as` returns the same.
#[track_caller]
fn refused(content_type: &str, body: impl Into<Vec<u8>>) -> EventError {
    let callback = signed(content_type, body);
    let error = callback.event().unwrap_err();
    let same = callback.event_as::<BTreeMap<String, Value>>().unwrap_err();
    assert_eq!(
        (kind_of(&error), error.field(), error.offset()),
        (kind_of(&same), same.field(), same.offset())
    );
    error
}

#[track_caller]
fn assert_error(error: &EventError, kind: EventErrorKind, field: Option<&str>, offset: usize) {
    assert_eq!(
        (kind_of(error), error.field(), error.offset()),
        (kind, field, Some(offset)),
        "{error}"
    );
}

#[derive(Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "camelCase")]
struct Sample {
    filename: String,
    size: u64,
    mime_type: Option<String>,
    height: Option<u32>,
    width: Option<u32>,
}

mod genuine_callbacks {
    use super::*;

    #[test]
    fn the_official_example() {
        let callback = genuine(&Case::named("official-doc-index-php"));
        let event = callback.event().unwrap();
        assert_eq!(event.bucket(), Some("yonghu-test"));
        assert_eq!(event.object(), None);
    }

    #[test]
    fn json_of_names_of_its_own() {
        #[derive(Debug, Deserialize, Eq, PartialEq)]
        struct Cloudreve {
            name: String,
            source_name: String,
            size: u64,
            pic_info: String,
        }
        let callback = genuine(&Case::named("cloudreve-v3-json"));
        assert_eq!(
            callback.event_as::<Cloudreve>().unwrap(),
            Cloudreve {
                name: "2f7b2ccf30e9270ea920f1ab8a4037a546a2f0d5.jpg".into(),
                source_name: "1/1_hFRtDLgM_2f7b2ccf30e9270ea920f1ab8a4037a546a2f0d5.jpg".into(),
                size: 114_020,
                pic_info: "810,539".into(),
            }
        );
        assert_eq!(callback.event().unwrap().size(), Some(114_020));
    }

    /// A form template that was sent with the JSON body type: OSS quoted the strings.
    #[test]
    fn a_form_with_the_quotes_of_json() {
        let case = Case::named("iosoon-literal-quotes-form");
        let callback = genuine_as(&case, FORM);
        let event = callback.event().unwrap();
        assert_eq!(event.size(), Some(5385));
        assert_eq!(event.mime_type(), Some("\"application/octet-stream\""));
        assert_eq!(
            callback.event_as::<Sample>().unwrap(),
            Sample {
                filename: "\"local/var/www/zhuye.png\"".into(),
                size: 5385,
                mime_type: Some("\"application/octet-stream\"".into()),
                height: Some(256),
                width: Some(256),
            }
        );

        let callback = genuine_as(&case, JSON);
        let error = callback.event().unwrap_err();
        assert_error(&error, EventErrorKind::NotJson, None, 1);
        let error = callback.event_as::<Sample>().unwrap_err();
        assert_error(&error, EventErrorKind::NotJson, None, 1);
        assert_eq!(callback.body(), &case.body);
    }

    #[test]
    fn every_one_is_read() {
        for case in Case::genuine() {
            genuine(&case).event().unwrap();
        }
    }
}

/// The same template as form and JSON, with a value for every variable.
#[test]
fn every_variable_in_both_body_types() {
    let values = |variable| match variable {
        SystemVariable::Bucket => "examplebucket",
        SystemVariable::Object => "user/1/照片 1+.jpg",
        SystemVariable::Etag => "D8E8FCA2DC0F896FD7CB4CB0031BA249",
        SystemVariable::Size => "18446744073709551615",
        SystemVariable::MimeType => "image/jpeg",
        SystemVariable::ImageHeight => "539",
        SystemVariable::ImageWidth => "810",
        SystemVariable::ImageFormat => "jpg",
        SystemVariable::Crc64 => "11051210869376104954",
        SystemVariable::ContentMd5 => "2Oj8otwPiW/Xy0ywAxuiSQ==",
        SystemVariable::VpcId => "vpc-1",
        SystemVariable::ClientIp => "192.0.2.1",
        SystemVariable::ReqId => "5CF3E78200000000000000AA",
        SystemVariable::Operation => "PostObject",
        _ => unreachable!("a variable without a test"),
    };
    let form: Vec<String> = SystemVariable::ALL
        .map(|variable| format!("{variable}={}", encoded(values(variable))))
        .into();
    let form = event(FORM, &format!("{}&x%3Auid=7", form.join("&")));
    let members: Vec<String> = SystemVariable::ALL
        .map(|variable| match variable {
            SystemVariable::Size | SystemVariable::ImageHeight | SystemVariable::ImageWidth => {
                format!("\"{variable}\":{}", values(variable))
            }
            _ => format!("\"{variable}\":{}", json!(values(variable))),
        })
        .into();
    let json = event(JSON, &format!("{{{},\"x:uid\":\"7\"}}", members.join(",")));
    assert_eq!(form, json);

    assert_eq!(json.bucket(), Some("examplebucket"));
    assert_eq!(json.object(), Some("user/1/照片 1+.jpg"));
    assert_eq!(json.etag(), Some("D8E8FCA2DC0F896FD7CB4CB0031BA249"));
    assert_eq!(json.size(), Some(u64::MAX));
    assert_eq!(json.mime_type(), Some("image/jpeg"));
    assert_eq!(json.image_height(), Some(539));
    assert_eq!(json.image_width(), Some(810));
    assert_eq!(json.image_format(), Some("jpg"));
    assert_eq!(json.crc64(), Some(11_051_210_869_376_104_954));
    assert_eq!(json.content_md5(), Some("2Oj8otwPiW/Xy0ywAxuiSQ=="));
    assert_eq!(json.vpc_id(), Some("vpc-1"));
    assert_eq!(json.client_ip(), Some("192.0.2.1"));
    assert_eq!(json.req_id(), Some("5CF3E78200000000000000AA"));
    assert_eq!(json.operation(), Some("PostObject"));
    assert_eq!(json.custom("uid"), Some("7"));

    // The documentation does not state whether `crc64` is a number, so both forms are accepted.
    assert_eq!(event(JSON, r#"{"crc64":7}"#).crc64(), Some(7));
}

#[test]
fn everything_empty_in_both_body_types() {
    let form = SystemVariable::ALL.map(|variable| format!("{variable}="));
    let form = event(FORM, &format!("{}&x:uid=&x:flag", form.join("&")));
    assert_eq!(form, UploadEvent::default());
    assert_eq!(form.custom("uid"), None);

    for nothing in ["", " ", "null", "\"\""] {
        let members = SystemVariable::ALL.map(|variable| format!("\"{variable}\":{nothing}"));
        let body = format!("{{{},\"x:uid\":null}}", members.join(","));
        assert_eq!(event(JSON, &body), UploadEvent::default(), "{body}");
    }
    for (content_type, body) in [
        (FORM, ""),
        (FORM, "&&"),
        (FORM, "put-object-callback"),
        (JSON, "{}"),
    ] {
        assert_eq!(event(content_type, body), UploadEvent::default());
    }
}

/// As in a capture outside of the catalogue: `imageInfo` as one variable, for an object that is not
/// an image.
#[test]
fn null_for_what_is_no_image() {
    let body = r#"{"bucket":"post-test","object":"a.txt","size":12,"imageInfo":null,"x:uid":"7"}"#;
    let event = event(JSON, body);
    assert_eq!((event.size(), event.image_height()), (Some(12), None));
}

#[test]
fn numbers_that_oss_leaves_out() {
    #[derive(Debug, Deserialize, PartialEq)]
    struct Image {
        #[serde(rename = "imageInfo.height")]
        height: Option<u32>,
        #[serde(rename = "imageInfo.width")]
        width: Option<u32>,
        #[serde(rename = "imageInfo.format")]
        format: Option<String>,
        note: String,
        nested: Nested,
    }
    #[derive(Debug, Deserialize, PartialEq)]
    struct Nested {
        size: Option<u64>,
    }

    let body = r#"{"imageInfo.height":,"imageInfo.format":null,"note":"\":,\":}","nested":{"size":}, "imageInfo.width": }"#;
    let callback = signed(JSON, body);
    let event = callback.event().unwrap();
    assert_eq!((event.image_height(), event.image_width()), (None, None));
    assert_eq!(
        callback.event_as::<Image>().unwrap(),
        Image {
            height: None,
            width: None,
            format: None,
            note: "\":,\":}".into(),
            nested: Nested { size: None },
        }
    );
    // The repair of missing values applies only to members. In arrays it would hide lost elements.
    for body in ["[,]", "[1,]", "{\"a\":[,]}", "{,}", "{\"a\":", "{\"a\":1,}"] {
        let error = signed(JSON, body).event_as::<Value>().unwrap_err();
        assert_eq!(kind_of(&error), EventErrorKind::NotJson, "{body}");
    }
}

#[test]
fn empty_values_of_a_form() {
    #[derive(Debug, Deserialize, PartialEq)]
    struct Wrapped(Option<Pixels>);
    #[derive(Debug, Deserialize, PartialEq)]
    struct Pixels(u32);
    #[derive(Debug, Deserialize, PartialEq)]
    struct Upload {
        height: Option<u32>,
        width: Wrapped,
        note: Option<String>,
        text: String,
        absent: Option<String>,
    }
    let empty = signed(FORM, "height=&width=&note=&text=").event_as::<Upload>();
    let upload = Upload {
        height: None,
        width: Wrapped(None),
        note: None,
        text: String::new(),
        absent: None,
    };
    assert_eq!(empty.unwrap(), upload);

    let full = signed(FORM, "height=1&width=2&note=n&text=t").event_as::<Upload>();
    let upload = Upload {
        height: Some(1),
        width: Wrapped(Some(Pixels(2))),
        note: Some("n".into()),
        text: "t".into(),
        absent: None,
    };
    assert_eq!(full.unwrap(), upload);

    let error = signed(FORM, "text=&height=").event_as::<BTreeMap<String, u32>>();
    assert_error(
        &error.unwrap_err(),
        EventErrorKind::Mismatch,
        Some("text"),
        0,
    );
}

#[test]
fn types_that_a_form_can_fill() {
    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        Avatar,
        Other,
    }
    #[derive(Debug, Deserialize, PartialEq)]
    struct Upload {
        kind: Kind,
        public: bool,
        rate: f64,
        letter: char,
        big: u128,
        small: i8,
        #[serde(rename = "x:uid")]
        uid: String,
    }
    #[derive(Debug, Deserialize, PartialEq)]
    struct Newtype(Upload);

    let body = "kind=avatar&public=true&rate=0.5&letter=%C3%A9&big=9&small=-8&x%3auid=a+b%20c%2B";
    let upload = Upload {
        kind: Kind::Avatar,
        public: true,
        rate: 0.5,
        letter: 'é',
        big: 9,
        small: -8,
        uid: "a b c+".into(),
    };
    let callback = signed(FORM, body);
    assert_eq!(
        callback.event_as::<Option<Newtype>>().unwrap(),
        Some(Newtype(upload))
    );
    callback.event_as::<serde::de::IgnoredAny>().unwrap();

    let error = signed(FORM, "a=1&kind=none").event_as::<BTreeMap<String, Kind>>();
    assert_error(&error.unwrap_err(), EventErrorKind::Mismatch, Some("a"), 0);
    let error = signed(FORM, "a=other&b=1").event_as::<BTreeMap<String, Kind>>();
    assert_error(&error.unwrap_err(), EventErrorKind::Mismatch, Some("b"), 8);
}

#[test]
fn the_sample_body() {
    let body = "filename=user%2F1%2Fa%20b.txt&size=12&mimeType=text%2Fplain&height=&width=";
    let callback = signed(FORM, body);
    assert_eq!(
        callback.event_as::<Sample>().unwrap(),
        Sample {
            filename: "user/1/a b.txt".into(),
            size: 12,
            mime_type: Some("text/plain".into()),
            height: None,
            width: None,
        }
    );
    let event = callback.event().unwrap();
    assert_eq!((event.object(), event.size()), (None, Some(12)));
    assert_eq!(event.mime_type(), Some("text/plain"));
}

#[test]
fn custom_variables() {
    for (content_type, body) in [
        (
            FORM,
            "x:uid=7&x:x:uid=8&X:uid=9&uid=10&x%3A%E9%94%AE=%E5%80%BC&x:=e",
        ),
        (
            JSON,
            r#"{"x:uid":"7","x:x:uid":"8","X:uid":"9","uid":10,"x:\u952e":"值","x:":"e"}"#,
        ),
    ] {
        let event = event(content_type, body);
        let all: Vec<_> = event.custom_variables().collect();
        assert_eq!(
            all,
            [
                ("x:", "e"),
                ("x:uid", "7"),
                ("x:x:uid", "8"),
                ("x:键", "值")
            ]
        );
        for (name, value) in all {
            assert_eq!(event.custom(name), Some(value));
        }
        assert_eq!(event.custom("uid"), Some("7"));
        assert_eq!(event.custom("键"), Some("值"));
        assert_eq!((event.custom("UID"), event.custom("none")), (None, None));
    }
}

#[test]
fn other_fields_do_no_harm() {
    let deep = format!("{}{}", "[".repeat(40_000), "]".repeat(40_000));
    for other in [
        "1e999",
        "-1",
        "true",
        r#"{"size":1,"size":2}"#,
        r#""\ud800""#,
        &deep,
    ] {
        let body = format!(r#"{{"other":{other},"size":7,"Size":"x"}}"#);
        assert_eq!(event(JSON, &body).size(), Some(7));
    }
    assert_eq!(event(FORM, "other&=1&size=7&Size=x&%zz=%").size(), Some(7));
}

mod names_that_stand_twice {
    use super::*;

    #[track_caller]
    fn twice(content_type: &str, body: &str, name: &str, offset: usize) {
        let error = refused(content_type, body);
        assert_error(&error, EventErrorKind::DuplicateField, Some(name), offset);
    }

    #[test]
    fn in_a_form() {
        twice(FORM, "size=1&size=1", "size", 7);
        twice(FORM, "object=a&size=1&%6Fbject=b", "object", 16);
        twice(FORM, "x:uid=1&x%3Auid=2", "x:uid", 8);
        twice(FORM, "a=1&&a", "a", 5);
        twice(FORM, "a+b=1&a%20b=2", "a b", 6);
        twice(FORM, "=1&=2", "", 3);
    }

    #[test]
    fn in_json() {
        twice(JSON, r#"{"size":1,"size":1}"#, "size", 15);
        twice(JSON, r#"{"object":"a","\u006fbject":"b"}"#, "object", 26);
        twice(JSON, r#"{"x:uid":"1","x\u003Auid":"2"}"#, "x:uid", 24);
        twice(JSON, r#"{"size":,"a":1,"size":2}"#, "size", 20);
        twice(JSON, "{\"a\":,\n\"b\":,\n\"a\":}", "a", 15);
        twice(JSON, r#"  {"":1,"":2}"#, "", 9);
    }

    #[test]
    fn the_ticket_too() {
        twice(
            FORM,
            &format!("{TICKET_FIELD}=a&x:%74icket=b"),
            TICKET_FIELD,
            11,
        );
        twice(
            JSON,
            r#"{"x:ticket":"a","x:\u0074icket":"b"}"#,
            TICKET_FIELD,
            30,
        );
    }

    /// Names that differ, and nested JSON, do not count as repeated.
    #[test]
    fn unless_they_differ_or_lie_deeper() {
        for (content_type, body) in [
            (FORM, "size=1&Size=2&size%20=3&%2573ize=4"),
            (
                JSON,
                r#"{"size":1,"Size":2,"size ":3,"\\u0073ize":4,"a":{"size":5,"size":6}}"#,
            ),
        ] {
            assert_eq!(event(content_type, body).size(), Some(1));
        }
    }

    #[test]
    fn also_those_a_type_does_not_ask_for() {
        #[derive(Debug, Deserialize)]
        struct Nothing {}
        for (content_type, body) in [(FORM, "a=1&a=1"), (JSON, r#"{"a":1,"a":1}"#)] {
            let error = signed(content_type, body)
                .event_as::<Nothing>()
                .unwrap_err();
            assert_eq!(kind_of(&error), EventErrorKind::DuplicateField);
        }
    }
}

mod errors {
    use super::*;

    #[test]
    fn bytes_that_are_not_utf_8() {
        let kind = EventErrorKind::NotUtf8;
        // Two characters in GBK ("photo").
        let error = refused(FORM, "size=1&object=%D5%D5%C6%AC&x:a=1");
        assert_error(&error, kind, Some("object"), 7);
        assert_error(&refused(FORM, b"a=1&b=\xff"), kind, Some("b"), 4);
        assert_error(&refused(FORM, "%ff=1"), kind, Some("\u{fffd}"), 0);
        // A character split between name and value.
        assert_error(&refused(FORM, "%C3=%A9"), kind, Some("\u{fffd}"), 0);
        assert_error(&refused(JSON, b"{\"a\":\"\xd5\"}"), kind, None, 6);
        // The replacement character itself is valid.
        assert_eq!(event(FORM, "object=%EF%BF%BD").object(), Some("\u{fffd}"));
    }

    #[test]
    fn what_is_no_json() {
        let kind = EventErrorKind::NotJson;
        for (body, offset) in [
            ("", 0),
            ("put-object-callback", 0),
            ("{\"size\":1}x", 10),
            ("{\"size\":1,}", 10),
            ("{\"size\":}}", 9),
            ("{\"a\":,\"b\":,\"c\" 1}", 15),
            ("{\"a\":,\n\"b\":,\n\"c\" 1}", 17),
            ("{\"object\":\"\"a\"\"}", 12),
            ("{size:1}", 1),
            ("\u{feff}{}", 0),
            ("{\"a\":\"\n\"}", 5),
            ("{\"a\":1}\n\nx", 9),
            ("{\"a\":1\n", 6),
        ] {
            assert_error(&refused(JSON, body), kind, None, offset);
        }
        let error = refused(JSON, "{\"a\":,\"b\" 1}");
        assert_eq!(
            error.to_string(),
            "the callback body is not JSON, although its content type is; check callbackBody, and \
             put no quotes around its variables: byte 10"
        );
        assert_eq!(error.source().unwrap().to_string(), "expected `:`");
    }

    #[test]
    fn variables_that_are_not_of_their_kind() {
        for (content_type, body, field, offset) in [
            (FORM, "bucket=b&size=large", "size", 9),
            (FORM, "size=-1", "size", 0),
            (FORM, "size=%2B1", "size", 0),
            (FORM, "size=1+", "size", 0),
            (FORM, "size=18446744073709551616", "size", 0),
            (FORM, "imageInfo.width=4294967296", "imageInfo.width", 0),
            (JSON, r#"{"size":1.5}"#, "size", 10),
            (JSON, r#"{"size":-1}"#, "size", 9),
            (JSON, r#"{"size":"1e3"}"#, "size", 12),
            (
                JSON,
                r#"{"imageInfo.height":4294967296}"#,
                "imageInfo.height",
                29,
            ),
            (JSON, r#"{"bucket":1}"#, "bucket", 10),
            (JSON, r#"{"imageInfo.width":,"x:a":true}"#, "x:a", 29),
        ] {
            let error = signed(content_type, body).event().unwrap_err();
            assert_error(&error, EventErrorKind::Mismatch, Some(field), offset);
        }
        for body in ["[]", "1", "null", "\"size=1\""] {
            let error = signed(JSON, body).event().unwrap_err();
            assert_eq!(
                (kind_of(&error), error.field()),
                (EventErrorKind::Mismatch, None)
            );
        }
        let error = signed(FORM, "size=large").event().unwrap_err();
        assert_eq!(
            error.to_string(),
            "the callback body does not match the type it is deserialized into; compare its fields \
             with callbackBody: field \"size\", byte 0"
        );
        assert_eq!(
            error.source().unwrap().to_string(),
            "invalid value: string \"large\", expected an unsigned 64-bit integer"
        );
    }

    #[test]
    fn types_that_do_not_fit() {
        let kind = EventErrorKind::Mismatch;
        let error = signed(FORM, "size=1").event_as::<Sample>().unwrap_err();
        assert_eq!(
            (kind_of(&error), error.field(), error.offset()),
            (kind, None, None)
        );
        assert_eq!(
            error.source().unwrap().to_string(),
            "missing field `filename`"
        );

        let error = signed(JSON, r#"{"filename":"a","size":"1"}"#).event_as::<Sample>();
        assert_error(&error.unwrap_err(), kind, Some("size"), 25);
        let error = signed(FORM, "filename=a&size=")
            .event_as::<Sample>()
            .unwrap_err();
        assert_error(&error, kind, Some("size"), 11);

        type Nested = BTreeMap<String, BTreeMap<String, Vec<u8>>>;
        let error = signed(JSON, "{\"a\":{\"b\":[1,\n256]}}").event_as::<Nested>();
        assert_error(&error.unwrap_err(), kind, Some("a.b[1]"), 16);
    }

    /// Body content must neither forge nor flood log lines.
    #[test]
    fn what_they_repeat_is_escaped_and_cut() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Nothing {}
        let hostile = format!("a\r\nroot: \u{202e}\u{1b}[2J{}", "é".repeat(10_000));
        let json = json!({ hostile.clone(): 1 }).to_string();
        let form = format!("{}=1", encoded(&hostile));
        for (content_type, body) in [(JSON, json), (FORM, form)] {
            let error = signed(content_type, body)
                .event_as::<Nothing>()
                .unwrap_err();
            let cause = error.source().unwrap();
            for text in [
                error.to_string(),
                cause.to_string(),
                format!("{error:?}{cause:?}"),
            ] {
                assert!(text.len() < 1_500, "{}", text.len());
                assert!(!text.contains(['\r', '\n', '\u{202e}', '\u{1b}']), "{text}");
            }
            assert!(
                cause.to_string().starts_with("unknown field `a\\r\\nroot"),
                "{cause}"
            );
        }
    }

    #[test]
    fn depth_does_not_overflow_the_stack() {
        let depth = 100_000;
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let whole = format!("{}{}", open.repeat(depth), close.repeat(depth));
            let half = open.repeat(depth);
            for deep in [&whole, &half] {
                for body in [deep.clone(), format!("{{\"a\":{deep}}}")] {
                    let callback = signed(JSON, body);
                    callback.event_as::<Value>().unwrap_err();
                    let _ = callback.event();
                }
            }
        }
    }
}

#[test]
fn debug_hides_custom_values() {
    let event = event(FORM, "bucket=b&x:ticket=canary&object=a%0A%E2%80%AE");
    let text = format!("{event:?} {event:#?}");
    assert!(text.contains("x:ticket") && !text.contains("canary"));
    assert!(text.contains(r#""a\n\u{202e}""#), "{text}");
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// Generates texts that contain the syntax of forms and JSON.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            ":,", ":}", "\":,\"", "\\", "\"", "{", "}", "&", "=", "+", "%", "%20", "\\u0061", "x:",
            "\0",
        ])
        .prop_map(str::to_owned),
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    /// The JSON that OSS produces: bare or missing numbers, and quoted strings.
    #[test]
    fn an_object_broken_at_empty_numbers_reads_back(
        members in prop::collection::btree_map(text(), (any::<Option<u64>>(), text()), 0..8),
        space in prop::sample::select(vec!["", " ", "\n", "\r\n\t"]),
    ) {
        let broken: Vec<String> = members
            .iter()
            .flat_map(|(name, (number, string))| {
                let number = number.map(|n| n.to_string()).unwrap_or_default();
                [
                    format!("{}:{space}{number}{space}", json!(format!("n{name}"))),
                    format!("{}:{}", json!(format!("s{name}")), json!(string)),
                ]
            })
            .collect();
        let expected: Value = members
            .iter()
            .flat_map(|(name, (number, string))| {
                [(format!("n{name}"), json!(number)), (format!("s{name}"), json!(string))]
            })
            .collect();
        for broken in [broken.join(","), broken.iter().rev().cloned().collect::<Vec<_>>().join(",")] {
            let callback = signed(JSON, format!("{{{broken}}}"));
            prop_assert_eq!(callback.event_as::<Value>().unwrap(), expected.clone());
            callback.event().unwrap();
        }
    }

    /// The same fields read as equal events in both body types.
    #[test]
    fn form_and_json_agree(
        object in text(),
        size in any::<Option<u64>>(),
        custom in prop::collection::btree_map(text(), text(), 0..8),
    ) {
        let size = size.map(|n| n.to_string()).unwrap_or_default();
        let mut form = format!("size={size}&object={}", encoded(&object));
        let mut members = format!("\"size\":{size},\"object\":{}", json!(object));
        for (name, value) in &custom {
            let name = format!("x:{name}");
            form += &format!("&{}={}", encoded(&name), encoded(value).replace("%20", "+"));
            members += &format!(",{}:{}", json!(name), json!(value));
        }
        let form = event(FORM, &form);
        prop_assert_eq!(&form, &event(JSON, &format!("{{{members}}}")));
        prop_assert_eq!(form.object().unwrap_or_default(), object);
        for (name, value) in &custom {
            prop_assert_eq!(form.custom(&format!("x:{name}")).unwrap_or_default(), value);
        }
    }

    #[test]
    fn nothing_panics(body in prop::collection::vec(any::<u8>(), 0..256)) {
        reads_or_not(&body);
    }

    #[test]
    fn nothing_panics_on_pieces_of_json(pieces in prop::collection::vec(text(), 0..8)) {
        reads_or_not(pieces.concat().as_bytes());
        reads_or_not(format!("{{{}", pieces.concat()).as_bytes());
        reads_or_not(format!("{{\"{}\":1}}", pieces.concat()).as_bytes());
    }
}

fn reads_or_not(body: &[u8]) {
    for content_type in [FORM, JSON] {
        let callback = signed(content_type, body);
        let errors = [callback.event().err(), callback.event_as::<Value>().err()];
        for error in errors.into_iter().flatten() {
            assert!(error.offset().is_none_or(|at| at <= body.len()));
            assert!(!error.to_string().contains(char::is_control));
        }
    }
}
