//! The names of the operations, for reports of requests.

use http::Method;

use super::{Operation, copies, multipart, post_object, process_object, put_object};
use crate::context::ServiceContext;

impl Operation {
    /// Returns the name that the reference of OSS gives the operation.
    pub(crate) fn name(self, context: &ServiceContext<'_>) -> &'static str {
        let copies = copies(context);
        match self {
            Self::AbortMultipartUpload => "AbortMultipartUpload",
            Self::AppendObject => "AppendObject",
            Self::CleanRestoredObject => "CleanRestoredObject",
            Self::CompleteMultipartUpload => multipart::COMPLETE,
            Self::CreateBucket => "CreateBucket",
            Self::DeleteBucket => "DeleteBucket",
            Self::DeleteBucketCors => "DeleteBucketCors",
            Self::DeleteBucketPublicAccessBlock => "DeleteBucketPublicAccessBlock",
            Self::DeleteBucketEncryption => "DeleteBucketEncryption",
            Self::DeleteBucketTags => "DeleteBucketTags",
            Self::DeleteMultipleObjects => "DeleteMultipleObjects",
            Self::DeleteObject => "DeleteObject",
            Self::DeleteObjectTagging => "DeleteObjectTagging",
            Self::DeletePublicAccessBlock => "DeletePublicAccessBlock",
            Self::GetBucketAcl => "GetBucketAcl",
            Self::GetBucketCors => "GetBucketCors",
            Self::GetBucketEncryption => "GetBucketEncryption",
            Self::GetBucketInfo => "GetBucketInfo",
            Self::GetBucketLocation => "GetBucketLocation",
            Self::GetBucketPublicAccessBlock => "GetBucketPublicAccessBlock",
            Self::GetBucketReferer => "GetBucketReferer",
            Self::GetBucketRequestPayment => "GetBucketRequestPayment",
            Self::GetBucketStat => "GetBucketStat",
            Self::GetBucketTags => "GetBucketTags",
            Self::GetBucketVersioning => "GetBucketVersioning",
            Self::GetObject if context.query.has("objectMeta") => "GetObjectMeta",
            Self::GetObject if context.parts.method == Method::HEAD => "HeadObject",
            Self::GetObject => "GetObject",
            Self::GetObjectAcl => "GetObjectACL",
            Self::GetObjectTagging => "GetObjectTagging",
            Self::GetPublicAccessBlock => "GetPublicAccessBlock",
            Self::GetSymlink => "GetSymlink",
            Self::HeadBucket => "HeadBucket",
            Self::InitiateMultipartUpload => "InitiateMultipartUpload",
            Self::ListBuckets => "ListBuckets",
            Self::ListCname => "ListCname",
            Self::ListLiveChannel => "ListLiveChannel",
            Self::ListMultipartUploads => "ListMultipartUploads",
            Self::ListObjectVersions => "ListObjectVersions",
            Self::ListObjects => "ListObjects",
            Self::ListObjectsV2 => "ListObjectsV2",
            Self::ListParts => "ListParts",
            Self::PostObject => post_object::OPERATION,
            Self::Preflight => "Options",
            Self::ProcessObject => process_object::OPERATION,
            Self::PutBucketAcl => "PutBucketAcl",
            Self::PutBucketCors => "PutBucketCors",
            Self::PutBucketPublicAccessBlock => "PutBucketPublicAccessBlock",
            Self::PutBucketEncryption => "PutBucketEncryption",
            Self::PutBucketReferer => "PutBucketReferer",
            Self::PutBucketRequestPayment => "PutBucketRequestPayment",
            Self::PutBucketTags => "PutBucketTags",
            Self::PutObject if copies => "CopyObject",
            Self::PutObject => put_object::OPERATION,
            Self::PutObjectAcl => "PutObjectACL",
            Self::PutObjectTagging => "PutObjectTagging",
            Self::PutPublicAccessBlock => "PutPublicAccessBlock",
            Self::PutSymlink => "PutSymlink",
            Self::RestoreObject => "RestoreObject",
            Self::SealAppendObject => "SealAppendObject",
            Self::UploadPart if copies => "UploadPartCopy",
            Self::UploadPart => "UploadPart",
        }
    }
}
