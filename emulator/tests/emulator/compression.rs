//! Responses in gzip.
//!
//! The facts are those that the tests of `oss2` and of the SDK for PHP assert.

use std::io::Read as _;

use aliyun_oss_emulator::{CorsRule, HostedBucket};
use bytes::Bytes;
use flate2::read::GzDecoder;
use http::Method;
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use super::{
    path_style::{ask_with, get, ok, put, signed, stores},
    support::Answer,
};

const A: &str = "/examplebucket/a";
const GZIP: (&str, &str) = ("accept-encoding", "deflate, gzip");

fn unpacked(answer: &Answer) -> Vec<u8> {
    let mut content = Vec::new();
    let mut decoder = GzDecoder::new(&*answer.body);
    decoder.read_to_end(&mut content).unwrap();
    content
}

#[tokio::test]
async fn text_is_compressed_if_the_client_accepts_it() {
    for (_folder, settings) in stores() {
        let emulator = settings.build().unwrap();
        // More than one chunk of memory, of a file, and of the compression.
        let content: Vec<u8> = (0..3_000_000_u64)
            .map(|i| u8::try_from(i * i % 251).unwrap())
            .collect();
        let text = [("content-type", "text/plain")];
        ok(&put(&emulator, A, &text, &content).await);

        let answer = get(&emulator, A, "").await;
        ok(&answer);
        assert_eq!(answer.header("vary"), Some("Accept-Encoding"));
        assert_eq!(answer.header("content-encoding"), None);
        assert_eq!(answer.header("content-length"), Some("3000000"));
        assert_eq!(&*answer.body, &*content);

        let answer = ask_with(&emulator, Method::GET, A, "", &[GZIP], b"").await;
        ok(&answer);
        assert!(answer.body.len() < content.len());
        assert_eq!(unpacked(&answer), content);
        let head = ask_with(&emulator, Method::HEAD, A, "", &[GZIP], b"").await;
        ok(&head);
        assert!(head.body.is_empty());
        for answer in [answer, head] {
            assert_eq!(answer.header("vary"), Some("Accept-Encoding"));
            assert_eq!(answer.header("content-encoding"), Some("gzip"));
            for name in ["content-length", "etag"] {
                assert_eq!(answer.header(name), None, "{name}");
            }
            assert!(answer.header("x-oss-hash-crc64ecma").is_some());
        }
    }
}

#[tokio::test]
async fn other_content_is_sent_as_it_is() {
    for (_folder, settings) in stores() {
        let emulator = settings.build().unwrap();
        let content = [b'a'; 1024];
        for (headers, size) in [
            (&[("content-type", "text/plain")][..], 1023),
            (&[("content-type", "image/png")], 1024),
            (&[], 1024),
            (
                &[("content-type", "text/plain"), ("content-encoding", "br")],
                1024,
            ),
        ] {
            ok(&put(&emulator, A, headers, &content[..size]).await);
            let answer = ask_with(&emulator, Method::GET, A, "", &[GZIP], b"").await;
            assert_eq!(answer.header("vary"), None, "{headers:?}");
            assert_ne!(answer.header("content-encoding"), Some("gzip"));
            assert_eq!(&*answer.body, &content[..size]);
        }
        let text = [("content-type", "text/plain")];
        ok(&put(&emulator, A, &text, &content).await);
        let range = [GZIP, ("range", "bytes=0-1022")];
        let answer = ask_with(&emulator, Method::GET, A, "", &range, b"").await;
        assert_eq!(answer.status, 206);
        assert_eq!(answer.header("content-encoding"), None);
        assert_eq!(answer.body.len(), 1023);
        let answer = ask_with(&emulator, Method::GET, A, "", &[GZIP], b"").await;
        assert_eq!(unpacked(&answer), content);
    }
}

#[tokio::test]
async fn a_compressed_response_varies_by_origin_too() {
    for (_folder, settings) in stores() {
        let rule = CorsRule::new().allow_origin("https://app.example");
        let rule = rule.allow_method(Method::GET);
        let bucket = HostedBucket::new("pages".parse().unwrap()).cors(rule);
        let emulator = settings.bucket(bucket).build().unwrap();
        let text = [("content-type", "text/css")];
        ok(&put(&emulator, "/pages/a", &text, &[b'a'; 1024]).await);
        let request = signed(&Method::GET, "/pages/a", "", &[], Bytes::new());
        let response = emulator.clone().oneshot(request).await.unwrap();
        let vary: Vec<_> = response.headers().get_all("vary").iter().collect();
        assert_eq!(vary, ["Origin", "Accept-Encoding"]);
        drop(response.into_body().collect().await.unwrap());
    }
}
