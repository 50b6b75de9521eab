//! Deserializer for form bodies.

use std::{borrow::Cow, str::Utf8Error};

use memchr::memchr;
use percent_encoding::percent_decode;
use serde::{
    de::{
        DeserializeOwned, Deserializer, IntoDeserializer, Visitor,
        value::{BorrowedStrDeserializer, Error, MapDeserializer, StrDeserializer},
    },
    forward_to_deserialize_any,
};
use serde_path_to_error::Segment;

use super::{
    Plus,
    error::{EventError, field_name, unfit},
    names::Names,
};

pub(super) fn read<T: DeserializeOwned>(body: &[u8], plus: Plus) -> Result<T, EventError> {
    let fields = fields(body, plus)?;
    if let Ok(read) = T::deserialize(Form(&fields)) {
        return Ok(read);
    }
    // A second time, for the field that does not fit. To follow the path costs more than to read.
    serde_path_to_error::deserialize(Form(&fields)).map_err(|error| {
        // A form is flat, so the first segment of the path is the field.
        let key = match error.path().iter().next() {
            Some(Segment::Map { key }) => Some(key),
            _ => None,
        };
        let position = |key: &String| fields.iter().find(|field| field.name == **key);
        unfit(
            key.map(field_name),
            key.and_then(position).map(|field| field.offset),
            &error.inner().to_string(),
        )
    })
}

#[derive(Debug)]
struct Field<'a> {
    offset: usize,
    name: Cow<'a, str>,
    value: Cow<'a, str>,
}

/// How many fields a body is expected to have. One with more takes more allocations.
const EXPECTED_FIELDS: usize = 16;

/// Decodes the fields and rejects duplicate names.
///
/// Bytes that are not UTF-8 are an error. Replaced by U+FFFD, two different object names would
/// become the same.
fn fields(body: &[u8], plus: Plus) -> Result<Vec<Field<'_>>, EventError> {
    let mut fields = Vec::with_capacity(EXPECTED_FIELDS);
    let mut offset = 0;
    while let Some(rest) = body.get(offset..) {
        let length = memchr(b'&', rest).unwrap_or(rest.len());
        let (pair, _) = rest.split_at(length);
        // The WHATWG parser skips empty pairs, too.
        if !pair.is_empty() {
            fields.push(field(pair, offset, plus)?);
        }
        offset += length + 1;
    }
    let mut names = Names::default();
    for field in &fields {
        if names.insert(Cow::Borrowed(&*field.name)).is_err() {
            return Err(EventError::DuplicateField {
                field: field_name(&field.name),
                offset: field.offset,
            });
        }
    }
    Ok(fields)
}

fn field(pair: &[u8], offset: usize, plus: Plus) -> Result<Field<'_>, EventError> {
    let (raw, value) = match memchr(b'=', pair) {
        Some(at) => (&pair[..at], &pair[at + 1..]),
        None => (pair, &[][..]),
    };
    match (decode(raw, plus), decode(value, plus)) {
        (Ok(name), Ok(value)) => Ok(Field {
            offset,
            name,
            value,
        }),
        (name, _) => Err(EventError::NotUtf8 {
            field: Some(match name {
                Ok(name) => field_name(name),
                Err(_) => field_name(percent_decode(&spaced(raw, plus)).decode_utf8_lossy()),
            }),
            offset,
        }),
    }
}

/// Decodes a name or a value, and borrows it if nothing in it is encoded.
fn decode(part: &[u8], plus: Plus) -> Result<Cow<'_, str>, Utf8Error> {
    match spaced(part, plus) {
        Cow::Borrowed(part) => percent_decode(part).decode_utf8(),
        Cow::Owned(part) => {
            let decoded = percent_decode(&part).decode_utf8()?;
            Ok(Cow::Owned(decoded.into_owned()))
        }
    }
}

/// Replaces each `+` by a space, if that is how it is read.
fn spaced(part: &[u8], plus: Plus) -> Cow<'_, [u8]> {
    if plus == Plus::Literal || memchr(b'+', part).is_none() {
        return Cow::Borrowed(part);
    }
    let space = |byte: &u8| if *byte == b'+' { b' ' } else { *byte };
    Cow::Owned(part.iter().map(space).collect())
}

/// Deserializes the fields as a map.
///
/// `serde_html_form` does not fit: it deserializes an empty value as `Some("")`, where JSON has
/// `null`, and it adds four crates to collect repeated names, which are an error here.
#[derive(Clone, Copy)]
struct Form<'a>(&'a [Field<'a>]);

impl<'de> Deserializer<'de> for Form<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let fields = self
            .0
            .iter()
            .map(|field| (Name(&field.name), Value(&field.value)));
        visitor.visit_map(MapDeserializer::new(fields))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// Deserializes a name: a string that is borrowed.
struct Name<'a>(&'a str);

impl<'de> IntoDeserializer<'de> for Name<'de> {
    type Deserializer = BorrowedStrDeserializer<'de, Error>;

    fn into_deserializer(self) -> Self::Deserializer {
        BorrowedStrDeserializer::new(self.0)
    }
}

/// Deserializes one value: a string, or a number or `bool` parsed from it. An empty value is `None`
/// for an `Option`.
#[derive(Clone, Copy)]
struct Value<'a>(&'a str);

impl<'de> IntoDeserializer<'de> for Value<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! parsed {
    ($($deserialize:ident $visit:ident,)*) => {
        $(fn $deserialize<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            match self.0.parse() {
                Ok(value) => visitor.$visit(value),
                // The visitor rejects the string with a message that names the expected type.
                Err(_) => visitor.visit_borrowed_str(self.0),
            }
        })*
    };
}

impl<'de> Deserializer<'de> for Value<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_borrowed_str(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.is_empty() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        StrDeserializer::new(self.0).deserialize_enum(name, variants, visitor)
    }

    parsed! {
        deserialize_bool visit_bool,
        deserialize_i8 visit_i8, deserialize_i16 visit_i16, deserialize_i32 visit_i32,
        deserialize_i64 visit_i64, deserialize_i128 visit_i128,
        deserialize_u8 visit_u8, deserialize_u16 visit_u16, deserialize_u32 visit_u32,
        deserialize_u64 visit_u64, deserialize_u128 visit_u128,
        deserialize_f32 visit_f32, deserialize_f64 visit_f64,
    }

    forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct
        identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use proptest::prelude::*;

    use super::*;
    use crate::{callback::event::read_event, protocol::CallbackBodyType};

    /// A reader that decodes each pair twice, and every name into a set.
    fn fields_by_pairs(body: &[u8], plus: Plus) -> Result<Vec<(usize, String, String)>, String> {
        let mut fields = Vec::new();
        let mut offset = 0;
        for pair in body.split(|&byte| byte == b'&') {
            let escaped: Vec<u8> = pair
                .iter()
                .flat_map(|byte| match byte {
                    b'+' if plus == Plus::Literal => &b"%2B"[..],
                    byte => std::slice::from_ref(byte),
                })
                .copied()
                .collect();
            if let Some((name, value)) = form_urlencoded::parse(&escaped).next() {
                if percent_decode(pair).decode_utf8().is_err() {
                    return Err(format!("{} {offset} is not UTF-8", field_name(name)));
                }
                fields.push((offset, name.into_owned(), value.into_owned()));
            }
            offset += pair.len() + 1;
        }
        let mut names = HashSet::new();
        match fields.iter().find(|(_, name, _)| !names.insert(name)) {
            Some((offset, name, _)) => Err(format!("{} {offset} twice", field_name(name))),
            None => Ok(fields),
        }
    }

    fn body() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            8 => prop::sample::select(vec![
                "a", "b", "=", "=", "&", "&", "+", "%", "%2", "%2B", "%26", "%3d", "%C3%A9", "%C3",
                "\u{e9}", "x:ticket", "%00", "%zz", "=&", "&&",
            ])
            .prop_map(|piece| piece.as_bytes().to_vec()),
            1 => any::<u8>().prop_map(|byte| vec![byte]),
        ];
        prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn fields_are_those_of_a_reader_by_pairs(body in body(), literal in any::<bool>()) {
            let plus = if literal { Plus::Literal } else { Plus::Space };
            let read = fields(&body, plus);
            let read = match read {
                Ok(fields) => Ok(fields
                    .into_iter()
                    .map(|field| (field.offset, field.name.into_owned(), field.value.into_owned()))
                    .collect()),
                Err(EventError::NotUtf8 { field: Some(field), offset }) => {
                    Err(format!("{field} {offset} is not UTF-8"))
                }
                Err(EventError::DuplicateField { field, offset }) => {
                    Err(format!("{field} {offset} twice"))
                }
                Err(error) => unreachable!("{error}"),
            };
            prop_assert_eq!(read, fields_by_pairs(&body, plus));
        }
    }

    #[test]
    fn what_is_not_encoded_is_borrowed() {
        let read = fields(b"a=b&%61b=c+d", Plus::Space).unwrap();
        let borrowed = |text: &Cow<'_, str>| matches!(text, Cow::Borrowed(_));
        assert!(borrowed(&read[0].name) && borrowed(&read[0].value));
        assert!(!borrowed(&read[1].name) && !borrowed(&read[1].value));
    }

    #[test]
    fn a_body_of_fields_only_is_read_in_time() {
        // Compared with each other, 30,000 names would take seconds.
        let body: Vec<String> = (0..30_000).map(|n| n.to_string()).collect();
        let body = body.join("&");
        let read: BTreeMap<String, String> = read(body.as_bytes(), Plus::Space).unwrap();
        assert_eq!(read.len(), 30_000);
        // Inserted in their order, each of 200,000 names would move those after it: minutes.
        let body: Vec<String> = (0..200_000).rev().map(|n| format!("x:{n:06}=a")).collect();
        let event = read_event(CallbackBodyType::Form, body.join("&").as_bytes()).unwrap();
        assert_eq!(event.custom_variables().count(), 200_000);
        assert!(event.custom_variables().is_sorted());
    }
}
