//! The address of an upload: bucket, region and endpoint.

use std::{fmt, str::FromStr};

use http::Uri;

/// The name of a bucket: 3 to 63 lower-case letters, digits and hyphens, with a letter or digit at
/// both ends.
///
/// ```
/// use tower_aliyun_oss::protocol::Bucket;
///
/// let bucket: Bucket = "examplebucket".parse()?;
/// assert_eq!(bucket.as_str(), "examplebucket");
/// assert!("Example.Bucket".parse::<Bucket>().is_err());
/// # Ok::<(), tower_aliyun_oss::protocol::EndpointError>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Bucket(Box<str>);

impl Bucket {
    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Bucket {
    type Err = EndpointError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        if !(3..=63).contains(&name.len()) {
            return Err(EndpointError::BucketLength(name.len()));
        }
        if !is_hyphenated_label(name) {
            return Err(EndpointError::BucketCharacters);
        }
        Ok(Self(name.into()))
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A region as signatures spell it: `cn-hangzhou`, not `oss-cn-hangzhou`.
///
/// ```
/// use tower_aliyun_oss::protocol::Region;
///
/// let region: Region = "cn-hangzhou".parse()?;
/// assert_eq!(region.as_str(), "cn-hangzhou");
/// assert!("oss-cn-hangzhou".parse::<Region>().is_err());
/// # Ok::<(), tower_aliyun_oss::protocol::EndpointError>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Region(Box<str>);

impl Region {
    /// Returns the name of the region.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Region {
    type Err = EndpointError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        // A common mistake, and otherwise a valid label: OSS would reject every signature instead.
        if name.starts_with("oss-") {
            return Err(EndpointError::RegionPrefix);
        }
        if name.is_empty() || name.len() > 63 || !is_hyphenated_label(name) {
            return Err(EndpointError::RegionCharacters);
        }
        Ok(Self(name.into()))
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_hyphenated_label(name: &str) -> bool {
    let inner = name
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    inner && !name.starts_with('-') && !name.ends_with('-')
}

/// The host that serves a bucket.
///
/// The [`Region`] that requests are signed for is a separate setting, because neither can be
/// derived from the other: since 2025-03-20 new accounts reach mainland buckets only through a
/// custom domain, and the host names of internal and accelerate endpoints contain another region or
/// none ([endpoints]).
///
/// ```
/// use tower_aliyun_oss::protocol::{Bucket, Endpoint, Region};
///
/// let bucket: Bucket = "examplebucket".parse()?;
/// let region: Region = "cn-hangzhou".parse()?;
/// assert_eq!(
///     Endpoint::public(&region).upload_url(&bucket).as_str(),
///     "https://examplebucket.oss-cn-hangzhou.aliyuncs.com"
/// );
/// // A domain that is bound to the bucket is used exactly as written.
/// let custom = Endpoint::custom("https://img.example.com".parse()?);
/// assert_eq!(custom.upload_url(&bucket).as_str(), "https://img.example.com");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// [endpoints]: https://www.alibabacloud.com/help/doc-detail/31836.htm
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Endpoint(Repr);

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Repr {
    /// A host shared by all buckets; the bucket name becomes a subdomain of it.
    Shared(Box<str>),
    /// A URL that already identifies the bucket.
    Custom(UploadUrl),
}

impl Endpoint {
    /// Returns the public endpoint of a region: `https://BUCKET.oss-REGION.aliyuncs.com`.
    #[must_use]
    pub fn public(region: &Region) -> Self {
        Self(Repr::Shared(format!("oss-{region}.aliyuncs.com").into()))
    }

    /// Returns the endpoint for machines inside the region:
    /// `https://BUCKET.oss-REGION-internal.aliyuncs.com`.
    #[must_use]
    pub fn internal(region: &Region) -> Self {
        Self(Repr::Shared(
            format!("oss-{region}-internal.aliyuncs.com").into(),
        ))
    }

    /// Returns the endpoint of transfer acceleration: `https://BUCKET.oss-accelerate.aliyuncs.com`.
    #[must_use]
    pub fn accelerate() -> Self {
        Self(Repr::Shared("oss-accelerate.aliyuncs.com".into()))
    }

    /// Returns the endpoint of transfer acceleration for clients outside mainland China:
    /// `https://BUCKET.oss-accelerate-overseas.aliyuncs.com`.
    #[must_use]
    pub fn accelerate_overseas() -> Self {
        Self(Repr::Shared("oss-accelerate-overseas.aliyuncs.com".into()))
    }

    /// Returns the public endpoint of a region that serves IPv4 and IPv6:
    /// `https://BUCKET.REGION.oss.aliyuncs.com`. Not every region has one.
    ///
    /// Source: `endpoints.go` of the Go SDK V2.
    #[must_use]
    pub fn dual_stack(region: &Region) -> Self {
        Self(Repr::Shared(format!("{region}.oss.aliyuncs.com").into()))
    }

    /// Creates an endpoint from a URL that identifies the bucket by itself, such as a custom domain
    /// that is bound to it.
    #[must_use]
    pub fn custom(url: UploadUrl) -> Self {
        Self(Repr::Custom(url))
    }

    /// Returns whether the endpoint is a custom URL that starts with `http://`.
    #[cfg(feature = "storage")]
    pub(crate) fn is_plain_http(&self) -> bool {
        let is_http = |url: &str| {
            url.get(..5)
                .is_some_and(|scheme| scheme.eq_ignore_ascii_case("http:"))
        };
        matches!(&self.0, Repr::Custom(url) if is_http(url.as_str()))
    }

    /// Returns the URL that a form for `bucket` is posted to.
    #[must_use]
    pub fn upload_url(&self, bucket: &Bucket) -> UploadUrl {
        match &self.0 {
            Repr::Shared(host) => UploadUrl(format!("https://{bucket}.{host}").into()),
            Repr::Custom(url) => url.clone(),
        }
    }
}

/// The URL of one bucket, kept exactly as written: `http://bucket.endpoint`, a custom domain, or
/// the path-style address of a local store.
///
/// ```
/// use tower_aliyun_oss::protocol::UploadUrl;
///
/// let host: UploadUrl = "http://bucket-name.oss-cn-hangzhou.aliyuncs.com".parse()?;
/// assert_eq!(host.as_str(), "http://bucket-name.oss-cn-hangzhou.aliyuncs.com");
/// # Ok::<(), tower_aliyun_oss::protocol::EndpointError>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct UploadUrl(Box<str>);

impl UploadUrl {
    /// Returns the URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UploadUrl {
    type Err = EndpointError;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        let uri: Uri = url.parse().map_err(|_| EndpointError::NotAUrl)?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(EndpointError::Scheme);
        }
        // The token contains this URL, so a user name or password in it would reach every client.
        match uri.authority() {
            Some(authority)
                if !authority.as_str().contains('@') && !authority.host().is_empty() => {}
            _ => return Err(EndpointError::Host),
        }
        // `Uri` drops a fragment, so only the text shows whether there is one.
        if uri.query().is_some() || url.contains('#') {
            return Err(EndpointError::QueryOrFragment);
        }
        Ok(Self(url.into()))
    }
}

impl fmt::Display for UploadUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Error returned when a text is not a bucket name, a region or the URL of a bucket.
#[derive(Clone, Copy, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// The name of a [`Bucket`] is shorter than 3 or longer than 63 bytes. Holds the length found.
    #[error("a bucket name must have 3 to 63 characters, not {0}")]
    BucketLength(usize),
    /// The name of a [`Bucket`] contains a character other than `a-z`, `0-9` and `-`, or has a
    /// hyphen at one end.
    #[error(
        "a bucket name may contain only lower-case letters, digits and hyphens, and must not \
         start or end with a hyphen"
    )]
    BucketCharacters,
    /// The text of a [`Region`] starts with `oss-`, so it names an endpoint. The region is the part
    /// after it.
    #[error("a region is written without the \"oss-\" of its endpoint, for example cn-hangzhou")]
    RegionPrefix,
    /// The text of a [`Region`] is empty, longer than 63 bytes, or contains a character other than
    /// `a-z`, `0-9` and inner `-`.
    #[error(
        "a region must have 1 to 63 lower-case letters, digits and inner hyphens, for example \
         cn-hangzhou"
    )]
    RegionCharacters,
    /// The text of an [`UploadUrl`] is not a URL.
    #[error("the upload host is not a URL; write it as https://bucket.endpoint")]
    NotAUrl,
    /// The [`UploadUrl`] does not start with `http://` or `https://`.
    #[error("the upload host must start with http:// or https://")]
    Scheme,
    /// The [`UploadUrl`] has no host, or a user name before it.
    #[error("the upload host must contain a host and no user name")]
    Host,
    /// The [`UploadUrl`] has a query or a fragment, which the address of a form cannot have.
    #[error("the upload host must not have a query or a fragment")]
    QueryOrFragment,
}

crate::causes::debug_is_text!(EndpointError);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_names() {
        for good in ["abc", "a-b", "0bucket", &"a".repeat(63)] {
            assert_eq!(good.parse::<Bucket>().unwrap().to_string(), good);
        }
        for short_or_long in ["", "ab", &"a".repeat(64)] {
            assert_eq!(
                short_or_long.parse::<Bucket>(),
                Err(EndpointError::BucketLength(short_or_long.len()))
            );
        }
        for odd in ["-ab", "ab-", "a_b", "a.b", "Abc", "a b", "bücket", "a\nb"] {
            assert_eq!(
                odd.parse::<Bucket>(),
                Err(EndpointError::BucketCharacters),
                "{odd:?}"
            );
        }
    }

    #[test]
    fn region_names() {
        for good in [
            "cn-hangzhou",
            "ap-southeast-1",
            "us-east-1",
            &"a".repeat(63),
        ] {
            assert_eq!(good.parse::<Region>().unwrap().to_string(), good);
        }
        assert_eq!(
            "oss-cn-hangzhou".parse::<Region>(),
            Err(EndpointError::RegionPrefix)
        );
        for odd in [
            "",
            "-cn",
            "cn-",
            "CN",
            "cn/hangzhou",
            "cn hangzhou",
            &"a".repeat(64),
        ] {
            assert_eq!(
                odd.parse::<Region>(),
                Err(EndpointError::RegionCharacters),
                "{odd:?}"
            );
        }
    }

    #[test]
    fn shared_endpoints_take_the_bucket_in_front() {
        let bucket: Bucket = "b-1".parse().unwrap();
        let region: Region = "ap-southeast-1".parse().unwrap();
        assert_eq!(
            Endpoint::internal(&region).upload_url(&bucket).as_str(),
            "https://b-1.oss-ap-southeast-1-internal.aliyuncs.com"
        );
        assert_eq!(
            Endpoint::accelerate().upload_url(&bucket).as_str(),
            "https://b-1.oss-accelerate.aliyuncs.com"
        );
    }

    #[test]
    fn issue_18_line_06_dual_stack_and_overseas_endpoints() {
        let bucket: Bucket = "b-1".parse().unwrap();
        let region: Region = "cn-hangzhou".parse().unwrap();
        assert_eq!(
            Endpoint::dual_stack(&region).upload_url(&bucket).as_str(),
            "https://b-1.cn-hangzhou.oss.aliyuncs.com"
        );
        assert_eq!(
            Endpoint::accelerate_overseas().upload_url(&bucket).as_str(),
            "https://b-1.oss-accelerate-overseas.aliyuncs.com"
        );
    }

    #[cfg(feature = "storage")]
    #[test]
    fn only_a_custom_url_is_without_tls() {
        let custom = |url: &str| Endpoint::custom(url.parse().unwrap()).is_plain_http();
        for url in ["http://127.0.0.1:9000/bucket", "HTTP://a.example"] {
            assert!(custom(url), "{url}");
        }
        for url in ["https://a.example", "HTTPS://a.example"] {
            assert!(!custom(url), "{url}");
        }
        assert!(!Endpoint::internal(&"cn-hangzhou".parse().unwrap()).is_plain_http());
    }

    #[test]
    fn own_urls() {
        let bucket: Bucket = "other".parse().unwrap();
        for url in [
            "https://img.example.com",
            "http://127.0.0.1:9000/bucket/",
            "http://b.localhost:9000/",
        ] {
            let endpoint = Endpoint::custom(url.parse().unwrap());
            assert_eq!(endpoint.upload_url(&bucket).to_string(), url);
        }
        for (url, why) in [
            ("", EndpointError::NotAUrl),
            ("http://a b/", EndpointError::NotAUrl),
            ("bucket.oss-cn-hangzhou.aliyuncs.com", EndpointError::Scheme),
            ("ftp://a.example/", EndpointError::Scheme),
            ("/path", EndpointError::Scheme),
            ("https://user@a.example/", EndpointError::Host),
            ("https://a.example/?x", EndpointError::QueryOrFragment),
            ("https://a.example/#x", EndpointError::QueryOrFragment),
        ] {
            assert_eq!(url.parse::<UploadUrl>(), Err(why), "{url}");
        }
    }
}
