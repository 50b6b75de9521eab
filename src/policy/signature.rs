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

#[cfg(test)]
mod tests {
    use super::*;

    /// Signatures that Alibaba's SDKs and their tests have published, over the text as it was sent.
    #[test]
    fn pl_01_published_signatures() {
        for (secret, policy, signature) in [
            (
                "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBB",
                "eyJleHBpcmF0aW9uIjoiMjAyMC0wMy0xOVQwMzo0NDowNi40NzZaIiwiY29uZGl0aW9ucyI6W3siYnVja2V0IjoiZ2VuLXBvc3QtcG9saWN5In0sWyJlcSIsIiRrZXkiLCJ1c2VyXC9lcmljXC9cXCR7ZmlsZW5hbWV9Il0sWyJzdGFydHMtd2l0aCIsIiRrZXkiLCJ1c2VyXC9lcmljIl0sWyJzdGFydHMtd2l0aCIsIiR4LW9zcy1tZXRhLXRhZyIsImR1bW15X2V0YWciXSxbImNvbnRlbnQtbGVuZ3RoLXJhbmdlIiwxLDEwMjRdXX0=",
                "9fs2TRS2W2k5hV8mLsvqZBnlC2M=",
            ),
            (
                "OtxrzxIsfpFjA7SwPzILwy8Bw21TLhquhboDYROV",
                "eyJjb25kaXRpb25zIjpbWyJjb250ZW50LWxlbmd0aC1yYW5nZSIsMCwxMDQ4NTc2MF0seyJidWNrZXQiOiJhaGFoYSJ9LHsiQSI6ImEifSx7ImtleSI6IkFCQyJ9XSwiZXhwaXJhdGlvbiI6IjIwMTMtMTItMDFUMTI6MDA6MDBaIn0=",
                "W835KpLsL6k1/oo28RcsEflB6hw=",
            ),
        ] {
            let credentials = Credentials::new("id", secret).unwrap();
            assert_eq!(v1(&credentials, policy).unwrap(), signature);
        }
    }
}
