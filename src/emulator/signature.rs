//! Who signed the form, in versions 1 and 4.
//!
//! Written from the reference alone, and without the code that makes policies: what that gets wrong, this must notice.

use std::time::SystemTime;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};
use sha1::Sha1;
use sha2::Sha256;

use super::{access_key::AccessKey, catalogue, error::OssError, form::Form};
use crate::protocol::Region;

const V4: &str = "OSS4-HMAC-SHA256";
/// How far the date of a signature may lie in the future.
const SKEW: SignedDuration = SignedDuration::from_mins(15);
/// How long it is good for.
const LIFE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// A form whose policy was signed with a known key.
pub(super) struct Signed<'a> {
    /// The policy as it was signed: Base64.
    pub(super) policy: &'a str,
    /// The fields that the policy itself must name.
    pub(super) must_name: Vec<&'static str>,
    date: Option<Timestamp>,
}

/// The form's signer, or nobody if it does not carry any part of a signature.
pub(super) fn verify<'a>(
    form: &'a Form,
    keys: &'a [AccessKey],
    region: &Region,
    now: SystemTime,
) -> Result<Option<Signed<'a>>, OssError> {
    match form.get("x-oss-signature-version") {
        None => v1(form, keys, now),
        Some(V4) => v4(form, keys, region, now).map(Some),
        // How OSS signs forms with its second version is not public.
        Some("OSS2") => Err(catalogue::NOT_IMPLEMENTED),
        Some(_) => Err(catalogue::SIGNATURE_VERSION),
    }
}

fn v1<'a>(
    form: &'a Form,
    keys: &'a [AccessKey],
    now: SystemTime,
) -> Result<Option<Signed<'a>>, OssError> {
    let id = form.get("OSSAccessKeyId");
    let policy = form.get("policy");
    let signature = form.get("Signature");
    if id.is_none() && policy.is_none() && signature.is_none() {
        return Ok(None);
    }
    let policy = policy.ok_or(catalogue::NO_POLICY)?;
    let id = id.filter(|id| !id.is_empty());
    let id = id.ok_or(catalogue::NO_ACCESS_KEY_ID)?;
    let signature = present(signature)?;
    let key = find(keys, id, form, now)?;

    let mut mac = Hmac::<Sha1>::new_from_slice(key.secret()).map_err(|_| catalogue::INTERNAL)?;
    mac.update(policy.as_bytes());
    let given = STANDARD.decode(signature).unwrap_or_default();
    mac.verify_slice(&given)
        .map_err(|_| catalogue::SIGNATURE_MISMATCH)?;
    Ok(Some(Signed {
        policy,
        must_name: Vec::new(),
        date: None,
    }))
}

fn v4<'a>(
    form: &'a Form,
    keys: &'a [AccessKey],
    region: &Region,
    now: SystemTime,
) -> Result<Signed<'a>, OssError> {
    let policy = form.get("policy").ok_or(catalogue::NO_POLICY)?;
    let signature = present(form.get("x-oss-signature"))?;
    let credential = form.get("x-oss-credential").ok_or(catalogue::CREDENTIAL)?;
    let scope = Scope::parse(credential)?;
    if scope.region != region.as_str() {
        return Err(catalogue::CREDENTIAL.saying("Invalid signing region in x-oss-credential."));
    }
    let date = form.get("x-oss-date").and_then(moment);
    let (date, day) = date.ok_or(catalogue::SIGNATURE_DATE)?;
    if day != scope.day {
        return Err(catalogue::CREDENTIAL_DATE);
    }
    let key = find(keys, scope.id, form, now)?;

    let seed = [b"aliyun_v4", key.secret()].concat();
    let mut derived = zeroize::Zeroizing::new(seed);
    for part in [scope.day, scope.region, "oss", "aliyun_v4_request"] {
        let mut mac = hmac_sha256(&derived)?;
        mac.update(part.as_bytes());
        *derived = mac.finalize().into_bytes().to_vec();
    }
    let mut mac = hmac_sha256(&derived)?;
    mac.update(policy.as_bytes());
    // Lower-case hex only, as OSS writes it.
    let given = base16ct::lower::decode_vec(signature).unwrap_or_default();
    mac.verify_slice(&given)
        .map_err(|_| catalogue::SIGNATURE_MISMATCH)?;

    let mut must_name = vec!["x-oss-signature-version", "x-oss-credential", "x-oss-date"];
    if key.token().is_some() {
        must_name.push("x-oss-security-token");
    }
    Ok(Signed {
        policy,
        must_name,
        date: Some(date),
    })
}

impl Signed<'_> {
    /// Whether the signature itself is of this time. Version 1 has no time of its own.
    pub(super) fn check_date(&self, now: SystemTime) -> Result<(), OssError> {
        let Some(date) = self.date else {
            return Ok(());
        };
        let now = Timestamp::try_from(now).map_err(|_| catalogue::INTERNAL)?;
        let age = now.duration_since(date);
        if age < -SKEW {
            return Err(catalogue::SIGNATURE_SKEWED);
        }
        if age > LIFE {
            return Err(catalogue::SIGNATURE_EXPIRED);
        }
        Ok(())
    }
}

/// `ID/YYYYMMDD/REGION/oss/aliyun_v4_request`.
struct Scope<'a> {
    id: &'a str,
    day: &'a str,
    region: &'a str,
}

impl<'a> Scope<'a> {
    fn parse(credential: &'a str) -> Result<Self, OssError> {
        let parts: Vec<_> = credential.split('/').collect();
        let [id, day, region, "oss", "aliyun_v4_request"] = parts[..] else {
            return Err(catalogue::CREDENTIAL);
        };
        if id.is_empty() || !id.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(catalogue::CREDENTIAL_ID);
        }
        let is_a_day = day.len() == 8 && moment(&format!("{day}T000000Z")).is_some();
        if !is_a_day {
            return Err(catalogue::CREDENTIAL_DATE);
        }
        Ok(Self { id, day, region })
    }
}

/// Reads `YYYYMMDDTHHMMSSZ`; the text of the day comes with it.
fn moment(text: &str) -> Option<(Timestamp, &str)> {
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

fn present(signature: Option<&str>) -> Result<&str, OssError> {
    match signature {
        None => Err(catalogue::NO_SIGNATURE),
        Some("") => Err(catalogue::EMPTY_SIGNATURE),
        Some(signature) => Ok(signature),
    }
}

/// The key of this id, if the form carries the security token that goes with it.
fn find<'a>(
    keys: &'a [AccessKey],
    id: &str,
    form: &Form,
    now: SystemTime,
) -> Result<&'a AccessKey, OssError> {
    let key = keys.iter().find(|key| key.id() == id);
    let key = key.ok_or(catalogue::UNKNOWN_ACCESS_KEY)?;
    // An empty token goes with a key that has none.
    let given = form
        .get("x-oss-security-token")
        .filter(|token| !token.is_empty());
    match (key.token(), given) {
        (None, None) => Ok(key),
        // To OSS, the id of a temporary key is none without its token.
        (Some(_), None) => Err(catalogue::UNKNOWN_ACCESS_KEY),
        (Some((token, expires)), Some(given)) if token == given => {
            if now < expires {
                Ok(key)
            } else {
                Err(catalogue::TOKEN_EXPIRED)
            }
        }
        (_, Some(given)) => {
            let is_of = |key: &AccessKey| key.token().is_some_and(|(token, _)| token == given);
            Err(if keys.iter().any(is_of) {
                catalogue::TOKEN_OF_ANOTHER
            } else {
                catalogue::INVALID_TOKEN
            })
        }
    }
}

fn hmac_sha256(key: &[u8]) -> Result<Hmac<Sha256>, OssError> {
    Hmac::new_from_slice(key).map_err(|_| catalogue::INTERNAL)
}
