//! TLS of callbacks to `https` URLs.

use std::{fmt, io, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, RootCertStore,
    client::Resumption,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::OnceCell,
    task::spawn_blocking,
};
use tokio_rustls::TlsConnector;

use super::connection::{Connection, Destination};
use crate::tls::provider;

/// TLS for callbacks to `https` URLs, feature `tls`.
///
/// The host of the URL is verified with the root certificates of the machine and those that
/// [`add_root_certificates`](Self::add_root_certificates) adds. The handshake sends the host name
/// only if the callback has `callbackSNI`, as OSS does: without it, a server with several host
/// names may refuse the handshake or present another certificate, and the upload returns 203 with
/// `Error status : 502.`.
///
/// The cryptography is that of the rustls provider which the application has installed, or else a
/// built-in provider for x86-64 and AArch64. The root certificates of the machine are read with the
/// first handshake. Clones share them.
///
/// ```
/// use aliyun_oss_emulator::{CallbackTls, Emulator, SystemNetwork};
///
/// # fn f(ca: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
/// let tls = CallbackTls::new().add_root_certificates(ca)?;
/// let settings = Emulator::builder()
///     .network(SystemNetwork::with_tls(tls))
///     .allow_callbacks_to("https://127.0.0.1:8443");
/// # let _ = settings;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct CallbackTls {
    added: Vec<CertificateDer<'static>>,
    clients: Arc<OnceCell<Clients>>,
}

/// The configurations with and without SNI.
struct Clients {
    named: Arc<ClientConfig>,
    nameless: Arc<ClientConfig>,
}

impl CallbackTls {
    /// Creates TLS that trusts the root certificates of the machine.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts these root certificates too, one or more in PEM: the CA of a test.
    ///
    /// # Errors
    ///
    /// Fails if `pem` contains no certificate, or one that cannot be a root.
    pub fn add_root_certificates(mut self, pem: &[u8]) -> Result<Self, RootCertificateError> {
        let mut known = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|_| RootCertificateError::NotPem)?;
            let added = known.add(certificate.clone());
            added.map_err(|_| RootCertificateError::NotACertificate)?;
            self.added.push(certificate);
        }
        if known.is_empty() {
            return Err(RootCertificateError::NotPem);
        }
        // An earlier handshake of a clone did not trust them.
        self.clients = Arc::default();
        Ok(self)
    }

    /// Performs the handshake of a callback over a connection to [`Destination::address`], for
    /// implementations of [`CallbackNetwork`](super::CallbackNetwork).
    ///
    /// # Errors
    ///
    /// Fails if the server cannot be verified, if it refuses the handshake, and if the machine has
    /// neither the cryptography nor root certificates.
    pub async fn handshake(
        &self,
        to: &Destination,
        io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> io::Result<Connection> {
        let clients = self
            .clients
            .get_or_try_init(|| Clients::new(self.added.clone()))
            .await?;
        let client = match to.sends_sni() {
            true => &clients.named,
            false => &clients.nameless,
        };
        let host = to.host().to_owned();
        let name = ServerName::try_from(host).map_err(|_| io::ErrorKind::InvalidInput)?;
        let connected = TlsConnector::from(client.clone()).connect(name, io).await;
        let stream = connected.map_err(|error| failed(&error, to))?;
        Ok(Connection::new(stream))
    }
}

/// Describes a failed handshake, with what usually mends it.
fn failed(error: &io::Error, to: &Destination) -> io::Error {
    let wrapped = error.get_ref().and_then(|error| error.downcast_ref());
    let remedy = match wrapped {
        Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            "; add its CA with `CallbackTls::add_root_certificates`, or with --callback-ca"
        }
        _ if !to.sends_sni() => "; no host name was sent, because `callbackSNI` is not true",
        _ => "",
    };
    let text = format!("the TLS handshake failed: {error}{remedy}");
    io::Error::new(error.kind(), text)
}

impl Clients {
    async fn new(added: Vec<CertificateDer<'static>>) -> io::Result<Self> {
        let reading = spawn_blocking(rustls_native_certs::load_native_certs);
        let mut found = reading.await.map_err(io::Error::other)?;
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.certs);
        roots.add_parsable_certificates(added);
        if roots.is_empty() {
            let cause = found.errors.pop();
            let cause = cause.map_or_else(String::new, |error| format!(": {error}"));
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("this machine has no root certificates{cause}"),
            ));
        }
        let provider = provider().ok_or_else(|| {
            let error = "this processor lacks what the built-in TLS needs";
            io::Error::new(io::ErrorKind::Unsupported, error)
        })?;
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.alpn_protocols = vec![b"http/1.1".to_vec()];
        // A connection carries one callback.
        client.resumption = Resumption::disabled();
        let mut nameless = client.clone();
        nameless.enable_sni = false;
        Ok(Self {
            named: Arc::new(client),
            nameless: Arc::new(nameless),
        })
    }
}

impl fmt::Debug for CallbackTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallbackTls")
            .field("added", &self.added.len())
            .finish_non_exhaustive()
    }
}

/// Error of [`CallbackTls::add_root_certificates`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RootCertificateError {
    /// The text has no certificate in a PEM block, or a malformed block.
    #[error("root certificates must be PEM: blocks that begin with -----BEGIN CERTIFICATE-----")]
    NotPem,
    /// A PEM block is not a certificate that can be a root.
    #[error("a PEM block does not contain a certificate that can be a root")]
    NotACertificate,
}
