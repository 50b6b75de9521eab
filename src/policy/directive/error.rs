//! Why OSS cannot be told to make a callback.

use std::{error::Error, fmt};

use crate::protocol::TargetError;

/// The most characters of a field's name that an error repeats.
const MAX_FIELD: usize = 64;

/// Why OSS cannot be told to make a callback.
///
/// Where OSS itself would refuse the upload, the text names the EC code of its answer.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum CallbackDirectiveError {
    /// No URL at all (EC 0007-00000004).
    NoUrl,
    /// More than five URLs (EC 0007-00000005).
    TooManyUrls,
    /// A scheme other than `http` and `https` (EC 0007-00000004).
    Scheme,
    /// No host, a user name, an IPv6 address, or a port that is not 1 to 65535 (EC 0007-00000004).
    Host,
    /// A semicolon, with which OSS separates several URLs.
    Several,
    /// A character that must be percent-encoded (EC 0007-00000004).
    NotEncoded,
    /// The path is not in its canonical spelling, so the callback would be refused.
    Target(TargetError),
    /// A `callbackHost` that is neither a domain name nor an IPv4 address (EC 0007-00000009).
    CallbackHost,
    /// A body without fields (EC 0007-00000011).
    EmptyBody,
    /// A field of the body, or a custom variable.
    Field(CallbackFieldError),
    /// The custom variables are longer than 5 KiB of Base64 (EC 0007-00000101); holds the length.
    VariablesTooLong(usize),
    /// Longer than 5 KiB of Base64 (EC 0007-00000001); holds the length.
    TooLong(usize),
    /// The parameters could not be written as JSON.
    Serialize,
}

impl fmt::Display for CallbackDirectiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoUrl => "callbackUrl is empty: give one to five urls (EC 0007-00000004)",
            Self::TooManyUrls => {
                "callbackUrl holds more than the five urls that oss takes (EC 0007-00000005)"
            }
            Self::Scheme => {
                "callbackUrl must start with http:// or https:// (EC 0007-00000004)"
            }
            Self::Host => {
                "callbackUrl needs a domain name or an ipv4 address, without user name, and a port from 1 to 65535 \
                 if any (EC 0007-00000004)"
            }
            Self::Several => {
                "callbackUrl holds a semicolon, with which oss separates several urls: give each by itself"
            }
            Self::NotEncoded => {
                "callbackUrl must be percent-encoded: write white space, non-ascii characters and any of \"<>[\\]^`{|} \
                 as %XX (EC 0007-00000004)"
            }
            Self::Target(_) => "the path of callbackUrl would be refused when oss calls it",
            Self::CallbackHost => {
                "callbackHost must be a domain name or an ipv4 address, without port (EC 0007-00000009)"
            }
            Self::EmptyBody => {
                "callbackBody is empty: give it a field at least (EC 0007-00000011)"
            }
            Self::Field(_) => "callbackBody cannot have this field",
            Self::VariablesTooLong(length) => return write!(
                f,
                "the custom variables are {length} bytes of base64, and oss takes at most 5120 (EC 0007-00000101)"
            ),
            Self::TooLong(length) => return write!(
                f,
                "the callback parameters are {length} bytes of base64, and oss takes at most 5120 (EC 0007-00000001)"
            ),
            Self::Serialize => "the callback parameters could not be written as json",
        })
    }
}

impl Error for CallbackDirectiveError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Target(source) => Some(source),
            Self::Field(source) => Some(source),
            _ => None,
        }
    }
}

impl From<CallbackFieldError> for CallbackDirectiveError {
    fn from(error: CallbackFieldError) -> Self {
        Self::Field(error)
    }
}

/// A field that a callback body cannot have, or a custom variable that OSS would not take.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CallbackFieldError {
    kind: CallbackFieldErrorKind,
    field: Box<str>,
}

impl CallbackFieldError {
    pub(super) fn new(kind: CallbackFieldErrorKind, field: &str) -> Self {
        let mut shown: String = field
            .chars()
            .take(MAX_FIELD)
            .flat_map(char::escape_debug)
            .collect();
        if field.chars().nth(MAX_FIELD).is_some() {
            shown.push('…');
        }
        Self {
            kind,
            field: shown.into(),
        }
    }

    /// What kind of error it is.
    #[must_use]
    pub fn kind(&self) -> CallbackFieldErrorKind {
        self.kind
    }

    /// The name of the field: escaped, and at most 64 characters of it.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }
}

impl fmt::Display for CallbackFieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "field \"{}\": {}", self.field, self.kind)
    }
}

impl Error for CallbackFieldError {}

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum CallbackFieldErrorKind {
    /// A name that is empty, longer than 64 bytes, or holds other than ASCII letters, digits, `-`, `_`, `.` and `:`.
    Name,
    /// A name that begins with `x:` but is not followed by lower-case letters, digits, `-`, `_` or `.`; or a custom
    /// variable that does not begin with `x:`.
    CustomName,
    /// A name under which [`UploadEvent`](crate::callback::UploadEvent) reads something else: one that OSS gives to
    /// a variable of its own, or for such a variable one that begins with `x:`.
    Reserved,
    /// A name that stands twice.
    Duplicate,
    /// A value that holds `${`, with which a variable begins.
    Placeholder,
    /// The value of a custom variable holds a control character, a line break for instance.
    Control,
}

impl fmt::Display for CallbackFieldErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => {
                "a name is 1 to 64 ascii letters, digits, -, _, . or :"
            }
            Self::CustomName => {
                "a custom variable is named x: and lower-case letters, digits, -, _ or ., 64 bytes in all"
            }
            Self::Reserved => {
                "the name belongs to another variable and would be read as that, choose one of your own"
            }
            Self::Duplicate => "the name is given twice, give each once",
            Self::Placeholder => {
                "the value holds ${, with which oss begins a variable (EC 0007-00000105), encode it yourself"
            }
            Self::Control => {
                "the value holds a control character, which a form does not carry unchanged, send it as a constant"
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_repeated_of_a_name_is_escaped_and_cut() {
        let error = CallbackFieldError::new(CallbackFieldErrorKind::Name, "a\"\n\u{202e}");
        assert_eq!(error.field(), "a\\\"\\n\\u{202e}");
        let long = CallbackFieldError::new(CallbackFieldErrorKind::Name, &"é".repeat(65));
        assert_eq!(long.field(), format!("{}…", "é".repeat(64)));
        let fits = CallbackFieldError::new(CallbackFieldErrorKind::Name, &"é".repeat(64));
        assert_eq!(fits.field(), "é".repeat(64));
    }

    #[test]
    fn texts_name_the_field_and_the_code() {
        use CallbackDirectiveError as E;
        for (error, says, code) in [
            (E::NoUrl, "callbackUrl", "0007-00000004"),
            (E::TooManyUrls, "callbackUrl", "0007-00000005"),
            (E::Scheme, "callbackUrl", "0007-00000004"),
            (E::Host, "callbackUrl", "0007-00000004"),
            (E::Several, "callbackUrl", ""),
            (E::NotEncoded, "callbackUrl", "0007-00000004"),
            (E::CallbackHost, "callbackHost", "0007-00000009"),
            (E::EmptyBody, "callbackBody", "0007-00000011"),
            (E::VariablesTooLong(6000), "6000", "0007-00000101"),
            (E::TooLong(6000), "6000", "0007-00000001"),
        ] {
            let text = error.to_string();
            assert!(text.contains(says) && text.contains(code), "{text}");
            assert!(!text.ends_with('.') && error.source().is_none());
        }
        let field = CallbackFieldError::new(CallbackFieldErrorKind::Placeholder, "note");
        assert!(
            field
                .to_string()
                .starts_with("field \"note\": the value holds ${")
        );
        assert!(field.to_string().contains("EC 0007-00000105"));
        let error = E::from(field.clone());
        assert_eq!(error.source().unwrap().to_string(), field.to_string());
    }
}
