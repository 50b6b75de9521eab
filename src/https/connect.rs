//! TCP connections: name resolution, address filter and time limit.

use std::{
    error::Error,
    fmt,
    future::Future,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
    vec,
};

use http::Uri;
use hyper_util::{
    client::legacy::connect::{
        HttpConnector,
        dns::{GaiResolver, Name},
    },
    rt::TokioIo,
};
use tokio::{net::TcpStream, time::timeout};
use tower_service::Service;

type BoxError = Box<dyn Error + Send + Sync>;
type BoxFuture<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

/// Resolves and connects within one time limit. The limit of [`HttpConnector`] itself applies to
/// each address family separately, and starts only after the name is resolved.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    tcp: HttpConnector<Resolver>,
    limit: Duration,
}

impl Connector {
    pub(crate) fn new(resolver: Resolver, limit: Duration) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(resolver);
        // The connector accepts only `http` URLs otherwise.
        tcp.enforce_http(false);
        // Divided among the addresses, so that one which does not respond leaves time for the next.
        tcp.set_connect_timeout(Some(limit));
        tcp.set_nodelay(true);
        Self { tcp, limit }
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = BoxFuture<Self::Response, BoxError>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let connecting = timeout(self.limit, self.tcp.call(to));
        Box::pin(async move { Ok(connecting.await??) })
    }
}

type Resolve = dyn Fn(&str) -> BoxFuture<Vec<SocketAddr>, io::Error> + Send + Sync;

/// The resolver of the system or a custom one, and a filter on its results.
#[derive(Clone, Default)]
pub(crate) struct Resolver {
    custom: Option<Arc<Resolve>>,
    public_only: bool,
}

#[cfg(feature = "fetch")]
impl Resolver {
    pub(crate) fn set_custom<F, Fut>(&mut self, resolve: F)
    where
        F: Fn(&str) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
    {
        self.custom = Some(Arc::new(move |host| Box::pin(resolve(host))));
    }

    pub(crate) fn set_public_only(&mut self) {
        self.public_only = true;
    }
}

impl Service<Name> for Resolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = NoAddress;
    type Future = BoxFuture<Self::Response, NoAddress>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), NoAddress>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let Self {
            custom,
            public_only,
        } = self.clone();
        Box::pin(async move {
            let found = match custom {
                Some(resolve) => resolve(name.as_str()).await,
                None => GaiResolver::new().call(name).await.map(Iterator::collect),
            };
            let mut addresses: Vec<_> = found.map_err(NoAddress::Unresolved)?;
            addresses.retain(|address| !public_only || is_public(address.ip()));
            keep_few(&mut addresses);
            match addresses.is_empty() {
                true => Err(NoAddress::NoneAllowed),
                false => Ok(addresses.into_iter()),
            }
        })
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver")
            .field("custom", &self.custom.is_some())
            .field("public_only", &self.public_only)
            .finish()
    }
}

/// The host has no usable address.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAddress {
    #[error("the host name could not be resolved")]
    Unresolved(#[source] io::Error),
    #[error("the host has no address that may be connected to")]
    NoneAllowed,
}

/// Keeps at most four addresses, two of each family if there are both.
///
/// The addresses of a family share the time limit, so twenty of them would leave each too little.
fn keep_few(addresses: &mut Vec<SocketAddr>) {
    let v4 = addresses.iter().any(SocketAddr::is_ipv4);
    let v6 = addresses.iter().any(SocketAddr::is_ipv6);
    let most = if v4 && v6 { 2 } else { 4 };
    let mut kept = [0; 2];
    addresses.retain(|address| {
        let [v4, v6] = &mut kept;
        let kept = if address.is_ipv4() { v4 } else { v6 };
        *kept += 1;
        *kept <= most
    });
}

/// Whether an address is globally reachable, by the IANA special-purpose registries (RFC 6890).
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = match (a, b) {
        // "This network"; carrier-grade NAT, which contains the metadata service of Alibaba Cloud;
        // benchmarking.
        (0, _) | (100, 64..=127) | (198, 18 | 19) => true,
        // IETF protocol assignments; 6to4 relays.
        (192, 0) => c == 0,
        (192, 88) => c == 99,
        _ => a >= 224,
    };
    !(special
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation())
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        // An IPv4 address translated by NAT64 (RFC 6052).
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            is_public_v4(Ipv4Addr::new(a, b, c, d))
        }
        // Teredo and other protocols, documentation, 6to4: parts of 2000::/3, which is the only
        // range that is globally routed.
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x2002 | 0x3fff, ..] => false,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "fetch")]
    #[test]
    fn says_what_it_is() {
        let mut resolver = Resolver::default();
        resolver.set_custom(|_| std::future::ready(Ok(Vec::new())));
        let shown = format!("{resolver:?}");
        assert_eq!(shown, "Resolver { custom: true, public_only: false }");
        let unknown = NoAddress::Unresolved(io::ErrorKind::NotFound.into());
        assert_eq!(unknown.to_string(), "the host name could not be resolved");
        assert!(unknown.source().is_some());
        let private = NoAddress::NoneAllowed;
        assert!(private.to_string().contains("may be connected to"));
        assert!(private.source().is_none());
    }

    #[tokio::test]
    async fn connections_send_small_segments_at_once() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut connector = Connector::new(Resolver::default(), Duration::from_secs(5));
        let to = format!("http://{address}/").parse().unwrap();
        let stream = connector.call(to).await.unwrap();
        assert!(stream.inner().nodelay().unwrap());
    }

    #[test]
    fn few_addresses_are_tried_and_of_both_families() {
        let few = |addresses: &[&str]| {
            let mut addresses: Vec<SocketAddr> = (addresses.iter())
                .map(|address| SocketAddr::new(address.parse().unwrap(), 0))
                .collect();
            keep_few(&mut addresses);
            let kept = addresses.iter().map(|address| address.ip().to_string());
            kept.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(few(&[]), "");
        assert_eq!(
            few(&["1.0.0.1", "1.0.0.2", "1.0.0.3", "1.0.0.4", "1.0.0.5"]),
            "1.0.0.1 1.0.0.2 1.0.0.3 1.0.0.4"
        );
        assert_eq!(few(&["::1", "::2", "::3", "::4", "::5"]), "::1 ::2 ::3 ::4");
        assert_eq!(
            few(&["::1", "1.0.0.1", "::2", "::3", "1.0.0.2", "1.0.0.3"]),
            "::1 1.0.0.1 ::2 1.0.0.2"
        );
        assert_eq!(few(&["1.0.0.1", "::1"]), "1.0.0.1 ::1");
    }

    #[test]
    fn what_is_public() {
        let public = |address: &str| is_public(address.parse().unwrap());
        for address in [
            "127.0.0.1",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.100.100.200",
            "0.0.0.0",
            "0.1.2.3",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "198.18.0.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "2002:7f00:1::",
            "::127.0.0.1",
        ] {
            assert!(!public(address), "{address}");
        }
        for address in [
            "1.1.1.1",
            "100.63.0.1",
            "100.128.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "223.255.255.255",
            "2400:3200::1",
            "2606:4700::1",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2001:4860:4860::8888",
        ] {
            assert!(public(address), "{address}");
        }
    }
}
