//! What the application decides about uploads that cannot be delivered.

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use crate::{
    storage::{ObjectMetadata, StorageError},
    ticket::ledger::GrantedUpload,
};

type Hook<A, R> = Arc<dyn Fn(A) -> Pin<Box<dyn Future<Output = R> + Send>> + Send + Sync>;

pub(super) type OrphanHook = Hook<Orphan, OrphanAction>;
pub(super) type DeadLetterHook = Hook<DeadLetter, ()>;

pub(super) fn boxed<A, R, F, Fut>(hook: F) -> Hook<A, R>
where
    F: Fn(A) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = R> + Send + 'static,
{
    Arc::new(move |argument| Box::pin(hook(argument)))
}

/// A stored object that is outside of its grant: OSS itself reports another size or content type
/// than the grant permits.
///
/// OSS stored it before or without the check of a policy, for example with a
/// [callback of a server](crate::OssUploads::callback_for). No other open grant is for its key, no
/// callback for its key has reached the handler, and it was not stored before its grant. What a
/// callback reports never makes an object an orphan.
#[derive(Clone, Debug)]
pub struct Orphan {
    pub(super) upload: GrantedUpload,
    pub(super) found: Arc<ObjectMetadata>,
}

impl Orphan {
    /// Returns the upload as it was granted.
    #[must_use]
    pub fn upload(&self) -> &GrantedUpload {
        &self.upload
    }

    /// Returns what OSS reports about the object.
    #[must_use]
    pub fn metadata(&self) -> &ObjectMetadata {
        &self.found
    }
}

/// What a recovery does with an [`Orphan`].
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum OrphanAction {
    /// Leaves the object in the bucket. The grant is closed, so the hook is not called again.
    #[default]
    Keep,
    /// Deletes the object, if it still is the same one.
    Delete,
}

/// Keeps an orphan: a hook for [`Recovery::on_orphan`](super::Recovery::on_orphan), and its
/// default.
pub async fn keep(_: Orphan) -> OrphanAction {
    OrphanAction::Keep
}

/// Deletes an orphan: a hook for [`Recovery::on_orphan`](super::Recovery::on_orphan).
///
/// The recovery asks OSS and the ledger again immediately before. It deletes only if the version,
/// or else the ETag, the size and the time are the same, and if nothing was granted or settled for
/// the key meanwhile. OSS has no conditional `DeleteObject`, so an upload in the moment in between
/// would be deleted.
pub async fn delete(_: Orphan) -> OrphanAction {
    OrphanAction::Delete
}

/// An upload that a recovery gives up.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    pub(super) upload: GrantedUpload,
    pub(super) upload_id: String,
    pub(super) attempts: u32,
    pub(super) reason: DeadLetterReason,
}

impl DeadLetter {
    /// Returns the upload as it was granted.
    #[must_use]
    pub fn upload(&self) -> &GrantedUpload {
        &self.upload
    }

    /// Returns what [`VerifiedCallback::upload_id`](crate::VerifiedCallback::upload_id) would have
    /// been.
    #[must_use]
    pub fn upload_id(&self) -> &str {
        &self.upload_id
    }

    /// Returns how many attempts were counted. One that found the storage or the store of tickets
    /// out of reach does not count. One whose process ended counts, even if it did not call the
    /// service.
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Returns why the upload is given up.
    #[must_use]
    pub const fn reason(&self) -> &DeadLetterReason {
        &self.reason
    }
}

/// Why an upload is given up: mostly, why the last attempt to recover it failed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum DeadLetterReason {
    /// The service responded with this status, which is no success.
    Status(http::StatusCode),
    /// The service returned an error, panicked, or did not respond in time, or the process ended
    /// during each attempt.
    Failed,
    /// A handler that runs [at most once](crate::ticket::OnFailure::AtMostOnce) was started and
    /// stored no reply, most likely because its process ended. It may have done its work.
    Started,
    /// The row expired before an attempt succeeded: no recovery ran in time, or the store of
    /// tickets was out of reach.
    Expired,
    /// The request did not pass an [`OssCallbackLayer`](crate::OssCallbackLayer) of these uploads:
    /// the service has no such route, or the layer has other settings.
    NotVerified,
    /// The ticket of the row cannot be checked: its key is no longer configured, or the row was
    /// changed.
    Row,
    /// The storage did not report when the object was stored, or a content type that the grant
    /// needs.
    Metadata,
    /// It was unknown whether the object exists until the row expired: the storage failed.
    Storage(StorageError),
}

impl fmt::Display for DeadLetterReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "the service responded with {}", status.as_u16()),
            Self::Failed => f.write_str(
                "the service returned an error, panicked, or did not respond in time, or the process \
                 ended",
            ),
            Self::Started => f.write_str(
                "its at-most-once handler was started and stored no reply; check whether it did its \
                 work",
            ),
            Self::Expired => f.write_str(
                "its row expired before an attempt succeeded; run the recovery at least once in seven \
                 days",
            ),
            Self::NotVerified => f.write_str(
                "the request did not pass the callback layer of these uploads; has the service the \
                 route of the callback URL?",
            ),
            Self::Row => f.write_str(
                "the ticket of the row cannot be checked; configure its key until its row expires",
            ),
            Self::Metadata => f.write_str(
                "the storage does not report the time or the type of the object; set them in \
                 ObjectMetadata",
            ),
            Self::Storage(error) => write!(f, "it is unknown whether the object exists: {error}"),
        }
    }
}
