//! The fields of a body that is written as our template writes it, in one pass and without
//! decoding.

use super::json::end_of_string;
use crate::{protocol::CallbackBodyType, ticket::TicketError};

/// A field as OSS sent it: nothing is decoded.
#[derive(Clone, Copy, Debug)]
pub(super) struct RawField<'a> {
    pub(super) name: &'a str,
    /// In JSON, a string has its quotes.
    pub(super) value: &'a str,
}

/// The fields of a body that is written as our template writes it: JSON has no white space, and
/// names need no escape. Anything else is an error, after which nothing follows.
pub(super) struct RawFields<'a> {
    body_type: CallbackBodyType,
    /// `None` after the last field.
    rest: Option<&'a str>,
}

impl<'a> RawFields<'a> {
    pub(super) fn new(body_type: CallbackBodyType, text: &'a str) -> Self {
        Self {
            body_type,
            rest: Some(match body_type {
                CallbackBodyType::Form => text,
                // Without its brace, the text is no field: an error.
                CallbackBodyType::Json => text.strip_prefix('{').unwrap_or_default(),
            }),
        }
    }
}

impl<'a> Iterator for RawFields<'a> {
    type Item = Result<RawField<'a>, TicketError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.take()?;
        let field = match self.body_type {
            CallbackBodyType::Form => self.in_form(rest),
            CallbackBodyType::Json => self.in_json(rest),
        };
        Some(field.ok_or(TicketError::Unreadable))
    }
}

impl<'a> RawFields<'a> {
    fn in_form(&mut self, text: &'a str) -> Option<RawField<'a>> {
        let (pair, rest) = match text.split_once('&') {
            Some((pair, rest)) => (pair, Some(rest)),
            None => (text, None),
        };
        let (name, value) = pair.split_once('=')?;
        self.rest = rest;
        Some(RawField { name, value })
    }

    fn in_json(&mut self, text: &'a str) -> Option<RawField<'a>> {
        let (name, after) = text.strip_prefix('"')?.split_once('"')?;
        let after = after.strip_prefix(':')?;
        let end = if after.starts_with('"') {
            end_of_string(after.as_bytes(), 1)
        } else {
            after.find([',', '}'])?
        };
        let (value, after) = after.split_at_checked(end)?;
        if after != "}" {
            self.rest = Some(after.strip_prefix(',')?);
        }
        Some(RawField { name, value })
    }
}
