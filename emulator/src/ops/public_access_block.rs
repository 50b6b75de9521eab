//! `PutBucketPublicAccessBlock`, `GetBucketPublicAccessBlock` and `DeleteBucketPublicAccessBlock`.
//!
//! While it is on, requests without a signature may do nothing, whatever the ACL of the bucket and
//! of its objects, and no ACL can be made public. OSS turns it on for new buckets. Here it is off,
//! so that a test can create a public bucket.

use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};

use crate::{
    body::EmulatorBody,
    bucket::Acl,
    context::RequestContext,
    errors::{self, OssError},
    response, xml,
};

/// The headers that set the ACL of a bucket and of an object.
const BUCKET_ACL: &str = "x-oss-acl";
const OBJECT_ACL: &str = "x-oss-object-acl";
/// The largest document, in bytes.
const MAX_DOCUMENT: usize = 64 * 1024;

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct PublicAccessBlockConfiguration {
    block_public_access: bool,
}

/// `PutBucketPublicAccessBlock`: turns it on or off.
pub(super) async fn put(context: &RequestContext<'_>) -> Result<Response<EmulatorBody>, OssError> {
    let document = context
        .read_document(MAX_DOCUMENT, errors::MALFORMED_XML)
        .await?;
    let configuration: PublicAccessBlockConfiguration = xml::parse(&document)?;
    set(context, configuration.block_public_access).await?;
    Ok(response::empty(StatusCode::OK))
}

/// `GetBucketPublicAccessBlock`: returns whether it is on.
pub(super) fn get(context: &RequestContext<'_>) -> Result<Response<EmulatorBody>, OssError> {
    let configuration = PublicAccessBlockConfiguration {
        block_public_access: context.bucket.blocks_public_access,
    };
    xml::response("PublicAccessBlockConfiguration", &configuration)
}

/// `DeleteBucketPublicAccessBlock`: turns it off.
pub(super) async fn delete(
    context: &RequestContext<'_>,
) -> Result<Response<EmulatorBody>, OssError> {
    set(context, false).await?;
    Ok(response::empty(StatusCode::NO_CONTENT))
}

/// Refuses a request that would make a bucket or an object public although that is blocked.
pub(crate) fn check_headers(context: &RequestContext<'_>) -> Result<(), OssError> {
    let names_public = |name| context.header(name).is_some_and(is_public);
    if !context.bucket.blocks_public_access {
        return Ok(());
    }
    if names_public(BUCKET_ACL) {
        return Err(errors::PUBLIC_BUCKET_ACL);
    }
    check_object_acl(context, context.header(OBJECT_ACL))
}

/// The same for the ACL of an object, which a form has in a field.
pub(super) fn check_object_acl(
    context: &RequestContext<'_>,
    acl: Option<&str>,
) -> Result<(), OssError> {
    match context.bucket.blocks_public_access && acl.is_some_and(is_public) {
        true => Err(errors::PUBLIC_OBJECT_ACL),
        false => Ok(()),
    }
}

fn is_public(acl: &str) -> bool {
    Acl::from_name(acl).is_some_and(Acl::lets_read)
}

async fn set(context: &RequestContext<'_>, blocks: bool) -> Result<(), OssError> {
    context
        .change_bucket(move |bucket| bucket.blocks_public_access = blocks)
        .await
}
