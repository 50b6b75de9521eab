//! `PutBucketReferer` and `GetBucketReferer`.

use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};

use crate::{
    body::EmulatorBody,
    context::RequestContext,
    errors::{self, OssError},
    referer::RefererRules,
    response, xml,
};

/// The largest document, in bytes. OSS allows 20 KB of patterns.
const MAX_DOCUMENT: usize = 20 * 1024;

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct RefererConfiguration {
    allow_empty_referer: Option<bool>,
    allow_truncate_query_string: Option<bool>,
    truncate_path: Option<bool>,
    #[serde(default)]
    referer_list: Referers,
    #[serde(default, skip_serializing_if = "Referers::is_empty")]
    referer_blacklist: Referers,
}

#[derive(Default, Deserialize, Serialize)]
struct Referers {
    #[serde(rename = "Referer", default)]
    patterns: Vec<String>,
}

impl Referers {
    fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Some SDKs send an empty pattern for an empty list.
    fn filled(self) -> Vec<String> {
        let patterns = self.patterns.into_iter();
        patterns.filter(|pattern| !pattern.is_empty()).collect()
    }
}

/// `PutBucketReferer`: replaces all settings.
pub(super) async fn put(context: &RequestContext<'_>) -> Result<Response<EmulatorBody>, OssError> {
    let document = context
        .read_document(MAX_DOCUMENT, errors::MALFORMED_XML)
        .await?;
    let configuration: RefererConfiguration = xml::parse(&document)?;
    let allow_empty = configuration.allow_empty_referer;
    let rules = RefererRules {
        allow_empty: allow_empty.ok_or(errors::REFERER_NO_EMPTY)?,
        truncate_query: configuration.allow_truncate_query_string.unwrap_or(true),
        truncate_path: configuration.truncate_path.unwrap_or(false),
        allowed: configuration.referer_list.filled(),
        denied: configuration.referer_blacklist.filled(),
    };
    context
        .change_bucket(move |bucket| bucket.referer = rules)
        .await?;
    Ok(response::empty(StatusCode::OK))
}

/// `GetBucketReferer`: returns the settings, which allow everything unless a request has changed
/// them.
pub(super) fn get(context: &RequestContext<'_>) -> Result<Response<EmulatorBody>, OssError> {
    let rules = &context.bucket.referer;
    let referers = |patterns: &[String]| Referers {
        patterns: patterns.to_vec(),
    };
    let configuration = RefererConfiguration {
        allow_empty_referer: Some(rules.allow_empty),
        allow_truncate_query_string: Some(rules.truncate_query),
        truncate_path: Some(rules.truncate_path),
        referer_list: referers(&rules.allowed),
        referer_blacklist: referers(&rules.denied),
    };
    xml::response("RefererConfiguration", &configuration)
}
