//! `GetBucketInfo` and `GetBucketLocation`, and `HEAD` of a bucket.

use http::{HeaderName, Response, StatusCode};
use serde::Serialize;

use super::{bucket_acl::AccessControlList, bucket_encryption::EncryptionElement, owner::Owner};
use crate::{
    body::EmulatorBody,
    context::{RequestContext, ServiceContext},
    errors::OssError,
    response::{self, iso8601},
    store::BucketState,
    xml,
};

/// The resource group of every bucket. On OSS, each account has a default one.
const RESOURCE_GROUP: &str = "rg-acfmxxxxxxxxxxx";

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct BucketInfo<'a> {
    bucket: BucketElement<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct BucketElement<'a> {
    access_monitor: &'static str,
    comment: &'static str,
    #[serde(flatten)]
    summary: BucketSummary,
    data_redundancy_type: &'a str,
    transfer_acceleration: &'static str,
    cross_region_replication: &'static str,
    block_public_access: bool,
    resource_group_id: &'static str,
    owner: Owner<'a>,
    access_control_list: AccessControlList,
    server_side_encryption_rule: EncryptionElement,
    bucket_policy: BucketPolicy,
}

/// What `GetBucketInfo` and `ListBuckets` show of a bucket.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct BucketSummary {
    creation_date: String,
    extranet_endpoint: String,
    intranet_endpoint: String,
    location: String,
    name: String,
    region: String,
    storage_class: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct BucketPolicy {
    log_bucket: &'static str,
    log_prefix: &'static str,
}

impl BucketSummary {
    pub(super) fn of(bucket: &BucketState, context: &ServiceContext<'_>) -> Self {
        let region = &context.shared.region;
        // The suite of `oss2` connects to it. On OSS it is the domain of the region, which it is
        // here as well if the client requested that.
        let endpoint = context.address.endpoint();
        let intranet = match endpoint.strip_suffix(".aliyuncs.com") {
            Some(region) => format!("{region}-internal.aliyuncs.com"),
            None => endpoint.to_owned(),
        };
        Self {
            creation_date: iso8601(bucket.created),
            extranet_endpoint: endpoint.to_owned(),
            intranet_endpoint: intranet,
            location: format!("oss-{region}"),
            name: bucket.name.to_string(),
            region: region.to_string(),
            storage_class: bucket.storage_class.clone(),
        }
    }
}

/// `GetBucketInfo`: returns the settings. Those that the emulator does not have are off.
pub(super) fn info(context: &RequestContext<'_>) -> Result<Response<EmulatorBody>, OssError> {
    let bucket = context.bucket;
    let info = BucketInfo {
        bucket: BucketElement {
            access_monitor: "Disabled",
            comment: "",
            summary: BucketSummary::of(bucket, context),
            data_redundancy_type: &bucket.redundancy,
            transfer_acceleration: match bucket.transfer_acceleration {
                Some(true) => "Enabled",
                _ => "Disabled",
            },
            cross_region_replication: "Disabled",
            block_public_access: bucket.blocks_public_access,
            resource_group_id: RESOURCE_GROUP,
            owner: Owner::of(context),
            access_control_list: AccessControlList::of(bucket.acl),
            server_side_encryption_rule: EncryptionElement::of(bucket.encryption.as_ref()),
            bucket_policy: BucketPolicy {
                log_bucket: "",
                log_prefix: "",
            },
        },
    };
    xml::response("BucketInfo", &info)
}

/// `GetBucketLocation`: returns the region.
pub(super) fn location(context: &RequestContext<'_>) -> Result<Response<EmulatorBody>, OssError> {
    let location = format!("oss-{}", context.shared.region);
    xml::response("LocationConstraint", &location)
}

/// `HEAD` of a bucket: returns the region in a header.
pub(super) fn head(context: &RequestContext<'_>) -> Response<EmulatorBody> {
    let mut response = response::empty(StatusCode::OK);
    let name = HeaderName::from_static("x-oss-bucket-region");
    let region = format!("oss-{}", context.shared.region);
    response::insert(response.headers_mut(), name, &region);
    response
}
