//! The request target of a callback, which is part of the text that OSS signs.

use std::{borrow::Cow, fmt, str::FromStr};

use http::uri::PathAndQuery;
use percent_encoding::percent_decode;

/// The path and query that OSS requests, exactly as sent.
///
/// OSS signs `url_decode(path) + query + "\n" + body`. Decoding makes that text ambiguous: `/a%3Fb`
/// and `/a?b` have the same signature, and so do `/%69` and `/i`. A target is therefore accepted
/// only in its canonical spelling:
///
/// * the path starts with `/` and contains only letters, digits, `-._~`, `!$&'()*,;=:@` and `/`;
/// * `%XX` appears only for bytes from 0x80 on, in upper-case hex, and the decoded path is UTF-8;
/// * the path has no `+`, no segment `.` or `..`, and no empty segment except the last (`/` and one
///   trailing slash are canonical);
/// * the query is kept as sent, including a `?` with nothing after it.
///
/// Under these rules two different targets never have the same signed text.
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
    /// Creates a target from the path and query of a request.
    ///
    /// # Errors
    ///
    /// Fails if the path is not canonical. The error names the rule that the path breaks.
    pub fn canonical(target: PathAndQuery) -> Result<Self, TargetError> {
        let target = origin_form(target)?;
        check_path(target.path())?;
        Ok(Self(target))
    }

    /// Creates a target whose raw path the caller has compared, byte for byte, with a configured
    /// path. The comparison fixes the spelling, so the path need not be canonical.
    pub(crate) fn with_expected_path(target: PathAndQuery) -> Result<Self, TargetError> {
        origin_form(target).map(Self)
    }

    /// Returns the path, still percent-encoded.
    #[must_use]
    pub fn path(&self) -> &str {
        self.0.path()
    }

    /// Returns the query without its `?`, still percent-encoded; `Some("")` if nothing follows the
    /// `?`.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.0.query()
    }

    /// Returns path and query as sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Returns the first part of the signed text: the decoded path, and the query as sent,
    /// including its `?`.
    pub(crate) fn signed_parts(&self) -> (Cow<'_, [u8]>, &[u8]) {
        let path = self.path();
        let query = self.as_str().get(path.len()..).unwrap_or_default();
        (percent_decode(path.as_bytes()).into(), query.as_bytes())
    }
}

impl FromStr for CallbackTarget {
    type Err = TargetError;

    fn from_str(target: &str) -> Result<Self, Self::Err> {
        // `PathAndQuery` silently drops a fragment, and the target would differ from the text.
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

/// Error returned when a target is not canonical, its path is not configured, or a path cannot be
/// configured.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// The target does not start with `/`.
    #[error("the callback target does not start with a slash")]
    NotOriginForm,
    /// The path contains `+`, which some decoders read as a space.
    #[error("the callback path contains a plus sign, which decoders interpret differently")]
    Plus,
    /// The path contains an encoded ASCII character, lower-case hex, or a `%` that does not start
    /// an escape.
    #[error("the callback path contains an escape that is not upper-case hex of a non-ASCII byte")]
    Encoded,
    /// The decoded path is not UTF-8.
    #[error("the escapes in the callback path do not decode to UTF-8")]
    NotUtf8,
    /// The path contains a character that a path cannot contain unencoded.
    #[error(
        "the callback path contains a character that is not allowed unencoded (did a proxy decode \
         the path?)"
    )]
    Character,
    /// The path contains a segment `.` or `..`.
    #[error("the callback path contains a segment \".\" or \"..\"")]
    DotSegment,
    /// The path contains an empty segment before the last.
    #[error("the callback path contains an empty segment")]
    EmptySegment,
    /// The path is not one of the configured paths.
    #[error("the callback was signed for a path that is not configured")]
    NotConfigured,
    /// No request can have the path that was passed to
    /// [`only_path`](crate::OssCallbackLayer::only_path). Holds the path.
    #[error(
        "no request can have the path {0:?}; use a raw path that starts with a slash and has no \
         query, such as \"/oss/callback\""
    )]
    InvalidPath(Box<str>),
}

/// Rejects a target without a path.
///
/// A request URI in absolute form can have a query and no path (`http://h?a`). `path()` then
/// returns `/`, although the text does not contain it, and the signed text would be wrong.
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
    // UTF-8 is checked only if there are escapes: every raw byte that passes below is ASCII.
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
                    // A high nibble of 8 or more means a byte from 0x80 on, so not ASCII.
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
        /// Decoding a canonical path is reversible: encoding the non-ASCII bytes restores the path.
        #[test]
        fn canonical_paths_decode_injectively(path in "/[a-z%89AEF.+/\u{e4}]{0,24}") {
            if let Ok(target) = path.parse::<CallbackTarget>() {
                let decoded = target.signed_parts().0.into_owned();
                let text = String::from_utf8(decoded).unwrap();
                let encoded =
                    percent_encoding::utf8_percent_encode(&text, percent_encoding::CONTROLS);
                proptest::prop_assert_eq!(encoded.to_string(), path);
            }
        }
    }
}
