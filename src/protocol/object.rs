//! The object of an upload: its name, size, content type and ACL.

use std::{borrow::Cow, fmt, str::FromStr};

/// The longest object key that OSS accepts, in bytes of UTF-8.
const MAX_KEY_LEN: usize = 1023;

/// The full name of one object, safe to use in a policy.
///
/// The rules are stricter than those of OSS, which stores almost any name. Rejected are:
///
/// * names that a consumer could resolve to another place: segments `.` and `..`, in every spelling
///   that [`ReceivedName`] rejects, `//`, a leading `/`, and `\`;
/// * characters that hide or reorder what a reader sees: control characters and bidirectional
///   marks;
/// * `$`, because OSS starts a variable with it.
///
/// ```
/// use tower_aliyun_oss::protocol::ObjectKey;
///
/// let key: ObjectKey = "user/1/照片.jpg".parse()?;
/// assert_eq!(key.as_str(), "user/1/照片.jpg");
/// assert!("user/../admin.jpg".parse::<ObjectKey>().is_err());
/// # Ok::<(), tower_aliyun_oss::protocol::ObjectError>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ObjectKey(Box<str>);

impl ObjectKey {
    /// Returns the key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ObjectKey {
    type Err = ObjectError;

    fn from_str(key: &str) -> Result<Self, Self::Err> {
        check(key)?;
        if key.ends_with('/') {
            return Err(ObjectError::EmptySegment);
        }
        Ok(Self(key.into()))
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A folder that uploads may go into. The rules of [`ObjectKey`] apply, and it must end in `/`.
///
/// Without the slash, `user/1` would also grant `user/10/`; an empty prefix would grant the whole
/// bucket.
///
/// ```
/// use tower_aliyun_oss::protocol::{ObjectKey, ObjectError, ObjectPrefix};
///
/// let prefix: ObjectPrefix = "user/1/".parse()?;
/// assert!(prefix.contains(&"user/1/a.jpg".parse::<ObjectKey>()?));
/// assert_eq!("user/1".parse::<ObjectPrefix>(), Err(ObjectError::NoTrailingSlash));
/// # Ok::<(), ObjectError>(())
/// ```
///
/// Build a prefix that contains text from elsewhere, such as the name of a user, with
/// [`from_segments`](Self::from_segments).
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ObjectPrefix(Box<str>);

impl ObjectPrefix {
    /// Creates a prefix of folders, one inside the other: `["user", "ann"]` becomes `user/ann/`.
    ///
    /// A segment is exactly one folder, whatever text it is, so it may come from elsewhere: with
    /// `["user", name]`, the prefix of one name never lies inside that of another. With
    /// `format!("user/{name}/")` the name `ann/private` would be a folder of `ann`.
    ///
    /// ```
    /// use tower_aliyun_oss::protocol::ObjectPrefix;
    ///
    /// assert_eq!(ObjectPrefix::from_segments(["user", "ann"])?.as_str(), "user/ann/");
    /// for name in ["", "..", "../bob", "ann/private", "ann\\private", "ann\n"] {
    ///     assert!(ObjectPrefix::from_segments(["user", name]).is_err());
    /// }
    /// # Ok::<(), tower_aliyun_oss::protocol::ObjectError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if there is no segment, if a segment is empty, or if a consumer may resolve it to `.`
    /// or `..`, as listed for [`ReceivedName`]. Also fails if a segment contains a slash, a
    /// backslash, `$`, a control character or a mark that changes the direction of text, or if the
    /// prefix exceeds 1,023 bytes of UTF-8.
    pub fn from_segments<I>(segments: I) -> Result<Self, ObjectError>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        let mut prefix = String::new();
        for segment in segments {
            let segment = segment.as_ref();
            match segment {
                "" => return Err(ObjectError::EmptySegment),
                // Two folders in one segment would put one user inside the folder of another.
                _ if segment.contains('/') => return Err(ObjectError::Character('/')),
                _ => {}
            }
            prefix.push_str(segment);
            prefix.push('/');
        }
        prefix.parse()
    }

    /// Returns the prefix, including its trailing slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether `key` names an object in this folder or in one below it.
    #[must_use]
    pub fn contains(&self, key: &ObjectKey) -> bool {
        key.0.starts_with(&*self.0)
    }
}

impl FromStr for ObjectPrefix {
    type Err = ObjectError;

    fn from_str(prefix: &str) -> Result<Self, Self::Err> {
        check(prefix)?;
        if !prefix.ends_with('/') {
            return Err(ObjectError::NoTrailingSlash);
        }
        Ok(Self(prefix.into()))
    }
}

impl fmt::Display for ObjectPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of an object that an uploader chose: any name that OSS stores, except those that a
/// consumer could resolve to another place.
///
/// [`ObjectKey`] is for the names that your server gives. Under a
/// [prefix](crate::policy::Grant::any_name_under) the uploader chooses, and OSS stores almost
/// everything: `Invoice $100.pdf`, control characters, marks that display text in another order
/// than it is stored in. A callback for such a name is genuine. Rejected are only:
///
/// * what OSS does not store: an empty name, one over 1,023 bytes, and a leading `/` or `\`;
/// * a segment `.` or `..`, with `/` or `\` around it, in any depth of percent-encoding, because a
///   consumer may resolve it to a place outside of the prefix. URL parsers and servers also resolve
///   some longer segments to these, so they are rejected too: with tabs or line breaks in between,
///   with spaces or control characters around, and followed by `?`, `#`, `;` or NUL and any text.
///
/// The bare prefix, such as `user/7/`, is accepted: consoles and tools create an object of this
/// name to show an empty folder.
///
/// **The name is still hostile text.** It can deceive a reader (`photo\u{202e}gpj.exe` is
/// displayed as `photoexe.jpg`), break lines of a log, contain HTML or `${…}`, and be a path that
/// your file system treats in its own way. Never use it as a file name. `Display` escapes control
/// characters, the marks and `\`; [`as_str`](Self::as_str) returns the name as it is.
///
/// ```
/// use tower_aliyun_oss::protocol::ReceivedName;
///
/// let name: ReceivedName = "user/1/Invoice $100\u{202e}fdp.exe".parse()?;
/// assert_eq!(name.to_string(), "user/1/Invoice $100\\u{202e}fdp.exe");
/// assert!("user/1/%2e%2e/2/a.pdf".parse::<ReceivedName>().is_err());
/// # Ok::<(), tower_aliyun_oss::protocol::ObjectError>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ReceivedName(Box<str>);

impl ReceivedName {
    /// Returns the name as OSS stores it, which may contain control characters and marks.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn check(name: &str) -> Result<(), ObjectError> {
        check_stored(name)?;
        if has_dot_segment(name) {
            return Err(ObjectError::DotSegment);
        }
        Ok(())
    }
}

impl FromStr for ReceivedName {
    type Err = ObjectError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::check(name)?;
        Ok(Self(name.into()))
    }
}

impl fmt::Display for ReceivedName {
    /// Escapes what hides or reorders text: `\n` for a line feed, `\u{202e}` for a mark, `\\` for a
    /// backslash.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| {
            if c == '\\' || is_deceptive(c) {
                write!(f, "{}", c.escape_default())
            } else {
                write!(f, "{c}")
            }
        })
    }
}

/// Checks what OSS itself requires.
fn check_stored(name: &str) -> Result<(), ObjectError> {
    if name.is_empty() {
        return Err(ObjectError::Empty);
    }
    if name.len() > MAX_KEY_LEN {
        return Err(ObjectError::TooLong(name.len()));
    }
    if name.starts_with(['/', '\\']) {
        return Err(ObjectError::LeadingSlash);
    }
    Ok(())
}

fn check(name: &str) -> Result<(), ObjectError> {
    check_stored(name)?;
    for c in name.chars() {
        match c {
            '$' => return Err(ObjectError::Dollar),
            '\\' => return Err(ObjectError::Character(c)),
            c if is_deceptive(c) => return Err(ObjectError::Character(c)),
            _ => {}
        }
    }
    // Only the last segment may be empty: it is the one after the trailing slash of a prefix.
    let mut segments = name.split('/').peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "." | ".." => return Err(ObjectError::DotSegment),
            "" if segments.peek().is_some() => return Err(ObjectError::EmptySegment),
            _ => {}
        }
    }
    // A user called `%2e%2e` must not get a folder that a URL parser resolves to the one above.
    if has_dot_segment(name) {
        return Err(ObjectError::DotSegment);
    }
    Ok(())
}

/// Control characters, the marks that display text in another order than it is stored in (Unicode
/// UAX #9), and the line separators.
fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c,
        '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Returns whether a name has a segment that a consumer may resolve to `.` or `..`, once its
/// percent-encoding is removed, however often it was applied.
fn has_dot_segment(name: &str) -> bool {
    let mut decoded: Vec<u8> = Vec::with_capacity(name.len());
    let push = |decoded: &mut Vec<u8>, byte| {
        // The URL Standard removes these before anything else: `.\t.` is `..` to a browser.
        if !matches!(byte, b'\t' | b'\r' | b'\n') {
            decoded.push(byte);
        }
    };
    for byte in name.bytes() {
        push(&mut decoded, byte);
        // A decoded byte can be the end of another escape, as in `%252e`.
        while let [.., b'%', high, low] = decoded[..]
            && let (Some(high), Some(low)) = (hex_digit(high), hex_digit(low))
        {
            decoded.truncate(decoded.len() - 3);
            push(&mut decoded, high << 4 | low);
        }
    }
    let mut segments = decoded.split(|byte| matches!(byte, b'/' | b'\\'));
    segments.any(|segment| {
        // `?` and `#` end the path of a URL, NUL a string in C, and some servers cut a parameter
        // such as `;v=1` off each segment.
        let mut parts = segment.split(|byte| matches!(byte, b'?' | b'#' | b';' | b'\0'));
        let mut segment = parts.next().unwrap_or_default();
        // URL parsers remove these from the end of a URL, and Windows spaces from the end of a
        // file name.
        while let [first @ ..=b' ', rest @ ..] | [rest @ .., first @ ..=b' '] = segment {
            let _: &u8 = first;
            segment = rest;
        }
        matches!(segment, b"." | b"..")
    })
}

fn hex_digit(byte: u8) -> Option<u8> {
    let digit = char::from(byte).to_digit(16)?;
    u8::try_from(digit).ok()
}

/// The sizes that an upload may have, in bytes, both ends included: the `content-length-range` of a
/// policy.
///
/// OSS accepts at most 5 GiB in one form or one `PutObject` ([PostObject]), and 48.8 TiB in an
/// object that is [uploaded in parts](crate::policy::OssPresignService). A policy for a larger
/// range permits 5 GiB.
///
/// ```
/// use tower_aliyun_oss::protocol::SizeRange;
///
/// let range = SizeRange::new(1, 10 * 1024 * 1024)?;
/// assert!(range.contains(1) && !range.contains(0));
/// assert!(SizeRange::new(2, 1).is_err());
/// # Ok::<(), tower_aliyun_oss::protocol::ObjectError>(())
/// ```
///
/// [PostObject]: https://www.alibabacloud.com/help/en/oss/developer-reference/postobject
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct SizeRange {
    min: u64,
    max: u64,
}

impl SizeRange {
    /// The largest object that OSS stores: 10,000 parts of 5 GiB, which are 48.8 TiB.
    pub const LIMIT: u64 = 10_000 * Self::FORM_LIMIT;

    /// The largest object that OSS accepts in one form or one `PutObject`: 5 GiB.
    pub const FORM_LIMIT: u64 = 5 * 1024 * 1024 * 1024;

    /// Every size.
    pub(crate) const ANY: Self = Self {
        min: 0,
        max: Self::LIMIT,
    };

    /// Creates a range from `min` to `max` bytes.
    ///
    /// # Errors
    ///
    /// Fails if `min` is above `max`, which OSS rejects with EC 0006-00000219, or if `max` is above
    /// [`Self::LIMIT`].
    pub const fn new(min: u64, max: u64) -> Result<Self, ObjectError> {
        if min > max {
            return Err(ObjectError::SizeReversed);
        }
        if max > Self::LIMIT {
            return Err(ObjectError::SizeTooLarge);
        }
        Ok(Self { min, max })
    }

    /// Returns the sizes of this range that one form can have, if there are any.
    pub(crate) const fn of_form(self) -> Option<Self> {
        let max = match self.max {
            max if max > Self::FORM_LIMIT => Self::FORM_LIMIT,
            max => max,
        };
        if self.min > max {
            return None;
        }
        Some(Self { min: self.min, max })
    }

    /// Returns the smallest size, in bytes.
    #[must_use]
    pub const fn min(&self) -> u64 {
        self.min
    }

    /// Returns the largest size, in bytes.
    #[must_use]
    pub const fn max(&self) -> u64 {
        self.max
    }

    /// Returns whether an upload of `size` bytes is within the range.
    #[must_use]
    pub const fn contains(&self, size: u64) -> bool {
        self.min <= size && size <= self.max
    }
}

/// The media type of an object, such as `image/png`: one exact `type/subtype`, without parameters
/// or wildcards.
///
/// The text is kept in lower case: media types are case-insensitive (RFC 9110 section 8.3.1), but
/// OSS compares the values of a policy byte for byte.
///
/// ```
/// use tower_aliyun_oss::protocol::ContentType;
///
/// let png: ContentType = "image/png".parse()?;
/// assert_eq!(png, ContentType::PNG);
/// assert!(ContentType::IMAGES.contains(&png));
/// assert!("image/*".parse::<ContentType>().is_err());
///
/// const ICON: ContentType = ContentType::from_static("image/x-icon");
/// assert_eq!(ICON.as_str(), "image/x-icon");
/// # Ok::<(), tower_aliyun_oss::protocol::ObjectError>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ContentType(Cow<'static, str>);

impl ContentType {
    /// `image/jpeg`.
    pub const JPEG: Self = Self::from_static("image/jpeg");

    /// `image/png`.
    pub const PNG: Self = Self::from_static("image/png");

    /// `image/gif`.
    pub const GIF: Self = Self::from_static("image/gif");

    /// `image/webp`.
    pub const WEBP: Self = Self::from_static("image/webp");

    /// `video/mp4`.
    pub const MP4: Self = Self::from_static("video/mp4");

    /// `application/pdf`.
    pub const PDF: Self = Self::from_static("application/pdf");

    /// `application/octet-stream`, the default of OSS and of a [`Grant`](crate::policy::Grant).
    pub const OCTET_STREAM: Self = Self::from_static("application/octet-stream");

    /// Photos and pictures: JPEG, PNG, GIF, WebP, AVIF, and the HEIC and HEIF of phones. Not SVG,
    /// which can contain scripts.
    pub const IMAGES: [Self; 7] = [
        Self::JPEG,
        Self::PNG,
        Self::GIF,
        Self::WEBP,
        Self::from_static("image/avif"),
        Self::from_static("image/heic"),
        Self::from_static("image/heif"),
    ];

    /// Films: MP4, QuickTime, WebM and 3GP, which browsers play or phones record.
    pub const VIDEOS: [Self; 4] = [
        Self::MP4,
        Self::from_static("video/quicktime"),
        Self::from_static("video/webm"),
        Self::from_static("video/3gpp"),
    ];

    /// Sound: MP3, MPEG-4, AAC, Ogg, WAV, WebM and FLAC, under each name that browsers send.
    pub const AUDIO: [Self; 11] = [
        Self::from_static("audio/mpeg"),
        Self::from_static("audio/mp4"),
        Self::from_static("audio/m4a"),
        Self::from_static("audio/x-m4a"),
        Self::from_static("audio/aac"),
        Self::from_static("audio/ogg"),
        Self::from_static("audio/wav"),
        Self::from_static("audio/x-wav"),
        Self::from_static("audio/webm"),
        Self::from_static("audio/flac"),
        Self::from_static("audio/x-flac"),
    ];

    /// Documents: PDF, plain text, CSV, and those of Microsoft Office and OpenDocument. They can
    /// contain macros, so scan them before others open them.
    pub const DOCUMENTS: [Self; 12] = [
        Self::PDF,
        Self::from_static("text/plain"),
        Self::from_static("text/csv"),
        Self::from_static("application/msword"),
        Self::from_static("application/vnd.ms-excel"),
        Self::from_static("application/vnd.ms-powerpoint"),
        Self::from_static(
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        ),
        Self::from_static("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
        Self::from_static(
            "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        ),
        Self::from_static("application/vnd.oasis.opendocument.text"),
        Self::from_static("application/vnd.oasis.opendocument.spreadsheet"),
        Self::from_static("application/vnd.oasis.opendocument.presentation"),
    ];

    /// Creates a media type from a literal in lower case. In a constant, a mistake is an error of
    /// the compiler.
    ///
    /// ```compile_fail
    /// # use tower_aliyun_oss::protocol::ContentType;
    /// const WILDCARD: ContentType = ContentType::from_static("image/*");
    /// # let _ = WILDCARD;
    /// ```
    ///
    /// # Panics
    ///
    /// Panics if the text is not a media type, or contains upper-case letters. Use
    /// [`str::parse`] for text that is not a literal.
    #[must_use]
    #[track_caller]
    pub const fn from_static(text: &'static str) -> Self {
        #[expect(clippy::panic, reason = "the text is a literal, and mostly a constant")]
        if !is_lower_case_type(text.as_bytes()) {
            panic!("a content type must be type/subtype in lower case, without parameters");
        }
        Self(Cow::Borrowed(text))
    }

    /// Returns the media type, in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ContentType {
    type Err = ObjectError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, subtype) = text.split_once('/').ok_or(ObjectError::ContentTypeForm)?;
        if kind.contains('*') || subtype.contains('*') {
            return Err(ObjectError::ContentTypeWildcard);
        }
        if !is_restricted_name(kind) || !is_restricted_name(subtype) {
            return Err(ObjectError::ContentTypeForm);
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }
}

/// The same rules as `FromStr`, for constants.
const fn is_lower_case_type(text: &[u8]) -> bool {
    let (mut at, mut len, mut parts) = (0, 0, 1);
    while at < text.len() {
        match text[at] {
            b'/' if parts == 1 && 0 < len && len <= MAX_RESTRICTED_NAME => {
                (parts, len) = (2, 0);
                at += 1;
                continue;
            }
            b'a'..=b'z' | b'0'..=b'9' => {}
            b'!' | b'#' | b'$' | b'&' | b'-' | b'^' | b'_' | b'.' | b'+' if len > 0 => {}
            _ => return false,
        }
        len += 1;
        at += 1;
    }
    parts == 2 && 0 < len && len <= MAX_RESTRICTED_NAME
}

impl fmt::Display for ContentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Maximum length of a `restricted-name`.
const MAX_RESTRICTED_NAME: usize = 127;

/// `restricted-name` of RFC 6838 section 4.2.
fn is_restricted_name(name: &str) -> bool {
    name.len() <= MAX_RESTRICTED_NAME
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
}

/// The access control list of an object: the value of `x-oss-object-acl` ([object ACLs]).
///
/// There is no `public-read-write`, because it lets anybody overwrite the uploaded object.
///
/// [object ACLs]: https://www.alibabacloud.com/help/en/oss/user-guide/object-acl
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ObjectAcl {
    /// `private`: only the owner and accounts that the owner authorizes.
    #[default]
    Private,
    /// `public-read`: anybody can read the object.
    PublicRead,
    /// `default`: the ACL of the bucket applies.
    Bucket,
}

impl ObjectAcl {
    /// Returns the value as OSS spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::PublicRead => "public-read",
            Self::Bucket => "default",
        }
    }
}

impl fmt::Display for ObjectAcl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Error returned when a text is not an object key, prefix or media type, or two numbers are not a
/// range of sizes.
#[derive(Clone, Copy, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectError {
    /// The key or prefix is empty. As a prefix it would grant the whole bucket.
    #[error(
        "an object key or prefix must not be empty: OSS rejects an empty key (InvalidObjectName), \
         and an empty prefix would grant the whole bucket"
    )]
    Empty,
    /// The key or prefix is longer than 1,023 bytes of UTF-8. Holds the length found.
    #[error("an object key may have at most 1023 bytes of UTF-8, not {0} (InvalidObjectName)")]
    TooLong(usize),
    /// The key or prefix starts with `/` or `\`, which OSS rejects.
    #[error("an object key or prefix must not start with a slash or backslash (InvalidObjectName)")]
    LeadingSlash,
    /// The key or prefix contains two slashes in a row, or is a key that ends in one.
    #[error("an object key must not contain or end in an empty segment")]
    EmptySegment,
    /// The key or prefix contains a segment `.` or `..`, which a consumer may resolve to another
    /// place.
    #[error("an object key or prefix must not contain a segment \".\" or \"..\"")]
    DotSegment,
    /// The key or prefix contains a backslash, a control character, or a character that changes the
    /// direction of text.
    #[error("an object key or prefix must not contain the character {}", .0.escape_unicode())]
    Character(char),
    /// The key or prefix contains `$`, with which OSS starts a variable.
    #[error("an object key or prefix must not contain \"$\", which starts a variable in OSS")]
    Dollar,
    /// The prefix lacks its trailing slash.
    #[error("a prefix must end in a slash: without it, user/1 would also grant user/10/")]
    NoTrailingSlash,
    /// The smallest size of a [`SizeRange`] is above the largest.
    #[error(
        "the smallest size is above the largest; OSS rejects such a content-length-range \
         (EC 0006-00000219)"
    )]
    SizeReversed,
    /// The largest size of a [`SizeRange`] is above [`SizeRange::LIMIT`].
    #[error("the largest size is above 48.8 TiB, the limit of OSS for one object")]
    SizeTooLarge,
    /// The [`ContentType`] is not `type/subtype`. Parameters are rejected too.
    #[error("a content type must be type/subtype without parameters, for example image/png")]
    ContentTypeForm,
    /// The [`ContentType`] contains `*`. An object has one type, so list the allowed ones.
    #[error("a content type must not contain a wildcard; list each type that is allowed")]
    ContentTypeWildcard,
}

crate::causes::debug_is_text!(ObjectError);

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
        use ObjectError as E;
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
    fn pl_34_segments_that_are_refused() {
        use ObjectError as E;
        let long = "a".repeat(1018);
        for (segment, why) in [
            ("", E::EmptySegment),
            (".", E::DotSegment),
            ("..", E::DotSegment),
            ("/", E::Character('/')),
            ("a/b", E::Character('/')),
            ("../a", E::Character('/')),
            ("a/", E::Character('/')),
            ("\\", E::Character('\\')),
            ("a\\..", E::Character('\\')),
            ("a\0", E::Character('\0')),
            ("a\r\n", E::Character('\r')),
            ("a\u{85}", E::Character('\u{85}')),
            ("a\u{202e}", E::Character('\u{202e}')),
            ("${object}", E::Dollar),
            (long.as_str(), E::TooLong(1024)),
        ] {
            assert_eq!(
                ObjectPrefix::from_segments(["user", segment]),
                Err(why),
                "{segment:?}"
            );
        }
        // As the first segment too.
        for segment in ["", ".", "..", "/", "\\", "\0"] {
            assert!(
                ObjectPrefix::from_segments([segment, "a"]).is_err(),
                "{segment:?}"
            );
        }
        let nothing: [&str; 0] = [];
        assert_eq!(ObjectPrefix::from_segments(nothing), Err(E::Empty));
        let owned = [String::from("user"), String::from("安 . n")];
        assert_eq!(
            ObjectPrefix::from_segments(owned).unwrap().as_str(),
            "user/安 . n/"
        );
    }

    mod segments {
        use proptest::prelude::*;

        use super::*;

        /// Names that users might choose, and those that attack a path.
        fn name() -> impl Strategy<Value = String> {
            prop_oneof![
                any::<String>(),
                "[a./\\\\%2ef$ ]{0,6}",
                "(\\.\\./|\\./|/|a|b|ab|%2e|%2f|\u{202e}|\u{0}){0,5}",
            ]
        }

        proptest! {
            #![proptest_config(ProptestConfig::with_cases(4096))]

            #[test]
            fn pl_34_a_user_name_cannot_reach_the_prefix_of_another_user(a in name(), b in name()) {
                let prefix_of = |name: &str| ObjectPrefix::from_segments(["user", name]);
                if let Ok(prefix) = prefix_of(&a) {
                    // The prefix is one folder below `user`, and stays one when a consumer
                    // resolves dot segments and separators.
                    let text = prefix.as_str();
                    prop_assert_eq!(text, format!("user/{a}/"));
                    let parts: Vec<_> = text.split(['/', '\\']).collect();
                    prop_assert_eq!(parts, ["user", &*a, ""]);
                    prop_assert!(![".", "..", ""].contains(&&*a));
                    prop_assert!(!text.contains(char::is_control));
                    if let Ok(other) = prefix_of(&b) {
                        let nested = text.starts_with(other.as_str());
                        prop_assert_eq!(nested, a == b, "{} {}", text, other);
                        let key: ObjectKey = format!("{text}x").parse().unwrap();
                        prop_assert_eq!(other.contains(&key), a == b);
                    }
                }
            }
        }
    }

    #[test]
    fn a_prefix_contains_only_what_lies_under_it() {
        let prefix: ObjectPrefix = "user/1/".parse().unwrap();
        assert!(prefix.contains(&"user/1/a".parse().unwrap()));
        assert!(!prefix.contains(&"user/10/a".parse().unwrap()));
    }

    #[test]
    fn received_names_are_all_that_oss_stores_except_dot_segments() {
        for name in [
            "a",
            "a/",
            "a//b",
            "$",
            "${object}",
            "a\\b",
            "a\0b",
            "\u{200e}a",
            "a\n",
            "..a/...",
            "100%",
            "%2",
            "%zz",
            "%%",
            "a%2fb",
            ".hidden/a.",
            "\u{ff0e}\u{ff0e}/a",
            "a+b c",
        ] {
            assert_eq!(name.parse::<ReceivedName>().unwrap().as_str(), name);
        }
        let long = "é".repeat(512);
        use ObjectError as E;
        for (name, why) in [
            ("", E::Empty),
            (long.as_str(), E::TooLong(1024)),
            ("/a", E::LeadingSlash),
            ("\\a", E::LeadingSlash),
            (".", E::DotSegment),
            ("a/..", E::DotSegment),
            ("a/./b", E::DotSegment),
            ("a/../b", E::DotSegment),
            ("a\\..\\b", E::DotSegment),
            ("a/%2e%2E/b", E::DotSegment),
            ("a/.%2e/b", E::DotSegment),
            ("a%2F..%2Fb", E::DotSegment),
            ("a%5c..%5Cb", E::DotSegment),
            ("a/%252e%252e/b", E::DotSegment),
            ("a/%25252e./b", E::DotSegment),
            ("a/%%32%65./b", E::DotSegment),
            ("a/%2%65%2%45/b", E::DotSegment),
        ] {
            assert_eq!(name.parse::<ReceivedName>(), Err(why), "{name:?}");
        }
        // One pass, however often the text was encoded.
        let nested = format!("a/%{}2e", "25".repeat(500));
        assert_eq!(nested.parse::<ReceivedName>(), Err(E::DotSegment));
    }

    #[test]
    fn rp_40_names_that_url_parsers_resolve_are_refused() {
        for dots in [".", ".."] {
            for segment in [
                format!("{dots}?"),
                format!("{dots}#x"),
                format!("{dots};/8/a"),
                format!("{dots};v=1/8/a"),
                format!("{dots}%3b/8"),
                format!("{dots}%253Fx"),
                format!("{dots}\0.png"),
                format!("{dots} "),
                format!("{dots}\u{1f}\0"),
                format!(" {dots}/a"),
                format!("\t{dots}\r\n/a"),
                format!("%09{dots}%0d%0A/a"),
                dots.replace('.', "\n.\t"),
                dots.replace('.', "%2\te"),
                dots.replace('.', "%2%09e"),
                dots.replace('.', "%\r\n25%0a2e"),
            ] {
                for name in [
                    segment.clone(),
                    format!("a\\{segment}"),
                    format!("a%2f{segment}"),
                ] {
                    let received = format!("user/7/{name}").parse::<ReceivedName>();
                    assert_eq!(received, Err(ObjectError::DotSegment), "{name:?}");
                }
            }
        }
        for name in [
            "a?../b.c", "...;", "..a;", ".a?", "a.. ", "a;..", "?", ";", "\t", "\0", " ",
        ] {
            let name = format!("user/7/{name}");
            assert_eq!(name.parse::<ReceivedName>().unwrap().as_str(), name);
        }
    }

    #[test]
    fn rp_40_neither_keys_nor_folders_are_names_that_url_parsers_resolve() {
        for name in [
            "%2e%2e", ".%2E", "..;", "..;v=1", "..?", "..#", ".. ", " .", "%252e", "a%2f..",
        ] {
            let error = Some(ObjectError::DotSegment);
            assert_eq!(
                ObjectPrefix::from_segments(["user", name]).err(),
                error,
                "{name:?}"
            );
            assert_eq!(
                format!("user/{name}").parse::<ObjectKey>().err(),
                error,
                "{name:?}"
            );
        }
    }

    #[test]
    fn a_received_name_is_displayed_without_its_tricks() {
        let shown = |name: &str| name.parse::<ReceivedName>().unwrap().to_string();
        assert_eq!(shown("user/照片 $1+é.jpg"), "user/照片 $1+é.jpg");
        assert_eq!(shown("a\u{202e}gpj.exe"), "a\\u{202e}gpj.exe");
        assert_eq!(shown("a\r\n\0\u{1b}[2J"), "a\\r\\n\\u{0}\\u{1b}[2J");
        // Not to be confused with an escape.
        assert_eq!(shown("a\\u{202e}"), "a\\\\u{202e}");
    }

    #[test]
    fn ranges() {
        let one = SizeRange::new(7, 7).unwrap();
        assert!(one.contains(7) && !one.contains(6) && !one.contains(8));
        assert_eq!(
            SizeRange::new(0, SizeRange::LIMIT).unwrap().max(),
            53_687_091_200_000
        );
        let form = SizeRange::new(7, SizeRange::LIMIT).unwrap().of_form();
        assert_eq!(form, SizeRange::new(7, 5_368_709_120).ok());
        let larger = SizeRange::new(SizeRange::FORM_LIMIT + 1, SizeRange::LIMIT);
        assert_eq!(larger.unwrap().of_form(), None);
        assert_eq!(
            SizeRange::new(0, SizeRange::LIMIT + 1),
            Err(ObjectError::SizeTooLarge)
        );
        assert_eq!(SizeRange::new(u64::MAX, 0), Err(ObjectError::SizeReversed));
        assert_eq!(SizeRange::new(0, u64::MAX), Err(ObjectError::SizeTooLarge));
    }

    #[test]
    fn object_types() {
        let svg: ContentType = "Image/SVG+xml".parse().unwrap();
        assert_eq!(svg.to_string(), "image/svg+xml");
        for wildcard in ["*/*", "image/*"] {
            assert_eq!(
                wildcard.parse::<ContentType>(),
                Err(ObjectError::ContentTypeWildcard)
            );
        }
        for odd in [
            "",
            "png",
            "/png",
            "image/",
            "image/png; q=1",
            "image/png\r\nx: y",
            "image/p ng",
            "a/b/c",
        ] {
            assert_eq!(
                odd.parse::<ContentType>(),
                Err(ObjectError::ContentTypeForm),
                "{odd:?}"
            );
        }
        for text in [
            "a/b",
            "image/svg+xml",
            "0/0!#$&-^_.+",
            "application/vnd.ms-excel",
            &format!("{0}/{0}", "a".repeat(127)),
            "a",
            "",
            "/",
            "a/",
            "/a",
            "a/b/c",
            "A/b",
            "a/B",
            "-a/b",
            "a/.b",
            "a/*",
            "a/b;c",
            "a /b",
            "a/é",
            &format!("a/{}", "a".repeat(128)),
            &format!("{}/a", "a".repeat(128)),
        ] {
            let parsed = text.parse::<ContentType>();
            let same = parsed.is_ok_and(|parsed| parsed.as_str() == text);
            assert_eq!(is_lower_case_type(text.as_bytes()), same, "{text}");
        }
        // Each message names the remedy.
        let said = |error: ObjectError| error.to_string();
        assert!(said(ObjectError::ContentTypeForm).contains("type/subtype"));
        assert!(said(ObjectError::ContentTypeWildcard).contains("list each type"));
    }
}
