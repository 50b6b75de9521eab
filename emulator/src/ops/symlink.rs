//! `PutSymlink` and `GetSymlink`: an object that points to another one of its bucket.
//!
//! Sources: [PutSymlink], [GetSymlink], and the tests of the SDKs for Go, Java and Python, which show
//! that a link may point to nothing, and to itself.
//!
//! [PutSymlink]: https://www.alibabacloud.com/help/en/oss/developer-reference/putsymlink
//! [GetSymlink]: https://www.alibabacloud.com/help/en/oss/developer-reference/getsymlink

use bytes::Bytes;
use http::{HeaderName, Response, StatusCode, header};
use md5::{Digest as _, Md5};
use percent_encoding::{percent_decode_str, utf8_percent_encode};

use super::commit;
use crate::{
    body::EmulatorBody,
    context::{RequestContext, store_refusal},
    encoding::COMPONENT,
    errors::{self, OssError},
    object::{NewObject, ObjectKind, Record, check_name},
    response::{self, http_date, insert},
};

const TARGET: &str = "x-oss-symlink-target";

/// Creates a symbolic link. Its target need not exist.
pub(super) async fn put(context: &RequestContext<'_>) -> Result<Response<EmulatorBody>, OssError> {
    let key = context.address.key()?;
    let target = context.header(TARGET).unwrap_or_default();
    if target.is_empty() {
        return Err(errors::NO_SYMLINK_TARGET.argument(TARGET, ""));
    }
    // `url.QueryEscape` of Go writes a space as `+`.
    let target = target.replace('+', " ");
    let target = percent_decode_str(&target).decode_utf8();
    let target = target
        .map_err(|_| errors::OBJECT_NAME_ENCODING)?
        .into_owned();
    check_name(&target)?;
    let object = NewObject::of_request(key, context.headers())?;
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
    record.kind = ObjectKind::Symlink(target);
    let stored = sealed.commit(record.clone(), !object.forbid_overwrite);
    stored.await.map_err(|error| store_refusal(&error))?;
    let mut response = response::empty(StatusCode::OK);
    let etag = format!("\"{}\"", record.content.etag());
    insert(response.headers_mut(), header::ETAG, &etag);
    Ok(response)
}

/// Returns the target of a symbolic link, and the metadata of the link.
pub(super) async fn get(context: &RequestContext<'_>) -> Result<Response<EmulatorBody>, OssError> {
    let key = context.address.key()?;
    let found = context.shared.store.get(&context.bucket.name, key).await;
    let found = found.map_err(|error| store_refusal(&error.into()))?;
    let (record, _) = found.ok_or_else(|| errors::NO_SUCH_KEY.argument("Key", key))?;
    let ObjectKind::Symlink(target) = &record.kind else {
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
    let target = utf8_percent_encode(target, COMPONENT).to_string();
    insert(headers, HeaderName::from_static(TARGET), &target);
    Ok(response)
}
