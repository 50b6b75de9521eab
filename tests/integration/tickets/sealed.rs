//! What one ticket can be turned into: RP-30 to RP-35.
//!
//! Its holder can upload to a bucket of their own, with any `callbackBody`, and OSS signs it. So
//! every body here is signed.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Mutex,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use proptest::prelude::*;
use serde_json::{Value, json};
use tower_aliyun_oss::{
    Credentials, Grant, OssUploads, Refusal,
    callback::{EventError, UploadEvent},
    policy::{CallbackDirective, CallbackDirectiveError, CallbackTemplate, PolicyError},
    protocol::{ReceivedName, SizeRange},
};

use super::*;
use crate::support::oss::{HABITS, Habits, Oss, Space};

const URL: &str = "https://app.example/oss/callback";
const FORM: CallbackBodyType = CallbackBodyType::Form;
const JSON: CallbackBodyType = CallbackBodyType::Json;

/// As short as the key of OSS: signing takes most of the time.
fn signer() -> CallbackSigner {
    CallbackSigner::from_pem(include_str!("../../keys/rsa_512.pem")).unwrap()
}

fn uploads(body: CallbackTemplate) -> OssUploads {
    let callback = CallbackDirective::new(URL).unwrap().body(body).unwrap();
    let credentials = Credentials::new("LTAI5tExample", "secret").unwrap();
    OssUploads::builder("examplebucket".parse().unwrap(), credentials)
        .region("cn-hangzhou".parse().unwrap())
        .ticket_key(key(1))
        .callback(callback)
        .build()
        .unwrap()
}

/// What a handler reads, in both ways.
#[derive(Clone, Debug)]
struct Seen {
    event: UploadEvent,
    fields: BTreeMap<String, Value>,
}

/// The callback route of an application, which notes what its handler reads.
struct App {
    layer: OssCallbackLayer,
    signer: CallbackSigner,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl App {
    fn new(uploads: &OssUploads) -> Self {
        let signer = signer();
        Self {
            layer: uploads.callback_layer().key_source(signer.key_source()),
            signer,
            seen: Arc::default(),
        }
    }

    /// Sends a body that OSS signs for somebody.
    fn send(&self, body_type: CallbackBodyType, body: &str) -> Outcome {
        let callback = self.signer.callback(TARGET).bucket("evilbucket");
        let callback = match body_type {
            FORM => callback.form(body.to_owned()),
            _ => callback.json(body.to_owned()),
        };
        let seen = Arc::clone(&self.seen);
        let handler = service_fn(move |request: Request<RequestBody<Full<Bytes>>>| {
            let callback: &VerifiedCallback = request.extensions().get().unwrap();
            seen.lock().unwrap().push(Seen {
                event: callback.event().unwrap(),
                // A body that no deserializer reads does no harm either.
                fields: callback.event_as().unwrap_or_default(),
            });
            ready(Ok::<_, Infallible>(Response::new(Full::from("{}"))))
        });
        let request: Request<Full<Bytes>> = callback.request().unwrap();
        now(send(self.layer.layer(handler), request))
    }

    #[track_caller]
    fn refuses(&self, body_type: CallbackBodyType, body: &str) -> TicketError {
        let outcome = self.send(body_type, body);
        assert_eq!(
            (outcome.status.as_u16(), outcome.kind()),
            (403, Some(CallbackErrorKind::OutsideGrant)),
            "{body}"
        );
        assert!(self.seen.lock().unwrap().is_empty(), "the handler ran");
        outcome.why().unwrap()
    }

    fn last(&self) -> Option<Seen> {
        self.seen.lock().unwrap().pop()
    }
}

/// The callback that one upload asks for.
struct Asked {
    template: String,
    body_type: CallbackBodyType,
}

impl Asked {
    fn new(encoded: &str) -> Self {
        let parameters: Value = serde_json::from_slice(&STANDARD.decode(encoded).unwrap()).unwrap();
        let text = |name: &str| parameters[name].as_str().unwrap().to_owned();
        let body_type = CallbackBodyType::from_header(text("callbackBodyType").as_bytes());
        Self {
            template: text("callbackBody"),
            body_type: body_type.unwrap(),
        }
    }

    fn fill(
        &self,
        system: &HashMap<SystemVariable, String>,
        custom: &[(String, String)],
        habits: Habits,
    ) -> String {
        let custom = custom.iter().map(|(name, value)| (&**name, &**value));
        let oss = Oss {
            body_type: self.body_type,
            system,
            custom: custom.collect(),
            habits,
        };
        oss.fill(&self.template)
    }
}

/// Splits a body that OSS filled in: names, and values as they are written.
fn split(body_type: CallbackBodyType, body: &str) -> Vec<(String, String)> {
    if body_type == FORM {
        let pairs = body.split('&').map(|pair| pair.split_once('=').unwrap());
        return pairs
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
    }
    let mut fields = Vec::new();
    let mut rest = &body[1..];
    while rest.len() > 1 {
        let (name, after) = rest[1..].split_once("\":").unwrap();
        let mut end = 0;
        if after.starts_with('"') {
            end = 1;
            while after.as_bytes()[end] != b'"' {
                end += if after.as_bytes()[end] == b'\\' { 2 } else { 1 };
            }
        }
        end += after[end..].find([',', '}']).unwrap();
        fields.push((name.to_owned(), after[..end].to_owned()));
        rest = &after[end..];
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
    fields
}

fn join(body_type: CallbackBodyType, fields: &[(String, String)]) -> String {
    let written = |(name, value): &(String, String)| match body_type {
        FORM => format!("{name}={value}"),
        _ => format!("\"{name}\":{value}"),
    };
    let written: Vec<_> = fields.iter().map(written).collect();
    match body_type {
        FORM => written.join("&"),
        _ => format!("{{{}}}", written.join(",")),
    }
}

fn system(object: &str) -> HashMap<SystemVariable, String> {
    let values = [
        (SystemVariable::Bucket, "examplebucket"),
        (SystemVariable::Object, object),
        (SystemVariable::Size, "5"),
        (SystemVariable::MimeType, "image/png"),
        (SystemVariable::Etag, "D41D8CD98F00B204E9800998ECF8427E"),
        (SystemVariable::ReqId, "5CF3E7820000000000000001"),
    ];
    values.map(|(name, value)| (name, value.to_owned())).into()
}

fn granted() -> Grant {
    let size = SizeRange::new(1, 1000).unwrap();
    Grant::exact("user/7/a.png".parse().unwrap(), size)
        .content_type("image/png".parse().unwrap())
        .variable("x:uid", "7")
}

async fn authorize(_: &http::request::Parts) -> Result<Grant, Refusal> {
    Ok(granted())
}

/// Returns the callback of a token, as a client gets it.
async fn token(uploads: &OssUploads) -> String {
    let request = Request::get("/oss/policy").body(Full::<Bytes>::default());
    let service = uploads.policy_service(authorize);
    let response = service.oneshot(request.unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let token: Value = serde_json::from_slice(&body).unwrap();
    token["fields"]["callback"].as_str().unwrap().to_owned()
}

/// One lawful token, and everything that its holder has OSS sign with it.
#[tokio::test]
async fn rp_30_one_ticket_cannot_be_turned_into_other_fields() {
    for body_type in [FORM, JSON] {
        let body = CallbackTemplate::new(body_type)
            .variable("filename", SystemVariable::Object)
            .and_then(|body| body.variable("height", SystemVariable::ImageHeight))
            .and_then(|body| body.constant("x:plan", "free"))
            .and_then(|body| body.constant("note", "a b"))
            .unwrap();
        let uploads = uploads(body);
        let own = uploads.callback_for(&granted()).unwrap();
        for encoded in [token(&uploads).await, own.encoded().to_owned()] {
            attack(&uploads, &Asked::new(&encoded));
        }
    }
}

fn attack(uploads: &OssUploads, asked: &Asked) {
    let body_type = asked.body_type;
    let text = |text: &str| match body_type {
        FORM => HABITS[0].form(text),
        _ => HABITS[0].json(text),
    };
    let app = App::new(uploads);
    let uid = [("x:uid".to_owned(), "7".to_owned())];
    let genuine = asked.fill(&system("user/7/a.png"), &uid, HABITS[0]);
    let fields = split(body_type, &genuine);
    assert_eq!(join(body_type, &fields), genuine);
    let find = |name: &str| fields.iter().position(|(other, _)| other == name).unwrap();

    // Another value, also of an alias.
    for (name, value) in [
        ("x:uid", "1"),
        ("x:uid", ""),
        ("x:uid", "7 "),
        ("x:plan", "enterprise"),
        ("x:plan", ""),
        ("note", "a+b"),
        ("filename", "user/1/passport.png"),
        ("filename", ""),
        ("object", "user/1/passport.png"),
        ("bucket", "evilbucket"),
        ("mimeType", "text/html"),
    ] {
        let mut forged = fields.clone();
        forged[find(name)].1 = text(value);
        app.refuses(body_type, &join(body_type, &forged));
    }
    // Everything else fits to the other name, as in the attack that this closes.
    let mut forged = fields.clone();
    for (name, value) in [
        ("x:uid", "1"),
        ("x:plan", "enterprise"),
        ("filename", "user/1/passport.png"),
    ] {
        forged[find(name)].1 = text(value);
    }
    let why = app.refuses(body_type, &join(body_type, &forged));
    assert_eq!(why, TicketError::Fields);

    for at in 0..fields.len() {
        let (name, value) = &fields[at];
        // Missing.
        let mut forged = fields.clone();
        forged.remove(at);
        if name != TICKET_FIELD {
            app.refuses(body_type, &join(body_type, &forged));
        }
        // Twice, side by side and at the end, with its value and another.
        for value in [value.clone(), text("1")] {
            for other in [at, fields.len()] {
                let mut forged = fields.clone();
                forged.insert(other, (name.clone(), value.clone()));
                if name != TICKET_FIELD {
                    app.refuses(body_type, &join(body_type, &forged));
                }
            }
        }
        // Renamed.
        for other in ["x:admin", "X:uid", "vpcId"] {
            let mut forged = fields.clone();
            forged[at].0 = other.into();
            if name != TICKET_FIELD {
                app.refuses(body_type, &join(body_type, &forged));
            }
        }
        // Added, in front of this one.
        for other in ["x:admin", "vpcId", "a"] {
            let mut forged = fields.clone();
            forged.insert(at, (other.into(), text("1")));
            app.refuses(body_type, &join(body_type, &forged));
        }
        // Swapped with another, with and without the names.
        for other in at + 1..fields.len() {
            let mut forged = fields.clone();
            forged.swap(at, other);
            app.refuses(body_type, &join(body_type, &forged));
            let mut forged = fields.clone();
            let value = forged[at].1.clone();
            forged[at].1 = std::mem::replace(&mut forged[other].1, value);
            let same = forged == fields || [at, other].contains(&find(TICKET_FIELD));
            let aliases = [find("object"), find("filename")];
            let reported = [find("reqId"), find("etag")];
            if !same
                && ![aliases, reported]
                    .iter()
                    .any(|both| both.contains(&at) && both.contains(&other))
            {
                app.refuses(body_type, &join(body_type, &forged));
            }
        }
    }
    // Another spelling of a name, and of the whole.
    let spelled = match body_type {
        FORM => vec![
            genuine.replace("x:uid", "x%3Auid"),
            genuine.replace("x:uid=", "+x:uid="),
            genuine.replace("&x:plan", "&&x:plan"),
            format!("{genuine}&"),
            format!("&{genuine}"),
            format!("{genuine}&x:admin"),
        ],
        _ => vec![
            genuine.replace("x:uid", "\\u0078:uid"),
            genuine.replace("\"x:uid\":", "\"x:uid\": "),
            genuine.replace("\"x:uid\":\"7\"", "\"x:uid\":7"),
            genuine.replace("\"x:uid\":\"7\"", "\"x:uid\":[\"7\"]"),
            genuine.replace("\"x:plan\":\"free\"", "\"x:plan\":\"\\u0066ree\""),
            format!("{genuine} "),
            format!(" {genuine}"),
        ],
    };
    for body in spelled {
        assert_ne!(body, genuine);
        app.refuses(body_type, &body);
    }
    // A field for another ticket of the same holder: what its callback would contain.
    let other = uploads
        .callback_for(&granted().variable("x:a", ""))
        .unwrap();
    let other = Asked::new(other.encoded()).fill(&system("user/7/a.png"), &uid, HABITS[0]);
    let mut forged = split(body_type, &other);
    let own = forged.iter().position(|(name, _)| name == TICKET_FIELD);
    forged[own.unwrap()].1 = fields[find(TICKET_FIELD)].1.clone();
    assert_eq!(
        app.refuses(body_type, &join(body_type, &forged)),
        TicketError::Fields
    );

    // Nothing of it used the ticket up.
    let outcome = app.send(body_type, &genuine);
    assert_eq!(outcome.status, 200, "{:?}", outcome.error);
    let seen = app.last().unwrap();
    assert_eq!(seen.event.custom("uid"), Some("7"));
    assert_eq!(seen.event.custom("plan"), Some("free"));
    assert_eq!(seen.fields["filename"], "user/7/a.png");
    assert_eq!(seen.fields["note"], "a b");
}

/// Every combination of what OSS may do.
fn any_habits() -> impl Strategy<Value = Habits> {
    (
        prop::sample::select(vec![Space::Escaped, Space::Plus, Space::LiteralPlus]),
        prop::sample::select(vec!["", "*", "*'()", "'()", "*-._"]),
        any::<[bool; 3]>(),
        prop::sample::select(vec!["null", "\"\"", ""]),
    )
        .prop_map(
            |(space, raw, [bare_crc64, escaped_slash, escaped_unicode], empty)| Habits {
                space,
                raw,
                bare_crc64,
                escaped_slash,
                escaped_unicode,
                empty,
            },
        )
}

/// Texts of users, and what is special in a form, in JSON, and for OSS.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "+", " ", "*", "'", "(", ")", "\"", "\\", "/", "&", "=", "%", "%20", "%2B", "null",
            ":,", "é", "照片", "🙂", "0", "7", "~",
        ])
        .prop_map(str::to_owned),
        "[a-zA-Z0-9]{1,3}",
    ];
    prop::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat())
}

#[derive(Clone, Debug)]
enum Field {
    System(String, SystemVariable),
    Custom(String, String),
    Constant(String, String),
}

fn field() -> impl Strategy<Value = Field> {
    let variable = || prop::sample::select(SystemVariable::ALL.to_vec());
    prop_oneof![
        variable().prop_map(|variable| Field::System(variable.name().into(), variable)),
        ("[a-c]{1,2}", variable()).prop_map(|(name, variable)| Field::System(name, variable)),
        ("x:[a-c]", text()).prop_map(|(name, value)| Field::Custom(name, value)),
        (prop_oneof!["[d-f]", "x:[d-f]"], text())
            .prop_map(|(name, value)| Field::Constant(name, value)),
    ]
}

/// A grant for one upload, and the upload itself.
#[derive(Clone, Debug)]
struct Upload {
    body_type: CallbackBodyType,
    fields: Vec<Field>,
    variables: Vec<(String, String)>,
    /// `None` is one object.
    prefix: Option<&'static str>,
    object: String,
    types: Vec<&'static str>,
    system: HashMap<SystemVariable, String>,
    habits: Habits,
}

prop_compose! {
    fn upload()(
        body_type in prop::sample::select(CallbackBodyType::ALL.to_vec()),
        fields in prop::collection::vec(field(), 0..6),
        variables in prop::collection::btree_map("x:[g-i]", text(), 0..3),
        (prefix, name) in (any::<bool>(), text()),
        types in prop::sample::select(vec![
            vec![], vec!["image/png"], vec!["image/svg+xml", "image/jpeg"],
        ]),
        (upper, odd_type) in (any::<bool>(), text()),
        size in 1..=1000_u64,
        texts in prop::collection::vec(text(), SystemVariable::ALL.len()),
        numbers in any::<(Option<u32>, Option<u64>)>(),
        habits in any_habits(),
    ) -> Upload {
        let prefix = prefix.then_some("user/7/");
        let object = match prefix {
            Some(prefix) => format!("{prefix}{name}"),
            // Only a key that the server may grant.
            None => format!("user/7/{}_", name.replace(['\\', '/', '$'], "-")),
        };
        let mut system: HashMap<_, _> = SystemVariable::ALL.into_iter().zip(texts).collect();
        let mime_type = match types.last() {
            Some(last) if upper => last.to_uppercase(),
            Some(last) => (*last).to_owned(),
            None => odd_type,
        };
        let number = |number: Option<u32>| number.map(|n| n.to_string()).unwrap_or_default();
        system.extend([
            (SystemVariable::Bucket, "examplebucket".to_owned()),
            (SystemVariable::Object, object.clone()),
            (SystemVariable::Size, size.to_string()),
            (SystemVariable::MimeType, mime_type),
            (SystemVariable::ImageHeight, number(numbers.0)),
            (SystemVariable::ImageWidth, number(numbers.0)),
            (
                SystemVariable::Crc64,
                numbers.1.map(|n| n.to_string()).unwrap_or_default(),
            ),
        ]);
        Upload {
            body_type,
            fields,
            variables: variables.into_iter().collect(),
            prefix,
            object,
            types,
            system,
            habits,
        }
    }
}

impl Upload {
    /// Returns the service, the fields of its body that a template can have, and the grant.
    fn grant(&self) -> (OssUploads, Vec<Field>, Grant) {
        let mut body = CallbackTemplate::new(self.body_type)
            .variable("object", SystemVariable::Object)
            .unwrap();
        let mut fields = Vec::new();
        for field in &self.fields {
            let added = match field {
                Field::System(name, variable) => body.clone().variable(name, *variable),
                Field::Custom(name, value) => body.clone().custom(name, value),
                Field::Constant(name, value) => body.clone().constant(name, value),
            };
            if let Ok(added) = added {
                body = added;
                fields.push(field.clone());
            }
        }
        for variable in [
            SystemVariable::Bucket,
            SystemVariable::Object,
            SystemVariable::Size,
            SystemVariable::MimeType,
            SystemVariable::Etag,
            SystemVariable::ReqId,
        ] {
            fields.retain(
                |field| !matches!(field, Field::System(name, _) if name == variable.name()),
            );
            fields.push(Field::System(variable.name().into(), variable));
        }
        let size = SizeRange::new(1, 1000).unwrap();
        let grant = match self.prefix {
            Some(prefix) => Grant::any_name_under(prefix.parse().unwrap(), size),
            None => Grant::exact(self.object.parse().unwrap(), size),
        };
        let mut grant = if self.types.is_empty() {
            grant.any_content_type()
        } else {
            grant
                .content_types(self.types.iter().map(|name| name.parse().unwrap()))
                .allow_active_content()
        };
        for (name, value) in &self.variables {
            grant = grant.variable(name, value);
            fields.push(Field::Custom(name.clone(), value.clone()));
        }
        (uploads(body), fields, grant)
    }

    fn genuine(&self, asked: &Asked, fields: &[Field]) -> String {
        let custom = fields.iter().filter_map(|field| match field {
            Field::Custom(name, value) => Some((name.clone(), value.clone())),
            _ => None,
        });
        asked.fill(&self.system, &custom.collect::<Vec<_>>(), self.habits)
    }

    /// Checks that a handler reads nothing but what the grant determined, or OSS computes. Whatever
    /// the sender controls is compared with `reported`, if it is known.
    fn check(
        &self,
        seen: &Seen,
        fields: &[Field],
        reported: Option<&HashMap<SystemVariable, String>>,
    ) -> Result<(), TestCaseError> {
        let event = &seen.event;
        let mut expected = BTreeMap::new();
        let mut customs = BTreeMap::new();
        for field in fields {
            let (name, value) = match field {
                Field::System(name, variable) => {
                    expected.insert(&**name, Err(*variable));
                    continue;
                }
                Field::Custom(name, value) | Field::Constant(name, value) => (name, value),
            };
            expected.insert(name, Ok(&**value));
            if name.starts_with("x:") && !value.is_empty() {
                customs.insert(&**name, &**value);
            }
        }
        let seen_customs = event.custom_variables();
        let seen_customs: BTreeMap<_, _> = seen_customs
            .filter(|(name, _)| *name != TICKET_FIELD)
            .collect();
        prop_assert_eq!(seen_customs, customs);

        // Under a prefix, and for what only OSS knows, `+` is as ambiguous as it is in any form.
        let ambiguous = self.body_type == FORM && self.habits.space == Space::LiteralPlus;
        let same = |one: &str, other: &str| {
            one == other || (ambiguous && one.replace('+', " ") == other.replace('+', " "))
        };
        let check_system = |variable: SystemVariable, value: &str| {
            match variable {
                SystemVariable::Bucket => prop_assert_eq!(value, "examplebucket"),
                SystemVariable::Object if self.prefix.is_none() => {
                    prop_assert_eq!(value, &*self.object);
                }
                SystemVariable::Object => prop_assert!(value.starts_with("user/7/")),
                SystemVariable::Size => {
                    prop_assert!(
                        (1..=1000).contains(&value.parse().unwrap_or(0)),
                        "{}",
                        value
                    );
                }
                SystemVariable::MimeType if !self.types.is_empty() => {
                    prop_assert!(self.types.contains(&value), "{}", value);
                }
                _ => {}
            }
            if let Some(reported) = reported {
                let reported = &reported[&variable];
                let is_type = variable == SystemVariable::MimeType;
                let reported = if is_type && !self.types.is_empty() {
                    &reported.to_lowercase()
                } else {
                    reported
                };
                prop_assert!(
                    same(value, reported),
                    "{}: {:?} {:?}",
                    variable,
                    value,
                    reported
                );
            }
            Ok(())
        };
        check_system(SystemVariable::Bucket, event.bucket().unwrap())?;
        check_system(SystemVariable::Object, event.object().unwrap())?;
        check_system(SystemVariable::Size, &event.size().unwrap().to_string())?;
        check_system(SystemVariable::MimeType, event.mime_type().unwrap_or(""))?;

        if seen.fields.is_empty() && reported.is_none() {
            return Ok(());
        }
        let names = seen.fields.keys().map(|name| &**name);
        let names: Vec<_> = names.filter(|name| *name != TICKET_FIELD).collect();
        prop_assert_eq!(names, expected.keys().copied().collect::<Vec<_>>());
        for (name, expected) in expected {
            let value = match &seen.fields[name] {
                Value::String(text) => text.clone(),
                Value::Null => String::new(),
                number => {
                    prop_assert!(expected.is_err(), "{} is {}", name, number);
                    number.to_string()
                }
            };
            match expected {
                Ok(text) => prop_assert_eq!(&value, text, "{}", name),
                Err(variable) => check_system(variable, &value)?,
            }
        }
        Ok(())
    }
}

/// What the holder of a ticket changes in the body that is sent for it.
#[derive(Clone, Debug)]
enum Change {
    Value(prop::sample::Index, String),
    Raw(prop::sample::Index, &'static str),
    Name(prop::sample::Index, String),
    Remove(prop::sample::Index),
    Repeat(prop::sample::Index, prop::sample::Index),
    Insert(prop::sample::Index, String, String),
    Swap(prop::sample::Index, prop::sample::Index),
    SwapValues(prop::sample::Index, prop::sample::Index),
    Character(prop::sample::Index, char),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<prop::sample::Index>;
    let value = || {
        prop_oneof![
            text(),
            prop::sample::select(vec![
                "user/7/a",
                "user/8/a",
                "user/7/../8/a",
                "1",
                "1001",
                "image/png",
                "IMAGE/PNG",
                "text/html",
                "examplebucket",
                "evilbucket",
                "",
            ])
            .prop_map(str::to_owned),
        ]
    };
    let name = || prop_oneof!["[a-f]{1,2}", "x:[a-i]", Just("object".to_owned())];
    let raw = vec![
        "1",
        "01",
        "1.0",
        "1e2",
        "-1",
        "null",
        "true",
        "[]",
        "{}",
        "",
        "\"",
        "\"\"",
        "%",
        "%00",
        "+",
        "%FF",
        "\"\\u0000\"",
        "\"\\ud800\"",
        "a=b",
        "1,\"x:a\":1",
        "1&x:a=1",
        " 1",
        "\"1\" ",
    ];
    prop_oneof![
        3 => (at(), value()).prop_map(|(at, value)| Change::Value(at, value)),
        2 => (at(), prop::sample::select(raw)).prop_map(|(at, raw)| Change::Raw(at, raw)),
        1 => (at(), name()).prop_map(|(at, name)| Change::Name(at, name)),
        1 => at().prop_map(Change::Remove),
        1 => (at(), at()).prop_map(|(at, to)| Change::Repeat(at, to)),
        1 => (at(), name(), value()).prop_map(|(at, name, value)| Change::Insert(at, name, value)),
        1 => (at(), at()).prop_map(|(one, two)| Change::Swap(one, two)),
        1 => (at(), at()).prop_map(|(one, two)| Change::SwapValues(one, two)),
        1 => (at(), prop::sample::select("+&=%\"\\,:{}[] a0\0".chars().collect::<Vec<_>>()))
            .prop_map(|(at, c)| Change::Character(at, c)),
    ]
}

fn forge(asked: &Asked, genuine: &str, changes: &[Change], habits: Habits) -> String {
    let mut fields = split(asked.body_type, genuine);
    let written = |text: &str| match asked.body_type {
        FORM => habits.form(text),
        _ => habits.json(text),
    };
    let mut character = None;
    for change in changes {
        if fields.is_empty() {
            break;
        }
        let len = fields.len();
        match change {
            Change::Value(at, value) => fields[at.index(len)].1 = written(value),
            Change::Raw(at, raw) => fields[at.index(len)].1 = (*raw).to_owned(),
            Change::Name(at, name) => fields[at.index(len)].0.clone_from(name),
            Change::Remove(at) => drop(fields.remove(at.index(len))),
            Change::Repeat(at, to) => {
                let field = fields[at.index(len)].clone();
                fields.insert(to.index(len + 1), field);
            }
            Change::Insert(at, name, value) => {
                fields.insert(at.index(len + 1), (name.clone(), written(value)));
            }
            Change::Swap(one, two) => fields.swap(one.index(len), two.index(len)),
            Change::SwapValues(one, two) => {
                let (one, two) = (one.index(len), two.index(len));
                let value = fields[one].1.clone();
                fields[one].1 = std::mem::replace(&mut fields[two].1, value);
            }
            Change::Character(at, c) => character = Some((at, c)),
        }
    }
    let mut body = join(asked.body_type, &fields);
    if let Some((at, c)) = character {
        let at = at.index(body.len());
        let at = (0..=at).rev().find(|at| body.is_char_boundary(*at));
        body.insert(at.unwrap(), *c);
    }
    body
}

proptest! {
    #[test]
    fn rp_31_a_genuine_body_is_accepted_and_read_as_granted(upload in upload()) {
        let (uploads, fields, grant) = upload.grant();
        let callback = uploads.callback_for(&grant).unwrap();
        let asked = Asked::new(callback.encoded());
        let body = upload.genuine(&asked, &fields);
        let app = App::new(&uploads);
        let outcome = app.send(asked.body_type, &body);
        prop_assert_eq!(outcome.status, 200, "{:?} {}", outcome.error, body);
        upload.check(&app.last().unwrap(), &fields, Some(&upload.system))?;
    }

    /// Whatever its holder has OSS sign.
    #[test]
    fn rp_32_a_ticket_proves_its_grant_or_nothing(
        upload in upload(),
        changes in prop::collection::vec(prop::collection::vec(change(), 1..4), 8),
        habits in any_habits(),
    ) {
        let (uploads, fields, grant) = upload.grant();
        let callback = uploads.callback_for(&grant).unwrap();
        let asked = Asked::new(callback.encoded());
        let genuine = upload.genuine(&asked, &fields);
        for changes in changes {
            let body = forge(&asked, &genuine, &changes, habits);
            // A new instance each time: the ticket is not used up.
            let app = App::new(&uploads);
            let status = app.send(asked.body_type, &body).status;
            match app.last() {
                Some(seen) => upload.check(&seen, &fields, None)?,
                // Another text for a ticket that is used up is refused too.
                None => prop_assert!(status == 403 || status == 200, "{}", status),
            }
        }
    }
}

/// Returns the body of an upload by the standard form, and its route.
fn standard(body_type: CallbackBodyType, grant: &Grant) -> (App, Asked) {
    let uploads = uploads(CallbackTemplate::standard(body_type));
    let asked = Asked::new(uploads.callback_for(grant).unwrap().encoded());
    (App::new(&uploads), asked)
}

#[test]
fn rp_33_a_name_with_a_plus_is_accepted_in_either_reading() {
    let size = SizeRange::new(1, 1000).unwrap();
    let png = |grant: Grant| grant.content_type("image/png".parse().unwrap());
    let key = "user/7/a+b c.png";
    let exact = || png(Grant::exact(key.parse().unwrap(), size));
    let under = || png(Grant::any_name_under("user/7/".parse().unwrap(), size));
    for written in ["a%2Bb%20c", "a%2Bb+c", "a+b%20c"] {
        for grant in [exact(), under()] {
            let is_exact = format!("{grant:?}").contains("Exact");
            let (app, asked) = standard(FORM, &grant);
            let body = asked.fill(&system("user/7/NAME.png"), &[], HABITS[0]);
            let body = body.replace("NAME", written);
            assert_eq!(app.send(FORM, &body).status, 200, "{written} {grant:?}");
            let seen = app.last().unwrap();
            let read = seen.event.object().unwrap();
            assert_eq!(seen.fields["object"], read);
            if is_exact || written != "a+b%20c" {
                assert_eq!(read, key);
            } else {
                // Nothing tells a reader what this plus is.
                assert_eq!(read, "user/7/a b c.png");
            }
        }
        // Neither reading is another name.
        let (app, asked) = standard(FORM, &exact());
        let body = asked.fill(&system("user/7/NAME.png"), &[], HABITS[0]);
        for other in ["a b c", "a+b+c", "a%252Bb%20c", "a%2Bb%2Bc"] {
            let why = app.refuses(FORM, &body.replace("NAME", other));
            assert_eq!(why, TicketError::Object, "{other}");
        }
    }
    // A variable tells which reading is right, for the handler's own type too.
    let grant = exact().variable("x:note", "1+1 is 2");
    let (app, asked) = standard(FORM, &grant);
    let body = asked.fill(&system(key), &[("x:note".into(), "NOTE".into())], HABITS[0]);
    let body = body.replace("NOTE", "1+1%20is%202");
    assert_eq!(app.send(FORM, &body.replace("%2B", "+")).status, 200);
    let seen = app.last().unwrap();
    assert_eq!(seen.event.custom("note"), Some("1+1 is 2"));
    assert_eq!(seen.fields["x:note"], "1+1 is 2");
    assert_eq!(seen.fields["object"], key);
}

#[test]
fn rp_34_a_variable_that_oss_did_not_replace_is_an_error() {
    let size = SizeRange::new(1, 1000).unwrap();
    for body_type in [FORM, JSON] {
        let grant = Grant::any_name_under("user/7/".parse().unwrap(), size)
            .any_content_type()
            .variable("x:uid", "7");
        let (app, asked) = standard(body_type, &grant);
        let uid = [("x:uid".to_owned(), "7".to_owned())];
        for variable in SystemVariable::ALL {
            let placeholder = format!("${{{}}}", variable.name());
            let mut system = system("user/7/a");
            system.insert(variable, placeholder.clone());
            let body = match body_type {
                FORM => asked.fill(&system, &uid, HABITS[0]),
                // A number would have no quotes.
                _ => asked
                    .fill(&system, &uid, HABITS[0])
                    .replace(&format!(":{placeholder}"), &format!(":\"{placeholder}\"")),
            };
            assert_eq!(app.refuses(body_type, &body), TicketError::Unsubstituted);
            // Without a ticket it is an error of its own kind.
            let error = event_of(body_type, &body).unwrap_err();
            assert_eq!(error, (true, Some(variable.name().into())));
        }
        let custom = [("x:uid".to_owned(), "${x:uid}".to_owned())];
        let body = asked.fill(&system("user/7/a"), &custom, HABITS[0]);
        assert_eq!(app.refuses(body_type, &body), TicketError::Unsubstituted);
        let error = event_of(body_type, &body).unwrap_err();
        assert_eq!(error, (true, Some("x:uid".into())));

        // Another variable is a text like any other.
        let body = asked.fill(&system("user/7/${object}"), &uid, HABITS[0]);
        assert_eq!(app.send(body_type, &body).status, 200);
        let seen = app.last().unwrap();
        assert_eq!(seen.event.object(), Some("user/7/${object}"));
        assert!(event_of(body_type, &body).is_ok());
    }
}

/// Reads the event of a signed body without tickets. An error is whether a variable was not
/// replaced, and the field.
fn event_of(
    body_type: CallbackBodyType,
    body: &str,
) -> Result<UploadEvent, (bool, Option<String>)> {
    let signer = signer();
    let callback = signer.callback(TARGET);
    let callback = match body_type {
        FORM => callback.form(body.to_owned()),
        _ => callback.json(body.to_owned()),
    };
    let request: Request<Full<Bytes>> = callback.request().unwrap();
    let event = Mutex::new(None);
    let handler = service_fn(|request: Request<RequestBody<Full<Bytes>>>| {
        let callback: &VerifiedCallback = request.extensions().get().unwrap();
        *event.lock().unwrap() = Some(callback.event());
        ready(Ok::<_, Infallible>(Response::new(Full::from("{}"))))
    });
    let layer = OssCallbackLayer::new().key_source(signer.key_source());
    now(send(layer.layer(handler), request));
    let event = event.lock().unwrap().take().unwrap();
    event.map_err(|error| {
        let unsubstituted = matches!(error, EventError::Unsubstituted { .. });
        (unsubstituted, error.field().map(str::to_owned))
    })
}

#[test]
fn rp_35_every_name_that_oss_stores_under_the_prefix_is_accepted() {
    let long = "k".repeat(1023 - "user/7/".len());
    let stored = [
        "a.png",
        "Invoice $100.pdf",
        "\u{200e}leading mark.pdf",
        "photo\u{202e}gpj.exe",
        "line\nfeed",
        "\u{0}",
        "\u{7f}\u{1b}[2J",
        "back\\slash",
        "double//slash",
        "folder/",
        // The marker of the folder itself.
        "",
        "${filename}",
        "..hidden/...",
        "what?; #1.png",
        "100%.txt",
        "a%2Fb%zz",
        "照片 (1)*'~.jpg",
        "\u{feff}\u{2028}🙂",
        &long,
    ];
    let refused = [
        "../8/a",
        "./a",
        "a/..",
        "a\\..\\b",
        "%2e%2e/8/a",
        ".%2E/8/a",
        "%2e%2e%2f8",
        "%252e%252e/8",
        "a%5c..%5cb",
        // A URL parser removes the tab and the line feed, and ends the path at `?` and `#`.
        ".\t./8/a.png",
        ".\n./8/a.png",
        "%2e%09./8/a.png",
        "..?",
        "..#x",
        "..;/8/a.png",
        "..\0",
        "..%20",
        &format!("{long}k"),
    ];
    let size = SizeRange::new(1, 1000).unwrap();
    let grant = Grant::any_name_under("user/7/".parse().unwrap(), size)
        .content_type("image/png".parse().unwrap());
    for body_type in [FORM, JSON] {
        for habits in HABITS {
            let (app, asked) = standard(body_type, &grant);
            for name in stored {
                let object = format!("user/7/{name}");
                let body = asked.fill(&system(&object), &[], habits);
                assert_eq!(app.send(body_type, &body).status, 200, "{name:?}");
                let seen = app.last().unwrap();
                assert_eq!(seen.event.object(), Some(&*object));
                let received: ReceivedName = object.parse().unwrap();
                assert!(!received.to_string().contains(char::is_control), "{name:?}");
            }
            for name in refused {
                let body = asked.fill(&system(&format!("user/7/{name}")), &[], habits);
                assert_eq!(
                    app.refuses(body_type, &body),
                    TicketError::Object,
                    "{name:?}"
                );
            }
        }
    }
}

#[test]
fn a_ticket_seals_at_most_255_fields() {
    let body = |count: usize| {
        let names: Vec<_> = (0..count).map(|n| format!("{n:x}")).collect();
        let add = |body: CallbackTemplate, name: &String| body.constant(name, "");
        uploads(
            names
                .iter()
                .try_fold(CallbackTemplate::form(), add)
                .unwrap(),
        )
    };
    // The service adds six variables and the ticket, and the grant a custom variable.
    assert!(body(247).callback_for(&granted()).is_ok());
    let error = body(248).callback_for(&granted()).unwrap_err();
    let expected = PolicyError::Callback(CallbackDirectiveError::TooManyFields);
    assert_eq!(error, expected);
}

#[test]
fn the_handler_reads_the_granted_spelling_of_the_content_type() {
    let size = SizeRange::new(1, 1000).unwrap();
    let grant = Grant::exact("a".parse().unwrap(), size)
        .content_type("image/svg+xml".parse().unwrap())
        .allow_active_content();
    for body_type in [FORM, JSON] {
        let body = CallbackTemplate::new(body_type)
            .variable("kind", SystemVariable::MimeType)
            .and_then(|body| body.variable("height", SystemVariable::ImageHeight))
            .and_then(|body| body.constant("note", "IMAGE/SVG+XML"))
            .unwrap();
        let uploads = uploads(body);
        for written in ["image/svg+xml", "Image/SVG+xml", "IMAGE/SVG+XML"] {
            let asked = Asked::new(uploads.callback_for(&grant).unwrap().encoded());
            let mut system = system("a");
            system.insert(SystemVariable::MimeType, written.into());
            let app = App::new(&uploads);
            let body = asked.fill(&system, &[], HABITS[1]);
            assert_eq!(app.send(body_type, &body).status, 200, "{written}");
            let seen = app.last().unwrap();
            assert_eq!(seen.event.mime_type(), Some("image/svg+xml"));
            for name in ["kind", "mimeType"] {
                assert_eq!(seen.fields[name], "image/svg+xml");
            }
            let height = if body_type == FORM {
                json!("")
            } else {
                json!(null)
            };
            assert_eq!(seen.fields["height"], height);
            assert_eq!(seen.fields["note"], "IMAGE/SVG+XML");
        }
    }
}
