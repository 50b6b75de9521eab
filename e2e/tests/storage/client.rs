//! The storage client against the emulator.

use std::time::SystemTime;

use tower_aliyun_oss::{
    policy::Credentials,
    storage::{ObjectStorage as _, OssClient, StorageErrorKind},
};

use super::support::{BUCKET, Oss, REGION};

#[tokio::test]
async fn head_list_and_delete() {
    let oss = Oss::start().await;
    let (client, bucket) = (oss.client(), BUCKET.parse().unwrap());
    // Characters that XML, URLs and form decoders treat in a special way.
    let keys = ["u/ +%&<>\"'", "u/a\u{1}\u{7f}", "u/中文🦀", "u/~.-_"];
    for key in keys {
        oss.put(BUCKET, key, &[("content-type", "image/png")], b"hello")
            .await
            .assert_stored();
    }
    oss.put(BUCKET, "v/other", &[], b"").await.assert_stored();
    for key in keys {
        let found = client.head(&bucket, key).await.unwrap();
        assert_eq!(found.size(), 5, "{key:?}");
        assert_eq!(found.etag(), Some("5D41402ABC4B2A76B9719D911017C592"));
        assert_eq!(found.content_type(), Some("image/png"));
        assert_eq!(found.content_md5(), Some("XUFAKrxLKna5cZ2REBfFkg=="));
        assert!(found.crc64().is_some());
        let age = SystemTime::now().duration_since(found.last_modified().unwrap());
        assert!(age.unwrap().as_secs() < 600);
    }
    let page = client.list(&bucket, "u/", None).await.unwrap();
    let mut listed: Vec<_> = page.objects().iter().map(|(key, _)| &**key).collect();
    assert_eq!(page.next(), None);
    listed.sort_unstable();
    let mut sorted = keys;
    sorted.sort_unstable();
    assert_eq!(listed, sorted);
    for (_, metadata) in page.objects() {
        assert_eq!(metadata.size(), 5);
        assert_eq!(metadata.etag(), Some("5D41402ABC4B2A76B9719D911017C592"));
        assert!(metadata.last_modified().is_some());
    }
    for key in keys {
        client.delete(&bucket, key).await.unwrap();
        // Deleting what is not there succeeds as well.
        client.delete(&bucket, key).await.unwrap();
        let error = client.head(&bucket, key).await.unwrap_err();
        assert_eq!(error.kind(), StorageErrorKind::NotFound, "{key:?}");
        assert_eq!(error.code(), Some("NoSuchKey"));
        assert!(error.request_id().is_some());
    }
}

#[tokio::test]
async fn a_listing_has_several_pages() {
    let oss = Oss::start().await;
    let (client, bucket) = (oss.client(), BUCKET.parse().unwrap());
    for n in 0..1_003 {
        oss.put(BUCKET, &format!("p/{n:05}"), &[], b"")
            .await
            .assert_stored();
    }
    let mut keys = Vec::new();
    let mut next: Option<String> = None;
    let mut pages = 0;
    loop {
        let page = client.list(&bucket, "p/", next.as_deref()).await.unwrap();
        keys.extend(page.objects().iter().map(|(key, _)| key.clone()));
        pages += 1;
        next = page.next().map(str::to_owned);
        if next.is_none() {
            break;
        }
    }
    assert_eq!(pages, 2);
    let expected: Vec<_> = (0..1_003).map(|n| format!("p/{n:05}")).collect();
    assert_eq!(keys, expected);
}

#[tokio::test]
async fn co_04_what_is_not_a_missing_object() {
    let oss = Oss::start().await;
    oss.put(BUCKET, "a", &[], b"hello").await.assert_stored();
    let of = |credentials: Credentials, region: &str| {
        OssClient::new(region.parse().unwrap(), credentials).endpoint(oss.endpoint())
    };
    let wrong = Credentials::new(super::support::ID, "wrong").unwrap();
    let unknown = Credentials::new("nobody", "wrong").unwrap();
    for client in [
        of(wrong, REGION),
        of(unknown, REGION),
        of(super::support::credentials(), "cn-beijing"),
        // The endpoint is that of another bucket.
        oss.client(),
    ] {
        let name = if client.head(&BUCKET.parse().unwrap(), "a").await.is_ok() {
            "otherbucket"
        } else {
            BUCKET
        };
        let error = client.head(&name.parse().unwrap(), "a").await.unwrap_err();
        let kinds = [StorageErrorKind::Denied, StorageErrorKind::Rejected];
        assert!(kinds.contains(&error.kind()), "{error}");
        assert!(error.code().is_some(), "{error}");
    }
}
