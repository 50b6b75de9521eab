//! Fetching keys over HTTPS.
//!
//! [`HttpsFetcher`] brings its own client. [`service_fetcher`] uses the application's client.

mod error;
mod fetch;

use std::{future::Future, io, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Uri, uri::Scheme};
use http_body_util::Empty;
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{
        Client, Error as ClientError,
        connect::{Connect, proxy::Tunnel},
    },
    rt::TokioExecutor,
};
use tokio::time::timeout;

use self::error::FetchErrorKind as Kind;
use super::url::KeyUrl;
use crate::https::{Connector, Failure, Resolver, Roots, tls_config};

pub use error::{FetchError, FetchErrorKind};
pub use fetch::{FetchKey, service_fetcher};

/// Fetches keys over HTTPS, only from the host in the table of the key source.
///
/// A fetch is one connection and one `GET` request: TLS 1.2 or 1.3, with the certificate verified
/// for the host name; HTTP/1.1; status 200; at most 16 KiB. By default it must connect within 1 s
/// and finish within 2 s. It follows no redirects, decompresses nothing, stores no cookies and
/// ignores proxy variables in the environment. Nothing is kept between fetches.
///
/// The cryptography is that of the rustls provider which the application has installed, or else a
/// built-in provider for x86-64 and AArch64. The trusted roots are those of the system, including
/// `SSL_CERT_FILE` and `SSL_CERT_DIR`, unless [`root_certificates`](Self::root_certificates) sets
/// others.
///
/// ```no_run
/// use std::time::Duration;
/// use tower_aliyun_oss::key::{FetchedKeys, HttpsFetcher, KeyTable};
///
/// // A private store with a certificate from a private CA.
/// let roots = std::fs::read("/etc/store/ca.pem")?;
/// let fetcher = HttpsFetcher::new()
///     .root_certificates(&roots)?
///     .timeout(Duration::from_millis(500));
/// let keys = FetchedKeys::builder()
///     .table(KeyTable::own("store.internal:8443", ["/keys/callback.pem"])?)
///     .fetcher(fetcher)
///     .build();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a fetcher does nothing until a key source uses it"]
pub struct HttpsFetcher {
    settings: Arc<Settings>,
}

#[derive(Clone, Debug)]
struct Settings {
    roots: Roots,
    resolver: Resolver,
    proxy: Option<Uri>,
    connect_timeout: Duration,
    timeout: Duration,
}

impl HttpsFetcher {
    /// Creates a fetcher with the roots and the resolver of the system, and without a proxy.
    ///
    /// Reads no files and does not connect until the first fetch.
    pub fn new() -> Self {
        Self {
            settings: Arc::new(Settings {
                roots: Roots::default(),
                resolver: Resolver::default(),
                proxy: None,
                connect_timeout: Duration::from_secs(1),
                timeout: Duration::from_secs(2),
            }),
        }
    }

    /// Trusts these root certificates, one or more in PEM, in place of those of the system.
    ///
    /// # Errors
    ///
    /// Fails with [`FetchErrorKind::RootsPem`] if `pem` contains no certificate, or one that cannot
    /// be a root.
    pub fn root_certificates(mut self, pem: &[u8]) -> Result<Self, FetchError> {
        self.settings_mut().roots = Roots::from_pem(pem).ok_or(FetchError::new(Kind::RootsPem))?;
        Ok(self)
    }

    /// Sets a function that resolves the host name, or that of the proxy. Defaults to the resolver
    /// of the system. In its results, port 0 stands for the port of the URL.
    ///
    /// The certificate is verified for the host name in any case, so a wrong address can only make
    /// a fetch fail.
    pub fn resolver<F, Fut>(mut self, resolve: F) -> Self
    where
        F: Fn(&str) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
    {
        self.settings_mut().resolver.set_custom(resolve);
        self
    }

    /// Rejects addresses that are not on the public internet, such as private and loopback
    /// addresses.
    ///
    /// Off by default: inside networks of Alibaba Cloud, its hosts may resolve to private
    /// addresses. Does not apply to a host that a custom table writes as an IP address. With a
    /// [`proxy`](Self::proxy), it checks the address of the proxy and not that of the host.
    pub fn public_addresses_only(mut self) -> Self {
        self.settings_mut().resolver.set_public_only();
        self
    }

    /// Connects through an HTTP proxy (`http://host:port`) with `CONNECT`. TLS still ends at the
    /// key host, so the proxy sees only the host name. `HTTPS_PROXY` and similar variables are
    /// ignored.
    ///
    /// # Errors
    ///
    /// Fails with [`FetchErrorKind::ProxyUrl`] if `proxy` is a different kind of URL or contains a
    /// user name.
    pub fn proxy(mut self, proxy: &str) -> Result<Self, FetchError> {
        let uri: Uri = proxy.parse().map_err(|_| FetchError::new(Kind::ProxyUrl))?;
        let plain = uri.scheme() == Some(&Scheme::HTTP)
            && uri.authority().is_some_and(|a| !a.as_str().contains('@'))
            && matches!(
                uri.path_and_query().map(|path| path.as_str()),
                None | Some("/")
            );
        if !plain {
            return Err(FetchError::new(Kind::ProxyUrl));
        }
        self.settings_mut().proxy = Some(uri);
        Ok(self)
    }

    /// Sets the time limit for resolving the host (or the proxy) and connecting to it over TCP.
    /// Defaults to 1 s. The addresses share it: at most four are tried, two of IPv4 and two of IPv6
    /// if the host has both.
    pub fn connect_timeout(mut self, time: Duration) -> Self {
        self.settings_mut().connect_timeout = time;
        self
    }

    /// Sets the time limit of a whole fetch. Defaults to 2 s.
    pub fn timeout(mut self, time: Duration) -> Self {
        self.settings_mut().timeout = time;
        self
    }

    fn settings_mut(&mut self) -> &mut Settings {
        Arc::make_mut(&mut self.settings)
    }
}

impl Default for HttpsFetcher {
    fn default() -> Self {
        Self::new()
    }
}

impl FetchKey for HttpsFetcher {
    fn fetch(
        &self,
        url: &KeyUrl,
    ) -> Pin<Box<dyn Future<Output = Result<Bytes, FetchError>> + Send>> {
        let settings = Arc::clone(&self.settings);
        let url = url.clone();
        Box::pin(async move {
            match timeout(settings.timeout, settings.fetch(&url)).await {
                Ok(result) => result,
                Err(_) => Err(FetchError::new(Kind::Timeout)),
            }
        })
    }
}

impl Settings {
    /// hyper buffers up to this much of a response. The smallest limit that holds any accepted file
    /// bounds what a host can make us store.
    const READ_AHEAD: usize = fetch::MAX_FILE_LEN;
    const MAX_HEADERS: usize = 64;

    async fn fetch(&self, url: &KeyUrl) -> Result<Bytes, FetchError> {
        let tls = tls_config(&self.roots).await?;
        let tcp = Connector::new(self.resolver.clone(), self.connect_timeout);
        match &self.proxy {
            None => Self::exchange((tcp, tls).into(), url).await,
            Some(proxy) => {
                let tunnel = Tunnel::new(proxy.clone(), tcp);
                Self::exchange((tunnel, tls).into(), url).await
            }
        }
    }

    async fn exchange<C>(
        mut connector: HttpsConnector<C>,
        url: &KeyUrl,
    ) -> Result<Bytes, FetchError>
    where
        HttpsConnector<C>: Connect + Clone + Send + Sync + 'static,
    {
        connector.enforce_https();
        // A new client for each fetch, once a day: no pool, so a stale connection cannot fail it.
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .retry_canceled_requests(false)
            .http1_max_buf_size(Self::READ_AHEAD)
            .http1_max_headers(Self::MAX_HEADERS)
            .build::<_, Empty<Bytes>>(connector);
        let response = client.request(fetch::request(url)?).await;
        fetch::read(response.map_err(classify)?).await
    }
}

fn classify(error: ClientError) -> FetchError {
    let kind = match Failure::of(&error) {
        Failure::Resolve => Kind::Resolve,
        Failure::Connect => Kind::Connect,
        Failure::Tls => Kind::Tls,
        Failure::Timeout => Kind::Timeout,
        Failure::Interrupted => Kind::Interrupted,
    };
    FetchError::with_source(kind, error)
}
