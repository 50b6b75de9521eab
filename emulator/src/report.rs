//! Reports of uploads, for [`EmulatorBuilder::observer`](super::EmulatorBuilder::observer).

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::{errors::OssError, form::Form};
use tower_aliyun_oss::protocol::Bucket;

/// How much of the fields of a form a report keeps, in bytes. Observers keep reports, and a form
/// may have 8 MiB of fields before anything about it is verified.
const MAX_FIELDS: usize = 64 * 1024;

/// One upload, from the request to the response.
///
/// `Debug` shows neither fields nor bodies, because they contain signatures and tokens. Of a
/// callback it shows the URL, and the status of the response or why no response arrived.
#[derive(Clone)]
pub struct UploadReport {
    pub(crate) request_id: String,
    pub(crate) bucket: Bucket,
    operation: &'static str,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) file_name: Option<String>,
    pub(crate) policy: Option<String>,
    pub(crate) callback: Option<String>,
    pub(crate) steps: Vec<UploadStep>,
    pub(crate) exchanges: Vec<Exchange>,
    status: StatusCode,
    refusal: Option<Refusal>,
}

#[derive(Clone)]
struct Refusal {
    code: &'static str,
    message: String,
    ec: Option<&'static str>,
}

impl UploadReport {
    pub(crate) fn new(operation: &'static str, request_id: &str, bucket: &Bucket) -> Self {
        Self {
            request_id: request_id.to_owned(),
            bucket: bucket.clone(),
            operation,
            fields: Vec::new(),
            file_name: None,
            policy: None,
            callback: None,
            steps: Vec::new(),
            exchanges: Vec::new(),
            // Replaced by `answered` or `refused` before the observer sees the report.
            status: StatusCode::OK,
            refusal: None,
        }
    }

    pub(crate) fn form(&mut self, form: &Form, file_name: &str) {
        let mut room = MAX_FIELDS;
        let fields = form.iter().take_while(|(name, value)| {
            let left = room.checked_sub(name.len() + value.len());
            room = left.unwrap_or_default();
            left.is_some()
        });
        self.fields = fields.map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        self.file_name = Some(file_name.to_owned());
        self.steps.push(UploadStep::Form);
    }

    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.status = status;
    }

    pub(crate) fn refused(&mut self, error: &OssError) {
        self.status = error.status();
        self.refusal = Some(Refusal {
            code: error.code(),
            message: error.message().to_owned(),
            ec: error.ec(),
        });
    }

    /// Returns the request ID. The response and the callback contain it too.
    #[must_use]
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// Returns `PostObject`, `PutObject`, `CompleteMultipartUpload`, or `ProcessObject` for a
    /// callback for an existing object.
    #[must_use]
    pub fn operation(&self) -> &str {
        self.operation
    }

    /// Returns the bucket that the upload addresses.
    #[must_use]
    pub fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// Returns the form fields before the file, names and values as sent. The first field that does
    /// not fit into 64 KiB and those after it are left out.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Returns the file name of a form, or `None` if the upload is no form or failed before its
    /// file.
    #[must_use]
    pub fn file_name(&self) -> Option<&str> {
        self.file_name.as_deref()
    }

    /// Returns the policy, decoded from Base64 to JSON.
    #[must_use]
    pub fn policy(&self) -> Option<&str> {
        self.policy.as_deref()
    }

    /// Returns the callback parameters, decoded from Base64 to JSON.
    #[must_use]
    pub fn callback(&self) -> Option<&str> {
        self.callback.as_deref()
    }

    /// Returns the steps that the upload passed, in order.
    ///
    /// A missing step failed, was not reached or does not apply.
    #[must_use]
    pub fn steps(&self) -> &[UploadStep] {
        &self.steps
    }

    /// Returns the callback attempts, one for each URL that was tried.
    #[must_use]
    pub fn exchanges(&self) -> &[Exchange] {
        &self.exchanges
    }

    /// Returns the status of the response.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns `Code` and `Message` of the response if the upload or its callback failed.
    #[must_use]
    pub fn refusal(&self) -> Option<(&str, &str)> {
        let refusal = self.refusal.as_ref();
        refusal.map(|refusal| (refusal.code, &*refusal.message))
    }

    /// Returns the EC of the response, if it has one.
    #[must_use]
    pub fn ec(&self) -> Option<&str> {
        self.refusal.as_ref().and_then(|refusal| refusal.ec)
    }
}

impl fmt::Debug for UploadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadReport")
            .field("request_id", &self.request_id)
            .field("bucket", &self.bucket)
            .field("operation", &self.operation)
            .field("steps", &self.steps)
            .field("exchanges", &self.exchanges)
            .field("status", &self.status)
            .field("code", &self.refusal.as_ref().map(|refusal| refusal.code))
            .field("ec", &self.ec())
            .finish_non_exhaustive()
    }
}

/// A step of an upload that succeeded. The variants are in the order in which the steps run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum UploadStep {
    /// The form is well-formed up to its file. Applies to forms only.
    Form,
    /// The signature is valid, or the bucket does not require one.
    Signature,
    /// Neither the policy nor the signature has expired. Applies to forms only. The policy may
    /// still expire before the content has arrived.
    Expiry,
    /// Every condition of the policy holds. Applies to forms only.
    Conditions,
    /// The callback parameters are valid. Applies to uploads with a callback only.
    CallbackParameters,
    /// The content was received and its size is allowed.
    Size,
    /// The object is stored.
    Stored,
    /// The application server accepted the callback.
    Callback,
}

/// One callback attempt: the request and, if one arrived, the response.
#[derive(Clone)]
pub struct Exchange {
    url: String,
    headers: HeaderMap,
    body: Bytes,
    status: Option<StatusCode>,
    answer: Bytes,
    failure: Option<String>,
}

impl Exchange {
    pub(crate) fn new(url: &str, headers: &HeaderMap, body: Bytes) -> Self {
        Self {
            url: url.to_owned(),
            headers: headers.clone(),
            body,
            status: None,
            answer: Bytes::new(),
            failure: None,
        }
    }

    pub(crate) fn set_status(&mut self, status: StatusCode) {
        self.status = Some(status);
    }

    pub(crate) fn set_answer(&mut self, answer: Bytes) {
        self.answer = answer;
    }

    pub(crate) fn set_failure(&mut self, failure: String) {
        self.failure = Some(failure);
    }

    /// Returns the URL of the request.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the headers of the request.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Returns the body of the request.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Returns the status of the response, or `None` if no response arrived.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.status
    }

    /// Returns the body of a response with status 200, or an empty body if it was not read.
    #[must_use]
    pub fn answer(&self) -> &Bytes {
        &self.answer
    }

    /// Returns why no response arrived, such as a refused connection or a failed TLS handshake, or
    /// why it did not arrive completely. `None` if it did. The text is for people and can change.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("url", &self.url)
            .field("status", &self.status)
            .field("failure", &self.failure)
            .finish_non_exhaustive()
    }
}
