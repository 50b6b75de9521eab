//! TLS: trust roots and cryptography for a host.

use std::{error::Error, sync::Arc};

use hyper_rustls::HttpsConnector;
use rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tokio::task::spawn_blocking;

use super::connect::Connector;

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
    /// Parses one or more certificates in PEM. Returns `None` if `pem` has no certificate, or has
    /// one that cannot be a root.
    pub(crate) fn from_pem(pem: &[u8]) -> Option<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            roots.add(certificate.ok()?).ok()?;
        }
        (!roots.is_empty()).then(|| Self::Given(Arc::new(roots)))
    }

    async fn load(&self) -> Result<Arc<RootCertStore>, TlsUnavailable> {
        match self {
            Self::Given(roots) => Ok(Arc::clone(roots)),
            Self::System => spawn_blocking(system_roots)
                .await
                .map_err(|why| TlsUnavailable(Some(why.into())))?,
        }
    }
}

/// No host can be verified; with the cause, if there is one.
#[derive(Debug, Default, thiserror::Error)]
#[error("no root certificates or no cryptography are available")]
pub(crate) struct TlsUnavailable(#[source] Option<Box<dyn Error + Send + Sync>>);

fn system_roots() -> Result<Arc<RootCertStore>, TlsUnavailable> {
    let mut found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if !roots.is_empty() {
        return Ok(Arc::new(roots));
    }
    Err(TlsUnavailable(found.errors.pop().map(Into::into)))
}

/// Returns a connector that verifies the host over TLS, and offers HTTP/1.1.
///
/// Sessions are not resumed: a key is fetched once a day, and a client that is used more often
/// keeps its connections.
pub(crate) async fn connector(
    tcp: Connector,
    roots: &Roots,
) -> Result<HttpsConnector<Connector>, TlsUnavailable> {
    let provider = crate::tls::provider().ok_or_else(TlsUnavailable::default)?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|why| TlsUnavailable(Some(why.into())))?
        .with_root_certificates(roots.load().await?)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    let mut connector = HttpsConnector::from((tcp, config));
    connector.enforce_https();
    Ok(connector)
}
