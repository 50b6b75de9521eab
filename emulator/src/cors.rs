//! CORS: the rules of a bucket, and how they match a request.
//!
//! The rules come from the builder, or from `PutBucketCors` in `ops/bucket_cors.rs`.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, header};

use crate::errors::{self, OssError};

/// The most rules that OSS accepts for one bucket.
pub(crate) const MAX_RULES: usize = 10;

/// The CORS configuration of a bucket.
#[derive(Debug, Default)]
pub(crate) struct CorsRules {
    pub(crate) rules: Vec<CorsRule>,
    /// Whether every response carries `Vary: Origin`: `ResponseVary`.
    pub(crate) response_vary: bool,
}

/// A CORS rule of a bucket, as `PutBucketCors` sets them. The first rule that matches a request
/// applies.
///
/// An origin or a header may contain one `*`, which matches any text. Header names are compared
/// case-insensitively.
///
/// ```
/// use std::time::Duration;
/// use aliyun_oss_emulator::CorsRule;
///
/// let rule = CorsRule::new()
///     .allow_origin("http://localhost:*")
///     .allow_method(http::Method::POST)
///     .allow_header("x-requested-with")
///     .expose_header("ETag")
///     .max_age(Duration::from_secs(600));
/// # let _ = rule;
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a rule has no effect until it is added to a bucket"]
pub struct CorsRule {
    pub(crate) origins: Vec<Box<str>>,
    pub(crate) methods: Vec<Method>,
    pub(crate) headers: Vec<Box<str>>,
    pub(crate) exposed: Vec<Box<str>>,
    pub(crate) max_age: Option<Duration>,
}

impl CorsRule {
    /// Creates a rule that matches no request: add origins and methods to it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a rule for development: any page may upload by form and read, and sees `ETag`,
    /// `x-oss-request-id` and `x-oss-hash-crc64ecma`.
    pub fn any_origin() -> Self {
        [Method::GET, Method::HEAD, Method::POST]
            .into_iter()
            .fold(Self::any_header().allow_origin("*"), Self::allow_method)
    }

    /// Creates a rule without origins for everything that clients of OSS do.
    #[cfg(feature = "cli")]
    pub(crate) fn any_method() -> Self {
        [
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::DELETE,
        ]
        .into_iter()
        .fold(Self::any_header(), Self::allow_method)
    }

    fn any_header() -> Self {
        Self::new()
            .allow_header("*")
            .expose_header("ETag")
            .expose_header("x-oss-request-id")
            .expose_header("x-oss-hash-crc64ecma")
    }

    /// Adds an allowed origin, such as `http://127.0.0.1:8080`.
    pub fn allow_origin(mut self, origin: &str) -> Self {
        self.origins.push(origin.into());
        self
    }

    /// Adds an allowed method.
    pub fn allow_method(mut self, method: Method) -> Self {
        self.methods.push(method);
        self
    }

    /// Adds a request header that a page may send.
    pub fn allow_header(mut self, header: &str) -> Self {
        self.headers.push(header.into());
        self
    }

    /// Adds a response header that a page may read.
    pub fn expose_header(mut self, header: &str) -> Self {
        self.exposed.push(header.into());
        self
    }

    /// Sets how long a browser may cache the response to a preflight, in whole seconds.
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age);
        self
    }

    fn matches(&self, origin: &str, method: &str, headers: &[&str]) -> bool {
        self.origins
            .iter()
            .any(|rule| pattern_matches(rule, origin))
            && self.methods.iter().any(|rule| rule.as_str() == method)
            && headers.iter().all(|header| {
                let header = header.to_ascii_lowercase();
                let mut rules = self.headers.iter();
                rules.any(|rule| pattern_matches(&rule.to_ascii_lowercase(), &header))
            })
    }

    /// Returns the headers that let a page of this origin read a response.
    fn response_headers(&self, origin: &HeaderValue) -> HeaderMap {
        let mut response = HeaderMap::new();
        response.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        let methods = self.methods.iter().map(Method::as_str);
        insert_list(&mut response, header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        let exposed = self.exposed.iter().map(|name| &**name);
        insert_list(
            &mut response,
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            exposed,
        );
        if let Some(age) = self.max_age {
            response.insert(header::ACCESS_CONTROL_MAX_AGE, age.as_secs().into());
        }
        response
    }
}

/// Inserts a comma-separated list, unless it is empty.
fn insert_list<'a>(
    response: &mut HeaderMap,
    name: http::HeaderName,
    values: impl Iterator<Item = &'a str>,
) {
    let list = values.collect::<Vec<_>>().join(", ");
    if let Ok(value) = list.parse::<HeaderValue>()
        && !value.is_empty()
    {
        response.insert(name, value);
    }
}

/// Whether `text` matches `pattern`, in which the first `*` matches any text.
fn pattern_matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => {
            // Both ends must not overlap: `a*a` does not match `a`.
            text.len() >= before.len() + after.len()
                && text.starts_with(before)
                && text.ends_with(after)
        }
    }
}

/// Returns the headers of the response to a preflight request, or the error of OSS.
pub(crate) fn preflight(cors: &CorsRules, request: &HeaderMap) -> Result<HeaderMap, OssError> {
    let rules = &cors.rules;
    let text = |name| request.get(name).and_then(|value| value.to_str().ok());
    let origin = request.get(header::ORIGIN).ok_or(errors::CORS_NO_ORIGIN)?;
    let method = text(header::ACCESS_CONTROL_REQUEST_METHOD).ok_or(errors::CORS_NO_METHOD)?;
    if rules.is_empty() {
        return Err(errors::CORS_DISABLED);
    }
    let headers = text(header::ACCESS_CONTROL_REQUEST_HEADERS).unwrap_or_default();
    let headers: Vec<_> = headers
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect();
    let origin_text = origin.to_str().map_err(|_| errors::CORS_REFUSED)?;
    let rule = rules
        .iter()
        .find(|rule| rule.matches(origin_text, method, &headers))
        .ok_or(errors::CORS_REFUSED)?;
    let mut response = rule.response_headers(origin);
    let name = header::ACCESS_CONTROL_ALLOW_HEADERS;
    insert_list(&mut response, name, headers.into_iter());
    insert_vary(cors, &mut response);
    Ok(response)
}

/// Returns the CORS headers of any other response.
///
/// They contain no more than `Vary` if no rule matches. The request is processed in any case: it is
/// the browser that enforces CORS.
pub(crate) fn simple(cors: &CorsRules, method: &Method, request: &HeaderMap) -> HeaderMap {
    let mut response = HeaderMap::new();
    if let Some(origin) = request.get(header::ORIGIN) {
        let text = origin.to_str().unwrap_or_default();
        let mut rules = cors.rules.iter();
        let rule = rules.find(|rule| rule.matches(text, method.as_str(), &[]));
        if let Some(rule) = rule {
            response = rule.response_headers(origin);
        }
    }
    insert_vary(cors, &mut response);
    response
}

/// Refuses a request that changes something and comes from a page of an origin that no rule allows.
pub(crate) fn check_origin(
    cors: &CorsRules,
    method: &Method,
    request: &HeaderMap,
) -> Result<(), OssError> {
    let Some(origin) = request.get(header::ORIGIN) else {
        return Ok(());
    };
    let origin = origin.to_str().unwrap_or_default();
    let mut rules = cors.rules.iter();
    match method.is_safe() || rules.any(|rule| rule.matches(origin, method.as_str(), &[])) {
        true => Ok(()),
        false => Err(errors::CORS_REFUSED),
    }
}

/// The response depends on the origin, so a cache must not serve it to another. OSS says so for
/// every response, also to requests without an origin, but only if there are rules and
/// `ResponseVary` is true.
fn insert_vary(cors: &CorsRules, response: &mut HeaderMap) {
    if cors.response_vary && !cors.rules.is_empty() {
        response.insert(header::VARY, HeaderValue::from_static("Origin"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_star_stands_for_anything() {
        for (rule, text, fits) in [
            ("*", "http://a", true),
            ("http://*.a", "http://b.a", true),
            ("http://*.a", "http://.a", true),
            ("http://*.a", "http://b.c", false),
            ("http://a*a", "http://a", false),
            ("http://a", "http://a", true),
            ("http://a", "http://ab", false),
        ] {
            assert_eq!(pattern_matches(rule, text), fits, "{rule} {text}");
        }
    }
}
