//! `PostObject`: an upload by an HTML form.
//!
//! Checks run in this order: form, signature, expiry, conditions, callback parameters, object,
//! size, and again the expiry of the policy. An altered form therefore fails on its policy, before
//! the altered field itself is examined, and the response tells an attacker nothing about that
//! field.

use std::ops::RangeInclusive;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{Response, StatusCode, Uri};

use super::{
    commit::{self, Commit, Success},
    public_access_block,
};
use crate::{
    auth,
    body::{EmulatorBody, Inbound, MAX_BODY},
    bucket::Acl,
    callback::{self, Directive},
    context::{RequestContext, store_refusal},
    encoding::Encoding,
    errors::{self, OssError},
    form::{Form, FormReader},
    object::{NewObject, content_type},
    policy::{Policy, check_conditions, check_names},
    report::{UploadReport, UploadStep},
    store::{Sealed, Upload},
    traffic_limit::{self, TrafficLimit},
};

pub(super) const OPERATION: &str = "PostObject";
/// The largest object a form can carry, in bytes.
const MAX_OBJECT: u64 = MAX_BODY;

/// Receives a form and stores its file.
pub(super) async fn run(context: &RequestContext<'_>) -> Result<Response<EmulatorBody>, OssError> {
    let mut report = UploadReport::new(OPERATION, context.request_id, &context.bucket.name);
    let checked = receive(context, &mut report).await;
    commit::finish(context.shared, report, checked).await
}

async fn receive(
    context: &RequestContext<'_>,
    report: &mut UploadReport,
) -> Result<Commit, OssError> {
    context.check_length(errors::BODY_TOO_LARGE)?;
    let inbound = context.inbound.clone();
    let lenient = context.shared.lenient_multipart;
    let room = context.shared.form_room.clone();
    let mut reader = FormReader::new(context.headers(), inbound, room, lenient)?;
    let (form, file) = reader.read_fields().await?;
    report.form(&form, &file.name);

    let policy = check_policy(context, &form, content_type(&form, &file), report)?;
    let directive = callback_of_form(context, &form).await?;
    commit::report_callback(directive.as_ref(), report);
    let object = NewObject::of(
        &form,
        context.headers(),
        &file,
        context.bucket.encryption.as_ref(),
    )?;
    public_access_block::check_object_acl(context, Some(object.description.acl()))?;
    commit::check_overwrite(context, &object).await?;
    let success = success_of(&form);
    let limit = match form.get(traffic_limit::NAME) {
        Some(text) => TrafficLimit::of(Some(text), None)?,
        None => context.traffic_limit()?,
    };
    // The file may take hours.
    drop(form);

    let size_range = policy.as_ref().and_then(Policy::size);
    let sealed = store_file(context, &mut reader, size_range, limit).await?;
    reader.read_rest().await?;
    check_digest(context).await?;
    if let Some(policy) = &policy {
        // OSS requires the complete request before the expiration: the page of EC 0006-00000213
        // names slow uploads as a cause. The check before the file only saves reading it.
        policy.check_expiration(context.shared.now())?;
    }
    report.steps.push(UploadStep::Size);
    Ok(Commit::new(
        context, OPERATION, object, sealed, directive, success,
    ))
}

/// Checks signature, expiry and conditions. Returns the policy, or `None` for an anonymous upload.
fn check_policy(
    context: &RequestContext<'_>,
    form: &Form,
    content_type: Option<&str>,
    report: &mut UploadReport,
) -> Result<Option<Policy>, OssError> {
    let Some(signed) = auth::verify_form(context, form)? else {
        if context.bucket.open_acl() != Acl::PublicReadWrite || context.bucket.requester_pays {
            return Err(errors::NO_RIGHT);
        }
        report.steps.push(UploadStep::Signature);
        return Ok(None);
    };
    report.steps.push(UploadStep::Signature);
    let policy = Policy::parse(signed.policy)?;
    report.policy = Some(policy.json.clone());
    policy.check_expiration(context.now)?;
    signed.check_date(context.now)?;
    report.steps.push(UploadStep::Expiry);
    check_names(&policy, &signed.required_conditions)?;
    check_conditions(&policy, form, content_type, &context.bucket.name)?;
    report.steps.push(UploadStep::Conditions);
    Ok(Some(policy))
}

/// Reads the fields `callback` and `callback-var`.
async fn callback_of_form(
    context: &RequestContext<'_>,
    form: &Form,
) -> Result<Option<Directive>, OssError> {
    let shared = context.shared;
    let directive = match form.get("callback") {
        None => None,
        Some(encoded) => {
            let network = &*shared.caller.network;
            let policies = &context.bucket.callback_policies;
            let directive = Directive::parse(encoded, policies, network, &shared.allowed_private);
            let mut directive = directive.await?;
            // In a form each custom variable is a field of its own.
            let variables = form.variables();
            if !variables.is_empty() {
                directive.variables = variables;
            }
            Some(directive)
        }
    };
    // Its values are not used here, but OSS is said to validate it.
    if let Some(encoded) = form.get("callback-var") {
        callback::variables(encoded)?;
    }
    Ok(directive)
}

/// Streams the file into the store, and refuses it as soon as it exceeds the allowed size.
async fn store_file(
    context: &RequestContext<'_>,
    reader: &mut FormReader,
    size_range: Option<(u64, u64)>,
    limit: Option<TrafficLimit>,
) -> Result<Sealed, OssError> {
    let (min, max) = size_range.unwrap_or((0, MAX_OBJECT));
    let range = min..=max.min(MAX_OBJECT);
    let upload = context.shared.store.begin(&context.bucket.name).await;
    let mut upload = upload.map_err(|_| errors::INTERNAL)?;
    if let Err(error) = receive_into(&mut upload, reader, range, limit, context.inbound).await {
        upload.discard().await;
        return Err(error);
    }
    upload.seal().await.map_err(|e| store_refusal(&e))
}

async fn receive_into(
    upload: &mut Upload,
    reader: &mut FormReader,
    range: RangeInclusive<u64>,
    limit: Option<TrafficLimit>,
    inbound: &Inbound,
) -> Result<(), OssError> {
    let mut pace = limit.map(TrafficLimit::begin);
    let mut size = 0_u64;
    while let Some(data) = reader.chunk().await? {
        size += data.len() as u64;
        if size > *range.end() {
            return Err(errors::TOO_LARGE);
        }
        if let Some(pace) = &mut pace {
            inbound.delayed(pace.wait(data.len()).await);
        }
        upload.write(data).await.map_err(|e| store_refusal(&e))?;
    }
    match size < *range.start() {
        true => Err(errors::TOO_SMALL),
        false => Ok(()),
    }
}

/// Checks `Content-MD5`, which covers the whole multipart body and not the file alone.
async fn check_digest(context: &RequestContext<'_>) -> Result<(), OssError> {
    // Reads the epilogue, which is part of the hashed body.
    let digest = context.inbound.finish().await.map_err(|e| e.refusal())?;
    match digest {
        Some(digest) => context.check_content_md5(&STANDARD.encode(digest)),
        None => Ok(()),
    }
}

/// Reads the `success_action_*` fields. A redirect takes precedence over a status.
fn success_of(form: &Form) -> Success {
    let redirect = form
        .get("success_action_redirect")
        .filter(|url| is_absolute(url));
    match (redirect, form.get("success_action_status")) {
        (Some(url), _) => Success::Redirect(url.to_owned()),
        (None, Some("200")) => Success::Status(StatusCode::OK),
        (None, Some("201")) => Success::Document {
            status: StatusCode::CREATED,
            root: "PostResponse",
            encoding: Encoding::default(),
        },
        // 204 is also the default, and replaces any other value.
        (None, _) => Success::Status(StatusCode::NO_CONTENT),
    }
}

fn is_absolute(url: &str) -> bool {
    let uri = url.parse::<Uri>();
    uri.is_ok_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")))
}
