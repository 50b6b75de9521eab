//! Which pages may talk to a bucket.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, header};

use crate::{catalogue, error::OssError};

/// A rule of CORS, as `PutBucketCors` sets them: the first that fits a request counts.
///
/// An origin or a header may hold one `*`, which stands for anything. Names of headers are compared without regard to
/// case.
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
#[must_use = "a rule does nothing until a bucket has it"]
pub struct CorsRule {
    pub(crate) origins: Vec<Box<str>>,
    pub(crate) methods: Vec<Method>,
    pub(crate) headers: Vec<Box<str>>,
    pub(crate) exposed: Vec<Box<str>>,
    pub(crate) max_age: Option<Duration>,
}

impl CorsRule {
    /// A rule that fits nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Every page may upload and read, and sees `ETag`, `x-oss-request-id` and `x-oss-hash-crc64ecma`: for development.
    pub fn any_origin() -> Self {
        let rule = Self::new().allow_origin("*").allow_header("*");
        [Method::GET, Method::HEAD, Method::POST]
            .into_iter()
            .fold(rule, Self::allow_method)
            .expose_header("ETag")
            .expose_header("x-oss-request-id")
            .expose_header("x-oss-hash-crc64ecma")
    }

    /// Adds an origin, such as `http://127.0.0.1:8080`.
    pub fn allow_origin(mut self, origin: &str) -> Self {
        self.origins.push(origin.into());
        self
    }

    /// Adds a method.
    pub fn allow_method(mut self, method: Method) -> Self {
        self.methods.push(method);
        self
    }

    /// Adds a header that a page may send.
    pub fn allow_header(mut self, header: &str) -> Self {
        self.headers.push(header.into());
        self
    }

    /// Adds a header that a page may see.
    pub fn expose_header(mut self, header: &str) -> Self {
        self.exposed.push(header.into());
        self
    }

    /// How long a browser may remember the answer, in whole seconds.
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age);
        self
    }

    fn fits(&self, origin: &str, method: &str, headers: &[&str]) -> bool {
        self.origins.iter().any(|rule| matches(rule, origin))
            && self.methods.iter().any(|rule| rule.as_str() == method)
            && headers.iter().all(|header| {
                let header = header.to_ascii_lowercase();
                let mut rules = self.headers.iter();
                rules.any(|rule| matches(&rule.to_ascii_lowercase(), &header))
            })
    }

    /// What a page needs to read an answer.
    fn simple(&self, origin: &HeaderValue) -> HeaderMap {
        let mut answer = HeaderMap::new();
        answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        answer.insert(header::VARY, HeaderValue::from_static("Origin"));
        let methods = self.methods.iter().map(Method::as_str);
        insert(&mut answer, header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        let exposed = self.exposed.iter().map(|name| &**name);
        insert(&mut answer, header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        if let Some(age) = self.max_age {
            answer.insert(header::ACCESS_CONTROL_MAX_AGE, age.as_secs().into());
        }
        answer
    }
}

fn insert<'a>(
    answer: &mut HeaderMap,
    name: http::HeaderName,
    values: impl Iterator<Item = &'a str>,
) {
    let list = values.collect::<Vec<_>>().join(", ");
    if let Ok(value) = list.parse::<HeaderValue>()
        && !value.is_empty()
    {
        answer.insert(name, value);
    }
}

/// Whether a text is what a rule says, in which one `*` stands for anything.
fn matches(rule: &str, text: &str) -> bool {
    match rule.split_once('*') {
        None => rule == text,
        Some((before, after)) => {
            text.len() >= before.len() + after.len()
                && text.starts_with(before)
                && text.ends_with(after)
        }
    }
}

/// The headers of the answer to `OPTIONS`.
pub(crate) fn preflight(rules: &[CorsRule], request: &HeaderMap) -> Result<HeaderMap, OssError> {
    let text = |name| request.get(name).and_then(|value| value.to_str().ok());
    let origin = request
        .get(header::ORIGIN)
        .ok_or(catalogue::CORS_NO_ORIGIN)?;
    let method = text(header::ACCESS_CONTROL_REQUEST_METHOD).ok_or(catalogue::CORS_NO_METHOD)?;
    if rules.is_empty() {
        return Err(catalogue::CORS_DISABLED);
    }
    let asked = text(header::ACCESS_CONTROL_REQUEST_HEADERS).unwrap_or_default();
    let headers: Vec<_> = asked
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect();
    let origin_text = origin.to_str().map_err(|_| catalogue::CORS_REFUSED)?;
    let rule = rules
        .iter()
        .find(|rule| rule.fits(origin_text, method, &headers))
        .ok_or(catalogue::CORS_REFUSED)?;
    let mut answer = rule.simple(origin);
    insert(
        &mut answer,
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        headers.into_iter(),
    );
    Ok(answer)
}

/// The headers of any other answer; none when no rule fits, and the request is processed all the same.
pub(crate) fn simple(rules: &[CorsRule], method: &Method, request: &HeaderMap) -> HeaderMap {
    let Some(origin) = request.get(header::ORIGIN) else {
        return HeaderMap::new();
    };
    let text = origin.to_str().unwrap_or_default();
    let rule = rules
        .iter()
        .find(|rule| rule.fits(text, method.as_str(), &[]));
    rule.map_or_else(HeaderMap::new, |rule| rule.simple(origin))
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
            assert_eq!(matches(rule, text), fits, "{rule} {text}");
        }
    }
}
