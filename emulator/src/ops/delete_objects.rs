//! `DeleteMultipleObjects`.
//!
//! Sources: [DeleteMultipleObjects], and the pages about EC 0016-00000606 and 0016-00000613.
//!
//! [DeleteMultipleObjects]: https://www.alibabacloud.com/help/en/oss/developer-reference/deletemultipleobjects

use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};

use crate::{
    body::EmulatorBody,
    context::{RequestContext, store_refusal},
    encoding::Encoding,
    errors::{self, OssError},
    response, xml,
};

/// The largest document that OSS accepts, in bytes.
const MAX_DOCUMENT: usize = 2 * 1024 * 1024;
/// How many objects one request may delete.
const MAX_OBJECTS: usize = 1000;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Delete {
    #[serde(default)]
    quiet: bool,
    #[serde(rename = "Object", default)]
    objects: Vec<NamedObject>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NamedObject {
    #[serde(default)]
    key: String,
    #[serde(default)]
    version_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DeleteResult {
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding_type: Option<&'static str>,
    deleted: Vec<Deleted>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Deleted {
    key: String,
}

/// Removes the objects that the document lists. One that does not exist counts as removed.
pub(super) async fn run(context: &RequestContext<'_>) -> Result<Response<EmulatorBody>, OssError> {
    if !context.headers().contains_key("content-md5") {
        return Err(errors::NO_CONTENT_MD5.argument("Content-MD5", ""));
    }
    // The SDK for Java sends it as a header.
    let encoding = match context.header("encoding-type") {
        Some(name) => Encoding::named(name)?,
        None => Encoding::of(context.query)?,
    };
    let document = context
        .read_document(MAX_DOCUMENT, errors::MALFORMED_XML)
        .await?;
    let requested: Delete = xml::parse(&document)?;
    let objects = &requested.objects;
    if !(1..=MAX_OBJECTS).contains(&objects.len()) {
        return Err(errors::MALFORMED_XML);
    }
    if objects.iter().any(|object| object.key.is_empty()) {
        return Err(errors::NO_KEY_TO_DELETE);
    }
    // The version of an object that was stored without versioning is `null`.
    let is_version = |object: &NamedObject| !matches!(&*object.version_id, "" | "null");
    if objects.iter().any(is_version) {
        return Err(errors::NOT_IMPLEMENTED
            .with_message("The emulator does not implement versions of objects."));
    }
    let store = &context.shared.store;
    for object in objects {
        let removed = store.remove(&context.bucket.name, &object.key).await;
        removed.map_err(|error| store_refusal(&error.into()))?;
    }
    if requested.quiet {
        return Ok(response::empty(StatusCode::OK));
    }
    let deleted = objects.iter().map(|object| Deleted {
        key: encoding.text(&object.key),
    });
    let result = DeleteResult {
        encoding_type: encoding.name(),
        deleted: deleted.collect(),
    };
    xml::response("DeleteResult", &result)
}
