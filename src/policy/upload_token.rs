//! The signed form that a client posts to OSS.

use std::{fmt, time::SystemTime};

use jiff::Timestamp;
use serde::{Serialize, Serializer, ser::SerializeMap as _};

use super::{document::system_time, object_name::UploadKey};
use crate::protocol::UploadUrl;

/// A signed form: everything that a client needs to post one file to OSS.
///
/// It serialises to `{"method","url","fields","key","expires"}`. `expires` is in Unix seconds, and
/// `fields` is an object whose members have the order of [`fields`](Self::fields). A client appends
/// each field to a `FormData`, then the file as `file`, and posts the form to `url`. Before the
/// file, it also appends the fields that a [`Condition`](super::Condition), or a choice of content
/// types, requires.
///
/// A token is a bearer credential until it expires: send it over TLS, and prevent caching. `Debug`
/// omits the values of fields.
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

    /// Returns `POST`.
    #[must_use]
    pub fn method(&self) -> &'static str {
        "POST"
    }

    /// Returns the URL that receives the form.
    #[must_use]
    pub fn url(&self) -> &UploadUrl {
        &self.url
    }

    /// Returns names and values of the fields to send before the file. Names are unique, and `key`
    /// is the first.
    #[must_use]
    pub fn fields(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Returns the value of a field; names are compared case-insensitively, as OSS does.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields()
            .find(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// Returns the key of the object; `prefix/${filename}` if the uploader chooses the name.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Returns the prefix of the key, for clients that append the file name themselves.
    pub(super) fn dir(&self) -> &str {
        UploadKey::prefix_of(&self.key)
    }

    /// Returns when the policy expires, a whole second. OSS rejects the form afterwards.
    #[must_use]
    pub fn expires(&self) -> SystemTime {
        system_time(self.expires)
    }

    /// Returns when the policy expires, in Unix seconds.
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

/// Serialises the fields as an object, which JavaScript can iterate. The names are unique.
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
