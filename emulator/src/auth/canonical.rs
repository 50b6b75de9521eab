//! The parts of a string to sign that versions 2 and 4 share.

use http::HeaderName;
use percent_encoding::utf8_percent_encode;

use crate::{
    context::ServiceContext,
    encoding::COMPONENT,
    errors::{self, OssError},
};

/// Returns all parameters but the signature, as `name=value&name`, sorted.
pub(super) fn query(context: &ServiceContext<'_>) -> String {
    let mut parameters: Vec<_> = context
        .query
        .iter()
        .filter(|(name, _)| *name != "x-oss-signature")
        .map(|(name, value)| (encode(name), encode(value)))
        .collect();
    // By the encoded names, not the decoded ones.
    parameters.sort_unstable();
    let parameters: Vec<_> = parameters
        .into_iter()
        .map(|(name, value)| match &*value {
            "" => name,
            value => format!("{name}={value}"),
        })
        .collect();
    parameters.join("&")
}

/// Returns a line `name:value` for each header that is signed: `x-oss-*`, those in `always`, and
/// those in `additional`, which are separated by `;`.
///
/// # Errors
///
/// Fails if the request lacks an additional header. The signature would not match either.
pub(super) fn headers(
    context: &ServiceContext<'_>,
    always: &[&str],
    additional: &str,
) -> Result<String, OssError> {
    let named: Vec<_> = additional.split(';').filter(|n| !n.is_empty()).collect();
    let headers = context.headers();
    if named.iter().any(|name| !headers.contains_key(*name)) {
        return Err(errors::AUTHORIZATION);
    }
    let mut names: Vec<_> = headers
        .keys()
        .map(HeaderName::as_str)
        .filter(|name| always.contains(name) || name.starts_with("x-oss-") || named.contains(name))
        .collect();
    names.sort_unstable();
    let mut lines = String::new();
    for name in names {
        let value = context.header(name).unwrap_or_default();
        lines.extend([name, ":", value.trim(), "\n"]);
    }
    Ok(lines)
}

pub(super) fn encode(text: &str) -> String {
    utf8_percent_encode(text, COMPONENT).to_string()
}
