//! Copies of objects, as whole objects and as parts.

use aliyun_oss_emulator::{Acl, Emulator, EmulatorBuilder, HostedBucket, ObjectStore};
use http::Method;

use super::{
    client::{ask, put, read, to, today},
    support::{Answer, send},
};

/// Builders for each kind of store, with a public bucket and one that is open to everybody.
fn builders(folder: &std::path::Path) -> [EmulatorBuilder; 2] {
    let with_buckets = |builder: EmulatorBuilder| {
        builder
            .bucket(HostedBucket::new("pictures".parse().unwrap()).acl(Acl::PublicRead))
            .bucket(HostedBucket::new("open".parse().unwrap()).acl(Acl::PublicReadWrite))
    };
    let store = ObjectStore::folder(folder).unwrap();
    [today(), today().store(store)].map(with_buckets)
}

async fn copy(emulator: &Emulator, target: &str, source: &str, more: &[(&str, &str)]) -> Answer {
    let mut headers = vec![("x-oss-copy-source", source)];
    headers.extend(more);
    put(emulator, target, &headers, b"").await
}

async fn head(emulator: &Emulator, target: &str) -> Answer {
    ask(emulator, Method::HEAD, target, &[], b"").await
}

/// Sends an unsigned request in path style.
async fn unsigned(
    emulator: &Emulator,
    method: Method,
    target: &str,
    headers: &[(&str, &str)],
) -> Answer {
    let mut request = to(method, "/", headers, b"").map(Into::into);
    *request.uri_mut() = target.parse().unwrap();
    request
        .headers_mut()
        .insert("host", "127.0.0.1:9000".parse().unwrap());
    send(emulator, request).await
}

fn content_files(folder: &std::path::Path) -> usize {
    let folder = folder.join(".aliyun-oss-emulator-content");
    std::fs::read_dir(folder).unwrap().count()
}

#[tokio::test]
async fn copies_keep_content_and_metadata() {
    let folder = tempfile::tempdir().unwrap();
    for builder in builders(folder.path()) {
        let emulator = builder.build().unwrap();
        // One is copied as bytes, the other one as a file.
        for size in [10, 200_000] {
            let content: Vec<u8> = (0..size).map(|at: u32| (at % 251) as u8).collect();
            let headers = [
                ("content-type", "text/x"),
                ("cache-control", "no-cache"),
                ("x-oss-meta-a", "1"),
                ("x-oss-object-acl", "public-read"),
                ("x-oss-storage-class", "IA"),
            ];
            let source = put(&emulator, "/a%20b%2B", &headers, &content).await;
            assert_eq!(source.status, 200, "{}", source.text());
            let answer = copy(&emulator, "/copy", "/examplebucket/a%20b%2B", &[]).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_eq!(answer.header("content-type"), Some("application/xml"));
            assert_eq!(answer.header("etag"), source.header("etag"));
            let crc64 = "x-oss-hash-crc64ecma";
            assert_eq!(answer.header(crc64), source.header(crc64));
            assert_eq!(answer.element("ETag").as_deref(), source.header("etag"));
            let modified = answer.element("LastModified").unwrap();
            assert!(modified.ends_with(".000Z"), "{modified}");

            let found = read(&emulator, "/copy").await;
            assert!(found.body == content);
            for (name, value) in [
                ("content-type", "text/x"),
                ("cache-control", "no-cache"),
                ("x-oss-meta-a", "1"),
                // What the request does not set is not taken from the source.
                ("x-oss-object-acl", "default"),
                ("x-oss-storage-class", "Standard"),
                ("x-oss-object-type", "Normal"),
            ] {
                assert_eq!(found.header(name), Some(value), "{name}");
            }
            // The copy does not depend on its source.
            ask(&emulator, Method::DELETE, "/a%20b%2B", &[], b"").await;
            assert!(read(&emulator, "/copy").await.body == content);
            put(&emulator, "/copy", &[], b"new").await;
            assert_eq!(read(&emulator, "/copy").await.text(), "new");
        }
        let answer = copy(&emulator, "/copy", "/examplebucket/none", &[]).await;
        answer.assert_refused(404, "NoSuchKey", "0026-00000001");
        let answer = copy(&emulator, "/copy", "/nowhere/none", &[]).await;
        answer.assert_refused(404, "NoSuchBucket", "0015-00000101");
    }
    assert_eq!(content_files(folder.path()), 0);
}

#[tokio::test]
async fn metadata_is_copied_or_replaced() {
    let emulator = today().build().unwrap();
    let source = [("content-type", "a/a"), ("x-oss-meta-a", "1")];
    put(&emulator, "/a", &source, b"x").await;
    let new = [
        ("content-type", "b/b"),
        ("x-oss-meta-b", "2"),
        ("x-oss-object-acl", "public-read-write"),
    ];
    for (directive, kind, a, b) in [
        ("COPY", "a/a", Some("1"), None),
        ("copy", "a/a", Some("1"), None),
        ("REPLACE", "b/b", None, Some("2")),
    ] {
        let mut headers = new.to_vec();
        headers.push(("x-oss-metadata-directive", directive));
        let answer = copy(&emulator, "/b", "/examplebucket/a", &headers).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let found = head(&emulator, "/b").await;
        assert_eq!(found.header("content-type"), Some(kind), "{directive}");
        assert_eq!(found.header("x-oss-meta-a"), a, "{directive}");
        assert_eq!(found.header("x-oss-meta-b"), b, "{directive}");
        let acl = found.header("x-oss-object-acl");
        assert_eq!(acl, Some("public-read-write"), "{directive}");
    }
    // A request without a type keeps that of the source.
    let replace = ("x-oss-metadata-directive", "REPLACE");
    copy(&emulator, "/b", "/examplebucket/a", &[replace]).await;
    let found = head(&emulator, "/b").await;
    assert_eq!(found.header("content-type"), Some("a/a"));
    assert_eq!(found.header("x-oss-meta-a"), None);
    for name in ["x-oss-metadata-directive", "x-oss-tagging-directive"] {
        let answer = copy(&emulator, "/b", "/examplebucket/a", &[(name, "move")]).await;
        answer.assert_refused(400, "InvalidArgument", "");
    }
}

/// As two suites for Python show: a client cannot read the copy without it.
#[tokio::test]
async fn the_metadata_of_client_side_encryption_is_kept() {
    const KEY: &str = "x-oss-meta-client-side-encryption-key";
    const START: &str = "x-oss-meta-client-side-encryption-start";
    let emulator = today().build().unwrap();
    let source = [(KEY, "key"), (START, "start"), ("x-oss-meta-a", "1")];
    put(&emulator, "/a", &source, b"x").await;
    for (to, more, start) in [
        ("/b", None, "start"),
        ("/a", None, "start"),
        ("/b", Some((START, "other")), "other"),
    ] {
        let replace = ("x-oss-metadata-directive", "REPLACE");
        let mut headers = vec![replace, ("x-oss-meta-b", "2")];
        headers.extend(more);
        let answer = copy(&emulator, to, "/examplebucket/a", &headers).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let found = head(&emulator, to).await;
        let named = [KEY, START, "x-oss-meta-a", "x-oss-meta-b"];
        let found = named.map(|name| found.header(name));
        assert_eq!(found, [Some("key"), Some(start), None, Some("2")], "{to}");
    }
}

/// The reference: then the metadata is that of the request, whatever the directive.
#[tokio::test]
async fn an_object_is_copied_onto_itself() {
    let folder = tempfile::tempdir().unwrap();
    for builder in builders(folder.path()) {
        let emulator = builder.build().unwrap();
        let content = vec![7; 100_000];
        put(&emulator, "/a", &[("x-oss-meta-a", "1")], &content).await;
        for directive in ["COPY", "REPLACE"] {
            let headers = [
                ("x-oss-metadata-directive", directive),
                ("cache-control", "max-age=0, s-maxage=86400"),
            ];
            let answer = copy(&emulator, "/a", "/examplebucket/a", &headers).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            let found = read(&emulator, "/a").await;
            assert!(found.body == content);
            let cache = found.header("cache-control");
            assert_eq!(cache, Some("max-age=0, s-maxage=86400"));
            assert_eq!(found.header("x-oss-meta-a"), None);
        }
        let headers = [("x-oss-forbid-overwrite", "true")];
        let answer = copy(&emulator, "/a", "/examplebucket/a", &headers).await;
        answer.assert_refused(409, "FileAlreadyExists", "");
    }
    // Each copy of the large object has a file, and replaces that of the copy before.
    assert_eq!(content_files(folder.path()), 1);
}

#[tokio::test]
async fn copies_of_parts_are_made_of_parts() {
    let emulator = today().build().unwrap();
    let id = ask(&emulator, Method::POST, "/a?uploads", &[], b"").await;
    let id = id.element("UploadId").unwrap();
    let target = format!("/a?partNumber=1&uploadId={id}");
    put(&emulator, &target, &[], b"content").await;
    let all = [("x-oss-complete-all", "yes")];
    let target = format!("/a?uploadId={id}");
    let answer = ask(&emulator, Method::POST, &target, &all, b"").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    copy(&emulator, "/b", "/examplebucket/a", &[]).await;
    let (a, b) = (head(&emulator, "/a").await, head(&emulator, "/b").await);
    assert_eq!(b.header("etag"), a.header("etag"));
    assert_eq!(b.header("x-oss-object-type"), Some("Multipart"));
    assert_eq!(b.header("content-md5"), None);
}

#[tokio::test]
async fn conditions_on_the_source() {
    let emulator = today().build().unwrap();
    let source = put(&emulator, "/a", &[], b"x").await;
    let etag = source.header("etag").unwrap().to_owned();
    let (past, future) = (
        "Sun, 03 Dec 2000 12:12:12 GMT",
        "Wed, 03 Dec 2400 12:12:12 GMT",
    );
    for (name, value, status, condition) in [
        ("if-match", &*etag, 200, None),
        ("if-match", "foo-bar", 412, Some("If-Match")),
        ("if-none-match", "foo-bar", 200, None),
        ("if-none-match", &*etag, 304, None),
        ("if-modified-since", past, 200, None),
        ("if-modified-since", future, 304, None),
        ("if-unmodified-since", future, 200, None),
        (
            "if-unmodified-since",
            past,
            412,
            Some("If-Unmodified-Since"),
        ),
    ] {
        ask(&emulator, Method::DELETE, "/b", &[], b"").await;
        let prefixed = format!("x-oss-copy-source-{name}");
        // `ali-oss` sends both. Only the prefixed one counts.
        let headers = [(&*prefixed, value), (name, value)];
        let answer = copy(&emulator, "/b", "/examplebucket/a", &headers).await;
        assert_eq!(answer.status, status, "{name} {}", answer.text());
        assert_eq!(head(&emulator, "/b").await.status == 200, status == 200);
        if status == 412 {
            answer.assert_refused(412, "PreconditionFailed", "0017-00001001");
            assert_eq!(answer.element("Condition").as_deref(), condition);
        }
        if status == 304 {
            assert!(answer.body.is_empty());
        }
    }
}

#[tokio::test]
async fn sources_that_are_not_valid() {
    let emulator = today().build().unwrap();
    for (source, status, code, ec) in [
        ("examplebucket/a", 400, "InvalidArgument", "0016-00000304"),
        ("", 400, "InvalidArgument", "0016-00000304"),
        (
            "/examplebucket/a?x=1",
            400,
            "InvalidArgument",
            "0016-00000304",
        ),
        (
            "/examplebucket/a?versionId=",
            400,
            "InvalidArgument",
            "0016-00000305",
        ),
        ("/examplebucket/a?versionId=CAEQ", 400, "NotImplemented", ""),
    ] {
        let answer = copy(&emulator, "/b", source, &[]).await;
        answer.assert_refused(status, code, ec);
    }
}

/// Writing into an open bucket is no right to read others.
#[tokio::test]
async fn unsigned_copies_read_only_what_is_public() {
    let folder = tempfile::tempdir().unwrap();
    let [builder, _] = builders(folder.path());
    let emulator = builder.build().unwrap();
    put(&emulator, "/secret", &[], b"secret").await;
    let shared = [("x-oss-object-acl", "public-read")];
    put(&emulator, "/shared", &shared, b"shared").await;
    for (source, status) in [
        ("/examplebucket/secret", 403),
        ("/examplebucket/none", 403),
        ("/examplebucket/shared", 200),
        ("/pictures/none", 404),
    ] {
        let headers = [("x-oss-copy-source", source)];
        let answer = unsigned(&emulator, Method::PUT, "/open/copy", &headers).await;
        assert_eq!(answer.status, status, "{source} {}", answer.text());
        let answer = unsigned(&emulator, Method::POST, "/open/parts?uploads", &[]).await;
        let id = answer.element("UploadId").unwrap();
        let target = format!("/open/parts?partNumber=1&uploadId={id}");
        let answer = unsigned(&emulator, Method::PUT, &target, &headers).await;
        assert_eq!(answer.status, status, "{source} {}", answer.text());
    }
    let answer = unsigned(&emulator, Method::GET, "/open/copy", &[]).await;
    assert_eq!(answer.text(), "shared");
}

#[tokio::test]
async fn parts_are_copied_from_objects() {
    let folder = tempfile::tempdir().unwrap();
    for builder in builders(folder.path()) {
        let emulator = builder.build().unwrap();
        let content: Vec<u8> = (0..300_000_u32).map(|at| (at % 251) as u8).collect();
        put(&emulator, "/a", &[], &content).await;
        let id = ask(&emulator, Method::POST, "/b?uploads", &[], b"").await;
        let id = id.element("UploadId").unwrap();
        let mut list = String::from("<CompleteMultipartUpload>");
        for (number, range, says) in [
            (1, Some("bytes=0-102399"), Some("bytes 0-102399/300000")),
            (2, Some("bytes=102400-"), Some("bytes 102400-299999/300000")),
            (3, None, None),
        ] {
            let target = format!("/b?partNumber={number}&uploadId={id}");
            let mut headers = vec![];
            headers.extend(range.map(|range| ("x-oss-copy-source-range", range)));
            let answer = copy(&emulator, &target, "/examplebucket/a", &headers).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert!(
                answer.text().contains("<CopyPartResult>"),
                "{}",
                answer.text()
            );
            assert_eq!(answer.header("content-range"), says);
            let etag = answer.element("ETag").unwrap();
            assert_eq!(answer.header("etag"), Some(&*etag));
            list += &format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>");
        }
        list += "</CompleteMultipartUpload>";
        let target = format!("/b?uploadId={id}");
        let answer = ask(&emulator, Method::POST, &target, &[], list.as_bytes()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let expected = [&content[..], &content[..]].concat();
        assert!(read(&emulator, "/b").await.body == expected);
        // One upload of the same bytes has the same checksum.
        let whole = put(&emulator, "/c", &[], &expected).await;
        let crc64 = "x-oss-hash-crc64ecma";
        assert_eq!(answer.header(crc64), whole.header(crc64));
    }
    assert_eq!(content_files(folder.path()), 0);
}

/// `client_integration_test.go` of aliyun-oss-go-sdk of version 2, and the EC pages.
#[tokio::test]
async fn part_copies_that_are_refused() {
    let emulator = today().build().unwrap();
    put(&emulator, "/a", &[], b"content").await;
    let id = ask(&emulator, Method::POST, "/b?uploads", &[], b"").await;
    let id = id.element("UploadId").unwrap();
    let target = format!("/b?partNumber=1&uploadId={id}");
    let answer = copy(
        &emulator,
        "/b?partNumber=1&uploadId=X",
        "/examplebucket/a",
        &[],
    )
    .await;
    answer.assert_refused(404, "NoSuchUpload", "0042-00000311");
    let answer = copy(&emulator, &target, "examplebucket/a", &[]).await;
    answer.assert_refused(400, "InvalidArgument", "0042-00000301");
    let answer = copy(&emulator, &target, "", &[]).await;
    answer.assert_refused(400, "InvalidArgument", "0042-00000302");
    let answer = copy(&emulator, &target, "/examplebucket/none", &[]).await;
    answer.assert_refused(404, "NoSuchKey", "0026-00000001");
    let range = [("x-oss-copy-source-range", "bytes=7-")];
    let answer = copy(&emulator, &target, "/examplebucket/a", &range).await;
    answer.assert_refused(416, "InvalidRange", "");
    let condition = [("x-oss-copy-source-if-match", "foo-bar")];
    let answer = copy(&emulator, &target, "/examplebucket/a", &condition).await;
    answer.assert_refused(412, "PreconditionFailed", "0017-00001001");
    // A range that does not fit is ignored, as that of a read.
    let range = [("x-oss-copy-source-range", "bytes=0-70")];
    let answer = copy(&emulator, &target, "/examplebucket/a", &range).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("content-range")),
        (200, None)
    );
}
