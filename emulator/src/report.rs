//! What the emulator saw of an upload, for whoever wants to show it.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::{error::OssError, form::Form};
use tower_aliyun_oss::protocol::Bucket;

/// What an upload has passed, in this order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum UploadStep {
    /// The form is well-formed up to its file; only for forms.
    Form,
    /// The signature is that of a known AccessKey, or the bucket needs none.
    Signature,
    /// Neither policy nor signature has expired.
    Expiry,
    /// Every condition of the policy holds; only for forms.
    Conditions,
    /// The callback can be made.
    CallbackParameters,
    /// The content is within the size that is allowed.
    Size,
    /// The object is stored.
    Stored,
    /// The callback was answered as it must be.
    Callback,
}

/// One upload, from its request to the answer: see [`EmulatorBuilder::observer`](super::EmulatorBuilder::observer).
///
/// `Debug` shows neither fields nor bodies: they hold signatures and tokens.
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
    refusal: Option<(&'static str, String, Option<&'static str>)>,
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
            status: StatusCode::OK,
            refusal: None,
        }
    }

    pub(crate) fn form(&mut self, form: &Form, file_name: &str) {
        let fields = form.iter();
        self.fields = fields.map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        self.file_name = Some(file_name.to_owned());
        self.steps.push(UploadStep::Form);
    }

    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.status = status;
    }

    pub(crate) fn refused(&mut self, error: &OssError) {
        self.status = error.status();
        self.refusal = Some((error.code(), error.message().to_owned(), error.ec()));
    }

    /// The id of the request, which is in the answer and the callback too.
    #[must_use]
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// `PostObject`, `PutObject` or `CompleteMultipartUpload`.
    #[must_use]
    pub fn operation(&self) -> &str {
        self.operation
    }

    /// The bucket the object goes to.
    #[must_use]
    pub fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// The fields of a form before its file, names and values as they were sent.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The name of the file; `None` if the form did not get that far, or there is none.
    #[must_use]
    pub fn file_name(&self) -> Option<&str> {
        self.file_name.as_deref()
    }

    /// The policy, decoded: JSON.
    #[must_use]
    pub fn policy(&self) -> Option<&str> {
        self.policy.as_deref()
    }

    /// The parameters of the callback, decoded: JSON.
    #[must_use]
    pub fn callback(&self) -> Option<&str> {
        self.callback.as_deref()
    }

    /// What it has passed; all that comes after the last of these was not reached, or not asked for.
    #[must_use]
    pub fn steps(&self) -> &[UploadStep] {
        &self.steps
    }

    /// The callbacks that were made, one for each URL that was tried.
    #[must_use]
    pub fn exchanges(&self) -> &[Exchange] {
        &self.exchanges
    }

    /// The status the uploader got.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// `Code` and `Message` of the answer, when it was a refusal or a failed callback.
    #[must_use]
    pub fn refusal(&self) -> Option<(&str, &str)> {
        let refusal = self.refusal.as_ref();
        refusal.map(|(code, message, _)| (*code, &**message))
    }

    /// `EC` of the answer, when there is one.
    #[must_use]
    pub fn ec(&self) -> Option<&str> {
        self.refusal.as_ref().and_then(|(_, _, ec)| *ec)
    }
}

impl fmt::Debug for UploadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadReport")
            .field("request_id", &self.request_id)
            .field("bucket", &self.bucket)
            .field("operation", &self.operation)
            .field("steps", &self.steps)
            .field("status", &self.status)
            .field("code", &self.refusal.as_ref().map(|(code, ..)| code))
            .field("ec", &self.ec())
            .finish_non_exhaustive()
    }
}

/// One callback: what was sent, and what came back.
#[derive(Clone)]
pub struct Exchange {
    url: String,
    headers: HeaderMap,
    body: Bytes,
    status: Option<StatusCode>,
    answer: Bytes,
}

impl Exchange {
    pub(crate) fn new(url: &str, headers: &HeaderMap, body: Bytes) -> Self {
        Self {
            url: url.to_owned(),
            headers: headers.clone(),
            body,
            status: None,
            answer: Bytes::new(),
        }
    }

    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.status = Some(status);
    }

    pub(crate) fn with_answer(&mut self, answer: Bytes) {
        self.answer = answer;
    }

    /// The URL that was called.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The headers that were sent.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The body that was sent.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The status that came back, if any did.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.status
    }

    /// The body that came back with status 200; empty when it was not read.
    #[must_use]
    pub fn answer(&self) -> &Bytes {
        &self.answer
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("url", &self.url)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}
