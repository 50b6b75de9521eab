//! Object keys and prefixes.

use std::{error::Error, fmt, str::FromStr};

/// The longest object key OSS takes, in bytes of UTF-8.
const MAX_LEN: usize = 1023;

/// The full name of one object, safe to put into a policy.
///
/// Stricter than OSS, which would store almost any name: what a consumer could read as another place (`..`, `.`,
/// `//`, a leading `/`, `\`), what hides from the eye (control and bidirectional characters), and `$`, with which
/// OSS starts a variable, are refused.
///
/// ```
/// use tower_aliyun_oss::protocol::ObjectKey;
///
/// let key: ObjectKey = "user/1/照片.jpg".parse()?;
/// assert_eq!(key.as_str(), "user/1/照片.jpg");
/// assert!("user/../admin.jpg".parse::<ObjectKey>().is_err());
/// # Ok::<(), tower_aliyun_oss::protocol::ObjectNameError>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ObjectKey(Box<str>);

impl ObjectKey {
    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ObjectKey {
    type Err = ObjectNameError;

    fn from_str(key: &str) -> Result<Self, Self::Err> {
        check(key)?;
        if key.ends_with('/') {
            return Err(ObjectNameError::EmptySegment);
        }
        Ok(Self(key.into()))
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A folder that uploads may go into: like an [`ObjectKey`], but it ends in `/`.
///
/// Without the slash, `user/1` would also grant `user/10/`; an empty prefix would grant the whole bucket.
///
/// ```
/// use tower_aliyun_oss::protocol::{ObjectKey, ObjectNameError, ObjectPrefix};
///
/// let prefix: ObjectPrefix = "user/1/".parse()?;
/// assert!(prefix.contains(&"user/1/a.jpg".parse::<ObjectKey>()?));
/// assert_eq!("user/1".parse::<ObjectPrefix>(), Err(ObjectNameError::NoTrailingSlash));
/// # Ok::<(), ObjectNameError>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ObjectPrefix(Box<str>);

impl ObjectPrefix {
    /// The prefix as text, with its trailing slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether an object of this name lies under the prefix.
    #[must_use]
    pub fn contains(&self, key: &ObjectKey) -> bool {
        key.0.starts_with(&*self.0)
    }
}

impl FromStr for ObjectPrefix {
    type Err = ObjectNameError;

    fn from_str(prefix: &str) -> Result<Self, Self::Err> {
        check(prefix)?;
        if !prefix.ends_with('/') {
            return Err(ObjectNameError::NoTrailingSlash);
        }
        Ok(Self(prefix.into()))
    }
}

impl fmt::Display for ObjectPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not an object key or prefix.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ObjectNameError {
    /// Nothing at all; as a prefix it would grant the whole bucket.
    Empty,
    /// Longer than 1,023 bytes of UTF-8; holds the length found.
    TooLong(usize),
    /// A `/` or `\` at the start, which OSS refuses.
    LeadingSlash,
    /// Two slashes in a row, or a key that ends in one.
    EmptySegment,
    /// A segment `.` or `..`, which a consumer may resolve to another place.
    DotSegment,
    /// A backslash, a control character, or one that changes the direction of text.
    Character(char),
    /// A `$`, with which OSS starts a variable.
    Dollar,
    /// A prefix without its trailing slash.
    NoTrailingSlash,
}

impl fmt::Display for ObjectNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("an object key or prefix cannot be empty: a key would be refused (InvalidObjectName), a prefix would grant the whole bucket"),
            Self::TooLong(found) => {
                write!(
                    f,
                    "an object key has at most 1023 bytes of utf-8, not {found} (InvalidObjectName)"
                )
            }
            Self::LeadingSlash => f.write_str("an object key or prefix cannot start with a slash or backslash (InvalidObjectName)"),
            Self::EmptySegment => {
                f.write_str("an object key cannot hold or end in an empty segment")
            }
            Self::DotSegment => {
                f.write_str("an object key or prefix cannot hold a segment \".\" or \"..\"")
            }
            Self::Character(c) => {
                write!(
                    f,
                    "an object key or prefix cannot hold the character {}",
                    c.escape_unicode()
                )
            }
            Self::Dollar => f.write_str(
                "an object key or prefix cannot hold \"$\", with which oss starts a variable",
            ),
            Self::NoTrailingSlash => f.write_str(
                "a prefix must end in a slash: without it, user/1 would also grant user/10/",
            ),
        }
    }
}

impl Error for ObjectNameError {}

fn check(name: &str) -> Result<(), ObjectNameError> {
    if name.is_empty() {
        return Err(ObjectNameError::Empty);
    }
    if name.len() > MAX_LEN {
        return Err(ObjectNameError::TooLong(name.len()));
    }
    if name.starts_with(['/', '\\']) {
        return Err(ObjectNameError::LeadingSlash);
    }
    for c in name.chars() {
        match c {
            '$' => return Err(ObjectNameError::Dollar),
            '\\' => return Err(ObjectNameError::Character(c)),
            c if c.is_control() || is_direction_mark(c) => {
                return Err(ObjectNameError::Character(c));
            }
            _ => {}
        }
    }
    // The last segment may be empty here: that is the trailing slash of a prefix.
    let mut segments = name.split('/').peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "." | ".." => return Err(ObjectNameError::DotSegment),
            "" if segments.peek().is_some() => return Err(ObjectNameError::EmptySegment),
            _ => {}
        }
    }
    Ok(())
}

/// Marks that make text read in another order than it is stored (Unicode UAX #9), and the line separators.
fn is_direction_mark(c: char) -> bool {
    matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_prefixes_that_are_fine() {
        for key in [
            "a",
            "a/b.jpg",
            "用户/照片 1.jpg",
            "a..b/.hidden",
            &"k".repeat(1023),
        ] {
            assert_eq!(key.parse::<ObjectKey>().unwrap().as_str(), key);
        }
        for prefix in ["a/", "user-dir-prefix/", "用户/1/"] {
            assert_eq!(prefix.parse::<ObjectPrefix>().unwrap().as_str(), prefix);
        }
    }

    #[test]
    fn names_that_are_refused() {
        use ObjectNameError as E;
        let long = "é".repeat(512);
        for (name, why) in [
            ("", E::Empty),
            (long.as_str(), E::TooLong(1024)),
            ("/a", E::LeadingSlash),
            ("\\a", E::LeadingSlash),
            ("a//b", E::EmptySegment),
            ("a/../b", E::DotSegment),
            ("./a", E::DotSegment),
            ("a/..", E::DotSegment),
            ("a\\b", E::Character('\\')),
            ("a\0b", E::Character('\0')),
            ("a\u{7f}b", E::Character('\u{7f}')),
            ("a\u{202e}gpj.exe", E::Character('\u{202e}')),
            ("${filename}", E::Dollar),
            ("a/\\${filename}", E::Character('\\')),
        ] {
            assert_eq!(name.parse::<ObjectKey>(), Err(why), "{name:?}");
            assert!(name.parse::<ObjectPrefix>().is_err(), "{name:?}");
            assert!(
                format!("{name}/").parse::<ObjectPrefix>().is_err(),
                "{name:?}"
            );
        }
        assert_eq!("a/".parse::<ObjectKey>(), Err(E::EmptySegment));
        assert_eq!("a/b".parse::<ObjectPrefix>(), Err(E::NoTrailingSlash));
        assert_eq!("a//".parse::<ObjectPrefix>(), Err(E::EmptySegment));
    }

    #[test]
    fn a_prefix_contains_only_what_lies_under_it() {
        let prefix: ObjectPrefix = "user/1/".parse().unwrap();
        assert!(prefix.contains(&"user/1/a".parse().unwrap()));
        assert!(!prefix.contains(&"user/10/a".parse().unwrap()));
    }
}
