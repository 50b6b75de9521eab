//! `GetBucketAcl` and `PutBucketAcl`.

use http::{Response, StatusCode, header};
use serde::Serialize;

use super::owner::Owner;
use crate::{
    body::EmulatorBody,
    bucket::Acl,
    context::{RequestContext, ServiceContext},
    errors::{self, OssError},
    response, xml,
};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AccessControlPolicy<'a> {
    owner: Owner<'a>,
    access_control_list: AccessControlList,
}

/// The ACL of a bucket, as several documents show it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct AccessControlList {
    grant: &'static str,
}

impl AccessControlList {
    pub(super) fn of(acl: Acl) -> Self {
        Self {
            grant: acl.as_str(),
        }
    }
}

/// `GetBucketAcl`: returns the owner and the ACL.
pub(super) fn get(context: &RequestContext<'_>) -> Result<Response<EmulatorBody>, OssError> {
    let policy = AccessControlPolicy {
        owner: Owner::of(context),
        access_control_list: AccessControlList::of(context.bucket.acl),
    };
    xml::response("AccessControlPolicy", &policy)
}

/// `PutBucketAcl`: sets the ACL that `x-oss-acl` names.
///
/// Without it, nothing changes: `BucketAclTest` of aliyun-oss-java-sdk.
pub(super) async fn put(context: &RequestContext<'_>) -> Result<Response<EmulatorBody>, OssError> {
    if let Some(acl) = requested(context)? {
        context
            .change_bucket(move |bucket| bucket.set_acl(acl))
            .await?;
    }
    Ok(located(context))
}

/// The response to a request that creates a bucket or sets its ACL. `ali-oss` reads the name of the
/// bucket from it.
pub(super) fn located(context: &ServiceContext<'_>) -> Response<EmulatorBody> {
    let mut response = response::empty(StatusCode::OK);
    if let Ok(name) = context.address.bucket() {
        let location = format!("/{name}");
        response::insert(response.headers_mut(), header::LOCATION, &location);
    }
    response
}

/// Returns the ACL that the header `x-oss-acl` requests.
pub(super) fn requested(context: &ServiceContext<'_>) -> Result<Option<Acl>, OssError> {
    let Some(name) = context.header("x-oss-acl").filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    match Acl::from_name(name) {
        Some(acl) => Ok(Some(acl)),
        None => Err(errors::BUCKET_ACL.argument("x-oss-acl", name)),
    }
}
