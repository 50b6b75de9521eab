//! The `multipart/form-data` body of `PostObject`.
//!
//! [`FormReader`] parses the fields up to the file, and then streams the file, so that signature
//! and policy are checked before its content is read. The parser shares the body with the code that
//! drains it: see [`Inbound`].

mod part_head;
mod parts;
mod room;

use std::{future::Future, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, header};

use crate::{
    body::Inbound,
    errors::{self, OssError},
};
use part_head::PartHead;
use parts::{Head, Parts};
use room::Place;

pub(crate) use room::FormRoom;

/// The longest field name, in bytes.
const MAX_NAME: usize = 8 * 1024;
/// The longest field value, in bytes.
const MAX_VALUE: usize = 2 * 1024 * 1024;
/// The total size of all values before the file, in bytes.
const MAX_VALUES: usize = 8 * 1024 * 1024;
/// The most fields of a form. It is not a limit of OSS: each field takes more memory than its text.
const MAX_FIELDS: usize = 1000;
/// Forms with more bytes of names and values than this are large.
const MAX_SMALL: usize = 64 * 1024;
/// How long a client may take for the fields before the file.
const FIELDS_TIME: Duration = Duration::from_secs(60);
/// What boundaries and part headers may take in addition, in bytes.
const MAX_FRAMING: u64 = 1024 * 1024;

/// The fields before the file, in the order of the form.
#[derive(Debug, Default)]
pub(crate) struct Form {
    fields: Vec<(String, String)>,
    /// The bytes of all names and values, that of the current field included.
    kept: usize,
    /// Only a large form has one.
    place: Option<Place>,
}

impl Form {
    /// Returns the first value of a field.
    ///
    /// Names are case-insensitive: the samples of OSS mix `signature` with `OSSAccessKeyId`.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.values(name).next()
    }

    /// Returns every value of a field.
    pub(crate) fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.fields
            .iter()
            .filter(move |(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| &**value)
    }

    /// Converts request headers to fields: `PutObject` describes an object by headers where a form
    /// uses fields of the same names.
    pub(crate) fn of_headers(headers: &HeaderMap) -> Self {
        let fields = headers.iter().filter_map(|(name, value)| {
            let value = std::str::from_utf8(value.as_bytes()).ok()?;
            Some((name.as_str().to_owned(), value.to_owned()))
        });
        Self {
            fields: fields.collect(),
            ..Self::default()
        }
    }

    /// Returns the names and values of custom variables.
    ///
    /// Names are case-sensitive. If a name repeats, the first value applies.
    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        let custom = self
            .fields
            .iter()
            .filter(|(name, _)| name.starts_with("x:"));
        custom.cloned().collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let fields = self.fields.iter();
        fields.map(|(name, value)| (&**name, &**value))
    }
}

/// A form whose parts are read one after the other.
pub(crate) struct FormReader {
    parts: Parts,
    inbound: Inbound,
    room: FormRoom,
    lenient: bool,
}

/// The head of the part `file`.
pub(crate) struct FilePart {
    pub(crate) name: String,
    pub(crate) content_type: Option<String>,
}

impl FormReader {
    /// Checks the content type.
    ///
    /// `lenient` accepts well-formed multipart that OSS cannot read: see [`part_head`]. It also
    /// accepts a quoted boundary.
    pub(crate) fn new(
        headers: &HeaderMap,
        inbound: Inbound,
        room: FormRoom,
        lenient: bool,
    ) -> Result<Self, OssError> {
        let content_type = headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("multipart/form-data") {
            // The reference documents RequestIsNotMultiPartContent, 400. Captured responses of OSS
            // are 405: aliyun/aliyun-oss-csharp-sdk#121.
            return Err(errors::method_not_allowed(&Method::POST, true));
        }
        let boundary = boundary(content_type, lenient).ok_or(errors::MALFORMED_FORM)?;
        Ok(Self {
            parts: Parts::new(inbound.clone(), boundary),
            inbound,
            room,
            lenient,
        })
    }

    /// Reads the fields, and returns them with the file that follows.
    ///
    /// Drop the fields before the file is read: others may wait for their room.
    pub(crate) async fn read_fields(&mut self) -> Result<(Form, FilePart), OssError> {
        let fields = tokio::time::timeout(FIELDS_TIME, self.read_all_fields());
        fields.await.unwrap_or(Err(errors::IDLE))
    }

    async fn read_all_fields(&mut self) -> Result<(Form, FilePart), OssError> {
        self.inbound.allow(MAX_VALUES as u64 + MAX_FRAMING);
        let mut form = Form::default();
        let mut total = 0_usize;
        while let Some(head) = unless_displaced(&form, self.parts.next()).await? {
            let (name, file_name) = self.read_head(&head)?;
            if name.eq_ignore_ascii_case("file") {
                if form.get("key").is_none() {
                    return Err(errors::NO_KEY);
                }
                let file = file_part(&head, file_name)?;
                // From here on the size range of the policy limits what is read.
                self.inbound.allow(u64::MAX);
                return Ok((form, file));
            }
            if form.fields.len() == MAX_FIELDS {
                return Err(errors::FIELDS_TOO_LARGE);
            }
            self.keep(&mut form, name.len()).await?;
            let value = self.read_value(&mut total, &mut form).await?;
            form.fields.push((name, value));
        }
        Err(errors::NO_FILE)
    }

    /// Reads the next chunk of the file.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, OssError> {
        self.parts.content().await
    }

    /// Reads the parts after the file.
    ///
    /// A field `submit` is ignored, because the samples of OSS send one there. Any other field is
    /// refused: it has to come before the file.
    pub(crate) async fn read_rest(mut self) -> Result<(), OssError> {
        self.inbound.allow(MAX_FRAMING);
        while let Some(head) = self.parts.next().await? {
            let (name, _) = self.read_head(&head)?;
            if name.eq_ignore_ascii_case("file") {
                return Err(errors::SEVERAL_FILES);
            }
            if !name.eq_ignore_ascii_case("submit") {
                return Err(errors::MALFORMED_FORM);
            }
        }
        Ok(())
    }

    async fn read_value(&mut self, total: &mut usize, form: &mut Form) -> Result<String, OssError> {
        let mut value = Vec::new();
        while let Some(chunk) = unless_displaced(form, self.parts.content()).await? {
            *total += chunk.len();
            if value.len() + chunk.len() > MAX_VALUE {
                return Err(errors::VALUE_TOO_LONG);
            }
            if *total > MAX_VALUES {
                return Err(errors::FIELDS_TOO_LARGE);
            }
            self.keep(form, chunk.len()).await?;
            value.extend_from_slice(&chunk);
        }
        String::from_utf8(value).map_err(|_| errors::MALFORMED_FORM)
    }

    /// Waits until the form can keep this many more bytes. Names count: a form of long names is as
    /// large as one of long values.
    async fn keep(&self, form: &mut Form, more: usize) -> Result<(), OssError> {
        form.kept += more;
        // One step from small to the whole limit, so that no two forms wait for each other.
        if form.kept > MAX_SMALL && form.place.is_none() {
            form.place = Some(self.room.enter().await?);
        }
        Ok(())
    }

    /// Returns the name of a part, which must not be empty or too long, and the file name, which is
    /// empty if there is none.
    fn read_head(&self, head: &Head) -> Result<(String, String), OssError> {
        let head = if self.lenient {
            PartHead::lenient(head)
        } else {
            PartHead::parse(head)?
        };
        let name = head.name.filter(|name| !name.is_empty());
        let name = name.ok_or(errors::NO_FIELD_NAME)?;
        if name.len() > MAX_NAME {
            return Err(errors::FIELD_TOO_LONG);
        }
        Ok((name, head.file_name.unwrap_or_default()))
    }
}

/// Reads on, unless another form needs the place of this one, which has had it for long enough.
async fn unless_displaced<T>(
    form: &Form,
    read: impl Future<Output = Result<T, OssError>>,
) -> Result<T, OssError> {
    match &form.place {
        None => read.await,
        Some(place) => place
            .unless_displaced(read)
            .await
            .unwrap_or(Err(errors::IDLE)),
    }
}

/// Returns the boundary of a content type. A quoted one is read only if `lenient`: the C# SDK
/// removes the quotes before it sends a form to OSS.
fn boundary(content_type: &str, lenient: bool) -> Option<&str> {
    let mut parameters = content_type.split(';').skip(1).filter_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let is_boundary = name.trim().eq_ignore_ascii_case("boundary");
        is_boundary.then_some(value.trim())
    });
    let value = parameters.next()?;
    let value = match value.strip_prefix('"') {
        Some(quoted) if lenient => quoted.strip_suffix('"')?,
        Some(_) => return None,
        None => value,
    };
    // RFC 2046 section 5.1.1. A line break in it would end a delimiter early.
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
    let is_valid = (1..=70).contains(&value.len()) && value.bytes().all(is_allowed);
    is_valid.then_some(value)
}

fn file_part(head: &Head, name: String) -> Result<FilePart, OssError> {
    let known = |name: &header::HeaderName| name.as_str().starts_with("content-");
    if !head.iter().all(|(name, _)| known(name)) {
        return Err(errors::UNRECOGNIZED_HEADER);
    }
    let mut types = head.iter().filter(|(name, _)| name == header::CONTENT_TYPE);
    let content_type = types.next().and_then(|(_, value)| value.to_str().ok());
    Ok(FilePart {
        name,
        content_type: content_type.map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundaries() {
        let long = format!("multipart/form-data; boundary={}", "b".repeat(71));
        for (content_type, strict, lenient) in [
            ("multipart/form-data; boundary=a", Some("a"), Some("a")),
            ("multipart/form-data;BOUNDARY=a ; x=y", Some("a"), Some("a")),
            (
                "multipart/form-data; charset=\"utf-8\"; boundary=a",
                Some("a"),
                Some("a"),
            ),
            ("multipart/form-data; boundary=\"a b\"", None, Some("a b")),
            ("multipart/form-data; boundary=\"a", None, None),
            ("multipart/form-data; boundary=", None, None),
            ("multipart/form-data; boundary=a<", None, None),
            ("multipart/form-data", None, None),
            (&long, None, None),
            (
                &long[..long.len() - 1],
                Some(&long[30..100]),
                Some(&long[30..100]),
            ),
        ] {
            assert_eq!(boundary(content_type, false), strict, "{content_type}");
            assert_eq!(boundary(content_type, true), lenient, "{content_type}");
        }
    }

    /// Forms of long names and forms of long values share the room.
    #[tokio::test]
    async fn a_large_form_waits_for_room() {
        let part = |name: &str, value: &str| {
            format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        let long = "n".repeat(MAX_NAME - 8);
        let names: String = (0..9).map(|at| part(&format!("{at}{long}"), "")).collect();
        let values: String = (0..9).map(|at| part(&format!("x:{at}"), &long)).collect();
        for (fields, is_large) in [(names, true), (values, true), (part(&long, &long), false)] {
            let body = part("key", "k") + &fields + &part("file", "f") + "--b--";
            let inbound = Inbound::new(http_body_util::Full::new(Bytes::from(body)), false);
            let headers = [(
                header::CONTENT_TYPE,
                http::HeaderValue::from_static("multipart/form-data; boundary=b"),
            )];
            let room = FormRoom::new();
            let headers = headers.into_iter().collect();
            let mut reader = FormReader::new(&headers, inbound, room.clone(), false).unwrap();
            let large = [room.enter().await, room.enter().await, room.enter().await];
            let mut reading = Box::pin(reader.read_fields());
            let first = std::future::poll_fn(|cx| {
                std::task::Poll::Ready(std::pin::Pin::as_mut(&mut reading).poll(cx))
            })
            .await;
            assert_eq!(first.is_pending(), is_large);
            if is_large {
                drop(large);
                let (form, _) = reading.await.unwrap();
                assert!(form.place.is_some());
            }
        }
    }
}
