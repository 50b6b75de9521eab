//! `PutObjectTagging`, `GetObjectTagging` and `DeleteObjectTagging`.
//!
//! Tags do not change `Last-Modified`.

use http::{Response, StatusCode};

use crate::{
    body::EmulatorBody,
    context::{RequestContext, store_refusal},
    errors::{self, OssError},
    response,
    tags::{self, MAX_DOCUMENT, Tag, Tagged},
};

/// `PutObjectTagging`: replaces all tags.
pub(super) async fn put(context: &RequestContext<'_>) -> Result<Response<EmulatorBody>, OssError> {
    let document = context
        .read_document(MAX_DOCUMENT, errors::MALFORMED_XML)
        .await?;
    set(context, tags::parse(&document, Tagged::Object)?).await?;
    Ok(response::empty(StatusCode::OK))
}

/// `GetObjectTagging`: returns the tags, which may be none.
pub(super) async fn get(context: &RequestContext<'_>) -> Result<Response<EmulatorBody>, OssError> {
    let key = context.address.key()?;
    let found = context.shared.store.get(&context.bucket.name, key).await;
    let found = found.map_err(|error| store_refusal(&error.into()))?;
    let (record, _) = found.ok_or_else(|| errors::NO_SUCH_KEY.argument("Key", key))?;
    tags::response(&record.description.tags)
}

/// `DeleteObjectTagging`: removes all tags.
pub(super) async fn delete(
    context: &RequestContext<'_>,
) -> Result<Response<EmulatorBody>, OssError> {
    set(context, Vec::new()).await?;
    Ok(response::empty(StatusCode::NO_CONTENT))
}

async fn set(context: &RequestContext<'_>, tags: Vec<Tag>) -> Result<(), OssError> {
    let (store, key) = (&context.shared.store, context.address.key()?);
    let updated = store
        .update(&context.bucket.name, key, move |record| {
            record.description.tags = tags;
        })
        .await;
    match updated {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err(errors::NO_SUCH_KEY.argument("Key", key)),
        Err(error) => Err(store_refusal(&error.into())),
    }
}
