//! The variables OSS fills into a callback body.

use std::fmt;

/// What the name of every custom variable begins with.
pub(crate) const CUSTOM_PREFIX: &str = "x:";

/// The field of a callback body that is kept for the ticket of an upload: give no variable of yours this name.
pub const TICKET_FIELD: &str = "x:ticket";

/// A variable that OSS itself defines; written `${name}` in a callback body ([Callback]).
///
/// ```
/// use tower_aliyun_oss::protocol::{SystemVariable, VariableKind};
///
/// assert_eq!(SystemVariable::MimeType.name(), "mimeType");
/// assert_eq!(SystemVariable::Size.kind(), VariableKind::Number);
/// assert_eq!(SystemVariable::from_name("size"), Some(SystemVariable::Size));
/// assert_eq!(SystemVariable::from_name("Size"), None);
/// ```
///
/// [Callback]: https://www.alibabacloud.com/help/en/oss/developer-reference/callback
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum SystemVariable {
    /// The name of the bucket.
    Bucket,
    /// The full object key.
    Object,
    /// The ETag, upper-case hex without quotes.
    Etag,
    /// The size of the whole object, in bytes.
    Size,
    /// The Content-Type of the object.
    MimeType,
    /// The height of an image, in pixels; empty for anything else.
    ImageHeight,
    /// The width of an image, in pixels; empty for anything else.
    ImageWidth,
    /// The format of an image, such as `jpg`; empty for anything else.
    ImageFormat,
    /// The CRC-64 of the object.
    Crc64,
    /// The Content-MD5 of the object, Base64.
    ContentMd5,
    /// The VPC the uploader came from; empty when none.
    VpcId,
    /// The address of the uploader.
    ClientIp,
    /// The id of the upload request.
    ReqId,
    /// The operation, such as `PostObject`.
    Operation,
}

impl SystemVariable {
    /// All of them, in the order of the reference.
    pub const ALL: [Self; 14] = [
        Self::Bucket,
        Self::Object,
        Self::Etag,
        Self::Size,
        Self::MimeType,
        Self::ImageHeight,
        Self::ImageWidth,
        Self::ImageFormat,
        Self::Crc64,
        Self::ContentMd5,
        Self::VpcId,
        Self::ClientIp,
        Self::ReqId,
        Self::Operation,
    ];

    /// The name as OSS spells it, case-sensitive.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bucket => "bucket",
            Self::Object => "object",
            Self::Etag => "etag",
            Self::Size => "size",
            Self::MimeType => "mimeType",
            Self::ImageHeight => "imageInfo.height",
            Self::ImageWidth => "imageInfo.width",
            Self::ImageFormat => "imageInfo.format",
            Self::Crc64 => "crc64",
            Self::ContentMd5 => "contentMd5",
            Self::VpcId => "vpcId",
            Self::ClientIp => "clientIp",
            Self::ReqId => "reqId",
            Self::Operation => "operation",
        }
    }

    /// The variable of that name, case-sensitive.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|variable| variable.name() == name)
    }

    /// How OSS writes the value into a JSON body.
    #[must_use]
    pub const fn kind(self) -> VariableKind {
        match self {
            Self::Size | Self::ImageHeight | Self::ImageWidth => VariableKind::Number,
            _ => VariableKind::String,
        }
    }
}

impl fmt::Display for SystemVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How OSS writes a variable into a JSON body.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum VariableKind {
    /// A bare number; nothing at all when empty, which is not valid JSON.
    Number,
    /// A string with its quotes; `null` when empty.
    String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_read_back() {
        for variable in SystemVariable::ALL {
            assert_eq!(SystemVariable::from_name(variable.name()), Some(variable));
        }
        assert_eq!(SystemVariable::from_name("imageInfo"), None);
    }

    #[test]
    fn numbers_are_the_sizes() {
        let mut numbers = SystemVariable::ALL.to_vec();
        numbers.retain(|variable| variable.kind() == VariableKind::Number);
        assert_eq!(
            numbers
                .into_iter()
                .map(SystemVariable::name)
                .collect::<Vec<_>>(),
            ["size", "imageInfo.height", "imageInfo.width"]
        );
    }
}
