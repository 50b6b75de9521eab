//! The body of a callback: its media type, and the variables that OSS inserts.

use std::fmt;

/// The prefix of every custom variable.
pub(crate) const CUSTOM_PREFIX: &str = "x:";

/// The field of a callback body that carries the ticket of an upload. The name is reserved: do not
/// use it for a variable of your own.
pub const TICKET_FIELD: &str = "x:ticket";

/// The format of a callback body: the value of `callbackBodyType`, which OSS sends as
/// `Content-Type`.
///
/// ```
/// use tower_aliyun_oss::protocol::CallbackBodyType;
///
/// let parse = CallbackBodyType::from_header;
/// assert_eq!(parse(b"application/json"), Some(CallbackBodyType::Json));
/// assert_eq!(parse(b"Application/JSON; charset=UTF-8"), Some(CallbackBodyType::Json));
/// assert_eq!(parse(b"application/json; charset=gbk"), None);
/// assert_eq!(parse(b"text/plain"), None);
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum CallbackBodyType {
    /// `application/x-www-form-urlencoded`, the default of OSS.
    Form,
    /// `application/json`.
    Json,
}

impl CallbackBodyType {
    /// All formats.
    pub const ALL: [Self; 2] = [Self::Form, Self::Json];

    /// Returns the media type as OSS writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Form => "application/x-www-form-urlencoded",
            Self::Json => "application/json",
        }
    }

    /// Parses the value of a `Content-Type` header: one of the two media types in any case, with no
    /// parameter except `charset=utf-8`. Returns `None` for anything else.
    ///
    /// The header is not signed. Another charset or a boundary would let the sender choose how the
    /// signed bytes are interpreted.
    #[must_use]
    pub fn from_header(value: &[u8]) -> Option<Self> {
        let (essence, parameter) = match value.iter().position(|&b| b == b';') {
            Some(at) => (&value[..at], Some(&value[at + 1..])),
            None => (value, None),
        };
        let essence = essence.trim_ascii();
        let body_type = Self::ALL
            .into_iter()
            .find(|t| essence.eq_ignore_ascii_case(t.as_str().as_bytes()))?;
        // A second parameter stays part of this one and matches neither spelling.
        match parameter.map(|p| p.trim_ascii()) {
            None => Some(body_type),
            Some(p)
                if p.eq_ignore_ascii_case(b"charset=utf-8")
                    || p.eq_ignore_ascii_case(b"charset=\"utf-8\"") =>
            {
                Some(body_type)
            }
            Some(_) => None,
        }
    }
}

impl fmt::Display for CallbackBodyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A variable that OSS defines, written `${name}` in a callback body ([Callback]).
///
/// ```
/// use tower_aliyun_oss::protocol::SystemVariable;
///
/// assert_eq!(SystemVariable::MimeType.name(), "mimeType");
/// assert!(SystemVariable::Size.is_number());
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
    /// The height of an image, in pixels; empty for other types.
    ImageHeight,
    /// The width of an image, in pixels; empty for other types.
    ImageWidth,
    /// The format of an image, such as `jpg`; empty for other types.
    ImageFormat,
    /// The CRC-64 of the object.
    Crc64,
    /// The Content-MD5 of the object, Base64.
    ContentMd5,
    /// The VPC that the upload came from; empty if it did not come from one.
    VpcId,
    /// The IP address of the uploader.
    ClientIp,
    /// The ID of the upload request.
    ReqId,
    /// The operation, such as `PostObject`.
    Operation,
}

impl SystemVariable {
    /// All variables, in the order of the OSS reference.
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

    /// Returns the name as OSS spells it. Names are case-sensitive.
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

    /// Returns the variable with this name. Names are case-sensitive.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|variable| variable.name() == name)
    }

    /// Returns whether OSS writes the value into a JSON body as a bare number. It writes an empty
    /// number as nothing at all, which is not valid JSON.
    ///
    /// The other variables are strings with their quotes, or `null` if they are empty.
    #[must_use]
    pub const fn is_number(self) -> bool {
        matches!(self, Self::Size | Self::ImageHeight | Self::ImageWidth)
    }
}

impl fmt::Display for SystemVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callback_body_types() {
        let form = Some(CallbackBodyType::Form);
        for good in [
            "application/x-www-form-urlencoded",
            "APPLICATION/X-WWW-FORM-URLENCODED",
            "application/x-www-form-urlencoded;charset=utf-8",
            "application/x-www-form-urlencoded ; Charset=\"UTF-8\" ",
        ] {
            assert_eq!(
                CallbackBodyType::from_header(good.as_bytes()),
                form,
                "{good}"
            );
        }
        for bad in [
            "",
            ";",
            "application",
            "application/json;",
            "application/json; charset=utf-8; charset=utf-8",
            "application/json; charset=gbk",
            "application/json; charset",
            "application/json; boundary=x",
            "application/json, application/json",
            "application/jsonx",
            "multipart/form-data; boundary=x",
            "text/plain",
        ] {
            assert_eq!(CallbackBodyType::from_header(bad.as_bytes()), None, "{bad}");
        }
    }

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
        numbers.retain(|variable| variable.is_number());
        assert_eq!(
            numbers
                .into_iter()
                .map(SystemVariable::name)
                .collect::<Vec<_>>(),
            ["size", "imageInfo.height", "imageInfo.width"]
        );
    }
}
