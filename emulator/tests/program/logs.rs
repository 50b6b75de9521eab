//! The access log.

use std::io::{BufRead as _, Read as _};

use serde_json::Value;

use super::support::{App, Program, callback};

fn next(program: &mut Program) -> String {
    let mut line = String::new();
    program.lines.read_line(&mut line).unwrap();
    line
}

#[test]
fn one_line_per_request_says_what_was_refused_and_why() {
    let arguments = [
        "--bucket",
        "open:public-read-write",
        "--allow-private-callbacks",
    ];
    let mut program = Program::start(&arguments);
    while !next(&mut program).contains("localhost does not resolve") {}
    assert_eq!(
        program
            .put("/open/a.txt?x-oss-signature-x=1", b"hello")
            .status,
        200
    );
    assert_eq!(
        program
            .get("/open/b.txt?Signature=s3cret&Expires=9999999999&OSSAccessKeyId=no")
            .status,
        403
    );
    let app = App::start();
    let called = program.send("PUT", "/open/c.txt", &callback(&app.url), b"hello");
    assert_eq!(called.status, 200);
    app.called.join().unwrap();
    assert_eq!(
        program.send("DELETE", "/open/a.txt?live", "", b"").status,
        400
    );

    let put = next(&mut program);
    assert!(
        put.contains(" PutObject 200 - - \"PUT /open/a.txt?x-oss-signature-x=1\" "),
        "{put}"
    );
    let refused = next(&mut program);
    assert!(
        refused.contains(
            " GetObject 403 InvalidAccessKeyId 0002-00000902 \"GET /open/b.txt?Signature=***&"
        ),
        "{refused}"
    );
    assert!(
        refused.contains(": The OSS Access Key Id you provided"),
        "{refused}"
    );
    assert!(!refused.contains("s3cret"));
    let called = next(&mut program);
    assert!(
        called.contains(&format!(" callback \"{}\" 200", app.url)),
        "{called}"
    );
    let unknown = next(&mut program);
    assert!(
        unknown.contains(" - 400 NotImplemented - \"DELETE /open/a.txt?live\" "),
        "{unknown}"
    );
}

#[test]
fn json_lines_are_objects() {
    let mut program = Program::start(&["--log", "json", "--bucket", "open:public-read-write"]);
    assert_eq!(program.get("/open/none.txt").status, 404);
    let line: Value = serde_json::from_str(&next(&mut program)).unwrap();
    for (name, value) in [
        ("event", "request"),
        ("operation", "GetObject"),
        ("method", "GET"),
        ("bucket", "open"),
        ("key", "none.txt"),
        ("code", "NoSuchKey"),
        ("ec", "0026-00000001"),
        ("message", "The specified key does not exist."),
        ("client", "127.0.0.1"),
        ("target", "/open/none.txt"),
    ] {
        assert_eq!(line[name], value, "{name}");
    }
    assert_eq!(line["status"], 404);
    assert_eq!(line["requestId"].as_str().unwrap().len(), 24);
    let refused = program.send(
        "GET",
        "/_emulator/health",
        "Origin: https://evil.example\r\n",
        b"",
    );
    assert_eq!(refused.status, 403);
    #[cfg(unix)]
    {
        let mut warnings = program.child.stderr.take().unwrap();
        let (code, rest) = program.stop("-TERM");
        assert_eq!(code, Some(0));
        let stopped: Value = serde_json::from_str(rest.trim()).unwrap();
        assert_eq!(stopped["event"], "stopped");
        // The library's warnings are JSON too.
        let mut text = String::new();
        warnings.read_to_string(&mut text).unwrap();
        let warning: Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!(
            (&warning["event"], &warning["level"]),
            (&"log".into(), &"WARN".into())
        );
        assert!(
            warning["fields"]["message"]
                .as_str()
                .unwrap()
                .contains("other origins")
        );
    }
}
