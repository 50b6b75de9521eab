//! One file or a batch, asked for in JSON.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};

use super::{AskError, MAX_FILES, RequestedFile, RequestedFiles};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask<'a> {
    #[serde(borrow, default)]
    filename: Option<Cow<'a, str>>,
    #[serde(default)]
    size: Option<u64>,
    #[serde(borrow, default, rename = "type")]
    content_type: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    files: Option<Vec<Object<File<'a>>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File<'a> {
    #[serde(borrow, default)]
    filename: Option<Cow<'a, str>>,
    #[serde(default)]
    size: Option<u64>,
    #[serde(borrow, default, rename = "type")]
    content_type: Option<Cow<'a, str>>,
}

/// A struct that was written as an object; serde alone would take an array for it too.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ByName<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for ByName<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }

        deserializer.deserialize_map(ByName(PhantomData)).map(Self)
    }
}

pub(in crate::policy) fn from_json(body: &[u8]) -> Result<RequestedFiles, AskError> {
    let Object(ask): Object<Ask<'_>> = serde_json::from_slice(body).map_err(|_| AskError::Json)?;
    let Some(files) = ask.files else {
        let file = RequestedFile::new(
            ask.filename.as_deref(),
            ask.size,
            ask.content_type.as_deref(),
        )?;
        return Ok(RequestedFiles::one(file));
    };
    if ask.filename.is_some() || ask.size.is_some() || ask.content_type.is_some() {
        return Err(AskError::Json);
    }
    if files.is_empty() {
        return Err(AskError::NoFiles);
    }
    if files.len() > MAX_FILES {
        return Err(AskError::TooManyFiles);
    }
    let files = files.iter().map(|Object(file)| {
        RequestedFile::new(
            file.filename.as_deref(),
            file.size,
            file.content_type.as_deref(),
        )
    });
    Ok(RequestedFiles {
        files: files.collect::<Result<_, _>>()?,
        batch: true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks() {
        let ask =
            from_json(br#" {"type":"image/png","filename":"\u4e2d \"a\".png","size":5} "#).unwrap();
        assert!(!ask.is_batch());
        let [file] = ask.files() else { panic!() };
        assert_eq!(file.filename(), Some("中 \"a\".png"));
        assert_eq!(file.size(), Some(5));
        assert_eq!(file.content_type().unwrap().as_str(), "image/png");

        for nothing in [&b"{}"[..], br#"{"filename":null,"size":null,"type":""}"#] {
            assert_eq!(
                from_json(nothing).unwrap().files(),
                [RequestedFile::default()]
            );
        }
        let batch = from_json(br#"{"files":[{"size":1},{},{"size":0}]}"#).unwrap();
        assert!(batch.is_batch());
        let sizes: Vec<_> = batch.files().iter().map(RequestedFile::size).collect();
        assert_eq!(sizes, [Some(1), None, Some(0)]);
    }

    #[test]
    fn pl_27_asks_that_cannot_be_read() {
        let deep = format!(
            r#"{{"files":{}{}}}"#,
            "[".repeat(10_000),
            "]".repeat(10_000)
        );
        let deeper = format!(
            r#"{{"a":{}1{}}}"#,
            r#"{"a":"#.repeat(5000),
            "}".repeat(5000)
        );
        for body in [
            "",
            "null",
            "[]",
            "[\"a\",1,\"image/png\"]",
            "\"a\"",
            "{",
            "{} {}",
            "\u{feff}{}",
            r#"{"size":1,"size":1}"#,
            r#"{"size":1,"\u0073ize":1}"#,
            r#"{"colour":"red"}"#,
            r#"{"size":-1}"#,
            r#"{"size":1.5}"#,
            r#"{"size":"1"}"#,
            r#"{"size":NaN}"#,
            r#"{"size":1e400}"#,
            r#"{"size":18446744073709551616}"#,
            r#"{"size":99999999999999999999999999999999999999}"#,
            r#"{"filename":"\ud800"}"#,
            r#"{"files":[],"size":1}"#,
            r#"{"files":{}}"#,
            r#"{"files":[["a",1,"image/png"]]}"#,
            r#"{"files":[{"size":1,"size":2}]}"#,
            r#"{"files":[{"files":[]}]}"#,
            &deep,
            &deeper,
        ] {
            assert_eq!(
                from_json(body.as_bytes()).unwrap_err(),
                AskError::Json,
                "{body}"
            );
        }
        assert_eq!(
            from_json(b"{\"filename\":\"\xff\"}").unwrap_err(),
            AskError::Json
        );
        assert_eq!(
            from_json(br#"{"files":[]}"#).unwrap_err(),
            AskError::NoFiles
        );
        let hundred = |n| format!(r#"{{"files":[{}]}}"#, vec!["{}"; n].join(","));
        assert_eq!(
            from_json(hundred(100).as_bytes()).unwrap().files().len(),
            100
        );
        assert_eq!(
            from_json(hundred(101).as_bytes()).unwrap_err(),
            AskError::TooManyFiles
        );
    }
}
