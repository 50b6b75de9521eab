//! Uploads in parts.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, header::CONTENT_TYPE};

use super::{
    Call, OssClient,
    response::Reply,
    xml::{Initiated, PartListing},
};
use crate::{
    Lookup,
    protocol::Bucket,
    storage::{
        error::{StorageError, StorageErrorKind as Kind},
        multipart::{CompletedUpload, MultipartStorage, PartPage, StoredPart},
    },
};

/// The longest document of these operations: a page of 1,000 parts, and the response of a callback,
/// which OSS limits to 1 MiB.
const MAX_LEN: usize = 2 * 1024 * 1024;

/// The least time for a completion: OSS waits 5 s for each of up to five callback URLs.
const COMPLETE_TIMEOUT: Duration = Duration::from_secs(30);

/// The status of a request whose callback failed.
const CALLBACK_FAILED: u16 = 203;

/// Creates, lists, completes and aborts uploads in parts.
///
/// A completion takes up to 30 s, because OSS calls back before it responds; a longer
/// [`timeout`](OssClient::timeout) applies to it, too. The AccessKey needs `oss:PutObject`,
/// `oss:ListParts` and `oss:AbortMultipartUpload`.
impl MultipartStorage for OssClient {
    fn initiate(
        &self,
        bucket: &Bucket,
        key: &str,
        headers: HeaderMap,
    ) -> Lookup<String, StorageError> {
        let query = vec![("uploads", String::new())];
        let call = Call {
            headers,
            // Each creates an upload of its own.
            repeatable: false,
            ..Call::new(self, Method::POST, bucket, key, query)
        };
        Lookup::pending(async move {
            let reply = call.send(MAX_LEN).await?;
            let document: Initiated = parse(&reply)?;
            Ok(document.upload_id)
        })
    }

    fn list_parts(
        &self,
        bucket: &Bucket,
        key: &str,
        upload_id: &str,
        after: Option<u16>,
    ) -> Lookup<PartPage, StorageError> {
        let mut query = vec![("uploadId", upload_id.to_owned())];
        query.extend(after.map(|after| ("part-number-marker", after.to_string())));
        let call = Call::new(self, Method::GET, bucket, key, query);
        Lookup::pending(async move {
            let reply = call.send(MAX_LEN).await?;
            let listing: PartListing = parse(&reply)?;
            // A truncated page without a marker would end a walk too early.
            let next = match (listing.is_truncated, listing.next_part_number_marker) {
                (false, _) => None,
                (true, Some(next)) => Some(next),
                (true, None) => return Err(Kind::Unreadable.into()),
            };
            let parts = listing.parts.iter();
            let parts = parts.map(|part| StoredPart::new(part.part_number, part.size, &part.etag));
            Ok(PartPage::new(parts.collect(), next))
        })
    }

    fn complete(
        &self,
        bucket: &Bucket,
        key: &str,
        upload_id: &str,
        parts: &[(u16, String)],
        mut headers: HeaderMap,
    ) -> Lookup<CompletedUpload, StorageError> {
        let mut document = String::from("<CompleteMultipartUpload>");
        for (number, etag) in parts {
            // An ETag is hex in quotes. Whatever else it is, it cannot end the element.
            if etag.contains(['<', '>', '&']) {
                let why = "an ETag contains characters of XML";
                return Lookup::Ready(Err(StorageError::with_source(Kind::Rejected, why)));
            }
            document +=
                &format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>");
        }
        document += "</CompleteMultipartUpload>";
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        let query = vec![("uploadId", upload_id.to_owned())];
        let call = Call {
            headers,
            body: document.into(),
            // The second would find no upload, although the first has completed it.
            repeatable: false,
            least_timeout: COMPLETE_TIMEOUT,
            ..Call::new(self, Method::POST, bucket, key, query)
        };
        Lookup::pending(async move {
            let reply = call.send(MAX_LEN).await?;
            Ok(CompletedUpload::new(reply.status == CALLBACK_FAILED))
        })
    }

    fn abort(&self, bucket: &Bucket, key: &str, upload_id: &str) -> Lookup<(), StorageError> {
        let query = vec![("uploadId", upload_id.to_owned())];
        let call = Call::new(self, Method::DELETE, bucket, key, query);
        Lookup::pending(async move { call.send(0).await.map(drop) })
    }
}

fn parse<T: serde::de::DeserializeOwned>(reply: &Reply) -> Result<T, StorageError> {
    quick_xml::de::from_reader(&*reply.body)
        .map_err(|why| StorageError::with_source(Kind::Unreadable, why))
}
