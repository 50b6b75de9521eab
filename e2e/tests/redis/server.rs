//! Runs a separate `redis-server` for each test.

use std::{
    io::{Read as _, Write as _},
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
}

impl Redis {
    pub(crate) fn start(options: &'static [&'static str]) -> Self {
        let mut redis = Self::stopped(options);
        redis.restart();
        redis
    }

    pub(crate) fn stopped(options: &'static [&'static str]) -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            options,
            server: None,
        }
    }

    pub(crate) fn restart(&mut self) {
        let server = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--unixsocket"])
            .arg(self.socket())
            .arg("--dir")
            .arg(self.directory.path())
            .args(self.options)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server is required: apt-get install redis-server");
        let socket = self.socket();
        let server = self.server.insert(server);
        let give_up = Instant::now() + PATIENCE;
        while !answers_ping(&socket) {
            let exited = server.try_wait().unwrap();
            assert!(exited.is_none(), "redis-server exited: {exited:?}");
            assert!(Instant::now() < give_up, "redis-server did not start");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Kills the server with SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("redis.sock")
    }

    fn url(&self) -> String {
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
