//! Reads the responses of OSS.

use std::{
    error::Error,
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, Method, Response, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, LAST_MODIFIED},
};
use http_body::Body;
use http_body_util::{BodyExt as _, Limited};
use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};
use percent_encoding::percent_decode_str;

use super::xml::{ErrorDocument, Listing};
use crate::storage::{
    error::{StorageError, StorageErrorKind as Kind},
    metadata::{ObjectMetadata, ObjectPage},
};

/// The longest page of a listing. 1,000 keys of 1,023 bytes are 3 MiB if all bytes are escaped.
pub(super) const MAX_PAGE_LEN: usize = 4 * 1024 * 1024;

/// The longest body of an error.
const MAX_ERROR_LEN: usize = 64 * 1024;

const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");
const X_OSS_ERR: HeaderName = HeaderName::from_static("x-oss-err");
const X_OSS_HASH_CRC64: HeaderName = HeaderName::from_static("x-oss-hash-crc64ecma");
const X_OSS_REQUEST_ID: HeaderName = HeaderName::from_static("x-oss-request-id");
const X_OSS_STORAGE_CLASS: HeaderName = HeaderName::from_static("x-oss-storage-class");
const X_OSS_VERSION_ID: HeaderName = HeaderName::from_static("x-oss-version-id");

/// A success.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Reply {
    /// Reads a response. A status other than 2xx is an error.
    pub(super) async fn read<B>(
        response: Response<B>,
        method: &Method,
        limit: usize,
    ) -> Result<Self, StorageError>
    where
        B: Body,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (head, body) = response.into_parts();
        let is_success = head.status.is_success();
        // A response to HEAD has the length of the object, and no body.
        let body = match *method == Method::HEAD {
            true => Bytes::new(),
            false => {
                let limit = if is_success { limit } else { MAX_ERROR_LEN };
                let body = Limited::new(body, limit).collect().await;
                match body {
                    Ok(body) => body.to_bytes(),
                    // The status counts, without the code.
                    Err(_) if !is_success => Bytes::new(),
                    Err(why) => return Err(StorageError::with_source(Kind::Unreadable, why)),
                }
            }
        };
        if is_success {
            let (status, headers) = (head.status, head.headers);
            return Ok(Self {
                status,
                headers,
                body,
            });
        }
        Err(failure(head.status, &head.headers, &body))
    }
}

fn failure(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> StorageError {
    // A response to HEAD has the document of the error in a header.
    let in_header = headers.get(X_OSS_ERR);
    let in_header = in_header.and_then(|value| STANDARD.decode(value.as_bytes()).ok());
    let document = in_header.as_deref().unwrap_or(body);
    let code = ErrorDocument::parse(document).and_then(|document| plain(&document.code));
    let kind = match (status.as_u16(), code.as_deref()) {
        // A proxy, or a bucket that does not exist, also responds with 404.
        (404, Some("NoSuchKey" | "NoSuchUpload")) => Kind::NotFound,
        (401 | 403, _) => Kind::Denied,
        (429 | 503, _) => Kind::Throttled,
        (408, _) => Kind::TimedOut,
        (500.., _) => Kind::Unavailable,
        _ => Kind::Rejected,
    };
    let request_id = text(headers, &X_OSS_REQUEST_ID).and_then(plain);
    StorageError::of_response(kind, status, code, request_id)
}

/// Returns a text that can be logged: the network controls it.
fn plain(text: &str) -> Option<Box<str>> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    (!text.is_empty() && text.len() <= 64 && text.chars().all(is_plain)).then(|| text.into())
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// Reads the metadata from the headers of a response to HEAD.
pub(super) fn metadata(headers: &HeaderMap) -> Result<ObjectMetadata, StorageError> {
    let number = |name| text(headers, name)?.parse().ok();
    let size = number(&CONTENT_LENGTH).ok_or(Kind::Unreadable)?;
    // Without it, the response is not one of OSS.
    let etag = text(headers, &ETAG).ok_or(Kind::Unreadable)?;
    let mut metadata = ObjectMetadata::new(size).with_etag(etag);
    if let Some(crc64) = number(&X_OSS_HASH_CRC64) {
        metadata = metadata.with_crc64(crc64);
    }
    let modified = text(headers, &LAST_MODIFIED)
        .and_then(|date| DateTimeParser::new().parse_timestamp(date).ok())
        .and_then(system_time);
    if let Some(time) = modified {
        metadata = metadata.with_last_modified(time);
    }
    let texts: [(_, fn(_, &str) -> _); 4] = [
        (CONTENT_MD5, ObjectMetadata::with_content_md5),
        (CONTENT_TYPE, ObjectMetadata::with_content_type),
        (X_OSS_VERSION_ID, ObjectMetadata::with_version_id),
        (X_OSS_STORAGE_CLASS, ObjectMetadata::with_storage_class),
    ];
    Ok(texts.iter().fold(metadata, |metadata, (name, set)| {
        match text(headers, name) {
            Some(text) => set(metadata, text),
            None => metadata,
        }
    }))
}

fn system_time(time: Timestamp) -> Option<SystemTime> {
    let seconds = u64::try_from(time.as_second()).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// Reads a page of a listing.
pub(super) fn page(document: &[u8]) -> Result<ObjectPage, StorageError> {
    let listing =
        Listing::parse(document).map_err(|why| StorageError::with_source(Kind::Unreadable, why))?;
    // Asked for, because XML cannot express all characters of a key.
    if listing.encoding_type.as_deref() != Some("url") {
        return Err(Kind::Unreadable.into());
    }
    let objects = listing.contents.into_iter().map(|object| {
        let key = percent_decode_str(&object.key).decode_utf8();
        let key = key.map_err(|why| StorageError::with_source(Kind::Unreadable, why))?;
        let mut metadata = ObjectMetadata::new(object.size);
        if let Some(etag) = object.etag {
            metadata = metadata.with_etag(&etag);
        }
        if let Some(class) = object.storage_class {
            metadata = metadata.with_storage_class(&class);
        }
        let modified: Option<Timestamp> = object.last_modified.and_then(|time| time.parse().ok());
        if let Some(time) = modified.and_then(system_time) {
            metadata = metadata.with_last_modified(time);
        }
        Ok((key.into_owned(), metadata))
    });
    let objects = objects.collect::<Result<_, StorageError>>()?;
    // A truncated page without a token would end a walk too early.
    let next = match (listing.is_truncated, listing.next_continuation_token) {
        (false, _) => None,
        (true, Some(token)) => Some(token),
        (true, None) => return Err(Kind::Unreadable.into()),
    };
    Ok(ObjectPage::new(objects, next))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| {
                let name = HeaderName::from_static(name);
                (name, HeaderValue::from_str(value).unwrap())
            })
            .collect()
    }

    const ETAG: (&str, &str) = ("etag", "\"5D41402ABC4B2A76B9719D911017C592\"");

    #[test]
    fn metadata_as_oss_sends_it() {
        let found = metadata(&headers(&[
            ("content-length", "5"),
            ETAG,
            ("content-type", "text/plain"),
            ("content-md5", "XUFAKrxLKna5cZ2REBfFkg=="),
            ("last-modified", "Sun, 03 Dec 2023 12:12:12 GMT"),
            ("x-oss-hash-crc64ecma", "3980104229398592138"),
            ("x-oss-version-id", "CAEQNhiBgIDJgPL2"),
            ("x-oss-storage-class", "Standard"),
        ]));
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_701_605_532);
        let expected = ObjectMetadata::new(5)
            .with_etag("5D41402ABC4B2A76B9719D911017C592")
            .with_content_type("text/plain")
            .with_content_md5("XUFAKrxLKna5cZ2REBfFkg==")
            .with_last_modified(time)
            .with_crc64(3_980_104_229_398_592_138)
            .with_version_id("CAEQNhiBgIDJgPL2")
            .with_storage_class("Standard");
        assert_eq!(found.unwrap(), expected);
    }

    #[test]
    fn a_response_of_something_else_is_not_metadata() {
        for pairs in [
            &[ETAG][..],
            &[("content-length", "5")],
            &[("content-length", "-5"), ETAG],
            &[("content-length", "five"), ETAG],
        ] {
            let error = metadata(&headers(pairs)).unwrap_err();
            assert_eq!(error.kind(), Kind::Unreadable, "{pairs:?}");
        }
    }

    #[test]
    fn only_a_missing_key_is_not_found() {
        let document = |code| format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code></Error>");
        for (status, code, kind) in [
            (404, "NoSuchKey", Kind::NotFound),
            (404, "NoSuchBucket", Kind::Rejected),
            (404, "SymlinkTargetNotExist", Kind::Rejected),
            (400, "NoSuchKey", Kind::Rejected),
            (400, "InvalidArgument", Kind::Rejected),
            (301, "", Kind::Rejected),
            (401, "", Kind::Denied),
            (403, "NoSuchKey", Kind::Denied),
            (408, "RequestTimeout", Kind::TimedOut),
            (429, "TooManyRequests", Kind::Throttled),
            (503, "SlowDown", Kind::Throttled),
            (500, "InternalError", Kind::Unavailable),
            (599, "NoSuchKey", Kind::Unavailable),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let document = document(code);
            let in_header = headers(&[("x-oss-err", &STANDARD.encode(&document))]);
            for error in [
                failure(status, &in_header, b""),
                failure(status, &HeaderMap::new(), document.as_bytes()),
            ] {
                assert_eq!(error.kind(), kind, "{status} {code}");
                assert_eq!(error.code().unwrap_or_default(), code);
                assert_eq!(error.status(), Some(status));
            }
        }
        let status = StatusCode::NOT_FOUND;
        for (name, value) in [("x-oss-err", "no Base64"), ("x-oss-err", "PEE+"), ETAG] {
            let error = failure(
                status,
                &headers(&[(name, value)]),
                b"<html>NoSuchKey</html>",
            );
            assert_eq!((error.kind(), error.code()), (Kind::Rejected, None));
        }
    }

    #[test]
    fn texts_of_the_network_are_short_and_plain() {
        let document = b"<Error><Code>a&#10;b</Code></Error>";
        let odd = headers(&[("x-oss-request-id", "6 <b>")]);
        assert_eq!(failure(StatusCode::FORBIDDEN, &odd, b"").request_id(), None);
        let error = failure(StatusCode::FORBIDDEN, &HeaderMap::new(), document);
        assert_eq!(error.code(), None);
        assert_eq!(plain(&"x".repeat(65)), None);
        let known = headers(&[("x-oss-request-id", "656C6F3C0000000000000001")]);
        let error = failure(
            StatusCode::FORBIDDEN,
            &known,
            b"<Error><Code>AccessDenied</Code></Error>",
        );
        assert!(
            error
                .to_string()
                .ends_with("(status 403, code AccessDenied, request id 656C6F3C0000000000000001)")
        );
    }

    #[test]
    fn a_page_of_a_listing() {
        let document = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>
<ListBucketResult><Name>examplebucket</Name><Prefix>a</Prefix><MaxKeys>2</MaxKeys>
<EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>
<Contents><Key>a%01/%E4%B8%AD%2B</Key><LastModified>2023-12-03T12:12:12.000Z</LastModified>
<ETag>\"5D41402ABC4B2A76B9719D911017C592\"</ETag><Type>Normal</Type><Size>5</Size>
<StorageClass>IA</StorageClass><Owner><ID>1</ID><DisplayName>1</DisplayName></Owner></Contents>
<CommonPrefixes><Prefix>a/</Prefix></CommonPrefixes>
<Contents><Key>a2</Key><Size>0</Size></Contents>
<NextContinuationToken>CgJiYw--</NextContinuationToken><KeyCount>2</KeyCount></ListBucketResult>";
        let found = page(document.as_bytes()).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_701_605_532);
        let first = ObjectMetadata::new(5)
            .with_etag("5D41402ABC4B2A76B9719D911017C592")
            .with_last_modified(time)
            .with_storage_class("IA");
        let objects = [
            ("a\u{1}/中+".to_owned(), first),
            ("a2".to_owned(), ObjectMetadata::new(0)),
        ];
        assert_eq!(found.objects(), objects);
        assert_eq!(found.next(), Some("CgJiYw--"));
        for broken in [
            document.replace(
                "<NextContinuationToken>CgJiYw--</NextContinuationToken>",
                "",
            ),
            document.replace("<EncodingType>url</EncodingType>", ""),
            document.replace("<Size>5</Size>", "<Size>-5</Size>"),
            document.replace("a2", "%ff"),
            document.replace("</ListBucketResult>", ""),
            "<html/>".to_owned(),
            String::new(),
        ] {
            let error = page(broken.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), Kind::Unreadable, "{broken}");
        }
        let last = document.replace("<IsTruncated>true", "<IsTruncated>false");
        assert_eq!(page(last.as_bytes()).unwrap().next(), None);
    }

    #[tokio::test]
    async fn bodies_are_bounded() {
        let of = |status: u16, len: usize| {
            let body = http_body_util::Full::new(Bytes::from(vec![b' '; len]));
            Response::builder().status(status).body(body).unwrap()
        };
        let read = |response| async { Reply::read(response, &Method::GET, 10).await };
        assert_eq!(read(of(200, 10)).await.unwrap().body.len(), 10);
        let error = read(of(200, 11)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unreadable);
        let error = read(of(403, MAX_ERROR_LEN + 1)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Denied);
    }
}
