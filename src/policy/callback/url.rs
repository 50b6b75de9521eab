//! Callback URLs, parsed and validated.

use std::{borrow::Cow, sync::Arc};

use http::uri::{Authority, Scheme};

use crate::{
    callback::IssuedTarget,
    policy::error::CallbackDirectiveError,
    protocol::{CallbackTarget, TargetError},
};

/// Number of URLs that OSS accepts at most (EC 0007-00000005).
const MAX_URLS: usize = 5;

/// Maximum length of a host name in bytes (RFC 1035 section 2.3.4).
const MAX_HOST_LEN: usize = 253;

/// Maximum length of one label of a host name in bytes (RFC 1035 section 2.3.4).
const MAX_LABEL_LEN: usize = 63;

/// One to five callback URLs.
#[derive(Clone)]
pub(super) struct CallbackUrls {
    /// The value of `callbackUrl`: each URL exactly as the caller wrote it, separated by
    /// semicolons.
    text: Arc<str>,
    first: CallbackTarget,
    others: Arc<[CallbackTarget]>,
    https: bool,
}

impl CallbackUrls {
    pub(super) fn one(url: &str) -> Result<Self, CallbackDirectiveError> {
        let parsed = parse(url)?;
        Ok(Self {
            text: url.into(),
            first: parsed.target,
            others: [].into(),
            https: parsed.https,
        })
    }

    pub(super) fn several<I>(urls: I) -> Result<Self, CallbackDirectiveError>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        let mut urls = urls.into_iter();
        let first = urls.next().ok_or(CallbackDirectiveError::NoUrl)?;
        let mut text = first.as_ref().to_owned();
        let Parsed { target, mut https } = parse(&text)?;
        let mut others: Vec<CallbackTarget> = Vec::new();
        for url in urls {
            if others.len() + 1 == MAX_URLS {
                return Err(CallbackDirectiveError::TooManyUrls);
            }
            let parsed = parse(url.as_ref())?;
            text.push(';');
            text.push_str(url.as_ref());
            https |= parsed.https;
            let mut known = std::iter::once(&target).chain(&others);
            if known.any(|known| known.coincides(&parsed.target)) {
                let target = parsed.target.as_str().into();
                return Err(CallbackDirectiveError::Target(TargetError::Coincides(
                    target,
                )));
            }
            others.push(parsed.target);
        }
        Ok(Self {
            text: text.into(),
            first: target,
            others: others.into(),
            https,
        })
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn first(&self) -> &CallbackTarget {
        &self.first
    }

    pub(super) fn targets(&self) -> impl Iterator<Item = &CallbackTarget> {
        std::iter::once(&self.first).chain(self.others.iter())
    }

    /// Returns the host of the first URL, with its port, and its target as it is spelled.
    pub(super) fn first_call(&self) -> (&str, Cow<'_, str>) {
        let url = self.text.split(';').next().unwrap_or_default();
        let (host, spelled) = split(url);
        (host, requested(spelled))
    }

    /// Returns the targets with the spelling of the URLs.
    pub(super) fn issued(&self) -> Arc<[IssuedTarget]> {
        let spelled = self.text.split(';').map(|url| split(url).1);
        self.targets()
            .zip(spelled)
            .map(|(target, spelled)| IssuedTarget {
                raw: requested(spelled).into(),
                target: target.clone(),
            })
            .collect()
    }

    /// Returns whether OSS calls at least one of the URLs over TLS.
    pub(super) fn https(&self) -> bool {
        self.https
    }
}

struct Parsed {
    target: CallbackTarget,
    https: bool,
}

/// Splits a URL without its scheme into host and target.
fn split(url: &str) -> (&str, &str) {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()))
}

/// OSS calls a URL without a path with the path `/`.
fn requested(spelled: &str) -> Cow<'_, str> {
    match spelled.starts_with('/') {
        true => spelled.into(),
        false => format!("/{spelled}").into(),
    }
}

fn parse(url: &str) -> Result<Parsed, CallbackDirectiveError> {
    let scheme = match url.split_once("://") {
        Some((scheme, _)) => {
            let scheme = scheme
                .parse::<Scheme>()
                .map_err(|_| CallbackDirectiveError::Scheme)?;
            if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
                return Err(CallbackDirectiveError::Scheme);
            }
            scheme
        }
        // OSS calls a URL without a scheme over HTTP.
        None => Scheme::HTTP,
    };
    let (host, target) = split(url);
    check_authority(host)?;
    Ok(Parsed {
        target: parse_target(target)?,
        https: scheme == Scheme::HTTPS,
    })
}

fn check_authority(text: &str) -> Result<(), CallbackDirectiveError> {
    let authority: Authority = text.parse().map_err(|_| CallbackDirectiveError::Host)?;
    // `Authority` accepts port 0 and a colon without a port.
    let with_port = text.len() > authority.host().len();
    let port_is_good = authority.port_u16().is_some_and(|port| port > 0);
    // `Authority::host` skips a user name, so `is_host` alone would accept one.
    if text.contains('@') || !is_host(authority.host()) || (with_port && !port_is_good) {
        return Err(CallbackDirectiveError::Host);
    }
    Ok(())
}

/// Returns whether the text is a domain name or an IPv4 address. OSS does not call IPv6 addresses.
pub(super) fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        (1..=MAX_LABEL_LEN).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    text.len() <= MAX_HOST_LEN && text.split('.').all(label)
}

fn parse_target(target: &str) -> Result<CallbackTarget, CallbackDirectiveError> {
    // OSS splits `callbackUrl` at semicolons, so this URL would become two.
    if target.contains(';') {
        return Err(CallbackDirectiveError::Several);
    }
    // RFC 3986 appendix A allows none of these in a URL. Without braces, text from a user that ends
    // up in the URL cannot become a variable.
    let encoded = |b: u8| b.is_ascii_graphic() && !b"\"<>[\\]^`{|}".contains(&b);
    if !target.bytes().all(encoded) {
        return Err(CallbackDirectiveError::NotEncoded);
    }
    // The samples disagree on whether OSS signs a `?` with nothing after it.
    if target.find('?').is_some_and(|at| at + 1 == target.len()) {
        return Err(CallbackDirectiveError::EmptyQuery);
    }
    let parsed = match target {
        "" => CallbackTarget::parse_named("/"),
        // OSS calls a URL that has a query but no path with the path `/`.
        query if query.starts_with('?') => CallbackTarget::parse_named(&format!("/{query}")),
        target => CallbackTarget::parse_named(target),
    };
    // An ambiguous target is fine, because a ticket names it.
    let (target, _) = parsed.map_err(CallbackDirectiveError::Target)?;
    Ok(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_oss_calls() {
        for (url, target, https) in [
            ("http://88.88.88.88:8888", "/", false),
            ("https://app.example", "/", true),
            ("https://app.example?a=1", "/?a=1", true),
            (
                "https://app.example/oss/callback?a=%2F&b",
                "/oss/callback?a=%2F&b",
                true,
            ),
            ("app.example:8080/cb/", "/cb/", false),
            ("121.101.166.30/test.php", "/test.php", false),
            ("http://a_b.xn--fiq228c.example/$", "/$", false),
            // Ambiguous, so the layer accepts these only with a ticket.
            ("http://h/a%2fb", "/a%2Fb", false),
            ("http://h/a+b", "/a+b", false),
            ("http://h//cb", "//cb", false),
            ("http://h/%63b?%63??", "/cb?%63??", false),
        ] {
            let urls = CallbackUrls::one(url).unwrap();
            assert_eq!(urls.first().as_str(), target, "{url}");
            assert_eq!((urls.as_str(), urls.https()), (url, https), "as given");
            let same = CallbackUrls::several([url]).unwrap();
            assert_eq!((same.as_str(), same.https()), (url, https));
            assert!(same.targets().eq([urls.first()]));
        }
    }

    #[test]
    fn urls_that_would_fail() {
        use CallbackDirectiveError as E;
        let long_label = format!("http://{}.example/", "a".repeat(64));
        let long_host = format!("http://{}example/", "a.".repeat(124));
        for (url, why) in [
            ("", E::Host),
            ("http://", E::Host),
            ("http:///cb", E::Host),
            ("ftp://h/cb", E::Scheme),
            ("://h/cb", E::Scheme),
            ("http://u@h/cb", E::Host),
            ("http://u:8080@h/cb", E::Host),
            ("http://[::1]/cb", E::Host),
            ("http://h:0/cb", E::Host),
            ("http://h:/cb", E::Host),
            ("http://h:65536/cb", E::Host),
            ("host:test", E::Host),
            ("http://h;i/cb", E::Host),
            ("http://h..i/cb", E::Host),
            ("http://h$a/cb", E::Host),
            ("http://${object}/cb", E::Host),
            ("http://中.example/cb", E::Host),
            (&long_label, E::Host),
            (&long_host, E::Host),
            ("http://h/a;http://i/b", E::Several),
            ("http://h/cb;", E::Several),
            ("http://h/中", E::NotEncoded),
            ("http://h/a b", E::NotEncoded),
            ("http://h/cb\n", E::NotEncoded),
            ("http://h/cb?a=${object}", E::NotEncoded),
            ("http://h/cb?a=\"b\"", E::NotEncoded),
            ("http://h/cb#x", E::Target(TargetError::Character)),
            ("http://h/cb%0A", E::Target(TargetError::Control)),
            ("http://h/cb%zz", E::Target(TargetError::Escape)),
            ("http://h/cb%FF", E::Target(TargetError::NotUtf8)),
            ("http://h/a/../b", E::Target(TargetError::DotSegment)),
            ("http://h/a/%2e%2E/b", E::Target(TargetError::DotSegment)),
            ("http://h/cb?", E::EmptyQuery),
            ("http://h?", E::EmptyQuery),
        ] {
            assert_eq!(CallbackUrls::one(url).map(drop), Err(why.clone()), "{url}");
            let second = CallbackUrls::several(["http://h", url]);
            assert_eq!(second.map(drop), Err(why), "{url}");
        }
    }

    #[test]
    fn targets_with_one_text_are_an_error() {
        for [one, other] in [
            ["http://h/a%2Fb", "http://h/a/b"],
            ["http://h/a/b", "http://i/a%2fb"],
            ["http://h/a%3Fb", "http://h/a?b"],
            ["http://h/a+b", "http://h/a%20b"],
            ["http://h/a%2Bb", "http://h/a+b"],
        ] {
            let error = CallbackUrls::several(["http://h/c", one, other]).map(drop);
            let target = parse(other).unwrap().target;
            let why = TargetError::Coincides(target.as_str().into());
            assert_eq!(error, Err(CallbackDirectiveError::Target(why)));
        }
        // Equal targets on two hosts are one target.
        for other in ["http://i/a%2Fb", "http://i/a%2fb", "http://i/a%2Fb?c"] {
            assert!(CallbackUrls::several(["http://h/a%2Fb", other]).is_ok());
        }
    }

    #[test]
    fn one_to_five() {
        let urls: Vec<String> = (1..=6).map(|n| format!("http://h/{n}")).collect();
        let five = CallbackUrls::several(&urls[..5]).unwrap();
        assert_eq!(
            five.as_str(),
            "http://h/1;http://h/2;http://h/3;http://h/4;http://h/5"
        );
        let targets: Vec<_> = five.targets().map(CallbackTarget::as_str).collect();
        assert_eq!(targets, ["/1", "/2", "/3", "/4", "/5"]);
        assert_eq!(
            CallbackUrls::several(&urls).map(drop),
            Err(CallbackDirectiveError::TooManyUrls)
        );
        assert_eq!(
            CallbackUrls::several([""; 0]).map(drop),
            Err(CallbackDirectiveError::NoUrl)
        );
        assert!(
            CallbackUrls::several(["http://h", "https://i"])
                .unwrap()
                .https()
        );
    }
}
