//! Every error code (EC) of the reference with a documented trigger.

use aliyun_oss_emulator::{AccessKey, Acl, HostedBucket};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use super::support::{
    BOUNDARY, BUCKET, Form, HOST, ID, NOW, OneServer, SECRET, at, builder, callback, emulator,
    good, request, send, signed, under,
};

/// Section 9.3 of the reference: policies that do not parse.
#[tokio::test]
async fn policies_that_are_none() {
    let expiration = "2023-12-03T13:00:00.000Z";
    let conditions =
        |list: Value| json!({ "expiration": expiration, "conditions": list }).to_string();
    let one = |condition: Value| conditions(json!([condition]));
    let table = [
        ("{".to_owned(), "201"),
        ("[]".to_owned(), "201"),
        (conditions(json!("abc")), "201"),
        (conditions(json!([{ "a": "b", "c": "d" }])), "201"),
        (conditions(json!([{}])), "201"),
        (one(json!(["like", "$key", "a"])), "201"),
        (
            json!({ "expiration": "tomorrow", "conditions": [["eq", "$key", "a"]] }).to_string(),
            "201",
        ),
        (
            json!({ "expiration": "2023-12-03 13:00:00Z", "conditions": [["eq", "$key", "a"]] })
                .to_string(),
            "201",
        ),
        (
            json!({ "expiration": expiration, "conditions": [["eq", "$key", "a"]], "more": 1 })
                .to_string(),
            "206",
        ),
        (json!({ "expiration": expiration }).to_string(), "207"),
        (
            json!({ "conditions": [["eq", "$key", "a"]] }).to_string(),
            "208",
        ),
        ("{}".to_owned(), "209"),
        (
            json!({ "expiration": 1, "conditions": [["eq", "$key", "a"]] }).to_string(),
            "210",
        ),
        (
            json!({ "expiration": "", "conditions": [["eq", "$key", "a"]] }).to_string(),
            "211",
        ),
        (conditions(json!([])), "215"),
        (one(json!(["starts-with", "$key", "a", "b"])), "218"),
        (one(json!(["eq", "$key"])), "218"),
        (one(json!([])), "218"),
        (one(json!(["content-length-range", 1])), "218"),
        (one(json!(["content-length-range", 20, 10])), "219"),
        (one(json!(["content-length-range", "test", 10])), "220"),
        (one(json!(["content-length-range", -1, 10])), "220"),
        (one(json!(["content-length-range", 1.5, 10])), "220"),
        (one(json!(["content-length-range", 10, "test"])), "221"),
        (one(json!(["content-length-range", [1], "test"])), "223"),
        (one(json!(["eq", "$key", 1])), "223"),
        (one(json!(["eq", 1, "a"])), "223"),
        (one(json!([1, "$key", "a"])), "223"),
        (one(json!({ "key": 1 })), "223"),
        (one(json!("key")), "223"),
        (one(json!(["in", "$key", ["a", 1]])), "223"),
        (one(json!(["not-in", "cache-control", "no-cache"])), "224"),
        (one(json!(["in", "$key", "a"])), "224"),
    ];
    let emulator = emulator();
    for (document, ec) in table {
        let signed = signed(document.as_bytes());
        let fields = signed.iter().map(|(name, value)| (*name, &**value));
        let form = Form::new().field("key", "a").fields(fields).file(b"x");
        let answer = form.post(&emulator).await;
        answer.assert_refused(400, "InvalidPolicyDocument", &format!("0006-00000{ec}"));
    }
    for (document, message) in [
        ("{e}", "Invalid Policy: Invalid JSON: unknown char e"),
        (
            r#"{"conditions":["a" "b"]}"#,
            "Invalid Policy: Invalid JSON: , or ] expected",
        ),
        (
            r#"{"expiration":"2023-12-03T13:00:00Z","conditions":[{"a":"b","c":"d"}]}"#,
            "Invalid Policy: Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.",
        ),
    ] {
        let signed = signed(document.as_bytes());
        let fields = signed.iter().map(|(name, value)| (*name, &**value));
        let form = Form::new().field("key", "a").fields(fields).file(b"x");
        let answer = form.post(&emulator).await;
        assert_eq!(answer.element("Message").unwrap(), message);
        answer.assert_refused(400, "InvalidPolicyDocument", "0006-00000201");
    }
    assert!(
        emulator
            .store()
            .list(&BUCKET.parse().unwrap())
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn policies_that_do_not_hold() {
    let emulator = emulator();
    let failed = async |condition: Value, more: &[(&str, &str)], printed: &str| {
        let answer = under(&json!([condition]), more)
            .file(b"x")
            .post(&emulator)
            .await;
        answer.assert_refused(403, "AccessDenied", "0006-00000227");
        let message = format!("Invalid according to Policy: Policy Condition failed: {printed}");
        assert_eq!(answer.element("Message").unwrap(), message);
    };
    failed(json!({ "bucket": "x" }), &[], r#"["eq", "$bucket", "x"]"#).await;
    // The form field does not determine the bucket.
    failed(
        json!({ "bucket": "x" }),
        &[("bucket", "x")],
        r#"["eq", "$bucket", "x"]"#,
    )
    .await;
    failed(
        json!(["eq", "success_action_status", "200"]),
        &[("success_action_status", "204")],
        r#"["eq", "$success_action_status", "200"]"#,
    )
    .await;
    let missing = r#"["starts-with", "$x-oss-meta-a", ""]"#;
    failed(json!(["starts-with", "$x-oss-meta-a", ""]), &[], missing).await;
    failed(
        json!(["in", "$x-oss-content-type", ["a/b", "c/d"]]),
        &[("x-oss-content-type", "a/c")],
        r#"["in", "$x-oss-content-type", ["a/b", "c/d"]]"#,
    )
    .await;
    failed(
        json!(["not-in", "$Cache-Control", ["no-cache"]]),
        &[("cache-control", "no-cache")],
        r#"["not-in", "$Cache-Control", ["no-cache"]]"#,
    )
    .await;

    // The policy is still valid at the instant of its expiration.
    let late = |seconds| builder().clock(move || at(NOW + seconds)).build().unwrap();
    assert_eq!(good(&[]).file(b"x").post(&late(2868)).await.status, 204);
    let answer = good(&[]).file(b"x").post(&late(2869)).await;
    answer.assert_refused(403, "AccessDenied", "0006-00000213");
    assert_eq!(
        answer.element("Message").unwrap(),
        "Invalid according to Policy: Policy expired."
    );

    let sized = |content: &[u8]| under(&json!([["content-length-range", 2, 4]]), &[]).file(content);
    for good in [&b"12"[..], b"123", b"1234"] {
        assert_eq!(sized(good).post(&emulator).await.status, 204);
    }
    sized(b"1")
        .post(&emulator)
        .await
        .assert_refused(400, "EntityTooSmall", "0006-00000004");
    sized(b"12345")
        .post(&emulator)
        .await
        .assert_refused(400, "EntityTooLarge", "0006-00000003");
    let answer = sized(b"").post(&emulator).await;
    let message = "Your proposed upload smaller than the minimum allowed size.";
    assert_eq!(answer.element("Message").unwrap(), message);
}

/// Sections 8 and 8.3 of the reference.
#[tokio::test]
async fn forms_that_are_none() {
    let emulator = emulator();
    let malformed = "0006-00000104";
    let big_name = "n".repeat(8 * 1024 + 1);
    let mut too_large = good(&[]);
    for at in 0..5 {
        too_large = too_large.field(&format!("field{at}"), &"v".repeat(2 * 1024 * 1024));
    }
    let nameless = Form::new()
        .part("Content-Disposition: form-data\r\n", b"x")
        .file(b"x");
    let odd_file = good(&[]).part(
        "Content-Disposition: form-data; name=\"file\"; filename=\"a\"\r\nMy-Header: 1\r\n",
        b"x",
    );
    let table = [
        (
            "no key",
            good(&[]).without("key").file(b"x"),
            "InvalidArgument",
            "",
        ),
        (
            "key after file",
            good(&[]).without("key").file(b"x").field("key", "a"),
            "InvalidArgument",
            "",
        ),
        (
            "no file",
            good(&[]),
            "IncorrectNumberOfFilesInPOSTRequest",
            "0006-00000107",
        ),
        (
            "two files",
            good(&[]).file(b"x").file(b"y"),
            "IncorrectNumberOfFilesInPOSTRequest",
            "",
        ),
        (
            "file not last",
            good(&[]).file(b"x").field("x:a", "b"),
            "MalformedPOSTRequest",
            malformed,
        ),
        ("no name", nameless, "InvalidArgument", ""),
        ("odd header", odd_file, "InvalidArgument", ""),
        (
            "long name",
            good(&[(&big_name, "x")]).file(b"x"),
            "FieldItemTooLong",
            "0006-00000110",
        ),
        (
            "long value",
            good(&[("a", &"v".repeat(2 * 1024 * 1024 + 1))]).file(b"x"),
            "FieldItemTooLong",
            "",
        ),
        (
            "much before",
            too_large.file(b"x"),
            "MaxPOSTPreDataLengthExceededError",
            "0006-00000112",
        ),
        (
            "many fields",
            (0..1000)
                .fold(good(&[]), |form, at| form.field(&format!("x:{at}"), ""))
                .file(b"x"),
            "MaxPOSTPreDataLengthExceededError",
            "0006-00000112",
        ),
        (
            "long head",
            good(&[])
                .part(
                    &format!(
                        "Content-Disposition: form-data; name=\"a\"\r\nContent-Type: {}\r\n",
                        "t".repeat(16 * 1024)
                    ),
                    b"x",
                )
                .file(b"x"),
            "FieldItemTooLong",
            "0006-00000110",
        ),
        (
            "overwrite",
            good(&[("x-oss-forbid-overwrite", "abc")]).file(b"x"),
            "InvalidArgument",
            "0006-00000117",
        ),
        (
            "acl",
            good(&[("x-oss-object-acl", "mine")]).file(b"x"),
            "InvalidArgument",
            "",
        ),
        (
            "class",
            good(&[("x-oss-storage-class", "Best")]).file(b"x"),
            "InvalidArgument",
            "",
        ),
        (
            "encryption",
            good(&[("x-oss-server-side-encryption", "ROT13")]).file(b"x"),
            "InvalidEncryptionAlgorithmError",
            "",
        ),
        (
            "empty key",
            good(&[("key", "")]).file(b"x"),
            "InvalidObjectName",
            "",
        ),
        (
            "slash",
            good(&[("key", "/a")]).file(b"x"),
            "InvalidObjectName",
            "",
        ),
        (
            "backslash",
            good(&[("key", "\\a")]).file(b"x"),
            "InvalidObjectName",
            "",
        ),
        (
            "long key",
            good(&[("key", &"k".repeat(1024))]).file(b"x"),
            "InvalidObjectName",
            "",
        ),
        (
            "metadata",
            good(&[("x-oss-meta-a", &"v".repeat(8 * 1024))]).file(b"x"),
            "InvalidArgument",
            "",
        ),
    ];
    for (what, form, code, ec) in table {
        let answer = form.post(&emulator).await;
        eprintln!("{what}");
        answer.assert_refused(400, code, ec);
    }
    // A field for the submit button of the samples may follow the file.
    let with_submit = good(&[]).file(b"x").field("submit", "Upload to OSS");
    assert_eq!(with_submit.post(&emulator).await.status, 204);

    let whole = good(&[]).file(b"x").bytes();
    let cut = request(whole.slice(..whole.len() - 6));
    send(&emulator, cut)
        .await
        .assert_refused(400, "MalformedPOSTRequest", malformed);
    let garbage = request(Bytes::from_static(b"garbage"));
    send(&emulator, garbage)
        .await
        .assert_refused(400, "MalformedPOSTRequest", malformed);
    let with_type = |content_type: &str| {
        let mut request = good(&[]).file(b"x").request();
        request
            .headers_mut()
            .insert("content-type", content_type.parse().unwrap());
        request
    };
    let answer = send(&emulator, with_type("multipart/form-data")).await;
    answer.assert_refused(400, "MalformedPOSTRequest", malformed);
    let mut longer = good(&[]).file(b"x").request();
    longer
        .headers_mut()
        .insert("content-length", "5368709121".parse().unwrap());
    let answer = send(&emulator, longer).await;
    answer.assert_refused(400, "InvalidArgument", "");
    assert_eq!(
        answer.element("Message").unwrap(),
        "Post body size must be less than 5G."
    );
    let nothing = Request::post("/")
        .header("host", HOST)
        .body(Full::default())
        .unwrap();
    send(&emulator, nothing)
        .await
        .assert_refused(411, "MissingContentLength", "");

    let with_md5 = |md5: &str| {
        let mut request = good(&[]).file(b"x").request();
        request
            .headers_mut()
            .insert("content-md5", md5.parse().unwrap());
        request
    };
    use md5::Digest as _;
    let right = STANDARD.encode(md5::Md5::digest(good(&[]).file(b"x").bytes()));
    assert_eq!(send(&emulator, with_md5(&right)).await.status, 204);
    let wrong = STANDARD.encode([0; 16]);
    send(&emulator, with_md5(&wrong))
        .await
        .assert_refused(400, "InvalidDigest", "");

    let names = emulator
        .store()
        .list(&BUCKET.parse().unwrap())
        .await
        .unwrap();
    assert_eq!(
        names.len(),
        1,
        "rejected uploads must not be stored: {names:?}"
    );
}

#[tokio::test]
async fn objects_that_are_there() {
    let emulator = emulator();
    let keep = good(&[("x-oss-forbid-overwrite", "true")]);
    assert_eq!(keep.clone().file(b"1").post(&emulator).await.status, 204);
    keep.file(b"2")
        .post(&emulator)
        .await
        .assert_refused(409, "FileAlreadyExists", "");
    let replace = good(&[("x-oss-forbid-overwrite", "false")]).file(b"345");
    assert_eq!(replace.post(&emulator).await.status, 204);
    let list = emulator
        .store()
        .list(&BUCKET.parse().unwrap())
        .await
        .unwrap();
    assert_eq!(list[0].size(), 3);
}

#[tokio::test]
async fn requests_that_go_nowhere() {
    let emulator = emulator();
    let to = |method: &str, host: &str, path: &str| {
        let mut request = good(&[]).file(b"x").request();
        *request.method_mut() = method.parse().unwrap();
        *request.uri_mut() = path.parse().unwrap();
        request.headers_mut().insert("host", host.parse().unwrap());
        request
    };
    let answer = send(&emulator, to("POST", "other.localhost", "/")).await;
    answer.assert_refused(404, "NoSuchBucket", "0015-00000101");
    assert_eq!(answer.element("HostId").unwrap(), "other.localhost");
    let answer = send(&emulator, to("POST", "-b.localhost", "/")).await;
    answer.assert_refused(400, "InvalidBucketName", "");
    for (method, path) in [("POST", "/a.txt"), ("PATCH", "/a.txt"), ("PATCH", "/")] {
        let answer = send(&emulator, to(method, HOST, path)).await;
        answer.assert_refused(405, "MethodNotAllowed", "");
        assert!(answer.header("allow").unwrap().contains("POST"));
    }
    assert_eq!(
        send(&emulator, to("POST", "127.0.0.1:9000", "/examplebucket/"))
            .await
            .status,
        204
    );
    assert_eq!(
        send(&emulator, to("POST", "127.0.0.1:9000", "/examplebucket"))
            .await
            .status,
        204
    );
    send(&emulator, to("HEAD", HOST, "/?x=1"))
        .await
        .assert_refused(403, "", "");
    send(&emulator, to("GET", HOST, "/")).await.assert_refused(
        403,
        "AccessDenied",
        "0003-00000001",
    );
    send(&emulator, to("GET", "localhost", "/"))
        .await
        .assert_refused(403, "AccessDenied", "");
}

/// Section 8.1 of the reference.
#[tokio::test]
async fn signatures_that_are_none() {
    let public = builder()
        .bucket(HostedBucket::new("open".parse().unwrap()).acl(Acl::PublicReadWrite))
        .access_key(
            AccessKey::new("STS.one", SECRET).with_security_token("token-one", at(NOW + 60)),
        )
        .access_key(
            AccessKey::new("STS.two", SECRET).with_security_token("token-two", at(NOW + 60)),
        )
        .access_key(AccessKey::new("STS.old", SECRET).with_security_token("token-old", at(NOW)))
        .build()
        .unwrap();
    let open = |form: Form| {
        let mut request = form.request();
        request
            .headers_mut()
            .insert("host", "open.localhost".parse().unwrap());
        request
    };
    let anonymous = Form::new().field("key", "a").file(b"x");
    assert_eq!(send(&public, open(anonymous.clone())).await.status, 204);
    anonymous
        .post(&public)
        .await
        .assert_refused(403, "AccessDenied", "0003-00000001");

    // Each of the three fields requires the other two, even in a public bucket.
    let form = || under(&json!([{ "bucket": "open" }]), &[]);
    for (missing, ec) in [
        ("policy", "0002-00000702"),
        ("Signature", "0002-00000703"),
        ("OSSAccessKeyId", "0002-00000706"),
    ] {
        let answer = send(&public, open(form().without(missing).file(b"x"))).await;
        answer.assert_refused(400, "InvalidArgument", ec);
    }
    let with = async |changes: &[(&str, &str)], more: &[(&str, &str)]| {
        let mut form = good(more);
        for (name, value) in changes {
            form = form.with(name, value);
        }
        form.file(b"x").post(&public).await
    };
    with(&[("Signature", "")], &[])
        .await
        .assert_refused(400, "InvalidArgument", "0002-00000704");
    with(&[("OSSAccessKeyId", "")], &[]).await.assert_refused(
        400,
        "InvalidArgument",
        "0002-00000706",
    );
    let answer = with(&[("OSSAccessKeyId", "nobody")], &[]).await;
    answer.assert_refused(403, "InvalidAccessKeyId", "0002-00000902");
    for wrong in ["AAAAAAAAAAAAAAAAAAAAAAAAAAA=", "not base64", "AAAA"] {
        let answer = with(&[("Signature", wrong)], &[]).await;
        answer.assert_refused(403, "SignatureDoesNotMatch", "0002-00000705");
    }
    for version in ["2", "", "OSS1", "oss4-hmac-sha256"] {
        let answer = with(&[], &[("x-oss-signature-version", version)]).await;
        answer.assert_refused(400, "InvalidArgument", "0002-00000701");
    }
    with(&[], &[("x-oss-signature-version", "OSS2")])
        .await
        .assert_refused(400, "NotImplemented", "");

    // Temporary keys.
    let token = async |id: &str, token: Option<&str>| {
        let more: Vec<_> = token
            .iter()
            .map(|token| ("x-oss-security-token", *token))
            .collect();
        with(&[("OSSAccessKeyId", id)], &more).await
    };
    assert_eq!(token("STS.one", Some("token-one")).await.status, 204);
    assert_eq!(token(ID, Some("")).await.status, 204);
    for none in [None, Some("")] {
        token("STS.one", none)
            .await
            .assert_refused(403, "InvalidAccessKeyId", "0002-00000902");
    }
    let answer = token("STS.one", Some("token-two")).await;
    answer.assert_refused(403, "AccessKeyIdAndSecurityTokenNotMatch", "");
    token("STS.one", Some("x"))
        .await
        .assert_refused(403, "InvalidSecurityToken", "0002-00000008");
    token(ID, Some("x"))
        .await
        .assert_refused(403, "InvalidAccessKeyId", "0002-00000902");
    let answer = token("STS.old", Some("token-old")).await;
    answer.assert_refused(403, "SecurityTokenExpired", "0002-00000007");
}

/// Section 7 of the reference.
#[tokio::test]
async fn callbacks_that_cannot_be() {
    let network = OneServer::raw(|_| panic!("no callback may be sent"));
    let emulator = builder().network(network).build().unwrap();
    let url = "http://app.example/cb";
    let with = |extra: Value| {
        let mut parameters = json!({ "callbackUrl": url, "callbackBody": "a=${object}" });
        for (name, value) in extra.as_object().unwrap() {
            parameters[name] = value.clone();
        }
        callback(&parameters)
    };
    let urls = |urls: &str| with(json!({ "callbackUrl": urls }));
    let headers = |headers: Value| with(json!({ "additionalHeaders": headers }));
    let eleven: serde_json::Map<_, _> = (0..11).map(|at| (format!("a{at}"), json!("b"))).collect();
    let table = [
        (STANDARD.encode("x".repeat(3841)), "0007-00000001"),
        ("not base64".to_owned(), "0007-00000002"),
        (STANDARD.encode("not json"), "0007-00000003"),
        (STANDARD.encode("[]"), "0007-00000003"),
        (String::new(), "0007-00000003"),
        (callback(&json!({ "callbackBody": "a" })), "0007-00000004"),
        (
            callback(&json!({ "callbackUrl": 1, "callbackBody": "a" })),
            "0007-00000004",
        ),
        (urls("host:test"), "0007-00000004"),
        (urls("ftp://app.example/"), "0007-00000004"),
        (urls("http://[2001:db8::1]/"), "0007-00000004"),
        (urls(&"app.example;".repeat(6)), "0007-00000005"),
        (urls("123.456"), "0007-00000007"),
        (urls("my"), "0007-00000007"),
        (urls("app.example;my"), "0007-00000007"),
        (urls("127.0.0.1:8080/cb"), "0007-00000008"),
        (urls("http://10.0.0.1"), "0007-00000008"),
        (urls("app.example;192.168.0.1"), "0007-00000008"),
        (with(json!({ "callbackHost": 1 })), "0007-00000009"),
        (
            with(json!({ "callbackHost": "a\r\nb: c" })),
            "0007-00000009",
        ),
        (with(json!({ "callbackBody": 1 })), "0007-00000010"),
        (with(json!({ "callbackBody": "" })), "0007-00000011"),
        (callback(&json!({ "callbackUrl": url })), "0007-00000011"),
        (with(json!({ "callbackBodyType": 1 })), "0007-00000012"),
        (
            with(json!({ "callbackBodyType": "text/plain" })),
            "0007-00000013",
        ),
        (with(json!({ "callbackSNI": "true" })), ""),
        (with(json!({ "signatureVersion": "3.0" })), ""),
        (with(json!({ "signatureVersion": 1 })), ""),
        (headers(json!(123)), "0007-00000021"),
        (headers(json!({ "a": 1 })), "0007-00000021"),
        (headers(json!({ "": "a" })), "0007-00000023"),
        (headers(json!({ "&*": "a" })), "0007-00000024"),
        (headers(json!({ "A": "a" })), "0007-00000024"),
        (headers(json!({ "a": "\r\n" })), "0007-00000025"),
        (headers(json!({ "x-oss-test": "a" })), "0007-00000026"),
        (headers(eleven.into()), ""),
        (
            with(json!({ "callbackBody": "$(object)" })),
            "0007-00000105",
        ),
        (with(json!({ "callbackBody": "a$" })), "0007-00000105"),
    ];
    for (text, ec) in table {
        let answer = good(&[("callback", &text)])
            .file(b"x")
            .post(&emulator)
            .await;
        answer.assert_refused(400, "InvalidArgument", ec);
        assert!(
            answer.element("ArgumentName").is_some() && answer.element("ArgumentValue").is_some()
        );
    }
    let answer = good(&[("callback", &callback(&json!({ "callbackPolicy": "p" })))])
        .file(b"x")
        .post(&emulator)
        .await;
    answer.assert_refused(404, "BucketCallbackPolicyNotExist", "");

    let answer = good(&[("callback", &with(json!({ "callbackBody": "$(object)" })))])
        .file(b"x")
        .post(&emulator)
        .await;
    assert_eq!(
        answer.element("Message").unwrap(),
        "Left brace must be adjacent to dollar sign."
    );
    assert_eq!(answer.element("ArgumentName").unwrap(), "ReplaceKeyPrefix");
    assert_eq!(answer.element("ArgumentValue").unwrap(), "$(object)");
    let answer = good(&[("callback", &urls("127.0.0.1"))])
        .file(b"x")
        .post(&emulator)
        .await;
    assert_eq!(
        answer.element("Message").unwrap(),
        "Private address is forbidden to callback."
    );
    assert_eq!(answer.element("ArgumentName").unwrap(), "callbackUrl");

    for (variables, ec) in [
        (STANDARD.encode("x".repeat(3841)), "0007-00000101"),
        ("not base64".to_owned(), ""),
        (STANDARD.encode("{\"x:a\":1}"), ""),
    ] {
        let answer = good(&[("callback-var", &variables)])
            .file(b"x")
            .post(&emulator)
            .await;
        answer.assert_refused(400, "InvalidArgument", ec);
    }
    assert!(
        emulator
            .store()
            .list(&BUCKET.parse().unwrap())
            .await
            .unwrap()
            .is_empty()
    );
}

/// The policy rejects an altered callback before it is parsed.
#[tokio::test]
async fn an_altered_callback_is_denied_and_not_explained() {
    let emulator = emulator();
    let right = callback(&json!({ "callbackUrl": "http://app.example/cb", "callbackBody": "a" }));
    let conditions = json!([{ "callback": right }]);
    for altered in [
        "not base64",
        "",
        &callback(&json!({ "callbackUrl": "127.0.0.1" })),
    ] {
        let answer = under(&conditions, &[("callback", altered)])
            .file(b"x")
            .post(&emulator)
            .await;
        answer.assert_refused(403, "AccessDenied", "0006-00000227");
    }
    let answer = under(&conditions, &[]).file(b"x").post(&emulator).await;
    answer.assert_refused(403, "AccessDenied", "0006-00000227");
}

/// The fields must arrive within a minute, however steadily they do.
#[tokio::test(start_paused = true)]
async fn a_form_that_trickles_is_refused() {
    use std::{
        convert::Infallible,
        pin::Pin,
        sync::{
            Arc,
            atomic::{AtomicU64, Ordering},
        },
        task::{Context, Poll, ready},
        time::Duration,
    };

    use http_body::Frame;
    use tokio::time::{Instant, Sleep, sleep};

    /// Sends one byte a second, and counts them.
    struct Trickle(Bytes, Pin<Box<Sleep>>, Arc<AtomicU64>);

    impl http_body::Body for Trickle {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            ready!(self.1.as_mut().poll(cx));
            self.1
                .as_mut()
                .reset(Instant::now() + Duration::from_secs(1));
            self.2.fetch_add(1, Ordering::Relaxed);
            Poll::Ready(Some(Ok(Frame::data(self.0.split_to(1)))))
        }
    }

    let form = good(&[("x:a", &"v".repeat(1000))]).file(b"x").bytes();
    let sent = Arc::new(AtomicU64::new(0));
    let first = Box::pin(sleep(Duration::from_secs(1)));
    let trickle = Trickle(form, first, sent.clone());
    let request = Form::new().request().map(|_| trickle);
    let answer = tower::ServiceExt::oneshot(emulator(), request).await;
    let answer = super::support::read(answer.unwrap()).await;
    answer.assert_refused(400, "RequestTimeout", "");
    // A minute, and five seconds in which the client may end what it sends.
    assert!((60..=65).contains(&sent.load(Ordering::Relaxed)));
}

/// Observers keep reports.
#[tokio::test]
async fn a_report_keeps_few_of_many_fields() {
    let reports = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let kept = reports.clone();
    let emulator = builder()
        .observer(move |report| kept.lock().unwrap().push(report))
        .build()
        .unwrap();
    let long = "v".repeat(40 * 1024);
    let form = good(&[("x:a", &long), ("x:b", &long), ("x:c", "v")]).file(b"x");
    assert_eq!(form.post(&emulator).await.status, 204);
    let reports = reports.lock().unwrap();
    let names: Vec<_> = reports[0].fields().map(|(name, _)| name).collect();
    assert_eq!(names, ["key", "x:a"]);
}

/// A client that is still sending receives the rejection.
#[tokio::test]
async fn a_refusal_waits_for_a_client_that_is_sending() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(emulator().serve(listener));
    let form = good(&[])
        .with("Signature", "wrong")
        .file(&vec![7; 900 * 1024]);
    let body = form.bytes();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {}\r\n\
         Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // If the emulator closed the connection at the rejection, writing this or reading the response
    // would fail.
    stream.write_all(&body).await.unwrap();
    let mut answer = vec![0; 4096];
    let length = stream.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..length]);
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    // The connection can be reused.
    stream
        .write_all(head.replace(&body.len().to_string(), "0").as_bytes())
        .await
        .unwrap();
    let mut answer = vec![0; 4096];
    let length = stream.read(&mut answer).await.unwrap();
    assert!(answer[..length].starts_with(b"HTTP/1.1 400"));
    server.abort();
}

#[tokio::test]
async fn a_server_stops_when_it_is_told_to() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(emulator().serve_until(listener, async {
        let _ = stopped.await;
    }));
    // An idle connection does not delay the shutdown.
    let _idle = tokio::net::TcpStream::connect(address).await.unwrap();
    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

proptest::proptest! {
    /// A damaged form is stored or rejected, without a panic.
    #[test]
    fn damaged_forms_are_stored_or_refused(
        at in 0..1000_usize,
        cut in 0..40_usize,
        paste in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..40),
    ) {
        let parameters = callback(&json!({ "callbackUrl": "app.example", "callbackBody": "${object}" }));
        let conditions = json!([{ "bucket": BUCKET }, ["content-length-range", 0, 100], ["in", "$x-oss-meta-a", ["b"]]]);
        let form = under(&conditions, &[("callback", &parameters), ("x-oss-meta-a", "b")]).file(b"content");
        let mut body = form.bytes().to_vec();
        let from = at * body.len() / 1000;
        let to = (from + cut).min(body.len());
        body.splice(from..to, paste);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let answer = runtime.block_on(send(&emulator(), request(body.into())));
        let status = answer.status.as_u16();
        proptest::prop_assert!(matches!(status, 204 | 400 | 403), "{}: {}", status, answer.text());
        proptest::prop_assert!(status == 204 || answer.element("Code").is_some());
    }

    /// A policy with any text is accepted or rejected, without a panic.
    #[test]
    fn any_text_may_be_signed_as_a_policy(text in "[\\[\\]{}\":,$\\\\a-z0-9\u{e9} -]{0,60}", head in proptest::prelude::any::<bool>()) {
        let text = if head {
            format!("{{\"expiration\":\"2023-12-03T13:00:00Z\",\"conditions\":[{text}]}}")
        } else {
            text
        };
        let signed = signed(text.as_bytes());
        let fields = signed.iter().map(|(name, value)| (*name, &**value));
        let form = Form::new().field("key", "a").fields(fields).file(b"x");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let answer = runtime.block_on(form.post(&emulator()));
        proptest::prop_assert!(matches!(answer.status.as_u16(), 204 | 400 | 403), "{}", answer.text());
    }
}
