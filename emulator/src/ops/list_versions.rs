//! `ListObjectVersions`, for buckets without versions: each object has one version, `null`.
//!
//! The SDK for Python of version 2 lists the versions before it deletes a bucket.

use http::Response;
use serde::Serialize;

use super::{
    list_objects::{CommonPrefix, ListedObject, Query, get, last, listed_object},
    owner::Owner,
};
use crate::{
    body::EmulatorBody,
    context::RequestContext,
    errors::{self, OssError},
    store::{Entry, ObjectSummary},
    xml,
};

/// The version of an object in a bucket without versions.
pub(super) const NULL: &str = "null";

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Listing<'a> {
    name: &'a str,
    prefix: String,
    key_marker: String,
    version_id_marker: &'a str,
    max_keys: usize,
    delimiter: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding_type: Option<&'static str>,
    is_truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_key_marker: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_version_id_marker: Option<&'static str>,
    version: Vec<Version<'a>>,
    common_prefixes: Vec<CommonPrefix>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Version<'a> {
    version_id: &'static str,
    is_latest: bool,
    #[serde(flatten)]
    object: ListedObject<'a>,
}

/// Returns one page of the objects of a bucket, ordered by name.
pub(super) async fn run(context: &RequestContext<'_>) -> Result<Response<EmulatorBody>, OssError> {
    let query = Query::of(context)?;
    let encoding = query.encoding;
    let marker = get(context, "key-marker").unwrap_or_default();
    let version_marker = get(context, "version-id-marker").unwrap_or_default();
    if !matches!(version_marker, "" | NULL) {
        return Err(errors::VERSIONS);
    }
    let page = query.page(context, marker).await?;
    let listed = |object: &ObjectSummary| Version {
        version_id: NULL,
        is_latest: true,
        object: listed_object(object, encoding, Some(Owner::of(context)), context.now),
    };
    let versions = page.entries.iter().filter_map(|entry| match entry {
        Entry::Object(object) => Some(listed(object)),
        Entry::Prefix(_) => None,
    });
    let last_is_object = matches!(page.entries.last(), Some(Entry::Object(_)));
    let listing = Listing {
        name: context.bucket.name.as_str(),
        prefix: encoding.text(query.prefix),
        key_marker: encoding.text(marker),
        version_id_marker: version_marker,
        max_keys: query.max_keys,
        delimiter: encoding.text(query.delimiter),
        encoding_type: encoding.name(),
        is_truncated: page.is_truncated,
        next_key_marker: last(&page).map(|last| encoding.text(last)),
        next_version_id_marker: (page.is_truncated && last_is_object).then_some(NULL),
        version: versions.collect(),
        common_prefixes: query.common_prefixes(&page),
    };
    xml::response("ListVersionsResult", &listing)
}
