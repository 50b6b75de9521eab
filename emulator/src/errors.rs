//! Error responses: [`OssError`] and the errors of OSS that the emulator returns.
//!
//! Messages are those of the reference. Where the reference documents an EC without a message, the
//! text here paraphrases the page about that EC. Sources: the [EC pages], and the pages about
//! [400], [403] and [203].
//!
//! [EC pages]: https://help.aliyun.com/en/oss/user-guide/0006-00000227
//! [400]: https://www.alibabacloud.com/help/doc-detail/185228.htm
//! [403]: https://www.alibabacloud.com/help/en/oss/support/http-403-status-code
//! [203]: https://www.alibabacloud.com/help/en/oss/support/http-status-code-203

use std::borrow::Cow;

use http::{Method, StatusCode};

/// An error response of OSS: status, `Code`, `Message` and EC.
///
/// OSS sends an EC with every error. `None` means that the reference does not document it.
#[derive(Clone, Debug)]
pub(crate) struct OssError {
    status: u16,
    code: &'static str,
    message: Cow<'static, str>,
    ec: Option<&'static str>,
    /// Additional XML elements, names and values.
    details: Vec<(&'static str, String)>,
    /// The response header `x-oss-next-append-position`.
    next_position: Option<u64>,
}

impl OssError {
    pub(crate) const fn new(
        status: u16,
        code: &'static str,
        message: &'static str,
        ec: &'static str,
    ) -> Self {
        Self {
            status,
            code,
            message: Cow::Borrowed(message),
            ec: if ec.is_empty() { None } else { Some(ec) },
            details: Vec::new(),
            next_position: None,
        }
    }

    /// Replaces the message, for errors whose text depends on the request.
    #[must_use]
    pub(crate) fn with_message(mut self, message: impl Into<Cow<'static, str>>) -> Self {
        self.message = message.into();
        self
    }

    /// Adds `ArgumentName` and `ArgumentValue`.
    #[must_use]
    pub(crate) fn argument(self, name: &'static str, value: impl Into<String>) -> Self {
        self.detail("ArgumentName", name)
            .detail("ArgumentValue", value)
    }

    /// Adds `ArgumentName` and `ArgumentValue` unless the error already has details.
    #[must_use]
    pub(crate) fn or_argument(self, name: &'static str, value: impl Into<String>) -> Self {
        if self.details.is_empty() {
            self.argument(name, value)
        } else {
            self
        }
    }

    /// Removes the additional elements, which quote what is wrong.
    #[must_use]
    pub(crate) fn without_details(mut self) -> Self {
        self.details.clear();
        self
    }

    /// Adds an element.
    #[must_use]
    pub(crate) fn detail(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.details.push((name, value.into()));
        self
    }

    /// Returns the value of `x-oss-next-append-position`, if the response has it.
    pub(crate) fn next_position(&self) -> Option<u64> {
        self.next_position
    }

    pub(crate) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    pub(crate) fn code(&self) -> &'static str {
        self.code
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn ec(&self) -> Option<&'static str> {
        self.ec
    }

    pub(crate) fn details(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.details.iter().map(|(name, value)| (*name, &**value))
    }
}

// One row per error: name, status, `Code`, `Message`, EC. An empty EC is not documented.
macro_rules! catalogue {
    ($($name:ident = $status:literal $code:literal $message:literal $ec:literal;)*) => {
        $(pub(crate) const $name: OssError = OssError::new($status, $code, $message, $ec);)*
    };
}

/// The response to a method that the bucket, or otherwise the object, does not have.
pub(crate) fn method_not_allowed(method: &Method, of_bucket: bool) -> OssError {
    let resource = if of_bucket { "Bucket" } else { "Object" };
    METHOD_NOT_ALLOWED
        .detail("Method", method.as_str())
        .detail("ResourceType", resource)
}

/// The response to an append at a position that is not the size of the object.
pub(crate) fn position(size: u64) -> OssError {
    OssError {
        next_position: Some(size),
        ..POSITION
    }
}

// Routing and storage.
catalogue! {
    INVALID_BUCKET_NAME = 400 "InvalidBucketName" "The specified bucket is not valid." "";
    NO_SUCH_BUCKET = 404 "NoSuchBucket" "The specified bucket does not exist." "0015-00000101";
    NO_SUCH_KEY = 404 "NoSuchKey" "The specified key does not exist." "0026-00000001";
    METHOD_NOT_ALLOWED = 405 "MethodNotAllowed" "The specified method is not allowed against this resource." "";
    NOT_IMPLEMENTED = 400 "NotImplemented" "A header you provided implies functionality that is not implemented." "";
    PROCESS = 400 "NotImplemented" "The emulator implements no x-oss-process other than image processing and trigger/callback." "";
    CALLBACK_V2 = 400 "NotImplemented" "The emulator does not implement callback signature version 2.0, which OSS offers by invitation and whose formula is not published." "";
    INVALID_RANGE = 416 "InvalidRange" "The requested range cannot be satisfied." "";
    INTERNAL = 500 "InternalError" "We encountered an internal error. Please try again." "";
    STORE_FULL = 500 "InternalError" "The memory store of the emulator is full." "";
}

// CORS.
catalogue! {
    CORS_DISABLED = 403 "AccessForbidden" "CORSResponse: CORS is not enabled for this bucket." "0003-00000601";
    CORS_REFUSED = 403 "AccessForbidden" "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, request method / Access-Control-Request-Method or Access-Control-Requet-Headers are not whitelisted by the resource's CORS spec." "0003-00000602";
    CORS_NO_ORIGIN = 400 "BadRequest" "Insufficient information. Origin request header needed." "0034-00000101";
    CORS_NO_METHOD = 400 "BadRequest" "Insufficient information. Request Access-Control-Request-Method header needed." "0034-00000102";
}

// The form.
catalogue! {
    MALFORMED_FORM = 400 "MalformedPOSTRequest" "The body of your POST request is not well-formed multipart/form-data." "0006-00000104";
    PART_HEAD = 400 "MalformedPOSTRequest" "The body of your POST request is not well-formed multipart/form-data." "0006-00000109";
    NO_KEY = 400 "InvalidArgument" "The bucket POST must contain the specified 'key'. If it is specified, please check the order of the fields" "";
    NO_FIELD_NAME = 400 "InvalidArgument" "The bucket POST must contain the specified field name." "";
    UNRECOGNIZED_HEADER = 400 "InvalidArgument" "The bucket POST contains unrecognized field name." "";
    NO_FILE = 400 "IncorrectNumberOfFilesInPOSTRequest" "POST requires exactly one file upload per request." "0006-00000107";
    SEVERAL_FILES = 400 "IncorrectNumberOfFilesInPOSTRequest" "POST requires exactly one file upload per request." "";
    FIELD_TOO_LONG = 400 "FieldItemTooLong" "Your name of form field is too long." "0006-00000110";
    VALUE_TOO_LONG = 400 "FieldItemTooLong" "Your name of form field is too long." "";
    FIELDS_TOO_LARGE = 400 "MaxPOSTPreDataLengthExceededError" "Your POST request fields preceding the upload file were too large." "0006-00000112";
    BODY_TOO_LARGE = 400 "InvalidArgument" "Post body size must be less than 5G." "";
    INCOMPLETE_BODY = 400 "IncompleteBody" "The request body ended before it was complete." "";
    IDLE = 400 "RequestTimeout" "Your socket connection to the server was not read from or written to within the timeout period." "";
    NO_LENGTH = 411 "MissingContentLength" "You must provide the Content-Length HTTP header." "";
    INVALID_DIGEST = 400 "InvalidDigest" "The Content-MD5 you specified was invalid." "";
}

// Signatures of forms, and access rights.
catalogue! {
    SIGNATURE_V1 = 403 "AccessDenied" "Signature version 1 is no longer supported. Use signature version 4." "0002-00000080";
    SIGNATURE_VERSION = 400 "InvalidArgument" "The signature version is invalid." "0002-00000701";
    NO_POLICY = 400 "InvalidArgument" "Post request policy is empty." "0002-00000702";
    NO_SIGNATURE = 400 "InvalidArgument" "Post request signature is empty." "0002-00000703";
    EMPTY_SIGNATURE = 400 "InvalidArgument" "Post request signature is empty." "0002-00000704";
    SIGNATURE_MISMATCH = 403 "SignatureDoesNotMatch" "The request signature we calculated does not match the signature you provided. Check your key and signing method." "0002-00000705";
    NO_ACCESS_KEY_ID = 400 "InvalidArgument" "Post request accessKeyId is empty." "0002-00000706";
    CREDENTIAL_ID = 400 "InvalidArgument" "The AccessKeyId of x-oss-credential is invalid." "0002-00000708";
    CREDENTIAL_DATE = 400 "InvalidArgument" "The SignDate of x-oss-credential is invalid." "0002-00000709";
    CREDENTIAL = 400 "InvalidArgument" "The x-oss-credential is invalid." "0002-00000710";
    SIGNATURE_DATE = 400 "InvalidArgument" "The x-oss-date is invalid." "";
    SIGNATURE_SKEWED = 403 "RequestTimeTooSkewed" "The difference between the request time and the current time is too large." "0002-00000504";
    SIGNATURE_EXPIRED = 403 "AccessDenied" "Request has expired." "";
    URL_EXPIRED = 403 "AccessDenied" "Request has expired." "0002-00000069";
    URL_V4_EXPIRED = 403 "AccessDenied" "Request has expired." "0002-00000236";
    URL_V4_EARLY = 403 "RequestTimeTooSkewed" "The difference between the request time and the current time is too large." "0002-00000235";
    URL_V4_LIFE = 400 "InvalidArgument" "The x-oss-expires must be between 1 and 604800 seconds." "0002-00000232";
    URL_V4_NO_LIFE = 400 "InvalidArgument" "The x-oss-expires is missing." "0002-00000215";
    URL_LIFE = 403 "AccessDenied" "The Expires parameter is invalid." "0002-00000070";
    UNKNOWN_ACCESS_KEY = 403 "InvalidAccessKeyId" "The OSS Access Key Id you provided does not exist in our records." "0002-00000902";
    TOKEN_EXPIRED = 403 "SecurityTokenExpired" "The security token you provided has expired." "0002-00000007";
    INVALID_TOKEN = 403 "InvalidSecurityToken" "The security token you provided is invalid." "0002-00000008";
    TOKEN_OF_ANOTHER = 403 "AccessKeyIdAndSecurityTokenNotMatch" "The access key id and the security token you provided do not match." "";
    TRAFFIC_LIMIT = 400 "InvalidArgument" "x-oss-traffic-limit is invalid, should be specified between 245760(30KB/s) and 838860800(100MB/s)." "";
    TRAFFIC_LIMIT_TWICE = 400 "InvalidArgument" "x-oss-traffic-limit should be specified either in query string or header, not both." "";
    PUBLIC_BUCKET_ACL = 403 "AccessDenied" "Put public bucket acl is not allowed" "";
    PUBLIC_OBJECT_ACL = 403 "AccessDenied" "Put public object acl is not allowed" "";
    NO_RIGHT = 403 "AccessDenied" "You have no right to access this object because of bucket acl." "0003-00000001";
}

// Signatures of all other requests.
catalogue! {
    AUTHORIZATION = 400 "InvalidArgument" "Authorization header is invalid." "";
    TWO_SIGNATURES = 400 "InvalidArgument" "Authorization header and signature in the query must not be used at once." "";
    QUERY_SIGNATURE = 403 "AccessDenied" "Query-string authentication requires the Signature, Expires and OSSAccessKeyId parameters" "";
    QUERY_SIGNATURE_V2 = 400 "InvalidArgument" "The signature parameters of version 2 in the query are incomplete or invalid." "";
    QUERY_SIGNATURE_V4 = 400 "InvalidArgument" "The signature parameters of version 4 in the query are incomplete or invalid." "";
    REGION = 400 "InvalidArgument" "Invalid signing region in Authorization header." "0002-00000226";
    PRODUCT = 400 "InvalidArgument" "Invalid signing product in Authorization header." "0002-00000227";
    NO_DATE = 403 "AccessDenied" "OSS authentication requires a valid Date." "";
    PAYLOAD_HASH = 400 "InvalidArgument" "Invalid x-oss-content-sha256." "";
    REQUEST_SIGNATURE_MISMATCH = 403 "SignatureDoesNotMatch" "The request signature we calculated does not match the signature you provided. Check your key and signing method." "0002-00000040";
    REQUEST_SIGNATURE_V4_MISMATCH = 403 "SignatureDoesNotMatch" "The request signature we calculated does not match the signature you provided. Check your key and signing method." "0002-00000201";
}

// Multipart uploads.
catalogue! {
    NO_SUCH_UPLOAD = 404 "NoSuchUpload" "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed." "";
    NO_SUCH_UPLOAD_FOR_PART = 404 "NoSuchUpload" "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed." "0042-00000104";
    NO_SUCH_UPLOAD_TO_END = 404 "NoSuchUpload" "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed." "0042-00000002";
    COMPLETE_ALL_WITH_BODY = 400 "InvalidArgument" "Should not speficy both complete all header and http body." "0042-00000216";
    PART_NUMBER = 400 "InvalidArgument" "Part number must be an integer between 1 and 10000, inclusive." "";
    INVALID_PART = 400 "InvalidPart" "One or more of the specified parts could not be found or the specified entity tag might not have matched the part's entity tag." "";
    ENCRYPTED_SIZE = 400 "InvalidArgument" "The total size of the parts is not that in x-oss-meta-client-side-encryption-data-size." "0005-00000420";
    PART_NOT_SEQUENTIAL = 400 "PartNotSequential" "For sequential multipart upload, you must upload or complete parts with sequential part number." "";
    PART_EXISTS = 409 "PartAlreadyExist" "For sequential multipart upload, you can't overwrite uploaded parts." "";
    PART_ORDER = 400 "InvalidPartOrder" "The list of parts was not in ascending order. Parts list must specified in order by part number." "";
    PART_TOO_SMALL = 400 "EntityTooSmall" "Your proposed upload smaller than the minimum allowed size." "";
    MALFORMED_XML = 400 "MalformedXML" "The XML you provided was not well-formed or did not validate against our published schema." "";
    TOO_MANY_UPLOADS = 500 "InternalError" "The emulator has too many multipart uploads in progress." "";
}

// Conditions, copies, appended objects and symbolic links. Codes and EC: the tests of the SDKs for
// Go (versions 1 and 2), Java and Python, and the EC pages.
catalogue! {
    PRECONDITION_FAILED = 412 "PreconditionFailed" "At least one of the pre-conditions you specified did not hold." "0017-00001001";
    ANONYMOUS_OVERRIDE = 400 "InvalidRequest" "Response headers can only be overridden by signed requests." "";
    COPY_SOURCE = 400 "InvalidArgument" "The x-oss-copy-source is invalid." "0016-00000304";
    COPY_SOURCE_VERSION = 400 "InvalidArgument" "The versionId of x-oss-copy-source is invalid." "0016-00000305";
    PART_COPY_SOURCE = 400 "InvalidArgument" "The x-oss-copy-source is invalid." "0042-00000301";
    PART_COPY_SOURCE_EMPTY = 400 "InvalidArgument" "The x-oss-copy-source is empty." "0042-00000302";
    NO_SUCH_UPLOAD_FOR_COPY = 404 "NoSuchUpload" "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed." "0042-00000311";
    VERSIONS = 400 "NotImplemented" "The emulator keeps no versions of objects." "";
    METADATA_DIRECTIVE = 400 "InvalidArgument" "The x-oss-metadata-directive must be COPY or REPLACE." "";
    TAGGING_DIRECTIVE = 400 "InvalidArgument" "The x-oss-tagging-directive must be Copy or Replace." "";
    NO_OBJECT_ACL = 400 "MissingArgument" "Missing Some Required Arguments." "";
    NO_POSITION = 400 "MissingArgument" "Missing Some Required Arguments." "0016-00000501";
    POSITION_ARGUMENT = 400 "InvalidArgument" "The position must be an integer that is not negative." "0016-00000502";
    POSITION = 409 "PositionNotEqualToLength" "Position is not equal to file length" "0026-00000016";
    SEALED = 409 "AppendSealedObjectNotAllowed" "The object is sealed and cannot be appended to." "";
    NOT_APPENDABLE = 409 "ObjectNotAppendable" "The object is not appendable" "0026-00000017";
    NO_SYMLINK_TARGET = 400 "MissingArgument" "Missing Some Required Arguments." "";
    SYMLINK_TARGET_MISSING = 404 "SymlinkTargetNotExist" "The symlink target object does not exist" "0026-00000012";
    SYMLINK_TARGET_TYPE = 400 "InvalidTargetType" "The symbolic's target file type is invalid" "0026-00000011";
    NOT_SYMLINK = 400 "NotSymlink" "The object is not a symbolic link." "0043-00000101";
}

#[cfg(not(feature = "image"))]
catalogue! {
    IMAGE_FEATURE = 400 "NotImplemented" "The emulator was built without its feature image, which image processing needs." "";
}

// Image processing. EC: the EC pages. The codes are those of the list of errors of image
// processing.
#[cfg(feature = "image")]
catalogue! {
    IMAGE = 400 "BadRequest" "The object is not an image that can be processed." "0040-00000005";
    IMAGE_SOURCE = 400 "ImageTooLarge" "The image is larger than 20 MB." "";
    IMAGE_PIXELS = 400 "ImageTooLarge" "The image has too many pixels." "0040-00000012";
    IMAGE_MEMORY = 400 "NotImplemented" "The emulator does not process images of more than 67,108,864 pixels." "";
    IMAGE_TARGET = 400 "ImageTooLarge" "The resized image is too large." "0040-00000007";
    IMAGE_ACTION = 400 "InvalidArgument" "The action of x-oss-process is invalid." "0040-00000213";
    IMAGE_ACTION_MISSING = 400 "NotImplemented" "Of image processing, the emulator implements resize, crop, rotate, quality, format and info." "";
    IMAGE_ANGLE = 400 "NotImplemented" "The emulator rotates images by 0, 90, 180, 270 or 360 degrees." "";
    IMAGE_ARGUMENT = 400 "InvalidArgument" "A parameter of x-oss-process is invalid." "";
    IMAGE_RESIZE = 400 "InvalidArgument" "A parameter of resize is invalid." "0040-00000321";
    IMAGE_CROP_WIDTH = 400 "InvalidArgument" "The parameter w of crop is invalid." "0040-00000225";
    IMAGE_CROP_HEIGHT = 400 "InvalidArgument" "The parameter h of crop is invalid." "0040-00000226";
    IMAGE_CROP_GRAVITY = 400 "InvalidArgument" "The parameter g of crop is invalid." "0040-00000209";
    IMAGE_CROP_OUTSIDE = 400 "BadRequest" "Advance cut's position is out of image." "";
    IMAGE_FORMAT = 400 "InvalidArgument" "The parameter of format is invalid." "0040-00000207";
    IMAGE_FORMAT_MISSING = 400 "NotImplemented" "The emulator writes images as JPEG, PNG, WebP and GIF." "";
}

// Bucket settings and listings.
catalogue! {
    NO_CORS = 404 "NoSuchCORSConfiguration" "The CORS Configuration does not exist." "";
    CORS_MAX_AGE = 400 "InvalidArgument" "MaxAgeSeconds must be an integer between 0 and 999999999." "";
    CORS_RULES = 400 "InvalidArgument" "The number of CORS rules should not exceed allowed limit of 10 rules." "";
    NO_RIGHT_SERVICE = 403 "AccessDenied" "Anonymous access is forbidden for this operation." "";
    BUCKET_ACL = 400 "InvalidArgument" "no such bucket access control exists" "";
    BUCKET_FOREIGN = 403 "AccessDenied" "The bucket you access does not belong to you." "";
    BUCKET_TAKEN = 409 "BucketAlreadyExists" "The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again." "0015-00000102";
    BUCKET_EXISTS = 409 "BucketAlreadyExists" "Cannot modify existing bucket's storage class." "";
    BUCKET_EXISTS_REDUNDANCY = 409 "BucketAlreadyExists" "Bucket already exists can't modify data redundancy type." "";
    BUCKET_LOCATION = 400 "InvalidLocationConstraint" "The specified location-constraint is not valid" "";
    BUCKET_REDUNDANCY = 400 "InvalidArgument" "The data redundancy type must be LRS or ZRS." "";
    BUCKET_OBJECTS = 409 "BucketNotEmpty" "The bucket has objects. Please delete them first." "0015-00000301";
    BUCKET_UPLOADS = 409 "BucketNotEmpty" "The bucket has Multipart Uploads. Please abort them first." "";
    TOO_MANY_BUCKETS = 400 "TooManyBuckets" "You have attempted to create more buckets than allowed." "";
    BUCKETS_FIXED = 400 "NotImplemented" "The emulator creates and deletes buckets only if its option create_buckets is set." "";
    NO_CONTENT_MD5 = 400 "MissingArgument" "Missing Some Required Arguments." "0016-00000606";
    NO_KEY_TO_DELETE = 400 "MalformedXML" "The XML you provided was not well-formed or did not validate against our published schema." "0016-00000613";
    TAG = 400 "InvalidTag" "The tag is not valid." "0010-00000219";
    TAGS_HEADER = 400 "InvalidTag" "The tags must have the form key or key=value." "0010-00000219";
    TAG_PREFIX = 400 "InvalidTag" "The prefix of the tag key is invalid." "0010-00000207";
    TAGS_DUPLICATE = 400 "InvalidTag" "The keys of the tags must be unique." "0010-00000210";
    TAGS_MANY = 400 "InvalidTag" "The number of tags exceeds the limit." "";
    MAX_KEYS = 400 "InvalidArgument" "Argument maxKeys must be an integer between 1 and 1000." "";
    MAX_UPLOADS = 400 "InvalidArgument" "Argument max-uploads must be an integer between 1 and 1000." "";
    ENCODING_TYPE = 400 "InvalidArgument" "Invalid Encoding Method specified in Request." "";
    LIST_TYPE = 400 "InvalidArgument" "The value of list-type must be 2." "";
    CONTINUATION = 400 "InvalidArgument" "The continuation token provided is incorrect." "";
}

// Policies, and the size of the file.
catalogue! {
    POLICY = 400 "InvalidPolicyDocument" "Invalid Policy." "0006-00000201";
    POLICY_MEMBER = 400 "InvalidPolicyDocument" "Invalid Policy: Unexpected member." "0006-00000206";
    POLICY_NO_CONDITIONS = 400 "InvalidPolicyDocument" "Invalid Policy: Policy missing conditions." "0006-00000207";
    POLICY_NO_EXPIRATION = 400 "InvalidPolicyDocument" "Invalid Policy: Policy missing expiration." "0006-00000208";
    POLICY_EMPTY = 400 "InvalidPolicyDocument" "Invalid Policy: Policy missing expiration and conditions." "0006-00000209";
    POLICY_EXPIRATION_TYPE = 400 "InvalidPolicyDocument" "Invalid Policy: expiration must be a string." "0006-00000210";
    POLICY_EXPIRATION_EMPTY = 400 "InvalidPolicyDocument" "Invalid Policy: expiration is empty." "0006-00000211";
    POLICY_EXPIRED = 403 "AccessDenied" "Invalid according to Policy: Policy expired." "0006-00000213";
    POLICY_CONDITIONS_EMPTY = 400 "InvalidPolicyDocument" "Invalid Policy: conditions is empty." "0006-00000215";
    POLICY_ARITY = 400 "InvalidPolicyDocument" "Invalid Policy: Invalid condition: wrong number of elements." "0006-00000218";
    POLICY_RANGE = 400 "InvalidPolicyDocument" "Invalid Policy: Invalid content-length-range: max is smaller than min." "0006-00000219";
    POLICY_RANGE_MIN = 400 "InvalidPolicyDocument" "Invalid Policy: Invalid content-length-range: min is not an integer." "0006-00000220";
    POLICY_RANGE_MAX = 400 "InvalidPolicyDocument" "Invalid Policy: Invalid content-length-range: max is not an integer." "0006-00000221";
    POLICY_ELEMENT = 400 "InvalidPolicyDocument" "Invalid Policy: Invalid condition: element of a wrong type." "0006-00000223";
    POLICY_LIST = 400 "InvalidPolicyDocument" "Invalid Policy: Invalid condition: the value must be a list." "0006-00000224";
    POLICY_FAILED = 403 "AccessDenied" "Invalid according to Policy: Policy Condition failed." "0006-00000227";
    TOO_LARGE = 400 "EntityTooLarge" "Your proposed upload exceeds the maximum allowed size." "0006-00000003";
    TOO_SMALL = 400 "EntityTooSmall" "Your proposed upload smaller than the minimum allowed size." "0006-00000004";
}

// Object name, ACL, headers and metadata.
catalogue! {
    OBJECT_NAME = 400 "InvalidObjectName" "The specified object is not valid." "";
    OBJECT_NAME_ENCODING = 400 "InvalidArgument" "The characters encoding must be utf-8." "";
    OBJECT_NAME_EMPTY = 400 "InvalidObjectName" "The Object name can not be empty." "";
    OBJECT_NAME_LENGTH = 400 "InvalidObjectName" "The Length of Object name must be less than 1024." "";
    FORBID_OVERWRITE = 400 "InvalidArgument" "The value of x-oss-forbid-overwrite must be true or false." "0006-00000117";
    OBJECT_ACL = 400 "InvalidArgument" "no such object access control exists" "";
    STORAGE_CLASS = 400 "InvalidArgument" "No such bucket storage class exists." "";
    ENCRYPTION = 400 "InvalidEncryptionAlgorithmError" "The Encryption request you specified is not valid. Supported value: AES256/SM4/KMS." "";
    ENCRYPTION_KEY = 400 "InvalidArgument" "KMSMasterKeyID is not applicable if user specifies an SSEAlgorithm other than KMS." "";
    NO_TRANSFER_ACCELERATION = 404 "NoSuchTransferAccelerationConfiguration" "The bucket has no transfer acceleration configuration." "";
    NO_ENCRYPTION_RULE = 404 "NoSuchServerSideEncryptionRule" "The server side encryption configuration was not found." "";
    ARGUMENT = 400 "InvalidArgument" "Invalid Argument. Parameter is invalid." "";
    REFERER_EMPTY = 403 "AccessDenied" "You are denied by bucket referer policy." "0003-00000501";
    REFERER_DENIED = 403 "AccessDenied" "You are denied by bucket referer policy." "0003-00000502";
    REFERER_NOT_ALLOWED = 403 "AccessDenied" "You are denied by bucket referer policy." "0003-00000503";
    REFERER_NO_EMPTY = 400 "MalformedXML" "The XML you provided has no AllowEmptyReferer." "0033-00000002";
    OBJECT_STATE = 403 "InvalidObjectState" "The operation is not valid for the object's state" "";
    RESTORING = 409 "RestoreAlreadyInProgress" "The restore operation is in progress." "0016-00000701";
    RESTORE_CLASS = 400 "OperationNotSupported" "The operation is not supported for this resource" "0016-00000702";
    RESTORE_TIER = 400 "InvalidArgument" "The tier of the restore request is invalid." "0016-00000703";
    RESTORE_DAYS_COLD = 400 "InvalidArgument" "The days of the restore request must be from 1 to 365." "0016-00000704";
    RESTORE_DAYS = 400 "InvalidArgument" "The days of the restore request must be from 1 to 7." "0016-00000708";
    RESTORE_PRIORITY = 409 "RestoreAlreadyInProgress" "The priority of a restore operation in progress can not be lowered." "0016-00000715";
    RESTORE_NOT_FINISHED = 409 "ArchiveRestoreNotFinished" "The archive file's restore is not finished." "0016-00000719";
    RESTORE_STALE = 409 "ArchiveRestoreFileStale" "The archive file or restore info stale" "";
    METADATA_TOO_LARGE = 400 "InvalidArgument" "Your metadata headers exceed the maximum allowed metadata size." "";
    ALREADY_EXISTS = 409 "FileAlreadyExists" "The object you specified already exists and can not be overwritten." "";
}

// Callback parameters.
catalogue! {
    CALLBACK_LENGTH = 400 "InvalidArgument" "The length of callback exceed max value." "0007-00000001";
    CALLBACK_BASE64 = 400 "InvalidArgument" "The callback configuration is not base64 encoded." "0007-00000002";
    CALLBACK_JSON = 400 "InvalidArgument" "The callback configuration is not json format." "0007-00000003";
    CALLBACK_URL = 400 "InvalidArgument" "The callback url configuration is invalid." "0007-00000004";
    CALLBACK_URLS = 400 "InvalidArgument" "The number of callback url exceed max value." "0007-00000005";
    CALLBACK_UNRESOLVED = 400 "InvalidArgument" "Can not get ip by this host." "0007-00000007";
    CALLBACK_PRIVATE = 400 "InvalidArgument" "Private address is forbidden to callback." "0007-00000008";
    CALLBACK_HOST = 400 "InvalidArgument" "The callback host configuration is invalid." "0007-00000009";
    CALLBACK_BODY = 400 "InvalidArgument" "The callback body is invalid." "0007-00000010";
    CALLBACK_BODY_EMPTY = 400 "InvalidArgument" "The callback body is empty." "0007-00000011";
    CALLBACK_BODY_TYPE = 400 "InvalidArgument" "The callback body type configuration is invalid." "0007-00000012";
    CALLBACK_BODY_TYPE_UNKNOWN = 400 "InvalidArgument" "The body type of callback is not supported." "0007-00000013";
    CALLBACK_SIGNATURE_VERSION = 400 "InvalidArgument" "The callback signature version is invalid." "";
    CALLBACK_SNI = 400 "InvalidArgument" "The callback sni configuration is invalid." "";
    CALLBACK_HEADERS = 400 "InvalidArgument" "The callback additional headers configuration is invalid." "0007-00000021";
    CALLBACK_HEADERS_MANY = 400 "InvalidArgument" "The number of callback additional headers exceed max value." "";
    CALLBACK_HEADER_EMPTY = 400 "InvalidArgument" "The key of callback additional headers is empty." "0007-00000023";
    CALLBACK_HEADER_KEY = 400 "InvalidArgument" "The key of callback additional headers contains invalid characters." "0007-00000024";
    CALLBACK_HEADER_VALUE = 400 "InvalidArgument" "The value of callback additional headers contains CR or LF." "0007-00000025";
    CALLBACK_HEADER_PREFIX = 400 "InvalidArgument" "The key of callback additional headers can not start with x-oss-." "0007-00000026";
    CALLBACK_HEADER_RESERVED = 400 "InvalidArgument" "The key of callback additional headers is reserved." "";
    CALLBACK_VAR_LENGTH = 400 "InvalidArgument" "The length of callback var exceed max value." "0007-00000101";
    CALLBACK_VAR = 400 "InvalidArgument" "The callback var is not expecten json." "";
    CALLBACK_TWICE = 400 "InvalidArgument" "Either the callback query string parameter or the x-oss-callback header should be specified, not both." "";
    CALLBACK_VAR_TWICE = 400 "InvalidArgument" "Either the callback-var query string parameter or the x-oss-callback-var header should be specified, not both." "";
    CALLBACK_TEMPLATE = 400 "InvalidArgument" "Left brace must be adjacent to dollar sign." "0007-00000105";
    CALLBACK_POLICY = 404 "BucketCallbackPolicyNotExist" "The bucket callback policy does not exist." "";
}

// Failed callbacks. The object is stored, so the status is 203.
catalogue! {
    CALLBACK_STATUS = 203 "CallbackFailed" "Error status : 502." "0007-00000203";
    CALLBACK_CONNECT = 203 "CallbackFailed" "Error status : -1.OSS can not connect to your callbackUrl, please check it." "0007-00000203";
    CALLBACK_TIMEOUT = 203 "CallbackFailed" "Cost too long time." "0007-00000202";
    CALLBACK_ANSWER = 203 "CallbackFailed" "Response body is not valid json format." "0007-00000205";
    CALLBACK_NO_LENGTH = 203 "CallbackFailed" "Error Status : 400.User server missing content-length." "";
    CALLBACK_BAD_LENGTH = 203 "CallbackFailed" "Error Status : 400.User server return invalid content-length value." "";
    CALLBACK_LONG = 203 "CallbackFailed" "Error Status : 400.User server return too long content-length value." "";
}
