//! What every request to an emulator has in common.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::SystemTime,
};

use super::{
    access_key::AccessKey, bucket::HostedBucket, callback::Caller, cors::CorsRule,
    report::UploadReport, store::ObjectStore,
};
use crate::protocol::{Bucket, Region};

pub(super) type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;
pub(super) type RequestIds = Arc<dyn Fn(SystemTime) -> String + Send + Sync>;
pub(super) type Observer = Arc<dyn Fn(UploadReport) + Send + Sync>;

/// The settings, checked.
pub(super) struct Shared {
    pub(super) region: Region,
    pub(super) domains: Vec<Box<str>>,
    pub(super) buckets: HashMap<Bucket, HostedBucket>,
    /// By bucket; a request can change them.
    pub(super) cors: RwLock<HashMap<Bucket, Arc<[CorsRule]>>>,
    pub(super) keys: Vec<AccessKey>,
    pub(super) store: ObjectStore,
    pub(super) caller: Caller,
    pub(super) allow_private: bool,
    pub(super) strict_multipart: bool,
    pub(super) clock: Clock,
    pub(super) request_ids: RequestIds,
    pub(super) observer: Option<Observer>,
}

impl Shared {
    pub(super) fn now(&self) -> SystemTime {
        (self.clock)()
    }

    pub(super) fn request_id(&self, now: SystemTime) -> String {
        (self.request_ids)(now)
    }

    /// The rules of a bucket.
    pub(super) fn cors(&self, bucket: &Bucket) -> Arc<[CorsRule]> {
        let cors = self.cors.read().unwrap_or_else(PoisonError::into_inner);
        cors.get(bucket).cloned().unwrap_or_default()
    }

    pub(super) fn set_cors(&self, bucket: &Bucket, rules: Vec<CorsRule>) {
        let mut cors = self.cors.write().unwrap_or_else(PoisonError::into_inner);
        cors.insert(bucket.clone(), rules.into());
    }

    pub(super) fn observe(&self, report: UploadReport) {
        if let Some(observer) = &self.observer {
            observer(report);
        }
    }
}
