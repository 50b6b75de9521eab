//! RSA public keys, decoded strictly.

use std::{fmt, sync::Arc};

use rsa::{
    BoxedUint,
    pkcs1::RsaPublicKeyRef,
    pkcs8::{
        ObjectIdentifier,
        der::{Decode as _, pem::PemLabel as _},
        spki::{Document, SubjectPublicKeyInfoRef},
    },
    traits::PublicKeyParts as _,
};

use super::rsavp1::VerifyingKey;

/// `rsaEncryption` of RFC 8017 appendix C.
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// 65537, the only exponent accepted, as an unsigned big-endian integer.
const EXPONENT: [u8; 3] = [1, 0, 1];

const PEM_START: &[u8] = b"-----BEGIN ";

/// An RSA public key of 512 to 4,096 bits with the exponent 65537. Cheap to clone.
///
/// The published key of OSS has 512 bits. No other key should be that short; [`PinnedKeys::own`]
/// requires at least 1,024 bits.
///
/// ```
/// use tower_aliyun_oss::key::PublicKey;
///
/// // https://gosspublic.alicdn.com/callback_pub_key_v1.pem
/// let key = PublicKey::from_pem(b"-----BEGIN PUBLIC KEY-----
/// MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAKs/JBGzwUB2aVht4crBx3oIPBLNsjGs
/// C0fTXv+nvlmklvkcolvpvXLTjaxUHR3W9LXxQ2EHXAJfCB+6H2YF1k8CAwEAAQ==
/// -----END PUBLIC KEY-----
/// ")?;
/// assert_eq!(key.bits(), 512);
/// # Ok::<(), tower_aliyun_oss::key::PublicKeyError>(())
/// ```
///
/// [`PinnedKeys::own`]: super::PinnedKeys::own
#[derive(Clone, Eq, PartialEq)]
pub struct PublicKey(Arc<VerifyingKey>);

impl PublicKey {
    /// The minimum length of the modulus, in bits.
    pub const MIN_BITS: usize = 512;

    /// The maximum length of the modulus, in bits.
    pub const MAX_BITS: usize = 4096;

    /// Decodes one `PUBLIC KEY` block (SPKI, RFC 7468 section 13), with LF or CRLF line endings.
    ///
    /// # Errors
    ///
    /// If there is text before or after the block, the label differs, or [`Self::from_der`] rejects
    /// the content of the block.
    pub fn from_pem(pem: &[u8]) -> Result<Self, PublicKeyError> {
        // RFC 7468 allows text before the block. A key file has no reason to contain any.
        if !pem.starts_with(PEM_START) {
            return Err(PublicKeyError::NotPem);
        }
        let text = std::str::from_utf8(pem).map_err(|_| PublicKeyError::NotPem)?;
        let (label, document) = Document::from_pem(text).map_err(|_| PublicKeyError::NotPem)?;
        if label != SubjectPublicKeyInfoRef::PEM_LABEL {
            return Err(PublicKeyError::NotPem);
        }
        Self::from_der(document.as_bytes())
    }

    /// Decodes a DER `SubjectPublicKeyInfo` (RFC 5280 section 4.1.2.7).
    ///
    /// # Errors
    ///
    /// If the encoding is not strict DER, the algorithm is not `rsaEncryption` with NULL
    /// parameters, the exponent is not 65537, the modulus is even, or its length is not 512 to
    /// 4,096 bits.
    pub fn from_der(der: &[u8]) -> Result<Self, PublicKeyError> {
        let spki = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| PublicKeyError::Malformed)?;
        if spki.algorithm.oid != RSA_ENCRYPTION {
            return Err(PublicKeyError::NotRsa);
        }
        // RFC 8017 appendix A.1 requires NULL parameters. The decoder also accepts absent ones.
        match spki.algorithm.parameters {
            Some(parameters) if parameters.is_null() => {}
            _ => return Err(PublicKeyError::Parameters),
        }
        let bytes = spki
            .subject_public_key
            .as_bytes()
            .ok_or(PublicKeyError::Malformed)?;
        let components = RsaPublicKeyRef::from_der(bytes).map_err(|_| PublicKeyError::Malformed)?;
        if components.public_exponent.as_bytes() != EXPONENT {
            return Err(PublicKeyError::Exponent);
        }
        let modulus = components.modulus.as_bytes();
        let precision = u32::try_from(modulus.len() * 8).map_err(|_| PublicKeyError::Size)?;
        let n = BoxedUint::from_be_slice(modulus, precision).map_err(|_| PublicKeyError::Size)?;
        let e = BoxedUint::from(65537_u64);
        // `PublicKey::new` requires 1,024 bits, twice the length of the published key of OSS.
        let limits = Self::MIN_BITS..=Self::MAX_BITS;
        match rsa::PublicKey::new_with_size_limits(n, e, limits) {
            Ok(key) => VerifyingKey::new(key)
                .map(|key| Self(Arc::new(key)))
                .ok_or(PublicKeyError::Exponent),
            Err(rsa::Error::ModulusTooSmall | rsa::Error::ModulusTooLarge) => {
                Err(PublicKeyError::Size)
            }
            Err(_) => Err(PublicKeyError::Modulus),
        }
    }

    /// The length of the modulus, in bits.
    #[must_use]
    pub fn bits(&self) -> usize {
        usize::try_from(self.0.key().n().bit_width_vartime()).unwrap_or(usize::MAX)
    }

    /// Verifies an RSASSA-PKCS1-v1_5 signature of an MD5 digest (RFC 8017 section 8.2.2).
    ///
    /// Checks the length and the range of the signature first, then builds the expected block and
    /// compares it.
    pub(crate) fn verify_md5(&self, digest: &[u8; 16], signature: &[u8]) -> bool {
        self.0.verify_md5(digest, signature)
    }

    /// Recovers the MD5 digest from a signature, if the signature was made with this key.
    ///
    /// Only for diagnostics, to find out which text was signed. Acceptance must go through
    /// [`Self::verify_md5`], with a digest computed from the request.
    pub(crate) fn recover_md5(&self, signature: &[u8]) -> Option<[u8; 16]> {
        self.0.recover_md5(signature)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({} bits)", self.bits())
    }
}

/// Why bytes do not decode to an accepted public key.
#[derive(Clone, Copy, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PublicKeyError {
    /// The input is not exactly one PEM block with the label `PUBLIC KEY`.
    #[error("not a single PEM block with the label \"PUBLIC KEY\" and nothing around it")]
    NotPem,
    /// The input is not a strict DER `SubjectPublicKeyInfo`.
    #[error("not a DER SubjectPublicKeyInfo")]
    Malformed,
    /// The algorithm is not `rsaEncryption`.
    #[error("not an RSA key")]
    NotRsa,
    /// The algorithm parameters are absent or not NULL.
    #[error("the algorithm parameters of the RSA key are not NULL")]
    Parameters,
    /// The exponent is not 65537.
    #[error("the exponent of the RSA key is not 65537")]
    Exponent,
    /// The modulus is shorter than 512 or longer than 4,096 bits.
    #[error("the modulus of the RSA key is not 512 to 4096 bits long")]
    Size,
    /// The modulus is not a valid RSA modulus, for example because it is even.
    #[error("the modulus of the RSA key is not odd")]
    Modulus,
}

crate::causes::debug_is_text!(PublicKeyError);

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use md5::{Digest as _, Md5};
    use percent_encoding::percent_decode_str;
    use rsa::{
        PrivateKey, hazmat::rsa_encrypt, pkcs1::DecodeRsaPrivateKey as _,
        traits::PrivateKeyParts as _,
    };

    use super::*;

    fn official() -> PublicKey {
        PublicKey::from_pem(
            b"-----BEGIN PUBLIC KEY-----\n\
              MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAKs/JBGzwUB2aVht4crBx3oIPBLNsjGs\n\
              C0fTXv+nvlmklvkcolvpvXLTjaxUHR3W9LXxQ2EHXAJfCB+6H2YF1k8CAwEAAQ==\n\
              -----END PUBLIC KEY-----\n",
        )
        .unwrap()
    }

    fn own(pem: &str) -> (PrivateKey, PublicKey) {
        let private = PrivateKey::from_pkcs1_pem(pem).unwrap();
        let public = rsa::PublicKey::from(&private);
        let key = VerifyingKey::new(public).unwrap();
        (private, PublicKey(Arc::new(key)))
    }

    /// Computes `block ^ d mod n`, without padding or checks.
    fn sign_block(private: &PrivateKey, block: &[u8]) -> Vec<u8> {
        let block = BoxedUint::from_be_slice(block, private.n().bits_precision()).unwrap();
        let inverse =
            rsa::PublicKey::new_unchecked(private.n().as_ref().clone(), private.d().clone());
        rsa_encrypt(&inverse, &block)
            .unwrap()
            .to_be_bytes()
            .into_vec()
    }

    #[test]
    fn the_digest_of_a_genuine_callback_is_that_of_its_text() {
        let cases: Vec<serde_json::Value> =
            serde_json::from_str(include_str!("../../tests/cases/callbacks.json")).unwrap();
        let mut genuine = 0;
        for case in cases {
            let string = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
            let signature = STANDARD
                .decode(string(&case["headers"]["authorization"]))
                .unwrap();
            let target = string(&case["path_and_query"]);
            let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
            let mut text: Vec<u8> = percent_decode_str(path).collect();
            text.extend([query, "\n", &string(&case["body"])].concat().bytes());
            let expected: [u8; 16] = Md5::digest(text).into();
            if case["genuine"] == true {
                genuine += 1;
                assert_eq!(official().recover_md5(&signature), Some(expected));
            } else {
                assert_ne!(official().recover_md5(&signature), Some(expected));
            }
        }
        assert!(genuine >= 3);
    }

    #[test]
    fn a_block_with_another_padding_has_no_digest() {
        let (private, public) = own(include_str!("../../tests/keys/rsa_512.pem"));
        let digest: [u8; 16] = Md5::digest(b"text").into();
        let info = b"\x30\x20\x30\x0c\x06\x08\x2a\x86\x48\x86\xf7\x0d\x02\x05\x05\x00\x04\x10";
        let mut block = vec![0, 1];
        block.resize(64 - 1 - info.len() - 16, 0xff);
        block.push(0);
        block.extend(info);
        block.extend(digest);
        assert_eq!(
            public.recover_md5(&sign_block(&private, &block)),
            Some(digest)
        );
        for at in 0..48 {
            let mut tampered = block.clone();
            tampered[at] ^= 1;
            let signature = sign_block(&private, &tampered);
            assert_eq!(public.recover_md5(&signature), None, "byte {at}");
        }
        // The digest alone, then a shorter run of 0xff with trailing data after the digest.
        let mut bare = vec![0; 48];
        bare.extend(digest);
        assert_eq!(public.recover_md5(&sign_block(&private, &bare)), None);
        let mut trailing = block[..2].to_vec();
        trailing.extend(&block[3..]);
        trailing.push(0);
        assert_eq!(public.recover_md5(&sign_block(&private, &trailing)), None);
    }

    #[test]
    fn a_signature_of_another_length_range_or_key_has_no_digest() {
        for pem in [
            include_str!("../../tests/keys/rsa_512.pem"),
            include_str!("../../tests/keys/rsa_1024.pem"),
            include_str!("../../tests/keys/rsa_4096.pem"),
        ] {
            let (private, public) = own(pem);
            let signature = private.pkcs1v15_sign::<Md5>(b"text").unwrap();
            let digest: [u8; 16] = Md5::digest(b"text").into();
            assert_eq!(public.recover_md5(&signature), Some(digest));
            assert_eq!(official().recover_md5(&signature), None);
            assert_eq!(public.recover_md5(&signature[1..]), None);
            assert_eq!(public.recover_md5(&[&[0], &signature[..]].concat()), None);
            assert_eq!(public.recover_md5(&[]), None);
            for byte in [0, 1, 0xff] {
                assert_eq!(public.recover_md5(&vec![byte; signature.len()]), None);
            }
        }
    }
}
