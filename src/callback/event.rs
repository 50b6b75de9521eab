//! Reads the body of a callback.
//!
//! [`read_event`] returns the OSS variables under their own names, and [`read`] deserializes the
//! body into a type of the application. Both run after the signature is verified. [`find_ticket`]
//! runs before, so it reads as little as possible.
//!
//! | file | contents |
//! |---|---|
//! | `event.rs` | [`UploadEvent`], and how a variable is read |
//! | `form.rs` | deserializer for form bodies |
//! | `json.rs` | deserializer for JSON bodies, and the repair of the invalid JSON that OSS sends |
//! | `ticket.rs` | [`find_ticket`] |
//! | `error.rs` | [`EventError`] |

mod error;
mod form;
mod json;
mod ticket;

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error, IgnoredAny, MapAccess, Unexpected, Visitor},
};

pub use error::EventError;
pub(super) use ticket::find as find_ticket;

use crate::protocol::{CUSTOM_PREFIX, CallbackBodyType, SystemVariable};

/// Deserializes a body in the format that its content type declares.
pub(super) fn read<T: DeserializeOwned>(
    body_type: CallbackBodyType,
    body: &[u8],
) -> Result<T, EventError> {
    match body_type {
        CallbackBodyType::Form => form::read(body),
        CallbackBodyType::Json => json::read(body),
    }
}

/// Reads the OSS variables and custom variables of a body.
pub(super) fn read_event(
    body_type: CallbackBodyType,
    body: &[u8],
) -> Result<UploadEvent, EventError> {
    read(body_type, body).map(|Fields(event)| event)
}

/// The upload that a callback reports, by the names that OSS gives its variables.
///
/// Returned by [`VerifiedCallback::event`](super::VerifiedCallback::event). A variable is found if
/// `callbackBody` keeps its OSS name, as in `bucket=${bucket}` or `{"x:uid":${x:uid}}`. Fields with
/// other names are ignored, whatever they contain;
/// [`event_as`](super::VerifiedCallback::event_as) deserializes those into your own type.
///
/// `None` means that the field is absent or empty. A text file has no image height, and OSS sends
/// an `x:` variable that the uploader omitted as an empty value.
///
/// The event is only as trustworthy as the callback: the author of `callbackBody` may have written
/// constants into it. If a size, type or checksum matters, ask OSS for it with your own
/// credentials.
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
    /// Keyed by the full name, including `x:`.
    custom: BTreeMap<String, String>,
}

impl UploadEvent {
    /// Returns `bucket`: the name of the bucket.
    #[must_use]
    pub fn bucket(&self) -> Option<&str> {
        self.bucket.as_deref()
    }

    /// Returns `object`: the full key of the object.
    ///
    /// OSS stores keys that [`ObjectKey`](crate::protocol::ObjectKey) rejects. Parse the key as one
    /// to hold the uploader to the names that a policy can grant.
    #[must_use]
    pub fn object(&self) -> Option<&str> {
        self.object.as_deref()
    }

    /// Returns `etag`: the ETag, upper-case hex without quotes.
    #[must_use]
    pub fn etag(&self) -> Option<&str> {
        self.etag.as_deref()
    }

    /// Returns `size`: the size of the whole object, in bytes.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// Returns `mimeType`: the Content-Type of the object, which the uploader chose.
    #[must_use]
    pub fn mime_type(&self) -> Option<&str> {
        self.mime_type.as_deref()
    }

    /// Returns `imageInfo.height`: the height of an image, in pixels.
    #[must_use]
    pub fn image_height(&self) -> Option<u32> {
        self.image_height
    }

    /// Returns `imageInfo.width`: the width of an image, in pixels.
    #[must_use]
    pub fn image_width(&self) -> Option<u32> {
        self.image_width
    }

    /// Returns `imageInfo.format`: the format of an image, such as `jpg`.
    #[must_use]
    pub fn image_format(&self) -> Option<&str> {
        self.image_format.as_deref()
    }

    /// Returns `crc64`: the CRC-64 of the object.
    #[must_use]
    pub fn crc64(&self) -> Option<u64> {
        self.crc64
    }

    /// Returns `contentMd5`: the Base64-encoded MD5 of the uploaded data. OSS sets it only for
    /// PutObject and PostObject.
    #[must_use]
    pub fn content_md5(&self) -> Option<&str> {
        self.content_md5.as_deref()
    }

    /// Returns `vpcId`: the VPC that the upload came from.
    #[must_use]
    pub fn vpc_id(&self) -> Option<&str> {
        self.vpc_id.as_deref()
    }

    /// Returns `clientIp`: the IP address of the uploader.
    #[must_use]
    pub fn client_ip(&self) -> Option<&str> {
        self.client_ip.as_deref()
    }

    /// Returns `reqId`: the ID of the upload request.
    #[must_use]
    pub fn req_id(&self) -> Option<&str> {
        self.req_id.as_deref()
    }

    /// Returns `operation`: the API operation of the upload, such as `PostObject`.
    #[must_use]
    pub fn operation(&self) -> Option<&str> {
        self.operation.as_deref()
    }

    /// Returns the custom variable with this name. Names are case-sensitive; the `x:` that OSS
    /// requires is optional here.
    #[must_use]
    pub fn custom(&self, name: &str) -> Option<&str> {
        let value = if name.starts_with(CUSTOM_PREFIX) {
            self.custom.get(name)
        } else {
            self.custom.get(&format!("{CUSTOM_PREFIX}{name}"))
        };
        value.map(String::as_str)
    }

    /// Returns the names and values of all custom variables that are not empty, sorted by name. The
    /// names include `x:`.
    pub fn custom_variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.custom.iter().map(|(name, value)| (&**name, &**value))
    }
}

impl fmt::Debug for UploadEvent {
    /// Omits the values of custom variables, because they can contain data that must not be logged.
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

/// Deserializes an event.
///
/// [`UploadEvent`] itself does not implement `Deserialize`: that would be public, and an event
/// could come from something other than a callback.
struct Fields(UploadEvent);

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
                // An empty custom variable is the same as an absent one, and is not recorded.
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
    /// Reads the value of one variable. No value is overwritten: `form` and `json` reject duplicate
    /// names first.
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

/// A string variable.
///
/// `None` is an empty value: nothing in a form; `null` in JSON, which the repair also inserts where
/// OSS writes nothing; and `""`, the result of quotes around a variable in `callbackBody`.
struct Text(Option<String>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

struct TextVisitor;

impl Visitor<'_> for TextVisitor {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Text, E> {
        self.visit_string(text.to_owned())
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Text, E> {
        Ok(Text(Some(text).filter(|text| !text.is_empty())))
    }

    fn visit_unit<E: Error>(self) -> Result<Text, E> {
        Ok(Text(None))
    }
}

/// A numeric variable: a number, or a string of its digits. `None` as in [`Text`].
///
/// A form has only strings, and the documentation of OSS does not say which of the two it writes
/// for `crc64` in JSON.
struct Number<N>(Option<N>);

impl<'de, N: TryFrom<u64>> Deserialize<'de> for Number<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberVisitor(PhantomData))
    }
}

struct NumberVisitor<N>(PhantomData<N>);

impl<N: TryFrom<u64>> Visitor<'_> for NumberVisitor<N> {
    type Value = Number<N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an unsigned {}-bit integer", 8 * size_of::<N>())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Number<N>, E> {
        match N::try_from(number) {
            Ok(number) => Ok(Number(Some(number))),
            Err(_) => Err(E::invalid_value(Unexpected::Unsigned(number), &self)),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Number<N>, E> {
        if text.is_empty() {
            return Ok(Number(None));
        }
        // `parse` alone accepts a leading plus sign, which would be a second spelling.
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(number) if digits => self.visit_u64(number),
            _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
        }
    }

    fn visit_unit<E: Error>(self) -> Result<Number<N>, E> {
        Ok(Number(None))
    }
}
