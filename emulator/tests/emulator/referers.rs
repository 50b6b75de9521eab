//! Hotlink protection: `PutBucketReferer` and what follows.
//!
//! The facts are those that the tests of the SDKs for Go, Java, JavaScript, PHP and Python assert,
//! and the pages of the EC.

use aliyun_oss_emulator::{Acl, Emulator, HostedBucket};
use http::{Method, Request};
use http_body_util::Full;

use super::{
    client::{Way, to, today},
    path_style::{all, ask_with, get, ok, put, reopen, stores},
    support::{Answer, HOST, builder, send},
};

const A: &str = "/open/a";

fn rules(inner: &str) -> String {
    format!("<RefererConfiguration>{inner}</RefererConfiguration>")
}

async fn set(emulator: &Emulator, inner: &str) -> Answer {
    put(emulator, "/open/?referer", &[], rules(inner).as_bytes()).await
}

/// Reads an object without a signature.
async fn linked(emulator: &Emulator, referer: Option<&str>) -> Answer {
    let mut request = Request::get(A).header("host", "127.0.0.1:9000");
    if let Some(referer) = referer {
        request = request.header("referer", referer);
    }
    send(emulator, request.body(Full::default()).unwrap()).await
}

fn open() -> HostedBucket {
    HostedBucket::new("open".parse().unwrap()).acl(Acl::PublicRead)
}

#[tokio::test]
async fn a_bucket_keeps_its_referers() {
    for (folder, settings) in stores() {
        let mut emulator = settings.bucket(open()).build().unwrap();
        let answer = get(&emulator, "/open/?referer", "").await;
        ok(&answer);
        let element = |answer: &Answer, name| answer.element(name).unwrap();
        assert_eq!(element(&answer, "AllowEmptyReferer"), "true");
        assert_eq!(element(&answer, "AllowTruncateQueryString"), "true");
        assert_eq!(element(&answer, "TruncatePath"), "false");
        assert!(all(&answer, "Referer").is_empty());
        assert!(!answer.text().contains("RefererBlacklist"));

        let inner = "<AllowEmptyReferer>false</AllowEmptyReferer>\
                     <AllowTruncateQueryString>false</AllowTruncateQueryString>\
                     <TruncatePath>true</TruncatePath>\
                     <RefererList><Referer>http://a.com</Referer><Referer>中文+x</Referer>\
                     <Referer></Referer></RefererList>\
                     <RefererBlacklist><Referer>http://*.b.com</Referer></RefererBlacklist>";
        ok(&set(&emulator, inner).await);
        if let Some(folder) = &folder {
            drop(emulator);
            emulator = reopen(folder.path()).build().unwrap();
        }
        let answer = get(&emulator, "/open/?referer", "").await;
        assert_eq!(element(&answer, "AllowEmptyReferer"), "false");
        assert_eq!(element(&answer, "AllowTruncateQueryString"), "false");
        assert_eq!(element(&answer, "TruncatePath"), "true");
        let referers = all(&answer, "Referer");
        assert_eq!(referers, ["http://a.com", "中文+x", "http://*.b.com"]);

        let answer = set(&emulator, "<RefererList/>").await;
        answer.assert_refused(400, "MalformedXML", "0033-00000002");
        ok(&set(
            &emulator,
            "<AllowEmptyReferer>true</AllowEmptyReferer><RefererList/>",
        )
        .await);
        let answer = get(&emulator, "/open/?referer", "").await;
        assert!(all(&answer, "Referer").is_empty());
    }
}

#[tokio::test]
async fn only_pages_of_the_list_may_link() {
    let emulator = builder().bucket(open()).build().unwrap();
    ok(&put(&emulator, A, &[], b"x").await);
    let list = "<RefererList><Referer>http://*.a.com</Referer></RefererList>\
                <RefererBlacklist><Referer>http://bad.a.com</Referer></RefererBlacklist>";
    for (allow_empty, empty) in [("true", None), ("false", Some("0003-00000501"))] {
        let inner = format!("<AllowEmptyReferer>{allow_empty}</AllowEmptyReferer>{list}");
        ok(&set(&emulator, &inner).await);
        for (referer, ec) in [
            (None, empty),
            (Some(""), empty),
            (Some("http://www.a.com/page?x=y"), None),
            (Some("http://bad.a.com/"), Some("0003-00000502")),
            (Some("http://b.com/"), Some("0003-00000503")),
        ] {
            let answer = linked(&emulator, referer).await;
            match ec {
                None => ok(&answer),
                Some(ec) => {
                    answer.assert_refused(403, "AccessDenied", ec);
                    let message = answer.element("Message").unwrap();
                    assert_eq!(message, "You are denied by bucket referer policy.");
                }
            }
            // A signed URL is checked too.
            let mut headers = Vec::new();
            headers.extend(referer.map(|referer| ("referer", referer)));
            let signed = ask_with(&emulator, Method::GET, A, "", &headers, b"").await;
            assert_eq!(signed.status, answer.status, "{referer:?}");
        }
    }
    // Without a list, an empty referer is not checked.
    let inner = "<AllowEmptyReferer>false</AllowEmptyReferer>\
                 <RefererBlacklist><Referer>http://bad.a.com</Referer></RefererBlacklist>";
    ok(&set(&emulator, inner).await);
    ok(&linked(&emulator, None).await);
    ok(&linked(&emulator, Some("http://b.com/")).await);
    let answer = linked(&emulator, Some("http://bad.a.com/")).await;
    answer.assert_refused(403, "AccessDenied", "0003-00000502");
}

#[tokio::test]
async fn requests_that_are_signed_in_a_header_are_not_checked() {
    let emulator = today().build().unwrap();
    let inner = "<AllowEmptyReferer>false</AllowEmptyReferer>\
                 <RefererList><Referer>http://a.com</Referer></RefererList>";
    let settings = to(Method::PUT, "/?referer", &[], rules(inner).as_bytes());
    ok(&send(&emulator, Way::V4.sign(settings).await).await);
    let upload = to(Method::PUT, "/a", &[("referer", "http://b.com")], b"x");
    ok(&send(&emulator, Way::V4.sign(upload).await).await);
    let unsigned = Request::get("/a").header("host", HOST);
    let answer = send(&emulator, unsigned.body(Full::default()).unwrap()).await;
    answer.assert_refused(403, "AccessDenied", "0003-00000501");
}
