//! The AccessKey, the bucket and the region, by one signed request, and signature version 1.

use http::Method;

use crate::{
    finding::Finding,
    oss::{Answer, Oss, OssError, Signature},
    settings::Settings,
};

pub(super) const CREDENTIALS: &str = "credentials";
pub(super) const BUCKET: &str = "bucket";
pub(super) const REGION: &str = "region";
const LIST: &str = "permission oss:ListObjects";
const SIGNATURE_V1: &str = "signature version 1";

/// Accounts and buckets for which version 1 is switched off.
const V1_IS_OFF: &str = "0002-00000080";

/// New users in mainland China must use a custom domain.
const NEEDS_CUSTOM_DOMAIN: &str = "PublicEndpointForbidden";

pub(super) async fn check(oss: &Oss<'_>) -> Vec<Finding> {
    let version = match oss.signature {
        Signature::V1 => "1",
        _ => "4",
    };
    let did = format!("listed one object of the bucket, signed with version {version}");
    let request = oss.request(Method::GET, "").query("list-type=2&max-keys=1");
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) => {
            return vec![Finding::failed(
                CREDENTIALS,
                did,
                error.to_string(),
                "run the check again",
            )];
        }
    };
    if answer.is_success() {
        return [CREDENTIALS, BUCKET, REGION, LIST]
            .map(|check| Finding::passed(check, did.clone(), answer.describe()))
            .into();
    }
    match refusal(&answer, oss.settings) {
        Some((check, change)) => vec![Finding::failed(check, did, answer.describe(), change)],
        // The signature is right: only the permission is missing.
        None => {
            let known = [CREDENTIALS, BUCKET, REGION]
                .map(|check| Finding::passed(check, did.clone(), answer.describe()));
            let mut findings = Vec::from(known);
            findings.push(Finding::warning(
                LIST,
                did,
                answer.describe(),
                "grant oss:ListObjects only if the application looks for orphans",
            ));
            findings
        }
    }
}

/// Returns the check that a refusal fails, and the remedy. `None` for a missing permission.
pub(super) fn refusal(answer: &Answer, settings: &Settings) -> Option<(&'static str, String)> {
    let OssError {
        code,
        message,
        ec,
        endpoint,
        ..
    } = answer.error();
    let region = message.to_ascii_lowercase().contains("region");
    Some(match &*code {
        "InvalidAccessKeyId" => (
            CREDENTIALS,
            "OSS_ACCESS_KEY_ID is unknown: copy it again, or create an AccessKey; a temporary one \
             (STS.…) needs OSS_SESSION_TOKEN"
                .into(),
        ),
        "SignatureDoesNotMatch" => (
            CREDENTIALS,
            "OSS_ACCESS_KEY_SECRET does not belong to OSS_ACCESS_KEY_ID: copy both again".into(),
        ),
        "SecurityTokenExpired" => (
            CREDENTIALS,
            "OSS_SESSION_TOKEN has expired: fetch new temporary credentials".into(),
        ),
        "InvalidSecurityToken" | "SecurityTokenInvalid" | "AccessKeyIdAndSecurityTokenNotMatch" => (
            CREDENTIALS,
            "OSS_SESSION_TOKEN does not belong to this AccessKey: set all three values that STS \
             returned together"
                .into(),
        ),
        "RequestTimeTooSkewed" => (CREDENTIALS, "set the clock of this machine".into()),
        "NoSuchBucket" => (
            BUCKET,
            format!(
                "there is no bucket {}: create it, or correct OSS_BUCKET and OSS_HOST",
                settings.bucket
            ),
        ),
        NEEDS_CUSTOM_DOMAIN => (
            BUCKET,
            "bind a custom domain to the bucket and set OSS_HOST to it, with OSS_BUCKET and \
             OSS_REGION: this account cannot use the default domain"
                .into(),
        ),
        "InvalidArgument" | "InvalidRegion" | "AuthorizationHeaderMalformed" if region => (
            REGION,
            "set OSS_REGION to the region of the bucket, such as cn-hangzhou".into(),
        ),
        _ if ec == V1_IS_OFF => (
            SIGNATURE_V1,
            "set OSS_REGION: version 1 is switched off".into(),
        ),
        _ if !endpoint.is_empty() => (
            REGION,
            format!("the bucket is served by {endpoint}: set OSS_HOST and OSS_REGION accordingly"),
        ),
        "AccessDenied" => return None,
        _ => (
            BUCKET,
            "look the code up in the documentation of OSS".into(),
        ),
    })
}

/// Whether version 1 is still accepted, which tokens without `OSS_REGION` need.
pub(super) async fn signature_v1(oss: &Oss<'_>) -> Finding {
    let did = "listed one object of the bucket, signed with version 1";
    let request = oss
        .request(Method::GET, "")
        .query("list-type=2&max-keys=1")
        .signature(Signature::V1);
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) => {
            return Finding::skipped(SIGNATURE_V1, error.to_string(), "run the check again");
        }
    };
    let is_off = answer.error().ec == V1_IS_OFF;
    match (is_off, oss.settings.issues_v4) {
        (true, true) => Finding::passed(
            SIGNATURE_V1,
            did,
            format!("{}; tokens use version 4", answer.describe()),
        ),
        (true, false) => Finding::failed(
            SIGNATURE_V1,
            did,
            answer.describe(),
            "set OSS_REGION, so that tokens are signed with version 4",
        ),
        (false, true) => Finding::passed(
            SIGNATURE_V1,
            did,
            format!(
                "{}; version 1 is still accepted, and tokens use version 4",
                answer.describe()
            ),
        ),
        (false, false) => Finding::warning(
            SIGNATURE_V1,
            did,
            format!("{}; version 1 is still accepted", answer.describe()),
            "set OSS_REGION: Alibaba Cloud is switching version 1 off",
        ),
    }
}
