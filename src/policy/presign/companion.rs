//! The endpoints of uppy's Companion for S3, of which `companionEndpoint` of `@uppy/aws-s3` is the
//! client.
//!
//! | request | answer |
//! |---|---|
//! | `POST /s3/multipart` | `{"key","uploadId","bucket"}` |
//! | `GET /s3/multipart/ID?key=…` | `[{"PartNumber","Size","ETag"}]` |
//! | `GET /s3/multipart/ID/batch?key=…&partNumbers=1,2` | `{"presignedUrls":{"1":URL}}` |
//! | `GET /s3/multipart/ID/1?key=…` | `{"url","expires"}` |
//! | `POST /s3/multipart/ID/complete?key=…` | `{"location","key","bucket"}` |
//! | `DELETE /s3/multipart/ID?key=…` | `{}` |
//! | `GET /s3/params?filename=…&type=…` | the token of a form |
//!
//! The key that the client gets first, and sends with every other request, is the handle.

use std::borrow::Cow;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method,
    header::{AUTHORIZATION, COOKIE},
};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

use super::{
    ask::{Ask, UploadId},
    client::Client,
    handle::Upload,
    plan::Divider,
    presigner::{NewUpload, Presigner, unix_seconds},
    signing::Signing,
};
use crate::{
    policy::{
        authorize::Authorize,
        document::to_json,
        requested::{Object, RequestedFile, decode, pairs},
        service::{TokenError, TokenErrorKind},
    },
    storage::MultipartStorage,
};

/// The longest body of a completion, as Companion accepts it: 10,000 parts with their ETags.
const MAX_COMPLETE_LEN: usize = 1024 * 1024;

/// The longest body of a new upload.
const MAX_CREATE_LEN: usize = 64 * 1024;

/// The most pages of parts: 10,000 parts, 1,000 in each.
const MAX_PAGES: usize = 10;

/// An endpoint, with the upload that its path names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Endpoint {
    Params,
    Create,
    List(String),
    Batch(String),
    Part(String, u64),
    Complete(String),
    Abort(String),
}

/// Returns what follows `/s3/` in the path, wherever the service is mounted.
pub(super) fn path(path: &str) -> Option<&str> {
    path.rsplit_once("/s3/").map(|(_, rest)| rest)
}

impl Endpoint {
    pub(super) fn of(method: &Method, path: &str) -> Result<Self, TokenError> {
        let unknown = || TokenError::from(TokenErrorKind::UnknownPath);
        let mut segments = path.split('/');
        let named: [Option<&str>; 4] = std::array::from_fn(|_| segments.next());
        let id = |id: &str| {
            let id = percent_decode_str(id).decode_utf8();
            id.map(Cow::into_owned)
                .map_err(|_| TokenError::from(TokenErrorKind::InvalidUploadId))
        };
        Ok(match (method.as_str(), named) {
            ("GET", [Some("params"), None, ..]) => Self::Params,
            ("POST", [Some("multipart"), None, ..]) => Self::Create,
            ("GET", [Some("multipart"), Some(one), None, _]) => Self::List(id(one)?),
            ("DELETE", [Some("multipart"), Some(one), None, _]) => Self::Abort(id(one)?),
            ("GET", [Some("multipart"), Some(one), Some("batch"), None]) => Self::Batch(id(one)?),
            ("POST", [Some("multipart"), Some(one), Some("complete"), None]) => {
                Self::Complete(id(one)?)
            }
            ("GET", [Some("multipart"), Some(one), Some(number), None]) => {
                Self::Part(id(one)?, number_of(number)?)
            }
            _ => return Err(unknown()),
        })
    }

    /// Returns the name of the action in the metrics.
    pub(super) const fn action(&self) -> &'static str {
        match self {
            Self::Params => "params",
            Self::Create => "create",
            Self::List(_) => "list",
            Self::Batch(_) | Self::Part(..) => "parts",
            Self::Complete(_) => "complete",
            Self::Abort(_) => "abort",
        }
    }

    pub(super) fn body_limit(&self) -> Option<usize> {
        match self {
            Self::Create => Some(MAX_CREATE_LEN),
            Self::Complete(_) => Some(MAX_COMPLETE_LEN),
            _ => None,
        }
    }
}

/// Rejects a request of a browser that has cookies or a password and comes from a page of another
/// site. Unlike a request with JSON, a `GET` needs no CORS preflight.
pub(super) fn check_site(headers: &HeaderMap) -> Result<(), TokenError> {
    let other_site = headers
        .get("sec-fetch-site")
        .is_some_and(|site| site == "cross-site");
    let authenticated = headers.contains_key(COOKIE) || headers.contains_key(AUTHORIZATION);
    if other_site && authenticated {
        return Err(TokenErrorKind::CrossSite.into());
    }
    Ok(())
}

fn number_of(text: &str) -> Result<u64, TokenError> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    let number = text.parse().ok().filter(|_| digits);
    number.ok_or_else(|| TokenErrorKind::InvalidPart.into())
}

/// The body of a new upload. `metadata` is ignored: the grant decides what is stored.
#[derive(Deserialize)]
struct Create<'a> {
    #[serde(borrow, default)]
    filename: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "type")]
    content_type: Option<Cow<'a, str>>,
    #[serde(default)]
    size: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Created<'a> {
    key: &'a str,
    upload_id: &'a str,
    bucket: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    part_number: u16,
    size: u64,
    #[serde(rename = "ETag")]
    etag: String,
}

#[derive(Deserialize)]
struct Complete<'a> {
    #[serde(borrow)]
    parts: Vec<Object<CompletedPart<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CompletedPart<'a> {
    part_number: u16,
    #[serde(borrow, rename = "ETag")]
    etag: Cow<'a, str>,
}

#[derive(Serialize)]
struct Completed<'a> {
    location: &'a str,
    key: &'a str,
    bucket: &'a str,
}

const BODY: &str = "the body must be the JSON that uppy sends";

/// Answers a request to an endpoint.
pub(super) async fn answer<A: Authorize>(
    client: &mut Client<A>,
    endpoint: &Endpoint,
    body: &Bytes,
) -> Result<Bytes, TokenError> {
    let storage = client.presigner().storage.clone();
    let storage = storage.ok_or_else(|| TokenError::from(TokenErrorKind::UnknownPath))?;
    let storage = &*storage;
    match endpoint {
        Endpoint::Params => client.form_token().await,
        Endpoint::Create => create(client, storage, body).await,
        Endpoint::List(id) => {
            let (upload, id) = named(client, id)?;
            list(client.presigner(), storage, &upload, &id).await
        }
        Endpoint::Batch(id) => {
            let (upload, id) = named(client, id)?;
            let numbers = parameter(client.query(), "partNumbers")?;
            let numbers: Vec<_> = numbers
                .split(',')
                .map(number_of)
                .collect::<Result<_, _>>()?;
            batch(client.presigner(), &upload, &id, &numbers).await
        }
        Endpoint::Part(id, number) => {
            let (upload, id) = named(client, id)?;
            part(client.presigner(), &upload, &id, *number).await
        }
        Endpoint::Complete(id) => {
            let (upload, id) = named(client, id)?;
            complete(client.presigner(), storage, &upload, &id, body).await
        }
        Endpoint::Abort(id) => {
            let (upload, id) = named(client, id)?;
            let bucket = client.presigner().bucket();
            let aborted = storage
                .abort(bucket, upload.key.as_str(), id.as_str())
                .await;
            aborted.map_err(TokenError::storage)?;
            Ok(Bytes::from_static(b"{}"))
        }
    }
}

/// Returns the upload that the key, which is the handle, and the path name.
fn named<A: Authorize>(
    client: &Client<A>,
    id: &str,
) -> Result<(Upload, UploadId<'static>), TokenError> {
    let handle = parameter(client.query(), "key")?;
    let id = UploadId::new(Cow::Owned(id.to_owned()))?;
    Ok((client.presigner().open(&handle)?, id))
}

/// Returns a parameter of the query, which must be there once.
fn parameter(query: Option<&str>, wanted: &str) -> Result<String, TokenError> {
    let mut values = pairs(query).filter(|(name, _)| *name == wanted);
    match (values.next(), values.next()) {
        (Some((_, value)), None) => Ok(decode(value)?.into_owned()),
        _ => Err(TokenError::invalid(
            "the query must have the parameters of uppy, each once",
        )),
    }
}

async fn create<A: Authorize>(
    client: &mut Client<A>,
    storage: &dyn MultipartStorage,
    body: &[u8],
) -> Result<Bytes, TokenError> {
    let Object(body): Object<Create<'_>> =
        serde_json::from_slice(body).map_err(|_| TokenError::invalid(BODY))?;
    let content_type = body.content_type.as_deref();
    // uppy sends this type for a file without one.
    let content_type = content_type.filter(|one| *one != "application/octet-stream");
    let file = RequestedFile::new(body.filename.as_deref(), body.size, content_type)?;
    let (NewUpload { upload, handle, .. }, _) = client.create(file, Divider::Client).await?;
    let bucket = client.presigner().bucket();
    let headers = headers(&upload.stored());
    let initiated = storage.initiate(bucket, upload.key.as_str(), headers).await;
    let id = initiated.map_err(TokenError::storage)?;
    Ok(to_json(&Created {
        key: &handle,
        upload_id: &id,
        bucket: bucket.as_str(),
    })
    .into())
}

async fn list(
    presigner: &Presigner,
    storage: &dyn MultipartStorage,
    upload: &Upload,
    id: &UploadId<'_>,
) -> Result<Bytes, TokenError> {
    let mut all = Vec::new();
    let mut after = None;
    for _ in 0..MAX_PAGES {
        let (bucket, key) = (presigner.bucket(), upload.key.as_str());
        let page = storage.list_parts(bucket, key, id.as_str(), after).await;
        let page = page.map_err(TokenError::storage)?;
        all.extend(page.parts().iter().map(|part| Listed {
            part_number: part.number(),
            size: part.size(),
            etag: part.etag().to_owned(),
        }));
        after = page.next();
        if after.is_none() {
            break;
        }
    }
    Ok(to_json(&all).into())
}

async fn part(
    presigner: &Presigner,
    upload: &Upload,
    id: &UploadId<'_>,
    number: u64,
) -> Result<Bytes, TokenError> {
    #[derive(Serialize)]
    struct Part<'a> {
        url: &'a str,
        /// In seconds, as Companion has it.
        expires: u64,
    }
    let signing = Signing::new(presigner).await?;
    let request = signing.part(upload, id, number)?;
    let now = unix_seconds(signing.at);
    Ok(to_json(&Part {
        url: &request.url,
        expires: request.expires.saturating_sub(now),
    })
    .into())
}

async fn batch(
    presigner: &Presigner,
    upload: &Upload,
    id: &UploadId<'_>,
    numbers: &[u64],
) -> Result<Bytes, TokenError> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Batch {
        presigned_urls: std::collections::BTreeMap<u64, String>,
    }
    Ask::check_parts(numbers)?;
    let signing = Signing::new(presigner).await?;
    let presigned_urls = numbers
        .iter()
        .map(|number| Ok((*number, signing.part(upload, id, *number)?.url)))
        .collect::<Result<_, TokenError>>()?;
    Ok(to_json(&Batch { presigned_urls }).into())
}

async fn complete(
    presigner: &Presigner,
    storage: &dyn MultipartStorage,
    upload: &Upload,
    id: &UploadId<'_>,
    body: &[u8],
) -> Result<Bytes, TokenError> {
    let Object(body): Object<Complete<'_>> =
        serde_json::from_slice(body).map_err(|_| TokenError::invalid(BODY))?;
    let count = upload.plan().count();
    let parts = body.parts.into_iter().map(|Object(part)| {
        // Nothing of it can end the element of the XML that it becomes.
        let etag = part.etag.trim_matches('"');
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        if etag.is_empty() || etag.len() > 128 || !etag.bytes().all(plain) {
            return Err(TokenError::invalid(BODY));
        }
        if !(1..=count).contains(&part.part_number) {
            return Err(TokenErrorKind::InvalidPart.into());
        }
        Ok((part.part_number, etag.to_owned()))
    });
    let parts: Vec<_> = parts.collect::<Result<_, TokenError>>()?;
    if parts.len() > usize::from(count) {
        return Err(TokenErrorKind::InvalidPart.into());
    }
    let callback = presigner.callback(upload, (presigner.issuer.clock)())?;
    let name = |parameter: &str| match parameter {
        "callback" => "x-oss-callback",
        _ => "x-oss-callback-var",
    };
    let mut sent: Vec<_> = callback
        .iter()
        .map(|(one, value)| (name(one), &**value))
        .collect();
    sent.extend((!upload.overwrite).then_some(("x-oss-forbid-overwrite", "true")));
    let (bucket, key) = (presigner.bucket(), upload.key.as_str());
    let done = storage
        .complete(bucket, key, id.as_str(), &parts, headers(&sent))
        .await;
    if done.map_err(TokenError::storage)?.callback_failed() {
        return Err(TokenErrorKind::CallbackFailed.into());
    }
    let location = presigner.issuer.config.destination.object_url(key);
    Ok(to_json(&Completed {
        location: &location,
        key,
        bucket: bucket.as_str(),
    })
    .into())
}

/// Everything that becomes a header was checked to be one.
fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let header = |(name, value): &(&str, &str)| {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        let mut value = HeaderValue::from_str(value).ok()?;
        // It contains the ticket.
        value.set_sensitive(name.as_str().starts_with("x-oss-callback"));
        Some((name, value))
    };
    pairs.iter().filter_map(header).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        let of = |method: &str, whole: &str| {
            let method = method.parse().unwrap();
            Endpoint::of(&method, path(whole).unwrap()).map_err(|error| error.code().to_owned())
        };
        let id = || "U/1".to_owned();
        for (method, path, expected) in [
            ("GET", "/s3/params", Endpoint::Params),
            ("POST", "/companion/s3/multipart", Endpoint::Create),
            ("GET", "/s3/multipart/U%2F1", Endpoint::List(id())),
            ("GET", "/s3/multipart/U%2F1/batch", Endpoint::Batch(id())),
            ("GET", "/s3/multipart/U%2F1/12", Endpoint::Part(id(), 12)),
            (
                "POST",
                "/s3/multipart/U%2F1/complete",
                Endpoint::Complete(id()),
            ),
            ("DELETE", "/s3/multipart/U%2F1", Endpoint::Abort(id())),
        ] {
            assert_eq!(of(method, path), Ok(expected), "{method} {path}");
        }
        for (method, path, code) in [
            ("GET", "/s3/sts", "UnknownPath"),
            ("PUT", "/s3/multipart", "UnknownPath"),
            ("GET", "/s3/multipart/U/1/2", "UnknownPath"),
            ("GET", "/s3/multipart/U/+1", "InvalidPart"),
            ("GET", "/s3/multipart/U/x", "InvalidPart"),
            ("GET", "/s3/multipart/%FF", "InvalidUploadId"),
        ] {
            assert_eq!(of(method, path), Err(code.to_owned()), "{method} {path}");
        }
    }
}
