//! `PutBucketTags`, `GetBucketTags` and `DeleteBucketTags`.

use http::{Response, StatusCode};

use crate::{
    body::EmulatorBody,
    context::RequestContext,
    errors::{self, OssError},
    response,
    tags::{self, MAX_DOCUMENT, Tagged},
};

/// `PutBucketTags`: replaces all tags.
pub(super) async fn put(context: &RequestContext<'_>) -> Result<Response<EmulatorBody>, OssError> {
    let document = context
        .read_document(MAX_DOCUMENT, errors::MALFORMED_XML)
        .await?;
    let tags = tags::parse(&document, Tagged::Bucket)?;
    context
        .change_bucket(move |bucket| bucket.tags = tags)
        .await?;
    Ok(response::empty(StatusCode::OK))
}

/// `GetBucketTags`: returns the tags, which may be none.
pub(super) fn get(context: &RequestContext<'_>) -> Result<Response<EmulatorBody>, OssError> {
    tags::response(&context.bucket.tags)
}

/// `DeleteBucketTags`: removes the tags that `tagging` names, separated by commas, or all.
pub(super) async fn delete(
    context: &RequestContext<'_>,
) -> Result<Response<EmulatorBody>, OssError> {
    let names = context.query.get("tagging").unwrap_or_default();
    let names: Vec<_> = names
        .split(',')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    context
        .change_bucket(move |bucket| {
            let is_named = |name: &String| names.is_empty() || names.contains(name);
            bucket.tags.retain(|tag| !is_named(&tag.key));
        })
        .await?;
    Ok(response::empty(StatusCode::NO_CONTENT))
}
