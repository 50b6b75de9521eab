//! Runs a separate server for each test: `redis-server`, or the program that `REDIS_SERVER` names.

use std::{
    ffi::OsString,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tower_aliyun_oss::ticket::RedisStore;

/// Options of a Redis that writes to disk before it responds.
pub(crate) const DURABLE: &[&str] = &["--appendonly", "yes", "--appendfsync", "always"];

/// Options of a Redis that loses its data when it is killed.
pub(crate) const FORGETFUL: &[&str] = &["--appendonly", "no"];

/// Options of a Redis that can be made to stall.
pub(crate) const DEBUGGED: &[&str] = &["--enable-debug-command", "yes"];

/// Options of a Redis that writes to disk before it responds, and can be made to stall.
pub(crate) const CHAOS: &[&str] = &[
    "--appendonly",
    "yes",
    "--appendfsync",
    "always",
    "--enable-debug-command",
    "yes",
];

/// How long a server may take to start before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// A `redis-server` with its own directory. Dropping it kills the server and deletes the directory.
///
/// It listens on a socket in that directory: a free TCP port could be taken by another process
/// before the server binds it, in particular across a restart.
pub(crate) struct Redis {
    directory: TempDir,
    options: &'static [&'static str],
    server: Option<Child>,
    /// The port for TLS, and the root certificate.
    tls: Option<(u16, String)>,
    /// The port, and the options with which the server starts again.
    port: Option<(u16, Vec<OsString>)>,
}

impl Redis {
    pub(crate) fn start(options: &'static [&'static str]) -> Self {
        let mut redis = Self::stopped(options);
        redis.restart();
        redis
    }

    /// Starts a server that serves TLS too, with a certificate for `localhost`.
    pub(crate) fn with_tls() -> Self {
        Self::serving_tls(FORGETFUL)
    }

    /// The same, and it writes to disk before it responds.
    pub(crate) fn durable_with_tls() -> Self {
        Self::serving_tls(DURABLE)
    }

    fn serving_tls(options: &'static [&'static str]) -> Self {
        let mut redis = Self::stopped(options);
        let [root, certificate, key] = crate::certificate::for_localhost();
        let path = |name: &str| redis.directory.path().join(name);
        std::fs::write(path("cert.pem"), certificate).unwrap();
        std::fs::write(path("key.pem"), key).unwrap();
        let files: [OsString; 2] = ["cert.pem", "key.pem"].map(|name| path(name).into());
        let [certificate, key] = files;
        let with_port = |port: u16| -> Vec<OsString> {
            vec![
                "--tls-port".into(),
                port.to_string().into(),
                "--tls-cert-file".into(),
                certificate.clone(),
                "--tls-key-file".into(),
                key.clone(),
                "--tls-ca-cert-file".into(),
                certificate.clone(),
                "--tls-auth-clients".into(),
                "no".into(),
            ]
        };
        let port = redis.start_on_a_port(with_port);
        redis.port = Some((port, with_port(port)));
        redis.tls = Some((port, root));
        redis
    }

    /// Starts a node of a cluster.
    pub(crate) fn clustered() -> Self {
        let mut redis = Self::stopped(FORGETFUL);
        redis.start_on_a_port(|port| {
            let port: OsString = port.to_string().into();
            let bus = "0".into();
            let enabled = ["--cluster-enabled", "yes", "--cluster-port"].map(Into::into);
            [vec!["--port".into(), port], enabled.to_vec(), vec![bus]].concat()
        });
        redis
    }

    /// Starts a server on a TCP port, which it keeps across restarts.
    pub(crate) fn on_a_port(options: &'static [&'static str], more: &[String]) -> Self {
        let mut redis = Self::stopped(options);
        let with_port = |port: u16| {
            let mut options: Vec<OsString> = vec!["--port".into(), port.to_string().into()];
            options.extend(more.iter().map(Into::into));
            options
        };
        let port = redis.start_on_a_port(with_port);
        redis.port = Some((port, with_port(port)));
        redis
    }

    /// Starts a node of a cluster that writes to disk before it responds.
    pub(crate) fn node() -> Self {
        let options = ["--cluster-enabled", "yes", "--cluster-port", "0"];
        let more = [
            "--cluster-node-timeout",
            "2000",
            "--cluster-require-full-coverage",
            "no",
        ];
        let options: Vec<String> = [&options[..], &more[..]]
            .concat()
            .iter()
            .map(|&s| s.into())
            .collect();
        Self::on_a_port(DURABLE, &options)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.as_ref().unwrap().0
    }

    pub(crate) fn tcp_url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port())
    }

    /// Starts the server with options that contain a TCP port. If another process takes the port
    /// first, the server exits, and another port is tried.
    fn start_on_a_port(&mut self, options: impl Fn(u16) -> Vec<OsString>) -> u16 {
        for _ in 0..20 {
            let port = free_port();
            if self.try_start(&options(port)) {
                return port;
            }
        }
        panic!("redis-server found no port");
    }

    pub(crate) fn tls_url(&self, host: &str) -> String {
        format!("rediss://{host}:{}/", self.tls.as_ref().unwrap().0)
    }

    pub(crate) fn root_certificate(&self) -> &str {
        &self.tls.as_ref().unwrap().1
    }

    pub(crate) fn stopped(options: &'static [&'static str]) -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            options,
            server: None,
            tls: None,
            port: None,
        }
    }

    pub(crate) fn restart(&mut self) {
        let options = match &self.port {
            Some((_, options)) => options.clone(),
            None => Vec::new(),
        };
        assert!(self.try_start(&options), "redis-server exited");
    }

    /// Starts the server without waiting for it.
    pub(crate) fn spawn(&mut self, options: &[OsString]) {
        let server = Command::new(program())
            .args(["--port", "0", "--save", "", "--unixsocket"])
            .arg(self.socket())
            .arg("--dir")
            .arg(self.directory.path())
            .args(["--bind", "127.0.0.1"])
            .args(self.options)
            .args(options)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("needs redis-server (apt-get install redis-server), or REDIS_SERVER");
        self.server = Some(server);
    }

    /// Starts the server and waits for it. `false` if it exits.
    fn try_start(&mut self, options: &[OsString]) -> bool {
        self.spawn(options);
        let socket = self.socket();
        let give_up = Instant::now() + PATIENCE;
        while !answers_ping(&socket) {
            if self.server.as_mut().unwrap().try_wait().unwrap().is_some() {
                return false;
            }
            assert!(Instant::now() < give_up, "redis-server did not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        true
    }

    /// Kills the server with SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }

    /// Stops the process, like a network partition: connections stay open, and nothing responds.
    pub(crate) fn stop(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn go_on(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let id = self.server.as_ref().unwrap().id().to_string();
        let status = Command::new("kill").args([signal, &id]).status().unwrap();
        assert!(status.success());
    }

    /// Makes the server do nothing for some seconds. Returns when it has received the command.
    pub(crate) fn debug_sleep(&self, seconds: &str) {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        stream
            .write_all(format!("DEBUG SLEEP {seconds}\r\n").as_bytes())
            .unwrap();
        // The server reads the command before it notices that the connection is closed.
        std::thread::sleep(Duration::from_millis(50));
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("redis.sock")
    }

    pub(crate) fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    /// Returns a store with its own connection, like that of another machine. Its timeout is long,
    /// because a shared core can be slow.
    pub(crate) fn store(&self) -> RedisStore {
        RedisStore::new(&self.url())
            .unwrap()
            .timeout(Duration::from_secs(20))
    }

    /// Runs a command over a new connection.
    pub(crate) fn command(&self, words: &[&str]) -> redis::Value {
        let mut connection = redis::Client::open(self.url())
            .unwrap()
            .get_connection()
            .unwrap();
        redis::cmd(words[0])
            .arg(&words[1..])
            .query(&mut connection)
            .unwrap()
    }
}

/// Returns the program of the server. Another one than `redis-server` must have its options, as
/// `valkey-server` does.
pub(crate) fn program() -> OsString {
    std::env::var_os("REDIS_SERVER").unwrap_or_else(|| "redis-server".into())
}

/// Returns a port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

fn answers_ping(socket: &Path) -> bool {
    let ping = || {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"PING\r\n")?;
        let mut reply = [0; 5];
        stream.read_exact(&mut reply)?;
        Ok::<_, std::io::Error>(reply)
    };
    // A server that is still loading its data replies with an error.
    ping().is_ok_and(|reply| reply == *b"+PONG")
}
