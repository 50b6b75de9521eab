//! Version 1: HMAC-SHA1 over the method, some headers and the resource.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};
use sha1::Sha1;

use super::key::{check_skew, expired, find, parse_time};
use crate::{
    context::ServiceContext,
    errors::{self, OssError},
};

/// The parameters that are part of the signed resource: the union of what the SDKs sign.
///
/// They select an operation or change it, so an operation that does not know one refuses it.
pub(crate) const RESOURCE: [&str; 122] = [
    "accessPoint",
    "accessPointPolicy",
    "acl",
    "append",
    "asyncFetch",
    "bucketArchiveDirectRead",
    "bucketInfo",
    "callback",
    "callback-var",
    "cleanRestoredObject",
    "cloudboxes",
    "cname",
    "comp",
    "continuation-token",
    "cors",
    "dataPipeline",
    "delete",
    "encryption",
    "endTime",
    "group",
    "httpsConfig",
    "img",
    "inventory",
    "inventoryId",
    "legalHold",
    "lifecycle",
    "link",
    "live",
    "location",
    "logging",
    "metaQuery",
    "metadataConfiguration",
    "metadataInventoryTable",
    "metadataJournalTable",
    "objectInfo",
    "objectMeta",
    "objectWorm",
    "overwriteConfig",
    "partNumber",
    "policy",
    "policyStatus",
    "position",
    "processConfiguration",
    "publicAccessBlock",
    "qos",
    "qosInfo",
    "qosRequester",
    "quota",
    "redundancyTransition",
    "referer",
    "regionList",
    "replication",
    "replicationLocation",
    "replicationProgress",
    "requestPayment",
    "requesterQosInfo",
    "resourceGroup",
    "resourcePool",
    "resourcePoolBuckets",
    "resourcePoolInfo",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "responseHeader",
    "restore",
    "retention",
    "rtc",
    "seal",
    "security-token",
    "sequential",
    "startTime",
    "stat",
    "status",
    "style",
    "styleName",
    "symlink",
    "tagging",
    "transferAcceleration",
    "udf",
    "udfApplication",
    "udfApplicationLog",
    "udfId",
    "udfImage",
    "udfImageDesc",
    "udfName",
    "uploadId",
    "uploads",
    "userDefinedLogFieldsConfig",
    "versionId",
    "versioning",
    "versions",
    "vip",
    "vod",
    "vpcip",
    "website",
    "withHashContext",
    "worm",
    "wormExtend",
    "wormId",
    "x-oss-ac-forward-allow",
    "x-oss-ac-source-ip",
    "x-oss-ac-subnet-mask",
    "x-oss-ac-vpc-id",
    "x-oss-access-point-name",
    "x-oss-async-process",
    "x-oss-delete",
    "x-oss-dir",
    "x-oss-enable-md5",
    "x-oss-enable-sha1",
    "x-oss-enable-sha256",
    "x-oss-hash-ctx",
    "x-oss-md5-ctx",
    "x-oss-process",
    "x-oss-redundancy-transition-taskid",
    "x-oss-rename",
    "x-oss-request-payer",
    "x-oss-target-redundancy-type",
    "x-oss-traffic-limit",
    "x-oss-write-get-object-response",
];

/// Verifies `Authorization: OSS id:signature`.
pub(super) fn in_header(context: &ServiceContext<'_>, credentials: &str) -> Result<(), OssError> {
    check_allowed(context)?;
    let (id, signature) = credentials
        .trim()
        .split_once(':')
        .ok_or(errors::AUTHORIZATION)?;
    let date = ["x-oss-date", "date"]
        .into_iter()
        .find_map(|name| context.header(name).filter(|date| !date.is_empty()))
        .ok_or(errors::NO_DATE)?;
    let signed_at = parse_date(date).ok_or(errors::NO_DATE)?;
    check_skew(context, signed_at)?;
    // The version 1 signer of `alibabacloud-oss-v2` for Python leaves out the prefix `x-oss-`.
    let unprefixed = || context.header("security-token");
    let token = context.header("x-oss-security-token").or_else(unprefixed);
    check(context, id, signature, token, date)
}

/// Verifies `OSSAccessKeyId`, `Expires` and `Signature` in the URL.
pub(super) fn in_query(context: &ServiceContext<'_>) -> Result<(), OssError> {
    check_allowed(context)?;
    let get = |name| context.query.get(name).ok_or(errors::QUERY_SIGNATURE);
    let (id, expires, signature) = (get("OSSAccessKeyId")?, get("Expires")?, get("Signature")?);
    let ends = expires.parse::<i64>().ok();
    let ends = ends.and_then(|seconds| Timestamp::from_second(seconds).ok());
    let ends = ends.ok_or(errors::URL_LIFE)?;
    let now = Timestamp::try_from(context.now).map_err(|_| errors::INTERNAL)?;
    if now > ends {
        return Err(expired(errors::URL_EXPIRED, ends, now));
    }
    let token = context.query.get("security-token");
    // The string to sign contains the expiration in place of a date.
    check(context, id, signature, token, expires)
}

/// Fails if the emulator rejects version 1.
pub(super) fn check_allowed(context: &ServiceContext<'_>) -> Result<(), OssError> {
    if context.shared.reject_v1 {
        return Err(errors::SIGNATURE_V1);
    }
    Ok(())
}

fn check(
    context: &ServiceContext<'_>,
    id: &str,
    signature: &str,
    token: Option<&str>,
    date: &str,
) -> Result<(), OssError> {
    let key = find(&context.shared.keys, id, token, context.now)?;
    let text = string_to_sign(context, date)?;
    let mut mac = Hmac::<Sha1>::new_from_slice(key.secret()).map_err(|_| errors::INTERNAL)?;
    mac.update(text.as_bytes());
    let given = STANDARD.decode(signature).unwrap_or_default();
    mac.verify_slice(&given).map_err(|_| {
        errors::REQUEST_SIGNATURE_MISMATCH
            .detail("SignatureProvided", signature)
            .detail("StringToSign", text)
    })
}

/// Parses a date of RFC 9110, as older SDKs send it, or one in the format of version 4.
pub(super) fn parse_date(date: &str) -> Option<Timestamp> {
    match parse_time(date) {
        Some((at, _)) => Some(at),
        None => DateTimeParser::new().parse_timestamp(date).ok(),
    }
}

fn string_to_sign(context: &ServiceContext<'_>, date: &str) -> Result<String, OssError> {
    let value = |name| context.header(name).unwrap_or_default();
    let mut lines = vec![
        context.parts.method.as_str().to_owned(),
        value("content-md5").to_owned(),
        value("content-type").to_owned(),
        date.to_owned(),
    ];
    let mut oss_headers: Vec<_> = context
        .headers()
        .keys()
        .map(http::HeaderName::as_str)
        .filter(|name| name.starts_with("x-oss-"))
        .collect();
    oss_headers.sort_unstable();
    lines.extend(
        oss_headers
            .into_iter()
            .map(|name| format!("{name}:{}", value(name).trim())),
    );
    lines.push(resource(context)?);
    Ok(lines.join("\n"))
}

/// Returns `/bucket/key?name&name=value`, or `/?name=value` without a bucket. Nothing is
/// percent-encoded.
fn resource(context: &ServiceContext<'_>) -> Result<String, OssError> {
    let path = match &context.address.bucket {
        Some(_) => format!("/{}/{}", context.address.bucket()?, context.address.key()?),
        None => "/".to_owned(),
    };
    let mut parameters: Vec<_> = context
        .query
        .iter()
        .filter(|(name, _)| RESOURCE.contains(name))
        .collect();
    parameters.sort_unstable();
    let parameters: Vec<_> = parameters
        .into_iter()
        .map(|(name, value)| match value {
            "" => name.to_owned(),
            value => format!("{name}={value}"),
        })
        .collect();
    let query = parameters.join("&");
    let separator = if query.is_empty() { "" } else { "?" };
    Ok(format!("{path}{separator}{query}"))
}
