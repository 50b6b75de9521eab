//! Version 1: HMAC-SHA1 over the method, a few headers and the resource.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};
use sha1::Sha1;

use super::{
    SKEW,
    key::{find, moment},
    request::{SignedRequest, text},
};
use crate::{catalogue, error::OssError};

/// The parameters that belong to the resource: those that any SDK signs.
const RESOURCE: [&str; 81] = [
    "accessPoint",
    "accessPointPolicy",
    "acl",
    "append",
    "asyncFetch",
    "bucketArchiveDirectRead",
    "bucketInfo",
    "callback",
    "callback-var",
    "cloudboxes",
    "cname",
    "comp",
    "continuation-token",
    "cors",
    "delete",
    "encryption",
    "endTime",
    "group",
    "httpsConfig",
    "inventory",
    "inventoryId",
    "lifecycle",
    "link",
    "live",
    "location",
    "logging",
    "metaQuery",
    "objectInfo",
    "objectMeta",
    "partNumber",
    "policy",
    "position",
    "publicAccessBlock",
    "qos",
    "qosInfo",
    "qosRequester",
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
    "restore",
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
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "vod",
    "website",
    "worm",
    "wormExtend",
    "wormId",
    "x-oss-ac-forward-allow",
    "x-oss-ac-source-ip",
    "x-oss-ac-subnet-mask",
    "x-oss-ac-vpc-id",
    "x-oss-process",
    "x-oss-traffic-limit",
];

/// `Authorization: OSS id:signature`.
pub(super) fn in_header(request: &SignedRequest<'_>, credentials: &str) -> Result<(), OssError> {
    let (id, signature) = credentials
        .trim()
        .split_once(':')
        .ok_or(catalogue::AUTHORIZATION)?;
    let date = ["x-oss-date", "date"]
        .into_iter()
        .find_map(|name| text(request.headers(), name).filter(|date| !date.is_empty()))
        .ok_or(catalogue::NO_DATE)?;
    let signed_at = when(date).ok_or(catalogue::NO_DATE)?;
    let now = Timestamp::try_from(request.now).map_err(|_| catalogue::INTERNAL)?;
    if now.duration_since(signed_at).abs() > SKEW {
        return Err(catalogue::SIGNATURE_SKEWED);
    }
    // The signer of version 1 in Alibaba's second SDK for Python sends it without `x-oss-` in front.
    let bare = || text(request.headers(), "security-token");
    let token = request.token_header().or_else(bare);
    check(request, id, signature, token, date)
}

/// `OSSAccessKeyId`, `Expires` and `Signature` in the URL.
pub(super) fn in_query(request: &SignedRequest<'_>) -> Result<(), OssError> {
    let get = |name| request.query.get(name).ok_or(catalogue::QUERY_SIGNATURE);
    let (id, expires, signature) = (get("OSSAccessKeyId")?, get("Expires")?, get("Signature")?);
    let ends = expires.parse::<i64>().ok();
    let ends = ends.and_then(|seconds| Timestamp::from_second(seconds).ok());
    let ends = ends.ok_or(catalogue::QUERY_SIGNATURE)?;
    let now = Timestamp::try_from(request.now).map_err(|_| catalogue::INTERNAL)?;
    if now > ends {
        return Err(catalogue::SIGNATURE_EXPIRED);
    }
    let token = request.query.get("security-token");
    check(request, id, signature, token, expires)
}

fn check(
    request: &SignedRequest<'_>,
    id: &str,
    signature: &str,
    token: Option<&str>,
    date: &str,
) -> Result<(), OssError> {
    let key = find(request.keys, id, token, request.now)?;
    let text = string_to_sign(request, date)?;
    let mut mac = Hmac::<Sha1>::new_from_slice(key.secret()).map_err(|_| catalogue::INTERNAL)?;
    mac.update(text.as_bytes());
    let given = STANDARD.decode(signature).unwrap_or_default();
    mac.verify_slice(&given).map_err(|_| {
        catalogue::REQUEST_SIGNATURE_MISMATCH
            .detail("SignatureProvided", signature)
            .detail("StringToSign", text)
    })
}

/// The date of RFC 9110 that the first SDKs send, or the one of version 4.
fn when(date: &str) -> Option<Timestamp> {
    match moment(date) {
        Some((at, _)) => Some(at),
        None => DateTimeParser::new().parse_timestamp(date).ok(),
    }
}

fn string_to_sign(request: &SignedRequest<'_>, date: &str) -> Result<String, OssError> {
    let headers = request.headers();
    let mut lines = vec![
        request.method().as_str().to_owned(),
        text(headers, "content-md5").unwrap_or_default().to_owned(),
        text(headers, "content-type").unwrap_or_default().to_owned(),
        date.to_owned(),
    ];
    let mut own: Vec<_> = headers
        .keys()
        .map(http::HeaderName::as_str)
        .filter(|name| name.starts_with("x-oss-"))
        .collect();
    own.sort_unstable();
    lines.extend(own.into_iter().map(|name| {
        let value = text(headers, name).unwrap_or_default();
        format!("{name}:{}", value.trim())
    }));
    lines.push(resource(request)?);
    Ok(lines.join("\n"))
}

/// `/bucket/key?name&name=value`, nothing of it encoded.
fn resource(request: &SignedRequest<'_>) -> Result<String, OssError> {
    let (bucket, key) = (request.bucket()?, request.address.key()?);
    let mut parameters: Vec<_> = request
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
    Ok(format!("/{bucket}/{key}{separator}{query}"))
}
