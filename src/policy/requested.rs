//! The files that a client requests tokens for, in the query or in a JSON body.

use std::{borrow::Cow, fmt, marker::PhantomData, sync::Arc};

use percent_encoding::percent_decode_str;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};

use crate::protocol::{ContentType, ObjectKey};

/// Maximum length of a file name in bytes. No object key is longer.
const MAX_FILENAME_LEN: usize = 1023;

/// Maximum number of files in one batch.
const MAX_FILES: usize = 100;

/// The files that a client requests tokens for. An [`Authorize`](super::Authorize) finds it in the
/// extensions of the request parts.
///
/// A client requests one file in the query (`?filename=a.png&size=1024&type=image/png`) or as a
/// JSON object with the same members, each of which is optional. It requests up to 100 files as
/// `{"files":[…]}`, in at most 64 KiB. One grant serves one of them, or as many as
/// [`Grant::max_files`](super::Grant::max_files) permits.
///
/// All of it is unverified input. Where the grant permits it, the policy enforces what was
/// requested, so you can base the decision on it.
///
/// ```
/// use http::request::Parts;
/// use tower_aliyun_oss::policy::{Grant, Refusal, RequestedFiles};
///
/// async fn authorize(parts: &Parts) -> Result<Grant, Refusal> {
///     let requested = parts.extensions.get::<RequestedFiles>();
///     for file in requested.into_iter().flat_map(RequestedFiles::files) {
///         match file.size() {
///             Some(size) if size <= 10 << 20 => {}
///             // Without a size, the token permits every size of the grant.
///             _ => return Err(Refusal::forbidden().message("send the size, at most 10 MiB")),
///         }
///     }
///     // …
/// #   Err(Refusal::unauthorized())
/// }
/// # fn is_authorize(_: impl tower_aliyun_oss::policy::Authorize) {}
/// # is_authorize(authorize);
/// ```
#[derive(Clone, Debug)]
pub struct RequestedFiles {
    files: Arc<[RequestedFile]>,
    batch: bool,
}

impl RequestedFiles {
    /// Creates the request for one file, for tests of an authoriser that reads it.
    ///
    /// ```
    /// use http::Request;
    /// use tower_aliyun_oss::policy::{RequestedFile, RequestedFiles};
    ///
    /// let file = RequestedFile::default().with_filename("a.png").with_size(1 << 20);
    /// let (mut parts, ()) = Request::new(()).into_parts();
    /// parts.extensions.insert(RequestedFiles::one(file));
    /// ```
    #[must_use]
    pub fn one(file: RequestedFile) -> Self {
        Self {
            files: Arc::new([file]),
            batch: false,
        }
    }

    /// Creates the request for a batch of files, for tests of an authoriser that reads it. The
    /// service rejects a batch without a file, and one of more than 100.
    #[must_use]
    pub fn batch(files: impl IntoIterator<Item = RequestedFile>) -> Self {
        Self {
            files: files.into_iter().collect(),
            batch: true,
        }
    }

    /// Reads the query of a request.
    pub(super) fn from_query(query: Option<&str>) -> Result<Self, RequestError> {
        let (mut filename, mut size, mut content_type) = (None, None, None);
        for (name, value) in pairs(query) {
            let slot = match name {
                "filename" => &mut filename,
                "size" => &mut size,
                "type" => &mut content_type,
                _ => continue,
            };
            if slot.replace(decode(value)?).is_some() {
                return Err(RequestError::Repeated);
            }
        }
        let size = size
            .filter(|size| !size.is_empty())
            .map(|size| parse_size(&size).ok_or(RequestError::Size))
            .transpose()?;
        RequestedFile::new(filename.as_deref(), size, content_type.as_deref()).map(Self::one)
    }

    /// Reads the JSON body of a request.
    pub(super) fn from_json(body: &[u8]) -> Result<Self, RequestError> {
        let Object(body): Object<Body<'_>> =
            serde_json::from_slice(body).map_err(|_| RequestError::Json)?;
        let Some(files) = body.files else {
            let file = RequestedFile::new(
                body.filename.as_deref(),
                body.size,
                body.content_type.as_deref(),
            )?;
            return Ok(Self::one(file));
        };
        if body.filename.is_some() || body.size.is_some() || body.content_type.is_some() {
            return Err(RequestError::Json);
        }
        if files.is_empty() {
            return Err(RequestError::NoFiles);
        }
        if files.len() > MAX_FILES {
            return Err(RequestError::TooManyFiles);
        }
        let files = files.iter().map(|Object(file)| {
            RequestedFile::new(
                file.filename.as_deref(),
                file.size,
                file.content_type.as_deref(),
            )
        });
        Ok(Self {
            files: files.collect::<Result<_, _>>()?,
            batch: true,
        })
    }

    /// Returns the files in the order of the request: at least one, at most 100.
    #[must_use]
    pub fn files(&self) -> &[RequestedFile] {
        &self.files
    }

    /// Returns whether the client sent `{"files":[…]}`, so that the response is `{"uploads":[…]}`.
    #[must_use]
    pub fn is_batch(&self) -> bool {
        self.batch
    }
}

/// What a client claims about one file. All of it is unverified input.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RequestedFile {
    filename: Option<Box<str>>,
    size: Option<u64>,
    content_type: Option<ContentType>,
}

impl RequestedFile {
    /// Returns the name of the file on the machine of the client: any text of at most 1,023 bytes.
    /// Never use it as a path.
    ///
    /// The callback handler gets the same name from
    /// [`VerifiedCallback::requested_filename`](crate::VerifiedCallback::requested_filename), if
    /// tickets are issued.
    #[must_use]
    pub fn filename(&self) -> Option<&str> {
        self.filename.as_deref()
    }

    /// Returns the size in bytes.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// Returns the content type; `None` if the client sent none or an empty one, as browsers do for
    /// files that they do not recognise. Unless the grant has a single type, the service then uses
    /// the extension of [`filename`](Self::filename).
    #[must_use]
    pub fn content_type(&self) -> Option<&ContentType> {
        self.content_type.as_ref()
    }

    /// Sets the name, for tests.
    #[must_use]
    pub fn with_filename(mut self, filename: &str) -> Self {
        self.filename = Some(filename.into());
        self
    }

    /// Sets the size in bytes, for tests.
    #[must_use]
    pub fn with_size(mut self, size: u64) -> Self {
        self.size = Some(size);
        self
    }

    /// Sets the content type, for tests.
    #[must_use]
    pub fn with_content_type(mut self, content_type: ContentType) -> Self {
        self.content_type = Some(content_type);
        self
    }

    pub(super) fn new(
        filename: Option<&str>,
        size: Option<u64>,
        content_type: Option<&str>,
    ) -> Result<Self, RequestError> {
        let filename = filename.filter(|name| !name.is_empty());
        if filename.is_some_and(|name| name.len() > MAX_FILENAME_LEN) {
            return Err(RequestError::Filename);
        }
        // Browsers report an empty type for files that they do not recognise.
        let content_type = content_type
            .filter(|content_type| !content_type.is_empty())
            .map(|content_type| content_type.parse().map_err(|_| RequestError::ContentType))
            .transpose()?;
        Ok(Self {
            filename: filename.map(Into::into),
            size,
            content_type,
        })
    }
}

/// The object that a client requests a download of. An [`Authorize`](super::Authorize) finds it in
/// the extensions of the request parts, instead of [`RequestedFiles`], and returns a
/// [`Grant::read`](super::Grant::read).
///
/// All of it is unverified input. The service signs only what the grant covers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RequestedDownload {
    key: ObjectKey,
    filename: Option<Box<str>>,
    process: Option<Box<str>>,
}

impl RequestedDownload {
    pub(super) fn new(
        key: ObjectKey,
        filename: Option<Box<str>>,
        process: Option<Box<str>>,
    ) -> Self {
        Self {
            key,
            filename,
            process,
        }
    }

    /// Creates the request for one object, for tests of an authoriser that reads it.
    #[must_use]
    pub fn of(key: ObjectKey) -> Self {
        Self::new(key, None, None)
    }

    /// Returns the object.
    #[must_use]
    pub fn key(&self) -> &ObjectKey {
        &self.key
    }

    /// Returns the name under which a browser saves the file: at most 1,023 bytes without control
    /// characters. Without a name, the browser shows the object if it can.
    #[must_use]
    pub fn filename(&self) -> Option<&str> {
        self.filename.as_deref()
    }

    /// Returns the value of `x-oss-process`, such as `image/resize,w_200`. The grant must
    /// [permit](super::Grant::process) it.
    #[must_use]
    pub fn process(&self) -> Option<&str> {
        self.process.as_deref()
    }
}

/// Why a request for tokens cannot be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum RequestError {
    Json,
    Encoding,
    Repeated,
    Filename,
    Size,
    ContentType,
    NoFiles,
    TooManyFiles,
    Both,
}

impl RequestError {
    /// Returns the message for the client.
    pub(super) fn message(self) -> &'static str {
        match self {
            Self::Json => {
                "the body must be a JSON object with filename, size and type, or with files only, \
                each once"
            }
            Self::Encoding => "the query is not percent-encoded UTF-8",
            Self::Repeated => "the query may contain filename, size and type once each",
            Self::Filename => "filename is longer than 1023 bytes",
            Self::Size => "size must be a whole number of bytes",
            Self::ContentType => {
                "type must be one media type without parameters, such as image/png"
            }
            Self::NoFiles => "files is empty",
            Self::TooManyFiles => {
                "files has more than 100 entries; send the rest in another request"
            }
            Self::Both => "send the file in the query or in the body, not in both",
        }
    }
}

/// Returns whether the query requests a file. Parameters with other names are ignored.
pub(super) fn names_file(query: Option<&str>) -> bool {
    pairs(query).any(|(name, _)| matches!(name, "filename" | "size" | "type"))
}

pub(super) fn pairs(query: Option<&str>) -> impl Iterator<Item = (&str, &str)> {
    let pairs = query.unwrap_or_default().split('&');
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// Decodes `application/x-www-form-urlencoded`, but rejects invalid UTF-8 instead of replacing it.
pub(super) fn decode(value: &str) -> Result<Cow<'_, str>, RequestError> {
    if value.contains('+') {
        let spaced = value.replace('+', " ");
        let decoded = percent_decode_str(&spaced).decode_utf8();
        return decoded
            .map(|text| Cow::Owned(text.into_owned()))
            .map_err(|_| RequestError::Encoding);
    }
    percent_decode_str(value)
        .decode_utf8()
        .map_err(|_| RequestError::Encoding)
}

/// Accepts digits only; `str::parse` alone would accept `+5`.
fn parse_size(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body<'a> {
    #[serde(borrow, default)]
    filename: Option<Cow<'a, str>>,
    #[serde(default)]
    size: Option<u64>,
    #[serde(borrow, default, rename = "type")]
    content_type: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    files: Option<Vec<Object<File<'a>>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File<'a> {
    #[serde(borrow, default)]
    filename: Option<Cow<'a, str>>,
    #[serde(default)]
    size: Option<u64>,
    #[serde(borrow, default, rename = "type")]
    content_type: Option<Cow<'a, str>>,
}

/// A struct that is written as a JSON object. Serde's derive would accept an array too.
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ByName<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for ByName<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }

        deserializer.deserialize_map(ByName(PhantomData)).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks() {
        let requested = RequestedFiles::from_json(
            br#" {"type":"image/png","filename":"\u4e2d \"a\".png","size":5} "#,
        )
        .unwrap();
        assert!(!requested.is_batch());
        let [file] = requested.files() else { panic!() };
        assert_eq!(file.filename(), Some("中 \"a\".png"));
        assert_eq!(file.size(), Some(5));
        assert_eq!(file.content_type().unwrap().as_str(), "image/png");

        for nothing in [&b"{}"[..], br#"{"filename":null,"size":null,"type":""}"#] {
            assert_eq!(
                RequestedFiles::from_json(nothing).unwrap().files(),
                [RequestedFile::default()]
            );
        }
        let batch = RequestedFiles::from_json(br#"{"files":[{"size":1},{},{"size":0}]}"#).unwrap();
        assert!(batch.is_batch());
        let sizes: Vec<_> = batch.files().iter().map(RequestedFile::size).collect();
        assert_eq!(sizes, [Some(1), None, Some(0)]);
    }

    #[test]
    fn pl_27_asks_that_cannot_be_read() {
        let deep = format!(
            r#"{{"files":{}{}}}"#,
            "[".repeat(10_000),
            "]".repeat(10_000)
        );
        let deeper = format!(
            r#"{{"a":{}1{}}}"#,
            r#"{"a":"#.repeat(5000),
            "}".repeat(5000)
        );
        for body in [
            "",
            "null",
            "[]",
            "[\"a\",1,\"image/png\"]",
            "\"a\"",
            "{",
            "{} {}",
            "\u{feff}{}",
            r#"{"size":1,"size":1}"#,
            r#"{"size":1,"\u0073ize":1}"#,
            r#"{"colour":"red"}"#,
            r#"{"size":-1}"#,
            r#"{"size":1.5}"#,
            r#"{"size":"1"}"#,
            r#"{"size":NaN}"#,
            r#"{"size":1e400}"#,
            r#"{"size":18446744073709551616}"#,
            r#"{"size":99999999999999999999999999999999999999}"#,
            r#"{"filename":"\ud800"}"#,
            r#"{"files":[],"size":1}"#,
            r#"{"files":{}}"#,
            r#"{"files":[["a",1,"image/png"]]}"#,
            r#"{"files":[{"size":1,"size":2}]}"#,
            r#"{"files":[{"files":[]}]}"#,
            &deep,
            &deeper,
        ] {
            assert_eq!(
                RequestedFiles::from_json(body.as_bytes()).unwrap_err(),
                RequestError::Json,
                "{body}"
            );
        }
        assert_eq!(
            RequestedFiles::from_json(b"{\"filename\":\"\xff\"}").unwrap_err(),
            RequestError::Json
        );
        assert_eq!(
            RequestedFiles::from_json(br#"{"files":[]}"#).unwrap_err(),
            RequestError::NoFiles
        );
        let hundred = |n| format!(r#"{{"files":[{}]}}"#, vec!["{}"; n].join(","));
        assert_eq!(
            RequestedFiles::from_json(hundred(100).as_bytes())
                .unwrap()
                .files()
                .len(),
            100
        );
        assert_eq!(
            RequestedFiles::from_json(hundred(101).as_bytes()).unwrap_err(),
            RequestError::TooManyFiles
        );
    }

    #[test]
    fn queries() {
        let requested = RequestedFiles::from_query(Some(
            "v=1&filename=a+b%20%E4%B8%AD.png&size=1024&type=Image%2Fpng&filenames=x",
        ))
        .unwrap();
        assert!(!requested.is_batch());
        let [file] = requested.files() else { panic!() };
        assert_eq!(file.filename(), Some("a b 中.png"));
        assert_eq!(file.size(), Some(1024));
        assert_eq!(file.content_type().unwrap().as_str(), "image/png");

        for nothing in [
            None,
            Some(""),
            Some("filename=&size=&type="),
            Some("v=2&&="),
        ] {
            let requested = RequestedFiles::from_query(nothing).unwrap();
            assert_eq!(requested.files(), [RequestedFile::default()]);
        }
        assert!(
            names_file(Some("a=b&type=")) && !names_file(Some("a=b&Type=x")) && !names_file(None)
        );
    }

    #[test]
    fn queries_that_cannot_be_read() {
        let long = format!("filename={}", "a".repeat(1024));
        for (query, error) in [
            ("filename=a&filename=a", RequestError::Repeated),
            ("size=1&size=2", RequestError::Repeated),
            ("filename=%FF", RequestError::Encoding),
            (&*long, RequestError::Filename),
            ("size=-1", RequestError::Size),
            ("size=%2B1", RequestError::Size),
            ("size=1.0", RequestError::Size),
            ("size=1e3", RequestError::Size),
            ("size=NaN", RequestError::Size),
            ("size=18446744073709551616", RequestError::Size),
            ("type=png", RequestError::ContentType),
            ("type=image/*", RequestError::ContentType),
            ("type=image/png;a=b", RequestError::ContentType),
            ("type=image/png%0d%0a", RequestError::ContentType),
        ] {
            assert_eq!(
                RequestedFiles::from_query(Some(query)).unwrap_err(),
                error,
                "{query}"
            );
        }
    }
}
