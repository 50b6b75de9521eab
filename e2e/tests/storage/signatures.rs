//! Random requests, signed by this crate and by `reqsign-aliyun-oss`.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header::HOST, request::Parts};
use reqsign_aliyun_oss::{Credential, RequestSigner, SigningVersion};
use reqsign_core::{Context, SignRequest as _};
use tower_aliyun_oss::{
    policy::{
        Credentials,
        internal::{ToSign, sign_headers, sign_query},
    },
    protocol::{Bucket, Region},
};

use crate::random::Random;

const REGIONS: [&str; 3] = ["cn-hangzhou", "ap-southeast-1", "us-west-1"];
const METHODS: [Method; 5] = [
    Method::GET,
    Method::HEAD,
    Method::PUT,
    Method::POST,
    Method::DELETE,
];

const NAME: &str = "abcdefghijklmnopqrstuvwxyz0123456789";
const ANY: &str = "abzAZ09-._~!*'();:@&=+$,?#[]%/ \"<>\\^`{|}äß中文🦀\u{1}\u{7f}\u{a0}";
const VISIBLE: &str = "abzAZ09-._~!*'();:@&=+$,/?#[]%\"<>\\^`{|}";

/// A random request. The key is not empty and does not start with a slash.
struct Sample {
    bucket: Bucket,
    region: Region,
    method: Method,
    key: String,
    query: Vec<(String, String)>,
    headers: HeaderMap,
    additional: Vec<HeaderName>,
    credentials: (String, String, Option<String>),
    /// `None` for a signature in the headers.
    seconds: Option<u32>,
}

impl Sample {
    fn random(random: &mut Random) -> Self {
        let key = random.text(ANY, 0, 40);
        let mut query: Vec<(String, String)> = (0..random.below(5))
            .map(|_| (random.text(ANY, 1, 8), random.text(ANY, 0, 12)))
            .collect();
        if random.one_in(4) {
            query.push(("list-type".into(), "2".into()));
            query.push(("acl".into(), String::new()));
        }
        // The other signer drops what a form decoder would, in parameters of one name.
        let mut seen = std::collections::BTreeSet::new();
        query.retain(|(name, _)| seen.insert(name.clone()));
        let mut headers = HeaderMap::new();
        let mut additional = Vec::new();
        let value = |random: &mut Random| HeaderValue::from_str(&random.text(VISIBLE, 1, 12));
        if random.one_in(2) {
            headers.insert("content-type", value(random).unwrap());
        }
        if random.one_in(4) {
            headers.insert("content-md5", value(random).unwrap());
        }
        for _ in 0..random.below(3) {
            let name = format!("x-oss-meta-{}", random.text(NAME, 1, 6));
            headers.insert(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                value(random).unwrap(),
            );
        }
        // The other signer signs every header.
        for _ in 0..random.below(3) {
            let name = format!("y{}", random.text(NAME, 1, 6));
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.insert(name.clone(), value(random).unwrap());
            additional.push(name);
        }
        let secret = random.text(VISIBLE, 1, 40);
        let token = random.one_in(2).then(|| random.text(VISIBLE, 1, 60));
        Self {
            bucket: random.text(NAME, 3, 20).parse().unwrap(),
            region: REGIONS[random.below(3)].parse().unwrap(),
            method: METHODS[random.below(5)].clone(),
            key: format!("k{key}"),
            query,
            headers,
            additional,
            credentials: (random.text(NAME, 1, 20), secret, token),
            seconds: random
                .one_in(2)
                .then(|| 1 + u32::try_from(random.below(604_800)).unwrap()),
        }
    }

    fn credentials(&self) -> Credentials {
        let (id, secret, token) = &self.credentials;
        let credentials = Credentials::new(id, secret).unwrap();
        match token {
            Some(token) => credentials.with_security_token(token).unwrap(),
            None => credentials,
        }
    }

    async fn signed_by_the_other(&self, parts: &mut Parts) {
        let (id, secret, token) = self.credentials.clone();
        let credential = Credential {
            access_key_id: id,
            access_key_secret: secret,
            security_token: token,
            expires_in: None,
        };
        let signer = RequestSigner::new(self.bucket.as_str())
            .with_region(self.region.as_str())
            .with_signing_version(SigningVersion::V4);
        let life = self
            .seconds
            .map(|seconds| Duration::from_secs(seconds.into()));
        signer
            .sign_request(&Context::new(), parts, Some(&credential), life)
            .await
            .unwrap();
    }

    /// Compares the two signatures.
    async fn check(&self) {
        let query: Vec<_> = self.query.iter().map(|(n, v)| (&**n, &**v)).collect();
        let mut to_sign = ToSign {
            at: SystemTime::UNIX_EPOCH,
            region: &self.region,
            method: &self.method,
            bucket: &self.bucket,
            key: &self.key,
            query: &query,
            additional: &self.additional,
        };
        let authority = format!("{}.oss.example", self.bucket);
        let url = to_sign.url(&authority).unwrap();
        let request = Request::builder().method(self.method.clone()).uri(url);
        let (mut theirs, ()) = request.body(()).unwrap().into_parts();
        theirs.headers = self.headers.clone();
        self.signed_by_the_other(&mut theirs).await;

        // The other signer reads the system clock.
        let parameter = |name: &str| {
            let query = theirs.uri.query().unwrap_or_default();
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs
                .find(|(found, _)| *found == name)
                .map(|(_, v)| v.to_owned())
        };
        let date = match self.seconds {
            Some(_) => parameter("x-oss-date").unwrap(),
            None => theirs.headers["x-oss-date"].to_str().unwrap().to_owned(),
        };
        to_sign.at = parse(&date);
        let mut headers = self.headers.clone();
        let (ours, expected) = match self.seconds {
            Some(seconds) => {
                headers.insert(HOST, HeaderValue::from_str(&authority).unwrap());
                let additional = [&self.additional[..], &[HOST]].concat();
                to_sign.additional = &additional;
                let query = sign_query(&self.credentials(), &to_sign, &headers, seconds).unwrap();
                let (_, signature) = query.split_once("&x-oss-signature=").unwrap();
                (signature.to_owned(), parameter("x-oss-signature").unwrap())
            }
            None => {
                let signed = sign_headers(&self.credentials(), &to_sign, &mut headers);
                signed.unwrap().unwrap();
                let signature = |headers: &HeaderMap| {
                    let text = headers["authorization"].to_str().unwrap();
                    text.split_once("Signature=").unwrap().1.to_owned()
                };
                (signature(&headers), signature(&theirs.headers))
            }
        };
        assert_eq!(
            ours, expected,
            "{} {:?} {:?} {:?}",
            self.method, self.key, self.query, self.headers
        );
    }
}

/// Parses `YYYYMMDDTHHMMSSZ` (civil from days, by Howard Hinnant).
fn parse(date: &str) -> SystemTime {
    let number = |from, to| date[from..to].parse::<u64>().unwrap();
    let (year, month, day) = (number(0, 4), number(4, 6), number(6, 8));
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    let seconds = days * 86_400 + number(9, 11) * 3600 + number(11, 13) * 60 + number(13, 15);
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

async fn compare(requests: usize) {
    let mut random = Random::seeded();
    for _ in 0..requests {
        Sample::random(&mut random).check().await;
    }
}

#[tokio::test]
async fn pl_01_random_requests_have_the_signatures_of_another_signer() {
    compare(2_000).await;
}

mod soak {
    #[tokio::test]
    #[ignore = "soak: 100,000 requests signed twice"]
    async fn pl_01_100_000_random_requests() {
        super::compare(100_000).await;
    }
}
