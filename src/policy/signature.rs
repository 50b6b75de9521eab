//! Signatures of policies.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;

use super::{credentials::Credentials, error::PolicyError};

/// Signature version 1: Base64 of HMAC-SHA1 over the Base64 text of the policy, exactly as it is sent.
pub(super) fn v1(credentials: &Credentials, policy: &str) -> Result<String, PolicyError> {
    // HMAC takes a key of any length (RFC 2104 section 2); the error exists for other constructions.
    let mut mac =
        Hmac::<Sha1>::new_from_slice(credentials.secret()).map_err(|_| PolicyError::Sign)?;
    mac.update(policy.as_bytes());
    Ok(STANDARD.encode(mac.finalize().into_bytes()))
}
