//! What an upload may be called.

use std::borrow::Cow;

use super::document::Clause;
use crate::protocol::{ObjectKey, ObjectPrefix};

/// For which OSS fills in the name of the file.
pub(super) const FILENAME: &str = "${filename}";

/// What an upload may be called: one name that you chose, or anything under a folder.
///
/// Prefer a name of yours, made anew for every upload. Under a prefix the uploader decides, and can write to every
/// name there.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum UploadKey {
    /// Exactly this object.
    Exact(ObjectKey),
    /// Any object under this prefix. The form carries `prefix/${filename}`: OSS fills in the name of the file, after
    /// it has checked the policy. It may be anything, `../` included.
    Under(ObjectPrefix),
}

impl UploadKey {
    /// The value of the form field `key`.
    pub(super) fn form_value(&self) -> Cow<'_, str> {
        match self {
            Self::Exact(key) => key.as_str().into(),
            Self::Under(prefix) => format!("{prefix}{FILENAME}").into(),
        }
    }

    pub(super) fn clause(&self) -> Clause<'_> {
        match self {
            Self::Exact(key) => Clause::Equals("key", key.as_str()),
            Self::Under(prefix) => Clause::StartsWith("key", prefix.as_str()),
        }
    }
}

impl From<ObjectKey> for UploadKey {
    fn from(key: ObjectKey) -> Self {
        Self::Exact(key)
    }
}

impl From<ObjectPrefix> for UploadKey {
    fn from(prefix: ObjectPrefix) -> Self {
        Self::Under(prefix)
    }
}
