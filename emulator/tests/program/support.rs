//! The program as a child process, and plain HTTP.

use std::{
    io::{BufRead as _, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, ChildStdout, Command, Output, Stdio},
    thread::JoinHandle,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{Request, header};
use reqsign_aliyun_oss::{Credential, RequestSigner, SigningVersion};
use reqsign_core::{Context, SignRequest as _};
use serde_json::{Value, json};
use tokio::runtime::Builder;

/// The program with these arguments and no variables but these.
pub fn command(arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oss-emulator"));
    command
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .stdin(Stdio::null());
    command
}

/// Runs the program to its end.
pub fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    command(arguments, variables).output().unwrap()
}

/// The program, serving on a free port of this machine.
pub struct Program {
    pub child: Child,
    pub address: SocketAddr,
    /// The start message, without the line of the address.
    pub lines: BufReader<ChildStdout>,
}

impl Program {
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_with(arguments, &[])
    }

    pub fn start_with(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut all = vec!["--listen", "127.0.0.1:0"];
        all.extend(arguments);
        Self::spawn(command(&all, variables))
    }

    pub fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        lines.read_line(&mut first).unwrap();
        let address = address(&first);
        let Some(address) = address else {
            let _ = child.kill();
            let mut error = String::new();
            let mut stderr = child.stderr.take().unwrap();
            stderr.read_to_string(&mut error).unwrap();
            panic!("did not start: {first}{error}");
        };
        Self {
            child,
            address,
            lines,
        }
    }

    /// Sends a request with these header lines, and returns the response.
    pub fn send(&self, method: &str, target: &str, headers: &str, body: &[u8]) -> Response {
        let mut stream = connect(self.address);
        // Some tests send a Host of their own.
        let host = match headers.lines().any(|line| line.starts_with("Host: ")) {
            true => String::new(),
            false => format!("Host: {}\r\n", self.address),
        };
        let head = format!(
            "{method} {target} HTTP/1.1\r\n{host}Connection: close\r\nContent-Length: {}\r\n{headers}\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        read_response(stream)
    }

    pub fn get(&self, target: &str) -> Response {
        self.send("GET", target, "", b"")
    }

    pub fn put(&self, target: &str, body: &[u8]) -> Response {
        self.send("PUT", target, "", body)
    }

    /// Sends a request that the default AccessKey has signed.
    pub fn signed(&self, method: &str, target: &str, body: &[u8]) -> Response {
        let credential = Credential {
            access_key_id: "test-id".to_owned(),
            access_key_secret: "test-secret".to_owned(),
            security_token: None,
            expires_in: None,
        };
        let uri = format!("http://{}{target}", self.address);
        let request = Request::builder().method(method).uri(uri).body(());
        let (mut parts, ()) = request.unwrap().into_parts();
        let signer = RequestSigner::new("examplebucket")
            .with_region("cn-hangzhou")
            .with_signing_version(SigningVersion::V4);
        let runtime = Builder::new_current_thread().build().unwrap();
        let context = Context::new();
        let signing = signer.sign_request(&context, &mut parts, Some(&credential), None);
        runtime.block_on(signing).unwrap();
        let headers = parts.headers.iter();
        let headers = headers.filter(|(name, _)| *name != header::HOST);
        let headers: String = headers
            .map(|(name, value)| format!("{name}: {}\r\n", value.to_str().unwrap()))
            .collect();
        self.send(method, target, &headers, body)
    }

    /// Asks the console.
    pub fn console(&self, name: &str) -> Value {
        let response = self.get(&format!("/_emulator/{name}"));
        assert_eq!(response.status, 200, "{name}: {}", response.text());
        response.json()
    }

    /// Returns the next line of the log with this text.
    pub fn log_line(&mut self, text: &str) -> String {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            assert!(self.lines.read_line(&mut line).unwrap() > 0, "{text}");
        }
        line
    }

    /// Sends a signal, and waits for the end.
    #[cfg(unix)]
    pub fn stop(mut self, signal: &str) -> (Option<i32>, String) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &id]).status().unwrap();
        assert!(sent.success());
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // SIGKILL on Unix.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn address(first: &str) -> Option<SocketAddr> {
    let text = match serde_json::from_str::<Value>(first) {
        Ok(start) => start["address"].as_str()?.to_owned(),
        Err(_) => {
            let url = first.strip_prefix("listening on ")?.split_once("://")?.1;
            url.split('/').next()?.to_owned()
        }
    };
    text.trim().parse().ok()
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    stream
}

pub fn read_response(mut stream: impl Read) -> Response {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let (head, body) = bytes.split_at(end.unwrap() + 4);
    let head = String::from_utf8(head.to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Response {
        status,
        head,
        body: body.to_vec(),
    }
}

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Response {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Returns the value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1);
        lines.find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// Returns the EC of an error of OSS.
    pub fn ec(&self) -> Option<&str> {
        let (_, rest) = self.text().split_once("<EC>")?;
        rest.split('<').next()
    }
}

/// An application that answers one callback, and returns its body.
pub struct App {
    pub url: String,
    pub called: JoinHandle<String>,
}

impl App {
    pub fn start() -> Self {
        Self::start_over(|stream| stream)
    }

    /// Starts an application whose connections go through this wrapper.
    pub fn start_over<S: Read + Write>(wrap: impl FnOnce(TcpStream) -> S + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/oss/callback", listener.local_addr().unwrap());
        let called = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut request = String::new();
            let mut lines = BufReader::new(wrap(stream));
            let mut length = 0;
            while lines.read_line(&mut request).unwrap() > 2 {
                let line = request.lines().last().unwrap().to_ascii_lowercase();
                if let Some(value) = line.strip_prefix("content-length: ") {
                    length = value.parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            lines.read_exact(&mut body).unwrap();
            let answer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
                          Content-Length: 15\r\n\r\n{\"Status\":\"OK\"}";
            lines.get_mut().write_all(answer.as_bytes()).unwrap();
            String::from_utf8(body).unwrap()
        });
        Self { url, called }
    }
}

/// The header line of a callback to this URL.
pub fn callback(url: &str) -> String {
    let parameters = json!({ "callbackUrl": url, "callbackBody": "object=${object}" });
    let encoded = STANDARD.encode(parameters.to_string());
    format!("x-oss-callback: {encoded}\r\n")
}
