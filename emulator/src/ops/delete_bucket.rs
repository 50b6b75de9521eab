//! `DeleteBucket`.

use http::{Response, StatusCode};

use crate::{
    body::EmulatorBody,
    context::{RequestContext, store_refusal},
    errors::{self, OssError},
    response,
    store::RemoveBucketError,
};

/// Removes a bucket without objects and without multipart uploads in progress.
pub(super) async fn run(context: &RequestContext<'_>) -> Result<Response<EmulatorBody>, OssError> {
    if !context.shared.create_buckets {
        return Err(errors::BUCKETS_FIXED);
    }
    let name = &context.bucket.name;
    let removed = context.shared.store.remove_bucket(name).await;
    removed.map_err(|error| match error {
        RemoveBucketError::NotFound => context.no_such_bucket(),
        RemoveBucketError::Objects => errors::BUCKET_OBJECTS.detail("BucketName", name.as_str()),
        RemoveBucketError::Uploads => errors::BUCKET_UPLOADS.detail("BucketName", name.as_str()),
        RemoveBucketError::Io(error) => store_refusal(&error.into()),
    })?;
    Ok(response::empty(StatusCode::NO_CONTENT))
}
