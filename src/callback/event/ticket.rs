//! Finds the ticket in a callback body.
//!
//! This runs before the signature is verified, on bytes that anybody may have sent, so that
//! requests without a valid ticket cost neither a key lookup nor an RSA operation. It must agree
//! with the readers that run afterwards: the property tests below compare them.

use std::{borrow::Cow, fmt, str};

use memchr::{memchr, memmem};
use percent_encoding::percent_decode;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use super::json::Repaired;
use crate::{
    protocol::{CallbackBodyType, TICKET_FIELD},
    ticket::TicketError,
};

/// Returns the ticket in a body, in one pass. In a form, only the names and the ticket are decoded.
///
/// # Errors
///
/// Fails if the body contains no ticket or more than one, or if its value is not a string.
pub(in crate::callback) fn find(
    body_type: CallbackBodyType,
    body: &[u8],
) -> Result<Cow<'_, str>, TicketError> {
    match body_type {
        CallbackBodyType::Form => in_form(body),
        CallbackBodyType::Json => in_json(body).map(Cow::Owned),
    }
}

fn in_form(body: &[u8]) -> Result<Cow<'_, str>, TicketError> {
    let mut found = None;
    for pair in body.split(|&byte| byte == b'&') {
        let mut halves = pair.splitn(2, |&byte| byte == b'=');
        // A `+` need not be decoded: it is a space, and the name contains none.
        let name = percent_decode(halves.next().unwrap_or_default());
        if name.eq(TICKET_FIELD.bytes()) {
            let value = halves.next().unwrap_or_default();
            if found.replace(value).is_some() {
                return Err(TicketError::Repeated);
            }
        }
    }
    // The alphabet of tickets has neither space nor `+`, so a value with a `+` is rejected later in
    // either reading.
    percent_decode(found.ok_or(TicketError::Absent)?)
        .decode_utf8()
        .map_err(|_| TicketError::Malformed)
}

fn in_json(body: &[u8]) -> Result<String, TicketError> {
    // Without a backslash, a name cannot be escaped, and a search for its bytes is enough.
    let named = memmem::find(body, TICKET_FIELD.as_bytes()).is_some();
    if !named && memchr(b'\\', body).is_none() {
        return Err(TicketError::Absent);
    }
    let text = str::from_utf8(body).map_err(|_| TicketError::Absent)?;
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
