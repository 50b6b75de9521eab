//! `ListObjectsV2`.

use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use http::Response;
use serde::Serialize;

use crate::{
    body::EmulatorBody,
    context::RequestContext,
    encoding::Encoding,
    errors::{self, OssError},
    response::iso8601,
    store::ObjectSummary,
    xml,
};

/// Page size without `max-keys`.
const DEFAULT_KEYS: usize = 100;
/// Largest page size that OSS accepts.
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
    contents: Vec<ListedObject>,
    common_prefixes: Vec<CommonPrefix>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListedObject {
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
struct CommonPrefix {
    prefix: String,
}

/// An entry of the listing: an object, or a prefix that groups objects up to the delimiter.
enum Entry<'a> {
    Object(&'a ObjectSummary),
    Prefix(&'a str),
}

impl Entry<'_> {
    fn name(&self) -> &str {
        match self {
            Self::Object(object) => object.key(),
            Self::Prefix(prefix) => prefix,
        }
    }
}

/// Returns one page of the objects of a bucket, ordered by name.
pub(super) async fn run(context: &RequestContext<'_>) -> Result<Response<EmulatorBody>, OssError> {
    let get = |name| context.query.get(name).filter(|value| !value.is_empty());
    let encoding = Encoding::of(context.query)?;
    let prefix = get("prefix").unwrap_or_default();
    let delimiter = get("delimiter").unwrap_or_default();
    let max_keys = match get("max-keys") {
        None => DEFAULT_KEYS,
        Some(max) => max
            .parse()
            .ok()
            .filter(|max| (1..=MAX_KEYS).contains(max))
            .ok_or(errors::MAX_KEYS)?,
    };
    let token = get("continuation-token");
    let after = match token {
        Some(token) => read_token(token).ok_or(errors::CONTINUATION)?,
        None => get("start-after").unwrap_or_default().to_owned(),
    };

    let objects = context.shared.store.list(&context.bucket.name).await;
    let objects = objects.map_err(|_| errors::INTERNAL)?;
    let entries = entries(&objects, prefix, delimiter, &after);
    let page = &entries[..entries.len().min(max_keys)];
    let is_truncated = page.len() < entries.len();
    let owner = get("fetch-owner") == Some("true");
    let owner = owner.then(|| &*context.shared.caller.owner);
    let listing = Listing {
        name: context.bucket.name.as_str(),
        prefix: encoding.text(prefix),
        start_after: get("start-after").map(|after| encoding.text(after)),
        max_keys,
        delimiter: encoding.text(delimiter),
        encoding_type: encoding.name(),
        is_truncated,
        continuation_token: token,
        next_continuation_token: page
            .last()
            .filter(|_| is_truncated)
            .map(|entry| URL_SAFE.encode(entry.name())),
        key_count: page.len(),
        contents: page
            .iter()
            .filter_map(|entry| listed_object(entry, encoding, owner))
            .collect(),
        common_prefixes: page
            .iter()
            .filter_map(|entry| match entry {
                Entry::Prefix(prefix) => Some(CommonPrefix {
                    prefix: encoding.text(prefix),
                }),
                Entry::Object(_) => None,
            })
            .collect(),
    };
    xml::response("ListBucketResult", &listing)
}

/// Decodes a continuation token: the name of the last entry of the page before.
fn read_token(token: &str) -> Option<String> {
    String::from_utf8(URL_SAFE.decode(token).ok()?).ok()
}

/// Groups the objects below `prefix` by `delimiter`, and drops entries up to and including
/// `after`. `objects` are ordered by name, so objects of one group are neighbours.
fn entries<'a>(
    objects: &'a [ObjectSummary],
    prefix: &str,
    delimiter: &str,
    after: &str,
) -> Vec<Entry<'a>> {
    let mut entries: Vec<Entry<'a>> = Vec::new();
    for object in objects {
        let key = object.key();
        let Some(rest) = key.strip_prefix(prefix) else {
            continue;
        };
        let common = match rest.find(delimiter) {
            Some(at) if !delimiter.is_empty() => &key[..prefix.len() + at + delimiter.len()],
            _ => "",
        };
        let entry = if common.is_empty() {
            Entry::Object(object)
        } else {
            Entry::Prefix(common)
        };
        let last = entries.last();
        let repeated = last.is_some_and(|last| last.name() == entry.name());
        if entry.name() > after && !repeated {
            entries.push(entry);
        }
    }
    entries
}

fn listed_object(
    entry: &Entry<'_>,
    encoding: Encoding,
    owner: Option<&str>,
) -> Option<ListedObject> {
    let Entry::Object(object) = entry else {
        return None;
    };
    Some(ListedObject {
        key: encoding.text(object.key()),
        last_modified: iso8601(object.last_modified()),
        etag: format!("\"{}\"", object.etag()),
        // An ETag with a number of parts is that of a multipart upload.
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
