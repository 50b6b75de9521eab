//! The metadata of an object: what the client sets, and what is computed from its content.

use std::time::{Duration, SystemTime};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use crate::{
    bucket::Acl,
    encryption::{self, Encryption},
    errors::{self, OssError},
    form::{FilePart, Form},
    restoration::{Archive, Phase, Restoration},
    tags::{self, Tag, Tagged},
};

/// The longest object name, in bytes.
const MAX_NAME: usize = 1023;
/// The total size of all `x-oss-meta-*` headers of an object, names and values, in bytes.
const MAX_META: usize = 8 * 1024;

const STORAGE: &str = "x-oss-storage-class";
const ACL: &str = "x-oss-object-acl";
/// Fields that become response headers of the object unchanged.
const HEADERS: [&str; 5] = [
    "Cache-Control",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Language",
    "Expires",
];
/// Start of the metadata that the encryption clients of the SDKs write. Without it, the content
/// cannot be decrypted.
const CLIENT_ENCRYPTION: &str = "x-oss-meta-client-side-encryption-";

/// The metadata that the client sets.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Description {
    pub(crate) key: String,
    pub(crate) content_type: String,
    /// `None` is `default`: the object inherits the ACL of the bucket.
    acl: Option<String>,
    headers: Vec<(String, String)>,
    #[serde(default)]
    pub(crate) tags: Vec<Tag>,
}

/// The object that an upload will create, before its content is known.
#[derive(Debug)]
pub(crate) struct NewObject {
    pub(crate) description: Description,
    /// Whether the upload fails if an object of this name exists.
    pub(crate) forbid_overwrite: bool,
}

impl NewObject {
    /// Reads the fields of a form. The ACL may come in a request header instead of a field.
    /// `default` is the encryption of the bucket.
    pub(crate) fn of(
        form: &Form,
        headers: &HeaderMap,
        file: &FilePart,
        default: Option<&Encryption>,
    ) -> Result<Self, OssError> {
        let key = form.get("key").unwrap_or_default();
        // The policy has been checked against the field as sent, before this replacement.
        let key = key.replace("${filename}", &file.name);
        Self::new(key, content_type(form, file), form, headers, default)
    }

    /// Reads the headers of a request whose path names the object.
    pub(crate) fn of_request(
        key: &str,
        headers: &HeaderMap,
        default: Option<&Encryption>,
    ) -> Result<Self, OssError> {
        let fields = Form::of_headers(headers);
        let content_type = fields.get("content-type");
        Self::new(key.to_owned(), content_type, &fields, headers, default)
    }

    fn new(
        key: String,
        content_type: Option<&str>,
        fields: &Form,
        headers: &HeaderMap,
        default: Option<&Encryption>,
    ) -> Result<Self, OssError> {
        check_name(&key)?;
        let forbid_overwrite = match fields.get("x-oss-forbid-overwrite") {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(errors::FORBID_OVERWRITE),
        };
        let content_type = content_type.unwrap_or("application/octet-stream");
        check_value(content_type)?;
        let description = Description {
            key,
            content_type: content_type.to_owned(),
            acl: acl(fields, headers)?,
            headers: object_headers(fields, default)?,
            tags: match fields.get("x-oss-tagging") {
                Some(text) => tags::of_header(text, Tagged::Object)?,
                None => Vec::new(),
            },
        };
        Ok(Self {
            description,
            forbid_overwrite,
        })
    }
}

/// Returns the type that the object of a form will have, unless the form has none.
pub(crate) fn content_type<'a>(form: &'a Form, file: &'a FilePart) -> Option<&'a str> {
    form.get("x-oss-content-type")
        .or(file.content_type.as_deref())
        .or_else(|| form.get("Content-Type"))
}

impl Description {
    /// Whether requests without a signature may read it in a bucket with this ACL.
    pub(crate) fn is_readable(&self, bucket: Acl) -> bool {
        let own = self.acl.as_deref().and_then(Acl::from_name);
        own.unwrap_or(bucket).lets_read()
    }

    /// Returns the storage class.
    pub(crate) fn storage_class(&self) -> &str {
        let class = self.headers.iter().find(|(name, _)| name == STORAGE);
        class.map_or("Standard", |(_, class)| class)
    }

    /// Sets the storage class of the bucket, unless the client has chosen one.
    pub(crate) fn inherit_storage_class(&mut self, class: &str) {
        if !self.headers.iter().any(|(name, _)| name == STORAGE) {
            self.headers.push((STORAGE.to_owned(), class.to_owned()));
        }
    }

    /// Takes what a copy keeps of its source: type and metadata, but neither ACL, storage class nor
    /// encryption.
    pub(crate) fn take_metadata(&mut self, source: &Self) {
        self.content_type.clone_from(&source.content_type);
        self.headers.retain(|(name, _)| is_of_copy(name));
        let kept = source.headers.iter().filter(|(name, _)| !is_of_copy(name));
        self.headers.extend(kept.cloned());
    }

    /// Takes what a copy keeps of its source although it replaces the metadata: the type, if the
    /// request has none, and what the client needs to decrypt the content.
    pub(crate) fn take_essentials(&mut self, source: &Self, has_type: bool) {
        if !has_type {
            self.content_type.clone_from(&source.content_type);
        }
        for (name, value) in &source.headers {
            let is_new = !self.headers.iter().any(|(own, _)| own == name);
            if name.starts_with(CLIENT_ENCRYPTION) && is_new {
                self.headers.push((name.clone(), value.clone()));
            }
        }
    }

    /// Returns metadata that the encryption client of an SDK has set.
    pub(crate) fn client_encryption(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(known, _)| known.strip_prefix(CLIENT_ENCRYPTION) == Some(name));
        found.map(|(_, value)| &**value)
    }

    pub(crate) fn take_tags(&mut self, source: &Self) {
        self.tags.clone_from(&source.tags);
    }

    pub(crate) fn set_acl(&mut self, acl: ObjectAcl) {
        self.acl = acl.0;
    }

    /// Returns the ACL as OSS spells it.
    pub(crate) fn acl(&self) -> &str {
        self.acl.as_deref().unwrap_or("default")
    }

    /// Returns how the object is encrypted, as response headers.
    pub(crate) fn encryption(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        self.headers()
            .filter(|(name, _)| encryption::NAMES.contains(&name.as_str()))
    }

    /// Returns `Cache-Control`, `x-oss-meta-*` and the other response headers that the client set.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        self.headers
            .iter()
            .filter_map(|(name, value)| Some((name.parse().ok()?, value.parse().ok()?)))
    }
}

/// Whether a header of an object is one that a copy does not take from its source.
fn is_of_copy(name: &str) -> bool {
    name == STORAGE || name.starts_with("x-oss-server-side-")
}

/// Checks an object name.
pub(crate) fn check_name(key: &str) -> Result<(), OssError> {
    if key.is_empty() {
        return Err(errors::OBJECT_NAME_EMPTY);
    }
    if key.len() > MAX_NAME {
        return Err(errors::OBJECT_NAME_LENGTH);
    }
    if key.starts_with(['/', '\\']) {
        return Err(errors::OBJECT_NAME);
    }
    Ok(())
}

/// Checks the name of a storage class.
pub(crate) fn check_storage_class(class: &str) -> Result<(), OssError> {
    match class {
        "Standard" | "IA" | "Archive" | "ColdArchive" | "DeepColdArchive" => Ok(()),
        _ => Err(errors::STORAGE_CLASS),
    }
}

fn check_value(value: &str) -> Result<(), OssError> {
    match HeaderValue::from_str(value) {
        Ok(_) => Ok(()),
        Err(_) => Err(errors::ARGUMENT),
    }
}

/// The ACL of an object. `None` is `default`.
#[derive(Clone, Debug)]
pub(crate) struct ObjectAcl(Option<String>);

impl ObjectAcl {
    pub(crate) fn parse(name: &str) -> Result<Self, OssError> {
        match name {
            "default" => Ok(Self(None)),
            "private" | "public-read" | "public-read-write" => Ok(Self(Some(name.to_owned()))),
            _ => Err(errors::OBJECT_ACL),
        }
    }
}

/// Returns the ACL that the header `x-oss-object-acl` requests.
pub(crate) fn acl_of_request(headers: &HeaderMap) -> Result<Option<ObjectAcl>, OssError> {
    let value = headers.get(ACL).and_then(|value| value.to_str().ok());
    value
        .filter(|acl| !acl.is_empty())
        .map(ObjectAcl::parse)
        .transpose()
}

fn acl(form: &Form, headers: &HeaderMap) -> Result<Option<String>, OssError> {
    match form.get(ACL).filter(|acl| !acl.is_empty()) {
        Some(name) => Ok(ObjectAcl::parse(name)?.0),
        None => Ok(acl_of_request(headers)?.and_then(|acl| acl.0)),
    }
}

fn object_headers(
    form: &Form,
    default: Option<&Encryption>,
) -> Result<Vec<(String, String)>, OssError> {
    let mut headers = Vec::new();
    // Nothing would be encrypted, so the client must not believe it.
    if form.iter().any(|(name, _)| is_not_implemented(name)) {
        return Err(errors::NOT_IMPLEMENTED);
    }
    for name in HEADERS {
        if let Some(value) = form.get(name) {
            check_value(value)?;
            headers.push((name.to_owned(), value.to_owned()));
        }
    }
    if let Some(class) = form.get(STORAGE) {
        check_storage_class(class)?;
        headers.push((STORAGE.to_owned(), class.to_owned()));
    }
    let requested = Encryption::of_fields(form)?;
    if let Some(encryption) = requested.as_ref().or(default) {
        let encryption = encryption.headers();
        headers.extend(encryption.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
    let mut size = 0;
    for (name, value) in form.iter() {
        let name = name.to_ascii_lowercase();
        let Some(meta) = name.strip_prefix("x-oss-meta-") else {
            continue;
        };
        size += name.len() + value.len();
        if size > MAX_META {
            return Err(errors::METADATA_TOO_LARGE);
        }
        if meta.is_empty() || name.parse::<HeaderName>().is_err() {
            return Err(errors::ARGUMENT);
        }
        check_value(value)?;
        // If a name repeats, the first value applies, as in `Form::get`.
        if !headers.iter().any(|(known, _)| *known == name) {
            headers.push((name, value.to_owned()));
        }
    }
    Ok(headers)
}

/// Whether a header or field asks for something that the emulator does not do: encryption with
/// keys of the client.
pub(crate) fn is_not_implemented(name: &str) -> bool {
    const CUSTOMER: &str = "x-oss-server-side-encryption-customer-";
    let customer = name.get(..CUSTOMER.len());
    customer.is_some_and(|start| start.eq_ignore_ascii_case(CUSTOMER))
}

/// What is computed from the content.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Content {
    pub(crate) size: u64,
    /// MD5 of the content. For a multipart upload, the MD5 of the ETags of its parts.
    pub(crate) md5: [u8; 16],
    /// The number of parts of a multipart upload.
    #[serde(default)]
    pub(crate) parts: Option<u16>,
    /// MD5 of the content of a sequential multipart upload.
    #[serde(default)]
    pub(crate) whole_md5: Option<[u8; 16]>,
    pub(crate) crc64: u64,
    pub(crate) image: Option<Image>,
}

/// The dimensions and format of an image.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Image {
    pub(crate) width: u64,
    pub(crate) height: u64,
    pub(crate) format: String,
}

impl Content {
    /// Returns that of an object which is empty.
    pub(crate) fn empty() -> Self {
        Self {
            size: 0,
            md5: [0; 16],
            parts: None,
            whole_md5: None,
            crc64: 0,
            image: None,
        }
    }

    /// Returns the ETag without quotes: the MD5 in upper-case hex. For a multipart upload, `-` and
    /// the number of parts follow.
    pub(crate) fn etag(&self) -> String {
        let md5 = base16ct::upper::encode_string(&self.md5);
        match self.parts {
            Some(parts) => format!("{md5}-{parts}"),
            None => md5,
        }
    }

    /// Returns the value of `Content-MD5`; empty for a multipart upload, because OSS does not
    /// compute the MD5 of its content.
    pub(crate) fn md5_base64(&self) -> String {
        match self.parts {
            Some(_) => String::new(),
            None => STANDARD.encode(self.md5),
        }
    }
}

/// How an object was created, as far as it matters afterwards.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) enum ObjectKind {
    /// As a whole or in parts.
    #[default]
    Plain,
    /// By `AppendObject`.
    Appendable,
    /// By `PutSymlink`: a link to another object.
    Symlink {
        target: String,
        /// The name of the target as the client encoded it.
        encoded: String,
    },
}

/// A stored object.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Record {
    pub(crate) description: Description,
    pub(crate) content: Content,
    #[serde(default)]
    pub(crate) kind: ObjectKind,
    /// Only of the archive storage classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) restoration: Option<Restoration>,
    /// Milliseconds since the Unix epoch.
    stored: u64,
    /// Since when nothing can be appended to it, in milliseconds since the Unix epoch.
    #[serde(default)]
    sealed: Option<u64>,
}

impl Record {
    pub(crate) fn new(description: Description, content: Content, at: SystemTime) -> Self {
        Self {
            description,
            content,
            kind: ObjectKind::Plain,
            restoration: None,
            stored: millis(at),
            sealed: None,
        }
    }

    /// Returns the type of the object as OSS spells it.
    pub(crate) fn object_type(&self) -> &'static str {
        match (&self.kind, self.content.parts) {
            (ObjectKind::Appendable, _) => "Appendable",
            (ObjectKind::Symlink { .. }, _) => "Symlink",
            (ObjectKind::Plain, Some(_)) => "Multipart",
            (ObjectKind::Plain, None) => "Normal",
        }
    }

    /// Returns the value of `Content-MD5`, for objects of which OSS knows it.
    pub(crate) fn content_md5(&self) -> Option<String> {
        let whole = self.content.whole_md5.map(|md5| STANDARD.encode(md5));
        let is_whole = self.object_type() == "Normal";
        whole.or_else(|| is_whole.then(|| self.content.md5_base64()))
    }

    /// Whether the content cannot be read, because the object is archived and not restored.
    pub(crate) fn is_frozen(&self, now: SystemTime) -> bool {
        let phase = self.restoration.as_ref().and_then(|known| known.phase(now));
        Archive::of(self.description.storage_class()).is_some() && phase != Some(Phase::Restored)
    }

    /// Sets when the object was stored.
    pub(crate) fn touch(&mut self, at: SystemTime) {
        self.stored = millis(at);
    }

    /// Ends the appends. Keeps the time if they have ended before.
    pub(crate) fn seal(&mut self, at: SystemTime) {
        self.sealed.get_or_insert_with(|| millis(at));
    }

    /// Returns when the appends ended.
    pub(crate) fn sealed(&self) -> Option<SystemTime> {
        let sealed = self.sealed.map(Duration::from_millis);
        sealed.map(|sealed| SystemTime::UNIX_EPOCH + sealed)
    }

    /// Returns when the object was stored: `Last-Modified`.
    pub(crate) fn stored(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.stored)
    }
}

fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}
