//! Block Public Access of a bucket.

use aliyun_oss_emulator::Emulator;
use http::Method;

use super::{
    path_style::{anonymous, ask, ask_with, get, ok, put, reopen, stores},
    support::{BUCKET, good},
};

async fn block(emulator: &Emulator, on: bool) {
    let document = format!(
        "<PublicAccessBlockConfiguration><BlockPublicAccess>{on}</BlockPublicAccess>\
         </PublicAccessBlockConfiguration>"
    );
    let target = format!("/{BUCKET}/?publicAccessBlock");
    ok(&put(emulator, &target, &[], document.as_bytes()).await);
}

async fn is_blocked(emulator: &Emulator) -> bool {
    let answer = get(emulator, &format!("/{BUCKET}/?publicAccessBlock"), "").await;
    let info = get(emulator, &format!("/{BUCKET}/?bucketInfo"), "").await;
    let found = answer.element("BlockPublicAccess").unwrap();
    assert_eq!(info.element("BlockPublicAccess").as_ref(), Some(&found));
    found == "true"
}

#[tokio::test]
async fn nothing_is_public_while_it_is_on() {
    for (_folder, settings) in stores() {
        let emulator = settings.build().unwrap();
        assert!(!is_blocked(&emulator).await);
        let (bucket, object) = (format!("/{BUCKET}/"), format!("/{BUCKET}/a"));
        let open = [("x-oss-acl", "public-read-write")];
        ok(&put(&emulator, &format!("{bucket}?acl"), &open, b"").await);
        let public = [("x-oss-object-acl", "public-read")];
        ok(&put(&emulator, &object, &public, b"x").await);
        ok(&anonymous(&emulator, Method::GET, &object).await);

        block(&emulator, true).await;
        assert!(is_blocked(&emulator).await);
        for (method, target) in [
            (Method::GET, &object),
            (Method::PUT, &object),
            (Method::GET, &bucket),
            (Method::DELETE, &object),
        ] {
            let answer = anonymous(&emulator, method.clone(), target).await;
            answer.assert_refused(403, "AccessDenied", "0003-00000001");
        }
        ok(&get(&emulator, &object, "").await);
        for target in [bucket.clone(), format!("{bucket}?acl")] {
            let answer = put(&emulator, &target, &open, b"").await;
            answer.assert_refused(403, "AccessDenied", "");
            let message = Some("Put public bucket acl is not allowed");
            assert_eq!(answer.element("Message").as_deref(), message);
        }
        for (method, target) in [
            (Method::PUT, object.clone()),
            (Method::PUT, format!("{object}?acl")),
            (Method::POST, format!("{object}?uploads")),
        ] {
            let answer = ask_with(&emulator, method, &target, "", &public, b"").await;
            answer.assert_refused(403, "AccessDenied", "");
            let message = Some("Put public object acl is not allowed");
            assert_eq!(answer.element("Message").as_deref(), message);
        }
        // A form has the ACL in a field.
        let form = good(&[("x-oss-object-acl", "public-read")]).file(b"x");
        let answer = form.post(&emulator).await;
        answer.assert_refused(403, "AccessDenied", "");
        let private = [("x-oss-object-acl", "private")];
        ok(&put(&emulator, &format!("{object}?acl"), &private, b"").await);

        // The ACL of the bucket applies again.
        let answer = ask(
            &emulator,
            Method::DELETE,
            &format!("{bucket}?publicAccessBlock"),
        )
        .await;
        assert_eq!(answer.status, 204, "{}", answer.text());
        assert!(!is_blocked(&emulator).await);
        ok(&anonymous(&emulator, Method::GET, &bucket).await);
    }
}

#[tokio::test]
async fn the_account_blocks_all_buckets() {
    let document = |on: bool| {
        format!(
            "<PublicAccessBlockConfiguration><BlockPublicAccess>{on}</BlockPublicAccess>\
             </PublicAccessBlockConfiguration>"
        )
    };
    for (_folder, settings) in stores() {
        let emulator = settings.create_buckets(true).build().unwrap();
        let target = "/?publicAccessBlock";
        let of_account = async || {
            let answer = get(&emulator, target, "").await;
            answer.element("BlockPublicAccess").unwrap()
        };
        let of_bucket = async || {
            let answer = get(&emulator, &format!("/{BUCKET}/?publicAccessBlock"), "").await;
            answer.element("BlockPublicAccess").unwrap()
        };
        let object = format!("/{BUCKET}/a");
        let public = [("x-oss-object-acl", "public-read")];
        ok(&put(&emulator, &object, &public, b"x").await);
        assert_eq!(of_account().await, "false");
        ok(&put(&emulator, target, &[], document(true).as_bytes()).await);
        assert_eq!(
            (of_account().await, of_bucket().await),
            ("true".into(), "false".into())
        );
        let answer = anonymous(&emulator, Method::GET, &object).await;
        answer.assert_refused(403, "AccessDenied", "0003-00000001");
        let answer = put(&emulator, &object, &public, b"x").await;
        answer.assert_refused(403, "AccessDenied", "");

        let open = [("x-oss-acl", "public-read")];
        let answer = put(&emulator, "/made/", &open, b"").await;
        answer.assert_refused(403, "AccessDenied", "");

        let answer = ask(&emulator, Method::DELETE, target).await;
        assert_eq!(answer.status, 204, "{}", answer.text());
        ok(&anonymous(&emulator, Method::GET, &object).await);
        // That of a bucket is enough.
        block(&emulator, true).await;
        assert_eq!(of_account().await, "false");
        let answer = anonymous(&emulator, Method::GET, &object).await;
        answer.assert_refused(403, "AccessDenied", "0003-00000001");

        ok(&put(&emulator, target, &[], document(true).as_bytes()).await);
        emulator.reset().await.unwrap();
        assert_eq!(
            (of_account().await, of_bucket().await),
            ("false".into(), "false".into())
        );
        for method in [Method::GET, Method::PUT, Method::DELETE] {
            let answer = anonymous(&emulator, method, target).await;
            answer.assert_refused(403, "AccessDenied", "");
        }
    }
}

#[tokio::test]
async fn a_folder_keeps_it() {
    let folder = tempfile::tempdir().unwrap();
    block(&reopen(folder.path()).build().unwrap(), true).await;
    assert!(is_blocked(&reopen(folder.path()).build().unwrap()).await);
}

#[tokio::test]
async fn documents_of_any_case_and_documents_that_are_not_valid() {
    for (_folder, settings) in stores() {
        let emulator = settings.build().unwrap();
        let target = format!("/{BUCKET}/?publicAccessBlock");
        let document = |text: &str| {
            format!(
                "<PublicAccessBlockConfiguration><BlockPublicAccess>{text}</BlockPublicAccess>\
                 </PublicAccessBlockConfiguration>"
            )
        };
        for (text, expected) in [("True", true), ("False", false)] {
            ok(&put(&emulator, &target, &[], document(text).as_bytes()).await);
            assert_eq!(is_blocked(&emulator).await, expected);
        }
        for document in [
            "",
            "<PublicAccessBlockConfiguration/>",
            "<a>",
            &document("1"),
        ] {
            let answer = put(&emulator, &target, &[], document.as_bytes()).await;
            answer.assert_refused(400, "MalformedXML", "");
        }
    }
}
