//! The XML documents of OSS.

use quick_xml::DeError;
use serde::Deserialize;

/// The document of an error.
#[derive(Debug, Deserialize)]
pub(super) struct ErrorDocument {
    #[serde(rename = "Code")]
    pub(super) code: String,
}

impl ErrorDocument {
    pub(super) fn parse(document: &[u8]) -> Option<Self> {
        quick_xml::de::from_reader(document).ok()
    }
}

/// The document of an `InitiateMultipartUpload`.
#[derive(Debug, Deserialize)]
#[serde(rename = "InitiateMultipartUploadResult", rename_all = "PascalCase")]
pub(super) struct Initiated {
    pub(super) upload_id: String,
}

/// The document of a `ListParts`.
#[derive(Debug, Deserialize)]
#[serde(rename = "ListPartsResult", rename_all = "PascalCase")]
pub(super) struct PartListing {
    pub(super) is_truncated: bool,
    pub(super) next_part_number_marker: Option<u16>,
    #[serde(default, rename = "Part")]
    pub(super) parts: Vec<ListedPart>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListedPart {
    pub(super) part_number: u16,
    #[serde(rename = "ETag")]
    pub(super) etag: String,
    pub(super) size: u64,
}

/// The document of a `ListObjectsV2`. Elements that are not needed are skipped.
#[derive(Debug, Deserialize)]
#[serde(rename = "ListBucketResult", rename_all = "PascalCase")]
pub(super) struct Listing {
    pub(super) is_truncated: bool,
    pub(super) encoding_type: Option<String>,
    pub(super) next_continuation_token: Option<String>,
    #[serde(default)]
    pub(super) contents: Vec<ListedObject>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListedObject {
    pub(super) key: String,
    pub(super) size: u64,
    #[serde(rename = "ETag")]
    pub(super) etag: Option<String>,
    pub(super) last_modified: Option<String>,
    pub(super) storage_class: Option<String>,
}

impl Listing {
    pub(super) fn parse(document: &[u8]) -> Result<Self, DeError> {
        quick_xml::de::from_reader(document)
    }
}
