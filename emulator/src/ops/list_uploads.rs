//! `ListMultipartUploads`.
//!
//! Uploads are ordered by name and then by ID. `upload-id-marker` is ignored without `key-marker`,
//! as the tests of `ali-oss` show.

use http::Response;
use serde::Serialize;

use super::multipart::end_idle;
use crate::{
    body::EmulatorBody,
    context::RequestContext,
    encoding::Encoding,
    errors::{self, OssError},
    response::iso8601,
    store::UploadSummary,
    xml,
};

/// The largest page, and the default.
const MAX_UPLOADS: usize = 1000;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Listing<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding_type: Option<&'static str>,
    bucket: &'a str,
    key_marker: String,
    upload_id_marker: &'a str,
    // Of the last entry on every page, as the tests of the SDK for Python show. `oss2` requires
    // both.
    next_key_marker: String,
    next_upload_id_marker: String,
    delimiter: String,
    prefix: String,
    max_uploads: usize,
    is_truncated: bool,
    upload: Vec<ListedUpload>,
    common_prefixes: Vec<CommonPrefix>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListedUpload {
    key: String,
    upload_id: String,
    storage_class: String,
    initiated: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct CommonPrefix {
    prefix: String,
}

enum Entry {
    Upload(UploadSummary),
    Prefix(String),
}

/// Returns one page of the multipart uploads in progress.
pub(super) async fn run(context: &RequestContext<'_>) -> Result<Response<EmulatorBody>, OssError> {
    end_idle(context).await;
    let get = |name| context.query.get(name).unwrap_or_default();
    let encoding = Encoding::of(context.query)?;
    let (prefix, delimiter) = (get("prefix"), get("delimiter"));
    let (key_marker, id_marker) = (get("key-marker"), get("upload-id-marker"));
    let max_uploads = match get("max-uploads") {
        "" => MAX_UPLOADS,
        max => max
            .parse()
            .ok()
            .filter(|max| (1..=MAX_UPLOADS).contains(max))
            .ok_or(errors::MAX_UPLOADS)?,
    };
    let is_after = |upload: &UploadSummary| match (key_marker, id_marker) {
        ("", _) => true,
        (key, "") => *upload.key > *key,
        (key, id) => (&*upload.key, &*upload.id) > (key, id),
    };
    let uploads = context.shared.store.sessions();
    let uploads = uploads.of_bucket(&context.bucket.name).into_iter();
    let mut entries = Vec::new();
    for upload in uploads.filter(|upload| upload.key.starts_with(prefix) && is_after(upload)) {
        match group(&upload.key, prefix, delimiter) {
            None => entries.push(Entry::Upload(upload)),
            // The group of the marker was on the page before.
            Some(common) if common <= key_marker => {}
            Some(common) => {
                let repeats = matches!(entries.last(), Some(Entry::Prefix(last)) if last == common);
                if !repeats {
                    entries.push(Entry::Prefix(common.to_owned()));
                }
            }
        }
        if entries.len() > max_uploads {
            break;
        }
    }
    let is_truncated = entries.len() > max_uploads;
    entries.truncate(max_uploads);
    let (next_key, next_id) = match entries.last() {
        Some(Entry::Upload(upload)) => (&*upload.key, &*upload.id),
        Some(Entry::Prefix(common)) => (&**common, ""),
        None => ("", ""),
    };
    let mut listing = Listing {
        encoding_type: encoding.name(),
        bucket: context.bucket.name.as_str(),
        key_marker: encoding.text(key_marker),
        upload_id_marker: id_marker,
        next_key_marker: encoding.text(next_key),
        next_upload_id_marker: next_id.to_owned(),
        delimiter: encoding.text(delimiter),
        prefix: encoding.text(prefix),
        max_uploads,
        is_truncated,
        upload: Vec::new(),
        common_prefixes: Vec::new(),
    };
    for entry in entries {
        match entry {
            Entry::Upload(upload) => listing.upload.push(ListedUpload {
                key: encoding.text(&upload.key),
                upload_id: upload.id,
                storage_class: upload.storage_class,
                initiated: iso8601(upload.initiated),
            }),
            Entry::Prefix(common) => listing.common_prefixes.push(CommonPrefix {
                prefix: encoding.text(&common),
            }),
        }
    }
    xml::response("ListMultipartUploadsResult", &listing)
}

/// Returns the prefix that groups a name, if the listing has groups and the name is in one.
fn group<'a>(key: &'a str, prefix: &str, delimiter: &str) -> Option<&'a str> {
    if delimiter.is_empty() {
        return None;
    }
    let at = key.strip_prefix(prefix)?.find(delimiter)?;
    key.get(..prefix.len() + at + delimiter.len())
}
