//! Version 2: HMAC-SHA256 over the method, some headers and the resource with all parameters.
//!
//! Version 2 has no public reference. The source is what the SDKs for Go (version 1), Java (version
//! 1) and Python (`oss2`) sign.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::Mac as _;
use jiff::Timestamp;

use super::{
    canonical::{self, encode},
    key::{check_skew, expired, find, hmac_sha256},
    v1::parse_date,
};
use crate::{
    context::ServiceContext,
    errors::{self, OssError},
};

/// The name of version 2 in headers and parameters.
pub(super) const VERSION: &str = "OSS2";

/// The parameters of a signature, from the header or the URL.
struct Given<'a> {
    id: &'a str,
    additional: &'a str,
    signature: &'a str,
    token: Option<&'a str>,
    /// `Date`, or the end of the validity in a URL.
    date: &'a str,
}

/// Verifies `Authorization: OSS2 AccessKeyId:…,AdditionalHeaders:…,Signature:…`.
pub(super) fn in_header(context: &ServiceContext<'_>, parameters: &str) -> Result<(), OssError> {
    let get = |wanted: &str| {
        parameters
            .split(',')
            .filter_map(|parameter| parameter.trim().split_once(':'))
            .find(|(name, _)| *name == wanted)
            .map(|(_, value)| value)
    };
    // `x-oss-date` overrides `Date` as the signing time, but not in the string to sign.
    let signed_at = ["x-oss-date", "date"]
        .into_iter()
        .find_map(|name| context.header(name).filter(|date| !date.is_empty()));
    let signed_at = signed_at.and_then(parse_date).ok_or(errors::NO_DATE)?;
    check_skew(context, signed_at)?;
    let given = Given {
        id: get("AccessKeyId").ok_or(errors::AUTHORIZATION)?,
        additional: get("AdditionalHeaders").unwrap_or_default(),
        signature: get("Signature").ok_or(errors::AUTHORIZATION)?,
        token: context.header("x-oss-security-token"),
        date: context.header("date").unwrap_or_default(),
    };
    check(context, &given)
}

/// Verifies the same parameters in the URL. `x-oss-expires` is a time, and not a duration as in
/// version 4.
pub(super) fn in_query(context: &ServiceContext<'_>) -> Result<(), OssError> {
    let get = |name| context.query.get(name);
    let needed = |name| get(name).ok_or(errors::QUERY_SIGNATURE_V2);
    let given = Given {
        id: needed("x-oss-access-key-id")?,
        additional: get("x-oss-additional-headers").unwrap_or_default(),
        signature: needed("x-oss-signature")?,
        token: get("security-token"),
        date: needed("x-oss-expires")?,
    };
    let ends = given.date.parse::<i64>().ok();
    let ends = ends.and_then(|seconds| Timestamp::from_second(seconds).ok());
    let ends = ends.ok_or(errors::URL_LIFE)?;
    let now = Timestamp::try_from(context.now).map_err(|_| errors::INTERNAL)?;
    if now > ends {
        return Err(expired(errors::URL_EXPIRED, ends, now));
    }
    check(context, &given)
}

fn check(context: &ServiceContext<'_>, given: &Given<'_>) -> Result<(), OssError> {
    let key = find(&context.shared.keys, given.id, given.token, context.now)?;
    let text = string_to_sign(context, given)?;
    let mut mac = hmac_sha256(key.secret())?;
    mac.update(text.as_bytes());
    let signature = STANDARD.decode(given.signature).unwrap_or_default();
    mac.verify_slice(&signature).map_err(|_| {
        errors::REQUEST_SIGNATURE_MISMATCH
            .detail("SignatureProvided", given.signature)
            .detail("StringToSign", text)
    })
}

fn string_to_sign(context: &ServiceContext<'_>, given: &Given<'_>) -> Result<String, OssError> {
    let value = |name| context.header(name).unwrap_or_default();
    let headers = canonical::headers(context, &[], given.additional)?;
    // `oss2` signs the sorted names, and sends them in any order.
    let mut additional: Vec<_> = given.additional.split(';').collect();
    additional.sort_unstable();
    let (additional, date) = (additional.join(";"), given.date);
    let path = match &context.address.bucket {
        Some(_) => format!("/{}/{}", context.address.bucket()?, context.address.key()?),
        None => "/".to_owned(),
    };
    // The slashes are encoded too.
    let path = encode(&path);
    let query = canonical::query(context);
    let separator = if query.is_empty() { "" } else { "?" };
    let (method, md5) = (&context.parts.method, value("content-md5"));
    let content_type = value("content-type");
    Ok(format!(
        "{method}\n{md5}\n{content_type}\n{date}\n{headers}{additional}\n{path}{separator}{query}"
    ))
}
