//! Conditions on an object: `If-Match` and the like of a read, and `x-oss-copy-source-if-match` and
//! the like of a copy.
//!
//! Statuses: [GetObject] and [CopyObject]. The reference does not say how several conditions
//! combine; this is the order of RFC 9110 section 13.2.2.
//!
//! [GetObject]: https://www.alibabacloud.com/help/en/oss/developer-reference/getobject
//! [CopyObject]: https://www.alibabacloud.com/help/en/oss/developer-reference/copyobject

use std::time::SystemTime;

use http::HeaderMap;
use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};

use crate::errors::{self, OssError};

/// What the conditions of a request say about an object.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    Met,
    /// The response is 304 without a body.
    NotModified,
}

/// The conditions of a request.
#[derive(Debug, Default)]
pub(super) struct Conditions<'a> {
    if_match: Option<&'a str>,
    if_none_match: Option<&'a str>,
    if_modified_since: Option<Timestamp>,
    if_unmodified_since: Option<Timestamp>,
}

impl<'a> Conditions<'a> {
    /// Reads the conditions on the object that the request reads.
    pub(super) fn of_read(headers: &'a HeaderMap) -> Self {
        Self::with_prefix(headers, "")
    }

    /// Reads the conditions on the source of a copy. The unprefixed headers have no meaning there:
    /// `ali-oss` sends both.
    pub(super) fn of_copy(headers: &'a HeaderMap) -> Self {
        Self::with_prefix(headers, "x-oss-copy-source-")
    }

    fn with_prefix(headers: &'a HeaderMap, prefix: &str) -> Self {
        let get = |name| headers.get(format!("{prefix}{name}"))?.to_str().ok();
        Self {
            if_match: get("if-match"),
            if_none_match: get("if-none-match"),
            // What is not a date is ignored (RFC 9110 section 13.1.3).
            if_modified_since: get("if-modified-since").and_then(date),
            if_unmodified_since: get("if-unmodified-since").and_then(date),
        }
    }

    /// Checks the conditions against an object with this ETag, without quotes.
    ///
    /// # Errors
    ///
    /// Fails with `PreconditionFailed`, which names the condition.
    pub(super) fn check(&self, etag: &str, modified: SystemTime) -> Result<Verdict, OssError> {
        // Dates of headers have whole seconds.
        let modified = Timestamp::try_from(modified).map_err(|_| errors::INTERNAL)?;
        let modified = modified.as_second();
        let failed = |condition: &'static str| {
            Err(errors::PRECONDITION_FAILED.detail("Condition", condition))
        };
        match (self.if_match, self.if_unmodified_since) {
            (Some(tags), _) if !matches(tags, etag) => return failed("If-Match"),
            (None, Some(at)) if modified > at.as_second() => {
                return failed("If-Unmodified-Since");
            }
            _ => {}
        }
        let unchanged = match (self.if_none_match, self.if_modified_since) {
            (Some(tags), _) => matches(tags, etag),
            (None, Some(at)) => modified <= at.as_second(),
            (None, None) => false,
        };
        Ok(match unchanged {
            true => Verdict::NotModified,
            false => Verdict::Met,
        })
    }
}

/// Whether a list of ETags contains this one. The SDKs send them with and without quotes.
fn matches(tags: &str, etag: &str) -> bool {
    tags.split(',').map(str::trim).any(|tag| {
        let tag = tag.strip_prefix("W/").unwrap_or(tag);
        tag == "*" || tag.trim_matches('"').eq_ignore_ascii_case(etag)
    })
}

/// Parses a date of RFC 9110, or one of ISO 8601, which the reference of `CopyObject` shows.
fn date(text: &str) -> Option<Timestamp> {
    // A wrong day of the week is no reason to ignore a condition.
    let rfc = DateTimeParser::new().relaxed_weekday(true);
    let rfc = rfc.parse_timestamp(text).ok();
    rfc.or_else(|| text.parse().ok())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ETAG: &str = "5D41402ABC4B2A76B9719D911017C592";
    const BEFORE: &str = "Sun, 03 Dec 2023 12:12:11 GMT";
    const SAME: &str = "Sun, 03 Dec 2023 12:12:12 GMT";
    const AFTER: &str = "Sun, 03 Dec 2023 12:12:13 GMT";

    fn check(prefix: &str, given: &[(&str, &str)]) -> Result<Verdict, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            let name: http::HeaderName = format!("{prefix}{name}").parse().unwrap();
            headers.insert(name, value.parse().unwrap());
        }
        let conditions = match prefix {
            "" => Conditions::of_read(&headers),
            _ => Conditions::of_copy(&headers),
        };
        // The object changed within the second of `SAME`.
        let modified = SystemTime::UNIX_EPOCH + Duration::from_millis(1_701_605_532_600);
        conditions.check(ETAG, modified).map_err(|error| {
            assert_eq!(error.status(), 412);
            error.details().next().unwrap().1.to_owned()
        })
    }

    #[test]
    fn each_condition_and_their_order() {
        let quoted = format!("\"{ETAG}\"");
        let list = format!("\"A\", W/\"{}\"", ETAG.to_lowercase());
        let failed = |condition: &str| Err(condition.to_owned());
        for prefix in ["", "x-oss-copy-source-"] {
            for (given, expected) in [
                (vec![], Ok(Verdict::Met)),
                (vec![("if-match", ETAG)], Ok(Verdict::Met)),
                (vec![("if-match", &*quoted)], Ok(Verdict::Met)),
                (vec![("if-match", &*list)], Ok(Verdict::Met)),
                (vec![("if-match", "*")], Ok(Verdict::Met)),
                (vec![("if-match", "foo-bar")], failed("If-Match")),
                (vec![("if-none-match", &*quoted)], Ok(Verdict::NotModified)),
                (vec![("if-none-match", "*")], Ok(Verdict::NotModified)),
                (vec![("if-none-match", "foo-bar")], Ok(Verdict::Met)),
                (vec![("if-modified-since", BEFORE)], Ok(Verdict::Met)),
                (vec![("if-modified-since", SAME)], Ok(Verdict::NotModified)),
                (vec![("if-modified-since", AFTER)], Ok(Verdict::NotModified)),
                (vec![("if-modified-since", "soon")], Ok(Verdict::Met)),
                (
                    vec![("if-modified-since", "Mon, 03 Dec 2023 12:12:12 GMT")],
                    Ok(Verdict::NotModified),
                ),
                (
                    vec![("if-modified-since", "2023-12-03T12:12:12.000Z")],
                    Ok(Verdict::NotModified),
                ),
                (
                    vec![("if-unmodified-since", BEFORE)],
                    failed("If-Unmodified-Since"),
                ),
                (vec![("if-unmodified-since", SAME)], Ok(Verdict::Met)),
                (vec![("if-unmodified-since", AFTER)], Ok(Verdict::Met)),
                // An ETag is exact, so the date beside it is not looked at.
                (
                    vec![("if-match", ETAG), ("if-unmodified-since", BEFORE)],
                    Ok(Verdict::Met),
                ),
                (
                    vec![("if-none-match", "foo-bar"), ("if-modified-since", AFTER)],
                    Ok(Verdict::Met),
                ),
                // 412 before 304.
                (
                    vec![("if-match", "foo-bar"), ("if-none-match", ETAG)],
                    failed("If-Match"),
                ),
                (
                    vec![
                        ("if-unmodified-since", BEFORE),
                        ("if-modified-since", AFTER),
                    ],
                    failed("If-Unmodified-Since"),
                ),
            ] {
                assert_eq!(check(prefix, &given), expected, "{prefix} {given:?}");
            }
        }
    }
}
