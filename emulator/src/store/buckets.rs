//! The buckets of a store: their settings, and the file of each in a folder store.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::{Duration, SystemTime},
};

use http::Method;
use serde::{Deserialize, Serialize};

use super::{content::blocking, home::BucketFiles};
use crate::{
    bucket::{Acl, HostedBucket},
    callback::CallbackPolicy,
    cors::{CorsRule, CorsRules},
    encryption::Encryption,
    object::Description,
    referer::RefererRules,
    tags::Tag,
};
use tower_aliyun_oss::protocol::Bucket;

/// The settings of a bucket.
#[derive(Clone, Debug)]
pub(crate) struct BucketState {
    pub(crate) name: Bucket,
    pub(crate) acl: Acl,
    pub(crate) created: SystemTime,
    pub(crate) storage_class: String,
    /// `LRS` or `ZRS`.
    pub(crate) redundancy: String,
    pub(crate) tags: Vec<Tag>,
    pub(crate) cors: Arc<CorsRules>,
    pub(crate) callback_policies: Vec<CallbackPolicy>,
    /// Whether Block Public Access is on.
    pub(crate) blocks_public_access: bool,
    /// That of new objects for which the client requests no other one.
    pub(crate) encryption: Option<Encryption>,
    pub(crate) referer: RefererRules,
    /// Whether the bucket is for requesters who pay.
    pub(crate) requester_pays: bool,
    /// `None` until a request has set it.
    pub(crate) transfer_acceleration: Option<bool>,
    /// Whether a request has set the ACL, so that the builder no longer does.
    acl_is_set: bool,
    /// The same for the CORS rules.
    cors_is_set: bool,
}

impl BucketState {
    /// Creates the state of a bucket of the builder.
    pub(crate) fn hosted(bucket: HostedBucket, now: SystemTime) -> Self {
        Self {
            name: bucket.name,
            acl: bucket.acl,
            created: now,
            storage_class: "Standard".to_owned(),
            redundancy: "LRS".to_owned(),
            tags: Vec::new(),
            cors: Arc::new(CorsRules {
                rules: bucket.cors,
                response_vary: true,
            }),
            callback_policies: Vec::new(),
            blocks_public_access: false,
            encryption: None,
            referer: RefererRules::default(),
            requester_pays: false,
            transfer_acceleration: None,
            acl_is_set: false,
            cors_is_set: false,
        }
    }

    /// Returns the ACL that applies to requests without a signature.
    pub(crate) fn open_acl(&self) -> Acl {
        match self.blocks_public_access {
            true => Acl::Private,
            false => self.acl,
        }
    }

    /// Whether requests without a signature may read an object of the bucket.
    pub(crate) fn lets_read(&self, object: &Description) -> bool {
        !self.blocks_public_access && object.is_readable(self.acl)
    }

    pub(crate) fn set_acl(&mut self, acl: Acl) {
        self.acl = acl;
        self.acl_is_set = true;
    }

    pub(crate) fn set_cors(&mut self, rules: CorsRules) {
        self.cors = Arc::new(rules);
        self.cors_is_set = true;
    }
}

/// Why a bucket cannot be removed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RemoveBucketError {
    #[error("the bucket does not exist")]
    NotFound,
    #[error("the bucket has objects")]
    Objects,
    #[error("the bucket has multipart uploads in progress")]
    Uploads,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The buckets of a store, by name.
pub(crate) struct Buckets {
    known: RwLock<BTreeMap<Bucket, Arc<BucketState>>>,
    /// `None` in memory.
    files: Option<BucketFiles>,
    /// Held while a bucket changes, so that of two changes the file and the memory end with the
    /// same one.
    changing: Mutex<()>,
    /// Read while an object is stored, and written while a bucket is removed, so that no object is
    /// stored in a bucket that does not exist.
    existence: RwLock<()>,
}

impl Buckets {
    pub(super) fn in_memory() -> Self {
        Self {
            known: RwLock::default(),
            files: None,
            changing: Mutex::default(),
            existence: RwLock::default(),
        }
    }

    /// Reads the buckets of a folder.
    pub(super) fn in_files(files: BucketFiles) -> io::Result<Self> {
        let mut known = BTreeMap::new();
        for (name, text) in files.read_all()? {
            let record: BucketRecord = serde_json::from_slice(&text).map_err(|error| {
                let text = format!("the settings of the bucket {name} are damaged: {error}");
                io::Error::new(io::ErrorKind::InvalidData, text)
            })?;
            known.insert(name.clone(), Arc::new(record.into_state(name)));
        }
        Ok(Self {
            known: RwLock::new(known),
            files: Some(files),
            ..Self::in_memory()
        })
    }

    pub(crate) fn get(&self, name: &Bucket) -> Option<Arc<BucketState>> {
        self.read().get(name).cloned()
    }

    /// Returns all buckets, ordered by name.
    pub(crate) fn all(&self) -> Vec<Arc<BucketState>> {
        self.read().values().cloned().collect()
    }

    /// Adds the bucket of a builder. What requests have set stays.
    ///
    /// Blocks while the file is written.
    pub(crate) fn host(&self, bucket: BucketState) -> io::Result<()> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = match self.get(&bucket.name) {
            None => bucket,
            Some(known) => {
                let mut known = Arc::unwrap_or_clone(known);
                if !known.acl_is_set {
                    known.acl = bucket.acl;
                }
                if !known.cors_is_set {
                    known.cors = bucket.cors;
                }
                known
            }
        };
        self.save(bucket)
    }

    /// Adds a bucket. Returns `false` if there is one of this name, which stays as it is.
    pub(crate) async fn create(self: &Arc<Self>, bucket: BucketState) -> io::Result<bool> {
        self.run(move |buckets| {
            let is_new = buckets.get(&bucket.name).is_none();
            if is_new {
                buckets.save(bucket)?;
            }
            Ok(is_new)
        })
        .await
    }

    /// Adds or replaces a bucket.
    pub(crate) async fn restore(self: &Arc<Self>, bucket: BucketState) -> io::Result<()> {
        self.run(move |buckets| buckets.save(bucket)).await
    }

    /// Changes a bucket. Returns `false` if it does not exist.
    pub(crate) async fn change(
        self: &Arc<Self>,
        name: &Bucket,
        change: impl FnOnce(&mut BucketState) + Send + 'static,
    ) -> io::Result<bool> {
        let name = name.clone();
        self.run(move |buckets| {
            let Some(bucket) = buckets.get(&name) else {
                return Ok(false);
            };
            let mut bucket = Arc::unwrap_or_clone(bucket);
            change(&mut bucket);
            buckets.save(bucket)?;
            Ok(true)
        })
        .await
    }

    /// Removes a bucket if `check` succeeds. No object is stored in it meanwhile.
    pub(super) async fn remove(
        self: &Arc<Self>,
        name: &Bucket,
        check: impl FnOnce() -> Result<(), RemoveBucketError> + Send + 'static,
    ) -> Result<(), RemoveBucketError> {
        let name = name.clone();
        self.run(move |buckets| {
            let _closed = buckets
                .existence
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            if buckets.get(&name).is_none() {
                return Ok(Err(RemoveBucketError::NotFound));
            }
            if let Err(error) = check() {
                return Ok(Err(error));
            }
            if let Some(files) = &buckets.files {
                files.remove(&name)?;
            }
            buckets.write().remove(&name);
            Ok(Ok(()))
        })
        .await?
    }

    /// Keeps the buckets that exist while the guard lives.
    pub(super) fn keep(&self) -> RwLockReadGuard<'_, ()> {
        self.existence
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let buckets = self.clone();
        let work = move || {
            let _changing = buckets
                .changing
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            work(&buckets)
        };
        match self.files {
            Some(_) => blocking(work).await,
            None => work(),
        }
    }

    /// Writes a bucket to its file, then to memory.
    fn save(&self, bucket: BucketState) -> io::Result<()> {
        if let Some(files) = &self.files {
            let text = serde_json::to_vec(&BucketRecord::of(&bucket)).map_err(io::Error::from)?;
            files.write(&bucket.name, &text)?;
        }
        self.write().insert(bucket.name.clone(), Arc::new(bucket));
        Ok(())
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<Bucket, Arc<BucketState>>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<Bucket, Arc<BucketState>>> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A bucket in its file.
#[derive(Deserialize, Serialize)]
struct BucketRecord {
    /// Milliseconds since the Unix epoch.
    created: u64,
    acl: String,
    acl_is_set: bool,
    storage_class: String,
    redundancy: String,
    tags: Vec<Tag>,
    cors: Vec<RuleRecord>,
    cors_is_set: bool,
    response_vary: bool,
    #[serde(default)]
    callback_policies: Vec<CallbackPolicy>,
    #[serde(default)]
    blocks_public_access: bool,
    encryption: Option<Encryption>,
    #[serde(default)]
    referer: RefererRules,
    #[serde(default)]
    requester_pays: bool,
    #[serde(default)]
    transfer_acceleration: Option<bool>,
}

/// A CORS rule in the file of a bucket.
#[derive(Deserialize, Serialize)]
struct RuleRecord {
    origins: Vec<Box<str>>,
    methods: Vec<String>,
    headers: Vec<Box<str>>,
    exposed: Vec<Box<str>>,
    max_age: Option<Duration>,
}

impl BucketRecord {
    fn of(bucket: &BucketState) -> Self {
        let since = bucket.created.duration_since(SystemTime::UNIX_EPOCH);
        Self {
            created: u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX),
            acl: bucket.acl.as_str().to_owned(),
            acl_is_set: bucket.acl_is_set,
            storage_class: bucket.storage_class.clone(),
            redundancy: bucket.redundancy.clone(),
            tags: bucket.tags.clone(),
            cors: bucket.cors.rules.iter().map(RuleRecord::of).collect(),
            cors_is_set: bucket.cors_is_set,
            response_vary: bucket.cors.response_vary,
            callback_policies: bucket.callback_policies.clone(),
            blocks_public_access: bucket.blocks_public_access,
            encryption: bucket.encryption.clone(),
            referer: bucket.referer.clone(),
            requester_pays: bucket.requester_pays,
            transfer_acceleration: bucket.transfer_acceleration,
        }
    }

    fn into_state(self, name: Bucket) -> BucketState {
        BucketState {
            name,
            // The strictest, if the file has an ACL of a later version.
            acl: Acl::from_name(&self.acl).unwrap_or(Acl::Private),
            created: SystemTime::UNIX_EPOCH + Duration::from_millis(self.created),
            storage_class: self.storage_class,
            redundancy: self.redundancy,
            tags: self.tags,
            cors: Arc::new(CorsRules {
                rules: self.cors.into_iter().map(RuleRecord::into_rule).collect(),
                response_vary: self.response_vary,
            }),
            callback_policies: self.callback_policies,
            blocks_public_access: self.blocks_public_access,
            encryption: self.encryption,
            referer: self.referer,
            requester_pays: self.requester_pays,
            transfer_acceleration: self.transfer_acceleration,
            acl_is_set: self.acl_is_set,
            cors_is_set: self.cors_is_set,
        }
    }
}

impl RuleRecord {
    fn of(rule: &CorsRule) -> Self {
        Self {
            origins: rule.origins.clone(),
            methods: rule.methods.iter().map(ToString::to_string).collect(),
            headers: rule.headers.clone(),
            exposed: rule.exposed.clone(),
            max_age: rule.max_age,
        }
    }

    fn into_rule(self) -> CorsRule {
        let methods = self.methods.iter();
        CorsRule {
            origins: self.origins,
            methods: methods
                .filter_map(|method| method.parse::<Method>().ok())
                .collect(),
            headers: self.headers,
            exposed: self.exposed,
            max_age: self.max_age,
        }
    }
}
