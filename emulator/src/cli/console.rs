//! The endpoints below `/_emulator/`. `GET` and `HEAD` change nothing.

use std::{path::PathBuf, sync::Arc};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, header, request::Parts};
use http_body_util::BodyExt as _;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::{
    guard::Denied,
    history::{Entry as Requested, History, timestamp},
    page::FILES,
    seed,
};
use crate::{
    body::EmulatorBody,
    object::Record,
    query::Query,
    response,
    service::Emulator,
    store::{Entry, Selection},
};
use tower_aliyun_oss::protocol::Bucket;

/// The header `Server` of the console.
pub(super) const SERVER: &str = concat!("aliyun-oss-emulator/", env!("CARGO_PKG_VERSION"));
/// The folder of the page.
const ROOT: &str = "/_emulator/";
/// How many objects one listing has.
const PAGE: usize = 100;
/// Up to how many objects of a bucket are counted.
const MAX_COUNT: usize = 1000;
/// How many uploads in parts are listed.
const MAX_UPLOADS: usize = 100;
/// How much of a text is shown, in bytes.
const MAX_TEXT: u64 = 64 * 1024;
/// The largest image that is shown, in bytes.
const MAX_IMAGE: u64 = 16 * 1024 * 1024;

/// The page may load its own files and images, connect to its server, and run no other script.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";
/// Everything else shows no document.
const DATA_POLICY: &str = "default-src 'none'; frame-ancestors 'none'; sandbox";

/// The console of an emulator.
pub(super) struct Console {
    pub(super) emulator: Emulator,
    pub(super) history: Arc<History>,
    pub(super) seed: Option<PathBuf>,
    /// What the page shows of the settings.
    pub(super) settings: Value,
    /// One reset at a time.
    pub(super) resetting: Mutex<()>,
}

type Answer = Result<Response<EmulatorBody>, (StatusCode, String)>;

impl Console {
    /// Responds to a request that the guard has let through.
    pub(super) async fn respond(&self, parts: &Parts) -> Response<EmulatorBody> {
        let path = parts.uri.path();
        let Some(name) = path.strip_prefix(ROOT) else {
            return redirect();
        };
        let query = Query::of(&parts.uri);
        let reads = matches!(parts.method, Method::GET | Method::HEAD);
        let answer = match (name, reads) {
            ("reset", false) if parts.method == Method::POST => self.reset().await,
            ("reset", _) => return method_not_allowed("POST"),
            (_, false) => return method_not_allowed("GET, HEAD"),
            ("health", _) => Ok(json(&json!({
                "status": "ok",
                "version": env!("CARGO_PKG_VERSION"),
            }))),
            ("callback_key.pem", _) => Ok(self.callback_key()),
            ("requests", _) => self.requests(&query),
            ("settings", _) => Ok(json(&self.settings)),
            ("buckets", _) => self.buckets().await,
            ("objects", _) => self.objects(&query).await,
            ("object", _) => self.object(&query).await,
            ("image", _) => self.image(&query).await,
            ("uploads", _) => Ok(self.uploads()),
            _ => page_file(name).ok_or_else(|| not_found("no such page")),
        };
        answer.unwrap_or_else(|(status, message)| error(status, &message))
    }

    async fn reset(&self) -> Answer {
        let _one = self.resetting.lock().await;
        self.emulator.reset().await.map_err(failed)?;
        self.history.clear();
        let objects = match &self.seed {
            None => 0,
            Some(folder) => seed::store(&self.emulator, folder).await.map_err(failed)?,
        };
        Ok(json(&json!({ "status": "ok", "objects": objects })))
    }

    fn callback_key(&self) -> Response<EmulatorBody> {
        let pem = self.emulator.0.caller.signer.public_key_pem();
        data(
            Bytes::copy_from_slice(pem.as_bytes()),
            "application/x-pem-file",
        )
    }

    /// The requests behind `after` that fit `bucket`, `key`, `operation` and `status`.
    fn requests(&self, query: &Query) -> Answer {
        let after = match query.get("after") {
            None => 0,
            Some(after) => after
                .parse()
                .map_err(|_| bad_request("after must be a sequence number"))?,
        };
        let (mut requests, last) = self.history.after(after);
        for (name, value) in query.iter() {
            let fits: fn(&Requested, &str) -> bool = match name {
                "bucket" => |entry, value| entry.bucket.as_deref() == Some(value),
                "key" => |entry, value| entry.key.as_deref() == Some(value),
                "operation" => |entry, value| entry.operation.as_deref() == Some(value),
                "status" => |entry, value| entry.status.is_some_and(|s| s.to_string() == value),
                "after" => continue,
                _ => {
                    return Err(bad_request(
                        "unknown parameter; use after, bucket, key, operation or status",
                    ));
                }
            };
            requests.retain(|entry| fits(entry, value));
        }
        Ok(json(&json!({ "requests": requests, "last": last })))
    }

    async fn buckets(&self) -> Answer {
        let shared = &self.emulator.0;
        let mut listed = Vec::new();
        for bucket in shared.store.buckets().all() {
            let page = shared
                .store
                .page(&bucket.name, selection("", "", MAX_COUNT));
            let page = page.await.map_err(failed)?;
            listed.push(json!({
                "name": bucket.name.as_str(),
                "acl": bucket.acl.as_str(),
                "objects": page.entries.len(),
                "more": page.is_truncated,
            }));
        }
        Ok(json(&json!({ "buckets": listed })))
    }

    async fn objects(&self, query: &Query) -> Answer {
        let bucket = self.bucket(query)?;
        let get = |name| query.get(name).unwrap_or_default();
        let selection = selection(get("prefix"), get("after"), PAGE);
        let page = self.emulator.0.store.page(&bucket, selection);
        let page = page.await.map_err(failed)?;
        let objects = page.entries.iter().filter_map(|entry| match entry {
            Entry::Object(object) => Some(json!({
                "key": object.key(),
                "size": object.size(),
                "etag": object.etag(),
                "contentType": object.content_type(),
                "lastModified": timestamp(object.last_modified()),
            })),
            Entry::Prefix(_) => None,
        });
        let objects: Vec<_> = objects.collect();
        Ok(json(
            &json!({ "objects": objects, "more": page.is_truncated }),
        ))
    }

    /// The metadata of an object, and what of its content can be shown.
    async fn object(&self, query: &Query) -> Answer {
        let (record, body) = self.read(query, MAX_TEXT).await?;
        let content = &record.content;
        let headers: Vec<_> = record
            .description
            .headers()
            .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
            .collect();
        let preview = match (image_type(&body), text_of(&body, content.size)) {
            (Some(_), _) if content.size <= MAX_IMAGE => json!({ "kind": "image" }),
            (None, Some(text)) => json!({
                "kind": "text",
                "text": text,
                "cut": content.size > MAX_TEXT,
            }),
            _ => json!({ "kind": "none" }),
        };
        Ok(json(&json!({
            "key": record.description.key,
            "size": content.size,
            "contentType": record.description.content_type,
            "etag": content.etag(),
            "crc64": content.crc64.to_string(),
            "lastModified": timestamp(record.stored()),
            "storageClass": record.description.storage_class(),
            "acl": record.description.acl(),
            "headers": headers,
            "preview": preview,
        })))
    }

    /// An object that is an image, whatever type it was uploaded with.
    async fn image(&self, query: &Query) -> Answer {
        let (record, body) = self.read(query, MAX_IMAGE).await?;
        let kind = image_type(&body).filter(|_| record.content.size <= MAX_IMAGE);
        let kind = kind.ok_or_else(|| not_found("the object is not an image that is shown"))?;
        Ok(data(body, kind))
    }

    /// Reads the first `limit` bytes of an object.
    async fn read(
        &self,
        query: &Query,
        limit: u64,
    ) -> Result<(Record, Bytes), (StatusCode, String)> {
        let bucket = self.bucket(query)?;
        let key = query.get("key").unwrap_or_default();
        let found = self.emulator.0.store.get(&bucket, key).await;
        let (record, stored) = found
            .map_err(failed)?
            .ok_or_else(|| not_found("no such object"))?;
        let body = EmulatorBody::of(stored, 0, record.content.size.min(limit));
        let body = body.collect().await.map_err(failed)?.to_bytes();
        Ok((record, body))
    }

    fn bucket(&self, query: &Query) -> Result<Bucket, (StatusCode, String)> {
        let bucket = query.get("bucket").and_then(|name| name.parse().ok());
        bucket
            .filter(|bucket| self.emulator.0.store.buckets().get(bucket).is_some())
            .ok_or_else(|| not_found("no such bucket"))
    }

    fn uploads(&self) -> Response<EmulatorBody> {
        let mut uploads = self.emulator.0.store.sessions().all();
        uploads.sort_by(|(a, _), (b, _)| a.cmp(b));
        let more = uploads.len() > MAX_UPLOADS;
        uploads.truncate(MAX_UPLOADS);
        let uploads: Vec<_> = uploads
            .iter()
            .map(|(id, session)| {
                let parts = session.parts.iter().map(|(number, part)| {
                    json!({
                        "partNumber": number,
                        "size": part.content.size,
                        "etag": part.content.etag(),
                        "lastModified": timestamp(part.stored),
                    })
                });
                json!({
                    "uploadId": id,
                    "bucket": session.bucket.as_str(),
                    "key": session.description.key,
                    "contentType": session.description.content_type,
                    "size": session.parts.values().map(|part| part.content.size).sum::<u64>(),
                    "partCount": session.parts.len(),
                    "parts": parts.take(PAGE).collect::<Vec<_>>(),
                })
            })
            .collect();
        json(&json!({ "uploads": uploads, "more": more }))
    }
}

fn selection<'a>(prefix: &'a str, after: &'a str, limit: usize) -> Selection<'a> {
    Selection {
        prefix,
        delimiter: "",
        after,
        limit,
    }
}

/// Returns the type of an image by its first bytes. SVG is not one: it is a document with scripts.
fn image_type(content: &[u8]) -> Option<&'static str> {
    let starts = |magic: &[u8]| content.starts_with(magic);
    let riff = starts(b"RIFF") && content.get(8..12) == Some(b"WEBP");
    match () {
        () if starts(b"\x89PNG\r\n\x1a\n") => Some("image/png"),
        () if starts(b"\xff\xd8\xff") => Some("image/jpeg"),
        () if starts(b"GIF87a") || starts(b"GIF89a") => Some("image/gif"),
        () if riff => Some("image/webp"),
        () => None,
    }
}

/// Returns the content as text, unless it is binary. A character that the limit cuts is left out.
fn text_of(content: &[u8], size: u64) -> Option<&str> {
    let text = match std::str::from_utf8(content) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() && size > content.len() as u64 => {
            std::str::from_utf8(content.get(..error.valid_up_to())?).ok()?
        }
        Err(_) => return None,
    };
    (!text.contains('\0')).then_some(text)
}

fn page_file(name: &str) -> Option<Response<EmulatorBody>> {
    let file = FILES.iter().find(|file| file.name == name)?;
    let mut response = data(Bytes::from_static(file.content), file.content_type);
    let policy = HeaderValue::from_static(PAGE_POLICY);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    Some(response)
}

fn json(value: &impl Serialize) -> Response<EmulatorBody> {
    match serde_json::to_vec(value) {
        Ok(text) => data(text.into(), "application/json"),
        Err(cause) => error(StatusCode::INTERNAL_SERVER_ERROR, &cause.to_string()),
    }
}

/// A response that no page of another origin can read, include or show.
fn data(body: Bytes, content_type: &'static str) -> Response<EmulatorBody> {
    let mut response = response::typed(body, content_type);
    let headers = response.headers_mut();
    for (name, value) in [
        (header::SERVER, SERVER),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, DATA_POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn error(status: StatusCode, message: &str) -> Response<EmulatorBody> {
    let mut response = data(
        json!({ "error": message }).to_string().into(),
        "application/json",
    );
    *response.status_mut() = status;
    response
}

/// The response to a request that the guard refuses.
pub(super) fn denied(reason: Denied) -> Response<EmulatorBody> {
    error(StatusCode::FORBIDDEN, reason.message())
}

fn method_not_allowed(allowed: &'static str) -> Response<EmulatorBody> {
    let message = format!("the method is not allowed; use {allowed}");
    let mut response = error(StatusCode::METHOD_NOT_ALLOWED, &message);
    let allowed = HeaderValue::from_static(allowed);
    response.headers_mut().insert(header::ALLOW, allowed);
    response
}

fn redirect() -> Response<EmulatorBody> {
    let mut response = data(Bytes::new(), "text/plain");
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    let location = HeaderValue::from_static(ROOT);
    response.headers_mut().insert(header::LOCATION, location);
    response
}

fn not_found(message: &str) -> (StatusCode, String) {
    (StatusCode::NOT_FOUND, message.to_owned())
}

fn bad_request(message: &str) -> (StatusCode, String) {
    (StatusCode::BAD_REQUEST, message.to_owned())
}

fn failed(error: impl std::fmt::Display) -> (StatusCode, String) {
    tracing::error!(%error, "the console failed to access the objects");
    let message = format!("failed to access the objects: {error}");
    (StatusCode::INTERNAL_SERVER_ERROR, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_known_by_their_content() {
        for (content, expected) in [
            (&b"\x89PNG\r\n\x1a\n..."[..], Some("image/png")),
            (b"\xff\xd8\xff\xe0", Some("image/jpeg")),
            (b"GIF89a", Some("image/gif")),
            (b"RIFF....WEBPVP8 ", Some("image/webp")),
            (b"<svg onload='alert(1)'>", None),
            (b"<html>", None),
            (b"", None),
            (b"\x89PN", None),
        ] {
            assert_eq!(image_type(content), expected, "{content:?}");
        }
    }

    #[test]
    fn only_whole_characters_of_texts_are_shown() {
        let text = "aé".as_bytes();
        for (content, size, expected) in [
            (text, 3, Some("aé")),
            (&text[..2], 3, Some("a")),
            (&text[..2], 2, None),
            (b"a\0b", 3, None),
            (b"\xff\xfea", 3, None),
            (b"", 0, Some("")),
        ] {
            assert_eq!(text_of(content, size), expected, "{content:?}");
        }
    }
}
