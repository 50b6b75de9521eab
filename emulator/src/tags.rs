//! Tags of objects and buckets: their XML document, the header `x-oss-tagging`, and their limits.
//!
//! Sources: [PutObjectTagging], [PutBucketTags], and the pages about EC [0010-00000219] and
//! 0010-00000210.
//!
//! [PutObjectTagging]: https://www.alibabacloud.com/help/en/oss/developer-reference/putobjecttagging
//! [PutBucketTags]: https://www.alibabacloud.com/help/en/oss/developer-reference/putbuckettags
//! [0010-00000219]: https://www.alibabacloud.com/help/en/oss/user-guide/0010-00000219

use std::collections::HashSet;

use http::Response;
use serde::{Deserialize, Serialize};

use crate::{
    body::EmulatorBody,
    errors::{self, OssError},
    xml,
};

/// The largest document, in bytes: room for 20 tags, escaped.
pub(crate) const MAX_DOCUMENT: usize = 64 * 1024;

/// A tag: a name and a value.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Tag {
    pub(crate) key: String,
    #[serde(default)]
    pub(crate) value: String,
}

/// The document of tags, which is also an element of other documents.
#[derive(Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Tagging {
    tag_set: TagSet,
}

#[derive(Default, Deserialize, Serialize)]
struct TagSet {
    #[serde(rename = "Tag", default)]
    tags: Vec<Tag>,
}

/// What has the tags. The limits differ.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Tagged {
    Object,
    Bucket,
}

/// Parses the document of `PutObjectTagging` and `PutBucketTags`.
pub(crate) fn parse(document: &[u8], tagged: Tagged) -> Result<Vec<Tag>, OssError> {
    let tagging: Tagging = xml::parse(document)?;
    check(tagging.tag_set.tags, tagged)
}

/// Parses the header `x-oss-tagging`: `key=value` pairs, joined by `&` and percent-encoded.
pub(crate) fn of_header(text: &str, tagged: Tagged) -> Result<Vec<Tag>, OssError> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    let mut tags = Vec::new();
    for pair in pairs {
        if pair.matches('=').count() > 1 {
            return Err(errors::TAGS_HEADER);
        }
        let parsed = form_urlencoded::parse(pair.as_bytes()).into_owned();
        tags.extend(parsed.map(|(key, value)| Tag { key, value }));
    }
    check(tags, tagged)
}

/// The response of `GetObjectTagging` and `GetBucketTags`.
pub(crate) fn response(tags: &[Tag]) -> Result<Response<EmulatorBody>, OssError> {
    xml::response("Tagging", &Tagging::of(tags))
}

impl Tagging {
    pub(crate) fn of(tags: &[Tag]) -> Self {
        Self {
            tag_set: TagSet {
                tags: tags.to_vec(),
            },
        }
    }
}

fn check(tags: Vec<Tag>, tagged: Tagged) -> Result<Vec<Tag>, OssError> {
    let (most, key_length, value_length) = match tagged {
        Tagged::Object => (10, 128, 256),
        Tagged::Bucket => (20, 64, 128),
    };
    if tags.len() > most {
        return Err(errors::TAGS_MANY);
    }
    let mut keys = HashSet::new();
    for Tag { key, value } in &tags {
        let is_long = key.chars().count() > key_length || value.chars().count() > value_length;
        let is_legal = match tagged {
            Tagged::Object => key.chars().chain(value.chars()).all(is_object_character),
            Tagged::Bucket => true,
        };
        if key.is_empty() || is_long || !is_legal {
            return Err(errors::TAG);
        }
        if tagged == Tagged::Bucket && is_reserved(key) {
            return Err(errors::TAG_PREFIX);
        }
        if !keys.insert(key) {
            return Err(errors::TAGS_DUPLICATE);
        }
    }
    Ok(tags)
}

fn is_object_character(character: char) -> bool {
    character.is_alphanumeric() || " +-=._:/".contains(character)
}

/// Whether a tag of a bucket must not have this name.
fn is_reserved(key: &str) -> bool {
    let key = key.to_lowercase();
    ["http://", "https://", "aliyun", "acs:"]
        .iter()
        .any(|prefix| key.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        let tags = of_header(text, Tagged::Object).unwrap();
        tags.into_iter().map(|tag| (tag.key, tag.value)).collect()
    }

    #[test]
    fn headers() {
        let owned = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(pairs(""), []);
        assert_eq!(
            pairs("a=b&c&d="),
            [owned("a", "b"), owned("c", ""), owned("d", "")]
        );
        assert_eq!(
            pairs("+%2B/+=%E4%B8%AD&%3D=%3A"),
            [owned(" +/ ", "中"), owned("=", ":")]
        );
        for (text, ec) in [
            ("aa=bb=cc", "0010-00000219"),
            ("a=1&a=2", "0010-00000210"),
            ("=1", "0010-00000219"),
            ("a=%26", "0010-00000219"),
        ] {
            let error = of_header(text, Tagged::Object).unwrap_err();
            assert_eq!(error.ec(), Some(ec), "{text}");
        }
    }

    #[test]
    fn limits() {
        let tag = |key: usize, value: usize| format!("{}={}", "k".repeat(key), "v".repeat(value));
        for (tagged, most, key, value) in [
            (Tagged::Object, 10, 128, 256),
            (Tagged::Bucket, 20, 64, 128),
        ] {
            assert!(of_header(&tag(key, value), tagged).is_ok());
            assert!(of_header(&tag(key + 1, value), tagged).is_err());
            assert!(of_header(&tag(key, value + 1), tagged).is_err());
            let many = |count: usize| {
                let tags: Vec<_> = (0..count).map(|at| format!("{at}=x")).collect();
                of_header(&tags.join("&"), tagged)
            };
            assert_eq!(many(most).unwrap().len(), most);
            assert_eq!(many(most + 1).unwrap_err().code(), "InvalidTag");
        }
        for key in ["Aliyun-a", "http://a", "HTTPS://a", "acs:a"] {
            let error = of_header(key, Tagged::Bucket).unwrap_err();
            assert_eq!(error.ec(), Some("0010-00000207"), "{key}");
        }
        assert!(of_header("%25@abc=%2B%2B123%25", Tagged::Bucket).is_ok());
    }
}
