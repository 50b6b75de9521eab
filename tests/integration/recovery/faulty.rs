//! A ledger whose calls fail, or take effect later.

use std::sync::atomic::AtomicBool;

use tokio::time::{Instant, sleep};
use tower_aliyun_oss::ticket::{
    ledger::{Claim, CloseReason, DueUpload, ObjectGrants, SettledObject},
    store::{Attempt, Begin, Lease, ReplayStore, StoreError, StoreErrorKind, StoredReply},
};

use super::*;

/// What happens to a call.
pub(super) enum Fault {
    Unavailable,
    /// It takes effect after this time.
    Late(Duration),
}

/// Returns the fault of the method with this name.
type Faults = dyn Fn(&str) -> Option<Fault> + Send + Sync;

/// A ledger in memory, with a fault for each method that `fault` names.
#[derive(Clone)]
pub(super) struct Faulty {
    memory: Arc<MemoryStore>,
    fault: Arc<Faults>,
    /// When rows were claimed, and for how long.
    pub(super) claimed: Arc<Mutex<Option<(Instant, Duration)>>>,
}

impl Faulty {
    pub(super) fn new(
        memory: &Arc<MemoryStore>,
        fault: impl Fn(&str) -> Option<Fault> + Send + Sync + 'static,
    ) -> Self {
        Self {
            memory: Arc::clone(memory),
            fault: Arc::new(fault),
            claimed: Arc::default(),
        }
    }

    /// A ledger that is out of reach while a test says so.
    pub(super) fn down_while(memory: &Arc<MemoryStore>, down: &Arc<AtomicBool>) -> Self {
        let down = Arc::clone(down);
        Self::new(memory, move |_| {
            down.load(Ordering::SeqCst).then_some(Fault::Unavailable)
        })
    }

    fn call<T: Send + 'static>(
        &self,
        name: &str,
        works: impl FnOnce(&MemoryStore) -> Lookup<T, StoreError> + Send + 'static,
    ) -> Lookup<T, StoreError> {
        match (self.fault)(name) {
            None => works(&self.memory),
            Some(Fault::Unavailable) => Lookup::Ready(Err(StoreErrorKind::Unavailable.into())),
            Some(Fault::Late(time)) => {
                let memory = Arc::clone(&self.memory);
                Lookup::pending(async move {
                    sleep(time).await;
                    works(&memory).await
                })
            }
        }
    }
}

impl ReplayStore for Faulty {
    fn begin(&self, attempt: &Attempt) -> Lookup<Begin, StoreError> {
        let attempt = attempt.clone();
        self.call("begin", move |memory| memory.begin(&attempt))
    }
    fn start(&self, lease: &Lease) -> Lookup<(), StoreError> {
        let lease = lease.clone();
        self.call("start", move |memory| memory.start(&lease))
    }
    fn finish(&self, lease: &Lease, reply: &StoredReply) -> Lookup<(), StoreError> {
        let (lease, reply) = (lease.clone(), reply.clone());
        self.call("finish", move |memory| memory.finish(&lease, &reply))
    }
    fn fail(&self, lease: &Lease) -> Lookup<(), StoreError> {
        let lease = lease.clone();
        self.call("fail", move |memory| memory.fail(&lease))
    }
    fn abandon(&self, lease: &Lease) -> Lookup<(), StoreError> {
        let lease = lease.clone();
        self.call("abandon", move |memory| memory.abandon(&lease))
    }
    fn refuse(&self, lease: &Lease) -> Lookup<(), StoreError> {
        let lease = lease.clone();
        self.call("refuse", move |memory| memory.refuse(&lease))
    }
    fn is_used_up(&self, nonce: Nonce) -> Lookup<bool, StoreError> {
        self.call("is_used_up", move |memory| memory.is_used_up(nonce))
    }
}

impl UploadLedger for Faulty {
    fn granted(&self, uploads: &[GrantedUpload]) -> Lookup<(), StoreError> {
        let uploads = uploads.to_vec();
        self.call("granted", move |memory| memory.granted(&uploads))
    }
    fn settled(
        &self,
        lease: &Lease,
        reply: &StoredReply,
        object: &SettledObject,
        until: SystemTime,
    ) -> Lookup<(), StoreError> {
        let (lease, reply, object) = (lease.clone(), reply.clone(), object.clone());
        self.call("settled", move |memory| {
            memory.settled(&lease, &reply, &object, until)
        })
    }
    fn fail_upload(&self, lease: &Lease, due: SystemTime) -> Lookup<(), StoreError> {
        let lease = lease.clone();
        self.call("fail_upload", move |memory| memory.fail_upload(&lease, due))
    }
    fn due(
        &self,
        now: SystemTime,
        limit: usize,
        visibility: Duration,
    ) -> Lookup<Vec<DueUpload>, StoreError> {
        *self.claimed.lock().unwrap() = Some((Instant::now(), visibility));
        self.call("due", move |memory| memory.due(now, limit, visibility))
    }
    fn defer(&self, claim: &Claim, due: SystemTime, attempts: u32) -> Lookup<(), StoreError> {
        let claim = *claim;
        self.call("defer", move |memory| memory.defer(&claim, due, attempts))
    }
    fn close(&self, claim: &Claim, reason: CloseReason) -> Lookup<(), StoreError> {
        let claim = *claim;
        self.call("close", move |memory| memory.close(&claim, reason))
    }
    fn object(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        at: SystemTime,
    ) -> Lookup<ObjectGrants, StoreError> {
        let (bucket, key) = (bucket.clone(), key.clone());
        self.call("object", move |memory| memory.object(&bucket, &key, at))
    }
    fn open_rows(&self) -> Lookup<u64, StoreError> {
        self.call("open_rows", |memory| memory.open_rows())
    }
}
