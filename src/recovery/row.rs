//! The recovery of one row, according to what OSS reports.

use std::{
    error::Error,
    fmt::Display,
    future::{Future, IntoFuture as _, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::Poll,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{Request, Response};
use tokio::time::{Instant, timeout, timeout_at};
use tower_service::Service;

use super::{
    batch::Done,
    hooks::{DeadLetter, DeadLetterReason, Orphan, OrphanAction},
    request::{self, RecoveryBody},
    settings::{LAST_CALL, Settings},
};
use crate::{
    Lookup,
    callback::{
        CallbackError, CallbackErrorKind, HandlerRuns, RecoveredUpload, find_ticket, upload_id,
    },
    protocol::CallbackTarget,
    storage::{ObjectMetadata, StorageError, StorageErrorKind},
    ticket::{
        TicketError,
        internal::CheckedTicket,
        ledger::{CloseReason, DueUpload, GrantedUpload, ObjectGrants, UploadLedger},
        store::{StoreError, StoreErrorKind},
    },
};

/// The pause of an upload that another request handles, or whose store is out of reach.
const BUSY_PAUSE: Duration = Duration::from_secs(60);

/// How many attempts may find the ticket of an at-most-once handler used, before the handler counts
/// as one whose process has ended.
const MAX_USED: u32 = 5;

/// What to do with a row.
enum Verdict {
    /// The layer has settled it.
    Recovered,
    /// Nothing of this grant is stored.
    Drop(&'static str),
    OrphanKept,
    OrphanDeleted,
    /// Not now, for this reason. No attempt counts.
    Later(Duration, &'static str),
    /// It is unknown whether the object exists. No attempt counts.
    Unknown(StorageError),
    /// Another request handles the upload, or has.
    Used,
    /// The row has expired.
    Expired,
    /// The attempt failed.
    Failed(DeadLetterReason),
    /// The ledger failed. No attempt counts.
    Ledger(StoreError),
}

impl From<StoreError> for Verdict {
    fn from(error: StoreError) -> Self {
        Self::Ledger(error)
    }
}

/// A claimed row, and what its recovery needs.
pub(super) struct Row {
    pub(super) due: DueUpload,
    pub(super) settings: Arc<Settings>,
    pub(super) ledger: Arc<dyn UploadLedger>,
}

impl Row {
    /// Recovers the row, and changes it in the ledger.
    pub(super) async fn recover<S, B>(self, service: S) -> (Done, u64)
    where
        S: Service<Request<RecoveryBody>, Response = Response<B>>,
    {
        let asked = AtomicU64::new(0);
        let call = OnceLock::new();
        let started = Instant::now();
        let ends = started + self.settings.row_time();
        // The processes that claimed it before have died, perhaps because of this upload.
        if self.due.claim.attempts() > self.settings.max_attempts {
            let verdict = Verdict::Failed(DeadLetterReason::Failed);
            return (self.conclude(verdict, false, ends).await, 0);
        }
        let verdict = {
            let attempt = self.attempt(service, &asked, &call);
            let mut attempt = pin!(timeout_at(started + self.settings.attempt_timeout, attempt));
            // A handler or a hook that panics must not end the recovery. After a panic, the future
            // is not polled again.
            let caught = poll_fn(|cx| {
                let poll = catch_unwind(AssertUnwindSafe(|| attempt.as_mut().poll(cx)));
                poll.map_or(Poll::Ready(None), |poll| poll.map(Some))
            });
            match caught.await {
                Some(Ok(Ok(verdict) | Err(verdict))) => verdict,
                Some(Err(_)) | None => Verdict::Failed(DeadLetterReason::Failed),
            }
        };
        let called = call.get().is_some_and(RecoveredUpload::was_called);
        let done = self.conclude(verdict, called, ends).await;
        (done, asked.into_inner())
    }

    fn now(&self) -> SystemTime {
        self.settings.tickets.now()
    }

    /// Releases the claim of a row that is not started. `ends` is when the attempt to do so ends.
    pub(super) async fn release(self, ends: Instant) -> Done {
        self.defer(Duration::ZERO, false, Done::Deferred, ends)
            .await
    }

    /// Returns early with what is decided before the last step: `?` on a verdict.
    async fn attempt<S, B>(
        &self,
        service: S,
        asked: &AtomicU64,
        made: &OnceLock<RecoveredUpload>,
    ) -> Result<Verdict, Verdict>
    where
        S: Service<Request<RecoveryBody>, Response = Response<B>>,
    {
        let upload = &self.due.upload;
        asked.fetch_add(1, Relaxed);
        let found = match self.head().await {
            Ok(found) => Arc::new(found),
            Err(error) if error.kind() == StorageErrorKind::NotFound => {
                return Err(self.drop("no object is stored"));
            }
            Err(error) => return Err(Verdict::Unknown(error)),
        };
        // Without this time, an object that is older than the grant would be accepted.
        let stored = found
            .last_modified()
            .ok_or(Verdict::Failed(DeadLetterReason::Metadata))?;
        let grants = self.object(stored).await?;
        if grants.has_settled(found.etag(), found.version_id()) {
            return Err(self.drop("the object is settled"));
        }
        let owner = match grants.owner {
            Some(owner) => Some(owner),
            // The clock of the application can run ahead of that of OSS.
            None => {
                let latest = stored.checked_add(self.settings.clock_difference);
                // Without a limit, every grant is older.
                let latest = latest.unwrap_or_else(|| self.now().max(stored));
                self.object(latest).await?.owner
            }
        };
        if owner != Some(upload.nonce()) {
            return Err(self.drop("another grant owns the object, or it is older than the grant"));
        }
        let body = request::render(upload, &found).map_err(unusable)?;
        let ticket = self.ticket(&body).map_err(unusable)?;
        match self.permitted(&ticket, &found) {
            Ok(()) => {}
            Err(TicketError::ContentType) if found.content_type().is_none() => {
                return Err(Verdict::Failed(DeadLetterReason::Metadata));
            }
            Err(TicketError::Size | TicketError::ContentType) => {
                return self.outside(found, stored, &grants, asked).await;
            }
            Err(error) => return Err(unusable(error)),
        }
        // The record of the ticket expires with the row, so the handler could run a second time.
        if self.now() >= upload.until() {
            return Err(Verdict::Expired);
        }
        let prefix = self.settings.proxy_prefix.as_deref();
        let call = request::call(upload, found, body, prefix, self.now()).map_err(unusable)?;
        made.get_or_init(|| call.upload.clone());
        Ok(deliver(service, call).await)
    }

    async fn head(&self) -> Result<ObjectMetadata, StorageError> {
        let upload = &self.due.upload;
        let head = self
            .settings
            .storage
            .head(upload.bucket(), upload.key().as_str());
        match timeout(self.settings.storage_timeout, head.into_future()).await {
            Ok(found) => found,
            Err(_) => Err(StorageErrorKind::TimedOut.into()),
        }
    }

    async fn object(&self, stored: SystemTime) -> Result<ObjectGrants, StoreError> {
        let upload = &self.due.upload;
        let found = self.ledger.object(upload.bucket(), upload.key(), stored);
        found.await
    }

    fn ticket(&self, body: &Bytes) -> Result<CheckedTicket, TicketError> {
        let call = self.due.upload.call();
        let (target, _) =
            CallbackTarget::parse_named(call.target()).map_err(|_| TicketError::Target)?;
        let text = find_ticket(call.body_type(), body)?;
        let keys = self.settings.tickets.keys();
        keys.check_expired(&text, &target, call.body_type(), self.now())
    }

    fn permitted(&self, ticket: &CheckedTicket, found: &ObjectMetadata) -> Result<(), TicketError> {
        let (bucket, key) = (self.due.upload.bucket(), self.due.upload.key());
        let content_type = found.content_type().unwrap_or_default();
        ticket.permits(bucket.as_str(), key.as_str(), found.size(), content_type)
    }

    /// Nothing is stored under this grant. While OSS can still store the object, that is not final.
    fn drop(&self, why: &'static str) -> Verdict {
        let left = self.due.upload.due_at().duration_since(self.now());
        match left {
            Ok(left) if !left.is_zero() => Verdict::Later(left, why),
            _ => Verdict::Drop(why),
        }
    }

    /// OSS itself reports a size or a type that is not granted.
    async fn outside(
        &self,
        found: Arc<ObjectMetadata>,
        stored: SystemTime,
        grants: &ObjectGrants,
        asked: &AtomicU64,
    ) -> Result<Verdict, Verdict> {
        let why = "the object is outside of the grant";
        let later = self.drop(why);
        let upload = &self.due.upload;
        if !matches!(later, Verdict::Drop(_)) || !is_orphan(upload, stored, grants) {
            return Err(later);
        }
        let orphan = Orphan {
            upload: upload.clone(),
            found: Arc::clone(&found),
        };
        if (self.settings.on_orphan)(orphan).await != OrphanAction::Delete {
            return Ok(Verdict::OrphanKept);
        }
        // Compared again, immediately before: the hook may have taken long.
        asked.fetch_add(1, Relaxed);
        let again = match self.head().await {
            Ok(again) => again,
            Err(error) if error.kind() == StorageErrorKind::NotFound => {
                return Err(Verdict::Drop("the object was deleted meanwhile"));
            }
            Err(error) => return Err(Verdict::Unknown(error)),
        };
        let grants = self.object(stored).await?;
        if !is_same(&found, &again) || !is_orphan(upload, stored, &grants) {
            return Err(Verdict::Later(
                BUSY_PAUSE,
                "the object was replaced meanwhile",
            ));
        }
        asked.fetch_add(1, Relaxed);
        let delete = self
            .settings
            .storage
            .delete(upload.bucket(), upload.key().as_str());
        match timeout(self.settings.storage_timeout, delete.into_future()).await {
            Ok(Ok(())) => Ok(Verdict::OrphanDeleted),
            Ok(Err(error)) => Err(Verdict::Unknown(error)),
            Err(_) => Err(Verdict::Unknown(StorageErrorKind::TimedOut.into())),
        }
    }

    /// Removes or defers the row. `called` is whether the handler was called; `ends` is when the
    /// work on the row ends.
    async fn conclude(&self, verdict: Verdict, called: bool, ends: Instant) -> Done {
        let upload = &self.due.upload;
        let (nonce, attempts) = (upload.nonce(), self.due.claim.attempts());
        match verdict {
            Verdict::Recovered => {
                tracing::info!(target: TARGET, ?nonce, attempts, "an upload is recovered");
                Done::Recovered
            }
            Verdict::Drop(why) => {
                tracing::debug!(target: TARGET, ?nonce, why, "a grant is dropped");
                self.close(CloseReason::Dropped, Done::Dropped, ends).await
            }
            Verdict::OrphanKept => {
                tracing::warn!(
                    target: TARGET,
                    ?nonce,
                    key = upload.key().as_str(),
                    "a stored object is outside of its grant, and is kept; see Recovery::on_orphan"
                );
                self.close(CloseReason::Dropped, Done::OrphanKept, ends)
                    .await
            }
            Verdict::OrphanDeleted => {
                tracing::info!(
                    target: TARGET,
                    ?nonce,
                    key = upload.key().as_str(),
                    "a stored object was outside of its grant, and is deleted"
                );
                self.close(CloseReason::Dropped, Done::OrphanDeleted, ends)
                    .await
            }
            Verdict::Expired => {
                let attempts = attempts.saturating_sub(1);
                self.give_up(DeadLetterReason::Expired, attempts, ends)
                    .await
            }
            Verdict::Later(pause, why) => {
                if self.expires_within(pause) {
                    let attempts = attempts.saturating_sub(1);
                    return self
                        .give_up(DeadLetterReason::Expired, attempts, ends)
                        .await;
                }
                tracing::debug!(target: TARGET, ?nonce, why, "an upload is not recovered yet");
                self.defer(pause, false, Done::Deferred, ends).await
            }
            Verdict::Used => {
                let counts = match self.has_used_up(ends - LAST_CALL).await {
                    Ok(used_up) => used_up,
                    Err(error) => {
                        tracing::debug!(target: TARGET, ?nonce, %error, "the ledger fails");
                        false
                    }
                };
                let last = attempts >= MAX_USED.min(self.settings.max_attempts);
                let expires = self.expires_within(BUSY_PAUSE);
                if counts && (last || expires) {
                    return self
                        .give_up(DeadLetterReason::Started, attempts, ends)
                        .await;
                }
                if expires {
                    let attempts = attempts.saturating_sub(1);
                    return self
                        .give_up(DeadLetterReason::Expired, attempts, ends)
                        .await;
                }
                tracing::debug!(target: TARGET, ?nonce, "another request handles the upload");
                self.defer(BUSY_PAUSE, counts, Done::Deferred, ends).await
            }
            Verdict::Unknown(error) => {
                let pause = self.settings.unknown_pause();
                if self.expires_within(pause) {
                    let reason = DeadLetterReason::Storage(error);
                    let attempts = attempts.saturating_sub(1);
                    return self.give_up(reason, attempts, ends).await;
                }
                tracing::debug!(
                    target: TARGET,
                    ?nonce,
                    %error,
                    "it is unknown whether an object exists"
                );
                self.defer(pause, false, Done::Unknown(error), ends).await
            }
            Verdict::Failed(reason) => {
                let pause = self.settings.back_off(attempts);
                // An at-most-once handler has used up its ticket, also if it panicked or hangs.
                let used_up = called && !self.settings.tickets.frees_on_failure();
                let last = attempts >= self.settings.max_attempts || used_up;
                if last || self.expires_within(pause) {
                    return self.give_up(reason, attempts, ends).await;
                }
                tracing::warn!(
                    target: TARGET,
                    ?nonce,
                    attempts,
                    again_in = ?pause,
                    "an upload could not be recovered: {reason}"
                );
                self.defer(pause, true, Done::Failed, ends).await
            }
            Verdict::Ledger(error) => {
                tracing::warn!(target: TARGET, ?nonce, %error, "the ledger fails");
                // Also a row that expires meanwhile: without the ledger, it is unknown whether it
                // is a dead letter.
                self.defer(BUSY_PAUSE, false, Done::Deferred, ends).await
            }
        }
    }

    /// Returns whether neither a failure frees the ticket, nor the end of the process that has
    /// redeemed it. The end of its lease frees an at-most-once ticket that it only holds.
    async fn has_used_up(&self, until: Instant) -> Result<bool, StoreError> {
        let tickets = &self.settings.tickets;
        if tickets.frees_on_failure() {
            return Ok(false);
        }
        let used_up = tickets.store().is_used_up(self.due.upload.nonce());
        let used_up = timeout_at(until, used_up.into_future()).await;
        used_up.unwrap_or_else(|_| Err(StoreErrorKind::TimedOut.into()))
    }

    fn expires_within(&self, pause: Duration) -> bool {
        let again = self.now().checked_add(pause);
        again.is_none_or(|again| again >= self.due.upload.until())
    }

    async fn give_up(&self, reason: DeadLetterReason, attempts: u32, ends: Instant) -> Done {
        let upload = &self.due.upload;
        tracing::error!(
            target: TARGET,
            nonce = ?upload.nonce(),
            key = upload.key().as_str(),
            attempts,
            "an upload is given up: {reason}"
        );
        let letter = DeadLetter {
            upload: upload.clone(),
            upload_id: upload_id(upload.nonce()),
            attempts,
            reason,
        };
        // The row stays claimed if the process ends here, and the hook is called again.
        let hook = (self.settings.on_dead_letter)(letter);
        if timeout_at(ends - LAST_CALL, hook).await.is_err() {
            tracing::warn!(target: TARGET, "the hook for dead letters does not return in time");
            return Done::Lost;
        }
        self.close(CloseReason::DeadLetter, Done::DeadLetter, ends)
            .await
    }

    async fn close(&self, reason: CloseReason, done: Done, ends: Instant) -> Done {
        let closed = self.ledger.close(&self.due.claim, reason);
        self.changed(closed, done, ends).await
    }

    async fn defer(&self, pause: Duration, counts: bool, done: Done, ends: Instant) -> Done {
        let claim = &self.due.claim;
        let now = self.now();
        let due = now.checked_add(pause).unwrap_or(now);
        let attempts = claim.attempts().saturating_sub(u32::from(!counts));
        let deferred = self.ledger.defer(claim, due, attempts);
        self.changed(deferred, done, ends).await
    }

    /// Waits for a change of the row until `ends`. Returns `done` if the ledger has made it.
    async fn changed(&self, change: Lookup<(), StoreError>, done: Done, ends: Instant) -> Done {
        let change = timeout_at(ends, change.into_future()).await;
        match change.unwrap_or_else(|_| Err(StoreErrorKind::TimedOut.into())) {
            Ok(()) => done,
            Err(error) => {
                let nonce = self.due.upload.nonce();
                // Settled meanwhile, or claimed by another process: both take care of the row.
                // Otherwise the claim expires, and the row is due again.
                if error.kind() != StoreErrorKind::LeaseLost {
                    tracing::warn!(target: TARGET, ?nonce, %error, "the ledger fails");
                }
                Done::Lost
            }
        }
    }
}

pub(super) const TARGET: &str = "tower_aliyun_oss::recovery";

/// The row cannot be used. A later attempt can: an instance with an older key may run it.
fn unusable(error: impl Display) -> Verdict {
    tracing::debug!(target: TARGET, %error, "a row cannot be used");
    Verdict::Failed(DeadLetterReason::Row)
}

/// Returns whether an object outside of its grant belongs to nothing else.
fn is_orphan(upload: &GrantedUpload, stored: SystemTime, grants: &ObjectGrants) -> bool {
    stored >= upload.granted_at() && grants.settled.is_empty() && grants.open <= 1
}

/// Returns whether two answers are about the same object. Without a version or an ETag, they are
/// not.
fn is_same(one: &ObjectMetadata, other: &ObjectMetadata) -> bool {
    let same_content = match (one.version_id(), other.version_id()) {
        (Some(one), Some(other)) => one == other,
        (None, None) => one.etag().is_some() && one.etag() == other.etag(),
        _ => false,
    };
    same_content && one.size() == other.size() && one.last_modified() == other.last_modified()
}

/// Calls the service.
async fn deliver<S, B>(mut service: S, call: request::Call) -> Verdict
where
    S: Service<Request<RecoveryBody>, Response = Response<B>>,
{
    let request::Call { request, upload } = call;
    if !poll_fn(|cx| service.poll_ready(cx).map(|ready| ready.is_ok())).await {
        return Verdict::Failed(DeadLetterReason::Failed);
    }
    let Ok(response) = service.call(request).await else {
        return Verdict::Failed(DeadLetterReason::Failed);
    };
    let status = response.status();
    let error = response.extensions().get::<CallbackError>();
    let runs = error
        .and_then(Error::source)
        .is_some_and(|source| source.is::<HandlerRuns>());
    match error.map(CallbackError::kind) {
        // A late callback holds the ticket, or has used it. If it fails, the row is due again.
        Some(CallbackErrorKind::TicketUsed) => Verdict::Used,
        Some(CallbackErrorKind::DeadlineExceeded) if runs => Verdict::Used,
        Some(CallbackErrorKind::StoreUnavailable | CallbackErrorKind::DeadlineExceeded) => {
            Verdict::Later(BUSY_PAUSE, "the store of tickets is not available")
        }
        _ if !upload.has_arrived() => Verdict::Failed(DeadLetterReason::NotVerified),
        _ if status.is_success() => Verdict::Recovered,
        _ => Verdict::Failed(DeadLetterReason::Status(status)),
    }
}
