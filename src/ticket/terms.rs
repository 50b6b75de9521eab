//! What a ticket grants.

use std::{
    fmt,
    num::NonZeroU16,
    time::{Duration, SystemTime},
};

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::store::UseLimit;
use crate::protocol::{
    Bucket, CallbackBodyType, CallbackTarget, ContentType, ObjectKey, ObjectPrefix, ReceivedName,
    SizeRange,
};

/// The maximum length of a ticket, in characters.
///
/// OSS accepts 5,120 characters of Base64, that is 3,840 bytes of JSON, for a whole callback. This
/// leaves 768 bytes for the URL and the rest of the body.
pub const MAX_TICKET_LEN: usize = 3072;

/// The maximum lifetime of a ticket: seven days for the longest policy, and one day for the upload.
pub const MAX_LIFETIME: Duration = Duration::from_secs(8 * 24 * 60 * 60);

/// The objects that a ticket grants.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Scope {
    /// One object, once.
    Exact(ObjectKey),
    /// Objects under a prefix. Each callback counts as one use.
    Prefix {
        /// The prefix of the object keys.
        prefix: ObjectPrefix,
        /// The maximum number of callbacks.
        max_uses: NonZeroU16,
    },
}

impl Scope {
    /// The default number of uses of a prefix, 100.
    pub const DEFAULT_MAX_USES: NonZeroU16 = NonZeroU16::MIN.saturating_add(99);

    /// Grants [`Self::DEFAULT_MAX_USES`] (100) objects under a prefix.
    #[must_use]
    pub const fn prefix(prefix: ObjectPrefix) -> Self {
        Self::Prefix {
            prefix,
            max_uses: Self::DEFAULT_MAX_USES,
        }
    }

    /// Returns how often a ticket with this scope can be redeemed.
    #[must_use]
    pub const fn use_limit(&self) -> UseLimit {
        match self {
            Self::Exact(_) => UseLimit::Once,
            Self::Prefix { max_uses, .. } => UseLimit::Texts(*max_uses),
        }
    }

    pub(super) fn contains(&self, object: &str) -> bool {
        match self {
            Self::Exact(key) => key.as_str() == object,
            // OSS has stored the object, so every name is accepted that it stores, but for dot
            // segments: `user/1/../2/a` is not under `user/1/`.
            Self::Prefix { prefix, .. } => {
                object.starts_with(prefix.as_str()) && ReceivedName::check(object).is_ok()
            }
        }
    }
}

/// The first half of the SHA-256 of a callback target.
///
/// A digest has a fixed length, so long targets cost no room. The MAC authenticates it; a second
/// preimage of 128 bits is out of reach, and the targets come from the configuration of the server.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct TargetDigest(pub(super) [u8; 16]);

impl TargetDigest {
    pub(super) fn of(target: &CallbackTarget) -> Self {
        let digest: [u8; 32] = Sha256::digest(target.as_str().as_bytes()).into();
        let mut half = [0; 16];
        half.copy_from_slice(&digest[..16]);
        Self(half)
    }
}

/// The contents of a ticket: everything that it grants. See the [module](super::internal) for an
/// example.
#[derive(Clone, Eq, PartialEq)]
pub struct Terms {
    pub(super) bucket: Bucket,
    pub(super) scope: Scope,
    pub(super) sizes: SizeRange,
    /// Sorted, without duplicates.
    pub(super) targets: Vec<TargetDigest>,
    pub(super) expires: SystemTime,
    pub(super) body_type: CallbackBodyType,
    /// Sorted, without duplicates. Empty grants any type.
    pub(super) content_types: Vec<ContentType>,
    /// JSON. Empty if there are no claims.
    pub(super) claims: Box<str>,
    /// Empty if the client requested none.
    pub(super) filename: Box<str>,
}

impl Terms {
    /// The maximum number of targets, equal to the number of callback URLs that OSS accepts.
    pub const MAX_TARGETS: usize = 5;

    /// The maximum number of content types.
    pub const MAX_CONTENT_TYPES: usize = 64;

    /// The maximum length of the claims, in bytes of JSON.
    pub const MAX_CLAIMS_LEN: usize = 1024;

    /// Grants uploads of `scope` to `bucket` within `sizes`, with a callback to `target`, until
    /// `expires`. Fractions of a second are dropped from `expires`.
    ///
    /// The callback follows the upload, so a ticket must outlive the policy **and** the longest
    /// upload that starts under it. The body type defaults to a form, as in OSS; any content type
    /// is granted; there are no claims.
    #[must_use]
    pub fn new(
        bucket: Bucket,
        scope: Scope,
        sizes: SizeRange,
        target: &CallbackTarget,
        expires: SystemTime,
    ) -> Self {
        Self {
            bucket,
            scope,
            sizes,
            targets: vec![TargetDigest::of(target)],
            expires,
            body_type: CallbackBodyType::Form,
            content_types: Vec::new(),
            claims: Box::default(),
            filename: Box::default(),
        }
    }

    /// Adds a target, for a callback with several URLs that differ in path or query.
    #[must_use]
    pub fn also_target(mut self, target: &CallbackTarget) -> Self {
        self.targets.push(TargetDigest::of(target));
        // The order of calls does not matter: equal grants have equal bytes.
        self.targets.sort_unstable();
        self.targets.dedup();
        self
    }

    /// Sets the type of the callback body.
    #[must_use]
    pub const fn body_type(mut self, body_type: CallbackBodyType) -> Self {
        self.body_type = body_type;
        self
    }

    /// Sets the content types that an object may have. An empty list grants any type.
    #[must_use]
    pub fn content_types(mut self, types: impl IntoIterator<Item = ContentType>) -> Self {
        self.content_types = types.into_iter().collect();
        self.content_types.sort_unstable();
        self.content_types.dedup();
        self
    }

    /// Sets application data for the callback handler, such as the id of the user. It is
    /// authenticated, but **the uploader can read it**.
    ///
    /// # Errors
    ///
    /// Fails if serde cannot serialize the value to JSON, or if the JSON exceeds
    /// [`Self::MAX_CLAIMS_LEN`] (1 KiB).
    pub fn claims<T: Serialize + ?Sized>(mut self, claims: &T) -> Result<Self, TermsError> {
        // The cause is dropped: it is a type of serde_json, and can quote the claims.
        let json = serde_json::to_string(claims).map_err(|_| TermsError::ClaimsNotJson)?;
        if json.len() > Self::MAX_CLAIMS_LEN {
            return Err(TermsError::ClaimsTooLong(json.len()));
        }
        self.claims = json.into();
        Ok(self)
    }

    /// Sets the name of the file that the client requested the upload for. It can be any text; an
    /// empty one equals no name. [`MAX_TICKET_LEN`] limits it.
    #[must_use]
    pub fn filename(mut self, filename: &str) -> Self {
        self.filename = filename.into();
        self
    }
}

impl fmt::Debug for Terms {
    /// Omits the claims and the file name, which can hold personal data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terms")
            .field("bucket", &self.bucket)
            .field("scope", &self.scope)
            .field("sizes", &self.sizes)
            .field("expires", &self.expires)
            .field("body_type", &self.body_type)
            .field("content_types", &self.content_types)
            .finish_non_exhaustive()
    }
}

/// Error of [`Terms::claims`] and [`TicketKeys::issue`](super::TicketKeys::issue): no ticket can be
/// issued for these terms.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TermsError {
    /// Serde cannot serialize the claims to JSON.
    #[error("failed to serialize the claims to JSON")]
    ClaimsNotJson,
    /// The claims exceed 1 KiB; holds their length.
    #[error("the claims are {0} bytes of JSON, and at most 1024 fit; store an id instead")]
    ClaimsTooLong(usize),
    /// The ticket would already have expired.
    #[error("a ticket must expire later than it is issued")]
    Expired,
    /// The lifetime would exceed [`MAX_LIFETIME`].
    #[error("the lifetime of a ticket is at most eight days")]
    TooFar,
    /// There are more than [`Terms::MAX_TARGETS`] targets.
    #[error("a ticket has at most 5 targets")]
    TooManyTargets,
    /// There are more than [`Terms::MAX_CONTENT_TYPES`] content types.
    #[error("a ticket grants at most 64 content types")]
    TooManyContentTypes,
    /// The callback body has more than 255 fields.
    #[error("a callback body with a ticket has at most 255 fields")]
    TooManyFields,
    /// The ticket would exceed [`MAX_TICKET_LEN`]; holds its length.
    #[error(
        "the ticket would have {0} characters, and at most {MAX_TICKET_LEN} leave room for the \
         rest of a callback; shorten the key, the content types, the claims or the file name"
    )]
    TooLong(usize),
}
