//! What the tests of the SDKs assert about OSS and its reference does not contain.

use aliyun_oss_emulator::{AccessKey, Acl, Emulator, HostedBucket};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{Method, Request};
use http_body_util::Full;
use md5::{Digest as _, Md5};
use sha1::Sha1;
use sha2::Sha256;

use super::support::{Answer, BUCKET, HOST, ID, NOW, SECRET, at, builder, good, send};

const OPEN: &str = "open.localhost:9000";

/// An emulator with a bucket that everyone may write.
fn open() -> Emulator {
    let open = HostedBucket::new("open".parse().unwrap()).acl(Acl::PublicReadWrite);
    let temporary = AccessKey::new("STS.temporary", "temporary-secret");
    let temporary = temporary.with_security_token("token", at(NOW + 3600));
    let builder = builder().bucket(open).access_key(temporary);
    builder.build().unwrap()
}

async fn ask_at(
    emulator: &Emulator,
    host: &str,
    method: Method,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut request = Request::builder()
        .method(method)
        .uri(target)
        .header("host", host)
        .header("content-length", body.len());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = Full::new(Bytes::copy_from_slice(body));
    send(emulator, request.body(body).unwrap()).await
}

/// Sends a request without a signature to the open bucket.
async fn ask(emulator: &Emulator, method: Method, target: &str, body: &[u8]) -> Answer {
    ask_at(emulator, OPEN, method, target, &[], body).await
}

async fn initiate(emulator: &Emulator, key: &str) -> String {
    let answer = ask(emulator, Method::POST, &format!("/{key}?uploads"), b"").await;
    answer.element("UploadId").unwrap()
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Sends an upload that is signed with version 4 over the header `Date`, as aliyun-oss-go-sdk of
/// version 1 does.
async fn put_with_date(date: &str, day: &str, region: &str, product: &str) -> Answer {
    let canonical = format!(
        "PUT\n/{BUCKET}/a.txt\n\ncontent-type:text/plain\n\
         x-oss-content-sha256:UNSIGNED-PAYLOAD\n\n\nUNSIGNED-PAYLOAD"
    );
    let scope = format!("{day}/{region}/{product}/aliyun_v4_request");
    let digest = hex(&Sha256::digest(canonical));
    let text = format!("OSS4-HMAC-SHA256\n{date}\n{scope}\n{digest}");
    let mut key = format!("aliyun_v4{SECRET}").into_bytes();
    for part in [day, region, product, "aliyun_v4_request"] {
        key = hmac(&key, part);
    }
    let signature = hex(&hmac(&key, &text));
    let authorization = format!("OSS4-HMAC-SHA256 Credential={ID}/{scope},Signature={signature}");
    let headers = [
        ("date", date),
        ("content-type", "text/plain"),
        ("x-oss-content-sha256", "UNSIGNED-PAYLOAD"),
        ("authorization", &authorization),
    ];
    ask_at(&open(), HOST, Method::PUT, "/a.txt", &headers, b"x").await
}

#[tokio::test]
async fn version_4_in_a_header_with_a_plain_date() {
    const DATE: &str = "Sun, 03 Dec 2023 12:12:12 GMT";
    let answer = put_with_date(DATE, "20231203", "cn-hangzhou", "oss").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    for (date, day, status, code, ec) in [
        (DATE, "20231202", 400, "InvalidArgument", "0002-00000709"),
        (
            "Sun, 03 Dec 2023 11:57:11 GMT",
            "20231203",
            403,
            "RequestTimeTooSkewed",
            "0002-00000504",
        ),
        ("yesterday", "20231203", 403, "AccessDenied", ""),
    ] {
        let answer = put_with_date(date, day, "cn-hangzhou", "oss").await;
        answer.assert_refused(status, code, ec);
    }
}

/// `test_exception_ec.py` of oss2, and a test of aliyun-oss-java-sdk.
#[tokio::test]
async fn a_wrong_region_and_a_wrong_product_of_version_4() {
    let date = "Sun, 03 Dec 2023 12:12:12 GMT";
    for (region, product, ec, message) in [
        (
            "cn-hangzhou-test-1",
            "oss",
            "0002-00000226",
            "Invalid signing region in Authorization header.",
        ),
        (
            "cn-hangzhou",
            "oss-cloudbox",
            "0002-00000227",
            "Invalid signing product in Authorization header.",
        ),
        // The credential scope of a CloudBox: the product is checked first.
        (
            "cloudbox-1",
            "oss-cloudbox",
            "0002-00000227",
            "Invalid signing product in Authorization header.",
        ),
    ] {
        let answer = put_with_date(date, "20231203", region, product).await;
        answer.assert_refused(400, "InvalidArgument", ec);
        assert_eq!(answer.element("Message").unwrap(), message);
    }
}

/// `TestUtils` of aliyun-oss-java-sdk, and an object of `download_test.go` of aliyun-oss-go-sdk.
#[tokio::test]
async fn the_etag_of_parts_is_the_md5_of_their_etags() {
    let emulator = open();
    let id = initiate(&emulator, "a").await;
    let mut etags = String::new();
    let mut list = String::from("<CompleteMultipartUpload>");
    for (number, size) in [(1, 100 * 1024), (2, 10)] {
        let target = format!("/a?partNumber={number}&uploadId={id}");
        let answer = ask(&emulator, Method::PUT, &target, &vec![number; size]).await;
        let etag = answer.header("etag").unwrap().trim_matches('"').to_owned();
        list += &format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>");
        etags += &etag;
    }
    list += "</CompleteMultipartUpload>";
    let target = format!("/a?uploadId={id}");
    let answer = ask(&emulator, Method::POST, &target, list.as_bytes()).await;
    assert_eq!(etags, etags.to_uppercase());
    let expected = format!("\"{}-2\"", hex(&Md5::digest(etags)).to_uppercase());
    assert_eq!(answer.header("etag"), Some(&*expected), "{}", answer.text());
    assert_eq!(answer.element("ETag").unwrap(), expected);
    let answer = ask(&emulator, Method::HEAD, "/a", b"").await;
    assert_eq!(answer.header("etag"), Some(&*expected));
}

#[tokio::test]
async fn a_list_without_parts_completes_an_empty_object() {
    let emulator = open();
    for (key, parts) in [("none", 0), ("unused", 1)] {
        let id = initiate(&emulator, key).await;
        for number in 1..=parts {
            let target = format!("/{key}?partNumber={number}&uploadId={id}");
            let answer = ask(&emulator, Method::PUT, &target, b"x").await;
            assert_eq!(answer.status, 200);
        }
        let target = format!("/{key}?uploadId={id}");
        let list = b"<CompleteMultipartUpload></CompleteMultipartUpload>";
        let answer = ask(&emulator, Method::POST, &target, list).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = ask(&emulator, Method::GET, &format!("/{key}"), b"").await;
        assert_eq!((answer.status.as_u16(), &*answer.body), (200, &b""[..]));
        let etag = answer.header("etag");
        assert_eq!(etag, Some("\"D41D8CD98F00B204E9800998ECF8427E-0\""));
    }
    // A body that is not a list is still an error.
    let id = initiate(&emulator, "a").await;
    let answer = ask(&emulator, Method::POST, &format!("/a?uploadId={id}"), b"").await;
    answer.assert_refused(400, "MalformedXML", "");
}

/// The tests of aliyun-oss-go-sdk of version 2.
#[tokio::test]
async fn unknown_uploads_have_a_code_for_each_operation() {
    let emulator = open();
    for (method, target, ec) in [
        (Method::PUT, "/a?partNumber=1&uploadId=X", "0042-00000104"),
        (Method::GET, "/a?uploadId=X", "0042-00000002"),
        (Method::DELETE, "/a?uploadId=X", "0042-00000002"),
    ] {
        let answer = ask(&emulator, method, target, b"").await;
        answer.assert_refused(404, "NoSuchUpload", ec);
    }
    let id = initiate(&emulator, "a").await;
    let target = format!("/a?uploadId={id}");
    let all = [("x-oss-complete-all", "yes")];
    let list = b"<CompleteMultipartUpload></CompleteMultipartUpload>";
    let answer = ask_at(&emulator, OPEN, Method::POST, &target, &all, list).await;
    answer.assert_refused(400, "InvalidArgument", "0042-00000216");
    assert_eq!(
        answer.element("ArgumentName").unwrap(),
        "x-oss-complete-all"
    );
    let message = "Should not speficy both complete all header and http body.";
    assert_eq!(answer.element("Message").unwrap(), message);
}

/// `oss2/xml_utils.py`: the next marker is on every page. `UploadPartTest` of aliyun-oss-java-sdk:
/// without parts it is empty.
#[tokio::test]
async fn a_list_of_parts_has_a_next_marker() {
    let emulator = open();
    let id = initiate(&emulator, "a").await;
    let target = format!("/a?uploadId={id}");
    let answer = ask(&emulator, Method::GET, &target, b"").await;
    let marker = "<NextPartNumberMarker/>";
    assert!(answer.text().contains(marker), "{}", answer.text());
    assert_eq!(answer.element("PartNumberMarker").unwrap(), "0");
    let part = format!("/a?partNumber=7&uploadId={id}");
    ask(&emulator, Method::PUT, &part, b"x").await;
    let answer = ask(&emulator, Method::GET, &target, b"").await;
    assert_eq!(answer.element("NextPartNumberMarker").unwrap(), "7");
}

/// The test of the Ruby SDK.
#[tokio::test]
async fn a_plus_in_a_path_is_a_space() {
    let emulator = open();
    ask(&emulator, Method::PUT, "/a+b", b"space").await;
    ask(&emulator, Method::PUT, "/a%2Bb", b"plus").await;
    for (target, content) in [("/a%20b", "space"), ("/a+b", "space"), ("/a%2Bb", "plus")] {
        let answer = ask(&emulator, Method::GET, target, b"").await;
        assert_eq!(answer.text(), content, "{target}");
    }
}

#[tokio::test]
async fn a_name_that_is_not_utf_8() {
    let answer = ask(&open(), Method::PUT, "/%FF", b"x").await;
    answer.assert_refused(400, "InvalidArgument", "");
}

/// Returns a query that signs with version 1.
fn signed_v1(secret: &str, id: &str, resource: &str) -> String {
    signed_v1_for(&Method::GET, secret, id, resource)
}

fn signed_v1_for(method: &Method, secret: &str, id: &str, resource: &str) -> String {
    let expires = NOW + 60;
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{method}\n\n\n{expires}\n{resource}").as_bytes());
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    let signature = signature.replace('+', "%2B").replace('=', "%3D");
    format!("OSSAccessKeyId={id}&Expires={expires}&Signature={signature}")
}

#[tokio::test]
async fn buckets_come_before_keys_unless_they_are_created() {
    let emulator = open();
    let send = async |method: Method, key: &str, sub: &str, secret: &str, id: &str| {
        let query = signed_v1_for(&method, secret, id, &format!("/missing/{key}{sub}"));
        let join = if sub.is_empty() { "?" } else { "&" };
        let target = format!("/{key}{sub}{join}{query}");
        ask_at(
            &emulator,
            "missing.localhost:9000",
            method,
            &target,
            &[],
            b"",
        )
        .await
    };
    for (method, key, sub) in [
        (Method::GET, "a", ""),
        (Method::GET, "", "?acl"),
        (Method::GET, "", "?bucketInfo"),
        (Method::PUT, "", "?versioning"),
        (Method::PUT, "a", ""),
    ] {
        for (secret, id) in [("secret", "unknown"), ("secret", ID), (SECRET, ID)] {
            let answer = send(method.clone(), key, sub, secret, id).await;
            answer.assert_refused(404, "NoSuchBucket", "0015-00000101");
        }
    }
    for sub in ["", "?acl"] {
        let unknown = send(Method::PUT, "", sub, "secret", "unknown").await;
        unknown.assert_refused(403, "InvalidAccessKeyId", "0002-00000902");
        let wrong = send(Method::PUT, "", sub, "secret", ID).await;
        wrong.assert_refused(403, "SignatureDoesNotMatch", "0002-00000040");
    }
    let target = "/a";
    let unsigned = ask_at(
        &emulator,
        "missing.localhost:9000",
        Method::GET,
        target,
        &[],
        b"",
    );
    let unsigned = unsigned.await;
    unsigned.assert_refused(404, "NoSuchBucket", "0015-00000101");
}

#[tokio::test]
async fn tokens_come_before_keys() {
    let emulator = open();
    for (id, token, status, code) in [
        (ID, "bogus", 403, "InvalidAccessKeyId"),
        ("unknown", "bogus", 403, "InvalidAccessKeyId"),
        ("STS.unknown", "bogus", 403, "InvalidSecurityToken"),
        ("STS.temporary", "bogus", 403, "InvalidSecurityToken"),
        ("unknown", "token", 403, "InvalidAccessKeyId"),
        (ID, "token", 403, "AccessKeyIdAndSecurityTokenNotMatch"),
    ] {
        let query = signed_v1(SECRET, id, &format!("/open/a?security-token={token}"));
        let target = format!("/a?security-token={token}&{query}");
        let answer = ask(&emulator, Method::GET, &target, b"").await;
        let found = (answer.status.as_u16(), answer.element("Code").unwrap());
        assert_eq!(found, (status, code.to_owned()), "{id} {token}");
    }
}

#[tokio::test]
async fn version_1_signs_the_parameters_of_payers_and_processes() {
    let emulator = open();
    ask(&emulator, Method::PUT, "/a", b"x").await;
    let resource = "/open/a?x-oss-request-payer=requester";
    let query = signed_v1(SECRET, ID, resource);
    let target = format!("/a?x-oss-request-payer=requester&{query}");
    assert_eq!(ask(&emulator, Method::GET, &target, b"").await.status, 200);
    // The signature is checked first.
    let resource = "/open/a?x-oss-async-process=video/convert";
    let query = signed_v1(SECRET, ID, resource);
    let target = format!("/a?x-oss-async-process=video/convert&{query}");
    let answer = ask(&emulator, Method::GET, &target, b"").await;
    answer.assert_refused(400, "NotImplemented", "");
}

#[tokio::test]
async fn an_empty_acl_header_is_none() {
    let emulator = open();
    let headers = [("x-oss-object-acl", "")];
    let answer = ask_at(&emulator, OPEN, Method::PUT, "/a", &headers, b"x").await;
    assert_eq!(answer.status, 200);
    let answer = ask(&emulator, Method::HEAD, "/a", b"").await;
    assert_eq!(answer.header("x-oss-object-acl"), Some("default"));
}

/// They were accepted, and had no effect.
#[tokio::test]
async fn keys_of_the_client_are_refused() {
    let emulator = open();
    const CUSTOMER: &str = "x-oss-server-side-encryption-customer-algorithm";
    let id = initiate(&emulator, "b").await;
    for (method, target, name) in [
        (Method::PUT, "/a".to_owned(), CUSTOMER),
        (Method::POST, "/a?uploads".to_owned(), CUSTOMER),
        (
            Method::PUT,
            format!("/b?partNumber=1&uploadId={id}"),
            CUSTOMER,
        ),
    ] {
        let headers = [(name, "x")];
        let answer = ask_at(&emulator, OPEN, method, &target, &headers, b"x").await;
        answer.assert_refused(400, "NotImplemented", "");
    }
    let answer = good(&[(CUSTOMER, "AES256")])
        .file(b"x")
        .post(&emulator)
        .await;
    answer.assert_refused(400, "NotImplemented", "");
    let answer = ask(&emulator, Method::GET, "/a", b"").await;
    answer.assert_refused(404, "NoSuchKey", "0026-00000001");
}

#[tokio::test]
async fn encryption_by_the_server_is_kept() {
    let emulator = open();
    const METHOD: &str = "x-oss-server-side-encryption";
    const ALGORITHM: &str = "x-oss-server-side-data-encryption";
    const KEY: &str = "x-oss-server-side-encryption-key-id";
    let kms = [(METHOD, "KMS"), (ALGORITHM, "SM4"), (KEY, "9468da86")];
    let answer = ask_at(&emulator, OPEN, Method::PUT, "/a", &kms, b"x").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = ask(&emulator, Method::HEAD, "/a", b"").await;
    for (name, value) in kms {
        assert_eq!(answer.header(name), Some(value));
    }
    let answer = ask_at(&emulator, OPEN, Method::PUT, "/c", &kms[..1], b"x").await;
    assert_eq!(answer.status, 200);
    let answer = ask(&emulator, Method::HEAD, "/c", b"").await;
    assert!(answer.header(KEY).is_some(), "the key of the account");
    for odd in [
        &[(METHOD, "AES256"), (KEY, "9468da86")][..],
        &[(METHOD, "KMS"), (ALGORITHM, "AES256")],
        &[(KEY, "9468da86")],
    ] {
        let answer = ask_at(&emulator, OPEN, Method::PUT, "/b", odd, b"x").await;
        answer.assert_refused(400, "InvalidEncryptionAlgorithmError", "");
    }
}

/// Each of these names an operation of OSS, or none. It must not run another one.
#[tokio::test]
async fn sub_resources_that_are_not_implemented_change_nothing() {
    let emulator = open();
    ask(&emulator, Method::PUT, "/a", b"kept").await;
    let id = initiate(&emulator, "a").await;
    for sub_resource in [
        "live",
        "live&status=enabled",
        "vod&startTime=1&endTime=2",
        "acl&live",
        "append&position=0&live",
        "symlink&versionId=1",
        "versionId=1",
        "qosRequester",
        "style&styleName=x",
        "asyncFetch",
        "x-oss-async-process=x",
        "neverHeardOf",
        "neverHeardOf=",
        &format!("uploadId={id}&live"),
    ] {
        let methods = [
            Method::GET,
            Method::HEAD,
            Method::PUT,
            Method::POST,
            Method::DELETE,
        ];
        for method in methods {
            let target = format!("/a?{sub_resource}");
            let answer = ask(&emulator, method.clone(), &target, b"changed").await;
            assert_eq!(answer.status, 400, "{method} {target}");
            if method != Method::HEAD {
                answer.assert_refused(400, "NotImplemented", "");
            }
        }
    }
    for sub_resource in ["cname&live", "policy", "metaQuery&comp=query", "x"] {
        for method in [Method::GET, Method::PUT, Method::POST, Method::DELETE] {
            let target = format!("/?{sub_resource}");
            let answer = ask(&emulator, method, &target, b"").await;
            answer.assert_refused(400, "NotImplemented", "");
        }
    }
    let answer = ask(&emulator, Method::GET, "/a?time=1&fetch-owner=", b"").await;
    assert_eq!(answer.text(), "kept");
    let answer = ask(&emulator, Method::GET, &format!("/a?uploadId={id}"), b"").await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_list_in_path_style_without_a_slash() {
    let emulator = open();
    ask(&emulator, Method::PUT, "/a", b"x").await;
    for target in ["/open?list-type=2", "/open/?list-type=2"] {
        let answer = ask_at(&emulator, "127.0.0.1:9000", Method::GET, target, &[], b"").await;
        assert_eq!(answer.element("Key").as_deref(), Some("a"), "{target}");
    }
}

/// The suites for Go and PHP read how long an upload was delayed.
#[tokio::test]
async fn an_upload_with_a_limit_tells_its_delay() {
    let emulator = open();
    const DELAY: &str = "x-oss-qos-delay-time";
    let limit = [("x-oss-traffic-limit", "819200")];
    for (method, target) in [(Method::PUT, "/a"), (Method::POST, "/b?append&position=0")] {
        let answer = ask_at(&emulator, OPEN, method.clone(), target, &limit, b"x").await;
        assert_eq!(answer.header(DELAY), Some("0"), "{target}");
    }
    let answer = ask(
        &emulator,
        Method::PUT,
        "/a?x-oss-traffic-limit=819200",
        b"x",
    )
    .await;
    assert_eq!(answer.header(DELAY), Some("0"));
    let answer = ask(&emulator, Method::PUT, "/a", b"x").await;
    assert_eq!(answer.header(DELAY), None);
    let answer = ask_at(&emulator, OPEN, Method::GET, "/a", &limit, b"").await;
    assert_eq!(answer.header(DELAY), None);
    assert_eq!(answer.text(), "x");
}

/// `ali-oss` lists without `encoding-type` and finds the names as they are.
#[tokio::test]
async fn listings_contain_control_characters() {
    let emulator = open();
    for encoded in ["a%01%0A%0C%07b", "a%3Cb%26c%3Ed%20%2B"] {
        ask(&emulator, Method::PUT, &format!("/{encoded}"), b"x").await;
    }
    for target in ["/", "/?list-type=2"] {
        let answer = ask(&emulator, Method::GET, target, b"").await;
        let text = answer.text();
        assert!(text.contains("<Key>a\u{1}\n\u{c}\u{7}b</Key>"), "{text}");
        assert!(text.contains("<Key>a&lt;b&amp;c&gt;d +</Key>"), "{text}");
    }
    let answer = ask(&emulator, Method::GET, "/?encoding-type=url", b"").await;
    assert_eq!(answer.element("Key").as_deref(), Some("a%01%0A%0C%07b"));
}

#[tokio::test]
async fn names_of_objects_are_utf_8() {
    let answer = ask(&open(), Method::PUT, "/%D6%D0%CE%C4", b"x").await;
    answer.assert_refused(400, "InvalidArgument", "");
    let message = answer.element("Message");
    assert_eq!(
        message.as_deref(),
        Some("The characters encoding must be utf-8.")
    );
}

#[tokio::test]
async fn responses_of_a_bucket_without_cors_do_not_vary() {
    let emulator = open();
    ask(&emulator, Method::PUT, "/a", b"x").await;
    let origin = [("origin", "https://app.example")];
    let answer = ask_at(&emulator, OPEN, Method::GET, "/a", &origin, b"").await;
    assert_eq!(answer.header("vary"), None);
}
