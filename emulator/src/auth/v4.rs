//! Version 4: HMAC-SHA256 over the digest of the request without its body.

use hmac::Mac as _;
use jiff::{SignedDuration, Timestamp, fmt::rfc2822::DateTimeParser, tz::TimeZone};
use percent_encoding::utf8_percent_encode;
use sha2::{Digest as _, Sha256};

use super::{
    canonical,
    key::{
        ALGORITHM, MAX_LIFE, PRODUCT, SKEW, Scope, check_skew, derive, expired, find, hmac_sha256,
        parse_time,
    },
};
use crate::{
    context::ServiceContext,
    encoding::PATH,
    errors::{self, OssError},
};

const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// The parameters of a signature, from the header or the URL.
struct Given<'a> {
    credential: &'a str,
    additional: &'a str,
    signature: &'a str,
    /// The signing time as it was sent, which is signed.
    date: &'a str,
    signed_at: Timestamp,
    token: Option<&'a str>,
}

/// Verifies `Authorization: OSS4-HMAC-SHA256 Credential=…, AdditionalHeaders=…, Signature=…`, with
/// the parameters in any order.
pub(super) fn in_header(context: &ServiceContext<'_>, parameters: &str) -> Result<(), OssError> {
    let get = |wanted: &str| {
        parameters
            .split(',')
            .filter_map(|parameter| parameter.trim().split_once('='))
            .find(|(name, _)| *name == wanted)
            .map(|(_, value)| value)
    };
    // aliyun-oss-go-sdk of version 1 sends and signs `Date`, without `x-oss-date` (`auth.go`,
    // `getSignedStrV4`).
    let (date, signed_at) = match context.header("x-oss-date") {
        Some(date) => (date, parse_time(date).map(|(at, _)| at)),
        None => {
            let date = context.header("date").ok_or(errors::NO_DATE)?;
            (date, DateTimeParser::new().parse_timestamp(date).ok())
        }
    };
    let signed_at = signed_at.ok_or(errors::NO_DATE)?;
    let given = Given {
        credential: get("Credential").ok_or(errors::AUTHORIZATION)?,
        additional: get("AdditionalHeaders").unwrap_or_default(),
        signature: get("Signature").ok_or(errors::AUTHORIZATION)?,
        date,
        signed_at,
        token: context.header("x-oss-security-token"),
    };
    let payload = context.header("x-oss-content-sha256");
    // OSS accepts no other value: version 4 does not sign the body.
    if payload != Some(UNSIGNED_PAYLOAD) {
        return Err(errors::PAYLOAD_HASH);
    }
    check_skew(context, signed_at)?;
    check(context, &given, errors::REGION, errors::PRODUCT)
}

/// Verifies the same parameters in the URL, where `x-oss-expires` limits the validity.
pub(super) fn in_query(context: &ServiceContext<'_>) -> Result<(), OssError> {
    let get = |name| context.query.get(name);
    let needed = |name| get(name).ok_or(errors::QUERY_SIGNATURE_V4);
    let date = needed("x-oss-date")?;
    let (signed_at, _) = parse_time(date).ok_or(errors::NO_DATE)?;
    let given = Given {
        credential: needed("x-oss-credential")?,
        additional: get("x-oss-additional-headers").unwrap_or_default(),
        signature: needed("x-oss-signature")?,
        date,
        signed_at,
        token: get("x-oss-security-token"),
    };
    let life = get("x-oss-expires").ok_or(errors::URL_V4_NO_LIFE)?;
    let life = life.parse::<u32>().map_err(|_| errors::URL_V4_LIFE)?;
    let life = SignedDuration::from_secs(life.into());
    if life.is_zero() || life > MAX_LIFE {
        return Err(errors::URL_V4_LIFE);
    }
    let age = age(context, signed_at)?;
    if age < -SKEW {
        return Err(errors::URL_V4_EARLY);
    }
    if age > life {
        let now = signed_at.saturating_add(age);
        let ends = signed_at.saturating_add(life);
        let (ends, now) = (
            ends.map_err(|_| errors::INTERNAL)?,
            now.map_err(|_| errors::INTERNAL)?,
        );
        return Err(expired(errors::URL_V4_EXPIRED, ends, now));
    }
    let region = errors::REGION.with_message("The signing region in credential is invalid.");
    let product = errors::PRODUCT.with_message("Invalid signing product in x-oss-credential.");
    check(context, &given, region, product)
}

/// Returns the time since signing; negative if it lies in the future.
fn age(context: &ServiceContext<'_>, signed_at: Timestamp) -> Result<SignedDuration, OssError> {
    let now = Timestamp::try_from(context.now).map_err(|_| errors::INTERNAL)?;
    Ok(now.duration_since(signed_at))
}

/// Checks scope and signature. The errors are those of a wrong region and of a wrong product.
fn check(
    context: &ServiceContext<'_>,
    given: &Given<'_>,
    wrong_region: OssError,
    wrong_product: OssError,
) -> Result<(), OssError> {
    let scope = Scope::parse(given.credential)?;
    // The region of another product has other names: a CloudBox has an id.
    if scope.product != PRODUCT {
        return Err(wrong_product);
    }
    if scope.region != context.shared.region.as_str() {
        return Err(wrong_region);
    }
    let signed_on = TimeZone::UTC.to_datetime(given.signed_at);
    if signed_on.strftime("%Y%m%d").to_string() != scope.day {
        return Err(errors::CREDENTIAL_DATE);
    }
    let key = find(&context.shared.keys, scope.id, given.token, context.now)?;
    let canonical = canonical_request(context, given.additional)?;
    let digest = base16ct::lower::encode_string(&Sha256::digest(&canonical));
    let (day, region, date) = (scope.day, scope.region, given.date);
    let text = format!("{ALGORITHM}\n{date}\n{day}/{region}/oss/aliyun_v4_request\n{digest}");
    let mut mac = hmac_sha256(&derive(key, day, region)?)?;
    mac.update(text.as_bytes());
    let signature = base16ct::lower::decode_vec(given.signature).unwrap_or_default();
    mac.verify_slice(&signature).map_err(|_| {
        errors::REQUEST_SIGNATURE_V4_MISMATCH
            .detail("SignatureProvided", given.signature)
            .detail("StringToSign", text)
            .detail("CanonicalRequest", canonical)
    })
}

fn canonical_request(context: &ServiceContext<'_>, additional: &str) -> Result<String, OssError> {
    let path = match &context.address.bucket {
        Some(_) => {
            let key = utf8_percent_encode(context.address.key()?, PATH);
            format!("/{}/{key}", context.address.bucket()?)
        }
        None => "/".to_owned(),
    };
    // A client names the headers that it signs in addition. One that was removed on the way is an
    // error.
    let lines = canonical::headers(context, &["content-md5", "content-type"], additional)?;
    let query = canonical::query(context);
    let method = &context.parts.method;
    let payload = context
        .header("x-oss-content-sha256")
        .unwrap_or(UNSIGNED_PAYLOAD);
    Ok(format!(
        "{method}\n{path}\n{query}\n{lines}\n{additional}\n{payload}"
    ))
}
