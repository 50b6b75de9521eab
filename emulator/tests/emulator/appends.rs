//! Objects that grow, and symbolic links.

use std::path::Path;

use aliyun_oss_emulator::{Emulator, EmulatorBuilder, ObjectStore};
use http::Method;

use super::{
    client::{ask, put, read, today},
    path_style::ok,
    support::Answer,
};

fn builders(folder: &Path) -> [EmulatorBuilder; 2] {
    let store = ObjectStore::folder(folder).unwrap();
    [today(), today().store(store)]
}

async fn append(
    emulator: &Emulator,
    target: &str,
    at: usize,
    headers: &[(&str, &str)],
    data: &[u8],
) -> Answer {
    let target = format!("{target}?append&position={at}");
    ask(emulator, Method::POST, &target, headers, data).await
}

async fn head(emulator: &Emulator, target: &str) -> Answer {
    ask(emulator, Method::HEAD, target, &[], b"").await
}

fn content_files(folder: &Path) -> usize {
    let folder = folder.join(".aliyun-oss-emulator-content");
    std::fs::read_dir(folder).unwrap().count()
}

/// `TestAppendObject` of aliyun-oss-go-sdk, `AppendObjectTest` of aliyun-oss-java-sdk,
/// `test_append_object` of oss2.
#[tokio::test]
async fn an_object_grows_from_position_to_position() {
    let folder = tempfile::tempdir().unwrap();
    for builder in builders(folder.path()) {
        let emulator = builder.build().unwrap();
        let mut whole = Vec::new();
        let mut etags = Vec::new();
        for (at, size) in [0, 70_000, 5, 300_000].into_iter().enumerate() {
            let piece = vec![u8::try_from(at).unwrap(); size];
            let meta = format!("{at}");
            let mut headers = vec![("x-oss-meta-my", &*meta), ("content-type", "text/x")];
            if at == 3 {
                headers.push(("x-oss-object-acl", "public-read"));
            }
            let answer = append(&emulator, "/a%20b", whole.len(), &headers, &piece).await;
            assert_eq!((answer.status.as_u16(), answer.text()), (200, ""));
            whole.extend(piece);
            let next = whole.len().to_string();
            assert_eq!(answer.header("x-oss-next-append-position"), Some(&*next));
            assert_eq!(answer.header("content-md5"), None);
            let expected = put(&emulator, "/whole", &[], &whole).await;
            let crc64 = "x-oss-hash-crc64ecma";
            assert_eq!(answer.header(crc64), expected.header(crc64));

            let found = read(&emulator, "/a%20b").await;
            assert!(found.body == whole);
            assert_eq!(found.header("x-oss-object-type"), Some("Appendable"));
            assert_eq!(found.header("x-oss-next-append-position"), Some(&*next));
            assert_eq!(found.header("etag"), answer.header("etag"));
            // Only the first append describes the object. A later one sets its ACL.
            assert_eq!(found.header("x-oss-meta-my"), Some("0"));
            assert_eq!(found.header("content-type"), Some("text/x"));
            let acl = if at == 3 { "public-read" } else { "default" };
            assert_eq!(found.header("x-oss-object-acl"), Some(acl));
            etags.push(answer.header("etag").unwrap().to_owned());
        }
        etags.dedup();
        assert_eq!(etags.len(), 4, "every append has another ETag");
        let listing = ask(&emulator, Method::GET, "/?list-type=2&prefix=a", &[], b"").await;
        assert_eq!(listing.element("Type").unwrap(), "Appendable");
        assert_eq!(listing.element("Size").unwrap(), whole.len().to_string());
        ask(&emulator, Method::DELETE, "/a%20b", &[], b"").await;
        // It begins again.
        let answer = append(&emulator, "/a%20b", 0, &[], b"new").await;
        assert_eq!(answer.status, 200);
        put(&emulator, "/a%20b", &[], b"normal").await;
    }
    assert_eq!(content_files(folder.path()), 0);
}

/// The reference, `SealAppendObjectTest` of aliyun-oss-java-sdk, and `test_seal_append_object` of
/// alibabacloud-oss-python-sdk-v2.
#[tokio::test]
async fn a_sealed_object_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    const TIME: &str = "x-oss-sealed-time";
    for builder in builders(folder.path()) {
        let emulator = builder.build().unwrap();
        let seal = async |position: &str| {
            let target = format!("/a?seal{position}");
            ask(&emulator, Method::POST, &target, &[], b"").await
        };
        seal("&position=0")
            .await
            .assert_refused(404, "NoSuchKey", "0026-00000001");
        ok(&append(&emulator, "/a", 0, &[], b"abc").await);
        assert_eq!(head(&emulator, "/a").await.header(TIME), None);
        let wrong = seal("&position=2").await;
        wrong.assert_refused(409, "PositionNotEqualToLength", "0026-00000016");
        assert_eq!(wrong.header("x-oss-next-append-position"), Some("3"));
        seal("")
            .await
            .assert_refused(400, "MissingArgument", "0016-00000501");
        seal("&position=x")
            .await
            .assert_refused(400, "InvalidArgument", "0016-00000502");
        ok(&append(&emulator, "/a", 3, &[], b"d").await);

        let answer = seal("&position=4").await;
        ok(&answer);
        let sealed = answer.header(TIME).unwrap().to_owned();
        assert!(sealed.ends_with(" GMT"), "{sealed}");
        for method in [Method::HEAD, Method::GET] {
            let answer = ask(&emulator, method, "/a", &[], b"").await;
            assert_eq!(answer.header(TIME), Some(&*sealed));
            assert_eq!(answer.header("x-oss-object-type"), Some("Appendable"));
        }
        assert_eq!(seal("&position=4").await.header(TIME), Some(&*sealed));
        let wrong = seal("&position=0").await;
        wrong.assert_refused(409, "PositionNotEqualToLength", "0026-00000016");
        let copied = [("x-oss-copy-source", "/examplebucket/a")];
        ok(&put(&emulator, "/a", &copied, b"").await);
        for at in [4, 0] {
            let answer = append(&emulator, "/a", at, &[], b"e").await;
            answer.assert_refused(409, "AppendSealedObjectNotAllowed", "");
        }
        assert_eq!(read(&emulator, "/a").await.text(), "abcd");
        ok(&put(&emulator, "/a", &[], b"").await);
        seal("&position=0")
            .await
            .assert_refused(409, "ObjectNotAppendable", "0026-00000017");
    }
}

#[tokio::test]
async fn appends_that_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for builder in builders(folder.path()) {
        let emulator = builder.build().unwrap();
        append(&emulator, "/a", 0, &[], b"hello").await;
        for (target, position, next) in [
            ("/a", 0, "5"),
            ("/a", 4, "5"),
            ("/a", 6, "5"),
            ("/b", 1, "0"),
        ] {
            let answer = append(&emulator, target, position, &[], b"x").await;
            answer.assert_refused(409, "PositionNotEqualToLength", "0026-00000016");
            let message = "Position is not equal to file length";
            assert_eq!(answer.element("Message").unwrap(), message);
            assert_eq!(answer.header("x-oss-next-append-position"), Some(next));
        }
        put(&emulator, "/normal", &[], b"x").await;
        for position in [0, 1] {
            let answer = append(&emulator, "/normal", position, &[], b"x").await;
            answer.assert_refused(409, "ObjectNotAppendable", "0026-00000017");
        }
        for (query, code, ec) in [
            ("append", "MissingArgument", "0016-00000501"),
            ("append&position=", "MissingArgument", "0016-00000501"),
            ("append&position=test", "InvalidArgument", "0016-00000502"),
            ("append&position=-1", "InvalidArgument", "0016-00000502"),
            ("append&position=%2B1", "InvalidArgument", "0016-00000502"),
        ] {
            let target = format!("/a?{query}");
            let answer = ask(&emulator, Method::POST, &target, &[], b"x").await;
            answer.assert_refused(400, code, ec);
        }
        let wrong = [("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")];
        let answer = append(&emulator, "/a", 5, &wrong, b"x").await;
        answer.assert_refused(400, "InvalidDigest", "");
        assert_eq!(read(&emulator, "/a").await.text(), "hello");
    }
}

#[tokio::test]
async fn of_two_appends_at_a_position_one_succeeds() {
    let folder = tempfile::tempdir().unwrap();
    for builder in builders(folder.path()) {
        let emulator = builder.build().unwrap();
        for at in 0..10 {
            let (a, b) = tokio::join!(
                append(&emulator, "/a", at, &[], b"a"),
                append(&emulator, "/a", at, &[], b"b")
            );
            let mut statuses = [a.status.as_u16(), b.status.as_u16()];
            statuses.sort_unstable();
            assert_eq!(statuses, [200, 409]);
        }
        assert_eq!(read(&emulator, "/a").await.body.len(), 10);
    }
}

#[tokio::test]
async fn copies_and_metadata_of_an_object_that_grows() {
    let folder = tempfile::tempdir().unwrap();
    for builder in builders(folder.path()) {
        let emulator = builder.build().unwrap();
        append(&emulator, "/a", 0, &[], b"hello").await;
        let from = ("x-oss-copy-source", "/examplebucket/a");
        put(&emulator, "/copy", &[from], b"").await;
        let copy = head(&emulator, "/copy").await;
        assert_eq!(copy.header("x-oss-object-type"), Some("Normal"));
        // Onto itself, it stays appendable.
        put(&emulator, "/a", &[from, ("x-oss-meta-a", "1")], b"").await;
        put(&emulator, "/a?acl", &[("x-oss-object-acl", "private")], b"").await;
        let answer = append(&emulator, "/a", 5, &[], b", world").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let found = read(&emulator, "/a").await;
        assert_eq!(found.text(), "hello, world");
        assert_eq!(found.header("x-oss-meta-a"), Some("1"));
        // The copy does not grow with it.
        assert_eq!(read(&emulator, "/copy").await.text(), "hello");
    }
    // Those of both objects.
    assert_eq!(content_files(folder.path()), 2);
}

/// A process that is killed leaves what it had appended, and files that no object uses.
#[tokio::test]
async fn what_a_crash_leaves_is_not_content() {
    let folder = tempfile::tempdir().unwrap();
    let content = folder.path().join(".aliyun-oss-emulator-content");
    {
        let [_, builder] = builders(folder.path());
        let emulator = builder.build().unwrap();
        append(&emulator, "/a", 0, &[], b"hello").await;
    }
    let file = std::fs::read_dir(&content)
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let mut partial = std::fs::OpenOptions::new()
        .append(true)
        .open(file.path())
        .unwrap();
    std::io::Write::write_all(&mut partial, b"garbage").unwrap();
    let unused = content.join(format!("content-{}.data", "0".repeat(32)));
    std::fs::write(&unused, "x").unwrap();
    std::fs::write(content.join("notes.txt"), "mine").unwrap();

    let [_, builder] = builders(folder.path());
    let emulator = builder.build().unwrap();
    assert_eq!(read(&emulator, "/a").await.text(), "hello");
    let answer = append(&emulator, "/a", 5, &[], b"!").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(read(&emulator, "/a").await.text(), "hello!");
    // The listing waits until the files are read.
    ask(&emulator, Method::GET, "/?list-type=2", &[], b"").await;
    assert!(!unused.exists());
    assert_eq!(content_files(folder.path()), 2);
}

/// The file of an object names its content file. If it cannot be read, the content stays.
#[tokio::test]
async fn the_content_of_an_object_that_cannot_be_read_stays() {
    let folder = tempfile::tempdir().unwrap();
    {
        let [_, builder] = builders(folder.path());
        let emulator = builder.build().unwrap();
        append(&emulator, "/a", 0, &[], b"hello").await;
    }
    let files = folder.path().join("buckets").join("examplebucket");
    let file = std::fs::read_dir(files).unwrap().next().unwrap().unwrap();
    let whole = std::fs::read(file.path()).unwrap();
    let text = String::from_utf8_lossy(&whole);
    // The layout of the first version, which later ones must read.
    assert!(text.starts_with(r#"{"description":{"key":"a""#), "{text}");
    assert!(text.contains(r#","content_file":"content-"#), "{text}");
    std::fs::write(file.path(), "damaged").unwrap();
    {
        let [_, builder] = builders(folder.path());
        let emulator = builder.build().unwrap();
        // The listing waits until the files are read.
        let listing = ask(&emulator, Method::GET, "/?list-type=2", &[], b"").await;
        assert_eq!(listing.status, 500);
    }
    assert_eq!(content_files(folder.path()), 1);
    std::fs::write(file.path(), whole).unwrap();
    let [_, builder] = builders(folder.path());
    let emulator = builder.build().unwrap();
    assert_eq!(read(&emulator, "/a").await.text(), "hello");
}

/// `SymlinkTest` of aliyun-oss-java-sdk, `TestSymlink` of aliyun-oss-go-sdk, `test_object.py` of
/// oss2.
#[tokio::test]
async fn links_are_followed() {
    let folder = tempfile::tempdir().unwrap();
    for builder in builders(folder.path()) {
        let emulator = builder.build().unwrap();
        // `oss/+< >[]/世界/中国.txt`, as Go and JavaScript write it.
        for encoded in [
            "oss%2F%2B%3C+%3E%5B%5D%2F%E4%B8%96%E7%95%8C%2F%E4%B8%AD%E5%9B%BD.txt",
            "oss/%2B%3C%20%3E%5B%5D/%E4%B8%96%E7%95%8C/%E4%B8%AD%E5%9B%BD.txt",
        ] {
            let headers = [
                ("x-oss-symlink-target", encoded),
                ("content-type", "text/plain"),
                ("x-oss-meta-key1", "value1"),
            ];
            let answer = put(&emulator, "/link?symlink", &headers, b"").await;
            assert_eq!((answer.status.as_u16(), answer.text()), (200, ""));
            let link = ask(&emulator, Method::GET, "/link?symlink", &[], b"").await;
            assert_eq!((link.status.as_u16(), link.text()), (200, ""));
            assert_eq!(link.header("x-oss-symlink-target"), Some(encoded));
            assert_eq!(link.header("x-oss-meta-key1"), Some("value1"));
            assert_eq!(link.header("content-type"), Some("text/plain"));
            assert_eq!(link.header("etag"), answer.header("etag"));
        }
        let answer = read(&emulator, "/link").await;
        answer.assert_refused(404, "SymlinkTargetNotExist", "0026-00000012");

        let path = "/oss/%2B%3C%20%3E%5B%5D/%E4%B8%96%E7%95%8C/%E4%B8%AD%E5%9B%BD.txt";
        put(&emulator, path, &[("x-oss-meta-own", "1")], b"hello").await;
        for answer in [
            read(&emulator, "/link").await,
            head(&emulator, "/link").await,
        ] {
            assert_eq!(answer.status, 200);
            assert_eq!(answer.header("content-length"), Some("5"));
            let etag = answer.header("etag");
            assert_eq!(etag, Some("\"5D41402ABC4B2A76B9719D911017C592\""));
            assert_eq!(
                answer.header("content-md5"),
                Some("XUFAKrxLKna5cZ2REBfFkg==")
            );
            assert_eq!(answer.header("x-oss-object-type"), Some("Symlink"));
            assert_eq!(answer.header("x-oss-meta-key1"), Some("value1"));
            // Metadata is that of the link.
            assert_eq!(answer.header("x-oss-meta-own"), None);
        }
        assert_eq!(read(&emulator, "/link").await.text(), "hello");
        let listing = ask(&emulator, Method::GET, "/?list-type=2&prefix=l", &[], b"").await;
        assert_eq!(listing.element("Type").unwrap(), "Symlink");
        // A copy of a link is a link, and its metadata is its own.
        let from = [("x-oss-copy-source", "/examplebucket/link")];
        put(&emulator, "/second", &from, b"").await;
        let second = ask(&emulator, Method::GET, "/second?symlink", &[], b"").await;
        assert_eq!(second.status, 200, "{}", second.text());
        let meta = ask(&emulator, Method::HEAD, "/link?objectMeta", &[], b"").await;
        assert_eq!(meta.header("content-length"), Some("0"));
        // Deleting the link leaves its target.
        ask(&emulator, Method::DELETE, "/link", &[], b"").await;
        assert_eq!(read(&emulator, path).await.text(), "hello");
    }
}

#[tokio::test]
async fn links_that_lead_nowhere() {
    let emulator = today().build().unwrap();
    let link = async |name: &str, target: &str, more: &[(&str, &str)]| {
        let mut headers = vec![("x-oss-symlink-target", target)];
        headers.extend(more);
        put(&emulator, &format!("/{name}?symlink"), &headers, b"").await
    };
    // It may point to itself and to another link, but is not followed.
    for (name, target) in [("self", "self"), ("first", "self"), ("a", "b"), ("b", "a")] {
        assert_eq!(link(name, target, &[]).await.status, 200);
    }
    for name in ["self", "first", "a", "b"] {
        let answer = read(&emulator, &format!("/{name}")).await;
        answer.assert_refused(400, "InvalidTargetType", "0026-00000011");
        let message = "The symbolic's target file type is invalid";
        assert_eq!(answer.element("Message").unwrap(), message);
    }
    put(&emulator, "/normal", &[], b"x").await;
    let answer = ask(&emulator, Method::GET, "/normal?symlink", &[], b"").await;
    answer.assert_refused(400, "NotSymlink", "0043-00000101");
    let answer = ask(&emulator, Method::GET, "/none?symlink", &[], b"").await;
    answer.assert_refused(404, "NoSuchKey", "0026-00000001");
    let answer = put(&emulator, "/x?symlink", &[], b"").await;
    answer.assert_refused(400, "MissingArgument", "");
    link("x", "%2Fa", &[])
        .await
        .assert_refused(400, "InvalidObjectName", "");
    link("x", "%FF", &[])
        .await
        .assert_refused(400, "InvalidArgument", "");
    let forbid = [("x-oss-forbid-overwrite", "true")];
    let answer = link("normal", "a", &forbid).await;
    answer.assert_refused(409, "FileAlreadyExists", "");
    assert_eq!(read(&emulator, "/normal").await.text(), "x");
}

/// A public link is no way around the ACL of its target.
#[tokio::test]
async fn both_acls_of_a_link_are_checked() {
    let emulator = today().build().unwrap();
    let public = ("x-oss-object-acl", "public-read");
    put(&emulator, "/secret", &[], b"secret").await;
    put(&emulator, "/shared", &[public], b"shared").await;
    for (link, target, headers, status) in [
        ("/a", "secret", vec![public], 403),
        ("/b", "shared", vec![public], 200),
        ("/c", "shared", vec![], 403),
        ("/d", "none", vec![public], 403),
    ] {
        let mut headers = headers;
        headers.push(("x-oss-symlink-target", target));
        put(&emulator, &format!("{link}?symlink"), &headers, b"").await;
        let answer = super::support::get(&emulator, link).await;
        assert_eq!(answer.status, status, "{link} {}", answer.text());
        // Where it points is what its own ACL decides.
        let readable = if link == "/c" { 403 } else { 200 };
        let answer = super::support::get(&emulator, &format!("{link}?symlink")).await;
        assert_eq!(answer.status, readable, "{link} {}", answer.text());
    }
}
