//! What the test suites of aliyun-oss-go-sdk and aliyun-oss-java-sdk assert.

use aliyun_oss_emulator::{Acl, Emulator, HostedBucket};
use http::Method;

use super::{
    client::{ask, put, read, today},
    path_style::{self, ok},
    support::{BUCKET, builder},
};

async fn initiate(emulator: &Emulator, target: &str, headers: &[(&str, &str)]) -> String {
    let target = format!("{target}?uploads");
    let answer = ask(emulator, Method::POST, &target, headers, b"").await;
    answer.element("UploadId").unwrap()
}

/// `UploadPartCopyTest`: `Location` of an object whose name has special characters.
#[tokio::test]
async fn a_location_is_encoded_as_encoding_type_url() {
    let emulator = today().build().unwrap();
    let id = initiate(&emulator, "/a/b~c%20d.-_", &[]).await;
    let target = format!("/a/b~c%20d.-_?uploadId={id}&encoding-type=url");
    let document = b"<CompleteMultipartUpload></CompleteMultipartUpload>";
    let answer = ask(&emulator, Method::POST, &target, &[], document).await;
    ok(&answer);
    assert_eq!(answer.element("Key").unwrap(), "a%2Fb%7Ec%20d.-_");
    let location = answer.element("Location").unwrap();
    assert!(location.ends_with(":9000/a%2Fb%7Ec%20d.-_"), "{location}");
}

/// `ObjectAclTest`: the header of the request that completes the upload.
#[tokio::test]
async fn the_acl_of_a_completed_upload() {
    let emulator = today().build().unwrap();
    const ACL: &str = "x-oss-object-acl";
    for (first, last, expected) in [
        (None, Some("public-read"), "public-read"),
        (
            Some("public-read-write"),
            Some("public-read"),
            "public-read",
        ),
        (Some("public-read"), Some("default"), "default"),
        (Some("public-read"), Some(""), "public-read"),
        (Some("public-read"), None, "public-read"),
    ] {
        let headers = |acl: Option<&'static str>| acl.map(|acl| (ACL, acl));
        let id = initiate(&emulator, "/a", headers(first).as_slice()).await;
        let target = format!("/a?uploadId={id}");
        let complete = async |acl: Option<&'static str>| {
            let body = b"<CompleteMultipartUpload></CompleteMultipartUpload>";
            ask(
                &emulator,
                Method::POST,
                &target,
                headers(acl).as_slice(),
                body,
            )
            .await
        };
        let odd = complete(Some("open")).await;
        assert_eq!(odd.status, 400, "{}", odd.text());
        ok(&complete(last).await);
        let answer = read(&emulator, "/a?acl").await;
        assert_eq!(answer.element("Grant").unwrap(), expected);
    }
}

/// `DownloadFileTest`: the download of an empty object begins at its first byte.
#[tokio::test]
async fn a_range_of_an_empty_object() {
    let emulator = today().build().unwrap();
    ok(&put(&emulator, "/empty", &[], b"").await);
    for (range, standard, status) in [
        ("bytes=0-", false, 200),
        ("bytes=0-0", false, 200),
        ("bytes=1-", false, 416),
        ("bytes=0-", true, 416),
    ] {
        let behavior = ("x-oss-range-behavior", "standard");
        let headers = [("range", range), behavior];
        let headers = &headers[..1 + usize::from(standard)];
        let answer = ask(&emulator, Method::GET, "/empty", headers, b"").await;
        assert_eq!(answer.status.as_u16(), status, "{range}");
        if status == 200 {
            assert_eq!(answer.header("content-length"), Some("0"));
            assert_eq!(answer.header("content-range"), None);
        }
    }
}

/// `TestSignURL`: an upload may carry the parameters that replace headers of the response.
#[tokio::test]
async fn replaced_headers_do_not_select_an_operation() {
    let emulator = today().build().unwrap();
    let parameter = "response-content-encoding=deflate";
    ok(&put(&emulator, &format!("/a?{parameter}"), &[], b"x").await);
    let target = format!("/a?{parameter}");
    let answer = read(&emulator, &target).await;
    assert_eq!(answer.header("content-encoding"), Some("deflate"));
    let answer = ask(&emulator, Method::HEAD, &target, &[], b"").await;
    assert_eq!(answer.header("content-encoding"), Some("deflate"));
    let answer = ask(&emulator, Method::DELETE, &target, &[], b"").await;
    assert_eq!(answer.status, 204, "{}", answer.text());
    for target in ["/a?response-unknown=x", "/a?acl&response-content-type=x"] {
        let answer = read(&emulator, target).await;
        answer.assert_refused(400, "NotImplemented", "");
    }
}

/// Both SDKs sign with version 1 more sub-resources than the others.
#[tokio::test]
async fn version_1_signs_what_go_and_java_sign() {
    let emulator = builder().build().unwrap();
    for name in [
        "img",
        "processConfiguration",
        "responseHeader",
        "udf",
        "udfApplicationLog",
        "vip",
        "vpcip",
        "withHashContext",
        "x-oss-enable-sha256",
        "x-oss-rename",
        "x-oss-write-get-object-response",
    ] {
        let resource = format!("/{BUCKET}/?{name}");
        let answer = path_style::get(&emulator, &resource, "").await;
        answer.assert_refused(400, "NotImplemented", "");
    }
}

/// `ErrorTest`: the SDK corrects its clock from the times in the document.
#[tokio::test]
async fn a_skewed_signature_is_answered_with_both_times() {
    let emulator = builder().build().unwrap();
    for (header, date, time) in [
        (
            "date",
            "Sun, 03 Dec 2023 11:57:11 GMT",
            "2023-12-03T11:57:11.000Z",
        ),
        ("x-oss-date", "20231203T122713Z", "2023-12-03T12:27:13.000Z"),
    ] {
        for authorization in ["OSS id:signature", "OSS2 AccessKeyId:id,Signature:x"] {
            let headers = [(header, date), ("authorization", authorization)];
            let answer = unsigned(&emulator, &headers).await;
            answer.assert_refused(403, "RequestTimeTooSkewed", "0002-00000504");
            let element = |name| answer.element(name).unwrap();
            assert_eq!(element("RequestTime"), time);
            assert_eq!(element("ServerTime"), "2023-12-03T12:12:12.000Z");
            assert_eq!(element("MaxAllowedSkewMilliseconds"), "900000");
        }
    }
}

async fn unsigned(emulator: &Emulator, headers: &[(&str, &str)]) -> super::support::Answer {
    let request = super::client::to(Method::GET, "/a", headers, b"");
    super::support::send(emulator, request.map(Into::into)).await
}

/// `CreateBucketTest`.
#[tokio::test]
async fn a_bucket_of_another_region() {
    let hosted = HostedBucket::new("hosted".parse().unwrap()).acl(Acl::AuthenticatedRead);
    let emulator = builder()
        .bucket(hosted)
        .create_buckets(true)
        .build()
        .unwrap();
    for bucket in ["hosted", "created"] {
        let document = b"<CreateBucketConfiguration>\
            <LocationConstraint>oss-cn-zhengzhou</LocationConstraint></CreateBucketConfiguration>";
        let answer = path_style::put(&emulator, &format!("/{bucket}/"), &[], document).await;
        answer.assert_refused(400, "InvalidLocationConstraint", "");
        let message = answer.element("Message").unwrap();
        assert!(message.starts_with("The specified location-constraint is not valid"));
    }
    let answer = path_style::get(&emulator, "/hosted/?acl", "").await;
    assert_eq!(answer.element("Grant").unwrap(), "authenticated-read");
}

/// `TestPutObjectNegative`. An upload has no conditions.
#[tokio::test]
async fn an_upload_with_a_condition_is_refused() {
    let emulator = today().build().unwrap();
    ok(&put(&emulator, "/a", &[], b"x").await);
    for condition in [
        ("if-modified-since", "Tue, 10 Nov 2009 23:00:00 GMT"),
        ("if-unmodified-since", "Tue, 10 Nov 2009 23:00:00 GMT"),
        ("if-match", "\"x\""),
        ("if-none-match", "*"),
    ] {
        let answer = put(&emulator, "/a", &[condition], b"y").await;
        answer.assert_refused(400, "NotImplemented", "");
    }
    assert_eq!(read(&emulator, "/a").await.text(), "x");
}

/// `BucketInfoTest` and `TestIsBucketExist`.
#[tokio::test]
async fn names_that_no_bucket_can_have() {
    let emulator = builder().create_buckets(true).build().unwrap();
    let get = async |target: &str| path_style::get(&emulator, target, "").await;
    for target in ["/some_bucket/?bucketInfo", "/some_bucket/a"] {
        get(target)
            .await
            .assert_refused(404, "NoSuchBucket", "0015-00000101");
    }
    let answer = path_style::put(&emulator, "/some_bucket/", &[], b"").await;
    answer.assert_refused(400, "InvalidBucketName", "");
    for target in ["/-bucket/", "/Bucket_1/"] {
        get(target)
            .await
            .assert_refused(400, "InvalidBucketName", "");
    }
    let list =
        async |prefix: &str| path_style::get(&emulator, "/", &format!("prefix={prefix}")).await;
    list("BucketName")
        .await
        .assert_refused(400, "InvalidArgument", "");
    ok(&list("example").await);
}

/// `CreateBucketTest`, `BucketAclTest`, `DeleteBucketTest`, `BucketCORSTest`, `ListObjectsTest` and
/// `PutObjectTest`: a bucket of another account.
#[tokio::test]
async fn a_bucket_of_another_account() {
    let name = "theirs".parse().unwrap();
    let settings = builder().create_buckets(true).foreign_bucket(name);
    let emulator = settings.build().unwrap();
    for target in ["/theirs/", "/theirs/?acl"] {
        let answer = path_style::put(&emulator, target, &[("x-oss-acl", "private")], b"").await;
        answer.assert_refused(409, "BucketAlreadyExists", "0015-00000102");
        let message = answer.element("Message").unwrap();
        assert!(message.starts_with("The requested bucket name is not available."));
    }
    for (method, target) in [
        (Method::GET, "/theirs/"),
        (Method::GET, "/theirs/?acl"),
        (Method::GET, "/theirs/?lifecycle"),
        (Method::DELETE, "/theirs/?cors"),
        (Method::DELETE, "/theirs/"),
        (Method::GET, "/theirs/a"),
        (Method::PUT, "/theirs/a"),
    ] {
        let signed = path_style::ask(&emulator, method.clone(), target).await;
        signed.assert_refused(403, "AccessDenied", "");
        let anonymous = path_style::anonymous(&emulator, method, target).await;
        anonymous.assert_refused(403, "AccessDenied", "");
    }
    let copied = [("x-oss-copy-source", "/theirs/a")];
    let answer = path_style::put(&emulator, &format!("/{BUCKET}/a"), &copied, b"").await;
    answer.assert_refused(403, "AccessDenied", "");
    let unknown = "/theirs/a?OSSAccessKeyId=nobody&Expires=1701605592&Signature=x";
    let answer = path_style::anonymous(&emulator, Method::GET, unknown).await;
    answer.assert_refused(403, "InvalidAccessKeyId", "0002-00000902");
    let answer = path_style::get(&emulator, "/", "").await;
    assert_eq!(path_style::all(&answer, "Name"), [BUCKET]);

    let clash = builder().foreign_bucket(BUCKET.parse().unwrap()).build();
    let error = clash.unwrap_err().to_string();
    assert!(error.contains(BUCKET), "{error}");
}

/// `EncryptionClientRsaTest`, and the page about EC 0005-00000420: a client that encrypts the
/// object announces its size.
#[tokio::test]
async fn parts_that_are_not_what_the_client_encrypts() {
    let emulator = today().build().unwrap();
    const SIZE: &str = "x-oss-meta-client-side-encryption-data-size";
    let part = vec![b'x'; 100 * 1024];
    for (size, status) in [("102400", 200), ("512000", 400), ("odd", 200)] {
        let id = initiate(&emulator, "/a", &[(SIZE, size)]).await;
        let target = format!("/a?partNumber=1&uploadId={id}");
        let etag = put(&emulator, &target, &[], &part).await;
        let etag = etag.header("etag").unwrap();
        let body = format!(
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>\
             </CompleteMultipartUpload>"
        );
        let target = format!("/a?uploadId={id}");
        let answer = ask(&emulator, Method::POST, &target, &[], body.as_bytes()).await;
        match status {
            200 => ok(&answer),
            _ => answer.assert_refused(400, "InvalidArgument", "0005-00000420"),
        }
    }
}
