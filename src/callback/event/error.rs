//! Why the body of a callback could not be read.

use std::{
    error::Error,
    fmt::{self, Write as _},
};

/// The most characters of a field's name that an error repeats.
const MAX_FIELD: usize = 64;

/// The most characters of a parser's complaint that an error repeats: it can quote the body.
const MAX_DETAIL: usize = 160;

/// A verified body that could not be read.
///
/// The callback is still verified, and [`body`](super::super::VerifiedCallback::body) still has its bytes. What the
/// error repeats of the body is escaped and cut, so it can go into a log; the answer to OSS goes to the uploader,
/// and should not hold it.
#[derive(Clone, Debug)]
pub struct EventError {
    kind: EventErrorKind,
    field: Option<Box<str>>,
    offset: Option<usize>,
    detail: Option<Detail>,
}

impl EventError {
    /// What kind of error it is.
    #[must_use]
    pub fn kind(&self) -> EventErrorKind {
        self.kind
    }

    /// The field it is about, when that is known: escaped, and at most 64 characters of it. Deeper in JSON it is a
    /// path, such as `image.height`.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }

    /// The place in the body, when that is known: in a form the byte its field begins with, in JSON the last byte
    /// that was read. Counted from 0, in the body as it was signed.
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
        // Shown between quotes, so quotes are escaped too.
        self.field = Some(escaped(field, MAX_FIELD, |_| true));
        self
    }

    pub(super) fn at(mut self, offset: usize) -> Self {
        self.offset = Some(offset);
        self
    }

    pub(super) fn because(mut self, detail: impl fmt::Display) -> Self {
        // Prose with quotes in it: what stands between them has been escaped by serde.
        let detail = escaped(detail, MAX_DETAIL, |c| !matches!(c, '"' | '\'' | '\\'));
        self.detail = Some(Detail(detail));
        self
    }
}

impl fmt::Display for EventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)?;
        match (&self.field, self.offset) {
            (Some(field), Some(offset)) => write!(f, ": field \"{field}\", byte {offset}"),
            (Some(field), None) => write!(f, ": field \"{field}\""),
            (None, Some(offset)) => write!(f, ": byte {offset}"),
            (None, None) => Ok(()),
        }
    }
}

impl Error for EventError {
    /// What the parser said, escaped and cut.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.detail.as_ref().map(|detail| detail as _)
    }
}

/// The parser's own error is not kept: its text can hold the body, unescaped and whole.
#[derive(Clone, Debug)]
struct Detail(Box<str>);

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Detail {}

/// What is wrong with a body.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum EventErrorKind {
    /// Bytes that are not UTF-8: as they stand, or once a form is decoded.
    NotUtf8,
    /// The content type says JSON, and the body is none, even with its empty numbers filled in.
    NotJson,
    /// A name stands twice at the top level, in whatever spelling.
    DuplicateField,
    /// A field is missing, or is not what the type it is read into asks for.
    Mismatch,
}

impl fmt::Display for EventErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotUtf8 => "the callback body is not utf-8, read its bytes yourself",
            Self::NotJson => {
                "the callback body is not json as its content type says, check callbackBody and \
                 put no quotes around its variables"
            }
            Self::DuplicateField => {
                "the callback body gives a field twice, name it once in callbackBody"
            }
            Self::Mismatch => {
                "the callback body does not fit the type it is read into, compare its fields with \
                 callbackBody"
            }
        })
    }
}

fn escaped(text: impl fmt::Display, limit: usize, escape: fn(char) -> bool) -> Box<str> {
    let mut cut = Cut {
        text: String::new(),
        left: limit,
        escape,
    };
    // It fails where it cuts, and that is as far as it shall go.
    let _ = write!(cut, "{text}");
    cut.text.into()
}

/// Takes the first characters of a text, and escapes those that cannot be seen.
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
        let text = "the callback body gives a field twice, name it once in callbackBody";
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
