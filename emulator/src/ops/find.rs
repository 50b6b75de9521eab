//! Objects that a request may read, also through a symbolic link.

use crate::{
    body::Stored,
    bucket::Acl,
    context::{RequestContext, store_refusal},
    errors::{self, OssError},
    object::{ObjectKind, Record},
};

/// An object as a request reads it.
pub(super) struct Found {
    /// What the response describes: that of a symbolic link, with the content of its target.
    pub(super) record: Record,
    pub(super) stored: Stored,
    /// Whether the content is archived and not restored.
    pub(super) is_frozen: bool,
}

impl Found {
    /// Checks that the content can be read.
    pub(super) fn check_state(&self) -> Result<(), OssError> {
        match self.is_frozen {
            true => Err(errors::OBJECT_STATE.detail("ObjectName", &*self.record.description.key)),
            false => Ok(()),
        }
    }
}

/// Finds an object that the request may read.
pub(super) async fn find(
    context: &RequestContext<'_>,
    key: &str,
    signed: bool,
) -> Result<Found, OssError> {
    let bucket = context.bucket;
    let found = context.shared.store.get(&bucket.name, key).await;
    let found = found.map_err(|error| store_refusal(&error.into()))?;
    let (record, stored) = found.ok_or_else(|| no_such_source(signed, bucket.open_acl(), key))?;
    if !signed && !bucket.lets_read(&record.description) {
        return Err(errors::NO_RIGHT);
    }
    Ok(Found {
        is_frozen: record.is_frozen(context.now),
        record,
        stored,
    })
}

/// Finds an object, or what the symbolic link of this name points to.
///
/// As on OSS, the content and its checksums are those of the target, and everything else is that of
/// the link.
pub(super) async fn follow(
    context: &RequestContext<'_>,
    key: &str,
    signed: bool,
) -> Result<Found, OssError> {
    let link = find(context, key, signed).await?;
    let ObjectKind::Symlink { target, .. } = &link.record.kind else {
        return Ok(link);
    };
    if target == key {
        return Err(errors::SYMLINK_TARGET_TYPE);
    }
    let found = find(context, target, signed).await.map_err(|error| {
        // A client that may not read the target does not learn whether it exists.
        match error.code() == errors::NO_SUCH_KEY.code() {
            true => errors::SYMLINK_TARGET_MISSING,
            false => error,
        }
    })?;
    if matches!(found.record.kind, ObjectKind::Symlink { .. }) {
        return Err(errors::SYMLINK_TARGET_TYPE);
    }
    let mut record = link.record;
    record.touch(record.stored().max(found.record.stored()));
    record.content = found.record.content;
    Ok(Found {
        record,
        stored: found.stored,
        is_frozen: found.is_frozen,
    })
}

/// The error for an object that does not exist. 404 would reveal which names exist to clients that
/// may not read the bucket.
pub(super) fn no_such_source(signed: bool, acl: Acl, key: &str) -> OssError {
    match signed || acl.lets_read() {
        true => errors::NO_SUCH_KEY.argument("Key", key),
        false => errors::NO_RIGHT,
    }
}
