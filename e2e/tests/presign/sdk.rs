//! Random requests, with URLs that this crate and two SDKs sign.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
    time::{Duration, SystemTime},
};

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::{Value, json};
use tower_aliyun_oss::{
    policy::{
        Credentials,
        internal::{ToSign, sign_query},
    },
    protocol::{Bucket, Region},
};

use crate::random::Random;

const NAME: &str = "abcdefghijklmnopqrstuvwxyz0123456789";
/// Without control characters: the two SDKs escape those differently.
const ANY: &str = "abzAZ09-._~!*'();:@&=+$,?#[]%/ \"<>\\^`{|}äß中文🦀";
const VISIBLE: &str = "abzAZ09-._~!*'();:@&=+$,/?#[]%\"<>\\^`{|}";

/// One of the requests that the service signs, with random contents.
struct Sample {
    method: Method,
    key: String,
    query: Vec<(String, String)>,
    headers: Vec<(&'static str, String)>,
    additional: Vec<&'static str>,
}

impl Sample {
    fn new(random: &mut Random) -> Self {
        let key = format!("{}{}", random.text(NAME, 1, 1), random.text(ANY, 0, 60));
        let own = |name: &str, value: String| (name.to_owned(), value);
        let id = random.text("0123456789ABCDEF", 32, 32);
        let (mut query, mut headers, mut additional) = (Vec::new(), Vec::new(), Vec::new());
        let method = match random.below(7) {
            0 => {
                query.push(own("uploads", String::new()));
                headers.push(("content-type", "video/mp4".to_owned()));
                headers.push(("x-oss-object-acl", "private".to_owned()));
                headers.push(("x-oss-forbid-overwrite", "true".to_owned()));
                headers.push(("x-oss-meta-album", random.text(VISIBLE, 1, 20)));
                if random.below(2) == 0 {
                    headers.push(("cache-control", random.text(NAME, 1, 20)));
                    additional.push("cache-control");
                }
                Method::POST
            }
            1 | 2 => {
                query.push(own("partNumber", (1 + random.below(10_000)).to_string()));
                query.push(own("uploadId", id));
                headers.push(("content-length", random.below(1 << 33).to_string()));
                additional.push("content-length");
                Method::PUT
            }
            3 => {
                query.push(own("uploadId", id));
                query.push(own("part-number-marker", random.below(10_000).to_string()));
                Method::GET
            }
            4 => {
                query.push(own("uploadId", id));
                query.push(own("callback", random.text(VISIBLE, 1, 500)));
                query.push(own("callback-var", random.text(VISIBLE, 1, 100)));
                headers.push(("content-type", "application/xml".to_owned()));
                headers.push(("x-oss-forbid-overwrite", "true".to_owned()));
                Method::POST
            }
            5 => {
                query.push(own("uploadId", id));
                Method::DELETE
            }
            _ => {
                let name = format!("a{}", random.text(ANY, 0, 40));
                query.push(own("response-content-disposition", name));
                query.push(own("x-oss-process", random.text(VISIBLE, 1, 40)));
                Method::GET
            }
        };
        Self {
            method,
            key,
            query,
            headers,
            additional,
        }
    }
}

/// Returns path and parameters of a URL. The SDKs write the parameters in another order.
fn parts(url: &str) -> (&str, Vec<&str>) {
    let (path, query) = url.split_once('?').unwrap();
    let mut query: Vec<_> = query.split('&').collect();
    query.sort_unstable();
    (path, query)
}

/// `PYTHON` is an interpreter that has the SDKs of `e2e/sdk/requirements.txt`.
#[test]
#[ignore = "needs python3 with oss2 and alibabacloud-oss-v2"]
fn ps_05_ten_thousand_urls_are_those_of_two_sdks() {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/sdk/presign.py");
    let mut sdks = Command::new(python)
        .args(["-B", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = sdks.stdin.take().unwrap();
    let mut output = BufReader::new(sdks.stdout.take().unwrap());
    let mut random = Random::seeded();
    for _ in 0..10_000 {
        let sample = Sample::new(&mut random);
        let bucket: Bucket = format!("b{}", random.text(NAME, 2, 40)).parse().unwrap();
        let region: Region = "cn-hangzhou".parse().unwrap();
        let token = match random.below(2) {
            0 => None,
            _ => Some(random.text(VISIBLE, 1, 60)),
        };
        let (id, secret) = (random.text(NAME, 1, 20), random.text(VISIBLE, 1, 30));
        let mut credentials = Credentials::new(&*id, &*secret).unwrap();
        if let Some(token) = &token {
            credentials = credentials.with_security_token(&**token).unwrap();
        }
        let at = 1_700_000_000 + random.below(300_000_000) as u64;
        let seconds = 1 + random.below(604_800) as u32;

        let query: Vec<_> = sample
            .query
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        let headers: HeaderMap = sample
            .headers
            .iter()
            .map(|(name, value)| {
                let name = HeaderName::from_static(name);
                (name, HeaderValue::from_str(value).unwrap())
            })
            .collect();
        let additional: Vec<_> = sample
            .additional
            .iter()
            .map(|name| HeaderName::from_static(name))
            .collect();
        let to_sign = ToSign {
            at: SystemTime::UNIX_EPOCH + Duration::from_secs(at),
            region: &region,
            method: &sample.method,
            bucket: &bucket,
            key: &sample.key,
            query: &query,
            additional: &additional,
        };
        let signed = sign_query(&credentials, &to_sign, &headers, seconds).unwrap();
        let authority = format!("{bucket}.oss-cn-hangzhou.aliyuncs.com");
        let bare = to_sign.url(&authority).unwrap();
        let ours = format!("https://{authority}{}?{signed}", bare.path());

        let case = json!({
            "endpoint": "https://oss-cn-hangzhou.aliyuncs.com", "bucket": bucket.as_str(),
            "region": region.as_str(), "id": id, "secret": secret, "token": token, "at": at,
            "seconds": seconds, "method": sample.method.as_str(), "key": sample.key,
            "query": sample.query, "headers": sample.headers, "additional": sample.additional,
        });
        writeln!(input, "{case}").unwrap();
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let urls: Vec<Value> = serde_json::from_str(&line).unwrap();
        for url in urls {
            assert_eq!(parts(url.as_str().unwrap()), parts(&ours), "{case}");
        }
    }
    drop(input);
    assert!(sdks.wait().unwrap().success());
}
