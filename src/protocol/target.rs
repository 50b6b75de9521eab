//! The request target of a callback, which is part of what OSS signs.

use std::{borrow::Cow, error::Error, fmt, str::FromStr};

use http::uri::PathAndQuery;
use percent_encoding::percent_decode;

/// The path and query that OSS calls, exactly as they were sent.
///
/// OSS signs `url_decode(path) + query + "\n" + body`. Decoding makes that text ambiguous: `/a%3Fb` and `/a?b`, or
/// `/%69` and `/i`, are signed alike. A target is therefore taken only in its one canonical spelling:
///
/// * the path starts with `/` and holds letters, digits, `-._~`, `!$&'()*,;=:@` and `/`;
/// * `%XX` only for bytes from 0x80, in upper-case hex, and what they spell is UTF-8;
/// * no `+`, no segment `.` or `..`, no empty segment but the last (`/` and one trailing slash are canonical);
/// * the query is whatever was sent, its `?` included even when nothing follows.
///
/// With these rules two different targets never lead to the same signed text.
///
/// ```
/// use tower_aliyun_oss::protocol::{CallbackTarget, TargetError};
///
/// let target: CallbackTarget = "/oss/%E4%B8%AD?id=1".parse()?;
/// assert_eq!((target.path(), target.query()), ("/oss/%E4%B8%AD", Some("id=1")));
/// assert_eq!("/index.php%3Fid=1".parse::<CallbackTarget>(), Err(TargetError::Encoded));
/// # Ok::<(), TargetError>(())
/// ```
///
/// Source: the signature section of the [Callback] page.
///
/// [Callback]: https://www.alibabacloud.com/help/en/oss/developer-reference/callback
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct CallbackTarget(PathAndQuery);

impl CallbackTarget {
    /// Takes the path and query of a request, if the path is spelled canonically.
    ///
    /// # Errors
    ///
    /// When it is not; the error says which rule it breaks.
    pub fn canonical(target: PathAndQuery) -> Result<Self, TargetError> {
        let target = origin_form(target)?;
        check_path(target.path())?;
        Ok(Self(target))
    }

    /// Takes a target whose raw path has been compared, byte for byte, with a configured one.
    pub(crate) fn with_expected_path(target: PathAndQuery) -> Result<Self, TargetError> {
        origin_form(target).map(Self)
    }

    /// The path, still percent-encoded.
    #[must_use]
    pub fn path(&self) -> &str {
        self.0.path()
    }

    /// The query without its `?`, still percent-encoded; `Some("")` when there is a `?` and nothing behind it.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.0.query()
    }

    /// Path and query as they were sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The first part of the signed text: the decoded path, then the query with its `?` as it was sent.
    pub(crate) fn signed_parts(&self) -> (Cow<'_, [u8]>, &[u8]) {
        let path = self.path();
        let query = self.as_str().get(path.len()..).unwrap_or_default();
        (percent_decode(path.as_bytes()).into(), query.as_bytes())
    }
}

impl FromStr for CallbackTarget {
    type Err = TargetError;

    fn from_str(target: &str) -> Result<Self, Self::Err> {
        // `PathAndQuery` drops a fragment and, if there is one, the reader meant something else.
        if target.contains('#') {
            return Err(TargetError::Character);
        }
        if !target.starts_with('/') {
            return Err(TargetError::NotOriginForm);
        }
        Self::canonical(target.parse().map_err(|_| TargetError::Character)?)
    }
}

impl fmt::Display for CallbackTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a path is not in its canonical spelling.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum TargetError {
    /// The target does not start with `/`.
    NotOriginForm,
    /// A `+`, which some decoders read as a space.
    Plus,
    /// An encoded ASCII character, lower-case hex, or a `%` that is no escape.
    Encoded,
    /// The escapes do not spell UTF-8.
    NotUtf8,
    /// A character that a path cannot hold unencoded.
    Character,
    /// A segment `.` or `..`.
    DotSegment,
    /// An empty segment before the last.
    EmptySegment,
    /// A path other than the configured ones.
    NotConfigured,
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotOriginForm => "the callback target does not start with a slash",
            Self::Plus => "the callback path holds a plus sign, which decoders disagree about",
            Self::Encoded => {
                "the callback path holds an escape other than upper-case hex of a non-ascii byte"
            }
            Self::NotUtf8 => "the escapes in the callback path do not spell utf-8",
            Self::Character => {
                "the callback path holds a character that must not be there unencoded \
                 (was it decoded on the way?)"
            }
            Self::DotSegment => "the callback path holds a segment \".\" or \"..\"",
            Self::EmptySegment => "the callback path holds an empty segment",
            Self::NotConfigured => "the callback was signed for a path other than the configured",
        })
    }
}

impl Error for TargetError {}

/// The URI of a request in absolute form can have a query and no path at all (`http://h?a`); its `path()` is then `/`
/// all the same, while the text is without it.
fn origin_form(target: PathAndQuery) -> Result<PathAndQuery, TargetError> {
    if target.as_str().starts_with('/') {
        Ok(target)
    } else {
        Err(TargetError::NotOriginForm)
    }
}

fn check_path(path: &str) -> Result<(), TargetError> {
    let bytes = path.as_bytes();
    if bytes.first() != Some(&b'/') {
        return Err(TargetError::NotOriginForm);
    }
    let mut escaped = false;
    let mut segment_start = 1;
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'/' => {
                check_segment(&bytes[segment_start..at])?;
                if segment_start == at {
                    return Err(TargetError::EmptySegment);
                }
                segment_start = at + 1;
            }
            b'%' => {
                match bytes.get(at + 1..at + 3) {
                    // The high nibble from 8 on: a byte from 0x80.
                    Some([b'8' | b'9' | b'A'..=b'F', b'0'..=b'9' | b'A'..=b'F']) => {}
                    _ => return Err(TargetError::Encoded),
                }
                escaped = true;
                at += 2;
            }
            b'+' => return Err(TargetError::Plus),
            b if b.is_ascii_alphanumeric() || b"-._~!$&'()*,;=:@".contains(&b) => {}
            _ => return Err(TargetError::Character),
        }
        at += 1;
    }
    check_segment(&bytes[segment_start..])?;
    if escaped && percent_decode(bytes).decode_utf8().is_err() {
        return Err(TargetError::NotUtf8);
    }
    Ok(())
}

fn check_segment(segment: &[u8]) -> Result<(), TargetError> {
    match segment {
        b"." | b".." => Err(TargetError::DotSegment),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_targets() {
        for good in [
            "/",
            "/?",
            "/cb",
            "/cb/",
            "/cb?",
            "/a/b.c-d_e~f",
            "/!$&'()*,;=:@",
            "/%E4%B8%AD%E6%96%87.php",
            "/cb?a=+%2b%zz&b=%0A?/../",
            "/.../..a/a..",
        ] {
            assert_eq!(good.parse::<CallbackTarget>().unwrap().as_str(), good);
        }
    }

    #[test]
    fn other_spellings() {
        use TargetError as E;
        for (target, why) in [
            ("", E::NotOriginForm),
            ("*", E::NotOriginForm),
            ("cb", E::NotOriginForm),
            ("%2Fcb", E::NotOriginForm),
            ("//", E::EmptySegment),
            ("//cb", E::EmptySegment),
            ("/cb//", E::EmptySegment),
            ("/a//b", E::EmptySegment),
            ("/.", E::DotSegment),
            ("/..", E::DotSegment),
            ("/a/../b", E::DotSegment),
            ("/a/./", E::DotSegment),
            ("/a+b", E::Plus),
            ("/a-path-before-%C3%A4+b", E::Plus),
            ("/%63b", E::Encoded),
            ("/%2Fcb", E::Encoded),
            ("/cb%3Fx", E::Encoded),
            ("/cb%0A", E::Encoded),
            ("/cb%", E::Encoded),
            ("/cb%E", E::Encoded),
            ("/cb%zz", E::Encoded),
            ("/%e4%b8%ad", E::Encoded),
            ("/%E4%B8", E::NotUtf8),
            ("/%FF", E::NotUtf8),
            ("/%ED%A0%80", E::NotUtf8),
            ("/中", E::Character),
            ("/a|b", E::Character),
            ("/a\\b", E::Character),
            ("/a b", E::Character),
            ("/a#b", E::Character),
        ] {
            assert_eq!(target.parse::<CallbackTarget>(), Err(why), "{target:?}");
        }
    }

    #[test]
    fn signed_parts_decode_the_path_and_keep_the_query() {
        let parts = |target: &str| {
            let target = target.parse::<CallbackTarget>().unwrap();
            let (path, query) = target.signed_parts();
            (path.into_owned(), query.to_vec())
        };
        assert_eq!(parts("/cb"), (b"/cb".to_vec(), b"".to_vec()));
        assert_eq!(parts("/cb?"), (b"/cb".to_vec(), b"?".to_vec()));
        assert_eq!(
            parts("/%E4%B8%AD?a=%41"),
            ("/中".as_bytes().to_vec(), b"?a=%41".to_vec())
        );
    }

    proptest::proptest! {
        /// Decoding a canonical path loses nothing: encoding the non-ASCII bytes again gives the path back.
        #[test]
        fn canonical_paths_decode_injectively(path in "/[a-z%89AEF.+/\u{e4}]{0,24}") {
            if let Ok(target) = path.parse::<CallbackTarget>() {
                let decoded = target.signed_parts().0.into_owned();
                let text = String::from_utf8(decoded).unwrap();
                let encoded = percent_encoding::utf8_percent_encode(&text, percent_encoding::CONTROLS);
                proptest::prop_assert_eq!(encoded.to_string(), path);
            }
        }
    }
}
