//! The query parameters of a request.

use form_urlencoded::parse;
use http::Uri;

/// Decoded parameters, in the order of the request.
///
/// `+` decodes to a space: Python's `oss2` signs a space as `%20`, and its HTTP client sends `+`.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn of(uri: &Uri) -> Self {
        let query = uri.query().unwrap_or_default();
        Self(parse(query.as_bytes()).into_owned().collect())
    }

    /// Returns the first value of a parameter. Names are case-sensitive.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }
}
