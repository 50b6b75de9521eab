//! The form of an upload: its fields, in order, up to the file.

use std::error::Error as _;

use bytes::Bytes;
use http::{HeaderMap, header};
use multer::{Field, Multipart};

use crate::{
    catalogue,
    error::OssError,
    inbound::{Inbound, InboundError},
};

/// The longest name of a field, in bytes.
const MAX_NAME: usize = 8 * 1024;
/// The longest value of a field, in bytes.
const MAX_VALUE: usize = 2 * 1024 * 1024;
/// All values before the file, in bytes.
const MAX_VALUES: usize = 8 * 1024 * 1024;
/// What boundaries and part headers may add to them.
const MAX_FRAMING: u64 = 1024 * 1024;

/// The fields before the file.
#[derive(Debug, Default)]
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    /// The first value of a field. Names are compared without regard to case: the official samples write `signature`
    /// beside `OSSAccessKeyId`.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.values(name).next()
    }

    /// Every value of a field.
    pub(crate) fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(move |(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| &**value)
    }

    /// The headers of a request, which say of an object what fields do in a form.
    pub(crate) fn of_headers(headers: &HeaderMap) -> Self {
        let fields = headers.iter().filter_map(|(name, value)| {
            let value = std::str::from_utf8(value.as_bytes()).ok()?;
            Some((name.as_str().to_owned(), value.to_owned()))
        });
        Self(fields.collect())
    }

    /// The custom variables, names and values. Names are compared with regard to case, and the first value counts.
    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        let custom = self.0.iter().filter(|(name, _)| name.starts_with("x:"));
        custom.cloned().collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }
}

/// A form that is read up to the content of its file.
pub(crate) struct Reading {
    multipart: Multipart<'static>,
    inbound: Inbound,
    strict: bool,
}

/// The part `file`, whose content follows.
pub(crate) struct FilePart {
    field: Field<'static>,
    inbound: Inbound,
    pub(crate) name: String,
    pub(crate) content_type: Option<String>,
}

impl FilePart {
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, OssError> {
        chunk(&self.inbound, &mut self.field).await
    }
}

impl Reading {
    /// `strict` refuses what the SDKs work around: a quoted boundary, and names without quotes.
    pub(crate) fn new(
        headers: &HeaderMap,
        inbound: Inbound,
        strict: bool,
    ) -> Result<Self, OssError> {
        let content_type = headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("multipart/form-data") {
            return Err(catalogue::NOT_MULTIPART);
        }
        let boundary =
            multer::parse_boundary(content_type).map_err(|_| catalogue::MALFORMED_FORM)?;
        if strict && content_type.contains('"') {
            return Err(catalogue::MALFORMED_FORM);
        }
        let multipart = Multipart::new(inbound.stream(), boundary);
        Ok(Self {
            multipart,
            inbound,
            strict,
        })
    }

    /// The fields, and the file that ends them.
    pub(crate) async fn fields(&mut self) -> Result<(Form, FilePart), OssError> {
        self.inbound.allow(MAX_VALUES as u64 + MAX_FRAMING);
        let mut form = Form::default();
        let mut total = 0_usize;
        while let Some(field) = self.next().await? {
            let name = self.name_of(&field)?;
            if name.eq_ignore_ascii_case("file") {
                if form.get("key").is_none() {
                    return Err(catalogue::NO_KEY);
                }
                let file = file_part(field, &self.inbound)?;
                self.inbound.allow(u64::MAX);
                return Ok((form, file));
            }
            let value = value_of(field, &self.inbound, &mut total).await?;
            form.0.push((name, value));
        }
        Err(catalogue::NO_FILE)
    }

    /// Reads what follows the file. The samples of OSS have a `submit` there, so that one is let through, unread; any
    /// other field should have come before.
    pub(crate) async fn rest(mut self, file: FilePart) -> Result<(), OssError> {
        drop(file);
        self.inbound.allow(MAX_FRAMING);
        while let Some(mut field) = self.next().await? {
            let name = self.name_of(&field)?;
            if name.eq_ignore_ascii_case("file") {
                return Err(catalogue::SEVERAL_FILES);
            }
            if !name.eq_ignore_ascii_case("submit") {
                return Err(catalogue::MALFORMED_FORM);
            }
            while chunk(&self.inbound, &mut field).await?.is_some() {}
        }
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<Field<'static>>, OssError> {
        let next = self.inbound.parse(self.multipart.next_field()).await;
        next.map_err(|error| refusal(&error))
    }

    fn name_of(&self, field: &Field<'_>) -> Result<String, OssError> {
        let name = field.name().filter(|name| !name.is_empty());
        let name = name.ok_or(catalogue::NO_FIELD_NAME)?;
        if name.len() > MAX_NAME {
            return Err(catalogue::FIELD_TOO_LONG);
        }
        let disposition = field.headers().get(header::CONTENT_DISPOSITION);
        let quoted = |value: &header::HeaderValue| {
            let value = value.as_bytes();
            value.windows(6).any(|text| text == b"name=\"")
        };
        if self.strict && !disposition.is_some_and(quoted) {
            return Err(catalogue::MALFORMED_FORM);
        }
        Ok(name.to_owned())
    }
}

async fn chunk(inbound: &Inbound, field: &mut Field<'_>) -> Result<Option<Bytes>, OssError> {
    let chunk = inbound.parse(field.chunk()).await;
    chunk.map_err(|error| refusal(&error))
}

async fn value_of(
    mut field: Field<'_>,
    inbound: &Inbound,
    total: &mut usize,
) -> Result<String, OssError> {
    let mut value = Vec::new();
    while let Some(chunk) = chunk(inbound, &mut field).await? {
        *total += chunk.len();
        if value.len() + chunk.len() > MAX_VALUE {
            return Err(catalogue::VALUE_TOO_LONG);
        }
        if *total > MAX_VALUES {
            return Err(catalogue::FIELDS_TOO_LARGE);
        }
        value.extend_from_slice(&chunk);
    }
    String::from_utf8(value).map_err(|_| catalogue::MALFORMED_FORM)
}

fn file_part(field: Field<'static>, inbound: &Inbound) -> Result<FilePart, OssError> {
    let known = |name: &header::HeaderName| name.as_str().starts_with("content-");
    if !field.headers().keys().all(known) {
        return Err(catalogue::UNRECOGNIZED_HEADER);
    }
    let content_type = field.headers().get(header::CONTENT_TYPE);
    Ok(FilePart {
        name: field.file_name().unwrap_or_default().to_owned(),
        content_type: content_type
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned),
        inbound: inbound.clone(),
        field,
    })
}

/// The parser's error, or the one that our own stream gave it.
fn refusal(error: &multer::Error) -> OssError {
    let inbound = error
        .source()
        .and_then(|source| source.downcast_ref::<InboundError>());
    inbound.map_or(catalogue::MALFORMED_FORM, InboundError::refusal)
}
