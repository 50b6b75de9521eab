//! Why a file is not granted as it was asked for.

use super::error::PolicyError;

/// Why a file cannot be granted as it was asked for.
#[derive(Debug)]
pub(super) enum Denied {
    /// The size is not in the granted range.
    Size,
    /// The type is not among the granted ones.
    ContentType,
    /// Several types are granted, and none was asked for.
    NoContentType,
    /// The mistake is in the grant.
    Grant(PolicyError),
}

impl From<PolicyError> for Denied {
    fn from(error: PolicyError) -> Self {
        Self::Grant(error)
    }
}
