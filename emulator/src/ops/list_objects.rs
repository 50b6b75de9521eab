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
    store::{Entry, ObjectSummary, Page, Selection},
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

    let selection = Selection {
        prefix,
        delimiter,
        after: &after,
        limit: max_keys,
    };
    let page = context.shared.store.page(&context.bucket.name, selection);
    let page = page.await.map_err(|error| {
        tracing::error!(%error, "failed to list the objects");
        errors::INTERNAL
    })?;
    let Page {
        entries,
        is_truncated,
    } = page;
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
        next_continuation_token: entries
            .last()
            .filter(|_| is_truncated)
            .map(|entry| match entry {
                Entry::Object(object) => URL_SAFE.encode(object.key()),
                Entry::Prefix(prefix) => URL_SAFE.encode(prefix),
            }),
        key_count: entries.len(),
        contents: entries
            .iter()
            .filter_map(|entry| match entry {
                Entry::Object(object) => Some(listed_object(object, encoding, owner)),
                Entry::Prefix(_) => None,
            })
            .collect(),
        common_prefixes: entries
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

fn listed_object(object: &ObjectSummary, encoding: Encoding, owner: Option<&str>) -> ListedObject {
    ListedObject {
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
    }
}
