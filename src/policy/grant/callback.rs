//! The callback of what is granted, and its ticket.

use std::{num::NonZeroU16, time::SystemTime};

use super::{Claims, Grant, Name};
use crate::policy::{
    directive::CallbackDirective,
    error::PolicyError,
    mint::Granted,
    moment::{Moment, system_time},
    template::Template,
    terms::{Profile, Terms},
    upload_key::UploadKey,
};

impl Grant {
    /// The callback of an upload that needs no policy, with a ticket if there are any.
    pub(in crate::policy) fn callback(
        &self,
        template: &Template,
        at: SystemTime,
    ) -> Result<CallbackDirective, PolicyError> {
        // No form, so no client of a format that leaves fields out.
        self.terms.check(Profile::Full)?;
        let key = match &self.name {
            Name::Exact(key) => UploadKey::Exact(key.clone()),
            Name::Unique(prefix) | Name::Any(prefix) => UploadKey::Under(prefix.clone()),
        };
        let mut template = template.clone();
        template.profile = Profile::Full;
        let callback = template.callback.with_custom(&self.variables);
        template.callback = callback.map_err(PolicyError::Callback)?;
        let ticketed = self.with_ticket(&template, &key, &self.terms, None, at)?;
        Ok(ticketed.unwrap_or(template.callback))
    }

    pub(super) fn with_ticket(
        &self,
        template: &Template,
        key: &UploadKey,
        terms: &Terms,
        credentials_end: Option<SystemTime>,
        at: SystemTime,
    ) -> Result<Option<CallbackDirective>, PolicyError> {
        let claims = match (&self.claims, &template.mint) {
            (Claims::None, _) => None,
            (Claims::Some(claims), Some(_)) => Some(claims),
            (Claims::Some(_), None) | (Claims::NotJson, _) => return Err(PolicyError::Claims),
        };
        let Some(mint) = &template.mint else {
            return Ok(None);
        };
        let moment = Moment::new(at, terms.lifetime, credentials_end)?;
        let granted = Granted {
            bucket: template
                .destination
                .bucket_known()
                .ok_or(PolicyError::Bucket)?,
            key,
            terms,
            types_are_pinned: template.profile == Profile::Full,
            claims,
            max_uses: match self.name {
                Name::Any(_) => self.max_uses,
                Name::Exact(_) | Name::Unique(_) => NonZeroU16::MIN,
            },
            ends: system_time(moment.expires()),
        };
        mint.callback(&template.callback, &granted, at).map(Some)
    }
}
