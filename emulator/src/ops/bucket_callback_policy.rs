//! `PutBucketCallbackPolicy`, `GetBucketCallbackPolicy` and `DeleteBucketCallbackPolicy`: callback
//! parameters that requests use by their name, with `{"callbackPolicy":"NAME"}`.
//!
//! The reference does not contain them. The facts are those of the tests of `oss2` and of the SDK
//! for Java.

use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};

use crate::{
    body::EmulatorBody,
    callback::CallbackPolicy,
    context::RequestContext,
    errors::{self, OssError},
    response, xml,
};

/// The largest document, in bytes.
const MAX_DOCUMENT: usize = 1024 * 1024;

#[derive(Deserialize)]
struct Requested {
    #[serde(rename = "PolicyItem", default)]
    policies: Vec<CallbackPolicy>,
}

#[derive(Serialize)]
struct Listing<'a> {
    #[serde(rename = "PolicyItem")]
    policies: &'a [CallbackPolicy],
}

/// `PutBucketCallbackPolicy`: replaces all policies, perhaps by none.
pub(super) async fn put(context: &RequestContext<'_>) -> Result<Response<EmulatorBody>, OssError> {
    check(context)?;
    let document = context
        .read_document(MAX_DOCUMENT, errors::MALFORMED_XML)
        .await?;
    let requested: Requested = xml::parse(&document)?;
    set(context, requested.policies).await?;
    Ok(response::empty(StatusCode::OK))
}

/// `GetBucketCallbackPolicy`: returns all policies.
pub(super) fn get(context: &RequestContext<'_>) -> Result<Response<EmulatorBody>, OssError> {
    check(context)?;
    let policies = &*context.bucket.callback_policies;
    match policies {
        [] => Err(errors::CALLBACK_POLICY),
        policies => xml::response("BucketCallbackPolicy", &Listing { policies }),
    }
}

/// `DeleteBucketCallbackPolicy`: removes all policies.
pub(super) async fn delete(
    context: &RequestContext<'_>,
) -> Result<Response<EmulatorBody>, OssError> {
    check(context)?;
    set(context, Vec::new()).await?;
    Ok(response::empty(StatusCode::NO_CONTENT))
}

async fn set(context: &RequestContext<'_>, policies: Vec<CallbackPolicy>) -> Result<(), OssError> {
    context
        .change_bucket(move |bucket| bucket.callback_policies = policies)
        .await
}

/// Checks that the query is `policy&comp=callback`. Without `comp` it is about bucket policies,
/// which are not implemented.
fn check(context: &RequestContext<'_>) -> Result<(), OssError> {
    match context.query.get("comp") == Some("callback") && context.query.has("policy") {
        true => Ok(()),
        false => Err(errors::NOT_IMPLEMENTED
            .with_message("The emulator implements comp only with policy, as comp=callback.")),
    }
}
