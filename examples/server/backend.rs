//! Where uploads go: the emulator of this process, or the real OSS.

use std::{
    env,
    error::Error,
    io,
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use aliyun_oss_emulator::{AccessKey, CorsRule, Emulator, HostedBucket, ObjectStore};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::watch::Receiver};
use tower_aliyun_oss::{
    OssCallbackLayer, OssUploads, OssUploadsBuilder,
    key::PinnedKeys,
    policy::{Credentials, OssPolicyService, TokenFormat},
    protocol::{Bucket, Endpoint, Region, UploadUrl},
    testing::CallbackSigner,
    ticket::{TicketKey, TicketKeys, Tickets},
};

use crate::{
    feed::Feed,
    grants::{authorize, authorize_failing, authorize_legacy},
    report,
};

pub(crate) const CALLBACK_PATH: &str = "/oss/callback";

/// How long ago the token was made that the page lets you send too late.
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

    /// All of it, or nothing: half an account is a mistake.
    pub(crate) fn from_env() -> Result<Option<Self>, Box<dyn Error>> {
        let unset = |name: &&str| env::var_os(name).is_none_or(|value| value.is_empty());
        let missing: Vec<_> = Self::NAMES.into_iter().filter(unset).collect();
        if missing.len() == Self::NAMES.len() {
            return Ok(None);
        }
        if !missing.is_empty() {
            let missing = missing.join(", ");
            return Err(format!(
                "{missing} is not set; set all five for the real OSS, or none for the emulator"
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

/// Both halves, for one bucket.
pub(crate) struct Backend {
    uploads: OssUploads,
    legacy: OssUploads,
    bucket: Bucket,
    upload_url: UploadUrl,
    callback_url: String,
    key_source: Option<PinnedKeys>,
}

impl Backend {
    pub(crate) fn real(account: Account) -> Result<Self, Box<dyn Error>> {
        let endpoint = Endpoint::public(&account.region);
        Self::new(account, &endpoint, None)
    }

    /// A backend at the emulator, and the emulator itself.
    pub(crate) fn emulated(
        application: SocketAddr,
        oss: SocketAddr,
        origins: &[String],
        feed: &Feed,
    ) -> Result<(Self, RunningEmulator), Box<dyn Error>> {
        let bucket: Bucket = "demo-bucket".parse()?;
        let cors = CorsRule::new()
            .allow_method(http::Method::POST)
            .allow_header("*")
            .expose_header("ETag")
            .expose_header("x-oss-request-id");
        let cors = origins
            .iter()
            .fold(cors, |cors, origin| cors.allow_origin(origin));
        let folder = tempfile::tempdir()?;
        let feed = feed.clone();
        let emulator = Emulator::builder()
            .bucket(HostedBucket::new(bucket.clone()).cors(cors))
            .access_key(AccessKey::new("demo-id", "demo-secret"))
            .store(ObjectStore::folder(folder.path())?)
            .allow_private_callbacks()
            .observer(move |upload| feed.trace(report::to_json(&upload)))
            .build()?;
        let endpoint = Endpoint::custom(format!("http://{oss}/{bucket}").parse()?);
        let account = Account {
            credentials: Credentials::new("demo-id", "demo-secret")?,
            bucket,
            region: "cn-hangzhou".parse()?,
            callback_url: format!("http://{application}{CALLBACK_PATH}"),
        };
        let backend = Self::new(account, &endpoint, Some(emulator.key_source()))?;
        Ok((backend, RunningEmulator { emulator, folder }))
    }

    fn new(
        account: Account,
        endpoint: &Endpoint,
        key_source: Option<PinnedKeys>,
    ) -> Result<Self, Box<dyn Error>> {
        // Tokens end with the process, so their key may too.
        let tickets = Tickets::in_memory(TicketKeys::new(1, TicketKey::generate()?));
        let upload_url = endpoint.upload_url(&account.bucket);
        let builder = || -> OssUploadsBuilder {
            OssUploads::builder(account.bucket.clone(), account.credentials.clone())
                .region(account.region.clone())
                .endpoint(endpoint.clone())
                .callback_url(&account.callback_url)
                .tickets(tickets.clone())
        };
        Ok(Self {
            uploads: builder().build()?,
            legacy: builder().format(TokenFormat::Legacy).build()?,
            bucket: account.bucket,
            upload_url,
            callback_url: account.callback_url,
            key_source,
        })
    }

    pub(crate) fn tokens(&self) -> OssPolicyService<impl tower_aliyun_oss::policy::Authorize> {
        self.uploads.policy_service(authorize)
    }

    /// For the sample's own browser client.
    pub(crate) fn legacy_tokens(
        &self,
    ) -> OssPolicyService<impl tower_aliyun_oss::policy::Authorize> {
        self.legacy.policy_service(authorize_legacy)
    }

    /// Tokens that ended before they were asked for.
    pub(crate) fn expired_tokens(
        &self,
    ) -> OssPolicyService<impl tower_aliyun_oss::policy::Authorize> {
        self.tokens().clock(|| SystemTime::now() - TOO_LATE)
    }

    /// Tokens for uploads whose callback the handler answers with an error.
    pub(crate) fn failing_tokens(
        &self,
    ) -> OssPolicyService<impl tower_aliyun_oss::policy::Authorize> {
        self.uploads.policy_service(authorize_failing)
    }

    pub(crate) fn callback_layer(&self) -> OssCallbackLayer {
        let layer = self.uploads.callback_layer();
        match &self.key_source {
            Some(keys) => layer.key_source(keys.clone()),
            None => layer,
        }
    }

    /// Signs whatever is asked for, as OSS does for every customer; nobody but OSS can do it for the real one.
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

    pub(crate) fn callback_url(&self) -> &str {
        &self.callback_url
    }
}

/// The emulator, and the folder of its objects, which goes with it.
pub(crate) struct RunningEmulator {
    emulator: Emulator,
    folder: TempDir,
}

impl RunningEmulator {
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
