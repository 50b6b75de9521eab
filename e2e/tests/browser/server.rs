//! Runs the example `server` as a child process.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

pub(crate) struct Server {
    child: Child,
    stdout: BufReader<ChildStdout>,
    /// `127.0.0.1:PORT` of the application.
    pub(crate) address: String,
    /// The URL that forms are posted to.
    pub(crate) uploads: String,
    /// The server's temporary directory, deleted even if the server is killed.
    _folder: TempDir,
}

impl Server {
    pub(crate) fn start(more: &[&str]) -> Self {
        Self::start_with(more, &[])
    }

    pub(crate) fn start_with(more: &[&str], environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(example())
            .args(["--listen", "127.0.0.1:0", "--oss-listen", "127.0.0.1:0"])
            .args(more)
            .env_clear()
            .env("TMPDIR", folder.path())
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the example is required: cargo build --example server");
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut printed = |start: &str| {
            let mut line = String::new();
            stdout.read_line(&mut line).unwrap();
            line.trim().strip_prefix(start).unwrap().to_owned()
        };
        let address = printed("listening on http://");
        let uploads = printed("uploads go to ");
        Self {
            child,
            stdout,
            address,
            uploads,
            _folder: folder,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Returns the list of `GET /uploads`.
    pub(crate) fn received(&self) -> Vec<Value> {
        let answer = self.get("/uploads");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        serde_json::from_str(body).unwrap()
    }

    /// Sends a GET request and returns the whole response, including its head.
    pub(crate) fn get(&self, target: &str) -> String {
        self.exchange(&format!(
            "GET {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        ))
    }

    pub(crate) fn exchange(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Stops the server with Ctrl-C and returns the rest of its output.
    pub(crate) fn stop(mut self) -> String {
        let id = self.child.id().to_string();
        let interrupt = Command::new("kill").args(["-INT", &id]).status().unwrap();
        assert!(interrupt.success());
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        assert!(self.child.wait().unwrap().success());
        rest
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the path of the example, which cargo builds next to the folder of this test.
pub(crate) fn example() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let built = test.parent().and_then(Path::parent).unwrap();
    built.join("examples").join("server")
}
