//! Configuration of an emulator.

use std::{
    collections::HashSet,
    fmt,
    hash::{BuildHasher as _, RandomState},
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::sync::Mutex;

use crate::{
    access_key::AccessKey,
    bucket::HostedBucket,
    callback::{AllowedPrivate, CallbackNetwork, Caller, SystemNetwork},
    context::{Clock, Observer, RequestIds, RequestObserver, Shared},
    cors::MAX_RULES,
    form::FormRoom,
    report::UploadReport,
    request_report::RequestReport,
    service::Emulator,
    store::{BucketState, ObjectStore},
};
use tower_aliyun_oss::{
    protocol::{Bucket, Region},
    testing::CallbackSigner,
};

/// Limit of the default memory store, in bytes.
const DEFAULT_MEMORY: u64 = 256 * 1024 * 1024;

/// Builder of an [`Emulator`].
///
/// By default the emulator has no bucket and no AccessKey, stores up to 256 MiB in memory, acts as
/// the region `cn-hangzhou`, rejects callbacks to private addresses, and signs callbacks with the
/// built-in key of [`CallbackSigner`].
///
/// The emulator is a service and needs no socket:
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
///             --b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\r\n\
///             hello\r\n--b--\r\n";
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
    /// `None` until a network is set.
    network: Option<Arc<dyn CallbackNetwork>>,
    allowed_private: AllowedPrivate,
    /// The first argument of `allow_callbacks_to` that is not a URL.
    bad_callback_url: Option<Box<str>>,
    create_buckets: bool,
    foreign_buckets: HashSet<Bucket>,
    lenient_multipart: bool,
    reject_v1: bool,
    refuse_foreign_origins: bool,
    idle_uploads: Option<Duration>,
    clock: Clock,
    request_ids: RequestIds,
    observer: Option<Observer>,
    request_observer: Option<RequestObserver>,
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
            // Account IDs of Alibaba Cloud have 16 digits.
            owner: "1234567890123456".into(),
            network: None,
            allowed_private: AllowedPrivate::default(),
            bad_callback_url: None,
            create_buckets: false,
            foreign_buckets: HashSet::new(),
            lenient_multipart: false,
            reject_v1: false,
            refuse_foreign_origins: false,
            idle_uploads: None,
            clock: Arc::new(SystemTime::now),
            request_ids: default_request_ids(),
            observer: None,
            request_observer: None,
        }
    }

    /// Adds a bucket. A bare name creates a private bucket without CORS rules.
    pub fn bucket(mut self, bucket: impl Into<HostedBucket>) -> Self {
        self.buckets.push(bucket.into());
        self
    }

    /// Sets whether requests can create and delete buckets: `CreateBucket` and `DeleteBucket`.
    ///
    /// By default the emulator has the buckets of the builder and of its store, and both operations
    /// fail with `NotImplemented`. The emulator then needs a [`bucket`](Self::bucket).
    pub fn create_buckets(mut self, create: bool) -> Self {
        self.create_buckets = create;
        self
    }

    /// Adds an AccessKey. It has full access to every bucket.
    pub fn access_key(mut self, key: AccessKey) -> Self {
        self.keys.push(key);
        self
    }

    /// Sets the region, which signatures of version 4 must name. Defaults to `cn-hangzhou`.
    pub fn region(mut self, region: Region) -> Self {
        self.region = region;
        self
    }

    /// Adds a domain for hosts of the form `{bucket}.{domain}`.
    ///
    /// `localhost` and `oss-{region}.aliyuncs.com` are always accepted. The latter is there because
    /// `ali-oss` sends it as `Host` if its endpoint is an IP address.
    pub fn domain(mut self, domain: &str) -> Self {
        // Hosts are compared in lower case.
        self.domains.push(domain.to_ascii_lowercase().into());
        self
    }

    /// Adds the name of a bucket that belongs to another account. Creating it fails with
    /// `BucketAlreadyExists` and EC 0015-00000102, and every other request to it with
    /// `AccessDenied`.
    ///
    /// [`build`](Self::build) fails if the emulator has a bucket of this name.
    ///
    /// ```
    /// use aliyun_oss_emulator::Emulator;
    ///
    /// let settings = Emulator::builder().foreign_bucket("taken".parse()?).create_buckets(true);
    /// # let _ = settings;
    /// # Ok::<(), tower_aliyun_oss::protocol::EndpointError>(())
    /// ```
    pub fn foreign_bucket(mut self, name: Bucket) -> Self {
        self.foreign_buckets.insert(name);
        self
    }

    /// Sets the store of the objects. Defaults to 256 MiB in memory.
    pub fn store(mut self, store: ObjectStore) -> Self {
        self.store = Some(store);
        self
    }

    /// Sets the key pair that signs callbacks.
    ///
    /// The built-in key pair is published with this crate, so anyone can sign with it. Use another
    /// one if others can reach the application server.
    pub fn signer(mut self, signer: CallbackSigner) -> Self {
        self.signer = signer;
        self
    }

    /// Sets the account that owns the buckets: `x-oss-owner` and `x-oss-requester` of callbacks.
    pub fn owner(mut self, account: &str) -> Self {
        self.owner = account.into();
        self
    }

    /// Allows callbacks to private addresses, including this machine. OSS rejects them with EC
    /// 0007-00000008.
    pub fn allow_private_callbacks(mut self) -> Self {
        self.allowed_private.allow_all();
        self
    }

    /// Allows callbacks to the host and the port of this URL, even if its address is private.
    ///
    /// Callbacks to other private addresses still fail, so a client of the emulator cannot reach
    /// the local network with them. [`build`](Self::build) fails if the text is not an `http` or
    /// `https` URL.
    pub fn allow_callbacks_to(mut self, url: &str) -> Self {
        if !self.allowed_private.allow(url) {
            self.bad_callback_url.get_or_insert_with(|| url.into());
        }
        self
    }

    /// Accepts forms that OSS cannot read but that RFC 7578 allows.
    ///
    /// By default the emulator refuses what OSS refuses, see
    /// [above](crate#what-only-captures-and-clients-show): a part whose `Content-Type` comes before
    /// its `Content-Disposition`, a semicolon without a blank after it, names without quotes, and a
    /// quoted boundary.
    pub fn lenient_multipart(mut self) -> Self {
        self.lenient_multipart = true;
        self
    }

    /// Rejects signatures of version 1, as OSS does for new accounts and new buckets, with 403 and
    /// EC 0002-00000080.
    ///
    /// OSS refuses version 1 for accounts created since 2025-03-01 and for buckets created since
    /// 2025-09-01, in phases. Alibaba Cloud does not state whether this includes forms. Here it
    /// does, so that a client that passes needs no version 1 anywhere.
    pub fn reject_signature_v1(mut self) -> Self {
        self.reject_v1 = true;
        self
    }

    /// Drops multipart uploads that were idle for this long: no part was added since. By default
    /// they stay until they are completed or aborted, as on OSS without a lifecycle rule.
    ///
    /// They are dropped with the next request that concerns multipart uploads.
    ///
    /// ```
    /// use std::time::Duration;
    /// use aliyun_oss_emulator::Emulator;
    ///
    /// let settings = Emulator::builder().drop_idle_uploads(Duration::from_secs(24 * 60 * 60));
    /// # let _ = settings;
    /// ```
    pub fn drop_idle_uploads(mut self, after: Duration) -> Self {
        self.idle_uploads = Some(after);
        self
    }

    /// Refuses requests of web pages whose origin no CORS rule of the bucket allows, with 403 and
    /// EC 0003-00000602.
    ///
    /// OSS processes such a request, and it is the browser that withholds the response from the
    /// page. On a developer's machine, that lets every page that the developer visits send forms to
    /// the emulator, and, if it knows an AccessKey, have callbacks sent. Only requests that change
    /// something are refused, and only if they have an `Origin` header, which no SDK sends.
    pub fn refuse_foreign_origins(mut self) -> Self {
        self.refuse_foreign_origins = true;
        self
    }

    /// Sets the network for callbacks. Defaults to [`SystemNetwork`].
    pub fn network(mut self, network: impl CallbackNetwork + 'static) -> Self {
        self.network = Some(Arc::new(network));
        self
    }

    /// Sets the clock. Defaults to [`SystemTime::now`].
    pub fn clock(mut self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Sets the function that generates request IDs from the current time.
    ///
    /// By default an ID has 24 hex digits and begins, as with OSS, with the time in seconds in
    /// eight of them.
    pub fn request_ids(
        mut self,
        ids: impl Fn(SystemTime) -> String + Send + Sync + 'static,
    ) -> Self {
        self.request_ids = Arc::new(ids);
        self
    }

    /// Sets a function that is called with a report of every upload, and of every callback for an
    /// existing object, once its status is known.
    ///
    /// The function must not block.
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

    /// Sets a function that is called with a report of every request, once it is answered or its
    /// client is gone.
    ///
    /// The [`observer`](Self::observer) sees an upload before this function sees its request,
    /// unless the client is gone before the upload ends. The function must not block.
    ///
    /// ```
    /// use aliyun_oss_emulator::Emulator;
    ///
    /// let settings = Emulator::builder().request_observer(|request| {
    ///     println!("{:?} {:?} {:?}", request.operation(), request.status(), request.refusal());
    /// });
    /// # let _ = settings;
    /// ```
    pub fn request_observer(
        mut self,
        observer: impl Fn(RequestReport) + Send + Sync + 'static,
    ) -> Self {
        self.request_observer = Some(Arc::new(observer));
        self
    }

    /// Adds a function that sees the reports before the [`observer`](Self::observer) does.
    pub(crate) fn also_observer(
        mut self,
        first: impl Fn(&UploadReport) + Send + Sync + 'static,
    ) -> Self {
        let observer = self.observer.take();
        self.observer(move |report| {
            first(&report);
            if let Some(observer) = &observer {
                observer(report);
            }
        })
    }

    /// Returns whether a setting decides where callbacks go.
    pub(crate) fn has_network(&self) -> bool {
        self.network.is_some() || !self.allowed_private.is_empty()
    }

    pub(crate) fn first_bucket(&self) -> Option<Bucket> {
        self.buckets.first().map(|bucket| bucket.name.clone())
    }

    pub(crate) fn first_key(&self) -> Option<AccessKey> {
        self.keys.first().cloned()
    }

    /// Builds the emulator.
    ///
    /// The buckets are added to those of the [`store`](Self::store). What requests have set of a
    /// bucket, such as its ACL, takes precedence over the builder.
    ///
    /// # Errors
    ///
    /// Fails if there is no bucket and requests cannot create one, if two buckets have the same
    /// name, if a bucket has more than ten CORS rules, if a folder store cannot be written, and if
    /// a URL of [`allow_callbacks_to`](Self::allow_callbacks_to) is not a URL.
    pub fn build(self) -> Result<Emulator, EmulatorError> {
        if let Some(url) = self.bad_callback_url {
            return Err(EmulatorError::CallbackUrl(url));
        }
        let store = self
            .store
            .unwrap_or_else(|| ObjectStore::memory(DEFAULT_MEMORY));
        let mut names = HashSet::new();
        for bucket in &self.buckets {
            if bucket.cors.len() > MAX_RULES {
                return Err(EmulatorError::CorsRules(bucket.name.clone()));
            }
            let is_foreign = self.foreign_buckets.contains(&bucket.name);
            if is_foreign || !names.insert(&bucket.name) {
                return Err(EmulatorError::DuplicateBucket(bucket.name.clone()));
            }
        }
        if names.is_empty() && !self.create_buckets && store.buckets().all().is_empty() {
            return Err(EmulatorError::NoBucket);
        }
        let now = (self.clock)();
        for bucket in self.buckets {
            let name = bucket.name.clone();
            let hosted = store.buckets().host(BucketState::hosted(bucket, now));
            hosted.map_err(|error| EmulatorError::Store(name, error.kind()))?;
        }
        let mut domains = self.domains;
        domains.push(format!("oss-{}.aliyuncs.com", self.region).into());
        let at_start = store.buckets().all();
        Ok(Emulator(Arc::new(Shared {
            region: self.region,
            domains,
            keys: self.keys,
            store,
            at_start,
            caller: Caller {
                signer: self.signer,
                network: self
                    .network
                    .unwrap_or_else(|| Arc::new(SystemNetwork::new())),
                owner: self.owner,
            },
            allowed_private: self.allowed_private,
            lenient_multipart: self.lenient_multipart,
            form_room: FormRoom::new(),
            reject_v1: self.reject_v1,
            refuse_foreign_origins: self.refuse_foreign_origins,
            create_buckets: self.create_buckets,
            blocks_public_access: AtomicBool::new(false),
            foreign_buckets: self.foreign_buckets,
            sequence: Mutex::new(()),
            idle_uploads: self.idle_uploads,
            clock: self.clock,
            request_ids: self.request_ids,
            observer: self.observer,
            request_observer: self.request_observer,
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

/// Error of [`EmulatorBuilder::build`].
#[derive(Clone, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EmulatorError {
    /// No bucket was added.
    #[error(
        "the emulator has no bucket; add one with `EmulatorBuilder::bucket`, or let requests \
         create buckets with `EmulatorBuilder::create_buckets`"
    )]
    NoBucket,
    /// A bucket of this name was added twice, or is also one of another account.
    #[error("the bucket {0} was added twice")]
    DuplicateBucket(Bucket),
    /// This bucket has more than ten CORS rules.
    #[error("the bucket {0} has more than ten CORS rules; OSS accepts at most ten")]
    CorsRules(Bucket),
    /// The settings of this bucket could not be written to the folder of the store.
    #[error("failed to write the settings of the bucket {0} to the folder of the store: {1}")]
    Store(Bucket, io::ErrorKind),
    /// This text of [`EmulatorBuilder::allow_callbacks_to`] is not an `http` or `https` URL.
    #[error("{0:?} is not a URL; write it as http://127.0.0.1:8080/oss/callback")]
    CallbackUrl(Box<str>),
}

impl fmt::Debug for EmulatorError {
    /// Writes the text of the error, because this is what a program prints whose `main` returns it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn default_region() -> Region {
    #[expect(clippy::expect_used, reason = "parses a constant; every test does so")]
    "cn-hangzhou".parse().expect("the default region is valid")
}

/// Generates IDs that are unique within the process: the time and a counter.
fn default_request_ids() -> RequestIds {
    // A random start, so that two processes do not generate the same IDs.
    let count = AtomicU64::new(RandomState::new().hash_one(0));
    Arc::new(move |now| {
        let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let count = count.fetch_add(1, Ordering::Relaxed);
        // The time in seconds exceeds eight digits in 2106.
        format!("{:08X}{count:016X}", seconds & 0xFFFF_FFFF)
    })
}
