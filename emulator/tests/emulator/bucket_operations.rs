//! Buckets: creation, deletion, settings, and what of them a folder keeps.
//!
//! The facts are those that the tests of Alibaba's SDKs assert.

use aliyun_oss_emulator::{Acl, Emulator, EmulatorError, HostedBucket, ObjectStore};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use tokio::sync::mpsc;
use tower::ServiceExt as _;

use super::{
    path_style::{all, anonymous, ask, get, ok, put, reopen, signed, stores},
    support::{BUCKET, NOW, Pieces, at, builder, read, send},
};

#[tokio::test]
async fn buckets_are_created_listed_and_deleted() {
    for (folder, settings) in stores() {
        let emulator = settings.create_buckets(true).build().unwrap();
        let answer = put(&emulator, "/made/", &[], b"").await;
        ok(&answer);
        assert_eq!(answer.header("location"), Some("/made"));
        let answer = get(&emulator, "/", "").await;
        ok(&answer);
        assert_eq!(all(&answer, "Name"), [BUCKET, "made"]);
        for (name, text) in [
            ("CreationDate", "2023-12-03T12:12:12.000Z"),
            ("ExtranetEndpoint", "127.0.0.1:9000"),
            ("IntranetEndpoint", "127.0.0.1:9000"),
            ("Location", "oss-cn-hangzhou"),
            ("Region", "cn-hangzhou"),
            ("StorageClass", "Standard"),
            ("ID", "1234567890123456"),
        ] {
            assert_eq!(answer.element(name).as_deref(), Some(text), "{name}");
        }
        // As `ali-oss` addresses it, the endpoint is that of OSS.
        let mut request = signed(&Method::GET, "/", "", &[], Bytes::new());
        let host = ".oss-cn-hangzhou.aliyuncs.com".parse().unwrap();
        request.headers_mut().insert("host", host);
        let answer = send(&emulator, request).await;
        for (name, text) in [
            ("ExtranetEndpoint", "oss-cn-hangzhou.aliyuncs.com"),
            ("IntranetEndpoint", "oss-cn-hangzhou-internal.aliyuncs.com"),
        ] {
            assert_eq!(answer.element(name).as_deref(), Some(text));
        }
        ok(&put(&emulator, "/made/a", &[], b"x").await);
        let answer = ask(&emulator, Method::DELETE, "/made/").await;
        answer.assert_refused(409, "BucketNotEmpty", "0015-00000301");
        assert_eq!(answer.element("BucketName").as_deref(), Some("made"));
        ask(&emulator, Method::DELETE, "/made/a").await;
        let answer = ask(&emulator, Method::POST, "/made/a?uploads").await;
        let id = answer.element("UploadId").unwrap();
        let answer = ask(&emulator, Method::DELETE, "/made/").await;
        answer.assert_refused(409, "BucketNotEmpty", "");
        // `UploadPartTest` of aliyun-oss-java-sdk.
        let message = answer.element("Message").unwrap();
        assert!(
            message.starts_with("The bucket has Multipart Uploads."),
            "{message}"
        );
        ask(&emulator, Method::DELETE, &format!("/made/a?uploadId={id}")).await;
        let answer = ask(&emulator, Method::DELETE, "/made/").await;
        assert_eq!(answer.status, 204, "{}", answer.text());
        let answer = ask(&emulator, Method::DELETE, "/made/").await;
        answer.assert_refused(404, "NoSuchBucket", "0015-00000101");
        let answer = put(&emulator, "/made/a", &[], b"x").await;
        answer.assert_refused(404, "NoSuchBucket", "0015-00000101");
        assert_eq!(all(&get(&emulator, "/", "").await, "Name"), [BUCKET]);
        if let Some(folder) = folder {
            assert!(!folder.path().join("buckets/made").exists());
            assert!(!folder.path().join("settings/made.json").exists());
        }
    }
}

#[tokio::test]
async fn a_folder_keeps_the_settings_of_its_buckets() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = reopen(folder.path()).create_buckets(true).build().unwrap();
    let configuration = b"<CreateBucketConfiguration><StorageClass>IA</StorageClass>\
        <DataRedundancyType>ZRS</DataRedundancyType></CreateBucketConfiguration>";
    ok(&put(
        &emulator,
        "/made/",
        &[("x-oss-acl", "public-read")],
        configuration,
    )
    .await);
    let tags = b"<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag></TagSet></Tagging>";
    ok(&put(&emulator, "/made/?tagging", &[], tags).await);
    ok(&put(&emulator, "/made/a", &[], b"x").await);
    let acl = [("x-oss-acl", "public-read-write")];
    ok(&put(&emulator, &format!("/{BUCKET}/?acl"), &acl, b"").await);
    let cors = b"<CORSConfiguration><CORSRule><AllowedOrigin>http://a</AllowedOrigin>\
        <AllowedMethod>PUT</AllowedMethod><AllowedHeader>X-A</AllowedHeader>\
        <ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>60</MaxAgeSeconds></CORSRule>\
        </CORSConfiguration>";
    ok(&put(&emulator, "/made/?cors", &[], cors).await);
    let before = get(&emulator, "/made/?cors", "").await.body;
    drop(emulator);

    // The clock has advanced, and the builder configures another ACL.
    let emulator = reopen(folder.path())
        .clock(|| at(NOW + 30))
        .bucket(HostedBucket::new("other".parse().unwrap()).acl(Acl::PublicRead))
        .build()
        .unwrap();
    let info = get(&emulator, "/made/?bucketInfo", "").await;
    for (name, text) in [
        ("CreationDate", "2023-12-03T12:12:12.000Z"),
        ("StorageClass", "IA"),
        ("DataRedundancyType", "ZRS"),
        ("Grant", "public-read"),
    ] {
        assert_eq!(info.element(name).as_deref(), Some(text), "{name}");
    }
    let answer = get(&emulator, "/made/?tagging", "").await;
    assert_eq!(all(&answer, "Key"), ["a"]);
    assert_eq!(get(&emulator, "/made/?cors", "").await.body, before);
    assert_eq!(get(&emulator, "/made/a", "").await.text(), "x");
    let answer = get(&emulator, &format!("/{BUCKET}/?acl"), "").await;
    // Set by a request, so the private bucket of the builder does not replace it.
    assert_eq!(
        answer.element("Grant").as_deref(),
        Some("public-read-write")
    );
    drop(emulator);

    // No request has set this one.
    let other = HostedBucket::new("other".parse().unwrap()).acl(Acl::PublicReadWrite);
    let emulator = reopen(folder.path()).bucket(other).build().unwrap();
    let answer = get(&emulator, "/other/?acl", "").await;
    assert_eq!(
        answer.element("Grant").as_deref(),
        Some("public-read-write")
    );
    let info = get(&emulator, "/other/?bucketInfo", "").await;
    let created = info.element("CreationDate");
    assert_eq!(created.as_deref(), Some("2023-12-03T12:12:42.000Z"));
}

#[tokio::test]
async fn damaged_settings_of_a_bucket_are_an_error_at_start() {
    let folder = tempfile::tempdir().unwrap();
    drop(reopen(folder.path()).build().unwrap());
    std::fs::write(folder.path().join(format!("settings/{BUCKET}.json")), "{").unwrap();
    let error = ObjectStore::folder(folder.path()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    assert!(error.to_string().contains(BUCKET), "{error}");
}

#[tokio::test]
async fn without_the_option_the_buckets_are_fixed() {
    let emulator = builder().build().unwrap();
    put(&emulator, "/made/", &[], b"")
        .await
        .assert_refused(400, "NotImplemented", "");
    put(&emulator, "/made/?acl", &[("x-oss-acl", "private")], b"")
        .await
        .assert_refused(404, "NoSuchBucket", "0015-00000101");
    let existing = format!("/{BUCKET}/");
    let answer = ask(&emulator, Method::DELETE, &existing).await;
    answer.assert_refused(400, "NotImplemented", "");
    assert!(
        answer
            .element("Message")
            .unwrap()
            .contains("create_buckets")
    );
    // A set-up that creates its bucket works.
    ok(&put(&emulator, &existing, &[], b"").await);
    assert_eq!(all(&get(&emulator, "/", "").await, "Name"), [BUCKET]);
    let error = Emulator::builder().build().unwrap_err();
    assert_eq!(error, EmulatorError::NoBucket);
    assert!(error.to_string().contains("create_buckets"));
    Emulator::builder().create_buckets(true).build().unwrap();
}

#[tokio::test]
async fn creating_a_bucket_again_changes_only_its_acl() {
    let emulator = builder().create_buckets(true).build().unwrap();
    let class = |class| {
        format!(
            "<CreateBucketConfiguration><StorageClass>{class}</StorageClass></CreateBucketConfiguration>"
        )
    };
    ok(&put(&emulator, "/made/", &[], class("IA").as_bytes()).await);
    ok(&put(&emulator, "/made/", &[], class("IA").as_bytes()).await);
    ok(&put(&emulator, "/made/", &[("x-oss-acl", "public-read")], b"").await);
    let info = get(&emulator, "/made/?bucketInfo", "").await;
    assert_eq!(info.element("Grant").as_deref(), Some("public-read"));
    assert_eq!(info.element("StorageClass").as_deref(), Some("IA"));
    put(&emulator, "/made/", &[], class("Standard").as_bytes())
        .await
        .assert_refused(409, "BucketAlreadyExists", "");
    let zrs = b"<CreateBucketConfiguration><DataRedundancyType>ZRS</DataRedundancyType></CreateBucketConfiguration>";
    put(&emulator, "/made/", &[], zrs)
        .await
        .assert_refused(409, "BucketAlreadyExists", "");
    // A new object inherits the class, unless the client names one.
    ok(&put(&emulator, "/made/a", &[], b"x").await);
    ok(&put(
        &emulator,
        "/made/b",
        &[("x-oss-storage-class", "Archive")],
        b"x",
    )
    .await);
    let answer = get(&emulator, "/made/", "").await;
    assert_eq!(all(&answer, "StorageClass"), ["IA", "Archive"]);
    let head = ask(&emulator, Method::HEAD, "/made/a").await;
    assert_eq!(head.header("x-oss-storage-class"), Some("IA"));
}

#[tokio::test]
async fn what_is_no_bucket_is_refused() {
    let emulator = builder().create_buckets(true).build().unwrap();
    for name in ["ab", "UPPER", "-a-b", "a-b-", "a_b", &"a".repeat(64)] {
        put(&emulator, &format!("/{name}/"), &[], b"")
            .await
            .assert_refused(400, "InvalidBucketName", "");
    }
    for (headers, document, code) in [
        (&[("x-oss-acl", "open")][..], "", "InvalidArgument"),
        (&[], "<CreateBucketConfiguration", "MalformedXML"),
        (
            &[],
            "<CreateBucketConfiguration><StorageClass>Fast</StorageClass></CreateBucketConfiguration>",
            "InvalidArgument",
        ),
        (
            &[],
            "<CreateBucketConfiguration><DataRedundancyType>GRS</DataRedundancyType></CreateBucketConfiguration>",
            "InvalidArgument",
        ),
        (
            &[],
            "<CreateBucketConfiguration><LocationConstraint>oss-cn-beijing</LocationConstraint></CreateBucketConfiguration>",
            "InvalidLocationConstraint",
        ),
        (
            &[("x-oss-server-side-encryption", "ROT13")],
            "",
            "InvalidEncryptionAlgorithmError",
        ),
        (&[("x-oss-resource-group-id", "rg-x")], "", "NotImplemented"),
    ] {
        let answer = put(&emulator, "/made/", headers, document.as_bytes()).await;
        answer.assert_refused(400, code, "");
    }
    anonymous(&emulator, Method::PUT, "/made/")
        .await
        .assert_refused(403, "AccessDenied", "");
    let mut wrong = signed(&Method::PUT, "/made/", "", &[], Bytes::new());
    *wrong.uri_mut() = wrong
        .uri()
        .to_string()
        .replace("made", "mads")
        .parse()
        .unwrap();
    send(&emulator, wrong)
        .await
        .assert_refused(403, "SignatureDoesNotMatch", "0002-00000040");
    assert_eq!(all(&get(&emulator, "/", "").await, "Name"), [BUCKET]);
    for at in 1..100 {
        ok(&put(&emulator, &format!("/bucket-{at}/"), &[], b"").await);
    }
    put(&emulator, "/bucket-100/", &[], b"")
        .await
        .assert_refused(400, "TooManyBuckets", "");
}

#[tokio::test]
async fn the_acl_of_a_bucket_takes_effect_at_once() {
    let emulator = builder().create_buckets(true).build().unwrap();
    ok(&put(&emulator, "/made/", &[], b"").await);
    ok(&put(&emulator, "/made/a", &[], b"x").await);
    for (acl, read_status, write_status) in [
        ("public-read", 200, 403),
        ("public-read-write", 200, 200),
        // `BucketAclTest` of aliyun-oss-java-sdk.
        ("authenticated-read", 403, 403),
        ("private", 403, 403),
    ] {
        let answer = put(&emulator, "/made/?acl", &[("x-oss-acl", acl)], b"").await;
        ok(&answer);
        assert_eq!(answer.header("location"), Some("/made"));
        let answer = get(&emulator, "/made/?acl", "").await;
        assert_eq!(answer.element("Grant").as_deref(), Some(acl));
        assert_eq!(
            answer.element("DisplayName").as_deref(),
            Some("1234567890123456")
        );
        let found = anonymous(&emulator, Method::GET, "/made/a").await.status;
        assert_eq!(found.as_u16(), read_status, "{acl}");
        let found = anonymous(&emulator, Method::GET, "/made/").await.status;
        assert_eq!(found.as_u16(), read_status, "{acl}");
        let found = anonymous(&emulator, Method::PUT, "/made/b").await.status;
        assert_eq!(found.as_u16(), write_status, "{acl}");
    }
    put(&emulator, "/made/?acl", &[("x-oss-acl", "open")], b"")
        .await
        .assert_refused(400, "InvalidArgument", "");
    // `BucketAclTest` of aliyun-oss-java-sdk sets none first.
    ok(&put(
        &emulator,
        "/made/?acl",
        &[("x-oss-acl", "public-read")],
        b"",
    )
    .await);
    ok(&put(&emulator, "/made/?acl", &[], b"").await);
    let answer = get(&emulator, "/made/?acl", "").await;
    assert_eq!(answer.element("Grant").as_deref(), Some("public-read"));
    // As `ali-oss` asserts, this creates a bucket.
    ok(&put(&emulator, "/new/?acl", &[("x-oss-acl", "public-read")], b"").await);
    let answer = get(&emulator, "/new/?acl", "").await;
    assert_eq!(answer.element("Grant").as_deref(), Some("public-read"));
}

/// Only the owner configures a bucket, whatever its ACL.
#[tokio::test]
async fn settings_need_a_signature() {
    let open = HostedBucket::new("open".parse().unwrap()).acl(Acl::PublicReadWrite);
    let emulator = builder().bucket(open).create_buckets(true).build().unwrap();
    ok(&put(&emulator, "/open/a", &[], b"x").await);
    for (method, target) in [
        (Method::GET, "/"),
        (Method::GET, "/open/?acl"),
        (Method::PUT, "/open/?acl"),
        (Method::GET, "/open/?bucketInfo"),
        (Method::GET, "/open/?location"),
        (Method::GET, "/open/?stat"),
        (Method::GET, "/open/?tagging"),
        (Method::PUT, "/open/?tagging"),
        (Method::DELETE, "/open/?tagging"),
        (Method::PUT, "/open/"),
        (Method::DELETE, "/open/"),
        (Method::GET, "/open/a?tagging"),
        (Method::PUT, "/open/a?tagging"),
        (Method::DELETE, "/open/a?tagging"),
    ] {
        let answer = anonymous(&emulator, method.clone(), target).await;
        let found = (answer.status.as_u16(), answer.element("Code").unwrap());
        assert_eq!(found, (403, "AccessDenied".to_owned()), "{method} {target}");
    }
    for target in [
        "/missing/?acl",
        "/missing/?bucketInfo",
        "/missing/?stat",
        "/missing/?uploads",
    ] {
        get(&emulator, target, "")
            .await
            .assert_refused(404, "NoSuchBucket", "0015-00000101");
    }
}

#[tokio::test]
async fn what_a_bucket_is_and_contains() {
    for (_folder, settings) in stores() {
        let emulator = settings.build().unwrap();
        let of = |name: &str| format!("/{BUCKET}/{name}");
        let answer = get(&emulator, &of("?bucketInfo"), "").await;
        ok(&answer);
        for (name, text) in [
            ("Name", BUCKET),
            ("Location", "oss-cn-hangzhou"),
            ("StorageClass", "Standard"),
            ("DataRedundancyType", "LRS"),
            ("Grant", "private"),
            ("SSEAlgorithm", "None"),
            // `TestGetBucketInfo` of alibabacloud-oss-go-sdk-v2.
            ("ResourceGroupId", "rg-acfmxxxxxxxxxxx"),
            ("ID", "1234567890123456"),
        ] {
            assert_eq!(answer.element(name).as_deref(), Some(text), "{name}");
        }
        let answer = get(&emulator, &of("?location"), "").await;
        let location = answer.element("LocationConstraint");
        assert_eq!(location.as_deref(), Some("oss-cn-hangzhou"));

        let answer = get(&emulator, &of("?stat"), "").await;
        assert_eq!(answer.element("LastModifiedTime").as_deref(), Some("0"));
        ok(&put(&emulator, &of("a"), &[], b"content").await);
        ok(&put(&emulator, &of("b"), &[("x-oss-storage-class", "IA")], b"xy").await);
        let id = ask(&emulator, Method::POST, &of("c?uploads")).await;
        let id = id.element("UploadId").unwrap();
        ok(&put(
            &emulator,
            &of(&format!("c?partNumber=1&uploadId={id}")),
            &[],
            b"x",
        )
        .await);
        let answer = get(&emulator, &of("?stat"), "").await;
        ok(&answer);
        for (name, number) in [
            ("Storage", 9),
            ("ObjectCount", 2),
            ("MultipartUploadCount", 1),
            ("MultipartPartCount", 1),
            ("LiveChannelCount", 0),
            ("LastModifiedTime", NOW),
            ("StandardStorage", 7),
            ("StandardObjectCount", 1),
            ("InfrequentAccessStorage", 65_536),
            ("InfrequentAccessRealStorage", 2),
            ("InfrequentAccessObjectCount", 1),
            ("ArchiveObjectCount", 0),
            ("ColdArchiveStorage", 0),
            ("DeepColdArchiveRealStorage", 0),
            ("DeleteMarkerCount", 0),
        ] {
            assert_eq!(answer.element(name), Some(number.to_string()), "{name}");
        }
    }
}

/// An upload that ends after its bucket was deleted must not appear in a new bucket of this name.
#[tokio::test]
async fn an_upload_to_a_bucket_that_is_deleted_meanwhile() {
    for (_folder, settings) in stores() {
        let emulator = settings.create_buckets(true).build().unwrap();
        ok(&put(&emulator, "/made/", &[], b"").await);
        let request = signed(&Method::PUT, "/made/a", "", &[], Bytes::from_static(b"xy"));
        let (sender, pieces) = mpsc::channel(1);
        let request = request.map(|_| Pieces(pieces));
        let uploading = tokio::spawn(emulator.clone().oneshot(request));
        // The second piece has room only after the first was taken.
        sender.send(Bytes::from_static(b"x")).await.unwrap();
        sender.send(Bytes::from_static(b"y")).await.unwrap();
        let answer = ask(&emulator, Method::DELETE, "/made/").await;
        assert_eq!(answer.status, 204, "{}", answer.text());
        drop(sender);
        let answer = read(uploading.await.unwrap().unwrap()).await;
        answer.assert_refused(404, "NoSuchBucket", "0015-00000101");
        ok(&put(&emulator, "/made/", &[], b"").await);
        let answer = get(&emulator, "/made/", "").await;
        assert_eq!(all(&answer, "Key"), [""; 0]);
    }
}

/// Operations that exist in OSS: the emulator says that it does not implement them.
#[tokio::test]
async fn other_settings_of_buckets_are_not_implemented() {
    let open = HostedBucket::new("open".parse().unwrap()).acl(Acl::PublicReadWrite);
    let emulator = builder().bucket(open).create_buckets(true).build().unwrap();
    ok(&put(&emulator, "/open/a", &[], b"kept").await);
    let before = get(&emulator, "/open/?bucketInfo", "").await.body;
    for name in [
        "accessPoint",
        "accessmonitor",
        "bucketArchiveDirectRead",
        "callbackPolicy",
        "cname",
        "httpsConfig",
        "inventory",
        "lifecycle",
        "live",
        "logging",
        "metaQuery",
        "policy",
        "policyStatus",
        "qosInfo",
        "redundancyTransition",
        "replication",
        "resourceGroup",
        "style",
        "userDefinedLogFieldsConfig",
        "versioning",
        "versions",
        "vod",
        "website",
        "worm",
        "wormExtend",
    ] {
        for method in [Method::GET, Method::PUT, Method::POST, Method::DELETE] {
            let implemented = ["cname", "live", "versioning", "versions"];
            if method == Method::GET && implemented.contains(&name) {
                continue;
            }
            let answer = anonymous(&emulator, method.clone(), &format!("/open/?{name}")).await;
            answer.assert_refused(400, "NotImplemented", "");
            let message = answer.element("Message").unwrap();
            assert!(message.contains(name), "{method} {name}: {message}");
        }
        let answer = anonymous(&emulator, Method::HEAD, &format!("/open/?{name}")).await;
        assert_eq!(answer.status, 400, "{name}");
    }
    // There are no live channels, because nothing creates one.
    let answer = get(&emulator, "/open/?live", "").await;
    assert_eq!(answer.element("IsTruncated").as_deref(), Some("false"));
    assert!(
        !answer.text().contains("<LiveChannel>"),
        "{}",
        answer.text()
    );
    // There are no custom domains for the same reason.
    let answer = get(&emulator, "/open/?cname", "").await;
    assert_eq!(answer.element("Bucket").as_deref(), Some("open"));
    assert!(!answer.text().contains("<Cname>"), "{}", answer.text());
    let answer = anonymous(&emulator, Method::DELETE, "/open/?neverHeardOf").await;
    answer.assert_refused(400, "NotImplemented", "");
    let message = "The emulator knows no sub-resource of this name.";
    assert_eq!(answer.element("Message").as_deref(), Some(message));
    assert_eq!(get(&emulator, "/open/a", "").await.text(), "kept");
    assert_eq!(get(&emulator, "/open/?bucketInfo", "").await.body, before);
}

#[tokio::test]
async fn requesters_pay_only_for_requests_that_are_signed() {
    for (folder, settings) in stores() {
        let bucket = HostedBucket::new("open".parse().unwrap()).acl(Acl::PublicReadWrite);
        let other = HostedBucket::new("other".parse().unwrap()).acl(Acl::PublicReadWrite);
        let mut emulator = settings.bucket(bucket).bucket(other).build().unwrap();
        ok(&put(&emulator, "/open/a", &[], b"x").await);
        let target = "/open/?requestPayment";
        let payer = async |emulator: &Emulator| {
            let answer = get(emulator, target, "").await;
            ok(&answer);
            answer.element("Payer").unwrap()
        };
        assert_eq!(payer(&emulator).await, "BucketOwner");
        let document = |payer| {
            format!(
                "<RequestPaymentConfiguration><Payer>{payer}</Payer></RequestPaymentConfiguration>"
            )
        };
        for (who, status) in [("Requester", 403), ("BucketOwner", 200)] {
            ok(&put(&emulator, target, &[], document(who).as_bytes()).await);
            if let Some(folder) = &folder {
                drop(emulator);
                emulator = reopen(folder.path()).build().unwrap();
            }
            assert_eq!(payer(&emulator).await, who);
            let answer = anonymous(&emulator, Method::GET, "/open/a").await;
            assert_eq!(answer.status, status, "{who}");
            // Neither does a copy into another bucket read it.
            let copy = Request::put("/other/a")
                .header("host", "127.0.0.1:9000")
                .header("x-oss-copy-source", "/open/a");
            let copy = send(&emulator, copy.body(Full::<Bytes>::default()).unwrap()).await;
            assert_eq!(copy.status, status, "{who}");
            ok(&get(&emulator, "/open/a?x-oss-request-payer=requester", "").await);
        }
        let answer = put(&emulator, target, &[], document("Nobody").as_bytes()).await;
        answer.assert_refused(400, "MalformedXML", "");
    }
}

/// The SDKs for Java and PHP call this the metadata of a bucket.
#[tokio::test]
async fn head_of_a_bucket_shows_its_region() {
    let emulator = builder().build().unwrap();
    let answer = ask(&emulator, Method::HEAD, "/examplebucket/").await;
    ok(&answer);
    let region = answer.header("x-oss-bucket-region");
    assert_eq!(region, Some("oss-cn-hangzhou"));
    assert!(answer.body.is_empty());
    let answer = ask(&emulator, Method::HEAD, "/unknown/").await;
    assert_eq!(answer.status, 404);
    let answer = anonymous(&emulator, Method::HEAD, "/examplebucket/").await;
    assert_eq!(answer.status, 403);
}

#[tokio::test]
async fn transfer_acceleration_is_shown() {
    for (folder, settings) in stores() {
        let mut emulator = settings.build().unwrap();
        let target = "/examplebucket/?transferAcceleration";
        let missing = "NoSuchTransferAccelerationConfiguration";
        let answer = get(&emulator, target, "").await;
        answer.assert_refused(404, missing, "");
        for (enabled, shown) in [("true", "Enabled"), ("false", "Disabled")] {
            let document = format!(
                "<TransferAccelerationConfiguration><Enabled>{enabled}</Enabled>\
                 </TransferAccelerationConfiguration>"
            );
            ok(&put(&emulator, target, &[], document.as_bytes()).await);
            if let Some(folder) = &folder {
                drop(emulator);
                emulator = reopen(folder.path()).build().unwrap();
            }
            let answer = get(&emulator, target, "").await;
            assert_eq!(answer.element("Enabled").as_deref(), Some(enabled));
            let info = get(&emulator, "/examplebucket/?bucketInfo", "").await;
            let element = info.element("TransferAcceleration");
            assert_eq!(element.as_deref(), Some(shown));
        }
        let answer = put(&emulator, target, &[], b"<Enabled>x</Enabled>").await;
        answer.assert_refused(400, "MalformedXML", "");
        for _ in 0..2 {
            let answer = ask(&emulator, Method::DELETE, target).await;
            assert_eq!(answer.status, 204);
        }
        let answer = get(&emulator, target, "").await;
        answer.assert_refused(404, missing, "");
    }
}
