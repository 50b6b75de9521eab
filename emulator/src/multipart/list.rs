//! `ListParts`.

use http::Response;
use serde::Serialize;

use crate::{
    body::EmulatorBody,
    call::Call,
    catalogue,
    documents::{self, Encoding},
    error::OssError,
    listing::iso8601,
};

/// As many as fit into one answer.
const MAX_PARTS: usize = 1000;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Listing<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding_type: Option<&'static str>,
    bucket: &'a str,
    key: String,
    upload_id: &'a str,
    storage_class: &'a str,
    part_number_marker: u16,
    next_part_number_marker: u16,
    max_parts: usize,
    is_truncated: bool,
    part: Vec<Listed>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    part_number: u16,
    last_modified: String,
    #[serde(rename = "ETag")]
    etag: String,
    #[serde(rename = "HashCrc64ecma")]
    crc64: u64,
    size: u64,
}

/// The parts that have arrived, in order of their numbers.
pub(crate) fn list(call: &Call<'_>) -> Result<Response<EmulatorBody>, OssError> {
    let (id, session) = call.session()?;
    let encoding = Encoding::of(call.query)?;
    let marker = match call.query.get("part-number-marker") {
        None | Some("") => 0,
        Some(marker) => marker.parse().map_err(|_| catalogue::ARGUMENT)?,
    };
    let max = match call.query.get("max-parts") {
        None | Some("") => MAX_PARTS,
        Some(max) => max
            .parse()
            .ok()
            .filter(|max| (1..=MAX_PARTS).contains(max))
            .ok_or(catalogue::ARGUMENT)?,
    };
    let mut after = session.parts.iter().filter(|(number, _)| **number > marker);
    let part: Vec<_> = after
        .by_ref()
        .take(max)
        .map(|(number, part)| Listed {
            part_number: *number,
            last_modified: iso8601(part.stored),
            etag: format!("\"{}\"", part.content.etag()),
            crc64: part.content.crc64,
            size: part.content.size,
        })
        .collect();
    let listing = Listing {
        encoding_type: encoding.name(),
        bucket: session.bucket.as_str(),
        key: encoding.text(&session.description.key),
        upload_id: id,
        storage_class: session.description.storage_class(),
        part_number_marker: marker,
        next_part_number_marker: part.last().map_or(marker, |part| part.part_number),
        max_parts: max,
        is_truncated: after.next().is_some(),
        part,
    };
    documents::response("ListPartsResult", &listing)
}
