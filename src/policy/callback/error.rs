//! Errors of callback settings.

use thiserror::Error;

use crate::protocol::TargetError;

/// Number of characters of a field name that an error repeats at most.
const MAX_FIELD: usize = 64;

/// The error returned when OSS could not make a callback, or the callback layer would reject it.
///
/// Where OSS itself would reject the upload, the message contains the EC code of its response.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum CallbackDirectiveError {
    /// There is no URL (EC 0007-00000004).
    #[error("callbackUrl is empty; set one to five URLs (EC 0007-00000004)")]
    NoUrl,
    /// There are more than five URLs (EC 0007-00000005).
    #[error("callbackUrl contains more than five URLs, the limit of OSS (EC 0007-00000005)")]
    TooManyUrls,
    /// The scheme is neither `http` nor `https` (EC 0007-00000004).
    #[error("callbackUrl must start with http:// or https:// (EC 0007-00000004)")]
    Scheme,
    /// There is no host, a user name, an IPv6 address, or a port outside 1 to 65535
    /// (EC 0007-00000004).
    #[error(
        "callbackUrl needs a domain name or an IPv4 address, without user name, and a port from 1 \
        to 65535 if any (EC 0007-00000004)"
    )]
    Host,
    /// The URL contains a semicolon, which separates several URLs.
    #[error(
        "callbackUrl contains a semicolon, which separates several URLs for OSS; pass each URL \
        separately"
    )]
    Several,
    /// The URL contains a character that must be percent-encoded (EC 0007-00000004).
    #[error(
        "callbackUrl is not percent-encoded; write white space, non-ASCII characters and any of \
        \"<>[\\]^`{{|}} as %XX (EC 0007-00000004)"
    )]
    NotEncoded,
    /// The path is not in its canonical spelling, so the callback layer would reject the callback.
    #[error("the path of callbackUrl is not canonical, so the callback would be rejected")]
    Target(#[source] TargetError),
    /// `callbackHost` is neither a domain name nor an IPv4 address (EC 0007-00000009).
    #[error(
        "callbackHost must be a domain name or an IPv4 address, without port (EC 0007-00000009)"
    )]
    CallbackHost,
    /// The body has no fields (EC 0007-00000011).
    #[error("callbackBody is empty; add at least one field (EC 0007-00000011)")]
    EmptyBody,
    /// A field of the body, or a custom variable, is not valid.
    #[error("callbackBody cannot have this field")]
    Field(#[from] CallbackFieldError),
    /// The custom variables exceed 5 KiB of Base64 (EC 0007-00000101); contains their length in
    /// bytes.
    #[error(
        "the custom variables are {0} bytes of Base64, and OSS accepts at most 5120 \
        (EC 0007-00000101)"
    )]
    VariablesTooLong(usize),
    /// The callback parameters exceed 5 KiB of Base64 (EC 0007-00000001); contains their length in
    /// bytes.
    #[error(
        "the callback parameters are {0} bytes of Base64, and OSS accepts at most 5120 \
        (EC 0007-00000001)"
    )]
    TooLong(usize),
}

/// The error returned for a field that a callback body cannot have, or for a custom variable that
/// OSS would not accept.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("field \"{field}\": {kind}")]
pub struct CallbackFieldError {
    kind: CallbackFieldErrorKind,
    field: Box<str>,
}

impl CallbackFieldError {
    pub(super) fn new(kind: CallbackFieldErrorKind, field: &str) -> Self {
        // The name may come from a user, and errors are logged.
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

    /// Returns the kind of error.
    #[must_use]
    pub fn kind(&self) -> CallbackFieldErrorKind {
        self.kind
    }

    /// Returns the name of the field, escaped and cut to 64 characters.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }
}

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, Eq, Error, Hash, PartialEq)]
#[non_exhaustive]
pub enum CallbackFieldErrorKind {
    /// The name is empty, longer than 64 bytes, or contains characters other than ASCII letters,
    /// digits, `-`, `_`, `.` and `:`.
    #[error("a name consists of 1 to 64 ASCII letters, digits, -, _, . or :")]
    Name,
    /// The name starts with `x:`, but what follows is empty or contains characters other than
    /// lower-case letters, digits, `-`, `_` and `.`; or the name of a custom variable does not
    /// start with `x:`.
    #[error(
        "the name of a custom variable consists of x: and lower-case letters, digits, -, _ or ., \
        at most 64 bytes in all"
    )]
    CustomName,
    /// [`UploadEvent`](crate::callback::UploadEvent) reads something else under this name: OSS uses
    /// it for another variable, or it starts with `x:` although the value is a variable of OSS.
    #[error(
        "the name is reserved for another variable, so the value would be misread; choose another \
        name"
    )]
    Reserved,
    /// The name is used twice.
    #[error("the name is used twice; use each name once")]
    Duplicate,
    /// The value contains `${`, which starts a variable.
    #[error(
        "the value contains ${{, which starts a variable in OSS (EC 0007-00000105); encode it \
        yourself"
    )]
    Placeholder,
    /// The value of a custom variable contains a control character, such as a line break.
    #[error(
        "the value contains a control character, which a form does not carry unchanged; use a \
        constant"
    )]
    Control,
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

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
        for (error, part, code) in [
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
            assert!(text.contains(part) && text.contains(code), "{text}");
            assert!(!text.ends_with('.') && error.source().is_none());
        }
        let field = CallbackFieldError::new(CallbackFieldErrorKind::Placeholder, "note");
        assert!(
            field
                .to_string()
                .starts_with("field \"note\": the value contains ${")
        );
        assert!(field.to_string().contains("EC 0007-00000105"));
        let error = E::from(field.clone());
        assert_eq!(error.source().unwrap().to_string(), field.to_string());
    }
}
