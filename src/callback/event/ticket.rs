//! Finds the ticket in a callback body.
//!
//! This runs before the signature is verified, on bytes that anybody may have sent, so that
//! requests without a valid ticket cost neither a key lookup nor an RSA operation. It must agree
//! with the readers that run afterwards: the property tests below compare them.

use std::{borrow::Cow, fmt, str};

use memchr::{memchr, memmem};
use percent_encoding::percent_decode;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use super::{
    json::{MAX_GAPS, Repaired, has_control},
    raw::RawFields,
};
use crate::{
    protocol::{CallbackBodyType, TICKET_FIELD},
    ticket::TicketError,
};

/// Returns the ticket in a body, in one pass. In a form, only the ticket and the names that are
/// encoded are decoded.
///
/// # Errors
///
/// Fails if the body contains no ticket or more than one, or if its value is not a string.
pub(crate) fn find(body_type: CallbackBodyType, body: &[u8]) -> Result<Cow<'_, str>, TicketError> {
    match body_type {
        CallbackBodyType::Form => in_form(body),
        CallbackBodyType::Json => in_json(body),
    }
}

fn in_form(body: &[u8]) -> Result<Cow<'_, str>, TicketError> {
    let mut found = None;
    let mut rest = Some(body);
    while let Some(text) = rest {
        let pair = match memchr(b'&', text) {
            Some(at) => {
                rest = text.get(at + 1..);
                &text[..at]
            }
            None => {
                rest = None;
                text
            }
        };
        let (name, value) = match memchr(b'=', pair) {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &[][..]),
        };
        if is_ticket(name) && found.replace(value).is_some() {
            return Err(TicketError::Repeated);
        }
    }
    // The alphabet of tickets has neither space nor `+`, so a value with a `+` is rejected later in
    // either reading.
    percent_decode(found.ok_or(TicketError::Absent)?)
        .decode_utf8()
        .map_err(|_| TicketError::Malformed)
}

fn is_ticket(name: &[u8]) -> bool {
    // A `+` need not be decoded: it is a space, and the name contains none.
    let is_encoded = || memchr(b'%', name).is_some();
    name == TICKET_FIELD.as_bytes() || is_encoded() && percent_decode(name).eq(TICKET_FIELD.bytes())
}

fn in_json(body: &[u8]) -> Result<Cow<'_, str>, TicketError> {
    // Without a backslash, a name cannot be escaped, and a search for its bytes is enough.
    let named = memmem::find(body, TICKET_FIELD.as_bytes()).is_some();
    if !named && memchr(b'\\', body).is_none() {
        return Err(TicketError::Absent);
    }
    let text = str::from_utf8(body).map_err(|_| TicketError::Absent)?;
    if let Some(ticket) = in_plain_json(text) {
        return Ok(Cow::Borrowed(ticket));
    }
    in_any_json(text).map(Cow::Owned)
}

/// Returns the ticket in JSON that is written as our template writes it, with the values that OSS
/// usually inserts: nothing is escaped, and there are no other values than strings, digits, `null`
/// and nothing. `None` if anything else is in it: [`in_any_json`] decides.
fn in_plain_json(text: &str) -> Option<&str> {
    // A control character is not allowed in a string, and white space is nowhere else.
    if memchr(b'\\', text.as_bytes()).is_some() || has_control(text) {
        return None;
    }
    let (mut found, mut gaps) = (None, 0);
    for field in RawFields::new(CallbackBodyType::Json, text) {
        let field = field.ok()?;
        match field.value.as_bytes() {
            [b'"', ..] => {}
            b"" => gaps += 1,
            b"null" | b"0" | [b'1'..=b'9'] => {}
            [b'1'..=b'9', digits @ ..] if digits.iter().all(u8::is_ascii_digit) => {}
            _ => return None,
        }
        if field.name == TICKET_FIELD {
            let value = field.value.strip_prefix('"')?.strip_suffix('"')?;
            if found.replace(value).is_some() {
                return None;
            }
        }
    }
    // Without a ticket, and with more gaps than are repaired, the error is that of the parser.
    found.filter(|_| gaps <= MAX_GAPS)
}

/// Returns the ticket in any JSON that the readers of a verified body accept.
fn in_any_json(text: &str) -> Result<String, TicketError> {
    let repaired = Repaired::new(text);
    let mut found = Found::default();
    let mut json = serde_json::Deserializer::from_str(repaired.text());
    let read = json.deserialize_map(Members(&mut found));
    match found {
        Found::Once(ticket) if read.is_ok() && json.end().is_ok() => Ok(ticket),
        Found::Twice => Err(TicketError::Repeated),
        Found::NoText => Err(TicketError::Malformed),
        // A body that does not parse to its end contains no ticket, even if the parser saw one.
        Found::Once(_) | Found::Nothing => Err(TicketError::Absent),
    }
}

#[derive(Default)]
enum Found {
    #[default]
    Nothing,
    Once(String),
    NoText,
    Twice,
}

struct Members<'f>(&'f mut Found);

impl<'de> Visitor<'de> for Members<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(is_ticket) = map.next_key_seed(IsTicket)? {
            if !is_ticket {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            if !matches!(self.0, Found::Nothing) {
                *self.0 = Found::Twice;
                return Err(A::Error::custom("duplicate ticket"));
            }
            *self.0 = Found::NoText;
            // OSS writes `null` for a variable that the uploader omitted.
            *self.0 = match map.next_value::<Option<String>>()? {
                Some(ticket) => Found::Once(ticket),
                None => Found::Once(String::new()),
            };
        }
        Ok(())
    }
}

/// Compares a decoded name with that of the ticket, without copying it.
struct IsTicket;

impl<'de> DeserializeSeed<'de> for IsTicket {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for IsTicket {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok(name == TICKET_FIELD)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::callback::event::{EventError, read_event};

    fn form() -> impl Strategy<Value = String> {
        let name = prop::sample::select(vec![
            "x:ticket",
            "x%3Aticket",
            "x%3aticket",
            "%78:ticket",
            "x:ticket+",
            "+x:ticket",
            "x:ticke",
            "bucket",
            "",
            "x:ticket%00",
            "X:ticket",
            "x:tick%65t",
        ]);
        let value = prop::sample::select(vec!["=", "=abc", "=a%62c", "=a=b", "", "=%FF", "=a%2Bb"]);
        let pair = (name, value).prop_map(|(name, value)| format!("{name}{value}"));
        prop::collection::vec(pair, 0..4).prop_map(|pairs| pairs.join("&"))
    }

    fn json() -> impl Strategy<Value = String> {
        let name = prop::sample::select(vec![
            "x:ticket",
            "\\u0078:ticket",
            "x:tic\\u006Bet",
            "x:ticke",
            "bucket",
            "",
            "a:,x:ticket",
        ]);
        let value = prop::sample::select(vec![
            "",
            "null",
            "\"\"",
            "\"abc\"",
            "\"a\\u0062c\"",
            "1",
            "[]",
            "{\"x:ticket\":\"b\"}",
        ]);
        let member = (name, value).prop_map(|(name, value)| format!("\"{name}\":{value}"));
        let members = prop::collection::vec(member, 0..4);
        (members, prop::sample::select(vec!["", " ", "x", "{}"]))
            .prop_map(|(members, end)| format!("{{{}}}{end}", members.join(",")))
    }

    /// Checks that `find` and the full reader see the same ticket.
    fn agrees(body_type: CallbackBodyType, body: &str) -> Result<(), TestCaseError> {
        let found = find(body_type, body.as_bytes());
        match read_event(body_type, body.as_bytes()) {
            Ok(event) => {
                let ticket = event.custom(TICKET_FIELD).unwrap_or_default();
                match found {
                    Ok(found) => prop_assert_eq!(&found, ticket),
                    Err(why) => {
                        prop_assert_eq!(why, TicketError::Absent);
                        prop_assert_eq!(ticket, "");
                    }
                }
            }
            // Errors in other fields do not concern the ticket; only the full reader sees them.
            Err(error) if error.field() == Some(TICKET_FIELD) => {
                // If there are two errors, the readers may report either.
                let refused = matches!(found, Err(TicketError::Repeated | TicketError::Malformed));
                prop_assert!(refused, "{}: {:?}", error, found);
            }
            Err(error @ EventError::NotJson { .. }) => {
                prop_assert!(found.is_err(), "{}", error);
            }
            Err(_) => {}
        }
        Ok(())
    }

    /// What is found in a form, if every name is decoded.
    fn in_decoded_form(body: &[u8]) -> Result<Cow<'_, str>, TicketError> {
        let pairs = body.split(|&byte| byte == b'&').map(|pair| {
            let mut halves = pair.splitn(2, |&byte| byte == b'=');
            let name: Vec<u8> = percent_decode(halves.next().unwrap_or_default()).collect();
            (name, halves.next().unwrap_or_default())
        });
        let mut values = pairs.filter(|(name, _)| name == TICKET_FIELD.as_bytes());
        let (_, value) = values.next().ok_or(TicketError::Absent)?;
        if values.next().is_some() {
            return Err(TicketError::Repeated);
        }
        percent_decode(value)
            .decode_utf8()
            .map_err(|_| TicketError::Malformed)
    }

    /// JSON as our template writes it, and almost so.
    fn plain_json() -> impl Strategy<Value = String> {
        let name = prop::sample::select(vec![
            "x:ticket",
            "x:ticke",
            "a",
            "b",
            "",
            "x:\\u0074icket",
            "\u{e9}",
            "a\nb",
            "a\tb",
        ]);
        let value = prop::sample::select(vec![
            "",
            "null",
            "nul",
            "0",
            "00",
            "1",
            "12",
            "01",
            "1.5",
            "-1",
            "1e3",
            "\"\"",
            "\"abc\"",
            "\"a:,}b\"",
            "\"a\\\"b\"",
            "\"\\u0061\"",
            "\"a\nb\"",
            "\"\u{e9}\"",
            "true",
            "[]",
            "[1,2]",
            "{}",
            "{\"x:ticket\":\"b\"}",
            "\"a",
            "\u{e9}",
        ]);
        let comma = prop::sample::select(vec![",", ",", ",", ",", ", ", ",,", ""]);
        let member = (name, value, comma)
            .prop_map(|(name, value, comma)| format!("\"{name}\":{value}{comma}"));
        let members = prop::collection::vec(member, 0..5);
        let ends = prop::sample::select(vec!["}", "}", "}", "", "} ", "}}", ",}"]);
        (members, ends).prop_map(|(members, end)| {
            let members = members.concat();
            format!("{{{}{end}", members.strip_suffix(',').unwrap_or(&members))
        })
    }

    #[test]
    fn the_ticket_of_a_plain_body_is_borrowed() {
        let body = b"{\"a\":1,\"b\":,\"x:ticket\":\"abc\",\"c\":\"\"}";
        let found = find(CallbackBodyType::Json, body).unwrap();
        assert!(matches!(found, Cow::Borrowed("abc")));
        let gaps = "\"a\":,".repeat(MAX_GAPS + 1);
        let body = format!("{{{gaps}\"x:ticket\":\"abc\"}}");
        assert_eq!(in_plain_json(&body), None);
        let body = body.replacen("\"a\":,", "", 1);
        assert_eq!(in_plain_json(&body), Some("abc"));
        assert_eq!(in_any_json(&body).unwrap(), "abc");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2048))]

        #[test]
        fn a_plain_body_has_the_ticket_that_the_parser_finds(body in plain_json()) {
            if let Some(found) = in_plain_json(&body) {
                let parsed = in_any_json(&body);
                prop_assert_eq!(parsed.as_deref(), Ok(found), "{}", body);
            }
        }

        #[test]
        fn a_name_without_escapes_need_not_be_decoded(body in form()) {
            prop_assert_eq!(in_form(body.as_bytes()), in_decoded_form(body.as_bytes()));
        }
    }

    proptest! {
        #[test]
        fn both_readers_of_a_form_find_the_same(body in form()) {
            agrees(CallbackBodyType::Form, &body)?;
        }

        #[test]
        fn both_readers_of_json_find_the_same(body in json()) {
            agrees(CallbackBodyType::Json, &body)?;
        }

        #[test]
        fn any_body_is_answered(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = find(CallbackBodyType::Form, &body);
            let _ = find(CallbackBodyType::Json, &body);
        }
    }
}
