//! Round trips of callback directives: OSS, as modeled in `support`, fills in the template, and the
//! layer reads the result.

use std::{
    collections::{BTreeMap, HashMap},
    sync::LazyLock,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use proptest::prelude::*;
use serde_json::Value;
use tower_aliyun_oss::{
    callback::{CallbackVerifier, UploadEvent, VerifiedCallback, VerifierConfig},
    key::PublicKey,
    policy::{CallbackDirective, CallbackDirectiveError, CallbackTemplate, FieldProblem},
    protocol::{CallbackBodyType, SystemVariable},
};

use crate::support::Signer;
use crate::support::oss::{HABITS, Habits, Oss};

static SIGNER: LazyLock<(Signer, PublicKey)> = LazyLock::new(|| {
    let signer = Signer::with_512_bits();
    let public = signer.public();
    (signer, public)
});

/// Simulates an upload with this directive, and returns the verified callback.
fn upload(
    directive: &CallbackDirective,
    system: &HashMap<SystemVariable, String>,
    habits: Habits,
) -> VerifiedCallback {
    let parameters = STANDARD.decode(directive.encoded()).unwrap();
    let parameters: Value = serde_json::from_slice(&parameters).unwrap();
    let content_type = parameters["callbackBodyType"].as_str().unwrap();
    let oss = Oss {
        body_type: CallbackBodyType::from_header(content_type.as_bytes()).unwrap(),
        system,
        // The policy pins these form fields.
        custom: directive.variables().collect(),
        habits,
    };
    let body = oss.fill(parameters["callbackBody"].as_str().unwrap());

    let (signer, public) = &*SIGNER;
    let request = signer.builder(directive.target().as_str(), content_type, body.as_bytes());
    let (parts, ()) = request.body(()).unwrap().into_parts();
    // Without tickets, nothing else names an ambiguous path of a callback URL.
    let rules = VerifierConfig::new()
        .body_limit(1 << 20)
        .dangerous_accept_ambiguous_targets();
    let mut preflight = CallbackVerifier::check(&parts, &rules).unwrap();
    preflight.update(body.into()).unwrap();
    preflight.verify(public).unwrap()
}

fn directive(body: CallbackTemplate) -> CallbackDirective {
    CallbackDirective::new("https://app.example/oss/callback")
        .and_then(|directive| directive.body(body))
        .unwrap()
}

/// Returns the value of a variable in an event, as text.
fn said(event: &UploadEvent, variable: SystemVariable) -> Option<String> {
    let text = |text: Option<&str>| text.map(str::to_owned);
    match variable {
        SystemVariable::Bucket => text(event.bucket()),
        SystemVariable::Object => text(event.object()),
        SystemVariable::Etag => text(event.etag()),
        SystemVariable::Size => event.size().map(|n| n.to_string()),
        SystemVariable::MimeType => text(event.mime_type()),
        SystemVariable::ImageHeight => event.image_height().map(|n| n.to_string()),
        SystemVariable::ImageWidth => event.image_width().map(|n| n.to_string()),
        SystemVariable::ImageFormat => text(event.image_format()),
        SystemVariable::Crc64 => event.crc64().map(|n| n.to_string()),
        SystemVariable::ContentMd5 => text(event.content_md5()),
        SystemVariable::VpcId => text(event.vpc_id()),
        SystemVariable::ClientIp => text(event.client_ip()),
        SystemVariable::ReqId => text(event.req_id()),
        SystemVariable::Operation => text(event.operation()),
        _ => unreachable!("a variable without a test"),
    }
}

/// Generates texts that contain the syntax of templates, forms and JSON.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "$",
            "${",
            "}",
            "{",
            "${object}",
            "$(object)",
            "%24%7Bobject%7D",
            "\\u0024",
            "\\$",
            "\"",
            "\\",
            "&",
            "=",
            "+",
            "%",
            " ",
            "\r\n",
            ":,",
            ":}",
            ",",
            "\0",
            "x:",
            "\u{202e}",
            "\u{2028}",
            "\u{feff}",
        ])
        .prop_map(str::to_owned),
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

/// Generates a value for each system variable.
fn values() -> impl Strategy<Value = HashMap<SystemVariable, String>> {
    let value = |variable| match variable {
        SystemVariable::Size | SystemVariable::Crc64 => prop_oneof![
            4 => any::<u64>().prop_map(|n| n.to_string()),
            1 => Just(String::new()),
        ]
        .boxed(),
        SystemVariable::ImageHeight | SystemVariable::ImageWidth => prop_oneof![
            1 => any::<u32>().prop_map(|n| n.to_string()),
            1 => Just(String::new()),
        ]
        .boxed(),
        // Without a ticket, a placeholder is an error (RP-24).
        SystemVariable::Object => text()
            .prop_map(|text| if text == "${object}" { "$" } else { &text }.to_owned())
            .boxed(),
        _ => text().boxed(),
    };
    let values: Vec<_> = SystemVariable::ALL
        .into_iter()
        .map(|variable| value(variable).prop_map(move |value| (variable, value)))
        .collect();
    values.prop_map(|values| values.into_iter().collect())
}

/// How a body field is defined.
#[derive(Clone, Debug)]
enum Field {
    /// Uses the default name.
    Own(SystemVariable),
    Renamed(String, SystemVariable),
    Custom(String, String),
    Constant(String, String),
}

fn field() -> impl Strategy<Value = Field> {
    let variable = prop::sample::select(SystemVariable::ALL.to_vec());
    // Few and short names make collisions likely.
    let name = "[a-cA-C_.:-]{1,2}";
    let custom = "x:[a-c0-1_.-]{1,2}";
    prop_oneof![
        variable.clone().prop_map(Field::Own),
        (name, variable).prop_map(|(name, variable)| Field::Renamed(name, variable)),
        (custom, text()).prop_map(|(name, value)| Field::Custom(name, value)),
        (prop_oneof![name, custom], text()).prop_map(|(name, value)| Field::Constant(name, value)),
    ]
}

proptest! {
    /// Each template either fails to build, or every field reads back with its value.
    #[test]
    fn what_a_template_makes_is_read_back(
        body_type in prop::sample::select(CallbackBodyType::ALL.to_vec()),
        fields in prop::collection::vec(field(), 1..12),
        system in values(),
        habits in prop::sample::select(HABITS.to_vec()),
    ) {
        let mut body = CallbackTemplate::new(body_type);
        let mut own = Vec::new();
        let mut texts = BTreeMap::new();
        let mut pinned = Vec::new();
        for field in fields {
            let (name, made, value, refusable) = match field {
                Field::Own(variable) => {
                    let name = variable.name().to_owned();
                    let made = body.clone().variable(&name, variable);
                    (name, made, system[&variable].clone(), false)
                }
                Field::Renamed(name, variable) => {
                    let made = body.clone().variable(&name, variable);
                    (name, made, system[&variable].clone(), false)
                }
                Field::Custom(name, value) => {
                    let made = body.clone().custom(&name, &value);
                    let refusable = value.contains("${") || value.contains(char::is_control);
                    if made.is_ok() {
                        pinned.push((name.clone(), value.clone()));
                    }
                    (name, made, value, refusable)
                }
                Field::Constant(name, value) => {
                    let made = body.clone().constant(&name, &value);
                    let refusable = value.contains("${");
                    (name, made, value, refusable)
                }
            };
            let twice = texts.contains_key(&name);
            prop_assert_eq!(made.is_err(), twice || refusable, "{:?}", made);
            if let Ok(made) = made {
                body = made;
                if let Some(variable) = SystemVariable::from_name(&name) {
                    own.push(variable);
                }
                texts.insert(name, value);
            }
        }
        prop_assume!(!texts.is_empty());

        let directive = directive(body);
        prop_assert_eq!(
            directive.variables().collect::<Vec<_>>(),
            pinned.iter().map(|(name, value)| (&**name, &**value)).collect::<Vec<_>>()
        );
        let callback = upload(&directive, &system, habits);
        prop_assert_eq!(callback.body_type(), body_type);
        let event = callback.event().unwrap();
        for variable in SystemVariable::ALL {
            let expected = own
                .contains(&variable)
                .then(|| system[&variable].clone())
                .filter(|value| !value.is_empty());
            prop_assert_eq!(said(&event, variable), expected, "{}", variable);
        }
        let custom = texts
            .iter()
            .filter(|(name, value)| name.starts_with("x:") && !value.is_empty())
            .map(|(name, value)| (&**name, &**value));
        prop_assert!(event.custom_variables().eq(custom));

        // The body contains exactly these fields, with these values.
        let all: BTreeMap<String, Option<Value>> = callback.event_as().unwrap();
        let read: BTreeMap<String, String> = all
            .into_iter()
            .map(|(name, value)| match value {
                Some(Value::String(text)) => (name, text),
                Some(number) => (name, number.to_string()),
                None => (name, String::new()),
            })
            .collect();
        prop_assert_eq!(read, texts);
    }

    #[test]
    fn the_standard_bodies_agree(system in values(), habits in prop::sample::select(HABITS.to_vec())) {
        let [form, json] = CallbackBodyType::ALL.map(|body_type| {
            let directive = directive(CallbackTemplate::standard(body_type));
            upload(&directive, &system, habits).event().unwrap()
        });
        for variable in SystemVariable::ALL {
            let expected = Some(system[&variable].clone()).filter(|value| !value.is_empty());
            prop_assert_eq!(said(&form, variable), expected);
        }
        prop_assert_eq!(form, json);
    }

    /// The layer accepts the path of every accepted URL, and OSS finds no placeholder in it.
    #[test]
    fn urls_that_are_taken_are_called(url in "https?://[a-z.:0-9$-]{1,9}(/[ -~é]{0,9})?") {
        let Ok(directive) = CallbackDirective::new(&url) else {
            return Ok(());
        };
        let fillable = url.contains("${");
        prop_assert!(!fillable && !url.contains(';'));
        let callback = upload(&directive, &HashMap::new(), HABITS[0]);
        prop_assert_eq!(callback.target(), directive.target());
    }
}

/// Neither constants nor values from OSS can add or change other fields.
#[test]
fn pl_09_nothing_breaks_out_of_a_body() {
    let hostile = [
        "a\"b\\c",
        "\",\"size\":0,\"x:uid\":\"1",
        "&size=0&x:uid=1",
        "=&;",
        "a\nb\r\nc",
        "100% a+b",
        "\\u0026 &",
        "$",
        "$(object)",
        "US$5 {object}",
        "%24%7Bobject%7D",
        "</script>\0",
        "中文\u{202e}\u{2028}🦀",
        "",
    ];
    for text in hostile {
        for body_type in CallbackBodyType::ALL {
            let body = CallbackTemplate::standard(body_type)
                .constant("note", text)
                .and_then(|body| body.constant("x:note", text))
                .and_then(|body| body.custom("x:uid", "7"))
                .unwrap();
            let directive = directive(body);
            let system = HashMap::from([
                (SystemVariable::Object, format!("user/{text}")),
                (SystemVariable::Size, "12".to_owned()),
            ]);
            let callback = upload(&directive, &system, HABITS[0]);
            let event = callback.event().unwrap();
            assert_eq!(event.object().unwrap(), format!("user/{text}"));
            assert_eq!((event.size(), event.custom("uid")), (Some(12), Some("7")));
            assert_eq!(event.custom("note").unwrap_or_default(), text);
            let all: BTreeMap<String, Value> = callback.event_as().unwrap();
            assert_eq!(all.len(), SystemVariable::ALL.len() + 3);
            assert_eq!(all["note"], text, "{body_type}");
        }
    }
}

/// OSS is known not to decode `\u0026` for `&`, which the JSON encoder of Go writes.
#[test]
fn pl_09_the_parameters_are_written_without_unicode_escapes() {
    for body_type in CallbackBodyType::ALL {
        let every_byte: String = ('\0'..'\u{100}').filter(|&c| c != '{').collect();
        let body = CallbackTemplate::standard(body_type)
            .constant("note", &format!("{every_byte}中<>&'\u{2028}"))
            .unwrap();
        let directive = directive(body);
        let text = String::from_utf8(STANDARD.decode(directive.encoded()).unwrap()).unwrap();
        // The only escapes are `\\` and `\"`.
        let rest = text.replace("\\\\", "").replace("\\\"", "");
        assert!(!rest.contains('\\'), "{rest}");
    }
}

/// A user-chosen value never acts as a placeholder, neither in the template nor in the result.
#[test]
fn pl_10_a_placeholder_in_a_value_is_refused() {
    let refused = |field: &str| CallbackDirectiveError::Field {
        field: field.into(),
        problem: FieldProblem::Placeholder,
    };
    for text in [
        "${object}",
        "a${",
        "${x:uid}",
        "$${object}",
        "$\u{7b}bucket}",
        "${",
    ] {
        for body in [CallbackTemplate::form(), CallbackTemplate::json()] {
            let error = body.clone().constant("note", text).unwrap_err();
            assert_eq!(error, refused("note"));
            let error = body.custom("x:uid", text).unwrap_err();
            assert_eq!(error, refused("x:uid"));
            // The error does not repeat user input.
            assert!(!error.to_string().contains(text) || text == "${");
        }
        let url = format!("https://app.example/cb?user={text}");
        assert!(CallbackDirective::new(&url).is_err(), "{url}");
    }
    // Two adjacent harmless values do not combine into a placeholder.
    for body in [CallbackTemplate::form(), CallbackTemplate::json()] {
        let body = body
            .constant("a", "$")
            .and_then(|body| body.constant("b", "{object}"))
            .and_then(|body| body.custom("x:a", "$"))
            .unwrap();
        let system = HashMap::from([(SystemVariable::Object, "secret".to_owned())]);
        let callback = upload(&directive(body), &system, HABITS[0]);
        let all: BTreeMap<String, String> = callback.event_as().unwrap();
        assert!(all.values().map(String::as_str).eq(["$", "{object}", "$"]));
    }
    // OSS does not expand the object name a second time.
    let system = HashMap::from([(SystemVariable::Object, "${bucket}".to_owned())]);
    let body = CallbackTemplate::standard(CallbackBodyType::Json);
    let event = upload(&directive(body), &system, HABITS[0])
        .event()
        .unwrap();
    assert_eq!(event.object(), Some("${bucket}"));
}
