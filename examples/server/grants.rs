//! Who may upload what: everybody, whatever a demonstration needs.

use http::request::Parts;
use serde::{Deserialize, Serialize};
use tower_aliyun_oss::{
    policy::{Grant, Refusal, RequestedFile, RequestedFiles},
    protocol::{ContentType, SizeRange},
};

pub(crate) const MAX_SIZE: u64 = 100 * 1024 * 1024;

/// Text, PDF, images and videos; none that a browser would run.
pub(crate) const TYPES: [&str; 20] = [
    "text/plain",
    "text/csv",
    "text/markdown",
    "application/pdf",
    "image/png",
    "image/jpeg",
    "image/gif",
    "image/webp",
    "image/avif",
    "image/heic",
    "image/heif",
    "image/bmp",
    "image/tiff",
    "video/mp4",
    "video/webm",
    "video/ogg",
    "video/quicktime",
    "video/mpeg",
    "video/x-matroska",
    "video/x-msvideo",
];

/// What a ticket can hold of a name; claims are at most 1 KiB.
const MAX_NAME: usize = 120;

/// What comes back, authentic, with the callback.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Claims {
    /// The name the file has on the uploader's machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<String>,
    /// The page asked for a handler that fails.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) fail: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// One object of a name that nobody can guess.
pub(crate) async fn authorize(parts: &Parts) -> Result<Grant, Refusal> {
    one_object(parts, false)
}

/// The same, for an upload whose callback is going to fail.
pub(crate) async fn authorize_failing(parts: &Parts) -> Result<Grant, Refusal> {
    one_object(parts, true)
}

/// Any name under the prefix that the samples use: everybody can write there, and over what others wrote.
pub(crate) async fn authorize_legacy(_: &Parts) -> Result<Grant, Refusal> {
    let prefix = "user-dir-prefix/".parse().map_err(|_| refused())?;
    let size = SizeRange::new(1, MAX_SIZE).map_err(|_| refused())?;
    Ok(Grant::any_name_under(prefix, size))
}

fn one_object(parts: &Parts, fail: bool) -> Result<Grant, Refusal> {
    let prefix = "demo/".parse().map_err(|_| refused())?;
    let size = SizeRange::new(1, MAX_SIZE).map_err(|_| refused())?;
    let types = TYPES.iter().map(|name| name.parse());
    let types: Vec<ContentType> = types.collect::<Result<_, _>>().map_err(|_| refused())?;
    let asked = parts.extensions.get::<RequestedFiles>();
    let file = asked
        .and_then(|asked| asked.files().first())
        .and_then(RequestedFile::filename)
        .map(|name| name.chars().take(MAX_NAME).collect());
    Ok(Grant::under(prefix, size)
        .content_types(types)
        .claims(&Claims { file, fail }))
}

/// Only if a constant above is none.
fn refused() -> Refusal {
    Refusal::new(http::StatusCode::INTERNAL_SERVER_ERROR)
}
