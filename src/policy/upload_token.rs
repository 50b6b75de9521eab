//! The signed form that a client posts to OSS.

use std::{collections::HashSet, fmt, sync::Arc, time::SystemTime};

use jiff::Timestamp;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, MapAccess, Visitor},
    ser::SerializeMap as _,
};

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
/// It deserialises from the same object, for clients and tests in Rust. Other members are ignored,
/// and the fields keep the order that the format gives them, as `serde_json` does from text. The
/// [formats of the samples](super::TokenFormat) do not have these members, so they are an error.
/// The response to a batch has a `Vec<UploadToken>` as its member `uploads`.
///
/// ```
/// use tower_aliyun_oss::policy::UploadToken;
///
/// let text = r#"{
///     "method": "POST",
///     "url": "https://examplebucket.oss-cn-hangzhou.aliyuncs.com",
///     "fields": { "key": "user/7/a.png", "policy": "e30=" },
///     "key": "user/7/a.png",
///     "expires": 1735689630
/// }"#;
/// let token: UploadToken = serde_json::from_str(text)?;
/// assert_eq!(token.key(), "user/7/a.png");
/// assert_eq!(token.field("policy"), Some("e30="));
/// # Ok::<(), serde_json::Error>(())
/// ```
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

#[derive(Deserialize)]
struct Members {
    method: Box<str>,
    url: Box<str>,
    fields: Pairs,
    key: Box<str>,
    expires: i64,
}

impl<'de> Deserialize<'de> for UploadToken {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let members = Members::deserialize(deserializer)?;
        if &*members.method != "POST" {
            return Err(D::Error::custom("the method of a token must be POST"));
        }
        let Pairs(pairs) = members.fields;
        // Some formats sort the fields; `key` is the first.
        let is_key = |name: &str| name.eq_ignore_ascii_case("key");
        let Some((_, key)) = pairs.iter().find(|(name, _)| is_key(name)) else {
            return Err(D::Error::custom("a token needs the field key"));
        };
        if *key != members.key {
            return Err(D::Error::custom(
                "the field key must be the key of the token",
            ));
        }
        let length = pairs.iter().map(|(name, value)| name.len() + value.len());
        let mut fields = FormFields::with_capacity(length.sum());
        fields.push("key", key);
        for (name, value) in pairs.iter().filter(|(name, _)| !is_key(name)) {
            fields.push(name, value);
        }
        let url: UploadUrl = members.url.parse().map_err(D::Error::custom)?;
        let expires = Timestamp::from_second(members.expires).map_err(D::Error::custom)?;
        // `expires` would return the time that is as long after 1970.
        if expires < Timestamp::UNIX_EPOCH {
            return Err(D::Error::custom("a token expires after 1970"));
        }
        Ok(Self::new(Arc::new(url), fields, expires))
    }
}

/// Fields in the order of the format, each name once.
struct Pairs(Vec<(Box<str>, Box<str>)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of form fields")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut fields = Vec::new();
                // Compared one by one, the names of a megabyte would take a minute.
                let mut names = HashSet::new();
                while let Some((name, value)) = map.next_entry::<Box<str>, Box<str>>()? {
                    // OSS compares names case-insensitively.
                    if !names.insert(name.to_ascii_lowercase()) {
                        return Err(A::Error::custom("a form field of the token is repeated"));
                    }
                    fields.push((name, value));
                }
                Ok(Pairs(fields))
            }
        }

        deserializer.deserialize_map(InOrder)
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn token() -> UploadToken {
        let fields = [
            ("key", "b/a"),
            ("x-oss-z", "é\"\\"),
            ("policy", "e30="),
            ("A", ""),
        ];
        let mut list = FormFields::with_capacity(0);
        for (name, value) in fields {
            list.push(name, value);
        }
        UploadToken::new(
            Arc::new("https://b.example".parse().unwrap()),
            list,
            Timestamp::from_second(1_735_689_630).unwrap(),
        )
    }

    #[test]
    fn a_token_survives_its_json_with_the_order_of_its_fields() {
        let text = serde_json::to_string(&token()).unwrap();
        assert_eq!(serde_json::from_str::<UploadToken>(&text).unwrap(), token());
        let bytes = text.as_bytes();
        assert_eq!(
            serde_json::from_reader::<_, UploadToken>(bytes).unwrap(),
            token()
        );
        let with_more = text.replacen('{', "{\"more\":[1],", 1);
        assert_eq!(
            serde_json::from_str::<UploadToken>(&with_more).unwrap(),
            token()
        );
    }

    #[test]
    fn what_is_no_token_is_an_error() {
        let whole = serde_json::to_value(token()).unwrap();
        assert!(UploadToken::deserialize(&whole).is_ok());
        for (member, values) in [
            ("method", vec![json!("PUT"), Value::Null]),
            (
                "url",
                vec![
                    json!("ftp://b.example"),
                    json!("https://u@b.example"),
                    json!(1),
                ],
            ),
            (
                "fields",
                vec![
                    json!({}),
                    json!({"key": "b/c"}),
                    json!([]),
                    json!({"key": 1}),
                ],
            ),
            ("key", vec![json!("b/c"), Value::Null]),
            (
                "expires",
                vec![
                    json!(i64::MAX),
                    json!(i64::MIN),
                    json!(-1_735_689_630),
                    json!("1"),
                    json!(1.5),
                ],
            ),
        ] {
            for value in values {
                let mut changed = whole.clone();
                changed[member] = value;
                assert!(UploadToken::deserialize(&changed).is_err(), "{changed}");
            }
            let mut without = whole.clone();
            without.as_object_mut().unwrap().remove(member);
            assert!(UploadToken::deserialize(&without).is_err(), "{member}");
        }
        // Sorted, the key is not the first field.
        let sorted = UploadToken::deserialize(&whole).unwrap();
        assert_eq!(sorted.key(), "b/a");
        assert_eq!(sorted.fields().len(), token().fields().len());
        let repeated = serde_json::to_string(&token()).unwrap();
        let repeated = repeated.replace(r#""policy""#, r#""KEY""#);
        let error = serde_json::from_str::<UploadToken>(&repeated).unwrap_err();
        assert!(error.to_string().contains("repeated"), "{error}");
    }

    #[test]
    fn a_token_of_many_fields_is_read_in_time() {
        let fields: Vec<_> = (0..100_000).map(|n| format!("\"x:{n}\":\"\"")).collect();
        let mut text = serde_json::to_string(&token()).unwrap();
        text = text.replace("\"A\":\"\"", &fields.join(","));
        let many: UploadToken = serde_json::from_str(&text).unwrap();
        assert_eq!(many.fields().len(), 100_003);
    }
}
