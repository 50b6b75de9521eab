//! Multipart uploads with `sequential`: `TestUploadFileWithSequential` of aliyun-oss-go-sdk,
//! `TestUploaderWithSequential` of alibabacloud-oss-go-sdk-v2, `UploadFileTest` of
//! aliyun-oss-java-sdk, and errors that clients of OSS report.

use aliyun_oss_emulator::{Emulator, ObjectStore};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::Method;
use md5::{Digest as _, Md5};

use super::{
    client::{ask, put, today},
    path_style::ok,
    support::Answer,
};

const PART: usize = 100 * 1024;

async fn initiate(emulator: &Emulator, parameter: &str) -> String {
    let target = format!("/a?uploads{parameter}");
    let answer = ask(emulator, Method::POST, &target, &[], b"").await;
    ok(&answer);
    answer.element("UploadId").unwrap()
}

async fn part(emulator: &Emulator, id: &str, number: u32, data: &[u8]) -> Answer {
    put(
        emulator,
        &format!("/a?partNumber={number}&uploadId={id}"),
        &[],
        data,
    )
    .await
}

async fn complete(emulator: &Emulator, id: &str, parts: &[(u32, &str)]) -> Answer {
    let parts: String = parts
        .iter()
        .map(|(n, etag)| format!("<Part><PartNumber>{n}</PartNumber><ETag>{etag}</ETag></Part>"))
        .collect();
    let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
    let target = format!("/a?uploadId={id}");
    ask(emulator, Method::POST, &target, &[], body.as_bytes()).await
}

#[tokio::test]
async fn the_object_has_the_md5_of_its_content() {
    let folder = tempfile::tempdir().unwrap();
    let stored = today().store(ObjectStore::folder(folder.path()).unwrap());
    for builder in [today(), stored] {
        let emulator = builder.build().unwrap();
        let (first, second) = (vec![b'x'; PART], vec![b'y'; 3]);
        let whole = [&first[..], &second].concat();
        for (parameter, md5) in [
            ("&sequential", Some(STANDARD.encode(Md5::digest(&whole)))),
            ("", None),
        ] {
            let id = initiate(&emulator, parameter).await;
            let one = part(&emulator, &id, 1, &first).await;
            let two = part(&emulator, &id, 2, &second).await;
            let etag = |answer: &Answer| answer.header("etag").unwrap().to_owned();
            let parts = [(1, &*etag(&one)), (2, &*etag(&two))];
            let answer = complete(&emulator, &id, &parts).await;
            ok(&answer);
            assert!(answer.header("etag").unwrap().ends_with("-2\""));
            for method in [Method::HEAD, Method::GET] {
                let answer = ask(&emulator, method, "/a", &[], b"").await;
                assert_eq!(answer.header("content-md5"), md5.as_deref(), "{parameter}");
            }
        }
    }
}

#[tokio::test]
async fn of_two_requests_for_one_part_the_second_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = today().store(ObjectStore::folder(folder.path()).unwrap());
    let emulator = emulator.build().unwrap();
    let id = initiate(&emulator, "&sequential").await;
    let requests = (0..8).map(|_| {
        let (emulator, id) = (emulator.clone(), id.clone());
        tokio::spawn(async move { part(&emulator, &id, 1, b"x").await.status.as_u16() })
    });
    let requests: Vec<_> = requests.collect();
    let mut answers = Vec::new();
    for request in requests {
        answers.push(request.await.unwrap());
    }
    answers.sort_unstable();
    assert_eq!(answers, [200, 409, 409, 409, 409, 409, 409, 409]);
}

#[tokio::test]
async fn parts_are_uploaded_and_completed_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let open = || today().store(ObjectStore::folder(folder.path()).unwrap());
    let emulator = open().build().unwrap();
    let id = initiate(&emulator, "&sequential").await;
    let wrong = part(&emulator, &id, 2, b"x").await;
    wrong.assert_refused(400, "PartNotSequential", "");
    let one = part(&emulator, &id, 1, &[b'x'; PART]).await;
    ok(&one);
    drop(emulator);
    // A folder keeps it.
    let emulator = open().build().unwrap();
    for number in [3, 10_000] {
        let wrong = part(&emulator, &id, number, b"x").await;
        wrong.assert_refused(400, "PartNotSequential", "");
    }
    let again = part(&emulator, &id, 1, b"x").await;
    again.assert_refused(409, "PartAlreadyExist", "");
    assert_eq!(again.element("PartNumber").as_deref(), Some("1"));
    let copied = [("x-oss-copy-source", "/examplebucket/b")];
    ok(&put(&emulator, "/b", &[], b"b").await);
    let target = format!("/a?partNumber=3&uploadId={id}");
    let wrong = put(&emulator, &target, &copied, b"").await;
    wrong.assert_refused(400, "PartNotSequential", "");
    let target = format!("/a?partNumber=2&uploadId={id}");
    ok(&put(&emulator, &target, &copied, b"").await);

    let etag = |data: &[u8]| {
        let hex = Md5::digest(data);
        hex.iter()
            .map(|byte| format!("{byte:02X}"))
            .collect::<String>()
    };
    let wrong = complete(&emulator, &id, &[(2, &etag(b"b"))]).await;
    wrong.assert_refused(400, "PartNotSequential", "");
    let parts = [(1, &*etag(&[b'x'; PART])), (2, &*etag(b"b"))];
    ok(&complete(&emulator, &id, &parts).await);
}

/// The uploader of alibabacloud-oss-go-sdk-v2 repeats the parameter.
#[tokio::test]
async fn every_request_of_the_upload_may_have_the_parameter() {
    let emulator = today().build().unwrap();
    for (method, last) in [(Method::POST, 200), (Method::DELETE, 204)] {
        let id = initiate(&emulator, "&sequential").await;
        let target = format!("/a?sequential&partNumber=1&uploadId={id}");
        let answer = put(&emulator, &target, &[], b"x").await;
        ok(&answer);
        let etag = answer.header("etag").unwrap();
        let body = format!(
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>\
             </CompleteMultipartUpload>"
        );
        let target = format!("/a?sequential&uploadId={id}");
        let answer = ask(&emulator, method, &target, &[], body.as_bytes()).await;
        assert_eq!(answer.status.as_u16(), last, "{}", answer.text());
    }
}
