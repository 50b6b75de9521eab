//! The variables of OSS under their own names.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};

use super::value::{Number, Text};
use crate::protocol::{CUSTOM_PREFIX, SystemVariable};

/// What a callback says about an upload, by the names that OSS gives its variables.
///
/// Made by [`VerifiedCallback::event`](super::super::VerifiedCallback::event). A variable is found where `callbackBody`
/// keeps its name, as in `bucket=${bucket}` or `{"x:uid":${x:uid}}`. Fields of other names are not in it, whatever
/// they hold; [`event_as`](super::super::VerifiedCallback::event_as) reads those into a type of yours.
///
/// `None` is a field that is absent or empty: an image has a height, a text has none, and OSS writes an `x:` variable
/// that the uploader left out as an empty one.
///
/// It is what the body says, and no more true than the callback is: whoever chose `callbackBody` may have written
/// constants into it. Sizes, types and checksums that matter are asked of OSS itself, with your own credentials.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct UploadEvent {
    bucket: Option<String>,
    object: Option<String>,
    etag: Option<String>,
    size: Option<u64>,
    mime_type: Option<String>,
    image_height: Option<u32>,
    image_width: Option<u32>,
    image_format: Option<String>,
    crc64: Option<u64>,
    content_md5: Option<String>,
    vpc_id: Option<String>,
    client_ip: Option<String>,
    req_id: Option<String>,
    operation: Option<String>,
    /// By the whole name, `x:` included.
    custom: BTreeMap<String, String>,
}

impl UploadEvent {
    /// `bucket`: the name of the bucket.
    #[must_use]
    pub fn bucket(&self) -> Option<&str> {
        self.bucket.as_deref()
    }

    /// `object`: the full key of the object.
    ///
    /// OSS stores keys that an [`ObjectKey`](crate::protocol::ObjectKey) cannot be; parse it into one to hold the
    /// uploader to what a policy grants.
    #[must_use]
    pub fn object(&self) -> Option<&str> {
        self.object.as_deref()
    }

    /// `etag`: the ETag, upper-case hex without quotes.
    #[must_use]
    pub fn etag(&self) -> Option<&str> {
        self.etag.as_deref()
    }

    /// `size`: the size of the whole object, in bytes.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// `mimeType`: the Content-Type of the object, which the uploader chose.
    #[must_use]
    pub fn mime_type(&self) -> Option<&str> {
        self.mime_type.as_deref()
    }

    /// `imageInfo.height`: the height of an image, in pixels.
    #[must_use]
    pub fn image_height(&self) -> Option<u32> {
        self.image_height
    }

    /// `imageInfo.width`: the width of an image, in pixels.
    #[must_use]
    pub fn image_width(&self) -> Option<u32> {
        self.image_width
    }

    /// `imageInfo.format`: the format of an image, such as `jpg`.
    #[must_use]
    pub fn image_format(&self) -> Option<&str> {
        self.image_format.as_deref()
    }

    /// `crc64`: the CRC-64 of the object.
    #[must_use]
    pub fn crc64(&self) -> Option<u64> {
        self.crc64
    }

    /// `contentMd5`: the MD5 of what was uploaded, Base64; only for PutObject and PostObject.
    #[must_use]
    pub fn content_md5(&self) -> Option<&str> {
        self.content_md5.as_deref()
    }

    /// `vpcId`: the VPC the uploader came from.
    #[must_use]
    pub fn vpc_id(&self) -> Option<&str> {
        self.vpc_id.as_deref()
    }

    /// `clientIp`: the address of the uploader.
    #[must_use]
    pub fn client_ip(&self) -> Option<&str> {
        self.client_ip.as_deref()
    }

    /// `reqId`: the id of the upload request.
    #[must_use]
    pub fn req_id(&self) -> Option<&str> {
        self.req_id.as_deref()
    }

    /// `operation`: what the uploader called, such as `PostObject`.
    #[must_use]
    pub fn operation(&self) -> Option<&str> {
        self.operation.as_deref()
    }

    /// The custom variable of that name, case-sensitive; the `x:` that OSS demands may be left out.
    #[must_use]
    pub fn custom(&self, name: &str) -> Option<&str> {
        let value = if name.starts_with(CUSTOM_PREFIX) {
            self.custom.get(name)
        } else {
            self.custom.get(&format!("{CUSTOM_PREFIX}{name}"))
        };
        value.map(String::as_str)
    }

    /// The custom variables that are not empty, by their whole names, in the order of these.
    pub fn custom_variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.custom.iter().map(|(name, value)| (&**name, &**value))
    }
}

impl fmt::Debug for UploadEvent {
    /// Leaves the values of custom variables out: they can hold what does not belong into a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadEvent")
            .field("bucket", &self.bucket)
            .field("object", &self.object)
            .field("etag", &self.etag)
            .field("size", &self.size)
            .field("mime_type", &self.mime_type)
            .field("image_height", &self.image_height)
            .field("image_width", &self.image_width)
            .field("image_format", &self.image_format)
            .field("crc64", &self.crc64)
            .field("content_md5", &self.content_md5)
            .field("vpc_id", &self.vpc_id)
            .field("client_ip", &self.client_ip)
            .field("req_id", &self.req_id)
            .field("operation", &self.operation)
            .field("custom", &self.custom.keys())
            .finish()
    }
}

/// The fields of a body, read as an event. Not an impl of the event itself: events are read from callbacks only.
pub(super) struct Fields(pub(super) UploadEvent);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the fields of a callback")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut event = UploadEvent::default();
        while let Some(name) = map.next_key::<String>()? {
            match SystemVariable::from_name(&name) {
                Some(variable) => event.read(variable, &mut map)?,
                None if name.starts_with(CUSTOM_PREFIX) => {
                    if let Text(Some(value)) = map.next_value()? {
                        event.custom.insert(name, value);
                    }
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Fields(event))
    }
}

impl UploadEvent {
    /// Names stand once: that is checked before a body gets here.
    fn read<'de, A: MapAccess<'de>>(
        &mut self,
        variable: SystemVariable,
        map: &mut A,
    ) -> Result<(), A::Error> {
        let text = match variable {
            SystemVariable::Size => return number(&mut self.size, map),
            SystemVariable::ImageHeight => return number(&mut self.image_height, map),
            SystemVariable::ImageWidth => return number(&mut self.image_width, map),
            SystemVariable::Crc64 => return number(&mut self.crc64, map),
            SystemVariable::Bucket => &mut self.bucket,
            SystemVariable::Object => &mut self.object,
            SystemVariable::Etag => &mut self.etag,
            SystemVariable::MimeType => &mut self.mime_type,
            SystemVariable::ImageFormat => &mut self.image_format,
            SystemVariable::ContentMd5 => &mut self.content_md5,
            SystemVariable::VpcId => &mut self.vpc_id,
            SystemVariable::ClientIp => &mut self.client_ip,
            SystemVariable::ReqId => &mut self.req_id,
            SystemVariable::Operation => &mut self.operation,
        };
        Text(*text) = map.next_value()?;
        Ok(())
    }
}

fn number<'de, N: TryFrom<u64>, A: MapAccess<'de>>(
    field: &mut Option<N>,
    map: &mut A,
) -> Result<(), A::Error> {
    Number(*field) = map.next_value()?;
    Ok(())
}
