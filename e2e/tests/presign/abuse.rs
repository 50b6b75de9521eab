//! What a client with a lawful handle can try. Each row of the table in `docs/presign.md` is a
//! test.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use serde_json::json;
use tower_aliyun_oss::{policy::Grant, protocol::SizeRange};

use super::support::{App, MIB};

fn grant() -> Grant {
    let size = SizeRange::new(1, 100 * MIB).unwrap();
    Grant::under("user/7/".parse().unwrap(), size).claims(&7)
}

const PART: &str = "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>";

/// Completes one granted upload a hundred times. OSS completes each of the hundred uploads that the
/// client started; all of them carry one ticket.
#[tokio::test]
async fn ps_03_a_hundred_completions_are_one_run() {
    let size = SizeRange::new(1, 100 * MIB).unwrap();
    let grant = Grant::exact("user/7/a.bin".parse().unwrap(), size)
        .allow_overwrite()
        .claims(&7);
    let app = App::start(grant).await;
    let created = app.create("a.bin", 5, "").await;
    let mut statuses = BTreeMap::new();
    for _ in 0..100 {
        let id = app.initiate(&created).await;
        let document = app.upload_parts(&created, &id, &[1]).await;
        let request = app.step("complete", &created, &id).await;
        let reply = app.send(&request, document).await;
        *statuses.entry(reply.status.as_u16()).or_insert(0) += 1;
    }
    // OSS reports 203 for a callback that the layer refused.
    assert_eq!(statuses, [(200, 1), (203, 99)].into(), "{statuses:?}");
    assert_eq!(app.runs(), 1);
    // A whole file under the same handle carries the same ticket.
    let put = app
        .signed(json!({"action": "put", "handle": created["handle"]}))
        .await;
    assert_eq!(app.send(&put["request"], "hello").await.status, 203);
    assert_eq!(app.runs(), 1);
}

/// One completion is sent again, after it succeeded.
#[tokio::test]
async fn ps_07_a_second_completion_finds_no_upload() {
    let app = App::start(grant()).await;
    let created = app.create("a.bin", 5, "").await;
    let id = app.initiate(&created).await;
    let document = app.upload_parts(&created, &id, &[1]).await;
    let request = app.step("complete", &created, &id).await;
    app.send(&request, document.clone()).await.assert_ok();
    let again = app.send(&request, document.clone()).await;
    again.assert_code(404, "NoSuchUpload");
    // Without permission to overwrite, neither does another upload of the handle replace the
    // object.
    let refused = app.send(&created["request"], "").await;
    if refused.status == 200 {
        let id = refused.element("UploadId");
        let document = app.upload_parts(&created, &id, &[1]).await;
        let request = app.step("complete", &created, &id).await;
        app.send(&request, document)
            .await
            .assert_code(409, "FileAlreadyExists");
    } else {
        refused.assert_code(409, "FileAlreadyExists");
    }
    assert_eq!(app.runs(), 1);
}

/// A URL is for one object, one upload id and one number. Nothing of it can be changed.
#[tokio::test]
async fn ps_07_no_url_works_for_something_else() {
    let app = App::start(grant()).await;
    let created = app.create("a.bin", 9 * MIB, "").await;
    let id = app.initiate(&created).await;
    let ask = json!({
        "action": "parts", "handle": created["handle"], "uploadId": id, "parts": [1]
    });
    let part = app.signed(ask).await["parts"][0].clone();
    let url = part["request"]["url"].as_str().unwrap();
    let size = usize::try_from(8 * MIB).unwrap();
    for (from, to) in [
        ("partNumber=1&", "partNumber=2&"),
        ("user/7/", "user/8/"),
        (&*format!("uploadId={id}"), "uploadId=0123456789ABCDEF"),
        ("x-oss-expires=3600", "x-oss-expires=7200"),
        ("?partNumber=1&", "?acl&partNumber=1&"),
        ("x-oss-additional-headers=content-length&", ""),
    ] {
        assert!(url.contains(from), "{from} {url}");
        let mut request = part["request"].clone();
        request["url"] = json!(url.replacen(from, to, 1));
        let refused = app.send(&request, vec![7; size]).await;
        assert!(
            [403, 501].contains(&refused.status.as_u16()),
            "{to}: {}",
            refused.text()
        );
    }
    // Nor are other headers of OSS, another type or another length accepted.
    for (name, value) in [
        ("x-oss-object-acl", "public-read"),
        ("x-oss-server-side-encryption", "AES256"),
        ("content-type", "text/html"),
        ("content-md5", "XUFAKrxLKna5cZ2REBfFkg=="),
    ] {
        let refused = app
            .send_with(&part["request"], &[(name, value)], vec![7; size])
            .await;
        refused.assert_code(403, "SignatureDoesNotMatch");
    }
    for wrong in [0, 1, size - 1, size + 1] {
        let refused = app.send(&part["request"], vec![7; wrong]).await;
        refused.assert_code(403, "SignatureDoesNotMatch");
    }
    app.send(&part["request"], vec![7; size]).await.assert_ok();
}

/// The signed initiation fixes type, ACL and whether an object is replaced.
#[tokio::test]
async fn ps_07_the_object_has_the_granted_type_and_acl() {
    let app = App::start(grant()).await;
    let created = app.create("a.bin", 5, "").await;
    for (name, value) in [
        ("x-oss-object-acl", "public-read"),
        ("x-oss-forbid-overwrite", "false"),
        ("content-type", "text/html"),
        ("x-oss-meta-a", "b"),
    ] {
        let refused = app
            .send_with(&created["request"], &[(name, value)], "")
            .await;
        refused.assert_code(403, "SignatureDoesNotMatch");
    }
    let mut bare = created["request"].clone();
    bare["headers"] = json!({});
    app.send(&bare, "")
        .await
        .assert_code(403, "SignatureDoesNotMatch");
}

/// The upload of another object: its id is of no use under this key.
#[tokio::test]
async fn ps_07_the_id_of_another_upload_is_unknown_to_oss() {
    let app = App::start(grant()).await;
    let (mine, other) = (
        app.create("a.bin", 5, "").await,
        app.create("b.bin", 5, "").await,
    );
    let id = app.initiate(&other).await;
    for action in ["list", "complete", "abort"] {
        let request = app.step(action, &mine, &id).await;
        let refused = app.send(&request, "<CompleteMultipartUpload/>").await;
        refused.assert_code(404, "NoSuchUpload");
    }
    let ask = json!({"action": "parts", "handle": mine["handle"], "uploadId": id, "parts": [1]});
    let part = app.signed(ask).await["parts"][0]["request"].clone();
    app.send(&part, "hello")
        .await
        .assert_code(404, "NoSuchUpload");
    assert_eq!(app.runs(), 0);
}

/// Fewer parts than granted: OSS stores the object, and the ticket refuses its callback.
#[tokio::test]
async fn ps_08_an_object_of_another_size_is_not_accepted() {
    let app = App::start(grant()).await;
    let created = app.create("a.bin", 9 * MIB, "").await;
    let id = app.initiate(&created).await;
    let document = app.upload_parts(&created, &id, &[1, 2]).await;
    // Only the first.
    let (first, _) = document.split_once("</Part>").unwrap();
    let short = format!("{first}</Part></CompleteMultipartUpload>");
    assert!(short.starts_with(PART));
    let request = app.step("complete", &created, &id).await;
    let reply = app.send(&request, short).await;
    assert_eq!(reply.status, 203, "{}", reply.text());
    assert!(
        reply.text().contains("Error status : 403."),
        "{}",
        reply.text()
    );
    assert_eq!(app.runs(), 0);
}

/// More than granted: the count of parts and the length of each are fixed.
#[tokio::test]
async fn ps_08_no_part_beyond_the_size_is_signed() {
    let app = App::start(grant()).await;
    let created = app.create("a.bin", 9 * MIB, "").await;
    for parts in [
        json!([3]),
        json!([1, 2, 3]),
        json!([0]),
        json!([]),
        json!([10_000]),
    ] {
        let ask = json!({
            "action": "parts", "handle": created["handle"], "uploadId": "U", "parts": parts
        });
        let (status, answer) = app.ask(ask).await;
        assert_eq!(
            (status.as_u16(), &answer["code"]),
            (400, &json!("InvalidPart")),
            "{parts}"
        );
    }
}

/// A URL is valid for an hour, and a handle for a day.
#[tokio::test]
async fn ps_09_urls_and_handles_expire() {
    let app = App::start(grant()).await;
    let created = app.create("a.bin", 5, "").await;
    let id = app.initiate(&created).await;
    let list = app.step("list", &created, &id).await;
    app.send(&list, "").await.assert_ok();
    app.ahead.store(3601 + 60, Ordering::SeqCst);
    let expired = app.send(&list, "").await;
    assert_eq!(expired.status, 403, "{}", expired.text());
    // The handle still continues the upload.
    let list = app.step("list", &created, &id).await;
    app.send(&list, "").await.assert_ok();
    app.ahead.store(86_401, Ordering::SeqCst);
    let ask = json!({"action": "list", "handle": created["handle"], "uploadId": id});
    let (status, answer) = app.ask(ask).await;
    assert_eq!(
        (status.as_u16(), &answer["code"]),
        (410, &json!("HandleExpired"))
    );
}
