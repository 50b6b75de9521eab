//! Every option, from the command line and from the environment.

use std::{io::Cursor, path::Path};

use image::{DynamicImage, ImageFormat};
use serde_json::json;

use super::support::{App, Program, Response, callback, run};

/// A bucket in which everyone may write, so that no request needs a signature.
const OPEN: &str = "open:public-read-write";

/// What an option changes.
type Probe = fn(&Program, &Path);

struct Case {
    option: &'static str,
    /// As on the command line. `FOLDER` is replaced by a new folder.
    values: &'static [&'static str],
    /// As in the environment, if not the values with commas between them.
    variable: Option<&'static str>,
    works: Probe,
    /// What holds without the option.
    without: Probe,
}

fn form(head: &str) -> Vec<u8> {
    format!(
        "--b\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\na.txt\r\n--b\r\n{head}\r\n\r\n\
         hello\r\n--b--\r\n"
    )
    .into_bytes()
}

/// A form whose file part OSS cannot read.
fn odd_form(program: &Program) -> u16 {
    let head = "Content-Type: text/plain\r\n\
                Content-Disposition: form-data; name=\"file\"; filename=\"a.txt\"";
    let content_type = "Content-Type: multipart/form-data; boundary=b\r\n";
    program
        .send("POST", "/open/", content_type, &form(head))
        .status
}

fn put_of_origin(program: &Program, origin: &str) -> u16 {
    let headers = format!("Origin: {origin}\r\n");
    program
        .send("PUT", "/open/a.txt", &headers, b"hello")
        .status
}

fn calls_back(program: &Program) {
    let app = App::start();
    let response = program.send("PUT", "/open/a.txt", &callback(&app.url), b"hello");
    assert_eq!(
        (response.status, response.text()),
        (200, "{\"Status\":\"OK\"}")
    );
    assert_eq!(app.called.join().unwrap(), "object=a.txt");
}

fn calls_nothing_private(program: &Program) {
    let response = program.send(
        "PUT",
        "/open/a.txt",
        &callback("http://127.0.0.1:9/"),
        b"hello",
    );
    assert_eq!(
        (response.status, response.ec()),
        (400, Some("0007-00000008"))
    );
}

fn create_bucket(program: &Program) -> Response {
    program.signed("PUT", "/new-bucket/", b"")
}

/// Begins an upload in parts, and returns the target of its list of parts.
fn begin_upload(program: &Program) -> String {
    let begun = program.send("POST", "/open/parts?uploads", "", b"");
    let (_, id) = begun.text().split_once("<UploadId>").unwrap();
    format!("/open/parts?uploadId={}", id.split('<').next().unwrap())
}

fn setting(program: &Program, name: &str) -> serde_json::Value {
    program.console("settings")[name].clone()
}

const CASES: &[Case] = &[
    Case {
        option: "public-url",
        values: &["http://oss.test:8080"],
        variable: None,
        works: |program, _| {
            assert_eq!(setting(program, "url"), "http://oss.test:8080");
            let put = program.send("PUT", "/a.txt", "Host: open.oss.test\r\n", b"hello");
            assert_eq!(put.status, 200);
            let health = program.send("GET", "/_emulator/health", "Host: oss.test:8080\r\n", b"");
            assert_eq!(health.status, 200);
        },
        without: |program, _| {
            assert_eq!(
                setting(program, "url"),
                format!("http://{}", program.address)
            );
            let put = program.send("PUT", "/a.txt", "Host: open.oss.test\r\n", b"hello");
            assert_eq!(put.status, 400);
        },
    },
    Case {
        option: "bucket",
        values: &[
            "private-one",
            "readable:public-read",
            "shared:public-read-write",
        ],
        variable: None,
        works: |program, _| {
            let buckets = program.console("buckets")["buckets"].clone();
            let found = buckets.as_array().unwrap().iter();
            let found: Vec<_> = found
                .map(|b| (b["name"].as_str().unwrap(), b["acl"].as_str().unwrap()))
                .collect();
            let expected = [
                ("open", "public-read-write"),
                ("private-one", "private"),
                ("readable", "public-read"),
                ("shared", "public-read-write"),
            ];
            assert!(found == expected || found == expected[1..], "{found:?}");
            assert_eq!(program.get("/readable/a.txt").status, 404);
            assert_eq!(program.get("/private-one/a.txt").status, 403);
        },
        without: |program, _| assert_eq!(setting(program, "buckets"), json!(["open"])),
    },
    Case {
        option: "create-buckets",
        values: &[""],
        variable: Some("true"),
        works: |program, _| {
            assert_eq!(setting(program, "createBuckets"), true);
            assert_eq!(create_bucket(program).status, 200);
            assert_eq!(setting(program, "buckets"), json!(["open"]));
            let buckets = program.console("buckets")["buckets"].clone();
            assert_eq!(buckets[0]["name"], "new-bucket");
            // Signed requests reach it, and only those.
            let put = program.signed("PUT", "/new-bucket/a.txt", b"hello");
            assert_eq!(put.status, 200);
            assert_eq!(program.get("/new-bucket/a.txt").status, 403);
            let found = program.signed("GET", "/new-bucket/a.txt", b"");
            assert_eq!((found.status, found.text()), (200, "hello"));
            // A reset deletes it.
            assert_eq!(
                program.send("POST", "/_emulator/reset", "", b"").status,
                200
            );
            let gone = program.signed("GET", "/new-bucket/a.txt", b"");
            assert!(gone.text().contains("<Code>NoSuchBucket</Code>"));
            assert_eq!(create_bucket(program).status, 200);
            let deleted = program.signed("DELETE", "/new-bucket/", b"");
            assert_eq!(deleted.status, 204, "{}", deleted.text());
        },
        without: |program, _| {
            assert_eq!(setting(program, "createBuckets"), false);
            let refused = create_bucket(program);
            assert!(refused.text().contains("<Code>NotImplemented</Code>"));
        },
    },
    Case {
        option: "key",
        values: &["one:secret", "STS.two:secret:token"],
        variable: None,
        works: |program, _| assert_eq!(setting(program, "keys"), json!(["one", "STS.two"])),
        without: |program, _| assert_eq!(setting(program, "keys"), json!(["test-id"])),
    },
    Case {
        option: "region",
        values: &["eu-central-1"],
        variable: None,
        works: |program, _| assert_eq!(setting(program, "region"), "eu-central-1"),
        without: |program, _| assert_eq!(setting(program, "region"), "cn-hangzhou"),
    },
    Case {
        option: "data",
        values: &["FOLDER"],
        variable: None,
        works: |program, folder| {
            assert_eq!(setting(program, "data"), folder.to_str().unwrap());
            assert_eq!(program.put("/open/a.txt", b"hello").status, 200);
            assert_eq!(
                std::fs::read_dir(folder.join("buckets/open"))
                    .unwrap()
                    .count(),
                1
            );
        },
        without: |program, _| assert!(setting(program, "data").is_null()),
    },
    Case {
        option: "memory",
        values: &["1"],
        variable: None,
        works: |program, _| assert_eq!(program.put("/open/a", &vec![0; 2 << 20]).status, 500),
        without: |program, _| assert_eq!(program.put("/open/a", &vec![0; 2 << 20]).status, 200),
    },
    Case {
        option: "foreign-bucket",
        values: &["theirs,others"],
        variable: None,
        works: |program, _| assert_eq!(program.get("/others/a").status, 403),
        without: |program, _| assert_eq!(program.get("/others/a").status, 404),
    },
    Case {
        option: "drop-idle-uploads",
        values: &["1"],
        variable: None,
        works: |program, _| {
            let upload = begin_upload(program);
            // The emulator looks at its clock with each request.
            while program.get(&upload).status == 200 {}
            let gone = program.get(&upload);
            assert!(gone.text().contains("<Code>NoSuchUpload</Code>"));
        },
        without: |program, _| {
            assert_eq!(program.get(&begin_upload(program)).status, 200);
        },
    },
    Case {
        option: "allow-private-callbacks",
        values: &[""],
        variable: Some("1"),
        works: |program, _| calls_back(program),
        without: |program, _| calls_nothing_private(program),
    },
    Case {
        option: "allow-origin",
        values: &["https://app.example", "http://other.example"],
        variable: None,
        works: |program, _| {
            assert_eq!(put_of_origin(program, "https://app.example"), 200);
            assert_eq!(put_of_origin(program, "http://other.example"), 200);
            assert_eq!(put_of_origin(program, "http://localhost:3000"), 403);
        },
        without: |program, _| {
            assert_eq!(put_of_origin(program, "https://app.example"), 403);
            for local in [
                "http://localhost:3000",
                "http://127.0.0.1:8080",
                "https://localhost:3000",
            ] {
                assert_eq!(put_of_origin(program, local), 200, "{local}");
            }
        },
    },
    Case {
        option: "lenient-forms",
        values: &[""],
        variable: Some("yes"),
        works: |program, _| assert_eq!(odd_form(program), 204),
        without: |program, _| assert_eq!(odd_form(program), 400),
    },
    Case {
        option: "refuse-v1",
        values: &[""],
        variable: Some("on"),
        works: |program, _| {
            let response = program.send("GET", "/open/a", "Authorization: OSS test-id:x\r\n", b"");
            assert_eq!(response.ec(), Some("0002-00000080"));
        },
        without: |program, _| {
            let response = program.send("GET", "/open/a", "Authorization: OSS test-id:x\r\n", b"");
            assert_ne!(response.ec(), Some("0002-00000080"));
        },
    },
    Case {
        option: "console",
        values: &["off"],
        variable: None,
        works: |program, _| assert_eq!(program.get("/_emulator/health").status, 403),
        without: |program, _| assert_eq!(program.get("/_emulator/health").status, 200),
    },
];

#[test]
fn every_option_works_from_the_command_line_and_the_environment() {
    for case in CASES {
        let folder = tempfile::tempdir().unwrap();
        (case.without)(&Program::start(&["--bucket", OPEN]), folder.path());
        let option = format!("--{}", case.option);
        let path = folder.path().join("line");
        let values = case
            .values
            .iter()
            .map(|value| value.replace("FOLDER", path.to_str().unwrap()));
        let values: Vec<_> = values.collect();
        let mut arguments = vec!["--bucket", OPEN];
        for value in &values {
            arguments.push(&option);
            arguments.extend(Some(&**value).filter(|value| !value.is_empty()));
        }
        (case.works)(&Program::start(&arguments), &path);

        let path = folder.path().join("environment");
        let name = format!(
            "OSS_EMULATOR_{}",
            case.option.replace('-', "_").to_uppercase()
        );
        let value = case
            .variable
            .map_or_else(|| case.values.join(","), Into::into);
        let value = value.replace("FOLDER", path.to_str().unwrap());
        // `--bucket` on the command line would replace the variable.
        let open: &[&str] = if case.option == "bucket" {
            &[]
        } else {
            &["--bucket", OPEN]
        };
        (case.works)(&Program::start_with(open, &[(&name, &value)]), &path);
    }
}

#[test]
fn named_callbacks_are_allowed_and_no_others() {
    let app = App::start();
    let program = Program::start(&["--bucket", OPEN, "--allow-callback", &app.url]);
    calls_nothing_private(&program);
    let response = program.send("PUT", "/open/a.txt", &callback(&app.url), b"hello");
    assert_eq!(response.status, 200);
    assert_eq!(app.called.join().unwrap(), "object=a.txt");

    let app = App::start();
    let program = Program::start_with(
        &["--bucket", OPEN],
        &[(
            "OSS_EMULATOR_ALLOW_CALLBACK",
            &format!("http://a.example,{}", app.url),
        )],
    );
    let response = program.send("PUT", "/open/a.txt", &callback(&app.url), b"hello");
    assert_eq!(response.status, 200);
    app.called.join().unwrap();
}

#[test]
fn it_starts_without_options() {
    let program = Program::start(&[]);
    let start = program.console("settings");
    assert_eq!(start["buckets"], json!(["examplebucket"]));
    assert_eq!(start["keys"], json!(["test-id"]));
    assert_eq!(
        program.get("/examplebucket/a.txt").ec(),
        Some("0003-00000001")
    );
}

#[test]
fn it_processes_images() {
    let program = Program::start(&["--bucket", OPEN]);
    let mut image = Cursor::new(Vec::new());
    let pixels = DynamicImage::new_rgb8(8, 4);
    pixels.write_to(&mut image, ImageFormat::Png).unwrap();
    assert_eq!(program.put("/open/a.png", image.get_ref()).status, 200);
    let info = program.get("/open/a.png?x-oss-process=image%2Fresize%2Cw_4%2Finfo");
    assert_eq!(info.status, 200, "{}", info.text());
    assert_eq!(info.json()["ImageWidth"]["value"], "4");
    assert_eq!(info.json()["ImageHeight"]["value"], "2");
}

#[test]
fn the_address_comes_from_the_environment_too() {
    let variables = [
        ("OSS_EMULATOR_LISTEN", "127.0.0.1:0"),
        ("OSS_EMULATOR_LOG", "json"),
    ];
    let program = Program::spawn(super::support::command(&[], &variables));
    assert_eq!(program.console("health")["status"], "ok");
}

#[test]
fn the_command_line_overrides_the_environment_and_empty_variables_are_ignored() {
    let variables = [
        ("OSS_EMULATOR_REGION", "eu-central-1"),
        ("OSS_EMULATOR_BUCKET", ""),
        ("OSS_EMULATOR_KEY", ""),
        ("OSS_EMULATOR_TLS", ""),
        ("OSS_EMULATOR_REFUSE_V1", ""),
        ("OSS_EMULATOR_CREATE_BUCKETS", "true"),
        // What Kubernetes sets for a service of this name.
        ("OSS_EMULATOR_PORT", "tcp://10.0.0.1:9000"),
        ("OSS_EMULATOR_SERVICE_HOST", "10.0.0.1"),
    ];
    let arguments = ["--region", "cn-beijing", "--create-buckets=false"];
    let program = Program::start_with(&arguments, &variables);
    assert_eq!(setting(&program, "region"), "cn-beijing");
    assert_eq!(setting(&program, "createBuckets"), false);
    assert_eq!(setting(&program, "buckets"), json!(["examplebucket"]));
}

#[test]
fn the_help_lists_every_option_and_no_secret() {
    let variables = [("OSS_EMULATOR_KEY", "one:s3cret")];
    let help = run(&["--help"], &variables);
    assert!(help.status.success());
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(!help.contains("s3cret"));
    for option in [
        "listen",
        "public-url",
        "bucket",
        "create-buckets",
        "foreign-bucket",
        "key",
        "region",
        "data",
        "memory",
        "seed",
        "drop-idle-uploads",
        "allow-private-callbacks",
        "allow-callback",
        "allow-origin",
        "lenient-forms",
        "refuse-v1",
        "tls",
        "log",
        "console",
    ] {
        assert!(help.contains(&format!("--{option}")), "{option}");
        let variable = format!("OSS_EMULATOR_{}", option.replace('-', "_").to_uppercase());
        assert!(help.contains(&variable), "{variable}");
        // The README describes it.
        assert!(
            include_str!("../../README.md").contains(&format!("`--{option}")),
            "{option}"
        );
    }
}

#[test]
fn the_start_message_shows_only_the_default_secret() {
    for (arguments, secret) in [(&[][..], true), (&["--key", "one:s3cret"], false)] {
        let mut program = Program::start(arguments);
        let mut text = String::new();
        while !text.contains("localhost does not resolve") {
            std::io::BufRead::read_line(&mut program.lines, &mut text).unwrap();
        }
        assert!(!text.contains("s3cret"));
        assert_eq!(text.contains("test-secret"), secret);
        for sdk in ["Python", "Node.js", "Java", "Go"] {
            assert!(text.contains(sdk), "{text}");
        }
        assert!(text.contains(&format!("http://{}/_emulator/", program.address)));
    }
}
