//! Start, stop, kill, and the output that nobody reads.

use std::{io::Write as _, process::Stdio};

use serde_json::json;

use super::support::{Program, command, connect, run};

const OPEN: [&str; 2] = ["--bucket", "open:public-read-write"];

#[cfg(unix)]
#[test]
fn both_signals_stop_it_after_the_requests_in_progress() {
    for signal in ["-INT", "-TERM"] {
        let program = Program::start(&OPEN);
        let mut stream = connect(program.address);
        let head = format!(
            "PUT /open/a HTTP/1.1\r\nHost: {}\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
            program.address
        );
        stream.write_all(head.as_bytes()).unwrap();
        // The emulator asks for the body, so it is reading it.
        let mut asked = [0; 25];
        std::io::Read::read_exact(&mut stream, &mut asked).unwrap();
        assert_eq!(&asked, b"HTTP/1.1 100 Continue\r\n\r\n");
        let upload = std::thread::spawn(move || {
            stream.write_all(b"hello").unwrap();
            super::support::read_response(stream).status
        });
        let (code, rest) = program.stop(signal);
        assert_eq!(upload.join().unwrap(), 200);
        assert_eq!(code, Some(0));
        assert!(rest.ends_with("stopped\n"), "{rest}");
        assert!(rest.contains(" PutObject 200 "), "{rest}");
    }
}

#[test]
fn objects_in_a_folder_survive_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut arguments = OPEN.to_vec();
    arguments.extend(["--data", folder.path().to_str().unwrap()]);
    let program = Program::start(&arguments);
    assert_eq!(program.put("/open/a.txt", b"hello").status, 200);
    // SIGKILL on Unix.
    drop(program);
    let program = Program::start(&arguments);
    assert_eq!(program.get("/open/a.txt").body, b"hello");
}

#[test]
fn em_10_two_processes_do_not_share_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let mut arguments = OPEN.to_vec();
    arguments.extend(["--data", folder.path().to_str().unwrap()]);
    let program = Program::start(&arguments);
    assert_eq!(program.put("/open/a.txt", b"hello").status, 200);
    arguments.extend(["--listen", "127.0.0.1:0"]);
    let second = run(&arguments, &[]);
    assert_eq!(second.status.code(), Some(1));
    let error = String::from_utf8(second.stderr).unwrap();
    assert!(
        error.contains("another emulator uses this folder; stop it, or name another folder"),
        "{error}"
    );
    // The first is not affected.
    assert_eq!(program.get("/open/a.txt").body, b"hello");
}

#[test]
fn em_08_requests_do_not_wait_for_a_reader_of_the_output() {
    let program = Program::start(&OPEN);
    // A pipe holds 64 KiB on Linux, and each line has 2 KiB.
    let long = "k".repeat(2000);
    for number in 0..100 {
        let response = program.get(&format!("/open/{number}?prefix={long}"));
        assert_eq!(response.status, 404);
    }
    assert_eq!(
        program.console("requests")["requests"]
            .as_array()
            .unwrap()
            .len(),
        100
    );
}

#[test]
fn a_closed_output_does_not_end_it() {
    let mut program = Program::start(&OPEN);
    drop(program.child.stderr.take());
    let closed = std::mem::replace(&mut program.lines, {
        // A pipe of a process that ends at once.
        let mut other = command(&["--version"], &[])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = other.stdout.take().unwrap();
        other.wait().unwrap();
        std::io::BufReader::new(output)
    });
    drop(closed);
    for number in 0..10 {
        assert_eq!(
            program.put(&format!("/open/{number}"), b"hello").status,
            200
        );
        let origin = "Origin: https://evil.example\r\n";
        assert_eq!(
            program.send("GET", "/_emulator/health", origin, b"").status,
            403
        );
    }
    assert!(program.child.try_wait().unwrap().is_none());
}

#[cfg(unix)]
#[test]
fn more_connections_than_the_soft_limit_of_files() {
    let mut limited = std::process::Command::new("sh");
    let program = env!("CARGO_BIN_EXE_oss-emulator");
    let script =
        "ulimit -Sn 64 && exec \"$0\" --listen 127.0.0.1:0 --bucket open:public-read-write";
    limited.args(["-c", script, program]).stdin(Stdio::null());
    let program = Program::spawn(limited);
    let mut streams: Vec<_> = (0..200).map(|_| connect(program.address)).collect();
    // The last first: the others stay open meanwhile.
    for stream in streams.iter_mut().rev() {
        let head = format!("GET /open/a HTTP/1.1\r\nHost: {}\r\n\r\n", program.address);
        stream.write_all(head.as_bytes()).unwrap();
        let mut status = [0; 12];
        std::io::Read::read_exact(stream, &mut status).unwrap();
        assert_eq!(&status, b"HTTP/1.1 404");
    }
}

#[test]
fn buckets_of_a_folder_survive_a_restart_and_a_reset() {
    let folder = tempfile::tempdir().unwrap();
    let mut arguments = vec![
        "--data",
        folder.path().to_str().unwrap(),
        "--create-buckets",
    ];
    let program = Program::start(&arguments);
    assert_eq!(program.signed("PUT", "/made/", b"").status, 200);
    drop(program);
    // Without the option, the bucket of the earlier run is instead of the default.
    arguments.pop();
    let program = Program::start(&arguments);
    assert_eq!(program.console("settings")["buckets"], json!(["made"]));
    assert_eq!(program.signed("PUT", "/made/a.txt", b"hello").status, 200);
    let reset = program.send("POST", "/_emulator/reset", "", b"");
    assert_eq!(reset.status, 200);
    assert_eq!(program.signed("GET", "/made/a.txt", b"").status, 404);
    assert_eq!(program.signed("PUT", "/made/a.txt", b"hello").status, 200);
}

#[test]
fn health_is_the_exit_code() {
    let program = Program::start(&OPEN);
    let listen = program.address.to_string();
    let check = |variables: &[(&str, &str)]| run(&["health"], variables);
    let healthy = check(&[("OSS_EMULATOR_LISTEN", &listen)]);
    assert_eq!((healthy.status.code(), healthy.stdout.len()), (Some(0), 0));
    // As in a container, where the variable is the address that the emulator listens on.
    let everywhere = format!("0.0.0.0:{}", program.address.port());
    assert!(
        check(&[("OSS_EMULATOR_LISTEN", &everywhere)])
            .status
            .success()
    );
    drop(program);
    let gone = check(&[("OSS_EMULATOR_LISTEN", &listen)]);
    assert_eq!(gone.status.code(), Some(1));
    assert!(
        String::from_utf8(gone.stderr)
            .unwrap()
            .starts_with("error: failed to reach the emulator at")
    );

    let off = Program::start(&["--console", "off"]);
    assert!(
        check(&[("OSS_EMULATOR_LISTEN", &off.address.to_string())])
            .status
            .success()
    );

    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = other.accept().unwrap();
        let mut head = [0; 16];
        std::io::Read::read_exact(&mut stream, &mut head).unwrap();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .unwrap();
    });
    let foreign = check(&[("OSS_EMULATOR_LISTEN", &address)]);
    answering.join().unwrap();
    assert_eq!(foreign.status.code(), Some(1));
    assert!(
        String::from_utf8(foreign.stderr)
            .unwrap()
            .contains("is not an emulator")
    );
}
