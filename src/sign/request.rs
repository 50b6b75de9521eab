//! Signatures of version 4 for requests, in headers and in URLs.
//!
//! Sources: [in headers], [in URLs], and the tests of the SDKs, whose vectors are in
//! `tests/cases/request_signatures.json`.
//!
//! [in headers]: https://www.alibabacloud.com/help/en/oss/developer-reference/recommend-to-use-signature-version-4
//! [in URLs]: https://www.alibabacloud.com/help/en/oss/developer-reference/add-signatures-to-urls

use std::{borrow::Cow, fmt::Write as _, time::SystemTime};

use hmac::{Hmac, Mac as _};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method,
    header::{AUTHORIZATION, CONTENT_TYPE, InvalidHeaderValue},
};
use jiff::Timestamp;
use percent_encoding::{AsciiSet, utf8_percent_encode};
use sha2::{Digest as _, Sha256};

use super::{
    Secret,
    v4::{self, ALGORITHM, DayKeys},
};
use crate::protocol::{Bucket, Region, percent::UNRESERVED};

/// The only payload hash that OSS accepts: version 4 does not sign the body.
pub(super) const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

const CONTENT_MD5: &str = "content-md5";
const X_OSS_CONTENT_SHA256: HeaderName = HeaderName::from_static("x-oss-content-sha256");
const X_OSS_DATE: HeaderName = HeaderName::from_static("x-oss-date");
const X_OSS_SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-oss-security-token");

/// Keeps the slashes of an object key.
const PATH: &AsciiSet = &UNRESERVED.remove(b'/');

/// The parts of an AccessKey that sign a request.
#[derive(Clone, Copy)]
pub(crate) struct AccessKey<'a> {
    pub(crate) id: &'a str,
    pub(crate) secret: &'a Secret,
    pub(crate) security_token: Option<&'a str>,
}

/// The parts of a request that are signed beside its headers.
#[derive(Clone, Copy)]
pub(crate) struct RequestLine<'a> {
    pub(crate) method: &'a Method,
    pub(crate) bucket: &'a Bucket,
    /// The object key, not encoded. Empty for a request to the bucket itself.
    pub(crate) key: &'a str,
    /// Names and values of the query, not encoded.
    pub(crate) query: &'a [(&'a str, &'a str)],
}

/// Percent-encodes an object key for the path of a URL.
pub(crate) fn encode_key(key: &str) -> String {
    utf8_percent_encode(key, PATH).to_string()
}

/// Percent-encodes names and values of a query. A parameter without a value has no `=`.
pub(crate) fn encode_query(query: &[(&str, &str)]) -> String {
    join(query.iter().map(encoded))
}

/// Signs requests at one instant, with one AccessKey, for one region.
pub(crate) struct RequestSigner<'a> {
    keys: &'a DayKeys,
    access_key: AccessKey<'a>,
    region: &'a Region,
    /// `YYYYMMDD`, in UTC.
    day: String,
    /// `YYYYMMDDTHHMMSSZ`. Of the same instant as the day: OSS rejects two different days.
    date: String,
}

impl<'a> RequestSigner<'a> {
    /// Returns `None` if the time cannot be written with a year of four digits.
    pub(crate) fn new(
        keys: &'a DayKeys,
        access_key: AccessKey<'a>,
        region: &'a Region,
        at: SystemTime,
    ) -> Option<Self> {
        // Years before 1 and after 9999 have other lengths.
        let at = Timestamp::try_from(at).ok()?;
        let date = at.strftime("%Y%m%dT%H%M%SZ").to_string();
        let day = date.get(..8)?.to_owned();
        (date.len() == 16).then_some(Self {
            keys,
            access_key,
            region,
            day,
            date,
        })
    }

    /// Adds the headers of a signature to `headers`, which are those of the request. Signs
    /// `content-type`, `content-md5` and `x-oss-*`, and the `additional` ones that the request has.
    ///
    /// # Errors
    ///
    /// Fails if the AccessKey contains characters that a header cannot have.
    pub(crate) fn sign_headers(
        &self,
        request: RequestLine<'_>,
        additional: &[HeaderName],
        headers: &mut HeaderMap,
    ) -> Result<(), InvalidHeaderValue> {
        headers.insert(X_OSS_DATE, HeaderValue::from_str(&self.date)?);
        let payload = HeaderValue::from_static(UNSIGNED_PAYLOAD);
        headers.insert(X_OSS_CONTENT_SHA256, payload);
        if let Some(token) = self.access_key.security_token {
            let mut token = HeaderValue::from_str(token)?;
            token.set_sensitive(true);
            headers.insert(X_OSS_SECURITY_TOKEN, token);
        }
        let additional = additional_headers(headers, additional);
        let query = request.query.iter().map(encoded).collect();
        let signature = self.signature(request, query, headers, &additional);
        let mut text = format!("{ALGORITHM} Credential={}", self.credential());
        if !additional.is_empty() {
            text.extend([",AdditionalHeaders=", &additional.join(";")]);
        }
        text.extend([",Signature=", &signature]);
        let mut authorization = HeaderValue::from_str(&text)?;
        authorization.set_sensitive(true);
        headers.insert(AUTHORIZATION, authorization);
        Ok(())
    }

    pub(super) fn date(&self) -> &str {
        &self.date
    }

    pub(super) fn security_token(&self) -> Option<&str> {
        self.access_key.security_token
    }

    /// Starts the HMAC of a string to sign, of which only the digest of the request is missing.
    pub(super) fn start(&self) -> Hmac<Sha256> {
        let Self {
            day, date, region, ..
        } = self;
        let head = format!("{ALGORITHM}\n{date}\n{day}/{region}/oss/aliyun_v4_request\n");
        let key = self.keys.get(self.access_key.secret, day, region);
        key.start().chain_update(head)
    }

    pub(super) fn credential(&self) -> String {
        v4::credential(self.access_key.id, &self.day, self.region)
    }

    fn signature(
        &self,
        request: RequestLine<'_>,
        query: Vec<Pair<'_>>,
        headers: &HeaderMap,
        additional: &[&str],
    ) -> String {
        let canonical = canonical_request(request, query, headers, additional);
        finish(self.start(), &canonical)
    }
}

/// Returns the signature of a canonical request, in lower-case hex.
pub(super) fn finish(mac: Hmac<Sha256>, canonical: &str) -> String {
    base16ct::lower::encode_string(&digest(mac, canonical))
}

/// Returns the signature of a canonical request.
pub(super) fn digest(mac: Hmac<Sha256>, canonical: &str) -> [u8; 32] {
    let digest: [u8; 32] = Sha256::digest(canonical).into();
    let mut hex = [0; 64];
    // The buffer has twice the length of the digest.
    let hex = base16ct::lower::encode(&digest, &mut hex).unwrap_or_default();
    mac.chain_update(hex).finalize().into_bytes().into()
}

/// A parameter of a query, encoded.
pub(super) type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

pub(super) fn encoded<'a>((name, value): &(&'a str, &'a str)) -> Pair<'a> {
    let encode = |text| utf8_percent_encode(text, UNRESERVED).into();
    (encode(name), encode(value))
}

pub(super) fn join<'a>(query: impl IntoIterator<Item = Pair<'a>>) -> String {
    let mut text = String::new();
    for (name, value) in query {
        text.push_str(if text.is_empty() { "" } else { "&" });
        text.push_str(&name);
        if !value.is_empty() {
            text.extend(["=", &value]);
        }
    }
    text
}

fn canonical_request(
    request: RequestLine<'_>,
    mut query: Vec<Pair<'_>>,
    headers: &HeaderMap,
    additional: &[&str],
) -> String {
    // By the encoded names. Parameters of one name keep their order.
    query.sort_by(|(one, _), (other, _)| one.cmp(other));
    let mut lines = String::new();
    for name in signed_names(headers, additional) {
        lines.extend([name, ":", &joined_values(headers, name), "\n"]);
    }
    let RequestLine { method, bucket, .. } = request;
    let mut text = String::with_capacity(256);
    // Writing to a `String` does not fail.
    let _ = write!(
        text,
        "{method}\n/{bucket}/{}\n{}\n{lines}\n{}\n{UNSIGNED_PAYLOAD}",
        encode_key(request.key),
        join(query),
        additional.join(";"),
    );
    text
}

/// Returns the names of the signed headers, sorted: those that are always signed, and `additional`.
pub(super) fn signed_names<'a>(headers: &'a HeaderMap, additional: &[&str]) -> Vec<&'a str> {
    let mut names: Vec<_> = headers
        .keys()
        .map(HeaderName::as_str)
        .filter(|name| is_always_signed(name) || additional.contains(name))
        .collect();
    names.sort_unstable();
    names
}

/// Returns the values of a header, trimmed and joined by commas.
pub(super) fn joined_values(headers: &HeaderMap, name: &str) -> String {
    let mut joined = String::new();
    for (at, value) in headers.get_all(name).iter().enumerate() {
        joined.push_str(if at > 0 { "," } else { "" });
        joined.push_str(String::from_utf8_lossy(value.as_bytes()).trim());
    }
    joined
}

/// Returns the names that have to be listed, sorted: those of `additional` that the request has and
/// that are not signed anyway.
pub(super) fn additional_headers<'a>(
    headers: &HeaderMap,
    additional: &'a [HeaderName],
) -> Vec<&'a str> {
    let mut names: Vec<_> = additional
        .iter()
        .filter(|name| headers.contains_key(*name))
        .map(HeaderName::as_str)
        .filter(|name| !is_always_signed(name))
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

pub(super) fn is_always_signed(name: &str) -> bool {
    name.starts_with("x-oss-") || name == CONTENT_MD5 || name == CONTENT_TYPE.as_str()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::Value;
    use zeroize::Zeroizing;

    use super::*;

    fn texts(value: &Value) -> impl Iterator<Item = &str> {
        value
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
    }

    fn pairs(value: &Value) -> Vec<(&str, &str)> {
        let pairs = value.as_array().into_iter().flatten();
        pairs
            .map(|pair| (pair[0].as_str().unwrap(), pair[1].as_str().unwrap()))
            .collect()
    }

    /// A case of `request_signatures.json`.
    struct Case {
        value: Value,
        secret: Secret,
        keys: DayKeys,
        bucket: Bucket,
        region: Region,
        method: Method,
    }

    impl Case {
        fn all() -> Vec<Self> {
            let cases = include_str!("../../tests/cases/request_signatures.json");
            let cases: Vec<Value> = serde_json::from_str(cases).unwrap();
            let case = |value: Value| Self {
                secret: Secret::new(Zeroizing::new(
                    value["access_key_secret"].as_str().unwrap().to_owned(),
                )),
                keys: DayKeys::default(),
                bucket: value["bucket"].as_str().unwrap().parse().unwrap(),
                region: value["region"].as_str().unwrap().parse().unwrap(),
                method: value["method"].as_str().unwrap().parse().unwrap(),
                value,
            };
            cases.into_iter().map(case).collect()
        }

        fn signer(&self) -> RequestSigner<'_> {
            let at = Duration::from_secs(self.value["signed_at"].as_u64().unwrap());
            let access_key = AccessKey {
                id: self.value["access_key_id"].as_str().unwrap(),
                secret: &self.secret,
                security_token: self.value["security_token"].as_str(),
            };
            let at = SystemTime::UNIX_EPOCH + at;
            RequestSigner::new(&self.keys, access_key, &self.region, at).unwrap()
        }

        fn headers(&self) -> HeaderMap {
            let pairs = pairs(&self.value["headers"]).into_iter();
            pairs
                .map(|(name, value)| {
                    let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
                    (name, HeaderValue::from_str(value).unwrap())
                })
                .collect()
        }

        fn additional(&self) -> Vec<HeaderName> {
            texts(&self.value["additional_headers"])
                .map(|name| HeaderName::from_bytes(name.as_bytes()).unwrap())
                .collect()
        }

        fn line<'a>(&'a self, query: &'a [(&'a str, &'a str)]) -> RequestLine<'a> {
            RequestLine {
                method: &self.method,
                bucket: &self.bucket,
                key: self.value["key"].as_str().unwrap(),
                query,
            }
        }
    }

    /// Vectors that the SDKs of Alibaba Cloud share.
    #[test]
    fn pl_01_requests_are_signed_as_the_sdks_sign_them() {
        let mut counts = [0, 0];
        for case in Case::all() {
            let name = &case.value["name"];
            let query = pairs(&case.value["query"]);
            let line = case.line(&query);
            let mut headers = case.headers();
            let additional = case.additional();
            match case.value["expected_authorization"].as_str() {
                Some(expected) => {
                    counts[0] += 1;
                    let signed = case.signer().sign_headers(line, &additional, &mut headers);
                    signed.unwrap();
                    assert_eq!(headers[AUTHORIZATION], expected, "{name}");
                    assert!(headers[AUTHORIZATION].is_sensitive());
                    let token = headers.get(X_OSS_SECURITY_TOKEN);
                    assert_eq!(
                        token.map(|token| token.to_str().unwrap()),
                        case.value["security_token"].as_str()
                    );
                    assert!(token.is_none_or(HeaderValue::is_sensitive));
                }
                None => {
                    counts[1] += 1;
                    let seconds = u32::try_from(case.value["expires"].as_u64().unwrap()).unwrap();
                    let signer = case.signer();
                    let signed = signer.sign_query(line, &additional, &headers, seconds);
                    let found: Vec<_> = signed.split('&').collect();
                    // Sorted by name, and the signature is the last parameter.
                    let mut expected: Vec<_> = texts(&case.value["expected_query"]).collect();
                    let signature = expected.pop();
                    expected.sort_unstable();
                    expected.extend(signature);
                    assert_eq!(found, expected, "{name}");
                }
            }
        }
        assert_eq!(counts, [4, 4]);
    }

    #[test]
    fn pl_01_the_canonical_request_is_that_of_the_sdks() {
        let policies = include_str!("../../tests/cases/policies.json");
        let policies: Vec<Value> = serde_json::from_str(policies).unwrap();
        let name = "sdk-v4-key-derivation";
        let published = policies.iter().find(|case| case["name"] == name).unwrap();
        let case = Case::all().into_iter().next().unwrap();
        let query = pairs(&case.value["query"]);
        let mut headers = case.headers();
        let date = published["x_oss_date"].as_str().unwrap();
        headers.insert(X_OSS_DATE, HeaderValue::from_str(date).unwrap());
        headers.insert(
            X_OSS_CONTENT_SHA256,
            HeaderValue::from_static(UNSIGNED_PAYLOAD),
        );
        let encoded = query.iter().map(encoded).collect();
        let canonical = canonical_request(case.line(&query), encoded, &headers, &[]);
        assert_eq!(canonical, published["canonical_request"].as_str().unwrap());
    }

    #[test]
    fn what_is_canonical() {
        let bucket: Bucket = "examplebucket".parse().unwrap();
        let query = [("b", "2"), ("a", "x y+z"), ("b", "1"), ("~", "")];
        let line = RequestLine {
            method: &Method::GET,
            bucket: &bucket,
            key: "ä/./a b+c",
            query: &query,
        };
        let mut headers = HeaderMap::new();
        headers.append("x-oss-b", HeaderValue::from_static(" 1 "));
        headers.append("x-oss-b", HeaderValue::from_static("2"));
        headers.append("host", HeaderValue::from_static("h"));
        headers.append("range", HeaderValue::from_static("bytes=0-1"));
        let names = [http::header::RANGE, http::header::HOST, http::header::DATE];
        let additional = additional_headers(&headers, &names);
        assert_eq!(additional, ["host", "range"]);
        let pairs = query.iter().map(encoded).collect();
        assert_eq!(
            canonical_request(line, pairs, &headers, &additional),
            "GET\n/examplebucket/%C3%A4/./a%20b%2Bc\na=x%20y%2Bz&b=2&b=1&~\n\
             host:h\nrange:bytes=0-1\nx-oss-b:1,2\n\nhost;range\nUNSIGNED-PAYLOAD"
        );
        assert_eq!(encode_query(&query), "b=2&a=x%20y%2Bz&b=1&~");
    }

    /// PL-12 for requests.
    #[test]
    fn pl_12_day_and_date_of_a_request_are_of_one_instant() {
        let case = Case::all().into_iter().next().unwrap();
        let midnight = SystemTime::UNIX_EPOCH + Duration::from_secs(1_702_771_200);
        let written = |at| {
            let access_key = case.signer().access_key;
            let signer = RequestSigner::new(&case.keys, access_key, &case.region, at).unwrap();
            (signer.day, signer.date)
        };
        let of = |day: &str, date: &str| (day.to_owned(), date.to_owned());
        let before = midnight - Duration::from_millis(1);
        assert_eq!(written(before), of("20231216", "20231216T235959Z"));
        assert_eq!(written(midnight), of("20231217", "20231217T000000Z"));
        let late = SystemTime::UNIX_EPOCH + Duration::from_secs(400_000_000_000);
        let access_key = case.signer().access_key;
        assert!(RequestSigner::new(&case.keys, access_key, &case.region, late).is_none());
    }
}
