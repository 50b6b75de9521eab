//! From content that is complete to the answer: store, then call back.

use std::{sync::Arc, time::SystemTime};

use http::Response;

use crate::{
    body::EmulatorBody,
    callback::{self, Directive},
    catalogue,
    error::OssError,
    object::{Description, Record},
    report::{UploadReport, UploadStep},
    shared::Shared,
    store::{Sealed, StoreError},
    success::Success,
};
use tower_aliyun_oss::protocol::Bucket;

/// An upload that is complete and may be stored.
pub(crate) struct Received {
    pub(crate) shared: Arc<Shared>,
    pub(crate) bucket: Bucket,
    pub(crate) operation: &'static str,
    pub(crate) description: Description,
    pub(crate) overwrite: bool,
    pub(crate) sealed: Sealed,
    pub(crate) directive: Option<Directive>,
    pub(crate) success: Success,
    pub(crate) request_id: String,
    pub(crate) client: String,
    pub(crate) now: SystemTime,
    /// What is to be put back when nothing is stored.
    pub(crate) undo: Option<Box<dyn FnOnce() + Send>>,
}

/// Ends an upload, whatever became of it, and tells the observer.
pub(crate) async fn finish(
    shared: &Shared,
    mut report: UploadReport,
    received: Result<Received, OssError>,
) -> Result<Response<EmulatorBody>, OssError> {
    match received {
        Err(error) => {
            report.refused(&error);
            shared.observe(report);
            Err(error)
        }
        // What is stored is told, even if the uploader does not wait for it.
        Ok(received) => tokio::spawn(received.finish(report))
            .await
            .unwrap_or(Err(catalogue::INTERNAL)),
    }
}

impl Received {
    async fn finish(self, mut report: UploadReport) -> Result<Response<EmulatorBody>, OssError> {
        let shared = self.shared.clone();
        let outcome = self.store_and_call(&mut report).await;
        match &outcome {
            Ok(response) => report.answered(response.status()),
            Err(error) => report.refused(error),
        }
        shared.observe(report);
        outcome
    }

    async fn store_and_call(
        self,
        report: &mut UploadReport,
    ) -> Result<Response<EmulatorBody>, OssError> {
        let shared = &self.shared;
        let content = self.sealed.content().clone();
        let record = Record::new(self.description, content, self.now);
        let stored = self.sealed.commit(record.clone(), self.overwrite).await;
        if let Err(error) = stored {
            if let Some(undo) = self.undo {
                undo();
            }
            return Err(refusal(&error));
        }
        report.steps.push(UploadStep::Stored);
        let Some(directive) = &self.directive else {
            return Ok(self.success.response(&self.bucket, &record));
        };
        let upload = callback::Upload {
            bucket: &self.bucket,
            record: &record,
            operation: self.operation,
            request_id: &self.request_id,
            client: &self.client,
            at: shared.now(),
        };
        let (answer, content_type) =
            callback::run(&shared.caller, directive, &upload, &mut report.exchanges).await?;
        report.steps.push(UploadStep::Callback);
        Ok(Success::relay(answer, content_type, &record))
    }
}

pub(crate) fn refusal(error: &StoreError) -> OssError {
    match error {
        StoreError::Exists => catalogue::ALREADY_EXISTS,
        StoreError::Full => catalogue::STORE_FULL,
        StoreError::Io(error) => {
            tracing::error!(%error, "the folder of the emulator cannot be used");
            catalogue::INTERNAL
        }
    }
}
