//! Reads the body of a callback that carries a ticket.
//!
//! The uploader may have written the body: OSS signs any body for any URL. So it is not searched
//! for names. It must consist of exactly the fields that the ticket seals, in their order, with the
//! sealed constants and custom variables. What is left to the sender is what OSS itself reports
//! about an upload, and of that, bucket, object, size and content type are held to the grant.
//!
//! # Which differences are not differences
//!
//! A genuine callback must never fail here, and OSS does not document everything:
//!
//! * Names and constants are part of our template, which OSS copies. Their bytes are compared.
//! * How OSS encodes a space, `+` and `*'()` in a form, and what it escapes in JSON, is not
//!   documented. Values that OSS inserts are therefore compared decoded. A `+` in a form is a space
//!   or a plus sign; the body is accepted if it matches in one of the two readings, which then
//!   holds for all its fields.
//! * An empty value, `null`, and nothing at all are the same.

use std::{borrow::Cow, fmt, str};

use bytes::Bytes;
use memchr::{memchr, memchr2};
use percent_encoding::{percent_decode, utf8_percent_encode};
use serde_json::Value;

use super::{
    Plus, Span, UploadEvent, is_placeholder,
    json::has_control,
    raw::{RawField, RawFields},
};
use crate::{
    protocol::{CUSTOM_PREFIX, CallbackBodyType, SystemVariable, percent::UNRESERVED},
    ticket::{BodyField, FieldDigest, FieldKind, FieldValue, TicketError, internal::CheckedTicket},
};

/// What a callback reports under its ticket, in the granted texts.
pub(in crate::callback) struct SealedUpload {
    pub(in crate::callback) event: UploadEvent,
    /// The body as [`event_as`](crate::callback::VerifiedCallback::event_as) reads it, if it is not
    /// the signed one: that one spells the content type in another case than the grant.
    pub(in crate::callback) respelled: Option<Bytes>,
    /// How the sealed fields were found to be encoded.
    pub(in crate::callback) plus: Plus,
}

impl fmt::Debug for SealedUpload {
    /// Omits the body: it contains the ticket and the custom variables.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedUpload")
            .field("event", &self.event)
            .field("plus", &self.plus)
            .finish_non_exhaustive()
    }
}

/// Reads a signed body under the ticket that it carries.
///
/// # Errors
///
/// Fails if the fields are not exactly those that the ticket seals, or if the upload is outside the
/// grant.
pub(in crate::callback) fn read(
    ticket: &CheckedTicket,
    body_type: CallbackBodyType,
    body: &[u8],
) -> Result<SealedUpload, TicketError> {
    let text = str::from_utf8(body).map_err(|_| TicketError::Unreadable)?;
    let read = |plus| {
        let fields = SealedBody {
            body_type,
            plus,
            text,
        };
        let (event, respelled) = fields.event(ticket)?;
        // Genuine callbacks have the granted spelling: they are not split a second time.
        let rewritten = respelled
            .then(|| fields.with_granted_type(ticket))
            .flatten();
        Ok(SealedUpload {
            event,
            respelled: rewritten.map(Bytes::from),
            plus,
        })
    };
    let first = read(Plus::Space);
    // Only the values that OSS inserts can contain a `+`: names and constants are encoded by us.
    if first.is_err() && body_type == CallbackBodyType::Form && text.contains('+') {
        return read(Plus::Literal).or(first);
    }
    first
}

/// A body, and how its values are decoded.
#[derive(Clone, Copy)]
struct SealedBody<'a> {
    body_type: CallbackBodyType,
    plus: Plus,
    text: &'a str,
}

impl<'a> SealedBody<'a> {
    /// Reads the upload, and checks it against the ticket. Also returns whether the body spells the
    /// content type in another case than the grant.
    fn event(self, ticket: &CheckedTicket) -> Result<(UploadEvent, bool), TicketError> {
        let mut event = UploadEvent {
            // Decoded, a text is not longer, and the ticket is not part of the event.
            text: String::with_capacity(self.text.len()),
            ..UploadEvent::default()
        };
        let mut digest = FieldDigest::default();
        // The first value of each variable, for its aliases.
        let mut reported = [const { None::<Cow<'a, str>> }; SystemVariable::ALL.len()];
        let mut kinds = ticket.sealed_kinds();
        for field in self.fields() {
            let RawField { name, value: raw } = field?;
            let kind = kinds.next().ok_or(TicketError::Fields)?;
            let value = self.decode(kind, name, raw)?;
            let sealed = match kind {
                FieldKind::System(variable) => FieldValue::System(variable),
                FieldKind::Custom => FieldValue::Custom(&value),
                FieldKind::Constant => FieldValue::Constant(raw.as_bytes()),
                FieldKind::Ticket => FieldValue::Ticket,
            };
            digest.add(BodyField::new(name, sealed));
            if let FieldKind::System(variable) = kind {
                match &mut reported[variable as usize] {
                    Some(first) if *first != value => return Err(TicketError::Fields),
                    Some(_) => {}
                    first @ None => *first = Some(value),
                }
            } else if name.starts_with(CUSTOM_PREFIX) && !value.is_empty() {
                let value = Span::push(&mut event.text, &value);
                event.push_custom(name, value);
            }
        }
        if kinds.next().is_some() || !ticket.seals(digest) {
            return Err(TicketError::Fields);
        }
        event.sort_custom();
        for (variable, value) in SystemVariable::ALL.into_iter().zip(reported) {
            let value = value.unwrap_or_default();
            event.set(variable, &value).ok_or(TicketError::Unreadable)?;
        }
        let bucket = event.bucket().ok_or(TicketError::Bucket)?;
        let object = event.object().ok_or(TicketError::Object)?;
        let size = event.size().ok_or(TicketError::Size)?;
        let content_type = event.mime_type().unwrap_or_default();
        ticket.permits(bucket, object, size, content_type)?;
        let granted = ticket.granted_content_type(content_type);
        let respelled = granted.is_some_and(|granted| granted != content_type);
        if let Some(granted) = granted.filter(|_| respelled) {
            // The same but for the case, which the uploader chose.
            event.set_text(SystemVariable::MimeType, granted);
        }
        Ok((event, respelled))
    }

    /// Decodes a value. A constant is decoded too: the handler reads it.
    fn decode(
        self,
        kind: FieldKind,
        name: &str,
        raw: &'a str,
    ) -> Result<Cow<'a, str>, TicketError> {
        let (value, is_string) = match self.body_type {
            CallbackBodyType::Form => decode_form(raw, self.plus).map(|value| (value, true)),
            CallbackBodyType::Json => decode_json(raw),
        }
        .ok_or(TicketError::Unreadable)?;
        // Else `event_as` could read a number where the grant has a text.
        let is_number = matches!(kind, FieldKind::System(variable) if is_numeric(variable));
        if !is_string && !is_number && !value.is_empty() {
            return Err(TicketError::Unreadable);
        }
        let variable = match kind {
            FieldKind::System(variable) => variable.name(),
            FieldKind::Custom => name,
            // The template is sent as it is, so the ticket is in it without any escape. It was
            // found and checked before; compared like this, no second reading can find another.
            FieldKind::Ticket if !is_plain_ticket(&value, raw) => return Err(TicketError::Fields),
            FieldKind::Ticket | FieldKind::Constant => return Ok(value),
        };
        if is_placeholder(&value, variable) {
            return Err(TicketError::Unsubstituted);
        }
        Ok(value)
    }

    /// Returns the body with the granted spelling of the content type, if that differs. `event_as`
    /// reads it, so that no handler compares a spelling that was never granted.
    fn with_granted_type(self, ticket: &CheckedTicket) -> Option<String> {
        let granted_for = |kind, field: RawField<'a>| {
            if kind != FieldKind::System(SystemVariable::MimeType) {
                return None;
            }
            let reported = self.decode(kind, field.name, field.value).ok()?;
            let granted = ticket.granted_content_type(&reported)?;
            (granted != reported).then_some(granted)
        };
        let fields = || {
            ticket
                .sealed_kinds()
                .zip(self.fields().map_while(Result::ok))
        };
        fields().find_map(|(kind, field)| granted_for(kind, field))?;
        let written = fields().map(|(kind, field)| {
            let value = match (granted_for(kind, field), self.body_type) {
                (None, _) => Cow::Borrowed(field.value),
                (Some(granted), CallbackBodyType::Form) => {
                    utf8_percent_encode(granted, UNRESERVED).into()
                }
                (Some(granted), CallbackBodyType::Json) => Value::from(granted).to_string().into(),
            };
            match self.body_type {
                CallbackBodyType::Form => format!("{}={value}", field.name),
                CallbackBodyType::Json => format!("\"{}\":{value}", field.name),
            }
        });
        let written: Vec<_> = written.collect();
        Some(match self.body_type {
            CallbackBodyType::Form => written.join("&"),
            CallbackBodyType::Json => format!("{{{}}}", written.join(",")),
        })
    }

    fn fields(self) -> RawFields<'a> {
        RawFields::new(self.body_type, self.text)
    }
}

fn is_numeric(variable: SystemVariable) -> bool {
    matches!(
        variable,
        SystemVariable::Size
            | SystemVariable::ImageHeight
            | SystemVariable::ImageWidth
            // The documentation of OSS does not say which of the two it writes.
            | SystemVariable::Crc64
    )
}

fn is_plain_ticket(value: &str, raw: &str) -> bool {
    let plain = raw
        .strip_prefix('"')
        .map_or(raw, |inner| inner.strip_suffix('"').unwrap_or_default());
    plain == value
}

fn decode_form(raw: &str, plus: Plus) -> Option<Cow<'_, str>> {
    if plus == Plus::Space && raw.contains('+') {
        let spaced = raw.replace('+', " ");
        let decoded = percent_decode(spaced.as_bytes()).decode_utf8().ok()?;
        return Some(Cow::Owned(decoded.into_owned()));
    }
    if memchr(b'%', raw.as_bytes()).is_none() {
        return Some(Cow::Borrowed(raw));
    }
    percent_decode(raw.as_bytes()).decode_utf8().ok()
}

/// Decodes a value, and tells whether it is a string.
fn decode_json(raw: &str) -> Option<(Cow<'_, str>, bool)> {
    let Some(inner) = raw.strip_prefix('"') else {
        return match raw {
            "" | "null" => Some((Cow::Borrowed(""), false)),
            // OSS inserts nothing else without quotes.
            _ if raw.bytes().all(|b| b.is_ascii_digit()) => Some((Cow::Borrowed(raw), false)),
            _ => None,
        };
    };
    let inner = inner.strip_suffix('"')?;
    let plain = memchr2(b'\\', b'"', inner.as_bytes()).is_none() && !has_control(inner);
    let value = if plain {
        Cow::Borrowed(inner)
    } else {
        Cow::Owned(serde_json::from_str(raw).ok()?)
    };
    Some((value, true))
}
