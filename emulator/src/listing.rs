//! `ListObjectsV2`.

use std::time::SystemTime;

use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use http::Response;
use jiff::Timestamp;
use serde::Serialize;

use crate::{
    body::EmulatorBody,
    call::Call,
    catalogue,
    documents::{self, Encoding},
    error::OssError,
    summary::ObjectSummary,
};

const DEFAULT_KEYS: usize = 100;
const MAX_KEYS: usize = 1000;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Listing<'a> {
    name: &'a str,
    prefix: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_after: Option<String>,
    max_keys: usize,
    delimiter: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding_type: Option<&'static str>,
    is_truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    continuation_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_continuation_token: Option<String>,
    key_count: usize,
    contents: Vec<Listed>,
    common_prefixes: Vec<Prefix>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    key: String,
    last_modified: String,
    #[serde(rename = "ETag")]
    etag: String,
    r#type: &'static str,
    size: u64,
    storage_class: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<Owner>,
}

#[derive(Serialize)]
struct Owner {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "DisplayName")]
    display_name: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Prefix {
    prefix: String,
}

/// A line of the answer: an object, or all objects that go on alike up to the delimiter.
enum Line<'a> {
    Object(&'a ObjectSummary),
    Prefix(&'a str),
}

impl Line<'_> {
    fn name(&self) -> &str {
        match self {
            Self::Object(object) => object.key(),
            Self::Prefix(prefix) => prefix,
        }
    }
}

/// The objects of a bucket, by name, a page at a time.
pub(crate) async fn list(call: &Call<'_>) -> Result<Response<EmulatorBody>, OssError> {
    let get = |name| call.query.get(name).filter(|value| !value.is_empty());
    let encoding = Encoding::of(call.query)?;
    let prefix = get("prefix").unwrap_or_default();
    let delimiter = get("delimiter").unwrap_or_default();
    let max_keys = match get("max-keys") {
        None => DEFAULT_KEYS,
        Some(max) => max
            .parse()
            .ok()
            .filter(|max| (1..=MAX_KEYS).contains(max))
            .ok_or(catalogue::MAX_KEYS)?,
    };
    let token = get("continuation-token");
    let after = match token {
        Some(token) => read_token(token).ok_or(catalogue::CONTINUATION)?,
        None => get("start-after").unwrap_or_default().to_owned(),
    };

    let objects = call.shared.store.list(&call.bucket.name).await;
    let objects = objects.map_err(|_| catalogue::INTERNAL)?;
    let lines = lines(&objects, prefix, delimiter, &after);
    let page = &lines[..lines.len().min(max_keys)];
    let owner = get("fetch-owner") == Some("true");
    let owner = owner.then(|| &*call.shared.caller.owner);
    let listing = Listing {
        name: call.bucket.name.as_str(),
        prefix: encoding.text(prefix),
        start_after: get("start-after").map(|after| encoding.text(after)),
        max_keys,
        delimiter: encoding.text(delimiter),
        encoding_type: encoding.name(),
        is_truncated: page.len() < lines.len(),
        continuation_token: token,
        next_continuation_token: page
            .last()
            .filter(|_| page.len() < lines.len())
            .map(|line| URL_SAFE.encode(line.name())),
        key_count: page.len(),
        contents: page
            .iter()
            .filter_map(|line| listed(line, encoding, owner))
            .collect(),
        common_prefixes: page
            .iter()
            .filter_map(|line| match line {
                Line::Prefix(prefix) => Some(Prefix {
                    prefix: encoding.text(prefix),
                }),
                Line::Object(_) => None,
            })
            .collect(),
    };
    documents::response("ListBucketResult", &listing)
}

fn read_token(token: &str) -> Option<String> {
    String::from_utf8(URL_SAFE.decode(token).ok()?).ok()
}

fn lines<'a>(
    objects: &'a [ObjectSummary],
    prefix: &str,
    delimiter: &str,
    after: &str,
) -> Vec<Line<'a>> {
    let mut lines: Vec<Line<'a>> = Vec::new();
    for object in objects {
        let key = object.key();
        let Some(rest) = key.strip_prefix(prefix) else {
            continue;
        };
        let common = match rest.find(delimiter) {
            Some(at) if !delimiter.is_empty() => &key[..prefix.len() + at + delimiter.len()],
            _ => "",
        };
        let line = if common.is_empty() {
            Line::Object(object)
        } else {
            Line::Prefix(common)
        };
        let again = lines.last().is_some_and(|last| last.name() == line.name());
        if line.name() > after && !again {
            lines.push(line);
        }
    }
    lines
}

fn listed(line: &Line<'_>, encoding: Encoding, owner: Option<&str>) -> Option<Listed> {
    let Line::Object(object) = line else {
        return None;
    };
    Some(Listed {
        key: encoding.text(object.key()),
        last_modified: iso8601(object.last_modified()),
        etag: format!("\"{}\"", object.etag()),
        r#type: if object.etag().contains('-') {
            "Multipart"
        } else {
            "Normal"
        },
        size: object.size(),
        storage_class: object.storage_class().to_owned(),
        owner: owner.map(|id| Owner {
            id: id.to_owned(),
            display_name: id.to_owned(),
        }),
    })
}

/// As in `2014-12-01T12:00:00.000Z`; empty for a time that has no such form.
///
/// Whole seconds: Python's `oss2` reads no other fraction than `.000`.
pub(crate) fn iso8601(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH);
    let seconds = seconds.map_or(0, |since| since.as_secs());
    let time = i64::try_from(seconds).ok();
    let time = time.and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.map(|time| format!("{time:.3}")).unwrap_or_default()
}
