//! Tests the settings of the example: an account of the real OSS, as far as possible without using
//! it, invalid settings, and allowed origins.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::server::{Server, example};

const ACCOUNT: [(&str, &str); 5] = [
    ("OSS_ACCESS_KEY_ID", "LTAI5tExample"),
    ("OSS_ACCESS_KEY_SECRET", "secret-of-the-account"),
    ("OSS_BUCKET", "examplebucket"),
    ("OSS_REGION", "cn-beijing"),
    ("OSS_CALLBACK_URL", "https://app.example/oss/callback"),
];

#[ignore = "needs `cargo build --example server`"]
#[test]
fn with_an_account_uploads_go_to_the_real_oss() {
    let server = Server::start_with(&[], &ACCOUNT);
    let host = "https://examplebucket.oss-cn-beijing.aliyuncs.com";
    assert_eq!(server.uploads, host);
    let page = server.get("/");
    assert!(
        page.contains(&format!("connect-src 'self' {host};")),
        "{page}"
    );
    let token = server.get("/oss/policy?filename=a.txt&size=5&type=text/plain");
    assert!(token.starts_with("HTTP/1.1 200 OK\r\n"), "{token}");
    assert!(token.contains(&format!(r#""url":"{host}""#)), "{token}");
    let legacy = server.get("/oss/policy/legacy");
    assert!(
        legacy.contains(r#""dir":"user-dir-prefix/""#) && legacy.contains("accessid"),
        "{legacy}"
    );
    let config = server.get("/config");
    assert!(config.contains(r#""emulated":false"#), "{config}");
    for answer in [page, token, legacy, config] {
        assert!(!answer.contains("secret-of-the-account"), "{answer}");
    }
    assert_eq!(server.stop(), "stopped\n");
}

/// Starts the example with invalid settings and returns its error output.
fn refusal(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let mut child = Command::new(example())
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut error = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut error)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{error}");
    assert!(!error.contains("secret-of-the-account"), "{error}");
    error
}

#[ignore = "needs `cargo build --example server`"]
#[test]
fn wrong_settings_say_what_to_change() {
    let free = ["--listen", "127.0.0.1:0"];
    let part = refusal(&free, &ACCOUNT[..3]);
    assert!(
        part.contains("missing OSS_REGION, OSS_CALLBACK_URL"),
        "{part}"
    );
    let mut elsewhere = ACCOUNT;
    elsewhere[4].1 = "https://app.example/callback";
    let path = refusal(&free, &elsewhere);
    assert!(path.contains("must have the path /oss/callback"), "{path}");
    for (arguments, expected) in [
        (["--listen", "8080"], "such as 127.0.0.1:8080"),
        (["--oss-listen", "0.0.0.0:0"], "a specific address"),
        (["--allow-origin", "*"], "such as https://app.example"),
        (["--port", "80"], "unknown option"),
    ] {
        let error = refusal(&arguments, &[]);
        assert!(error.contains(expected), "{error}");
    }
}

#[ignore = "needs `cargo build --example server`"]
#[test]
fn pages_of_another_origin_are_let_in_by_name_alone() {
    let server = Server::start(&["--allow-origin", "https://page.example"]);
    for (origin, allowed) in [
        ("https://page.example", true),
        ("https://other.example", false),
    ] {
        let answer = server.exchange(&format!(
            "GET /oss/policy/legacy HTTP/1.1\r\nhost: x\r\norigin: {origin}\r\n\
             connection: close\r\n\r\n"
        ));
        let header = format!("\r\naccess-control-allow-origin: {origin}\r\n");
        assert_eq!(answer.contains(&header), allowed, "{answer}");
        assert!(!answer.contains("origin: *"), "{answer}");
    }
}

/// Posts a form with these fields and returns the response.
fn post_form(server: &Server, origin: &str, fields: &[(&str, &str)]) -> String {
    let part = |head: &str, value: &str| {
        format!("--b\r\nContent-Disposition: form-data; {head}\r\n\r\n{value}\r\n")
    };
    let fields = fields.iter();
    let mut body: String = fields
        .map(|(name, value)| part(&format!("name=\"{name}\""), value))
        .collect();
    body += &part("name=\"file\"; filename=\"a.txt\"", "hello");
    body += "--b--\r\n";
    let (host, bucket) = server
        .uploads
        .split_once("//")
        .unwrap()
        .1
        .split_once('/')
        .unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    let head = format!(
        "POST /{bucket}/ HTTP/1.1\r\nhost: {host}\r\norigin: {origin}\r\nconnection: close\r\n\
         content-type: multipart/form-data; boundary=b\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[ignore = "needs `cargo build --example server`"]
#[test]
fn foreign_pages_cannot_use_the_emulator() {
    let server = Server::start(&[]);
    let token = server.get("/oss/policy?filename=a.txt&size=5&type=text/plain");
    let token: Value = serde_json::from_str(token.split_once("\r\n\r\n").unwrap().1).unwrap();
    let fields: Vec<_> = token["fields"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (&**name, value.as_str().unwrap()))
        .collect();
    for origin in ["https://evil.example", "null"] {
        let answer = post_form(&server, origin, &fields);
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
        assert!(answer.contains("<Code>AccessForbidden</Code>"), "{answer}");
    }
    let own = format!("http://{}", server.address);
    // A policy for the object `a`, signed with `demo-secret`: a constant that any page could know.
    let policy = "eyJleHBpcmF0aW9uIjoiMjk5OS0wMS0wMVQwMDowMDowMFoiLCJjb25kaXRpb25zIjpbWyJlcSIsIiRrZXkiLCJhIl1dfQ==";
    let signature = "sYAqqSgxclzWwQ0V0Oayxb5F1/g=";
    let forged = [
        ("key", "a"),
        ("OSSAccessKeyId", "demo-id"),
        ("policy", policy),
        ("Signature", signature),
    ];
    let answer = post_form(&server, &own, &forged);
    assert!(
        answer.contains("<Code>SignatureDoesNotMatch</Code>"),
        "{answer}"
    );
    let answer = post_form(&server, &own, &fields);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(server.received().len(), 1);
}
