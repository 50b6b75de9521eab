//! TLS: trust roots for the key host.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tokio::task::spawn_blocking;

use super::error::{FetchError, FetchErrorKind as Kind};

#[derive(Clone, Debug, Default)]
pub(super) enum Roots {
    /// Loaded for each fetch, so that a certificate store which was unreadable once is tried again.
    /// Fetches are rare, about one a day.
    #[default]
    System,
    Given(Arc<RootCertStore>),
}

impl Roots {
    pub(super) fn from_pem(pem: &[u8]) -> Option<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            roots.add(certificate.ok()?).ok()?;
        }
        (!roots.is_empty()).then(|| Self::Given(Arc::new(roots)))
    }

    async fn load(&self) -> Result<Arc<RootCertStore>, FetchError> {
        match self {
            Self::Given(roots) => Ok(Arc::clone(roots)),
            Self::System => spawn_blocking(system_roots)
                .await
                .map_err(|why| FetchError::with_source(Kind::Aborted, why))?,
        }
    }
}

fn system_roots() -> Result<Arc<RootCertStore>, FetchError> {
    let mut found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if !roots.is_empty() {
        return Ok(Arc::new(roots));
    }
    Err(match found.errors.pop() {
        Some(why) => FetchError::with_source(Kind::NoTls, why),
        None => FetchError::new(Kind::NoTls),
    })
}

pub(super) async fn config(roots: &Roots) -> Result<ClientConfig, FetchError> {
    let provider = crate::tls::provider().ok_or_else(|| FetchError::new(Kind::NoTls))?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|why| FetchError::with_source(Kind::NoTls, why))?
        .with_root_certificates(roots.load().await?)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // The next fetch is a day away.
    config.resumption = Resumption::disabled();
    Ok(config)
}
