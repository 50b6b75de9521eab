//! Tags of objects and buckets.

use bytes::Bytes;
use http::Method;

use super::{
    path_style::{all, ask, ask_with, get, ok, put, reopen, signed, stores},
    support::{Answer, BUCKET, builder, good, send},
};

fn tagging(tags: &[(&str, &str)]) -> String {
    let tags = tags
        .iter()
        .map(|(key, value)| format!("<Tag><Key>{key}</Key><Value>{value}</Value></Tag>"));
    let tags: String = tags.collect();
    format!("<Tagging><TagSet>{tags}</TagSet></Tagging>")
}

fn tags(answer: &Answer) -> Vec<(String, String)> {
    let elements = answer.text().split("<Tag>").skip(1);
    let text = |element: &str, name: &str| {
        let (_, rest) = element.split_once(&format!("<{name}>")).unwrap_or_default();
        rest.split('<').next().unwrap().to_owned()
    };
    elements
        .map(|tag| (text(tag, "Key"), text(tag, "Value")))
        .collect()
}

fn owned(tags: &[(&str, &str)]) -> Vec<(String, String)> {
    let tags = tags.iter();
    tags.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

#[tokio::test]
async fn tags_of_objects() {
    for (folder, settings) in stores() {
        let emulator = settings.build().unwrap();
        let object = format!("/{BUCKET}/a");
        let of_tags = format!("{object}?tagging");
        ok(&put(&emulator, &object, &[], b"content").await);
        let before = ask(&emulator, Method::HEAD, &object).await;
        assert_eq!(before.header("x-oss-tagging-count"), None);
        let answer = get(&emulator, &of_tags, "").await;
        ok(&answer);
        assert_eq!(tags(&answer), []);
        let (long, longest) = ("a".repeat(128), "a".repeat(256));
        let two = [(&*long, &*longest), ("+-.:", "_/"), (" 中 =", "")];
        ok(&put(&emulator, &of_tags, &[], tagging(&two).as_bytes()).await);
        assert_eq!(tags(&get(&emulator, &of_tags, "").await), owned(&two));
        let after = ask(&emulator, Method::HEAD, &object).await;
        assert_eq!(after.header("x-oss-tagging-count"), Some("3"));
        for name in [
            "etag",
            "last-modified",
            "content-length",
            "x-oss-hash-crc64ecma",
        ] {
            assert_eq!(before.header(name), after.header(name), "{name}");
        }
        assert_eq!(get(&emulator, &object, "").await.text(), "content");
        // All are replaced.
        ok(&put(&emulator, &of_tags, &[], tagging(&[("k", "v")]).as_bytes()).await);
        let emulator = match &folder {
            None => emulator,
            Some(folder) => {
                drop(emulator);
                reopen(folder.path()).build().unwrap()
            }
        };
        assert_eq!(
            tags(&get(&emulator, &of_tags, "").await),
            owned(&[("k", "v")])
        );
        assert_eq!(get(&emulator, &object, "").await.text(), "content");
        let answer = ask(&emulator, Method::DELETE, &of_tags).await;
        assert_eq!(answer.status, 204);
        assert_eq!(tags(&get(&emulator, &of_tags, "").await), []);
        for method in [Method::GET, Method::PUT, Method::DELETE] {
            let body = tagging(&[("k", "v")]);
            let target = format!("/{BUCKET}/missing?tagging");
            ask_with(&emulator, method, &target, "", &[], body.as_bytes())
                .await
                .assert_refused(404, "NoSuchKey", "0026-00000001");
        }
    }
}

#[tokio::test]
async fn tags_that_objects_cannot_have() {
    let emulator = builder().build().unwrap();
    let object = format!("/{BUCKET}/a");
    let of_tags = format!("{object}?tagging");
    ok(&put(&emulator, &object, &[], b"x").await);
    ok(&put(
        &emulator,
        &of_tags,
        &[],
        tagging(&[("kept", "1")]).as_bytes(),
    )
    .await);
    let eleven: Vec<_> = (0..11).map(|at| at.to_string()).collect();
    let eleven: Vec<_> = eleven.iter().map(|key| (&**key, "x")).collect();
    let (long, longest) = ("a".repeat(129), "a".repeat(257));
    for (document, code, ec) in [
        (tagging(&[(&long, "x")]), "InvalidTag", "0010-00000219"),
        (tagging(&[("x", &longest)]), "InvalidTag", "0010-00000219"),
        (tagging(&[("%@abc", "x")]), "InvalidTag", "0010-00000219"),
        (tagging(&[("x", "%abc")]), "InvalidTag", "0010-00000219"),
        (tagging(&[("", "x")]), "InvalidTag", "0010-00000219"),
        (
            tagging(&[("A", "1"), ("A", "1")]),
            "InvalidTag",
            "0010-00000210",
        ),
        (tagging(&eleven), "InvalidTag", ""),
        ("<Tagging>".to_owned(), "MalformedXML", ""),
        ("<Tags/>".to_owned(), "MalformedXML", ""),
    ] {
        put(&emulator, &of_tags, &[], document.as_bytes())
            .await
            .assert_refused(400, code, ec);
    }
    for header in ["aa=bb=cc", "a=1&a=2", "a=%26", "=x"] {
        let answer = put(&emulator, &object, &[("x-oss-tagging", header)], b"y").await;
        assert_eq!(
            answer.element("Code").as_deref(),
            Some("InvalidTag"),
            "{header}"
        );
    }
    assert_eq!(
        tags(&get(&emulator, &of_tags, "").await),
        owned(&[("kept", "1")])
    );
    assert_eq!(get(&emulator, &object, "").await.text(), "x");
}

#[tokio::test]
async fn uploads_tag_their_objects() {
    let emulator = builder().build().unwrap();
    let header = [("x-oss-tagging", "k1=v1&+%2B/=%E4%B8%AD")];
    let expected = owned(&[("k1", "v1"), (" +/", "中")]);
    let of = |key: &str| format!("/{BUCKET}/{key}");
    ok(&put(&emulator, &of("put"), &header, b"x").await);
    let answer = ask_with(
        &emulator,
        Method::POST,
        &of("parts?uploads"),
        "",
        &header,
        b"",
    )
    .await;
    let id = answer.element("UploadId").unwrap();
    ok(&put(
        &emulator,
        &of(&format!("parts?partNumber=1&uploadId={id}")),
        &[],
        b"x",
    )
    .await);
    // `oss2` repeats the header with every request.
    let all = [("x-oss-complete-all", "yes"), header[0]];
    let resource = of(&format!("parts?uploadId={id}"));
    ok(&ask_with(&emulator, Method::POST, &resource, "", &all, b"").await);
    let form = good(&[("key", "form"), header[0]]).file(b"x");
    assert_eq!(form.post(&emulator).await.status, 204);
    for key in ["put", "parts", "form"] {
        let answer = get(&emulator, &of(&format!("{key}?tagging")), "").await;
        assert_eq!(tags(&answer), expected, "{key}");
    }
    // An upload replaces the tags with the object.
    ok(&put(&emulator, &of("put"), &[], b"x").await);
    assert_eq!(tags(&get(&emulator, &of("put?tagging"), "").await), []);
}

#[tokio::test]
async fn tags_of_buckets() {
    let emulator = builder().create_buckets(true).build().unwrap();
    ok(&put(&emulator, "/one/", &[], b"").await);
    ok(&put(
        &emulator,
        "/two/",
        &[("x-oss-bucket-tagging", "a=1&c=3")],
        b"",
    )
    .await);
    let some = [
        ("%@abc", "abc"),
        ("123++", "++123%"),
        ("a", "1"),
        ("b", "2"),
    ];
    ok(&put(&emulator, "/one/?tagging", &[], tagging(&some).as_bytes()).await);
    assert_eq!(
        tags(&get(&emulator, "/one/?tagging", "").await),
        owned(&some)
    );
    for (more, names) in [
        ("tag-key=a", &["one", "two"][..]),
        ("tag-key=a&tag-value=1", &["one", "two"]),
        ("tag-key=b&tag-value=2", &["one"]),
        ("tag-key=b&tag-value=3", &[]),
    ] {
        assert_eq!(
            all(&get(&emulator, "/", more).await, "Name"),
            names,
            "{more}"
        );
    }
    // The spelling of `ali-oss`. The signed text is not percent-encoded.
    let resource = "/?tagging=\"a\":\"1\",\"b\":\"2\"";
    let answer = send(
        &emulator,
        signed(&Method::GET, resource, "", &[], Bytes::new()),
    )
    .await;
    assert_eq!(all(&answer, "Name"), ["one"]);
    assert_eq!(tags(&answer), owned(&some));
    let answer = ask(&emulator, Method::DELETE, "/one/?tagging=a,b").await;
    assert_eq!(answer.status, 204, "{}", answer.text());
    assert_eq!(
        tags(&get(&emulator, "/one/?tagging", "").await),
        owned(&some[..2])
    );
    let answer = ask(&emulator, Method::DELETE, "/one/?tagging").await;
    assert_eq!(answer.status, 204);
    assert_eq!(tags(&get(&emulator, "/one/?tagging", "").await), []);
    for (key, ec) in [
        ("acs:x", "0010-00000207"),
        (&*"k".repeat(65), "0010-00000219"),
    ] {
        put(
            &emulator,
            "/one/?tagging",
            &[],
            tagging(&[(key, "x")]).as_bytes(),
        )
        .await
        .assert_refused(400, "InvalidTag", ec);
    }
}
