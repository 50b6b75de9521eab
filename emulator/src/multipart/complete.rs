//! `CompleteMultipartUpload`.

use std::sync::Arc;

use http::Response;
use serde::Deserialize;

use super::{super::storing, MAX_PART};
use crate::{
    body::EmulatorBody,
    call::Call,
    catalogue,
    documents::{self, Encoding},
    error::OssError,
    report::{UploadReport, UploadStep},
    store::{Part, Session},
    storing::Received,
    success::Success,
};

pub(crate) const OPERATION: &str = "CompleteMultipartUpload";
/// Every part but the last has so many bytes at least.
const MIN_PART: u64 = 100 * 1024;
/// Ten thousand parts, each with its number and ETag, and some room.
const MAX_DOCUMENT: usize = 4 * 1024 * 1024;

#[derive(Deserialize)]
struct Listed {
    #[serde(rename = "Part", default)]
    parts: Vec<ListedPart>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListedPart {
    part_number: u16,
    #[serde(rename = "ETag")]
    etag: String,
}

/// Makes an object of the parts that the body lists, or of all with `x-oss-complete-all: yes`.
pub(crate) async fn complete(call: &Call<'_>) -> Result<Response<EmulatorBody>, OssError> {
    let mut report = UploadReport::new(OPERATION, call.request_id, &call.bucket.name);
    report.steps.push(UploadStep::Signature);
    let received = call.receive_parts(&mut report).await;
    storing::finish(call.shared, report, received).await
}

impl Call<'_> {
    async fn receive_parts(&self, report: &mut UploadReport) -> Result<Received, OssError> {
        let (id, session) = self.session()?;
        let encoding = Encoding::of(self.query)?;
        let directive = self.callback(report).await?;
        let headers = &self.parts.headers;
        let forbidden = match headers.get("x-oss-forbid-overwrite") {
            None => session.forbid_overwrite,
            Some(value) if value == "true" => true,
            Some(value) if value == "false" => false,
            Some(_) => return Err(catalogue::FORBID_OVERWRITE),
        };
        let document = self.document(MAX_DOCUMENT).await?;
        let all = headers.get("x-oss-complete-all");
        let parts = if all.is_some_and(|all| all == "yes") && document.is_empty() {
            session.parts.values().cloned().collect()
        } else {
            chosen(&session, &documents::parse(&document)?)?
        };
        check_sizes(&parts)?;
        let (bucket, key) = (&self.bucket.name, &*session.description.key);
        if forbidden {
            self.must_be_new(key).await?;
        }
        let sealed = self.shared.store.join(bucket, parts).await;
        let sealed = sealed.map_err(|error| storing::refusal(&error.into()))?;
        report.steps.push(UploadStep::Size);
        // Of two that complete the same upload, one does.
        let taken = self.shared.store.sessions().take(id, bucket, key);
        let taken = taken.ok_or(catalogue::NO_SUCH_UPLOAD)?;
        let (shared, id) = (self.shared.clone(), id.to_owned());
        Ok(Received {
            shared: self.shared.clone(),
            bucket: bucket.clone(),
            operation: OPERATION,
            description: session.description,
            overwrite: !forbidden,
            sealed,
            directive,
            success: Success::of_complete(self.address, encoding),
            request_id: self.request_id.to_owned(),
            client: self.client(),
            now: self.now,
            undo: Some(Box::new(move || {
                shared.store.sessions().put_back(&id, taken);
            })),
        })
    }
}

fn chosen(session: &Session, listed: &Listed) -> Result<Vec<Arc<Part>>, OssError> {
    let numbers = listed.parts.iter().map(|part| part.part_number);
    if !numbers.clone().all(|n| (1..=MAX_PART).contains(&n)) {
        return Err(catalogue::PART_NUMBER);
    }
    if !numbers.is_sorted_by(|a, b| a < b) {
        return Err(catalogue::PART_ORDER);
    }
    let found = listed.parts.iter().map(|listed| {
        let part = session.parts.get(&listed.part_number);
        // With quotes or without, in either case: SDKs differ.
        let etag = listed.etag.trim_matches('"');
        part.filter(|part| part.content.etag().eq_ignore_ascii_case(etag))
            .cloned()
            .ok_or_else(|| {
                catalogue::INVALID_PART.detail("PartNumber", listed.part_number.to_string())
            })
    });
    found.collect()
}

fn check_sizes(parts: &[Arc<Part>]) -> Result<(), OssError> {
    let Some((_, others)) = parts.split_last() else {
        return Err(catalogue::MALFORMED_XML);
    };
    match others.iter().find(|part| part.content.size < MIN_PART) {
        None => Ok(()),
        Some(part) => Err(catalogue::PART_TOO_SMALL
            .detail("ProposedSize", part.content.size.to_string())
            .detail("MinSizeAllowed", MIN_PART.to_string())),
    }
}
