//! The settings of an emulator.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{
    access_key::AccessKey,
    bucket::HostedBucket,
    builder_error::EmulatorError,
    callback::{CallbackNetwork, Caller, SystemNetwork},
    context::{Clock, Observer, RequestIds, Shared},
    cors::MAX_RULES,
    report::UploadReport,
    service::Emulator,
    store::ObjectStore,
};
use tower_aliyun_oss::protocol::Region;
use tower_aliyun_oss::testing::CallbackSigner;

/// What the memory store holds unless told otherwise.
const DEFAULT_MEMORY: u64 = 256 * 1024 * 1024;

/// The settings of an [`Emulator`].
///
/// Unless told otherwise it has no bucket and knows no key, keeps up to 256 MiB in memory, stands for the region
/// `cn-hangzhou`, refuses callbacks to private addresses, and signs with the built-in key of [`CallbackSigner`].
///
/// As a service it needs no socket:
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use bytes::Bytes;
/// use http::Request;
/// use http_body_util::Full;
/// use tower::ServiceExt;
/// use aliyun_oss_emulator::{Acl, Emulator, HostedBucket};
/// use tower_aliyun_oss::protocol::Bucket;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let bucket: Bucket = "examplebucket".parse()?;
/// let emulator = Emulator::builder()
///     .bucket(HostedBucket::new(bucket.clone()).acl(Acl::PublicReadWrite))
///     .clock(|| SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000))
///     .build()?;
/// let form = "--b\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\na.txt\r\n\
///             --b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\r\nhello\r\n--b--\r\n";
/// let upload = Request::post("/")
///     .header("host", "examplebucket.localhost")
///     .header("content-type", "multipart/form-data; boundary=b")
///     .body(Full::<Bytes>::from(form))?;
/// assert_eq!(emulator.clone().oneshot(upload).await?.status(), 204);
/// assert_eq!(emulator.store().list(&bucket).await?[0].size(), 5);
/// # Ok(())
/// # }
/// ```
#[must_use = "a builder does nothing until it is built"]
pub struct EmulatorBuilder {
    region: Region,
    domains: Vec<Box<str>>,
    buckets: Vec<HostedBucket>,
    keys: Vec<AccessKey>,
    store: Option<ObjectStore>,
    signer: CallbackSigner,
    owner: Box<str>,
    network: Arc<dyn CallbackNetwork>,
    allow_private: bool,
    strict_multipart: bool,
    clock: Clock,
    request_ids: RequestIds,
    observer: Option<Observer>,
}

impl EmulatorBuilder {
    pub(crate) fn new() -> Self {
        Self {
            region: default_region(),
            domains: vec!["localhost".into()],
            buckets: Vec::new(),
            keys: Vec::new(),
            store: None,
            signer: CallbackSigner::new(),
            owner: "1234567890123456".into(),
            network: Arc::new(SystemNetwork::new()),
            allow_private: false,
            strict_multipart: false,
            clock: Arc::new(SystemTime::now),
            request_ids: default_request_ids(),
            observer: None,
        }
    }

    /// Adds a bucket: a name alone makes a private one without CORS.
    pub fn bucket(mut self, bucket: impl Into<HostedBucket>) -> Self {
        self.buckets.push(bucket.into());
        self
    }

    /// Adds an AccessKey, which may do everything with every bucket.
    pub fn access_key(mut self, key: AccessKey) -> Self {
        self.keys.push(key);
        self
    }

    /// The region that signatures of version 4 must name; `cn-hangzhou` by default.
    pub fn region(mut self, region: Region) -> Self {
        self.region = region;
        self
    }

    /// Another domain that buckets stand in front of, beside `localhost` and `oss-{region}.aliyuncs.com`:
    /// `{bucket}.{domain}`.
    ///
    /// The public domain of the region is known because `ali-oss` sends it as `Host` to an endpoint that is an IP
    /// address.
    pub fn domain(mut self, domain: &str) -> Self {
        self.domains.push(domain.to_ascii_lowercase().into());
        self
    }

    /// Where objects are kept.
    pub fn store(mut self, store: ObjectStore) -> Self {
        self.store = Some(store);
        self
    }

    /// The key pair that callbacks are signed with. The built-in one is public knowledge: take one of your own if
    /// anybody but you can reach what the callbacks go to.
    pub fn signer(mut self, signer: CallbackSigner) -> Self {
        self.signer = signer;
        self
    }

    /// The account that owns the buckets: `x-oss-owner` and `x-oss-requester` of callbacks.
    pub fn owner(mut self, account: &str) -> Self {
        self.owner = account.into();
        self
    }

    /// Allows callbacks to addresses that are not on the internet, this machine included. OSS refuses them with EC
    /// 0007-00000008.
    pub fn allow_private_callbacks(mut self) -> Self {
        self.allow_private = true;
        self
    }

    /// Refuses multipart that is well-formed but that OSS is said not to read: a quoted boundary, and names of fields
    /// without quotes.
    pub fn strict_multipart(mut self) -> Self {
        self.strict_multipart = true;
        self
    }

    /// The network that callbacks go out to; that of the machine by default.
    pub fn network(mut self, network: impl CallbackNetwork + 'static) -> Self {
        self.network = Arc::new(network);
        self
    }

    /// The clock; that of the machine by default.
    pub fn clock(mut self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Makes the id of a request, given the time. By default 24 hex digits, the first eight of them the time in
    /// seconds, as those of OSS.
    pub fn request_ids(
        mut self,
        ids: impl Fn(SystemTime) -> String + Send + Sync + 'static,
    ) -> Self {
        self.request_ids = Arc::new(ids);
        self
    }

    /// Is told of every upload when its answer is known; it must not block.
    ///
    /// ```
    /// use aliyun_oss_emulator::Emulator;
    ///
    /// let settings = Emulator::builder().observer(|upload| {
    ///     println!("{}: {:?}, then {}", upload.request_id(), upload.steps(), upload.status());
    ///     for callback in upload.exchanges() {
    ///         println!("{} answered {:?}", callback.url(), callback.status());
    ///     }
    /// });
    /// # let _ = settings;
    /// ```
    pub fn observer(mut self, observer: impl Fn(UploadReport) + Send + Sync + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// When there is no bucket, or one twice, or one with more than ten rules of CORS.
    pub fn build(self) -> Result<Emulator, EmulatorError> {
        if self.buckets.is_empty() {
            return Err(EmulatorError::NoBucket);
        }
        let mut buckets = HashMap::new();
        for bucket in self.buckets {
            let name = bucket.name.clone();
            if bucket.cors.len() > MAX_RULES {
                return Err(EmulatorError::CorsRules(name));
            }
            if buckets.insert(name.clone(), bucket).is_some() {
                return Err(EmulatorError::DuplicateBucket(name));
            }
        }
        let cors = buckets.values().map(|bucket: &HostedBucket| {
            let rules = bucket.cors.clone();
            (bucket.name.clone(), rules.into())
        });
        let mut domains = self.domains;
        domains.push(format!("oss-{}.aliyuncs.com", self.region).into());
        Ok(Emulator(Arc::new(Shared {
            cors: RwLock::new(cors.collect()),
            region: self.region,
            domains,
            buckets,
            keys: self.keys,
            store: self
                .store
                .unwrap_or_else(|| ObjectStore::memory(DEFAULT_MEMORY)),
            caller: Caller {
                signer: self.signer,
                network: self.network,
                owner: self.owner,
            },
            allow_private: self.allow_private,
            strict_multipart: self.strict_multipart,
            clock: self.clock,
            request_ids: self.request_ids,
            observer: self.observer,
        })))
    }
}

impl fmt::Debug for EmulatorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmulatorBuilder")
            .field("buckets", &self.buckets)
            .field("keys", &self.keys)
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

fn default_region() -> Region {
    #[expect(clippy::expect_used, reason = "a constant, which every test parses")]
    "cn-hangzhou".parse().expect("the default region is one")
}

/// Ids that are of this process, and that count.
fn default_request_ids() -> RequestIds {
    let count = AtomicU64::new(RandomState::new().hash_one(0));
    Arc::new(move |now| {
        let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let count = count.fetch_add(1, Ordering::Relaxed);
        format!("{:08X}{count:016X}", seconds & 0xFFFF_FFFF)
    })
}
