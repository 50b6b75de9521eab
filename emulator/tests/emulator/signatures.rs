//! Request signatures: vectors of the SDKs, an independent signer, and rejections.

use std::time::Duration;

use aliyun_oss_emulator::{AccessKey, Emulator, HostedBucket};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;

use super::{
    client::{TEMPORARY, Way, to, today, ways},
    support::{Answer, BUCKET, ID, at, builder, send},
};

/// A request with a published signature.
#[derive(Clone, Copy)]
struct Vector {
    name: &'static str,
    /// Time at which the signature was made, or expires.
    at: u64,
    method: &'static str,
    host: &'static str,
    target: &'static str,
    headers: &'static [(&'static str, &'static str)],
    /// Expected error code when the signature is valid.
    code: &'static str,
}

const PARAMETERS: &str = "/1234%2B-/123/1.txt?param1=value1&%2Bparam1=value3&%7Cparam1=value4&%2Bparam2=&%7Cparam2=&param2=";
const MD5: (&str, &str) = ("content-md5", "eB5eJF1ptWaXm4bijSPyxw==");
const V1_DATE: (&str, &str) = ("x-oss-date", "Wed, 28 Dec 2022 10:27:41 GMT");
const V1_META: (&str, &str) = ("x-oss-meta-author", "alice");
const V1_MAGIC: (&str, &str) = ("x-oss-meta-magic", "abracadabra");
const HTML: (&str, &str) = ("content-type", "text/html");
const SHA: (&str, &str) = ("x-oss-content-sha256", "UNSIGNED-PAYLOAD");
const HEAD1: (&str, &str) = ("x-oss-head1", "value");
const ABC: (&str, &str) = ("abc", "value");
const ZABC: (&str, &str) = ("ZAbc", "value");
const PLAIN: (&str, &str) = ("content-type", "text/plain");
const BINARY: (&str, &str) = ("content-type", "application/octet-stream");

/// The vectors named `…python-sdk-v2` come from aliyun/alibabacloud-oss-python-sdk-v2,
/// tests/unit/signer/test_v1.py and test_v4.py. The other SDKs of that generation share them. The
/// first vector is from the documentation of version 1.
const VECTORS: &[Vector] = &[
    Vector {
        name: "official-v1-page",
        at: 1_132_253_398,
        method: "PUT",
        host: "oss-example.localhost",
        target: "/nelson",
        headers: &[
            (
                "content-md5",
                "ODBGOERFMDMzQTczRUY3NUE3NzA5QzdFNUYzMDQxNEM=",
            ),
            HTML,
            ("date", "Thu, 17 Nov 2005 18:49:58 GMT"),
            ("x-oss-meta-author", "foo@bar.com"),
            ("x-oss-magic", "abracadabra"),
            (
                "authorization",
                "OSS 44CF9590006BF252F707:26NBxoKdsyly4EDv6inkoDft/yA=",
            ),
        ],
        code: "InvalidDigest",
    },
    Vector {
        name: "python-sdk-v2 v1 test_auth_header_1",
        at: 1_672_223_261,
        method: "PUT",
        host: "examplebucket.localhost",
        target: "/nelson",
        headers: &[
            MD5,
            HTML,
            V1_META,
            V1_MAGIC,
            V1_DATE,
            ("authorization", "OSS ak:kSHKmLxlyEAKtZPkJhG9bZb5k7M="),
        ],
        code: "InvalidDigest",
    },
    Vector {
        name: "python-sdk-v2 v1 test_auth_header_2",
        at: 1_672_223_261,
        method: "PUT",
        host: "examplebucket.localhost",
        target: "/nelson?acl",
        headers: &[
            MD5,
            HTML,
            V1_META,
            V1_MAGIC,
            V1_DATE,
            ("authorization", "OSS ak:/afkugFbmWDQ967j1vr6zygBLQk="),
        ],
        code: "MissingArgument",
    },
    Vector {
        name: "python-sdk-v2 v1 test_auth_header_3",
        at: 1_672_223_261,
        method: "GET",
        host: "examplebucket.localhost",
        target: "/?resourceGroup&non-resousce=null",
        headers: &[
            V1_DATE,
            ("authorization", "OSS ak:vkQmfuUDyi1uDi3bKt67oemssIs="),
        ],
        code: "NotImplemented",
    },
    Vector {
        name: "python-sdk-v2 v1 test_auth_header_4",
        at: 1_672_223_261,
        method: "GET",
        host: "examplebucket.localhost",
        target: "/?resourceGroup&acl",
        headers: &[
            V1_DATE,
            ("authorization", "OSS ak:x3E5TgOvl/i7PN618s5mEvpJDYk="),
        ],
        code: "NotImplemented",
    },
    Vector {
        name: "python-sdk-v2 v1 test_auth_query",
        at: 1_699_807_420,
        method: "GET",
        host: "bucket.localhost",
        target: "/key?versionId=versionId&OSSAccessKeyId=ak&Expires=1699807420&Signature=dcLTea%2BYh9ApirQ8o8dOPqtvJXQ%3D",
        headers: &[],
        code: "NotImplemented",
    },
    Vector {
        name: "python-sdk-v2 v1 test_auth_query_with_token",
        at: 1_699_808_204,
        method: "GET",
        host: "bucket.localhost",
        // `+` in a path is a space for OSS, so the clients send `%2B`.
        target: "/key%2B123?versionId=versionId&OSSAccessKeyId=ak&Expires=1699808204&security-token=token&Signature=jzKYRrM5y6Br0dRFPaTGOsbrDhY%3D",
        headers: &[],
        code: "NotImplemented",
    },
    Vector {
        name: "sdk-v4-key-derivation",
        at: 1_702_743_657,
        method: "PUT",
        host: "bucket.localhost",
        target: PARAMETERS,
        headers: &[
            HEAD1,
            ABC,
            ZABC,
            PLAIN,
            SHA,
            ("x-oss-date", "20231216T162057Z"),
            (
                "authorization",
                "OSS4-HMAC-SHA256 Credential=ak/20231216/cn-hangzhou/oss/aliyun_v4_request,Signature=e21d18daa82167720f9b1047ae7e7f1ce7cb77a31e8203a7d5f4624fa0284afe",
            ),
        ],
        // The signature is valid. `param2` has no value, so it could be a sub-resource.
        code: "NotImplemented",
    },
    Vector {
        name: "python-sdk-v2 v4 test_auth_header_with_token",
        at: 1_702_784_856,
        method: "PUT",
        host: "bucket.localhost",
        target: PARAMETERS,
        headers: &[
            HEAD1,
            ABC,
            ZABC,
            PLAIN,
            SHA,
            ("x-oss-date", "20231217T034736Z"),
            ("x-oss-security-token", "token"),
            (
                "authorization",
                "OSS4-HMAC-SHA256 Credential=ak/20231217/cn-hangzhou/oss/aliyun_v4_request,Signature=b94a3f999cf85bcdc00d332fbd3734ba03e48382c36fa4d5af5df817395bd9ea",
            ),
        ],
        // The signature is valid. `param2` has no value, so it could be a sub-resource.
        code: "NotImplemented",
    },
    Vector {
        name: "python-sdk-v2 v4 test_auth_header_with_additional_headers",
        at: 1_702_747_512,
        method: "PUT",
        host: "bucket.localhost",
        target: PARAMETERS,
        headers: &[
            HEAD1,
            ABC,
            ZABC,
            PLAIN,
            SHA,
            ("x-oss-date", "20231216T172512Z"),
            (
                "authorization",
                "OSS4-HMAC-SHA256 Credential=ak/20231216/cn-hangzhou/oss/aliyun_v4_request,AdditionalHeaders=abc;zabc,Signature=4a4183c187c07c8947db7620deb0a6b38d9fbdd34187b6dbaccb316fa251212f",
            ),
        ],
        // The signature is valid. `param2` has no value, so it could be a sub-resource.
        code: "NotImplemented",
    },
    Vector {
        name: "python-sdk-v2 v4 test_auth_query",
        at: 1_702_781_677,
        method: "PUT",
        host: "bucket.localhost",
        target: "/1234%2B-/123/1.txt?param1=value1&%2Bparam1=value3&%7Cparam1=value4&%2Bparam2&%7Cparam2&param2&x-oss-signature-version=OSS4-HMAC-SHA256&x-oss-date=20231217T025437Z&x-oss-expires=599&x-oss-credential=ak%2F20231217%2Fcn-hangzhou%2Foss%2Faliyun_v4_request&x-oss-signature=a39966c61718be0d5b14e668088b3fa07601033f6518ac7b523100014269c0fe",
        headers: &[HEAD1, ABC, ZABC, BINARY],
        // The signature is valid. `param2` has no value, so it could be a sub-resource.
        code: "NotImplemented",
    },
    Vector {
        name: "python-sdk-v2 v4 test_auth_query_with_token",
        at: 1_702_785_388,
        method: "PUT",
        host: "bucket.localhost",
        target: "/1234%2B-/123/1.txt?param1=value1&%2Bparam1=value3&%7Cparam1=value4&%2Bparam2&%7Cparam2&param2&x-oss-signature-version=OSS4-HMAC-SHA256&x-oss-date=20231217T035628Z&x-oss-expires=599&x-oss-credential=ak%2F20231217%2Fcn-hangzhou%2Foss%2Faliyun_v4_request&x-oss-security-token=token&x-oss-signature=3817ac9d206cd6dfc90f1c09c00be45005602e55898f26f5ddb06d7892e1f8b5",
        headers: &[HEAD1, ABC, ZABC, BINARY],
        // The signature is valid. `param2` has no value, so it could be a sub-resource.
        code: "NotImplemented",
    },
    Vector {
        name: "python-sdk-v2 v4 test_auth_query_with_additional_headers",
        at: 1_702_783_809,
        method: "PUT",
        host: "bucket.localhost",
        target: "/1234%2B-/123/1.txt?param1=value1&%2Bparam1=value3&%7Cparam1=value4&%2Bparam2&%7Cparam2&param2&x-oss-signature-version=OSS4-HMAC-SHA256&x-oss-date=20231217T033009Z&x-oss-expires=599&x-oss-credential=ak%2F20231217%2Fcn-hangzhou%2Foss%2Faliyun_v4_request&x-oss-additional-headers=abc%3Bzabc&x-oss-signature=6bd984bfe531afb6db1f7550983a741b103a8c58e5e14f83ea474c2322dfa2b7",
        headers: &[HEAD1, ABC, ZABC, BINARY],
        // The signature is valid. `param2` has no value, so it could be a sub-resource.
        code: "NotImplemented",
    },
];

impl Vector {
    fn emulator(&self) -> Emulator {
        let at_time = self.at;
        let with_token = self.target.contains("token")
            || self.headers.iter().any(|(_, value)| *value == "token");
        let mut key = AccessKey::new("ak", "sk");
        if with_token {
            key = key.with_security_token("token", at(at_time + 3600));
        }
        let page = AccessKey::new(
            "44CF9590006BF252F707",
            "OtxrzxIsfpFjA7SwPzILwy8Bw21TLhquhboDYROV",
        );
        let buckets = ["bucket", "oss-example"];
        buckets
            .into_iter()
            .fold(builder(), |builder, name| {
                builder.bucket(HostedBucket::new(name.parse().unwrap()))
            })
            .access_key(key)
            .access_key(page)
            .clock(move || at(at_time))
            .build()
            .unwrap()
    }

    fn request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::builder()
            .method(self.method)
            .uri(self.target)
            .header("host", self.host);
        for (name, value) in self.headers {
            request = request.header(*name, *value);
        }
        let body = Bytes::from_static(b"body");
        request
            .header("content-length", body.len())
            .body(body.into())
            .unwrap()
    }
}

#[tokio::test]
async fn the_vectors_of_the_sdks() {
    for vector in VECTORS {
        let emulator = vector.emulator();
        let answer = send(&emulator, vector.request()).await;
        let code = answer.element("Code").unwrap_or_default();
        assert_eq!(code, vector.code, "{}: {}", vector.name, answer.text());
        assert_eq!(answer.status.is_success(), code.is_empty());
    }
}

/// A change to any signed part invalidates the signature.
#[tokio::test]
async fn a_vector_that_was_altered_is_refused() {
    for vector in VECTORS {
        let emulator = vector.emulator();
        let mut altered = Vec::new();
        let mut request = vector.request();
        *request.method_mut() = Method::DELETE;
        altered.push(request);
        let mut request = vector.request();
        let target = vector.target.replacen('?', "x?", 1);
        let target = if target == vector.target {
            format!("{target}x")
        } else {
            target
        };
        *request.uri_mut() = target.parse().unwrap();
        altered.push(request);
        let mut request = vector.request();
        let more = [("x-oss-more", "1"), ("content-type", "image/png")];
        for (name, value) in more {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        altered.push(request);
        for request in altered {
            let uri = request.uri().clone();
            let answer = send(&emulator, request).await;
            let name = vector.name;
            assert_eq!(answer.status, 403, "{name} {uri} {}", answer.text());
            assert_eq!(answer.element("Code").unwrap(), "SignatureDoesNotMatch");
            let known = ["0002-00000040", "0002-00000201"];
            assert!(known.contains(&&*answer.element("EC").unwrap()), "{name}");
            assert!(answer.element("StringToSign").is_some(), "{name}");
            assert!(!answer.text().contains("OtxrzxIsfpFj"), "{name}");
        }
    }
}

/// Signed by an implementation that shares no code with this crate.
#[tokio::test]
async fn requests_of_another_signer() {
    for way in ways() {
        let emulator = today().build().unwrap();
        for target in [
            "/a.txt",
            "/a%20b/%2B%E4%B8%AD.txt",
            "/a.txt?x=1&callback-x=2",
        ] {
            let headers = [("content-type", "text/plain"), ("x-oss-meta-a", "b")];
            let request = to(Method::PUT, target, &headers, b"hello");
            let answer = send(&emulator, way.sign(request).await).await;
            assert_eq!(answer.status, 200, "{way:?} {target} {}", answer.text());
            let request = to(Method::GET, target, &[], b"");
            let answer = send(&emulator, way.sign(request).await).await;
            assert_eq!((answer.status.as_u16(), answer.text()), (200, "hello"));
            assert_eq!(answer.header("x-oss-meta-a"), Some("b"));
        }
        // Without a signature, access is denied.
        let answer = send(
            &emulator,
            to(Method::GET, "/a.txt", &[], b"").map(Full::new),
        )
        .await;
        answer.assert_refused(403, "AccessDenied", "0003-00000001");
    }
}

/// Removes a parameter from the headers or the query of a request.
fn without(request: &mut Request<Full<Bytes>>, name: &str) {
    request.headers_mut().remove(name);
    let query = request.uri().query().unwrap_or_default();
    let kept: Vec<_> = query
        .split('&')
        .filter(|pair| pair.split('=').next() != Some(name))
        .collect();
    let target = format!("{}?{}", request.uri().path(), kept.join("&"));
    let host = request.uri().authority().unwrap().clone();
    *request.uri_mut() = format!("http://{host}{target}").parse().unwrap();
}

async fn altered(way: Way, change: impl Fn(&mut Request<Full<Bytes>>)) -> Answer {
    let emulator = today().build().unwrap();
    let mut request = way.sign(to(Method::PUT, "/a.txt", &[], b"hello")).await;
    change(&mut request);
    let answer = send(&emulator, request).await;
    let bucket = BUCKET.parse().unwrap();
    assert!(emulator.store().list(&bucket).await.unwrap().is_empty());
    answer
}

#[tokio::test]
async fn what_is_missing_is_named() {
    for way in ways() {
        let v4 = format!("{:?}", way.version) == "V4";
        let missing: &[(&str, u16, &str, &str)] = match (v4, way.in_url) {
            (false, false) => &[("date", 403, "AccessDenied", "")],
            (true, false) => &[
                ("x-oss-date", 403, "AccessDenied", ""),
                ("x-oss-content-sha256", 400, "InvalidArgument", ""),
            ],
            (false, true) => &[
                ("OSSAccessKeyId", 403, "AccessDenied", ""),
                ("Expires", 403, "AccessDenied", ""),
                ("Signature", 403, "AccessDenied", ""),
            ],
            (true, true) => &[
                ("x-oss-credential", 400, "InvalidArgument", ""),
                ("x-oss-date", 400, "InvalidArgument", ""),
                ("x-oss-expires", 400, "InvalidArgument", "0002-00000215"),
                ("x-oss-signature", 400, "InvalidArgument", ""),
                (
                    "x-oss-signature-version",
                    403,
                    "AccessDenied",
                    "0003-00000001",
                ),
            ],
        };
        for (name, status, code, ec) in missing {
            let answer = altered(way, |request| without(request, name)).await;
            answer.assert_refused(*status, code, ec);
        }
        if way.temporary {
            let answer = altered(way, |request| {
                without(request, "x-oss-security-token");
                without(request, "security-token");
            })
            .await;
            answer.assert_refused(403, "InvalidAccessKeyId", "0002-00000902");
        }
    }
}

/// Version 4 signs the scope, so the scope must match the request.
#[tokio::test]
async fn scopes_and_lives_are_those_of_the_request() {
    let emulator = today().build().unwrap();
    let week = 7 * 24 * 3600;
    for (region, life, expected) in [
        ("cn-hangzhou", None, (200, None)),
        ("cn-beijing", None, (400, Some("InvalidArgument"))),
        ("cn-hangzhou", Some(week), (200, None)),
        ("cn-beijing", Some(week), (400, Some("InvalidArgument"))),
        (
            "cn-hangzhou",
            Some(week + 1),
            (400, Some("InvalidArgument")),
        ),
        ("cn-hangzhou", Some(0), (400, Some("InvalidArgument"))),
    ] {
        let request = to(Method::PUT, "/a.txt", &[], b"hello");
        let life = life.map(Duration::from_secs);
        let request = Way::V4.sign_in(region, life, request).await;
        let answer = send(&emulator, request).await;
        let found = (answer.status.as_u16(), answer.element("Code"));
        let found = (found.0, found.1.as_deref());
        assert_eq!(found, expected, "{region} {life:?} {}", answer.text());
        // The tests of `oss2` assert both messages.
        if region != "cn-hangzhou" {
            let message = match life {
                None => "Invalid signing region in Authorization header.",
                Some(_) => "The signing region in credential is invalid.",
            };
            assert_eq!(answer.element("Message").as_deref(), Some(message));
        }
    }
    // The day of the scope must match the date.
    let mut vectors = VECTORS.iter();
    let vector = vectors
        .find(|vector| vector.name.ends_with("v4 test_auth_query"))
        .unwrap();
    let target = vector.target.replacen("ak%2F20231217", "ak%2F20231216", 1);
    let mut request = vector.request();
    *request.uri_mut() = target.parse().unwrap();
    let answer = send(&vector.emulator(), request).await;
    answer.assert_refused(400, "InvalidArgument", "0002-00000709");
}

#[tokio::test]
async fn one_signature_a_request() {
    let emulator = today().build().unwrap();
    let in_url = Way {
        in_url: true,
        ..Way::V4
    };
    let mut request = in_url.sign(to(Method::PUT, "/a.txt", &[], b"x")).await;
    let authorization = format!("OSS {ID}:AAAA").parse().unwrap();
    request.headers_mut().insert("authorization", authorization);
    let answer = send(&emulator, request).await;
    answer.assert_refused(400, "InvalidArgument", "");
    for odd in [
        "",
        "OSS",
        "Basic eDp5",
        "OSS id-without-signature",
        "OSS4-HMAC-SHA256 x",
    ] {
        let headers = [
            ("authorization", odd),
            ("x-oss-date", "20231216T162057Z"),
            ("x-oss-content-sha256", "UNSIGNED-PAYLOAD"),
        ];
        let request = to(Method::PUT, "/a.txt", &headers, b"x").map(Full::new);
        let answer = send(&emulator, request).await;
        answer.assert_refused(400, "InvalidArgument", "");
    }
}

/// A signature in headers is valid for 15 minutes around its date; in a URL, for the lifetime that
/// the URL states.
#[tokio::test]
async fn signatures_end() {
    for vector in VECTORS {
        let in_url = vector
            .headers
            .iter()
            .all(|(name, _)| *name != "authorization");
        let v4 = vector.target.contains("x-oss-expires");
        let cases: &[(i64, &str)] = match (in_url, v4) {
            (false, _) => &[
                (15 * 60, vector.code),
                (15 * 60 + 1, "RequestTimeTooSkewed"),
                (-15 * 60, vector.code),
                (-15 * 60 - 1, "RequestTimeTooSkewed"),
            ],
            (true, false) => &[
                (0, vector.code),
                (1, "AccessDenied"),
                (-24 * 3600, vector.code),
            ],
            (true, true) => &[
                (599, vector.code),
                (600, "AccessDenied"),
                (-15 * 60, vector.code),
                (-15 * 60 - 1, "RequestTimeTooSkewed"),
            ],
        };
        for (offset, code) in cases {
            let now = vector.at.checked_add_signed(*offset).unwrap();
            let moved = Vector { at: now, ..*vector };
            let emulator = moved.emulator();
            let answer = send(&emulator, vector.request()).await;
            let found = answer.element("Code").unwrap_or_default();
            assert_eq!(found, *code, "{} {offset} {}", vector.name, answer.text());
            if in_url && *code == "AccessDenied" {
                // As OSS words it: the EC pages, and a captured response.
                let ec = if v4 { "0002-00000236" } else { "0002-00000069" };
                answer.assert_refused(403, "AccessDenied", ec);
                assert_eq!(answer.element("Message").unwrap(), "Request has expired.");
                let time = |element| -> jiff::Timestamp {
                    answer.element(element).unwrap().parse().unwrap()
                };
                let now = i64::try_from(now).unwrap();
                assert_eq!(time("ServerTime").as_second(), now);
                assert!(time("Expires") < time("ServerTime"));
            }
        }
    }
}

#[tokio::test]
async fn keys_and_tokens_go_together() {
    let emulator = today()
        .access_key(AccessKey::new("STS.ended", "ended-secret").with_security_token("ended", at(1)))
        .build()
        .unwrap();
    for (id, token, code, ec) in [
        ("nobody", None, "InvalidAccessKeyId", "0002-00000902"),
        (ID, Some("token"), "InvalidAccessKeyId", "0002-00000902"),
        (
            TEMPORARY.0,
            Some("token"),
            "InvalidSecurityToken",
            "0002-00000008",
        ),
        (
            ID,
            Some(TEMPORARY.2),
            "AccessKeyIdAndSecurityTokenNotMatch",
            "",
        ),
        (TEMPORARY.0, None, "InvalidAccessKeyId", "0002-00000902"),
        (
            "STS.ended",
            Some("ended"),
            "SecurityTokenExpired",
            "0002-00000007",
        ),
    ] {
        let credentials = format!("OSS {id}:AAAA");
        let date = httpdate_now();
        let mut headers = vec![("authorization", &*credentials), ("date", &*date)];
        if let Some(token) = token {
            headers.push(("x-oss-security-token", token));
        }
        let request = to(Method::PUT, "/a.txt", &headers, b"x").map(Full::new);
        let answer = send(&emulator, request).await;
        answer.assert_refused(403, code, ec);
    }
}

fn httpdate_now() -> String {
    let now = jiff::Timestamp::try_from(std::time::SystemTime::now()).unwrap();
    jiff::fmt::rfc2822::DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&now)
        .unwrap()
}
