//! Reads: conditions, ranges, replaced headers, metadata, and ACLs of objects.

use aliyun_oss_emulator::{Acl, Emulator, HostedBucket, ObjectStore};
use http::Method;

use super::{
    client::{Way, ask, put, read, to, today},
    support::{Answer, send},
};

const PAST: &str = "Sun, 03 Dec 2000 12:12:12 GMT";
const FUTURE: &str = "Wed, 03 Dec 2400 12:12:12 GMT";

async fn unsigned(emulator: &Emulator, method: Method, target: &str) -> Answer {
    send(emulator, to(method, target, &[], b"").map(Into::into)).await
}

/// `object.test.js` of ali-oss, `GetObjectTest` of aliyun-oss-java-sdk.
#[tokio::test]
async fn conditions() {
    let emulator = today().build().unwrap();
    let stored = put(&emulator, "/a", &[], b"content").await;
    let etag = stored.header("etag").unwrap().to_owned();
    let modified = read(&emulator, "/a").await;
    let modified = modified.header("last-modified").unwrap().to_owned();
    for method in [Method::GET, Method::HEAD] {
        for (headers, status, condition) in [
            (vec![("if-match", &*etag)], 200, ""),
            (vec![("if-match", "foo-bar")], 412, "If-Match"),
            (vec![("if-none-match", "foo-bar")], 200, ""),
            (vec![("if-none-match", &*etag)], 304, ""),
            (vec![("if-modified-since", PAST)], 200, ""),
            (vec![("if-modified-since", &*modified)], 304, ""),
            (vec![("if-modified-since", FUTURE)], 304, ""),
            (
                vec![("if-modified-since", FUTURE), ("range", "bytes=0-3")],
                304,
                "",
            ),
            (vec![("if-unmodified-since", FUTURE)], 200, ""),
            (vec![("if-unmodified-since", &*modified)], 200, ""),
            (
                vec![("if-unmodified-since", PAST)],
                412,
                "If-Unmodified-Since",
            ),
            (vec![("if-match", &*etag), ("range", "bytes=0-3")], 206, ""),
            (
                vec![("if-match", "foo-bar"), ("range", "bytes=9-")],
                412,
                "If-Match",
            ),
        ] {
            let answer = ask(&emulator, method.clone(), "/a", &headers, b"").await;
            assert_eq!(answer.status, status, "{method} {headers:?}");
            if status == 412 && method == Method::GET {
                answer.assert_refused(412, "PreconditionFailed", "0017-00001001");
                let message = "At least one of the pre-conditions you specified did not hold.";
                assert_eq!(answer.element("Message").unwrap(), message);
                assert_eq!(answer.element("Condition").unwrap(), condition);
            }
            if status == 304 {
                assert!(answer.body.is_empty());
                assert_eq!(answer.header("etag"), Some(&*etag));
                assert_eq!(answer.header("last-modified"), Some(&*modified));
            }
        }
    }
    // A missing object is missing, whatever the conditions.
    let headers = [("if-match", "*")];
    let answer = ask(&emulator, Method::GET, "/none", &headers, b"").await;
    answer.assert_refused(404, "NoSuchKey", "0026-00000001");
}

/// `GetObjectTest` of aliyun-oss-java-sdk, `TestGetObjectRangeBehavior` of aliyun-oss-go-sdk.
#[tokio::test]
async fn ranges_behind_the_end() {
    let emulator = today().build().unwrap();
    put(&emulator, "/a", &[], b"0123456789").await;
    let standard = ("x-oss-range-behavior", "standard");
    for (headers, status, content) in [
        (vec![("range", "bytes=5-20")], 200, "0123456789"),
        (vec![("range", "bytes=10-20")], 200, "0123456789"),
        (vec![("range", "bytes=5-2")], 200, "0123456789"),
        (vec![("range", "bytes=5-20"), standard], 206, "56789"),
        (vec![("range", "bytes=5-7")], 206, "567"),
    ] {
        let answer = ask(&emulator, Method::GET, "/a", &headers, b"").await;
        let found = (answer.status.as_u16(), answer.text());
        assert_eq!(found, (status, content), "{headers:?}");
        assert_eq!(answer.header("content-range").is_some(), status == 206);
    }
    for headers in [
        vec![("range", "bytes=-0")],
        vec![("range", "bytes=10-20"), standard],
    ] {
        let answer = ask(&emulator, Method::GET, "/a", &headers, b"").await;
        answer.assert_refused(416, "InvalidRange", "");
    }
}

#[tokio::test]
async fn response_headers_are_replaced_for_signed_requests_only() {
    let bucket = HostedBucket::new("examplebucket".parse().unwrap()).acl(Acl::PublicRead);
    let emulator = Emulator::builder()
        .bucket(bucket)
        .access_key(aliyun_oss_emulator::AccessKey::new(
            super::support::ID,
            super::support::SECRET,
        ))
        .build()
        .unwrap();
    put(&emulator, "/a", &[("cache-control", "private")], b"x").await;
    let target = "/a?response-content-type=text%2Fplain&response-content-language=zh-CN\
        &response-expires=Thu%2C%2001%20Feb%202012%2017%3A00%3A00%20GMT\
        &response-cache-control=No-cache&response-content-encoding=utf-8\
        &response-content-disposition=attachment%3B%20filename%3D%E4%B8%AD.txt";
    let in_url = Way {
        in_url: true,
        ..Way::V4
    };
    for way in [Way::V4, in_url] {
        let request = way.sign(to(Method::GET, target, &[], b"")).await;
        let answer = send(&emulator, request).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        for (name, value) in [
            ("content-type", "text/plain"),
            ("content-language", "zh-CN"),
            ("expires", "Thu, 01 Feb 2012 17:00:00 GMT"),
            ("cache-control", "No-cache"),
            ("content-encoding", "utf-8"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{name}");
        }
        let disposition = answer.headers.get("content-disposition").unwrap();
        assert_eq!(
            disposition.as_bytes(),
            "attachment; filename=中.txt".as_bytes()
        );
    }
    // It applies to a success only.
    let answer = ask(
        &emulator,
        Method::GET,
        "/none?response-content-type=a",
        &[],
        b"",
    )
    .await;
    assert_eq!(answer.header("content-type"), Some("application/xml"));
    let answer = ask(
        &emulator,
        Method::GET,
        "/a?response-content-type=a%0Ab",
        &[],
        b"",
    )
    .await;
    answer.assert_refused(400, "InvalidArgument", "");
    // The object is public, but nobody may choose how a browser reads it.
    let answer = unsigned(&emulator, Method::GET, target).await;
    answer.assert_refused(400, "InvalidRequest", "");
    assert_eq!(unsigned(&emulator, Method::GET, "/a").await.status, 200);
}

/// `test_object.py` of oss2.
#[tokio::test]
async fn metadata_of_the_content_only() {
    let emulator = today().build().unwrap();
    let headers = [("x-oss-meta-a", "1"), ("content-type", "a/a")];
    let stored = put(&emulator, "/a", &headers, b"hello").await;
    let answer = ask(&emulator, Method::HEAD, "/a?objectMeta", &[], b"").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-length"), Some("5"));
    assert_eq!(answer.header("etag"), stored.header("etag"));
    assert!(answer.header("last-modified").is_some());
    for absent in ["x-oss-meta-a", "content-type", "x-oss-object-type"] {
        assert_eq!(answer.header(absent), None, "{absent}");
    }
    let answer = ask(&emulator, Method::HEAD, "/none?objectMeta", &[], b"").await;
    assert_eq!(answer.status, 404);
    assert_eq!(answer.header("x-oss-ec"), Some("0026-00000001"));
}

/// `test_object.py` of oss2, `ObjectAclTest` of aliyun-oss-java-sdk.
#[tokio::test]
async fn acls_of_objects() {
    let folder = tempfile::tempdir().unwrap();
    let store = ObjectStore::folder(folder.path()).unwrap();
    for builder in [today(), today().store(store)] {
        let emulator = builder.build().unwrap();
        let acl = async || {
            let answer = ask(&emulator, Method::GET, "/a?acl", &[], b"").await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            let owner = "<Owner><ID>1234567890123456</ID>";
            assert!(answer.text().contains(owner), "{}", answer.text());
            answer.element("Grant").unwrap()
        };
        let set = async |value: &str| {
            let headers = [("x-oss-object-acl", value)];
            put(&emulator, "/a?acl", &headers, b"").await
        };
        let content = vec![1; 100_000];
        put(&emulator, "/a", &[("x-oss-meta-a", "1")], &content).await;
        assert_eq!(acl().await, "default");
        for (value, readable) in [
            ("private", 403),
            ("public-read", 200),
            ("public-read-write", 200),
            ("default", 403),
        ] {
            let answer = set(value).await;
            assert_eq!((answer.status.as_u16(), answer.text()), (200, ""));
            assert_eq!(acl().await, value);
            let answer = unsigned(&emulator, Method::GET, "/a").await;
            assert_eq!(answer.status, readable, "{value}");
        }
        let found = read(&emulator, "/a").await;
        assert!(found.body == content);
        assert_eq!(found.header("x-oss-meta-a"), Some("1"));
        set("other")
            .await
            .assert_refused(400, "InvalidArgument", "");
        let answer = put(&emulator, "/a?acl", &[], b"").await;
        answer.assert_refused(400, "MissingArgument", "");
        for (method, body) in [(Method::GET, &b""[..]), (Method::PUT, b"")] {
            let headers = [("x-oss-object-acl", "private")];
            let answer = ask(&emulator, method.clone(), "/none?acl", &headers, body).await;
            answer.assert_refused(404, "NoSuchKey", "0026-00000001");
            let answer = unsigned(&emulator, method, "/a?acl").await;
            answer.assert_refused(403, "AccessDenied", "0003-00000001");
        }
        assert_eq!(acl().await, "default");
    }
}

#[cfg(not(feature = "image"))]
#[tokio::test]
async fn images_need_a_feature() {
    let emulator = today().build().unwrap();
    put(&emulator, "/a", &[], b"x").await;
    let target = "/a?x-oss-process=image%2Fresize%2Cw_1";
    let answer = ask(&emulator, Method::GET, target, &[], b"").await;
    answer.assert_refused(400, "NotImplemented", "");
    let message = answer.element("Message").unwrap();
    assert!(message.contains("feature image"), "{message}");
    let body = b"x-oss-process=image/resize,w_1|sys/saveas,o_Yg";
    let answer = ask(&emulator, Method::POST, "/a?x-oss-process", &[], body).await;
    answer.assert_refused(400, "NotImplemented", "");
}
