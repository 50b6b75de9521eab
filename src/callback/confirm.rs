//! Asks OSS whether an upload is stored as its callback reports it.
//!
//! The holder of a ticket can have OSS sign a false size, type or checksum through a bucket of
//! their own, or a callback for no object at all. Only the storage itself can tell.

use std::{fmt, pin::Pin, sync::Arc, time::Duration};

use super::{
    error::{CallbackError, CallbackErrorKind as Kind},
    verified::Granted,
};
use crate::{
    Lookup,
    storage::{ObjectMetadata, ObjectStorage, StorageError, StorageErrorKind},
    ticket::TicketError,
};

/// A question that the storage has not answered yet.
pub(super) type PendingHead =
    Pin<Box<dyn Future<Output = Result<ObjectMetadata, StorageError>> + Send>>;

/// The storage that confirms uploads.
#[derive(Clone)]
pub(super) struct Confirmation {
    storage: Arc<dyn ObjectStorage>,
    pub(super) deadline: Duration,
}

impl Confirmation {
    /// A genuine answer takes a few milliseconds. Within the 4 s of the layer, this leaves time for
    /// the body, the key and the store, and within the 5 s of OSS for the handler.
    pub(super) const DEADLINE: Duration = Duration::from_millis(1500);

    pub(super) fn new(storage: Arc<dyn ObjectStorage>, deadline: Duration) -> Self {
        Self { storage, deadline }
    }

    /// Asks for the object that the callback reports, in the granted bucket.
    pub(super) fn ask(&self, granted: &Granted) -> Lookup<ObjectMetadata, StorageError> {
        match granted.upload.event.object() {
            Some(object) => self.storage.head(granted.ticket.bucket(), object),
            // A callback without an object is not within any grant.
            None => Lookup::Ready(Err(StorageErrorKind::NotFound.into())),
        }
    }
}

impl fmt::Debug for Confirmation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Confirmation")
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// Compares what OSS reports about an object with the callback and the grant.
///
/// # Errors
///
/// Fails with [`Kind::NotConfirmed`] if the object certainly does not exist, or differs. Fails with
/// [`Kind::ConfirmationUnavailable`] if that is not known.
pub(super) fn check(
    granted: &Granted,
    found: Result<ObjectMetadata, StorageError>,
) -> Result<ObjectMetadata, CallbackError> {
    let found = found.map_err(|why| {
        let kind = match why.kind() {
            StorageErrorKind::NotFound => Kind::NotConfirmed,
            _ => Kind::ConfirmationUnavailable,
        };
        CallbackError::with_source(kind, why)
    })?;
    match difference(granted, &found) {
        Some(why) => Err(CallbackError::with_source(Kind::NotConfirmed, why)),
        None => Ok(found),
    }
}

/// The error for an answer that did not arrive in time.
pub(super) fn timed_out() -> CallbackError {
    let why = StorageError::from(StorageErrorKind::TimedOut);
    CallbackError::with_source(Kind::ConfirmationUnavailable, why)
}

/// What differs between a callback and the object.
#[derive(Debug, thiserror::Error)]
enum Difference {
    #[error("OSS reports another size than the callback")]
    Size,
    #[error("OSS reports another ETag than the callback")]
    Etag,
    #[error("OSS reports another content type than the callback")]
    ContentType,
    #[error("OSS reports another CRC-64 than the callback")]
    Crc64,
    #[error("OSS reports another MD5 than the callback")]
    ContentMd5,
    #[error("the stored object is outside of what the ticket grants")]
    OutsideGrant(#[source] TicketError),
}

/// Compares the fields that the template of the callback carries, and that the storage reports.
fn difference(granted: &Granted, found: &ObjectMetadata) -> Option<Difference> {
    let (event, ticket) = (&granted.upload.event, &granted.ticket);
    let reported = event.mime_type();
    Some(if differ(event.size(), Some(found.size()), u64::eq) {
        Difference::Size
    } else if differ(event.etag(), found.etag(), same_etag) {
        Difference::Etag
    } else if differ(reported, found.content_type(), same_type) {
        Difference::ContentType
    } else if differ(event.crc64(), found.crc64(), u64::eq) {
        Difference::Crc64
    } else if differ(event.content_md5(), found.content_md5(), same_md5) {
        Difference::ContentMd5
    } else {
        let object = event.object().unwrap_or_default();
        let content_type = found.content_type().or(reported).unwrap_or_default();
        let bucket = ticket.bucket().as_str();
        let permitted = ticket.permits(bucket, object, found.size(), content_type);
        Difference::OutsideGrant(permitted.err()?)
    })
}

fn differ<T>(reported: Option<T>, found: Option<T>, same: impl FnOnce(&T, &T) -> bool) -> bool {
    let both = reported.zip(found);
    both.is_some_and(|(reported, found)| !same(&reported, &found))
}

fn same_etag(reported: &&str, found: &&str) -> bool {
    reported.trim_matches('"').eq_ignore_ascii_case(found)
}

fn same_type(reported: &&str, found: &&str) -> bool {
    same_with_plus(reported, found, |byte| byte.to_ascii_lowercase())
}

fn same_md5(reported: &&str, found: &&str) -> bool {
    same_with_plus(reported, found, |byte| byte)
}

/// Compares with `+` and space alike: OSS does not document how it writes them in a form, and no
/// seal tells which one it was.
fn same_with_plus(reported: &str, found: &str, fold: fn(u8) -> u8) -> bool {
    let folded = |byte| if byte == b'+' { b' ' } else { fold(byte) };
    reported.bytes().map(folded).eq(found.bytes().map(folded))
}
