//! What a client is handed.

use std::{fmt, time::SystemTime};

use jiff::Timestamp;
use serde::{Serialize, Serializer, ser::SerializeMap as _};

use super::{moment::system_time, upload_key::FILENAME};
use crate::protocol::UploadUrl;

/// A signed form: all that a client needs to post one file to OSS.
///
/// Serialised it is `{"method","url","fields","key","expires"}`, with `expires` in Unix seconds and `fields` an object
/// whose members are in the order of [`fields`](Self::fields). A client appends each field to a `FormData`, then the
/// file as `file`, and posts it to `url`. What the policy asks for with a
/// [`Condition`](super::Condition), or with several content types, it adds in between.
///
/// It is a bearer credential until it expires: send it over TLS, and let nobody store it. `Debug` shows no value of a
/// field.
#[derive(Clone, Eq, PartialEq)]
pub struct UploadToken {
    url: UploadUrl,
    key: Box<str>,
    fields: Vec<(Box<str>, Box<str>)>,
    expires: Timestamp,
}

impl UploadToken {
    pub(super) fn new(
        url: UploadUrl,
        key: &str,
        fields: Vec<(Box<str>, Box<str>)>,
        expires: Timestamp,
    ) -> Self {
        let key = key.into();
        Self {
            url,
            key,
            fields,
            expires,
        }
    }

    /// `POST`.
    #[must_use]
    pub fn method(&self) -> &'static str {
        "POST"
    }

    /// Where the form is posted to.
    #[must_use]
    pub fn url(&self) -> &UploadUrl {
        &self.url
    }

    /// The fields to send before the file, names and values, each name once and `key` first.
    #[must_use]
    pub fn fields(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The value of a field; names are compared without regard to case, as OSS does.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields()
            .find(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// The name the object gets; `prefix/${filename}` when any name under a prefix is allowed.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The prefix of the key, for clients that append the name of the file themselves.
    pub(super) fn dir(&self) -> &str {
        self.key.strip_suffix(FILENAME).unwrap_or(&self.key)
    }

    /// The instant OSS stops taking the form, a whole second; the one in the policy.
    #[must_use]
    pub fn expires(&self) -> SystemTime {
        system_time(self.expires)
    }

    /// The same instant in Unix seconds.
    #[must_use]
    pub fn expires_unix(&self) -> i64 {
        self.expires.as_second()
    }
}

impl Serialize for UploadToken {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(5))?;
        map.serialize_entry("method", self.method())?;
        map.serialize_entry("url", self.url.as_str())?;
        map.serialize_entry("fields", &Fields(&self.fields))?;
        map.serialize_entry("key", &*self.key)?;
        map.serialize_entry("expires", &self.expires_unix())?;
        map.end()
    }
}

/// An object, so that JavaScript can go through it; the names are distinct.
struct Fields<'a>(&'a [(Box<str>, Box<str>)]);

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl fmt::Debug for UploadToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.fields().map(|(name, _)| name).collect();
        f.debug_struct("UploadToken")
            .field("url", &self.url)
            .field("key", &self.key)
            .field("fields", &names)
            .field("expires", &self.expires)
            .finish()
    }
}
