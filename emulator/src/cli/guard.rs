//! Who may use `/_emulator/`.
//!
//! A developer's browser reaches the emulator, so every page that it shows could try to. The
//! attacks, and what stops them:
//!
//! | attack | check |
//! |---|---|
//! | A page of another origin sends a form or a `fetch`. | `Origin`, and `Sec-Fetch-Site` of requests without `Origin` |
//! | A page of another origin includes a script, an image or a frame. | `Sec-Fetch-Site`, and headers of the response |
//! | A page resolves its own host name to this machine (DNS rebinding), so that it has the same origin. | `Host` must be an address, `localhost` or a host that the options name |
//! | An object is a page, and so has the origin of the emulator. | It is [sandboxed](sandbox), so its origin is `null` |
//! | Another machine connects. | the address that the connection arrived at, unless `--console all` |
//!
//! Requests through a proxy on this machine arrive from this machine, whoever sent them. The program
//! cannot distinguish them, so the README says to turn the endpoints off behind a proxy.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue, Method, header, request::Parts};

use super::options::{ConsoleAccess, PublicUrl};

/// The documents of browsers that the emulator serves as objects: without access to anything else
/// of its origin.
const SANDBOX: HeaderValue = HeaderValue::from_static(
    "sandbox allow-downloads allow-forms allow-modals allow-popups allow-scripts",
);

/// Why a request must not use `/_emulator/`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Denied {
    /// The option turns it off for this client.
    Off,
    /// No client of this emulator uses this host.
    Host,
    /// The request comes from a page of another origin.
    CrossSite,
}

impl Denied {
    pub(super) fn message(self) -> &'static str {
        match self {
            Self::Off => {
                "/_emulator/ is off for this client; start the emulator with --console all, or connect \
                 to a loopback address"
            }
            Self::Host => {
                "the Host of the request is not one of this emulator; use an IP address or localhost, \
                 or name the host with --public-url"
            }
            Self::CrossSite => "pages of other origins may not use /_emulator/",
        }
    }
}

/// The settings of the check.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    pub(super) access: ConsoleAccess,
    pub(super) public_url: Option<PublicUrl>,
    /// Whether the program itself serves HTTPS.
    pub(super) tls: bool,
}

impl Guard {
    /// Checks a request. `arrived_at` is the local address of its connection.
    pub(super) fn check(&self, parts: &Parts, arrived_at: IpAddr) -> Result<(), Denied> {
        match self.access {
            ConsoleAccess::Off => return Err(Denied::Off),
            ConsoleAccess::Local if !is_loopback(arrived_at) => return Err(Denied::Off),
            ConsoleAccess::Local | ConsoleAccess::All => {}
        }
        let authority = authority(parts).ok_or(Denied::Host)?;
        if !self.is_own_host(&host(authority)) {
            return Err(Denied::Host);
        }
        self.check_origin(&parts.method, &parts.headers, parts.uri.path(), authority)
    }

    /// Whether the client of a request with this authority speaks HTTPS: to the program, or to a
    /// proxy in front of it.
    pub(super) fn is_https(&self, authority: &str) -> bool {
        let host = host(authority);
        let public = self.public_url.as_ref();
        let proxied = public.is_some_and(|url| {
            // Also a bucket in front of the host.
            let bucket = host.strip_suffix(&*url.host);
            url.https && bucket.is_some_and(|bucket| bucket.is_empty() || bucket.ends_with('.'))
        });
        self.tls || proxied
    }

    fn is_own_host(&self, host: &str) -> bool {
        let public = self.public_url.as_ref().is_some_and(|url| url.host == host);
        match host.parse::<IpAddr>() {
            // A page cannot be at an address by name resolution.
            Ok(address) => is_loopback(address) || self.access == ConsoleAccess::All,
            // An attacker cannot register a name without dots, such as that of a container.
            Err(_) => {
                let is_short = !host.is_empty() && !host.contains('.');
                public || host == "localhost" || (self.access == ConsoleAccess::All && is_short)
            }
        }
    }

    fn check_origin(
        &self,
        method: &Method,
        headers: &HeaderMap,
        path: &str,
        authority: &str,
    ) -> Result<(), Denied> {
        let scheme = if self.is_https(authority) {
            "https"
        } else {
            "http"
        };
        let own = format!("{scheme}://{authority}");
        let mut origins = headers.get_all(header::ORIGIN).iter();
        if !origins.all(|origin| origin.as_bytes().eq_ignore_ascii_case(own.as_bytes())) {
            return Err(Denied::CrossSite);
        }
        let fetch = |name| headers.get(name).map(HeaderValue::as_bytes);
        match fetch("sec-fetch-site") {
            // Not a browser, or an old one.
            None => Ok(()),
            // The page itself, or an address that the user has typed.
            Some(b"same-origin" | b"none") => Ok(()),
            // A link to the page, which shows it and sends nothing.
            Some(_)
                if *method == Method::GET
                    && path == "/_emulator/"
                    && fetch("sec-fetch-mode") == Some(b"navigate")
                    && fetch("sec-fetch-dest") == Some(b"document") =>
            {
                Ok(())
            }
            Some(_) => Err(Denied::CrossSite),
        }
    }
}

/// Makes a browser show an object without access to what else the emulator serves at its origin.
///
/// Scripts of the object run, but in an origin of its own. OSS serves objects from another host
/// than its console.
pub(super) fn sandbox(headers: &mut HeaderMap) {
    headers.insert(header::CONTENT_SECURITY_POLICY, SANDBOX);
}

pub(super) fn authority(parts: &Parts) -> Option<&str> {
    // RFC 9112 section 3.2.2: the authority of an absolute target overrides `Host`.
    match parts.uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => {
            let mut hosts = parts.headers.get_all(header::HOST).iter();
            let host = hosts.next()?.to_str().ok()?;
            hosts.next().is_none().then_some(host)
        }
    }
}

/// Returns the host in lower case, without its port and without the brackets of IPv6.
fn host(authority: &str) -> String {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    host.to_ascii_lowercase()
}

fn is_loopback(address: IpAddr) -> bool {
    // An IPv4 connection to a socket of IPv6 has an address such as `::ffff:127.0.0.1`.
    address.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn guard(access: ConsoleAccess) -> Guard {
        Guard {
            access,
            public_url: Some("https://oss.test".parse().unwrap()),
            tls: false,
        }
    }

    fn check(
        access: ConsoleAccess,
        at: IpAddr,
        host: &str,
        headers: &[(&str, &str)],
    ) -> Result<(), Denied> {
        let mut request = Request::post("/_emulator/reset").header("host", host);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        guard(access).check(&parts, at)
    }

    #[test]
    fn em_03_only_connections_to_this_machine_unless_asked_for() {
        use ConsoleAccess::{All, Local, Off};
        let outside: IpAddr = "172.17.0.2".parse().unwrap();
        for (access, at, expected) in [
            (Local, LOCAL, Ok(())),
            (Local, "::1".parse().unwrap(), Ok(())),
            (Local, "::ffff:127.0.0.1".parse().unwrap(), Ok(())),
            (Local, outside, Err(Denied::Off)),
            (Local, "::ffff:10.0.0.1".parse().unwrap(), Err(Denied::Off)),
            (All, outside, Ok(())),
            (Off, LOCAL, Err(Denied::Off)),
        ] {
            assert_eq!(
                check(access, at, "127.0.0.1:9000", &[]),
                expected,
                "{access:?} {at}"
            );
        }
    }

    #[test]
    fn em_02_dns_rebinding_fails() {
        for (host, local, all) in [
            ("127.0.0.1:9000", true, true),
            ("127.0.0.1", true, true),
            ("LocalHost:9000", true, true),
            ("[::1]:9000", true, true),
            ("oss.test", true, true),
            ("OSS.test:80", true, true),
            ("192.168.1.7:9000", false, true),
            ("oss:9000", false, true),
            ("evil.example:9000", false, false),
            ("127.0.0.1.evil.example:9000", false, false),
            ("localhost.evil.example", false, false),
            ("localhost.", false, false),
            ("examplebucket.localhost:9000", false, false),
            ("x@127.0.0.1:9000", false, false),
            ("oss.test.evil.example", false, false),
            ("", false, false),
        ] {
            for (access, allowed) in [(ConsoleAccess::Local, local), (ConsoleAccess::All, all)] {
                let expected = if allowed { Ok(()) } else { Err(Denied::Host) };
                assert_eq!(
                    check(access, LOCAL, host, &[]),
                    expected,
                    "{access:?} {host}"
                );
            }
        }
        let two = [("host", "evil.example")];
        let checked = check(ConsoleAccess::Local, LOCAL, "127.0.0.1", &two);
        assert_eq!(checked, Err(Denied::Host));
    }

    #[test]
    fn em_01_requests_of_other_sites_fail() {
        let own = "127.0.0.1:9000";
        for (headers, allowed) in [
            (&[("origin", "http://127.0.0.1:9000")][..], true),
            (
                &[
                    ("origin", "http://127.0.0.1:9000"),
                    ("sec-fetch-site", "same-origin"),
                ],
                true,
            ),
            (&[("sec-fetch-site", "none")], true),
            (&[("origin", "null")], false),
            (&[("origin", "")], false),
            (&[("origin", "https://127.0.0.1:9000")], false),
            (&[("origin", "http://127.0.0.1:9001")], false),
            (&[("origin", "http://localhost:9000")], false),
            (&[("origin", "http://127.0.0.1:9000.evil.example")], false),
            (&[("origin", "https://evil.example")], false),
            (
                &[
                    ("origin", "http://127.0.0.1:9000"),
                    ("origin", "https://evil.example"),
                ],
                false,
            ),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "anything")], false),
            (
                &[
                    ("sec-fetch-site", "cross-site"),
                    ("sec-fetch-mode", "navigate"),
                    ("sec-fetch-dest", "document"),
                ],
                false,
            ),
        ] {
            let expected = if allowed {
                Ok(())
            } else {
                Err(Denied::CrossSite)
            };
            let checked = check(ConsoleAccess::Local, LOCAL, own, headers);
            assert_eq!(checked, expected, "{headers:?}");
        }
    }

    #[test]
    fn a_proxy_with_tls_changes_the_own_origin() {
        for (host, origin, allowed) in [
            ("oss.test", "https://oss.test", true),
            ("oss.test", "http://oss.test", false),
            ("127.0.0.1:9000", "http://127.0.0.1:9000", true),
            ("127.0.0.1:9000", "https://127.0.0.1:9000", false),
        ] {
            let checked = check(ConsoleAccess::Local, LOCAL, host, &[("origin", origin)]);
            assert_eq!(checked.is_ok(), allowed, "{host} {origin}");
        }
        let guard = guard(ConsoleAccess::Local);
        assert!(guard.is_https("photos.oss.test:443"));
        assert!(!guard.is_https("evil-oss.test"));
    }

    #[test]
    fn em_01_a_link_may_show_the_page_and_nothing_else() {
        for (path, destination, allowed) in [
            ("/_emulator/", "document", true),
            ("/_emulator/", "iframe", false),
            ("/_emulator/requests", "document", false),
            ("/_emulator/preview?bucket=a&key=b", "document", false),
        ] {
            let request = Request::get(path)
                .header("host", "127.0.0.1:9000")
                .header("sec-fetch-site", "cross-site")
                .header("sec-fetch-mode", "navigate")
                .header("sec-fetch-dest", destination);
            let (parts, ()) = request.body(()).unwrap().into_parts();
            let checked = guard(ConsoleAccess::Local).check(&parts, LOCAL);
            assert_eq!(checked.is_ok(), allowed, "{path} {destination}");
        }
    }
}
