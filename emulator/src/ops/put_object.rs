//! `PutObject`: the body is the object.

use http::{Response, StatusCode};

use super::commit::{self, Commit, Success};
use crate::{
    body::EmulatorBody,
    context::RequestContext,
    errors::{self, OssError},
    report::{UploadReport, UploadStep},
};

pub(super) const OPERATION: &str = "PutObject";

/// The headers of conditions, which uploads do not have: `TestPutObjectNegative` of
/// aliyun-oss-go-sdk. An upload that ignored one could overwrite an object.
const CONDITIONS: [&str; 4] = [
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-unmodified-since",
];

/// Stores the body. The caller has checked the signature.
pub(super) async fn run(context: &RequestContext<'_>) -> Result<Response<EmulatorBody>, OssError> {
    let mut report = UploadReport::new(OPERATION, context.request_id, &context.bucket.name);
    report.steps.push(UploadStep::Signature);
    let checked = receive(context, &mut report).await;
    commit::finish(context.shared, report, checked).await
}

async fn receive(
    context: &RequestContext<'_>,
    report: &mut UploadReport,
) -> Result<Commit, OssError> {
    let has = |name: &&str| context.headers().contains_key(*name);
    if CONDITIONS.iter().any(has) {
        return Err(errors::NOT_IMPLEMENTED);
    }
    let directive = commit::callback_of_request(context, report).await?;
    let object = context.new_object()?;
    commit::check_overwrite(context, &object).await?;
    let sealed = context.read_object().await?;
    report.steps.push(UploadStep::Size);
    let success = Success::Status(StatusCode::OK);
    Ok(Commit::new(
        context, OPERATION, object, sealed, directive, success,
    ))
}
