//! What is granted.

use std::{error::Error, fmt, num::NonZeroU16, time::SystemTime};

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::{codec::MAX_TICKET_LEN, store::UseLimit};
use crate::protocol::{
    Bucket, CallbackBodyType, CallbackTarget, ContentType, ObjectKey, ObjectPrefix, SizeRange,
};

/// Which objects may be uploaded.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Scope {
    /// One object, once.
    Exact(ObjectKey),
    /// Objects under a prefix. Each callback counts as one use.
    Prefix {
        /// Where the objects may lie.
        prefix: ObjectPrefix,
        /// How many callbacks are taken.
        max_uses: NonZeroU16,
    },
}

impl Scope {
    /// How often a prefix may be used when nothing else is said.
    pub const DEFAULT_MAX_USES: NonZeroU16 = NonZeroU16::MIN.saturating_add(99);

    /// Objects under a prefix, [`Self::DEFAULT_MAX_USES`] (100) of them.
    #[must_use]
    pub const fn prefix(prefix: ObjectPrefix) -> Self {
        Self::Prefix {
            prefix,
            max_uses: Self::DEFAULT_MAX_USES,
        }
    }

    /// How often a ticket with this scope may be used.
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
            // Parsed, so that `user/1/../2/a` is not under `user/1/`.
            Self::Prefix { prefix, .. } => {
                object.parse().is_ok_and(|object| prefix.contains(&object))
            }
        }
    }
}

/// The first half of the SHA-256 of a target: authentic, and of one length.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct TargetDigest(pub(super) [u8; 16]);

impl TargetDigest {
    pub(super) fn of(target: &CallbackTarget) -> Self {
        let digest: [u8; 32] = Sha256::digest(target.as_str().as_bytes()).into();
        let (first, _) = digest.split_first_chunk().unwrap_or((&[0; 16], &[]));
        Self(*first)
    }
}

/// Everything a ticket says. See the [module](super) for an example.
#[derive(Clone, Eq, PartialEq)]
pub struct Terms {
    pub(super) bucket: Bucket,
    pub(super) scope: Scope,
    pub(super) sizes: SizeRange,
    /// Sorted, each once.
    pub(super) targets: Vec<TargetDigest>,
    pub(super) expires: SystemTime,
    pub(super) body_type: CallbackBodyType,
    /// Sorted, each once; empty when any is granted.
    pub(super) content_types: Vec<ContentType>,
    /// JSON; empty when there are none.
    pub(super) claims: Box<str>,
}

impl Terms {
    /// The most targets: as many as OSS takes URLs.
    pub const MAX_TARGETS: usize = 5;

    /// The most content types.
    pub const MAX_CONTENT_TYPES: usize = 64;

    /// The longest claims, in bytes of JSON.
    pub const MAX_CLAIMS_LEN: usize = 1024;

    /// Uploads of `scope` to `bucket`, of these sizes, called back at `target` until `expires` (in whole seconds; a
    /// fraction is dropped).
    ///
    /// The callback comes after the upload, so a ticket has to live as long as the policy **and** the longest upload
    /// that starts under it. The body is a form, as OSS has it by default; any content type is granted; there are no
    /// claims.
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
        }
    }

    /// One more target: of a callback with several URLs, whose paths or queries differ.
    #[must_use]
    pub fn also_target(mut self, target: &CallbackTarget) -> Self {
        self.targets.push(TargetDigest::of(target));
        self.targets.sort_unstable();
        self.targets.dedup();
        self
    }

    /// The type of the callback body.
    #[must_use]
    pub const fn body_type(mut self, body_type: CallbackBodyType) -> Self {
        self.body_type = body_type;
        self
    }

    /// The types an object may have; none at all means any.
    #[must_use]
    pub fn content_types(mut self, types: impl IntoIterator<Item = ContentType>) -> Self {
        self.content_types = types.into_iter().collect();
        self.content_types.sort_unstable();
        self.content_types.dedup();
        self
    }

    /// What your handler wants to know of the grant, such as whose it is. Authentic, but **readable by the
    /// uploader**.
    ///
    /// # Errors
    ///
    /// When serde cannot write the value, or its JSON is longer than [`Self::MAX_CLAIMS_LEN`] (1 KiB).
    pub fn claims<T: Serialize + ?Sized>(mut self, claims: &T) -> Result<Self, TermsError> {
        let json = serde_json::to_string(claims).map_err(|_| TermsError::ClaimsNotJson)?;
        if json.len() > Self::MAX_CLAIMS_LEN {
            return Err(TermsError::ClaimsTooLong(json.len()));
        }
        self.claims = json.into();
        Ok(self)
    }
}

impl fmt::Debug for Terms {
    /// Leaves the claims out: they are the application's.
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

/// Why no ticket can be made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum TermsError {
    /// Serde cannot write the claims as JSON.
    ClaimsNotJson,
    /// The claims are longer than 1 KiB; holds the length.
    ClaimsTooLong(usize),
    /// The ticket would be expired when it is made.
    Expired,
    /// The ticket would live longer than [`MAX_LIFETIME`](super::MAX_LIFETIME).
    TooFar,
    /// More than [`Terms::MAX_TARGETS`] targets.
    TooManyTargets,
    /// More than [`Terms::MAX_CONTENT_TYPES`] content types.
    TooManyContentTypes,
    /// The text would be longer than [`MAX_TICKET_LEN`]; holds how long.
    TooLong(usize),
}

impl fmt::Display for TermsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClaimsNotJson => f.write_str("the claims cannot be written as json"),
            Self::ClaimsTooLong(found) => write!(
                f,
                "the claims are {found} bytes of json, and at most 1024 fit; carry an id instead"
            ),
            Self::Expired => f.write_str("a ticket must expire later than it is made"),
            Self::TooFar => f.write_str("a ticket lives at most eight days"),
            Self::TooManyTargets => f.write_str("a ticket is for at most 5 targets"),
            Self::TooManyContentTypes => f.write_str("a ticket grants at most 64 content types"),
            Self::TooLong(found) => write!(
                f,
                "the ticket would have {found} characters, and at most {MAX_TICKET_LEN} leave room for the rest of a \
                 callback; shorten the key, the content types or the claims"
            ),
        }
    }
}

impl Error for TermsError {}
