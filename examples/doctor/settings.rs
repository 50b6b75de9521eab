//! The environment of `appserver`, and the options of the command line.

use std::fmt;

use http::Uri;
use tower_aliyun_oss::{
    key::{PinnedKeys, PublicKey},
    policy::{CallbackDirective, Credentials},
    protocol::{Bucket, Endpoint, ObjectPrefix, Region, UploadUrl},
    ticket::TicketKey,
};

use crate::finding::Finding;

/// The name of the check.
pub(crate) const CHECK: &str = "settings";

/// Options of the command line.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Options {
    /// The origin of the page that uploads, such as `https://app.example`.
    pub origin: Option<String>,
    /// The address to listen on for the callback of the round trip.
    pub listen: Option<String>,
    /// The URL under which OSS reaches that address.
    pub public_url: Option<String>,
    /// Whether to make the uploads that answer open questions about OSS.
    pub observe: bool,
}

/// Valid settings.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) bucket: Bucket,
    /// The region that version 4 signs for.
    pub(crate) region: Option<Region>,
    /// Whether tokens are signed with version 4, which `OSS_REGION` decides.
    pub(crate) issues_v4: bool,
    pub(crate) url: UploadUrl,
    pub(crate) id: String,
    pub(crate) secret: String,
    pub(crate) token: Option<String>,
    pub(crate) credentials: Credentials,
    pub(crate) callback_url: String,
    pub(crate) prefix: ObjectPrefix,
    pub(crate) has_tickets: bool,
    pub(crate) keys: PinnedKeys,
    pub(crate) options: Options,
}

impl Settings {
    /// Reads variables through `variable`, as `appserver` does.
    ///
    /// # Errors
    ///
    /// Fails with a finding for every variable that cannot work.
    pub(crate) fn read(
        variable: impl Fn(&str) -> Option<String>,
        options: Options,
    ) -> Result<Self, Vec<Finding>> {
        let mut reader = Reader {
            variable,
            problems: Vec::new(),
        };
        let id = reader.required("OSS_ACCESS_KEY_ID", "the AccessKey ID of a RAM user");
        let secret = reader.required("OSS_ACCESS_KEY_SECRET", "the secret of the AccessKey");
        let host = reader.required(
            "OSS_HOST",
            "the URL of the bucket, such as https://examplebucket.oss-cn-hangzhou.aliyuncs.com",
        );
        let callback_url = reader.required("OSS_CALLBACK_URL", "the URL that OSS calls");
        let token = reader.optional("OSS_SESSION_TOKEN");
        let url: Option<UploadUrl> = reader.parsed("OSS_HOST", &host);
        let region: Option<Region> = match reader.optional("OSS_REGION") {
            Some(region) => reader.parsed("OSS_REGION", &Some(region)),
            None => None,
        };
        let issues_v4 = region.is_some();
        let bucket: Option<Bucket> = match reader.optional("OSS_BUCKET") {
            Some(bucket) => reader.parsed("OSS_BUCKET", &Some(bucket)),
            None => url.as_ref().and_then(|url| reader.bucket_of(url)),
        };
        if token.is_some() && !issues_v4 {
            reader.problem(
                "OSS_SESSION_TOKEN is set, OSS_REGION is not",
                "set OSS_REGION: the first token format has no field for an STS token",
            );
        }
        let prefix = reader.optional("OSS_UPLOAD_DIR");
        let prefix = prefix.unwrap_or_else(|| "user-dir-prefix/".into());
        let prefix = reader.parsed("OSS_UPLOAD_DIR", &Some(prefix));
        if let Some(url) = &callback_url
            && let Err(error) = CallbackDirective::new(url)
        {
            reader.problem(
                format!("OSS_CALLBACK_URL: {error}"),
                "write a URL that OSS accepts",
            );
        }
        let ticket_key = reader.optional("OSS_TICKET_KEY");
        if let Some(key) = &ticket_key
            && let Err(error) = TicketKey::from_base64(key)
        {
            reader.problem(
                format!("OSS_TICKET_KEY: {error}"),
                "set it to the output of: openssl rand -base64 32",
            );
        }
        let keys = reader.keys();
        let credentials = id
            .as_deref()
            .zip(secret.as_deref())
            .and_then(|(id, secret)| {
                let made = Credentials::new(id, secret).and_then(|credentials| match &token {
                    Some(token) => credentials.with_security_token(token.as_str()),
                    None => Ok(credentials),
                });
                made.inspect_err(|error| {
                    reader.problem(
                        format!("the AccessKey: {error}"),
                        "copy it again, without spaces",
                    );
                })
                .ok()
            });
        match (
            bucket,
            url,
            id,
            secret,
            credentials,
            callback_url,
            prefix,
            keys,
        ) {
            (
                Some(bucket),
                Some(url),
                Some(id),
                Some(secret),
                Some(credentials),
                Some(callback_url),
                Some(prefix),
                Some(keys),
            ) if reader.problems.is_empty() => Ok(Self {
                region: region.or_else(|| region_of(&url)),
                bucket,
                issues_v4,
                url,
                id,
                secret,
                token,
                credentials,
                callback_url,
                prefix,
                has_tickets: ticket_key.is_some(),
                keys,
                options,
            }),
            _ => Err(reader.problems),
        }
    }

    /// Returns the endpoint that tokens are issued for.
    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint::custom(self.url.clone())
    }

    /// Whether the host is one of Alibaba's, and not a custom domain.
    pub(crate) fn has_default_domain(&self) -> bool {
        host(self.url.as_str()).is_some_and(|host| host.ends_with(".aliyuncs.com"))
    }
}

impl fmt::Debug for Settings {
    /// Omits the secret and the security token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("bucket", &self.bucket)
            .field("region", &self.region)
            .field("url", &self.url)
            .field("callback_url", &self.callback_url)
            .finish_non_exhaustive()
    }
}

/// Returns the host of a URL, without the port.
pub(crate) fn host(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    let host = uri.host()?;
    Some(
        host.trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned(),
    )
}

/// Reads the region out of a host such as `examplebucket.oss-cn-hangzhou-internal.aliyuncs.com`.
fn region_of(url: &UploadUrl) -> Option<Region> {
    let host = host(url.as_str())?;
    let host = host.strip_suffix(".aliyuncs.com")?;
    let (_, region) = host.split_once(".oss-")?;
    region
        .strip_suffix("-internal")
        .unwrap_or(region)
        .parse()
        .ok()
}

/// Reads variables, and collects what is wrong with them.
struct Reader<V> {
    variable: V,
    problems: Vec<Finding>,
}

impl<V: Fn(&str) -> Option<String>> Reader<V> {
    fn problem(&mut self, got: impl Into<String>, change: impl Into<String>) {
        let did = "read the environment of appserver";
        self.problems.push(Finding::failed(CHECK, did, got, change));
    }

    fn optional(&self, name: &str) -> Option<String> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }

    fn required(&mut self, name: &str, what: &str) -> Option<String> {
        let value = self.optional(name);
        if value.is_none() {
            self.problem(
                format!("{name} is not set"),
                format!("set {name} to {what}"),
            );
        }
        value
    }

    fn parsed<T: std::str::FromStr<Err: fmt::Display>>(
        &mut self,
        name: &str,
        value: &Option<String>,
    ) -> Option<T> {
        let value = value.as_ref()?;
        value
            .parse()
            .inspect_err(|error| {
                self.problem(format!("{name}: {error}"), format!("correct {name}"))
            })
            .ok()
    }

    /// Takes the bucket from a default host, such as `examplebucket.oss-cn-hangzhou.aliyuncs.com`.
    fn bucket_of(&mut self, url: &UploadUrl) -> Option<Bucket> {
        let bucket = host(url.as_str()).and_then(|host| {
            let (bucket, _) = host.strip_suffix(".aliyuncs.com")?.split_once(".oss-")?;
            bucket.parse().ok()
        });
        if bucket.is_none() {
            self.problem(
                "OSS_BUCKET is not set, and OSS_HOST does not contain the bucket",
                "set OSS_BUCKET to the name of the bucket",
            );
        }
        bucket
    }

    fn keys(&mut self) -> Option<PinnedKeys> {
        let Some(value) = self.optional("OSS_CALLBACK_PUBLIC_KEY") else {
            return Some(PinnedKeys::official());
        };
        let pem = if value.contains("-----BEGIN") {
            value
        } else {
            std::fs::read_to_string(&value)
                .inspect_err(|error| {
                    self.problem(
                        format!("OSS_CALLBACK_PUBLIC_KEY is {value:?}: {error}"),
                        "name a PEM file, or unset the variable to use the key of OSS",
                    );
                })
                .ok()?
        };
        PublicKey::from_pem(pem.as_bytes())
            .inspect_err(|error| {
                self.problem(
                    format!("OSS_CALLBACK_PUBLIC_KEY: {error}"),
                    "name a PEM file, or unset the variable to use the key of OSS",
                );
            })
            .ok()
            .map(|key| PinnedKeys::official().with_version(1, key))
    }
}
