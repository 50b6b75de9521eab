//! Key URLs: which ones exist, and which one a callback names.

use std::{fmt, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::uri::{Authority, PathAndQuery};

/// An entry of a [`KeyTable`]: the key that a callback claims to be signed with.
///
/// A `KeyUrl` cannot be created from a URL that is not in the table. A request can therefore select
/// a key, but never a host to connect to.
#[derive(Clone, Eq, PartialEq)]
pub struct KeyUrl {
    table: KeyTable,
    entry: u16,
}

impl KeyUrl {
    /// The maximum length of the header value, in bytes. Longer values are rejected undecoded.
    pub const MAX_HEADER_LEN: usize = 512;

    /// Parses the value of `x-oss-pub-key-url`: strict, padded, standard Base64 of a URL in
    /// `table`.
    ///
    /// Never allocates.
    ///
    /// # Errors
    ///
    /// If the value is too long, is not canonical Base64, or names a URL that is not in the table.
    pub fn from_header(value: &[u8], table: &KeyTable) -> Result<Self, KeyUrlError> {
        if value.len() > Self::MAX_HEADER_LEN {
            return Err(KeyUrlError::TooLong);
        }
        if value.is_empty() {
            return Err(KeyUrlError::NotBase64);
        }
        let mut decoded = [0; Self::MAX_HEADER_LEN / 4 * 3];
        let len = STANDARD
            .decode_slice(value, &mut decoded)
            .map_err(|_| KeyUrlError::NotBase64)?;
        let url = decoded.get(..len).unwrap_or_default();
        let entry = table.entry(url).ok_or(KeyUrlError::NotAllowed)?;
        Ok(Self {
            table: table.clone(),
            entry,
        })
    }

    #[cfg(feature = "fetch")]
    pub(super) fn of_path(table: &KeyTable, path: &str) -> Option<Self> {
        let url = format!("https://{}{path}", table.host());
        let entry = table.entry(url.as_bytes())?;
        let table = table.clone();
        Some(Self { table, entry })
    }

    /// The host of the table, with its port if it has one.
    #[must_use]
    pub fn host(&self) -> &str {
        self.table.host()
    }

    /// The path of the entry.
    #[must_use]
    pub fn path(&self) -> String {
        self.table.path(self.entry)
    }

    /// The N of `callback_pub_key_vN.pem`, or `None` if the table is not that of OSS.
    #[must_use]
    pub fn official_version(&self) -> Option<u16> {
        self.table.is_official().then_some(self.entry)
    }

    pub(crate) const fn entry(&self) -> u16 {
        self.entry
    }

    pub(super) const fn table(&self) -> &KeyTable {
        &self.table
    }
}

impl fmt::Display for KeyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}{}", self.host(), self.path())
    }
}

impl fmt::Debug for KeyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyUrl({self})")
    }
}

/// The host and the paths that a key URL may name.
///
/// [`KeyUrl::from_header`] rejects every other URL before any lookup. URLs are compared byte for
/// byte: no default port is assumed, case is significant, and nothing is percent-decoded. `http`
/// and `https` name the same entry.
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

/// The host on which OSS publishes its keys.
const OFFICIAL_HOST: &str = "gosspublic.alicdn.com";
const OFFICIAL_PREFIX: &str = "/callback_pub_key_v";
const OFFICIAL_SUFFIX: &str = ".pem";

impl KeyTable {
    /// The maximum number of paths in a custom table.
    pub const MAX_PATHS: usize = 1000;

    /// The table of OSS: `gosspublic.alicdn.com` and `/callback_pub_key_vN.pem`, N from 0 to 999.
    #[must_use]
    pub const fn official() -> Self {
        Self(Repr::Official)
    }

    /// Creates a custom table from a host, with an optional port, and the paths on that host.
    ///
    /// # Errors
    ///
    /// If `host` is not a valid host, its port is not between 1 and 65535, a path does not start
    /// with `/` or has a query or a fragment, a path occurs twice, or there are no paths or more
    /// than [`Self::MAX_PATHS`].
    pub fn own<P: AsRef<str>>(
        host: &str,
        paths: impl IntoIterator<Item = P>,
    ) -> Result<Self, KeyUrlError> {
        match host.parse::<Authority>() {
            Ok(authority) if is_host(&authority) => {}
            _ => return Err(KeyUrlError::Host),
        }
        let mut all: Vec<Box<str>> = Vec::new();
        for path in paths {
            let path = path.as_ref();
            match path.parse::<PathAndQuery>() {
                // The parser drops a fragment silently, so compare what it kept with the input.
                Ok(parsed) if parsed.path() == path && path.starts_with('/') => {}
                _ => return Err(KeyUrlError::Path),
            }
            if all.iter().any(|known| **known == *path) {
                return Err(KeyUrlError::DuplicatePath);
            }
            if all.len() == Self::MAX_PATHS {
                return Err(KeyUrlError::PathCount);
            }
            all.push(path.into());
        }
        if all.is_empty() {
            return Err(KeyUrlError::PathCount);
        }
        Ok(Self(Repr::Own(Arc::new(Own {
            host: host.into(),
            paths: all.into(),
        }))))
    }

    /// The host, with its port if it has one.
    #[must_use]
    pub fn host(&self) -> &str {
        match &self.0 {
            Repr::Official => OFFICIAL_HOST,
            Repr::Own(own) => &own.host,
        }
    }

    /// Returns the index of a URL in the table. Official keys are indexed by their version.
    fn entry(&self, url: &[u8]) -> Option<u16> {
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

    fn path(&self, entry: u16) -> String {
        match &self.0 {
            Repr::Official => format!("{OFFICIAL_PREFIX}{entry}{OFFICIAL_SUFFIX}"),
            Repr::Own(own) => own
                .paths
                .get(usize::from(entry))
                .map(|p| p.as_ref().to_owned())
                .unwrap_or_default(),
        }
    }

    /// The number of paths in a custom table, or `None` for the table of OSS.
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

/// `Authority` accepts any digits as a port and silently ignores one that is out of range.
fn is_host(authority: &Authority) -> bool {
    let (host, text) = (authority.host(), authority.as_str());
    let port = text.strip_prefix(host);
    !host.is_empty()
        && (port == Some("") || authority.port_u16().is_some_and(|port| port > 0))
        && !text.contains('@')
}

/// Parses `0|[1-9][0-9]{0,2}`. Each version has exactly one spelling.
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

/// Why a value of `x-oss-pub-key-url` names no key, or why a [`KeyTable`] or
/// [`PinnedKeys`](super::PinnedKeys) of your own are invalid.
#[derive(Clone, Copy, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyUrlError {
    /// The header value is longer than [`KeyUrl::MAX_HEADER_LEN`].
    #[error("the key URL is longer than 512 bytes")]
    TooLong,
    /// The header value is empty or not strict standard Base64.
    #[error("the key URL is not strict Base64")]
    NotBase64,
    /// The URL is not in the table.
    #[error("the key URL is not in the table of the key source")]
    NotAllowed,
    /// The host of a table is empty, invalid or contains a user name, or the port is invalid.
    #[error("the host of a key table is written host or host:port, with a port from 1 to 65535")]
    Host,
    /// A path does not start with `/`, or contains a query, a fragment or an invalid character.
    #[error("a path of a key table starts with a slash and has no query or fragment")]
    Path,
    /// A path occurs twice in a table.
    #[error("a path occurs twice in a key table")]
    DuplicatePath,
    /// A table has no paths, or more than [`KeyTable::MAX_PATHS`].
    #[error("a key table has between 1 and 1000 paths")]
    PathCount,
    /// A pinned key has fewer than [`PinnedKeys::MIN_OWN_BITS`](super::PinnedKeys::MIN_OWN_BITS)
    /// bits. Contains its length in bits.
    #[error("a key in a custom table needs at least 1024 bits, this one has {0}")]
    ShortKey(usize),
}

crate::causes::debug_is_text!(KeyUrlError);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_header_is_read() {
        let url = format!("https://store.internal/{:p<361}", "");
        let path = url.trim_start_matches("https://store.internal");
        let table = KeyTable::own("store.internal", [path]).unwrap();
        let header = STANDARD.encode(&url);
        assert_eq!(header.len(), KeyUrl::MAX_HEADER_LEN);
        let read = KeyUrl::from_header(header.as_bytes(), &table).unwrap();
        assert_eq!(read.path(), path);
        let longer = KeyUrl::from_header(&[b'A'; KeyUrl::MAX_HEADER_LEN + 1], &table);
        assert_eq!(longer, Err(KeyUrlError::TooLong));
    }

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
            assert_eq!(own(host, &["/a"]), Err(KeyUrlError::Host), "{host:?}");
        }
        for host in ["store.internal", "h:1", "h:65535", "[::1]", "[::1]:443"] {
            assert_eq!(own(host, &["/a"]).unwrap().host(), host);
        }
        for path in ["", "a", "/a?b", "/a#b", "/a b"] {
            assert_eq!(own("h", &[path]), Err(KeyUrlError::Path), "{path:?}");
        }
        assert_eq!(own("h", &["/a", "/a"]), Err(KeyUrlError::DuplicatePath));
        assert_eq!(own("h", &[]), Err(KeyUrlError::PathCount));
        let many = (0..=KeyTable::MAX_PATHS).map(|n| format!("/{n}"));
        assert_eq!(KeyTable::own("h", many), Err(KeyUrlError::PathCount));
    }
}
