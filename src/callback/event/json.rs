//! JSON bodies.

use std::{collections::HashSet, fmt, str};

use serde::{
    Deserialize as _,
    de::{
        DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor,
    },
};

use super::{
    error::{EventError, EventErrorKind as Kind},
    repair::Repaired,
};

pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, EventError> {
    let text = str::from_utf8(body)
        .map_err(|error| EventError::new(Kind::NotUtf8).at(error.valid_up_to()))?;
    let repaired = Repaired::new(text);
    check_names(&repaired)?;
    let mut json = serde_json::Deserializer::from_str(repaired.text());
    serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let mismatch = explain(Kind::Mismatch, error.inner(), &repaired);
        if error.path().iter().next().is_none() {
            return mismatch;
        }
        mismatch.in_field(error.path())
    })
}

/// Checks the whole syntax, and that no name stands twice at the top level: which of the two values counts would be
/// up to the reader, and a ticket or an object checked by one reader must be the one that another acts on.
///
/// It goes through the text once, by serde_json's way to skip values, which needs no recursion.
fn check_names(repaired: &Repaired<'_>) -> Result<(), EventError> {
    let mut json = serde_json::Deserializer::from_str(repaired.text());
    let mut twice = None;
    let read = if repaired.text().trim_ascii_start().starts_with('{') {
        Names { twice: &mut twice }.deserialize(&mut json)
    } else {
        // Not a set of fields: up to the type it is read into.
        IgnoredAny::deserialize(&mut json).map(drop)
    };
    read.and_then(|()| json.end()).map_err(|error| match twice {
        Some(name) => EventError::new(Kind::DuplicateField)
            .in_field(name)
            .at(offset(&error, repaired)),
        None => explain(Kind::NotJson, &error, repaired),
    })
}

fn explain(kind: Kind, error: &serde_json::Error, repaired: &Repaired<'_>) -> EventError {
    // The place in the repaired text would mislead.
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    EventError::new(kind)
        .at(offset(error, repaired))
        .because(text.strip_suffix(&place).unwrap_or(&text))
}

/// The last byte that serde_json has read, where it stands in the body.
fn offset(error: &serde_json::Error, repaired: &Repaired<'_>) -> usize {
    let mut line_starts = repaired
        .text()
        .bytes()
        .enumerate()
        .filter(|&(_, byte)| byte == b'\n')
        .map(|(at, _)| at + 1);
    let line_start = match error.line() {
        0 | 1 => 0,
        line => line_starts.nth(line - 2).unwrap_or_default(),
    };
    // Columns count from 1; column 0 of a line is the line feed before it.
    repaired.original_offset((line_start + error.column()).saturating_sub(1))
}

/// The names at the top level, decoded, so that `"\u0061"` is `"a"`.
struct Names<'n> {
    twice: &'n mut Option<String>,
}

impl<'de> DeserializeSeed<'de> for Names<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Names<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a json object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut names = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if names.contains(&name) {
                *self.twice = Some(name);
                return Err(A::Error::custom("a name stands twice"));
            }
            names.insert(name);
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}
