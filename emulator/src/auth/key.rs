//! Access keys and security tokens, and the credential scopes, times and derived keys of version 4.

use std::time::SystemTime;

use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::{
    access_key::AccessKey,
    context::ServiceContext,
    errors::{self, OssError},
    response::iso8601_of,
};

/// The name of version 4 in headers, parameters, fields and strings to sign.
pub(super) const ALGORITHM: &str = "OSS4-HMAC-SHA256";

/// The product in a credential scope of version 4.
pub(super) const PRODUCT: &str = "oss";

/// How far a signing time may lie in the future; for headers also in the past.
pub(super) const SKEW: SignedDuration = SignedDuration::from_mins(15);
/// The longest validity of a signature of version 4.
pub(super) const MAX_LIFE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// A credential of version 4: `ID/YYYYMMDD/REGION/oss/aliyun_v4_request`.
pub(super) struct Scope<'a> {
    pub(super) id: &'a str,
    pub(super) day: &'a str,
    pub(super) region: &'a str,
    pub(super) product: &'a str,
}

impl<'a> Scope<'a> {
    pub(super) fn parse(credential: &'a str) -> Result<Self, OssError> {
        let parts: Vec<_> = credential.split('/').collect();
        let [id, day, region, product, "aliyun_v4_request"] = parts[..] else {
            return Err(errors::CREDENTIAL);
        };
        if id.is_empty() || !id.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(errors::CREDENTIAL_ID);
        }
        let is_a_day = day.len() == 8 && parse_time(&format!("{day}T000000Z")).is_some();
        if !is_a_day {
            return Err(errors::CREDENTIAL_DATE);
        }
        Ok(Self {
            id,
            day,
            region,
            product,
        })
    }
}

/// Parses `YYYYMMDDTHHMMSSZ`. Returns the day as text as well.
pub(super) fn parse_time(text: &str) -> Option<(Timestamp, &str)> {
    // The parser of jiff accepts other ISO 8601 forms, which OSS does not.
    let shape = |(at, b): (usize, u8)| match at {
        8 => b == b'T',
        15 => b == b'Z',
        _ => b.is_ascii_digit(),
    };
    if text.len() != 16 || !text.bytes().enumerate().all(shape) {
        return None;
    }
    let civil: DateTime = text[..15].parse().ok()?;
    let instant = TimeZone::UTC.to_timestamp(civil).ok()?;
    Some((instant, &text[..8]))
}

/// Adds both times to the error for an expired URL, as in a captured response of OSS
/// (johnlui/AliyunOSS#20).
pub(super) fn expired(error: OssError, ends: Timestamp, now: Timestamp) -> OssError {
    error
        .detail("Expires", iso8601_of(ends))
        .detail("ServerTime", iso8601_of(now))
}

/// Checks that a signature in a header was made less than 15 minutes ago, and not in the future.
///
/// # Errors
///
/// Fails with both times, from which SDKs correct their clocks.
pub(super) fn check_skew(
    context: &ServiceContext<'_>,
    signed_at: Timestamp,
) -> Result<(), OssError> {
    let now = Timestamp::try_from(context.now).map_err(|_| errors::INTERNAL)?;
    if now.duration_since(signed_at).abs() <= SKEW {
        return Ok(());
    }
    Err(errors::SIGNATURE_SKEWED
        .detail("MaxAllowedSkewMilliseconds", SKEW.as_millis().to_string())
        .detail("RequestTime", iso8601_of(signed_at))
        .detail("ServerTime", iso8601_of(now)))
}

/// Derives the signing key of version 4 for a day and a region.
pub(super) fn derive(
    key: &AccessKey,
    day: &str,
    region: &str,
) -> Result<Zeroizing<Vec<u8>>, OssError> {
    let mut derived = Zeroizing::new([b"aliyun_v4", key.secret()].concat());
    for part in [day, region, "oss", "aliyun_v4_request"] {
        let mut mac = hmac_sha256(&derived)?;
        mac.update(part.as_bytes());
        *derived = mac.finalize().into_bytes().to_vec();
    }
    Ok(derived)
}

/// Finds a key by its id, and checks that the security token belongs to it and has not expired.
pub(super) fn find<'a>(
    keys: &'a [AccessKey],
    id: &str,
    token: Option<&str>,
    now: SystemTime,
) -> Result<&'a AccessKey, OssError> {
    // An empty token counts as none.
    let given = token.filter(|token| !token.is_empty());
    let known = |given: &str| {
        let mut tokens = keys.iter().filter_map(AccessKey::token);
        tokens.any(|(token, _)| token == given)
    };
    let key = keys.iter().find(|key| key.id() == id);
    // OSS finds a temporary id by its token. The suite for PHP shows that a token which is not
    // known hides a long-term id.
    let is_temporary = id.starts_with("STS.") || key.is_some_and(|key| key.token().is_some());
    if given.is_some_and(|given| !known(given)) {
        return Err(match is_temporary {
            true => errors::INVALID_TOKEN,
            false => errors::UNKNOWN_ACCESS_KEY,
        });
    }
    let key = key.ok_or(errors::UNKNOWN_ACCESS_KEY)?;
    match (key.token(), given) {
        (None, None) => Ok(key),
        // OSS does not find the id of a temporary key without its token.
        (Some(_), None) => Err(errors::UNKNOWN_ACCESS_KEY),
        (Some((token, expires)), Some(given)) if token == given => {
            if now < expires {
                Ok(key)
            } else {
                Err(errors::TOKEN_EXPIRED)
            }
        }
        (_, Some(_)) => Err(errors::TOKEN_OF_ANOTHER),
    }
}

pub(super) fn hmac_sha256(key: &[u8]) -> Result<Hmac<Sha256>, OssError> {
    Hmac::new_from_slice(key).map_err(|_| errors::INTERNAL)
}
