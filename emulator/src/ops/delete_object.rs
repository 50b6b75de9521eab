//! `DeleteObject`.

use http::{Response, StatusCode};

use crate::{
    body::EmulatorBody,
    context::RequestContext,
    errors::{self, OssError},
    response,
};

/// Removes an object. As on OSS, deleting one that does not exist succeeds.
pub(super) async fn run(context: &RequestContext<'_>) -> Result<Response<EmulatorBody>, OssError> {
    let key = context.address.key()?;
    let removed = context.shared.store.remove(&context.bucket.name, key).await;
    removed.map_err(|_| errors::INTERNAL)?;
    Ok(response::empty(StatusCode::NO_CONTENT))
}
