//! Which operation a request asks for, and who may ask.

use http::Method;

use crate::{bucket::Acl, catalogue, error::OssError, query::Query};

/// An operation the emulator has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Operation {
    Preflight,
    PostObject,
    GetObject,
    PutObject,
    DeleteObject,
    InitiateMultipartUpload,
    UploadPart,
    ListParts,
    CompleteMultipartUpload,
    AbortMultipartUpload,
    ListObjects,
    PutBucketCors,
    GetBucketCors,
    DeleteBucketCors,
}

/// Parameters that ask for something the emulator does not have.
const NOT_THERE: [&str; 23] = [
    "acl",
    "append",
    "bucketInfo",
    "delete",
    "encryption",
    "lifecycle",
    "location",
    "logging",
    "policy",
    "position",
    "referer",
    "replication",
    "requestPayment",
    "restore",
    "stat",
    "symlink",
    "tagging",
    "versionId",
    "versioning",
    "versions",
    "website",
    "worm",
    "x-oss-process",
];

impl Operation {
    pub(crate) fn of(method: &Method, of_bucket: bool, query: &Query) -> Result<Self, OssError> {
        if *method == Method::OPTIONS {
            return Ok(Self::Preflight);
        }
        let overridden = |name: &str| name.starts_with("response-");
        let mut names = query.iter().map(|(name, _)| name);
        if names.any(|name| NOT_THERE.contains(&name) || overridden(name)) {
            return Err(catalogue::NOT_IMPLEMENTED);
        }
        if of_bucket {
            return Self::of_bucket(method, query);
        }
        let in_parts = query.has("uploadId");
        Ok(match *method {
            Method::GET if in_parts => Self::ListParts,
            // The headers of an object, all of them.
            Method::GET if query.has("objectMeta") => return Err(catalogue::NOT_IMPLEMENTED),
            Method::GET | Method::HEAD => Self::GetObject,
            Method::PUT if in_parts || query.has("partNumber") => Self::UploadPart,
            Method::PUT => Self::PutObject,
            Method::POST if query.has("uploads") => Self::InitiateMultipartUpload,
            Method::POST if in_parts => Self::CompleteMultipartUpload,
            Method::DELETE if in_parts => Self::AbortMultipartUpload,
            Method::DELETE => Self::DeleteObject,
            _ => return Err(catalogue::METHOD_NOT_ALLOWED),
        })
    }

    fn of_bucket(method: &Method, query: &Query) -> Result<Self, OssError> {
        let cors = query.has("cors");
        Ok(match *method {
            Method::GET if cors => Self::GetBucketCors,
            Method::PUT if cors => Self::PutBucketCors,
            Method::DELETE if cors => Self::DeleteBucketCors,
            Method::GET if query.get("list-type") == Some("2") => Self::ListObjects,
            Method::GET | Method::HEAD | Method::PUT | Method::DELETE => {
                return Err(catalogue::NOT_IMPLEMENTED);
            }
            // The name of the object is a field; a form is posted to the bucket.
            Method::POST => Self::PostObject,
            _ => return Err(catalogue::METHOD_NOT_ALLOWED),
        })
    }

    /// Whether a request without a signature may ask for it. A form and an object say so themselves.
    pub(crate) fn is_open(self, acl: Acl) -> bool {
        match self {
            Self::Preflight | Self::PostObject | Self::GetObject => true,
            Self::ListObjects => acl.lets_read(),
            Self::PutBucketCors | Self::GetBucketCors | Self::DeleteBucketCors => false,
            Self::PutObject
            | Self::DeleteObject
            | Self::InitiateMultipartUpload
            | Self::UploadPart
            | Self::ListParts
            | Self::CompleteMultipartUpload
            | Self::AbortMultipartUpload => acl == Acl::PublicReadWrite,
        }
    }
}
