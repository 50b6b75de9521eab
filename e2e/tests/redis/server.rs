//! A Redis of our own for each test.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    unreachable_pub,
    missing_debug_implementations
)]

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use tower_aliyun_oss::ticket::RedisStore;

/// How a Redis is started so that what it answered is on disk.
pub const DURABLE: &[&str] = &["--appendonly", "yes", "--appendfsync", "always"];
pub const FORGETFUL: &[&str] = &["--appendonly", "no"];
/// With the commands that let it stall.
pub const DEBUGGED: &[&str] = &["--enable-debug-command", "yes"];
/// Both.
pub const CHAOS: &[&str] = &[
    "--appendonly",
    "yes",
    "--appendfsync",
    "always",
    "--enable-debug-command",
    "yes",
];
pub const CLUSTERED: &[&str] = &["--cluster-enabled", "yes"];

/// A `redis-server` with a directory of its own; both are gone when this is.
pub struct Redis {
    port: u16,
    directory: PathBuf,
    options: &'static [&'static str],
    server: Option<Child>,
    /// The port for TLS, and the root of its certificate.
    tls: Option<(u16, String)>,
}

impl Redis {
    /// One that serves TLS as well, with a certificate for `localhost`.
    pub fn with_tls() -> Self {
        let mut redis = Self::stopped(FORGETFUL);
        let [root, cert, key] = crate::certificate::for_localhost();
        for (name, pem) in [("cert.pem", cert), ("key.pem", key)] {
            std::fs::write(redis.directory.join(name), pem).unwrap();
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        redis.tls = Some((port, root));
        let [cert, key] = ["cert.pem", "key.pem"].map(|name| {
            redis
                .directory
                .join(name)
                .into_os_string()
                .into_string()
                .unwrap()
        });
        redis.restart_with(
            &[
                "--tls-port",
                &port.to_string(),
                "--tls-cert-file",
                &cert,
                "--tls-key-file",
                &key,
                "--tls-ca-cert-file",
                &cert,
                "--tls-auth-clients",
                "no",
            ],
            true,
        );
        redis
    }

    pub fn tls_url(&self, host: &str) -> String {
        format!("rediss://{host}:{}/", self.tls.as_ref().unwrap().0)
    }

    pub fn root_certificate(&self) -> &str {
        &self.tls.as_ref().unwrap().1
    }

    pub fn start(options: &'static [&'static str]) -> Self {
        let mut redis = Self::stopped(options);
        redis.restart();
        redis
    }

    pub fn stopped(options: &'static [&'static str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let name = format!(
            "oss-ticket-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        Self {
            port,
            directory,
            options,
            server: None,
            tls: None,
        }
    }

    pub fn restart(&mut self) {
        self.restart_with(&[], true);
    }

    pub fn restart_with(&mut self, options: &[&str], wait: bool) {
        let server = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--port"])
            .arg(self.port.to_string())
            .arg("--dir")
            .arg(&self.directory)
            .args(self.options)
            .args(options)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("these tests need redis-server in the path (apt-get install redis-server)");
        self.server = Some(server);
        let give_up = Instant::now() + Duration::from_secs(20);
        while wait && !self.answers_ping() {
            assert!(Instant::now() < give_up, "redis-server does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn answers_ping(&self) -> bool {
        let ping = || {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
            stream.set_read_timeout(Some(Duration::from_millis(500)))?;
            stream.write_all(b"PING\r\n")?;
            let mut answer = [0; 5];
            stream.read_exact(&mut answer)?;
            Ok::<_, std::io::Error>(answer)
        };
        ping().is_ok_and(|answer| answer == *b"+PONG")
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }

    /// As if the network were partitioned: the connections stay, and nothing answers.
    pub fn stop(&self) {
        self.signal("-STOP");
    }

    pub fn go_on(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let id = self.server.as_ref().unwrap().id().to_string();
        let status = Command::new("kill").args([signal, &id]).status().unwrap();
        assert!(status.success());
    }

    /// Makes it do nothing for so many seconds, without waiting for the end.
    pub fn debug_sleep(&self, seconds: &str) {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        stream
            .write_all(format!("DEBUG SLEEP {seconds}\r\n").as_bytes())
            .unwrap();
        // It reads the command before it closes the connection.
        std::thread::sleep(Duration::from_millis(50));
    }

    pub fn directory(&self) -> &std::path::Path {
        &self.directory
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// A store with its own connection, as another machine would have. A shared core can be slow, so it is patient.
    pub fn store(&self) -> RedisStore {
        RedisStore::new(&self.url())
            .unwrap()
            .timeout(Duration::from_secs(20))
    }

    pub fn command(&self, words: &[&str]) -> redis::Value {
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

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
        drop(std::fs::remove_dir_all(&self.directory));
    }
}
