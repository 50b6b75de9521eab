//! `PutBucketCors`, `GetBucketCors` and `DeleteBucketCors`, and preflight requests.
//!
//! How a rule matches a request is in [`crate::cors`].

use std::time::Duration;

use http::{Method, Response, StatusCode};
use serde::{Deserialize, Serialize};

use crate::{
    body::EmulatorBody,
    context::RequestContext,
    cors::{self, CorsRule, CorsRules, MAX_RULES},
    errors::{self, OssError},
    response, xml,
};

/// The largest body of `PutBucketCors`, in bytes.
const MAX_DOCUMENT: usize = 64 * 1024;
/// The largest `MaxAgeSeconds`.
const MAX_AGE: u32 = 999_999_999;

/// The document of `PutBucketCors` and `GetBucketCors`.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct CorsConfiguration {
    #[serde(rename = "CORSRule", default)]
    rules: Vec<RuleDocument>,
    #[serde(default)]
    response_vary: bool,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct RuleDocument {
    #[serde(default)]
    allowed_origin: Vec<String>,
    #[serde(default)]
    allowed_method: Vec<String>,
    #[serde(default)]
    allowed_header: Vec<String>,
    #[serde(default)]
    expose_header: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_age_seconds: Option<i64>,
}

/// `OPTIONS`: responds to a preflight request.
pub(super) fn preflight(context: &RequestContext<'_>) -> Result<Response<EmulatorBody>, OssError> {
    let rules = &context.bucket.cors;
    let mut response = response::empty(StatusCode::OK);
    *response.headers_mut() = cors::preflight(rules, context.headers())?;
    Ok(response)
}

/// `PutBucketCors`: replaces all rules of the bucket.
pub(super) async fn put(context: &RequestContext<'_>) -> Result<Response<EmulatorBody>, OssError> {
    let document = context
        .read_document(MAX_DOCUMENT, errors::MALFORMED_XML)
        .await?;
    let configuration: CorsConfiguration = xml::parse(&document)?;
    if configuration.rules.is_empty() {
        return Err(errors::MALFORMED_XML);
    }
    if configuration.rules.len() > MAX_RULES {
        return Err(errors::CORS_RULES);
    }
    let rules = configuration.rules.iter().map(RuleDocument::to_rule);
    let rules = rules.collect::<Result<Vec<_>, _>>()?;
    let rules = CorsRules {
        rules,
        response_vary: configuration.response_vary,
    };
    set(context, rules).await?;
    Ok(response::empty(StatusCode::OK))
}

/// `GetBucketCors`: returns the rules of the bucket, which may be those of the builder.
pub(super) fn get(context: &RequestContext<'_>) -> Result<Response<EmulatorBody>, OssError> {
    let cors = &context.bucket.cors;
    if cors.rules.is_empty() {
        let bucket = context.bucket.name.as_str();
        return Err(errors::NO_CORS.argument("BucketName", bucket));
    }
    let document = CorsConfiguration {
        rules: cors.rules.iter().map(RuleDocument::of).collect(),
        response_vary: cors.response_vary,
    };
    xml::response("CORSConfiguration", &document)
}

/// `DeleteBucketCors`: removes all rules of the bucket.
pub(super) async fn delete(
    context: &RequestContext<'_>,
) -> Result<Response<EmulatorBody>, OssError> {
    set(context, CorsRules::default()).await?;
    Ok(response::empty(StatusCode::NO_CONTENT))
}

async fn set(context: &RequestContext<'_>, rules: CorsRules) -> Result<(), OssError> {
    context
        .change_bucket(move |bucket| bucket.set_cors(rules))
        .await
}

impl RuleDocument {
    fn to_rule(&self) -> Result<CorsRule, OssError> {
        if self.allowed_origin.is_empty() || self.allowed_method.is_empty() {
            return Err(errors::MALFORMED_XML);
        }
        // OSS allows one `*` per origin and header.
        let mut patterns = self.allowed_origin.iter().chain(&self.allowed_header);
        if patterns.any(|text| text.matches('*').count() > 1) {
            return Err(errors::MALFORMED_XML);
        }
        let mut rule = CorsRule::new();
        for origin in &self.allowed_origin {
            rule = rule.allow_origin(origin);
        }
        for method in &self.allowed_method {
            let method = method.parse::<Method>();
            let method = method.map_err(|_| errors::MALFORMED_XML)?;
            let known = [
                Method::GET,
                Method::PUT,
                Method::POST,
                Method::DELETE,
                Method::HEAD,
            ];
            if !known.contains(&method) {
                return Err(errors::MALFORMED_XML);
            }
            rule = rule.allow_method(method);
        }
        for header in &self.allowed_header {
            // The tests of the SDK for Python of version 2 show that OSS changes the case.
            rule = rule.allow_header(&header.to_ascii_lowercase());
        }
        for header in &self.expose_header {
            rule = rule.expose_header(header);
        }
        if let Some(age_given) = self.max_age_seconds {
            let age = u32::try_from(age_given).ok().filter(|age| *age <= MAX_AGE);
            let age = age.ok_or_else(|| {
                let given = age_given.to_string();
                errors::CORS_MAX_AGE.argument("MaxAgeSeconds", given)
            })?;
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
                .map(|age| i64::try_from(age.as_secs()).unwrap_or(i64::MAX)),
        }
    }
}
