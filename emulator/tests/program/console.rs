//! The endpoints below `/_emulator/`, and pages that must not use them.

use std::net::UdpSocket;

use serde_json::json;

use super::support::{App, Program, callback};

const OPEN: [&str; 3] = [
    "--bucket",
    "open:public-read-write",
    "--allow-private-callbacks",
];

const ENDPOINTS: [&str; 15] = [
    "",
    "app.js",
    "colors.css",
    "element.js",
    "style.css",
    "health",
    "callback_key.pem",
    "requests",
    "settings",
    "buckets",
    "objects?bucket=open",
    "object?bucket=open&key=a.txt",
    "image?bucket=open&key=a.png",
    "uploads",
    "none",
];

fn program() -> Program {
    let program = Program::start(&OPEN);
    assert_eq!(program.put("/open/a.txt", b"hello").status, 200);
    assert_eq!(
        program.put("/open/a.png", b"\x89PNG\r\n\x1a\n...").status,
        200
    );
    program
}

fn reset(program: &Program, headers: &str) -> u16 {
    program
        .send("POST", "/_emulator/reset", headers, b"")
        .status
}

#[test]
fn it_is_healthy_and_shows_the_key_of_callbacks() {
    let program = program();
    let health = program.console("health");
    assert_eq!(
        health,
        json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") })
    );
    let key = program.get("/_emulator/callback_key.pem");
    let expected = include_str!("../../../src/testing/public_key.pem");
    assert_eq!(key.text().replace("\r\n", "\n").trim(), expected.trim());
    let head = program.send("HEAD", "/_emulator/health", "", b"");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(
        program.get("/_emulator").header("location"),
        Some("/_emulator/")
    );
}

#[test]
fn the_last_requests_are_listed_for_assertions() {
    let program = program();
    let app = App::start();
    program.send("PUT", "/open/c.txt", &callback(&app.url), b"hello");
    app.called.join().unwrap();
    program.get("/open/none.txt");
    let all = program.console("requests");
    assert_eq!(all["last"], 4);
    let operations: Vec<_> = all["requests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|request| request["operation"].as_str().unwrap())
        .collect();
    assert_eq!(
        operations,
        ["PutObject", "PutObject", "PutObject", "GetObject"]
    );
    let of = |query: &str| program.console(&format!("requests?{query}"))["requests"].clone();
    assert_eq!(of("after=3").as_array().unwrap().len(), 1);
    assert_eq!(of("after=4"), json!([]));
    // A number of an earlier process: this one counts from the beginning.
    let restarted = program.console("requests?after=500&operation=GetObject");
    assert_eq!(restarted["requests"].as_array().unwrap().len(), 1);
    assert_eq!(restarted["last"], 4);
    let failed = of("status=404&operation=GetObject");
    assert_eq!(failed[0]["code"], "NoSuchKey");
    assert_eq!(failed[0]["ec"], "0026-00000001");
    assert_eq!(failed[0]["upload"], json!(null));
    let uploads = of("bucket=open&key=c.txt");
    let [upload] = &**uploads.as_array().unwrap() else {
        panic!("{uploads}")
    };
    assert_eq!(
        upload["upload"]["steps"],
        json!([
            "signature",
            "callbackParameters",
            "size",
            "stored",
            "callback"
        ])
    );
    assert_eq!(
        upload["callbacks"],
        json!([{
            "url": app.url,
            "body": "object=c.txt",
            "status": 200,
            "failure": null,
            "response": "{\"Status\":\"OK\"}",
        }])
    );
    for query in ["requests?after=x", "requests?ky=c.txt"] {
        assert_eq!(
            program.get(&format!("/_emulator/{query}")).status,
            400,
            "{query}"
        );
    }
}

#[test]
fn a_reset_deletes_objects_uploads_and_requests() {
    let program = program();
    let started = program.send("POST", "/open/parts?uploads", "", b"");
    let id = started
        .text()
        .split("<UploadId>")
        .nth(1)
        .unwrap()
        .split('<')
        .next()
        .unwrap()
        .to_owned();
    program.put(&format!("/open/parts?partNumber=1&uploadId={id}"), b"part");
    let uploads = program.console("uploads");
    assert_eq!(uploads["uploads"][0]["uploadId"], *id);
    assert_eq!(uploads["uploads"][0]["size"], 4);
    assert_eq!(uploads["uploads"][0]["parts"][0]["partNumber"], 1);

    assert_eq!(reset(&program, ""), 200);
    assert_eq!(program.console("uploads")["uploads"], json!([]));
    assert_eq!(program.console("requests")["requests"], json!([]));
    assert_eq!(program.console("objects?bucket=open")["objects"], json!([]));
    let part = program.put(&format!("/open/parts?partNumber=1&uploadId={id}"), b"part");
    assert_eq!(part.status, 404);
    // The sequence goes on, so a client that polls misses nothing.
    assert_eq!(program.console("requests")["last"], 5);
}

#[test]
fn objects_are_shown_with_their_metadata() {
    let program = program();
    let headers =
        "Content-Type: text/plain\r\nx-oss-meta-note: hello\r\nCache-Control: no-cache\r\n";
    program.send("PUT", "/open/dir/b.txt", headers, b"text");
    let object = program.console("object?bucket=open&key=dir/b.txt");
    assert_eq!(object["size"], 4);
    assert_eq!(object["contentType"], "text/plain");
    assert_eq!(object["etag"], "1CB251EC0D568DE6A929B520C4AED8D1");
    assert_eq!(
        object["preview"],
        json!({ "kind": "text", "text": "text", "cut": false })
    );
    let headers = object["headers"].as_array().unwrap();
    assert!(
        headers.contains(&json!(["x-oss-meta-note", "hello"])),
        "{headers:?}"
    );
    let listed = program.console("objects?bucket=open&prefix=dir/");
    assert_eq!(listed["objects"][0]["key"], "dir/b.txt");
    assert_eq!(listed["more"], false);
    assert_eq!(
        program.console("object?bucket=open&key=a.png")["preview"]["kind"],
        "image"
    );
    for none in [
        "object?bucket=open&key=none",
        "object?bucket=other&key=a.txt",
        "objects?bucket=other",
        "objects",
        "image?bucket=open&key=a.txt",
    ] {
        assert_eq!(
            program.get(&format!("/_emulator/{none}")).status,
            404,
            "{none}"
        );
    }
    // Pages of a hundred.
    for number in 0..101 {
        program.put(&format!("/open/many/{number:03}"), b"x");
    }
    let first = program.console("objects?bucket=open&prefix=many/");
    assert_eq!(
        (first["objects"].as_array().unwrap().len(), &first["more"]),
        (100, &json!(true))
    );
    let second = program.console("objects?bucket=open&prefix=many/&after=many/099");
    assert_eq!(second["objects"][0]["key"], "many/100");
}

#[test]
fn only_a_post_changes_something() {
    let program = program();
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let response = program.send(method, "/_emulator/reset", "", b"");
        assert_eq!(
            (response.status, response.header("allow")),
            (405, Some("POST")),
            "{method}"
        );
    }
    for endpoint in ENDPOINTS {
        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            let response = program.send(method, &format!("/_emulator/{endpoint}"), "", b"");
            assert_eq!(response.status, 405, "{method} {endpoint}");
            assert_eq!(response.header("access-control-allow-origin"), None);
        }
    }
    assert_eq!(program.get("/open/a.txt").body, b"hello");
}

#[test]
fn em_01_pages_of_other_origins_use_nothing() {
    let program = program();
    let port = program.address.port();
    let hostile = [
        "Origin: https://evil.example\r\n".to_owned(),
        "Origin: null\r\n".to_owned(),
        "Origin: http://localhost:3000\r\n".to_owned(),
        format!("Origin: http://localhost:{port}\r\n"),
        format!("Origin: https://127.0.0.1:{port}\r\n"),
        "Sec-Fetch-Site: cross-site\r\n".to_owned(),
        "Sec-Fetch-Site: same-site\r\n".to_owned(),
        "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe\r\n"
            .to_owned(),
    ];
    for headers in &hostile {
        for endpoint in ENDPOINTS {
            let response = program.send("GET", &format!("/_emulator/{endpoint}"), headers, b"");
            assert_eq!(response.status, 403, "{endpoint} {headers}");
            assert_eq!(
                response.json(),
                json!({ "error": "pages of other origins may not use /_emulator/" })
            );
            assert_eq!(response.header("access-control-allow-origin"), None);
        }
        assert_eq!(reset(&program, headers), 403, "{headers}");
    }
    assert_eq!(program.get("/open/a.txt").body, b"hello");
    // No response can be included in a page, framed, or kept.
    for endpoint in ENDPOINTS {
        let response = program.get(&format!("/_emulator/{endpoint}"));
        for (name, value) in [
            ("cross-origin-resource-policy", "same-origin"),
            ("x-content-type-options", "nosniff"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(response.header(name), Some(value), "{endpoint}");
        }
        let policy = response.header("content-security-policy").unwrap();
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
    }
    // The page itself.
    let own = format!("Origin: http://127.0.0.1:{port}\r\nSec-Fetch-Site: same-origin\r\n");
    assert_eq!(reset(&program, &own), 200);
}

#[test]
fn em_02_names_that_resolve_to_this_machine_reach_nothing() {
    let program = program();
    let port = program.address.port();
    for host in [
        format!("evil.example:{port}"),
        format!("127.0.0.1.evil.example:{port}"),
        "evil.example".to_owned(),
        format!("oss:{port}"),
        format!("[::ffff:10.0.0.1]:{port}"),
    ] {
        for target in [
            "/_emulator/requests".to_owned(),
            format!("http://{host}/_emulator/requests"),
        ] {
            // The name is in both places: the target comes first.
            let headers = format!("Host: {host}\r\nOrigin: http://{host}\r\n");
            let response = program.send("GET", &target, &headers, b"");
            assert_eq!(response.status, 403, "{host} {target}");
        }
        assert_eq!(reset(&program, &format!("Host: {host}\r\n")), 403, "{host}");
    }
    // In the host of a bucket, the path is that of an object.
    let response = program.send(
        "GET",
        "/_emulator/requests",
        &format!("Host: open.localhost:{port}\r\n"),
        b"",
    );
    assert_eq!(
        (response.status, response.ec()),
        (404, Some("0026-00000001"))
    );
    assert_eq!(program.get("/open/a.txt").body, b"hello");
}

#[test]
fn em_03_other_machines_use_nothing_unless_asked_for() {
    // The address that this machine would use for the internet. Nothing is sent.
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    let own = socket
        .connect("192.0.2.1:9")
        .and_then(|()| socket.local_addr());
    let Some(own) = own.ok().filter(|own| !own.ip().is_loopback()) else {
        // The unit test of the same case needs no network.
        return;
    };
    for (arguments, status) in [(&[][..], 403), (&["--console", "all"], 200)] {
        let mut all = vec!["--listen", "0.0.0.0:0"];
        all.extend(arguments);
        let mut program = Program::spawn(super::support::command(&all, &[]));
        program.address.set_ip(own.ip());
        assert_eq!(program.get("/_emulator/health").status, status);
        assert_eq!(program.get("/examplebucket/a.txt").status, 403);
        program.address.set_ip([127, 0, 0, 1].into());
        assert_eq!(program.get("/_emulator/health").status, 200);
    }
}

#[test]
fn em_04_objects_are_shown_in_an_origin_of_their_own() {
    let program = program();
    for target in ["/open/a.txt", "/open/none", "/", "/open/", "/none/a"] {
        let response = program.get(target);
        let policy = response.header("content-security-policy").unwrap();
        assert!(
            policy.starts_with("sandbox ") && !policy.contains("same-origin"),
            "{target}: {policy}"
        );
    }
}

#[test]
fn em_05_previews_are_no_documents() {
    let program = program();
    let html = b"<script>fetch('/_emulator/reset', { method: 'POST' })</script>";
    let headers = "Content-Type: text/html\r\n";
    program.send("PUT", "/open/page.html", headers, html);
    let object = program.get("/_emulator/object?bucket=open&key=page.html");
    assert_eq!(object.header("content-type"), Some("application/json"));
    assert_eq!(
        object.json()["preview"]["text"],
        *String::from_utf8_lossy(html)
    );
    // A type that the uploader chose, and a content that is an image to no browser.
    program.send("PUT", "/open/fake.png", "Content-Type: image/png\r\n", html);
    assert_eq!(
        program
            .get("/_emulator/image?bucket=open&key=fake.png")
            .status,
        404
    );
    let svg = b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>";
    program.send("PUT", "/open/a.svg", "Content-Type: image/svg+xml\r\n", svg);
    assert_eq!(
        program.get("/_emulator/image?bucket=open&key=a.svg").status,
        404
    );
    // An image with a script behind its magic stays an image.
    program.send(
        "PUT",
        "/open/both.png",
        "Content-Type: text/html\r\n",
        b"\x89PNG\r\n\x1a\n<script>",
    );
    let image = program.get("/_emulator/image?bucket=open&key=both.png");
    assert_eq!(image.header("content-type"), Some("image/png"));
    assert_eq!(image.header("x-content-type-options"), Some("nosniff"));
}

#[test]
fn em_07_a_foreign_page_sends_no_form_and_no_callback() {
    let program = program();
    let private = callback("http://127.0.0.1:9/");
    let form = "Content-Type: multipart/form-data; boundary=b\r\n";
    for origin in ["https://evil.example", "null"] {
        let origin = format!("Origin: {origin}\r\n");
        for (method, target, headers) in [
            ("POST", "/open/", form),
            ("PUT", "/open/a.txt", &private),
            ("DELETE", "/open/a.txt", ""),
            ("POST", "/open/a.txt?x-oss-process", ""),
        ] {
            let response = program.send(method, target, &format!("{origin}{headers}"), b"x");
            assert_eq!(
                (response.status, response.ec()),
                (403, Some("0003-00000602")),
                "{method} {target}"
            );
        }
    }
    assert_eq!(program.get("/open/a.txt").body, b"hello");
    let requests = program.console("requests")["requests"].clone();
    assert!(
        requests
            .as_array()
            .unwrap()
            .iter()
            .all(|request| request["callbacks"] == json!([]))
    );
}
