//! Tickets for the callbacks of granted uploads.

use std::{
    num::NonZeroU16,
    time::{Duration, SystemTime},
};

use serde_json::Value;

use super::{
    callback::CallbackDirective, conditions::ContentTypes, error::PolicyError,
    object_name::UploadKey,
};
use crate::{
    protocol::{Bucket, SizeRange, SystemVariable},
    ticket::{TicketKeys, internal::Terms, store::Nonce},
};

/// Default time from the end of a policy to the callback: an upload may start just before the
/// policy expires.
pub(super) const DEFAULT_UPLOAD_TIME: Duration = Duration::from_secs(60 * 60);

/// What the callback layer compares with a ticket, and the request id and ETag for its log.
const REQUIRED: [SystemVariable; 6] = [
    SystemVariable::ReqId,
    SystemVariable::Bucket,
    SystemVariable::Object,
    SystemVariable::Size,
    SystemVariable::Etag,
    SystemVariable::MimeType,
];

/// Adds the fields that the callback layer needs to check a ticket, under the names of OSS.
pub(super) fn prepare_callback(
    callback: CallbackDirective,
) -> Result<CallbackDirective, PolicyError> {
    let prepared = callback
        .with_system_variables(&REQUIRED)
        .map_err(PolicyError::Callback)?;
    // Fails now, rather than for every token, if the body already has a field with the name of the
    // ticket.
    prepared
        .encode_for(&[], Some(""))
        .map_err(PolicyError::Callback)?;
    Ok(prepared)
}

/// What one ticket permits.
pub(super) struct TicketRequest<'a> {
    pub(super) bucket: &'a Bucket,
    pub(super) key: &'a UploadKey,
    pub(super) size: SizeRange,
    /// `None` if the policy has no condition on the type, so that OSS accepts any.
    pub(super) content_types: Option<&'a ContentTypes>,
    pub(super) claims: Option<&'a Value>,
    /// The name of the file, if the client sent one.
    pub(super) filename: Option<&'a str>,
    /// Number of callbacks for uploads under a prefix.
    pub(super) max_uses: NonZeroU16,
    /// When the policy expires.
    pub(super) policy_expires: SystemTime,
}

/// Issues the ticket of every upload that a service grants.
#[derive(Clone, Copy)]
pub(super) struct TicketIssuer<'a> {
    pub(super) keys: &'a TicketKeys,
    /// Added to the lifetime of the policy.
    pub(super) upload_time: Duration,
    /// Whether there is a ledger.
    pub(super) recorded: bool,
}

impl TicketIssuer<'_> {
    /// Returns when a ticket for a policy with this expiry expires.
    pub(super) fn expires(&self, policy_expires: SystemTime) -> Result<SystemTime, PolicyError> {
        let expires = policy_expires.checked_add(self.upload_time);
        expires.ok_or(PolicyError::Clock)
    }

    /// Returns the text of a ticket for one upload, called back as `callback` specifies. It seals
    /// the fields of the callback body, among them `variables`, which only this upload has. Each
    /// ticket has a nonce of its own, so that the store can count the uses of each.
    pub(super) fn issue(
        &self,
        request: &TicketRequest<'_>,
        callback: &CallbackDirective,
        variables: &[(Box<str>, Box<str>)],
        at: SystemTime,
        nonce: Nonce,
    ) -> Result<String, PolicyError> {
        let expires = self.expires(request.policy_expires)?;
        let mut terms = Terms::new(
            request.bucket.clone(),
            request.key.ticket_scope(request.max_uses),
            request.size,
            callback.target(),
            expires,
        )
        .body_type(callback.body_type());
        for target in callback.targets().skip(1) {
            terms = terms.also_target(target);
        }
        if let Some(types) = request.content_types {
            terms = terms.content_types(types.list());
        }
        if let Some(claims) = request.claims {
            terms = terms.claims(claims)?;
        }
        if let Some(filename) = request.filename {
            terms = terms.filename(filename);
        }
        let fields = callback.sealed_fields(variables);
        Ok(self.keys.issue(&terms, fields, at, nonce)?)
    }
}
