//! Where uploads go, the emulator of this process or the real OSS, and what the server grants.

use std::{
    env,
    error::Error,
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    time::{Duration, SystemTime},
};

use aliyun_oss_emulator::{
    AccessKey, Acl, CallbackNetwork, Connection, CorsRule, Destination, Emulator, HostedBucket,
    ObjectStore, SystemNetwork,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::request::Parts;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::watch::Receiver};
use tower_aliyun_oss::{
    OssCallbackLayer, OssUploads, OssUploadsBuilder,
    key::PinnedKeys,
    policy::{
        Authorize, Credentials, Grant, OssPolicyService, OssPresignService, PolicyError, Refusal,
        TokenFormat,
    },
    protocol::{Bucket, ContentType, Endpoint, ObjectAcl, Region, SizeRange, UploadUrl},
    testing::CallbackSigner,
    ticket::{MemoryStore, TicketKey, TicketKeys, Tickets},
};

use crate::feed::{self, Feed};

pub(crate) const CALLBACK_PATH: &str = "/oss/callback";

pub(crate) const MAX_SIZE: u64 = 2 * 1024 * 1024 * 1024;

/// Text, PDF, images and videos. Types that a browser would execute are not allowed.
pub(crate) const TYPES: [&str; 20] = [
    "text/plain",
    "text/csv",
    "text/markdown",
    "application/pdf",
    "image/png",
    "image/jpeg",
    "image/gif",
    "image/webp",
    "image/avif",
    "image/heic",
    "image/heif",
    "image/bmp",
    "image/tiff",
    "video/mp4",
    "video/webm",
    "video/ogg",
    "video/quicktime",
    "video/mpeg",
    "video/x-matroska",
    "video/x-msvideo",
];

/// How far the clock of the recovery runs ahead. A real one waits until the token has expired:
/// until then, the object can still be stored. The demo does not, so that the page shows a recovery
/// at once.
const AHEAD: Duration = Duration::from_secs(3 * 60 * 60);

/// The age of the tokens that the page requests to show what happens when one has expired.
const TOO_LATE: Duration = Duration::from_secs(60 * 60);

/// An account of Alibaba Cloud.
pub(crate) struct Account {
    credentials: Credentials,
    bucket: Bucket,
    region: Region,
    callback_url: String,
}

impl Account {
    const NAMES: [&str; 5] = [
        "OSS_ACCESS_KEY_ID",
        "OSS_ACCESS_KEY_SECRET",
        "OSS_BUCKET",
        "OSS_REGION",
        "OSS_CALLBACK_URL",
    ];

    /// Reads the account from the environment. Returns `None` if no variable is set, and fails if
    /// only some are.
    pub(crate) fn from_env() -> Result<Option<Self>, Box<dyn Error>> {
        let unset = |name: &&str| env::var_os(name).is_none_or(|value| value.is_empty());
        let missing: Vec<_> = Self::NAMES.into_iter().filter(unset).collect();
        if missing.len() == Self::NAMES.len() {
            return Ok(None);
        }
        if !missing.is_empty() {
            let missing = missing.join(", ");
            return Err(format!(
                "missing {missing}; set all five for the real OSS, or none for the emulator"
            )
            .into());
        }
        let bucket = env::var("OSS_BUCKET")?;
        let region = env::var("OSS_REGION")?;
        let callback_url = env::var("OSS_CALLBACK_URL")?;
        let path = callback_url.parse::<http::Uri>()?.path().to_owned();
        if path != CALLBACK_PATH {
            return Err(format!("OSS_CALLBACK_URL must have the path {CALLBACK_PATH}").into());
        }
        Ok(Some(Self {
            credentials: Credentials::from_env()?,
            bucket: bucket.parse().map_err(|e| format!("OSS_BUCKET: {e}"))?,
            region: region.parse().map_err(|e| format!("OSS_REGION: {e}"))?,
            callback_url,
        }))
    }
}

/// Tokens and callback verification for one bucket.
pub(crate) struct Backend {
    uploads: OssUploads,
    legacy: OssUploads,
    bucket: Bucket,
    upload_url: UploadUrl,
    callback_url: String,
    key_source: Option<PinnedKeys>,
    /// For the emulator: the uploads as the recovery sees them.
    recovered: Option<(OssUploads, Emulator)>,
}

impl Backend {
    pub(crate) fn real(account: Account) -> Result<Self, Box<dyn Error>> {
        let endpoint = Endpoint::public(&account.region);
        Self::new(account, &endpoint, None)
    }

    /// Creates a backend that uses the emulator, and the emulator.
    pub(crate) fn emulated(
        application: SocketAddr,
        oss: SocketAddr,
        origins: &[String],
        feed: &Feed,
    ) -> Result<(Self, RunningEmulator), Box<dyn Error>> {
        let bucket: Bucket = "demo-bucket".parse()?;
        // Forms need POST alone. The other methods are those of uploads in parts.
        let methods = [
            http::Method::GET,
            http::Method::PUT,
            http::Method::POST,
            http::Method::DELETE,
        ];
        let cors = methods
            .into_iter()
            .fold(CorsRule::new(), CorsRule::allow_method)
            .allow_header("*")
            .expose_header("ETag")
            .expose_header("x-oss-request-id")
            .expose_header("x-oss-hash-crc64ecma")
            .max_age(Duration::from_secs(600));
        let cors = origins
            .iter()
            .fold(cors, |cors, origin| cors.allow_origin(origin));
        let folder = tempfile::tempdir()?;
        // A constant would let every page that the developer visits sign forms.
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|error| error.to_string())?;
        let secret = URL_SAFE_NO_PAD.encode(secret);
        let feed = feed.clone();
        let emulator = Emulator::builder()
            // The page links to the objects. In a private bucket, the links would have to be
            // signed.
            .bucket(
                HostedBucket::new(bucket.clone())
                    .acl(Acl::PublicRead)
                    .cors(cors),
            )
            .access_key(AccessKey::new("demo-id", &secret))
            .store(ObjectStore::folder(folder.path())?)
            .refuse_foreign_origins()
            // The application is on this machine, and the network connects to nothing else.
            .allow_private_callbacks()
            .network(OnlyApplication(application))
            .observer(move |upload| feed.trace(feed::emulator_trace(&upload)))
            .build()?;
        let endpoint = Endpoint::custom(format!("http://{oss}/{bucket}").parse()?);
        let account = Account {
            credentials: Credentials::new("demo-id", secret)?,
            bucket,
            region: "cn-hangzhou".parse()?,
            callback_url: format!("http://{application}{CALLBACK_PATH}"),
        };
        let backend = Self::new(account, &endpoint, Some(&emulator))?;
        Ok((backend, RunningEmulator { emulator, folder }))
    }

    fn new(
        account: Account,
        endpoint: &Endpoint,
        emulator: Option<&Emulator>,
    ) -> Result<Self, Box<dyn Error>> {
        // A new key invalidates all earlier tickets. The demo does not outlive its tickets.
        let keys = TicketKeys::new(1, TicketKey::generate()?);
        let tickets = match emulator {
            Some(_) => Tickets::with_ledger(keys, MemoryStore::new()),
            None => Tickets::in_memory(keys),
        };
        let upload_url = endpoint.upload_url(&account.bucket);
        let builder = |tickets: &Tickets| -> OssUploadsBuilder {
            OssUploads::builder(account.bucket.clone(), account.credentials.clone())
                .region(account.region.clone())
                .endpoint(endpoint.clone())
                .callback_url(&account.callback_url)
                .tickets(tickets.clone())
        };
        Ok(Self {
            uploads: builder(&tickets).build()?,
            legacy: builder(&tickets).format(TokenFormat::Legacy).build()?,
            recovered: match emulator {
                Some(emulator) => {
                    let later = tickets.clone().clock(|| SystemTime::now() + AHEAD);
                    Some((builder(&later).build()?, emulator.clone()))
                }
                None => None,
            },
            bucket: account.bucket,
            upload_url,
            callback_url: account.callback_url,
            key_source: emulator.map(Emulator::key_source),
        })
    }

    pub(crate) fn tokens(&self) -> OssPolicyService<impl Authorize> {
        self.uploads.policy_service(authorize)
    }

    /// Signs the requests of uploads in parts.
    pub(crate) fn presigned(&self) -> Result<OssPresignService<impl Authorize>, PolicyError> {
        self.uploads.presign_service(authorize)
    }

    /// Issues tokens in the format of the first samples, for their browser client.
    pub(crate) fn legacy_tokens(&self) -> OssPolicyService<impl Authorize> {
        self.legacy.policy_service(authorize_legacy)
    }

    /// Issues tokens that have already expired.
    pub(crate) fn expired_tokens(&self) -> OssPolicyService<impl Authorize> {
        self.tokens().clock(|| SystemTime::now() - TOO_LATE)
    }

    /// Issues tokens for uploads whose callback handler fails.
    pub(crate) fn failing_tokens(&self) -> OssPolicyService<impl Authorize> {
        self.uploads.policy_service(authorize_failing)
    }

    pub(crate) fn callback_layer(&self) -> OssCallbackLayer {
        let layer = self.uploads.callback_layer();
        match &self.key_source {
            Some(keys) => layer.key_source(keys.clone()),
            None => layer,
        }
    }

    /// Returns what a recovery needs. `None` for the real OSS, whose callback server nobody stops.
    pub(crate) fn recovered(&self) -> Option<(&OssUploads, &Emulator)> {
        self.recovered
            .as_ref()
            .map(|(uploads, emulator)| (uploads, emulator))
    }

    /// Returns a signer of arbitrary callbacks, which is what OSS is for each of its customers.
    /// `None` for the real OSS, whose private key is secret.
    pub(crate) fn signer(&self) -> Option<CallbackSigner> {
        self.is_emulated().then(CallbackSigner::new)
    }

    pub(crate) fn is_emulated(&self) -> bool {
        self.key_source.is_some()
    }

    pub(crate) fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    pub(crate) fn upload_url(&self) -> &UploadUrl {
        &self.upload_url
    }

    /// Returns the URL below which anyone can read the objects. `None` for the real OSS, whose
    /// bucket is private by default.
    pub(crate) fn objects_url(&self) -> Option<&str> {
        self.is_emulated().then(|| self.upload_url.as_str())
    }

    pub(crate) fn callback_url(&self) -> &str {
        &self.callback_url
    }
}

/// The network of the emulator's callbacks: connects to the application only.
///
/// Otherwise a form could have callbacks sent to other services of the local network.
struct OnlyApplication(SocketAddr);

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl CallbackNetwork for OnlyApplication {
    fn resolve<'a>(&'a self, _: &'a str, _: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        // The callback URL of the application contains its address.
        Box::pin(async { Err(io::ErrorKind::NotFound.into()) })
    }

    fn connect<'a>(&'a self, to: &'a Destination) -> BoxFuture<'a, io::Result<Connection>> {
        Box::pin(async move {
            if to.address() != self.0 {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            SystemNetwork::new().connect(to).await
        })
    }
}

/// The emulator and the temporary folder of its objects.
pub(crate) struct RunningEmulator {
    emulator: Emulator,
    folder: TempDir,
}

impl RunningEmulator {
    /// Serves until `stop` is true, then deletes the folder.
    pub(crate) async fn run(
        self,
        listener: TcpListener,
        mut stop: Receiver<bool>,
    ) -> io::Result<()> {
        let stopped = async move {
            let _ = stop.wait_for(|stop| *stop).await;
        };
        self.emulator.serve_until(listener, stopped).await?;
        self.folder.close()
    }
}

/// The claims of a ticket, which the callback returns unmodified.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Claims {
    /// Makes the handler fail.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) fail: bool,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_false(value: &bool) -> bool {
    !*value
}

/// Grants one object with an unguessable name to every client.
pub(crate) async fn authorize(_: &Parts) -> Result<Grant, Refusal> {
    one_object(false)
}

/// Grants the same, for an upload whose callback handler fails.
pub(crate) async fn authorize_failing(_: &Parts) -> Result<Grant, Refusal> {
    one_object(true)
}

/// Grants any name under the prefix of the samples. Every client can create objects there, and
/// overwrite those of other clients.
pub(crate) async fn authorize_legacy(_: &Parts) -> Result<Grant, Refusal> {
    let prefix = "user-dir-prefix/".parse().map_err(|_| invalid_constant())?;
    let size = SizeRange::new(1, MAX_SIZE).map_err(|_| invalid_constant())?;
    // The clients of the first samples choose the name, so no ledger can know it.
    Ok(Grant::any_name_under(prefix, size).unrecovered())
}

fn one_object(fail: bool) -> Result<Grant, Refusal> {
    let prefix = "demo/".parse().map_err(|_| invalid_constant())?;
    let size = SizeRange::new(1, MAX_SIZE).map_err(|_| invalid_constant())?;
    let types = TYPES.iter().map(|name| name.parse());
    let types: Vec<ContentType> = types
        .collect::<Result<_, _>>()
        .map_err(|_| invalid_constant())?;
    Ok(Grant::under(prefix, size)
        .content_types(types)
        // The bucket decides: the emulator's is public, so that the page can show the objects.
        .object_acl(ObjectAcl::Bucket)
        .claims(&Claims { fail }))
}

/// The response if a constant above is invalid.
fn invalid_constant() -> Refusal {
    Refusal::new(http::StatusCode::INTERNAL_SERVER_ERROR)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A form that names another callback URL is stored without a callback.
    #[tokio::test]
    async fn callbacks_go_to_the_application_only() {
        let application = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let neighbor = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = application.local_addr().unwrap();
        let emulator = |callback: SocketAddr| {
            let emulator = Emulator::builder()
                .bucket(HostedBucket::new("open".parse().unwrap()).acl(Acl::PublicReadWrite))
                .allow_private_callbacks()
                .network(OnlyApplication(own))
                .build()
                .unwrap();
            let json = format!(r#"{{"callbackUrl":"http://{callback}/","callbackBody":"b"}}"#);
            let callback = base64::engine::general_purpose::STANDARD.encode(json);
            let request = http::Request::put("/open/a")
                .header("host", "127.0.0.1")
                .header("content-length", 1)
                .header("x-oss-callback", callback)
                .body(http_body_util::Full::new(bytes::Bytes::from_static(b"x")))
                .unwrap();
            tower::ServiceExt::oneshot(emulator, request)
        };
        let answer = emulator(neighbor.local_addr().unwrap()).await.unwrap();
        assert_eq!(answer.status(), 203);
        let accepted = tokio::time::timeout(Duration::ZERO, neighbor.accept()).await;
        assert!(accepted.is_err(), "the emulator connected to a neighbor");
        // It waits for the application.
        let upload = tokio::spawn(emulator(own));
        let (connection, _) = application.accept().await.unwrap();
        drop(connection);
        assert_eq!(upload.await.unwrap().unwrap().status(), 203);
        let named = OnlyApplication(own).resolve("localhost", own.port()).await;
        assert_eq!(named.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
