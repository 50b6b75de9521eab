//! Callback policies of a bucket.

use std::sync::{Arc, Mutex};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use serde_json::json;

use super::{
    path_style::{all, anonymous, ask, get, ok, put, reopen, stores},
    support::{BUCKET, OneServer, callback, good},
};

fn document(policies: &[(&str, &str, &str)]) -> String {
    let mut document = String::from("<BucketCallbackPolicy>");
    for (name, callback, variables) in policies {
        document += &format!(
            "<PolicyItem><PolicyName>{name}</PolicyName><Callback>{callback}</Callback>\
             <CallbackVar>{variables}</CallbackVar></PolicyItem>"
        );
    }
    document + "</BucketCallbackPolicy>"
}

fn target() -> String {
    format!("/{BUCKET}/?comp=callback&policy")
}

fn parameters(body: &str) -> String {
    callback(&json!({ "callbackUrl": "http://app.example", "callbackBody": body }))
}

fn variables(value: &str) -> String {
    STANDARD.encode(json!({ "x:a": value }).to_string())
}

#[tokio::test]
async fn policies_are_kept_and_removed() {
    let (one, two) = (parameters("one"), parameters("two"));
    for (_folder, settings) in stores() {
        let emulator = settings.build().unwrap();
        let none = get(&emulator, &target(), "").await;
        none.assert_refused(404, "BucketCallbackPolicyNotExist", "");
        let policies = document(&[("test_1", &one, ""), ("test_2", &two, &variables("v"))]);
        ok(&put(&emulator, &target(), &[], policies.as_bytes()).await);
        let answer = get(&emulator, &target(), "").await;
        assert_eq!(all(&answer, "PolicyName"), ["test_1", "test_2"]);
        assert_eq!(all(&answer, "Callback"), [&*one, &two]);
        assert!(answer.text().contains(&variables("v")), "{}", answer.text());

        // An empty document is valid, and so is one without variables.
        ok(&put(&emulator, &target(), &[], b"<BucketCallbackPolicy />").await);
        let none = get(&emulator, &target(), "").await;
        none.assert_refused(404, "BucketCallbackPolicyNotExist", "");
        let short = "<BucketCallbackPolicy><PolicyItem><PolicyName>a</PolicyName>\
            <Callback>b</Callback></PolicyItem></BucketCallbackPolicy>";
        ok(&put(&emulator, &target(), &[], short.as_bytes()).await);
        for odd in ["", "<a>", &short.replace("PolicyName", "Name")] {
            let answer = put(&emulator, &target(), &[], odd.as_bytes()).await;
            answer.assert_refused(400, "MalformedXML", "");
        }
        for _ in 0..2 {
            let answer = ask(&emulator, Method::DELETE, &target()).await;
            assert_eq!(answer.status, 204, "{}", answer.text());
        }
        let none = get(&emulator, &target(), "").await;
        none.assert_refused(404, "BucketCallbackPolicyNotExist", "");
        let answer = anonymous(&emulator, Method::GET, &target()).await;
        answer.assert_refused(403, "AccessDenied", "0003-00000001");
        // Other policies of buckets and other uses of `comp` are not implemented.
        for query in ["comp=callback", "comp=other&policy", "policy"] {
            let answer = get(&emulator, &format!("/{BUCKET}/?{query}"), "").await;
            answer.assert_refused(400, "NotImplemented", "");
        }
    }
}

#[tokio::test]
async fn a_folder_keeps_them() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = reopen(folder.path()).build().unwrap();
    let policies = document(&[("test", &parameters("b"), "")]);
    ok(&put(&emulator, &target(), &[], policies.as_bytes()).await);
    drop(emulator);
    let emulator = reopen(folder.path()).build().unwrap();
    let answer = get(&emulator, &target(), "").await;
    assert_eq!(all(&answer, "PolicyName"), ["test"]);
}

#[tokio::test]
async fn callbacks_use_the_policy_that_they_name() {
    let bodies: Arc<Mutex<Vec<String>>> = Arc::default();
    let keep = bodies.clone();
    let server = OneServer::http(move |request: Request<Incoming>| {
        let keep = keep.clone();
        async move {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let body = String::from_utf8(body.to_vec()).unwrap();
            keep.lock().unwrap().push(body);
            Response::new(Full::from(r#"{"Status":"OK"}"#))
        }
    });
    let emulator = super::support::builder().network(server).build().unwrap();
    let body = parameters("k=${object}&a=${x:a}");
    let nested = callback(&json!({ "callbackPolicy": "test" }));
    let policies = [
        ("test", &*body, &*variables("policy")),
        ("bare", &body, ""),
        ("nested", &nested, ""),
        ("broken", "!", ""),
    ];
    ok(&put(&emulator, &target(), &[], document(&policies).as_bytes()).await);
    let named = |name: &str| callback(&json!({ "callbackPolicy": name }));
    let own = variables("request");
    let object = format!("/{BUCKET}/o");
    for (name, variables, expected) in [
        ("test", None, "k=o&a=policy"),
        ("test", Some(&*own), "k=o&a=request"),
        ("bare", None, "k=o&a="),
        ("bare", Some(&own), "k=o&a=request"),
    ] {
        let callback = named(name);
        let mut headers = vec![("x-oss-callback", &*callback)];
        headers.extend(variables.map(|variables| ("x-oss-callback-var", variables)));
        let answer = put(&emulator, &object, &headers, b"x").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(bodies.lock().unwrap().pop().as_deref(), Some(expected));
    }
    let form = good(&[("callback", &named("test"))]).file(b"x");
    let answer = form.post(&emulator).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(bodies.lock().unwrap().pop().unwrap().ends_with("a=policy"));

    for (name, status, code, ec) in [
        ("missing", 404, "BucketCallbackPolicyNotExist", ""),
        ("nested", 404, "BucketCallbackPolicyNotExist", ""),
        ("broken", 400, "InvalidArgument", "0007-00000002"),
    ] {
        let callback = named(name);
        let headers = [("x-oss-callback", &*callback)];
        let answer = put(&emulator, "/examplebucket/none", &headers, b"x").await;
        answer.assert_refused(status, code, ec);
    }
    // An error does not show what the policy contains.
    let secret = |url: &str| callback(&json!({ "callbackUrl": url, "callbackBody": "b" }));
    for hidden in [
        secret("http://10.0.0.5/cb?token=hidden"),
        secret("ftp://app.example/hidden"),
        STANDARD.encode("not JSON: hidden"),
        "!hidden".to_owned(),
    ] {
        let policies = document(&[("test", &hidden, "")]);
        ok(&put(&emulator, &target(), &[], policies.as_bytes()).await);
        let named = named("test");
        let headers = [("x-oss-callback", &*named)];
        let answer = put(&emulator, "/examplebucket/none", &headers, b"x").await;
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert!(!answer.text().contains("hidden"), "{}", answer.text());
        assert!(!answer.text().contains(&hidden), "{}", answer.text());
    }
    let answer = get(&emulator, "/examplebucket/none", "").await;
    assert_eq!(answer.status, 404);
    assert!(bodies.lock().unwrap().is_empty());
}
