//! `ListObjects` and `ListObjectsV2`.

use std::{sync::Arc, time::SystemTime};

use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use http::Response;
use serde::Serialize;

use super::owner::Owner;
use crate::{
    body::EmulatorBody,
    context::RequestContext,
    encoding::Encoding,
    errors::{self, OssError},
    response::{iso8601, restore_info},
    store::{Entry, ObjectSummary, Page, Selection},
    xml,
};

/// Page size without `max-keys`.
const DEFAULT_KEYS: usize = 100;
/// Largest page size that OSS accepts.
const MAX_KEYS: usize = 1000;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListingV1<'a> {
    name: &'a str,
    prefix: String,
    marker: String,
    max_keys: usize,
    delimiter: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding_type: Option<&'static str>,
    is_truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
    contents: Vec<ListedObject<'a>>,
    common_prefixes: Vec<CommonPrefix>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListingV2<'a> {
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
    contents: Vec<ListedObject<'a>>,
    common_prefixes: Vec<CommonPrefix>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListedObject<'a> {
    key: String,
    last_modified: String,
    #[serde(rename = "ETag")]
    etag: String,
    r#type: &'static str,
    size: u64,
    storage_class: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    restore_info: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<Owner<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CommonPrefix {
    prefix: String,
}

/// The parameters that all listings of objects have.
pub(super) struct Query<'a> {
    pub(super) prefix: &'a str,
    pub(super) delimiter: &'a str,
    pub(super) max_keys: usize,
    pub(super) encoding: Encoding,
}

impl<'a> Query<'a> {
    pub(super) fn of(context: &RequestContext<'a>) -> Result<Self, OssError> {
        Ok(Self {
            prefix: get(context, "prefix").unwrap_or_default(),
            delimiter: get(context, "delimiter").unwrap_or_default(),
            max_keys: match get(context, "max-keys") {
                None => DEFAULT_KEYS,
                Some(max) => max
                    .parse()
                    .ok()
                    .filter(|max| (1..=MAX_KEYS).contains(max))
                    .ok_or(errors::MAX_KEYS)?,
            },
            encoding: Encoding::of(context.query)?,
        })
    }

    /// Returns the page behind a name.
    pub(super) async fn page(
        &self,
        context: &RequestContext<'_>,
        after: &str,
    ) -> Result<Page<Arc<ObjectSummary>>, OssError> {
        let selection = Selection {
            prefix: self.prefix,
            delimiter: self.delimiter,
            after,
            limit: self.max_keys,
        };
        let page = context.shared.store.page(&context.bucket.name, selection);
        page.await.map_err(|error| {
            tracing::error!(%error, "failed to list the objects");
            errors::INTERNAL
        })
    }

    fn contents<'b>(
        &self,
        page: &Page<Arc<ObjectSummary>>,
        owner: Option<Owner<'b>>,
        now: SystemTime,
    ) -> Vec<ListedObject<'b>> {
        let objects = page.entries.iter().filter_map(|entry| match entry {
            Entry::Object(object) => Some(listed_object(object, self.encoding, owner, now)),
            Entry::Prefix(_) => None,
        });
        objects.collect()
    }

    pub(super) fn common_prefixes(&self, page: &Page<Arc<ObjectSummary>>) -> Vec<CommonPrefix> {
        let prefixes = page.entries.iter().filter_map(|entry| match entry {
            Entry::Prefix(prefix) => Some(CommonPrefix {
                prefix: self.encoding.text(prefix),
            }),
            Entry::Object(_) => None,
        });
        prefixes.collect()
    }
}

pub(super) fn get<'a>(context: &RequestContext<'a>, name: &str) -> Option<&'a str> {
    context.query.get(name).filter(|value| !value.is_empty())
}

/// Returns the name of the last entry of a page that others follow.
pub(super) fn last(page: &Page<Arc<ObjectSummary>>) -> Option<&str> {
    let last = page.entries.last().filter(|_| page.is_truncated)?;
    Some(match last {
        Entry::Object(object) => object.key(),
        Entry::Prefix(prefix) => prefix,
    })
}

/// `ListObjects`: returns one page of the objects of a bucket, ordered by name.
pub(super) async fn v1(context: &RequestContext<'_>) -> Result<Response<EmulatorBody>, OssError> {
    let query = Query::of(context)?;
    let marker = get(context, "marker").unwrap_or_default();
    let page = query.page(context, marker).await?;
    let encoding = query.encoding;
    let listing = ListingV1 {
        name: context.bucket.name.as_str(),
        prefix: encoding.text(query.prefix),
        marker: encoding.text(marker),
        max_keys: query.max_keys,
        delimiter: encoding.text(query.delimiter),
        encoding_type: encoding.name(),
        is_truncated: page.is_truncated,
        next_marker: last(&page).map(|last| encoding.text(last)),
        contents: query.contents(&page, Some(Owner::of(context)), context.now),
        common_prefixes: query.common_prefixes(&page),
    };
    xml::response("ListBucketResult", &listing)
}

/// `ListObjectsV2`: the same with a token in place of a name.
pub(super) async fn v2(context: &RequestContext<'_>) -> Result<Response<EmulatorBody>, OssError> {
    if context.query.get("list-type") != Some("2") {
        return Err(errors::LIST_TYPE);
    }
    let query = Query::of(context)?;
    let token = get(context, "continuation-token");
    let after = match token {
        Some(token) => read_token(token).ok_or(errors::CONTINUATION)?,
        None => get(context, "start-after").unwrap_or_default().to_owned(),
    };
    let page = query.page(context, &after).await?;
    let encoding = query.encoding;
    let owner = get(context, "fetch-owner") == Some("true");
    let listing = ListingV2 {
        name: context.bucket.name.as_str(),
        prefix: encoding.text(query.prefix),
        start_after: get(context, "start-after").map(|after| encoding.text(after)),
        max_keys: query.max_keys,
        delimiter: encoding.text(query.delimiter),
        encoding_type: encoding.name(),
        is_truncated: page.is_truncated,
        continuation_token: token,
        next_continuation_token: last(&page).map(|last| URL_SAFE.encode(last)),
        key_count: page.entries.len(),
        contents: query.contents(&page, owner.then(|| Owner::of(context)), context.now),
        common_prefixes: query.common_prefixes(&page),
    };
    xml::response("ListBucketResult", &listing)
}

/// Decodes a continuation token: the name of the last entry of the page before.
fn read_token(token: &str) -> Option<String> {
    String::from_utf8(URL_SAFE.decode(token).ok()?).ok()
}

pub(super) fn listed_object<'a>(
    object: &ObjectSummary,
    encoding: Encoding,
    owner: Option<Owner<'a>>,
    now: SystemTime,
) -> ListedObject<'a> {
    let restoration = object.restoration();
    ListedObject {
        key: encoding.text(object.key()),
        last_modified: iso8601(object.last_modified()),
        etag: format!("\"{}\"", object.etag()),
        r#type: object.object_type(),
        size: object.size(),
        storage_class: object.storage_class().to_owned(),
        restore_info: restoration.and_then(|known| restore_info(known, now)),
        owner,
    }
}
