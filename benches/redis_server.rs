//! A `redis-server` for the benchmarks.
#![allow(dead_code)]

use std::{
    env,
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tower_aliyun_oss::ticket::RedisStore;

pub(crate) type Error = Box<dyn std::error::Error>;

/// A server for one benchmark, on a socket in a folder of its own: `redis-server`, or the program
/// that `REDIS_SERVER` names.
pub(crate) struct Redis {
    folder: TempDir,
    server: Child,
}

impl Redis {
    /// Starts a server with this setting of `appendfsync`, or without persistence if it is "off".
    pub(crate) fn start(fsync: &str) -> Option<Self> {
        let (persistent, fsync) = match fsync {
            "off" => ("no", "no"),
            fsync => ("yes", fsync),
        };
        let folder = tempfile::tempdir().ok()?;
        let socket = folder.path().join("redis.sock");
        let program = env::var_os("REDIS_SERVER").unwrap_or_else(|| "redis-server".into());
        let server = Command::new(program)
            .args([
                "--port",
                "0",
                "--save",
                "",
                "--appendonly",
                persistent,
                "--appendfsync",
                fsync,
                // No copy of all data in the middle of a measurement.
                "--auto-aof-rewrite-percentage",
                "0",
            ])
            .arg("--unixsocket")
            .arg(&socket)
            .arg("--dir")
            .arg(folder.path())
            .stdout(Stdio::null())
            .spawn()
            .ok()?;
        let redis = Self { folder, server };
        for _ in 0..500 {
            if UnixStream::connect(redis.socket()).is_ok() {
                return Some(redis);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    pub(crate) fn store(&self) -> Result<RedisStore, Error> {
        Ok(RedisStore::new(&self.url())?.timeout(Duration::from_secs(20)))
    }

    pub(crate) fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _gone = self.server.kill();
        let _gone = self.server.wait();
    }
}
