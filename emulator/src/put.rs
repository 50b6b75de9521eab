//! `PutObject` and `DeleteObject`.

use http::{Response, StatusCode};

use crate::{
    body::EmulatorBody,
    call::Call,
    catalogue,
    error::OssError,
    object::Plan,
    report::{UploadReport, UploadStep},
    storing::{self, Received},
    success::Success,
};

pub(crate) const OPERATION: &str = "PutObject";

/// Stores the body as an object, whose signature has been checked.
pub(crate) async fn put(call: &Call<'_>) -> Result<Response<EmulatorBody>, OssError> {
    let mut report = UploadReport::new(OPERATION, call.request_id, &call.bucket.name);
    report.steps.push(UploadStep::Signature);
    let received = call.receive_object(&mut report).await;
    storing::finish(call.shared, report, received).await
}

/// Removes an object; one that is not there is no error.
pub(crate) async fn delete(call: &Call<'_>) -> Result<Response<EmulatorBody>, OssError> {
    let key = call.address.key()?;
    let removed = call.shared.store.remove(&call.bucket.name, key).await;
    removed.map_err(|_| catalogue::INTERNAL)?;
    Ok(no_content())
}

pub(crate) fn no_content() -> Response<EmulatorBody> {
    let mut response = Response::new(EmulatorBody::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

impl Call<'_> {
    async fn receive_object(&self, report: &mut UploadReport) -> Result<Received, OssError> {
        let headers = &self.parts.headers;
        if headers.contains_key("x-oss-copy-source") {
            return Err(catalogue::NOT_IMPLEMENTED);
        }
        let directive = self.callback(report).await?;
        let plan = Plan::of_request(self.address.key()?, headers)?;
        if plan.forbid_overwrite {
            self.must_be_new(&plan.description.key).await?;
        }
        let sealed = self.body().await?;
        report.steps.push(UploadStep::Size);
        Ok(Received {
            shared: self.shared.clone(),
            bucket: self.bucket.name.clone(),
            operation: OPERATION,
            description: plan.description,
            overwrite: !plan.forbid_overwrite,
            sealed,
            directive,
            success: Success::of_put(self.address),
            request_id: self.request_id.to_owned(),
            client: self.client(),
            now: self.now,
            undo: None,
        })
    }
}
