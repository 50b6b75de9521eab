//! `UploadPartCopy`: an `UploadPart` whose content is an object, or a range of one.
//!
//! Source: the [reference] and the tests of the SDK of version 2 for Go.
//!
//! [reference]: https://www.alibabacloud.com/help/en/oss/developer-reference/uploadpartcopy

use http::{Response, StatusCode, header};
use serde::Serialize;

use super::{
    copy_source::CopySource,
    multipart::{add_part, part_number, session},
    range::Requested,
};
use crate::{
    body::EmulatorBody,
    context::{RequestContext, store_refusal},
    errors::{self, OssError},
    response::{self, iso8601},
    xml,
};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Copied {
    last_modified: String,
    #[serde(rename = "ETag")]
    etag: String,
}

/// Copies a part. The caller has checked the signature.
pub(super) async fn run(
    context: &RequestContext<'_>,
    signed: bool,
) -> Result<Response<EmulatorBody>, OssError> {
    let number = part_number(context)?;
    let (id, session) = session(context, errors::NO_SUCH_UPLOAD_FOR_COPY).await?;
    let from = match context.header(super::copy_source::HEADER) {
        Some("") => return Err(errors::PART_COPY_SOURCE_EMPTY),
        _ => CopySource::of(context, errors::PART_COPY_SOURCE)?,
    };
    let Some(source) = from.take_target(context, signed).await? else {
        return Ok(response::empty(StatusCode::NOT_MODIFIED));
    };
    let size = source.record.content.size;
    let range = context.headers().get("x-oss-copy-source-range");
    // As with `Range`, one that does not fit is ignored.
    let range = match range.map(|range| Requested::parse(range, size, false)) {
        None | Some(Requested::All) => None,
        Some(Requested::Range(range)) => Some(range),
        Some(Requested::Unsatisfiable) => return Err(errors::INVALID_RANGE),
    };
    let (begin, length) = match &range {
        Some(range) => (*range.start(), range.end() - range.start() + 1),
        None => (0, size),
    };
    let store = &context.shared.store;
    let bucket = &context.bucket.name;
    let part = store.copy_range(bucket, source, begin, length).await;
    let part = part.map_err(|error| store_refusal(&error.into()))?;
    let copied = Copied {
        last_modified: iso8601(context.now),
        etag: format!("\"{}\"", part.content().etag()),
    };
    let crc64 = part.content().crc64;
    let unknown = errors::NO_SUCH_UPLOAD_FOR_COPY;
    add_part(context, id, number, part, session.sequential, unknown).await?;
    let mut response = xml::response("CopyPartResult", &copied)?;
    let headers = response.headers_mut();
    response::insert(headers, header::ETAG, &copied.etag);
    let name = http::HeaderName::from_static("x-oss-hash-crc64ecma");
    response::insert(headers, name, &crc64.to_string());
    response::insert_encryption(headers, &session.description);
    if let Some(range) = range {
        let text = format!("bytes {}-{}/{size}", range.start(), range.end());
        response::insert(headers, header::CONTENT_RANGE, &text);
    }
    Ok(response)
}
