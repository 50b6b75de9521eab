//! The buckets the emulator has.

use std::fmt;

use crate::cors::CorsRule;
use tower_aliyun_oss::protocol::Bucket;

/// A bucket, who may use it without a signature, and which pages may talk to it.
///
/// ```
/// use aliyun_oss_emulator::{Acl, CorsRule, HostedBucket};
///
/// let bucket = HostedBucket::new("examplebucket".parse()?)
///     .acl(Acl::PublicRead)
///     .cors(CorsRule::any_origin());
/// # let _ = bucket;
/// # Ok::<(), tower_aliyun_oss::protocol::BucketError>(())
/// ```
#[derive(Clone, Debug)]
pub struct HostedBucket {
    pub(crate) name: Bucket,
    pub(crate) acl: Acl,
    pub(crate) cors: Vec<CorsRule>,
}

impl HostedBucket {
    /// A private bucket without CORS, as OSS makes them.
    #[must_use]
    pub fn new(name: Bucket) -> Self {
        Self {
            name,
            acl: Acl::Private,
            cors: Vec::new(),
        }
    }

    /// Who may use it without a signature.
    #[must_use]
    pub fn acl(mut self, acl: Acl) -> Self {
        self.acl = acl;
        self
    }

    /// Adds a rule for pages of other origins; the first rule that fits counts. OSS takes at most ten.
    #[must_use]
    pub fn cors(mut self, rule: CorsRule) -> Self {
        self.cors.push(rule);
        self
    }
}

impl From<Bucket> for HostedBucket {
    fn from(name: Bucket) -> Self {
        Self::new(name)
    }
}

/// Who may do what without a signature ([bucket ACLs]).
///
/// [bucket ACLs]: https://www.alibabacloud.com/help/en/oss/user-guide/bucket-acl
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Acl {
    /// `private`: nobody.
    Private,
    /// `public-read`: everybody may read.
    PublicRead,
    /// `public-read-write`: everybody may read and upload.
    PublicReadWrite,
}

impl Acl {
    const ALL: [Self; 3] = [Self::Private, Self::PublicRead, Self::PublicReadWrite];

    /// The value as OSS spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::PublicRead => "public-read",
            Self::PublicReadWrite => "public-read-write",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|acl| acl.as_str() == name)
    }

    pub(crate) fn lets_read(self) -> bool {
        self != Self::Private
    }
}

impl fmt::Display for Acl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
