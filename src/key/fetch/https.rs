//! Fetching over https.

use std::{
    error::Error, fmt, future::Future, io, net::SocketAddr, pin::Pin, sync::Arc, time::Duration,
};

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
use tokio::time::{error::Elapsed, timeout};

use super::{
    FetchKey, MAX_FILE_LEN,
    connect::Connector,
    error::{FetchError, FetchErrorKind as Kind},
    resolve::{NoAddress, Resolver},
    response,
    tls::{self, Roots},
};
use crate::key::KeyUrl;

/// Fetches over https from the host that the table of the key source names, and from nowhere else.
///
/// A fetch is one connection and one `GET`: TLS 1.2 or 1.3 with the certificate checked against the name, HTTP/1.1,
/// status 200, at most 16 KiB; connected to within 1 s, all done within 2 s. No redirect is followed, nothing is
/// decompressed, no cookie is kept, and no environment variable makes it use a proxy. Nothing stays of it: the next
/// one starts anew.
///
/// The cryptography is that of the rustls provider which the application has installed, else a built-in one for x86-64
/// and AArch64. The roots are those of the system (`SSL_CERT_FILE` and `SSL_CERT_DIR` are heeded), unless some are
/// [given](HttpsFetcherBuilder::root_certificates).
#[derive(Clone, Debug)]
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
    /// With the roots and the resolver of the system, and without a proxy. Reads and connects to nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// To change what [`new`](Self::new) takes.
    pub fn builder() -> HttpsFetcherBuilder {
        HttpsFetcherBuilder {
            settings: Settings {
                roots: Roots::default(),
                resolver: Resolver::default(),
                proxy: None,
                connect_timeout: Duration::from_secs(1),
                timeout: Duration::from_secs(2),
            },
        }
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
    /// A connection may be read ahead by as much, so what a host can make us hold is little.
    const READ_AHEAD: usize = MAX_FILE_LEN;
    const MAX_HEADERS: usize = 64;

    async fn fetch(&self, url: &KeyUrl) -> Result<Bytes, FetchError> {
        let tls = tls::config(&self.roots).await?;
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
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .retry_canceled_requests(false)
            .http1_max_buf_size(Self::READ_AHEAD)
            .http1_max_headers(Self::MAX_HEADERS)
            .build::<_, Empty<Bytes>>(connector);
        let answer = client.request(response::request(url)?).await;
        response::read(answer.map_err(lost)?).await
    }
}

fn lost(error: ClientError) -> FetchError {
    let kind = if tls::find::<rustls::Error>(&error).is_some() {
        Kind::Tls
    } else if tls::find::<NoAddress>(&error).is_some() {
        Kind::Resolve
    } else if tls::find::<Elapsed>(&error).is_some() {
        Kind::Timeout
    } else if error.is_connect() {
        Kind::Connect
    } else {
        Kind::Interrupted
    };
    FetchError::with_source(kind, error)
}

/// Changes what an [`HttpsFetcher`] takes; from [`HttpsFetcher::builder`].
///
/// ```no_run
/// use std::time::Duration;
/// use tower_aliyun_oss::key::{FetchedKeys, HttpsFetcher, KeyTable};
///
/// // A store of your own, with a certificate of your own.
/// let roots = std::fs::read("/etc/store/ca.pem")?;
/// let fetcher = HttpsFetcher::builder()
///     .root_certificates(&roots)?
///     .timeout(Duration::from_millis(500))
///     .build();
/// let keys = FetchedKeys::builder()
///     .table(KeyTable::own("store.internal:8443", ["/keys/callback.pem"])?)
///     .fetcher(fetcher)
///     .build();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it builds"]
pub struct HttpsFetcherBuilder {
    settings: Settings,
}

impl HttpsFetcherBuilder {
    /// Trusts these roots and not those of the system: certificates in PEM, as many as there are.
    ///
    /// # Errors
    ///
    /// When there is none, or one that cannot be a root.
    pub fn root_certificates(mut self, pem: &[u8]) -> Result<Self, HttpsFetcherError> {
        self.settings.roots = Roots::from_pem(pem).ok_or(HttpsFetcherError::Roots)?;
        Ok(self)
    }

    /// Finds the addresses of the host (or of the proxy) in another way than the system does. A port of 0 stands for
    /// that of the URL. The certificate is checked as ever, so a wrong address can only make a fetch fail.
    pub fn resolver<F, Fut>(mut self, resolve: F) -> Self
    where
        F: Fn(&str) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
    {
        self.settings.resolver.set_own(resolve);
        self
    }

    /// Connects to no address that is private, of this machine, or else no place on the public internet.
    ///
    /// Not by default: in a network of Alibaba Cloud its own hosts may have such addresses. A host that a table of your
    /// own writes as an address is not looked up, and not stopped by this. With a [`proxy`](Self::proxy) it is the proxy's
    /// address that is checked, not that of the host.
    pub fn public_addresses_only(mut self) -> Self {
        self.settings.resolver.set_public_only();
        self
    }

    /// Goes through this HTTP proxy (`http://host:port`), which is asked to `CONNECT` to the host: TLS ends there, and
    /// the proxy sees the name and nothing else. The variables `HTTPS_PROXY` and the like are never read.
    ///
    /// # Errors
    ///
    /// When it is another kind of URL, or holds a user name.
    pub fn proxy(mut self, proxy: &str) -> Result<Self, HttpsFetcherError> {
        let uri: Uri = proxy.parse().map_err(|_| HttpsFetcherError::Proxy)?;
        let plain = uri.scheme() == Some(&Scheme::HTTP)
            && uri.authority().is_some_and(|a| !a.as_str().contains('@'))
            && matches!(
                uri.path_and_query().map(|path| path.as_str()),
                None | Some("/")
            );
        if !plain {
            return Err(HttpsFetcherError::Proxy);
        }
        self.settings.proxy = Some(uri);
        Ok(self)
    }

    /// How long it may take to look up the host (or the proxy) and to connect to it by TCP; 1 s by default. Each address
    /// has its share of that: at most four are tried, two of IPv4 and two of IPv6 if there are both.
    pub fn connect_timeout(mut self, time: Duration) -> Self {
        self.settings.connect_timeout = time;
        self
    }

    /// How long a fetch may take from beginning to end; 2 s by default.
    pub fn timeout(mut self, time: Duration) -> Self {
        self.settings.timeout = time;
        self
    }

    /// The fetcher.
    #[must_use]
    pub fn build(self) -> HttpsFetcher {
        HttpsFetcher {
            settings: Arc::new(self.settings),
        }
    }
}

/// Why an [`HttpsFetcher`] cannot be as it was asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum HttpsFetcherError {
    /// No certificate in PEM, or one that cannot be a root.
    Roots,
    /// No `http://host:port`.
    Proxy,
}

impl fmt::Display for HttpsFetcherError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Roots => "roots are one or more certificates in pem",
            Self::Proxy => "a proxy is written http://host:port, without a user name",
        })
    }
}

impl Error for HttpsFetcherError {}
