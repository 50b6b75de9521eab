//! Signed URLs of one object: version 4 in the query.
//!
//! A service signs up to a hundred URLs of one upload at once, which differ in a number or two.
//! [`UrlSigner`] has what all URLs of an object share, and [`PartUrls`] what all parts of an upload
//! share. What remains for a part is the digest of its request and the HMAC of that.
//!
//! Source: [in URLs].
//!
//! [in URLs]: https://www.alibabacloud.com/help/en/oss/developer-reference/add-signatures-to-urls

use std::borrow::Cow;

use hmac::Hmac;
use http::{HeaderMap, HeaderName, Method};
use percent_encoding::utf8_percent_encode;
use sha2::Sha256;

use super::{
    request::{
        Pair, RequestLine, RequestSigner, UNSIGNED_PAYLOAD, additional_headers, digest, encode_key,
        encoded, finish, is_always_signed, join, joined_values, signed_names,
    },
    v4::ALGORITHM,
};
use crate::protocol::{Bucket, percent::UNRESERVED};

const CONTENT_LENGTH: &str = "content-length";

/// A request that a URL is signed for.
#[derive(Clone, Copy)]
pub(crate) struct UrlRequest<'a> {
    pub(crate) method: &'a Method,
    /// Names and values of the query, not encoded.
    pub(crate) query: &'a [(&'a str, &'a str)],
    /// Lower-case names, which are unique, and values without space at their ends. All of them are
    /// signed, so the sender of the request must send them.
    pub(crate) headers: &'a [(&'a str, &'a str)],
    /// How long the URL is valid, at most seven days.
    pub(crate) seconds: u32,
}

/// Signs URLs of one object at one instant, with one AccessKey.
pub(crate) struct UrlSigner {
    mac: Hmac<Sha256>,
    /// The path that is signed: bucket and key.
    path: String,
    /// The URL without its query.
    url: String,
    credential: String,
    date: String,
    token: Option<String>,
}

impl UrlSigner {
    /// `base` is the URL of the bucket.
    pub(crate) fn new(signer: &RequestSigner<'_>, bucket: &Bucket, key: &str, base: &str) -> Self {
        let encode = |text| utf8_percent_encode(text, UNRESERVED).to_string();
        let key = encode_key(key);
        Self {
            mac: signer.start(),
            path: format!("/{bucket}/{key}"),
            url: format!("{}/{key}", base.trim_end_matches('/')),
            credential: encode(&signer.credential()),
            date: signer.date().to_owned(),
            token: signer.security_token().map(encode),
        }
    }

    /// Returns the URL without a query.
    pub(crate) fn bare_url(&self) -> &str {
        &self.url
    }

    /// Returns the signed URL.
    pub(crate) fn url(&self, request: &UrlRequest<'_>) -> String {
        [self.bare_url(), "?", &self.query(request)].concat()
    }

    /// Returns the query of the signed URL: parameters sorted by name, and the signature.
    pub(crate) fn query(&self, request: &UrlRequest<'_>) -> String {
        let query = self.canonical_query(request);
        let canonical = self.canonical_request(request, &query);
        let signature = finish(self.mac.clone(), &canonical);
        [&query, "&x-oss-signature=", &signature].concat()
    }

    /// Returns the URLs of the parts of an upload. `sized` is whether each URL is for one length of
    /// the part.
    pub(crate) fn parts(&self, upload_id: &str, sized: bool, seconds: u32) -> PartUrls {
        // A text that no other parameter can contain, because all of them are encoded.
        const HOLE: &str = "#";
        let length = [(CONTENT_LENGTH, HOLE)];
        let request = UrlRequest {
            method: &Method::PUT,
            query: &[("uploadId", upload_id)],
            headers: if sized { &length } else { &[] },
            seconds,
        };
        // `partNumber` is before all other names.
        let query = self.canonical_query(&request);
        let canonical = self.canonical_request(&request, &query);
        let (head, tail) = canonical.split_once(&*query).unwrap_or_default();
        let (before, after) = tail.split_once(HOLE).unwrap_or((tail, ""));
        PartUrls {
            mac: self.mac.clone(),
            head: [head, "partNumber="].concat(),
            url: [self.bare_url(), "?partNumber="].concat(),
            query: ["&", &query].concat(),
            before_length: before.to_owned(),
            after_length: sized.then(|| after.to_owned()),
            canonical: String::new(),
        }
    }

    fn canonical_query(&self, request: &UrlRequest<'_>) -> String {
        let seconds = request.seconds.to_string();
        let named = additional(request.headers).join("%3B");
        let mut query: Vec<Pair<'_>> = request.query.iter().map(encoded).collect();
        let mut add = |name, value| query.push((Cow::Borrowed(name), Cow::Borrowed(value)));
        if !named.is_empty() {
            add("x-oss-additional-headers", &*named);
        }
        add("x-oss-credential", &self.credential);
        add("x-oss-date", &self.date);
        add("x-oss-expires", &seconds);
        if let Some(token) = &self.token {
            add("x-oss-security-token", token);
        }
        add("x-oss-signature-version", ALGORITHM);
        // Parameters of one name keep their order.
        query.sort_by(|(one, _), (other, _)| one.cmp(other));
        join(query)
    }

    fn canonical_request(&self, request: &UrlRequest<'_>, query: &str) -> String {
        let mut headers: Vec<_> = request.headers.to_vec();
        headers.sort_unstable();
        let mut text = String::with_capacity(256 + query.len());
        text.extend([request.method.as_str(), "\n", &self.path, "\n", query, "\n"]);
        for (name, value) in headers {
            text.extend([name, ":", value, "\n"]);
        }
        let named = additional(request.headers).join(";");
        text.extend(["\n", &named, "\n", UNSIGNED_PAYLOAD]);
        text
    }
}

/// Returns the sorted names of the headers that are not signed anyway.
fn additional<'a>(headers: &[(&'a str, &str)]) -> Vec<&'a str> {
    let names = headers.iter().map(|(name, _)| *name);
    let mut names: Vec<_> = names.filter(|name| !is_always_signed(name)).collect();
    names.sort_unstable();
    names
}

/// URLs that upload the parts of one upload.
pub(crate) struct PartUrls {
    mac: Hmac<Sha256>,
    /// The canonical request before the number.
    head: String,
    /// The URL before the number.
    url: String,
    /// The query after the number, without the signature.
    query: String,
    /// The canonical request after the query, before the length of the part.
    before_length: String,
    /// After the length of the part. `None` if the URLs are for any length.
    after_length: Option<String>,
    /// Reused for every part.
    canonical: String,
}

impl PartUrls {
    /// Returns what all URLs start with.
    pub(crate) fn start(&self) -> &str {
        &self.url
    }

    /// Appends the URL of a part without its [`start`](Self::start).
    pub(crate) fn push(&mut self, number: u16, length: u64, out: &mut String) {
        let at = out.len();
        push_number(out, number.into());
        let digits = out.get(at..).unwrap_or_default();
        let canonical = &mut self.canonical;
        canonical.clear();
        canonical.extend([&self.head, digits, &self.query, &self.before_length]);
        if let Some(after) = &self.after_length {
            push_number(canonical, length);
            canonical.push_str(after);
        }
        let signature = digest(self.mac.clone(), canonical);
        let mut hex = [0; 64];
        // The buffer has twice the length of the signature.
        let hex = base16ct::lower::encode_str(&signature, &mut hex).unwrap_or_default();
        out.extend([&*self.query, "&x-oss-signature=", hex]);
    }
}

/// Appends the digits of a number.
pub(crate) fn push_number(out: &mut String, mut number: u64) {
    let mut digits = [b'0'; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        // At most 9.
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    let digits = digits.get(at..).unwrap_or_default();
    out.push_str(str::from_utf8(digits).unwrap_or_default());
}

impl RequestSigner<'_> {
    /// Returns the encoded query of a URL with a signature, which is valid for `seconds`. Signs the
    /// same headers as [`sign_headers`](Self::sign_headers); the sender of the request must send
    /// them. The parameters are sorted by name, and the signature is the last one.
    pub(crate) fn sign_query(
        &self,
        request: RequestLine<'_>,
        additional: &[HeaderName],
        headers: &HeaderMap,
        seconds: u32,
    ) -> String {
        let named = additional_headers(headers, additional);
        let signed: Vec<_> = signed_names(headers, &named)
            .into_iter()
            .map(|name| (name, joined_values(headers, name)))
            .collect();
        let signed: Vec<_> = signed
            .iter()
            .map(|(name, value)| (*name, &**value))
            .collect();
        UrlSigner::new(self, request.bucket, request.key, "").query(&UrlRequest {
            method: request.method,
            query: request.query,
            headers: &signed,
            seconds,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use proptest::prelude::*;
    use zeroize::Zeroizing;

    use super::*;
    use crate::sign::{Secret, request::AccessKey, v4::DayKeys};

    #[test]
    fn numbers_have_their_digits() {
        for number in [0, 1, 9, 10, 99, 100, 10_000, u64::MAX] {
            let mut out = String::new();
            push_number(&mut out, number);
            assert_eq!(out, number.to_string());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        /// The prepared URLs of parts are those that are signed one by one.
        #[test]
        fn the_url_of_a_part_is_that_of_its_request(
            key in "[a-zA-Z0-9 +/%#?中é]{1,40}",
            upload_id in "[ -~]{1,64}",
            token in prop::option::of("[!-~]{1,40}"),
            seconds in 1..=604_800_u32,
            number in 1..=10_000_u16,
            length in any::<u64>(),
            sized: bool,
        ) {
            let (keys, secret) = (DayKeys::default(), Secret::new(Zeroizing::new("s".into())));
            let access_key = AccessKey { id: "id", secret: &secret, security_token: token.as_deref() };
            let region = "cn-hangzhou".parse().unwrap();
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
            let signer = RequestSigner::new(&keys, access_key, &region, at).unwrap();
            let bucket = "examplebucket".parse().unwrap();
            let signer = UrlSigner::new(&signer, &bucket, &key, "https://b.example/");
            let mut parts = signer.parts(&upload_id, sized, seconds);
            let mut found = parts.start().to_owned();
            parts.push(number, length, &mut found);
            let (number, length) = (number.to_string(), length.to_string());
            let pinned = [("content-length", &*length)];
            let expected = signer.url(&UrlRequest {
                method: &Method::PUT,
                query: &[("uploadId", &upload_id), ("partNumber", &number)],
                headers: if sized { &pinned } else { &[] },
                seconds,
            });
            prop_assert_eq!(found, expected);
        }
    }
}
