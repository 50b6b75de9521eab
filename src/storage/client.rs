//! The client of OSS.

mod connections;
mod multipart;
mod response;
mod xml;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Uri,
    header::{InvalidHeaderValue, USER_AGENT},
};
use http_body_util::Full;
use tokio::{sync::OnceCell, time::timeout};

use self::{
    connections::Connections,
    response::{Reply, metadata, page},
};
use super::{
    ObjectStorage,
    error::{StorageError, StorageErrorKind as Kind},
    metadata::{ObjectMetadata, ObjectPage},
};
use crate::{
    Lookup,
    https::{self, Roots},
    policy::{Credentials, CredentialsProvider},
    protocol::{Bucket, Endpoint, Region},
    sign::{
        request::{RequestLine, RequestSigner, encode_key, encode_query},
        v4::DayKeys,
    },
};

/// Reads and deletes objects of OSS: `HeadObject`, `ListObjectsV2` and `DeleteObject`, signed with
/// version 4. It also implements [`MultipartStorage`](super::MultipartStorage).
///
/// By default a call connects within 1 s and ends within 2 s, including the time for credentials.
/// Connections are kept for 15 s, and shared by clones. If a connection breaks, which the server
/// can do at any time while it is idle, the request is sent once more if it can be repeated.
/// Creating and completing an upload in parts cannot. Redirects are not followed, nothing is
/// decompressed, and proxy variables in the environment are ignored. A response has at most 64 KiB
/// of headers, and a page 4 MiB.
///
/// The AccessKey needs `oss:GetObject` for `head`, `oss:ListObjects` for `list` and
/// `oss:DeleteObject` for `delete`. Without `oss:ListObjects`, OSS can respond to a missing object
/// with 403 instead of 404, and the upload is then *not confirmed* instead of *refused*.
///
/// The cryptography is that of the rustls provider which the application has installed, or else a
/// built-in provider for x86-64 and AArch64. The trusted roots are those of the system, unless
/// [`root_certificates`](Self::root_certificates) sets others. Calls need a tokio runtime with its
/// timer enabled.
///
/// ```no_run
/// use tower_aliyun_oss::{
///     Credentials,
///     protocol::{Endpoint, Region},
///     storage::{ObjectStorage, OssClient},
/// };
///
/// # async fn f() -> Result<(), Box<dyn std::error::Error>> {
/// let region: Region = "cn-hangzhou".parse()?;
/// // Inside of the region, without costs for traffic.
/// let endpoint = Endpoint::internal(&region);
/// let client = OssClient::new(region, Credentials::from_env()?).endpoint(endpoint);
/// let metadata = client.head(&"examplebucket".parse()?, "user/1/photo.png").await?;
/// println!("{} bytes", metadata.size());
/// # Ok(())
/// # }
/// ```
///
/// Sources: [HeadObject], [ListObjectsV2], [DeleteObject].
///
/// [HeadObject]: https://www.alibabacloud.com/help/en/oss/developer-reference/headobject
/// [ListObjectsV2]: https://www.alibabacloud.com/help/en/oss/developer-reference/listobjectsv2
/// [DeleteObject]: https://www.alibabacloud.com/help/en/oss/developer-reference/deleteobject
#[derive(Clone)]
#[must_use = "a client does nothing until it is used"]
pub struct OssClient(Arc<Shared>);

/// What the clones of a client share.
struct Shared {
    settings: Settings,
    day_keys: DayKeys,
    /// Created with the first request, because reading the trusted roots takes time. An error is
    /// not kept.
    connections: OnceCell<Connections>,
}

type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

#[derive(Clone)]
struct Settings {
    region: Region,
    credentials: Arc<dyn CredentialsProvider>,
    endpoint: Endpoint,
    roots: Roots,
    connect_timeout: Duration,
    timeout: Duration,
    clock: Clock,
}

impl OssClient {
    /// Creates a client that signs for this region, and uses its public endpoint. It connects to
    /// nothing until it is called.
    pub fn new(region: Region, credentials: impl CredentialsProvider + 'static) -> Self {
        Self::from_settings(Settings {
            endpoint: Endpoint::public(&region),
            region,
            credentials: Arc::new(credentials),
            roots: Roots::default(),
            connect_timeout: Duration::from_secs(1),
            timeout: Duration::from_secs(2),
            clock: Arc::new(SystemTime::now),
        })
    }

    /// Sets the endpoint: [internal](Endpoint::internal) on a machine in the region, or
    /// [custom](Endpoint::custom) for a domain that is bound to the bucket.
    ///
    /// A custom endpoint serves one bucket; OSS rejects requests for another one. Only a custom
    /// endpoint that starts with `http://` is used without TLS.
    pub fn endpoint(self, endpoint: Endpoint) -> Self {
        self.with(|settings| settings.endpoint = endpoint)
    }

    /// Trusts these root certificates, one or more in PEM, in place of those of the system.
    ///
    /// # Errors
    ///
    /// Fails with [`StorageErrorKind::Tls`](Kind::Tls) if `pem` contains no certificate, or one
    /// that cannot be a root.
    pub fn root_certificates(self, pem: &[u8]) -> Result<Self, StorageError> {
        let roots = Roots::from_pem(pem).ok_or_else(|| {
            StorageError::with_source(Kind::Tls, "root certificates must be certificates in PEM")
        })?;
        Ok(self.with(|settings| settings.roots = roots))
    }

    /// Sets the time limit for resolving the host and connecting to it over TCP. Defaults to 1 s.
    pub fn connect_timeout(self, time: Duration) -> Self {
        self.with(|settings| settings.connect_timeout = time)
    }

    /// Sets the time limit of a call. Defaults to 2 s.
    pub fn timeout(self, time: Duration) -> Self {
        self.with(|settings| settings.timeout = time)
    }

    /// Sets the source of the time that requests are signed at. Defaults to the system clock. OSS
    /// accepts a difference of 15 minutes.
    pub fn clock(self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.with(|settings| settings.clock = Arc::new(clock))
    }

    /// Changes the settings of a copy. Clones that are in use keep theirs, and their connections.
    fn with(self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = self.0.settings.clone();
        change(&mut settings);
        Self::from_settings(settings)
    }

    fn from_settings(settings: Settings) -> Self {
        Self(Arc::new(Shared {
            settings,
            day_keys: DayKeys::default(),
            connections: OnceCell::new(),
        }))
    }
}

impl ObjectStorage for OssClient {
    fn head(&self, bucket: &Bucket, key: &str) -> Lookup<ObjectMetadata, StorageError> {
        let call = Call::new(self, Method::HEAD, bucket, key, Vec::new());
        Lookup::pending(async move { metadata(&call.send(0).await?.headers) })
    }

    fn list(
        &self,
        bucket: &Bucket,
        prefix: &str,
        after: Option<&str>,
    ) -> Lookup<ObjectPage, StorageError> {
        let mut query = vec![
            ("list-type", "2".to_owned()),
            // XML cannot express all characters of a key.
            ("encoding-type", "url".to_owned()),
            ("max-keys", "1000".to_owned()),
            ("prefix", prefix.to_owned()),
        ];
        query.extend(after.map(|token| ("continuation-token", token.to_owned())));
        let call = Call::new(self, Method::GET, bucket, "", query);
        Lookup::pending(async move { page(&call.send(response::MAX_PAGE_LEN).await?.body) })
    }

    fn delete(&self, bucket: &Bucket, key: &str) -> Lookup<(), StorageError> {
        let call = Call::new(self, Method::DELETE, bucket, key, Vec::new());
        Lookup::pending(async move { call.send(0).await.map(drop) })
    }
}

impl fmt::Debug for OssClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = &self.0.settings;
        f.debug_struct("OssClient")
            .field("region", &settings.region)
            .field("endpoint", &settings.endpoint)
            .field("connect_timeout", &settings.connect_timeout)
            .field("timeout", &settings.timeout)
            .finish_non_exhaustive()
    }
}

/// One call of an operation.
struct Call {
    shared: Arc<Shared>,
    method: Method,
    bucket: Bucket,
    /// Empty for the bucket itself.
    key: String,
    query: Vec<(&'static str, String)>,
    headers: HeaderMap,
    body: Bytes,
    /// Whether the operation can run twice.
    repeatable: bool,
    /// Replaces the time limit, if it is longer.
    least_timeout: Duration,
}

impl Call {
    fn new(
        client: &OssClient,
        method: Method,
        bucket: &Bucket,
        key: &str,
        query: Vec<(&'static str, String)>,
    ) -> Self {
        Self {
            shared: Arc::clone(&client.0),
            method,
            bucket: bucket.clone(),
            key: key.to_owned(),
            query,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            repeatable: true,
            least_timeout: Duration::ZERO,
        }
    }

    /// Sends the request within the time limit. `limit` is the longest body of a success.
    async fn send(&self, limit: usize) -> Result<Reply, StorageError> {
        // A request without a key lists the bucket, or deletes it.
        if self.key.is_empty() && self.method != Method::GET {
            return Err(StorageError::with_source(
                Kind::Rejected,
                "the object key is empty",
            ));
        }
        let time = self.shared.settings.timeout.max(self.least_timeout);
        match timeout(time, self.exchange(limit)).await {
            Ok(reply) => reply,
            Err(_) => Err(Kind::TimedOut.into()),
        }
    }

    async fn exchange(&self, limit: usize) -> Result<Reply, StorageError> {
        let settings = &self.shared.settings;
        let credentials = settings.credentials.credentials().await;
        let credentials =
            credentials.map_err(|why| StorageError::with_source(Kind::Credentials, why))?;
        let create = || {
            Connections::new(
                &settings.endpoint,
                &settings.roots,
                settings.connect_timeout,
            )
        };
        let connections = self.shared.connections.get_or_try_init(create).await?;
        let first = match connections.send(self.signed(&credentials)?).await {
            // The server may have closed the connection while it was idle. The request can have
            // arrived, and it can be repeated.
            Err(why)
                if self.repeatable
                    && why.kind() == Kind::Unavailable
                    && connections::is_broken(&why) =>
            {
                connections.send(self.signed(&credentials)?).await
            }
            first => first,
        };
        Reply::read(first?, &self.method, limit).await
    }

    fn signed(&self, credentials: &Credentials) -> Result<Request<Full<Bytes>>, StorageError> {
        let settings = &self.shared.settings;
        let now = (settings.clock)();
        if credentials.expires_at().is_some_and(|end| end <= now) {
            return Err(Kind::Credentials.into());
        }
        let query: Vec<_> = self
            .query
            .iter()
            .map(|(name, value)| (*name, &**value))
            .collect();
        let line = RequestLine {
            method: &self.method,
            bucket: &self.bucket,
            key: &self.key,
            query: &query,
        };
        let keys = &self.shared.day_keys;
        let signer = RequestSigner::new(keys, credentials.access_key(), &settings.region, now);
        let signer = signer.ok_or_else(|| {
            StorageError::with_source(
                Kind::Credentials,
                "the clock is not between the years 1 and 9999",
            )
        })?;
        let mut headers = self.headers.clone();
        headers.insert(USER_AGENT, HeaderValue::from_static(https::USER_AGENT));
        signer
            .sign_headers(line, &[], &mut headers)
            .map_err(|why: InvalidHeaderValue| StorageError::with_source(Kind::Credentials, why))?;
        let url = self.url(&query);
        let url = url.map_err(|why| StorageError::with_source(Kind::Rejected, why))?;
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = url;
        *request.headers_mut() = headers;
        Ok(request)
    }

    fn url(&self, query: &[(&str, &str)]) -> Result<Uri, http::uri::InvalidUri> {
        let base = self.shared.settings.endpoint.upload_url(&self.bucket);
        let base = base.as_str().trim_end_matches('/');
        let (path, query) = (encode_key(&self.key), encode_query(query));
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{base}/{path}{mark}{query}").parse()
    }
}
