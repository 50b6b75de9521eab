//! `PostObject`, from the form to the answer.
//!
//! The checks come in this order, so that an altered form is refused by its policy before anybody looks at what was
//! altered: form, signature, expiry, conditions, callback parameters, object, size, store, callback.

use std::{net::SocketAddr, sync::Arc, time::SystemTime};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{Response, header, request::Parts};

use super::{
    address::Address,
    body::EmulatorBody,
    bucket::{Acl, HostedBucket},
    callback::{self, Directive, check_variables},
    catalogue,
    error::OssError,
    form::{FilePart, Form, Reading},
    inbound::{Inbound, MAX_BODY},
    object::{Plan, Record},
    policy::{Policy, check_conditions, check_names},
    report::{UploadReport, UploadStep},
    shared::Shared,
    signature,
    store::{Sealed, StoreError},
    success::Success,
};

/// The largest object a form can bring.
const MAX_OBJECT: u64 = MAX_BODY;

/// The address an uploader comes from, in the extensions of a request: what `${clientIp}` is filled with.
///
/// [`Emulator::serve`](super::Emulator::serve) puts it there; whoever runs the service elsewhere may do so too.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[allow(clippy::exhaustive_structs, reason = "a marker for one value")]
pub struct ClientAddress(pub SocketAddr);

/// A request to upload.
pub(super) struct Upload<'a> {
    pub(super) shared: &'a Arc<Shared>,
    pub(super) bucket: &'a HostedBucket,
    pub(super) address: &'a Address,
    pub(super) parts: &'a Parts,
    pub(super) inbound: &'a Inbound,
    pub(super) request_id: &'a str,
    pub(super) now: SystemTime,
}

/// An upload that is complete and may be stored.
struct Received {
    shared: Arc<Shared>,
    bucket: HostedBucket,
    form: Form,
    plan: Plan,
    sealed: Sealed,
    directive: Option<Directive>,
    success: Success,
    request_id: String,
    client: String,
    now: SystemTime,
}

impl Upload<'_> {
    pub(super) async fn answer(&self) -> Result<Response<EmulatorBody>, OssError> {
        let mut report = UploadReport::new(self.request_id, &self.bucket.name);
        match self.receive(&mut report).await {
            Err(error) => {
                report.refused(&error);
                self.shared.observe(report);
                Err(error)
            }
            // What is stored is told, even if the uploader does not wait for it.
            Ok(received) => tokio::spawn(received.finish(report))
                .await
                .unwrap_or(Err(catalogue::INTERNAL)),
        }
    }

    async fn receive(&self, report: &mut UploadReport) -> Result<Received, OssError> {
        self.check_length()?;
        let shared = self.shared;
        let headers = &self.parts.headers;
        let mut reading = Reading::new(headers, self.inbound.clone(), shared.strict_multipart)?;
        let (form, mut file) = reading.fields().await?;
        report.form(&form, &file.name);
        let range = self.check_policy(&form, report)?;

        let network = &*shared.caller.network;
        let directive = match form.get("callback") {
            None => None,
            Some(text) => Some(Directive::parse(text, network, shared.allow_private).await?),
        };
        if let Some(variables) = form.get("callback-var") {
            check_variables(variables)?;
        }
        if let Some(directive) = &directive {
            report.callback = Some(directive.json.clone());
            report.steps.push(UploadStep::CallbackParameters);
        }

        let plan = Plan::of(&form, headers, &file)?;
        if plan.forbid_overwrite {
            let there = shared
                .store
                .contains(&self.bucket.name, &plan.description.key);
            if there.await.map_err(|_| catalogue::INTERNAL)? {
                return Err(catalogue::ALREADY_EXISTS);
            }
        }
        let sealed = self.content(&mut file, range).await?;
        reading.rest(file).await?;
        self.check_digest().await?;
        report.steps.push(UploadStep::Size);
        let client = self.parts.extensions.get::<ClientAddress>();
        Ok(Received {
            shared: shared.clone(),
            bucket: self.bucket.clone(),
            success: Success::of(&form, self.address),
            form,
            plan,
            sealed,
            directive,
            request_id: self.request_id.to_owned(),
            client: client.map_or_else(String::new, |client| client.0.ip().to_string()),
            now: self.now,
        })
    }

    fn check_length(&self) -> Result<(), OssError> {
        let headers = &self.parts.headers;
        let length = headers.get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        match length {
            Some(length) if length > MAX_BODY => Err(catalogue::BODY_TOO_LARGE),
            Some(_) => Ok(()),
            None if headers.contains_key(header::TRANSFER_ENCODING) => Ok(()),
            None if self.inbound.is_empty() => Err(catalogue::NO_LENGTH),
            None => Ok(()),
        }
    }

    /// Signature, expiry and conditions; the sizes that the policy allows come out.
    fn check_policy(
        &self,
        form: &Form,
        report: &mut UploadReport,
    ) -> Result<Option<(u64, u64)>, OssError> {
        let shared = self.shared;
        let signed = signature::verify(form, &shared.keys, &shared.region, self.now)?;
        let Some(signed) = signed else {
            if self.bucket.acl != Acl::PublicReadWrite {
                return Err(catalogue::NO_RIGHT);
            }
            report.steps.push(UploadStep::Signature);
            return Ok(None);
        };
        report.steps.push(UploadStep::Signature);
        let policy = Policy::parse(signed.policy)?;
        report.policy = Some(policy.json.clone());
        policy.check_expiration(self.now)?;
        signed.check_date(self.now)?;
        report.steps.push(UploadStep::Expiry);
        check_names(&policy, &signed.must_name)?;
        check_conditions(&policy, form, &self.bucket.name)?;
        report.steps.push(UploadStep::Conditions);
        Ok(policy.size())
    }

    async fn content(
        &self,
        file: &mut FilePart,
        range: Option<(u64, u64)>,
    ) -> Result<Sealed, OssError> {
        let (min, max) = range.unwrap_or((0, MAX_OBJECT));
        let max = max.min(MAX_OBJECT);
        let upload = self.shared.store.begin(&self.bucket.name).await;
        let mut upload = upload.map_err(|_| catalogue::INTERNAL)?;
        let mut size = 0_u64;
        while let Some(data) = file.chunk().await? {
            size += data.len() as u64;
            if size > max {
                return Err(catalogue::TOO_LARGE);
            }
            upload.write(data).await.map_err(|e| refusal(&e))?;
        }
        if size < min {
            return Err(catalogue::TOO_SMALL);
        }
        upload.seal().await.map_err(|e| refusal(&e))
    }

    /// `Content-MD5` of the request is that of the whole body.
    async fn check_digest(&self) -> Result<(), OssError> {
        let found = self.inbound.finish().await.map_err(|e| e.refusal())?;
        let said = self.parts.headers.get("content-md5");
        match (said, found) {
            (Some(said), Some(found)) if said.as_bytes() != STANDARD.encode(found).as_bytes() => {
                Err(catalogue::INVALID_DIGEST)
            }
            _ => Ok(()),
        }
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
        let record = Record::new(self.plan.description, content, self.now);
        let overwrite = !self.plan.forbid_overwrite;
        let stored = self.sealed.commit(record.clone(), overwrite).await;
        stored.map_err(|e| refusal(&e))?;
        report.steps.push(UploadStep::Stored);
        let Some(directive) = &self.directive else {
            return Ok(self.success.response(&self.bucket.name, &record));
        };
        let upload = callback::Upload {
            bucket: &self.bucket.name,
            record: &record,
            form: &self.form,
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

fn refusal(error: &StoreError) -> OssError {
    match error {
        StoreError::Exists => catalogue::ALREADY_EXISTS,
        StoreError::Full => catalogue::STORE_FULL,
        StoreError::Io(error) => {
            tracing::error!(%error, "the folder of the emulator cannot be used");
            catalogue::INTERNAL
        }
    }
}
