//! Where forms are posted to.

use std::{error::Error, fmt, str::FromStr};

use http::Uri;

use super::{Bucket, Region};

/// The host a bucket is reached at; the region a request is signed for is a separate setting ([`Region`]).
///
/// The two cannot be had from one another: since 2025-03-20 new accounts reach mainland buckets through a custom
/// domain only, and internal and accelerate hosts name no or another region ([endpoints]).
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
/// // A domain that is bound to the bucket is used just as it is written.
/// let own = Endpoint::custom("https://img.example.com".parse()?);
/// assert_eq!(own.upload_url(&bucket).as_str(), "https://img.example.com");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// [endpoints]: https://www.alibabacloud.com/help/doc-detail/31836.htm
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Endpoint(Repr);

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Repr {
    /// A host that the bucket is put in front of.
    Shared(Box<str>),
    /// A URL that is the bucket already.
    Custom(UploadUrl),
}

impl Endpoint {
    /// The public endpoint of a region: `https://BUCKET.oss-REGION.aliyuncs.com`.
    #[must_use]
    pub fn public(region: &Region) -> Self {
        Self(Repr::Shared(format!("oss-{region}.aliyuncs.com").into()))
    }

    /// The endpoint for machines inside the region: `https://BUCKET.oss-REGION-internal.aliyuncs.com`.
    #[must_use]
    pub fn internal(region: &Region) -> Self {
        Self(Repr::Shared(
            format!("oss-{region}-internal.aliyuncs.com").into(),
        ))
    }

    /// The endpoint of transfer acceleration: `https://BUCKET.oss-accelerate.aliyuncs.com`.
    #[must_use]
    pub fn accelerate() -> Self {
        Self(Repr::Shared("oss-accelerate.aliyuncs.com".into()))
    }

    /// A URL that leads to the bucket by itself, such as a custom domain that is bound to it.
    #[must_use]
    pub fn custom(url: UploadUrl) -> Self {
        Self(Repr::Custom(url))
    }

    /// The URL that a form for this bucket is posted to.
    #[must_use]
    pub fn upload_url(&self, bucket: &Bucket) -> UploadUrl {
        match &self.0 {
            Repr::Shared(host) => UploadUrl(format!("https://{bucket}.{host}").into()),
            Repr::Custom(url) => url.clone(),
        }
    }
}

/// A URL that leads to one bucket, kept as it was written: `http://bucket.endpoint`, a custom domain, or the
/// path-style address of a store on your own machine.
///
/// ```
/// use tower_aliyun_oss::protocol::UploadUrl;
///
/// let host: UploadUrl = "http://bucket-name.oss-cn-hangzhou.aliyuncs.com".parse()?;
/// assert_eq!(host.as_str(), "http://bucket-name.oss-cn-hangzhou.aliyuncs.com");
/// # Ok::<(), tower_aliyun_oss::protocol::UploadUrlError>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct UploadUrl(Box<str>);

impl UploadUrl {
    /// The URL as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UploadUrl {
    type Err = UploadUrlError;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        let uri: Uri = url.parse().map_err(|_| UploadUrlError::NotAUrl)?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(UploadUrlError::Scheme);
        }
        match uri.authority() {
            Some(authority)
                if !authority.as_str().contains('@') && !authority.host().is_empty() => {}
            _ => return Err(UploadUrlError::Host),
        }
        // `Uri` drops a fragment, so the text is asked, not what was parsed.
        if uri.query().is_some() || url.contains('#') {
            return Err(UploadUrlError::QueryOrFragment);
        }
        Ok(Self(url.into()))
    }
}

impl fmt::Display for UploadUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not the URL of a bucket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum UploadUrlError {
    /// Not a URL at all.
    NotAUrl,
    /// No `http://` or `https://` in front.
    Scheme,
    /// No host, or a user name before it.
    Host,
    /// A query or fragment, which the address of a form cannot have.
    QueryOrFragment,
}

impl fmt::Display for UploadUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAUrl => "the upload host is not a url; write it as https://bucket.endpoint",
            Self::Scheme => "the upload host needs http:// or https:// in front",
            Self::Host => "the upload host needs a host, and no user name before it",
            Self::QueryOrFragment => "the upload host cannot have a query or a fragment",
        })
    }
}

impl Error for UploadUrlError {}

#[cfg(test)]
mod tests {
    use super::*;

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
            ("", UploadUrlError::NotAUrl),
            ("http://a b/", UploadUrlError::NotAUrl),
            (
                "bucket.oss-cn-hangzhou.aliyuncs.com",
                UploadUrlError::Scheme,
            ),
            ("ftp://a.example/", UploadUrlError::Scheme),
            ("/path", UploadUrlError::Scheme),
            ("https://user@a.example/", UploadUrlError::Host),
            ("https://a.example/?x", UploadUrlError::QueryOrFragment),
            ("https://a.example/#x", UploadUrlError::QueryOrFragment),
        ] {
            assert_eq!(url.parse::<UploadUrl>(), Err(why), "{url}");
        }
    }
}
