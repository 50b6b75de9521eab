//! `CreateBucket`.
//!
//! Sources: [CreateBucket], and the tests of `oss2` and `ali-oss`: creating a bucket again
//! succeeds, and `PutBucketAcl` creates a bucket that does not exist.
//!
//! [CreateBucket]: https://www.alibabacloud.com/help/en/oss/developer-reference/putbucket

use http::Response;
use serde::Deserialize;

use super::bucket_acl;
use crate::{
    body::EmulatorBody,
    bucket::{Acl, HostedBucket},
    context::{RequestContext, ServiceContext, store_refusal},
    encryption::Encryption,
    errors::{self, OssError},
    form::Form,
    object::check_storage_class,
    store::BucketState,
    tags::{self, Tagged},
    xml,
};

/// The largest document, in bytes.
const MAX_DOCUMENT: usize = 64 * 1024;
/// How many buckets an account of OSS may have in a region.
const MAX_BUCKETS: usize = 100;

/// Headers of settings that the emulator does not have. Creating a bucket without the setting would
/// let the client believe that it has it.
const REFUSED: [&str; 2] = ["x-oss-hns-status", "x-oss-resource-group-id"];

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CreateBucketConfiguration {
    location_constraint: Option<String>,
    storage_class: Option<String>,
    data_redundancy_type: Option<String>,
}

/// Creates the bucket that the request names. `PutBucketAcl` does the same.
pub(super) async fn run(context: &ServiceContext<'_>) -> Result<Response<EmulatorBody>, OssError> {
    if !context.shared.create_buckets {
        return Err(errors::BUCKETS_FIXED);
    }
    let name = context.address.bucket()?;
    let acl = bucket_acl::requested(context)?;
    let encryption = Encryption::of_fields(&Form::of_headers(context.headers()))?;
    let configuration = read(context).await?;
    let buckets = context.shared.store.buckets();
    if buckets.all().len() >= MAX_BUCKETS {
        return Err(errors::TOO_MANY_BUCKETS);
    }
    let mut bucket = BucketState::hosted(HostedBucket::new(name.clone()), context.now);
    bucket.set_acl(acl.unwrap_or(Acl::Private));
    bucket.encryption = encryption;
    if let Some(class) = configuration.storage_class {
        bucket.storage_class = class;
    }
    if let Some(redundancy) = configuration.data_redundancy_type {
        bucket.redundancy = redundancy;
    }
    if let Some(tags) = context.header("x-oss-bucket-tagging") {
        bucket.tags = tags::of_header(tags, Tagged::Bucket)?;
    }
    // Of concurrent requests one creates it, and the others find it.
    let created = buckets.create(bucket).await;
    created.map_err(|error| store_refusal(&error.into()))?;
    Ok(bucket_acl::located(context))
}

/// Creates a bucket again: succeeds and sets the ACL and the encryption, if the request has them.
pub(super) async fn again(
    context: &RequestContext<'_>,
) -> Result<Response<EmulatorBody>, OssError> {
    let acl = bucket_acl::requested(context)?;
    let encryption = Encryption::of_fields(&Form::of_headers(context.headers()))?;
    let configuration = read(context).await?;
    let differs = |requested: Option<String>, current: &str| {
        requested.is_some_and(|requested| requested != current)
    };
    if differs(configuration.storage_class, &context.bucket.storage_class) {
        return Err(errors::BUCKET_EXISTS);
    }
    if differs(
        configuration.data_redundancy_type,
        &context.bucket.redundancy,
    ) {
        return Err(errors::BUCKET_EXISTS_REDUNDANCY);
    }
    if acl.is_some() || encryption.is_some() {
        context
            .change_bucket(move |bucket| {
                if let Some(acl) = acl {
                    bucket.set_acl(acl);
                }
                bucket.encryption = encryption.or_else(|| bucket.encryption.take());
            })
            .await?;
    }
    Ok(bucket_acl::located(context))
}

async fn read(context: &ServiceContext<'_>) -> Result<CreateBucketConfiguration, OssError> {
    if let Some(name) = REFUSED
        .into_iter()
        .find(|name| context.headers().contains_key(*name))
    {
        return Err(errors::NOT_IMPLEMENTED
            .with_message(format!("The emulator does not implement {name}.")));
    }
    let document = context
        .read_document(MAX_DOCUMENT, errors::MALFORMED_XML)
        .await?;
    if document.is_empty() {
        return Ok(CreateBucketConfiguration::default());
    }
    let configuration: CreateBucketConfiguration = xml::parse(&document)?;
    let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
    let configuration = CreateBucketConfiguration {
        location_constraint: filled(configuration.location_constraint),
        storage_class: filled(configuration.storage_class),
        data_redundancy_type: filled(configuration.data_redundancy_type),
    };
    if let Some(location) = &configuration.location_constraint
        && *location != format!("oss-{}", context.shared.region)
    {
        return Err(errors::BUCKET_LOCATION);
    }
    if let Some(class) = &configuration.storage_class {
        check_storage_class(class)?;
    }
    match configuration.data_redundancy_type.as_deref() {
        None | Some("LRS" | "ZRS") => Ok(configuration),
        Some(_) => Err(errors::BUCKET_REDUNDANCY),
    }
}
