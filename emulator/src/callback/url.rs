//! Where callbacks go.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::uri::{Authority, Uri};

use super::network::{CallbackNetwork, Destination};
use crate::{
    catalogue::{CALLBACK_PRIVATE, CALLBACK_UNRESOLVED, CALLBACK_URL, CALLBACK_URLS},
    error::OssError,
};

const MAX_URLS: usize = 5;

/// A URL to call, written out with its scheme.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct CallbackUrl {
    text: String,
    host: String,
    port: u16,
    https: bool,
}

impl CallbackUrl {
    /// Up to five of them, with semicolons between.
    pub(super) fn list(text: &str) -> Result<Vec<Self>, OssError> {
        let refuse = |error: OssError| error.argument("callbackUrl", text);
        let urls: Vec<_> = text
            .split(';')
            .map(str::trim)
            .filter(|url| !url.is_empty())
            .collect();
        if urls.is_empty() {
            return Err(refuse(CALLBACK_URL));
        }
        if urls.len() > MAX_URLS {
            return Err(refuse(CALLBACK_URLS));
        }
        urls.into_iter()
            .map(|url| Self::parse(url).ok_or_else(|| refuse(CALLBACK_URL)))
            .collect()
    }

    fn parse(url: &str) -> Option<Self> {
        let text = if url.contains("://") {
            url.to_owned()
        } else {
            format!("http://{url}")
        };
        if !text.bytes().all(|b| b.is_ascii_graphic()) || text.contains('#') {
            return None;
        }
        let uri: Uri = text.parse().ok()?;
        let https = match uri.scheme_str()? {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let authority = uri.authority()?;
        let (host, port) = host_and_port(authority)?;
        Some(Self {
            host: host.to_owned(),
            port: port.unwrap_or(if https { 443 } else { 80 }),
            https,
            text,
        })
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn is_https(&self) -> bool {
        self.https
    }

    /// Asks for the address. It is asked once, and the callback goes there and nowhere else.
    pub(super) async fn resolve(
        &self,
        network: &dyn CallbackNetwork,
        allow_private: bool,
    ) -> Result<SocketAddr, OssError> {
        let refuse = |error: OssError| error.argument("callbackUrl", &*self.text);
        let found = match self.host.parse::<Ipv4Addr>() {
            Ok(address) => vec![SocketAddr::from((address, self.port))],
            // Resolvers read `123.456` as an address in an old notation; OSS does not.
            Err(_) if ends_in_a_number(&self.host) => Vec::new(),
            Err(_) => {
                let found = network.resolve(&self.host, self.port).await;
                found.map_err(|_| refuse(CALLBACK_UNRESOLVED))?
            }
        };
        // OSS calls over IPv4.
        let mut found = found.into_iter().filter(SocketAddr::is_ipv4).peekable();
        let first = *found.peek().ok_or_else(|| refuse(CALLBACK_UNRESOLVED))?;
        if !allow_private && found.any(|address| is_private(address.ip())) {
            return Err(refuse(CALLBACK_PRIVATE));
        }
        Ok(first)
    }

    pub(super) fn destination(&self, address: SocketAddr, sni: bool) -> Destination {
        Destination::new(address, &self.host, self.https, sni)
    }
}

fn host_and_port(authority: &Authority) -> Option<(&str, Option<u16>)> {
    let text = authority.as_str();
    let host = authority.host();
    if text.contains(['@', '[']) || host.is_empty() {
        return None;
    }
    match text.get(host.len()..) {
        Some("") => Some((host, None)),
        Some(port) => {
            let port = port.strip_prefix(':')?;
            let digits = port.bytes().all(|b| b.is_ascii_digit());
            let port: u16 = port.parse().ok().filter(|_| digits)?;
            (port > 0).then_some((host, Some(port)))
        }
        None => None,
    }
}

fn ends_in_a_number(host: &str) -> bool {
    let last = host.trim_end_matches('.').rsplit('.').next();
    last.is_some_and(|label| label.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether an address is not one of the public internet.
fn is_private(address: IpAddr) -> bool {
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
        // Shared address space, which Alibaba Cloud uses inside (RFC 6598).
        || (octets[0] == 100 && octets[1] & 0xC0 == 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_as_oss_takes_them() {
        for (text, urls) in [
            ("http://a.example/cb", &[("http://a.example/cb", 80)][..]),
            (
                "121.101.166.30/test.php",
                &[("http://121.101.166.30/test.php", 80)],
            ),
            (
                "https://a.example;b.example:8080/x?y=%E4;",
                &[
                    ("https://a.example", 443),
                    ("http://b.example:8080/x?y=%E4", 8080),
                ],
            ),
        ] {
            let parsed = CallbackUrl::list(text).unwrap();
            let parsed: Vec<_> = parsed.iter().map(|url| (url.as_str(), url.port)).collect();
            assert_eq!(parsed, urls, "{text}");
        }
        for bad in [
            "",
            ";",
            "host:test",
            "host:0",
            "host:",
            "host:65536",
            "host:+1",
            "ftp://h/",
            "http://[::1]/",
            "http://u@h/",
            "http:///x",
            "http://h/\u{4e2d}",
            "http://h/a b",
        ] {
            let error = CallbackUrl::list(bad).unwrap_err();
            assert_eq!(error.ec(), Some("0007-00000004"), "{bad}");
        }
        let six = "a.example;".repeat(6);
        assert_eq!(
            CallbackUrl::list(&six).unwrap_err().ec(),
            Some("0007-00000005")
        );
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
