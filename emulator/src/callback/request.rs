//! Where a request that is no form says what is to be called.

use http::HeaderMap;

use super::{network::CallbackNetwork, parameters};
use crate::{
    callback::Directive,
    catalogue::{CALLBACK_TWICE, CALLBACK_VAR_TWICE},
    error::OssError,
    query::Query,
};

/// The callback that the headers or the query ask for, never both.
pub(crate) async fn of_request(
    headers: &HeaderMap,
    query: &Query,
    network: &dyn CallbackNetwork,
    allow_private: bool,
) -> Result<Option<Directive>, OssError> {
    let callback = one(headers, query, "x-oss-callback", "callback", CALLBACK_TWICE)?;
    let variables = one(
        headers,
        query,
        "x-oss-callback-var",
        "callback-var",
        CALLBACK_VAR_TWICE,
    )?;
    let variables = variables.map(parameters::variables).transpose()?;
    let Some(callback) = callback else {
        return Ok(None);
    };
    let mut directive = Directive::parse(callback, network, allow_private).await?;
    directive.variables = variables.unwrap_or_default();
    Ok(Some(directive))
}

fn one<'a>(
    headers: &'a HeaderMap,
    query: &'a Query,
    header: &str,
    parameter: &str,
    both: OssError,
) -> Result<Option<&'a str>, OssError> {
    let header = headers.get(header);
    // What is no text is no Base64 either.
    let header = header.map(|value| value.to_str().unwrap_or("?"));
    match (header, query.get(parameter)) {
        (Some(_), Some(_)) => Err(both),
        (header, parameter) => Ok(header.or(parameter)),
    }
}
