//! Error of a callback body that cannot be read.

use std::{
    error::Error,
    fmt::{self, Write as _},
    sync::Arc,
};

use super::UNSUBSTITUTED;

/// The most characters of a field name that an error repeats.
const MAX_FIELD: usize = 64;

/// The most characters of a parser message that an error repeats. The message can quote the body.
const MAX_DETAIL: usize = 160;

/// Error returned when a verified body cannot be read.
///
/// The callback is still verified, and [`body`](crate::callback::VerifiedCallback::body) still
/// returns its bytes. Whatever the error repeats of the body is escaped and truncated, so it is
/// safe to log. Do not put it into the response: OSS forwards that to the uploader.
///
/// A `field` is the name of the field that caused the error: escaped, and at most 64 characters of
/// it. For nested JSON it is a path, such as `image.height`. An `offset` counts from 0 into the
/// signed body. In a form it is the first byte of the field, in JSON the last byte that the parser
/// read.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// The body is not UTF-8, either as received or after form decoding.
    #[error(
        "the callback body is not UTF-8; read its bytes instead{}",
        place(self)
    )]
    #[non_exhaustive]
    NotUtf8 {
        /// The field, in a form.
        field: Option<Box<str>>,
        /// The position of the error.
        offset: usize,
    },
    /// The content type is JSON, but the body is not, even after the repair of empty numbers.
    #[error(
        "the callback body is not JSON, although its content type is; check callbackBody, and put \
         no quotes around its variables{}",
        place(self)
    )]
    #[non_exhaustive]
    NotJson {
        /// The position of the error.
        offset: usize,
        /// The message of the parser.
        source: Arc<dyn Error + Send + Sync>,
    },
    /// The top level contains the same name twice, in any spelling.
    #[error(
        "the callback body contains a field twice; name it once in callbackBody{}",
        place(self)
    )]
    #[non_exhaustive]
    DuplicateField {
        /// The name that is repeated.
        field: Box<str>,
        /// The position of the error.
        offset: usize,
    },
    /// A field is missing, or its value does not fit the type that the body is deserialized into.
    #[error(
        "the callback body does not match the type it is deserialized into; compare its fields \
         with callbackBody{}",
        place(self)
    )]
    #[non_exhaustive]
    Mismatch {
        /// The field, if it is known.
        field: Option<Box<str>>,
        /// The position of the error, if it is known.
        offset: Option<usize>,
        /// The message of the parser.
        source: Arc<dyn Error + Send + Sync>,
    },
    /// A variable of OSS, or a custom variable, has its own placeholder as its value, such as
    /// `${object}`. OSS sends `callbackBody` as it is if it was percent-encoded as a whole.
    ///
    /// Only [`event`](crate::callback::VerifiedCallback::event) finds it, because it knows which
    /// field has which variable.
    #[error(
        "the callback body contains a variable that OSS did not replace; do not percent-encode \
         callbackBody as a whole{}",
        place(self)
    )]
    #[non_exhaustive]
    Unsubstituted {
        /// The field, if it is known.
        field: Option<Box<str>>,
        /// The position of the error, if it is known.
        offset: Option<usize>,
    },
}

impl EventError {
    /// Returns the name of the field that caused the error, if it is known.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::NotJson { .. } => None,
            Self::DuplicateField { field, .. } => Some(field),
            Self::NotUtf8 { field, .. }
            | Self::Mismatch { field, .. }
            | Self::Unsubstituted { field, .. } => field.as_deref(),
        }
    }

    /// Returns the position of the error, if it is known.
    #[must_use]
    pub fn offset(&self) -> Option<usize> {
        match self {
            Self::NotUtf8 { offset, .. }
            | Self::NotJson { offset, .. }
            | Self::DuplicateField { offset, .. } => Some(*offset),
            Self::Mismatch { offset, .. } | Self::Unsubstituted { offset, .. } => *offset,
        }
    }
}

/// Creates the error for a value that does not fit, from the message of the deserializer.
pub(super) fn unfit(field: Option<Box<str>>, offset: Option<usize>, message: &str) -> EventError {
    if message == UNSUBSTITUTED {
        return EventError::Unsubstituted { field, offset };
    }
    let source = detail(message);
    EventError::Mismatch {
        field,
        offset,
        source,
    }
}

/// Escapes and truncates the name of a field.
pub(super) fn field_name(field: impl fmt::Display) -> Box<str> {
    // `Display` of the error puts the name between quotes, so quotes are escaped too.
    escaped(field, MAX_FIELD, |_| true)
}

/// Escapes and truncates the message of a parser.
pub(super) fn detail(message: impl fmt::Display) -> Arc<dyn Error + Send + Sync> {
    // The message contains quotes of its own. serde has escaped the text between them.
    let message = escaped(message, MAX_DETAIL, |c| !matches!(c, '"' | '\'' | '\\'));
    Arc::new(Detail(message))
}

/// The message of the parser. The parser error itself is not kept, because its text can contain the
/// whole body, unescaped.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Detail(Box<str>);

/// Formats the position of an error as a suffix of its message.
fn place(error: &EventError) -> String {
    match (error.field(), error.offset()) {
        (Some(field), Some(offset)) => format!(": field \"{field}\", byte {offset}"),
        (Some(field), None) => format!(": field \"{field}\""),
        (None, Some(offset)) => format!(": byte {offset}"),
        (None, None) => String::new(),
    }
}

fn escaped(text: impl fmt::Display, limit: usize, escape: fn(char) -> bool) -> Box<str> {
    let mut cut = Cut {
        text: String::new(),
        left: limit,
        escape,
    };
    // `Cut` fails when the limit is reached, which stops the formatting early.
    let _ = write!(cut, "{text}");
    cut.text.into()
}

/// A writer that keeps the first characters of a text and escapes invisible ones.
struct Cut {
    text: String,
    left: usize,
    escape: fn(char) -> bool,
}

impl fmt::Write for Cut {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        for c in more.chars() {
            if self.left == 0 {
                self.text.push('…');
                return Err(fmt::Error);
            }
            self.left -= 1;
            if (self.escape)(c) {
                self.text.extend(c.escape_debug());
            } else {
                self.text.push(c);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mismatch(field: &str, message: &str) -> EventError {
        EventError::Mismatch {
            field: Some(field_name(field)),
            offset: None,
            source: detail(message),
        }
    }

    #[test]
    fn what_is_repeated_of_the_body_is_escaped_and_cut() {
        let hostile = "a\"\r\n\u{202e}\u{1b}[2J";
        let error = mismatch(hostile, &format!("unknown field `{hostile}`"));
        assert_eq!(
            error.field(),
            Some("a\\\"\\r\\n\\u{202e}\\u{1b}[2J"),
            "{error:?}"
        );
        assert_eq!(
            error.source().unwrap().to_string(),
            "unknown field `a\"\\r\\n\\u{202e}\\u{1b}[2J`"
        );

        let long = "é".repeat(10_000);
        let error = mismatch(&long, &long);
        assert_eq!(error.field().unwrap(), format!("{}…", "é".repeat(64)));
        assert_eq!(
            error.source().unwrap().to_string(),
            format!("{}…", "é".repeat(160))
        );
        assert_eq!(&*field_name("é".repeat(64)), "é".repeat(64));
    }

    #[test]
    fn texts_say_where() {
        let text = "the callback body does not match the type it is deserialized into; compare \
                    its fields with callbackBody";
        for (field, offset, place) in [
            (None, None, ""),
            (None, Some(7), ": byte 7"),
            (Some("x:a"), None, ": field \"x:a\""),
            (Some("x:a"), Some(7), ": field \"x:a\", byte 7"),
        ] {
            let error = EventError::Mismatch {
                field: field.map(field_name),
                offset,
                source: detail(""),
            };
            assert_eq!(error.to_string(), format!("{text}{place}"));
        }
        for error in [
            EventError::NotUtf8 {
                field: None,
                offset: 7,
            },
            EventError::NotJson {
                offset: 7,
                source: detail(""),
            },
            EventError::DuplicateField {
                field: field_name("x:a"),
                offset: 7,
            },
        ] {
            let text = error.to_string();
            assert!(text.starts_with("the callback body ") && text.ends_with("byte 7"));
            assert!(!text.contains('.'), "{text}");
        }
    }
}
