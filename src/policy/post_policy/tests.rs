use base64::{Engine as _, engine::general_purpose::STANDARD};
use proptest::{collection::vec, option, prelude::*};
use serde_json::{Value, json};

use super::*;
use crate::{policy::document::to_json, protocol::ObjectPrefix};

fn reduced() -> PostPolicyBuilder {
    let prefix: ObjectPrefix = "a/".parse().unwrap();
    let mut builder = PostPolicy::builder(
        "examplebucket".parse().unwrap(),
        "cn-hangzhou".parse().unwrap(),
        prefix,
        SizeRange::new(1, 10).unwrap(),
        CallbackDirective::new("https://app.example/cb").unwrap(),
    );
    builder.config_mut().fields = FieldSet::Reduced;
    builder
}

/// The clients of these formats send `success_action_status=200`, the callback and the
/// signature, nothing else.
#[test]
fn a_reduced_policy_names_only_what_the_samples_send() {
    let pair = Credentials::new("id", "secret").unwrap();
    let at = SystemTime::UNIX_EPOCH;
    for (version, of_signature) in [
        (
            SignatureVersion::V4,
            json!([
                { "x-oss-signature-version": "OSS4-HMAC-SHA256" },
                { "x-oss-credential": "id/19700101/cn-hangzhou/oss/aliyun_v4_request" },
                { "x-oss-date": "19700101T000000Z" },
            ]),
        ),
        (SignatureVersion::V1, json!([])),
    ] {
        let policy = reduced().signature(version).build().unwrap();
        let token = policy.sign(&pair, at).unwrap();
        let text = STANDARD.decode(token.field("policy").unwrap()).unwrap();
        let document: Value = serde_json::from_slice(&text).unwrap();
        let mut expected = json!([["starts-with", "$key", "a/"], { "bucket": "examplebucket" }]);
        let expected = expected.as_array_mut().unwrap();
        expected.extend(of_signature.as_array().unwrap().clone());
        expected.extend([
            json!(["content-length-range", 1, 10]),
            json!(["eq", "$success_action_status", "200"]),
            json!({ "callback": policy.0.callback.encoded() }),
        ]);
        assert_eq!(document["conditions"], Value::from(expected.clone()));
    }
}

#[test]
fn a_reduced_policy_cannot_ask_for_more() {
    let variable = CallbackDirective::new("https://app.example/cb")
        .and_then(|callback| callback.variable("x:a", "b"))
        .unwrap();
    for (more, field) in [
        (
            reduced().content_type("a/b".parse().unwrap()),
            "x-oss-content-type",
        ),
        (reduced().object_acl(ObjectAcl::Private), "x-oss-object-acl"),
        (reduced().allow_overwrite(), "x-oss-forbid-overwrite"),
        (
            reduced().success_action_status(201),
            "success_action_status",
        ),
        (reduced().callback(variable), "x:a"),
        (reduced().field("Expires", "0"), "Expires"),
        (
            reduced().condition(Condition::equals("Expires", "0")),
            "Expires",
        ),
    ] {
        assert_eq!(
            more.build().unwrap_err(),
            PolicyError::field(field, FieldProblem::NotInFormat)
        );
    }
}

/// What a token consists of: its fields, and the conditions of its document.
///
/// A plain list, as the policy was put together before it was written as it grows.
fn listed(
    builder: &PostPolicyBuilder,
    credentials: &Credentials,
    at: SystemTime,
) -> (Vec<(String, String)>, Vec<Value>) {
    let (config, conditions) = (&builder.config, &builder.conditions);
    let (mut fields, mut clauses) = (Vec::new(), Vec::new());
    let mut field = |name: &str, value: &str| fields.push((name.to_owned(), value.to_owned()));
    let is = |name: &str, value: &str| Value::from_iter([(name, value)]);
    let eq = |name: &str, value: &str| json!(["eq", format!("${name}"), value]);
    match &builder.key {
        UploadKey::Exact(key) => {
            field("key", key.as_str());
            clauses.push(eq("key", key.as_str()));
        }
        UploadKey::Under(prefix) => {
            field("key", &format!("{prefix}${{filename}}"));
            clauses.push(json!(["starts-with", "$key", prefix.as_str()]));
        }
    }
    clauses.push(is(
        "bucket",
        config.destination.bucket_name().unwrap().as_str(),
    ));
    let signed = jiff::Timestamp::try_from(at).unwrap();
    let day = signed.strftime("%Y%m%d").to_string();
    let id = credentials.access_key_id();
    let mut required = Vec::new();
    if config.version == SignatureVersion::V4 {
        let region = config.region.as_ref().unwrap();
        let scope = format!("{id}/{day}/{region}/oss/aliyun_v4_request");
        required.push(("x-oss-signature-version", "OSS4-HMAC-SHA256".to_owned()));
        required.push(("x-oss-credential", scope));
    }
    if let Some(token) = credentials.security_token() {
        required.push(("x-oss-security-token", token.to_owned()));
    }
    if config.version == SignatureVersion::V4 {
        let date = signed.strftime("%Y%m%dT%H%M%SZ").to_string();
        required.push(("x-oss-date", date));
    }
    for (name, value) in &required {
        field(name, value);
        clauses.push(is(name, value));
    }
    let size = conditions.size;
    clauses.push(json!([
        "content-length-range",
        size.min(),
        size.max().min(SizeRange::FORM_LIMIT)
    ]));
    let overwrite = if conditions.overwrite {
        "false"
    } else {
        "true"
    };
    for (name, value) in [
        ("success_action_status", conditions.status_text()),
        (
            "x-oss-object-acl",
            conditions.acl.unwrap_or_default().as_str(),
        ),
        ("x-oss-forbid-overwrite", overwrite),
    ] {
        field(name, value);
        clauses.push(eq(name, value));
    }
    let name = "x-oss-content-type";
    match &conditions.content_types {
        ContentTypes::Binary => {
            field(name, "application/octet-stream");
            clauses.push(eq(name, "application/octet-stream"));
        }
        ContentTypes::One(one) => {
            field(name, one.as_str());
            clauses.push(eq(name, one.as_str()));
        }
        ContentTypes::Several(several) => clauses.push(json!(["in", format!("${name}"), several])),
        ContentTypes::Any => {}
    }
    for (name, value) in &conditions.fields {
        field(name, value);
        clauses.push(eq(name, value));
    }
    for condition in &conditions.conditions {
        clauses.push(match condition.clause() {
            Clause::Equals(name, value) => eq(name, value),
            Clause::StartsWith(name, value) => json!(["starts-with", format!("${name}"), value]),
            Clause::In(name, values) => json!(["in", format!("${name}"), values]),
            Clause::NotIn(name, values) => json!(["not-in", format!("${name}"), values]),
            Clause::Is(..) | Clause::ContentLengthRange(_) => unreachable!(),
        });
    }
    field("callback", builder.callback.encoded());
    clauses.push(is("callback", builder.callback.encoded()));
    for (name, value) in builder.callback.variables() {
        field(name, value);
        clauses.push(eq(name, value));
    }
    if config.version == SignatureVersion::V1 {
        field("OSSAccessKeyId", id);
    }
    (fields, clauses)
}

/// Text with characters that JSON escapes.
const TEXT: &str = "[a-z]{0,40}|[ -#%-~]{0,40}|[é中\u{2028}\"\\\\/]{0,40}";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn pl_01_any_token_has_the_listed_fields_and_conditions(
        key in "[a-z\"é]{1,20}/[a-z\"'<>中]{1,20}",
        under in any::<bool>(),
        id in "[!-~]{1,20}",
        security_token in option::of("[!-~]{1,600}"),
        second in 0..253_402_207_000_u64,
        settings in any::<(bool, bool, bool)>(),
        types in option::of(vec("image/[a-z+.]{1,9}", 1..4)),
        fields in vec(("[a-zA-Z0-9_.-]{1,12}", TEXT), 0..4),
        conditions in vec(("[a-zA-Z0-9_.-]{1,12}", 0..4, vec(TEXT, 1..3)), 0..4),
        variables in vec(("x:[a-z]{1,9}", "[ -#%-~é中\"\\\\]{0,20}"), 0..3),
    ) {
        let (v1, overwrite, public) = settings;
        let mut callback = CallbackDirective::new("https://app.example/cb").unwrap();
        for (name, value) in &variables {
            callback = callback.clone().variable(name, value).unwrap_or(callback);
        }
        let key: UploadKey = if under {
            format!("{key}/").parse::<ObjectPrefix>().unwrap().into()
        } else {
            key.parse::<crate::protocol::ObjectKey>().unwrap().into()
        };
        let mut builder = PostPolicy::builder(
            "examplebucket".parse().unwrap(),
            "cn-hangzhou".parse().unwrap(),
            key,
            SizeRange::new(1, second).unwrap_or_else(|_| SizeRange::new(0, 7).unwrap()),
            callback,
        );
        if v1 {
            builder = builder.signature(SignatureVersion::V1);
        }
        if overwrite {
            builder = builder.allow_overwrite().success_action_status(201);
        }
        if public {
            builder = builder.object_acl(ObjectAcl::PublicRead);
        }
        builder = match types {
            Some(types) => builder.content_types(types.iter().flat_map(|one| one.parse())),
            None => builder,
        };
        let mut known = std::collections::HashSet::new();
        for (name, value) in &fields {
            if known.insert(name.to_ascii_lowercase()) {
                builder = builder.field(name, value);
            }
        }
        for (name, kind, values) in &conditions {
            if !known.insert(name.to_ascii_lowercase()) {
                continue;
            }
            let list = values.iter().map(String::as_str);
            builder = builder.condition(match kind {
                0 => Condition::equals(name, &values[0]),
                1 => Condition::starts_with(name, &values[0]),
                2 => Condition::one_of(name, list),
                _ => Condition::none_of(name, list),
            });
        }
        // Some of the random names are reserved.
        prop_assume!(builder.clone().build().is_ok());
        let policy = builder.clone().build().unwrap();
        let mut credentials = Credentials::new(id, "secret").unwrap();
        if let Some(token) = security_token {
            credentials = credentials.with_security_token(token).unwrap();
        }
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        let token = policy.sign(&credentials, at).unwrap();
        let (listed, conditions) = listed(&builder, &credentials, at);
        let count = token.fields().len() - 2;
        let fields: Vec<_> = token
            .fields()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        prop_assert_eq!(&fields[..count], &*listed);

        let expires = jiff::Timestamp::try_from(token.expires()).unwrap();
        let document = format!(
            "{{\"expiration\":\"{expires:.3}\",\"conditions\":{}}}",
            Value::from(conditions)
        );
        let (name, text) = &fields[count];
        prop_assert_eq!(name, "policy");
        prop_assert_eq!(text, &STANDARD.encode(document));
        let (name, signature) = &fields[count + 1];
        let secret = credentials.secret();
        if v1 {
            prop_assert_eq!(name, "Signature");
            prop_assert_eq!(signature, &sign_v1(secret, text));
        } else {
            prop_assert_eq!(name, "x-oss-signature");
            let day = expires - jiff::SignedDuration::from_secs(15 * 60);
            let day = day.strftime("%Y%m%d").to_string();
            let region = "cn-hangzhou".parse().unwrap();
            let expected = v4::sign(&DayKeys::default(), secret, &day, &region, text);
            prop_assert_eq!(signature, &expected);
        }
        let mut json = String::new();
        token.push_json(&mut json);
        prop_assert_eq!(json.as_bytes(), &*to_json(&token));
    }
}
