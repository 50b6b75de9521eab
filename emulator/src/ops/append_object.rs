//! `AppendObject`: adds the body to the end of an object, which it creates at position 0.
//!
//! Sources: the [reference], and the tests of the SDKs for Go, Java and Python. They also show that
//! a later append sets the ACL, and neither metadata nor tags.
//!
//! [reference]: https://www.alibabacloud.com/help/en/oss/developer-reference/appendobject

use http::{HeaderName, Response, StatusCode};

use crate::{
    body::{EmulatorBody, MAX_BODY},
    context::{RequestContext, store_refusal},
    errors::{self, OssError},
    object::{ObjectAcl, ObjectKind, Record},
    response::{self, insert, insert_checksums, insert_encryption},
};

/// Appends the body. The caller has checked the signature.
pub(super) async fn run(context: &RequestContext<'_>) -> Result<Response<EmulatorBody>, OssError> {
    let key = context.address.key()?;
    let position = position(context)?;
    // What is certain to fail is refused before the body is read.
    let store = &context.shared.store;
    let found = store.get(&context.bucket.name, key).await;
    let found = found.map_err(|error| store_refusal(&error.into()))?;
    if found
        .as_ref()
        .is_some_and(|(record, _)| record.sealed().is_some())
    {
        return Err(errors::SEALED);
    }
    let (kind, size) = found.map_or((ObjectKind::Appendable, 0), |(record, _)| {
        (record.kind, record.content.size)
    });
    if kind != ObjectKind::Appendable {
        return Err(errors::NOT_APPENDABLE);
    }
    if size != position {
        return Err(errors::position(size));
    }
    let acl = context.header("x-oss-object-acl");
    let acl = acl.filter(|acl| !acl.is_empty()).map(ObjectAcl::parse);
    let acl = acl.transpose()?;
    // A later append ignores the headers that describe the object, also those that are invalid.
    let description = match position {
        0 => Some(context.new_object()?.description),
        _ => None,
    };

    let piece = context.read_object().await?;
    if piece.content().size > MAX_BODY - position.min(MAX_BODY) {
        return Err(errors::TOO_LARGE);
    }
    let now = context.now;
    let grow = move |old: Option<Record>| match (old, description) {
        (Some(mut record), _) => {
            if let Some(acl) = acl {
                record.description.set_acl(acl);
            }
            record.touch(now);
            record
        }
        (None, description) => {
            let content = crate::object::Content::empty();
            let mut record = Record::new(description.unwrap_or_default(), content, now);
            record.kind = ObjectKind::Appendable;
            record
        }
    };
    let record = piece.append(key, position, grow).await;
    let record = record.map_err(|error| store_refusal(&error))?;

    let mut response = response::empty(StatusCode::OK);
    let headers = response.headers_mut();
    insert_checksums(headers, &record);
    insert_encryption(headers, &record.description);
    let name = HeaderName::from_static("x-oss-next-append-position");
    insert(headers, name, &record.content.size.to_string());
    Ok(response)
}

pub(super) fn position(context: &RequestContext<'_>) -> Result<u64, OssError> {
    let position = context.query.get("position").unwrap_or_default();
    if position.is_empty() {
        return Err(errors::NO_POSITION.argument("position", ""));
    }
    let digits = position.bytes().all(|b| b.is_ascii_digit());
    let parsed = position.parse().ok().filter(|_| digits);
    parsed.ok_or_else(|| errors::POSITION_ARGUMENT.argument("position", position))
}
