//! The addresses of the key host.

use std::{
    error::Error,
    fmt,
    future::Future,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    vec,
};

use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use tower_service::Service;

type Resolving<A> = Pin<Box<dyn Future<Output = Result<A, NoAddress>> + Send>>;
type Own =
    dyn Fn(&str) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>> + Send + Sync;

/// The resolver of the system, or one that was given.
#[derive(Clone, Default)]
pub(super) struct Resolver {
    own: Option<Arc<Own>>,
    public_only: bool,
}

impl Resolver {
    pub(super) fn set_own<F, Fut>(&mut self, resolve: F)
    where
        F: Fn(&str) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
    {
        self.own = Some(Arc::new(move |host| Box::pin(resolve(host))));
    }

    pub(super) fn set_public_only(&mut self) {
        self.public_only = true;
    }
}

impl Service<Name> for Resolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = NoAddress;
    type Future = Resolving<Self::Response>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), NoAddress>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let Self { own, public_only } = self.clone();
        Box::pin(async move {
            let found = match own {
                Some(resolve) => resolve(name.as_str()).await,
                None => GaiResolver::new().call(name).await.map(Iterator::collect),
            };
            let mut addresses: Vec<_> = found.map_err(|why| NoAddress(Some(why)))?;
            addresses.retain(|address| !public_only || is_public(address.ip()));
            keep_few(&mut addresses);
            match addresses.is_empty() {
                true => Err(NoAddress(None)),
                false => Ok(addresses.into_iter()),
            }
        })
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver")
            .field("own", &self.own.is_some())
            .field("public_only", &self.public_only)
            .finish()
    }
}

/// The host has no address, or none that may be connected to.
#[derive(Debug)]
pub(super) struct NoAddress(Option<io::Error>);

impl fmt::Display for NoAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Some(_) => "the name could not be resolved",
            None => "there is no address that may be connected to",
        })
    }
}

impl Error for NoAddress {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.as_ref().map(|why| why as _)
    }
}

/// At most four, and half of them of each family if there are both. The time to connect is divided among the addresses
/// of a family, so a name with twenty of them would leave each too little.
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

/// By the registries of special-purpose addresses (RFC 6890, and the tables of IANA it set up).
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = match (a, b) {
        // This network; shared with carriers, where Alibaba Cloud has its metadata; benchmarks.
        (0, _) | (100, 64..=127) | (198, 18 | 19) => true,
        // Protocol assignments, relays of 6to4.
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
        // An IPv4 address behind the translation of RFC 6052.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            is_public_v4(Ipv4Addr::new(a, b, c, d))
        }
        // Teredo and other protocols, documentation, 6to4: all within the one range that is routed.
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x2002 | 0x3fff, ..] => false,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_it_is() {
        let mut resolver = Resolver::default();
        resolver.set_own(|_| std::future::ready(Ok(Vec::new())));
        let shown = format!("{resolver:?}");
        assert_eq!(shown, "Resolver { own: true, public_only: false }");
        let unknown = NoAddress(Some(io::ErrorKind::NotFound.into()));
        assert_eq!(unknown.to_string(), "the name could not be resolved");
        assert!(unknown.source().is_some());
        let private = NoAddress(None);
        assert!(private.to_string().contains("may be connected to"));
        assert!(private.source().is_none());
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
