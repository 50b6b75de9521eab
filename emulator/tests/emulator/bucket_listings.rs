//! Listings of buckets, of objects with version 1, and of uploads in progress; and the deletion of
//! many objects.

use aliyun_oss_emulator::{Acl, Emulator, HostedBucket};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::Method;
use md5::{Digest as _, Md5};

use super::{
    path_style::{all, anonymous, ask, ask_with, get, ok, put, stores},
    support::{Answer, BUCKET, builder},
};

#[tokio::test]
async fn pages_of_buckets() {
    let emulator = builder().create_buckets(true).build().unwrap();
    for name in ["my-a", "my-b", "my-c", "other"] {
        ok(&put(&emulator, &format!("/{name}/"), &[], b"").await);
    }
    let answer = get(&emulator, "/", "prefix=my-&max-keys=2").await;
    assert_eq!(all(&answer, "Name"), ["my-a", "my-b"]);
    for (name, text) in [
        ("Prefix", "my-"),
        ("Marker", ""),
        ("MaxKeys", "2"),
        ("IsTruncated", "true"),
        ("NextMarker", "my-b"),
    ] {
        let found = answer.element(name).or_else(|| {
            let is_empty = answer.text().contains(&format!("<{name}/>"));
            is_empty.then(String::new)
        });
        assert_eq!(found.as_deref(), Some(text), "{name} {}", answer.text());
    }
    let answer = get(&emulator, "/", "prefix=my-&max-keys=2&marker=my-b").await;
    assert_eq!(all(&answer, "Name"), ["my-c"]);
    // The last page has none of these elements.
    assert_eq!(answer.element("IsTruncated"), None);
    for max in ["0", "1001", "x"] {
        get(&emulator, "/", &format!("max-keys={max}"))
            .await
            .assert_refused(400, "InvalidArgument", "");
    }
    anonymous(&emulator, Method::GET, "/")
        .await
        .assert_refused(403, "AccessDenied", "");
    ask(&emulator, Method::POST, "/")
        .await
        .assert_refused(405, "MethodNotAllowed", "");
    for (target, more) in [("/", "regions"), ("/?regionList", ""), ("/?live", "")] {
        let answer = get(&emulator, target, more).await;
        answer.assert_refused(400, "NotImplemented", "");
    }
}

#[tokio::test]
async fn a_listing_of_version_1_goes_on_behind_its_marker() {
    for (_folder, settings) in stores() {
        let emulator = settings.build().unwrap();
        for name in ["a", "dir/1", "dir/2", "e%20f", "z"] {
            ok(&ask_with(
                &emulator,
                Method::PUT,
                &format!("/{BUCKET}/{}", name.replace("%20", "_")),
                "",
                &[],
                b"x",
            )
            .await);
        }
        let list = async |more: &str| get(&emulator, &format!("/{BUCKET}/"), more).await;
        let answer = list("max-keys=2").await;
        ok(&answer);
        assert_eq!(all(&answer, "Key"), ["a", "dir/1"]);
        assert_eq!(answer.element("NextMarker").as_deref(), Some("dir/1"));
        assert_eq!(answer.element("IsTruncated").as_deref(), Some("true"));
        // Unlike version 2, each object has its owner.
        assert_eq!(all(&answer, "DisplayName").len(), 2);
        let answer = list("marker=dir%2F1").await;
        assert_eq!(all(&answer, "Key"), ["dir/2", "e_f", "z"]);
        assert_eq!(answer.element("NextMarker"), None);
        assert_eq!(answer.element("MaxKeys").as_deref(), Some("100"));
        assert_eq!(answer.element("Marker").as_deref(), Some("dir/1"));
        let answer = list("delimiter=%2F&max-keys=2").await;
        assert_eq!(all(&answer, "Key"), ["a"]);
        assert_eq!(answer.element("NextMarker").as_deref(), Some("dir/"));
        let answer = list("delimiter=%2F&max-keys=2&marker=dir%2F").await;
        assert_eq!(all(&answer, "Key"), ["e_f", "z"]);
        let answer = list("prefix=dir&encoding-type=url&delimiter=%2F").await;
        assert_eq!(answer.element("EncodingType").as_deref(), Some("url"));
        assert!(
            answer
                .text()
                .contains("<CommonPrefixes><Prefix>dir%2F</Prefix>")
        );
        for more in ["max-keys=0", "max-keys=1001", "encoding-type=hex"] {
            list(more).await.assert_refused(400, "InvalidArgument", "");
        }
        get(&emulator, &format!("/{BUCKET}/"), "list-type=3")
            .await
            .assert_refused(400, "InvalidArgument", "");
    }
}

async fn initiate(emulator: &Emulator, key: &str) -> String {
    let answer = ask(emulator, Method::POST, &format!("/{BUCKET}/{key}?uploads")).await;
    answer.element("UploadId").unwrap()
}

/// The tests of `ali-oss` and `oss2`.
#[tokio::test]
async fn uploads_in_progress_are_listed_by_name_and_id() {
    for (_folder, settings) in stores() {
        let emulator = settings.build().unwrap();
        let mut ids = Vec::new();
        for _ in 0..3 {
            ids.push(initiate(&emulator, "bar").await);
        }
        ids.sort();
        let foo = initiate(&emulator, "foo").await;
        let list = async |more: &str| get(&emulator, &format!("/{BUCKET}/?uploads"), more).await;
        let answer = list("").await;
        ok(&answer);
        let every = [&ids[..], std::slice::from_ref(&foo)].concat();
        assert_eq!(all(&answer, "UploadId"), every);
        assert_eq!(
            answer.element("Initiated").as_deref(),
            Some("2023-12-03T12:12:12.000Z")
        );
        assert_eq!(answer.element("MaxUploads").as_deref(), Some("1000"));
        // The SDK for Python reads both on the last page as well.
        let next = [
            answer.element("NextKeyMarker"),
            answer.element("NextUploadIdMarker"),
        ];
        assert_eq!(next, [Some("foo".to_owned()), Some(foo.clone())]);
        assert_eq!(answer.element("IsTruncated").as_deref(), Some("false"));
        let none = list("key-marker=foo").await;
        assert!(
            none.text()
                .contains("<NextKeyMarker/><NextUploadIdMarker/>")
        );
        for (more, expected) in [
            ("key-marker=bar".to_owned(), &every[3..]),
            (
                format!("key-marker=bar&upload-id-marker={}", ids[0]),
                &every[1..],
            ),
            (
                format!("key-marker=bar&upload-id-marker={}", ids[2]),
                &every[3..],
            ),
            // Alone it is ignored.
            (format!("upload-id-marker={}", ids[1]), &every[..]),
            ("prefix=fo".to_owned(), &every[3..]),
            ("key-marker=foo".to_owned(), &[]),
        ] {
            assert_eq!(all(&list(&more).await, "UploadId"), expected, "{more}");
        }
        let mut found = Vec::new();
        let mut more = "max-uploads=1".to_owned();
        for _ in 0..4 {
            let page = list(&more).await;
            found.extend(all(&page, "UploadId"));
            let key = page.element("NextKeyMarker").unwrap_or_default();
            let id = page.element("NextUploadIdMarker").unwrap_or_default();
            more = format!("max-uploads=1&key-marker={key}&upload-id-marker={id}");
        }
        assert_eq!(found, every);
        initiate(&emulator, "dir/1").await;
        initiate(&emulator, "dir/2").await;
        let page = list("delimiter=%2F&prefix=d&encoding-type=url").await;
        assert_eq!(all(&page, "UploadId"), [""; 0]);
        assert!(
            page.text()
                .contains("<CommonPrefixes><Prefix>dir%2F</Prefix></CommonPrefixes>")
        );
        let page = list("delimiter=%2F&max-uploads=4").await;
        assert_eq!(page.element("NextKeyMarker").as_deref(), Some("dir/"));
        let page = list("delimiter=%2F&key-marker=dir%2F").await;
        assert_eq!(all(&page, "UploadId"), std::slice::from_ref(&foo));
        for max in ["0", "1001", "x"] {
            list(&format!("max-uploads={max}"))
                .await
                .assert_refused(400, "InvalidArgument", "");
        }
    }
}

fn md5(body: &str) -> String {
    STANDARD.encode(Md5::digest(body))
}

async fn delete(emulator: &Emulator, more: &str, document: &str) -> Answer {
    let md5 = md5(document);
    let headers = [("content-md5", &*md5)];
    let resource = format!("/{BUCKET}/?delete");
    ask_with(
        emulator,
        Method::POST,
        &resource,
        more,
        &headers,
        document.as_bytes(),
    )
    .await
}

#[tokio::test]
async fn many_objects_are_deleted_at_once() {
    for (_folder, settings) in stores() {
        let emulator = settings.build().unwrap();
        for name in ["a", "b", "c", "%E4%B8%AD&1"] {
            let answer = ask_with(
                &emulator,
                Method::PUT,
                &format!("/{BUCKET}/k{}", name.len()),
                "",
                &[],
                b"x",
            )
            .await;
            ok(&answer);
        }
        let document = "<?xml version=\"1.0\"?><Delete><Quiet>false</Quiet>\
            <Object><Key>k1</Key></Object>\
            <Object><Key>missing &amp;&#1;</Key><VersionId>null</VersionId></Object></Delete>";
        let answer = delete(&emulator, "encoding-type=url", document).await;
        ok(&answer);
        assert_eq!(all(&answer, "Key"), ["k1", "missing%20%26%01"]);
        assert_eq!(answer.element("EncodingType").as_deref(), Some("url"));
        // The SDK for Java sends a header.
        let md5 = md5(document);
        let headers = [("content-md5", &*md5), ("encoding-type", "url")];
        let resource = format!("/{BUCKET}/?delete");
        let body = document.as_bytes();
        let answer = ask_with(&emulator, Method::POST, &resource, "", &headers, body).await;
        ok(&answer);
        assert_eq!(answer.element("EncodingType").as_deref(), Some("url"));
        assert_eq!(all(&answer, "Key"), ["k1", "missing%20%26%01"]);
        let left = get(&emulator, &format!("/{BUCKET}/"), "").await;
        assert_eq!(all(&left, "Key"), ["k11"]);
        let document = "<Delete><Quiet>true</Quiet><Object><Key>k11</Key></Object></Delete>";
        let answer = delete(&emulator, "", document).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (200, ""));
        let left = get(&emulator, &format!("/{BUCKET}/"), "").await;
        assert_eq!(all(&left, "Key"), [""; 0]);
    }
}

#[tokio::test]
async fn a_list_that_deletes_nothing() {
    let open = HostedBucket::new("open".parse().unwrap()).acl(Acl::PublicRead);
    let emulator = builder().bucket(open).build().unwrap();
    ok(&put(&emulator, &format!("/{BUCKET}/k"), &[], b"x").await);
    let objects = |count: usize| {
        let objects = "<Object><Key>k</Key></Object>".repeat(count);
        format!("<Delete>{objects}</Delete>")
    };
    for (document, code, ec) in [
        (objects(0), "MalformedXML", ""),
        (objects(1001), "MalformedXML", ""),
        ("<Delete".to_owned(), "MalformedXML", ""),
        (String::new(), "MalformedXML", ""),
        (
            "<Delete><Object><Key>k</Key></Object><Object><VersionId>1</VersionId></Object></Delete>".to_owned(),
            "MalformedXML",
            "0016-00000613",
        ),
        (
            "<Delete><Object><Key>k</Key><VersionId>1</VersionId></Object></Delete>".to_owned(),
            "NotImplemented",
            "",
        ),
        (format!("<Delete><Object><Key>{}</Key></Object></Delete>", "k".repeat(3 << 20)), "MalformedXML", ""),
    ] {
        delete(&emulator, "", &document).await.assert_refused(400, code, ec);
    }
    let resource = format!("/{BUCKET}/?delete");
    let document = objects(1);
    ask_with(
        &emulator,
        Method::POST,
        &resource,
        "",
        &[],
        document.as_bytes(),
    )
    .await
    .assert_refused(400, "MissingArgument", "0016-00000606");
    let other = md5("other");
    ask_with(
        &emulator,
        Method::POST,
        &resource,
        "",
        &[("content-md5", &other)],
        document.as_bytes(),
    )
    .await
    .assert_refused(400, "InvalidDigest", "");
    // Neither a form nor a signature.
    anonymous(&emulator, Method::POST, "/open/?delete")
        .await
        .assert_refused(403, "AccessDenied", "0003-00000001");
    assert_eq!(
        get(&emulator, &format!("/{BUCKET}/k"), "").await.text(),
        "x"
    );
    ok(&delete(&emulator, "", &objects(1000)).await);
}
