//! `PostObject`, from the form to the answer.
//!
//! The checks come in this order, so that an altered form is refused by its policy before anybody looks at what was
//! altered: form, signature, expiry, conditions, callback parameters, object, size, store, callback.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::Response;

use crate::{
    body::EmulatorBody,
    bucket::Acl,
    call::Call,
    callback::{self, Directive},
    catalogue,
    error::OssError,
    form::{FilePart, Form, Reading},
    inbound::MAX_BODY,
    object::Plan,
    policy::{Policy, check_conditions, check_names},
    report::{UploadReport, UploadStep},
    signature,
    store::Sealed,
    storing::{self, Received},
    success::Success,
};

const OPERATION: &str = "PostObject";
/// The largest object a form can bring.
const MAX_OBJECT: u64 = MAX_BODY;

/// Takes a form.
pub(crate) async fn post(call: &Call<'_>) -> Result<Response<EmulatorBody>, OssError> {
    let mut report = UploadReport::new(OPERATION, call.request_id, &call.bucket.name);
    let received = call.receive(&mut report).await;
    storing::finish(call.shared, report, received).await
}

impl Call<'_> {
    async fn receive(&self, report: &mut UploadReport) -> Result<Received, OssError> {
        self.check_length(catalogue::BODY_TOO_LARGE)?;
        let shared = self.shared;
        let headers = &self.parts.headers;
        let mut reading = Reading::new(headers, self.inbound.clone(), shared.strict_multipart)?;
        let (form, mut file) = reading.fields().await?;
        report.form(&form, &file.name);
        let range = self.check_policy(&form, report)?;

        let network = &*shared.caller.network;
        let directive = match form.get("callback") {
            None => None,
            Some(text) => {
                let mut directive = Directive::parse(text, network, shared.allow_private).await?;
                directive.variables = form.variables();
                Some(directive)
            }
        };
        if let Some(variables) = form.get("callback-var") {
            callback::variables(variables)?;
        }
        if let Some(directive) = &directive {
            report.callback = Some(directive.json.clone());
            report.steps.push(UploadStep::CallbackParameters);
        }

        let plan = Plan::of(&form, headers, &file)?;
        if plan.forbid_overwrite {
            self.must_be_new(&plan.description.key).await?;
        }
        let sealed = self.content(&mut file, range).await?;
        reading.rest(file).await?;
        self.check_digest().await?;
        report.steps.push(UploadStep::Size);
        Ok(Received {
            shared: shared.clone(),
            bucket: self.bucket.name.clone(),
            operation: OPERATION,
            success: Success::of_form(&form, self.address),
            description: plan.description,
            overwrite: !plan.forbid_overwrite,
            sealed,
            directive,
            request_id: self.request_id.to_owned(),
            client: self.client(),
            now: self.now,
            undo: None,
        })
    }

    /// Signature, expiry and conditions; the sizes that the policy allows come out.
    fn check_policy(
        &self,
        form: &Form,
        report: &mut UploadReport,
    ) -> Result<Option<(u64, u64)>, OssError> {
        let shared = self.shared;
        let signed = signature::verify_form(form, &shared.keys, &shared.region, self.now)?;
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
            upload.write(data).await.map_err(|e| storing::refusal(&e))?;
        }
        if size < min {
            return Err(catalogue::TOO_SMALL);
        }
        upload.seal().await.map_err(|e| storing::refusal(&e))
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
