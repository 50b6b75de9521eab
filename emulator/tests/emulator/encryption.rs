//! Encryption by the server, of objects and of buckets. The emulator only repeats it.
//!
//! The facts are those that the tests of `ali-oss`, `oss2` and the SDK for PHP assert.

use aliyun_oss_emulator::Emulator;
use http::Method;

use super::{
    client::{ask as of_bucket, put as put_object, read, today},
    path_style::{ask, get, ok, put, reopen, stores},
    support::{Answer, builder},
};

const METHOD: &str = "x-oss-server-side-encryption";
const ALGORITHM: &str = "x-oss-server-side-data-encryption";
const KEY: &str = "x-oss-server-side-encryption-key-id";
const ALL: [&str; 3] = [METHOD, ALGORITHM, KEY];

fn shown(answer: &Answer) -> [Option<&str>; 3] {
    ok(answer);
    ALL.map(|name| answer.header(name))
}

#[tokio::test]
async fn responses_to_uploads_repeat_the_encryption() {
    let emulator = today().build().unwrap();
    for (given, expected) in [
        (&[][..], [None; 3]),
        (&[(METHOD, "AES256")], [Some("AES256"), None, None]),
        (&[(METHOD, "SM4")], [Some("SM4"), None, None]),
        (
            &[(METHOD, "KMS"), (ALGORITHM, "SM4"), (KEY, "k")],
            [Some("KMS"), Some("SM4"), Some("k")],
        ),
        // Only KMS has an algorithm.
        (
            &[(METHOD, "AES256"), (ALGORITHM, "SM4")],
            [Some("AES256"), None, None],
        ),
        (&[(ALGORITHM, "SM4")], [None; 3]),
    ] {
        let answer = put_object(&emulator, "/a", given, b"x").await;
        assert_eq!(shown(&answer), expected, "{given:?}");
        assert_eq!(shown(&read(&emulator, "/a").await), expected);
    }
    let kms = [(METHOD, "KMS")];
    let answer = put_object(&emulator, "/a", &kms, b"x").await;
    let key = answer
        .header(KEY)
        .expect("the key of the account")
        .to_owned();

    let append = "/b?append&position=";
    let answer = of_bucket(&emulator, Method::POST, &format!("{append}0"), &kms, b"x").await;
    assert_eq!(shown(&answer), [Some("KMS"), None, Some(&*key)]);
    let other = [(METHOD, "AES256")];
    let answer = of_bucket(&emulator, Method::POST, &format!("{append}1"), &other, b"x").await;
    assert_eq!(shown(&answer), [Some("KMS"), None, Some(&*key)]);

    let copy = [(METHOD, "SM4"), ("x-oss-copy-source", "/examplebucket/a")];
    let answer = put_object(&emulator, "/c", &copy, b"").await;
    assert_eq!(shown(&answer), [Some("SM4"), None, None]);
}

#[tokio::test]
async fn an_upload_in_parts_is_encrypted_from_the_start() {
    let emulator = today().build().unwrap();
    let kms = [(METHOD, "KMS"), (ALGORITHM, "SM4"), (KEY, "k")];
    let expected = [Some("KMS"), Some("SM4"), Some("k")];
    let answer = of_bucket(&emulator, Method::POST, "/a?uploads", &kms, b"").await;
    assert_eq!(shown(&answer), expected);
    let id = answer.element("UploadId").unwrap();
    let part = format!("/a?partNumber=1&uploadId={id}");
    let answer = put_object(&emulator, &part, &kms[..1], b"x").await;
    answer.assert_refused(400, "InvalidArgument", "");
    let answer = put_object(&emulator, &part, &[], b"x").await;
    assert_eq!(shown(&answer), expected);
    let copied = format!("/a?partNumber=2&uploadId={id}");
    ok(&put_object(&emulator, "/source", &[], b"x").await);
    let source = [("x-oss-copy-source", "/examplebucket/source")];
    assert_eq!(
        shown(&put_object(&emulator, &copied, &source, b"").await),
        expected
    );
    let target = format!("/a?uploadId={id}");
    let etag = answer.header("etag").unwrap();
    let parts = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>\
         </CompleteMultipartUpload>"
    );
    let complete = |headers| of_bucket(&emulator, Method::POST, &target, headers, parts.as_bytes());
    let answer = complete(&kms[..1]).await;
    answer.assert_refused(400, "InvalidArgument", "");
    assert_eq!(shown(&complete(&[]).await), expected);
    assert_eq!(shown(&read(&emulator, "/a").await), expected);
}

fn rule(inner: &str) -> String {
    format!(
        "<ServerSideEncryptionRule><ApplyServerSideEncryptionByDefault>{inner}\
         </ApplyServerSideEncryptionByDefault></ServerSideEncryptionRule>"
    )
}

async fn set(emulator: &Emulator, inner: &str) -> Answer {
    put(
        emulator,
        "/examplebucket/?encryption",
        &[],
        rule(inner).as_bytes(),
    )
    .await
}

#[tokio::test]
async fn a_bucket_encrypts_new_objects() {
    for (folder, settings) in stores() {
        let mut emulator = settings.build().unwrap();
        let target = "/examplebucket/?encryption";
        let none = (404, "NoSuchServerSideEncryptionRule", "");
        let answer = get(&emulator, "/examplebucket/?encryption", "").await;
        answer.assert_refused(none.0, none.1, none.2);
        let answer = get(&emulator, "/examplebucket/?bucketInfo", "").await;
        assert_eq!(answer.element("SSEAlgorithm").as_deref(), Some("None"));
        for (inner, method, algorithm, key) in [
            (
                "<SSEAlgorithm>AES256</SSEAlgorithm><KMSMasterKeyID></KMSMasterKeyID>",
                "AES256",
                None,
                None,
            ),
            (
                "<SSEAlgorithm>SM4</SSEAlgorithm><KMSDataEncryption>SM4</KMSDataEncryption>",
                "SM4",
                None,
                None,
            ),
            (
                "<SSEAlgorithm>KMS</SSEAlgorithm><KMSMasterKeyID>123</KMSMasterKeyID>\
                 <KMSDataEncryption>SM4</KMSDataEncryption>",
                "KMS",
                Some("SM4"),
                Some("123"),
            ),
        ] {
            ok(&set(&emulator, inner).await);
            if let Some(folder) = &folder {
                drop(emulator);
                emulator = reopen(folder.path()).build().unwrap();
            }
            for query in ["encryption", "bucketInfo"] {
                let answer = get(&emulator, &format!("/examplebucket/?{query}"), "").await;
                let element = |name| answer.element(name);
                assert_eq!(element("SSEAlgorithm").as_deref(), Some(method), "{query}");
                assert_eq!(element("KMSDataEncryption").as_deref(), algorithm);
                assert_eq!(element("KMSMasterKeyID").as_deref(), key);
            }
            let answer = put(&emulator, "/examplebucket/a", &[], b"x").await;
            assert_eq!(shown(&answer), [Some(method), algorithm, key]);
            let own = [(METHOD, "SM4")];
            let answer = put(&emulator, "/examplebucket/a", &own, b"x").await;
            assert_eq!(shown(&answer), [Some("SM4"), None, None]);
        }
        for (inner, code) in [
            (
                "<SSEAlgorithm>AES256</SSEAlgorithm><KMSMasterKeyID>x</KMSMasterKeyID>",
                "InvalidArgument",
            ),
            (
                "<SSEAlgorithm>ROT13</SSEAlgorithm>",
                "InvalidEncryptionAlgorithmError",
            ),
            ("", "MalformedXML"),
        ] {
            set(&emulator, inner).await.assert_refused(400, code, "");
        }
        for _ in 0..2 {
            let answer = ask(&emulator, Method::DELETE, target).await;
            assert_eq!(answer.status, 204);
        }
        let answer = get(&emulator, "/examplebucket/?encryption", "").await;
        answer.assert_refused(none.0, none.1, none.2);
        let answer = put(&emulator, "/examplebucket/a", &[], b"x").await;
        assert_eq!(shown(&answer), [None; 3]);
    }
}

#[tokio::test]
async fn a_bucket_is_created_with_an_encryption() {
    let emulator = builder().create_buckets(true).build().unwrap();
    let kms = [(METHOD, "KMS"), (ALGORITHM, "SM4"), (KEY, "123")];
    for headers in [&kms[..], &[(METHOD, "SM4")]] {
        // The second request finds the bucket.
        ok(&put(&emulator, "/made/", headers, b"").await);
        let answer = get(&emulator, "/made/?bucketInfo", "").await;
        let method = headers[0].1;
        assert_eq!(answer.element("SSEAlgorithm").as_deref(), Some(method));
        ok(&put(&emulator, "/made/", &[], b"").await);
    }
    let answer = put(&emulator, "/made/", &[(METHOD, "ROT13")], b"").await;
    answer.assert_refused(400, "InvalidEncryptionAlgorithmError", "");
}
