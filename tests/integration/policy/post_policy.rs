//! Upload policies: builder, validation, signatures and form fields.

use std::{
    collections::HashSet,
    sync::LazyLock,
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use proptest::{
    prelude::any,
    strategy::{Strategy as _, ValueTree as _},
    test_runner::TestRunner,
};
use serde_json::{Value, json};
use sha1::Sha1;
use sha2::Sha256;
use tower_aliyun_oss::{
    policy::{
        CallbackDirective, Condition, Credentials, FieldProblem, PolicyError, PostPolicy,
        PostPolicyBuilder, SignatureVersion, UploadKey, UploadToken,
    },
    protocol::{
        Bucket, ContentType, Endpoint, ObjectAcl, ObjectError, ObjectKey, ObjectPrefix, SizeRange,
    },
};

const SECRET: &str = "canary-OtxrzxIsfpFjA7SwPzILwy8Bw21TLhquhboDYROV";
const TOKEN: &str = "canary-CAIStoken";

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// 2024-12-31T23:59:30Z
fn now() -> SystemTime {
    at(1_735_689_570)
}

fn credentials() -> Credentials {
    Credentials::new("LTAI5tExample", SECRET).unwrap()
}

fn callback() -> CallbackDirective {
    CallbackDirective::new("https://app.example/cb").unwrap()
}

fn builder_for(key: impl Into<UploadKey>) -> PostPolicyBuilder {
    PostPolicy::builder(
        "examplebucket".parse().unwrap(),
        "cn-hangzhou".parse().unwrap(),
        key,
        SizeRange::new(1, 1024).unwrap(),
        callback(),
    )
}

fn builder() -> PostPolicyBuilder {
    builder_for("user/1/a.png".parse::<ObjectKey>().unwrap())
}

fn signed(builder: PostPolicyBuilder) -> UploadToken {
    builder
        .build()
        .unwrap()
        .sign(&credentials(), now())
        .unwrap()
}

fn document(token: &UploadToken) -> Value {
    let text = STANDARD.decode(token.field("policy").unwrap()).unwrap();
    serde_json::from_slice(&text).unwrap()
}

fn conditions(token: &UploadToken) -> Vec<Value> {
    document(token)["conditions"].as_array().unwrap().clone()
}

/// Returns the equality conditions as pairs of field and value.
fn equalities(token: &UploadToken) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let pairs = conditions(token)
        .into_iter()
        .filter_map(|condition| match condition {
            Value::Object(map) => {
                assert_eq!(map.len(), 1);
                map.iter()
                    .next()
                    .map(|(name, value)| (name.clone(), text(value)))
            }
            Value::Array(parts) if parts[0] == "eq" => {
                let name = text(&parts[1]).strip_prefix('$').unwrap().to_owned();
                Some((name, text(&parts[2])))
            }
            _ => None,
        });
    pairs.collect()
}

fn problem(builder: PostPolicyBuilder) -> (String, FieldProblem) {
    match builder.build().unwrap_err() {
        PolicyError::Field { field, problem } => (field.into(), problem),
        other => panic!("{other}"),
    }
}

fn hmac_sha256(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// Computes the signature as the documentation describes, without code of the crate.
fn v4_signature(token: &UploadToken) -> String {
    let credential = token.field("x-oss-credential").unwrap();
    let parts: Vec<_> = credential.split('/').collect();
    assert_eq!(parts[3..], ["oss", "aliyun_v4_request"]);
    let key = format!("aliyun_v4{SECRET}").into_bytes();
    let key = parts[1..]
        .iter()
        .fold(key, |key, part| hmac_sha256(&key, part));
    let mac = hmac_sha256(&key, token.field("policy").unwrap());
    mac.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_whole_of_a_token() {
    let token = signed(builder().content_type("image/png".parse().unwrap()));
    assert_eq!(token.method(), "POST");
    assert_eq!(
        token.url().as_str(),
        "https://examplebucket.oss-cn-hangzhou.aliyuncs.com"
    );
    assert_eq!(token.key(), "user/1/a.png");
    assert_eq!(token.expires(), at(1_735_690_470));
    let callback = callback();
    let credential = "LTAI5tExample/20241231/cn-hangzhou/oss/aliyun_v4_request";
    assert_eq!(
        document(&token),
        json!({
            "expiration": "2025-01-01T00:14:30.000Z",
            "conditions": [
                ["eq", "$key", "user/1/a.png"],
                { "bucket": "examplebucket" },
                { "x-oss-signature-version": "OSS4-HMAC-SHA256" },
                { "x-oss-credential": credential },
                { "x-oss-date": "20241231T235930Z" },
                ["content-length-range", 1, 1024],
                ["eq", "$success_action_status", "200"],
                ["eq", "$x-oss-object-acl", "private"],
                ["eq", "$x-oss-forbid-overwrite", "true"],
                ["eq", "$x-oss-content-type", "image/png"],
                { "callback": callback.encoded() },
            ]
        })
    );
    let fields: Vec<_> = token.fields().collect();
    assert_eq!(
        fields[..9],
        [
            ("key", "user/1/a.png"),
            ("x-oss-signature-version", "OSS4-HMAC-SHA256"),
            ("x-oss-credential", credential),
            ("x-oss-date", "20241231T235930Z"),
            ("success_action_status", "200"),
            ("x-oss-object-acl", "private"),
            ("x-oss-forbid-overwrite", "true"),
            ("x-oss-content-type", "image/png"),
            ("callback", callback.encoded()),
        ]
    );
    let names: Vec<_> = fields[9..].iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["policy", "x-oss-signature"]);
    assert_eq!(
        token.field("x-oss-signature").unwrap(),
        v4_signature(&token)
    );

    let text = serde_json::to_string(&token).unwrap();
    assert!(text.starts_with(
        r#"{"method":"POST","url":"https://examplebucket.oss-cn-hangzhou.aliyuncs.com","fields":{"key":"user/1/a.png","x-oss-signature-version":"#
    ));
    assert!(text.ends_with(r#"},"key":"user/1/a.png","expires":1735690470}"#));
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["fields"].as_object().unwrap().len(), fields.len());
}

#[test]
fn version_1_signs_the_same_policy() {
    let token = signed(builder().signature(SignatureVersion::V1));
    let mut mac = Hmac::<Sha1>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(token.field("policy").unwrap().as_bytes());
    assert_eq!(
        token.field("Signature").unwrap(),
        STANDARD.encode(mac.finalize().into_bytes())
    );
    assert_eq!(token.field("OSSAccessKeyId"), Some("LTAI5tExample"));
    assert!(!token.fields().any(|(name, _)| {
        name.starts_with("x-oss-signature") || name == "x-oss-credential" || name == "x-oss-date"
    }));
}

#[test]
fn every_field_of_every_form_is_named_in_its_policy() {
    let callback = callback()
        .variable("x:user", "7 \"é\"")
        .and_then(|c| c.variable("x:empty", ""))
        .unwrap();
    let pair = credentials().with_security_token(TOKEN).unwrap();
    for version in [SignatureVersion::V4, SignatureVersion::V1] {
        for key in [
            UploadKey::from("a/b".parse::<ObjectKey>().unwrap()),
            UploadKey::from("a/".parse::<ObjectPrefix>().unwrap()),
        ] {
            let policy = builder_for(key)
                .callback(callback.clone())
                .signature(version)
                .object_acl(ObjectAcl::Bucket)
                .allow_overwrite()
                .success_action_status(204)
                .field("Cache-Control", "no-cache")
                .condition(Condition::starts_with("x-oss-meta-tag", ""))
                .build()
                .unwrap();
            let token = policy.sign(&pair, now()).unwrap();
            let pinned = equalities(&token);
            for (name, value) in token.fields() {
                match name {
                    "policy" | "x-oss-signature" | "Signature" | "OSSAccessKeyId" => {}
                    "key" if value == "a/${filename}" => {
                        let rule = json!(["starts-with", "$key", "a/"]);
                        assert!(conditions(&token).contains(&rule));
                    }
                    _ => assert!(
                        pinned.contains(&(name.to_owned(), value.to_owned())),
                        "{name}"
                    ),
                }
            }
            assert_eq!(token.fields().next().unwrap().0, "key");
            assert_eq!(token.field("x-oss-forbid-overwrite"), Some("false"));
            assert_eq!(token.field("x-oss-object-acl"), Some("default"));
            assert_eq!(token.field("X:USER"), Some("7 \"é\""));
        }
    }
}

#[test]
fn a_prefix_lets_oss_fill_in_the_name() {
    let token = signed(builder_for("user/1/".parse::<ObjectPrefix>().unwrap()));
    assert_eq!(token.key(), "user/1/${filename}");
    assert_eq!(token.field("key"), Some("user/1/${filename}"));
    assert_eq!(
        conditions(&token)[0],
        json!(["starts-with", "$key", "user/1/"])
    );
}

#[test]
fn the_host_is_a_setting_apart_from_the_region() {
    for (endpoint, url) in [
        (
            Endpoint::accelerate(),
            "https://examplebucket.oss-accelerate.aliyuncs.com",
        ),
        (
            Endpoint::custom("https://up.example.com".parse().unwrap()),
            "https://up.example.com",
        ),
        (
            Endpoint::internal(&"cn-beijing".parse().unwrap()),
            "https://examplebucket.oss-cn-beijing-internal.aliyuncs.com",
        ),
    ] {
        let token = signed(builder().endpoint(endpoint));
        assert_eq!(token.url().as_str(), url);
        assert!(
            token
                .field("x-oss-credential")
                .unwrap()
                .contains("/cn-hangzhou/")
        );
        assert!(conditions(&token).contains(&json!({ "bucket": "examplebucket" })));
    }
}

#[test]
fn clones_of_a_builder_sign_alike() {
    let template = builder();
    let first = signed(template.clone());
    let other = template
        .clone()
        .key("user/2/b.png".parse::<ObjectKey>().unwrap())
        .size(SizeRange::new(5, 5).unwrap());
    assert_eq!(first, signed(template));
    let other = signed(other);
    assert_eq!(other.key(), "user/2/b.png");
    assert!(conditions(&other).contains(&json!(["content-length-range", 5, 5])));
    assert_eq!(
        other.field("x-oss-signature").unwrap(),
        v4_signature(&other)
    );
}

#[test]
fn pl_02_an_empty_prefix() {
    let error = "".parse::<ObjectPrefix>().unwrap_err();
    assert_eq!(error, ObjectError::Empty);
    assert!(error.to_string().contains("the whole bucket"));
    assert_eq!("".parse::<ObjectKey>(), Err(ObjectError::Empty));
}

#[test]
fn pl_03_a_prefix_without_its_slash() {
    let error = "user/1".parse::<ObjectPrefix>().unwrap_err();
    assert_eq!(error, ObjectError::NoTrailingSlash);
    assert!(error.to_string().contains("user/10/"));
}

#[test]
fn pl_05_names_that_mean_another_place() {
    let long = "é".repeat(512);
    for name in [
        "..",
        "../a",
        "a/../b",
        ".",
        "./a",
        "a//b",
        "/a",
        "\\a",
        "a\\b",
        "a\0",
        "a\n",
        "a\u{7f}",
        "a\u{202e}b",
        &long,
    ] {
        assert!(name.parse::<ObjectKey>().is_err(), "{name:?}");
        assert!(
            format!("{name}/").parse::<ObjectPrefix>().is_err(),
            "{name:?}"
        );
    }
    // A lone surrogate cannot reach the parser: JSON that contains one fails to deserialize.
    assert!(serde_json::from_str::<String>(r#""a\ud800""#).is_err());
    let error = long.parse::<ObjectKey>().unwrap_err();
    assert!(error.to_string().contains("InvalidObjectName"));
}

#[test]
fn pl_06_dollars() {
    for name in ["$", "a/$", "${filename}", "a/${filename}", "a$b"] {
        assert_eq!(name.parse::<ObjectKey>(), Err(ObjectError::Dollar));
        let prefix = format!("{name}/").parse::<ObjectPrefix>();
        assert_eq!(prefix, Err(ObjectError::Dollar));
    }
    assert!("\\${".parse::<ObjectKey>().is_err());
    let (field, why) = problem(builder().field("x-oss-meta-a", "${filename}"));
    assert_eq!((&*field, why), ("x-oss-meta-a", FieldProblem::Dollar));
    let variable = callback()
        .variable("x:user", "${object}")
        .map(|c| builder().callback(c));
    if let Ok(with_variable) = variable {
        assert_eq!(
            problem(with_variable),
            ("x:user".to_owned(), FieldProblem::Dollar)
        );
    }
}

/// Shared, so that the signing key of the day is derived only once.
static TEMPLATE: LazyLock<PostPolicyBuilder> = LazyLock::new(builder);
static PAIR: LazyLock<Credentials> = LazyLock::new(credentials);

/// Asserts that the policy contains exactly these inputs. Returns `false` if the builder rejects
/// them.
fn assert_faithful(key: &str, value: &str, list: &[String]) -> bool {
    let (Ok(key), Ok(callback)) = (key.parse::<ObjectKey>(), callback().variable("x:a", value))
    else {
        return false;
    };
    let list: Vec<&str> = list.iter().map(String::as_str).collect();
    let built = TEMPLATE
        .clone()
        .key(key.clone())
        .callback(callback)
        .field("x-oss-meta-a", value)
        .condition(Condition::starts_with("x-oss-meta-b", value))
        .condition(Condition::one_of("x-oss-meta-c", list.iter().copied()))
        .build();
    let Ok(policy) = built else {
        return false;
    };
    let token = policy.sign(&PAIR, now()).unwrap();
    let all = conditions(&token);
    assert_eq!(all.len(), 15);
    assert_eq!(all[0], json!(["eq", "$key", key.as_str()]));
    assert_eq!(all[10], json!(["eq", "$x-oss-meta-a", value]));
    assert_eq!(all[11], json!(["starts-with", "$x-oss-meta-b", value]));
    assert_eq!(all[12], json!(["in", "$x-oss-meta-c", list]));
    assert_eq!(all[14], json!(["eq", "$x:a", value]));
    assert_eq!(token.field("x:a"), Some(value));
    assert_eq!(token.field("key"), Some(key.as_str()));
    true
}

#[test]
fn pl_07_text_cannot_become_a_condition() {
    let attack = r#"x"],["starts-with","$key",""],["eq","$a",""#;
    let harmless = attack.replace('$', "");
    assert!(assert_faithful(
        &harmless,
        &harmless,
        std::slice::from_ref(&harmless)
    ));
    assert!(!assert_faithful(attack, "a", &["a".to_owned()]));
    assert!(!assert_faithful("a", attack, &["a".to_owned()]));
    assert!(attack.parse::<Bucket>().is_err());
    assert!(attack.parse::<ContentType>().is_err());
    assert!(CallbackDirective::new(attack).is_err());
    let (_, why) = problem(builder().field(attack, "a"));
    assert_eq!(why, FieldProblem::Name);
}

#[test]
fn pl_07_policies_say_what_was_put_in() {
    policies_say_what_was_put_in(2_000);
}

mod soak {
    #[test]
    #[ignore = "soak: a hundred thousand policies"]
    fn pl_07_policies_say_what_was_put_in() {
        super::policies_say_what_was_put_in(100_000);
    }
}

fn policies_say_what_was_put_in(policies: u32) {
    let mut runner = TestRunner::deterministic();
    let inputs = (
        proptest::collection::vec(any::<char>(), 1..12),
        proptest::collection::vec(any::<char>(), 0..12),
        proptest::collection::vec("[^$\\p{Cc}]{0,6}", 1..3),
    );
    // Exclude characters that are always rejected; otherwise hardly any policy could be built.
    let value_of = |chars: &[char]| -> String {
        let good = |c: &&char| !c.is_control() && **c != '$';
        chars.iter().filter(good).collect()
    };
    let mut faithful = 0;
    while faithful < policies {
        let (key, value, list) = inputs.new_tree(&mut runner).unwrap().current();
        let key = value_of(&key).replace(['\\', '/'], "");
        faithful += u32::from(assert_faithful(&key, &value_of(&value), &list));
    }
}

#[test]
fn pl_08_nothing_stands_twice() {
    for twice in [
        builder().field("Expires", "a").field("expires", "a"),
        builder()
            .field("Expires", "a")
            .condition(Condition::equals("EXPIRES", "b")),
        builder()
            .condition(Condition::starts_with("expires", "a"))
            .condition(Condition::starts_with("Expires", "b")),
    ] {
        let (field, why) = problem(twice);
        assert!(field.eq_ignore_ascii_case("expires"));
        assert_eq!(why, FieldProblem::Repeated);
    }
    for owned in [
        "key",
        "Key",
        "bucket",
        "content-length-range",
        "callback",
        "x:ticket",
        "policy",
        "file",
        "x-oss-object-acl",
        "X-OSS-Forbid-Overwrite",
        "x-oss-content-type",
        "Content-Type",
        "success_action_status",
        "x-oss-credential",
        "x-oss-date",
        "x-oss-security-token",
        "signature",
        "OSSAccessKeyId",
    ] {
        for wrong in [
            builder().field(owned, "a"),
            builder().condition(Condition::starts_with(owned, "a")),
        ] {
            let (field, why) = problem(wrong);
            assert_eq!(field, owned);
            assert!(matches!(why, FieldProblem::Reserved(_)), "{owned}");
        }
    }
    let token = signed(builder().field("Expires", "0"));
    let names: HashSet<_> = token
        .fields()
        .map(|(name, _)| name.to_ascii_lowercase())
        .collect();
    assert_eq!(names.len(), token.fields().len());
}

#[test]
fn pl_11_lifetimes_and_clocks_that_cannot_be() {
    for wrong in [
        Duration::ZERO,
        Duration::from_millis(999),
        Duration::from_secs(604_801),
        Duration::MAX,
    ] {
        let error = builder().lifetime(wrong).build().unwrap_err();
        assert_eq!(error, PolicyError::Lifetime);
        assert!(error.to_string().contains("EC 0006-00000213"));
    }
    let week = builder()
        .lifetime(Duration::from_secs(604_800))
        .build()
        .unwrap();
    let expiration = |at| {
        let token = week.sign(&credentials(), at)?;
        Ok::<_, PolicyError>(document(&token)["expiration"].clone())
    };
    assert_eq!(expiration(now()).unwrap(), "2025-01-07T23:59:30.000Z");
    assert_eq!(
        expiration(at(1_709_164_799) + Duration::from_millis(999)).unwrap(),
        "2024-03-06T23:59:59.000Z"
    );
    for wrong in [
        SystemTime::UNIX_EPOCH - Duration::from_secs(1),
        at(253_402_300_800),
        at(i64::MAX as u64),
    ] {
        assert_eq!(expiration(wrong), Err(PolicyError::Clock));
    }
}

#[test]
fn pl_12_all_dates_are_of_one_instant() {
    let policy = builder().build().unwrap();
    let midnight = at(1_735_689_600);
    for (instant, day, date) in [
        (
            midnight - Duration::from_millis(100),
            "20241231",
            "20241231T235959Z",
        ),
        (
            midnight + Duration::from_millis(100),
            "20250101",
            "20250101T000000Z",
        ),
        // Back to the first day: the cached key of the other day is not used.
        (
            midnight - Duration::from_nanos(1),
            "20241231",
            "20241231T235959Z",
        ),
    ] {
        let token = policy.sign(&credentials(), instant).unwrap();
        assert_eq!(token.field("x-oss-date"), Some(date));
        let credential = format!("LTAI5tExample/{day}/cn-hangzhou/oss/aliyun_v4_request");
        assert_eq!(token.field("x-oss-credential"), Some(&*credential));
        assert_eq!(
            token.field("x-oss-signature").unwrap(),
            v4_signature(&token)
        );
        let pinned = equalities(&token);
        assert!(pinned.contains(&("x-oss-date".to_owned(), date.to_owned())));
        assert!(pinned.contains(&("x-oss-credential".to_owned(), credential)));
    }
}

#[test]
fn pl_14_sizes_that_cannot_be() {
    let error = SizeRange::new(2, 1).unwrap_err();
    assert_eq!(error, ObjectError::SizeReversed);
    assert!(error.to_string().contains("EC 0006-00000219"));
    for max in [SizeRange::LIMIT + 1, u64::MAX] {
        assert_eq!(SizeRange::new(0, max), Err(ObjectError::SizeTooLarge));
    }
    // The builder requires a size range, so no policy can lack one.
    let range = |condition: &&Value| condition[0] == "content-length-range";
    assert_eq!(
        conditions(&signed(builder())).iter().filter(range).count(),
        1
    );
}

#[test]
fn pl_15_statuses_and_redirects() {
    for status in [0, 100, 202, 302, 400, 2000] {
        let (field, why) = problem(builder().success_action_status(status));
        assert_eq!(
            (&*field, why),
            ("success_action_status", FieldProblem::Status)
        );
    }
    for status in [200, 201, 204] {
        let token = signed(builder().success_action_status(status));
        assert_eq!(
            token.field("success_action_status").unwrap(),
            status.to_string()
        );
    }
    let redirect = builder().field("success_action_redirect", "https://evil.example/");
    assert!(matches!(problem(redirect).1, FieldProblem::Reserved(_)));
}

#[test]
fn pl_16_content_types() {
    let types = |list: &[&str]| -> Vec<ContentType> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    };
    for active in [
        "text/html",
        "TEXT/HTML",
        "image/svg+xml",
        "application/xhtml+xml",
        "text/xml",
        "application/xml",
        "text/javascript",
    ] {
        let one = builder().content_type(active.parse().unwrap());
        assert_eq!(
            problem(one.clone()).1,
            FieldProblem::ActiveContent,
            "{active}"
        );
        let among = builder().content_types(types(&["image/png", active]));
        assert_eq!(problem(among).1, FieldProblem::ActiveContent, "{active}");
        assert!(one.allow_active_content().build().is_ok());
    }
    assert_eq!(
        "*/*".parse::<ContentType>(),
        Err(ObjectError::ContentTypeWildcard)
    );
    assert!("image/png\r\nx: y".parse::<ContentType>().is_err());
    assert_eq!(
        problem(builder().content_types([])).1,
        FieldProblem::EmptyList
    );
    let twice = builder().content_types(types(&["image/png", "Image/PNG"]));
    assert_eq!(problem(twice).1, FieldProblem::Repeated);

    // No type: `application/octet-stream`. One type: pinned. Several: the client chooses. Any type:
    // no condition.
    let octets = signed(builder());
    assert_eq!(
        octets.field("x-oss-content-type"),
        Some("application/octet-stream")
    );
    let one = signed(builder().content_types(types(&["image/png"])));
    assert_eq!(one.field("x-oss-content-type"), Some("image/png"));
    let several = signed(builder().content_types(types(&["image/png", "image/jpeg"])));
    assert_eq!(several.field("x-oss-content-type"), None);
    let rule = json!(["in", "$x-oss-content-type", ["image/png", "image/jpeg"]]);
    assert!(conditions(&several).contains(&rule));
    let any = signed(builder().any_content_type());
    assert!(!document(&any).to_string().contains("content-type"));
}

#[test]
fn pl_18_the_callback_and_its_variables_are_always_pinned() {
    let with = callback().variable("x:ticket", "t").unwrap();
    for built in [
        builder().callback(with.clone()),
        builder()
            .callback(with.clone())
            .any_content_type()
            .signature(SignatureVersion::V1),
    ] {
        let pinned = equalities(&signed(built));
        assert!(pinned.contains(&("callback".to_owned(), with.encoded().to_owned())));
        assert!(pinned.contains(&("x:ticket".to_owned(), "t".to_owned())));
    }
}

#[test]
fn pl_19_a_policy_never_outlives_its_sts_token() {
    let sts = |end| {
        credentials()
            .with_security_token(TOKEN)
            .unwrap()
            .with_expiry(end)
    };
    for version in [SignatureVersion::V4, SignatureVersion::V1] {
        let policy = builder().signature(version).build().unwrap();
        let token = policy.sign(&sts(at(1_735_689_600)), now()).unwrap();
        assert_eq!(token.field("x-oss-security-token"), Some(TOKEN));
        let rule = json!({ "x-oss-security-token": TOKEN });
        assert!(conditions(&token).contains(&rule));
        assert_eq!(token.expires_unix(), 1_735_689_600);
        assert_eq!(document(&token)["expiration"], "2025-01-01T00:00:00.000Z");
        let long = policy.sign(&sts(at(1_800_000_000)), now()).unwrap();
        assert_eq!(long.expires_unix(), 1_735_690_470);
        for ended in [at(0), at(1_735_689_569), now()] {
            let error = policy.sign(&sts(ended), now()).unwrap_err();
            assert_eq!(error, PolicyError::CredentialsExpired);
            assert!(error.to_string().contains("SecurityTokenExpired"));
        }
    }
}

#[test]
fn pl_20_nothing_shows_a_secret() {
    let pair = credentials().with_security_token(TOKEN).unwrap();
    let template = builder();
    let policy = template.clone().build().unwrap();
    let token = policy.sign(&pair, now()).unwrap();
    let day_key = ["20241231", "cn-hangzhou", "oss", "aliyun_v4_request"]
        .iter()
        .fold(format!("aliyun_v4{SECRET}").into_bytes(), |key, part| {
            hmac_sha256(&key, part)
        });
    let day_key_debug = format!("{day_key:?}");
    let shown = format!(
        "{template:?} {template:#?} {policy:?} {policy:#?} {token:?} {token:#?} {:?} {:?}",
        SignatureVersion::V4,
        builder().field("x", "$canary").build(),
    );
    for secret in [
        "canary",
        token.field("policy").unwrap(),
        token.field("x-oss-signature").unwrap(),
        &day_key_debug,
    ] {
        assert!(!shown.contains(secret), "{shown}");
    }
    let error = builder()
        .field("x-oss-meta-a", "canary$")
        .build()
        .unwrap_err();
    assert!(!error.to_string().contains("canary"));
    // The token contains the STS token, but neither the secret nor the key derived from it.
    let sent = serde_json::to_string(&token).unwrap();
    let day_key_hex: String = day_key.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(sent.contains(TOKEN) && !sent.contains(SECRET) && !sent.contains(&day_key_hex));
    assert!(!sent.contains(&STANDARD.encode(&day_key)));
}

#[test]
fn pl_32_the_policy_is_padded_standard_base64_in_one_line() {
    let key: ObjectKey = "用户/照片 ÿ?>~.jpg".parse().unwrap();
    for version in [SignatureVersion::V4, SignatureVersion::V1] {
        let token = signed(builder_for(key.clone()).signature(version));
        let text = token.field("policy").unwrap();
        assert_eq!(STANDARD.encode(STANDARD.decode(text).unwrap()), text);
        let sent: Value = serde_json::to_value(&token).unwrap();
        assert_eq!(sent["fields"]["policy"], text);
    }
}

#[test]
fn errors_name_the_field_and_cite_oss() {
    for (wrong, field, cites) in [
        (
            builder().field("Expires", "\n"),
            "Expires",
            "EC 0006-00000227",
        ),
        (builder().field("", "a"), "", "EC 0006-00000110"),
        (
            builder().field("a", &"a".repeat(2_097_153)),
            "a",
            "EC 0006-00000112",
        ),
        (
            builder().condition(Condition::none_of("a", [])),
            "a",
            "EC 0006-00000227",
        ),
        (
            builder().field("Content-Type", "a/b"),
            "Content-Type",
            "use content_type",
        ),
    ] {
        let error = wrong.build().unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("the field {field:?} ")),
            "{error}"
        );
        assert!(error.contains(cites), "{error}");
    }
}
