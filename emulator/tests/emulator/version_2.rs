//! Signatures of version 2, which the older SDKs for Go, Java and Python make.

use aliyun_oss_emulator::{AccessKey, Emulator, HostedBucket};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;

use super::support::{Answer, NOW, at, builder, send};

const DATE: (&str, &str) = ("date", "Sun, 03 Dec 2023 12:12:12 GMT");
const PLAIN: (&str, &str) = ("content-type", "text/plain");

/// A request that `oss2` 2.19 signed with the key `sk` of `ak`.
#[derive(Clone, Copy)]
struct Vector {
    method: &'static str,
    host: &'static str,
    target: &'static str,
    headers: &'static [(&'static str, &'static str)],
    /// Of a header, or the end of the validity of a URL.
    at: u64,
    /// The expected error if the signature is valid; empty for none.
    code: &'static str,
}

const VECTORS: &[Vector] = &[
    Vector {
        method: "PUT",
        host: "bucket.localhost",
        target: "/1234%2B-/123/1.txt?param1=value1&%2Bparam1=value3&%7Cparam1=value4&%2Bparam2=&%7Cparam2=&param2=",
        headers: &[
            PLAIN,
            ("content-md5", "eB5eJF1ptWaXm4bijSPyxw=="),
            ("x-oss-meta-b", "2"),
            ("x-oss-head1", "value"),
            DATE,
            (
                "authorization",
                "OSS2 AccessKeyId:ak,Signature:VnNgbhC8ITW3PVLlaR6bSleaueL0UiCFl7VhmKVTz64=",
            ),
        ],
        at: NOW,
        // Three parameters without values could be sub-resources.
        code: "NotImplemented",
    },
    Vector {
        method: "PUT",
        host: "bucket.localhost",
        target: "/a%20b~_.txt",
        headers: &[
            PLAIN,
            ("abc", "value"),
            ("zabc", "value"),
            ("x-oss-head1", "value"),
            DATE,
            // Sorted in the string to sign.
            (
                "authorization",
                "OSS2 AccessKeyId:ak,AdditionalHeaders:zabc;abc,\
                 Signature:oi5S2wz0ZtCE8mDgZvDWONpdlOwgOUhbaBqlJq8CvD4=",
            ),
        ],
        at: NOW,
        code: "",
    },
    Vector {
        method: "GET",
        host: "localhost",
        target: "/?prefix=a",
        headers: &[
            DATE,
            (
                "authorization",
                "OSS2 AccessKeyId:ak,Signature:x3hoDI4lV7dxQtl9MCptNBhT6vVEuwTRqG6M7nQU2h0=",
            ),
        ],
        at: NOW,
        code: "",
    },
    Vector {
        method: "GET",
        host: "bucket.localhost",
        target: "/key%2B123?versionId=versionId&x-oss-signature-version=OSS2&x-oss-expires=1701606132&x-oss-access-key-id=ak&x-oss-signature=Pgpq4OZ4GLfd94ro9cmnzOPIgx4%2FlD32RNjkWQA3Omk%3D",
        headers: &[],
        at: 1_701_606_132,
        code: "NotImplemented",
    },
    Vector {
        method: "PUT",
        host: "bucket.localhost",
        target: "/key%2B123?x=1&x-oss-signature-version=OSS2&x-oss-expires=1701606132&x-oss-access-key-id=ak&x-oss-additional-headers=abc&x-oss-signature=4vzOMkcZjQj9vraaAT1Sn8FgQtTJI85T8iJGeSuNu9U%3D",
        headers: &[("abc", "value")],
        at: 1_701_606_132,
        code: "",
    },
];

impl Vector {
    async fn ask(self, now: u64, edit: impl Fn(&str, &str) -> String) -> Answer {
        let mut request = Request::builder()
            .method(self.method)
            .uri(edit("target", self.target))
            .header("host", self.host)
            .header("content-length", 0);
        for (name, value) in self.headers {
            request = request.header(*name, edit(name, value));
        }
        let request = request.body(Full::new(Bytes::new())).unwrap();
        send(&emulator(now), request).await
    }

    fn assert_passed(self, answer: &Answer) {
        match self.code {
            "" => assert_eq!(answer.status, 200, "{}: {}", self.target, answer.text()),
            code => assert_eq!(answer.element("Code").as_deref(), Some(code)),
        }
    }
}

fn emulator(now: u64) -> Emulator {
    let bucket = HostedBucket::new("bucket".parse().unwrap());
    let temporary = AccessKey::new("STS.ak", "sk").with_security_token("token", at(now + 3600));
    let builder = builder().bucket(bucket).clock(move || at(now));
    let builder = builder.access_key(AccessKey::new("ak", "sk"));
    builder.access_key(temporary).build().unwrap()
}

fn unchanged(_: &str, value: &str) -> String {
    value.to_owned()
}

#[tokio::test]
async fn what_oss2_signs_is_valid() {
    for vector in VECTORS {
        vector.assert_passed(&vector.ask(vector.at, unchanged).await);
    }
}

#[tokio::test]
async fn another_header_or_parameter_does_not_match() {
    for vector in VECTORS {
        let add = |name: &str, value: &str| match (name, value.contains('?')) {
            ("target", true) => format!("{value}&more=1"),
            ("target", false) => format!("{value}?more=1"),
            _ => value.to_owned(),
        };
        let answer = vector.ask(vector.at, add).await;
        answer.assert_refused(403, "SignatureDoesNotMatch", "0002-00000040");
        // Every signed header.
        for (changed, _) in vector.headers {
            if ["authorization", "date"].contains(changed) {
                continue;
            }
            let change = |name: &str, value: &str| match name == *changed {
                true => format!("{value}x"),
                false => value.to_owned(),
            };
            let answer = vector.ask(vector.at, change).await;
            answer.assert_refused(403, "SignatureDoesNotMatch", "0002-00000040");
        }
    }
}

#[tokio::test]
async fn they_end() {
    for vector in VECTORS {
        if vector.headers.contains(&DATE) {
            let answer = vector.ask(vector.at + 900, unchanged).await;
            vector.assert_passed(&answer);
            for now in [vector.at + 901, vector.at - 901] {
                let answer = vector.ask(now, unchanged).await;
                answer.assert_refused(403, "RequestTimeTooSkewed", "0002-00000504");
            }
        } else {
            let answer = vector.ask(vector.at + 1, unchanged).await;
            answer.assert_refused(403, "AccessDenied", "0002-00000069");
        }
    }
}

#[tokio::test]
async fn malformed_ones_are_refused() {
    let [_, header, _, _, url] = VECTORS else {
        panic!("five vectors");
    };
    for (from, to, status, code, ec) in [
        (
            ":ak,",
            ":nobody,",
            403,
            "InvalidAccessKeyId",
            "0002-00000902",
        ),
        ("AccessKeyId", "Id", 400, "InvalidArgument", ""),
        ("Signature:", "S:", 400, "InvalidArgument", ""),
        ("zabc;abc", "zabc;abc;gone", 400, "InvalidArgument", ""),
        (
            "zabc;abc",
            "zabc",
            403,
            "SignatureDoesNotMatch",
            "0002-00000040",
        ),
        (
            ":ak,",
            ":STS.ak,",
            403,
            "InvalidAccessKeyId",
            "0002-00000902",
        ),
    ] {
        let edit = |_: &str, value: &str| value.replace(from, to);
        let answer = header.ask(header.at, edit).await;
        answer.assert_refused(status, code, ec);
    }
    for (from, to, status, code, ec) in [
        ("x-oss-access-key-id", "id", 400, "InvalidArgument", ""),
        ("x-oss-expires", "expires", 400, "InvalidArgument", ""),
        ("x-oss-signature=", "signature=", 400, "InvalidArgument", ""),
        ("1701606132", "soon", 403, "AccessDenied", "0002-00000070"),
        ("=OSS2", "=OSS3", 400, "InvalidArgument", "0002-00000701"),
        (
            "1701606132",
            "1701606133",
            403,
            "SignatureDoesNotMatch",
            "0002-00000040",
        ),
    ] {
        let edit = |_: &str, value: &str| value.replace(from, to);
        let answer = url.ask(url.at, edit).await;
        answer.assert_refused(status, code, ec);
    }
}
