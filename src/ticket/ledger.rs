//! The ledger of granted uploads: the trait to implement for a database, and its types.
//!
//! OSS calls back once, waits five seconds, and never again. A ledger remembers every granted
//! upload until its callback has reached the handler, so that a recovery can deliver the others. A
//! ledger is a [`ReplayStore`] too: the step that stores the reply of the handler removes the row.
//!
//! Applications pass [`MemoryStore`](super::MemoryStore) or `RedisStore` to
//! [`OssUploadsBuilder::ledger`](crate::OssUploadsBuilder::ledger). Implement [`UploadLedger`] to
//! keep the rows elsewhere.
//!
//! ```text
//! granted ─▶ open ─┬─▶ settled                  a callback reached the handler
//!                  ├─▶ fail_upload ─▶ open      the handler failed; the row is due in a minute
//!                  └─▶ due ─▶ claimed ─┬─▶ settled
//!                                      ├─▶ defer ─▶ open
//!                                      └─▶ close
//! ```

mod expired;
mod row;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use sha2::{Digest as _, Sha256};

pub(crate) use self::expired::ExpiredRows;
use super::{
    key::Nonce,
    store::{Lease, ReplayStore, StoreError, StoredReply},
    terms::MAX_LIFETIME,
};
use crate::{
    Lookup,
    protocol::{Bucket, CallbackBodyType, ObjectKey},
};

/// Remembers granted uploads until their callbacks have reached the handler.
///
/// A row is *open* from [`granted`](Self::granted) until [`settled`](Self::settled) or
/// [`close`](Self::close) removes it. It becomes *due* when OSS can no longer store the object. An
/// open row is never removed to make room. It expires at [`GrantedUpload::until`], and is removed
/// at [`GrantedUpload::freed_at`]: in between, a recovery reports it as a dead letter.
///
/// All times are those of the callers, so the clocks of the instances must agree to within a few
/// seconds. Every call except [`due`](Self::due) must be idempotent, because a caller repeats one
/// whose outcome is unknown. A ledger that repeats `due` on its own, over a new connection, must
/// return the same rows, with the same numbers of attempts.
///
/// The record of a redeemed ticket must live at least as long as the row, so that a recovery cannot
/// run the handler a second time. The layer passes a sufficient
/// [`Attempt::until`](super::store::Attempt::until).
pub trait UploadLedger: ReplayStore {
    /// Adds a row for each of these uploads. The service calls it before it sends the tokens, and
    /// sends none of them if it fails. The service waits for it without a limit, so it must bound
    /// its own time.
    ///
    /// What is known of a settled object is remembered as long as these rows, too.
    ///
    /// If it fails, it tries to remove the rows that it has added. One that stays is harmless: no
    /// object is stored for it, and the recovery drops it.
    ///
    /// # Errors
    ///
    /// Fails with [`StoreErrorKind::Full`](super::store::StoreErrorKind::Full) if there is no room.
    /// The service then responds with 503 and `Retry-After`.
    fn granted(&self, uploads: &[GrantedUpload]) -> Lookup<(), StoreError>;

    /// Stores the reply as [`ReplayStore::finish`] does, and in the same step removes the row of
    /// this ticket, if there is one. Also shortens the life of the record of the ticket: it is
    /// needed until `until` only, because no recovery of the row can start any more.
    ///
    /// Remembers until then that the object was settled, and as long as other rows of it are open.
    ///
    /// # Errors
    ///
    /// Fails as [`ReplayStore::finish`] does, and then the row stays.
    fn settled(
        &self,
        lease: &Lease,
        reply: &StoredReply,
        object: &SettledObject,
        until: SystemTime,
    ) -> Lookup<(), StoreError>;

    /// Releases the text as [`ReplayStore::fail`] does, and makes the row of this ticket due at
    /// `due`, if that is earlier than before.
    ///
    /// Does not change a row that is claimed, because the claimant defers it, nor one with a
    /// counted [attempt](Claim::attempts), because a recovery determines its pauses. The layer
    /// calls it for callbacks only: the ticket of a recovered upload is released with
    /// [`ReplayStore::fail`].
    fn fail_upload(&self, lease: &Lease, due: SystemTime) -> Lookup<(), StoreError>;

    /// Claims at most `limit` rows that are due at `now`, expired ones among them. Of all
    /// concurrent calls, one returns each of them. A claimed row is due again after `visibility`,
    /// unless it is deferred or removed before. So nothing is lost if a process dies with its rows,
    /// or if the result of a call does not arrive.
    ///
    /// Each claim counts as an [attempt](Claim::attempts). A row that cannot be read is logged and
    /// left claimed.
    fn due(
        &self,
        now: SystemTime,
        limit: usize,
        visibility: Duration,
    ) -> Lookup<Vec<DueUpload>, StoreError>;

    /// Releases a claimed row, which is due again at `due`, and sets its number of attempts: that
    /// of the claim, or less if this attempt does not count. The same call again succeeds, too.
    ///
    /// The row must be due again before it is removed, however late `due` is, and not before `due`
    /// if that is earlier than its end: a pass must not find the rows that it has deferred.
    ///
    /// # Errors
    ///
    /// Fails with [`StoreErrorKind::LeaseLost`](super::store::StoreErrorKind::LeaseLost), and
    /// changes nothing, if the row was removed, or claimed by another caller meanwhile.
    fn defer(&self, claim: &Claim, due: SystemTime, attempts: u32) -> Lookup<(), StoreError>;

    /// Removes a claimed row. Has no effect if it was removed before.
    ///
    /// # Errors
    ///
    /// Fails with [`StoreErrorKind::LeaseLost`](super::store::StoreErrorKind::LeaseLost), and
    /// changes nothing, if another caller has claimed the row meanwhile.
    fn close(&self, claim: &Claim, reason: CloseReason) -> Lookup<(), StoreError>;

    /// Returns the settled objects and the open grants of one key. `stored` is when OSS stored the
    /// object that is looked for: the owner is the newest grant that is not later. Times have a
    /// resolution of a second, so a grant of the same second counts as earlier.
    fn object(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        stored: SystemTime,
    ) -> Lookup<ObjectGrants, StoreError>;

    /// Returns the number of open rows, for monitoring. Expired rows may be included.
    fn open_rows(&self) -> Lookup<u64, StoreError>;
}

impl<L: UploadLedger + ?Sized> UploadLedger for Arc<L> {
    fn granted(&self, uploads: &[GrantedUpload]) -> Lookup<(), StoreError> {
        (**self).granted(uploads)
    }

    fn settled(
        &self,
        lease: &Lease,
        reply: &StoredReply,
        object: &SettledObject,
        until: SystemTime,
    ) -> Lookup<(), StoreError> {
        (**self).settled(lease, reply, object, until)
    }

    fn fail_upload(&self, lease: &Lease, due: SystemTime) -> Lookup<(), StoreError> {
        (**self).fail_upload(lease, due)
    }

    fn due(
        &self,
        now: SystemTime,
        limit: usize,
        visibility: Duration,
    ) -> Lookup<Vec<DueUpload>, StoreError> {
        (**self).due(now, limit, visibility)
    }

    fn defer(&self, claim: &Claim, due: SystemTime, attempts: u32) -> Lookup<(), StoreError> {
        (**self).defer(claim, due, attempts)
    }

    fn close(&self, claim: &Claim, reason: CloseReason) -> Lookup<(), StoreError> {
        (**self).close(claim, reason)
    }

    fn object(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        stored: SystemTime,
    ) -> Lookup<ObjectGrants, StoreError> {
        (**self).object(bucket, key, stored)
    }

    fn open_rows(&self) -> Lookup<u64, StoreError> {
        (**self).open_rows()
    }
}

/// The number of parts into which a shared ledger is divided.
pub const SHARDS: u8 = 64;

/// The longest life of a row.
pub(crate) const LONGEST_LIFE: Duration = Duration::from_secs(
    MAX_LIFETIME.as_secs()
        + GrantedUpload::DUE_AFTER.as_secs()
        + GrantedUpload::LIFE.as_secs()
        + GrantedUpload::GRACE.as_secs(),
);

/// The digest of a bucket and an object key. Its first byte determines the [shard](shard_of).
pub(crate) fn object_digest(bucket: &str, key: &str) -> [u8; 16] {
    let mut hash = Sha256::new();
    hash.update(bucket.as_bytes());
    // Neither contains this byte.
    hash.update([0]);
    hash.update(key.as_bytes());
    let digest: [u8; 32] = hash.finalize().into();
    let mut half = [0; 16];
    half.copy_from_slice(&digest[..16]);
    half
}

/// Returns the shard of a nonce, or of the digest of an object.
pub(crate) const fn shard_of(bytes: &[u8; 16]) -> u8 {
    bytes[0] % SHARDS
}

impl Nonce {
    /// Creates the nonce of a ticket for one object from 16 random bytes. Six bits are replaced, so
    /// that all grants of an object, and their tickets, are in one [shard](SHARDS) of a ledger, and
    /// one step can change all of them. 122 bits stay random.
    #[must_use]
    pub fn for_object(bucket: &Bucket, key: &ObjectKey, mut random: [u8; 16]) -> Self {
        let shard = shard_of(&object_digest(bucket.as_str(), key.as_str()));
        random[0] = random[0] - random[0] % SHARDS + shard;
        Self::from_bytes(random)
    }
}

/// A granted upload: a row of the ledger. Everything that is needed to repeat its callback.
///
/// It contains the ticket, which authorises nothing after its expiry, except through a recovery.
/// `Debug` omits it, and the values of the custom variables.
#[derive(Clone, Eq, PartialEq)]
pub struct GrantedUpload {
    nonce: Nonce,
    bucket: Bucket,
    key: ObjectKey,
    granted_at: SystemTime,
    expires: SystemTime,
    call: CallbackCall,
}

impl GrantedUpload {
    /// How long after the expiry of its ticket a row is due.
    pub const DUE_AFTER: Duration = Duration::from_secs(60);

    /// How long a row is recovered after it is due: time for 20 attempts with growing pauses.
    pub const LIFE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

    /// How long a ledger keeps an expired row, for a recovery that reports it as a dead letter:
    /// twice the longest attempt, because a process can die with its claim.
    pub const GRACE: Duration = Duration::from_secs(2 * 24 * 60 * 60);

    /// Creates a row. `nonce` is that of the ticket, from [`Nonce::for_object`]; `expires` is the
    /// expiry of the ticket: the end of the policy plus the time for the upload. Fractions of a
    /// second are dropped from both times.
    #[must_use]
    pub fn new(
        nonce: Nonce,
        bucket: Bucket,
        key: ObjectKey,
        granted_at: SystemTime,
        expires: SystemTime,
        call: CallbackCall,
    ) -> Self {
        Self {
            nonce,
            bucket,
            key,
            granted_at: from_unix(unix_seconds(granted_at)),
            expires: from_unix(unix_seconds(expires)),
            call,
        }
    }

    /// Returns the nonce of the ticket, which identifies the row.
    #[must_use]
    pub const fn nonce(&self) -> Nonce {
        self.nonce
    }

    /// Returns the bucket.
    #[must_use]
    pub const fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// Returns the key of the object.
    #[must_use]
    pub const fn key(&self) -> &ObjectKey {
        &self.key
    }

    /// Returns when the upload was granted, a whole second.
    #[must_use]
    pub const fn granted_at(&self) -> SystemTime {
        self.granted_at
    }

    /// Returns when the ticket expires, a whole second.
    #[must_use]
    pub const fn expires(&self) -> SystemTime {
        self.expires
    }

    /// Returns when the row is due: a minute after the ticket expires, when OSS can no longer store
    /// the object. A row whose handler failed is due earlier.
    #[must_use]
    pub fn due_at(&self) -> SystemTime {
        due_at(self.expires)
    }

    /// Returns when the row expires: seven days after it is due. The recovery must run before.
    /// Afterwards, the handler is not called any more.
    #[must_use]
    pub fn until(&self) -> SystemTime {
        row_until(self.expires)
    }

    /// Returns when a ledger may remove the row: two days after it has expired.
    #[must_use]
    pub fn freed_at(&self) -> SystemTime {
        later(self.until(), Self::GRACE)
    }

    /// Returns the callback that OSS makes for the upload.
    #[must_use]
    pub const fn call(&self) -> &CallbackCall {
        &self.call
    }
}

impl fmt::Debug for GrantedUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrantedUpload")
            .field("nonce", &self.nonce)
            .field("bucket", &self.bucket)
            .field("key", &self.key)
            .field("granted_at", &self.granted_at)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

fn due_at(expires: SystemTime) -> SystemTime {
    later(expires, GrantedUpload::DUE_AFTER)
}

/// Returns when the row of a ticket with this expiry expires.
pub(crate) fn row_until(expires: SystemTime) -> SystemTime {
    later(due_at(expires), GrantedUpload::LIFE)
}

fn later(time: SystemTime, by: Duration) -> SystemTime {
    time.checked_add(by).unwrap_or(time)
}

fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

fn from_unix(seconds: u64) -> SystemTime {
    later(SystemTime::UNIX_EPOCH, Duration::from_secs(seconds))
}

/// The callback that OSS makes for one upload: its request, before OSS fills in the body.
#[derive(Clone, Eq, PartialEq)]
pub struct CallbackCall {
    target: Box<str>,
    host: Box<str>,
    body_type: CallbackBodyType,
    template: Box<str>,
    variables: Vec<(Box<str>, Box<str>)>,
}

impl CallbackCall {
    /// Creates a callback: path and query of its first URL as they are spelled, the value of its
    /// `Host` header, and the template of its body, with the ticket of the upload.
    #[must_use]
    pub fn new(target: &str, host: &str, body_type: CallbackBodyType, template: &str) -> Self {
        Self {
            target: target.into(),
            host: host.into(),
            body_type,
            template: template.into(),
            variables: Vec::new(),
        }
    }

    /// Sets the names and values of the custom variables; names include `x:`.
    #[must_use]
    pub fn variables<'a>(
        mut self,
        variables: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let variables = variables.into_iter();
        self.variables = variables
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        self
    }

    /// Returns path and query, as OSS requests them.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Returns the value of the `Host` header.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the encoding of the body.
    #[must_use]
    pub const fn body_type(&self) -> CallbackBodyType {
        self.body_type
    }

    /// Returns the value of `callbackBody`, with the ticket, and with the placeholders that OSS
    /// fills in.
    #[must_use]
    pub fn template(&self) -> &str {
        &self.template
    }

    /// Returns names and values of the custom variables.
    #[must_use]
    pub fn get_variables(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.variables
            .iter()
            .map(|(name, value)| (&**name, &**value))
    }
}

impl fmt::Debug for CallbackCall {
    /// Omits the template, which contains the ticket, and the values of the variables.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.variables.iter().map(|(name, _)| name).collect();
        f.debug_struct("CallbackCall")
            .field("target", &self.target)
            .field("host", &self.host)
            .field("body_type", &self.body_type)
            .field("variables", &names)
            .finish_non_exhaustive()
    }
}

/// A row that is due, and the exclusive right to recover it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct DueUpload {
    /// The row.
    pub upload: GrantedUpload,
    /// The right to recover it, until it expires.
    pub claim: Claim,
}

impl DueUpload {
    /// Creates the result of a claim.
    #[must_use]
    pub const fn new(upload: GrantedUpload, claim: Claim) -> Self {
        Self { upload, claim }
    }
}

/// The exclusive right to recover one row, until it expires.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Claim {
    nonce: Nonce,
    token: u128,
    attempts: u32,
}

impl Claim {
    /// Creates a claim. `token` identifies it among all claims of the row.
    #[must_use]
    pub const fn new(nonce: Nonce, token: u128, attempts: u32) -> Self {
        Self {
            nonce,
            token,
            attempts,
        }
    }

    /// Returns the nonce, which identifies the row.
    #[must_use]
    pub const fn nonce(&self) -> Nonce {
        self.nonce
    }

    /// Returns the number that identifies the claim.
    #[must_use]
    pub const fn token(&self) -> u128 {
        self.token
    }

    /// Returns the number of attempts to recover the row, including this one.
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }
}

/// Why a row is removed although its callback has not reached the handler.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum CloseReason {
    /// No object was stored under the grant, or another grant owns the object.
    Dropped,
    /// The last attempt failed.
    DeadLetter,
}

/// A stored object whose callback has reached the handler.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SettledObject {
    bucket: Bucket,
    key: Box<str>,
    etag: Option<Box<str>>,
    version_id: Option<Box<str>>,
}

impl SettledObject {
    /// Creates the object of a callback. Without an ETag and a version, every object with this key
    /// counts as settled.
    #[must_use]
    pub fn new(bucket: Bucket, key: &str) -> Self {
        Self {
            bucket,
            key: key.into(),
            etag: None,
            version_id: None,
        }
    }

    /// Sets the ETag, without quotes. It is kept in upper case, and cut to 256 bytes: the holder of
    /// a ticket can have OSS sign any text, and no true one is longer.
    #[must_use]
    pub fn with_etag(mut self, etag: &str) -> Self {
        self.etag = (!etag.is_empty()).then(|| bounded(etag).to_ascii_uppercase().into());
        self
    }

    /// Sets the version, in a bucket with versioning.
    #[must_use]
    pub fn with_version_id(mut self, version_id: &str) -> Self {
        self.version_id = (!version_id.is_empty()).then(|| bounded(version_id).into());
        self
    }

    /// Returns the bucket.
    #[must_use]
    pub const fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// Returns the key, as OSS reported it.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Returns the ETag, without quotes, in upper case.
    #[must_use]
    pub fn etag(&self) -> Option<&str> {
        self.etag.as_deref()
    }

    /// Returns the version.
    #[must_use]
    pub fn version_id(&self) -> Option<&str> {
        self.version_id.as_deref()
    }

    /// Returns whether a stored object with this ETag and version is this one. A version decides if
    /// both have one, and otherwise the ETag.
    #[must_use]
    pub fn is(&self, etag: Option<&str>, version_id: Option<&str>) -> bool {
        match (self.version_id(), version_id, self.etag(), etag) {
            (Some(known), Some(version), ..) => known == version,
            (_, _, Some(known), Some(etag)) => known.eq_ignore_ascii_case(etag),
            _ => true,
        }
    }
}

fn bounded(text: &str) -> &str {
    let mut end = text.len().min(256);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The settled objects and the open grants of one key.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct ObjectGrants {
    /// The objects with this key whose callbacks have reached the handler, at most
    /// [`MAX_SETTLED`](Self::MAX_SETTLED), the newest first.
    pub settled: Vec<SettledObject>,
    /// The newest open grant that was not granted after the object was stored. It owns an object
    /// that is not settled.
    pub owner: Option<Nonce>,
    /// The number of open grants of this key. A ledger may stop counting at
    /// [`MAX_COUNTED`](Self::MAX_COUNTED).
    pub open: u64,
}

impl ObjectGrants {
    /// How many settled objects a ledger remembers for one key.
    pub const MAX_SETTLED: usize = 16;

    /// How many open grants of one key a ledger counts at least.
    pub const MAX_COUNTED: usize = 100;

    /// Creates what a ledger found.
    #[must_use]
    pub const fn new(settled: Vec<SettledObject>, owner: Option<Nonce>, open: u64) -> Self {
        Self {
            settled,
            owner,
            open,
        }
    }

    /// Returns whether the callback of an object with this ETag and version has reached the
    /// handler.
    #[must_use]
    pub fn has_settled(&self, etag: Option<&str>, version_id: Option<&str>) -> bool {
        self.settled.iter().any(|known| known.is(etag, version_id))
    }
}
