//! Hotlink protection: which pages may link to the objects of a bucket.
//!
//! Sources: [PutBucketReferer], the page about hotlink protection, the pages of the EC, and the
//! tests of the SDKs, which agree that `AllowTruncateQueryString` defaults to true.
//!
//! [PutBucketReferer]: https://www.alibabacloud.com/help/en/oss/developer-reference/putbucketreferer

use serde::{Deserialize, Serialize};

use crate::errors::{self, OssError};

/// The settings of a bucket. By default every page may link.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct RefererRules {
    pub(crate) allow_empty: bool,
    pub(crate) truncate_query: bool,
    pub(crate) truncate_path: bool,
    /// Patterns. Without any, every page may link that is not denied.
    pub(crate) allowed: Vec<String>,
    pub(crate) denied: Vec<String>,
}

impl Default for RefererRules {
    fn default() -> Self {
        Self {
            allow_empty: true,
            truncate_query: true,
            truncate_path: false,
            allowed: Vec::new(),
            denied: Vec::new(),
        }
    }
}

impl RefererRules {
    /// Checks the header `Referer` of a request that has no `Authorization`.
    pub(crate) fn check(&self, referer: Option<&str>) -> Result<(), OssError> {
        let Some(referer) = referer.filter(|referer| !referer.is_empty()) else {
            return match self.allow_empty || self.allowed.is_empty() {
                true => Ok(()),
                false => Err(errors::REFERER_EMPTY),
            };
        };
        let referer = self.truncated(referer);
        let is_one_of = |patterns: &[String]| {
            let mut patterns = patterns.iter();
            patterns.any(|pattern| matches_start(pattern, referer))
        };
        if is_one_of(&self.denied) {
            return Err(errors::REFERER_DENIED);
        }
        match self.allowed.is_empty() || is_one_of(&self.allowed) {
            true => Ok(()),
            false => Err(errors::REFERER_NOT_ALLOWED),
        }
    }

    /// Removes the parts of a URL that are not compared.
    fn truncated<'a>(&self, referer: &'a str) -> &'a str {
        let host = referer.find("://").map_or(0, |scheme| scheme + "://".len());
        let end = |marks: &[char]| referer[host..].find(marks).map(|end| host + end);
        let end = match (self.truncate_path, self.truncate_query) {
            (true, _) => end(&['/', '?']),
            (false, true) => end(&['?']),
            (false, false) => None,
        };
        end.map_or(referer, |end| &referer[..end])
    }
}

/// Whether `pattern` matches `text` or a start of it. `*` matches any text, and `?` any
/// character.
fn matches_start(pattern: &str, text: &str) -> bool {
    let pattern: Vec<_> = pattern.chars().collect();
    let text: Vec<_> = text.chars().collect();
    let (mut at, mut from) = (0, 0);
    // Where to continue behind the last `*`, if it is to match one character more.
    let mut retry = None;
    loop {
        match (pattern.get(at), text.get(from)) {
            // The rest of the text does not matter.
            (None, _) => return true,
            (Some('*'), _) => {
                at += 1;
                retry = Some((at, from + 1));
            }
            (Some(expected), Some(found)) if *expected == '?' || expected == found => {
                at += 1;
                from += 1;
            }
            (Some(_), _) => match retry {
                Some((behind, next)) if next <= text.len() => {
                    (at, from) = (behind, next);
                    retry = Some((behind, next + 1));
                }
                _ => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("http://a.com", "http://a.com", true),
            ("http://a.com", "http://a.com/123", true),
            ("http://a.com", "http://a.com.cn", true),
            ("http://a.com", "https://a.com", false),
            ("http://a.com/", "http://a.com", false),
            ("*a.com/", "https://a.com/", true),
            ("http://*.a.com", "http://www.help.a.com", true),
            ("http://*.a.com", "http://a.com", false),
            ("http://*.a.com/x", "http://b.a.com/y?c=d.a.com/x", true),
            ("http://a?.com", "http://ab.com", true),
            ("http://a?.com", "http://a.com", false),
            ("*", "", true),
            ("?", "", false),
            ("中?", "中文", true),
            ("**b*", "aab", true),
            ("*c", "aab", false),
        ] {
            assert_eq!(matches_start(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn parts_that_are_not_compared() {
        for (truncate_path, truncate_query, text, expected) in [
            (false, false, "http://a.com/b?c", "http://a.com/b?c"),
            (false, true, "http://a.com/b?c", "http://a.com/b"),
            (true, true, "http://a.com/b?c", "http://a.com"),
            (true, true, "http://a.com", "http://a.com"),
            (true, true, "a.com/b", "a.com"),
            (true, false, "http://a.com?c", "http://a.com"),
        ] {
            let rules = RefererRules {
                truncate_path,
                truncate_query,
                ..RefererRules::default()
            };
            assert_eq!(rules.truncated(text), expected, "{text}");
        }
    }
}
