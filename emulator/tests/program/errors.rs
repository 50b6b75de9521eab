//! Settings with which the program cannot work.

use std::{fs, net::TcpListener};

use super::{
    certificates::{KEY, certificate},
    support::run,
};

/// Asserts that the program ends with this error, whose text contains the remedy.
#[track_caller]
fn assert_error(arguments: &[&str], variables: &[(&str, &str)], expected: &str) {
    let output = run(arguments, variables);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{arguments:?} {error}");
    assert!(error.starts_with("error: "), "{error}");
    assert!(
        error.contains(expected),
        "{arguments:?} {variables:?}: {error}"
    );
    assert!(!error.contains("s3cret"), "{error}");
    assert!(output.stdout.is_empty());
}

#[test]
fn settings_that_cannot_work_are_errors() {
    for (arguments, expected) in [
        (
            &["--listen", "9000"][..],
            "--listen: \"9000\" is not an address; use one such as 127.0.0.1:9000",
        ),
        (&["--listen", ":9000"], "is not an address"),
        (&["--listen", "127.0.0.1:99999"], "is not an address"),
        (
            &["--listen", "203.0.113.1:0"],
            "is not an address of this machine; use 127.0.0.1 or 0.0.0.0",
        ),
        (
            &["--public-url", "oss.test"],
            "write it as http://oss.test:9000",
        ),
        (&["--public-url", "http://oss.test/path"], "without a path"),
        (
            &["--public-url", "ftp://oss.test"],
            "write it as http://oss.test:9000",
        ),
        (
            &["--public-url", "http://a:b@oss.test"],
            "write it as http://oss.test:9000",
        ),
        (
            &["--bucket", "Upper"],
            "--bucket: \"Upper\": a bucket name may contain only lower-case",
        ),
        (
            &["--bucket", "one:public"],
            "use private, public-read or public-read-write",
        ),
        (
            &["--bucket", "one", "--bucket", "one:public-read"],
            "the bucket one occurs twice",
        ),
        (
            &["--key", "s3cret"],
            "--key: write an AccessKey as ID:SECRET",
        ),
        (&["--key", "one:"], "--key: write an AccessKey as ID:SECRET"),
        (
            &["--key", ":s3cret"],
            "--key: write an AccessKey as ID:SECRET",
        ),
        (&["--key", "one:s3cret:"], "or as ID:SECRET:TOKEN"),
        (
            &["--key", "one:s3cret", "--key", "one:s3cret2"],
            "\"one\" occurs twice; remove one",
        ),
        (
            &["--region", "oss-cn-hangzhou"],
            "--region: a region is written without the \"oss-\"",
        ),
        (
            &["--memory", "1GiB"],
            "--memory: \"1GiB\" is not a number of MiB",
        ),
        (&["--memory", "0"], "is not a number of MiB"),
        (
            &["--memory", "99999999999999999999"],
            "is not a number of MiB",
        ),
        (
            &["--memory", "9", "--data", "/tmp/none"],
            "--memory applies only without --data; remove one",
        ),
        (&["--seed", "/none"], "--seed: /none: "),
        (
            &["--allow-callback", "app:80"],
            "\"app:80\" is not a URL; write it as http://",
        ),
        (
            &[
                "--allow-private-callbacks",
                "--allow-callback",
                "http://app/",
            ],
            "--allow-private-callbacks already allows what --allow-callback allows; remove one",
        ),
        (
            &["--allow-origin", "app.example"],
            "use one such as https://app.example, or *",
        ),
        (
            &["--allow-origin", "https://app.example/"],
            "use one such as https://app.example, or *",
        ),
        (
            &["--refuse-v1=maybe"],
            "--refuse-v1: \"maybe\" is neither true nor false",
        ),
        (
            &["--log", "xml"],
            "--log: \"xml\" is not a format; use text or json",
        ),
        (&["--console", "everyone"], "use local, all or off"),
        (
            &["--tls", "one.pem"],
            "--tls: needs two files, the certificate chain and its private key",
        ),
        (&["--tls", "/none.pem", "/none.key"], "--tls: /none.pem: "),
        (
            &["--callback-ca", "/none.pem"],
            "--callback-ca: /none.pem: ",
        ),
        (
            &["--callback-ca", "Cargo.toml"],
            "--callback-ca: Cargo.toml: root certificates must be PEM",
        ),
    ] {
        assert_error(arguments, &[], expected);
    }
}

#[test]
fn an_error_names_the_variable_that_it_comes_from() {
    for (name, value, expected) in [
        (
            "OSS_EMULATOR_BUCKET",
            "one,Upper",
            "OSS_EMULATOR_BUCKET: \"Upper\"",
        ),
        (
            "OSS_EMULATOR_KEY",
            "one:s3cret,s3cret",
            "OSS_EMULATOR_KEY: write an AccessKey",
        ),
        (
            "OSS_EMULATOR_CREATE_BUCKETS",
            "perhaps",
            "OSS_EMULATOR_CREATE_BUCKETS: \"perhaps\"",
        ),
        (
            "OSS_EMULATOR_TLS",
            "one.pem",
            "OSS_EMULATOR_TLS: needs two files",
        ),
    ] {
        assert_error(&[], &[(name, value)], expected);
    }
}

#[test]
fn a_malformed_command_line_is_explained() {
    for arguments in [
        &["--buckets", "one"][..],
        &["--bucket"],
        &["serve"],
        &["--log"],
    ] {
        let output = run(arguments, &[]);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains("--help"), "{error}");
    }
}

#[test]
fn a_port_in_use_is_an_error() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    assert_error(
        &["--listen", &address],
        &[],
        "is in use; stop the other program, or choose another port",
    );
}

#[test]
fn folders_that_cannot_be_used_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("diary.txt"), "mine").unwrap();
    let path = folder.path().to_str().unwrap();
    assert_error(
        &["--data", path],
        &[],
        "name an empty folder, or one of an earlier emulator",
    );
    assert_error(
        &["--seed", path],
        &[],
        "diary.txt: is not in a folder of a bucket; move it to DIR/BUCKET/KEY",
    );
    let inner = folder.path().join("data");
    let inner = inner.to_str().unwrap();
    assert_error(
        &["--data", inner, "--seed", path],
        &[],
        "--data and --seed need separate folders",
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let file = folder.path().join("diary.txt");
    assert_error(&["--data", file.to_str().unwrap()], &[], "--data: ");
}

#[test]
fn tls_files_that_do_not_fit_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (certificate, key) = (certificate(1, &["localhost"]), KEY);
    let (certificate, key) = (file("cert.pem", &certificate), file("key.pem", key));
    let empty = file("empty.pem", "");
    let other = file("other.pem", include_str!("../keys/rsa_512.pem"));
    for (arguments, expected) in [
        (["--tls", &empty, &key], "has no certificate in a PEM block"),
        (["--tls", &key, &key], "has no certificate in a PEM block"),
        (
            ["--tls", &certificate, &certificate],
            "has no private key in a PEM block",
        ),
        (
            ["--tls", &certificate, &other],
            "is not a usable key of the certificate",
        ),
    ] {
        assert_error(&arguments, &[], expected);
    }
    let arguments = [
        "--tls",
        &certificate,
        &key,
        "--public-url",
        "http://oss.test",
    ];
    assert_error(
        &arguments,
        &[],
        "--public-url: clients reach an emulator with --tls at an https:// URL",
    );
}
