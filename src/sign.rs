//! Signatures with an AccessKey: versions 1 and 4.
//!
//! Each function signs a text exactly as given. Callers pass the text that they send: signing
//! anything parsed or serialized again would sign other bytes than OSS receives.

mod secret;
pub(crate) mod v1;
pub(crate) mod v4;

pub(crate) use secret::Secret;

/// The signature version of a policy.
///
/// Sources: [signature version 4] and [signature version 1].
///
/// [signature version 4]: https://www.alibabacloud.com/help/en/oss/developer-reference/signature-version-4-recommend
/// [signature version 1]: https://alibabacloud.com/help/en/oss/developer-reference/signature-version-1
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum SignatureVersion {
    /// `OSS4-HMAC-SHA256`, with a derived key that is valid for one region and one day.
    #[default]
    V4,
    /// HMAC-SHA1 with the AccessKey secret itself, for stores and clients that do not support V4.
    V1,
}
