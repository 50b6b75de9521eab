//! Requests that are not yet answered.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::StatusCode;

use crate::{
    context::{ClientAddress, ServiceContext, Shared},
    errors::OssError,
    ops::Operation,
    request_report::{Refusal, RequestReport},
};

/// A request that is not yet answered. The observer sees its report on drop, so also if the client
/// disconnects.
pub(crate) struct Pending(Option<Observed>);

struct Observed {
    shared: Arc<Shared>,
    started: Instant,
    report: RequestReport,
}

impl Pending {
    pub(crate) fn new(
        context: &ServiceContext<'_>,
        operation: impl FnOnce() -> Option<Operation>,
    ) -> Self {
        let (shared, parts, address) = (context.shared, context.parts, context.address);
        if shared.request_observer.is_none() {
            return Self(None);
        }
        let key = address.key.as_ref().ok().filter(|key| !key.is_empty());
        let client = parts.extensions.get::<ClientAddress>();
        Self(Some(Observed {
            shared: shared.clone(),
            started: Instant::now(),
            report: RequestReport {
                request_id: context.request_id.to_owned(),
                received: context.now,
                duration: Duration::ZERO,
                client: client.map(|client| client.0),
                method: parts.method.clone(),
                host: address.host.clone(),
                target: parts.uri.clone(),
                bucket: address.bucket().ok().map(ToString::to_string),
                key: key.cloned(),
                operation: operation().map(|operation| operation.name(context)),
                status: None,
                refusal: None,
            },
        }))
    }

    pub(crate) fn refused(&mut self, error: &OssError) {
        if let Some(observed) = &mut self.0 {
            observed.report.refusal = Some(Refusal::of(error));
        }
    }

    pub(crate) fn answered(mut self, status: StatusCode) {
        if let Some(observed) = &mut self.0 {
            observed.report.status = Some(status);
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let Some(mut observed) = self.0.take() else {
            return;
        };
        if let Some(observer) = &observed.shared.request_observer {
            observed.report.duration = observed.started.elapsed();
            observer(observed.report);
        }
    }
}
