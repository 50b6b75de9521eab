//! Which operation a request selects, by its method, its query, and what its path names.

use http::Method;

use super::{Operation, PROCESS, Resource, get_object, list_versions};
use crate::{
    auth::RESOURCE,
    errors::{self, OssError},
    query::Query,
};

/// How a request selects an operation.
struct Route {
    method: &'static str,
    operation: Operation,
    /// One of these parameters selects the operation. Without any, the method does.
    by: &'static [&'static str],
    /// Further sub-resources that the operation knows.
    with: &'static [&'static str],
}

const fn route(method: &'static str, by: &'static [&'static str], operation: Operation) -> Route {
    Route {
        method,
        operation,
        by,
        with: &[],
    }
}

/// An operation of a multipart upload.
///
/// The uploader of alibabacloud-oss-go-sdk-v2 repeats `sequential` in all of them.
const fn of_upload(
    method: &'static str,
    by: &'static [&'static str],
    operation: Operation,
) -> Route {
    Route {
        with: &["sequential"],
        ..route(method, by, operation)
    }
}

/// Operations without a bucket.
static OF_SERVICE: &[Route] = &[
    route(
        "DELETE",
        &[PUBLIC_ACCESS_BLOCK],
        Operation::DeletePublicAccessBlock,
    ),
    route(
        "GET",
        &[PUBLIC_ACCESS_BLOCK],
        Operation::GetPublicAccessBlock,
    ),
    Route {
        with: &["tagging"],
        ..route("GET", &[], Operation::ListBuckets)
    },
    route(
        "PUT",
        &[PUBLIC_ACCESS_BLOCK],
        Operation::PutPublicAccessBlock,
    ),
];

/// Operations of a bucket. The first route that matches applies.
static OF_BUCKET: &[Route] = &[
    Route {
        with: &["policy"],
        ..route("DELETE", &["comp"], Operation::DeleteBucketCallbackPolicy)
    },
    route("DELETE", &["cors"], Operation::DeleteBucketCors),
    route(
        "DELETE",
        &[PUBLIC_ACCESS_BLOCK],
        Operation::DeleteBucketPublicAccessBlock,
    ),
    route("DELETE", &["encryption"], Operation::DeleteBucketEncryption),
    route("DELETE", &["tagging"], Operation::DeleteBucketTags),
    route(
        "DELETE",
        &["transferAcceleration"],
        Operation::DeleteBucketTransferAcceleration,
    ),
    route("DELETE", &[], Operation::DeleteBucket),
    route("GET", &["acl"], Operation::GetBucketAcl),
    Route {
        with: &["policy"],
        ..route("GET", &["comp"], Operation::GetBucketCallbackPolicy)
    },
    route("GET", &["bucketInfo"], Operation::GetBucketInfo),
    route("GET", &["cname"], Operation::ListCname),
    route("GET", &["cors"], Operation::GetBucketCors),
    route("GET", &["encryption"], Operation::GetBucketEncryption),
    route("GET", &["live"], Operation::ListLiveChannel),
    route("GET", &["location"], Operation::GetBucketLocation),
    route("GET", &["referer"], Operation::GetBucketReferer),
    route(
        "GET",
        &[PUBLIC_ACCESS_BLOCK],
        Operation::GetBucketPublicAccessBlock,
    ),
    route(
        "GET",
        &["requestPayment"],
        Operation::GetBucketRequestPayment,
    ),
    route("GET", &["stat"], Operation::GetBucketStat),
    route("GET", &["tagging"], Operation::GetBucketTags),
    route(
        "GET",
        &["transferAcceleration"],
        Operation::GetBucketTransferAcceleration,
    ),
    route("GET", &["uploads"], Operation::ListMultipartUploads),
    route("GET", &["versioning"], Operation::GetBucketVersioning),
    route("GET", &["versions"], Operation::ListObjectVersions),
    route("GET", &["list-type"], Operation::ListObjectsV2),
    route("GET", &[], Operation::ListObjects),
    route("HEAD", &[], Operation::HeadBucket),
    route("POST", &["delete"], Operation::DeleteMultipleObjects),
    // A form goes to the bucket and names the object in a field.
    route("POST", &[], Operation::PostObject),
    route("PUT", &["acl"], Operation::PutBucketAcl),
    Route {
        with: &["policy"],
        ..route("PUT", &["comp"], Operation::PutBucketCallbackPolicy)
    },
    route("PUT", &["cors"], Operation::PutBucketCors),
    route(
        "PUT",
        &[PUBLIC_ACCESS_BLOCK],
        Operation::PutBucketPublicAccessBlock,
    ),
    route("PUT", &["encryption"], Operation::PutBucketEncryption),
    route("PUT", &["referer"], Operation::PutBucketReferer),
    route(
        "PUT",
        &["requestPayment"],
        Operation::PutBucketRequestPayment,
    ),
    route("PUT", &["tagging"], Operation::PutBucketTags),
    route(
        "PUT",
        &["transferAcceleration"],
        Operation::PutBucketTransferAcceleration,
    ),
    route("PUT", &[], Operation::CreateBucket),
];

/// Operations of an object. The first route that matches applies.
static OF_OBJECT: &[Route] = &[
    route("DELETE", &["tagging"], Operation::DeleteObjectTagging),
    of_upload("DELETE", &["uploadId"], Operation::AbortMultipartUpload),
    route("DELETE", &[], Operation::DeleteObject),
    route("GET", &["acl"], Operation::GetObjectAcl),
    route("GET", &["symlink"], Operation::GetSymlink),
    route("GET", &["tagging"], Operation::GetObjectTagging),
    route("GET", &["uploadId"], Operation::ListParts),
    Route {
        with: get_object::OVERRIDE_NAMES,
        ..route("GET", &[], Operation::GetObject)
    },
    Route {
        with: &["objectMeta"],
        ..route("HEAD", &[], Operation::GetObject)
    },
    Route {
        with: &["position"],
        ..route("POST", &["append"], Operation::AppendObject)
    },
    route("POST", &[PROCESS], Operation::ProcessObject),
    route("POST", &["restore"], Operation::RestoreObject),
    route(
        "POST",
        &["cleanRestoredObject"],
        Operation::CleanRestoredObject,
    ),
    Route {
        with: &["position"],
        ..route("POST", &["seal"], Operation::SealAppendObject)
    },
    of_upload("POST", &["uploads"], Operation::InitiateMultipartUpload),
    of_upload("POST", &["uploadId"], Operation::CompleteMultipartUpload),
    route("PUT", &["acl"], Operation::PutObjectAcl),
    route("PUT", &["symlink"], Operation::PutSymlink),
    route("PUT", &["tagging"], Operation::PutObjectTagging),
    of_upload("PUT", &["uploadId", "partNumber"], Operation::UploadPart),
    route("PUT", &[], Operation::PutObject),
];

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
const MAY_BE_EMPTY: [&str; 17] = [
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
    "max-uploads",
    "part-number-marker",
    "prefix",
    "start-after",
    "upload-id-marker",
    "version-id-marker",
];

/// Sub-resources of OSS that signatures of version 1 do not cover, from the SDKs of version 2.
const UNSIGNED: [&str; 9] = [
    "accessPointConfigForObjectProcess",
    "accessPointForObjectProcess",
    "accessPointPolicyForObjectProcess",
    "accessmonitor",
    "callbackPolicy",
    "queryVectors",
    "regions",
    "replicationRtc",
    "select",
];

const PUBLIC_ACCESS_BLOCK: &str = "publicAccessBlock";
impl Operation {
    /// Selects the operation by method, query, and what the path names.
    pub(crate) fn of(method: &Method, resource: Resource, query: &Query) -> Result<Self, OssError> {
        if *method == Method::OPTIONS {
            // A page that may not send a request learns so before it tries.
            return Ok(Self::Preflight);
        }
        let routes = match resource {
            Resource::Service => OF_SERVICE,
            Resource::Bucket => OF_BUCKET,
            Resource::Object => OF_OBJECT,
        };
        let selected = routes
            .iter()
            .find(|route| *method == *route.method && route.matches(query));
        // A parameter that is ignored would run another operation: `DELETE ?live` would delete the
        // object, and not the live channel.
        let reads_or_deletes = [Method::GET, Method::HEAD, Method::DELETE].contains(method);
        let is_only_version = |name: &str, value: &str| {
            resource == Resource::Object
                && reads_or_deletes
                && (name, value) == ("versionId", list_versions::NULL)
        };
        // Nothing but a response has these headers, so they select no operation.
        let is_override = |name: &str| get_object::OVERRIDE_NAMES.contains(&name);
        let known = |name: &str| {
            selected.is_some_and(|route| route.knows(name))
                || (*method != Method::GET && name != PROCESS && is_override(name))
        };
        // The body of a POST contains the process, unlike the query of a GET.
        if *method == Method::POST && query.get(PROCESS).is_some_and(|value| !value.is_empty()) {
            return Err(errors::NOT_IMPLEMENTED);
        }
        let mut names = query.iter();
        if let Some((name, _)) = names.find(|(name, value)| {
            is_sub_resource(name, value) && !known(name) && !is_only_version(name, value)
        }) {
            return Err(refuse_sub_resource(name));
        }
        match selected {
            Some(route) => Ok(route.operation),
            None if [Method::GET, Method::HEAD, Method::PUT, Method::DELETE].contains(method) => {
                Err(errors::NOT_IMPLEMENTED)
            }
            None => Err(errors::method_not_allowed(
                method,
                resource != Resource::Object,
            )),
        }
    }

    /// Whether the request is a form, which carries its signature in its fields.
    pub(crate) fn is_form(method: &Method, resource: Resource, query: &Query) -> bool {
        *method == Method::POST
            && resource == Resource::Bucket
            && !query
                .iter()
                .any(|(name, value)| is_sub_resource(name, value))
    }
}

impl Route {
    fn matches(&self, query: &Query) -> bool {
        self.by.is_empty() || self.by.iter().any(|name| query.has(name))
    }

    /// Whether the operation knows this sub-resource.
    fn knows(&self, name: &str) -> bool {
        self.by.contains(&name) || self.with.contains(&name)
    }
}

/// Whether a parameter selects an operation or a variant of one.
///
/// Besides the names that the SDKs sign, that is any name without a value.
fn is_sub_resource(name: &str, value: &str) -> bool {
    if ANYWHERE.contains(&name) {
        return false;
    }
    let is_known = known_sub_resource(name).is_some();
    let is_parameter = MAY_BE_EMPTY.contains(&name) || name.starts_with("x-oss-");
    is_known || name.starts_with("response-") || (value.is_empty() && !is_parameter)
}

/// Returns the name if it is one of a sub-resource of OSS.
fn known_sub_resource(name: &str) -> Option<&'static str> {
    let mut known = RESOURCE.iter().chain(&UNSIGNED);
    known.find(|known| **known == name).copied()
}

/// The error for a sub-resource that the selected operation does not know.
fn refuse_sub_resource(name: &str) -> OssError {
    match known_sub_resource(name) {
        Some(known) => errors::NOT_IMPLEMENTED.with_message(format!(
            "The emulator does not implement {known} with this method and resource."
        )),
        None => errors::NOT_IMPLEMENTED
            .with_message("The emulator knows no sub-resource of this name.")
            .argument("SubResource", name),
    }
}
