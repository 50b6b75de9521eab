//! The `multipart/form-data` body of `PostObject`.
//!
//! [`FormReader`] parses the fields up to the file. [`FilePart`] then streams the file, so that
//! signature and policy are checked before its content is read. The parser shares the body with
//! the code that drains it: see [`Inbound`].

mod part_head;

use std::error::Error as _;

use bytes::Bytes;
use http::{HeaderMap, Method, header};
use multer::{Field, Multipart};

use crate::{
    body::{Inbound, InboundError},
    errors::{self, OssError},
};
use part_head::PartHead;

/// The longest field name, in bytes.
const MAX_NAME: usize = 8 * 1024;
/// The longest field value, in bytes.
const MAX_VALUE: usize = 2 * 1024 * 1024;
/// The total size of all values before the file, in bytes.
const MAX_VALUES: usize = 8 * 1024 * 1024;
/// What boundaries and part headers may take in addition, in bytes.
const MAX_FRAMING: u64 = 1024 * 1024;

/// The fields before the file, in the order of the form.
#[derive(Debug, Default)]
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    /// Returns the first value of a field.
    ///
    /// Names are case-insensitive: the samples of OSS mix `signature` with `OSSAccessKeyId`.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.values(name).next()
    }

    /// Returns every value of a field.
    pub(crate) fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0
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
        Self(fields.collect())
    }

    /// Returns the names and values of custom variables.
    ///
    /// Names are case-sensitive. If a name repeats, the first value applies.
    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        let custom = self.0.iter().filter(|(name, _)| name.starts_with("x:"));
        custom.cloned().collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }
}

/// A form whose parts are read one after the other.
pub(crate) struct FormReader {
    multipart: Multipart<'static>,
    inbound: Inbound,
    lenient: bool,
}

/// The part `file`, whose content has not been read.
pub(crate) struct FilePart {
    field: Field<'static>,
    inbound: Inbound,
    pub(crate) name: String,
    pub(crate) content_type: Option<String>,
}

impl FilePart {
    /// Reads the next chunk of the content.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, OssError> {
        next_chunk(&self.inbound, &mut self.field).await
    }
}

impl FormReader {
    /// Checks the content type.
    ///
    /// `lenient` accepts well-formed multipart that OSS cannot read: see [`part_head`]. It also
    /// accepts a quoted boundary.
    pub(crate) fn new(
        headers: &HeaderMap,
        inbound: Inbound,
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
        let boundary = multer::parse_boundary(content_type).map_err(|_| errors::MALFORMED_FORM)?;
        if !lenient && has_quoted_boundary(content_type) {
            return Err(errors::MALFORMED_FORM);
        }
        let multipart = Multipart::new(inbound.stream(), boundary);
        Ok(Self {
            multipart,
            inbound,
            lenient,
        })
    }

    /// Reads the fields, and returns them with the file that follows.
    pub(crate) async fn read_fields(&mut self) -> Result<(Form, FilePart), OssError> {
        self.inbound.allow(MAX_VALUES as u64 + MAX_FRAMING);
        let mut form = Form::default();
        let mut total = 0_usize;
        while let Some(field) = self.next().await? {
            let (name, file_name) = self.read_head(&field)?;
            if name.eq_ignore_ascii_case("file") {
                if form.get("key").is_none() {
                    return Err(errors::NO_KEY);
                }
                let file = file_part(field, file_name, &self.inbound)?;
                // From here on the size range of the policy limits what is read.
                self.inbound.allow(u64::MAX);
                return Ok((form, file));
            }
            let value = read_value(field, &self.inbound, &mut total).await?;
            form.0.push((name, value));
        }
        Err(errors::NO_FILE)
    }

    /// Reads the parts after the file.
    ///
    /// A field `submit` is ignored, because the samples of OSS send one there. Any other field is
    /// refused: it has to come before the file.
    pub(crate) async fn read_rest(mut self, file: FilePart) -> Result<(), OssError> {
        // The parser yields the next part only after the field of the last one is dropped.
        drop(file);
        self.inbound.allow(MAX_FRAMING);
        while let Some(mut field) = self.next().await? {
            let (name, _) = self.read_head(&field)?;
            if name.eq_ignore_ascii_case("file") {
                return Err(errors::SEVERAL_FILES);
            }
            if !name.eq_ignore_ascii_case("submit") {
                return Err(errors::MALFORMED_FORM);
            }
            while next_chunk(&self.inbound, &mut field).await?.is_some() {}
        }
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<Field<'static>>, OssError> {
        let next = self.inbound.parse(self.multipart.next_field()).await;
        next.map_err(|error| refusal(&error))
    }

    /// Returns the name of a part, which must not be empty or too long, and the file name, which is
    /// empty if there is none.
    fn read_head(&self, field: &Field<'_>) -> Result<(String, String), OssError> {
        let head = if self.lenient {
            PartHead::lenient(field)
        } else {
            PartHead::parse(field.headers())?
        };
        let name = head.name.filter(|name| !name.is_empty());
        let name = name.ok_or(errors::NO_FIELD_NAME)?;
        if name.len() > MAX_NAME {
            return Err(errors::FIELD_TOO_LONG);
        }
        Ok((name, head.file_name.unwrap_or_default()))
    }
}

/// Whether the boundary is quoted. The C# SDK removes the quotes before it sends a form to OSS.
fn has_quoted_boundary(content_type: &str) -> bool {
    content_type.split(';').any(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or_default();
        name.trim().eq_ignore_ascii_case("boundary") && value.trim_start().starts_with('"')
    })
}

async fn next_chunk(inbound: &Inbound, field: &mut Field<'_>) -> Result<Option<Bytes>, OssError> {
    let chunk = inbound.parse(field.chunk()).await;
    chunk.map_err(|error| refusal(&error))
}

async fn read_value(
    mut field: Field<'_>,
    inbound: &Inbound,
    total: &mut usize,
) -> Result<String, OssError> {
    let mut value = Vec::new();
    while let Some(chunk) = next_chunk(inbound, &mut field).await? {
        *total += chunk.len();
        if value.len() + chunk.len() > MAX_VALUE {
            return Err(errors::VALUE_TOO_LONG);
        }
        if *total > MAX_VALUES {
            return Err(errors::FIELDS_TOO_LARGE);
        }
        value.extend_from_slice(&chunk);
    }
    String::from_utf8(value).map_err(|_| errors::MALFORMED_FORM)
}

fn file_part(field: Field<'static>, name: String, inbound: &Inbound) -> Result<FilePart, OssError> {
    let known = |name: &header::HeaderName| name.as_str().starts_with("content-");
    if !field.headers().keys().all(known) {
        return Err(errors::UNRECOGNIZED_HEADER);
    }
    let content_type = field.headers().get(header::CONTENT_TYPE);
    Ok(FilePart {
        name,
        content_type: content_type
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned),
        inbound: inbound.clone(),
        field,
    })
}

/// Maps an error of the parser. If [`Inbound`] caused it, that error decides.
fn refusal(error: &multer::Error) -> OssError {
    let inbound = error
        .source()
        .and_then(|source| source.downcast_ref::<InboundError>());
    inbound.map_or(errors::MALFORMED_FORM, InboundError::refusal)
}
