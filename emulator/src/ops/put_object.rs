//! `PutObject`: the body is the object.

use http::{Response, StatusCode};

use super::commit::{self, Commit, Success};
use crate::{
    body::EmulatorBody,
    context::RequestContext,
    errors::OssError,
    report::{UploadReport, UploadStep},
};

pub(super) const OPERATION: &str = "PutObject";

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
