//! TLS: the certificate of the program, and the client of `oss-emulator health`.

use std::{fmt::Display, path::Path, sync::Arc};

use rustls::{
    ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
};

use crate::tls;

/// Reads a certificate chain and its key.
///
/// # Errors
///
/// Fails with a message that names the file.
pub(super) fn server(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, String> {
    let chain = chain(certificate)?;
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| file_error(key, &format!("has no private key in a PEM block: {error}")))?;
    let mut config = ServerConfig::builder_with_provider(provider()?)
        .with_safe_default_protocol_versions()
        .map_err(unsupported)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| {
            file_error(
                key,
                &format!(
                    "is not a usable key of the certificate {}: {error}",
                    certificate.display()
                ),
            )
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Returns a client that accepts only the certificate in this file: the emulator of the same
/// options.
pub(super) fn client(certificate: &Path) -> Result<Arc<ClientConfig>, String> {
    let provider = provider()?;
    let expected = chain(certificate)?.into_iter().next();
    let verifier = SameCertificate {
        expected: expected.ok_or_else(|| file_error(certificate, "has no certificate"))?,
        provider: provider.clone(),
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unsupported)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    let chain: Vec<_> = read.map_err(|error| file_error(file, &format!("{error}")))?;
    match chain.is_empty() {
        true => Err(file_error(file, "has no certificate in a PEM block")),
        false => Ok(chain),
    }
}

fn file_error(file: &Path, error: &str) -> String {
    format!("--tls: {}: {error}", file.display())
}

fn unsupported(error: impl Display) -> String {
    format!("--tls: {error}")
}

fn provider() -> Result<Arc<CryptoProvider>, String> {
    tls::provider().ok_or_else(|| {
        "--tls: this processor lacks what the built-in TLS needs; put a proxy with TLS in front of \
         the emulator, and name its URL with --public-url"
            .to_owned()
    })
}

/// Accepts one certificate, whoever issued it and whatever its names are.
#[derive(Debug)]
struct SameCertificate {
    expected: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for SameCertificate {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match *end_entity == self.expected {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(rustls::Error::General("another certificate".into())),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
