//! Multipart uploads: an object uploaded in parts, each by its own request.
//!
//! | function | operation |
//! |---|---|
//! | [`initiate`] | `InitiateMultipartUpload` |
//! | [`upload_part`] | `UploadPart` |
//! | [`list_parts`] | `ListParts` |
//! | [`complete`] | `CompleteMultipartUpload` |
//! | [`abort`] | `AbortMultipartUpload` |
//!
//! Source: the [multipart upload] pages.
//!
//! [multipart upload]: https://www.alibabacloud.com/help/en/oss/developer-reference/initiatemultipartupload

use std::{collections::BTreeMap, sync::Arc};

use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};

use super::commit::{self, Commit, Success};
use crate::{
    body::EmulatorBody,
    context::{RequestContext, store_refusal},
    encoding::Encoding,
    encryption,
    errors::{self, OssError},
    object::{Description, NewObject, Record, acl_of_request},
    report::{UploadReport, UploadStep},
    response::{self, insert_checksums, insert_encryption, iso8601},
    store::{Part, Sealed, Session},
    xml,
};

pub(super) const COMPLETE: &str = "CompleteMultipartUpload";

/// The highest part number.
const MAX_PART: u16 = 10_000;
/// The smallest size of every part except the last, in bytes.
const MIN_PART_SIZE: u64 = 100 * 1024;
/// The largest page of `ListParts`, and its default.
const MAX_LISTED_PARTS: usize = 1000;
/// The largest body of `CompleteMultipartUpload`, in bytes: room for 10,000 parts with their
/// numbers and ETags.
const MAX_DOCUMENT: usize = 4 * 1024 * 1024;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Initiated<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding_type: Option<&'static str>,
    bucket: &'a str,
    key: String,
    upload_id: &'a str,
}

/// `InitiateMultipartUpload`: takes everything about the object except its content.
pub(super) async fn initiate(
    context: &RequestContext<'_>,
) -> Result<Response<EmulatorBody>, OssError> {
    end_idle(context).await;
    let key = context.address.key()?;
    let encoding = Encoding::of(context.query)?;
    let mut object = context.new_object()?;
    let class = &context.bucket.storage_class;
    object.description.inherit_storage_class(class);
    // Random, so that it cannot be guessed: in a bucket open for writing, the id is all that a
    // client needs to add parts to an upload.
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|_| errors::INTERNAL)?;
    let id = base16ct::upper::encode_string(&id);
    let encryption: Vec<_> = object.description.encryption().collect();
    let session = Session {
        bucket: context.bucket.name.clone(),
        description: object.description,
        forbid_overwrite: object.forbid_overwrite,
        sequential: context.query.has("sequential"),
        initiated: context.now,
        parts: BTreeMap::new(),
    };
    let begun = context.shared.store.sessions().begin(&id, session);
    if !begun.await.map_err(|error| store_refusal(&error.into()))? {
        return Err(errors::TOO_MANY_UPLOADS);
    }
    // Removing a bucket removes the uploads in progress, but not one that begins afterwards.
    let store = &context.shared.store;
    if store.buckets().get(&context.bucket.name).is_none() {
        if let Some(session) = store.sessions().take(&id, &context.bucket.name, key) {
            store.sessions().end(&id, session).await;
        }
        return Err(context.no_such_bucket());
    }
    let initiated = Initiated {
        encoding_type: encoding.name(),
        bucket: context.bucket.name.as_str(),
        key: encoding.text(key),
        upload_id: &id,
    };
    let mut response = xml::response("InitiateMultipartUploadResult", &initiated)?;
    response.headers_mut().extend(encryption);
    Ok(response)
}

/// `UploadPart`: stores the body as a part. It replaces an earlier part of the same number.
pub(super) async fn upload_part(
    context: &RequestContext<'_>,
) -> Result<Response<EmulatorBody>, OssError> {
    let number = part_number(context)?;
    let (id, session) = session(context, errors::NO_SUCH_UPLOAD_FOR_PART).await?;
    refuse_encryption(context)?;
    // What is certain to fail is refused before the body is read.
    check_sequence(&session, number)?;
    let part = context.read_object().await?;
    let mut response = response::empty(StatusCode::OK);
    let record = Record::new(session.description, part.content().clone(), context.now);
    insert_checksums(response.headers_mut(), &record);
    insert_encryption(response.headers_mut(), &record.description);
    let unknown = errors::NO_SUCH_UPLOAD_FOR_PART;
    add_part(context, id, number, part, session.sequential, unknown).await?;
    Ok(response)
}

/// Refuses a request that names an encryption after the upload has begun with one, or without.
fn refuse_encryption(context: &RequestContext<'_>) -> Result<(), OssError> {
    let names = encryption::NAMES.into_iter();
    let mut given = names.filter_map(|name| Some((name, context.header(name)?)));
    match given.next() {
        None => Ok(()),
        Some((name, value)) => Err(errors::ARGUMENT.argument(name, value)),
    }
}

pub(super) fn part_number(context: &RequestContext<'_>) -> Result<u16, OssError> {
    let number = context.query.get("partNumber").unwrap_or_default();
    let number = number.parse().ok().filter(|n| (1..=MAX_PART).contains(n));
    number.ok_or(errors::PART_NUMBER)
}

/// Checks that the part follows those of a sequential upload.
fn check_sequence(session: &Session, number: u16) -> Result<(), OssError> {
    if !session.sequential {
        return Ok(());
    }
    let last = session.parts.keys().next_back().copied();
    match last.unwrap_or(0) {
        last if number <= last => Err(errors::PART_EXISTS.detail("PartNumber", number.to_string())),
        last if number == last + 1 => Ok(()),
        _ => Err(errors::PART_NOT_SEQUENTIAL),
    }
}

/// Adds a part. `sequential` is whether the upload takes parts in order only, and `unknown` the error
/// if it was completed or aborted meanwhile.
pub(super) async fn add_part(
    context: &RequestContext<'_>,
    id: &str,
    number: u16,
    part: Sealed,
    sequential: bool,
    unknown: OssError,
) -> Result<(), OssError> {
    let store = &context.shared.store;
    let bucket = &context.bucket.name;
    // Of two requests for the same part, the second is refused.
    let _one = match sequential {
        true => Some(context.shared.sequence.lock().await),
        false => None,
    };
    if sequential && let Some(session) = store.sessions().get(id, bucket, context.address.key()?) {
        check_sequence(&session, number)?;
    }
    let added = store.add_part(id, number, part, context.now).await;
    match added.map_err(|error| store_refusal(&error.into()))? {
        true => Ok(()),
        false => Err(unknown.detail("UploadId", id)),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PartListing<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding_type: Option<&'static str>,
    bucket: &'a str,
    key: String,
    upload_id: &'a str,
    storage_class: &'a str,
    part_number_marker: u16,
    /// Empty without parts: `oss2` requires the element, and the tests of aliyun-oss-java-sdk
    /// expect no number in it.
    next_part_number_marker: Option<u16>,
    max_parts: usize,
    is_truncated: bool,
    #[serde(flatten)]
    client_encryption: ClientEncryption<'a>,
    part: Vec<ListedPart>,
}

/// What a client needs to continue an upload that it encrypts.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ClientEncryption<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    client_encryption_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_encryption_start: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_encryption_cek_alg: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_encryption_wrap_alg: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_encryption_data_size: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_encryption_part_size: Option<&'a str>,
}

impl<'a> ClientEncryption<'a> {
    fn of(description: &'a Description) -> Self {
        let get = |name| description.client_encryption(name);
        Self {
            client_encryption_key: get("key"),
            client_encryption_start: get("start"),
            client_encryption_cek_alg: get("cek-alg"),
            client_encryption_wrap_alg: get("wrap-alg"),
            client_encryption_data_size: get("data-size"),
            client_encryption_part_size: get("part-size"),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListedPart {
    part_number: u16,
    last_modified: String,
    #[serde(rename = "ETag")]
    etag: String,
    #[serde(rename = "HashCrc64ecma")]
    crc64: u64,
    size: u64,
}

/// `ListParts`: returns one page of the uploaded parts, ordered by number.
pub(super) async fn list_parts(
    context: &RequestContext<'_>,
) -> Result<Response<EmulatorBody>, OssError> {
    let (id, session) = session(context, errors::NO_SUCH_UPLOAD_TO_END).await?;
    let encoding = Encoding::of(context.query)?;
    let marker = match context.query.get("part-number-marker") {
        None | Some("") => 0,
        Some(marker) => marker.parse().map_err(|_| errors::ARGUMENT)?,
    };
    let max_parts = match context.query.get("max-parts") {
        None | Some("") => MAX_LISTED_PARTS,
        Some(max) => max
            .parse()
            .ok()
            .filter(|max| (1..=MAX_LISTED_PARTS).contains(max))
            .ok_or(errors::ARGUMENT)?,
    };
    let mut after = session.parts.iter().filter(|(number, _)| **number > marker);
    let part: Vec<_> = after
        .by_ref()
        .take(max_parts)
        .map(|(number, part)| ListedPart {
            part_number: *number,
            last_modified: iso8601(part.stored),
            etag: format!("\"{}\"", part.content.etag()),
            crc64: part.content.crc64,
            size: part.content.size,
        })
        .collect();
    let listing = PartListing {
        encoding_type: encoding.name(),
        bucket: session.bucket.as_str(),
        key: encoding.text(&session.description.key),
        upload_id: id,
        storage_class: session.description.storage_class(),
        part_number_marker: marker,
        next_part_number_marker: part.last().map(|part| part.part_number),
        max_parts,
        is_truncated: after.next().is_some(),
        client_encryption: ClientEncryption::of(&session.description),
        part,
    };
    xml::response("ListPartsResult", &listing)
}

#[derive(Deserialize)]
struct RequestedParts {
    #[serde(rename = "Part", default)]
    parts: Vec<RequestedPart>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RequestedPart {
    part_number: u16,
    #[serde(rename = "ETag")]
    etag: String,
}

/// `CompleteMultipartUpload`: creates the object from the parts that the body lists, or from all
/// parts with `x-oss-complete-all: yes`.
pub(super) async fn complete(
    context: &RequestContext<'_>,
) -> Result<Response<EmulatorBody>, OssError> {
    let mut report = UploadReport::new(COMPLETE, context.request_id, &context.bucket.name);
    report.steps.push(UploadStep::Signature);
    let checked = join_parts(context, &mut report).await;
    commit::finish(context.shared, report, checked).await
}

async fn join_parts(
    context: &RequestContext<'_>,
    report: &mut UploadReport,
) -> Result<Commit, OssError> {
    let (id, mut session) = session(context, errors::NO_SUCH_UPLOAD).await?;
    refuse_encryption(context)?;
    let encoding = Encoding::of(context.query)?;
    let directive = commit::callback_of_request(context, report).await?;
    let headers = context.headers();
    // The headers of this request override those of `InitiateMultipartUpload`.
    let forbid_overwrite = match headers.get("x-oss-forbid-overwrite") {
        None => session.forbid_overwrite,
        Some(value) if value == "true" => true,
        Some(value) if value == "false" => false,
        Some(_) => return Err(errors::FORBID_OVERWRITE),
    };
    if let Some(acl) = acl_of_request(headers)? {
        session.description.set_acl(acl);
    }
    let document = context
        .read_document(MAX_DOCUMENT, errors::MALFORMED_XML)
        .await?;
    let all = headers.get("x-oss-complete-all");
    let parts = if all.is_some_and(|all| all == "yes") {
        if !document.is_empty() {
            let error = errors::COMPLETE_ALL_WITH_BODY;
            return Err(error.argument("x-oss-complete-all", "yes"));
        }
        session.parts.values().cloned().collect()
    } else {
        let requested: RequestedParts = xml::parse(&document)?;
        let mut numbers = (1..).zip(requested.parts.iter().map(|part| part.part_number));
        if session.sequential && !numbers.all(|(expected, number)| number == expected) {
            return Err(errors::PART_NOT_SEQUENTIAL);
        }
        select(&session.parts, &requested)?
    };
    check_sizes(&parts)?;
    check_encrypted_size(&session.description, &parts)?;
    let object = NewObject {
        description: session.description,
        forbid_overwrite,
    };
    commit::check_overwrite(context, &object).await?;

    let bucket = &context.bucket.name;
    let sealed = context
        .shared
        .store
        .join(bucket, parts, session.sequential)
        .await;
    let sealed = sealed.map_err(|error| store_refusal(&error.into()))?;
    report.steps.push(UploadStep::Size);
    // Of concurrent requests that complete the same upload, one takes it and the others fail.
    let sessions = context.shared.store.sessions();
    let taken = sessions.take(id, bucket, &object.description.key);
    let taken = taken.ok_or(errors::NO_SUCH_UPLOAD)?;
    let success = Success::Document {
        status: StatusCode::OK,
        root: "CompleteMultipartUploadResult",
        encoding,
    };
    let commit = Commit::new(context, COMPLETE, object, sealed, directive, success);
    Ok(commit.of_session(id, taken))
}

fn select(
    parts: &BTreeMap<u16, Arc<Part>>,
    requested: &RequestedParts,
) -> Result<Vec<Arc<Part>>, OssError> {
    let numbers = requested.parts.iter().map(|part| part.part_number);
    if !numbers.clone().all(|n| (1..=MAX_PART).contains(&n)) {
        return Err(errors::PART_NUMBER);
    }
    if !numbers.is_sorted_by(|a, b| a < b) {
        return Err(errors::PART_ORDER);
    }
    let found = requested.parts.iter().map(|requested| {
        let part = parts.get(&requested.part_number);
        // SDKs differ in quotes and case.
        let etag = requested.etag.trim_matches('"');
        part.filter(|part| part.content.etag().eq_ignore_ascii_case(etag))
            .cloned()
            .ok_or_else(|| {
                let number = requested.part_number.to_string();
                errors::INVALID_PART.detail("PartNumber", number)
            })
    });
    found.collect()
}

fn check_sizes(parts: &[Arc<Part>]) -> Result<(), OssError> {
    // Without parts, the object is empty.
    let Some((_last, others)) = parts.split_last() else {
        return Ok(());
    };
    match others.iter().find(|part| part.content.size < MIN_PART_SIZE) {
        None => Ok(()),
        Some(part) => Err(errors::PART_TOO_SMALL
            .detail("ProposedSize", part.content.size.to_string())
            .detail("MinSizeAllowed", MIN_PART_SIZE.to_string())),
    }
}

/// Checks the size that a client has announced if it encrypts the object itself.
fn check_encrypted_size(description: &Description, parts: &[Arc<Part>]) -> Result<(), OssError> {
    const SIZE: &str = "x-oss-meta-client-side-encryption-data-size";
    let announced = description.headers().find(|(name, _)| name == SIZE);
    let announced = announced.and_then(|(_, size)| size.to_str().ok()?.parse::<u64>().ok());
    let size: u64 = parts.iter().map(|part| part.content.size).sum();
    match announced {
        Some(announced) if announced != size => Err(errors::ENCRYPTED_SIZE),
        _ => Ok(()),
    }
}

/// `AbortMultipartUpload`: removes the upload and its parts.
pub(super) async fn abort(
    context: &RequestContext<'_>,
) -> Result<Response<EmulatorBody>, OssError> {
    let (id, session) = session(context, errors::NO_SUCH_UPLOAD_TO_END).await?;
    let sessions = context.shared.store.sessions();
    match sessions.take(id, &session.bucket, &session.description.key) {
        Some(taken) => {
            drop(session);
            sessions.end(id, taken).await;
            Ok(response::empty(StatusCode::NO_CONTENT))
        }
        None => Err(errors::NO_SUCH_UPLOAD_TO_END),
    }
}

/// Returns the upload that `uploadId` names, if it is for the bucket and key of the request. The
/// error differs in its EC between operations.
pub(super) async fn session<'a>(
    context: &RequestContext<'a>,
    unknown: OssError,
) -> Result<(&'a str, Session), OssError> {
    end_idle(context).await;
    let id = context.query.get("uploadId").unwrap_or_default();
    let (bucket, key) = (&context.bucket.name, context.address.key()?);
    let session = context.shared.store.sessions().get(id, bucket, key);
    session
        .map(|session| (id, session))
        .ok_or_else(|| unknown.detail("UploadId", id))
}

/// Drops the uploads that were idle for too long, if there is a limit.
pub(super) async fn end_idle(context: &RequestContext<'_>) {
    if let Some(idle) = context.shared.idle_uploads {
        let sessions = context.shared.store.sessions();
        let ended = sessions.end_idle(context.now, idle).await;
        if ended > 0 {
            tracing::debug!(ended, "dropped idle multipart uploads");
        }
    }
}
