//! The end of every upload: store the object, call back, and build the response.
//!
//! `PostObject`, `PutObject` and `CompleteMultipartUpload` check their request, build a
//! [`Commit`], and pass it to [`finish`].

use std::{sync::Arc, time::SystemTime};

use http::{HeaderMap, Response, StatusCode, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::{
    address::Address,
    body::EmulatorBody,
    callback::{self, Directive},
    context::{RequestContext, Shared, store_refusal},
    encoding::{Encoding, NAME},
    errors::{self, OssError},
    object::{NewObject, Record},
    report::{UploadReport, UploadStep},
    response,
    store::{Sealed, Session},
    xml,
};
use tower_aliyun_oss::protocol::Bucket;

/// An upload that passed all checks, with its complete content.
pub(super) struct Commit {
    shared: Arc<Shared>,
    bucket: Bucket,
    operation: &'static str,
    object: NewObject,
    sealed: Sealed,
    directive: Option<Directive>,
    success: Success,
    location: Location,
    request_id: String,
    client_ip: String,
    received: SystemTime,
    /// The multipart upload that the object ends.
    session: Option<(String, Session)>,
}

/// What the response to an upload without a callback looks like.
pub(super) enum Success {
    /// No body.
    Status(StatusCode),
    /// An XML document with this root element.
    Document {
        status: StatusCode,
        root: &'static str,
        encoding: Encoding,
    },
    /// 303 to this URL.
    ///
    /// How OSS redirects is not documented. This follows S3: `bucket`, `key` and `etag` are added
    /// to the query.
    Redirect(String),
}

/// The base of the URL in `Location` elements.
struct Location {
    origin: String,
    path_style: bool,
}

impl Commit {
    pub(super) fn new(
        context: &RequestContext<'_>,
        operation: &'static str,
        object: NewObject,
        sealed: Sealed,
        directive: Option<Directive>,
        success: Success,
    ) -> Self {
        let Address {
            origin, path_style, ..
        } = context.address;
        Self {
            shared: context.shared.clone(),
            bucket: context.bucket.name.clone(),
            operation,
            object,
            sealed,
            directive,
            success,
            location: Location {
                origin: origin.clone(),
                path_style: *path_style,
            },
            request_id: context.request_id.to_owned(),
            client_ip: context.client_ip(),
            received: context.now,
            session: None,
        }
    }

    /// Ends a multipart upload once the object is stored. If the store fails, the client can
    /// complete the upload again.
    pub(super) fn of_session(mut self, id: &str, session: Session) -> Self {
        self.session = Some((id.to_owned(), session));
        self
    }

    async fn run(self, mut report: UploadReport) -> Result<Response<EmulatorBody>, OssError> {
        let shared = self.shared.clone();
        let result = self.store_and_call(&mut report).await;
        match &result {
            Ok(response) => report.answered(response.status()),
            Err(error) => report.refused(error),
        }
        shared.observe(report);
        result
    }

    async fn store_and_call(
        self,
        report: &mut UploadReport,
    ) -> Result<Response<EmulatorBody>, OssError> {
        let shared = &self.shared;
        let content = self.sealed.content().clone();
        let record = Record::new(self.object.description, content, self.received);
        let overwrite = !self.object.forbid_overwrite;
        let stored = self.sealed.commit(record.clone(), overwrite).await;
        let sessions = shared.store.sessions();
        match (stored, self.session) {
            (Err(error), session) => {
                if let Some((id, session)) = session {
                    sessions.put_back(&id, session);
                }
                return Err(store_refusal(&error));
            }
            (Ok(()), Some((id, session))) => sessions.end(&id, session).await,
            (Ok(()), None) => {}
        }
        report.steps.push(UploadStep::Stored);
        let Some(directive) = &self.directive else {
            return Ok(self.success.response(&self.bucket, &self.location, &record));
        };
        let upload = callback::Upload {
            bucket: &self.bucket,
            record: &record,
            operation: self.operation,
            request_id: &self.request_id,
            client: &self.client_ip,
            at: shared.now(),
        };
        // The object stays stored if the callback fails, as on OSS.
        let (body, content_type) =
            callback::run(&shared.caller, directive, &upload, &mut report.exchanges).await?;
        report.steps.push(UploadStep::Callback);
        // The response of the application server replaces `success_action_*` and the document.
        let mut response = response::typed(body, content_type);
        insert_stored(response.headers_mut(), &record);
        Ok(response)
    }
}

/// Commits an upload, or reports why it was refused before.
pub(super) async fn finish(
    shared: &Shared,
    mut report: UploadReport,
    checked: Result<Commit, OssError>,
) -> Result<Response<EmulatorBody>, OssError> {
    match checked {
        Err(error) => {
            report.refused(&error);
            shared.observe(report);
            Err(error)
        }
        // On a task of its own: once the content is complete, a client that disconnects must not
        // leave an object that is stored without its callback.
        Ok(commit) => tokio::spawn(commit.run(report))
            .await
            .unwrap_or(Err(errors::INTERNAL)),
    }
}

/// Reads the callback that headers or query parameters request, and reports it.
pub(super) async fn callback_of_request(
    context: &RequestContext<'_>,
    report: &mut UploadReport,
) -> Result<Option<Directive>, OssError> {
    let network = &*context.shared.caller.network;
    let allowed = &context.shared.allowed_private;
    let policies = &context.bucket.callback_policies;
    let (headers, query) = (context.headers(), context.query);
    let directive = callback::of_request(headers, query, policies, network, allowed).await?;
    report_callback(directive.as_ref(), report);
    Ok(directive)
}

/// Records in the report that the callback parameters are valid, if there are any.
pub(super) fn report_callback(directive: Option<&Directive>, report: &mut UploadReport) {
    if let Some(directive) = directive {
        report.callback = Some(directive.json.clone());
        report.steps.push(UploadStep::CallbackParameters);
    }
}

/// Refuses an upload that must not overwrite an existing object, before its content is read.
///
/// [`Sealed::commit`] checks again, because another upload may finish first.
pub(super) async fn check_overwrite(
    context: &RequestContext<'_>,
    object: &NewObject,
) -> Result<(), OssError> {
    if !object.forbid_overwrite {
        return Ok(());
    }
    let store = &context.shared.store;
    let exists = store.contains(&context.bucket.name, &object.description.key);
    match exists.await {
        Ok(false) => Ok(()),
        Ok(true) => Err(errors::ALREADY_EXISTS),
        Err(_) => Err(errors::INTERNAL),
    }
}

impl Success {
    fn response(
        &self,
        bucket: &Bucket,
        location: &Location,
        record: &Record,
    ) -> Response<EmulatorBody> {
        let etag = format!("\"{}\"", record.content.etag());
        let key = &*record.description.key;
        let mut response = match self {
            Self::Status(status) => response::empty(*status),
            Self::Document {
                status,
                root,
                encoding,
            } => {
                let location = location.of(bucket, key);
                let key = encoding.text(key);
                let mut elements = vec![
                    ("Bucket", bucket.as_str()),
                    ("ETag", &etag),
                    ("Key", &key),
                    ("Location", &location),
                ];
                elements.extend(encoding.name().map(|name| ("EncodingType", name)));
                let document = xml::document(root, &elements);
                let mut response = response::typed(document, "application/xml");
                *response.status_mut() = *status;
                response
            }
            Self::Redirect(url) => {
                let mut response = response::empty(StatusCode::SEE_OTHER);
                insert_redirect(response.headers_mut(), url, bucket, key, &etag);
                response
            }
        };
        insert_stored(response.headers_mut(), record);
        response
    }
}

impl Location {
    fn of(&self, bucket: &Bucket, key: &str) -> String {
        let path = utf8_percent_encode(key, NAME);
        if self.path_style {
            format!("{}/{bucket}/{path}", self.origin)
        } else {
            format!("{}/{path}", self.origin)
        }
    }
}

/// Inserts what the response to an upload says about the object.
fn insert_stored(headers: &mut HeaderMap, record: &Record) {
    response::insert_checksums(headers, record);
    response::insert_encryption(headers, &record.description);
}

fn insert_redirect(headers: &mut HeaderMap, url: &str, bucket: &Bucket, key: &str, etag: &str) {
    let separator = if url.contains('?') { '&' } else { '?' };
    let key = utf8_percent_encode(key, NON_ALPHANUMERIC);
    let etag = utf8_percent_encode(etag, NON_ALPHANUMERIC);
    let url = format!("{url}{separator}bucket={bucket}&key={key}&etag={etag}");
    response::insert(headers, header::LOCATION, &url);
}
