//! What a client asks for.

mod json;
mod query;

use crate::protocol::ContentType;

pub(super) use json::from_json;
pub(super) use query::{asks, from_query};

/// The longest name of a file that is read, in bytes: no object has a longer one.
const MAX_FILENAME_LEN: usize = 1023;

/// The files of one batch.
const MAX_FILES: usize = 100;

/// What a client asks for: in the extensions of the parts that an [`Authorize`](super::Authorize) sees.
///
/// One file is asked for in the query (`?filename=a.png&size=1024&type=image/png`) or as a JSON object with the same
/// members, each of which may be left out; up to 100 as `{"files":[…]}`, in at most 64 KiB. All of it is the client's word. The upload is
/// held to it where the grant allows it, so it can be decided upon.
///
/// ```
/// use http::request::Parts;
/// use tower_aliyun_oss::policy::{Grant, Refusal, RequestedFiles};
///
/// async fn authorize(parts: &Parts) -> Result<Grant, Refusal> {
///     let asked = parts.extensions.get::<RequestedFiles>();
///     for file in asked.into_iter().flat_map(RequestedFiles::files) {
///         match file.size() {
///             Some(size) if size <= 10 << 20 => {}
///             // Without a size, the client would get all that is granted.
///             _ => return Err(Refusal::forbidden().message("say the size, at most 10 mib")),
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
    files: Vec<RequestedFile>,
    batch: bool,
}

impl RequestedFiles {
    fn one(file: RequestedFile) -> Self {
        let files = vec![file];
        Self {
            files,
            batch: false,
        }
    }

    /// The files, in the order they were asked for: at least one, at most 100.
    #[must_use]
    pub fn files(&self) -> &[RequestedFile] {
        &self.files
    }

    /// Whether they came as `{"files":[…]}`, so that the answer is `{"uploads":[…]}`.
    #[must_use]
    pub fn is_batch(&self) -> bool {
        self.batch
    }
}

/// What a client says of one file.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RequestedFile {
    filename: Option<Box<str>>,
    size: Option<u64>,
    content_type: Option<ContentType>,
}

impl RequestedFile {
    /// The name of the file on the client's machine: any text of at most 1,023 bytes. It is no path on yours.
    #[must_use]
    pub fn filename(&self) -> Option<&str> {
        self.filename.as_deref()
    }

    /// Its size in bytes.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// Its media type.
    #[must_use]
    pub fn content_type(&self) -> Option<&ContentType> {
        self.content_type.as_ref()
    }

    /// An empty name or type is none: browsers give an empty type for files they do not know.
    fn new(
        filename: Option<&str>,
        size: Option<u64>,
        content_type: Option<&str>,
    ) -> Result<Self, AskError> {
        let filename = filename.filter(|name| !name.is_empty());
        if filename.is_some_and(|name| name.len() > MAX_FILENAME_LEN) {
            return Err(AskError::Filename);
        }
        let content_type = content_type
            .filter(|content_type| !content_type.is_empty())
            .map(|content_type| content_type.parse().map_err(|_| AskError::ContentType))
            .transpose()?;
        Ok(Self {
            filename: filename.map(Into::into),
            size,
            content_type,
        })
    }
}

/// Why what a client asks for cannot be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum AskError {
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

impl AskError {
    pub(super) fn message(self) -> &'static str {
        match self {
            Self::Json => {
                "the body must be a json object with filename, size and type, or with files alone, each once"
            }
            Self::Encoding => "the query is not percent-encoded utf-8",
            Self::Repeated => "filename, size and type may each stand once in the query",
            Self::Filename => "filename is over 1023 bytes",
            Self::Size => "size must be a whole number of bytes",
            Self::ContentType => "type must be one media type without parameters, as in image/png",
            Self::NoFiles => "files is empty",
            Self::TooManyFiles => "files has over 100 entries, ask again for the rest",
            Self::Both => "ask in the query or in the body, not in both",
        }
    }
}
