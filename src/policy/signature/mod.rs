//! Signatures of policies, over the Base64 text exactly as it is sent.

mod day_key;
pub(super) mod v1;
pub(super) mod v4;

pub(super) use day_key::DayKeys;

/// Which signature a policy carries.
///
/// Sources: [signature version 4] and [signature version 1].
///
/// [signature version 4]: https://www.alibabacloud.com/help/en/oss/developer-reference/signature-version-4-recommend
/// [signature version 1]: https://alibabacloud.com/help/en/oss/developer-reference/signature-version-1
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum SignatureVersion {
    /// `OSS4-HMAC-SHA256`, with a key that is good for one region and one day.
    #[default]
    V4,
    /// HMAC-SHA1 with the AccessKey secret itself: for stores and clients that know nothing newer.
    V1,
}
