//! `PutBucketCors`, `GetBucketCors` and `DeleteBucketCors`.

use std::time::Duration;

use http::{Method, Response};
use serde::{Deserialize, Serialize};

use crate::{
    body::EmulatorBody, builder::MAX_RULES, call::Call, catalogue, cors::CorsRule, documents,
    error::OssError, put::no_content,
};

const MAX_DOCUMENT: usize = 64 * 1024;

#[derive(Deserialize, Serialize)]
struct Configuration {
    #[serde(rename = "CORSRule", default)]
    rules: Vec<Rule>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Rule {
    #[serde(default)]
    allowed_origin: Vec<String>,
    #[serde(default)]
    allowed_method: Vec<String>,
    #[serde(default)]
    allowed_header: Vec<String>,
    #[serde(default)]
    expose_header: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_age_seconds: Option<u32>,
}

/// Replaces the rules of the bucket.
pub(crate) async fn put(call: &Call<'_>) -> Result<Response<EmulatorBody>, OssError> {
    let document = call.document(MAX_DOCUMENT).await?;
    let configuration: Configuration = documents::parse(&document)?;
    if configuration.rules.is_empty() {
        return Err(catalogue::MALFORMED_XML);
    }
    if configuration.rules.len() > MAX_RULES {
        return Err(catalogue::CORS_RULES);
    }
    let rules: Result<Vec<_>, _> = configuration.rules.iter().map(Rule::read).collect();
    call.shared.set_cors(&call.bucket.name, rules?);
    Ok(Response::new(EmulatorBody::empty()))
}

/// The rules of the bucket, those it was built with included.
pub(crate) fn get(call: &Call<'_>) -> Result<Response<EmulatorBody>, OssError> {
    let rules = call.shared.cors(&call.bucket.name);
    if rules.is_empty() {
        return Err(catalogue::NO_CORS.argument("BucketName", call.bucket.name.as_str()));
    }
    let rules = rules.iter().map(Rule::of).collect();
    documents::response("CORSConfiguration", &Configuration { rules })
}

/// Leaves the bucket without rules.
pub(crate) fn delete(call: &Call<'_>) -> Response<EmulatorBody> {
    call.shared.set_cors(&call.bucket.name, Vec::new());
    no_content()
}

impl Rule {
    fn read(&self) -> Result<CorsRule, OssError> {
        if self.allowed_origin.is_empty() || self.allowed_method.is_empty() {
            return Err(catalogue::MALFORMED_XML);
        }
        let patterns = self.allowed_origin.iter().chain(&self.allowed_header);
        if patterns
            .into_iter()
            .any(|text| text.matches('*').count() > 1)
        {
            return Err(catalogue::MALFORMED_XML);
        }
        let mut rule = CorsRule::new();
        for origin in &self.allowed_origin {
            rule = rule.allow_origin(origin);
        }
        for method in &self.allowed_method {
            let method = method.parse::<Method>();
            let method = method.map_err(|_| catalogue::MALFORMED_XML)?;
            let known = [
                Method::GET,
                Method::PUT,
                Method::POST,
                Method::DELETE,
                Method::HEAD,
            ];
            if !known.contains(&method) {
                return Err(catalogue::MALFORMED_XML);
            }
            rule = rule.allow_method(method);
        }
        for header in &self.allowed_header {
            rule = rule.allow_header(header);
        }
        for header in &self.expose_header {
            rule = rule.expose_header(header);
        }
        if let Some(age) = self.max_age_seconds {
            rule = rule.max_age(Duration::from_secs(age.into()));
        }
        Ok(rule)
    }

    fn of(rule: &CorsRule) -> Self {
        let owned = |texts: &[Box<str>]| texts.iter().map(|text| text.to_string()).collect();
        Self {
            allowed_origin: owned(&rule.origins),
            allowed_method: rule.methods.iter().map(ToString::to_string).collect(),
            allowed_header: owned(&rule.headers),
            expose_header: owned(&rule.exposed),
            max_age_seconds: rule
                .max_age
                .map(|age| u32::try_from(age.as_secs()).unwrap_or(u32::MAX)),
        }
    }
}
