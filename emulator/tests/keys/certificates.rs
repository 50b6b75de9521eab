//! Certificates of the tests, signed with `rsa_2048.pem`.

use rcgen::{
    CertificateParams, DnType, KeyIdMethod, PKCS_RSA_SHA256, PublicKeyData, SignatureAlgorithm,
    SigningKey,
};
use rsa::{
    PrivateKey,
    pkcs1::{DecodeRsaPrivateKey as _, EncodeRsaPublicKey as _},
};
use sha2::Sha256;

/// The key of every certificate, as PEM.
pub const KEY: &str = include_str!("rsa_2048.pem");

/// Returns a certificate for these names and addresses, as PEM. It is its own CA.
pub fn certificate(serial: u8, names: &[&str]) -> String {
    changed(serial, names, |_| {})
}

/// Returns a certificate with parameters of the test.
pub fn changed(serial: u8, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> String {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    // rcgen has no cryptography here, from which it would choose them.
    // The key is always the same, so the name tells issuers apart.
    let issuer = format!("issuer {serial}");
    params.distinguished_name.push(DnType::CommonName, issuer);
    params.serial_number = Some(u64::from(serial).into());
    params.key_identifier_method = KeyIdMethod::PreSpecified(vec![serial; 20]);
    change(&mut params);
    params.self_signed(&Key::new()).unwrap().pem()
}

struct Key {
    private: PrivateKey,
    public: Vec<u8>,
}

impl Key {
    fn new() -> Self {
        let private = PrivateKey::from_pkcs1_pem(KEY).unwrap();
        let public = rsa::PublicKey::from(&private).to_pkcs1_der().unwrap();
        Self {
            public: public.as_bytes().to_vec(),
            private,
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
