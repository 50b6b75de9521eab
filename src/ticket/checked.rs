//! A ticket that is ours.

use std::{fmt, time::SystemTime};

use serde::de::DeserializeOwned;

use super::{
    error::TicketError,
    nonce::Nonce,
    seal::SKEW,
    store::UseLimit,
    terms::{Scope, Terms},
};
use crate::protocol::Bucket;

/// A ticket that is authentic, not expired, and for the target and body type of this callback.
///
/// Whether the callback keeps within the grant is known only after [`permits`](Self::permits), and whether the ticket
/// was used before only after [`ReplayStore::begin`](super::ReplayStore::begin).
#[derive(Clone)]
pub struct CheckedTicket {
    nonce: Nonce,
    terms: Terms,
}

impl CheckedTicket {
    pub(super) const fn new(nonce: Nonce, terms: Terms) -> Self {
        Self { nonce, terms }
    }

    /// Whether the callback is about what was granted: this bucket, an object of this name, size (in bytes) and type.
    ///
    /// The uploader who holds the ticket can still have OSS say a false size or type, through a bucket of his own. Ask
    /// OSS itself for what must be true.
    ///
    /// # Errors
    ///
    /// When one of them is outside the grant; the error says which.
    pub fn permits(
        &self,
        bucket: &str,
        object: &str,
        size: u64,
        content_type: &str,
    ) -> Result<(), TicketError> {
        let terms = &self.terms;
        if terms.bucket.as_str() != bucket {
            return Err(TicketError::Bucket);
        }
        if !terms.scope.contains(object) {
            return Err(TicketError::Object);
        }
        if !terms.sizes.contains(size) {
            return Err(TicketError::Size);
        }
        let any = terms.content_types.is_empty();
        let granted = |content_type| terms.content_types.contains(&content_type);
        if !any && !content_type.parse().is_ok_and(granted) {
            return Err(TicketError::ContentType);
        }
        Ok(())
    }

    /// What was said about the grant when it was given; JSON's `null` when nothing was, so `Option<T>` fits always.
    ///
    /// # Errors
    ///
    /// When the claims do not fit `T`.
    pub fn claims<T: DeserializeOwned>(&self) -> Result<T, TicketError> {
        let claims = match &*self.terms.claims {
            "" => "null",
            claims => claims,
        };
        serde_json::from_str(claims).map_err(|_| TicketError::Claims)
    }

    /// By what the ticket is known to a store.
    #[must_use]
    pub const fn nonce(&self) -> Nonce {
        self.nonce
    }

    /// When the ticket expires.
    #[must_use]
    pub const fn expires(&self) -> SystemTime {
        self.terms.expires
    }

    /// Until when the ticket is taken, which is [`SKEW`] more; so long a store has to remember it.
    #[must_use]
    pub fn until(&self) -> SystemTime {
        self.terms
            .expires
            .checked_add(SKEW)
            .unwrap_or(self.terms.expires)
    }

    /// The bucket.
    #[must_use]
    pub const fn bucket(&self) -> &Bucket {
        &self.terms.bucket
    }

    /// The object or prefix.
    #[must_use]
    pub const fn scope(&self) -> &Scope {
        &self.terms.scope
    }

    /// Whether the ticket is for one object, and so for one callback.
    #[must_use]
    pub const fn is_exact(&self) -> bool {
        matches!(self.terms.scope, Scope::Exact(_))
    }

    /// How often the ticket may be used.
    #[must_use]
    pub const fn use_limit(&self) -> UseLimit {
        self.terms.scope.use_limit()
    }
}

impl fmt::Debug for CheckedTicket {
    /// Leaves the claims out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckedTicket")
            .field("nonce", &self.nonce)
            .field("terms", &self.terms)
            .finish()
    }
}
