//! `ListBuckets`.
//!
//! Sources: [ListBuckets], and the tests of `oss2` and `ali-oss` for tags.
//!
//! [ListBuckets]: https://www.alibabacloud.com/help/en/oss/developer-reference/listbuckets

use std::sync::Arc;

use http::Response;
use serde::Serialize;

use super::{bucket_info::BucketSummary, owner::Owner};
use crate::{
    body::EmulatorBody,
    context::ServiceContext,
    errors::{self, OssError},
    store::BucketState,
    tags::{Tag, Tagging},
    xml,
};

/// Page size without `max-keys`.
const DEFAULT_KEYS: usize = 100;
const MAX_KEYS: usize = 1000;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Listing<'a> {
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    page: Option<PageElements<'a>>,
    owner: Owner<'a>,
    buckets: BucketsElement,
}

/// Elements that OSS sends only if not all buckets are returned.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PageElements<'a> {
    prefix: &'a str,
    marker: &'a str,
    max_keys: usize,
    is_truncated: bool,
    next_marker: String,
}

#[derive(Serialize)]
struct BucketsElement {
    #[serde(rename = "Bucket")]
    buckets: Vec<ListedBucket>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListedBucket {
    #[serde(flatten)]
    summary: BucketSummary,
    /// Only if the request has `tagging`: the tests of `ali-oss` read the tags then.
    #[serde(skip_serializing_if = "Option::is_none")]
    tagging: Option<Tagging>,
}

/// Returns one page of the buckets, ordered by name.
pub(super) fn run(context: &ServiceContext<'_>) -> Result<Response<EmulatorBody>, OssError> {
    if context.headers().contains_key("x-oss-resource-group-id") {
        return Err(errors::NOT_IMPLEMENTED
            .with_message("The emulator does not implement resource groups."));
    }
    let get = |name| context.query.get(name).filter(|value| !value.is_empty());
    let prefix = get("prefix").unwrap_or_default();
    // `TestIsBucketExist` of aliyun-oss-go-sdk: no name begins with it.
    if prefix.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(errors::ARGUMENT.argument("prefix", prefix));
    }
    let marker = get("marker").unwrap_or_default();
    let max_keys = match get("max-keys") {
        None => DEFAULT_KEYS,
        Some(max) => max
            .parse()
            .ok()
            .filter(|max| (1..=MAX_KEYS).contains(max))
            .ok_or(errors::MAX_KEYS)?,
    };
    let wanted = wanted_tags(context)?;
    let has = |bucket: &BucketState, (key, value): &(String, Option<String>)| {
        bucket
            .tags
            .iter()
            .any(|tag: &Tag| tag.key == *key && value.as_ref().is_none_or(|v| tag.value == *v))
    };
    let mut found: Vec<Arc<BucketState>> = context.shared.store.buckets().all();
    found.retain(|bucket| {
        let name = bucket.name.as_str();
        name.starts_with(prefix) && name > marker && wanted.iter().all(|tag| has(bucket, tag))
    });
    let is_truncated = found.len() > max_keys;
    found.truncate(max_keys);
    let page = found.last().filter(|_| is_truncated);
    let page = page.map(|last| PageElements {
        prefix,
        marker,
        max_keys,
        is_truncated,
        next_marker: last.name.to_string(),
    });
    let with_tags = context.query.has("tagging");
    let buckets = found.iter().map(|bucket| ListedBucket {
        summary: BucketSummary::of(bucket, context),
        tagging: with_tags.then(|| Tagging::of(&bucket.tags)),
    });
    let listing = Listing {
        page,
        owner: Owner::of(context),
        buckets: BucketsElement {
            buckets: buckets.collect(),
        },
    };
    xml::response("ListAllMyBucketsResult", &listing)
}

/// Returns the tags that the buckets must have: `tag-key` and `tag-value`, or `tagging` as in
/// `"a":"1","b":"2"`.
fn wanted_tags(context: &ServiceContext<'_>) -> Result<Vec<(String, Option<String>)>, OssError> {
    let mut wanted = Vec::new();
    if let Some(key) = context.query.get("tag-key").filter(|key| !key.is_empty()) {
        let value = context.query.get("tag-value");
        let value = value.filter(|value| !value.is_empty());
        wanted.push((key.to_owned(), value.map(str::to_owned)));
    }
    if let Some(tags) = context.query.get("tagging") {
        // A JSON object without its braces.
        let tags = format!("{{{tags}}}");
        let tags: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&tags).map_err(|_| errors::TAGS_HEADER)?;
        for (key, value) in tags {
            let value = value.as_str().ok_or(errors::TAGS_HEADER)?;
            wanted.push((key, Some(value.to_owned())));
        }
    }
    Ok(wanted)
}
