//! Who may read an object.

use std::fmt;

/// The access control list of an object: the value of `x-oss-object-acl` ([object ACLs]).
///
/// `public-read-write` is left out: it lets anybody overwrite what was uploaded.
///
/// [object ACLs]: https://www.alibabacloud.com/help/en/oss/user-guide/object-acl
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ObjectAcl {
    /// `private`: only you, and those whom you let.
    #[default]
    Private,
    /// `public-read`: everybody may read it.
    PublicRead,
    /// `default`: what the bucket says.
    Bucket,
}

impl ObjectAcl {
    /// The value as OSS spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::PublicRead => "public-read",
            Self::Bucket => "default",
        }
    }
}

impl fmt::Display for ObjectAcl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
