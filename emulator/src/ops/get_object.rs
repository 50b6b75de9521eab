//! `GetObject`, `HeadObject` and `GetObjectMeta`.

use std::time::SystemTime;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};

use super::{
    conditions::{Conditions, Verdict},
    find::{Found, find, follow},
    process_image,
    range::Requested,
};
use crate::{
    body::EmulatorBody,
    compression::{accepts_gzip, is_compressible},
    context::RequestContext,
    errors::{self, OssError},
    object::{ObjectKind, Record},
    response::{self, http_date, insert, insert_checksums, restore_info},
};

/// The query parameters that replace response headers.
const OVERRIDES: [(&str, HeaderName); 6] = [
    ("response-cache-control", header::CACHE_CONTROL),
    ("response-content-disposition", header::CONTENT_DISPOSITION),
    ("response-content-encoding", header::CONTENT_ENCODING),
    ("response-content-language", header::CONTENT_LANGUAGE),
    ("response-content-type", header::CONTENT_TYPE),
    ("response-expires", header::EXPIRES),
];

/// The names of [`OVERRIDES`], which `GetObject` knows.
pub(super) const OVERRIDE_NAMES: &[&str] = &[
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    super::PROCESS,
];

/// Returns an object, or one range of it. Requests without a signature read public objects only.
pub(super) async fn run(
    context: &RequestContext<'_>,
    signed: bool,
) -> Result<Response<EmulatorBody>, OssError> {
    let key = context.address.key()?;
    if key.is_empty() {
        return Err(errors::NOT_IMPLEMENTED);
    }
    let is_head = context.parts.method == Method::HEAD;
    if is_head && context.query.has("objectMeta") {
        // Describes a symbolic link, and not its target.
        let found = find(context, key, signed).await?;
        return Ok(meta(&found.record));
    }
    let overrides = overrides(context)?;
    if !overrides.is_empty() && !signed {
        return Err(errors::ANONYMOUS_OVERRIDE);
    }
    let found = follow(context, key, signed).await?;
    let record = &found.record;

    let conditions = Conditions::of_read(context.headers());
    let etag = record.content.etag();
    if conditions.check(&etag, record.stored())? == Verdict::NotModified {
        let mut response = response::empty(StatusCode::NOT_MODIFIED);
        let headers = response.headers_mut();
        insert(headers, header::ETAG, &format!("\"{etag}\""));
        insert(headers, header::LAST_MODIFIED, &http_date(record.stored()));
        return Ok(response);
    }
    if !is_head {
        found.check_state()?;
    }
    let Found { record, stored, .. } = found;
    if let Some(process) = context.query.get(super::PROCESS) {
        let mut response = process_image::read(&record, stored, process).await?;
        response.headers_mut().extend(overrides);
        return Ok(response);
    }

    let size = record.content.size;
    let standard = context.header("x-oss-range-behavior") == Some("standard");
    let range = context.headers().get(header::RANGE);
    let range = match range.map(|range| Requested::parse(range, size, standard)) {
        None | Some(Requested::All) => None,
        Some(Requested::Range(range)) => Some(range),
        Some(Requested::Unsatisfiable) => return Err(errors::INVALID_RANGE),
    };
    let (from, length) = match &range {
        Some(range) => (*range.start(), range.end() - range.start() + 1),
        None => (0, size),
    };
    let body = if is_head {
        EmulatorBody::empty()
    } else {
        let body = EmulatorBody::of(stored, from, length);
        match context.traffic_limit()? {
            Some(limit) => body.limited(limit),
            None => body,
        }
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    insert_object_headers(headers, &record, context.now);
    headers.extend(overrides);
    headers.insert(header::CONTENT_LENGTH, length.into());
    if range.is_none() && is_compressible(headers, size) {
        let accept = HeaderValue::from_static("Accept-Encoding");
        headers.insert(header::VARY, accept);
        if accepts_gzip(context.headers()) {
            return Ok(compressed(response, is_head));
        }
    }
    if let Some(range) = range {
        let text = format!("bytes {}-{}/{size}", range.start(), range.end());
        insert(headers, header::CONTENT_RANGE, &text);
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

/// Compresses the body of a response. What describes the body as it was stored is removed.
fn compressed(mut response: Response<EmulatorBody>, is_head: bool) -> Response<EmulatorBody> {
    let headers = response.headers_mut();
    for name in [header::ACCEPT_RANGES, header::CONTENT_LENGTH, header::ETAG] {
        headers.remove(name);
    }
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    match is_head {
        true => response,
        false => response.map(EmulatorBody::gzip),
    }
}

/// Reads the response headers that the request replaces.
fn overrides(context: &RequestContext<'_>) -> Result<HeaderMap, OssError> {
    let mut headers = HeaderMap::new();
    for (parameter, name) in &OVERRIDES {
        if let Some(value) = context.query.get(parameter) {
            let value = HeaderValue::from_str(value).or_else(|_| {
                // Names of files are UTF-8.
                HeaderValue::from_bytes(value.as_bytes())
            });
            headers.insert(name.clone(), value.map_err(|_| errors::ARGUMENT)?);
        }
    }
    Ok(headers)
}

/// The response of `GetObjectMeta`: the headers of the content only.
fn meta(record: &Record) -> Response<EmulatorBody> {
    let mut response = response::empty(StatusCode::OK);
    let headers = response.headers_mut();
    insert_checksums(headers, record);
    headers.remove("content-md5");
    insert(headers, header::LAST_MODIFIED, &http_date(record.stored()));
    headers.insert(header::CONTENT_LENGTH, record.content.size.into());
    response
}

fn insert_object_headers(headers: &mut HeaderMap, record: &Record, now: SystemTime) {
    let description = &record.description;
    headers.extend(description.headers());
    insert(headers, header::CONTENT_TYPE, &description.content_type);
    insert(headers, header::LAST_MODIFIED, &http_date(record.stored()));
    let acl = HeaderName::from_static("x-oss-object-acl");
    insert(headers, acl, description.acl());
    if !description.tags.is_empty() {
        headers.insert("x-oss-tagging-count", description.tags.len().into());
    }
    let restoration = record.restoration.as_ref();
    if let Some(info) = restoration.and_then(|known| restore_info(known, now)) {
        insert(headers, HeaderName::from_static("x-oss-restore"), &info);
    }
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let object_type = HeaderValue::from_static(record.object_type());
    headers.insert("x-oss-object-type", object_type);
    if record.kind == ObjectKind::Appendable {
        let name = HeaderName::from_static("x-oss-next-append-position");
        headers.insert(name, record.content.size.into());
    }
    if let Some(sealed) = record.sealed() {
        let name = HeaderName::from_static("x-oss-sealed-time");
        insert(headers, name, &http_date(sealed));
    }
    insert_checksums(headers, record);
    if let (ObjectKind::Symlink { .. }, None) = (&record.kind, record.content.parts) {
        // That of the target, if it is not made of parts.
        let md5 = HeaderName::from_static("content-md5");
        insert(headers, md5, &record.content.md5_base64());
    }
}
