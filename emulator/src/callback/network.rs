//! The network of callbacks: name resolution, the check for public addresses, and connections.

use std::{
    future::Future,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
};

use http::Uri;
use tokio::net::{TcpStream, lookup_host};

use super::connection::{Connection, Destination};
#[cfg(feature = "tls")]
use super::tls::CallbackTls;
use crate::errors::{CALLBACK_PRIVATE, CALLBACK_UNRESOLVED, OssError};

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Resolves host names and opens connections for callbacks.
///
/// The default is [`SystemNetwork`]. Implement this trait to redirect callbacks in tests. For each
/// URL the emulator resolves the host once, checks all addresses, connects to the first and speaks
/// HTTP/1.1. If the URL is an `https` URL, [`connect`](Self::connect) must also perform the TLS
/// handshake, with `CallbackTls` of the feature `tls` or with another implementation.
///
/// ```
/// use std::{future::Future, io, net::SocketAddr, pin::Pin};
/// use aliyun_oss_emulator::{CallbackNetwork, Connection, Destination, Emulator, SystemNetwork};
///
/// type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
///
/// /// Resolves `app.example` to this machine.
/// struct Development(SystemNetwork);
///
/// impl CallbackNetwork for Development {
///     fn resolve<'a>(
///         &'a self,
///         host: &'a str,
///         port: u16,
///     ) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
///         match host {
///             "app.example" => Box::pin(async { Ok(vec![([127, 0, 0, 1], 8080).into()]) }),
///             _ => self.0.resolve(host, port),
///         }
///     }
///
///     fn connect<'a>(&'a self, to: &'a Destination) -> BoxFuture<'a, io::Result<Connection>> {
///         self.0.connect(to)
///     }
/// }
///
/// let settings = Emulator::builder()
///     .network(Development(SystemNetwork::new()))
///     .allow_private_callbacks();
/// # let _ = settings;
/// ```
pub trait CallbackNetwork: Send + Sync {
    /// Returns the addresses of a host name, each with `port`.
    fn resolve<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>>;

    /// Opens a connection to [`Destination::address`].
    fn connect<'a>(&'a self, to: &'a Destination) -> BoxFuture<'a, io::Result<Connection>>;
}

/// The network of the machine: its resolver, and TCP without TLS.
///
/// Callbacks to `https` URLs fail with `Error status : 502.`, which is what OSS returns if the TLS
/// handshake fails. `with_tls`, with the feature `tls`, adds TLS.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SystemNetwork {
    #[cfg(feature = "tls")]
    tls: Option<CallbackTls>,
}

impl SystemNetwork {
    /// Creates the network.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates the network with TLS for `https` URLs.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn with_tls(tls: CallbackTls) -> Self {
        Self { tls: Some(tls) }
    }

    #[cfg(feature = "tls")]
    async fn connect_tls(&self, to: &Destination) -> io::Result<Connection> {
        match &self.tls {
            Some(tls) => tls.handshake(to, connect(to.address()).await?).await,
            None => Err(no_tls(
                "use `SystemNetwork::with_tls`, or `SpawnedEmulator::callback_tls`",
            )),
        }
    }

    #[cfg(not(feature = "tls"))]
    async fn connect_tls(&self, _: &Destination) -> io::Result<Connection> {
        Err(no_tls("enable the feature `tls`"))
    }
}

// Without TLS the callback would go out in plain text.
fn no_tls(remedy: &str) -> io::Error {
    let error = format!("the network of callbacks has no TLS; {remedy}");
    io::Error::new(io::ErrorKind::Unsupported, error)
}

impl CallbackNetwork for SystemNetwork {
    fn resolve<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move { Ok(lookup_host((host, port)).await?.collect()) })
    }

    fn connect<'a>(&'a self, to: &'a Destination) -> BoxFuture<'a, io::Result<Connection>> {
        Box::pin(async move {
            match to.is_https() {
                true => self.connect_tls(to).await,
                false => Ok(Connection::new(connect(to.address()).await?)),
            }
        })
    }
}

impl<N: CallbackNetwork + ?Sized> CallbackNetwork for Arc<N> {
    fn resolve<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        (**self).resolve(host, port)
    }

    fn connect<'a>(&'a self, to: &'a Destination) -> BoxFuture<'a, io::Result<Connection>> {
        (**self).connect(to)
    }
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    // Otherwise the body of a callback may wait for the acknowledgement of its head.
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The private addresses that callbacks may go to.
#[derive(Clone, Debug, Default)]
pub(crate) struct AllowedPrivate {
    all: bool,
    /// Hosts in lower case, and ports.
    named: Vec<(String, u16)>,
}

impl AllowedPrivate {
    pub(crate) fn allow_all(&mut self) {
        self.all = true;
    }

    /// Allows the host and the port of a URL. Returns `false` if it is not an `http` or `https`
    /// URL.
    pub(crate) fn allow(&mut self, url: &str) -> bool {
        let named = host_and_port(url);
        let is_url = named.is_some();
        self.named.extend(named);
        is_url
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.all && self.named.is_empty()
    }

    fn contains(&self, host: &str, port: u16) -> bool {
        let mut named = self.named.iter();
        self.all || named.any(|(known, at)| *at == port && known.eq_ignore_ascii_case(host))
    }
}

/// Returns the host in lower case and the port of an `http` or `https` URL.
pub(super) fn host_and_port(url: &str) -> Option<(String, u16)> {
    let uri: Uri = url.parse().ok()?;
    let port = match (uri.scheme_str()?, uri.port_u16()) {
        ("http" | "https", Some(port)) => port,
        ("http", None) => 80,
        ("https", None) => 443,
        _ => return None,
    };
    Some((uri.host()?.to_ascii_lowercase(), port))
}

/// Resolves the host of a callback URL to the address that the callback goes to.
///
/// The host is resolved once and the connection uses the result, so a name that resolves to a
/// private address later (DNS rebinding) does not pass the check.
pub(super) async fn resolve(
    network: &dyn CallbackNetwork,
    host: &str,
    port: u16,
    allowed: &AllowedPrivate,
) -> Result<SocketAddr, OssError> {
    let found = match host.parse::<Ipv4Addr>() {
        Ok(address) => vec![SocketAddr::from((address, port))],
        // Resolvers accept `123.456` as an old notation of an address; OSS does not.
        Err(_) if ends_in_a_number(host) => return Err(CALLBACK_UNRESOLVED),
        Err(_) => {
            let found = network.resolve(host, port).await;
            found.map_err(|_| CALLBACK_UNRESOLVED)?
        }
    };
    // OSS calls over IPv4.
    let mut found = found.into_iter().filter(SocketAddr::is_ipv4).peekable();
    let first = *found.peek().ok_or(CALLBACK_UNRESOLVED)?;
    // Every address counts, or a host with one public address could hide a private one.
    if !allowed.contains(host, port) && found.any(|address| is_private(address.ip())) {
        return Err(CALLBACK_PRIVATE);
    }
    Ok(first)
}

fn ends_in_a_number(host: &str) -> bool {
    let last = host.trim_end_matches('.').rsplit('.').next();
    last.is_some_and(|label| label.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether an address is outside of the public IPv4 internet.
fn is_private(address: IpAddr) -> bool {
    // OSS does not call over IPv6, so no such address is acceptable.
    let IpAddr::V4(v4) = address else {
        return true;
    };
    let octets = v4.octets();
    v4.is_private()
        || v4.is_loopback()
        || v4.is_link_local()
        || v4.is_broadcast()
        || v4.is_multicast()
        || octets[0] == 0
        || octets[0] >= 240
        // Shared address space (RFC 6598), which Alibaba Cloud uses internally. Its metadata
        // service is at 100.100.100.200.
        || (octets[0] == 100 && octets[1] & 0xC0 == 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn callbacks_send_small_segments_at_once() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = connect(listener.local_addr().unwrap()).await.unwrap();
        assert!(stream.nodelay().unwrap());
    }

    #[test]
    fn a_named_url_allows_its_host_and_port() {
        let mut allowed = AllowedPrivate::default();
        for no_url in [
            "",
            "app",
            "app:80",
            "ftp://app/",
            "/oss/callback",
            "http://",
        ] {
            assert!(!allowed.allow(no_url), "{no_url}");
        }
        assert!(allowed.is_empty());
        assert!(allowed.allow("http://App.example:8080/oss/callback"));
        assert!(allowed.allow("https://127.0.0.1"));
        for (host, port, expected) in [
            ("app.example", 8080, true),
            ("APP.example", 8080, true),
            ("app.example", 80, false),
            ("127.0.0.1", 443, true),
            ("127.0.0.1", 80, false),
            ("evil.app.example", 8080, false),
        ] {
            assert_eq!(allowed.contains(host, port), expected, "{host}:{port}");
        }
        assert!(!allowed.is_empty());
        allowed.allow_all();
        assert!(allowed.contains("10.0.0.1", 1));
    }

    #[test]
    fn private_addresses() {
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.1.1",
            "100.64.0.1",
            "100.100.100.200",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
        ] {
            assert!(is_private(private.parse().unwrap()), "{private}");
        }
        for public in ["8.8.8.8", "100.128.0.1", "172.32.0.1", "11.0.0.1"] {
            assert!(!is_private(public.parse().unwrap()), "{public}");
        }
    }
}
