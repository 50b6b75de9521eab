//! Versions in buckets that keep none: each object has one, `null`.

use http::Method;

use super::{
    path_style::{all, anonymous, ask, ask_with, get, ok, put, stores},
    support::BUCKET,
};

#[tokio::test]
async fn versions_are_listed_and_deleted() {
    for (_folder, settings) in stores() {
        let emulator = settings.build().unwrap();
        for key in ["a", "b", "dir/c", "dir/d", "e"] {
            ok(&put(&emulator, &format!("/{BUCKET}/{key}"), &[], b"xy").await);
        }
        let bucket = format!("/{BUCKET}/?versions");
        let answer = get(&emulator, &bucket, "").await;
        ok(&answer);
        assert_eq!(all(&answer, "Key"), ["a", "b", "dir/c", "dir/d", "e"]);
        assert_eq!(all(&answer, "VersionId"), ["null"; 5]);
        assert_eq!(all(&answer, "IsLatest"), ["true"; 5]);
        assert_eq!(all(&answer, "Size"), ["2"; 5]);
        for (name, text) in [
            ("Name", BUCKET),
            ("KeyMarker", ""),
            ("VersionIdMarker", ""),
            ("MaxKeys", "100"),
            ("IsTruncated", "false"),
            ("Type", "Normal"),
            ("StorageClass", "Standard"),
            ("LastModified", "2023-12-03T12:12:12.000Z"),
            ("ETag", "\"3E44107170A520582ADE522FA73C1D15\""),
            ("DisplayName", "1234567890123456"),
        ] {
            let found = answer.element(name).unwrap_or_default();
            assert_eq!(found, text, "{name}");
        }
        assert_eq!(answer.element("NextKeyMarker"), None);

        let mut found = Vec::new();
        let mut more = String::new();
        for _ in 0..5 {
            let page = get(&emulator, &bucket, &format!("max-keys=1{more}")).await;
            found.extend(all(&page, "Key"));
            more = match page.element("NextKeyMarker") {
                Some(key) => {
                    let version = page.element("NextVersionIdMarker").unwrap();
                    format!("&key-marker={key}&version-id-marker={version}")
                }
                None => String::new(),
            };
        }
        assert_eq!(found, ["a", "b", "dir/c", "dir/d", "e"]);
        assert_eq!(more, "");
        let page = get(&emulator, &bucket, "delimiter=%2F&max-keys=3").await;
        assert_eq!(all(&page, "Key"), ["a", "b"]);
        assert_eq!(page.element("NextKeyMarker").as_deref(), Some("dir/"));
        assert_eq!(page.element("NextVersionIdMarker"), None);
        let page = get(&emulator, &bucket, "prefix=dir%2F&encoding-type=url").await;
        assert_eq!(all(&page, "Key"), ["dir%2Fc", "dir%2Fd"]);
        assert_eq!(page.element("EncodingType").as_deref(), Some("url"));
        let other = get(&emulator, &bucket, "key-marker=a&version-id-marker=CAEQ").await;
        other.assert_refused(400, "NotImplemented", "");

        let object = |query: &str| format!("/{BUCKET}/a?{query}");
        ok(&get(&emulator, &object("versionId=null"), "").await);
        let answer = ask(&emulator, Method::DELETE, &object("versionId=CAEQ")).await;
        answer.assert_refused(400, "NotImplemented", "");
        let answer = put(&emulator, &object("versionId=null"), &[], b"x").await;
        answer.assert_refused(400, "NotImplemented", "");
        let answer = ask(&emulator, Method::DELETE, &object("versionId=null")).await;
        assert_eq!(answer.status, 204, "{}", answer.text());
        assert_eq!(
            get(&emulator, &format!("/{BUCKET}/a"), "").await.status,
            404
        );
    }
}

#[tokio::test]
async fn the_versioning_of_a_bucket_was_never_set() {
    for (_folder, settings) in stores() {
        let emulator = settings.build().unwrap();
        let answer = get(&emulator, &format!("/{BUCKET}/?versioning"), "").await;
        ok(&answer);
        assert!(answer.text().ends_with("<VersioningConfiguration/>"));
        for sub in ["versioning", "versions"] {
            let target = format!("/{BUCKET}/?{sub}");
            let answer = anonymous(&emulator, Method::GET, &target).await;
            answer.assert_refused(403, "AccessDenied", "0003-00000001");
        }
        let enabled = b"<VersioningConfiguration><Status>Enabled</Status>\
            </VersioningConfiguration>";
        let target = format!("/{BUCKET}/?versioning");
        let answer = ask_with(&emulator, Method::PUT, &target, "", &[], enabled).await;
        answer.assert_refused(400, "NotImplemented", "");
    }
}
