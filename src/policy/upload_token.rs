//! The signed form that a client posts to OSS.

use std::{fmt, sync::Arc, time::SystemTime};

use jiff::Timestamp;
use serde::{Serialize, Serializer, ser::SerializeMap as _};

use super::{
    form_fields::FormFields,
    json::{push_number, push_string},
    object_name::UploadKey,
    validity::system_time,
};
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
    /// Shared with the settings that the token was issued with.
    url: Arc<UploadUrl>,
    fields: FormFields,
    expires: Timestamp,
}

impl UploadToken {
    /// Creates a token. The first field is `key`.
    pub(super) fn new(url: Arc<UploadUrl>, fields: FormFields, expires: Timestamp) -> Self {
        Self {
            url,
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
        self.fields.iter()
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
        self.fields.iter().next().map_or("", |(_, key)| key)
    }

    /// Returns the prefix of the key, for clients that append the file name themselves.
    pub(super) fn dir(&self) -> &str {
        UploadKey::prefix_of(self.key())
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

impl UploadToken {
    /// Returns a length of JSON that suffices unless values have many characters to escape.
    pub(super) fn json_len(&self) -> usize {
        // A hundred for the other names.
        100 + self.fields.json_len() + self.key().len() + self.url.as_str().len()
    }

    /// Appends the JSON of the token, as [`Serialize`] writes it.
    pub(super) fn push_json(&self, out: &mut String) {
        out.push_str("{\"method\":");
        push_string(out, self.method());
        out.push_str(",\"url\":");
        push_string(out, self.url.as_str());
        let mut separator = ",\"fields\":{";
        for (name, value) in self.fields() {
            out.push_str(separator);
            push_string(out, name);
            out.push(':');
            push_string(out, value);
            separator = ",";
        }
        out.push_str("},\"key\":");
        push_string(out, self.key());
        out.push_str(",\"expires\":");
        push_number(out, self.expires_unix());
        out.push('}');
    }
}

impl Serialize for UploadToken {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(5))?;
        map.serialize_entry("method", self.method())?;
        map.serialize_entry("url", self.url.as_str())?;
        map.serialize_entry("fields", &self.fields)?;
        map.serialize_entry("key", self.key())?;
        map.serialize_entry("expires", &self.expires_unix())?;
        map.end()
    }
}

impl fmt::Debug for UploadToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.fields().map(|(name, _)| name).collect();
        f.debug_struct("UploadToken")
            .field("url", &self.url)
            .field("key", &self.key())
            .field("fields", &names)
            .field("expires", &self.expires)
            .finish()
    }
}
