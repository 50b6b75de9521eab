//! The operations: which one a request selects, who may run it, and where it is implemented.
//!
//! Each operation is one file with its own helpers. [`commit`] is what `PostObject`, `PutObject`
//! and `CompleteMultipartUpload` share: storing the object and calling back.

mod bucket_cors;
mod commit;
mod delete_object;
mod get_object;
mod list_objects;
mod multipart;
mod post_object;
mod process_object;
mod put_object;

use http::{Method, Response};

use crate::{
    auth::RESOURCE,
    body::EmulatorBody,
    bucket::Acl,
    context::RequestContext,
    errors::{self, OssError},
    query::Query,
};

/// An operation of OSS that the emulator implements.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Operation {
    Preflight,
    PostObject,
    /// Also `HeadObject` and `GetObjectMeta`.
    GetObject,
    PutObject,
    DeleteObject,
    /// Only `trigger/callback`.
    ProcessObject,
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

/// Parameters that every operation accepts: they do not change what it does.
const ANYWHERE: [&str; 10] = [
    "callback",
    "callback-var",
    "continuation-token",
    "security-token",
    "x-oss-ac-forward-allow",
    "x-oss-ac-source-ip",
    "x-oss-ac-subnet-mask",
    "x-oss-ac-vpc-id",
    "x-oss-request-payer",
    "x-oss-traffic-limit",
];

/// Parameters that may be empty, although they are not sub-resources.
const MAY_BE_EMPTY: [&str; 14] = [
    "Expires",
    "OSSAccessKeyId",
    "Signature",
    "delimiter",
    "encoding-type",
    "fetch-owner",
    "key-marker",
    "list-type",
    "marker",
    "max-keys",
    "max-parts",
    "part-number-marker",
    "prefix",
    "start-after",
];

/// The query parameter of image processing, and of `trigger/callback`.
const PROCESS: &str = "x-oss-process";

impl Operation {
    /// Selects the operation by method, query, and whether the path names only a bucket.
    pub(crate) fn of(method: &Method, of_bucket: bool, query: &Query) -> Result<Self, OssError> {
        if *method == Method::OPTIONS {
            return Ok(Self::Preflight);
        }
        // The body of a POST contains the process, unlike the query of a GET.
        let is_process = *method == Method::POST && query.get(PROCESS) == Some("");
        let operation = Self::select(method, of_bucket, query, is_process);
        let takes = |name| operation.as_ref().is_ok_and(|known| known.takes(name));
        // A parameter that is ignored would run another operation: `DELETE ?live` would delete the
        // object, and not the live channel.
        let mut names = query.iter();
        if names.any(|(name, value)| is_sub_resource(name, value) && !takes(name)) {
            return Err(errors::NOT_IMPLEMENTED);
        }
        operation
    }

    fn select(
        method: &Method,
        of_bucket: bool,
        query: &Query,
        is_process: bool,
    ) -> Result<Self, OssError> {
        if of_bucket {
            return Self::of_bucket(method, query);
        }
        let in_parts = query.has("uploadId");
        Ok(match *method {
            Method::GET if in_parts => Self::ListParts,
            // The response is the headers without the content, which `HEAD` returns as well.
            Method::GET if query.has("objectMeta") => return Err(errors::NOT_IMPLEMENTED),
            Method::GET | Method::HEAD => Self::GetObject,
            Method::PUT if in_parts || query.has("partNumber") => Self::UploadPart,
            Method::PUT => Self::PutObject,
            Method::POST if is_process => Self::ProcessObject,
            Method::POST if query.has("uploads") => Self::InitiateMultipartUpload,
            Method::POST if in_parts => Self::CompleteMultipartUpload,
            Method::DELETE if in_parts => Self::AbortMultipartUpload,
            Method::DELETE => Self::DeleteObject,
            _ => return Err(errors::method_not_allowed(method, false)),
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
                return Err(errors::NOT_IMPLEMENTED);
            }
            // A form goes to the bucket and names the object in a field.
            Method::POST => Self::PostObject,
            _ => return Err(errors::method_not_allowed(method, true)),
        })
    }

    /// Whether the operation knows this sub-resource.
    fn takes(self, name: &str) -> bool {
        match self {
            // A page that may not send a request learns so before it tries.
            Self::Preflight => true,
            Self::PostObject | Self::PutObject | Self::DeleteObject | Self::ListObjects => false,
            Self::GetObject => name == "objectMeta",
            Self::ProcessObject => name == PROCESS,
            Self::InitiateMultipartUpload => name == "uploads",
            Self::UploadPart => matches!(name, "uploadId" | "partNumber"),
            Self::ListParts | Self::CompleteMultipartUpload | Self::AbortMultipartUpload => {
                name == "uploadId"
            }
            Self::PutBucketCors | Self::GetBucketCors | Self::DeleteBucketCors => name == "cors",
        }
    }

    /// Whether a request without a signature may run it in a bucket with this ACL.
    pub(crate) fn is_open(self, acl: Acl) -> bool {
        match self {
            // PostObject checks the signature in the form, GetObject the ACL of the object.
            Self::Preflight | Self::PostObject | Self::GetObject => true,
            Self::ListObjects => acl.lets_read(),
            // As on OSS, only the owner configures a bucket, whatever its ACL.
            Self::PutBucketCors | Self::GetBucketCors | Self::DeleteBucketCors => false,
            // Who may call back for an existing object is not documented: the stricter reading.
            Self::ProcessObject => false,
            Self::PutObject
            | Self::DeleteObject
            | Self::InitiateMultipartUpload
            | Self::UploadPart
            | Self::ListParts
            | Self::CompleteMultipartUpload
            | Self::AbortMultipartUpload => acl == Acl::PublicReadWrite,
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
        match self {
            Self::Preflight => bucket_cors::preflight(context),
            Self::PostObject => post_object::run(context).await,
            Self::GetObject => get_object::run(context, signed).await,
            Self::PutObject => put_object::run(context).await,
            Self::DeleteObject => delete_object::run(context).await,
            Self::ProcessObject => process_object::run(context).await,
            Self::InitiateMultipartUpload => multipart::initiate(context),
            Self::UploadPart => multipart::upload_part(context).await,
            Self::ListParts => multipart::list_parts(context),
            Self::CompleteMultipartUpload => multipart::complete(context).await,
            Self::AbortMultipartUpload => multipart::abort(context),
            Self::ListObjects => list_objects::run(context).await,
            Self::PutBucketCors => bucket_cors::put(context).await,
            Self::GetBucketCors => bucket_cors::get(context),
            Self::DeleteBucketCors => Ok(bucket_cors::delete(context)),
        }
    }
}

/// Whether a parameter selects an operation or a variant of one.
///
/// Besides the names that the SDKs sign, that is any name without a value.
fn is_sub_resource(name: &str, value: &str) -> bool {
    if ANYWHERE.contains(&name) {
        return false;
    }
    let is_known = RESOURCE.contains(&name);
    let is_parameter = MAY_BE_EMPTY.contains(&name) || name.starts_with("x-oss-");
    is_known || name.starts_with("response-") || (value.is_empty() && !is_parameter)
}
