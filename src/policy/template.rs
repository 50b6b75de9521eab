//! What the policies of one service have in common.

use std::sync::Arc;

use super::{
    destination::Destination,
    directive::CallbackDirective,
    error::{FieldProblem, PolicyError},
    field::{check_distinct, check_value},
    mint::Mint,
    terms::Profile,
};
use crate::{
    protocol::{Bucket, Region},
    sign::{SignatureVersion, v4::DayKeys},
};

/// Everything but the key and the terms of an upload. Clones share the signing key of the day.
#[derive(Clone, Debug)]
pub(super) struct Template {
    pub(super) destination: Destination,
    pub(super) region: Option<Region>,
    pub(super) callback: CallbackDirective,
    pub(super) signature: SignatureVersion,
    pub(super) profile: Profile,
    pub(super) day_keys: Arc<DayKeys>,
    /// Puts a ticket into every callback.
    pub(super) mint: Option<Mint>,
}

impl Template {
    pub(super) fn new(bucket: Bucket, region: Region, callback: CallbackDirective) -> Self {
        let destination = Destination::bucket(bucket, &region);
        Self::to(destination, Some(region), callback)
    }

    pub(super) fn to(
        destination: Destination,
        region: Option<Region>,
        callback: CallbackDirective,
    ) -> Self {
        Self {
            destination,
            region,
            callback,
            signature: SignatureVersion::V4,
            profile: Profile::Full,
            day_keys: Arc::default(),
            mint: None,
        }
    }

    pub(super) fn check(&self) -> Result<(), PolicyError> {
        if self.signature == SignatureVersion::V4 && self.region.is_none() {
            return Err(PolicyError::Region);
        }
        if self.mint.is_some() && self.destination.bucket_known().is_none() {
            return Err(PolicyError::Bucket);
        }
        for (name, value) in self.callback.variables() {
            if self.profile == Profile::Reduced {
                return Err(PolicyError::field(name, FieldProblem::NotInFormat));
            }
            check_value(name, value)?;
        }
        check_distinct(self.callback.variables().map(|(name, _)| name))
    }
}
