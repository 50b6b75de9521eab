//! What an object is besides its bytes.

use std::time::{Duration, SystemTime};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use crate::{
    bucket::Acl,
    catalogue,
    error::OssError,
    form::{FilePart, Form},
};

/// The longest name of an object, in bytes.
const MAX_NAME: usize = 1023;
/// All `x-oss-meta-*` of an object, names and values, in bytes.
const MAX_META: usize = 8 * 1024;

const STORAGE: &str = "x-oss-storage-class";
/// The fields that become headers of the object as they are.
const HEADERS: [&str; 4] = [
    "Cache-Control",
    "Content-Disposition",
    "Content-Encoding",
    "Expires",
];

/// What the form says about the object.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Description {
    pub(crate) key: String,
    pub(crate) content_type: String,
    /// `None` is `default`: that of the bucket.
    acl: Option<String>,
    headers: Vec<(String, String)>,
}

/// A description, and the rule about an object of the same name.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) description: Description,
    pub(crate) forbid_overwrite: bool,
}

impl Plan {
    /// Reads the fields. A header of the request says who may read the object if no field does.
    pub(crate) fn of(form: &Form, headers: &HeaderMap, file: &FilePart) -> Result<Self, OssError> {
        let key = form.get("key").unwrap_or_default();
        let key = key.replace("${filename}", &file.name);
        let content_type = form
            .get("x-oss-content-type")
            .or(file.content_type.as_deref())
            .or_else(|| form.get("Content-Type"));
        Self::new(key, content_type, form, headers)
    }

    /// Reads the headers of a request that names the object in its path.
    pub(crate) fn of_request(key: &str, headers: &HeaderMap) -> Result<Self, OssError> {
        let fields = Form::of_headers(headers);
        Self::new(key.to_owned(), fields.get("content-type"), &fields, headers)
    }

    fn new(
        key: String,
        content_type: Option<&str>,
        fields: &Form,
        headers: &HeaderMap,
    ) -> Result<Self, OssError> {
        check_name(&key)?;
        let forbid_overwrite = match fields.get("x-oss-forbid-overwrite") {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(catalogue::FORBID_OVERWRITE),
        };
        let content_type = content_type.unwrap_or("application/octet-stream");
        check_value(content_type)?;
        let description = Description {
            key,
            content_type: content_type.to_owned(),
            acl: acl(fields, headers)?,
            headers: object_headers(fields)?,
        };
        Ok(Self {
            description,
            forbid_overwrite,
        })
    }
}

impl Description {
    /// Whether it may be read without a signature, in a bucket with this ACL.
    pub(crate) fn is_readable(&self, bucket: Acl) -> bool {
        let own = self.acl.as_deref().and_then(Acl::from_name);
        own.unwrap_or(bucket).lets_read()
    }

    /// The storage class.
    pub(crate) fn storage_class(&self) -> &str {
        let class = self.headers.iter().find(|(name, _)| name == STORAGE);
        class.map_or("Standard", |(_, class)| class)
    }

    /// The ACL as OSS spells it.
    pub(crate) fn acl(&self) -> &str {
        self.acl.as_deref().unwrap_or("default")
    }

    /// `Cache-Control`, `x-oss-meta-*` and the like.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        self.headers
            .iter()
            .filter_map(|(name, value)| Some((name.parse().ok()?, value.parse().ok()?)))
    }
}

fn check_name(key: &str) -> Result<(), OssError> {
    if key.is_empty() {
        return Err(catalogue::OBJECT_NAME_EMPTY);
    }
    if key.len() > MAX_NAME {
        return Err(catalogue::OBJECT_NAME_LENGTH);
    }
    if key.starts_with(['/', '\\']) {
        return Err(catalogue::OBJECT_NAME);
    }
    Ok(())
}

fn check_value(value: &str) -> Result<(), OssError> {
    match HeaderValue::from_str(value) {
        Ok(_) => Ok(()),
        Err(_) => Err(catalogue::ARGUMENT),
    }
}

fn acl(form: &Form, headers: &HeaderMap) -> Result<Option<String>, OssError> {
    const NAME: &str = "x-oss-object-acl";
    let header = headers.get(NAME).and_then(|value| value.to_str().ok());
    match form.get(NAME).or(header) {
        None | Some("default") => Ok(None),
        Some(name) if Acl::from_name(name).is_some() => Ok(Some(name.to_owned())),
        Some(_) => Err(catalogue::OBJECT_ACL),
    }
}

fn object_headers(form: &Form) -> Result<Vec<(String, String)>, OssError> {
    const ENCRYPTION: &str = "x-oss-server-side-encryption";
    let mut headers = Vec::new();
    for name in HEADERS {
        if let Some(value) = form.get(name) {
            check_value(value)?;
            headers.push((name.to_owned(), value.to_owned()));
        }
    }
    let class = form.get(STORAGE).unwrap_or("Standard");
    if !matches!(
        class,
        "Standard" | "IA" | "Archive" | "ColdArchive" | "DeepColdArchive"
    ) {
        return Err(catalogue::STORAGE_CLASS);
    }
    headers.push((STORAGE.to_owned(), class.to_owned()));
    match form.get(ENCRYPTION) {
        None => {}
        Some(algorithm @ ("AES256" | "SM4" | "KMS")) => {
            headers.push((ENCRYPTION.to_owned(), algorithm.to_owned()));
        }
        Some(_) => return Err(catalogue::ENCRYPTION),
    }
    let mut size = 0;
    for (name, value) in form.iter() {
        let name = name.to_ascii_lowercase();
        let Some(meta) = name.strip_prefix("x-oss-meta-") else {
            continue;
        };
        size += name.len() + value.len();
        if size > MAX_META {
            return Err(catalogue::METADATA_TOO_LARGE);
        }
        if meta.is_empty() || name.parse::<HeaderName>().is_err() {
            return Err(catalogue::ARGUMENT);
        }
        check_value(value)?;
        if !headers.iter().any(|(known, _)| *known == name) {
            headers.push((name, value.to_owned()));
        }
    }
    Ok(headers)
}

/// What the emulator has worked out about the bytes.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Content {
    pub(crate) size: u64,
    /// Of an object that came in parts, that of the MD5s of its parts.
    pub(crate) md5: [u8; 16],
    /// How many parts it came in, if it did.
    #[serde(default)]
    pub(crate) parts: Option<u16>,
    pub(crate) crc64: u64,
    pub(crate) image: Option<Image>,
}

/// What an image measures.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Image {
    pub(crate) width: u64,
    pub(crate) height: u64,
    pub(crate) format: String,
}

impl Content {
    /// Upper-case hex of the MD5, without quotes; for an object that came in parts, their number behind it.
    pub(crate) fn etag(&self) -> String {
        let md5 = base16ct::upper::encode_string(&self.md5);
        match self.parts {
            Some(parts) => format!("{md5}-{parts}"),
            None => md5,
        }
    }

    /// The value of `Content-MD5`; empty for an object that came in parts, whose MD5 nobody has computed.
    pub(crate) fn md5_base64(&self) -> String {
        match self.parts {
            Some(_) => String::new(),
            None => STANDARD.encode(self.md5),
        }
    }
}

/// A stored object.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Record {
    pub(crate) description: Description,
    pub(crate) content: Content,
    /// In milliseconds since 1970.
    stored: u64,
}

impl Record {
    pub(crate) fn new(description: Description, content: Content, at: SystemTime) -> Self {
        let since = at
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            description,
            content,
            stored: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
        }
    }

    pub(crate) fn stored(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.stored)
    }
}
