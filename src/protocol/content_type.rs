//! The type of a callback body, and the type of an object.

use std::{error::Error, fmt, str::FromStr};

/// The two forms a callback body can have: the value of `callbackBodyType`, which OSS sends as `Content-Type`.
///
/// ```
/// use tower_aliyun_oss::protocol::CallbackBodyType;
///
/// let parse = CallbackBodyType::from_header;
/// assert_eq!(parse(b"application/json"), Some(CallbackBodyType::Json));
/// assert_eq!(parse(b"Application/JSON; charset=UTF-8"), Some(CallbackBodyType::Json));
/// assert_eq!(parse(b"application/json; charset=gbk"), None);
/// assert_eq!(parse(b"text/plain"), None);
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum CallbackBodyType {
    /// `application/x-www-form-urlencoded`, the default of OSS.
    Form,
    /// `application/json`.
    Json,
}

impl CallbackBodyType {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Form, Self::Json];

    /// The media type as OSS writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Form => "application/x-www-form-urlencoded",
            Self::Json => "application/json",
        }
    }

    /// Reads the value of a `Content-Type` header: one of the two, in any case, with no parameter but
    /// `charset=utf-8`.
    ///
    /// The header is not signed, so another charset or a boundary would let the sender choose how the signed bytes
    /// are read.
    #[must_use]
    pub fn from_header(value: &[u8]) -> Option<Self> {
        let (essence, parameter) = match value.iter().position(|&b| b == b';') {
            Some(at) => (&value[..at], Some(&value[at + 1..])),
            None => (value, None),
        };
        let essence = essence.trim_ascii();
        let body_type = Self::ALL
            .into_iter()
            .find(|t| essence.eq_ignore_ascii_case(t.as_str().as_bytes()))?;
        match parameter.map(|p| p.trim_ascii()) {
            None => Some(body_type),
            Some(p)
                if p.eq_ignore_ascii_case(b"charset=utf-8")
                    || p.eq_ignore_ascii_case(b"charset=\"utf-8\"") =>
            {
                Some(body_type)
            }
            Some(_) => None,
        }
    }
}

impl fmt::Display for CallbackBodyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The media type of an object, such as `image/png`: one exact `type/subtype`, without parameters or wildcards.
///
/// Kept in lower case, since media types are compared without regard to case (RFC 9110 section 8.3.1) and OSS
/// compares the values of a policy byte for byte.
///
/// ```
/// use tower_aliyun_oss::protocol::ContentType;
///
/// let png: ContentType = "image/png".parse()?;
/// assert_eq!(png.as_str(), "image/png");
/// assert!("image/*".parse::<ContentType>().is_err());
/// # Ok::<(), tower_aliyun_oss::protocol::ContentTypeError>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ContentType(Box<str>);

impl ContentType {
    /// The type as text, in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ContentType {
    type Err = ContentTypeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, subtype) = text.split_once('/').ok_or(ContentTypeError::Form)?;
        if kind.contains('*') || subtype.contains('*') {
            return Err(ContentTypeError::Wildcard);
        }
        if !is_restricted_name(kind) || !is_restricted_name(subtype) {
            return Err(ContentTypeError::Form);
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }
}

impl fmt::Display for ContentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not the media type of an object.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ContentTypeError {
    /// Not `type/subtype`; parameters count as wrong too.
    Form,
    /// A `*`: an object has one type, list the allowed ones.
    Wildcard,
}

impl fmt::Display for ContentTypeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Form => {
                "a content type is written type/subtype, without parameters, as in image/png"
            }
            Self::Wildcard => "a content type has no wildcard: list each type that is allowed",
        })
    }
}

impl Error for ContentTypeError {}

/// `restricted-name` of RFC 6838 section 4.2.
fn is_restricted_name(name: &str) -> bool {
    name.len() <= 127
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callback_body_types() {
        let form = Some(CallbackBodyType::Form);
        for good in [
            "application/x-www-form-urlencoded",
            "APPLICATION/X-WWW-FORM-URLENCODED",
            "application/x-www-form-urlencoded;charset=utf-8",
            "application/x-www-form-urlencoded ; Charset=\"UTF-8\" ",
        ] {
            assert_eq!(
                CallbackBodyType::from_header(good.as_bytes()),
                form,
                "{good}"
            );
        }
        for bad in [
            "",
            ";",
            "application",
            "application/json;",
            "application/json; charset=utf-8; charset=utf-8",
            "application/json; charset=gbk",
            "application/json; charset",
            "application/json; boundary=x",
            "application/json, application/json",
            "application/jsonx",
            "multipart/form-data; boundary=x",
            "text/plain",
        ] {
            assert_eq!(CallbackBodyType::from_header(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn object_types() {
        let svg: ContentType = "Image/SVG+xml".parse().unwrap();
        assert_eq!(svg.to_string(), "image/svg+xml");
        for wildcard in ["*/*", "image/*"] {
            assert_eq!(
                wildcard.parse::<ContentType>(),
                Err(ContentTypeError::Wildcard)
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
                Err(ContentTypeError::Form),
                "{odd:?}"
            );
        }
        // Each says what to do.
        let said = |error: ContentTypeError| error.to_string();
        assert!(said(ContentTypeError::Form).contains("type/subtype"));
        assert!(said(ContentTypeError::Wildcard).contains("list each type"));
    }
}
