//! `trigger/callback`: calls back for an object that exists already.
//!
//! `POST /key?x-oss-process` with this body, where both values are Base64 and the second may be
//! empty:
//!
//! ```text
//! x-oss-process=trigger/callback,callback_BASE64,callback-var_BASE64
//! ```
//!
//! Alibaba Cloud documents it nowhere. The SDKs for iOS and Android send it, and their tests show
//! the rest: names of variables need no `x:`, and a response relays the body of the application
//! server. Not known are the value of `${operation}`, which is empty here, the checksum headers of
//! the response, which has none here, and the errors.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::Response;
use percent_encoding::percent_decode;

use super::{commit, process_image};
use crate::{
    body::EmulatorBody,
    callback::{self, Directive},
    context::RequestContext,
    errors::{self, OssError},
    report::{UploadReport, UploadStep},
    response,
};

/// The name of the SDKs of version 2 for `POST ?x-oss-process`.
pub(super) const OPERATION: &str = "ProcessObject";

/// The longest body, in bytes: room for the longest callback and its variables, percent-encoded.
const MAX_BODY: usize = 32 * 1024;

/// Calls back for an object. The caller has checked the signature.
pub(super) async fn run(context: &RequestContext<'_>) -> Result<Response<EmulatorBody>, OssError> {
    let body = context.read_document(MAX_BODY, errors::ARGUMENT).await;
    if let Ok(body) = &body
        && let Some(process) = image(body)
    {
        return process_image::save(context, &process).await;
    }
    let mut report = UploadReport::new(OPERATION, context.request_id, &context.bucket.name);
    report.steps.push(UploadStep::Signature);
    let result = match body {
        Ok(body) => call_back(context, &body, &mut report).await,
        Err(error) => Err(error),
    };
    match &result {
        Ok(response) => report.answered(response.status()),
        Err(error) => report.refused(error),
    }
    context.shared.observe(report);
    result
}

/// Returns the process of a body that processes an image.
fn image(body: &[u8]) -> Option<String> {
    let process = body.strip_prefix(b"x-oss-process=")?;
    let process = percent_decode(process).decode_utf8().ok()?;
    let process = process.trim_end();
    process.starts_with("image/").then(|| process.to_owned())
}

async fn call_back(
    context: &RequestContext<'_>,
    body: &[u8],
    report: &mut UploadReport,
) -> Result<Response<EmulatorBody>, OssError> {
    let shared = context.shared;
    let (encoded, variables) = parse(body)?;
    let key = context.address.key()?;
    let found = shared.store.get(&context.bucket.name, key).await;
    let found = found.map_err(|_| errors::INTERNAL)?;
    let (record, _) = found.ok_or_else(|| errors::NO_SUCH_KEY.argument("Key", key))?;

    let network = &*shared.caller.network;
    let policies = &context.bucket.callback_policies;
    let directive = Directive::parse(&encoded, policies, network, &shared.allowed_private);
    let mut directive = directive.await?;
    if !variables.is_empty() {
        directive.variables = callback::variables(&variables)?;
    }
    commit::report_callback(Some(&directive), report);
    let upload = callback::Upload {
        bucket: &context.bucket.name,
        record: &record,
        operation: "",
        request_id: context.request_id,
        client: &context.client_ip(),
        at: shared.now(),
    };
    let exchanges = &mut report.exchanges;
    let (body, content_type) =
        callback::run(&shared.caller, &directive, &upload, exchanges).await?;
    report.steps.push(UploadStep::Callback);
    Ok(response::typed(body, content_type))
}

/// Returns the callback and its variables, each in standard Base64, or empty.
fn parse(body: &[u8]) -> Result<(String, String), OssError> {
    // The SDKs send the body as it is, without percent-encoding. Base64 contains no `%`.
    let body = percent_decode(body).decode_utf8();
    let body = body.map_err(|_| errors::ARGUMENT)?;
    let process = body.strip_prefix("x-oss-process=");
    let mut parameters = process.ok_or(errors::ARGUMENT)?.trim_end().split(',');
    if parameters.next() != Some("trigger/callback") {
        return Err(errors::PROCESS);
    }
    let (mut callback, mut variables) = (String::new(), String::new());
    for parameter in parameters {
        if let Some(encoded) = parameter.strip_prefix("callback_") {
            callback = standard_base64(encoded);
        } else if let Some(encoded) = parameter.strip_prefix("callback-var_") {
            variables = standard_base64(encoded);
        } else {
            return Err(errors::ARGUMENT);
        }
    }
    Ok((callback, variables))
}

/// Converts Base64 of the alphabet for URLs, with or without padding. What is neither stays as it
/// is, for the error that quotes it.
fn standard_base64(encoded: &str) -> String {
    let standard = encoded.replace('-', "+").replace('_', "/");
    let mut standard = standard.trim_end_matches('=').to_owned();
    while !standard.len().is_multiple_of(4) {
        standard.push('=');
    }
    match STANDARD.decode(&standard) {
        Ok(_) => standard,
        Err(_) => encoded.to_owned(),
    }
}
