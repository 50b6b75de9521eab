//! Policies of the crate against the emulator, which shares no code with the policy builder.

use aliyun_oss_emulator::{AccessKey, Emulator, HostedBucket};
use http::Request;
use http_body_util::Full;
use serde::Deserialize;
use serde_json::json;
use tower_aliyun_oss::{
    policy::{
        CallbackDirective, Condition, Credentials, PostPolicy, PostPolicyBuilder, SignatureVersion,
        UploadToken,
    },
    protocol::{Bucket, ContentType, ObjectAcl, ObjectKey, ObjectPrefix, SizeRange},
};

use super::support::{
    Answer, BUCKET, Form, HOST, ID, NOW, OneServer, SECRET, at, builder, callback, good, send,
    under,
};

const STS: &str = "STS.AKIDEXAMPLE";
const TOKEN: &str = "CAIStokenExample";

/// An emulator whose callbacks all succeed.
fn emulator() -> Emulator {
    let answer = |_| async { http::Response::new(Full::from("{\"Status\":\"OK\"}")) };
    builder()
        .access_key(AccessKey::new(STS, SECRET).with_security_token(TOKEN, at(NOW + 3600)))
        .network(OneServer::http(answer))
        .build()
        .unwrap()
}

fn directive() -> CallbackDirective {
    let directive = CallbackDirective::new("http://app.example/cb").unwrap();
    directive.variable("x:ticket", "the-ticket").unwrap()
}

fn settings() -> PostPolicyBuilder {
    PostPolicy::builder(
        BUCKET.parse().unwrap(),
        "cn-hangzhou".parse().unwrap(),
        "user/1/a.png".parse::<ObjectKey>().unwrap(),
        SizeRange::new(1, 10).unwrap(),
        directive(),
    )
}

fn long_term() -> Credentials {
    Credentials::new(ID, SECRET).unwrap()
}

fn temporary() -> Credentials {
    let pair = Credentials::new(STS, SECRET).unwrap();
    pair.with_security_token(TOKEN).unwrap()
}

fn sign(settings: PostPolicyBuilder, credentials: &Credentials) -> UploadToken {
    settings
        .build()
        .unwrap()
        .sign(credentials, at(NOW))
        .unwrap()
}

fn form(token: &UploadToken) -> Form {
    Form::new().fields(token.fields())
}

#[track_caller]
fn assert_stored(answer: &Answer) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.text(), "{\"Status\":\"OK\"}");
}

/// Every kind of token is accepted unchanged, but not on another day, for another bucket or with
/// another signature.
#[tokio::test]
async fn pl_31_tokens_are_taken_as_they_are() {
    let emulator = emulator();
    for version in [SignatureVersion::V4, SignatureVersion::V1] {
        for credentials in [long_term(), temporary()] {
            let token = sign(
                settings().signature(version).allow_overwrite(),
                &credentials,
            );
            assert_stored(&form(&token).file(b"12345").post(&emulator).await);

            let signature = match version {
                SignatureVersion::V1 => "Signature",
                _ => "x-oss-signature",
            };
            let mut altered = token.field(signature).unwrap().to_owned();
            let first = if altered.starts_with('0') { "1" } else { "0" };
            altered.replace_range(..1, first);
            let answer = form(&token)
                .with(signature, &altered)
                .file(b"12345")
                .post(&emulator)
                .await;
            answer.assert_refused(403, "SignatureDoesNotMatch", "0002-00000705");

            if credentials.security_token().is_some() {
                let answer = form(&token)
                    .without("x-oss-security-token")
                    .file(b"12345")
                    .post(&emulator)
                    .await;
                answer.assert_refused(403, "InvalidAccessKeyId", "0002-00000902");
            }
        }
    }
}

/// A golden policy: an upload inside of it passes, uploads outside of each condition fail.
#[tokio::test]
async fn pl_31_each_condition_holds() {
    let emulator = emulator();
    let png: ContentType = "image/png".parse().unwrap();
    let jpeg: ContentType = "image/jpeg".parse().unwrap();
    let settings = settings()
        .key("user/1/".parse::<ObjectPrefix>().unwrap())
        .content_types([png, jpeg])
        .object_acl(ObjectAcl::PublicRead)
        .field("Cache-Control", "no-cache")
        .condition(Condition::starts_with("x-oss-meta-album", "holiday-"))
        .condition(Condition::none_of("x-oss-meta-tag", ["secret", "hidden"]))
        .condition(Condition::one_of(
            "Content-Disposition",
            ["inline", "attachment"],
        ));
    let token = sign(settings, &long_term());
    let inside = || {
        form(&token)
            .field("x-oss-content-type", "image/png")
            .field("x-oss-meta-album", "holiday-2023")
            .field("x-oss-meta-tag", "sea")
            .field("Content-Disposition", "inline")
    };
    assert_stored(
        &inside()
            .file_of("b.png", "image/gif", b"12345")
            .post(&emulator)
            .await,
    );
    let list = emulator
        .store()
        .list(&BUCKET.parse().unwrap())
        .await
        .unwrap();
    assert_eq!(
        (list[0].key(), list[0].content_type()),
        ("user/1/b.png", "image/png")
    );

    for (field, value) in [
        ("key", "user/2/${filename}"),
        ("key", "${filename}"),
        ("x-oss-signature-version", "OSS2"),
        ("success_action_status", "201"),
        ("x-oss-object-acl", "public-read-write"),
        ("x-oss-forbid-overwrite", "false"),
        ("x-oss-content-type", "text/html"),
        ("x-oss-content-type", "IMAGE/PNG"),
        ("Cache-Control", "max-age=1"),
        ("callback", "e30="),
        ("x:ticket", "another"),
        ("x-oss-meta-album", "work"),
        ("x-oss-meta-tag", "hidden"),
        ("Content-Disposition", "attachment; filename=x"),
    ] {
        let answer = inside()
            .with(field, value)
            .file(b"12345")
            .post(&emulator)
            .await;
        if field == "x-oss-signature-version" {
            answer.assert_refused(400, "NotImplemented", "");
            continue;
        }
        answer.assert_refused(403, "AccessDenied", "0006-00000227");
        let message = answer.element("Message").unwrap();
        assert!(
            message.contains(&format!("\"${field}\"")),
            "{field}: {message}"
        );
    }
    // A field with a condition is required, and the date must match to the second.
    for field in [
        "callback",
        "x:ticket",
        "x-oss-object-acl",
        "x-oss-meta-tag",
        "success_action_status",
    ] {
        let answer = inside().without(field).file(b"12345").post(&emulator).await;
        answer.assert_refused(403, "AccessDenied", "0006-00000227");
    }
    let answer = inside()
        .with("x-oss-date", "20231203T121213Z")
        .file(b"12345")
        .post(&emulator)
        .await;
    answer.assert_refused(403, "AccessDenied", "0006-00000227");
    for (content, code, ec) in [
        (&b""[..], "EntityTooSmall", "0006-00000004"),
        (b"12345678901", "EntityTooLarge", "0006-00000003"),
    ] {
        let answer = inside().file(content).post(&emulator).await;
        answer.assert_refused(400, code, ec);
    }
    // The same form, sent to another bucket.
    let two = builder()
        .bucket(HostedBucket::new("other".parse().unwrap()))
        .build()
        .unwrap();
    let mut request = inside().file(b"12345").request();
    request
        .headers_mut()
        .insert("host", "other.localhost".parse().unwrap());
    send(&two, request)
        .await
        .assert_refused(403, "AccessDenied", "0006-00000227");
}

#[tokio::test]
async fn pl_17_what_an_uploader_alters_is_refused() {
    let emulator = emulator();
    let token = sign(settings().field("x-oss-meta-user", "1"), &long_term());
    let denied = async |form: Form| {
        let answer = form.file(b"12345").post(&emulator).await;
        answer.assert_refused(403, "AccessDenied", "0006-00000227");
    };
    let other = callback(&json!({ "callbackUrl": "http://evil.example/", "callbackBody": "a" }));
    for (field, value) in [
        ("x-oss-content-type", "text/html"),
        ("x-oss-object-acl", "public-read"),
        ("x-oss-forbid-overwrite", "false"),
        ("x-oss-meta-user", "2"),
        ("callback", &other),
        ("x:ticket", "another"),
        ("key", "user/2/a.png"),
    ] {
        denied(form(&token).with(field, value)).await;
        // A second field with the same name, before or after the first, or in capitals.
        denied(form(&token).field(field, value)).await;
        denied(Form::new().field(field, value).fields(token.fields())).await;
        denied(form(&token).field(&field.to_ascii_uppercase(), value)).await;
    }
    // Field names ignore case, except those of custom variables.
    let capitals = token.fields().map(|(name, value)| {
        let name = if name.starts_with("x:") {
            name.to_owned()
        } else {
            name.to_ascii_uppercase()
        };
        (name, value)
    });
    let shouted = capitals.fold(Form::new(), |form, (name, value)| form.field(&name, value));
    assert_stored(&shouted.file(b"12345").post(&emulator).await);

    // The ACL field overrides the header.
    let mut request = form(&token).file(b"12345").request();
    request
        .headers_mut()
        .insert("x-oss-object-acl", "public-read".parse().unwrap());
    let token = sign(settings().allow_overwrite(), &long_term());
    let body = form(&token).file(b"12345").bytes();
    request
        .headers_mut()
        .insert("content-length", body.len().into());
    *request.body_mut() = body.into();
    assert_stored(&send(&emulator, request).await);
    let read = Request::get("/user/1/a.png")
        .header("host", HOST)
        .body(Full::default())
        .unwrap();
    send(&emulator, read)
        .await
        .assert_refused(403, "AccessDenied", "0003-00000001");

    // Without a field, the header applies.
    let mut request = good(&[("key", "b")]).file(b"x").request();
    request
        .headers_mut()
        .insert("x-oss-object-acl", "public-read".parse().unwrap());
    assert_eq!(send(&emulator, request).await.status, 204);
    let read = Request::get("/b")
        .header("host", HOST)
        .body(Full::default())
        .unwrap();
    assert_eq!(send(&emulator, read).await.status, 200);
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    version: String,
    access_key_id: String,
    access_key_secret: String,
    security_token: Option<String>,
    x_oss_credential: Option<String>,
    x_oss_date: Option<String>,
    policy_base64: Option<String>,
    expected_signature: String,
}

/// Published signed policies, each with a matching form and one that does not match.
#[tokio::test]
async fn vectors() {
    let vectors: Vec<Vector> =
        serde_json::from_str(include_str!("../cases/policies.json")).unwrap();
    let mut seen = 0;
    for vector in vectors {
        let Some(policy) = &vector.policy_base64 else {
            continue;
        };
        let v4_fields: &[_] = &[
            ("key", "user/eric/a"),
            ("success_action_status", "201"),
            ("content-type", "image/png"),
            ("cache-control", "max-age=1"),
        ];
        let (now, bucket, fields, status): (_, _, &[_], _) = match &*vector.name {
            // 2020-03-19T03:44:06Z
            "java-sdk-testGenPostPolicy" => (
                1_584_589_446,
                "gen-post-policy",
                &[
                    ("key", "user/eric/${filename}"),
                    ("x-oss-meta-tag", "dummy_etag_1"),
                ],
                204,
            ),
            "elixir-aliyun_oss-doctest" => {
                (1_385_899_200, "ahaha", &[("key", "ABC"), ("a", "a")], 204)
            }
            "derived-v1-johnsmith" => (1_417_435_200, "johnsmith", &[("key", "user/eric/a")], 204),
            "derived-v4-aksk" | "derived-v4-sts" => (NOW, BUCKET, v4_fields, 201),
            other => panic!("no form for vector {other}"),
        };
        let mut key = AccessKey::new(&vector.access_key_id, &vector.access_key_secret);
        let mut form = Form::new()
            .fields(fields.iter().copied())
            .field("policy", policy);
        if let Some(token) = &vector.security_token {
            key = key.with_security_token(token, at(now + 7200));
            form = form.field("x-oss-security-token", token);
        }
        if vector.version == "V4" {
            form = form
                .field("x-oss-signature-version", "OSS4-HMAC-SHA256")
                .field(
                    "x-oss-credential",
                    vector.x_oss_credential.as_ref().unwrap(),
                )
                .field("x-oss-date", vector.x_oss_date.as_ref().unwrap())
                .field("x-oss-signature", &vector.expected_signature);
        } else {
            form = form
                .field("OSSAccessKeyId", &vector.access_key_id)
                .field("Signature", &vector.expected_signature);
        }
        let emulator_at = |now| {
            Emulator::builder()
                .bucket(bucket.parse::<Bucket>().unwrap())
                .access_key(key.clone())
                .clock(move || at(now))
                .build()
                .unwrap()
        };
        let post = async |emulator: &Emulator, form: Form| {
            let mut request = form.file(b"12345").request();
            let host = format!("{bucket}.localhost");
            request.headers_mut().insert("host", host.parse().unwrap());
            send(emulator, request).await
        };
        let emulator = emulator_at(now);
        let answer = post(&emulator, form.clone()).await;
        assert_eq!(answer.status, status, "{}: {}", vector.name, answer.text());
        let answer = post(&emulator, form.clone().with("key", "other")).await;
        answer.assert_refused(403, "AccessDenied", "0006-00000227");
        let answer = post(&emulator_at(now + 3600), form).await;
        answer.assert_refused(403, "AccessDenied", "0006-00000213");
        seen += 1;
    }
    assert_eq!(seen, 5);
}

/// Section 10 of the reference, version 4.
#[tokio::test]
async fn version_4_says_when_and_where_it_is_good_for() {
    let week = 7 * 24 * 3600;
    let token = sign(
        settings().lifetime(std::time::Duration::from_secs(week)),
        &long_term(),
    );
    let sts = sign(settings(), &temporary());
    let answer_at = async |now: u64| {
        let answer = |_| async { http::Response::new(Full::from("{\"Status\":\"OK\"}")) };
        let emulator = builder()
            .clock(move || at(now))
            .network(OneServer::http(answer))
            .build()
            .unwrap();
        form(&token).file(b"12345").post(&emulator).await
    };
    for good in [NOW - 900, NOW, NOW + week] {
        assert_stored(&answer_at(good).await);
    }
    answer_at(NOW - 901)
        .await
        .assert_refused(403, "RequestTimeTooSkewed", "0002-00000504");
    // The policy expires with the signature at the latest.
    answer_at(NOW + week + 1)
        .await
        .assert_refused(403, "AccessDenied", "0006-00000213");

    let emulator = emulator();
    let with = async |field: &str, value: &str| {
        form(&token)
            .with(field, value)
            .file(b"12345")
            .post(&emulator)
            .await
    };
    let credential = token.field("x-oss-credential").unwrap();
    for (from, to, ec) in [
        ("aliyun_v4_request", "aws4_request", "0002-00000710"),
        ("/oss/", "/s3/", "0002-00000710"),
        ("cn-hangzhou", "cn-beijing", "0002-00000710"),
        ("/oss", "", "0002-00000710"),
        (ID, "", "0002-00000708"),
        (ID, "a\tb", "0002-00000708"),
        ("20231203", "2023-12-03", "0002-00000709"),
        ("20231203", "20231303", "0002-00000709"),
        ("20231203", "20231204", "0002-00000709"),
    ] {
        let answer = with("x-oss-credential", &credential.replace(from, to)).await;
        answer.assert_refused(400, "InvalidArgument", ec);
    }
    for odd in ["", "20231203", "2023-12-03T12:12:12Z", "20231203T996161Z"] {
        with("x-oss-date", odd)
            .await
            .assert_refused(400, "InvalidArgument", "");
    }
    with("x-oss-signature", "")
        .await
        .assert_refused(400, "InvalidArgument", "0002-00000704");
    let capitals = token.field("x-oss-signature").unwrap().to_ascii_uppercase();
    with("x-oss-signature", &capitals).await.assert_refused(
        403,
        "SignatureDoesNotMatch",
        "0002-00000705",
    );
    assert_stored(&form(&sts).file(b"12345").post(&emulator).await);

    // The policy must have conditions for the inputs of the signature.
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use hmac::{Hmac, KeyInit as _, Mac as _};
    let mac = |key: &[u8], text: &str| {
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(key).unwrap();
        mac.update(text.as_bytes());
        mac.finalize().into_bytes().to_vec()
    };
    let unpinned = STANDARD.encode(
        json!({ "expiration": "2023-12-03T13:00:00Z", "conditions": [{ "bucket": BUCKET }] })
            .to_string(),
    );
    let seed = format!("aliyun_v4{SECRET}").into_bytes();
    let parts = ["20231203", "cn-hangzhou", "oss", "aliyun_v4_request"];
    let key = parts.into_iter().fold(seed, |key, part| mac(&key, part));
    let signature: String = mac(&key, &unpinned)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    let unpinned_form = form(&token)
        .with("policy", &unpinned)
        .with("x-oss-signature", &signature);
    let answer = unpinned_form.file(b"12345").post(&emulator).await;
    answer.assert_refused(400, "InvalidPolicyDocument", "0006-00000201");

    // A policy that expires later does not extend the signature.
    let date = token.field("x-oss-date").unwrap();
    let outlives = STANDARD.encode(
        json!({ "expiration": "2024-12-03T13:00:00Z", "conditions": [
            { "x-oss-signature-version": "OSS4-HMAC-SHA256" },
            { "x-oss-credential": credential },
            { "x-oss-date": date },
        ] })
        .to_string(),
    );
    let signature: String = mac(&key, &outlives)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    let form = Form::new()
        .field("key", "a")
        .field("x-oss-signature-version", "OSS4-HMAC-SHA256")
        .field("x-oss-credential", credential)
        .field("x-oss-date", date)
        .field("policy", &outlives)
        .field("x-oss-signature", &signature)
        .file(b"x");
    for (after, status) in [(week, 204), (week + 1, 403)] {
        let emulator = builder().clock(move || at(NOW + after)).build().unwrap();
        let answer = form.post(&emulator).await;
        assert_eq!(answer.status.as_u16(), status);
        if status == 403 {
            answer.assert_refused(403, "AccessDenied", "");
        }
    }
}

/// Conditions are checked before `${filename}` is expanded, and may contain an escaped dollar sign.
#[tokio::test]
async fn file_names_are_filled_in_after_the_policy() {
    let emulator = emulator();
    let conditions = json!([["eq", "$key", "user/\\${filename}"]]);
    let upload = |key| under(&conditions, &[("key", key)]).file_of("照片 1.png", "image/png", b"x");
    assert_eq!(upload("user/${filename}").post(&emulator).await.status, 204);
    upload("user/照片 1.png")
        .post(&emulator)
        .await
        .assert_refused(403, "AccessDenied", "0006-00000227");
    let list = emulator
        .store()
        .list(&BUCKET.parse().unwrap())
        .await
        .unwrap();
    assert_eq!(list[0].key(), "user/照片 1.png");
}
