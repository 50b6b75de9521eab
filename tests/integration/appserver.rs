//! Runs the example `appserver` as a process.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Shutdown, TcpStream},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use crate::support::Case;
use base64::{Engine as _, engine::general_purpose::STANDARD};

struct Server {
    child: Child,
    stdout: BufReader<ChildStdout>,
    address: String,
}

impl Server {
    fn start(settings: &[(&str, &str)]) -> Self {
        Self::start_on(&["127.0.0.1", "0"], settings)
    }

    fn start_on(arguments: &[&str], settings: &[(&str, &str)]) -> Self {
        let mut child = Command::new(example())
            .args(arguments)
            .env_clear()
            .envs(settings.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the example is built together with the tests");
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        // Stdout carries the log as well; the first line contains the address.
        stdout.read_line(&mut line).unwrap();
        let address = line
            .trim()
            .strip_prefix("listening on http://")
            .unwrap()
            .to_owned();
        Self {
            child,
            stdout,
            address,
        }
    }

    fn exchange(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Sends a request, closes the sending half of the connection, and reads the response.
    fn exchange_half_closed(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.write_all(request).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn post(&self, case: &Case) -> String {
        self.exchange(&Self::callback(case))
    }

    fn callback(case: &Case) -> Vec<u8> {
        let mut request = format!(
            "POST {} HTTP/1.1\r\nhost: 88.88.88.88\r\nconnection: close\r\ncontent-length: {}\r\n",
            case.path_and_query,
            case.body.len()
        );
        for (name, value) in &case.headers {
            request += &format!("{name}: {value}\r\n");
        }
        if !case.headers.contains_key("content-type") {
            request += &format!("content-type: {}\r\n", case.content_type());
        }
        (request + "\r\n" + &case.body).into()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Cargo builds examples into `examples/`, beside the `deps/` directory of this test binary.
fn example() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent()
        .unwrap()
        .parent()
        .unwrap()
        .join("examples")
        .join("appserver")
}

#[test]
fn it_does_the_job_of_the_sample_server() {
    let server = Server::start(&[]);
    for case in Case::all() {
        let answer = server.post(&case);
        if case.genuine {
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
            assert!(answer.contains("\r\ncontent-length: 15\r\n"), "{answer}");
            assert!(answer.ends_with("\r\n\r\n{\"Status\":\"OK\"}"), "{answer}");
        } else {
            assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{answer}");
        }
    }
    let ask = "GET /any/path HTTP/1.1\r\nhost: x\r\norigin: https://page.example\r\nconnection: close\r\n\r\n";
    let answer = server.exchange(ask.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(
        answer.contains("\r\naccess-control-allow-origin: *\r\n"),
        "{answer}"
    );
    assert!(!answer.contains("allow-credentials"), "{answer}");
    let token: serde_json::Value =
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(token["accessid"], "<yourAccessKeyId>");
    assert_eq!(
        token["host"],
        "http://bucket-name.oss-cn-hangzhou.aliyuncs.com"
    );
    assert_eq!(token["dir"], "user-dir-prefix/");
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    assert!((now + 25..=now + 30).contains(&token["expire"].as_u64().unwrap()));
    let put = "PUT / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    assert!(server.exchange(put.as_bytes()).starts_with("HTTP/1.1 405"));
}

/// Some clients close their sending half after the request, and then wait for the response.
#[test]
fn a_client_that_half_closes_is_answered() {
    let server = Server::start(&[]);
    let case = Case::genuine().into_iter().next().unwrap();
    // The end may arrive with the request or after it, so one try shows nothing.
    for _ in 0..20 {
        let answer = server.exchange_half_closed(&Server::callback(&case));
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer:?}");
        assert!(
            answer.ends_with("\r\n\r\n{\"Status\":\"OK\"}"),
            "{answer:?}"
        );
        for connection in ["close", "keep-alive"] {
            let ask = format!("GET / HTTP/1.1\r\nhost: x\r\nconnection: {connection}\r\n\r\n");
            let answer = server.exchange_half_closed(ask.as_bytes());
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer:?}");
            assert!(answer.contains("\"signature\""), "{answer:?}");
        }
    }
}

#[test]
fn it_takes_its_settings_from_the_environment() {
    let server = Server::start(&[
        ("OSS_ACCESS_KEY_ID", "LTAI5tExample"),
        ("OSS_ACCESS_KEY_SECRET", "secret"),
        ("OSS_HOST", "https://img.example.com"),
        ("OSS_CALLBACK_URL", "https://app.example/oss/callback"),
        ("OSS_UPLOAD_DIR", "a/b/"),
    ]);
    let ask = "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answer = server.exchange(ask.as_bytes());
    let token: serde_json::Value =
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(token["accessid"], "LTAI5tExample");
    assert_eq!(token["host"], "https://img.example.com");
    assert_eq!(token["dir"], "a/b/");
    assert!(!answer.contains("secret"));
}

#[test]
fn with_a_region_it_issues_version_4() {
    let server = Server::start(&[
        ("OSS_ACCESS_KEY_ID", "LTAI5tExample"),
        ("OSS_ACCESS_KEY_SECRET", "secret"),
        ("OSS_HOST", "https://img.example.com"),
        ("OSS_UPLOAD_DIR", "a/b/"),
        ("OSS_REGION", "cn-hangzhou"),
        ("OSS_BUCKET", "examplebucket"),
        ("OSS_SESSION_TOKEN", "CAISexample"),
    ]);
    let ask = "GET /?size=5 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answer = server.exchange(ask.as_bytes());
    let token: serde_json::Value =
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    let names: Vec<_> = token.as_object().unwrap().keys().collect();
    assert_eq!(names.len(), 10, "{names:?}");
    assert_eq!(token["version"], "OSS4-HMAC-SHA256");
    let credential = token["x_oss_credential"].as_str().unwrap();
    assert!(credential.starts_with("LTAI5tExample/20"));
    assert!(credential.ends_with("/cn-hangzhou/oss/aliyun_v4_request"));
    assert_eq!(token["security_token"], "CAISexample");
    assert_eq!(token["host"], "https://img.example.com");
    assert_eq!(token["dir"], "a/b/");
    let policy = STANDARD.decode(token["policy"].as_str().unwrap()).unwrap();
    let policy = String::from_utf8(policy).unwrap();
    assert!(policy.contains(r#"{"bucket":"examplebucket"}"#), "{policy}");
    assert!(
        policy.contains(r#"["content-length-range",5,5]"#),
        "{policy}"
    );
}

/// The log follows the line with the address.
#[cfg(unix)]
#[test]
fn issue_18_line_03_it_warns_without_a_region() {
    let mut warned = Server::start(&[]);
    let mut line = String::new();
    warned.stdout.read_line(&mut line).unwrap();
    assert!(
        line.contains("WARN") && line.contains("OSS_REGION"),
        "{line}"
    );
    for part in ["2025-03-01", "2025-09-01", "0002-00000080"] {
        assert!(line.contains(part), "{line}");
    }
    let mut quiet = Server::start(&[
        ("OSS_REGION", "cn-hangzhou"),
        ("OSS_BUCKET", "examplebucket"),
        (
            "OSS_TICKET_KEY",
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        ),
    ]);
    quiet.kill("-INT");
    let mut rest = String::new();
    quiet.stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "stopped\n");
}

#[cfg(unix)]
#[test]
fn it_warns_without_a_ticket_key() {
    let mut warned = Server::start(&[("OSS_REGION", "cn-hangzhou")]);
    let mut line = String::new();
    warned.stdout.read_line(&mut line).unwrap();
    for part in ["WARN", "OSS_TICKET_KEY", "OSS_BUCKET"] {
        assert!(line.contains(part), "{line}");
    }
}

/// The test cannot sign as OSS, so it checks the callback parameters of the token.
#[test]
fn with_a_ticket_key_every_callback_is_asked_for_with_a_ticket() {
    let server = Server::start(&[
        ("OSS_BUCKET", "examplebucket"),
        (
            "OSS_TICKET_KEY",
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        ),
    ]);
    let ask = "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answer = server.exchange(ask.as_bytes());
    let token: serde_json::Value =
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    let callback = STANDARD
        .decode(token["callback"].as_str().unwrap())
        .unwrap();
    let callback: serde_json::Value = serde_json::from_slice(&callback).unwrap();
    let body = callback["callbackBody"].as_str().unwrap();
    for field in ["filename=${object}", "&bucket=${bucket}", "&x:ticket="] {
        assert!(body.contains(field), "{body}");
    }
    // Callbacks of other customers verify, but contain no ticket.
    for case in Case::genuine() {
        let answer = server.post(&case);
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    }
}

#[test]
fn a_setting_that_cannot_be_is_said_at_the_start() {
    for (name, value, says) in [
        (
            "OSS_HOST",
            "bucket.example",
            "error: OSS_HOST is \"bucket.example\": the upload host must start with http",
        ),
        (
            "OSS_UPLOAD_DIR",
            "no-slash",
            "error: OSS_UPLOAD_DIR is \"no-slash\": a prefix must end in a slash",
        ),
        (
            "OSS_ACCESS_KEY_SECRET",
            "stray \n",
            "error: the AccessKey secret contains white space",
        ),
        ("OSS_REGION", "oss-cn-hangzhou", "error: OSS_REGION is"),
        ("OSS_TICKET_KEY", "c2hvcnQ=", "error: OSS_TICKET_KEY: "),
        (
            "OSS_TICKET_KEY",
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
            "OSS_TICKET_KEY needs OSS_BUCKET",
        ),
        ("OSS_BUCKET", "No", "error: OSS_BUCKET is"),
        (
            "OSS_CALLBACK_PUBLIC_KEY",
            "no/such/file.pem",
            "neither a PEM block nor a file",
        ),
        (
            "OSS_CALLBACK_PUBLIC_KEY",
            "-----BEGIN RSA PRIVATE KEY-----",
            "error: OSS_CALLBACK_PUBLIC_KEY: ",
        ),
        (
            "OSS_SESSION_TOKEN",
            "stray",
            "OSS_SESSION_TOKEN needs OSS_REGION",
        ),
        (
            "OSS_CALLBACK_URL",
            "http://h/a%0Ab",
            "the callback path contains a control byte",
        ),
    ] {
        let output = Command::new(example())
            .args(["127.0.0.1", "0"])
            .env_clear()
            .env(name, value)
            .output()
            .unwrap();
        assert!(!output.status.success());
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains(says), "{error}");
        assert!(!error.contains("stray"), "{error}");
    }
}

mod soak {
    use super::*;

    #[test]
    #[ignore = "soak: waits five seconds for the time-out of a request head"]
    fn df_16_a_request_head_that_dribbles_is_cut_off() {
        let server = Server::start(&[]);
        let mut stream = TcpStream::connect(&server.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let start = Instant::now();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: ").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let waited = start.elapsed();
        assert!(
            (Duration::from_secs(4)..Duration::from_secs(15)).contains(&waited),
            "{waited:?}"
        );
    }
}

#[cfg(unix)]
impl Server {
    /// Sends a signal.
    fn kill(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let killed = Command::new("kill").args([signal, &pid]).status();
        assert!(killed.unwrap().success());
    }
}

#[cfg(unix)]
#[test]
fn it_stops_cleanly_on_ctrl_c_and_on_sigterm() {
    for signal in ["-INT", "-TERM"] {
        let mut server = Server::start(&[]);
        server.kill(signal);
        assert!(server.child.wait().unwrap().success(), "{signal}");
        let mut rest = String::new();
        server.stdout.read_to_string(&mut rest).unwrap();
        assert!(rest.ends_with("stopped\n"), "{signal}: {rest}");
    }
}

/// OSS does not repeat a callback.
#[cfg(unix)]
#[test]
fn issue_20_line_08_a_callback_in_flight_is_answered_after_sigterm() {
    let mut server = Server::start(&[]);
    let case = Case::genuine().into_iter().next().unwrap();
    let request = String::from_utf8(Server::callback(&case)).unwrap();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let mut stream = TcpStream::connect(&server.address).unwrap();
    write!(stream, "{head}\r\nexpect: 100-continue\r\n\r\n").unwrap();
    // The layer asks for the body, so the callback is in flight.
    let mut asked = [0; 25];
    stream.read_exact(&mut asked).unwrap();
    assert!(asked.starts_with(b"HTTP/1.1 100"), "{asked:?}");
    server.kill("-TERM");
    // The signal has arrived as soon as the server accepts no further connection.
    let start = Instant::now();
    while TcpStream::connect(&server.address).is_ok() {
        assert!(start.elapsed() < Duration::from_secs(60));
    }
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n{\"Status\":\"OK\"}"), "{answer}");
    assert!(server.child.wait().unwrap().success());
}

#[test]
fn issue_20_line_06_arguments_are_explained() {
    for argument in ["--help", "-h"] {
        let output = Command::new(example()).arg(argument).output().unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            text.starts_with("usage: appserver [ADDRESS [PORT]]"),
            "{text}"
        );
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let busy = format!("error: port {port} of 127.0.0.1 is in use; stop the other program");
    for (arguments, says) in [
        (&["127.0.0.1", &*port][..], &*busy),
        (
            &["127.0.0.1", "http"],
            "error: \"http\" is not a port number",
        ),
        (
            &["localhost:"],
            "error: \"localhost:\" is not an address; use one such as",
        ),
        (&["--port", "80"], "error: unexpected arguments\nusage: "),
        (
            &["203.0.113.7", "0"],
            "error: 203.0.113.7 is not an address of this machine",
        ),
    ] {
        let output = Command::new(example())
            .args(arguments)
            .env_clear()
            .output()
            .unwrap();
        assert!(!output.status.success());
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.starts_with(says), "{error}");
    }
}

#[test]
fn issue_20_line_06_localhost_is_an_address() {
    for arguments in [&["localhost", "0"][..], &["localhost:0"], &["127.0.0.1:0"]] {
        let server = Server::start_on(arguments, &[]);
        let ask = "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        assert!(server.exchange(ask.as_bytes()).starts_with("HTTP/1.1 200"));
    }
}

/// With the public key of the emulator, the server accepts its callbacks, and those of OSS no more.
#[cfg(feature = "testing")]
#[test]
fn issue_20_line_10_another_public_key_replaces_the_one_of_oss() {
    use tower_aliyun_oss::{key::PublicKey, testing::CallbackSigner};

    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/testing/public_key.pem");
    let pem = std::fs::read_to_string(path).unwrap();
    let signer = CallbackSigner::new();
    assert_eq!(
        PublicKey::from_pem(pem.as_bytes()).unwrap(),
        *signer.public_key()
    );
    let callback = signer.callback("/?a=b").form("filename=a.png");
    let callback = callback.request::<bytes::Bytes>().unwrap();
    let mut request = format!("POST {} HTTP/1.1\r\n", callback.uri());
    for (name, value) in callback.headers() {
        request += &format!("{name}: {}\r\n", value.to_str().unwrap());
    }
    request += "\r\nfilename=a.png";
    for (value, own, of_oss) in [
        (Some(&*pem), 200, 403),
        (Some(path), 200, 403),
        (None, 403, 200),
    ] {
        let settings = value.map(|value| ("OSS_CALLBACK_PUBLIC_KEY", value));
        let server = Server::start(settings.as_slice());
        let answer = server.exchange(request.as_bytes());
        assert!(answer.starts_with(&format!("HTTP/1.1 {own} ")), "{answer}");
        for case in Case::genuine() {
            let answer = server.post(&case);
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {of_oss} ")),
                "{answer}"
            );
        }
    }
}
