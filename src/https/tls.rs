//! TLS: trust roots and cryptography for a host.

use std::{error::Error, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tokio::task::spawn_blocking;

/// The certificates that a host is verified with.
#[derive(Clone, Debug, Default)]
pub(crate) enum Roots {
    /// Loaded for each configuration, so that a certificate store which was unreadable once is
    /// tried again.
    #[default]
    System,
    Given(Arc<RootCertStore>),
}

impl Roots {
    /// Parses one or more certificates in PEM. Returns `None` if `pem` has no certificate, or has one
    /// that cannot be a root.
    pub(crate) fn from_pem(pem: &[u8]) -> Option<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            roots.add(certificate.ok()?).ok()?;
        }
        (!roots.is_empty()).then(|| Self::Given(Arc::new(roots)))
    }

    async fn load(&self) -> Result<Arc<RootCertStore>, TlsError> {
        match self {
            Self::Given(roots) => Ok(Arc::clone(roots)),
            Self::System => spawn_blocking(system_roots)
                .await
                .map_err(|why| TlsError::Aborted(why.into()))?,
        }
    }
}

/// Why no host can be verified.
#[derive(Debug)]
pub(crate) enum TlsError {
    /// No root certificates or no cryptography are available; with the cause, if there is one.
    Unavailable(Option<Box<dyn Error + Send + Sync>>),
    /// The runtime was shut down while the roots were read.
    Aborted(Box<dyn Error + Send + Sync>),
}

fn system_roots() -> Result<Arc<RootCertStore>, TlsError> {
    let mut found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if !roots.is_empty() {
        return Ok(Arc::new(roots));
    }
    Err(TlsError::Unavailable(found.errors.pop().map(Into::into)))
}

/// Returns the settings of a client that speaks HTTP/1.1.
///
/// Sessions are not resumed: a key is fetched once a day, and a client that is used more often
/// keeps its connections.
pub(crate) async fn config(roots: &Roots) -> Result<ClientConfig, TlsError> {
    let provider = crate::tls::provider().ok_or(TlsError::Unavailable(None))?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|why| TlsError::Unavailable(Some(why.into())))?
        .with_root_certificates(roots.load().await?)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}
