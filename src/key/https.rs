//! Fetching keys over HTTPS.
//!
//! [`HttpsFetcher`] brings its own client. An application can bring another one, as a [`FetchKey`].

mod error;
#[cfg(test)]
mod tests;

use std::{
    error::Error, fmt, future::Future, io, net::SocketAddr, pin::Pin, sync::Arc, time::Duration,
};

use bytes::Bytes;
use http::{
    Request, Response, StatusCode, Uri,
    header::{ACCEPT_ENCODING, CONTENT_ENCODING, RETRY_AFTER, USER_AGENT},
    uri::Scheme,
};
use http_body::Body;
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::time::timeout;

use self::error::FetchErrorKind as Kind;
use super::url::KeyUrl;
use crate::https::{self, Connector, Failure, Resolver, Roots};

pub use error::{FetchError, FetchErrorKind};

type FetchFuture = Pin<Box<dyn Future<Output = Result<Bytes, FetchError>> + Send>>;

/// The maximum length of a key file, in bytes. The published one has 182 bytes, one with a key of
/// 4,096 bits has 800.
const MAX_FILE_LEN: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;

/// Fetches the file at a [`KeyUrl`], which contains one PEM block.
///
/// [`FetchedKeys`](crate::key::FetchedKeys) fetches one path at a time, in a task that it cancels
/// after its time limit. It decodes the file and decides when to fetch again.
///
/// A fetcher must verify the certificate of the host, and must accept only status 200 and a small
/// body. It must not follow redirects or decompress bodies, and should not store cookies.
/// [`HttpsFetcher`] does all of that.
pub trait FetchKey: Send + Sync {
    /// Fetches the content of the file at `url`.
    fn fetch(
        &self,
        url: &KeyUrl,
    ) -> Pin<Box<dyn Future<Output = Result<Bytes, FetchError>> + Send>>;
}

impl<F: FetchKey + ?Sized> FetchKey for Arc<F> {
    fn fetch(&self, url: &KeyUrl) -> FetchFuture {
        (**self).fetch(url)
    }
}

impl fmt::Debug for dyn FetchKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FetchKey")
    }
}

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
/// use tower_aliyun_oss::key::{FetchedKeys, HttpsFetcher, KeyTable};
///
/// // A private store with a certificate from a private CA.
/// let roots = std::fs::read("/etc/store/ca.pem")?;
/// let keys = FetchedKeys::builder()
///     .table(KeyTable::own("store.internal:8443", ["/keys/callback.pem"])?)
///     .fetcher(HttpsFetcher::new().root_certificates(&roots)?)
///     .build();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a fetcher does nothing until a key source uses it"]
pub struct HttpsFetcher {
    roots: Roots,
    resolver: Resolver,
    proxy: Option<Uri>,
    timeout: Duration,
}

impl HttpsFetcher {
    /// Creates a fetcher with the roots and the resolver of the system, and without a proxy.
    ///
    /// Reads no files and does not connect until the first fetch.
    pub fn new() -> Self {
        Self {
            roots: Roots::default(),
            resolver: Resolver::default(),
            proxy: None,
            timeout: Duration::from_secs(2),
        }
    }

    /// Trusts these root certificates, one or more in PEM, in place of those of the system.
    ///
    /// # Errors
    ///
    /// Fails with [`FetchErrorKind::RootsPem`] if `pem` contains no certificate, or one that cannot
    /// be a root.
    pub fn root_certificates(self, pem: &[u8]) -> Result<Self, FetchError> {
        let roots = Roots::from_pem(pem).ok_or(FetchError::new(Kind::RootsPem))?;
        Ok(Self { roots, ..self })
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
        self.resolver = Resolver::custom(resolve);
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
    pub fn proxy(self, proxy: &str) -> Result<Self, FetchError> {
        let plain = |uri: &Uri| {
            uri.scheme() == Some(&Scheme::HTTP)
                && uri.authority().is_some_and(|it| !it.as_str().contains('@'))
                && uri.path_and_query().is_none_or(|path| path == "/")
        };
        match proxy.parse() {
            Ok(uri) if plain(&uri) => Ok(Self {
                proxy: Some(uri),
                ..self
            }),
            _ => Err(FetchError::new(Kind::ProxyUrl)),
        }
    }

    /// Sets the time limit of a fetch. Defaults to 2 s. Half of it is for resolving the host (or
    /// the proxy) and connecting to it over TCP. The addresses share that half: at most four are
    /// tried, two of IPv4 and two of IPv6 if the host has both.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    async fn exchange(self, url: KeyUrl) -> Result<Bytes, FetchError> {
        let request = Request::get(url.to_string())
            .header(USER_AGENT, https::USER_AGENT)
            .header(ACCEPT_ENCODING, "identity")
            .body(Empty::<Bytes>::new());
        let request = request.map_err(|why| FetchError::with_source(Kind::Connect, why))?;
        let tcp = Connector::new(self.resolver, self.timeout / 2).through(self.proxy);
        let connector = https::connector(tcp, &self.roots).await;
        let connector = connector.map_err(|why| FetchError::with_source(Kind::NoTls, why))?;
        // A new client for each fetch, once a day: no pool, so a stale connection cannot fail it.
        // hyper buffers up to this much of a response, which bounds what a host can have us store.
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .retry_canceled_requests(false)
            .http1_max_buf_size(MAX_FILE_LEN)
            .http1_max_headers(MAX_HEADERS)
            .build(connector);
        let response = client.request(request).await.map_err(|error| {
            let kind = match Failure::of(&error) {
                Failure::Resolve => Kind::Resolve,
                Failure::Connect => Kind::Connect,
                Failure::Tls => Kind::Tls,
                Failure::Timeout => Kind::Timeout,
                Failure::Interrupted => Kind::Interrupted,
            };
            FetchError::with_source(kind, error)
        });
        read(response?).await
    }
}

impl Default for HttpsFetcher {
    fn default() -> Self {
        Self::new()
    }
}

impl FetchKey for HttpsFetcher {
    fn fetch(&self, url: &KeyUrl) -> FetchFuture {
        let (limit, exchange) = (self.timeout, self.clone().exchange(url.clone()));
        Box::pin(async move {
            let result = timeout(limit, exchange).await;
            result.unwrap_or_else(|_| Err(FetchError::new(Kind::Timeout)))
        })
    }
}

/// Reads the body of a response. Accepts only status 200 and a small body without content coding.
async fn read<B>(response: Response<B>) -> Result<Bytes, FetchError>
where
    B: Body<Error: Into<Box<dyn Error + Send + Sync>>>,
{
    let (head, body) = response.into_parts();
    if head.status != StatusCode::OK {
        let mut error = FetchError::from_status(head.status);
        // In seconds (RFC 9110 section 10.2.3). A date would depend on the clocks of both hosts.
        let after = head.headers.get(RETRY_AFTER);
        let seconds = after.and_then(|it| it.to_str().ok()?.parse().ok());
        error.retry_after = seconds.map(Duration::from_secs);
        return Err(error);
    }
    let mut codings = head.headers.get_all(CONTENT_ENCODING).iter();
    if codings.any(|coding| coding != "identity") {
        return Err(FetchError::new(Kind::Encoding));
    }
    // `Limited` fails only after reading that much; a declared length is rejected before.
    if body.size_hint().lower() > MAX_FILE_LEN as u64 {
        return Err(FetchError::new(Kind::TooLarge));
    }
    match Limited::new(body, MAX_FILE_LEN).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(FetchError::new(Kind::TooLarge)),
        Err(error) => Err(FetchError::with_source(Kind::Interrupted, error)),
    }
}
