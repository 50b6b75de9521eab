//! The bucket and the object that a request addresses.

use std::net::IpAddr;

use http::{header, request::Parts};
use percent_encoding::percent_decode_str;

use crate::errors::{self, OssError};
use tower_aliyun_oss::protocol::Bucket;

/// The target of a request: `http://{bucket}.{domain}/{key}` or `http://{host}/{bucket}/{key}`.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Address {
    /// The requested host in lower case, without its port: the value of `HostId`.
    pub(crate) host: String,
    /// `None` if the request names no bucket.
    pub(crate) bucket: Option<Result<Bucket, BadBucket>>,
    /// Percent-decoded; empty if the request addresses the bucket itself.
    pub(crate) key: Result<String, BadKey>,
    /// `http://host:port` as requested, so with the bucket in the host if it was there. `https://`
    /// if the target is absolute and has this scheme.
    pub(crate) origin: String,
    /// Whether the bucket is the first segment of the path.
    pub(crate) path_style: bool,
}

#[derive(Debug, Eq, PartialEq)]
pub(crate) struct BadBucket {
    /// Whether nothing but an underscore is wrong, which OSS allowed in the past.
    has_underscore: bool,
}

impl BadBucket {
    fn of(name: &str) -> Self {
        let other = name.replace('_', "-").parse::<Bucket>();
        Self {
            has_underscore: other.is_ok(),
        }
    }
}

#[derive(Debug, Eq, PartialEq)]
pub(crate) struct BadKey;

impl Address {
    /// Reads the address of a request. A host `{bucket}.{domain}` with one of `domains` names a
    /// bucket.
    pub(crate) fn of(parts: &Parts, domains: &[Box<str>]) -> Self {
        // RFC 9112 section 3.2.2: the authority of an absolute target overrides `Host`.
        let authority = match parts.uri.authority() {
            Some(authority) => authority.as_str(),
            None => parts
                .headers
                .get(header::HOST)
                .and_then(|host| host.to_str().ok())
                .unwrap_or_default(),
        };
        let host = without_port(authority).to_ascii_lowercase();
        // Object names cannot begin with a slash, so leading slashes are ignored.
        let path = parts.uri.path().trim_start_matches('/');
        let (bucket, key, path_style) = match bucket_of(&host, domains) {
            Some(bucket) => (Some(bucket), path, false),
            None => match path.split_once('/') {
                Some((bucket, key)) => (Some(bucket), key, true),
                None => (Some(path).filter(|path| !path.is_empty()), "", true),
            },
        };
        // OSS reads `+` as a space, as in a query. `%2B` is a plus.
        let key = key.replace('+', " ");
        let key = percent_decode_str(&key).decode_utf8();
        Self {
            bucket: bucket.map(|bucket| bucket.parse().map_err(|_| BadBucket::of(bucket))),
            key: key.map(Into::into).map_err(|_| BadKey),
            // Only an absolute target has a scheme. A server with TLS in front of the emulator
            // makes targets absolute.
            origin: format!("{}://{authority}", parts.uri.scheme_str().unwrap_or("http")),
            path_style,
            host,
        }
    }

    pub(crate) fn bucket(&self) -> Result<&Bucket, OssError> {
        match &self.bucket {
            Some(Ok(bucket)) => Ok(bucket),
            // `BucketInfoTest` of aliyun-oss-java-sdk.
            Some(Err(bad)) if bad.has_underscore => Err(errors::NO_SUCH_BUCKET),
            Some(Err(_)) => Err(errors::INVALID_BUCKET_NAME),
            None => Err(errors::NOT_IMPLEMENTED),
        }
    }

    /// Returns the host and port at which clients reach every bucket: as requested, without a
    /// bucket.
    pub(crate) fn endpoint(&self) -> &str {
        let authority = self.origin.split_once("://").map_or("", |(_, rest)| rest);
        match authority.split_once('.') {
            Some((_, domain)) if !self.path_style => domain,
            _ => authority.trim_start_matches('.'),
        }
    }

    pub(crate) fn key(&self) -> Result<&str, OssError> {
        self.key
            .as_deref()
            .map_err(|BadKey| errors::OBJECT_NAME_ENCODING)
    }
}

fn without_port(authority: &str) -> &str {
    // The last part of a bare IPv6 address such as `[::1]` is `1]`, which is not a port.
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    }
}

fn bucket_of<'a>(host: &'a str, domains: &[Box<str>]) -> Option<&'a str> {
    // An IP address contains no bucket, whatever the configured domains are.
    if host.parse::<IpAddr>().is_ok() {
        return None;
    }
    // A domain may be below another: `oss.localhost` is not the bucket `oss` of `localhost`.
    let domains = domains.iter().filter(|domain| is_below(host, domain));
    let domain = domains.max_by_key(|domain| domain.len())?;
    let bucket = host.strip_suffix(&**domain)?.strip_suffix('.');
    // `ali-oss` sends `.oss-cn-hangzhou.aliyuncs.com` if its endpoint is an IP address and the
    // request names no bucket.
    bucket.filter(|bucket| !bucket.is_empty())
}

/// Whether the host is the domain or ends in `.` and the domain.
fn is_below(host: &str, domain: &str) -> bool {
    let rest = host.strip_suffix(domain);
    rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn address(host: &str, target: &str) -> Address {
        let request = Request::get(target).header("host", host).body(()).unwrap();
        Address::of(
            &request.into_parts().0,
            &["localhost".into(), "oss.test".into()],
        )
    }

    #[test]
    fn both_styles() {
        for (host, target, bucket, key) in [
            ("pictures.localhost:9000", "/", Some("pictures"), ""),
            (
                "Pictures.LOCALHOST",
                "/a/b.png",
                Some("pictures"),
                "a/b.png",
            ),
            ("pictures.oss.test", "/a%2Fb", Some("pictures"), "a/b"),
            ("127.0.0.1:9000", "/pictures/", Some("pictures"), ""),
            ("127.0.0.1:9000", "/pictures", Some("pictures"), ""),
            (
                "127.0.0.1:9000",
                "/pictures/%E4%B8%AD",
                Some("pictures"),
                "中",
            ),
            ("localhost:9000", "/pictures/x?y=1", Some("pictures"), "x"),
            ("emulator:9000", "/pictures/x", Some("pictures"), "x"),
            ("[::1]:9000", "/pictures/x", Some("pictures"), "x"),
            ("[::1]:9000", "/pictures/a+b%2Bc", Some("pictures"), "a b+c"),
            ("127.0.0.1:9000", "/", None, ""),
            ("localhost:9000", "/", None, ""),
            (".oss.test", "/", None, ""),
        ] {
            let address = address(host, target);
            let found = address.bucket().ok().map(Bucket::as_str);
            assert_eq!(found, bucket, "{host}{target}");
            assert_eq!(address.key().unwrap(), key, "{host}{target}");
        }
        for (host, endpoint) in [
            ("pictures.localhost:9000", "localhost:9000"),
            ("pictures.oss.test", "oss.test"),
            (".oss.test", "oss.test"),
            ("127.0.0.1:9000", "127.0.0.1:9000"),
            ("emulator.example", "emulator.example"),
        ] {
            assert_eq!(address(host, "/pictures/x").endpoint(), endpoint, "{host}");
        }
        assert!(address("127.0.0.1", "/pictures/%FF").key().is_err());
        assert!(address("a.b.localhost", "/").bucket().is_err());
        assert_eq!(address("b-1.localhost:9000", "/").host, "b-1.localhost");
    }

    #[test]
    fn the_longest_domain_names_the_bucket() {
        let domains = ["localhost".into(), "oss.localhost".into()];
        for (host, bucket, key) in [
            ("pictures.oss.localhost", "pictures", "folder/b"),
            ("oss.localhost", "folder", "b"),
            ("pictures.localhost", "pictures", "folder/b"),
            ("xoss.localhost", "xoss", "folder/b"),
        ] {
            let request = Request::get("/folder/b").header("host", host);
            let request = request.body(()).unwrap();
            let address = Address::of(&request.into_parts().0, &domains);
            let found = address.bucket().unwrap().as_str();
            assert_eq!((found, address.key().unwrap()), (bucket, key), "{host}");
        }
    }

    #[test]
    fn the_authority_of_http_2_comes_first() {
        let request = Request::get("http://other.localhost/x")
            .header("host", "one.localhost")
            .body(())
            .unwrap();
        let address = Address::of(&request.into_parts().0, &["localhost".into()]);
        assert_eq!(address.bucket().unwrap().as_str(), "other");
    }
}
