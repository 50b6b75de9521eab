//! Version 4: HMAC-SHA256 over the digest of the whole request but its body.

use hmac::Mac as _;
use jiff::{SignedDuration, Timestamp};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest as _, Sha256};

use super::{
    MAX_LIFE, SKEW,
    key::{ALGORITHM, Scope, derived, find, hmac_sha256, moment},
    request::{SignedRequest, text},
};
use crate::{catalogue, error::OssError};

/// Everything but letters, digits and `-._~`.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// Of a path, slashes stay.
const PATH: &AsciiSet = &ENCODED.remove(b'/');

const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// A signature, wherever it was found.
struct Given<'a> {
    credential: &'a str,
    additional: &'a str,
    signature: &'a str,
    date: &'a str,
    token: Option<&'a str>,
}

/// `Authorization: OSS4-HMAC-SHA256 Credential=…, AdditionalHeaders=…, Signature=…`, in any order.
pub(super) fn in_header(request: &SignedRequest<'_>, parameters: &str) -> Result<(), OssError> {
    let get = |wanted: &str| {
        parameters
            .split(',')
            .filter_map(|parameter| parameter.trim().split_once('='))
            .find(|(name, _)| *name == wanted)
            .map(|(_, value)| value)
    };
    let date = text(request.headers(), "x-oss-date").ok_or(catalogue::NO_DATE)?;
    let given = Given {
        credential: get("Credential").ok_or(catalogue::AUTHORIZATION)?,
        additional: get("AdditionalHeaders").unwrap_or_default(),
        signature: get("Signature").ok_or(catalogue::AUTHORIZATION)?,
        date,
        token: request.token_header(),
    };
    let payload = text(request.headers(), "x-oss-content-sha256");
    if payload != Some(UNSIGNED_PAYLOAD) {
        return Err(catalogue::PAYLOAD_HASH);
    }
    let age = age(request, date)?;
    if age.abs() > SKEW {
        return Err(catalogue::SIGNATURE_SKEWED);
    }
    check(request, &given)
}

/// The same as parameters of the URL, and how long it is good for.
pub(super) fn in_query(request: &SignedRequest<'_>) -> Result<(), OssError> {
    let get = |name| request.query.get(name);
    let needed = |name| get(name).ok_or(catalogue::QUERY_SIGNATURE);
    let given = Given {
        credential: needed("x-oss-credential")?,
        additional: get("x-oss-additional-headers").unwrap_or_default(),
        signature: needed("x-oss-signature")?,
        date: needed("x-oss-date")?,
        token: get("x-oss-security-token"),
    };
    let life = needed("x-oss-expires")?.parse::<u32>();
    let life = life.map_err(|_| catalogue::QUERY_SIGNATURE)?;
    let life = SignedDuration::from_secs(life.into());
    if life.is_zero() || life > MAX_LIFE {
        return Err(catalogue::QUERY_SIGNATURE);
    }
    let age = age(request, given.date)?;
    if age < -SKEW {
        return Err(catalogue::SIGNATURE_SKEWED);
    }
    if age > life {
        return Err(catalogue::SIGNATURE_EXPIRED);
    }
    check(request, &given)
}

fn age(request: &SignedRequest<'_>, date: &str) -> Result<SignedDuration, OssError> {
    let (signed_at, _) = moment(date).ok_or(catalogue::NO_DATE)?;
    let now = Timestamp::try_from(request.now).map_err(|_| catalogue::INTERNAL)?;
    Ok(now.duration_since(signed_at))
}

fn check(request: &SignedRequest<'_>, given: &Given<'_>) -> Result<(), OssError> {
    let scope = Scope::parse(given.credential)?;
    if scope.region != request.region.as_str() {
        return Err(catalogue::CREDENTIAL.saying("Invalid signing region in the credential."));
    }
    if !given.date.starts_with(scope.day) {
        return Err(catalogue::CREDENTIAL_DATE);
    }
    let key = find(request.keys, scope.id, given.token, request.now)?;
    let canonical = canonical_request(request, given.additional)?;
    let digest = base16ct::lower::encode_string(&Sha256::digest(&canonical));
    let (day, region, date) = (scope.day, scope.region, given.date);
    let text = format!("{ALGORITHM}\n{date}\n{day}/{region}/oss/aliyun_v4_request\n{digest}");
    let mut mac = hmac_sha256(&derived(key, day, region)?)?;
    mac.update(text.as_bytes());
    let signature = base16ct::lower::decode_vec(given.signature).unwrap_or_default();
    mac.verify_slice(&signature).map_err(|_| {
        catalogue::REQUEST_SIGNATURE_V4_MISMATCH
            .detail("SignatureProvided", given.signature)
            .detail("StringToSign", text)
            .detail("CanonicalRequest", canonical)
    })
}

fn canonical_request(request: &SignedRequest<'_>, additional: &str) -> Result<String, OssError> {
    let (bucket, key) = (request.bucket()?, request.address.key()?);
    let mut parameters: Vec<_> = request
        .query
        .iter()
        .filter(|(name, _)| *name != "x-oss-signature")
        .map(|(name, value)| (encode(name), encode(value)))
        .collect();
    parameters.sort_unstable();
    let parameters: Vec<_> = parameters
        .into_iter()
        .map(|(name, value)| match &*value {
            "" => name,
            value => format!("{name}={value}"),
        })
        .collect();

    let named: Vec<_> = additional.split(';').filter(|n| !n.is_empty()).collect();
    let headers = request.headers();
    if named.iter().any(|name| !headers.contains_key(*name)) {
        return Err(catalogue::AUTHORIZATION);
    }
    let mut names: Vec<_> = headers
        .keys()
        .map(http::HeaderName::as_str)
        .filter(|name| {
            let always = matches!(*name, "content-type" | "content-md5");
            always || name.starts_with("x-oss-") || named.contains(name)
        })
        .collect();
    names.sort_unstable();
    let mut lines = String::new();
    for name in names {
        let value = text(headers, name).unwrap_or_default();
        lines.extend([name, ":", value.trim(), "\n"]);
    }
    let method = request.method();
    let path = utf8_percent_encode(key, PATH);
    let query = parameters.join("&");
    let payload = text(headers, "x-oss-content-sha256").unwrap_or(UNSIGNED_PAYLOAD);
    Ok(format!(
        "{method}\n/{bucket}/{path}\n{query}\n{lines}\n{additional}\n{payload}"
    ))
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}
