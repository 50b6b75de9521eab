//! A certificate authority for a Redis with TLS.
#![allow(clippy::unwrap_used, unreachable_pub)]

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyIdMethod, PKCS_RSA_SHA256, PublicKeyData, SerialNumber, SignatureAlgorithm, SigningKey,
};
use rsa::{
    PrivateKey,
    pkcs1::{DecodeRsaPrivateKey as _, EncodeRsaPublicKey as _},
};
use sha2::Sha256;

const KEY: &str = include_str!("../../../tests/keys/rsa_2048.pem");

/// PEM of the root, of a certificate for `localhost`, and of its key.
pub fn for_localhost() -> [String; 3] {
    let key = Key::new();
    let mut authority = params(&[], 1);
    authority
        .distinguished_name
        .push(DnType::CommonName, "The test authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = authority.clone().self_signed(&key).unwrap().pem();
    let mut params = params(&["localhost"], 2);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let issuer = Issuer::new(authority, &key);
    let certificate = params.signed_by(&key, &issuer).unwrap().pem();
    [root, certificate, KEY.to_owned()]
}

fn params(names: &[&str], number: u8) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.serial_number = Some(SerialNumber::from(u64::from(number)));
    params.key_identifier_method = KeyIdMethod::PreSpecified(vec![number; 20]);
    params
}

/// One key is enough for the authority and what it certifies.
struct Key {
    private: PrivateKey,
    public: Vec<u8>,
}

impl Key {
    fn new() -> Self {
        let private = PrivateKey::from_pkcs1_pem(KEY).unwrap();
        let public = rsa::PublicKey::from(&private).to_pkcs1_der().unwrap();
        Self {
            private,
            public: public.as_bytes().to_vec(),
        }
    }
}

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_RSA_SHA256
    }
}

impl SigningKey for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(self.private.pkcs1v15_sign::<Sha256>(message).unwrap())
    }
}
