//! What an upload may be, wherever it goes.

use std::{fmt, time::Duration};

use super::{
    condition::Condition,
    content_types::ContentTypes,
    error::{FieldProblem, PolicyError},
    field::{check_distinct, check_name, check_value},
};
use crate::protocol::{ObjectAcl, SizeRange};

const DEFAULT_LIFETIME: Duration = Duration::from_secs(15 * 60);
const MIN_LIFETIME: Duration = Duration::from_secs(1);
/// After seven days OSS no longer takes the date of a signature of version 4.
const MAX_LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);

pub(super) fn check_lifetime(lifetime: Duration) -> Result<(), PolicyError> {
    if (MIN_LIFETIME..=MAX_LIFETIME).contains(&lifetime) {
        Ok(())
    } else {
        Err(PolicyError::Lifetime)
    }
}

/// Which conditions a policy has: as many as the clients of a token format send fields for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Profile {
    /// All of them.
    Full,
    /// Bucket, key, size, status and callback, and the fields of the signature.
    Reduced,
}

/// What both a policy and a grant say about an upload, besides its name.
#[derive(Clone)]
pub(super) struct Terms {
    pub(super) size: SizeRange,
    pub(super) lifetime: Duration,
    pub(super) content_types: ContentTypes,
    pub(super) allow_active: bool,
    pub(super) acl: Option<ObjectAcl>,
    pub(super) overwrite: bool,
    pub(super) status: u16,
    pub(super) fields: Vec<(Box<str>, Box<str>)>,
    pub(super) conditions: Vec<Condition>,
}

impl fmt::Debug for Terms {
    /// Leaves the values of fields out: they can hold what does not belong into a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields: Vec<_> = self.fields.iter().map(|(name, _)| name).collect();
        f.debug_struct("Terms")
            .field("size", &self.size)
            .field("lifetime", &self.lifetime)
            .field("content_types", &self.content_types)
            .field("acl", &self.acl)
            .field("overwrite", &self.overwrite)
            .field("fields", &fields)
            .field("conditions", &self.conditions)
            .finish_non_exhaustive()
    }
}

impl Terms {
    pub(super) fn new(size: SizeRange) -> Self {
        Self {
            size,
            lifetime: DEFAULT_LIFETIME,
            content_types: ContentTypes::Binary,
            allow_active: false,
            acl: None,
            overwrite: false,
            status: 200,
            fields: Vec::new(),
            conditions: Vec::new(),
        }
    }

    pub(super) fn check(&self, profile: Profile) -> Result<(), PolicyError> {
        check_lifetime(self.lifetime)?;
        if !matches!(self.status, 200 | 201 | 204) {
            let field = "success_action_status";
            return Err(PolicyError::field(field, FieldProblem::Status));
        }
        self.content_types.check(self.allow_active)?;
        for (name, value) in &self.fields {
            check_name(name)?;
            check_value(name, value)?;
        }
        for condition in &self.conditions {
            condition.check()?;
        }
        let fields = self.fields.iter().map(|(name, _)| &**name);
        check_distinct(fields.chain(self.conditions.iter().map(Condition::field)))?;
        match self.unsent() {
            Some(field) if profile == Profile::Reduced => {
                Err(PolicyError::field(field, FieldProblem::NotInFormat))
            }
            _ => Ok(()),
        }
    }

    /// The first setting that needs a field which a client with few fields does not send.
    fn unsent(&self) -> Option<&str> {
        if !matches!(self.content_types, ContentTypes::Binary | ContentTypes::Any) {
            return Some("x-oss-content-type");
        }
        if self.acl.is_some() {
            return Some("x-oss-object-acl");
        }
        if self.overwrite {
            return Some("x-oss-forbid-overwrite");
        }
        if self.status != 200 {
            return Some("success_action_status");
        }
        let fields = self.fields.iter().map(|(name, _)| &**name);
        let conditions = self.conditions.iter().map(Condition::field);
        fields.chain(conditions).next()
    }

    pub(super) fn status_text(&self) -> &'static str {
        match self.status {
            201 => "201",
            204 => "204",
            _ => "200",
        }
    }
}
