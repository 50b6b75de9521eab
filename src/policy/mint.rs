//! Tickets for the callbacks of what is granted.

use std::{
    num::NonZeroU16,
    time::{Duration, SystemTime},
};

use serde_json::Value;

use super::{
    directive::CallbackDirective, error::PolicyError, terms::Terms, upload_key::UploadKey,
};
use crate::{
    protocol::{Bucket, SystemVariable},
    ticket::{self, Nonce, Scope, Tickets},
};

/// The upload may begin just before the policy ends.
const DEFAULT_UPLOAD_TIME: Duration = Duration::from_secs(60 * 60);

/// What a ticket is checked against when OSS calls back, and by which request it can be found there.
const CHECKED: [SystemVariable; 6] = [
    SystemVariable::ReqId,
    SystemVariable::Bucket,
    SystemVariable::Object,
    SystemVariable::Size,
    SystemVariable::Etag,
    SystemVariable::MimeType,
];

/// What one ticket is for.
pub(super) struct Granted<'a> {
    pub(super) bucket: &'a Bucket,
    pub(super) key: &'a UploadKey,
    pub(super) terms: &'a Terms,
    /// Without a condition on it OSS takes any type.
    pub(super) types_are_pinned: bool,
    pub(super) claims: Option<&'a Value>,
    pub(super) max_uses: NonZeroU16,
    /// When the policy ends.
    pub(super) ends: SystemTime,
}

/// Mints a ticket for every policy.
#[derive(Clone, Debug)]
pub(super) struct Mint {
    tickets: Tickets,
    pub(super) upload_time: Duration,
}

impl Mint {
    pub(super) fn new(tickets: Tickets) -> Self {
        Self {
            tickets,
            upload_time: DEFAULT_UPLOAD_TIME,
        }
    }

    /// The callback with the variables that a ticket needs, under the names of OSS.
    pub(super) fn prepare(callback: CallbackDirective) -> Result<CallbackDirective, PolicyError> {
        callback
            .with_variables(&CHECKED)
            .and_then(|prepared| {
                // Whether the name of the ticket is free.
                prepared.clone().with_ticket("")?;
                Ok(prepared)
            })
            .map_err(PolicyError::Callback)
    }

    /// The callback with a ticket in its body, for this upload alone.
    pub(super) fn callback(
        &self,
        callback: &CallbackDirective,
        granted: &Granted<'_>,
        at: SystemTime,
    ) -> Result<CallbackDirective, PolicyError> {
        let Granted { key, terms, .. } = granted;
        let scope = match key {
            UploadKey::Exact(key) => Scope::Exact(key.clone()),
            UploadKey::Under(prefix) => Scope::Prefix {
                prefix: prefix.clone(),
                max_uses: granted.max_uses,
            },
        };
        let expires = granted
            .ends
            .checked_add(self.upload_time)
            .ok_or(PolicyError::Clock)?;
        let first = callback.target();
        let mut sealed =
            ticket::Terms::new(granted.bucket.clone(), scope, terms.size, first, expires)
                .body_type(callback.body_type());
        for target in callback.targets().skip(1) {
            sealed = sealed.also_target(target);
        }
        if granted.types_are_pinned {
            sealed = sealed.content_types(terms.content_types.list());
        }
        if let Some(claims) = granted.claims {
            sealed = sealed.claims(claims).map_err(PolicyError::Ticket)?;
        }
        let nonce = Nonce::random().map_err(|_| PolicyError::Random)?;
        let text = self.tickets.keys().mint(&sealed, at, nonce);
        let text = text.map_err(PolicyError::Ticket)?;
        let ticketed = callback.clone().with_ticket(&text);
        ticketed.map_err(PolicyError::Callback)
    }
}
