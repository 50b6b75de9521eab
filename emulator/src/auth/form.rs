//! Signatures of forms, in versions 1 and 4. Both sign the Base64 of the policy.

use std::time::SystemTime;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use sha1::Sha1;

use super::{
    key::{ALGORITHM, MAX_LIFE, PRODUCT, SKEW, Scope, derive, find, hmac_sha256, parse_time},
    v1::check_allowed,
};
use crate::{
    context::ServiceContext,
    errors::{self, OssError},
    form::Form,
};

/// A form whose policy was signed with a known key.
pub(crate) struct SignedForm<'a> {
    /// The signed policy, in Base64.
    pub(crate) policy: &'a str,
    /// The fields that the policy must contain conditions on.
    pub(crate) required_conditions: Vec<&'static str>,
    /// The signing time. Version 1 has none.
    date: Option<Timestamp>,
}

/// Verifies the signature of a form. Returns `None` if the form carries no part of one.
pub(crate) fn verify<'a>(
    context: &ServiceContext<'_>,
    form: &'a Form,
) -> Result<Option<SignedForm<'a>>, OssError> {
    match form.get("x-oss-signature-version") {
        None => v1(context, form),
        Some(ALGORITHM) => v4(context, form).map(Some),
        // How version 2 signs forms is not documented.
        Some("OSS2") => Err(errors::NOT_IMPLEMENTED),
        Some(_) => Err(errors::SIGNATURE_VERSION),
    }
}

fn v1<'a>(
    context: &ServiceContext<'_>,
    form: &'a Form,
) -> Result<Option<SignedForm<'a>>, OssError> {
    let id = form.get("OSSAccessKeyId");
    let policy = form.get("policy");
    let signature = form.get("Signature");
    if id.is_none() && policy.is_none() && signature.is_none() {
        return Ok(None);
    }
    check_allowed(context)?;
    let policy = policy.ok_or(errors::NO_POLICY)?;
    let id = id.filter(|id| !id.is_empty());
    let id = id.ok_or(errors::NO_ACCESS_KEY_ID)?;
    let signature = present(signature)?;
    let key = find(&context.shared.keys, id, token(form), context.now)?;

    let mut mac = Hmac::<Sha1>::new_from_slice(key.secret()).map_err(|_| errors::INTERNAL)?;
    mac.update(policy.as_bytes());
    let given = STANDARD.decode(signature).unwrap_or_default();
    mac.verify_slice(&given)
        .map_err(|_| errors::SIGNATURE_MISMATCH)?;
    Ok(Some(SignedForm {
        policy,
        required_conditions: Vec::new(),
        date: None,
    }))
}

fn v4<'a>(context: &ServiceContext<'_>, form: &'a Form) -> Result<SignedForm<'a>, OssError> {
    let policy = form.get("policy").ok_or(errors::NO_POLICY)?;
    let signature = present(form.get("x-oss-signature"))?;
    let credential = form.get("x-oss-credential").ok_or(errors::CREDENTIAL)?;
    let scope = Scope::parse(credential)?;
    if scope.product != PRODUCT {
        return Err(errors::CREDENTIAL);
    }
    if scope.region != context.shared.region.as_str() {
        return Err(errors::CREDENTIAL.with_message("Invalid signing region in x-oss-credential."));
    }
    let date = form.get("x-oss-date").and_then(parse_time);
    let (date, day) = date.ok_or(errors::SIGNATURE_DATE)?;
    if day != scope.day {
        return Err(errors::CREDENTIAL_DATE);
    }
    let key = find(&context.shared.keys, scope.id, token(form), context.now)?;

    let mut mac = hmac_sha256(&derive(key, scope.day, scope.region)?)?;
    mac.update(policy.as_bytes());
    // Only lower-case hex, as OSS writes it.
    let given = base16ct::lower::decode_vec(signature).unwrap_or_default();
    mac.verify_slice(&given)
        .map_err(|_| errors::SIGNATURE_MISMATCH)?;

    // The signature covers the policy alone. Without these conditions, a client could change the
    // fields after signing.
    let mut required_conditions = vec!["x-oss-signature-version", "x-oss-credential", "x-oss-date"];
    if key.token().is_some() {
        required_conditions.push("x-oss-security-token");
    }
    Ok(SignedForm {
        policy,
        required_conditions,
        date: Some(date),
    })
}

impl SignedForm<'_> {
    /// Checks the signing time, independently of the expiration of the policy. Version 1 has none.
    pub(crate) fn check_date(&self, now: SystemTime) -> Result<(), OssError> {
        let Some(date) = self.date else {
            return Ok(());
        };
        let now = Timestamp::try_from(now).map_err(|_| errors::INTERNAL)?;
        let age = now.duration_since(date);
        if age < -SKEW {
            return Err(errors::SIGNATURE_SKEWED);
        }
        if age > MAX_LIFE {
            return Err(errors::SIGNATURE_EXPIRED);
        }
        Ok(())
    }
}

fn present(signature: Option<&str>) -> Result<&str, OssError> {
    match signature {
        None => Err(errors::NO_SIGNATURE),
        Some("") => Err(errors::EMPTY_SIGNATURE),
        Some(signature) => Ok(signature),
    }
}

fn token(form: &Form) -> Option<&str> {
    form.get("x-oss-security-token")
}
