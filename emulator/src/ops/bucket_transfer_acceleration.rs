//! `PutBucketTransferAcceleration`, `GetBucketTransferAcceleration` and its removal.
//!
//! The emulator has one endpoint, so the setting is only shown. Sources: the [reference], and for
//! `DELETE`, which it does not contain, the suite for Java.
//!
//! [reference]: https://www.alibabacloud.com/help/en/oss/developer-reference/putbuckettransferacceleration

use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};

use crate::{
    body::EmulatorBody,
    context::RequestContext,
    errors::{self, OssError},
    response, xml,
};

/// The largest document, in bytes.
const MAX_DOCUMENT: usize = 64 * 1024;

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct TransferAccelerationConfiguration {
    enabled: bool,
}

/// `PutBucketTransferAcceleration`: sets whether the bucket is accelerated.
pub(super) async fn put(context: &RequestContext<'_>) -> Result<Response<EmulatorBody>, OssError> {
    let document = context
        .read_document(MAX_DOCUMENT, errors::MALFORMED_XML)
        .await?;
    let configuration: TransferAccelerationConfiguration = xml::parse(&document)?;
    context
        .change_bucket(move |bucket| bucket.transfer_acceleration = Some(configuration.enabled))
        .await?;
    Ok(response::empty(StatusCode::OK))
}

/// `GetBucketTransferAcceleration`: returns whether the bucket is accelerated, once it was set.
pub(super) fn get(context: &RequestContext<'_>) -> Result<Response<EmulatorBody>, OssError> {
    let enabled = context.bucket.transfer_acceleration;
    let enabled = enabled.ok_or_else(|| {
        errors::NO_TRANSFER_ACCELERATION.detail("BucketName", context.bucket.name.as_str())
    })?;
    let configuration = TransferAccelerationConfiguration { enabled };
    xml::response("TransferAccelerationConfiguration", &configuration)
}

/// Removes the setting. Also succeeds without one.
pub(super) async fn delete(
    context: &RequestContext<'_>,
) -> Result<Response<EmulatorBody>, OssError> {
    context
        .change_bucket(|bucket| bucket.transfer_acceleration = None)
        .await?;
    Ok(response::empty(StatusCode::NO_CONTENT))
}
