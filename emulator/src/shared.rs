//! What every request to an emulator has in common.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::SystemTime,
};

use crate::{
    access_key::AccessKey, bucket::HostedBucket, callback::Caller, cors::CorsRule,
    report::UploadReport, store::ObjectStore,
};
use tower_aliyun_oss::protocol::{Bucket, Region};

pub(crate) type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;
pub(crate) type RequestIds = Arc<dyn Fn(SystemTime) -> String + Send + Sync>;
pub(crate) type Observer = Arc<dyn Fn(UploadReport) + Send + Sync>;

/// The settings, checked.
pub(crate) struct Shared {
    pub(crate) region: Region,
    pub(crate) domains: Vec<Box<str>>,
    pub(crate) buckets: HashMap<Bucket, HostedBucket>,
    /// By bucket; a request can change them.
    pub(crate) cors: RwLock<HashMap<Bucket, Arc<[CorsRule]>>>,
    pub(crate) keys: Vec<AccessKey>,
    pub(crate) store: ObjectStore,
    pub(crate) caller: Caller,
    pub(crate) allow_private: bool,
    pub(crate) strict_multipart: bool,
    pub(crate) clock: Clock,
    pub(crate) request_ids: RequestIds,
    pub(crate) observer: Option<Observer>,
}

impl Shared {
    pub(crate) fn now(&self) -> SystemTime {
        (self.clock)()
    }

    pub(crate) fn request_id(&self, now: SystemTime) -> String {
        (self.request_ids)(now)
    }

    /// The rules of a bucket.
    pub(crate) fn cors(&self, bucket: &Bucket) -> Arc<[CorsRule]> {
        let cors = self.cors.read().unwrap_or_else(PoisonError::into_inner);
        cors.get(bucket).cloned().unwrap_or_default()
    }

    pub(crate) fn set_cors(&self, bucket: &Bucket, rules: Vec<CorsRule>) {
        let mut cors = self.cors.write().unwrap_or_else(PoisonError::into_inner);
        cors.insert(bucket.clone(), rules.into());
    }

    pub(crate) fn observe(&self, report: UploadReport) {
        if let Some(observer) = &self.observer {
            observer(report);
        }
    }
}
