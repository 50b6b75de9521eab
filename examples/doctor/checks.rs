//! The checks, in their order. A check that depends on a failed one is skipped.

mod access;
mod application;
mod cors;
mod endpoint;
mod objects;
mod round_trip;

pub(crate) use self::objects::{CONTENT, object_key, post_form, remove};

use crate::{
    finding::{Finding, Outcome},
    observations,
    oss::{Http, Oss},
    report::Report,
    settings::{self, Options, Settings},
};

/// Checks the settings that `variable` returns, and the bucket and application that they name.
///
/// Stores up to a dozen objects of a few bytes under `OSS_UPLOAD_DIR`, and deletes them.
pub async fn examine(variable: impl Fn(&str) -> Option<String>, options: Options) -> Report {
    let settings = match Settings::read(variable, options) {
        Ok(settings) => settings,
        Err(problems) => return Report::new(problems, Vec::new(), Vec::new()),
    };
    let secrets = [Some(settings.secret.clone()), settings.token.clone()];
    let secrets = secrets.into_iter().flatten().collect();
    let mut findings = vec![settings_finding(&settings)];
    let mut observed = Vec::new();
    match Http::new() {
        Ok(http) => run(&Oss::new(http, &settings), &mut findings, &mut observed).await,
        Err(error) => findings.push(Finding::failed(
            endpoint::CHECK,
            "set up TLS with the certificates of this machine",
            error.0,
            "install the package ca-certificates, or run the doctor on a machine whose processor has \
             AES and, on x86-64, AVX2",
        )),
    }
    Report::new(findings, observed, secrets)
}

fn settings_finding(settings: &Settings) -> Finding {
    let region = match &settings.region {
        Some(region) => region.to_string(),
        None => "none".into(),
    };
    let did = "read the environment of appserver";
    let got = format!(
        "bucket {} at {}, region {region}, tickets {}",
        settings.bucket,
        settings.url.as_str(),
        if settings.has_tickets { "on" } else { "off" }
    );
    if settings.has_tickets {
        Finding::passed(settings::CHECK, did, got)
    } else {
        Finding::warning(
            settings::CHECK,
            did,
            got,
            "set OSS_TICKET_KEY (openssl rand -base64 32): without tickets the application accepts \
             every callback that OSS signed, those of other customers too",
        )
    }
}

async fn run(
    oss: &Oss<'_>,
    findings: &mut Vec<Finding>,
    observed: &mut Vec<observations::Observation>,
) {
    let reached = endpoint::check(oss).await;
    let is_reached = reached
        .iter()
        .all(|finding| finding.check != endpoint::CHECK || finding.outcome == Outcome::Passed);
    findings.extend(reached);
    if is_reached {
        let access = access::check(oss).await;
        let may_sign = access
            .iter()
            .all(|finding| finding.outcome != Outcome::Failed);
        findings.extend(access);
        if may_sign {
            findings.push(cors::check(oss).await);
            findings.push(access::signature_v1(oss).await);
            findings.extend(objects::check(oss).await);
        }
    }
    findings.push(application::stranger(oss).await);
    let may_upload = findings
        .iter()
        .any(|finding| finding.check == objects::PUT && finding.outcome == Outcome::Passed);
    if !may_upload {
        findings.push(Finding::skipped(
            round_trip::CHECK,
            "this AccessKey cannot upload",
            "correct what failed above",
        ));
        return;
    }
    findings.push(application::form(oss).await);
    match round_trip::check(oss).await {
        Ok((finding, listener)) => {
            let passed = finding.outcome == Outcome::Passed;
            findings.push(finding);
            if passed && oss.settings.options.observe {
                observed.extend(observations::observe(oss, listener).await);
            }
        }
        Err(finding) => findings.push(finding),
    }
}
