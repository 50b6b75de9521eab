//! `CopyObject`: a `PutObject` whose content is another object.
//!
//! Source: the [reference], and the tests of the SDKs for Go, Java, JavaScript and Python. What it
//! does not say: a copy keeps the ETag, and is `Multipart` if its source is; a copy of an
//! appendable object is `Normal`, except onto itself. If the metadata is replaced, a request
//! without `Content-Type` keeps the type, and the metadata of client-side encryption stays.
//!
//! [reference]: https://www.alibabacloud.com/help/en/oss/developer-reference/copyobject

use http::{Response, StatusCode, header};
use serde::Serialize;

use super::{commit, copy_source::CopySource};
use crate::{
    body::EmulatorBody,
    context::{RequestContext, store_refusal},
    errors::{self, OssError},
    object::{ObjectKind, Record},
    response::{self, insert_checksums, insert_encryption, iso8601},
    xml,
};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Copied {
    #[serde(rename = "ETag")]
    etag: String,
    last_modified: String,
}

/// Copies an object. The caller has checked the signature.
pub(super) async fn run(
    context: &RequestContext<'_>,
    signed: bool,
) -> Result<Response<EmulatorBody>, OssError> {
    let key = context.address.key()?;
    let from = CopySource::of(context, errors::COPY_SOURCE)?;
    let is_same = from.bucket == context.bucket.name && from.key == key;
    let keeps = |name: &str, invalid: OssError| match context.header(name) {
        None => Ok(true),
        Some(value) if value.eq_ignore_ascii_case("copy") => Ok(true),
        Some(value) if value.eq_ignore_ascii_case("replace") => Ok(false),
        Some(_) => Err(invalid),
    };
    let keeps_metadata = keeps("x-oss-metadata-directive", errors::METADATA_DIRECTIVE)?;
    let keeps_tags = keeps("x-oss-tagging-directive", errors::TAGGING_DIRECTIVE)?;
    let mut object = context.new_object()?;
    commit::check_overwrite(context, &object).await?;
    let Some(source) = from.take(context, signed).await? else {
        return Ok(response::empty(StatusCode::NOT_MODIFIED));
    };

    let (old, kind) = (&source.record.description, source.record.kind.clone());
    let appends_ended = source.record.sealed().filter(|_| is_same);
    // An object that is copied onto itself gets the metadata of the request in any case.
    if keeps_metadata && !is_same {
        object.description.take_metadata(old);
    } else {
        let has_type = context.headers().contains_key(header::CONTENT_TYPE);
        object.description.take_essentials(old, has_type);
    }
    if keeps_tags {
        object.description.take_tags(old);
    }
    let store = &context.shared.store;
    let sealed = store.copy(&context.bucket.name, source).await;
    let sealed = sealed.map_err(|error| store_refusal(&error.into()))?;
    let content = sealed.content().clone();
    let mut record = Record::new(object.description, content, context.now);
    record.kind = match kind {
        ObjectKind::Appendable if !is_same => ObjectKind::Plain,
        kind => kind,
    };
    if let Some(at) = appends_ended {
        record.seal(at);
    }
    let stored = sealed.commit(record.clone(), !object.forbid_overwrite);
    stored.await.map_err(|error| store_refusal(&error))?;

    let copied = Copied {
        etag: format!("\"{}\"", record.content.etag()),
        last_modified: iso8601(record.stored()),
    };
    let mut response = xml::response("CopyObjectResult", &copied)?;
    insert_checksums(response.headers_mut(), &record);
    insert_encryption(response.headers_mut(), &record.description);
    // It would be taken for that of the document.
    response.headers_mut().remove("content-md5");
    Ok(response)
}
