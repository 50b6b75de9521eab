//! Which key URLs exist: one host and its paths.

use std::{error::Error, fmt, sync::Arc};

use http::uri::{Authority, PathAndQuery};

/// The host and the paths that a key URL may name; everything else is refused before anything is looked up.
///
/// Names are compared byte for byte with what the header says: no port is implied, no case is folded, nothing is
/// decoded. `http` and `https` name the same entry.
///
/// ```
/// use tower_aliyun_oss::key::{KeyTable, KeyUrl, KeyUrlError};
///
/// let table = KeyTable::official();
/// // https://gosspublic.alicdn.com/callback_pub_key_v1.pem
/// let header = b"aHR0cHM6Ly9nb3NzcHVibGljLmFsaWNkbi5jb20vY2FsbGJhY2tfcHViX2tleV92MS5wZW0=";
/// assert_eq!(KeyUrl::from_header(header, &table)?.path(), "/callback_pub_key_v1.pem");
/// # Ok::<(), KeyUrlError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyTable(Repr);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Repr {
    Official,
    Own(Arc<Own>),
}

#[derive(Debug, Eq, PartialEq)]
struct Own {
    host: Box<str>,
    paths: Box<[Box<str>]>,
}

/// The host of the keys OSS publishes.
const OFFICIAL_HOST: &str = "gosspublic.alicdn.com";
const OFFICIAL_PREFIX: &str = "/callback_pub_key_v";
const OFFICIAL_SUFFIX: &str = ".pem";

impl KeyTable {
    /// The most paths a table of your own can have.
    pub const MAX_PATHS: usize = 1000;

    /// The table of OSS itself: `gosspublic.alicdn.com` and `/callback_pub_key_vN.pem` with N from 0 to 999.
    #[must_use]
    pub const fn official() -> Self {
        Self(Repr::Official)
    }

    /// A table of your own: a host, with its port if it has one, and the paths on it.
    ///
    /// # Errors
    ///
    /// When the host is no host or its port is not from 1 to 65535, a path does not start with `/` or holds a query, two paths are the same, or there
    /// are none or more than [`Self::MAX_PATHS`].
    pub fn own<P: AsRef<str>>(
        host: &str,
        paths: impl IntoIterator<Item = P>,
    ) -> Result<Self, KeyTableError> {
        match host.parse::<Authority>() {
            Ok(authority) if is_host(&authority) => {}
            _ => return Err(KeyTableError::Host),
        }
        let mut all: Vec<Box<str>> = Vec::new();
        for path in paths {
            let path = path.as_ref();
            match path.parse::<PathAndQuery>() {
                // A fragment is dropped by the parser, so the texts are compared.
                Ok(parsed) if parsed.path() == path && path.starts_with('/') => {}
                _ => return Err(KeyTableError::Path),
            }
            if all.iter().any(|known| **known == *path) {
                return Err(KeyTableError::Duplicate);
            }
            if all.len() == Self::MAX_PATHS {
                return Err(KeyTableError::Count);
            }
            all.push(path.into());
        }
        if all.is_empty() {
            return Err(KeyTableError::Count);
        }
        Ok(Self(Repr::Own(Arc::new(Own {
            host: host.into(),
            paths: all.into(),
        }))))
    }

    /// The host, with its port if the table names one.
    #[must_use]
    pub fn host(&self) -> &str {
        match &self.0 {
            Repr::Official => OFFICIAL_HOST,
            Repr::Own(own) => &own.host,
        }
    }

    /// The number under which a decoded URL stands in the table.
    pub(super) fn entry(&self, url: &[u8]) -> Option<u16> {
        let rest = url
            .strip_prefix(b"https://")
            .or_else(|| url.strip_prefix(b"http://"))?;
        let path = rest.strip_prefix(self.host().as_bytes())?;
        match &self.0 {
            Repr::Official => {
                let version = path
                    .strip_prefix(OFFICIAL_PREFIX.as_bytes())?
                    .strip_suffix(OFFICIAL_SUFFIX.as_bytes())?;
                official_version(version)
            }
            Repr::Own(own) => {
                let at = own
                    .paths
                    .iter()
                    .position(|known| known.as_bytes() == path)?;
                u16::try_from(at).ok()
            }
        }
    }

    pub(super) fn path(&self, entry: u16) -> String {
        match &self.0 {
            Repr::Official => format!("{OFFICIAL_PREFIX}{entry}{OFFICIAL_SUFFIX}"),
            Repr::Own(own) => own
                .paths
                .get(usize::from(entry))
                .map(|p| p.as_ref().to_owned())
                .unwrap_or_default(),
        }
    }

    /// How many paths a table of one's own has.
    #[cfg(feature = "fetch")]
    pub(super) fn own_paths(&self) -> Option<usize> {
        match &self.0 {
            Repr::Official => None,
            Repr::Own(own) => Some(own.paths.len()),
        }
    }

    pub(super) const fn is_official(&self) -> bool {
        matches!(self.0, Repr::Official)
    }
}

/// `http` takes a port of any digits, and says nothing of one that is none.
fn is_host(authority: &Authority) -> bool {
    let (host, text) = (authority.host(), authority.as_str());
    let port = text.strip_prefix(host);
    !host.is_empty()
        && (port == Some("") || authority.port_u16().is_some_and(|port| port > 0))
        && !text.contains('@')
}

/// `0|[1-9][0-9]{0,2}`: each version has one spelling.
fn official_version(digits: &[u8]) -> Option<u16> {
    match digits {
        [b'0'..=b'9'] | [b'1'..=b'9', b'0'..=b'9'] | [b'1'..=b'9', b'0'..=b'9', b'0'..=b'9'] => {
            Some(
                digits
                    .iter()
                    .fold(0, |n, digit| n * 10 + u16::from(digit - b'0')),
            )
        }
        _ => None,
    }
}

/// Why a host and paths are not a table of keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum KeyTableError {
    /// The host is empty, holds a user name, or is no host, or its port is none.
    Host,
    /// A path does not start with `/`, or holds a query, a fragment or a character no path has.
    Path,
    /// The same path twice.
    Duplicate,
    /// No path, or more than [`KeyTable::MAX_PATHS`].
    Count,
}

impl fmt::Display for KeyTableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "the host of a key table is written host or host:port",
            Self::Path => "a path of a key table starts with a slash and has no query or fragment",
            Self::Duplicate => "a key table cannot name the same path twice",
            Self::Count => "a key table has between 1 and 1000 paths",
        })
    }
}

impl Error for KeyTableError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn official_versions_have_one_spelling() {
        let table = KeyTable::official();
        let entry = |v: &str| {
            table.entry(
                format!("https://gosspublic.alicdn.com/callback_pub_key_v{v}.pem").as_bytes(),
            )
        };
        for n in [0, 1, 9, 10, 99, 100, 999] {
            assert_eq!(entry(&n.to_string()), Some(n));
            assert_eq!(table.path(n), format!("/callback_pub_key_v{n}.pem"));
        }
        for odd in [
            "", "00", "01", "001", "1000", "9999", "-1", "+1", "1a", "1 ", "١",
        ] {
            assert_eq!(entry(odd), None, "{odd:?}");
        }
    }

    #[test]
    fn own_tables() {
        let table = KeyTable::own("store.internal:8443", ["/a.pem", "/b/c.pem"]).unwrap();
        assert_eq!(table.entry(b"http://store.internal:8443/b/c.pem"), Some(1));
        for other in [
            &b"http://store.internal/a.pem"[..],
            b"http://store.internal:8443/a.pem?",
            b"http://store.internal:8443/A.pem",
            b"http://store.internal:84430/a.pem",
            b"https://gosspublic.alicdn.com/callback_pub_key_v1.pem",
        ] {
            assert_eq!(table.entry(other), None);
        }
        let own = |host, paths: &[&str]| KeyTable::own(host, paths);
        for host in [
            "",
            "a b",
            "user@host",
            "host/path",
            ":80",
            "store.internal:84430",
            "store.internal:65536",
            "store.internal:0",
            "store.internal:",
            "store.internal:a",
            "store.internal:99999999999999999999",
            "[::1]:84430",
        ] {
            assert_eq!(own(host, &["/a"]), Err(KeyTableError::Host), "{host:?}");
        }
        for host in ["store.internal", "h:1", "h:65535", "[::1]", "[::1]:443"] {
            assert_eq!(own(host, &["/a"]).unwrap().host(), host);
        }
        for path in ["", "a", "/a?b", "/a#b", "/a b"] {
            assert_eq!(own("h", &[path]), Err(KeyTableError::Path), "{path:?}");
        }
        assert_eq!(own("h", &["/a", "/a"]), Err(KeyTableError::Duplicate));
        assert_eq!(own("h", &[]), Err(KeyTableError::Count));
        let many = (0..=KeyTable::MAX_PATHS).map(|n| format!("/{n}"));
        assert_eq!(KeyTable::own("h", many), Err(KeyTableError::Count));
    }
}
