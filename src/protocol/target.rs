//! The request target of a callback, which is part of the text that OSS signs.

use std::{
    borrow::Cow,
    fmt,
    str::{self, FromStr},
};

use http::uri::PathAndQuery;
use percent_encoding::percent_decode;

/// The path and query that OSS requests, in their canonical spelling.
///
/// OSS signs `url_decode(path) + query + "\n" + body`. Decoding makes that text ambiguous: `/a%3Fb`
/// and `/a?b` have the same signature, and so do `/%69` and `/i`. A path therefore belongs to one
/// of three classes:
///
/// | class | spellings | |
/// |---|---|---|
/// | equivalent | hex digits in either case, escaped letters, digits and `-._~`; the escaped spelling of what a URL cannot contain: space, `"`, `<`, `>`, `` ` ``, `{`, `}`, `\|`, `^`, `\` and non-ASCII UTF-8 | accepted, and rewritten to the canonical spelling |
/// | ambiguous | the raw spelling of the characters above; `[` and `]` in either spelling; `+`; the escape of any other reserved character or of `%`; an empty segment, except the last | accepted only if a ticket or [`only_path`](crate::OssCallbackLayer::only_path) names it, or with [an opt-in](crate::OssCallbackLayer::dangerous_accept_ambiguous_targets) |
/// | impossible | escaped control bytes, escapes that are not UTF-8, a `%` that starts no escape, a segment `.` or `..` in any spelling | always rejected |
///
/// In the canonical spelling, unreserved characters are raw, and all escapes are upper-case hex.
/// The query is signed as sent and is never changed, including a `?` with nothing after it.
///
/// Two different targets of the first class never have the same signed text.
///
/// ```
/// use tower_aliyun_oss::protocol::{CallbackTarget, TargetError};
///
/// let target: CallbackTarget = "/oss/%e4%b8%ad?id=1".parse()?;
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
    /// Fails if the path is ambiguous or impossible. The error names the rule that the path breaks.
    pub fn canonical(target: PathAndQuery) -> Result<Self, TargetError> {
        let (target, ambiguity) = Self::classify(target)?;
        match ambiguity {
            None => Ok(target),
            Some(why) => Err(why),
        }
    }

    /// Creates a target that may be ambiguous, and returns the rule that makes it so. The caller
    /// rejects an ambiguous target unless something names exactly this target.
    ///
    /// Equivalent spellings give equal targets.
    pub(crate) fn classify(
        target: PathAndQuery,
    ) -> Result<(Self, Option<TargetError>), TargetError> {
        let target = match origin_form(target)? {
            // An empty text is printed as `/` and does not equal it.
            root if root.as_str() == "/" => PathAndQuery::from_static("/"),
            target => target,
        };
        let Spelling { path, ambiguity } = Spelling::of(target.path())?;
        let target = match path {
            Cow::Borrowed(_) => target,
            Cow::Owned(path) => {
                let query = target
                    .as_str()
                    .get(target.path().len()..)
                    .unwrap_or_default();
                // The parser accepted the raw text, and the canonical text only has fewer escapes
                // or other hex digits.
                PathAndQuery::try_from(path + query).map_err(|_| TargetError::Character)?
            }
        };
        Ok((Self(target), ambiguity))
    }

    /// Parses a target that may be ambiguous.
    pub(crate) fn parse_named(target: &str) -> Result<(Self, Option<TargetError>), TargetError> {
        // `PathAndQuery` silently drops a fragment, and the target would differ from the text.
        if target.contains('#') {
            return Err(TargetError::Character);
        }
        if !target.starts_with('/') {
            return Err(TargetError::NotOriginForm);
        }
        Self::classify(target.parse().map_err(|_| TargetError::Character)?)
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

    /// Returns the canonical path, and the query as sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    pub(crate) fn path_and_query(&self) -> &PathAndQuery {
        &self.0
    }

    /// Returns the first part of the signed text: the decoded path, and the query as sent,
    /// including its `?`.
    pub(crate) fn signed_parts(&self) -> (Cow<'_, [u8]>, &[u8]) {
        signed_parts(&self.0)
    }

    /// Returns whether two different targets can have the same signed text, if a decoder may read
    /// `+` as a space. No target contains a line feed, so the body cannot make up for a difference.
    pub(crate) fn coincides(&self, other: &Self) -> bool {
        let text = |target: &Self| {
            let (path, query) = target.signed_parts();
            plus_as_space(&[&*path, query].concat())
        };
        self != other && text(self) == text(other)
    }
}

/// Returns whether a request to one of these raw paths can have the same signed text as a request
/// to the other: their decoded texts are equal, or one is the other with a query.
pub(crate) fn paths_coincide(one: &str, other: &str) -> bool {
    let text = |path: &str| plus_as_space(&Cow::from(percent_decode(path.as_bytes())));
    let (one, other) = (text(one), text(other));
    let extends = |long: &[u8], short: &[u8]| {
        long.strip_prefix(short)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"?"))
    };
    extends(&one, &other) || extends(&other, &one)
}

fn plus_as_space(decoded: &[u8]) -> Vec<u8> {
    let space = |&byte: &u8| if byte == b'+' { b' ' } else { byte };
    decoded.iter().map(space).collect()
}

/// Returns the first part of the text that OSS signs for a request to this raw target.
pub(crate) fn signed_parts(target: &PathAndQuery) -> (Cow<'_, [u8]>, &[u8]) {
    let path = target.path();
    let query = target.as_str().get(path.len()..).unwrap_or_default();
    (percent_decode(path.as_bytes()).into(), query.as_bytes())
}

impl FromStr for CallbackTarget {
    type Err = TargetError;

    fn from_str(target: &str) -> Result<Self, Self::Err> {
        match Self::parse_named(target)? {
            (target, None) => Ok(target),
            (_, Some(why)) => Err(why),
        }
    }
}

impl fmt::Display for CallbackTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Error returned when a target is ambiguous or impossible, its path is not configured, or a path
/// cannot be configured.
#[derive(Clone, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// The target does not start with `/`.
    #[error("the callback target does not start with a slash")]
    NotOriginForm,
    /// Ambiguous: the path contains `+`, which some decoders read as a space.
    #[error("the callback path contains a plus sign, which decoders interpret differently")]
    Plus,
    /// Ambiguous: the path contains the escape of a reserved character, of `[` or `]`, or of `%`.
    #[error("the callback path contains the escape of a reserved character or of a percent sign")]
    Encoded,
    /// The path contains a `%` that does not start an escape.
    #[error("the callback path contains a percent sign that does not start an escape")]
    Escape,
    /// The path contains a control byte, in any spelling. An escaped line feed would move the
    /// boundary between target and body.
    #[error("the callback path contains a control byte")]
    Control,
    /// The decoded path is not UTF-8.
    #[error("the escapes in the callback path do not decode to UTF-8")]
    NotUtf8,
    /// Ambiguous: the path contains a character that a path cannot contain unencoded.
    #[error(
        "the callback path contains a character that is not allowed unencoded (did a proxy decode \
         the path?)"
    )]
    Character,
    /// The path contains a segment `.` or `..`, in any spelling.
    #[error("the callback path contains a segment \".\" or \"..\"")]
    DotSegment,
    /// Ambiguous: the path contains an empty segment before the last.
    #[error("the callback path contains an empty segment")]
    EmptySegment,
    /// The path is equivalent to an accepted one and spelled in another way, and the layer may not
    /// rewrite it: it knows how the callback URL is spelled, or the signed target is not the URI of
    /// the request.
    #[error(
        "the callback path is spelled in another way than the callback URL, or than its canonical \
         form behind a target hook, a proxy prefix or an outer router (did a proxy rewrite the \
         path?)"
    )]
    Spelling,
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
    /// A signature for this path or target can also be one for another that is configured. Holds
    /// the path or target.
    #[error(
        "a signature for {0:?} can also be a signature for another configured path or target, \
         which differs only in its encoding; remove one of them"
    )]
    Coincides(Box<str>),
}

crate::causes::debug_is_text!(TargetError);

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

/// The canonical spelling of a path, borrowed if the path has it already.
pub(crate) struct Spelling<'p> {
    pub(crate) path: Cow<'p, str>,
    /// The first rule that makes the path ambiguous.
    pub(crate) ambiguity: Option<TargetError>,
}

impl<'p> Spelling<'p> {
    /// Fails if the path is impossible.
    pub(crate) fn of(path: &'p str) -> Result<Self, TargetError> {
        let bytes = path.as_bytes();
        if bytes.first() != Some(&b'/') {
            return Err(TargetError::NotOriginForm);
        }
        let mut rewritten: Option<String> = None;
        let mut ambiguity = None;
        let mut segment_start = 1;
        // Everything before it is copied to `rewritten`.
        let mut copied = 0;
        let mut at = 1;
        while let Some(&byte) = bytes.get(at) {
            match byte {
                b'/' => {
                    if segment_start == at {
                        ambiguity.get_or_insert(TargetError::EmptySegment);
                    }
                    segment_start = at + 1;
                }
                b'%' => {
                    let digits = bytes.get(at + 1..at + 3).ok_or(TargetError::Escape)?;
                    let value = escaped(digits).ok_or(TargetError::Escape)?;
                    let upper = !digits.iter().any(u8::is_ascii_lowercase);
                    match value {
                        0..=0x1f | 0x7f => return Err(TargetError::Control),
                        _ if is_unreserved(value) || !upper => {
                            let text = rewritten.get_or_insert_default();
                            text.push_str(&path[copied..at]);
                            if is_unreserved(value) {
                                text.push(char::from(value));
                            } else {
                                text.push_str(&path[at..at + 3].to_ascii_uppercase());
                            }
                            copied = at + 3;
                        }
                        _ => {}
                    }
                    if !is_unreserved(value) && !must_be_escaped(value) {
                        ambiguity.get_or_insert(TargetError::Encoded);
                    }
                    at += 2;
                }
                0..=0x1f | 0x7f => return Err(TargetError::Control),
                b'+' => {
                    ambiguity.get_or_insert(TargetError::Plus);
                }
                _ if is_unreserved(byte) || b"!$&'()*,;=:@".contains(&byte) => {}
                _ => {
                    ambiguity.get_or_insert(TargetError::Character);
                }
            }
            at += 1;
        }
        let path = match rewritten {
            Some(text) => Cow::Owned(text + &path[copied..]),
            None => Cow::Borrowed(path),
        };
        let decoded: Cow<'_, [u8]> = percent_decode(path.as_bytes()).into();
        // In the decoded path, so that `%2E` and `..%2F` do not hide one. Some routers and file
        // systems take a backslash for a slash.
        let mut segments = decoded.split(|byte| matches!(byte, b'/' | b'\\'));
        if segments.any(|segment| matches!(segment, b"." | b"..")) {
            return Err(TargetError::DotSegment);
        }
        if str::from_utf8(&decoded).is_err() {
            return Err(TargetError::NotUtf8);
        }
        Ok(Self { path, ambiguity })
    }
}

fn escaped(digits: &[u8]) -> Option<u8> {
    let [high, low] = digits else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
}

/// The unreserved characters of RFC 3986 section 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// The bytes that a URI contains only as escapes, and that are not reserved. Control bytes are
/// impossible anyway.
fn must_be_escaped(byte: u8) -> bool {
    byte >= 0x80 || b" \"<>`{}|^\\".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_has_one_value() {
        // The parser drops the fragment, and keeps an empty text for the path.
        let root = PathAndQuery::try_from("#/6/").unwrap();
        let target = CallbackTarget::canonical(root);
        assert_eq!(target, "/".parse());
    }

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
    fn equivalent_spellings_have_one_canonical_form() {
        for (spelled, canonical) in [
            ("/%63b", "/cb"),
            ("/%7e%2D%5F%2e.a", "/~-_..a"),
            ("/%e4%b8%aD?%e4", "/%E4%B8%AD?%e4"),
            (
                "/%20%22%3c%3e%60%7b%7D%7c%5E%5c",
                "/%20%22%3C%3E%60%7B%7D%7C%5E%5C",
            ),
            ("/a/%41%42%2", ""),
        ] {
            let target = spelled.parse::<CallbackTarget>();
            match canonical {
                "" => assert_eq!(target, Err(TargetError::Escape)),
                _ => assert_eq!(target.unwrap().as_str(), canonical),
            }
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
            ("/a/%2e%2E/b", E::DotSegment),
            ("/a/.%2e", E::DotSegment),
            ("/a%2F..%2Fb", E::DotSegment),
            ("/a%5C..%5Cb", E::DotSegment),
            ("/a+b", E::Plus),
            ("/a-path-before-%C3%A4+b", E::Plus),
            ("/%2Fcb", E::Encoded),
            ("/cb%3Fx", E::Encoded),
            ("/cb%25", E::Encoded),
            ("/a%2Bb", E::Encoded),
            ("/a%5Bb", E::Encoded),
            ("/cb%0A", E::Control),
            ("/cb%00", E::Control),
            ("/cb%7f", E::Control),
            ("/a+b%0a", E::Control),
            ("/cb%", E::Escape),
            ("/cb%E", E::Escape),
            ("/cb%zz", E::Escape),
            ("/cb%+1", E::Escape),
            ("/%E4%B8", E::NotUtf8),
            ("/%FF", E::NotUtf8),
            ("/%ED%A0%80", E::NotUtf8),
            ("/中", E::Character),
            ("/a|b", E::Character),
            ("/a[b", E::Character),
            ("/a\\b", E::Character),
            ("/a b", E::Character),
            ("/a#b", E::Character),
        ] {
            assert_eq!(target.parse::<CallbackTarget>(), Err(why), "{target:?}");
        }
    }

    #[test]
    fn texts_that_coincide() {
        for (one, other) in [
            ("/a%2Fb", "/a/b"),
            ("/a%3Fb", "/a"),
            ("/a+b", "/a%20b"),
            ("/a%2Bb", "/a+b"),
            ("/a|b", "/a%7Cb"),
            ("/a%21", "/a!"),
        ] {
            assert!(paths_coincide(one, other) && paths_coincide(other, one));
        }
        for (one, other) in [
            ("/a/b", "/a"),
            ("/a//b", "/a/b"),
            ("/a%25b", "/a"),
            ("/ab", "/a"),
        ] {
            assert!(!paths_coincide(one, other) && !paths_coincide(other, one));
        }
        let target = |text| CallbackTarget::parse_named(text).unwrap().0;
        assert!(target("/a%3Fb=c").coincides(&target("/a?b=c")));
        assert!(target("/a+b?c").coincides(&target("/a%2Bb?c")));
        assert!(!target("/a%3Fb").coincides(&target("/a")));
        assert!(!target("/%61").coincides(&target("/a")));
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
        /// A canonical path follows from the decoded one.
        #[test]
        fn canonical_paths_decode_injectively(path in "/[a-z%89AEF.+/|\u{e4}]{0,24}") {
            const ESCAPED: &percent_encoding::AsciiSet = &percent_encoding::CONTROLS
                .add(b' ').add(b'"').add(b'<').add(b'>').add(b'`').add(b'{').add(b'}').add(b'|')
                .add(b'^').add(b'\\');
            if let Ok(target) = path.parse::<CallbackTarget>() {
                let decoded = target.signed_parts().0.into_owned();
                let text = String::from_utf8(decoded).unwrap();
                let encoded = percent_encoding::utf8_percent_encode(&text, ESCAPED).to_string();
                proptest::prop_assert_eq!(encoded, target.path());
                proptest::prop_assert_eq!(target.path().parse(), Ok(target.clone()));
            }
        }
    }
}
