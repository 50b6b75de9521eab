//! Uploads in parts (multipart uploads).

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use aliyun_oss_emulator::{Emulator, EmulatorBuilder, ObjectStore};
use http::{Method, Response};
use http_body_util::Full;
use serde_json::json;

use super::{
    client::{ask, put, read, today},
    support::{Answer, BUCKET, OneServer, callback},
};

const PART: usize = 100 * 1024;

async fn initiate(emulator: &Emulator, target: &str, headers: &[(&str, &str)]) -> String {
    let target = format!("{target}?uploads");
    let answer = ask(emulator, Method::POST, &target, headers, b"").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.element("UploadId").unwrap()
}

async fn part(emulator: &Emulator, target: &str, id: &str, number: u32, data: &[u8]) -> String {
    let target = format!("{target}?partNumber={number}&uploadId={id}");
    let answer = put(emulator, &target, &[], data).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, ""));
    answer.header("etag").unwrap().to_owned()
}

fn list(parts: &[(u32, &str)]) -> String {
    let mut xml = String::from("<CompleteMultipartUpload>");
    for (number, etag) in parts {
        xml += &format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>");
    }
    xml + "</CompleteMultipartUpload>"
}

async fn complete(
    emulator: &Emulator,
    target: &str,
    id: &str,
    headers: &[(&str, &str)],
    xml: &str,
) -> Answer {
    let target = format!("{target}?uploadId={id}");
    ask(emulator, Method::POST, &target, headers, xml.as_bytes()).await
}

async fn is_empty(emulator: &Emulator) -> bool {
    let list = emulator.store().list(&BUCKET.parse().unwrap()).await;
    list.unwrap().is_empty()
}

fn temporary_files(folder: &Path) -> usize {
    std::fs::read_dir(folder.join(".aliyun-oss-emulator-uploads"))
        .unwrap()
        .count()
}

/// Returns a builder for each kind of store.
fn builders(folder: &Path) -> [EmulatorBuilder; 2] {
    let store = ObjectStore::folder(folder).unwrap();
    [today(), today().store(store)]
}

#[tokio::test]
async fn names_are_encoded_if_the_client_wants_them_so() {
    let emulator = today().build().unwrap();
    let target = "/a%20b/%2B%E4%B8%AD";
    for (parameter, key, encoding) in [
        ("", "a b/+中", None),
        ("&encoding-type=url", "a%20b%2F%2B%E4%B8%AD", Some("url")),
    ] {
        let id = initiate(&emulator, target, &[]).await;
        let etag = part(&emulator, target, &id, 1, b"x").await;
        let xml = list(&[(1, &etag)]);
        let id = format!("{id}{parameter}");
        let answer = complete(&emulator, target, &id, &[], &xml).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.element("Key").unwrap(), key);
        assert_eq!(answer.element("EncodingType").as_deref(), encoding);
        assert_eq!(read(&emulator, target).await.text(), "x");
    }
}

#[tokio::test]
async fn parts_become_an_object_when_all_are_there() {
    let folder = tempfile::tempdir().unwrap();
    for builder in builders(folder.path()) {
        let emulator = builder.build().unwrap();
        let headers = [("content-type", "text/plain"), ("x-oss-meta-a", "b")];
        let id = initiate(&emulator, "/a%20b", &headers).await;
        // Parts may arrive in any order and be replaced.
        let second = part(&emulator, "/a%20b", &id, 7, b"end").await;
        part(&emulator, "/a%20b", &id, 2, b"not this").await;
        let first = part(&emulator, "/a%20b", &id, 2, &vec![b'x'; PART]).await;
        assert!(is_empty(&emulator).await);
        let answer = read(&emulator, "/a%20b").await;
        answer.assert_refused(404, "NoSuchKey", "0026-00000001");

        let xml = list(&[(2, &first), (7, &second.to_lowercase().replace('"', ""))]);
        let answer = complete(&emulator, "/a%20b", &id, &[], &xml).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.element("Key").unwrap(), "a b");
        assert_eq!(answer.element("Bucket").unwrap(), BUCKET);
        assert!(answer.element("Location").unwrap().ends_with("/a%20b"));
        let etag = answer.element("ETag").unwrap();
        assert_eq!(answer.header("etag"), Some(&*etag));
        assert!(etag.ends_with("-2\""), "{etag}");
        let crc64 = answer.header("x-oss-hash-crc64ecma").unwrap().to_owned();

        let answer = read(&emulator, "/a%20b").await;
        assert_eq!(answer.text(), "x".repeat(PART) + "end");
        for (name, value) in headers {
            assert_eq!(answer.header(name), Some(value));
        }
        assert_eq!(answer.header("content-md5"), None);
        assert_eq!(answer.header("x-oss-object-type"), Some("Multipart"));
        // The checksum equals that of the same bytes in one upload.
        let whole = put(&emulator, "/whole", &[], &answer.body).await;
        assert_eq!(whole.header("x-oss-hash-crc64ecma"), Some(&*crc64));
        let again = complete(&emulator, "/a%20b", &id, &[], &xml).await;
        again.assert_refused(404, "NoSuchUpload", "");
    }
    assert_eq!(temporary_files(folder.path()), 0);
}

#[tokio::test]
async fn lists_that_do_not_fit_leave_the_upload_as_it_is() {
    let emulator = today().build().unwrap();
    let id = initiate(&emulator, "/a", &[]).await;
    let first = part(&emulator, "/a", &id, 1, &vec![0; PART]).await;
    let small = part(&emulator, "/a", &id, 2, b"small").await;
    let third = part(&emulator, "/a", &id, 3, b"end").await;
    for (xml, code) in [
        (
            list(&[(1, &first), (2, &small), (3, &third)]),
            "EntityTooSmall",
        ),
        (list(&[(3, &third), (1, &first)]), "InvalidPartOrder"),
        (list(&[(1, &first), (1, &first)]), "InvalidPartOrder"),
        (list(&[(1, &third), (3, &third)]), "InvalidPart"),
        (list(&[(1, &first), (4, &third)]), "InvalidPart"),
        (list(&[(0, &first)]), "InvalidArgument"),
        (list(&[(10_001, &first)]), "InvalidArgument"),
        (list(&[(70_000, &first)]), "MalformedXML"),
        (String::new(), "MalformedXML"),
        ("<CompleteMultipartUpload><Part>".to_owned(), "MalformedXML"),
        (
            "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>".to_owned(),
            "MalformedXML",
        ),
        ("x".repeat(5 << 20), "MalformedXML"),
    ] {
        let answer = complete(&emulator, "/a", &id, &[], &xml).await;
        let shown = &xml[..xml.len().min(80)];
        assert_eq!(answer.status, 400, "{shown} {}", answer.text());
        assert_eq!(answer.element("Code").unwrap(), code, "{shown}");
    }
    let xml = list(&[(1, &first), (3, &third)]);
    let wrong = [("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")];
    let answer = complete(&emulator, "/a", &id, &wrong, &xml).await;
    answer.assert_refused(400, "InvalidDigest", "");
    // A different name or id does not match the upload.
    for (target, id) in [("/b", &*id), ("/a", "0"), ("/a", "")] {
        let answer = complete(&emulator, target, id, &[], &xml).await;
        answer.assert_refused(404, "NoSuchUpload", "");
    }
    assert!(is_empty(&emulator).await);
    let answer = complete(&emulator, "/a", &id, &[], &xml).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn numbers_of_parts() {
    let emulator = today().build().unwrap();
    let id = initiate(&emulator, "/a", &[]).await;
    for number in ["", "0", "10001", "-1", "a", "1.0"] {
        let target = format!("/a?partNumber={number}&uploadId={id}");
        let answer = put(&emulator, &target, &[], b"x").await;
        answer.assert_refused(400, "InvalidArgument", "");
    }
    let answer = put(&emulator, "/a?partNumber=1", &[], b"x").await;
    answer.assert_refused(404, "NoSuchUpload", "0042-00000104");
    part(&emulator, "/a", &id, 10_000, b"x").await;
}

#[tokio::test]
async fn parts_are_listed_a_page_at_a_time() {
    let emulator = today().build().unwrap();
    let id = initiate(&emulator, "/a%20b", &[]).await;
    for number in [5, 1, 3] {
        part(&emulator, "/a%20b", &id, number, &vec![0; number as usize]).await;
    }
    let page = async |query: &str| {
        let target = format!("/a%20b?uploadId={id}{query}");
        let answer = ask(&emulator, Method::GET, &target, &[], b"").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let numbers: Vec<_> = answer
            .text()
            .split("<PartNumber>")
            .skip(1)
            .map(|rest| rest.split('<').next().unwrap().to_owned())
            .collect();
        let truncated = answer.element("IsTruncated").unwrap();
        let next = answer.element("NextPartNumberMarker").unwrap_or_default();
        (
            numbers.join(" "),
            truncated,
            next,
            answer.element("Key").unwrap(),
        )
    };
    let of = |a: &str, b: &str, c: &str, d: &str| (a.into(), b.into(), c.into(), d.into());
    assert_eq!(page("").await, of("1 3 5", "false", "5", "a b"));
    assert_eq!(page("&max-parts=2").await, of("1 3", "true", "3", "a b"));
    assert_eq!(
        page("&max-parts=2&part-number-marker=3&encoding-type=url").await,
        of("5", "false", "5", "a%20b")
    );
    assert_eq!(
        page("&part-number-marker=5").await,
        of("", "false", "", "a b")
    );
    for odd in [
        "max-parts=0",
        "max-parts=1001",
        "part-number-marker=x",
        "encoding-type=x",
    ] {
        let target = format!("/a%20b?uploadId={id}&{odd}");
        let answer = ask(&emulator, Method::GET, &target, &[], b"").await;
        answer.assert_refused(400, "InvalidArgument", "");
    }
}

/// The SDKs read it to continue an upload that they encrypt.
#[tokio::test]
async fn a_list_of_parts_shows_the_encryption_of_the_client() {
    let emulator = today().build().unwrap();
    let names = [
        ("key", "ClientEncryptionKey", "a+b/c="),
        ("start", "ClientEncryptionStart", "d"),
        ("cek-alg", "ClientEncryptionCekAlg", "AES/CTR/NoPadding"),
        (
            "wrap-alg",
            "ClientEncryptionWrapAlg",
            "RSA/NONE/PKCS1Padding",
        ),
        ("data-size", "ClientEncryptionDataSize", "409600"),
        ("part-size", "ClientEncryptionPartSize", "102400"),
    ];
    let headers = names.map(|(name, _, value)| {
        let name = format!("x-oss-meta-client-side-encryption-{name}");
        (name, value)
    });
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| (&**name, *value))
        .collect();
    for (headers, is_encrypted) in [(&headers[..], true), (&[], false)] {
        let id = initiate(&emulator, "/a", headers).await;
        let target = format!("/a?uploadId={id}");
        let answer = ask(&emulator, Method::GET, &target, &[], b"").await;
        for (_, element, value) in names {
            let expected = is_encrypted.then(|| value.to_owned());
            assert_eq!(answer.element(element), expected, "{element}");
        }
    }
}

#[tokio::test]
async fn what_is_aborted_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for builder in builders(folder.path()) {
        let emulator = builder.build().unwrap();
        let id = initiate(&emulator, "/a", &[]).await;
        part(&emulator, "/a", &id, 1, b"x").await;
        let target = format!("/a?uploadId={id}");
        let answer = ask(&emulator, Method::DELETE, &target, &[], b"").await;
        assert_eq!((answer.status.as_u16(), answer.text()), (204, ""));
        for (method, target, ec) in [
            (Method::DELETE, target.clone(), "0042-00000002"),
            (Method::GET, target.clone(), "0042-00000002"),
            (
                Method::PUT,
                format!("{target}&partNumber=1"),
                "0042-00000104",
            ),
        ] {
            let answer = ask(&emulator, method, &target, &[], b"x").await;
            answer.assert_refused(404, "NoSuchUpload", ec);
        }
        assert!(is_empty(&emulator).await);
    }
    assert_eq!(temporary_files(folder.path()), 0);
}

/// Parts count towards the limit. The completed object does not count twice, and removed data no
/// longer counts.
#[tokio::test]
async fn parts_take_room_in_memory() {
    let limit = 3 * PART as u64;
    let emulator = today().store(ObjectStore::memory(limit)).build().unwrap();
    let data = vec![0; PART];
    let id = initiate(&emulator, "/a", &[]).await;
    let first = part(&emulator, "/a", &id, 1, &data).await;
    let second = part(&emulator, "/a", &id, 2, &data).await;
    let dropped = part(&emulator, "/a", &id, 3, &data).await;
    let full = put(&emulator, "/b", &[], b"x").await;
    full.assert_refused(500, "InternalError", "");
    assert!(!dropped.is_empty());
    let xml = list(&[(1, &first), (2, &second)]);
    let answer = complete(&emulator, "/a", &id, &[], &xml).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    // The unlisted part was removed.
    assert_eq!(put(&emulator, "/b", &[], &data).await.status, 200);
    let full = put(&emulator, "/c", &[], b"x").await;
    full.assert_refused(500, "InternalError", "");
    let answer = ask(&emulator, Method::DELETE, "/a", &[], b"").await;
    assert_eq!(answer.status, 204);
    assert_eq!(put(&emulator, "/c", &[], &data).await.status, 200);
}

#[tokio::test]
async fn of_two_that_complete_the_same_one_does() {
    let emulator = today().build().unwrap();
    for _ in 0..20 {
        let id = initiate(&emulator, "/a", &[]).await;
        let etag = part(&emulator, "/a", &id, 1, b"x").await;
        let xml = list(&[(1, &etag)]);
        let (a, b) = tokio::join!(
            complete(&emulator, "/a", &id, &[], &xml),
            complete(&emulator, "/a", &id, &[], &xml)
        );
        let mut statuses = [a.status.as_u16(), b.status.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 404]);
    }
}

#[tokio::test]
async fn the_acl_comes_at_the_beginning_or_at_the_end() {
    let emulator = today().build().unwrap();
    let public = ("x-oss-object-acl", "public-read");
    let private = ("x-oss-object-acl", "private");
    for (begin, end, acl) in [
        (&[][..], &[private][..], "private"),
        (&[private], &[], "private"),
        (&[private], &[public], "public-read"),
        (&[], &[("x-oss-object-acl", "")], "default"),
    ] {
        let id = initiate(&emulator, "/a", begin).await;
        let etag = part(&emulator, "/a", &id, 1, b"x").await;
        let xml = list(&[(1, &etag)]);
        let answer = complete(&emulator, "/a", &id, end, &xml).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = ask(&emulator, Method::GET, "/a?acl", &[], b"").await;
        assert_eq!(answer.element("Grant").as_deref(), Some(acl));
    }
    let id = initiate(&emulator, "/a", &[]).await;
    let odd = [("x-oss-object-acl", "secret")];
    let answer = complete(&emulator, "/a", &id, &odd, &list(&[])).await;
    answer.assert_refused(400, "InvalidArgument", "");
}

#[tokio::test]
async fn overwriting_can_be_forbidden_from_the_beginning_or_at_the_end() {
    let emulator = today().build().unwrap();
    put(&emulator, "/a", &[], b"there").await;
    let forbid = ("x-oss-forbid-overwrite", "true");
    for (begin, end) in [(&[forbid][..], &[][..]), (&[], &[forbid])] {
        let id = initiate(&emulator, "/a", begin).await;
        let etag = part(&emulator, "/a", &id, 1, b"x").await;
        let xml = list(&[(1, &etag)]);
        let answer = complete(&emulator, "/a", &id, end, &xml).await;
        answer.assert_refused(409, "FileAlreadyExists", "");
        assert_eq!(read(&emulator, "/a").await.text(), "there");
        // The upload continues, and can still be completed.
        let answer = ask(
            &emulator,
            Method::GET,
            &format!("/a?uploadId={id}"),
            &[],
            b"",
        )
        .await;
        assert_eq!(answer.status, 200);
    }
}

#[tokio::test]
async fn a_callback_comes_after_the_last_part() {
    let bodies: Arc<Mutex<Vec<String>>> = Arc::default();
    let keep = bodies.clone();
    let server = OneServer::http(move |request: http::Request<hyper::body::Incoming>| {
        let keep = keep.clone();
        async move {
            use http_body_util::BodyExt as _;
            let body = request.into_body().collect().await.unwrap().to_bytes();
            keep.lock()
                .unwrap()
                .push(String::from_utf8(body.to_vec()).unwrap());
            Response::new(Full::from(r#"{"ok":true}"#))
        }
    });
    let emulator = today().network(server).build().unwrap();
    let template = "${operation} ${size} ${etag} [${contentMd5}]";
    let callback =
        callback(&json!({ "callbackUrl": "http://app.example", "callbackBody": template }));
    let id = initiate(&emulator, "/a", &[]).await;
    let etag = part(&emulator, "/a", &id, 1, b"x").await;
    // Only the request that completes the upload can have a callback.
    let target = format!("/a?partNumber=2&uploadId={id}");
    put(&emulator, &target, &[("x-oss-callback", &callback)], b"y").await;
    assert!(bodies.lock().unwrap().is_empty());
    let headers = [("x-oss-callback", &*callback)];
    let answer = complete(&emulator, "/a", &id, &headers, &list(&[(1, &etag)])).await;
    assert_eq!(
        (answer.status.as_u16(), answer.text()),
        (200, r#"{"ok":true}"#)
    );
    let etag = answer.header("etag").unwrap().replace('"', "");
    let body = bodies.lock().unwrap().pop().unwrap();
    assert_eq!(body, format!("CompleteMultipartUpload 1 {etag} []"));
    // An invalid callback leaves the upload unchanged.
    let id = initiate(&emulator, "/b", &[]).await;
    let etag = part(&emulator, "/b", &id, 1, b"x").await;
    let headers = [("x-oss-callback", "!")];
    let answer = complete(&emulator, "/b", &id, &headers, &list(&[(1, &etag)])).await;
    answer.assert_refused(400, "InvalidArgument", "0007-00000002");
    let answer = complete(&emulator, "/b", &id, &[("x-oss-complete-all", "yes")], "").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}
