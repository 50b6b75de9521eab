//! Error of a callback body that cannot be read.

use std::fmt::{self, Write as _};

/// The most characters of a field name that an error repeats.
const MAX_FIELD: usize = 64;

/// The most characters of a parser message that an error repeats. The message can quote the body.
const MAX_DETAIL: usize = 160;

/// Error returned when a verified body cannot be read.
///
/// The callback is still verified, and [`body`](crate::callback::VerifiedCallback::body) still
/// returns its bytes. Whatever the error repeats of the body is escaped and truncated, so it is
/// safe to log. Do not put it into the response: OSS forwards that to the uploader.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{kind}{}", place(.field.as_deref(), *.offset))]
pub struct EventError {
    kind: EventErrorKind,
    field: Option<Box<str>>,
    offset: Option<usize>,
    #[source]
    detail: Option<Detail>,
}

impl EventError {
    /// Returns the kind of error.
    #[must_use]
    pub fn kind(&self) -> EventErrorKind {
        self.kind
    }

    /// Returns the name of the field that caused the error, if it is known: escaped, and at most 64
    /// characters of it. For nested JSON it is a path, such as `image.height`.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }

    /// Returns the position of the error, if it is known, as an offset from 0 into the signed body.
    /// In a form it is the first byte of the field, in JSON the last byte that the parser read.
    #[must_use]
    pub fn offset(&self) -> Option<usize> {
        self.offset
    }

    pub(super) fn new(kind: EventErrorKind) -> Self {
        Self {
            kind,
            field: None,
            offset: None,
            detail: None,
        }
    }

    pub(super) fn in_field(mut self, field: impl fmt::Display) -> Self {
        // `Display` puts the name between quotes, so quotes are escaped too.
        self.field = Some(escaped(field, MAX_FIELD, |_| true));
        self
    }

    pub(super) fn at(mut self, offset: usize) -> Self {
        self.offset = Some(offset);
        self
    }

    pub(super) fn because(mut self, detail: impl fmt::Display) -> Self {
        // The message contains quotes of its own. serde has escaped the text between them.
        let detail = escaped(detail, MAX_DETAIL, |c| !matches!(c, '"' | '\'' | '\\'));
        self.detail = Some(Detail(detail));
        self
    }
}

/// The message of the parser. The parser error itself is not kept, because its text can contain the
/// whole body, unescaped.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
struct Detail(Box<str>);

/// The kind of an [`EventError`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EventErrorKind {
    /// The body is not UTF-8, either as received or after form decoding.
    #[error("the callback body is not UTF-8; read its bytes instead")]
    NotUtf8,
    /// The content type is JSON, but the body is not, even after the repair of empty numbers.
    #[error(
        "the callback body is not JSON, although its content type is; check callbackBody, and put \
         no quotes around its variables"
    )]
    NotJson,
    /// The top level contains the same name twice, in any spelling.
    #[error("the callback body contains a field twice; name it once in callbackBody")]
    DuplicateField,
    /// A field is missing, or its value does not fit the type that the body is deserialized into.
    #[error(
        "the callback body does not match the type it is deserialized into; compare its fields \
         with callbackBody"
    )]
    Mismatch,
}

/// Formats the position of an error as a suffix of its message.
fn place(field: Option<&str>, offset: Option<usize>) -> String {
    match (field, offset) {
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
    use std::error::Error as _;

    use super::*;

    #[test]
    fn what_is_repeated_of_the_body_is_escaped_and_cut() {
        let hostile = "a\"\r\n\u{202e}\u{1b}[2J";
        let error = EventError::new(EventErrorKind::Mismatch)
            .in_field(hostile)
            .because(format_args!("unknown field `{hostile}`"));
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
        let error = error.in_field(&long).because(&long);
        assert_eq!(error.field().unwrap(), format!("{}…", "é".repeat(64)));
        assert_eq!(
            error.source().unwrap().to_string(),
            format!("{}…", "é".repeat(160))
        );
        assert_eq!(
            error.in_field("é".repeat(64)).field().unwrap(),
            "é".repeat(64)
        );
    }

    #[test]
    fn texts_say_where() {
        let error = EventError::new(EventErrorKind::DuplicateField);
        let text = "the callback body contains a field twice; name it once in callbackBody";
        assert_eq!(error.to_string(), text);
        assert_eq!(error.clone().at(7).to_string(), format!("{text}: byte 7"));
        let error = error.in_field("x:a");
        assert_eq!(error.to_string(), format!("{text}: field \"x:a\""));
        let error = error.at(7);
        assert_eq!(error.to_string(), format!("{text}: field \"x:a\", byte 7"));
        for kind in [
            EventErrorKind::NotUtf8,
            EventErrorKind::NotJson,
            EventErrorKind::DuplicateField,
            EventErrorKind::Mismatch,
        ] {
            let text = kind.to_string();
            assert!(text.starts_with("the callback body ") && !text.ends_with('.'));
        }
    }
}
