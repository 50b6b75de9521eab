//! The operations: who may run them, and where they are implemented. [`routes`] selects one.
//!
//! Each operation is one file with its own helpers. [`commit`] is what `PostObject`, `PutObject`
//! and `CompleteMultipartUpload` share: storing the object and calling back.

mod append_object;
mod bucket_acl;
mod bucket_callback_policy;
mod bucket_cors;
mod bucket_encryption;
mod bucket_info;
mod bucket_referer;
mod bucket_request_payment;
mod bucket_stat;
mod bucket_tagging;
mod bucket_transfer_acceleration;
mod bucket_versioning;
mod commit;
mod conditions;
mod copy_object;
mod copy_source;
mod create_bucket;
mod delete_bucket;
mod delete_object;
mod delete_objects;
mod find;
mod get_object;
mod list_buckets;
mod list_cname;
mod list_live_channels;
mod list_objects;
mod list_uploads;
mod list_versions;
mod multipart;
mod name;
mod object_acl;
mod object_tagging;
mod owner;
mod post_object;
mod process_image;
mod process_object;
pub(crate) mod public_access_block;
mod put_object;
mod range;
mod restore_object;
mod routes;
mod seal_append_object;
mod symlink;
mod upload_part_copy;

use http::Response;

use crate::{
    body::EmulatorBody,
    bucket::Acl,
    context::{RequestContext, ServiceContext},
    errors::{self, OssError},
};

/// The query parameter of image processing, and of `trigger/callback`.
const PROCESS: &str = "x-oss-process";

/// An operation of OSS that the emulator implements, in alphabetical order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Operation {
    AbortMultipartUpload,
    AppendObject,
    CleanRestoredObject,
    CompleteMultipartUpload,
    CreateBucket,
    DeleteBucket,
    DeleteBucketCallbackPolicy,
    DeleteBucketCors,
    DeleteBucketPublicAccessBlock,
    DeleteBucketEncryption,
    DeleteBucketTags,
    DeleteBucketTransferAcceleration,
    DeleteMultipleObjects,
    DeleteObject,
    DeleteObjectTagging,
    DeletePublicAccessBlock,
    GetBucketAcl,
    GetBucketCallbackPolicy,
    GetBucketCors,
    GetBucketEncryption,
    GetBucketInfo,
    GetBucketLocation,
    GetBucketPublicAccessBlock,
    GetBucketReferer,
    GetBucketRequestPayment,
    GetBucketStat,
    GetBucketTags,
    /// Of a bucket without versions.
    GetBucketVersioning,
    GetBucketTransferAcceleration,
    /// Also `HeadObject` and `GetObjectMeta`.
    GetObject,
    GetObjectAcl,
    GetObjectTagging,
    GetPublicAccessBlock,
    GetSymlink,
    /// What the SDKs for Java and PHP read from a bucket. It has no page in the reference.
    HeadBucket,
    InitiateMultipartUpload,
    ListBuckets,
    /// Always empty.
    ListCname,
    /// Always empty.
    ListLiveChannel,
    ListMultipartUploads,
    /// The only version of each object.
    ListObjectVersions,
    ListObjects,
    ListObjectsV2,
    ListParts,
    PostObject,
    Preflight,
    /// `trigger/callback`, and image processing whose result is stored.
    ProcessObject,
    PutBucketAcl,
    PutBucketCallbackPolicy,
    PutBucketCors,
    PutBucketPublicAccessBlock,
    PutBucketEncryption,
    PutBucketReferer,
    PutBucketRequestPayment,
    PutBucketTags,
    PutBucketTransferAcceleration,
    /// Also `CopyObject`.
    PutObject,
    PutObjectAcl,
    PutObjectTagging,
    PutPublicAccessBlock,
    PutSymlink,
    RestoreObject,
    SealAppendObject,
    /// Also `UploadPartCopy`.
    UploadPart,
}

/// What a request addresses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Resource {
    /// No bucket.
    Service,
    Bucket,
    Object,
}

impl Operation {
    /// Whether a request without a signature may run it in a bucket with this ACL.
    pub(crate) fn is_open(self, acl: Acl) -> bool {
        match self {
            // PostObject checks the signature in the form, the others the ACL of the object.
            Self::GetObject | Self::GetSymlink | Self::PostObject | Self::Preflight => true,
            Self::ListObjects | Self::ListObjectsV2 => acl.lets_read(),
            // As on OSS, only the owner configures a bucket, whatever its ACL.
            Self::CreateBucket
            | Self::DeleteBucket
            | Self::DeleteBucketCallbackPolicy
            | Self::DeleteBucketCors
            | Self::DeleteBucketPublicAccessBlock
            | Self::DeleteBucketEncryption
            | Self::DeleteBucketTags
            | Self::DeletePublicAccessBlock
            | Self::DeleteBucketTransferAcceleration
            | Self::GetBucketAcl
            | Self::GetBucketCallbackPolicy
            | Self::GetBucketCors
            | Self::GetBucketEncryption
            | Self::GetBucketInfo
            | Self::GetBucketLocation
            | Self::GetBucketPublicAccessBlock
            | Self::GetBucketReferer
            | Self::GetBucketRequestPayment
            | Self::GetBucketStat
            | Self::GetBucketTags
            | Self::GetBucketVersioning
            | Self::GetPublicAccessBlock
            | Self::GetBucketTransferAcceleration
            | Self::HeadBucket
            | Self::ListBuckets
            | Self::ListCname
            | Self::ListLiveChannel
            | Self::PutBucketAcl
            | Self::PutBucketCallbackPolicy
            | Self::PutBucketCors
            | Self::PutBucketPublicAccessBlock
            | Self::PutBucketEncryption
            | Self::PutBucketReferer
            | Self::PutBucketRequestPayment
            | Self::PutBucketTags
            | Self::PutPublicAccessBlock
            | Self::PutBucketTransferAcceleration => false,
            // As on OSS, only the owner sees and sets the ACL of an object.
            Self::GetObjectAcl | Self::PutObjectAcl => false,
            // Whether the ACL of a bucket covers tags, versions and restorations, and who may call
            // back for an existing object, is not documented: the stricter reading.
            Self::CleanRestoredObject
            | Self::DeleteObjectTagging
            | Self::GetObjectTagging
            | Self::ListObjectVersions
            | Self::ProcessObject
            | Self::PutObjectTagging
            | Self::RestoreObject => false,
            Self::AbortMultipartUpload
            | Self::AppendObject
            | Self::CompleteMultipartUpload
            | Self::DeleteMultipleObjects
            | Self::DeleteObject
            | Self::InitiateMultipartUpload
            | Self::ListMultipartUploads
            | Self::ListParts
            | Self::PutObject
            | Self::PutSymlink
            | Self::SealAppendObject
            | Self::UploadPart => acl == Acl::PublicReadWrite,
        }
    }

    /// Returns the name in upload reports, for operations that can be refused before they run.
    ///
    /// A form is never refused before `PostObject` runs, which reports it itself.
    pub(crate) fn upload_name(self) -> Option<&'static str> {
        match self {
            Self::PutObject => Some(put_object::OPERATION),
            Self::ProcessObject => Some(process_object::OPERATION),
            Self::CompleteMultipartUpload => Some(multipart::COMPLETE),
            _ => None,
        }
    }

    /// Runs the operation. `signed` is whether a known key has signed the request.
    pub(crate) async fn run(
        self,
        context: &RequestContext<'_>,
        signed: bool,
    ) -> Result<Response<EmulatorBody>, OssError> {
        let copies = copies(context);
        match self {
            Self::AbortMultipartUpload => multipart::abort(context).await,
            Self::AppendObject => append_object::run(context).await,
            Self::CleanRestoredObject => restore_object::clean(context).await,
            Self::CompleteMultipartUpload => multipart::complete(context).await,
            Self::CreateBucket => create_bucket::again(context).await,
            Self::DeleteBucket => delete_bucket::run(context).await,
            Self::DeleteBucketCallbackPolicy => bucket_callback_policy::delete(context).await,
            Self::DeleteBucketCors => bucket_cors::delete(context).await,
            Self::DeleteBucketPublicAccessBlock => public_access_block::delete(context).await,
            Self::DeleteBucketEncryption => bucket_encryption::delete(context).await,
            Self::DeleteBucketTags => bucket_tagging::delete(context).await,
            Self::DeleteBucketTransferAcceleration => {
                bucket_transfer_acceleration::delete(context).await
            }
            Self::DeleteMultipleObjects => delete_objects::run(context).await,
            Self::DeleteObject => delete_object::run(context).await,
            Self::DeleteObjectTagging => object_tagging::delete(context).await,
            Self::DeletePublicAccessBlock => public_access_block::delete_of_account(context),
            Self::GetBucketAcl => bucket_acl::get(context),
            Self::GetBucketCallbackPolicy => bucket_callback_policy::get(context),
            Self::GetBucketCors => bucket_cors::get(context),
            Self::GetBucketEncryption => bucket_encryption::get(context),
            Self::GetBucketInfo => bucket_info::info(context),
            Self::GetBucketLocation => bucket_info::location(context),
            Self::GetBucketPublicAccessBlock => public_access_block::get(context),
            Self::GetBucketReferer => bucket_referer::get(context),
            Self::GetBucketRequestPayment => bucket_request_payment::get(context),
            Self::GetBucketStat => bucket_stat::run(context).await,
            Self::GetBucketTags => bucket_tagging::get(context),
            Self::GetBucketVersioning => bucket_versioning::get(),
            Self::GetBucketTransferAcceleration => bucket_transfer_acceleration::get(context),
            Self::GetObject => get_object::run(context, signed).await,
            Self::GetObjectAcl => object_acl::get(context).await,
            Self::GetObjectTagging => object_tagging::get(context).await,
            Self::GetPublicAccessBlock => public_access_block::get_of_account(context),
            Self::GetSymlink => symlink::get(context, signed).await,
            Self::HeadBucket => Ok(bucket_info::head(context)),
            Self::InitiateMultipartUpload => multipart::initiate(context).await,
            Self::ListBuckets => list_buckets::run(context),
            Self::ListCname => list_cname::run(context),
            Self::ListLiveChannel => list_live_channels::run(context),
            Self::ListMultipartUploads => list_uploads::run(context).await,
            Self::ListObjectVersions => list_versions::run(context).await,
            Self::ListObjects => list_objects::v1(context).await,
            Self::ListObjectsV2 => list_objects::v2(context).await,
            Self::ListParts => multipart::list_parts(context).await,
            Self::PostObject => post_object::run(context).await,
            Self::Preflight => bucket_cors::preflight(context),
            Self::ProcessObject => process_object::run(context).await,
            Self::PutBucketAcl => bucket_acl::put(context).await,
            Self::PutBucketCallbackPolicy => bucket_callback_policy::put(context).await,
            Self::PutBucketCors => bucket_cors::put(context).await,
            Self::PutBucketPublicAccessBlock => public_access_block::put(context).await,
            Self::PutBucketEncryption => bucket_encryption::put(context).await,
            Self::PutBucketReferer => bucket_referer::put(context).await,
            Self::PutBucketRequestPayment => bucket_request_payment::put(context).await,
            Self::PutBucketTags => bucket_tagging::put(context).await,
            Self::PutBucketTransferAcceleration => bucket_transfer_acceleration::put(context).await,
            Self::PutObject if copies => copy_object::run(context, signed).await,
            Self::PutObject => put_object::run(context).await,
            Self::PutObjectAcl => object_acl::put(context).await,
            Self::PutObjectTagging => object_tagging::put(context).await,
            Self::PutPublicAccessBlock => public_access_block::put_of_account(context).await,
            Self::PutSymlink => symlink::put(context).await,
            Self::RestoreObject => restore_object::restore(context).await,
            Self::SealAppendObject => seal_append_object::run(context).await,
            Self::UploadPart if copies => upload_part_copy::run(context, signed).await,
            Self::UploadPart => multipart::upload_part(context).await,
        }
    }

    /// Whether the operation creates its bucket if that does not exist.
    ///
    /// `PutBucketAcl` does, as the tests of `ali-oss` show.
    pub(crate) fn creates_bucket(self) -> bool {
        matches!(self, Self::CreateBucket | Self::PutBucketAcl)
    }

    /// Runs the operation if the request names no bucket, or one that it creates.
    pub(crate) async fn run_without_bucket(
        self,
        context: &ServiceContext<'_>,
        signed: bool,
    ) -> Result<Response<EmulatorBody>, OssError> {
        match self {
            Self::ListBuckets
            | Self::CreateBucket
            | Self::DeletePublicAccessBlock
            | Self::GetPublicAccessBlock
            | Self::PutPublicAccessBlock
                if !signed =>
            {
                Err(errors::NO_RIGHT_SERVICE)
            }
            Self::ListBuckets => list_buckets::run(context),
            Self::DeletePublicAccessBlock => public_access_block::delete_of_account(context),
            Self::GetPublicAccessBlock => public_access_block::get_of_account(context),
            Self::PutPublicAccessBlock => public_access_block::put_of_account(context).await,
            Self::CreateBucket => create_bucket::run(context).await,
            Self::PutBucketAcl if signed && context.shared.create_buckets => {
                create_bucket::run(context).await
            }
            Self::PutBucketAcl => Err(context.no_such_bucket()),
            _ => Err(errors::NOT_IMPLEMENTED),
        }
    }
}

/// Whether the request copies: both operations of copies are other ones with this header.
fn copies(context: &ServiceContext<'_>) -> bool {
    context.headers().contains_key(copy_source::HEADER)
}
