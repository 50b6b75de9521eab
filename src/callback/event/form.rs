//! Deserializer for form bodies.

use std::{borrow::Cow, collections::HashSet};

use percent_encoding::percent_decode;
use serde::{
    de::{
        DeserializeOwned, Deserializer, IntoDeserializer, Visitor,
        value::{Error, MapDeserializer, StrDeserializer},
    },
    forward_to_deserialize_any,
};
use serde_path_to_error::Segment;

use super::{
    Plus,
    error::{EventError, field_name, unfit},
};

pub(super) fn read<T: DeserializeOwned>(body: &[u8], plus: Plus) -> Result<T, EventError> {
    let fields = fields(body, plus)?;
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

struct Field<'a> {
    offset: usize,
    name: Cow<'a, str>,
    value: Cow<'a, str>,
}

/// Decodes the fields and rejects duplicate names.
///
/// Bytes that are not UTF-8 are an error. `form_urlencoded` alone replaces them with U+FFFD, so two
/// different object names would become the same.
fn fields(body: &[u8], plus: Plus) -> Result<Vec<Field<'_>>, EventError> {
    let mut fields = Vec::new();
    let mut offset = 0;
    // `form_urlencoded::parse` over the whole body would not tell where a field starts.
    for pair in body.split(|&byte| byte == b'&') {
        let decoded = match plus {
            Plus::Space => form_urlencoded::parse(pair).next(),
            Plus::Literal => decode_literal(pair),
        };
        if let Some((name, value)) = decoded {
            // `=` is ASCII, so name and value are UTF-8 if the pair is.
            if percent_decode(pair).decode_utf8().is_err() {
                return Err(EventError::NotUtf8 {
                    field: Some(field_name(name)),
                    offset,
                });
            }
            fields.push(Field {
                offset,
                name,
                value,
            });
        }
        offset += pair.len() + 1;
    }
    let mut names = HashSet::with_capacity(fields.len());
    match fields.iter().find(|field| !names.insert(&field.name)) {
        Some(twice) => Err(EventError::DuplicateField {
            field: field_name(&twice.name),
            offset: twice.offset,
        }),
        None => Ok(fields),
    }
}

/// Decodes a field whose `+` is a plus sign.
fn decode_literal(pair: &[u8]) -> Option<(Cow<'_, str>, Cow<'_, str>)> {
    if !pair.contains(&b'+') {
        return form_urlencoded::parse(pair).next();
    }
    let encoded: Vec<u8> = pair
        .iter()
        .flat_map(|byte| match byte {
            b'+' => &b"%2B"[..],
            byte => std::slice::from_ref(byte),
        })
        .copied()
        .collect();
    let (name, value) = form_urlencoded::parse(&encoded).next()?;
    Some((name.into_owned().into(), value.into_owned().into()))
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
            .map(|field| (&*field.name, Value(&field.value)));
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
