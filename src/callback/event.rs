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
//! | `names.rs` | [`Names`](names::Names): which names occurred |
//! | `raw.rs` | [`RawFields`](raw::RawFields): the fields of a body that our template wrote |
//! | `sealed.rs` | [`read_sealed`]: the body of a callback with a ticket |
//! | `ticket.rs` | [`find_ticket`] |
//! | `error.rs` | [`EventError`] |

mod error;
mod form;
mod json;
mod names;
mod raw;
mod sealed;
mod ticket;

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, DeserializeSeed, Error, IgnoredAny, MapAccess, Unexpected, Visitor},
};

pub use error::EventError;
pub(super) use sealed::{SealedUpload, read as read_sealed};
pub(crate) use ticket::find as find_ticket;

use crate::protocol::{CUSTOM_PREFIX, CallbackBodyType, SystemVariable};

/// How a `+` in a form is read. OSS does not document how it writes a space.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Plus {
    /// As a space, as every form decoder reads it.
    #[default]
    Space,
    /// As a plus sign.
    Literal,
}

/// Deserializes a body in the format that its content type declares.
pub(super) fn read<T: DeserializeOwned>(
    body_type: CallbackBodyType,
    plus: Plus,
    body: &[u8],
) -> Result<T, EventError> {
    match body_type {
        CallbackBodyType::Form => form::read(body, plus),
        CallbackBodyType::Json => json::read(body),
    }
}

/// Reads the OSS variables and custom variables of a body.
pub(super) fn read_event(
    body_type: CallbackBodyType,
    body: &[u8],
) -> Result<UploadEvent, EventError> {
    read(body_type, Plus::Space, body).map(|Fields(event)| event)
}

/// Reads a body like [`read_event`], and also the names of Alibaba's samples.
pub(super) fn read_event_of_sample(
    body_type: CallbackBodyType,
    body: &[u8],
) -> Result<UploadEvent, EventError> {
    read(body_type, Plus::Space, body).map(|SampleFields(event)| event)
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
/// # What is proven
///
/// Without a ticket, nothing: the author of `callbackBody` may have written constants into it.
///
/// With a [ticket](super::OssCallbackLayer::tickets), the lawful holder of that ticket may still
/// have written the body, for an upload to a bucket of their own. The layer accepts only the sealed
/// fields, so some values are the granted ones, and a variable is found under any name that the
/// template gave it. Each method tells what holds for its value:
///
/// * *granted*: the value of your grant.
/// * *within the grant*: one of the permitted values. OSS confirms or refutes it if you ask with
///   your own credentials (`HeadObject`).
/// * *not proven*: the holder of the ticket chooses the value. Some can be confirmed with
///   `HeadObject`.
#[derive(Clone, Default)]
pub struct UploadEvent {
    /// All texts, one after the other, so that an event takes two allocations however many it has.
    text: String,
    /// By [`SystemVariable`], without the four numbers.
    texts: [Span; SystemVariable::ALL.len()],
    size: Option<u64>,
    image_height: Option<u32>,
    image_width: Option<u32>,
    crc64: Option<u64>,
    /// Names, with their `x:`, and values. Sorted by name, without duplicates.
    custom: Vec<(Span, Span)>,
}

/// A part of [`UploadEvent::text`]. Empty for a variable that is absent.
#[derive(Clone, Copy, Default)]
struct Span {
    start: usize,
    end: usize,
}

impl UploadEvent {
    /// Returns `bucket`: the name of the bucket. Granted, with a ticket.
    #[must_use]
    pub fn bucket(&self) -> Option<&str> {
        self.variable(SystemVariable::Bucket)
    }

    /// Returns `object`: the full key of the object. Granted, with a ticket for one object. With a
    /// ticket for a prefix, it is under the prefix and has no dot segments, but the rest of the
    /// name is not proven: `HeadObject` tells whether the object exists.
    ///
    /// OSS stores keys that [`ObjectKey`](crate::protocol::ObjectKey) rejects, with control
    /// characters and marks that reorder text. Parse the key as a
    /// [`ReceivedName`](crate::protocol::ReceivedName) before you show or log it.
    #[must_use]
    pub fn object(&self) -> Option<&str> {
        self.variable(SystemVariable::Object)
    }

    /// Returns `etag`: the ETag, upper-case hex without quotes. Not proven; confirm it with
    /// `HeadObject`.
    #[must_use]
    pub fn etag(&self) -> Option<&str> {
        self.variable(SystemVariable::Etag)
    }

    /// Returns `size`: the size of the whole object, in bytes. Within the grant, with a ticket;
    /// confirm it with `HeadObject`.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// Returns `mimeType`: the Content-Type of the object, which the uploader chose. Within the
    /// grant and in its spelling, with a ticket; confirm it with `HeadObject`.
    #[must_use]
    pub fn mime_type(&self) -> Option<&str> {
        self.variable(SystemVariable::MimeType)
    }

    /// Returns `imageInfo.height`: the height of an image, in pixels. Not proven.
    #[must_use]
    pub fn image_height(&self) -> Option<u32> {
        self.image_height
    }

    /// Returns `imageInfo.width`: the width of an image, in pixels. Not proven.
    #[must_use]
    pub fn image_width(&self) -> Option<u32> {
        self.image_width
    }

    /// Returns `imageInfo.format`: the format of an image, such as `jpg`. Not proven.
    #[must_use]
    pub fn image_format(&self) -> Option<&str> {
        self.variable(SystemVariable::ImageFormat)
    }

    /// Returns `crc64`: the CRC-64 of the object. Not proven; confirm it with `HeadObject`.
    #[must_use]
    pub fn crc64(&self) -> Option<u64> {
        self.crc64
    }

    /// Returns `contentMd5`: the Base64-encoded MD5 of the uploaded data. OSS sets it only for
    /// PutObject and PostObject. Not proven; confirm it with `HeadObject`, which returns it for the
    /// same objects.
    #[must_use]
    pub fn content_md5(&self) -> Option<&str> {
        self.variable(SystemVariable::ContentMd5)
    }

    /// Returns `vpcId`: the VPC that the upload came from. Not proven.
    #[must_use]
    pub fn vpc_id(&self) -> Option<&str> {
        self.variable(SystemVariable::VpcId)
    }

    /// Returns `clientIp`: the IP address of the uploader. Not proven.
    #[must_use]
    pub fn client_ip(&self) -> Option<&str> {
        self.variable(SystemVariable::ClientIp)
    }

    /// Returns `reqId`: the ID of the upload request. Not proven.
    #[must_use]
    pub fn req_id(&self) -> Option<&str> {
        self.variable(SystemVariable::ReqId)
    }

    /// Returns `operation`: the API operation that called back, such as `PostObject`. Not proven.
    ///
    /// OSS calls back for `PutObject`, `PostObject` and `CompleteMultipartUpload`, and for
    /// `trigger/callback` (`POST ?x-oss-process`), which stores nothing: it calls back for an
    /// object that exists already, and its custom variables may lack `x:`. Which text `operation`
    /// has then is not documented.
    #[must_use]
    pub fn operation(&self) -> Option<&str> {
        self.variable(SystemVariable::Operation)
    }

    /// Returns the custom variable, or the constant, with this name. Granted, with a ticket. Names
    /// are case-sensitive; the `x:` that OSS requires is optional here.
    #[must_use]
    pub fn custom(&self, name: &str) -> Option<&str> {
        let name = name.strip_prefix(CUSTOM_PREFIX).unwrap_or(name);
        let is_named = |span| {
            let known: &str = self.part(span);
            known.strip_prefix(CUSTOM_PREFIX) == Some(name)
        };
        let found = self.custom.iter().find(|(known, _)| is_named(*known));
        found.map(|(_, value)| self.part(*value))
    }

    /// Returns the names and values of all custom variables that are not empty, sorted by name,
    /// with the constants whose names start with `x:`. Granted, with a ticket. The names include
    /// `x:`.
    pub fn custom_variables(&self) -> impl Iterator<Item = (&str, &str)> {
        let part = |span: &Span| self.part(*span);
        let pairs = self.custom.iter();
        pairs.map(move |(name, value)| (part(name), part(value)))
    }

    fn part(&self, span: Span) -> &str {
        // Every span is of a whole text.
        self.text.get(span.start..span.end).unwrap_or_default()
    }

    fn variable(&self, variable: SystemVariable) -> Option<&str> {
        let span = self.texts.get(variable as usize)?;
        Some(self.part(*span)).filter(|text| !text.is_empty())
    }
}

impl PartialEq for UploadEvent {
    fn eq(&self, other: &Self) -> bool {
        let numbers = |event: &Self| {
            let sides = (event.image_height, event.image_width);
            (event.size, sides, event.crc64)
        };
        let is_same = |variable| self.variable(variable) == other.variable(variable);
        numbers(self) == numbers(other)
            && SystemVariable::ALL.into_iter().all(is_same)
            && self.custom_variables().eq(other.custom_variables())
    }
}

impl Eq for UploadEvent {}

impl fmt::Debug for UploadEvent {
    /// Omits the values of custom variables, because they can contain data that must not be logged.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.custom_variables().map(|(name, _)| name).collect();
        f.debug_struct("UploadEvent")
            .field("bucket", &self.bucket())
            .field("object", &self.object())
            .field("etag", &self.etag())
            .field("size", &self.size)
            .field("mime_type", &self.mime_type())
            .field("image_height", &self.image_height)
            .field("image_width", &self.image_width)
            .field("image_format", &self.image_format())
            .field("crc64", &self.crc64)
            .field("content_md5", &self.content_md5())
            .field("vpc_id", &self.vpc_id())
            .field("client_ip", &self.client_ip())
            .field("req_id", &self.req_id())
            .field("operation", &self.operation())
            .field("custom", &names)
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
        let visitor = FieldsVisitor { of_sample: false };
        deserializer.deserialize_map(visitor).map(Self)
    }
}

/// Deserializes an event that may have the names of the samples.
struct SampleFields(UploadEvent);

impl<'de> Deserialize<'de> for SampleFields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let visitor = FieldsVisitor { of_sample: true };
        deserializer.deserialize_map(visitor).map(Self)
    }
}

/// Returns the variable that the samples send under this name, instead of its own.
fn variable_of_sample(name: &str) -> Option<SystemVariable> {
    Some(match name {
        "filename" => SystemVariable::Object,
        "height" => SystemVariable::ImageHeight,
        "width" => SystemVariable::ImageWidth,
        "format" => SystemVariable::ImageFormat,
        _ => return None,
    })
}

struct FieldsVisitor {
    of_sample: bool,
}

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = UploadEvent;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the fields of a callback")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<UploadEvent, A::Error> {
        let mut event = UploadEvent::default();
        let mut sample = UploadEvent::default();
        while let Some(name) = map.next_key_seed(Name)? {
            match SystemVariable::from_name(&name) {
                Some(variable) => event.read(variable, &mut map)?,
                // An empty custom variable is the same as an absent one, and is not recorded.
                None if name.starts_with(CUSTOM_PREFIX) => {
                    let seed = Text {
                        name: &name,
                        text: &mut event.text,
                    };
                    let value = map.next_value_seed(seed)?;
                    event.push_custom(&name, value);
                }
                None => match variable_of_sample(&name).filter(|_| self.of_sample) {
                    Some(variable) => sample.read(variable, &mut map)?,
                    None => {
                        map.next_value::<IgnoredAny>()?;
                    }
                },
            }
        }
        event.sort_custom();
        // The own name of a variable wins: a field of that name contains nothing else.
        for variable in [SystemVariable::Object, SystemVariable::ImageFormat] {
            if let (None, Some(text)) = (event.variable(variable), sample.variable(variable)) {
                event.set_text(variable, text);
            }
        }
        event.image_height = event.image_height.or(sample.image_height);
        event.image_width = event.image_width.or(sample.image_width);
        Ok(event)
    }
}

impl UploadEvent {
    /// Sets a variable to its decoded text. `None` if a number does not parse.
    fn set(&mut self, variable: SystemVariable, value: &str) -> Option<()> {
        if value.is_empty() {
            return Some(());
        }
        match variable {
            SystemVariable::Size => self.size = Some(parse_number(value)?),
            SystemVariable::ImageHeight => self.image_height = Some(parse_number(value)?),
            SystemVariable::ImageWidth => self.image_width = Some(parse_number(value)?),
            SystemVariable::Crc64 => self.crc64 = Some(parse_number(value)?),
            _ => self.set_text(variable, value),
        }
        Some(())
    }

    fn set_text(&mut self, variable: SystemVariable, text: &str) {
        let span = Span::push(&mut self.text, text);
        self.set_span(variable, span);
    }

    fn set_span(&mut self, variable: SystemVariable, span: Span) {
        if let Some(place) = self.texts.get_mut(variable as usize) {
            *place = span;
        }
    }

    /// Adds a custom variable, unless it is empty. [`sort_custom`](Self::sort_custom) must follow
    /// the last one.
    fn push_custom(&mut self, name: &str, value: Span) {
        if !self.part(value).is_empty() {
            let name = Span::push(&mut self.text, name);
            self.custom.push((name, value));
        }
    }

    /// Sorts the custom variables, once: inserted in their order, those of a whole body would be
    /// moved once for each other. The names are different, because `form` and `json` reject
    /// duplicate ones first, and a template has none.
    fn sort_custom(&mut self) {
        let Self { text, custom, .. } = self;
        let part = |span: Span| text.get(span.start..span.end).unwrap_or_default();
        custom.sort_by(|(one, _), (other, _)| part(*one).cmp(part(*other)));
    }

    /// Reads the value of one variable. No value is overwritten: `form` and `json` reject duplicate
    /// names first.
    fn read<'de, A: MapAccess<'de>>(
        &mut self,
        variable: SystemVariable,
        map: &mut A,
    ) -> Result<(), A::Error> {
        let name = variable.name();
        match variable {
            SystemVariable::Size => self.size = map.next_value_seed(Number::new(name))?,
            SystemVariable::ImageHeight => {
                self.image_height = map.next_value_seed(Number::new(name))?;
            }
            SystemVariable::ImageWidth => {
                self.image_width = map.next_value_seed(Number::new(name))?;
            }
            SystemVariable::Crc64 => self.crc64 = map.next_value_seed(Number::new(name))?,
            _ => {
                let text = &mut self.text;
                let span = map.next_value_seed(Text { name, text })?;
                self.set_span(variable, span);
            }
        }
        Ok(())
    }
}

impl Span {
    /// Appends a text, and returns where it is.
    fn push(all: &mut String, text: &str) -> Self {
        let start = all.len();
        all.push_str(text);
        let end = all.len();
        Self { start, end }
    }
}

/// The message by which [`form`] and [`json`] recognize a value that OSS did not insert. A
/// deserializer returns only messages.
const UNSUBSTITUTED: &str = "OSS did not replace the variable";

/// Returns whether a value is `${name}` itself: OSS inserts nothing into a template that was
/// percent-encoded, and sends the placeholder.
fn is_placeholder(value: &str, name: &str) -> bool {
    let inner = value.strip_prefix("${");
    inner.and_then(|inner| inner.strip_suffix('}')) == Some(name)
}

/// Parses the digits of a number. `parse` alone accepts a leading plus sign, which would be a
/// second spelling.
fn parse_number<N: std::str::FromStr>(text: &str) -> Option<N> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// Deserializes a name, and borrows it if nothing in it is escaped.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

/// Deserializes a string variable, and appends it to `text`.
///
/// The span of an empty value is empty: nothing in a form; `null` in JSON, which the repair also
/// inserts where OSS writes nothing; and `""`, the result of quotes around a variable in
/// `callbackBody`.
struct Text<'n> {
    name: &'n str,
    text: &'n mut String,
}

impl<'de> DeserializeSeed<'de> for Text<'_> {
    type Value = Span;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Text<'_> {
    type Value = Span;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        if is_placeholder(text, self.name) {
            return Err(E::custom(UNSUBSTITUTED));
        }
        Ok(Span::push(self.text, text))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Span::default())
    }
}

/// Deserializes a numeric variable: a number, or a string of its digits. `None` as in [`Text`].
///
/// A form has only strings, and the documentation of OSS does not say which of the two it writes
/// for `crc64` in JSON.
struct Number<'n, N> {
    name: &'n str,
    number: PhantomData<N>,
}

impl<'n, N> Number<'n, N> {
    fn new(name: &'n str) -> Self {
        Self {
            name,
            number: PhantomData,
        }
    }
}

impl<'de, N: TryFrom<u64>> DeserializeSeed<'de> for Number<'_, N> {
    type Value = Option<N>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<N: TryFrom<u64>> Visitor<'_> for Number<'_, N> {
    type Value = Option<N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an unsigned {}-bit integer", 8 * size_of::<N>())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        match N::try_from(number) {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(E::invalid_value(Unexpected::Unsigned(number), &self)),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        if text.is_empty() {
            return Ok(None);
        }
        if is_placeholder(text, self.name) {
            return Err(E::custom(UNSUBSTITUTED));
        }
        match parse_number(text) {
            Some(number) => self.visit_u64(number),
            None => Err(E::invalid_value(Unexpected::Str(text), &self)),
        }
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}
