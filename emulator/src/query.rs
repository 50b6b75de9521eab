//! The query of a request.

use form_urlencoded::parse;
use http::Uri;

/// Names and values, decoded, in their order.
///
/// A plus sign is a space: that is how the HTTP client under Python's `oss2` sends what it has signed as `%20`.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn of(uri: &Uri) -> Self {
        let query = uri.query().unwrap_or_default();
        Self(parse(query.as_bytes()).into_owned().collect())
    }

    /// The first value of a parameter; names are compared with regard to case.
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
