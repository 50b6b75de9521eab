//! `PutSymlink` and `GetSymlink`: an object that points to another one of its bucket.
//!
//! Sources: [PutSymlink], [GetSymlink], and the tests of the SDKs for Go, Java and Python, which
//! show that a link may point to nothing, and to itself.
//!
//! [PutSymlink]: https://www.alibabacloud.com/help/en/oss/developer-reference/putsymlink
//! [GetSymlink]: https://www.alibabacloud.com/help/en/oss/developer-reference/getsymlink

use bytes::Bytes;
use http::{HeaderName, Response, StatusCode, header};
use md5::{Digest as _, Md5};
use percent_encoding::percent_decode_str;

use super::{
    commit,
    find::{Found, find},
};
use crate::{
    body::EmulatorBody,
    context::{RequestContext, store_refusal},
    errors::{self, OssError},
    object::{NewObject, ObjectKind, Record, check_name},
    response::{self, http_date, insert},
};

const TARGET: &str = "x-oss-symlink-target";

/// Creates a symbolic link. Its target need not exist.
pub(super) async fn put(context: &RequestContext<'_>) -> Result<Response<EmulatorBody>, OssError> {
    let key = context.address.key()?;
    let encoded = context.header(TARGET).unwrap_or_default();
    if encoded.is_empty() {
        return Err(errors::NO_SYMLINK_TARGET.argument(TARGET, ""));
    }
    // `url.QueryEscape` of Go writes a space as `+`.
    let target = encoded.replace('+', " ");
    let target = percent_decode_str(&target).decode_utf8();
    let target = target
        .map_err(|_| errors::OBJECT_NAME_ENCODING)?
        .into_owned();
    check_name(&target)?;
    let object = NewObject::of_request(key, context.headers(), None)?;
    commit::check_overwrite(context, &object).await?;

    let store = &context.shared.store;
    let failed = |error: std::io::Error| store_refusal(&error.into());
    let mut upload = store.begin(&context.bucket.name).await.map_err(failed)?;
    upload
        .write(Bytes::new())
        .await
        .map_err(|error| store_refusal(&error))?;
    let sealed = upload.seal().await.map_err(|error| store_refusal(&error))?;
    let mut content = sealed.content().clone();
    // OSS does not document the ETag. It tells links to different targets apart.
    content.md5 = Md5::digest(&target).into();
    let mut record = Record::new(object.description, content, context.now);
    record.kind = ObjectKind::Symlink {
        target,
        encoded: encoded.to_owned(),
    };
    let stored = sealed.commit(record.clone(), !object.forbid_overwrite);
    stored.await.map_err(|error| store_refusal(&error))?;
    let mut response = response::empty(StatusCode::OK);
    let etag = format!("\"{}\"", record.content.etag());
    insert(response.headers_mut(), header::ETAG, &etag);
    Ok(response)
}

/// Returns the target of a symbolic link, and the metadata of the link.
pub(super) async fn get(
    context: &RequestContext<'_>,
    signed: bool,
) -> Result<Response<EmulatorBody>, OssError> {
    let Found { record, .. } = find(context, context.address.key()?, signed).await?;
    let ObjectKind::Symlink { encoded, .. } = &record.kind else {
        return Err(errors::NOT_SYMLINK);
    };
    let mut response = response::empty(StatusCode::OK);
    let headers = response.headers_mut();
    headers.extend(record.description.headers());
    let content_type = &record.description.content_type;
    insert(headers, header::CONTENT_TYPE, content_type);
    insert(headers, header::LAST_MODIFIED, &http_date(record.stored()));
    let etag = format!("\"{}\"", record.content.etag());
    insert(headers, header::ETAG, &etag);
    // As it was sent: some SDKs encode it and decode it again, and others do neither.
    insert(headers, HeaderName::from_static(TARGET), encoded);
    Ok(response)
}
