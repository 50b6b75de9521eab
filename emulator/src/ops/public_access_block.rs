//! Block Public Access, of a bucket and of the account.
//!
//! While one of both is on, requests without a signature may do nothing, whatever the ACL of the
//! bucket and of its objects, and no ACL can be made public. OSS turns it on for new buckets. Here
//! it is off, so that a test can create a public bucket.

use std::sync::atomic::Ordering;

use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};

use crate::{
    body::EmulatorBody,
    bucket::Acl,
    context::{RequestContext, ServiceContext},
    errors::{self, OssError},
    response, xml,
};

/// The headers that set the ACL of a bucket and of an object.
const BUCKET_ACL: &str = "x-oss-acl";
const OBJECT_ACL: &str = "x-oss-object-acl";
/// The largest document, in bytes.
const MAX_DOCUMENT: usize = 64 * 1024;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Requested {
    // `oss2` sends `True` and `False`.
    block_public_access: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PublicAccessBlockConfiguration {
    block_public_access: bool,
}

/// `PutBucketPublicAccessBlock`: turns it on or off.
pub(super) async fn put(context: &RequestContext<'_>) -> Result<Response<EmulatorBody>, OssError> {
    set(context, requested(context).await?).await?;
    Ok(response::empty(StatusCode::OK))
}

/// `GetBucketPublicAccessBlock`: returns whether it is on for this bucket, whatever the account
/// says.
pub(super) fn get(context: &RequestContext<'_>) -> Result<Response<EmulatorBody>, OssError> {
    let own = context.shared.store.buckets().get(&context.bucket.name);
    document(own.is_some_and(|bucket| bucket.blocks_public_access))
}

/// `DeleteBucketPublicAccessBlock`: turns it off.
pub(super) async fn delete(
    context: &RequestContext<'_>,
) -> Result<Response<EmulatorBody>, OssError> {
    set(context, false).await?;
    Ok(response::empty(StatusCode::NO_CONTENT))
}

/// `PutPublicAccessBlock`: turns it on or off for all buckets.
///
/// Unlike the setting of a bucket, a folder does not keep it across a restart.
pub(super) async fn put_of_account(
    context: &ServiceContext<'_>,
) -> Result<Response<EmulatorBody>, OssError> {
    set_of_account(context, requested(context).await?);
    Ok(response::empty(StatusCode::OK))
}

/// `GetPublicAccessBlock`: returns whether it is on for all buckets.
pub(super) fn get_of_account(
    context: &ServiceContext<'_>,
) -> Result<Response<EmulatorBody>, OssError> {
    document(context.shared.blocks_public_access.load(Ordering::Relaxed))
}

/// `DeletePublicAccessBlock`: turns it off, except for buckets that have it on.
pub(super) fn delete_of_account(
    context: &ServiceContext<'_>,
) -> Result<Response<EmulatorBody>, OssError> {
    set_of_account(context, false);
    Ok(response::empty(StatusCode::NO_CONTENT))
}

fn set_of_account(context: &ServiceContext<'_>, blocks: bool) {
    let setting = &context.shared.blocks_public_access;
    setting.store(blocks, Ordering::Relaxed);
}

async fn requested(context: &ServiceContext<'_>) -> Result<bool, OssError> {
    let document = context
        .read_document(MAX_DOCUMENT, errors::MALFORMED_XML)
        .await?;
    let requested: Requested = xml::parse(&document)?;
    let requested = requested.block_public_access.to_ascii_lowercase();
    requested.parse().map_err(|_| errors::MALFORMED_XML)
}

fn document(block_public_access: bool) -> Result<Response<EmulatorBody>, OssError> {
    let configuration = PublicAccessBlockConfiguration {
        block_public_access,
    };
    xml::response("PublicAccessBlockConfiguration", &configuration)
}

/// Refuses a request that would make a bucket or an object public although that is blocked.
pub(crate) fn check_headers(context: &RequestContext<'_>) -> Result<(), OssError> {
    check_bucket_acl(context, context.bucket.blocks_public_access)?;
    check_object_acl(context, context.header(OBJECT_ACL))
}

/// The same for a bucket that the request creates.
pub(crate) fn check_new_bucket(context: &ServiceContext<'_>) -> Result<(), OssError> {
    let setting = &context.shared.blocks_public_access;
    check_bucket_acl(context, setting.load(Ordering::Relaxed))
}

fn check_bucket_acl(context: &ServiceContext<'_>, blocks: bool) -> Result<(), OssError> {
    match blocks && context.header(BUCKET_ACL).is_some_and(is_public) {
        true => Err(errors::PUBLIC_BUCKET_ACL),
        false => Ok(()),
    }
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
