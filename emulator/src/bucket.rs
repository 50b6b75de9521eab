//! Buckets and their ACLs.

use std::fmt;

use crate::cors::CorsRule;
use tower_aliyun_oss::protocol::Bucket;

/// A bucket of the emulator, with its ACL and its CORS rules.
///
/// ```
/// use aliyun_oss_emulator::{Acl, CorsRule, HostedBucket};
///
/// let bucket = HostedBucket::new("examplebucket".parse()?)
///     .acl(Acl::PublicRead)
///     .cors(CorsRule::any_origin());
/// # let _ = bucket;
/// # Ok::<(), tower_aliyun_oss::protocol::EndpointError>(())
/// ```
#[derive(Clone, Debug)]
pub struct HostedBucket {
    pub(crate) name: Bucket,
    pub(crate) acl: Acl,
    pub(crate) cors: Vec<CorsRule>,
}

impl HostedBucket {
    /// Creates a private bucket without CORS rules, which is also the default of OSS.
    #[must_use]
    pub fn new(name: Bucket) -> Self {
        Self {
            name,
            acl: Acl::Private,
            cors: Vec::new(),
        }
    }

    /// Sets the ACL.
    #[must_use]
    pub fn acl(mut self, acl: Acl) -> Self {
        self.acl = acl;
        self
    }

    /// Adds a CORS rule. The first rule that matches a request applies.
    ///
    /// OSS accepts at most ten rules per bucket, and
    /// [`build`](crate::EmulatorBuilder::build) fails if there are more.
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

/// What requests without a signature may do: the [bucket ACL].
///
/// [bucket ACL]: https://www.alibabacloud.com/help/en/oss/user-guide/bucket-acl
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Acl {
    /// `private`: nothing.
    Private,
    /// `authenticated-read`: nothing. OSS accepts it, and its reference does not describe it.
    AuthenticatedRead,
    /// `public-read`: read objects.
    PublicRead,
    /// `public-read-write`: read and upload objects.
    PublicReadWrite,
}

impl Acl {
    const ALL: [Self; 4] = [
        Self::Private,
        Self::AuthenticatedRead,
        Self::PublicRead,
        Self::PublicReadWrite,
    ];

    /// Returns the value as OSS spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::AuthenticatedRead => "authenticated-read",
            Self::PublicRead => "public-read",
            Self::PublicReadWrite => "public-read-write",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|acl| acl.as_str() == name)
    }

    pub(crate) fn lets_read(self) -> bool {
        matches!(self, Self::PublicRead | Self::PublicReadWrite)
    }
}

impl fmt::Display for Acl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
